//! Finds persons by demographics.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{BLOCKS, Codec, number};
use super::{Identities, Person, PersonKey};
use crate::id::{Demographics, Tenant};
use crate::mpi::{Explanation, Grade, Model, Profile, block};
use crate::storage::engine::{Read, StoreError};

/// Members up to which everybody in a block is compared.
const BLOCK_LIMIT: usize = 500;
/// Members up to which those of a larger block are compared who share a second block with the query: an agreement that
/// hundreds have is looked at only together with another one.
const LARGE_BLOCK_LIMIT: usize = 5_000;

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
    /// Blocks that were passed over, or only partly looked at, because half the town is in them: the search may have
    /// missed someone.
    pub blocks_skipped: usize,
}

/// Members of the blocks of a query.
#[derive(Default)]
pub(super) struct Members {
    pub(super) compared: BTreeSet<u64>,
    of_large_blocks: BTreeMap<u64, u8>,
    pub(super) skipped: usize,
}

impl Identities {
    /// Persons who may be the one that demographics describe, at most so many, best first.
    pub fn search(&self, tenant: &Tenant, query: &Demographics, limit: usize) -> Result<Found, StoreError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        let asked = Profile::of(query);
        let members = self.members(&codec, &read, &asked)?;
        let (people, blocks_skipped) = (members.compared, members.skipped);
        let model = self.model(tenant)?;
        let compared = people.len();
        let mut candidates = Vec::new();
        for key in people {
            let Some(person) = codec.load(&read, PersonKey(key))? else { continue };
            let best = person
                .records
                .iter()
                .map(|record| Profile::of(&record.demographics))
                .map(|profile| (model.compare_cautiously(&asked, &profile), profile))
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

    /// How well a person, to whom an identifier led, is the one that demographics describe: the record that matches best,
    /// and why. By the defaults: what was learnt is no reason to doubt an identifier.
    pub fn weigh(&self, asked: &Profile, person: &Person) -> Option<(usize, Explanation)> {
        let defaults = Model::default();
        let records = person.records.iter().map(|record| Profile::of(&record.demographics));
        let compared = records.map(|profile| defaults.compare_cautiously(asked, &profile)).enumerate();
        compared.max_by(|(_, a), (_, b)| a.bits.total_cmp(&b.bits))
    }

    /// Everybody who may have been born on the whole date of a query's birth: whose record tells that date, or its year
    /// or month alone. None if the query has no such date, or if they are more than so many.
    pub fn born_on(
        &self,
        tenant: &Tenant,
        query: &Demographics,
        most: usize,
    ) -> Result<Option<Vec<Person>>, StoreError> {
        let profile = Profile::of(query);
        let (Some(day), Some((year, ..))) = (block::birthday(&profile), profile.birth) else { return Ok(None) };
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        let blocks = read.open_table(BLOCKS)?;
        // The last byte of the key of a day tells given names apart.
        let day = codec.key(&[&day.to_be_bytes()[..7]]);
        let year = codec.key(&[&block::birth_year(year).to_be_bytes()]);
        let mut people = BTreeSet::new();
        for (prefix, start) in [(&day, day.len() + 1), (&year, year.len())] {
            for row in blocks.prefix(prefix)? {
                people.insert(number(&row?.0.value()[start..])?);
                if people.len() > most {
                    return Ok(None);
                }
            }
        }
        let found = people.into_iter().filter_map(|key| codec.load(&read, PersonKey(key)).transpose());
        found.collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// The persons to be compared with a profile: whoever shares the first part of a key if few do, else whoever shares
    /// the whole key; and where even those are many, whoever shares a second such key. Bounded, and the same for the
    /// same store.
    pub(super) fn members(&self, codec: &Codec, read: &Read, asked: &Profile) -> Result<Members, StoreError> {
        let blocks = read.open_table(BLOCKS)?;
        let mut found = Members::default();
        for key in block::keys(asked) {
            let members = |prefix: &[u8], skip: usize, limit: usize| {
                let rows = blocks.prefix(prefix)?.take(limit + 1);
                rows.map(|row| number(&row?.0.value()[skip..])).collect::<Result<Vec<_>, StoreError>>()
            };
            let whole = codec.key(&[&key.to_be_bytes()]);
            let few = members(&whole[..whole.len() - 1], whole.len(), block::FEW)?;
            if few.len() <= block::FEW {
                found.compared.extend(few);
                continue;
            }
            let members = members(&whole, whole.len(), LARGE_BLOCK_LIMIT)?;
            if members.len() <= BLOCK_LIMIT {
                found.compared.extend(members);
                continue;
            }
            found.skipped += 1;
            if members.len() <= LARGE_BLOCK_LIMIT {
                members.into_iter().for_each(|key| *found.of_large_blocks.entry(key).or_default() += 1);
            }
        }
        let twice = found.of_large_blocks.iter().filter(|(_, blocks)| **blocks > 1).map(|(key, _)| *key);
        found.compared.extend(twice.take(BLOCK_LIMIT));
        Ok(found)
    }
}
