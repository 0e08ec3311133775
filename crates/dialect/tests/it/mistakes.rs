//! `data/mistakes.txt`: dialects with mistakes, and everything that is said about each. `REFRESH_GOLDEN=1` rewrites it;
//! read the diff.

use std::fmt::Write as _;

use tidegate_core::bounds::MAX_LIMITS;
use tidegate_dialect::{Dialect, bounds};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/data/mistakes.txt");

#[test]
fn each_mistake_is_told_with_its_place() {
    let text = std::fs::read_to_string(FILE).expect("the file of mistakes");
    let (mut found, mut cases) = (String::new(), 0);
    for case in text.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (toml, _) = rest.split_once("--- says\n").unwrap_or((rest, ""));
        let said = match Dialect::parse("dialect.toml", toml) {
            Ok(_) => panic!("`{title}` is no mistake to the parser"),
            Err(errors) => {
                assert!(errors.iter().len() > 0 && errors.name() == "dialect.toml");
                errors.to_string()
            }
        };
        write!(found, "=== {title}\n{toml}--- says\n{said}\n\n").expect("a string");
        cases += 1;
    }
    assert!(cases >= 40, "{cases} mistakes");
    if std::env::var_os("REFRESH_GOLDEN").is_some() {
        std::fs::write(FILE, &found).expect("the file of mistakes can be written");
    } else {
        assert_eq!(found, text, "what is said about mistakes has changed; run with REFRESH_GOLDEN=1 and read the diff");
    }
}

const REFUSAL: &str = "[refusal]\nstatus = 429\n";

/// A dialect with one family that writes these lines.
fn family(write: &str) -> String {
    format!("{REFUSAL}[[headers]]\nof = \"binding\"\non = [\"refused\"]\n[headers.write]\n{write}\n")
}

/// So many lines, each with its number in the place of `#`.
fn numbered(line: &str, count: usize) -> String {
    (0..count).map(|number| line.replace('#', &number.to_string()) + "\n").collect()
}

/// As much as is allowed is read; one more is told.
#[test]
fn every_bound_is_kept_and_told() {
    let group = "[[inspection.group]]\nparameter = \"p#\"\nmember = \"m#\"\n";
    let inspection = "[inspection]\noperation = \"a\"\nlimit = \"b\"\ncontent_type = \"application/json\"\nbody = '{{groups}}'\n\
                      row = '1'\n[inspection.forbidden]\nstatus = 403\n[inspection.bad_request]\nstatus = 400\n";
    let family_of_one = "[[headers]]\nof = \"binding\"\non = [\"refused\"]\nwrite = { A# = \"a\" }";
    type Text<'t> = &'t dyn Fn(usize) -> String;
    let cases: [(usize, Text<'_>); 9] = [
        (bounds::MAX_FILE_BYTES, &|most| format!("{REFUSAL}{}", "#".repeat(most - REFUSAL.len()))),
        (bounds::MAX_FAMILIES, &|most| format!("{REFUSAL}{}", numbered(family_of_one, most))),
        (bounds::MAX_HEADERS, &|most| family(&numbered("A# = \"a\"", most))),
        (bounds::MAX_HEADER_NAME_BYTES, &|most| family(&format!("{} = \"a\"", "A".repeat(most)))),
        (bounds::MAX_TEMPLATE_BYTES, &|most| family(&format!("A = \"{}\"", "a".repeat(most)))),
        (bounds::MAX_PLACEHOLDERS, &|most| family(&format!("A = \"{}a\"", "{limit} ".repeat(most)))),
        (bounds::MAX_ENTRIES, &|most| format!("{REFUSAL}{}", numbered("[[refusal.variant]]\nof = \"a\"", most))),
        (bounds::MAX_ENTRIES, &|most| format!("{REFUSAL}{}", numbered("[words.w#]\ndefault = \"a\"", most))),
        (MAX_LIMITS, &|most| format!("{REFUSAL}[words.w]\n{}", numbered("l# = \"a\"", most))),
    ];
    let inspected = |most: usize| format!("{REFUSAL}{inspection}{}", numbered(group, most));
    let cases = cases.into_iter().chain([(bounds::MAX_ENTRIES, &inspected as Text<'_>)]);
    for (index, (most, text)) in cases.enumerate() {
        let fits = Dialect::parse("dialect.toml", &text(most));
        assert!(fits.is_ok(), "case {index}: {}", fits.expect_err("it is none").iter().next().expect("one").message);
        let said = Dialect::parse("dialect.toml", &text(most + 1)).expect_err("one too many").to_string();
        assert!(said.contains("at most"), "case {index}: {said}");
    }
}
