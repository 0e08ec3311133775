//! The file as meant: names settled, quotas checked, all problems collected; then frozen.

mod evasion;
mod growth;
mod intake;
mod limits;
mod lint;
mod names;
mod omission;
mod plans;
mod quotas;
mod records;
mod routes;
mod serving;
mod sources;
mod tokens;
mod zones;

use std::cell::Cell;

use tidegate_core::{FreezeError, Policy, PolicyDraft, bounds};
use toml::de::DeTable;

use crate::file::{self, File};
use crate::intake::{Intake, IntakeDraft};
use crate::problem::{Problem, Problems, Severity, Source};
use crate::reading::{Place, Reader};
use crate::serving::Serving;
use names::Names;

/// Longest policy text in bytes: 1 MiB. Twenty thousand operations with a route each fit; reading it takes a fraction of
/// a second and a few dozen MiB.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Most comparisons of an unknown name with a known one, all together: about a second's work.
const MAX_COMPARISONS: usize = 400_000;

/// A policy file that can be put into force.
#[derive(Debug)]
pub struct Lowered {
    /// All limits, operations, plans and records.
    pub policy: Policy,
    /// What makes demands of requests.
    pub intake: Intake,
    /// The dialect's name, or the path of its file if it begins with `./` or `/`.
    pub dialect: String,
    /// Which requests of a server it is for.
    pub serving: Serving,
    /// What the policy was frozen from: for what compares policies.
    pub policy_draft: PolicyDraft,
    /// What the intake was built from.
    pub intake_draft: IntakeDraft,
    /// What is surely not as it was meant, though it can be used.
    pub warnings: Problems,
}

/// Reads a policy text as version `version` of the policy. One that names files is refused: see [`lower_with`].
///
/// # Errors
///
/// Everything that is wrong with it. What is not TOML keeps the rest from being looked at, and errors keep warnings from
/// being given: half of them would follow from the errors.
pub fn lower(source: &Source<'_>, version: u64) -> Result<Lowered, Problems> {
    lower_with(source, version, &|_| Err("this policy is no file, so that none is beside it".to_owned()))
}

/// Reads a policy text as [`lower`] does, and the files that it names by `open`, which says why one cannot be read.
///
/// # Errors
///
/// Everything that is wrong with it, or with those files.
pub fn lower_with(
    source: &Source<'_>,
    version: u64,
    open: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Lowered, Problems> {
    let (file, found) = read(source.text).map_err(|found| Problems::of(source, found))?;
    let refused = |found| Problems::of(source, errors(found, &file.lost));
    let mut lowering = Lowering::of(&file, open, found);
    let draft = lowering.policy(version);
    let serving = lowering.serving();
    let intake_draft = lowering.intake();
    lowering.warn();
    if lowering.problems.iter().all(|problem| problem.severity == Severity::Warning) {
        lowering.warn_of_idle_limits();
        lowering.warn_of_evasion(&draft, &intake_draft);
        lowering.warn_of_plans();
    }
    let found = lowering.problems;
    if found.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(refused(found));
    }
    let (policy, mut intake) = put_together(&file, &draft, &intake_draft).map_err(|problem| refused(vec![*problem]))?;
    intake.strip(serving.stripped());
    let dialect = file.dialect.as_deref().unwrap_or("ietf").to_owned();
    let warnings = Problems::of(source, found);
    Ok(Lowered { policy, intake, dialect, serving, policy_draft: draft, intake_draft, warnings })
}

/// The errors that do not follow from others.
fn errors(mut found: Vec<Problem>, lost: &[&str]) -> Vec<Problem> {
    found.retain(|problem| problem.severity == Severity::Error && !lost.iter().any(|part| problem.follows_from(part)));
    found
}

/// The file as written, and what is wrong with its shape.
fn read(text: &str) -> Result<(File, Vec<Problem>), Vec<Problem>> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(vec![Problem::file_too_large(MAX_TEXT_BYTES, text.len())]);
    }
    let mut reader = Reader::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let (duplicates, errors): (Vec<_>, Vec<_>) = errors.into_iter().partition(|it| it.message() == "duplicate key");
    let place = |error: &toml::de::Error| nearby(text, error.span().unwrap_or(0..0).into());
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| Problem::syntax(place(error), error.message())).collect());
    }
    for duplicate in duplicates {
        let place = place(&duplicate);
        reader.note(Problem::duplicate_key(place, &text[place.start..place.end]));
    }
    let fields = reader.document(&table);
    let file = file::read(&mut reader, &fields);
    Ok((file, reader.problems))
}

/// The place, cut to the text and to whole characters.
fn nearby(text: &str, place: Place) -> Place {
    let boundary = |at: usize| text.floor_char_boundary(at);
    Place { start: boundary(place.start), end: boundary(place.end.max(place.start)) }
}

fn put_together(file: &File, draft: &PolicyDraft, intake: &IntakeDraft) -> Result<(Policy, Intake), Box<Problem>> {
    let policy = Policy::freeze(draft).map_err(|error| Box::new(Problem::refused(place_of(file, &error), &error)))?;
    let intake = Intake::build(intake, &policy).map_err(|error| Box::new(Problem::refused(Place::at(0), &error)))?;
    Ok((policy, intake))
}

/// Where the core's refusal belongs: to the limit it names, else to the file.
fn place_of(file: &File, error: &FreezeError) -> Place {
    let name = match error {
        FreezeError::Rule { limit, .. }
        | FreezeError::DerivedFromDerived { limit }
        | FreezeError::Distinct { limit }
        | FreezeError::QuotaTooDeep { limit } => limit,
        _ => return Place::at(0),
    };
    let named = file.limits.iter().find(|limit| limit.name.as_deref() == Some(name.as_str()));
    named.map_or(Place::at(0), |limit| limit.place)
}

/// A file being lowered: its names, and what was found.
struct Lowering<'f> {
    file: &'f File,
    /// Reads a file that the policy names.
    open: &'f dyn Fn(&str) -> Result<String, String>,
    names: Names<'f>,
    problems: Vec<Problem>,
    /// Comparisons of unknown names with known ones so far.
    compared: Cell<usize>,
}

impl<'f> Lowering<'f> {
    fn of(
        file: &'f File,
        open: &'f dyn Fn(&str) -> Result<String, String>,
        mut problems: Vec<Problem>,
    ) -> Lowering<'f> {
        let names = Names::of(file, &mut problems);
        Lowering { file, open, names, problems, compared: Cell::new(0) }
    }

    fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Names to suggest instead of an unknown one. None once very many have been compared: thousands of unknown names
    /// beside thousands of known ones would take minutes.
    fn suggest<'n>(&self, names: impl Iterator<Item = &'n &'f str>) -> Vec<&'f str>
    where
        'f: 'n,
    {
        if self.compared.get() > MAX_COMPARISONS {
            return Vec::new();
        }
        let names: Vec<&str> = names.copied().collect();
        self.compared.set(self.compared.get() + names.len());
        names
    }

    fn policy(&mut self, version: u64) -> PolicyDraft {
        self.file.name.iter().for_each(|name| names::check_policy_name(name, &mut self.problems));
        self.file.dialect.iter().for_each(|dialect| names::check_dialect(dialect, &mut self.problems));
        if let Some(name) = &self.file.zone {
            self.zone(name);
        }
        if let Some(text) = &self.file.on_store_error {
            self.store_error_rule(text);
        }
        let limits = self.limits();
        let draft = PolicyDraft {
            name: self.file.name.as_deref().unwrap_or_default().to_owned(),
            version,
            attributes: self.names.declared_attributes().map(str::to_owned).collect(),
            units: self.file.units.iter().map(|unit| unit.name.to_string()).collect(),
            operations: self.operations(),
            default_operation: self.names.default_operation.to_owned(),
            default_plan: self.file.plans.default.as_deref().map(str::to_owned),
            limits,
            records: self.records(),
        };
        self.count();
        draft
    }

    /// Notes what there is too much of. Attributes and units were counted when they were read.
    fn count(&mut self) {
        let file = self.file;
        let operations = self.names.operations.len();
        if let Some(last) = file.operations.last().filter(|_| operations > bounds::MAX_OPERATIONS) {
            self.note(Problem::too_many(last.name.place, "operations", bounds::MAX_OPERATIONS, operations));
        }
        if let Some(limit) = file.limits.get(bounds::MAX_LIMITS) {
            self.note(Problem::too_many(limit.place, "limits", bounds::MAX_LIMITS, file.limits.len()));
        }
    }
}
