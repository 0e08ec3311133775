//! Bad questions: each is answered 4xx with its place, nothing is charged, and the process lives on.

use serde_json::json;

use super::desk::{Client, Desk};

/// Bodies of `/v1/check`, the place that the answer names, and a part of what it says.
const BAD_BODIES: &[(&str, &str, &str)] = &[
    // Not JSON.
    ("", "body", "empty"),
    (" \n", "body", "empty"),
    ("{", "line 1, column 1", "EOF while parsing an object"),
    (r#"{"attributes":{}"#, "line 1, column 16", "EOF while parsing an object"),
    ("{\"attributes\":\n{\"app\" \"a1\"}}", "line 2, column 8", "expected `:`"),
    (r#"{"attributes":{},}"#, "line 1, column 18", "key must be a string"),
    (r#"{"attributes":{}} x"#, "line 1, column 19", "trailing characters"),
    (r#"{"attributes":{}}{"attributes":{}}"#, "line 1, column 18", "trailing characters"),
    ("{'attributes':{}}", "line 1, column 2", "key must be a string"),
    ("key=k1&session=s1", "line 1, column 1", "expected a value"),
    (r#"{"attributes":{"app":"\x41"}}"#, "line 1, column 24", "escape"),
    (r#"{"attributes":{},"cost":{"requests":01}}"#, "line 1, column 38", "number"),
    (r#"{"attributes":{},"cost":{"requests":+1}}"#, "line 1, column 37", "expected a value"),
    (r#"{"attributes":{},"cost":{"requests":NaN}}"#, "line 1, column 37", "expected a value"),
    // Not a question.
    ("null", "", "expected an object, found null"),
    ("7", "", "expected an object, found a number"),
    ("\"check\"", "", "expected an object, found a string"),
    ("true", "", "expected an object, found a boolean"),
    ("[7]", "[0]", "expected an object, found a number"),
    ("[[]]", "[0]", "expected an object, found an array"),
    ("{}", "attributes", "missing"),
    (r#"{"attributs":{}}"#, "attributs", "did you mean `attributes`?"),
    (r#"{"attributes":{},"costs":{}}"#, "costs", "did you mean `cost`?"),
    (r#"{"attributes":{},"t":1}"#, "t", "unknown member"),
    (r#"{"attributes":{},"attributes":{}}"#, "attributes", "given twice"),
    // Attributes.
    (r#"{"attributes":[]}"#, "attributes", "expected an object, found an array"),
    (r#"{"attributes":"app=a1"}"#, "attributes", "expected an object, found a string"),
    (r#"{"attributes":null}"#, "attributes", "expected an object, found null"),
    (r#"{"attributes":{"sesion":"s1"}}"#, "attributes.sesion", "unknown attribute"),
    (r#"{"attributes":{"usr":"u1"}}"#, "attributes.usr", "did you mean `user`?"),
    (r#"{"attributes":{"App":"a1"}}"#, "attributes.App", "did you mean `app`?"),
    (r#"{"attributes":{"":"a1"}}"#, "attributes", "unknown attribute"),
    (r#"{"attributes":{"app":1}}"#, "attributes.app", "expected a string, found a number"),
    (r#"{"attributes":{"app":null}}"#, "attributes.app", "expected a string, found null"),
    (r#"{"attributes":{"app":["a1"]}}"#, "attributes.app", "expected a string, found an array"),
    (r#"{"attributes":{"app":true}}"#, "attributes.app", "expected a string, found a boolean"),
    (r#"{"attributes":{"app":{}}}"#, "attributes.app", "expected a string, found an object"),
    (r#"{"attributes":{"app":"\ud800"}}"#, "attributes.app", "hex escape"),
    (r#"{"attributes":{"app":"a1","app":"a2"}}"#, "attributes.app", "given twice"),
    (r#"{"attributes":{"operation":"sned"}}"#, "attributes.operation", "did you mean `send`?"),
    (r#"{"attributes":{"class":"write"}}"#, "attributes.class", "follows from the operation"),
    // Costs.
    (r#"{"attributes":{},"cost":1}"#, "cost", "expected an object, found a number"),
    (r#"{"attributes":{},"cost":{"request":1}}"#, "cost.request", "did you mean `requests`?"),
    (r#"{"attributes":{},"cost":{"bytes":1}}"#, "cost.bytes", "unknown unit"),
    (r#"{"attributes":{},"cost":{"requests":"1"}}"#, "cost.requests", "expected a number, found a string"),
    (r#"{"attributes":{},"cost":{"requests":1.5}}"#, "cost.requests", "expected a whole number, found 1.5"),
    (r#"{"attributes":{},"cost":{"requests":1.0}}"#, "cost.requests", "expected a whole number, found 1.0"),
    (r#"{"attributes":{},"cost":{"requests":1e2}}"#, "cost.requests", "expected a whole number, found 1e2"),
    (r#"{"attributes":{},"cost":{"requests":-1}}"#, "cost.requests", "from 0, found -1"),
    (r#"{"attributes":{},"cost":{"requests":-0}}"#, "cost.requests", "from 0, found -0"),
    (r#"{"attributes":{},"cost":{"requests":9007199254740992}}"#, "cost.requests", "above the largest amount"),
    (r#"{"attributes":{},"cost":{"requests":99999999999999999999}}"#, "cost.requests", "above the largest amount"),
    (r#"{"attributes":{},"cost":{"requests":null}}"#, "cost.requests", "expected a number, found null"),
    (r#"{"attributes":{},"cost":{"requests":1,"requests":2}}"#, "cost.requests", "given twice"),
    // The rest.
    (r#"{"policy":"desks","attributes":{}}"#, "policy", "did you mean `desk`?"),
    (r#"{"policy":7,"attributes":{}}"#, "policy", "expected a string, found a number"),
    (r#"{"attributes":{},"peek":"yes"}"#, "peek", "expected true or false, found a string"),
    (r#"{"attributes":{},"peek":1}"#, "peek", "expected true or false, found a number"),
    (r#"{"attributes":{},"reserve":true,"peek":true}"#, "reserve", "a peek charges nothing"),
    (r#"{"attributes":{},"reserve":null}"#, "reserve", "expected true or false, found null"),
    (r#"[{"attributes":{}},{"attributes":{"usr":"u1"}}]"#, "[1].attributes.usr", "did you mean `user`?"),
];

#[test]
fn bad_bodies_are_told_what_is_wrong_and_where() {
    let desk = Desk::open();
    let mut client = desk.client();
    let mut wrong = String::new();
    for (body, place, part) in BAD_BODIES {
        let reply = client.post("/v1/check", body);
        assert_eq!(reply.status, 400, "{body}: {}", reply.body);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let error = reply.mistake().error;
        let said = format!("{} {}", error.message, error.help.unwrap_or_default());
        if error.place.as_deref().unwrap_or_default() != *place || !said.contains(part) {
            wrong.push_str(&format!("{body}: expected {place:?} {part:?}, found {:?} {said:?}\n", error.place));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(BAD_BODIES.len() >= 40);
    let fresh = desk.ruling(&json!({"attributes": {"app": "a1"}, "peek": true}));
    assert_eq!(fresh.limits[0].remaining, 100, "nothing was charged");
}

#[test]
fn bodies_that_are_no_text_are_refused() {
    let desk = Desk::open();
    let mut client = desk.client();
    let odd: [&[u8]; 4] =
        [b"\xff\xfe{}", b"{\"attributes\":{\"app\":\"\xc3\"}}", b"\x00", b"{\"attributes\":{\"a\x01pp\":\"\"}}"];
    for body in odd {
        assert_eq!(client.post_bytes("/v1/check", body).status, 400, "{body:?}");
    }
}

#[test]
fn long_and_deep_bodies_are_refused() {
    let desk = Desk::open();
    let long = format!(r#"{{"attributes":{{"app":"{}"}}}}"#, "a".repeat(4_097));
    let reply = desk.client().post("/v1/check", &long);
    assert_eq!((reply.status, reply.mistake().error.place.as_deref()), (400, Some("attributes.app")));
    let longest = format!(r#"{{"attributes":{{"app":"{}"}}}}"#, "a".repeat(4_096));
    assert_eq!(desk.client().post("/v1/check", &longest).status, 200);

    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(desk.client().post("/v1/check", &deep).status, 400);
    let deep = format!(r#"{{"attributes":{}{}}}"#, r#"{"a":"#.repeat(50_000), "}".repeat(50_000));
    assert_eq!(desk.client().post("/v1/check", &deep).status, 400);

    let many: Vec<String> = (0..20_000).map(|index| format!(r#""a{index}":"v""#)).collect();
    let reply = desk.client().post("/v1/check", &format!(r#"{{"attributes":{{{}}}}}"#, many.join(",")));
    assert_eq!((reply.status, reply.mistake().error.place.as_deref()), (400, Some("attributes.a0")));

    let name = "n".repeat(100_000);
    let reply = desk.client().post("/v1/check", &format!(r#"{{"attributes":{{"{name}":"v"}}}}"#));
    assert!(reply.status == 400 && reply.body.len() < 1_000, "{}", reply.body.len());
}

#[test]
fn a_body_of_a_mebibyte_is_read_and_one_byte_more_is_not() {
    let desk = Desk::open();
    let of = |length: usize| format!("{}{}", r#"{"attributes":{}}"#, " ".repeat(length - 17));
    assert_eq!(desk.client().post("/v1/check", &of(1 << 20)).status, 200);
    let reply = desk.client().post("/v1/check", &of((1 << 20) + 1));
    assert_eq!((reply.status, reply.mistake().error.place.as_deref()), (413, Some("body")));
    // Announced only: the answer does not wait for it.
    let head = format!("POST /v1/check HTTP/1.1\r\nHost: {}\r\nContent-Length: 9999999999\r\n\r\n", desk.address);
    assert_eq!(desk.client().exchange(head.as_bytes()).status, 413);
    // In chunks, which announce nothing.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let head = format!("POST /v1/check HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", desk.address);
    assert_eq!(desk.client().exchange(format!("{head}{}", chunk.repeat(17)).as_bytes()).status, 413);
    assert_eq!(desk.client().get("/healthz").status, 200);
}

#[test]
fn targets_and_methods_that_are_not_there_are_told_so() {
    let desk = Desk::open();
    let mut client = desk.client();
    let reply = client.get("/v1/chek");
    assert_eq!((reply.status, reply.mistake().error.place.as_deref()), (404, Some("path")));
    for (method, target, allow) in [
        ("GET", "/v1/check", "POST"),
        ("PUT", "/v1/check", "POST"),
        ("POST", "/v1/limits", "GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", desk.address);
        let reply = desk.client().exchange(request.as_bytes());
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{method} {target}");
        assert_eq!(reply.mistake().error.place.as_deref(), Some("method"));
    }
}

/// Queries of `/v1/limits`, the parameter that the answer names, and a part of what it says.
const BAD_QUERIES: &[(&str, &str, &str)] = &[
    ("ap=a1", "ap", "did you mean `app`?"),
    ("session=s1", "session", "unknown parameter"),
    ("app=a1&app=a2", "app", "given twice"),
    ("policy=other", "policy", "no policy of this name"),
    ("policy=desk&policy=desk", "policy", "given twice"),
    ("operation=sned", "operation", "did you mean `send`?"),
    ("class=write", "class", "follows from the operation"),
    ("cost=1", "cost", "unknown parameter"),
    ("app=%ff", "query", "UTF-8"),
    ("=a1", "", "unknown parameter"),
];

#[test]
fn bad_queries_are_told_what_is_wrong() {
    let desk = Desk::open();
    let mut client = desk.client();
    for (query, place, part) in BAD_QUERIES {
        let reply = client.get(&format!("/v1/limits?{query}"));
        assert_eq!(reply.status, 400, "{query}: {}", reply.body);
        let error = reply.mistake().error;
        assert_eq!(error.place.unwrap_or_default(), *place, "{query}");
        let said = format!("{} {}", error.message, error.help.unwrap_or_default());
        assert!(said.contains(part), "{query}: {said:?} lacks {part:?}");
    }
}

/// A12: a page of another site cannot make a browser ask for it under a name of its own.
#[test]
fn a_foreign_host_is_misdirected() {
    let desk = Desk::open();
    for host in ["evil.example", "evil.example:8081", "localhost.evil.example", "192.168.0.1"] {
        let request = format!("GET /v1/limits HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let reply = desk.client().exchange(request.as_bytes());
        assert_eq!((reply.status, reply.mistake().error.place.as_deref()), (421, Some("header host")), "{host}");
    }
    for host in ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:8081"] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(desk.client().exchange(request.as_bytes()).status, 200, "{host}");
    }
}

/// What is no HTTP at all ends its own connection and nobody else's.
#[test]
fn noise_ends_only_its_own_connection() {
    let desk = Desk::open();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let headers = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X-A: b\r\n".repeat(200));
    let noises: [&[u8]; 4] = [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET\r\n\r\n", long.as_bytes(), headers.as_bytes()];
    for noise in noises {
        let mut client = Client::to(desk.address);
        let reply = client.exchange_or_end(noise);
        assert!(reply.is_none_or(|status| (400..500).contains(&status)), "{reply:?}");
        assert_eq!(desk.client().get("/healthz").status, 200);
    }
}
