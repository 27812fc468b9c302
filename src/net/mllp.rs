//! The MLLP listener: HL7 version 2 over TCP, with mutual TLS (ITI-19) or, inside a house, without.
//!
//! Messages of one connection are answered in their order, one at a time, also when several arrive together. What to
//! answer to a frame that cannot be read is the handler's business; then the connection is closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{self, Gate, OnRefused};
use super::linger;
use crate::hl7v2::mllp::{self, Deframer, FrameError};
use crate::id::Clock;
use crate::trust::{Peer, Refusal, Tls};

/// Limits of an MLLP listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one IP address.
    pub connections_per_address: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// How long a connection may be silent between messages: partners keep theirs open for hours.
    pub idle: Duration,
    /// Time for the rest of a message that has begun, and for the partner to take our answer.
    pub message: Duration,
    /// After this silence a message that lacks only the last byte of its end is taken as complete.
    pub end: Duration,
    /// What a frame may cost.
    pub frame: mllp::Limits,
    /// Time that running messages have after shutdown was asked for.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            connections_per_address: 200,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(3600),
            message: Duration::from_secs(30),
            end: Duration::from_millis(500),
            frame: mllp::Limits::default(),
            drain: Duration::from_secs(30),
        }
    }
}

/// The other end of an MLLP connection.
#[derive(Clone, Debug)]
pub struct MllpPeer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// Who it is, on a TLS listener.
    pub tls: Option<Arc<Peer>>,
}

/// Answers messages. Both methods get and give messages without their frame; nothing is sent for an empty answer.
pub trait Handler: Send + Sync + 'static {
    /// Answers one message.
    fn answer(&self, message: Vec<u8>, peer: Arc<MllpPeer>) -> BoxFuture<'_, Vec<u8>>;

    /// Answers a frame that is too long or broken; the connection is closed afterwards.
    fn unreadable(&self, error: &FrameError, peer: Arc<MllpPeer>) -> BoxFuture<'_, Vec<u8>>;
}

/// What a listener needs besides its socket and its handler.
#[derive(Clone)]
pub struct Listener {
    /// Our identity and whom we trust; none for a listener without TLS.
    pub tls: Option<Arc<Tls>>,
    /// Limits.
    pub limits: Limits,
    /// Told of every refused connection.
    pub on_refused: OnRefused,
    /// The time at which certificates are judged.
    pub clock: Clock,
}

/// Serves until `shutdown` is cancelled and the messages that were running then are answered, or their time is up.
pub async fn serve(listener: TcpListener, settings: Listener, handler: Arc<dyn Handler>, shutdown: CancellationToken) {
    let gate = Gate::new(settings.limits.connections, settings.limits.connections_per_address);
    let settings = Arc::new(settings);
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    while let Some((stream, address, place)) = gate::accept(&listener, &gate, &settings.on_refused, &shutdown).await {
        let (settings, handler) = (Arc::clone(&settings), Arc::clone(&handler));
        let (shutdown, abort) = (shutdown.clone(), abort.clone());
        connections.spawn(async move {
            let _place = place;
            tokio::select! {
                biased;
                () = abort.cancelled() => {}
                () = connection(stream, address, &settings, &*handler, &shutdown) => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "MLLP connections are cut off at shutdown");
        abort.cancel();
        connections.wait().await;
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    settings: &Listener,
    handler: &dyn Handler,
    shutdown: &CancellationToken,
) {
    let Some(tls) = &settings.tls else {
        let peer = Arc::new(MllpPeer { address, tls: None });
        return talk(stream, &peer, settings, handler, shutdown).await;
    };
    match gate::handshake(tls, &settings.clock, stream, address, settings.limits.handshake).await {
        Ok((stream, peer)) => {
            let peer = Arc::new(MllpPeer { address, tls: Some(Arc::new(peer)) });
            talk(stream, &peer, settings, handler, shutdown).await;
        }
        Err(refusal) => (settings.on_refused)(address, &refusal),
    }
}

/// What the wait for bytes brought.
enum Wait {
    Bytes(usize),
    Silence,
    Over,
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    peer: &Arc<MllpPeer>,
    settings: &Listener,
    handler: &dyn Handler,
    shutdown: &CancellationToken,
) {
    let limits = &settings.limits;
    let mut deframer = Deframer::new(limits.frame);
    let mut buffer = vec![0; 16 << 10];
    // When the message that is arriving must be complete.
    let mut complete_by = None;
    loop {
        loop {
            let (reply, broken) = match deframer.next() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    complete_by = None;
                    if let Err(refusal) = still_trusted(peer, settings) {
                        return (settings.on_refused)(peer.address, &refusal);
                    }
                    (handler.answer(message, Arc::clone(peer)).await, false)
                }
                Err(error) => (handler.unreadable(&error, Arc::clone(peer)).await, true),
            };
            if send(&mut stream, &reply, limits.message).await.is_err() {
                return;
            }
            if broken {
                // The frame may still be coming, and its refusal is to be heard.
                return linger::close(&mut stream, linger::ANSWER_HEARD).await;
            }
        }
        let now = tokio::time::Instant::now();
        let inside = deframer.is_inside_frame();
        let patience = if inside {
            let end = *complete_by.get_or_insert(now + limits.message);
            limits.end.min(end.saturating_duration_since(now))
        } else {
            limits.idle
        };
        let wait = tokio::select! {
            biased;
            () = shutdown.cancelled(), if !inside => Wait::Over,
            read = tokio::time::timeout(patience, stream.read(&mut buffer)) => match read {
                Ok(Ok(0) | Err(_)) => Wait::Over,
                Ok(Ok(length)) => Wait::Bytes(length),
                Err(_) => Wait::Silence,
            },
        };
        match wait {
            Wait::Bytes(length) => deframer.push(&buffer[..length]),
            Wait::Silence if inside => match deframer.flush_on_idle() {
                Some(message) => {
                    complete_by = None;
                    let reply = handler.answer(message, Arc::clone(peer)).await;
                    if send(&mut stream, &reply, limits.message).await.is_err() {
                        return;
                    }
                }
                None if complete_by.is_some_and(|end| tokio::time::Instant::now() >= end) => {
                    tracing::debug!(address = %peer.address, "an HL7 message stopped in its middle");
                    return;
                }
                None => {}
            },
            Wait::Silence | Wait::Over => {
                // Neither end has more to say; TLS wants to hear so. The outcome does not matter.
                let _ = tokio::time::timeout(limits.message, stream.shutdown()).await;
                return;
            }
        }
    }
}

/// After a reload of the trust store the peer of an open connection is looked at again.
fn still_trusted(peer: &MllpPeer, settings: &Listener) -> Result<(), Refusal> {
    let (Some(peer), Some(tls)) = (&peer.tls, &settings.tls) else { return Ok(()) };
    if peer.generation() != tls.trust().generation() {
        // Recent verifications are remembered, so the next messages of this connection cost a look-up.
        Peer::verify(tls.trust(), peer.address(), peer.certificates().to_vec(), settings.clock.now())?;
    }
    Ok(())
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, reply: &[u8], time: Duration) -> std::io::Result<()> {
    if reply.is_empty() {
        return Ok(());
    }
    let sending = async {
        stream.write_all(&mllp::frame(reply)).await?;
        stream.flush().await
    };
    tokio::time::timeout(time, sending).await.unwrap_or_else(|late| Err(late.into()))
}
