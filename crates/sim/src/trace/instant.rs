//! Instants as traces write them: exact decimals of unix seconds, and the dates of access logs. No floats.

use tidegate_core::{Span, Timestamp};
use tidegate_policy::question::BadQuestion;

use crate::bounds::LAST_INSTANT;

/// The instant that the digits of a JSON number name, in seconds since 1970 with up to six decimals.
///
/// # Errors
///
/// It is no plain decimal, too precise, or after the year 9999.
pub fn from_seconds(digits: &str) -> Result<Timestamp, BadQuestion> {
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    if digits.starts_with('-') {
        return Err(BadQuestion::new("expected unix seconds, found a negative number"));
    }
    if !whole.bytes().chain(decimals.bytes()).all(|byte| byte.is_ascii_digit()) {
        let bad = BadQuestion::new("expected unix seconds in plain decimals, found an exponent");
        return Err(bad.help("write it as 1706774400.25"));
    }
    if decimals.len() > 6 {
        let message = format!("expected at most six decimals (microseconds), found {}", decimals.len());
        return Err(BadQuestion::new(message).help("cut the rest off"));
    }
    let too_late = || {
        BadQuestion::new("instant is after the year 9999").help("t is in seconds, not in milliseconds or microseconds")
    };
    let seconds: u64 = whole.parse().map_err(|_| too_late())?;
    let micros: u64 = format!("{decimals:0<6}").parse().map_err(|_| too_late())?;
    let instant = Timestamp::from_secs(seconds).plus(Span::from_micros(micros));
    if instant > LAST_INSTANT { Err(too_late()) } else { Ok(instant) }
}

/// The instant of a log's `10/Oct/2000:13:55:36 -0700`.
pub(super) fn from_log_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (stamp, zone) = text.split_once(' ')?;
    let (date, time) = stamp.split_once(':')?;
    let [day, month, year] = fields(date, '/')?;
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let [hour, minute, second] = fields(time, ':')?;
    let days = days_since_1970(digits(year, 4)?, i64::try_from(month).ok()?, digits(day, 2)?)?;
    // A leap second counts as the first second of the next minute, as in unix time.
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset(zone)?;
    u64::try_from(seconds).ok().map(Timestamp::from_secs)
}

/// Seconds that `+0130` is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, digits_of_zone) = match zone.as_bytes().first()? {
        b'+' => (1, &zone[1..]),
        b'-' => (-1, &zone[1..]),
        _ => return None,
    };
    let number = digits(digits_of_zone, 4)?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours <= 15 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Days of the proleptic Gregorian calendar, by counting from March so that the leap day is the year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let in_month = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day < 1 || day > in_month {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

fn fields<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    text.split(separator).collect::<Vec<_>>().try_into().ok()
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_to_the_microsecond() {
        let cases = [
            ("0", 0),
            ("1706774400", 1_706_774_400_000_000),
            ("1706774400.25", 1_706_774_400_250_000),
            ("1706774400.000001", 1_706_774_400_000_001),
            // Not representable as a float: 0.1 + 0.2 there is not 0.3.
            ("1706774400.3", 1_706_774_400_300_000),
            ("253402300799", 253_402_300_799_000_000),
        ];
        for (text, micros) in cases {
            assert_eq!(from_seconds(text).map(Timestamp::as_micros), Ok(micros), "{text}");
        }
    }

    #[test]
    fn seconds_that_are_none_say_what_is_wrong() {
        let cases = [
            ("-1", "negative"),
            ("-0.5", "negative"),
            ("1e9", "exponent"),
            ("1.5e3", "exponent"),
            ("1.1234567", "six decimals"),
            ("1706774400000", "9999"),
            ("99999999999999999999999999", "9999"),
        ];
        for (text, part) in cases {
            let bad = from_seconds(text).expect_err(text);
            assert!(bad.to_string().contains(part), "{text}: {bad}");
        }
    }

    #[test]
    fn log_dates_are_read_in_their_zone() {
        let cases = [
            ("10/Oct/2000:13:55:36 -0700", Some(971_211_336)),
            ("01/Jan/1970:00:00:00 +0000", Some(0)),
            ("29/Feb/2024:23:59:59 +0000", Some(1_709_251_199)),
            ("01/Mar/2024:05:30:00 +0530", Some(1_709_251_200)),
            ("29/Feb/2023:00:00:00 +0000", None),
            ("31/Apr/2024:00:00:00 +0000", None),
            ("01/Jan/1970:00:00:00 +0100", None),
            ("1/Jan/1970:00:00:00 +0000", None),
            ("10/Okt/2000:13:55:36 -0700", None),
            ("10/Oct/2000:24:00:00 -0700", None),
            ("10/Oct/2000:13:55:36 0700", None),
            ("10/Oct/2000:13:55:36 +é00", None),
            ("10/Oct/2000 13:55:36 +0000", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(from_log_date(text), seconds.map(Timestamp::from_secs), "{text}");
        }
    }
}
