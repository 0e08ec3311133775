//! Health and metrics: what the server says about itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tidegate_limiter::MemoryOptions;
use tidegate_server::Api;

use super::desk::{Client, Desk, own_api};

/// The samples of a scrape, by name and labels as they are written.
fn scrape(client: &mut Client) -> BTreeMap<String, String> {
    let reply = client.get("/metrics");
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(reply.body.ends_with("# EOF\n"));
    let samples = reply.body.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.rsplit_once(' ')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn decisions_are_counted_exactly() {
    let desk = Desk::open();
    let fetch = json!({"attributes": {"app": "a1", "user": "u1", "operation": "fetch"}});
    for _ in 0..4 {
        desk.ruling(&fetch);
        desk.clock.advance(Duration::from_millis(1));
    }
    desk.ruling(&json!({"attributes": {"app": "a1"}, "peek": true}));
    desk.client().post("/v1/check", "nonsense");
    let samples = scrape(&mut desk.client());
    for (name, value) in [
        (r#"tidegate_decisions_total{verdict="admitted"}"#, "1"),
        (r#"tidegate_decisions_total{verdict="refused"}"#, "3"),
        (r#"tidegate_limit_refusals_total{policy="desk",limit="spacing",mode="enforce"}"#, "3"),
        (r#"tidegate_limit_refusals_total{policy="desk",limit="app-minute",mode="enforce"}"#, "0"),
        (r#"tidegate_limit_refusals_total{policy="desk",limit="tight",mode="shadow"}"#, "0"),
        ("tidegate_peeks_total", "1"),
        ("tidegate_store_full_total", "0"),
        ("tidegate_store_counters_max", "1000000"),
        ("tidegate_decision_duration_seconds_count", "5"),
        (r#"tidegate_decision_duration_seconds_bucket{le="+Inf"}"#, "5"),
        (r#"tidegate_answers_total{surface="http",status="2xx"}"#, "5"),
        (r#"tidegate_answers_total{surface="http",status="4xx"}"#, "1"),
        (r#"tidegate_answers_total{surface="gateway",status="2xx"}"#, "0"),
    ] {
        assert_eq!(samples.get(name).map(String::as_str), Some(value), "{name} in {samples:#?}");
    }
    let counters: u64 = samples["tidegate_store_counters"].parse().expect("a number");
    assert_eq!(counters, 4, "app-minute, user-calls, spacing, tight");
}

#[test]
fn a_shadow_limit_is_counted_though_it_refuses_nobody() {
    let desk = Desk::open();
    for _ in 0..5 {
        assert!(desk.ruling(&json!({"attributes": {"app": "a1"}})).allowed);
    }
    let samples = scrape(&mut desk.client());
    assert_eq!(samples[r#"tidegate_limit_refusals_total{policy="desk",limit="tight",mode="shadow"}"#], "3");
    assert_eq!(samples[r#"tidegate_decisions_total{verdict="refused"}"#], "0");
}

#[test]
fn a_full_store_is_counted() {
    let desk = Desk::on(own_api(), MemoryOptions { max_counters: 1 });
    let mut refused = 0;
    for user in 0..64 {
        let answer = desk.ruling(&json!({"attributes": {"user": format!("u{user}"), "operation": "fetch"}}));
        refused += u32::from(!answer.allowed);
    }
    let samples = scrape(&mut desk.client());
    assert_eq!(samples["tidegate_store_full_total"], refused.to_string());
    assert!(refused > 0);
}

/// I27: what open limits admit uncounted is said in each answer, and counted to the unit.
#[test]
fn what_is_admitted_uncounted_is_counted() {
    let text = "name = \"open\"\non_store_error = \"open\"\n[attributes]\nuser = \"header:X-User\"\n\
                [[limit]]\nname = \"user\"\nper = [\"user\"]\nquota = \"1/h\"\n";
    let api = Api::text("open", text).unwrap_or_else(|error| panic!("{error}"));
    let desk = Desk::on(api, MemoryOptions { max_counters: 1 });
    let mut uncounted = 0;
    for user in 0..64 {
        let answer = desk.ruling(&json!({"attributes": {"user": format!("u{user}")}}));
        assert!(answer.allowed);
        let basis = answer.limits[0].basis.as_deref();
        assert!(matches!(basis, None | Some("open")), "{basis:?}");
        uncounted += u32::from(basis.is_some());
        desk.ruling(&json!({"attributes": {"user": format!("v{user}")}, "peek": true}));
    }
    let samples = scrape(&mut desk.client());
    let open = r#"tidegate_store_open_total{policy="open",limit="user",mode="enforce"}"#;
    assert_eq!(samples[open], uncounted.to_string());
    assert_eq!(samples["tidegate_store_full_total"], uncounted.to_string());
    assert!(uncounted > 0);
}

#[test]
fn health_is_answered_also_to_head() {
    let desk = Desk::open();
    assert_eq!(desk.client().get("/healthz").body, r#"{"status":"ok"}"#);
    assert_eq!(desk.client().get("/readyz").body, r#"{"status":"ready"}"#);
    let request = format!("HEAD /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", desk.address);
    assert_eq!(desk.client().exchange_or_end(request.as_bytes()), Some(200));
}
