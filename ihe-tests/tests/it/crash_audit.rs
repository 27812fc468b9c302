//! The audit journal after `kill -9`: nothing that was acknowledged is lost, and the chain verifies.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use causeway::atna::chain::{Kind, Sequence};
use causeway::atna::journal::{Position, read_from};
use causeway::atna::verify::verify;

#[test]
fn no_acknowledged_record_is_lost_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<u64, String> = HashMap::new();
    for round in 0..12 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_crash_audit"))
            .arg(directory.path())
            .arg("8")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after another number of records each time, so that it dies in different places.
        for line in lines.by_ref().take(50 + 97 * round) {
            note(&mut acknowledged, &line.unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was acknowledged before the kill and is still in the pipe counts too.
        for line in lines.map_while(Result::ok) {
            note(&mut acknowledged, &line);
        }
        let report = verify(directory.path(), &[]).unwrap();
        assert_eq!(report.problem, None, "round {round}");
    }
    let kept = traces(directory.path());
    assert!(acknowledged.len() > 1000);
    for (sequence, trace) in &acknowledged {
        assert_eq!(kept.get(sequence), Some(trace), "entry {sequence}");
    }
}

/// A whole line; the last one may be cut by the kill.
fn note(acknowledged: &mut HashMap<u64, String>, line: &str) {
    if let Some((sequence, trace)) = line.split_once(' ')
        && trace.len() == 32
    {
        acknowledged.insert(sequence.parse().unwrap(), trace.to_owned());
    }
}

fn traces(directory: &Path) -> HashMap<u64, String> {
    let entries = read_from(directory, Position::default(), Sequence(u64::MAX), u64::MAX).unwrap();
    entries
        .into_iter()
        .filter(|(entry, _)| entry.header.kind == Kind::Record)
        .map(|(entry, _)| (entry.header.sequence.0, entry.header.trace.to_string()))
        .collect()
}
