//! The index against a plain set of rows: through all its tables, whatever comes in whatever order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::storage::engine::{Engine, Settings};

impl Index<'_> {
    /// Every row.
    pub(in crate::storage::identities) fn all(&self) -> Result<Vec<(u64, PersonKey)>, StoreError> {
        self.tables.members(0..=u64::MAX)?.collect()
    }
}

const TENANTS: [&[u8]; 2] = [b"one\0", b"two\0"];

/// A row is put into a block of a tenant, or taken out of it.
#[derive(Clone, Copy, Debug)]
struct Step {
    tenant: usize,
    block: u64,
    person: u64,
    is_there: bool,
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    // Few blocks with many members, and many with few; the first tenant has the most.
    let block = prop_oneof![0..4_u64, (0..4_u64).prop_map(|n| u64::MAX - n), any::<u64>()];
    let person = prop_oneof![3 => 1..40_u64, 1 => 1..2_000_u64];
    let step = (prop::bool::weighted(0.2), block, person, prop::bool::weighted(0.7))
        .prop_map(|(other, block, person, is_there)| Step { tenant: usize::from(other), block, person, is_there });
    prop::collection::vec(prop::collection::vec(step, 1..60), 1..40)
}

fn check(engine: &Engine, expected: &[BTreeSet<(u64, u64)>; 2]) {
    let read = engine.read().unwrap();
    for (prefix, expected) in TENANTS.iter().zip(expected) {
        let blocks = Blocks::of(&read, prefix).unwrap();
        let members = |range: RangeInclusive<u64>| -> Vec<(u64, u64)> {
            blocks.members(range).unwrap().map(|row| row.map(|(block, person)| (block, person.0)).unwrap()).collect()
        };
        assert_eq!(members(0..=u64::MAX), expected.iter().copied().collect::<Vec<_>>());
        for block in [0, 1, 3, u64::MAX] {
            let range = (block, 0)..=(block, u64::MAX);
            assert_eq!(members(block..=block), expected.range(range).copied().collect::<Vec<_>>());
        }
        assert_eq!(members(1..=1 << 63), expected.range((1, 0)..=(1 << 63, u64::MAX)).copied().collect::<Vec<_>>());
    }
}

fn rows_of(engine: &Engine, table: Definition) -> u64 {
    engine.read().unwrap().open_table(table).unwrap().len().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Inserts, removals and moves at random, with views of the store between them, give the rows that a set has.
    #[test]
    fn the_index_holds_what_a_set_holds(writes in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
        let mut expected: [BTreeSet<(u64, u64)>; 2] = Default::default();
        for steps in writes {
            for step in &steps {
                let (row, set) = ((step.block, step.person), &mut expected[step.tenant]);
                if step.is_there { set.insert(row) } else { set.remove(&row) };
            }
            let work = move |write: &Write<'_>| {
                for step in &steps {
                    let mut index = Index::open(write, TENANTS[step.tenant])?;
                    let person = PersonKey(step.person);
                    if step.is_there { index.insert(step.block, person)? } else { index.remove(step.block, person)? };
                }
                Ok(())
            };
            engine.write_blocking(work).unwrap();
            check(&engine, &expected);
        }
        drop(engine);
        check(&Engine::open(folder.path(), &Settings::default()).unwrap(), &expected);
    }
}

fn fill(engine: &Engine, blocks: std::ops::Range<u64>, is_there: bool) {
    let work = move |write: &Write<'_>| {
        let mut index = Index::open(write, TENANTS[0])?;
        for number in blocks.clone() {
            // Spread as hashes are.
            let block = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let person = PersonKey(1 + number % 7);
            if is_there {
                index.insert(block, person)?
            } else {
                index.remove(block, person)?
            };
        }
        Ok(())
    };
    engine.write_blocking(work).unwrap();
}

#[test]
fn rows_go_down_to_the_last_level_and_every_table_keeps_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
    for round in 0..40 {
        fill(&engine, round * 50..(round + 1) * 50, true);
        assert!(rows_of(&engine, RECENT) <= 24);
        for (level, most) in LEVELS.into_iter().zip([3, 9, 27]) {
            assert!(rows_of(&engine, level) <= most + 2, "{} of {most}", rows_of(&engine, level));
        }
    }
    assert!(rows_of(&engine, LEVELS[3]) > 100, "{}", rows_of(&engine, LEVELS[3]));
    fill(&engine, 0..2_000, false);
    // Marks of what is gone go the same way; other rows push them on.
    fill(&engine, 10_000..14_000, true);
    fill(&engine, 10_000..14_000, false);
    let read = engine.read().unwrap();
    assert_eq!(Blocks::of(&read, TENANTS[0]).unwrap().members(0..=u64::MAX).unwrap().count(), 0);
}

/// What moved since the last checkpoint is set back by a crash, and what was acknowledged comes from the journal.
#[test]
fn a_crash_loses_no_row_and_brings_none_back() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = Settings { checkpoint_idle: std::time::Duration::from_secs(3_600), ..Settings::default() };
    let engine = Engine::open(folder.path(), &settings).unwrap();
    fill(&engine, 0..900, true);
    let (done, checkpoint) = (tokio::runtime::Builder::new_current_thread().build().unwrap(), engine.checkpoint());
    done.block_on(checkpoint).unwrap();
    fill(&engine, 300..600, false);
    fill(&engine, 2_000..2_400, true);
    fill(&engine, 2_100..2_200, false);
    let rows = |engine: &Engine| -> Vec<(u64, PersonKey)> {
        let read = engine.read().unwrap();
        Blocks::of(&read, TENANTS[0]).unwrap().members(0..=u64::MAX).unwrap().map(Result::unwrap).collect()
    };
    let before = rows(&engine);
    assert_eq!(before.len(), 900);
    // The files as they are on the disk now, without the clean close.
    for file in ["causeway.redb", "causeway.journal"] {
        std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
    }
    let again = Engine::open(copy.path(), &settings).unwrap();
    assert_eq!(rows(&again), before);
    assert!(rows_of(&again, RECENT) > 24, "what had moved on is recent again");
    fill(&again, 300..600, true);
    assert_eq!(rows(&again).len(), 1_200);
    assert!(rows_of(&again, RECENT) <= 24);
}
