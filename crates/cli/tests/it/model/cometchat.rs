//! CometChat, from its page "Rate Limits" and the readings in `vendors/cometchat/README.md`.

use super::ask::{Ask, Planned, instants, object};
use super::ledger::{Books, Check, Retry, Ruling, Shape};
use super::rng::Rng;
use super::story::{Limits, Vendor, Words};

const MINUTE: u64 = 60_000_000;

/// Routes and what they are: C for core, S for standard, M for sending a message, U for marking as unread, I for import.
const ROUTES: &[(char, &str, &str, &str)] = &[
    ('C', "connect", "POST", "/admin/users/auth"),
    ('C', "create-user-session", "POST", "/user_sessions"),
    ('C', "create-user", "POST", "/users"),
    ('C', "delete-user", "DELETE", "/users/u1"),
    ('C', "create-group", "POST", "/groups"),
    ('C', "join-group", "POST", "/groups/g1/members"),
    ('C', "add-members", "PUT", "/groups/g1/members"),
    ('C', "leave-group", "DELETE", "/groups/g1/members"),
    ('C', "remove-member", "DELETE", "/groups/g1/members/u1"),
    ('M', "send-message", "POST", "/messages"),
    ('M', "send-message", "POST", "/messages/17/thread"),
    ('U', "mark-as-unread", "DELETE", "/users/u1/conversation/read"),
    ('U', "mark-as-unread", "DELETE", "/groups/g1/conversation/read"),
    ('I', "import-users", "POST", "/data_import/users"),
    ('I', "import-groups", "POST", "/data_import/groups"),
    ('I', "import-members", "POST", "/data_import/members"),
    ('I', "import-messages", "POST", "/data_import/messages"),
    ('S', "mark-as-read", "POST", "/users/u1/conversation/read"),
    ('S', "mark-as-read", "POST", "/groups/g1/conversation/read"),
    ('S', "list-messages", "GET", "/messages?limit=30"),
    ('S', "get-message", "GET", "/messages/17"),
    ('S', "update-message", "PUT", "/messages/17"),
    ('S', "delete-message", "DELETE", "/messages/17"),
    ('S', "logout", "DELETE", "/admin/users/auth/token1"),
    ('S', "get-me", "GET", "/me"),
    ('S', "update-me", "PUT", "/me"),
    ('S', "delete-me", "DELETE", "/me"),
    ('S', "create-jwt", "POST", "/me/jwt"),
    ('S', "list-users", "GET", "/users"),
    ('S', "get-user", "GET", "/users/u1"),
    ('S', "update-user", "PUT", "/users/u1"),
    ('S', "deactivate-user", "PUT", "/users/u1/deactivate"),
    ('S', "reactivate-user", "PUT", "/users/u1/reactivate"),
    ('S', "create-auth-token", "POST", "/users/u1/auth_tokens"),
    ('S', "list-groups", "GET", "/groups"),
    ('S', "get-group", "GET", "/groups/g1"),
    ('S', "update-group", "PUT", "/groups/g1"),
    ('S', "delete-group", "DELETE", "/groups/g1"),
    ('S', "update-member", "PUT", "/groups/g1/members/u1"),
    ('S', "ban-user", "POST", "/groups/g1/bannedusers/u1"),
    ('S', "unban-user", "DELETE", "/groups/g1/bannedusers/u1"),
    ('S', "list-conversations", "GET", "/conversations"),
    ('S', "other", "GET", "/roles"),
    ('S', "other", "PATCH", "/users"),
    ('S', "other", "POST", "/data_import/calls"),
];

/// A request as the page would read it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    kind: char,
    app: String,
    user: Option<String>,
    plan: Option<&'static str>,
    cost: u64,
}

#[derive(Debug, Default)]
pub(crate) struct CometChat {
    books: Books,
    scenarios: u64,
}

impl Facts {
    fn checks(&self) -> Vec<Check> {
        let build = self.plan == Some("build");
        let mut checks = match self.kind {
            'C' => vec![self.check("core", &[&self.app], if build { 500 } else { 10_000 })],
            _ => vec![self.check("standard", &[&self.app], if build { 500 } else { 20_000 })],
        };
        match (self.kind, &self.user) {
            ('M', Some(user)) => checks.push(self.check("send-message", &[&self.app, user], 30)),
            ('U', Some(user)) => checks.push(self.check("mark-as-unread", &[&self.app, user], 5)),
            ('I', _) => checks.push(self.check("data-import", &[&self.app], 60)),
            _ => {}
        }
        checks
    }

    fn check(&self, name: &'static str, subject: &[&str], quota: u64) -> Check {
        let subject = subject.join(" ");
        Check { name, subject, quota, window_us: MINUTE, shape: Shape::Clock, need: self.cost, take: self.cost }
    }
}

impl Vendor for CometChat {
    type Facts = Facts;

    fn name(&self) -> &'static str {
        "cometchat"
    }

    fn limits(&self) -> Limits {
        &[
            ("core", &[500, 10_000]),
            ("standard", &[500, 20_000]),
            ("send-message", &[30]),
            ("mark-as-unread", &[5]),
            ("data-import", &[60]),
        ]
    }

    fn scenario(&mut self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        self.scenarios += 1;
        match self.scenarios % 400 {
            60 => self.flood(rng, start, 'C', 10_000),
            120 => self.flood(rng, start, 'S', 20_000),
            _ if rng.once_in(3) => self.costly(rng, start),
            _ => self.burst(rng, start),
        }
    }

    fn rule(&mut self, at: u64, facts: &Facts) -> Ruling {
        self.books.rule(at, &facts.checks())
    }

    /// The page describes headers for the 429 alone.
    fn words(&self, _: &Facts, ruling: &Ruling) -> Words {
        let mut words = Words::default();
        let Some(line) = ruling.binding().filter(|_| !ruling.allowed) else { return words };
        words.put_figures(ruling, line);
        if line.retry != Retry::Never {
            words.headers.push(("Retry-After", line.wait_seconds().to_string()));
        }
        let message = "Too many requests. You have exceeded the rate limit. Please retry after the specified time.";
        words.put_body(format!(
            "{{\"error\":{{\"code\":\"ERR_TOO_MANY_REQUESTS\",\"message\":\"{message}\",\
             \"devMessage\":\"{message}\",\"details\":{{}}}}}}"
        ));
        words
    }
}

impl CometChat {
    /// A user or an app at one of the smaller limits, one request at a time.
    fn burst(&self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        let (kinds, quota) = *rng.pick(&[("M", 30), ("M", 30), ("U", 5), ("U", 5), ("I", 60), ("SMUI", 40), ("C", 20)]);
        let facts = self.facts(rng);
        let count = quota + 1 + rng.below(quota / 4 + 3);
        let way = rng.below(3);
        let ask = |rng: &mut Rng| {
            let kinds: Vec<char> = kinds.chars().collect();
            let facts = Facts { kind: *rng.pick(&kinds), ..facts.clone() };
            if way == 0 { asked(rng, &facts) } else { requested(rng, &facts) }
        };
        instants(rng, start, MINUTE, count).into_iter().map(|at| (at, ask(rng))).collect()
    }

    /// Requests of great cost, so that an app comes to the end of its core and standard requests soon.
    fn costly(&self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        let mut facts = self.facts(rng);
        let kinds = *rng.pick(&[['C', 'C'], ['S', 'S'], ['C', 'S'], ['S', 'I']]);
        let whole = if facts.plan == Some("build") { 500 } else { *rng.pick(&[10_000, 20_000]) };
        let cost = whole / *rng.pick(&[1, 4, 7, 19]);
        let count = 12 + rng.below(20);
        let mut last = 0;
        let mut asks: Vec<Planned<Facts>> = Vec::new();
        for at in instants(rng, start, MINUTE, count) {
            facts.kind = *rng.pick(&kinds);
            facts.cost = if facts.kind == 'I' { rng.below(20) } else { cost + rng.below(3) };
            asks.push((at, asked(rng, &facts)));
            last = at;
        }
        facts.cost = 1;
        facts.kind = kinds[0];
        asks.extend((0..20).map(|index| (last + index * 200, requested(rng, &facts))));
        asks
    }

    /// An app's whole quota and a little more, in single requests.
    fn flood(&self, rng: &mut Rng, start: u64, kind: char, quota: u64) -> Vec<Planned<Facts>> {
        let start = (start / MINUTE + 1) * MINUTE;
        let facts = Facts { kind, app: format!("flooded{}", self.scenarios), user: None, plan: None, cost: 1 };
        let step = 59 * 1_000_000 / (quota + 20);
        (0..quota + 20).map(|index| (start + index * step, requested(rng, &facts))).collect()
    }

    fn facts(&self, rng: &mut Rng) -> Facts {
        let fresh = rng.once_in(3);
        let app = if fresh { format!("app{}", 100 + self.scenarios) } else { format!("app{}", rng.below(5)) };
        let user = (!rng.once_in(8)).then(|| format!("user{}", rng.below(6)));
        let plan = *rng.pick(&[None, Some("build"), Some("build"), Some("premium")]);
        Facts { kind: 'S', app, user, plan, cost: 1 }
    }
}

fn route(rng: &mut Rng, kind: char) -> (&'static str, &'static str, &'static str) {
    loop {
        let (of, operation, method, path) = *rng.pick(ROUTES);
        if of == kind {
            return (operation, method, path);
        }
    }
}

fn asked(rng: &mut Rng, facts: &Facts) -> Ask<Facts> {
    let (operation, _, _) = route(rng, facts.kind);
    let attributes = object(&[
        ("app", Some(&facts.app)),
        ("user", facts.user.as_deref()),
        ("plan", facts.plan),
        ("operation", Some(operation)),
    ]);
    let mut line = format!("\"attributes\":{attributes}");
    if facts.cost != 1 || rng.once_in(8) {
        line.push_str(&format!(",\"cost\":{{\"requests\":{}}}", facts.cost));
    }
    Ask { line, facts: facts.clone() }
}

/// On the wire: the app by its host, however that is spelt, or by a header; the user by one of two headers.
fn requested(rng: &mut Rng, facts: &Facts) -> Ask<Facts> {
    let (_, method, path) = route(rng, facts.kind);
    let host = match rng.below(4) {
        0 => format!("{}.api-us.cometchat.io", facts.app),
        1 => format!("{}.api-eu.cometchat.io:443", facts.app),
        2 => format!("{}.API-IN.CometChat.io", facts.app),
        _ => "gateway.example".to_owned(),
    };
    let app_header = if host == "gateway.example" || rng.once_in(2) { Some(facts.app.as_str()) } else { None };
    let (server, client) = if rng.once_in(2) { (facts.user.as_deref(), None) } else { (None, facts.user.as_deref()) };
    let headers = object(&[
        ("Host", Some(&host)),
        ("apikey", Some("key")),
        ("appid", app_header),
        ("onBehalfOf", server),
        ("authToken", client),
    ]);
    let base = rng.pick(&["/v3", ""]);
    let request = format!("\"request\":{{\"method\":\"{method}\",\"path\":\"{base}{path}\",\"headers\":{headers}}}");
    let line = format!("{request},\"attributes\":{}", object(&[("plan", facts.plan)]));
    Ask { line, facts: facts.clone() }
}
