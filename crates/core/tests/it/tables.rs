//! One counter, event by event, as the tables say.

use tidegate_core::{Rule, Status, Timestamp, Wait};

use crate::table::{Row, instant, read, rule, span, units, wait};

#[test]
fn fixed_window() {
    check("fixed_window.txt");
}

#[test]
fn sliding_window() {
    check("sliding_window.txt");
}

#[test]
fn token_bucket() {
    check("token_bucket.txt");
}

#[test]
fn concurrency() {
    check("concurrency.txt");
}

/// Plays a table. A row `quota …` begins with a fresh counter, `becomes …` changes the rule of the one at hand. Other
/// rows are events: when, what, and the numbers that come of it. What is a cost, which is charged if it fits; `peek N`,
/// which is not; `charge N`, which is also if it does not; `refuse N`, of which is charged what is left; or `settle A as B
/// of T`, which replaces a charge of A units at T by B units.
fn check(name: &str) {
    let mut counter = None;
    for row in read(name) {
        let words: Vec<&str> = row.column(0).splitn(2, ' ').collect();
        match (words[0], &mut counter) {
            ("quota", _) => {
                let rule = new_rule(words[1]);
                counter = Some((rule, vec![0; rule.state_words()]));
            }
            ("becomes", Some((rule, _))) => *rule = new_rule(words[1]),
            ("at", _) => {}
            (_, Some((rule, state))) => event(rule, state, &row),
            (_, None) => panic!("{}: no quota yet", row.place),
        }
    }
}

fn event(rule: &Rule, state: &mut [u64], row: &Row) {
    let now = instant(row.column(0));
    let expected = (row.column(2), units(row.column(3)), wait(row.column(4)), span(row.column(5)));
    let what: Vec<&str> = row.column(1).split(' ').collect();
    let status = match what[..] {
        ["peek", need] => rule.peek(state, units(need), now),
        ["charge", take] => rule.charge(state, units(take), now),
        ["refuse", take] => rule.charge_left(state, units(take), now),
        ["settle", taken, "as", actual, "of", at] => {
            rule.adjust(state, units(taken), units(actual), instant(at), now);
            rule.peek(state, 0, now)
        }
        [cost] => ask(rule, state, units(cost), now),
        _ => panic!("{}: no such event", row.place),
    };
    let verdict = if status.fits() { "allow" } else { "deny" };
    let got = (verdict, status.remaining, status.retry_after, status.reset_after);
    assert_eq!(got, expected, "{}", row.place);
}

fn ask(rule: &Rule, state: &mut [u64], cost: u64, now: Timestamp) -> Status {
    let status = rule.peek(state, cost, now);
    if status.retry_after == Wait::None { rule.charge(state, cost, now) } else { status }
}

fn new_rule(text: &str) -> Rule {
    let (algorithm, quota) = rule(text);
    Rule::new(algorithm, quota).unwrap_or_else(|error| panic!("{text}: {error}"))
}
