//! The atomics of the store, so that a model checker can put its own in their place (`--cfg loom`).

#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
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
    const SPINS: u32 = if cfg!(loom) { 0 } else { 64 };

    pub(crate) fn new() -> Backoff {
        Backoff { spins: 0 }
    }

    pub(crate) fn wait(&mut self) {
        if self.spins < Backoff::SPINS {
            self.spins += 1;
            spin_loop();
        } else {
            yield_now();
        }
    }
}

/// Words of zeros. The system hands out zeroed pages as they are touched, so that a large table costs nothing until it
/// is used.
pub(crate) fn zeros(length: usize) -> Box<[AtomicU64]> {
    #[cfg(loom)]
    return (0..length).map(|_| AtomicU64::new(0)).collect();
    #[cfg(not(loom))]
    bytemuck::zeroed_slice_box(length)
}
