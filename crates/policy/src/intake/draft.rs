//! What an operator wrote about requests, before names are settled: the input of [`Intake::build`](super::Intake::build).

use std::collections::BTreeMap;
use std::fmt;

use tidegate_core::Span;

use super::host::HostPattern;
use super::json::Pointer;
use super::keys::{Keys, SignatureAlgorithm};

/// Routes, attribute sources and costs of one API as they were meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntakeDraft {
    /// Prefixes of all routes. None at all means no prefix, as `[""]` does.
    pub bases: Vec<String>,
    /// Whether the fixed segments of routes are matched without regard to ASCII case.
    pub ignore_case: bool,
    /// Routes, in any order: which one a request takes follows from their shapes.
    pub routes: Vec<RouteDraft>,
    /// Where attributes come from. Of the built-in ones only `plan` may be here.
    pub attributes: Vec<AttributeDraft>,
    /// Where the token of `jwt:` sources is, and when its claims count.
    pub jwt: Option<JwtDraft>,
    /// Whose address the `client` source is.
    pub client: ClientDraft,
    /// Costs that the request itself states.
    pub costs: Vec<CostDraft>,
    /// Costs that the response states.
    pub settles: Vec<SettleDraft>,
}

/// A method and a path template that lead to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDraft {
    /// The operation's name.
    pub operation: String,
    /// `GET`, `POST` …; `*` for any.
    pub method: String,
    /// `/channels/{type}/{id}/message`; a last `{name...}` takes the rest of the path, slashes and all.
    pub template: String,
}

/// An attribute and its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeDraft {
    /// The attribute's name.
    pub name: String,
    /// Its sources; the first that is present, and that its map knows, wins.
    pub sources: Vec<SourceDraft>,
}

/// One source of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDraft {
    /// Where to look; the first that is present wins.
    pub from: Vec<From>,
    /// Ordered pairs of a pattern (`*` is any run of characters, case does not matter) and the value it stands for.
    /// Empty: the value itself. If none matches, the attribute's next source is asked.
    pub map: Vec<(String, String)>,
    /// Whether the value is replaced by the beginning of its SHA-256, after the map.
    pub hash: bool,
}

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The header of that name.
    Header(String),
    /// The query parameter of that name, decoded.
    Query(String),
    /// The path parameter of that name, decoded; a tail as it stands.
    Path(String),
    /// The token of `Authorization: Bearer …`.
    Bearer,
    /// The client's address, by [`IntakeDraft::client`].
    Client,
    /// The claim of that name in the token of [`IntakeDraft::jwt`].
    Jwt(String),
    /// The part of the host that `{value}` stands for in the pattern.
    Host(String),
    /// The string, whole number or boolean at that JSON pointer into the body.
    Body(String),
    /// The value of the attribute of that name.
    Attribute(String),
    /// This value, always.
    Constant(String),
}

impl From {
    /// Reads a source as policies write it: `header:NAME`, `query:NAME`, `path:PARAM`, `bearer`, `client`,
    /// `jwt:CLAIM`, `host:PATTERN`, `body:/json/pointer`, `attribute:NAME`, `constant:VALUE`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what was expected.
    pub fn parse(text: &str) -> Result<From, String> {
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        if let "bearer" | "client" = kind {
            let alone = if kind == "bearer" { From::Bearer } else { From::Client };
            return if rest.is_none() { Ok(alone) } else { Err(format!("`{kind}` stands alone")) };
        }
        let Some(rest) = rest else {
            return Err(format!("expected a source such as `header:{text}`, `query:{text}` or `bearer`"));
        };
        let name = || if rest.is_empty() { Err(format!("`{kind}:` lacks a name")) } else { Ok(rest.to_owned()) };
        match kind {
            "header" => match http::HeaderName::from_bytes(rest.as_bytes()) {
                Ok(_) => Ok(From::Header(rest.to_owned())),
                Err(_) => Err(format!("`{rest}` is not the name of a header")),
            },
            "query" => name().map(From::Query),
            "path" => name().map(From::Path),
            "jwt" => name().map(From::Jwt),
            "attribute" => name().map(From::Attribute),
            "constant" => name().map(From::Constant),
            "host" => HostPattern::parse(rest).map(|_| From::Host(rest.to_owned())),
            "body" => Pointer::parse(rest).map(|_| From::Body(rest.to_owned())),
            _ => Err(format!(
                "`{kind}` is no kind of source; there are header, query, path, bearer, client, jwt, host, body, attribute and constant"
            )),
        }
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            From::Header(name) => write!(f, "header:{name}"),
            From::Query(name) => write!(f, "query:{name}"),
            From::Path(name) => write!(f, "path:{name}"),
            From::Bearer => f.write_str("bearer"),
            From::Client => f.write_str("client"),
            From::Jwt(claim) => write!(f, "jwt:{claim}"),
            From::Host(pattern) => write!(f, "host:{pattern}"),
            From::Body(pointer) => write!(f, "body:{pointer}"),
            From::Attribute(name) => write!(f, "attribute:{name}"),
            From::Constant(value) => write!(f, "constant:{value}"),
        }
    }
}

impl RouteDraft {
    /// Reads a route as policies write it, `POST /channels/{type}/{id}/message`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what was expected.
    pub fn parse(operation: &str, text: &str) -> Result<RouteDraft, String> {
        let Some((method, template)) = text.split_once(' ') else {
            return Err("expected a method and a path, such as `POST /messages/{id}`".to_owned());
        };
        let route = RouteDraft {
            operation: operation.to_owned(),
            method: method.to_owned(),
            template: template.trim_start().to_owned(),
        };
        super::routes::check(&route).map(|()| route)
    }
}

/// Where tokens are and when their claims count. Its debug form leaves the secrets out.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JwtDraft {
    /// Headers, query parameters or `bearer`, with or without `Bearer ` before the token; the first present wins.
    pub from: Vec<From>,
    /// Whether unverified claims count because the upstream rejects forged tokens.
    pub upstream_verifies: bool,
    /// HS256 secrets, by attribute and value. Claims of a request that has one count only if the token verifies.
    pub secrets: BTreeMap<(String, String), String>,
    /// What verifies the tokens of all other requests; not where the upstream does.
    pub keys: Option<KeysDraft>,
}

/// Keys that verify tokens, and what those tokens must say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysDraft {
    /// The keys.
    pub keys: Keys,
    /// The algorithms that are taken; none listed: those that the keys are for.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// What `iss` may be; none listed: anything, or absent.
    pub issuers: Vec<String>,
    /// What `aud` must have one of; none listed: anything, or absent.
    pub audiences: Vec<String>,
    /// How far the issuer's clock may be from ours.
    pub leeway: Span,
}

impl KeysDraft {
    /// Whether tokens of that algorithm are taken, if there is a key for it.
    pub fn allows(&self, algorithm: SignatureAlgorithm) -> bool {
        self.algorithms.is_empty() || self.algorithms.contains(&algorithm)
    }
}

impl fmt::Debug for JwtDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtDraft")
            .field("from", &self.from)
            .field("upstream_verifies", &self.upstream_verifies)
            .field("secrets", &self.secrets.keys())
            .field("keys", &self.keys)
            .finish()
    }
}

/// Whose address the client's is, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientDraft {
    /// The header in which proxies say whom they were called by: `Forwarded`, or one with a list of addresses.
    pub header: Option<String>,
    /// Blocks of addresses of proxies whose word counts: `10.0.0.0/8`.
    pub trusted: Vec<String>,
    /// Leading bits of an IPv4 address that make a client, 1 to 32.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that make a client, 1 to 128.
    pub ipv6_prefix: u8,
}

impl Default for ClientDraft {
    /// The peer's address: whole if it is IPv4; of IPv6 the 64 bits that one subscriber has at least.
    fn default() -> ClientDraft {
        ClientDraft { header: None, trusted: Vec::new(), ipv4_prefix: 32, ipv6_prefix: 64 }
    }
}

/// A cost that the request states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostDraft {
    /// The unit.
    pub unit: String,
    /// The operations it is read for; `None` for those that no other cost of the unit names.
    pub on: Option<Vec<String>>,
    /// Where it is stated.
    pub source: CostSource,
}

/// Where a request states a cost. What is not there is 1, and no reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CostSource {
    /// Nowhere: it is this many units.
    Is(u64),
    /// The whole number in the header of that name.
    Header(String),
    /// The length of the array at that JSON pointer into the body.
    LengthOf(String),
    /// The sum of the whole numbers at that JSON pointer into the body, in which `*` is each element of an array; an
    /// element without one counts 1.
    SumOf(String),
    /// The bytes of the body, as they are sent.
    BytesOfBody,
}

/// A cost that the response states. What the request stated is a reserve then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleDraft {
    /// The unit.
    pub unit: String,
    /// The operations it is read for; `None` for all.
    pub on: Option<Vec<String>>,
    /// Where it is stated.
    pub source: SettleSource,
}

/// Where a response states a cost, as a whole number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleSource {
    /// At that JSON pointer into the body.
    Body(String),
    /// In the header of that name.
    Header(String),
}
