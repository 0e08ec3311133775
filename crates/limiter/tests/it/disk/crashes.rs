//! The power goes after every step that was taken, in many ways; what was kept is there, and nothing that never was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_limiter::store::disk::{Journal, JournalOptions, Record, Recovered, Seed, verify};

use super::super::support::Random;
use super::powerless::{Disk, Faults, Powerless, Step};

/// Small logs, so that many are ended and folded.
const SMALL: JournalOptions = JournalOptions { max_log: 4_096, logs_before_folding: 2 };
const SEED: Seed = Seed([1, 2, 3, 4]);
const COUNTERS: u64 = 12;
/// Far behind all instants of these tests, so that nothing is over.
const NEVER_OVER: u64 = u64::MAX;
const LONG: Duration = Duration::from_secs(30);

/// What a counter's state looks like at a version: its words follow from it, so that half a state is none.
fn state(counter: u64, version: u64) -> Vec<u64> {
    let words = 2 + usize::try_from(counter % 3 * 7).unwrap();
    let rest = (1..words as u64).map(|word| version * 1_000 + word);
    std::iter::once(NEVER_OVER).chain(rest).collect()
}

fn version_of(record: &Record<'_>) -> u64 {
    let version = record.state[1] / 1_000;
    assert_eq!(record.state, state(record.counter[0], version), "a state that was never noted");
    assert_eq!(record.counter[1], !record.counter[0]);
    version
}

/// Uses a folder: notes versions, waits for some of them, and says so.
fn run(folder: &Powerless, versions: &mut BTreeMap<u64, u64>, rounds: u64, random: &mut Random) {
    let watcher = Arc::new(|_: tidegate_limiter::store::disk::Incident<'_>| {});
    let mut known = BTreeMap::new();
    let take = |record: Record<'_>| {
        known.insert(record.counter[0], version_of(&record));
    };
    let Ok((journal, _)) = Journal::open(folder.clone(), SMALL, SEED, watcher, take) else { return };
    // What the folder knows is the truth from now on.
    for (counter, version) in known {
        let noted = versions.entry(counter).or_default();
        *noted = version.max(*noted);
    }
    for _ in 0..rounds {
        let mut noted = Vec::new();
        for _ in 0..=random.below(6) {
            let counter = random.below(COUNTERS);
            let version = versions.entry(counter).or_default();
            *version += 1;
            let state = state(counter, *version);
            journal.note(Record { counter: [counter, !counter], state: &state }, *version);
            noted.push((counter, *version));
        }
        for (counter, version) in noted {
            if journal.wait(journal.latest([counter, !counter]), LONG) {
                folder.told_kept(counter, version);
            }
        }
    }
}

/// What is found after a crash, by counter.
fn found(files: BTreeMap<String, Vec<u8>>) -> (BTreeMap<u64, u64>, Option<Recovered>) {
    let mut found = BTreeMap::new();
    let recovered = verify(&Powerless::of(files), |record| {
        found.insert(record.counter[0], version_of(&record));
    });
    (found, recovered.expect("a crash is no damage"))
}

/// Takes the power away after every step, `ways` times each. How many states there were.
fn crash_everywhere(from: BTreeMap<String, Vec<u8>>, steps: &[Step], ways: u64, random: &mut Random) -> u64 {
    let mut disk = Disk::of(from.clone());
    let (mut kept, _) = found(from);
    let mut states = 0;
    for step in steps {
        disk.take(step);
        if let Step::Kept { counter, version } = step {
            let known = kept.entry(*counter).or_default();
            *known = version.max(known).to_owned();
        }
        for _ in 0..ways {
            let (found, _) = found(disk.crash(random));
            for (counter, version) in &kept {
                let there = found.get(counter).copied().unwrap_or(0);
                assert!(there >= *version, "counter {counter}: version {version} was kept, {there} is found");
            }
            states += 1;
        }
    }
    states
}

fn cases() -> u64 {
    std::env::var("TIDEGATE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// I19 to I22, M5, M6, M7, M10.
#[test]
fn what_was_kept_survives_a_crash_after_any_step() {
    let mut states = 0;
    for seed in 0..4 * cases() {
        let mut random = Random::new(seed);
        let faults = match seed % 4 {
            0 => Faults::default(),
            1 => Faults { syncs: 7, ..Faults::default() },
            2 => Faults { appends: 7, names: 5, ..Faults::default() },
            _ => Faults { appends: 9, syncs: 9, names: 9 },
        };
        let (mut versions, mut files) = (BTreeMap::new(), BTreeMap::new());
        // It is used, the power goes, it is used again.
        for _ in 0..3 {
            let folder = Powerless::of(files.clone()).failing(faults, random.below(u64::MAX));
            run(&folder, &mut versions, 60, &mut random);
            let steps = folder.steps();
            states += crash_everywhere(files.clone(), &steps, 8, &mut random);
            let mut disk = Disk::of(files);
            let last = random.below(steps.len() as u64 + 1) as usize;
            steps[..last].iter().for_each(|step| disk.take(step));
            files = disk.crash(&mut random);
        }
    }
    println!("{states} states");
    assert!(states > 10_000 * cases(), "{states} states are few");
}

/// M7, M6: what could not be kept for a while is kept afterwards, and whoever watches is told of both.
#[test]
fn a_disk_that_fails_is_told_of_and_nothing_is_lost() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let watcher = Arc::new(move |incident: tidegate_limiter::store::disk::Incident<'_>| {
        telling.lock().unwrap().push(format!("{incident:?}"));
    });
    let folder = Powerless::default();
    let (journal, recovered) = Journal::open(folder.clone(), SMALL, SEED, watcher, |_| {}).unwrap();
    assert_eq!(recovered.frames, 0);
    let every = Faults { appends: 1, ..Faults::default() };
    let failing = folder.clone().failing(every, 7);
    let counter = [3, !3];
    journal.note(Record { counter, state: &state(3, 1) }, 1);
    assert!(!journal.wait(journal.latest(counter), Duration::from_millis(20)), "nothing can be kept");
    assert!(journal.is_failing());
    failing.mend();
    assert!(journal.wait(journal.latest(counter), LONG));
    assert!(!journal.is_failing());
    drop(journal);
    assert_eq!(found(folder.files()).0, BTreeMap::from([(3, 1)]));
    let told = told.lock().unwrap();
    assert!(told[0].starts_with("CannotKeep") && told[1] == "KeepsAgain" && told.len() == 2, "{told:?}");
}
