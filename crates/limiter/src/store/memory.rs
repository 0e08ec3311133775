//! The store in this process: a table of fingerprints and states, decided without a global lock.
//!
//! - `fingerprint.rs`: what a counter is known by, and how unlikely it is that two are taken for one;
//! - `bucket.rs`: a few slots behind one control word, read without writing;
//! - `table.rs`: where a counter may stand, room for new ones, how idle ones leave;
//! - `quick.rs`: the common case, read once and changed once;
//! - `transaction.rs`: one demand over several counters, all or nothing, in every case;
//! - `marker.rs`: which distinct values a counter has counted.
//!
//! **Bounds.** Counters are kept in up to three tables, one for each size of state; each holds at most
//! [`MemoryOptions::max_counters`] counters and takes, once touched, 32 bytes for each of them (fixed windows, token
//! buckets, concurrency), 183 bytes (sliding windows of up to 13 cells) or 680 bytes (up to 61 cells), and never more.
//! The second and third are set up by [`Memory::make_room_for`] a policy
//! that needs them.
//!
//! **At the cap** a counter that is not idle is never forgotten (I51). A new counter takes the place of an idle one; if
//! there is none in its buckets and none in the next few in turn, its limit refuses on `Basis::StoreFull` and says to
//! come back when the first counter in its buckets will be idle, in 1 ms to 1 s. A limit that says so admits uncounted
//! instead, on `Basis::Open`. Shadow limits never refuse, at the cap either; they do not count what has no room. Counters
//! that exist are counted as ever.

mod bucket;
mod fingerprint;
mod marker;
mod quick;
mod table;
mod transaction;

use std::fmt;
use std::sync::{Arc, OnceLock};

use tidegate_core::{Charge, Charges, Policy, Statuses, Timestamp, bounds};

pub(crate) use fingerprint::Fingerprint;

use crate::receipt::Entry;
use crate::sync::{AtomicU64, Ordering};
use bucket::Class;
use fingerprint::Fingerprinter;
use marker::Marker;
use table::Table;
use transaction::Sought;

/// How much a store in memory may hold.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// Counters at most, of each size of state; 1 to [`MAX_COUNTERS`], what is outside counts as the nearest.
    pub max_counters: usize,
}

/// Most counters of a store: 2^30, 32 GiB of the smallest. Beyond it a deployment has several processes.
pub const MAX_COUNTERS: usize = 1 << 30;

impl Default for MemoryOptions {
    /// A million counters, 32 MB.
    fn default() -> MemoryOptions {
        MemoryOptions { max_counters: 1_000_000 }
    }
}

/// Counters in the memory of this process.
#[derive(Debug)]
pub struct Memory {
    fingerprinter: Fingerprinter,
    max_counters: usize,
    small: Table,
    medium: OnceLock<Table>,
    large: OnceLock<Table>,
    unsettled: AtomicU64,
    /// Receipts outlive what they were taken for.
    leaked: Arc<AtomicU64>,
}

impl Memory {
    /// An empty store.
    pub fn new(options: MemoryOptions) -> Memory {
        let max_counters = options.max_counters.clamp(1, MAX_COUNTERS);
        Memory {
            fingerprinter: Fingerprinter::random(),
            max_counters,
            small: table_of(Class::Small, max_counters),
            medium: OnceLock::new(),
            large: OnceLock::new(),
            unsettled: AtomicU64::new(0),
            leaked: Arc::default(),
        }
    }

    /// Sets up the tables that the rules of `policy` need, so that no demand has to: to be called before the first.
    ///
    /// # Errors
    ///
    /// The system does not promise as much memory as the cap on counters wants.
    pub fn make_room_for(&self, policy: &Policy) -> Result<(), NoMemory> {
        for rule in policy.rules() {
            let class = Class::of(rule);
            let place = match class {
                Class::Small => continue,
                Class::Medium => &self.medium,
                Class::Large => &self.large,
            };
            if place.get().is_none() {
                let table = Table::new(class, self.max_counters);
                // Whoever was quicker has set up the same.
                let _ = place.set(table.ok_or(NoMemory { max_counters: self.max_counters })?);
            }
        }
        Ok(())
    }

    /// Charges all or nothing, as `store.rs` says, into `statuses`. Allocates nothing, and locks nothing
    /// to refuse unless others keep changing what is read.
    pub fn charge(&self, charges: Charges<'_>, statuses: &mut Statuses, now: Timestamp) {
        if charges.distinct() > 0 {
            return self.charge_distinct(charges, statuses, now);
        }
        // The number of charges is made a constant, so that a demand on one limit does not pay for sixteen.
        match charges.len() {
            0 => {}
            1 => self.seek_and_decide::<1>(charges, statuses, now),
            2 => self.seek_and_decide::<2>(charges, statuses, now),
            3 => self.seek_and_decide::<3>(charges, statuses, now),
            4 => self.seek_and_decide::<4>(charges, statuses, now),
            more => {
                let mut sought = [Sought::NOTHING; bounds::MAX_CHARGES];
                for (sought, charge) in sought.iter_mut().zip(charges.iter()) {
                    *sought = Sought::of(self, &charge);
                }
                self.ask_for(&sought[..more]);
                transaction::decide::<{ bounds::MAX_CHARGES }>(self, charges, &sought[..more], &[], statuses, now);
            }
        }
    }

    /// The same where limits count distinct values: their markers are sought behind all counters.
    #[inline(never)]
    fn charge_distinct(&self, charges: Charges<'_>, statuses: &mut Statuses, now: Timestamp) {
        let mut sought = [Sought::NOTHING; MOST_PLACES];
        for (sought, charge) in sought.iter_mut().zip(charges.iter()) {
            *sought = Sought::of(self, &charge);
        }
        let mut markers = [Marker::default(); bounds::MAX_CHARGES];
        let (mut count, places) = (0, &mut sought[charges.len()..]);
        for (index, charge) in charges.iter().enumerate() {
            if let Some(key) = charge.marker() {
                markers[count] = Marker { charge: index };
                places[count] = Sought::marker(self, key);
                count += 1;
            }
        }
        let (sought, markers) = (&sought[..charges.len() + count], &markers[..count]);
        self.ask_for(sought);
        match sought.len() {
            1 | 2 => transaction::decide::<2>(self, charges, sought, markers, statuses, now),
            3 | 4 => transaction::decide::<4>(self, charges, sought, markers, statuses, now),
            _ => transaction::decide::<MOST_PLACES>(self, charges, sought, markers, statuses, now),
        }
    }

    #[inline]
    fn seek_and_decide<const N: usize>(&self, charges: Charges<'_>, statuses: &mut Statuses, now: Timestamp) {
        let mut sought = [Sought::NOTHING; N];
        for (index, sought) in sought.iter_mut().enumerate() {
            *sought = Sought::of(self, &charges.charge(index));
        }
        if N > 1 {
            self.ask_for(&sought);
        }
        self.decide::<N>(charges, &sought, statuses, now);
    }

    #[inline]
    fn decide<const N: usize>(
        &self,
        charges: Charges<'_>,
        sought: &[Sought; N],
        statuses: &mut Statuses,
        now: Timestamp,
    ) {
        if !quick::decide(&self.small, charges, sought, statuses, now) {
            transaction::decide::<N>(self, charges, sought, &[], statuses, now);
        }
    }

    /// Decides a demand whose counters were sought before.
    fn decide_sought(&self, charges: Charges<'_>, sought: &[Sought], statuses: &mut Statuses, now: Timestamp) {
        match sought {
            [] => {}
            [one] => self.decide(charges, &[*one], statuses, now),
            [one, two] => self.decide(charges, &[*one, *two], statuses, now),
            [one, two, three] => self.decide(charges, &[*one, *two, *three], statuses, now),
            [one, two, three, four] => self.decide(charges, &[*one, *two, *three, *four], statuses, now),
            more => transaction::decide::<{ bounds::MAX_CHARGES }>(self, charges, more, &[], statuses, now),
        }
    }

    /// Asks for the buckets where these counters most likely stand one after the other, so that memory answers all at once.
    #[inline]
    fn ask_for(&self, sought: &[Sought]) {
        for sought in sought {
            match sought.class {
                Class::Small => self.small.small_bucket(sought.bucket).ask_for(),
                Class::Medium | Class::Large => self.table(sought.class).bucket(sought.bucket).ask_for(),
            }
        }
    }

    /// Several demands' counters, still to be sought; see [`Ahead`].
    pub(crate) fn ahead(&self) -> Ahead<'_> {
        Ahead { memory: self, sought: [Sought::NOTHING; AHEAD], count: 0, decided: 0, demands: 0 }
    }

    /// How many counters it holds. Those that went idle leave little by little and are counted until they have.
    pub fn counters(&self) -> usize {
        self.tables().map(Table::occupied).sum()
    }

    /// Bytes of memory that its tables take, at most.
    pub fn bytes(&self) -> usize {
        self.tables().map(Table::bytes).sum()
    }

    /// How many costs could not be settled, because the counter would have been a new one and there was no room.
    pub fn unsettled(&self) -> u64 {
        self.unsettled.load(Ordering::Relaxed)
    }

    /// How many receipts were dropped that held something, which is held for ever.
    pub fn leaked(&self) -> u64 {
        self.leaked.load(Ordering::Relaxed)
    }

    /// Where receipts count that they were dropped.
    pub(crate) fn leaks(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.leaked)
    }

    /// The buckets of a charge's counter: what a model of the protocol chooses its counters by.
    #[cfg(loom)]
    pub fn buckets(&self, charge: &Charge<'_>) -> [usize; 2] {
        self.table(Class::of(charge.rule())).buckets_of(self.fingerprint(charge))
    }

    pub(crate) fn fingerprint(&self, charge: &Charge<'_>) -> Fingerprint {
        self.fingerprinter.fingerprint(charge.key())
    }

    /// Replaces what was charged by the `actual` amount.
    pub(crate) fn adjust(&self, entry: &Entry, actual: u64, now: Timestamp) {
        let table = self.table(Class::of(&entry.rule));
        if transaction::adjust(table, entry, actual, now).is_err() {
            self.unsettled.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[inline]
    fn table(&self, class: Class) -> &Table {
        match class {
            Class::Small => &self.small,
            Class::Medium => self.medium.get_or_init(|| table_of(class, self.max_counters)),
            Class::Large => self.large.get_or_init(|| table_of(class, self.max_counters)),
        }
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        [Some(&self.small), self.medium.get(), self.large.get()].into_iter().flatten()
    }
}

/// The system does not promise the memory for as many counters as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory {
    /// The cap.
    pub max_counters: usize,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no memory for {} counters of a sliding window: lower the cap", self.max_counters)
    }
}

impl std::error::Error for NoMemory {}

/// A table for who cannot do without: at the start, and where nobody called [`Memory::make_room_for`].
fn table_of(class: Class, max_counters: usize) -> Table {
    Table::new(class, max_counters).expect("memory for as many counters as there may be")
}

/// Counters and markers of one demand, at most.
const MOST_PLACES: usize = 2 * bounds::MAX_CHARGES;

/// Counters that are sought ahead, at most: twice as many as demands, for most have one or two limits; at least those of
/// one demand. They are kept on the stack.
const AHEAD: usize = 64;
const _: () = assert!(AHEAD >= bounds::MAX_CHARGES);

/// The counters of several demands, sought before the first of these is decided.
pub(crate) struct Ahead<'m> {
    memory: &'m Memory,
    sought: [Sought; AHEAD],
    count: usize,
    decided: usize,
    demands: usize,
}

impl Ahead<'_> {
    /// Seeks the counters of the next demand, unless there is no room for all of them.
    #[inline]
    pub(crate) fn seek(&mut self, charges: Charges<'_>) -> bool {
        let Some(places) = self.sought.get_mut(self.count..self.count + charges.len()) else { return false };
        for (place, charge) in places.iter_mut().zip(charges.iter()) {
            *place = Sought::of(self.memory, &charge);
        }
        self.count += charges.len();
        self.demands += 1;
        true
    }

    /// How many demands' counters it has.
    pub(crate) fn demands(&self) -> usize {
        self.demands
    }

    /// Asks memory for all of them.
    #[inline]
    pub(crate) fn ask_for(&self) {
        self.memory.ask_for(&self.sought[..self.count]);
    }

    /// [`Memory::charge`] for the next demand, in the order in which they were sought.
    #[inline]
    pub(crate) fn charge(&mut self, charges: Charges<'_>, statuses: &mut Statuses, now: Timestamp) {
        let sought = &self.sought[self.decided..self.decided + charges.len()];
        self.decided += charges.len();
        if charges.distinct() > 0 {
            // Markers were not sought.
            return self.memory.charge_distinct(charges, statuses, now);
        }
        self.memory.decide_sought(charges, sought, statuses, now);
    }
}
