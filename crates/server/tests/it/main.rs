//! The server on real sockets.

mod gateway;
mod http;
mod surfaces;
