//! The store's promise: what was acknowledged survives a kill at any moment, and the indexes agree.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use causeway::id::{AssigningAuthority, PatientId, Tenant};
use causeway::storage::engine::{Engine, Settings};
use causeway::storage::identities::{Identities, Resolution};
use causeway::storage::seal::Sealer;

#[test]
fn acknowledged_feeds_survive_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let authority = AssigningAuthority::new("2.999.10", "ISO").unwrap();
    let mut acknowledged: BTreeSet<u64> = BTreeSet::new();
    for round in 0..10_u64 {
        let first = round * 1_000_000;
        let mut child = Command::new(env!("CARGO_BIN_EXE_crash_writer"))
            .arg(folder.path())
            .arg(first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after a number of acknowledgements that differs each round; once while it is still opening.
        let enough = if round == 5 { 0 } else { 40 + usize::try_from(round * 7919 % 900).unwrap() };
        let mut count = 0;
        if enough == 0 {
            child.kill().unwrap();
        }
        for line in lines {
            let Ok(number) = line.unwrap().parse::<u64>() else { continue };
            acknowledged.insert(number);
            count += 1;
            if count == enough {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(count >= enough, "round {round}: the writer ended by itself after {count}");

        let store = Identities::new(Engine::open(folder.path(), &Settings::default()).unwrap(), Sealer::plain());
        assert_eq!(store.verify_consistency(&Tenant::default()).unwrap(), [], "round {round}");
        for number in acknowledged.range(first..) {
            let id = PatientId::new(&format!("P{number}"), authority.clone()).unwrap();
            let found = store.resolve(&Tenant::default(), &id).unwrap();
            assert!(matches!(found, Resolution::Active(_)), "round {round}: {number} was acknowledged and is lost");
        }
        let (people, _) = store.counts().unwrap();
        assert!(people >= acknowledged.len() as u64, "round {round}: {people} of {}", acknowledged.len());
    }
}
