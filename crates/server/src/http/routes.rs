//! The control port's routes, one list.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::routing::{get, post};
use http::{Request, Response, StatusCode};
use tidegate_limiter::Clock;

use super::respond::{Problem, either, json, method_not_allowed, typed};
use super::{check, extract, limits, openapi};
use crate::{Engine, metrics};

/// What the routes answer from.
#[derive(Debug)]
pub(super) struct Desk<C> {
    pub(super) engine: Arc<Engine<C>>,
    /// Set once the server drains: it answers what it is asked, and asks to be asked no more.
    pub(super) is_draining: AtomicBool,
}

type Asked<C> = State<Arc<Desk<C>>>;

/// All routes. Each is in the OpenAPI document too; a test compares them.
pub(super) fn router<C: Clock + Debug + Send + Sync + 'static>(desk: Arc<Desk<C>>) -> Router {
    let get_only = || async { method_not_allowed("GET, HEAD") };
    let routes = [
        ("/v1/limits", get(left::<C>)),
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
        .route("/v1/check", post(ruling::<C>).fallback(|| async { method_not_allowed("POST") }))
        .fallback(nothing_here)
        .with_state(desk)
}

async fn ruling<C: Clock>(State(desk): Asked<C>, request: Request<Body>) -> Response<Body> {
    match extract::body(request).await {
        Ok(body) => either(check::check(&desk.engine, &body)),
        Err(problem) => problem.answer(),
    }
}

async fn left<C: Clock>(State(desk): Asked<C>, RawQuery(query): RawQuery) -> Response<Body> {
    let query = query.unwrap_or_default();
    if !extract::is_plain(&query) {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "not UTF-8 once it is decoded").at("query");
        return problem.help("encode values as UTF-8, then by percent signs").answer();
    }
    either(limits::limits(&desk.engine, &query))
}

async fn healthy() -> Response<Body> {
    json(StatusCode::OK, "{\"status\":\"ok\"}".to_owned())
}

async fn ready<C>(State(desk): Asked<C>) -> Response<Body> {
    if desk.is_draining.load(Ordering::Relaxed) {
        return json(StatusCode::SERVICE_UNAVAILABLE, "{\"status\":\"draining\"}".to_owned());
    }
    json(StatusCode::OK, "{\"status\":\"ready\"}".to_owned())
}

async fn scrape<C: Clock + Debug + Send + Sync + 'static>(State(desk): Asked<C>) -> Response<Body> {
    match metrics::exposition(&desk.engine) {
        Ok(text) => typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a metric cannot be written").answer(),
    }
}

async fn described() -> Response<Body> {
    json(StatusCode::OK, openapi::document().to_owned())
}

async fn nothing_here() -> Response<Body> {
    let problem = Problem::new(StatusCode::NOT_FOUND, "nothing is here").at("path");
    problem.help("/openapi.json lists what there is; the gateway listens on a port of its own").answer()
}
