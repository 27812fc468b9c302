//! Closing a connection so that what was said last is heard (RFC 9112: 9.6).
//!
//! A socket that is closed while bytes of the other end are unread resets the connection, and a reset takes with it what
//! the other end has not read yet: the answer, the fault that says why a message was refused, the TLS alert. So we say
//! that we have done, and read on for a while, into nothing, until the other end is done too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

/// What the other end has to hear an answer and to stop sending: it is not waited for longer, nor read further.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) time: Duration,
    pub(super) bytes: usize,
}

/// For an answer. Who reads while it sends stops at once; what the sockets of both ends hold by then (some 10 MiB, as Linux
/// comes) is under way and must not meet a closed one. Who reads only afterwards is heard out for as much as the longest
/// body that is held in memory. Strangers come this far only where there is no TLS, inside a house.
pub(super) const ANSWER_HEARD: Patience = Patience { time: Duration::from_secs(5), bytes: 64 << 20 };

/// For the alert that ends a handshake. A client of TLS 1.3 has often sent its request before it hears of it, and that is
/// all that a stranger is listened to for.
pub(super) const ALERT_HEARD: Patience = Patience { time: Duration::from_millis(500), bytes: 64 << 10 };

/// Says that nothing more comes, and reads until the other end says so too or patience is over.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, patience: Patience) {
    let unread = Unread(Arc::new(AtomicBool::new(true)));
    // The outcome does not matter: the connection is over.
    let _ = Lingering::new(stream, unread, patience).shutdown().await;
}

/// Whether a request was answered before all of it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    fn told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The body of a request, which tells when it was left before its end.
#[derive(Debug)]
pub(super) struct Watched<B: Body> {
    body: B,
    unread: Unread,
}

impl<B: Body> Watched<B> {
    pub(super) fn new(body: B, unread: Unread) -> Self {
        Self { body, unread }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body> Drop for Watched<B> {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            self.unread.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection that lingers when it is shut down, if a request of it was left unread.
#[derive(Debug)]
pub(super) struct Lingering<S> {
    stream: S,
    unread: Unread,
    patience: Patience,
    /// Made when our own side is to be shut down.
    until: Option<Pin<Box<Sleep>>>,
    /// Whether it is.
    shut: bool,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, unread: Unread, patience: Patience) -> Self {
        Self { stream, unread, patience, until: None, shut: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    /// Says that nothing more comes, then reads to the end or to the last byte of our patience.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        let mut unread = [0; 4096];
        while self.patience.bytes > 0 {
            let mut buffer = ReadBuf::new(&mut unread);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.patience.bytes = self.patience.bytes.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.unread.told() {
            return Pin::new(&mut this.stream).poll_shutdown(cx);
        }
        let until = this.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.patience.time)));
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        // An error ends it like the end does: the answer is sent, and nothing more is wanted.
        this.poll_end(cx).map(|_| Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Closes one end while the other sends far more, and tells how much was taken of it.
    async fn taken(patience: Patience) -> usize {
        let (mut ours, mut theirs) = duplex(1000);
        let sender = tokio::spawn(async move {
            let mut sent = 0;
            while sent < 1 << 20
                && let Ok(bytes) = theirs.write(&[b'x'; 100]).await
            {
                sent += bytes;
            }
            sent
        });
        close(&mut ours, patience).await;
        drop(ours);
        sender.await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_goes_on_is_cut_off_after_as_many_bytes_as_it_has() {
        for bytes in [5_000, 64 << 10] {
            let taken = taken(Patience { time: HOUR, bytes }).await;
            // What is read at once, and what the pipe holds.
            assert!((bytes..bytes + 4096 + 1000).contains(&taken), "{taken} of {bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_rests_is_cut_off_in_time() {
        let (mut ours, mut theirs) = duplex(1000);
        let begun = tokio::time::Instant::now();
        close(&mut ours, Patience { time: HOUR, bytes: 1000 }).await;
        assert_eq!(begun.elapsed(), HOUR);
        assert_eq!(theirs.read(&mut [0; 10]).await.unwrap(), 0, "it was told that nothing more comes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_ends_is_not_waited_for() {
        let (mut ours, mut theirs) = duplex(1000);
        let begun = tokio::time::Instant::now();
        theirs.write_all(b"and so on").await.unwrap();
        theirs.shutdown().await.unwrap();
        close(&mut ours, Patience { time: HOUR, bytes: 1000 }).await;
        assert!(begun.elapsed().is_zero());
    }
}
