//! Fixed window.
use super::{Rule, Status};
use crate::Timestamp;
pub(super) fn peek(_rule: &Rule, _state: &[u64], _need: u64, _now: Timestamp) -> Status {
    unimplemented!()
}
pub(super) fn charge(_rule: &Rule, _state: &mut [u64], _take: u64, _now: Timestamp) {
    unimplemented!()
}
pub(super) fn adjust(
    _rule: &Rule,
    _state: &mut [u64],
    _taken: u64,
    _actual: u64,
    _taken_at: Timestamp,
    _now: Timestamp,
) {
    unimplemented!()
}
