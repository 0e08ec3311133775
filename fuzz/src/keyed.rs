//! Tokens that keys verify, and files of keys.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use serde_json::Value;
use tidegate_policy::{Asked, Keys};

use crate::api::{NOW, keyed, line};
use crate::tokens::{read, said};

/// Of `how`, the first byte: `3`, `4` and `5` sign the two lines by Ed25519, P-256 and the secret; `6` by a key that is not
/// in the set; `7` is a token as it is; `8` and `9` a file of keys. Whether it was one of these.
pub(crate) fn token(how: u8, rest: &[u8]) -> bool {
    let (header, payload) = line(rest);
    let head = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let sent = |signature: Vec<u8>| user(format!("{head}.{}", URL_SAFE_NO_PAD.encode(signature)).as_bytes());
    let (found, algorithms): (Option<String>, &[&str]) = match how {
        b'3' => (sent(ED25519.sign(head.as_bytes()).as_ref().to_vec()), &["EdDSA"]),
        b'4' => {
            let signature = P256.sign(&SystemRandom::new(), head.as_bytes()).expect("a signature");
            (sent(signature.as_ref().to_vec()), &["ES256"])
        }
        b'5' => {
            (sent(mac(hmac::HMAC_SHA256, &head)).or_else(|| sent(mac(hmac::HMAC_SHA512, &head))), &["HS256", "HS512"])
        }
        b'6' => {
            let other = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
            (sent(other.sign(head.as_bytes()).as_ref().to_vec()), &[])
        }
        // Only its bytes are looked at: nobody finds a signature by chance, so that one which counts was made by a key.
        b'7' => {
            user(rest);
            return true;
        }
        b'8' | b'9' => {
            file(how, rest);
            return true;
        }
        _ => return false,
    };
    if let Some(user) = found {
        counts_rightly(&user, algorithms, header, payload);
    }
    true
}

/// A file of keys is refused with a reason, or keeps within its bounds.
fn file(how: u8, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match if how == b'8' { Keys::jwks(text) } else { Keys::pem(text) } {
        Ok(keys) => {
            assert!((1..=32).contains(&keys.iter().len()));
            for key in &keys {
                assert!(key.algorithms().next().is_some(), "{key:?} is for nothing");
                assert_eq!(key.thumbprint().len(), 43);
                let is_hmac = key.algorithms().all(|algorithm| algorithm.name().starts_with("HS"));
                assert_eq!(key.is_secret(), is_hmac, "{key:?}");
            }
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// What a token says is only believed if its header names the algorithm of its key, and the rest is as it should be.
fn counts_rightly(user: &str, algorithms: &[&str], header: &[u8], payload: &[u8]) {
    let Some(header) = read(header) else { return };
    let algorithm = header["alg"].as_str().expect("an algorithm");
    assert!(algorithms.contains(&algorithm), "{algorithm} counts, signed by {algorithms:?}");
    assert!(header.get("crit").is_none(), "what must be understood is not");
    if let Some(id) = header.get("kid") {
        let ids: &[&str] = if algorithm == "EdDSA" { &["ed25519"] } else { &["p256", "secret"] };
        assert!(id.as_str().is_some_and(|id| ids.contains(&id)), "{id} is not its key");
    }
    let Some(payload) = read(payload) else { return };
    assert_eq!(said(&payload), user, "another user than the token says");
    assert!(matches!(payload["iss"].as_str(), Some("https://id.example" | "https://old.example")), "of another issuer");
    let audience = &payload["aud"];
    let is_ours = |name: &Value| name == "chat";
    assert!(is_ours(audience) || audience.as_array().is_some_and(|names| names.iter().any(is_ours)), "for {audience}");
    let now = NOW.as_micros() as f64 / 1e6;
    for (claim, holds) in [
        ("exp", (|then, now| then > now - 31.0) as fn(f64, f64) -> bool),
        ("nbf", |then, now| then < now + 31.0),
        ("iat", |then, now| then < now + 31.0),
    ] {
        if let Some(then) = payload.get(claim) {
            assert!(then.as_f64().is_some_and(|then| holds(then, now)), "{claim} is {then}");
        }
    }
}

fn user(token: &[u8]) -> Option<String> {
    let api = keyed();
    let mut headers = HeaderMap::new();
    headers.append("authorization", HeaderValue::from_bytes(token).ok()?);
    let route = api.intake.route(&Method::GET, "/").expect("a route of every policy");
    let asked = Asked { host: None, headers: &headers, body: None, peer: None };
    let facts = api.intake.extract(&api.policy, &route, &asked, NOW).ok()?;
    facts.value(api.policy.attribute("user").expect("an attribute of the policy")).map(str::to_owned)
}

fn mac(by: hmac::Algorithm, head: &str) -> Vec<u8> {
    // The `k` of the secret in the set.
    const SECRET: &str = "AwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dzj6vH4_wYNFBsiKTA3PkVMU1phaG92fYSLkpmgp661vA";
    let secret = URL_SAFE_NO_PAD.decode(SECRET).expect("base64");
    hmac::sign(&hmac::Key::new(by, &secret), head.as_bytes()).as_ref().to_vec()
}

fn der(pem: &str) -> Vec<u8> {
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).expect("a PEM")
}

static ED25519: LazyLock<Ed25519KeyPair> = LazyLock::new(|| {
    let der = der(include_str!("../../crates/policy/tests/data/keys/ed25519.pem"));
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).expect("a key")
});

static P256: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let der = der(include_str!("../../crates/policy/tests/data/keys/p256.pem"));
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new()).expect("a key")
});
