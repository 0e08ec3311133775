//! Changes of what is in force while the server runs: policy files that change, and what became of each attempt.
//!
//! Files are compared by what is in them, as a ConfigMap swaps a link and an editor swaps a file. A change is taken up
//! once it was seen twice alike, so that a file that is being written is not read half; asked for by a signal, at once. A
//! file that is wrong, or gone, changes nothing: what was in force stays, and that it does is told (I32, I33, I36).

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_limiter::Clock;
use tokio::sync::mpsc;

use crate::assemble::{Files, Print, print_of};
use crate::book::{BookError, MAX_POLICIES};
use crate::engine::Change;
use crate::{Api, AssembleError, Engine};

/// Policies of which attempts are counted by name; those beyond are counted under an empty one. Names come from the
/// operator's files, a new one with each wrong file at worst.
const MAX_COUNTED: usize = 10 * MAX_POLICIES;

/// Where policies come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A vendor whose folder is compiled in. It never changes.
    Vendor(String),
    /// A policy file, or a folder of them: every `NAME.toml` in it but dialects, which are called `dialect.toml` or
    /// `NAME.dialect.toml`.
    Path(PathBuf),
}

/// Why a source is not in force as it is now, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadFailure {
    /// The policy that stays in force, or what the file is called if there is none.
    pub policy: String,
    /// The whole diagnostic.
    pub message: String,
}

/// What became of an attempt to change a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReloadResult {
    /// It is in force.
    Installed,
    /// It is wrong; what was in force stays.
    Refused,
    /// Its file is gone; what was in force stays.
    Missing,
}

impl ReloadResult {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ReloadResult::Installed => "installed",
            ReloadResult::Refused => "refused",
            ReloadResult::Missing => "missing",
        }
    }
}

/// What became of attempts to change what is in force.
#[derive(Debug, Default)]
pub struct Reloads(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    counts: BTreeMap<(String, ReloadResult), u64>,
    /// By source.
    failures: BTreeMap<String, ReloadFailure>,
}

impl Reloads {
    /// How many attempts there were, by policy and by what became of them.
    pub fn counts(&self) -> BTreeMap<(String, ReloadResult), u64> {
        self.record().counts.clone()
    }

    /// The sources whose last attempt failed, by where they come from.
    pub fn failures(&self) -> BTreeMap<String, ReloadFailure> {
        self.record().failures.clone()
    }

    /// Notes an attempt that succeeded.
    pub(crate) fn succeeded(&self, source: &str, policy: &str) {
        let mut record = self.record();
        record.count(policy, ReloadResult::Installed);
        record.failures.remove(source);
    }

    /// Notes one that did not.
    pub(crate) fn failed(&self, source: &str, result: ReloadResult, failure: ReloadFailure) {
        let mut record = self.record();
        record.count(&failure.policy, result);
        record.failures.insert(source.to_owned(), failure);
    }

    /// Notes one that left no source behind, as it came with a request.
    pub(crate) fn refused(&self, policy: &str) {
        self.record().count(policy, ReloadResult::Refused);
    }

    /// Forgets a source.
    fn forget(&self, source: &str) {
        self.record().failures.remove(source);
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn count(&mut self, policy: &str, result: ReloadResult) {
        let key = (policy.to_owned(), result);
        let is_full = self.counts.len() >= MAX_COUNTED && !self.counts.contains_key(&key);
        *self.counts.entry(if is_full { (String::new(), result) } else { key }).or_default() += 1;
    }
}

/// When to look at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Whether something has changed; to be asked about twice a second.
    Look,
    /// Now, and what is wrong once more: an operator asks for it.
    Reload,
}

/// The sources of a server, and what was last read of them.
#[derive(Debug)]
pub struct Sources {
    sources: Vec<Source>,
    files: BTreeMap<PathBuf, Known>,
}

/// What is known of one policy file.
#[derive(Debug, Default)]
struct Known {
    /// What was read when it was last tried: itself, and what it names.
    read: Vec<(PathBuf, Print)>,
    /// What was seen since, once, and differs.
    seen: Option<Vec<Print>>,
    /// The policy that came into force from it, and its version.
    installed: Option<(String, u64)>,
    /// Whether it could only not be served beside the others.
    is_in_the_way: bool,
}

impl Known {
    fn prints(&self) -> Vec<Print> {
        self.read.iter().map(|(path, _)| print_of(path)).collect()
    }

    fn is_as_read(&self, prints: &[Print]) -> bool {
        self.read.iter().map(|(_, print)| print).eq(prints)
    }
}

impl Sources {
    /// Reads all sources, and what they hold.
    ///
    /// # Errors
    ///
    /// One cannot be read, or is wrong.
    pub fn open(sources: Vec<Source>) -> Result<(Sources, Vec<Api>), AssembleError> {
        let mut apis = Vec::new();
        let mut files = BTreeMap::new();
        for source in &sources {
            match source {
                Source::Vendor(name) => apis.push(Api::vendor(name)?),
                Source::Path(path) => {
                    let found = files_of(path).map_err(|error| AssembleError::Read { path: path.clone(), error })?;
                    if found.is_empty() {
                        return Err(AssembleError::EmptyFolder { path: path.clone() });
                    }
                    for path in found {
                        if files.contains_key(&path) {
                            continue;
                        }
                        let mut read = Files::default();
                        let api = Api::read(&path, &mut read)?;
                        let installed = Some((api.policy.name().to_owned(), 1));
                        files.insert(path, Known { read: read.into_prints(), installed, ..Known::default() });
                        apis.push(api);
                    }
                }
            }
        }
        Ok((Sources { sources, files }, apis))
    }

    /// Takes up what has changed: with [`Tick::Look`] what has been seen so before, with [`Tick::Reload`] all.
    pub fn follow<C: Clock>(&mut self, engine: &Engine<C>, tick: Tick) {
        for path in self.present(engine) {
            self.files
                .entry(path)
                .or_insert_with_key(|path| Known { read: vec![(path.clone(), None)], ..Known::default() });
        }
        let mut due = Vec::new();
        let mut missing = Vec::new();
        for (path, known) in &mut self.files {
            let prints = known.prints();
            let is_settled = known.seen.as_ref() == Some(&prints);
            let has_changed = !known.is_as_read(&prints);
            known.seen = has_changed.then_some(prints.clone());
            let is_due = match tick {
                Tick::Look => has_changed && is_settled,
                Tick::Reload => has_changed || known.is_overtaken(engine, path),
            };
            if !is_due {
                continue;
            }
            known.seen = None;
            if print_of(path).is_none() {
                known.read = vec![(path.clone(), None)];
                missing.push(path.clone());
            } else {
                due.push(path.clone());
            }
        }
        for path in missing {
            self.note_missing(engine, &path);
        }
        if !due.is_empty() {
            // What was in another's way may fit now.
            due.extend(self.files.iter().filter(|(_, known)| known.is_in_the_way).map(|(path, _)| path.clone()));
            due.sort();
            due.dedup();
            self.take_up(engine, &due);
        }
    }

    /// The policy files there are.
    fn present<C: Clock>(&self, engine: &Engine<C>) -> BTreeSet<PathBuf> {
        let mut present = BTreeSet::new();
        for source in &self.sources {
            let Source::Path(path) = source else { continue };
            match files_of(path) {
                Ok(found) => {
                    engine.reloads.forget(&path.display().to_string());
                    present.extend(found);
                }
                // A folder that is gone takes its files along, each of which is noted.
                Err(error) => tracing::debug!(%error, folder = %path.display(), "cannot be listed"),
            }
        }
        present.retain(|path| self.files.contains_key(path) || self.files.len() < 10 * MAX_POLICIES);
        present
    }

    /// Reads files again and puts what they say into force: all together, so that two of them can change places; else
    /// each that can.
    fn take_up<C: Clock>(&mut self, engine: &Engine<C>, due: &[PathBuf]) {
        let mut changes = Vec::new();
        for path in due {
            let mut files = Files::default();
            let api = Api::read(path, &mut files);
            let known = self.files.entry(path.clone()).or_default();
            (known.read, known.is_in_the_way) = (files.into_prints(), false);
            match api {
                Ok(api) => changes.push((path, api)),
                Err(error) => self.note_refused(engine, path, &error),
            }
        }
        let mut apart: Vec<Vec<(&PathBuf, Api)>> = Vec::new();
        let can_be_together = {
            let apis: Vec<(&Path, &Api)> = changes.iter().map(|(path, api)| (path.as_path(), api)).collect();
            self.fits(engine, &apis)
        };
        if can_be_together {
            apart.push(changes);
        } else {
            apart.extend(changes.into_iter().map(|change| vec![change]));
        }
        for changes in apart.into_iter().filter(|changes| !changes.is_empty()) {
            self.install(engine, changes);
        }
    }

    /// Whether changes fit beside each other and what is in force.
    fn fits<C: Clock>(&self, engine: &Engine<C>, apis: &[(&Path, &Api)]) -> bool {
        let replaced: Vec<&str> = apis.iter().filter_map(|(path, _)| self.installed_from(path)).collect();
        let book = engine.book();
        let is_kept = |kept: &Api| {
            let name = kept.policy.name();
            !replaced.contains(&name) && apis.iter().all(|(_, api)| api.policy.name() != name)
        };
        let kept = book.apis().iter().map(|api| &**api).filter(|kept| is_kept(kept));
        crate::book::check(kept.chain(apis.iter().map(|(_, api)| *api))).is_ok()
            && apis.iter().all(|(path, api)| self.other_file_of(path, api.policy.name()).is_none())
    }

    fn install<C: Clock>(&mut self, engine: &Engine<C>, changes: Vec<(&PathBuf, Api)>) {
        let mut paths = Vec::new();
        let mut list = Vec::new();
        for (path, api) in changes {
            let name = api.policy.name().to_owned();
            if let Some(other) = self.other_file_of(path, &name) {
                let sources = [other.display().to_string(), path.display().to_string()];
                self.note_in_the_way(engine, path, BookError::SameName { name, sources });
                continue;
            }
            let replaces = self.installed_from(path).filter(|before| *before != name).map(str::to_owned);
            paths.push((path, name));
            list.push(Change { api, replaces });
        }
        match engine.install(list) {
            Ok(installed) => {
                for (path, name) in paths {
                    let api = installed.iter().find(|api| api.policy.name() == name);
                    api.into_iter().for_each(|api| self.note_installed(engine, path, api));
                }
            }
            Err(error) => paths.into_iter().for_each(|(path, _)| self.note_in_the_way(engine, path, error.clone())),
        }
    }

    fn installed_from(&self, path: &Path) -> Option<&str> {
        self.files.get(path)?.installed.as_ref().map(|(name, _)| name.as_str())
    }

    /// Another file that is there, and from which the policy of that name is in force.
    fn other_file_of(&self, path: &Path, name: &str) -> Option<&Path> {
        let others = self.files.iter().filter(|(other, _)| *other != path);
        let mut others = others.filter(|(_, known)| known.installed.as_ref().is_some_and(|(other, _)| other == name));
        others.find(|(other, _)| other.exists()).map(|(other, _)| other.as_path())
    }

    fn note_installed<C: Clock>(&mut self, engine: &Engine<C>, path: &Path, api: &Api) {
        let (name, version) = (api.policy.name(), api.policy.version());
        // Whoever had the policy before has it no more.
        for known in self.files.values_mut() {
            known.installed = known.installed.take().filter(|(other, _)| other != name);
        }
        if let Some(known) = self.files.get_mut(path) {
            known.installed = Some((name.to_owned(), version));
        }
        let gone: Vec<PathBuf> = self
            .files
            .iter()
            .filter(|(other, known)| known.installed.is_none() && *other != path && !other.exists())
            .map(|(other, _)| other.clone())
            .collect();
        for other in gone {
            self.files.remove(&other);
            engine.reloads.forget(&other.display().to_string());
        }
        engine.reloads.succeeded(&path.display().to_string(), name);
        tracing::info!(policy = name, version, source = %path.display(), "policy in force");
        if !api.warnings.is_empty() {
            tracing::warn!(policy = name, "{}", api.warnings);
        }
        for warning in &api.dialect_warnings {
            tracing::warn!(policy = name, dialect = api.dialect.name(), "{warning}");
        }
    }

    fn note_in_the_way<C: Clock>(&mut self, engine: &Engine<C>, path: &Path, error: BookError) {
        if let Some(known) = self.files.get_mut(path) {
            known.is_in_the_way = true;
        }
        self.note_refused(engine, path, &AssembleError::Book(error));
    }

    fn note_refused<C: Clock>(&mut self, engine: &Engine<C>, path: &Path, error: &AssembleError) {
        self.note(engine, path, ReloadResult::Refused, explained(error));
    }

    fn note_missing<C: Clock>(&mut self, engine: &Engine<C>, path: &Path) {
        if self.installed_from(path).is_none() {
            // Nothing of it is in force, so nobody misses it.
            self.files.remove(path);
            engine.reloads.forget(&path.display().to_string());
            return;
        }
        let message = format!("{} is gone; its policy stays in force", path.display());
        self.note(engine, path, ReloadResult::Missing, message);
    }

    fn note<C: Clock>(&self, engine: &Engine<C>, path: &Path, result: ReloadResult, message: String) {
        let stem = || path.file_stem().unwrap_or_default().to_string_lossy();
        let policy = self.installed_from(path).map_or_else(|| stem().into_owned(), str::to_owned);
        tracing::error!(policy, source = %path.display(), result = result.name(), "policy not changed: {message}");
        engine.reloads.failed(&path.display().to_string(), result, ReloadFailure { policy, message });
    }
}

impl Known {
    /// Whether something else than what it says is in force, although it has not changed.
    fn is_overtaken<C: Clock>(&self, engine: &Engine<C>, path: &Path) -> bool {
        let has_failed = engine.reloads.failures().contains_key(&path.display().to_string());
        let book = engine.book();
        let in_force = self.installed.as_ref().and_then(|(name, version)| Some((book.named(name)?, version)));
        has_failed || in_force.is_none_or(|(api, version)| api.policy.version() != *version)
    }
}

/// Follows the sources as the ticks say, until these end.
pub async fn follow<C: Clock + Debug + Send + Sync + 'static>(
    mut sources: Sources,
    engine: Arc<Engine<C>>,
    mut ticks: mpsc::Receiver<Tick>,
) {
    while let Some(tick) = ticks.recv().await {
        let engine = Arc::clone(&engine);
        let followed = tokio::task::spawn_blocking(move || {
            sources.follow(&engine, tick);
            sources
        });
        match followed.await {
            Ok(back) => sources = back,
            Err(error) => return tracing::error!(%error, "policy files are not watched any more"),
        }
    }
}

/// An error and what it comes from, in one text.
pub(crate) fn explained(error: &AssembleError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The policy files at a path: itself, or those in the folder that it is.
fn files_of(path: &Path) -> std::io::Result<BTreeSet<PathBuf>> {
    if !path.is_dir() {
        return Ok(BTreeSet::from([path.to_owned()]));
    }
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let is_dialect = name == "dialect.toml" || name.ends_with(".dialect.toml");
        if name.ends_with(".toml") && !name.starts_with('.') && !is_dialect && entry.is_file() {
            found.insert(entry);
        }
    }
    Ok(found)
}
