//! `vendors/*/conformance.txt`: a decision in, exact fields out. Each row names its source.
//!
//! A file has sections. `[decision TITLE]` and `[inspection TITLE]` are read here; `[request TITLE]` goes through the
//! vendor's real policy and is read by those who have it. A line is a key and the rest; `#` begins a comment line.
//! `docs/dialect.md` describes the keys.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use tidegate_core::{
    Algorithm, Decision, Demand, LimitDraft, Mode, Purpose, Quota, QuotaTree, Span, Status, Timestamp, Verdict, Wait,
};
use tidegate_dialect::{Dialect, Fields};

use crate::build::{decision, draft_of, policy, set_all};
use crate::shipped::{dialect, vendors};

#[test]
fn every_vendor_conforms() {
    let mut wrong = String::new();
    for folder in vendors() {
        check_file(&folder, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn check_file(folder: &Path, wrong: &mut String) {
    let file = folder.join("conformance.txt");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let decisions = check_text(&dialect(folder), &file.display().to_string(), &text, wrong);
    assert!(decisions >= 8, "{}: {decisions} decisions, at least 8 are needed", file.display());
}

/// Checks every row of a text, and tells of those that come out otherwise; counts the decisions.
pub(crate) fn check_text(dialect: &Dialect, file: &str, text: &str, wrong: &mut String) -> usize {
    let mut decisions = 0;
    for section in sections(file, text) {
        let found = match section.kind {
            "decision" => {
                decisions += 1;
                render_decision(dialect, &section)
            }
            "inspection" => render_inspection(dialect, &section),
            "request" => continue,
            kind => panic!("{}: a section is a decision, an inspection or a request, not `{kind}`", section.place),
        };
        let expected = section.expected();
        if found != expected {
            let title = section.title;
            writeln!(wrong, "{}: {title}\nexpected\n{expected}found\n{found}", section.place).expect("a string");
        }
    }
    decisions
}

/// One section of a file.
struct Section<'t> {
    place: String,
    kind: &'t str,
    title: &'t str,
    /// Keys and the rest of their lines.
    lines: Vec<(&'t str, &'t str)>,
}

fn sections<'t>(file: &str, text: &'t str) -> Vec<Section<'t>> {
    let mut sections: Vec<Section<'t>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", index + 1);
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            let head = head.strip_suffix(']').unwrap_or_else(|| panic!("{place}: `]` is missing"));
            let (kind, title) = head.split_once(' ').unwrap_or_else(|| panic!("{place}: a section has a title"));
            sections.push(Section { place, kind, title, lines: Vec::new() });
            continue;
        }
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let section = sections.last_mut().unwrap_or_else(|| panic!("{place}: a line before the first section"));
        section.lines.push((key, rest.trim_start()));
    }
    let mut titles = BTreeSet::new();
    for section in &sections {
        assert!(titles.insert((section.kind, section.title)), "{}: two rows have this title", section.place);
        assert!(section.kind == "request" || !section.one("source").is_empty(), "{}: names no source", section.place);
    }
    sections
}

impl<'t> Section<'t> {
    fn all(&self, key: &'static str) -> impl Iterator<Item = &'t str> {
        self.lines.iter().filter(move |(known, _)| *known == key).map(|(_, rest)| *rest)
    }

    fn one(&self, key: &'static str) -> &'t str {
        let mut found = self.all(key);
        let first = found.next().unwrap_or_else(|| panic!("{}: no `{key}`", self.place));
        assert!(found.next().is_none(), "{}: two `{key}`", self.place);
        first
    }

    fn knows(&self, keys: &[&str]) {
        for (key, _) in &self.lines {
            assert!(keys.contains(key), "{}: unknown key `{key}`; known are {keys:?}", self.place);
        }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_micros(millionths(self.one("at")))
    }

    /// Names and values of the demand.
    fn attributes(&self) -> Vec<(&'t str, String)> {
        self.all("attribute")
            .map(|line| {
                let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("{}: `{line}`", self.place));
                (name, unescaped(value.trim_start()))
            })
            .collect()
    }

    fn limits(&self) -> Vec<LimitLine> {
        self.all("limit").map(|line| LimitLine::parse(line, &self.place)).collect()
    }

    /// What has to come out, as text.
    fn expected(&self) -> String {
        let mut expected = String::new();
        for (key, rest) in &self.lines {
            if matches!(*key, "verdict" | "status" | "header" | "body") {
                writeln!(expected, "  {key} {rest}").expect("a string");
            }
        }
        expected
    }
}

/// `NAME AMOUNT [per WINDOW] ALGORITHM [burst N] [unit U] [shadow] remaining N reset SPAN [retry WAIT]`
struct LimitLine {
    draft: LimitDraft,
    status: Status,
}

impl LimitLine {
    fn parse(line: &str, place: &str) -> LimitLine {
        let mut words = line.split_whitespace();
        let mut next = |what: &str| words.next().unwrap_or_else(|| panic!("{place}: expected {what} in `{line}`"));
        let name = next("a name");
        let amount = whole(next("an amount"));
        let mut quota = Quota::per(amount, Span::ZERO);
        let mut limit = LimitLine { draft: draft_of(name), status: Status::default() };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{place}: `{word}` of what, in `{line}`"));
            match word {
                "per" => quota.window = span(value()),
                "burst" => quota.burst = whole(value()),
                "unit" => limit.draft.unit = value().to_owned(),
                "shadow" => limit.draft.mode = Mode::Shadow,
                "fixed-window" => limit.draft.algorithm = Algorithm::FixedWindow,
                "sliding-window" => limit.draft.algorithm = Algorithm::SlidingWindow { cells: 10 },
                "token-bucket" => limit.draft.algorithm = Algorithm::TokenBucket,
                "concurrency" => limit.draft.algorithm = Algorithm::Concurrency,
                "remaining" => limit.status.remaining = whole(value()),
                "reset" => limit.status.reset_after = span(value()),
                "retry" => limit.status.retry_after = wait(value()),
                other => panic!("{place}: unknown word `{other}` in `{line}`"),
            }
        }
        limit.draft.quota = QuotaTree::Fixed(quota);
        limit
    }
}

fn render_decision(dialect: &Dialect, section: &Section<'_>) -> String {
    section.knows(&["source", "at", "attribute", "limit", "verdict", "status", "header", "body"]);
    let (limits, attributes) = (section.limits(), section.attributes());
    let operations: Vec<String> =
        attributes.iter().filter(|(name, _)| *name == "operation").map(|(_, value)| value.clone()).collect();
    let policy = policy(limits.iter().map(|limit| &limit.draft), attributes.iter().map(|(name, _)| *name), &operations);
    let mut builder = Demand::on(&policy);
    set_all(&mut builder, &policy, &attributes);
    let demand = builder.build();
    let statuses: Vec<Status> = limits.iter().map(|limit| limit.status).collect();
    let decision = decision(&demand, &statuses, section.at());
    format!("  verdict {}\n{}", verdict(&decision), written(&dialect.render(&decision)))
}

fn verdict(decision: &Decision<'_>) -> String {
    let binding = decision.binding().map_or("none", |ruling| ruling.name());
    match decision.verdict() {
        Verdict::Admitted => format!("admitted, binding {binding}"),
        Verdict::Refused => format!("refused by {binding}"),
    }
}

/// Fields as text, in the shape of a section's lines.
fn written(fields: &Fields) -> String {
    let mut text = format!("  status {}\n", fields.status);
    for (name, value) in fields.headers() {
        writeln!(text, "  header {name}: {value}").expect("a string");
    }
    if let Some(body) = fields.body() {
        writeln!(text, "  body {body}").expect("a string");
    }
    text
}

/// Counters that stand otherwise than the limit's line says: attributes and operation, and what remains.
struct Counter<'t> {
    attributes: Vec<(&'t str, &'t str)>,
    remaining: u64,
}

impl<'t> Counter<'t> {
    /// `NAME=VALUE … remaining N`
    fn parse(line: &'t str) -> Counter<'t> {
        let (attributes, remaining) = line.split_once(" remaining ").expect("a counter says what remains");
        let pair = |word: &'t str| word.split_once('=').expect("an attribute is NAME=VALUE");
        Counter { attributes: attributes.split_whitespace().map(pair).collect(), remaining: whole(remaining) }
    }

    fn is_of(&self, demand: &Demand<'_>) -> bool {
        self.attributes.iter().all(|(name, value)| demand.value(name) == Some(*value))
    }
}

fn render_inspection(dialect: &Dialect, section: &Section<'_>) -> String {
    let keys = ["source", "at", "attribute", "limit", "operation", "counter", "query", "status", "header", "body"];
    section.knows(&keys);
    let inspection = dialect.inspection().unwrap_or_else(|| panic!("{}: no inspection", section.place));
    let (limits, attributes) = (section.limits(), section.attributes());
    let counters: Vec<Counter<'_>> = section.all("counter").map(Counter::parse).collect();
    let operations: Vec<String> = section.all("operation").map(str::to_owned).collect();
    let policy = policy(limits.iter().map(|limit| &limit.draft), attributes.iter().map(|(name, _)| *name), &operations);
    let mut builder = Demand::on(&policy);
    set_all(&mut builder, &policy, &attributes);
    let statuses: Vec<Status> = limits.iter().map(|limit| limit.status).collect();
    let peek = |demand: &Demand<'_>| -> Vec<Status> {
        let counter = counters.iter().find(|counter| counter.is_of(demand));
        let left = |status: &Status| counter.map_or(status.remaining, |counter| counter.remaining);
        statuses.iter().map(|status| Status { remaining: left(status), ..*status }).collect()
    };
    let fields = inspection.answer(&policy, &builder, section.one("query"), |demand| {
        assert_eq!(demand.purpose(), Purpose::Peek);
        decision(demand, &peek(demand), section.at())
    });
    written(&fields)
}

fn whole(text: &str) -> u64 {
    text.replace('_', "").parse().unwrap_or_else(|_| panic!("`{text}` is not a whole number"))
}

/// A decimal as millionths.
fn millionths(text: &str) -> u64 {
    let (units, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 6, "`{text}` has more than six decimals");
    whole(units) * 1_000_000 + whole(&format!("{fraction:0<6}"))
}

/// `45s`, `0.75s`, `250ms`, `1h`.
fn span(text: &str) -> Span {
    let split = text.find(|char: char| char.is_ascii_lowercase()).unwrap_or_else(|| panic!("`{text}` has no unit"));
    let (number, unit) = text.split_at(split);
    let number = millionths(number);
    Span::from_micros(match unit {
        "us" => number / 1_000_000,
        "ms" => number / 1_000,
        "s" => number,
        "min" => number * 60,
        "h" => number * 3_600,
        "d" => number * 86_400,
        _ => panic!("`{unit}` is not a unit of time"),
    })
}

fn wait(text: &str) -> Wait {
    match text {
        "never" => Wait::Never,
        "release" => Wait::Release,
        span_text => Wait::For(span(span_text)),
    }
}

/// A value in which `\n`, `\r`, `\0` and `\\` stand for what they usually do.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('0') => '\0',
                Some('\\') => '\\',
                other => panic!("`\\{other:?}` is not an escape of these files"),
            },
            char => char,
        });
    }
    plain
}

#[test]
fn a_row_that_is_not_so_is_told() {
    let folder = vendors().into_iter().find(|folder| folder.ends_with("whatsapp")).expect("it ships");
    let text = std::fs::read_to_string(folder.join("conformance.txt")).expect("its rows");
    for (said, instead) in [
        ("status    429", "status    428"),
        ("X-RateLimit-Reset: 1706774460", "X-RateLimit-Reset: 1706774459"),
        ("refused by messages", "refused by general"),
        ("\"retryAfter\":4}", "\"retryAfter\":3}"),
        ("body      {", "# body {"),
        ("header    X-RateLimit-Limit: 500\n", ""),
    ] {
        let mut wrong = String::new();
        assert!(text.contains(said), "{said}");
        check_text(&dialect(&folder), "mistaken", &text.replacen(said, instead, 1), &mut wrong);
        assert!(wrong.starts_with("mistaken:"), "`{instead}` was not noticed");
    }
}
