//! Thousands of spellings of path, host and headers over twenty routes: each is refused, and then charged nothing and
//! forwarded nothing, or is charged to the very counter of what the upstream sees (I45, I46, K6, K8).

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tidegate_core::{Demand, Purpose};
use tidegate_policy::{Asked, Facts};

use super::stand::{Answer, Gate, Recorder, Seen};

const POLICY: &str = r#"
name  = "corpus"
bases = ["", "/api/v1"]

[attributes]
app  = "host:{value}.chat.example"
key  = ["header:X-Api-Key", "bearer", "query:key"]
part = ["path:id", "path:rest"]

[operations]
channel  = { routes = "GET /channels/{type}/{id}" }
messages = { routes = ["GET /channels/{type}/{id}/messages", "POST /channels/{type}/{id}/messages"] }
me       = { routes = "GET /users/me" }
user     = { routes = "GET /users/{id}" }
users    = { routes = "GET /users" }
publish  = { routes = "POST /publish/{rest...}" }
file     = { routes = "* /files/{id}/raw" }
deep     = { routes = "GET /a/b/c/d/e/{id}" }

[[limit]]
name  = "all"
per   = ["operation", "method", "app?", "key?", "part?"]
quota = "1000000/366d"
"#;

/// What the quota above has.
const QUOTA: u64 = 1_000_000;

/// Routes, as a well-behaved client calls them.
const ROUTES: [(&str, &str); 20] = [
    ("GET", "/channels/team/general"),
    ("GET", "/channels/team/general/messages"),
    ("POST", "/channels/team/general/messages"),
    ("GET", "/channels/te~m/%C3%A4"),
    ("GET", "/users/me"),
    ("GET", "/users/u-1"),
    ("GET", "/users/u.1"),
    ("GET", "/users"),
    ("GET", "/users?key=k1"),
    ("POST", "/publish/https://example.com/a"),
    ("POST", "/publish/topic"),
    ("GET", "/files/f1/raw"),
    ("DELETE", "/files/f1/raw"),
    ("GET", "/a/b/c/d/e/f"),
    ("GET", "/api/v1/users/me"),
    ("GET", "/api/v1/channels/team/general"),
    ("POST", "/api/v1/publish/https://example.com//b?x=1"),
    ("GET", "/"),
    ("GET", "/elsewhere"),
    ("GET", "/api/v1"),
];

/// Ways to write one host; what is no such host is refused, or another.
const HOSTS: [&str; 20] = [
    "shop.chat.example",
    "SHOP.chat.example",
    "shop.CHAT.Example",
    "shop.chat.example.",
    "shop.chat.example:80",
    "shop.chat.example:8080",
    "shop.chat.example.:443",
    "Shop.Chat.Example.:0080",
    "shop.chat.example:",
    "shop.chat.example:0",
    " shop.chat.example\t",
    "shop..chat.example",
    ".shop.chat.example",
    "shop%2echat.example",
    "x@shop.chat.example",
    "shop.chat.example/",
    "shop.chat.example, other.chat.example",
    "[::1]",
    "other.chat.example",
    "chat.example",
];

/// Ways to write who asks, as whole header lines.
const KEYS: [&str; 24] = [
    "X-Api-Key: k1",
    "x-api-key: k1",
    "X-API-KEY:k1",
    "X-Api-Key:\t k1 \t",
    "X-Api-Key: K1",
    "X-Api-Key: k1,k2",
    "X-Api-Key: \"k1\"",
    "X-Api-Key: k1\r\nX-Api-Key: k1",
    "X-Api-Key: k1\r\nx-api-key: k2",
    "X-Api-Key:",
    "X-Api-Key:\r\nAuthorization: Bearer k1",
    "X_Api_Key: k1",
    "X-Api-Key : k1",
    "X-Api-Key: k\u{e4}",
    "Authorization: Bearer k1",
    "authorization: bearer k1",
    "Authorization: BEARER   k1",
    "Authorization: Bearer\tk1",
    "Authorization: Bearer k1 k2",
    "Authorization: Basic k1",
    "Authorization: Bearer k1\r\nAuthorization: Bearer k2",
    "X-Http-Method-Override: DELETE\r\nX-Api-Key: k1",
    "X: y",
    "Connection: X-Api-Key\r\nX-Api-Key: k1",
];

/// What is put into a path, at every place.
const PUT: [&str; 26] = [
    "", "/", "//", "/.", "/./", "/..", "/../", "%2f", "%2F", "%5C", "\\", ";", ";v=1", "%3b", "%00", "%0A", "%20", "%",
    "%4", "%2e", "%2E%2e", "%252e", "%c0%ae", "?", "?key=k2", "#",
];

fn spellings(target: &str) -> Vec<String> {
    let (path, query) =
        target.split_once('?').map_or((target, String::new()), |(path, query)| (path, format!("?{query}")));
    let mut spellings = Vec::new();
    for at in 0..=path.len() {
        let Some((before, after)) = path.split_at_checked(at) else { continue };
        // Every second place of the longer ones is enough.
        for put in PUT.iter().skip(at % 2).step_by(1 + usize::from(path.len() > 16)) {
            spellings.push(format!("{before}{put}{after}{query}"));
        }
        if let Some(first) = after.chars().next() {
            let rest = &after[first.len_utf8()..];
            spellings.push(format!("{before}%{:02x}{rest}{query}", u32::from(first)));
            spellings.push(format!("{before}%{:02X}{rest}{query}", u32::from(first)));
            spellings.push(format!("{before}{}{rest}{query}", first.to_ascii_uppercase()));
        }
    }
    spellings
}

/// What an upstream that reads like us takes the request for that it sees.
fn facts(gate: &Gate, seen: &Seen) -> Facts {
    let method = Method::from_bytes(seen.request_line().split(' ').next().unwrap().as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    for line in seen.head.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes()).unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    let api = &gate.api();
    let route = api.intake.route(&method, seen.target()).expect("what is forwarded has one reading");
    assert_eq!(route.target(), seen.target(), "what is forwarded is canonical");
    let asked = Asked { host: seen.header("x-forwarded-host"), headers: &headers, body: None, peer: None };
    let now = tidegate_core::Timestamp::from_secs(1_706_774_400);
    api.intake.extract(&api.policy, &route, &asked, now).expect("what is forwarded has one reading")
}

/// What is left for who asks that.
fn left(gate: &Gate, facts: &Facts) -> u64 {
    let api = gate.api();
    let policy = &api.policy;
    let demand: Demand<'_> = facts.demand(policy).unwrap().set_purpose(Purpose::Peek).build();
    let decision = gate.engine.limiter.check(&demand);
    decision.rulings().next().expect("a limit on everything").status.remaining
}

#[tokio::test]
async fn every_spelling_is_refused_or_counted_as_what_the_upstream_sees() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(POLICY, Some(upstream.address)).await;
    let (mut spelt, mut refused, mut charged) = (0, 0, HashMap::<String, u64>::new());
    let mut client = gate.client().await;
    for (method, target) in ROUTES {
        for (number, spelling) in spellings(target).into_iter().enumerate() {
            // Host and key take turns of different lengths, so that all pairs come together.
            let (host, key) = (HOSTS[number % HOSTS.len()], KEYS[(number / 3) % KEYS.len()]);
            let plain = number % 3 == 0;
            let (host, key) = if plain { (HOSTS[0], KEYS[0]) } else { (host, key) };
            spelt += 1;
            let request = format!("{method} {spelling} HTTP/1.1\r\nHost: {host}\r\n{key}\r\nContent-Length: 0\r\n\r\n");
            client.try_send(&request).await;
            let Some(answer): Option<Answer> = client.try_answer().await else { panic!("no answer to {request:?}") };
            if answer.status == 400 {
                refused += 1;
                assert!(upstream.rest().is_empty(), "{request:?}");
                if answer.header("connection") == Some("close") {
                    client = gate.client().await;
                }
                continue;
            }
            assert_eq!(answer.status, 200, "{request:?}");
            let facts = facts(&gate, &upstream.next().await);
            let count = charged.entry(format!("{facts:?}")).or_default();
            *count += 1;
            assert_eq!(left(&gate, &facts), QUOTA - *count, "{request:?} is charged to others than {facts:?}");
        }
    }
    // Nothing was charged anywhere else; a refusal made no counter.
    let counters = gate.engine.limiter.store().counters();
    let mut distinct: Vec<&String> = charged.keys().collect();
    distinct.sort();
    println!("{spelt} spellings, {refused} refused, {} counters, {} readings", counters, distinct.len());
    assert!(counters <= distinct.len(), "{counters} counters for {} readings", distinct.len());
    assert!(spelt >= 5_000 && refused > spelt / 4 && refused < spelt * 9 / 10, "{refused} of {spelt} refused");
    assert!(distinct.len() > 100, "{} readings", distinct.len());
}
