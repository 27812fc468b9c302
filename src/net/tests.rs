//! Listeners and calls on loopback: each way to be refused, to stall, to break off, and that the others go on.

mod calls;
mod listener;
mod messages;
mod patience;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::StreamExt;
use hyper::StatusCode;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::dial::{Dialer, Settings};
use super::{body, https};
use crate::id::Clock;
use crate::routing::exchange::{Endpoint, Exchange, ExchangeError, HttpAnswer, HttpCall};
use crate::trust::issue::Leaf;
use crate::trust::tests::{House, alpha};
use crate::trust::{Peer, Refusal, Tls, Trust};

const BODY: body::Limits =
    body::Limits { bytes: 1000, window: Duration::from_millis(200), progress: 10, total: Duration::from_secs(5) };

/// A running listener.
struct Site {
    house: House,
    trust: Arc<Trust>,
    address: SocketAddr,
    refused: mpsc::UnboundedReceiver<Refusal>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

async fn who(Extension(peer): Extension<Arc<Peer>>) -> String {
    format!("{} {} {}", peer.fingerprint(), peer.subject(), peer.networks()[0])
}

async fn count(request: axum::extract::Request) -> (StatusCode, String) {
    match body::Limited::new(request.into_body(), BODY).collect().await {
        Ok(bytes) => (StatusCode::OK, bytes.len().to_string()),
        Err(error) => (error.status(), error.to_string()),
    }
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(300)).await;
    "done"
}

async fn slower() -> &'static str {
    tokio::time::sleep(Duration::from_millis(1000)).await;
    "done"
}

/// How much of long answers was made so far, in pieces of 64 KiB.
static MADE: AtomicUsize = AtomicUsize::new(0);

async fn long() -> axum::body::Body {
    let piece = bytes::Bytes::from(vec![b'x'; 64 << 10]);
    let pieces = futures_util::stream::repeat(piece).take(1000);
    axum::body::Body::from_stream(pieces.map(|piece| {
        MADE.fetch_add(1, SeqCst);
        Ok::<_, std::io::Error>(piece)
    }))
}

async fn defect() -> &'static str {
    panic!("a defect of the handler")
}

fn router() -> Router {
    Router::new()
        .route("/who", post(who))
        .route("/count", post(count))
        .route("/slow", post(slow))
        .route("/slower", post(slower))
        .route("/long", get(long))
        .route("/panic", post(defect))
        .route("/alive", get(|| async { "yes" }))
}

fn limits() -> https::Limits {
    https::Limits { handshake: Duration::from_millis(400), headers: Duration::from_secs(5), ..Default::default() }
}

impl Site {
    async fn start(house: House) -> Self {
        let leaf = house.leaf();
        Self::start_as(house, &leaf, limits()).await
    }

    async fn start_as(house: House, own: &Leaf, limits: https::Limits) -> Self {
        let trust = house.open().unwrap();
        let tls = Tls::with_identity(Arc::clone(&trust), own.identity().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (send, refused) = mpsc::unbounded_channel();
        let on_refused: super::OnRefused = Arc::new(move |_, refusal| send.send(refusal.clone()).unwrap());
        let settings = https::Listener { tls, limits, on_refused, clock: Clock::system() };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(https::serve(listener, settings, router(), shutdown.clone()));
        Self { house, trust, address, refused, shutdown, serving }
    }

    /// Calls from a partner with this certificate, who trusts the same authorities.
    fn partner(&self, leaf: &Leaf) -> Dialer {
        let tls = Tls::with_identity(self.house.open().unwrap(), leaf.identity().unwrap()).unwrap();
        Dialer::new(Settings::default(), Clock::system(), tls)
    }

    fn endpoint(&self, path: &str) -> Endpoint {
        endpoint(&format!("https://localhost:{}{path}", self.address.port()))
    }

    async fn refusal(&mut self) -> Refusal {
        tokio::time::timeout(Duration::from_secs(5), self.refused.recv()).await.unwrap().unwrap()
    }

    /// After whatever happened, others are served.
    async fn check_alive(&self) {
        let partner = self.partner(&self.house.leaf());
        let answer = post_to(&partner, &self.endpoint("/count"), "abc").await.unwrap();
        assert_eq!((answer.status, &*answer.collect().await.unwrap()), (200, &b"3"[..]));
    }

    /// A TLS connection on which a test says what it likes, as HTTP/1.1.
    async fn raw(&self, leaf: &Leaf) -> TlsStream<TcpStream> {
        let tls = Tls::with_identity(self.house.open().unwrap(), leaf.identity().unwrap()).unwrap();
        let connector = TlsConnector::from(tls.client(&alpha()).unwrap());
        let stream = TcpStream::connect(self.address).await.unwrap();
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }
}

fn endpoint(url: &str) -> Endpoint {
    let timeout = Duration::from_secs(5);
    Endpoint { url: url.parse().unwrap(), network: alpha(), partner: "partner".into(), timeout, answer_limit: 1000 }
}

async fn post_to(dialer: &Dialer, to: &Endpoint, body: &'static str) -> Result<HttpAnswer, ExchangeError> {
    dialer.call(to, HttpCall::post("text/plain", body), Instant::now() + Duration::from_secs(5)).await
}

async fn text(dialer: &Dialer, to: &Endpoint) -> (u16, String) {
    let answer = post_to(dialer, to, "hello").await.unwrap();
    let status = answer.status;
    (status, String::from_utf8(answer.collect().await.unwrap().to_vec()).unwrap())
}

fn presented(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}
