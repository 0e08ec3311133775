//! What strangers and operators can write, held to more than that nothing breaks. Each function takes any bytes and
//! panics if what is promised of them does not hold (I36, I46, I45, design 4.7). `TARGETS` lists them by name; the corpora
//! are in `corpus/NAME`.

mod api;
mod dialects;
mod fields;
mod keyed;
mod meters;
mod policies;
mod questions;
mod requests;
mod tokens;
mod traces;

pub use dialects::dialect;
pub use fields::{header, host};
pub use meters::meter;
pub use policies::policy;
pub use questions::question;
pub use requests::{request, route};
pub use tokens::token;
pub use traces::{access_log, trace};

/// A target's name, and what it does with any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 11] = [
    ("policy", policy),
    ("dialect", dialect),
    ("route", route),
    ("request", request),
    ("header", header),
    ("host", host),
    ("token", token),
    ("question", question),
    ("trace", trace),
    ("access_log", access_log),
    ("meter", meter),
];
