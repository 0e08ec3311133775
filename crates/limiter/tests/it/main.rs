//! Tests of the limiter and its stores. `contract.rs` holds any store to what `store.rs` promises.

mod batch;
mod cap;
mod contract;
mod disk;
mod distinct;
mod limiter;
mod memory;
mod no_room;
mod receipts;
mod reservations;
mod support;
mod threads;
