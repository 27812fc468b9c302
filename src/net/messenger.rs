//! HL7 v2 messages to others over MLLP: `routing::Messenger` on sockets.
//!
//! One connection to each address, kept open between messages as receivers expect it, and thrown away when our identity
//! or the trust store is read again, or when anything about it is odd. A message is sent a second time by itself only
//! when the connection turns out to have been closed before anything came back: the receiver knows a copy by MSH-10.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::hl7v2::mllp::{self, Deframer};
use crate::id::Clock;
use crate::routing::exchange::{ExchangeError, Phase, Unreachable};
use crate::routing::messenger::{Address, Messenger};
use crate::trust::{ChainError, NetworkName, Refusal, Tls, Usage};

/// The longest answer, in bytes. An acknowledgement has a few hundred.
const LONGEST_ANSWER: usize = 64 << 10;
/// Answers to earlier messages that are passed over before the connection is given up.
const MOST_STRAY: usize = 8;
/// Time for TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);

/// Sends messages over MLLP.
pub struct Dialer {
    clock: Clock,
    identity: Arc<Tls>,
    lines: std::sync::Mutex<HashMap<Address, Arc<Mutex<Option<Connection>>>>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Connection {
    stream: Box<dyn Stream>,
    deframer: Deframer,
    generation: (u64, u64),
}

/// How an exchange over a connection failed.
enum Broken {
    /// The other side had closed it before anything of an answer came.
    Closed,
    /// Anything else.
    Failed(ExchangeError),
}

impl Dialer {
    /// With our identity for TLS.
    pub fn new(clock: Clock, identity: Arc<Tls>) -> Self {
        Self { clock, identity, lines: std::sync::Mutex::default() }
    }

    fn line(&self, to: &Address) -> Arc<Mutex<Option<Connection>>> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(to.clone()).or_default().clone()
    }

    async fn send(
        &self,
        to: &Address,
        message: &[u8],
        answers: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<Vec<u8>, ExchangeError> {
        let deadline = Instant::now() + to.timeout;
        let line = self.line(to);
        let Ok(mut kept) = timeout_at(deadline, line.lock()).await else {
            return Err(ExchangeError::TimedOut(Phase::Connecting));
        };
        let generation = self.identity.generation();
        let old = kept.take().filter(|connection| connection.generation == generation);
        if let Some(mut connection) = old {
            match connection.exchange(message, answers, deadline).await {
                Ok(answer) => {
                    *kept = connection.if_clean();
                    return Ok(answer);
                }
                Err(Broken::Closed) => {}
                Err(Broken::Failed(error)) => return Err(error),
            }
        }
        let mut connection = self.connect(to, deadline, generation).await?;
        match connection.exchange(message, answers, deadline).await {
            Ok(answer) => {
                *kept = connection.if_clean();
                Ok(answer)
            }
            Err(Broken::Closed) => Err(ExchangeError::Reset),
            Err(Broken::Failed(error)) => Err(error),
        }
    }

    async fn connect(
        &self,
        to: &Address,
        deadline: Instant,
        generation: (u64, u64),
    ) -> Result<Connection, ExchangeError> {
        let end = deadline.min(Instant::now() + CONNECT);
        let opening = self.open(to);
        let stream = timeout_at(end, opening).await.map_err(|_| ExchangeError::TimedOut(Phase::Connecting))??;
        let deframer = Deframer::new(mllp::Limits { message_bytes: LONGEST_ANSWER });
        Ok(Connection { stream, deframer, generation })
    }

    async fn open(&self, to: &Address) -> Result<Box<dyn Stream>, ExchangeError> {
        let addresses = tokio::net::lookup_host((to.host.as_str(), to.port)).await;
        let addresses: Vec<_> = addresses.map_err(|_| ExchangeError::NameNotResolved)?.collect();
        if addresses.is_empty() {
            return Err(ExchangeError::NameNotResolved);
        }
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| unreachable(&error))?;
        // A message is one write; nothing is gained by waiting for more. The outcome does not matter.
        let _ = stream.set_nodelay(true);
        let Some(network) = &to.network else { return Ok(Box::new(stream)) };
        Ok(Box::new(self.secure(stream, to, network).await?))
    }

    /// TLS, and then the network's whole rule about the server's certificate.
    async fn secure(
        &self,
        stream: TcpStream,
        to: &Address,
        network: &NetworkName,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ExchangeError> {
        let config = self.identity.client(network).map_err(|problem| ExchangeError::Network(problem.to_string()))?;
        let name = ServerName::try_from(to.server_name.to_string())
            .map_err(|_| ExchangeError::Network("the server name is not a name".into()))?;
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| ExchangeError::TlsRefused(Refusal::find(&error).unwrap_or(Refusal::Ended)))?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let refused = |error: ChainError| ExchangeError::TlsRefused(error.into());
        let (leaf, sent) = certificates.split_first().ok_or_else(|| refused(ChainError::Malformed))?;
        let trust = self.identity.trust();
        trust.verify_chain(network, leaf, sent, Usage::Server, self.clock.now()).map_err(refused)?;
        Ok(stream)
    }
}

impl Messenger for Dialer {
    fn ask<'a>(
        &'a self,
        to: &'a Address,
        message: &'a [u8],
        answers: &'a (dyn Fn(&[u8]) -> bool + Sync),
    ) -> BoxFuture<'a, Result<Vec<u8>, ExchangeError>> {
        Box::pin(self.send(to, message, answers))
    }
}

impl Connection {
    async fn exchange(
        &mut self,
        message: &[u8],
        answers: &(dyn Fn(&[u8]) -> bool + Sync),
        deadline: Instant,
    ) -> Result<Vec<u8>, Broken> {
        let late = |_| Broken::Failed(ExchangeError::TimedOut(Phase::Answering));
        let framed = mllp::frame(message);
        let sending = async {
            self.stream.write_all(&framed).await?;
            self.stream.flush().await
        };
        timeout_at(deadline, sending).await.map_err(late)?.map_err(|_| Broken::Closed)?;
        let mut buffer = vec![0; 4096];
        let mut heard = false;
        let mut stray = 0;
        loop {
            match self.deframer.next() {
                Ok(Some(answer)) if answers(&answer) => return Ok(answer),
                Ok(Some(_)) if stray < MOST_STRAY => stray += 1,
                Ok(Some(_)) | Err(_) => return Err(Broken::Failed(ExchangeError::Truncated)),
                Ok(None) => match timeout_at(deadline, self.stream.read(&mut buffer)).await.map_err(late)? {
                    // With TLS 1.3 a receiver that refuses our certificate says so only now.
                    Err(error) if let Some(refusal) = Refusal::find(&error) => {
                        return Err(Broken::Failed(ExchangeError::TlsRefused(refusal)));
                    }
                    Ok(0) | Err(_) if heard => return Err(Broken::Failed(ExchangeError::Truncated)),
                    Ok(0) | Err(_) => return Err(Broken::Closed),
                    Ok(count) => {
                        heard = true;
                        self.deframer.push(&buffer[..count]);
                    }
                },
            }
        }
    }

    /// The connection, if nothing is left in it that the next message would take for its own answer.
    fn if_clean(mut self) -> Option<Self> {
        match self.deframer.next() {
            Ok(None) if !self.deframer.is_inside_frame() => Some(self),
            Ok(_) | Err(_) => None,
        }
    }
}

fn unreachable(error: &io::Error) -> ExchangeError {
    ExchangeError::Unreachable(match error.kind() {
        io::ErrorKind::ConnectionRefused => Unreachable::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Unreachable::NoRoute,
        _ => Unreachable::Other,
    })
}
