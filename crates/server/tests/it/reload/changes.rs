//! The table in `docs/reload.md`: what becomes of the counters when a policy changes, by real requests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::house::{Folder, House};

/// One row of the table.
#[derive(Debug)]
struct Row {
    change: String,
    before: Vec<String>,
    after: Vec<String>,
    goes_on: bool,
    left: u64,
}

fn rows(page: &str) -> Vec<Row> {
    let table = page.split("| change | before |").nth(1).unwrap();
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [change, before, after, counters, left] = cells[..] else { panic!("{line}") };
            assert!(["go on", "begin anew"].contains(&counters), "{line}");
            Row {
                change: change.to_owned(),
                before: spans(before),
                after: spans(after),
                goes_on: counters == "go on",
                left: left.parse().unwrap(),
            }
        })
        .collect()
}

/// A policy with one limit, as the settings say; those with a dotted key, and the dialect, are the policy's own.
fn policy(settings: &[String]) -> String {
    let mut limit = BTreeMap::from([("name", "\"calls\""), ("per", "[\"key\"]"), ("quota", "\"10/h\"")]);
    let mut whole = String::from("name = \"own\"\n");
    for setting in settings {
        let (key, value) = setting.split_once(" = ").unwrap();
        if key.contains('.') || key == "dialect" {
            whole += &format!("{setting}\n");
        } else {
            limit.insert(key, value);
        }
    }
    whole += "[attributes]\nkey = \"header:X-Key\"\nuser = \"header:X-User\"\ncall = \"header:X-Call\"\nspan = \"header:X-Call\"\n[units.messages]\n[[limit]]\n";
    for (key, value) in limit {
        whole += &format!("{key} = {value}\n");
    }
    whole
}

const HEADERS: &str = "X-Key: k1\r\nX-User: u1\r\n";

/// The same, of a call that was not made before.
fn call(number: u64) -> String {
    format!("{HEADERS}X-Call: {number}\r\n")
}

async fn left(house: &House) -> (u64, u64) {
    let new = json!({"key": "k1", "user": "u1", "call": "new", "span": "new"});
    let ruling = house.check(&json!({"attributes": new, "peek": true})).await;
    let limit: &Value = &ruling["limits"][0];
    (limit["remaining"].as_u64().unwrap(), limit["limit"].as_u64().unwrap())
}

/// I34, I35: half of what is used came through the gateway, half by `/v1/check`; both see what is left.
#[tokio::test]
async fn counters_go_on_or_begin_anew_as_the_page_says() {
    let rows = rows(include_str!("../../../../../docs/reload.md"));
    assert!(rows.len() >= 20, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let folder = Folder::new("table");
        folder.write("own.toml", &policy(&row.before));
        let mut house = House::of(&folder).await;
        for number in 0..3 {
            assert_eq!(house.get("a", "/", &call(number)).await.status, 200, "{row:?}");
            let number = (number + 10).to_string();
            let made = json!({"key": "k1", "user": "u1", "call": number, "span": number});
            let ruling = house.check(&json!({"attributes": made})).await;
            assert_eq!(ruling["allowed"], true, "{row:?}");
        }
        assert_eq!(left(&house).await, (4, 10), "{row:?}");
        folder.write("own.toml", &policy(&row.after));
        house.look();
        let expected_version = if row.before == row.after { 1 } else { 2 };
        let refused = house.ask("GET", "/readyz", "").await;
        assert_eq!(house.version("own"), Some(expected_version), "{row:?}: {}", refused.text());
        let (found, amount) = left(&house).await;
        if found != row.left || (!row.goes_on && found != amount) {
            wrong.push(format!("{}: {found} left of {amount}, the page says {}", row.change, row.left));
            continue;
        }
        // What is left fits, through the gateway, and one more does not.
        for more in 0..=found {
            let answer = house.get("a", "/", &call(more + 100)).await;
            let is_refused = more == found && !row.after.iter().any(|setting| setting.contains("shadow"));
            assert_eq!(answer.status == 429, is_refused, "{row:?}: demand {more}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A limit that comes back before its window is over finds what it left.
#[tokio::test]
async fn a_limit_taken_out_and_put_back_goes_on() {
    let folder = Folder::new("back");
    let with = policy(&[]);
    let without = with.split("[[limit]]").next().unwrap();
    folder.write("own.toml", &with);
    let mut house = House::of(&folder).await;
    house.get("a", "/", HEADERS).await;
    folder.write("own.toml", without);
    house.look();
    let ruling = house.check(&json!({"attributes": {"key": "k1"}})).await;
    assert_eq!((&ruling["version"], &ruling["limits"]), (&json!(2), &json!([])));
    folder.write("own.toml", &with);
    house.look();
    assert_eq!(left(&house).await, (9, 10));
}

/// I5: what is held when the policy changes is released once, and counts meanwhile by the new amount.
#[tokio::test]
async fn what_is_held_is_held_over_a_change() {
    let held = |amount: u64| policy(&[format!("quota = \"{amount}\""), "algorithm = \"concurrency\"".to_owned()]);
    let folder = Folder::new("held");
    folder.write("own.toml", &held(3));
    let mut house = House::of(&folder).await;
    let mut client = house.gate.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{HEADERS}Content-Length: 5\r\n\r\nab")).await;
    house.gate.until(|gate| gate.engine.limiter.store().counters() == 1).await;
    assert_eq!(left(&house).await, (2, 3));
    folder.write("own.toml", &held(1));
    house.look();
    assert_eq!(left(&house).await, (0, 1));
    assert_eq!(house.get("a", "/", HEADERS).await.status, 429);
    client.send("cde").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(left(&house).await, (1, 1));
    assert_eq!(house.get("a", "/", HEADERS).await.status, 200);
    assert_eq!(left(&house).await, (1, 1));
}
