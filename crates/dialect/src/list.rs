//! A header whose value is a list of limits, each an item with parameters (RFC 9651).
//!
//! It is written here, not by the library that reads its keys: an answer has a dozen numbers and names, and one that is
//! owned and formatted first costs ten times what it takes to write its digits. A test holds the two to be alike.

use sfv::KeyRef;

use crate::bounds;
use crate::encoding::{self, Number};
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
    /// What stands before its value: `;key=`.
    pub(crate) begin: Box<str>,
    pub(crate) value: Template,
    /// It is written only if its text is one of these.
    pub(crate) only: Option<Vec<Box<str>>>,
    /// It is not written if its text is one of these.
    pub(crate) except: Vec<Box<str>>,
}

impl List {
    /// Writes the list of all `limits` that have an item; whether there is one.
    pub(crate) fn write<S: Source>(&self, limits: impl Iterator<Item = S>, out: &mut String) -> bool {
        let start = out.len();
        for limit in limits {
            let before = out.len();
            if before > start {
                out.push_str(", ");
            }
            if !value(&self.item, &limit).is_some_and(|value| bare(&value, out)) {
                out.truncate(before);
                continue;
            }
            for parameter in &self.parameters {
                if let Some(value) = value(&parameter.value, &limit).filter(|value| parameter.wants(value)) {
                    let before = out.len();
                    out.push_str(&parameter.begin);
                    if !bare(&value, out) {
                        out.truncate(before);
                    }
                }
            }
        }
        out.len() > start
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

/// Writes a bare item; whether the value can be one.
fn bare(value: &Value<'_>, out: &mut String) -> bool {
    match value {
        Value::Number(Number::Whole(number)) => encoding::whole((*number).min(bounds::MAX_STRUCTURED_INTEGER), out),
        Value::Number(Number::Millionths(number)) => decimal(*number, out),
        Value::Text(text) => escape::structured(text, out),
        Value::Json => return false,
    }
    true
}

/// Millionths as a decimal of a structured field, which has one to three digits after its point: rounded up.
fn decimal(millionths: u64, out: &mut String) {
    let thousandths = millionths.div_ceil(1_000).min(bounds::MAX_STRUCTURED_INTEGER);
    encoding::whole(thousandths / 1_000, out);
    match thousandths % 1_000 {
        0 => out.push_str(".0"),
        fraction => encoding::fraction(fraction, 3, out),
    }
}

/// What stands before a parameter's value, of a key as RFC 9651 allows it.
pub(crate) fn begin(key: &str) -> Result<Box<str>, String> {
    let problem = |_| format!("`{key}` is not a parameter's key: lower-case letters, digits, `_`, `-`, `.`, `*`");
    KeyRef::from_str(key).map(|_| format!(";{key}=").into()).map_err(problem)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use sfv::{Integer, ListSerializer, RefBareItem, StringRef};

    use super::*;
    use crate::template::{Medium, Placeholder, Usage, Vocabulary};

    /// What each placeholder stands for.
    #[derive(Clone, Debug)]
    struct Given(BTreeMap<&'static str, Thing>);

    #[derive(Clone, Debug)]
    enum Thing {
        Whole(u64),
        Millionths(u64),
        Text(String),
    }

    const PLACEHOLDERS: [&str; 4] = ["{name}", "{limit}", "{remaining}", "{reset:decimal-seconds}"];

    impl Source for Given {
        fn value(&self, placeholder: &Placeholder) -> Option<Value<'_>> {
            let is_meant = |text: &&&'static str| template(text).placeholders().next() == Some(placeholder);
            Some(match self.0.get(PLACEHOLDERS.iter().find(is_meant)?)? {
                Thing::Whole(number) => Value::Number(Number::Whole(*number)),
                Thing::Millionths(number) => Value::Number(Number::Millionths(*number)),
                Thing::Text(text) => Value::Text(text),
            })
        }

        fn write_json(&self, _: &Placeholder, _: &mut String) {}
    }

    fn template(text: &str) -> Template {
        let usage = Usage { medium: Medium::Structured, vocabulary: Vocabulary::EachLimit };
        Template::parse(text, usage).expect(text)
    }

    fn list(keys: &[String]) -> List {
        let parameter = |(key, text): (&String, &&str)| Parameter {
            begin: begin(key).expect(key),
            value: template(text),
            only: None,
            except: Vec::new(),
        };
        List {
            item: template(PLACEHOLDERS[0]),
            parameters: keys.iter().zip(&PLACEHOLDERS[1..]).map(parameter).collect(),
        }
    }

    /// The same by the library: what is right, and slow.
    fn by_library(keys: &[String], limits: &[Given]) -> Option<String> {
        let mut list = ListSerializer::new();
        for Given(things) in limits {
            let Some(item) = things.get(PLACEHOLDERS[0]) else { continue };
            let mut written = item.of_library(|item| list.bare_item(item));
            for (key, text) in keys.iter().zip(&PLACEHOLDERS[1..]) {
                if let Some(thing) = things.get(text) {
                    written = thing.of_library(|value| written.parameter(KeyRef::from_str(key).expect(key), value));
                }
            }
        }
        list.finish()
    }

    impl Thing {
        fn of_library<T>(&self, then: impl FnOnce(RefBareItem<'_>) -> T) -> T {
            let most = i64::try_from(bounds::MAX_STRUCTURED_INTEGER).expect("15 digits");
            let integer =
                |number: u128| Integer::try_from(i64::try_from(number).map_or(most, |number| number.min(most)));
            match self {
                Thing::Whole(number) => then(RefBareItem::Integer(integer((*number).into()).expect("bounded"))),
                Thing::Millionths(number) => {
                    let thousandths = integer(u128::from(*number).div_ceil(1_000)).expect("bounded");
                    then(RefBareItem::Decimal(sfv::Decimal::from_integer_scaled_1000(thousandths)))
                }
                Thing::Text(text) => {
                    let mut end = text.len().min(bounds::MAX_INSERTED_HEADER_BYTES);
                    while !text.is_char_boundary(end) {
                        end -= 1;
                    }
                    let kept = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
                    let plain: String = text[..end].bytes().fold(String::new(), |plain, byte| {
                        plain + &if kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
                    });
                    then(RefBareItem::String(StringRef::from_str(&plain).expect("visible")))
                }
            }
        }
    }

    fn thing() -> impl Strategy<Value = Thing> {
        let number = || {
            let ends = [0, 1, 999, 1_000, 1_001, 999_999, 1_000_000, 999_999_999_999_999, 1_000_000_000_000_000];
            let ends = ends.into_iter().chain([999_999_999_999_999_000, 999_999_999_999_999_001, u64::MAX]);
            prop_oneof![any::<u64>(), 0..3_000_000u64, prop::sample::select(ends.collect::<Vec<_>>())]
        };
        let pieces = prop_oneof![
            "[ -~]{0,12}",
            any::<char>().prop_map(String::from),
            prop::sample::select(vec!["\"", "\\", "%", "\u{7f}", "\r\n", "é", "😀"]).prop_map(str::to_owned),
            Just("x".repeat(250)),
        ];
        let text = vec(pieces, 0..5).prop_map(|pieces| pieces.concat());
        prop_oneof![number().prop_map(Thing::Whole), number().prop_map(Thing::Millionths), text.prop_map(Thing::Text)]
    }

    fn given() -> impl Strategy<Value = Given> {
        let things = [(); 4].map(|()| prop::option::weighted(0.8, thing()));
        things.prop_map(|things| {
            let pairs = PLACEHOLDERS.into_iter().zip(things);
            Given(pairs.filter_map(|(text, thing)| Some((text, thing?))).collect())
        })
    }

    fn keys() -> impl Strategy<Value = Vec<String>> {
        prop::sample::subsequence(vec!["q", "w", "*", "qu", "tidegate-unit", "a.b_c", "z9"], 0..4)
            .prop_map(|keys| keys.into_iter().map(str::to_owned).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        /// Whatever the values are, the list is byte for byte the library's.
        #[test]
        fn a_list_is_written_as_the_library_writes_it(keys in keys(), limits in vec(given(), 0..5)) {
            let mut written = String::from("before");
            let is_one = list(&keys).write(limits.iter().cloned(), &mut written);
            let expected = by_library(&keys, &limits);
            prop_assert_eq!(is_one, expected.is_some());
            prop_assert_eq!(&written["before".len()..], expected.unwrap_or_default());
        }
    }
}
