//! Requests that cannot be answered, each with its status, its place and what is wrong there.

use std::borrow::Cow;
use std::fmt;

/// Why a request is not served. Unlike a refusal, this is no decision of a limit: nothing was charged for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The HTTP status that says so.
    pub(super) status: u16,
    /// Which part of the exchange is at fault.
    pub(super) place: Cow<'static, str>,
    /// What is wrong with it.
    pub(super) message: Cow<'static, str>,
}

impl Fault {
    /// A fault whose words are known beforehand.
    pub(super) const fn new(status: u16, place: &'static str, message: &'static str) -> Fault {
        Fault { status, place: Cow::Borrowed(place), message: Cow::Borrowed(message) }
    }
}

/// A malformed or ambiguous request.
pub(super) const fn bad(place: &'static str, message: &'static str) -> Fault {
    Fault::new(400, place, message)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for Fault {}
