//! Many callers at once.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::stand::{Gate, Recorder};

/// Must-hold (d): 64 concurrent callers on a limit of 5, 200 rounds: exactly 5 admitted each time (I1, I19, I47).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_callers_at_once_exactly_5_are_admitted() {
    const CALLERS: usize = 64;
    const ROUNDS: usize = 200;
    let policy = r#"
        name = "five"
        [attributes]
        key = "header:X-Key"
        [[limit]]
        name  = "five"
        per   = ["key"]
        quota = "5/366d"
    "#;
    let mut upstream = Recorder::start().await;
    let gate = Gate::open(policy, Some(upstream.address)).await;
    let barrier = Arc::new(Barrier::new(CALLERS));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let (mut client, barrier) = (gate.client().await, Arc::clone(&barrier));
        callers.push(tokio::spawn(async move {
            let mut statuses = Vec::new();
            for round in 0..ROUNDS {
                barrier.wait().await;
                client.send(format!("GET /x HTTP/1.1\r\nHost: a\r\nX-Key: round-{round}\r\n\r\n")).await;
                statuses.push(client.answer().await.status);
            }
            statuses
        }));
    }
    let mut admitted = [0; ROUNDS];
    for caller in callers {
        for (round, status) in caller.await.unwrap().into_iter().enumerate() {
            assert!(matches!(status, 200 | 429), "{status}");
            admitted[round] += usize::from(status == 200);
        }
    }
    assert_eq!(admitted, [5; ROUNDS]);
    let mut forwarded = [0; ROUNDS];
    for seen in upstream.rest() {
        let round: usize = seen.header("x-key").unwrap().strip_prefix("round-").unwrap().parse().unwrap();
        forwarded[round] += 1;
    }
    assert_eq!(forwarded, [5; ROUNDS]);
}
