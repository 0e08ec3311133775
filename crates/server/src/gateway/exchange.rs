//! One request: understood, decided, and answered: by the upstream if it is admitted, else here.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tidegate_core::Purpose;
use tidegate_dialect::Fields;
use tidegate_limiter::Clock;
use tidegate_policy::{Asked, BadRequest, Route, Target};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::body::{Arrival, Download, Upload};
use super::fault::{Fault, bad};
use super::fields::{self, Origin};
use super::guard::{MAX_HEADERS, MAX_TARGET_BYTES};
use super::hold::Hold;
use super::stage::StageReader;
use super::upstream::Upstream;
use super::wire::{Answer, Call, UnderWay, Wire};
use super::{Gateway, HELD_BLOCK_BYTES, echo, host, respond, tunnel};
use crate::refusals::{DECISION_HEADER, DecisionId};
use crate::{Api, Surface};

/// The version of HTTP that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.1 or HTTP/1.0.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What a client is told that resets streams faster than their answers can be read for their costs.
const FLOODED: Fault = Fault::new(503, "connection", "too many answers to requests that were given up are still read");

/// A client, for as long as its connection lasts.
#[derive(Debug)]
pub(super) struct Client<C> {
    pub(super) gateway: Arc<Gateway<C>>,
    pub(super) wire: Arc<Wire>,
    pub(super) address: SocketAddr,
    /// Its address as `X-Forwarded-For` says it.
    pub(super) forwarded_for: Option<HeaderValue>,
    pub(super) version: Version,
    pub(super) stage: StageReader,
}

/// What becomes of a request.
enum Ruling<'g> {
    /// It goes to the upstream.
    Forward(Pass<'g>),
    /// It is answered here.
    Answer(Response<Download>),
}

/// What a decision makes of a request.
enum Decided {
    /// It goes on, with these fields on its answer.
    Admitted(Fields, Hold),
    /// It is answered with these; a refusal can be asked for by its id.
    Answered(Fields, Option<DecisionId>),
}

/// What an admitted request takes along.
struct Pass<'g> {
    /// What it was understood and decided by, and goes on by, whatever comes into force meanwhile.
    api: Arc<Api>,
    route: Route,
    /// The authority that was asked for.
    authority: HeaderValue,
    fields: Fields,
    hold: Hold,
    /// The body, if the policy read it, and the room it takes.
    gathered: Option<(Bytes, SemaphorePermit<'g>)>,
}

impl<C: Clock + Debug + Send + Sync + 'static> Client<C> {
    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Download> {
        let under_way = UnderWay::on(&self.wire);
        let response = match self.wire.call() {
            Call::Refused(fault) => {
                let mut response = respond::faulty(&fault);
                respond::close(&mut response);
                response
            }
            Call::Request if self.is_flooded() => self.dismiss(request, respond::faulty(&FLOODED)),
            Call::Request => self.exchange(request, false).await,
            Call::Upgrade => {
                let response = self.exchange(request, true).await;
                let is_granted = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                self.wire.answer(if is_granted { Answer::Granted } else { Answer::Declined });
                response
            }
        };
        self.gateway.engine.metrics().answered(Surface::Gateway, response.status().as_u16());
        response.map(|body| body.keeping(under_way))
    }

    /// Whether more is under way than the connection can have streams. An answer that is read on for its costs after its
    /// stream was reset is under way and no stream. Twice as many, as a stream ends for the client before it does here.
    fn is_flooded(&self) -> bool {
        self.wire.under_way() as u64 > 2 * u64::from(self.gateway.options.bounds.streams.max(1))
    }

    async fn exchange(&self, mut request: Request<Incoming>, asks_to_upgrade: bool) -> Response<Download> {
        match self.rule(&mut request).await {
            Ok(Ruling::Forward(pass)) => match self.forward(request, pass, asks_to_upgrade).await {
                Ok(response) => response,
                Err(fault) => {
                    // The guard knows better what was wrong with a body that it broke off.
                    let fault = self.wire.broken().cloned().unwrap_or(fault);
                    tracing::debug!(%fault, "not answered by the upstream");
                    self.failed(&fault)
                }
            },
            Ok(Ruling::Answer(response)) => self.dismiss(request, response),
            Err(fault) => self.dismiss(request, respond::faulty(&fault)),
        }
    }

    /// Understands a request and decides it. Nothing is forwarded before (I19).
    async fn rule(&self, request: &mut Request<Incoming>) -> Result<Ruling<'_>, Fault> {
        self.check(request)?;
        let authority_value = authority(request)?;
        let authority = authority_value.to_str().map_err(|_| bad("header host", "not a host and port"))?;
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let target = Target::of(request.method(), target)?;
        let api = self.api(authority, &target)?;
        let route = api.intake.route_of(request.method(), target)?;
        let is_of_unknown_length = request.body().size_hint().exact().is_none();
        let needs_length = is_of_unknown_length && api.intake.needs_length(route.operation());
        let gathered = match needs_length || api.intake.needs_body(route.operation()) {
            true => Some(self.gather(request).await?),
            false => None,
        };
        let body = gathered.as_ref().map(|(body, _)| &**body);
        let peer = Some(self.address.ip());
        let asked = Asked { peer, host: Some(authority), headers: request.headers(), body };
        Ok(match self.decide(&api, &route, &asked)? {
            Decided::Admitted(fields, hold) => {
                Ruling::Forward(Pass { api, route, authority: authority_value, fields, hold, gathered })
            }
            Decided::Answered(fields, id) => {
                let mut response = respond::spelled(fields, &api.header_names);
                if let Some(id) = id.filter(|_| self.gateway.options.decision_header) {
                    response.headers_mut().insert(DECISION_HEADER, id.header_value());
                }
                Ruling::Answer(response)
            }
        })
    }

    /// The API that a request is for.
    fn api(&self, authority: &str, target: &Target<'_>) -> Result<Arc<Api>, Fault> {
        let book = self.gateway.engine.book();
        if let Some(api) = book.serving(authority, target) {
            return Ok(Arc::clone(api));
        }
        if let Some(flaw) = target.flaw() {
            return Err(flaw.clone().into());
        }
        let message = format!("no policy is for this host and path; served: {}", book.describe());
        Err(Fault { status: 404, place: "policy".into(), message: message.into() })
    }

    /// Bounds that hold for either version; the guard has checked HTTP/1 already.
    fn check(&self, request: &Request<Incoming>) -> Result<(), Fault> {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(Fault::new(405, "method", "this method is not served"));
        }
        if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES) {
            return Err(Fault::new(414, "path", "target longer than 16 KiB"));
        }
        if request.headers().len() > MAX_HEADERS {
            return Err(Fault::new(431, "head", "more than 100 header lines"));
        }
        if request.body().size_hint().lower() > self.gateway.options.bounds.body_bytes {
            return Err(Fault::new(413, "body", "longer than this gateway takes"));
        }
        Ok(())
    }

    /// The whole body, for a policy that reads it.
    async fn gather(&self, request: &mut Request<Incoming>) -> Result<(Bytes, SemaphorePermit<'_>), Fault> {
        let bound = self.gateway.options.bounds.read_body_bytes;
        let too_long = || Fault::new(413, "body", "longer than a body that the policy reads may be");
        let hint = request.body().size_hint();
        if hint.lower() > bound as u64 {
            return Err(too_long());
        }
        let expected = hint.exact().and_then(|length| usize::try_from(length).ok()).unwrap_or(bound);
        let blocks = u32::try_from(expected.div_ceil(HELD_BLOCK_BYTES)).unwrap_or(u32::MAX);
        let full = |_| Fault::new(503, "body", "too many bodies are being read; try again");
        let room = self.gateway.held.try_acquire_many(blocks).map_err(full)?;
        let mut gathered = BytesMut::with_capacity(hint.exact().map_or(0, |_| expected));
        loop {
            let next = timeout(self.gateway.options.timeouts.body, request.body_mut().frame());
            let late = |_| Fault::new(408, "body", "the rest did not arrive in time");
            match next.await.map_err(late)? {
                None => return Ok((gathered.freeze(), room)),
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    if gathered.len() + data.len() > bound {
                        return Err(too_long());
                    }
                    gathered.extend_from_slice(&data);
                }
                Some(Err(_)) => return Err(self.wire.broken().cloned().unwrap_or(bad("body", "broke off"))),
            }
        }
    }

    /// Asks the limiter.
    fn decide(&self, api: &Api, route: &Route, asked: &Asked<'_>) -> Result<Decided, Fault> {
        let engine = &self.gateway.engine;
        let limiter = &engine.limiter;
        let facts = api.intake.extract(&api.policy, route, asked, limiter.clock().now())?;
        let malformed = |error: tidegate_core::DemandError| Fault {
            status: 400,
            place: "attributes".into(),
            message: error.to_string().into(),
        };
        let mut builder = facts.demand(&api.policy).map_err(malformed)?;
        let demand = builder.set_purpose(Purpose::Hold).finish();
        let decision = engine.check(demand);
        let hold = Hold::new(engine, limiter.receipt(&decision));
        let fields = api.dialect.render(&decision);
        if let Some(id) = engine.keep_refusal(&decision, Surface::Gateway) {
            return Ok(Decided::Answered(fields, Some(id)));
        }
        let operation = api.policy.operation(route.operation()).name();
        let Some(inspection) = api.dialect.inspection().filter(|inspection| inspection.operation() == operation) else {
            return Ok(Decided::Admitted(fields, hold));
        };
        let query = route.target().split_once('?').map_or("", |(_, query)| query);
        let mut shown = inspection.answer(&api.policy, &builder, query, |peek| limiter.check(peek));
        shown.add_missing(&fields);
        Ok(Decided::Answered(shown, None))
    }

    /// Sends an admitted request to the upstream, and its answer back.
    async fn forward(
        &self,
        request: Request<Incoming>,
        mut pass: Pass<'_>,
        asks_to_upgrade: bool,
    ) -> Result<Response<Download>, Fault> {
        let Some(upstream) = self.gateway.upstream_of(&pass.api)? else {
            let mut response = self.echo(request, &pass).await?;
            respond::add(pass.fields, &pass.api.header_names, response.headers_mut());
            return Ok(response.map(|body| body.holding(pass.hold)));
        };
        let (mut parts, body) = request.into_parts();
        let client = parts.extensions.remove::<OnUpgrade>().filter(|_| asks_to_upgrade);
        let gathered = pass.gathered.take();
        let bounds = (self.gateway.options.bounds.body_bytes, self.gateway.options.timeouts.body);
        let (upload, progress) = match &gathered {
            Some((body, _)) => (Upload::Whole(Some(body.clone()).filter(|body| !body.is_empty())), Arc::default()),
            None => Upload::stream(body, bounds.0, bounds.1),
        };
        self.readdress(&mut parts, &upstream, &pass, &upload)?;
        if client.is_some() {
            ask_to_upgrade(&mut parts.headers);
        }
        let (mut response, lease) = upstream.send(Request::from_parts(parts, upload), &progress).await?;
        fields::towards_client(response.headers_mut());
        respond::add(pass.fields, &pass.api.header_names, response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let client = client.ok_or(Fault::new(502, "upstream", "switched protocols without being asked"))?;
            return Ok(self.open_tunnel(client, response, pass.hold));
        }
        pass.hold.meter_with(pass.api.intake.response_meter(pass.route.operation(), response.headers()));
        let limit = self.gateway.options.timeouts.body;
        Ok(response.map(|body| Download::upstream(Arrival::new(body, lease, limit)).holding(pass.hold)))
    }

    /// Makes a client's request head the one that the upstream gets: what was matched, and nothing else (I46).
    fn readdress(&self, parts: &mut Parts, upstream: &Upstream, pass: &Pass<'_>, upload: &Upload) -> Result<(), Fault> {
        let intake = &pass.api.intake;
        parts.uri = upstream.target(pass.route.target())?;
        parts.version = http::Version::HTTP_11;
        let origin =
            Origin { address: self.forwarded_for.as_ref(), authority: &pass.authority, upstream: upstream.authority() };
        fields::towards_upstream(&mut parts.headers, origin, |name| intake.reads_header(name));
        if intake.settles(pass.route.operation()) {
            parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if upload.size_hint().exact().is_none() {
            // Said aloud, as a GET would otherwise lose its body on the way.
            parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Ok(())
    }

    async fn echo(&self, request: Request<Incoming>, pass: &Pass<'_>) -> Result<Response<Download>, Fault> {
        let (mut parts, body) = request.into_parts();
        let bounds = (self.gateway.options.bounds.body_bytes, self.gateway.options.timeouts.body);
        let upload = match &pass.gathered {
            Some((body, _)) => Upload::Whole(Some(body.clone())),
            None => Upload::stream(body, bounds.0, bounds.1).0,
        };
        let authority = HeaderValue::from_static(echo::AUTHORITY);
        let origin = Origin { address: self.forwarded_for.as_ref(), authority: &pass.authority, upstream: &authority };
        let intake = &pass.api.intake;
        fields::towards_upstream(&mut parts.headers, origin, |name| intake.reads_header(name));
        echo::answer(&parts.method, pass.route.target(), &parts.headers, upload).await
    }

    fn open_tunnel(&self, client: OnUpgrade, mut response: Response<Incoming>, hold: Hold) -> Response<Download> {
        let upstream = hyper::upgrade::on(&mut response);
        let timeouts = self.gateway.options.timeouts;
        tokio::spawn(tunnel::run(client, upstream, timeouts, self.stage.clone(), hold));
        ask_to_upgrade(response.headers_mut());
        response.map(|_| Download::local(None))
    }

    /// Answers a request whose body was not read, and keeps its connection in step: the body is thrown away while the
    /// answer is on its way, or the connection closes behind it (P3).
    fn dismiss(&self, request: Request<Incoming>, mut response: Response<Download>) -> Response<Download> {
        if self.version == Version::Http2 || request.body().is_end_stream() {
            return response;
        }
        let bound = self.gateway.options.bounds.drained_body_bytes;
        let is_expecting = request.headers().contains_key(header::EXPECT);
        if is_expecting || request.body().size_hint().lower() > bound {
            respond::close(&mut response);
            return response;
        }
        let limit = self.gateway.options.timeouts.body;
        tokio::spawn(async move { timeout(limit, drain(request.into_body(), bound)).await });
        response
    }

    /// Says why an admitted request was not answered by the upstream.
    fn failed(&self, fault: &Fault) -> Response<Download> {
        let mut response = respond::faulty(fault);
        let is_of_client = fault.status < 500;
        if is_of_client && self.version == Version::Http1 {
            respond::close(&mut response);
        }
        response
    }
}

/// The authority that a request is for, as the client spelled it.
fn authority(request: &Request<Incoming>) -> Result<HeaderValue, Fault> {
    let place = "header host";
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let malformed = || bad(place, "not a host and port");
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(bad(place, "more than one")),
        (None, None) => None,
        (Some(host), None) => Some((host, host.to_str().map_err(|_| malformed())?)),
    };
    let (text, value) = match (request.uri().authority(), host) {
        (Some(authority), Some((_, host))) => {
            if host::canonical_authority(authority.as_str()) != host::canonical_authority(host) {
                return Err(bad(place, "differs from the authority in the target"));
            }
            (authority.as_str(), None)
        }
        (Some(authority), None) => (authority.as_str(), None),
        // The value as it came, which is not copied.
        (None, Some((value, host))) => (host, Some(value.clone())),
        (None, None) => return Err(bad(place, "missing")),
    };
    if !host::is_authority(text) {
        return Err(malformed());
    }
    value.map_or_else(|| HeaderValue::from_str(text).map_err(|_| malformed()), Ok)
}

fn ask_to_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

async fn drain(mut body: Incoming, bound: u64) {
    let mut left = bound;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

impl From<BadRequest> for Fault {
    fn from(request: BadRequest) -> Fault {
        Fault { status: 400, place: request.place().to_owned().into(), message: request.message().to_owned().into() }
    }
}
