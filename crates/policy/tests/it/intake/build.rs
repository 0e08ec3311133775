//! Drafts that are no intake, and sources and routes that are none.

use tidegate_policy::{From, RouteDraft};

use super::sketch::{Sketch, source_of};

fn problem(sketch: &Sketch) -> String {
    match sketch.try_build() {
        Ok(_) => panic!("expected a problem"),
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn table_of_routes_that_are_none() {
    for (route, reason) in [
        ("GET", "expected a method and a path"),
        ("/users", "expected a method and a path"),
        ("get /users", "expected a method in capitals or `*`"),
        ("HEAD /users", "write GET"),
        ("G@T /users", "expected a method"),
        (" /users", "expected a method"),
        ("GET users", "must start with `/`"),
        ("GET /users/", "an empty segment"),
        ("GET //users", "an empty segment"),
        ("GET /users//x", "an empty segment"),
        ("GET /./x", "a segment `.` or `..`"),
        ("GET /../x", "a segment `.` or `..`"),
        ("GET /%2e%2e/x", "a segment `.` or `..`"),
        ("GET /a%2Fb", "`%2F`"),
        ("GET /a;b", "`;`"),
        ("GET /a\\b", "`\\`"),
        ("GET /a b", "0x20"),
        ("GET /a?x=1", "without a query"),
        ("GET /a#x", "a fragment"),
        ("GET /100%", "two hexadecimal digits"),
        ("GET /é", "unexpected byte"),
        ("GET /{}", "a parameter's name"),
        ("GET /{...}", "a parameter's name"),
        ("GET /{a b}", "a parameter's name"),
        ("GET /{a..}", "a parameter's name"),
        ("GET /user-{id}", "takes a whole segment"),
        ("GET /{id}.json", "takes a whole segment"),
        ("GET /{a}{b}", "a parameter's name"),
        ("GET /{a", "takes a whole segment"),
        ("GET /a}", "takes a whole segment"),
        ("GET /{a}/{a}", "parameter `a` occurs twice"),
        ("GET /{a}/{a...}", "parameter `a` occurs twice"),
        ("GET /{a...}/b", "nothing can follow a tail"),
        ("GET /{a...}/", "nothing can follow a tail"),
    ] {
        let found = RouteDraft::parse("o", route).unwrap_err();
        assert!(found.contains(reason), "`{route}`: {found}");
        if route.contains(" /") {
            let found = problem(&Sketch::new().route("o", route));
            assert!(found.contains(reason) && found.starts_with(&format!("route `{route}`: ")), "`{route}`: {found}");
        }
    }
    let deep = format!("GET {}", "/a".repeat(65));
    assert!(RouteDraft::parse("o", &deep).unwrap_err().contains("more than 64 segments"));
    assert!(RouteDraft::parse("o", "GET /").is_ok());
    assert!(RouteDraft::parse("o", "M-SEARCH /a-b_c.d~e/{x-1}/{y_2...}").is_ok());
}

#[test]
fn identical_routes() {
    let same = "same method and the same shape";
    for (first, second) in [
        ("GET /a", "GET /a"),
        ("GET /{a}", "GET /{b}"),
        ("GET /{a...}", "GET /{b...}"),
        ("GET /a/{x}/b", "GET /a/{y}/b"),
        ("* /a", "* /a"),
        ("GET /a", "GET /%61"),
        ("GET /", "GET /"),
    ] {
        assert!(problem(&Sketch::new().route("o", first).route("o", second)).contains(same), "{first} {second}");
        assert!(problem(&Sketch::new().route("o", first).route("p", second)).contains(same), "{first} {second}");
    }
    for (first, second) in
        [("GET /a", "POST /a"), ("GET /a", "* /a"), ("GET /{a}", "GET /{a...}"), ("GET /a", "GET /{a}")]
    {
        assert!(Sketch::new().route("o", first).route("p", second).try_build().is_ok(), "{first} {second}");
    }
    assert!(problem(&Sketch::new().bases(&["/v3", "/v3"]).route("o", "GET /a")).contains(same));
    assert!(problem(&Sketch::new().bases(&["", "/v3"]).route("o", "GET /a").route("p", "GET /v3/a")).contains(same));
}

#[test]
fn bases_that_are_none() {
    for (base, reason) in [
        ("v3", "must start with `/`"),
        ("/", "base `/` ends with `/`"),
        ("/v3/", "base `/v3/` ends with `/`"),
        ("/{a...}", "base `/{a...}` holds a tail"),
        ("/a//b", "an empty segment"),
        ("/../b", "a segment `.` or `..`"),
    ] {
        assert!(problem(&Sketch::new().bases(&[base]).route("o", "GET /a")).contains(reason), "{base}");
    }
    let api = Sketch::new().bases(&["/{region}/v3"]).route("o", "GET /a").build();
    assert!(api.intake.route(&http::Method::GET, "/eu/v3/a").unwrap().is_known());
}

#[test]
fn table_of_sources_that_are_none() {
    for (source, reason) in [
        ("", "expected a source such as"),
        ("X-API-Key", "expected a source such as `header:X-API-Key`"),
        ("header:", "is not the name of a header"),
        ("header:a b", "is not the name of a header"),
        ("header:é", "is not the name of a header"),
        ("query:", "`query:` lacks a name"),
        ("path:", "`path:` lacks a name"),
        ("jwt:", "`jwt:` lacks a name"),
        ("constant:", "`constant:` lacks a name"),
        ("bearer:x", "`bearer` stands alone"),
        ("body:user", "must be empty or start with `/`"),
        ("body:/a~2b", "`~` is written `~0`"),
        ("body:/a~", "`~` is written `~0`"),
        ("cookie:sid", "`cookie` is no kind of source; there are header,"),
        ("Header:x", "`Header` is no kind of source"),
    ] {
        let problem = From::parse(source).unwrap_err();
        assert!(problem.contains(reason), "`{source}`: {problem}");
    }
    assert!(From::parse(&format!("body:{}", "/a".repeat(33))).unwrap_err().contains("deeper than 32"));
    assert_eq!(From::parse("jwt:https://example.com/claim"), Ok(From::Jwt("https://example.com/claim".to_owned())));
    assert_eq!(From::parse("constant:a:b"), Ok(From::Constant("a:b".to_owned())));
    assert_eq!(From::parse("body:"), Ok(From::Body(String::new())));
    assert_eq!(From::parse("bearer"), Ok(From::Bearer));
}

#[test]
fn drafts_that_do_not_fit_together() {
    let sketch = Sketch::new().route("o", "GET /o/{id}");
    for name in ["operation", "method", "class"] {
        let problem = problem(&sketch.clone().sourced(name, vec![source_of(&["header:x"], &[])]));
        assert_eq!(problem, format!("attribute `{name}`: it follows from the route and has no sources"));
    }
    assert!(sketch.clone().attribute("plan", &["header:x"]).try_build().is_ok());
    assert_eq!(
        problem(&sketch.clone().attribute("id", &["path:idd"])),
        "attribute `id`: no route has a parameter `idd`"
    );
    assert!(problem(&sketch.clone().attribute("user", &["jwt:sub"])).contains("which `[jwt]` says"));
    assert!(problem(&sketch.clone().jwt(&["body:/token"], false)).starts_with("a token comes from a header"));
    let empty = sketch.clone().attribute("app", &["query:a"]).jwt(&["bearer"], false).secret("app", "k", "");
    assert_eq!(problem(&empty), "the secret of app `k` is no secret");
    let circular = sketch.clone().attribute("app", &["query:a", "jwt:app"]).jwt(&["bearer"], false);
    assert!(circular.clone().try_build().is_ok(), "without secrets a token may name the app");
    assert!(problem(&circular.secret("app", "k", "s")).contains("cannot come from one"));

    let mut unknown = sketch.clone();
    unknown.intake.routes[0].operation = "p".to_owned();
    assert_eq!(problem(&unknown), "route `GET /o/{id}`: no operation `p`");
    let mut unknown = sketch.clone().attribute("user", &["header:u"]);
    unknown.policy.attributes.clear();
    assert_eq!(problem(&unknown), "no attribute is called `user`");
    let mut twice = sketch.clone().attribute("user", &["header:u"]);
    twice.intake.attributes.push(twice.intake.attributes[0].clone());
    assert_eq!(problem(&twice), "attribute `user`: it occurs twice");
    assert_eq!(problem(&sketch.clone().cost("tokens", &["o"], "")), "no unit is called `tokens`");
    assert_eq!(problem(&sketch.clone().cost("requests", &["p"], "")), "no operation is called `p`");
    assert_eq!(problem(&sketch.clone().settle("tokens", None, "/a")), "no unit is called `tokens`");
    assert_eq!(problem(&sketch.clone().settle("requests", Some(&["p"]), "/a")), "no operation is called `p`");
    assert!(problem(&sketch.clone().settle("requests", None, "a")).contains("must be empty or start with `/`"));
    let twice = sketch.cost("requests", &["o"], "/a").cost("requests", &["other", "o"], "/b");
    assert_eq!(problem(&twice), "the cost in `requests` of one operation is stated twice");
}
