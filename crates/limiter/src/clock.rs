//! The only reader of time: what a decision calls `now` comes from here, once.

mod steered;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_core::Timestamp;

use steered::{FRACTION_BITS, Source, Steered};

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
///
/// Where the kernel itself keeps time by the processor's counter, so do we between looks at the monotonic clock, ten a
/// second (`clock/steered.rs`): half the time of a hot decision would else be spent on asking the kernel.
#[derive(Debug)]
pub struct SystemClock {
    by: By,
}

#[derive(Debug)]
enum By {
    Counter(Steered<Counter>),
    Kernel(Monotonic),
}

impl SystemClock {
    /// A clock that starts with the machine's wall clock.
    pub fn new() -> SystemClock {
        let kernel = Monotonic::from(wall_clock());
        let by =
            if kernel_counts_ticks() { By::Counter(Steered::by(Counter::beside(kernel))) } else { By::Kernel(kernel) };
        SystemClock { by }
    }

    /// Catches up with the wall clock if it is ahead, and says by how much it was. To be called about once a second.
    pub fn follow_wall(&self) -> Duration {
        self.catch_up_with(wall_clock())
    }

    fn catch_up_with(&self, wall: u64) -> Duration {
        let kernel = match &self.by {
            By::Counter(steered) => &steered.source().kernel,
            By::Kernel(kernel) => kernel,
        };
        let behind = wall.saturating_sub(kernel.now() >> FRACTION_BITS);
        kernel.origin.fetch_add(behind, Ordering::Relaxed);
        if let By::Counter(steered) = &self.by {
            steered.follow_jump(behind << FRACTION_BITS);
        }
        Duration::from_micros(behind)
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Timestamp {
        match &self.by {
            By::Counter(steered) => Timestamp::from_micros(steered.now() >> FRACTION_BITS),
            By::Kernel(kernel) => Timestamp::from_micros(kernel.now() >> FRACTION_BITS),
        }
    }
}

/// The kernel's monotonic clock, from an instant of the wall clock on.
#[derive(Debug)]
struct Monotonic {
    started: Instant,
    /// The wall clock at `started`, in microseconds since 1970, and the forward jumps since.
    origin: AtomicU64,
}

impl Monotonic {
    #[expect(clippy::disallowed_methods, reason = "this file is the one that reads clocks")]
    fn from(wall: u64) -> Monotonic {
        Monotonic { started: Instant::now(), origin: AtomicU64::new(wall) }
    }

    /// In 1/1024 µs since 1970.
    fn now(&self) -> u64 {
        let passed = self.started.elapsed();
        let nanos = u64::from(passed.subsec_nanos());
        let passed = (passed.as_secs().saturating_mul(1_000_000) << FRACTION_BITS) + (nanos << FRACTION_BITS) / 1_000;
        (self.origin.load(Ordering::Relaxed) << FRACTION_BITS).saturating_add(passed)
    }
}

/// The processor's counter, beside the clock of the kernel.
#[derive(Debug)]
struct Counter {
    counter: quanta::Clock,
    kernel: Monotonic,
    nominal_rate: u64,
}

impl Counter {
    fn beside(kernel: Monotonic) -> Counter {
        // Compares the two for a moment, once a process: commonly half a millisecond, at most 200.
        let counter = quanta::Clock::new();
        // Nanoseconds in 2^32 ticks are a rate but for their unit.
        let nominal_rate = (counter.delta_as_nanos(0, 1 << 32) << FRACTION_BITS) / 1_000;
        Counter { counter, kernel, nominal_rate }
    }
}

impl Source for Counter {
    #[inline]
    fn ticks(&self) -> u64 {
        self.counter.raw()
    }

    fn kernel(&self) -> u64 {
        self.kernel.now()
    }

    fn nominal_rate(&self) -> u64 {
        self.nominal_rate
    }
}

/// Whether the kernel keeps time by a counter that programs can read: only then does it count evenly, and on all processors
/// alike. A kernel that finds otherwise takes another clock.
fn kernel_counts_ticks() -> bool {
    const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(CURRENT).is_ok_and(|name| ["tsc", "arch_sys_counter"].contains(&name.trim()))
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

    /// On every thread, while lines are drawn and jumps are caught up with.
    #[test]
    fn the_system_clock_never_runs_back() {
        let clock = SystemClock::new();
        let end = clock.now().as_micros() + 300_000;
        let watch = || {
            let mut last = clock.now();
            while last.as_micros() < end {
                let now = clock.now();
                assert!(now >= last, "{now:?} after {last:?}");
                last = now;
            }
        };
        std::thread::scope(|scope| {
            let watchers: Vec<_> = (0..3).map(|_| scope.spawn(watch)).collect();
            for ahead in [0, 10, 50, 150, 5_000] {
                let jumped = clock.catch_up_with(clock.now().as_micros() + ahead);
                assert!(jumped <= Duration::from_micros(ahead + 1));
            }
            watchers.into_iter().for_each(|watcher| watcher.join().expect("a clock that runs forward"));
        });
    }

    #[test]
    fn the_system_clock_starts_with_the_wall_clock() {
        let clock = SystemClock::new();
        let apart = clock.now().as_micros().abs_diff(wall_clock());
        assert!(apart < 60_000_000, "{apart} microseconds apart");
    }
}
