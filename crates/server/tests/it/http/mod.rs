//! The HTTP API on real sockets.

mod as_simulated;
mod described;
mod desk;
mod distinct;
mod documented;
mod explained;
mod left;
mod metered;
mod mistakes;
mod mutated;
mod reserved;
mod rulings;
mod together;
