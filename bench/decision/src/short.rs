//! What of a decision's cost no neighbour on the machine disturbs: heap allocations and instructions. Fails where one
//! costs more than it should, never on time. Needs valgrind.
//!
//! Instructions are those of `parts` under callgrind, the difference between two counts of decisions. What is allowed is
//! what was counted when it was last set, and a tenth: another compiler or C library may count a little otherwise. Whoever
//! makes decisions cheaper lowers it.

use std::process::{Command, ExitCode};

use subjects::{Case, Names, Verdicts, subject};

/// Limits, verdicts, and the most instructions of demand and check.
const MOST: [(usize, Verdicts, u64); 4] = [
    (1, Verdicts::Refused, 940),
    (1, Verdicts::Admitted, 1_000),
    (3, Verdicts::Refused, 2_290),
    (3, Verdicts::Admitted, 2_590),
];

fn main() -> ExitCode {
    let mut is_fine = true;
    for (limits, verdicts, most) in MOST {
        let instructions = match instructions(limits, verdicts) {
            Ok(instructions) => instructions,
            Err(problem) => {
                eprintln!("instructions cannot be counted: {problem}");
                return ExitCode::from(2);
            }
        };
        let allocations = allocations(limits, verdicts);
        println!(
            "{limits} limits, {verdicts:?}: {instructions} instructions (at most {most}), {allocations} allocations"
        );
        is_fine &= instructions <= most && allocations == 0;
    }
    if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Heap allocations of a thousand decisions one by one and in batches.
fn allocations(limits: usize, verdicts: Verdicts) -> u64 {
    let case = Case { limits, users: 100, verdicts };
    let mut total = 0;
    for name in ["tidegate-bucket", "tidegate-window", "tidegate-batch"] {
        let (subject, mut names) = (subject(name, case), Names::new());
        (0..case.users).for_each(|user| _ = subject.ask(&mut names, user));
        let counted = allocation_counter::measure(|| {
            for user in 0..16 {
                std::hint::black_box(subject.ask_all(&mut names, &[user; subjects::BATCH]));
            }
        });
        total += counted.count_total;
    }
    total
}

/// Instructions of one decision.
fn instructions(limits: usize, verdicts: Verdicts) -> Result<u64, String> {
    const FEW: u64 = 1_000;
    const MANY: u64 = 11_000;
    let [few, many] = [FEW, MANY].map(|count| collected(limits, verdicts, count));
    Ok((many? - few?) / (MANY - FEW))
}

fn collected(limits: usize, verdicts: Verdicts, count: u64) -> Result<u64, String> {
    let parts = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("parts");
    if !parts.exists() {
        return Err(format!("{} is not built", parts.display()));
    }
    let verdicts = if verdicts == Verdicts::Admitted { "admitted" } else { "refused" };
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(parts)
        .args(["demand and check", &limits.to_string(), verdicts, &count.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&run.stderr);
    let line = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, number) = line.ok_or_else(|| format!("callgrind said: {said}"))?;
    number.trim().parse().map_err(|_| format!("callgrind said: {said}"))
}
