//! From an abstract HTTP request to the facts that limits count by.
//!
//! [`Intake::route`] makes the target canonical and finds the operation; [`Intake::extract`] reads the attributes and
//! the costs that the request states; [`Intake::settled_costs`] and [`ResponseMeter`] read those that the response
//! states. What could be read in two ways is a [`BadRequest`]: nobody gets another counter by another spelling.
//!
//! Of several sources of one fact the first that is present wins, in the order of the policy; a later one is then not
//! looked at, but a header or query parameter that is a source and occurs twice is refused wherever it stands.
//!
//! There is nothing of a server here: no sockets, no streams, no clock.

mod bad_request;
mod build;
mod client;
mod draft;
mod explain;
mod facts;
mod glob;
mod host;
mod json;
mod jwt;
mod keys;
mod loose;
mod meter;
mod path;
mod reading;
mod route;
mod routes;
mod sources;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};
use tidegate_core::{AttributeId, OperationId, Policy, Timestamp, UnitId, bounds};

use client::Client;
pub(crate) use client::{MAX_TRUSTED, Network};
pub(crate) use glob::Glob;
pub(crate) use host::canonical as canonical_host;
use json::{Found, Pointer};
pub use jwt::TokenFault;
use jwt::{Claims, Named, Secrets};
use meter::Settle;
pub use path::Target;
pub(crate) use path::{Case, Plus, percent_decode};
use reading::Reading;
pub(crate) use routes::MAX_ROUTES;
use routes::Routes;
use sources::{Attribute, Inputs, Place};

pub use bad_request::BadRequest;
pub use build::IntakeError;
pub use draft::{
    AttributeDraft, ClientDraft, CostDraft, CostSource, From, IntakeDraft, JwtDraft, KeysDraft, RouteDraft,
    SettleDraft, SettleSource, SourceDraft,
};
pub use explain::{Finding, Sourced, TrustedBy, Understood};
pub use facts::Facts;
pub(crate) use keys::is_text_of_a_key;
pub use keys::{Key, Keys, SignatureAlgorithm};
pub use meter::{MAX_METERED_BYTES, MeterProblem, ResponseMeter};
pub use route::Route;

/// Headers by which a client asks for another method than it sends. The limits of an operation would be evaded by them
/// wherever an upstream obeys, so a request that has one with another method is refused.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

const _: () = assert!(bounds::MAX_ATTRIBUTES <= u16::BITS as usize, "a bit for each attribute");

/// How requests of one API become facts: frozen, as its policy is.
#[derive(Debug)]
pub struct Intake {
    routes: Routes,
    default_operation: OperationId,
    /// The segments that a path begins with and that are not forwarded.
    stripped: Vec<Box<str>>,
    inputs: Inputs,
    /// Each after its sources; those that need no claims first.
    attributes: Vec<Attribute>,
    tokens: Option<Tokens>,
    /// By operation.
    plans: Vec<Plan>,
    costs: Vec<CostOf>,
}

/// What is read for one operation beside its attributes.
#[derive(Debug)]
struct Plan {
    /// One bit for each attribute that the limits depend on and that may be in the body.
    in_body: u16,
    /// Places in the intake's costs.
    costs: Vec<usize>,
    /// Whether one of them is in the body, and whether one is its length.
    reads_body: bool,
    reads_length: bool,
    settles: Arc<[Settle]>,
    header_settles: Vec<(UnitId, HeaderName)>,
}

/// A cost that the request states.
#[derive(Debug)]
struct CostOf {
    unit: UnitId,
    amount: Amount,
    /// Whether the response states it again.
    is_reserve: bool,
}

/// Where a cost is stated.
#[derive(Debug)]
enum Amount {
    Is(u64),
    /// By its index in the inputs.
    Header(usize),
    /// The length of the array there, or the sum.
    Body(Pointer),
    BytesOfBody,
}

/// Where tokens are, and when their claims count.
#[derive(Debug)]
struct Tokens {
    places: Vec<Place>,
    upstream_verifies: bool,
    secrets: Secrets,
    keys: Option<KeysDraft>,
    claims: Claims,
}

/// The claims of a token and why they count, or why they do not.
type Verdict<'k> = Result<(Named, TrustedBy<'k>), TokenFault>;

/// A request, as far as attributes and costs come from it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// The address that it comes from; a proxy's where one stands between.
    pub peer: Option<IpAddr>,
    /// The host it is for, from `Host` or `:authority`, with or without port.
    pub host: Option<&'r str>,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// Its whole body, where [`Intake::needs_body`].
    pub body: Option<&'r [u8]>,
}

impl Intake {
    /// The canonical path of a target in origin form, `/path?query`, and the operation that method and path lead to:
    /// the policy's default one if no route fits.
    ///
    /// # Errors
    ///
    /// The path has no canonical form, or the method is not written in capitals.
    pub fn route(&self, method: &Method, target: &str) -> Result<Route, BadRequest> {
        self.route_of(method, Target::of(method, target)?)
    }

    /// The same for a target that was read already.
    ///
    /// # Errors
    ///
    /// The path has no canonical form.
    pub fn route_of(&self, method: &Method, target: Target<'_>) -> Result<Route, BadRequest> {
        let stripped = if target.begins_with(&self.stripped, self.routes.case()) { self.stripped.len() } else { 0 };
        let matched_by = if method == Method::HEAD { &Method::GET } else { method };
        let shape = self.routes.find(matched_by, &target)?;
        let about = shape.and_then(|id| self.routes.shape(id));
        let operation = about.map_or(self.default_operation, |shape| shape.operation);
        let method = self.routes.method_name(matched_by);
        Ok(Route::new(target, operation, method, shape.zip(about), stripped))
    }

    /// Leaves out these segments at the beginning of a path when it is forwarded; every route begins with them.
    pub(crate) fn strip(&mut self, segments: Vec<Box<str>>) {
        self.stripped = segments;
    }

    /// Whether the body must be known to extract what the limits on an operation count by.
    pub fn needs_body(&self, operation: OperationId) -> bool {
        self.plans.get(operation.index()).is_some_and(Plan::needs_body)
    }

    /// Whether the length of the body must be known: from its `Content-Length`, or by reading it.
    pub fn needs_length(&self, operation: OperationId) -> bool {
        self.plans.get(operation.index()).is_some_and(|plan| plan.reads_length)
    }

    /// Whether an attribute or a cost may come from the header of that name.
    pub fn reads_header(&self, name: &HeaderName) -> bool {
        self.inputs.headers.contains(name) || self.inputs.client.as_ref().and_then(Client::header) == Some(name)
    }

    /// Whether the body of the response states a cost of this operation.
    pub fn settles(&self, operation: OperationId) -> bool {
        !self.settles_of(operation).is_empty()
    }

    /// The facts about a request whose route is known. `now` is for the times in its token.
    ///
    /// # Errors
    ///
    /// The request is malformed, or could be read in two ways.
    pub fn extract(
        &self,
        policy: &Policy,
        route: &Route,
        request: &Asked<'_>,
        now: Timestamp,
    ) -> Result<Facts, BadRequest> {
        refuse_method_override(request.headers, route.method())?;
        let plan = self.plans.get(route.operation().index());
        let body = request.body.filter(|_| plan.is_some_and(Plan::needs_body));
        let costs: Vec<&CostOf> = plan.iter().flat_map(|plan| &plan.costs).map(|cost| &self.costs[*cost]).collect();
        let pointers: Vec<&Pointer> = costs.iter().filter_map(|cost| cost.amount.pointer()).collect();
        let shape = route.shape().and_then(|id| self.routes.shape(id));
        let asked = Asked { body, ..*request };
        let mut reading = Reading::of(&self.inputs, &pointers, route, shape, &asked)?;
        let mut facts = Facts::of(route.operation());
        facts.put(AttributeId::METHOD, route.owned_method());
        self.attributes(policy, &mut reading, &mut facts, now)?;
        let mut in_body = 0..;
        for cost in costs {
            let amount = match &cost.amount {
                Amount::Is(amount) => Some(*amount),
                Amount::Header(index) => reading.header_cost(*index)?,
                Amount::Body(_) => in_body.next().map_or(Ok(None), |index| reading.body_cost(index))?,
                Amount::BytesOfBody => Some(reading.body_length(request.body)?),
            };
            // A reserve of nothing reserves nothing: what is settled later is admitted while at least 1 remains.
            if !cost.is_reserve || amount.is_some_and(|amount| amount > 0) {
                facts.set_cost(cost.unit, amount.unwrap_or(1).min(bounds::MAX_AMOUNT));
            }
        }
        Ok(facts)
    }

    fn attributes(
        &self,
        policy: &Policy,
        reading: &mut Reading<'_>,
        facts: &mut Facts,
        now: Timestamp,
    ) -> Result<(), BadRequest> {
        let in_body = self.plans.get(facts.operation().index()).map_or(0, |plan| plan.in_body);
        for attribute in &self.attributes {
            if attribute.is_claimed && reading.claims.is_empty() {
                reading.claims = self.claims(reading, facts, now)?;
            }
            for source in &attribute.sources {
                let value = reading.value(source, &|id| known(policy, facts, id), in_body & bit(attribute.id) != 0);
                let value = value.map_err(|problem| problem.about_attribute(policy.attribute_name(attribute.id)))?;
                if let Some(value) = value {
                    facts.put(attribute.id, value);
                    break;
                }
            }
        }
        Ok(())
    }

    /// What the token of a request is worth: by the secret of the app that `facts` name, if it has one; else by the keys,
    /// if there are any; else on the upstream's word, where that verifies it. `None` if there is no token.
    fn token(&self, reading: &Reading<'_>, facts: &Facts, now: Timestamp) -> Result<Option<Verdict<'_>>, BadRequest> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        let Some(token) = reading.token(&tokens.places)? else { return Ok(None) };
        let mut secrets = tokens.secrets.iter();
        let secret =
            secrets.find_map(|(attribute, secrets)| Some((*attribute, secrets.get(facts.value(*attribute)?)?)));
        let claims = &tokens.claims;
        Ok(Some(match (secret, &tokens.keys) {
            (Some((attribute, secret)), _) => {
                claims.verified(&token, secret, now).map(|claims| (claims, TrustedBy::Secret(attribute)))
            }
            (None, Some(keys)) => claims
                .verified_by_keys(&token, keys, now)
                .map(|(claims, key, algorithm)| (claims, TrustedBy::Key(key, algorithm))),
            (None, None) if tokens.upstream_verifies => {
                claims.unverified(&token).map(|claims| (claims, TrustedBy::Upstream))
            }
            (None, None) => Err(TokenFault::Unverified),
        }))
    }

    /// The claims that count.
    fn claims(&self, reading: &Reading<'_>, facts: &Facts, now: Timestamp) -> Result<Vec<Option<Found>>, BadRequest> {
        let claims = self.token(reading, facts, now)?.and_then(Result::ok).map(|(claims, _)| claims);
        Ok(claims.unwrap_or_else(|| vec![None; self.inputs.claims.len()]))
    }

    /// The keys that verify tokens, and what those tokens must say.
    pub fn token_keys(&self) -> Option<&KeysDraft> {
        self.tokens.as_ref()?.keys.as_ref()
    }

    fn settles_of(&self, operation: OperationId) -> &[Settle] {
        self.plans.get(operation.index()).map_or(&[], |plan| &plan.settles)
    }

    /// The costs that a response states: whole numbers, at most [`bounds::MAX_AMOUNT`](tidegate_core::bounds).
    pub fn settled_costs(
        &self,
        operation: OperationId,
        headers: &HeaderMap,
        body: Option<&serde_json::Value>,
    ) -> Vec<(UnitId, u64)> {
        let settles = self.settles_of(operation);
        let found = |settle: &Settle| settle.pointer.find(body?).and_then(serde_json::Value::as_u64);
        let costs = settles.iter().map(|settle| meter::cost_of(found(settle).map(Found::Whole)));
        meter::by_unit(self.header_costs(operation, headers), settles, costs)
    }

    /// The costs that a response states in its headers.
    fn header_costs(&self, operation: OperationId, headers: &HeaderMap) -> Vec<(UnitId, u64)> {
        let settles = self.plans.get(operation.index()).map_or(&[][..], |plan| &plan.header_settles);
        settles.iter().filter_map(|(unit, name)| Some((*unit, meter::header_cost(headers, name)?))).collect()
    }

    /// A meter to feed a response with these headers to; `None` if it states no cost.
    pub fn response_meter(&self, operation: OperationId, headers: &HeaderMap) -> Option<ResponseMeter> {
        let settles = &self.plans.get(operation.index())?.settles;
        ResponseMeter::new(self.header_costs(operation, headers), Arc::clone(settles), headers)
    }
}

impl Plan {
    fn needs_body(&self) -> bool {
        self.in_body != 0 || self.reads_body
    }
}

impl Amount {
    fn pointer(&self) -> Option<&Pointer> {
        match self {
            Amount::Body(pointer) => Some(pointer),
            Amount::Is(_) | Amount::Header(_) | Amount::BytesOfBody => None,
        }
    }
}

/// The value of an attribute that was read before, or that follows from the route.
fn known<'f>(policy: &'f Policy, facts: &'f Facts, attribute: AttributeId) -> Option<&'f str> {
    let operation = || policy.operation(facts.operation());
    match attribute {
        AttributeId::OPERATION => Some(operation().name()),
        AttributeId::CLASS => operation().class(),
        attribute => facts.value(attribute),
    }
}

/// An attribute's bit in [`Plan::in_body`].
fn bit(attribute: AttributeId) -> u16 {
    1 << attribute.index()
}

/// Whether a body is encoded so that its bytes are not what they mean.
fn is_compressed(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(http::header::CONTENT_ENCODING).iter();
    encodings.into_iter().any(|value| !matches!(value.as_bytes(), b"" | b"identity"))
}

fn refuse_method_override(headers: &HeaderMap, method: &str) -> Result<(), BadRequest> {
    // Looked for among those there are: a request has few, and each look-up hashes a name.
    if !headers.keys().any(|name| METHOD_OVERRIDES.contains(&name.as_str())) {
        return Ok(());
    }
    let is_another = |name: &&str| headers.get_all(*name).iter().any(|value| value.as_bytes() != method.as_bytes());
    let Some(name) = METHOD_OVERRIDES.into_iter().find(is_another) else { return Ok(()) };
    let message = format!("expected the request to be sent with the method it means, not {method}");
    Err(BadRequest::at(format!("header {name}"), message))
}
