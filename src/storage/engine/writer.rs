//! The one thread that writes: takes what waits as a batch, makes it durable, answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use redb::{Durability, ReadableTable as _, TableDefinition};
use tokio::sync::oneshot;

use super::journal::{self, Journal, Medium, Operation};
use super::transaction::{Definition, Write, table};
use super::{Settings, State, StoreError};

/// The engine's own table: how much of the journal the database has.
const ENGINE: Definition = table("engine");
const APPLIED: &[u8] = b"applied";

pub(super) enum Message {
    Job(Box<dyn Job>),
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
}

/// A write that waits for its turn.
pub(super) trait Job: Send {
    fn run(&mut self, write: &Write<'_>) -> Result<(), StoreError>;
    /// Tells the caller: its result if the batch is durable, or why it is not.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Typed<F, R> {
    work: F,
    result: Option<R>,
    reply: oneshot::Sender<Result<R, StoreError>>,
}

impl<F, R> Job for Typed<F, R>
where
    R: Send + 'static,
    F: Fn(&Write<'_>) -> Result<R, StoreError> + Send + 'static,
{
    fn run(&mut self, write: &Write<'_>) -> Result<(), StoreError> {
        self.result = Some((self.work)(write)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { result, reply, .. } = *self;
        // The caller may be gone; the write stands all the same.
        drop(reply.send(outcome.and_then(|()| result.ok_or(StoreError::Closed))));
    }
}

pub(super) fn job<F, R>(work: F) -> (Box<dyn Job>, oneshot::Receiver<Result<R, StoreError>>)
where
    R: Send + 'static,
    F: Fn(&Write<'_>) -> Result<R, StoreError> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Typed { work, result: None, reply }), answer)
}

pub(super) struct Writer {
    database: Arc<redb::Database>,
    journal: Journal,
    state: Arc<State>,
    batch: usize,
    checkpoint_idle: Duration,
}

impl Writer {
    /// Brings the database up to the end of the journal.
    pub(super) fn recover(
        database: Arc<redb::Database>,
        medium: Box<dyn Medium>,
        state: Arc<State>,
        settings: &Settings,
    ) -> Result<Self, StoreError> {
        let applied = applied(&database)?;
        let (journal, records) = Journal::open(medium, applied)?;
        if let Some(last) = records.last() {
            tracing::info!(batches = records.len(), "replaying the journal");
            let transaction = database.begin_write()?;
            for record in &records {
                for operation in journal::operations(&record.payload) {
                    repeat(&transaction, &operation?)?;
                }
            }
            set_applied(&transaction, last.sequence)?;
            commit_durably(transaction)?;
        }
        Ok(Self { database, journal, state, batch: settings.batch.max(1), checkpoint_idle: settings.checkpoint_idle })
    }

    /// Until every handle is gone.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let mut batch: Vec<Box<dyn Job>> = Vec::with_capacity(self.batch);
        loop {
            let first = match messages.recv_timeout(self.checkpoint_idle) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    drop(self.checkpoint());
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            // What came in while the last batch was being written goes together; nobody waits for company.
            let mut next = Some(first);
            let mut asked = None;
            while let Some(message) = next.take() {
                match message {
                    Message::Job(job) => batch.push(job),
                    Message::Checkpoint(done) => {
                        asked = Some(done);
                        break;
                    }
                }
                if batch.len() < self.batch {
                    next = messages.try_recv().ok();
                }
            }
            self.write(&mut batch);
            let outcome =
                if asked.is_some() || self.journal.size() >= self.state.checkpoint_size.load(Ordering::Relaxed) {
                    self.checkpoint()
                } else {
                    Ok(())
                };
            if let Some(done) = asked {
                drop(done.send(outcome));
            }
        }
        drop(self.checkpoint());
    }

    /// Writes a batch. A job that fails is answered and left out; those before it are made durable without it, and
    /// those after it come in a batch of their own, so one that fails costs the others no more than a second run.
    fn write(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        while !batch.is_empty() {
            if self.state.poisoned.load(Ordering::Acquire) {
                self.answer(batch.drain(..), &Err(StoreError::Poisoned));
                return;
            }
            match self.attempt(batch) {
                Ok(()) => self.answer(batch.drain(..), &Ok(())),
                Err(Failure::Job(index, error)) => {
                    let failed = batch.remove(index);
                    self.answer([failed].into_iter(), &Err(error));
                    let mut before: Vec<_> = batch.drain(..index).collect();
                    self.write(&mut before);
                }
                Err(Failure::Store(error)) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the store failed and refuses writes");
                    self.state.poisoned.store(true, Ordering::Release);
                    self.answer(batch.drain(..), &Err(error));
                }
            }
        }
    }

    fn answer(&self, jobs: impl Iterator<Item = Box<dyn Job>>, outcome: &Result<(), StoreError>) {
        for job in jobs {
            self.state.waiting.fetch_sub(1, Ordering::AcqRel);
            job.answer(outcome.clone());
        }
    }

    fn attempt(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let mut transaction = self.database.begin_write().map_err(|error| Failure::Store(error.into()))?;
        transaction.set_durability(Durability::None).map_err(|error| Failure::Store(error.into()))?;
        let write = Write::new(&transaction);
        for (index, job) in batch.iter_mut().enumerate() {
            let outcome = catch_unwind(AssertUnwindSafe(|| job.run(&write))).unwrap_or(Err(StoreError::Panicked));
            if let Err(error) = outcome {
                drop(write);
                transaction.abort().map_err(|error| Failure::Store(error.into()))?;
                return Err(Failure::Job(index, error));
            }
        }
        let log = write.into_log();
        if log.is_empty() {
            return transaction.abort().map_err(|error| Failure::Store(error.into()));
        }
        set_applied(&transaction, self.journal.next()).map_err(Failure::Store)?;
        self.journal.append(&log).map_err(Failure::Store)?;
        transaction.commit().map_err(|error| Failure::Store(error.into()))
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        if self.state.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        if self.journal.size() == 0 {
            return Ok(());
        }
        let outcome = self.database.begin_write().map_err(StoreError::from).and_then(commit_durably);
        match &outcome {
            Ok(()) => self.journal.restart(),
            Err(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "the store failed and refuses writes");
                self.state.poisoned.store(true, Ordering::Release);
            }
        }
        outcome
    }
}

fn repeat(transaction: &redb::WriteTransaction, operation: &Operation<'_>) -> Result<(), StoreError> {
    let open = |table| transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(table));
    match *operation {
        Operation::Put { table, key, value } => drop(open(table)?.insert(key, value)?),
        Operation::Remove { table, key } => drop(open(table)?.remove(key)?),
        Operation::DeleteTable { table } => {
            transaction.delete_table(TableDefinition::<&[u8], &[u8]>::new(table))?;
        }
    }
    Ok(())
}

enum Failure {
    /// This job of the batch asked to be undone.
    Job(usize, StoreError),
    /// Nothing can be written any more.
    Store(StoreError),
}

fn commit_durably(mut transaction: redb::WriteTransaction) -> Result<(), StoreError> {
    // Opening after a crash is then a matter of milliseconds, whatever the size.
    transaction.set_quick_repair(true);
    Ok(transaction.commit()?)
}

fn applied(database: &redb::Database) -> Result<u64, StoreError> {
    let transaction = database.begin_write()?;
    let applied = {
        let rows = transaction.open_table(ENGINE)?;
        let value = rows.get(APPLIED)?;
        match value {
            Some(value) => u64::from_be_bytes(value.value().try_into().map_err(|_| StoreError::Damaged("the engine"))?),
            None => 0,
        }
    };
    transaction.abort()?;
    Ok(applied)
}

fn set_applied(transaction: &redb::WriteTransaction, sequence: u64) -> Result<(), StoreError> {
    transaction.open_table(ENGINE)?.insert(APPLIED, sequence.to_be_bytes().as_slice())?;
    Ok(())
}
