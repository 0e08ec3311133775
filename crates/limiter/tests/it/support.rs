//! Policies, limiters and demands for tests, in few words.

use tidegate_core::{
    Algorithm, Demand, LimitDraft, OperationDraft, Policy, PolicyDraft, Quota, QuotaTree, Span, Timestamp,
};
use tidegate_limiter::{Limiter, ManualClock, Memory, MemoryOptions};

/// 2024-02-01T00:00:00 UTC: a whole minute, hour and day.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_706_745_600);

/// A limit of `amount` units a window of `secs` seconds, by fixed window, per the attribute `key`.
pub(crate) fn limit(name: &str, amount: u64, secs: u64) -> LimitDraft {
    LimitDraft {
        name: name.into(),
        per: vec![("key".into(), false)],
        quota: QuotaTree::Fixed(Quota::per(amount, Span::from_secs(secs))),
        ..LimitDraft::default()
    }
}

/// The same limit, counted in another way.
pub(crate) fn by(algorithm: Algorithm, limit: LimitDraft) -> LimitDraft {
    let QuotaTree::Fixed(quota) = limit.quota else { panic!("a fixed quota") };
    let window = if algorithm == Algorithm::Concurrency { Span::ZERO } else { quota.window };
    LimitDraft { algorithm, quota: QuotaTree::Fixed(Quota { window, ..quota }), ..limit }
}

/// A policy of these limits. Attributes `key`, `user` and `app`; units `messages` and `tokens`.
pub(crate) fn policy(limits: Vec<LimitDraft>) -> Policy {
    let draft = PolicyDraft {
        name: "test".into(),
        attributes: ["key", "user", "app"].map(String::from).into(),
        units: ["messages", "tokens"].map(String::from).into(),
        operations: vec![OperationDraft { name: "other".into(), ..OperationDraft::default() }],
        default_operation: "other".into(),
        limits,
        ..PolicyDraft::default()
    };
    Policy::freeze(&draft).expect("a policy that freezes")
}

/// A demand with these attributes.
pub(crate) fn demand<'a>(policy: &'a Policy, attributes: &[(&str, &'a str)]) -> Demand<'a> {
    let mut builder = Demand::on(policy);
    for (name, value) in attributes {
        builder.set(policy.attribute(name).expect("a known attribute"), value).expect("a short value");
    }
    builder.build()
}

/// A limiter on a memory store for `max_counters` counters, whose clock stands at [`START`].
pub(crate) fn limiter(max_counters: usize) -> Limiter<ManualClock, ()> {
    Limiter::new(Memory::new(MemoryOptions { max_counters }), ManualClock::at(START), ())
}

/// Numbers that look random and are the same in every run (SplitMix64).
#[derive(Default)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).expect("a short list")]
    }
}
