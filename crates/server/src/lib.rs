//! What listens: the gateway before an upstream, and the HTTP API that answers decisions.

mod accept;
pub mod assemble;
pub mod book;
mod engine;
pub mod explain;
pub mod gateway;
pub mod http;
pub mod metrics;
mod patience;
pub mod refusals;
pub mod reload;
pub mod vendors;

pub use assemble::{Api, AssembleError, beside};
pub use book::{Book, BookError};
pub use engine::{Change, Engine};
pub use metrics::{Metrics, Surface};
