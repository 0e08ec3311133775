//! The common case: a demand on a few counters of the smallest class, all of which exist.
//!
//! They are read without a lock, at one instant. If that refuses, or there is nothing to charge, that is the answer. If
//! it admits, what the counters will say is computed before anything is locked; then each bucket is locked if it still
//! has the version that was read, so that nothing need be read again. Under the locks there are only stores.
//!
//! All else (counters that do not exist, other classes, more charges, somebody else in a bucket all the time) is left to
//! `transaction.rs`, which decides the same.

use tidegate_core::{Basis, Charges, Statuses, Timestamp, Verdict};

use super::bucket::{Bucket, Class, Version};
use super::table::Table;
use super::transaction::Sought;

/// How often this is tried before counters are locked to be read. Each failure means that somebody else has charged one.
const TRIES: usize = 4;

/// A counter that was found, and what it will be.
#[derive(Clone, Copy)]
struct Found<'m> {
    bucket: Bucket<'m>,
    index: usize,
    version: Version,
    slot: usize,
    state: [u64; 2],
    is_charged: bool,
    begins_anew: bool,
}

/// Decides a demand of 1 to `N` charges and says in `statuses` what came of it, unless this is not the common case.
#[inline]
pub(super) fn decide<const N: usize>(
    table: &Table,
    charges: Charges<'_>,
    sought: &[Sought],
    statuses: &mut Statuses,
    now: Timestamp,
) -> bool {
    if sought.iter().any(|sought| sought.class != Class::Small) {
        return false;
    }
    for _ in 0..TRIES {
        match attempt::<N>(table, charges, sought, statuses, now) {
            Attempt::Decided => return true,
            Attempt::Uncommon => return false,
            Attempt::Disturbed => {}
        }
    }
    false
}

enum Attempt {
    /// The statuses are the answer.
    Decided,
    /// A counter does not exist.
    Uncommon,
    /// Somebody changed a counter meanwhile.
    Disturbed,
}

#[inline]
fn attempt<const N: usize>(
    table: &Table,
    charges: Charges<'_>,
    sought: &[Sought],
    statuses: &mut Statuses,
    now: Timestamp,
) -> Attempt {
    let mut found: [Found<'_>; N] = [Found::nothing(table); N];
    for ((found, sought), (charge, index)) in found.iter_mut().zip(sought).zip(charges.iter().zip(0..)) {
        let Some(counter) = Found::look(table, sought) else { return Attempt::Uncommon };
        if !counter.bucket.is_still(counter.version) {
            return Attempt::Disturbed;
        }
        statuses.set(index, charge.rule().peek(&counter.state, charge.need(), now), Basis::Counter);
        *found = counter;
    }
    let found = &mut found[..sought.len()];
    if N > 1 && !found.iter().all(|found| found.bucket.is_still(found.version)) {
        return Attempt::Disturbed;
    }
    if statuses.verdict(charges) == Verdict::Refused {
        return Attempt::Decided;
    }
    // Whether an admitted demand charges this: enforced limits all fit then, shadow limits need not.
    let mut is_any_charged = false;
    for (found, (charge, index)) in found.iter_mut().zip(charges.iter().zip(0..)) {
        found.is_charged = charge.take() > 0 && statuses.status(index).fits();
        is_any_charged |= found.is_charged;
    }
    if !is_any_charged {
        return Attempt::Decided;
    }
    for (found, (charge, index)) in found.iter_mut().zip(charges.iter().zip(0..)) {
        if found.is_charged {
            found.begins_anew = found.state[0] <= now.as_micros();
            statuses.set(index, charge.rule().charge(&mut found.state, charge.take(), now), Basis::Counter);
        }
    }
    if !write::<N>(found) {
        return Attempt::Disturbed;
    }
    for (found, sought) in found.iter().zip(sought).filter(|(found, _)| found.begins_anew) {
        debug_assert!(found.is_charged);
        table.sweep_for_renewed(sought.tag, now);
    }
    Attempt::Decided
}

/// Writes what was computed, if every bucket is as it was read; else nothing.
#[inline]
fn write<const N: usize>(found: &[Found<'_>]) -> bool {
    let mut order: [usize; N] = [0; N];
    let mut locks = 0;
    for (place, counter) in found.iter().enumerate() {
        // In the order of the buckets, each once: its version is the same whoever read it.
        let same = |at: &usize| found[*at].index == counter.index;
        if N > 1 && order[..locks].iter().any(same) {
            continue;
        }
        let mut at = locks;
        while at > 0 && found[order[at - 1]].index > counter.index {
            order[at] = order[at - 1];
            at -= 1;
        }
        order[at] = place;
        locks += 1;
    }
    for taken in 0..locks {
        let Found { bucket, version, .. } = found[order[taken]];
        if !bucket.lock_if_still(version) {
            order[..taken].iter().for_each(|place| found[*place].bucket.unlock_unchanged(found[*place].version));
            return false;
        }
    }
    for counter in found.iter().filter(|counter| counter.is_charged) {
        counter.bucket.set_state(counter.slot, counter.state);
    }
    order[..locks].iter().for_each(|place| found[*place].bucket.unlock_changed(found[*place].version));
    true
}

impl<'m> Found<'m> {
    #[inline]
    fn nothing(table: &'m Table) -> Found<'m> {
        let (bucket, version) = (table.small_bucket(0), Version::default());
        Found { bucket, index: 0, version, slot: 0, state: [0; 2], is_charged: false, begins_anew: false }
    }

    /// The counter in the first of its buckets that has it, as far as one look tells.
    #[inline]
    fn look(table: &'m Table, sought: &Sought) -> Option<Found<'m>> {
        sought.buckets.into_iter().find_map(|index| {
            let bucket = table.small_bucket(index);
            let version = bucket.version();
            let slot = bucket.find(sought.tag)?;
            let state = bucket.state(slot);
            Some(Found { bucket, index, version, slot, state, is_charged: false, begins_anew: false })
        })
    }
}
