//! Rows of the document registry: submissions, entries, folders and associations of each tenant.
//!
//! Bytes are in `files`; an entry knows the key of its content there. How a submission changes the rows is in
//! `register`, how an update does in `update`, what goes in `remove`, how a stored query reads them in `search`.

mod register;
mod remove;
mod rows;
mod search;
mod update;

use serde::{Deserialize, Serialize};

use super::engine::{Engine, StoreError, Write};
use super::seal::Sealer;
use crate::ebxml::{ErrorCode, RegistryError};
use crate::id::{DocumentUniqueId, PatientId, RepositoryId, Tenant, Timestamp};
use crate::metadata::query::Query;
use crate::metadata::{Availability, DocumentEntry, Object, ObjectId, Submission};

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

/// How much of its history an answer shows (Metadata Update supplement 3.18.4.1.2.3.5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scope {
    /// `$MetadataLevel` 2: versions that newer ones took the place of, too.
    pub all_versions: bool,
    /// `$XDSAssociationStatus`: which associations.
    pub associations: Vec<Availability>,
}

impl Default for Scope {
    /// The newest versions and approved associations, as who knows of no versions expects.
    fn default() -> Self {
        Self { all_versions: false, associations: vec![Availability::Approved] }
    }
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
        self.write(work).await.map(|()| registered)
    }

    /// Carries out an update of metadata (ITI-57, or ITI-92 if it is restricted), all of it or nothing. `known` as in
    /// [`Documents::register`].
    pub async fn update<K>(
        &self,
        tenant: &Tenant,
        mut registration: Registration,
        restricted: bool,
        known: K,
    ) -> Result<Submission, RegisterError>
    where
        K: Fn(&Write<'_>, &PatientId) -> Result<bool, StoreError> + Send + 'static,
    {
        registration.assign_ids();
        let (tenant, sealer) = (tenant.clone(), self.sealer.clone());
        let updated = registration.submission.clone();
        let work = move |write: &Write<'_>| update::update(write, &sealer, &tenant, &registration, restricted, &known);
        self.write(work).await.map(|()| updated)
    }

    /// Removes objects (ITI-62), all of them or none. The bytes of documents stay until they are removed themselves.
    pub async fn remove(&self, tenant: &Tenant, objects: Vec<ObjectId>) -> Result<(), RegisterError> {
        let (tenant, sealer) = (tenant.clone(), self.sealer.clone());
        self.write(move |write: &Write<'_>| remove::remove(write, &sealer, &tenant, &objects)).await
    }

    /// Takes the bytes of a document of a repository away from its entries (ITI-86), and from what is left of removed
    /// ones. Returns their keys in `storage::files`, none if there were no bytes.
    pub async fn forget_content(
        &self,
        tenant: &Tenant,
        unique_id: &DocumentUniqueId,
        repository: &RepositoryId,
    ) -> Result<Vec<String>, StoreError> {
        let (tenant, sealer) = (tenant.clone(), self.sealer.clone());
        let (unique_id, repository) = (unique_id.clone(), repository.clone());
        let work = move |write: &Write<'_>| {
            rows::View::new(write, sealer.clone(), tenant.clone()).forget_content(&unique_id, &repository)
        };
        self.engine.write(work).await
    }

    async fn write(
        &self,
        work: impl Fn(&Write<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), RegisterError> {
        self.engine.write(work).await.map_err(|error| match error {
            StoreError::Undone(cause) => match cause.downcast_ref::<Conflicts>() {
                Some(Conflicts(errors)) => RegisterError::Refused(errors.clone()),
                None => RegisterError::Store(StoreError::Undone(cause)),
            },
            error => RegisterError::Store(error),
        })
    }

    /// Answers a stored query with whole objects, at most `limit` of them, in the order they were registered.
    /// An unknown patient has no objects.
    pub fn search(&self, tenant: &Tenant, query: &Query, limit: usize) -> Result<Vec<Object>, SearchError> {
        self.search_in(tenant, query, &Scope::default(), limit)
    }

    /// As [`Documents::search`], with as much of the past as is wanted.
    pub fn search_in(
        &self,
        tenant: &Tenant,
        query: &Query,
        scope: &Scope,
        limit: usize,
    ) -> Result<Vec<Object>, SearchError> {
        search::search(&self.view(tenant)?, query, scope, limit)
    }

    /// The objects of these ids; ids that are nobody's are left out.
    pub fn objects(&self, tenant: &Tenant, ids: &[ObjectId]) -> Result<Vec<Object>, StoreError> {
        let view = self.view(tenant)?;
        let rows = ids.iter().filter_map(ObjectId::uuid).map(|id| view.row(id));
        Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().map(|row| row.object).collect())
    }

    /// As [`Documents::search`], for an answer that may hold whole objects of one patient only.
    pub fn search_one_patient(&self, tenant: &Tenant, query: &Query, limit: usize) -> Result<Vec<Object>, SearchError> {
        self.search(tenant, query, limit).and_then(of_one_patient)
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

/// The objects, if they are of one patient.
pub fn of_one_patient(objects: Vec<Object>) -> Result<Vec<Object>, SearchError> {
    let mut patients = objects.iter().filter_map(Object::patient);
    let first = patients.next();
    if patients.any(|other| Some(other) != first) { Err(SearchError::SeveralPatients) } else { Ok(objects) }
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
