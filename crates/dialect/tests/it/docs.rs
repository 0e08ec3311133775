//! `docs/dialect.md`: what it shows is so.

use tidegate_dialect::Dialect;

use crate::conformance::check_text;

const DOCS: &str = include_str!("../../../../docs/dialect.md");

/// The contents of all blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let ends = |rest: &'static str| rest.split("```\n").next().expect("a block ends");
    DOCS.split(&*fence).skip(1).map(ends).collect()
}

fn parse(text: &str) -> Dialect {
    Dialect::parse("docs/dialect.md", text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

#[test]
fn every_block_is_a_dialect() {
    let blocks = blocks("toml");
    assert!(blocks.len() >= 6, "{} blocks", blocks.len());
    for block in blocks {
        // A block about something else leaves out the one table that is required.
        let refusal = if block.contains("[refusal]") { "" } else { "[refusal]\nstatus = 429\n" };
        parse(&format!("{refusal}{block}"));
    }
}

#[test]
fn the_first_block_answers_as_is_said() {
    let rows = blocks("conformance");
    assert_eq!(rows.len(), 1);
    let mut wrong = String::new();
    assert_eq!(check_text(&parse(blocks("toml")[0]), "docs/dialect.md", rows[0], &mut wrong), 3);
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_placeholder_and_encoding_is_one() {
    let cells = DOCS.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let refusal = |body: &str| {
        let words = "[words.scope]\ndefault = \"app\"\n";
        Dialect::parse(
            "x",
            &format!("{words}[refusal]\nstatus = 429\ncontent_type = \"application/json\"\nbody = '{body}'"),
        )
    };
    let mut placeholders = 0;
    for cell in cells.clone().filter(|cell| cell.starts_with('{')) {
        let quoted = refusal(&format!("{{\"x\":\"{cell}\"}}"));
        let result = quoted.or_else(|_| refusal(&format!("{{\"x\":{cell}}}")));
        assert!(result.is_ok(), "{cell}: {result:?}");
        placeholders += 1;
    }
    assert_eq!(placeholders, 11);
    // The other way round: what the parser says there is, is documented.
    let told = refusal("{\"x\":{reset:none}}").expect_err("no encoding").to_string();
    let names: Vec<&str> = told.split('`').skip(1).step_by(2).filter(|name| *name != "none").collect();
    assert_eq!(names, cells.filter(|cell| names.contains(cell)).collect::<Vec<_>>());
    assert_eq!(names.len(), 5, "{told}");
}
