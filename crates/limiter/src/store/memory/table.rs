//! A table of buckets: where a counter may stand, how room is made for it, and how idle ones leave.
//!
//! A counter stands in one of two buckets, its first one unless that was full. Where both are full, a counter of one of
//! them is moved to its own other bucket, and if that is full too, one there first (cuckoo hashing, two moves deep). A
//! move locks just the two buckets that it is about. At the cap 4 of 5 slots are in use; up to there two moves find room
//! (`fills_to_its_cap` in the tests).
//!
//! A slot whose counter is idle is as good as empty: any new counter may take it. Each new counter also clears the idle
//! slots of two more buckets, in turn round the table, so that the count of counters follows the truth: by the time
//! half as many counters as there are buckets are new, every slot was looked at. Counters that begin anew in their own
//! slot do so now and then. There is no sweep that stops anybody.

use tidegate_core::{Span, Timestamp};

use super::bucket::{Bucket, Class, LINE_WORDS};
use super::fingerprint::Fingerprint;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, zeros};

/// Fewest buckets of a table: two random places out of many are what makes two choices work. 2 KiB of small ones.
const MIN_BUCKETS: usize = if cfg!(loom) { 2 } else { 16 };

/// Buckets that are looked through for idle slots when a counter is new. One would keep pace with a steady population;
/// the second makes up for what went idle since.
const SWEEP_PER_NEW: usize = 2;

/// Of so many counters that begin anew in a slot of their own, one is followed by a sweep too: where nobody is new, the
/// count still comes down, and a token bucket that is full each time it is asked does not pay for it each time.
const RENEWALS_PER_SWEEP: u64 = 64;

/// Buckets that are looked through when the cap is reached, before a new counter is refused: more would make such a
/// refusal dear (I50), and the next attempt looks at the next ones. A table of fewest buckets is looked through whole.
const SWEEP_AT_CAP: usize = MIN_BUCKETS;

/// What a counter that found no room is told to wait, at least and at most.
const SHORTEST_WAIT: Span = Span::from_micros(1_000);
const LONGEST_WAIT: Span = Span::from_secs(1);

/// How long after it read the clock a thread may come to its counter. A delay of more is taken for a clock set back.
const LONGEST_DELAY: Span = Span::from_secs(10);

/// How many moves deep room is looked for.
const MOVES: usize = 2;

/// The counters of one class.
pub(super) struct Table {
    words: Box<[AtomicU64]>,
    /// The first word that begins a cache line pair.
    origin: usize,
    class: Class,
    buckets: usize,
    cap: usize,
    changing: Changing,
}

/// What of a table changes with counters that come and go, in cache lines of its own: what every decision reads of the table
/// stays in all caches while somebody floods it with new names.
#[repr(align(128))]
#[derive(Default)]
struct Changing {
    /// Slots in use, idle ones that nobody cleared yet included.
    occupied: AtomicUsize,
    /// The next bucket to clear of idle slots.
    hand: AtomicUsize,
    /// The latest instant at which a forgotten counter went idle: time does not run backwards for the forgotten either.
    forgotten: AtomicU64,
}

/// A slot of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) bucket: usize,
    pub(super) slot: usize,
}

impl Table {
    /// A table for `cap` counters. Its words are zeroed by the system as they are touched; `None` if the system does not
    /// promise as many.
    pub(super) fn new(class: Class, cap: usize) -> Option<Table> {
        let buckets = buckets_for(class, cap);
        let words = zeros(buckets * class.bucket_words() + LINE_WORDS)?;
        let past_line = words.as_ptr().addr() / size_of::<AtomicU64>() % LINE_WORDS;
        let origin = if past_line == 0 { 0 } else { LINE_WORDS - past_line };
        Some(Table { words, origin, class, buckets, cap, changing: Changing::default() })
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Bytes of memory that it takes once all of it was touched.
    pub(super) fn bytes(&self) -> usize {
        self.words.len() * size_of::<AtomicU64>()
    }

    /// Counters that it holds.
    pub(super) fn occupied(&self) -> usize {
        self.changing.occupied.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn bucket(&self, index: usize) -> Bucket<'_> {
        let words = self.class.bucket_words();
        Bucket::new(&self.words[self.origin + index * words..][..words], self.class)
    }

    /// The same of a table of the smallest class, for those who know that it is one.
    #[inline]
    pub(super) fn small_bucket(&self, index: usize) -> Bucket<'_> {
        const WORDS: usize = Class::Small.bucket_words();
        Bucket::new(&self.words[self.origin + index * WORDS..][..WORDS], Class::Small)
    }

    /// The buckets where a counter may stand, the one it prefers first. They can be the same.
    #[inline]
    pub(super) fn buckets_of(&self, counter: Fingerprint) -> [usize; 2] {
        let first = self.preferred_bucket(counter);
        [first, self.alternate(first, counter.tag)]
    }

    /// The bucket that a counter prefers.
    #[inline]
    pub(super) fn preferred_bucket(&self, counter: Fingerprint) -> usize {
        scale(counter.place, self.buckets)
    }

    /// The other bucket of a counter that stands in `bucket`: first + alternate = a number that follows from the tag,
    /// modulo the number of buckets, so that either leads to the other.
    #[inline]
    pub(super) fn alternate(&self, bucket: usize, tag: u64) -> usize {
        let sum = scale(tag, self.buckets);
        if sum >= bucket { sum - bucket } else { sum + self.buckets - bucket }
    }

    /// `now` for a counter that the table does not hold: at least the latest that a forgotten one has seen, unless that
    /// is so far ahead that the clock must have been set back.
    #[inline]
    pub(super) fn now_for_fresh(&self, now: Timestamp) -> Timestamp {
        let latest = Timestamp::from_micros(self.changing.forgotten.load(Ordering::Relaxed));
        if latest.since(now) <= LONGEST_DELAY { now.max(latest) } else { now }
    }

    /// A slot of `bucket` for a new counter: one that is idle and not among `taken`, else an empty one, if the cap
    /// allows another. The caller holds the bucket's lock, and gives the slot back by [`Table::give_back`] unless it
    /// puts a counter there.
    pub(super) fn claim(&self, bucket: usize, now: Timestamp, taken: impl Fn(Seat) -> bool) -> Option<Seat> {
        let view = self.bucket(bucket);
        let mut empty = None;
        for (slot, tag) in view.tags().enumerate() {
            let seat = Seat { bucket, slot };
            if taken(seat) {
                continue;
            }
            if tag == 0 {
                empty = empty.or(Some(seat));
            } else if view.idle_at(slot) <= now.as_micros() {
                return Some(seat);
            }
        }
        empty.filter(|_| self.reserve())
    }

    /// Gives back a claimed slot that was not used.
    pub(super) fn give_back(&self, seat: Seat) {
        if self.bucket(seat.bucket).tag(seat.slot) == 0 {
            self.changing.occupied.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes that the idle counter in a slot is about to be forgotten. The caller holds the lock.
    pub(super) fn forget(&self, seat: Seat) {
        let view = self.bucket(seat.bucket);
        if view.tag(seat.slot) == 0 {
            return;
        }
        let idle_at = view.idle_at(seat.slot);
        if idle_at > self.changing.forgotten.load(Ordering::Relaxed) {
            self.changing.forgotten.fetch_max(idle_at, Ordering::Relaxed);
        }
    }

    /// Empties a slot whose counter is idle. The caller holds the lock.
    pub(super) fn clear(&self, seat: Seat) {
        self.forget(seat);
        self.bucket(seat.bucket).set_tag(seat.slot, 0);
        self.changing.occupied.fetch_sub(1, Ordering::Relaxed);
    }

    fn reserve(&self) -> bool {
        let more = |occupied| (occupied < self.cap).then_some(occupied + 1);
        self.changing.occupied.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// How long a new counter that found no room had better wait: until the first counter in its buckets is idle, but not
    /// less than a millisecond and not more than a second, for room may come from elsewhere.
    pub(super) fn wait_for_room(&self, buckets: [usize; 2], now: Timestamp) -> Span {
        let slots = || 0..self.class.slots();
        let slots = buckets.into_iter().flat_map(|bucket| slots().map(move |slot| (self.bucket(bucket), slot)));
        let instants = slots.filter(|(view, slot)| view.tag(*slot) != 0).map(|(view, slot)| view.idle_at(slot));
        let earliest = Timestamp::from_micros(instants.min().unwrap_or(u64::MAX));
        earliest.since(now).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    /// Pays for a new counter by clearing idle slots of the next buckets in turn. The caller holds no lock.
    pub(super) fn sweep_for_new(&self, now: Timestamp) {
        self.sweep_next(SWEEP_PER_NEW, now);
    }

    /// The same for a counter that was idle and begins anew; now and then.
    pub(super) fn sweep_for_renewed(&self, tag: u64, now: Timestamp) {
        if tag.wrapping_add(now.as_micros()).is_multiple_of(RENEWALS_PER_SWEEP) {
            self.sweep_next(SWEEP_PER_NEW, now);
        }
    }

    fn sweep_next(&self, buckets: usize, now: Timestamp) -> usize {
        let first = self.changing.hand.fetch_add(buckets, Ordering::Relaxed);
        (first..first.wrapping_add(buckets)).map(|bucket| self.clear_idle(bucket % self.buckets, now)).sum()
    }

    /// Clears the idle slots of one bucket, unless somebody is inside, and says how many there were.
    fn clear_idle(&self, bucket: usize, now: Timestamp) -> usize {
        let view = self.bucket(bucket);
        let is_idle = |slot: usize| view.tag(slot) != 0 && view.idle_at(slot) <= now.as_micros();
        if !(0..self.class.slots()).any(is_idle) {
            return 0;
        }
        let Some(version) = view.try_lock() else { return 0 };
        let mut cleared = 0;
        for slot in (0..self.class.slots()).filter(|slot| is_idle(*slot)) {
            self.clear(Seat { bucket, slot });
            cleared += 1;
        }
        match cleared {
            0 => view.unlock_unchanged(version),
            _ => view.unlock_changed(version),
        }
        cleared
    }

    /// Tries to make room for a new counter in one of its buckets, and says whether it did. Somebody else may take the
    /// room. The caller holds no lock.
    pub(super) fn make_room(&self, buckets: [usize; 2], now: Timestamp) -> bool {
        if self.occupied() >= self.cap && self.sweep_next(SWEEP_AT_CAP, now) == 0 {
            return false;
        }
        buckets.into_iter().any(|bucket| self.has_room(bucket, now))
            || buckets.into_iter().any(|bucket| self.vacate(bucket, MOVES, now))
    }

    fn has_room(&self, bucket: usize, now: Timestamp) -> bool {
        self.room_in(bucket, now).is_some()
    }

    /// Whether a new counter would find room in one of these buckets as things are; clears idle slots of others where the
    /// cap is reached. The caller holds no lock.
    pub(super) fn could_take(&self, buckets: [usize; 2], now: Timestamp) -> bool {
        let has_idle = |bucket| {
            let view = self.bucket(bucket);
            (0..self.class.slots()).any(|slot| view.tag(slot) != 0 && view.idle_at(slot) <= now.as_micros())
        };
        self.occupied() < self.cap || buckets.into_iter().any(has_idle) || self.sweep_next(SWEEP_AT_CAP, now) > 0
    }

    /// Moves a counter out of `bucket` to its other bucket, where room is made first if `moves` allows.
    fn vacate(&self, bucket: usize, moves: usize, now: Timestamp) -> bool {
        let slots = || (0..self.class.slots()).map(|slot| Seat { bucket, slot });
        let other = |seat: Seat| self.alternate(seat.bucket, self.bucket(seat.bucket).tag(seat.slot));
        slots().any(|seat| self.has_room(other(seat), now) && self.move_away(seat, now))
            || moves > 1 && slots().any(|seat| self.vacate(other(seat), moves - 1, now) && self.move_away(seat, now))
    }

    /// Moves the counter in a slot to its other bucket, if there is room.
    fn move_away(&self, from: Seat, now: Timestamp) -> bool {
        let source = self.bucket(from.bucket);
        let to = self.alternate(from.bucket, source.tag(from.slot));
        let target = self.bucket(to);
        if to == from.bucket {
            return false;
        }
        let (low, high) = if source.address() < target.address() { (source, target) } else { (target, source) };
        let (low_version, high_version) = (low.lock(), high.lock());
        let is_same = self.alternate(from.bucket, source.tag(from.slot)) == to && source.tag(from.slot) != 0;
        let seat = if is_same { self.room_in(to, now) } else { None };
        let Some(seat) = seat else {
            low.unlock_unchanged(low_version);
            high.unlock_unchanged(high_version);
            return false;
        };
        if target.tag(seat.slot) != 0 {
            self.clear(seat);
        }
        target.copy_from(seat.slot, source, from.slot);
        source.set_tag(from.slot, 0);
        low.unlock_changed(low_version);
        high.unlock_changed(high_version);
        true
    }

    fn room_in(&self, bucket: usize, now: Timestamp) -> Option<Seat> {
        let view = self.bucket(bucket);
        let is_free = |slot: &usize| view.tag(*slot) == 0 || view.idle_at(*slot) <= now.as_micros();
        (0..self.class.slots()).find(is_free).map(|slot| Seat { bucket, slot })
    }
}

/// Buckets for `cap` counters at a load of 4/5.
fn buckets_for(class: Class, cap: usize) -> usize {
    if cfg!(loom) {
        return MIN_BUCKETS;
    }
    (cap * 5).div_ceil(class.slots() * 4).max(MIN_BUCKETS)
}

/// A random number brought down to below `size`.
#[inline]
fn scale(random: u64, size: usize) -> usize {
    let scaled = (u128::from(random) * size as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Table { class, buckets, cap, .. } = self;
        write!(f, "Table {{ class: {class:?}, buckets: {buckets}, cap: {cap}, occupied: {} }}", self.occupied())
    }
}
