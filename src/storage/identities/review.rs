//! Pairs of persons who may be one, for somebody to decide: a queue that survives, and what was decided.
//!
//! Feeds are not kept waiting for it. Persons have numbers in the order in which they came, so whoever looks goes on
//! behind the last one that was looked at; a decision is a link, or two identifiers kept apart for good.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::changes::{link, unlink};
use super::rows::{APART, Codec, Compared, Tables, next_number, number};
use super::{Identities, Person, PersonKey, Refusal};
use crate::id::{PatientId, Tenant, Timestamp};
use crate::mpi::{Explanation, Grade, Profile};
use crate::storage::engine::{Definition, Read, StoreError, Write, table};
use crate::storage::seal::Purpose;

const REVIEW: Definition = table("identity.review");
const OPEN: Definition = table("identity.review.open");
const PAIRS: Definition = table("identity.review.pairs");
const LOOKED: Definition = table("identity.looked");

/// Pairs that wait for a decision at most. With more, looking for others is of no use to anybody.
const MOST_OPEN: usize = 10_000;
/// Pairs of one person that are worth a look at once.
const MOST_OF_ONE: usize = 3;

/// Two records of whom somebody should say whether they are one person's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// Its number.
    pub number: u64,
    /// When the pair was found.
    pub at: Timestamp,
    /// An identifier of one.
    pub first: PatientId,
    /// An identifier of the other.
    pub second: PatientId,
    /// Why they may be one person, as of then. Holds no value of a person.
    pub explanation: Explanation,
    /// What became of it.
    pub status: Status,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Timestamp>,
}

/// What became of a [`Review`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nobody decided yet.
    Open,
    /// Somebody looked and wants to know more first.
    Later,
    /// One person; linked.
    Linked,
    /// Two persons; kept apart.
    Apart,
}

/// What somebody says of a [`Review`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// One person.
    Same,
    /// Two persons.
    Different,
    /// Not now.
    Later,
}

/// Why a decision was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no such pair.
    #[error("there is no review of that number")]
    Unknown,
    /// It was decided.
    #[error("this has been decided already; link or unlink the two to change that")]
    Decided,
    /// The link cannot be made or undone.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error("the decision could not be stored")]
    Store(#[from] StoreError),
}

/// What looking for pairs came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    /// Persons looked at.
    pub persons: usize,
    /// Pairs found.
    pub found: usize,
    /// Too many pairs wait already: decide on some first.
    pub is_full: bool,
}

impl Identities {
    /// Looks at the next persons, at most so many, for others whom they may be. Reads and then writes, so call it where
    /// it may block.
    pub fn look_for_pairs(&self, tenant: &Tenant, at: Timestamp, persons: usize) -> Result<Looked, StoreError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        if read.open_table(OPEN)?.prefix(&codec.prefix)?.take(MOST_OPEN).count() >= MOST_OPEN {
            return Ok(Looked { is_full: true, ..Looked::default() });
        }
        let rows = read.open_table(LOOKED)?;
        let after = rows.get(&codec.prefix)?.map(|row| number(row.value())).transpose()?;
        let people = codec.people(&read, after.map(PersonKey), persons)?;
        let Some(last) = people.last().map(|person| person.key.0) else { return Ok(Looked::default()) };
        let mut found = Vec::new();
        for person in &people {
            found.extend(self.pairs_of(tenant, &codec, &read, person)?);
        }
        drop(read);
        let persons = people.len();
        let found = self.engine.write_blocking(move |write| {
            write.open_table(LOOKED)?.insert(&codec.prefix, &last.to_be_bytes())?;
            let mut new = 0;
            for (first, second, explanation) in &found {
                let pair = codec.apart_key(first, second);
                if write.open_table(PAIRS)?.get(&pair)?.is_some() {
                    continue;
                }
                let number = next_number(write, &codec, b"review")?;
                write.open_table(PAIRS)?.insert(&pair, &number.to_be_bytes())?;
                write.open_table(OPEN)?.insert(&codec.key(&[&number.to_be_bytes()]), &[])?;
                let (first, second, explanation) = (first.clone(), second.clone(), explanation.clone());
                let status = Status::Open;
                put(
                    write,
                    &codec,
                    &Review { number, at, first, second, explanation, status, by: None, decided: None },
                )?;
                new += 1;
            }
            Ok(new)
        })?;
        Ok(Looked { persons, found, is_full: false })
    }

    /// The persons who are most like one, of those whom nobody keeps apart from them.
    fn pairs_of(
        &self,
        tenant: &Tenant,
        codec: &Codec,
        read: &Read,
        person: &Person,
    ) -> Result<Vec<(PatientId, PatientId, Explanation)>, StoreError> {
        let model = self.model(tenant)?;
        let profiles: Vec<Profile> = person.records.iter().map(|record| Profile::of(&record.demographics)).collect();
        let mut others = BTreeSet::new();
        for profile in &profiles {
            others.extend(self.members(codec, read, profile)?.compared);
        }
        others.remove(&person.key.0);
        let mut found = Vec::new();
        let compared = Compared::of(codec, read)?;
        for other in others.into_iter().map(PersonKey) {
            let Some(theirs) = compared.profiles(other)? else { continue };
            let pairs = theirs.iter().flat_map(|two| profiles.iter().map(|one| model.compare_inside(one, two)));
            let best = pairs.max_by(|a, b| a.bits.total_cmp(&b.bits));
            let Some(best) = best.filter(|best| best.grade() >= Grade::Probable) else { continue };
            let Some(other) = compared.person(other)? else { continue };
            if let (Some(one), Some(two)) = (person.ids().next(), other.ids().next())
                && !are_apart(codec, read, person, &other)?
            {
                found.push((one.clone(), two.clone(), best));
            }
        }
        found.sort_by(|a, b| b.2.bits.total_cmp(&a.2.bits));
        found.truncate(MOST_OF_ONE);
        Ok(found)
    }

    /// Pairs that wait for a decision, the oldest first, at most so many. Those whom something else made one person
    /// meanwhile are left out.
    pub fn open_reviews(&self, tenant: &Tenant, limit: usize) -> Result<Vec<Review>, StoreError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        let mut found = Vec::new();
        for row in read.open_table(OPEN)?.prefix(&codec.prefix)? {
            let number = number(&row?.0.value()[codec.prefix.len()..])?;
            let Some(review) = get(&codec, &read, number)? else { continue };
            let (one, two) = (codec.find(&read, &review.first)?, codec.find(&read, &review.second)?);
            let are_two = one.zip(two).is_some_and(|(one, two)| one.key != two.key);
            if are_two {
                found.push(review);
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// One pair, decided or not.
    pub fn review(&self, tenant: &Tenant, number: u64) -> Result<Option<Review>, StoreError> {
        get(&self.codec(tenant), &self.engine.read()?, number)
    }

    /// Decides on a pair: links the two, keeps them apart, or leaves it for later.
    pub async fn decide(
        &self,
        tenant: &Tenant,
        number: u64,
        verdict: Verdict,
        at: Timestamp,
    ) -> Result<Review, ReviewError> {
        let by = self.by.clone();
        self.change(tenant, move |write, codec| {
            let row =
                write.open_table(REVIEW)?.get(&codec.key(&[&number.to_be_bytes()]))?.map(|row| row.value().to_vec());
            let Some(row) = row else { return Ok(Err(ReviewError::Unknown)) };
            let mut review: Review = codec.decode(Purpose::Identity, &row)?;
            if !matches!(review.status, Status::Open | Status::Later) {
                return Ok(Err(ReviewError::Decided));
            }
            let mut tables = Tables::open(write, codec)?;
            let (first, second) = (&review.first, &review.second);
            let (status, done) = match verdict {
                Verdict::Same if tables.key_of(first)?.is_none() || tables.key_of(second)?.is_none() => {
                    (Status::Linked, Err(Refusal::Unknown))
                }
                Verdict::Same => (Status::Linked, link(write, &mut tables, first, second, at)?),
                Verdict::Different => (Status::Apart, unlink(write, &mut tables, first, second, at)?),
                Verdict::Later => (Status::Later, Ok(false)),
            };
            drop(tables);
            if let Err(refusal) = done {
                return Ok(Err(refusal.into()));
            }
            (review.status, review.by, review.decided) = (status, by.clone(), Some(at));
            put(write, codec, &review)?;
            if status != Status::Later {
                write.open_table(OPEN)?.remove(&codec.key(&[&number.to_be_bytes()]))?;
            }
            Ok(Ok(review))
        })
        .await
    }
}

fn put(write: &Write<'_>, codec: &Codec, review: &Review) -> Result<(), StoreError> {
    let value = codec.encode(Purpose::Identity, review)?;
    write.open_table(REVIEW)?.insert(&codec.key(&[&review.number.to_be_bytes()]), &value)?;
    Ok(())
}

fn get(codec: &Codec, read: &Read, number: u64) -> Result<Option<Review>, StoreError> {
    let rows = read.open_table(REVIEW)?;
    let row = rows.get(&codec.key(&[&number.to_be_bytes()]))?;
    row.map(|row| codec.decode(Purpose::Identity, row.value())).transpose()
}

fn are_apart(codec: &Codec, read: &Read, one: &Person, two: &Person) -> Result<bool, StoreError> {
    let apart = read.open_table(APART)?;
    for first in one.held() {
        for second in two.held() {
            if apart.get(&codec.apart_key(&first.id, &second.id))?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AssigningAuthority;
    use crate::mpi::compare::tests::demographics;
    use crate::storage::engine::{Engine, Settings};
    use crate::storage::identities::{Resolution, What};
    use crate::storage::seal::Sealer;

    const AT: Timestamp = Timestamp::from_millis(1);

    fn id(text: &str) -> PatientId {
        let oid = if text.starts_with('N') { "2.999.10" } else { "2.999.20" };
        PatientId::new(text, AssigningAuthority::new(oid, "ISO").unwrap()).unwrap()
    }

    async fn look(store: &Identities, persons: usize) -> Looked {
        let store = store.clone();
        let look = move || store.look_for_pairs(&Tenant::default(), AT, persons).unwrap();
        tokio::task::spawn_blocking(look).await.unwrap()
    }

    /// Three who may be one, a stranger, and twins.
    async fn filled(folder: &std::path::Path) -> Identities {
        let store = Identities::new(Engine::open(folder, &Settings::default()).unwrap(), Sealer::plain());
        for (name, person) in [
            ("N-1", "Okafor|Ada|19870312|F|12 Elm St|97301|5035550100|"),
            ("W-1", "Okafor|Ada|19870312|F|12 Elm St|97301||"),
            ("N-2", "Okafur|Ada|19870312|F|12 Elm St|97301||"),
            ("W-2", "Smith|John|19600101|M||||"),
            ("N-3", "Reed|Ada|20250101|F|1 Oak St|97301||"),
            ("W-3", "Reed|Eve|20250101|F|1 Oak St|97301||"),
        ] {
            store.feed(&Tenant::default(), vec![id(name)], demographics(person), AT).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn pairs_wait_durably_and_are_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path()).await;
        assert_eq!(look(&store, 2).await, Looked { persons: 2, found: 3, is_full: false });
        drop(store);
        let store = Identities::new(Engine::open(folder.path(), &Settings::default()).unwrap(), Sealer::plain());
        assert_eq!(look(&store, 100).await, Looked { persons: 4, found: 0, is_full: false }, "the rest, nothing twice");
        assert_eq!(look(&store, 100).await, Looked::default(), "nobody new");
        let open = store.open_reviews(&Tenant::default(), 10).unwrap();
        let pairs: Vec<_> = open.iter().map(|one| (one.first.id(), one.second.id())).collect();
        assert_eq!(pairs, [("N-1", "W-1"), ("N-1", "N-2"), ("W-1", "N-2")], "no stranger, no twin");
        assert!(open.iter().all(|one| one.explanation.grade() >= Grade::Probable && one.status == Status::Open));
        assert!(!format!("{:?}", open[0].explanation).to_lowercase().contains("okafor"));
    }

    #[tokio::test]
    async fn a_decision_is_kept_with_its_name_and_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let (store, tenant) = (filled(folder.path()).await, Tenant::default());
        look(&store, 100).await;
        let of_user = store.in_the_name_of("casey");
        let later = of_user.decide(&tenant, 1, Verdict::Later, AT).await.unwrap();
        assert_eq!((later.status, later.by.as_deref()), (Status::Later, Some("casey")));
        assert_eq!(store.open_reviews(&tenant, 10).unwrap().len(), 3, "it still waits");
        of_user.decide(&tenant, 1, Verdict::Same, AT).await.unwrap();
        let Resolution::Active(person) = store.resolve(&tenant, &id("N-1")).unwrap() else { panic!("in use") };
        assert_eq!(person.ids().count(), 2);
        let history = store.history_of(&tenant, &person).unwrap();
        assert_eq!((history.len(), history[0].what, history[0].by.as_deref()), (1, What::Linked, Some("casey")));
        of_user.decide(&tenant, 2, Verdict::Different, AT).await.unwrap();
        let again = of_user.decide(&tenant, 2, Verdict::Same, AT).await;
        assert!(matches!(again, Err(ReviewError::Decided)), "{again:?}");
        let nothing = of_user.decide(&tenant, 99, Verdict::Same, AT).await;
        assert!(matches!(nothing, Err(ReviewError::Unknown)), "{nothing:?}");
        // One of the two may be changed, and is not brought up again: they were kept apart.
        store
            .feed(&tenant, vec![id("N-7")], demographics("Okafor|Ada|19870312|F|12 Elm St|97301||"), AT)
            .await
            .unwrap();
        look(&store, 100).await;
        let open = store.open_reviews(&tenant, 10).unwrap();
        assert!(open.iter().all(|one| one.number != 1 && one.number != 2), "{open:?}");
        assert_eq!(store.verify_consistency(&tenant).unwrap(), []);
    }
}
