//! Every maximum of the decision path, each with its reason.

use crate::Span;

/// Largest amount of a quota, burst or cost: 2^53 − 1, the largest whole number that Lua, JSON readers and JavaScript
/// keep exact. A larger one would be silently rounded by the first peer that reads it.
pub const MAX_AMOUNT: u64 = (1 << 53) - 1;

/// Longest window: 366 days. A year's quota fits; amount × window in microseconds stays below 2^98, so 128-bit products
/// in the counters cannot overflow.
pub const MAX_WINDOW: Span = Span::from_secs(366 * 86_400);

/// Shortest window: one millisecond. Below that an aligned window is shorter than the jitter of any caller.
pub const MIN_WINDOW: Span = Span::from_micros(1_000);

/// Largest reduced denominator of a token bucket's interval (window ÷ amount in lowest terms): the state keeps the
/// fraction of a microsecond in at most half a word.
pub const MAX_INTERVAL_DENOMINATOR: u64 = u32::MAX as u64;

/// Longest time for an empty token bucket to fill: 10,000 years of 366 days. Twice that after any plausible `now` stays
/// below 2^60 µs, so that no instant a bucket writes overflows. A burst that takes longer never comes back to anybody.
pub const MAX_FILL: Span = Span::from_secs(10_000 * 366 * 86_400);

/// Most cells of a sliding window: its state then fits 64 words. The throughput lost to the oldest cell, counted whole,
/// is below 1.7 % there; more cells would buy little.
pub const MAX_CELLS: u16 = 61;

/// Attributes of one policy, the four built-in ones included. The largest shipped policy uses seven; the array of
/// values lives on the stack of every decision.
pub const MAX_ATTRIBUTES: usize = 16;

/// Units of one policy, `requests` included.
pub const MAX_UNITS: usize = 8;

/// Limits that one demand can meet. A policy may have many more; those that can apply to one operation are counted when
/// it is frozen. The charges live on the stack of every decision.
pub const MAX_CHARGES: usize = 16;

/// Limits of one policy.
pub const MAX_LIMITS: usize = 10_000;

/// Operations of one policy.
pub const MAX_OPERATIONS: usize = 20_000;

/// Longest value of an attribute in bytes. Bearer tokens and destinations fit; the state of a counter does not grow
/// with it, only the work of hashing.
pub const MAX_ATTRIBUTE_BYTES: usize = 4_096;

/// Most distinct values that a limit counts in a window. Each has a marker of 32 bytes in the store while the window runs,
/// so that one counter takes up to 32 MB.
pub const MAX_DISTINCT: u64 = 1_000_000;

/// Depth of nested quota choices (`by` inside `by`).
pub const MAX_QUOTA_DEPTH: usize = 4;
