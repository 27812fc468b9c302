//! Takes a file of patients in, in the name of a source of the configuration: what a feed of that source would be
//! refused, a file is refused.
//!
//! Pieces go into the store many at a time, in one write with the place that was reached. Killed at any moment, an
//! import goes on from there when it is run again on the same file with the same options, and ends with what it would
//! have ended with; run again after its end, it says so and does nothing.
//!
//! The audit trail gets a record at the beginning and one at the end, with the user, a digest that names the file
//! exactly, and counts. There is no record for each registration: what an import registered is what that file says, and
//! millions of records of it would hide the others. Merges, changes of identifiers, links and unlinks change what others
//! see of a patient who is known already, so each has its own, as in a feed (ITI TF-2: 3.8.5.1, 3.30.5.1).

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::csv::Options;
use super::rejects::Rejects;
use super::{Format, OpenError, Piece, Reader, Rules, Told};
use crate::atna::{AccessPoint, Action, AuditError, Event, Object, Occasion, Outcome, Participant};
use crate::authenticate::FeedSource;
use crate::gateway::Gateway;
use crate::id::{AssigningAuthority, Clock, PatientId, Timestamp, TraceId};
use crate::pix::feed_v2::{FeedRequest, Pair, Refusal};
use crate::storage::engine::StoreError;
use crate::storage::identities::{Counts, Import, ImportKey, Item, Place, Revise, Step};

/// Batches that are read ahead of the one that is written.
const AHEAD: usize = 2;
/// From this size of a write on, nobody else waits for the store.
const ALONE: usize = 1_000;
/// How much of a file tells its form.
const HEAD: usize = 64 << 10;

/// What is to be imported, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Request {
    /// Who does it.
    pub user: String,
    /// The file.
    pub file: PathBuf,
    /// Its form; found by its beginning otherwise.
    pub format: Option<Format>,
    /// The source of the configuration in whose name it is read.
    pub source: String,
    /// The domain of identifiers that name none, by its namespace or OID; what the source has otherwise.
    pub domain: Option<String>,
    /// Where to put what was not taken in; beside the file otherwise.
    pub rejects: Option<PathBuf>,
    /// Whether records of one person are looked for, as in a feed. Without, records are linked only where the file says.
    pub matching: bool,
    /// What a table needs beyond.
    pub table: Options,
    /// Pieces of one write. More are faster, and keep a feed waiting longer.
    pub batch: usize,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Progress {
    /// Bytes of the file that are done.
    pub done: u64,
    /// Its length.
    pub size: u64,
    /// What became of them.
    pub counts: Counts,
}

/// Whoever watches an import, and may end it.
#[derive(Clone)]
pub struct Watch {
    /// Told after each write.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
    /// Ends the import after the write that is under way.
    pub stop: CancellationToken,
}

/// What came of an import.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// How far it is.
    pub import: Import,
    /// The form of the file.
    pub format: Format,
    /// It went on where an earlier run had been ended.
    pub resumed: bool,
    /// An earlier run had come to the end: nothing was done.
    pub was_finished: bool,
    /// Where the rejected pieces are, if there are any.
    pub rejects: Option<PathBuf>,
}

impl Report {
    /// Whether the end of the file was reached and every piece taken in.
    pub fn is_whole(&self) -> bool {
        self.import.finished.is_some() && self.import.counts.rejected == 0
    }
}

/// Why an import was not begun, or not ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// `source` names none.
    #[error("no source is named {name}; the configuration has {}", if .known.is_empty() { "none".to_owned() } else { .known.join(", ") })]
    NoSource {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// `domain` names none of the source's.
    #[error("the source may not feed a domain named {0}")]
    NoDomain(String),
    /// No user.
    #[error("name the user who imports")]
    NoUser,
    /// The file is a folder, a pipe, or something else that cannot be read twice.
    #[error("the file is no regular file; an import must be able to read it again from any place")]
    NotAFile,
    /// The file is not there, or cannot be read on.
    #[error("the file could not be read: {0}")]
    File(#[source] std::io::Error),
    /// Its beginning is not what its form wants.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is not what it was when the import began.
    #[error("the file was changed while it was read; what was taken in before stays")]
    Changed,
    /// A rejects file of that name is there already.
    #[error("{} is there already; name another with --rejects, or remove it", .0.display())]
    RejectsExist(PathBuf),
    /// The rejects could not be written.
    #[error("the rejects file could not be written: {0}")]
    Rejects(#[source] std::io::Error),
    /// The store failed. What was done before stays, and the import can be run again.
    #[error("{0}")]
    Store(String),
    /// The audit trail failed: nothing is done that is not recorded.
    #[error("this cannot be recorded at the moment")]
    Audit,
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "an import could not be stored");
        match error {
            StoreError::Undone(cause) => Self::Store(cause.to_string()),
            error => Self::Store(error.to_string()),
        }
    }
}

impl From<AuditError> for ImportError {
    fn from(_: AuditError) -> Self {
        Self::Audit
    }
}

/// Imports a file, from its beginning or from where an earlier run came to.
pub async fn run(gateway: &Arc<Gateway>, request: &Request, watch: &Watch) -> Result<Report, ImportError> {
    if request.user.trim().is_empty() {
        return Err(ImportError::NoUser);
    }
    let source = source(gateway, request)?;
    let rules = Rules {
        domains: gateway.domains.clone(),
        default_authority: default_authority(gateway, source, request.domain.as_deref())?,
        table: request.table.clone(),
    };
    let path = request.file.clone();
    let opened =
        tokio::task::spawn_blocking(move || Opened::read(&path)).await.map_err(|_| ImportError::NotAFile)??;
    let format = request.format.unwrap_or_else(|| Format::of(&opened.head));
    let key = key(&opened.digest, format, request);
    let known = gateway.identities.import_of(&gateway.tenant, &key)?;
    let rejects_path = request.rejects.clone().unwrap_or_else(|| beside(&request.file));
    let is_new = known.is_none();
    let mut import = known.unwrap_or_else(|| begun(gateway, request, opened.size));
    let report = |import: Import, was_finished: bool| {
        let any = import.counts.rejected > 0;
        Report { import, format, resumed: !is_new, was_finished, rejects: any.then(|| rejects_path.clone()) }
    };
    if import.finished.is_some() {
        return Ok(report(import, true));
    }
    if is_new && rejects_path.exists() {
        return Err(ImportError::RejectsExist(rejects_path));
    }
    let file = || File::open(&request.file).map_err(ImportError::File);
    let reader = Reader::open(format, file()?, import.place, rules)?;
    let rejects = Rejects::new(rejects_path.clone(), format, reader.heading().to_vec(), file()?);

    if request.batch >= ALONE {
        gateway.identities.expect_many();
    }
    let trail = Trail { gateway, user: &request.user, digest: hex::encode(opened.digest), trace: TraceId::new() };
    trail.record(&import, Moment::Begun).await?;
    let batches = read_ahead(reader, Understanding::of(gateway, source, request.batch));
    let done = write_all(gateway, key, &mut import, request.matching, batches, &rejects, &trail, watch).await;
    let done = match done {
        Ok(true) if opened.is_changed(&request.file) => Err(ImportError::Changed),
        done => done,
    };
    match done {
        Ok(true) => {
            let now = gateway.clock.now();
            import = gateway.identities.finish_import(&gateway.tenant, key, import, now).await?;
            trail.record(&import, Moment::Ended).await?;
            Ok(report(import, false))
        }
        Ok(false) => {
            trail.record(&import, Moment::Interrupted("stopped by the user".into())).await?;
            Ok(report(import, false))
        }
        Err(error) => {
            trail.record(&import, Moment::Interrupted(error.to_string())).await?;
            Err(error)
        }
    }
}

fn source<'g>(gateway: &'g Gateway, request: &Request) -> Result<&'g FeedSource, ImportError> {
    gateway.sources.iter().find(|source| source.name == request.source).ok_or_else(|| ImportError::NoSource {
        name: request.source.clone(),
        known: gateway.sources.iter().map(|source| source.name.to_string()).collect(),
    })
}

/// The domain of identifiers that name none: what the operator says, what the source has for it, or the only one that
/// the source feeds.
fn default_authority(
    gateway: &Gateway,
    source: &FeedSource,
    said: Option<&str>,
) -> Result<Option<AssigningAuthority>, ImportError> {
    let Some(said) = said else {
        let only = if let [only] = source.authorities.as_slice() { Some(only.clone()) } else { None };
        return Ok(source.default_authority.clone().or(only));
    };
    let is = |domain: &&crate::id::Domain| domain.namespace == said || domain.authority.universal_id() == said;
    let named = gateway.domains.iter().find(is).map(|domain| domain.authority.clone());
    let named = named.filter(|authority| source.authorities.contains(authority));
    named.map(Some).ok_or_else(|| ImportError::NoDomain(said.to_owned()))
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".rejects");
    name.into()
}

fn begun(gateway: &Gateway, request: &Request, size: u64) -> Import {
    Import {
        file: request.file.display().to_string(),
        size,
        source: request.source.clone(),
        user: request.user.clone(),
        started: gateway.clock.now(),
        finished: None,
        place: Place::default(),
        counts: Counts::default(),
        rejects_length: 0,
        pending: Vec::new(),
    }
}

/// The file's digest with everything that decides what its bytes mean.
fn key(digest: &[u8; 32], format: Format, request: &Request) -> ImportKey {
    let mut context = Context::new(&SHA256);
    context.update(digest);
    let meaning = (format, &request.source, &request.domain, request.matching, &request.table);
    context.update(serde_json::to_string(&meaning).unwrap_or_default().as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    ImportKey(key)
}

/// A file as it was before it was read.
struct Opened {
    digest: [u8; 32],
    size: u64,
    modified: Option<std::time::SystemTime>,
    head: Vec<u8>,
}

impl Opened {
    fn read(path: &Path) -> Result<Self, ImportError> {
        let mut file = File::open(path).map_err(ImportError::File)?;
        let data = file.metadata().map_err(ImportError::File)?;
        if !data.is_file() {
            return Err(ImportError::NotAFile);
        }
        let (mut context, mut head, mut size) = (Context::new(&SHA256), Vec::new(), 0);
        let mut piece = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut piece).map_err(ImportError::File)?;
            if count == 0 {
                break;
            }
            if head.is_empty() {
                head.extend_from_slice(&piece[..count.min(HEAD)]);
            }
            context.update(&piece[..count]);
            size += count as u64;
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(Self { digest, size, modified: data.modified().ok(), head })
    }

    fn is_changed(&self, path: &Path) -> bool {
        let now = std::fs::metadata(path).map(|data| (data.len(), data.modified().ok()));
        now.ok() != Some((self.size, self.modified))
    }
}

/// Pieces of one write, and the place behind them.
struct Batch {
    items: Vec<Item>,
    to: Place,
}

/// What turns pieces into changes of the store.
struct Understanding {
    authorities: Vec<AssigningAuthority>,
    clock: Clock,
    batch: usize,
}

impl Understanding {
    fn of(gateway: &Gateway, source: &FeedSource, batch: usize) -> Self {
        Self { authorities: source.authorities.clone(), clock: gateway.clock.clone(), batch: batch.clamp(1, 100_000) }
    }

    fn item(&self, piece: Piece, now: Timestamp) -> Item {
        let Piece { line, from, to, content } = piece;
        // What says that it comes from the future has a wrong clock; ours counts then.
        let told_at = content.as_ref().ok().and_then(|told| told.first()).and_then(|told| told.at);
        let at = told_at.filter(|at| *at <= now).unwrap_or(now);
        let steps = content.map_err(|unread| unread.to_string()).and_then(|told| {
            let steps = told.into_iter().map(|told| self.steps(told, at)).collect::<Result<Vec<_>, _>>();
            steps.map(|steps| steps.into_iter().flatten().collect()).map_err(|refusal| refusal.to_string())
        });
        Item { line, from, to, at, steps }
    }

    fn steps(&self, told: Told, at: Timestamp) -> Result<Vec<Step>, Refusal> {
        let Told { change, merging, .. } = told;
        if change.ids().any(|id| !self.authorities.contains(id.authority())) {
            return Err(Refusal::NotTheSource);
        }
        Ok(match change {
            FeedRequest::Add { ids, demographics } => vec![Step::put(ids, *demographics, at)],
            FeedRequest::Revise { ids, revision, .. } => {
                let revise: Revise = Arc::new(move |before| revision.apply_to(before));
                vec![Step::Revise(ids, revise)]
            }
            FeedRequest::Merge(pairs) => {
                pairs.into_iter().map(|Pair { survivor, subsumed }| Step::Merge(survivor, subsumed, merging)).collect()
            }
            FeedRequest::ChangeId(pairs) => {
                pairs.into_iter().map(|Pair { survivor, subsumed }| Step::ChangeId(subsumed, survivor)).collect()
            }
            FeedRequest::Link(a, b) => vec![Step::Link(a, b)],
            FeedRequest::Unlink(a, b) => vec![Step::Unlink(a, b)],
        })
    }
}

/// Reads on a thread of its own while the batch before is written.
fn read_ahead(mut reader: Reader<File>, understanding: Understanding) -> Receiver<Result<Batch, std::io::Error>> {
    let (batches, written) = sync_channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read_batches(&mut reader, &understanding, &batches) {
            // Nobody waits for it any more if this fails.
            drop(batches.send(Err(error)));
        }
    });
    written
}

fn read_batches(
    reader: &mut Reader<File>,
    understanding: &Understanding,
    batches: &SyncSender<Result<Batch, std::io::Error>>,
) -> std::io::Result<()> {
    loop {
        let now = understanding.clock.now();
        let mut items = Vec::with_capacity(understanding.batch.min(4_096));
        let mut ended = false;
        while items.len() < understanding.batch {
            match reader.next_piece()? {
                Some(piece) => items.push(understanding.item(piece, now)),
                None => {
                    ended = true;
                    break;
                }
            }
        }
        if !items.is_empty() && batches.send(Ok(Batch { items, to: reader.place() })).is_err() {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
    }
}

/// Writes batches until there are no more (true) or the user wants no more (false).
#[expect(clippy::too_many_arguments, reason = "what an import is made of, used here and nowhere else")]
async fn write_all(
    gateway: &Arc<Gateway>,
    key: ImportKey,
    import: &mut Import,
    matching: bool,
    batches: Receiver<Result<Batch, std::io::Error>>,
    rejects: &Rejects,
    trail: &Trail<'_>,
    watch: &Watch,
) -> Result<bool, ImportError> {
    // What was rejected by a write whose rejects may not have come to the file.
    settle(import, rejects)?;
    let mut batches = Some(batches);
    loop {
        if watch.stop.is_cancelled() {
            return Ok(false);
        }
        let Some(waiting) = batches.take() else { return Ok(true) };
        let next = tokio::task::spawn_blocking(move || (waiting.recv().ok(), waiting)).await;
        let (next, waiting) = next.map_err(|_| ImportError::Store("the reader of the file failed".into()))?;
        batches = Some(waiting);
        let Some(batch) = next else { return Ok(true) };
        let Batch { items, to } = batch.map_err(ImportError::File)?;
        let items = Arc::new(items);
        *import = gateway.identities.import(&gateway.tenant, key, items.clone(), import.clone(), to, matching).await?;
        trail.relations(&items, import).await?;
        settle(import, rejects)?;
        (watch.progress)(Progress { done: import.place.offset, size: import.size, counts: import.counts });
    }
}

/// Brings the rejects of the last write to the file. The next write says that they are there.
fn settle(import: &mut Import, rejects: &Rejects) -> Result<(), ImportError> {
    import.rejects_length = rejects.write(import.rejects_length, &import.pending).map_err(ImportError::Rejects)?;
    import.pending.clear();
    Ok(())
}

/// The audit records of an import.
struct Trail<'g> {
    gateway: &'g Gateway,
    user: &'g str,
    digest: String,
    trace: TraceId,
}

enum Moment {
    Begun,
    Ended,
    Interrupted(String),
}

impl Trail<'_> {
    fn occasion(&self) -> Occasion {
        Occasion { at: self.gateway.clock.now(), trace: self.trace, tenant: self.gateway.tenant.clone() }
    }

    fn person(&self) -> Participant {
        let host = AccessPoint::of_host(crate::pipeline::soap::host(&self.gateway.community.public_url));
        Participant { user_id: self.user.into(), access_point: Some(host), ..Participant::default() }
    }

    async fn record(&self, import: &Import, moment: Moment) -> Result<(), AuditError> {
        let counts = import.counts;
        let moment_name = match &moment {
            Moment::Begun => "begun",
            Moment::Ended => "ended",
            Moment::Interrupted(_) => "interrupted",
        };
        let file = Object::patient_file(&format!("urn:sha256:{}", self.digest))
            .detail("Moment", moment_name)
            .detail("Source", &import.source)
            .detail("Bytes", &import.size.to_string())
            .detail("BytesDone", &import.place.offset.to_string())
            .detail("Read", &counts.read.to_string())
            .detail("Added", &counts.added.to_string())
            .detail("Updated", &counts.updated.to_string())
            .detail("Rejected", &counts.rejected.to_string());
        let mut event = Event::patients_imported(self.occasion(), "causeway", self.person(), &import.source, file);
        if let Moment::Interrupted(reason) = moment {
            event = event.outcome(Outcome::MinorFailure, reason);
        }
        self.gateway.audit.record(event).await.map(drop)
    }

    /// A record for each identifier that a merge, a change of identifier, a link or an unlink touched.
    async fn relations(&self, items: &[Item], import: &Import) -> Result<(), AuditError> {
        for item in items {
            let Ok(steps) = &item.steps else { continue };
            // A refused item is in the rejects, and nothing of it was done.
            if import.pending.iter().any(|reject| reject.from == item.from) {
                continue;
            }
            for (action, id) in steps.iter().flat_map(touched) {
                let patient = Object::patient(id).detail("Import", &self.digest);
                let event = Event::patient_record(self.occasion(), "causeway", action, self.person(), patient);
                self.gateway.audit.record(event).await?;
            }
        }
        Ok(())
    }
}

fn touched(step: &Step) -> Vec<(Action, &PatientId)> {
    match step {
        Step::Put(..) | Step::Revise(..) => Vec::new(),
        Step::Merge(survivor, subsumed, _) => vec![(Action::Delete, subsumed), (Action::Update, survivor)],
        Step::ChangeId(old, new) => vec![(Action::Delete, old), (Action::Update, new)],
        Step::Link(a, b) | Step::Unlink(a, b) => vec![(Action::Update, a), (Action::Update, b)],
    }
}
