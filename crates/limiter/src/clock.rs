//! The only reader of time: what a decision calls `now` comes from here, once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_core::Timestamp;

/// Where `now` comes from.
pub trait Clock {
    /// The instant it is. Never earlier than one already given to the same thread, unless a test wills it so.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The machine's time: the wall clock as it was at the start, carried on by the monotonic clock.
///
/// It never runs backwards: a wall clock that is set back changes nothing here, so that it can lock nobody out for the
/// hour it was set back by. A wall clock that moved forwards, because it was set or because the machine slept while the
/// monotonic clock stood still, is caught up with by [`SystemClock::follow_wall`]; one jump gives every counter at most
/// the units that would have come back in that time.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    /// The wall clock at `started`, in microseconds since 1970, and the forward jumps since.
    origin: AtomicU64,
}

impl SystemClock {
    /// A clock that starts with the machine's wall clock.
    #[expect(clippy::disallowed_methods, reason = "this file is the one that reads clocks")]
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now(), origin: AtomicU64::new(wall_clock()) }
    }

    /// Catches up with the wall clock if it is ahead, and says by how much it was. To be called about once a second.
    pub fn follow_wall(&self) -> Duration {
        self.catch_up_with(wall_clock())
    }

    fn catch_up_with(&self, wall: u64) -> Duration {
        let behind = wall.saturating_sub(self.now().as_micros());
        self.origin.fetch_add(behind, Ordering::Relaxed);
        Duration::from_micros(behind)
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.origin.load(Ordering::Relaxed).saturating_add(micros(self.started.elapsed())))
    }
}

/// Microseconds since 1970 by the wall clock; zero for a machine that believes to be before.
#[expect(clippy::disallowed_methods, reason = "this file is the one that reads clocks")]
fn wall_clock() -> u64 {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

fn micros(span: Duration) -> u64 {
    // Without the 128-bit division of `Duration::as_micros`; saturates after 584,000 years.
    span.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(span.subsec_micros()))
}

/// A clock that stands still until it is told otherwise: for traces in virtual time, and for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> ManualClock {
        ManualClock { now: AtomicU64::new(now.as_micros()) }
    }

    /// Sets it, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.as_micros(), Ordering::Relaxed);
    }

    /// Moves it on by `span`.
    pub fn advance(&self, span: Duration) {
        self.now.fetch_add(micros(span), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T6, I10: a wall clock set back locks nobody out, one set forward is followed.
    #[test]
    fn the_system_clock_only_runs_forward() {
        let clock = SystemClock::new();
        let start = clock.now();
        let hour = 3_600_000_000;
        assert_eq!(clock.catch_up_with(start.as_micros() - hour), Duration::ZERO);
        assert!(clock.now() >= start);
        assert!(clock.now().since(start).as_micros() < hour);
        let jumped = clock.catch_up_with(start.as_micros() + hour);
        assert!(jumped > Duration::from_secs(3_000) && jumped <= Duration::from_secs(3_600));
        assert!(clock.now().since(start).as_micros() >= hour);
    }

    #[test]
    fn the_system_clock_starts_with_the_wall_clock() {
        let clock = SystemClock::new();
        let apart = clock.now().as_micros().abs_diff(wall_clock());
        assert!(apart < 60_000_000, "{apart} microseconds apart");
    }
}
