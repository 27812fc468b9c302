//! Keys and values of the identity tables, and the indexes that follow from a person's records.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Bound;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::blocks::Index;
use super::notices::Touched;
use super::{Person, PersonKey, Record};
use crate::id::{PatientId, Tenant};
use crate::mpi::{Profile, block, packed};
use crate::storage::engine::{Definition, Read, ReadTable, StoreError, Table, Write, table};
use crate::storage::seal::{Purpose, Sealer, row_prefix};

pub(super) const IDS: Definition = table("identity.ids");
pub(super) const PEOPLE: Definition = table("identity.people");
/// What is compared of each person, apart from the rest: a search reads many of these rows and few of the others, which
/// are five times as long.
pub(super) const PROFILES: Definition = table("identity.profiles");
pub(super) const HISTORY: Definition = table("identity.history");
pub(super) const HISTORY_OF: Definition = table("identity.history.of");
pub(super) const APART: Definition = table("identity.apart");
pub(super) const PARTNERS: Definition = table("identity.partners");
pub(super) const LEARNT: Definition = table("identity.learnt");
pub(super) const COUNTERS: Definition = table("identity.counters");

/// Encodes the rows of one tenant.
#[derive(Clone)]
pub(super) struct Codec {
    tenant: Tenant,
    sealer: Sealer,
    pub(super) prefix: Vec<u8>,
    /// What the write under way did to persons.
    pub(super) touched: RefCell<Touched>,
    /// The user of ours in whose name is written.
    pub(super) by: Option<String>,
}

impl Codec {
    pub(super) fn new(tenant: Tenant, sealer: Sealer) -> Self {
        let prefix = row_prefix(&tenant);
        Self { tenant, sealer, prefix, touched: RefCell::default(), by: None }
    }

    pub(super) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub(super) fn key(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = self.prefix.clone();
        parts.iter().for_each(|part| key.extend_from_slice(part));
        key
    }

    pub(super) fn id_key(&self, id: &PatientId) -> Vec<u8> {
        self.key(&[&self.blind(id)])
    }

    /// What the keys of the history of an identifier start with. No identifier has the last byte in it, so none is the
    /// start of another.
    pub(super) fn history_key(&self, id: &PatientId) -> Vec<u8> {
        self.key(&[&self.blind(id), &[u8::MAX]])
    }

    fn blind(&self, id: &PatientId) -> Vec<u8> {
        let authority = id.authority();
        let plain = [authority.universal_id(), authority.kind(), id.id()].join("\0");
        self.sealer.blind(&self.tenant, Purpose::Identity, plain.as_bytes())
    }

    pub(super) fn person_key(&self, person: PersonKey) -> Vec<u8> {
        self.key(&[&person.0.to_be_bytes()])
    }

    /// The row that keeps two identifiers apart, the same for both orders.
    pub(super) fn apart_key(&self, a: &PatientId, b: &PatientId) -> Vec<u8> {
        let mut both = [self.blind(a), self.blind(b)];
        both.sort_unstable();
        let length = u32::try_from(both[0].len()).unwrap_or(u32::MAX).to_be_bytes();
        self.key(&[&length, &both[0], &both[1]])
    }

    pub(super) fn encode(&self, purpose: Purpose, value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
        let plain = serde_json::to_vec(value).map_err(|error| StoreError::Undone(std::sync::Arc::new(error)))?;
        Ok(self.sealer.seal(&self.tenant, purpose, &plain))
    }

    pub(super) fn decode<T: DeserializeOwned>(&self, purpose: Purpose, bytes: &[u8]) -> Result<T, StoreError> {
        let plain = self.sealer.open(&self.tenant, purpose, bytes).map_err(|_| DAMAGED)?;
        serde_json::from_slice(&plain).map_err(|_| DAMAGED)
    }

    fn seal_profiles(&self, profiles: &[Profile]) -> Vec<u8> {
        self.sealer.seal(&self.tenant, Purpose::Identity, &packed::pack(profiles))
    }

    fn person(&self, key: PersonKey, bytes: &[u8]) -> Result<Person, StoreError> {
        let plain = self.sealer.open(&self.tenant, Purpose::Identity, bytes).map_err(|_| DAMAGED)?;
        let records = without_profiles(&plain).ok_or(DAMAGED)?;
        Ok(Person { key, records: serde_json::from_slice(records).map_err(|_| DAMAGED)? })
    }

    pub(super) fn find(&self, read: &Read, id: &PatientId) -> Result<Option<Person>, StoreError> {
        let Some(key) = read.open_table(IDS)?.get(&self.id_key(id))?.map(|row| number(row.value())).transpose()? else {
            return Ok(None);
        };
        self.load(read, PersonKey(key))
    }

    pub(super) fn load(&self, read: &Read, key: PersonKey) -> Result<Option<Person>, StoreError> {
        let row = read.open_table(PEOPLE)?.get(&self.person_key(key))?.map(|row| self.person(key, row.value()));
        row.transpose()
    }

    pub(super) fn people(
        &self,
        read: &Read,
        after: Option<PersonKey>,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError> {
        let from = after.map_or_else(|| self.prefix.clone(), |after| self.person_key(after));
        let to = self.person_key(PersonKey(u64::MAX));
        let rows = read.open_table(PEOPLE)?;
        rows.range(Bound::Excluded(&from), Bound::Included(&to))?
            .take(limit)
            .map(|row| {
                let (key, value) = row?;
                self.person(PersonKey(number(&key.value()[self.prefix.len()..])?), value.value())
            })
            .collect()
    }
}

/// The persons of a view of the store who are to be compared.
pub(super) struct Compared<'c> {
    codec: &'c Codec,
    profiles: ReadTable,
    people: ReadTable,
}

impl<'c> Compared<'c> {
    pub(super) fn of(codec: &'c Codec, read: &Read) -> Result<Self, StoreError> {
        Ok(Self { codec, profiles: read.open_table(PROFILES)?, people: read.open_table(PEOPLE)? })
    }

    /// The comparable form of each record of a person, in their order; none for nobody. What another version of the
    /// program stored is made anew.
    pub(super) fn profiles(&self, key: PersonKey) -> Result<Option<Vec<Profile>>, StoreError> {
        match self.stored(key)? {
            Some(profiles) => Ok(Some(profiles)),
            None => Ok(self.person(key)?.map(|person| profiles_of(&person.records))),
        }
    }

    /// The same, if this version of the program stored it.
    pub(super) fn stored(&self, key: PersonKey) -> Result<Option<Vec<Profile>>, StoreError> {
        let Some(row) = self.profiles.get(&self.codec.person_key(key))? else { return Ok(None) };
        let plain = self.codec.sealer.open(&self.codec.tenant, Purpose::Identity, row.value()).map_err(|_| DAMAGED)?;
        Ok(packed::unpack(&plain))
    }

    /// All that is known of a person.
    pub(super) fn person(&self, key: PersonKey) -> Result<Option<Person>, StoreError> {
        let row = self.people.get(&self.codec.person_key(key))?;
        row.map(|row| self.codec.person(key, row.value())).transpose()
    }
}

/// The records in a row: an earlier version kept what is compared in front of them, after a mark, a byte and its length.
fn without_profiles(row: &[u8]) -> Option<&[u8]> {
    let Some(rest) = row.strip_prefix(b"P") else { return Some(row) };
    let (length, rest) = rest.get(1..)?.split_first_chunk()?;
    rest.get(usize::try_from(u32::from_be_bytes(*length)).ok()?..)
}

pub(super) fn profiles_of(records: &[Record]) -> Vec<Profile> {
    records.iter().map(|record| Profile::of(&record.demographics)).collect()
}

/// The block keys of all records of a person.
pub(super) fn blocks_of(records: &[Record]) -> BTreeSet<u64> {
    blocks_for(&profiles_of(records))
}

fn blocks_for(profiles: &[Profile]) -> BTreeSet<u64> {
    profiles.iter().flat_map(block::keys).collect()
}

const DAMAGED: StoreError = StoreError::Damaged("the identities");

pub(super) fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| DAMAGED)
}

/// The tables that most writes need, open.
pub(super) struct Tables<'w> {
    pub(super) codec: &'w Codec,
    ids: Table<'w>,
    people: Table<'w>,
    profiles: Table<'w>,
    pub(super) blocks: Index<'w>,
}

impl<'w> Tables<'w> {
    pub(super) fn open(write: &'w Write<'_>, codec: &'w Codec) -> Result<Self, StoreError> {
        Ok(Self {
            codec,
            ids: write.open_table(IDS)?,
            people: write.open_table(PEOPLE)?,
            profiles: write.open_table(PROFILES)?,
            blocks: Index::open(write, &codec.prefix)?,
        })
    }

    pub(super) fn key_of(&self, id: &PatientId) -> Result<Option<PersonKey>, StoreError> {
        let row = self.ids.get(&self.codec.id_key(id))?;
        row.map(|row| number(row.value()).map(PersonKey)).transpose()
    }

    pub(super) fn load(&self, key: PersonKey) -> Result<Person, StoreError> {
        let row = self.people.get(&self.codec.person_key(key))?;
        row.map_or(Err(StoreError::Damaged("the identities")), |row| self.codec.person(key, row.value()))
    }

    pub(super) fn find(&self, id: &PatientId) -> Result<Option<Person>, StoreError> {
        self.key_of(id)?.map(|key| self.load(key)).transpose()
    }

    /// Stores a person in place of what was stored of them, with every index row that follows; none before: new.
    /// Rows that stay the same are not touched.
    pub(super) fn store(&mut self, before: Option<&Person>, after: &Person) -> Result<(), StoreError> {
        self.codec.touched.borrow_mut().stored(before, after);
        let old_records = before.map_or(&[][..], |person| &person.records);
        self.people
            .insert(&self.codec.person_key(after.key), &self.codec.encode(Purpose::Identity, &after.records)?)?;
        for held in after.held() {
            let was_there = old_records.iter().flat_map(|record| &record.ids).any(|old| old.id == held.id);
            if !was_there {
                self.ids.insert(&self.codec.id_key(&held.id), &after.key.0.to_be_bytes())?;
            }
        }
        let same_demographics = old_records.len() == after.records.len()
            && old_records.iter().zip(&after.records).all(|(old, new)| old.demographics == new.demographics);
        if same_demographics {
            return Ok(());
        }
        self.index(after.key, &profiles_of(&after.records), &blocks_of(old_records))
    }

    /// Stores what is compared of a person, and moves them from the blocks where they were to those where it puts them.
    pub(super) fn index(
        &mut self,
        key: PersonKey,
        profiles: &[Profile],
        old: &BTreeSet<u64>,
    ) -> Result<(), StoreError> {
        self.profiles.insert(&self.codec.person_key(key), &self.codec.seal_profiles(profiles))?;
        let new = blocks_for(profiles);
        old.difference(&new).try_for_each(|block| self.blocks.remove(*block, key))?;
        new.difference(old).try_for_each(|block| self.blocks.insert(*block, key))
    }

    /// Removes an identifier that nobody has any more.
    pub(super) fn forget(&mut self, id: &PatientId) -> Result<(), StoreError> {
        self.ids.remove(&self.codec.id_key(id))?;
        Ok(())
    }

    /// Stores a new person of one record, whose comparable form is known already.
    pub(super) fn store_new(&mut self, person: &Person, profile: &Profile) -> Result<(), StoreError> {
        self.codec.touched.borrow_mut().stored(None, person);
        self.people
            .insert(&self.codec.person_key(person.key), &self.codec.encode(Purpose::Identity, &person.records)?)?;
        for held in person.held() {
            self.ids.insert(&self.codec.id_key(&held.id), &person.key.0.to_be_bytes())?;
        }
        self.index(person.key, std::slice::from_ref(profile), &BTreeSet::new())
    }

    /// Removes a person whose records went to others. Their identifiers point there already.
    pub(super) fn vanish(&mut self, person: &Person) -> Result<(), StoreError> {
        self.codec.touched.borrow_mut().vanished(person);
        self.people.remove(&self.codec.person_key(person.key))?;
        self.profiles.remove(&self.codec.person_key(person.key))?;
        for block in blocks_of(&person.records) {
            self.blocks.remove(block, person.key)?;
        }
        Ok(())
    }
}

/// The next number of a kind, from 1; never used twice.
pub(super) fn next_number(write: &Write<'_>, codec: &Codec, kind: &[u8]) -> Result<u64, StoreError> {
    let mut counters = write.open_table(COUNTERS)?;
    let key = codec.key(&[kind]);
    let next = counters.get(&key)?.map(|row| number(row.value())).transpose()?.unwrap_or(0) + 1;
    counters.insert(&key, &next.to_be_bytes())?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::super::Identities;
    use super::*;
    use crate::id::Timestamp;
    use crate::mpi::compare::tests::demographics;
    use crate::storage::engine::{Engine, Settings};

    /// What another version of the program made comparable is not what this one compares.
    #[tokio::test]
    async fn a_person_whom_another_version_stored_is_found_alike() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
        let store = Identities::new(engine.clone(), Sealer::plain());
        let tenant = Tenant::default();
        let asked = demographics("Okafor|Ada|19870312|F|12 Elm St|97301|5035550100|");
        let id = PatientId::from_cx("1^^^&2.999.1&ISO").unwrap();
        store.feed(&tenant, vec![id], asked.clone(), Timestamp::from_millis(1)).await.unwrap();
        let person = store.people(&tenant, None, 1).unwrap().remove(0);
        let ours = packed::pack(&profiles_of(&person.records));
        let theirs = [&[0], &ours[1..]].concat();
        let mut found = Vec::new();
        for packed in [ours, theirs] {
            let codec = store.codec(&tenant);
            let row = codec.sealer.seal(&tenant, Purpose::Identity, &packed);
            let key = codec.person_key(person.key);
            engine.write(move |write| write.open_table(PROFILES)?.insert(&key, &row).map(drop)).await.unwrap();
            let candidate = store.search(&tenant, &asked, 10).unwrap().candidates.remove(0);
            found.push((candidate.person, candidate.profile, candidate.explanation));
        }
        let codec = store.codec(&tenant);
        let front = [&b"P\x01\0\0\0\x03"[..], b"any"].concat();
        let row = [front, serde_json::to_vec(&person.records).unwrap()].concat();
        let (key, row) = (codec.person_key(person.key), codec.sealer.seal(&tenant, Purpose::Identity, &row));
        engine.write(move |write| write.open_table(PEOPLE)?.insert(&key, &row).map(drop)).await.unwrap();
        let candidate = store.search(&tenant, &asked, 10).unwrap().candidates.remove(0);
        found.push((candidate.person, candidate.profile, candidate.explanation));
        assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
        assert_eq!(store.verify_consistency(&tenant).unwrap(), [super::super::Problem::OldProfile(1)]);
    }
}
