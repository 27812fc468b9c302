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

/// Bytes that must move within each window at least; what HTTP/2 says to keep a connection alive is less.
const PROGRESS: u64 = 1024;
/// Bytes that must move in a second of a window: a tenth of what any line has, so whoever is slower does not want to read.
const SLOWEST: u64 = 4096;

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

    /// Ends when for a whole window no request was handled and nothing to speak of moved.
    pub(super) async fn stops(&self, window: Duration) {
        let progress = PROGRESS.max(SLOWEST * window.as_secs());
        let seen = || (self.0.turns.load(Ordering::Relaxed), self.0.moved.load(Ordering::Relaxed));
        loop {
            let before = seen();
            tokio::time::sleep(window).await;
            let now = seen();
            let quiet = now.0 == before.0 && now.1 - before.1 < progress;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_reads_just_enough_to_seem_alive_is_not_waited_for() {
        let window = Duration::from_secs(1);
        for (bytes, is_over) in [(500, true), (2_000, false)] {
            let pulse = Pulse::default();
            let trickle = async {
                for _ in 0..9 {
                    pulse.moved(bytes);
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            };
            let stopped = tokio::select! {
                () = pulse.stops(window) => true,
                () = trickle => false,
            };
            assert_eq!(stopped, is_over, "{bytes} bytes each quarter of a second");
        }
    }
}
