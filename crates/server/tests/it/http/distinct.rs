//! Distinct values over HTTP: a table of demands, what `/v1/limits` shows, and what `/v1/explain` says of a value.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_limiter::MemoryOptions;
use tidegate_server::Api;

use super::desk::Desk;

const POLICY: &str = r#"
name = "messaging"

[attributes]
number    = "header:X-Number"
recipient = "header:X-To"

[[limit]]
name     = "recipients"
per      = ["number"]
distinct = "recipient"
quota    = "3/10s"

[[limit]]
name  = "messages"
per   = ["number"]
quota = "9/60s"

[[limit]]
name     = "anybody"
distinct = "recipient?"
quota    = "2/10s"
align    = "first-request"
mode     = "shadow"
"#;

/// What happens, and what comes of it: verdict, binding limit, then by limit what remains, and `seen`, or the wait.
const TABLE: &str = "
    at      ask                   verdict  binding     limits
    2000ms  number=1 recipient=a  admit    recipients  recipients=2 messages=8 anybody=1
    2000ms  number=1 recipient=a  admit    recipients  recipients=2,seen messages=7 anybody=1,seen
    2000ms  number=1 recipient=b  admit    recipients  recipients=1 messages=6 anybody=0
    3000ms  number=1 recipient=c  admit    recipients  recipients=0 messages=5 anybody=0,9.0
    3000ms  number=1 recipient=b  admit    recipients  recipients=0,seen messages=4 anybody=0,seen
    3000ms  number=1 recipient=d  refuse   recipients  recipients=0,7.0 messages=4 anybody=0,9.0
    3000ms  number=2 recipient=d  admit    recipients  recipients=2 messages=8 anybody=0,9.0
    3000ms  number=1              admit    messages    messages=3 anybody=0,9.0
    4000ms  peek recipient=d      admit    -           anybody=0,8.0
    4000ms  peek number=1 recipient=d  refuse recipients  recipients=0,6.0 messages=3 anybody=0,8.0
    9500ms  number=1 recipient=a  admit    recipients  recipients=0,seen messages=2 anybody=0,seen
    10000ms number=1 recipient=d  admit    messages    recipients=2 messages=1 anybody=0,2.0
    11000ms number=1 recipient=d  admit    messages    recipients=2,seen messages=0 anybody=0,1.0
    11000ms number=1 recipient=e  refuse   messages    recipients=2 messages=0,49.0 anybody=0,1.0
    12000ms recipient=e           admit    -           anybody=1
    12000ms                       admit    -           anybody=0
    12000ms                       admit    -           anybody=0,seen
";

fn desk() -> Desk {
    Desk::on(Api::text("messaging.toml", POLICY).expect("it is right"), MemoryOptions::default())
}

#[test]
fn values_are_counted_as_the_table_says() {
    let (desk, mut now) = (desk(), 0);
    let rows: Vec<&str> = TABLE.trim().lines().skip(1).collect();
    for row in &rows {
        let words: Vec<&str> = row.split_whitespace().collect();
        let at: u64 = words[0].trim_end_matches("ms").parse().expect("milliseconds");
        desk.clock.advance(Duration::from_millis(at - now));
        now = at;
        let verdict = words.iter().position(|word| ["admit", "refuse"].contains(word)).expect("a verdict");
        let asked = &words[1..verdict];
        let named = asked.iter().filter_map(|word| word.split_once('='));
        let attributes: Value = named.map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let attributes = if attributes.is_null() { json!({}) } else { attributes };
        let answer = desk.ruling(&json!({"attributes": attributes, "peek": asked.contains(&"peek")}));
        let limits: Vec<String> = answer
            .limits
            .iter()
            .map(|limit| match (&limit.basis, limit.retry_after_s) {
                (Some(basis), _) => format!("{}={},{basis}", limit.name, limit.remaining),
                (None, Some(0.0)) => format!("{}={}", limit.name, limit.remaining),
                (None, wait) => format!("{}={},{:?}", limit.name, limit.remaining, wait.expect("it ends")),
            })
            .collect();
        let found = [if answer.allowed { "admit" } else { "refuse" }, answer.binding.as_deref().unwrap_or("-")];
        let found = [&found[..], &limits.iter().map(String::as_str).collect::<Vec<_>>()].concat();
        assert_eq!(found, words[verdict..], "{row}");
    }
    assert_eq!(rows.len(), 17);
}

/// What is left is shown without a value, and with one it is said whether that was seen.
#[test]
fn what_is_left_is_shown_for_new_values() {
    let desk = desk();
    desk.ruling(&json!({"attributes": {"number": "1", "recipient": "a"}}));
    for (query, expected) in [
        ("number=1", json!([["recipients", 2, null], ["messages", 8, null], ["anybody", 1, null]])),
        ("number=1&recipient=a", json!([["recipients", 2, "seen"], ["messages", 8, null], ["anybody", 1, "seen"]])),
        ("number=2", json!([["recipients", 3, null], ["messages", 9, null], ["anybody", 1, null]])),
        ("recipient=b", json!([["anybody", 1, null]])),
    ] {
        let left = desk.left(query);
        let standing = left.limits.iter().map(|entry| &entry.standing);
        let found: Vec<Value> = standing.map(|it| json!([it.name, it.remaining, it.basis])).collect();
        assert_eq!(json!(found), expected, "{query}");
    }
}

#[test]
fn an_explanation_says_whether_the_value_is_new() {
    let desk = desk();
    let ask = |recipient: &str| {
        let question = json!({"attributes": {"number": "1", "recipient": recipient}});
        let reply = desk.client().post("/v1/explain", &question.to_string());
        serde_json::from_str::<Value>(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.body))
    };
    for recipient in ["a", "b", "c"] {
        assert_eq!(ask(recipient)["limits"][0]["distinct"]["seen"], false);
        desk.ruling(&json!({"attributes": {"number": "1", "recipient": recipient}}));
    }
    let seen = ask("a");
    let limit = &seen["limits"][0];
    assert_eq!(limit["distinct"], json!({"attribute": "recipient", "value": "a", "seen": true}));
    assert_eq!((&limit["unit"], &limit["standing"]["need"]), (&json!("recipient"), &json!(0)));
    assert_eq!((&limit["counter"], &limit["standing"]["basis"]), (&json!({"number": "1"}), &json!("seen")));
    assert_eq!(limit["standing"]["fits"], true);
    let supposing = "nothing were left of `recipients`, and the value were new";
    assert_eq!(seen["answers"]["refused"]["supposing"], supposing);
    let new = ask("d");
    assert_eq!((&new["allowed"], &new["limits"][0]["standing"]["need"]), (&json!(false), &json!(1)));
    assert_eq!(new["limits"][0]["distinct"], json!({"attribute": "recipient", "value": "d", "seen": false}));
    // A refusal is explained afterwards, too.
    let question = json!({"attributes": {"number": "1", "recipient": "d"}});
    let refused = desk.client().post("/v1/check", &question.to_string());
    let id = refused.header("tidegate-decision").expect("a refusal has an id");
    let told = desk.client().get(&format!("/v1/explain?decision={id}"));
    let told: Value = serde_json::from_str(&told.body).expect("JSON");
    assert_eq!(told["limits"][0]["distinct"], json!({"attribute": "recipient", "value": "d", "seen": false}));
}

#[test]
fn a_policy_shows_what_its_limits_count() {
    let reply = desk().client().get("/v1/policies/messaging");
    let shown: Value = serde_json::from_str(&reply.body).expect("JSON");
    let rules: Vec<Value> =
        shown["rules"].as_array().expect("a list").iter().map(|rule| json!([rule["unit"], rule["distinct"]])).collect();
    assert_eq!(json!(rules), json!([["recipient", "recipient"], ["requests", null], ["recipient", "recipient?"]]));
}
