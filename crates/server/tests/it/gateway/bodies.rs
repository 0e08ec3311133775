//! Bodies both ways: streamed, bounded, and never out of step with the connection (P3, P13).

use super::stand::{Client, GENEROUS, Gate, Recorder, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Admits two requests of each key, ever.
const TWO: &str = r#"
name = "two"
[attributes]
key = "header:X-Key"
[[limit]]
name  = "two"
per   = ["key"]
quota = "2/366d"
"#;

async fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn pieces_of_a_request_reach_the_upstream_before_it_is_complete() {
    let (listener, address) = listen().await;
    let gate = Gate::open(GENEROUS, Some(address)).await;
    for (framing, first, rest) in [
        ("Content-Length: 10", &b"first"[..], &b"other"[..]),
        ("Transfer-Encoding: chunked", b"5\r\nfirst\r\n", b"5\r\nother\r\n0\r\n\r\n"),
    ] {
        let mut client = gate.client().await;
        client.send([format!("POST /x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes(), first].concat()).await;
        let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
        let head = upstream.head().await;
        assert!(head.starts_with("POST /x HTTP/1.1\r\n"), "{head}");
        assert_eq!(upstream.bytes(first.len()).await, first);
        client.send(rest).await;
        assert_eq!(upstream.bytes(rest.len()).await, rest);
        upstream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn pieces_of_an_answer_reach_the_client_before_it_is_complete() {
    let (listener, address) = listen().await;
    let gate = Gate::open(GENEROUS, Some(address)).await;
    let mut client = gate.client().await;
    client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    upstream.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    let head = client.head().await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(client.bytes(10).await, b"5\r\nfirst\r\n");
    upstream.send(b"5\r\nother\r\n0\r\n\r\n").await;
    assert_eq!(client.bytes(15).await, b"5\r\nother\r\n0\r\n\r\n");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut upstream = Recorder::answering(|seen| {
        let body = seen.target();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
    .await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    let mut requests = String::new();
    for number in 0..100 {
        let body = "b".repeat(number * 10);
        requests += &format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
    client.send(requests).await;
    for number in 0..100 {
        assert_eq!(client.answer().await.text(), format!("/{number}"));
    }
    assert_eq!(upstream.rest().len(), 100);
}

#[tokio::test]
async fn a_refusal_leaves_its_connection_in_step_whatever_the_body() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(TWO, Some(upstream.address)).await;
    let mut client = gate.client().await;
    for _ in 0..2 {
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\nX-Key: k\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    }
    let sizes = [1, 2, 100, 1000, 4096, 8191, 65_536, 100_000, 1024 * 1024];
    for (round, size) in sizes.into_iter().enumerate() {
        let body = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".bytes().cycle().take(size).collect::<Vec<_>>();
        let head = format!("POST /x HTTP/1.1\r\nHost: a\r\nX-Key: k\r\nContent-Length: {size}\r\n\r\n");
        let chunked = "POST /x HTTP/1.1\r\nHost: a\r\nX-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = [format!("{size:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        for request in [[head.as_bytes(), &body].concat(), [chunked.as_bytes(), &chunk].concat()] {
            client.send(request).await;
            let refusal = client.answer().await;
            assert_eq!(refusal.status, 429, "{size}");
            assert_eq!(refusal.header("cache-control"), Some("no-store"));
            assert_eq!(refusal.header("connection"), None);
            client.send(format!("GET /after HTTP/1.1\r\nHost: a\r\nX-Key: round-{round}\r\n\r\n")).await;
            assert_eq!(client.answer().await.status, 200, "{size}");
        }
    }
    let targets: Vec<String> = upstream.rest().iter().map(|seen| seen.target().to_owned()).collect();
    let expected = [vec!["/x"; 2], vec!["/after"; 2 * sizes.len()]].concat();
    assert_eq!(targets, expected);
}

#[tokio::test]
async fn a_refusal_of_a_longer_body_is_its_connections_last_answer() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(TWO, Some(upstream.address)).await;
    let spent = b"GET /x HTTP/1.1\r\nHost: a\r\nX-Key: k\r\n\r\n".repeat(2);
    let mut client = gate.client().await;
    client.send(&spent).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.answer().await.status, 200);
    let size = 10 * 1024 * 1024;
    let head = format!("POST /x HTTP/1.1\r\nHost: a\r\nX-Key: k\r\nContent-Length: {size}\r\n\r\n");
    client.send(head).await;
    let refusal = client.answer().await;
    assert_eq!((refusal.status, refusal.header("connection")), (429, Some("close")));
    client.try_send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.is_over().await);
    // One that waits to be asked for its body need not send it, so nobody could tell what comes next.
    let mut client = gate.client().await;
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nX-Key: k\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    let refusal = client.answer().await;
    assert_eq!((refusal.status, refusal.header("connection")), (429, Some("close")));
    assert!(client.is_over().await);
    assert_eq!(upstream.rest().len(), 2);
}

#[tokio::test]
async fn who_expects_to_be_asked_for_the_body_is_asked_once_admitted() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    for _ in 0..2 {
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send(b"hello").await;
        assert_eq!(client.answer().await.status, 200);
        let seen = upstream.next().await;
        assert_eq!((seen.header("expect"), &*seen.body), (None, &b"hello"[..]));
    }
}

#[tokio::test]
async fn answers_without_bodies_have_none() {
    let upstream = Recorder::answering(|seen| match (seen.request_line().split(' ').next().unwrap(), seen.target()) {
        ("HEAD", _) => b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\netag: \"x\"\r\n\r\n".to_vec(),
        (_, "/204") => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        (_, "/304") => b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1234\r\netag: \"x\"\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer_to_head().await;
    assert_eq!(
        (answer.status, answer.header("content-length"), answer.header("etag")),
        (200, Some("1234"), Some("\"x\""))
    );
    client.send(b"GET /204 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("content-length"), answer.header("transfer-encoding")), (204, None, None));
    client.send(b"GET /304 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 304);
    client.send(b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
}

#[tokio::test]
async fn a_refusal_of_head_has_the_head_of_one_and_no_body() {
    let upstream = Recorder::start().await;
    let gate = Gate::open(TWO, Some(upstream.address)).await;
    let mut client = gate.client().await;
    for _ in 0..2 {
        client.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\nX-Key: k\r\n\r\n").await;
        assert_eq!(client.answer_to_head().await.status, 200);
    }
    client.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\nX-Key: k\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\nX-Key: k\r\n\r\n").await;
    assert_eq!(client.answer_to_head().await.status, 429);
    assert_eq!(client.answer().await.status, 429);
    let mut client = gate.client().await;
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer_to_head().await.status, 400);
    assert!(client.is_over().await);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let answer =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    let mut upstream = Recorder::answering(|_| answer.to_vec()).await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n")).await;
    let head = client.head().await;
    assert!(head.contains("trailer: x-sum"), "{head}");
    let end = b"2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    assert_eq!(String::from_utf8(client.bytes(end.len()).await).unwrap().as_bytes(), end);
    assert_eq!(upstream.next().await.body, b"hello[trailer x-sum: 5]");
}

#[tokio::test]
async fn bodies_have_bounds() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open_with(GENEROUS, Some(upstream.address), |options| options.bounds.body_bytes = 1000).await;
    let whole = gate.remaining("all");
    let mut client = gate.client().await;
    client.send(format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{}", "b".repeat(1000))).await;
    assert_eq!(client.answer().await.status, 200);
    client.send(format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n{}", "b".repeat(1001))).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (413, r#"{"error":"longer than this gateway takes","place":"body"}"#));
    // What was known beforehand is not charged.
    assert_eq!(whole - gate.remaining("all"), 1);
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.try_send(format!("3e9\r\n{}\r\n0\r\n\r\n", "b".repeat(1001))).await;
    assert_eq!(client.answer().await.status, 413);
    assert_eq!(upstream.next().await.body.len(), 1000);
    assert!(upstream.rest().is_empty());
}

/// Charges a batch by the number of its messages, which only its body says.
const BATCH: &str = r#"
name = "batch"
[attributes]
key = "header:X-Key"
[operations]
batch = { routes = ["POST /batch"] }
[units.messages]
cost = [{ on = ["batch"], length_of = "body:" }]
[[limit]]
name  = "messages"
on    = ["batch"]
unit  = "messages"
quota = "10/366d"
"#;

#[tokio::test]
async fn a_body_that_the_policy_reads_is_gathered_up_to_a_bound_and_forwarded_as_it_was() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open_with(BATCH, Some(upstream.address), |options| options.bounds.read_body_bytes = 100).await;
    let mut client = gate.client().await;
    let post = |body: &str| format!("POST /batch HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    client.send(post(r#"[ {"a":1}, {"a":2}, {} ]"#)).await;
    assert_eq!(client.answer().await.status, 200);
    let seen = upstream.next().await;
    assert_eq!((seen.header("content-length"), &*seen.body), (Some("24"), &br#"[ {"a":1}, {"a":2}, {} ]"#[..]));
    client
        .send("POST /batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n3\r\n2 ]\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    let seen = upstream.next().await;
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (Some("6"), None));
    assert_eq!(seen.body, b"[1,2 ]");
    // 5 of 10 are left; 6 do not fit, and are told so without a byte at the upstream.
    client.send(post("[1,2,3,4,5,6]")).await;
    assert_eq!(client.answer().await.status, 429);
    client.send(post("[1,2,3,4,5]")).await;
    assert_eq!(client.answer().await.status, 200);
    upstream.next().await;
    let long = format!("[{}]", "1,".repeat(60));
    client.send(post(&long)).await;
    assert_eq!(client.answer().await.status, 413);
    let chunks = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    client.send(format!("POST /batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")).await;
    assert_eq!(client.answer().await.status, 413);
    assert!(upstream.rest().is_empty());
}

#[tokio::test]
async fn a_long_body_passes_whole_while_the_upstream_answers_early() {
    let (listener, address) = listen().await;
    let gate = Gate::open(GENEROUS, Some(address)).await;
    let client = gate.client().await;
    let size = 4 * 1024 * 1024;
    let (mut reader, mut writer) = client.socket.into_split();
    let sending = tokio::spawn(async move {
        let head = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        writer.write_all(head.as_bytes()).await.unwrap();
        writer.write_all(&vec![b'b'; size]).await.unwrap();
        writer
    });
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    upstream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    upstream.bytes(size).await;
    upstream.send(b"early").await;
    let mut answer = Vec::new();
    soon(async {
        while !answer.ends_with(b"\r\n\r\nearly") {
            assert_ne!(reader.read_buf(&mut answer).await.unwrap(), 0);
        }
    })
    .await;
    soon(sending).await.unwrap();
}
