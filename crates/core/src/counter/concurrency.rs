//! Concurrency.
use super::{Rule, Status};
pub(super) fn peek(_rule: &Rule, _state: &[u64], _need: u64) -> Status {
    unimplemented!()
}
pub(super) fn charge(_rule: &Rule, _state: &mut [u64], _take: u64) {
    unimplemented!()
}
pub(super) fn adjust(_state: &mut [u64], _taken: u64, _actual: u64) {
    unimplemented!()
}
