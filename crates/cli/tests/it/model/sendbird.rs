//! Sendbird Platform API v3, from its page "Rate limits" and the readings in `vendors/sendbird/README.md`.

use super::ask::{Ask, Planned, instants, object};
use super::ledger::{Books, Check, Line, Retry, Ruling, Shape};
use super::rng::Rng;
use super::story::{Limits, Vendor, Words};

const SECOND: u64 = 1_000_000;

/// Plans, and what they get for GET and for other methods: requests a second.
const PLANS: &[(&str, u64, u64)] =
    &[("free", 10, 5), ("5k", 60, 10), ("10k", 100, 20), ("25k", 200, 40), ("50k", 400, 100), ("100k", 600, 200)];

/// The requests of the stricter table, with the scope of each: a for app, u for user, c for channel.
const STRICT: &[(&str, char, &str)] = &[
    ("update-user", 'u', "user-update"),
    ("create-group-channel", 'a', "channel-create"),
    ("invite-to-group-channel", 'c', "channel-invite"),
    ("send-message", 'c', "message-send"),
    ("mark-as-read", 'u', "mark-as-read"),
    ("migrate-messages", 'a', "migration"),
];

/// Endpoints. `U` stands for the user, `C` for the channel.
const ROUTES: &[(&str, &str, &str)] = &[
    ("list-users", "GET", "/users"),
    ("create-user", "POST", "/users"),
    ("get-user", "GET", "/users/U"),
    ("update-user", "PUT", "/users/U"),
    ("delete-user", "DELETE", "/users/U"),
    ("create-user-token", "POST", "/users/U/token"),
    ("mark-all-as-read", "PUT", "/users/U/mark_as_read_all"),
    ("list-my-group-channels", "GET", "/users/U/my_group_channels?limit=5"),
    ("leave-my-group-channels", "PUT", "/users/U/my_group_channels/leave"),
    ("count-unread-messages", "GET", "/users/U/unread_message_count"),
    ("list-group-channels", "GET", "/group_channels"),
    ("create-group-channel", "POST", "/group_channels"),
    ("get-group-channel", "GET", "/group_channels/C"),
    ("update-group-channel", "PUT", "/group_channels/C"),
    ("delete-group-channel", "DELETE", "/group_channels/C"),
    ("invite-to-group-channel", "POST", "/group_channels/C/invite"),
    ("join-group-channel", "PUT", "/group_channels/C/join"),
    ("leave-group-channel", "PUT", "/group_channels/C/leave"),
    ("accept-group-invitation", "PUT", "/group_channels/C/accept"),
    ("freeze-group-channel", "PUT", "/group_channels/C/freeze"),
    ("hide-group-channel", "PUT", "/group_channels/C/hide"),
    ("reset-user-history", "PUT", "/group_channels/C/reset_user_history"),
    ("mark-as-read", "PUT", "/group_channels/C/messages/mark_as_read"),
    ("list-open-channels", "GET", "/open_channels"),
    ("create-open-channel", "POST", "/open_channels"),
    ("get-open-channel", "GET", "/open_channels/C"),
    ("update-open-channel", "PUT", "/open_channels/C"),
    ("delete-open-channel", "DELETE", "/open_channels/C"),
    ("list-messages", "GET", "/group_channels/C/messages"),
    ("list-messages", "GET", "/open_channels/C/messages"),
    ("send-message", "POST", "/group_channels/C/messages"),
    ("send-message", "POST", "/open_channels/C/messages"),
    ("get-message", "GET", "/group_channels/C/messages/71"),
    ("get-message", "GET", "/open_channels/C/messages/71"),
    ("update-message", "PUT", "/group_channels/C/messages/71"),
    ("update-message", "PUT", "/open_channels/C/messages/71"),
    ("delete-message", "DELETE", "/group_channels/C/messages/71"),
    ("delete-message", "DELETE", "/open_channels/C/messages/71"),
    ("migrate-messages", "POST", "/migration/C"),
    ("schedule-announcement", "POST", "/announcements"),
    ("send-bot-message", "POST", "/bots/b1/send"),
    ("other", "GET", "/applications/settings_global"),
    ("other", "POST", "/polls"),
    ("other", "PATCH", "/users/U"),
];

/// A request as the page would read it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    operation: &'static str,
    method: &'static str,
    app: String,
    user: Option<String>,
    channel: Option<String>,
    cost: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Sendbird {
    books: Books,
    scenarios: u64,
}

impl Facts {
    /// An app stays on its plan: its name begins with it. One without a plan, or on an unknown one, is on the free one.
    fn plan(&self) -> Option<&str> {
        self.app.split('-').next().filter(|plan| *plan != "none")
    }

    fn quota(&self) -> u64 {
        let (_, reads, writes) = PLANS.iter().find(|(name, ..)| Some(*name) == self.plan()).unwrap_or(&PLANS[0]);
        if self.method == "GET" { *reads } else { *writes }
    }

    /// The scope first, then the plan.
    fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        if let Some((_, scope, name)) = STRICT.iter().find(|(operation, ..)| *operation == self.operation) {
            let within = match scope {
                'a' => Some(String::new()),
                'u' => self.user.clone(),
                _ => self.channel.clone(),
            };
            checks.extend(within.map(|within| self.check(name, format!("{} {within}", self.app), 5)));
        }
        let endpoint = format!("{} {} {}", self.app, self.operation, self.method);
        checks.push(self.check("plan", endpoint, self.quota()));
        checks
    }

    fn check(&self, name: &'static str, subject: String, quota: u64) -> Check {
        Check { name, subject, quota, window_us: SECOND, shape: Shape::Smooth, need: self.cost, take: self.cost }
    }
}

impl Vendor for Sendbird {
    type Facts = Facts;

    fn name(&self) -> &'static str {
        "sendbird"
    }

    fn limits(&self) -> Limits {
        &[
            ("user-update", &[5]),
            ("channel-create", &[5]),
            ("channel-invite", &[5]),
            ("message-send", &[5]),
            ("mark-as-read", &[5]),
            ("migration", &[5]),
            ("plan", &[5, 10, 20, 40, 60, 100, 200, 400, 600]),
        ]
    }

    fn scenario(&mut self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        self.scenarios += 1;
        let (operation, method, path) = match rng.below(2) {
            0 => *rng.pick(ROUTES),
            _ => self.strict_route(rng),
        };
        let facts = self.facts(rng, operation, method);
        let quota = if rng.once_in(2) { 5 } else { facts.quota() };
        let mut asks = Vec::new();
        let way = rng.below(3);
        let count = quota + 1 + rng.below(quota / 3 + 3);
        for at in instants(rng, start, SECOND, count) {
            let mut facts = facts.clone();
            if way == 2 && rng.once_in(2) {
                // Others of the same endpoint, so that the plan's limit is met before the scope's.
                facts.user = facts.user.map(|_| format!("u{}", rng.below(40)));
                facts.channel = facts.channel.map(|_| format!("c{}", rng.below(40)));
            }
            asks.push((at, if way == 0 { asked(rng, facts) } else { requested(rng, facts, path) }));
        }
        asks
    }

    fn rule(&mut self, at: u64, facts: &Facts) -> Ruling {
        self.books.rule(at, &facts.checks())
    }

    fn words(&self, _: &Facts, ruling: &Ruling) -> Words {
        let mut words = Words::default();
        let Some(line) = ruling.binding() else { return words };
        let limit = format!("{};w={}", line.quota, line.window_us / SECOND);
        let (reset, retry) = (seconds(line.reset_us), seconds(wait(line)));
        let fits_some_day = line.retry != Retry::Never;
        if !ruling.allowed {
            let scope = scope(line.name);
            words.put_body(format!(
                "{{\"error\":true,\"message\":\"Too many requests (scope: {scope}, limit: {limit}, remaining: {}, \
                 retry_after: {retry}s, reset: {reset}s)\",\"code\":500910}}",
                line.remaining
            ));
        }
        words.headers.push(("X-RateLimit-Limit", limit));
        words.headers.push(("X-RateLimit-Remaining", line.remaining.to_string()));
        words.headers.push(("X-RateLimit-Reset", reset));
        if fits_some_day {
            words.headers.push(("X-RateLimit-RetryAfter", retry));
        }
        words
    }
}

impl Sendbird {
    fn strict_route(&self, rng: &mut Rng) -> (&'static str, &'static str, &'static str) {
        let (strict, ..) = *rng.pick(STRICT);
        *ROUTES.iter().find(|(operation, ..)| *operation == strict).expect("a route of a stricter request")
    }

    fn facts(&self, rng: &mut Rng, operation: &'static str, method: &'static str) -> Facts {
        let plan = *rng.pick(&["none", "free", "5k", "10k", "25k", "50k", "100k", "7k"]);
        let fresh = rng.once_in(3);
        let app = if fresh { format!("{plan}-{}", 100 + self.scenarios) } else { format!("{plan}-{}", rng.below(2)) };
        let user = Some(format!("u{}", rng.below(4)));
        let channel = Some(format!("c{}", rng.below(4)));
        Facts { operation, method, app, user, channel, cost: 1 }
    }
}

/// Time to wait; until the reset if it never fits, and a second if there is nothing to reset.
fn wait(line: &Line) -> u64 {
    match (line.retry, line.reset_us) {
        (Retry::Now, _) => 0,
        (Retry::After(us), _) => us,
        (Retry::Never, 0) => SECOND,
        (Retry::Never, us) => us,
    }
}

/// Seconds as a decimal fraction, exact to the microsecond, without needless zeros.
fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / SECOND, us % SECOND);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The word for a limit's scope in the message.
fn scope(limit: &str) -> &'static str {
    match STRICT.iter().find(|(_, _, name)| *name == limit) {
        Some((_, 'u', _)) => "user",
        Some((_, 'c', _)) => "channel",
        _ => "app",
    }
}

/// The request as attributes, at times without user or channel, at times with a cost.
fn asked(rng: &mut Rng, mut facts: Facts) -> Ask<Facts> {
    if rng.once_in(10) {
        facts.user = None;
        facts.channel = None;
    }
    let method = (facts.operation == "other" || rng.once_in(2)).then_some(facts.method);
    let attributes = object(&[
        ("app", Some(&facts.app)),
        ("user", facts.user.as_deref()),
        ("channel", facts.channel.as_deref()),
        ("plan", facts.plan()),
        ("operation", Some(facts.operation)),
        ("method", method),
    ]);
    let mut line = format!("\"attributes\":{attributes}");
    if rng.once_in(6) {
        facts.cost = *rng.pick(&[0, 2, 3, 5, 6, facts.quota(), facts.quota() + 1]);
        line.push_str(&format!(",\"cost\":{{\"requests\":{}}}", facts.cost));
    }
    Ask { line, facts }
}

/// On the wire: the app by its host, user and channel by the path, or the user by the body.
fn requested(rng: &mut Rng, facts: Facts, path: &str) -> Ask<Facts> {
    let label = &facts.app;
    let host = match rng.below(3) {
        0 => format!("api-{label}.sendbird.com"),
        1 => format!("api-{label}.sendbird.com:443"),
        _ => format!("API-{label}.Sendbird.COM"),
    };
    let (user, channel) = (facts.user.clone().unwrap_or_default(), facts.channel.clone().unwrap_or_default());
    let path = path.replace('U', &user).replace('C', &channel);
    let body = match facts.operation {
        "mark-as-read" => format!(",\"body\":{}", object(&[("user_id", facts.user.as_deref())])),
        "send-message" => ",\"body\":{\"message_type\":\"MESG\",\"user_id\":\"someone\",\"message\":\"hi\"}".to_owned(),
        _ => String::new(),
    };
    let headers = object(&[("host", Some(&host)), ("Api-Token", Some("token"))]);
    let base = rng.pick(&["/v3", ""]);
    let method = if facts.method == "GET" { *rng.pick(&["GET", "HEAD"]) } else { facts.method };
    let request = format!("\"method\":\"{method}\",\"path\":\"{base}{path}\",\"headers\":{headers}{body}");
    let attributes = object(&[("plan", facts.plan())]);
    Ask { line: format!("\"request\":{{{request}}},\"attributes\":{attributes}"), facts }
}
