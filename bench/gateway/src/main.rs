//! The least that stands where Tidegate stands, each without a limit, a check or a bound:
//!
//!     floors relay LISTEN UPSTREAM        copies bytes, one connection upstream for each client's
//!     floors proxy LISTEN UPSTREAM        parses both ways by hyper, keeps connections upstream
//!     floors json  LISTEN                 answers 300 bytes of JSON by hyper
//!
//! With `FLOORS_RUNTIME=shared` on tokio's work-stealing runtime, which Tidegate runs on; else on a runtime of one thread.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error + Send + Sync>;

/// As long as an answer of `/v1/check` is with one limit.
const ANSWER_BYTES: usize = 300;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["relay", listen, upstream] => run(listen, Some(upstream), Kind::Relay),
        ["proxy", listen, upstream] => run(listen, Some(upstream), Kind::Proxy),
        ["json", listen] => run(listen, None, Kind::Json),
        _ => Err("expected relay|proxy LISTEN UPSTREAM, or json LISTEN".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("floors: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Relay,
    Proxy,
    Json,
}

fn run(listen: &str, upstream: Option<&str>, kind: Kind) -> Result<(), Failure> {
    let listen: SocketAddr = listen.parse()?;
    let upstream: SocketAddr = upstream.map_or(Ok(listen), str::parse)?;
    let is_shared = std::env::var_os("FLOORS_RUNTIME").is_some_and(|runtime| runtime == "shared");
    let runtime = if is_shared {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(listen).await?;
        let pool = Arc::new(Pool { upstream, idle: Mutex::default() });
        tokio::spawn(accept(listener, kind, pool)).await?
    })
}

async fn accept(listener: TcpListener, kind: Kind, pool: Arc<Pool>) -> Result<(), Failure> {
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        match kind {
            Kind::Relay => drop(tokio::spawn(relay(socket, pool.upstream))),
            Kind::Proxy => drop(tokio::spawn(proxy(socket, Arc::clone(&pool)))),
            Kind::Json => drop(tokio::spawn(json(socket))),
        }
    }
}

async fn relay(mut socket: TcpStream, upstream: SocketAddr) -> Result<(), Failure> {
    let mut upstream = TcpStream::connect(upstream).await?;
    upstream.set_nodelay(true)?;
    let ((from, to), (upstream_from, upstream_to)) = (socket.split(), upstream.split());
    either(pump(from, upstream_to), pump(upstream_from, to)).await?;
    Ok(())
}

/// Ends when one of two does.
async fn either(one: impl Future<Output = Result<(), Failure>>, other: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    std::future::poll_fn(|context| match one.as_mut().poll(context) {
        std::task::Poll::Pending => other.as_mut().poll(context),
        ready => ready,
    })
    .await
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Failure> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length]).await?,
        }
    }
}

/// Connections to the upstream that are not in use.
struct Pool {
    upstream: SocketAddr,
    idle: Mutex<Vec<SendRequest<Incoming>>>,
}

impl Pool {
    async fn lease(&self) -> Result<SendRequest<Incoming>, Failure> {
        while let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            if idle.is_ready() {
                return Ok(idle);
            }
        }
        let socket = TcpStream::connect(self.upstream).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = client::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Forwards a request. The answer is gathered: it is one piece, and its connection is free for the next request.
    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
        let mut sender = self.lease().await?;
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok(Response::from_parts(parts, Full::new(body)))
    }
}

async fn proxy(socket: TcpStream, pool: Arc<Pool>) -> Result<(), Failure> {
    let service = service_fn(|request| pool.forward(request));
    server::Builder::new().serve_connection(TokioIo::new(socket), service).await?;
    Ok(())
}

async fn json(socket: TcpStream) -> Result<(), Failure> {
    let service = service_fn(|request: Request<Incoming>| async move {
        let _ = request.into_body().collect().await;
        let mut response = Response::new(Full::new(Bytes::from(text())));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok::<_, Infallible>(response)
    });
    server::Builder::new().serve_connection(TokioIo::new(socket), service).await?;
    Ok(())
}

/// A copy for each answer, as a server that says something new each time makes one.
fn text() -> String {
    thread_local!(static TEXT: RefCell<String> = RefCell::new(format!("{{\"pad\":\"{}\"}}", "0".repeat(ANSWER_BYTES - 10))));
    TEXT.with_borrow(String::clone)
}
