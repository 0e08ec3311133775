//! A deadline that costs next to nothing while things move: it is set once and looked at when it passes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long to wait for a peer that keeps still.
///
/// The timer is not moved with every byte. It fires once per `limit` at most, and if something has moved since the
/// waiting began, it is set anew; so it never fires early, and the clock is read once per wait.
#[derive(Debug, Default)]
pub(super) struct Patience {
    sleep: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
}

impl Patience {
    /// Notes that the peer moved; the next wait begins anew.
    pub(super) fn renew(&mut self) {
        self.waiting_since = None;
    }

    /// Ready when the peer has kept still for `limit`; until then `context` is woken when it might have.
    pub(super) fn poll_end(&mut self, limit: Duration, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let deadline = since + limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() >= deadline {
                self.waiting_since = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
