//! What the shipped dialects write, and what a dialect's file may say.

mod conformance;
mod shipped;
