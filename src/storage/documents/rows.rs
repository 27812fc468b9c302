//! Keys and values of the registry's tables.

use serde::{Deserialize, Serialize};

use crate::id::{DocumentUniqueId, EntryUuid, PatientId, RepositoryId, Tenant, Timestamp};
use crate::metadata::{Association, Object, ObjectId};
use crate::storage::engine::{Definition, Read, ReadTable, StoreError, Write, table};
use crate::storage::seal::{Purpose, Sealer, row_prefix};

/// tenant, entryUUID -> sealed object
const OBJECTS: Definition = table("documents.objects");
/// tenant, patient, kind, time of registration, entryUUID -> nothing
const BY_PATIENT: Definition = table("documents.by_patient");
/// tenant, kind, uniqueId, entryUUID -> nothing
const BY_UNIQUE_ID: Definition = table("documents.by_unique_id");
/// tenant, key of a document's bytes, entryUUID -> nothing
const CONTENTS: Definition = table("documents.contents");
/// tenant, logicalID, entryUUID of a version that is not the first -> nothing
const VERSIONS: Definition = table("documents.versions");
/// tenant, uniqueId, key of a document's bytes -> repositoryUniqueId, of documents whose metadata was removed
const LEFT: Definition = table("documents.left");
/// tenant, end, entryUUID at that end, entryUUID of the association -> nothing
const LINKS: Definition = table("documents.links");

/// Objects that have a patient and a unique id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Kind {
    Document = 1,
    SubmissionSet = 2,
    Folder = 3,
}

/// The ends of an association.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum End {
    Source = 1,
    Target = 2,
}

/// A row of the objects' table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) object: Object,
    /// The key of a document's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
    /// When it was registered.
    pub(super) registered: Timestamp,
    /// Whether a newer version took its place (ITI-57).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) superseded: bool,
}

impl Row {
    /// A row of an object that is the newest version of itself.
    pub(super) fn new(object: Object, content: Option<String>, registered: Timestamp) -> Self {
        Self { object, content, registered, superseded: false }
    }

    /// logicalID of an entry or a folder; the first version is found by its own id.
    pub(super) fn logical_id(&self) -> Option<EntryUuid> {
        match &self.object {
            Object::Document(entry) => entry.logical_id.as_ref().or(Some(&entry.id)),
            Object::Folder(folder) => folder.logical_id.as_ref().or(Some(&folder.id)),
            Object::SubmissionSet(_) | Object::Association(_) | Object::Reference(_) => None,
        }
        .and_then(ObjectId::uuid)
    }

    /// version; what was never given a number is the first.
    pub(super) fn version(&self) -> u32 {
        match &self.object {
            Object::Document(entry) => entry.version,
            Object::Folder(folder) => folder.version,
            Object::SubmissionSet(_) | Object::Association(_) | Object::Reference(_) => None,
        }
        .unwrap_or(1)
    }
}

/// Where rows come from: a consistent view, or a write that sees its own changes.
pub(super) trait Source {
    fn object(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    fn keys(&self, table: Definition, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError>;
}

/// A view with the objects' table at hand.
pub(super) struct Reading {
    read: Read,
    objects: ReadTable,
}

impl Reading {
    pub(super) fn new(read: Read) -> Result<Self, StoreError> {
        Ok(Self { objects: read.open_table(OBJECTS)?, read })
    }
}

impl Source for Reading {
    fn object(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.objects.get(key)?.map(|value| value.value().to_vec()))
    }

    fn keys(&self, table: Definition, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read.open_table(table)?.prefix(prefix)?.map(|row| Ok(row?.0.value().to_vec())).collect()
    }
}

/// Whether any entry names the bytes of a key, or named it when its metadata was removed.
pub(super) fn has_content(read: &Read, tenant: &Tenant, content: &str) -> Result<bool, StoreError> {
    let prefix = content_key(tenant, content);
    Ok(read.open_table(CONTENTS)?.prefix(&prefix)?.next().transpose()?.is_some())
}

fn content_key(tenant: &Tenant, content: &str) -> Vec<u8> {
    let mut key = row_prefix(tenant);
    key.extend_from_slice(content.as_bytes());
    key.push(0);
    key
}

impl Source for &Write<'_> {
    fn object(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.open_table(OBJECTS)?.get(key)?.map(|value| value.value().to_vec()))
    }

    fn keys(&self, table: Definition, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        self.open_table(table)?.prefix(prefix)?.map(|row| Ok(row?.0.value().to_vec())).collect()
    }
}

/// One tenant's rows.
pub(super) struct View<S> {
    source: S,
    sealer: Sealer,
    tenant: Tenant,
}

impl<S: Source> View<S> {
    pub(super) fn new(source: S, sealer: Sealer, tenant: Tenant) -> Self {
        Self { source, sealer, tenant }
    }

    pub(super) fn row(&self, id: EntryUuid) -> Result<Option<Row>, StoreError> {
        let Some(sealed) = self.source.object(&self.object_key(id))? else { return Ok(None) };
        let damaged = || StoreError::Damaged("documents.objects");
        let value = self.sealer.open(&self.tenant, Purpose::Metadata, &sealed).map_err(|_| damaged())?;
        serde_json::from_slice(&value).map(Some).map_err(|_| damaged())
    }

    /// The objects of a kind of a patient, or of all patients, in the order of registration.
    pub(super) fn of_patient(&self, kind: Kind, patient: Option<&PatientId>) -> Result<Vec<Row>, StoreError> {
        let mut rows = match patient {
            Some(patient) => self.rows(BY_PATIENT, &self.patient_key(patient, kind))?,
            None => {
                let mut prefix = row_prefix(&self.tenant);
                prefix.push(kind as u8);
                self.rows(BY_UNIQUE_ID, &prefix)?
            }
        };
        if patient.is_none() {
            rows.sort_by_key(|row| row.registered);
        }
        Ok(rows)
    }

    /// The objects of a kind that have a unique id.
    pub(super) fn of_unique_id(&self, kind: Kind, unique_id: &DocumentUniqueId) -> Result<Vec<Row>, StoreError> {
        self.rows(BY_UNIQUE_ID, &self.unique_key(kind, unique_id))
    }

    /// All versions of a logical object, in the order of their numbers.
    pub(super) fn versions(&self, logical_id: EntryUuid) -> Result<Vec<Row>, StoreError> {
        let mut rows = self.rows(VERSIONS, &self.version_key(logical_id))?;
        rows.extend(self.row(logical_id)?.filter(|row| row.logical_id() == Some(logical_id)));
        rows.sort_by_key(Row::version);
        Ok(rows)
    }

    /// The associations that have an object at an end.
    pub(super) fn links(&self, end: End, id: EntryUuid) -> Result<Vec<Association>, StoreError> {
        let rows = self.rows(LINKS, &self.link_key(end, id))?;
        Ok(rows
            .into_iter()
            .filter_map(|row| match row.object {
                Object::Association(association) => Some(*association),
                Object::Document(_) | Object::SubmissionSet(_) | Object::Folder(_) | Object::Reference(_) => None,
            })
            .collect())
    }

    /// Follows an index whose keys end with an entryUUID.
    fn rows(&self, table: Definition, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        for key in self.source.keys(table, prefix)? {
            let id = key.last_chunk::<16>().copied().ok_or(StoreError::Damaged("an index of documents"))?;
            rows.extend(self.row(EntryUuid::from_bytes(id))?);
        }
        Ok(rows)
    }

    fn object_key(&self, id: EntryUuid) -> Vec<u8> {
        let mut key = row_prefix(&self.tenant);
        key.extend_from_slice(id.as_bytes());
        key
    }

    fn patient_key(&self, patient: &PatientId, kind: Kind) -> Vec<u8> {
        let mut key = row_prefix(&self.tenant);
        self.push_text(&mut key, &patient.to_cx());
        key.push(kind as u8);
        key
    }

    fn unique_key(&self, kind: Kind, unique_id: &DocumentUniqueId) -> Vec<u8> {
        let mut key = row_prefix(&self.tenant);
        key.push(kind as u8);
        self.push_text(&mut key, unique_id.bare());
        key
    }

    fn version_key(&self, logical_id: EntryUuid) -> Vec<u8> {
        let mut key = row_prefix(&self.tenant);
        key.extend_from_slice(logical_id.as_bytes());
        key
    }

    fn left_key(&self, unique_id: &DocumentUniqueId) -> Vec<u8> {
        let mut key = row_prefix(&self.tenant);
        self.push_text(&mut key, unique_id.bare());
        key
    }

    fn link_key(&self, end: End, id: EntryUuid) -> Vec<u8> {
        let mut key = row_prefix(&self.tenant);
        key.push(end as u8);
        key.extend_from_slice(id.as_bytes());
        key
    }

    /// Text with its length before it, so that no text is the beginning of another.
    fn push_text(&self, key: &mut Vec<u8>, text: &str) {
        let blind = self.sealer.blind(&self.tenant, Purpose::Metadata, text.as_bytes());
        key.extend_from_slice(&u32::try_from(blind.len()).unwrap_or(u32::MAX).to_be_bytes());
        key.extend_from_slice(&blind);
    }
}

impl View<&Write<'_>> {
    /// Puts a row in place of the one with its id, if there is one.
    pub(super) fn put(&self, row: &Row) -> Result<(), StoreError> {
        let id = uuid(row)?;
        let value = serde_json::to_vec(row).map_err(|_| StoreError::Damaged("documents.objects"))?;
        let sealed = self.sealer.seal(&self.tenant, Purpose::Metadata, &value);
        self.source.open_table(OBJECTS)?.insert(&self.object_key(id), &sealed)?;
        Ok(())
    }

    /// Puts a new row and all that finds it.
    pub(super) fn add(&self, row: &Row) -> Result<(), StoreError> {
        self.put(row)?;
        let id = uuid(row)?;
        self.indexes(row)?.into_iter().try_for_each(|(table, key)| self.index(table, key, id))
    }

    /// Removes a row and all that finds it. The bytes of a document stay known until they are removed themselves.
    pub(super) fn remove(&self, row: &Row) -> Result<(), StoreError> {
        let id = uuid(row)?;
        if let (Object::Document(entry), Some(content)) = (&row.object, &row.content)
            && let Some(repository) = &entry.repository
        {
            let mut key = self.left_key(&entry.unique_id);
            key.extend_from_slice(content.as_bytes());
            self.source.open_table(LEFT)?.insert(&key, repository.as_str().as_bytes())?;
            self.index(CONTENTS, content_key(&self.tenant, content), in_place_of_entries(&entry.unique_id))?;
        }
        for (table, mut key) in self.indexes(row)? {
            key.extend_from_slice(id.as_bytes());
            self.source.open_table(table)?.remove(&key)?;
        }
        self.source.open_table(OBJECTS)?.remove(&self.object_key(id))?;
        Ok(())
    }

    /// Takes the bytes of a document away from all that names them. Returns their keys.
    pub(super) fn forget_content(
        &self,
        unique_id: &DocumentUniqueId,
        repository: &RepositoryId,
    ) -> Result<Vec<String>, StoreError> {
        let mut forgotten = Vec::new();
        for mut row in self.of_unique_id(Kind::Document, unique_id)? {
            let is_there = matches!(&row.object, Object::Document(it) if it.repository.as_ref() == Some(repository));
            if let Some(content) = row.content.take().filter(|_| is_there) {
                let mut key = content_key(&self.tenant, &content);
                key.extend_from_slice(uuid(&row)?.as_bytes());
                self.source.open_table(CONTENTS)?.remove(&key)?;
                self.put(&row)?;
                forgotten.push(content);
            }
        }
        let prefix = self.left_key(unique_id);
        for key in self.source.keys(LEFT, &prefix)? {
            let content = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            let mut left = self.source.open_table(LEFT)?;
            let is_there = left.get(&key)?.is_some_and(|value| value.value() == repository.as_str().as_bytes());
            if is_there {
                left.remove(&key)?;
                drop(left);
                let mut key = content_key(&self.tenant, &content);
                key.extend_from_slice(in_place_of_entries(unique_id).as_bytes());
                self.source.open_table(CONTENTS)?.remove(&key)?;
                forgotten.push(content);
            }
        }
        forgotten.sort_unstable();
        forgotten.dedup();
        Ok(forgotten)
    }

    /// The rows of indexes that lead to a row, without its id at their end.
    fn indexes(&self, row: &Row) -> Result<Vec<(Definition, Vec<u8>)>, StoreError> {
        let (kind, unique_id, patient, logical_id) = match &row.object {
            Object::Document(entry) => (Kind::Document, &entry.unique_id, &entry.patient_id, entry.logical_id.as_ref()),
            Object::SubmissionSet(set) => (Kind::SubmissionSet, &set.unique_id, &set.patient_id, None),
            Object::Folder(folder) => (Kind::Folder, &folder.unique_id, &folder.patient_id, folder.logical_id.as_ref()),
            Object::Association(association) => {
                let ends = [(End::Source, &association.source), (End::Target, &association.target)];
                let keys = ends.into_iter().filter_map(|(end, at)| Some((LINKS, self.link_key(end, at.uuid()?))));
                return Ok(keys.collect());
            }
            Object::Reference(_) => return Ok(Vec::new()),
        };
        let mut indexes = vec![(BY_UNIQUE_ID, self.unique_key(kind, unique_id))];
        indexes.extend(row.content.as_ref().map(|content| (CONTENTS, content_key(&self.tenant, content))));
        if let Some(patient) = patient {
            let mut key = self.patient_key(patient, kind);
            key.extend_from_slice(&row.registered.as_millis().to_be_bytes());
            indexes.push((BY_PATIENT, key));
        }
        // The first version is found by its own id.
        let first = uuid(row)?;
        if let Some(logical_id) = logical_id.and_then(ObjectId::uuid).filter(|logical_id| *logical_id != first) {
            indexes.push((VERSIONS, self.version_key(logical_id)));
        }
        Ok(indexes)
    }

    fn index(&self, table: Definition, mut key: Vec<u8>, id: EntryUuid) -> Result<(), StoreError> {
        key.extend_from_slice(id.as_bytes());
        self.source.open_table(table)?.insert(&key, &[])?;
        Ok(())
    }
}

/// Stands in the index of contents for the entries of a unique id that are no longer there.
fn in_place_of_entries(unique_id: &DocumentUniqueId) -> EntryUuid {
    derived(&[unique_id.bare().as_bytes()])
}

/// An id that follows from others: a write may run twice, and the second run must not differ from the first.
pub(super) fn derived(parts: &[&[u8]]) -> EntryUuid {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &parts.concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    EntryUuid::from_bytes(*uuid::Builder::from_custom_bytes(bytes).as_uuid().as_bytes())
}

/// What kind of object that has a patient and a unique id.
pub(super) fn kind_of(object: &Object) -> Option<Kind> {
    match object {
        Object::Document(_) => Some(Kind::Document),
        Object::SubmissionSet(_) => Some(Kind::SubmissionSet),
        Object::Folder(_) => Some(Kind::Folder),
        Object::Association(_) | Object::Reference(_) => None,
    }
}

fn uuid(row: &Row) -> Result<EntryUuid, StoreError> {
    row.object.id().uuid().ok_or(StoreError::Damaged("documents.objects"))
}
