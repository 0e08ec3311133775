//! What `/v1/check` answers, byte by byte where the shape is fixed.

use std::time::Duration;

use serde_json::json;
use tidegate_core::Span;
use tidegate_limiter::{Clock, MemoryOptions};
use tidegate_server::Api;
use tidegate_server::http::wire::Answer;

use super::desk::{Desk, own_api};

/// The example of the design: every member, its name, its place, how its number is written.
#[test]
fn a_ruling_has_the_shape_that_is_fixed() {
    let desk = Desk::on(Api::vendor("whatsapp").expect("it ships"), MemoryOptions::default());
    desk.clock.advance(Duration::from_micros(47_500_001));
    let question = r#"{"policy":"whatsapp","attributes":{"key":"k1","session":"s1","operation":"send-message"},"cost":{"requests":1}}"#;
    let reply = desk.client().post("/v1/check", question);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"), "H9");
    let expected = concat!(
        r#"{"allowed":true,"policy":"whatsapp","version":1,"binding":"messages","limits":["#,
        r#"{"name":"general","limit":100,"remaining":99,"window_s":60,"reset_at":1706774460.0,"#,
        r#""reset_after_s":12.499999,"retry_after_s":0.0,"mode":"enforce"},"#,
        r#"{"name":"messages","limit":30,"remaining":29,"window_s":60,"reset_at":1706774460.0,"#,
        r#""reset_after_s":12.499999,"retry_after_s":0.0,"mode":"enforce"}],"#,
        r#""headers":{"X-RateLimit-Limit":"30","X-RateLimit-Remaining":"29","X-RateLimit-Reset":"1706774460"},"#,
        r#""status":200}"#,
    );
    assert_eq!(reply.body, expected);
}

#[test]
fn a_refusal_is_an_answer_with_the_dialects_body() {
    let desk = Desk::on(Api::vendor("whatsapp").expect("it ships"), MemoryOptions::default());
    let poll = json!({"attributes": {"key": "k1", "session": "s1", "operation": "poll-qr"}});
    assert!(desk.ruling(&poll).allowed);
    desk.clock.advance(Duration::from_micros(1));
    let refusal = desk.ruling(&poll);
    assert!(!refusal.allowed);
    assert_eq!((refusal.status, refusal.binding.as_deref()), (429, Some("qr")));
    let qr = refusal.limits.iter().find(|limit| limit.name == "qr").expect("it applies");
    assert_eq!((qr.limit, qr.remaining, qr.window_s), (1, 0, Some(5.0)));
    assert_eq!((qr.reset_at, qr.retry_after_s), (1_706_774_405.0, Some(4.999_999)));
    let general = refusal.limits.iter().find(|limit| limit.name == "general").expect("it applies");
    assert_eq!((general.remaining, general.retry_after_s), (99, Some(0.0)), "the refusal was charged nothing (I6)");
    let body = refusal.body.expect("a refusal has one");
    assert_eq!(body["success"], false);
    assert_eq!(body["retryAfter"], 5);
}

/// Waiting exactly `retry_after_s` admits, a microsecond less does not.
#[test]
fn retry_after_suffices_and_is_not_too_long() {
    let desk = Desk::open();
    let fetch = json!({"attributes": {"user": "u1", "operation": "fetch"}});
    desk.clock.advance(Duration::from_micros(123_457));
    assert!(desk.ruling(&fetch).allowed);
    desk.clock.advance(Duration::from_millis(700));
    let wait = desk.ruling(&fetch).limits[0].retry_after_s;
    assert_eq!(wait, Some(4.3));
    desk.clock.advance(Duration::from_micros(4_299_999));
    let refusal = desk.ruling(&fetch);
    assert_eq!((refusal.allowed, refusal.limits[0].retry_after_s), (false, Some(0.000_001)));
    desk.clock.advance(Duration::from_micros(1));
    assert!(desk.ruling(&fetch).allowed);
}

#[test]
fn a_peek_charges_nothing() {
    let desk = Desk::open();
    let question = json!({"attributes": {"app": "a1", "operation": "fetch"}, "peek": true});
    let before = desk.ruling(&question);
    for _ in 0..200 {
        assert_eq!(desk.ruling(&question), before);
    }
    let charged = desk.ruling(&json!({"attributes": {"app": "a1", "operation": "fetch"}, "peek": false}));
    assert_eq!(charged.limits[0].remaining, before.limits[0].remaining - 1);
}

#[test]
fn what_follows_from_the_rest_is_filled_in() {
    let desk = Desk::open();
    let names = |answer: &Answer| answer.limits.iter().map(|limit| limit.name.clone()).collect::<Vec<_>>();
    let none = desk.ruling(&json!({"attributes": {}}));
    assert_eq!((none.allowed, none.binding, none.limits.len()), (true, None, 0));
    let other = desk.ruling(&json!({"attributes": {"app": "a1"}}));
    assert_eq!(names(&other), ["app-minute", "user-calls", "tight"], "the default operation");
    let send = desk.ruling(&json!({"attributes": {"app": "a2", "operation": "send", "plan": "paid"}}));
    assert_eq!(names(&send), ["app-minute", "user-calls", "messages", "tokens-day", "tight"], "its class");
    assert_eq!(send.limits[0].limit, 1_000, "the plan");
}

#[test]
fn costs_are_charged_in_their_units() {
    let desk = Desk::open();
    let of = |cost: serde_json::Value| {
        let answer = desk.ruling(&json!({"attributes": {"app": "a1", "operation": "send"}, "cost": cost}));
        let left = |name: &str| answer.limits.iter().find(|limit| limit.name == name).map(|limit| limit.remaining);
        (answer.allowed, left("app-minute"), left("messages"), left("tokens-day"))
    };
    assert_eq!(of(json!({"requests": 3, "messages": 20, "tokens": 400})), (true, Some(97), Some(30), Some(600)));
    assert_eq!(of(json!({"messages": 31})), (false, Some(97), Some(30), Some(600)));
    assert_eq!(of(json!({"messages": 30})), (true, Some(96), Some(0), Some(600)), "tokens are settled later");
    assert_eq!(of(json!({"messages": 0, "requests": 0})), (true, Some(96), Some(0), Some(600)));
}

/// A cost above the quota never fits: no wait, and no number where there is none.
#[test]
fn what_never_fits_has_no_wait() {
    let desk = Desk::open();
    let answer = desk.ruling(&json!({"attributes": {"app": "a1", "operation": "send"}, "cost": {"messages": 51}}));
    assert!(!answer.allowed);
    let messages = answer.limits.iter().find(|limit| limit.name == "messages").expect("it applies");
    assert_eq!((messages.retry_after_s, messages.remaining), (None, 50));
    assert!(!answer.headers.keys().any(|name| name.eq_ignore_ascii_case("retry-after")));
}

#[test]
fn concurrency_has_no_window_and_is_only_looked_at() {
    let desk = Desk::open();
    for _ in 0..10 {
        let answer = desk.ruling(&json!({"attributes": {"user": "u1", "operation": "watch"}}));
        assert!(answer.allowed, "nothing is held that nobody would release");
        assert_eq!((answer.limits[0].name.as_str(), answer.limits[0].window_s), ("open", None));
        assert_eq!(answer.limits[0].remaining, 2);
    }
}

/// I37: a shadow limit counts and is reported, refuses nobody and shows in no header.
#[test]
fn a_shadow_limit_refuses_nobody() {
    let desk = Desk::open();
    for left in [1, 0, 0, 0] {
        let answer = desk.ruling(&json!({"attributes": {"app": "a1", "operation": "other"}}));
        let tight = answer.limits.last().expect("it applies");
        assert_eq!((tight.name.as_str(), tight.mode.as_str(), tight.remaining), ("tight", "shadow", left));
        assert_eq!(tight.window_s, Some(1.5));
        assert!(answer.allowed);
        assert_ne!(answer.binding.as_deref(), Some("tight"));
        assert_eq!(answer.headers["X-RateLimit-Limit"], answer_limit(&answer).to_string());
    }
}

fn answer_limit(answer: &Answer) -> u64 {
    let binding = answer.limits.iter().find(|limit| Some(&limit.name) == answer.binding.as_ref());
    binding.expect("a limit binds").limit
}

#[test]
fn a_batch_is_answered_in_its_order_each_alone() {
    let desk = Desk::open();
    let fetch = |user: &str, peek: bool| json!({"attributes": {"user": user, "operation": "fetch"}, "peek": peek});
    let batch =
        json!([fetch("u1", true), fetch("u1", false), fetch("u1", false), fetch("u2", false), {"attributes": {}}]);
    let reply = desk.client().post("/v1/check", &batch.to_string());
    assert_eq!(reply.status, 200, "a refusal inside is a ruling");
    let answers: Vec<Answer> = serde_json::from_str(&reply.body).expect("an array of answers");
    let rulings: Vec<(bool, u16)> = answers.iter().map(|answer| (answer.allowed, answer.status)).collect();
    assert_eq!(rulings, [(true, 200), (true, 200), (false, 429), (true, 200), (true, 200)]);
    assert_eq!(desk.client().post("/v1/check", "[]").body, "[]");
}

/// I12: a batch of any size is byte for byte the answers that its questions have one by one, peeks and refusals among
/// them, with counters that occur many times.
#[test]
fn a_batch_is_answered_as_its_questions_are_one_by_one() {
    let (together, alone) = (Desk::open(), Desk::open());
    let (mut number, mut refused) = (0_u64, 0);
    for size in [1, 2, 31, 32, 33, 64, 100] {
        let questions: Vec<String> = (0..size)
            .map(|_| {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let operation = ["fetch", "send"][usize::from(number >> 33 & 3 == 0)];
                let attributes = json!({"user": format!("u{}", number >> 40 & 15), "operation": operation});
                json!({"attributes": attributes, "peek": number >> 50 & 3 == 0}).to_string()
            })
            .collect();
        let reply = together.client().post("/v1/check", &format!("[{}]", questions.join(",")));
        let mut client = alone.client();
        let answers: Vec<String> = questions.iter().map(|question| client.post("/v1/check", question).body).collect();
        refused += answers.iter().filter(|answer| answer.starts_with(r#"{"allowed":false"#)).count();
        assert_eq!(reply.body, format!("[{}]", answers.join(",")), "{size} questions");
        for desk in [&together, &alone] {
            desk.clock.set(desk.clock.now().plus(Span::from_micros(700_001)));
        }
    }
    assert!((20..240).contains(&refused), "{refused} of 263 refused");
}

/// A mistake anywhere in a batch is found before anything is charged.
#[test]
fn a_batch_with_a_mistake_charges_nothing() {
    let desk = Desk::open();
    let batch = json!([{"attributes": {"app": "a1"}}, {"attributes": {"app": "a1", "sesion": "s1"}}]);
    let reply = desk.client().post("/v1/check", &batch.to_string());
    assert_eq!((reply.status, reply.mistake().error.place.as_deref()), (400, Some("[1].attributes.sesion")));
    assert_eq!(desk.ruling(&json!({"attributes": {"app": "a1"}, "peek": true})).limits[0].remaining, 100);
}

#[test]
fn a_thousand_questions_are_a_batch_and_one_more_is_not() {
    let desk = Desk::open();
    let batch = |length: usize| format!("[{}]", vec![r#"{"attributes":{}}"#; length].join(","));
    let reply = desk.client().post("/v1/check", &batch(1_000));
    assert_eq!(reply.status, 200);
    assert_eq!(serde_json::from_str::<Vec<Answer>>(&reply.body).expect("answers").len(), 1_000);
    let reply = desk.client().post("/v1/check", &batch(1_001));
    assert_eq!(
        (reply.status, reply.mistake().error.message.as_str()),
        (400, "array has 1001 items, at most 1000 are allowed")
    );
}

/// At the cap a new counter's limit refuses, and the answer says on what it rests (I27, I51).
#[test]
fn a_full_store_is_said_so() {
    let desk = Desk::on(own_api(), MemoryOptions { max_counters: 1 });
    let mut refusals = 0;
    for user in 0..64 {
        let answer = desk.ruling(&json!({"attributes": {"user": format!("u{user}"), "operation": "fetch"}}));
        let basis = answer.limits[0].basis.as_deref();
        assert_eq!(basis, if answer.allowed { None } else { Some("store-full") });
        refusals += u32::from(!answer.allowed);
    }
    assert!(refusals > 0, "64 counters in a store of one");
}
