//! Reservations: demands that were admitted at an estimate and are settled, released or forgotten later, by an id that a
//! caller on another machine can keep.
//!
//! Each is taken out of the table by exactly one of a settlement, a release and its expiry, and what it charged is changed
//! by that one alone: nothing is given back twice (I5, I7). It owns all that this needs, so that policies may be replaced
//! meanwhile.
//!
//! **Expiry is exact** by the limiter's clock where somebody can see it: a reservation is unknown from the instant of its
//! expiry on, and every decision from that instant on finds released what it held. Decisions pay one load for that; only
//! the first after an expiry takes the lock. Reservations that hold nothing leave when they are touched, when room is
//! asked for, or when they are counted.
//!
//! One lock guards the table. It is held for some hundreds of nanoseconds, and every use of it comes with a request of its
//! own, which costs the process ten microseconds at least.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::{Timestamp, UnitId};

use crate::{Memory, Receipt};

/// Most reservations at a time, unless told otherwise: as many as counters. With the default expiry of a minute that is
/// 16,000 a second that nobody settles. One on three limits takes about 700 bytes, so that all take 0.7 GB at most.
pub const MAX_RESERVATIONS: usize = 1_000_000;

/// How many expired ones leave for each that comes: more than one, so that they grow fewer.
const SWEPT_FOR_EACH: usize = 4;

/// What a reservation is known by: 128 bits from the operating system, which nobody guesses. Whoever has it can settle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId(u128);

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReservationId(…)") // A log is no place for it.
    }
}

impl FromStr for ReservationId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<ReservationId, NotAnId> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(ReservationId).ok_or(NotAnId)
    }
}

/// A text that is no id of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

/// Why nothing can be reserved. Nothing was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// There are as many reservations as there may be.
    Full {
        /// So many.
        most: usize,
    },
    /// The operating system gives no random bits.
    NoRandomness,
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReserveError::Full { most } => write!(f, "{most} reservations are open, and there may be no more"),
            ReserveError::NoRandomness => write!(f, "the operating system gives no random bits"),
        }
    }
}

impl std::error::Error for ReserveError {}

/// Why a reservation cannot be settled. It is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettleError {
    /// No such reservation is open: it never was, was settled or released, or has expired.
    Unknown,
    /// The policy that it was taken from has no unit of this name.
    UnknownUnit {
        /// The name.
        name: String,
        /// The names that it has.
        known: Vec<String>,
    },
}

/// All reservations that are open.
#[derive(Debug)]
pub(crate) struct Reservations {
    open: Mutex<Open>,
    /// The first expiry of one that holds something, in microseconds since 1970; `u64::MAX` if none does.
    next_expiry: AtomicU64,
    most: usize,
}

#[derive(Debug, Default)]
struct Open {
    held: HashMap<ReservationId, Held>,
    expiries: BTreeSet<(Timestamp, ReservationId)>,
    /// Of these, the ones that hold something.
    holding: BTreeSet<(Timestamp, ReservationId)>,
    /// Room that was given out and is not taken yet.
    promised: usize,
}

/// One reservation.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) receipt: Receipt,
    pub(crate) expires_at: Timestamp,
    /// The names of the policy's units, in the order of their places.
    pub(crate) units: Arc<[Box<str>]>,
}

/// Room for reservations that are about to be made, and their ids. What is not used is given back.
#[derive(Debug)]
pub struct Places<'r> {
    reservations: &'r Reservations,
    ids: Vec<ReservationId>,
}

impl Reservations {
    pub(crate) fn new(most: usize) -> Reservations {
        Reservations { open: Mutex::default(), next_expiry: AtomicU64::new(u64::MAX), most }
    }

    /// Room for `number` reservations, asked for before anything is charged.
    pub(crate) fn places(&self, number: usize, store: &Memory, now: Timestamp) -> Result<Places<'_>, ReserveError> {
        let ids = ids(number)?;
        let mut open = self.lock();
        let is_full = open.held.len() + open.promised + number > self.most;
        let swept = if is_full { usize::MAX } else { SWEPT_FOR_EACH * number };
        self.sweep(&mut open, swept, store, now);
        if open.held.len() + open.promised + number > self.most {
            return Err(ReserveError::Full { most: self.most });
        }
        open.promised += number;
        Ok(Places { reservations: self, ids })
    }

    /// Releases what expired reservations hold, as of `now`. To be called before every decision: mostly a load.
    #[inline]
    pub(crate) fn expire(&self, store: &Memory, now: Timestamp) {
        // Whoever finds an expiry waits for the lock, so that it finds it released too. One that is made meanwhile
        // expires later than now.
        if self.next_expiry.load(Ordering::Acquire) <= now.as_micros() {
            self.expire_due(store, now);
        }
    }

    #[cold]
    fn expire_due(&self, store: &Memory, now: Timestamp) {
        let mut open = self.lock();
        while let Some((at, id)) = open.holding.first().copied().filter(|(at, _)| *at <= now) {
            open.remove(id, at).into_iter().for_each(|held| held.receipt.release(store, now));
        }
        self.note_next_expiry(&open);
    }

    /// How many are open.
    pub(crate) fn count(&self, store: &Memory, now: Timestamp) -> usize {
        let mut open = self.lock();
        self.sweep(&mut open, usize::MAX, store, now);
        open.held.len()
    }

    /// Takes a reservation out, if it is open and `allow` says so.
    pub(crate) fn take<T>(
        &self,
        id: ReservationId,
        store: &Memory,
        now: Timestamp,
        allow: impl FnOnce(&Held) -> Result<T, SettleError>,
    ) -> Result<(Receipt, T), SettleError> {
        let mut open = self.lock();
        let held = open.held.get(&id).ok_or(SettleError::Unknown)?;
        let at = held.expires_at;
        // What is not allowed leaves the reservation as it was, unless it has expired.
        let allowed = if at <= now { None } else { Some(allow(held)?) };
        let held = open.remove(id, at).ok_or(SettleError::Unknown)?;
        self.note_next_expiry(&open);
        let Some(allowed) = allowed else {
            held.receipt.release(store, now);
            return Err(SettleError::Unknown);
        };
        Ok((held.receipt, allowed))
    }

    /// Lets at most `most` expired ones leave, those first that expired first.
    fn sweep(&self, open: &mut Open, most: usize, store: &Memory, now: Timestamp) {
        for _ in 0..most {
            let Some((at, id)) = open.expiries.first().copied().filter(|(at, _)| *at <= now) else { break };
            open.remove(id, at).into_iter().for_each(|held| held.receipt.release(store, now));
        }
        self.note_next_expiry(open);
    }

    fn note_next_expiry(&self, open: &Open) {
        let next = open.holding.first().map_or(u64::MAX, |(at, _)| at.as_micros());
        self.next_expiry.store(next, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics under the lock; if something did, what was removed is removed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn remove(&mut self, id: ReservationId, at: Timestamp) -> Option<Held> {
        self.expiries.remove(&(at, id));
        self.holding.remove(&(at, id));
        self.held.remove(&id)
    }
}

impl Places<'_> {
    /// Keeps a reservation in one of the places; gives it back if all are taken.
    pub(crate) fn keep(&mut self, held: Held) -> Result<ReservationId, Held> {
        let Some(id) = self.ids.pop() else { return Err(held) };
        let mut open = self.reservations.lock();
        let key = (held.expires_at, id);
        open.promised -= 1;
        open.expiries.insert(key);
        if held.receipt.holds() {
            open.holding.insert(key);
        }
        open.held.insert(id, held);
        self.reservations.note_next_expiry(&open);
        Ok(id)
    }
}

impl Drop for Places<'_> {
    fn drop(&mut self) {
        if !self.ids.is_empty() {
            self.reservations.lock().promised -= self.ids.len();
        }
    }
}

/// Ids that nobody can guess. That two are equal has odds of 2^-88 even beside a million others.
fn ids(number: usize) -> Result<Vec<ReservationId>, ReserveError> {
    let mut bytes = vec![0; 16 * number];
    getrandom::fill(&mut bytes).map_err(|_| ReserveError::NoRandomness)?;
    let (chunks, _) = bytes.as_chunks::<16>();
    Ok(chunks.iter().map(|chunk| ReservationId(u128::from_le_bytes(*chunk))).collect())
}

impl Held {
    /// The places of units that are named.
    pub(crate) fn units(&self, actual: &[(&str, u64)]) -> Result<Vec<(UnitId, u64)>, SettleError> {
        let place = |name: &str| {
            let index = self.units.iter().position(|known| **known == *name);
            index.and_then(UnitId::at).ok_or_else(|| SettleError::UnknownUnit {
                name: name.to_owned(),
                known: self.units.iter().map(|known| known.to_string()).collect(),
            })
        };
        actual.iter().map(|(name, amount)| Ok((place(name)?, *amount))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_and_no_others() {
        for id in ids(100).expect("random bits") {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert!(!format!("{id:?}").contains(&id.to_string()));
        }
        let id = ids(1).expect("random bits")[0].to_string();
        for wrong in ["", &id[1..], &format!("{id}0"), &id.replace(|_| true, "A"), &format!("+{}", &id[1..])] {
            assert_eq!(wrong.parse::<ReservationId>(), Err(NotAnId), "{wrong}");
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let all: std::collections::HashSet<ReservationId> = (0..100).flat_map(|_| ids(100).expect("bits")).collect();
        assert_eq!(all.len(), 10_000);
    }
}
