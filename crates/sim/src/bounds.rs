//! Every maximum of a simulation, each with its reason.

use tidegate_core::Timestamp;

pub use tidegate_policy::question::MAX_HEADERS;

/// Longest line of a trace in bytes: a request with the largest body that the gateway reads for its cost, twice over for
/// escapes.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// The last instant of a trace, the end of the year 9999: later ones are a unit mistaken, milliseconds for seconds.
pub const LAST_INSTANT: Timestamp = Timestamp::from_secs(253_402_300_799);

/// Keys that are counted to find the busiest. A trace of no more keys is counted exactly; of more, every key that has
/// more than one in so many demands is found, and its count is too high by at most that share.
pub const COUNTED_KEYS: usize = 4_096;
