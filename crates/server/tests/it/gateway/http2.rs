//! HTTP/2 in clear text, recognised by its first bytes (P4).

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::costs::{CHAT, STREAM};
use super::stand::{Client, GENEROUS, Gate, Recorder, soon};

type Sender = SendRequest<Full<Bytes>>;

/// A client's connection, and its end.
async fn connect(gate: &Gate) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let socket = TcpStream::connect(gate.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn send(sender: &mut Sender, request: Request<Full<Bytes>>) -> Response<Incoming> {
    soon(sender.send_request(request)).await.unwrap()
}

fn request(method: &str, uri: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(uri).version(Version::HTTP_2).body(Full::from(body)).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(soon(response.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn requests_are_forwarded_as_http_1() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let (mut sender, _connection) = connect(&gate).await;
    let mut asked = request("POST", "http://Api.Example.com:8080/things/%7e1?q=1", "hello");
    asked.headers_mut().append("cookie", "a=1".parse().unwrap());
    asked.headers_mut().append("cookie", "b=2".parse().unwrap());
    asked.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = send(&mut sender, asked).await;
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    assert!(answer.headers().contains_key("ratelimit"));
    assert_eq!(text(answer).await, "ok");
    let seen = upstream.next().await;
    assert_eq!(seen.request_line(), "POST /things/~1?q=1 HTTP/1.1");
    assert_eq!(seen.header("host"), Some(upstream.address.to_string().as_str()));
    assert_eq!(seen.header("x-forwarded-host"), Some("Api.Example.com:8080"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.body, b"hello");
}

#[tokio::test]
async fn hosts_and_paths_are_as_strict_as_in_http_1() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let whole = gate.remaining("all");
    let (mut sender, _connection) = connect(&gate).await;
    let with_host = |uri: &str, hosts: &[&str]| {
        let mut asked = request("GET", uri, "");
        for host in hosts {
            asked.headers_mut().append("host", host.parse().unwrap());
        }
        asked
    };
    let long = format!("http://a/{}", "a".repeat(16 * 1024));
    let mut many = request("GET", "http://a/x", "");
    for number in 0..101 {
        many.headers_mut().append("x-many", number.into());
    }
    let rows = [
        (200, with_host("http://a/x", &["a"])),
        (200, with_host("http://A.:80/x", &["a"])),
        (400, with_host("http://a/x", &["b"])),
        (400, with_host("http://a/x", &["a:81"])),
        (400, with_host("http://a/x", &["a", "a"])),
        (400, with_host("http://a..b/x", &[])),
        (400, with_host("http://a/x//y", &[])),
        (400, with_host("http://a/x/../y", &[])),
        (400, with_host("http://a/%2f", &[])),
        (405, request("TRACE", "http://a/x", "")),
        (405, request("CONNECT", "a:80", "")),
        (414, request("GET", &long, "")),
        (431, many),
    ];
    let mut admitted = 0;
    for (status, asked) in rows {
        let shown = format!("{:?}", asked);
        let answer = send(&mut sender, asked).await;
        assert_eq!(answer.status(), status, "{shown}");
        admitted += usize::from(answer.status().is_success());
    }
    assert_eq!(upstream.rest().len(), admitted);
    assert_eq!(whole - gate.remaining("all"), admitted as u64);
}

#[tokio::test]
async fn many_streams_at_once_are_each_decided() {
    let policy = r#"
        name = "seven"
        [[limit]]
        name  = "seven"
        quota = "7/366d"
    "#;
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(policy, Some(upstream.address)).await;
    let (sender, _connection) = connect(&gate).await;
    let streams = (0..100).map(|_| {
        let mut sender = sender.clone();
        tokio::spawn(async move { send(&mut sender, request("POST", "http://a/x", "body")).await.status() })
    });
    let streams: Vec<_> = streams.collect();
    let mut admitted = 0;
    for stream in streams {
        match stream.await.unwrap() {
            StatusCode::OK => admitted += 1,
            StatusCode::TOO_MANY_REQUESTS => {}
            status => panic!("{status}"),
        }
    }
    assert_eq!((admitted, upstream.rest().len()), (7, 7));
}

#[tokio::test]
async fn a_stream_that_is_reset_frees_what_it_holds() {
    let policy = r#"
        name = "held"
        [[limit]]
        name      = "held"
        algorithm = "concurrency"
        quota     = "5"
    "#;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Gate::open(policy, Some(listener.local_addr().unwrap())).await;
    let (mut sender, _connection) = connect(&gate).await;
    let pending = sender.send_request(request("GET", "http://a/x", ""));
    let waiting = tokio::spawn(pending);
    let (_upstream, _) = soon(listener.accept()).await.unwrap();
    gate.until(|gate| gate.remaining("held") == 4).await;
    waiting.abort();
    gate.until(|gate| gate.remaining("held") == 5).await;
}

/// A stream that is reset makes room for another at once, but the answer behind it is read on for its costs: what is
/// read so has a bound for each connection (I49).
#[tokio::test]
async fn streams_that_are_reset_pile_up_no_answers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gate = Gate::open_with(CHAT, Some(address), |options| options.bounds.streams = 1).await;
    let (mut sender, _connection) = connect(&gate).await;
    let mut upstreams = Vec::new();
    for _ in 0..2 {
        let asked = tokio::spawn(sender.send_request(request("POST", "http://a/chat", "{}")));
        let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
        upstream.head().await;
        upstream.send(STREAM).await;
        drop(soon(asked).await.unwrap().unwrap());
        upstreams.push(upstream);
    }
    assert_eq!(send(&mut sender, request("POST", "http://a/chat", "{}")).await.status(), 503);
    upstreams.remove(0).send("0\r\n\r\n").await;
    gate.until(|gate| gate.remaining_of("slow", "slow") == 2).await;
    let asked = tokio::spawn(sender.send_request(request("POST", "http://a/chat", "{}")));
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    asked.abort();
}

#[tokio::test]
async fn draining_says_goaway_and_finishes_what_is_under_way() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Gate::open(GENEROUS, Some(listener.local_addr().unwrap())).await;
    let (mut sender, connection) = connect(&gate).await;
    let pending = tokio::spawn(sender.send_request(request("GET", "http://a/x", "")));
    let mut upstream = Client::of(soon(listener.accept()).await.unwrap().0);
    upstream.head().await;
    let mut raw = Client::of(TcpStream::connect(gate.address).await.unwrap());
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert_eq!(frame(&mut raw).await, SETTINGS);
    gate.stop.send(()).unwrap();
    while frame(&mut raw).await != GOAWAY {}
    drop(raw);
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(text(soon(pending).await.unwrap().unwrap()).await, "ok");
    soon(connection).await.unwrap().unwrap();
    soon(gate.ended).await.unwrap().unwrap();
}

/// Types of frames.
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// The type of the next frame.
async fn frame(client: &mut Client) -> u8 {
    let head = client.bytes(9).await;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    client.bytes(length).await;
    head[3]
}
