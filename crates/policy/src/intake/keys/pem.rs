//! Public keys as PEM (RFC 7468): `PUBLIC KEY` (RFC 5280, 4.1.2.7) and `RSA PUBLIC KEY` (RFC 8017, A.1.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::material::{Curve, Material};
use super::{MAX_KEYS, PRIVATE};

/// The keys of a text.
pub(super) fn read(text: &str) -> Result<Vec<Material>, String> {
    if text.trim_start().starts_with('{') {
        return Err("it is JSON, no PEM: name a JSON Web Key Set by `jwks`".to_owned());
    }
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or("a line `-----BEGIN` does not end")?;
        if label.contains("PRIVATE") {
            return Err(PRIVATE.to_owned());
        }
        let (body, after) = after
            .split_once(&format!("-----END {label}-----"))
            .ok_or_else(|| format!("`-----END {label}-----` is missing"))?;
        rest = after;
        let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(body).map_err(|_| format!("its {label} is not base64"))?;
        let key = match label {
            "PUBLIC KEY" => subject_public_key(&der),
            "RSA PUBLIC KEY" => rsa_public_key(&der),
            "CERTIFICATE" => {
                return Err("it is a certificate: `openssl x509 -pubkey -noout` writes its public key".to_owned());
            }
            _ => return Err(format!("it has a block `{label}`, and only `PUBLIC KEY` is read")),
        };
        let place = keys.len() + 1;
        let key = key.ok_or_else(|| format!("public key {place} is none of RSA, P-256, P-384 or Ed25519"))?;
        keys.push(key.map_err(|why| format!("public key {place} cannot be used: {why}"))?);
        if keys.len() > MAX_KEYS {
            return Err(format!("it has more than {MAX_KEYS} keys"));
        }
    }
    if keys.is_empty() { Err("it has no `-----BEGIN PUBLIC KEY-----`".to_owned()) } else { Ok(keys) }
}

/// A key, `None` if it is of no kind that is known here, and why it cannot be used.
type Read = Option<Result<Material, String>>;

/// Reads a `SubjectPublicKeyInfo`.
fn subject_public_key(der: &[u8]) -> Read {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
    const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
    const NULL: &[u8] = &[0x05, 0];
    let info = whole(element(der, SEQUENCE)?)?;
    let (about, rest) = element(info, SEQUENCE)?;
    let (kind, parameters) = element(about, OBJECT)?;
    // A string of bits begins with how many of its last byte are none of it.
    let key = whole(element(rest, BIT_STRING)?)?.strip_prefix(&[0])?;
    let curve = || element(parameters, OBJECT).and_then(whole);
    match kind {
        RSA if parameters == NULL => rsa_public_key(key),
        EC if curve()? == P256 => Some(Material::point(Curve::P256, key)),
        EC if curve()? == P384 => Some(Material::point(Curve::P384, key)),
        ED25519 if parameters.is_empty() => Some(Material::ed25519(key)),
        _ => None,
    }
}

/// Reads an `RSAPublicKey`.
fn rsa_public_key(der: &[u8]) -> Read {
    let numbers = whole(element(der, SEQUENCE)?)?;
    let (modulus, rest) = element(numbers, INTEGER)?;
    let exponent = whole(element(rest, INTEGER)?)?;
    let is_negative = |number: &[u8]| number.first().is_none_or(|first| first & 0x80 != 0);
    (!is_negative(modulus) && !is_negative(exponent)).then(|| Material::rsa(modulus, exponent))
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// The content of a DER element with that tag, and what follows it. Its length is written as shortly as it can be.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    let (length, rest) = match (*length, rest) {
        (short @ ..=0x7f, rest) => (usize::from(short), rest),
        (0x81, [length @ 0x80..=0xff, rest @ ..]) => (usize::from(*length), rest),
        (0x82, [high @ 1..=0xff, low, rest @ ..]) => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    (*first == tag).then_some(())?;
    rest.split_at_checked(length)
}

/// An element that nothing follows.
fn whole<'d>((content, rest): (&'d [u8], &'d [u8])) -> Option<&'d [u8]> {
    rest.is_empty().then_some(content)
}
