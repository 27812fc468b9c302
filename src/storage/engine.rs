//! The embedded database: one writer with group commit, many readers.
//!
//! A write is durable before its caller hears of it. Making each batch durable inside the B-tree would write a hundred
//! scattered pages for every few kilobytes of news, so a batch goes to a journal first (one sequential write, one
//! `fdatasync`), then into redb in memory, and redb is made durable now and then (a checkpoint). After a crash, `open`
//! replays the journal from the last checkpoint. Readers see a batch only after it is durable.
//!
//! Tables are bytes to bytes, ordered by the bytes of their keys: the journal must be able to repeat any write without
//! knowing what it meant. Values with patient data pass [`super::seal`] before they come here.

mod journal;
mod transaction;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub use transaction::{Bytes, Definition, OwnedRow, Read, ReadTable, Table, Write, table};

/// Why something could not be stored or read. Holds no stored value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left where the data is kept.
    #[error("the disk is full")]
    DiskFull,
    /// The operating system refused to read or write.
    #[error("the store could not be read or written")]
    Io(#[source] Arc<std::io::Error>),
    /// Another process has the database open.
    #[error("another gateway uses this store; stop it, or name another store.folder")]
    InUse,
    /// The database reports damage or misuse.
    #[error("the database failed")]
    Database(#[source] Arc<redb::Error>),
    /// The journal has a gap: a damaged batch with sound ones after it, so acknowledged writes would be lost.
    #[error("the journal is damaged at byte {0}, and later batches depend on it")]
    JournalDamaged(u64),
    /// An earlier failure makes any further write unsafe; open the store again.
    #[error("the store refuses writes since an earlier failure")]
    Poisoned,
    /// Too many writes wait already.
    #[error("too many writes are waiting")]
    Overloaded,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The code that should have written panicked. Nothing of it was stored.
    #[error("a write panicked and was undone")]
    Panicked,
    /// A stored row is not what its table holds.
    #[error("a row of {0} cannot be read")]
    Damaged(&'static str),
    /// Whoever writes changed their mind: nothing of this write is stored.
    #[error("the write was undone")]
    Undone(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull { Self::DiskFull } else { Self::Io(Arc::new(error)) }
    }
}

macro_rules! from_redb {
    ($($kind:ident),*) => {$(
        impl From<redb::$kind> for StoreError {
            fn from(error: redb::$kind) -> Self {
                match redb::Error::from(error) {
                    redb::Error::Io(error) => error.into(),
                    redb::Error::DatabaseAlreadyOpen => Self::InUse,
                    error => Self::Database(Arc::new(error)),
                }
            }
        }
    )*};
}

from_redb!(StorageError, TableError, CommitError, TransactionError, DatabaseError, SetDurabilityError, CompactionError);

/// Sizes and times of an engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Memory for pages, in bytes. Pages beyond it come from the operating system's cache.
    pub cache: usize,
    /// The largest number of writes made durable together.
    pub batch: usize,
    /// The largest number of writes that may wait; more are refused as overload.
    pub waiting: usize,
    /// Journal size at which the database itself is made durable, in bytes.
    pub checkpoint_size: u64,
    /// Time without writes after which the database itself is made durable.
    pub checkpoint_idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache: 16 << 20,
            batch: 256,
            waiting: 10_000,
            checkpoint_size: 16 << 20,
            checkpoint_idle: Duration::from_secs(2),
        }
    }
}

/// A handle to the database; clones share it. The last clone dropped closes it cleanly.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    database: Arc<redb::Database>,
    jobs: Option<mpsc::Sender<writer::Message>>,
    state: Arc<State>,
    limit: usize,
    thread: Option<JoinHandle<()>>,
}

/// What the writer thread tells the handles.
#[derive(Default)]
struct State {
    poisoned: AtomicBool,
    waiting: AtomicUsize,
    checkpoint_size: AtomicU64,
}

impl Engine {
    /// Opens the database of a folder, creating both if need be, and replays what a crash left in the journal.
    /// The files are `causeway.redb` and `causeway.journal`.
    pub fn open(folder: &Path, settings: &Settings) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder)?;
        let database = redb::Database::builder().set_cache_size(settings.cache).create(database_path(folder))?;
        let file = journal::open_file(&folder.join("causeway.journal"))?;
        // The names of two new files must survive a power cut before the first write is acknowledged.
        std::fs::File::open(folder)?.sync_all()?;
        Self::start(database, Box::new(file), settings)
    }

    /// Whether a folder has a database in it.
    pub fn exists(folder: &Path) -> bool {
        database_path(folder).is_file()
    }

    fn start(
        database: redb::Database,
        file: Box<dyn journal::Medium>,
        settings: &Settings,
    ) -> Result<Self, StoreError> {
        let database = Arc::new(database);
        let state = Arc::new(State::default());
        state.checkpoint_size.store(settings.checkpoint_size, Ordering::Relaxed);
        let (jobs, waiting) = mpsc::channel();
        let writer = writer::Writer::recover(database.clone(), file, state.clone(), settings)?;
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run(&waiting))?;
        Ok(Self(Arc::new(Shared { database, jobs: Some(jobs), state, limit: settings.waiting, thread: Some(thread) })))
    }

    /// Runs a write in the next batch. The answer comes when it is durable, or says that nothing of it is stored.
    ///
    /// It is under way when this returns: dropping the future does not cancel it. `work` may run more than once, when
    /// another write of its batch fails, and must not wait for anything.
    pub fn write<R, F>(&self, work: F) -> impl Future<Output = Result<R, StoreError>> + Send + use<R, F>
    where
        R: Send + 'static,
        F: Fn(&Write<'_>) -> Result<R, StoreError> + Send + 'static,
    {
        let answer = self.submit(work);
        async move { answer?.await.unwrap_or(Err(StoreError::Closed)) }
    }

    /// As [`Engine::write`], for the command line and tests. Panics inside an asynchronous task.
    pub fn write_blocking<R, F>(&self, work: F) -> Result<R, StoreError>
    where
        R: Send + 'static,
        F: Fn(&Write<'_>) -> Result<R, StoreError> + Send + 'static,
    {
        self.submit(work)?.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    fn submit<R, F>(&self, work: F) -> Result<oneshot::Receiver<Result<R, StoreError>>, StoreError>
    where
        R: Send + 'static,
        F: Fn(&Write<'_>) -> Result<R, StoreError> + Send + 'static,
    {
        if self.0.state.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        let jobs = self.0.jobs.as_ref().ok_or(StoreError::Closed)?;
        if self.0.state.waiting.fetch_add(1, Ordering::AcqRel) >= self.0.limit {
            self.0.state.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(StoreError::Overloaded);
        }
        let (job, answer) = writer::job(work);
        jobs.send(writer::Message::Job(job)).map_err(|_| StoreError::Closed)?;
        Ok(answer)
    }

    /// A consistent view of everything durable now. Keep it short: pages that it can see are not reused.
    pub fn read(&self) -> Result<Read, StoreError> {
        use redb::ReadableDatabase as _;
        Ok(Read::new(self.0.database.begin_read()?))
    }

    /// Makes the database itself durable and empties the journal, as happens by itself from time to time.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        let jobs = self.0.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(writer::Message::Checkpoint(done)).map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Makes the database durable less often: many writes at random places cost the less the more of them go together.
    /// The journal, which is read into memory after a crash, grows to this size.
    pub fn set_checkpoint_size(&self, bytes: u64) {
        self.0.state.checkpoint_size.store(bytes, Ordering::Relaxed);
    }

    /// Whether an earlier failure stopped all writes: the gateway is not ready then.
    pub fn is_poisoned(&self) -> bool {
        self.0.state.poisoned.load(Ordering::Acquire)
    }

    /// How many writes wait or run now.
    pub fn waiting(&self) -> usize {
        self.0.state.waiting.load(Ordering::Acquire)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer did not end well; the journal will be replayed at the next start");
        }
    }
}

/// Gives dead space of the database back to the file system. The store must not be in use. True if it became smaller.
pub fn compact(folder: &Path) -> Result<bool, StoreError> {
    drop(Engine::open(folder, &Settings::default())?);
    Ok(redb::Database::open(database_path(folder))?.compact()?)
}

/// Reads the whole database and compares all checksums. The store must not be in use. False if there was damage that
/// could be repaired.
pub fn check_integrity(folder: &Path) -> Result<bool, StoreError> {
    drop(Engine::open(folder, &Settings::default())?);
    Ok(redb::Database::open(database_path(folder))?.check_integrity()?)
}

fn database_path(folder: &Path) -> PathBuf {
    folder.join("causeway.redb")
}
