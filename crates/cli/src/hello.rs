//! What `serve` says once it listens: where, and three lines to paste that show what it does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tidegate_core::{AttributeId, Decision, Demand, Policy, Purpose};
use tidegate_server::{Api, Book, Engine, vendors};
use tokio::net::TcpListener;

use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::output::counted;

/// What is said.
#[derive(Debug)]
pub(crate) struct Hello {
    policies: Vec<Served>,
    gateway: SocketAddr,
    control: SocketAddr,
    upstream: Option<String>,
    max_counters: u64,
    unused_state: Option<PathBuf>,
    examples: Vec<(String, String)>,
}

/// A policy that is served.
#[derive(Debug)]
struct Served {
    name: String,
    version: u64,
    limits: usize,
    /// Which requests it is for, in words.
    serving: String,
}

impl Hello {
    pub(crate) fn of(
        args: &ServeArgs,
        engine: &Engine,
        gateway: &TcpListener,
        control: &TcpListener,
    ) -> Result<Hello, Failure> {
        let address = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| Failure::because("a listener has no address", &error))
        };
        let (gateway, control) = (address(gateway)?, address(control)?);
        let book = engine.book();
        let served = |api: &Arc<Api>| Served {
            name: api.policy.name().to_owned(),
            version: api.policy.version(),
            limits: api.policy.limits().len(),
            serving: api.serving.describe(),
        };
        Ok(Hello {
            policies: book.apis().iter().map(served).collect(),
            gateway,
            control,
            upstream: args.upstream.as_ref().map(ToString::to_string),
            max_counters: args.max_counters,
            unused_state: args.state.clone(),
            examples: examples(args, engine, &book, gateway, control),
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let lines: Vec<&str> = self.examples.iter().map(|(_, line)| line.as_str()).collect();
        let policies: Vec<serde_json::Value> = self
            .policies
            .iter()
            .map(|served| json!({ "policy": served.name, "version": served.version, "serving": served.serving }))
            .collect();
        let only = Some(&self.policies).filter(|policies| policies.len() == 1).and_then(|policies| policies.first());
        json!({
            "policy": only.map(|served| &served.name),
            "version": only.map(|served| served.version),
            "policies": policies,
            "gateway": self.gateway.to_string(),
            "control": self.control.to_string(),
            "upstream": self.upstream,
            "store": "memory",
            "max_counters": self.max_counters,
            "examples": lines,
        })
    }

    pub(crate) fn text(&self) -> String {
        let upstream = self.upstream.as_deref().unwrap_or("a built-in upstream that echoes");
        let mut text = match self.policies.as_slice() {
            [only] => format!(
                "Tidegate serves policy `{}`, version {}: {}, at most {} in memory.\n",
                only.name,
                only.version,
                counted(only.limits as u64, "limit"),
                counted(self.max_counters, "counter"),
            ),
            several => format!(
                "Tidegate serves {} policies, at most {} in memory.\n\n",
                several.len(),
                counted(self.max_counters, "counter"),
            ),
        };
        if self.policies.len() > 1 {
            for served in &self.policies {
                let limits = counted(served.limits as u64, "limit");
                text.push_str(&format!(
                    "policy `{}`, version {}: {limits}, for {}\n",
                    served.name, served.version, served.serving
                ));
            }
        }
        text.push_str(&format!(
            "\ngateway  {}  before {upstream}\n\
             control  {}  /v1/check /v1/limits /v1/policies /healthz /readyz /metrics /openapi.json\n",
            base(self.gateway),
            base(self.control),
        ));
        if let Some(state) = &self.unused_state {
            let note = format!("note: --state {} is not used, as the memory store keeps nothing\n", state.display());
            text.push_str(&note);
        }
        for (about, line) in &self.examples {
            text.push_str(&format!("\n# {about}\n{line}\n"));
        }
        text
    }
}

/// The vendor's own lines, or lines that fit any policy.
fn examples(
    args: &ServeArgs,
    engine: &Engine,
    book: &Book,
    gateway: SocketAddr,
    control: SocketAddr,
) -> Vec<(String, String)> {
    let only = book.only().filter(|_| args.policy.is_empty());
    let vendor = only.and_then(|api| vendors::named(api.policy.name()));
    match vendor.and_then(|vendor| vendor.examples()) {
        Some(text) => pairs(&text.replace("{gateway}", &base(gateway)).replace("{control}", &base(control))),
        None => book
            .apis()
            .first()
            .map(|api| general(engine, api, book.only().is_none(), &base(control)))
            .unwrap_or_default(),
    }
}

/// Comments and the lines under them.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut about = String::new();
    let mut pairs = Vec::new();
    for line in text.lines() {
        match line.strip_prefix('#') {
            Some(comment) => about = comment.trim().to_owned(),
            None if line.is_empty() => {}
            None => pairs.push((std::mem::take(&mut about), line.to_owned())),
        }
    }
    pairs
}

/// Lines for the first operation that a limit binds: the demand, the same at a cost above its quota, and what is left.
fn general(engine: &Engine, api: &Api, must_be_named: bool, control: &str) -> Vec<(String, String)> {
    let policy = &api.policy;
    let Some((operation, unit, limit)) = policy.operations().iter().find_map(|operation| {
        let demand = sample(policy, operation.name());
        let decision = engine.limiter.check(&demand);
        binding(policy, &decision).map(|(unit, limit)| (operation.name(), unit, limit))
    }) else {
        return Vec::new();
    };
    let mut attributes = serde_json::Map::new();
    attributes.insert("operation".to_owned(), json!(operation));
    for name in own_attributes(policy) {
        attributes.insert(name.to_owned(), json!(SAMPLE_VALUE));
    }
    let named = must_be_named.then(|| policy.name());
    let query: Vec<String> = own_attributes(policy).map(|name| format!("{name}={SAMPLE_VALUE}")).collect();
    let query = named.map(|name| format!("policy={name}")).into_iter().chain(query).collect::<Vec<_>>();
    let mut admitted = json!({ "attributes": attributes });
    let mut refused = json!({ "attributes": attributes, "cost": { unit: limit.saturating_add(1) } });
    for question in [&mut admitted, &mut refused] {
        named.into_iter().for_each(|name| question["policy"] = json!(name));
    }
    vec![
        ("a decision: admitted".to_owned(), format!("curl {control}/v1/check -d '{admitted}'")),
        ("refused: more than the quota at once".to_owned(), format!("curl {control}/v1/check -d '{refused}'")),
        ("what is left".to_owned(), format!("curl '{control}/v1/limits?{}'", query.join("&"))),
    ]
}

/// A value for every attribute, in examples.
const SAMPLE_VALUE: &str = "try";

fn sample<'p>(policy: &'p Policy, operation: &'p str) -> Demand<'p> {
    let mut demand = Demand::on(policy);
    for name in own_attributes(policy).chain(["operation"]) {
        let value = if name == "operation" { operation } else { SAMPLE_VALUE };
        if let Some(attribute) = policy.attribute(name) {
            // A short value of a declared attribute and a declared operation are always allowed.
            let _ = demand.set(attribute, value);
        }
    }
    demand.set_purpose(Purpose::Peek).build()
}

/// The unit and the size of the limit that binds, if a cost above it can be named.
fn binding<'p>(policy: &'p Policy, decision: &Decision<'_>) -> Option<(&'p str, u64)> {
    let binding = decision.binding().filter(|_| decision.is_admitted())?;
    if binding.charge.limit().distinct().is_some() {
        return None;
    }
    let limit = binding.rule().limit();
    let unit = policy.unit_name(binding.charge.limit().unit());
    (limit > 0 && limit < tidegate_core::bounds::MAX_AMOUNT).then_some((unit, limit))
}

/// The attributes that the policy itself declares.
fn own_attributes(policy: &Policy) -> impl Iterator<Item = &str> {
    policy.attribute_names().skip(AttributeId::BUILT_IN.len())
}

/// The base of URLs that reach a listener from this machine.
fn base(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}
