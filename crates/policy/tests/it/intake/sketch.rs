//! A small API, drawn in a few words, and requests to it.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tidegate_core::{
    AttributeId, Cost, LimitDraft, OperationDraft, Policy, PolicyDraft, Quota, QuotaTree, RecordDraft, Span, Timestamp,
};
use tidegate_policy::{
    Asked, AttributeDraft, BadRequest, CostDraft, CostSource, Facts, From, Intake, IntakeDraft, IntakeError, JwtDraft,
    RouteDraft, SettleDraft, SettleSource, SourceDraft,
};

/// 2024-02-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_706_745_600);

/// An API being drawn.
#[derive(Clone, Default)]
pub(crate) struct Sketch {
    pub(crate) policy: PolicyDraft,
    pub(crate) intake: IntakeDraft,
}

/// A drawn API.
pub(crate) struct Api {
    pub(crate) policy: Policy,
    pub(crate) intake: Intake,
}

impl Sketch {
    pub(crate) fn new() -> Sketch {
        let mut sketch = Sketch::default();
        sketch.policy.default_operation = "other".to_owned();
        sketch.operation("other")
    }

    fn operation(mut self, name: &str) -> Sketch {
        if !self.policy.operations.iter().any(|operation| operation.name == name) {
            self.policy.operations.push(OperationDraft { name: name.to_owned(), ..OperationDraft::default() });
        }
        self
    }

    pub(crate) fn route(mut self, operation: &str, route: &str) -> Sketch {
        let (method, template) = route.split_once(' ').expect("METHOD TEMPLATE");
        self.intake.routes.push(RouteDraft {
            operation: operation.to_owned(),
            method: method.to_owned(),
            template: template.to_owned(),
        });
        self.operation(operation)
    }

    pub(crate) fn bases(mut self, bases: &[&str]) -> Sketch {
        self.intake.bases = bases.iter().map(|&base| base.to_owned()).collect();
        self
    }

    /// An attribute with sources in order, none with a map.
    pub(crate) fn attribute(self, name: &str, sources: &[&str]) -> Sketch {
        let sources = sources.iter().map(|source| source_of(&[source], &[])).collect();
        self.sourced(name, sources)
    }

    pub(crate) fn sourced(mut self, name: &str, sources: Vec<SourceDraft>) -> Sketch {
        if !AttributeId::BUILT_IN.contains(&name) {
            self.policy.attributes.push(name.to_owned());
        }
        self.intake.attributes.push(AttributeDraft { name: name.to_owned(), sources });
        self
    }

    pub(crate) fn jwt(mut self, from: &[&str], upstream_verifies: bool) -> Sketch {
        let jwt = self.intake.jwt.get_or_insert_with(JwtDraft::default);
        jwt.from = from.iter().map(|from| from_of(from)).collect();
        jwt.upstream_verifies = upstream_verifies;
        self
    }

    pub(crate) fn secret(mut self, attribute: &str, value: &str, secret: &str) -> Sketch {
        let jwt = self.intake.jwt.get_or_insert_with(JwtDraft::default);
        jwt.secrets.insert((attribute.to_owned(), value.to_owned()), secret.to_owned());
        self.record(attribute, value, RecordDraft::default())
    }

    pub(crate) fn client(mut self, header: &str, trusted: &[&str]) -> Sketch {
        self.intake.client.header = Some(header.to_owned());
        self.intake.client.trusted = trusted.iter().map(|&block| block.to_owned()).collect();
        self
    }

    pub(crate) fn record(mut self, attribute: &str, value: &str, record: RecordDraft) -> Sketch {
        self.policy.records.entry(attribute.to_owned()).or_default().insert(value.to_owned(), record);
        self
    }

    /// A limit of 10 a minute per attributes, on operations (none: on all).
    pub(crate) fn limit(self, name: &str, on: &[&str], per: &[&str]) -> Sketch {
        self.limit_in("requests", Cost::One, name, on, per)
    }

    pub(crate) fn limit_in(mut self, unit: &str, cost: Cost, name: &str, on: &[&str], per: &[&str]) -> Sketch {
        if unit != "requests" && !self.policy.units.iter().any(|known| known == unit) {
            self.policy.units.push(unit.to_owned());
        }
        self.policy.limits.push(LimitDraft {
            name: name.to_owned(),
            on: (!on.is_empty()).then(|| on.iter().map(|&on| on.to_owned()).collect()),
            per: per.iter().map(|&per| (per.to_owned(), false)).collect(),
            distinct: None,
            unit: unit.to_owned(),
            cost,
            quota: QuotaTree::Fixed(Quota::per(10, Span::from_secs(60))),
            ..LimitDraft::default()
        });
        self
    }

    pub(crate) fn cost(self, unit: &str, on: &[&str], length_of: &str) -> Sketch {
        self.costing(unit, Some(on), CostSource::LengthOf(length_of.to_owned()))
    }

    pub(crate) fn costing(mut self, unit: &str, on: Option<&[&str]>, source: CostSource) -> Sketch {
        let on = on.map(|on| on.iter().map(|&on| on.to_owned()).collect());
        self.intake.costs.push(CostDraft { unit: unit.to_owned(), on, source });
        self
    }

    pub(crate) fn settle(self, unit: &str, on: Option<&[&str]>, pointer: &str) -> Sketch {
        self.settling(unit, on, SettleSource::Body(pointer.to_owned()))
    }

    pub(crate) fn settling(mut self, unit: &str, on: Option<&[&str]>, source: SettleSource) -> Sketch {
        let on = on.map(|on| on.iter().map(|&on| on.to_owned()).collect());
        self.intake.settles.push(SettleDraft { unit: unit.to_owned(), on, source });
        self
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy::freeze(&self.policy).expect("the sketch is a policy")
    }

    pub(crate) fn try_build(&self) -> Result<Api, IntakeError> {
        let policy = self.policy();
        Intake::build(&self.intake, &policy).map(|intake| Api { policy, intake })
    }

    pub(crate) fn build(&self) -> Api {
        self.try_build().expect("the sketch is an intake")
    }
}

pub(crate) fn from_of(text: &str) -> From {
    From::parse(text).expect("a source")
}

pub(crate) fn source_of(from: &[&str], map: &[(&str, &str)]) -> SourceDraft {
    SourceDraft {
        from: from.iter().map(|from| from_of(from)).collect(),
        map: map.iter().map(|(glob, value)| ((*glob).to_owned(), (*value).to_owned())).collect(),
        hash: false,
    }
}

/// A request being written.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) host: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Request {
        Request {
            method: Method::from_bytes(method.as_bytes()).expect("a method"),
            target: target.to_owned(),
            peer: None,
            host: None,
            headers: HeaderMap::new(),
            body: None,
        }
    }

    pub(crate) fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    pub(crate) fn post(target: &str, body: &str) -> Request {
        Request { body: Some(body.as_bytes().to_vec()), ..Request::new("POST", target) }
    }

    pub(crate) fn host(self, host: &str) -> Request {
        Request { host: Some(host.to_owned()), ..self }
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Request {
        self.header_bytes(name, value.as_bytes())
    }

    pub(crate) fn header_bytes(mut self, name: &str, value: &[u8]) -> Request {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        self.headers.append(name, HeaderValue::from_bytes(value).expect("a header value"));
        self
    }
}

impl Api {
    pub(crate) fn facts_at(&self, request: &Request, now: Timestamp) -> Result<Facts, BadRequest> {
        let route = self.intake.route(&request.method, &request.target)?;
        let asked = Asked {
            peer: request.peer,
            host: request.host.as_deref(),
            headers: &request.headers,
            body: request.body.as_deref(),
        };
        self.intake.extract(&self.policy, &route, &asked, now)
    }

    pub(crate) fn facts(&self, request: &Request) -> Result<Facts, BadRequest> {
        self.facts_at(request, NOW)
    }

    /// The value of an attribute of a request that is good.
    pub(crate) fn value(&self, request: &Request, attribute: &str) -> Option<String> {
        let facts = self.facts(request).unwrap_or_else(|problem| panic!("{problem}"));
        facts.value(self.policy.attribute(attribute).expect("an attribute")).map(str::to_owned)
    }

    /// The complaint about a request that is not.
    pub(crate) fn complaint(&self, request: &Request) -> String {
        match self.facts(request) {
            Ok(facts) => panic!("expected a complaint, found {facts:?}"),
            Err(problem) => problem.to_string(),
        }
    }

    pub(crate) fn operation(&self, name: &str) -> tidegate_core::OperationId {
        self.policy.operation_named(name).expect("an operation")
    }
}

/// The rows of a table: not empty, no comment, split at ` => ` and trimmed.
pub(crate) fn rows(table: &str) -> impl Iterator<Item = (usize, String, String)> {
    let lines = table.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with("# "));
    lines.map(|(index, line)| {
        let (left, right) = line.split_once(" => ").unwrap_or_else(|| panic!("line {} has no ` => `", index + 1));
        (index + 1, unescape(left.trim()), unescape(right.trim()))
    })
}

/// Resolves `\xHH` and `\u{H}`; any other backslash is one.
fn unescape(text: &str) -> String {
    if text == "(nothing)" {
        return String::new();
    }
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (digits, after) = if let Some(braced) = rest.strip_prefix("u{") {
            braced.split_once('}').expect("a closing brace")
        } else if let Some(hex) = rest.strip_prefix('x') {
            hex.split_at(2)
        } else {
            plain.push('\\');
            continue;
        };
        plain.push(u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).expect("a code point"));
        rest = after;
    }
    plain + rest
}
