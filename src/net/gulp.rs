//! Reading what has come in one go. TLS asks its socket for 4 KiB at a time, which would be a system call for each.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// The most that is read at once, in bytes: the longest record of TLS, with room for the next.
const GULP: usize = 32 << 10;

/// A stream that is read in large pieces and gives them out in small ones. Between two pieces it holds no memory:
/// there may be thousands of connections, and most of them wait.
#[derive(Debug)]
pub(super) struct Gulping<S> {
    stream: S,
    held: BytesMut,
}

impl<S> Gulping<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, held: BytesMut::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gulping<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, held } = &mut *self;
        if held.is_empty() {
            let mut gulp = BytesMut::with_capacity(GULP);
            ready!(poll_read_buf(Pin::new(stream), cx, &mut gulp))?;
            *held = gulp;
        }
        let length = held.len().min(to.remaining());
        to.put_slice(&held[..length]);
        held.advance(length);
        if held.is_empty() {
            *held = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gulping<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_is_read_in_large_pieces_is_given_out_whole_and_in_order_in_small_ones() {
        let sent: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[number as usize % 3]).collect();
        let (mut near, far) = tokio::io::duplex(50_000);
        let bytes = sent.clone();
        let sending = tokio::spawn(async move { near.write_all(&bytes).await });
        let (mut stream, mut received, mut piece) = (Gulping::new(far), Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut piece).await.unwrap();
            if length == 0 {
                break;
            }
            received.extend_from_slice(&piece[..length]);
        }
        sending.await.unwrap().unwrap();
        assert!(received == sent);
        assert_eq!(stream.held.capacity(), 0, "nothing is held when nothing is there");
    }

    #[tokio::test]
    async fn what_is_written_goes_through() {
        let (mut near, far) = tokio::io::duplex(1000);
        let mut stream = Gulping::new(far);
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut received = String::new();
        near.read_to_string(&mut received).await.unwrap();
        assert_eq!(received, "hello");
    }
}
