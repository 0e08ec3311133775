//! Token bucket (GCRA).
use super::{Quota, Rule, RuleError, Status};
use crate::Timestamp;
/// The interval between two units, in microseconds, in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Interval {
    numerator: u64,
    denominator: u64,
}
impl Interval {
    pub(super) fn of(_quota: Quota) -> Result<Interval, RuleError> {
        unimplemented!()
    }
}
pub(super) fn peek(_rule: &Rule, _state: &[u64], _need: u64, _now: Timestamp) -> Status {
    unimplemented!()
}
pub(super) fn charge(_rule: &Rule, _state: &mut [u64], _take: u64, _now: Timestamp) {
    unimplemented!()
}
pub(super) fn adjust(_rule: &Rule, _state: &mut [u64], _taken: u64, _actual: u64, _now: Timestamp) {
    unimplemented!()
}
