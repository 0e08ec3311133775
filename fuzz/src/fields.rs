//! Values of headers and hosts: taken to the letter, or refused.

use http::{HeaderMap, HeaderValue, Method};
use tidegate_policy::{Asked, Facts};

use crate::api::{NOW, reader};
use crate::requests::check;

/// A header that is a source: its value is the attribute's to the letter, and twice is refused.
pub fn header(data: &[u8]) {
    let api = reader();
    let Some((which, value)) = data.split_first() else { return };
    let names = ["x-key", "authorization", "x-plan", "user-agent", "x-http-method-override", "content-encoding"];
    let name = names[usize::from(which.wrapping_sub(b'0')) % names.len()];
    let Ok(value) = HeaderValue::from_bytes(value.trim_ascii()) else { return };
    let mut headers = HeaderMap::new();
    headers.append(name, value.clone());
    let route = api.intake.route(&Method::GET, "/send/u1").expect("a route of the policy");
    let asked = Asked { peer: None, host: None, headers: &headers, body: None };
    let facts = api.intake.extract(&api.policy, &route, &asked, NOW);
    check(api, &facts);
    let attribute = |name: &str| api.policy.attribute(name).expect("an attribute of the policy");
    if let Ok(facts) = &facts {
        let is_read = name != "content-encoding";
        let text = std::str::from_utf8(value.as_bytes());
        assert!(text.is_ok() || !is_read, "{name} is no text, and is taken");
        let text = text.unwrap_or_default();
        let of = |facts: &Facts, name: &str| facts.value(attribute(name)).map(str::to_owned);
        match name {
            "x-key" => assert_eq!(of(facts, "key"), Some(text.to_owned()).filter(|text| !text.is_empty())),
            "x-plan" => assert_eq!(of(facts, "plan"), Some(text.to_owned()).filter(|text| !text.is_empty())),
            "authorization" => {
                let key = of(facts, "key");
                assert!(key.is_none_or(|key| text.ends_with(&key) && text[..6].eq_ignore_ascii_case("bearer")));
            }
            "user-agent" => {
                let kind = of(facts, "kind").expect("the last source is always there");
                let lower = text.to_lowercase();
                let wanted = if lower.contains("android") {
                    "android"
                } else if lower.starts_with("ios") {
                    "ios"
                } else {
                    "web"
                };
                assert!(kind == wanted || !text.is_ascii(), "{text:?} is {kind}");
            }
            "x-http-method-override" => assert_eq!(text, "GET", "another method passes"),
            _ => {}
        }
        // A token that nobody signed says nothing.
        assert_eq!(of(facts, "user").as_deref(), Some("u1"), "the path's user");
    }
    if matches!(name, "x-key" | "authorization" | "x-plan" | "user-agent") {
        headers.append(name, value);
        let asked = Asked { peer: None, host: None, headers: &headers, body: None };
        let twice = api.intake.extract(&api.policy, &route, &asked, NOW);
        assert!(twice.is_err(), "{name} twice is taken");
    }
}

/// A host: case, port and a final dot make no difference to what is taken from it.
pub fn host(data: &[u8]) {
    let api = reader();
    let Ok(host) = std::str::from_utf8(data) else { return };
    let headers = HeaderMap::new();
    let route = api.intake.route(&Method::GET, "/").expect("a route of every policy");
    let facts = |host: &str| {
        let asked = Asked { peer: None, host: Some(host), headers: &headers, body: None };
        api.intake.extract(&api.policy, &route, &asked, NOW)
    };
    let found = facts(host);
    check(api, &found);
    let Ok(found) = found else { return };
    assert!(host.is_ascii(), "a host that is no host is taken: {host:?}");
    assert_eq!(facts(&host.to_ascii_uppercase()).as_ref(), Ok(&found), "case matters");
    assert_eq!(facts(&host.to_ascii_lowercase()).as_ref(), Ok(&found), "case matters");
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    if !after.contains(':') && !host.is_empty() {
        assert_eq!(facts(&format!("{host}:8443")).as_ref(), Ok(&found), "the port matters");
        if !host.ends_with(['.', ']']) && host.len() < 255 {
            assert_eq!(facts(&format!("{host}.")).as_ref(), Ok(&found), "a final dot matters");
        }
    }
    for name in ["app", "region"] {
        let attribute = api.policy.attribute(name).expect("an attribute of the policy");
        if let Some(value) = found.value(attribute) {
            assert!(host.to_ascii_lowercase().contains(value), "{value} is not in {host}");
            assert!(!value.contains('.'), "{value} is more than a label");
        }
    }
}
