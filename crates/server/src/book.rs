//! All APIs in force: installed whole, read by one snapshot a request.

use std::fmt;
use std::sync::Arc;

use tidegate_limiter::NoMemory;
use tidegate_policy::{Fit, Serving, Target, host_of};

use crate::Api;

/// Most policies of one server. Each request is compared with the hosts and prefixes of all; a hundred take about a
/// microsecond.
pub const MAX_POLICIES: usize = 100;

/// Policies that a message names; of more, it says how many there are.
const MOST_NAMED: usize = 12;

/// The APIs that a server answers for, at one instant. It never changes: a change is another book.
#[derive(Debug, Default)]
pub struct Book {
    apis: Vec<Arc<Api>>,
    asks_host: bool,
}

impl Book {
    /// The book of these APIs.
    ///
    /// # Errors
    ///
    /// They cannot be served together.
    pub fn of(apis: Vec<Arc<Api>>) -> Result<Book, BookError> {
        check(apis.iter().map(|api| &**api))?;
        let asks_host = apis.iter().any(|api| api.serving.asks_host());
        Ok(Book { apis, asks_host })
    }

    /// The APIs, in the order they were named or came.
    pub fn apis(&self) -> &[Arc<Api>] {
        &self.apis
    }

    /// The API of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<Api>> {
        self.apis.iter().find(|api| api.policy.name() == name)
    }

    /// The API, if there is only one.
    pub fn only(&self) -> Option<&Arc<Api>> {
        match self.apis.as_slice() {
            [api] => Some(api),
            _ => None,
        }
    }

    /// The API that a request is for: of those whose hosts and prefix it fits, the one that it fits most closely.
    pub fn serving(&self, authority: &str, target: &Target<'_>) -> Option<&Arc<Api>> {
        if let [api] = self.apis.as_slice()
            && api.serving.takes_all()
        {
            return Some(api);
        }
        let host = if self.asks_host { host_of(authority).ok() } else { None };
        let fits = self.apis.iter().filter_map(|api| Some((api.serving.fit(host.as_deref(), target)?, api)));
        fits.max_by_key(|(fit, _): &(Fit, _)| *fit).map(|(_, api)| api)
    }

    /// What is served, for who asked for something else: `chat (api.example.com/chat), mail (/mail)`.
    pub fn describe(&self) -> String {
        self.list(|api| format!("{} ({})", api.policy.name(), api.serving.describe()))
    }

    /// The names of the policies, as a list in a sentence.
    pub fn names(&self) -> String {
        self.list(|api| format!("`{}`", api.policy.name()))
    }

    fn list(&self, one: impl Fn(&Api) -> String) -> String {
        let named: Vec<String> = self.apis.iter().take(MOST_NAMED).map(|api| one(api)).collect();
        let more = self.apis.len().saturating_sub(MOST_NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{rest}", named.join(", "))
    }
}

/// Whether APIs can be served together.
///
/// # Errors
///
/// The first two that cannot, or there are too many.
pub(crate) fn check<'a>(apis: impl Iterator<Item = &'a Api>) -> Result<(), BookError> {
    let mut seen: Vec<&Api> = Vec::new();
    for api in apis {
        let name = api.policy.name();
        if let Some(other) = seen.iter().find(|other| other.policy.name() == name) {
            let sources = [other.source.clone(), api.source.clone()];
            return Err(BookError::SameName { name: name.to_owned(), sources });
        }
        for other in &seen {
            if let Some(what) = Serving::overlap(&other.serving, &api.serving) {
                let names = [other.policy.name().to_owned(), name.to_owned()];
                return Err(BookError::Ambiguous { names, what });
            }
        }
        seen.push(api);
        if seen.len() > MAX_POLICIES {
            return Err(BookError::TooMany);
        }
    }
    Ok(())
}

/// Why APIs cannot be served together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BookError {
    /// Two policies have one name.
    SameName {
        /// The name.
        name: String,
        /// Where the two come from.
        sources: [String; 2],
    },
    /// Two policies are for the same requests, and neither more closely.
    Ambiguous {
        /// Their names.
        names: [String; 2],
        /// What both are for.
        what: String,
    },
    /// There are more than [`MAX_POLICIES`].
    TooMany,
    /// The store has no memory for what their limits count.
    NoMemory(NoMemory),
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BookError::SameName { name, sources: [first, second] } => {
                write!(f, "two policies are called `{name}`: {first} and {second}; give one of them another name")
            }
            BookError::Ambiguous { names: [first, second], what } => write!(
                f,
                "policies `{first}` and `{second}` are both for {what}; tell them apart by `hosts` or `prefix` in [serve]"
            ),
            BookError::NoMemory(error) => error.fmt(f),
            BookError::TooMany => write!(f, "more than {MAX_POLICIES} policies; run several servers"),
        }
    }
}

impl std::error::Error for BookError {}
