//! Forwarding audit records to collectors by syslog over TLS (RFC 5425), from the journal and at its pace.
//!
//! Syslog has no acknowledgement: what was written and flushed may still be lost in a buffer when the connection
//! breaks. Therefore a collector has two marks: `sent`, the last entry flushed, and `settled`, the last entry that was
//! flushed a while ago on a connection that has lived on since. A broken connection, or a restart after a crash, goes
//! back to `settled`: duplicates are possible, loss is not, short of a collector that loses what it has read. An
//! orderly stop closes the connection, waits for the collector to close its side, which it does after reading
//! everything, and then settles all: no duplicates.
//!
//! The marks are kept in the journal's folder, in a file for each collector. A collector without one gets the journal
//! from the oldest segment that is kept. Failures to reach a collector are logged and not audited: a record of each
//! failure would itself have to be sent.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::chain::{Kind, Sequence};
use super::journal::{Position, read_from};
use super::recorder::Audit;
use super::syslog::Sender;
use crate::id::Timestamp;
use crate::storage::seal::{Purpose, Sealer};

/// Where records go.
#[derive(Clone, Debug)]
pub struct Collector {
    /// Its name in the configuration; also part of a file name.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// The name its certificate must have.
    pub server_name: ServerName<'static>,
    /// Trust and our certificate.
    pub tls: Arc<rustls::ClientConfig>,
}

/// How patient forwarding is.
#[derive(Clone, Debug)]
pub struct Patience {
    /// First wait after a failure; doubled each time.
    pub shortest_wait: Duration,
    /// Longest wait.
    pub longest_wait: Duration,
    /// How long connecting, writing and closing may take.
    pub timeout: Duration,
    /// How long after its flush an entry counts as received while the connection lives.
    pub settle_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            shortest_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
            timeout: Duration::from_secs(30),
            settle_after: Duration::from_secs(60),
        }
    }
}

/// How far a collector is behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lag {
    /// Entries of the journal not yet sent.
    pub entries: u64,
    /// When the oldest of them was written, as far as known.
    pub oldest: Option<Timestamp>,
}

/// Looks at a forwarder from outside.
#[derive(Clone, Debug)]
pub struct Progress {
    state: Arc<State>,
    durable: watch::Receiver<Sequence>,
}

#[derive(Debug, Default)]
struct State {
    sent: AtomicU64,
    /// Milliseconds; 0 when nothing waits.
    oldest: AtomicI64,
}

impl Progress {
    /// How far the collector is behind.
    pub fn lag(&self) -> Lag {
        let entries = self.durable.borrow().0.saturating_sub(self.state.sent.load(Ordering::Acquire));
        let oldest = self.state.oldest.load(Ordering::Acquire);
        let waiting = entries > 0 && oldest > 0;
        Lag { entries, oldest: waiting.then(|| Timestamp::from_millis(oldest)) }
    }
}

/// Sends the journal to one collector.
#[derive(Debug)]
pub struct Forwarder {
    collector: Collector,
    sender: Sender,
    sealer: Sealer,
    patience: Patience,
    directory: PathBuf,
    durable: watch::Receiver<Sequence>,
    state: Arc<State>,
    /// Sent, and before how far it can be lost.
    sent: Position,
    settled: Position,
    /// Ends of batches flushed on this connection, with the time of their flush.
    unsettled: VecDeque<(Instant, Position)>,
}

/// How much is read and written at once, in bytes.
const BATCH_BYTES: u64 = 256 << 10;

/// Why a connection ended.
enum Ended {
    Stopped,
    Failed(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Forwarder {
    /// For a collector of a journal. It goes on where it was before.
    pub fn new(audit: &Audit, collector: Collector, sender: Sender, patience: Patience) -> io::Result<Self> {
        let directory = audit.directory().to_owned();
        let settled = read_cursor(&cursor_path(&directory, &collector.name))?;
        let state = Arc::new(State::default());
        state.sent.store(settled.sequence.0, Ordering::Release);
        let (durable, sent) = (audit.durable(), settled);
        let (sealer, unsettled) = (audit.sealer().clone(), VecDeque::new());
        Ok(Self { collector, sender, sealer, patience, directory, durable, state, sent, settled, unsettled })
    }

    /// To look at it while it runs.
    pub fn progress(&self) -> Progress {
        Progress { state: Arc::clone(&self.state), durable: self.durable.clone() }
    }

    /// Forwards until told to stop (the value becomes true, or its sender is gone). Never fails for good.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut wait = self.patience.shortest_wait;
        loop {
            let before = self.settled;
            match self.connection(&mut stop).await {
                Ended::Stopped => return,
                Ended::Failed(error) => {
                    let collector = &self.collector.name;
                    tracing::warn!(collector, %error, behind = self.progress().lag().entries, "audit collector lost");
                }
            }
            self.sent = self.settled;
            self.unsettled.clear();
            self.publish();
            if self.settled != before {
                wait = self.patience.shortest_wait;
            }
            let pause = jittered(wait);
            wait = (wait * 2).min(self.patience.longest_wait);
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One connection, from connecting to its end.
    async fn connection(&mut self, stop: &mut watch::Receiver<bool>) -> Ended {
        // Nothing is connected for nothing; and the oldest waiting entry is known even if the collector is down.
        match self.next_batch(stop).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ended::Stopped,
            Err(error) => return Ended::Failed(error),
        }
        let connecting = timeout(self.patience.timeout, connect(&self.collector));
        let stream = tokio::select! {
            () = stopped(stop) => return Ended::Stopped,
            result = connecting => match result {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return Ended::Failed(error),
                Err(_) => return Ended::Failed(io::ErrorKind::TimedOut.into()),
            },
        };
        tracing::info!(collector = self.collector.name, "audit collector connected");
        let (mut reader, mut writer) = tokio::io::split(stream);
        let ended = self.send_all(&mut reader, &mut writer, stop).await;
        if matches!(ended, Ended::Stopped) {
            let closing = timeout(self.patience.timeout, close(&mut reader, &mut writer));
            if matches!(closing.await, Ok(Ok(()))) {
                self.settled = self.sent;
                self.unsettled.clear();
            }
            self.keep_cursor(true);
        }
        ended
    }

    async fn send_all(
        &mut self,
        reader: &mut ReadHalf<TlsStream<TcpStream>>,
        writer: &mut WriteHalf<TlsStream<TcpStream>>,
        stop: &mut watch::Receiver<bool>,
    ) -> Ended {
        let mut ignored = [0; 256];
        loop {
            let settle = self.unsettled.front().map(|(at, _)| *at + self.patience.settle_after);
            let batch = tokio::select! {
                biased;
                // A collector never speaks; that it ends the connection is only seen by reading.
                read = reader.read(&mut ignored) => match read {
                    Ok(0) => return Ended::Failed(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => continue,
                    Err(error) => return Ended::Failed(error),
                },
                () = until(settle) => {
                    self.settle();
                    continue;
                }
                batch = self.next_batch(stop) => match batch {
                    Ok(Some(batch)) => batch,
                    Ok(None) => return Ended::Stopped,
                    Err(error) => return Ended::Failed(error),
                },
            };
            let writing = async {
                writer.write_all(&batch.frames).await?;
                writer.flush().await
            };
            match timeout(self.patience.timeout, writing).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Ended::Failed(error),
                Err(_) => return Ended::Failed(io::ErrorKind::TimedOut.into()),
            }
            self.sent = batch.end;
            self.unsettled.push_back((Instant::now(), batch.end));
            self.publish();
        }
    }

    /// Waits for entries after `sent` and reads them; nothing when told to stop. Can be dropped and called again.
    async fn next_batch(&self, stop: &mut watch::Receiver<bool>) -> io::Result<Option<Batch>> {
        let mut durable = self.durable.clone();
        let from = self.sent;
        loop {
            let up_to = tokio::select! {
                biased;
                () = stopped(stop) => return Ok(None),
                up_to = durable.wait_for(|durable| *durable > from.sequence) => up_to.map(|up_to| *up_to).ok(),
            };
            // When the journal is closed, its last entries are still sent; then this waits to be stopped.
            let Some(up_to) = up_to else {
                stopped(stop).await;
                return Ok(None);
            };
            let (directory, sender, sealer) = (self.directory.clone(), self.sender.clone(), self.sealer.clone());
            let reading = tokio::task::spawn_blocking(move || Batch::read(&directory, from, up_to, &sender, &sealer));
            let batch = reading.await.map_err(io::Error::other)??;
            if let Some(batch) = batch {
                self.state.oldest.store(batch.oldest.as_millis(), Ordering::Release);
                return Ok(Some(batch));
            }
            // Damage hides what is there: look again when something new is written.
            if durable.changed().await.is_err() {
                stopped(stop).await;
                return Ok(None);
            }
        }
    }

    /// Moves the mark behind which nothing can be lost any more.
    fn settle(&mut self) {
        while let Some(&(at, position)) = self.unsettled.front() {
            if at.elapsed() < self.patience.settle_after {
                break;
            }
            self.settled = position;
            self.unsettled.pop_front();
        }
        self.keep_cursor(false);
    }

    fn keep_cursor(&self, durably: bool) {
        let path = cursor_path(&self.directory, &self.collector.name);
        if let Err(error) = write_cursor(&path, self.settled, durably) {
            let collector = &self.collector.name;
            tracing::warn!(collector, %error, "the place of an audit collector was not kept; records may be sent again");
        }
    }

    fn publish(&self) {
        self.state.sent.store(self.sent.sequence.0, Ordering::Release);
    }
}

/// Frames of several records, and how far they go.
struct Batch {
    frames: Vec<u8>,
    end: Position,
    oldest: Timestamp,
}

impl Batch {
    fn read(
        directory: &Path,
        from: Position,
        up_to: Sequence,
        sender: &Sender,
        sealer: &Sealer,
    ) -> io::Result<Option<Self>> {
        let entries = read_from(directory, from, up_to, BATCH_BYTES)?;
        let Some((first, _)) = entries.first() else { return Ok(None) };
        let mut batch = Self { frames: Vec::new(), end: from, oldest: first.header.at };
        for (entry, end) in entries {
            batch.end = end;
            // Signatures and notes are the journal's own.
            if entry.header.kind != Kind::Record {
                continue;
            }
            match sealer.open(&entry.header.tenant, Purpose::Audit, &entry.payload) {
                Ok(message) => {
                    batch.frames.extend(sender.frame(entry.header.at, &String::from_utf8_lossy(&message)));
                }
                // It will not open next time either; the others must not wait for it.
                Err(error) => tracing::error!(sequence = %entry.header.sequence, %error, "an audit record is not sent"),
            }
        }
        Ok(Some(batch))
    }
}

async fn connect(collector: &Collector) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(&collector.address).await?;
    tcp.set_nodelay(true)?;
    TlsConnector::from(Arc::clone(&collector.tls)).connect(collector.server_name.clone(), tcp).await
}

/// Ends our side and waits until the collector has ended its own, which it does after reading everything.
async fn close(
    reader: &mut ReadHalf<TlsStream<TcpStream>>,
    writer: &mut WriteHalf<TlsStream<TcpStream>>,
) -> io::Result<()> {
    writer.shutdown().await?;
    let mut ignored = [0; 256];
    loop {
        match reader.read(&mut ignored).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // Many collectors end TCP without ending TLS first. It is still an orderly end: a reset is another error.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Resolves when told to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could tell is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Resolves at an instant, or never.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Between half of a duration and all of it, so that many gateways do not return to a collector at once.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness the wait is the longest one.
    let share = match aws_lc_rs::rand::fill(&mut random) {
        Ok(()) => f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    };
    wait.mul_f64(0.5 + share / 2.0)
}

fn cursor_path(directory: &Path, name: &str) -> PathBuf {
    let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    directory.join(format!("cursor-{safe}"))
}

/// A damaged cursor means the beginning: records sent twice, and none lost.
fn read_cursor(path: &Path) -> io::Result<Position> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Position::default()),
        Err(error) => return Err(error),
    };
    let numbers: Option<Vec<u64>> = text.split_whitespace().map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[sequence, segment, offset]) => Ok(Position { sequence: Sequence(sequence), segment, offset }),
        _ => Ok(Position::default()),
    }
}

/// Replaces the cursor's file as a whole.
fn write_cursor(path: &Path, position: Position, durably: bool) -> io::Result<()> {
    use std::io::Write;
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new)?;
    writeln!(file, "{} {} {}", position.sequence, position.segment, position.offset)?;
    if durably {
        file.sync_all()?;
    }
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests;
