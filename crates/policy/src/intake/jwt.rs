//! Claims of a compact JSON Web Token (RFC 7519): verified by the secret of a record, by keys, or not at all.
//!
//! A token that does not parse or verify has no claims; it is no error, as the upstream answers for it. A secret of a
//! record takes HS256 and nothing else, and a key the algorithms of its kind, whatever the token says about itself.

use std::collections::HashMap;
use std::fmt;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{Engine, alphabet};
use ring::hmac;
use serde_json::Value;
use tidegate_core::{AttributeId, Span, Timestamp};

use super::draft::KeysDraft;
use super::json::{self, Found, Pointer};
use super::keys::{Key, Keys, SignatureAlgorithm, is_text_of_a_key};

/// Longest token in bytes: what common servers take as one header field.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// An HS256 key, made ready once.
#[derive(Clone)]
pub(crate) struct Secret(hmac::Key);

impl Secret {
    /// A key; `None` if it is empty or the text of a public key, as everybody knows those.
    pub(crate) fn new(secret: &str) -> Option<Secret> {
        let is_known = secret.is_empty() || is_text_of_a_key(secret.as_bytes());
        (!is_known).then(|| Secret(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    fn verifies(&self, signed: &str, signature: &[u8]) -> bool {
        hmac::verify(&self.0, signed.as_bytes(), signature).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// By attribute: the secrets of its values.
pub(crate) type Secrets = Vec<(AttributeId, HashMap<Box<str>, Secret>)>;

/// What is looked up in a token's header.
const HEADER: [&str; 3] = ["alg", "crit", "kid"];

/// What is looked up in every token's payload: what may keep its claims from counting.
pub(crate) const REGISTERED: [&str; 5] = ["exp", "nbf", "iat", "iss", "aud"];

/// What is looked up in a token.
#[derive(Debug)]
pub(crate) struct Claims {
    header: [Pointer; HEADER.len()],
    registered: [Pointer; REGISTERED.len()],
    names: Vec<Pointer>,
}

impl Claims {
    /// Looks for the claims of these names.
    pub(crate) fn named<'n>(names: impl Iterator<Item = &'n str>) -> Claims {
        Claims {
            header: HEADER.map(Pointer::member),
            registered: REGISTERED.map(Pointer::member),
            names: names.map(Pointer::member).collect(),
        }
    }

    /// The claims of a token that verifies by `secret` and is in its time.
    pub(crate) fn verified(&self, token: &str, secret: &Secret, now: Timestamp) -> Result<Named, TokenFault> {
        let parts = Parts::of(token)?;
        let [algorithm, critical, _] = self.header(parts.header)?;
        if critical.is_some() {
            return Err(TokenFault::Critical);
        }
        if algorithm != Some(Found::Text("HS256".to_owned())) {
            return Err(TokenFault::Algorithm);
        }
        if !secret.verifies(parts.signed, &signature_bytes(parts.signature, HS256_BYTES)) {
            return Err(TokenFault::Signature);
        }
        let payload = self.payload(&decode(parts.payload)?)?;
        payload.check_times(now, Span::ZERO)?;
        Ok(payload.claims)
    }

    /// The claims of a token that verifies by one of the keys, and is in its time, from whom and for whom it should be;
    /// and what verified it.
    pub(crate) fn verified_by_keys<'k>(
        &self,
        token: &str,
        draft: &'k KeysDraft,
        now: Timestamp,
    ) -> Result<(Named, &'k Key, SignatureAlgorithm), TokenFault> {
        let parts = Parts::of(token)?;
        let [algorithm, critical, id] = self.header(parts.header)?;
        if critical.is_some() {
            return Err(TokenFault::Critical);
        }
        let Some(Found::Text(algorithm)) = algorithm else { return Err(TokenFault::Malformed) };
        let algorithm = SignatureAlgorithm::named(&algorithm).filter(|algorithm| draft.allows(*algorithm));
        let algorithm = algorithm.ok_or(TokenFault::Algorithm)?;
        let id = match &id {
            None => None,
            Some(Found::Text(id)) => Some(&**id),
            Some(_) => return Err(TokenFault::Malformed),
        };
        let key = Claims::signer(parts, &draft.keys, algorithm, id)?;
        let json = decode(parts.payload)?;
        let payload = self.payload(&json)?;
        payload.check_times(now, draft.leeway)?;
        if !is_at_or_after(now.plus(draft.leeway), payload.issued.as_ref()) {
            return Err(TokenFault::FromTheFuture);
        }
        if !is_one_of(&draft.issuers, payload.issuer.as_ref()) {
            return Err(TokenFault::Issuer);
        }
        if !is_for(&draft.audiences, payload.audience.as_ref(), &json) {
            return Err(TokenFault::Audience);
        }
        Ok((payload.claims, key, algorithm))
    }

    /// The key that made the signature.
    fn signer<'k>(
        parts: Parts<'_>,
        keys: &'k Keys,
        algorithm: SignatureAlgorithm,
        id: Option<&str>,
    ) -> Result<&'k Key, TokenFault> {
        let mut was_tried = false;
        for key in keys.for_token(algorithm, id) {
            was_tried = true;
            let signature = signature_bytes(parts.signature, key.signature_bytes(algorithm));
            if key.verifies(algorithm, parts.signed.as_bytes(), &signature) {
                return Ok(key);
            }
        }
        match (was_tried, keys.know(id)) {
            (true, _) => Err(TokenFault::Signature),
            (false, true) => Err(TokenFault::OtherKind),
            (false, false) => Err(TokenFault::UnknownKey),
        }
    }

    /// The claims of a token that somebody else verifies, unless it is none or says that it is unsigned.
    pub(crate) fn unverified(&self, token: &str) -> Result<Named, TokenFault> {
        let parts = Parts::of(token)?;
        let [algorithm, ..] = self.header(parts.header)?;
        let Some(Found::Text(algorithm)) = algorithm else { return Err(TokenFault::Malformed) };
        if algorithm.eq_ignore_ascii_case("none") || parts.signature.is_empty() {
            return Err(TokenFault::Algorithm);
        }
        self.payload(&decode(parts.payload)?).map(|payload| payload.claims)
    }

    fn header(&self, part: &str) -> Result<[Option<Found>; HEADER.len()], TokenFault> {
        let found = json::look_up(&decode(part)?, &self.header.each_ref()).map_err(|_| TokenFault::Malformed)?;
        found.try_into().map_err(|_| TokenFault::Malformed)
    }

    fn payload(&self, json: &[u8]) -> Result<Payload, TokenFault> {
        let pointers: Vec<&Pointer> = self.names.iter().chain(&self.registered).collect();
        let mut claims = json::look_up(json, &pointers).map_err(|_| TokenFault::NoClaims)?;
        let registered = claims.split_off(self.names.len());
        let [expires, starts, issued, issuer, audience] = registered.try_into().map_err(|_| TokenFault::NoClaims)?;
        Ok(Payload { claims, expires, starts, issued, issuer, audience })
    }
}

/// The claims that are looked for, each where it was found.
pub(crate) type Named = Vec<Option<Found>>;

/// Why the claims of a token do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenFault {
    /// It is not in three parts of base64url, or its header is no JSON object with an algorithm.
    Malformed,
    /// Its header has `crit`: something must be understood that is not.
    Critical,
    /// It is not signed, or by an algorithm that is not taken.
    Algorithm,
    /// It names a key that there is not.
    UnknownKey,
    /// The key that it names, or every key, is for other algorithms.
    OtherKind,
    /// No key that it is tried with made its signature.
    Signature,
    /// Its payload is no JSON, or has a claim twice.
    NoClaims,
    /// Its `exp` has come, or is no number.
    Expired,
    /// Its `nbf` has not come, or is no number.
    NotYet,
    /// Its `iat` has not come, or is no number.
    FromTheFuture,
    /// Its `iss` is none that is expected.
    Issuer,
    /// Its `aud` has none that is expected.
    Audience,
    /// There is nothing to verify it by.
    Unverified,
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenFault::Malformed => "it is not a signed token: header, payload and signature in base64url",
            TokenFault::Critical => "its header has `crit`, and nothing that it could name is understood",
            TokenFault::Algorithm => "its `alg` is not one that is taken",
            TokenFault::UnknownKey => "its `kid` names no key",
            TokenFault::OtherKind => "its `alg` is not one that its key is for",
            TokenFault::Signature => "its signature does not verify",
            TokenFault::NoClaims => "its payload is no JSON, or has a claim twice",
            TokenFault::Expired => "its `exp` has come, or is no number",
            TokenFault::NotYet => "its `nbf` has not come, or is no number",
            TokenFault::FromTheFuture => "its `iat` has not come, or is no number",
            TokenFault::Issuer => "its `iss` is not the issuer's",
            TokenFault::Audience => "its `aud` is another audience",
            TokenFault::Unverified => "nothing verifies it: no key, and no secret in a record of the request",
        })
    }
}

/// The parts of a token, in base64.
#[derive(Clone, Copy)]
struct Parts<'t> {
    /// Header and payload, and the dot between them.
    signed: &'t str,
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Result<Parts<'t>, TokenFault> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        Ok(Parts { signed, header, payload, signature })
    }
}

/// What a token says.
struct Payload {
    /// The claims that were named.
    claims: Named,
    expires: Option<Found>,
    starts: Option<Found>,
    issued: Option<Found>,
    issuer: Option<Found>,
    audience: Option<Found>,
}

impl Payload {
    /// Whether `now` is before `exp` and at or after `nbf`, give or take the leeway.
    fn check_times(&self, now: Timestamp, leeway: Span) -> Result<(), TokenFault> {
        let earlier = Timestamp::from_micros(now.as_micros().saturating_sub(leeway.as_micros()));
        if !is_before(earlier, self.expires.as_ref()) {
            return Err(TokenFault::Expired);
        }
        if !is_at_or_after(now.plus(leeway), self.starts.as_ref()) {
            return Err(TokenFault::NotYet);
        }
        Ok(())
    }
}

/// Base64url without padding; a part that holds anything else, a dot for one, is refused.
fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

/// Bytes of an HS256 signature.
const HS256_BYTES: usize = 32;

/// A signature of so many bytes, however it is spelt: in either alphabet, whatever the spare bits of its last letter are,
/// with anything between its letters and after them.
///
/// Upstreams differ in what they take, and a token that counts for one and not for us would free its bearer from the
/// limits that count by its claims. Whoever can spell a signature has it: nobody is let in by this.
fn signature_bytes(part: &str, length: usize) -> Vec<u8> {
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
    LENIENT.decode(letters.take((length * 8).div_ceil(6)).collect::<Vec<u8>>()).unwrap_or_default()
}

/// Whether a claim is one of those that are expected; if none are, it may be anything.
fn is_one_of(expected: &[String], found: Option<&Found>) -> bool {
    expected.is_empty() || matches!(found, Some(Found::Text(found)) if expected.contains(found))
}

/// Whether `aud`, a string or a list of them, has one of those that are expected.
fn is_for(expected: &[String], found: Option<&Found>, payload: &[u8]) -> bool {
    if !matches!(found, Some(Found::Array(_))) {
        return is_one_of(expected, found);
    }
    // Lists are rare, and a token is short: reading it again costs less than a search that could keep lists.
    let all: Option<Value> = serde_json::from_slice(payload).ok();
    let list = all.as_ref().and_then(|all| all.get("aud")).and_then(Value::as_array);
    let mut names = list.into_iter().flatten().filter_map(Value::as_str);
    expected.is_empty() || names.any(|name| expected.iter().any(|expected| expected == name))
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
