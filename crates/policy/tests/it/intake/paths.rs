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

/// Requests of the shipped policies.
const ROUTES: [(&str, &str, &str); 20] = [
    ("stream", "POST", "/channels/messaging/general/message"),
    ("stream", "POST", "/api/v2/chat/channels/messaging/general/message"),
    ("stream", "POST", "/channels/messaging/general/query"),
    ("stream", "GET", "/messages/m-1/replies"),
    ("stream", "DELETE", "/messages/m-1/reaction/like"),
    ("stream", "POST", "/users/delete"),
    ("stream", "GET", "/rate_limits"),
    ("stream", "POST", "/moderation/mute/channel"),
    ("sendbird", "GET", "/v3/users/u1"),
    ("sendbird", "POST", "/v3/group_channels/c1/messages"),
    ("sendbird", "PUT", "/v3/group_channels/c1/messages/7"),
    ("sendbird", "POST", "/v3/bots/b1/send"),
    ("qstash", "POST", "/v2/batch"),
    ("qstash", "POST", "/llm/v1/chat/completions"),
    ("qstash", "GET", "/v2/schedules/s1"),
    ("cometchat", "POST", "/v3/messages"),
    ("cometchat", "POST", "/v3/groups/g1/members"),
    ("cometchat", "DELETE", "/v3/users/u1/conversation/read"),
    ("whatsapp", "POST", "/sessions/s1/send"),
    ("whatsapp", "POST", "/sessions/create"),
];

/// What spellings put in place of a slash, or at any place.
const TRICKS: [&str; 24] = [
    "//",
    "/./",
    "/../",
    "/x/../",
    "/%2e/",
    "/%2E%2e/",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    ";x=1/",
    "/;/",
    "%00",
    "%3b",
    "#",
    "?q=1",
    "/",
    "%252f",
    "%c0%af",
    "%E0%80%AF",
    "..",
    "%2e%2e",
    "/..;/",
    "%",
];

/// A spelling of a path: some characters encoded, then up to two tricks.
fn spelling(path: &str, mut dice: impl FnMut(usize) -> usize) -> String {
    let rate = dice(4);
    let mut spelled = String::new();
    for character in path.chars() {
        match dice(10) {
            roll if roll < rate && character != '/' => {
                let hexadecimal = format!("%{:02x}", u32::from(character));
                spelled.push_str(&if dice(2) == 0 { hexadecimal } else { hexadecimal.to_ascii_uppercase() });
            }
            _ => spelled.push(character),
        }
    }
    for _ in 0..dice(3) {
        let slashes: Vec<usize> = spelled.match_indices('/').map(|(index, _)| index).collect();
        let trick = TRICKS[dice(TRICKS.len())];
        match dice(3) {
            _ if slashes.is_empty() => spelled.insert_str(0, trick),
            0 => spelled.push_str(trick),
            1 => spelled.insert_str(dice(spelled.len() + 1), trick),
            _ => {
                let slash = slashes[dice(slashes.len())];
                spelled.replace_range(slash..=slash, trick);
            }
        }
    }
    spelled
}

/// The path as a server sees it that decodes, takes backslashes for slashes, drops parameters of segments, and resolves
/// empty and dot segments: everything that some server does.
fn as_an_eager_server_sees_it(target: &str) -> Vec<Vec<u8>> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for segment in decoded_once(path).split(|byte| matches!(byte, b'/' | b'\\')) {
        match segment.split(|byte| *byte == b';').next().unwrap_or_default() {
            b"" | b"." => {}
            b".." => {
                seen.pop();
            }
            name => seen.push(name.to_vec()),
        }
    }
    seen
}

/// K6, on the policies that ship: every spelling is refused, or has the operation of the path that servers see.
#[test]
fn twenty_routes_by_five_thousand_spellings() {
    let mut state: u64 = 0x5eed;
    let mut dice = |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % sides
    };
    let (mut accepted, mut refused) = (0, 0);
    for (vendor, method, path) in ROUTES {
        let file = format!("{}/../../vendors/{vendor}/policy.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).expect("a shipped policy");
        let lowered = tidegate_policy::lower(&tidegate_policy::Source { name: &file, text: &text }, 1);
        let intake = lowered.unwrap_or_else(|problems| panic!("{problems}")).intake;
        let method: http::Method = method.parse().expect("a method");
        let meant = intake.route(&method, path).expect("a good path");
        assert!(meant.is_known(), "{vendor} {method} {path}");
        for _ in 0..5_000 {
            let raw = spelling(path, &mut dice);
            let Ok(route) = intake.route(&method, &raw) else {
                refused += 1;
                continue;
            };
            accepted += 1;
            let seen = as_an_eager_server_sees_it(route.target());
            assert_eq!(as_an_eager_server_sees_it(&raw), seen, "{raw} is forwarded as {}", route.target());
            let matched: Vec<Vec<u8>> = route.path().split('/').skip(1).map(decoded_once).collect();
            assert!(seen == matched || seen.is_empty(), "{raw} is forwarded as {}", route.target());
            if seen == as_an_eager_server_sees_it(path) {
                assert_eq!((route.operation(), route.path()), (meant.operation(), path), "{raw}");
            }
        }
    }
    assert!(accepted > 20_000 && refused > 20_000, "{accepted} accepted, {refused} refused");
}
