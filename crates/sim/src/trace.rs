//! A trace, line by line: JSON lines of attributes or of requests, or an access log in Common or Combined format.
//!
//! The form is found by the first line that is not blank; JSON lines of both kinds may be mixed. Blank lines are passed
//! over. Instants of JSON lines must not decrease, as the order of the lines is the order of the demands. Servers write
//! their log when a request ends but may stamp it with its beginning, so an earlier instant in an access log counts as
//! the latest seen, as it would inside a counter.

mod access_log;
mod instant;
mod json;
mod lines;

use std::fmt;
use std::io::{self, BufRead};

use http::HeaderMap;
use tidegate_core::{Policy, Timestamp};
use tidegate_policy::question::{BadQuestion, Question};

pub use instant::from_seconds as instant_from_seconds;
pub use tidegate_policy::question::Request;

use lines::Lines;

/// The two forms of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JSON object a line.
    JsonLines,
    /// Common or Combined Log Format.
    AccessLog,
}

/// One line of a trace, understood.
#[derive(Debug)]
pub struct Entry<'l> {
    /// Its line, from one.
    pub line: u64,
    /// When it was asked.
    pub at: Timestamp,
    /// What was asked.
    pub ask: Ask<'l>,
    /// What the upstream answered, if the trace says so.
    pub response: Option<Response>,
}

/// What a line asks.
#[derive(Debug)]
pub struct Ask<'l> {
    /// The request that facts are taken from, if there is one.
    pub request: Option<Request<'l>>,
    /// What is said directly: it adds to the facts of the request, or overrides them.
    pub question: Question<'l>,
}

/// An answer of the upstream as a trace tells it.
#[derive(Debug)]
pub struct Response {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, where it is JSON. Its status settles nothing.
    pub body: Option<serde_json::Value>,
}

/// A trace being read.
#[derive(Debug)]
pub struct Trace<R> {
    lines: Lines<R>,
    form: Option<Form>,
    latest: Option<(Timestamp, u64)>,
}

impl<R: BufRead> Trace<R> {
    /// The trace that `reader` has.
    pub fn new(reader: R) -> Trace<R> {
        Trace { lines: Lines::new(reader), form: None, latest: None }
    }

    /// The form, once the first line was read.
    pub fn form(&self) -> Option<Form> {
        self.form
    }

    /// The next line, put as a question to `policy`; `None` at the end.
    ///
    /// # Errors
    ///
    /// The line cannot be read or understood. The line is consumed all the same, so that the caller may pass over it,
    /// unless reading itself failed.
    pub fn next<'t>(&'t mut self, policy: &'t Policy) -> Option<Result<Entry<'t>, TraceError>> {
        let (line, text) = match self.lines.next() {
            Ok(Some(next)) => next,
            Ok(None) => return None,
            Err(error) => return Some(Err(error)),
        };
        let form = *self.form.get_or_insert_with(|| Form::of(text));
        Some(entry(form, line, text, policy, &mut self.latest).map_err(|bad| TraceError::Line { line, bad }))
    }
}

impl Form {
    fn of(first: &[u8]) -> Form {
        if first.trim_ascii_start().starts_with(b"{") { Form::JsonLines } else { Form::AccessLog }
    }
}

fn entry<'l>(
    form: Form,
    line: u64,
    text: &'l [u8],
    policy: &'l Policy,
    latest: &mut Option<(Timestamp, u64)>,
) -> Result<Entry<'l>, BadQuestion> {
    let mut entry = match form {
        Form::JsonLines => json::entry(line, text, policy)?,
        Form::AccessLog => access_log::entry(line, text, policy)?,
    };
    if let Some((instant, at_line)) = *latest
        && entry.at < instant
    {
        if form == Form::JsonLines {
            let message = format!("{:?} is earlier than {instant:?} of line {at_line}", entry.at);
            return Err(BadQuestion::new(message).help("sort the trace by t").inside("t"));
        }
        entry.at = instant;
    }
    *latest = Some((entry.at, line));
    Ok(entry)
}

/// Why a line of a trace was not asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceError {
    /// The line does not say what a trace says.
    Line {
        /// Which line, from one.
        line: u64,
        /// What is wrong, and where in the line.
        bad: BadQuestion,
    },
    /// The trace cannot be read further.
    Read {
        /// Which line, from one.
        line: u64,
        /// Why.
        error: io::Error,
    },
}

impl TraceError {
    /// The line, from one.
    pub fn line(&self) -> u64 {
        match self {
            TraceError::Line { line, .. } | TraceError::Read { line, .. } => *line,
        }
    }

    /// Whether the lines after this one can still be read.
    pub fn can_go_on(&self) -> bool {
        matches!(self, TraceError::Line { .. })
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Line { line, bad } => write!(f, "line {line}: {bad}"),
            TraceError::Read { line, .. } => write!(f, "line {line}: reading failed"),
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // What is wrong is in the message already.
            TraceError::Line { .. } => None,
            TraceError::Read { error, .. } => Some(error),
        }
    }
}
