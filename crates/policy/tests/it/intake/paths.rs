//! Paths: every spelling has one canonical form or is refused (I46, K6, K7).

use proptest::prelude::*;

use super::sketch::{Api, Request, Sketch, rows};

fn api() -> Api {
    Sketch::new()
        .route("users", "* /users")
        .route("user", "* /users/{user}")
        .route("send", "POST /channels/{type}/{id}/message")
        .route("batch", "* /v2/batch")
        .route("publish", "* /v2/publish/{destination...}")
        .route("enqueue", "* /v2/enqueue/{queue}/{destination...}")
        .attribute("user", &["path:user"])
        .attribute("destination", &["path:destination"])
        .build()
}

#[test]
fn table_of_spellings() {
    let api = api();
    let mut count = 0;
    for (line, raw, expected) in rows(include_str!("../../data/paths.txt")) {
        count += 1;
        let found = match api.intake.route(&http::Method::GET, &raw) {
            Ok(route) => route.target().to_owned(),
            Err(problem) => format!("! {}", problem.message()),
        };
        let is_expected = match expected.strip_prefix('!') {
            Some(reason) => found.starts_with('!') && found.contains(reason.trim()),
            None => found == expected,
        };
        assert!(is_expected, "paths.txt:{line}: `{raw}`: expected `{expected}`, found `{found}`");
    }
    assert!(count >= 150, "the table has {count} rows");
}

#[test]
fn every_spelling_of_a_segment_is_one_user() {
    let api = api();
    for raw in ["/users/max", "/users/m%61x", "/%75sers/%6D%61%78", "/users/max/", "/users/ma%78?a=1"] {
        let request = Request::get(raw);
        assert_eq!(api.value(&request, "user").as_deref(), Some("max"), "{raw}");
        assert_eq!(api.facts(&request).unwrap().operation(), api.operation("user"));
    }
    // Reserved characters may be forwarded in either form; the value that is counted by is one.
    for raw in ["/users/!a:b@c", "/users/%21a%3Ab%40c", "/users/%21a%3ab@c"] {
        assert_eq!(api.value(&Request::get(raw), "user").as_deref(), Some("!a:b@c"), "{raw}");
    }
    assert_eq!(api.value(&Request::get("/users/caf%C3%A9%20au"), "user").as_deref(), Some("café au"));
    assert_eq!(api.value(&Request::get("/users/a+b"), "user").as_deref(), Some("a+b"));
    assert_eq!(api.value(&Request::get("/users/100%25"), "user").as_deref(), Some("100%"));
}

#[test]
fn tails_are_counted_as_they_stand() {
    let api = api();
    for tail in ["https://example.com//a%2Fb", "https://example.com/%41", "https:%2f%2fexample.com", "x/"] {
        let request = Request::get(&format!("/v2/publish/{tail}?x=1"));
        assert_eq!(api.value(&request, "destination").as_deref(), Some(tail));
    }
}

#[test]
fn bounds() {
    let api = api();
    let route = |target: &str| api.intake.route(&http::Method::GET, target).map(|route| route.target().to_owned());
    let longest = format!("/users?{}", "a".repeat(16 * 1024 - "/users?".len()));
    assert_eq!(route(&longest).as_deref(), Ok(&*longest));
    assert!(route(&format!("{longest}a")).unwrap_err().message().contains("at most 16384 bytes"));
    let deepest = "/a".repeat(64);
    assert_eq!(route(&deepest).as_deref(), Ok(&*deepest));
    assert_eq!(route(&format!("{deepest}/")).as_deref(), Ok(&*deepest));
    assert!(route(&format!("{deepest}/a")).unwrap_err().message().contains("at most 64 segments"));
    let long_tail = format!("/v2/publish{}", "/a".repeat(5_000));
    assert_eq!(route(&long_tail).as_deref(), Ok(&*long_tail));
}

/// Text made of what canonicalisers trip over.
fn odd_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9._~-]{1,3}",
        3 => Just("/".to_owned()),
        2 => "%[0-9a-fA-F]{2}",
        1 => prop::sample::select(vec![
            "..", ".", "//", "%2e", "%2F", "%5c", "\\", ";", "%3B", "%00", "%", "%zz", "%C3%A9", "%C0%AF", "é", "#", "?",
            "v2", "publish", "enqueue", "users", "https://", "@", ":", "!", "+", " ", "\0", "%25", "%2525",
        ])
        .prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    let prefix = prop::sample::select(vec!["/", "", "/users/", "/v2/publish/", "/v2/enqueue/q/", "/channels/"]);
    (prefix, prop::collection::vec(piece, 0..12)).prop_map(|(prefix, pieces)| prefix.to_owned() + &pieces.concat())
}

/// Every `%XX` decoded once, as a server does it.
fn decoded_once(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut index = 0;
    while index < bytes.len() {
        let digits = text.get(index + 1..index + 3).filter(|_| bytes[index] == b'%');
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(bytes[index]));
        index += if byte.is_some() { 3 } else { 1 };
    }
    decoded
}

/// One other spelling of a canonical path: some characters encoded, digits of `%XX` in small letters.
fn respelled(path: &str, choices: &[u8]) -> String {
    let mut choices = choices.iter().cycle();
    let mut spelled = String::new();
    let mut hexadecimal = 0;
    for character in path.chars() {
        let choice = choices.next().copied().unwrap_or(0);
        let is_unreserved = character.is_ascii_alphanumeric() || "-._~".contains(character);
        if hexadecimal > 0 {
            hexadecimal -= 1;
            spelled.push(if choice % 2 == 0 { character.to_ascii_lowercase() } else { character });
        } else if is_unreserved && choice % 3 == 0 {
            spelled.push_str(&format!("%{:02X}", u32::from(character)));
        } else if is_unreserved && choice % 3 == 1 {
            spelled.push_str(&format!("%{:02x}", u32::from(character)));
        } else {
            hexadecimal = if character == '%' { 2 } else { 0 };
            spelled.push(character);
        }
    }
    spelled
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_forwarded_is_canonical(raw in odd_path()) {
        let api = api();
        if let Ok(route) = api.intake.route(&http::Method::POST, &raw) {
            let again = api.intake.route(&http::Method::POST, route.target());
            let again = again.unwrap_or_else(|problem| panic!("{}: {problem}", route.target()));
            prop_assert_eq!(again.target(), route.target());
            prop_assert_eq!(again.operation(), route.operation());
            prop_assert_eq!(route.query(), raw.split_once('?').map(|(_, query)| query));
        }
    }

    #[test]
    fn no_path_leads_elsewhere(raw in odd_path()) {
        let api = api();
        if let Ok(route) = api.intake.route(&http::Method::POST, &raw) {
            let path = route.path();
            let is_tailed = path.starts_with("/v2/publish/") || path.starts_with("/v2/enqueue/");
            // One decoding, as a server does it: no dot segments, no control characters anywhere.
            let once = decoded_once(path);
            prop_assert!(once.split(|byte| matches!(byte, b'/' | b'\\' | b';')).all(|part| part != b"." && part != b".."));
            prop_assert!(!once.iter().any(u8::is_ascii_control));
            if !is_tailed {
                prop_assert!(path == "/" || !path.ends_with('/'));
                prop_assert!(!path.contains("//") && !path.contains([';', '\\']) && path.is_ascii());
                prop_assert_eq!(
                    once.iter().filter(|byte| **byte == b'/').count(),
                    path.bytes().filter(|byte| *byte == b'/').count()
                );
                prop_assert!(!once.contains(&b'\\') && !once.contains(&b';'));
                prop_assert!(std::str::from_utf8(&once).is_ok());
            }
        }
    }

    #[test]
    fn every_spelling_has_the_same_form(raw in odd_path(), choices in prop::collection::vec(any::<u8>(), 1..40)) {
        let api = api();
        if let Ok(route) = api.intake.route(&http::Method::POST, &raw) {
            let path = route.path();
            let tail = ["/v2/publish/", "/v2/enqueue/"].iter().any(|base| path.starts_with(base));
            if !tail {
                let other = respelled(path, &choices);
                let other = api.intake.route(&http::Method::POST, &other);
                let other = other.unwrap_or_else(|problem| panic!("{path}: {problem}"));
                prop_assert_eq!(other.path(), path);
                prop_assert_eq!(other.operation(), route.operation());
            }
        }
    }
}
