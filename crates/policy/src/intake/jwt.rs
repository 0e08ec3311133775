//! Claims of a compact JSON Web Token (RFC 7519), signed by HS256 or not verified at all.
//!
//! A token that does not parse or verify has no claims; it is no error, as the upstream answers for it. Verification
//! takes HS256 and nothing else, whatever the token says about itself, and compares in constant time.

use std::collections::HashMap;
use std::fmt;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{Engine, alphabet};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidegate_core::{AttributeId, Timestamp};

use super::json::{self, Found, Pointer};

/// Longest token in bytes: what common servers take as one header field.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// An HS256 key, made ready once.
#[derive(Clone)]
pub(crate) struct Secret(Hmac<Sha256>);

impl Secret {
    /// A key; `None` if it is empty, as everybody knows that one.
    pub(crate) fn new(secret: &str) -> Option<Secret> {
        if secret.is_empty() {
            return None;
        }
        Hmac::new_from_slice(secret.as_bytes()).ok().map(Secret)
    }

    fn verifies(&self, signed: &str, signature: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(signed.as_bytes());
        mac.verify_slice(signature).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// By attribute: the secrets of its values.
pub(crate) type Secrets = Vec<(AttributeId, HashMap<Box<str>, Secret>)>;

/// What is looked up in a token.
#[derive(Debug)]
pub(crate) struct Claims {
    header: [Pointer; 2],
    times: [Pointer; 2],
    names: Vec<Pointer>,
}

impl Claims {
    /// Looks for the claims of these names.
    pub(crate) fn named<'n>(names: impl Iterator<Item = &'n str>) -> Claims {
        Claims {
            header: ["alg", "crit"].map(Pointer::member),
            times: ["exp", "nbf"].map(Pointer::member),
            names: names.map(Pointer::member).collect(),
        }
    }

    /// The claims of a token that verifies by `secret` and is in its time; `None` if it is not.
    pub(crate) fn verified(&self, token: &str, secret: &Secret, now: Timestamp) -> Option<Vec<Option<Found>>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let [algorithm, critical] = self.header(header)?;
        let is_understood = algorithm == Some(Found::Text("HS256".to_owned())) && critical.is_none();
        if !is_understood || !secret.verifies(signed, &signature_bytes(signature)) {
            return None;
        }
        let mut claims = self.payload(payload)?;
        let times = claims.split_off(self.names.len());
        let [expires, starts] = &*times else { return None };
        (is_before(now, expires.as_ref()) && is_at_or_after(now, starts.as_ref())).then_some(claims)
    }

    /// The claims of a token that somebody else verifies; `None` if it is no token or says that it is unsigned.
    pub(crate) fn unverified(&self, token: &str) -> Option<Vec<Option<Found>>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let Some(Found::Text(algorithm)) = self.header(header)?.into_iter().next()? else { return None };
        if algorithm.eq_ignore_ascii_case("none") || signature.is_empty() {
            return None;
        }
        let mut claims = self.payload(payload)?;
        claims.truncate(self.names.len());
        Some(claims)
    }

    fn header(&self, part: &str) -> Option<[Option<Found>; 2]> {
        let [algorithm, critical] = &self.header;
        json::look_up(&decode(part)?, &[algorithm, critical]).ok()?.try_into().ok()
    }

    /// The claims that were named, then `exp` and `nbf`.
    fn payload(&self, part: &str) -> Option<Vec<Option<Found>>> {
        let pointers: Vec<&Pointer> = self.names.iter().chain(&self.times).collect();
        json::look_up(&decode(part)?, &pointers).ok()
    }
}

/// Base64url without padding; a part that holds anything else, a dot for one, is refused.
fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// Letters of an HS256 signature in base64.
const SIGNATURE_LETTERS: usize = 43;

/// A signature of HS256, however it is spelt: in either alphabet, whatever the spare bits of its last letter are, with
/// anything between its letters and after them.
///
/// Upstreams differ in what they take, and a token that counts for one and not for us would free its bearer from the
/// limits that count by its claims. Whoever can spell a signature has it: nobody is let in by this.
fn signature_bytes(part: &str) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let letters = part.bytes().filter_map(|byte| match byte {
        b'+' => Some(b'-'),
        b'/' => Some(b'_'),
        b'-' | b'_' => Some(byte),
        _ => Some(byte).filter(u8::is_ascii_alphanumeric),
    });
    LENIENT.decode(letters.take(SIGNATURE_LETTERS).collect::<Vec<u8>>()).unwrap_or_default()
}

/// Whether `now` is before `exp`, in seconds since 1970. A missing one is never over; one that is no number always is.
fn is_before(now: Timestamp, expires: Option<&Found>) -> bool {
    let now = now.as_micros() / 1_000_000;
    match expires {
        None => true,
        Some(Found::Whole(expires)) => now < *expires,
        Some(Found::Fraction(expires)) => seconds(now) < *expires,
        Some(_) => false,
    }
}

/// Whether `now` is at or after `nbf`, likewise.
fn is_at_or_after(now: Timestamp, starts: Option<&Found>) -> bool {
    let now = now.as_micros() / 1_000_000;
    match starts {
        None | Some(Found::Negative(_)) => true,
        Some(Found::Whole(starts)) => now >= *starts,
        Some(Found::Fraction(starts)) => seconds(now) >= *starts,
        Some(_) => false,
    }
}

/// Whole seconds to compare with a fraction; exact for the next 285 million years.
fn seconds(whole: u64) -> f64 {
    whole as f64
}
