//! Upstreams that are away, that close, and that are asked twice only if that does no harm (P11).

use super::stand::{GENEROUS, Gate, Recorder};
use tokio::net::TcpListener;

#[tokio::test]
async fn an_upstream_that_is_away_is_said_to_be() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gate = Gate::open(GENEROUS, Some(address)).await;
    let mut client = gate.client().await;
    for _ in 0..2 {
        client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 502);
        assert_eq!(answer.text(), r#"{"error":"does not accept connections","place":"upstream"}"#);
    }
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    for _ in 0..50 {
        client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!(client.answer().await.status, 200);
    }
    let connections: Vec<usize> = upstream.rest().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections.len(), 50);
    assert!(connections.iter().max() < Some(&5), "{connections:?}");
}

/// An upstream that closes instead of answering every third request; what it was asked it was asked once.
#[tokio::test]
async fn what_may_have_been_received_is_not_sent_again_unless_that_does_no_harm() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let mut upstream =
        Recorder::answering(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 {
            2 => Vec::new(),
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
        })
        .await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    let mut lost = 0;
    for number in 0..100 {
        client.send(format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")).await;
        lost += usize::from(client.answer().await.status == 502);
    }
    let mut targets: Vec<String> = upstream.rest().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(targets.len(), 100);
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len(), 100);
    assert_eq!(lost, 33);
}

/// The upstream closes every connection behind its answer without saying so; the next request finds it closed.
#[tokio::test]
async fn a_connection_that_the_upstream_closed_costs_nobody_a_request() {
    let mut upstream = Recorder::answering(|seen| match seen.connection % 2 {
        0 if seen.target() == "/last" => Vec::new(),
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
    })
    .await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    // The kept connection dies with this one; GET without a body is asked again on a new one.
    client.send("GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    let seen: Vec<(String, usize)> =
        upstream.rest().iter().map(|seen| (seen.target().to_owned(), seen.connection)).collect();
    assert_eq!(seen, [("/first".to_owned(), 0), ("/last".to_owned(), 0), ("/last".to_owned(), 1)]);
}

#[tokio::test]
async fn upstreams_that_cannot_be_forwarded_to_are_refused_at_the_start() {
    for uri in ["https://a", "http://user@a", "http://a/?q", "ftp://a", "a:80", "/a"] {
        let gate = Gate::open_with(GENEROUS, None, |options| options.upstream = Some(uri.parse().unwrap())).await;
        let error = gate.ended.await.unwrap().unwrap_err().to_string();
        assert!(error.starts_with(&format!("upstream `{uri}")), "{error}");
    }
}
