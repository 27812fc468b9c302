//! How a stored query reads the registry (ITI TF-2: 3.18.4.1.2.3.7).

use std::collections::HashSet;

use super::rows::{End, Kind, Reading, Row, View, kind_of};
use super::{Scope, SearchError, StoredDocument};
use crate::id::{DocumentUniqueId, EntryUuid, PatientId};
use crate::metadata::SubmissionSet;
use crate::metadata::query::{ContentFilter, GetAll, Query, Selector, has_references, has_status, wants_kind};
use crate::metadata::{
    Association, AssociationKind, Availability, DocumentEntry, DocumentKind, Folder, Object, ObjectId,
};
use crate::storage::engine::StoreError;

/// All objects that answer a query.
pub(super) fn search(
    view: &View<Reading>,
    query: &Query,
    scope: &Scope,
    limit: usize,
) -> Result<Vec<Object>, SearchError> {
    let mut found = Found { view, scope, limit, objects: Vec::new(), ids: HashSet::new() };
    match query {
        Query::FindDocuments(find) | Query::FindDocumentsForMultiplePatients(find) => {
            found.documents_of(&find.patients, |entry| find.matches(entry))?;
        }
        Query::FindDocumentsByReferenceId(find, references) => {
            let matches =
                |entry: &DocumentEntry| find.matches(entry) && has_references(references, &entry.reference_ids);
            found.documents_of(&find.patients, matches)?;
        }
        Query::FindSubmissionSets(find) => found.sets_of(&find.patient, |set| find.matches(set))?,
        Query::FindFolders(find) | Query::FindFoldersForMultiplePatients(find) => {
            found.folders_of(&find.patients, |folder| find.matches(folder))?;
        }
        Query::GetAll(all) => found.everything(all)?,
        Query::GetDocuments(selector) => drop(found.select(Kind::Document, selector)?),
        Query::GetFolders(selector) => drop(found.select(Kind::Folder, selector)?),
        Query::GetAssociations(ids) => found.associations_of(&uuids(ids), |_| true)?,
        Query::GetDocumentsAndAssociations(selector) => {
            let documents = found.select(Kind::Document, selector)?;
            found.associations_of(&documents, |_| true)?;
        }
        Query::GetSubmissionSets(ids) => found.sets_that_hold(&uuids(ids))?,
        Query::GetSubmissionSetAndContents(selector, filter) => {
            let sets = found.select(Kind::SubmissionSet, selector)?;
            found.contents(&sets, filter)?;
        }
        Query::GetFolderAndContents(selector, filter) => {
            let folders = found.select(Kind::Folder, selector)?;
            found.contents(&folders, filter)?;
        }
        Query::GetFoldersForDocument(selector) => found.folders_that_hold(selector)?,
        Query::GetRelatedDocuments { document, associations, kinds } => found.related(document, associations, kinds)?,
    }
    Ok(found.objects)
}

/// The document of a unique id.
pub(super) fn document(
    view: &View<Reading>,
    unique_id: &DocumentUniqueId,
) -> Result<Option<StoredDocument>, StoreError> {
    let mut best: Option<(bool, StoredDocument)> = None;
    for row in view.of_unique_id(Kind::Document, unique_id)? {
        let Object::Document(entry) = row.object else { continue };
        let is_newest = !row.superseded;
        let is_better = match &best {
            None => true,
            Some((newest, _)) => entry.availability == Some(Availability::Approved) || (is_newest && !newest),
        };
        if is_better {
            best = Some((is_newest, StoredDocument { entry: *entry, content: row.content }));
        }
    }
    Ok(best.map(|(_, document)| document))
}

/// What was found so far, each object once.
struct Found<'v> {
    view: &'v View<Reading>,
    scope: &'v Scope,
    limit: usize,
    objects: Vec<Object>,
    ids: HashSet<ObjectId>,
}

impl Found<'_> {
    fn add(&mut self, object: Object) -> Result<(), SearchError> {
        if self.ids.insert(object.id().clone()) {
            if self.objects.len() >= self.limit {
                return Err(SearchError::TooMany(self.limit));
            }
            self.objects.push(object);
        }
        Ok(())
    }

    /// The rows of each patient; of everybody if no patient is named (ITI-51).
    fn rows_of(&self, kind: Kind, patients: &[PatientId]) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        if patients.is_empty() {
            rows = self.view.of_patient(kind, None)?;
        }
        for patient in patients {
            rows.extend(self.view.of_patient(kind, Some(patient))?);
        }
        self.keep_wanted_versions(&mut rows);
        Ok(rows)
    }

    /// Who does not ask for versions gets the newest.
    fn keep_wanted_versions(&self, rows: &mut Vec<Row>) {
        if !self.scope.all_versions {
            rows.retain(|row| !row.superseded);
        }
    }

    /// The associations of a wanted status that have an object at an end.
    fn links_at(&self, end: End, id: EntryUuid) -> Result<Vec<Association>, StoreError> {
        let mut links = self.view.links(end, id)?;
        links.retain(|link| has_status(&self.scope.associations, link.availability));
        Ok(links)
    }

    fn documents_of(
        &mut self,
        patients: &[PatientId],
        matches: impl Fn(&DocumentEntry) -> bool,
    ) -> Result<(), SearchError> {
        for row in self.rows_of(Kind::Document, patients)? {
            match row.object {
                Object::Document(entry) if matches(&entry) => self.add(Object::Document(entry))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn sets_of(&mut self, patient: &PatientId, matches: impl Fn(&SubmissionSet) -> bool) -> Result<(), SearchError> {
        for row in self.rows_of(Kind::SubmissionSet, std::slice::from_ref(patient))? {
            match row.object {
                Object::SubmissionSet(set) if matches(&set) => self.add(Object::SubmissionSet(set))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn folders_of(&mut self, patients: &[PatientId], matches: impl Fn(&Folder) -> bool) -> Result<(), SearchError> {
        for row in self.rows_of(Kind::Folder, patients)? {
            match row.object {
                Object::Folder(folder) if matches(&folder) => self.add(Object::Folder(folder))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// GetAll: the objects, and the associations both of whose ends are among them.
    fn everything(&mut self, all: &GetAll) -> Result<(), SearchError> {
        let patient = std::slice::from_ref(&all.patient);
        self.documents_of(patient, |entry| {
            has_status(&all.document_statuses, entry.availability) && all.contents.matches(entry)
        })?;
        self.sets_of(&all.patient, |set| has_status(&all.set_statuses, set.availability))?;
        self.folders_of(patient, |folder| has_status(&all.folder_statuses, folder.availability))?;
        self.associations_within()
    }

    /// The associations both of whose ends were found, and those that list such associations.
    fn associations_within(&mut self) -> Result<(), SearchError> {
        let mut ends: Vec<EntryUuid> = self.objects.iter().filter_map(|object| object.id().uuid()).collect();
        while !ends.is_empty() {
            let mut next = Vec::new();
            for id in ends {
                for association in self.links_at(End::Target, id)? {
                    if self.ids.contains(&association.source) && !self.ids.contains(&association.id) {
                        next.extend(association.id.uuid());
                        self.add(Object::Association(Box::new(association)))?;
                    }
                }
            }
            ends = next;
        }
        Ok(())
    }

    /// The objects of a selection. Deprecated ones too: whoever names an id gets it.
    fn select(&mut self, kind: Kind, selector: &Selector) -> Result<Vec<EntryUuid>, SearchError> {
        let rows = self.selected(kind, selector)?;
        let ids = rows.iter().filter_map(|row| row.object.id().uuid()).collect();
        for row in rows {
            self.add(row.object)?;
        }
        Ok(ids)
    }

    fn selected(&self, kind: Kind, selector: &Selector) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        match selector {
            // Who names an entryUUID means that version.
            Selector::Ids(ids) => {
                for id in uuids(ids) {
                    rows.extend(self.view.row(id)?.filter(|row| kind_of(&row.object) == Some(kind)));
                }
            }
            Selector::LogicalIds(ids) => {
                for id in uuids(ids) {
                    rows.extend(self.view.versions(id)?.into_iter().filter(|row| kind_of(&row.object) == Some(kind)));
                }
                self.keep_wanted_versions(&mut rows);
            }
            Selector::UniqueIds(ids) => {
                for id in ids {
                    rows.extend(self.view.of_unique_id(kind, id)?);
                }
                self.keep_wanted_versions(&mut rows);
            }
        }
        Ok(rows)
    }

    fn links(&self, ids: &[EntryUuid]) -> Result<Vec<Association>, StoreError> {
        let mut links = Vec::new();
        for id in ids {
            for end in [End::Source, End::Target] {
                links.extend(self.links_at(end, *id)?);
            }
        }
        Ok(links)
    }

    fn associations_of(&mut self, ids: &[EntryUuid], wanted: impl Fn(&Association) -> bool) -> Result<(), SearchError> {
        for association in self.links(ids)?.into_iter().filter(wanted) {
            self.add(Object::Association(Box::new(association)))?;
        }
        Ok(())
    }

    /// GetSubmissionSets: the sets and the memberships.
    fn sets_that_hold(&mut self, ids: &[EntryUuid]) -> Result<(), SearchError> {
        for id in ids {
            for (association, holder) in self.holders(*id)? {
                if matches!(holder, Object::SubmissionSet(_)) {
                    self.add(holder)?;
                    self.add(Object::Association(Box::new(association)))?;
                }
            }
        }
        Ok(())
    }

    fn folders_that_hold(&mut self, selector: &Selector) -> Result<(), SearchError> {
        let documents = self.selected(Kind::Document, selector)?;
        for id in documents.iter().filter_map(|row| row.object.id().uuid()) {
            for (_, holder) in self.holders(id)? {
                if matches!(holder, Object::Folder(_)) {
                    self.add(holder)?;
                }
            }
        }
        Ok(())
    }

    fn holders(&self, id: EntryUuid) -> Result<Vec<(Association, Object)>, StoreError> {
        let mut holders = Vec::new();
        for association in self.links_at(End::Target, id)? {
            if association.kind == AssociationKind::HasMember
                && let Some(source) = association.source.uuid()
                && let Some(row) = self.view.row(source)?
            {
                holders.push((association, row.object));
            }
        }
        Ok(holders)
    }

    /// The members of sets or folders that pass the filter, and what connects them.
    fn contents(&mut self, holders: &[EntryUuid], filter: &ContentFilter) -> Result<(), SearchError> {
        for holder in holders {
            for association in self.links_at(End::Source, *holder)? {
                // Submissions that change the status of an object do not hold it.
                let Some(member) = association.target.uuid().filter(|_| association.kind == AssociationKind::HasMember)
                else {
                    continue;
                };
                match self.view.row(member)?.map(|row| row.object) {
                    Some(Object::Document(entry)) if filter.matches(&entry) => self.add(Object::Document(entry))?,
                    Some(Object::Folder(folder)) => self.add(Object::Folder(folder))?,
                    _ => {}
                }
            }
        }
        self.associations_within()
    }

    /// GetRelatedDocuments: nothing if there is no association of the types; else the document, those at the other
    /// ends that are of a wanted kind, and the associations.
    fn related(
        &mut self,
        document: &Selector,
        types: &[AssociationKind],
        kinds: &[DocumentKind],
    ) -> Result<(), SearchError> {
        for row in self.selected(Kind::Document, document)? {
            let Some(id) = row.object.id().uuid() else { continue };
            let mut is_related = false;
            for association in self.links(&[id])?.into_iter().filter(|link| types.contains(&link.kind)) {
                let other =
                    if association.source.uuid() == Some(id) { &association.target } else { &association.source };
                let other = other.uuid().map_or(Ok(None), |uuid| self.view.row(uuid))?;
                let Some(Row { object: Object::Document(entry), .. }) = other else { continue };
                if wants_kind(kinds, entry.kind) {
                    is_related = true;
                    self.add(Object::Document(entry))?;
                    self.add(Object::Association(Box::new(association)))?;
                }
            }
            if is_related {
                self.add(row.object)?;
            }
        }
        Ok(())
    }
}

/// Ids that are no UUIDs are nobody's here.
fn uuids(ids: &[ObjectId]) -> Vec<EntryUuid> {
    ids.iter().filter_map(ObjectId::uuid).collect()
}
