//! The client's address: the peer's, or the one that trusted proxies name beyond it.
//!
//! Every proxy adds the address it was called from at the end of a header, so the list is read from its end. An address
//! counts because the one after it is trusted: what stands left of the first untrusted one is whatever its sender wrote,
//! and is not even looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{FORWARDED, HeaderMap, HeaderName};

use super::bad_request::BadRequest;
use super::draft::ClientDraft;

/// Most blocks of trusted addresses. The largest content network publishes some two hundred.
pub(crate) const MAX_TRUSTED: usize = 1_024;

/// Most of what a stranger wrote that a message repeats, in bytes.
const MAX_SHOWN_BYTES: usize = 64;

/// Where the client's address comes from, and how it is written.
#[derive(Debug)]
pub(crate) struct Client {
    header: Option<HeaderName>,
    trusted: Networks,
    ipv4_prefix: u8,
    ipv6_prefix: u8,
}

impl Client {
    /// Settles what a policy says about it.
    pub(crate) fn build(draft: &ClientDraft) -> Result<Client, String> {
        if !(1..=32).contains(&draft.ipv4_prefix) || !(1..=128).contains(&draft.ipv6_prefix) {
            return Err("a prefix has 1 to 32 bits of IPv4, 1 to 128 of IPv6".to_owned());
        }
        if draft.trusted.len() > MAX_TRUSTED {
            return Err(format!("more than {MAX_TRUSTED} blocks of trusted addresses"));
        }
        let header = draft.header.as_ref().map(|name| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not the name of a header"))
        });
        let networks = draft.trusted.iter().map(|text| Network::parse(text));
        let networks = networks.collect::<Result<Vec<_>, _>>().map_err(|mistake| mistake.label)?;
        Ok(Client {
            header: header.transpose()?,
            trusted: Networks::of(&networks),
            ipv4_prefix: draft.ipv4_prefix,
            ipv6_prefix: draft.ipv6_prefix,
        })
    }

    /// The header that proxies write, if it is read.
    pub(crate) fn header(&self) -> Option<&HeaderName> {
        self.header.as_ref()
    }

    /// The address of the client whose request came from `peer`, as limits count by it.
    ///
    /// # Errors
    ///
    /// A trusted proxy names something that is no address.
    pub(crate) fn value(&self, peer: IpAddr, headers: &HeaderMap) -> Result<String, BadRequest> {
        self.address(peer.to_canonical(), headers).map(|address| self.written(address))
    }

    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, BadRequest> {
        let mut client = peer;
        let Some(header) = self.header.as_ref().filter(|_| self.trusted.contains(peer)) else { return Ok(client) };
        let bad = |message: String| BadRequest::at(format!("header {header}"), message);
        for line in headers.get_all(header).iter().rev() {
            let line = line.as_bytes();
            if line.trim_ascii().is_empty() {
                continue;
            }
            let nodes = if *header == FORWARDED { forwarded(line) } else { Some(listed(line)) };
            let nodes = nodes.ok_or_else(|| bad(format!("expected elements as RFC 7239 has them{}", found(line))))?;
            for node in nodes.iter().rev() {
                match Node::read(node) {
                    // The proxy that says so is the last whose address is known.
                    Some(Node::Unknown) => return Ok(client),
                    Some(Node::Address(address)) => client = address,
                    None => return Err(bad(format!("expected an address{}", found(node)))),
                }
                if !self.trusted.contains(client) {
                    return Ok(client);
                }
            }
        }
        Ok(client)
    }

    /// A whole address as it is, a block with its prefix, both in the one canonical spelling (RFC 5952).
    fn written(&self, address: IpAddr) -> String {
        let (prefix, whole) = match address {
            IpAddr::V4(_) => (self.ipv4_prefix, 32),
            IpAddr::V6(_) => (self.ipv6_prefix, 128),
        };
        let first = first_of(address, prefix);
        if prefix == whole { first.to_string() } else { format!("{first}/{prefix}") }
    }
}

fn found(text: &[u8]) -> String {
    let text = text.trim_ascii();
    let shown = String::from_utf8_lossy(&text[..text.len().min(MAX_SHOWN_BYTES)]);
    let shown: String = shown.chars().filter(|c| !c.is_control()).collect();
    if text.is_empty() { ", found nothing".to_owned() } else { format!(", found `{shown}`") }
}

/// Whom a proxy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    /// Nobody: it does not know, or does not say (RFC 7239, 6.2 and 6.3).
    Unknown,
}

impl Node {
    /// An address in any spelling that proxies use, with or without a port.
    fn read(text: &[u8]) -> Option<Node> {
        let text = std::str::from_utf8(text.trim_ascii()).ok()?;
        if let Some((address, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let is_whole = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
            return address.parse::<Ipv6Addr>().ok().filter(|_| is_whole).map(Node::of);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Node::of(address));
        }
        let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
        if !port.is_none_or(is_port) {
            return None;
        }
        if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
            return Some(Node::Unknown);
        }
        name.parse::<Ipv4Addr>().ok().map(Node::of)
    }

    fn of(address: impl Into<IpAddr>) -> Node {
        Node::Address(address.into().to_canonical())
    }
}

fn is_port(text: &str) -> bool {
    let is_number = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    is_number || is_obfuscated(text)
}

/// Whether it is a word that stands for something in one proxy alone.
fn is_obfuscated(text: &str) -> bool {
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.strip_prefix('_').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(belongs))
}

/// What stands between the commas of a line.
fn listed(line: &[u8]) -> Vec<Vec<u8>> {
    line.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect()
}

/// The `for` of each element of a line of `Forwarded`, `unknown` where there is none; `None` if the line is malformed.
///
/// A line is read from its beginning, as only so is it plain where a quoted text ends; so garbage in it that breaks the
/// quotes is met though it stands left of the client.
fn forwarded(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut nodes = Vec::new();
    let mut rest = line;
    loop {
        let (node, after) = forwarded_element(rest)?;
        nodes.push(node);
        match after {
            [] => return Some(nodes),
            [_, after @ ..] => rest = after,
        }
    }
}

/// One element, and what follows it: nothing, or a comma and more.
fn forwarded_element(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut node = None;
    let mut rest = line.trim_ascii_start();
    let mut is_empty = true;
    loop {
        if let [] | [b',', ..] = rest {
            let node = node.unwrap_or_else(|| if is_empty { Vec::new() } else { b"unknown".to_vec() });
            return Some((node, rest));
        }
        if let [b';', after @ ..] = rest {
            rest = after.trim_ascii_start();
            continue;
        }
        is_empty = false;
        let end = rest.iter().position(|byte| !is_token(*byte)).filter(|end| *end > 0)?;
        let (name, after) = rest.split_at(end);
        let (value, after) = forwarded_value(after.strip_prefix(b"=")?)?;
        rest = after.trim_ascii_start();
        if !matches!(rest, [] | [b',' | b';', ..]) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && node.replace(value).is_some() {
            return None;
        }
    }
}

/// A value, its quotes undone, and what follows it. Without quotes it may hold colons, which many proxies write so.
fn forwarded_value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| b",; \t".contains(byte)).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (!value.is_empty() && !value.contains(&b'"')).then(|| (value.to_vec(), rest));
    };
    let mut value = Vec::new();
    loop {
        match rest {
            [b'"', after @ ..] => return Some((value, after)),
            [b'\\', escaped, after @ ..] => {
                value.push(*escaped);
                rest = after;
            }
            [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A block of addresses: a first one, and how many of its leading bits are the block's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no block of addresses, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkMistake {
    pub(crate) label: String,
    pub(crate) help: Option<String>,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or an address that stands for itself.
    pub(crate) fn parse(text: &str) -> Result<Network, NetworkMistake> {
        let mistake = |label: &str, help: Option<String>| NetworkMistake { label: label.to_owned(), help };
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(mistake("expected an address, or one with the length of its prefix", None));
        };
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = prefix.map_or(Ok(whole), |prefix| match prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            true => prefix.parse::<u8>().map_err(drop),
            false => Err(()),
        });
        let Some(length) = length.ok().filter(|length| *length <= whole) else {
            return Err(mistake(&format!("expected a prefix of 0 to {whole} bits"), None));
        };
        if first_of(address, length) != address {
            let help = format!("write `{}/{length}`, or leave out the `/{length}`", first_of(address, length));
            return Err(mistake(&format!("bits are set after the first {length}"), Some(help)));
        }
        // An IPv4-mapped block is IPv4; with fewer than 96 bits it would have had some set after them.
        match address.to_canonical() {
            first @ IpAddr::V4(_) if address.is_ipv6() => Ok(Network { first, prefix: length - 96 }),
            first => Ok(Network { first, prefix: length }),
        }
    }

    /// Whether it is all addresses of its kind.
    pub(crate) fn is_everything(self) -> bool {
        self.prefix == 0
    }

    /// Its first and its last address, as numbers.
    fn ends(self) -> (u128, u128) {
        let (first, whole) = number_of(self.first);
        let free = whole - self.prefix;
        let last = if free == 128 { u128::MAX } else { first | ((1 << free) - 1) };
        (first, last)
    }
}

/// Blocks of addresses of both kinds, each kind sorted and without overlap.
#[derive(Debug, Default)]
struct Networks {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    fn of(networks: &[Network]) -> Networks {
        let kind = |is_v4: bool| {
            let mut ends: Vec<(u128, u128)> =
                networks.iter().filter(|network| network.first.is_ipv4() == is_v4).map(|it| it.ends()).collect();
            // Blocks lie beside each other or within each other. With the larger of two that begin together first, a
            // later one is in the one kept before it, or after it.
            ends.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
            ends.dedup_by(|later, earlier| later.0 <= earlier.1);
            ends
        };
        Networks { v4: kind(true), v6: kind(false) }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let blocks = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let (number, _) = number_of(address);
        let after = blocks.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).is_some_and(|index| number <= blocks[index].1)
    }
}

/// An address as a number, and how many bits it has.
fn number_of(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

/// The first address of the block of `prefix` bits that an address is in.
fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}
