//! A control port on a loopback socket, on a clock that the test sets, and a client that writes its own bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use serde_json::Value;
use tidegate_core::Timestamp;
use tidegate_limiter::{Clock, ManualClock, MemoryOptions};
use tidegate_server::http::wire::{Answer, Limits, Mistake};
use tidegate_server::{Api, Engine, http};
use tokio::sync::oneshot;

/// 2024-02-01T08:00:00Z, the first second of the example in the design.
pub(super) const START: Timestamp = Timestamp::from_secs(1_706_774_400);

/// A control port that runs until it is dropped.
pub(super) struct Desk {
    pub(super) address: SocketAddr,
    pub(super) clock: Arc<ManualClock>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Desk {
    /// The port of the tests' own policy.
    pub(super) fn open() -> Desk {
        Desk::on(own_api(), MemoryOptions::default())
    }

    /// The port of any API, in virtual time.
    pub(super) fn on(api: Api, options: MemoryOptions) -> Desk {
        let clock = Arc::new(ManualClock::at(START));
        let engine = Engine::with_clock(api, options, Arc::clone(&clock)).expect("one API has room");
        Desk::serving(engine, clock)
    }

    fn serving<C: Clock + std::fmt::Debug + Send + Sync + 'static>(engine: Engine<C>, clock: Arc<ManualClock>) -> Desk {
        let (stop, stopped) = oneshot::channel();
        let (say, said) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                say.send(listener.local_addr().expect("an address")).expect("the test waits");
                let until = async { stopped.await.unwrap_or(()) };
                http::serve(listener, Arc::new(engine), until).await.expect("it serves");
            });
        });
        let address = said.recv().expect("the server starts");
        Desk { address, clock, stop: Some(stop), thread: Some(thread) }
    }

    pub(super) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// The ruling on one question.
    pub(super) fn ruling(&self, question: &Value) -> Answer {
        let reply = self.client().post("/v1/check", &question.to_string());
        assert_eq!(reply.status, 200, "{question}: {}", reply.body);
        serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.body))
    }

    /// What is left.
    pub(super) fn left(&self, query: &str) -> Limits {
        let reply = self.client().get(&format!("/v1/limits?{query}"));
        assert_eq!(reply.status, 200, "{query}: {}", reply.body);
        serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.body))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server broke down");
        }
    }
}

/// The policy in `tests/data`.
pub(super) fn own_api() -> Api {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/desk.toml");
    Api::file(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    host: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(super) fn mistake(&self) -> Mistake {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Client {
    pub(super) fn to(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Client { stream, host: address.to_string() }
    }

    pub(super) fn post(&mut self, target: &str, body: &str) -> Reply {
        self.post_bytes(target, body.as_bytes())
    }

    pub(super) fn put(&mut self, target: &str, body: &str) -> Reply {
        self.send("PUT", target, body.as_bytes())
    }

    pub(super) fn post_bytes(&mut self, target: &str, body: &[u8]) -> Reply {
        self.send("POST", target, body)
    }

    fn send(&mut self, method: &str, target: &str, body: &[u8]) -> Reply {
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", self.host, body.len());
        let request = [head.as_bytes(), body].concat();
        self.exchange(&request)
    }

    pub(super) fn get(&mut self, target: &str) -> Reply {
        self.exchange(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host).as_bytes())
    }

    /// Sends bytes as they are and reads one answer.
    pub(super) fn exchange(&mut self, request: &[u8]) -> Reply {
        // A server that refuses a body early may close before all of it is written; its answer is read all the same.
        let _ = self.stream.write_all(request);
        self.answer()
    }

    fn answer(&mut self) -> Reply {
        let mut read = Vec::new();
        let head_end = loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.read_more(&mut read);
        };
        let head = String::from_utf8(read[..head_end].to_vec()).expect("a head is ASCII");
        let mut reply = Reply { status: 0, head, body: String::new() };
        reply.status = reply.head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let length: usize = reply.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        while read.len() < head_end + 4 + length {
            self.read_more(&mut read);
        }
        reply.body = String::from_utf8(read[head_end + 4..][..length].to_vec()).expect("a body is UTF-8");
        reply
    }

    fn read_more(&mut self, read: &mut Vec<u8>) {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece).expect("an answer in time");
        assert!(length > 0, "the connection ended after {:?}", String::from_utf8_lossy(read));
        read.extend_from_slice(&piece[..length]);
    }
}

impl Client {
    /// Sends what may be no request at all: the status of the answer, or none if the connection ends without one.
    pub(super) fn exchange_or_end(&mut self, request: &[u8]) -> Option<u16> {
        let _ = self.stream.write_all(request);
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        let mut read = Vec::new();
        // A reset is an end too.
        let _ = self.stream.read_to_end(&mut read);
        let text = String::from_utf8_lossy(&read);
        text.split(' ').nth(1).and_then(|code| code.parse().ok())
    }
}
