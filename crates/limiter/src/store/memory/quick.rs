//! The common case: a demand on one to four counters of the smallest class, all of which exist.
//!
//! They are read without a lock, at one instant, and what each will be and say if it is charged is computed at once, before
//! anything is locked. If one refuses, or there is nothing to charge, nothing is changed. Else each bucket is locked if it
//! still has the version that was read, so that nothing need be read again. Under the locks there are only stores.
//!
//! All else (counters that do not exist, other classes, more charges, refused attempts that count, somebody else in a
//! bucket all the time) is left to `transaction.rs`, which decides the same.

use std::array;

use tidegate_core::{Basis, Charge, Charges, Mode, Statuses, Timestamp};

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
    /// Its state once it is charged; as it was, if it is not.
    charged: [u64; 2],
    becomes: Becomes,
}

/// What comes of a counter if the demand is admitted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// As it was: nothing is taken, or a shadow limit does not fit.
    Same,
    /// Charged.
    Charged,
    /// Charged after it was idle.
    Anew,
}

/// Decides a demand of `N` charges and says in `statuses` what came of it, unless this is not the common case.
#[inline]
pub(super) fn decide<const N: usize>(
    table: &Table,
    charges: Charges<'_>,
    sought: &[Sought; N],
    statuses: &mut Statuses,
    now: Timestamp,
) -> bool {
    if sought.iter().any(|sought| sought.class != Class::Small) {
        return false;
    }
    let charges: [Charge<'_>; N] = array::from_fn(|index| charges.charge(index));
    for _ in 0..TRIES {
        match attempt(table, &charges, sought, statuses, now) {
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
    /// A counter does not exist, or a refused attempt counts.
    Uncommon,
    /// Somebody changed a counter meanwhile.
    Disturbed,
}

#[inline]
fn attempt<const N: usize>(
    table: &Table,
    charges: &[Charge<'_>; N],
    sought: &[Sought; N],
    statuses: &mut Statuses,
    now: Timestamp,
) -> Attempt {
    let mut found = [Found::nowhere(table); N];
    for (found, sought) in found.iter_mut().zip(sought) {
        let Some(seen) = Found::look(table, sought) else { return Attempt::Uncommon };
        *found = seen;
    }
    if !found.iter().all(|found| found.bucket.is_still(found.version)) {
        return Attempt::Disturbed;
    }
    let (mut refuses, mut charges_any, mut counts_misfit) = (false, false, false);
    for (index, (found, charge)) in found.iter_mut().zip(charges).enumerate() {
        let status = charge.rule().spend(&mut found.charged, charge.need(), charge.take(), now);
        statuses.set(index, status, Basis::Counter);
        if !status.fits() {
            refuses |= charge.limit().mode() == Mode::Enforce;
            counts_misfit |= charge.counts_refused();
        } else if charge.take() > 0 {
            found.becomes = if found.state[0] <= now.as_micros() { Becomes::Anew } else { Becomes::Charged };
            charges_any = true;
        }
    }
    if counts_misfit || refuses && charges.iter().any(Charge::counts_refused) {
        return Attempt::Uncommon;
    }
    if refuses && charges_any {
        // Of what would have been charged, how it is.
        for (index, (found, charge)) in found.iter().zip(charges).enumerate() {
            if found.becomes != Becomes::Same {
                statuses.set(index, charge.rule().peek(&found.state, charge.need(), now), Basis::Counter);
            }
        }
    }
    if refuses || !charges_any {
        return Attempt::Decided;
    }
    if !write(&found) {
        return Attempt::Disturbed;
    }
    for (found, sought) in found.iter().zip(sought) {
        if found.becomes == Becomes::Anew {
            table.sweep_for_renewed(sought.tag, now);
        }
    }
    Attempt::Decided
}

/// Writes what was computed, if every bucket is as it was read; else nothing.
#[inline]
fn write<const N: usize>(found: &[Found<'_>; N]) -> bool {
    // In the order of the buckets, each once: its version is the same whoever read it.
    let mut order: [usize; N] = [0; N];
    let mut locks = 0;
    for (place, counter) in found.iter().enumerate() {
        if order[..locks].iter().any(|known| found[*known].index == counter.index) {
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
    for counter in found.iter().filter(|counter| counter.becomes != Becomes::Same) {
        counter.bucket.set_state(counter.slot, counter.charged);
    }
    order[..locks].iter().for_each(|place| found[*place].bucket.unlock_changed(found[*place].version));
    true
}

impl<'m> Found<'m> {
    /// The counter in the first of its buckets that has it, as far as one look tells.
    #[inline]
    fn look(table: &'m Table, sought: &Sought) -> Option<Found<'m>> {
        Found::look_in(table, sought.buckets[0], sought.tag)
            .or_else(|| Found::look_in(table, sought.buckets[1], sought.tag))
    }

    #[inline]
    fn look_in(table: &'m Table, index: usize, tag: u64) -> Option<Found<'m>> {
        let bucket = table.small_bucket(index);
        let version = bucket.version();
        let slot = bucket.find(tag)?;
        let state = bucket.state(slot);
        Some(Found { bucket, index, version, slot, state, charged: state, becomes: Becomes::Same })
    }

    /// What stands for a counter where none is looked at any more.
    fn nowhere(table: &'m Table) -> Found<'m> {
        let (bucket, version) = (table.small_bucket(0), Version::default());
        Found { bucket, index: 0, version, slot: 0, state: [0; 2], charged: [0; 2], becomes: Becomes::Same }
    }
}
