//! What is particular to the store in memory.

use tidegate_core::{Algorithm, ChargeList, Demand, LimitDraft, Span, Status, Statuses, Timestamp};
use tidegate_limiter::{Memory, MemoryOptions};

use crate::support::{START, by, demand, limit, policy};

/// The status of a demand's only limit.
fn ask(memory: &Memory, asked: &Demand<'_>, now: Timestamp) -> Status {
    let mut statuses = Statuses::new();
    memory.charge(ChargeList::new().resolve(asked, now), &mut statuses, now);
    statuses.status(0)
}

/// I10, I51: a demand that read the clock before a counter of its key went idle, and came after it was forgotten, does
/// not find the old window open again.
#[test]
fn time_does_not_run_backwards_for_the_forgotten() {
    let memory = Memory::new(MemoryOptions { max_counters: 1 });
    let policy = policy(vec![limit("l", 1, 10)]);
    let (one, other) = (demand(&policy, &[("key", "one")]), demand(&policy, &[("key", "other")]));
    let (end, late) = (START.plus(Span::from_secs(10)), START.plus(Span::from_micros(9_999_999)));
    assert!(ask(&memory, &one, START).fits());
    assert!(ask(&memory, &other, end).fits(), "takes the slot of the idle counter");
    let later = end.plus(Span::from_secs(10));
    let status = ask(&memory, &one, late);
    assert!(!status.fits(), "no room, as the other counter is in use: {status:?}");
    assert!(ask(&memory, &demand(&policy, &[("key", "third")]), later).fits());
    assert_eq!(memory.counters(), 1);
    // Now with room: the window of `late` is not opened a second time, the demand counts in the one after.
    let memory = Memory::new(MemoryOptions { max_counters: 2_000 });
    assert!(ask(&memory, &one, START).fits());
    let names: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    for name in &names {
        assert!(ask(&memory, &demand(&policy, &[("key", name)]), end).fits());
    }
    let status = ask(&memory, &one, late);
    assert_eq!((status.fits(), status.remaining), (true, 0));
    assert_eq!(late.plus(status.reset_after), later, "charged to the window that began at the end of the first");
    assert!(!ask(&memory, &one, end).fits());
}

/// Names that look alike are different counters.
#[test]
fn every_name_is_its_own_counter() {
    let memory = Memory::new(MemoryOptions { max_counters: 300_000 });
    let policy = policy(vec![limit("l", 1, 60)]);
    for number in 0..300_000_u32 {
        let name = format!("{:0width$}", number % 1_000, width = 3 + usize::try_from(number / 1_000).unwrap_or(0));
        let asked = demand(&policy, &[("key", &name)]);
        let status = ask(&memory, &asked, START);
        assert_eq!(status.remaining, 0);
        assert!(status.fits(), "{name} was taken for another");
    }
    assert_eq!(memory.counters(), 300_000);
}

/// An empty value, a missing one and a shifted boundary between two values are different names (I45).
#[test]
fn values_do_not_run_into_each_other() {
    let memory = Memory::new(MemoryOptions { max_counters: 100 });
    let per = vec![("key".into(), true), ("user".into(), true)];
    let policy = policy(vec![LimitDraft { per, ..limit("l", 1, 60) }]);
    let names: [&[(&str, &str)]; 8] = [
        &[],
        &[("key", "")],
        &[("user", "")],
        &[("key", ""), ("user", "")],
        &[("key", "ab")],
        &[("key", "a"), ("user", "b")],
        &[("key", "ab"), ("user", "")],
        &[("user", "ab")],
    ];
    for name in names {
        let asked = demand(&policy, name);
        assert!(ask(&memory, &asked, START).fits(), "{name:?}");
    }
    assert_eq!(memory.counters(), 8);
}

/// Must-hold: a cap too large for this machine is refused when the policy is installed, and no demand aborts on it.
#[test]
fn a_table_that_does_not_fit_is_refused_before_any_demand() {
    let memory = Memory::new(MemoryOptions { max_counters: 1_000 });
    let sliding = |cells| policy(vec![by(Algorithm::SlidingWindow { cells }, limit("l", 5, 10))]);
    let before = memory.bytes();
    assert_eq!(memory.make_room_for(&policy(vec![limit("l", 5, 10)])), Ok(()));
    assert_eq!(memory.bytes(), before, "fixed windows need no other table");
    assert_eq!(memory.make_room_for(&sliding(10)), Ok(()));
    let medium = memory.bytes();
    assert!(medium > before + 1_000 * 100);
    assert_eq!((memory.make_room_for(&sliding(10)), memory.bytes()), (Ok(()), medium), "once");
    assert_eq!(memory.make_room_for(&sliding(61)), Ok(()));
    assert!(memory.bytes() > medium + 1_000 * 500);
}
