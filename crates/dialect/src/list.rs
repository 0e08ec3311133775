//! A header whose value is a list of limits, each an item with parameters (RFC 9651).

use sfv::{Integer, KeyRef, ListSerializer, RefBareItem, StringRef};

use crate::bounds;
use crate::encoding::Number;
use crate::escape;
use crate::template::{Source, Template, Value};

/// How each limit is written.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) item: Template,
    pub(crate) parameters: Vec<Parameter>,
}

/// One parameter of an item.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) key: sfv::Key,
    pub(crate) value: Template,
    /// It is written only if its text is one of these.
    pub(crate) only: Option<Vec<Box<str>>>,
    /// It is not written if its text is one of these.
    pub(crate) except: Vec<Box<str>>,
}

impl List {
    /// The list of all `limits` that have an item; `None` if there is none.
    pub(crate) fn render<S: Source>(&self, limits: impl Iterator<Item = S>) -> Option<String> {
        let mut list = ListSerializer::new();
        for limit in limits {
            let Some(item) = value(&self.item, &limit).and_then(|value| Bare::of(&value)) else { continue };
            let mut written = list.bare_item(item.borrowed());
            for parameter in &self.parameters {
                let value = value(&parameter.value, &limit).filter(|value| parameter.wants(value));
                if let Some(value) = value.as_ref().and_then(Bare::of) {
                    written = written.parameter(&parameter.key, value.borrowed());
                }
            }
        }
        list.finish()
    }
}

/// What the one placeholder of a template stands for.
fn value<'s>(template: &Template, source: &'s impl Source) -> Option<Value<'s>> {
    source.value(template.placeholders().next()?)
}

impl Parameter {
    fn wants(&self, value: &Value<'_>) -> bool {
        let Value::Text(text) = value else { return true };
        let is_in = |texts: &[Box<str>]| texts.iter().any(|known| **known == **text);
        self.only.as_deref().is_none_or(is_in) && !is_in(&self.except)
    }
}

/// A bare item: what the serialiser borrows.
enum Bare<'v> {
    Integer(Integer),
    Decimal(sfv::Decimal),
    Plain(&'v StringRef),
    Escaped(sfv::String),
}

impl<'v> Bare<'v> {
    fn of(value: &Value<'v>) -> Option<Bare<'v>> {
        match value {
            Value::Number(Number::Whole(number)) => {
                let number = (*number).min(bounds::MAX_STRUCTURED_INTEGER);
                Integer::try_from(number).ok().map(Bare::Integer)
            }
            Value::Number(Number::Millionths(number)) => decimal(*number).map(Bare::Decimal),
            Value::Text(text) if escape::is_structured(text) => StringRef::from_str(text).ok().map(Bare::Plain),
            Value::Text(text) => {
                let mut written = String::new();
                escape::structured(text, &mut written);
                sfv::String::from_string(written).ok().map(Bare::Escaped)
            }
            Value::Json(_) => None,
        }
    }

    fn borrowed(&self) -> RefBareItem<'_> {
        match self {
            Bare::Integer(integer) => RefBareItem::Integer(*integer),
            Bare::Decimal(decimal) => RefBareItem::Decimal(*decimal),
            Bare::Plain(text) => RefBareItem::String(text),
            Bare::Escaped(text) => RefBareItem::String(text),
        }
    }
}

/// Millionths as a decimal of a structured field, which has three digits after its point: rounded up.
fn decimal(millionths: u64) -> Option<sfv::Decimal> {
    let thousandths = millionths.div_ceil(1_000).min(bounds::MAX_STRUCTURED_INTEGER);
    Integer::try_from(thousandths).ok().map(sfv::Decimal::from_integer_scaled_1000)
}

/// A parameter's key, as RFC 9651 allows it.
pub(crate) fn key(text: &str) -> Result<sfv::Key, String> {
    KeyRef::from_str(text)
        .map(ToOwned::to_owned)
        .map_err(|_| format!("`{text}` is not a parameter's key: lower-case letters, digits, `_`, `-`, `.`, `*`"))
}
