//! I12: the same requests at the same instants get the same answers from the gateway, from `/v1/check` and in a
//! simulation: status, every header of the dialect and no other, and the body of a refusal.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_core::{Decision, Timestamp};
use tidegate_dialect::Fields;
use tidegate_limiter::{ManualClock, MemoryOptions};
use tidegate_server::http::{self, answer};
use tidegate_server::{Api, Engine};
use tidegate_sim::{Outcome, Trace, World};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::stand::{Answer, Client, Gate, Recorder};

/// 2024-02-01T08:00:00Z.
const START: Timestamp = Timestamp::from_secs(1_706_774_400);

/// Requests of each vendor's API.
const ROWS: usize = 800;

/// A small generator of our own: the test is the same wherever it runs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).expect("below the number of sides")
    }
}

/// A vendor, and what its callers ask most: calls whose limits are reached.
struct Vendor {
    name: &'static str,
    often: &'static [&'static str],
}

const VENDORS: [Vendor; 5] = [
    Vendor { name: "cometchat", often: &["POST /messages", "DELETE /users/{uid}/conversation/read"] },
    Vendor { name: "qstash", often: &["POST /v2/batch", "POST /v2/publish/{destination...}"] },
    Vendor { name: "sendbird", often: &["POST /users", "PUT /group_channels/{channel_url}/messages/mark_as_read"] },
    Vendor { name: "stream", often: &["POST /users/delete", "GET /app", "POST /polls"] },
    Vendor { name: "whatsapp", often: &["GET /sessions/{session}/qr", "POST /sessions/{session}/send"] },
];

/// One request, as every surface can be asked it.
struct Asked {
    at: Timestamp,
    method: String,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl Asked {
    fn invented(vendor: &Vendor, routes: &[&str], at: Timestamp, dice: &mut Dice) -> Asked {
        let route = match dice.roll(3) {
            0 => routes[dice.roll(routes.len())],
            _ => vendor.often[dice.roll(vendor.often.len())],
        };
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let method = if method == "*" { "GET" } else { method };
        let mut target = filled_in(path, dice);
        if dice.roll(40) == 0 {
            // A path with two readings.
            target = target.replacen('/', "/./", 1);
        }
        let (app, user) = (format!("a{}", dice.roll(2)), format!("u{}", dice.roll(2)));
        let mut headers = vec![("host", "Limits.Example.com:80".to_owned())];
        match vendor.name {
            "cometchat" => {
                headers.push(("appId", app));
                headers.extend((dice.roll(8) > 0).then_some(("onBehalfOf", user)));
            }
            "qstash" => headers.push(("authorization", format!("Bearer {app}"))),
            "sendbird" => headers[0].1 = format!("API-{app}.sendbird.com:8080"),
            "stream" => {
                target += &format!("?api_key={app}");
                headers.push(("authorization", TOKENS[dice.roll(TOKENS.len())].to_owned()));
                headers.push(("x-stream-client", CLIENTS[dice.roll(CLIENTS.len())].to_owned()));
            }
            _ => headers.extend((dice.roll(8) > 0).then_some(("x-api-key", app))),
        }
        let body = matches!(method, "POST" | "PUT" | "PATCH").then(|| match path {
            "/v2/batch" => json!(vec![0; dice.roll(12)]).to_string(),
            _ => json!({ "user_id": format!("u{}", dice.roll(2)) }).to_string(),
        });
        Asked { at, method: method.to_owned(), target, headers, body }
    }

    /// As a client sends it.
    fn bytes(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let body = self.body.as_deref().unwrap_or_default();
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    }

    /// As a line of a trace.
    fn line(&self) -> String {
        let headers: BTreeMap<_, _> = self.headers.iter().cloned().collect();
        let mut request = json!({ "method": self.method, "path": self.target, "headers": headers });
        if let Some(body) = &self.body {
            request["body"] = body.as_str().into();
        }
        let mut t = String::new();
        answer::seconds(self.at.as_micros(), &mut t);
        format!("{{\"t\":{t},\"request\":{request}}}\n")
    }
}

/// Tokens of a server and of two users; the upstream is the one that verifies them.
const TOKENS: [&str; 3] = [
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzZXJ2ZXIiOnRydWV9.c2ln",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoidTAifQ.c2ln",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoidTEifQ.c2ln",
];

const CLIENTS: [&str; 2] = ["stream-chat-javascript-client-browser-8.1.0", "stream-chat-swift-v4.50.0|os=ios"];

fn filled_in(path: &str, dice: &mut Dice) -> String {
    let mut filled = String::new();
    for part in path.split_inclusive(['{', '}']) {
        match part.strip_suffix('}') {
            Some(name) if name.ends_with("...") => filled += "https://example.com/a//b",
            Some(_) => filled += &format!("p{}", dice.roll(3)),
            None => filled += part.trim_end_matches('{'),
        }
    }
    filled
}

/// All routes of a vendor's policy, but the call that its dialect answers itself, whose body no other surface has.
fn routes(api: &Api, text: &'static str) -> Vec<&'static str> {
    let lines = text.lines().filter(|line| line.contains("routes = ["));
    let quoted = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    let inspected = api.dialect.inspection().map(|inspection| inspection.operation());
    let is_inspected = |route: &str| {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let route = api.intake.route(&method.parse().unwrap_or(::http::Method::GET), path);
        route.is_ok_and(|route| Some(api.policy.operation(route.operation()).name()) == inspected)
    };
    quoted.filter(|text| text.contains(" /")).filter(|route| !is_inspected(route)).collect()
}

/// What a surface is expected to answer.
enum Expected {
    /// A decision in the vendor's words, and the question about the same demand.
    Ruling { is_admitted: bool, fields: Fields, question: Value },
    /// The request has no one reading.
    BadRequest { place: String, message: String },
}

fn simulated(api: &Api, asked: &[Asked]) -> Vec<Expected> {
    let text: String = asked.iter().map(Asked::line).collect();
    let world = World::new(&api.policy, &api.intake, MemoryOptions::default());
    let mut trace = Trace::new(Cursor::new(text));
    let mut expected = Vec::new();
    while let Some(entry) = trace.next(&api.policy) {
        let entry = entry.unwrap_or_else(|error| panic!("{error}"));
        world.ask(&entry, |outcome| {
            expected.push(match outcome {
                Outcome::Decided(decision) => Expected::Ruling {
                    is_admitted: decision.is_admitted(),
                    fields: api.dialect.render(decision),
                    question: question(decision),
                },
                Outcome::BadRequest { place, message } => {
                    Expected::BadRequest { place: place.to_owned(), message: message.to_owned() }
                }
            });
        });
    }
    expected
}

/// The demand of a decision as a question of `/v1/check`. The class follows from the operation and cannot be said.
fn question(decision: &Decision<'_>) -> Value {
    let (demand, policy) = (decision.demand(), decision.demand().policy());
    let names = policy.attribute_names().filter(|name| *name != "class");
    let attributes: BTreeMap<&str, &str> = names.filter_map(|name| Some((name, demand.value(name)?))).collect();
    let costs = policy.unit_names().filter_map(|name| Some((name, demand.cost(policy.unit(name)?)?)));
    json!({ "attributes": attributes, "cost": costs.collect::<BTreeMap<&str, u64>>() })
}

/// Headers by their names in small letters.
fn named<'h>(headers: impl IntoIterator<Item = (&'h str, &'h str)>) -> BTreeMap<String, String> {
    headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()
}

/// The headers of an answer of the gateway that its dialect has written: all but those of any answer.
fn dialects(answer: &Answer) -> BTreeMap<String, String> {
    let lines = answer.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    named(lines.filter(|(name, _)| !["date", "content-length", "cache-control"].contains(name)))
}

#[tokio::test]
async fn gateway_check_and_simulation_agree_on_every_request() {
    for vendor in &VENDORS {
        let open = || Api::vendor(vendor.name).expect("it ships");
        let text = tidegate_server::vendors::named(vendor.name).and_then(|vendor| vendor.policy()).expect("it ships");
        let (api, mut dice) = (open(), Dice(0x7469_6465));
        let routes = routes(&api, text);
        assert!(vendor.often.iter().all(|route| routes.contains(route)), "{}: {routes:?}", vendor.name);
        let mut micros = START.as_micros();
        let asked: Vec<Asked> = std::iter::repeat_with(|| {
            // Many at once, then a pause in which some of them come back.
            let longest = if dice.roll(60) == 0 { 6_000_000 } else { 10_000 };
            micros += dice.roll(longest) as u64;
            Asked::invented(vendor, &routes, Timestamp::from_micros(micros), &mut dice)
        })
        .take(ROWS)
        .collect();
        let expected = simulated(&api, &asked);
        assert_eq!(expected.len(), ROWS);

        let clock = Arc::new(ManualClock::at(START));
        let engine = |api| Arc::new(Engine::with_clock(api, MemoryOptions::default(), Arc::clone(&clock)).unwrap());
        let mut upstream = Recorder::start().await;
        let gate = Gate::open_engine(engine(open()), Some(upstream.address), |_| {}).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut desk =
            Client::of(TcpStream::connect(listener.local_addr().expect("a port")).await.expect("it listens"));
        let _control = tokio::spawn(http::serve(listener, engine(open()), std::future::pending()));
        let mut client = gate.client().await;
        let (mut admitted, mut refused, mut unread) = (0, 0, 0);
        for (asked, expected) in asked.iter().zip(expected) {
            clock.set(asked.at);
            let row = format!("{} {}", vendor.name, asked.line());
            client.send(asked.bytes()).await;
            let answer = client.answer().await;
            match expected {
                Expected::Ruling { is_admitted, fields, question } => {
                    let headers = fields.headers();
                    let headers: BTreeMap<String, String> = named(headers);
                    assert_eq!((answer.status, dialects(&answer)), (fields.status, headers.clone()), "{row}");
                    let said = if is_admitted { "ok" } else { fields.body().unwrap_or_default() };
                    assert_eq!(answer.text(), said, "{row}");
                    let ruling = check(&mut desk, &question).await;
                    assert_eq!((&ruling["allowed"], &ruling["status"]), (&is_admitted.into(), &fields.status.into()));
                    let members = ruling["headers"].as_object().expect("headers");
                    let members = named(members.iter().map(|(name, value)| (&**name, value.as_str().expect("text"))));
                    assert_eq!(members, headers, "{row}");
                    let body = fields.body().map(|body| serde_json::from_str(body).unwrap_or(body.into()));
                    assert_eq!(ruling.get("body"), body.as_ref(), "{row}");
                    if is_admitted { admitted += 1 } else { refused += 1 }
                }
                Expected::BadRequest { place, message } => {
                    assert_eq!((answer.status, answer.json()), (400, json!({ "error": message, "place": place })));
                    assert!(dialects(&answer).keys().eq(["content-type"]), "{row}: {}", answer.head);
                    unread += 1;
                }
            }
        }
        assert_eq!(upstream.rest().len(), admitted, "{}", vendor.name);
        let counts = format!("{}: {admitted} admitted, {refused} refused, {unread} unread", vendor.name);
        assert!(admitted > ROWS / 10 && refused > ROWS / 10 && unread > 0, "{counts}: the requests test too little");
    }
}

/// The ruling on one question.
async fn check(desk: &mut Client, question: &Value) -> Value {
    let body = question.to_string();
    desk.send(format!("POST /v1/check HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
        .await;
    let answer = desk.answer().await;
    assert_eq!(answer.status, 200, "{question}: {}", answer.text());
    answer.json()
}
