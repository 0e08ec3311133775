//! Many callers at once, and one that holds the others up.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use tidegate_limiter::MemoryOptions;
use tidegate_server::{Engine, http};

use super::desk::{Desk, own_api};
use crate::gateway::stand::{Client, Time};

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

/// Whoever asks and does not read is not waited for (I49): the place is somebody else's after a minute.
#[tokio::test]
async fn a_caller_that_does_not_read_is_cut_off() {
    let time = Time::stopped();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a port");
    let engine = Arc::new(Engine::new(own_api(), MemoryOptions::default()).unwrap());
    let _control = tokio::spawn(http::serve(listener, engine, std::future::pending()));
    let client = Client::of(tokio::net::TcpStream::connect(address).await.expect("it listens"));
    let ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let until_it_ends = async {
        while client.socket.try_write(&ask).map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| true) {
            tokio::task::yield_now().await;
        }
    };
    time.passes_until(until_it_ends).await;
}

/// Nothing of the control port outlives its drain: who does not read by then is cut off with the rest.
#[tokio::test]
async fn no_connection_outlives_the_drain() {
    let time = Time::stopped();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a port");
    let engine = Arc::new(Engine::new(own_api(), MemoryOptions::default()).unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let until = async { stopped.await.unwrap_or(()) };
    let control = tokio::spawn(http::serve(listener, Arc::clone(&engine), until));
    let client = Client::of(tokio::net::TcpStream::connect(address).await.expect("it listens"));
    let ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    // Until it takes no more, as nobody reads what it says.
    let mut refusals = 0;
    while refusals < 1_000 {
        match client.socket.try_write(&ask) {
            Ok(_) => refusals = 0,
            Err(_) => refusals += 1,
        }
        tokio::task::yield_now().await;
    }
    let began = tokio::time::Instant::now();
    drop(stop);
    time.passes_until(control).await.expect("it ends").expect("without an error");
    assert!(engine.is_draining());
    assert!(began.elapsed() < http::bounds::WRITE_DEADLINE, "{:?}", began.elapsed());
    // A connection that is gone does not block: it fails.
    let is_over = |error: std::io::Error| error.kind() != ErrorKind::WouldBlock;
    let mut turns = 0;
    while !client.socket.try_write(&ask).is_err_and(is_over) {
        turns += 1;
        assert!(turns < 100_000, "the connection is still there");
        tokio::task::yield_now().await;
    }
}
