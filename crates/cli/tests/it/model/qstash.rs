//! QStash, from its page "API Rate Limit Response" and the readings in `vendors/qstash/README.md`.

use super::ask::{Ask, Planned, instants, object};
use super::ledger::{Books, Check, Line, Ruling, Shape};
use super::rng::Rng;
use super::story::{Limits, Vendor, Words};

const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

/// Plans: requests a second, messages a day, chat requests a day, chat tokens a day.
const PLANS: &[(&str, [u64; 4])] = &[
    ("free", [100, 500, 300, 10_000]),
    ("payg", [100, 500_000, 30_000, 10_000_000]),
    ("pro-1m", [500, 1_000_000, 300_000, 1_000_000_000]),
    ("pro-10m", [1_000, 10_000_000, 300_000, 1_000_000_000]),
    ("enterprise", [1_000, 100_000_000, 300_000, 1_000_000_000]),
];

/// What the page's limits are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// publish, enqueue, batch.
    Message,
    Chat,
    Other,
}

/// A request as the page would read it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    kind: Kind,
    account: String,
    plan: Option<&'static str>,
    requests: u64,
    /// Of a batch, its elements.
    messages: u64,
    /// Tokens that the caller names beforehand.
    reserved: Option<u64>,
    /// Tokens that the answer tells.
    used: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct QStash {
    books: Books,
    scenarios: u64,
}

impl Facts {
    fn quotas(&self) -> [u64; 4] {
        PLANS.iter().find(|(name, _)| Some(*name) == self.plan).unwrap_or(&PLANS[0]).1
    }

    fn checks(&self) -> Vec<Check> {
        let [burst, daily, requests, tokens] = self.quotas();
        let mut checks = vec![self.check("burst", burst, SECOND, self.requests, self.requests)];
        match self.kind {
            Kind::Message => checks.push(self.check("daily", daily, DAY, self.messages, self.messages)),
            Kind::Chat => {
                checks.push(self.check("chat-requests", requests, DAY, self.requests, self.requests));
                let (need, take) = self.reserved.map_or((1, 0), |reserved| (reserved, reserved));
                checks.push(self.check("chat-tokens", tokens, DAY, need, take));
            }
            Kind::Other => {}
        }
        checks
    }

    fn check(&self, name: &'static str, quota: u64, window_us: u64, need: u64, take: u64) -> Check {
        Check { name, subject: self.account.clone(), quota, window_us, shape: Shape::Clock, need, take }
    }
}

impl Vendor for QStash {
    type Facts = Facts;

    fn name(&self) -> &'static str {
        "qstash"
    }

    fn limits(&self) -> Limits {
        &[
            ("burst", &[100, 500, 1_000]),
            ("daily", &[500, 500_000, 1_000_000, 10_000_000, 100_000_000]),
            ("chat-requests", &[300, 30_000, 300_000]),
            ("chat-tokens", &[10_000, 10_000_000, 1_000_000_000]),
        ]
    }

    fn scenario(&mut self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        self.scenarios += 1;
        let facts = self.facts(rng);
        match rng.below(16) {
            0..=3 => self.burst(rng, start, &facts),
            4..=6 => self.batches(rng, start, &facts),
            7..=9 => self.messages(rng, start, &facts),
            10 => self.chat_requests(rng, start, &facts),
            11 => self.edge_of_day(rng, start, &facts),
            _ => self.chat_tokens(rng, start, &facts),
        }
    }

    fn rule(&mut self, at: u64, facts: &Facts) -> Ruling {
        let checks = facts.checks();
        let ruling = self.books.rule(at, &checks);
        if let (true, Some(used), Kind::Chat) = (ruling.allowed, facts.used, facts.kind) {
            self.books.settle(&checks[2], used);
        }
        ruling
    }

    /// A refusal carries the family of the limit that refused and no other; an admission all that apply.
    fn words(&self, _: &Facts, ruling: &Ruling) -> Words {
        let refusing = ruling.binding().filter(|_| !ruling.allowed).map(|line| family(line.name));
        let mut words = Words::default();
        for line in &ruling.lines {
            if refusing.is_none_or(|refusing| refusing == family(line.name)) {
                headers(ruling, line, &mut words);
            }
        }
        if let Some(family) = refusing {
            words.put_body(format!("{{\"error\":\"Exceeded {family} rate limit\"}}"));
        }
        words
    }
}

fn family(limit: &str) -> &'static str {
    match limit {
        "burst" => "burst",
        "daily" => "daily",
        _ => "chat",
    }
}

fn headers(ruling: &Ruling, line: &Line, words: &mut Words) {
    let names = match line.name {
        "burst" => ["Burst-RateLimit-Limit", "Burst-RateLimit-Remaining", "Burst-RateLimit-Reset"],
        "daily" => ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"],
        "chat-requests" => {
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
        }
        _ => ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
    };
    let values = [line.quota, line.remaining, ruling.reset_second(line)];
    words.headers.extend(names.into_iter().zip(values.map(|value| value.to_string())));
}

impl QStash {
    fn facts(&self, rng: &mut Rng) -> Facts {
        let plan = *rng.pick(&[
            None,
            Some("free"),
            Some("payg"),
            Some("pro-1m"),
            Some("pro-10m"),
            Some("enterprise"),
            Some("starter"),
        ]);
        // Mostly an account stays on its plan; some change it in the middle of the day.
        let name = if rng.once_in(5) { "any" } else { plan.unwrap_or("none") };
        let fresh = rng.once_in(3);
        let account = if fresh { format!("{name}{}", 100 + self.scenarios) } else { format!("{name}{}", rng.below(2)) };
        Facts { kind: Kind::Other, account, plan, requests: 1, messages: 1, reserved: None, used: None }
    }

    /// A second's quota and a little more, of anything.
    fn burst(&self, rng: &mut Rng, start: u64, facts: &Facts) -> Vec<Planned<Facts>> {
        let [burst, ..] = facts.quotas();
        let count = if burst > 100 && !rng.once_in(6) { 30 } else { burst + 1 + rng.below(9) };
        let way = rng.below(3);
        let mut asks = Vec::new();
        for at in instants(rng, start, SECOND, count) {
            let kind = *rng.pick(&[Kind::Other, Kind::Other, Kind::Message, Kind::Chat]);
            let facts = Facts { kind, ..facts.clone() };
            let facts = if burst > 100 && count == 30 { Facts { requests: burst / 28, ..facts } } else { facts };
            asks.push((at, if way == 0 || facts.requests > 1 { asked(rng, &facts) } else { requested(rng, &facts) }));
        }
        asks
    }

    /// Batches until the day's messages are used up.
    fn batches(&self, rng: &mut Rng, start: u64, facts: &Facts) -> Vec<Planned<Facts>> {
        let [_, daily, ..] = facts.quotas();
        let small = daily == 500;
        let mut asks = Vec::new();
        for at in instants(rng, start, 5 * SECOND, 24) {
            let messages = if small { rng.below(80) } else { daily / (1 + rng.below(20)) + rng.below(3) };
            let facts = Facts { kind: Kind::Message, messages, ..facts.clone() };
            asks.push((at, if small && !rng.once_in(3) { batch(rng, &facts) } else { asked(rng, &facts) }));
        }
        asks
    }

    /// Single messages until the day's are used up, after a great batch where that would take long.
    fn messages(&self, rng: &mut Rng, start: u64, facts: &Facts) -> Vec<Planned<Facts>> {
        let [_, daily, ..] = facts.quotas();
        let facts = Facts { kind: Kind::Message, ..facts.clone() };
        let first = Facts { messages: daily - 20 - rng.below(20), ..facts.clone() };
        let mut asks = vec![(start, asked(rng, &first))];
        for at in instants(rng, start + 1, SECOND, 45) {
            asks.push((at, if rng.once_in(3) { asked(rng, &facts) } else { requested(rng, &facts) }));
        }
        asks
    }

    fn chat_requests(&self, rng: &mut Rng, start: u64, facts: &Facts) -> Vec<Planned<Facts>> {
        let [burst, _, daily, _] = facts.quotas();
        let mut facts = Facts { kind: Kind::Chat, used: Some(rng.below(20)), ..facts.clone() };
        facts.account = format!("chatty{}", self.scenarios);
        facts.requests = (daily / 300).min(burst);
        let mut asks = Vec::new();
        let mut at = start;
        for _ in 0..=daily / facts.requests {
            at += if facts.requests > 1 { SECOND } else { rng.below(SECOND / 50) };
            asks.push((at, if facts.requests > 1 { asked(rng, &facts) } else { requested(rng, &facts) }));
        }
        facts.requests = 1;
        asks.extend((1..20).map(|index| (at + index * SECOND, requested(rng, &facts))));
        asks
    }

    /// Chats whose answers use up the day's tokens, the last of them more than there are.
    fn chat_tokens(&self, rng: &mut Rng, start: u64, facts: &Facts) -> Vec<Planned<Facts>> {
        let [.., tokens] = facts.quotas();
        let mut asks = Vec::new();
        for at in instants(rng, start, SECOND, 30) {
            let mut facts = Facts { kind: Kind::Chat, ..facts.clone() };
            facts.used = (!rng.once_in(6)).then(|| tokens / (2 + rng.below(25)) + rng.below(3));
            if rng.once_in(8) {
                facts.used = Some(*rng.pick(&[0, 1, tokens - 1, tokens, tokens + 7]));
            }
            if rng.once_in(6) {
                facts.reserved = Some(*rng.pick(&[0, 1, tokens / 30, tokens, tokens, tokens + 1]));
            }
            asks.push((at, if facts.reserved.is_some() { asked(rng, &facts) } else { requested(rng, &facts) }));
        }
        asks
    }

    /// Requests just before and just after midnight UTC.
    fn edge_of_day(&self, rng: &mut Rng, start: u64, facts: &Facts) -> Vec<Planned<Facts>> {
        let midnight = (start / DAY + 1) * DAY;
        let [_, daily, _, tokens] = facts.quotas();
        let mut asks = Vec::new();
        for at in [midnight - 2, midnight - 1, midnight - 1, midnight, midnight, midnight + 1] {
            let facts = Facts { kind: *rng.pick(&[Kind::Message, Kind::Chat]), messages: daily, ..facts.clone() };
            asks.push((at, asked(rng, &Facts { used: Some(tokens), ..facts })));
        }
        asks
    }
}

/// As attributes, with costs; the answer of a chat beside them.
fn asked(rng: &mut Rng, facts: &Facts) -> Ask<Facts> {
    let operation = match facts.kind {
        Kind::Message => Some(*rng.pick(&["publish", "enqueue", "batch"])),
        Kind::Chat => Some("chat"),
        Kind::Other => *rng.pick(&[None, Some("other"), Some("list-queues"), Some("logs")]),
    };
    let attributes = object(&[("account", Some(&facts.account)), ("plan", facts.plan), ("operation", operation)]);
    let mut costs = Vec::new();
    if facts.requests != 1 {
        costs.push(format!("\"requests\":{}", facts.requests));
    }
    if facts.kind == Kind::Message && facts.messages != 1 {
        costs.push(format!("\"messages\":{}", facts.messages));
    }
    if let (Some(reserved), Kind::Chat) = (facts.reserved, facts.kind) {
        costs.push(format!("\"tokens\":{reserved}"));
    }
    let cost = if costs.is_empty() { String::new() } else { format!(",\"cost\":{{{}}}", costs.join(",")) };
    Ask { line: format!("\"attributes\":{attributes}{cost}{}", response(facts)), facts: facts.clone() }
}

/// On the wire: the account by its token, in a header or in the query; destinations with all their slashes.
fn requested(rng: &mut Rng, facts: &Facts) -> Ask<Facts> {
    let (method, path) = match facts.kind {
        Kind::Message => *rng.pick(&[
            ("POST", "/v2/publish/https://example.com/hook"),
            ("POST", "/v2/publish/https://example.com//a/b%2Fc/"),
            ("POST", "/v2/publish/my-group"),
            ("POST", "/v2/publish/api/llm"),
            ("POST", "/v2/enqueue/q1/https://example.com/hook"),
            ("POST", "/v2/enqueue/q1/api/llm"),
        ]),
        Kind::Chat => ("POST", "/llm/v1/chat/completions"),
        Kind::Other => *rng.pick(&[
            ("POST", "/v2/schedules/https://example.com/hook"),
            ("GET", "/v2/schedules"),
            ("DELETE", "/v2/schedules/scd_1"),
            ("GET", "/v2/messages/msg_1"),
            ("DELETE", "/v2/messages"),
            ("GET", "/v2/queues"),
            ("POST", "/v2/topics/group/endpoints"),
            ("GET", "/v2/dlq?count=10"),
            ("GET", "/v2/events"),
            ("GET", "/v2/keys"),
            ("GET", "/v2/nothing/like/it"),
        ]),
    };
    on_the_wire(rng, facts, method, path, "")
}

/// A batch on the wire.
fn batch(rng: &mut Rng, facts: &Facts) -> Ask<Facts> {
    let elements: Vec<&str> = (0..facts.messages)
        .map(|_| {
            *rng.pick(&["{\"destination\":\"https://example.com/a\"}", "{\"destination\":\"g\",\"queue\":\"q1\"}"])
        })
        .collect();
    let body = format!(",\"body\":[{}]", elements.join(","));
    on_the_wire(rng, facts, "POST", "/v2/batch", &body)
}

fn on_the_wire(rng: &mut Rng, facts: &Facts, method: &str, path: &str, body: &str) -> Ask<Facts> {
    let bearer = format!("Bearer {}", facts.account);
    let (header, query) = match rng.below(3) {
        0 => (None, format!("{}qstash_token={}", if path.contains('?') { "&" } else { "?" }, facts.account)),
        _ => (Some(bearer.as_str()), String::new()),
    };
    let headers = object(&[("Authorization", header), ("Content-Type", Some("application/json"))]);
    let request = format!("\"method\":\"{method}\",\"path\":\"{path}{query}\",\"headers\":{headers}{body}");
    let attributes = object(&[("plan", facts.plan)]);
    let line = format!("\"request\":{{{request}}},\"attributes\":{attributes}{}", response(facts));
    Ask { line, facts: facts.clone() }
}

fn response(facts: &Facts) -> String {
    match (facts.kind, facts.used) {
        (Kind::Chat, Some(used)) => {
            let usage = format!("{{\"prompt_tokens\":0,\"completion_tokens\":{used},\"total_tokens\":{used}}}");
            format!(",\"response\":{{\"status\":200,\"body\":{{\"object\":\"chat.completion\",\"usage\":{usage}}}}}")
        }
        (Kind::Chat, None) => ",\"response\":{\"status\":200,\"body\":{\"choices\":[]}}".to_owned(),
        _ => String::new(),
    }
}
