//! The file as meant: names settled, quotas checked, all problems collected; then frozen.

mod intake;
mod limits;
mod names;
mod quotas;
mod records;
mod routes;
mod sources;

use tidegate_core::{FreezeError, Policy, PolicyDraft, bounds};
use toml::de::DeTable;

use crate::file::{self, File};
use crate::intake::{Intake, IntakeDraft};
use crate::problem::{Problem, Problems, Severity, Source};
use crate::reading::{Place, Reader};
use names::Names;

/// Longest policy text in bytes: 1 MiB. Twenty thousand operations with a route each fit; reading it takes a fraction of
/// a second and a few dozen MiB.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// A policy file that can be put into force.
#[derive(Debug)]
pub struct Lowered {
    /// All limits, operations, plans and records.
    pub policy: Policy,
    /// What makes demands of requests.
    pub intake: Intake,
    /// The dialect's name, or the path of its file if it begins with `./` or `/`.
    pub dialect: String,
    /// What is surely not as it was meant, though it can be used.
    pub warnings: Problems,
}

/// Reads a policy text as version `version` of the policy.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included. Only what is not TOML keeps the rest from being looked at.
pub fn lower(source: &Source<'_>, version: u64) -> Result<Lowered, Problems> {
    let (file, found) = match read(source.text) {
        Ok(read) => read,
        Err(found) => return Err(Problems::of(source, found)),
    };
    let mut lowering = Lowering::of(&file, found);
    let draft = lowering.policy(version);
    let intake_draft = lowering.intake();
    lowering.warn();
    let mut found = lowering.problems;
    if found.iter().all(|problem| problem.severity == Severity::Warning) {
        match put_together(&file, &draft, &intake_draft) {
            Ok((policy, intake)) => {
                let dialect = file.dialect.as_deref().unwrap_or("ietf").to_owned();
                return Ok(Lowered { policy, intake, dialect, warnings: Problems::of(source, found) });
            }
            Err(problem) => found.push(problem),
        }
    }
    Err(Problems::of(source, found))
}

/// The file as written, and what is wrong with its shape.
fn read(text: &str) -> Result<(File, Vec<Problem>), Vec<Problem>> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(vec![Problem::file_too_large(MAX_TEXT_BYTES, text.len())]);
    }
    let mut reader = Reader::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut is_toml = true;
    for error in errors {
        let place = nearby(text, error.span().unwrap_or(0..0).into());
        if error.message() == "duplicate key" {
            reader.note(Problem::duplicate_key(place, &text[place.start..place.end]));
        } else {
            is_toml = false;
            reader.note(Problem::syntax(place, error.message()));
        }
    }
    if !is_toml {
        return Err(reader.problems);
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

fn put_together(file: &File, draft: &PolicyDraft, intake: &IntakeDraft) -> Result<(Policy, Intake), Problem> {
    let policy = Policy::freeze(draft).map_err(|error| Problem::refused(place_of(file, &error), &error))?;
    let intake = Intake::build(intake, &policy).map_err(|error| Problem::refused(Place::at(0), &error))?;
    Ok((policy, intake))
}

/// Where the core's refusal belongs: to the limit it names, else to the file.
fn place_of(file: &File, error: &FreezeError) -> Place {
    let name = match error {
        FreezeError::Rule { limit, .. }
        | FreezeError::DerivedFromDerived { limit }
        | FreezeError::QuotaTooDeep { limit } => limit,
        _ => return Place::at(0),
    };
    let named = file.limits.iter().find(|limit| limit.name.as_deref() == Some(name.as_str()));
    named.map_or(Place::at(0), |limit| limit.place)
}

/// A file being lowered: its names, and what was found.
struct Lowering<'f> {
    file: &'f File,
    names: Names<'f>,
    problems: Vec<Problem>,
}

impl<'f> Lowering<'f> {
    fn of(file: &'f File, mut problems: Vec<Problem>) -> Lowering<'f> {
        let names = Names::of(file, &mut problems);
        Lowering { file, names, problems }
    }

    fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn policy(&mut self, version: u64) -> PolicyDraft {
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
        self.count(&draft);
        draft
    }

    /// Notes what there is too much of.
    fn count(&mut self, draft: &PolicyDraft) {
        let file = self.file;
        let counts = [
            (
                "attributes",
                draft.attributes.len(),
                bounds::MAX_ATTRIBUTES - 4,
                last(&file.attributes, |it| it.name.place),
            ),
            ("units", draft.units.len(), bounds::MAX_UNITS - 1, last(&file.units, |it| it.name.place)),
            ("operations", draft.operations.len(), bounds::MAX_OPERATIONS, last(&file.operations, |it| it.name.place)),
            ("limits", file.limits.len(), bounds::MAX_LIMITS, last(&file.limits, |it| it.place)),
        ];
        for (kind, found, most, place) in counts {
            if found > most {
                self.note(Problem::too_many(place, kind, most, found));
            }
        }
    }
}

fn last<T>(list: &[T], place: impl Fn(&T) -> Place) -> Place {
    list.last().map_or(Place::at(0), place)
}
