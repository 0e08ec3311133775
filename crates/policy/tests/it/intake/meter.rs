//! Costs that responses state: from trees, from JSON bodies, from event streams cut anywhere.

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;
use tidegate_core::{Cost, UnitId, bounds};
use tidegate_policy::{MAX_METERED_BYTES, MeterProblem, ResponseMeter};

use super::sketch::{Api, Sketch};

fn api() -> Api {
    Sketch::new()
        .route("chat", "POST /llm/v1/chat/completions")
        .route("publish", "POST /v2/publish/{d...}")
        .limit_in("tokens", Cost::Settled, "chat-tokens", &["chat"], &[])
        .limit_in("words", Cost::Settled, "chat-words", &["chat"], &[])
        .limit("burst", &[], &[])
        .settle("tokens", None, "/usage/total_tokens")
        .settle("words", Some(&["chat"]), "/usage/words/0")
        .settle("requests", None, "/usage/requests")
        .build()
}

fn headers(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", content_type.parse().expect("a header value"));
    headers
}

fn meter(api: &Api, content_type: &str) -> Option<ResponseMeter> {
    api.intake.response_meter(api.operation("chat"), &headers(content_type))
}

fn tokens(api: &Api, amount: u64) -> Option<Vec<(UnitId, u64)>> {
    Some(vec![(api.policy.unit("tokens").expect("a unit"), amount)])
}

/// What a stream of events states, fed in pieces of `size`.
fn stream_in(api: &Api, stream: &[u8], size: usize) -> Option<Vec<(UnitId, u64)>> {
    let mut meter = meter(api, "text/event-stream; charset=utf-8").expect("a meter");
    stream.chunks(size).for_each(|piece| meter.feed(piece));
    let found = meter.finish();
    assert_eq!(meter.problem(), None);
    found
}

#[test]
fn only_operations_with_such_a_limit_settle() {
    let api = api();
    assert!(api.intake.settles(api.operation("chat")));
    for operation in ["publish", "other"] {
        assert!(!api.intake.settles(api.operation(operation)));
        assert!(api.intake.response_meter(api.operation(operation), &headers("application/json")).is_none());
        let body = json!({"usage": {"total_tokens": 5}});
        assert_eq!(api.intake.settled_costs(api.operation(operation), &HeaderMap::new(), Some(&body)), []);
    }
}

#[test]
fn costs_in_a_tree() {
    let api = api();
    let costs =
        |body: serde_json::Value| api.intake.settled_costs(api.operation("chat"), &HeaderMap::new(), Some(&body));
    let [tokens, words] = ["tokens", "words"].map(|unit| api.policy.unit(unit).unwrap());
    assert_eq!(costs(json!({"usage": {"total_tokens": 42, "requests": 7}})), [(tokens, 42)]);
    assert_eq!(costs(json!({"usage": {"total_tokens": 0, "words": [3, 4]}})), [(tokens, 0), (words, 3)]);
    assert_eq!(costs(json!({"usage": {"words": {"0": 9}}})), [(words, 9)]);
    assert_eq!(costs(json!({"usage": {"total_tokens": u64::MAX}})), [(tokens, bounds::MAX_AMOUNT)]);
    for odd in [json!(-1), json!(1.5), json!(1.0), json!("42"), json!(null), json!([42]), json!(true), json!({})] {
        assert_eq!(costs(json!({"usage": {"total_tokens": odd}})), []);
    }
    for odd in [json!(null), json!([]), json!({}), json!(42), json!({"usage": 42}), json!([{"usage": 1}])] {
        assert_eq!(costs(odd), []);
    }
}

#[test]
fn indices_have_one_spelling() {
    for (pointer, is_found) in
        [("/a/0", true), ("/a/00", false), ("/a/+0", false), ("/a/-", false), ("/a/1", false), ("/a/", false)]
    {
        let sketch = Sketch::new().limit_in("tokens", Cost::Settled, "l", &[], &[]).settle("tokens", None, pointer);
        let api = sketch.build();
        let expected = if is_found { tokens(&api, 7) } else { None };
        let tree = api.intake.settled_costs(api.operation("other"), &HeaderMap::new(), Some(&json!({"a": [7]})));
        assert_eq!(Some(tree).filter(|found| !found.is_empty()), expected, "{pointer}");
        let mut meter = api.intake.response_meter(api.operation("other"), &headers("application/json")).unwrap();
        meter.feed(br#"{"a":[7]}"#);
        assert_eq!(meter.finish(), expected, "{pointer}");
    }
}

#[test]
fn which_responses_are_metered() {
    let api = api();
    for content_type in
        ["application/json", "Application/JSON; charset=utf-8", "application/problem+json", "text/event-stream"]
    {
        assert!(meter(&api, content_type).is_some(), "{content_type}");
    }
    for content_type in ["text/html", "text/plain", "application/octet-stream", "", "json", "application/jsonl"] {
        assert!(meter(&api, content_type).is_none(), "{content_type}");
    }
    assert!(api.intake.response_meter(api.operation("chat"), &HeaderMap::new()).is_none());
    let mut compressed = headers("application/json");
    compressed.insert("content-encoding", "gzip".parse().unwrap());
    let mut meter = api.intake.response_meter(api.operation("chat"), &compressed).unwrap();
    meter.feed(br#"{"usage":{"total_tokens":42}}"#);
    assert_eq!((meter.finish(), meter.problem()), (None, Some(MeterProblem::Compressed)));
}

#[test]
fn a_json_body() {
    let api = api();
    let body = br#"{"id":"c1","choices":[{"text":"usage"}],"usage":{"prompt_tokens":2,"total_tokens":42}}"#;
    for size in 1..=body.len() {
        let mut meter = meter(&api, "application/json").unwrap();
        body.chunks(size).for_each(|piece| meter.feed(piece));
        assert_eq!((meter.finish(), meter.problem()), (tokens(&api, 42), None));
        assert_eq!(meter.finish(), None, "it is over");
    }
    for (body, problem) in [
        ("", Some(MeterProblem::Unreadable)),
        ("{", Some(MeterProblem::Unreadable)),
        (r#"{"usage":{"total_tokens":42}"#, Some(MeterProblem::Unreadable)),
        (r#"{"usage":{"total_tokens":42,"total_tokens":1}}"#, Some(MeterProblem::Unreadable)),
        (r#"{"usage":{"total_tokens":42}} {}"#, Some(MeterProblem::Unreadable)),
        ("{}", None),
        (r#"{"usage":null}"#, None),
        (r#"{"usage":{"total_tokens":-42}}"#, None),
        (r#"{"usage":{"total_tokens":4.2}}"#, None),
    ] {
        let mut meter = meter(&api, "application/json").unwrap();
        meter.feed(body.as_bytes());
        assert_eq!((meter.finish(), meter.problem()), (None, problem), "{body}");
    }
}

#[test]
fn a_json_body_that_is_too_long_is_given_up() {
    let api = api();
    let frame = r#"{"x":"","usage":{"total_tokens":42}}"#;
    let body = |bytes: usize| frame.replace(r#""x":"""#, &format!(r#""x":"{}""#, "x".repeat(bytes - frame.len())));
    let mut fits = meter(&api, "application/json").unwrap();
    fits.feed(body(MAX_METERED_BYTES).as_bytes());
    assert_eq!((fits.finish(), fits.problem()), (tokens(&api, 42), None));
    let mut exceeds = meter(&api, "application/json").unwrap();
    for piece in body(MAX_METERED_BYTES + 1).as_bytes().chunks(65_536) {
        exceeds.feed(piece);
    }
    assert_eq!(exceeds.problem(), Some(MeterProblem::TooLong));
    assert_eq!((exceeds.finish(), exceeds.problem()), (None, Some(MeterProblem::TooLong)));
}

const STREAM: &str = concat!(
    ": a comment\n",
    "event: chunk\n",
    "id: 1\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}],\"usage\":null}\n\n",
    "data:{\"choices\":[{\"delta\":{\"content\":\"data: {\\\"usage\\\":{\\\"total_tokens\\\":1}}\"}}]}\n\n",
    "data: {\"usage\":{\"total_tokens\":7}}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"total_tokens\":21}}\n\n",
    "data: [DONE]\n\n",
);

#[test]
fn a_stream_of_events_is_settled_from_its_last_cost() {
    let api = api();
    for line_end in ["\n", "\r\n", "\r"] {
        let stream = STREAM.replace('\n', line_end);
        for size in 1..=stream.len() {
            assert_eq!(stream_in(&api, stream.as_bytes(), size), tokens(&api, 21), "{line_end:?} in pieces of {size}");
        }
    }
}

#[test]
fn streams_that_are_odd() {
    let api = api();
    for (stream, expected) in [
        ("", None),
        ("\n\n\n", None),
        ("data: [DONE]\n\n", None),
        ("data: {\"usage\":{\"total_tokens\":3}}", Some(3)),
        ("data: {\"usage\":{\"total_tokens\":3}}\n", Some(3)),
        ("data: {\"usage\":{\"total_tokens\":3}}\ndata: [DONE]", Some(3)),
        ("data: {\"usage\":{\"total_tokens\":3}}\ndata: {\"usage\":{\"total_tokens\":4}}\n\n", Some(4)),
        ("data: {\"usage\":\ndata: {\"total_tokens\":\ndata: 5}}\n\n", Some(5)),
        ("data: {\"usage\":\r\ndata: {\"total_tokens\":\r\ndata: 5}}\r\n\r\n", Some(5)),
        ("data: {\"usage\":\rdata: {\"total_tokens\":\rdata: 5}}\r\r", Some(5)),
        ("data: {\"usage\":\n\ndata: {\"total_tokens\":5}}\n\n", None),
        ("data: {\"usage\":{\"total_tokens\":3}}\n\ndata: {\"usage\":{\"total_tok", Some(3)),
        ("data: {\"usage\":{\"total_tokens\":3}}\n\ndata: {\"usage\":null}\n\n", Some(3)),
        ("data: {\"usage\":{\"total_tokens\":3}}\n\ndata: {\"usage\":{\"total_tokens\":\"4\"}}\n\n", Some(3)),
        ("\u{feff}data: {\"usage\":{\"total_tokens\":3}}\n\n", Some(3)),
        ("data: x\n\n\u{feff}data: {\"usage\":{\"total_tokens\":3}}\n\n", None),
        ("Data: {\"usage\":{\"total_tokens\":3}}\n\n", None),
        (" data: {\"usage\":{\"total_tokens\":3}}\n\n", None),
        ("database: {\"usage\":{\"total_tokens\":3}}\n\n", None),
        ("data\ndata: {\"usage\":{\"total_tokens\":3}}\n\n", Some(3)),
        ("data:\ndata: {\"usage\":{\"total_tokens\":3}}\n\n", Some(3)),
        ("{\"usage\":{\"total_tokens\":3}}\n\n", None),
        ("data: nonsense\n\ndata: {\"usage\":{\"total_tokens\":3}}\r\n\r\n", Some(3)),
        ("data: \0\u{7f}\n\ndata: {\"usage\":{\"total_tokens\":3}}\r\r", Some(3)),
    ] {
        for size in 1..=stream.len().max(1) {
            let expected = expected.and_then(|amount| tokens(&api, amount));
            assert_eq!(stream_in(&api, stream.as_bytes(), size), expected, "{stream:?} in pieces of {size}");
        }
    }
}

#[test]
fn an_event_that_is_too_long_is_passed_over() {
    let api = api();
    let cost = "data: {\"usage\":{\"total_tokens\":3}}\n\n";
    let long = "x".repeat(MAX_METERED_BYTES);
    let streams = [
        (format!("data: {long}\n\n{cost}"), Some(3)),
        (format!("{cost}data: {long}\n\n"), Some(3)),
        (format!("{cost}{long}{long}"), Some(3)),
        (format!("data: {long}\ndata: {{\"usage\":{{\"total_tokens\":9}}}}\n\n"), None),
        (format!("data: {long}\r\n\r\n{}", cost.replace('\n', "\r\n")), Some(3)),
        (format!("data: x\n{}\n{cost}", format!("data: {}\n", "y".repeat(1_000)).repeat(1_100)), Some(3)),
    ];
    for (stream, expected) in streams {
        for size in [1_000, 4_096, 1_000_003, stream.len()] {
            let mut meter = meter(&api, "text/event-stream").unwrap();
            stream.as_bytes().chunks(size).for_each(|piece| meter.feed(piece));
            let expected = expected.and_then(|amount| tokens(&api, amount));
            assert_eq!((meter.finish(), meter.problem()), (expected, Some(MeterProblem::TooLong)), "{size}");
        }
    }
}

#[test]
fn a_long_stream_of_short_events_is_no_problem() {
    let api = api();
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"word\"}}]}\n";
    let mut meter = meter(&api, "text/event-stream").unwrap();
    for _ in 0..40_000 {
        meter.feed(event.as_bytes());
    }
    meter.feed(b"data: {\"usage\":{\"total_tokens\":40000}}\n\n");
    assert_eq!((meter.finish(), meter.problem()), (tokens(&api, 40_000), None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Streams made of what trips parsers over, cut at random: the same costs as in one piece.
    #[test]
    fn how_a_stream_is_cut_makes_no_difference(
        parts in prop::collection::vec(prop::sample::select(vec![
            "data: ", "data:", "data", "{\"usage\":{\"total_tokens\":1}}", "{\"usage\":{\"total_tokens\":22}}", "{\"usage\":",
            "{\"total_tokens\":3}}", "[DONE]", "\n", "\r\n", "\r", "\n\n", "\r\r", "\r\n\r\n", ": c", "\u{feff}", "x", "é",
        ]), 0..40),
        cuts in prop::collection::vec(0usize..400, 0..20),
        is_json in any::<bool>(),
    ) {
        let api = api();
        let stream = parts.concat();
        let content_type = if is_json { "application/json" } else { "text/event-stream" };
        let mut whole = meter(&api, content_type).unwrap();
        whole.feed(stream.as_bytes());
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < stream.len()).collect();
        cuts.sort_unstable();
        let mut pieces = meter(&api, content_type).unwrap();
        let mut start = 0;
        for cut in cuts {
            pieces.feed(&stream.as_bytes()[start..cut]);
            start = cut;
        }
        pieces.feed(&stream.as_bytes()[start..]);
        prop_assert_eq!(pieces.finish(), whole.finish());
        prop_assert_eq!(pieces.problem(), whole.problem());
    }

    #[test]
    fn random_bytes_do_no_harm(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10)) {
        let api = api();
        for content_type in ["application/json", "text/event-stream"] {
            let mut meter = meter(&api, content_type).unwrap();
            pieces.iter().for_each(|piece| meter.feed(piece));
            meter.finish();
        }
    }
}
