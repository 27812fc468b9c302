//! The journal: batches of writes in the order in which they became durable, kept until the next checkpoint.
//!
//! A record is `CWJ1`, its sequence number (u64), the length of its payload (u32), the first 16 bytes of the SHA-256
//! of all that and the payload, then the payload; numbers are big-endian. The file is written over from its start
//! after each checkpoint: the sequence numbers tell new records from old ones. A payload is a run of operations (see
//! [`put`], [`remove`], [`delete_table`]).

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::StoreError;

const MAGIC: &[u8; 4] = b"CWJ1";
const HEADER: usize = 4 + 8 + 4 + 16;
/// The file grows in steps of zeros: writing over existing blocks needs no journal of the file system when synced.
const STEP: u64 = 1 << 20;

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const DELETE_TABLE: u8 = 3;

/// Where the journal's bytes are. A test brings one that loses what was not synced.
pub(super) trait Medium: Send {
    fn read_all(&self) -> std::io::Result<Vec<u8>>;
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()>;
    fn sync(&self) -> std::io::Result<()>;
}

impl Medium for File {
    fn read_all(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.metadata()?.len()).unwrap_or(usize::MAX)];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.sync_data()
    }
}

/// Opens or creates the file of a journal. It holds patient data like the database does: for the owner only.
pub(super) fn open_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A journal being written.
pub(super) struct Journal {
    medium: Box<dyn Medium>,
    next: u64,
    position: u64,
    allocated: u64,
    buffer: Vec<u8>,
}

/// A batch found in a journal.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) payload: Vec<u8>,
}

impl Journal {
    /// Reads the batches after one that the database has already, and gives the journal to write on. Call
    /// [`Journal::restart`] when they are in the database.
    pub(super) fn open(medium: Box<dyn Medium>, applied: u64) -> Result<(Self, Vec<Record>), StoreError> {
        let bytes = medium.read_all()?;
        let records = scan(&bytes, applied)?;
        let next = records.last().map_or(applied, |last| last.sequence) + 1;
        Ok((Self { medium, next, position: 0, allocated: bytes.len() as u64, buffer: Vec::new() }, records))
    }

    /// Appends a batch and makes it durable. After an error nobody knows whether it is: write no more.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), StoreError> {
        let length = u32::try_from(payload.len()).map_err(|_| StoreError::Overloaded)?;
        self.buffer.clear();
        self.buffer.extend_from_slice(MAGIC);
        self.buffer.extend_from_slice(&self.next.to_be_bytes());
        self.buffer.extend_from_slice(&length.to_be_bytes());
        let digest = digest(&self.buffer, payload);
        self.buffer.extend_from_slice(&digest);
        self.buffer.extend_from_slice(payload);
        let end = self.position + self.buffer.len() as u64;
        if end > self.allocated {
            let target = end.next_multiple_of(STEP);
            let missing = usize::try_from(target - self.allocated).unwrap_or(0);
            self.medium.write_at(self.allocated, &vec![0; missing])?;
            self.allocated = target;
        }
        self.medium.write_at(self.position, &self.buffer)?;
        self.medium.sync()?;
        self.position = end;
        self.next += 1;
        Ok(())
    }

    /// The sequence number of the batch to append next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Bytes since the last checkpoint.
    pub(super) fn size(&self) -> u64 {
        self.position
    }

    /// Writes over the journal from its start: everything in it is durable in the database.
    pub(super) fn restart(&mut self) {
        self.position = 0;
    }
}

/// The unbroken run of batches after `applied`.
fn scan(bytes: &[u8], applied: u64) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    let (mut position, mut expected) = (0, None);
    // A journal that was restarted begins with newer batches and goes on with older ones.
    while let Some((sequence, payload)) = record_at(bytes, position) {
        if expected.is_some_and(|expected| sequence != expected) {
            break;
        }
        expected = Some(sequence + 1);
        position += HEADER + payload.len();
        if sequence > applied {
            records.push(Record { sequence, payload: payload.to_vec() });
        }
    }
    let last = records.last().map_or(applied, |record: &Record| record.sequence);
    // A torn batch was never acknowledged, and nothing can follow it. If something does, this is damage.
    let follows = |at: usize| record_at(bytes, at).is_some_and(|(sequence, _)| sequence > last);
    let gap = records.first().is_some_and(|first| first.sequence != applied + 1);
    if gap || memchr::memmem::find_iter(&bytes[position.min(bytes.len())..], MAGIC).any(|at| follows(position + at)) {
        return Err(StoreError::JournalDamaged(position as u64));
    }
    Ok(records)
}

fn record_at(bytes: &[u8], position: usize) -> Option<(u64, &[u8])> {
    let rest = bytes.get(position..)?;
    let header = rest.get(..HEADER)?;
    let (head, sum) = header.split_at(16);
    let sequence = u64::from_be_bytes(head.get(4..12)?.try_into().ok()?);
    let length = u32::from_be_bytes(head.get(12..16)?.try_into().ok()?);
    let payload = rest.get(HEADER..HEADER.checked_add(usize::try_from(length).ok()?)?)?;
    (head.starts_with(MAGIC) && digest(head, payload) == sum).then_some((sequence, payload))
}

fn digest(head: &[u8], payload: &[u8]) -> [u8; 16] {
    use aws_lc_rs::digest::{Context, SHA256};
    let mut context = Context::new(&SHA256);
    context.update(head);
    context.update(payload);
    let mut sum = [0; 16];
    sum.copy_from_slice(&context.finish().as_ref()[..16]);
    sum
}

/// Adds "this row has this value" to a payload.
pub(super) fn put(payload: &mut Vec<u8>, table: &str, key: &[u8], value: &[u8]) {
    payload.push(PUT);
    for part in [table.as_bytes(), key, value] {
        push_part(payload, part);
    }
}

/// Adds "there is no such row" to a payload.
pub(super) fn remove(payload: &mut Vec<u8>, table: &str, key: &[u8]) {
    payload.push(REMOVE);
    for part in [table.as_bytes(), key] {
        push_part(payload, part);
    }
}

/// Adds "there is no such table" to a payload.
pub(super) fn delete_table(payload: &mut Vec<u8>, table: &str) {
    payload.push(DELETE_TABLE);
    push_part(payload, table.as_bytes());
}

fn push_part(payload: &mut Vec<u8>, part: &[u8]) {
    // redb refuses rows of 3 GiB and more, so a length always fits.
    payload.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    payload.extend_from_slice(part);
}

/// An operation of a payload.
pub(super) enum Operation<'p> {
    Put { table: &'p str, key: &'p [u8], value: &'p [u8] },
    Remove { table: &'p str, key: &'p [u8] },
    DeleteTable { table: &'p str },
}

/// The operations of a payload, in order.
pub(super) fn operations(mut payload: &[u8]) -> impl Iterator<Item = Result<Operation<'_>, StoreError>> {
    std::iter::from_fn(move || {
        if payload.is_empty() {
            return None;
        }
        let operation = operation(&mut payload).ok_or(StoreError::Damaged("the journal"));
        if operation.is_err() {
            payload = &[];
        }
        Some(operation)
    })
}

fn operation<'p>(payload: &mut &'p [u8]) -> Option<Operation<'p>> {
    let (kind, rest) = payload.split_first()?;
    *payload = rest;
    let table = std::str::from_utf8(part(payload)?).ok()?;
    match *kind {
        PUT => Some(Operation::Put { table, key: part(payload)?, value: part(payload)? }),
        REMOVE => Some(Operation::Remove { table, key: part(payload)? }),
        DELETE_TABLE => Some(Operation::DeleteTable { table }),
        _ => None,
    }
}

fn part<'p>(payload: &mut &'p [u8]) -> Option<&'p [u8]> {
    let (length, rest) = payload.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *payload = rest;
    Some(part)
}
