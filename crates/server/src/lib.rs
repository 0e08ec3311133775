//! What listens: the gateway before an upstream, and the HTTP API that answers decisions.

mod accept;
pub mod assemble;
pub mod explain;
pub mod gateway;
pub mod http;
pub mod metrics;
mod patience;
pub mod vendors;

pub use assemble::{Api, AssembleError, Engine};
pub use metrics::{Metrics, Surface};
