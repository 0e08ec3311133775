//! A line of an access log: `host ident user [date] "request" status bytes`, and in Combined format `"referer"
//! "user agent"` after it. What a format of one's own adds at the end is passed over.
//!
//! Source: httpd.apache.org/docs/2.4/logs.html, sections Common and Combined Log Format: quotes and backslashes inside
//! quoted fields are escaped by a backslash, other bytes as `\xhh`; nginx escapes all of them as `\xhh`.

use std::borrow::Cow;

use http::header::{HeaderName, HeaderValue, REFERER, USER_AGENT};
use http::{HeaderMap, Method};
use tidegate_core::{Policy, Timestamp};
use tidegate_policy::question::{BadQuestion, Question};

use super::{Ask, Entry, Request, instant};

pub(super) fn entry<'l>(line: u64, text: &'l [u8], policy: &'l Policy) -> Result<Entry<'l>, BadQuestion> {
    let text = std::str::from_utf8(text)
        .map_err(|error| BadQuestion::new("not UTF-8").inside(&format!("column {}", error.valid_up_to() + 1)))?;
    let mut rest = Rest(text);
    let client = rest.words_before_date()?.parse().ok();
    let at = rest.date().map_err(|bad| bad.inside("date"))?;
    let request_line = rest.quoted().ok_or_else(|| not_the_form("request"))?;
    rest.word().filter(|status| status.parse::<u16>().is_ok()).ok_or_else(|| not_the_form("status"))?;
    rest.word().filter(|bytes| *bytes == "-" || bytes.parse::<u64>().is_ok()).ok_or_else(|| not_the_form("bytes"))?;
    let (method, target) = split_request_line(&request_line);
    let mut headers = HeaderMap::new();
    for name in [REFERER, USER_AGENT] {
        let Some(value) = rest.quoted() else { break };
        add_header(&mut headers, name, &value);
    }
    let request = Some(Request { method, target: Cow::Owned(target), headers, body: None, client });
    Ok(Entry { line, at, ask: Ask { request, question: Question::on(policy) }, response: None })
}

/// What is not read yet.
struct Rest<'l>(&'l str);

impl<'l> Rest<'l> {
    /// Host, identity and user, of which the host is told. The user may be anything, so the date's bracket is what ends
    /// it.
    fn words_before_date(&mut self) -> Result<&'l str, BadQuestion> {
        let end = self.0.find(" [").ok_or_else(|| not_the_form("date"))?;
        let words: Vec<&str> = self.0[..end].split(' ').filter(|word| !word.is_empty()).take(3).collect();
        let [host, _, _] = *words else { return Err(not_the_form("user")) };
        self.0 = &self.0[end + 1..];
        Ok(host)
    }

    fn date(&mut self) -> Result<Timestamp, BadQuestion> {
        let bad = || BadQuestion::new("not a date of an access log").help("write it as [10/Oct/2000:13:55:36 -0700]");
        let (date, rest) = self.0.strip_prefix('[').and_then(|text| text.split_once(']')).ok_or_else(bad)?;
        self.0 = rest.trim_start();
        instant::from_log_date(date).ok_or_else(bad)
    }

    fn word(&mut self) -> Option<&'l str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    /// A field in quotes, its escapes undone.
    fn quoted(&mut self) -> Option<String> {
        let text = self.0.strip_prefix('"')?;
        let mut escaped = false;
        let end = text.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        self.0 = text[end + 1..].trim_start();
        Some(unescaped(&text[..end]))
    }
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        match rest {
            [b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            [letter, after @ ..] => {
                bytes.push(match letter {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                });
                rest = after;
            }
            [] => bytes.push(b'\\'),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A') + 10,
    }
}

/// Method and target. Logs have lines for what was no HTTP (`-`, TLS to a plain port): their target is refused as any
/// odd path is, so they are counted as bad requests.
fn split_request_line(line: &str) -> (Method, String) {
    let (method, rest) = line.split_once(' ').unwrap_or(("", line));
    let target = rest.rsplit_once(' ').filter(|(_, version)| version.starts_with("HTTP/")).map_or(rest, |(to, _)| to);
    match Method::from_bytes(method.as_bytes()) {
        Ok(method) => (method, target.to_owned()),
        Err(_) => (Method::GET, line.to_owned()),
    }
}

/// A field that no header could have had is left out, as is `-`, the log's word for none.
fn add_header(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if value != "-"
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.append(name, value);
    }
}

fn not_the_form(field: &str) -> BadQuestion {
    let help = "a trace is JSON lines, or an access log in Common or Combined format: \
                host ident user [10/Oct/2000:13:55:36 -0700] \"GET /path HTTP/1.1\" 200 2326";
    BadQuestion::new("missing or not as an access log has it").help(help).inside(field)
}
