//! How a vendor shows what is left: a call of its API that is answered from the counters.

use std::borrow::Cow;
use std::collections::BTreeSet;

use tidegate_core::{AttributeId, Decision, Demand, DemandBuilder, OperationId, Policy, Purpose};

use crate::dialect::{Answer, Body, Check};
use crate::fields::Names;
use crate::scene::{Scene, Unknown, Words, visible_named};
use crate::template::{Placeholder, Quantity, Source, Template, Value};
use crate::{Fields, escape};

/// A call of the vendor's API that shows what is left of one limit: for each group (a platform, say) and each operation.
#[derive(Clone, Debug)]
pub struct Inspection {
    pub(crate) operation: Box<str>,
    pub(crate) limit: Box<str>,
    /// The query parameter that names operations, separated by commas.
    pub(crate) operations_parameter: Option<Box<str>>,
    /// Operations that have no row.
    pub(crate) except: Vec<Box<str>>,
    pub(crate) body: Body,
    pub(crate) row: Template,
    pub(crate) groups: Vec<Group>,
    pub(crate) require: Option<Attributes>,
    pub(crate) forbidden: Answer,
    pub(crate) bad_request: Answer,
    /// The dialect's.
    pub(crate) names: Names,
}

/// A part of the answer: the counters of demands with these attributes.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) parameter: Box<str>,
    pub(crate) member: Box<str>,
    pub(crate) attributes: Attributes,
}

/// Attributes' names and values.
pub(crate) type Attributes = Vec<(Box<str>, Box<str>)>;

/// What was asked for.
struct Question<'i> {
    groups: Vec<&'i Group>,
    /// None for all.
    operations: Option<BTreeSet<OperationId>>,
}

/// What was not understood.
struct Misasked<'q> {
    parameter: &'q str,
    value: String,
}

impl Inspection {
    /// The operation that is answered so. It is counted like any other before.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Answers it.
    ///
    /// `demand` has the caller's attributes (the app, say); `query` is the request's query, without the `?`. `peek`
    /// decides a demand without charging it; it is asked once for each row.
    pub fn answer<'p>(
        &self,
        policy: &'p Policy,
        demand: &DemandBuilder<'p>,
        query: &str,
        mut peek: impl for<'d> FnMut(&'d Demand<'d>) -> Decision<'d>,
    ) -> Fields {
        let asker = demand.build();
        if !self.is_granted(&asker) {
            return self.write(&self.forbidden, &Asker { demand: &asker, misasked: None });
        }
        let question = match self.question(policy, query) {
            Ok(question) => question,
            Err(misasked) => {
                return self.write(&self.bad_request, &Asker { demand: &asker, misasked: Some(misasked) });
            }
        };
        let mut groups = String::new();
        for group in question.groups {
            let mut builder = *demand;
            group.put_on(policy, &mut builder);
            let rows = self.rows(policy, builder, question.operations.as_ref(), &mut peek);
            let comma = if groups.is_empty() { "" } else { "," };
            groups.push_str(comma);
            groups.push('"');
            escape::json(&group.member, &mut groups);
            groups.push_str("\":{");
            groups.push_str(&rows);
            groups.push('}');
        }
        let mut fields = Fields::new(&self.names, 200);
        self.body.write(&Groups(groups), &mut fields);
        fields
    }

    pub(crate) fn check(&self, check: &mut Check<'_>) {
        let place = "the inspection";
        check.operation(place, &self.operation);
        for operation in &self.except {
            check.operation(place, operation);
        }
        check.limits(place, [&self.limit]);
        let attributes = self.groups.iter().map(|group| &group.attributes).chain(&self.require);
        for (name, _) in attributes.flatten() {
            check.attribute(place, name);
        }
        check.body(place, self.forbidden.body.as_ref());
        check.body(place, self.bad_request.body.as_ref());
    }

    /// Writes an answer that is not granted or not understood.
    fn write(&self, answer: &Answer, asker: &Asker<'_>) -> Fields {
        let mut fields = Fields::new(&self.names, answer.status);
        if let Some(body) = &answer.body {
            body.write(asker, &mut fields);
        }
        fields
    }

    fn is_granted(&self, asker: &Demand<'_>) -> bool {
        let has = |(name, value): &(Box<str>, Box<str>)| asker.value(name) == Some(&**value);
        self.require.iter().flatten().all(has)
    }

    /// Reads the query. Groups that are asked for by a true parameter are shown; if none is, all are.
    fn question<'i>(&'i self, policy: &Policy, query: &str) -> Result<Question<'i>, Misasked<'i>> {
        let mut asked = vec![false; self.groups.len()];
        let mut operations: Option<BTreeSet<OperationId>> = None;
        for (name, value) in pairs(query) {
            if let Some(index) = self.groups.iter().position(|group| *group.parameter == *name) {
                let parameter = &*self.groups[index].parameter;
                asked[index] = truth(&value).ok_or_else(|| Misasked { parameter, value: value.into_owned() })?;
            } else if let Some(parameter) = self.operations_parameter.as_deref().filter(|known| **known == *name) {
                for asked in value.split(',').map(str::trim).filter(|asked| !asked.is_empty()) {
                    let id = policy.operation_named(asked).filter(|_| !self.is_except(asked));
                    let id = id.ok_or_else(|| Misasked { parameter, value: asked.to_owned() })?;
                    operations.get_or_insert_default().insert(id);
                }
            }
        }
        let all = !asked.contains(&true);
        let groups = self.groups.iter().zip(asked).filter(|(_, asked)| all || *asked).map(|(group, _)| group);
        Ok(Question { groups: groups.collect(), operations })
    }

    fn is_except(&self, operation: &str) -> bool {
        self.except.iter().any(|name| **name == *operation)
    }

    /// The rows of one group, in the order of the policy's operations, without braces.
    fn rows(
        &self,
        policy: &Policy,
        mut builder: DemandBuilder<'_>,
        asked: Option<&BTreeSet<OperationId>>,
        peek: &mut impl for<'d> FnMut(&'d Demand<'d>) -> Decision<'d>,
    ) -> String {
        let mut rows = String::new();
        let words = Words::default();
        builder.set_purpose(Purpose::Peek).clear(AttributeId::METHOD);
        for operation in policy.operations() {
            let Some(id) = policy.operation_named(operation.name()) else { continue };
            if self.is_except(operation.name()) || asked.is_some_and(|asked| !asked.contains(&id)) {
                continue;
            }
            let demand = builder.set_operation(id).build();
            let decision = peek(&demand);
            let Some(subject) = visible_named(&decision, &self.limit) else { continue };
            let scene = Scene { decision: &decision, words: &words, subject: Some(subject), unknown: Unknown::Guessed };
            rows.push_str(if rows.is_empty() { "\"" } else { ",\"" });
            escape::json(operation.name(), &mut rows);
            rows.push_str("\":");
            self.row.write_body(&scene, &mut rows);
        }
        rows
    }
}

impl Group {
    fn put_on<'g>(&'g self, policy: &Policy, builder: &mut DemandBuilder<'g>) {
        for (name, value) in &self.attributes {
            if let Some(attribute) = policy.attribute(name) {
                builder
                    .set(attribute, value)
                    .expect("values were bounded and `class` refused when the dialect was read");
            }
        }
    }
}

/// Who asks, and what was not understood.
struct Asker<'a> {
    demand: &'a Demand<'a>,
    misasked: Option<Misasked<'a>>,
}

impl Source for Asker<'_> {
    fn value(&self, placeholder: &Placeholder) -> Option<Value<'_>> {
        match (&placeholder.quantity, &self.misasked) {
            (Quantity::Attribute(name), _) => self.demand.value(name).map(Value::Text),
            (Quantity::Parameter, Some(misasked)) => Some(Value::Text(misasked.parameter)),
            (Quantity::Value, Some(misasked)) => Some(Value::Text(&misasked.value)),
            _ => None,
        }
    }

    fn write_json(&self, _: &Placeholder, _: &mut String) {}
}

/// The groups of an answer, as members of an object.
struct Groups(String);

impl Source for Groups {
    fn value(&self, placeholder: &Placeholder) -> Option<Value<'_>> {
        (placeholder.quantity == Quantity::Groups).then_some(Value::Json)
    }

    fn write_json(&self, _: &Placeholder, out: &mut String) {
        out.push_str(&self.0);
    }
}

/// A boolean of a query, as it is commonly written, without regard to case.
fn truth(text: &str) -> Option<bool> {
    let is = |known: &&str| text.eq_ignore_ascii_case(known);
    if ["true", "t", "1"].iter().any(is) {
        return Some(true);
    }
    ["false", "f", "0", ""].iter().any(is).then_some(false)
}

/// The names and values of a query, decoded.
fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// A part of a query with `+` and `%XX` decoded. What is not UTF-8 then is replaced; a `%` of something else is itself.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%').then(|| hex_pair(bytes.get(at + 1..at + 3)?)).flatten();
        decoded.push(match (hex, byte) {
            (Some(byte), _) => byte,
            (None, b'+') => b' ',
            (None, byte) => *byte,
        });
        at += if hex.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn hex_pair(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(digits[0])? * 16 + digit(digits[1])?)
}
