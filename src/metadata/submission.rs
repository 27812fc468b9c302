//! A submission: one submission set with everything that belongs to it (ITI TF-3: 4.1.4, 4.2.1.4). All or nothing.

mod update;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::association::{Association, AssociationKind, Membership};
use super::coding::{DocumentKind, ObjectId};
use super::document_entry::DocumentEntry;
use super::folder::Folder;
use super::rules::{Problems, Rules};
use super::submission_set::SubmissionSet;
use crate::ebxml::{ErrorCode, Item, RegistryError};
use crate::id::{EntryUuid, PatientId};

/// A submission that keeps the rules of its transaction, as far as the message alone can tell.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The submission set.
    pub set: SubmissionSet,
    /// New documents.
    pub entries: Vec<DocumentEntry>,
    /// New folders.
    pub folders: Vec<Folder>,
    /// New associations.
    pub associations: Vec<Association>,
}

impl Submission {
    /// Reads the objects of a submission and checks them, or tells all problems.
    pub fn decode(items: Vec<Item>, rules: Rules) -> Result<Self, Vec<RegistryError>> {
        let mut problems = Problems::new(rules);
        let mut sets = Vec::new();
        let (mut entries, mut folders, mut associations) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::ExtrinsicObject { object, mime_type } => {
                    entries.extend(DocumentEntry::decode(object, mime_type, &mut problems));
                }
                Item::RegistryPackage(object) if SubmissionSet::is(&object) => {
                    sets.extend(SubmissionSet::decode(object, &mut problems));
                }
                Item::RegistryPackage(object) if Folder::is(&object) => {
                    folders.extend(Folder::decode(object, &mut problems));
                }
                Item::RegistryPackage(object) => {
                    problems.metadata(&object.id, "the package is neither a submission set nor a folder");
                }
                Item::Association { object, kind, source, target } => {
                    associations.push(Association::decode(object, &kind, &source, &target, &mut problems));
                }
                // References to classification schemes, which some senders list.
                Item::ObjectRef { .. } => {}
            }
        }
        if sets.len() > 1 {
            problems.metadata("", "there is more than one submission set");
        }
        let Some(set) = sets.into_iter().next() else {
            problems.metadata("", "there is no usable submission set");
            return Err(problems.list);
        };
        let submission = Self { set, entries, folders, associations };
        // 4.3.1: what is not marked as limited has to be complete, whoever takes limited metadata.
        if rules == Rules::XdrLimited && !submission.set.limited_metadata {
            problems.rules = Rules::Xdr;
        }
        // An object that could not be read would make every reference to it a problem too.
        if problems.list.is_empty() {
            submission.check(&mut problems);
        }
        if problems.list.iter().any(RegistryError::is_error) { Err(problems.list) } else { Ok(submission) }
    }

    /// The objects, the submission set last but for the associations.
    pub fn to_items(&self) -> Vec<Item> {
        let mut items: Vec<_> = self.entries.iter().map(DocumentEntry::to_item).collect();
        items.extend(self.folders.iter().map(Folder::to_item));
        items.push(self.set.to_item());
        items.extend(self.associations.iter().map(Association::to_item));
        items
    }

    /// Gives every symbol a UUID, the same symbol the same one. Submitted UUIDs stay as they are.
    pub fn assign_ids(&mut self) {
        let mut assigned = HashMap::new();
        let mut assign = |id: &mut ObjectId| {
            if let ObjectId::Symbol(symbol) = id {
                let uuid = *assigned.entry(symbol.clone()).or_insert_with(EntryUuid::random);
                *id = ObjectId::Uuid(uuid);
            }
        };
        assign(&mut self.set.id);
        self.entries.iter_mut().for_each(|entry| assign(&mut entry.id));
        self.folders.iter_mut().for_each(|folder| assign(&mut folder.id));
        for association in &mut self.associations {
            for id in [&mut association.id, &mut association.source, &mut association.target] {
                assign(id);
            }
        }
    }

    /// Holds the submission to its rules.
    pub fn check(&self, problems: &mut Problems) {
        self.set.check(problems);
        for entry in &self.entries {
            entry.check(problems);
            match (problems.rules, entry.kind) {
                (Rules::RegisterOnDemand, DocumentKind::Stable) => {
                    problems.metadata(&entry.id.to_string(), "only on-demand entries are registered here");
                }
                (Rules::Register | Rules::Provide, DocumentKind::OnDemand) => {
                    problems.metadata(&entry.id.to_string(), "on-demand entries have a transaction of their own");
                }
                _ => {}
            }
        }
        for folder in &self.folders {
            folder.check(problems);
        }
        self.check_ids(problems);
        self.check_patients(problems);
        self.check_membership(problems);
        for association in &self.associations {
            self.check_association(association, problems);
        }
        if problems.rules.is_update() {
            update::check(self, problems);
        }
    }

    fn objects(&self) -> impl Iterator<Item = &ObjectId> {
        let entries = self.entries.iter().map(|entry| &entry.id);
        entries.chain(self.folders.iter().map(|folder| &folder.id)).chain([&self.set.id])
    }

    fn check_ids(&self, problems: &mut Problems) {
        let (mut ids, mut unique_ids) = (HashSet::new(), HashSet::new());
        let associations = self.associations.iter().map(|association| &association.id);
        for id in self.objects().chain(associations) {
            match id {
                ObjectId::Symbol(symbol) if symbol.starts_with("urn:uuid:") => {
                    problems.metadata(symbol, "the id is not a UUID");
                }
                _ if !ids.insert(id) => problems.metadata(&id.to_string(), "the id is that of another object too"),
                _ => {}
            }
        }
        // Among objects of one kind only: some live senders give the set the id of its document.
        let entries = self.entries.iter().map(|entry| (&entry.id, ("document", &entry.unique_id)));
        let folders = self.folders.iter().map(|folder| (&folder.id, ("folder", &folder.unique_id)));
        for (id, unique_id) in entries.chain(folders) {
            if !unique_ids.insert(unique_id) {
                let code = problems.rules.duplicate_error();
                problems.note(code, &id.to_string(), "the uniqueId is that of another object too");
            }
        }
    }

    /// All new objects are of one patient (ITI TF-3: 4.1.4.1). Documents added by reference may be of another.
    fn check_patients(&self, problems: &mut Problems) {
        let Some(patient) = &self.set.patient_id else { return };
        let entries = self.entries.iter().map(|entry| (&entry.id, &entry.patient_id));
        let folders = self.folders.iter().map(|folder| (&folder.id, &folder.patient_id));
        let differs = |other: &Option<PatientId>| other.as_ref().is_some_and(|other| other != patient);
        for (id, other) in entries.chain(folders) {
            if differs(other) {
                let text = "the patientId is not that of the submission set";
                problems.note(ErrorCode::XdsPatientIdDoesNotMatch, &id.to_string(), text);
            }
        }
    }

    /// Every new document and folder is a member of the submission set, documents as `Original`.
    fn check_membership(&self, problems: &mut Problems) {
        let memberships = |target: &ObjectId| {
            self.associations
                .iter()
                .filter(|a| a.kind == AssociationKind::HasMember && a.source == self.set.id && a.target == *target)
                .collect::<Vec<_>>()
        };
        for entry in &self.entries {
            match memberships(&entry.id)[..] {
                [] => problems.metadata(&entry.id.to_string(), "the document is no member of the submission set"),
                [one] if one.membership != Some(Membership::Original) => {
                    problems.metadata(&entry.id.to_string(), "SubmissionSetStatus of a new document is Original");
                }
                _ => {}
            }
        }
        for folder in &self.folders {
            // NIST 16102c lists a new folder's documents and not the folder itself; nothing is lost by taking it.
            let holds_documents = self.associations.iter().any(|association| association.source == folder.id);
            if memberships(&folder.id).is_empty() && !holds_documents {
                problems.metadata(&folder.id.to_string(), "the folder is no member of the submission set");
            }
        }
    }

    fn check_association(&self, association: &Association, problems: &mut Problems) {
        let id = association.id.to_string();
        for end in [&association.source, &association.target] {
            if matches!(end, ObjectId::Symbol(_)) && !self.holds(end) {
                problems.note(ErrorCode::UnresolvedReferenceException, &id, "a symbol is not defined in the message");
            }
        }
        if association.source == association.target {
            problems.metadata(&id, "an object cannot be associated with itself");
        }
        match association.kind {
            AssociationKind::HasMember if association.source != self.set.id => {
                let listed = self.associations.iter().any(|a| {
                    matches!(a.kind, AssociationKind::HasMember | AssociationKind::SubmitAssociation)
                        && a.source == self.set.id
                        && a.target == association.id
                });
                if self.entries.iter().any(|entry| entry.id == association.source) {
                    problems.metadata(&id, "a document has no members");
                } else if !listed && !self.folders.iter().any(|folder| folder.id == association.source) {
                    problems.metadata(&id, "the folder's membership is no member of the submission set");
                }
            }
            AssociationKind::HasMember => {
                if association.previous_version().is_some() && !problems.rules.is_update() {
                    problems.metadata(&id, "PreviousVersion belongs to a metadata update");
                }
            }
            AssociationKind::UpdateAvailabilityStatus | AssociationKind::SubmitAssociation => {
                if !problems.rules.is_update() {
                    problems.metadata(&id, "the association belongs to a metadata update");
                }
            }
            AssociationKind::Other(_) => {
                if !problems.rules.is_update() {
                    problems.metadata(&id, "the type of the association is not known");
                }
            }
            AssociationKind::Replace
            | AssociationKind::Append
            | AssociationKind::Transform
            | AssociationKind::TransformAndReplace
            | AssociationKind::Signs
            | AssociationKind::IsSnapshotOf => {
                // 4.2.2.2: the source is a document of this submission.
                if !self.entries.iter().any(|entry| entry.id == association.source) && !problems.rules.is_update() {
                    let text = "the source is no document of the submission";
                    problems.note(ErrorCode::UnresolvedReferenceException, &id, text);
                }
            }
        }
    }

    fn is_new_object(&self, id: &ObjectId) -> bool {
        self.objects().any(|own| own == id)
    }

    fn holds(&self, id: &ObjectId) -> bool {
        self.is_new_object(id) || self.associations.iter().any(|association| association.id == *id)
    }
}
