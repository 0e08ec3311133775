//! Where the attributes of a request came from, told beside what was extracted.

use http::{HeaderMap, HeaderValue, Method};
use tidegate_core::Timestamp;
use tidegate_policy::{Asked, Finding, Lowered, Source, lower};

const POLICY: &str = r#"
name = "harbour"
dialect = "ietf"
bases = ["/v1"]

[attributes]
key      = ["header:X-Key", "query:key", "bearer"]
box      = "path:box"
rest     = "path:rest"
text     = "body:/text"
platform = [{ from = "header:X-Client", map = [["*server*", "server"]] }, "constant:web"]

[operations]
send = { routes = ["POST /boxes/{box}/send"] }
list = { routes = ["GET /boxes/{box}", "GET /files/{rest...}"] }

[[limit]]
name  = "by-text"
on    = ["send"]
per   = ["text", "key", "box", "platform"]
quota = "5/min"

[[limit]]
name  = "by-file"
on    = ["list"]
per   = ["rest"]
quota = "5/min"
"#;

/// A request, its headers, its body, and what is told: the route, then each attribute with the places looked at.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str, &'static [&'static str]);

const ROWS: &[Row] = &[
    (
        "POST /v1/boxes/b%201/send?key=q",
        &[("X-Client", "ios")],
        r#"{"text":"hello"}"#,
        &[
            "/v1/boxes/{box}/send",
            "key=q: header x-key Absent, query key Taken",
            "box=b 1: path box Taken",
            "rest=-: path rest Absent",
            "text=hello: body Taken",
            "platform=web: header x-client Unmapped, constant Taken",
        ],
    ),
    (
        "GET /v1/files/a/b//c",
        &[("Authorization", "Bearer t"), ("X-Client", "my-server-sdk")],
        "not looked at",
        &[
            "/v1/files/{rest...}",
            "key=t: header x-key Absent, query key Absent, header authorization Taken",
            "box=-: path box Absent",
            "rest=a/b//c: path rest Taken",
            "text=-: body Unread",
            "platform=server: header x-client Taken",
        ],
    ),
    (
        "GET /elsewhere",
        &[("X-Key", "k")],
        "",
        &[
            "-",
            "key=k: header x-key Taken",
            "box=-: path box Absent",
            "rest=-: path rest Absent",
            "text=-: body Unread",
            "platform=web: header x-client Absent, constant Taken",
        ],
    ),
];

#[test]
fn each_attribute_is_told_with_its_places() {
    let Lowered { policy, intake, .. } = lower(&Source { name: "policy.toml", text: POLICY }, 1).expect("a policy");
    for (request, headers, body, expected) in ROWS {
        let (method, target) = request.split_once(' ').expect("a method and a target");
        let route = intake.route(&method.parse::<Method>().expect(method), target).expect(request);
        let mut map = HeaderMap::new();
        for (name, value) in *headers {
            map.insert(name.parse::<http::HeaderName>().expect(name), HeaderValue::from_static(value));
        }
        let asked = Asked { peer: None, host: None, headers: &map, body: Some(body.as_bytes()) };
        let understood = intake.explain(&policy, &route, &asked, Timestamp::ZERO).expect(request);
        let extracted = intake.extract(&policy, &route, &asked, Timestamp::ZERO).expect(request);
        assert_eq!(understood.facts, extracted, "{request}");
        let mut told = vec![intake.template(&route).unwrap_or_else(|| "-".to_owned())];
        told.extend(understood.attributes.iter().map(|sourced| {
            let places = sourced.places.iter().map(|(place, finding)| format!("{place} {finding:?}"));
            let value = extracted.value(sourced.attribute);
            let is_taken = sourced.places.last().is_some_and(|(_, finding)| *finding == Finding::Taken);
            assert_eq!(is_taken, value.is_some(), "{request}");
            let name = policy.attribute_name(sourced.attribute);
            format!("{name}={}: {}", value.unwrap_or("-"), places.collect::<Vec<_>>().join(", "))
        }));
        assert_eq!(told, *expected, "{request}");
    }
}
