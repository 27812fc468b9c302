//! Whether the identity tables agree with each other.

use super::rows::{BLOCKS, IDS, PEOPLE, blocks_of, number};
use super::{Identities, PersonKey};
use crate::id::{PatientId, Tenant};
use crate::storage::engine::StoreError;

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
    /// An identifier says that another replaced it, and that other is not of this person.
    #[error("person {0} has a replaced identifier without its successor")]
    BrokenChain(u64),
}

impl Identities {
    /// Compares every row of a tenant with those that it must agree with. Reads everything.
    pub fn verify_consistency(&self, tenant: &Tenant) -> Result<Vec<Problem>, StoreError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        let (ids, blocks, people) = (read.open_table(IDS)?, read.open_table(BLOCKS)?, read.open_table(PEOPLE)?);
        let mut problems = Vec::new();
        let (mut expected_ids, mut expected_blocks) = (0_usize, 0_usize);
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
                expected_blocks += 1;
                if blocks.get(&codec.block_key(block, person.key))?.is_none() {
                    problems.push(Problem::LostBlock(key));
                }
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
        if blocks.prefix(&codec.prefix)?.count() != expected_blocks {
            for row in blocks.prefix(&codec.prefix)? {
                let row = row?.0;
                let Some((block, key)) = row.value()[codec.prefix.len()..].split_first_chunk::<8>() else {
                    return Err(StoreError::Damaged("the identities"));
                };
                let (block, key) = (u64::from_be_bytes(*block), number(key)?);
                let person = codec.load(&read, PersonKey(key))?;
                if !person.is_some_and(|person| blocks_of(&person.records).contains(&block)) {
                    problems.push(Problem::StrayBlock(key));
                }
            }
        }
        Ok(problems)
    }
}
