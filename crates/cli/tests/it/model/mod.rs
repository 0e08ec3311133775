//! Each vendor beside a slow, exact model that was written from its document alone: the same invented requests to both,
//! and not one difference in verdicts, numbers, headers or bodies, in either direction (I1, I3, I6, I8, I11).
//!
//! `TIDEGATE_CASES` sets how many requests a vendor gets, `TIDEGATE_SEED` which.

mod ask;
mod cometchat;
mod compare;
mod ledger;
mod moods;
mod qstash;
mod rng;
mod sendbird;
mod story;
mod stream;
mod whatsapp;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::Command;

use crate::scratch::Scratch;

use compare::{Differences, compare};
use moods::Moods;
use story::{Story, Vendor};

/// Requests a vendor gets unless the environment says otherwise.
const CASES: u64 = 100_000;

#[test]
fn cometchat_answers_as_its_document_says() {
    check(cometchat::CometChat::default);
}

#[test]
fn stream_answers_as_its_document_says() {
    check(stream::Stream::default);
}

#[test]
fn sendbird_answers_as_its_document_says() {
    check(sendbird::Sendbird::default);
}

#[test]
fn qstash_answers_as_its_document_says() {
    check(qstash::QStash::default);
}

#[test]
fn whatsapp_answers_as_its_document_says() {
    check(whatsapp::WhatsApp::default);
}

/// A comparison that overlooks something would pass everything.
#[test]
fn a_difference_in_any_member_is_seen() {
    let cases: Vec<story::Case> = Story::new(whatsapp::WhatsApp::default(), 1).take(5_000).collect();
    let admitted = cases.iter().find(|case| case.ruling.allowed).expect("a request that is admitted");
    let refused = cases.iter().find(|case| !case.ruling.allowed).expect("a request that is refused");
    for case in [admitted, refused] {
        let same = compare::written("whatsapp", case);
        compare("whatsapp", case, &same).expect("the model agrees with itself");
        for (index, digit) in same.char_indices().filter(|(_, char)| char.is_ascii_alphanumeric()) {
            let mut other = same.clone();
            let another = if digit == '7' { "8" } else { "7" };
            other.replace_range(index..=index, another);
            assert!(compare("whatsapp", case, &other).is_err(), "not seen: {other}");
        }
    }
}

/// Writes the trace of a story, has the program decide it, and tells the same story again beside the decisions.
fn check<V: Vendor>(vendor: impl Fn() -> V) {
    let (cases, seed) = (setting("TIDEGATE_CASES", CASES), setting("TIDEGATE_SEED", 1));
    let name = vendor().name();
    let scratch = Scratch::new(&format!("model-{name}"));
    let (trace, decisions) = (scratch.file("trace.jsonl"), scratch.file("decisions.jsonl"));
    write_trace(Story::new(vendor(), seed).take(usize(cases)), &trace);
    simulate(name, &trace, &decisions);
    let mut moods = Moods::of(vendor().limits());
    let mut differences = Differences::default();
    let mut lines = BufReader::new(File::open(&decisions).expect("the decisions that were written")).lines();
    for case in Story::new(vendor(), seed).take(usize(cases)) {
        let decided = lines.next().expect("as many decisions as requests").expect("a line of text");
        moods.see(&case);
        if let Err(difference) = compare(name, &case, &decided) {
            differences.add(&case, &decided, &difference);
        }
    }
    assert!(lines.next().is_none(), "{name}: more decisions than the {cases} requests");
    differences.assert_none(name, seed, cases);
    moods.assert_all(name, cases);
}

fn write_trace(cases: impl Iterator<Item = story::Case>, path: &Path) {
    let mut file = BufWriter::new(File::create(path).expect("a file for the trace"));
    for case in cases {
        writeln!(file, "{}", case.line).expect("room for the trace");
    }
    file.flush().expect("room for the trace");
}

fn simulate(vendor: &str, trace: &Path, decisions: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["simulate", "--vendor", vendor])
        .arg(trace)
        .arg("--decisions")
        .arg(decisions)
        .output()
        .expect("the program to test");
    assert!(output.status.success(), "{vendor}: simulate failed: {}", String::from_utf8_lossy(&output.stderr));
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} has to be a whole number, not `{text}`")),
        Err(_) => default,
    }
}

fn usize(number: u64) -> usize {
    usize::try_from(number).expect("a number of requests that fits")
}
