//! Whatever an operator writes: an answer, with places inside the text, and never a crash.

use std::fs;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use tidegate_policy::{Severity, Source, lower};

use crate::diagnostics::check;
use crate::golden::{data, files};
use crate::lowering::vendors;

/// Lowers a text and holds the answer to what every answer must be.
fn try_text(text: &str) -> Result<(), TestCaseError> {
    let found = match lower(&Source { name: "policy.toml", text }, 1) {
        Ok(lowered) => {
            prop_assert!(lowered.warnings.iter().all(|problem| problem.severity == Severity::Warning));
            lowered.warnings
        }
        Err(problems) => {
            prop_assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
            problems
        }
    };
    for problem in &found {
        check(problem, text);
        prop_assert!(problem.code != "E099", "nothing was found, but it was refused: {}\n{}", problem.message, text);
    }
    prop_assert_eq!(found.render(true).is_empty(), found.is_empty());
    prop_assert_eq!(found.to_string().is_empty(), found.is_empty());
    Ok(())
}

/// Policies that are right, to be spoiled.
fn good() -> Vec<String> {
    let own = files(&data().join("good"), "toml");
    let all = own.into_iter().chain(vendors().into_iter().map(|(_, path)| path));
    all.map(|path| fs::read_to_string(path).expect("a policy")).collect()
}

/// Words, runs of spaces, and single other characters.
fn tokens(text: &str) -> Vec<&str> {
    let kind = |c: char| if c.is_alphanumeric() || c == '_' || c == '-' { 1 } else { usize::from(c == ' ') * 2 };
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = rest.find(|c| kind(c) != kind(first)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(if kind(first) == 0 { first.len_utf8() } else { run });
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// What is put where it does not belong.
const STRAYS: &[&str] = &[
    "",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\n",
    "#",
    "0",
    "-1",
    "1.5",
    "true",
    "2020-05-28",
    "[]",
    "{}",
    "\"\"",
    "[limit]",
    "[[limit]]",
    "name",
    "by",
    "default",
    "per",
    "on",
    "quota",
    "plan",
    "operation",
    "method",
    "class",
    "unlimited",
    "5/0s",
    "1/30 of all per 1s",
    "burst",
    "99999999999999999999",
    "min",
    "jwt:x",
    "path:x",
    "{x...}",
    "é",
    "\u{0}",
];

#[derive(Clone, Debug)]
enum Spoil {
    Delete(Index),
    Double(Index),
    Swap(Index, Index),
    Put(Index, &'static str),
    Cut(Index),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        any::<Index>().prop_map(Spoil::Delete),
        any::<Index>().prop_map(Spoil::Double),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Spoil::Swap(a, b)),
        (any::<Index>(), select(STRAYS)).prop_map(|(at, stray)| Spoil::Put(at, stray)),
        any::<Index>().prop_map(Spoil::Cut),
    ]
}

fn spoilt(text: &str, spoils: &[Spoil]) -> String {
    let mut tokens = tokens(text);
    for spoil in spoils.iter().filter(|_| !text.is_empty()) {
        let length = tokens.len().max(1);
        match spoil {
            Spoil::Delete(at) if !tokens.is_empty() => drop(tokens.remove(at.index(length))),
            Spoil::Double(at) if !tokens.is_empty() => tokens.insert(at.index(length), tokens[at.index(length)]),
            Spoil::Swap(a, b) if !tokens.is_empty() => tokens.swap(a.index(length), b.index(length)),
            Spoil::Put(at, stray) if !tokens.is_empty() => tokens[at.index(length)] = stray,
            Spoil::Cut(at) => tokens.truncate(at.index(length)),
            _ => {}
        }
    }
    tokens.concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC*|(?s).{0,200}|[\\[\\]{}=\"',.#a-z0-9\n -]{0,200}") {
        try_text(&text)?;
    }

    #[test]
    fn any_quota_is_answered(quota in "[0-9_.,kM+-]{0,6} ?/? ?[0-9]{0,4}(ms|s|min|m|h|d|é| of all per )?[ a-z0-9/]{0,8}") {
        let text = format!("name = \"x\"\n[[limit]]\nname = \"all\"\nquota = '{quota}'\nalgorithm = \"token-bucket\"\n");
        try_text(&text)?;
    }

    #[test]
    fn any_route_is_answered(route in "(GET|POST|\\*|get|HEAD|)[ \t]?(/|//|)[a-z{}.%2F*:?#;é \\\\-]{0,12}(/\\{[a-z.]{0,5}\\}){0,3}", base in "(/[a-z{}.]{0,6}){0,2}") {
        let text = format!("name = \"x\"\nbases = ['', '{base}']\n[operations]\na = {{ routes = ['{route}'] }}\n");
        try_text(&text)?;
    }

    #[test]
    fn any_source_is_answered(source in "(header|query|path|bearer|jwt|host|body|constant|)(:|)[a-zA-Z{}.*/~ é-]{0,16}") {
        let text = format!("name = \"x\"\n[attributes]\na = '{source}'\n[[limit]]\nname = 'a'\nper = 'a'\nquota = '1/s'\n");
        try_text(&text)?;
    }

    #[test]
    fn a_spoilt_policy_is_answered(policy in select(good()), spoils in prop::collection::vec(spoil(), 1..4)) {
        try_text(&spoilt(&policy, &spoils))?;
    }
}

#[test]
fn a_policy_cut_off_anywhere_is_answered() {
    for policy in good().into_iter().filter(|policy| policy.len() < 8_000) {
        for (end, _) in policy.char_indices() {
            try_text(&policy[..end]).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
