//! The HTTPS listener: mutual TLS, HTTP/1.1 and HTTP/2, one `axum::Router`.
//!
//! The router finds `Extension<Arc<trust::Peer>>` on every request. A handler that panics answers 500 and nobody else
//! notices. After a reload of the trust store a client on an old connection is looked at again before its next request.

use std::any::Any;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::gate::{self, Gate, OnRefused};
use super::linger::{self, Lingering, Unread, Watched};
use super::pulse::{Felt, Pulse};
use crate::id::Clock;
use crate::trust::{Peer, Refusal, Tls};

/// Limits of an HTTPS listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one IP address.
    pub connections_per_address: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for the headers of a request, which is also how long a connection of HTTP/1.1 may be idle.
    pub headers: Duration,
    /// How long a connection may do nothing at all, or next to nothing, while no request is handled; it has twice that
    /// at most.
    pub idle: Duration,
    /// The most bytes of headers.
    pub header_bytes: usize,
    /// Concurrent requests on one HTTP/2 connection.
    pub streams: u32,
    /// Time that running requests have after shutdown was asked for.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 1_000,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            header_bytes: 64 << 10,
            streams: 128,
            drain: Duration::from_secs(30),
        }
    }
}

/// What a listener needs besides its socket and its router.
#[derive(Clone)]
pub struct Listener {
    /// Our identity and whom we trust.
    pub tls: Arc<Tls>,
    /// Limits.
    pub limits: Limits,
    /// Told of every refused connection.
    pub on_refused: OnRefused,
    /// The time at which certificates are judged again.
    pub clock: Clock,
}

/// Serves until `shutdown` is cancelled and what was running then has ended, or has used up its time.
pub async fn serve(listener: TcpListener, settings: Listener, router: Router, shutdown: CancellationToken) {
    let gate = Gate::new(settings.limits.connections, settings.limits.connections_per_address);
    let settings = Arc::new(settings);
    let builder = Arc::new(http(&settings.limits));
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    while let Some((stream, address, place)) = gate::accept(&listener, &gate, &settings.on_refused, &shutdown).await {
        let connection = Connection {
            settings: Arc::clone(&settings),
            builder: Arc::clone(&builder),
            router: router.clone(),
            shutdown: shutdown.clone(),
        };
        let abort = abort.clone();
        connections.spawn(async move {
            let _place = place;
            tokio::select! {
                biased;
                () = abort.cancelled() => {}
                () = connection.run(stream, address) => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections are cut off at shutdown");
        abort.cancel();
        connections.wait().await;
    }
}

fn http(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size(limits.header_bytes.max(16 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(32)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(limits.headers)
        .keep_alive_timeout(limits.headers);
    builder
}

/// One connection on its way through handshake and requests.
struct Connection {
    settings: Arc<Listener>,
    builder: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    shutdown: CancellationToken,
}

impl Connection {
    async fn run(self, stream: tokio::net::TcpStream, address: SocketAddr) {
        let Listener { tls, limits, on_refused, clock } = &*self.settings;
        let (stream, peer) = match gate::handshake(tls, clock, stream, address, limits.handshake).await {
            Ok(accepted) => accepted,
            Err(refusal) => return on_refused(address, &refusal),
        };
        let caller = Arc::new(Caller { admitted: AtomicU64::new(peer.generation()), peer: Arc::new(peer) });
        let (settings, router) = (Arc::clone(&self.settings), self.router.clone());
        let (unread, pulse) = (Unread::default(), Pulse::default());
        let stream = Lingering::new(stream, unread.clone(), linger::ANSWER_HEARD);
        let stream = Felt::new(stream, pulse.clone());
        let beating = pulse.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let running = beating.request();
            let request = request.map(|body| Watched::new(body, unread.clone()));
            let answer = match caller.still_trusted(&settings) {
                Ok(()) => Ok(answer(router.clone(), Arc::clone(&caller.peer), request)),
                Err(refusal) => {
                    (settings.on_refused)(caller.peer.address(), &refusal);
                    Err(refused(&refusal))
                }
            };
            async move {
                let _running = running;
                match answer {
                    Ok(answering) => answering.await,
                    Err(refusal) => Ok(refusal),
                }
            }
        });
        let serving = self.builder.serve_connection(TokioIo::new(stream), service);
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            biased;
            ended = serving.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
            () = pulse.stops(limits.idle) => {
                // With a goodbye for those who would ask again, but it is not waited for without end either.
                serving.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    ended = serving => ended,
                    () = pulse.stops(limits.idle) => return tracing::debug!(%address, "an idle HTTPS connection was cut off"),
                }
            }
        };
        if let Err(error) = ended {
            // A partner that hangs up, idles or sends no HTTP: its own affair, but the operator may look for it.
            tracing::debug!(%address, %error, "an HTTPS connection ended early");
        }
    }
}

/// The client, and which reading of the trust store last admitted it.
struct Caller {
    peer: Arc<Peer>,
    admitted: AtomicU64,
}

impl Caller {
    /// Costs one comparison, except after a reload of the trust store. A certificate that lost its trust is refused on
    /// connections that are open already, too. What networks trust the client stays as it was at the handshake when
    /// at least all of them still do.
    fn still_trusted(&self, settings: &Listener) -> Result<(), Refusal> {
        let trust = settings.tls.trust();
        if self.admitted.load(Ordering::Relaxed) == trust.generation() {
            return Ok(());
        }
        let peer = &self.peer;
        let now = Peer::verify(trust, peer.address(), peer.certificates().to_vec(), settings.clock.now())?;
        if !peer.networks().iter().all(|network| now.networks().contains(network)) {
            return Err(Refusal::Certificate(crate::trust::ChainError::UnknownIssuer));
        }
        self.admitted.store(now.generation(), Ordering::Relaxed);
        Ok(())
    }
}

async fn answer(
    mut router: Router,
    peer: Arc<Peer>,
    mut request: Request<Watched<Incoming>>,
) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(peer);
    // A panic is a defect of ours, not a reason to cut off the other requests of the connection. Nothing that the
    // handler left half-done is looked at again, so unwind safety is not in question.
    match AssertUnwindSafe(router.call(request.map(Body::new))).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => {
            tracing::error!(panic = panic_text(&*panic), "a handler panicked");
            Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error".into()))
        }
    }
}

/// Only texts of the program itself: a formatted one may carry what was being handled.
fn panic_text(panic: &(dyn Any + Send)) -> &'static str {
    panic.downcast_ref::<&'static str>().copied().unwrap_or("(a text that is not logged)")
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = plain(StatusCode::FORBIDDEN, refusal.to_string());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
