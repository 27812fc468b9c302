//! HL7 v2 feeds over MLLP: one message at a time on each connection, the next one after its acknowledgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use causeway::hl7v2::frame;
use causeway::id::Clock;
use causeway::trust::Tls;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Failure;
use super::certificates::network;
use super::measure::Seen;
use super::messages::{cross_reference, demographics_query, registration};
use super::population::asked;

/// What is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    /// The registration of a new patient (ITI-8).
    Registration,
    /// The other identifiers of a patient (ITI-9), of so many patients.
    CrossReference(u64),
    /// Who has a name, a birth date and a gender (ITI-21), of so many patients.
    Demographics(u64),
}

impl Ask {
    fn message(self, number: u64, now: &str) -> String {
        match self {
            Self::Registration => registration(number, now),
            Self::CrossReference(patients) => cross_reference(asked(number, patients), number, now),
            Self::Demographics(patients) => demographics_query(asked(number, patients), number, now),
        }
    }

    /// A right answer: accepted, and to a question about a patient who is there, something found.
    fn is_answered(self, answer: &[u8]) -> bool {
        let has = |text: &[u8]| answer.windows(text.len()).any(|window| window == text);
        has(b"MSA|AA|")
            && match self {
                Self::Registration => true,
                // Not every patient has another identifier.
                Self::CrossReference(_) => has(b"|OK") || has(b"|NF"),
                Self::Demographics(_) => has(b"|OK"),
            }
    }
}

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to send.
    pub ask: Ask,
    /// Whom to call: host and port.
    pub address: String,
    /// Connections.
    pub connections: usize,
    /// The longest that it may take.
    pub duration: Duration,
    /// Number of the first patient.
    pub first: u64,
    /// How many patients.
    pub count: u64,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Runs a plan, with TLS if it is given. Returns what was seen and how long it took.
pub async fn run(plan: Plan, tls: Option<&Tls>) -> Result<(Seen, Duration), Failure> {
    let configuration = match tls {
        Some(tls) => Some(tls.client(&network()?).map_err(|problem| problem.to_string())?),
        None => None,
    };
    let connector = configuration.map(TlsConnector::from);
    let host = plan.address.rsplit_once(':').map_or("", |(host, _)| host).to_owned();
    let mut connections: Vec<Box<dyn Stream>> = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        let stream = TcpStream::connect(&plan.address).await?;
        stream.set_nodelay(true)?;
        match &connector {
            Some(connector) => {
                connections.push(Box::new(connector.connect(ServerName::try_from(host.clone())?, stream).await?));
            }
            None => connections.push(Box::new(stream)),
        }
    }
    let (plan, next) = (Arc::new(plan), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|stream| tokio::spawn(drive(stream, Arc::clone(&plan), Arc::clone(&next), started)))
        .collect();
    let mut seen = Seen::default();
    for task in tasks {
        seen.merge(task.await?);
    }
    Ok((seen, started.elapsed()))
}

async fn drive(mut stream: Box<dyn Stream>, plan: Arc<Plan>, next: Arc<AtomicU64>, started: Instant) -> Seen {
    let mut seen = Seen::default();
    let now = Clock::system().now().to_hl7();
    let mut answer = Vec::with_capacity(1024);
    while started.elapsed() < plan.duration {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at >= plan.count {
            break;
        }
        let message = frame(plan.ask.message(plan.first + at, &now).as_bytes());
        let sent = Instant::now();
        match exchange(&mut stream, &message, &mut answer).await {
            Ok(()) if plan.ask.is_answered(&answer) => seen.answer(sent.elapsed(), answer.len() as u64),
            Ok(()) => seen.error(format!("refused: {}", text_of(&answer))),
            Err(error) => {
                seen.error(format!("the connection ended: {error}"));
                break;
            }
        }
    }
    seen
}

/// Sends a message and reads until the end of the answer's frame.
async fn exchange(stream: &mut Box<dyn Stream>, message: &[u8], answer: &mut Vec<u8>) -> std::io::Result<()> {
    stream.write_all(message).await?;
    stream.flush().await?;
    answer.clear();
    while !answer.ends_with(&[0x1c, 0x0d]) {
        if stream.read_buf(answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Code and text of a refusal; our patients are invented.
fn text_of(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let segment =
        |name: &str| text.split('\r').find(|segment| segment.starts_with(name)).unwrap_or_default().to_owned();
    [segment("MSA"), segment("ERR")].join(" ").chars().filter(|c| !c.is_ascii_digit()).take(120).collect()
}
