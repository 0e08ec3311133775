//! Claims of tokens: which count, and whose they are (K10, K11, K13).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384};
use tidegate_core::{Span, Timestamp};

use super::sketch::{Api, NOW, Request, Sketch, rows, source_of};

const SECRET: &str = "correct horse battery staple";

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token signed by HS256.
pub(crate) fn signed(header: &str, payload: &str, secret: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key will do");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", encode(mac.finalize().into_bytes()))
}

fn token(payload: &str, secret: &str) -> String {
    signed(r#"{"alg":"HS256","typ":"JWT"}"#, payload, secret)
}

/// Stream, in small: `known` has a secret, other apps have none.
fn api(upstream_verifies: bool) -> Api {
    Sketch::new()
        .attribute("user", &["jwt:user_id"])
        .sourced("platform", vec![source_of(&["jwt:server"], &[("true", "server")]), source_of(&["constant:web"], &[])])
        .attribute("app", &["query:api_key"])
        .jwt(&["header:Authorization", "query:authorization"], upstream_verifies)
        .secret("app", "known", SECRET)
        .build()
}

fn with(app: &str, token: &str) -> Request {
    Request::get(&format!("/?api_key={app}")).header("authorization", token)
}

/// The user and the platform that a token leads to.
fn who(api: &Api, request: &Request) -> (Option<String>, Option<String>) {
    (api.value(request, "user"), api.value(request, "platform"))
}

fn user(name: &str) -> (Option<String>, Option<String>) {
    (Some(name.to_owned()), Some("web".to_owned()))
}

fn nobody() -> (Option<String>, Option<String>) {
    (None, Some("web".to_owned()))
}

#[test]
fn a_token_that_verifies_counts() {
    let alice = token(r#"{"user_id":"alice"}"#, SECRET);
    let server = token(r#"{"server":true}"#, SECRET);
    for upstream_verifies in [false, true] {
        let api = api(upstream_verifies);
        for text in [alice.clone(), format!("Bearer {alice}"), format!("bearer  {alice}"), format!("JWT {alice}")] {
            assert_eq!(who(&api, &with("known", &text)), user("alice"));
        }
        assert_eq!(who(&api, &Request::get(&format!("/?api_key=known&authorization={alice}"))), user("alice"));
        assert_eq!(who(&api, &with("known", &server)), (None, Some("server".to_owned())));
    }
}

#[test]
fn a_token_that_does_not_verify_has_no_claims() {
    let good = token(r#"{"user_id":"alice"}"#, SECRET);
    let (start, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = start.split_once('.').unwrap();
    let server = encode(r#"{"server":true}"#);
    let forged = [
        ("of another key", token(r#"{"server":true}"#, "guess")),
        ("of the key with a newline", token(r#"{"server":true}"#, &format!("{SECRET}\n"))),
        ("of another payload", format!("{header}.{server}.{signature}")),
        ("without signature", format!("{start}.")),
        ("with half a signature", format!("{start}.{}", &signature[..20])),
        ("with another first letter of the signature", {
            let other = if signature.starts_with('A') { 'B' } else { 'A' };
            format!("{start}.{other}{}", &signature[1..])
        }),
        ("alg none, unsigned", format!("{}.{server}.", encode(r#"{"alg":"none"}"#))),
        ("alg none, signed", signed(r#"{"alg":"none"}"#, r#"{"server":true}"#, SECRET)),
        ("alg None", signed(r#"{"alg":"None"}"#, r#"{"server":true}"#, SECRET)),
        ("alg hs256", signed(r#"{"alg":"hs256"}"#, r#"{"server":true}"#, SECRET)),
        ("alg HS512", signed(r#"{"alg":"HS512"}"#, r#"{"server":true}"#, SECRET)),
        ("alg RS256, signed by HS256", signed(r#"{"alg":"RS256"}"#, r#"{"server":true}"#, SECRET)),
        ("alg a list", signed(r#"{"alg":["HS256"]}"#, r#"{"server":true}"#, SECRET)),
        ("alg twice", signed(r#"{"alg":"none","alg":"HS256"}"#, r#"{"server":true}"#, SECRET)),
        ("no alg", signed(r"{}", r#"{"server":true}"#, SECRET)),
        ("header no object", signed(r#""HS256""#, r#"{"server":true}"#, SECRET)),
        ("a critical extension", signed(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, r#"{"server":true}"#, SECRET)),
        ("payload no JSON", token("server", SECRET)),
        ("payload with a rest", token(r#"{"server":true}{}"#, SECRET)),
        ("a claim twice", token(r#"{"server":false,"server":true}"#, SECRET)),
        ("four parts", format!("{good}.{signature}")),
        ("two parts", start.to_owned()),
        ("one part", "alice".to_owned()),
        ("dots", "...".to_owned()),
        ("two dots", "..".to_owned()),
        ("not base64url", good.replace('.', "+.")),
        ("a space inside", good.replacen('.', ". ", 1)),
    ];
    for upstream_verifies in [false, true] {
        let api = api(upstream_verifies);
        for (what, token) in &forged {
            assert_eq!(who(&api, &with("known", token)), nobody(), "{what}: {token}");
        }
    }
    let mac384 = {
        let mut mac = Hmac::<Sha384>::new_from_slice(SECRET.as_bytes()).unwrap();
        let signed = format!("{}.{server}", encode(r#"{"alg":"HS384"}"#));
        mac.update(signed.as_bytes());
        format!("{signed}.{}", encode(mac.finalize().into_bytes()))
    };
    assert_eq!(who(&api(false), &with("known", &mac384)), nobody());
}

/// Upstreams read base64 more or less strictly. If a spelling of the signature that one of them takes hid the claims, every
/// user could drop out of the limits that count by them.
#[test]
fn no_spelling_of_a_signature_hides_the_claims() {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for name in ["alice", "bob", "carol"] {
        let good = token(&format!(r#"{{"user_id":"{name}"}}"#), SECRET);
        let (start, signature) = good.rsplit_once('.').unwrap();
        let last = LETTERS.find(&signature[42..]).unwrap();
        // The last letter holds four bits of the signature, and two of nothing.
        let next = &LETTERS[last + 3..last + 4];
        for spelling in [
            format!("{}{next}", &signature[..42]),
            format!("{signature}="),
            format!("{signature}=AAAA"),
            format!("{signature}AAAA"),
            format!("{signature}!"),
            format!("{}!{}", &signature[..9], &signature[9..]),
            signature.replace('-', "+").replace('_', "/"),
        ] {
            assert_eq!(who(&api(false), &with("known", &format!("{start}.{spelling}"))), user(name), "{spelling}");
        }
    }
}

#[test]
fn unverified_claims_count_only_where_the_upstream_verifies() {
    let forged = token(r#"{"user_id":"alice"}"#, "anything");
    assert_eq!(who(&api(true), &with("unknown", &forged)), user("alice"));
    assert_eq!(who(&api(false), &with("unknown", &forged)), nobody());
    assert_eq!(who(&api(true), &Request::get("/").header("authorization", &forged)), user("alice"), "no app at all");
    // Any algorithm may be one that the upstream verifies, but for none.
    let rs256 = signed(r#"{"alg":"RS256"}"#, r#"{"user_id":"alice"}"#, "anything");
    assert_eq!(who(&api(true), &with("unknown", &rs256)), user("alice"));
    let development =
        format!("{}.{}.devtoken", encode(r#"{"alg":"HS256","typ":"JWT"}"#), encode(r#"{"user_id":"bob"}"#));
    assert_eq!(who(&api(true), &with("unknown", &development)), user("bob"));
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"NONE"}"#, "{}"] {
        assert_eq!(who(&api(true), &with("unknown", &signed(header, r#"{"user_id":"alice"}"#, "x"))), nobody());
    }
    let unsigned = format!("{}.{}.", encode(r#"{"alg":"HS256"}"#), encode(r#"{"user_id":"alice"}"#));
    assert_eq!(who(&api(true), &with("unknown", &unsigned)), nobody());
}

/// Claims, `now` in seconds since 1970 (`NOW` if there is none), and whether the token is in its time.
#[test]
fn table_of_times() {
    let api = api(false);
    let now = NOW.as_micros() / 1_000_000;
    for (line, claims, expected) in rows(include_str!("../../data/times.txt")) {
        let claims = claims.replace("now+1", &(now + 1).to_string()).replace("now-1", &(now - 1).to_string());
        let claims = claims.replace("now", &now.to_string());
        let token = token(&format!(r#"{{"user_id":"alice",{claims}}}"#), SECRET);
        let found = if who(&api, &with("known", &token)) == user("alice") { "counts" } else { "does not" };
        assert_eq!(found, expected, "times.txt:{line}: {claims}");
    }
}

#[test]
fn a_token_expires_to_the_microsecond() {
    let api = api(false);
    let expires = NOW.plus(Span::from_secs(60));
    let token = token(&format!(r#"{{"user_id":"alice","exp":{}}}"#, expires.as_micros() / 1_000_000), SECRET);
    let request = with("known", &token);
    let id = api.policy.attribute("user").unwrap();
    let before = Timestamp::from_micros(expires.as_micros() - 1);
    assert_eq!(api.facts_at(&request, before).unwrap().value(id), Some("alice"));
    assert_eq!(api.facts_at(&request, expires).unwrap().value(id), None);
}

#[test]
fn the_times_of_others_tokens_are_theirs_to_check() {
    let expired = token(r#"{"user_id":"alice","exp":1}"#, "anything");
    assert_eq!(who(&api(true), &with("unknown", &expired)), user("alice"));
}

#[test]
fn values_of_claims() {
    let api = api(false);
    for (claim, expected) in [
        (r#""alice""#, Some("alice")),
        ("42", Some("42")),
        ("-7", Some("-7")),
        ("18446744073709551615", Some("18446744073709551615")),
        ("0", Some("0")),
        ("true", Some("true")),
        ("false", Some("false")),
        (r#""al\u0069ce""#, Some("alice")),
        (r#""""#, None),
        ("null", None),
        ("1.5", None),
        ("1.0", None),
        ("1e3", None),
        ("18446744073709551616", None),
        (r#"["alice"]"#, None),
        (r#"{"id":"alice"}"#, None),
    ] {
        let token = token(&format!(r#"{{"user_id":{claim}}}"#), SECRET);
        assert_eq!(api.value(&with("known", &token), "user").as_deref(), expected, "{claim}");
    }
    let control = token(r#"{"user_id":"a\nb"}"#, SECRET);
    assert_eq!(
        api.complaint(&with("known", &control)),
        "claim user_id: expected visible characters (attribute `user`)"
    );
    let nested = token(r#"{"x":{"user_id":"alice"}}"#, SECRET);
    assert_eq!(api.value(&with("known", &nested), "user"), None);
    let no_object = token(r#"["user_id"]"#, SECRET);
    assert_eq!(api.value(&with("known", &no_object), "user"), None);
}

#[test]
fn the_first_token_that_is_present_is_the_token() {
    let api = api(false);
    let alice = token(r#"{"user_id":"alice"}"#, SECRET);
    let bob = token(r#"{"user_id":"bob"}"#, SECRET);
    let both = Request::get(&format!("/?api_key=known&authorization={bob}"));
    assert_eq!(who(&api, &both.clone().header("authorization", &alice)), user("alice"));
    assert_eq!(who(&api, &both.clone().header("authorization", "nonsense")), nobody());
    assert_eq!(who(&api, &both.clone().header("authorization", "")), user("bob"));
    assert_eq!(who(&api, &both), user("bob"));
    let twice = with("known", &alice).header("authorization", &bob);
    assert_eq!(api.facts(&twice).unwrap_err().place(), "header authorization");
}

#[test]
fn tokens_have_a_longest_length() {
    let api = api(false);
    let padding = |bytes: usize| format!(r#"{{"user_id":"alice","x":"{}"}}"#, "x".repeat(bytes));
    assert_eq!(who(&api, &with("known", &token(&padding(5_900), SECRET))), user("alice"));
    let problem = api.facts(&with("known", &token(&padding(6_200), SECRET))).unwrap_err();
    assert_eq!(problem.place(), "header authorization");
    assert!(problem.message().starts_with("expected a token of at most 8192 bytes"), "{problem}");
}

#[test]
fn a_secret_is_that_of_the_app_alone() {
    let api = Sketch::new()
        .attribute("user", &["jwt:user_id"])
        .attribute("app", &["query:api_key"])
        .jwt(&["bearer"], false)
        .secret("app", "one", "first secret")
        .secret("app", "two", "second secret")
        .build();
    let of_one = format!("Bearer {}", token(r#"{"user_id":"alice"}"#, "first secret"));
    assert_eq!(api.value(&with("one", &of_one), "user").as_deref(), Some("alice"));
    assert_eq!(api.value(&with("two", &of_one), "user"), None);
    assert_eq!(api.value(&with("three", &of_one), "user"), None);
    assert_eq!(api.value(&Request::get("/").header("authorization", &of_one), "user"), None);
}

#[test]
fn secrets_are_not_shown() {
    let sketch = Sketch::new().attribute("app", &["query:a"]).jwt(&["bearer"], false).secret("app", "k", SECRET);
    assert!(!format!("{:?}", sketch.intake).contains(SECRET));
    assert!(!format!("{:?}", sketch.build().intake).contains(SECRET));
}
