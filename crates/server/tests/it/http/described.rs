//! The OpenAPI document says what there is: every route, every member, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::desk::Desk;

fn document(desk: &Desk) -> Value {
    let reply = desk.client().get("/openapi.json");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    serde_json::from_str(&reply.body).expect("the document is JSON")
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap_or_else(|| panic!("{object} is no object")).keys().cloned().collect()
}

/// The members of a schema, those that it takes over from others included.
fn members(document: &Value, schema: &Value) -> BTreeSet<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return members(document, document.pointer(&reference[1..]).expect(reference));
    }
    let mut found = BTreeSet::new();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        found.append(&mut members(document, part));
    }
    if schema["properties"].is_object() {
        found.append(&mut names(&schema["properties"]));
    }
    found
}

fn schema<'d>(document: &'d Value, name: &str) -> &'d Value {
    let schema = &document["components"]["schemas"][name];
    assert!(schema.is_object(), "no schema is called {name}");
    schema
}

#[test]
fn every_route_is_in_it_and_answers() {
    let desk = Desk::open();
    let document = document(&desk);
    let described = names(&document["paths"]);
    let expected = [
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/readyz",
        "/v1/check",
        "/v1/decisions",
        "/v1/explain",
        "/v1/limits",
        "/v1/policies",
        "/v1/policies/{name}",
        "/v1/release",
        "/v1/settle",
    ];
    assert_eq!(described, expected.map(str::to_owned).into());
    for path in &described {
        let methods = names(&document["paths"][path]);
        let asked = path.replace("{name}", "desk");
        let reply = if path == "/v1/settle" || path == "/v1/release" {
            let reserved =
                desk.ruling(&json!({"attributes": {}, "reserve": true})).reservation.expect("it is reserved");
            desk.client().post(&asked, &json!({"reservation": reserved}).to_string())
        } else if methods.contains("post") {
            desk.client().post(&asked, r#"{"attributes":{}}"#)
        } else {
            desk.client().get(&asked)
        };
        assert_eq!(reply.status, 200, "{path}");
        for method in &methods {
            let answers = &document["paths"][path][method]["responses"];
            assert!(answers["421"].is_object(), "{method} {path} may be asked by another host");
        }
        assert!(
            document["paths"][path]
                .pointer(if methods.contains("post") { "/post/responses/200" } else { "/get/responses/200" })
                .is_some()
        );
    }
}

/// The members that answers have are those that the document describes; `body`, `basis`, `place` and `help` come and go.
#[test]
fn every_member_is_in_it() {
    let desk = Desk::open();
    let document = document(&desk);
    let poll = json!({"attributes": {"user": "u1", "operation": "fetch"}}).to_string();
    let mut client = desk.client();
    client.post("/v1/check", &poll);
    let refusal: Value = serde_json::from_str(&client.post("/v1/check", &poll).body).expect("JSON");
    let mut described = members(&document, schema(&document, "Answer"));
    assert!(described.remove("reservation"), "only where one was asked for");
    assert_eq!(described, names(&refusal));

    let mut described = members(&document, schema(&document, "LimitAnswer"));
    assert!(described.remove("basis"), "only where a store is full, or a value was counted before");
    assert_eq!(described, names(&refusal["limits"][0]));

    let left: Value = serde_json::from_str(&client.get("/v1/limits?user=u1").body).expect("JSON");
    assert_eq!(members(&document, schema(&document, "Limits")), names(&left));
    let mut described = members(&document, schema(&document, "LimitEntry"));
    described.remove("basis");
    assert_eq!(described, names(&left["limits"][0]));

    let mistake: Value = serde_json::from_str(&client.post("/v1/check", r#"{"atributes":{}}"#).body).expect("JSON");
    assert_eq!(members(&document, schema(&document, "Mistake")), names(&mistake));
    assert_eq!(members(&document, schema(&document, "MistakeDetail")), names(&mistake["error"]));
    let health: Value = serde_json::from_str(&client.get("/healthz").body).expect("JSON");
    let mut described = members(&document, schema(&document, "Health"));
    assert!(described.remove("failures"), "only where a file is wrong");
    assert_eq!(described, names(&health));
    let policies: Value = serde_json::from_str(&client.get("/v1/policies").body).expect("JSON");
    assert_eq!(members(&document, schema(&document, "Policies")), names(&policies));
    let mut described = members(&document, schema(&document, "PolicySummary"));
    assert!(described.remove("upstream"), "only where the policy has one");
    assert_eq!(described, names(&policies["policies"][0]));
    let policy: Value = serde_json::from_str(&client.get("/v1/policies/desk").body).expect("JSON");
    let mut described = members(&document, schema(&document, "PolicyDetail"));
    described.remove("upstream");
    assert_eq!(described, names(&policy));
    let mut described = members(&document, schema(&document, "LimitSummary"));
    assert!(described.remove("distinct"), "only where distinct values are counted");
    assert_eq!(described, names(&policy["rules"][0]));
}

/// Every member of a question that is described is taken, and one that is not is a mistake.
#[test]
fn every_member_of_a_question_is_in_it() {
    let desk = Desk::open();
    let document = document(&desk);
    let described = members(&document, schema(&document, "Check"));
    let full = json!({"policy": "desk", "attributes": {"app": "a1"}, "cost": {"requests": 1}, "peek": false, "reserve": true, "expires_s": 5});
    assert_eq!(described, names(&full));
    assert_eq!(desk.client().post("/v1/check", &full.to_string()).status, 200);
    let mut more = full;
    more["dry_run"] = true.into();
    let error = desk.client().post("/v1/check", &more.to_string()).mistake().error;
    for name in described {
        assert!(error.help.as_deref().is_some_and(|help| help.contains(&name)), "{name}: {:?}", error.help);
    }
}
