//! What was matched is exactly what is forwarded, and no spelling leads to another counter (I46, K6).

use super::stand::{Gate, Recorder};

const POLICY: &str = r#"
name = "spelled"
[operations]
messages = { routes = ["GET /v2/channels/{type}/{id}/messages"] }
publish  = { routes = ["POST /v2/publish/{destination...}"] }
[[limit]]
name  = "messages"
on    = ["messages"]
quota = "100000/366d"
[[limit]]
name  = "others"
on    = ["other"]
quota = "100000/366d"
"#;

/// Spellings of one path, by what is done to it. Each is refused, or is the same path for us and for the upstream.
fn spellings(path: &str) -> Vec<String> {
    let mut spellings =
        vec![path.to_owned(), format!("{path}/"), format!("{path}//"), format!("{path}/."), format!("{path}/..")];
    let insertions = [
        "/",
        "//",
        "/.",
        "/./",
        "/..",
        "/../",
        "%2f",
        "%2F",
        "%5c",
        "\\",
        ";x",
        ";x=y",
        "%3b",
        "%00",
        "%0a",
        "%0d%0a",
        "%20",
        "+",
        "%",
        "%2",
        "%zz",
        "%2e",
        "%2E%2e",
        "/%2e/",
        "/%2e%2e/",
        "..;/",
        "%252e",
        "%c0%ae",
        "%e2%80%ae",
        "#",
        "#x",
        "?",
        "?x",
        "~",
        "%7e",
        "%41",
        "A",
        "*",
        "|",
        "^",
        "\"",
        "<",
        "{",
        "`",
        "@",
        ":",
        "%80",
        "%ff",
    ];
    for (at, _) in path.char_indices().chain([(path.len(), ' ')]) {
        for insertion in insertions {
            spellings.push(format!("{}{insertion}{}", &path[..at], &path[at..]));
        }
    }
    for (at, character) in path.char_indices() {
        let (before, after) = (&path[..at], &path[at + 1..]);
        spellings.push(format!("{before}%{:02x}{after}", u32::from(character)));
        spellings.push(format!("{before}%{:02X}{after}", u32::from(character)));
        spellings.push(format!("{before}%25{:02x}{after}", u32::from(character)));
        spellings.push(format!("{before}{}{after}", character.to_ascii_uppercase()));
    }
    spellings
}

#[tokio::test]
async fn every_spelling_of_a_path_is_refused_or_forwarded_as_matched() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(POLICY, Some(upstream.address)).await;
    let path = "/v2/channels/team/general/messages";
    let api = gate.api();
    let route = |target: &str| api.intake.route(&http::Method::GET, target);
    let (mut refused, mut matched, mut other) = (0, 0, 0);
    let mut client = gate.client().await;
    for spelling in spellings(path) {
        let before = remaining(&gate);
        client.try_send(format!("GET {spelling} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let Some(answer) = client.try_answer().await else { panic!("no answer to {spelling}") };
        let after = remaining(&gate);
        if answer.status == 400 {
            refused += 1;
            assert_eq!(before, after, "{spelling}");
            assert!(upstream.rest().is_empty(), "{spelling}");
            if answer.header("connection") == Some("close") {
                client = gate.client().await;
            }
            continue;
        }
        assert_eq!(answer.status, 200, "{spelling}");
        let seen = upstream.next().await;
        // Whoever stands behind us matches what we forward as we matched it.
        let again = route(seen.target()).unwrap();
        assert_eq!(again.target(), seen.target(), "{spelling}");
        let is_messages = api.policy.operation(again.operation()).name() == "messages";
        let charged = (before.0 - after.0, before.1 - after.1);
        assert_eq!(charged, if is_messages { (1, 0) } else { (0, 1) }, "{spelling} as {}", seen.target());
        if is_messages { matched += 1 } else { other += 1 }
    }
    assert!(refused > 500 && matched > 100 && other > 100, "{refused} {matched} {other}");
}

fn remaining(gate: &Gate) -> (u64, u64) {
    (gate.remaining_of("messages", "messages"), gate.remaining_of("other", "others"))
}

#[tokio::test]
async fn a_tail_is_forwarded_byte_for_byte() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(POLICY, Some(upstream.address)).await;
    let mut client = gate.client().await;
    for tail in ["https://example.com/a//b%2Fc?x=%2f", "http://u@h:1/%c3%a4;p", "a", "%68ttps://x/"] {
        client.send(format!("POST /v2/publish/{tail} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 200, "{tail}");
        assert_eq!(upstream.next().await.target(), format!("/v2/publish/{tail}"));
    }
}
