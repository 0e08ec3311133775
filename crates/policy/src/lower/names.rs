//! What the file declares: attributes, operations, classes, units, plans and limits, each name once.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::AttributeId;

use crate::file::{self, Choice, File, Quota};
use crate::problem::Problem;
use crate::reading::{Place, Text};

/// Longest name in bytes. Names stand in headers and metrics.
const MAX_NAME_BYTES: usize = 128;

/// All names of a file.
pub(super) struct Names<'f> {
    /// Attributes, the built-in ones first.
    pub(super) attributes: Vec<&'f str>,
    /// Operations, the default one included.
    pub(super) operations: BTreeMap<&'f str, Option<Place>>,
    /// The operation of what no route matches.
    pub(super) default_operation: &'f str,
    /// Classes and their operations.
    pub(super) classes: BTreeMap<&'f str, Vec<&'f str>>,
    /// Units, `requests` first.
    pub(super) units: Vec<&'f str>,
    /// All plans, if the file lists them.
    pub(super) listed_plans: Option<BTreeSet<&'f str>>,
    /// All plans that the file lists or has a quota for.
    pub(super) plans: BTreeSet<&'f str>,
    /// Limits.
    pub(super) limits: BTreeMap<&'f str, &'f file::Limit>,
}

impl<'f> Names<'f> {
    pub(super) fn of(file: &'f File, problems: &mut Vec<Problem>) -> Names<'f> {
        let operations = operations(file, problems);
        let listed_plans = file.plans.names.as_ref().map(|names| names.iter().map(|name| &**name).collect());
        Names {
            attributes: attributes(file, problems),
            classes: classes(file, &operations, problems),
            operations,
            default_operation: default_operation(file),
            units: units(file, problems),
            plans: plans(file, listed_plans.as_ref(), problems),
            listed_plans,
            limits: limits(file, problems),
        }
    }

    /// Attributes beside the built-in ones.
    pub(super) fn declared_attributes(&self) -> impl Iterator<Item = &'f str> {
        self.attributes[AttributeId::BUILT_IN.len()..].iter().copied()
    }

    /// The operations that a name in `on` means; `None` if it means nothing.
    pub(super) fn operations_called(&self, name: &str) -> Option<Vec<&'f str>> {
        let operation = self.operations.get_key_value(name).map(|(operation, _)| vec![*operation]);
        operation.or_else(|| self.classes.get(name).cloned())
    }
}

fn attributes<'f>(file: &'f File, problems: &mut Vec<Problem>) -> Vec<&'f str> {
    let mut attributes: Vec<&'f str> = AttributeId::BUILT_IN.to_vec();
    for attribute in &file.attributes {
        let name = &attribute.name;
        match &**name {
            "plan" => continue,
            "operation" | "method" | "class" => {
                problems.push(Problem::built_in(name, "attribute", "it follows from the route"));
                continue;
            }
            "age" => {
                problems.push(Problem::built_in(name, "word", "a quota `by = \"age\"` goes by `created` of a record"));
            }
            reserved if file::RESERVED_ATTRIBUTES.contains(&reserved) => {
                let why = format!("[{reserved}s] would be its records, and means something else");
                problems.push(Problem::built_in(name, "word", &why));
            }
            _ => check_name(name, "an attribute", problems),
        }
        attributes.push(name);
    }
    attributes
}

fn operations<'f>(file: &'f File, problems: &mut Vec<Problem>) -> BTreeMap<&'f str, Option<Place>> {
    let mut operations = BTreeMap::new();
    for operation in &file.operations {
        check_name(&operation.name, "an operation", problems);
        operations.insert(&*operation.name, Some(operation.name.place));
    }
    if let Some(name) = &file.default_operation {
        check_name(name, "an operation", problems);
    }
    let default_place = file.default_operation.as_ref().map(|name| name.place);
    operations.entry(default_operation(file)).or_insert(default_place);
    operations
}

fn default_operation(file: &File) -> &str {
    file.default_operation.as_deref().unwrap_or("other")
}

fn classes<'f>(
    file: &'f File,
    operations: &BTreeMap<&'f str, Option<Place>>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'f str, Vec<&'f str>> {
    let mut classes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for operation in &file.operations {
        let Some(class) = &operation.class else { continue };
        let members = classes.entry(class).or_default();
        if members.is_empty() {
            check_name(class, "a class", problems);
            if let Some(place) = operations.get(&**class) {
                problems.push(Problem::operation_is_class(class, *place));
            }
        }
        members.push(&operation.name);
    }
    classes
}

fn units<'f>(file: &'f File, problems: &mut Vec<Problem>) -> Vec<&'f str> {
    let mut units = vec!["requests"];
    for unit in &file.units {
        check_name(&unit.name, "a unit", problems);
        if &*unit.name == "requests" {
            problems.push(Problem::built_in(&unit.name, "unit", "every request costs one of it"));
        }
        units.push(&unit.name);
    }
    units
}

fn plans<'f>(file: &'f File, listed: Option<&BTreeSet<&'f str>>, problems: &mut Vec<Problem>) -> BTreeSet<&'f str> {
    each_once(file.plans.names.as_deref().unwrap_or_default(), "names", problems);
    if let (Some(default), Some(listed)) = (&file.plans.default, listed)
        && !listed.contains(&&**default)
    {
        problems.push(Problem::unknown_plan(default, &listed.iter().copied().collect::<Vec<_>>()));
    }
    let mut plans: BTreeSet<&str> = listed.into_iter().flatten().copied().collect();
    plans.extend(file.plans.default.as_deref());
    if listed.is_none() {
        let conditions = file.limits.iter().flat_map(|limit| limit.when.iter().chain(&limit.unless));
        plans.extend(conditions.filter(|(name, _)| &**name == "plan").flat_map(|(_, values)| values).map(|it| &**it));
        file.limits.iter().filter_map(|limit| limit.quota.as_ref()).for_each(|quota| cases_by_plan(quota, &mut plans));
    }
    plans
}

/// The plans that a quota has cases for.
fn cases_by_plan<'f>(quota: &'f Quota, plans: &mut BTreeSet<&'f str>) {
    let Quota::By(Choice { by, default, cases, .. }) = quota else { return };
    if by.as_deref() == Some("plan") {
        plans.extend(cases.iter().map(|(plan, _)| &**plan));
    }
    cases
        .iter()
        .filter_map(|(_, case)| case.as_ref())
        .chain(default.as_deref())
        .for_each(|it| cases_by_plan(it, plans));
}

fn limits<'f>(file: &'f File, problems: &mut Vec<Problem>) -> BTreeMap<&'f str, &'f file::Limit> {
    let mut limits: BTreeMap<&str, &file::Limit> = BTreeMap::new();
    for limit in &file.limits {
        let Some(name) = &limit.name else { continue };
        check_name(name, "a limit", problems);
        let first = limits.get(&**name).and_then(|first| first.name.as_ref());
        match first {
            Some(first) => problems.push(Problem::duplicate_name(name, "limit", first.place)),
            None => drop(limits.insert(name, limit)),
        }
    }
    limits
}

/// Notes what a list says twice.
pub(super) fn each_once(list: &[Text], key: &str, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for item in list {
        match seen.get(&**item) {
            Some(first) => problems.push(Problem::repeated(item, key, *first)),
            None => drop(seen.insert(item, item.place)),
        }
    }
}

/// Notes a name that cannot stand in headers, metrics and other names.
fn check_name(name: &Text, kind: &str, problems: &mut Vec<Problem>) {
    let allowed = "letters, digits, `-`, `_` and `.`, a letter or digit first";
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let allowed = format!("1 to {MAX_NAME_BYTES} {allowed}");
        problems.push(Problem::bad_name(name, name.place, kind, &allowed));
        return;
    }
    let belongs = |at: usize, c: char| c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '-' | '_' | '.'));
    if let Some((at, stray)) = name.char_indices().find(|(at, c)| !belongs(*at, *c)) {
        problems.push(Problem::bad_name(name, name.part(at..at + stray.len_utf8()), kind, allowed));
    }
}

/// Notes a dialect that is neither a name nor a path.
pub(super) fn check_dialect(dialect: &Text, problems: &mut Vec<Problem>) {
    if dialect.starts_with("./") || dialect.starts_with('/') {
        return;
    }
    let belongs = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let stray = dialect.char_indices().find(|(_, c)| !belongs(*c));
    let place = match stray {
        Some((at, c)) => dialect.part(at..at + c.len_utf8()),
        None if dialect.is_empty() => dialect.place,
        None => return,
    };
    problems.push(Problem::bad_name(
        dialect,
        place,
        "a dialect",
        "small letters, digits and `-`, or a path that begins with `./` or `/`",
    ));
}

/// Notes a policy name with anything but small letters, digits and `-`.
pub(super) fn check_policy_name(name: &Text, problems: &mut Vec<Problem>) {
    let belongs = |at: usize, c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || (at > 0 && c == '-');
    let stray = name.char_indices().find(|(at, c)| !belongs(*at, *c));
    let place = match stray {
        Some((at, c)) => name.part(at..at + c.len_utf8()),
        None if name.is_empty() || name.len() > MAX_NAME_BYTES => name.place,
        None => return,
    };
    let allowed = format!("1 to {MAX_NAME_BYTES} small letters, digits and `-`, a letter or digit first");
    problems.push(Problem::bad_name(name, place, "a policy", &allowed));
}
