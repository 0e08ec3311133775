//! Tokens that keys verify: every algorithm, every reason to refuse one (K10, K13).

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaEncoding, RsaKeyPair};
use tidegate_core::{Span, Timestamp};
use tidegate_policy::{Asked, From, Keys, KeysDraft, SignatureAlgorithm, TokenFault};

use super::sketch::{Api, NOW, Request, Sketch};
use super::tokens::{encode, signed};
use crate::golden::data;

fn file(name: &str) -> String {
    let path = data().join("keys").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn jwks() -> Keys {
    Keys::jwks(&file("keys.json")).expect("a key set")
}

fn pem(name: &str) -> Keys {
    Keys::pem(&file(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// An API whose users are named by tokens that the keys verify; the app `known` has a secret.
fn api(keys: KeysDraft) -> Api {
    let mut sketch = Sketch::new()
        .attribute("user", &["jwt:sub"])
        .attribute("app", &["query:app"])
        .jwt(&["bearer"], false)
        .secret("app", "known", "hush");
    sketch.intake.jwt.as_mut().expect("a token is read").keys = Some(keys);
    sketch.build()
}

fn by(keys: Keys) -> Api {
    api(KeysDraft { keys, ..KeysDraft::default() })
}

fn user_at(api: &Api, token: &str, now: Timestamp) -> Option<String> {
    let request = Request::get("/").header("authorization", &format!("Bearer {token}"));
    let facts = api.facts_at(&request, now).unwrap_or_else(|problem| panic!("{problem}"));
    facts.value(api.policy.attribute("user").expect("an attribute")).map(str::to_owned)
}

fn user(api: &Api, token: &str) -> Option<String> {
    user_at(api, token, NOW)
}

fn private(name: &str) -> Vec<u8> {
    let text = file(name);
    STANDARD.decode(text.lines().filter(|line| !line.starts_with('-')).collect::<String>()).expect("a PEM")
}

/// A token with any header and payload, signed as `algorithm` says.
fn made(algorithm: &str, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    let random = SystemRandom::new();
    let rsa = |by: &'static dyn RsaEncoding| {
        let key = RsaKeyPair::from_pkcs8(&private("rsa.pem")).expect("a key");
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(by, &random, signed.as_bytes(), &mut signature).expect("a signature");
        signature
    };
    let ecdsa = |name, by| {
        let key = EcdsaKeyPair::from_pkcs8(by, &private(name), &random).expect("a key");
        key.sign(&random, signed.as_bytes()).expect("a signature").as_ref().to_vec()
    };
    let signature = match algorithm {
        "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
        "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_SHA256),
        "ES256" => ecdsa("p256.pem", &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        "ES384" => ecdsa("p384.pem", &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        "EdDSA" => {
            let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private("ed25519.pem")).expect("a key");
            key.sign(signed.as_bytes()).as_ref().to_vec()
        }
        other => panic!("{other}"),
    };
    format!("{signed}.{}", encode(signature))
}

/// The tokens of `tokens.txt`, each with its algorithm.
fn tokens() -> Vec<(String, String)> {
    let text = file("tokens.txt");
    let pairs = text.lines().map(|line| line.split_once(' ').expect("ALGORITHM TOKEN"));
    pairs.map(|(algorithm, token)| (algorithm.to_owned(), token.to_owned())).collect()
}

/// Why the claims of a token do not count; `None` if they do.
fn fault(api: &Api, token: &str) -> Option<TokenFault> {
    let headers = Request::get("/").header("authorization", &format!("Bearer {token}")).headers;
    let route = api.intake.route(&http::Method::GET, "/").expect("a route");
    let asked = Asked { peer: None, host: None, headers: &headers, body: None };
    let understood = api.intake.explain(&api.policy, &route, &asked, NOW).expect("a request");
    understood.token.expect("a token").err()
}

const ALICE: &str = r#"{"sub":"alice"}"#;

#[test]
fn a_token_of_every_algorithm_verifies() {
    let tokens = tokens();
    let names: Vec<&str> = tokens.iter().map(|(name, _)| name.as_str()).collect();
    // The last is the one before it under another name.
    assert_eq!(names, SignatureAlgorithm::NAMES[..12]);
    let api = by(jwks());
    for (name, token) in &tokens {
        assert_eq!(user(&api, token).as_deref(), Some("alice"), "{name}");
    }
    for (name, file) in [
        ("RS256", "public.pem"),
        ("PS512", "public.pem"),
        ("RS384", "rsa.pkcs1.pem"),
        ("ES256", "p256.pub.pem"),
        ("ES384", "p384.pub.pem"),
        ("EdDSA", "ed25519.pub.pem"),
    ] {
        let (_, token) = tokens.iter().find(|(known, _)| known == name).unwrap();
        assert_eq!(user(&by(pem(file)), token).as_deref(), Some("alice"), "{name} by {file}");
    }
    let by_own_name = made("EdDSA", r#"{"alg":"Ed25519"}"#, ALICE);
    assert_eq!(user(&by(pem("ed25519.pub.pem")), &by_own_name).as_deref(), Some("alice"));
    let both = pem("p256.pub.pem").and(pem("rsa-other.pub.pem")).unwrap().and(pem("public.pem")).unwrap();
    assert_eq!(user(&by(both), &made("RS256", r#"{"alg":"RS256"}"#, ALICE)).as_deref(), Some("alice"));
}

/// What one algorithm signed is of no other, whatever its header says, and whoever's key it names.
#[test]
fn no_token_verifies_as_another_algorithm_or_by_another_key() {
    let api = by(jwks());
    for (name, token) in tokens() {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (_, payload) = signed.split_once('.').unwrap();
        for other in SignatureAlgorithm::NAMES.into_iter().filter(|other| *other != name) {
            let swapped = format!("{}.{payload}.{signature}", encode(format!(r#"{{"alg":"{other}"}}"#)));
            assert_eq!(user(&api, &swapped), None, "{name} as {other}");
            let only = SignatureAlgorithm::named(other).unwrap();
            let others = self::api(KeysDraft { keys: jwks(), algorithms: vec![only], ..KeysDraft::default() });
            assert_eq!(user(&others, &token), None, "{name} where {other} is allowed");
        }
        assert_eq!(user(&by(pem("rsa-other.pub.pem")), &token), None, "{name} by another key");
    }
    for (algorithm, kid) in [("RS256", "p256"), ("ES256", "rsa"), ("EdDSA", "secret"), ("RS256", "sealing")] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#);
        assert_eq!(user(&api, &made(algorithm, &header, ALICE)), None, "{header}");
    }
}

/// The classic confusion: a public key, which everybody has, as the secret of an HMAC.
#[test]
fn a_public_key_is_never_a_secret() {
    let apis = [by(pem("public.pem")), by(jwks()), by(pem("ed25519.pub.pem"))];
    for name in ["public.pem", "rsa.pkcs1.pem", "ed25519.pub.pem", "keys.json"] {
        for secret in [file(name), file(name).trim_end().to_owned()] {
            for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"rsa"}"#] {
                let forged = signed(header, ALICE, &secret);
                apis.iter().for_each(|api| assert_eq!(user(api, &forged), None, "{name}: {header}"));
            }
        }
    }
}

#[test]
fn a_token_is_refused_for_every_reason() {
    use TokenFault::{Algorithm, Critical, Malformed, NoClaims, OtherKind, Signature, UnknownKey};
    let api = by(jwks());
    let good = made("RS256", r#"{"alg":"RS256","kid":"rsa"}"#, ALICE);
    assert_eq!((user(&api, &good).as_deref(), fault(&api, &good)), (Some("alice"), None));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    for (why, what, token) in [
        (Algorithm, "none", format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(ALICE))),
        (Algorithm, "none, signed", made("RS256", r#"{"alg":"none","kid":"rsa"}"#, ALICE)),
        (Malformed, "without alg", made("RS256", r#"{"kid":"rsa"}"#, ALICE)),
        (Malformed, "alg a list", made("RS256", r#"{"alg":["RS256"]}"#, ALICE)),
        (Malformed, "alg twice", made("RS256", r#"{"alg":"none","alg":"RS256"}"#, ALICE)),
        (Algorithm, "alg in small letters", made("RS256", r#"{"alg":"rs256"}"#, ALICE)),
        (Algorithm, "ES512", made("ES256", r#"{"alg":"ES512"}"#, ALICE)),
        (UnknownKey, "an unknown key", made("RS256", r#"{"alg":"RS256","kid":"rsb"}"#, ALICE)),
        (OtherKind, "a key of another kind", made("RS256", r#"{"alg":"RS256","kid":"p256"}"#, ALICE)),
        (OtherKind, "another algorithm than the key's", made("EdDSA", r#"{"alg":"Ed25519","kid":"ed25519"}"#, ALICE)),
        (UnknownKey, "a key for encryption", made("RS256", r#"{"alg":"RS256","kid":"sealing"}"#, ALICE)),
        (Malformed, "a key by number", made("RS256", r#"{"alg":"RS256","kid":1}"#, ALICE)),
        (Malformed, "two keys", made("RS256", r#"{"alg":"RS256","kid":"x","kid":"rsa"}"#, ALICE)),
        (Critical, "critical", made("RS256", r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, ALICE)),
        (Critical, "critical, empty", made("RS256", r#"{"alg":"RS256","crit":[]}"#, ALICE)),
        (NoClaims, "no JSON", made("RS256", r#"{"alg":"RS256"}"#, "alice")),
        (NoClaims, "a claim twice", made("RS256", r#"{"alg":"RS256"}"#, r#"{"sub":"bob","sub":"alice"}"#)),
        (Signature, "without signature", format!("{signed}.")),
        (Signature, "truncated by a letter", format!("{signed}.{}", &signature[..signature.len() - 1])),
        (Signature, "truncated by half", format!("{signed}.{}", &signature[..signature.len() / 2])),
        (Malformed, "two parts", signed.to_owned()),
        (Malformed, "one part", "alice".to_owned()),
        (Signature, "of another payload", {
            let (header, _) = signed.split_once('.').unwrap();
            format!("{header}.{}.{signature}", encode(r#"{"sub":"bob"}"#))
        }),
    ] {
        assert_eq!((user(&api, &token), fault(&api, &token)), (None, Some(why)), "{what}");
    }
}

/// A token may say where its key is, or bring it along (RFC 7515, 4.1.2 to 4.1.6): nothing of that is listened to.
#[test]
fn a_key_that_a_token_brings_along_is_no_key() {
    let other = r#""jwk":{"kty":"OKP","crv":"Ed25519","x":"Q2vsv-bT1nT0DSxtHgLW-bDWfZ1SvimW4Sl7DfWRgBY"}"#;
    let token =
        made("EdDSA", &format!(r#"{{"alg":"EdDSA",{other},"jku":"https://id.example/keys","x5c":["AA"]}}"#), ALICE);
    assert_eq!(user(&by(pem("public.pem")), &token), None);
    assert_eq!(user(&by(jwks()), &token).as_deref(), Some("alice"), "by our own key it may");
}

/// The examples of the standards, letter for letter: RFC 7515 A.1, A.2 and A.3, and RFC 8037 A.4, whose payload is no JSON.
#[test]
fn the_examples_of_the_standards_verify() {
    let text = file("rfc.txt");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 8);
    for pair in lines.chunks_exact(2) {
        let [key, token] = pair else { panic!("a key and a token") };
        let keys = Keys::jwks(&format!(r#"{{"keys":[{key}]}}"#)).unwrap();
        let mut sketch = Sketch::new().attribute("user", &["jwt:iss"]).jwt(&["bearer"], false);
        sketch.intake.jwt.as_mut().unwrap().keys = Some(KeysDraft { keys, ..KeysDraft::default() });
        let api = sketch.build();
        let (head, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        assert_eq!(fault(&api, &format!("{head}.{other}{}", &signature[1..])), Some(TokenFault::Signature), "{key}");
        if head.starts_with("eyJhbGciOiJFZERTQSJ9") {
            assert_eq!(fault(&api, token), Some(TokenFault::NoClaims), "{key}");
            assert_eq!(api_keys(&api), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "RFC 8037 A.3");
            continue;
        }
        // All three expire at 1300819380.
        assert_eq!(user_at(&api, token, Timestamp::from_secs(1_300_819_379)).as_deref(), Some("joe"), "{key}");
        assert_eq!(fault(&api, token), Some(TokenFault::Expired), "{key}");
    }
}

/// The thumbprint of the first key.
fn api_keys(api: &Api) -> String {
    api.intake.token_keys().expect("keys").keys.iter().next().expect("a key").thumbprint()
}

/// A token that names no key is tried with few, so that nobody makes us verify at will.
#[test]
fn a_token_is_tried_with_four_keys_at_most() {
    let set = |ids: &[&str]| {
        let keys = ids.iter().enumerate().map(|(index, id)| {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[u8::try_from(index).unwrap(); 32]).unwrap();
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"{id}}}"#, encode(signature::KeyPair::public_key(&pair)))
        });
        Keys::jwks(&format!(r#"{{"keys":[{}]}}"#, keys.collect::<Vec<_>>().join(",")))
    };
    let token = |index: u8, kid: &str| {
        let signed = format!("{}.{}", encode(format!(r#"{{"alg":"EdDSA"{kid}}}"#)), encode(ALICE));
        let pair = Ed25519KeyPair::from_seed_unchecked(&[index; 32]).unwrap();
        format!("{signed}.{}", encode(pair.sign(signed.as_bytes())))
    };
    let named = [r#","kid":"a""#, r#","kid":"b""#, r#","kid":"c""#, r#","kid":"d""#, r#","kid":"e""#];
    let api = by(set(&named).unwrap());
    let counts = |index: u8, kid: &str| user(&api, &token(index, kid)).is_some();
    assert_eq!([0, 1, 2, 3, 4].map(|index| counts(index, "")), [true, true, true, true, false]);
    assert!(counts(4, named[4]) && !counts(4, named[0]) && !counts(4, r#","kid":"f""#));
    let why = set(&[""; 5]).unwrap_err();
    assert!(why.contains("5 keys for EdDSA without a `kid`"), "{why}");
    // Those without a name are tried first, wherever they stand, and with a token that names one that there is not.
    let api = by(set(&[named[0], named[1], named[2], named[3], ""]).unwrap());
    let counts = |index: u8, kid: &str| user(&api, &token(index, kid)).is_some();
    assert!(counts(4, "") && counts(4, r#","kid":"f""#) && !counts(4, named[0]) && !counts(3, ""));
}

#[test]
fn times_hold_give_or_take_the_leeway() {
    let strict = by(jwks());
    let lenient = api(KeysDraft { keys: jwks(), leeway: Span::from_secs(30), ..KeysDraft::default() });
    let token = |claims: &str| made("EdDSA", r#"{"alg":"EdDSA"}"#, &format!(r#"{{"sub":"alice",{claims}}}"#));
    let (expiring, starting, issued) = (token(r#""exp":1000"#), token(r#""nbf":1000"#), token(r#""iat":1000"#));
    for (now, expires, expires_leniently, starts, starts_leniently) in [
        (969, true, true, false, false),
        (970, true, true, false, true),
        (999, true, true, false, true),
        (1000, false, true, true, true),
        (1029, false, true, true, true),
        (1030, false, false, true, true),
    ] {
        let at = |api, token: &str| user_at(api, token, Timestamp::from_secs(now)).is_some();
        assert_eq!((at(&strict, &expiring), at(&lenient, &expiring)), (expires, expires_leniently), "exp, at {now}");
        assert_eq!((at(&strict, &starting), at(&lenient, &starting)), (starts, starts_leniently), "nbf, at {now}");
        assert_eq!((at(&strict, &issued), at(&lenient, &issued)), (starts, starts_leniently), "iat, at {now}");
    }
    for odd in [r#""exp":"9999999999""#, r#""nbf":"0""#, r#""iat":"0""#, r#""exp":null"#, r#""exp":-1"#] {
        assert_eq!(user(&lenient, &token(odd)), None, "{odd}");
    }
}

#[test]
fn issuer_and_audience_are_those_that_are_expected() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let issued = |issuers: &[&str], audiences: &[&str]| {
        let (issuers, audiences) = (names(issuers), names(audiences));
        api(KeysDraft { keys: jwks(), issuers, audiences, ..KeysDraft::default() })
    };
    let token =
        |claims: &str| made("ES256", r#"{"alg":"ES256","kid":"p256"}"#, &format!(r#"{{"sub":"alice"{claims}}}"#));
    let any = issued(&[], &[]);
    let by_us = issued(&["https://id.example", "https://old.example"], &[]);
    let for_us = issued(&[], &["chat", "calls"]);
    for (claims, is_by_us, is_for_us) in [
        ("", false, false),
        (r#","iss":"https://id.example""#, true, false),
        (r#","iss":"https://old.example","aud":"calls""#, true, true),
        (r#","iss":"https://id.example/","aud":"chat ""#, false, false),
        (r#","iss":["https://id.example"],"aud":["mail","chat"]"#, false, true),
        (r#","iss":true,"aud":["mail"]"#, false, false),
        (r#","aud":[]"#, false, false),
        (r#","aud":[["chat"],{"chat":"chat"},7]"#, false, false),
        (r#","aud":{"chat":"chat"}"#, false, false),
    ] {
        let token = token(claims);
        assert!(user(&any, &token).is_some(), "{claims}");
        assert_eq!(user(&by_us, &token).is_some(), is_by_us, "{claims}");
        assert_eq!(user(&for_us, &token).is_some(), is_for_us, "{claims}");
    }
    let twice = made("ES256", r#"{"alg":"ES256"}"#, r#"{"sub":"alice","aud":"mail","aud":"chat"}"#);
    assert_eq!(user(&for_us, &twice), None);
}

/// The secret of a record stands before the keys, and is not one of them.
#[test]
fn a_record_with_a_secret_is_verified_by_that_alone() {
    let api = by(jwks());
    let of = |app: &str, token: &str| {
        api.value(&Request::get(&format!("/?app={app}")).header("authorization", &format!("Bearer {token}")), "user")
    };
    let by_key = made("RS256", r#"{"alg":"RS256"}"#, ALICE);
    let by_secret = signed(r#"{"alg":"HS256"}"#, ALICE, "hush");
    assert_eq!((of("known", &by_secret).as_deref(), of("known", &by_key)), (Some("alice"), None));
    assert_eq!((of("other", &by_secret), of("other", &by_key).as_deref()), (None, Some("alice")));
}

#[test]
fn keys_and_an_upstream_that_verifies_are_not_put_together() {
    let mut sketch = Sketch::new().attribute("user", &["jwt:sub"]).jwt(&["bearer"], true);
    sketch.intake.jwt.as_mut().unwrap().keys = Some(KeysDraft { keys: jwks(), ..KeysDraft::default() });
    assert!(sketch.try_build().err().unwrap().to_string().contains("by keys or by the upstream"));
    assert_eq!(sketch.intake.jwt.unwrap().from, [From::Bearer]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// No bit of what is signed, or of the signature, can be another.
    #[test]
    fn a_mutated_token_never_verifies(which in 0..12usize, part in 0..3usize, at: prop::sample::Index, bit in 0..8u32) {
        let (name, token) = tokens().swap_remove(which);
        let mut parts: Vec<Vec<u8>> = token.split('.').map(decoded).collect();
        let at = at.index(parts[part].len());
        parts[part][at] ^= 1 << bit;
        let mutated = parts.iter().map(encode).collect::<Vec<_>>().join(".");
        prop_assert_eq!(user(&by(jwks()), &mutated), None, "{}: bit {} of byte {} of part {}", name, bit, at, part);
    }
}

fn decoded(part: &str) -> Vec<u8> {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64")
}
