//! Ceilings: what a counter is written down as, so that it rarely has to be.
//!
//! A store that outlives a crash writes a counter down as if a little more were used than is: up to a *ceiling*. Until its
//! use comes near that, nothing more need be written; and what is found after a crash is never less than what was used,
//! nor more by much. The ceiling rises half a step ahead of the use: by the time that the use reaches the old ceiling, the
//! new one has long been kept.
//!
//! A state's *level* is what rises with its use: the units of a window, or of the newest cell of a sliding one, and the
//! instant at which a bucket will be full. It belongs to an *epoch*: the end of the window, the cell, or the rule that a
//! bucket's state is marked with. Of level u and step s the ceiling is s × (⌊(u + s/2) ÷ s⌋ + 1), or u itself where s is one.
//! The step follows from the state alone, so that it does not matter which limit was in force when it was written: it is
//! the power of two next below an eighth of the units used, or a sixteenth of the time in which a bucket fills.

use super::{Algorithm, Rule, sliding_window, token_bucket};
use crate::Span;

/// Counters whose whole use comes back sooner are not worth writing down: a restart takes longer than much of them.
const SHORTEST: Span = Span::from_secs(60);

/// Steps in what is used of a window, at least. More would write more often, fewer would cost more after a crash.
const STEPS_OF_UNITS: u64 = 8;

/// Steps in the time that a bucket fills in, at least.
const STEPS_OF_FILL: u64 = 16;

/// What a change of a counter asks of who writes it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Nothing: the ceiling that was written holds.
    Holds,
    /// A new ceiling. The use is not above the one before it.
    Ahead,
    /// A new ceiling. The use is above all that were written.
    Now,
}

/// Which ceiling has to be kept before anything may be done on the strength of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The one before the latest.
    Former,
    /// The latest.
    Latest,
}

/// Where a state stands, and in which steps it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    epoch: u64,
    level: u64,
    bits: u32,
}

impl Rule {
    /// Whether counters of this rule are to outlive the process: all but what is in flight, if it takes a minute or longer
    /// until what is used has come back.
    pub fn outlives(&self) -> bool {
        match self.algorithm {
            Algorithm::Concurrency => false,
            Algorithm::TokenBucket => self.interval.fill() >= SHORTEST,
            Algorithm::FixedWindow | Algorithm::SlidingWindow { .. } => self.quota.window >= SHORTEST,
        }
    }

    /// What a change of a counter from `before` to `after` asks of who writes it down.
    pub fn cover(&self, before: &[u64], after: &[u64]) -> Cover {
        let (old, new) = (self.mark(before), self.mark(after));
        if old.epoch != new.epoch || new.level < old.level || self.has_changed_older_cells(before, after) {
            // What was written of another epoch says nothing of this one, and what was given back shall not stay lost.
            return Cover::Now;
        }
        let (former, latest) = (old.ceiling(), new.ceiling());
        // The one before the latest has to do until the use is above the step below the latest.
        if former == latest {
            Cover::Holds
        } else if latest - former <= new.step() {
            Cover::Ahead
        } else {
            Cover::Now
        }
    }

    /// Which ceiling has to cover a counter in this state.
    pub fn needs(&self, state: &[u64]) -> Needs {
        let mark = self.mark(state);
        let into = mark.level % mark.step();
        let is_above_former = mark.bits == 0 || (0 < into && into < mark.step() / 2);
        if is_above_former { Needs::Latest } else { Needs::Former }
    }

    /// Makes of a state what is written down: the same with its use at the ceiling. A state of nothing stays as it is.
    pub fn raise(&self, state: &mut [u64]) {
        let ceiling = self.mark(state).ceiling();
        match self.algorithm {
            _ if state[0] == 0 => {}
            Algorithm::FixedWindow => state[1] = ceiling,
            Algorithm::SlidingWindow { cells } => state[sliding_window::newest_word(cells, state)] = ceiling,
            Algorithm::TokenBucket => state[0] = ceiling,
            Algorithm::Concurrency => {}
        }
    }

    /// The most units that a crash can cost a counter of which `used` units are used.
    pub fn most_lost(&self, used: u64) -> u64 {
        match self.algorithm {
            Algorithm::Concurrency => 0,
            Algorithm::FixedWindow | Algorithm::SlidingWindow { .. } => most_ahead(bits_of_units(used)),
            Algorithm::TokenBucket => {
                self.interval.units_in(most_ahead(bits_of_fill(self.interval.fill().as_micros())))
            }
        }
    }

    /// Whether a cell before the newest was settled, in an epoch that goes on.
    fn has_changed_older_cells(&self, before: &[u64], after: &[u64]) -> bool {
        let Algorithm::SlidingWindow { cells } = self.algorithm else { return false };
        let newest = sliding_window::newest_word(cells, after);
        (2..self.state_words()).any(|word| word != newest && before[word] != after[word])
    }

    fn mark(&self, state: &[u64]) -> Mark {
        match self.algorithm {
            Algorithm::FixedWindow => Mark { epoch: state[0], level: state[1], bits: bits_of_units(state[1]) },
            Algorithm::SlidingWindow { cells } => {
                let level = state[sliding_window::newest_word(cells, state)];
                Mark { epoch: state[1], level, bits: bits_of_units(level) }
            }
            Algorithm::TokenBucket => {
                let (mark, fill) = token_bucket::mark_of(state);
                Mark { epoch: mark, level: state[0], bits: bits_of_fill(fill) }
            }
            Algorithm::Concurrency => Mark { epoch: 0, level: 0, bits: 0 },
        }
    }
}

impl Mark {
    fn step(self) -> u64 {
        1 << self.bits
    }

    fn ceiling(self) -> u64 {
        if self.bits == 0 {
            return self.level;
        }
        let steps = (self.level.saturating_add(self.step() / 2) >> self.bits).saturating_add(1);
        steps.saturating_mul(self.step())
    }
}

fn bits_of_units(level: u64) -> u32 {
    (level / STEPS_OF_UNITS).max(1).ilog2()
}

fn bits_of_fill(micros: u64) -> u32 {
    (micros / STEPS_OF_FILL).max(1).ilog2()
}

/// By how much a ceiling may be above the level.
fn most_ahead(bits: u32) -> u64 {
    if bits == 0 { 0 } else { (1 << bits) + (1 << bits >> 1) }
}
