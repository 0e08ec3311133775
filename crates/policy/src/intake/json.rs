//! Looking up JSON pointers in a text without building a tree of it: memory does not grow with the text.
//!
//! A member that is looked up and occurs twice is an error: two readers could take different ones.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Deepest pointer. Nobody addresses deeper, and the search recurses once a level.
const MAX_POINTER_TOKENS: usize = 32;

/// A JSON pointer (RFC 6901), or a pattern of such whose numbers are added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    tokens: Box<[Token]>,
    is_sum: bool,
}

/// A step of a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Into the member of that name, or the element of that number.
    Name(Box<str>),
    /// Into each element of an array.
    Each,
}

impl Token {
    fn is_name(&self, name: &str) -> bool {
        matches!(self, Token::Name(known) if **known == *name)
    }

    fn is_index_of(&self, index: u64) -> bool {
        matches!(self, Token::Name(known) if is_index(known, index))
    }
}

impl Pointer {
    /// Reads a pointer: empty for the whole text, otherwise `/member/0/…`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what was expected.
    pub(crate) fn parse(text: &str) -> Result<Pointer, String> {
        if text.is_empty() {
            return Ok(Pointer { tokens: Box::default(), is_sum: false });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("JSON pointer `{text}` must be empty or start with `/`"));
        };
        let tokens = rest.split('/').map(|token| unescape(token).map(Token::Name)).collect::<Option<Box<[_]>>>();
        let tokens =
            tokens.ok_or_else(|| format!("JSON pointer `{text}`: `~` is written `~0`, `/` is written `~1`"))?;
        if tokens.len() > MAX_POINTER_TOKENS {
            return Err(format!("JSON pointer `{text}` is deeper than {MAX_POINTER_TOKENS} levels"));
        }
        Ok(Pointer { tokens, is_sum: false })
    }

    /// Reads a pointer, or a pattern in which `*` is each element of an array, to the numbers of a sum.
    ///
    /// # Errors
    ///
    /// What is wrong, and what was expected.
    pub(crate) fn sum(text: &str) -> Result<Pointer, String> {
        let mut pointer = Pointer::parse(text)?;
        for (token, written) in pointer.tokens.iter_mut().zip(text.split('/').skip(1)) {
            if written == "*" {
                *token = Token::Each;
            }
        }
        Ok(Pointer { is_sum: true, ..pointer })
    }

    /// What it points to in a tree.
    pub(crate) fn find<'v>(&self, tree: &'v Value) -> Option<&'v Value> {
        self.tokens.iter().try_fold(tree, |value, token| match (value, token) {
            (Value::Object(members), Token::Name(token)) => members.get(&**token),
            (Value::Array(elements), Token::Name(token)) => {
                let index = token.parse().ok().filter(|index| is_index(token, *index))?;
                elements.get(usize::try_from(index).ok()?)
            }
            _ => None,
        })
    }

    /// The pointer to a member of the outermost object, whatever its name.
    pub(crate) fn member(name: &str) -> Pointer {
        Pointer { tokens: Box::new([Token::Name(name.into())]), is_sum: false }
    }
}

fn unescape(token: &str) -> Option<Box<str>> {
    let mut plain = String::with_capacity(token.len());
    let mut parts = token.split('~');
    plain.push_str(parts.next()?);
    for part in parts {
        let rest = part.strip_prefix(['0', '1'])?;
        plain.push(if part.starts_with('0') { '~' } else { '/' });
        plain.push_str(rest);
    }
    Some(plain.into())
}

/// What a pointer points to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// A string.
    Text(String),
    /// A whole number that fits 64 bits, zero or more.
    Whole(u64),
    /// A whole number that fits 64 bits, below zero.
    Negative(i64),
    /// Any other number.
    Fraction(f64),
    /// A boolean.
    Boolean(bool),
    /// An array and its length.
    Array(u64),
    /// An object, or null.
    Other,
    /// What the numbers of a sum came to; `None` if something that was to be one is no whole number of at least 0.
    Sum(Option<u64>),
}

impl Found {
    /// As the value of an attribute: strings, whole numbers in decimal, booleans; nothing else.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Found::Text(text) => Some(text),
            Found::Whole(number) => Some(number.to_string()),
            Found::Negative(number) => Some(number.to_string()),
            Found::Boolean(boolean) => Some(boolean.to_string()),
            Found::Fraction(_) | Found::Array(_) | Found::Other | Found::Sum(_) => None,
        }
    }
}

/// Most pointers of one search: a bit for each.
pub(crate) const MAX_POINTERS: usize = 64;

/// What `pointers`, at most [`MAX_POINTERS`], point to in a whole JSON text, in their order.
///
/// # Errors
///
/// The text is not JSON, or a member that is looked up occurs twice.
pub(crate) fn look_up(text: &[u8], pointers: &[&Pointer]) -> Result<Vec<Option<Found>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut found = vec![None; pointers.len()];
    let open = (0..pointers.len().min(MAX_POINTERS)).fold(0, |bits, index| bits | 1 << index);
    Search { pointers, open, depth: 0, found: &mut found, met: &mut 0 }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// The search in one value.
struct Search<'s> {
    pointers: &'s [&'s Pointer],
    /// A bit for each pointer that leads here or further.
    open: u64,
    depth: usize,
    found: &'s mut [Option<Found>],
    /// A bit for each pointer of a sum that met something since its bit was cleared.
    met: &'s mut u64,
}

impl Search<'_> {
    /// Notes what is here for the pointers that end here.
    fn note(self, value: &Found) {
        for ((index, pointer), found) in self.pointers.iter().enumerate().zip(self.found) {
            if self.open >> index & 1 == 0 || pointer.tokens.len() != self.depth {
                continue;
            }
            if pointer.is_sum {
                *self.met |= 1 << index;
                add(found, value);
            } else {
                *found = Some(value.clone());
            }
        }
    }

    /// Adds to the sums of some pointers.
    fn add(&mut self, pointers: u64, value: u64) {
        for (index, found) in self.found.iter_mut().enumerate() {
            if pointers >> index & 1 == 1 {
                add(found, &Found::Whole(value));
            }
        }
    }

    /// The pointers whose next token is `is_next`.
    fn leading_on(&self, is_next: impl Fn(&Token) -> bool) -> u64 {
        let next = self.pointers.iter().map(|pointer| pointer.tokens.get(self.depth));
        let leads = next.enumerate().filter(|(index, next)| self.open >> index & 1 == 1 && next.is_some_and(&is_next));
        leads.fold(0, |bits, (index, _)| bits | 1 << index)
    }

    fn inside(&mut self, open: u64) -> Search<'_> {
        Search { pointers: self.pointers, open, depth: self.depth + 1, found: self.found, met: self.met }
    }
}

/// Adds what is at one place of a sum to it.
fn add(sum: &mut Option<Found>, value: &Found) {
    let before = match sum {
        Some(Found::Sum(sum)) => *sum,
        _ => Some(0),
    };
    let after = match (before, value) {
        (Some(before), Found::Whole(value)) => Some(before.saturating_add(*value)),
        _ => None,
    };
    *sum = Some(Found::Sum(after));
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.note(&Found::Boolean(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.note(&Found::Whole(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.note(&u64::try_from(value).map_or(Found::Negative(value), Found::Whole));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.note(&Found::Fraction(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.note(&Found::Text(value.to_owned()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.note(&Found::Other);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let goes_deeper = self.leading_on(|_| true) != 0;
        let each = self.leading_on(|token| *token == Token::Each);
        self.add(each, 0);
        let mut length: u64 = 0;
        loop {
            let open = if goes_deeper { each | self.leading_on(|token| token.is_index_of(length)) } else { 0 };
            *self.met &= !each;
            let next = match open {
                0 => elements.next_element::<IgnoredAny>()?.map(|_| ()),
                open => elements.next_element_seed(self.inside(open))?,
            };
            if next.is_none() {
                break;
            }
            // An element that has nothing at the place counts 1, as what states no cost does.
            self.add(each & !*self.met, 1);
            length += 1;
        }
        *self.met |= each;
        self.note(&Found::Array(length));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let mut seen = 0;
        while let Some(open) = members.next_key_seed(Member(&self))? {
            if open == 0 {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            if seen & open != 0 {
                let pointer = self.pointers.get(open.trailing_zeros() as usize);
                let name = match pointer.and_then(|pointer| pointer.tokens.get(self.depth)) {
                    Some(Token::Name(name)) => name,
                    _ => "",
                };
                return Err(A::Error::custom(format_args!("member `{name}` occurs twice")));
            }
            seen |= open;
            members.next_value_seed(self.inside(open))?;
        }
        self.note(&Found::Other);
        Ok(())
    }
}

/// A member's name, read as the pointers that lead into it.
struct Member<'m, 's>(&'m Search<'s>);

impl<'de> DeserializeSeed<'de> for Member<'_, '_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Member<'_, '_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<u64, E> {
        Ok(self.0.leading_on(|token| token.is_name(name)))
    }
}

/// Whether a token is the index `index`: digits without leading zeros.
fn is_index(token: &str, index: u64) -> bool {
    let is_plain = token == "0" || !token.starts_with(['0', '+']);
    is_plain && token.parse() == Ok(index)
}
