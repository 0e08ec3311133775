//! What the two ends of one client connection know of each other: the guard below the HTTP parser, the service above.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Waker};

use super::fault::Fault;
use crate::accept::Place;

/// The state of one connection that both its guard and its service need.
///
/// The guard counts the requests it lets pass and the service those it is called for; as the parser between them keeps
/// their order, the service knows by its count which call stands for the request that the guard refused.
#[derive(Debug, Default)]
pub(super) struct Wire {
    passed: AtomicU64,
    called: AtomicU64,
    /// The request that was refused, by its place in the count, and why.
    refused: OnceLock<(u64, Fault)>,
    /// Why a body broke off.
    broken: OnceLock<Fault>,
    under_way: AtomicUsize,
    /// The place in the count of the request that asked to upgrade, plus one; zero if none did.
    asking: AtomicU64,
    upgrade: Mutex<Upgrade>,
    /// Taken as long as anything of the connection is left.
    _place: Place,
}

/// How far a request to go on in another protocol has come.
#[derive(Debug, Default)]
enum Upgrade {
    #[default]
    Unanswered,
    Waiting(Waker),
    Answered(Answer),
}

/// The answer to a request to go on in another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What follows is the other protocol.
    Granted,
    /// What follows is the next request.
    Declined,
}

/// A call of the service.
#[derive(Debug)]
pub(super) enum Call {
    /// For a request that was let pass.
    Request,
    /// For one that was let pass and asks to go on in another protocol; it awaits [`Wire::answer`].
    Upgrade,
    /// For one that was refused, and why.
    Refused(Fault),
}

impl Wire {
    /// The state of a connection that takes `place`.
    pub(super) fn at(place: Place) -> Wire {
        Wire { _place: place, ..Wire::default() }
    }

    /// Notes that a request was let pass.
    pub(super) fn pass(&self) {
        self.passed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the next request was refused.
    pub(super) fn refuse(&self, fault: Fault) {
        let place = self.passed.load(Ordering::Relaxed);
        let _ = self.refused.set((place, fault));
    }

    /// Notes a call of the service and says what it is for.
    pub(super) fn call(&self) -> Call {
        let place = self.called.fetch_add(1, Ordering::Relaxed);
        match self.refused.get() {
            Some((refused, fault)) if *refused == place => Call::Refused(fault.clone()),
            _ if self.asking.load(Ordering::Relaxed) == place + 1 => Call::Upgrade,
            _ => Call::Request,
        }
    }

    /// How often the service was called.
    pub(super) fn calls(&self) -> u64 {
        self.called.load(Ordering::Relaxed)
    }

    /// Notes why the body under way broke off.
    pub(super) fn break_off(&self, fault: Fault) {
        let _ = self.broken.set(fault);
    }

    /// Why the body under way broke off, if the guard did it.
    pub(super) fn broken(&self) -> Option<&Fault> {
        self.broken.get()
    }

    /// Whether a request has been let pass whose answer is not complete.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
            || self.passed.load(Ordering::Relaxed) > self.called.load(Ordering::Relaxed)
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Notes that the request that was passed last asks to go on in another protocol.
    pub(super) fn ask(&self) {
        *self.upgrade() = Upgrade::Unanswered;
        self.asking.store(self.passed.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Answers what [`Wire::ask`] noted.
    pub(super) fn answer(&self, answer: Answer) {
        let before = std::mem::replace(&mut *self.upgrade(), Upgrade::Answered(answer));
        if let Upgrade::Waiting(waker) = before {
            waker.wake();
        }
    }

    /// The answer to what [`Wire::ask`] noted, or `None`; then `context` is woken when there is one.
    pub(super) fn poll_answer(&self, context: &Context<'_>) -> Option<Answer> {
        let mut upgrade = self.upgrade();
        if let Upgrade::Answered(answer) = *upgrade {
            return Some(answer);
        }
        *upgrade = Upgrade::Waiting(context.waker().clone());
        None
    }

    fn upgrade(&self) -> std::sync::MutexGuard<'_, Upgrade> {
        self.upgrade.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a request as under way until it is dropped with the end of its answer.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Wire>);

impl UnderWay {
    pub(super) fn on(wire: &Arc<Wire>) -> UnderWay {
        wire.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(wire))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
