//! Counters are found by a keyed hash of their names: the names themselves are not kept.
//!
//! The hash is two independent 64-bit halves, each with seeds of its own that are drawn at start-up and never leave the
//! process. The first half is the tag that the slot keeps. The second chooses the counter's bucket, and with the tag its
//! alternate bucket. So two counters are taken for one exactly if their tags are equal and one stands in a bucket of the
//! other. With n counters in n / 4 buckets, looking up a counter that is not there meets at most 10 tags: it finds a
//! wrong one with probability 10 / 2^64, 5 × 10^-19. At 10^7 live counters the odds that any two of them share a slot
//! are about 10^14 / 2 pairs × 2^-64 × 4 / (2.5 × 10^6), 4 × 10^-12; a million lookups of new names a second meet such
//! a pair about once in 58,000 years. Nobody outside can look for one: what is hashed is known to them, the seeds and
//! the hashes are not.

use std::hash::{BuildHasher, Hasher, RandomState};

use foldhash::{SharedSeed, quality::FoldHasher};
use tidegate_core::Charge;

/// What a counter is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// What its slot keeps; never zero, which marks a slot as empty.
    pub(super) tag: u64,
    /// Which bucket it is in.
    pub(super) place: u64,
}

/// The secret that makes fingerprints of names.
pub(super) struct Fingerprinter {
    starts: [u64; 2],
    seeds: [SharedSeed; 2],
}

impl Fingerprinter {
    /// One that nobody can guess: the standard library's hash keys come from the operating system.
    pub(super) fn random() -> Fingerprinter {
        if cfg!(loom) {
            // The model checker repeats what it is shown, so every run has to be alike.
            return Fingerprinter::of([1, 2, 3, 4]);
        }
        let source = RandomState::new();
        Fingerprinter::of([0, 1, 2, 3].map(|which: u64| source.hash_one(which)))
    }

    fn of(secrets: [u64; 4]) -> Fingerprinter {
        let [first, second, third, fourth] = secrets;
        Fingerprinter { starts: [first, second], seeds: [SharedSeed::from_u64(third), SharedSeed::from_u64(fourth)] }
    }

    /// The fingerprint of the counter of a charge.
    #[inline]
    pub(super) fn fingerprint(&self, charge: &Charge<'_>) -> Fingerprint {
        let mut tag = FoldHasher::with_seed(self.starts[0], &self.seeds[0]);
        let mut place = FoldHasher::with_seed(self.starts[1], &self.seeds[1]);
        let key = charge.key();
        // What `Key::write` writes, in numbers, which are hashed faster than bytes.
        for hasher in [&mut tag, &mut place] {
            hasher.write_u128(key.head());
            for value in key.values() {
                match value {
                    Some(value) => {
                        hasher.write_usize(value.len());
                        hasher.write(value.as_bytes());
                    }
                    None => hasher.write_usize(usize::MAX),
                }
            }
        }
        Fingerprint { tag: tag.finish().max(1), place: place.finish() }
    }
}

impl std::fmt::Debug for Fingerprinter {
    /// The seeds are a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprinter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stores_never_agree_on_a_fingerprint() {
        let [one, other] = [Fingerprinter::random(), Fingerprinter::random()];
        assert_ne!(one.starts, other.starts);
    }
}
