//! `data/mistakes.txt`: dialects with mistakes, and everything that is said about each. `REFRESH_GOLDEN=1` rewrites it;
//! read the diff.

use std::fmt::Write as _;

use tidegate_dialect::Dialect;

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
