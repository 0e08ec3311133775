//! The intake: from requests to facts. Tables are in `tests/data`.

mod addresses;
mod attributes;
mod bodies;
mod build;
mod costs;
mod demands;
mod derived;
mod hosts;
mod junk;
mod key_files;
mod keys;
mod meter;
mod paths;
mod routes;
mod sketch;
mod tokens;
