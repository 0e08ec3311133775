//! What the core promises, held by tables (`tests/data`), by properties beside a slow exact model (`oracle`), and by
//! cases for what a policy resolves to. Invariants are named I1 to I60 where a test holds one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attempts;
mod ceiling;
mod clocks;
mod decide;
mod drafts;
mod drift;
mod explain;
mod freeze;
mod garbage;
mod limits_together;
mod oracle;
mod promises;
mod resolve;
mod samples;
mod settle;
mod table;
mod tables;
mod worst_case;
