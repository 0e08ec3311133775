//! Counters are found by a keyed hash of their names: the names themselves are not kept.
//!
//! The hash is two independent 64-bit halves, each with keys of its own that are drawn at start-up and never leave the
//! process. The first half is the tag that the slot keeps. The second chooses the counter's bucket, and with the tag its
//! alternate bucket. So two counters are taken for one exactly if their tags are equal and one stands in a bucket of the
//! other.
//!
//! **A half** is NH (of UMAC; Black et al., CRYPTO 1999) in words of 64 bits: a name is a row of pairs of words, and a pair
//! (x, y) at its place counts (x + k) × (y + k′) modulo 2^128 with the keys of that place. The sum is brought down to 64 bits by
//! a multilinear hash (Lemire and Kaser, 2014), and these are scrambled, one to one, so that names in sequence do not
//! fall into buckets in sequence. Whatever two names somebody chooses who does not know the keys, they agree in a half with
//! probability 5 × 2^-64 at most: 2^-63 for the sum and as much for that of a further value (twice what is proved of names of
//! one length, which can be compared place by place), 2^-64 for bringing it down. Hashes that are merely quick promise nothing
//! of names that somebody chose. It takes one multiplication a half for 16 bytes.
//!
//! **The row** of a name is its head, then its first value; each further value is hashed by itself first, with the keys of
//! the first, and then stands in the row as the pair of its 128 bits. A value begins with its length, so that none runs into
//! the next, and the length of one that is missing is no length of a value.
//!
//! **The odds.** With n counters in n / 4 buckets, looking up a counter that is not there meets at most 10 tags: it finds a
//! wrong one with probability 50 / 2^64, 2.7 × 10^-18. At 10^7 live counters the odds that any two of them share a slot are
//! about 10^14 / 2 pairs × 5 × 2^-64 × 4 / (2.5 × 10^6), 2.2 × 10^-11; a million lookups of new names a second meet such a
//! pair about once in 12,000 years. Nobody outside can look for one: what is hashed is known to them, the keys and the
//! hashes are not.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};

use tidegate_core::{Key, bounds};

/// What a counter is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// What its slot keeps; never zero, which marks a slot as empty.
    pub(super) tag: u64,
    /// Which bucket it is in.
    pub(super) place: u64,
}

/// The secret that makes fingerprints of names: 9 KiB, of which short names read the first lines.
pub(super) struct Fingerprinter {
    keys: Box<Keys>,
}

/// The keys of tag and place.
type Keyed<T> = [T; 2];

struct Keys {
    head: Keyed<[u64; 2]>,
    length: Keyed<[u64; 2]>,
    last: Keyed<[u128; 2]>,
    /// By place in a value.
    value: [Keyed<[u64; 2]>; LONGEST_VALUE],
    /// By place of a value after the first.
    further: [Keyed<[u64; 2]>; bounds::MAX_ATTRIBUTES],
}

/// Pairs of words of the longest value.
const LONGEST_VALUE: usize = bounds::MAX_ATTRIBUTE_BYTES.div_ceil(16);

/// What stands for the length of a value that is missing.
const MISSING: u64 = u64::MAX;

impl Fingerprinter {
    /// One that nobody can guess: the standard library's hash is keyed by the operating system, and what it makes of numbers
    /// cannot be told from random bits by who does not know that key.
    pub(super) fn random() -> Fingerprinter {
        if cfg!(loom) {
            // The model checker repeats what it is shown, so every run has to be alike.
            return Fingerprinter::drawn_from(&BuildHasherDefault::<DefaultHasher>::new());
        }
        Fingerprinter::drawn_from(&RandomState::new())
    }

    fn drawn_from(source: &impl BuildHasher) -> Fingerprinter {
        let mut drawn = 0_u64;
        let mut word = || {
            drawn += 1;
            source.hash_one(drawn)
        };
        let mut pair = || [(); 2].map(|()| [(); 2].map(|()| word()));
        let (head, length) = (pair(), pair());
        let value = [(); LONGEST_VALUE].map(|()| pair());
        let further = [(); bounds::MAX_ATTRIBUTES].map(|()| pair());
        let last = [(); 2].map(|()| [(); 2].map(|()| u128::from(word()) << 64 | u128::from(word())));
        Fingerprinter { keys: Box::new(Keys { head, length, last, value, further }) }
    }

    /// The fingerprint of a counter or marker of this name.
    #[inline]
    pub(super) fn fingerprint(&self, key: Key<'_>) -> Fingerprint {
        self.of(key.head(), key.values())
    }

    #[inline]
    fn of<'a>(&self, head: u128, mut values: impl Iterator<Item = Option<&'a str>>) -> Fingerprint {
        let mut sums = added([0; 2], halves(head), &self.keys.head);
        if let Some(value) = values.next() {
            sums = self.with_value(sums, value);
        }
        for (value, keys) in values.zip(&self.keys.further) {
            let alone = self.with_value([0; 2], value);
            sums = [0, 1].map(|half| sums[half].wrapping_add(product(halves(alone[half]), &keys[half])));
        }
        let [tag, place] = [0, 1].map(|half| brought_down(sums[half], &self.keys.last[half]));
        Fingerprint { tag: tag.max(1), place }
    }

    /// Inlined, so that the value need not be handed over in memory: what was just written there in two words and is read
    /// as one is waited for.
    #[inline(always)]
    fn with_value(&self, sums: Keyed<u128>, value: Option<&str>) -> Keyed<u128> {
        let bytes = value.unwrap_or_default().as_bytes();
        let length = value.map_or(MISSING, |value| value.len() as u64);
        let mut sums = added(sums, [length, 0], &self.keys.length);
        let (chunks, rest) = bytes.as_chunks::<16>();
        for (chunk, keys) in chunks.iter().zip(&self.keys.value) {
            sums = added(sums, words(chunk), keys);
        }
        match self.keys.value.get(chunks.len()) {
            Some(keys) if !rest.is_empty() => added(sums, ending(bytes), keys),
            _ => sums,
        }
    }
}

/// The words of the end of a value that does not end with 16 bytes: its last 16, of which some may have been counted, or
/// all of it. With its length they tell the value.
#[inline]
fn ending(bytes: &[u8]) -> [u64; 2] {
    if let Some(last) = bytes.last_chunk() {
        return words(last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return [u64::from_le_bytes(*first), u64::from_le_bytes(*last)];
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return [u32::from_le_bytes(*first), u32::from_le_bytes(*last)].map(u64::from);
    }
    [0, bytes.len() / 2, bytes.len() - 1]
        .iter()
        .fold([0; 2], |[word, _], place| [word << 8 | u64::from(bytes[*place]), 0])
}

#[inline]
fn words(bytes: &[u8; 16]) -> [u64; 2] {
    halves(u128::from_le_bytes(*bytes))
}

#[inline]
fn halves(number: u128) -> [u64; 2] {
    // Both fit: one is masked, the other shifted.
    [number & u128::from(u64::MAX), number >> 64].map(|half| u64::try_from(half).unwrap_or(0))
}

/// The sums with a pair of words.
#[inline]
fn added(sums: Keyed<u128>, pair: [u64; 2], keys: &Keyed<[u64; 2]>) -> Keyed<u128> {
    [0, 1].map(|half| sums[half].wrapping_add(product(pair, &keys[half])))
}

#[inline]
fn product([x, y]: [u64; 2], keys: &[u64; 2]) -> u128 {
    u128::from(x.wrapping_add(keys[0])) * u128::from(y.wrapping_add(keys[1]))
}

/// 64 bits of a sum, scrambled.
#[inline]
fn brought_down(sum: u128, keys: &[u128; 2]) -> u64 {
    let [low, high] = halves(sum).map(u128::from);
    let [_, word] = halves(low.wrapping_mul(keys[0]).wrapping_add(high.wrapping_mul(keys[1])));
    // One to one: shifts and odd factors can be undone. Bits of the upper half come to bear on all of it.
    let mixed = (word ^ word >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

impl std::fmt::Debug for Fingerprinter {
    /// The keys are a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprinter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    type Name<'a> = (u128, Vec<Option<&'a str>>);

    fn of(secret: &Fingerprinter, (head, values): &Name<'_>) -> Fingerprint {
        secret.of(*head, values.iter().copied())
    }

    #[test]
    fn two_stores_never_agree_on_a_fingerprint() {
        let [one, other] = [Fingerprinter::random(), Fingerprinter::random()];
        for name in [(0, vec![]), (7, vec![Some("a")]), (7, vec![None])] {
            let [one, other] = [of(&one, &name), of(&other, &name)];
            assert!(one.tag != other.tag && one.place != other.place);
        }
    }

    /// I45: names that are easily taken for one another: each byte of every length counted, whatever it is and wherever,
    /// the length, which value it is in, whether there is one.
    #[test]
    fn no_two_names_agree_in_either_half() {
        let secret = Fingerprinter::random();
        let texts: Vec<String> = (0..50)
            .flat_map(|length| {
                let plain = "\0".repeat(length);
                let changed = (0..length).flat_map({
                    let plain = plain.clone();
                    move |place| {
                        ["\u{1}", "\u{40}", "a"].map(|byte| [&plain[..place], byte, &plain[place + 1..]].concat())
                    }
                });
                changed.chain([plain.clone()]).collect::<Vec<_>>()
            })
            .collect();
        let one = texts.iter().map(|text| (3, vec![Some(text.as_str())]));
        let short = &texts[..texts.iter().position(|text| text.len() == 5).expect("short ones")];
        let two = texts.iter().flat_map(|text| {
            short.iter().flat_map(move |short| {
                [vec![Some(text.as_str()), Some(short.as_str())], vec![Some(short), None, Some(text)]]
                    .map(|row| (3, row))
            })
        });
        let others = [0, 1, 3, 1 << 64, 3 << 64, u128::MAX].into_iter().flat_map(|head| {
            let rows = [vec![], vec![None], vec![None, None], vec![None, Some("")], vec![Some(""), None]];
            rows.into_iter().map(move |row| (head, row))
        });
        let (mut tags, mut places, mut names) = (HashMap::new(), HashMap::new(), HashSet::new());
        for name in one.chain(two).chain(others) {
            if !names.insert(name.clone()) {
                continue;
            }
            let Fingerprint { tag, place } = of(&secret, &name);
            for (seen, half) in [(&mut tags, tag), (&mut places, place)] {
                if let Some(other) = seen.insert(half, name.clone()) {
                    panic!("{name:?} and {other:?} agree");
                }
            }
        }
        assert!(tags.len() > 50_000, "{} names", tags.len());
    }

    /// The longest value, and the most of them.
    #[test]
    fn every_byte_of_the_longest_name_counts() {
        let secret = Fingerprinter::random();
        let long = "x".repeat(bounds::MAX_ATTRIBUTE_BYTES);
        let all = vec![Some(long.as_str()); bounds::MAX_ATTRIBUTES];
        let mut tags = HashSet::from([of(&secret, &(1, all.clone())).tag]);
        for value in 0..all.len() {
            for place in (0..long.len()).step_by(97).chain([long.len() - 1]) {
                let changed = [&long[..place], "y", &long[place + 1..]].concat();
                let mut row = all.clone();
                row[value] = Some(&changed);
                assert!(tags.insert(of(&secret, &(1, row)).tag), "byte {place} of value {value}");
            }
        }
    }

    /// Buckets are chosen as if at random also for names in sequence: of 2^16 names, each of 2^10 buckets gets 64, with a
    /// deviation of 8. Both for the bucket of a counter and for what its tag makes of it.
    #[test]
    fn names_in_sequence_are_spread_over_the_buckets() {
        for secret in [(); 8].map(|()| Fingerprinter::random()) {
            let mut filled = [[0_u64; 1 << 10]; 2];
            for number in 0..1_u64 << 16 {
                let name = format!("user:{number:013}");
                let Fingerprint { tag, place } = of(&secret, &(5, vec![Some(&name)]));
                for (filled, half) in filled.iter_mut().zip([tag, place]) {
                    filled[usize::try_from(half >> 54).expect("a bucket")] += 1;
                }
            }
            for filled in filled {
                let squares: u64 = filled.iter().map(|count| count.abs_diff(64).pow(2)).sum();
                // Chi square: 1,023 × 64 is expected of it, and a deviation of a 22nd part of that.
                assert!((50_000..82_000).contains(&squares), "{squares}");
                assert!(filled.iter().all(|count| (12..=130).contains(count)));
            }
        }
    }
}
