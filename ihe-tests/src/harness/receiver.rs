//! Systems that a gateway delivers to: HTTPS with mutual TLS, and MLLP with it or without. What each gets is kept for the
//! test to look at, and what it answers is the test's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use causeway::hl7v2::mllp::{FrameError, Limits as FrameLimits};
use causeway::id::Clock;
use causeway::net::https;
use causeway::net::mllp::{self, Handler, MllpPeer};
use causeway::soap::envelope::{self, Envelope};
use causeway::soap::mtom::{ContentType, Limits as MtomLimits, Package, read_all, write_all};
use causeway::wssecurity::response_header;
use causeway::xml::{Limits, parse};
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Ground;
use super::schema;

/// What came.
#[derive(Clone, Debug)]
pub struct Got {
    /// The path, with the query.
    pub path: String,
    /// `Content-Type`.
    pub content_type: String,
    /// The content.
    pub body: Bytes,
}

impl Got {
    /// The package of a message in MTOM.
    pub fn package(&self) -> Package {
        let content_type = ContentType::parse(&self.content_type).unwrap();
        read_all(&self.body, &content_type, MtomLimits::default()).unwrap()
    }

    /// The envelope of a SOAP message, which must be valid by the schemas.
    pub fn envelope(&self) -> String {
        let envelope = self.unjudged();
        schema::check_envelope(&envelope);
        envelope
    }

    /// The envelope of a SOAP message, for where there are too many to put each before the schemas.
    pub fn unjudged(&self) -> String {
        let plain = !self.content_type.starts_with("multipart/");
        let bytes = if plain { self.body.to_vec() } else { self.package().root.content.to_vec() };
        String::from_utf8(bytes).unwrap()
    }
}

/// What is answered: status, `Content-Type`, content.
pub type Given = (u16, String, Vec<u8>);

type Answers = Arc<dyn Fn(&Got) -> Given + Send + Sync>;

/// A system that is called over HTTPS.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it got, in order.
    pub got: Arc<Mutex<Vec<Got>>>,
    stop: CancellationToken,
}

impl Receiver {
    /// Starts one with the certificate of that name. `at` is a port that it had before, or 0.
    pub async fn start(
        ground: &Ground,
        name: &str,
        at: u16,
        answers: impl Fn(&Got) -> Given + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", at)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let stop = CancellationToken::new();
        let settings = https::Listener {
            tls: ground.tls(name),
            limits: https::Limits::default(),
            on_refused: Arc::new(|_, _| {}),
            clock: Clock::system(),
        };
        let answers: Answers = Arc::new(answers);
        let router = Router::new().fallback(take).layer(DefaultBodyLimit::disable()).with_state((got.clone(), answers));
        tokio::spawn(https::serve(listener, settings, router, stop.clone()));
        Self { address, got, stop }
    }

    /// Its URL with a path.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.address.port())
    }

    /// What it got so far.
    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn take(
    State((got, answers)): State<(Arc<Mutex<Vec<Got>>>, Answers)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, String); 1], Vec<u8>) {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let one = Got { path: uri.to_string(), content_type: content_type.to_owned(), body };
    let (status, content_type, body) = answers(&one);
    got.lock().unwrap().push(one);
    (StatusCode::from_u16(status).unwrap(), [("content-type", content_type)], body)
}

/// A SOAP answer to a request, with a security header of its own.
pub fn soap_answer(request: &Got, action: &str, body: &str) -> Given {
    schema::check_envelope(&request.unjudged());
    unjudged_answer(request, action, body)
}

/// The same, whatever the schemas say of the request.
pub fn unjudged_answer(request: &Got, action: &str, body: &str) -> Given {
    let envelope = request.unjudged();
    let tree = parse(&envelope, &Limits::default()).unwrap();
    let addressing = Envelope::read(&tree).unwrap().addressing.response(action);
    let security = response_header(Clock::system().now(), std::time::Duration::from_secs(60), None);
    let text = envelope::write(&addressing, &security, body);
    if request.content_type.starts_with("multipart/") {
        let (content_type, body) = write_all(Some(action), &text, &[]);
        (200, content_type, body.to_vec())
    } else {
        (200, "application/soap+xml; charset=UTF-8".into(), text.into_bytes())
    }
}

type Acknowledges = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A system that is sent HL7 v2.
pub struct MllpReceiver {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it got, in order, in lines.
    pub got: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
}

struct Acknowledger {
    got: Arc<Mutex<Vec<String>>>,
    acknowledges: Acknowledges,
}

impl Handler for Acknowledger {
    fn answer(&self, message: Vec<u8>, _: Arc<MllpPeer>) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async move {
            let text = String::from_utf8(message).unwrap().replace('\r', "\n");
            let answer = (self.acknowledges)(&text);
            self.got.lock().unwrap().push(text);
            answer.into_bytes()
        })
    }

    fn unreadable(&self, error: &FrameError, _: Arc<MllpPeer>) -> BoxFuture<'_, Vec<u8>> {
        panic!("the gateway sent a broken frame: {error}")
    }
}

impl MllpReceiver {
    /// Starts one, with the certificate of a name if there is one. An empty answer is none.
    pub async fn start(
        ground: &Ground,
        name: Option<&str>,
        at: u16,
        acknowledges: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", at)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Vec<String>>> = Arc::default();
        let settings = mllp::Listener {
            tls: name.map(|name| ground.tls(name)),
            limits: mllp::Limits {
                frame: FrameLimits { message_bytes: 100_000 },
                drain: std::time::Duration::from_millis(50),
                ..mllp::Limits::default()
            },
            on_refused: Arc::new(|_, _| {}),
            clock: Clock::system(),
        };
        let handler = Acknowledger { got: got.clone(), acknowledges: Arc::new(acknowledges) };
        let stop = CancellationToken::new();
        tokio::spawn(mllp::serve(listener, settings, Arc::new(handler), stop.clone()));
        Self { address, got, stop }
    }

    /// What it got so far.
    pub fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }
}

impl Drop for MllpReceiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An acknowledgement with a code for a message in lines.
pub fn acknowledge(message: &str, code: &str) -> String {
    let control_id = message.lines().next().unwrap().split('|').nth(9).unwrap();
    format!("MSH|^~\\&|EHR|WEST|CAUSEWAY|SOLO|20261122||ACK^A31^ACK|A{control_id}|P|2.5\rMSA|{code}|{control_id}\r")
}
