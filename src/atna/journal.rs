//! The journal's files: `audit-00000001.log` and so on, each a piece of the chain, and `head`, which remembers the last
//! acknowledged entry so that a shortened chain is noticed.
//!
//! What is behind `head` in the last file was never acknowledged to anybody: after a crash a torn end there is cut off
//! and a note takes its place. Damage before `head` is left where it is, as evidence; the journal goes on in a new file.
//!
//! The file that is written has zeros behind its last entry: what overwrites blocks that are there already is on disk
//! after half the work, because nothing about the file itself has changed. Closed files have none.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Entry, GENESIS, Hash, ReadError, Reader, Sequence, hash_from_hex};
use super::event::ReplayKey;
use crate::id::Timestamp;

/// Why an audit record could not be kept. Whoever gets this must not answer as if nothing had happened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// Another process writes this journal.
    #[error("another process writes the audit journal in {0}")]
    Locked(PathBuf),
    /// A file or folder of the journal cannot be opened.
    #[error("the audit journal cannot be opened: {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The record is not on disk: the disk is full, or failed.
    #[error("the audit record could not be written")]
    Write(#[source] Arc<io::Error>),
    /// The disk failed in a way after which nobody knows what is on it; a restart looks again.
    #[error("the audit journal stopped after its disk failed")]
    Broken,
    /// The gateway is shutting down.
    #[error("the audit journal is closed")]
    Closed,
}

/// The end of the chain: the last entry and its hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Its number; 0 when there is none.
    pub sequence: Sequence,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// The end of an empty chain.
    pub const EMPTY: Self = Self { sequence: Sequence(0), hash: GENESIS };

    /// One line of fixed length, so that it is written in place by one call.
    fn line(&self) -> String {
        format!("{:020} {}\n", self.sequence.0, hex::encode(self.hash))
    }

    fn parse(text: &str) -> Option<Self> {
        let (sequence, hash) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Self { sequence: Sequence(sequence.parse().ok()?), hash: hash_from_hex(hash)? })
    }

    /// What the `head` file of a journal says; nothing if it is missing or damaged.
    pub fn read(directory: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(directory.join(HEAD)).ok()?)
    }
}

const HEAD: &str = "head";
/// By how much the file grows at once, in bytes.
const STEP: u64 = 1 << 20;

/// The file of a segment.
pub fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("audit-{number:08}.log"))
}

/// The numbers of the segments in a folder, in order.
pub fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".log"));
        numbers.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What opening found.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Assertions that are still young enough to be replayed.
    pub replay: Vec<ReplayKey>,
    /// What was wrong with the files, one sentence each; also noted in the journal.
    pub problems: Vec<String>,
}

/// The journal open for writing. One process has it at a time.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    file: File,
    number: u64,
    /// Where the entries end.
    length: u64,
    /// Where the file ends, after the zeros behind the entries.
    room: u64,
    head: Head,
    head_file: File,
    broken: bool,
    _lock: Lock,
    /// Makes every write fail half-way, as a full disk does.
    #[cfg(test)]
    pub(super) full: Arc<std::sync::atomic::AtomicBool>,
}

/// A locked file, unlocked by name. Closing it alone would not do at once: a process that is being started at this very
/// moment has a copy of every open file until it runs its own program, and the lock belongs to all copies.
#[derive(Debug)]
struct Lock(File);

impl Lock {
    /// Locks a journal for the one process that writes it.
    fn take(directory: &Path) -> Result<Self, AuditError> {
        let path = directory.join("lock");
        let file = File::create(&path).map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(AuditError::Locked(directory.to_owned())),
            Err(TryLockError::Error(cause)) => Err(failed(&path)(cause)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What cannot be unlocked is unlocked when it is closed.
        let _ = self.0.unlock();
    }
}

/// Says which file could not be used.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> AuditError + use<> {
    let path = path.to_owned();
    move |cause| AuditError::Open { path, cause: Arc::new(cause) }
}

impl Journal {
    /// Opens or creates the journal of a folder and looks at its end. Assertions used up within the window before
    /// now are collected.
    pub fn open(directory: &Path, now: Timestamp, replay_window: Duration) -> Result<(Self, Opened), AuditError> {
        create_private(directory).map_err(failed(directory))?;
        let lock = Lock::take(directory)?;

        let mut opened = Opened::default();
        let numbers = segments(directory).map_err(failed(directory))?;
        let remembered = Head::read(directory);
        let oldest = now.minus(replay_window);
        let mut head = Head::EMPTY;
        let mut tail = None;
        // Backwards: the last segment tells the end of the chain, older ones only assertions that are still young.
        for &number in numbers.iter().rev() {
            let path = segment_path(directory, number);
            let scan = Scan::of(&path).map_err(failed(&path))?;
            if let (Some(damage), true) = (&scan.damage, tail.is_some()) {
                opened.problems.push(format!("segment {number} is damaged: {damage}"));
            }
            let (last, first_at) = (scan.last, scan.first_at);
            opened.replay.extend(scan.replay.iter().filter(|one| one.expires > now));
            if tail.is_none() {
                tail = Some((number, scan));
            }
            if head == Head::EMPTY {
                head = last.unwrap_or(Head::EMPTY);
            }
            if head != Head::EMPTY && first_at.is_some_and(|at| at < oldest) {
                break;
            }
        }

        let acknowledged = remembered.unwrap_or(head);
        if remembered.is_none() && head != Head::EMPTY {
            opened.problems.push("the head file is missing or damaged".to_owned());
        }
        let mut number = numbers.last().copied().unwrap_or(1);
        let (mut length, mut room) = (0, 0);
        if let Some((_, scan)) = tail {
            let total = fs::metadata(segment_path(directory, number)).map_err(failed(directory))?.len();
            (length, room) = (scan.whole, total);
            if acknowledged.sequence > head.sequence {
                // Entries that were acknowledged are gone. Nothing is cut or overwritten: a new segment begins where
                // the chain should have been, so the gap stays visible for ever.
                let (first, last) = (head.sequence.next(), acknowledged.sequence);
                opened.problems.push(format!("entries {first} to {last} were acknowledged and are missing"));
                (head, number, length, room) = (acknowledged, number + 1, 0, 0);
            } else if scan.damage.is_some() {
                let path = segment_path(directory, number);
                let file = OpenOptions::new().write(true).open(&path).map_err(failed(&path))?;
                file.set_len(length).and_then(|()| file.sync_all()).map_err(failed(&path))?;
                room = length;
                opened.problems.push(format!("a torn end of {} bytes was cut off segment {number}", total - length));
            }
        } else if acknowledged.sequence > head.sequence {
            let last = acknowledged.sequence;
            opened.problems.push(format!("all entries up to {last} were acknowledged and are missing"));
            head = acknowledged;
        }

        let head_path = directory.join(HEAD);
        let head_file = OpenOptions::new().create(true).write(true).truncate(false).open(&head_path);
        let head_file = head_file.map_err(failed(&head_path))?;
        let path = segment_path(directory, number);
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path).map_err(failed(&path))?;
        let mut journal = Self {
            directory: directory.to_owned(),
            file,
            number,
            length,
            room,
            head,
            head_file,
            broken: false,
            _lock: lock,
            #[cfg(test)]
            full: Arc::default(),
        };
        journal
            .remember()
            .and_then(|()| journal.head_file.set_len(Head::EMPTY.line().len() as u64))
            .map_err(failed(&head_path))?;
        journal.sync_head().and_then(|()| sync_directory(directory)).map_err(failed(directory))?;
        Ok((journal, opened))
    }

    /// The end of the chain on disk.
    pub fn head(&self) -> Head {
        self.head
    }

    /// How long the current segment is, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends entries that end in a head, and returns when they are durable. After an error none of them counts:
    /// what was written of them is taken back.
    pub fn append(&mut self, entries: &[u8], head: Head) -> Result<(), AuditError> {
        if self.broken {
            return Err(AuditError::Broken);
        }
        if let Err(cause) = self.write(entries) {
            self.broken = self.give_back_room().is_err();
            return Err(AuditError::Write(Arc::new(cause)));
        }
        if let Err(cause) = self.file.sync_data() {
            // After a failed sync nobody knows what is on the disk, and a second one may wrongly succeed.
            self.broken = true;
            return Err(AuditError::Write(Arc::new(cause)));
        }
        self.length += entries.len() as u64;
        self.head = head;
        // The entries are durable; a head that lags only weakens what it notices.
        if let Err(error) = self.remember() {
            tracing::warn!(%error, "the head of the audit journal was not written");
        }
        Ok(())
    }

    fn write(&mut self, entries: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.full.load(std::sync::atomic::Ordering::SeqCst) {
            self.file.write_all_at(&entries[..entries.len() / 2], self.length)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let end = self.length + entries.len() as u64;
        if end > self.room && self.make_room(end).is_err() {
            // On a disk that is nearly full there may be no room for zeros and still some for entries.
            self.give_back_room()?;
        }
        self.file.write_all_at(entries, self.length)?;
        self.room = self.room.max(end);
        Ok(())
    }

    /// Makes the file longer, with zeros, for entries up to an end.
    fn make_room(&mut self, end: u64) -> io::Result<()> {
        let room = end.next_multiple_of(STEP);
        let zeros = vec![0; usize::try_from(room - self.room).unwrap_or(0)];
        self.file.write_all_at(&zeros, self.room)?;
        self.room = room;
        Ok(())
    }

    /// Ends the file where its entries end.
    fn give_back_room(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.room = self.length;
        Ok(())
    }

    /// Goes on in a new segment.
    pub fn rotate(&mut self) -> io::Result<()> {
        self.end()?;
        let path = segment_path(&self.directory, self.number + 1);
        let file = OpenOptions::new().create_new(true).write(true).open(path)?;
        sync_directory(&self.directory)?;
        (self.file, self.number, self.length, self.room) = (file, self.number + 1, 0, 0);
        Ok(())
    }

    /// Gives back what room is left in the segment and makes the head durable: nothing more is written here.
    pub fn end(&mut self) -> io::Result<()> {
        // After a failed disk the file stays as it is, for the restart to look at.
        if !self.broken {
            self.give_back_room()?;
            self.file.sync_all()?;
        }
        self.sync_head()
    }

    /// Makes the head durable, which appending does not wait for.
    pub fn sync_head(&self) -> io::Result<()> {
        self.head_file.sync_data()
    }

    fn remember(&mut self) -> io::Result<()> {
        self.head_file.write_all_at(self.head.line().as_bytes(), 0)
    }
}

/// What one segment holds.
#[derive(Default)]
struct Scan {
    last: Option<Head>,
    first_at: Option<Timestamp>,
    whole: u64,
    damage: Option<ReadError>,
    replay: Vec<ReplayKey>,
}

impl Scan {
    fn of(path: &Path) -> io::Result<Self> {
        let mut scan = Self::default();
        let mut reader = Reader::new(BufReader::with_capacity(1 << 16, File::open(path)?));
        loop {
            match reader.next_entry() {
                Ok(Some(entry)) => {
                    scan.first_at.get_or_insert(entry.header.at);
                    scan.last = Some(Head { sequence: entry.header.sequence, hash: entry.hash });
                    scan.whole += entry.length;
                    scan.replay.extend(entry.header.replay);
                }
                Ok(None) => return Ok(scan),
                Err(ReadError::Io(error)) => return Err(error),
                Err(damage) => {
                    scan.damage = Some(damage);
                    return Ok(scan);
                }
            }
        }
    }
}

/// A place in the journal from which to read on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Position {
    /// The last entry before it.
    pub sequence: Sequence,
    /// The segment; 0 means the oldest.
    pub segment: u64,
    /// Where in it, in bytes.
    pub offset: u64,
}

/// Reads on from a position: whole entries up to a durable one, and no more than so many bytes (but at least one
/// entry). A damaged place is skipped to the next segment, because what comes after it must still be read.
pub fn read_from(
    directory: &Path,
    mut position: Position,
    up_to: Sequence,
    bytes: u64,
) -> io::Result<Vec<(Entry, Position)>> {
    let numbers = segments(directory)?;
    let mut found = Vec::new();
    let mut taken = 0;
    let from = position.segment;
    for number in numbers.into_iter().filter(|&number| number >= from) {
        if number != position.segment {
            (position.segment, position.offset) = (number, 0);
        }
        let mut file = File::open(segment_path(directory, number))?;
        file.seek(SeekFrom::Start(position.offset))?;
        let mut reader = Reader::new(BufReader::with_capacity(1 << 16, file));
        loop {
            if position.sequence >= up_to || taken >= bytes {
                return Ok(found);
            }
            match reader.next_entry() {
                Ok(Some(entry)) => {
                    position.offset += entry.length;
                    position.sequence = entry.header.sequence;
                    taken += entry.length;
                    found.push((entry, position));
                }
                Ok(None) => break,
                Err(ReadError::Io(error)) => return Err(error),
                Err(error) => {
                    tracing::error!(segment = number, offset = position.offset, %error, "the audit journal is damaged");
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// Creates a folder that only its owner may enter.
fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is being started has copies of all open files for a moment.
    #[test]
    fn what_is_unlocked_can_be_locked_though_a_copy_of_the_file_is_about() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        let copy = lock.0.try_clone().unwrap();
        assert!(matches!(Lock::take(directory.path()).unwrap_err(), AuditError::Locked(_)));
        drop(lock);
        Lock::take(directory.path()).unwrap();
        drop(copy);
    }
}
