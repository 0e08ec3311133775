//! Takes connections from a listener, as many at a time as there may be; both ports do it alike.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

/// Pauses between tries to accept when the process is out of descriptors, shortest and longest (P9).
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A listener, and how many of its connections there may be at a time; further ones wait in its queue.
#[derive(Debug)]
pub(crate) struct Entrance {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection's place among those there may be. It is free again when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Entrance {
    /// Takes connections from `listener`, `most` at a time, and one at least.
    pub(crate) fn new(listener: TcpListener, most: usize) -> Entrance {
        Entrance { listener, places: Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// The next connection, once there is a place for it.
    pub(crate) async fn next(&self) -> (TcpStream, SocketAddr, Place) {
        // The semaphore is never closed, so there always is a permit.
        let place = Place { _permit: Arc::clone(&self.places).acquire_owned().await.ok() };
        let mut pause = PAUSE.0;
        loop {
            match self.listener.accept().await {
                Ok((socket, address)) => {
                    // What is written here is whole answers: to wait until a packet is full would only delay them.
                    let _ = socket.set_nodelay(true);
                    return (socket, address, place);
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    // Mostly too many open files: others have to end first.
                    tracing::warn!(%error, "cannot accept a connection now");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }
}

/// Whether an error in accepting concerns one connection alone.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
