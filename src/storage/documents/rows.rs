//! Keys and values of the registry's tables.

use serde::{Deserialize, Serialize};

use crate::id::{DocumentUniqueId, EntryUuid, PatientId, Tenant, Timestamp};
use crate::metadata::{Association, Object};
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

/// Whether any entry names the bytes of a key.
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
        let (kind, unique_id, patient) = match &row.object {
            Object::Document(entry) => (Kind::Document, &entry.unique_id, &entry.patient_id),
            Object::SubmissionSet(set) => (Kind::SubmissionSet, &set.unique_id, &set.patient_id),
            Object::Folder(folder) => (Kind::Folder, &folder.unique_id, &folder.patient_id),
            Object::Association(association) => {
                for (end, at) in [(End::Source, &association.source), (End::Target, &association.target)] {
                    if let Some(at) = at.uuid() {
                        self.index(LINKS, self.link_key(end, at), id)?;
                    }
                }
                return Ok(());
            }
            Object::Reference(_) => return Ok(()),
        };
        self.index(BY_UNIQUE_ID, self.unique_key(kind, unique_id), id)?;
        if let Some(content) = &row.content {
            self.index(CONTENTS, content_key(&self.tenant, content), id)?;
        }
        if let Some(patient) = patient {
            let mut key = self.patient_key(patient, kind);
            key.extend_from_slice(&row.registered.as_millis().to_be_bytes());
            self.index(BY_PATIENT, key, id)?;
        }
        Ok(())
    }

    fn index(&self, table: Definition, mut key: Vec<u8>, id: EntryUuid) -> Result<(), StoreError> {
        key.extend_from_slice(id.as_bytes());
        self.source.open_table(table)?.insert(&key, &[])?;
        Ok(())
    }
}

fn uuid(row: &Row) -> Result<EntryUuid, StoreError> {
    row.object.id().uuid().ok_or(StoreError::Damaged("documents.objects"))
}
