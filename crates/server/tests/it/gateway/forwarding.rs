//! What the upstream and the client get of each other's headers (K4, K5, K7), and what the gateway adds.

use super::stand::{GENEROUS, Gate, Recorder};

#[tokio::test]
async fn fields_of_one_connection_end_at_the_gateway() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: x-hop, keep-alive\r\nKeep-Alive: timeout=5\r\n\
                  X-Hop: 1\r\nX-End: 2\r\nProxy-Connection: close\r\n\r\nok";
    let mut upstream = Recorder::answering(|_| answer.as_bytes().to_vec()).await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client
        .send(
            "GET /x?b=2&a=1 HTTP/1.1\r\nHost: API.example.com:8080\r\nConnection: keep-alive, X-Hop, TE\r\nX-Hop: 1\r\n\
             X-End: 2\r\nTE: gzip, trailers\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\n\
             X-Multiple: 1\r\nX-Multiple: 2\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.header("x-end"), answer.header("x-hop")), (Some("2"), None));
    for name in ["connection", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let seen = upstream.next().await;
    assert_eq!(seen.request_line(), "GET /x?b=2&a=1 HTTP/1.1");
    assert_eq!(seen.header("host"), Some(upstream.address.to_string().as_str()));
    assert_eq!(seen.header("x-end"), Some("2"));
    assert_eq!(seen.header("x-forwarded-host"), Some("API.example.com:8080"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    for name in ["connection", "x-hop", "te", "keep-alive", "proxy-connection", "proxy-authorization"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert!(seen.head.contains("x-multiple: 1\r\nx-multiple: 2\r\n"), "{}", seen.head);
}

#[tokio::test]
async fn connection_cannot_name_what_a_caller_is_known_by() {
    let policy = r#"
        name = "keyed"
        [attributes]
        key = ["header:X-API-Key", "bearer"]
        [[limit]]
        name  = "all"
        per   = ["key?"]
        quota = "100/366d"
    "#;
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(policy, Some(upstream.address)).await;
    let protected = [
        "X-API-Key",
        "Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Content-Type",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
    ];
    for name in protected {
        let mut client = gate.client().await;
        client
            .send(format!(
                "POST /x HTTP/1.1\r\nHost: a\r\nConnection: {name}\r\nConnection: close, {}\r\nX-API-Key: k\r\n\
                 Authorization: Bearer t\r\nCookie: c\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
                name.to_lowercase()
            ))
            .await;
        assert_eq!(client.answer().await.status, 200, "{name}");
        assert!(client.is_over().await);
        let seen = upstream.next().await;
        assert!(seen.header(name).is_some(), "{name} is gone: {}", seen.head);
        assert_eq!(seen.body, b"hi");
    }
}

#[tokio::test]
async fn forged_and_doubtful_fields_end_at_the_gateway() {
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client
        .send(
            "GET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n\
             X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\n\
             X_Forwarded_For: 10.0.0.9\r\nX-Forwarded_Host: evil\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.status, 200);
    let seen = upstream.next().await;
    assert_eq!(seen.header("x-forwarded-for"), Some("10.0.0.1, 10.0.0.2, 10.0.0.3, 127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-host"), Some("a"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert!(!seen.head.contains('_') && !seen.head.contains("evil"), "{}", seen.head);
    assert_eq!((seen.header("forwarded"), seen.header("x-real-ip")), (None, None));
    // A method other than the one that was counted is refused (K7); the same one is needless.
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 400);
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: POST\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.next().await.header("x-http-method-override"), None);
}

#[tokio::test]
async fn headers_of_a_decision_replace_the_upstreams_own() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nRateLimit: \"theirs\";r=9\r\nX-Other: 1\r\n\r\n".to_vec()
    })
    .await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("x-other")), (201, Some("1")));
    let rate_limit = answer.header("ratelimit").unwrap();
    assert!(rate_limit.contains("r=99999") && !rate_limit.contains("theirs"), "{rate_limit}");
}

#[tokio::test]
async fn a_base_path_is_put_before_every_target() {
    let mut upstream = Recorder::start().await;
    let address = upstream.address;
    for base in ["/base/v1", "/base/v1/"] {
        let gate = Gate::open_with(GENEROUS, None, |options| {
            options.upstream = Some(format!("http://localhost:{}{base}", address.port()).parse().unwrap());
        })
        .await;
        let mut client = gate.client().await;
        client.send("GET /things/1?a=b HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(client.answer().await.status, 200);
        let seen = upstream.next().await;
        assert_eq!(seen.target(), "/base/v1/things/1?a=b");
        assert_eq!(seen.header("host"), Some(format!("localhost:{}", address.port()).as_str()));
        assert_eq!(upstream.next().await.target(), "/base/v1/");
    }
}

#[tokio::test]
async fn http_1_0_is_answered_without_chunks() {
    let upstream =
        Recorder::answering(|_| b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec())
            .await;
    let gate = Gate::open(GENEROUS, Some(upstream.address)).await;
    let mut client = gate.client().await;
    client.send("GET /x HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.text(), answer.header("transfer-encoding")), ("ok", None));
    assert!(client.is_over().await);
}

#[tokio::test]
async fn the_built_in_upstream_says_what_it_received() {
    let gate = Gate::open(GENEROUS, None).await;
    let mut client = gate.client().await;
    client
        .send("POST /things/%7e1?q=%20 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert!(answer.header("ratelimit").is_some());
    let said = answer.json();
    assert_eq!(said["method"], "POST");
    assert_eq!(said["path"], "/things/~1");
    assert_eq!(said["query"], "q=%20");
    assert_eq!(said["headers"]["x-a"], "1, 2");
    assert_eq!(said["headers"]["x-forwarded-host"], "a");
    assert_eq!((&said["body"], &said["body_bytes"]), (&"hello".into(), &5.into()));
    client.send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer_to_head().await;
    assert!(answer.header("content-length").is_some_and(|length| length != "0"), "{}", answer.head);
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.json()["body_bytes"], 0);
}

/// I45: the peer's address, and what it says of others only if it is trusted.
#[tokio::test]
async fn limits_count_by_the_address_of_the_client() {
    let policy = |trusted: &str| {
        format!(
            "name = 'clients'\n[attributes]\nclient = 'client'\n[client]\ntrusted = '{trusted}'\n\
             [[limit]]\nname = 'client'\nper = ['client']\nquota = '1/366d'\n"
        )
    };
    for (trusted, statuses) in [("127.0.0.0/8", [200, 200, 429, 400, 200]), ("192.0.2.0/24", [200, 429, 429, 429, 429])]
    {
        let gate = Gate::open(&policy(trusted), None).await;
        let mut client = gate.client().await;
        let mut found = Vec::new();
        for header in [
            "X-Forwarded-For: 198.51.100.1\r\n",
            "X-Forwarded-For: 198.51.100.1, 198.51.100.2\r\n",
            "X-Forwarded-For: 198.51.100.3\r\nX-Forwarded-For: ::ffff:198.51.100.2\r\n",
            "X-Forwarded-For: nobody\r\n",
            "",
        ] {
            client.send(&format!("GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n")).await;
            found.push(client.answer().await.status);
        }
        assert_eq!(found, statuses, "trusted {trusted}");
    }
}
