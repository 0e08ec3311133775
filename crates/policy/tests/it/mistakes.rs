//! Every mistake of `data/mistakes.txt` in every vendor's policy, and what is said of it: `data/mistakes/VENDOR/NAME.txt`.

use std::fs;

use tidegate_policy::Severity;

use crate::diagnostics::{check, problems};
use crate::golden::{Golden, data};
use crate::lowering::vendors;

/// Mistakes that each vendor's policy is tried with, at least.
const FEWEST: usize = 30;

/// A mistake: its name, and ways to make it.
struct Mistake {
    name: String,
    edits: Vec<String>,
}

#[test]
fn each_vendors_policy_with_each_mistake_is_refused_as_expected() {
    let mistakes = mistakes();
    for (vendor, path) in vendors() {
        let policy = fs::read_to_string(path).expect("a policy");
        let folder = data().join("mistakes").join(&vendor);
        let mut golden = Golden::default();
        let mut made = 0;
        for mistake in &mistakes {
            let Some(text) = mistake.edits.iter().find_map(|edit| edited(&policy, &vendor, edit)) else { continue };
            made += 1;
            let found = problems(&format!("{vendor}/policy.toml"), &text);
            let is_refused = found.iter().any(|problem| problem.severity == Severity::Error);
            assert!(is_refused, "{vendor} is accepted with mistake {}", mistake.name);
            found.iter().for_each(|problem| check(problem, &text));
            golden.compare(&folder.join(format!("{}.txt", mistake.name)), &found.render(false));
        }
        assert!(made >= FEWEST, "only {made} mistakes can be made in {vendor}");
        golden.finish(&folder);
    }
}

fn mistakes() -> Vec<Mistake> {
    let text = fs::read_to_string(data().join("mistakes.txt")).expect("the list of mistakes");
    let mut mistakes: Vec<Mistake> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.contains(": ") {
            mistakes.last_mut().expect("a heading before the first edit").edits.push(line.to_owned());
        } else {
            mistakes.push(Mistake { name: line.to_owned(), edits: Vec::new() });
        }
    }
    mistakes
}

/// The policy after an edit, if it can be made there.
fn edited(policy: &str, vendor: &str, edit: &str) -> Option<String> {
    let edit = match edit.strip_prefix('@') {
        Some(edit) => edit.split_once(' ').filter(|(only, _)| *only == vendor)?.1,
        None => edit,
    };
    let (begin, action) = edit.split_once(": ").expect("`LINE: ACTION`");
    if begin == "append" {
        return Some(format!("{policy}\n{}\n", action.replace("\\n", "\n")));
    }
    let line = line_beginning(policy, begin)?;
    let changed = match action {
        "delete" => String::new(),
        "copy" => format!("{line}{line}"),
        _ => match (action.strip_prefix("as "), action.split_once(" =>")) {
            (Some(other), _) => line_beginning(policy, other)?.to_owned(),
            (None, Some((old, new))) => replaced(line, old, new.strip_prefix(' ').unwrap_or(new))?,
            (None, None) => panic!("no such edit: {edit}"),
        },
    };
    let at = line.as_ptr().addr() - policy.as_ptr().addr();
    Some(format!("{}{changed}{}", &policy[..at], &policy[at + line.len()..]))
}

/// The line that begins with `begin`, or with what is before its `@`, so many times.
fn line_beginning<'p>(policy: &'p str, begin: &str) -> Option<&'p str> {
    let (begin, number) =
        begin.split_once('@').map_or((begin, 1), |(begin, number)| (begin, number.parse().expect("a number")));
    let is_word_end = |rest: &str| begin.ends_with(']') || rest.starts_with([' ', '=']);
    let mut lines = policy.split_inclusive('\n').filter(|line| line.strip_prefix(begin).is_some_and(is_word_end));
    lines.nth(number - 1)
}

fn replaced(line: &str, old: &str, new: &str) -> Option<String> {
    let new = new.replace("\\n", "\n");
    let (line, comment) = line.trim_end().split_once("  #").unwrap_or((line.trim_end(), ""));
    let line = line.trim_end();
    let changed = match old.strip_suffix('$') {
        Some(old) => line.strip_suffix(old).map(|line| format!("{line}{new}")),
        None => line.contains(old).then(|| line.replacen(old, &new, 1)),
    };
    let comment = if comment.is_empty() { String::new() } else { format!("  #{comment}") };
    changed.map(|line| format!("{line}{comment}\n"))
}
