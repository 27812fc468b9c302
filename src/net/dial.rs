//! Calls to partners over HTTPS, with our certificate: `routing::Exchange` on sockets.
//!
//! One pool of connections for each network. It is thrown away when our identity or the trust store is read again, so
//! that nothing decided under the old one lives on in an open connection. No redirects, no proxies, no retries but of
//! calls that never left. HTTP/1.1 only: with HTTP/2 the client library loses the TLS alert that says why a partner
//! refused our certificate, and in TLS 1.3 that alert comes after the handshake.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::Service;

use crate::id::Clock;
use crate::net::body::{self, BodyError, Limited};
use crate::routing::exchange::{CallBody, Endpoint, Exchange, ExchangeError, HttpAnswer, HttpCall, Phase, Unreachable};
use crate::trust::{ChainError, NetworkName, Refusal, Tls, Trust, Usage};

/// How partners are called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Time for TCP and TLS together.
    pub connect: Duration,
    /// How long a connection is kept without use. Shorter than what partners allow (a gateway like this one 15 s), or
    /// calls meet closed connections.
    pub idle: Duration,
    /// The most unused connections to one host.
    pub idle_connections: usize,
    /// How long an answer's body may stall.
    pub stall: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            idle_connections: 32,
            stall: Duration::from_secs(30),
        }
    }
}

/// Calls partners.
pub struct Dialer {
    settings: Settings,
    clock: Clock,
    identity: Arc<Tls>,
    identities: BTreeMap<NetworkName, Arc<Tls>>,
    pools: Mutex<HashMap<NetworkName, Pool>>,
}

type HttpsClient = Client<Checked, Content>;

/// The connections into one network, good for one generation of trust and identity.
struct Pool {
    generation: (u64, u64),
    client: HttpsClient,
}

impl Dialer {
    /// With one identity for all networks.
    pub fn new(settings: Settings, clock: Clock, identity: Arc<Tls>) -> Self {
        Self { settings, clock, identity, identities: BTreeMap::new(), pools: Mutex::default() }
    }

    /// With another identity for one network: Carequality and TEFCA each issue their own certificates.
    #[must_use]
    pub fn with_identity(mut self, network: NetworkName, identity: Arc<Tls>) -> Self {
        self.identities.insert(network, identity);
        self
    }

    fn client(&self, network: &NetworkName) -> Result<HttpsClient, ExchangeError> {
        let tls = self.identities.get(network).unwrap_or(&self.identity);
        let generation = tls.generation();
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(network).filter(|pool| pool.generation == generation) {
            return Ok(pool.client.clone());
        }
        let client = self.build(network, tls)?;
        pools.insert(network.clone(), Pool { generation, client: client.clone() });
        Ok(client)
    }

    fn build(&self, network: &NetworkName, tls: &Arc<Tls>) -> Result<HttpsClient, ExchangeError> {
        let config = tls.client(network).map_err(|problem| ExchangeError::Network(problem.to_string()))?;
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.settings.connect));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(rustls::ClientConfig::clone(&config))
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let checked = Checked {
            connector,
            trust: Arc::clone(tls.trust()),
            network: network.clone(),
            clock: self.clock.clone(),
            timeout: self.settings.connect,
        };
        Ok(Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(self.settings.idle)
            .pool_max_idle_per_host(self.settings.idle_connections)
            .build(checked))
    }

    async fn send(&self, to: &Endpoint, call: HttpCall, deadline: Instant) -> Result<HttpAnswer, ExchangeError> {
        if to.url.scheme_str() != Some("https") || to.url.host().is_none() {
            return Err(ExchangeError::NotHttps);
        }
        let client = self.client(&to.network)?;
        let end = deadline.min(Instant::now() + to.timeout);
        let mut request = Request::new(Content::from(call.body));
        *request.method_mut() = call.method;
        *request.uri_mut() = to.url.clone();
        *request.headers_mut() = call.headers;
        if let Some(content_type) = call.content_type {
            let value = HeaderValue::try_from(content_type).map_err(|_| ExchangeError::Source)?;
            request.headers_mut().insert(CONTENT_TYPE, value);
        }
        match tokio::time::timeout_at(end, client.request(request)).await {
            Err(_) => Err(ExchangeError::TimedOut(Phase::Answering)),
            Ok(Err(error)) => Err(failure(&error)),
            Ok(Ok(response)) => Ok(self.answer(response, to.answer_limit, end)),
        }
    }

    fn answer(&self, response: Response<Incoming>, limit: u64, end: Instant) -> HttpAnswer {
        let (parts, incoming) = response.into_parts();
        let total = end.saturating_duration_since(Instant::now());
        let limits = body::Limits { bytes: limit, window: self.settings.stall, progress: 1, total };
        let content_type =
            parts.headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        HttpAnswer {
            status: parts.status.as_u16(),
            content_type,
            headers: parts.headers,
            body: pieces(Limited::new(incoming, limits)),
        }
    }
}

impl Exchange for Dialer {
    fn call<'a>(
        &'a self,
        to: &'a Endpoint,
        call: HttpCall,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<HttpAnswer, ExchangeError>> {
        Box::pin(self.send(to, call, deadline))
    }
}

fn pieces(body: Limited<Incoming>) -> BoxStream<'static, Result<Bytes, ExchangeError>> {
    let named = |error| match error {
        BodyError::TooLarge { limit } => ExchangeError::TooLarge { limit },
        BodyError::TooSlow => ExchangeError::TimedOut(Phase::Reading),
        BodyError::Truncated => ExchangeError::Truncated,
    };
    stream::unfold(body, move |mut body| async move {
        let piece = body.next().await?;
        Some((piece.map_err(named), body))
    })
    .boxed()
}

/// What a failed call means. The first cause that we know decides.
fn failure(error: &hyper_util::client::legacy::Error) -> ExchangeError {
    if let Some(refusal) = Refusal::find(error) {
        return ExchangeError::TlsRefused(refusal);
    }
    let connecting = error.is_connect();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.is::<NotResolved>() {
            return ExchangeError::NameNotResolved;
        }
        if cause.is::<ConnectTimedOut>() {
            return ExchangeError::TimedOut(Phase::Connecting);
        }
        if cause.is::<SourceFailed>() {
            return ExchangeError::Source;
        }
        if let Some(http) = cause.downcast_ref::<hyper::Error>() {
            if http.is_parse() {
                return ExchangeError::NotHttp;
            }
            if http.is_incomplete_message() {
                return ExchangeError::Reset;
            }
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::TimedOut if connecting => return ExchangeError::TimedOut(Phase::Connecting),
                io::ErrorKind::ConnectionRefused => return ExchangeError::Unreachable(Unreachable::Refused),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    return ExchangeError::Unreachable(Unreachable::NoRoute);
                }
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset if connecting => {
                    return ExchangeError::TlsRefused(Refusal::Ended);
                }
                _ => {}
            }
        }
        next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    if connecting { ExchangeError::Unreachable(Unreachable::Other) } else { ExchangeError::Reset }
}

/// TCP, TLS, and then the network's whole rule about the server's certificate, all within one time.
#[derive(Clone)]
struct Checked {
    connector: HttpsConnector<HttpConnector<Resolver>>,
    trust: Arc<Trust>,
    network: NetworkName,
    clock: Clock,
    timeout: Duration,
}

type Cause = Box<dyn Error + Send + Sync>;

impl Service<Uri> for Checked {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Cause;
    type Future = BoxFuture<'static, Result<Self::Response, Cause>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.connector.call(to);
        let (trust, network, clock) = (Arc::clone(&self.trust), self.network.clone(), self.clock.clone());
        let timeout = self.timeout;
        Box::pin(async move {
            let stream = tokio::time::timeout(timeout, connecting).await.map_err(|_| ConnectTimedOut)??;
            let MaybeHttpsStream::Https(tls) = &stream else { return Err(ChainError::Malformed.into()) };
            let certificates = tls.inner().get_ref().1.peer_certificates().unwrap_or_default();
            let (leaf, sent) = certificates.split_first().ok_or(ChainError::Malformed)?;
            trust.verify_chain(&network, leaf, sent, Usage::Server, clock.now())?;
            Ok(stream)
        })
    }
}

/// Name resolution by the system, with an error that can be told from others.
#[derive(Clone)]
struct Resolver;

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NotResolved;
    type Future = BoxFuture<'static, Result<Self::Response, NotResolved>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotResolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NotResolved)?;
            Ok(found.collect::<Vec<_>>().into_iter())
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the name has no address")]
struct NotResolved;

#[derive(Debug, thiserror::Error)]
#[error("no connection in time")]
struct ConnectTimedOut;

#[derive(Debug, thiserror::Error)]
#[error("the source of the request's body failed")]
struct SourceFailed;

/// The body of a call, as hyper wants it.
enum Content {
    Bytes(Option<Bytes>),
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

impl From<CallBody> for Content {
    fn from(body: CallBody) -> Self {
        match body {
            CallBody::Bytes(bytes) => Self::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty())),
            CallBody::Stream(stream) => Self::Stream(stream),
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = SourceFailed;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SourceFailed>>> {
        match self.get_mut() {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => {
                let piece = stream.as_mut().poll_next(cx);
                piece.map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(|_| SourceFailed)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Bytes(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
            }
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
