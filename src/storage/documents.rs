//! Rows of the document registry: submissions, entries, folders and associations of each tenant.
//!
//! Bytes are in `files`; an entry knows the key of its content there. How a submission changes the rows is in
//! `register`, how a stored query reads them in `search`.

mod register;
mod rows;
mod search;

use serde::{Deserialize, Serialize};

use super::engine::{Engine, StoreError, Write};
use super::seal::Sealer;
use crate::ebxml::{ErrorCode, RegistryError};
use crate::id::{DocumentUniqueId, PatientId, Tenant, Timestamp};
use crate::metadata::query::Query;
use crate::metadata::{DocumentEntry, Object, ObjectId, Submission};

/// The document registry's rows. Clones share the store.
#[derive(Clone)]
pub struct Documents {
    engine: Engine,
    sealer: Sealer,
}

/// A submission on its way into the registry.
#[derive(Clone, Debug)]
pub struct Registration {
    /// What is registered.
    pub submission: Submission,
    /// The key in `storage::files` of each new document's bytes: of those that are kept here.
    pub contents: Vec<(ObjectId, String)>,
    /// When this happens.
    pub now: Timestamp,
}

/// A document of the registry and where its bytes are.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct StoredDocument {
    /// Its metadata.
    pub entry: DocumentEntry,
    /// The key of its bytes in `storage::files`; none if they are elsewhere or made on demand.
    pub content: Option<String>,
}

/// Why a submission was not registered. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// It conflicts with what the registry has.
    #[error("the submission conflicts with the registry in {} ways", .0.len())]
    Refused(Vec<RegistryError>),
    /// The store failed.
    #[error("the registry could not store the submission")]
    Store(#[source] StoreError),
}

impl RegisterError {
    /// The errors to answer with.
    pub fn errors(&self) -> Vec<RegistryError> {
        match self {
            Self::Refused(errors) => errors.clone(),
            Self::Store(StoreError::Overloaded) => {
                vec![RegistryError::new(ErrorCode::XdsRegistryBusy, self.to_string())]
            }
            Self::Store(StoreError::DiskFull) => {
                vec![RegistryError::new(ErrorCode::XdsRegistryOutOfResources, self.to_string())]
            }
            Self::Store(_) => vec![RegistryError::new(ErrorCode::XdsRegistryError, self.to_string())],
        }
    }
}

/// Why a stored query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// More objects than the limit.
    #[error("the result has more than {0} objects")]
    TooMany(usize),
    /// Whole objects of several patients were asked for.
    #[error("the result is of more than one patient")]
    SeveralPatients,
    /// The store failed.
    #[error("the registry could not be read")]
    Store(#[from] StoreError),
}

impl SearchError {
    /// `errorCode` (ITI TF-3: Table 4.2.4.1-2).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooMany(_) => ErrorCode::XdsTooManyResults,
            Self::SeveralPatients => ErrorCode::XdsResultNotSinglePatient,
            Self::Store(_) => ErrorCode::XdsRegistryError,
        }
    }
}

/// The errors of a refused submission, on their way through the store's undoing.
#[derive(Debug, thiserror::Error)]
#[error("the submission conflicts with the registry")]
struct Conflicts(Vec<RegistryError>);

impl Documents {
    /// The registry of a store.
    pub fn new(engine: Engine, sealer: Sealer) -> Self {
        Self { engine, sealer }
    }

    /// Registers a submission, all of it or nothing, and returns it with the ids it got. `known` says whether a
    /// patient id is one of the community's; it runs inside the write, so it sees what was fed before.
    pub async fn register<K>(
        &self,
        tenant: &Tenant,
        mut registration: Registration,
        known: K,
    ) -> Result<Submission, RegisterError>
    where
        K: Fn(&Write<'_>, &PatientId) -> Result<bool, StoreError> + Send + 'static,
    {
        registration.assign_ids();
        let (tenant, sealer) = (tenant.clone(), self.sealer.clone());
        let registered = registration.submission.clone();
        let work = move |write: &Write<'_>| register::register(write, &sealer, &tenant, &registration, &known);
        match self.engine.write(work).await {
            Ok(()) => Ok(registered),
            Err(StoreError::Undone(cause)) => match cause.downcast_ref::<Conflicts>() {
                Some(Conflicts(errors)) => Err(RegisterError::Refused(errors.clone())),
                None => Err(RegisterError::Store(StoreError::Undone(cause))),
            },
            Err(error) => Err(RegisterError::Store(error)),
        }
    }

    /// Answers a stored query with whole objects, at most `limit` of them, in the order they were registered.
    /// An unknown patient has no objects.
    pub fn search(&self, tenant: &Tenant, query: &Query, limit: usize) -> Result<Vec<Object>, SearchError> {
        search::search(&self.view(tenant)?, query, limit)
    }

    /// As [`Documents::search`], for an answer that may hold whole objects of one patient only.
    pub fn search_one_patient(&self, tenant: &Tenant, query: &Query, limit: usize) -> Result<Vec<Object>, SearchError> {
        let objects = self.search(tenant, query, limit)?;
        let mut patients = objects.iter().filter_map(Object::patient);
        let first = patients.next();
        if patients.any(|other| Some(other) != first) { Err(SearchError::SeveralPatients) } else { Ok(objects) }
    }

    /// The document of a unique id, the approved one if several entries share it. Ids are compared without a URN
    /// prefix.
    pub fn document(
        &self,
        tenant: &Tenant,
        unique_id: &DocumentUniqueId,
    ) -> Result<Option<StoredDocument>, StoreError> {
        search::document(&self.view(tenant)?, unique_id)
    }

    /// Whether any entry names the bytes of a key of `storage::files`.
    pub fn keeps(&self, tenant: &Tenant, content: &str) -> Result<bool, StoreError> {
        let read = self.engine.read()?;
        Ok(rows::has_content(&read, tenant, content)? || super::deliveries::holds_content(&read, tenant, content)?)
    }

    fn view(&self, tenant: &Tenant) -> Result<rows::View<rows::Reading>, StoreError> {
        Ok(rows::View::new(rows::Reading::new(self.engine.read()?)?, self.sealer.clone(), tenant.clone()))
    }
}

impl Registration {
    /// Gives symbols their UUIDs, those of the contents too.
    fn assign_ids(&mut self) {
        let before: Vec<ObjectId> = self.submission.entries.iter().map(|entry| entry.id.clone()).collect();
        self.submission.assign_ids();
        for (old, entry) in before.into_iter().zip(&self.submission.entries) {
            for (id, _) in self.contents.iter_mut().filter(|(id, _)| *id == old) {
                *id = entry.id.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests;
