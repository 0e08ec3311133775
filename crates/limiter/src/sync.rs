//! The atomics of the store, so that a model checker can put its own in their place (`--cfg loom`).

#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence},
    thread::yield_now,
};
#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence},
    thread::yield_now,
};

/// Waiting for another thread to leave a bucket: a few spins, for it is inside for some tens of nanoseconds, then the
/// processor is given away, for it may have been taken off its own.
pub(crate) struct Backoff {
    spins: u32,
}

impl Backoff {
    /// Spins before the processor is given away. A stay in a bucket takes less; more would burn the time slice that the
    /// thread inside needs.
    #[cfg(not(loom))]
    const SPINS: u32 = 64;

    pub(crate) fn new() -> Backoff {
        Backoff { spins: 0 }
    }

    #[cfg(not(loom))]
    pub(crate) fn wait(&mut self) {
        if self.spins < Backoff::SPINS {
            self.spins += 1;
            spin_loop();
        } else {
            yield_now();
        }
    }

    /// Two threads that wait could hand the processor to each other for ever; the checker need not follow them there.
    #[cfg(loom)]
    pub(crate) fn wait(&mut self) {
        self.spins += 1;
        if self.spins > Backoff::MODELLED_WAITS {
            loom::skip_branch();
        }
        yield_now();
    }

    #[cfg(loom)]
    const MODELLED_WAITS: u32 = 2;
}

/// Words of zeros. The system hands out zeroed pages as they are touched, so that a large table costs nothing until it
/// is used.
///
/// `None` if the system does not promise that much.
pub(crate) fn zeros(length: usize) -> Option<Box<[AtomicU64]>> {
    #[cfg(loom)]
    return Some((0..length).map(|_| AtomicU64::new(0)).collect());
    #[cfg(not(loom))]
    bytemuck::try_zeroed_slice_box(length).ok()
}
