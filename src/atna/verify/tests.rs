use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::atna::chain::{Entry, append};
use crate::atna::{Audit, Event, Occasion, Settings, Signer, Source};
use crate::id::{Clock, Tenant, Timestamp, TraceId};

struct Key {
    pair: Arc<rcgen::KeyPair>,
    certificate: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap().der().to_vec();
        Self { pair: Arc::new(pair), certificate }
    }

    fn signer(&self) -> Signer {
        let pair = Arc::clone(&self.pair);
        Signer::new(move |bytes| rcgen::SigningKey::sign(&*pair, bytes).unwrap(), self.certificate.clone())
    }
}

/// A closed journal of 30 records in several segments.
fn journal(key: &Key) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(Source { id: "node".into(), enterprise: None });
    settings.segment_bytes = 8_000;
    settings.signature_every = 5;
    settings.signature_interval = Duration::from_secs(3600);
    let clock = Clock::fixed(Timestamp::from_millis(1_700_000_000_000));
    let (audit, opened) = Audit::open(directory.path(), settings, clock.clone(), Some(key.signer())).unwrap();
    assert!(opened.problems.is_empty());
    for _ in 0..30 {
        let occasion = Occasion { at: clock.now(), trace: TraceId::new(), tenant: Tenant::default() };
        audit.record_blocking(Event::application_start(occasion, "causeway")).unwrap();
    }
    audit.close();
    directory
}

/// The entries of a segment with their bytes.
fn entries(path: &Path) -> Vec<(Entry, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let mut reader = Reader::new(bytes.as_slice());
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        let end = at + usize::try_from(entry.length).unwrap();
        found.push((entry, bytes[at..end].to_vec()));
        at = end;
    }
    found
}

fn write(path: &Path, entries: &[(Entry, Vec<u8>)]) {
    fs::write(path, entries.iter().flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<u8>>()).unwrap();
}

/// Writes a segment anew with right hashes, after something was done to its entries.
fn forge(path: &Path, edit: impl Fn(&mut Vec<Entry>)) {
    let mut list: Vec<Entry> = entries(path).into_iter().map(|(entry, _)| entry).collect();
    let (mut previous, mut sequence) = (list[0].header.previous, list[0].header.sequence);
    edit(&mut list);
    let mut bytes = Vec::new();
    for entry in &mut list {
        entry.header.previous = previous;
        entry.header.sequence = sequence;
        previous = append(&mut bytes, &entry.header, &entry.payload);
        sequence = sequence.next();
    }
    fs::write(path, bytes).unwrap();
}

fn found(directory: &Path, key: &Key) -> (Reason, String, u64) {
    let problem = verify(directory, std::slice::from_ref(&key.certificate)).unwrap().problem.expect("a problem");
    (problem.reason, problem.file.file_name().unwrap().to_str().unwrap().to_owned(), problem.sequence)
}

#[test]
fn a_journal_as_it_was_written_is_whole() {
    let key = Key::new();
    let directory = journal(&key);
    for certificates in [&[][..], std::slice::from_ref(&key.certificate)] {
        let report = verify(directory.path(), certificates).unwrap();
        assert_eq!(report.problem, None);
        assert_eq!(report.records, 30);
        assert!(report.segments >= 3 && report.signatures >= 6, "{report:?}");
        assert_eq!(report.signed_up_to, report.entries, "closing signs the end");
    }
    assert_eq!(verify(tempfile::tempdir().unwrap().path(), &[]).unwrap(), Report::default());
}

/// Product pain P35: whoever edits the log is found, with file and entry.
#[test]
fn every_attack_is_found_and_named() {
    let key = Key::new();
    let name = |number: u64| format!("audit-{number:08}.log");
    type Attack = fn(&Path) -> (Reason, u64, u64);
    let attacks: &[(&str, Attack)] = &[
        ("one byte edited", |directory| {
            let path = segment_path(directory, 2);
            let list = entries(&path);
            let mut bytes = fs::read(&path).unwrap();
            let at = list[0].1.len() + list[1].1.len() - 20;
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            (Reason::Edited, 2, list[1].0.header.sequence.0)
        }),
        ("one entry replaced by another with a right hash", |directory| {
            let path = segment_path(directory, 2);
            let mut list = entries(&path);
            let mut bytes = Vec::new();
            append(&mut bytes, &list[1].0.header, b"<AuditMessage/>");
            list[1].1 = bytes;
            write(&path, &list);
            (Reason::Edited, 2, list[1].0.header.sequence.0)
        }),
        ("one entry deleted", |directory| {
            let path = segment_path(directory, 2);
            let mut list = entries(&path);
            let gone = list.remove(2).0;
            write(&path, &list);
            (Reason::Removed, 2, gone.header.sequence.0)
        }),
        ("two entries swapped", |directory| {
            let path = segment_path(directory, 2);
            let mut list = entries(&path);
            list.swap(1, 2);
            write(&path, &list);
            (Reason::Reordered, 2, list[2].0.header.sequence.0)
        }),
        ("an entry repeated", |directory| {
            let path = segment_path(directory, 2);
            let mut list = entries(&path);
            let again = list[1].clone();
            list.insert(2, again);
            write(&path, &list);
            (Reason::Reordered, 2, list[3].0.header.sequence.0)
        }),
        ("the tail cut off at an entry", |directory| {
            let number = *segments(directory).unwrap().last().unwrap();
            let path = segment_path(directory, number);
            let mut list = entries(&path);
            let gone = list.pop().unwrap().0;
            write(&path, &list);
            (Reason::Truncated, number, gone.header.sequence.0)
        }),
        ("the tail cut off inside an entry", |directory| {
            let number = *segments(directory).unwrap().last().unwrap();
            let path = segment_path(directory, number);
            let list = entries(&path);
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
            (Reason::Truncated, number, list.last().unwrap().0.header.sequence.0)
        }),
        ("the tail overwritten with zeros", |directory| {
            let number = *segments(directory).unwrap().last().unwrap();
            let path = segment_path(directory, number);
            let list = entries(&path);
            let last = list.last().unwrap();
            let mut bytes = fs::read(&path).unwrap();
            let at = bytes.len() - last.1.len();
            bytes[at..].fill(0);
            fs::write(&path, bytes).unwrap();
            (Reason::Truncated, number, last.0.header.sequence.0)
        }),
        ("the tail of a closed segment overwritten with zeros", |directory| {
            let path = segment_path(directory, 2);
            let list = entries(&path);
            let mut bytes = fs::read(&path).unwrap();
            let at = bytes.len() - list.last().unwrap().1.len();
            bytes[at..].fill(0);
            fs::write(&path, bytes).unwrap();
            (Reason::BadSignature, 2, list[list.len() - 2].0.header.sequence.0)
        }),
        ("an entry overwritten with zeros", |directory| {
            let path = segment_path(directory, 2);
            let list = entries(&path);
            let mut bytes = fs::read(&path).unwrap();
            let at = list[0].1.len();
            bytes[at..at + list[1].1.len()].fill(0);
            fs::write(&path, bytes).unwrap();
            (Reason::Edited, 2, list[1].0.header.sequence.0)
        }),
        ("the last segment deleted", |directory| {
            let number = *segments(directory).unwrap().last().unwrap();
            let first = entries(&segment_path(directory, number))[0].0.header.sequence.0;
            fs::remove_file(segment_path(directory, number)).unwrap();
            (Reason::Truncated, number - 1, first)
        }),
        ("a segment in the middle deleted", |directory| {
            let first = entries(&segment_path(directory, 2))[0].0.header.sequence.0;
            fs::remove_file(segment_path(directory, 2)).unwrap();
            (Reason::Removed, 2, first)
        }),
        ("a segment deleted and the others renamed", |directory| {
            let first = entries(&segment_path(directory, 2))[0].0.header.sequence.0;
            for number in 2..*segments(directory).unwrap().last().unwrap() {
                fs::rename(segment_path(directory, number + 1), segment_path(directory, number)).unwrap();
            }
            (Reason::Removed, 2, first)
        }),
        ("a segment written anew with right hashes", |directory| {
            let path = segment_path(directory, 2);
            let list = entries(&path);
            forge(&path, |list| list[1].payload = b"<AuditMessage/>".to_vec());
            let signature = list[2..].iter().find(|(entry, _)| entry.header.kind == Kind::Signature).unwrap();
            (Reason::BadSignature, 2, signature.0.header.sequence.0)
        }),
        ("a segment written anew without its signatures", |directory| {
            let path = segment_path(directory, 1);
            forge(&path, |list| list.retain(|entry| entry.header.kind != Kind::Signature));
            (Reason::BadSignature, 1, entries(&path).last().unwrap().0.header.sequence.0)
        }),
        ("the head deleted", |directory| {
            let number = *segments(directory).unwrap().last().unwrap();
            let last = entries(&segment_path(directory, number)).last().unwrap().0.header.sequence;
            fs::remove_file(directory.join("head")).unwrap();
            (Reason::Truncated, number, last.next().0)
        }),
    ];
    for (what, attack) in attacks {
        let directory = journal(&key);
        let (reason, segment, sequence) = attack(directory.path());
        assert_eq!(found(directory.path(), &key), (reason, name(segment), sequence), "{what}");
    }
}

#[test]
fn a_chain_signed_by_somebody_else_is_not_ours() {
    let (key, other) = (Key::new(), Key::new());
    let directory = journal(&other);
    assert_eq!(verify(directory.path(), &[]).unwrap().problem, None);
    assert_eq!(found(directory.path(), &key).0, Reason::BadSignature);
    let both = [key.certificate.clone(), other.certificate.clone()];
    assert_eq!(verify(directory.path(), &both).unwrap().problem, None, "certificates of the past count too");
}

#[test]
fn damage_that_was_acknowledged_stays_visible_after_a_restart() {
    let key = Key::new();
    let directory = journal(&key);
    let number = *segments(directory.path()).unwrap().last().unwrap();
    let path = segment_path(directory.path(), number);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let settings = Settings::new(Source { id: "node".into(), enterprise: None });
    let (audit, opened) = Audit::open(directory.path(), settings, Clock::system(), Some(key.signer())).unwrap();
    assert_eq!(opened.problems.len(), 1, "{:?}", opened.problems);
    drop(audit);
    assert_eq!(fs::read(&path).unwrap().len(), bytes.len() - 5, "evidence is not touched");
    assert_eq!(found(directory.path(), &key).0, Reason::Truncated);
}

#[test]
fn reports_are_readable_by_programs() {
    let key = Key::new();
    let directory = journal(&key);
    fs::remove_file(segment_path(directory.path(), 2)).unwrap();
    let report = serde_json::to_value(verify(directory.path(), &[]).unwrap()).unwrap();
    assert_eq!(report["problem"]["reason"], "removed");
    assert!(report["problem"]["file"].as_str().unwrap().ends_with("audit-00000002.log"));
}
