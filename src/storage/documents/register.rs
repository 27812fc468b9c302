//! What a submission does to the registry (ITI TF-2: 3.42.4.1.3; TF-3: 4.2.2.2).

use std::collections::HashSet;
use std::sync::Arc;

use super::rows::{End, Kind, Row, View, derived};
use super::{Conflicts, Registration};
use crate::ebxml::{ErrorCode, RegistryError};
use crate::id::{Dtm, PatientId, Tenant};
use crate::metadata::{
    Association, AssociationKind, Availability, DocumentEntry, DocumentKind, Folder, Object, ObjectId,
};
use crate::storage::engine::{StoreError, Write};
use crate::storage::seal::Sealer;

/// Checks a submission against the registry and puts it in. Undone with all conflicts if there are any.
pub(super) fn register(
    write: &Write<'_>,
    sealer: &Sealer,
    tenant: &Tenant,
    registration: &Registration,
    known: &dyn Fn(&Write<'_>, &PatientId) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut run = Run::open(write, sealer, tenant, registration, known)?;
    run.check_ids()?;
    for association in &registration.submission.associations {
        run.check_association(association)?;
    }
    run.outcome()?;
    run.store()
}

/// A submission on its way into the registry, and what is wrong with it so far.
pub(super) struct Run<'r, 'w, 't> {
    pub(super) view: View<&'w Write<'t>>,
    pub(super) registration: &'r Registration,
    pub(super) errors: Vec<RegistryError>,
}

impl<'r, 'w, 't> Run<'r, 'w, 't> {
    /// Begins with the patient, whom the community has to know.
    pub(super) fn open(
        write: &'w Write<'t>,
        sealer: &Sealer,
        tenant: &Tenant,
        registration: &'r Registration,
        known: &dyn Fn(&Write<'_>, &PatientId) -> Result<bool, StoreError>,
    ) -> Result<Self, StoreError> {
        let view = View::new(write, sealer.clone(), tenant.clone());
        let mut run = Self { view, registration, errors: Vec::new() };
        if let Some(patient) = &registration.submission.set.patient_id
            && !known(write, patient)?
        {
            let text = "the patient id of the submission is not known here";
            run.errors.push(RegistryError::new(ErrorCode::XdsUnknownPatientId, text));
        }
        Ok(run)
    }

    /// Undoes everything if anything is wrong.
    pub(super) fn outcome(&mut self) -> Result<(), StoreError> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(StoreError::Undone(Arc::new(Conflicts(std::mem::take(&mut self.errors)))))
    }

    pub(super) fn conflict(&mut self, code: ErrorCode, id: &ObjectId, text: &str) {
        self.errors.push(RegistryError::new(code, text).at(id.to_string()));
    }

    /// New ids must be new; a document may come again if it is the same document.
    fn check_ids(&mut self) -> Result<(), StoreError> {
        let submission = &self.registration.submission;
        self.check_entry_uuids()?;
        self.check_set()?;
        for folder in &submission.folders {
            if !self.view.of_unique_id(Kind::Folder, &folder.unique_id)?.is_empty() {
                let text = "the uniqueId is registered already";
                self.conflict(ErrorCode::XdsDuplicateUniqueIdInRegistry, &folder.id, text);
            }
        }
        submission.entries.iter().try_for_each(|entry| self.check_content(entry))
    }

    /// No object has the entryUUID of another.
    pub(super) fn check_entry_uuids(&mut self) -> Result<(), StoreError> {
        let submission = &self.registration.submission;
        let entries = submission.entries.iter().map(|entry| &entry.id);
        let folders = submission.folders.iter().map(|folder| &folder.id);
        let associations = submission.associations.iter().map(|association| &association.id);
        for id in entries.chain(folders).chain(associations).chain([&submission.set.id]) {
            if self.row(id)?.is_some() {
                self.conflict(ErrorCode::XdsRegistryMetadataError, id, "the entryUUID is registered already");
            }
        }
        Ok(())
    }

    /// A submission set is registered once.
    pub(super) fn check_set(&mut self) -> Result<(), StoreError> {
        let set = &self.registration.submission.set;
        if !self.view.of_unique_id(Kind::SubmissionSet, &set.unique_id)?.is_empty() {
            let text = "the uniqueId is registered already";
            self.conflict(ErrorCode::XdsDuplicateUniqueIdInRegistry, &set.id, text);
        }
        Ok(())
    }

    fn check_content(&mut self, entry: &DocumentEntry) -> Result<(), StoreError> {
        for row in self.view.of_unique_id(Kind::Document, &entry.unique_id)? {
            let (superseded, Object::Document(before)) = (row.superseded, row.object) else { continue };
            let (code, text) = if superseded {
                continue;
            } else if before.hash != entry.hash {
                (ErrorCode::XdsNonIdenticalHash, "the uniqueId is that of a document with another hash")
            } else if before.size != entry.size {
                (ErrorCode::XdsNonIdenticalSize, "the uniqueId is that of a document with another size")
            } else {
                continue;
            };
            // One error for the entry, however often its document was registered.
            self.conflict(code, &entry.id, text);
            break;
        }
        Ok(())
    }

    pub(super) fn check_association(&mut self, association: &Association) -> Result<(), StoreError> {
        let source = self.object(&association.source)?;
        let target = self.object(&association.target)?;
        let (Some(source), Some(target)) = (source, target) else {
            let text = "an object that is neither submitted nor registered";
            self.conflict(ErrorCode::UnresolvedReferenceException, &association.id, text);
            return Ok(());
        };
        if association.kind.relates_documents() && association.kind != AssociationKind::Signs {
            self.check_relation(association, &source, &target);
        }
        // A folder holds documents of its own patient; a submission may refer to those of others.
        if association.kind == AssociationKind::HasMember
            && matches!((&source, &target), (Object::Folder(_), Object::Document(_)))
            && source.patient() != target.patient()
        {
            let text = "the document is of another patient than the folder";
            self.conflict(ErrorCode::XdsPatientIdDoesNotMatch, &association.id, text);
        }
        Ok(())
    }

    fn check_relation(&mut self, association: &Association, source: &Object, target: &Object) {
        let id = &association.id;
        let (Object::Document(from), Object::Document(to)) = (source, target) else {
            return self.conflict(ErrorCode::XdsRegistryMetadataError, id, "the association relates documents only");
        };
        if to.availability == Some(Availability::Deprecated) {
            let text = "the target of the association is deprecated";
            self.conflict(ErrorCode::XdsRegistryDeprecatedDocumentError, id, text);
        }
        if from.patient_id != to.patient_id {
            let text = "the documents are of different patients";
            self.conflict(ErrorCode::XdsPatientIdDoesNotMatch, id, text);
        }
        if association.kind == AssociationKind::IsSnapshotOf
            && (from.kind, to.kind) != (DocumentKind::Stable, DocumentKind::OnDemand)
        {
            let text = "a snapshot is a stable document of an on-demand one";
            self.conflict(ErrorCode::XdsRegistryMetadataError, id, text);
        }
        let is_new = self.registration.submission.entries.iter().any(|entry| entry.id == association.target);
        if is_new && (association.kind.replaces() || association.kind == AssociationKind::IsSnapshotOf) {
            let text = "the target has to be registered before";
            self.conflict(ErrorCode::UnresolvedReferenceException, id, text);
        }
    }

    /// Puts everything in, then does what the associations mean.
    fn store(self) -> Result<(), StoreError> {
        let submission = &self.registration.submission;
        for entry in &submission.entries {
            let entry = DocumentEntry {
                availability: Some(Availability::Approved),
                logical_id: Some(entry.id.clone()),
                version: Some(1),
                ..entry.clone()
            };
            let content = self.registration.contents.iter().find(|(id, _)| *id == entry.id);
            let content = content.map(|(_, key)| key.clone());
            self.add(Object::Document(Box::new(entry)), content)?;
        }
        for folder in &submission.folders {
            let folder = Folder {
                availability: Some(Availability::Approved),
                logical_id: Some(folder.id.clone()),
                version: Some(1),
                last_update: self.now(),
                ..folder.clone()
            };
            self.add(Object::Folder(Box::new(folder)), None)?;
        }
        let mut set = submission.set.clone();
        set.availability = Some(Availability::Approved);
        self.add(Object::SubmissionSet(Box::new(set)), None)?;
        for association in &submission.associations {
            self.link(association.clone())?;
        }
        for association in submission.associations.iter().filter(|association| association.kind.replaces()) {
            self.replace(association)?;
        }
        Ok(())
    }

    /// 4.2.2.2.3: the old document and all that was added to it or made of it are deprecated, and folders that hold
    /// it hold the new one too.
    pub(super) fn replace(&self, association: &Association) -> Result<(), StoreError> {
        let (Some(new), Some(old)) = (association.source.uuid(), association.target.uuid()) else { return Ok(()) };
        let mut seen = HashSet::from([new]);
        let mut waiting = vec![old];
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            let Some(mut row) = self.view.row(id)? else { continue };
            if let Object::Document(entry) = &mut row.object {
                entry.availability = Some(Availability::Deprecated);
                self.view.put(&row)?;
            }
            for link in self.view.links(End::Target, id)? {
                if matches!(link.kind, AssociationKind::Append | AssociationKind::Transform) {
                    waiting.extend(link.source.uuid());
                }
            }
        }
        for link in self.view.links(End::Target, old)? {
            let Some(holder) = link.source.uuid().filter(|_| link.kind == AssociationKind::HasMember) else { continue };
            let is_folder = matches!(self.view.row(holder)?, Some(Row { object: Object::Folder(_), .. }));
            let holds_new = || {
                let members = self.view.links(End::Target, new)?;
                Ok::<_, StoreError>(members.iter().any(|member| member.source == link.source))
            };
            if is_folder && !holds_new()? {
                let id = derived(&[holder.as_bytes(), new.as_bytes()]);
                self.link(Association::new(id, AssociationKind::HasMember, holder.into(), new.into()))?;
            }
        }
        Ok(())
    }

    /// Puts an association in. A folder that gets a document was updated now (4.2.3.4.6).
    pub(super) fn link(&self, mut association: Association) -> Result<(), StoreError> {
        association.availability = Some(Availability::Approved);
        if association.kind == AssociationKind::HasMember
            && let Some(mut row) = self.row(&association.source)?
            && let Object::Folder(folder) = &mut row.object
        {
            folder.last_update = self.now();
            self.view.put(&row)?;
        }
        self.add(Object::Association(Box::new(association)), None)
    }

    pub(super) fn add(&self, object: Object, content: Option<String>) -> Result<(), StoreError> {
        self.view.add(&Row::new(object, content, self.registration.now))
    }

    pub(super) fn now(&self) -> Option<Dtm> {
        self.registration.now.to_dtm().parse().ok()
    }

    pub(super) fn row(&self, id: &ObjectId) -> Result<Option<Row>, StoreError> {
        id.uuid().map_or(Ok(None), |uuid| self.view.row(uuid))
    }

    /// An object of the submission or of the registry.
    pub(super) fn object(&self, id: &ObjectId) -> Result<Option<Object>, StoreError> {
        let submission = &self.registration.submission;
        if let Some(entry) = submission.entries.iter().find(|entry| entry.id == *id) {
            return Ok(Some(Object::Document(Box::new(entry.clone()))));
        }
        if let Some(folder) = submission.folders.iter().find(|folder| folder.id == *id) {
            return Ok(Some(Object::Folder(Box::new(folder.clone()))));
        }
        if let Some(association) = submission.associations.iter().find(|association| association.id == *id) {
            return Ok(Some(Object::Association(Box::new(association.clone()))));
        }
        if submission.set.id == *id {
            return Ok(Some(Object::SubmissionSet(Box::new(submission.set.clone()))));
        }
        Ok(self.row(id)?.map(|row| row.object))
    }
}
