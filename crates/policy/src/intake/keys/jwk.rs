//! A JSON Web Key Set (RFC 7517), and the keys in it (RFC 7518, 6; RFC 8037, 2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::SignatureAlgorithm as Algorithm;
use super::material::{Curve, Material};
use super::{Key, MAX_KEYS, PRIVATE};

/// Longest name of a key in bytes. Common ones are thumbprints, of 43 letters, or URLs.
const MAX_ID_BYTES: usize = 256;

/// Members that only private keys have.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// The keys of a text, and why others are passed over although signatures may be theirs.
pub(super) fn read(text: &str) -> Result<(Vec<Key>, Vec<String>), String> {
    if text.trim_start().starts_with("-----BEGIN") {
        let why = if text.contains("PRIVATE KEY") { PRIVATE } else { "it is PEM, no key set: name it by `key`" };
        return Err(why.to_owned());
    }
    let set: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let Some(list) = set.get("keys").and_then(Value::as_array) else {
        return Err(match set.get("kty") {
            Some(_) if is_private(&set) => PRIVATE,
            Some(_) => "it is one key, no set: write `{ \"keys\": [ … ] }` around it",
            None => "it is no key set, which is an object with a list called `keys`",
        }
        .to_owned());
    };
    if list.len() > MAX_KEYS {
        return Err(format!("it has {} keys, and at most {MAX_KEYS} can be used", list.len()));
    }
    let (mut keys, mut passed_over, mut sealing) = (Vec::new(), Vec::new(), 0);
    for (index, key) in list.iter().enumerate() {
        let id = key.get("kid").and_then(Value::as_str).filter(|id| id.len() <= MAX_ID_BYTES);
        let name = id.map_or_else(|| format!("key {}", index + 1), |id| format!("key `{}`", id.escape_debug()));
        match one(key).map_err(|why| format!("{name}: {why}"))? {
            Read::Key(key) => keys.push(key),
            Read::Unknown(why) => passed_over.push(format!("{name} {why}")),
            Read::Sealing => sealing += 1,
        }
    }
    match (keys.is_empty(), passed_over.first()) {
        (false, _) => Ok((keys, passed_over)),
        (true, Some(why)) => Err(format!("it has no key that can be used: {why}")),
        (true, None) if sealing > 0 => Err("it has no key for signatures".to_owned()),
        (true, None) => Err("it has no key".to_owned()),
    }
}

/// What a member of a key set is.
enum Read {
    Key(Key),
    /// It may make signatures, but of a kind that is not known here.
    Unknown(String),
    /// It is for encryption, or for making signatures alone.
    Sealing,
}

fn one(key: &Value) -> Result<Read, String> {
    if !key.is_object() {
        return Err("not an object".to_owned());
    }
    if is_private(key) {
        return Err(PRIVATE.to_owned());
    }
    let kind = text(key, "kty")?.ok_or("it has no `kty`")?;
    let id = text(key, "kid")?;
    if id.is_some_and(|id| id.len() > MAX_ID_BYTES) {
        return Err(format!("its `kid` is longer than {MAX_ID_BYTES} bytes"));
    }
    let algorithm = text(key, "alg")?;
    let is_for_signatures = text(key, "use")?.is_none_or(|purpose| purpose == "sig");
    if !is_for_signatures || !may_verify(key)? || algorithm.is_some_and(is_for_encryption) {
        return Ok(Read::Sealing);
    }
    let bytes = |member: &str| -> Result<Vec<u8>, String> {
        let text = text(key, member)?.ok_or_else(|| format!("it has no `{member}`"))?;
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| format!("its `{member}` is not base64url"))
    };
    let point = |curve: Curve| {
        let length = curve.coordinate_bytes();
        let (x, y) = (bytes("x")?, bytes("y")?);
        if x.len() != length || y.len() != length {
            return Err(format!("its `x` and `y` are not of {length} bytes each, as those of {} are", curve.name()));
        }
        Material::point(curve, &[&[4], &*x, &*y].concat())
    };
    let material = match (kind, text(key, "crv")?) {
        ("oct", _) => Material::secret(&bytes("k")?)?,
        ("RSA", _) => Material::rsa(&bytes("n")?, &bytes("e")?)?,
        ("EC", Some("P-256")) => point(Curve::P256)?,
        ("EC", Some("P-384")) => point(Curve::P384)?,
        ("OKP", Some("Ed25519")) => Material::ed25519(&bytes("x")?)?,
        // For agreements, which are no signatures.
        ("OKP", Some("X25519" | "X448")) => return Ok(Read::Sealing),
        ("EC" | "OKP", None) => return Err("it has no `crv`".to_owned()),
        ("EC" | "OKP", Some(curve)) => return Ok(Read::Unknown(format!("is of the curve {}", shown(curve)))),
        (kind, _) => return Ok(Read::Unknown(format!("is of the kind {}", shown(kind)))),
    };
    let Some(name) = algorithm else { return Ok(Read::Key(Key::new(id, None, material))) };
    match Algorithm::named(name) {
        Some(algorithm) if material.suits(algorithm) => Ok(Read::Key(Key::new(id, Some(algorithm), material))),
        Some(Algorithm::Hs384 | Algorithm::Hs512) if material.is_secret() => {
            Err(format!("its secret is shorter than the hash of {name}, which it is for"))
        }
        Some(_) => Err(format!("it is for {name} by its `alg`, and {material} by its `kty`")),
        None => Ok(Read::Unknown(format!("is for the algorithm {}", shown(name)))),
    }
}

fn is_private(key: &Value) -> bool {
    PRIVATE_MEMBERS.iter().any(|member| key.get(member).is_some())
}

/// A member that is a text where it is there.
fn text<'k>(key: &'k Value, member: &str) -> Result<Option<&'k str>, String> {
    match key.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("its `{member}` is not a string")),
    }
}

/// Whether `key_ops` allow verifying, or there are none.
fn may_verify(key: &Value) -> Result<bool, String> {
    let Some(operations) = key.get("key_ops") else { return Ok(true) };
    let list = operations.as_array().filter(|list| list.iter().all(Value::is_string));
    let list = list.ok_or("its `key_ops` is not a list of strings")?;
    Ok(list.iter().any(|operation| operation == "verify"))
}

/// Whether an algorithm is one of RFC 7518, 4 and 5, by which nothing is signed.
fn is_for_encryption(algorithm: &str) -> bool {
    algorithm == "dir"
        || ["RSA1_5", "RSA-OAEP", "ECDH-ES", "PBES2-", "A128", "A192", "A256"]
            .iter()
            .any(|it| algorithm.starts_with(it))
}

fn shown(word: &str) -> String {
    let word: String = word.chars().take(40).collect();
    format!("`{}`, which is not known here", word.escape_debug())
}
