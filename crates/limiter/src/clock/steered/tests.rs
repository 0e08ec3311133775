//! A machine whose counter and kernel do what they do in life, and worse.

use std::cell::Cell;

use super::*;

/// Counter and kernel over true time, in nanoseconds. Reading one takes some.
struct Machine {
    time: Cell<u64>,
    ticks: Cell<u64>,
    kernel: Cell<u64>,
    /// Ticks in 1,000 ns, and what a nanosecond is to the kernel in millionths of one.
    tick_rate: Cell<u64>,
    kernel_rate: Cell<u64>,
    nominal_rate: u64,
    /// What is less than a tick, and than a unit of the kernel's.
    rests: Cell<[u64; 2]>,
}

const MILLION: u64 = 1_000_000;

impl Machine {
    fn with(tick_rate: u64) -> Machine {
        let (ticks, kernel) = (Cell::new(7 * MILLION), Cell::new(micros(1_706_745_600 * MILLION)));
        let nominal_rate = u64::try_from((1024_u128 << RATE_BITS) / u128::from(tick_rate)).expect("a rate");
        let [tick_rate, kernel_rate] = [tick_rate, MILLION].map(Cell::new);
        Machine { time: Cell::new(0), ticks, kernel, tick_rate, kernel_rate, nominal_rate, rests: Cell::default() }
    }

    /// So many nanoseconds pass.
    fn pass(&self, nanos: u64) {
        self.run(nanos, nanos);
    }

    /// So many pass for the counter, and so many for the kernel.
    fn run(&self, counter: u64, kernel: u64) {
        let [tick, unit] = self.rests.get();
        let ticks = u128::from(counter) * u128::from(self.tick_rate.get()) + u128::from(tick);
        let units = u128::from(kernel) * u128::from(self.kernel_rate.get()) * 1_024 + u128::from(unit);
        let whole = |number: u128| u64::try_from(number).expect("a time that fits");
        self.ticks.set(self.ticks.get().wrapping_add(whole(ticks / 1_000)));
        self.kernel.set(self.kernel.get() + whole(units / 1_000_000_000));
        self.rests.set([whole(ticks % 1_000), whole(units % 1_000_000_000)]);
        self.time.set(self.time.get() + kernel);
    }
}

impl Source for Machine {
    fn ticks(&self) -> u64 {
        self.pass(10);
        self.ticks.get()
    }

    fn kernel(&self) -> u64 {
        self.pass(25);
        self.kernel.get()
    }

    fn nominal_rate(&self) -> u64 {
        self.nominal_rate
    }
}

/// How far the clock is from the kernel's, in microseconds, ahead and behind.
fn off(steered: &Steered<Machine>) -> (u64, u64) {
    let (shown, kernel) = (steered.now(), steered.source.kernel.get());
    (shown.saturating_sub(kernel) >> FRACTION_BITS, kernel.saturating_sub(shown) >> FRACTION_BITS)
}

/// Pauses between readings: mostly short, now and then long.
fn pauses(mut random: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        match random % 50 {
            0 => random % 3_000_000_000,
            1..10 => random % 30_000_000,
            _ => random % 400_000,
        }
    })
}

/// Every reading is as late as those before it, and within a microsecond of the kernel's clock.
#[test]
fn it_keeps_to_a_kernel_that_runs_evenly() {
    for (tick_rate, seed) in [(24, 1), (1_000, 2), (2_500, 3), (4_123, 4), (5_999, 5)] {
        for kernel_rate in [MILLION, MILLION + 83, MILLION - 499] {
            let steered = Steered::by(Machine::with(tick_rate));
            steered.source.kernel_rate.set(kernel_rate);
            let (mut last, mut lines) = (0, 0);
            for pause in pauses(seed).take(20_000) {
                steered.source.pass(pause);
                lines += u64::from(steered.line().and_then(|line| line.time(steered.source.ticks())).is_some());
                let now = steered.now();
                assert!(now >= last);
                last = now;
                let off = off(&steered);
                assert!(off.0 <= 1 && off.1 <= 1, "{off:?} microseconds off after {} ns", steered.source.time.get());
            }
            assert!(lines > 15_000, "{lines} readings of the counter alone");
        }
    }
}

/// A kernel that is slewed by NTP, as steeply as it may be: followed within what a tenth of a second of it is.
#[test]
fn it_follows_a_kernel_that_is_slewed() {
    let steered = Steered::by(Machine::with(3_000));
    let mut last = 0;
    for (number, pause) in pauses(6).take(50_000).enumerate() {
        if number % 1_000 == 0 {
            let slew = [0, 500, 1_000, 250][number / 1_000 % 4];
            steered.source.kernel_rate.set(MILLION - 500 + slew);
        }
        steered.source.pass(pause);
        let now = steered.now();
        assert!(now >= last);
        last = now;
        let off = off(&steered);
        let most = if number % 1_000 == 999 { 1 } else { 101 };
        assert!(off.0 <= most && off.1 <= most, "{off:?} microseconds off after {number} readings");
    }
}

/// A kernel that has become slower, and readings so close that none is after the end of a line by as much as that was
/// ahead: the next line takes back what the last one was ahead.
#[test]
fn what_it_is_ahead_is_taken_back() {
    let steered = Steered::by(Machine::with(3_000));
    let ahead_after = |nanos: u64| {
        let end = steered.source.time.get() + nanos;
        let (mut last, mut most) = (0, 0);
        while steered.source.time.get() < end {
            steered.source.pass(10_000);
            let now = steered.now();
            assert!(now >= last);
            last = now;
            most = most.max(off(&steered).0);
        }
        (most, off(&steered).0)
    };
    assert_eq!(ahead_after(500_000_000), (0, 0));
    steered.source.kernel_rate.set(MILLION - 500);
    let (most, after) = ahead_after(500_000_000);
    assert!((25..=50).contains(&most) && after <= 1, "{most} at most, {after} after some lines");
}

/// A machine that sleeps (the counter goes on, or begins anew), one that is moved (the counter jumps, or changes its
/// pace): never back, and never off by more than a line is long.
#[test]
fn a_counter_that_jumps_is_noticed() {
    let steered = Steered::by(Machine::with(3_000));
    let (mut last, mut jumps) = (0, 0);
    for (number, pause) in pauses(7).take(60_000).enumerate() {
        let machine = &steered.source;
        if number % 500 == 0 {
            jumps += 1;
            match jumps % 5 {
                0 => machine.run(3_600_000_000_000, 1_000),
                1 => machine.ticks.set(pause),
                2 => machine.ticks.set(machine.ticks.get().wrapping_sub(3_000 * 150_000)),
                3 => machine.ticks.set(machine.ticks.get().wrapping_add(3_000 * 90_000)),
                _ => machine.tick_rate.set([3_000, 6_000, 2_900][jumps / 5 % 3]),
            }
        }
        machine.pass(pause);
        let now = steered.now();
        assert!(now >= last);
        last = now;
        let off = off(&steered);
        assert!(off.0 <= 100_001 && off.1 <= 100_001, "{off:?} microseconds off after jump {jumps}");
    }
    // And once all is well again, it is right again.
    steered.source.tick_rate.set(3_000);
    for pause in pauses(8).take(2_000) {
        steered.source.pass(pause);
        steered.now();
    }
    let off = off(&steered);
    assert!(off.0 <= 1 && off.1 <= 1, "{off:?} microseconds off");
}

/// I10: what the kernel's time jumped by shows at once.
#[test]
fn a_jump_of_the_kernel_is_followed() {
    let steered = Steered::by(Machine::with(2_000));
    for pause in pauses(9).take(1_000) {
        assert!(off(&steered).1 <= 1, "what it was behind is not made up for");
        steered.source.pass(pause % 1_000_000);
        let before = steered.now();
        let jump = micros(pause % 5_000);
        steered.source.kernel.set(steered.source.kernel.get() + jump);
        steered.follow_jump(jump);
        let now = steered.now();
        assert!(now >= before && (jump <= STEP || now >= before + jump - STEP), "{before} {now} {jump}");
        for _ in 0..400 {
            steered.source.pass(1_000_000);
            steered.now();
        }
    }
}

/// Whoever is interrupted each time between counter and kernel goes by the kernel.
#[test]
fn a_machine_that_is_too_slow_to_compare_goes_by_its_kernel() {
    struct Slow(Machine);
    impl Source for Slow {
        fn ticks(&self) -> u64 {
            self.0.pass(5_000);
            self.0.ticks()
        }
        fn kernel(&self) -> u64 {
            self.0.kernel()
        }
        fn nominal_rate(&self) -> u64 {
            self.0.nominal_rate()
        }
    }
    let steered = Steered::by(Slow(Machine::with(2_000)));
    for pause in pauses(10).take(1_000) {
        steered.source.0.pass(pause);
        let before = steered.source.0.kernel.get();
        let now = steered.now();
        assert!(before <= now && now <= steered.source.0.kernel.get());
    }
}
