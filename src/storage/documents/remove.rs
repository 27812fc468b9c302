//! Removal: of metadata (ITI-62) and of documents' bytes (ITI-86), Remove Metadata and Documents supplement 3.62.4.1.3
//! and 3.86.4.1.3.

use std::collections::HashSet;
use std::sync::Arc;

use super::Conflicts;
use super::rows::{End, Row, View};
use crate::ebxml::{ErrorCode, RegistryError};
use crate::id::{EntryUuid, Tenant};
use crate::metadata::{Association, AssociationKind, Object, ObjectId};
use crate::storage::engine::{StoreError, Write};
use crate::storage::seal::Sealer;

/// Removes objects, all of them or none.
pub(super) fn remove(write: &Write<'_>, sealer: &Sealer, tenant: &Tenant, ids: &[ObjectId]) -> Result<(), StoreError> {
    let view = View::new(write, sealer.clone(), tenant.clone());
    let mut removal = Removal { view, rows: Vec::new(), ids: HashSet::new(), errors: Vec::new() };
    removal.find(ids)?;
    if removal.errors.is_empty() {
        for at in 0..removal.rows.len() {
            removal.check(at)?;
        }
    }
    if !removal.errors.is_empty() {
        return Err(StoreError::Undone(Arc::new(Conflicts(removal.errors))));
    }
    removal.carry_out()
}

struct Removal<'w, 't> {
    view: View<&'w Write<'t>>,
    rows: Vec<Row>,
    ids: HashSet<EntryUuid>,
    errors: Vec<RegistryError>,
}

impl Removal<'_, '_> {
    fn conflict(&mut self, code: ErrorCode, id: &ObjectId, text: &str) {
        // The supplement wants the entryUUID in codeContext; location has it as everywhere else.
        self.errors.push(RegistryError::new(code, format!("{text}: {id}")).at(id.to_string()));
    }

    fn find(&mut self, ids: &[ObjectId]) -> Result<(), StoreError> {
        for id in ids {
            let found = id.uuid().map_or(Ok(None), |uuid| self.view.row(uuid))?;
            match (found, id.uuid()) {
                (Some(row), Some(uuid)) => {
                    if self.ids.insert(uuid) {
                        self.rows.push(row);
                    }
                }
                _ => self.conflict(ErrorCode::UnresolvedReferenceException, id, "no object has this id"),
            }
        }
        Ok(())
    }

    fn goes(&self, id: &ObjectId) -> bool {
        id.uuid().is_some_and(|uuid| self.ids.contains(&uuid))
    }

    /// Nothing that stays may refer to what goes, and what stays must still belong to a submission.
    fn check(&mut self, at: usize) -> Result<(), StoreError> {
        let id = self.rows[at].object.id().clone();
        let Some(uuid) = id.uuid() else { return Ok(()) };
        for end in [End::Source, End::Target] {
            if self.view.links(end, uuid)?.iter().any(|link| !self.goes(&link.id)) {
                self.conflict(ErrorCode::ReferencesExistException, &id, "an association still refers to the object");
                return Ok(());
            }
        }
        let Object::Association(association) = &self.rows[at].object else { return Ok(()) };
        let association = association.clone();
        if association.kind != AssociationKind::HasMember {
            return Ok(());
        }
        let source = association.source.uuid().map_or(Ok(None), |uuid| self.view.row(uuid))?;
        if !matches!(source.map(|row| row.object), Some(Object::SubmissionSet(_))) {
            return Ok(());
        }
        if !self.goes(&association.source) && !self.has_another(End::Source, &association.source)? {
            let text = "the submission set would be empty";
            self.conflict(ErrorCode::XdsUnreferencedObjectException, &association.source, text);
        }
        if !self.goes(&association.target) && !self.has_another(End::Target, &association.target)? {
            let text = "the object would belong to no submission set";
            self.conflict(ErrorCode::XdsUnreferencedObjectException, &association.target, text);
        }
        Ok(())
    }

    /// Whether a membership of a submission set stays at that end of an object.
    fn has_another(&self, end: End, id: &ObjectId) -> Result<bool, StoreError> {
        let Some(uuid) = id.uuid() else { return Ok(false) };
        let is_of_set = |link: &Association| {
            let source = link.source.uuid().map_or(Ok(None), |uuid| self.view.row(uuid))?;
            Ok::<_, StoreError>(matches!(source.map(|row| row.object), Some(Object::SubmissionSet(_))))
        };
        for link in self.view.links(end, uuid)? {
            if !self.goes(&link.id) && is_of_set(&link)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn carry_out(&self) -> Result<(), StoreError> {
        for row in &self.rows {
            self.view.remove(row)?;
        }
        // What is the newest version now is found as such.
        for row in &self.rows {
            let Some(lid) = row.logical_id() else { continue };
            if let Some(mut newest) = self.view.versions(lid)?.pop().filter(|newest| newest.superseded) {
                newest.superseded = false;
                self.view.put(&newest)?;
            }
        }
        Ok(())
    }
}
