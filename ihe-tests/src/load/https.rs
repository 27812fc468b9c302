//! Requests over mutual TLS on connections that are kept: one after the other on each, as fast as answers come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway::trust::Tls;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Failure;
use super::certificates::network;
use super::measure::Seen;
use super::prepared::Prepared;

/// The most bytes of an answer in which the expected text is looked for.
const LOOKED_AT: usize = 1 << 20;

/// What to send, and how.
pub struct Plan {
    /// Whom to call.
    pub url: Uri,
    /// Connections.
    pub connections: usize,
    /// For how long.
    pub duration: Duration,
    /// Bodies to post; with none, `GET`.
    pub messages: Vec<Prepared>,
    /// Begin again when all were sent. Without, the run ends there: a gateway refuses a copy.
    pub repeat: bool,
    /// A text that a right answer contains.
    pub expect: Option<String>,
}

/// Runs a plan. Returns what was seen and how long it took.
pub async fn run(plan: Plan, tls: &Tls) -> Result<(Seen, Duration), Failure> {
    let connector = TlsConnector::from(tls.client(&network()?).map_err(|problem| problem.to_string())?);
    let mut connections = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        connections.push(connect(&connector, &plan.url).await?);
    }
    let (plan, next) = (Arc::new(plan), Arc::new(AtomicUsize::new(0)));
    let started = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|sender| tokio::spawn(drive(sender, Arc::clone(&plan), Arc::clone(&next), connector.clone(), started)))
        .collect();
    let mut seen = Seen::default();
    for task in tasks {
        seen.merge(task.await?);
    }
    Ok((seen, started.elapsed()))
}

async fn connect(connector: &TlsConnector, url: &Uri) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let host = url.host().ok_or("the URL names no host")?;
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(443))).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(ServerName::try_from(host.to_owned())?, stream).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn drive(
    mut sender: SendRequest<Full<Bytes>>,
    plan: Arc<Plan>,
    next: Arc<AtomicUsize>,
    connector: TlsConnector,
    started: Instant,
) -> Seen {
    let mut seen = Seen::default();
    while started.elapsed() < plan.duration {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if !plan.messages.is_empty() && at >= plan.messages.len() && !plan.repeat {
            break;
        }
        let sent = Instant::now();
        match exchange(&mut sender, &plan, at).await {
            Ok(bytes) => seen.answer(sent.elapsed(), bytes),
            Err(error) => {
                seen.error(error.to_string());
                if sender.ready().await.is_err() {
                    match connect(&connector, &plan.url).await {
                        Ok(again) => sender = again,
                        Err(error) => {
                            seen.error(format!("not connected again: {error}"));
                            break;
                        }
                    }
                }
            }
        }
    }
    seen
}

/// One exchange; gives the bytes of the answer.
async fn exchange(sender: &mut SendRequest<Full<Bytes>>, plan: &Plan, at: usize) -> Result<u64, Failure> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = plan.url.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    request.headers_mut().insert(HOST, plan.url.authority().map_or("", |host| host.as_str()).parse()?);
    if !plan.messages.is_empty() {
        let message = &plan.messages[at % plan.messages.len()];
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, message.content_type.parse()?);
        *request.body_mut() = Full::new(message.body.clone());
    }
    // The connection may still be finishing the answer before, although all of that has been read.
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    let mut bytes = 0;
    let mut looked_at = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        bytes += data.len() as u64;
        if plan.expect.is_some() && looked_at.len() < LOOKED_AT {
            looked_at.extend_from_slice(&data);
        }
    }
    if !status.is_success() {
        return Err(format!("status {}", status.as_u16()).into());
    }
    match &plan.expect {
        Some(text) if !contains(&looked_at, text.as_bytes()) => Err("an answer without the expected text".into()),
        _ => Ok(bytes),
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len().max(1)).any(|window| window == text)
}
