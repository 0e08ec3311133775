//! Where admitted requests go: connections to the upstream, kept and lent.
//!
//! A request that may have been received is sent again only if it has no body and its method promises that twice is as
//! good as once; one that was certainly not sent goes out again on another connection (P11).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::body::{Progress, Upload};
use super::fault::Fault;
use super::options::GatewayOptions;
use super::{GatewayError, Timeouts, host};

/// Most connections that one request tries. Kept ones can all have been closed at once by an upstream that restarts.
const MAX_TRIES: usize = 8;

/// An upstream behind a socket.
#[derive(Debug)]
pub(super) struct Upstream {
    host: String,
    port: u16,
    authority: HeaderValue,
    /// What is put before every path; no slash at its end.
    base: String,
    kept: Arc<Kept>,
    timeouts: Timeouts,
}

/// Connections that are not in use, the latest used last.
#[derive(Debug)]
struct Kept {
    connections: Mutex<VecDeque<(SendRequest<Upload>, Instant)>>,
    most: usize,
    longest: Duration,
}

/// A connection in use.
#[derive(Debug)]
pub(super) struct Lease {
    connection: SendRequest<Upload>,
    kept: Arc<Kept>,
}

impl Upstream {
    /// The upstream at `uri`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// The URI is not one that the gateway can forward to.
    pub(super) fn new(uri: &Uri, options: &GatewayOptions) -> Result<Upstream, GatewayError> {
        let unusable = |reason| GatewayError::Upstream { uri: uri.to_string(), reason };
        if uri.scheme() == Some(&Scheme::HTTPS) {
            return Err(unusable("https is not supported; expected http://host:port"));
        }
        let authority = uri.authority().filter(|authority| host::is_authority(authority.as_str()));
        let Some(authority) = authority.filter(|_| uri.scheme() == Some(&Scheme::HTTP)) else {
            return Err(unusable("expected http://host:port"));
        };
        if uri.query().is_some() {
            return Err(unusable("a query cannot be put before every path"));
        }
        let kept = Kept {
            connections: Mutex::default(),
            most: options.bounds.upstream_idle,
            longest: options.timeouts.upstream_idle,
        };
        Ok(Upstream {
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| unusable("expected http://host:port"))?,
            base: uri.path().trim_end_matches('/').to_owned(),
            kept: Arc::new(kept),
            timeouts: options.timeouts,
        })
    }

    /// What it is called in `Host`.
    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The target there of what is `target` here.
    pub(super) fn target(&self, target: &str) -> Result<Uri, Fault> {
        let target = if self.base.is_empty() {
            PathAndQuery::try_from(target)
        } else {
            PathAndQuery::from_maybe_shared(Bytes::from(format!("{}{target}", self.base)))
        };
        target.map(Uri::from).map_err(|_| Fault::new(400, "path", "not a target that can be forwarded"))
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// What the client is to be told: the upstream cannot be reached, does not answer, or the request's own body broke.
    pub(super) async fn send(
        &self,
        mut request: Request<Upload>,
        progress: &Progress,
    ) -> Result<(Response<Incoming>, Lease), Fault> {
        let mut again = self.spare(&request);
        for _ in 0..MAX_TRIES {
            let mut lease = self.lease().await?;
            match self.exchange(&mut lease, request, progress).await {
                Ok(response) => return Ok((response, lease)),
                Err(Failure::Unsent(unsent)) => request = *unsent,
                Err(Failure::Lost) => match again.take() {
                    Some(spare) => request = spare,
                    None => break,
                },
                Err(Failure::Late) => return Err(Fault::new(504, "upstream", "did not answer in time")),
            }
        }
        Err(progress.fault().cloned().unwrap_or(Fault::new(502, "upstream", "closed the connection without an answer")))
    }

    async fn exchange(
        &self,
        lease: &mut Lease,
        request: Request<Upload>,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Failure> {
        let mut answer = std::pin::pin!(lease.connection.try_send_request(request));
        loop {
            let moves = progress.moves();
            match timeout(self.timeouts.answer, answer.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(mut error)) => {
                    return Err(match error.take_message() {
                        Some(request) => Failure::Unsent(Box::new(request)),
                        None => {
                            tracing::debug!(error = %error.error(), "upstream lost");
                            Failure::Lost
                        }
                    });
                }
                // While the request's body still moves, there is nothing to be answered.
                Err(_) if progress.moves() != moves => {}
                Err(_) => return Err(Failure::Late),
            }
        }
    }

    /// A second copy of a request that may be sent twice.
    fn spare(&self, request: &Request<Upload>) -> Option<Request<Upload>> {
        let is_repeatable = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !is_repeatable || !request.body().is_empty() || self.kept.is_empty() {
            return None;
        }
        let mut spare = Request::new(Upload::Whole(None));
        spare.method_mut().clone_from(request.method());
        spare.uri_mut().clone_from(request.uri());
        spare.headers_mut().clone_from(request.headers());
        Some(spare)
    }

    async fn lease(&self) -> Result<Lease, Fault> {
        let connection = match self.kept.take() {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        Ok(Lease { connection, kept: Arc::clone(&self.kept) })
    }

    async fn connect(&self) -> Result<SendRequest<Upload>, Fault> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let socket = match timeout(self.timeouts.connect, connecting).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => {
                tracing::debug!(%error, "upstream refused");
                return Err(Fault::new(502, "upstream", "does not accept connections"));
            }
            Err(_) => return Err(Fault::new(504, "upstream", "did not accept a connection in time")),
        };
        let lost = |error| {
            tracing::debug!(%error, "upstream lost");
            Fault::new(502, "upstream", "closed the connection without an answer")
        };
        let _ = socket.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(lost)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(sender)
    }
}

/// Why an exchange came to nothing.
enum Failure {
    /// Not a byte of the request left.
    Unsent(Box<Request<Upload>>),
    /// It may have been received, and will not be answered.
    Lost,
    /// It was not answered in time.
    Late,
}

impl Lease {
    /// Keeps the connection for the next request, as soon as it can take one.
    pub(super) fn give_back(self) {
        let Lease { mut connection, kept } = self;
        if connection.is_ready() {
            kept.put(connection);
        } else if !connection.is_closed()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                if connection.ready().await.is_ok() {
                    kept.put(connection);
                }
            });
        }
    }
}

impl Kept {
    fn take(&self) -> Option<SendRequest<Upload>> {
        let mut connections = self.connections();
        while let Some((connection, since)) = connections.pop_back() {
            if since.elapsed() >= self.longest {
                connections.clear();
                return None;
            }
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, connection: SendRequest<Upload>) {
        let now = Instant::now();
        let mut connections = self.connections();
        while connections.front().is_some_and(|(_, since)| now.duration_since(*since) >= self.longest) {
            connections.pop_front();
        }
        if connections.len() < self.most {
            connections.push_back((connection, now));
        }
    }

    fn is_empty(&self) -> bool {
        self.connections().is_empty()
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, VecDeque<(SendRequest<Upload>, Instant)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
