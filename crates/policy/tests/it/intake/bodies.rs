//! Attributes and costs from the body, and when it must be read at all.

use tidegate_core::{Cost, RecordDraft, UnitId};

use super::sketch::{Api, Request, Sketch, source_of};

/// QStash's batch, and an attribute that only the body has.
fn api() -> Api {
    Sketch::new()
        .route("batch", "POST /v2/batch")
        .route("publish", "POST /v2/publish/{destination...}")
        .route("items", "POST /items")
        .attribute("kind", &["header:X-Kind", "body:/meta/kind"])
        .limit("per-kind", &["items"], &["kind"])
        .limit_in("messages", Cost::One, "daily", &["batch", "publish"], &[])
        .limit_in("lines", Cost::One, "lines", &["items"], &[])
        .cost("messages", &["batch"], "")
        .cost("lines", &["items"], "/order/lines")
        .build()
}

fn cost(api: &Api, request: &Request, unit: &str) -> Option<u64> {
    let facts = api.facts(request).unwrap_or_else(|problem| panic!("{problem}"));
    let unit = api.policy.unit(unit).expect("a unit");
    facts.costs().iter().find(|(known, _)| *known == unit).map(|(_, amount)| *amount)
}

#[test]
fn a_batch_costs_its_messages() {
    let api = api();
    for (body, expected) in [
        ("[]", 0),
        ("[{}]", 1),
        (r#"[{"destination":"a"},{"destination":"b"}, 3]"#, 3),
        (" [1,\n2] ", 2),
        ("{}", 1),
        (r#"{"length":5}"#, 1),
        ("null", 1),
        ("7", 1),
        (r#""[1,2]""#, 1),
        ("", 1),
    ] {
        assert_eq!(cost(&api, &Request::post("/v2/batch", body), "messages"), Some(expected), "{body}");
    }
    let thousand = format!("[{}0]", "0,".repeat(99_999));
    assert_eq!(cost(&api, &Request::post("/v2/batch", &thousand), "messages"), Some(100_000));
    let deep = format!("[{}{},1]", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(cost(&api, &Request::post("/v2/batch", &deep), "messages"), Some(2), "depth is no matter");
    let none = Request::new("POST", "/v2/batch");
    assert_eq!(cost(&api, &none, "messages"), Some(1));
    assert_eq!(cost(&api, &Request::post("/v2/publish/a", "[1,2]"), "messages"), None);
}

#[test]
fn a_cost_inside_the_body() {
    let api = api();
    let items = |body: &str| cost(&api, &Request::post("/items", body).header("x-kind", "k"), "lines");
    assert_eq!(items(r#"{"order":{"lines":[1,2,3],"x":[1]},"lines":[1]}"#), Some(3));
    assert_eq!(items(r#"{"order":{"lines":{"0":1}}}"#), Some(1));
    assert_eq!(items(r#"{"order":[{"lines":[1,2]}]}"#), Some(1));
    assert_eq!(items(r#"{"ord\u0065r":{"lin\u0065s":[1,2]}}"#), Some(2), "escapes are read");
    let twice = Request::post("/items", r#"{"order":{"lines":[1]},"order":{"lines":[1,2,3]}}"#).header("x-kind", "k");
    assert!(api.complaint(&twice).starts_with("body: member `order` occurs twice"));
    let twice = Request::post("/items", r#"{"order":{"lines":[1],"x":1,"lines":[1,2,3]}}"#).header("x-kind", "k");
    assert!(api.complaint(&twice).starts_with("body: member `lines` occurs twice"));
}

#[test]
fn an_attribute_in_the_body() {
    let api = api();
    let kind = |body: &str| api.value(&Request::post("/items", body), "kind");
    assert_eq!(kind(r#"{"meta":{"kind":"big"}}"#).as_deref(), Some("big"));
    assert_eq!(kind(r#"{"meta":{"kind":7}}"#).as_deref(), Some("7"));
    assert_eq!(kind(r#"{"meta":{"kind":false}}"#).as_deref(), Some("false"));
    for missing in [r#"{"meta":{"kind":""}}"#, r#"{"meta":{"kind":null}}"#, r#"{"meta":"kind"}"#, "[]", "{}", ""] {
        assert_eq!(kind(missing), None, "{missing}");
    }
    let by_header = Request::post("/items", r#"{"meta":{"kind":7.5}}"#).header("x-kind", "small");
    assert_eq!(api.value(&by_header, "kind").as_deref(), Some("small"));
    let long = format!(r#"{{"meta":{{"kind":"{}"}}}}"#, "k".repeat(4_097));
    assert!(api.complaint(&Request::post("/items", &long)).starts_with("body: expected at most 4096 bytes"));
}

#[test]
fn a_body_that_hides_its_attribute_is_refused() {
    let api = api();
    let body = r#"{"meta":{"kind":"big"}}"#;
    for (request, reason) in [
        (Request::post("/items", "{\"meta\""), "body: expected JSON"),
        (Request::post("/items", "x").header("content-type", "application/json; charset=utf-8"), "body: expected JSON"),
        (Request::post("/items", "x").header("content-type", "application/vnd.api+JSON"), "body: expected JSON"),
        (Request::post("/items", body).header("content-encoding", "gzip"), "header content-encoding"),
        (Request::post("/items", body).header("content-encoding", "identity, br"), "header content-encoding"),
        (Request::post("/items", r#"{"meta":{"kind":"a","kind":"b"}}"#), "body: member `kind` occurs twice"),
    ] {
        assert!(api.complaint(&request).starts_with(reason), "{}", api.complaint(&request));
    }
    // A reader that is more lenient than ours may find an object or a list here, whatever it is called.
    for body in [r#"{"\ud800":1,"meta":{"kind":"big"}}"#, " \n[1,]", "\u{feff}{}", r#"{meta:{kind:"big"}}"#] {
        let plain = Request::post("/items", body).header("content-type", "text/plain");
        assert!(api.complaint(&plain).starts_with("body: expected JSON"), "{body}");
    }
    let types = Request::post("/items", "x").header("content-type", "text/plain").header("content-type", "text/json");
    assert!(api.complaint(&types).starts_with("body: expected JSON"), "any of several types");
    let form = Request::post("/items", "kind=big").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(api.value(&form, "kind"), None, "a form was never JSON");
    let plain =
        Request::post("/items", body).header("content-type", "text/plain").header("content-encoding", "identity");
    assert_eq!(api.value(&plain, "kind").as_deref(), Some("big"), "JSON under another name is read");
}

#[test]
fn a_batch_cannot_hide_its_length() {
    let api = api();
    let batch = Request::post("/v2/batch", "[1,2]").header("content-encoding", "gzip");
    assert!(api.complaint(&batch).starts_with("header content-encoding"));
    for body in ["[1,2", "[1,2] x", "nonsense", "\u{feff}[1,2]", "\0[\0]"] {
        assert!(api.complaint(&Request::post("/v2/batch", body)).starts_with("body: expected JSON"), "{body:?}");
    }
    let lone_surrogate = Request::post("/items", r#"{"\ud800":1,"order":{"lines":[1,2,3]}}"#).header("x-kind", "k");
    assert!(api.complaint(&lone_surrogate).starts_with("body: expected JSON"));
    let text = Request::post("/v2/batch", "nonsense").header("content-type", "text/plain");
    assert_eq!(cost(&api, &text, "messages"), Some(1), "a text was never a batch");
}

#[test]
fn a_number_with_two_spellings_is_refused_as_an_attribute() {
    let api = api();
    for number in ["7.0", "7e0", "0.7", "-0", "18446744073709551616"] {
        let body = format!(r#"{{"meta":{{"kind":{number}}}}}"#);
        let complaint = api.complaint(&Request::post("/items", &body));
        assert!(complaint.starts_with("body: expected a whole number of at most 64 bits"), "{number}: {complaint}");
    }
}

#[test]
fn only_operations_that_count_by_the_body_need_it() {
    let api = api();
    for (operation, needs) in [("batch", true), ("items", true), ("publish", false), ("other", false)] {
        assert_eq!(api.intake.needs_body(api.operation(operation)), needs, "{operation}");
    }
    // What is not needed is not read, so that every surface sees the same facts.
    let publish = Request::post("/v2/publish/a", r#"{"meta":{"kind":"big"}}"#);
    assert_eq!(api.value(&publish, "kind"), None);
}

/// A sketch with one limit per `user` on `send`, reached by `routes`.
fn needs(routes: &[&str], sources: &[&str]) -> bool {
    let mut sketch = Sketch::new().route("elsewhere", "GET /e/{user}/{id}");
    for route in routes {
        sketch = sketch.route("send", route);
    }
    let api = sketch.attribute("user", sources).limit("l", &["send"], &["user"]).build();
    assert!(!api.intake.needs_body(api.operation("elsewhere")), "no limit there");
    api.intake.needs_body(api.operation("send"))
}

#[test]
fn an_earlier_source_that_is_certain_spares_the_body() {
    assert!(needs(&["POST /send"], &["body:/user"]));
    assert!(!needs(&["POST /send"], &["header:user"]));
    assert!(needs(&["POST /send"], &["header:user", "body:/user"]));
    assert!(needs(&["POST /send"], &["query:user", "body:/user", "constant:x"]));
    assert!(!needs(&["POST /send"], &["constant:x", "body:/user"]));
    assert!(!needs(&["POST /{user}/send"], &["path:user", "body:/user"]));
    assert!(!needs(&["POST /send/{user...}"], &["path:user", "body:/user"]));
    assert!(!needs(&["POST /{user}/send", "PUT /{user}/send/{x}"], &["path:user", "body:/user"]));
    assert!(needs(&["POST /{user}/send", "POST /send"], &["path:user", "body:/user"]), "one route lacks it");
    assert!(needs(&["POST /{id}/send"], &["path:user", "body:/user"]));
    assert!(needs(&["POST /{user}/send"], &["body:/user", "path:user"]));
    // The default operation may have routes, and is reached without them as well.
    let sketch = Sketch::new().route("other", "POST /{user}/other").attribute("user", &["path:user", "body:/user"]);
    let api = sketch.limit("l", &["other"], &["user"]).build();
    assert!(api.intake.needs_body(api.operation("other")));
}

#[test]
fn a_map_can_let_a_certain_source_pass() {
    let needs = |map: &[(&str, &str)], from: &[&str]| {
        let sources = vec![source_of(from, map), source_of(&["body:/user"], &[])];
        let sketch = Sketch::new().route("send", "POST /{user}/send").sourced("user", sources);
        let api = sketch.limit("l", &["send"], &["user"]).build();
        api.intake.needs_body(api.operation("send"))
    };
    assert!(needs(&[("a*", "a")], &["path:user"]));
    assert!(!needs(&[("a*", "a"), ("*", "b")], &["path:user"]));
    assert!(needs(&[("a*", "a")], &["constant:x"]));
    assert!(!needs(&[("X", "a")], &["constant:x"]));
    assert!(!needs(&[("a*", "a"), ("**", "b")], &["path:user", "body:/other"]), "its other places are not asked");
    assert!(needs(&[], &["header:u", "body:/other"]));
    let sources = vec![source_of(&["path:user", "body:/user"], &[("a*", "a")]), source_of(&["constant:b"], &[])];
    let sketch = Sketch::new().route("send", "POST /{user}/send").sourced("user", sources);
    let api = sketch.limit("l", &["send"], &["user"]).build();
    assert!(!api.intake.needs_body(api.operation("send")), "the first place is present, whatever the map makes of it");
}

#[test]
fn what_selects_a_secret_or_a_record_is_needed() {
    let sketch = Sketch::new()
        .route("send", "POST /send")
        .attribute("app", &["body:/app"])
        .attribute("user", &["jwt:user_id"])
        .jwt(&["bearer"], false);
    let needs = |sketch: Sketch| {
        let api = sketch.build();
        api.intake.needs_body(api.operation("send"))
    };
    assert!(!needs(sketch.clone().limit("l", &["send"], &["user"])));
    assert!(needs(sketch.clone().limit("l", &["send"], &["user"]).secret("app", "a", "s")));
    let mut without_record = sketch.clone().limit("l", &["send"], &["user"]).secret("app", "a", "s");
    without_record.policy.records.clear();
    assert!(needs(without_record.clone()));
    without_record.policy.limits[0].per.clear();
    assert!(!needs(without_record), "no limit depends on a claim");
    assert!(needs(sketch.clone().limit("l", &["send"], &["user"]).record("app", "a", RecordDraft::default())));
    assert!(!needs(sketch.clone().secret("app", "a", "s")), "no limit at all");
    assert!(!needs(sketch.limit("l", &["other"], &["app"])));
}

#[test]
fn a_cost_that_nothing_counts_is_not_read() {
    let sketch = Sketch::new().route("batch", "POST /batch").limit_in("messages", Cost::One, "m", &["other"], &[]);
    let api = sketch.cost("messages", &["batch"], "").build();
    assert!(!api.intake.needs_body(api.operation("batch")));
    assert_eq!(api.facts(&Request::post("/batch", "[1,2]")).unwrap().costs(), &[] as &[(UnitId, u64)]);
}
