//! What has two readings is refused, in order, and nothing behind it is read: the upstream sees exactly the requests
//! that were charged (P1, P2, I46, I47).

use super::stand::{GENEROUS, Gate, Recorder};

const BEFORE: &[u8] = b"GET /things/before HTTP/1.1\r\nHost: a\r\n\r\n";
const BEHIND: &[u8] = b"GET /things/behind HTTP/1.1\r\nHost: a\r\n\r\n";

/// Heads that are refused with a status; nothing of them reaches the upstream.
#[rustfmt::skip]
const REFUSED: &[(u16, &[u8])] = &[
    // Two lengths, or none that is one.
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\nCONTENT-LENGTH: 6\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,6\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1e1\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nhello"),
    // Transfer codings other than chunked, once.
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    // Names and lines that two parsers cut differently.
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\n Content-Length: 5\r\n\r\nhello"),
    (400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[0m\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX(Y): b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa4: b\r\n\r\n"),
    // Request lines.
    (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /\r\nHost: a\r\n\r\n"),
    (400, b"GET\r\nHost: a\r\n\r\n"),
    (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1\r\nHost: a\r\n\r\n"),
    (505, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    (505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (400, b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (405, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    (405, b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\x16\x03\x01\x02\x00\x01\x00\n"),
    // Hosts.
    (400, b"GET / HTTP/1.1\r\n\r\n"),
    (400, b"GET / HTTP/1.0\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: user:pw@a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n"),
    (400, b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
    (400, b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    // Expectations.
    (417, b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello"),
];

/// Bodies that break off: the request was charged and forwarded, and never completed.
#[rustfmt::skip]
const BROKEN: &[&[u8]] = &[
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5 ;a\r\nhello\r\n0\r\n\r\n",
    b"5;a\0\r\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n",
    b"\r\nhello\r\n0\r\n\r\n",
    b";a\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"0000000000000005\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\n X: y\r\n\r\n",
    b"0\r\nX: y\n\r\n",
    b"0\r\nX: a\0b\r\n\r\n",
    b"0\r\nGET /things/behind HTTP/1.1\r\n\r\n",
];

/// Unusual requests with one reading; each is one request at the upstream, with this body.
#[rustfmt::skip]
const TAKEN: &[(&[u8], &[u8])] = &[
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \t chunked \t\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n05\r\nhello\r\n000\r\n\r\n", b"hello"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c\r\nhello\r\n0;d\r\n\r\n", b"hello"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n", b"hello"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello", b"hello"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t5 \r\n\r\nhello", b"hello"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b""),
    (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    (b"GET HTTP://A.:80 HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    (b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", b""),
    (b"GET / HTTP/1.1\r\nhOST:a\r\nX:\r\n\r\n", b""),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9t\xe9\r\n\r\n", b""),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n\r\n", b""),
    (b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
];

#[tokio::test]
async fn refused_heads_are_answered_in_order_and_nothing_behind_them_is_read() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let whole = gate.remaining("all");
    for (index, (status, head)) in REFUSED.iter().enumerate() {
        let shown = String::from_utf8_lossy(head);
        let mut client = gate.client().await;
        client.try_send([BEFORE, head, BEHIND].concat()).await;
        assert_eq!(client.answer().await.status, 200, "{shown}");
        let refusal = client.answer().await;
        assert_eq!(refusal.status, *status, "{shown} {}", refusal.text());
        assert!(refusal.json()["error"].is_string() && refusal.json()["place"].is_string(), "{shown}");
        assert_eq!(refusal.header("connection"), Some("close"), "{shown}");
        assert!(client.is_over().await, "{shown}");
        assert_eq!(upstream.next().await.target(), "/things/before", "{shown}");
        assert_eq!(whole - gate.remaining("all"), index as u64 + 1, "{shown}");
    }
    assert!(upstream.rest().is_empty());
}

#[tokio::test]
async fn refused_heads_are_refused_in_pieces_too() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let whole = gate.remaining("all");
    for (status, head) in REFUSED.iter().step_by(7) {
        let mut client = gate.client().await;
        for byte in [*head, BEHIND].concat() {
            client.try_send([byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.answer().await.status, *status, "{}", String::from_utf8_lossy(head));
        assert!(client.is_over().await);
    }
    assert_eq!(gate.remaining("all"), whole);
    assert!(upstream.rest().is_empty());
}

#[tokio::test]
async fn bodies_that_break_off_complete_no_request() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let whole = gate.remaining("all");
    for (index, body) in BROKEN.iter().enumerate() {
        let shown = String::from_utf8_lossy(body);
        let head = b"POST /things/broken HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut client = gate.client().await;
        client.try_send([BEFORE, head, body, BEHIND].concat()).await;
        assert_eq!(client.answer().await.status, 200, "{shown}");
        if let Some(refusal) = client.try_answer().await {
            assert_eq!(refusal.status, 400, "{shown}");
            assert!(client.is_over().await, "{shown}");
        }
        assert_eq!(upstream.next().await.target(), "/things/before", "{shown}");
        assert_eq!(whole - gate.remaining("all"), 2 * (index as u64 + 1), "{shown}");
    }
    assert!(upstream.rest().is_empty());
}

#[tokio::test]
async fn unusual_requests_with_one_reading_pass() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let whole = gate.remaining("all");
    for (index, (request, body)) in TAKEN.iter().enumerate() {
        let shown = String::from_utf8_lossy(request);
        let mut client = gate.client().await;
        client.send([BEFORE, request, BEHIND].concat()).await;
        for _ in 0..3 {
            assert_eq!(client.answer().await.status, 200, "{shown}");
        }
        assert_eq!(upstream.next().await.target(), "/things/before", "{shown}");
        let seen = upstream.next().await;
        assert_eq!((seen.target(), &*seen.body), ("/", *body), "{shown}");
        assert_eq!(upstream.next().await.target(), "/things/behind", "{shown}");
        assert_eq!(whole - gate.remaining("all"), 3 * (index as u64 + 1), "{shown}");
    }
    assert!(upstream.rest().is_empty());
}

#[tokio::test]
async fn unusual_requests_pass_in_pieces_too() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    for (request, body) in TAKEN {
        let mut client = gate.client().await;
        for byte in [*request, BEHIND].concat() {
            client.send([byte]).await;
            tokio::task::yield_now().await;
        }
        let shown = String::from_utf8_lossy(request);
        assert_eq!(client.answer().await.status, 200, "{shown}");
        assert_eq!(client.answer().await.status, 200, "{shown}");
        assert_eq!(upstream.next().await.body, *body, "{shown}");
        assert_eq!(upstream.next().await.target(), "/things/behind", "{shown}");
    }
}

#[tokio::test]
async fn what_is_too_large_says_so() {
    let upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
    let lines = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    let head = |length: usize| {
        let (start, end) = ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
        format!("{start}{}{end}", "b".repeat(length - start.len() - end.len()))
    };
    let rows = [
        (200, line(16 * 1024)),
        (414, line(16 * 1024 + 1)),
        (414, line(1024 * 1024)),
        (414, "G".repeat(100_000)),
        (200, lines(100)),
        (431, lines(101)),
        (431, lines(5000)),
        (200, head(64 * 1024)),
        (431, head(64 * 1024 + 1)),
        (431, head(4 * 1024 * 1024)),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}: b\r\n\r\n", "x".repeat(64 * 1024))),
    ];
    for (status, request) in rows {
        let mut client = gate.client().await;
        client.try_send(&request).await;
        assert_eq!(client.answer().await.status, status, "{} bytes", request.len());
    }
}
