//! HTTP over mutual TLS as little as it gets, so that a test can send any bytes, and what comes back.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway::soap::envelope::Envelope;
use causeway::soap::fault::Fault;
use causeway::soap::mtom::{ContentType, Limits as MtomLimits, Package, read_all, write_all};
use causeway::trust::{Tls, Trust};
use causeway::xml::signature::SigningKey;
use causeway::xml::{Element, Limits, parse};
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::http::request::Builder;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::letter::Letter;
use super::schema;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A system that calls gateways, with its certificate and key.
pub struct Client {
    tls: Arc<ClientConfig>,
    /// What it signs with.
    pub key: SigningKey,
}

impl Client {
    /// Opens certificate, key and trust store.
    pub fn open(trust: &Path, network: &str, certificate: &Path, key: &Path) -> Self {
        let trust = Trust::open(trust, Default::default()).unwrap();
        let tls = Tls::open(trust, certificate, key).unwrap();
        let key = SigningKey::from_pem(&std::fs::read(key).unwrap(), &std::fs::read(certificate).unwrap()).unwrap();
        let tls = tls.client(&network.parse().unwrap()).unwrap_or_else(|problem| panic!("{problem}"));
        Self { tls, key }
    }

    /// Sends a request on a connection of its own.
    pub async fn send(&self, to: SocketAddr, method: Method, path: &str, content_type: &str, body: Bytes) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let (status, headers, body) = self.request(to, request, body).await;
        let header = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
        Reply { status, content_type: header.unwrap_or_default(), body }
    }

    /// Sends a request with headers of its own on a connection of its own: status, headers and content of the answer.
    pub async fn request(&self, to: SocketAddr, request: Builder, body: Bytes) -> (u16, HeaderMap, Bytes) {
        let exchange = async {
            let stream = TcpStream::connect(to).await.unwrap();
            let name = "localhost".try_into().unwrap();
            let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await.unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let request = request.header(HOST, "localhost").body(Full::new(body)).unwrap();
            let response = sender.send_request(request).await.unwrap();
            let (head, body) = response.into_parts();
            (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes())
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    /// Begins to send a body of some length and stops. Dropped, the connection ends.
    pub async fn begin(
        &self,
        to: SocketAddr,
        path: &str,
        (content_type, half): (&str, Bytes),
        length: usize,
    ) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(to).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let mut stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&half).await.unwrap();
        stream.flush().await.unwrap();
        stream
    }

    /// Sends an envelope as plain SOAP 1.2 and reads the answer.
    pub async fn post(&self, to: SocketAddr, path: &str, envelope: &str) -> Answer {
        let body = Bytes::copy_from_slice(envelope.as_bytes());
        self.send(to, Method::POST, path, "application/soap+xml; charset=UTF-8", body).await.into_answer()
    }

    /// Sends a letter as plain SOAP 1.2. What is sent and what comes back is valid by the schemas, or the test fails.
    pub async fn ask(&self, to: SocketAddr, path: &str, letter: &Letter) -> Answer {
        let envelope = letter.envelope(&self.key);
        schema::check_envelope(&envelope);
        self.post(to, path, &envelope).await
    }

    /// Sends a letter in MTOM with the attachments that its body refers to, and reads the answer.
    pub async fn ask_mtom(&self, to: SocketAddr, path: &str, letter: &Letter, parts: &[Attachment]) -> Answer {
        let envelope = letter.envelope(&self.key);
        schema::check_envelope(&envelope);
        let (content_type, body) = packed(&letter.addressing.action, &envelope, parts);
        self.send(to, Method::POST, path, &content_type, body).await.into_answer()
    }
}

/// A document as it travels: content id (without brackets), media type, bytes.
pub type Attachment = (String, &'static str, Vec<u8>);

/// An MTOM package with its `Content-Type`.
pub fn packed(action: &str, envelope: &str, parts: &[Attachment]) -> (String, Bytes) {
    let (content_type, body) = write_all(Some(action), envelope, &[]);
    if parts.is_empty() {
        return (content_type, body);
    }
    // The writer makes up content ids of its own; these are those of the message.
    let parsed = ContentType::parse(&content_type).unwrap();
    let end = [b"--", parsed.boundary().unwrap().as_bytes(), b"--"].concat();
    let at = body.windows(end.len()).rposition(|window| window == end).expect("the package has an end");
    let mut bytes = body[..at].to_vec();
    for (id, media_type, content) in parts {
        let head = format!(
            "--{}\r\nContent-Type: {media_type}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{id}>\r\n\r\n",
            parsed.boundary().unwrap()
        );
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(&body[at..]);
    (content_type, bytes.into())
}

/// What came back over HTTP.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Content-Type`; empty if there is none.
    pub content_type: String,
    /// The content.
    pub body: Bytes,
}

impl Reply {
    /// Reads a SOAP answer, plain or in MTOM, which must be valid by the schemas.
    #[track_caller]
    pub fn into_answer(self) -> Answer {
        let content_type = ContentType::parse(&self.content_type)
            .unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.body));
        let package =
            content_type.is_multipart().then(|| read_all(&self.body, &content_type, MtomLimits::default()).unwrap());
        let root = package.as_ref().map_or(&self.body, |package| &package.root.content);
        let envelope = String::from_utf8(root.to_vec()).unwrap();
        schema::check_envelope(&envelope);
        Answer { status: self.status, content_type: self.content_type, envelope, package }
    }
}

/// A SOAP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// The envelope.
    pub envelope: String,
    /// The package it came in, if it was MTOM.
    pub package: Option<Package>,
}

impl Answer {
    /// Reads something of the body.
    #[track_caller]
    pub fn body<T>(&self, read: impl FnOnce(Element<'_>) -> T) -> T {
        self.read(|envelope| read(envelope.body))
    }

    /// Reads something of the envelope.
    #[track_caller]
    pub fn read<T>(&self, read: impl FnOnce(&Envelope<'_>) -> T) -> T {
        let tree = parse(&self.envelope, &Limits::default()).unwrap();
        read(&Envelope::read(&tree).unwrap())
    }

    /// The fault that it is, with its subcode in the reason. A fault is answered under its own action.
    #[track_caller]
    pub fn fault(&self) -> Fault {
        self.read(|envelope| {
            assert_eq!(envelope.addressing.action, causeway::soap::fault::FAULT_ACTION);
            envelope.fault().unwrap_or_else(|| panic!("no fault: {}", self.envelope))
        })
    }

    /// The bytes that a reference of the body means.
    #[track_caller]
    pub fn attachment(&self, href: &str) -> Bytes {
        let package = self.package.as_ref().expect("the answer came in MTOM");
        package.part(href).unwrap_or_else(|| panic!("{href} is not attached")).content.clone()
    }

    /// The trace that a text of the answer names.
    #[track_caller]
    pub fn trace(&self) -> &str {
        let (_, rest) = self.envelope.split_once("(trace ").expect("the answer names its trace");
        &rest[..rest.find(')').expect("a bracket")]
    }
}
