//! Takes connections on the control port, with a bound on everything a stranger could make long.

use std::convert::Infallible;
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tidegate_limiter::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower_service::Service;

use super::check;
use super::host;
use super::respond::Problem;
use super::routes::{CHECK, Desk, router};
use crate::Engine;
use crate::accept::{Entrance, Place};
use crate::metrics::{Metrics, Surface};
use crate::patience::Timed;

/// Every maximum of the control port, each with its reason.
pub mod bounds {
    use std::time::Duration;

    use tidegate_core::Span;

    /// Largest body in bytes: the largest batch of questions of a kilobyte each.
    pub const MAX_BODY_BYTES: usize = 1 << 20;
    /// Most questions of one batch. They are decided in one go; a thousand take about a millisecond.
    pub const MAX_BATCH: usize = 1_000;
    /// Longest expiry of a reservation: what holds on longer than an hour renews it.
    pub const MAX_EXPIRY: Span = Span::from_secs(3_600);
    /// Shortest expiry of a reservation.
    pub const MIN_EXPIRY: Span = Span::from_secs(1);
    /// Expiry of a reservation that does not say: most answers of a chat model take less.
    pub const DEFAULT_EXPIRY: Span = Span::from_secs(60);
    /// Refusals of `/v1/decisions` that does not say how many.
    pub const MAX_DECISIONS: usize = 100;
    /// Most entries of `/v1/limits`: above that nobody reads them, and the answer says that it is cut.
    pub const MAX_ENTRIES: usize = 1_000;
    /// Bytes of entries from which on `/v1/limits` adds none: a long value is repeated in each, and a short query must
    /// not make a long answer.
    pub const MAX_ENTRIES_BYTES: usize = 1 << 20;
    /// Largest head of a request in bytes; a query has the attributes of one question.
    pub const MAX_HEAD_BYTES: usize = 64 << 10;
    /// Most header lines of a request.
    pub const MAX_HEADERS: usize = 100;
    /// Connections at the same time; the next waits in the listener's queue.
    pub const MAX_CONNECTIONS: usize = 4_096;
    /// How long a connection may take to say what it asks, also between two requests.
    pub const HEAD_DEADLINE: Duration = Duration::from_secs(60);
    /// How long a request may take from its head to its answer; what takes long is its body.
    pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
    /// Until a client takes in what was written to it, that is, any of it.
    pub const WRITE_DEADLINE: Duration = Duration::from_secs(60);
    /// How long open requests are waited for once the server drains.
    pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
}

/// Serves the HTTP API until `shutdown` is ready, then finishes what was asked before, for
/// [`bounds::DRAIN_DEADLINE`] at most.
///
/// # Errors
///
/// The listener has no address. Connections that fail are no error of the server's.
pub async fn serve<C: Clock + Debug + Send + Sync + 'static>(
    listener: TcpListener,
    engine: Arc<Engine<C>>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let bound = listener.local_addr()?;
    let desk = Arc::new(Desk { engine: Arc::clone(&engine), bound });
    let answerer = Arc::new(Answerer { router: router(desk), engine: Arc::clone(&engine), bound });
    let open = GracefulShutdown::new();
    let entrance = Entrance::new(listener, bounds::MAX_CONNECTIONS);
    let (cut, is_cut) = watch::channel(false);
    tokio::pin!(shutdown);
    loop {
        let (connection, _, place) = tokio::select! {
            () = &mut shutdown => break,
            next = entrance.next() => next,
        };
        attend(connection, place, Arc::clone(&answerer), &open, is_cut.clone());
    }
    engine.drain();
    drop(entrance);
    if tokio::time::timeout(bounds::DRAIN_DEADLINE, open.shutdown()).await.is_err() {
        tracing::warn!("control port: requests were cut off at the end of the drain");
        cut.send_replace(true);
        drop(is_cut);
        // Each connection has a receiver until it has ended.
        cut.closed().await;
    }
    Ok(())
}

fn attend<C: Clock + Send + Sync + 'static>(
    connection: TcpStream,
    place: Place,
    answerer: Arc<Answerer<C>>,
    open: &GracefulShutdown,
    mut is_cut: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Who has said all there is to say still waits for the answer.
        .half_close(true)
        .header_read_timeout(bounds::HEAD_DEADLINE)
        .max_buf_size(bounds::MAX_HEAD_BYTES)
        .max_headers(bounds::MAX_HEADERS)
        .serve_connection(
            TokioIo::new(Timed::new(connection, bounds::WRITE_DEADLINE)),
            service_fn(move |request| {
                let answer = Arc::clone(&answerer).answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            }),
        );
    let connection = open.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            // It ends in an error when the peer goes away, which is the peer's affair.
            _ = connection => {}
            _ = is_cut.wait_for(|is_cut| *is_cut) => {}
        }
        drop(place);
    });
}

/// What answers the requests of all connections.
#[derive(Debug)]
struct Answerer<C> {
    router: Router,
    engine: Arc<Engine<C>>,
    bound: SocketAddr,
}

/// The body of an answer: whole, or as the router has it.
type Answer = Either<Full<Bytes>, Body>;

impl<C: Clock> Answerer<C> {
    async fn answer(self: Arc<Answerer<C>>, request: Request<Incoming>) -> Response<Answer> {
        let answer = if host::is_ours(self.bound, request.uri(), request.headers()) {
            match tokio::time::timeout(bounds::REQUEST_DEADLINE, self.respond(request)).await {
                Ok(answer) => answer,
                Err(_) => {
                    let late = Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time").at("body");
                    late.answer().map(whole)
                }
            }
        } else {
            let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, "this is not the host that was asked for");
            let problem = problem.at("header host").help("call the control port by localhost or its address");
            problem.answer().map(whole)
        };
        let metrics: &Metrics = self.engine.metrics();
        metrics.answered(Surface::Http, answer.status().as_u16());
        answer
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Answer> {
        if request.method() == Method::POST && request.uri().path() == CHECK {
            return check::answer(&self.engine, request).await.map(whole);
        }
        let Ok(answer) = self.router.clone().call(request).await;
        answer.map(Either::Right)
    }
}

fn whole(text: String) -> Answer {
    Either::Left(Full::new(Bytes::from(text)))
}
