//! Bodies on their way: from the client to the upstream, and back. None is gathered; each has an end.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::fault::Fault;
use super::hold::Hold;
use super::upstream::Lease;
use super::wire::UnderWay;
use crate::patience::Patience;

/// A request's body on its way to the upstream.
#[derive(Debug)]
pub(super) enum Upload {
    /// There is none, or it was gathered because the policy reads it.
    Whole(Option<Bytes>),
    /// It passes through as it arrives.
    Stream(Box<Stream>),
}

/// A body that passes through.
#[derive(Debug)]
pub(super) struct Stream {
    incoming: Incoming,
    left: u64,
    patience: Patience,
    limit: Duration,
    progress: Arc<Progress>,
}

/// How far an upload has come, for those who wait for its answer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    moves: AtomicU64,
    fault: OnceLock<Fault>,
}

impl Progress {
    /// Changes whenever a piece of the upload passes.
    pub(super) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Why the upload broke off, if it did and the client is at fault.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.get()
    }
}

impl Upload {
    /// A body that passes through: at most `bound` bytes, with no pause longer than `limit`.
    pub(super) fn stream(incoming: Incoming, bound: u64, limit: Duration) -> (Upload, Arc<Progress>) {
        let progress = Arc::<Progress>::default();
        if incoming.is_end_stream() {
            return (Upload::Whole(None), progress);
        }
        let patience = Patience::default();
        let stream = Stream { incoming, left: bound, patience, limit, progress: Arc::clone(&progress) };
        (Upload::Stream(Box::new(stream)), progress)
    }

    /// Whether nothing would be lost by sending it twice.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Upload::Whole(None))
    }
}

impl Stream {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
            ready!(self.patience.poll_end(self.limit, context));
            return self.broken(Fault::new(408, "body", "the rest did not arrive in time"));
        };
        self.patience.renew();
        self.progress.moves.fetch_add(1, Ordering::Relaxed);
        match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.checked_sub(length) {
                    Some(left) => self.left = left,
                    None => return self.broken(Fault::new(413, "body", "longer than this gateway takes")),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => self.broken(Fault::new(400, "body", "broke off")),
            None => Poll::Ready(None),
        }
    }

    fn broken(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let _ = self.progress.fault.set(fault.clone());
        Poll::Ready(Some(Err(fault)))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Upload::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Upload::Stream(stream) => stream.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Upload::Whole(bytes) => bytes.is_none(),
            Upload::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Upload::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Upload::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

/// An answer's body on its way to the client. What the request holds is held until it is dropped.
#[derive(Debug)]
pub(super) struct Download {
    source: Source,
    hold: Hold,
    /// Dropped last: the connection is busy until all else is done.
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
enum Source {
    /// Said by the gateway itself.
    Local(Option<Bytes>),
    /// Said by the upstream.
    Upstream(Box<Arrival>),
}

/// A body that arrives from the upstream.
#[derive(Debug)]
pub(super) struct Arrival {
    incoming: Incoming,
    lease: Option<Lease>,
    has_ended: bool,
    patience: Patience,
    limit: Duration,
}

impl Arrival {
    /// What arrives on a leased connection, with no pause longer than `limit`.
    pub(super) fn new(incoming: Incoming, lease: Lease, limit: Duration) -> Arrival {
        Arrival { incoming, lease: Some(lease), has_ended: false, patience: Patience::default(), limit }
    }

    /// The next piece, or what is wrong with the upstream.
    pub(super) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
            ready!(self.patience.poll_end(self.limit, context));
            return Poll::Ready(Some(Err(Fault::new(
                504,
                "upstream",
                "the rest of its answer did not arrive in time",
            ))));
        };
        self.patience.renew();
        self.has_ended = frame.is_none();
        let broken = |_| Fault::new(502, "upstream", "its answer broke off");
        Poll::Ready(frame.map(|frame| frame.map_err(broken)))
    }

    fn is_over(&self) -> bool {
        self.has_ended || self.incoming.is_end_stream()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if self.is_over()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Download {
    /// An answer of the gateway's own.
    pub(super) fn local(body: Option<Bytes>) -> Download {
        Download {
            source: Source::Local(body.filter(|body| body.has_remaining())),
            hold: Hold::nothing(),
            under_way: None,
        }
    }

    /// An answer of the upstream's.
    pub(super) fn upstream(arrival: Arrival) -> Download {
        Download { source: Source::Upstream(Box::new(arrival)), hold: Hold::nothing(), under_way: None }
    }

    /// Holds what the request holds until this is dropped, and meters what passes.
    pub(super) fn holding(mut self, hold: Hold) -> Download {
        self.hold = hold;
        self
    }

    /// Keeps the request under way until this is dropped.
    pub(super) fn keeping(mut self, under_way: UnderWay) -> Download {
        self.under_way = Some(under_way);
        self
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let download = self.get_mut();
        let frame = match &mut download.source {
            Source::Local(body) => body.take().map(|bytes| Ok(Frame::data(bytes))),
            Source::Upstream(arrival) => ready!(arrival.poll_frame(context)),
        };
        match &frame {
            Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| download.hold.meter(data)),
            // No more will be learned from an upstream that broke off.
            Some(Err(_)) => download.hold = Hold::nothing(),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Local(body) => body.is_none(),
            Source::Upstream(arrival) => arrival.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Local(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Source::Upstream(arrival) => arrival.incoming.size_hint(),
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // A client that leaves before the costs are known would otherwise never be charged.
        let source = std::mem::replace(&mut self.source, Source::Local(None));
        if let Source::Upstream(arrival) = source
            && !arrival.is_over()
        {
            std::mem::replace(&mut self.hold, Hold::nothing()).meter_rest(*arrival, self.under_way.take());
        }
    }
}
