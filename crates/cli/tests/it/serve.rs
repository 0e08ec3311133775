//! `tidegate serve` as a process: it listens, does what its hello promises, and ends when it is asked to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::scratch::Scratch;

/// A server on free ports.
struct Served {
    child: Child,
    hello: Value,
}

impl Served {
    fn with(args: &[&str], variables: &[(&str, &str)]) -> Served {
        let mut child = command(args)
            .args(["--json", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it was piped")).read_line(&mut line).expect("it says hello");
        let hello = serde_json::from_str(&line).unwrap_or_else(|error| {
            let mut said = String::new();
            let _ = child.stderr.take().expect("it was piped").read_to_string(&mut said);
            panic!("{error} in {line:?}; it said {said}")
        });
        Served { child, hello }
    }

    fn gateway(&self) -> &str {
        self.hello["gateway"].as_str().expect("an address")
    }

    fn control(&self) -> &str {
        self.hello["control"].as_str().expect("an address")
    }

    /// Asks it to end, and what it said until then.
    fn end(self, signal: &str) -> Output {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        self.child.wait_with_output().expect("it ends")
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("serve").args(args).env_clear();
    command
}

/// The answer to one request on a connection of its own.
fn ask(address: &str, method: &str, target: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}");
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn check(address: &str, question: &str) -> Value {
    let answer = ask(address, "POST", "/v1/check", &format!("Content-Length: {}\r\n\r\n{question}", question.len()));
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Gateway and control port share the counters: what one charges the other shows.
#[test]
fn both_ports_are_of_one_limiter() {
    let served = Served::with(&[], &[]);
    assert_eq!(served.hello["policy"], "whatsapp");
    let poll = || ask(served.gateway(), "GET", "/sessions/s1/qr", "X-API-Key: k1\r\n\r\n");
    assert!(poll().starts_with("HTTP/1.1 200 "));
    assert!(poll().starts_with("HTTP/1.1 429 "));
    let ruling = check(served.control(), r#"{"attributes":{"session":"s1","operation":"poll-qr"}}"#);
    assert_eq!((&ruling["allowed"], &ruling["status"]), (&Value::Bool(false), &Value::from(429)));
    assert!(ask(served.control(), "GET", "/readyz", "\r\n").contains(r#"{"status":"ready"}"#));
    let metrics = ask(served.control(), "GET", "/metrics", "\r\n");
    assert!(metrics.contains("tidegate_answers_total{surface=\"gateway\",status=\"4xx\"} 1\n"), "{metrics}");
    let output = served.end("-TERM");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Three lines, which do as they say when they are pasted into a shell.
#[test]
fn the_examples_do_what_they_say() {
    for (args, parts) in [
        (&[][..], ["HTTP/1.1 200 OK", "HTTP/1.1 429 Too Many Requests", r#""remaining":"#]),
        (&["--vendor", "sendbird"][..], [r#""allowed":true"#, r#""allowed":false"#, r#""remaining":"#]),
    ] {
        let served = Served::with(args, &[]);
        let examples = served.hello["examples"].as_array().expect("a list").clone();
        assert_eq!(examples.len(), 3);
        for (line, part) in examples.iter().zip(parts) {
            let line = line.as_str().expect("a line");
            assert!(line.starts_with("curl "), "{line}");
            let output = Command::new("sh").args(["-c", line]).output().expect("a shell and curl are needed");
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(printed.contains(part), "{line}\nprinted {printed}\nwithout {part}");
        }
        served.end("-INT");
    }
}

#[test]
fn every_vendor_is_served_and_shown_by_example() {
    for vendor in ["cometchat", "qstash", "sendbird", "stream", "whatsapp"] {
        let served = Served::with(&["--vendor", vendor], &[]);
        assert_eq!(served.hello["policy"], vendor);
        assert_eq!(served.hello["examples"].as_array().map(Vec::len), Some(3), "{vendor}");
        let output = served.end("-INT");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{vendor}: {output:?}");
    }
}

#[test]
fn settings_come_from_the_environment_and_what_is_typed_wins() {
    let served = Served::with(&[], &[("TIDEGATE_VENDOR", "qstash"), ("TIDEGATE_MAX_COUNTERS", "5")]);
    assert_eq!((&served.hello["policy"], &served.hello["max_counters"]), (&"qstash".into(), &5.into()));
    served.end("-TERM");

    let scratch = Scratch::new("environment");
    let file = scratch.file("policy.toml");
    std::fs::write(&file, "name = \"own\"\n[[limit]]\nname = \"all\"\nquota = \"1/d\"\n").expect("it can be written");
    let file = file.to_str().expect("a path of text");
    let served = Served::with(&["--vendor", "stream"], &[("TIDEGATE_POLICY", file), ("TIDEGATE_STATE", "/nowhere")]);
    assert_eq!(served.hello["policy"], "stream");
    served.end("-TERM");
    let served = Served::with(&[file], &[("TIDEGATE_VENDOR", "qstash")]);
    assert_eq!(served.hello["policy"], "own");
    served.end("-TERM");

    let output = command(&[]).env("TIDEGATE_VENDOR", "qstash").env("TIDEGATE_POLICY", file).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "both in the environment: {output:?}");
}

#[test]
fn a_port_that_is_taken_is_told_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    for flag in ["--listen", "--control"] {
        let other = if flag == "--listen" { "--control" } else { "--listen" };
        let output = command(&[flag, &address, other, "127.0.0.1:0"]).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            said.contains(&format!("cannot listen on {address}")) && said.contains(&format!("{flag} 127.0.0.1:0")),
            "{said}"
        );
        assert_eq!(output.stdout.len(), 0, "it does not say that it serves");
    }
}

/// What it says is for whoever listens; a reader that has gone ends no server.
#[test]
fn a_hello_that_nobody_reads_does_not_end_it() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let control = free.expect("a free port").to_string();
    let mut child = command(&["--listen", "127.0.0.1:0", "--control", &control])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    while TcpStream::connect(&control).is_err() {
        assert_eq!(child.try_wait().expect("its state"), None, "it ended");
        std::thread::yield_now();
    }
    assert!(ask(&control, "GET", "/healthz", "\r\n").contains("ok"));
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("finishing what was asked before"), "{output:?}");
}

#[test]
fn an_upstream_that_cannot_be_one_is_told_so() {
    for upstream in ["https://", "ftp://127.0.0.1:21", "127.0.0.1", "/path"] {
        let args = ["--upstream", upstream, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
        let output = command(&args).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{upstream}: {said}");
        assert!(said.contains("upstream"), "{upstream}: {said}");
    }
}

/// What is asked before the signal is answered; a log in JSON is JSON, line by line.
#[test]
fn a_signal_drains() {
    let served = Served::with(&["--log-format", "json"], &[]);
    let mut open = TcpStream::connect(served.control()).expect("it listens");
    let question = r#"{"attributes":{"key":"k1"}}"#;
    let head = format!("POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", question.len());
    open.write_all(head.as_bytes()).expect("it reads");
    open.write_all(&question.as_bytes()[..5]).expect("it reads");
    // The server has begun with the request once it answers another one that came later.
    assert!(ask(served.control(), "GET", "/healthz", "\r\n").contains("ok"));
    let sent = Command::new("kill").args(["-TERM", &served.child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let stderr = served.child.stderr;
    let mut lines = BufReader::new(stderr.expect("it was piped")).lines();
    let heard = lines.next().expect("a line").expect("text");
    let heard: Value = serde_json::from_str(&heard).unwrap_or_else(|error| panic!("{error}: {heard}"));
    assert_eq!(heard["fields"]["message"], "finishing what was asked before");
    open.write_all(&question.as_bytes()[5..]).expect("it still reads");
    let mut answer = String::new();
    open.read_to_string(&mut answer).expect("it still answers");
    assert!(answer.contains(r#""allowed":true"#), "{answer}");
}

fn policy(name: &str, amount: u64) -> String {
    format!("name = \"{name}\"\n[serve]\nprefix = \"/{name}\"\n[[limit]]\nname = \"all\"\nquota = \"{amount}/h\"\n")
}

/// Asks until the answer has `part`: often enough for anything but never.
fn until(address: &str, target: &str, part: &str) {
    let mut said = String::new();
    for _ in 0..50_000 {
        said = ask(address, "GET", target, "\r\n");
        if said.contains(part) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("{target} never has {part}: {said}");
}

/// A folder is watched and a signal heard; what is wrong is told, and changes nothing.
#[test]
fn policies_change_while_they_are_served() {
    let scratch = Scratch::new("watched");
    let write = |name: &str, text: &str| std::fs::write(scratch.file(name), text).expect("it can be written");
    write("own.toml", &policy("own", 10));
    let folder = scratch.file("");
    let served = Served::with(&[folder.to_str().expect("text"), "--vendor", "stream"], &[]);
    assert_eq!(served.hello["policies"][0]["serving"], "/own");
    assert_eq!(served.hello["policies"][1]["policy"], "stream");
    let check = |question: &str| check(served.control(), question);
    assert_eq!(check(r#"{"policy":"own","attributes":{}}"#)["limits"][0]["remaining"], 9);
    write("own.toml", &policy("own", 5));
    until(served.control(), "/v1/policies/own", "\"version\":2");
    assert_eq!(check(r#"{"policy":"own","attributes":{}}"#)["limits"][0]["remaining"], 3);
    assert!(ask(served.gateway(), "GET", "/own/x", "\r\n").contains("r=2"));
    write("more.toml", &policy("more", 7));
    write("own.toml", "name = 7\n");
    let sent = Command::new("kill").args(["-HUP", &served.child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    until(served.control(), "/readyz", "own.toml");
    until(served.control(), "/v1/policies", "\"more\"");
    assert!(ask(served.control(), "GET", "/v1/policies/own", "\r\n").contains("\"version\":2"));
    let output = served.end("-TERM");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("wrong type for `name`") && log.contains("own.toml:1:8"), "{log}");
    assert_eq!(output.status.code(), Some(0), "{log}");
}

#[test]
fn policies_that_nothing_tells_apart_are_not_served() {
    let args = ["--vendor", "stream", "--vendor", "qstash", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let output = command(&args).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("policies `stream` and `qstash` are both for every request"), "{said}");
}

/// While the gateway finishes what it was asked before, the control port says that it is not to be asked.
#[test]
fn a_server_that_drains_is_not_ready() {
    let served = Served::with(&[], &[]);
    let mut open = TcpStream::connect(served.gateway()).expect("it listens");
    open.write_all(b"POST /sessions/s1/send HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{").expect("it reads");
    until(served.control(), "/metrics", "tidegate_decisions_total{verdict=\"admitted\"} 1");
    let sent = Command::new("kill").args(["-TERM", &served.child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    until(served.control(), "/readyz", "{\"status\":\"draining\"}");
    assert!(ask(served.control(), "GET", "/readyz", "\r\n").starts_with("HTTP/1.1 503 "));
    open.write_all(b"}").expect("it still reads");
    let mut answer = String::new();
    open.read_to_string(&mut answer).expect("it still answers");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let output = served.child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
