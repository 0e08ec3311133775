//! Stream Chat, from its page "Rate Limits" and the readings in `vendors/stream/README.md`.

use super::ask::{Ask, Planned, instants, object, quoted};
use super::ledger::{Books, Check, Ruling, Shape};
use super::rng::Rng;
use super::story::{Limits, Vendor, Words};

mod routes;

use routes::ROUTES;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

/// What clients send as `X-Stream-Client`, and the platform that it is read as when the token is not a server's.
const CLIENTS: &[(&str, &str)] = &[
    ("stream-chat-js-v8.40.0-browser", "web"),
    ("stream-chat-react-v11.0.0-llc-v8.40.0|app=Shop|app_version=2|os=Windows 10|client_bundle=browser-esm", "web"),
    ("stream-chat-react-v11.0.0-llc-v8.40.0|app=Android Fans|os=macOS|device_model=swift", "web"),
    ("stream-chat-react-native-v5.4.0-llc-v8.0.0|app=Shop|os=ios 17|device_model=iPhone15,2", "ios"),
    ("stream-chat-react-native-v5.4.0-llc-v8.0.0|app=Shop|os=android 34|device_model=Pixel", "android"),
    ("stream-chat-swift-v4.60.0", "ios"),
    ("stream-chat-swift-client-v2.6.0", "ios"),
    ("stream-chat-uikit-v4.60.0|app=Shop|os=iOS 17.4|device_model=iPhone15,2", "ios"),
    ("stream-chat-swiftui-v4.60.0|app=Shop|os=iOS 17.4|device_model=iPad", "ios"),
    ("stream-chat-android-6.4.0", "android"),
    ("stream-chat-android-compose-6.4.0|os=Android 14|api_version=34|device_model=Pixel 8", "android"),
    ("stream-chat-android-ui-components-6.4.0|os=Android 9|api_version=28|device_model=SM-G960F", "android"),
    ("stream-chat-flutter-v8.0.0|app=Shop|os=android 13", "android"),
    ("stream-chat-dart-v8.0.0|app=Shop|os=ios 16.1", "ios"),
    ("stream-chat-unity-client-5.0.0|os=Android 13|platform=Android", "web"),
    // A server's client with a user's token, and one that says nothing known.
    ("stream-chat-js-v8.40.0-node", "web"),
    ("stream-python-client-4.12.0", "web"),
    ("curl", "web"),
];

/// A request as the page would read it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    endpoint: &'static str,
    minute: u64,
    app: String,
    user: Option<String>,
    platform: &'static str,
    cost: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Stream {
    books: Books,
    scenarios: u64,
}

impl Facts {
    fn checks(&self) -> Vec<Check> {
        let endpoint = format!("{} {} {}", self.app, self.endpoint, self.platform);
        let mut checks = vec![
            self.check("app-minute", &endpoint, self.minute, MINUTE),
            self.check("app-second", &endpoint, (self.minute / 30).max(1), SECOND),
        ];
        if let (Some(user), true) = (&self.user, self.platform != "server") {
            checks.push(self.check("user-minute", &format!("{endpoint} {user}"), 60, MINUTE));
        }
        checks
    }

    fn check(&self, name: &'static str, subject: &str, quota: u64, window_us: u64) -> Check {
        let (subject, shape) = (subject.to_owned(), Shape::Clock);
        Check { name, subject, quota, window_us, shape, need: self.cost, take: self.cost }
    }
}

impl Vendor for Stream {
    type Facts = Facts;

    fn name(&self) -> &'static str {
        "stream"
    }

    fn limits(&self) -> Limits {
        &[("app-minute", &[6, 60, 300, 1_000, 10_000]), ("app-second", &[1, 2, 10, 33, 333]), ("user-minute", &[60])]
    }

    fn scenario(&mut self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        self.scenarios += 1;
        match rng.below(24) {
            _ if self.scenarios % 400 == 50 => self.minute(rng, start, 10_000),
            0 if rng.once_in(3) => self.minute(rng, start, 1_000),
            1 => self.minute(rng, start, 300),
            2..=4 => {
                let quota = *rng.pick(&[60, 6, 0]);
                self.minute(rng, start, quota)
            }
            5..=8 => self.second(rng, start),
            9 => self.costly(rng, start),
            _ => self.user(rng, start),
        }
    }

    fn rule(&mut self, at: u64, facts: &Facts) -> Ruling {
        self.books.rule(at, &facts.checks())
    }

    fn words(&self, facts: &Facts, ruling: &Ruling) -> Words {
        let mut words = Words::default();
        let Some(line) = ruling.binding() else { return words };
        words.put_figures(ruling, line);
        if !ruling.allowed {
            let whose = match (line.name, &facts.user) {
                ("user-minute", Some(user)) => format!(" for user: {user}"),
                _ => String::new(),
            };
            let message = format!(
                "{} failed with error: \"Too many requests{whose}, check response headers for more information.\"",
                facts.endpoint
            );
            words.put_body(format!(
                "{{\"code\":9,\"message\":{},\"StatusCode\":429,\"duration\":\"0.00ms\",\
                 \"more_info\":\"https://getstream.io/chat/docs/api_errors_response\",\"details\":[]}}",
                quoted(&message)
            ));
        }
        words
    }
}

impl Stream {
    /// One user on one endpoint from one platform.
    fn user(&self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        let least = *rng.pick(&[0, 300, 1_000, 10_000]);
        let (facts, route) = self.facts(rng, |quota| quota >= least, Caller::User);
        let count = 61 + rng.below(20);
        let asks = instants(rng, start, MINUTE, count);
        self.asks(rng, &facts, route, asks)
    }

    /// A second's quota and a little more.
    fn second(&self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        let caller = *rng.pick(&[Caller::Server, Caller::Anyone]);
        let quota = if rng.once_in(8) { 10_000 } else { *rng.pick(&[1_000, 300, 60, 6, 0]) };
        let (facts, route) = self.facts(rng, |of| of == quota, caller);
        let count = facts.minute / 30 + 1 + rng.below(4);
        let asks = instants(rng, start, SECOND, count);
        self.asks(rng, &facts, route, asks)
    }

    /// A minute's quota and a little more, at a rate that no second refuses.
    fn minute(&self, rng: &mut Rng, start: u64, quota: u64) -> Vec<Planned<Facts>> {
        let caller = *rng.pick(&[Caller::Server, Caller::Anyone]);
        let (facts, route) = self.facts(rng, |of| of == quota, caller);
        let count = facts.minute + 2 + rng.below(facts.minute / 30 + 3);
        let step = 59_990_000 / count;
        let first = if quota < 10_000 && rng.once_in(3) { start } else { (start / MINUTE + 1) * MINUTE };
        let late = rng.below(9);
        let asks = (0..count).map(|index| first + index * step + late).collect();
        self.asks(rng, &facts, route, asks)
    }

    /// Requests that cost more than one.
    fn costly(&self, rng: &mut Rng, start: u64) -> Vec<Planned<Facts>> {
        let (mut facts, _) = self.facts(rng, |_| true, Caller::Server);
        let most = facts.minute / 30 + 1;
        let every = MINUTE / 80;
        let mut asks = Vec::new();
        for index in 0..80 {
            facts.cost = *rng.pick(&[most / 2, most - 1, most, most.max(2) - 2, 2, 0]);
            asks.push((start + index * every + rng.below(every), asked(&facts)));
        }
        asks
    }

    fn asks(&self, rng: &mut Rng, facts: &Facts, route: Route, instants: Vec<u64>) -> Vec<Planned<Facts>> {
        let many = facts.user.as_deref() == Some("anyone");
        let way = rng.below(3);
        let mut planned = Vec::new();
        for at in instants {
            let mut facts = facts.clone();
            if many {
                facts.user = (!rng.once_in(9)).then(|| format!("u{}", rng.below(1_000)));
            }
            planned.push((at, if way == 0 { asked(&facts) } else { requested(rng, facts, route) }));
        }
        planned
    }

    fn facts(&self, rng: &mut Rng, wanted: impl Fn(u64) -> bool, caller: Caller) -> (Facts, Route) {
        let route = loop {
            let (quota, ..) = *rng.pick(ROUTES);
            if wanted(quota) {
                let alike: Vec<Route> = ROUTES.iter().filter(|(of, ..)| *of == quota).copied().collect();
                break *rng.pick(&alike);
            }
        };
        let (minute, endpoint, ..) = route;
        let minute = if minute == 0 { 60 } else { minute };
        let app = if rng.once_in(3) { format!("app{}", 100 + self.scenarios) } else { format!("app{}", rng.below(3)) };
        let user = match caller {
            Caller::User => Some((*rng.pick(&["u1", "u2", "zoë", "jo \"the\" \\", "u3"])).to_owned()),
            Caller::Anyone => Some("anyone".to_owned()),
            Caller::Server => rng.once_in(3).then(|| "u1".to_owned()),
        };
        let platform = if caller == Caller::Server { "server" } else { *rng.pick(&["android", "ios", "web"]) };
        (Facts { endpoint, minute, app, user, platform, cost: 1 }, route)
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Server,
    User,
    Anyone,
}

/// The quota a minute (zero where none is published), the endpoint, the method, a path.
type Route = (u64, &'static str, &'static str, &'static str);

fn asked(facts: &Facts) -> Ask<Facts> {
    let attributes = object(&[
        ("app", Some(&facts.app)),
        ("user", facts.user.as_deref()),
        ("platform", Some(facts.platform)),
        ("operation", Some(facts.endpoint)),
    ]);
    let cost = if facts.cost == 1 { String::new() } else { format!(",\"cost\":{{\"requests\":{}}}", facts.cost) };
    Ask { line: format!("\"attributes\":{attributes}{cost}"), facts: facts.clone() }
}

/// On the wire: the app by its key, user and platform by the token and the client's name, all of it in headers or in
/// the query.
fn requested(rng: &mut Rng, facts: Facts, (_, _, method, path): Route) -> Ask<Facts> {
    let token = token(rng, &facts);
    let client = client(rng, &facts);
    let base = *rng.pick(&["", "/api/v2/chat"]);
    let base = if path == "/rate_limits" && rng.once_in(2) { "/api/v2" } else { base };
    let mut target = format!("{base}{path}?api_key={}", facts.app);
    let mut members = vec![("stream-auth-type", Some("jwt"))];
    if rng.once_in(4) {
        if let Some(token) = &token {
            target.push_str(&format!("&authorization={token}"));
        }
        if let Some(client) = client {
            let client = client.replace(' ', "%20").replace('|', "%7C");
            target.push_str(&format!("&X-Stream-Client={client}&stream-auth-type=jwt"));
        }
    } else {
        members.push(("Authorization", token.as_deref()));
        members.push(("x-stream-client", client));
    }
    let headers = object(&members);
    let line = format!("\"request\":{{\"method\":\"{method}\",\"path\":{},\"headers\":{headers}}}", quoted(&target));
    Ask { line, facts }
}

/// A token signed by nobody that we know; a server's says so, a user's names the user. Nobody's has none.
fn token(rng: &mut Rng, facts: &Facts) -> Option<String> {
    let claims = match (&facts.user, facts.platform == "server") {
        (None, false) => return None,
        (None, true) => "{\"server\":true}".to_owned(),
        (Some(user), true) => format!("{{\"server\":true,\"user_id\":{}}}", quoted(user)),
        (Some(user), false) => {
            let more = *rng.pick(&["", ",\"server\":false", ",\"iat\":1706774400"]);
            format!("{{\"user_id\":{}{more}}}", quoted(user))
        }
    };
    let parts = [b"{\"alg\":\"HS256\",\"typ\":\"JWT\"}".as_slice(), claims.as_bytes(), &rng.next().to_le_bytes()];
    let token = parts.map(base64url).join(".");
    Some(token)
}

/// A client's name of the platform; with a server's token any name will do, and for the web none.
fn client(rng: &mut Rng, facts: &Facts) -> Option<&'static str> {
    loop {
        let (client, platform) = *rng.pick(CLIENTS);
        match facts.platform {
            "server" => return rng.pick(&[Some(client), None]).to_owned(),
            "web" if rng.once_in(8) => return None,
            wanted if wanted == platform => return Some(client),
            _ => {}
        }
    }
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            text.push(char::from(LETTERS[(word >> (18 - 6 * index)) as usize & 63]));
        }
    }
    text
}
