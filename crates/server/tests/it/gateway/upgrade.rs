//! WebSockets: a tunnel only after the upstream's 101, bytes both ways, and a permit for as long as it is open (P2, P7,
//! I5).

use std::net::SocketAddr;

use super::stand::{Client, Gate, Recorder, soon, waits_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Two sockets at a time.
const SOCKETS: &str = r#"
name = "sockets"
[operations]
connect = { routes = ["GET /connect"] }
[[limit]]
name      = "sockets"
on        = ["connect"]
algorithm = "concurrency"
quota     = "2"
[[limit]]
name  = "all"
quota = "1000/366d"
"#;

const ASK: &str = "GET /connect HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Opens a tunnel: the client's end and the upstream's.
async fn open(gate: &Gate, listener: &TcpListener) -> (Client, Client) {
    let mut client = gate.client().await;
    client.send(ASK).await;
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    let head = upstream.head().await;
    assert!(head.starts_with("GET /connect HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "{head}");
    upstream.send(GRANT).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    assert!(head.contains("ratelimit"), "{head}");
    (client, upstream)
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_holds_a_permit_until_it_closes() {
    let (listener, address) = listen().await;
    let gate = Gate::open(SOCKETS, Some(address)).await;
    for is_closed_by_client in [true, false] {
        let (mut client, mut upstream) = open(&gate, &listener).await;
        let second = open(&gate, &listener).await;
        assert_eq!(remaining(&gate), 0);
        for round in 0..100 {
            client.send(format!("\0GET / HTTP/1.1\r\n{round}\n\n")).await;
            let sent = format!("\0GET / HTTP/1.1\r\n{round}\n\n");
            assert_eq!(upstream.bytes(sent.len()).await, sent.as_bytes());
            upstream.send([0xff; 1000]).await;
            assert_eq!(client.bytes(1000).await, [0xff; 1000]);
        }
        let mut third = gate.client().await;
        third.send(ASK).await;
        assert_eq!(third.answer().await.status, 429);
        if is_closed_by_client {
            drop(client);
            assert!(upstream.is_over().await);
        } else {
            drop(upstream);
            assert!(client.is_over().await);
        }
        until_remaining(&gate, 1).await;
        drop(second);
        until_remaining(&gate, 2).await;
    }
}

/// A tunnel takes a place among the connections for as long as it is open (I49).
#[tokio::test]
async fn a_tunnel_is_one_of_the_connections_there_may_be() {
    let (listener, address) = listen().await;
    let gate = Gate::open_with(SOCKETS, Some(address), |options| options.bounds.connections = 1).await;
    let (mut client, mut upstream) = open(&gate, &listener).await;
    let mut second = gate.client().await;
    second.send("BAD\r\n\r\n").await;
    waits_for(second.answer(), async {
        for _ in 0..100 {
            client.send("ping").await;
            assert_eq!(upstream.bytes(4).await, b"ping");
            upstream.send("pong").await;
            assert_eq!(client.bytes(4).await, b"pong");
        }
    })
    .await;
    drop(client);
    assert_eq!(second.answer().await.status, 400);
}

#[tokio::test]
async fn what_is_sent_early_is_the_tunnels_if_it_is_granted() {
    let (listener, address) = listen().await;
    let gate = Gate::open(SOCKETS, Some(address)).await;
    let mut client = gate.client().await;
    client.send(format!("{ASK}GET /early HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    client.send("more").await;
    upstream.send(GRANT).await;
    let early = b"GET /early HTTP/1.1\r\nHost: a\r\n\r\nmore";
    assert_eq!(upstream.bytes(early.len()).await, early);
    upstream.send("answer").await;
    client.head().await;
    assert_eq!(client.bytes(6).await, b"answer");
    // It was no request: nothing but the handshake was charged.
    assert_eq!(gate.remaining("all"), 999);
}

#[tokio::test]
async fn what_is_sent_early_is_the_next_request_if_it_is_declined() {
    let mut upstream = Recorder::answering(|seen| match seen.target() {
        "/connect" => b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
    })
    .await;
    let gate = Gate::open(SOCKETS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client
        .send(format!("{ASK}GET /early HTTP/1.1\r\nHost: a\r\n\r\n{ASK}GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"))
        .await;
    for status in [403, 200, 403, 400] {
        assert_eq!(client.answer().await.status, status);
    }
    assert!(client.is_over().await);
    let targets: Vec<String> = upstream.rest().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(targets, ["/connect", "/early", "/connect"]);
    until_remaining(&gate, 2).await;
}

#[tokio::test]
async fn what_is_sent_early_is_the_next_request_if_it_is_refused() {
    let mut upstream = Recorder::start().await;
    let policy = SOCKETS.replace("quota     = \"2\"", "quota     = \"0\"");
    let gate = Gate::open(&policy, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client.send(format!("{ASK}GET /early HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 429);
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.next().await.target(), "/early");
    assert!(upstream.rest().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_frees_its_permit() {
    let (listener, address) = listen().await;
    let gate = Gate::open(SOCKETS, Some(address)).await;
    let mut client = gate.client().await;
    client.send(ASK).await;
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    assert_eq!(remaining(&gate), 1);
    drop(client);
    assert!(upstream.is_over().await);
    until_remaining(&gate, 2).await;
}

#[tokio::test]
async fn an_upstream_that_switches_unasked_is_at_fault() {
    let upstream = Recorder::answering(|_| GRANT.as_bytes().to_vec()).await;
    let gate = Gate::open(SOCKETS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client.send("GET /connect HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 502);
    until_remaining(&gate, 2).await;
}

#[tokio::test]
async fn half_of_a_tunnel_may_close_first() {
    let (listener, address) = listen().await;
    let gate = Gate::open(SOCKETS, Some(address)).await;
    let (mut client, mut upstream) = open(&gate, &listener).await;
    client.socket.shutdown().await.unwrap();
    assert_eq!(soon(upstream.socket.read_u8()).await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    upstream.send("late").await;
    assert_eq!(client.bytes(4).await, b"late");
    upstream.socket.shutdown().await.unwrap();
    assert!(client.is_over().await);
    until_remaining(&gate, 2).await;
}

fn remaining(gate: &Gate) -> u64 {
    gate.remaining_of("connect", "sockets")
}

async fn until_remaining(gate: &Gate, remaining: u64) {
    gate.until(|gate| gate.remaining_of("connect", "sockets") == remaining).await;
}
