//! One demand over several counters: all of them are charged, or none.
//!
//! First by loads alone: every counter is read, then it is checked that no bucket that was read has changed meanwhile.
//! So all of them were read at one instant. If an enforced limit refuses there and none counts refused attempts, or there
//! is nothing to charge, that is the answer; nothing was locked, written or allocated.
//!
//! Otherwise the buckets involved are locked, in the order of their addresses and each once, so that no two demands can
//! wait for each other. If they still have the versions that were read, what was read still holds; if not, the counters
//! are read again, and the verdict is made again. Then all charges are written, and the locks given back. A demand is
//! so decided at one instant between taking the last lock and giving back the first, and readers see all of it or
//! nothing: a bucket that is being written is locked, and afterwards has another version.
//!
//! Under a lock there is only arithmetic on the stack. Should it panic all the same, the guard gives the locks back.

use std::ops::Range;

use tidegate_core::{Algorithm, Basis, Charge, Charges, Key, Part, Purpose, Status, Statuses, Timestamp, Wait};

use super::Memory;
use super::bucket::{Bucket, Class, LARGEST_STATE, Version};
use super::marker::{self, Marker};
use super::table::{Seat, Table};
use crate::receipt::Entry;

/// How often a demand tries to read its counters at one instant before it locks them. Each failure means that somebody
/// else has charged one.
const READS: usize = 4;

/// How often room is made for new counters of one demand. What was made may be taken by somebody else.
const ROOM_TRIES: usize = 4;

/// The state of a counter that does not exist.
const FRESH: [u64; LARGEST_STATE] = [0; LARGEST_STATE];

/// One demand being decided; `N` is at least the number of its charges and markers.
struct Transaction<'m, 'c, const N: usize> {
    charges: Charges<'c>,
    markers: &'c [Marker],
    now: Timestamp,
    /// Where the counters of all charges are, then all markers.
    places: [Place<'m>; N],
    statuses: &'c mut Statuses,
    /// Whether `statuses` is what all counters said at one instant, in the versions that `places` has.
    is_read: bool,
    /// There was no room for this counter or marker.
    is_full: [bool; N],
}

/// What came of an attempt under locks.
enum Outcome {
    /// The statuses are the answer.
    Decided,
    /// A counter has moved to a bucket that was not locked.
    Moved,
    /// There is no room for the counter or marker at this place.
    NoRoom(usize),
}

/// A counter or marker, before it was looked at.
#[derive(Clone, Copy)]
pub(super) struct Sought {
    pub(super) class: Class,
    pub(super) tag: u64,
    /// The bucket that it prefers. Where else it may stand is worked out when it is not there.
    pub(super) bucket: usize,
}

impl Sought {
    /// Room for one.
    pub(super) const NOTHING: Sought = Sought { class: Class::Small, tag: 0, bucket: 0 };

    #[inline]
    pub(super) fn of(memory: &Memory, charge: &Charge<'_>) -> Sought {
        let (class, counter) = (Class::of(charge.rule()), memory.fingerprint(charge));
        Sought { class, tag: counter.tag, bucket: memory.table(class).preferred_bucket(counter) }
    }

    pub(super) fn marker(memory: &Memory, key: Key<'_>) -> Sought {
        let marker = memory.fingerprinter.fingerprint(key);
        Sought { class: Class::Small, tag: marker.tag, bucket: memory.small.preferred_bucket(marker) }
    }
}

/// Decides a demand of 1 to `N` charges and markers and says in `statuses` what came of it. The counters of all charges are
/// `sought`, then all markers.
#[inline(never)] // Each in a stack frame of its own size.
pub(super) fn decide<const N: usize>(
    memory: &Memory,
    charges: Charges<'_>,
    sought: &[Sought],
    markers: &[Marker],
    statuses: &mut Statuses,
    now: Timestamp,
) {
    let first = Place::sought(memory, &sought[0]);
    let (places, is_full) = ([first; N], [false; N]);
    let mut demand = Transaction { charges, markers, now, places, statuses, is_read: false, is_full };
    for (place, sought) in demand.places.iter_mut().zip(sought).skip(1) {
        *place = Place::sought(memory, sought);
    }
    demand.decide();
}

impl<'m, 'c, const N: usize> Transaction<'m, 'c, N> {
    fn decide(&mut self) {
        self.is_read = (0..READS).any(|_| self.read().is_some());
        if self.is_read && self.would_owe() {
            self.refuse_what_has_no_room();
        }
        if !self.is_read || self.takes_any() {
            self.lock_and_decide();
        }
    }

    /// Whether anything is charged, as the statuses are now.
    #[inline]
    fn takes_any(&self) -> bool {
        let verdict = self.statuses.verdict(self.charges);
        self.charges.iter().zip(0..).any(|(charge, index)| self.statuses.part(index, &charge, verdict) != Part::Nothing)
    }

    /// Reads all counters at one instant; `None` if somebody was changing one of them.
    #[inline]
    fn read(&mut self) -> Option<()> {
        for (charge, index) in self.charges.iter().zip(0..) {
            let status = self.places[index].read(&charge, self.now)?;
            self.statuses.set(index, status, Basis::Counter);
        }
        for index in self.charges.len()..self.count() {
            _ = self.places[index].find();
        }
        self.note_seen();
        self.places[..self.count()].iter().all(Place::is_as_read).then_some(())
    }

    /// How many counters and markers there are.
    #[inline]
    fn count(&self) -> usize {
        self.charges.len() + self.markers.len()
    }

    /// The charge that the counter or marker at a place belongs to.
    #[inline]
    fn charge_at(&self, index: usize) -> usize {
        index.checked_sub(self.charges.len()).map_or(index, |marker| self.markers[marker].charge)
    }

    /// Sets the statuses of values that were counted before, by the statuses of their counters.
    #[inline]
    fn note_seen(&mut self) {
        for (marker, place) in self.markers.iter().zip(&self.places[self.charges.len()..]) {
            let status = self.statuses.status(marker.charge);
            let window = status.window_end(self.now);
            if window.is_some() && place.marked_in() == window {
                self.statuses.set(marker.charge, status.of_nothing(), Basis::Seen);
            }
        }
    }

    /// Whether a counter that does not exist will be charged later, when the cost is known.
    #[inline]
    fn would_owe(&self) -> bool {
        self.charges
            .iter()
            .zip(&self.places)
            .any(|(charge, place)| place.seen == Seen::Nowhere && self.is_owed(&charge))
    }

    #[inline]
    fn is_owed(&self, charge: &Charge<'_>) -> bool {
        charge.take() == 0
            && charge.need() > 0
            && charge.rule().algorithm() != Algorithm::Concurrency
            && self.charges.demand().purpose() != Purpose::Peek
    }

    /// Refuses costs that could not be settled, because there is no room for their counters. Room that is there now may be
    /// gone when they are: such a cost is counted by [`Memory::unsettled`].
    fn refuse_what_has_no_room(&mut self) {
        for (charge, index) in self.charges.iter().zip(0..) {
            let place = &self.places[index];
            let is_new = place.seen == Seen::Nowhere;
            self.is_full[index] = is_new && self.is_owed(&charge) && !place.table.could_take(place.buckets, self.now);
        }
        self.note_full();
    }

    fn lock_and_decide(&mut self) {
        let mut scope = if self.is_read { Scope::WhereSeen } else { Scope::Both };
        let mut tries = 0;
        loop {
            match self.attempt(scope) {
                Outcome::Decided => return,
                Outcome::Moved => scope = Scope::Both,
                Outcome::NoRoom(index) => {
                    let place = &self.places[index];
                    tries += 1;
                    self.is_full[index] = tries > ROOM_TRIES || !place.table.make_room(place.buckets, self.now);
                }
            }
        }
    }

    #[inline]
    fn attempt(&mut self, scope: Scope) -> Outcome {
        let mut locks = Locks::<N>::take(&self.places[..self.count()], scope);
        if !(self.is_read && locks.are_as_read) && self.look(scope).is_none() {
            return Outcome::Moved;
        }
        self.note_full();
        let verdict = self.statuses.verdict(self.charges);
        let mut parts = [Part::Nothing; N];
        for (charge, index) in self.charges.iter().zip(0..) {
            parts[index] = self.statuses.part(index, &charge, verdict);
        }
        if parts.iter().all(|part| *part == Part::Nothing) {
            return Outcome::Decided;
        }
        let mut begins = match self.claim_seats(&parts) {
            Ok(begins) => begins,
            Err(index) => return Outcome::NoRoom(index),
        };
        locks.are_changed = true;
        for (charge, index) in self.charges.iter().zip(0..) {
            if parts[index] != Part::Nothing {
                let status = self.places[index].charge(&charge, parts[index], &mut begins[index], self.now);
                let status = if self.mark(index, status, &mut begins) { status.of_nothing() } else { status };
                self.statuses.set(index, status, Basis::Counter);
            }
        }
        drop(locks);
        for (place, begins) in self.places.iter().zip(begins) {
            match begins {
                Begins::Not => {}
                Begins::Anew => place.table.sweep_for_renewed(place.tag, self.now),
                Begins::New => place.table.sweep_for_new(self.now),
            }
        }
        Outcome::Decided
    }

    /// Finds and reads all counters and markers, under locks.
    fn look(&mut self, scope: Scope) -> Option<()> {
        for index in 0..self.count() {
            self.places[index].look(scope)?;
        }
        for (charge, index) in self.charges.iter().zip(0..) {
            self.statuses.set(index, self.places[index].peek(&charge, self.now), Basis::Counter);
        }
        self.note_seen();
        Some(())
    }

    /// Marks the value that the charge at `index`, just made, has counted, if it counts values: in the window that it was
    /// counted in, which may be another than was looked at. From then on the value fits, also if the demand was refused.
    #[inline]
    fn mark(&self, index: usize, status: Status, begins: &mut [Begins; N]) -> bool {
        let Some(marker) = self.markers.iter().position(|marker| marker.charge == index) else { return false };
        let place = self.charges.len() + marker;
        let end = self.now.plus(status.reset_after);
        self.places[place].update::<2, _>(&mut begins[place], self.now, |state, _| {
            state.copy_from_slice(&marker::counted(end));
        });
        true
    }

    /// Sets the statuses of counters for which no room was found, theirs or a marker's, unless somebody else has created
    /// them.
    fn note_full(&mut self) {
        for index in (0..self.count()).filter(|index| self.is_full[*index]) {
            let place = &self.places[index];
            if place.seen == Seen::Nowhere {
                let wait = place.table.wait_for_room(place.buckets, self.now);
                let charge = self.charge_at(index);
                self.statuses.set_without_room(charge, &self.charges.charge(charge), wait);
            }
        }
    }

    /// Claims slots for the counters and markers that do not exist yet and says which these are, or for which there is none.
    #[inline]
    fn claim_seats(&mut self, parts: &[Part; N]) -> Result<[Begins; N], usize> {
        let mut begins = [Begins::Not; N];
        for index in 0..self.count() {
            if self.places[index].seen != Seen::Nowhere || parts[self.charge_at(index)] == Part::Nothing {
                continue;
            }
            let Some(seen) = self.claim_seat(index) else {
                self.give_back(begins);
                return Err(index);
            };
            self.places[index].seen = seen;
            begins[index] = Begins::New;
        }
        Ok(begins)
    }

    fn claim_seat(&self, index: usize) -> Option<Seen> {
        let place = &self.places[index];
        let is_ours = |seat: Seat| {
            let others = self.places[..self.count()].iter();
            others.filter(|other| std::ptr::eq(other.table, place.table)).any(|other| other.seat() == Some(seat))
        };
        (0..2).find_map(|side| {
            let seat = place.table.claim(place.buckets[side], self.now, is_ours)?;
            Some(Seen::In { side, slot: seat.slot })
        })
    }

    fn give_back(&mut self, begins: [Begins; N]) {
        for (place, _) in self.places.iter_mut().zip(begins).filter(|(_, begins)| *begins == Begins::New) {
            place.seat().into_iter().for_each(|seat| place.table.give_back(seat));
            place.seen = Seen::Nowhere;
        }
    }
}

/// The counter would be a new one, and there is no room.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoRoom;

/// Replaces what was charged to one counter by the `actual` amount. Creates the counter if need be.
pub(super) fn adjust(table: &Table, entry: &Entry, actual: u64, now: Timestamp) -> Result<(), NoRoom> {
    let mut place = Place::of(table, entry.counter.tag, table.buckets_of(entry.counter));
    for _ in 0..=ROOM_TRIES {
        let done = match table.class() {
            Class::Small => place.adjust::<2>(entry, actual, now),
            Class::Medium => place.adjust::<16>(entry, actual, now),
            Class::Large => place.adjust::<LARGEST_STATE>(entry, actual, now),
        };
        if done.is_ok() {
            return Ok(());
        }
        if !table.make_room(place.buckets, now) {
            break;
        }
    }
    Err(NoRoom)
}

/// One counter of a demand, and where it was seen.
#[derive(Clone, Copy)]
struct Place<'m> {
    table: &'m Table,
    tag: u64,
    buckets: [usize; 2],
    versions: [Version; 2],
    seen: Seen,
}

/// Where a counter stands, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// In this slot of its first or second bucket.
    In { side: usize, slot: usize },
    /// In neither bucket.
    Nowhere,
}

/// Whether a counter begins with a charge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// It has been counting, or is not charged.
    Not,
    /// It was idle, in its own slot.
    Anew,
    /// It is new.
    New,
}

/// Which buckets are locked for a counter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The one in which it was seen; both if it was seen in neither.
    WhereSeen,
    /// Both.
    Both,
}

impl<'m> Place<'m> {
    #[inline]
    fn sought(memory: &'m Memory, sought: &Sought) -> Place<'m> {
        let table = memory.table(sought.class);
        Place::of(table, sought.tag, [sought.bucket, table.alternate(sought.bucket, sought.tag)])
    }

    #[inline]
    fn of(table: &'m Table, tag: u64, buckets: [usize; 2]) -> Place<'m> {
        Place { table, tag, buckets, versions: [Version::default(); 2], seen: Seen::Nowhere }
    }

    #[inline]
    fn bucket(&self, side: usize) -> Bucket<'m> {
        self.table.bucket(self.buckets[side])
    }

    fn seat(&self) -> Option<Seat> {
        match self.seen {
            Seen::In { side, slot } => Some(Seat { bucket: self.buckets[side], slot }),
            Seen::Nowhere => None,
        }
    }

    /// Finds the counter and says how it answers `charge`, without a lock; `None` if it was being changed.
    #[inline]
    fn read(&mut self, charge: &Charge<'_>, now: Timestamp) -> Option<Status> {
        let Some((bucket, version, slot)) = self.find() else { return Some(self.peek(charge, now)) };
        match self.table.class() {
            Class::Small => peek_unlocked::<2>(bucket, slot, version, charge, now),
            Class::Medium => peek_unlocked::<16>(bucket, slot, version, charge, now),
            Class::Large => peek_unlocked::<LARGEST_STATE>(bucket, slot, version, charge, now),
        }
    }

    /// Finds the counter or marker without a lock, and notes in which versions of its buckets.
    #[inline]
    fn find(&mut self) -> Option<(Bucket<'m>, Version, usize)> {
        for side in 0..2 {
            let bucket = self.bucket(side);
            let version = bucket.version();
            self.versions[side] = version;
            if let Some(slot) = bucket.find(self.tag) {
                self.seen = Seen::In { side, slot };
                return Some((bucket, version, slot));
            }
        }
        self.seen = Seen::Nowhere;
        None
    }

    /// The end of the window in which a marker's value was counted last, where that was seen. What is read without a lock
    /// holds if the bucket is still as it was.
    #[inline]
    fn marked_in(&self) -> Option<Timestamp> {
        let seat = self.seat()?;
        Some(Timestamp::from_micros(self.table.bucket(seat.bucket).idle_at(seat.slot)))
    }

    /// Whether the buckets that `read` relied on are as they were.
    #[inline]
    fn is_as_read(&self) -> bool {
        self.sides(Scope::WhereSeen).all(|side| self.bucket(side).is_still(self.versions[side]))
    }

    /// Finds the counter in the buckets that `scope` locks; `None` if it may be in one that is not locked.
    fn look(&mut self, scope: Scope) -> Option<()> {
        let sides = self.sides(scope);
        let both = sides.len() == 2;
        let found = sides.into_iter().find_map(|side| self.bucket(side).find(self.tag).map(|slot| (side, slot)));
        self.seen = match found {
            Some((side, slot)) => Seen::In { side, slot },
            None if both => Seen::Nowhere,
            None => return None,
        };
        Some(())
    }

    /// Which of the two buckets `scope` is about.
    #[inline]
    fn sides(&self, scope: Scope) -> Range<usize> {
        match (scope, self.seen) {
            (Scope::WhereSeen, Seen::In { side, .. }) => side..side + 1,
            _ => 0..2,
        }
    }

    /// How the counter answers `charge`. The caller holds its lock, unless the counter does not exist.
    fn peek(&self, charge: &Charge<'_>, now: Timestamp) -> Status {
        let Seen::In { side, slot } = self.seen else {
            let counts_as = self.table.now_for_fresh(now);
            return seen_from(now, counts_as, charge.rule().peek(&FRESH, charge.need(), counts_as));
        };
        let (rule, bucket) = (charge.rule(), self.bucket(side));
        match self.table.class() {
            Class::Small => rule.peek(&bucket.state::<2>(slot), charge.need(), now),
            Class::Medium => rule.peek(&bucket.state::<16>(slot), charge.need(), now),
            Class::Large => rule.peek(&bucket.state::<LARGEST_STATE>(slot), charge.need(), now),
        }
    }

    /// Charges the counter and notes whether it began anew. The caller holds its lock.
    #[inline]
    fn charge(&self, charge: &Charge<'_>, part: Part, begins: &mut Begins, now: Timestamp) -> Status {
        let counting = |state: &mut [u64], counts_as| {
            let status = match part {
                Part::Left => charge.rule().charge_left(state, charge.take(), counts_as),
                _ => charge.rule().charge(state, charge.take(), counts_as),
            };
            seen_from(now, counts_as, status)
        };
        match self.table.class() {
            Class::Small => self.update::<2, _>(begins, now, counting),
            Class::Medium => self.update::<16, _>(begins, now, counting),
            Class::Large => self.update::<LARGEST_STATE, _>(begins, now, counting),
        }
    }

    /// Changes the state in the counter's slot, which was another counter's if it is new.
    #[inline]
    fn update<const WORDS: usize, T>(
        &self,
        begins: &mut Begins,
        now: Timestamp,
        change: impl FnOnce(&mut [u64], Timestamp) -> T,
    ) -> T {
        let Seen::In { side, slot } = self.seen else { unreachable!("a counter is changed where it stands") };
        let bucket = self.bucket(side);
        if *begins == Begins::New {
            self.table.forget(Seat { bucket: self.buckets[side], slot });
            let mut state = [0; WORDS];
            let result = change(&mut state, self.table.now_for_fresh(now));
            bucket.set_state(slot, state);
            bucket.set_tag(slot, self.tag);
            return result;
        }
        let mut state: [u64; WORDS] = bucket.state(slot);
        if state[0] <= now.as_micros() {
            *begins = Begins::Anew;
        }
        let result = change(&mut state, now);
        bucket.set_state(slot, state);
        result
    }

    /// One attempt to settle this counter.
    fn adjust<const WORDS: usize>(&mut self, entry: &Entry, actual: u64, now: Timestamp) -> Result<(), NoRoom> {
        let mut locks = Locks::<1>::take(&[*self], Scope::Both);
        self.look(Scope::Both);
        let Some(seat) = self.seat() else {
            let now = self.table.now_for_fresh(now);
            let mut state = [0; WORDS];
            entry.rule.adjust(&mut state, entry.taken, actual, entry.taken_at, now);
            if state[0] <= now.as_micros() {
                return Ok(());
            }
            let claimed = (0..2).find_map(|side| Some((side, self.table.claim(self.buckets[side], now, |_| false)?)));
            let (side, seat) = claimed.ok_or(NoRoom)?;
            self.seen = Seen::In { side, slot: seat.slot };
            locks.are_changed = true;
            self.update::<WORDS, _>(&mut Begins::New, now, |fresh, _| fresh.copy_from_slice(&state));
            return Ok(());
        };
        locks.are_changed = true;
        self.update::<WORDS, _>(&mut Begins::Not, now, |state, now| {
            entry.rule.adjust(state, entry.taken, actual, entry.taken_at, now);
        });
        if self.table.bucket(seat.bucket).idle_at(seat.slot) <= now.as_micros() {
            self.table.clear(seat);
        }
        Ok(())
    }
}

/// A status at `counts_as`, as it is for a demand that came at `now`, perhaps a moment earlier.
#[inline]
fn seen_from(now: Timestamp, counts_as: Timestamp, status: Status) -> Status {
    if status.reset_after.is_zero() {
        return status;
    }
    let from_now = |span| counts_as.plus(span).since(now);
    let retry_after = match status.retry_after {
        Wait::For(span) => Wait::For(from_now(span)),
        wait => wait,
    };
    Status { reset_after: from_now(status.reset_after), retry_after, ..status }
}

/// How a counter answers, if what was read of it belongs together.
#[inline]
fn peek_unlocked<const WORDS: usize>(
    bucket: Bucket<'_>,
    slot: usize,
    version: Version,
    charge: &Charge<'_>,
    now: Timestamp,
) -> Option<Status> {
    let state = bucket.state::<WORDS>(slot);
    bucket.is_still(version).then(|| charge.rule().peek(&state, charge.need(), now))
}

/// The buckets of up to `N` counters, locked. Dropping it gives the locks back.
struct Locks<'m, const N: usize> {
    list: [[Lock<'m>; 2]; N],
    count: usize,
    /// Whether every bucket still has the version that was read.
    are_as_read: bool,
    /// Whether any bucket may have been changed since it was locked.
    are_changed: bool,
}

#[derive(Clone, Copy)]
struct Lock<'m> {
    bucket: Bucket<'m>,
    version: Version,
}

impl<'m, const N: usize> Locks<'m, N> {
    /// Locks the buckets of `places` that `scope` is about, each once, in the order of their addresses.
    #[inline]
    fn take(places: &[Place<'m>], scope: Scope) -> Locks<'m, N> {
        let lock = |place: &Place<'m>, side| Lock { bucket: place.bucket(side), version: place.versions[side] };
        let mut locks = Locks { list: [[lock(&places[0], 0); 2]; N], count: 0, are_as_read: true, are_changed: false };
        for place in places {
            for side in place.sides(scope) {
                locks.insert(lock(place, side));
            }
        }
        for lock in &mut locks.list.as_flattened_mut()[..locks.count] {
            let version = lock.bucket.lock();
            locks.are_as_read &= version == lock.version;
            lock.version = version;
        }
        locks
    }

    /// Puts a bucket in its place in the order, unless it is there.
    #[inline]
    fn insert(&mut self, lock: Lock<'m>) {
        let list = self.list.as_flattened_mut();
        let address = lock.bucket.address();
        if let Some(same) = list[..self.count].iter().find(|known| known.bucket.address() == address) {
            self.are_as_read &= same.version == lock.version;
            return;
        }
        let mut at = self.count;
        list[at] = lock;
        while at > 0 && list[at - 1].bucket.address() > address {
            list.swap(at - 1, at);
            at -= 1;
        }
        self.count += 1;
    }
}

impl<const N: usize> Drop for Locks<'_, N> {
    #[inline]
    fn drop(&mut self) {
        for lock in &self.list.as_flattened()[..self.count] {
            if self.are_changed {
                lock.bucket.unlock_changed(lock.version);
            } else {
                lock.bucket.unlock_unchanged(lock.version);
            }
        }
    }
}
