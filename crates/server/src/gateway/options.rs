//! The gateway's settings, each with its default and the reason for it.

use std::time::Duration;

use http::Uri;

/// How the gateway listens and forwards.
#[derive(Clone, Debug, Default)]
pub struct GatewayOptions {
    /// Where admitted requests go: `http://host[:port][/base]`. `None` for the built-in upstream, which answers with
    /// what it received.
    pub upstream: Option<Uri>,
    /// Whether refusals say in the header `Tidegate-Decision` by what they can be explained. Off: answers are the vendor's to
    /// the letter.
    pub decision_header: bool,
    /// How long the gateway waits, for what.
    pub timeouts: Timeouts,
    /// How much the gateway takes.
    pub bounds: Bounds,
}

/// How long the gateway waits, for what. Every wait on a peer has an end (P5).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the opening of a connection to the first bytes that tell its protocol. 10 s.
    pub handshake: Duration,
    /// From the first piece of a request's head to its last. 10 s: most heads come in one piece.
    pub head: Duration,
    /// Between two requests of a connection: 75 s, above the 60 s after which common balancers close their end.
    pub idle: Duration,
    /// Between two pieces of a request's or an answer's body. 60 s.
    pub body: Duration,
    /// Until a client takes in what was written to it. 60 s.
    pub write: Duration,
    /// After a connection's last answer, for a client that still sends, so that it can read the answer; and after one
    /// end of a tunnel has closed, for what is on its way there. 2 s.
    pub linger: Duration,
    /// Until the upstream accepts a connection. 3 s, one lost first packet included.
    pub connect: Duration,
    /// From a request, once it is sent, to the head of the upstream's answer. 60 s.
    pub answer: Duration,
    /// How long an unused connection to the upstream is kept. 30 s.
    pub upstream_idle: Duration,
    /// Between two pieces in a tunnel, whichever way: 10 min. Both ends of a living WebSocket ping more often.
    pub tunnel: Duration,
    /// How long requests under way may go on after the signal to shut down. 30 s, as orchestrators allow.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(60),
            write: Duration::from_secs(60),
            linger: Duration::from_secs(2),
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(30),
            tunnel: Duration::from_secs(600),
            drain: Duration::from_secs(30),
        }
    }
}

/// How much the gateway takes. Nothing that a client sends takes more (I49).
///
/// Heads have fixed bounds beside these: a target of 16 KiB, 100 header lines, 64 KiB in all.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at a time; further ones wait to be accepted. A tunnel is one, and so is a connection whose client has
    /// left while its answer is read on for its costs. 4,096.
    pub connections: usize,
    /// Requests at a time on one HTTP/2 connection. 128.
    pub streams: u32,
    /// Bytes of one request's body. 256 MiB, above every shipped vendor's upload.
    pub body_bytes: u64,
    /// Bytes of a body that a policy reads, which therefore is held in memory. 1 MiB.
    pub read_body_bytes: usize,
    /// Bytes of all bodies that are held in memory. 256 MiB.
    pub held_body_bytes: usize,
    /// Bytes of a refused request's body that are read and thrown away, so that its connection goes on. 1 MiB; beyond
    /// it is cheaper for both sides to close.
    pub drained_body_bytes: u64,
    /// Unused connections to the upstream that are kept. 256.
    pub upstream_idle: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            connections: 4_096,
            streams: 128,
            body_bytes: 256 * 1024 * 1024,
            read_body_bytes: 1024 * 1024,
            held_body_bytes: 256 * 1024 * 1024,
            drained_body_bytes: 1024 * 1024,
            upstream_idle: 256,
        }
    }
}
