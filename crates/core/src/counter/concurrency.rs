//! Concurrency: at most the limit at the same time, until it is released.
//!
//! State:
//!
//! | word | holds |
//! |---|---|
//! | 0 | the end of time (`u64::MAX`) while anything is held, else zero: only a release makes it fresh |
//! | 1 | units held |
//!
//! A state with another word 0 was written by a rule of another algorithm; nothing of it is held.

use super::{Rule, Status, Wait};
use crate::Span;

const HELD: u64 = u64::MAX;

pub(super) fn peek(rule: &Rule, state: &[u64], need: u64) -> Status {
    let limit = rule.limit();
    let remaining = limit.saturating_sub(held(state));
    let retry_after = if need <= remaining {
        Wait::None
    } else if need > limit {
        Wait::Never
    } else {
        Wait::Release
    };
    Status { remaining, reset_after: Span::ZERO, retry_after }
}

pub(super) fn charge(state: &mut [u64], take: u64) {
    write(state, held(state).saturating_add(take));
}

pub(super) fn adjust(state: &mut [u64], taken: u64, actual: u64) {
    let held = held(state);
    let held = if actual >= taken { held.saturating_add(actual - taken) } else { held.saturating_sub(taken - actual) };
    write(state, held);
}

fn held(state: &[u64]) -> u64 {
    if state[0] == HELD { state[1] } else { 0 }
}

fn write(state: &mut [u64], held: u64) {
    state[0] = if held == 0 { 0 } else { HELD };
    state[1] = held;
}
