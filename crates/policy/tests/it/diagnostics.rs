//! Policies with mistakes, and what is said of them. `data/bad/NAME.toml` gives `data/bad/NAME.txt`.

use std::collections::BTreeSet;
use std::fs;

use tidegate_policy::{Problem, Problems, Severity, Source, kinds, lower_with};

use crate::golden::{Golden, data, files};

/// A file of `data/keys`, as a policy beside them would name it.
pub(crate) fn open(name: &str) -> Result<String, String> {
    let name = name.strip_prefix("./").unwrap_or(name);
    fs::read_to_string(data().join("keys").join(name)).map_err(|_| format!("cannot read {name}: no such file"))
}

/// What is said of a text: its problems, or the warnings of one that can be used.
pub(crate) fn problems(name: &str, text: &str) -> Problems {
    match lower_with(&Source { name, text }, 1, &open) {
        Ok(lowered) => lowered.warnings,
        Err(problems) => problems,
    }
}

#[test]
fn every_mistake_is_reported_as_expected() {
    let mut golden = Golden::default();
    for path in files(&data().join("bad"), "toml") {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let text = fs::read_to_string(&path).expect("a policy");
        let found = problems(name, &text);
        assert!(!found.is_empty(), "{name} has no problem");
        found.iter().for_each(|problem| check(problem, &text));
        golden.compare(&path.with_extension("txt"), &found.render(false));
    }
    golden.finish(&data().join("bad"));
}

/// What holds for every problem.
pub(crate) fn check(problem: &Problem, text: &str) {
    let Problem { code, line, column, span, message, .. } = problem;
    assert!(text.get(span.clone()).is_some(), "{code} is outside of the text, or splits a character: {span:?}");
    assert!(*line >= 1 && *line <= text.split('\n').count(), "{code} is on line {line}");
    assert!(*column >= 1, "{code}");
    assert!(!message.is_empty() && !message.ends_with('.'), "{code}: {message}");
    assert_eq!(problem.severity == Severity::Warning, code.starts_with('W'), "{code}");
    assert!(problem.help.is_some() || !problem.label.is_empty(), "{code} says neither why nor what to do");
}

#[test]
fn every_kind_of_problem_is_shown_by_a_file() {
    let mut shown = BTreeSet::new();
    for path in files(&data().join("bad"), "toml") {
        let text = fs::read_to_string(&path).expect("a policy");
        shown.extend(problems("policy.toml", &text).iter().map(|problem| problem.code));
    }
    // Too large a file is a test of its own below; what the core refuses is found before it is asked.
    shown.extend(["E006", "E099"]);
    let missing: Vec<&str> = kinds().iter().map(|kind| kind.code).filter(|code| !shown.contains(code)).collect();
    assert!(missing.is_empty(), "no file in data/bad shows {missing:?}");
}

#[test]
fn codes_ascend_and_are_unique() {
    let order = |code: &str| (!code.starts_with('E'), code[1..].to_owned());
    assert!(kinds().windows(2).all(|pair| order(pair[0].code) < order(pair[1].code)));
}

#[test]
fn a_file_too_large_is_not_read() {
    let text = " ".repeat((1 << 20) + 1);
    let found = problems("large.toml", &text);
    assert_eq!(found.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["E006"]);
    assert!(found.to_string().contains("a policy file has at most 1048576 bytes"), "{found}");
}

#[test]
fn very_many_problems_are_cut_and_counted() {
    let text = (0..10_000).fold("name = \"x\"\n".to_owned(), |text, number| text + &format!("key{number} = 1\n"));
    let found = problems("many.toml", &text);
    assert_eq!((found.iter().count(), found.len()), (200, 10_000));
    assert!(found.to_string().ends_with("200 errors; 9800 more are not shown"), "{}", found.to_string().len());
}

#[test]
fn a_line_of_a_megabyte_is_shown_in_part() {
    let spaces = " ".repeat(800_000);
    let text = format!("name = 'x'\n[[limit]]\nname = 'a'\nquota = '1/s'\nper = ['plan',{spaces}'é', 'ü']\n");
    let found = problems("long.toml", &text);
    let shown = found.to_string();
    assert!(shown.contains("--> long.toml:5:800016"), "{}", shown.len());
    assert!(shown.contains("^ no such attribute"), "{}", shown.len());
    assert!(shown.len() < 2_000, "{}", shown.len());
}

#[test]
fn quotas_that_would_fill_the_memory_are_refused() {
    let operations = (0..15_000).fold(String::new(), |text, number| text + &format!("o{number} = {{}}\n"));
    let cases = (0..200).fold(String::new(), |text, number| text + &format!("p{number} = '1/s'\n"));
    let text =
        format!("name = 'x'\n[operations]\n{operations}[[limit]]\nname = 'a'\n[limit.quota]\nby = 'plan'\n{cases}");
    let found = problems("large.toml", &text);
    assert_eq!(found.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["E010"], "{found}");
}

#[test]
fn secrets_are_never_shown() {
    for text in [
        "name = 1\n[apps.a]\nplann = 'x', secret = \"hush\"",
        "name = 'x'\n[apps]\na = { \"secret\" = 'hush', plan = 5 }",
        "name = 'x'\n[apps]\na = { secret = \"es\\\"caped hush\", plan = 5 }",
        "name = 'x'\n[apps]\na = { secret = \"\"\"hush\nhush\"\"\", plan = 5 }",
        "name = 'x'\n[apps]\na.secret = hush",
        "name = 'x'\n[apps]\na = { secret = \"hush",
    ] {
        let found = problems("policy.toml", text).render(false);
        assert!(found.contains("error[") && !found.contains("hush"), "{found}");
    }
}

#[test]
fn colour_changes_no_word() {
    let found = problems("policy.toml", "name = \"Not A Name\"\nquota = 5\n");
    let (plain, coloured) = (found.render(false), found.render(true));
    assert!(coloured.contains("\u{1b}["));
    assert_eq!(without_escapes(&coloured), plain);
}

/// The text without escape sequences for colours.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}
