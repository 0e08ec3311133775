//! Costs that a request states, and reserves of what its response will state.

use http::HeaderMap;
use serde_json::json;
use tidegate_core::{ChargeList, Cost, Purpose, bounds};
use tidegate_policy::{CostSource, SettleSource};

use super::sketch::{Api, NOW, Request, Sketch};

/// An API whose operation `send` costs `units` as said.
fn costing(source: CostSource) -> Api {
    Sketch::new()
        .route("send", "POST /send")
        .limit_in("units", Cost::One, "units", &["send"], &[])
        .costing("units", Some(&["send"]), source)
        .build()
}

/// What a request costs, if it says so.
fn cost(api: &Api, request: &Request) -> Option<u64> {
    let facts = api.facts(request).unwrap_or_else(|problem| panic!("{problem}"));
    facts.costs().first().map(|(_, amount)| *amount)
}

#[test]
fn a_cost_may_be_the_same_always() {
    for amount in [0, 5, bounds::MAX_AMOUNT] {
        let api = costing(CostSource::Is(amount));
        assert_eq!(cost(&api, &Request::post("/send", "not JSON {")), Some(amount));
        assert!(!api.intake.needs_body(api.operation("send")) && !api.intake.needs_length(api.operation("send")));
    }
    let sketch = Sketch::new().limit_in("units", Cost::One, "units", &[], &[]);
    let problem = sketch.costing("units", None, CostSource::Is(bounds::MAX_AMOUNT + 1)).try_build().map(drop);
    assert_eq!(problem.unwrap_err().to_string(), "a cost is at most 9007199254740991");
}

#[test]
fn a_cost_in_a_header_is_a_whole_number() {
    let api = costing(CostSource::Header("X-Cost".to_owned()));
    let asked = |value: &str| Request::post("/send", "").header("x-cost", value);
    for (value, expected) in [
        ("5", Some(5)),
        (" 5\t", Some(5)),
        ("0", Some(0)),
        ("007", Some(7)),
        ("", Some(1)),
        ("9007199254740991", Some(bounds::MAX_AMOUNT)),
    ] {
        assert_eq!(cost(&api, &asked(value)), expected, "{value}");
    }
    assert_eq!(cost(&api, &Request::post("/send", "")), Some(1));
    for value in [
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x5",
        "5 5",
        "5,5",
        "five",
        "9007199254740992",
        "99999999999999999999",
        "٥",
        "1_000",
    ] {
        let complaint = api.complaint(&asked(value));
        assert_eq!(complaint, "header x-cost: expected a whole number of at most 9007199254740991", "{value}");
    }
    let twice = asked("5").header("x-cost", "5");
    assert!(api.complaint(&twice).contains("expected once"));
    // Where no limit counts the unit, nobody asks what it costs.
    let elsewhere = Request::get("/elsewhere").header("x-cost", "five");
    assert_eq!(cost(&api, &elsewhere), None);
    assert!(api.intake.reads_header(&http::HeaderName::from_static("x-cost")), "`Connection` cannot take it away (K5)");
}

#[test]
fn table_of_sums() {
    let nested = r#"{"m":[{"p":[{"n":1},{"n":2}]},{"p":[]},{"p":[{}]},{"q":1},5]}"#;
    for (pattern, body, expected) in [
        ("/m/*/n", r#"{"m":[{"n":1},{"n":20},{"n":300}]}"#, Ok(Some(321))),
        ("/m/*", r#"{"m":[1,2,3]}"#, Ok(Some(6))),
        ("/*", "[1,2,3]", Ok(Some(6))),
        ("/*/0", "[[1,9],[2],[]]", Ok(Some(4))),
        ("/m/*/p/*/n", nested, Ok(Some(6))),
        ("/n", r#"{"n":7}"#, Ok(Some(7))),
        ("", "7", Ok(Some(7))),
        // An element without a number there counts 1, as what states no cost does.
        ("/m/*/n", r#"{"m":[{"n":5},{},{"x":9},7,"n",[1],null]}"#, Ok(Some(11))),
        ("/m/*/n", r#"{"m":[]}"#, Ok(Some(0))),
        // No list there: no cost is stated.
        ("/m/*/n", r#"{"m":{"n":5}}"#, Ok(Some(1))),
        ("/m/*/n", r#"{"m":7}"#, Ok(Some(1))),
        ("/m/*/n", "{}", Ok(Some(1))),
        ("/m/*/n", "", Ok(Some(1))),
        ("/n", "{}", Ok(Some(1))),
        // `*` is a name where the body has no list.
        ("/m/*/n", r#"{"m":{"*":{"n":5}}}"#, Ok(Some(1))),
        // More than an amount can be is as much as one can be.
        ("/*", "[9007199254740991,9007199254740991]", Ok(Some(bounds::MAX_AMOUNT))),
        ("/*", "[18446744073709551615,18446744073709551615]", Ok(Some(bounds::MAX_AMOUNT))),
        // What could be read in two ways is refused.
        ("/*", "[1,-1]", Err("whole numbers")),
        ("/*", "[1,1.5]", Err("whole numbers")),
        ("/*", "[1,1.0]", Err("whole numbers")),
        ("/*", "[1,\"1\"]", Err("whole numbers")),
        ("/*", "[1,true]", Err("whole numbers")),
        ("/*", "[1,null]", Err("whole numbers")),
        ("/*", "[1,[1]]", Err("whole numbers")),
        ("/*", "[{},1]", Err("whole numbers")),
        ("/*", "[18446744073709551616]", Err("whole numbers")),
        ("/n", r#"{"n":"7"}"#, Err("whole numbers")),
        ("/m/*/n", r#"{"m":[{"n":1,"n":2}]}"#, Err("member `n` occurs twice")),
        ("/m/*/n", r#"{"m":[{"n":1}],"m":[]}"#, Err("member `m` occurs twice")),
        ("/m/*/n", r#"{"m":[{"n":1}]"#, Err("expected JSON")),
    ] {
        let api = costing(CostSource::SumOf(pattern.to_owned()));
        assert!(api.intake.needs_body(api.operation("send")));
        let request = Request::post("/send", body);
        match expected {
            Ok(expected) => assert_eq!(cost(&api, &request), expected, "{pattern} {body}"),
            Err(part) => assert!(api.complaint(&request).contains(part), "{pattern} {body}"),
        }
    }
}

/// Several pointers at once, one of them into what another adds up.
#[test]
fn sums_lengths_and_attributes_are_read_in_one_go() {
    let api = Sketch::new()
        .route("send", "POST /send")
        .attribute("first", &["body:/m/0/to"])
        .limit("firsts", &["send"], &["first"])
        .limit_in("messages", Cost::One, "messages", &["send"], &[])
        .limit_in("bytes", Cost::One, "bytes", &["send"], &[])
        .cost("messages", &["send"], "/m")
        .costing("bytes", Some(&["send"]), CostSource::SumOf("/m/*/size".to_owned()))
        .build();
    let facts = api.facts(&Request::post("/send", r#"{"m":[{"to":"a","size":10},{"size":5},{"to":"b"}]}"#)).unwrap();
    assert_eq!(facts.costs().iter().map(|(_, amount)| *amount).collect::<Vec<_>>(), [3, 16]);
    assert_eq!(facts.value(api.policy.attribute("first").unwrap()), Some("a"));
}

#[test]
fn the_bytes_of_a_body_are_those_that_are_sent_or_announced() {
    let api = costing(CostSource::BytesOfBody);
    assert!(api.intake.needs_length(api.operation("send")) && !api.intake.needs_body(api.operation("send")));
    assert!(!api.intake.needs_length(api.operation("other")));
    let request = |body: &str| Request::post("/send", body);
    assert_eq!(cost(&api, &request("hello")), Some(5));
    assert_eq!(cost(&api, &request("{\"not JSON")), Some(10));
    assert_eq!(cost(&api, &request("hello").header("content-encoding", "gzip")), Some(5));
    assert_eq!(cost(&api, &request("hello").header("content-length", "99")), Some(5), "what is there counts");
    let announced = |length: &str| Request { body: None, ..request("") }.header("content-length", length);
    assert_eq!(cost(&api, &announced("4711")), Some(4_711));
    assert_eq!(cost(&api, &announced("18446744073709551615")), Some(bounds::MAX_AMOUNT));
    assert_eq!(cost(&api, &Request::new("POST", "/send")), Some(0));
    assert_eq!(api.complaint(&announced("+5")), "header content-length: expected a whole number");
}

#[test]
fn a_cost_without_operations_is_that_of_the_rest() {
    let sketch = Sketch::new()
        .route("send", "POST /send")
        .route("list", "GET /list")
        .limit_in("units", Cost::One, "units", &[], &[])
        .limit_in("bytes", Cost::One, "bytes", &[], &[])
        .costing("units", None, CostSource::Is(2))
        .costing("units", Some(&["send"]), CostSource::Is(10))
        .costing("bytes", Some(&["list"]), CostSource::Is(0));
    let api = sketch.build();
    let costs = |request: &Request| api.facts(request).unwrap().costs().iter().map(|(_, it)| *it).collect::<Vec<_>>();
    assert_eq!(costs(&Request::post("/send", "")), [10]);
    assert_eq!(costs(&Request::get("/list")), [2, 0]);
    assert_eq!(costs(&Request::get("/elsewhere")), [2]);
    let twice = sketch.costing("units", None, CostSource::Is(3)).try_build().map(drop).unwrap_err();
    assert_eq!(twice.to_string(), "the cost in `units` of one operation is stated twice");
}

/// What a request states of a unit that its response settles is held back until then; nothing stated, or a reserve of
/// nothing, must find at least 1.
#[test]
fn a_cost_that_is_settled_later_is_a_reserve() {
    let api = Sketch::new()
        .route("chat", "POST /chat")
        .limit_in("tokens", Cost::Settled, "tokens", &["chat"], &[])
        .costing("tokens", Some(&["chat"]), CostSource::SumOf("/max_tokens".to_owned()))
        .settle("tokens", None, "/usage/total")
        .build();
    for (body, need, take) in [(r#"{"max_tokens":7}"#, 7, 7), ("{}", 1, 0), (r#"{"max_tokens":0}"#, 1, 0)] {
        let facts = api.facts(&Request::post("/chat", body)).unwrap();
        let mut demand = facts.demand(&api.policy).unwrap();
        let demand = demand.set_purpose(Purpose::Hold).build();
        let mut list = ChargeList::new();
        let charges = list.resolve(&demand, NOW);
        assert_eq!(
            charges.iter().map(|charge| (charge.need(), charge.take())).collect::<Vec<_>>(),
            [(need, take)],
            "{body}"
        );
    }
}

#[test]
fn a_response_states_costs_in_its_headers_too() {
    let api = Sketch::new()
        .route("chat", "POST /chat")
        .limit_in("tokens", Cost::Settled, "tokens", &["chat"], &[])
        .limit_in("bytes", Cost::Settled, "bytes", &["chat"], &[])
        .settling("tokens", None, SettleSource::Header("X-Tokens".to_owned()))
        .settle("bytes", None, "/bytes")
        .build();
    let (tokens, bytes) = (api.policy.unit("tokens").unwrap(), api.policy.unit("bytes").unwrap());
    let chat = api.operation("chat");
    let headers = |pairs: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    };
    let json_type = ("content-type", "application/json");
    for (pairs, body, expected) in [
        (&[("x-tokens", "532"), json_type][..], r#"{"bytes":9}"#, vec![(tokens, 532), (bytes, 9)]),
        (&[("x-tokens", "532")], "no JSON", vec![(tokens, 532)]),
        (&[("x-tokens", "532"), json_type], "no JSON", vec![(tokens, 532)]),
        (&[("x-tokens", "532"), json_type, ("content-encoding", "gzip")], "", vec![(tokens, 532)]),
        (&[("x-tokens", " 0 ")], "", vec![(tokens, 0)]),
        (&[("x-tokens", "9007199254740992")], "", vec![(tokens, bounds::MAX_AMOUNT)]),
        (&[json_type], r#"{"bytes":9}"#, vec![(bytes, 9)]),
        (&[("x-tokens", "-1"), json_type], r#"{"bytes":9}"#, vec![(bytes, 9)]),
        (&[("x-tokens", "1.5"), json_type], r#"{"bytes":9}"#, vec![(bytes, 9)]),
        (&[("x-tokens", "1"), ("x-tokens", "2"), json_type], r#"{"bytes":9}"#, vec![(bytes, 9)]),
        (&[("x-tokens", "x")], "", vec![]),
    ] {
        let headers = headers(pairs);
        let mut meter = api.intake.response_meter(chat, &headers);
        meter.iter_mut().for_each(|meter| meter.feed(body.as_bytes()));
        let found = meter.and_then(|mut meter| meter.finish()).unwrap_or_default();
        assert_eq!(found, expected, "{pairs:?} {body}");
        if !pairs.iter().any(|(name, _)| *name == "content-encoding")
            && pairs.contains(&json_type)
            && body.starts_with('{')
        {
            let tree: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(api.intake.settled_costs(chat, &headers, Some(&tree)), expected, "{pairs:?} {body}");
        }
    }
    assert_eq!(api.intake.settled_costs(chat, &HeaderMap::new(), Some(&json!({}))), []);
    let headers_only = Sketch::new()
        .limit_in("tokens", Cost::Settled, "tokens", &[], &[])
        .settling("tokens", None, SettleSource::Header("x-tokens".to_owned()))
        .build();
    assert!(!headers_only.intake.settles(headers_only.operation("other")), "its body may stay compressed");
    assert!(headers_only.intake.response_meter(headers_only.operation("other"), &HeaderMap::new()).is_none());
}
