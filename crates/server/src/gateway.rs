//! The gateway: stands before an API, lets pass what its limits admit, and answers the rest itself.
//!
//! Bytes of a client pass `guard.rs`, which lets through what has one reading only, then hyper's parser, then
//! `exchange.rs`: understand (the policy's intake), decide (the limiter), forward or refuse (the dialect's fields).
//! Bodies stream both ways through `body.rs`. What a request holds is in `hold.rs` until its answer's last byte.
//!
//! What it does not do: TLS, HTTP/3, caching, compression, or a second upstream.

mod body;
mod connection;
mod echo;
mod exchange;
mod fault;
mod fields;
mod guard;
mod hold;
mod host;
mod options;
mod patience;
mod respond;
mod stage;
mod tunnel;
mod upstream;
mod wire;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use self::stage::{Stage, StageReader, Stages};
use self::upstream::Upstream;
use crate::assemble::Engine;

pub use self::options::{Bounds, GatewayOptions, Timeouts};

/// The unit in which room for bodies that are held in memory is given out.
const HELD_BLOCK_BYTES: usize = 1024;

/// Pauses between tries to accept when the process is out of descriptors, shortest and longest (P9).
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long connections have to end after they were cut off.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// What all connections share.
#[derive(Debug)]
struct Gateway {
    engine: Arc<Engine>,
    options: GatewayOptions,
    /// `None` for the built-in one.
    upstream: Option<Upstream>,
    /// Room for bodies that are held in memory, in blocks.
    held: Semaphore,
}

/// Serves clients that connect to `listener` until `shutdown` is ready; then no more are accepted, unused connections
/// close, and requests under way have [`Timeouts::drain`] to finish.
///
/// # Errors
///
/// The upstream is not one that can be forwarded to. Once it serves, nothing that a client or the upstream does ends it.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    options: GatewayOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), GatewayError> {
    let upstream = options.upstream.as_ref().map(|uri| Upstream::new(uri, &options)).transpose()?;
    let held = Semaphore::new(options.bounds.held_body_bytes.div_ceil(HELD_BLOCK_BYTES).min(Semaphore::MAX_PERMITS));
    let drain = options.timeouts.drain;
    let gateway = Arc::new(Gateway { engine, options, upstream, held });
    let (stages, stage) = Stages::new();
    tokio::select! {
        () = accept(listener, gateway, stage) => {}
        () = shutdown => {}
    }
    if !stages.announce(Stage::Drain, drain).await {
        tracing::warn!("requests were still under way at the end of the drain; cutting them off");
        stages.announce(Stage::Cut, CUT_LIMIT).await;
    }
    Ok(())
}

/// Accepts connections, as many at a time as there may be, for ever.
async fn accept(listener: TcpListener, gateway: Arc<Gateway>, stage: StageReader) {
    let connections = gateway.options.bounds.connections.clamp(1, Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(connections));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let (socket, address) = next(&listener).await;
        let (gateway, stage) = (Arc::clone(&gateway), stage.clone());
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            connection::serve(socket, address, gateway, stage).await;
            drop(place);
        });
    }
}

/// The next connection. Out of descriptors, it waits longer and longer for some to come free (P9).
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = ACCEPT_PAUSE.0;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection now");
                sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE.1);
            }
        }
    }
}

/// Whether an error in accepting concerns one connection alone.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Why a gateway cannot serve.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayError {
    /// The upstream is not one that can be forwarded to.
    Upstream {
        /// What was given.
        uri: String,
        /// What was expected.
        reason: &'static str,
    },
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GatewayError::Upstream { uri, reason } => write!(f, "upstream `{uri}`: {reason}"),
        }
    }
}

impl std::error::Error for GatewayError {}
