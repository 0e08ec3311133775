//! Whatever is in a state, a store or a disk may have put it there: nothing panics, and every answer makes sense.

use proptest::prelude::*;
use tidegate_core::{Timestamp, Wait, bounds, idle_at};

use crate::samples::{cases, rules};

proptest! {
    #![proptest_config(cases(4_000))]

    /// Any words, any instants, any amounts: no panic, no overflow (they are checked in tests), and I11's bounds.
    #[test]
    fn no_state_panics_i11(
        sample in rules(),
        words in prop::collection::vec(words(), bounds::MAX_CELLS as usize + 3),
        moves in prop::collection::vec((words(), words(), words(), 0_u8..4), 1..8),
    ) {
        let mut state = words;
        for (now, need, actual, kind) in moves {
            let at = Timestamp::from_micros(now);
            let status = sample.rule.peek(&state, need, at);
            prop_assert!(status.remaining <= sample.rule.limit());
            prop_assert_eq!(status.fits(), need <= status.remaining);
            let wait = if let Wait::For(span) = status.retry_after { span.as_micros() } else { 0 };
            // Past the year 38,000 an instant may saturate, and with it the wait.
            if now < 1 << 60 {
                prop_assert!(wait <= sample.longest_wait().saturating_add(1), "{:?}", status);
                let then = Timestamp::from_micros(now + wait);
                prop_assert!(wait == 0 || sample.rule.peek(&state, need, then).fits(), "{:?}", status);
            }
            match kind {
                0 => _ = sample.rule.charge(&mut state, need, at),
                1 => sample.rule.adjust(&mut state, need, actual, at, at),
                2 => sample.rule.adjust(&mut state, need, actual, Timestamp::from_micros(actual), at),
                _ if idle_at(&state) <= at => state.fill(0),
                _ => {}
            }
        }
    }
}

/// Words near what states hold, and words that are nothing of the kind.
fn words() -> impl Strategy<Value = u64> {
    let today = 1_706_774_400_000_000_u64;
    prop_oneof![
        2 => 0_u64..20,
        2 => today..today + 100_000_000,
        1 => (0_u32..64).prop_map(|bit| 1_u64 << bit),
        1 => (0_u64..4).prop_map(|less| u64::MAX - less),
        2 => any::<u64>(),
    ]
}
