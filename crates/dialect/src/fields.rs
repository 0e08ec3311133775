//! A decision as it goes on the wire.

use std::ops::Range;
use std::sync::Arc;

/// Status, headers and body of an answer. What an admitted request's upstream answers is not part of it: the headers are
/// added to that.
///
/// All texts stand in one buffer, in the order they were written: an answer takes few allocations, and whoever sends it
/// can hand its parts on without a copy ([`Fields::into_parts`]).
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// The status; 200 if admitted.
    pub status: u16,
    names: Names,
    text: String,
    headers: Vec<(usize, Range<usize>)>,
    body: Option<Range<usize>>,
    has_json_body: bool,
}

/// The parts of [`Fields`], to be taken over.
#[derive(Debug)]
pub struct Parts {
    /// The status.
    pub status: u16,
    /// All values and the body.
    pub text: String,
    /// The place of each header's name in [`Dialect::header_names`](crate::Dialect::header_names), and of its value in
    /// the text.
    pub headers: Vec<(usize, Range<usize>)>,
    /// The place of the body in the text; none if admitted.
    pub body: Option<Range<usize>>,
}

/// The names of all headers that a dialect can write, shared by the answers it writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<[Name]>);

#[derive(Clone, Debug)]
struct Name {
    spelled: Box<str>,
    /// The first place of the same name, whatever its case.
    first: usize,
}

/// The place of `Content-Type` in all names.
const CONTENT_TYPE: usize = 0;

/// Bytes that an answer's text is given at first: enough for the headers of three limits and a refusal's body. Longer ones
/// grow.
const USUAL_BYTES: usize = 512;

/// Headers that are made room for at first.
const USUAL_HEADERS: usize = 6;

impl Names {
    /// These, in their order, behind the one that bodies have.
    pub(crate) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Names {
        let mut all: Vec<Name> = Vec::new();
        for spelled in ["Content-Type"].into_iter().chain(names) {
            if !all.iter().any(|known| *known.spelled == *spelled) {
                let same = all.iter().position(|known| known.spelled.eq_ignore_ascii_case(spelled));
                all.push(Name { spelled: spelled.into(), first: same.unwrap_or(all.len()) });
            }
        }
        Names(all.into())
    }

    /// The place of a name that is spelled so.
    pub(crate) fn place(&self, spelled: &str) -> Option<usize> {
        self.iter().position(|known| known == spelled)
    }

    /// All names, in the order of their places.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|name| &*name.spelled)
    }

    fn spelled(&self, place: usize) -> &str {
        self.0.get(place).map_or("", |name| &name.spelled)
    }

    fn are_same(&self, place: usize, other: usize) -> bool {
        place == other || self.0[place].first == self.0[other].first
    }
}

impl Fields {
    /// An answer without headers yet.
    pub(crate) fn new(names: &Names, status: u16) -> Fields {
        let mut fields = Fields::default();
        fields.begin(names, status);
        fields
    }

    /// Begins another answer in the same memory.
    pub(crate) fn begin(&mut self, names: &Names, status: u16) {
        if !Arc::ptr_eq(&self.names.0, &names.0) {
            self.names = names.clone();
        }
        self.status = status;
        self.text.clear();
        self.text.reserve(USUAL_BYTES);
        self.headers.clear();
        self.headers.reserve(USUAL_HEADERS);
        self.body = None;
        self.has_json_body = false;
    }

    /// Names as the vendor spells them, each once whatever its case, and values of visible ASCII and inner spaces, in the
    /// dialect's order. A body's `Content-Type` is among them.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (self.names.spelled(*name), &self.text[value.clone()]))
    }

    /// The value of the header called `name`, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body; none if admitted.
    pub fn body(&self) -> Option<&str> {
        self.body.clone().map(|body| &self.text[body])
    }

    /// Whether the body is known to be JSON without having been parsed. If not, it may be all the same.
    pub fn has_json_body(&self) -> bool {
        self.has_json_body
    }

    /// Its parts.
    pub fn into_parts(self) -> Parts {
        Parts { status: self.status, text: self.text, headers: self.headers, body: self.body }
    }

    /// Adds the headers of another answer in the same dialect whose names are missing here.
    pub fn add_missing(&mut self, other: &Fields) {
        debug_assert!(Arc::ptr_eq(&self.names.0, &other.names.0), "places are of one dialect");
        for (name, value) in &other.headers {
            self.write(*name, |text| {
                text.push_str(&other.text[value.clone()]);
                true
            });
        }
    }

    /// Writes a header's value unless there is one of that name already, or `write` says that there is none; then what it
    /// wrote is taken back.
    pub(crate) fn write(&mut self, name: usize, write: impl FnOnce(&mut String) -> bool) {
        if self.headers.iter().any(|(known, _)| self.names.are_same(*known, name)) {
            return;
        }
        let start = self.text.len();
        if write(&mut self.text) {
            self.headers.push((name, start..self.text.len()));
        } else {
            self.text.truncate(start);
        }
    }

    /// Writes the body and its type.
    pub(crate) fn write_body(&mut self, content_type: &str, is_json: bool, write: impl FnOnce(&mut String)) {
        self.write(CONTENT_TYPE, |text| {
            text.push_str(content_type);
            true
        });
        let start = self.text.len();
        write(&mut self.text);
        self.body = Some(start..self.text.len());
        self.has_json_body = is_json;
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Fields) -> bool {
        (self.status, self.body()) == (other.status, other.body()) && self.headers().eq(other.headers())
    }
}

impl Eq for Fields {}
