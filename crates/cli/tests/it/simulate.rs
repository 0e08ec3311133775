//! `tidegate simulate` on a long trace.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::scratch::Scratch;

/// A line a line, the verdicts that arithmetic gives, and decisions and report that agree.
#[test]
fn a_long_trace_is_replayed_line_by_line() {
    const LINES: u64 = 20_000;
    const KEYS: u64 = 10;
    let scratch = Scratch::new("long-trace");
    let mut trace = String::new();
    for line in 0..LINES {
        let (key, t) = (line % KEYS, line / 200);
        let _ = writeln!(trace, "{{\"t\":{t},\"attributes\":{{\"key\":\"k{key}\",\"session\":\"s{line}\"}}}}");
    }
    let (trace_file, decisions) = (scratch.file("trace.jsonl"), scratch.file("decisions.jsonl"));
    std::fs::write(&trace_file, &trace).expect("it can be written");
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["simulate", "--json", "--vendor", "whatsapp"])
        .arg(&trace_file)
        .arg("--decisions")
        .arg(&decisions)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "no progress where nobody looks: {output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // A hundred a minute for each of ten keys; the trace is of one minute and of two thirds of another.
    assert_eq!((&report["demands"], &report["admitted"]), (&LINES.into(), &(2 * 100 * KEYS).into()));
    let decisions = std::fs::read_to_string(decisions).expect("it was written");
    let mut admitted: u64 = 0;
    for (line, decision) in decisions.lines().enumerate() {
        let decision: Value = serde_json::from_str(decision).expect("JSON");
        assert_eq!(decision["t"], (line as u64 / 200) as f64);
        admitted += u64::from(decision["allowed"] == true);
    }
    assert_eq!(decisions.lines().count() as u64, LINES);
    assert_eq!(admitted, report["admitted"]);
}

/// A trace or a policy that is named as the place for decisions, by whatever path, stays as it is.
#[test]
fn decisions_are_not_written_over_what_is_read() {
    let scratch = Scratch::new("kept-apart");
    let (policy, trace, link) = (scratch.file("policy.toml"), scratch.file("trace.jsonl"), scratch.file("link"));
    let policy_text = "name = \"own\"\n[[limit]]\nname = \"all\"\nquota = \"1/d\"\n";
    let trace_text = "{\"t\":1,\"attributes\":{}}\n";
    std::fs::write(&policy, policy_text).expect("it can be written");
    std::fs::write(&trace, trace_text).expect("it can be written");
    std::os::unix::fs::symlink(&trace, &link).expect("it can be linked");
    for decisions in [&policy, &trace, &link] {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["simulate".as_ref(), policy.as_os_str(), trace.as_os_str(), "--decisions".as_ref()])
            .arg(decisions)
            .output()
            .expect("the program runs");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--decisions a file of its own"), "{output:?}");
        assert_eq!(std::fs::read_to_string(&policy).expect("it is there"), policy_text);
        assert_eq!(std::fs::read_to_string(&trace).expect("it is there"), trace_text);
    }
}

/// A reader that has seen enough is no failure.
#[test]
fn a_closed_pipe_is_no_failure() {
    let binary = env!("CARGO_BIN_EXE_tidegate");
    let line = format!("set -o pipefail; {binary} vendors show stream --policy | head -n 1");
    let output = Command::new("bash").args(["-c", &line]).output().expect("a shell is needed");
    assert!(output.status.success() && output.stdout.starts_with(b"#"), "{output:?}");
}
