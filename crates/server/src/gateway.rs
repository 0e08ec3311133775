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
mod respond;
mod stage;
mod tunnel;
mod upstream;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tidegate_limiter::Clock;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::fault::Fault;
use self::stage::{Stage, StageReader, Stages};
use self::upstream::Upstream;
use crate::accept::Entrance;
use crate::{Api, Engine};

pub use self::options::{Bounds, GatewayOptions, Timeouts};

/// The unit in which room for bodies that are held in memory is given out.
const HELD_BLOCK_BYTES: usize = 1024;

/// How long connections have to end after they were cut off.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// What all connections share.
#[derive(Debug)]
struct Gateway<C> {
    engine: Arc<Engine<C>>,
    options: GatewayOptions,
    /// Where requests go whose policy does not say; `None` for the built-in one.
    upstream: Option<Arc<Upstream>>,
    /// The upstreams that policies name, as they name them: at most one for each policy in force.
    upstreams: RwLock<HashMap<Box<str>, Arc<Upstream>>>,
    /// Room for bodies that are held in memory, in blocks.
    held: Semaphore,
}

impl<C: Clock> Gateway<C> {
    /// Where requests of an API go; `None` for the built-in upstream.
    fn upstream_of(&self, api: &Api) -> Result<Option<Arc<Upstream>>, Fault> {
        let Some(named) = api.serving.upstream() else { return Ok(self.upstream.clone()) };
        if let Some(upstream) = self.upstreams.read().unwrap_or_else(PoisonError::into_inner).get(named) {
            return Ok(Some(Arc::clone(upstream)));
        }
        let unusable = || Fault::new(502, "upstream", "not one that can be forwarded to");
        let uri = named.parse().map_err(|_| unusable())?;
        let upstream = Arc::new(Upstream::new(&uri, &self.options).map_err(|error| {
            tracing::warn!(%error, policy = api.policy.name(), "cannot forward");
            unusable()
        })?);
        let mut upstreams = self.upstreams.write().unwrap_or_else(PoisonError::into_inner);
        let book = self.engine.book();
        upstreams.retain(|known, _| book.apis().iter().any(|api| api.serving.upstream() == Some(known)));
        upstreams.insert(named.into(), Arc::clone(&upstream));
        Ok(Some(upstream))
    }
}

/// Serves clients that connect to `listener` until `shutdown` is ready; then no more are accepted, unused connections
/// close, and requests under way have [`Timeouts::drain`] to finish.
///
/// # Errors
///
/// The upstream is not one that can be forwarded to. Once it serves, nothing that a client or the upstream does ends it.
pub async fn serve<C: Clock + fmt::Debug + Send + Sync + 'static>(
    listener: TcpListener,
    engine: Arc<Engine<C>>,
    options: GatewayOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), GatewayError> {
    let upstream = options.upstream.as_ref().map(|uri| Upstream::new(uri, &options).map(Arc::new)).transpose()?;
    let held = Semaphore::new(options.bounds.held_body_bytes.div_ceil(HELD_BLOCK_BYTES).min(Semaphore::MAX_PERMITS));
    let drain = options.timeouts.drain;
    let entrance = Entrance::new(listener, options.bounds.connections);
    let gateway = Arc::new(Gateway { engine, options, upstream, upstreams: RwLock::default(), held });
    let (stages, stage) = Stages::new();
    tokio::select! {
        () = accept(entrance, gateway, stage) => {}
        () = shutdown => {}
    }
    if !stages.announce(Stage::Drain, drain).await {
        tracing::warn!("requests were still under way at the end of the drain; cutting them off");
        stages.announce(Stage::Cut, CUT_LIMIT).await;
    }
    Ok(())
}

/// Serves connections for ever, as many at a time as there may be.
async fn accept<C: Clock + fmt::Debug + Send + Sync + 'static>(
    entrance: Entrance,
    gateway: Arc<Gateway<C>>,
    stage: StageReader,
) {
    loop {
        let (socket, address, place) = entrance.next().await;
        tokio::spawn(connection::serve(socket, address, place, Arc::clone(&gateway), stage.clone()));
    }
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
