//! The store on disk, without counters: what was kept is found again, whatever happens to the power and to the bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::cast_possible_truncation, reason = "the folders of these tests are small")]

mod crashes;
mod damage;
mod powerless;
