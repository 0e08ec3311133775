//! The file as written: every part with its place, every key known and of the right type. What names mean is settled
//! in `lower.rs`; a mistake found here leaves its part out and the rest is still read.

use tidegate_core::{AttributeId, Timestamp, bounds};

use crate::problem::{Problem, nearest};
use crate::quota::{self, Written};
use crate::reading::{Field, Fields, Place, Reader, Text, Value, type_of};

/// A policy file as written.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) name: Option<Text>,
    pub(crate) dialect: Option<Text>,
    pub(crate) bases: Vec<Text>,
    pub(crate) ignore_case: bool,
    pub(crate) default_operation: Option<Text>,
    /// The time zone of days and months that name none.
    pub(crate) zone: Option<Text>,
    /// What limits do that do not say so, where the store has no room.
    pub(crate) on_store_error: Option<Text>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) jwt: Option<Jwt>,
    pub(crate) client: Option<Client>,
    pub(crate) serve: Option<Serve>,
    pub(crate) plans: Plans,
    pub(crate) operations: Vec<Operation>,
    pub(crate) units: Vec<Unit>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) records: Vec<Records>,
    /// Keys of the outermost table that are there but could not be read, wholly or in part: what refers into them
    /// cannot be judged.
    pub(crate) lost: Vec<&'static str>,
}

/// An attribute and its sources.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: Text,
    pub(crate) sources: Vec<Source>,
}

/// One source of an attribute: places to look, and what their values stand for.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) from: Vec<Text>,
    pub(crate) map: Vec<(Text, Text)>,
    pub(crate) hash: bool,
}

/// Where tokens are and when their claims count.
#[derive(Debug)]
pub(crate) struct Jwt {
    pub(crate) place: Place,
    pub(crate) from: Vec<Text>,
    /// Where it is said, and what.
    pub(crate) upstream_verifies: Option<(Place, bool)>,
    /// Files of keys.
    pub(crate) jwks: Option<Text>,
    pub(crate) key: Option<Text>,
    /// Whether one is named, be it so that it cannot be read.
    pub(crate) has_keys: bool,
    pub(crate) algorithms: Vec<Text>,
    pub(crate) issuer: Vec<Text>,
    pub(crate) audience: Vec<Text>,
    pub(crate) leeway: Option<Text>,
    /// The keys that are there and mean nothing without keys.
    pub(crate) of_keys: Vec<Text>,
}

impl Jwt {
    pub(crate) fn upstream_verifies(&self) -> bool {
        self.upstream_verifies.is_some_and(|(_, verifies)| verifies)
    }
}

/// Whose address the client's is.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) place: Place,
    pub(crate) header: Option<Text>,
    pub(crate) trusted: Vec<Text>,
    pub(crate) ipv4_prefix: Option<u8>,
    pub(crate) ipv6_prefix: Option<u8>,
}

/// Which requests of a server the policy is for, and where they go.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) hosts: Vec<Text>,
    pub(crate) prefix: Option<Text>,
    /// Where it is said, and what.
    pub(crate) strip_prefix: Option<(Place, bool)>,
    pub(crate) upstream: Option<Text>,
}

/// The plans on sale.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    pub(crate) default: Option<Text>,
    pub(crate) names: Option<Vec<Text>>,
}

/// An operation, its routes and its class.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: Text,
    pub(crate) routes: Vec<Text>,
    pub(crate) class: Option<Text>,
}

/// A unit and how its cost is known.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) name: Text,
    pub(crate) costs: Vec<Cost>,
    pub(crate) settle: Option<Text>,
}

/// A cost that the request states.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) place: Place,
    pub(crate) on: Option<Vec<Text>>,
    pub(crate) source: Option<CostSource>,
}

/// Where a request states a cost.
#[derive(Debug)]
pub(crate) enum CostSource {
    Is(u64),
    Header(Text),
    LengthOf(Text),
    SumOf(Text),
    BytesOf(Text),
}

/// A limit.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) place: Place,
    pub(crate) name: Option<Text>,
    pub(crate) on: Option<Vec<Text>>,
    pub(crate) per: Vec<Text>,
    pub(crate) quota: Option<Quota>,
    pub(crate) algorithm: Option<Text>,
    pub(crate) cells: Option<(Place, Option<u16>)>,
    pub(crate) align: Option<Text>,
    pub(crate) zone: Option<Text>,
    pub(crate) unit: Option<Text>,
    pub(crate) distinct: Option<Text>,
    pub(crate) mode: Option<Text>,
    /// Where it is said, and what.
    pub(crate) count_refused: Option<(Place, bool)>,
    pub(crate) on_store_error: Option<Text>,
    pub(crate) when: Vec<(Text, Vec<Text>)>,
    pub(crate) unless: Vec<(Text, Vec<Text>)>,
    pub(crate) created_before: Option<Timestamp>,
    /// Attributes that a caller may leave out to be free of it, as is meant.
    pub(crate) lenient_without: Vec<Text>,
}

/// A quota: a text, or a choice of others by an attribute.
#[derive(Debug)]
pub(crate) enum Quota {
    /// The text as it was understood.
    Text(Text, Written),
    /// The choice.
    By(Choice),
}

impl Quota {
    /// How many texts it is made of.
    pub(crate) fn leaves(&self) -> usize {
        match self {
            Quota::Text(..) => 1,
            Quota::By(Choice { default, cases, .. }) => {
                let cases = cases.iter().filter_map(|(_, case)| case.as_ref());
                cases.chain(default.as_deref()).map(Quota::leaves).sum()
            }
        }
    }
}

/// A choice of quotas by an attribute.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) place: Place,
    pub(crate) by: Option<Text>,
    pub(crate) default: Option<Box<Quota>>,
    pub(crate) has_default: bool,
    pub(crate) cases: Vec<(Text, Option<Quota>)>,
}

/// The records of one attribute.
#[derive(Debug)]
pub(crate) struct Records {
    /// The attribute's name: the table's without its `s`.
    pub(crate) attribute: String,
    pub(crate) list: Vec<Record>,
}

/// What is known about one app, key or account.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) value: Text,
    pub(crate) plan: Option<Text>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) secret: Option<Text>,
    pub(crate) limits: Vec<(Text, Option<Quota>)>,
}

/// The fixed keys of the outermost table.
const KEYS: &[&str] = &[
    "name",
    "dialect",
    "serve",
    "bases",
    "ignore_case",
    "default_operation",
    "zone",
    "on_store_error",
    "attributes",
    "client",
    "jwt",
    "plans",
    "operations",
    "units",
    "limit",
];

/// Attributes whose records would be under one of [`KEYS`].
pub(crate) const RESERVED_ATTRIBUTES: &[&str] = &["attribute", "base", "unit"];

const LIMIT_KEYS: &[&str] = &[
    "name",
    "on",
    "per",
    "quota",
    "algorithm",
    "cells",
    "align",
    "zone",
    "unit",
    "distinct",
    "mode",
    "count_refused",
    "on_store_error",
    "when",
    "unless",
    "exempt",
    "lenient_without",
];

const JWT_KEYS: &[&str] = &["from", "upstream_verifies", "jwks", "key", "algorithms", "issuer", "audience", "leeway"];

/// Those of [`JWT_KEYS`] that are about tokens which keys verify.
const OF_KEYS: &[&str] = &["algorithms", "issuer", "audience", "leeway"];

/// The ways to state a cost, of which each has one.
const COST_SOURCES: &[&str] = &["is", "header", "length_of", "sum_of", "bytes_of"];

/// Reads the outermost table.
pub(crate) fn read(reader: &mut Reader<'_>, fields: &Fields<'_, '_>) -> File {
    let mut file = File::default();
    reader.required(fields, "name", "the policy", "\"my-api\"");
    for field in &fields.list {
        match &*field.key {
            "name" => file.name = reader.text(field),
            "dialect" => file.dialect = reader.text(field),
            "bases" => file.bases = reader.texts(field, "leave it out for no prefix").unwrap_or_default(),
            "ignore_case" => file.ignore_case = reader.boolean(field).unwrap_or_default(),
            "default_operation" => file.default_operation = reader.text(field),
            "zone" => file.zone = reader.text(field),
            "on_store_error" => file.on_store_error = reader.text(field),
            "attributes" => file.attributes = attributes(reader, field),
            "jwt" => file.jwt = jwt(reader, field),
            "client" => file.client = client(reader, field),
            "serve" => file.serve = serve(reader, field),
            "plans" => file.plans = plans(reader, field),
            "operations" => file.operations = operations(reader, field),
            "units" => file.units = units(reader, field),
            "limit" => file.limits = limits(reader, field),
            _ => {}
        }
    }
    for field in fields.list.iter().filter(|field| !KEYS.contains(&&*field.key)) {
        file.lost.extend(nearest(&field.key, KEYS));
        if let Some(records) = records(reader, field, &file.attributes) {
            file.records.push(records);
        }
    }
    file.lost.extend(KEYS.iter().filter(|key| fields.get(key).is_some_and(|field| is_lost(field))));
    if file.limits.iter().any(|limit| limit.name.is_none()) {
        file.lost.push("limit");
    }
    file
}

/// Whether a part of the file has the wrong type altogether.
fn is_lost(field: &Field<'_, '_>) -> bool {
    let value = field.value.get_ref();
    match &*field.key {
        "limit" => !value.is_array(),
        "attributes" | "client" | "jwt" | "plans" | "operations" | "units" => !value.is_table(),
        _ => false,
    }
}

fn attributes(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Vec<Attribute> {
    let Some(mut fields) = reader.table(&field.key, field.value) else { return Vec::new() };
    keep(reader, &mut fields, "attributes", bounds::MAX_ATTRIBUTES - AttributeId::BUILT_IN.len());
    let attribute = |field: &Field<'_, '_>| Attribute { name: field.key.clone(), sources: sources(reader, field) };
    fields.list.iter().map(attribute).collect()
}

fn sources(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Vec<Source> {
    let Some(items) = reader.items(field, "a source, a table with `from`, or a list of these") else {
        return Vec::new();
    };
    if items.is_empty() {
        reader.note(Problem::empty(field.place(), &field.key, "name a source, as `header:X-App`"));
    }
    items.into_iter().filter_map(|item| source(reader, &field.key, item)).collect()
}

fn source(reader: &mut Reader<'_>, attribute: &Text, item: &Value<'_>) -> Option<Source> {
    if item.get_ref().is_str() {
        let field = Field { key: attribute.clone(), value: item };
        return reader.text(&field).map(|text| Source { from: vec![text], map: Vec::new(), hash: false });
    }
    if !item.get_ref().is_table() {
        let place = item.span().into();
        reader.note(Problem::wrong_type(place, attribute, "a source or a table with `from`", type_of(item)));
        return None;
    }
    let fields = reader.record(attribute, item, "a source", &["from", "map", "hash"])?;
    let from = reader.required(&fields, "from", "the source", "\"header:NAME\"").cloned();
    let from = from.and_then(|field| reader.texts(&field, "name a source, as `header:X-App`")).unwrap_or_default();
    let map = fields.get("map").map(|field| map(reader, field)).unwrap_or_default();
    let hash = fields.get("hash").and_then(|field| reader.boolean(field)).unwrap_or(false);
    Some(Source { from, map, hash })
}

fn map(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Vec<(Text, Text)> {
    let expected = "a list of pairs such as `[\"*android*\", \"android\"]`";
    let wrong = |value: &Value<'_>| Problem::wrong_type(value.span().into(), "map", expected, type_of(value));
    let Some(pairs) = field.value.get_ref().as_array() else {
        reader.note(wrong(field.value));
        return Vec::new();
    };
    if pairs.is_empty() {
        reader.note(Problem::empty(field.place(), "map", "leave it out to take values as they are"));
    }
    let mut map = Vec::new();
    for pair in pairs.iter() {
        let texts = pair.get_ref().is_array().then(|| Field { key: field.key.clone(), value: pair });
        let mut texts = texts.and_then(|pair| reader.texts(&pair, expected)).unwrap_or_default().into_iter();
        match (pair.get_ref().as_array().map(|items| items.len()), texts.next(), texts.next()) {
            (Some(2), Some(pattern), Some(value)) => map.push((pattern, value)),
            (Some(0 | 2), ..) => {}
            _ => reader.note(wrong(pair)),
        }
    }
    map
}

fn jwt(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Option<Jwt> {
    let fields = reader.record("jwt", field.value, "[jwt]", JWT_KEYS)?;
    let from = reader.required(&fields, "from", "[jwt]", "\"header:Authorization\"").cloned();
    let from = from.and_then(|field| reader.texts(&field, "say where the token is, as `header:Authorization`"));
    let upstream_verifies =
        fields.get("upstream_verifies").and_then(|field| Some((field.key.place, reader.boolean(field)?)));
    let is_of_keys = |field: &&Field<'_, '_>| OF_KEYS.contains(&&*field.key);
    let mut texts =
        |key: &str, help: &str| fields.get(key).and_then(|field| reader.texts(field, help)).unwrap_or_default();
    let algorithms = texts("algorithms", "leave it out for all that the keys are for");
    let issuer = texts("issuer", "leave it out for any");
    let audience = texts("audience", "leave it out for any");
    let mut text = |key: &str| fields.get(key).and_then(|field| reader.text(field));
    Some(Jwt {
        place: field.key.place,
        from: from.unwrap_or_default(),
        upstream_verifies,
        jwks: text("jwks"),
        key: text("key"),
        has_keys: ["jwks", "key"].iter().any(|key| fields.get(key).is_some()),
        leeway: text("leeway"),
        algorithms,
        issuer,
        audience,
        of_keys: fields.list.iter().filter(is_of_keys).map(|field| field.key.clone()).collect(),
    })
}

fn client(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Option<Client> {
    let keys = ["header", "trusted", "ipv4_prefix", "ipv6_prefix"];
    let fields = reader.record("client", field.value, "[client]", &keys)?;
    let header = fields.get("header").and_then(|field| reader.text(field));
    if header.is_some() {
        reader.required(&fields, "trusted", "[client] with a header", "[\"10.0.0.0/8\"]");
    }
    let trusted = fields.get("trusted");
    let trusted = trusted.and_then(|field| reader.texts(field, "name the proxies, or leave it out"));
    let mut prefix = |key: &str, most: u16| {
        let length = fields.get(key).and_then(|field| reader.whole(field, most))?;
        u8::try_from(length).ok()
    };
    Some(Client {
        place: field.key.place,
        header,
        trusted: trusted.unwrap_or_default(),
        ipv4_prefix: prefix("ipv4_prefix", 32),
        ipv6_prefix: prefix("ipv6_prefix", 128),
    })
}

fn serve(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Option<Serve> {
    let keys = ["hosts", "prefix", "strip_prefix", "upstream"];
    let fields = reader.record("serve", field.value, "[serve]", &keys)?;
    let hosts = fields.get("hosts").and_then(|field| reader.texts(field, "leave it out for all hosts"));
    let strip_prefix = fields.get("strip_prefix");
    Some(Serve {
        hosts: hosts.unwrap_or_default(),
        prefix: fields.get("prefix").and_then(|field| reader.text(field)),
        strip_prefix: strip_prefix.and_then(|field| Some((field.place(), reader.boolean(field)?))),
        upstream: fields.get("upstream").and_then(|field| reader.text(field)),
    })
}

fn plans(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Plans {
    let Some(fields) = reader.record("plans", field.value, "[plans]", &["default", "names"]) else {
        return Plans::default();
    };
    let default = fields.get("default").and_then(|field| reader.text(field));
    let names = fields.get("names").and_then(|field| reader.texts(field, "name the plans, or leave it out"));
    Plans { default, names }
}

fn operations(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Vec<Operation> {
    let Some(fields) = reader.table(&field.key, field.value) else { return Vec::new() };
    fields.list.iter().map(|field| operation(reader, field)).collect()
}

fn operation(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Operation {
    let mut operation = Operation { name: field.key.clone(), routes: Vec::new(), class: None };
    if !field.value.get_ref().is_table() {
        reader.note(Problem::operation_not_table(field.place(), &field.key, type_of(field.value)));
        return operation;
    }
    if let Some(fields) = reader.record(&field.key, field.value, "an operation", &["routes", "class"]) {
        let routes = fields.get("routes").and_then(|field| reader.texts(field, "leave it out if it has no route"));
        operation.routes = routes.unwrap_or_default();
        operation.class = fields.get("class").and_then(|field| reader.text(field));
    }
    operation
}

fn units(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Vec<Unit> {
    let Some(mut fields) = reader.table(&field.key, field.value) else { return Vec::new() };
    keep(reader, &mut fields, "units", bounds::MAX_UNITS - 1);
    fields.list.iter().map(|field| unit(reader, field)).collect()
}

/// Notes that there are more than `most`, and forgets those that are far too many, so that no later check takes long.
fn keep(reader: &mut Reader<'_>, fields: &mut Fields<'_, '_>, kind: &str, most: usize) {
    if let Some(field) = fields.list.get(most) {
        reader.note(Problem::too_many(field.key.place, kind, most, fields.list.len()));
    }
    fields.list.truncate(most * 8);
}

fn unit(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Unit {
    let mut unit = Unit { name: field.key.clone(), costs: Vec::new(), settle: None };
    if let Some(fields) = reader.record(&field.key, field.value, "a unit", &["cost", "settle"]) {
        unit.settle = fields.get("settle").and_then(|field| reader.text(field));
        unit.costs = fields.get("cost").map(|field| costs(reader, field)).unwrap_or_default();
    }
    unit
}

fn costs(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Vec<Cost> {
    let items = reader.items(field, "a table or a list of tables").unwrap_or_default();
    items.into_iter().filter_map(|item| cost(reader, item)).collect()
}

fn cost(reader: &mut Reader<'_>, item: &Value<'_>) -> Option<Cost> {
    let fields = reader.record("cost", item, "a cost", &["on", "is", "header", "length_of", "sum_of", "bytes_of"])?;
    let on = fields.get("on").and_then(|field| reader.texts(field, "leave it out to mean every other operation"));
    let sources: Vec<&Field<'_, '_>> = COST_SOURCES.iter().filter_map(|key| fields.get(key)).collect();
    let source = match &*sources {
        [] if fields.list.iter().any(|field| nearest(&field.key, COST_SOURCES).is_some()) => None,
        [] => {
            reader.note(Problem::no_cost(fields.place));
            None
        }
        [field] => cost_source(reader, field),
        [first, second, ..] => {
            reader.note(Problem::two_costs(&second.key, &first.key));
            None
        }
    };
    Some(Cost { place: fields.place, on, source })
}

fn cost_source(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Option<CostSource> {
    let source = match &*field.key {
        "is" => return reader.amount(field).map(CostSource::Is),
        "header" => CostSource::Header,
        "length_of" => CostSource::LengthOf,
        "sum_of" => CostSource::SumOf,
        _ => CostSource::BytesOf,
    };
    reader.text(field).map(source)
}

fn limits(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Vec<Limit> {
    let Some(items) = field.value.get_ref().as_array() else {
        reader.note(Problem::limit_not_in_list(field.place(), type_of(field.value)));
        return Vec::new();
    };
    items.iter().filter_map(|item| limit(reader, item)).collect()
}

fn limit(reader: &mut Reader<'_>, item: &Value<'_>) -> Option<Limit> {
    let fields = reader.record("limit", item, "a limit", LIMIT_KEYS)?;
    let name = reader.required(&fields, "name", "the limit", "\"per-app\"").cloned();
    let quota = reader.required(&fields, "quota", "the limit", "\"100/min\"").cloned();
    let on = fields.get("on").and_then(|field| reader.texts(field, "leave it out to mean every operation"));
    let per = fields.get("per").filter(|field| !is_empty_list(field));
    let per = per.and_then(|field| reader.texts(field, "")).unwrap_or_default();
    let cells = fields.get("cells");
    let lenient_without = fields.get("lenient_without");
    let lenient_without = lenient_without.and_then(|field| reader.texts(field, "name an attribute, or leave it out"));
    let exempt = fields.get("exempt").and_then(|field| created_before(reader, field));
    Some(Limit {
        place: fields.place,
        name: name.and_then(|field| reader.text(&field)),
        on,
        per,
        quota: quota.and_then(|field| read_quota(reader, &field)),
        algorithm: fields.get("algorithm").and_then(|field| reader.text(field)),
        cells: cells.map(|field| (field.place(), reader.whole(field, bounds::MAX_CELLS))),
        align: fields.get("align").and_then(|field| reader.text(field)),
        zone: fields.get("zone").and_then(|field| reader.text(field)),
        unit: fields.get("unit").and_then(|field| reader.text(field)),
        distinct: fields.get("distinct").and_then(|field| reader.text(field)),
        mode: fields.get("mode").and_then(|field| reader.text(field)),
        count_refused: fields.get("count_refused").and_then(|field| Some((field.key.place, reader.boolean(field)?))),
        on_store_error: fields.get("on_store_error").and_then(|field| reader.text(field)),
        when: conditions(reader, &fields, "when"),
        unless: conditions(reader, &fields, "unless"),
        created_before: exempt,
        lenient_without: lenient_without.unwrap_or_default(),
    })
}

/// `per = []` is the same as no `per`: one counter for all.
fn is_empty_list(field: &Field<'_, '_>) -> bool {
    field.value.get_ref().as_array().is_some_and(|items| items.is_empty())
}

fn conditions(reader: &mut Reader<'_>, fields: &Fields<'_, '_>, key: &str) -> Vec<(Text, Vec<Text>)> {
    let Some(field) = fields.get(key) else { return Vec::new() };
    let Some(conditions) = reader.table(key, field.value) else { return Vec::new() };
    if conditions.list.is_empty() {
        reader.note(Problem::empty(field.place(), key, "name an attribute and its values, or leave it out"));
    }
    let mut read = Vec::new();
    for condition in &conditions.list {
        let values = reader.texts(condition, "name the values, or leave the condition out");
        read.push((condition.key.clone(), values.unwrap_or_default()));
    }
    read
}

fn created_before(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Option<Timestamp> {
    let fields = reader.record("exempt", field.value, "`exempt`", &["created_before"])?;
    let date = reader.required(&fields, "created_before", "`exempt`", "2020-05-28").cloned();
    date.and_then(|field| reader.instant(&field))
}

fn read_quota(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Option<Quota> {
    use toml::de::DeValue;
    match field.value.get_ref() {
        DeValue::Table(_) => choice(reader, field).map(Quota::By),
        DeValue::Integer(number) => {
            reader.note(Problem::unquoted_quota(field.place(), &field.key, number.as_str()));
            None
        }
        DeValue::String(_) => {
            let text = reader.text(field)?;
            match quota::parse(&text) {
                Ok(written) => Some(Quota::Text(text, written)),
                Err(mistake) => {
                    reader.note(mistake.at(&text));
                    None
                }
            }
        }
        _ => {
            let found = type_of(field.value);
            reader.note(Problem::wrong_type(field.place(), &field.key, "a string or a table", found));
            None
        }
    }
}

fn choice(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Option<Choice> {
    let fields = reader.table(&field.key, field.value)?;
    let by = reader.required(&fields, "by", "the choice of quotas", "\"plan\"").cloned();
    let default = fields.get("default");
    let cases = fields.list.iter().filter(|field| !matches!(&*field.key, "by" | "default"));
    Some(Choice {
        place: fields.place,
        by: by.and_then(|field| reader.text(&field)),
        default: default.and_then(|field| read_quota(reader, field)).map(Box::new),
        has_default: default.is_some(),
        cases: cases.map(|field| (field.key.clone(), read_quota(reader, field))).collect(),
    })
}

fn records(reader: &mut Reader<'_>, field: &Field<'_, '_>, attributes: &[Attribute]) -> Option<Records> {
    let attribute = field.key.strip_suffix('s').unwrap_or_default().to_owned();
    if !attributes.iter().any(|known| *known.name == *attribute) {
        let tables: Vec<String> = attributes.iter().map(|attribute| format!("{}s", &*attribute.name)).collect();
        let known: Vec<&str> = KEYS.iter().copied().chain(tables.iter().map(String::as_str)).collect();
        reader.note(if is_table_of_tables(field.value) {
            Problem::unknown_records(&field.key, &known)
        } else {
            Problem::unknown_key(&field.key, "the policy", &known)
        });
        return None;
    }
    let list = reader.table(&field.key, field.value)?.list;
    Some(Records { attribute, list: list.iter().filter_map(|field| record(reader, field)).collect() })
}

fn is_table_of_tables(value: &Value<'_>) -> bool {
    let table = value.get_ref().as_table();
    table.is_some_and(|table| !table.is_empty() && table.values().all(|value| value.get_ref().is_table()))
}

fn record(reader: &mut Reader<'_>, field: &Field<'_, '_>) -> Option<Record> {
    let fields = reader.record(&field.key, field.value, "a record", &["plan", "created", "secret", "limits"])?;
    let limits = fields.get("limits").and_then(|field| reader.table("limits", field.value));
    let limits = limits.map(|fields| fields.list).unwrap_or_default();
    Some(Record {
        value: field.key.clone(),
        plan: fields.get("plan").and_then(|field| reader.text(field)),
        created: fields.get("created").and_then(|field| reader.instant(field)),
        secret: fields.get("secret").and_then(|field| reader.text(field)),
        limits: limits.iter().map(|field| (field.key.clone(), read_quota(reader, field))).collect(),
    })
}
