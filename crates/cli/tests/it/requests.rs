//! The `[request …]` rows of `vendors/*/conformance.txt`: requests through the vendor's real policy and dialect, by the
//! program itself. Each row begins with fresh counters and names its source.
//!
//! The keys, in the order in which they are written:
//!
//! - `source`: where it is said.
//! - `policy LINE`: a line that is added at the end of the vendor's policy; an operator's records.
//! - `request METHOD TARGET`: begins a request; `with NAME: VALUE` are its headers, `content JSON` its body,
//!   `attribute NAME VALUE` what is said beside it, `response JSON` what the upstream answers.
//! - `at SECONDS [times N]`: asks it.
//! - `verdict`, `status`, `header`, `body`: the last answer, as in the other rows, headers in any order. Where there is
//!   none, and before the last of N, the request is admitted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::value::RawValue;

use crate::scratch::Scratch;

/// Rows that each of the five vendors has at least.
const LEAST_ROWS: usize = 10;

#[test]
fn every_vendor_answers_requests_as_its_rows_say() {
    let mut wrong = String::new();
    let folders = vendors();
    for folder in &folders {
        let rows = rows(folder);
        let has_policy = folder.join("policy.toml").exists();
        assert!(!has_policy || rows.len() >= LEAST_ROWS, "{}: only {} rows", folder.display(), rows.len());
        for row in &rows {
            if let Err(difference) = row.check(folder) {
                writeln!(wrong, "{}: {}\n{difference}", row.place, row.title).expect("a string");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn vendors() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendors");
    let entries = std::fs::read_dir(&root).expect("vendors/ can be listed");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    assert!(folders.len() >= 6, "five vendors and ietf, found {folders:?}");
    folders
}

/// One row: what is asked, and what is to come of it.
struct Row {
    place: String,
    title: String,
    /// Lines that the policy has beside the vendor's.
    policy: String,
    /// The trace.
    lines: Vec<String>,
    /// By the index of the trace's line: the answer, as the row writes it.
    expected: BTreeMap<usize, Vec<String>>,
}

fn rows(folder: &Path) -> Vec<Row> {
    let file = folder.join("conformance.txt");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut rows = Vec::new();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())).peekable();
    while let Some((number, line)) = lines.next() {
        let Some(title) = line.strip_prefix("[request ").and_then(|rest| rest.strip_suffix(']')) else { continue };
        let mut reader = RowReader::new(format!("{}:{number}", file.display()), title);
        while let Some((number, line)) = lines.next_if(|(_, line)| !line.starts_with('[')) {
            if !line.is_empty() && !line.starts_with('#') {
                let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
                reader.read(key, rest.trim_start(), &format!("{}:{number}", file.display()));
            }
        }
        rows.push(reader.finish());
    }
    rows
}

/// A row being read, and the request that it is at.
struct RowReader {
    row: Row,
    sources: usize,
    request: Option<(String, String)>,
    headers: serde_json::Map<String, serde_json::Value>,
    attributes: serde_json::Map<String, serde_json::Value>,
    content: Option<String>,
    response: Option<String>,
}

impl RowReader {
    fn new(place: String, title: &str) -> RowReader {
        let (policy, lines, expected) = (String::new(), Vec::new(), BTreeMap::new());
        RowReader {
            row: Row { place, title: title.to_owned(), policy, lines, expected },
            sources: 0,
            request: None,
            headers: serde_json::Map::new(),
            attributes: serde_json::Map::new(),
            content: None,
            response: None,
        }
    }

    fn read(&mut self, key: &str, rest: &str, place: &str) {
        let pair = |separator: &str| {
            let (name, value) = rest.split_once(separator).unwrap_or_else(|| panic!("{place}: no `{separator}`"));
            (name.to_owned(), value.trim_start().to_owned())
        };
        match key {
            "source" => self.sources += 1,
            "policy" => writeln!(self.row.policy, "{rest}").expect("a string"),
            "request" => {
                self.request = Some(pair(" "));
                self.headers.clear();
                self.attributes.clear();
                (self.content, self.response) = (None, None);
            }
            "with" => {
                let (name, value) = pair(":");
                self.headers.insert(name, value.into());
            }
            "attribute" => {
                let (name, value) = pair(" ");
                self.attributes.insert(name, value.into());
            }
            "content" => self.content = Some(rest.to_owned()),
            "response" => self.response = Some(rest.to_owned()),
            "at" => self.ask(rest, place),
            "verdict" | "status" | "header" | "body" => {
                let last = self.row.lines.len().checked_sub(1).unwrap_or_else(|| panic!("{place}: nothing was asked"));
                self.row.expected.entry(last).or_default().push(format!("  {key} {rest}"));
            }
            _ => panic!("{place}: a row of a request has no `{key}`"),
        }
    }

    fn ask(&mut self, rest: &str, place: &str) {
        let (at, times) = rest.split_once(" times ").unwrap_or((rest, "1"));
        let times: usize = times.parse().unwrap_or_else(|_| panic!("{place}: `{times}` is not a number of times"));
        let (method, target) = self.request.as_ref().unwrap_or_else(|| panic!("{place}: nothing to ask"));
        let (method, target) = (serde_json::Value::from(method.as_str()), serde_json::Value::from(target.as_str()));
        let headers = serde_json::Value::from(self.headers.clone());
        let attributes = serde_json::Value::from(self.attributes.clone());
        let body = self.content.as_ref().map_or(String::new(), |content| format!(",\"body\":{content}"));
        let response = self.response.as_ref().map_or(String::new(), |response| format!(",\"response\":{response}"));
        let request = format!("{{\"method\":{method},\"path\":{target},\"headers\":{headers}{body}}}");
        let line = format!("{{\"t\":{at},\"request\":{request},\"attributes\":{attributes}{response}}}");
        self.row.lines.extend(std::iter::repeat_n(line, times));
    }

    fn finish(self) -> Row {
        let RowReader { row, sources, .. } = self;
        assert_eq!(sources, 1, "{}: a row names its source", row.place);
        assert!(!row.expected.is_empty(), "{}: nothing is expected", row.place);
        row
    }
}

impl Row {
    fn check(&self, folder: &Path) -> Result<(), String> {
        let decisions = self.simulate(folder);
        assert_eq!(decisions.len(), self.lines.len(), "{}: a decision for each request", self.place);
        for (index, decided) in decisions.iter().enumerate() {
            let answer = answer(decided);
            let is_same = match self.expected.get(&index) {
                Some(expected) => sorted(&answer) == sorted(expected),
                None => answer.iter().any(|line| line == "  status 200"),
            };
            if !is_same {
                let expected = self.expected.get(&index).map_or("  status 200".to_owned(), |lines| lines.join("\n"));
                let asked = &self.lines[index];
                return Err(format!("asked\n  {asked}\nexpected\n{expected}\nfound\n{}\n", answer.join("\n")));
            }
        }
        Ok(())
    }

    fn simulate(&self, folder: &Path) -> Vec<String> {
        let scratch = Scratch::new("requests");
        let (policy, trace) = (scratch.file("policy.toml"), scratch.file("trace.jsonl"));
        let decisions = scratch.file("decisions.jsonl");
        let shipped = std::fs::read_to_string(folder.join("policy.toml")).expect("the vendor's policy");
        std::fs::write(&policy, format!("{shipped}\n{}", self.policy)).expect("room for the policy");
        std::fs::write(&trace, self.lines.join("\n")).expect("room for the trace");
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("simulate")
            .args([&policy, &trace])
            .arg("--decisions")
            .arg(&decisions)
            .output()
            .expect("the program to test");
        assert!(output.status.success(), "{}: {}", self.place, String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(&decisions).expect("the decisions that were written");
        text.lines().map(str::to_owned).collect()
    }
}

/// A decision in the words of a row.
fn answer(decided: &str) -> Vec<String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(decided).expect("a decision is JSON");
    let text = |name: &str| members.get(name).map_or("null", |value| value.get());
    let binding: Option<String> = serde_json::from_str(text("binding")).expect("the name of a limit");
    let binding = binding.as_deref().unwrap_or("none");
    let verdict = match text("allowed") {
        "true" => format!("  verdict admitted, binding {binding}"),
        _ => format!("  verdict refused by {binding}"),
    };
    let headers: BTreeMap<String, String> = serde_json::from_str(text("headers")).expect("headers are strings");
    let mut lines = vec![verdict, format!("  status {}", text("status"))];
    lines.extend(headers.into_iter().map(|(name, value)| format!("  header {name}: {value}")));
    lines.extend(members.get("body").map(|body| format!("  body {}", body.get())));
    lines
}

fn sorted(lines: &[String]) -> Vec<&String> {
    let mut lines: Vec<&String> = lines.iter().collect();
    lines.sort();
    lines
}
