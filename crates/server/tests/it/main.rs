//! The server on real sockets.

mod gateway;
mod http;
mod reload;
mod surfaces;
