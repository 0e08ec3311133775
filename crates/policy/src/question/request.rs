//! A request told in JSON, as traces and explanations have it: `{"method":…,"path":…}`, and
//! perhaps `headers`, `body` and the `client` that it comes from.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use super::{BadQuestion, Json};
use crate::Asked;

/// Most header lines of one request: more than the gateway takes.
pub const MAX_HEADERS: usize = 256;

/// A request as it is told, not sent.
#[derive(Clone, Debug)]
pub struct Request<'l> {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub target: Cow<'l, str>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Option<Cow<'l, [u8]>>,
    /// The address that it comes from.
    pub client: Option<IpAddr>,
}

impl<'l> Request<'l> {
    /// What an object says of a request.
    ///
    /// # Errors
    ///
    /// The first mistake, at its place in the object.
    pub fn read(request: Json<'l>) -> Result<Request<'l>, BadQuestion> {
        let [method, path, headers, body, client] =
            request.known_members(["method", "path", "headers", "body", "client"])?;
        let method = method.ok_or_else(|| missing("method"))?;
        let method = method.string().and_then(|name| read_method(&name)).map_err(|bad| bad.inside("method"))?;
        let target = path.ok_or_else(|| missing("path"))?.string().map_err(|bad| bad.inside("path"))?;
        let headers =
            headers.map_or_else(|| Ok(HeaderMap::new()), read_headers).map_err(|bad| bad.inside("headers"))?;
        let body = body.map(read_body).transpose().map_err(|bad| bad.inside("body"))?;
        let client = client.map(read_client).transpose().map_err(|bad| bad.inside("client"))?;
        Ok(Request { method, target, headers, body, client })
    }

    /// What attributes and costs come from. The host is that of its header.
    pub fn asked(&self) -> Asked<'_> {
        let host = self.headers.get(HOST).and_then(|host| host.to_str().ok());
        Asked { peer: self.client, host, headers: &self.headers, body: self.body.as_deref() }
    }
}

fn read_method(name: &str) -> Result<Method, BadQuestion> {
    Method::from_bytes(name.as_bytes()).map_err(|_| BadQuestion::new("not the name of a method"))
}

fn read_client(client: Json<'_>) -> Result<IpAddr, BadQuestion> {
    let text = client.string()?;
    text.parse()
        .map_err(|_| BadQuestion::new("not an address").help("write 203.0.113.9 or 2001:db8::9, without a port"))
}

/// The headers that an object tells: strings, or lists of them for those that occur several times.
///
/// # Errors
///
/// The first mistake, at its place in the object.
pub fn read_headers(headers: Json<'_>) -> Result<HeaderMap, BadQuestion> {
    let mut read = HeaderMap::new();
    for (name, value) in headers.members()? {
        let values = if value.is_array() { value.items(MAX_HEADERS) } else { Ok(vec![value]) };
        let values = values.map_err(|bad| bad.inside(&name))?;
        for value in values {
            let header = read_header(&name, value).map_err(|bad| bad.inside(&name))?;
            if read.len() >= MAX_HEADERS {
                return Err(BadQuestion::new(format!("more than {MAX_HEADERS} headers")));
            }
            read.append(header.0, header.1);
        }
    }
    Ok(read)
}

fn read_header(name: &str, value: Json<'_>) -> Result<(HeaderName, HeaderValue), BadQuestion> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadQuestion::new("not the name of a header"))?;
    let value = value.string()?;
    let value = HeaderValue::from_str(&value)
        .map_err(|_| BadQuestion::new("not the value of a header").help("only visible ASCII, spaces and tabs"))?;
    Ok((name, value))
}

/// A string is the body itself; anything else is a body of that JSON.
fn read_body(body: Json<'_>) -> Result<Cow<'_, [u8]>, BadQuestion> {
    if body.kind() != "a string" {
        return Ok(Cow::Borrowed(body.text().as_bytes()));
    }
    Ok(match body.string()? {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

fn missing(name: &str) -> BadQuestion {
    BadQuestion::new("missing").inside(name)
}
