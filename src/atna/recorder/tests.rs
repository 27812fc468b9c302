use std::fs;
use std::sync::atomic::Ordering;

use super::*;
use crate::atna::journal::{read_from, segment_path, segments};
use crate::atna::verify::verify;
use crate::atna::{Occasion, journal};
use crate::id::Timestamp;

fn settings() -> Settings {
    Settings::new(Source { id: "node".into(), enterprise: None })
}

fn clock() -> Clock {
    Clock::fixed(Timestamp::from_millis(1_700_000_000_000))
}

fn event() -> Event {
    let occasion = Occasion { at: clock().now(), trace: TraceId::new(), tenant: Tenant::default() };
    Event::application_start(occasion, "causeway")
}

fn open(directory: &Path) -> (Audit, Opened) {
    Audit::open(directory, settings(), clock(), None).unwrap()
}

fn records(directory: &Path) -> u64 {
    let report = verify(directory, &[]).unwrap();
    assert_eq!(report.problem, None);
    report.records
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_many_callers_are_durable_and_in_one_chain() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = open(directory.path());
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let audit = audit.clone();
            tokio::spawn(async move {
                let mut sequences = Vec::new();
                for _ in 0..10 {
                    let sequence = audit.record(event()).await.unwrap();
                    assert!(*audit.durable().borrow() >= sequence, "acknowledged means durable");
                    sequences.push(sequence);
                }
                sequences
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        let sequences = task.await.unwrap();
        assert!(sequences.is_sorted(), "one caller's records are in its order");
        all.extend(sequences);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=320).map(Sequence).collect::<Vec<_>>());
    assert_eq!(records(directory.path()), 320, "it can be verified while it is open");
}

#[tokio::test]
async fn a_caller_who_goes_away_is_recorded_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = open(directory.path());
    drop(audit.record(event()));
    audit.submit(event());
    drop(audit);
    assert_eq!(records(directory.path()), 2);
}

#[tokio::test]
async fn callers_wait_when_the_queue_is_full_and_none_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = Audit::open(directory.path(), Settings { queue: 2, ..settings() }, clock(), None).unwrap();
    let answers = futures_util::future::join_all((0..100).map(|_| audit.record(event()))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(records(directory.path()), 100);
}

#[test]
fn a_full_disk_is_an_error_and_records_go_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, opened) = Journal::open(directory.path(), clock().now(), Duration::ZERO).unwrap();
    let full = Arc::clone(&journal.full);
    let (audit, _) = Audit::start(directory.path(), journal, opened, settings(), clock(), None).unwrap();
    assert_eq!(audit.record_blocking(event()).unwrap(), Sequence(1));
    full.store(true, Ordering::SeqCst);
    assert!(matches!(audit.record_blocking(event()), Err(AuditError::Write(_))));
    audit.submit(event());
    assert!(matches!(audit.record_blocking(event()), Err(AuditError::Write(_))));
    assert_eq!(*audit.durable().borrow(), Sequence(1));
    full.store(false, Ordering::SeqCst);
    assert_eq!(audit.record_blocking(event()).unwrap(), Sequence(3), "after the one that nobody waited for");
    audit.close();
    assert!(matches!(audit.record_blocking(event()), Err(AuditError::Closed)));
    assert_eq!(records(directory.path()), 3);
}

#[test]
fn one_process_writes_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = open(directory.path());
    assert!(matches!(
        Audit::open(directory.path(), settings(), clock(), None),
        Err(AuditError::Locked(path)) if path == directory.path()
    ));
    audit.close();
    drop(audit);
    open(directory.path());
}

#[test]
fn a_torn_end_is_cut_off_and_noted() {
    let behind_zeros = [&[0; 4096][..], b"0123"].concat();
    let before_zeros = [b"0123 torn", &[0; 4096][..]].concat();
    for torn in [&b"0123 torn"[..], &behind_zeros, &before_zeros, b"\n"] {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path()).0.record_blocking(event()).unwrap();
        let path = segment_path(directory.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(torn);
        fs::write(&path, bytes).unwrap();
        let (audit, opened) = open(directory.path());
        assert_eq!(opened.problems, [format!("a torn end of {} bytes was cut off segment 1", torn.len())]);
        assert_eq!(audit.record_blocking(event()).unwrap(), Sequence(3), "after the note");
        drop(audit);
        let report = verify(directory.path(), &[]).unwrap();
        assert_eq!((report.problem, report.notes), (None, opened.problems));
    }
}

/// A copy of the files as they are at this moment, which is what a crash leaves.
fn crashed(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[test]
fn the_room_behind_the_entries_is_no_damage_and_is_used_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = open(directory.path());
    audit.record_blocking(event()).unwrap();
    let after = crashed(directory.path());
    let length = |directory: &Path| fs::metadata(segment_path(directory, 1)).unwrap().len();
    let room = length(after.path());
    assert_eq!(fs::read(segment_path(after.path(), 1)).unwrap().last(), Some(&0), "there is room");
    let (audit, opened) = open(after.path());
    assert_eq!(opened.problems, [""; 0]);
    assert_eq!(audit.record_blocking(event()).unwrap(), Sequence(2));
    assert_eq!(length(after.path()), room, "the same room");
    assert_eq!(records(after.path()), 2);
    audit.close();
    assert!(length(after.path()) < room, "a closed journal has no room");
    assert_eq!(records(after.path()), 2);
}

#[test]
fn an_acknowledged_end_that_was_overwritten_with_zeros_is_missed_as_one_that_was_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) = open(directory.path());
    for _ in 0..3 {
        audit.record_blocking(event()).unwrap();
    }
    let after = crashed(directory.path());
    let path = segment_path(after.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let first =
        usize::try_from(read_from(after.path(), journal::Position::default(), Sequence(1), 1).unwrap()[0].1.offset);
    bytes[first.unwrap()..end].fill(0);
    fs::write(&path, &bytes).unwrap();
    let found = verify(after.path(), &[]).unwrap().problem.unwrap();
    assert_eq!((found.reason, found.sequence), (crate::atna::verify::Reason::Truncated, 2));
    let (audit, opened) = open(after.path());
    assert_eq!(opened.problems, ["entries 2 to 3 were acknowledged and are missing"]);
    assert_eq!(
        audit.record_blocking(event()).unwrap(),
        Sequence(5),
        "after the note, which has the place of the fourth"
    );
    drop(audit);
    assert_eq!(fs::read(&path).unwrap(), bytes, "evidence is not touched");
    assert!(verify(after.path(), &[]).unwrap().problem.is_some(), "it is found for ever");
}

#[test]
fn used_assertions_are_remembered_while_they_could_be_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let now = clock.now();
    let settings = || Settings { segment_bytes: 1, replay_window: Duration::from_secs(3600), ..settings() };
    let key = |byte, seconds| ReplayKey { key: [byte; 32], expires: now.plus(Duration::from_secs(seconds)) };
    {
        let (audit, _) = Audit::open(directory.path(), settings(), clock.clone(), None).unwrap();
        for replay in [key(1, 10), key(2, 600), key(3, 900)] {
            audit.record_blocking(event().replay(replay)).unwrap();
        }
    }
    assert!(segments(directory.path()).unwrap().len() > 2, "they are in several segments");
    for (seconds, expected) in [(0, 3), (60, 2), (700, 1), (2000, 0)] {
        clock.set(now.plus(Duration::from_secs(seconds)));
        let (_audit, opened) = Audit::open(directory.path(), settings(), clock.clone(), None).unwrap();
        assert_eq!(opened.replay.len(), expected, "after {seconds} s");
    }
    clock.set(now);
    let (_audit, mut opened) = Audit::open(directory.path(), settings(), clock, None).unwrap();
    opened.replay.sort_by_key(|one| one.expires);
    assert_eq!(opened.replay, [key(1, 10), key(2, 600), key(3, 900)]);
}

#[test]
fn reading_on_crosses_segments_and_stops_at_what_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let (audit, _) =
        Audit::open(directory.path(), Settings { segment_bytes: 3000, ..settings() }, clock(), None).unwrap();
    for _ in 0..10 {
        audit.record_blocking(event()).unwrap();
    }
    let mut position = journal::Position::default();
    let mut seen = Vec::new();
    loop {
        let batch = read_from(directory.path(), position, Sequence(8), 2000).unwrap();
        let Some((_, last)) = batch.last() else { break };
        position = *last;
        seen.extend(batch.iter().map(|(entry, _)| entry.header.sequence.0));
    }
    assert_eq!(seen, (1..=8).collect::<Vec<_>>());
}
