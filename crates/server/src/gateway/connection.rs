//! One client connection, from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Gateway;
use super::exchange::{Client, Version};
use super::guard::{self, Guard};
use super::stage::{Stage, StageReader};
use super::wire::Wire;

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

/// Serves a connection until it ends.
pub(super) async fn serve(mut socket: TcpStream, address: SocketAddr, gateway: Arc<Gateway>, mut stage: StageReader) {
    let handshake = timeout(gateway.options.timeouts.handshake, recognise(&mut socket));
    let recognised = tokio::select! {
        recognised = handshake => recognised,
        () = stage.reached(Stage::Drain) => return,
    };
    let ended = match recognised {
        Ok(Ok(Some((Version::Http1, begun)))) => http1(socket, begun, address, gateway, stage).await,
        Ok(Ok(Some((Version::Http2, begun)))) => http2(socket, begun, address, gateway, stage).await,
        Ok(Ok(None)) | Err(_) => Ok(()),
        Ok(Err(error)) => return tracing::debug!(%error, %address, "connection ended before its first request"),
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

async fn http1(
    socket: TcpStream,
    begun: BytesMut,
    address: SocketAddr,
    gateway: Arc<Gateway>,
    mut stage: StageReader,
) -> hyper::Result<()> {
    let wire = Arc::<Wire>::default();
    let guard = Guard::http1(socket, begun, Arc::clone(&wire), gateway.options.timeouts);
    let client = Arc::new(Client { gateway, wire, address, version: Version::Http1, stage: stage.clone() });
    let service = service_fn(move |request: Request<Incoming>| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(client.answer(request).await) }
    });
    // Heads are timed by the guard, which also knows a client that waits for us from one that we wait for.
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).pipeline_flush(true);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(guard), service).with_upgrades());
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stage.reached(Stage::Drain) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = stage.reached(Stage::Cut) => Ok(()),
    }
}

async fn http2(
    socket: TcpStream,
    begun: BytesMut,
    address: SocketAddr,
    gateway: Arc<Gateway>,
    mut stage: StageReader,
) -> hyper::Result<()> {
    let wire = Arc::<Wire>::default();
    let options = &gateway.options;
    let idle = options.timeouts.idle;
    let guard = Guard::opaque(socket, begun, Arc::clone(&wire), options.timeouts);
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
    let version = Version::Http2;
    let client = Arc::new(Client { gateway, wire: Arc::clone(&wire), address, version, stage: stage.clone() });
    let service = service_fn(move |request: Request<Incoming>| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(client.answer(request).await) }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(guard), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stage.reached(Stage::Drain) => {}
        () = disuse(&wire, idle) => {}
    }
    connection.as_mut().graceful_shutdown();
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
