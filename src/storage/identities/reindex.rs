//! Makes the search index anew where another version of the program wrote the store: with other blocks than those that
//! are looked in, a search would miss people and not know it.

use std::collections::BTreeSet;

use super::Identities;
use super::blocks::EARLIER;
use super::rows::{COUNTERS, Codec, Tables, number, profiles_of};
use crate::id::Tenant;
use crate::storage::engine::{Read, StoreError};

/// The version of `mpi::block::keys`, and of the tables that hold them and what is compared. Whoever changes either raises it, and gives the
/// tables other names.
const VERSION: u64 = 4;
/// Persons in one write.
const PAGE: usize = 500;

impl Identities {
    /// Indexes everybody, if the index is not of this version. Gives how many persons there were; none if there was
    /// nothing to do. Only before anything is served; one that is interrupted begins again at the next start.
    pub async fn reindex(&self, tenant: &Tenant) -> Result<Option<usize>, StoreError> {
        let codec = self.codec(tenant);
        if version(&self.engine.read()?, &codec)? == Some(VERSION) {
            return Ok(None);
        }
        let (mut after, mut indexed) = (None, 0);
        loop {
            let people = self.people(tenant, after, PAGE)?;
            let Some(last) = people.last() else { break };
            after = Some(last.key);
            indexed += people.len();
            let codec = codec.clone();
            let index = move |write: &crate::storage::engine::Write<'_>| {
                let mut tables = Tables::open(write, &codec)?;
                people
                    .iter()
                    .try_for_each(|person| tables.index(person.key, &profiles_of(&person.records), &BTreeSet::new()))
            };
            self.engine.write(index).await?;
        }
        let key = version_key(&codec);
        let mark = move |write: &crate::storage::engine::Write<'_>| {
            write.open_table(COUNTERS)?.insert(&key, &VERSION.to_be_bytes())?;
            for earlier in EARLIER {
                write.delete_table(earlier)?;
            }
            Ok(())
        };
        self.engine.write(mark).await?;
        Ok(Some(indexed))
    }
}

fn version(read: &Read, codec: &Codec) -> Result<Option<u64>, StoreError> {
    let counters = read.open_table(COUNTERS)?;
    counters.get(&version_key(codec))?.map(|row| number(row.value())).transpose()
}

fn version_key(codec: &Codec) -> Vec<u8> {
    codec.key(&[b"blocks"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Demographics, Dtm, PatientId, PersonName, Timestamp};
    use crate::storage::engine::{Engine, Settings};
    use crate::storage::identities::blocks::Index;
    use crate::storage::seal::Sealer;

    /// A store of another version has no row that this one looks for.
    #[tokio::test]
    async fn people_of_an_older_store_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
        let identities = Identities::new(engine.clone(), Sealer::plain());
        let tenant = Tenant::default();
        let person = Demographics {
            names: vec![PersonName::new("Okafor", &["Ada"])],
            birth: Some(Dtm::lenient("19700203").unwrap()),
            ..Demographics::default()
        };
        let id = PatientId::from_cx("1^^^&2.999.1&ISO").unwrap();
        identities.feed(&tenant, vec![id], person.clone(), Timestamp::from_millis(1)).await.unwrap();
        let codec = identities.codec(&tenant);
        let forget = move |write: &crate::storage::engine::Write<'_>| {
            let mut blocks = Index::open(write, &codec.prefix)?;
            let all = blocks.all()?;
            all.into_iter().try_for_each(|(block, person)| blocks.remove(block, person))?;
            write.open_table(EARLIER[1])?.insert(b"a row of the version before", &[])?;
            Ok(())
        };
        engine.write(forget).await.unwrap();
        assert!(identities.search(&tenant, &person, 10).unwrap().candidates.is_empty());

        assert_eq!(identities.reindex(&tenant).await.unwrap(), Some(1));
        assert!(engine.read().unwrap().open_table(EARLIER[1]).unwrap().is_empty().unwrap());
        assert_eq!(identities.search(&tenant, &person, 10).unwrap().candidates.len(), 1);
        assert_eq!(identities.verify_consistency(&tenant).unwrap(), []);
        assert_eq!(identities.reindex(&tenant).await.unwrap(), None);
    }
}
