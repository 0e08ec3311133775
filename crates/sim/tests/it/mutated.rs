//! I36: whatever a trace has, its lines are asked or passed over, and nothing breaks.

use tidegate_limiter::MemoryOptions;
use tidegate_sim::{Outcome, Report, World};

use crate::{lowered, read};

const SEEDS: [&str; 4] = [
    r#"{"t":1706774400.25,"attributes":{"app":"a1","operation":"send"},"cost":{"messages":2}}"#,
    r#"{"t":1706774400.5,"request":{"method":"POST","path":"/messages?x=%20","headers":{"X-App":"a1","Host":"b.bay.example"},"body":[1,2]}}"#,
    r#"{"t":1706774401,"request":{"method":"POST","path":"/chat"},"response":{"status":200,"body":{"usage":{"tokens":7}}}}"#,
    r#"10.0.0.1 - - [01/Feb/2024:08:00:02 +0000] "GET /messages/7 HTTP/1.1" 200 5 "-" "a \"b\" \x41""#,
];

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).expect("below the number of sides")
    }
}

/// A few lines of one form, most of them hurt somewhere.
fn trace(dice: &mut Dice) -> Vec<u8> {
    let is_log = dice.roll(4) == 0;
    let mut text = Vec::new();
    for _ in 0..8 {
        let mut line = SEEDS[if is_log { 3 } else { dice.roll(3) }].as_bytes().to_vec();
        for _ in 0..dice.roll(3) {
            let at = dice.roll(line.len());
            match dice.roll(4) {
                0 => line[at] ^= 1 << dice.roll(8),
                1 => line.truncate(at + 1),
                2 => line.insert(at, b"{}[]\"\\:,%/-+.0e\n\xff"[dice.roll(17)]),
                _ => {
                    line.remove(at);
                }
            }
            if line.is_empty() {
                line.push(b'x');
            }
        }
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    text
}

#[test]
fn hurt_traces_are_replayed_as_far_as_they_are_understood() {
    let lowered = lowered();
    let mut dice = Dice(0x0074_7261_6365);
    let mut report = Report::default();
    for _ in 0..2_000 {
        let world = World::new(&lowered.policy, &lowered.intake, MemoryOptions { max_counters: 64 });
        read(trace(&mut dice), |entry| match entry {
            Err(error) => {
                assert!(
                    error.can_go_on() && error.to_string().starts_with(&format!("line {}: ", error.line())),
                    "{error}"
                );
                report.skipped += 1;
            }
            Ok(entry) => world.ask(&entry, |outcome| match outcome {
                Outcome::Decided(decision) => report.add(entry.line, decision),
                Outcome::BadRequest { .. } => report.bad_requests += 1,
            }),
        });
    }
    assert!(
        report.admitted > 1_000 && report.refused > 100 && report.bad_requests > 100 && report.skipped > 1_000,
        "{report:?}"
    );
}
