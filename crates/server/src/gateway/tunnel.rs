//! What follows a granted upgrade: bytes both ways, until either end closes or both keep still.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy, split};
use tokio::time::{sleep, timeout};

use super::Timeouts;
use super::hold::Hold;
use super::stage::{Stage, StageReader};

/// Connects the two ends of an upgrade once both are there. What the request holds is held until the tunnel closes.
pub(super) async fn run(
    client: OnUpgrade,
    upstream: OnUpgrade,
    timeouts: Timeouts,
    mut stage: StageReader,
    hold: Hold,
) {
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
    let client = Watched { end: TokioIo::new(client), moves: Arc::clone(&moves) };
    tokio::select! {
        ended = carry(client, TokioIo::new(upstream), timeouts.linger) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "tunnel broke");
            }
        }
        () = stillness(&moves, timeouts.tunnel) => tracing::debug!("tunnel kept still"),
        () = stage.reached(Stage::Cut) => {}
    }
    drop(hold);
}

/// Carries bytes both ways until one end says no more; what is on its way to that end then has `linger` to arrive.
///
/// No protocol that is tunnelled lives on in one direction, and a peer that is gone looks the same.
async fn carry<A, B>(client: A, upstream: B, linger: Duration) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = split(client);
    let (mut from_upstream, mut to_upstream) = split(upstream);
    let mut up = std::pin::pin!(async {
        copy(&mut from_client, &mut to_upstream).await?;
        to_upstream.shutdown().await
    });
    let mut down = std::pin::pin!(async {
        copy(&mut from_upstream, &mut to_client).await?;
        to_client.shutdown().await
    });
    let rest = tokio::select! {
        ended = up.as_mut() => { ended?; timeout(linger, down).await }
        ended = down.as_mut() => { ended?; timeout(linger, up).await }
    };
    rest.unwrap_or(Ok(()))
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
