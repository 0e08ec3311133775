//! Reads HTTP/1 request heads strictly: what two parsers could read in two ways is a fault here (P1).
//!
//! The parser behind the gateway, and whatever stands behind that, may be lenient each in its own way; smuggling lives
//! in the difference. So a head passes only if every byte of it has one reading in RFC 9112, without the leniencies that
//! the standard allows. Lines are read once each, as they arrive, however small the pieces are.

use super::super::fault::{Fault, bad};
use super::super::host;

/// Longest request target. Stream's longest documented query, a list of every endpoint, is 4 KiB; proxies commonly stop
/// at 8 or 16 KiB.
pub(in super::super) const MAX_TARGET_BYTES: usize = 16 * 1024;

/// Longest head, request line included. Cookies and tokens fit many times over.
pub(in super::super) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Most header lines. The parser behind has room for as many.
pub(in super::super) const MAX_HEADERS: usize = 100;

/// Longest method name; the longest registered one has 17 letters.
const MAX_METHOD_BYTES: usize = 32;

/// How the body that follows a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes, perhaps none.
    Length(u64),
    /// With the last chunk and the trailers.
    Chunked,
    /// There is none, and the client asks to go on in another protocol: what follows is not HTTP if that is granted.
    Upgrade,
}

/// A head being read, line by line.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// Bytes of the head read so far, whole lines only.
    read: usize,
    /// Bytes behind `read` that are known to hold no line end.
    searched: usize,
    /// Whether the request line was read.
    started: bool,
    headers: usize,
    is_get: bool,
    is_head: bool,
    is_http_1_0: bool,
    /// The authority of an absolute-form target, in canonical form.
    authority: Option<String>,
    has_host: bool,
    content_length: Option<u64>,
    is_chunked: bool,
    names_upgrade: bool,
    wants_websocket: bool,
}

impl HeadReader {
    /// Reads on in `bytes`, which begin with the head's first byte. `None` until the head is complete, then its length
    /// and what follows it; the next call begins a new head.
    ///
    /// # Errors
    ///
    /// Why the head is refused; nothing behind its first byte may be read as HTTP any more.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, Framing)>, Fault> {
        while let Some(offset) = memchr::memchr(b'\n', &bytes[self.read + self.searched..]) {
            let end = self.read + self.searched + offset;
            let line = bytes[self.read..end].strip_suffix(b"\r").ok_or(bad("head", "a line ends without CR"))?;
            let is_first = self.read == 0;
            (self.read, self.searched) = (end + 1, 0);
            self.check_size()?;
            if line.is_empty() {
                if self.started {
                    return self.finish().map(Some);
                }
                // One empty line before a request line is to be ignored, as some clients end a body with one.
                if !is_first {
                    return Err(bad("request line", "empty lines before the request"));
                }
            } else if self.started {
                self.header(line)?;
            } else {
                self.request_line(line)?;
                self.started = true;
            }
        }
        self.searched = bytes.len() - self.read;
        self.check_size()?;
        Ok(None)
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn is_under_way(&self) -> bool {
        self.read + self.searched > 0
    }

    /// Whether the request that was refused asked for no body in its answer.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    fn check_size(&self) -> Result<(), Fault> {
        let size = self.read + self.searched;
        if !self.started && size > MAX_TARGET_BYTES + MAX_METHOD_BYTES + " HTTP/1.1\r\n\r\n".len() {
            return Err(Fault::new(414, "request line", "longer than 16 KiB"));
        }
        if size > MAX_HEAD_BYTES {
            return Err(Fault::new(431, "head", "longer than 64 KiB"));
        }
        Ok(())
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let place = "request line";
        // A third space would be in the target, which cannot have one.
        let (Some(first), Some(last)) = (memchr::memchr(b' ', line), memchr::memrchr(b' ', line)) else {
            return Err(bad(place, "expected method, target and version, one space between them"));
        };
        let (method, version) = (&line[..first], &line[last + 1..]);
        let target = line.get(first + 1..last).unwrap_or_default();
        if method.is_empty() || method.len() > MAX_METHOD_BYTES || !method.iter().all(|byte| is_token(*byte)) {
            return Err(bad(place, "malformed method"));
        }
        self.is_get = method == b"GET";
        self.is_head = method == b"HEAD";
        match version {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.is_http_1_0 = true,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(Fault::new(505, place, "expected HTTP/1.1, HTTP/1.0, or HTTP/2 from the first byte on"));
            }
            _ => return Err(bad(place, "malformed version")),
        }
        if method == b"CONNECT" || method == b"TRACE" {
            return Err(Fault::new(405, place, "this method is not served"));
        }
        if target.len() > MAX_TARGET_BYTES {
            return Err(Fault::new(414, place, "target longer than 16 KiB"));
        }
        self.authority = authority_of(target)?;
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(Fault::new(431, "head", "more than 100 header lines"));
        }
        let (name, value) = field(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => expect(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.wants_websocket |= items(value).any(|item| item.eq_ignore_ascii_case(b"websocket"));
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.names_upgrade |= items(value).any(|item| item.eq_ignore_ascii_case(b"upgrade"));
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Fault> {
        let place = "header host";
        if self.has_host {
            return Err(bad(place, "more than one"));
        }
        self.has_host = true;
        let host = std::str::from_utf8(value).map_err(|_| bad(place, "not a host and port"))?;
        if !host::is_authority(host) {
            return Err(bad(place, "not a host and port"));
        }
        match &self.authority {
            Some(authority) if *authority != host::canonical_authority(host) => {
                Err(bad(place, "differs from the authority in the target"))
            }
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        let place = "header content-length";
        if self.content_length.is_some() {
            return Err(bad(place, "more than one"));
        }
        if self.is_chunked {
            return Err(bad(place, "beside transfer-encoding"));
        }
        // 18 digits stay below 2^63, which every peer can hold.
        if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad(place, "expected one whole number"));
        }
        let length = value.iter().fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
        self.content_length = Some(length);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        let place = "header transfer-encoding";
        if self.is_http_1_0 {
            return Err(bad(place, "not in HTTP/1.0"));
        }
        if self.content_length.is_some() {
            return Err(bad(place, "beside content-length"));
        }
        if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(bad(place, "expected `chunked`, once"));
        }
        self.is_chunked = true;
        Ok(())
    }

    fn finish(&mut self) -> Result<(usize, Framing), Fault> {
        if !self.has_host {
            return Err(bad("header host", "missing"));
        }
        let has_body = self.is_chunked || self.content_length.is_some_and(|length| length > 0);
        let asks_to_upgrade = self.names_upgrade && self.wants_websocket && self.is_get && !self.is_http_1_0;
        let framing = match (self.is_chunked, asks_to_upgrade && !has_body) {
            (true, _) => Framing::Chunked,
            (_, true) => Framing::Upgrade,
            _ => Framing::Length(self.content_length.unwrap_or(0)),
        };
        let length = self.read;
        *self = HeadReader::default();
        Ok((length, framing))
    }
}

/// Splits a header or trailer line at its colon.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(bad("head", "a header line begins with a space"));
    }
    let length = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
    if length == 0 || line.get(length) != Some(&b':') {
        return Err(bad("head", "expected a header name and a colon right behind it"));
    }
    let value = &line[length + 1..];
    if !all(value, is_text) {
        return Err(bad("head", "control character in a header"));
    }
    Ok((&line[..length], trim(value)))
}

/// The authority of an absolute-form target in canonical form; `None` for an origin-form one.
fn authority_of(target: &[u8]) -> Result<Option<String>, Fault> {
    let place = "request line";
    if target.is_empty() || !all(target, |byte| matches!(byte, 0x21..=0x7e) && byte != b'#') {
        return Err(bad(place, "character that a target cannot have"));
    }
    if target.first() == Some(&b'/') {
        return Ok(None);
    }
    let target = std::str::from_utf8(target).map_err(|_| bad(place, "not ASCII"))?;
    let rest = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        _ => return Err(bad(place, "expected a target that begins with `/`")),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if !host::is_authority(authority) {
        return Err(bad(place, "not a host and port in the target"));
    }
    Ok(Some(host::canonical_authority(authority)))
}

fn expect(value: &[u8]) -> Result<(), Fault> {
    if value.eq_ignore_ascii_case(b"100-continue") {
        return Ok(());
    }
    Err(Fault::new(417, "header expect", "only `100-continue` can be expected"))
}

/// The members of a comma-separated list.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// Whether all bytes are such. Looks at every one, as that can be done to many at a time; most are as they should be.
fn all(bytes: &[u8], is_such: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & is_such(*byte))
}

/// Letters, digits and the marks of an RFC 9110 token.
fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// What a header's value is made of: visible characters, spaces, tabs, and bytes above ASCII.
fn is_text(byte: u8) -> bool {
    (byte >= b' ') & (byte != 0x7f) | (byte == b'\t')
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut index = 0;
    while index < marks.len() {
        table[marks[index] as usize] = true;
        index += 1;
    }
    table
};
