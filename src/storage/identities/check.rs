//! Whether the identity tables agree with each other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::blocks::Blocks;
use super::rows::{Codec, Compared, IDS, PEOPLE, PROFILES, blocks_of, number, profiles_of};
use super::{Identities, PersonKey};
use crate::id::{PatientId, Tenant};
use crate::storage::engine::{Read, ReadTable, StoreError};

/// A row that contradicts another. Names our own numbers only.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The index does not lead from an identifier to the person who has it.
    #[error("an identifier of person {0} does not lead to them")]
    LostIdentifier(u64),
    /// An identifier leads to a person who does not have it.
    #[error("an identifier leads to person {0}, who does not have it")]
    StrayIdentifier(u64),
    /// A search could miss this person.
    #[error("person {0} is not in a block where they belong")]
    LostBlock(u64),
    /// A search looks at this person in vain.
    #[error("person {0} is in a block where they do not belong")]
    StrayBlock(u64),
    /// What is compared of a person is not what their records say, or not by this version of the program.
    #[error("what is compared of person {0} is not what is known of them")]
    OldProfile(u64),
    /// There is something to compare of a person who is not there.
    #[error("person {0} is compared and not known")]
    StrayProfile(u64),
    /// An identifier says that another replaced it, and that other is not of this person.
    #[error("person {0} has a replaced identifier without its successor")]
    BrokenChain(u64),
}

impl Identities {
    /// Compares every row of a tenant with those that it must agree with. Reads everything.
    pub fn verify_consistency(&self, tenant: &Tenant) -> Result<Vec<Problem>, StoreError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        let (ids, people) = (read.open_table(IDS)?, read.open_table(PEOPLE)?);
        let (blocks, compared) = (Blocks::of(&read, &codec.prefix)?, Compared::of(&codec, &read)?);
        let mut problems = Vec::new();
        let (mut expected_ids, mut expected_blocks) = (0_usize, Digest::default());
        for row in people.prefix(&codec.prefix)? {
            let key = number(&row?.0.value()[codec.prefix.len()..])?;
            let Some(person) = codec.load(&read, PersonKey(key))? else { continue };
            for held in person.held() {
                expected_ids += 1;
                let leads_to = ids.get(&codec.id_key(&held.id))?.map(|row| number(row.value())).transpose()?;
                if leads_to != Some(key) {
                    problems.push(Problem::LostIdentifier(key));
                }
                let is_here = |id: &PatientId| person.held().any(|other| other.id == *id);
                if held.replaced_by.as_ref().is_some_and(|by| !is_here(by)) {
                    problems.push(Problem::BrokenChain(key));
                }
            }
            for block in blocks_of(&person.records) {
                expected_blocks.add(block, person.key);
            }
            if compared.stored(person.key)? != Some(profiles_of(&person.records)) {
                problems.push(Problem::OldProfile(key));
            }
        }
        for row in read.open_table(PROFILES)?.prefix(&codec.prefix)? {
            let (key, _) = row?;
            if people.get(key.value())?.is_none() {
                problems.push(Problem::StrayProfile(number(&key.value()[codec.prefix.len()..])?));
            }
        }
        // Whatever should be there is; now only what should not be there is left to find.
        if ids.prefix(&codec.prefix)?.count() != expected_ids {
            for row in ids.prefix(&codec.prefix)? {
                let (id, value) = row?;
                let key = number(value.value())?;
                let person = codec.load(&read, PersonKey(key))?;
                if !person.is_some_and(|person| person.held().any(|held| codec.id_key(&held.id) == id.value())) {
                    problems.push(Problem::StrayIdentifier(key));
                }
            }
        }
        let mut blocks_there = Digest::default();
        for member in blocks.members(0..=u64::MAX)? {
            let (block, person) = member?;
            blocks_there.add(block, person);
        }
        if blocks_there != expected_blocks {
            problems.extend(compare_blocks(&codec, &read, &blocks)?);
        }
        Ok(problems)
    }
}

/// Stands for a set of index rows, whatever their order.
#[derive(Default, Eq, PartialEq)]
struct Digest {
    count: u64,
    sum: u64,
}

impl Digest {
    fn add(&mut self, block: u64, person: PersonKey) {
        let mut hasher = DefaultHasher::new();
        (block, person).hash(&mut hasher);
        self.count += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}

/// Looks for each row of the index that is missing or too many.
fn compare_blocks(codec: &Codec, read: &Read, blocks: &Blocks<ReadTable>) -> Result<Vec<Problem>, StoreError> {
    let mut problems = Vec::new();
    for row in read.open_table(PEOPLE)?.prefix(&codec.prefix)? {
        let key = PersonKey(number(&row?.0.value()[codec.prefix.len()..])?);
        let Some(person) = codec.load(read, key)? else { continue };
        for block in blocks_of(&person.records) {
            let members = blocks.members(block..=block)?.collect::<Result<Vec<_>, _>>()?;
            if !members.contains(&(block, key)) {
                problems.push(Problem::LostBlock(key.0));
            }
        }
    }
    for member in blocks.members(0..=u64::MAX)? {
        let (block, key) = member?;
        let person = codec.load(read, key)?;
        if !person.is_some_and(|person| blocks_of(&person.records).contains(&block)) {
            problems.push(Problem::StrayBlock(key.0));
        }
    }
    Ok(problems)
}
