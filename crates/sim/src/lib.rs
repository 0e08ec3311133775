//! The real limiter in virtual time: a [`Trace`] is read line by line, a [`World`] asks the limiter at the instants it
//! names, and a [`Report`] sums up what was decided.
//!
//! What this crate does not do: open files, print, or render decisions in a vendor's words.

pub mod bounds;
mod report;
mod trace;
mod world;

pub use report::{BusyKey, LimitTally, LongestWait, Report};
pub use trace::{Ask, Entry, Form, Request, Response, Trace, TraceError, instant_from_seconds};
pub use world::{Outcome, World};
