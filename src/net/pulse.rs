//! Whether a connection is still in use: requests are handled, or bytes move. One that does neither is closed, whoever
//! it is that waits: a client that says nothing after the handshake, one that keeps HTTP/2 open for later, one that asks
//! for documents and does not read them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that must move within each window; what HTTP/2 says to keep a connection alive is less.
const PROGRESS: u64 = 1024;

/// What a connection does, as its stream and its requests tell.
#[derive(Clone, Default)]
pub(super) struct Pulse(Arc<Beats>);

#[derive(Default)]
struct Beats {
    /// Bytes, in both directions.
    moved: AtomicU64,
    /// Beginnings and ends of requests.
    turns: AtomicU64,
    /// Requests that are being handled.
    running: AtomicUsize,
}

/// A request that is being handled, until this is dropped.
pub(super) struct Running(Pulse);

impl Pulse {
    /// A request begins.
    pub(super) fn request(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        self.0.turns.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    /// Ends when for a whole window no request was handled and next to nothing moved.
    pub(super) async fn stops(&self, window: Duration) {
        let seen = || (self.0.turns.load(Ordering::Relaxed), self.0.moved.load(Ordering::Relaxed));
        loop {
            let before = seen();
            tokio::time::sleep(window).await;
            let now = seen();
            let quiet = now.0 == before.0 && now.1 - before.1 < PROGRESS;
            if quiet && self.0.running.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    fn moved(&self, bytes: usize) {
        self.0.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.turns.fetch_add(1, Ordering::Relaxed);
        self.0.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that tells a pulse what moves.
pub(super) struct Felt<S> {
    stream: S,
    pulse: Pulse,
}

impl<S> Felt<S> {
    pub(super) fn new(stream: S, pulse: Pulse) -> Self {
        Self { stream, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Felt<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.pulse.moved(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Felt<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.pulse.moved(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces))?;
        self.pulse.moved(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
