//! The last refusals, so that each can be explained by its id: a ring of slots that are written over in turn.
//!
//! A refusal takes a number from one counter and fills the slot of that number, whose memory is used again: no two
//! refusals in flight have one slot unless the whole ring has gone round between them, so that no thread waits for
//! another, and nothing is allocated once the slots have grown. What is kept is owned, so that no policy is kept alive.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{HeaderName, HeaderValue};
use tidegate_core::{Basis, Decision, Mode, Status, Timestamp, UnitId};

use crate::Surface;

/// Refusals that are kept: enough to find one that a caller reports within minutes, at most 10 MB of the longest values.
pub const KEPT: usize = 1_024;

/// The header of an answer that says by what its refusal can be asked for.
pub const DECISION_HEADER: HeaderName = HeaderName::from_static("tidegate-decision");

/// Bytes of an attribute's value that are kept. Names and numbers are whole; of a long token its beginning tells whose it
/// is.
pub const MAX_KEPT_BYTES: usize = 256;

/// What a refusal is asked for by: unique in this process, and another process has another tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionId {
    tag: u16,
    number: u64,
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}-{:x}", self.tag, self.number)
    }
}

impl DecisionId {
    /// The id as the value of [`DECISION_HEADER`]: what is displayed, at a fifth of its cost.
    pub fn header_value(self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |number: u64, place: u32| DIGITS[usize::try_from(number >> (4 * place) & 0xf).unwrap_or_default()];
        let mut text = [b'-'; 21];
        for (place, byte) in (0..4).rev().zip(&mut text) {
            *byte = digit(self.tag.into(), place);
        }
        let digits = self.number.checked_ilog2().map_or(1, |bits| bits / 4 + 1);
        let length = 5 + digits as usize;
        for (place, byte) in (0..digits).rev().zip(&mut text[5..length]) {
            *byte = digit(self.number, place);
        }
        HeaderValue::from_bytes(&text[..length]).expect("digits and a hyphen are visible")
    }
}

impl FromStr for DecisionId {
    type Err = ();

    fn from_str(text: &str) -> Result<DecisionId, ()> {
        let (tag, number) = text.split_once('-').filter(|(tag, _)| tag.len() == 4).ok_or(())?;
        let is_hex = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex(tag) || !is_hex(number) {
            return Err(());
        }
        let tag = u16::from_str_radix(tag, 16).map_err(|_| ())?;
        Ok(DecisionId { tag, number: u64::from_str_radix(number, 16).map_err(|_| ())? })
    }
}

/// The last refusals of this process.
#[derive(Debug)]
pub struct Refusals {
    tag: u16,
    next: AtomicU64,
    slots: Box<[Mutex<Refusal>]>,
}

/// One refusal, as it was decided.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// Zero for a slot that was not used yet.
    number: u64,
    at: Timestamp,
    surface: Option<Surface>,
    version: u64,
    /// All texts, one after the other; the parts below end where they say.
    text: String,
    policy: usize,
    attributes: Vec<(usize, usize)>,
    costs: Vec<(usize, u64)>,
    limits: Vec<RefusedLimit>,
    binding: Option<usize>,
    is_shortened: bool,
}

/// One limit's part in a refusal.
#[derive(Clone, Copy, Debug)]
struct RefusedLimit {
    name: usize,
    /// Where the unit's name ends, which follows the limit's.
    unit: usize,
    numbers: Numbers,
}

/// The numbers of one limit.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    limit: u64,
    need: u64,
    status: Status,
    basis: Basis,
    mode: Mode,
    is_distinct: bool,
}

/// One limit in a refusal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitNumbers<'r> {
    /// The unit that it counts, or the attribute.
    pub unit: &'r str,
    /// Whether it counts distinct values of an attribute.
    pub is_distinct: bool,
    /// The most units that fit at once.
    pub limit: u64,
    /// The units that had to fit.
    pub need: u64,
    /// What the counter said.
    pub status: Status,
    /// What that rests on.
    pub basis: Basis,
    /// Whether it was enforced.
    pub mode: Mode,
}

impl Refusals {
    /// A ring in which nothing was kept yet, of `kept` refusals at most.
    pub fn new(kept: usize) -> Refusals {
        // Any value that differs from the last process's will do; a map's seed does.
        use std::hash::{BuildHasher, Hasher, RandomState};
        let seed = RandomState::new().build_hasher().finish();
        let tag = u16::try_from(seed & 0xffff).unwrap_or_default();
        let slots = (0..kept.max(1)).map(|_| Mutex::default()).collect();
        Refusals { tag, next: AtomicU64::new(1), slots }
    }

    /// Keeps a decision that refused, and says by what it can be asked for.
    pub fn keep(&self, decision: &Decision<'_>, surface: Surface) -> DecisionId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut slot = self.slot(number);
        // Whoever was delayed for a whole round leaves the newer one in its place.
        if slot.number < number {
            slot.fill(number, decision, surface);
        }
        DecisionId { tag: self.tag, number }
    }

    /// The refusal of that id, if it is still kept.
    pub fn find(&self, id: DecisionId) -> Option<Refusal> {
        let slot = self.slot(id.number);
        (id.tag == self.tag && id.number > 0 && slot.number == id.number).then(|| slot.clone())
    }

    /// The newest refusals, the newest first, at most `most`.
    pub fn newest(&self, most: usize) -> Vec<(DecisionId, Refusal)> {
        let newest = self.next.load(Ordering::Relaxed);
        let numbers = (1..newest).rev().take(most.min(self.slots.len()));
        let ids = numbers.map(|number| DecisionId { tag: self.tag, number });
        ids.filter_map(|id| Some((id, self.find(id)?))).collect()
    }

    fn slot(&self, number: u64) -> MutexGuard<'_, Refusal> {
        let index = usize::try_from(number % self.slots.len() as u64).unwrap_or_default();
        // A slot is plain data: what a panic left of it is a refusal like another.
        self.slots[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusal {
    fn fill(&mut self, number: u64, decision: &Decision<'_>, surface: Surface) {
        let demand = decision.demand();
        let policy = demand.policy();
        self.number = number;
        self.at = decision.at();
        self.surface = Some(surface);
        self.version = policy.version();
        self.is_shortened = false;
        self.text.clear();
        self.attributes.clear();
        self.costs.clear();
        self.limits.clear();
        self.policy = self.note(policy.name());
        for (attribute, name) in policy.attributes() {
            let Some(value) = demand.attributes().value(attribute) else { continue };
            let kept = kept_part(value);
            self.is_shortened |= kept.len() < value.len();
            let pair = (self.note(name), self.note(kept));
            self.attributes.push(pair);
        }
        for (place, name) in policy.unit_names().enumerate() {
            if let Some(cost) = UnitId::at(place).and_then(|unit| demand.cost(unit)) {
                let name = self.note(name);
                self.costs.push((name, cost));
            }
        }
        let binding = decision.binding().map(|ruling| ruling.name());
        self.binding = None;
        for (index, ruling) in decision.rulings().enumerate() {
            if binding == Some(ruling.name()) {
                self.binding = Some(index);
            }
            let numbers = Numbers {
                limit: ruling.rule().limit(),
                need: ruling.charge.need(),
                status: ruling.status,
                basis: ruling.basis,
                mode: ruling.charge.limit().mode(),
                is_distinct: ruling.charge.limit().distinct().is_some(),
            };
            let name = self.note(ruling.name());
            let unit = self.note(policy.counted(ruling.charge.limit()));
            self.limits.push(RefusedLimit { name, unit, numbers });
        }
    }

    /// Adds a text and says where it ends; where it begins, the one before ends.
    fn note(&mut self, text: &str) -> usize {
        self.text.push_str(text);
        self.text.len()
    }

    /// When it was decided.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Where it was answered.
    pub fn surface(&self) -> &'static str {
        self.surface.map_or("", Surface::name)
    }

    /// The policy's name.
    pub fn policy(&self) -> &str {
        &self.text[..self.policy]
    }

    /// The policy's number.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a value was too long to be kept whole.
    pub fn is_shortened(&self) -> bool {
        self.is_shortened
    }

    /// The attributes that had values, operation, class, method and plan among them.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut from = self.policy;
        self.attributes.iter().map(move |(name, value)| {
            let pair = (&self.text[from..*name], &self.text[*name..*value]);
            from = *value;
            pair
        })
    }

    /// The costs that were named, by unit.
    pub fn costs(&self) -> impl Iterator<Item = (&str, u64)> {
        let mut from = self.attributes.last().map_or(self.policy, |(_, value)| *value);
        self.costs.iter().map(move |(name, cost)| {
            let pair = (&self.text[from..*name], *cost);
            from = *name;
            pair
        })
    }

    /// The limits that applied, in the order of the policy, and whether each is the one that binds.
    pub fn limits(&self) -> impl Iterator<Item = (&str, LimitNumbers<'_>, bool)> {
        let attributes = self.attributes.last().map_or(self.policy, |(_, value)| *value);
        let mut from = self.costs.last().map_or(attributes, |(name, _)| *name);
        self.limits.iter().enumerate().map(move |(index, kept)| {
            let (name, unit) = (&self.text[from..kept.name], &self.text[kept.name..kept.unit]);
            from = kept.unit;
            let Numbers { limit, need, status, basis, mode, is_distinct } = kept.numbers;
            let numbers = LimitNumbers { unit, is_distinct, limit, need, status, basis, mode };
            (name, numbers, self.binding == Some(index))
        })
    }
}

/// As much of a value as is kept, in whole characters.
fn kept_part(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_KEPT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let ends = [0, 1, 0xf, 0x10, 0xff, 0x100, u64::MAX >> 4, u64::MAX];
        for id in ends.into_iter().flat_map(|number| [0, 0xb, 0xbeef].map(|tag| DecisionId { tag, number })) {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.header_value(), id.to_string());
        }
        for wrong in ["", "-", "0000-", "000-1", "00000-1", "+000-1", "0000-+1", "0000-10000000000000000", "é00-1"] {
            assert_eq!(wrong.parse::<DecisionId>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn values_are_cut_between_characters() {
        assert_eq!(kept_part("short"), "short");
        let long = "é".repeat(MAX_KEPT_BYTES);
        assert_eq!(kept_part(&long[..]).len(), MAX_KEPT_BYTES);
        assert_eq!(kept_part(&format!("a{long}")).len(), MAX_KEPT_BYTES - 1);
    }
}
