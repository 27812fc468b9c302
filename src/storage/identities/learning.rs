//! What a community's own records teach about matching ([`crate::mpi::learn`]), kept with the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::rows::{Codec, LEARNT, PEOPLE, number};
use super::{Identities, PersonKey, Record};
use crate::id::{AssigningAuthority, Tenant, Timestamp};
use crate::mpi::learn::{Learner, Possible};
use crate::mpi::pairs::Random;
use crate::mpi::{Learnt, Model, NotLearnt, Profile};
use crate::storage::engine::{Read, StoreError};
use crate::storage::owed::owe;
use crate::storage::seal::Purpose;

/// Records that learning looks at. More would not change what is learnt.
const SAMPLE: u64 = 20_000;
/// Pairs drawn from the sample at random.
const DRAWN: usize = 150_000;

/// The models of the tenants, as far as they were asked for.
pub(super) type Models = Arc<RwLock<BTreeMap<Tenant, Arc<Model>>>>;

/// Why nothing was learnt from a store.
#[derive(Debug, thiserror::Error)]
pub enum LearningError {
    /// The records do not allow it.
    #[error(transparent)]
    NotLearnt(#[from] NotLearnt),
    /// The store failed.
    #[error("the records could not be read, or what they taught could not be kept")]
    Store(#[from] StoreError),
}

impl Identities {
    /// What the matching of a tenant's patients goes by.
    pub fn model(&self, tenant: &Tenant) -> Result<Arc<Model>, StoreError> {
        if let Some(model) = self.models.read().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            return Ok(model.clone());
        }
        let codec = self.codec(tenant);
        let rows = self.engine.read()?.open_table(LEARNT)?;
        let row = rows.get(&codec.prefix)?;
        let learnt: Option<Learnt> = row.map(|row| codec.decode(Purpose::Identity, row.value())).transpose()?;
        Ok(self.keep_model(tenant, learnt))
    }

    fn keep_model(&self, tenant: &Tenant, learnt: Option<Learnt>) -> Arc<Model> {
        let model = Arc::new(learnt.map_or_else(Model::default, Model::learnt));
        self.models.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), model.clone());
        model
    }

    /// Learns from the records of a tenant, and from now on matches by what was learnt. Reads a sample of them, so call
    /// it where it may block.
    pub fn learn(&self, tenant: &Tenant, at: Timestamp) -> Result<Learnt, LearningError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        let sample = sample(&codec, &read)?;
        let sources = sample.sources.len();
        let mut learner = Learner::default();
        sample.records.iter().for_each(|(_, record)| learner.record(record));
        let mut random = Random(1);
        for _ in 0..if sample.records.len() < 2 { 0 } else { DRAWN } {
            let (one, two) = (random.below(sample.records.len()), random.below(sample.records.len()));
            if one != two {
                learner.at_random(&sample.records[one].1, &sample.records[two].1);
            }
        }
        for (number_in_sample, (key, record)) in sample.records.iter().enumerate() {
            let mut people = self.members(&codec, &read, record)?.compared;
            if let Err(place) = people.binary_search(&key.0) {
                people.insert(place, key.0);
            }
            for other in people.into_iter().map(PersonKey) {
                let Some(person) = codec.load(&read, other)? else { continue };
                for (place, known) in person.records.iter().enumerate() {
                    let itself = other == *key && sample.place(number_in_sample) == place;
                    let profile = Profile::of(&known.demographics);
                    if itself {
                        continue;
                    }
                    // Two patients of one source are two until it merges them; a source alone may have duplicates.
                    let authorities = authorities(known);
                    let same_source = sample.authorities[number_in_sample].iter().any(|one| authorities.contains(one));
                    if sources > 1 && same_source && other != *key {
                        learner.two_patients(record, &profile);
                    } else {
                        learner.candidate(record, &profile);
                    }
                }
            }
        }
        // Each record of the sample could have been paired with every other record.
        let all = sample.all.saturating_sub(1) as f64;
        let mut within = 0.0;
        if sources > 1 {
            let mut of_source: BTreeMap<&AssigningAuthority, f64> = BTreeMap::new();
            sample.authorities.iter().flatten().for_each(|source| *of_source.entry(source).or_default() += 1.0);
            let scale = all / sample.records.len().max(1) as f64;
            within = of_source.values().map(|count| count * count * scale).sum();
        }
        let across = (sample.records.len() as f64 * all - within).max(1.0);
        let learnt = learner.learn(Possible { across, within }, sample.all, sources, at)?;
        drop(read);
        let (row, value) = (codec.prefix.clone(), codec.encode(Purpose::Identity, &learnt)?);
        let (debt, sealer, owner) = (self.debt.clone(), self.sealer.clone(), tenant.clone());
        self.engine.write_blocking(move |write| {
            owe(write, &sealer, &owner, debt.as_ref())?;
            write.open_table(LEARNT)?.insert(&row, &value)
        })?;
        self.keep_model(tenant, Some(learnt.clone()));
        Ok(learnt)
    }

    /// Goes back to the defaults. Returns whether anything had been learnt.
    pub fn forget_what_was_learnt(&self, tenant: &Tenant) -> Result<bool, StoreError> {
        let row = self.codec(tenant).prefix;
        let (debt, sealer, owner) = (self.debt.clone(), self.sealer.clone(), tenant.clone());
        let forgotten = self.engine.write_blocking(move |write| {
            owe(write, &sealer, &owner, debt.as_ref())?;
            write.open_table(LEARNT)?.remove(&row)
        })?;
        self.keep_model(tenant, None);
        Ok(forgotten)
    }
}

/// Records of persons from all over the store.
struct Sample {
    records: Vec<(PersonKey, Profile)>,
    /// The authorities that each of them has identifiers of.
    authorities: Vec<BTreeSet<AssigningAuthority>>,
    sources: BTreeSet<AssigningAuthority>,
    /// How many records the store has, as far as the sample tells.
    all: u64,
}

impl Sample {
    /// Which record of its person the record with a number in the sample is.
    fn place(&self, at: usize) -> usize {
        let key = self.records[at].0;
        self.records[..at].iter().rev().take_while(|(other, _)| *other == key).count()
    }
}

/// The records of persons whose numbers are evenly spread, so that early and late ones are in it.
fn sample(codec: &Codec, read: &Read) -> Result<Sample, StoreError> {
    let people = read.open_table(PEOPLE)?;
    let last = people.prefix(&codec.prefix)?.next_back().transpose()?;
    let last = last.map(|(key, _)| number(&key.value()[codec.prefix.len()..])).transpose()?.unwrap_or(0);
    let step = last.div_ceil(SAMPLE).max(1);
    let (mut records, mut of_each) = (Vec::new(), Vec::new());
    let mut looked_up = 0_u64;
    for key in (1..=last).rev().step_by(step as usize).map(PersonKey) {
        looked_up += 1;
        // Numbers of persons who were merged into others lead nowhere.
        let Some(person) = codec.load(read, key)? else { continue };
        of_each.extend(person.records.iter().map(authorities));
        records.extend(person.records.iter().map(|record| (key, Profile::of(&record.demographics))));
    }
    let all = (records.len() as f64 * last as f64 / looked_up.max(1) as f64).round() as u64;
    let sources = of_each.iter().flatten().cloned().collect();
    Ok(Sample { records, authorities: of_each, sources, all })
}

fn authorities(record: &Record) -> BTreeSet<AssigningAuthority> {
    record.ids.iter().map(|held| held.id.authority().clone()).collect()
}
