//! Text with placeholders: `{limit};w={window:seconds}`. Read and checked once, written on every answer.
//!
//! A placeholder begins with `{` and a letter or digit, so that JSON's own braces need no escape. Elsewhere `{{` is a
//! brace; in JSON it is two, and a string's brace before a letter is written `\u007b`.

use crate::bounds;
use crate::encoding::{Number, TIME_ENCODINGS, TimeEncoding};
use crate::problem::suggestion;
use crate::{escape, json};

/// Text with placeholders.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
    /// Whether what it writes is JSON to every reader, and on one line.
    pub(crate) is_json: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Value { placeholder: Placeholder, place: Place },
}

/// Where a value stands, which settles how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    JsonString,
    JsonValue,
    Plain,
}

/// What is to be written, of which limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// The limit it names; none for the one that the template is about.
    pub(crate) limit: Option<Box<str>>,
    pub(crate) quantity: Quantity,
}

/// What can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// The most units that can ever fit at once.
    Limit,
    /// Units that fit now.
    Remaining,
    /// The time in which `limit` units come back.
    Window(TimeEncoding),
    /// The time until the quota is whole again.
    Reset(TimeEncoding),
    /// The time until this cost would fit.
    RetryAfter(TimeEncoding),
    /// The time until more fits: the retry-after of a limit that refuses, the reset of one that does not.
    Next(TimeEncoding),
    /// The limit's name.
    Name,
    /// The unit it counts.
    Unit,
    /// The value of an attribute of the demand.
    Attribute(Box<str>),
    /// A word that the dialect has for the binding limit.
    Word(Box<str>),
    /// The names of all limits that refuse, as a JSON array.
    Refusing,
    /// The groups of an inspection, as members of a JSON object.
    Groups,
    /// The parameter of an inspection that was not understood.
    Parameter,
    /// The value of that parameter.
    Value,
}

/// A value to be written.
#[derive(Clone, Debug)]
pub(crate) enum Value<'v> {
    Number(Number),
    Text(&'v str),
    /// What [`Source::write_json`] writes.
    Json,
}

/// What placeholders stand for.
pub(crate) trait Source {
    /// The value of a placeholder; `None` if there is none on this answer.
    fn value(&self, placeholder: &Placeholder) -> Option<Value<'_>>;

    /// Writes a value that is JSON itself.
    fn write_json(&self, placeholder: &Placeholder, out: &mut String);
}

/// What a template is for: it settles what may stand in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) medium: Medium,
    pub(crate) vocabulary: Vocabulary,
}

/// What is written by a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Header,
    /// A parameter or item of a structured field: one placeholder and nothing else.
    Structured,
    Json,
    Plain,
    /// A body of another content type: only numbers can be written without knowing its rules.
    Other,
}

/// Which placeholders there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vocabulary {
    /// Of a limit, which a placeholder may also name: `{daily.remaining}`.
    OneLimit,
    /// Of limits that each placeholder has to name.
    NamedLimits,
    /// Of each limit in turn.
    EachLimit,
    /// Of a refusal: of the binding limit, or of one that is named.
    Refusal,
    /// Of one row of an inspection.
    Row,
    /// Of the body of an inspection.
    Groups,
    /// Of the answer to an inspection that is not granted.
    Forbidden,
    /// Of the answer to an inspection that is not understood.
    Misasked,
}

/// What is wrong with a template, and at which byte of it.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub(crate) fn parse(text: &str, usage: Usage) -> Result<Template, Vec<Mistake>> {
        if text.len() > bounds::MAX_TEMPLATE_BYTES {
            let message = format!("{} bytes, at most {} are allowed", text.len(), bounds::MAX_TEMPLATE_BYTES);
            return Err(vec![Mistake { at: 0, message }]);
        }
        let (mut parts, mut mistakes) = split(text, usage);
        match usage.medium {
            Medium::Header => check_header(text, &parts, &mut mistakes),
            Medium::Structured => check_structured(text, &parts, &mut mistakes),
            Medium::Json => check_json(&mut parts, &mut mistakes),
            Medium::Plain => {}
            Medium::Other => check_numbers_only(&parts, &mut mistakes),
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let pieces: Vec<Piece> = parts.into_iter().map(|(_, piece)| piece).collect();
        let is_json = usage.medium == Medium::Json && pieces.iter().all(Piece::is_plain_json);
        Ok(Template { pieces, is_json })
    }

    /// Writes a header's value, or says that one of its values is missing or empty; then `out` is of no use.
    pub(crate) fn write_header(&self, source: &impl Source, out: &mut String) -> Option<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value { placeholder, .. } => match source.value(placeholder)? {
                    Value::Number(number) => number.write(out),
                    Value::Text("") | Value::Json => return None,
                    Value::Text(text) => escape::header(text, out),
                },
            }
        }
        Some(())
    }

    /// Writes a body. What has no value is `null`, in a string nothing.
    pub(crate) fn write_body(&self, source: &impl Source, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value { placeholder, place } => match (source.value(placeholder), place) {
                    (Some(Value::Number(number)), _) => number.write(out),
                    (Some(Value::Text(text)), Place::JsonString) => escape::json(text, out),
                    (Some(Value::Text(text)), _) => escape::plain(text, out),
                    (Some(Value::Json), _) => source.write_json(placeholder, out),
                    (None, Place::JsonValue) => out.push_str("null"),
                    (None, _) => {}
                },
            }
        }
    }

    /// Its placeholders, in order.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value { placeholder, .. } => Some(placeholder),
            Piece::Text(_) => None,
        })
    }
}

impl Piece {
    /// Whether a piece of JSON has none of what readers take differently, though its grammar allows it: half a surrogate
    /// pair, a number that is too large. Neither can be without `\\u`, an exponent, or many digits.
    fn is_plain_json(&self) -> bool {
        const MOST_DIGITS: usize = 15;
        let Piece::Text(text) = self else { return true };
        let bytes = text.as_bytes();
        let is_exponent = |pair: &[u8]| pair[0].is_ascii_digit() && matches!(pair[1], b'e' | b'E');
        let is_long = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
        !text.contains(['\n', '\r'])
            && !text.contains("\\u")
            && !bytes.windows(2).any(is_exponent)
            && !bytes.windows(MOST_DIGITS).any(is_long)
    }
}

/// Cuts a template into pieces, each with the byte at which it begins.
fn split(text: &str, usage: Usage) -> (Vec<(usize, Piece)>, Vec<Mistake>) {
    let (mut parts, mut mistakes) = (Vec::new(), Vec::new());
    let (mut literal, mut literal_at, mut at) = (String::new(), 0, 0);
    let mut placeholders = 0;
    while let Some(char) = text[at..].chars().next() {
        let rest = &text[at + char.len_utf8()..];
        if char == '{' && rest.starts_with('{') && usage.medium != Medium::Json {
            literal.push('{');
            at += 2;
            continue;
        }
        if char != '{' || !rest.starts_with(|next: char| next.is_ascii_alphanumeric()) {
            literal.push(char);
            at += char.len_utf8();
            continue;
        }
        if !literal.is_empty() {
            parts.push((literal_at, Piece::Text(std::mem::take(&mut literal))));
        }
        let Some(end) = rest.find('}') else {
            mistakes.push(Mistake { at, message: "placeholder is not closed by `}`".to_owned() });
            return (parts, mistakes);
        };
        match Placeholder::parse(&rest[..end], usage.vocabulary) {
            Ok(placeholder) => parts.push((at, Piece::Value { placeholder, place: place_in(usage.medium) })),
            Err(message) => mistakes.push(Mistake { at, message }),
        }
        placeholders += 1;
        at += end + 2;
        literal_at = at;
    }
    if !literal.is_empty() {
        parts.push((literal_at, Piece::Text(literal)));
    }
    if placeholders > bounds::MAX_PLACEHOLDERS {
        let message = format!("{placeholders} placeholders, at most {} are allowed", bounds::MAX_PLACEHOLDERS);
        mistakes.push(Mistake { at: 0, message });
    }
    (parts, mistakes)
}

fn place_in(medium: Medium) -> Place {
    match medium {
        Medium::Header | Medium::Structured => Place::Header,
        // Settled by `check_json`.
        Medium::Json => Place::JsonValue,
        Medium::Plain | Medium::Other => Place::Plain,
    }
}

impl Placeholder {
    /// Reads what stands between the braces: `[LIMIT.]QUANTITY[:ENCODING]`, `attribute.NAME` or `word.NAME`.
    fn parse(text: &str, vocabulary: Vocabulary) -> Result<Placeholder, String> {
        let (path, encoding) = text.split_once(':').map_or((text, None), |(path, encoding)| (path, Some(encoding)));
        for (prefix, make) in
            [("attribute.", Quantity::Attribute as fn(Box<str>) -> Quantity), ("word.", Quantity::Word)]
        {
            if let Some(name) = path.strip_prefix(prefix) {
                let placeholder = Placeholder { limit: None, quantity: make(name.into()) };
                return match encoding {
                    Some(encoding) => Err(format!("`{path}` is text and has no encoding `{encoding}`")),
                    None if name.is_empty() => Err(format!("`{prefix}` is followed by a name")),
                    None => placeholder.if_allowed(text, vocabulary),
                };
            }
        }
        let (limit, quantity) = path.rsplit_once('.').map_or((None, path), |(limit, rest)| (Some(limit), rest));
        let quantity = Quantity::parse(quantity, encoding)?;
        Placeholder { limit: limit.map(Into::into), quantity }.if_allowed(text, vocabulary)
    }

    fn if_allowed(self, text: &str, vocabulary: Vocabulary) -> Result<Placeholder, String> {
        let of_limit = self.quantity.is_of_a_limit();
        let fits = match vocabulary {
            Vocabulary::OneLimit | Vocabulary::NamedLimits => of_limit || self.quantity.is_of_the_demand(),
            Vocabulary::EachLimit => (of_limit && self.limit.is_none()) || self.quantity.is_of_the_demand(),
            Vocabulary::Refusal => of_limit || self.quantity.is_of_the_demand() || self.quantity == Quantity::Refusing,
            Vocabulary::Row => of_limit && self.limit.is_none(),
            Vocabulary::Groups => self.quantity == Quantity::Groups,
            Vocabulary::Forbidden => matches!(self.quantity, Quantity::Attribute(_)),
            Vocabulary::Misasked => {
                matches!(self.quantity, Quantity::Attribute(_) | Quantity::Parameter | Quantity::Value)
            }
        };
        if !fits || (!of_limit && self.limit.is_some()) {
            return Err(format!("`{{{text}}}` has no meaning here"));
        }
        if of_limit && self.limit.is_none() && vocabulary == Vocabulary::NamedLimits {
            return Err(format!("`{{{text}}}` does not say of which limit: write `{{LIMIT.{text}}}`"));
        }
        Ok(self)
    }
}

type OfTime = fn(TimeEncoding) -> Quantity;
const TIMES: [(&str, OfTime); 4] = [
    ("window", Quantity::Window),
    ("reset", Quantity::Reset),
    ("retry_after", Quantity::RetryAfter),
    ("next", Quantity::Next),
];
const PLAIN: [(&str, Quantity); 8] = [
    ("limit", Quantity::Limit),
    ("remaining", Quantity::Remaining),
    ("name", Quantity::Name),
    ("unit", Quantity::Unit),
    ("refusing", Quantity::Refusing),
    ("groups", Quantity::Groups),
    ("parameter", Quantity::Parameter),
    ("value", Quantity::Value),
];

impl Quantity {
    fn parse(name: &str, encoding: Option<&str>) -> Result<Quantity, String> {
        if let Some((_, make)) = TIMES.iter().find(|(known, _)| *known == name) {
            return Quantity::parse_time(name, *make, encoding);
        }
        match (PLAIN.iter().find(|(known, _)| *known == name), encoding) {
            (Some((_, quantity)), None) => Ok(quantity.clone()),
            (Some(_), Some(encoding)) => Err(format!("`{name}` is not a time and has no encoding `{encoding}`")),
            (None, _) => {
                let known = PLAIN.iter().map(|(known, _)| *known).chain(TIMES.iter().map(|(known, _)| *known));
                Err(format!("there is no placeholder `{{{name}}}`{}", suggestion(name, known)))
            }
        }
    }

    fn parse_time(name: &str, make: OfTime, encoding: Option<&str>) -> Result<Quantity, String> {
        let names = || TIME_ENCODINGS.iter().map(|(known, _)| *known);
        let one_of = || names().collect::<Vec<_>>().join("`, `");
        let Some(encoding) = encoding else {
            return Err(format!("`{name}` is a time: write `{{{name}:ENCODING}}` with one of `{}`", one_of()));
        };
        let Some(found) = TimeEncoding::named(encoding) else {
            let near = suggestion(encoding, names());
            return Err(format!("a time is written as one of `{}`, not as `{encoding}`{near}", one_of()));
        };
        if name == "window" && found.is_instant() {
            return Err(format!("a window is a length of time and cannot be written as `{encoding}`"));
        }
        Ok(make(found))
    }

    fn is_of_a_limit(&self) -> bool {
        !matches!(
            self,
            Quantity::Attribute(_)
                | Quantity::Word(_)
                | Quantity::Refusing
                | Quantity::Groups
                | Quantity::Parameter
                | Quantity::Value
        )
    }

    fn is_of_the_demand(&self) -> bool {
        matches!(self, Quantity::Attribute(_) | Quantity::Word(_))
    }

    fn kind(&self) -> Kind {
        match self {
            Quantity::Refusing => Kind::JsonValue,
            Quantity::Groups => Kind::JsonMembers,
            Quantity::Name
            | Quantity::Unit
            | Quantity::Attribute(_)
            | Quantity::Word(_)
            | Quantity::Parameter
            | Quantity::Value => Kind::Text,
            Quantity::Limit
            | Quantity::Remaining
            | Quantity::Window(_)
            | Quantity::Reset(_)
            | Quantity::RetryAfter(_)
            | Quantity::Next(_) => Kind::Number,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    JsonValue,
    JsonMembers,
}

fn check_header(text: &str, parts: &[(usize, Piece)], mistakes: &mut Vec<Mistake>) {
    if text.is_empty() {
        mistakes.push(Mistake { at: 0, message: "a header's value is not empty".to_owned() });
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        mistakes.push(Mistake { at: 0, message: "a header's value has no space at its ends".to_owned() });
    }
    let mut after_value = false;
    for (at, piece) in parts {
        match piece {
            Piece::Text(text) => {
                after_value = false;
                if let Some((offset, char)) = text.char_indices().find(|(_, char)| !matches!(char, ' '..='~')) {
                    let message = format!("a header's value is visible ASCII and spaces, found {char:?}");
                    mistakes.push(Mistake { at: at + offset, message });
                }
            }
            Piece::Value { .. } if after_value => {
                let message = "two values with nothing between them cannot be told apart".to_owned();
                mistakes.push(Mistake { at: *at, message });
            }
            Piece::Value { .. } => after_value = true,
        }
    }
}

fn check_structured(text: &str, parts: &[(usize, Piece)], mistakes: &mut Vec<Mistake>) {
    if mistakes.is_empty() && !matches!(parts, [(_, Piece::Value { .. })]) {
        let message = format!("expected one placeholder, such as `{{limit}}`, and nothing else; found `{text}`");
        mistakes.push(Mistake { at: 0, message });
    }
}

fn check_numbers_only(parts: &[(usize, Piece)], mistakes: &mut Vec<Mistake>) {
    for (at, piece) in parts {
        if let Piece::Value { placeholder, .. } = piece
            && placeholder.quantity.kind() != Kind::Number
        {
            let message = "only numbers can be written into a body that is neither JSON nor text/plain".to_owned();
            mistakes.push(Mistake { at: *at, message });
        }
    }
}

/// Settles for each value whether it stands in a string, and checks that what will be written is JSON whatever the
/// values are: by a sample, and by what stands around each value.
fn check_json(parts: &mut [(usize, Piece)], mistakes: &mut Vec<Mistake>) {
    if !mistakes.is_empty() {
        return;
    }
    let mut sample = Sample::default();
    let edges: Vec<(Option<char>, Option<char>)> = (0..parts.len()).map(|index| edges(parts, index)).collect();
    for ((at, piece), (before, after)) in parts.iter_mut().zip(edges) {
        match piece {
            Piece::Text(text) => sample.push(text, *at),
            Piece::Value { placeholder, place } => {
                let kind = placeholder.quantity.kind();
                *place = if sample.in_string { Place::JsonString } else { Place::JsonValue };
                match sample.stand_in(kind, before, after) {
                    Ok(text) => sample.push(text, *at),
                    Err(message) => return mistakes.push(Mistake { at: *at, message: message.to_owned() }),
                }
            }
        }
    }
    if let Err((at, expected)) = json::check(&sample.text) {
        let message = format!("the body is not JSON: expected {expected}");
        mistakes.push(Mistake { at: sample.origin(at), message });
    }
}

/// The characters that stand before and after a piece.
fn edges(parts: &[(usize, Piece)], index: usize) -> (Option<char>, Option<char>) {
    let literal = |index: usize| match parts.get(index) {
        Some((_, Piece::Text(text))) => Some(text.as_str()),
        // Another value: as good as a letter.
        Some((_, Piece::Value { .. })) => Some("v"),
        None => None,
    };
    let before = index.checked_sub(1).and_then(literal).and_then(|text| text.chars().next_back());
    (before, literal(index + 1).and_then(|text| text.chars().next()))
}

/// A JSON text with stand-ins for the values, and where its parts come from.
#[derive(Default)]
struct Sample {
    text: String,
    origins: Vec<(usize, usize)>,
    in_string: bool,
    /// Characters that still belong to an escape.
    escaped: usize,
}

impl Sample {
    fn push(&mut self, text: &str, origin: usize) {
        self.origins.push((self.text.len(), origin));
        self.text.push_str(text);
        for char in text.chars() {
            match (self.in_string, self.escaped, char) {
                (true, 1, 'u') => self.escaped = 4,
                (true, 1.., _) => self.escaped -= 1,
                (true, 0, '\\') => self.escaped = 1,
                (_, _, '"') => self.in_string = !self.in_string,
                _ => {}
            }
        }
    }

    fn stand_in(&self, kind: Kind, before: Option<char>, after: Option<char>) -> Result<&'static str, &'static str> {
        let opens = before.is_none_or(|char| char.is_ascii_whitespace() || matches!(char, ':' | '[' | ',' | '{'));
        let closes = after.is_none_or(|char| char.is_ascii_whitespace() || matches!(char, ',' | ']' | '}'));
        match (self.in_string, kind) {
            (true, _) if self.escaped > 0 => Err("a value cannot complete an escape"),
            (true, Kind::Number | Kind::Text) => Ok("1"),
            (true, Kind::JsonValue | Kind::JsonMembers) => Err("this is JSON itself: take the quotes away"),
            (false, Kind::Text) => Err("this is text: put it between quotes"),
            (false, _) if !opens || !closes => Err("outside a string a value stands alone"),
            (false, Kind::Number) => Ok("1"),
            (false, Kind::JsonValue) => Ok("[]"),
            (false, Kind::JsonMembers) => Ok("\"\":1"),
        }
    }

    /// The byte of the template that a byte of the sample comes from.
    fn origin(&self, at: usize) -> usize {
        let from = self.origins.iter().rev().find(|(start, _)| *start <= at);
        from.map_or(at, |(start, origin)| origin + (at - start))
    }
}
