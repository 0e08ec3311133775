//! Counters that are written down at their ceilings: a crash at any moment forgets no use that anything was done on the
//! strength of, and makes little of what was not used count as used (I20, I21).

#![expect(clippy::cast_possible_truncation, reason = "shares of a limit are no larger than the limit")]

use proptest::prelude::*;
use tidegate_core::{Algorithm, Cover, Needs, Rule, Timestamp};

use crate::samples::{Sample, cases, windowed_rules};

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// So many microseconds pass, then this share of the limit, in 1/256, is charged if it fits.
    Charge { wait: u64, share: u64 },
    /// The last charge is settled to this share of what it was, in 1/256.
    Settle { share: u64 },
    /// The disk keeps so many of what was written, in order.
    Keep { writes: usize },
}

/// A counter beside what of it was written, and what of that is kept.
struct Desk {
    rule: Rule,
    state: Vec<u64>,
    now: Timestamp,
    last: Option<(u64, Timestamp)>,
    written: Vec<Vec<u64>>,
    kept: usize,
    former: usize,
    latest: usize,
    /// The states that something was done on the strength of, in order.
    relied_on: Vec<Vec<u64>>,
    waiting: Vec<(usize, Vec<u64>)>,
}

impl Desk {
    fn new(sample: &Sample) -> Desk {
        let state = sample.fresh();
        Desk {
            rule: sample.rule,
            now: Timestamp::from_secs(1_706_745_600),
            written: vec![state.clone()],
            relied_on: vec![state.clone()],
            state,
            last: None,
            kept: 1,
            former: 1,
            latest: 1,
            waiting: Vec::new(),
        }
    }

    /// As a store does: what changed is written if need be, and what was charged waits for its ceiling.
    fn changed(&mut self, before: &[u64]) {
        match self.rule.cover(before, &self.state) {
            Cover::Holds => return,
            Cover::Ahead => self.former = self.latest,
            Cover::Now => self.former = self.written.len() + 1,
        }
        let mut raised = self.state.clone();
        self.rule.raise(&mut raised);
        self.written.push(raised);
        self.latest = self.written.len();
    }

    fn take(&mut self, event: &Event) {
        let before = self.state.clone();
        match *event {
            Event::Charge { wait, share } => {
                self.now = Timestamp::from_micros(self.now.as_micros() + wait);
                let take = (u128::from(self.rule.limit()) * u128::from(share) / 256).max(1) as u64;
                if !self.rule.peek(&self.state, take, self.now).fits() {
                    return;
                }
                self.rule.charge(&mut self.state, take, self.now);
                self.last = Some((take, self.now));
            }
            Event::Settle { share } => {
                let Some((taken, at)) = self.last.take() else { return };
                let actual = (u128::from(taken) * u128::from(share) / 128) as u64;
                self.rule.adjust(&mut self.state, taken, actual, at, self.now);
            }
            Event::Keep { writes } => {
                self.kept = self.written.len().min(self.kept + writes);
                let (kept, waiting) = (self.kept, std::mem::take(&mut self.waiting));
                let (done, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(needed, _)| *needed <= kept);
                self.relied_on.extend(done.into_iter().map(|(_, state)| state));
                self.waiting = still;
                return;
            }
        }
        self.changed(&before);
        let needed = match self.rule.needs(&self.state) {
            Needs::Former => self.former,
            Needs::Latest => self.latest,
        };
        if needed <= self.kept {
            self.relied_on.push(self.state.clone());
        } else {
            self.waiting.push((needed, self.state.clone()));
        }
    }

    fn remaining(&self, state: &[u64]) -> u64 {
        self.rule.peek(state, 0, self.now).remaining
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let wait = prop_oneof![4 => Just(0), 4 => 0..1_000_000_u64, 1 => 0..200_000_000_u64];
    let share = prop_oneof![4 => Just(0), 4 => 0..20_u64, 1 => 0..257_u64];
    let event = prop_oneof![
        6 => (wait, share).prop_map(|(wait, share)| Event::Charge { wait, share }),
        3 => (0..5_usize).prop_map(|writes| Event::Keep { writes }),
    ];
    proptest::collection::vec(event, 1..80)
}

fn outliving() -> impl Strategy<Value = Sample> {
    windowed_rules().prop_filter("of a minute or longer", |sample| sample.rule.outlives() && sample.quota.amount > 0)
}

proptest! {
    #![proptest_config(cases(3_000))]

    /// Charges alone: after a crash no more is left than was left when anything was last done, at any later instant.
    #[test]
    fn what_was_relied_on_is_not_forgotten(sample in outliving(), events in events(), later in 0..200_000_000_u64) {
        let mut desk = Desk::new(&sample);
        for event in &events {
            desk.take(event);
            let recovered = &desk.written[desk.kept - 1];
            let relied_on = desk.relied_on.last().expect("the fresh one");
            for instant in [desk.now, Timestamp::from_micros(desk.now.as_micros() + later)] {
                let [found, known] = [recovered, relied_on].map(|state| desk.rule.peek(state, 0, instant).remaining);
                prop_assert!(found <= known, "{found} are left after a crash, {known} were: {recovered:?} {relied_on:?}");
            }
        }
    }

    /// Once all that was written is kept, a crash costs no more than is said.
    #[test]
    fn a_crash_costs_little(sample in outliving(), events in events()) {
        let mut desk = Desk::new(&sample);
        for event in &events {
            desk.take(event);
            let recovered = desk.written.last().expect("the fresh one");
            let lost = desk.remaining(&desk.state) - desk.remaining(recovered).min(desk.remaining(&desk.state));
            let used = match sample.algorithm {
                Algorithm::FixedWindow => desk.state[1],
                _ => sample.rule.limit() - desk.remaining(&desk.state),
            };
            prop_assert!(lost <= desk.rule.most_lost(used), "{lost} lost of {used}, {}", desk.rule.most_lost(used));
        }
    }

    /// Settling, up and down, beside: with all that was written kept, nothing that is used is forgotten.
    #[test]
    fn what_is_settled_is_not_forgotten(
        sample in outliving(),
        events in proptest::collection::vec(prop_oneof![
            3 => events().prop_map(|events| events[0].clone()),
            2 => (0..256_u64).prop_map(|share| Event::Settle { share }),
        ], 1..60),
    ) {
        let mut desk = Desk::new(&sample);
        for event in &events {
            desk.take(event);
            let recovered = desk.written.last().expect("the fresh one");
            prop_assert!(desk.remaining(recovered) <= desk.remaining(&desk.state));
        }
    }
}

#[test]
fn a_hot_counter_is_written_rarely() {
    let rule =
        Rule::new(Algorithm::FixedWindow, tidegate_core::Quota::per(1_000_000, tidegate_core::Span::from_secs(3_600)))
            .unwrap();
    let (mut state, mut writes, mut waits) = (vec![0; 2], 0, 0);
    for _ in 0..1_000_000 {
        let before = state.clone();
        rule.charge(&mut state, 1, Timestamp::from_secs(1_706_745_600));
        let cover = rule.cover(&before, &state);
        writes += u32::from(cover != Cover::Holds);
        waits += u32::from(cover == Cover::Now);
    }
    assert!(writes < 200 && waits < 20, "{writes} writes, {waits} of them above all before");
}
