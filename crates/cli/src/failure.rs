//! Why a command did not do what it was asked, what to do about it, and the code that it ends with.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::json;
use tidegate_dialect::DialectError;
use tidegate_policy::Problems;
use tidegate_server::AssembleError;

use crate::output::problems_as_json;

/// Why a command ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The policy has problems; all of them are shown.
    Problems(Problems),
    /// The policy's dialect has errors, or there is none: in words, and as programs read them.
    Dialect(String, Vec<serde_json::Value>),
    /// The command line, a file or a port.
    Usage { message: String, help: Option<String> },
    /// Another one, in a command that has another meaning for its code.
    Unanswered(Box<Failure>),
    /// Nobody reads what is written any more, which is the reader's choice.
    NobodyReads,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure::Usage { message: message.into(), help: None }
    }

    /// What to do about it.
    pub(crate) fn help(self, text: impl Into<String>) -> Failure {
        match self {
            Failure::Usage { message, .. } => Failure::Usage { message, help: Some(text.into()) },
            other => other,
        }
    }

    /// Something that could not be done, and why.
    pub(crate) fn because(what: impl Display, why: &dyn Error) -> Failure {
        let mut message = what.to_string();
        let mut why = Some(why);
        while let Some(error) = why {
            message.push_str(&format!(": {error}"));
            why = error.source();
        }
        Failure::new(message)
    }

    /// The same failure of a command whose code 1 is an answer.
    pub(crate) fn unanswered(self) -> Failure {
        Failure::Unanswered(Box::new(self))
    }

    /// Output that could not be written.
    pub(crate) fn writing(to: impl Display, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::NobodyReads,
            _ => Failure::because(format!("cannot write {to}"), error),
        }
    }

    fn no_dialect(message: String) -> Failure {
        let problem = json!({ "severity": "error", "message": message });
        Failure::Dialect(message, vec![problem])
    }

    /// Tells it on stderr.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let mut stderr = io::stderr().lock();
        let text = match self {
            Failure::NobodyReads => return ExitCode::SUCCESS,
            Failure::Unanswered(failure) => {
                failure.report(json);
                return self.code();
            }
            _ if json => format!("{}\n", self.as_json()),
            Failure::Problems(problems) => problems.render(stderr.is_terminal()),
            Failure::Dialect(text, _) => format!("error: {text}\n"),
            Failure::Usage { message, help: None } => format!("error: {message}\n"),
            Failure::Usage { message, help: Some(help) } => format!("error: {message}\n  help: {help}\n"),
        };
        // Where stderr is gone there is nobody left to tell.
        let _ = stderr.write_all(text.as_bytes());
        self.code()
    }

    fn code(&self) -> ExitCode {
        match self {
            Failure::Problems(_) | Failure::Dialect(..) => ExitCode::from(1),
            Failure::Usage { .. } | Failure::Unanswered(_) => ExitCode::from(2),
            Failure::NobodyReads => ExitCode::SUCCESS,
        }
    }

    fn as_json(&self) -> serde_json::Value {
        match self {
            Failure::Problems(problems) => json!({ "ok": false, "problems": problems_as_json(problems) }),
            Failure::Dialect(_, problems) => json!({ "ok": false, "problems": problems }),
            Failure::Usage { message, help } => json!({ "error": { "message": message, "help": help } }),
            Failure::Unanswered(failure) => failure.as_json(),
            Failure::NobodyReads => serde_json::Value::Null,
        }
    }
}

impl From<AssembleError> for Failure {
    fn from(error: AssembleError) -> Failure {
        match error {
            AssembleError::Policy(problems) => Failure::Problems(problems),
            AssembleError::Dialect(errors) => {
                let as_json = |error: &DialectError| {
                    let DialectError { line, column, message } = error;
                    json!({ "severity": "error", "file": errors.name(), "line": line, "column": column, "message": message })
                };
                let problems = errors.iter().map(as_json).collect();
                Failure::Dialect(errors.to_string(), problems)
            }
            AssembleError::UnknownDialect { .. } => Failure::no_dialect(error.to_string()),
            AssembleError::ReadDialect { error: ref why, .. } => Failure::no_dialect(format!("{error}: {why}")),
            AssembleError::UnknownVendor { .. } => {
                Failure::new(error.to_string()).help("`tidegate vendors list` has them all")
            }
            AssembleError::Read { .. } => {
                let help = "give the path of a policy file, or --vendor NAME for one that ships";
                Failure::because(&error, error.source().unwrap_or(&error)).help(help)
            }
            error => Failure::new(error.to_string()),
        }
    }
}
