//! What the shipped dialects write, and what a dialect's file may say.

mod build;
mod conformance;
mod docs;
mod mistakes;
mod properties;
mod render;
mod shipped;
