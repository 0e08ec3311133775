//! What placeholders stand for on one answer.

use std::collections::HashMap;

use tidegate_core::{Algorithm, Decision, Ruling, Span, Timestamp, UnitId, Wait};

use crate::encoding::{Number, TimeEncoding};
use crate::escape;
use crate::template::{Placeholder, Quantity, Source, Value};

/// A word for each limit: how a dialect tells limits apart in a text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    pub(crate) default: Option<Box<str>>,
    pub(crate) by_limit: HashMap<Box<str>, Box<str>>,
}

/// A dialect's words by name.
pub(crate) type Words = HashMap<Box<str>, Word>;

/// Whether a wait of which nobody knows the end, or that has none, is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It is none: what would be written is left out.
    Missing,
    /// It is one, as a body has to have a number: a second until somebody releases, the time until reset for never.
    Guessed,
}

/// A decision and the limit that is written about.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'s, 'a> {
    pub(crate) decision: &'s Decision<'a>,
    pub(crate) words: &'s Words,
    pub(crate) subject: Option<Ruling<'a>>,
    pub(crate) unknown: Unknown,
}

/// The limits of a decision that show: shadow limits change no byte of an answer (I37).
pub(crate) fn visible<'a>(decision: &Decision<'a>) -> impl Iterator<Item = Ruling<'a>> {
    decision.rulings().filter(Ruling::is_enforced)
}

/// The limit called `name`, if it applies and shows.
pub(crate) fn visible_named<'a>(decision: &Decision<'a>, name: &str) -> Option<Ruling<'a>> {
    visible(decision).find(|ruling| ruling.name() == name)
}

impl Source for Scene<'_, '_> {
    fn value(&self, placeholder: &Placeholder) -> Option<Value<'_>> {
        match &placeholder.quantity {
            Quantity::Attribute(name) => self.decision.demand().value(name).map(Value::Text),
            Quantity::Word(name) => self.word(name).map(Value::Text),
            Quantity::Refusing => Some(Value::Json),
            quantity => {
                let ruling = match placeholder.limit.as_deref() {
                    Some(name) => visible_named(self.decision, name),
                    None => self.subject,
                }?;
                self.of_limit(quantity, ruling)
            }
        }
    }

    fn write_json(&self, placeholder: &Placeholder, out: &mut String) {
        if placeholder.quantity == Quantity::Refusing {
            self.write_refusing(out);
        }
    }
}

impl<'s, 'a> Scene<'s, 'a> {
    fn of_limit(&self, quantity: &Quantity, ruling: Ruling<'a>) -> Option<Value<'s>> {
        let time = |span: Span, encoding: TimeEncoding| Value::Number(encoding.number(span, self.decision.at()));
        match quantity {
            Quantity::Limit => Some(Value::Number(Number::Whole(ruling.rule().limit()))),
            Quantity::Remaining => Some(Value::Number(Number::Whole(ruling.status.remaining))),
            Quantity::Window(encoding) => window(ruling, self.decision.at())
                .map(|span| Value::Number(encoding.number(span, Timestamp::default()))),
            Quantity::Reset(encoding) => Some(time(ruling.status.reset_after, *encoding)),
            Quantity::RetryAfter(encoding) => self.wait(ruling).map(|span| time(span, *encoding)),
            Quantity::Next(encoding) => self.next(ruling).map(|span| time(span, *encoding)),
            Quantity::Name => Some(Value::Text(ruling.name())),
            Quantity::Unit => Some(Value::Text(self.unit(ruling))),
            _ => None,
        }
    }

    fn wait(&self, ruling: Ruling<'_>) -> Option<Span> {
        match (ruling.status.retry_after, self.unknown) {
            (Wait::None, _) => Some(Span::ZERO),
            (Wait::For(span), _) => Some(span),
            (Wait::Release | Wait::Never, Unknown::Missing) => None,
            (Wait::Release, Unknown::Guessed) => Some(GUESSED_WAIT),
            (Wait::Never, Unknown::Guessed) if ruling.status.reset_after.is_zero() => Some(GUESSED_WAIT),
            (Wait::Never, Unknown::Guessed) => Some(ruling.status.reset_after),
        }
    }

    /// The time until more fits.
    fn next(&self, ruling: Ruling<'_>) -> Option<Span> {
        match ruling.status.retry_after {
            Wait::None => Some(ruling.status.reset_after),
            // This demand never fits, but smaller ones do.
            Wait::Never if !ruling.status.reset_after.is_zero() => Some(ruling.status.reset_after),
            _ => self.wait(ruling),
        }
    }

    fn unit(&self, ruling: Ruling<'a>) -> &'a str {
        let limit = ruling.charge.limit();
        match ruling.rule().algorithm() {
            Algorithm::Concurrency if limit.unit() == UnitId::REQUESTS => "concurrent-requests",
            _ => self.decision.demand().policy().counted(limit),
        }
    }

    fn word(&self, name: &str) -> Option<&'s str> {
        let word = self.words.get(name)?;
        let by_limit = self.decision.binding().and_then(|ruling| word.by_limit.get(ruling.name()));
        by_limit.or(word.default.as_ref()).map(|text| &**text)
    }

    fn write_refusing(&self, out: &mut String) {
        let mut before = "[\"";
        for ruling in visible(self.decision).filter(|ruling| !ruling.status.fits()) {
            out.push_str(before);
            escape::json(ruling.name(), out);
            before = "\",\"";
        }
        out.push_str(if before == "[\"" { "[]" } else { "\"]" });
    }
}

/// What a body says where nobody knows how long it takes.
const GUESSED_WAIT: Span = Span::from_secs(1);

/// The time in which as many units come back as `limit` says: the quota's window, and of a bucket whose burst differs
/// from its amount that share of it, rounded up. A day or month of a calendar is as long as it is at `now`, hours that a
/// clock was put forward or back included. Concurrency has none.
fn window(ruling: Ruling<'_>, now: Timestamp) -> Option<Span> {
    let (quota, window) = (ruling.rule().quota(), ruling.rule().window_at(now));
    if window.is_zero() {
        return None;
    }
    let micros = u128::from(window.as_micros()) * u128::from(quota.burst);
    let micros = micros
        .checked_div(u128::from(quota.amount))
        .map(|whole| whole + u128::from(micros % u128::from(quota.amount) != 0));
    match micros.map(u64::try_from) {
        Some(Ok(micros)) => Some(Span::from_micros(micros)),
        _ => Some(window),
    }
}
