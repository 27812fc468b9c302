//! Reading a request body with a size limit and a time limit.
//!
//! A body must make progress: within each `window` at least `progress` bytes, and all of it by `total`. A sender of one
//! byte a second is as slow as one that sends nothing.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use hyper::body::Body;
use tokio::time::{Instant, Sleep};

/// Limits of one body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most bytes.
    pub bytes: u64,
    /// How long to wait for `progress`.
    pub window: Duration,
    /// Bytes that must come within each window (the last one excepted).
    pub progress: u64,
    /// The time for the whole body.
    pub total: Duration,
}

impl Default for Limits {
    /// 64 MiB, 1 KiB in each 10 s, 2 minutes.
    fn default() -> Self {
        Self { bytes: 64 << 20, window: Duration::from_secs(10), progress: 1024, total: Duration::from_secs(120) }
    }
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than allowed, announced or sent.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// Too few bytes in too much time.
    #[error("the body came too slowly")]
    TooSlow,
    /// The connection ended, or the framing broke, before the end.
    #[error("the body ended too early")]
    Truncated,
}

impl BodyError {
    /// The HTTP status that says so.
    pub fn status(self) -> hyper::StatusCode {
        match self {
            Self::TooLarge { .. } => hyper::StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => hyper::StatusCode::REQUEST_TIMEOUT,
            Self::Truncated => hyper::StatusCode::BAD_REQUEST,
        }
    }
}

/// A body within limits, as a stream of pieces.
pub struct Limited<B> {
    body: B,
    limits: Limits,
    read: u64,
    in_window: u64,
    /// Made when the body first keeps us waiting: most bodies are there already.
    clock: Option<Waiting>,
    ended: bool,
}

struct Waiting {
    timer: Pin<Box<Sleep>>,
    end: Instant,
}

impl<B> Limited<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Starts to read. The time runs from the first wait.
    pub fn new(body: B, limits: Limits) -> Self {
        Self { body, limits, read: 0, in_window: 0, clock: None, ended: false }
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The next piece, none at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// All of it.
    pub async fn collect(mut self) -> Result<Bytes, BodyError> {
        let expected = self.body.size_hint().lower();
        let Some(first) = self.next().await else { return Ok(Bytes::new()) };
        let first = first?;
        let Some(second) = self.next().await else { return Ok(first) };
        // An announced length reserves space, but not more than a body that lies is worth.
        let mut whole = BytesMut::with_capacity(usize::try_from(expected.min(1 << 20)).unwrap_or(0));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second?);
        while let Some(piece) = self.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.freeze())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.body.size_hint().lower() > self.limits.bytes - self.read.min(self.limits.bytes) {
            return self.fail(BodyError::TooLarge { limit: self.limits.bytes });
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(None) => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => return self.fail(BodyError::Truncated),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers mean nothing to us.
                    let Ok(data) = frame.into_data() else { continue };
                    if data.is_empty() {
                        continue;
                    }
                    return self.arrived(data);
                }
                Poll::Pending => {
                    ready!(self.poll_clock(cx));
                    return self.fail(BodyError::TooSlow);
                }
            }
        }
    }

    fn arrived(&mut self, data: Bytes) -> Poll<Option<Result<Bytes, BodyError>>> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.read = self.read.saturating_add(length);
        self.in_window = self.in_window.saturating_add(length);
        if self.read > self.limits.bytes {
            return self.fail(BodyError::TooLarge { limit: self.limits.bytes });
        }
        if let Some(waiting) = &mut self.clock {
            let now = Instant::now();
            if now >= waiting.end {
                return self.fail(BodyError::TooSlow);
            }
            if self.in_window >= self.limits.progress {
                self.in_window = 0;
                waiting.timer.as_mut().reset(waiting.end.min(now + self.limits.window));
            }
        }
        Poll::Ready(Some(Ok(data)))
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limits = self.limits;
        let waiting = self.clock.get_or_insert_with(|| {
            let now = Instant::now();
            let end = now + limits.total;
            Waiting { timer: Box::pin(tokio::time::sleep_until(end.min(now + limits.window))), end }
        });
        waiting.timer.as_mut().poll(cx)
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl<B> Stream for Limited<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_piece(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    const LIMITS: Limits =
        Limits { bytes: 100, window: Duration::from_secs(10), progress: 10, total: Duration::from_secs(60) };

    fn dripping(bytes: usize, pause: Duration) -> impl Body<Data = Bytes, Error = std::io::Error> + Unpin {
        let drops = futures_util::stream::iter(0..bytes).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        });
        StreamBody::new(Box::pin(drops))
    }

    #[tokio::test]
    async fn a_body_within_the_limits_is_read() {
        let body = Limited::new(Full::new(Bytes::from_static(b"hello")), LIMITS);
        assert_eq!(body.collect().await.unwrap(), "hello");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_announced_or_found_too_large_is_refused() {
        let announced = Limited::new(Full::new(Bytes::from(vec![0; 101])), LIMITS);
        assert_eq!(announced.collect().await, Err(BodyError::TooLarge { limit: 100 }));
        let sent = Limited::new(dripping(101, Duration::from_millis(1)), LIMITS);
        assert_eq!(sent.collect().await, Err(BodyError::TooLarge { limit: 100 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_must_make_progress_and_end_in_time() {
        for (pause, outcome) in [
            (Duration::from_millis(900), Err(BodyError::TooSlow)), // in all 72 s
            (Duration::from_millis(1500), Err(BodyError::TooSlow)), // 6 bytes in a window
            (Duration::from_millis(500), Ok(80)),
        ] {
            let body = Limited::new(dripping(80, pause), LIMITS);
            assert_eq!(body.collect().await.map(|bytes| bytes.len()), outcome, "{pause:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_truncated() {
        let pieces = vec![Ok(Frame::data(Bytes::from_static(b"x"))), Err(std::io::Error::other("gone"))];
        let body = Limited::new(StreamBody::new(futures_util::stream::iter(pieces)), LIMITS);
        assert_eq!(body.collect().await, Err(BodyError::Truncated));
    }
}
