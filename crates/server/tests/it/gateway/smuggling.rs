//! A thousand byte sequences that two readers could cut into different requests: whatever the gateway makes of each, the
//! upstream sees as many requests as were charged, cut where the gateway cut them (I46, I47, P1, P2).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::stand::{GENEROUS, Gate, Time};

const BEFORE: &str = "GET /things/before HTTP/1.1\r\nHost: a\r\n\r\n";
/// What a smuggler wants to be taken for a request, or for the body of one.
const HIDDEN: &str = "GET /things/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
const BEHIND: &str = "GET /things/behind HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Every way to state a length, right or wrong, each a whole line without its end.
const LENGTHS: [&str; 24] = [
    "",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: 45",
    "Content-Length: 05",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 5,5",
    "Content-Length: 5, 45",
    "Content-Length: 0x5",
    "Content-Length: 5 5",
    "Content-Length: 5;a",
    "Content-Length:\t5\t",
    "Content-Length:5",
    "Content-Length :5",
    "Content-Length\t: 5",
    " Content-Length: 5",
    "Content-Length: \u{b}5",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 45",
    "Content-Length: 0\r\ncontent-length: 5",
    "Content_Length: 5",
    "Content-Length: 18446744073709551621",
    "Content-Length:\r\n 5",
];

/// Every way to announce chunks, or to seem to.
const CODINGS: [&str; 26] = [
    "",
    "Transfer-Encoding: chunked",
    "transfer-encoding: CHUNKED",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: \u{c}chunked",
    "Transfer-Encoding: chun\u{0}ked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
];

/// Ends of lines that some readers take for one.
const ENDS: [&str; 11] =
    ["\n", "\r", "\r\r\n", "\n\r", "\r\n\r", "\u{b}\r\n", "\u{c}\r\n", "\0\r\n", " \r\n", "\t\r\n", "\\r\\n"];

/// Bytes that some readers pass over beside a name or a value.
const ODD: [&str; 12] =
    [" ", "\t", "\u{b}", "\u{c}", "\0", "\r", "\n", "\u{1}", "\u{7f}", "\u{85}", "\u{a0}", "\u{feff}"];

/// What follows the head of a chunked request.
const CHUNKS: [&str; 36] = [
    "5\r\nhello\r\n0\r\n\r\n",
    "5;a\r\nhello\r\n0\r\n\r\n",
    "5;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
    "5;\rhello\r\n0\r\n\r\n",
    "5;\nhello\r\n0\r\n\r\n",
    "5;a\0\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5h\r\nhello\r\n0\r\n\r\n",
    "5,5\r\nhello\r\n0\r\n\r\n",
    "5.0\r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "05\r\nhello\r\n00\r\n\r\n",
    "000000000000000000005\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "7fffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "5\r\nhello\r\n0\n\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\r\n\r",
    "5\r\nhello\r\n0\r\nContent-Length: 45\r\n\r\n",
    "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
    "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
];

/// First lines and hosts.
const HEADS: [&str; 44] = [
    "GET /things/1 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\n Host: a\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\nHost:\r\n a\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\nX: y\r\n Host: b\r\nHost: a\r\n\r\n",
    "GET http://a/things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://b/things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a:80/things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a@b/things/1 HTTP/1.1\r\nHost: b\r\n\r\n",
    "GET http://a#@b/things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http:/things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET //a/things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET \\things\\1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET @a/things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /things/1 HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /things/1\r\n\r\n",
    "GET /things/1\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  /things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /things/1  HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /things/1 HTTP/1.1 \r\nHost: a\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\n\r\n",
    "GET /things/1 HTTP/1.0\r\nHost: a\r\n\r\n",
    "GET /things/1 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    "GET /things/1 HTTP/0.9\r\nHost: a\r\n\r\n",
    "GET /things/1 HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET /things/1 HTTP/3.0\r\nHost: a\r\n\r\n",
    "GET /things/1 HTTP/01.1\r\nHost: a\r\n\r\n",
    "GET /things/1 hTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /things/1 ICY/1.1\r\nHost: a\r\n\r\n",
    "GET\0 /things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /things/1?\r\nX: HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /things/1%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\r\nGET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "\0GET /things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "TRACE /things/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET /things/1 HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
    "POST /things/1 HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];

/// All vectors; none of them twice.
fn vectors() -> BTreeSet<String> {
    let mut vectors = BTreeSet::new();
    let post = |fields: &str| format!("POST /things/1 HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    // Lengths beside codings, in both orders, over a body that holds a request in either reading.
    let body = format!("0\r\n\r\n{HIDDEN}");
    for length in LENGTHS {
        for coding in CODINGS {
            let both: Vec<&str> = [length, coding].into_iter().filter(|line| !line.is_empty()).collect();
            let turned: Vec<&str> = both.iter().rev().copied().collect();
            for fields in [both, turned] {
                let head = if fields.is_empty() { post("X: y") } else { post(&fields.join("\r\n")) };
                vectors.insert(head + &body);
            }
        }
    }
    // Ends of each line in turn.
    for end in ENDS {
        for place in 0..4 {
            let mut lines = vec!["POST /things/1 HTTP/1.1", "Host: a", "Content-Length: 5", ""].into_iter().enumerate();
            let text: String =
                lines.by_ref().map(|(at, line)| format!("{line}{}", if at == place { end } else { "\r\n" })).collect();
            vectors.insert(format!("{text}hello"));
            vectors.insert(text.replace("Content-Length: 5", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n");
        }
    }
    // Odd bytes beside names and values.
    for odd in ODD {
        for (name, value) in [("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Host", "a"), ("X", "y")] {
            for line in [
                format!("{odd}{name}: {value}"),
                format!("{name}{odd}: {value}"),
                format!("{name}:{odd}{value}"),
                format!("{name}: {value}{odd}"),
                format!("{name}: {odd}{value}{odd}"),
            ] {
                vectors.insert(post(&line) + "5\r\nhello\r\n0\r\n\r\n");
            }
        }
    }
    for chunks in CHUNKS {
        vectors.insert(post("Transfer-Encoding: chunked") + chunks);
        vectors.insert(post("Transfer-Encoding: chunked") + chunks + HIDDEN);
        vectors.insert(post("Transfer-Encoding: chunked").replace("POST", "GET") + chunks);
    }
    for head in HEADS {
        vectors.insert(head.to_owned());
        vectors.insert(head.to_owned() + HIDDEN);
        vectors.insert(head.replace("\r\nHost", "\r\nContent-Length: 45\r\nHost") + HIDDEN);
    }
    // Bodies of methods that seldom have one, and more or less of it than was said.
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "POST"] {
        for length in [0, 1, HIDDEN.len() - 1, HIDDEN.len(), HIDDEN.len() + 1] {
            for more in [
                "",
                "Expect: 100-continue\r\n",
                "Connection: close\r\n",
                "Upgrade: websocket\r\nConnection: upgrade\r\n",
            ] {
                let head = format!("{method} /things/1 HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {length}\r\n\r\n");
                vectors.insert(head + HIDDEN);
            }
        }
    }
    vectors
}

/// What an upstream has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Targets of the requests whose heads came.
    begun: Vec<String>,
    /// Of those, the ones that came whole.
    whole: Vec<String>,
    /// What is no request, or one that other servers would read in another way.
    odd: Vec<String>,
}

/// An upstream that counts, and takes nothing that could be read in two ways.
async fn upstream() -> (SocketAddr, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Seen::default())));
    let all = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(socket, Arc::clone(&seen)));
        }
    });
    (address, all)
}

async fn serve(mut socket: TcpStream, seen: Arc<Mutex<Seen>>) {
    let mut read = Vec::new();
    loop {
        let Some(end) = until(&mut socket, &mut read, |bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)).await else {
            if !read.is_empty() {
                seen.lock().unwrap().odd.push(format!("the rest {:?}", String::from_utf8_lossy(&read)));
            }
            return;
        };
        let head = String::from_utf8_lossy(&read.drain(..end).collect::<Vec<_>>()).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let framing = {
            let mut seen = seen.lock().unwrap();
            let framing = strict(&head).unwrap_or_else(|odd| {
                seen.odd.push(format!("{odd} in {head:?}"));
                Framing::Length(0)
            });
            seen.begun.push(target.clone());
            framing
        };
        if !body(&mut socket, &mut read, framing).await {
            return;
        }
        seen.lock().unwrap().whole.push(target);
        let answer: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        if socket.write_all(answer).await.is_err() {
            return;
        }
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunks,
}

/// The framing of a head that every server reads alike.
fn strict(head: &str) -> Result<Framing, &'static str> {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    if words.len() != 3 || words[2] != "HTTP/1.1" || !words[1].starts_with('/') {
        return Err("an odd first line");
    }
    let (mut lengths, mut codings, mut hosts) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a line without a colon")?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("an odd name");
        }
        if value.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err("a control character");
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "content-length" if name.contains('_') => {}
            "transfer-encoding" if name.contains('_') => {}
            "content-length" => lengths.push(value),
            "transfer-encoding" => codings.push(value),
            "host" => hosts += 1,
            _ => {}
        }
    }
    match (&lengths[..], &codings[..]) {
        _ if hosts != 1 => Err("not one host"),
        ([], []) => Ok(Framing::Length(0)),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| "an odd length")
        }
        ([], ["chunked"]) => Ok(Framing::Chunks),
        _ => Err("two readings"),
    }
}

/// Reads a body; false if it breaks off.
async fn body(socket: &mut TcpStream, read: &mut Vec<u8>, framing: Framing) -> bool {
    match framing {
        Framing::Length(length) => take(socket, read, length).await,
        Framing::Chunks => loop {
            let Some(end) = until(socket, read, |bytes| find(bytes, b"\r\n").map(|at| at + 2)).await else {
                return false;
            };
            let line = String::from_utf8_lossy(&read.drain(..end).collect::<Vec<_>>()).into_owned();
            let digits = line.split([';', '\r']).next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).expect("the gateway writes chunks that can be read");
            if size > 0 {
                if !take(socket, read, size + 2).await {
                    return false;
                }
                continue;
            }
            loop {
                let Some(end) = until(socket, read, |bytes| find(bytes, b"\r\n").map(|at| at + 2)).await else {
                    return false;
                };
                read.drain(..end);
                if end == 2 {
                    return true;
                }
            }
        },
    }
}

async fn take(socket: &mut TcpStream, read: &mut Vec<u8>, length: usize) -> bool {
    let is_there = until(socket, read, |bytes| (bytes.len() >= length).then_some(length)).await.is_some();
    read.drain(..length.min(read.len()));
    is_there
}

async fn until(socket: &mut TcpStream, read: &mut Vec<u8>, end: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    loop {
        if let Some(end) = end(read) {
            return Some(end);
        }
        if socket.read_buf(read).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// A client's bytes, and all that comes back until the gateway ends the connection.
async fn told(gate: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(gate).await.unwrap();
    // The gateway may close before it has read all.
    let _ = socket.write_all(bytes).await;
    let mut answers = Vec::new();
    while socket.read_buf(&mut answers).await.unwrap_or(0) > 0 {}
    String::from_utf8_lossy(&answers).into_owned()
}

#[tokio::test]
async fn the_upstream_sees_as_many_requests_as_were_charged_however_they_are_written() {
    let (address, seen) = upstream().await;
    let gate = Gate::open_with(GENEROUS, Some(address), |options| {
        let soon = Duration::from_millis(300);
        let timeouts = &mut options.timeouts;
        (timeouts.head, timeouts.idle, timeouts.body, timeouts.linger, timeouts.tunnel) =
            (soon, soon, soon, soon, soon);
    })
    .await;
    let vectors = vectors();
    assert!(vectors.len() >= 1_000, "{} vectors", vectors.len());
    let time = Time::stopped();
    let (mut refused, mut hidden, mut charges) = (0, 0, Vec::new());
    for (number, vector) in vectors.iter().enumerate() {
        // Each has paths of its own, as long as those written: what a broken connection delivers late is told apart.
        let own = format!("/v{number:05}/");
        let bytes = [BEFORE, vector, BEHIND].concat().replace("/things/", &own);
        let charged_before = gate.remaining("all");
        let answers = time.passes_until(told(gate.address, bytes.as_bytes())).await;
        let charged = usize::try_from(charged_before - gate.remaining("all")).unwrap();
        let seen = seen.lock().unwrap();
        assert!(seen.odd.is_empty(), "{vector:?}: {:?}", seen.odd);
        let whole: Vec<&str> = seen.whole.iter().filter_map(|target| target.strip_prefix(&own)).collect();
        let what = || format!("{vector:?}: {charged} charged, {whole:?} arrived: {answers}");
        // In order, each once, and answered; nothing is made of bytes that nobody took for a request.
        let known = ["before", "1", "hidden", "behind"];
        assert_eq!(whole.first(), Some(&"before"), "{}", what());
        assert!(
            whole.iter().all(|path| known.contains(path) || path.starts_with("1?") || path.starts_with("1%")),
            "{}",
            what()
        );
        assert!(whole.iter().collect::<BTreeSet<_>>().len() == whole.len(), "{}", what());
        assert_eq!(answers.matches(" 200 OK\r\n").count(), whole.len(), "{}", what());
        // At most one was charged and did not arrive: the last, whose body broke off; nothing behind it was read.
        assert!((whole.len()..=whole.len() + 1).contains(&charged), "{}", what());
        assert!(charged == whole.len() || !whole.contains(&"behind"), "{}", what());
        refused += usize::from(answers.contains(" 400 Bad Request\r\n"));
        hidden += usize::from(whole.contains(&"hidden"));
        charges.push((charged, whole.len()));
    }
    // Of what broke off, a head may have come; none more than were charged.
    let seen = seen.lock().unwrap();
    for (number, (charged, _)) in charges.iter().enumerate() {
        let own = format!("/v{number:05}/");
        let begun = seen.begun.iter().filter(|target| target.starts_with(&own)).count();
        assert!(begun <= *charged, "{number}: {charged} charged, {begun} begun");
    }
    let broken = charges.iter().filter(|(charged, whole)| charged > whole).count();
    // Sequences that are all refused, or all taken, would try nothing.
    let all = vectors.len();
    println!("{all} sequences: {refused} refused, {hidden} with a second request in the open, {broken} broken off");
    assert!(
        refused > all / 2 && hidden > 20 && broken > 10 && all - refused > 100,
        "{refused} {hidden} {broken} of {all}"
    );
}

/// What a client sends behind its last request is not read, and costs it no answer.
#[tokio::test]
async fn answers_are_not_lost_for_what_stands_behind_the_last_request() {
    let (address, seen) = upstream().await;
    let gate = Gate::open(GENEROUS, Some(address)).await;
    let last = "DELETE /things/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let old = "GET /things/1 HTTP/1.0\r\nHost: a\r\n\r\n";
    for (vector, answered) in [
        ([BEFORE, last, ""], 2),
        ([BEFORE, last, HIDDEN], 2),
        (["", last, HIDDEN], 1),
        ([BEFORE, old, HIDDEN], 2),
        (["", old, HIDDEN], 1),
    ] {
        let before = seen.lock().unwrap().whole.len();
        let answers = told(gate.address, vector.concat().as_bytes()).await;
        assert_eq!(answers.matches(" 200 OK\r\n").count(), answered, "{vector:?}: {answers}");
        assert_eq!(seen.lock().unwrap().whole.len() - before, answered, "{vector:?}");
    }
}
