//! What the tests stand on: a gateway before a recording upstream, and clients that speak raw bytes.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tidegate_core::{Demand, Purpose};
use tidegate_limiter::{Clock, MemoryOptions, SystemClock};
use tidegate_server::gateway::{self, GatewayError, GatewayOptions};
use tidegate_server::{Api, Engine};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Counts every request, admits all.
pub(crate) const GENEROUS: &str = r#"
name = "generous"
[operations]
read = { routes = ["GET /things/{id}"] }
[[limit]]
name  = "all"
quota = "100000/366d"
"#;

/// Waits for an event that is sure to come.
pub(crate) async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(PATIENCE, event).await.expect("the event comes in time")
}

/// Time that stands still but while it is said to pass, so that no test waits and none is hurried by a slow machine.
pub(crate) struct Time {
    /// A runtime passes paused time of itself once it is idle, unless a blocking task runs; one runs until this is
    /// dropped.
    _held: std::sync::mpsc::Sender<()>,
}

impl Time {
    /// Stops time for the runtime of the test.
    pub(crate) fn stopped() -> Time {
        tokio::time::pause();
        let (held, released) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || released.recv());
        Time { _held: held }
    }

    /// Lets time pass, a millisecond at a time and three minutes at most, until an event comes. In each the runtime looks at its sockets at least
    /// once, which it does at every 61st turn.
    pub(crate) async fn passes_until<T>(&self, event: impl Future<Output = T>) -> T {
        let pass = async {
            for _ in 0..180_000 {
                tokio::time::advance(Duration::from_millis(1)).await;
                for _ in 0..61 {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::select! {
            biased;
            event = event => event,
            () = pass => panic!("the event has not come"),
        }
    }
}

/// Does something that takes many turns of the runtime, and sees that `event` does not come as long as it is done.
pub(crate) async fn waits_for<T>(event: impl Future, done: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        _ = event => panic!("it should have waited"),
        done = done => done,
    }
}

/// A gateway under test.
pub(crate) struct Gate<C = SystemClock> {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Arc<Engine<C>>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: JoinHandle<Result<(), GatewayError>>,
}

impl Gate {
    /// A gateway of `policy` before `upstream`, or before the built-in one.
    pub(crate) async fn open(policy: &str, upstream: Option<SocketAddr>) -> Gate {
        Gate::open_with(policy, upstream, |_| {}).await
    }

    /// The same with other options.
    pub(crate) async fn open_with(
        policy: &str,
        upstream: Option<SocketAddr>,
        tweak: impl FnOnce(&mut GatewayOptions),
    ) -> Gate {
        let engine = Arc::new(Engine::new(api(policy), MemoryOptions { max_counters: 10_000 }).unwrap());
        Gate::open_engine(engine, upstream, tweak).await
    }
}

impl<C: Clock + Debug + Send + Sync + 'static> Gate<C> {
    /// A gateway of an engine that is there already.
    pub(crate) async fn open_engine(
        engine: Arc<Engine<C>>,
        upstream: Option<SocketAddr>,
        tweak: impl FnOnce(&mut GatewayOptions),
    ) -> Gate<C> {
        let upstream = upstream.map(|address| Uri::try_from(format!("http://{address}")).unwrap());
        let mut options = GatewayOptions { upstream, ..GatewayOptions::default() };
        tweak(&mut options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = gateway::serve(listener, Arc::clone(&engine), options, async move { drop(stopped.await) });
        Gate { address, engine, stop, ended: tokio::spawn(serving) }
    }

    /// The API that is served.
    pub(crate) fn api(&self) -> Arc<Api> {
        Arc::clone(self.engine.book().only().expect("one API"))
    }

    /// A client's connection.
    pub(crate) async fn client(&self) -> Client {
        Client::of(TcpStream::connect(self.address).await.unwrap())
    }

    /// What is left of the limit called `name`, asked without any attribute.
    pub(crate) fn remaining(&self, name: &str) -> u64 {
        let api = self.api();
        let policy = &api.policy;
        self.remaining_of(policy.operation(policy.default_operation()).name(), name)
    }

    /// What is left of a limit for one operation.
    pub(crate) fn remaining_of(&self, operation: &str, limit: &str) -> u64 {
        let api = self.api();
        let policy = &api.policy;
        let mut builder = Demand::on(policy);
        builder.set_operation(policy.operation_named(operation).unwrap());
        let demand = builder.set_purpose(Purpose::Peek).build();
        let decision = self.engine.limiter.check(&demand);
        let ruling = decision.rulings().find(|ruling| ruling.name() == limit);
        ruling.expect("the limit applies").status.remaining
    }

    /// Waits for what an event in another task brings about.
    pub(crate) async fn until(&self, holds: impl Fn(&Gate<C>) -> bool) {
        soon(async {
            while !holds(self) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// The API of a policy's text.
pub(crate) fn api(policy: &str) -> Api {
    Api::text("policy.toml", policy).unwrap_or_else(|error| panic!("{error}"))
}

/// A client that sends bytes as they are.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    read: Vec<u8>,
}

/// An answer as it was received.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) fn of(socket: TcpStream) -> Client {
        Client { socket, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends what may be cut short because the other side closes.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref()).await;
    }

    /// The next answer, to a request of any method but HEAD; `None` if the connection ends first.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        self.read_answer(true).await
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer")
    }

    /// The next answer, to HEAD.
    pub(crate) async fn answer_to_head(&mut self) -> Answer {
        self.read_answer(false).await.expect("an answer")
    }

    /// The next answer's head alone.
    pub(crate) async fn head(&mut self) -> String {
        let length = self.fill_until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)).await.expect("a head");
        String::from_utf8(self.read.drain(..length).collect()).unwrap()
    }

    /// So many bytes of what follows.
    pub(crate) async fn bytes(&mut self, length: usize) -> Vec<u8> {
        self.fill_until(|bytes| (bytes.len() >= length).then_some(length)).await.expect("as many bytes");
        self.read.drain(..length).collect()
    }

    /// Whether the connection ends here, with nothing more said.
    pub(crate) async fn is_over(&mut self) -> bool {
        self.fill_until(|bytes| (!bytes.is_empty()).then_some(0)).await.is_none()
    }

    async fn read_answer(&mut self, has_body: bool) -> Option<Answer> {
        let length = self.fill_until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)).await?;
        let head = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        let status: u16 = head[9..12].parse().unwrap();
        let has_body = has_body && !matches!(status, 100..=199 | 204 | 304);
        let body = match (header(&head, "content-length"), header(&head, "transfer-encoding")) {
            _ if !has_body => Vec::new(),
            (Some(length), None) => self.bytes(length.parse().unwrap()).await,
            (None, Some("chunked")) => self.chunks().await,
            (None, None) => {
                self.fill_until(|_| None).await;
                std::mem::take(&mut self.read)
            }
            framing => panic!("ambiguous answer: {framing:?}"),
        };
        Some(Answer { status, head, body })
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.fill_until(|bytes| find(bytes, b"\r\n").map(|at| at + 2)).await.expect("a chunk's size");
            let line = String::from_utf8(self.read.drain(..line).collect()).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if size == 0 {
                while self.bytes(2).await != b"\r\n" {
                    let end = self.fill_until(|bytes| find(bytes, b"\r\n").map(|at| at + 2)).await.expect("a trailer");
                    self.read.drain(..end);
                }
                return body;
            }
            body.extend(self.bytes(size).await);
            assert_eq!(self.bytes(2).await, b"\r\n");
        }
    }

    /// Reads until `end` finds one; `None` if the connection ends first.
    async fn fill_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        loop {
            if let Some(end) = end(&self.read) {
                return Some(end);
            }
            let read = soon(self.socket.read_buf(&mut self.read)).await;
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}

/// A request as the upstream received it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, in the order of their opening.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn request_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.request_line().split(' ').nth(1).unwrap()
    }
}

/// An upstream that writes down every request and answers it.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Recorder {
    /// Answers every request with 200 and `ok`.
    pub(crate) async fn start() -> Recorder {
        Recorder::answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()).await
    }

    /// Answers every request with what `answer` makes of it; empty bytes close the connection.
    pub(crate) async fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                tokio::spawn(async move { record(socket, connection, sender, &*answer).await });
            }
        });
        Recorder { address, seen }
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Seen {
        soon(self.seen.recv()).await.expect("a request")
    }

    /// All requests so far that nobody has asked for.
    pub(crate) fn rest(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }
}

/// Reads requests as plainly as can be, so that whatever else is on the connection shows up as a strange request.
async fn record(
    socket: TcpStream,
    connection: usize,
    seen: mpsc::UnboundedSender<Seen>,
    answer: &(dyn Fn(&Seen) -> Vec<u8> + Send + Sync),
) {
    let mut client = Client::of(socket);
    loop {
        let Some(length) = client.fill_until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)).await else {
            if !client.read.is_empty() {
                let head = format!("incomplete {}", String::from_utf8_lossy(&client.read));
                let _ = seen.send(Seen { head, body: Vec::new(), connection });
            }
            return;
        };
        let head = String::from_utf8_lossy(&client.read.drain(..length).collect::<Vec<_>>()).into_owned();
        let body = match (header(&head, "content-length"), header(&head, "transfer-encoding")) {
            (Some(length), None) => {
                let length = length.parse().unwrap();
                match client.fill_until(|bytes| (bytes.len() >= length).then_some(length)).await {
                    Some(length) => client.read.drain(..length).collect(),
                    // A request whose body broke off is none.
                    None => return,
                }
            }
            (None, Some("chunked")) => match client.try_chunks().await {
                Some(body) => body,
                None => return,
            },
            (None, None) => Vec::new(),
            _ => panic!("ambiguous request: {head}"),
        };
        let request = Seen { head, body, connection };
        let answer = answer(&request);
        let _ = seen.send(request);
        if answer.is_empty() || client.socket.write_all(&answer).await.is_err() {
            return;
        }
    }
}

impl Client {
    async fn try_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.fill_until(|bytes| find(bytes, b"\r\n").map(|at| at + 2)).await?;
            let line = String::from_utf8(self.read.drain(..line).collect()).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if size == 0 {
                loop {
                    let end = self.fill_until(|bytes| find(bytes, b"\r\n").map(|at| at + 2)).await?;
                    let line: Vec<u8> = self.read.drain(..end).collect();
                    if line == b"\r\n" {
                        return Some(body);
                    }
                    body.extend_from_slice(b"[trailer ");
                    body.extend_from_slice(&line[..line.len() - 2]);
                    body.push(b']');
                }
            }
            self.fill_until(|bytes| (bytes.len() >= size + 2).then_some(0)).await?;
            body.extend(self.read.drain(..size));
            self.read.drain(..2);
        }
    }
}

/// The value of a header; panics if there are two.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    let first = values.next();
    assert!(values.next().is_none(), "two headers `{name}` in {head}");
    first
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
