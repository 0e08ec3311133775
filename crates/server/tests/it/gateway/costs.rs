//! Costs that only the answer states, and what is held until it is over (P14, I5).

use super::stand::{Client, Gate, Recorder, Seen, soon, waits_for};
use tokio::net::TcpListener;

pub(super) const CHAT: &str = r#"
name = "chat"
[operations]
chat = { routes = ["POST /chat"] }
slow = { routes = ["GET /slow"] }
[units.tokens]
settle = "response:/usage/total_tokens"
[[limit]]
name  = "tokens"
on    = ["chat"]
unit  = "tokens"
quota = "1000/366d"
[[limit]]
name      = "slow"
on        = ["slow", "chat"]
algorithm = "concurrency"
quota     = "3"
"#;

const POST: &str = "POST /chat HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\nContent-Length: 2\r\n\r\n{}";

fn tokens(gate: &Gate) -> u64 {
    gate.remaining_of("chat", "tokens")
}

#[tokio::test]
async fn tokens_are_charged_from_a_json_answer() {
    let json = r#"{"id":"x","usage":{"prompt_tokens":7,"total_tokens":40}}"#;
    let mut upstream = Recorder::answering(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", json.len());
        format!("{head}\r\n\r\n{json}").into_bytes()
    })
    .await;
    let gate = Gate::open(CHAT, Some(upstream.address)).await;
    let mut client = gate.client().await;
    for round in 1..=25 {
        client.send(POST).await;
        assert_eq!(client.answer().await.text(), json);
        assert_eq!(upstream.next().await.header("accept-encoding"), Some("identity"));
        gate.until(|gate| tokens(gate) == 1000 - 40 * round).await;
    }
    client.send(POST).await;
    assert_eq!(client.answer().await.status, 429);
    assert!(upstream.rest().is_empty());
}

/// What a chat model streams; the costs come with the last event.
const EVENTS: [&str; 3] = [
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"total_tokens\":123}}\n\n",
    "data: [DONE]\n\n",
];

pub(super) const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(data: &str) -> String {
    format!("{:X}\r\n{data}\r\n", data.len())
}

/// A client that asked, has the head of its answer, and waits for the rest; and the upstream that streams it.
async fn streaming(gate: &Gate, listener: &TcpListener) -> (Client, Client) {
    let mut client = gate.client().await;
    client.send(POST).await;
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    upstream.send(STREAM).await;
    client.head().await;
    (client, upstream)
}

#[tokio::test]
async fn tokens_are_charged_from_a_streamed_answer_that_is_not_delayed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Gate::open(CHAT, Some(listener.local_addr().unwrap())).await;
    let (mut client, mut upstream) = streaming(&gate, &listener).await;
    for event in EVENTS {
        upstream.send(chunk(event)).await;
        assert_eq!(client.bytes(chunk(event).len()).await, chunk(event).as_bytes());
    }
    assert_eq!(tokens(&gate), 1000);
    upstream.send("0\r\n\r\n").await;
    gate.until(|gate| tokens(gate) == 877).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_costs_are_stated_is_charged_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Gate::open(CHAT, Some(listener.local_addr().unwrap())).await;
    let mut client = gate.client().await;
    client.send(POST).await;
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    upstream.send(STREAM).await;
    upstream.send(chunk(EVENTS[0])).await;
    client.head().await;
    client.bytes(chunk(EVENTS[0]).len()).await;
    assert_eq!(gate.remaining_of("slow", "slow"), 2);
    drop(client);
    upstream.send(chunk(EVENTS[1])).await;
    upstream.send("0\r\n\r\n").await;
    gate.until(|gate| tokens(gate) == 877).await;
    gate.until(|gate| gate.remaining_of("slow", "slow") == 3).await;
}

/// Whoever leaves while costs are still read has made no room for others: else leaving would open any number of
/// connections to the upstream (I49).
#[tokio::test]
async fn an_answer_that_is_read_for_its_costs_keeps_its_connections_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gate = Gate::open_with(CHAT, Some(address), |options| options.bounds.connections = 1).await;
    let (client, mut upstream) = streaming(&gate, &listener).await;
    drop(client);
    let mut second = gate.client().await;
    second.send("BAD\r\n\r\n").await;
    waits_for(second.answer(), async {
        // More than all buffers on the way hold: the gateway reads it.
        let event = chunk(&format!(": {}\n\n", "c".repeat(1000)));
        for _ in 0..20_000 {
            upstream.send(&event).await;
        }
    })
    .await;
    upstream.send(chunk(EVENTS[1])).await;
    upstream.send("0\r\n\r\n").await;
    assert_eq!(second.answer().await.status, 400);
    assert_eq!(tokens(&gate), 877);
}

#[tokio::test]
async fn an_answer_without_costs_charges_nothing() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(CHAT, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client.send(POST).await;
    assert_eq!(client.answer().await.status, 200);
    upstream.next().await;
    gate.until(|gate| gate.remaining_of("slow", "slow") == 3).await;
    assert_eq!(tokens(&gate), 1000);
}

#[tokio::test]
async fn a_permit_is_held_until_the_answers_last_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Gate::open(CHAT, Some(listener.local_addr().unwrap())).await;
    let mut pairs = Vec::new();
    for held in 1..=3 {
        let mut client = gate.client().await;
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
        upstream.head().await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await;
        client.head().await;
        assert_eq!(client.bytes(5).await, b"first");
        assert_eq!(gate.remaining_of("slow", "slow"), 3 - held);
        pairs.push((client, upstream));
    }
    let mut client = gate.client().await;
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 429);
    // One ends as it should, one client leaves, one upstream does.
    let (mut ended, mut upstream) = pairs.pop().unwrap();
    upstream.send("other").await;
    assert_eq!(ended.bytes(5).await, b"other");
    gate.until(|gate| gate.remaining_of("slow", "slow") == 1).await;
    let (left, mut upstream) = pairs.pop().unwrap();
    drop(left);
    assert!(upstream.is_over().await);
    gate.until(|gate| gate.remaining_of("slow", "slow") == 2).await;
    let (mut client, upstream) = pairs.pop().unwrap();
    drop(upstream);
    assert!(client.is_over().await);
    gate.until(|gate| gate.remaining_of("slow", "slow") == 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_leave_at_any_moment_hold_nothing() {
    let upstream = Recorder::answering(|_| {
        let body = "b".repeat(100_000);
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
    .await;
    let gate = Gate::open(&CHAT.replace("\"3\"", "\"1000\""), Some(upstream.address)).await;
    for round in 0..300 {
        let mut client = gate.client().await;
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1 + round % 3)).await;
        for _ in 0..round % 20 {
            tokio::task::yield_now().await;
        }
        if round % 4 == 0 {
            client.bytes(round % 1000).await;
        }
    }
    gate.until(|gate| gate.remaining_of("slow", "slow") == 1000).await;
}

/// A reserve is charged up front and settled by the answer, up or down, in its body or its head.
#[tokio::test]
async fn a_reserve_is_settled_up_and_down() {
    let policy = r#"
        name = "llm"
        [operations]
        chat = { routes = "POST /chat" }
        [units.tokens]
        cost   = { on = ["chat"], header = "X-Max-Tokens" }
        settle = "response-header:X-Tokens"
        [units.bytes]
        cost = { bytes_of = "body" }
        [[limit]]
        name  = "tokens"
        on    = ["chat"]
        unit  = "tokens"
        quota = "100/366d"
        [[limit]]
        name  = "bytes"
        unit  = "bytes"
        quota = "1000/366d"
    "#;
    let answer = |seen: &Seen| {
        let used = seen.header("x-uses").unwrap_or("none");
        format!("HTTP/1.1 200 OK\r\nx-tokens: {used}\r\ncontent-length: 2\r\n\r\nok").into_bytes()
    };
    let upstream = Recorder::answering(answer).await;
    let gate = Gate::open(policy, Some(upstream.address)).await;
    let mut client = gate.client().await;
    let mut bytes = 1_000;
    for (reserve, uses, body, status, remaining) in [
        ("40", "10", "content-length: 5\r\n\r\nhello", 200, 90),
        ("40", "60", "content-length: 5\r\n\r\nhello", 200, 30),
        ("40", "1", "content-length: 5\r\n\r\nhello", 429, 30),
        ("20", "none", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, 10),
        ("ten", "1", "\r\n", 400, 10),
        ("10", "0", "\r\n", 200, 10),
    ] {
        client
            .send(&format!("POST /chat HTTP/1.1\r\nHost: x\r\nx-max-tokens: {reserve}\r\nx-uses: {uses}\r\n{body}"))
            .await;
        assert_eq!(client.answer().await.status, status, "{reserve} {uses}");
        gate.until(|gate| gate.remaining_of("chat", "tokens") == remaining).await;
        bytes -= if status == 200 && body.len() > 2 { 5 } else { 0 };
        assert_eq!(gate.remaining_of("chat", "bytes"), bytes, "{reserve} {uses}");
    }
}
