//! Batches, failures, crashes and power cuts.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::journal::Medium;
use super::*;

const TEST: Definition = table("test");

fn engine(folder: &Path) -> Engine {
    Engine::open(folder, &Settings::default()).unwrap()
}

fn put(engine: &Engine, key: &'static str, value: u32) -> Result<bool, StoreError> {
    engine.write_blocking(move |write| write.open_table(TEST)?.insert(key.as_bytes(), &value.to_be_bytes()))
}

fn get(engine: &Engine, key: &str) -> Option<u32> {
    let rows = engine.read().unwrap().open_table(TEST).unwrap();
    let value = rows.get(key.as_bytes()).unwrap();
    value.map(|value| u32::from_be_bytes(value.value().try_into().unwrap()))
}

#[test]
fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let first = engine(folder.path());
    assert_eq!(get(&first, "a"), None, "a table that does not exist is empty");
    put(&first, "a", 1).unwrap();
    put(&first, "b", 2).unwrap();
    first.write_blocking(|write| write.open_table(TEST)?.remove(b"b")).unwrap();
    assert_eq!(get(&first, "a"), Some(1));
    drop(first);
    let again = engine(folder.path());
    assert_eq!((get(&again, "a"), get(&again, "b")), (Some(1), None));
}

/// Jobs that wait together are a batch; those that fail or panic leave nothing and harm nobody.
#[test]
fn a_failing_write_leaves_nothing_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let blocker = engine.submit(move |_| Ok(held.lock().unwrap().recv().is_err())).unwrap();
    let jobs: Vec<_> = (0..60_u32)
        .map(|n| {
            engine
                .submit(move |write| {
                    let mut rows = write.open_table(TEST)?;
                    rows.insert(&n.to_be_bytes(), b"x")?;
                    let count = rows.get(b"count")?.map_or(0, |value| value.value()[0]);
                    rows.insert(b"count", &[count + 1])?;
                    assert!(n % 20 != 7, "this job panics");
                    if n % 3 == 0 { Err(StoreError::Undone(Arc::new(io::Error::other("no")))) } else { Ok(n) }
                })
                .unwrap()
        })
        .collect();
    drop(hold);
    blocker.blocking_recv().unwrap().unwrap();
    let mut stored = 0;
    for (n, job) in (0..).zip(jobs) {
        let outcome = job.blocking_recv().unwrap();
        let rows = engine.read().unwrap().open_table(TEST).unwrap();
        let is_there = rows.get(&u32::to_be_bytes(n)).unwrap().is_some();
        assert_eq!(outcome.is_ok(), is_there, "{n}");
        match outcome {
            Ok(_) => stored += 1,
            Err(StoreError::Panicked) => assert_eq!(n % 20, 7),
            Err(error) => assert!(matches!(error, StoreError::Undone(_)), "{error}"),
        }
    }
    let rows = engine.read().unwrap().open_table(TEST).unwrap();
    assert_eq!(rows.get(b"count").unwrap().unwrap().value(), [stored], "each write that stands ran on the others");
    assert_eq!(engine.waiting(), 0);
}

#[test]
fn too_many_waiting_writes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), &Settings { waiting: 2, ..Settings::default() }).unwrap();
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let first = engine.submit(move |_| Ok(held.lock().unwrap().recv().is_err())).unwrap();
    let second = engine.submit(|_| Ok(())).unwrap();
    assert!(matches!(engine.submit(|_| Ok(())), Err(StoreError::Overloaded)));
    drop(hold);
    first.blocking_recv().unwrap().unwrap();
    second.blocking_recv().unwrap().unwrap();
    engine.write_blocking(|_| Ok(())).unwrap();
}

#[tokio::test]
async fn a_dropped_future_does_not_cancel_its_write() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    drop(engine.write(|write| write.open_table(TEST)?.insert(b"a", &7_u32.to_be_bytes())));
    engine.checkpoint().await.unwrap();
    assert_eq!(get(&engine, "a"), Some(7));
}

#[test]
fn compacting_and_checking_keep_everything() {
    let folder = tempfile::tempdir().unwrap();
    let first = engine(folder.path());
    put(&first, "a", 5).unwrap();
    drop(first);
    compact(folder.path()).unwrap();
    assert!(check_integrity(folder.path()).unwrap());
    assert_eq!(get(&engine(folder.path()), "a"), Some(5));
}

/// Two files on a disk that loses power: what was not synced survives in part, in blocks of 512 bytes.
#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    files: BTreeMap<&'static str, FileState>,
    /// Operations until the power goes.
    remaining: u64,
    random: u64,
    cut: bool,
    /// Writing fails, as on a full or failing disk, and reading goes on.
    refuses_writes: bool,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    current: Vec<u8>,
}

impl DiskState {
    fn random(&mut self) -> u64 {
        // xorshift64: a seed gives the same run each time.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn step(&mut self) -> io::Result<()> {
        if !self.cut && self.remaining == 0 {
            self.cut = true;
            let mut files = std::mem::take(&mut self.files);
            for file in files.values_mut() {
                let length = if self.random().is_multiple_of(2) { file.current.len() } else { file.durable.len() };
                let mut survived = file.durable.clone();
                survived.resize(length, 0);
                for (block, new) in survived.chunks_mut(512).zip(file.current.chunks(512)) {
                    let bytes = block.len().min(new.len());
                    if self.random().is_multiple_of(2) {
                        block[..bytes].copy_from_slice(&new[..bytes]);
                    }
                }
                *file = FileState { durable: survived.clone(), current: survived };
            }
            self.files = files;
        }
        self.remaining = self.remaining.saturating_sub(1);
        if self.cut || self.refuses_writes { Err(io::Error::other("power cut")) } else { Ok(()) }
    }
}

#[derive(Clone, Debug)]
struct DiskFile {
    disk: Disk,
    name: &'static str,
}

impl DiskFile {
    fn with<R>(&self, counts: bool, work: impl FnOnce(&mut FileState) -> R) -> io::Result<R> {
        let mut disk = self.disk.0.lock().unwrap();
        if counts {
            disk.step()?;
        } else if disk.cut {
            return Err(io::Error::other("no power"));
        }
        Ok(work(disk.files.entry(self.name).or_default()))
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        self.with(true, |file| {
            if file.current.len() < end {
                file.current.resize(end, 0);
            }
            file.current[start..end].copy_from_slice(bytes);
        })
    }

    fn make_durable(&self) -> io::Result<()> {
        self.with(true, |file| file.durable.clone_from(&file.current))
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        self.with(false, |file| file.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(false, |file| out.copy_from_slice(&file.current[offset as usize..][..out.len()]))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(true, |file| file.current.resize(length as usize, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.make_durable()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.put(offset, data)
    }
}

impl Medium for DiskFile {
    fn read_all(&self) -> io::Result<Vec<u8>> {
        self.with(false, |file| file.current.clone())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.put(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.make_durable()
    }
}

impl Disk {
    fn file(&self, name: &'static str) -> DiskFile {
        DiskFile { disk: self.clone(), name }
    }

    fn open(&self) -> Result<Engine, StoreError> {
        let database = redb::Database::builder()
            .set_cache_size(64 << 10)
            .create_with_backend(self.file("database"))
            .map_err(StoreError::from)?;
        let settings = Settings { checkpoint_size: 6_000, ..Settings::default() };
        Engine::start(database, Box::new(self.file("journal")), &settings)
    }

    fn power(&self, operations: u64) {
        let mut disk = self.0.lock().unwrap();
        (disk.cut, disk.refuses_writes) = (false, false);
        disk.remaining = operations;
    }
}

/// Each round loses power after a random number of operations and opens what survived: every acknowledged write is
/// there, and the two rows of each write are there together or not at all.
#[test]
fn no_acknowledged_write_is_lost_when_the_power_goes() {
    let disk = Disk(Arc::new(Mutex::new(DiskState { random: 0x9e37_79b9_7f4a_7c15, ..DiskState::default() })));
    disk.power(u64::MAX);
    drop(disk.open().unwrap());
    let mut acknowledged: BTreeMap<u32, u32> = BTreeMap::new();
    let (mut cuts, mut version) = (0, 0_u32);
    for round in 0..60 {
        let operations = disk.0.lock().unwrap().random() % 400;
        disk.power(operations);
        let mut possible: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        if let Ok(engine) = disk.open() {
            // More than enough to use the operations up; in most rounds the power goes long before.
            for wave in 0..400_u32 {
                if engine.is_poisoned() {
                    break;
                }
                let jobs: Vec<_> = (0..8)
                    .filter_map(|n| {
                        version += 1;
                        let (key, value) = ((wave * 8 + n) % 97, version);
                        possible.entry(key).or_default().push(value);
                        let write = move |write: &Write<'_>| {
                            let mut rows = write.open_table(TEST)?;
                            rows.insert(&key.to_be_bytes(), &value.to_be_bytes())?;
                            rows.insert(&(key + 1_000).to_be_bytes(), &value.to_be_bytes())
                        };
                        engine.submit(write).ok().map(|job| (key, value, job))
                    })
                    .collect();
                for (key, value, job) in jobs {
                    if job.blocking_recv().unwrap().is_ok() {
                        acknowledged.insert(key, value);
                    }
                }
            }
        }
        cuts += u32::from(disk.0.lock().unwrap().cut);
        disk.power(u64::MAX);
        let engine = disk.open().unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        let rows = engine.read().unwrap().open_table(TEST).unwrap();
        for key in 0..97_u32 {
            let read = |key: u32| {
                let value = rows.get(&key.to_be_bytes()).unwrap();
                value.map(|value| u32::from_be_bytes(value.value().try_into().unwrap()))
            };
            let (one, two) = (read(key), read(key + 1_000));
            assert_eq!(one, two, "round {round}: half a write of row {key}");
            let kept = acknowledged.get(&key).copied();
            let newer = one.is_some_and(|one| possible.get(&key).is_some_and(|tried| tried.contains(&one)));
            assert!(one == kept || (newer && one > kept), "round {round}: row {key} is {one:?}, was {kept:?}");
            if let Some(one) = one {
                acknowledged.insert(key, one);
            }
        }
    }
    assert!(cuts > 30, "only {cuts} cuts: the test does not test");
}

/// After an I/O error nobody knows what is durable, so the engine takes no more until it is opened again.
#[test]
fn an_engine_that_could_not_write_refuses_more() {
    let disk = Disk(Arc::new(Mutex::new(DiskState { random: 42, ..DiskState::default() })));
    disk.power(u64::MAX);
    let engine = disk.open().unwrap();
    put(&engine, "a", 1).unwrap();
    disk.0.lock().unwrap().refuses_writes = true;
    assert!(matches!(put(&engine, "b", 2), Err(StoreError::Io(_))));
    assert!(engine.is_poisoned());
    assert!(matches!(put(&engine, "c", 3), Err(StoreError::Poisoned)));
    assert_eq!((get(&engine, "a"), get(&engine, "b")), (Some(1), None), "reading goes on");
    drop(engine);
    disk.power(u64::MAX);
    assert_eq!(get(&disk.open().unwrap(), "a"), Some(1));
}

/// A torn last batch is what a crash leaves; a bad batch with good ones after it is damage, and says so.
#[test]
fn damage_inside_the_journal_is_not_taken_for_its_end() {
    for (bad, is_damage) in [(1, true), (2, false)] {
        let disk = Disk(Arc::new(Mutex::new(DiskState { random: 42, ..DiskState::default() })));
        disk.power(u64::MAX);
        let engine = disk.open().unwrap();
        let mut starts = Vec::new();
        for key in ["a", "b", "c"] {
            put(&engine, key, 1).unwrap();
            let journal = disk.file("journal").read_all().unwrap();
            starts = memchr::memmem::find_iter(&journal, b"CWJ1").collect();
        }
        // What is on the disk now, without the clean close.
        let mut files = disk.0.lock().unwrap().files.clone();
        drop(engine);
        files.get_mut("journal").unwrap().current[starts[bad] + 40] ^= 1;
        disk.0.lock().unwrap().files = files;
        let again = disk.open();
        if is_damage {
            assert!(matches!(again.map(drop), Err(StoreError::JournalDamaged(_))));
        } else {
            let again = again.unwrap();
            assert_eq!((get(&again, "b"), get(&again, "c")), (Some(1), None));
        }
    }
}

/// The journal repeats the removal of a table, in its place among the writes around it.
#[test]
fn a_removed_table_stays_removed_after_a_crash() {
    let disk = Disk(Arc::new(Mutex::new(DiskState { random: 42, ..DiskState::default() })));
    disk.power(u64::MAX);
    let engine = disk.open().unwrap();
    put(&engine, "a", 1).unwrap();
    assert!(engine.write_blocking(|write| write.delete_table(TEST)).unwrap());
    assert!(!engine.write_blocking(|write| write.delete_table(TEST)).unwrap());
    put(&engine, "b", 2).unwrap();
    // What is on the disk now, without the clean close.
    let files = disk.0.lock().unwrap().files.clone();
    drop(engine);
    disk.0.lock().unwrap().files = files;
    let again = disk.open().unwrap();
    assert_eq!((get(&again, "a"), get(&again, "b")), (None, Some(2)));
}

/// Rows that are taken out, and rows of a derived table, are set back together; what the journal has is kept.
#[test]
fn derived_rows_are_as_at_the_last_checkpoint_after_a_crash() {
    const DERIVED: Definition = table("derived");
    let disk = Disk(Arc::new(Mutex::new(DiskState { random: 42, ..DiskState::default() })));
    disk.power(u64::MAX);
    let engine = disk.open().unwrap();
    put(&engine, "a", 1).unwrap();
    put(&engine, "b", 2).unwrap();
    let take = |write: &Write<'_>| {
        let taken = write.open_table(TEST)?.take(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, 1)?;
        let mut derived = write.open_derived(DERIVED)?;
        taken.iter().try_for_each(|(key, value)| derived.insert(key, value).map(drop))?;
        write.open_table(TEST)?.insert(b"c", &3_u32.to_be_bytes())
    };
    engine.write_blocking(take).unwrap();
    let rows = |engine: &Engine, table| engine.read().unwrap().open_table(table).unwrap().len().unwrap();
    assert_eq!((get(&engine, "a"), rows(&engine, TEST), rows(&engine, DERIVED)), (None, 2, 1));
    let files = disk.0.lock().unwrap().files.clone();
    drop(engine);
    disk.0.lock().unwrap().files = files;
    let again = disk.open().unwrap();
    assert_eq!((get(&again, "a"), get(&again, "c"), rows(&again, DERIVED)), (Some(1), Some(3), 0));
}

#[test]
fn a_store_that_is_open_is_not_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!Engine::exists(folder.path()));
    let first = engine(folder.path());
    assert!(Engine::exists(folder.path()));
    let second = Engine::open(folder.path(), &Settings::default());
    assert!(matches!(second, Err(StoreError::InUse)));
    drop(first);
    assert!(Engine::open(folder.path(), &Settings::default()).is_ok());
}
