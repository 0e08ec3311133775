//! Attributes from headers, queries, bearers and constants, in order and through maps (K4, K10, K11).

use super::sketch::{Api, Request, Sketch, rows, source_of};

/// The policy that ships, on the strings that the SDKs send.
#[test]
fn platform_of_every_stream_client() {
    let text = include_str!("../../../../../vendors/stream/policy.toml");
    let source = tidegate_policy::Source { name: "vendors/stream/policy.toml", text };
    let lowered = tidegate_policy::lower(&source, 1).unwrap_or_else(|problems| panic!("{problems}"));
    let api = Api { policy: lowered.policy, intake: lowered.intake };
    let user = super::tokens::signed(r#"{"alg":"HS256"}"#, r#"{"user_id":"alice"}"#, "of the app");
    let server = super::tokens::signed(r#"{"alg":"HS256"}"#, r#"{"server":true}"#, "of the app");
    for (line, client, platform) in rows(include_str!("../../data/clients.txt")) {
        let by_header = Request::get("/connect").header("x-stream-client", &client);
        let encoded: String = client.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let by_query = Request::get(&format!("/connect?X-Stream-Client={encoded}"));
        for request in [by_header, by_query] {
            assert_eq!(api.value(&request, "platform").as_ref(), Some(&platform), "clients.txt:{line}: {client}");
            let of_user = request.clone().header("authorization", &user);
            assert_eq!(api.value(&of_user, "platform").as_ref(), Some(&platform), "clients.txt:{line}: {client}");
            let of_server = request.header("authorization", &server);
            assert_eq!(api.value(&of_server, "platform").as_deref(), Some("server"), "clients.txt:{line}: {client}");
        }
    }
}

fn keyed() -> Api {
    Sketch::new().attribute("key", &["header:X-API-Key", "bearer", "query:api_key", "constant:nobody"]).build()
}

#[test]
fn the_first_source_that_is_present_wins() {
    let api = keyed();
    let key = |request: &Request| api.value(request, "key").unwrap();
    let all = Request::get("/?api_key=q").header("X-API-Key", "h").header("Authorization", "Bearer b");
    assert_eq!(key(&all), "h");
    assert_eq!(key(&Request::get("/?api_key=q").header("Authorization", "Bearer b")), "b");
    assert_eq!(key(&Request::get("/?api_key=q")), "q");
    assert_eq!(key(&Request::get("/")), "nobody");
}

#[test]
fn nothing_is_as_good_as_empty() {
    let api = keyed();
    for request in [
        Request::get("/").header("x-api-key", ""),
        Request::get("/").header("x-api-key", " \t "),
        Request::get("/?api_key="),
        Request::get("/?api_key"),
        Request::get("/?"),
        Request::get("/").header("authorization", "Bearer"),
        Request::get("/").header("authorization", "Bearer  "),
        Request::get("/").header("authorization", "Basic dXNlcjpwdw=="),
        Request::get("/").header("authorization", "Bearerx"),
        Request::get("/").header("authorization", "x Bearer y"),
    ] {
        assert_eq!(api.value(&request, "key").as_deref(), Some("nobody"), "{} {:?}", request.target, request.headers);
    }
}

#[test]
fn spellings_of_headers_and_schemes_are_one() {
    let api = keyed();
    for request in [
        Request::get("/").header("X-API-KEY", "k1"),
        Request::get("/").header("x-api-key", "  k1\t"),
        Request::get("/").header("authorization", "Bearer k1"),
        Request::get("/").header("authorization", "bearer k1"),
        Request::get("/").header("authorization", "BEARER   k1 "),
        Request::get("/?api_key=k1"),
        Request::get("/?x=1&api_key=k1&y=2"),
        Request::get("/?%61pi_key=%6B1"),
        Request::get("/?api%5Fkey=k%31"),
        Request::get("/?api%5fkey=k1&&&"),
    ] {
        assert_eq!(api.value(&request, "key").as_deref(), Some("k1"), "{} {:?}", request.target, request.headers);
    }
    assert_eq!(api.value(&Request::get("/?api_key=a+b%2Bc"), "key").as_deref(), Some("a b+c"));
    assert_eq!(api.value(&Request::get("/?api_key=a=b=c"), "key").as_deref(), Some("a=b=c"));
    assert_eq!(
        api.value(&Request::get("/?API_KEY=k1"), "key").as_deref(),
        Some("nobody"),
        "names of parameters are exact"
    );
    assert_eq!(api.value(&Request::get("/").header("x-api-key", "schlüssel"), "key").as_deref(), Some("schlüssel"));
}

#[test]
fn what_names_the_caller_occurs_once() {
    let api = keyed();
    for (request, place) in [
        (Request::get("/").header("x-api-key", "a").header("X-Api-Key", "b"), "header x-api-key"),
        (Request::get("/").header("x-api-key", "a").header("x-api-key", "a"), "header x-api-key"),
        (Request::get("/").header("x-api-key", "").header("x-api-key", "a"), "header x-api-key"),
        (
            Request::get("/").header("x-api-key", "k").header("authorization", "Bearer a").header("authorization", "b"),
            "header authorization",
        ),
        (Request::get("/?api_key=a&api_key=b"), "query api_key"),
        (Request::get("/?api_key=a&api_key=a"), "query api_key"),
        (Request::get("/?api_key&api_key=a"), "query api_key"),
        (Request::get("/?api_key=a&x=1&%61pi%5Fkey=b"), "query api_key"),
        (Request::get("/?api_key=a&api_key=b").header("x-api-key", "k"), "query api_key"),
    ] {
        let problem = api.facts(&request).unwrap_err();
        assert_eq!(problem.place(), place, "{} {:?}", request.target, request.headers);
        assert!(problem.message().contains("once"), "{problem}");
    }
    assert_eq!(api.value(&Request::get("/?x=1;y=2&api_key=a%3Bb"), "key").as_deref(), Some("a;b"));
    // What names nobody may occur as often as it likes.
    let request = Request::get("/?x=1&x=2").header("x-other", "a").header("x-other", "b");
    assert_eq!(api.value(&request, "key").as_deref(), Some("nobody"));
}

#[test]
fn values_are_clean_text() {
    let api = keyed();
    for (request, place) in [
        (Request::get("/").header_bytes("x-api-key", b"a\xFFb"), "header x-api-key"),
        (Request::get("/").header_bytes("x-api-key", b"caf\xE9"), "header x-api-key"),
        (Request::get("/").header_bytes("x-api-key", b"a\tb"), "header x-api-key"),
        (Request::get("/").header("x-api-key", "a\u{85}b"), "header x-api-key"),
        (Request::get("/").header("authorization", "Bearer a b"), "header authorization"),
        (Request::get("/").header("authorization", "Bearer a, Bearer b"), "header authorization"),
        (Request::get("/?api_key=%"), "query api_key"),
        (Request::get("/?api_key=%4"), "query api_key"),
        (Request::get("/?api_key=%zz"), "query api_key"),
        (Request::get("/?api_key=%FF"), "query api_key"),
        (Request::get("/?api_key=%C0%AF"), "query api_key"),
        (Request::get("/?api_key=a%00"), "query api_key"),
        (Request::get("/?api_key=a%0D%0Ax:y"), "query api_key"),
        (Request::get("/?api_key=a;b"), "query api_key"),
        (Request::get("/?x=1;api_key=a"), "query api_key"),
        (Request::get("/?x;api%5fkey"), "query api_key"),
    ] {
        let problem = api.facts(&request).unwrap_err();
        assert_eq!(problem.place(), place, "{} {:?}: {problem}", request.target, request.headers);
    }
}

#[test]
fn values_have_a_longest_length() {
    let api = keyed();
    let longest = "k".repeat(4_096);
    for request in [
        Request::get("/").header("x-api-key", &longest),
        Request::get("/").header("authorization", &format!("Bearer {longest}")),
        Request::get(&format!("/?api_key={longest}")),
    ] {
        assert_eq!(api.value(&request, "key").as_ref(), Some(&longest));
    }
    for request in [
        Request::get("/").header("x-api-key", &format!("{longest}k")),
        Request::get("/").header("authorization", &format!("Bearer {longest}k")),
        Request::get(&format!("/?api_key={longest}k")),
    ] {
        let problem = api.complaint(&request);
        assert!(problem.contains("at most 4096 bytes, found 4097 (attribute `key`)"), "{problem}");
    }
    let path = Sketch::new().route("r", "GET /r/{id}").attribute("id", &["path:id"]).build();
    assert!(path.complaint(&Request::get(&format!("/r/{longest}k"))).starts_with("path id: expected at most 4096"));
}

#[test]
fn queries_have_a_longest_length() {
    let api = keyed();
    let many = format!("/?{}api_key=k", "a&".repeat(255));
    assert_eq!(api.value(&Request::get(&many), "key").as_deref(), Some("k"));
    let too_many = format!("/?{}api_key=k", "a&".repeat(256));
    assert_eq!(api.complaint(&Request::get(&too_many)), "query: expected at most 256 parameters");
}

#[test]
fn maps_pass_on_what_they_do_not_know() {
    let api = Sketch::new()
        .sourced(
            "tier",
            vec![
                source_of(&["header:A", "header:B"], &[("gold*", "gold"), ("*x*", "cross"), ("", "never")]),
                source_of(&["header:C"], &[("*", "any")]),
                source_of(&["constant:none"], &[]),
            ],
        )
        .build();
    let tier = |pairs: &[(&str, &str)]| {
        let request = pairs.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value));
        api.value(&request, "tier").unwrap()
    };
    assert_eq!(tier(&[("a", "GOLD 1")]), "gold");
    assert_eq!(tier(&[("a", "goldx")]), "gold", "the first pattern that matches");
    assert_eq!(tier(&[("a", "1x2")]), "cross");
    assert_eq!(tier(&[("a", "tin"), ("c", "c")]), "any", "the next source is asked");
    assert_eq!(tier(&[("a", "tin"), ("b", "gold")]), "none", "the source's first present place counts");
    assert_eq!(tier(&[("b", "gold")]), "gold");
    assert_eq!(tier(&[]), "none");
}

#[test]
fn patterns_of_maps() {
    for (pattern, text, is_match) in [
        ("android", "android", true),
        ("android", "Android", true),
        ("android", "androids", false),
        ("android*", "android", true),
        ("*android", "my-android", true),
        ("*os=ios*", "x|os=iOS 17|y", true),
        ("*os=ios*", "x|os=tios", false),
        ("a*b*c", "abc", true),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("a*a", "aa", true),
        ("*ab*ab*", "xaby", false),
        ("*ab*ab*", "abab", true),
        ("**", "x", true),
        ("*", "x", true),
        ("a**b", "ab", true),
        ("é*", "éa", true),
        ("É", "é", false),
        ("a.c", "abc", false),
        ("[a]", "a", false),
        ("a?c", "abc", false),
    ] {
        let api = Sketch::new().sourced("tier", vec![source_of(&["header:t"], &[(pattern, "yes")])]).build();
        let found = api.value(&Request::get("/").header("t", text), "tier");
        assert_eq!(found.is_some(), is_match, "{pattern} {text}");
    }
}

#[test]
fn a_long_pattern_on_a_long_text_ends() {
    let pattern = "*a".repeat(200) + "*b";
    let api = Sketch::new().sourced("tier", vec![source_of(&["header:t"], &[(&pattern, "yes")])]).build();
    assert_eq!(api.value(&Request::get("/").header("t", &"a".repeat(4_096)), "tier"), None);
}

#[test]
fn methods_are_not_overridden() {
    let api = Sketch::new().route("get", "GET /m").route("delete", "DELETE /m").build();
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "x-method-override"] {
        let problem = api.complaint(&Request::new("POST", "/m").header(name, "DELETE"));
        assert!(problem.contains("expected the request to be sent with the method it means"), "{problem}");
        let same = Request::new("DELETE", "/m").header(name, "DELETE");
        assert_eq!(api.facts(&same).unwrap().operation(), api.operation("delete"));
        let twice = Request::new("DELETE", "/m").header(name, "DELETE").header(name, "GET");
        assert!(api.facts(&twice).is_err());
    }
}
