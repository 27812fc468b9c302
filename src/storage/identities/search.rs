//! Finds persons by demographics.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::blocks::Blocks;
use super::rows::{Codec, PEOPLE};
use super::{Identities, Person, PersonKey};
use crate::id::{Demographics, Tenant};
use crate::mpi::{Explanation, Grade, Model, Profile, block};
use crate::storage::engine::{Read, StoreError};

/// The most persons that a search compares, however many are stored: loading and comparing them is what a search costs.
pub const MOST_COMPARED: usize = 256;
/// Members up to which those of a block that is too large for everybody to be compared are compared if they share a
/// second block with the query: an agreement that hundreds have is looked at only together with another one.
const LARGE_BLOCK: usize = 5_000;

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
    /// At most [`MOST_COMPARED`].
    pub(super) compared: BTreeSet<u64>,
    /// Blocks of which somebody was left out.
    pub(super) skipped: usize,
}

/// What speaks for comparing a person.
#[derive(Clone, Copy, Default)]
struct Share {
    /// Blocks shared with the query, the smaller ones counted for more.
    weight: u32,
    /// Blocks shared, of those that are too large for everybody in them to be compared.
    large: u32,
    /// Blocks shared, of the others.
    small: u32,
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
        let rows = read.open_table(PEOPLE)?;
        for key in people {
            let Some(stored) = codec.load_stored(&rows, PersonKey(key))? else { continue };
            let best = stored
                .profiles()?
                .into_iter()
                .map(|profile| (model.compare_cautiously(&asked, &profile), profile))
                .enumerate()
                .max_by(|(_, (a, _)), (_, (b, _))| a.bits.total_cmp(&b.bits));
            if let Some((best, (explanation, profile))) = best
                && explanation.grade() > Grade::No
            {
                candidates.push(Candidate { person: stored.person()?, best, profile, explanation });
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
        let year = block::birth_year(year);
        // The last byte of the key of a day tells given names apart.
        self.in_blocks(tenant, [day..=day | !block::COARSE, year..=year], most)
    }

    /// As [`Identities::born_on`], but only those whose record tells the whole date, and somebody with a given name of
    /// the same letters as one of these. Others may be among them.
    pub fn born_on_and_called(
        &self,
        tenant: &Tenant,
        query: &Demographics,
        given: &[&str],
        most: usize,
    ) -> Result<Option<Vec<Person>>, StoreError> {
        let Some(day) = block::birthday(&Profile::of(query)) else { return Ok(None) };
        let keys: BTreeSet<u64> = given.iter().flat_map(|given| block::called(day, given)).collect();
        self.in_blocks(tenant, keys.into_iter().map(|key| key..=key), most)
    }

    fn in_blocks(
        &self,
        tenant: &Tenant,
        keys: impl IntoIterator<Item = RangeInclusive<u64>>,
        most: usize,
    ) -> Result<Option<Vec<Person>>, StoreError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        let blocks = Blocks::of(&read, &codec.prefix)?;
        let mut people = BTreeSet::new();
        for keys in keys {
            for member in blocks.members(keys)? {
                people.insert(member?.1);
                if people.len() > most {
                    return Ok(None);
                }
            }
        }
        let found = people.into_iter().filter_map(|key| codec.load(&read, key).transpose());
        found.collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// The persons to be compared with a profile: whoever shares the first part of a key if few do, else whoever shares
    /// the whole key; and where even those are many, whoever shares a second such key. If they are more than a search
    /// compares, those who share the most and the rarest. The same for the same store.
    pub(super) fn members(&self, codec: &Codec, read: &Read, asked: &Profile) -> Result<Members, StoreError> {
        let blocks = Blocks::of(read, &codec.prefix)?;
        let (mut shares, mut looked_at, mut skipped) = (BTreeMap::<u64, Share>::new(), Vec::new(), 0);
        let mut taken = BTreeSet::new();
        for key in block::keys(asked) {
            let (first, last) = (key & block::COARSE, key | !block::COARSE);
            if taken.contains(&first) {
                continue;
            }
            let members = |keys, limit: usize| {
                let members = blocks.members(keys)?.take(limit + 1);
                members.map(|member| Ok(member?.1.0)).collect::<Result<Vec<_>, StoreError>>()
            };
            let mut members = match members(first..=last, block::FEW)? {
                few if few.len() <= block::FEW => {
                    taken.insert(first);
                    few
                }
                _ => members(key..=key, LARGE_BLOCK)?,
            };
            // A person may have several keys with one first part.
            members.sort_unstable();
            members.dedup();
            if members.len() > LARGE_BLOCK {
                skipped += 1;
                continue;
            }
            let is_large = members.len() > MOST_COMPARED;
            for member in &members {
                let share = shares.entry(*member).or_default();
                share.weight += (LARGE_BLOCK / members.len()).ilog2() + 1;
                *if is_large { &mut share.large } else { &mut share.small } += 1;
            }
            looked_at.push(members);
        }
        let mut worth: Vec<_> = shares.into_iter().filter(|(_, share)| share.small > 0 || share.large > 1).collect();
        worth.sort_by_key(|(person, share)| (Reverse(share.weight), *person));
        worth.truncate(MOST_COMPARED);
        let compared: BTreeSet<u64> = worth.into_iter().map(|(person, _)| person).collect();
        let is_cut = |members: &&Vec<u64>| members.iter().any(|member| !compared.contains(member));
        skipped += looked_at.iter().filter(is_cut).count();
        Ok(Members { compared, skipped })
    }
}
