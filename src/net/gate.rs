//! What every listener does before it talks: limits, accepting, the TLS handshake, and saying why not.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::gulp::Gulping;
use super::linger;
use crate::id::Clock;
use crate::trust::{Peer, Refusal, Tls};

/// Told of every connection that was refused: who, and why. It must not block.
pub type OnRefused = Arc<dyn Fn(SocketAddr, &Refusal) + Send + Sync>;

/// How many connections a listener has, in all and from each address.
#[derive(Debug)]
pub(super) struct Gate {
    most: usize,
    most_from_address: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A place that is free again when this is dropped.
pub(super) struct Place {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    pub(super) fn new(most: usize, most_from_address: usize) -> Arc<Self> {
        Arc::new(Self { most, most_from_address, open: Mutex::default() })
    }

    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Refusal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= self.most {
            return Err(Refusal::TooManyConnections);
        }
        let count = open.entry(address).or_default();
        if *count >= self.most_from_address {
            return Err(Refusal::TooManyFromAddress);
        }
        *count += 1;
        Ok(Place { gate: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// The next connection that has a place, none once `shutdown` is asked for.
pub(super) async fn accept(
    listener: &TcpListener,
    gate: &Arc<Gate>,
    on_refused: &OnRefused,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, Place)> {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => match gate.enter(address.ip()) {
                Ok(place) => {
                    // Answers are small and wait for nothing: Nagle's algorithm would only delay them. A socket that
                    // does not take the option works without.
                    let _ = stream.set_nodelay(true);
                    return Some((stream, address, place));
                }
                Err(refusal) => on_refused(address, &refusal),
            },
            Err(error) if connection_error(&error) => {}
            Err(error) => {
                // Out of file descriptors, most likely: there is nothing to do but to wait for others to end.
                tracing::error!(%error, "connections cannot be accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Errors of `accept` that are about one connection that is gone already.
fn connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// A mutually authenticated TLS connection, or the reason why there is none.
pub(super) async fn handshake(
    tls: &Tls,
    clock: &Clock,
    stream: TcpStream,
    address: SocketAddr,
    timeout: Duration,
) -> Result<(TlsStream<Gulping<TcpStream>>, Peer), Refusal> {
    let accepting = TlsAcceptor::from(tls.server()).accept(Gulping::new(stream)).into_fallible();
    let stream = match tokio::time::timeout(timeout, accepting).await {
        Err(_) => return Err(Refusal::HandshakeTimeout),
        Ok(Err((error, mut stream))) => {
            let refusal = Refusal::find(&error).unwrap_or(Refusal::Ended);
            // The alert says why.
            linger::close(&mut stream, linger::ALERT_HEARD).await;
            return Err(refusal);
        }
        Ok(Ok(stream)) => stream,
    };
    let certificates = stream.get_ref().1.peer_certificates().ok_or(Refusal::NoClientCertificate)?;
    let peer = Peer::verify(tls.trust(), address, certificates.to_vec(), clock.now())?;
    Ok((stream, peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_by_address_and_given_back() {
        let gate = Gate::new(3, 2);
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = gate.enter(one).unwrap();
        let _second = gate.enter(one).unwrap();
        assert_eq!(gate.enter(one).err(), Some(Refusal::TooManyFromAddress));
        let _third = gate.enter(two).unwrap();
        assert_eq!(gate.enter(two).err(), Some(Refusal::TooManyConnections));
        drop(first);
        assert!(gate.enter(two).is_ok());
    }
}
