//! Many callers at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use super::desk::Desk;

/// Exactly five of sixty-four are admitted, each time (I1, I6, I8).
#[test]
fn sixty_four_callers_on_a_limit_of_five() {
    const CALLERS: usize = 64;
    const ROUNDS: usize = 200;
    let desk = Desk::open();
    let admitted: Vec<AtomicU64> = (0..ROUNDS).map(|_| AtomicU64::new(0)).collect();
    let barrier = Barrier::new(CALLERS);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let mut client = desk.client();
                for (round, admitted) in admitted.iter().enumerate() {
                    // Ten messages each on a limit of fifty, beside three other limits that have room for all.
                    let body = format!(
                        r#"{{"attributes":{{"app":"a{round}","user":"u","operation":"send","plan":"paid"}},"cost":{{"messages":10,"requests":0}}}}"#
                    );
                    barrier.wait();
                    let reply = client.post("/v1/check", &body);
                    assert_eq!(reply.status, 200, "{}", reply.body);
                    let is_admitted = reply.body.starts_with(r#"{"allowed":true"#);
                    admitted.fetch_add(u64::from(is_admitted), Ordering::Relaxed);
                }
            });
        }
    });
    let counts: Vec<u64> = admitted.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert_eq!(counts, vec![5; ROUNDS]);
}
