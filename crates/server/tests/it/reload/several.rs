//! Several policies in one server: the gateway chooses by host and prefix, the control port by name.

use std::sync::Arc;

use serde_json::json;
use tidegate_limiter::ManualClock;
use tidegate_server::reload::Source;

use super::house::{Folder, House, START, policy};
use crate::gateway::stand::Recorder;

fn with(name: &str, serve: &str, more: &str) -> String {
    format!("name = \"{name}\"\n[serve]\n{serve}\n{more}\n[[limit]]\nname = \"{name}-all\"\nquota = \"10/h\"\n")
}

async fn house(folder: &Folder, upstream: &Recorder) -> House {
    let sources = vec![Source::Path(folder.path().to_owned())];
    House::open(sources, Arc::new(ManualClock::at(START)), Some(upstream.address)).await.unwrap()
}

/// Which policy answered, by the limit that its headers name.
async fn answered(house: &House, host: &str, target: &str) -> String {
    let answer = house.get(host, target, "").await;
    match answer.header("ratelimit") {
        Some(value) => value.trim_start_matches('"').split("-all").next().unwrap().to_owned(),
        None => format!("{} {}", answer.status, answer.json()["place"].as_str().unwrap_or_default()),
    }
}

/// I46: what chooses the policy is what is matched and forwarded, in every spelling.
#[tokio::test]
async fn the_gateway_chooses_by_host_and_prefix() {
    let folder = Folder::new("several");
    folder.write(
        "chat.toml",
        &with(
            "chat",
            "prefix = \"/chat\"",
            "[operations]\nsend = { routes = [\"POST /messages\", \"GET /messages\"] }",
        ),
    );
    folder.write("deep.toml", &with("deep", "prefix = \"/chat/v2\"", ""));
    folder.write("host.toml", &with("host", "hosts = [\"api.example.com\", \"*.eu.example.com\"]", ""));
    folder.write(
        "bare.toml",
        &with(
            "bare",
            "prefix = \"/bare\"\nstrip_prefix = true",
            "[operations]\nget = { routes = [\"GET /x/{id}\"] }\nproxy = { routes = [\"GET /to/{url...}\"] }",
        ),
    );
    let mut upstream = Recorder::start().await;
    let house = house(&folder, &upstream).await;
    for (host, target, policy, forwarded) in [
        ("h", "/chat/messages?a=/chat", "chat", "/chat/messages?a=/chat"),
        ("h", "/ch%61t/messages", "chat", "/chat/messages"),
        ("h", "/chat", "chat", "/chat"),
        ("h", "/chat/v2/x", "deep", "/chat/v2/x"),
        ("h", "/chat/v%32", "deep", "/chat/v2"),
        ("API.example.com.:80", "/chat/messages", "host", "/chat/messages"),
        ("a.b.eu.example.com", "/any", "host", "/any"),
        ("h", "/bare/x/7?q=1", "bare", "/x/7?q=1"),
        ("h", "/b%61re/x/%37", "bare", "/x/7"),
        ("h", "/bare", "bare", "/"),
        ("h", "/bare/?q", "bare", "/?q"),
        ("h", "/bare/to/https://a//b", "bare", "/to/https://a//b"),
    ] {
        assert_eq!(answered(&house, host, target).await, policy, "{host} {target}");
        assert_eq!(upstream.next().await.target(), forwarded, "{host} {target}");
    }
    for (host, target, expected) in [
        ("h", "/", "404 policy"),
        ("h", "/chats", "404 policy"),
        ("eu.example.com", "/", "404 policy"),
        ("h", "/./chat", "400 path"),
        ("h", "/chat/../bare", "400 path"),
        ("h", "//chat", "400 path"),
    ] {
        assert_eq!(answered(&house, host, target).await, expected, "{host} {target}");
    }
    let nobody = house.get("h", "/mail", "").await;
    assert_eq!(
        nobody.json()["error"],
        "no policy is for this host and path; served: bare (/bare), chat (/chat), deep (/chat/v2), host (api.example.com, *.eu.example.com)"
    );
    assert!(upstream.rest().is_empty());
    // The routes of a policy are under its prefix.
    let chat = house.check(&json!({"policy": "chat", "attributes": {"operation": "send"}, "peek": true})).await;
    assert_eq!(chat["limits"][0]["remaining"], 7);
}

#[tokio::test]
async fn questions_say_which_policy_they_ask() {
    let folder = Folder::new("named");
    folder.write("a.toml", &policy("a", 10, "/a"));
    folder.write("b.toml", &policy("b", 20, "/b"));
    let house = House::of(&folder).await;
    let batch = json!([{"policy": "b", "attributes": {}}, {"policy": "a", "attributes": {}}]);
    let answers = house.check(&batch).await;
    assert_eq!((&answers[0]["limits"][0]["limit"], &answers[1]["limits"][0]["limit"]), (&json!(20), &json!(10)));
    let unnamed = house.ask("POST", "/v1/check", r#"{"attributes":{}}"#).await;
    assert_eq!(unnamed.status, 400);
    assert_eq!(
        unnamed.json(),
        json!({"error": {"message": "missing", "place": "policy", "help": "several policies are served; say which: `a`, `b`"}})
    );
    let left = house.ask("GET", "/v1/limits?policy=b", "").await;
    assert_eq!((left.status, &left.json()["limits"][0]["remaining"]), (200, &json!(19)));
    for query in ["", "?policy=c", "?policy=a&policy=b"] {
        let left = house.ask("GET", &format!("/v1/limits{query}"), "").await;
        assert_eq!((left.status, &left.json()["error"]["place"]), (400, &json!("policy")), "{query}");
    }
}

/// Two policies with limits of one name do not share what is used, nor what is counted.
#[tokio::test]
async fn policies_count_apart() {
    let folder = Folder::new("apart");
    folder.write("a.toml", &policy("a", 1, "/a"));
    folder.write("b.toml", &policy("b", 1, "/b"));
    let house = House::of(&folder).await;
    let mut statuses = Vec::new();
    for path in ["/a", "/a", "/b", "/a", "/b"] {
        statuses.push(house.get("h", path, "").await.status);
    }
    assert_eq!(statuses, [200, 429, 200, 429, 429]);
    for (name, refused) in [("a", "2"), ("b", "1")] {
        let sample = format!("tidegate_limit_refusals_total{{policy=\"{name}\",limit=\"all\",mode=\"enforce\"}}");
        assert_eq!(house.sample(&sample).await.as_deref(), Some(refused));
    }
}

#[tokio::test]
async fn a_policy_may_have_an_upstream_of_its_own() {
    let (mut one, mut other) = (Recorder::start().await, Recorder::start().await);
    let folder = Folder::new("upstreams");
    let own = |address| with("own", &format!("prefix = \"/own\"\nupstream = \"http://{address}/base\""), "");
    folder.write("own.toml", &own(other.address));
    folder.write("rest.toml", &with("rest", "", ""));
    let mut house = house(&folder, &one).await;
    house.get("h", "/own/x", "").await;
    house.get("h", "/x", "").await;
    assert_eq!((one.next().await.target(), other.next().await.target()), ("/x", "/base/own/x"));
    // Where requests go changes with the policy too.
    folder.write("own.toml", &own(one.address));
    house.look();
    house.get("h", "/own/x", "").await;
    assert_eq!(one.next().await.target(), "/base/own/x");
    assert!(other.rest().is_empty());
}
