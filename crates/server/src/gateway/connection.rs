//! One client connection, from its first byte to its last.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tidegate_limiter::Clock;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Gateway;
use super::body::Download;
use super::exchange::{Client, Version};
use super::guard::{self, Guard};
use super::stage::{Stage, StageReader};
use super::wire::Wire;
use crate::accept::Place;

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often an HTTP/2 client that keeps still is asked for a sign of life, and how long it has to give one.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WITHIN: Duration = Duration::from_secs(10);

/// Most streams that a client has reset and the service has not seen yet: more at once is a flood (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// Most streams that we reset because of the client's own errors (CVE-2025-8671).
const MAX_OWN_RESETS: usize = 256;

/// What one HTTP/2 stream may send ahead, and what all of a connection may.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What is buffered of one HTTP/2 answer that its client does not take in.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// Serves a connection until it ends. `place` is taken for as long as anything of it is left: a tunnel, or the rest of
/// an answer that is read for its costs.
pub(super) async fn serve<C: Clock + Debug + Send + Sync + 'static>(
    mut socket: TcpStream,
    address: SocketAddr,
    place: Place,
    gateway: Arc<Gateway<C>>,
    mut stage: StageReader,
) {
    let handshake = timeout(gateway.options.timeouts.handshake, recognise(&mut socket));
    let recognised = tokio::select! {
        recognised = handshake => recognised,
        () = stage.reached(Stage::Drain) => return,
    };
    let (version, begun) = match recognised {
        Ok(Ok(Some(recognised))) => recognised,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => return tracing::debug!(%error, %address, "connection ended before its first request"),
    };
    let forwarded_for = HeaderValue::from_str(&address.ip().to_canonical().to_string()).ok();
    let client = Client { gateway, wire: Arc::new(Wire::at(place)), address, forwarded_for, version, stage };
    let ended = match version {
        Version::Http1 => http1(socket, begun, client).await,
        Version::Http2 => http2(socket, begun, client).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %address, "connection ended");
    }
}

/// The protocol of a connection, and what was read to learn it; `None` if the client left without a word.
async fn recognise(socket: &mut TcpStream) -> io::Result<Option<(Version, BytesMut)>> {
    let mut begun = BytesMut::with_capacity(4096);
    loop {
        if socket.read_buf(&mut begun).await? == 0 {
            return Ok(None);
        }
        let compared = begun.len().min(PREFACE.len());
        if begun[..compared] != PREFACE[..compared] {
            return Ok(Some((Version::Http1, begun)));
        }
        if compared == PREFACE.len() {
            return Ok(Some((Version::Http2, begun)));
        }
    }
}

async fn http1<C: Clock + Debug + Send + Sync + 'static>(
    socket: TcpStream,
    begun: BytesMut,
    client: Client<C>,
) -> hyper::Result<()> {
    let guard = Guard::http1(socket, begun, Arc::clone(&client.wire), client.gateway.options.timeouts);
    let stage = client.stage.clone();
    // Heads are timed by the guard, which also knows a client that waits for us from one that we wait for.
    // Answers are not held for more of them (`pipeline_flush`): hyper would close without having written them, where bytes
    // stand behind the last request.
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None);
    let client = Arc::new(client);
    let service = service_fn(move |request| answer(Arc::clone(&client), request));
    let connection = builder.serve_connection(TokioIo::new(guard), service).with_upgrades();
    let drain = |connection: Pin<&mut http1::UpgradeableConnection<_, _>>| connection.graceful_shutdown();
    to_its_end(connection, drain, pending(), stage).await
}

async fn http2<C: Clock + Debug + Send + Sync + 'static>(
    socket: TcpStream,
    begun: BytesMut,
    client: Client<C>,
) -> hyper::Result<()> {
    let options = &client.gateway.options;
    let (wire, idle) = (Arc::clone(&client.wire), options.timeouts.idle);
    let guard = Guard::opaque(socket, begun, Arc::clone(&wire), options.timeouts);
    let stage = client.stage.clone();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.bounds.streams)
        .max_header_list_size(u32::try_from(guard::MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_OWN_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN);
    let client = Arc::new(client);
    let service = service_fn(move |request| answer(Arc::clone(&client), request));
    let connection = builder.serve_connection(TokioIo::new(guard), service);
    let drain = |connection: Pin<&mut http2::Connection<_, _, _>>| connection.graceful_shutdown();
    to_its_end(connection, drain, disuse(&wire, idle), stage).await
}

async fn answer<C: Clock + Debug + Send + Sync + 'static>(
    client: Arc<Client<C>>,
    request: Request<Incoming>,
) -> Result<Response<Download>, Infallible> {
    Ok(client.answer(request).await)
}

/// Drives a connection until it ends by itself. It is told to `drain` with the gateway, or when it is `unused`, and cut
/// with the gateway.
async fn to_its_end<F: Future<Output = hyper::Result<()>>>(
    connection: F,
    drain: impl FnOnce(Pin<&mut F>),
    unused: impl Future<Output = ()>,
    mut stage: StageReader,
) -> hyper::Result<()> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stage.reached(Stage::Drain) => {}
        () = unused => {}
    }
    drain(connection.as_mut());
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = stage.reached(Stage::Cut) => Ok(()),
    }
}

/// Ends when no request has come for `limit` and none is under way, at most twice that later.
async fn disuse(wire: &Wire, limit: Duration) {
    let mut seen = wire.calls();
    loop {
        sleep(limit).await;
        let now = wire.calls();
        if now == seen && !wire.is_busy() {
            return;
        }
        seen = now;
    }
}
