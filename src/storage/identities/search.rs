//! Finds persons by demographics.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::blocks::Blocks;
use super::rows::{Codec, Compared};
use super::{Identities, Person, PersonKey};
use crate::id::{Demographics, Tenant};
use crate::mpi::{Explanation, Grade, Model, Profile, block};
use crate::storage::engine::{Read, ReadTable, StoreError};

/// The most persons that a search compares, however many are stored: loading and comparing them is what a search costs.
pub const MOST_COMPARED: usize = 256;
/// Members up to which those of a block that is too large for everybody to be compared are compared if they share a
/// second block with the query: an agreement that hundreds have is looked at only together with another one.
const LARGE_BLOCK: usize = 5_000;

/// Members from which a range of blocks is remembered to have many: twice as many as are few, so that it still has them
/// when some have left it.
const MANY: usize = 2 * block::FEW;

/// Ranges of blocks in which there are many persons, for a while.
pub(super) type Wide = moka::sync::Cache<(Tenant, u64), ()>;

pub(super) fn wide() -> Wide {
    moka::sync::Cache::builder().max_capacity(1 << 16).time_to_live(Duration::from_secs(600)).build()
}

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
pub(super) struct Members {
    /// At most [`MOST_COMPARED`], in ascending order.
    pub(super) compared: Vec<u64>,
    /// Blocks of which somebody was left out.
    pub(super) skipped: usize,
}

/// What speaks for comparing a person.
#[derive(Clone, Copy)]
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
        let known = Compared::of(&codec, &read)?;
        for key in people.into_iter().map(PersonKey) {
            let Some(profiles) = known.profiles(key)? else { continue };
            let best = profiles
                .into_iter()
                .enumerate()
                .filter(|(_, profile)| model.may_match(&asked, profile))
                .map(|(at, profile)| (at, model.compare_cautiously(&asked, &profile), profile))
                .max_by(|(_, a, _), (_, b, _)| a.bits.total_cmp(&b.bits));
            if let Some((best, explanation, profile)) = best
                && explanation.grade() > Grade::No
            {
                candidates.extend(known.person(key)?.map(|person| Candidate { person, best, profile, explanation }));
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
        let mut looking = Looking { blocks: Blocks::of(read, &codec.prefix)?, members: Vec::new(), ends: Vec::new() };
        let (mut seen, mut skipped) = (Vec::<(u64, bool)>::new(), 0);
        for key in block::keys(asked) {
            let first = key & block::COARSE;
            let is_taken = match seen.iter().find(|(shared, _)| *shared == first) {
                Some((_, true)) => continue,
                Some((_, false)) => false,
                None => self.take_if_few(codec, &mut looking, first..=key | !block::COARSE)?,
            };
            seen.push((first, is_taken));
            if !is_taken && looking.take(key..=key, LARGE_BLOCK)? > LARGE_BLOCK {
                skipped += 1;
            }
        }
        Ok(looking.compared(skipped))
    }

    /// Takes the members of a range of blocks if few are in it. That many are is remembered, because it costs most to
    /// find that out.
    fn take_if_few(
        &self,
        codec: &Codec,
        looking: &mut Looking,
        blocks: RangeInclusive<u64>,
    ) -> Result<bool, StoreError> {
        let range = (codec.tenant().clone(), *blocks.start());
        if self.wide.contains_key(&range) {
            return Ok(false);
        }
        let found = looking.take_some(blocks, block::FEW, MANY)?;
        if found > MANY {
            self.wide.insert(range, ());
        }
        Ok(found <= block::FEW)
    }
}

/// The blocks that are looked at for a query.
struct Looking {
    blocks: Blocks<ReadTable>,
    /// The members of all blocks that were taken, each block's one after the other, each of a block once.
    members: Vec<u64>,
    /// Where the members of each end.
    ends: Vec<usize>,
}

impl Looking {
    /// Takes the members of a range of blocks, if they are at most so many. Says how many they are, or one more.
    fn take(&mut self, blocks: RangeInclusive<u64>, most: usize) -> Result<usize, StoreError> {
        self.take_some(blocks, most, most)
    }

    /// As [`Looking::take`], and counts on to another number.
    fn take_some(&mut self, blocks: RangeInclusive<u64>, most: usize, count: usize) -> Result<usize, StoreError> {
        let start = self.members.len();
        for member in self.blocks.members(blocks)?.take(count + 1) {
            self.members.push(member?.1.0);
        }
        let found = self.members.len() - start;
        if found > most {
            self.members.truncate(start);
            return Ok(found);
        }
        // A person may have several keys with one first part.
        let mut taken = self.members.split_off(start);
        taken.sort_unstable();
        taken.dedup();
        self.members.append(&mut taken);
        self.ends.push(self.members.len());
        Ok(found)
    }

    fn blocks(&self) -> impl Iterator<Item = &[u64]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.members[start..*end])
    }

    /// Who of them is to be compared.
    fn compared(&self, skipped: usize) -> Members {
        let mut shares = Vec::with_capacity(self.members.len());
        for members in self.blocks() {
            let is_large = members.len() > MOST_COMPARED;
            let weight = LARGE_BLOCK.checked_div(members.len()).map_or(0, |share| share.ilog2() + 1);
            let share = Share { weight, large: u32::from(is_large), small: u32::from(!is_large) };
            shares.extend(members.iter().map(|person| (*person, share)));
        }
        shares.sort_unstable_by_key(|(person, _)| *person);
        shares.dedup_by(|(person, share), (before, sum)| {
            let is_same = person == before;
            if is_same {
                *sum = Share {
                    weight: sum.weight + share.weight,
                    large: sum.large + share.large,
                    small: sum.small + share.small,
                };
            }
            is_same
        });
        let all = shares.len();
        shares.retain(|(_, share)| share.small > 0 || share.large > 1);
        if shares.len() > MOST_COMPARED {
            shares.sort_unstable_by_key(|(person, share)| (Reverse(share.weight), *person));
            shares.truncate(MOST_COMPARED);
            shares.sort_unstable_by_key(|(person, _)| *person);
        }
        let compared: Vec<u64> = shares.into_iter().map(|(person, _)| person).collect();
        if compared.len() == all {
            return Members { compared, skipped };
        }
        let is_cut = |members: &&[u64]| members.iter().any(|member| compared.binary_search(member).is_err());
        let cut = self.blocks().filter(is_cut).count();
        Members { compared, skipped: skipped + cut }
    }
}
