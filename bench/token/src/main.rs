//! What it costs to take the claims of a token, by the algorithm that it is signed by: `cargo run --release`.
//!
//! Each row is one algorithm: the least of nine rounds, in microseconds a request, from its headers to its facts, and how
//! much of that a request with a token of an unknown key costs, which is read but not verified. The tokens and the keys
//! are those of the tests.

use std::hint::black_box;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method};
use tidegate_core::Timestamp;
use tidegate_policy::{Asked, Lowered, Source, lower_with};

const KEYS: &str = include_str!("../../../crates/policy/tests/data/keys/keys.json");
const TOKENS: &str = include_str!("../../../crates/policy/tests/data/keys/tokens.txt");

/// 2024-02-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_secs(1_706_745_600);

const POLICY: &str = r#"
name = "tokens"
attributes = { user = "jwt:sub" }
jwt = { from = "bearer", jwks = "./keys.json" }

[[limit]]
name = "all"
per = ["user"]
quota = "1/s"
"#;

const ROUNDS: usize = 9;

/// Requests of a round.
const REQUESTS: u32 = 2_000;

fn main() {
    let read = |_: &str| Ok(KEYS.to_owned());
    let lowered = lower_with(&Source { name: "tokens.toml", text: POLICY }, 1, &read).expect("the policy above");
    // `{"alg":"RS256","kid":"nobody's"}`: found out before anything is verified.
    let unknown = "eyJhbGciOiJSUzI1NiIsImtpZCI6Im5vYm9keSdzIn0.e30.AAAA";
    let floor = microseconds(&lowered, unknown, false);
    println!("read, not verified  {floor:8.2} us");
    for line in TOKENS.lines() {
        let (algorithm, token) = line.split_once(' ').expect("ALGORITHM TOKEN");
        println!("{algorithm:18}  {:8.2} us", microseconds(&lowered, token, true));
    }
}

/// The least of all rounds.
fn microseconds(Lowered { policy, intake, .. }: &Lowered, token: &str, counts: bool) -> f64 {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}")).expect("a header"));
    let asked = Asked { peer: None, host: None, headers: &headers, body: None };
    let route = intake.route(&Method::GET, "/").expect("a route");
    let user = policy.attribute("user").expect("an attribute");
    let round = |_| {
        let start = Instant::now();
        for _ in 0..REQUESTS {
            let facts = intake.extract(policy, &route, black_box(&asked), NOW).expect("a request");
            assert_eq!(facts.value(user).is_some(), counts);
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
