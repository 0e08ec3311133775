//! Lines that are understood, and lines that are not.

use std::io::Cursor;

use tidegate_core::Timestamp;
use tidegate_sim::{Form, Trace, bounds};

use crate::{lowered, read};

/// Every line: its number, its instant, method and target of its request.
fn understood(text: &str) -> Vec<(u64, u64, String)> {
    let mut lines = Vec::new();
    read(text, |entry| {
        let entry = entry.unwrap_or_else(|error| panic!("{error}"));
        let asked =
            entry.ask.request.map_or_else(String::new, |request| format!("{} {}", request.method, request.target));
        lines.push((entry.line, entry.at.as_micros(), asked));
    });
    lines
}

/// The mistake of each line that is not understood.
fn mistakes(text: impl AsRef<[u8]>) -> Vec<String> {
    let mut mistakes = Vec::new();
    read(text, |entry| mistakes.extend(entry.err().map(|error| error.to_string())));
    mistakes
}

#[test]
fn json_lines_of_both_kinds_may_be_mixed() {
    let text = "\n\
        {\"t\":1,\"attributes\":{\"app\":\"a1\",\"operation\":\"send\"},\"cost\":{\"messages\":2}}\r\n\
        \x20\x20\n\
        {\"t\":1.000001,\"request\":{\"method\":\"GET\",\"path\":\"/messages/7?x=1\"}}\n\
        {\"request\":{\"path\":\"/chat\",\"method\":\"POST\",\"headers\":{\"X-App\":[\"a1\"]},\"body\":{\"q\":1}},\"t\":2.5,\
         \"response\":{\"status\":200,\"body\":{\"usage\":{\"tokens\":5}}},\"attributes\":{}}";
    let expected = [(2, 1_000_000, ""), (4, 1_000_001, "GET /messages/7?x=1"), (5, 2_500_000, "POST /chat")];
    let expected = expected.map(|(line, at, asked)| (line, at, asked.to_owned()));
    assert_eq!(understood(text), expected);
}

#[test]
fn access_logs_of_both_formats_are_read() {
    let text = concat!(
        "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326\n",
        "::1 - - [10/Oct/2000:20:55:37 +0000] \"POST /messages HTTP/1.1\" 429 - \"http://x/?q=\\\"a\\\"\" \"curl/8 \\x22odd\\x22\"\n",
        "10.0.0.1 - a user [10/Oct/2000:20:55:30 +0000] \"GET /late HTTP/1.1\" 200 5 \"-\" \"-\" 0.003 \"more\"\n",
        "10.0.0.1 - - [10/Oct/2000:20:55:38 +0000] \"\\x16\\x03\\x01\" 400 0 \"-\" \"-\"\n",
        "10.0.0.1 - - [10/Oct/2000:20:55:39 +0000] \"-\" 408 0\n",
        "10.0.0.1 - - [10/Oct/2000:20:55:40 +0000] \"GET /old\" 200 0\n",
    );
    let second = 971_211_336_000_000;
    let expected = [
        (1, second, "GET /apache_pb.gif"),
        (2, second + 1_000_000, "POST /messages"),
        // Stamped earlier than the line before: it counts as then.
        (3, second + 1_000_000, "GET /late"),
        (4, second + 2_000_000, "GET \u{16}\u{3}\u{1}"),
        (5, second + 3_000_000, "GET -"),
        (6, second + 4_000_000, "GET /old"),
    ];
    assert_eq!(understood(text), expected.map(|(line, at, asked)| (line, at, asked.to_owned())));
}

#[test]
fn the_address_that_a_request_came_from_is_known() {
    let addresses = |text: &str| {
        let mut found = Vec::new();
        read(text, |entry| {
            let request = entry.unwrap_or_else(|error| panic!("{error}")).ask.request.expect("it has a request");
            found.push(request.client.map(|address| address.to_string()).unwrap_or_default());
        });
        found
    };
    let json = |client: &str| format!("{{\"t\":1,\"request\":{{\"method\":\"GET\",\"path\":\"/\"{client}}}}}\n");
    let lines = [json(",\"client\":\"192.0.2.7\""), json(",\"client\":\"2001:DB8::7\""), json("")].concat();
    assert_eq!(addresses(&lines), ["192.0.2.7", "2001:db8::7", ""]);
    let log = |host: &str| format!("{host} - - [10/Oct/2000:20:55:37 +0000] \"GET / HTTP/1.1\" 200 1\n");
    let lines = ["192.0.2.7", "2001:db8::7", "client.example.com", "-"].map(log).concat();
    assert_eq!(addresses(&lines), ["192.0.2.7", "2001:db8::7", "", ""]);
    for (client, part) in
        [("\"192.0.2.7:80\"", "request.client: not an address"), ("7", "request.client: expected a string")]
    {
        let found = mistakes(json(&format!(",\"client\":{client}")));
        assert!(found[0].contains(part), "{found:?}");
    }
}

#[test]
fn referer_and_agent_are_unescaped() {
    let text = r#"h - - [10/Oct/2000:20:55:37 +0000] "GET / HTTP/1.1" 200 1 "http://x/\"q\"" "a\\b \x41\t""#;
    read(text, |entry| {
        let headers = entry.expect("it is understood").ask.request.expect("it has a request").headers;
        assert_eq!(headers["referer"], "http://x/\"q\"");
        assert_eq!(headers["user-agent"], "a\\b A\t");
    });
}

#[test]
fn the_form_is_found_by_the_first_line() {
    let policy = lowered().policy;
    for (text, form) in [("\n\n {\"t\":1,\"attributes\":{}}", Form::JsonLines), ("h - - [", Form::AccessLog)] {
        let mut trace = Trace::new(Cursor::new(text));
        assert_eq!(trace.form(), None);
        assert!(trace.next(&policy).is_some());
        assert_eq!(trace.form(), Some(form), "{text}");
    }
    let mut empty = Trace::new(Cursor::new("\n \n"));
    assert!(empty.next(&policy).is_none());
}

/// Lines after `{"t":5,…}` on line 1, and what is said of each.
const BAD_JSON: &[(&str, &str)] = &[
    ("[1]", "line 2: expected an object, found an array"),
    ("{", "line 2: column 1: not JSON: EOF while parsing an object (every line is one JSON object)"),
    (r#"{"t":6 "attributes":{}}"#, "line 2: column 8: not JSON: expected `,` or `}` (every line is one JSON object)"),
    ("2024-01-01 GET /", "line 2: column 5: not JSON: trailing characters (every line is one JSON object)"),
    (r#"{"attributes":{}}"#, "line 2: t: missing (every line has t, in unix seconds)"),
    (r#"{"t":"6","attributes":{}}"#, "line 2: t: expected a number, found a string"),
    (
        r#"{"t":4.999999,"attributes":{}}"#,
        "line 2: t: 4.999999s is earlier than 5.000000s of line 1 (sort the trace by t)",
    ),
    (r#"{"t":-6,"attributes":{}}"#, "line 2: t: expected unix seconds, found a negative number"),
    (
        r#"{"t":6e0,"attributes":{}}"#,
        "line 2: t: expected unix seconds in plain decimals, found an exponent (write it as 1706774400.25)",
    ),
    (
        r#"{"t":6.1234567,"attributes":{}}"#,
        "line 2: t: expected at most six decimals (microseconds), found 7 (cut the rest off)",
    ),
    (
        r#"{"t":1706774400000,"attributes":{}}"#,
        "line 2: t: instant is after the year 9999 (t is in seconds, not in milliseconds or microseconds)",
    ),
    (r#"{"t":6,"t":7,"attributes":{}}"#, "line 2: t: is given twice (leave one of the two out)"),
    (r#"{"t":6}"#, "line 2: attributes: missing (a line has `attributes`, `request` or both)"),
    (r#"{"t":6,"attribute":{}}"#, "line 2: attribute: unknown member (did you mean `attributes`?)"),
    (r#"{"t":6,"attributes":{"ap":"a1"}}"#, "line 2: attributes.ap: unknown attribute (did you mean `app`?)"),
    (r#"{"t":6,"attributes":{"app":7}}"#, "line 2: attributes.app: expected a string, found a number (write \"7\")"),
    (
        r#"{"t":6,"attributes":{"operation":"snd"}}"#,
        "line 2: attributes.operation: the policy has no operation `snd` (did you mean `send`?)",
    ),
    (
        r#"{"t":6,"attributes":{},"cost":{"requests":1.5}}"#,
        "line 2: cost.requests: expected a whole number, found 1.5 (write it without a point or an exponent)",
    ),
    (r#"{"t":6,"attributes":{},"cost":{"token":1}}"#, "line 2: cost.token: unknown unit (did you mean `tokens`?)"),
    (r#"{"t":6,"request":"GET /"}"#, "line 2: request: expected an object, found a string"),
    (r#"{"t":6,"request":{"path":"/"}}"#, "line 2: request.method: missing"),
    (r#"{"t":6,"request":{"method":"GET"}}"#, "line 2: request.path: missing"),
    (r#"{"t":6,"request":{"method":"G T","path":"/"}}"#, "line 2: request.method: not the name of a method"),
    (
        r#"{"t":6,"request":{"method":"GET","path":7}}"#,
        "line 2: request.path: expected a string, found a number (write \"7\")",
    ),
    (
        r#"{"t":6,"request":{"method":"GET","path":"/","header":{}}}"#,
        "line 2: request.header: unknown member (did you mean `headers`?)",
    ),
    (
        r#"{"t":6,"request":{"method":"GET","path":"/","headers":[]}}"#,
        "line 2: request.headers: expected an object, found an array",
    ),
    (
        r#"{"t":6,"request":{"method":"GET","path":"/","headers":{"a b":"c"}}}"#,
        "line 2: request.headers.a b: not the name of a header",
    ),
    (
        r#"{"t":6,"request":{"method":"GET","path":"/","headers":{"a":1}}}"#,
        "line 2: request.headers.a: expected a string, found a number (write \"1\")",
    ),
    (
        r#"{"t":6,"request":{"method":"GET","path":"/","headers":{"a":"\n"}}}"#,
        "line 2: request.headers.a: not the value of a header (only visible ASCII, spaces and tabs)",
    ),
    (
        r#"{"t":6,"request":{"method":"GET","path":"/"},"response":{"status":20}}"#,
        "line 2: response.status: expected a status from 100 to 999",
    ),
    (
        r#"{"t":6,"request":{"method":"GET","path":"/"},"response":{"statu":200}}"#,
        "line 2: response.statu: unknown member (did you mean `status`?)",
    ),
    (
        r#"{"t":6,"request":{"method":"GET","path":"/"},"response":200}"#,
        "line 2: response: expected an object, found a number",
    ),
];

#[test]
fn json_lines_that_are_not_understood_say_where_and_why() {
    for (line, said) in BAD_JSON {
        let text = format!("{{\"t\":5,\"attributes\":{{}}}}\n{line}\n{{\"t\":5,\"attributes\":{{}}}}\n");
        assert_eq!(mistakes(&text), [*said], "{line}");
    }
}

/// Lines of an access log, and how what is said of each begins.
const BAD_LOG: &[(&str, &str)] = &[
    ("GET /", "line 1: date: missing"),
    ("h - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 1", "line 1: user: missing"),
    ("h - - [10/Oct/2000:13:55:36] \"GET / HTTP/1.0\" 200 1", "line 1: date: not a date"),
    ("h - - [30/Feb/2000:13:55:36 +0000] \"GET / HTTP/1.0\" 200 1", "line 1: date: not a date"),
    ("h - - [10/Oct/2000:13:55:36 -0700 \"GET / HTTP/1.0\" 200 1", "line 1: date: not a date"),
    ("h - - [10/Oct/2000:13:55:36 -0700] GET / HTTP/1.0 200 1", "line 1: request: missing"),
    ("h - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0 200 1", "line 1: request: missing"),
    ("h - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\"", "line 1: status: missing"),
    ("h - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" ok 1", "line 1: status: missing"),
    ("h - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200", "line 1: bytes: missing"),
    ("h - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 many", "line 1: bytes: missing"),
];

#[test]
fn log_lines_that_are_not_understood_say_where_and_why() {
    for (line, said) in BAD_LOG {
        let found = mistakes(line);
        assert!(found.len() == 1 && found[0].starts_with(said), "{line}: {found:?}");
    }
    assert_eq!(mistakes(b"h - \xff [").len(), 1);
}

/// A line is bounded; the rest of a longer one is passed over, and the next line is read as ever.
#[test]
fn a_line_that_is_too_long_is_passed_over() {
    let long = "x".repeat(bounds::MAX_LINE_BYTES + 1);
    let text = format!("{{\"t\":5,\"attributes\":{{}}}}\n{long}{long}\n{{\"t\":4,\"attributes\":{{}}}}\n");
    let said = mistakes(&text);
    assert_eq!(said.len(), 2);
    assert_eq!(said[0], format!("line 2: line is longer than {} bytes", bounds::MAX_LINE_BYTES));
    assert!(said[1].starts_with("line 3: t: 4.000000s is earlier"), "{}", said[1]);
}

#[test]
fn headers_are_bounded() {
    let many: Vec<String> = (0..=bounds::MAX_HEADERS).map(|index| format!("\"h{index}\":\"v\"")).collect();
    let text =
        format!("{{\"t\":5,\"request\":{{\"method\":\"GET\",\"path\":\"/\",\"headers\":{{{}}}}}}}", many.join(","));
    assert_eq!(mistakes(&text), ["line 1: request.headers: more than 256 headers"]);
}

/// A line that was not understood does not move time.
#[test]
fn a_bad_line_does_not_count_for_the_order() {
    let text = "{\"t\":5,\"attributes\":{}}\n{\"t\":9,\"attributes\":{\"x\":\"\"}}\n{\"t\":6,\"attributes\":{}}";
    let mut instants = Vec::new();
    read(text, |entry| instants.extend(entry.ok().map(|entry| entry.at)));
    assert_eq!(instants, [Timestamp::from_secs(5), Timestamp::from_secs(6)]);
}
