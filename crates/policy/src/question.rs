//! A demand asked in JSON, as the decision API and traces ask it: `{"attributes":{…},"cost":{…}}`.
//!
//! A text is checked to be JSON once and then read member by member, so that every mistake is named by its place, a
//! member given twice is seen, and a number keeps the digits it was written with. Nothing here is ignored: a member, an
//! attribute, a unit or an operation that the policy does not know is a mistake.

mod parts;
mod request;

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;
use tidegate_core::{AttributeId, Demand, DemandBuilder, DemandError, Policy, UnitId, bounds};

use crate::problem::nearest;

use parts::Parts;
pub use request::{MAX_HEADERS, Request, read_headers};

/// Most names that a message lists when it has no better help.
const MOST_NAMES_IN_HELP: usize = 12;

/// Most names that an unknown one is compared with: a few milliseconds' work at worst. A policy can have 20,000 operations,
/// and a mistake must not cost more than an answer.
const MOST_NAMES_COMPARED: usize = 1_000;

/// Members that are made room for at once: a question of all its kinds has no more.
const USUAL_MEMBERS: usize = 6;

/// What is wrong with a question, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadQuestion {
    /// The way to the mistake: `attributes.sesion`, `[3].cost`, or `line 2, column 7` of what is not JSON.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is not plain.
    pub help: Option<String>,
}

impl BadQuestion {
    /// A mistake at the value being read; [`BadQuestion::inside`] says where that is.
    pub fn new(message: impl Into<String>) -> BadQuestion {
        BadQuestion { place: String::new(), message: message.into(), help: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> BadQuestion {
        self.help = Some(help.into());
        self
    }

    /// The same mistake, seen from the value that has it as the member called `name`.
    #[must_use]
    pub fn inside(mut self, name: &str) -> BadQuestion {
        let separator = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("{}{separator}{}", shortened(name), self.place);
        self
    }

    /// The same mistake, seen from the list that has it at `index`.
    #[must_use]
    pub fn inside_item(self, index: usize) -> BadQuestion {
        self.inside(&format!("[{index}]"))
    }
}

impl fmt::Display for BadQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BadQuestion {}

/// A JSON value as it was written, checked to be JSON and read no further yet.
#[derive(Clone, Copy, Debug)]
pub struct Json<'t>(&'t str);

impl<'t> Json<'t> {
    /// The value that `text` is, white space around it aside.
    ///
    /// # Errors
    ///
    /// `text` is not one JSON value; the place is the line and column, both counted from one.
    pub fn parse(text: &'t [u8]) -> Result<Json<'t>, BadQuestion> {
        serde_json::from_slice::<&RawValue>(text).map(|value| Json(value.get())).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = error.to_string();
            let reason = match message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason) {
                "expected ident" | "expected value" => "expected a value".to_owned(),
                reason => decapitalised(reason),
            };
            BadQuestion { place, message: format!("not JSON: {reason}"), help: None }
        })
    }

    /// Its text.
    pub fn text(self) -> &'t str {
        self.0
    }

    /// What it is, for messages: `a string`, `an object` …
    pub fn kind(self) -> &'static str {
        match self.text().as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    /// Whether it is an array.
    pub fn is_array(self) -> bool {
        self.text().starts_with('[')
    }

    /// The members of an object, in the order written, names that occur twice included.
    ///
    /// # Errors
    ///
    /// It is no object.
    pub fn members(self) -> Result<Vec<(Cow<'t, str>, Json<'t>)>, BadQuestion> {
        if !self.text().starts_with('{') {
            return Err(self.not("an object"));
        }
        let mut members = Vec::with_capacity(USUAL_MEMBERS);
        let mut parts = Parts::of(self.text());
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            members.push((Json(name).string()?, Json(value)));
        }
        Ok(members)
    }

    /// The members of an object that has no others than `names`, in the order of `names`.
    ///
    /// # Errors
    ///
    /// It is no object, has another member, or has one twice.
    pub fn known_members<const N: usize>(self, names: [&str; N]) -> Result<[Option<Json<'t>>; N], BadQuestion> {
        let mut known = [None; N];
        for (name, value) in self.members()? {
            let Some(index) = names.iter().position(|known| **known == *name) else {
                return Err(BadQuestion::new("unknown member").help(instead(&name, names)).inside(&name));
            };
            if known[index].replace(value).is_some() {
                return Err(given_twice().inside(&name));
            }
        }
        Ok(known)
    }

    /// The items of an array that has at most `most`.
    ///
    /// # Errors
    ///
    /// It is no array, or a longer one.
    pub fn items(self, most: usize) -> Result<Vec<Json<'t>>, BadQuestion> {
        if !self.is_array() {
            return Err(self.not("an array"));
        }
        let items: Vec<Json<'t>> = Parts::of(self.text()).map(Json).collect();
        if items.len() > most {
            let message = format!("array has {} items, at most {most} are allowed", items.len());
            return Err(BadQuestion::new(message).help("ask in several requests"));
        }
        Ok(items)
    }

    /// The string that it is.
    ///
    /// # Errors
    ///
    /// It is no string, or one with half a surrogate pair.
    pub fn string(self) -> Result<Cow<'t, str>, BadQuestion> {
        if !self.text().starts_with('"') {
            let bad = self.not("a string");
            let quotable = matches!(self.kind(), "a number" | "a boolean");
            return Err(if quotable { bad.help(format!("write \"{}\"", shortened(self.text()))) } else { bad });
        }
        let inside = self.text().get(1..self.text().len() - 1).unwrap_or_default();
        if !inside.contains('\\') {
            return Ok(Cow::Borrowed(inside));
        }
        self.read().map(Cow::Owned)
    }

    /// The boolean that it is.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn boolean(self) -> Result<bool, BadQuestion> {
        match self.text() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.not("true or false")),
        }
    }

    /// The digits of the number that it is, as they were written.
    ///
    /// # Errors
    ///
    /// It is no number.
    pub fn number(self) -> Result<&'t str, BadQuestion> {
        if self.kind() == "a number" { Ok(self.text()) } else { Err(self.not("a number")) }
    }

    /// The whole amount that it is, from zero to [`bounds::MAX_AMOUNT`].
    ///
    /// # Errors
    ///
    /// It is no number, negative, not written as a whole number, or too large.
    pub fn amount(self) -> Result<u64, BadQuestion> {
        let digits = self.number()?;
        if digits.starts_with('-') {
            return Err(BadQuestion::new(format!("expected a whole number from 0, found {}", shortened(digits))));
        }
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let found = format!("expected a whole number, found {}", shortened(digits));
            return Err(BadQuestion::new(found).help("write it without a point or an exponent"));
        }
        match digits.parse() {
            Ok(amount) if amount <= bounds::MAX_AMOUNT => Ok(amount),
            _ => {
                let found = format!("{} is above the largest amount, {}", shortened(digits), bounds::MAX_AMOUNT);
                Err(BadQuestion::new(found))
            }
        }
    }

    /// The value as a tree, for pointers into it.
    ///
    /// # Errors
    ///
    /// It nests deeper than 127 levels, or has a number that is too large.
    pub fn tree(self) -> Result<serde_json::Value, BadQuestion> {
        self.read()
    }

    fn read<T: serde::Deserialize<'t>>(self) -> Result<T, BadQuestion> {
        serde_json::from_str(self.text()).map_err(|error| {
            let message = error.to_string();
            let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
            BadQuestion::new(reason)
        })
    }

    fn not(self, expected: &str) -> BadQuestion {
        BadQuestion::new(format!("expected {expected}, found {}", self.kind()))
    }
}

/// What is asked of a policy: attributes and costs, checked against it.
#[derive(Clone, Debug)]
pub struct Question<'q> {
    policy: &'q Policy,
    values: Vec<(AttributeId, Cow<'q, str>)>,
    /// The attributes that were named, those that were empty too.
    given: Vec<AttributeId>,
    costs: Vec<(UnitId, u64)>,
}

impl<'q> Question<'q> {
    /// A question that says nothing yet.
    pub fn on(policy: &'q Policy) -> Question<'q> {
        Question { policy, values: Vec::new(), given: Vec::new(), costs: Vec::new() }
    }

    /// What the members `attributes` and `cost` ask, each of them optional.
    ///
    /// # Errors
    ///
    /// The first mistake, at its place from `attributes` or `cost` on.
    pub fn read(
        policy: &'q Policy,
        attributes: Option<Json<'q>>,
        cost: Option<Json<'q>>,
    ) -> Result<Question<'q>, BadQuestion> {
        let mut question = Question::on(policy);
        if let Some(attributes) = attributes {
            question.read_attributes(attributes).map_err(|bad| bad.inside("attributes"))?;
        }
        if let Some(cost) = cost {
            question.read_costs(cost).map_err(|bad| bad.inside("cost"))?;
        }
        Ok(question)
    }

    /// Sets the attribute called `name`. As everywhere, the method `HEAD` counts as `GET`, and an empty value is absent.
    ///
    /// # Errors
    ///
    /// The policy has no such attribute, it was set before, or the value cannot be one of its values. The place is
    /// left to the caller, which knows how the name was given.
    pub fn set(&mut self, name: &str, value: Cow<'q, str>) -> Result<(), BadQuestion> {
        let Some(attribute) = self.policy.attribute(name) else {
            return Err(BadQuestion::new("unknown attribute").help(instead(name, self.policy.attribute_names())));
        };
        if self.given.contains(&attribute) {
            return Err(given_twice());
        }
        self.given.push(attribute);
        if value.is_empty() {
            return Ok(());
        }
        let allowed = Demand::on(self.policy).set(attribute, &value).map(|_| ());
        allowed.map_err(|error| self.bad_value(error, &value))?;
        let is_head = attribute == AttributeId::METHOD && value == "HEAD";
        self.values.push((attribute, if is_head { Cow::Borrowed("GET") } else { value }));
        Ok(())
    }

    /// Sets the cost in one unit.
    pub fn set_cost(&mut self, unit: UnitId, amount: u64) {
        self.costs.retain(|(set, _)| *set != unit);
        self.costs.push((unit, amount.min(bounds::MAX_AMOUNT)));
    }

    /// Whether an attribute was set.
    pub fn has(&self, attribute: AttributeId) -> bool {
        self.values.iter().any(|(set, _)| *set == attribute)
    }

    /// The demand that is asked, for its purpose to be set.
    pub fn demand(&self) -> DemandBuilder<'_> {
        let mut demand = Demand::on(self.policy);
        self.add_to(&mut demand);
        demand
    }

    /// Adds what is asked to a demand on the same policy; what both name is as asked here.
    pub fn add_to<'a>(&'a self, demand: &mut DemandBuilder<'a>) {
        for (attribute, value) in &self.values {
            demand.set(*attribute, value).expect("the value was checked when it was set");
        }
        for (unit, amount) in &self.costs {
            demand.set_cost(*unit, *amount).expect("the amount was checked when it was read");
        }
    }

    fn read_attributes(&mut self, attributes: Json<'q>) -> Result<(), BadQuestion> {
        for (name, value) in attributes.members()? {
            let set = value.string().and_then(|value| self.set(&name, value));
            set.map_err(|bad| bad.inside(&name))?;
        }
        Ok(())
    }

    fn read_costs(&mut self, cost: Json<'q>) -> Result<(), BadQuestion> {
        for (name, amount) in cost.members()? {
            let amount = self.read_cost(&name, amount).map_err(|bad| bad.inside(&name))?;
            self.costs.push(amount);
        }
        Ok(())
    }

    fn read_cost(&self, name: &str, amount: Json<'q>) -> Result<(UnitId, u64), BadQuestion> {
        let Some(unit) = self.policy.unit(name) else {
            return Err(BadQuestion::new("unknown unit").help(instead(name, self.policy.unit_names())));
        };
        if self.costs.iter().any(|(set, _)| *set == unit) {
            return Err(given_twice());
        }
        Ok((unit, amount.amount()?))
    }

    fn bad_value(&self, error: DemandError, value: &str) -> BadQuestion {
        match error {
            DemandError::UnknownOperation => {
                let operations = self.policy.operations().iter().map(|operation| operation.name());
                let message = format!("the policy has no operation `{}`", shortened(value));
                BadQuestion::new(message).help(instead(value, operations))
            }
            DemandError::ClassIsDerived => {
                BadQuestion::new(error.to_string()).help("name an operation of that class instead")
            }
            error => BadQuestion::new(error.to_string()),
        }
    }
}

/// What to write instead of an unknown `name`: the known name that is most like it, else some of those there are.
pub fn instead<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let compared = &known[..known.len().min(MOST_NAMES_COMPARED)];
    if let Some(nearest) = nearest(name, compared) {
        return format!("did you mean `{nearest}`?");
    }
    let listed: Vec<String> = known.iter().take(MOST_NAMES_IN_HELP).map(|name| format!("`{name}`")).collect();
    let more = known.len().saturating_sub(listed.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("there are {}{more}", listed.join(", "))
}

fn given_twice() -> BadQuestion {
    BadQuestion::new("is given twice").help("leave one of the two out")
}

/// At most 64 characters of what a stranger wrote.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(64) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn decapitalised(text: &str) -> String {
    let acronym = text.chars().nth(1).is_some_and(char::is_uppercase);
    match text.chars().next() {
        Some(first) if !acronym => format!("{}{}", first.to_lowercase(), &text[first.len_utf8()..]),
        _ => text.to_owned(),
    }
}
