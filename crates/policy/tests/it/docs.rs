//! The reference pages: every example in them is put to the test.

use std::fs;
use std::path::Path;

use tidegate_policy::kinds;

use crate::diagnostics::problems;
use crate::lowering::lowered;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of TOML in a page, each with the line that it begins on.
fn examples(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match &mut open {
            None if line == "```toml" => open = Some((number + 2, String::new())),
            None => {}
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, text)) => *text += &format!("{line}\n"),
        }
    }
    assert!(open.is_none(), "a block without end");
    found
}

#[test]
fn every_kind_of_problem_has_a_section_and_no_section_lacks_its_kind() {
    let page = page("diagnostics.md");
    let headings = page.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned);
    let expected = kinds().iter().map(|kind| format!("{}: {}", kind.code, kind.title));
    assert_eq!(headings.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn every_example_of_a_problem_gives_it() {
    let page = page("diagnostics.md");
    for section in page.split("\n### ").skip(1) {
        let code = &section[..4];
        let examples = examples(section);
        // Nothing small is too large, and what the core refuses is found before.
        assert_eq!(examples.is_empty(), ["E006", "E099"].contains(&code), "{code}");
        for (_, text) in examples {
            let found = problems(code, &text);
            assert!(found.iter().any(|problem| problem.code == code), "{code}: {found}");
        }
    }
}

#[test]
fn every_example_of_the_language_is_a_policy_without_problems() {
    let page = page("policy.md");
    let examples = examples(&page);
    assert!(examples.len() >= 10, "{} examples", examples.len());
    for (line, text) in examples {
        let name = format!("docs/policy.md, line {line}");
        // An example that is about one part need not repeat the name.
        let named = if text.starts_with("name ") { text } else { format!("name = \"api\"\n{text}") };
        lowered(&name, &named);
    }
}
