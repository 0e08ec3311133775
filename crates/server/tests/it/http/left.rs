//! What `/v1/limits` shows.

use serde_json::json;
use tidegate_limiter::MemoryOptions;
use tidegate_server::Api;
use tidegate_server::http::wire::Limits;

use super::desk::Desk;

/// Each entry in short: limit, what it counts by, remaining.
fn short(limits: &Limits) -> Vec<(String, String, u64)> {
    let entry = |entry: &tidegate_server::http::wire::LimitEntry| {
        let by: Vec<String> = entry.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (entry.standing.name.clone(), by.join(" "), entry.standing.remaining)
    };
    limits.limits.iter().map(entry).collect()
}

fn expected(rows: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    rows.iter().map(|(limit, by, left)| ((*limit).to_owned(), (*by).to_owned(), *left)).collect()
}

/// The whole answer, byte by byte.
#[test]
fn the_shape_is_that_of_a_ruling_and_what_it_counts_by() {
    let desk = Desk::on(Api::vendor("whatsapp").expect("it ships"), MemoryOptions::default());
    desk.ruling(&json!({"attributes": {"key": "k1", "session": "s1", "operation": "send-message"}}));
    let reply = desk.client().get("/v1/limits?policy=whatsapp&session=s1");
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")));
    let expected = concat!(
        r#"{"policy":"whatsapp","version":1,"limits":["#,
        r#"{"name":"messages","limit":30,"remaining":29,"window_s":60,"reset_at":1706774460.0,"reset_after_s":60.0,"#,
        r#""retry_after_s":0.0,"mode":"enforce","attributes":{"session":"s1"}},"#,
        r#"{"name":"qr","limit":1,"remaining":1,"window_s":5,"reset_at":1706774400.0,"reset_after_s":0.0,"#,
        r#""retry_after_s":0.0,"mode":"enforce","attributes":{"session":"s1"}}],"complete":true}"#,
    );
    assert_eq!(reply.body, expected);
}

#[test]
fn without_an_operation_there_is_an_entry_for_each() {
    let desk = Desk::open();
    desk.ruling(&json!({"attributes": {"app": "a1", "user": "u1", "operation": "send"}, "cost": {"messages": 5}}));
    desk.ruling(&json!({"attributes": {"app": "a1", "user": "u1", "operation": "fetch"}}));
    let rows = expected(&[
        ("app-minute", "app=a1", 98),
        ("user-calls", "app=a1 operation=fetch user=u1", 29),
        ("user-calls", "app=a1 operation=other user=u1", 30),
        ("user-calls", "app=a1 operation=send user=u1", 29),
        ("user-calls", "app=a1 operation=watch user=u1", 30),
        ("messages", "app=a1", 45),
        ("spacing", "user=u1", 0),
        ("open", "user=u1", 2),
        ("tokens-day", "app=a1", 1_000),
        ("tight", "app=a1", 0),
    ]);
    let left = desk.left("app=a1&user=u1");
    assert_eq!(short(&left), rows);
    assert!(left.complete);
    assert_eq!(short(&desk.left("user=u1&policy=desk&app=a1")), rows, "looking charges nothing");
}

#[test]
fn with_an_operation_there_is_what_applies_to_it() {
    let desk = Desk::open();
    let rows = expected(&[
        ("app-minute", "app=a1", 1_000),
        ("user-calls", "app=a1 operation=fetch", 30),
        ("tight", "app=a1", 2),
    ]);
    assert_eq!(short(&desk.left("app=a1&operation=fetch&plan=paid")), rows);
    assert_eq!(desk.left("").limits.len(), 0, "no limit counts by nothing");
}

/// Values are decoded as forms are, so that an odd key can be asked about.
#[test]
fn values_are_decoded() {
    let desk = Desk::open();
    desk.ruling(&json!({"attributes": {"user": "grüße & co+1", "operation": "fetch"}}));
    let left = desk.left("user=gr%C3%BC%C3%9Fe+%26+co%2B1&operation=fetch");
    assert_eq!(short(&left), expected(&[("spacing", "user=grüße & co+1", 0)]));
}

/// A thousand entries, and a megabyte of them: a long value is in each, and a short question has no endless answer.
#[test]
fn what_is_too_much_is_cut_and_said_so() {
    let operations: String =
        (0..1_100).map(|index| format!("op{index} = {{ routes = [\"GET /{index}\"] }}\n")).collect();
    let text = format!(
        "name = \"wide\"\n[attributes]\napp = \"header:X-App\"\n[operations]\n{operations}\
         [[limit]]\nname = \"each\"\nper = [\"app\", \"operation\"]\nquota = \"1/min\"\n"
    );
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wide-{}.toml", std::process::id()));
    std::fs::write(&path, text).expect("it can be written");
    let api = Api::file(&path).unwrap_or_else(|error| panic!("{error}"));
    std::fs::remove_file(&path).expect("it was written");
    let desk = Desk::on(api, MemoryOptions::default());
    let left = desk.left("app=a1");
    assert_eq!((left.limits.len(), left.complete), (1_000, false));
    let long = desk.left(&format!("app={}", "x".repeat(4_096)));
    assert!(!long.complete && long.limits.len() < 300, "{}", long.limits.len());
}

/// All 113 operations of a large policy, of which each has its own counters.
#[test]
fn a_large_policy_is_shown_whole() {
    let desk = Desk::on(Api::vendor("stream").expect("it ships"), MemoryOptions::default());
    let left = desk.left("app=a1&platform=web&user=u1");
    assert!(left.complete && left.limits.len() > 113, "{}", left.limits.len());
    let mut sorted = short(&left);
    sorted.dedup();
    assert_eq!(sorted.len(), left.limits.len(), "no counter is shown twice");
}
