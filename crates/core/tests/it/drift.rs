//! T4: a bucket that is polled for years loses and gains nothing, whatever the pattern.

use tidegate_core::{Algorithm, Quota, Rule, Span, Timestamp};

const HOUR: u64 = 3_600_000_000;

/// Polls at random gaps up to an hour, and takes all there is each time. As the bucket is never full again,
/// what it gave after any time t is burst + floor(rate × t), to the unit.
#[test]
fn long_run_rate_is_exact_t4() {
    let rates: [(u64, u64, u64); 9] = [
        // amount, window in seconds, burst
        (1, 86_400, 2),
        (3, 86_400, 2),
        (7, 1, 30_000),
        (100, 60, 7_000),
        (997, 3_600, 1_000),
        (12_345, 60, 800_000),
        (99_991, 86_400, 5_000),
        (1_000_000, 7, 600_000_000),
        (1_000_000_000, 1, 4_000_000_000_000),
    ];
    for (amount, window, burst) in rates {
        let quota = Quota { burst, ..Quota::per(amount, Span::from_secs(window)) };
        let rule = Rule::new(Algorithm::TokenBucket, quota).unwrap();
        let mut state = vec![0; rule.state_words()];
        let (beginning, mut passed, mut admitted) = (1_706_774_400_000_000, 0, 0_u128);
        let mut dice = Dice(amount);
        for _ in 0..200_000 {
            let now = Timestamp::from_micros(beginning + passed);
            let all = rule.peek(&state, 0, now).remaining;
            rule.charge(&mut state, all, now);
            admitted += u128::from(all);
            let back = u128::from(passed) * u128::from(amount) / (u128::from(window) * 1_000_000);
            assert_eq!(admitted, u128::from(burst) + back, "{amount} per {window} s after {passed} us");
            passed += dice.gap();
        }
        assert!(passed > 1_000_000 * 1_000_000, "it did not run long: {passed}");
    }
}

/// Small numbers that look random; the same each time.
struct Dice(u64);

impl Dice {
    /// From a microsecond to an hour, every order of magnitude as likely.
    fn gap(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (magnitude, part) = (self.0 >> 32 & 0xff, self.0 >> 40);
        (HOUR >> (magnitude % 32)) * (part % 1_000 + 1) / 1_000 + 1
    }
}
