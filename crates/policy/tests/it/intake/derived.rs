//! Attributes that come from other attributes, and hashes of values.

use tidegate_policy::{From, SourceDraft};

use super::sketch::{Api, NOW, Request, Sketch, source_of};
use super::tokens::signed;

fn hashed(from: &[&str], map: &[(&str, &str)]) -> SourceDraft {
    SourceDraft { hash: true, ..source_of(from, map) }
}

/// Each comes from the one declared after it.
fn chain() -> Api {
    Sketch::new()
        .sourced(
            "tier",
            vec![source_of(&["attribute:family"], &[("phone*", "small")]), source_of(&["constant:large"], &[])],
        )
        .sourced("family", vec![source_of(&["attribute:device"], &[("*android*", "phone-a"), ("*ios*", "phone-i")])])
        .attribute("device", &["header:x-device", "query:device"])
        .build()
}

#[test]
fn attributes_come_from_others_in_whatever_order_they_are_declared() {
    let api = chain();
    for (target, header, expected) in [
        ("/", Some("Android 14"), [Some("small"), Some("phone-a"), Some("Android 14")]),
        ("/?device=iOS", None, [Some("small"), Some("phone-i"), Some("iOS")]),
        ("/?device=iOS", Some("my android"), [Some("small"), Some("phone-a"), Some("my android")]),
        ("/", Some("desktop"), [Some("large"), None, Some("desktop")]),
        ("/", None, [Some("large"), None, None]),
    ] {
        let request = header.into_iter().fold(Request::get(target), |request, value| request.header("x-device", value));
        let found = ["tier", "family", "device"].map(|attribute| api.value(&request, attribute));
        assert_eq!(found.each_ref().map(Option::as_deref), expected, "{target} {header:?}");
    }
}

#[test]
fn what_follows_from_the_route_is_a_source() {
    let mut sketch = Sketch::new()
        .route("send", "POST /send")
        .route("read", "GET /read")
        .sourced(
            "kind",
            vec![source_of(&["attribute:operation"], &[("s*", "sends")]), source_of(&["attribute:class"], &[])],
        )
        .attribute("verb", &["attribute:method"]);
    sketch.policy.operations.iter_mut().find(|it| it.name == "read").unwrap().class = Some("cheap".to_owned());
    let api = sketch.build();
    assert_eq!(api.value(&Request::post("/send", ""), "kind").as_deref(), Some("sends"));
    assert_eq!(api.value(&Request::get("/read"), "kind").as_deref(), Some("cheap"));
    assert_eq!(api.value(&Request::get("/elsewhere"), "kind"), None);
    assert_eq!(api.value(&Request::new("HEAD", "/read"), "verb").as_deref(), Some("GET"));
}

#[test]
fn the_plan_may_come_from_an_attribute_but_is_no_source() {
    let api = Sketch::new()
        .attribute("tier", &["header:x-tier"])
        .sourced("plan", vec![source_of(&["attribute:tier"], &[("1", "free"), ("2", "pro")])])
        .build();
    assert_eq!(api.value(&Request::get("/").header("x-tier", "2"), "plan").as_deref(), Some("pro"));
    let circular = Sketch::new().attribute("plan", &["header:x-plan"]).attribute("tier", &["attribute:plan"]);
    let problem = circular.try_build().map(drop).unwrap_err().to_string();
    assert_eq!(problem, "attribute `tier`: the plan is settled after all other attributes");
}

#[test]
fn circles_and_unknown_sources_are_refused() {
    for (sources, expected) in [
        (&[("a", "attribute:a")][..], "attribute `a` depends on itself"),
        (&[("a", "attribute:b"), ("b", "attribute:a")], "attribute `a` depends on itself"),
        (
            &[("x", "header:x"), ("a", "attribute:b"), ("b", "attribute:c"), ("c", "attribute:a")],
            "attribute `a` depends on itself",
        ),
        (&[("a", "attribute:z")], "attribute `a`: no attribute is called `z`"),
    ] {
        let sketch = sources.iter().fold(Sketch::new(), |sketch, (name, from)| sketch.attribute(name, &[from]));
        assert_eq!(sketch.try_build().map(drop).unwrap_err().to_string(), expected);
    }
    let of_token = Sketch::new().attribute("a", &["header:a"]).jwt(&["header:a"], true);
    let mut of_attribute = of_token;
    of_attribute.intake.jwt.as_mut().unwrap().from = vec![From::Attribute("a".to_owned())];
    assert!(of_attribute.try_build().map(drop).unwrap_err().to_string().starts_with("a token comes from a header"));
}

/// What comes from a claim is read after what selects the secret, and cannot select it, through however many others.
#[test]
fn claims_are_claims_through_other_attributes() {
    let sketch = Sketch::new()
        .attribute("group", &["attribute:user"])
        .attribute("user", &["jwt:sub"])
        .attribute("app", &["attribute:key"])
        .attribute("key", &["header:x-key"])
        .jwt(&["bearer"], false);
    let api = sketch.clone().secret("app", "k1", "secret").build();
    let token = format!("Bearer {}", signed(r#"{"alg":"HS256"}"#, r#"{"sub":"alice"}"#, "secret"));
    let request = Request::get("/").header("authorization", &token);
    assert_eq!(api.value(&request.clone().header("x-key", "k1"), "group").as_deref(), Some("alice"));
    assert_eq!(api.value(&request.header("x-key", "k2"), "group"), None);
    let circular = sketch.secret("group", "alice", "secret").try_build().map(drop).unwrap_err();
    assert!(circular.to_string().contains("cannot come from one"), "{circular}");
}

/// The body is read for an attribute that a limit does not name, where one that it names comes from it.
#[test]
fn a_body_is_read_for_what_comes_from_it() {
    let api = Sketch::new()
        .route("send", "POST /send")
        .route("other-send", "POST /elsewhere")
        .attribute("text", &["attribute:raw"])
        .attribute("raw", &["body:/text"])
        .limit("texts", &["send"], &["text"])
        .build();
    assert!(api.intake.needs_body(api.operation("send")));
    assert!(!api.intake.needs_body(api.operation("other-send")));
    assert_eq!(api.value(&Request::post("/send", r#"{"text":"hello"}"#), "text").as_deref(), Some("hello"));
    assert_eq!(api.value(&Request::post("/elsewhere", r#"{"text":"hello"}"#), "text"), None);
}

#[test]
fn a_hash_stands_for_its_value() {
    // The first 32 digits of `printf VALUE | sha256sum`.
    for (value, digest) in [
        ("abc", "ba7816bf8f01cfea414140de5dae2223"),
        ("hello", "2cf24dba5fb0a30e26e83b2ac5b9e29e"),
        ("schlüssel", "ccec7a8e3e039f0b6b308a81f438e1d0"),
    ] {
        let api = Sketch::new().sourced("text", vec![hashed(&["header:text"], &[])]).build();
        let found = api.value(&Request::get("/").header("text", value), "text").unwrap();
        assert_eq!(found, digest, "{value}");
    }
    let api = Sketch::new()
        .sourced(
            "text",
            vec![hashed(&["header:text"], &[("a*", "abc"), ("b*", "hello")]), source_of(&["constant:none"], &[])],
        )
        .attribute("again", &["attribute:text"])
        .build();
    let text = |value: &str, attribute: &str| api.value(&Request::get("/").header("text", value), attribute).unwrap();
    assert_eq!(text("axe", "text"), "ba7816bf8f01cfea414140de5dae2223", "after the map");
    assert_eq!(text("box", "again"), "2cf24dba5fb0a30e26e83b2ac5b9e29e");
    assert_eq!(text("cup", "text"), "none", "a source that is not hashed");
    assert_eq!(api.value(&Request::get("/").header("text", ""), "text").as_deref(), Some("none"), "empty is absent");
}

/// Texts of messages are long and have lines; a value that nothing but a hash is made of may.
#[test]
fn what_is_hashed_may_be_of_any_length_and_have_lines() {
    let api = Sketch::new()
        .route("send", "POST /send")
        .sourced("text", vec![hashed(&["body:/text"], &[])])
        .sourced("key", vec![hashed(&["header:key"], &[])])
        .limit("texts", &["send"], &["text", "key"])
        .build();
    let long = "k".repeat(100_000);
    let request = |text: &str| Request::post("/send", &format!(r#"{{"text":{text}}}"#)).header("key", &long);
    for (text, other) in
        [(format!("{long:?}"), format!("\"{long}l\"")), (r#""a\nb""#.to_owned(), r#""a b""#.to_owned())]
    {
        let (text, other) = (api.value(&request(&text), "text").unwrap(), api.value(&request(&other), "text").unwrap());
        assert!(text.len() == 32 && text != other);
        assert!(text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{text}");
    }
    assert_eq!(
        api.facts_at(&request("7.5"), NOW).unwrap_err().place(),
        "body",
        "what could be read in two ways still is"
    );
}
