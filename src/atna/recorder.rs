//! Recording: many callers, one writing thread, one wait for the disk for all who are waiting.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::chain::{Header, Kind, Sequence, Signer, append};
use super::event::{Event, ReplayKey};
use super::journal::{AuditError, Head, Journal, Opened};
use super::message::{self, Source};
use crate::id::{Clock, Tenant, TraceId};
use crate::routing::fan_out::without_quotes;
use crate::storage::seal::{Purpose, Sealer};

/// How the journal is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This system, as its records name it.
    pub source: Source,
    /// From which length on a new segment begins, in bytes.
    pub segment_bytes: u64,
    /// How many records may wait for the disk before callers have to wait too.
    pub queue: usize,
    /// After how many entries the chain is signed.
    pub signature_every: u64,
    /// After how long it is signed when there are fewer.
    pub signature_interval: Duration,
    /// How far back used assertions are looked for at the start: longer than any assertion is accepted.
    pub replay_window: Duration,
    /// Encrypts records on their way to disk.
    pub sealer: Sealer,
}

impl Settings {
    /// The usual: segments of 64 MiB, a signature each 4096 entries or each minute, assertions of a day.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            segment_bytes: 64 << 20,
            queue: 4096,
            signature_every: 4096,
            signature_interval: Duration::from_secs(60),
            replay_window: Duration::from_secs(24 * 3600),
            sealer: Sealer::default(),
        }
    }
}

/// The audit journal. Clones write to the same one; it closes when the last is dropped.
#[derive(Clone)]
pub struct Audit(Arc<Shared>);

struct Shared {
    send: Sender<Work>,
    permits: Arc<Semaphore>,
    durable: watch::Receiver<Sequence>,
    source: Source,
    sealer: Sealer,
    directory: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Work {
    Write(Item),
    Stop,
}

struct Item {
    payload: Vec<u8>,
    tenant: Tenant,
    trace: TraceId,
    replay: Option<ReplayKey>,
    reply: Reply,
    /// Held until the record is durable, so that the queue is bounded.
    permit: Option<OwnedSemaphorePermit>,
}

enum Reply {
    Nobody,
    Task(oneshot::Sender<Result<Sequence, AuditError>>),
    Thread(SyncSender<Result<Sequence, AuditError>>),
}

impl Reply {
    fn send(self, answer: Result<Sequence, AuditError>) {
        // Who no longer waits does not want the answer.
        match self {
            Self::Nobody => {}
            Self::Task(sender) => drop(sender.send(answer)),
            Self::Thread(sender) => drop(sender.send(answer)),
        }
    }
}

impl Audit {
    /// Opens the journal of a folder and starts its thread. With a signer the chain is signed.
    pub fn open(
        directory: &Path,
        settings: Settings,
        clock: Clock,
        signer: Option<Signer>,
    ) -> Result<(Self, Opened), AuditError> {
        let (journal, opened) = Journal::open(directory, clock.now(), settings.replay_window)?;
        Self::start(directory, journal, opened, settings, clock, signer)
    }

    fn start(
        directory: &Path,
        journal: Journal,
        opened: Opened,
        settings: Settings,
        clock: Clock,
        signer: Option<Signer>,
    ) -> Result<(Self, Opened), AuditError> {
        let (send, receive) = channel();
        let (durable_sender, durable) = watch::channel(journal.head().sequence);
        let permits = Arc::new(Semaphore::new(settings.queue.clamp(1, Semaphore::MAX_PERMITS)));
        let (source, sealer) = (settings.source.clone(), settings.sealer.clone());
        let mut writer = Writer {
            head: journal.head(),
            journal,
            receive,
            durable: durable_sender,
            settings,
            clock,
            signer,
            unsigned: 0,
            signed_at: Instant::now(),
            buffer: Vec::new(),
            retained: Vec::new(),
            failure: None,
        };
        writer.note(&opened.problems)?;
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|cause| AuditError::Open { path: directory.to_owned(), cause: Arc::new(cause) })?;
        let directory = directory.to_owned();
        let shared = Shared { send, permits, durable, source, sealer, directory, thread: Mutex::new(Some(thread)) };
        Ok((Self(Arc::new(shared)), opened))
    }

    /// Records an event. The future resolves when the record is on disk; until then no answer may leave.
    ///
    /// The record is written even if the future is dropped unfinished: that the caller went away does not undo what
    /// happened.
    pub fn record(&self, event: Event) -> impl Future<Output = Result<Sequence, AuditError>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        let mut pending = Pending { item: Some(self.item(event, Reply::Task(sender))), shared: Arc::clone(&self.0) };
        async move {
            let permit = Arc::clone(&pending.shared.permits).acquire_owned().await;
            if let Some(item) = &mut pending.item {
                item.permit = permit.ok();
            }
            drop(pending);
            receiver.await.unwrap_or(Err(AuditError::Closed))
        }
    }

    /// Records an event and blocks the thread until it is on disk. For start and stop, outside of any runtime.
    pub fn record_blocking(&self, event: Event) -> Result<Sequence, AuditError> {
        let (sender, receiver) = sync_channel(1);
        self.0.enqueue(self.item(event, Reply::Thread(sender)));
        receiver.recv().unwrap_or(Err(AuditError::Closed))
    }

    /// Records an event without waiting, for where nobody can wait: in `Drop`, in a listener's callback. If the disk
    /// is full it is kept in memory and written when there is room.
    pub fn submit(&self, event: Event) {
        self.0.enqueue(self.item(event, Reply::Nobody));
    }

    /// The last durable entry, and each later one.
    pub fn durable(&self) -> watch::Receiver<Sequence> {
        self.0.durable.clone()
    }

    /// Opens the payloads of records.
    pub fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Writes what is waiting, signs the chain and closes. What is recorded later is refused.
    pub fn close(&self) {
        self.0.close();
    }

    /// What is kept says why in our words: a partner's own may name the patient.
    fn item(&self, mut event: Event, reply: Reply) -> Item {
        event.reason = event.reason.as_deref().map(without_quotes);
        let message = message::encode(&event, &self.0.source);
        let payload = self.0.sealer.seal(&event.tenant, Purpose::Audit, message.as_bytes());
        Item { payload, tenant: event.tenant, trace: event.trace, replay: event.replay, reply, permit: None }
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("directory", &self.0.directory).finish_non_exhaustive()
    }
}

impl Shared {
    fn enqueue(&self, item: Item) {
        // A closed journal drops the item, and with it the sender of its answer: the caller sees `Closed`.
        if self.send.send(Work::Write(item)).is_err() {
            tracing::error!("an audit record came after the journal was closed");
        }
    }

    fn close(&self) {
        let _ = self.send.send(Work::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the audit thread panicked");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

/// A record on its way to the queue, which it reaches whatever becomes of its caller.
struct Pending {
    item: Option<Item>,
    shared: Arc<Shared>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.shared.enqueue(item);
        }
    }
}

/// How much is written at once, in bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Records of the batch before from which on more are waited for: there are others about who will need the disk too.
const COMPANY: u32 = 4;
/// How long for each of those, and at most. A wait for the disk costs processor time, however many share it; but where few
/// are about, all of them soon wait for nobody.
const GATHER: Duration = Duration::from_micros(150);
const GATHER_MOST: Duration = Duration::from_micros(1500);
/// How many unacknowledged records are kept for a disk that is full.
const RETAINED: usize = 100_000;

struct Writer {
    journal: Journal,
    /// The end of the chain including what is in the buffer.
    head: Head,
    receive: Receiver<Work>,
    durable: watch::Sender<Sequence>,
    settings: Settings,
    clock: Clock,
    signer: Option<Signer>,
    unsigned: u64,
    signed_at: Instant,
    buffer: Vec<u8>,
    /// Submitted records that the disk did not take.
    retained: Vec<Item>,
    /// Why the last batch was not written.
    failure: Option<AuditError>,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::new();
        let mut before: u32 = 0;
        loop {
            let mut stop = false;
            if before >= COMPANY {
                // Before the first one is waited for: none of those who come meanwhile has to wake this thread.
                std::thread::sleep(GATHER_MOST.min(GATHER.saturating_mul(before)));
            }
            match self.wait() {
                Ok(Work::Write(item)) => batch.push(item),
                Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => stop = true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let mut bytes: usize = batch.iter().map(|item| item.payload.len()).sum();
            // Whoever is alone waits for nobody; what came while the disk was busy is part of the next batch.
            while bytes < BATCH_BYTES {
                match self.receive.try_recv() {
                    Ok(Work::Write(item)) => {
                        bytes += item.payload.len();
                        batch.push(item);
                    }
                    Ok(Work::Stop) | Err(TryRecvError::Disconnected) => {
                        stop = true;
                        break;
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
            before = u32::try_from(batch.len()).unwrap_or(u32::MAX);
            self.write(&mut batch, stop);
            if stop {
                return;
            }
        }
    }

    /// The next work; times out when entries are to be signed or written again.
    fn wait(&self) -> Result<Work, RecvTimeoutError> {
        if !self.retained.is_empty() {
            return self.receive.recv_timeout(Duration::from_secs(1));
        }
        if self.signer.is_none() || self.unsigned == 0 {
            return self.receive.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        let left = self.settings.signature_interval.saturating_sub(self.signed_at.elapsed());
        self.receive.recv_timeout(left)
    }

    fn write(&mut self, batch: &mut Vec<Item>, closing: bool) {
        let unsigned_before = self.unsigned;
        let mut items = std::mem::take(&mut self.retained);
        items.append(batch);
        let mut sequences = Vec::with_capacity(items.len());
        for item in &items {
            sequences.push(self.add(Kind::Record, &item.tenant, item.trace, item.replay, &item.payload));
            if self.unsigned >= self.settings.signature_every {
                self.sign();
            }
        }
        let full = self.journal.length() + self.buffer.len() as u64 >= self.settings.segment_bytes;
        if closing || full || self.signed_at.elapsed() >= self.settings.signature_interval {
            self.sign();
        }
        if self.flush() {
            for (item, sequence) in items.into_iter().zip(sequences) {
                drop(item.permit);
                item.reply.send(Ok(sequence));
            }
            if full && let Err(error) = self.journal.rotate() {
                tracing::error!(%error, "a new segment of the audit journal could not be begun");
            }
        } else {
            self.unsigned = unsigned_before;
            self.give_back(items);
        }
        if closing && let Err(error) = self.journal.end() {
            tracing::warn!(%error, "the audit journal was not ended well");
        }
    }

    /// Writes the buffer; false when nothing of it counts.
    fn flush(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        let result = self.journal.append(&self.buffer, self.head);
        self.buffer.clear();
        if self.buffer.capacity() > 2 * BATCH_BYTES {
            self.buffer.shrink_to(BATCH_BYTES);
        }
        self.head = self.journal.head();
        match result {
            Ok(()) => {
                self.durable.send_replace(self.head.sequence);
                true
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "audit records were not written");
                self.failure = Some(error);
                false
            }
        }
    }

    /// Tells those who wait that their records are not written, and keeps those that nobody waits for.
    fn give_back(&mut self, items: Vec<Item>) {
        let error = self.failure.take().unwrap_or(AuditError::Broken);
        for item in items {
            match item.reply {
                Reply::Nobody if self.retained.len() < RETAINED => self.retained.push(item),
                Reply::Nobody => tracing::error!(trace = %item.trace, "an audit record was lost: the disk stays full"),
                reply => reply.send(Err(error.clone())),
            }
        }
    }

    fn add(
        &mut self,
        kind: Kind,
        tenant: &Tenant,
        trace: TraceId,
        replay: Option<ReplayKey>,
        payload: &[u8],
    ) -> Sequence {
        let sequence = self.head.sequence.next();
        let (at, tenant, previous) = (self.clock.now(), tenant.clone(), self.head.hash);
        let header = Header { sequence, at, previous, kind, tenant, trace, replay };
        let hash = append(&mut self.buffer, &header, payload);
        self.head = Head { sequence, hash };
        self.unsigned += 1;
        sequence
    }

    /// Signs the chain, if there is a key and something new.
    fn sign(&mut self) {
        let Some(signer) = &self.signer else { return };
        if self.unsigned > 0 {
            let payload = signer.payload(self.head.sequence.next(), &self.head.hash);
            self.add(Kind::Signature, &Tenant::default(), TraceId::new(), None, &payload);
            self.unsigned = 0;
        }
        self.signed_at = Instant::now();
    }

    /// Writes down what opening found.
    fn note(&mut self, problems: &[String]) -> Result<(), AuditError> {
        for problem in problems {
            tracing::error!(problem, "the audit journal was not as it was left");
            self.add(Kind::Note, &Tenant::default(), TraceId::new(), None, problem.as_bytes());
        }
        if self.flush() { Ok(()) } else { Err(self.failure.take().unwrap_or(AuditError::Broken)) }
    }
}

#[cfg(test)]
mod tests;
