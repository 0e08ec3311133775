//! Policy, store and clock make a decision.
//!
//! [`Limiter::check`] reads the clock once, resolves the demand to charges, has the store apply them, decides, and
//! reports one event. [`Memory`] is the store in this process; `store.rs` says what every store promises.

mod clock;
mod event;
mod limiter;
mod receipt;
mod reservations;
pub mod store;
mod sync;

pub use clock::{Clock, ManualClock, SystemClock};
pub use event::Observer;
pub use limiter::Limiter;
pub use receipt::Receipt;
pub use reservations::{MAX_RESERVATIONS, NotAnId, Places, ReservationId, ReserveError, SettleError};
pub use store::{Memory, MemoryOptions, NoMemory};
