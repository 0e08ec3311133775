//! Days and months of time zones, beside jiff itself and beside tables of days that are known to be odd.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, ToSpan};
use proptest::prelude::*;
use tidegate_core::{ChargeList, Demand, Rule, Span, Timestamp};

use crate::lowering::lowered;

/// The rule of a policy of one limit.
fn rule(quota: &str, zone: &str) -> Rule {
    let text = format!("name = 'z'\n[[limit]]\nname = 'l'\nquota = '{quota}'\nzone = '{zone}'\n");
    let policy = lowered("z", &text).policy;
    let demand = Demand::on(&policy).build();
    *ChargeList::new().resolve(&demand, Timestamp::ZERO).charge(0).rule()
}

fn instant(timestamp: Instant) -> Timestamp {
    Timestamp::from_micros(u64::try_from(timestamp.as_microsecond()).expect("after 1970"))
}

fn local(text: &str, zone: &str) -> Timestamp {
    let civil: DateTime = text.parse().expect("a date and time");
    instant(civil.in_tz(zone).expect("a zone").timestamp())
}

/// How long the window is that a local time is in, in hours, and how long it still lasts after a first charge.
fn hours(quota: &str, zone: &str, at: &str) -> (u64, u64) {
    let (rule, now) = (rule(quota, zone), local(at, zone));
    let status = rule.charge(&mut vec![0; rule.state_words()], 1, now);
    let hours = |span: Span| span.as_micros() / 3_600_000_000;
    (hours(rule.window_at(now)), hours(status.reset_after))
}

#[test]
fn odd_days_and_months_are_as_long_as_they_are_i1() {
    for (quota, zone, at, length, left) in [
        ("9/d", "Europe/Berlin", "2026-03-28T12:00", 24, 12),
        ("9/d", "Europe/Berlin", "2026-03-29T00:00", 23, 23), // the clock is put forward at two
        ("9/d", "Europe/Berlin", "2026-03-29T12:00", 23, 12),
        ("9/d", "Europe/Berlin", "2026-10-25T00:00", 25, 25), // and back at three
        ("9/d", "America/New_York", "2026-11-01T23:00", 25, 1),
        ("9/d", "America/Havana", "2026-03-08T01:00", 23, 23), // there is no midnight: the day begins at one
        ("9/d", "America/Havana", "2026-11-01T00:00", 25, 25), // midnight comes twice: the first counts
        ("9/d", "Asia/Beirut", "2021-03-27T23:00", 24, 1),
        ("9/d", "Asia/Beirut", "2021-03-28T01:00", 23, 23),
        ("9/d", "Asia/Beirut", "2021-10-30T00:00", 25, 25), // back at midnight: the day before is the longer
        ("9/d", "Pacific/Apia", "2011-12-29T12:00", 24, 12),
        ("9/d", "Pacific/Apia", "2011-12-31T00:00", 24, 24), // the 30th was left out
        ("9/d", "Australia/Lord_Howe", "2026-04-05T00:00", 24, 24), // half an hour longer
        ("9/d", "Asia/Kathmandu", "2026-01-01T00:00", 24, 24),
        ("9/d", "America/St_Johns", "2006-10-29T12:00", 25, 12), // back at a minute after midnight, into the day before
        ("9/month", "UTC", "2024-02-29T23:00", 29 * 24, 1),
        ("9/month", "UTC", "2026-02-28T23:00", 28 * 24, 1),
        ("9/month", "UTC", "2000-02-01T00:00", 29 * 24, 29 * 24),
        ("9/month", "UTC", "2026-12-31T23:00", 31 * 24, 1),
        ("9/month", "Europe/Berlin", "2026-03-01T00:00", 31 * 24 - 1, 31 * 24 - 1),
        ("9/month", "Europe/Berlin", "2026-10-31T23:00", 31 * 24 + 1, 1),
        ("9/month", "Pacific/Apia", "2011-12-01T00:00", 30 * 24, 30 * 24),
    ] {
        assert_eq!(hours(quota, zone, at), (length, left), "{quota} in {zone} at {at}");
    }
    // Beyond the table, in the year 2100, all are as long as its last.
    assert_eq!(hours("9/month", "UTC", "2150-02-10T00:00").0, 31 * 24);
}

#[test]
fn a_day_of_utc_is_a_day_of_the_clock() {
    assert_eq!(rule("9/d", "UTC").quota(), tidegate_core::Quota::per(9, Span::from_secs(86_400)));
    assert_eq!(rule("9/d", "Africa/Abidjan").window_at(Timestamp::ZERO), Span::from_secs(86_400));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// I1: a day or month of any zone begins and ends where jiff says, at whatever instant it is asked.
    #[test]
    fn windows_are_those_of_the_zone_i1(zone in any::<prop::sample::Index>(), micros in 0_i64..4_100_000_000_000_000, month in any::<bool>()) {
        const ZONES: &[&str] = &[
            "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "Asia/Kolkata", "Asia/Tehran",
            "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kwajalein", "Asia/Gaza", "UTC",
        ];
        let zone = ZONES[zone.index(ZONES.len())];
        let rule = rule(if month { "9/month" } else { "9/d" }, zone);
        let at = Instant::from_microsecond(micros).expect("an instant");
        let date = at.to_zoned(TimeZone::get(zone).expect("a zone")).date();
        let date = if month { date.first_of_month() } else { date };
        let bounds = |date: jiff::civil::Date| instant(date.in_tz(zone).expect("a date").timestamp().max(Instant::UNIX_EPOCH));
        let step = if month { 1.month() } else { 1.day() };
        let (start, next) = (bounds(date), bounds(date.checked_add(step).expect("a date")));
        let now = instant(at);
        let status = rule.charge(&mut vec![0; rule.state_words()], 1, now);
        prop_assert_eq!(now.plus(status.reset_after), next, "in {} at {}", zone, at);
        prop_assert_eq!(rule.window_at(now), next.since(start));
    }
}
