//! Fifty million distinct keys against a store of a million counters: it takes no more memory than its cap says, no
//! counter in use is forgotten, and the limits hold for the flood too (I49, I51, I1, I6).
//!
//! `cargo run --release -- [KEYS] [CAP] [THREADS]`; a table for `docs/results/` comes out, or a panic that says what did
//! not hold. Time is virtual: 50,000 keys a second come in, more in a window than the store has counters. Below a cap of some
//! 200,000 the stacks of the threads show in the memory.
//!
//! Before the flood some thousand counters are used up, and as many half used, by a quota of a day. After each tenth of
//! the flood, all of them have to say exactly what they said before. One key in 256 asks on, more often than its quota
//! allows; a limit on all together counts what was admitted, and has to have counted just that.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tidegate_core::{AttributeId, Basis, Demand, Policy, Timestamp};
use tidegate_limiter::{Clock, Limiter, Memory, MemoryOptions};
use tidegate_policy::{Source, lower};

/// Keys used up before the flood, and as many half used.
const PLANTED: u64 = 4_000;
/// What a planted key may use in a day.
const DAILY: u64 = 10;
/// What a key of the flood may use in its window.
const QUOTA: u64 = 3;
/// How often a key that asks on asks.
const ASKS: u64 = 6;
/// One key in so many asks on.
const ASKS_ON: u64 = 256;
/// Keys that a thread takes at once: few, so that all come at about their time.
const AT_ONCE: u64 = 64;
/// Virtual time between two keys.
const STEP_US: u64 = 20;
const BEGIN_US: u64 = 1_706_774_400_000_000;

/// What is tried: a name, and what the flood's limit says beside its quota.
const RUNS: [(&str, &str); 3] = [
    ("fixed window", "algorithm = \"fixed-window\""),
    ("token bucket", "algorithm = \"token-bucket\""),
    ("sliding window", "algorithm = \"sliding-window\""),
];

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a whole number"));
    let keys: u64 = arguments.next().unwrap_or(50_000_000);
    let cap: usize = arguments.next().unwrap_or(1_000_000).try_into().expect("a cap");
    let threads: u64 = arguments.next().unwrap_or(2);
    let mut page = String::from(
        "| the flood's limit | keys | asked | admitted | refused by its limit | refused, store full | tables | memory grew by | of tables |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, algorithm) in RUNS {
        // In a process of its own, so that what one leaves behind is not counted for the next.
        if std::env::var("FLOOD").is_ok_and(|only| only != name) {
            continue;
        }
        if std::env::var("FLOOD").is_err() {
            let program = std::env::current_exe().expect("this program");
            let output = std::process::Command::new(program)
                .args([keys.to_string(), cap.to_string(), threads.to_string()])
                .env("FLOOD", name)
                .stderr(std::process::Stdio::inherit())
                .output()
                .expect("this program runs");
            assert!(output.status.success(), "{name}: what is promised did not hold");
            page += &String::from_utf8(output.stdout).expect("a row");
            continue;
        }
        print!("{}", Flood::new(algorithm, keys, cap, threads).run(name));
        return;
    }
    print!("{page}");
}

/// The newest instant that any thread has come to: threads that fall behind do not set it back.
struct Newest(AtomicU64);

impl Newest {
    fn reach(&self, micros: u64) {
        self.0.fetch_max(micros, Ordering::Relaxed);
    }
}

impl Clock for Newest {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

struct Flood {
    policy: Policy,
    limiter: Limiter<Newest, ()>,
    keys: u64,
    cap: usize,
    threads: u64,
    before: u64,
    app: AttributeId,
    admitted: AtomicU64,
    refused: AtomicU64,
    full: AtomicU64,
}

impl Flood {
    fn new(algorithm: &str, keys: u64, cap: usize, threads: u64) -> Flood {
        let text = format!(
            "name = \"flood\"\n[attributes]\napp = \"header:X-App\"\n[operations]\nplanted = {{}}\nflood = {{}}\n\
             [[limit]]\nname = \"planted\"\non = \"planted\"\nper = \"app\"\nquota = \"{DAILY}/d\"\n\
             [[limit]]\nname = \"all\"\non = \"flood\"\nquota = \"1_000_000_000_000/d\"\n\
             [[limit]]\nname = \"flood\"\non = \"flood\"\nper = \"app\"\nquota = \"{QUOTA}/min\"\n{algorithm}\n"
        );
        let lowered = lower(&Source { name: "flood.toml", text: &text }, 1).expect("the policy above");
        let policy = lowered.policy;
        let app = policy.attribute("app").expect("the attribute above");
        let before = resident();
        let store = Memory::new(MemoryOptions { max_counters: cap });
        let limiter = Limiter::new(store, Newest(AtomicU64::new(BEGIN_US)), ());
        let none = || AtomicU64::new(0);
        Flood { policy, limiter, keys, cap, threads, before, app, admitted: none(), refused: none(), full: none() }
    }

    fn run(&self, name: &str) -> String {
        for key in 0..2 * PLANTED {
            let uses = if key < PLANTED { DAILY } else { DAILY / 2 };
            for _ in 0..uses {
                assert!(self.ask("planted", &planted(key)).is_admitted, "there is room at the beginning");
            }
        }
        let parts = 10;
        for part in 0..parts {
            let (first, last) = (self.keys * part / parts, self.keys * (part + 1) / parts);
            let next = AtomicU64::new(first);
            let checked: u64 = thread::scope(|scope| {
                let workers: Vec<_> = (0..self.threads).map(|_| scope.spawn(|| self.flood(&next, last))).collect();
                workers.into_iter().map(|worker| worker.join().expect("what is promised holds")).sum()
            });
            assert!(checked > (last - first) / ASKS_ON / 2, "most keys that ask on are held to their quota");
            self.check_planted();
        }
        self.row(name)
    }

    /// Takes keys before `last`, some at a time, and says how many of those that ask on were held to their quota.
    fn flood(&self, next: &AtomicU64, last: u64) -> u64 {
        let (mut admitted, mut refused, mut full, mut checked) = (0, 0, 0, 0);
        loop {
            let first = next.fetch_add(AT_ONCE, Ordering::Relaxed);
            if first >= last {
                break;
            }
            for key in first..last.min(first + AT_ONCE) {
                self.limiter.clock().reach(BEGIN_US + key * STEP_US);
                let begin = self.limiter.clock().now();
                let text = spelled(key);
                let asks = if key % ASKS_ON == 0 { ASKS } else { 1 };
                let mut own = 0;
                for _ in 0..asks {
                    let answer = self.ask("flood", &text);
                    own += u64::from(answer.is_admitted);
                    match (answer.is_admitted, answer.is_full) {
                        (true, _) => admitted += 1,
                        (false, true) => full += 1,
                        (false, false) => refused += 1,
                    }
                }
                // Other threads move the clock, too. Where it has come to another third of a minute, units may be back.
                let third = |at: Timestamp| at.as_micros() / 20_000_000;
                let is_exact = third(begin) == third(self.limiter.clock().now());
                assert!(!is_exact || own <= QUOTA, "key {key} was admitted {own} times");
                checked += u64::from(is_exact && asks == ASKS);
            }
        }
        self.admitted.fetch_add(admitted, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
        self.full.fetch_add(full, Ordering::Relaxed);
        checked
    }

    /// All that was planted says what it said before the flood, and the limit on all has counted what was admitted.
    fn check_planted(&self) {
        for key in 0..2 * PLANTED {
            let left = if key < PLANTED { 0 } else { DAILY - DAILY / 2 };
            let text = planted(key);
            let answer = self.peek("planted", &text);
            assert_eq!((answer.is_full, answer.remaining), (false, left), "planted key {key} was forgotten");
            assert_eq!(answer.is_admitted, left > 0, "planted key {key}");
        }
        let answer = self.peek("flood", "whoever");
        let counted = 1_000_000_000_000 - answer.first_remaining;
        assert_eq!(counted, self.admitted.load(Ordering::Relaxed), "the limit on all counts what was admitted");
    }

    fn ask(&self, operation: &str, app: &str) -> Answer {
        self.decide(operation, app, tidegate_core::Purpose::Once)
    }

    fn peek(&self, operation: &str, app: &str) -> Answer {
        self.decide(operation, app, tidegate_core::Purpose::Peek)
    }

    fn decide(&self, operation: &str, app: &str, purpose: tidegate_core::Purpose) -> Answer {
        let mut demand = Demand::on(&self.policy);
        demand.set(AttributeId::OPERATION, operation).expect("an operation of the policy");
        demand.set(self.app, app).expect("a short key").set_purpose(purpose);
        let demand = demand.build();
        let decision = self.limiter.check(&demand);
        let mut rulings = decision.rulings();
        let first = rulings.next().expect("a limit that applies");
        let last = rulings.last();
        let last = last.as_ref().unwrap_or(&first);
        Answer {
            is_admitted: decision.is_admitted(),
            is_full: last.basis == Basis::StoreFull,
            remaining: last.status.remaining,
            first_remaining: first.status.remaining,
        }
    }

    fn row(&self, name: &str) -> String {
        let [admitted, refused, full] =
            [&self.admitted, &self.refused, &self.full].map(|count| count.load(Ordering::Relaxed));
        let asked = admitted + refused + full;
        assert!(full > 0 && refused > 0 && admitted > 0, "a flood that tries the cap and the limit");
        let (tables, grew) = (self.limiter.store().bytes() as u64, resident() - self.before);
        assert!(grew * 10 <= tables * 11, "{grew} bytes of memory for tables of {tables}");
        assert!(self.limiter.store().counters() <= 2 * self.cap, "no table has more counters than the cap");
        let mut row = String::new();
        writeln!(
            row,
            "| {name} {QUOTA}/min | {} | {} | {} | {} | {} | {:.1} MB | {:.1} MB | {:.3} |",
            grouped(self.keys),
            grouped(asked),
            grouped(admitted),
            grouped(refused),
            grouped(full),
            tables as f64 / 1e6,
            grew as f64 / 1e6,
            grew as f64 / tables as f64,
        )
        .expect("room for a row");
        row
    }
}

struct Answer {
    is_admitted: bool,
    is_full: bool,
    remaining: u64,
    first_remaining: u64,
}

fn planted(key: u64) -> String {
    format!("planted-{key}")
}

fn spelled(key: u64) -> String {
    format!("key-{key:x}")
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells of its processes");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line on what is resident");
    let kilobytes: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number of kB");
    kilobytes * 1024
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits")).collect();
    groups.join(",")
}
