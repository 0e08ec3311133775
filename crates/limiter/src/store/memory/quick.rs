//! The common case: a demand on one to four counters of the smallest class, all of which exist.
//!
//! They are read without a lock, at one instant, and what each will be and say if it is charged is computed at once, before
//! anything is locked. If one refuses, or there is nothing to charge, nothing is changed. Else each bucket is locked if it
//! still has the version that was read, so that nothing need be read again. Under the locks there are only stores.
//!
//! All else (counters that do not exist, other classes, more charges, refused attempts that count, somebody else in a
//! bucket all the time) is left to `transaction.rs`, which decides the same.

use tidegate_core::{Basis, Charges, Mode, Statuses, Timestamp};

use super::bucket::{Class, Version};
use super::table::Table;
use super::transaction::Sought;

/// How often this is tried before counters are locked to be read. Each failure means that somebody else has charged one.
const TRIES: usize = 4;

/// Counters that were found, and what they will be. Each number in a row of its own, so that it goes there from a register:
/// what is copied in one piece right after it was written in several is waited for.
struct Found<const N: usize> {
    buckets: [usize; N],
    versions: [Version; N],
    slots: [usize; N],
    states: [[u64; 2]; N],
    /// Their states once they are charged; as they were, where they are not.
    charged: [[u64; 2]; N],
    becomes: [Becomes; N],
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
    for _ in 0..TRIES {
        match attempt(table, charges, sought, statuses, now) {
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
    charges: Charges<'_>,
    sought: &[Sought; N],
    statuses: &mut Statuses,
    now: Timestamp,
) -> Attempt {
    let Some(mut found) = Found::look(table, sought) else { return Attempt::Uncommon };
    if !found.is_still_so(table) {
        return Attempt::Disturbed;
    }
    let (mut refuses, mut charges_any, mut counts_refused, mut counts_misfit) = (false, false, false, false);
    for index in 0..N {
        let charge = charges.charge(index);
        let (state, charged) = (&found.states[index], &mut found.charged[index]);
        let status = charge.rule().spend(charged, charge.need(), charge.take(), now);
        statuses.set(index, status, Basis::Counter);
        counts_refused |= charge.counts_refused();
        if !status.fits() {
            refuses |= charge.limit().mode() == Mode::Enforce;
            counts_misfit |= charge.counts_refused();
        } else if charge.take() > 0 {
            found.becomes[index] = if state[0] <= now.as_micros() { Becomes::Anew } else { Becomes::Charged };
            charges_any = true;
        }
    }
    if counts_misfit || refuses && counts_refused {
        return Attempt::Uncommon;
    }
    if refuses && charges_any {
        // Of what would have been charged, how it is.
        for index in (0..N).filter(|index| found.becomes[*index] != Becomes::Same) {
            let charge = charges.charge(index);
            statuses.set(index, charge.rule().peek(&found.states[index], charge.need(), now), Basis::Counter);
        }
    }
    if refuses || !charges_any {
        return Attempt::Decided;
    }
    if !found.write(table) {
        return Attempt::Disturbed;
    }
    for (becomes, sought) in found.becomes.iter().zip(sought) {
        if *becomes == Becomes::Anew {
            table.sweep_for_renewed(sought.tag, now);
        }
    }
    Attempt::Decided
}

impl<const N: usize> Found<N> {
    /// Each counter in the first of its buckets that has it, as far as one look tells; `None` if one is in neither.
    #[inline]
    fn look(table: &Table, sought: &[Sought; N]) -> Option<Found<N>> {
        let mut found = Found {
            buckets: [0; N],
            versions: [Version::default(); N],
            slots: [0; N],
            states: [[0; 2]; N],
            charged: [[0; 2]; N],
            becomes: [Becomes::Same; N],
        };
        for (index, sought) in sought.iter().enumerate() {
            let mut bucket = sought.bucket;
            let mut seen = look_in(table, bucket, sought.tag);
            if seen.is_none() {
                bucket = table.alternate(bucket, sought.tag);
                seen = look_in(table, bucket, sought.tag);
            }
            let (version, slot) = seen?;
            let [idle_at, used] = table.small_bucket(bucket).state(slot);
            (found.buckets[index], found.versions[index], found.slots[index]) = (bucket, version, slot);
            for state in [&mut found.states[index], &mut found.charged[index]] {
                (state[0], state[1]) = (idle_at, used);
            }
        }
        Some(found)
    }

    /// Whether what was read belongs together.
    #[inline]
    fn is_still_so(&self, table: &Table) -> bool {
        self.buckets.iter().zip(&self.versions).all(|(bucket, version)| table.small_bucket(*bucket).is_still(*version))
    }

    /// Writes what was computed, if every bucket is as it was read; else nothing.
    #[inline]
    fn write(&self, table: &Table) -> bool {
        // In the order of the buckets, each once: its version is the same whoever read it.
        let mut order: [usize; N] = [0; N];
        let mut locks = 0;
        for (place, bucket) in self.buckets.iter().enumerate() {
            if order[..locks].iter().any(|known| self.buckets[*known] == *bucket) {
                continue;
            }
            let mut at = locks;
            while at > 0 && self.buckets[order[at - 1]] > *bucket {
                order[at] = order[at - 1];
                at -= 1;
            }
            order[at] = place;
            locks += 1;
        }
        let bucket = |place: usize| (table.small_bucket(self.buckets[place]), self.versions[place]);
        for taken in 0..locks {
            let (next, version) = bucket(order[taken]);
            if !next.lock_if_still(version) {
                for (known, version) in order[..taken].iter().map(|place| bucket(*place)) {
                    known.unlock_unchanged(version);
                }
                return false;
            }
        }
        for place in (0..N).filter(|place| self.becomes[*place] != Becomes::Same) {
            bucket(place).0.set_state(self.slots[place], self.charged[place]);
        }
        for (locked, version) in order[..locks].iter().map(|place| bucket(*place)) {
            locked.unlock_changed(version);
        }
        true
    }
}

/// The version of a bucket, and the slot in which it has the counter, if it has.
#[inline]
fn look_in(table: &Table, bucket: usize, tag: u64) -> Option<(Version, usize)> {
    let bucket = table.small_bucket(bucket);
    let version = bucket.version();
    Some((version, bucket.find(tag)?))
}
