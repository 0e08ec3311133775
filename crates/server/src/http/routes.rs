//! The control port's routes, one list.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{any, get, post};
use http::{Request, Response, StatusCode};
use tidegate_limiter::Clock;

use super::reservations::{self, Fate};
use super::respond::{Problem, either, json, method_not_allowed, typed, written};
use super::wire;
use super::{explain, extract, limits, openapi, policies};
use crate::{Engine, metrics};

/// Where questions are put. Its POST takes no way through the router, which costs as much as a decision.
pub(super) const CHECK: &str = "/v1/check";

/// What the routes answer from.
#[derive(Debug)]
pub(super) struct Desk<C> {
    pub(super) engine: Arc<Engine<C>>,
    /// The address that the control port is bound to.
    pub(super) bound: SocketAddr,
}

type Asked<C> = State<Arc<Desk<C>>>;

type Named = Result<Path<String>, PathRejection>;

/// The name in a path; what is no text names nothing.
fn named(name: Named) -> String {
    name.map_or_else(|_| String::new(), |Path(name)| name)
}

/// All routes. Each is in the OpenAPI document too; a test compares them.
pub(super) fn router<C: Clock + Debug + Send + Sync + 'static>(desk: Arc<Desk<C>>) -> Router {
    let get_only = || async { method_not_allowed("GET, HEAD") };
    let routes = [
        ("/v1/decisions", get(refused::<C>)),
        ("/v1/limits", get(left::<C>)),
        ("/v1/policies", get(served::<C>)),
        ("/healthz", get(healthy)),
        ("/readyz", get(ready::<C>)),
        ("/metrics", get(scrape::<C>)),
        ("/openapi.json", get(described)),
    ];
    let mut router = Router::new();
    for (path, route) in routes {
        router = router.route(path, route.fallback(get_only));
    }
    router
        // POST is answered before it comes here.
        .route(CHECK, any(|| async { method_not_allowed("POST") }))
        .route("/v1/settle", post(settled::<C>).fallback(|| async { method_not_allowed("POST") }))
        .route("/v1/release", post(released::<C>).fallback(|| async { method_not_allowed("POST") }))
        .route(
            "/v1/explain",
            get(explained::<C>).post(why::<C>).fallback(|| async { method_not_allowed("GET, HEAD, POST") }),
        )
        .route(
            "/v1/policies/{name}",
            get(policy::<C>).put(put::<C>).fallback(|| async { method_not_allowed("GET, HEAD, PUT") }),
        )
        .fallback(nothing_here)
        .with_state(desk)
}

async fn settled<C: Clock>(State(desk): Asked<C>, request: Request<Body>) -> Response<String> {
    closed(&desk, Fate::Settled, request).await
}

async fn released<C: Clock>(State(desk): Asked<C>, request: Request<Body>) -> Response<String> {
    closed(&desk, Fate::Released, request).await
}

async fn closed<C: Clock>(desk: &Desk<C>, fate: Fate, request: Request<Body>) -> Response<String> {
    match extract::body(request).await {
        Ok(body) => either(reservations::close(&desk.engine, fate, &body)),
        Err(problem) => problem.answer(),
    }
}

async fn why<C: Clock>(State(desk): Asked<C>, request: Request<Body>) -> Response<String> {
    match extract::body(request).await {
        Ok(body) => either(explain::asked(&desk.engine, &body)),
        Err(problem) => problem.answer(),
    }
}

async fn explained<C: Clock>(State(desk): Asked<C>, RawQuery(query): RawQuery) -> Response<String> {
    either(plain(query).and_then(|query| explain::queried(&desk.engine, &query)))
}

async fn refused<C: Clock>(State(desk): Asked<C>, RawQuery(query): RawQuery) -> Response<String> {
    either(plain(query).and_then(|query| explain::decisions(&desk.engine, &query)))
}

/// A query that is text once it is decoded.
fn plain(query: Option<String>) -> Result<String, Problem> {
    let query = query.unwrap_or_default();
    if extract::is_plain(&query) {
        return Ok(query);
    }
    let problem = Problem::new(StatusCode::BAD_REQUEST, "not UTF-8 once it is decoded").at("query");
    Err(problem.help("encode values as UTF-8, then by percent signs"))
}

async fn left<C: Clock>(State(desk): Asked<C>, RawQuery(query): RawQuery) -> Response<String> {
    either(plain(query).and_then(|query| limits::limits(&desk.engine, &query)))
}

async fn served<C: Clock>(State(desk): Asked<C>) -> Response<String> {
    json(StatusCode::OK, policies::list(&desk.engine.book()))
}

async fn policy<C: Clock>(State(desk): Asked<C>, name: Named) -> Response<String> {
    either(policies::one(&desk.engine.book(), &named(name)))
}

async fn put<C: Clock + Debug + Send + Sync + 'static>(
    State(desk): Asked<C>,
    name: Named,
    request: Request<Body>,
) -> Response<String> {
    if !desk.bound.ip().to_canonical().is_loopback() {
        return policies::forbidden().answer();
    }
    let body = match extract::body(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(),
    };
    // A large policy takes a good part of a second, in which others are to be answered.
    let name = named(name);
    let put = tokio::task::spawn_blocking(move || policies::put(&desk.engine, &name, &body)).await;
    put.unwrap_or_else(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the policy could not be read").answer())
}

async fn healthy() -> Response<String> {
    json(StatusCode::OK, "{\"status\":\"ok\"}".to_owned())
}

async fn ready<C: Clock>(State(desk): Asked<C>) -> Response<String> {
    let is_draining = desk.engine.is_draining();
    let status = if is_draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let failures = desk.engine.reloads.failures().into_iter();
    let failures = failures.map(|(source, failure)| wire::FailedSource {
        source,
        policy: failure.policy,
        message: failure.message,
    });
    let health = wire::Health {
        status: if is_draining { "draining" } else { "ready" }.to_owned(),
        failures: failures.collect(),
    };
    json(status, written(&health))
}

async fn scrape<C: Clock + Debug + Send + Sync + 'static>(State(desk): Asked<C>) -> Response<String> {
    match metrics::exposition(&desk.engine) {
        Ok(text) => typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a metric cannot be written").answer(),
    }
}

async fn described() -> Response<String> {
    json(StatusCode::OK, openapi::document().to_owned())
}

async fn nothing_here() -> Response<String> {
    let problem = Problem::new(StatusCode::NOT_FOUND, "nothing is here").at("path");
    problem.help("/openapi.json lists what there is; the gateway listens on a port of its own").answer()
}
