//! The processor's counter, steered after the kernel's clock: a reading costs what the counter costs, and no more.
//!
//! Time is a straight line through counter and clock, read by loads alone. A line holds for a tenth of a second. Whoever
//! comes after that compares counter and kernel, and draws the next: it begins at the kernel's time or, as time never runs
//! backwards, where the last one ended if that was ahead, and is then inclined so that the two meet at its end. So it
//! follows what the kernel is taught by NTP, within a microsecond while the kernel's clock runs evenly.
//!
//! What a counter may do that a clock must not:
//!
//! - it stops, jumps or begins anew (a machine that slept or was moved): then no line holds, and the kernel's clock is read
//!   until a line can be drawn anew. A jump from one place of a line to another shows: a tenth of a second at most;
//! - it changes its pace by more than an eighth: no line is drawn;
//! - it differs between processors: the kernel does not use such a counter itself, and neither do we then.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, PoisonError};

/// Time is kept in 1/1024 µs.
pub(super) const FRACTION_BITS: u32 = 10;

/// Rates are in 2^-32 of those a tick.
const RATE_BITS: u32 = 32;

/// How long a line holds: after so long, the error of a rate that was measured as well as can be is below a tenth of a
/// microsecond, and that of the steepest slewing of the kernel's clock (500 ppm) 50.
const LONGEST: u64 = micros(100_000);

/// How long a counter is watched before its rate is believed: two readings within 100 ns tell it to 10 ppm then.
const SHORTEST_WATCH: u64 = micros(10_000);

/// A jump of the kernel's time by more than this shows at once; a smaller one with the next line.
const STEP: u64 = micros(100);

/// How far apart readings of counter and kernel may be and still count as one. A thread that was interrupted between the two
/// tries again.
const CLOSE: u64 = micros(1);
const TRIES: usize = 4;

/// By how many ticks the counters of two processors may differ, at most: some microseconds.
const APART: u64 = 1 << 14;

const fn micros(micros: u64) -> u64 {
    micros << FRACTION_BITS
}

/// A counter, and the clock that tells what it counts.
pub(super) trait Source {
    /// Ticks of a counter that is cheap to read.
    fn ticks(&self) -> u64;

    /// The kernel's time, in 1/1024 µs since 1970. It never runs backwards.
    fn kernel(&self) -> u64;

    /// About how much of the kernel's time a tick is, in 2^-32 of its units.
    fn nominal_rate(&self) -> u64;
}

/// Time by a counter that is steered. One line is in force; the next is written in the place of the one before it.
#[derive(Debug)]
pub(super) struct Steered<S> {
    source: S,
    lines: [Published; 2],
    current: AtomicUsize,
    last: Mutex<Option<Fix>>,
    /// When drawing a line is worth trying again: once the counter was watched for long enough.
    again_at: AtomicU64,
}

/// A straight line: `at` when the counter was at `from`, and `rate` a tick from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    from: u64,
    at: u64,
    rate: u64,
}

/// A line where others read it.
#[derive(Debug, Default)]
struct Published {
    from: AtomicU64,
    at: AtomicU64,
    rate: AtomicU64,
}

/// What the line in force has shown.
enum Shown {
    /// It holds, and shows this.
    Now(u64),
    /// It no longer holds, and has shown no more than this.
    AtMost(u64),
}

impl Shown {
    fn time(self) -> u64 {
        let (Shown::Now(time) | Shown::AtMost(time)) = self;
        time
    }
}

/// Counter and kernel at one moment.
#[derive(Clone, Copy, Debug)]
struct Fix {
    ticks: u64,
    kernel: u64,
}

impl<S: Source> Steered<S> {
    pub(super) fn by(source: S) -> Steered<S> {
        let none = Line::none(source.ticks(), source.kernel());
        let (current, again_at) = (AtomicUsize::new(0), AtomicU64::new(0));
        let steered = Steered { source, lines: Default::default(), current, last: Mutex::new(None), again_at };
        steered.publish(none);
        steered
    }

    /// The time, in 1/1024 µs since 1970. Never earlier than one already given to the same thread.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        match self.line().and_then(|line| line.time(self.source.ticks())) {
            Some(time) => time,
            None => self.now_by_kernel(),
        }
    }

    /// The kernel's time has jumped forward by `ahead`. A small jump shows with the next line, a larger one at once.
    pub(super) fn follow_jump(&self, ahead: u64) {
        if ahead <= STEP {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = None;
        // What was shown is not unshown.
        let shown = self.shown().time();
        self.publish(Line::none(self.source.ticks(), shown));
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    /// No line holds: draws the next, if that is possible and nobody else does it, and says what time it is meanwhile.
    #[cold]
    fn now_by_kernel(&self) -> u64 {
        if self.source.kernel() >= self.again_at.load(Ordering::Relaxed)
            && let Ok(mut last) = self.last.try_lock()
            // Somebody else may just have done it.
            && self.line().is_none_or(|line| line.time(self.source.ticks()).is_none())
        {
            self.steer(&mut last);
        }
        // The kernel first: a line that came into force since then goes on from a reading of it that may be as late.
        let kernel = self.source.kernel();
        match self.shown() {
            Shown::Now(time) => time,
            Shown::AtMost(time) => time.max(kernel),
        }
    }

    fn shown(&self) -> Shown {
        loop {
            if let Some(line) = self.line() {
                return line.shown(self.source.ticks());
            }
        }
    }

    /// Puts the next line into force, or none where it cannot be drawn: one that no longer holds shall not hold again for a
    /// counter that jumps back.
    fn steer(&self, last: &mut Option<Fix>) {
        let Some(line) = self.line() else { return };
        let fix = self.fix();
        let (ticks, kernel) =
            fix.map_or_else(|| (self.source.ticks(), self.source.kernel()), |fix| (fix.ticks, fix.kernel));
        let shown = line.shown(ticks).time().max(kernel);
        let before = std::mem::replace(last, fix);
        let rate = before.zip(fix).and_then(|(before, fix)| rate_between(before, fix, self.source.nominal_rate()));
        let next = fix.zip(rate).map(|(fix, rate)| Line::after(fix, shown - kernel, rate));
        if next.is_none() {
            self.again_at.store(kernel + SHORTEST_WATCH, Ordering::Relaxed);
        }
        self.publish(next.unwrap_or(Line::none(ticks, shown)));
    }

    /// Counter and kernel at one moment, unless we are interrupted each time that we look.
    fn fix(&self) -> Option<Fix> {
        (0..TRIES).find_map(|_| {
            let before = self.source.kernel();
            let ticks = self.source.ticks();
            // The later one: a line is rather ahead by what the reading took than behind what was shown.
            let kernel = self.source.kernel();
            (kernel - before <= CLOSE).then_some(Fix { ticks, kernel })
        })
    }

    /// The line in force; `None` if that changed while it was read.
    #[inline]
    fn line(&self) -> Option<Line> {
        let current = self.current.load(Ordering::Acquire);
        let line = self.lines[current % 2].load();
        fence(Ordering::Acquire);
        (self.current.load(Ordering::Relaxed) == current).then_some(line)
    }

    /// Puts a line into force. One at a time: the caller holds the lock, or is alone.
    fn publish(&self, line: Line) {
        let next = self.current.load(Ordering::Relaxed).wrapping_add(1);
        // Whoever reads any of this also reads that the line that was here is no longer in force.
        fence(Ordering::Release);
        self.lines[next % 2].store(line);
        self.current.store(next, Ordering::Release);
    }
}

impl Line {
    /// One that never holds, where nothing later than `shown` was shown.
    fn none(ticks: u64, shown: u64) -> Line {
        Line { from: ticks.wrapping_add(1 << 63), at: shown.saturating_sub(LONGEST), rate: u64::MAX }
    }

    /// The line from `fix` on, where what was shown is `ahead` of the kernel: so much slower that they meet at its end, but
    /// never less than half as quick, for time goes on.
    fn after(fix: Fix, ahead: u64, rate: u64) -> Line {
        let slew = u64::try_from(u128::from(rate) * u128::from(ahead) / u128::from(LONGEST)).unwrap_or(rate);
        Line { from: fix.ticks, at: fix.kernel + ahead, rate: rate - slew.min(rate / 2) }
    }

    fn shown(self, ticks: u64) -> Shown {
        match self.time(ticks) {
            Some(time) => Shown::Now(time),
            // Another processor drew it a moment ago by a counter that is a little ahead of ours.
            None if self.from.wrapping_sub(ticks) < APART => Shown::Now(self.at),
            None => Shown::AtMost(self.at + LONGEST),
        }
    }

    /// The time on it; `None` if it does not hold there.
    #[inline]
    fn time(self, ticks: u64) -> Option<u64> {
        let since = (u128::from(ticks.wrapping_sub(self.from)) * u128::from(self.rate)) >> RATE_BITS;
        let since = u64::try_from(since).ok().filter(|since| *since <= LONGEST)?;
        Some(self.at + since)
    }
}

/// What a tick was between two fixes, in 2^-32 of the kernel's units; `None` if that cannot be.
fn rate_between(before: Fix, fix: Fix, nominal: u64) -> Option<u64> {
    let passed = fix.kernel.checked_sub(before.kernel).filter(|passed| *passed >= SHORTEST_WATCH)?;
    let passed = u128::from(passed) << RATE_BITS;
    let rate = passed.checked_div(u128::from(fix.ticks.wrapping_sub(before.ticks)))?;
    u64::try_from(rate).ok().filter(|rate| rate.abs_diff(nominal) <= nominal / 8)
}

impl Published {
    #[inline]
    fn load(&self) -> Line {
        let Published { from, at, rate } = self;
        let [from, at, rate] = [from, at, rate].map(|word| word.load(Ordering::Relaxed));
        Line { from, at, rate }
    }

    fn store(&self, line: Line) {
        self.from.store(line.from, Ordering::Relaxed);
        self.at.store(line.at, Ordering::Relaxed);
        self.rate.store(line.rate, Ordering::Relaxed);
    }
}
