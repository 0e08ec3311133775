//! The WhatsApp manager, from its page "Rate Limits" and the readings in `vendors/whatsapp/README.md`.

use super::ask::{Ask, Planned, instants, object};
use super::ledger::{Books, Check, Ruling, Shape};
use super::rng::Rng;
use super::story::{Limits, Vendor, Words};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 3_600 * SECOND;

/// What the page's categories are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    Send,
    Create,
    Qr,
    Other,
}

/// A request as the page would read it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    category: Category,
    key: Option<String>,
    session: Option<String>,
    plan: Option<&'static str>,
    cost: u64,
}

#[derive(Debug, Default)]
pub(crate) struct WhatsApp {
    books: Books,
    sessions: u64,
}

/// General, messages and sessions of a managed key, from the page's three examples.
fn figures(plan: Option<&str>) -> (u64, u64, u64) {
    match plan {
        Some("premium") => (500, 100, 50),
        Some("trial") => (50, 10, 2),
        _ => (100, 30, 10),
    }
}

impl Facts {
    fn check(&self, name: &'static str, subject: &str, quota: u64, window_us: u64, shape: Shape) -> Check {
        Check { name, subject: subject.to_owned(), quota, window_us, shape, need: self.cost, take: self.cost }
    }

    fn checks(&self) -> Vec<Check> {
        let (general, messages, sessions) = figures(self.plan);
        let mut checks = Vec::new();
        if let Some(key) = &self.key {
            checks.push(self.check("general", key, general, MINUTE, Shape::Clock));
        }
        match (self.category, &self.session, &self.key) {
            (Category::Send, Some(session), _) => {
                checks.push(self.check("messages", session, messages, MINUTE, Shape::Clock));
            }
            (Category::Create, _, Some(key)) => {
                checks.push(self.check("sessions", key, sessions, HOUR, Shape::Clock));
            }
            (Category::Qr, Some(session), _) => checks.push(self.check("qr", session, 1, 5 * SECOND, Shape::Smooth)),
            _ => {}
        }
        checks
    }
}

impl Vendor for WhatsApp {
    type Facts = Facts;

    fn name(&self) -> &'static str {
        "whatsapp"
    }

    fn limits(&self) -> Limits {
        &[("general", &[50, 100, 500]), ("messages", &[10, 30, 100]), ("sessions", &[2, 10, 50]), ("qr", &[1])]
    }

    fn scenario(&mut self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        let plan = *rng.pick(&[None, Some("standard"), Some("premium"), Some("trial"), Some("gold")]);
        let (general, messages, sessions) = figures(plan);
        let (category, window, quota) = *rng.pick(&[
            (Category::Other, MINUTE, general),
            (Category::Send, MINUTE, messages),
            (Category::Send, MINUTE, messages),
            (Category::Create, HOUR, sessions),
            (Category::Create, MINUTE, sessions),
            (Category::Qr, 5 * SECOND, 3),
            (Category::Qr, SECOND, 2),
        ]);
        let mut facts = Facts {
            category,
            key: (!rng.once_in(12)).then(|| format!("wamk_{}", rng.below(12))),
            session: self.session(rng, category),
            plan,
            cost: 1,
        };
        let count = quota + 1 + rng.below(quota / 5 + 3);
        let ask = if rng.once_in(2) { requested(rng, &facts) } else { asked(rng, &mut facts, quota) };
        instants(rng, start, window, count).into_iter().map(|at| (at, ask.clone())).collect()
    }

    fn rule(&mut self, at: u64, facts: &Facts) -> Ruling {
        self.books.rule(at, &facts.checks())
    }

    fn words(&self, _: &Facts, ruling: &Ruling) -> Words {
        let mut words = Words::default();
        let Some(line) = ruling.binding() else { return words };
        words.put_figures(ruling, line);
        if !ruling.allowed {
            let wait = line.wait_seconds();
            words.put_body(format!(
                "{{\"success\":false,\"error\":\"Rate limit exceeded. Please wait {wait} seconds before trying again.\",\
                 \"retryAfter\":{wait}}}"
            ));
        }
        words
    }
}

impl WhatsApp {
    fn session(&mut self, rng: &mut Rng, category: Category) -> Option<String> {
        self.sessions += 1;
        match category {
            Category::Send | Category::Qr if rng.once_in(3) => Some(format!("new-{}", self.sessions)),
            Category::Send | Category::Qr => Some(format!("s{}", rng.below(8))),
            Category::Create | Category::Other => None,
        }
    }
}

/// The request as attributes, at times without the session, at times with a cost.
fn asked(rng: &mut Rng, facts: &mut Facts, quota: u64) -> Ask<Facts> {
    if rng.once_in(10) {
        facts.session = None;
    }
    let operation = match facts.category {
        Category::Send => Some("send-message"),
        Category::Create => Some("create-session"),
        Category::Qr => Some("poll-qr"),
        Category::Other => *rng.pick(&[None, Some("other"), Some("session-status"), Some("create-key")]),
    };
    let attributes = object(&[
        ("key", facts.key.as_deref()),
        ("session", facts.session.as_deref()),
        ("operation", operation),
        ("plan", facts.plan),
    ]);
    let mut line = format!("\"attributes\":{attributes}");
    if rng.once_in(4) {
        facts.cost = *rng.pick(&[0, 2, 3, quota, quota + 1]);
        line.push_str(&format!(",\"cost\":{{\"requests\":{}}}", facts.cost));
    }
    Ask { line, facts: facts.clone() }
}

/// The request as it is on the wire; only the plan comes beside it.
fn requested(rng: &mut Rng, facts: &Facts) -> Ask<Facts> {
    let session = facts.session.as_deref().unwrap_or_default();
    let (method, path) = match facts.category {
        Category::Send => {
            ("POST", format!("/sessions/{session}/send{}", rng.pick(&["", "/image", "/document", "?to=1"])))
        }
        Category::Create => ("POST", "/sessions/create".to_owned()),
        Category::Qr => (*rng.pick(&["GET", "HEAD"]), format!("/sessions/{session}/%71r{}", rng.pick(&["", "/"]))),
        Category::Other => {
            let (method, path) = *rng.pick(&[
                ("GET", "/sessions"),
                ("GET", "/sessions/s1/status"),
                ("POST", "/sessions/s1/start"),
                ("DELETE", "/sessions/s1"),
                ("POST", "/admin/api-keys"),
                ("POST", "/admin/api-keys/trial"),
                ("PUT", "/admin/api-keys/k1/rate-limits"),
                ("GET", "/contacts?session=s1"),
            ]);
            (method, path.to_owned())
        }
    };
    let bearer = facts.key.as_ref().map(|key| format!("Bearer {key}"));
    let headers = match rng.below(2) {
        0 => object(&[("X-API-Key", facts.key.as_deref())]),
        _ => object(&[("authorization", bearer.as_deref())]),
    };
    let request = format!("\"request\":{{\"method\":\"{method}\",\"path\":\"{path}\",\"headers\":{headers}}}");
    let attributes = object(&[("plan", facts.plan)]);
    Ask { line: format!("{request},\"attributes\":{attributes}"), facts: facts.clone() }
}
