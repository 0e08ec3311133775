//! The text of a quota: `100/min`, `100/min burst 20`, `5`, `1/30 of app-minute per 1s`, `unlimited`.
//!
//! ```text
//! quota   = "unlimited" | amount | amount "/" window [ "burst" amount ] | amount "/" amount "of" limit "per" window
//! window  = [ amount ] unit | [ "1" ] "month"
//! unit    = "ms" | "s" | "sec" | "second" | "min" | "minute" | "h" | "hour" | "d" | "day"   (and their plurals)
//! ```
//!
//! Spaces are free around every part; amounts may have `_` between digits. What is near a quota but none gets a help
//! that says how to write it.

use std::ops::Range;

use tidegate_core::{Span, bounds};

use crate::problem::Problem;
use crate::reading::Text;

/// A quota as its text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// `unlimited`.
    Unlimited,
    /// An amount at the same time: `5`.
    Amount(u64),
    /// An amount per window: `100/min`, `100/min burst 20`.
    Rate {
        amount: u64,
        window: Length,
        /// The burst, and where it stands.
        burst: Option<(u64, Range<usize>)>,
    },
    /// A share of another limit's amount: `1/30 of app-minute per 1s`.
    Derived {
        numerator: u64,
        denominator: u64,
        /// The other limit's name, and where it stands.
        of: (String, Range<usize>),
        window: Length,
    },
}

/// The length of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// So long.
    Span(Span),
    /// A month of the calendar.
    Month,
}

/// Why a text is no quota: what part of it, why, and how to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    kind: Fault,
    part: Range<usize>,
    label: String,
    help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Form,
    Amount,
    Window,
    Share,
}

impl Mistake {
    /// The problem it is in a file.
    pub(crate) fn at(self, text: &Text) -> Problem {
        let place = text.part(self.part.clone());
        let found = &text[self.part];
        match self.kind {
            Fault::Form => Problem::not_a_quota(
                if place.start == place.end { text.place } else { place },
                text,
                &self.label,
                self.help,
            ),
            Fault::Amount => Problem::bad_amount(place, found, &self.label, self.help),
            Fault::Window => Problem::bad_window(place, found, &self.label, self.help),
            Fault::Share => Problem::bad_share(place, found, &self.label, &self.help.unwrap_or_default()),
        }
    }
}

/// Reads a quota.
pub(crate) fn parse(text: &str) -> Result<Written, Mistake> {
    let mut scan = Scan { text, at: 0 };
    scan.spaces();
    if scan.rest().trim_end() == "unlimited" {
        return Ok(Written::Unlimited);
    }
    let amount = scan.amount()?;
    scan.spaces();
    if scan.rest().is_empty() {
        return Ok(Written::Amount(amount.value));
    }
    scan.slash(&amount)?;
    scan.spaces();
    if let Some(derived) = scan.derived(&amount)? {
        return Ok(derived);
    }
    let window = scan.window()?;
    let burst = scan.burst(&amount)?;
    Ok(Written::Rate { amount: amount.value, window, burst })
}

/// Reads an age: a whole number of a unit of time.
pub(crate) fn parse_age(text: &str) -> Result<Span, Mistake> {
    let mut scan = Scan { text, at: 0 };
    scan.spaces();
    let age = match scan.window()? {
        Length::Span(age) => age,
        Length::Month => return Err(scan.back_to(0, "months differ in length").help("write `30d`")),
    };
    scan.spaces();
    match scan.rest() {
        "" => Ok(age),
        rest => Err(scan.mistake(Fault::Window, rest.len(), "expected the end")),
    }
}

/// A number and where it stands.
struct Amount {
    value: u64,
    part: Range<usize>,
}

/// A place in the text that moves on.
struct Scan<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scan<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Moves past the characters that `belongs` holds for, and says where they are.
    fn run(&mut self, belongs: impl Fn(char) -> bool) -> Range<usize> {
        let start = self.at;
        self.at += self.rest().find(|c| !belongs(c)).unwrap_or(self.rest().len());
        start..self.at
    }

    /// The word here, of anything but spaces and slashes, without moving.
    fn word(&self) -> &'t str {
        let rest = self.rest();
        &rest[..rest.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(rest.len())]
    }

    fn mistake(&self, kind: Fault, length: usize, label: &str) -> Mistake {
        Mistake { kind, part: self.at..self.at + length, label: label.to_owned(), help: None }
    }

    /// About everything from `start` to here.
    fn back_to(&self, start: usize, label: &str) -> Mistake {
        Mistake { kind: Fault::Window, part: start..self.at, label: label.to_owned(), help: None }
    }

    fn form(&self, length: usize, label: &str) -> Mistake {
        self.mistake(Fault::Form, length, label)
    }

    /// A whole number: digits, with `_` between them if need be.
    fn amount(&mut self) -> Result<Amount, Mistake> {
        let word = self.word();
        if !word.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.no_amount(word));
        }
        let start = self.at;
        let part = self.run(|c| c.is_ascii_digit() || c == '_');
        if let Some(stray) = self.rest().chars().next().filter(|c| matches!(c, '.' | ',' | 'k' | 'K' | 'M' | 'e' | 'E'))
        {
            self.at = start;
            return Err(self.odd_amount(word, stray));
        }
        let digits = self.text[part.clone()].replace('_', "");
        let value = digits.parse().ok().filter(|value| *value <= bounds::MAX_AMOUNT);
        let too_large = || Mistake {
            kind: Fault::Amount,
            part: part.clone(),
            label: format!("amounts go up to {}", bounds::MAX_AMOUNT),
            help: Some("write `\"unlimited\"` for no limit at all".to_owned()),
        };
        Ok(Amount { value: value.ok_or_else(too_large)?, part: part.clone() })
    }

    fn no_amount(&self, word: &str) -> Mistake {
        if self.rest().is_empty() {
            return self.form(0, "expected an amount, found nothing");
        }
        if word.starts_with(['-', '+']) {
            let help = "an amount is 0, which blocks everything, or more";
            return self.mistake(Fault::Amount, word.len(), "expected a whole number, found a sign").help(help);
        }
        if word.is_empty() {
            return self
                .form(1, "expected an amount before the slash")
                .help(format!("write `100{}`", self.rest().trim_end()));
        }
        let mistake = self.form(word.len(), "expected an amount");
        match word.to_ascii_lowercase().as_str() {
            "none" | "infinite" | "inf" | "infinity" | "no" | "any" | "*" | "off" | "unlimitted" | "unlimeted" => {
                mistake.help("write `\"unlimited\"` for no limit")
            }
            "unlimited" => mistake.help("write `unlimited`, in small letters and alone"),
            _ => mistake,
        }
    }

    /// A number with a point, a comma or a suffix.
    fn odd_amount(&self, word: &str, stray: char) -> Mistake {
        let digits: String = word.chars().filter(char::is_ascii_digit).collect();
        let scaled = |zeros: &str| {
            let number = word.trim_end_matches(['k', 'K', 'M']);
            let whole = number.bytes().all(|byte| byte.is_ascii_digit());
            if whole { format!("write `{number}{zeros}`") } else { "write all the digits".to_owned() }
        };
        let (label, help) = match stray {
            '.' => ("expected a whole number, found a fraction", self.whole_rate(word)),
            ',' => ("expected a whole number, found a comma", format!("write `{digits}`, or with `_` between digits")),
            'M' => ("expected a whole number, found a suffix", scaled("_000_000")),
            'k' | 'K' => ("expected a whole number, found a suffix", scaled("_000")),
            _ => ("expected a whole number, found an exponent", "write all the digits".to_owned()),
        };
        self.mistake(Fault::Amount, word.len(), label).help(help)
    }

    /// How to say a fraction with whole numbers: in a longer window.
    fn whole_rate(&self, word: &str) -> String {
        let advice = "take a longer window: `\"3/2s\"` is one and a half a second".to_owned();
        let Some((whole, decimals)) = word.split_once('.') else { return advice };
        let unit = self.rest()[word.len()..].trim_start_matches([' ', '/']);
        let plain = |digits: &str| digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let unit = unit.split_whitespace().next().filter(|unit| unit.bytes().all(|byte| byte.is_ascii_alphabetic()));
        match (unit, format!("{whole}{decimals}").parse::<u64>()) {
            (Some(unit), Ok(amount)) if plain(whole) && plain(decimals) && amount > 0 && !decimals.is_empty() => {
                let window = 10_u64.pow(u32::try_from(decimals.len()).unwrap_or(0));
                let shared = greatest_common_divisor(amount, window);
                format!("write `\"{}/{}{unit}\"`, the same rate in whole numbers", amount / shared, window / shared)
            }
            _ => advice,
        }
    }

    fn slash(&mut self, amount: &Amount) -> Result<(), Mistake> {
        if self.rest().starts_with('/') {
            self.at += 1;
            return Ok(());
        }
        let word = self.word();
        let shown = &self.text[amount.part.clone()];
        let mistake = self.form(self.rest().trim_end().len(), "expected `/` and a window");
        let after = self.rest()[word.len()..].trim();
        Err(match word {
            "per" if unit(after).is_some() => mistake.help(format!("write `\"{shown}/{after}\"`")),
            "burst" => {
                let burst: String = after.chars().take_while(char::is_ascii_digit).collect();
                mistake.help(format!("the window comes first: `\"{shown}/min burst {burst}\"`"))
            }
            _ if after.starts_with(['/', 'p']) => mistake
                .help(format!("write `\"{shown}/min\"`, and what it counts as `unit = \"…\"` if that is not requests")),
            _ if unit(word).is_some() => mistake.help(format!("write `\"{shown}/{word}\"`")),
            _ => mistake,
        })
    }

    /// `30 of app-minute per 1s`, if that is what follows.
    fn derived(&mut self, numerator: &Amount) -> Result<Option<Written>, Mistake> {
        let start = self.at;
        let digits = self.run(|c| c.is_ascii_digit() || c == '_');
        self.spaces();
        if digits.is_empty() || self.word() != "of" {
            self.at = start;
            return Ok(None);
        }
        self.at = start;
        let denominator = self.amount()?;
        self.share(numerator, &denominator)?;
        self.spaces();
        self.at += "of".len();
        self.spaces();
        let word = self.word();
        if word.is_empty() || word == "per" {
            return Err(self.form(word.len(), "expected the name of a limit after `of`"));
        }
        let of = (word.to_owned(), self.at..self.at + word.len());
        self.at += word.len();
        self.spaces();
        if self.word() != "per" {
            let mistake = self.form(self.rest().trim_end().len(), "expected `per` and a window");
            return Err(mistake.help(format!("write `\"{} per 1s\"`", self.text[..of.1.end].trim())));
        }
        self.at += "per".len();
        self.spaces();
        let window = self.window()?;
        self.end()?;
        Ok(Some(Written::Derived { numerator: numerator.value, denominator: denominator.value, of, window }))
    }

    fn share(&self, numerator: &Amount, denominator: &Amount) -> Result<(), Mistake> {
        let part = numerator.part.start..denominator.part.end;
        let mistake = |label: &str, help: &str| {
            let help = Some(help.to_owned());
            Err(Mistake { kind: Fault::Share, part: part.clone(), label: label.to_owned(), help })
        };
        match (numerator.value, denominator.value) {
            (_, 0) => mistake("a share has no denominator of zero", "write a share such as `1/30`"),
            (0, _) => mistake("a share of nothing", "write `\"0/min\"` to block everything"),
            (numerator, denominator) if numerator > denominator => {
                mistake("a share is at most the whole", "swap the two numbers, or write the quota out")
            }
            _ => Ok(()),
        }
    }

    /// A count and a unit of time.
    fn window(&mut self) -> Result<Length, Mistake> {
        self.spaces();
        let start = self.at;
        let digits = self.run(|c| c.is_ascii_digit() || c == '_');
        if self.rest().starts_with(['.', ',']) {
            self.at = start;
            let word = self.word();
            let help = "take a smaller unit: `500ms` is half a second";
            return Err(self.mistake(Fault::Window, word.len(), "expected a whole number").help(help));
        }
        self.spaces();
        let name = self.run(|c| !c.is_whitespace() && c != '/');
        let whole = start..if name.is_empty() { digits.end } else { name.end };
        let mistake =
            |label: String, help: Option<String>| Mistake { kind: Fault::Window, part: whole.clone(), label, help };
        let name = &self.text[name];
        if name.is_empty() {
            return Err(self.no_unit(digits, start));
        }
        let digits = &self.text[digits];
        let count = if digits.is_empty() { Some(1) } else { digits.replace('_', "").parse::<u64>().ok() };
        if matches!(name, "month" | "months") {
            let help = Some("write `month`, or a number of days".to_owned());
            return if count == Some(1) {
                Ok(Length::Month)
            } else {
                Err(mistake("one month at a time".to_owned(), help))
            };
        }
        let Some(unit) = unit(name) else { return Err(unknown_unit(name, self.at, &self.text[..self.at])) };
        let micros = count.and_then(|count| count.checked_mul(unit));
        match micros.map(Span::from_micros) {
            Some(Span::ZERO) => Err(mistake("a window of no time".to_owned(), None)),
            Some(window) if (bounds::MIN_WINDOW..=bounds::MAX_WINDOW).contains(&window) => Ok(Length::Span(window)),
            _ => Err(mistake("the longest window is 366d".to_owned(), None)),
        }
    }

    fn no_unit(&self, digits: Range<usize>, start: usize) -> Mistake {
        if digits.is_empty() {
            let shown = self.text[..start].trim();
            let mistake = self.form(0, "expected a window after the slash");
            return mistake.help(format!("write `\"{shown}min\"`"));
        }
        let number = &self.text[digits.clone()];
        let help = format!("write `{number}s` or `{number}min`");
        Mistake { kind: Fault::Window, part: digits, label: "expected a unit of time".to_owned(), help: Some(help) }
    }

    /// `burst 20`, if it follows; then the end.
    fn burst(&mut self, amount: &Amount) -> Result<Option<(u64, Range<usize>)>, Mistake> {
        self.spaces();
        if self.word() != "burst" {
            return self.end().map(|()| None);
        }
        let start = self.at;
        self.at += "burst".len();
        self.spaces();
        if self.rest().is_empty() {
            let shown = &self.text[amount.part.clone()];
            self.at = start;
            let mistake = self.form("burst".len(), "expected an amount after `burst`");
            return Err(mistake.help(format!("write `burst {shown}`, or leave it out for the same")));
        }
        let burst = self.amount()?;
        self.end()?;
        Ok(Some((burst.value, start..burst.part.end)))
    }

    fn end(&mut self) -> Result<(), Mistake> {
        self.spaces();
        match self.rest().trim_end().len() {
            0 => Ok(()),
            length => {
                let window = self.text[..self.at].trim();
                let mistake = self.form(length, "expected the end");
                Err(mistake.help(format!("write `\"{window}\"`, or `\"{window} burst 20\"` for a token bucket")))
            }
        }
    }
}

impl Mistake {
    fn help(mut self, help: impl Into<String>) -> Mistake {
        self.help = Some(help.into());
        self
    }
}

/// A unit's length in microseconds.
fn unit(name: &str) -> Option<u64> {
    match name {
        "ms" | "millisecond" | "milliseconds" => Some(1_000),
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1_000_000),
        "min" | "mins" | "minute" | "minutes" => Some(60_000_000),
        "h" | "hr" | "hour" | "hours" => Some(3_600_000_000),
        "d" | "day" | "days" => Some(86_400_000_000),
        _ => None,
    }
}

fn unknown_unit(name: &str, end: usize, before: &str) -> Mistake {
    debug_assert!(before.ends_with(name));
    let (label, help) = match name.to_ascii_lowercase().as_str() {
        "m" => (
            "`m` could be minutes or months",
            Some("write `min` for minutes, `month` for a month of the calendar".to_owned()),
        ),
        "w" | "week" | "weeks" => ("no unit of time", Some("write `7d` for a week".to_owned())),
        "mo" | "mon" => ("no unit of time", Some("write `month` for a month of the calendar".to_owned())),
        "y" | "yr" | "year" | "years" => ("years differ in length", Some("write `365d`".to_owned())),
        "us" | "µs" | "ns" => ("too short a unit", Some("the shortest window is `1ms`".to_owned())),
        lower if unit(lower).is_some() || lower == "month" => {
            ("units are in small letters", Some(format!("write `{lower}`")))
        }
        lower => ("no unit of time", Problem::unit_of_time_meant(lower)),
    };
    Mistake { kind: Fault::Window, part: end - name.len()..end, label: label.to_owned(), help }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::{Length, Span, Written, parse};

    const MINUTE: Span = Span::from_secs(60);

    fn rate(amount: u64, window: Span) -> Written {
        Written::Rate { amount, window: Length::Span(window), burst: None }
    }

    #[test]
    fn quotas_are_read() {
        for (text, written) in [
            ("unlimited", Written::Unlimited),
            (" unlimited ", Written::Unlimited),
            ("5", Written::Amount(5)),
            ("1_000", Written::Amount(1_000)),
            ("0/min", rate(0, MINUTE)),
            ("100/min", rate(100, MINUTE)),
            ("100 / 1min", rate(100, MINUTE)),
            ("100/60s", rate(100, MINUTE)),
            ("\t100/ 60 seconds ", rate(100, MINUTE)),
            ("10_000/min", rate(10_000, MINUTE)),
            ("1/ms", rate(1, Span::from_micros(1_000))),
            ("1/1_000ms", rate(1, Span::from_secs(1))),
            ("9007199254740991/366d", rate((1 << 53) - 1, Span::from_secs(366 * 86_400))),
            ("100/min burst 20", Written::Rate { amount: 100, window: Length::Span(MINUTE), burst: Some((20, 8..16)) }),
            (
                "100/min  burst  2_0 ",
                Written::Rate { amount: 100, window: Length::Span(MINUTE), burst: Some((20, 9..19)) },
            ),
            (
                "1/30 of app-minute per 1s",
                Written::Derived {
                    numerator: 1,
                    denominator: 30,
                    of: ("app-minute".to_owned(), 8..18),
                    window: Length::Span(Span::from_secs(1)),
                },
            ),
            ("10_000/month", Written::Rate { amount: 10_000, window: Length::Month, burst: None }),
            ("5/1 months", Written::Rate { amount: 5, window: Length::Month, burst: None }),
        ] {
            assert_eq!(parse(text), Ok(written), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for (text, part) in [
            ("", ""),
            ("/min", "/"),
            ("-5/min", "-5"),
            ("1.5/s", "1.5"),
            ("10,000/min", "10,000"),
            ("10k/min", "10k"),
            ("9007199254740992/min", "9007199254740992"),
            ("100 per minute", "per minute"),
            ("100/m", "m"),
            ("100/2weeks", "weeks"),
            ("100/2months", "2months"),
            ("100/Month", "Month"),
            ("100/0s", "0s"),
            ("100/1.5s", "1.5s"),
            ("100/367d", "367d"),
            ("100/30", "30"),
            ("100/min and more", "and more"),
            ("100/min burst", "burst"),
            ("100/min burst x", "x"),
            ("100/min burst 2.5", "2.5"),
            ("1/0 of a per 1s", "1/0"),
            ("3/2 of a per 1s", "3/2"),
            ("1/2 of per 1s", "per"),
            ("1/2 of a per m", "m"),
            ("1/2 of a per 1s burst 5", "burst 5"),
            ("unlimited/min", "unlimited"),
        ] {
            let mistake = parse(text).expect_err(text);
            assert_eq!(&text[mistake.part], part, "{text}");
        }
    }
}
