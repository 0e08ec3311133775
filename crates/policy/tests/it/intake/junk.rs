//! Whatever strangers send: no panic, the same answer twice, and bounds that hold (I36, design 4.7).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use tidegate_core::{Cost, bounds};
use tidegate_policy::Asked;

use super::sketch::{Api, NOW, Sketch};
use super::tokens::{encode, signed};

/// An API that reads everything that can be read.
fn api() -> Api {
    Sketch::new()
        .route("send", "POST /send/{user}/{rest...}")
        .route("get", "GET /send/{user}")
        .attribute("key", &["header:x-key", "bearer", "query:key"])
        .attribute("app", &["host:{value}.example", "body:/app"])
        .attribute("user", &["jwt:sub", "path:user", "body:/users/0/id"])
        .attribute("rest", &["path:rest"])
        .attribute("client", &["client"])
        .client("forwarded", &["0.0.0.0/0"])
        .attribute("plan", &["jwt:plan", "header:x-plan"])
        .jwt(&["header:authorization", "query:token"], true)
        .secret("app", "known", "secret")
        .limit("all", &[], &["key", "app", "user"])
        .limit_in("messages", Cost::One, "messages", &["send"], &["rest"])
        .cost("messages", &["send"], "/messages")
        .build()
}

fn byte_string() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..80)
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    let json = prop::sample::select(vec![
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"none"}"#,
        "{}",
        "[]",
        "{",
        r#"{"sub":"u","plan":7}"#,
        r#"{"sub":[],"exp":1e999}"#,
        r#"{"exp":-0}"#,
        "\u{feff}{}",
        r#"{"sub":"\ud800"}"#,
        r#"{"nbf":99999999999999999999}"#,
        "",
    ]);
    prop_oneof![
        byte_string(),
        (json.clone(), json.clone()).prop_map(|(header, payload)| signed(header, payload, "secret").into_bytes()),
        (json.clone(), json, "[a-zA-Z0-9._-]{0,20}").prop_map(|(header, payload, rest)| {
            format!("Bearer {}.{}.{rest}", encode(header), encode(payload)).into_bytes()
        }),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        byte_string(),
        prop::sample::select(vec![
            r#"{"app":"known","users":[{"id":"u"}],"messages":[1,2,3]}"#,
            r#"{"messages":[],"messages":[1]}"#,
            "[[[[",
            "{\"app\":",
            r#"{"users":{"0":{"id":1}}}"#,
            r#"{"app":"\u0000"}"#,
            r#"{"app":1e999}"#,
            "null",
            "",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn anything_is_facts_or_a_complaint(
        method in prop::sample::select(vec![Method::GET, Method::POST, Method::HEAD, Method::OPTIONS]),
        target in prop_oneof![
            "/send/[a-z%0-9]{1,6}(/[!-~]{0,20})?(\\?((key|token|k%65y)=[!-~]{0,10}&?){0,3})?",
            ".{0,40}",
            "/.{0,20}",
        ],
        host in prop::option::of(prop_oneof!["[a-z0-9.:@-]{0,20}", ".{0,10}", Just("known.example".to_owned())]),
        names in prop::collection::vec(prop::sample::select(vec!["x-key", "x-plan", "forwarded", "x-http-method", "content-encoding", "content-type"]), 0..4),
        values in prop::collection::vec(byte_string(), 4),
        token in prop::option::of(token()),
        peer in prop::option::of(any::<[u8; 4]>().prop_map(IpAddr::from)),
        body in prop::option::of(body()),
    ) {
        let api = api();
        let mut headers = HeaderMap::new();
        for (name, value) in names.iter().zip(&values) {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        if let Some(value) = token.and_then(|token| HeaderValue::from_bytes(&token).ok()) {
            headers.append("authorization", value);
        }
        if let Ok(route) = api.intake.route(&method, &target) {
            let asked = Asked { peer, host: host.as_deref(), headers: &headers, body: body.as_deref() };
            let facts = api.intake.extract(&api.policy, &route, &asked, NOW);
            prop_assert_eq!(&facts, &api.intake.extract(&api.policy, &route, &asked, NOW));
            match facts {
                Ok(facts) => {
                    for (_, value) in facts.values() {
                        prop_assert!(!value.is_empty() && value.len() <= bounds::MAX_ATTRIBUTE_BYTES);
                        prop_assert!(!value.chars().any(char::is_control));
                    }
                    let demand = facts.demand(&api.policy).map(|demand| demand.build());
                    prop_assert!(demand.is_ok(), "{:?}", demand.err());
                }
                Err(problem) => {
                    prop_assert!(!problem.place().is_empty() && !problem.message().is_empty());
                    prop_assert!(problem.to_string().len() < 20_000);
                }
            }
        }
    }
}
