//! `/v1/policies`: what is in force, and putting something else into force.

use std::sync::Arc;

use serde_json::json;
use tidegate_limiter::MemoryOptions;
use tidegate_server::{Api, Engine, http};
use tokio::net::{TcpListener, TcpStream};

use super::house::{Folder, House, policy};
use crate::gateway::stand::Client;

#[tokio::test]
async fn a_policy_that_is_put_is_in_force_at_once() {
    let folder = Folder::new("put");
    folder.write("own.toml", &policy("own", 10, ""));
    let mut house = House::of(&folder).await;
    for _ in 0..4 {
        house.check(&json!({"attributes": {}})).await;
    }
    let put = house.ask("PUT", "/v1/policies/own", &policy("own", 5, "")).await;
    assert_eq!((put.status, put.json()), (200, json!({"policy": "own", "version": 2, "warnings": []})));
    let ruling = house.check(&json!({"attributes": {}})).await;
    assert_eq!((&ruling["version"], &ruling["limits"][0]["remaining"]), (&json!(2), &json!(0)));
    assert_eq!(house.get("a", "/", "").await.status, 429);
    let listed = house.ask("GET", "/v1/policies", "").await.json();
    let own = &listed["policies"][0];
    assert_eq!((&own["version"], &own["source"]), (&json!(2), &json!("PUT /v1/policies/own")));
    // It holds until the file changes, or somebody asks for what the files say.
    house.look();
    assert_eq!(house.version("own"), Some(2));
    house.reload();
    assert_eq!(house.version("own"), Some(3));
    assert_eq!(house.check(&json!({"attributes": {}, "peek": true})).await["limits"][0]["remaining"], 5);

    let unused = "[attributes]\napp = \"header:X-App\"\n";
    let put = house.ask("PUT", "/v1/policies/more", &format!("{}{unused}", policy("more", 10, "/more"))).await;
    assert_eq!((put.status, &put.json()["version"]), (200, &json!(1)), "{}", put.text());
    assert_eq!(put.json()["warnings"][0]["code"], "W001");
    let more = house.ask("GET", "/v1/policies/more", "").await.json();
    assert_eq!(
        (&more["prefix"], &more["limits"], &more["rules"][0]["name"]),
        (&json!("/more"), &json!(1), &json!("all"))
    );
}

/// I36: what is wrong is refused whole, with all that is wrong with it.
#[tokio::test]
async fn what_cannot_be_put_changes_nothing() {
    let folder = Folder::new("not-put");
    folder.write("own.toml", &policy("own", 10, ""));
    let house = House::of(&folder).await;
    let put = house.ask("PUT", "/v1/policies/own", "name = \"own\"\n[[limit]]\nquota = 7\n").await;
    assert_eq!(put.status, 422);
    let said = put.json();
    assert_eq!(said["error"]["message"], "the policy has 2 problems");
    let codes: Vec<_> =
        said["problems"].as_array().unwrap().iter().map(|problem| problem["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["E004", "E005"]);
    assert_eq!((&said["problems"][1]["line"], &said["problems"][1]["column"]), (&json!(3), &json!(9)));
    for (name, text, status, part) in [
        ("other", policy("own", 10, ""), 422, "calls itself `own`"),
        ("own", format!("dialect = \"./x.toml\"\n{}", policy("own", 10, "")), 422, "cannot name files"),
        ("own", format!("dialect = \"/etc/passwd\"\n{}", policy("own", 10, "")), 422, "cannot name files"),
        ("own", format!("dialect = \"itef\"\n{}", policy("own", 10, "")), 422, "did you mean `ietf`?"),
        ("more", policy("more", 10, ""), 409, "both for every request"),
        ("own", String::new(), 422, "problem"),
        ("..%2F..%2Fown", policy("own", 10, ""), 422, "calls itself"),
        ("%FF", policy("own", 10, ""), 422, "calls itself"),
    ] {
        let put = house.ask("PUT", &format!("/v1/policies/{name}"), &text).await;
        assert_eq!(put.status, status, "{name}: {}", put.text());
        assert!(put.text().contains(part), "{name}: {}", put.text());
    }
    let mut client = Client::of(TcpStream::connect(house.control).await.unwrap());
    client.send(b"PUT /v1/policies/own HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n\xff\xfe").await;
    assert_eq!(client.answer().await.status, 400);
    assert_eq!(house.version("own"), Some(1));
    let unknown = house.ask("GET", "/v1/policies/ow", "").await;
    assert_eq!((unknown.status, &unknown.json()["error"]["help"]), (404, &json!("did you mean `own`?")));
    assert_eq!(house.ask("DELETE", "/v1/policies/own", "").await.header("allow"), Some("GET, HEAD, PUT"));
    // The text is at fault, not a source: what is served is ready.
    assert_eq!(house.ask("GET", "/readyz", "").await.text(), r#"{"status":"ready"}"#);
    let refused = r#"tidegate_policy_reloads_total{policy="own",result="refused"}"#;
    assert_eq!(house.sample(refused).await.as_deref(), Some("5"));
}

/// A port that everybody reaches takes no policy: nobody is asked who they are.
#[tokio::test]
async fn only_a_loopback_address_takes_policies() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let engine = Arc::new(
        Engine::new(Api::text("own.toml", &policy("own", 10, "")).unwrap(), MemoryOptions::default()).unwrap(),
    );
    tokio::spawn(http::serve(listener, Arc::clone(&engine), std::future::pending()));
    let mut client = Client::of(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let text = policy("own", 99, "");
    let length = text.len();
    client.send(format!("PUT /v1/policies/own HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{text}")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("bind the control port to one"), "{}", answer.text());
    assert_eq!(engine.book().named("own").unwrap().policy.version(), 1);
}
