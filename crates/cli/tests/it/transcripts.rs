//! Commands and what they print: `tests/transcripts` and the simulation's `scenarios`, each a `.txt` beside its `.out`.
//!
//! A transcript has files, each after a line `=== NAME`; `command` is run in a folder with all of them, `stdin` is its
//! input. `UPDATE_GOLDEN=1` writes what is printed into the `.out`: read the difference.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::scratch::Scratch;

/// Far more than any of them takes.
const DEADLINE: Duration = Duration::from_secs(120);

const FOLDERS: [&str; 2] = ["tests/transcripts", "../sim/scenarios"];

#[test]
fn commands_print_what_they_printed() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = String::new();
    let transcripts: Vec<PathBuf> = FOLDERS.iter().flat_map(|folder| transcripts_in(folder)).collect();
    assert!(transcripts.len() > 20, "transcripts are found");
    for path in transcripts {
        let printed = run(&path);
        let golden = path.with_extension("out");
        if update {
            std::fs::write(&golden, &printed).expect("the repository can be written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if printed != expected {
            let _ = write!(wrong, "{}\n--- expected\n{expected}--- printed\n{printed}\n", path.display());
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 accepts this\n{wrong}");
}

fn transcripts_in(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "txt")).collect();
    paths.sort();
    paths
}

fn run(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("the transcript can be read");
    let mut files = parts(&text);
    let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
    let scratch = Scratch::new(name);
    let command = files.remove("command").unwrap_or_else(|| panic!("{name} has no command"));
    let input = files.remove("stdin").unwrap_or_default();
    for (file, text) in &files {
        std::fs::write(scratch.file(file), text).expect("the folder can be written");
    }
    let folder = scratch.file("");
    let mut words = words(&command).into_iter();
    assert_eq!(words.next().as_deref(), Some("tidegate"), "{name}");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(words)
        .current_dir(&folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // A command that does not read its input closes it.
    let _ = child.stdin.take().expect("it was piped").write_all(input.as_bytes());
    let output = ended(child, name);
    let mut printed =
        format!("exit {}\n", output.status.code().map_or("by a signal".to_owned(), |code| code.to_string()));
    for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
        if !bytes.is_empty() {
            let _ = write!(printed, "--- {name}\n{}", String::from_utf8(bytes).expect("it prints UTF-8"));
        }
    }
    // Tables are padded to their width; a golden file without blanks at the ends of lines survives editors.
    printed.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The words of a command; single quotes keep blanks together, as a shell's do.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    for character in command.chars() {
        match character {
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            blank if blank.is_whitespace() && !is_quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// What it printed; a command that does not end by itself is ended, and fails.
fn ended(child: Child, name: &str) -> Output {
    let id = child.id().to_string();
    let (say, said) = mpsc::channel();
    let waiting = std::thread::spawn(move || say.send(child.wait_with_output()));
    let output = said.recv_timeout(DEADLINE);
    if output.is_err() {
        let _ = Command::new("kill").args(["-KILL", &id]).status();
    }
    waiting.join().expect("it waits only").unwrap_or_default();
    output.unwrap_or_else(|_| panic!("{name} does not end")).expect("the program ran")
}

fn parts(text: &str) -> BTreeMap<&str, String> {
    let mut parts = BTreeMap::new();
    let mut name = None;
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("=== ") {
            parts.insert(next, String::new());
            name = Some(next);
        } else if let Some(name) = name {
            let part: &mut String = parts.entry(name).or_default();
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}
