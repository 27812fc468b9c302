//! Finds persons by demographics.

use std::collections::BTreeSet;

use super::rows::{BLOCKS, number};
use super::{Identities, Person, PersonKey};
use crate::id::{Demographics, Tenant};
use crate::mpi::{Explanation, Grade, Profile, block, compare::compare};
use crate::storage::engine::StoreError;

/// Records that one block may bring up. A block with more says nothing of anybody.
const BLOCK_LIMIT: usize = 500;

/// A person who may be the one asked for.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// All records.
    pub person: Person,
    /// The record that matches best.
    pub best: usize,
    /// That record in comparable form.
    pub profile: Profile,
    /// Why it matches.
    pub explanation: Explanation,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Best first; nobody who cannot be the one asked for.
    pub candidates: Vec<Candidate>,
    /// How many persons were compared.
    pub compared: usize,
    /// Blocks that were passed over because half the town is in them: the search may have missed someone.
    pub blocks_skipped: usize,
}

impl Identities {
    /// Persons who may be the one that demographics describe, at most so many, best first.
    pub fn search(&self, tenant: &Tenant, query: &Demographics, limit: usize) -> Result<Found, StoreError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        let blocks = read.open_table(BLOCKS)?;
        let asked = Profile::of(query);
        let (mut people, mut blocks_skipped) = (BTreeSet::new(), 0);
        for key in block::keys(&asked) {
            let prefix = codec.key(&[&key.to_be_bytes()]);
            let members = blocks
                .prefix(&prefix)?
                .take(BLOCK_LIMIT + 1)
                .map(|row| number(&row?.0.value()[prefix.len()..]))
                .collect::<Result<Vec<_>, _>>()?;
            if members.len() > BLOCK_LIMIT {
                blocks_skipped += 1;
            } else {
                people.extend(members);
            }
        }
        let compared = people.len();
        let mut candidates = Vec::new();
        for key in people {
            let Some(person) = codec.load(&read, PersonKey(key))? else { continue };
            let best = person
                .records
                .iter()
                .map(|record| Profile::of(&record.demographics))
                .map(|profile| (compare(&asked, &profile, &self.parameters), profile))
                .enumerate()
                .max_by(|(_, (a, _)), (_, (b, _))| a.bits.total_cmp(&b.bits));
            if let Some((best, (explanation, profile))) = best
                && explanation.grade() > Grade::No
            {
                candidates.push(Candidate { person, best, profile, explanation });
            }
        }
        candidates
            .sort_by(|a, b| b.explanation.bits.total_cmp(&a.explanation.bits).then(a.person.key.cmp(&b.person.key)));
        candidates.truncate(limit);
        Ok(Found { candidates, compared, blocks_skipped })
    }

    /// How well a person is the one that demographics describe: the record that matches best, and why.
    pub fn weigh(&self, asked: &Profile, person: &Person) -> Option<(usize, Explanation)> {
        let records = person.records.iter().map(|record| Profile::of(&record.demographics));
        let compared = records.map(|profile| compare(asked, &profile, &self.parameters)).enumerate();
        compared.max_by(|(_, a), (_, b)| a.bits.total_cmp(&b.bits))
    }
}
