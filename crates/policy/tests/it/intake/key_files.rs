//! Files of keys: what is taken from them, what is passed over, and why the rest is refused (K10, K13).

use std::fs;

use proptest::prelude::*;
use tidegate_policy::{Keys, SignatureAlgorithm};

use super::tokens::encode;
use crate::golden::data;

fn file(name: &str) -> String {
    let path = data().join("keys").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn set(keys: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// A set of one key with these members.
fn one(members: &str) -> String {
    set(&[format!("{{{members}}}")])
}

/// The members of the keys of RFC 7515, A.2 and A.3, and RFC 8037, A.2.
fn rsa() -> String {
    let text = file("rfc.txt");
    let line = text.lines().find(|line| line.contains("RSA")).expect("the key of A.2");
    line.trim_matches(['{', '}']).to_owned()
}

const EC: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;

const OKP: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

fn secret(bytes: usize) -> String {
    format!(r#""kty":"oct","k":"{}""#, encode(vec![0x5a; bytes]))
}

/// An RSA key of a modulus of so many bits, and an exponent.
fn rsa_of(bits: usize, exponent: &[u8]) -> String {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= modulus.len() * 8 - bits;
    format!(r#""kty":"RSA","n":"{}","e":"{}""#, encode(modulus), encode(exponent))
}

const E: &[u8] = &[1, 0, 1];

/// A key, and the algorithms that it is for.
#[test]
fn a_key_is_for_the_algorithms_of_its_kind_or_for_the_one_it_names() {
    const RSA: &str = "RS256 RS384 RS512 PS256 PS384 PS512";
    let rsa = rsa();
    for (members, expected) in [
        (rsa.clone(), RSA),
        (format!(r#"{rsa},"use":"sig","key_ops":["verify"]"#), RSA),
        (format!(r#"{rsa},"alg":"PS384""#), "PS384"),
        (rsa_of(2048, E), RSA),
        (rsa_of(8192, &[3]), RSA),
        (rsa_of(2048, &[1, 0xff, 0xff, 0xff, 0xff]), RSA),
        (EC.to_owned(), "ES256"),
        (format!(r#"{EC},"alg":"ES256","x5t":"AA","ext":true"#), "ES256"),
        (OKP.to_owned(), "EdDSA Ed25519"),
        (format!(r#"{OKP},"alg":"Ed25519""#), "Ed25519"),
        (secret(32), "HS256"),
        (secret(48), "HS256 HS384"),
        (secret(64), "HS256 HS384 HS512"),
        (format!(r#"{},"alg":"HS256","key_ops":["sign","verify"]"#, secret(64)), "HS256"),
    ] {
        let keys = Keys::jwks(&one(&members)).unwrap_or_else(|why| panic!("{members}: {why}"));
        let names: Vec<&str> = keys.iter().flat_map(|key| key.algorithms()).map(SignatureAlgorithm::name).collect();
        assert_eq!(names.join(" "), expected, "{members}");
        assert!(keys.passed_over().is_empty(), "{members}");
    }
}

/// What is not for signatures is passed over without a word; what is, but of an unknown kind, with one.
#[test]
fn keys_of_no_use_are_passed_over() {
    let rsa = rsa();
    let unknown_curve = r#""kty":"EC","crv":"secp256k1","kid":"k1","x":"AA","y":"AA""#;
    for (members, said) in [
        (format!(r#"{rsa},"use":"enc""#), None),
        (format!(r#"{rsa},"key_ops":["encrypt","wrapKey"]"#), None),
        (format!(r#"{rsa},"key_ops":["sign"]"#), None),
        (format!(r#"{rsa},"key_ops":[]"#), None),
        (format!(r#"{rsa},"alg":"RSA-OAEP-256""#), None),
        (format!(r#"{EC},"alg":"ECDH-ES+A128KW""#), None),
        (r#""kty":"OKP","crv":"X25519","x":"AA""#.to_owned(), None),
        // What is passed over may be as weak as it likes.
        (r#""kty":"RSA","use":"enc","n":"AQAB","e":"AQAB""#.to_owned(), None),
        (unknown_curve.to_owned(), Some("key `k1` is of the curve `secp256k1`, which is not known here")),
        (
            r#""kty":"OKP","crv":"Ed448","x":"AA""#.to_owned(),
            Some("key 2 is of the curve `Ed448`, which is not known here"),
        ),
        (r#""kty":"AKP","alg":"ML-DSA-44""#.to_owned(), Some("key 2 is of the kind `AKP`, which is not known here")),
        (format!(r#"{rsa},"alg":"none""#), Some("key 2 is for the algorithm `none`, which is not known here")),
        (format!(r#"{EC},"alg":"es256""#), Some("key 2 is for the algorithm `es256`, which is not known here")),
    ] {
        let keys = Keys::jwks(&set(&[format!("{{{OKP}}}"), format!("{{{members}}}")])).unwrap();
        assert_eq!(keys.iter().len(), 1, "{members}");
        assert_eq!(
            keys.passed_over().iter().map(String::as_str).collect::<Vec<_>>(),
            said.into_iter().collect::<Vec<_>>()
        );
        let alone = Keys::jwks(&one(&members)).expect_err("a set of nothing that verifies");
        let expected =
            if said.is_some() { "it has no key that can be used: key " } else { "it has no key for signatures" };
        assert!(alone.starts_with(expected), "{members}: {alone}");
    }
}

#[test]
fn key_sets_that_cannot_be_used_are_refused() {
    let rsa = rsa();
    let private =
        file("rfc.txt").lines().find(|line| line.contains("RSA")).unwrap().replace("\"e\"", "\"d\":\"AA\",\"e\"");
    let of_pem = format!(r#""kty":"oct","k":"{}""#, encode(file("public.pem")));
    let of_jwk = format!(r#""kty":"oct","k":"{}""#, encode(format!("{{{OKP}}}")));
    // Off the curve by one: the last letter of y holds four of its bits.
    let off = EC.replace("WI5a0", "WI5a4");
    let not_square = OKP.replace("\"11qY", "\"12qY");
    let many = set(&vec![format!("{{{EC}}}"); 33]);
    let even = {
        let mut modulus = vec![0xff; 256];
        modulus[255] = 0xfe;
        format!(r#""kty":"RSA","n":"{}","e":"AQAB""#, encode(modulus))
    };
    let twins =
        |kid: &str, first: &str, second: &str| set(&[format!("{{{first},{kid}}}"), format!("{{{second},{kid}}}")]);
    for (text, why) in [
        (String::new(), "no JSON: "),
        ("[]".to_owned(), "no key set, which is an object with a list called `keys`"),
        (r#"{"keys":{}}"#.to_owned(), "no key set, which is"),
        (format!("{{{EC}}}"), "one key, no set"),
        (r#"{"keys":[]}"#.to_owned(), "no key"),
        (r#"{"keys":["a"]}"#.to_owned(), "key 1: not an object"),
        (file("public.pem"), "PEM, no key set: name it by `key`"),
        (file("rsa.pem"), "a private key, which belongs to the issuer alone"),
        (private, "a private key"),
        (one(&format!(r#"{rsa},"d":"AA""#)), "key 1: it is a private key, which belongs to the issuer alone"),
        (one(&format!(r#"{rsa},"use":"enc","p":"AA""#)), "key 1: it is a private key"),
        (one(&format!(r#"{EC},"kid":"one","d":null"#)), "key `one`: it is a private key"),
        (one(&format!(r#"{OKP},"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A""#)), "key 1: it is a private key"),
        (one(r#""kty":"AKP","priv":"AA""#), "key 1: it is a private key"),
        (one(r#""crv":"P-256""#), "key 1: it has no `kty`"),
        (one(r#""kty":"EC""#), "it has no `crv`"),
        (one(r#""kty":7"#), "its `kty` is not a string"),
        (one(&format!(r#"{EC},"kid":7"#)), "its `kid` is not a string"),
        (one(&format!(r#"{EC},"use":["sig"]"#)), "its `use` is not a string"),
        (one(&format!(r#"{EC},"alg":false"#)), "its `alg` is not a string"),
        (one(&format!(r#"{EC},"key_ops":"verify""#)), "its `key_ops` is not a list of strings"),
        (one(&format!(r#"{EC},"kid":"{}""#, "k".repeat(257))), "its `kid` is longer than 256 bytes"),
        (one(&secret(31)), "its secret has 31 bytes, and at least 32 are needed"),
        (one(&format!(r#"{},"alg":"HS512""#, secret(63))), "shorter than the hash of HS512"),
        (one(&of_pem), "its secret is the text of a key, which is no secret"),
        (one(&of_jwk), "its secret is the text of a key"),
        (one(r#""kty":"oct","k":"*""#), "its `k` is not base64url"),
        (one(r#""kty":"RSA","e":"AQAB""#), "it has no `n`"),
        (one(&rsa_of(2047, E)), "its modulus has 2047 bits, and 2048 to 8192 can be used"),
        (one(&rsa_of(8193, E)), "its modulus has 8193 bits"),
        (one(&rsa_of(1024, E)), "its modulus has 1024 bits"),
        (one(&even), "its modulus is even"),
        (one(&rsa_of(2048, &[1])), "its exponent is not an odd number from 3 on"),
        (one(&rsa_of(2048, &[4])), "its exponent is not an odd number"),
        (one(&rsa_of(2048, &[])), "its exponent is not an odd number"),
        (one(&rsa_of(2048, &[2, 0, 0, 0, 1])), "of at most 33 bits"),
        (one(&off), "its point is not on the curve P-256"),
        (one(r#""kty":"EC","crv":"P-256","x":"AA","y":"AA""#), "its `x` and `y` are not of 32 bytes each"),
        (one(&EC.replace("P-256", "P-384")), "not of 48 bytes each"),
        (one(&not_square), "it is no Ed25519 key: no point of the curve has it"),
        (one(&format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, encode([0; 32]))), "a point of small order"),
        (one(r#""kty":"OKP","crv":"Ed25519","x":"AA""#), "it has 1 bytes, and an Ed25519 key has 32"),
        (one(&format!(r#"{rsa},"alg":"ES256""#)), "it is for ES256 by its `alg`, and RSA of 2048 bits by its `kty`"),
        (one(&format!(r#"{rsa},"alg":"HS256""#)), "it is for HS256 by its `alg`, and RSA of 2048 bits by its `kty`"),
        (one(&format!(r#"{EC},"alg":"ES384""#)), "it is for ES384 by its `alg`, and P-256 by its `kty`"),
        (twins(r#""kid":"a""#, EC, EC), "two keys for one algorithm are called `a`"),
        (twins(r#""kid":"a""#, &rsa, &format!(r#"{rsa},"alg":"PS256""#)), "two keys for one algorithm are called `a`"),
        (many, "33 keys, and at most 32 can be used"),
        (" ".repeat((512 << 10) + 1), "more than 524288 bytes"),
    ] {
        let found = Keys::jwks(&text).err().unwrap_or_else(|| panic!("{text} is taken"));
        assert!(found.contains(why), "{text}: {found}");
    }
    // One name for keys of two kinds, or for signatures and encryption, is no contradiction (RFC 7517, 4.5).
    assert_eq!(Keys::jwks(&twins(r#""kid":"a""#, EC, &rsa)).unwrap().iter().len(), 2);
    assert_eq!(Keys::jwks(&twins(r#""kid":"a""#, EC, &format!(r#"{EC},"use":"enc""#))).unwrap().iter().len(), 1);
    let full = |id: &str| {
        Keys::jwks(&set(&(0..32).map(|n| format!(r#"{{{EC},"kid":"{id}{n}"}}"#)).collect::<Vec<_>>())).unwrap()
    };
    assert!(full("a").and(full("b")).unwrap_err().contains("more than 32 keys"));
    assert!(full("a").and(full("a")).is_err());
}

#[test]
fn pems_that_cannot_be_used_are_refused() {
    let public = file("public.pem");
    let block = |label: &str, der: &[u8]| {
        let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    let der = |name: &str| {
        let body: String = file(name).lines().filter(|line| !line.starts_with('-')).collect();
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap()
    };
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut der = der(name);
        change(&mut der);
        block("PUBLIC KEY", &der)
    };
    let last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    for (text, why) in [
        (String::new(), "no `-----BEGIN PUBLIC KEY-----`"),
        (file("keys.json"), "JSON, no PEM: name a JSON Web Key Set by `jwks`"),
        (file("rsa.pem"), "a private key, which belongs to the issuer alone"),
        (public.replace("PUBLIC", "EC PRIVATE"), "a private key"),
        (public.replace("PUBLIC", "ENCRYPTED PRIVATE"), "a private key"),
        (format!("{public}{}", file("p256.pem")), "a private key"),
        (public.replace("-----END", "-----ENDE"), "`-----END PUBLIC KEY-----` is missing"),
        ("-----BEGIN PUBLIC KEY".to_owned(), "a line `-----BEGIN` does not end"),
        (public.replace("MIIB", "*"), "its PUBLIC KEY is not base64"),
        (public.replace("PUBLIC KEY", "CERTIFICATE"), "a certificate: `openssl x509 -pubkey -noout`"),
        (public.replace("PUBLIC KEY", "SSH2 PUBLIC KEY"), "a block `SSH2 PUBLIC KEY`"),
        (block("PUBLIC KEY", &[]), "public key 1 is none of RSA, P-256, P-384 or Ed25519"),
        (changed("public.pem", &|der| der.push(0)), "is none of RSA"),
        (changed("public.pem", &|der| der.truncate(der.len() - 1)), "is none of RSA"),
        (changed("public.pem", &|der| der[14] ^= 1), "is none of RSA"),
        (changed("ed25519.pub.pem", &|der| der[8] = 0x71), "is none of RSA"),
        (changed("ed25519.pub.pem", &|der| der[12] ^= 6), "public key 1 cannot be used: it is no Ed25519 key"),
        (changed("p256.pub.pem", &last), "public key 1 cannot be used: its point is not on the curve P-256"),
        (changed("p384.pub.pem", &last), "its point is not on the curve P-384"),
        (changed("p256.pub.pem", &|der| der[26] = 2), "its point of P-256 is compressed"),
        (format!("{public}{}", changed("p256.pub.pem", &last)), "public key 2 cannot be used"),
        (file("short.pem"), "public key 1 cannot be used: its modulus has 1024 bits"),
        (file("ed25519.pub.pem").repeat(5), "5 keys for EdDSA without a `kid`, and a token is tried with at most 4"),
        (file("ed25519.pub.pem").repeat(33), "more than 32 keys"),
    ] {
        let found = Keys::pem(&text).err().unwrap_or_else(|| panic!("{text} is taken"));
        assert!(found.contains(why), "{text}: {found}");
    }
    assert_eq!(Keys::pem(&format!("# ours\r\n{}", public.replace('\n', "\r\n"))), Keys::pem(&public));
    assert_eq!(Keys::pem(&file("rsa.pkcs1.pem")), Keys::pem(&public), "one key in two forms");
}

#[test]
fn no_key_is_shown() {
    let keys = Keys::jwks(&file("keys.json")).unwrap();
    let shown = format!("{keys:?}");
    assert!(shown.contains("`secret`") && !shown.contains("AwoR"), "{shown}");
    let unnamed = Keys::jwks(&one(&secret(32))).unwrap();
    assert!(format!("{unnamed:?}").contains("a secret"), "{unnamed:?}");
    let kinds: Vec<String> = keys.iter().map(|key| format!("{} {}", key.name(), key.kind())).collect();
    assert_eq!(
        kinds,
        ["`rsa` RSA of 2048 bits", "`p256` P-256", "`p384` P-384", "`ed25519` Ed25519", "`secret` secret"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a file of keys holds, nothing panics, and what is taken keeps within its bounds.
    #[test]
    fn any_file_of_keys_is_answered(cut: prop::sample::Index, at: prop::sample::Index, byte in any::<u8>(), which in 0..6usize) {
        let names = ["keys.json", "public.pem", "p384.pub.pem", "ed25519.pub.pem", "rsa.pkcs1.pem", "p256.pub.pem"];
        let mut bytes = file(names[which]).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let text = text.get(..cut.index(text.len() * 2).min(text.len())).unwrap_or(&text);
        for keys in [Keys::jwks(text), Keys::pem(text)].into_iter().flatten() {
            prop_assert!((1..=32).contains(&keys.iter().len()));
            prop_assert!(keys.iter().all(|key| key.algorithms().next().is_some()));
        }
    }
}
