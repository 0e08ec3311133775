//! Joins policy, dialect and limiter, which do not know each other, to what the surfaces serve.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::{Decision, Demand, Policy};
use tidegate_dialect::{Dialect, DialectErrors};
use tidegate_limiter::{Clock, Limiter, Memory, MemoryOptions, SystemClock};
use tidegate_policy::question::instead;
use tidegate_policy::{Intake, Lowered, Problems, Source, lower};

use crate::Metrics;
use crate::vendors;

/// Largest file that is read, in bytes. A policy of ten thousand limits has one, and nobody can be made to read `/dev/zero`.
pub const MAX_FILE_BYTES: u64 = 16 << 20;

/// One API, ready to be served: its limits, where its facts come from, and how it words its answers.
#[derive(Debug)]
pub struct Api {
    /// Its limits.
    pub policy: Policy,
    /// Where facts about requests come from.
    pub intake: Intake,
    /// How decisions are worded.
    pub dialect: Dialect,
    /// What is surely not as it was meant in the policy.
    pub warnings: Problems,
    /// What the dialect names that the policy does not have.
    pub dialect_warnings: Vec<String>,
}

impl Api {
    /// The API of a vendor whose folder is compiled in.
    ///
    /// # Errors
    ///
    /// There is no such vendor, or what its folder says is wrong.
    pub fn vendor(name: &str) -> Result<Api, AssembleError> {
        let vendor = vendors::named(name).and_then(|vendor| vendor.policy());
        let text = vendor.ok_or_else(|| AssembleError::UnknownVendor { name: name.to_owned() })?;
        Api::lowered(&Source { name: &format!("vendors/{name}/policy.toml"), text }, None)
    }

    /// The API that the policy file at `path` describes. A dialect file that it names is looked for beside it.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or something in it is wrong.
    pub fn file(path: &Path) -> Result<Api, AssembleError> {
        let text = read(path)?;
        Api::lowered(&Source { name: &path.display().to_string(), text: &text }, path.parent())
    }

    fn lowered(source: &Source<'_>, folder: Option<&Path>) -> Result<Api, AssembleError> {
        let Lowered { policy, intake, dialect, warnings } = lower(source, 1).map_err(AssembleError::Policy)?;
        let dialect = self::dialect(&dialect, folder)?;
        let dialect_warnings = dialect.check(&policy);
        Ok(Api { policy, intake, dialect, warnings, dialect_warnings })
    }
}

/// The dialect that a policy names: a vendor's, or a file's if the name begins like a path.
fn dialect(name: &str, folder: Option<&Path>) -> Result<Dialect, AssembleError> {
    let is_path = ["./", "../", "/"].iter().any(|start| name.starts_with(start));
    if let (true, Some(folder)) = (is_path, folder) {
        let text = read(&folder.join(name)).map_err(|error| match error {
            AssembleError::Read { path, error } => AssembleError::ReadDialect { path, error },
            other => other,
        })?;
        return Dialect::parse(name, &text).map_err(AssembleError::Dialect);
    }
    let text = vendors::named(name).and_then(|vendor| vendor.dialect());
    let text = text.ok_or_else(|| AssembleError::UnknownDialect { name: name.to_owned() })?;
    Dialect::parse(name, text).map_err(AssembleError::Dialect)
}

fn read(path: &Path) -> Result<String, AssembleError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(AssembleError::Read { path: path.to_owned(), error }),
        Ok(_) if text.len() as u64 > MAX_FILE_BYTES => Err(AssembleError::TooLarge { path: path.to_owned() }),
        Ok(_) => Ok(text),
    }
}

/// Why there is no API.
#[derive(Debug)]
#[non_exhaustive]
pub enum AssembleError {
    /// No vendor of that name is compiled in.
    UnknownVendor {
        /// The name.
        name: String,
    },
    /// The policy names a dialect that is not compiled in.
    UnknownDialect {
        /// The name.
        name: String,
    },
    /// The policy's file cannot be read.
    Read {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file of the dialect that the policy names cannot be read.
    ReadDialect {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file is larger than [`MAX_FILE_BYTES`].
    TooLarge {
        /// Where it is.
        path: PathBuf,
    },
    /// The policy has problems.
    Policy(Problems),
    /// The dialect has errors.
    Dialect(DialectErrors),
}

impl fmt::Display for AssembleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssembleError::UnknownVendor { name } => {
                let known = vendors::all().into_iter().filter(|vendor| vendor.policy().is_some());
                write!(f, "no vendor is called `{name}`: {}", instead(name, known.map(|vendor| vendor.name())))
            }
            AssembleError::UnknownDialect { name } => {
                let known = vendors::all().into_iter().filter(|vendor| vendor.dialect().is_some());
                let help = instead(name, known.map(|vendor| vendor.name()));
                write!(f, "no dialect is called `{name}`: {help} (a file's name begins with `./` or `/`)")
            }
            AssembleError::Read { path, .. } => write!(f, "cannot read {}", path.display()),
            AssembleError::ReadDialect { path, .. } => {
                write!(f, "cannot read {}, the dialect that the policy names", path.display())
            }
            AssembleError::TooLarge { path } => {
                write!(f, "{} is larger than {MAX_FILE_BYTES} bytes", path.display())
            }
            AssembleError::Policy(problems) => problems.fmt(f),
            AssembleError::Dialect(errors) => errors.fmt(f),
        }
    }
}

impl std::error::Error for AssembleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AssembleError::Read { error, .. } | AssembleError::ReadDialect { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// What all surfaces share: an API and the limiter that rules on it.
#[derive(Debug)]
pub struct Engine<C = SystemClock> {
    /// The API.
    pub api: Arc<Api>,
    /// Decides its demands.
    pub limiter: Limiter<C, Metrics>,
    max_counters: usize,
}

impl Engine {
    /// An engine on the machine's time.
    pub fn new(api: Arc<Api>, options: MemoryOptions) -> Engine {
        Engine::with_clock(api, options, SystemClock::new())
    }
}

impl<C: Clock> Engine<C> {
    /// An engine on another time.
    pub fn with_clock(api: Arc<Api>, options: MemoryOptions, clock: C) -> Engine<C> {
        let metrics = Metrics::of(&api.policy);
        let max_counters = options.max_counters;
        Engine { api, limiter: Limiter::new(Memory::new(options), clock, metrics), max_counters }
    }

    /// Decides a demand and measures how long that took.
    pub fn check<'d>(&self, demand: &'d Demand<'d>) -> Decision<'d> {
        let decision = self.limiter.check(demand);
        self.metrics().took(self.limiter.clock().now().since(decision.at()));
        decision
    }

    /// How many counters the store may hold.
    pub fn max_counters(&self) -> usize {
        self.max_counters
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        self.limiter.observer()
    }
}
