//! `docs/cli.md` names every flag and variable that the program has, and no others.

use std::collections::BTreeSet;
use std::process::Command;

fn help(words: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tidegate")).args(words).arg("--help").env_clear().output().expect("it runs");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

/// Flags and variables in a text.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text.split(|c: char| !is_part(c));
    let is_name = |word: &&str| word.starts_with("--") && !word.ends_with('-') || word.starts_with("TIDEGATE_");
    words.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_page_names_what_there_is() {
    let page = include_str!("../../../../docs/cli.md");
    let mut there = BTreeSet::new();
    for words in [
        &[][..],
        &["serve"],
        &["check"],
        &["explain"],
        &["simulate"],
        &["vendors"],
        &["vendors", "list"],
        &["vendors", "show"],
    ] {
        there.append(&mut named(&help(words)));
    }
    for common in ["--help", "--version"] {
        there.remove(common);
    }
    let mut on_page = named(page);
    on_page.remove("--help");
    assert_eq!(on_page, there);
}
