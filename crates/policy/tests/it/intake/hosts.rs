//! Host patterns.

use super::sketch::{Request, Sketch, rows};
use tidegate_policy::From;

#[test]
fn table_of_hosts() {
    for (line, pair, expected) in rows(include_str!("../../data/hosts.txt")) {
        let (pattern, host) = pair.split_once(' ').expect("PATTERN HOST");
        let api = Sketch::new().attribute("app", &[&format!("host:{pattern}")]).build();
        let request = Request::get("/").host(host.trim_start());
        let found = match api.facts(&request) {
            Ok(_) => api.value(&request, "app").unwrap_or_else(|| "-".to_owned()),
            Err(problem) => {
                assert_eq!(problem.place(), "host");
                "!".to_owned()
            }
        };
        assert_eq!(found, expected, "hosts.txt:{line}: {pair}");
    }
}

#[test]
fn hosts_are_read_only_where_a_pattern_asks() {
    let api = Sketch::new().attribute("app", &["constant:a"]).build();
    assert_eq!(api.value(&Request::get("/").host("no host at all"), "app").as_deref(), Some("a"));
}

#[test]
fn a_missing_host_has_no_value() {
    let api = Sketch::new().attribute("app", &["host:{value}.example", "constant:default"]).build();
    assert_eq!(api.value(&Request::get("/"), "app").as_deref(), Some("default"));
    assert_eq!(api.value(&Request::get("/").host(""), "app").as_deref(), Some("default"));
    assert_eq!(api.value(&Request::get("/").host("a.example"), "app").as_deref(), Some("a"));
}

#[test]
fn patterns_that_are_none() {
    for (pattern, reason) in [
        ("", "lacks `{value}`"),
        ("example.com", "lacks `{value}`"),
        ("{value}.{value}.com", "more than once"),
        ("{value}{value}.com", "may hold letters"),
        ("*{value}.com", "may hold letters"),
        ("a*b*.{value}", "may hold letters"),
        ("{value}..com", "an empty label"),
        ("{value}.", "an empty label"),
        ("{value}.com:80", "may hold letters"),
        ("https://{value}.com", "may hold letters"),
        ("{VALUE}.com", "lacks `{value}`"),
    ] {
        let problem = From::parse(&format!("host:{pattern}")).unwrap_err();
        assert!(problem.contains(reason), "{pattern}: {problem}");
    }
}
