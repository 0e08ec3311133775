//! Which distinct values a counter has counted in its window.
//!
//! Beside the counter of a limit that counts distinct values stands a marker for each value that was counted: a slot of the
//! smallest class, named as the counter and by the value. It is charged in the same transaction as the counter: whoever
//! sees the one sees the other.
//!
//! | word | holds |
//! |---|---|
//! | 0 | end of the counter's window in which the value was counted, in microseconds since 1970 |
//! | 1 | 1 |
//!
//! A value was counted if its marker has the end of the very window that the counter is in. So the two never disagree about
//! where a window begins, by whatever clock, calendar or first request; and a counter that begins anew, also because the
//! clock was set back, has counted nothing. Like a counter a marker is forgotten once its window is over, and not before.

use tidegate_core::Timestamp;

/// One marker of a demand, which stands behind the demand's counters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marker {
    /// The place of the charge that counts its value.
    pub(super) charge: usize,
}

/// The state of a marker whose value was counted in the window with this end.
pub(super) fn counted(end: Timestamp) -> [u64; 2] {
    [end.as_micros(), 1]
}
