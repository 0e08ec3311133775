//! What listens: the gateway before an upstream, and the HTTP API that answers decisions.
