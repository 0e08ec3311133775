//! Joins policy, dialect and limiter, which do not know each other, to what the surfaces serve.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use http::HeaderName;
use tidegate_core::Policy;
use tidegate_dialect::{Dialect, DialectErrors};
use tidegate_policy::question::instead;
use tidegate_policy::{Intake, Lowered, Problems, Serving, Source, lower_with};

use crate::book::BookError;
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
    /// The dialect's header names as HTTP has them, in the order of their places.
    pub header_names: Box<[HeaderName]>,
    /// Which requests it is for, and where they go.
    pub serving: Serving,
    /// Where it comes from: a path, `vendor:NAME`, or who put it.
    pub source: String,
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
        let api = Api::text(&format!("vendors/{name}/policy.toml"), text)?;
        Ok(Api { source: format!("vendor:{name}"), ..api })
    }

    /// The API that the policy file at `path` describes. A dialect file that it names is looked for beside it.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or something in it is wrong.
    pub fn file(path: &Path) -> Result<Api, AssembleError> {
        Api::read(path, &mut Files::default())
    }

    /// The same, noting every file that it depends on in `files`, also where it fails.
    pub(crate) fn read(path: &Path, files: &mut Files) -> Result<Api, AssembleError> {
        let text = files.read(path)?;
        Api::lowered(&Source { name: &path.display().to_string(), text: &text }, path.parent(), files)
    }

    /// The API that a policy's text describes, which goes by `name` in diagnostics. It reads no file.
    ///
    /// # Errors
    ///
    /// Something in it is wrong, or it names a file.
    pub fn text(name: &str, text: &str) -> Result<Api, AssembleError> {
        Api::lowered(&Source { name, text }, None, &mut Files::default())
    }

    fn lowered(source: &Source<'_>, folder: Option<&Path>, files: &mut Files) -> Result<Api, AssembleError> {
        let noted = RefCell::new(&mut *files);
        let open = |name: &str| open(folder, name, |path| noted.borrow_mut().read(path));
        let Lowered { policy, intake, dialect, serving, warnings, .. } =
            lower_with(source, 1, &open).map_err(AssembleError::Policy)?;
        let dialect = self::dialect(&dialect, folder, files)?;
        let dialect_warnings = dialect.check(&policy);
        let header_names = header_names(&dialect);
        let source = source.name.to_owned();
        Ok(Api { policy, intake, dialect, header_names, serving, source, warnings, dialect_warnings })
    }
}

/// Reads the files that the policy at `path` names, for [`lower_with`].
pub fn beside(path: &Path) -> impl Fn(&str) -> Result<String, String> {
    move |name| open(path.parent(), name, read)
}

/// A file that a policy in `folder` names; in none, there is none.
fn open(
    folder: Option<&Path>,
    name: &str,
    read: impl FnOnce(&Path) -> Result<String, AssembleError>,
) -> Result<String, String> {
    let Some(folder) = folder else { return Err("this policy is no file, so that none is beside it".to_owned()) };
    read(&folder.join(name)).map_err(|error| match error {
        AssembleError::Read { path, error } => format!("cannot read {}: {error}", path.display()),
        other => other.to_string(),
    })
}

/// Names are read once, not for every answer.
fn header_names(dialect: &Dialect) -> Box<[HeaderName]> {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes());
    // A dialect's names are tokens, at most 64 bytes long: each is one of HTTP's.
    dialect.header_names().map(|text| name(text).expect("a dialect's header names are tokens")).collect()
}

/// The dialect that a policy names: a vendor's, or a file's if the name begins like a path.
fn dialect(name: &str, folder: Option<&Path>, files: &mut Files) -> Result<Dialect, AssembleError> {
    let is_path = ["./", "../", "/"].iter().any(|start| name.starts_with(start));
    if let (true, Some(folder)) = (is_path, folder) {
        let text = files.read(&folder.join(name)).map_err(|error| match error {
            AssembleError::Read { path, error } => AssembleError::ReadDialect { path, error },
            other => other,
        })?;
        return Dialect::parse(name, &text).map_err(AssembleError::Dialect);
    }
    let text = vendors::named(name).and_then(|vendor| vendor.dialect());
    let text = text.ok_or_else(|| AssembleError::UnknownDialect { name: name.to_owned() })?;
    Dialect::parse(name, text).map_err(AssembleError::Dialect)
}

/// The files that were read for one API, and what was in them.
#[derive(Debug, Default)]
pub(crate) struct Files(Vec<(PathBuf, Print)>);

/// What a file holds, as far as it matters whether it is still the same; `None` if it cannot be read.
pub(crate) type Print = Option<u64>;

impl Files {
    fn read(&mut self, path: &Path) -> Result<String, AssembleError> {
        let read = read(path);
        self.0.push((path.to_owned(), read.as_ref().ok().map(|text| print(text))));
        read
    }

    /// The files, and what was in them when they were read.
    pub(crate) fn into_prints(self) -> Vec<(PathBuf, Print)> {
        self.0
    }
}

/// What a file holds now.
pub(crate) fn print_of(path: &Path) -> Print {
    read(path).ok().map(|text| print(&text))
}

/// A hash with a key that nobody outside knows: no two contents can be made to look alike.
fn print(text: &str) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(text)
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
    /// A folder without a policy file.
    EmptyFolder {
        /// Where it is.
        path: PathBuf,
    },
    /// The policy has problems.
    Policy(Problems),
    /// The dialect has errors.
    Dialect(DialectErrors),
    /// The policy cannot be served beside the others.
    Book(BookError),
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
            AssembleError::EmptyFolder { path } => {
                write!(f, "no policy file is in {}: expected `NAME.toml`", path.display())
            }
            AssembleError::Policy(problems) => problems.fmt(f),
            AssembleError::Dialect(errors) => errors.fmt(f),
            AssembleError::Book(error) => error.fmt(f),
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

impl From<BookError> for AssembleError {
    fn from(error: BookError) -> AssembleError {
        AssembleError::Book(error)
    }
}
