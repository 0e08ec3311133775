//! Explanations over the wire: of questions, of requests, and of refusals that are still kept.

use serde_json::{Value, json};
use tidegate_server::explain::Explanation;
use tidegate_server::refusals::KEPT;

use super::desk::{Desk, Reply};

fn read(reply: &Reply) -> Explanation {
    assert_eq!(reply.status, 200, "{}", reply.body);
    serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.body))
}

fn asked(desk: &Desk, body: &Value) -> Explanation {
    read(&desk.client().post("/v1/explain", &body.to_string()))
}

fn fetch() -> Value {
    json!({"attributes": {"app": "a", "user": "u", "operation": "fetch"}})
}

/// It shows the counters as they stand, and charges nothing.
#[test]
fn an_explanation_looks_and_does_not_touch() {
    let desk = Desk::open();
    assert!(desk.ruling(&fetch()).allowed);
    for _ in 0..3 {
        let told = asked(&desk, &fetch());
        assert_eq!((told.allowed, told.binding.as_deref()), (Some(false), Some("spacing")));
        let remaining: Vec<_> = told
            .limits
            .iter()
            .filter_map(|limit| Some((limit.name.as_str(), limit.standing.as_ref()?.remaining)))
            .collect();
        assert_eq!(remaining, [("app-minute", 99), ("user-calls", 29), ("spacing", 0), ("tight", 1)]);
        let elsewhere: Vec<_> = told.limits.iter().filter(|limit| !limit.applies).map(|limit| &limit.name).collect();
        assert_eq!(elsewhere, ["messages", "open", "tokens-day"]);
        assert_eq!(
            told.answers.refused.as_ref().map(|answer| (answer.status, answer.supposing.is_none())),
            Some((429, true))
        );
        assert!(told.answers.admitted.is_some_and(|answer| answer.supposing.is_some()));
    }
    assert_eq!(desk.client().get("/v1/decisions").body, "{\"decisions\":[]}", "a peek is no refusal");
}

#[test]
fn a_request_is_explained_as_the_gateway_reads_it() {
    let desk = Desk::open();
    let request =
        json!({"method": "POST", "path": "/messages", "headers": {"X-App": "a"}, "body": {"messages": [1, 2, 3]}});
    let told = asked(&desk, &json!({"request": request}));
    assert_eq!(told.request.and_then(|request| request.route).as_deref(), Some("/messages"));
    assert_eq!((told.operation.as_deref(), told.cost.get("messages")), (Some("send"), Some(&3)));
    let app = told.attributes.iter().find(|one| one.name == "app").expect("every attribute is told");
    assert_eq!((app.value.as_deref(), app.from.as_deref()), (Some("a"), Some("header x-app")));
    let bad = json!({"method": "POST", "path": "/a/../b", "headers": {}});
    let told = asked(&desk, &json!({"request": bad}));
    assert_eq!((told.allowed, told.bad_request.map(|fault| fault.place)), (None, Some("path".to_owned())));
}

#[test]
fn a_query_is_explained_like_a_question() {
    let desk = Desk::open();
    let by_query = desk.client().get("/v1/explain?policy=desk&app=a&user=u&operation=fetch").body;
    assert_eq!(by_query, desk.client().post("/v1/explain", &fetch().to_string()).body);
}

/// A refusal is explained by its id as it was decided, whatever its counters say meanwhile.
#[test]
fn a_past_refusal_is_explained_as_it_was_decided() {
    let desk = Desk::open();
    let admitted = desk.client().post("/v1/check", &fetch().to_string());
    assert_eq!(admitted.header("tidegate-decision"), None);
    let refused = desk.client().post("/v1/check", &fetch().to_string());
    let id = refused.header("tidegate-decision").expect("a refusal has an id").to_owned();
    let then = asked(&desk, &fetch());
    desk.clock.advance(std::time::Duration::from_secs(60));
    let told = read(&desk.client().get(&format!("/v1/explain?decision={id}")));
    assert_eq!((told.decision.as_deref(), told.surface.as_deref()), (Some(id.as_str()), Some("http")));
    assert_eq!((told.at, told.allowed, &told.binding), (then.at, Some(false), &then.binding));
    let standings = |told: &Explanation| {
        told.limits.iter().map(|limit| serde_json::to_value(&limit.standing).expect("JSON")).collect::<Vec<_>>()
    };
    assert_eq!(standings(&told), standings(&then));
    let answer =
        |told: &Explanation| told.answers.refused.as_ref().map(|answer| (answer.headers.clone(), answer.body.clone()));
    assert_eq!(answer(&told), answer(&then));
    let listed: Value = serde_json::from_str(&desk.client().get("/v1/decisions").body).expect("JSON");
    assert_eq!(
        (listed["decisions"].as_array().map(Vec::len), &listed["decisions"][0]["decision"]),
        (Some(1), &json!(id))
    );
    assert_eq!(listed["decisions"][0]["attributes"]["app"], "a");
}

/// The ring is bounded: the oldest leaves, the newest are listed first.
#[test]
fn the_last_refusals_are_kept_and_no_more() {
    let desk = Desk::open();
    let mut client = desk.client();
    let question = fetch().to_string();
    let ids: Vec<String> = (0..=KEPT + 1)
        .filter_map(|_| client.post("/v1/check", &question).header("tidegate-decision").map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), KEPT + 1);
    assert_eq!(client.get(&format!("/v1/explain?decision={}", ids[0])).status, 404);
    assert_eq!(client.get(&format!("/v1/explain?decision={}", ids[1])).status, 200);
    let listed: Value = serde_json::from_str(&client.get("/v1/decisions?most=2").body).expect("JSON");
    let listed: Vec<&str> =
        listed["decisions"].as_array().expect("a list").iter().filter_map(|one| one["decision"].as_str()).collect();
    assert_eq!(listed, [&ids[KEPT], &ids[KEPT - 1]]);
}

/// A value that is too long to be kept whole says so, and what was decided is told all the same.
#[test]
fn long_values_are_kept_by_their_beginning() {
    let desk = Desk::open();
    let long = "é".repeat(2_000);
    let question = json!({"attributes": {"app": long, "user": "u", "operation": "fetch"}}).to_string();
    desk.client().post("/v1/check", &question);
    let refused = desk.client().post("/v1/check", &question);
    let id = refused.header("tidegate-decision").expect("a refusal has an id");
    let told = read(&desk.client().get(&format!("/v1/explain?decision={id}")));
    assert!(told.note.is_some() && told.binding.as_deref() == Some("spacing"));
    assert_eq!(
        told.attributes.iter().find(|one| one.name == "app").and_then(|one| one.value.as_ref()).map(String::len),
        Some(256)
    );
    assert!(told.limits.iter().all(|limit| limit.applies && limit.standing.is_some()));
}

#[test]
fn mistakes_are_told_by_their_place() {
    let desk = Desk::open();
    for (target, status, place) in [
        ("/v1/explain?decision=0000-1", 404, "decision"),
        ("/v1/explain?decision=nonsense", 404, "decision"),
        ("/v1/explain?decision=0000-1&app=a", 400, "decision"),
        ("/v1/explain?ap=a", 400, "ap"),
        ("/v1/decisions?most=0", 400, "most"),
        ("/v1/decisions?most=1025", 400, "most"),
        ("/v1/decisions?least=1", 400, "least"),
        ("/v1/decisions?most=%ff", 400, "query"),
    ] {
        let reply = desk.client().get(target);
        assert_eq!((reply.status, reply.mistake().error.place.as_deref()), (status, Some(place)), "{target}");
    }
    for (body, place) in [
        ("", "body"),
        ("{}", "attributes"),
        (r#"{"attributes":{},"peek":true}"#, "peek"),
        (r#"{"request":{"method":"GET"}}"#, "request.path"),
        (r#"{"request":{"method":"GET","path":"/","client":"nowhere"}}"#, "request.client"),
    ] {
        let reply = desk.client().post("/v1/explain", body);
        assert_eq!((reply.status, reply.mistake().error.place.as_deref()), (400, Some(place)), "{body}");
    }
}
