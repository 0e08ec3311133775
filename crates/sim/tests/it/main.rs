//! Traces as they are read, and what a report says of them.

mod lines;
mod mutated;
mod random;
mod report;
mod world;

use std::io::Cursor;

use tidegate_policy::{Lowered, Source, lower};
use tidegate_sim::{Entry, Trace, TraceError};

const POLICY: &str = include_str!("../data/policy.toml");

fn lowered() -> Lowered {
    lower(&Source { name: "policy.toml", text: POLICY }, 1).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Reads a whole trace and hands each line to `each`.
fn read(text: impl AsRef<[u8]>, mut each: impl FnMut(Result<Entry<'_>, TraceError>)) {
    let policy = lowered().policy;
    let mut trace = Trace::new(Cursor::new(text));
    while let Some(next) = trace.next(&policy) {
        each(next);
    }
}
