//! A decision as it goes on the wire.

use std::borrow::Cow;

/// Status, headers and body of an answer. What an admitted request's upstream answers is not part of it: the headers are
/// added to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The status; 200 if admitted.
    pub status: u16,
    /// Names as the vendor spells them, each once whatever its case, and values of visible ASCII and inner spaces, in
    /// the dialect's order. A body's `Content-Type` is among them.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body; none if admitted.
    pub body: Option<String>,
}

impl Fields {
    pub(crate) fn new(status: u16) -> Fields {
        Fields { status, headers: Vec::new(), body: None }
    }

    /// The value of the header called `name`, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Adds a header unless there is one of that name already.
    pub(crate) fn add(&mut self, name: &str, value: String) {
        if self.header(name).is_none() {
            self.headers.push((Cow::Owned(name.to_owned()), value));
        }
    }
}
