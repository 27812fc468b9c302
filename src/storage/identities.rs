//! Patients: what each source says of them, and which records are one person.
//!
//! A source's record is found by its identifier (authority and id) and belongs to a person, a number of our own that
//! never leaves the house. Merging at a source and linking across sources both move records between persons; every
//! such step leaves a line of history. All decisions are made inside the write, so two messages at one moment cannot
//! make a duplicate.
//!
//! | table | key after the tenant | value |
//! |---|---|---|
//! | `identity.ids` | identifier | person |
//! | `identity.people` | person | its records |
//! | `identity.profiles` | person | what is compared of each record ([`crate::mpi::packed`]) |
//! | `identity.blocks.4` and its levels | block key, person | see `blocks` |
//! | `identity.history` | number | a [`Change`] |
//! | `identity.history.of` | identifier, number | - |
//! | `identity.apart` | two identifiers | the two, and since when |
//! | `identity.imports` | digest of file and options | an [`Import`] |
//! | `identity.partners` | person, community | a [`Correlation`] |
//! | `identity.names` | - | the key of [`PersonNames`] |
//! | `identity.review` | number | a [`Review`] |
//! | `identity.review.open` | number | - |
//! | `identity.review.pairs` | two identifiers | number |
//! | `identity.looked` | - | the last person who was looked at for review |
//! | `identity.learnt` | - | what the community's records taught about matching |

mod blocks;
mod changes;
mod check;
mod imports;
mod learning;
mod names;
mod notices;
mod parting;
mod partners;
mod reindex;
mod removal;
mod review;
mod rows;
mod search;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::engine::{Engine, StoreError};
use super::owed::Debt;
use super::seal::Sealer;
use crate::id::{Demographics, PatientId, Tenant, Timestamp};

pub use changes::{Change, Fed, MergeRules, What};
pub use check::Problem;
pub use imports::{Apart, Counts, Import, ImportKey, Item, Overtaken, Place, Reject, Revise, Step};
pub use learning::LearningError;
pub use names::PersonNames;
pub use notices::{Interest, Notice, destination};
pub use partners::Correlation;
pub use review::{Looked, Review, ReviewError, Status, Verdict};
pub use search::{Candidate, Found};

/// A person, by our own number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct PersonKey(pub u64);

/// An identifier that a record has, or had.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The identifier.
    pub id: PatientId,
    /// The identifier that took its place by a merge or a change of identifier; none while it is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<PatientId>,
}

/// What one source says of a person.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its identifiers, the primary one first.
    pub ids: Vec<Held>,
    /// Demographics as that source last told them.
    pub demographics: Demographics,
    /// When that was.
    pub updated: Timestamp,
}

/// All records of one person, in the order in which they came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Person {
    /// Our number.
    pub key: PersonKey,
    /// At least one.
    pub records: Vec<Record>,
}

impl Person {
    /// The identifiers in use.
    pub fn ids(&self) -> impl Iterator<Item = &PatientId> {
        self.held().filter(|held| held.replaced_by.is_none()).map(|held| &held.id)
    }

    /// Every identifier, in use or not.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.records.iter().flat_map(|record| &record.ids)
    }

    /// The record that has an identifier.
    pub fn record_of(&self, id: &PatientId) -> Option<&Record> {
        self.records.iter().find(|record| record.ids.iter().any(|held| held.id == *id))
    }

    /// The identifier in use in place of another: itself, or the end of its chain of merges.
    pub fn current<'p>(&'p self, id: &'p PatientId) -> &'p PatientId {
        let mut current = id;
        // A chain is never longer than the number of identifiers; the bound makes a damaged one harmless.
        for _ in 0..self.held().count() {
            match self.held().find(|held| held.id == *current).and_then(|held| held.replaced_by.as_ref()) {
                Some(next) => current = next,
                None => break,
            }
        }
        current
    }

    /// An identifier in use with all those that it replaced: whose documents a query for it is answered with.
    pub fn chain(&self, survivor: &PatientId) -> Vec<PatientId> {
        self.held().filter(|held| self.current(&held.id) == survivor).map(|held| held.id.clone()).collect()
    }

    /// Demographics of the record that was updated last, or of the record of one identifier.
    pub fn demographics(&self, of: Option<&PatientId>) -> Option<&Demographics> {
        let record = match of {
            Some(id) => self.record_of(id),
            None => self.records.iter().max_by_key(|record| record.updated),
        };
        record.map(|record| &record.demographics)
    }
}

/// What an identifier means now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Resolution {
    /// Nobody has it.
    Unknown,
    /// In use.
    Active(Person),
    /// Replaced, by a merge or otherwise.
    Replaced {
        /// The identifier in use instead.
        by: PatientId,
        /// Whose it is.
        person: Person,
    },
}

impl Resolution {
    /// The person, if the identifier is in use.
    pub fn active(self) -> Option<Person> {
        match self {
            Self::Active(person) => Some(person),
            Self::Unknown | Self::Replaced { .. } => None,
        }
    }
}

/// Why a message about an identity was refused. Nothing changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A record needs an identifier.
    #[error("the message has no patient identifier")]
    NoIdentifier,
    /// Nobody has the identifier that should survive or be revised.
    #[error("the patient identifier is not known here")]
    Unknown,
    /// Nobody has the identifier that should be replaced.
    #[error("the patient identifier to be replaced is not known here")]
    UnknownSubsumed,
    /// Both identifiers are one.
    #[error("both patient identifiers are the same")]
    SameIdentifier,
    /// A merge is between two identifiers of one authority.
    #[error("the patient identifiers are of different assigning authorities")]
    DifferentAuthorities,
    /// It was replaced before.
    #[error("the patient identifier has been replaced already")]
    AlreadyReplaced,
    /// The survivor was itself replaced.
    #[error("the surviving patient identifier has itself been replaced")]
    SurvivorReplaced,
    /// The new identifier is another patient's.
    #[error("the new patient identifier belongs to another patient")]
    Taken,
}

/// Why an operation on identities did not happen.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// By the rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error("the identity could not be stored or read")]
    Store(#[from] StoreError),
}

/// The patients of all tenants. Clones share the store.
#[derive(Clone)]
pub struct Identities {
    engine: Engine,
    sealer: Sealer,
    models: learning::Models,
    wide: search::Wide,
    telling: Option<notices::Telling>,
    by: Option<String>,
    debt: Option<Debt>,
}

impl Identities {
    /// Patients kept in a store.
    pub fn new(engine: Engine, sealer: Sealer) -> Self {
        Self {
            engine,
            sealer,
            models: learning::Models::default(),
            wide: search::wide(),
            telling: None,
            by: None,
            debt: None,
        }
    }

    /// The same patients, changed in the name of a user of ours: the history says so.
    #[must_use]
    pub fn in_the_name_of(&self, user: &str) -> Self {
        Self { by: Some(user.to_owned()), ..self.clone() }
    }

    /// The same patients, each change of whom owes a record to the audit trail, stored in the same write.
    #[must_use]
    pub fn owing(&self, debt: Debt) -> Self {
        Self { debt: Some(debt), ..self.clone() }
    }

    /// What an identifier means now.
    pub fn resolve(&self, tenant: &Tenant, id: &PatientId) -> Result<Resolution, StoreError> {
        let read = self.engine.read()?;
        let Some(person) = self.codec(tenant).find(&read, id)? else { return Ok(Resolution::Unknown) };
        let by = person.current(id);
        Ok(if by == id { Resolution::Active(person) } else { Resolution::Replaced { by: by.clone(), person } })
    }

    /// The other identifiers in use of the person who has this one; those of some authorities only, if any are named.
    pub fn cross_references(
        &self,
        tenant: &Tenant,
        id: &PatientId,
        wanted: &[crate::id::AssigningAuthority],
    ) -> Result<Option<Vec<PatientId>>, StoreError> {
        let person = self.resolve(tenant, id)?.active();
        let is_wanted = |other: &&PatientId| *other != id && (wanted.is_empty() || wanted.contains(other.authority()));
        Ok(person.map(|person| person.ids().filter(is_wanted).cloned().collect()))
    }

    /// What the source of an identifier said of the patient.
    pub fn demographics(&self, tenant: &Tenant, id: &PatientId) -> Result<Option<Demographics>, StoreError> {
        let person = self.resolve(tenant, id)?.active();
        Ok(person.and_then(|person| person.demographics(Some(id)).cloned()))
    }

    /// Persons with numbers above one, in order, at most so many: for export. Start with none.
    pub fn people(&self, tenant: &Tenant, after: Option<PersonKey>, limit: usize) -> Result<Vec<Person>, StoreError> {
        self.codec(tenant).people(&self.engine.read()?, after, limit)
    }

    /// How many persons and identifiers are stored, of all tenants together.
    pub fn counts(&self) -> Result<(u64, u64), StoreError> {
        let read = self.engine.read()?;
        Ok((read.open_table(rows::PEOPLE)?.len()?, read.open_table(rows::IDS)?.len()?))
    }

    fn codec(&self, tenant: &Tenant) -> rows::Codec {
        rows::Codec::new(tenant.clone(), self.sealer.clone())
    }
}
