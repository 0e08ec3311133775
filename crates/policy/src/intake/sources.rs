//! Where attributes come from in a request, settled: names are places in the list of what is read.

use http::header::{AUTHORIZATION, HeaderName};
use ring::digest;
use tidegate_core::AttributeId;

use super::client::Client;
use super::draft::{From, SourceDraft};
use super::glob::Glob;
use super::host::HostPattern;
use super::json::Pointer;

/// An attribute and its sources, in order.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) id: AttributeId,
    /// Whether a claim of a token can be its value, be it through other attributes.
    pub(crate) is_claimed: bool,
    pub(crate) sources: Vec<Source>,
}

/// One source: the first place that is present, through the map.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) places: Vec<Place>,
    map: Vec<(Glob, Box<str>)>,
    /// Whether the value is replaced by a hash of it, so that it may be of any length.
    pub(crate) is_hashed: bool,
}

/// A place in a request, by its index in [`Inputs`] where it is read once for all.
#[derive(Debug)]
pub(crate) enum Place {
    Header(usize),
    Query(usize),
    Path(Box<str>),
    Bearer(usize),
    Client,
    Claim(usize),
    Host(HostPattern),
    Body(usize),
    /// Another attribute, which was read before.
    Attribute(AttributeId, Box<str>),
    Constant(Box<str>),
}

/// What is read of every request, each thing once.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) queries: Vec<Box<str>>,
    pub(crate) claims: Vec<Box<str>>,
    pub(crate) bodies: Vec<Pointer>,
    pub(crate) reads_host: bool,
    /// Whose address the client's is, if it is read.
    pub(crate) client: Option<Client>,
}

impl Inputs {
    /// Settles one attribute's source.
    pub(crate) fn source(
        &mut self,
        draft: &SourceDraft,
        attribute: impl Fn(&str) -> Result<AttributeId, String>,
    ) -> Result<Source, String> {
        let place = |from: &From| match from {
            From::Attribute(name) => attribute(name).map(|id| Place::Attribute(id, name.as_str().into())),
            from => self.place(from),
        };
        let places = draft.from.iter().map(place).collect::<Result<_, _>>()?;
        let map = draft.map.iter().map(|(pattern, value)| (Glob::new(pattern), value.as_str().into()));
        Ok(Source { places, map: map.collect(), is_hashed: draft.hash })
    }

    /// Settles one place in a request.
    pub(crate) fn place(&mut self, from: &From) -> Result<Place, String> {
        Ok(match from {
            From::Header(name) => Place::Header(self.header(name)?),
            From::Query(name) => Place::Query(index_of(&mut self.queries, name.as_str().into())),
            From::Path(name) => Place::Path(name.as_str().into()),
            From::Bearer => Place::Bearer(index_of(&mut self.headers, AUTHORIZATION)),
            From::Client => Place::Client,
            From::Jwt(claim) => Place::Claim(index_of(&mut self.claims, claim.as_str().into())),
            From::Host(pattern) => {
                self.reads_host = true;
                Place::Host(HostPattern::parse(pattern)?)
            }
            From::Body(pointer) => Place::Body(index_of(&mut self.bodies, Pointer::parse(pointer)?)),
            From::Constant(value) => Place::Constant(value.as_str().into()),
            From::Attribute(name) => return Err(format!("attribute `{name}` is no place in a request")),
        })
    }

    /// The index of a header by its name.
    pub(crate) fn header(&mut self, name: &str) -> Result<usize, String> {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not the name of a header"))?;
        Ok(index_of(&mut self.headers, name))
    }
}

fn index_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

impl Source {
    /// What a value of its places stands for, hashed if it is to be; `None` if the map does not know it.
    pub(crate) fn given(&self, value: &str) -> Option<String> {
        self.mapped(value).map(|value| if self.is_hashed { hash(&value) } else { value })
    }

    /// What a value of its places stands for; `None` if the map does not know it.
    pub(super) fn mapped(&self, value: &str) -> Option<String> {
        if self.map.is_empty() {
            return Some(value.to_owned());
        }
        let value = value.to_ascii_lowercase();
        self.map.iter().find(|(pattern, _)| pattern.matches(&value)).map(|(_, value)| value.to_string())
    }

    /// Whether every value of its places stands for something.
    pub(crate) fn knows_all(&self) -> bool {
        self.map.is_empty() || self.map.iter().any(|(pattern, _)| pattern.is_total())
    }
}

/// The first 128 bits of a value's SHA-256, in hexadecimal digits: enough that nobody finds two texts of one hash.
fn hash(value: &str) -> String {
    let digest = digest::digest(&digest::SHA256, value.as_bytes());
    digest.as_ref().iter().take(16).fold(String::with_capacity(32), |hex, byte| hex + &format!("{byte:02x}"))
}

impl Attribute {
    /// Whether a claim of a token is one of its sources.
    pub(crate) fn reads_claims(&self) -> bool {
        self.places().any(|place| matches!(place, Place::Claim(_)))
    }

    /// The attributes that are sources of it.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = AttributeId> {
        self.places().filter_map(|place| match place {
            Place::Attribute(id, _) => Some(*id),
            _ => None,
        })
    }

    /// Whether the body must be read to know its value, where `is_certain` are the path parameters that are there.
    pub(crate) fn needs_body(&self, is_certain: impl Fn(&str) -> bool) -> bool {
        for source in &self.sources {
            for place in &source.places {
                let settled = match place {
                    Place::Body(_) => return true,
                    Place::Constant(value) => Some(source.mapped(value).is_some()),
                    Place::Path(name) if is_certain(name) => Some(source.knows_all()),
                    _ => None,
                };
                match settled {
                    Some(true) => return false,
                    // The source's first place is present, so its others are not asked.
                    Some(false) => break,
                    None => {}
                }
            }
        }
        false
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.sources.iter().flat_map(|source| &source.places)
    }
}
