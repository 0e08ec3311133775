//! One request read: every header, parameter and pointer that some attribute may need, each at most once.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use tidegate_core::{AttributeId, bounds};

use super::bad_request::BadRequest;
use super::json::{self, Found, Pointer};
use super::jwt;
use super::meter;
use super::path::{self, Plus};
use super::routes::Shape;
use super::sources::{Inputs, Place, Source};
use super::{Asked, Route, host, is_compressed};

/// Most parameters of a query. Above it nobody can tell which of them the upstream still sees.
const MAX_QUERY_PARAMETERS: usize = 256;

/// A request, read as far as the intake's inputs go.
#[derive(Debug)]
pub(crate) struct Reading<'r> {
    inputs: &'r Inputs,
    headers: Vec<Option<&'r str>>,
    queries: Vec<Option<String>>,
    parameters: Option<(&'r Route, &'r Shape)>,
    host: Option<String>,
    peer: Option<IpAddr>,
    body: Body<'r>,
    /// Claims that count; none until the token is looked at.
    pub(crate) claims: Vec<Option<Found>>,
}

/// The body, looked at when first asked for.
#[derive(Debug)]
struct Body<'r> {
    bytes: Option<&'r [u8]>,
    headers: &'r HeaderMap,
    pointers: Vec<&'r Pointer>,
    found: OnceCell<Result<Vec<Option<Found>>, Unread>>,
}

/// Why a body cannot be looked at.
#[derive(Clone, Debug)]
enum Unread {
    /// It is compressed, or states something twice: the upstream may read what we cannot.
    Refused(BadRequest),
    /// It is not JSON; `is_promised` if it is meant as JSON all the same.
    NotJson { is_promised: bool },
}

impl Unread {
    /// Why the request is refused; `None` if its body only has nothing of what is looked for.
    fn refusal(&self) -> Option<BadRequest> {
        match self {
            Unread::Refused(problem) => Some(problem.clone()),
            Unread::NotJson { is_promised: true } => {
                Some(BadRequest::at("body", "expected JSON, as its type or its beginning says"))
            }
            Unread::NotJson { is_promised: false } => None,
        }
    }
}

impl<'r> Reading<'r> {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// A header or parameter that an attribute comes from occurs twice or has no clean text; or the host is not one.
    pub(crate) fn of(
        inputs: &'r Inputs,
        bodies: &[&'r Pointer],
        route: &'r Route,
        shape: Option<&'r Shape>,
        asked: &Asked<'r>,
    ) -> Result<Reading<'r>, BadRequest> {
        let headers = inputs.headers.iter().map(|name| one_header(asked.headers, name)).collect::<Result<_, _>>()?;
        let pointers = inputs.bodies.iter().chain(bodies.iter().copied()).collect();
        let body = Body { bytes: asked.body, headers: asked.headers, pointers, found: OnceCell::new() };
        let host = asked.host.filter(|host| inputs.reads_host && !host.is_empty()).map(host::canonical);
        Ok(Reading {
            inputs,
            headers,
            queries: read_query(route.query(), &inputs.queries)?,
            parameters: shape.map(|shape| (route, shape)),
            host: host.transpose()?,
            peer: asked.peer,
            body,
            claims: Vec::new(),
        })
    }

    /// The value that a source gives: of its first place that is present, through its map. Unless `is_in_body`, nothing
    /// is looked for in the body, whether or not it is known.
    ///
    /// # Errors
    ///
    /// The value is no clean text, or too long.
    ///
    /// `known` are the values of the attributes that were read before.
    pub(crate) fn value<'f>(
        &'f self,
        source: &Source,
        known: &dyn Fn(AttributeId) -> Option<&'f str>,
        is_in_body: bool,
    ) -> Result<Option<String>, BadRequest> {
        for place in source.places.iter().filter(|place| is_in_body || !matches!(place, Place::Body(_))) {
            if let Some(value) = self.found(place, known)? {
                if !source.is_hashed {
                    check_value(&value, || self.shown(place))?;
                }
                return Ok(source.given(&value));
            }
        }
        Ok(None)
    }

    /// What is at a place of an attribute: of another attribute, what is `known` of it.
    pub(crate) fn found<'f>(
        &'f self,
        place: &Place,
        known: &dyn Fn(AttributeId) -> Option<&'f str>,
    ) -> Result<Option<Cow<'f, str>>, BadRequest> {
        match place {
            Place::Attribute(id, _) => Ok(known(*id).map(Cow::Borrowed)),
            place => self.present(place),
        }
    }

    /// What is at a place in the request; nothing is as good as an empty text.
    pub(crate) fn present(&self, place: &Place) -> Result<Option<Cow<'_, str>>, BadRequest> {
        let value = match place {
            Place::Header(index) => self.headers[*index].map(Cow::Borrowed),
            Place::Query(index) => self.queries[*index].as_deref().map(Cow::Borrowed),
            Place::Path(name) => self.parameters.and_then(|(route, shape)| route.parameter_in(shape, name)),
            Place::Bearer(index) => match self.headers[*index] {
                Some(header) => bearer(header)?.map(Cow::Borrowed),
                None => None,
            },
            Place::Client => match (&self.inputs.client, self.peer) {
                (Some(client), Some(peer)) => Some(Cow::Owned(client.value(peer, self.body.headers)?)),
                _ => None,
            },
            Place::Claim(index) => {
                self.claims.get(*index).cloned().flatten().and_then(Found::into_text).map(Cow::Owned)
            }
            Place::Host(pattern) => self.host.as_deref().and_then(|host| pattern.value(host)).map(Cow::Borrowed),
            Place::Body(index) => self.body.attribute(*index)?.map(Cow::Owned),
            Place::Constant(value) => Some(Cow::Owned(value.to_string())),
            // No place in the request.
            Place::Attribute(..) => None,
        };
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// A token, without the scheme before it. Many servers take what follows any first word; a token has dots.
    pub(crate) fn token(&self, places: &[Place]) -> Result<Option<Cow<'_, str>>, BadRequest> {
        for place in places {
            let Some(text) = self.present(place)? else { continue };
            let token = match text.trim().split_once([' ', '\t']) {
                Some((scheme, token)) if !scheme.contains('.') => Cow::Owned(token.trim().to_owned()),
                _ => text,
            };
            if token.len() > jwt::MAX_TOKEN_BYTES {
                let message =
                    format!("expected a token of at most {} bytes, found {}", jwt::MAX_TOKEN_BYTES, token.len());
                return Err(BadRequest::at(self.shown(place), message));
            }
            return Ok(Some(token).filter(|token| !token.is_empty()));
        }
        Ok(None)
    }

    /// The cost at the pointer `index` of those that were passed: the length of an array, or a sum.
    pub(crate) fn body_cost(&self, index: usize) -> Result<Option<u64>, BadRequest> {
        match self.body.found() {
            Ok(found) => match found.get(self.inputs.bodies.len() + index) {
                Some(Some(Found::Array(length))) => Ok(Some(*length)),
                Some(Some(Found::Sum(Some(sum)))) => Ok(Some(*sum)),
                Some(Some(Found::Sum(None))) => {
                    Err(BadRequest::at("body", "expected whole numbers, of at least 0, where the cost is stated"))
                }
                _ => Ok(None),
            },
            Err(unread) => unread.refusal().map_or(Ok(None), Err),
        }
    }

    /// The cost in a header.
    pub(crate) fn header_cost(&self, index: usize) -> Result<Option<u64>, BadRequest> {
        let Some(text) = self.headers[index].filter(|text| !text.is_empty()) else { return Ok(None) };
        match meter::whole(text).filter(|amount| *amount <= bounds::MAX_AMOUNT) {
            Some(amount) => Ok(Some(amount)),
            None => {
                let message = format!("expected a whole number of at most {}", bounds::MAX_AMOUNT);
                Err(BadRequest::at(format!("header {}", self.inputs.headers[index]), message))
            }
        }
    }

    /// How many bytes the body has: `body`, or as many as are announced.
    pub(crate) fn body_length(&self, body: Option<&[u8]>) -> Result<u64, BadRequest> {
        if let Some(body) = body {
            return Ok(body.len() as u64);
        }
        let Some(length) = one_header(self.body.headers, &CONTENT_LENGTH)? else { return Ok(0) };
        meter::whole(length).ok_or_else(|| BadRequest::at("header content-length", "expected a whole number"))
    }

    pub(crate) fn shown(&self, place: &Place) -> String {
        match place {
            Place::Header(index) | Place::Bearer(index) => format!("header {}", self.inputs.headers[*index]),
            Place::Query(index) => format!("query {}", self.inputs.queries[*index]),
            Place::Path(name) => format!("path {name}"),
            Place::Claim(index) => format!("claim {}", self.inputs.claims[*index]),
            Place::Host(_) => "host".to_owned(),
            Place::Client => "client".to_owned(),
            Place::Attribute(_, name) => format!("attribute {name}"),
            Place::Body(_) => "body".to_owned(),
            Place::Constant(_) => "constant".to_owned(),
        }
    }
}

impl Body<'_> {
    fn found(&self) -> Result<&Vec<Option<Found>>, &Unread> {
        self.found.get_or_init(|| self.look()).as_ref()
    }

    fn look(&self) -> Result<Vec<Option<Found>>, Unread> {
        let bytes = match self.bytes {
            Some(bytes) if !bytes.is_empty() => bytes,
            _ => return Ok(vec![None; self.pointers.len()]),
        };
        if is_compressed(self.headers) {
            let message = "expected no content-encoding: limits of this operation count by the body";
            return Err(Unread::Refused(BadRequest::at("header content-encoding", message)));
        }
        json::look_up(bytes, &self.pointers).map_err(|error| match error.is_data() {
            true => Unread::Refused(BadRequest::at("body", error.to_string())),
            false => Unread::NotJson { is_promised: promises_json(self.headers) || begins_as_json(bytes) },
        })
    }

    /// The value at a pointer. A body that is not JSON has none, unless it is meant as JSON.
    fn attribute(&self, index: usize) -> Result<Option<String>, BadRequest> {
        let found = match self.found() {
            Ok(found) => found.get(index).cloned().flatten(),
            Err(unread) => return unread.refusal().map_or(Ok(None), Err),
        };
        match found {
            // 7.0 and 7e0 are 7 to many readers: nobody gets another counter by another spelling.
            Some(Found::Fraction(_)) => {
                Err(BadRequest::at("body", "expected a whole number of at most 64 bits, without point or exponent"))
            }
            found => Ok(found.and_then(Found::into_text)),
        }
    }
}

/// Whether a body is meant as JSON: one of its types says so, or none says anything.
fn promises_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(http::header::CONTENT_TYPE).iter().peekable();
    types.peek().is_none()
        || types.any(|content_type| content_type.as_bytes().to_ascii_lowercase().windows(4).any(|word| word == b"json"))
}

/// Whether a body begins as a list or an object, whatever its type says: a more lenient reader may find one in it.
fn begins_as_json(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    body.trim_ascii_start().starts_with(b"[") || body.trim_ascii_start().starts_with(b"{")
}

/// The clean text of a header that may occur once.
fn one_header<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Result<Option<&'h str>, BadRequest> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bad = |message: &str| Err(BadRequest::at(format!("header {name}"), message));
    if values.next().is_some() {
        return bad("expected once, found twice or more");
    }
    match std::str::from_utf8(value.as_bytes()).map(|text| text.trim_matches([' ', '\t'])) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(Some(text)),
        _ => bad("expected visible characters"),
    }
}

/// The decoded values of the query parameters that are used.
fn read_query(query: Option<&str>, names: &[Box<str>]) -> Result<Vec<Option<String>>, BadRequest> {
    let mut values = vec![None; names.len()];
    let Some(query) = query.filter(|_| !names.is_empty()) else { return Ok(values) };
    for (count, pair) in query.split('&').enumerate() {
        if count == MAX_QUERY_PARAMETERS {
            return Err(BadRequest::at("query", format!("expected at most {MAX_QUERY_PARAMETERS} parameters")));
        }
        if pair.contains(';') {
            refuse_semicolon(pair, names)?;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(index) = names.iter().position(|known| is_spelling_of(name, known)) else { continue };
        let bad = |message: &str| Err(BadRequest::at(format!("query {}", names[index]), message));
        match path::percent_decode(value, Plus::IsSpace) {
            _ if values[index].is_some() => return bad("expected once, found twice or more"),
            Some(value) if !value.chars().any(char::is_control) => values[index] = Some(value),
            Some(_) => return bad("expected visible characters"),
            None => return bad("expected UTF-8 with whole `%XX`"),
        }
    }
    Ok(values)
}

/// Refuses a parameter that is used before or after a raw `;`: older servers take it for an `&`, others for a part of the
/// value, and some drop the pair.
fn refuse_semicolon(pair: &str, names: &[Box<str>]) -> Result<(), BadRequest> {
    let raw_names = pair.split(';').map(|part| part.split_once('=').map_or(part, |(name, _)| name));
    for raw in raw_names {
        if let Some(name) = names.iter().find(|known| is_spelling_of(raw, known)) {
            return Err(BadRequest::at(format!("query {name}"), "`;`, which servers read differently"));
        }
    }
    Ok(())
}

/// Whether a raw parameter name decodes to `known`.
fn is_spelling_of(raw: &str, known: &str) -> bool {
    if !raw.contains(['%', '+']) {
        return raw == known;
    }
    path::percent_decode(raw, Plus::IsSpace).is_some_and(|name| name == known)
}

/// The token of `Bearer TOKEN`; nothing for another scheme.
fn bearer(header: &str) -> Result<Option<&str>, BadRequest> {
    match strip_scheme(header) {
        Some(token) if token.contains([' ', '\t', ',']) => {
            Err(BadRequest::at("header authorization", "expected one token after `Bearer`"))
        }
        token => Ok(token),
    }
}

/// What follows the scheme `Bearer`, in any case.
fn strip_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_at_checked("bearer".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") && (rest.is_empty() || rest.starts_with([' ', '\t']));
    is_bearer.then(|| rest.trim_matches([' ', '\t']))
}

fn check_value(value: &str, place: impl Fn() -> String) -> Result<(), BadRequest> {
    if value.len() > bounds::MAX_ATTRIBUTE_BYTES {
        let most = bounds::MAX_ATTRIBUTE_BYTES;
        return Err(BadRequest::at(place(), format!("expected at most {most} bytes, found {}", value.len())));
    }
    if value.chars().any(char::is_control) {
        return Err(BadRequest::at(place(), "expected visible characters"));
    }
    Ok(())
}
