//! Waits that end, connections that are bounded, and a shutdown that finishes what is under way (P5, P9).

use std::time::Duration;

use super::stand::{Client, GENEROUS, Gate, Recorder, Time, soon, waits_for};
use tokio::net::{TcpListener, TcpStream};

/// What is waited for here, in time that stands still otherwise.
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn shutdown_finishes_what_is_under_way_and_closes_the_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Gate::open(GENEROUS, Some(listener.local_addr().unwrap())).await;
    let mut fresh = gate.client().await;
    let mut idle = gate.client().await;
    idle.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    let mut busy = gate.client().await;
    busy.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await;
    busy.head().await;
    gate.stop.send(()).unwrap();
    assert!(idle.is_over().await);
    assert!(fresh.is_over().await);
    soon(async { while TcpStream::connect(gate.address).await.is_ok() {} }).await;
    assert!(!gate.ended.is_finished());
    upstream.send("other").await;
    assert_eq!(busy.bytes(10).await, b"firstother");
    assert!(busy.is_over().await);
    soon(gate.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_waits_only_so_long() {
    let time = Time::stopped();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Some(listener.local_addr().unwrap());
    let gate = Gate::open_with(GENEROUS, upstream, |options| options.timeouts.drain = SHORT).await;
    let mut client = gate.client().await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    gate.stop.send(()).unwrap();
    time.passes_until(gate.ended).await.unwrap().unwrap();
    assert!(client.is_over().await);
    assert!(upstream.is_over().await);
}

#[tokio::test]
async fn slow_clients_are_not_waited_for() {
    let time = Time::stopped();
    let upstream = Recorder::start().await;
    let gate = Gate::open_with(GENEROUS, Some(upstream.address), |options| {
        options.timeouts.handshake = SHORT;
        options.timeouts.head = SHORT;
        options.timeouts.idle = SHORT;
        options.timeouts.body = SHORT;
    })
    .await;
    // Not a word; half a head; no second request; half a body, announced or in chunks; half a preface.
    let mut silent = gate.client().await;
    assert!(time.passes_until(silent.is_over()).await);
    let mut client = gate.client().await;
    client.send("GET /x HT").await;
    assert_eq!(time.passes_until(client.answer()).await.status, 408);
    assert!(time.passes_until(client.is_over()).await);
    let mut client = gate.client().await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(time.passes_until(client.is_over()).await);
    for start in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"] {
        let mut client = gate.client().await;
        client.send(format!("POST /x HTTP/1.1\r\nHost: a\r\n{start}")).await;
        assert_eq!(time.passes_until(client.answer()).await.status, 408);
        assert!(time.passes_until(client.is_over()).await);
    }
    let mut client = gate.client().await;
    client.send("PRI * HTTP/2.0\r\n").await;
    assert!(time.passes_until(client.is_over()).await);
}

#[tokio::test]
async fn a_head_that_drips_is_not_waited_for_either() {
    let time = Time::stopped();
    let upstream = Recorder::start().await;
    let gate = Gate::open_with(GENEROUS, Some(upstream.address), |options| options.timeouts.head = 4 * SHORT).await;
    let mut client = gate.client().await;
    let mut drips = 0;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\nX: ").await;
    let drip = async {
        loop {
            client.try_send("y").await;
            match tokio::time::timeout(SHORT / 10, client.answer()).await {
                Ok(answer) => return answer,
                Err(_) => drips += 1,
            }
        }
    };
    assert_eq!(time.passes_until(drip).await.status, 408);
    assert!(drips > 20, "{drips}");
}

#[tokio::test]
async fn slow_upstreams_are_not_waited_for() {
    let time = Time::stopped();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Gate::open_with(GENEROUS, Some(listener.local_addr().unwrap()), |options| {
        options.timeouts.answer = SHORT;
        options.timeouts.body = SHORT;
    })
    .await;
    let mut client = gate.client().await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (_silent, _) = soon(listener.accept()).await.unwrap();
    let answer = time.passes_until(client.answer()).await;
    assert_eq!((answer.status, answer.json()["place"].as_str()), (504, Some("upstream")));
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await;
    client.head().await;
    assert_eq!(client.bytes(5).await, b"first");
    assert!(time.passes_until(client.is_over()).await);
    assert!(upstream.is_over().await);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_waited_for() {
    let time = Time::stopped();
    let policy = r#"
        name = "held"
        [[limit]]
        name      = "held"
        algorithm = "concurrency"
        quota     = "1"
    "#;
    let upstream = Recorder::answering(|_| {
        let size = 64 * 1024 * 1024;
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + size, b'b');
        answer
    })
    .await;
    let gate = Gate::open_with(policy, Some(upstream.address), |options| options.timeouts.write = SHORT).await;
    let mut client = gate.client().await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await;
    assert_eq!(gate.remaining("held"), 0);
    time.passes_until(gate.until(|gate| gate.remaining("held") == 1)).await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_room() {
    let upstream = Recorder::start().await;
    let gate = Gate::open_with(GENEROUS, Some(upstream.address), |options| options.bounds.connections = 2).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = gate.client().await;
        client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        clients.push(client);
    }
    let mut third = gate.client().await;
    third.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let first = &mut clients[0];
    waits_for(third.answer(), async {
        for _ in 0..100 {
            first.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(first.answer().await.status, 200);
        }
    })
    .await;
    clients.pop();
    assert_eq!(third.answer().await.status, 200);
}
