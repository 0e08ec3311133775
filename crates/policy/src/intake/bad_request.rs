//! Why a request cannot be understood in one way only, and where.

use std::borrow::Cow;
use std::fmt;

/// A request that is malformed or could be read in two ways. It is answered with 400 before anything is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    place: Cow<'static, str>,
    message: String,
}

impl BadRequest {
    /// A complaint about a place.
    pub(crate) fn at(place: impl Into<Cow<'static, str>>, message: impl Into<String>) -> BadRequest {
        BadRequest { place: place.into(), message: message.into() }
    }

    /// The same complaint, with the name of the attribute it is about.
    pub(crate) fn about_attribute(self, attribute: &str) -> BadRequest {
        BadRequest { message: format!("{} (attribute `{attribute}`)", self.message), ..self }
    }

    /// The part of the request: `path`, `query`, `header x-api-key`, `body` …
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What was expected, and what was found.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for BadRequest {}
