//! Decisions a second of Tidegate, governor and limitador, in one process and interleaved: one chunk of each in turn,
//! many rounds, so that all of them meet the same moods of the machine. Prints a table of medians and one of ratios to
//! governor (the median of the rounds' own ratios), and writes all of it as JSON where `--json FILE` says.
//!
//! `decision [--rounds N] [--json FILE] [--quick] [--goals]`, the last for the cases that the design has goals for; `decision --memory SUBJECT USERS` measures the memory of one in a
//! process of its own, which is what the table of bytes does.

use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use subjects::{BATCH, Case, Names, SUBJECTS, Subject, Verdicts, subject};

/// How long one chunk of decisions takes, about.
const CHUNK: Duration = Duration::from_millis(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, users] = &arguments[..]
        && flag == "--memory"
    {
        return print_memory(name, users.parse().expect("a number of users"));
    }
    let value = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1);
    let rounds = value("--rounds").map_or(21, |rounds| rounds.parse().expect("a number of rounds"));
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let mut report = Report::default();
    let only_goals = arguments.iter().any(|argument| argument == "--goals");
    report.speed(rounds, is_quick, only_goals);
    report.memory(is_quick);
    report.allocations();
    report.show_goals();
    if let Some(path) = value("--json") {
        std::fs::write(path, format!("[\n{}\n]\n", report.json.join(",\n"))).expect("a file that can be written");
    }
}

/// What was measured, as lines of JSON; tables are printed as they come.
#[derive(Default)]
struct Report {
    json: Vec<String>,
    goals: Vec<Goal>,
}

/// A goal of the design, and what was measured of it.
struct Goal {
    what: String,
    most: f64,
    measured: f64,
}

impl Report {
    fn speed(&mut self, rounds: usize, is_quick: bool, only_goals: bool) {
        println!(
            "| limits | users | threads | verdicts | {} | ours ÷ governor | ours ÷ limitador |",
            SUBJECTS.join(" | ")
        );
        println!("|---|---|---|---|{}---|---|", "---|".repeat(SUBJECTS.len()));
        let users: &[u64] = if is_quick { &[1, 1_000] } else { &[1, 1_000, 1_000_000] };
        for verdicts in [Verdicts::Admitted, Verdicts::Refused] {
            for limits in [1, 3] {
                for users in users {
                    let case = Case { limits, users: *users, verdicts };
                    let threads: Vec<usize> =
                        [1, 2].into_iter().filter(|threads| !only_goals || has_goal(case, *threads)).collect();
                    if threads.is_empty() {
                        continue;
                    }
                    let subjects: Vec<_> = SUBJECTS.iter().map(|name| prepared(name, case)).collect();
                    for threads in threads {
                        self.speed_of(case, threads, rounds, &subjects);
                    }
                }
            }
        }
        self.many_limits(rounds);
    }

    fn speed_of(&mut self, case: Case, threads: usize, rounds: usize, subjects: &[Box<dyn Subject>]) {
        let taken = interleaved(case, threads, rounds, subjects);
        let [ours, batched, governor, limitador] = [1, 3, 4, 5].map(|subject| &taken[subject]);
        self.note_goals(case, threads, [ours, batched, governor, limitador]);
        let (to_governor, to_limitador) = (ratio(ours, governor), ratio(ours, limitador));
        let cells: Vec<String> = taken.iter().map(|times| show(times)).collect();
        let Case { limits, users, verdicts } = case;
        println!(
            "| {limits} | {users} | {threads} | {verdicts:?} | {} | {to_governor:.2} | {to_limitador:.4} |",
            cells.join(" | ")
        );
        for (name, times) in SUBJECTS.iter().zip(&taken) {
            let [low, middle, high] = quartiles(times);
            self.json.push(format!(
                r#"{{"subject":"{name}","limits":{limits},"users":{users},"threads":{threads},"verdicts":"{verdicts:?}","ns":{middle:.1},"ns_quartiles":[{low:.1},{high:.1}],"to_governor":{:.3},"rounds":{rounds}}}"#,
                ratio(times, governor)
            ));
        }
    }

    /// Notes what this case says of the goals.
    fn note_goals(&mut self, case: Case, threads: usize, [ours, batched, governor, limitador]: [&[f64]; 4]) {
        let mut note = |what: &str, most: f64, measured: f64| {
            self.goals.push(Goal { what: what.to_owned(), most, measured });
        };
        match (case.limits, case.users, threads, case.verdicts) {
            (1, 1, 1, Verdicts::Admitted) => note("one hot key, to governor", 0.7, best_ratio(ours, governor)),
            (1, 1_000_000, 1, Verdicts::Admitted) => {
                note("10^6 keys one at a time, to governor", 0.5, best_ratio(ours, governor));
                note("10^6 keys in batches, to governor", 0.15, best_ratio(batched, governor));
            }
            (1, 1, 2, Verdicts::Refused) => {
                note("one flooded key, 2 threads, to governor", 0.35, best_ratio(ours, governor))
            }
            (3, users @ (1_000 | 1_000_000), 1, Verdicts::Admitted) => {
                note(&format!("three limits, {users} keys, to governor"), 0.7, best_ratio(ours, governor));
                note(&format!("three limits, {users} keys, to limitador"), 1.0 / 30.0, best_ratio(ours, limitador));
            }
            _ => {}
        }
    }

    /// All goals side by side with what was measured; a speed is the best round of ours to the best of theirs.
    fn show_goals(&mut self) {
        println!("\n| goal | at most | measured | |\n|---|---|---|---|");
        for Goal { what, most, measured } in &self.goals {
            let verdict = if measured <= most { "met" } else { "not met" };
            println!("| {what} | {most:.3} | {measured:.3} | {verdict} |");
            self.json.push(format!(r#"{{"goal":"{what}","most":{most:.4},"measured":{measured:.4}}}"#));
        }
    }

    /// A policy of 1,000 limits against one of 3, the same ones matching.
    fn many_limits(&mut self, rounds: usize) {
        let case = Case { limits: 3, users: 1_000, verdicts: Verdicts::Admitted };
        let subjects = ["tidegate-bucket", "tidegate-1000-limits"].map(|name| prepared(name, case));
        let taken = interleaved(case, 1, rounds, &subjects);
        let ratio = ratio(&taken[1], &taken[0]);
        println!("\n3 of 3 limits match: {}; 3 of 1,000: {}; ratio {ratio:.2}\n", show(&taken[0]), show(&taken[1]));
        let what = "1,000 limits and 10,000 operations, to 3 limits".to_owned();
        self.goals.push(Goal { what, most: 1.2, measured: best_ratio(&taken[1], &taken[0]) });
        self.json.push(format!(r#"{{"measure":"1000 limits against 3","ratio":{ratio:.3}}}"#));
    }

    fn memory(&mut self, is_quick: bool) {
        println!("| subject | counters | bytes a counter |\n|---|---|---|");
        let program = std::env::current_exe().expect("the path of this program");
        let few: &[(&str, u64)] = &[("tidegate-bucket", 100_000), ("governor", 100_000)];
        let many: &[(&str, u64)] = &[
            ("tidegate-bucket", 1_000_000),
            ("tidegate-bucket", 10_000_000),
            ("governor", 1_000_000),
            ("governor", 10_000_000),
            ("limitador", 1_000_000),
        ];
        for (name, users) in if is_quick { few } else { many } {
            let run = Command::new(&program).args(["--memory", name, &users.to_string()]).output();
            let bytes = String::from_utf8(run.expect("a process of its own").stdout).expect("a number");
            println!("| {name} | {users} | {} |", bytes.trim());
            if (*name, *users) == ("tidegate-bucket", 10_000_000) {
                let (what, measured) = ("bytes a counter of 10^7".to_owned(), bytes.trim().parse().expect("a number"));
                self.goals.push(Goal { what, most: 32.0, measured });
            }
            self.json.push(format!(r#"{{"subject":"{name}","counters":{users},"bytes_each":{}}}"#, bytes.trim()));
        }
    }

    fn allocations(&mut self) {
        let program = std::env::current_exe().expect("the path of this program").with_file_name("allocations");
        println!("\nheap allocations of one decision");
        match Command::new(&program).output() {
            Ok(output) => {
                let lines = String::from_utf8(output.stdout).expect("lines of JSON");
                print!("{lines}");
                self.json.extend(lines.lines().map(String::from));
            }
            Err(error) => println!("not counted: {}: {error}", program.display()),
        }
    }
}

/// Whether the design has a goal for this case, or it says how far a contended counter is from one.
fn has_goal(case: Case, threads: usize) -> bool {
    match (case.limits, case.users, threads, case.verdicts) {
        (1, 1, 1 | 2, Verdicts::Admitted) | (1, 1_000_000, 1, Verdicts::Admitted) | (1, 1, 2, Verdicts::Refused) => {
            true
        }
        (3, users, 1, Verdicts::Admitted) => users > 1,
        _ => false,
    }
}

/// A subject that has seen every user.
fn prepared(name: &str, case: Case) -> Box<dyn Subject> {
    let (subject, mut names) = (subject(name, case), Names::new());
    for user in 0..case.users {
        subject.ask(&mut names, user);
    }
    if case.verdicts == Verdicts::Refused && name != "null" {
        assert!((0..case.users).all(|user| !subject.ask(&mut names, user)), "{name} admits what is used up");
    }
    subject
}

/// Nanoseconds of one decision in each round, by subject.
fn interleaved(case: Case, threads: usize, rounds: usize, subjects: &[Box<dyn Subject>]) -> Vec<Vec<f64>> {
    let sizes: Vec<u64> = subjects.iter().map(|subject| chunk_size(subject.as_ref(), case)).collect();
    let mut taken = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let which = (turn + round) % subjects.len();
            taken[which].push(chunk(subjects[which].as_ref(), case, threads, sizes[which], round as u64));
        }
    }
    taken
}

fn chunk_size(subject: &dyn Subject, case: Case) -> u64 {
    let trial = 2_000;
    let each = chunk(subject, case, 1, trial, 0);
    ((CHUNK.as_nanos() as f64 / each) as u64).max(trial)
}

/// Nanoseconds of one decision of each thread.
fn chunk(subject: &dyn Subject, case: Case, threads: usize, size: u64, seed: u64) -> f64 {
    let start = Barrier::new(threads);
    let run = |thread: usize| {
        pin(thread);
        let (mut names, mut random) =
            (Names::new(), (seed * 2 + thread as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        start.wait();
        let began = Instant::now();
        let mut admitted = 0_u64;
        for _ in 0..size.div_ceil(BATCH as u64) {
            let users = std::array::from_fn(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                ((u128::from(random) * u128::from(case.users)) >> 64) as u64
            });
            admitted += subject.ask_all(&mut names, &users);
        }
        std::hint::black_box(admitted);
        began.elapsed().as_nanos() as f64 / (size.div_ceil(BATCH as u64) * BATCH as u64) as f64
    };
    let run = &run;
    let times: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that ran to its end")).collect()
    });
    times.iter().sum::<f64>() / times.len() as f64
}

/// Keeps this thread on a processor of its own; where that is not possible it may wander.
fn pin(thread: usize) {
    let mut processors = rustix::thread::CpuSet::new();
    processors.set(thread);
    _ = rustix::thread::sched_setaffinity(None, &processors);
}

fn print_memory(name: &str, users: u64) {
    let case = Case { limits: 1, users, verdicts: Verdicts::Admitted };
    // The program's own pages are touched once, so that they are not taken for counters.
    drop(prepared_for_memory(name, Case { users: 1_000, verdicts: Verdicts::Refused, ..case }));
    let before = resident_bytes();
    let subject = if name.starts_with("tidegate") || name == "governor" || name == "limitador" {
        // Refused: its counters stay in use for a day.
        prepared_for_memory(name, Case { verdicts: Verdicts::Refused, ..case })
    } else {
        panic!("no memory of {name}")
    };
    let after = resident_bytes();
    std::hint::black_box(&subject);
    println!("{:.1}", (after - before) as f64 / users as f64);
}

fn prepared_for_memory(name: &str, case: Case) -> Box<dyn Subject> {
    let (subject, mut names) = (subject(name, case), Names::new());
    for user in 0..case.users {
        assert!(subject.ask(&mut names, user), "{name} has no room for user {user}");
    }
    subject
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split_whitespace().nth(1).expect("resident pages").parse().expect("a number");
    pages * rustix::param::page_size() as u64
}

fn quartiles(times: &[f64]) -> [f64; 3] {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    [sorted.len() / 4, sorted.len() / 2, sorted.len() * 3 / 4].map(|place| sorted[place])
}

fn show(times: &[f64]) -> String {
    let [low, middle, high] = quartiles(times);
    format!("{middle:.0} ({low:.0}–{high:.0})")
}

/// The best of our rounds to the best of theirs: what the neighbours on this machine disturbed least.
fn best_ratio(times: &[f64], to: &[f64]) -> f64 {
    let [ours, theirs] = [times, to].map(|times| times.iter().copied().fold(f64::MAX, f64::min));
    ours / theirs
}

/// The median of the rounds' own ratios.
fn ratio(times: &[f64], to: &[f64]) -> f64 {
    quartiles(&times.iter().zip(to).map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())[1]
}
