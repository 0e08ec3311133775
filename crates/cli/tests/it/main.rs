//! The program itself, from outside.

mod documented;
mod model;
mod requests;
mod scratch;
mod serve;
mod simulate;
mod transcripts;
