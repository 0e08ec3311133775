//! Time zones: when their days and months begin. From the tz database that is compiled in, so that a policy means the same
//! on every machine.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::ToSpan;
use jiff::civil::{Date, date};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use tidegate_core::{Calendar, Timestamp};

/// The first year that is not in a calendar's table: its windows are then all as long as the last one. A table of days
/// until then takes 380 kB.
const END_YEAR: i16 = 2100;

/// A time zone. Each is kept for the life of the process, once; there are some six hundred.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zone(&'static Known);

#[derive(Debug)]
struct Known {
    name: String,
    zone: TimeZone,
    days: OnceLock<Calendar>,
    months: OnceLock<Calendar>,
}

static KNOWN: Mutex<BTreeMap<String, Zone>> = Mutex::new(BTreeMap::new());

impl Zone {
    /// The zone that the tz database calls so, in exactly these letters.
    pub(crate) fn named(name: &str) -> Option<Zone> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = known.get(name) {
            return Some(*zone);
        }
        let zone = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| zone.iana_name() == Some(name))?;
        let fresh = Known { name: name.to_owned(), zone, days: OnceLock::new(), months: OnceLock::new() };
        let zone = Zone(Box::leak(Box::new(fresh)));
        known.insert(name.to_owned(), zone);
        Some(zone)
    }

    /// Where nothing else is said.
    pub(crate) fn utc() -> Zone {
        Zone::named("UTC").expect("the tz database has UTC")
    }

    /// Its days; `None` if they are those of the clock.
    pub(crate) fn days(self) -> Option<Calendar> {
        let is_clock = self.0.zone.to_fixed_offset().is_ok_and(|offset| offset.is_zero());
        let next = |day: Date| day.tomorrow().expect("a day before the year 2100 has a next");
        let days = || self.calendar("day", date(1969, 12, 31), next);
        (!is_clock).then(|| *self.0.days.get_or_init(days))
    }

    /// Its months.
    pub(crate) fn months(self) -> Calendar {
        let next = |first: Date| first.checked_add(1.month()).expect("a month before the year 2100 has a next");
        *self.0.months.get_or_init(|| self.calendar("month", date(1969, 12, 1), next))
    }

    /// Windows from the first instant of one date to that of the next. `day` is the last date that began before 1970. A
    /// date that a zone left out has no instant, and midnights that a clock shows twice count when they come first.
    fn calendar(self, window: &str, mut day: Date, next: impl Fn(Date) -> Date) -> Calendar {
        let mut starts = vec![Timestamp::ZERO];
        while day.year() < END_YEAR {
            day = next(day);
            let midnight = day.to_zoned(self.0.zone.clone()).expect("a date of this era").timestamp().as_microsecond();
            starts.extend(u64::try_from(midnight).map(Timestamp::from_micros));
        }
        starts.sort_unstable();
        starts.dedup();
        Calendar::leaked(&format!("{window} {}", self.0.name), starts).expect("the windows of a zone ascend")
    }
}

/// The names of all zones.
pub(crate) fn names() -> Vec<&'static str> {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    let names = NAMES.get_or_init(|| TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect());
    names.iter().map(String::as_str).collect()
}
