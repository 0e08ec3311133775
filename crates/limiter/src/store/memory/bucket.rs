//! A bucket: a few slots behind one control word, in whole cache lines.
//!
//! ```text
//! word  0               control: bit 0 is the lock, the rest counts changes
//! words 1 .. 1+s        tags of s slots; zero: empty
//! words 1+s ..          states of s slots, w words each; word 0 of a state is the instant from which it is as good as
//!                       fresh (microseconds since 1970)
//! ```
//!
//! | class  | words w | slots s | bucket      | for                                             |
//! |--------|---------|---------|-------------|-------------------------------------------------|
//! | small  | 2       | 5       | 128 bytes   | fixed windows, token buckets, concurrency       |
//! | medium | 16      | 7       | 1,024 bytes | sliding windows of up to 13 cells               |
//! | large  | 64      | 4       | 2,176 bytes | sliding windows of up to 61 cells               |
//!
//! Readers never write: they read the control word, the slots, and the control word again; if it is the same and was not
//! locked, nothing changed in between (a sequence lock). Writers take the lock by setting bit 0, and give it back with
//! the next even number if they changed something, with the old one if they did not. All words are atomics, so a reader
//! that races with a writer reads words that belong to different states, and notices; it has no undefined behaviour to
//! fear and the crate needs no unsafe code.

use std::array;

use tidegate_core::{Rule, bounds};

use crate::sync::{AtomicU64, Backoff, Ordering, fence};

/// How many words a state may have, and with it a bucket's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Small,
    Medium,
    Large,
}

impl Class {
    /// The class of the counters of a rule.
    #[inline]
    pub(super) fn of(rule: &Rule) -> Class {
        match rule.state_words() {
            0..=2 => Class::Small,
            3..=16 => Class::Medium,
            _ => Class::Large,
        }
    }

    /// Slots of one bucket.
    pub(super) const fn slots(self) -> usize {
        match self {
            // The model checker's buckets are as small as can be, so that it can try everything.
            Class::Small if cfg!(loom) => 2,
            Class::Small => 5,
            Class::Medium => 7,
            Class::Large => 4,
        }
    }

    /// Words of one state.
    pub(super) const fn state_words(self) -> usize {
        match self {
            Class::Small => 2,
            Class::Medium => 16,
            Class::Large => LARGEST_STATE,
        }
    }

    /// Words of one bucket: whole cache line pairs, 128 bytes, which is what processors fetch together.
    pub(super) const fn bucket_words(self) -> usize {
        let words = 1 + self.slots() * (1 + self.state_words());
        if cfg!(loom) { words } else { words.next_multiple_of(LINE_WORDS) }
    }
}

/// Words of two cache lines.
pub(super) const LINE_WORDS: usize = 16;

/// Words of the largest state.
pub(super) const LARGEST_STATE: usize = 64;
const _: () = assert!(bounds::MAX_CELLS as usize + 3 <= LARGEST_STATE);

/// How often a bucket has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Version(u64);

const LOCKED: u64 = 1;
const NEXT: u64 = 2;

/// A bucket of a table.
#[derive(Clone, Copy)]
pub(super) struct Bucket<'t> {
    words: &'t [AtomicU64],
    class: Class,
}

impl<'t> Bucket<'t> {
    #[inline]
    pub(super) fn new(words: &'t [AtomicU64], class: Class) -> Bucket<'t> {
        Bucket { words, class }
    }

    /// Where it is; locks are taken in this order.
    pub(super) fn address(self) -> usize {
        self.words.as_ptr().addr()
    }

    /// Asks memory for its first two lines, and does not wait for them.
    #[inline]
    pub(super) fn ask_for(self) {
        // What is loaded here is used by nobody; kept, lest the compiler leave the loads out.
        for word in self.words.iter().step_by(LINE_WORDS / 2).take(2) {
            std::hint::black_box(word.load(Ordering::Relaxed));
        }
    }

    /// Its version, once nobody is inside.
    #[inline]
    pub(super) fn version(self) -> Version {
        let mut backoff = Backoff::new();
        loop {
            let seen = self.words[0].load(Ordering::Acquire);
            if seen & LOCKED == 0 {
                return Version(seen);
            }
            backoff.wait();
        }
    }

    /// Whether nothing has changed since it had that version: what was read in between belongs together.
    #[inline]
    pub(super) fn is_still(self, version: Version) -> bool {
        // With the fence in `lock`: if any of the words read was written by a later holder of the lock, the control
        // word read here is not older than that holder's lock.
        fence(Ordering::Acquire);
        self.words[0].load(Ordering::Relaxed) == version.0
    }

    /// Locks it and says which version it had.
    #[inline]
    pub(super) fn lock(self) -> Version {
        let mut backoff = Backoff::new();
        loop {
            if let Some(version) = self.try_lock() {
                return version;
            }
            backoff.wait();
        }
    }

    /// Locks it unless somebody is inside.
    #[inline]
    pub(super) fn try_lock(self) -> Option<Version> {
        let seen = self.words[0].load(Ordering::Relaxed) & !LOCKED;
        let taken = self.words[0].compare_exchange(seen, seen | LOCKED, Ordering::Acquire, Ordering::Relaxed);
        taken.ok()?;
        fence(Ordering::Release);
        Some(Version(seen))
    }

    /// Locks it if it has this version, in which it was not locked; says whether it did.
    #[inline]
    pub(super) fn lock_if_still(self, version: Version) -> bool {
        let Version(seen) = version;
        let taken = self.words[0].compare_exchange(seen, seen | LOCKED, Ordering::Acquire, Ordering::Relaxed);
        fence(Ordering::Release);
        taken.is_ok()
    }

    /// Unlocks it as it was.
    #[inline]
    pub(super) fn unlock_unchanged(self, version: Version) {
        self.words[0].store(version.0, Ordering::Release);
    }

    /// Unlocks it after a change.
    #[inline]
    pub(super) fn unlock_changed(self, version: Version) {
        self.words[0].store(version.0.wrapping_add(NEXT), Ordering::Release);
    }

    /// The slot that bears `tag`.
    #[inline]
    pub(super) fn find(self, tag: u64) -> Option<usize> {
        self.tags().position(|known| known == tag)
    }

    /// The tags of all slots; zero for an empty one.
    #[inline]
    pub(super) fn tags(self) -> impl Iterator<Item = u64> + use<'t> {
        self.words[1..=self.class.slots()].iter().map(|tag| tag.load(Ordering::Relaxed))
    }

    /// The tag of a slot.
    pub(super) fn tag(self, slot: usize) -> u64 {
        self.words[1 + slot].load(Ordering::Relaxed)
    }

    /// The instant from which a slot's state is as good as fresh, in microseconds since 1970.
    pub(super) fn idle_at(self, slot: usize) -> u64 {
        self.state_of(slot)[0].load(Ordering::Relaxed)
    }

    /// A slot's state.
    #[inline]
    pub(super) fn state<const WORDS: usize>(self, slot: usize) -> [u64; WORDS] {
        let state = &self.state_of(slot)[..WORDS];
        array::from_fn(|word| state[word].load(Ordering::Relaxed))
    }

    /// Writes a slot's state. The caller holds the lock.
    #[inline]
    pub(super) fn set_state<const WORDS: usize>(self, slot: usize, state: [u64; WORDS]) {
        for (word, value) in self.state_of(slot)[..WORDS].iter().zip(state) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Writes a slot's tag. The caller holds the lock.
    #[inline]
    pub(super) fn set_tag(self, slot: usize, tag: u64) {
        self.words[1 + slot].store(tag, Ordering::Relaxed);
    }

    /// Copies a slot of another bucket into a slot of this one. The caller holds both locks.
    pub(super) fn copy_from(self, slot: usize, other: Bucket<'_>, from: usize) {
        self.set_tag(slot, other.tag(from));
        for (to, word) in self.state_of(slot).iter().zip(other.state_of(from)) {
            to.store(word.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    #[inline]
    fn state_of(self, slot: usize) -> &'t [AtomicU64] {
        let words = self.class.state_words();
        &self.words[1 + self.class.slots() + slot * words..][..words]
    }
}
