//! Tokens: claims count only if the secret's holder signed them by HS256 and their time has come.

use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{Engine, alphabet};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use sha2::Sha256;
use tidegate_policy::{Asked, Facts};

use crate::api::{NOW, SECRET, line, reader};
use crate::keyed;
use crate::requests::check;

/// The first byte says how the rest is sent: as it is; or its two lines, header and payload, signed with the secret of
/// the app, or with another; or, as `keyed.rs` has it, to be verified by keys.
pub fn token(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let (header, payload) = line(rest);
    if keyed::token(*how, rest) {
        return;
    }
    match how.wrapping_sub(b'0') % 3 {
        0 => raw(rest),
        1 => {
            if let Some(facts) = facts(&signed(header, payload, SECRET)) {
                counts_rightly(&facts, header, payload);
            }
        }
        _ => {
            let facts = facts(&signed(header, payload, "somebody else's"));
            assert!(facts.is_none_or(|facts| claimed(&facts).is_none()), "a forged token counts");
        }
    }
}

/// Any bytes: if they say who it is, they are a token with the right signature.
fn raw(bytes: &[u8]) {
    let Some(found) = facts(bytes) else { return };
    let Some(user) = claimed(&found) else { return };
    let text = std::str::from_utf8(bytes).expect("a token is text").trim();
    // Any first word without a dot is left out, as many servers leave it out.
    let text =
        text.split_once([' ', '\t']).filter(|(word, _)| !word.contains('.')).map_or(text, |(_, rest)| rest).trim();
    let (head, signature) = text.rsplit_once('.').expect("a token has three parts");
    let (header, payload) = head.split_once('.').expect("a token has three parts");
    // A signature is its letters, in either alphabet, whatever stands between them and whatever their spare bits are.
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let forgiving = GeneralPurpose::new(&alphabet::URL_SAFE, config.with_decode_padding_mode(Indifferent));
    let decoded = |part: &str| forgiving.decode(part);
    let letters = signature.replace('+', "-").replace('/', "_");
    let is_letter = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let signature: String = letters.chars().filter(is_letter).take(43).collect();
    let signature = signature.as_str();
    assert_eq!(decoded(signature).ok(), Some(mac(head.as_bytes(), SECRET)), "{user} was not signed for");
    if let (Ok(header), Ok(payload)) = (decoded(header), decoded(payload)) {
        counts_rightly(&found, &header, &payload);
    }
}

/// A part of a token that counts. Text that is no UTF-8, in a string that nobody looks at, does not end a token, as it does
/// not for every upstream; and a number that no reader of ours can hold, which is `None` here, is a JSON number all the same.
pub(crate) fn read(part: &[u8]) -> Option<Value> {
    serde_json::from_str(&String::from_utf8_lossy(part)).ok()
}

/// Who a token says it is of.
pub(crate) fn said(payload: &Value) -> String {
    match &payload["sub"] {
        Value::String(text) => text.clone(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        other => panic!("{other} is no user"),
    }
}

/// What a signed token says is only believed if it is understood, and in its time.
fn counts_rightly(facts: &Facts, header: &[u8], payload: &[u8]) {
    let Some(user) = claimed(facts) else { return };
    if let Some(header) = read(header) {
        assert_eq!(header["alg"], "HS256", "signed by another algorithm");
        assert!(header.get("crit").is_none(), "what must be understood is not");
    }
    let Some(payload) = read(payload) else { return };
    assert_eq!(said(&payload), user, "another user than the token says");
    let now = NOW.as_micros() as f64 / 1e6;
    if let Some(expires) = payload["exp"].as_f64() {
        assert!(expires > now - 1.0, "it expired at {expires}");
    }
    if let Some(starts) = payload["nbf"].as_f64() {
        assert!(starts < now + 1.0, "it does not count before {starts}");
    }
}

fn facts(token: &[u8]) -> Option<Facts> {
    let api = reader();
    let mut headers = HeaderMap::new();
    headers.append("authorization", HeaderValue::from_bytes(token).ok()?);
    let route = api.intake.route(&Method::GET, "/?app=known").expect("a route of every policy");
    let asked = Asked { host: None, headers: &headers, body: None, peer: None };
    let facts = api.intake.extract(&api.policy, &route, &asked, NOW);
    check(api, &facts);
    facts.ok()
}

fn claimed(facts: &Facts) -> Option<String> {
    let user = reader().policy.attribute("user").expect("an attribute of the policy");
    facts.value(user).map(str::to_owned)
}

fn signed(header: &[u8], payload: &[u8], secret: &str) -> Vec<u8> {
    let head = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(mac(head.as_bytes(), secret));
    format!("Bearer {head}.{signature}").into_bytes()
}

fn mac(text: &[u8], secret: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
