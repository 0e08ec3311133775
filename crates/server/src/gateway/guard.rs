//! Stands between a client's socket and the HTTP parser: lets pass what has one reading only, and waits for no one long.
//!
//! For HTTP/1 it reads every head and follows every body, exactly and without changing a byte. In place of a request
//! that it refuses it hands on one of its own, so that earlier pipelined requests are answered first and in order; the
//! service recognises it by its place (see [`Wire`]). Nothing behind a refused head is read as HTTP. What arrives behind
//! a request to upgrade is held back until that is answered, as only then it is known what it is (P2).
//!
//! HTTP/2 has a framing of its own; there the guard only keeps time.

mod chunks;
mod head;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::chunks::ChunkReader;
use self::head::{Framing, HeadReader};
use super::fault::Fault;
use super::options::Timeouts;
use super::wire::{Answer, Wire};
use crate::patience::{Patience, Timed};

pub(super) use self::head::{MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES};

/// Most bytes held back behind a request to upgrade: a client that talks before it is granted is in no hurry to be heard.
const MAX_HELD_BYTES: usize = 64 * 1024;

/// Most bytes read and thrown away after the last answer, so that closing does not tear the answer from the client's
/// hands: a socket closed with unread bytes is reset.
const MAX_LINGER_BYTES: usize = 1024 * 1024;

/// A client's connection, guarded.
#[derive(Debug)]
pub(super) struct Guard<S> {
    socket: Timed<S>,
    wire: Arc<Wire>,
    timeouts: Timeouts,
    phase: Phase,
    head: HeadReader,
    /// Bytes that were read and not handed on; the first `approved` of them may be.
    held: BytesMut,
    approved: usize,
    /// Whether the client has sent all it will.
    has_ended: bool,
    reading: Patience,
    lingered: Option<usize>,
}

/// What the next bytes belong to.
#[derive(Debug)]
enum Phase {
    /// A head.
    Head,
    /// A body of so many more bytes.
    Length(u64),
    /// A chunked body.
    Chunks(ChunkReader),
    /// What follows a request to upgrade that is not answered.
    Upgrade,
    /// Another protocol, or HTTP/2: none of the guard's business.
    Opaque,
    /// Nothing: it is not read any more.
    Refused,
}

impl<S> Guard<S> {
    /// Guards an HTTP/1 connection of which `begun` was already read.
    pub(super) fn http1(socket: S, begun: BytesMut, wire: Arc<Wire>, timeouts: Timeouts) -> Guard<S> {
        let mut guard = Guard::opaque(socket, begun, wire, timeouts);
        guard.phase = Phase::Head;
        guard.approved = 0;
        guard
    }

    /// Keeps time on a connection of another protocol of which `begun` was already read.
    pub(super) fn opaque(socket: S, begun: BytesMut, wire: Arc<Wire>, timeouts: Timeouts) -> Guard<S> {
        Guard {
            socket: Timed::new(socket, timeouts.write),
            wire,
            timeouts,
            phase: Phase::Opaque,
            head: HeadReader::default(),
            approved: begun.len(),
            held: begun,
            has_ended: false,
            reading: Patience::default(),
            lingered: None,
        }
    }

    /// How many of `bytes`, which follow what was approved before, may be handed on; the rest waits for more bytes, or
    /// for ever if a fault comes with it.
    fn follow(&mut self, bytes: &[u8]) -> (usize, Option<Fault>) {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.phase {
                Phase::Head => match self.head.read(&bytes[at..]) {
                    Ok(None) => break,
                    Ok(Some((length, framing))) => {
                        at += length;
                        self.begin(framing);
                    }
                    Err(fault) => return (at, Some(fault)),
                },
                Phase::Length(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    at += taken;
                    *left -= taken as u64;
                    if *left == 0 {
                        self.phase = Phase::Head;
                    }
                }
                Phase::Chunks(reader) => match reader.read(&bytes[at..]) {
                    Ok((taken, is_done)) => {
                        at += taken;
                        if is_done {
                            self.phase = Phase::Head;
                        }
                    }
                    Err((taken, fault)) => return (at + taken, Some(fault)),
                },
                Phase::Upgrade | Phase::Refused => break,
                Phase::Opaque => at = bytes.len(),
            }
        }
        (at, None)
    }

    fn begin(&mut self, framing: Framing) {
        self.wire.pass();
        self.reading.renew();
        self.phase = match framing {
            Framing::Length(0) => Phase::Head,
            Framing::Length(length) => Phase::Length(length),
            Framing::Chunked => Phase::Chunks(ChunkReader::default()),
            Framing::Upgrade => {
                self.wire.ask();
                Phase::Upgrade
            }
        };
    }

    /// Follows what is held and not approved.
    fn follow_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        let (approved, fault) = self.follow(&held[self.approved..]);
        self.held = held;
        self.approved += approved;
        if let Some(fault) = fault {
            self.refuse(fault);
        }
    }

    /// Stops reading: answers in order if a head is at fault, else breaks the body off.
    fn refuse(&mut self, fault: Fault) {
        self.held.truncate(self.approved);
        if matches!(self.phase, Phase::Head) {
            self.wire.refuse(fault);
            let stand_in: &[u8] = if self.head.is_head() { b"HEAD" } else { b"GET" };
            self.held.extend_from_slice(stand_in);
            self.held.extend_from_slice(b" / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n");
            self.approved = self.held.len();
        } else {
            self.wire.break_off(fault);
        }
        self.phase = Phase::Refused;
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.approved.min(buffer.remaining());
        buffer.put_slice(&self.held[..length]);
        self.held.advance(length);
        self.approved -= length;
        if self.held.is_empty() {
            // Most connections never hold anything; those that did once should not pay for it for ever.
            self.held = BytesMut::new();
        }
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads into `buffer` and follows what came. Ready if some of it may be handed on, at the end, and on errors.
    fn poll_fill(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            if matches!(self.phase, Phase::Upgrade) && self.held.len() > MAX_HELD_BYTES {
                return Poll::Pending;
            }
            if Pin::new(&mut self.socket).poll_read(context, buffer)?.is_pending() {
                return self.poll_patience(context);
            }
            if !self.head.is_under_way() {
                self.reading.renew();
            }
            if buffer.filled().len() == before {
                self.has_ended = true;
                return Poll::Ready(Ok(()));
            }
            if self.held.is_empty() {
                let (approved, fault) = self.follow(&buffer.filled()[before..]);
                self.held.extend_from_slice(&buffer.filled()[before + approved..]);
                buffer.set_filled(before + approved);
                if let Some(fault) = fault {
                    self.refuse(fault);
                }
                if approved > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                self.held.extend_from_slice(&buffer.filled()[before..]);
                buffer.set_filled(before);
                self.follow_held();
            }
            if self.approved > 0 || matches!(self.phase, Phase::Refused) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Waits for the client, as long as what it is about to send may take.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_idle = matches!(self.phase, Phase::Head) && !self.head.is_under_way();
        let limit = match self.phase {
            Phase::Head if is_idle => self.timeouts.idle,
            Phase::Head => self.timeouts.head,
            Phase::Length(_) | Phase::Chunks(_) => self.timeouts.body,
            Phase::Upgrade | Phase::Opaque | Phase::Refused => return Poll::Pending,
        };
        ready!(self.reading.poll_end(limit, context));
        if is_idle && self.wire.is_busy() {
            // The client waits for us; it may.
            return self.reading.poll_end(limit, context).map(Ok);
        }
        if is_idle {
            self.has_ended = true;
        } else {
            self.refuse(Fault::new(408, "request", "the rest did not arrive in time"));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let before = buffer.filled().len();
        loop {
            if let Phase::Upgrade = guard.phase {
                match guard.wire.poll_answer(context) {
                    Some(Answer::Granted) => guard.phase = Phase::Opaque,
                    Some(Answer::Declined) => guard.phase = Phase::Head,
                    None => {}
                }
                guard.follow_held();
            } else if guard.approved == 0 && !guard.held.is_empty() && !guard.head.is_under_way() {
                guard.follow_held();
            }
            if guard.approved > 0 {
                guard.hand_on(buffer);
                return Poll::Ready(Ok(()));
            }
            if guard.has_ended {
                return Poll::Ready(Ok(()));
            }
            if let Phase::Refused = guard.phase {
                return match guard.wire.broken() {
                    Some(fault) => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault.clone()))),
                    // The stand-in was handed on; the connection ends with its answer.
                    None => Poll::Pending,
                };
            }
            ready!(guard.poll_fill(context, buffer))?;
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Reads and throws away what a client still sends after the last answer, up to a bound.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = Pin::new(&mut self.socket).poll_read(context, &mut buffer);
            let read_bytes = buffer.filled().len();
            match read {
                Poll::Pending => return self.reading.poll_end(self.timeouts.linger, context),
                Poll::Ready(Ok(())) if read_bytes > 0 => {
                    let lingered = self.lingered.get_or_insert(0);
                    *lingered += read_bytes;
                    if *lingered > MAX_LINGER_BYTES {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        if guard.lingered.is_none() {
            ready!(Pin::new(&mut guard.socket).poll_shutdown(context))?;
            let is_in_step = matches!(guard.phase, Phase::Head | Phase::Opaque) && guard.held.is_empty();
            if guard.has_ended || is_in_step {
                return Poll::Ready(Ok(()));
            }
            guard.lingered = Some(0);
            guard.reading.renew();
        }
        guard.poll_linger(context).map(Ok)
    }
}
