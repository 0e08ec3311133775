//! The vendor's own call that shows what is left: counted, answered here, never forwarded.

use std::sync::Arc;

use tidegate_limiter::MemoryOptions;
use tidegate_server::{Api, Engine};

use super::stand::{Gate, Recorder};

#[tokio::test]
async fn streams_rate_limits_are_shown_without_the_upstream() {
    let mut upstream = Recorder::start().await;
    let api = Api::vendor("stream").unwrap();
    let engine = Arc::new(Engine::new(api, MemoryOptions { max_counters: 10_000 }).unwrap());
    let gate = Gate::open_engine(engine, Some(upstream.address), |_| {}).await;
    // A token of the server: {"server":true}; the upstream is the one that verifies it.
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzZXJ2ZXIiOnRydWV9.c2ln";
    let get = |target: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nstream-auth-type: jwt\r\n\r\n")
    };
    let mut client = gate.client().await;
    client.send(get("/api/v2/rate_limits?api_key=k&server_side=true&endpoints=SendMessage")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = answer.json();
    assert!(shown["server_side"]["SendMessage"]["limit"].is_u64(), "{shown}");
    assert!(answer.header("x-ratelimit-limit").is_some(), "{}", answer.head);
    assert!(upstream.rest().is_empty());
    client.send(get("/api/v2/rate_limits?api_key=k&endpoints=Nonsense")).await;
    assert_eq!(client.answer().await.status, 400);
    let refused = loop {
        client.send(get("/api/v2/rate_limits?api_key=k&endpoints=SendMessage")).await;
        let answer = client.answer().await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 429);
    assert!(upstream.rest().is_empty());
}
