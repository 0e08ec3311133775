//! Days and months of a few time zones, as the model has them: the rules by which their clocks are changed, written down
//! by hand, and a walk through all quarters of an hour. It knows nothing of the tz database.
//!
//! Rules are right from [`earliest`] on. From 2100 on, all windows are as long as the last one before.

use std::collections::BTreeMap;
use std::sync::OnceLock;

const SECOND: u64 = 1_000_000;
const QUARTER: i64 = 900;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Zones to draw from: with and without summer time, with half hours in either, one that left out a date, and one whose
/// clocks change at midnight.
pub(super) const ZONES: [&str; 7] = [
    "UTC",
    "Asia/Kolkata",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Havana",
];

/// The first instant from which the rules of a zone are right, in microseconds since 1970.
pub(super) fn earliest(zone: &str) -> u64 {
    let year = match zone {
        "UTC" | "Asia/Kolkata" => 1970,
        "Europe/Berlin" => 1997,
        "Pacific/Apia" => 2011,
        "America/Havana" => 2013,
        _ => 2009,
    };
    micros(days_before(year, 1, 1) * DAY)
}

/// When the clocks of a zone are changed, in microseconds since 1970.
pub(super) fn changes(zone: &str) -> Vec<u64> {
    changes_of(zone).into_iter().map(|(at, _)| micros(at)).collect()
}

/// The window of days or months that an instant is in.
pub(super) fn window_at(zone: &str, is_month: bool, now: u64) -> (u64, u64) {
    let table = table(zone);
    let starts = if is_month { &table.months } else { &table.days };
    let next = starts.partition_point(|start| *start <= now);
    match starts.get(next) {
        Some(end) => (starts[next - 1], *end),
        None => {
            let [.., before, last] = starts[..] else { panic!("a hundred years have two windows") };
            let start = last + (now - last) / (last - before) * (last - before);
            (start, start + (last - before))
        }
    }
}

/// When dates and months begin, up to the first of the year 2100.
struct Table {
    days: Vec<u64>,
    months: Vec<u64>,
}

fn table(zone: &str) -> &'static Table {
    static TABLES: OnceLock<BTreeMap<&str, Table>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| ZONES.iter().map(|zone| (*zone, walk(zone))).collect());
    &tables[zone]
}

/// A date begins when clocks show it, or a later one, for the first time.
fn walk(zone: &str) -> Table {
    let changes = changes_of(zone);
    let mut table = Table { days: Vec::new(), months: Vec::new() };
    let (mut newest, mut month) = (i64::MIN, 0);
    let mut date = (1969, 12, 1);
    let mut counted = days_before(1969, 12, 1);
    let last = days_before(2100, 1, 1);
    let (mut at, mut changed) = (0, 0);
    while newest < last {
        while changed < changes.len() && changes[changed].0 <= at {
            changed += 1;
        }
        let offset = if changed == 0 { standard(zone) } else { changes[changed - 1].1 };
        let day = (at + offset).div_euclid(DAY);
        if day > newest {
            newest = day;
            while counted < day {
                date = next(date);
                counted += 1;
            }
            table.days.push(micros(at));
            if month != date.1 {
                month = date.1;
                table.months.push(micros(at));
            }
        }
        at += QUARTER;
    }
    table
}

fn standard(zone: &str) -> i64 {
    match zone {
        "Europe/Berlin" => HOUR,
        "America/New_York" | "America/Havana" => -5 * HOUR,
        "Asia/Kolkata" => 5 * HOUR + HOUR / 2,
        "Australia/Lord_Howe" => 10 * HOUR + HOUR / 2,
        "Pacific/Apia" => -11 * HOUR,
        _ => 0,
    }
}

/// When clocks are changed, and by how much they are ahead of UTC from then on.
fn changes_of(zone: &str) -> Vec<(i64, i64)> {
    let mut changes = Vec::new();
    let base = standard(zone);
    for year in 1970..2101 {
        // Local days, and the hour that clocks show when they are changed.
        let days = match zone {
            "Europe/Berlin" => [(last_sunday(year, 3), 2 * HOUR), (last_sunday(year, 10), 3 * HOUR)],
            "America/New_York" => [(sunday(year, 3, 2), 2 * HOUR), (sunday(year, 11, 1), 2 * HOUR)],
            "America/Havana" => [(sunday(year, 3, 2), 0), (sunday(year, 11, 1), HOUR)],
            "Australia/Lord_Howe" => [(sunday(year, 10, 1), 2 * HOUR), (sunday(year, 4, 1), 2 * HOUR)],
            _ => continue,
        };
        let gain = if zone == "Australia/Lord_Howe" { HOUR / 2 } else { HOUR };
        changes.push((days[0].0 * DAY + days[0].1 - base, base + gain));
        changes.push((days[1].0 * DAY + days[1].1 - base - gain, base));
    }
    if zone == "Pacific/Apia" {
        changes.push((days_before(2010, 9, 26) * DAY + 11 * HOUR, -10 * HOUR));
        changes.push((days_before(2011, 4, 2) * DAY + 14 * HOUR, -11 * HOUR));
        changes.push((days_before(2011, 9, 24) * DAY + 14 * HOUR, -10 * HOUR));
        // After the 29th of December came the 31st.
        changes.push((days_before(2011, 12, 30) * DAY + 10 * HOUR, 14 * HOUR));
        for year in 2012..=2021 {
            changes.push((sunday(year, 4, 1) * DAY + 4 * HOUR - 14 * HOUR, 13 * HOUR));
            if year < 2021 {
                changes.push((last_sunday(year, 9) * DAY + 3 * HOUR - 13 * HOUR, 14 * HOUR));
            }
        }
    }
    changes.sort_unstable();
    changes
}

/// The n-th Sunday of a month, in days since 1970. The 4th of January 1970 was one.
fn sunday(year: i64, month: i64, n: i64) -> i64 {
    let first = days_before(year, month, 1);
    (first..first + 7).find(|day| (day - 3) % 7 == 0).expect("a Sunday in a week") + 7 * (n - 1)
}

fn last_sunday(year: i64, month: i64) -> i64 {
    let end = days_before(year, month + 1, 1);
    (end - 7..end).find(|day| (day - 3) % 7 == 0).expect("a Sunday in a week")
}

/// Days from 1970-01-01 to a date, one year and one month after the other.
pub(super) fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let missing: i64 = (year..1970).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: i64 = (1..month).map(|month| length(year, month)).sum();
    years - missing + months + day - 1
}

fn next((year, month, day): (i64, i64, i64)) -> (i64, i64, i64) {
    match (month, day == length(year, month)) {
        (_, false) => (year, month, day + 1),
        (12, true) => (year + 1, 1, 1),
        (_, true) => (year, month + 1, 1),
    }
}

fn length(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    year % 400 == 0 || (year % 4 == 0 && year % 100 != 0)
}

fn micros(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0) * SECOND
}
