//! What follows a granted upgrade: bytes both ways, until either end closes or both keep still.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::sleep;

use super::hold::Hold;
use super::stage::{Stage, StageReader};

/// Connects the two ends of an upgrade once both are there. What the request holds is held until the tunnel closes.
pub(super) async fn run(client: OnUpgrade, upstream: OnUpgrade, idle: Duration, mut stage: StageReader, hold: Hold) {
    let ends = async { tokio::try_join!(client, upstream) };
    let ends = tokio::select! {
        ends = ends => ends,
        () = stage.reached(Stage::Cut) => return,
    };
    let (client, upstream) = match ends {
        Ok(ends) => ends,
        Err(error) => return tracing::debug!(%error, "upgrade was not completed"),
    };
    let moves = Arc::<AtomicU64>::default();
    let mut client = Watched { end: TokioIo::new(client), moves: Arc::clone(&moves) };
    let mut upstream = TokioIo::new(upstream);
    tokio::select! {
        ended = copy_bidirectional(&mut client, &mut upstream) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "tunnel broke");
            }
        }
        () = stillness(&moves, idle) => tracing::debug!("tunnel kept still"),
        () = stage.reached(Stage::Cut) => {}
    }
    drop(hold);
}

/// Ends when nothing has moved for `limit`, at most twice that later.
async fn stillness(moves: &AtomicU64, limit: Duration) {
    let mut seen = moves.load(Ordering::Relaxed);
    loop {
        sleep(limit).await;
        let now = moves.load(Ordering::Relaxed);
        if now == seen {
            return;
        }
        seen = now;
    }
}

/// The client's end; whatever passes the tunnel passes here.
struct Watched<S> {
    end: S,
    moves: Arc<AtomicU64>,
}

impl<S> Watched<S> {
    fn note<T>(&self, moved: Poll<T>) -> Poll<T> {
        if moved.is_ready() {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
        moved
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.end).poll_read(context, buffer);
        self.note(moved)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.end).poll_write(context, bytes);
        self.note(moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_shutdown(context)
    }
}
