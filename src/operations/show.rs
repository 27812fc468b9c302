//! One document of our repository: its metadata with what a clinical document says of itself, and a page to look at.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::OperationError;
use super::documents::{HEAD, record};
use super::fetch::{ending, file_name};
use crate::atna::{Object, Outcome};
use crate::cda::{self, Agreement, Header, Kind, check_required};
use crate::gateway::Gateway;
use crate::id::{Code, DocumentUniqueId, PatientId, Transaction as Iti};
use crate::metadata::DocumentEntry;
use crate::storage::documents::StoredDocument;
use crate::xds::registry;
use crate::xds::retrieve::DocumentId;

/// A document with everything that is known about it. Names a patient and staff, so it is printed for the person who
/// asked and never logged.
#[derive(Clone, Deserialize, Serialize)]
pub struct Shown {
    /// Attributes by their names in ITI TF-3: Table 4.2.3.2-1, in its order; those that are empty are left out.
    pub attributes: Vec<(String, String)>,
    /// What the document says of itself, if it is a clinical document.
    pub clinical: Option<Clinical>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shown({} attributes)", self.attributes.len())
    }
}

/// What a clinical document says of itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Clinical {
    /// Its kind, if its templates name one.
    pub kind: Option<String>,
    /// Whether it is about the patient of the metadata.
    pub patient: String,
    /// What the US Realm Header requires and it lacks, with the guide's numbers.
    pub missing: Vec<String>,
}

/// A document that was written for somebody to look at.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Viewed {
    /// Where it is.
    pub file: PathBuf,
    /// Why it is no page, if it is none.
    pub note: Option<String>,
}

/// Shows the metadata of one document, and what its header says. Of a long document only the beginning is read.
pub async fn show(gateway: &Arc<Gateway>, user: &str, document: &str) -> Result<Shown, OperationError> {
    let (id, stored) = find(gateway, document)?;
    let clinical = match &stored.content {
        Some(_) => describe(gateway, &stored.entry, &Begun::open(gateway, &id, &stored).await?.head)?,
        None => None,
    };
    recorded(gateway, user, &id, &stored).await?;
    Ok(Shown { attributes: attributes(&stored.entry), clinical })
}

/// Writes one document to a file that only its owner can read: a clinical document as a page without scripts, links or
/// style of its own, anything else as it is. `out` is a folder, or the name of a file that does not exist yet.
pub async fn view(gateway: &Arc<Gateway>, user: &str, document: &str, out: &Path) -> Result<Viewed, OperationError> {
    let (id, stored) = find(gateway, document)?;
    let begun = Begun::open(gateway, &id, &stored).await?;
    let kind = cda::sniff(&begun.head);
    let (content, ending, note) = match kind {
        Kind::Cda => {
            let limits = cda::Limits::default();
            let page = cda::view::html(&begun.whole(limits.document).await?, &limits).map_err(OperationError::new)?;
            (Begun { head: page.into_bytes(), rest: stream::empty().boxed() }, "html", None)
        }
        kind => {
            let text = format!("The document is {} and no clinical document, so it was written as it is.", kind.name());
            (begun, ending(&stored.entry.mime_type), Some(text))
        }
    };
    let file = if out.is_dir() { out.join(format!("{}.{ending}", file_name(&id))) } else { out.to_owned() };
    // Recorded first: what cannot be recorded is not shown.
    recorded(gateway, user, &id, &stored).await?;
    content.write(&file).await?;
    Ok(Viewed { file, note })
}

/// Records that a user looked at a document.
async fn recorded(
    gateway: &Gateway,
    user: &str,
    id: &DocumentUniqueId,
    stored: &StoredDocument,
) -> Result<(), OperationError> {
    let patient = stored.entry.patient_id.iter().map(Object::patient);
    let document = Object::document(id, stored.entry.repository.as_ref(), stored.entry.home.as_ref());
    record(gateway, Iti::Iti43, user, patient.chain([document]).collect(), Outcome::Success, None).await
}

fn find(gateway: &Gateway, document: &str) -> Result<(DocumentUniqueId, StoredDocument), OperationError> {
    let id = DocumentUniqueId::new(document).map_err(OperationError::new)?;
    let stored = gateway.documents.document(&gateway.tenant, &id).map_err(OperationError::new)?;
    let stored = stored.ok_or_else(|| OperationError::new("there is no such document here"))?;
    Ok((id, stored))
}

/// A document whose beginning is at hand, and the rest of it still to come. Once all has come, the bytes are those of the
/// hash, or it is an error.
struct Begun {
    head: Vec<u8>,
    rest: BoxStream<'static, io::Result<Bytes>>,
}

impl Begun {
    async fn open(gateway: &Gateway, id: &DocumentUniqueId, stored: &StoredDocument) -> Result<Self, OperationError> {
        let repository = stored.entry.repository.clone();
        let repository = repository.ok_or_else(|| OperationError::new("the entry names no repository"))?;
        let wanted = DocumentId { home: None, repository, document: id.clone() };
        let opened = registry::open(gateway, &wanted, None).await.map_err(|(_, text)| OperationError::new(text))?;
        let mut begun = Self { head: Vec::new(), rest: opened.content.fuse().boxed() };
        while begun.head.len() < HEAD
            && let Some(piece) = begun.rest.next().await
        {
            begun.head.extend_from_slice(&piece.map_err(OperationError::new)?);
        }
        Ok(begun)
    }

    /// All of it, if that is not too much.
    async fn whole(mut self, limit: usize) -> Result<Vec<u8>, OperationError> {
        while let Some(piece) = self.rest.next().await {
            let piece = piece.map_err(OperationError::new)?;
            if self.head.len() + piece.len() > limit {
                return Err(OperationError(format!("the document is longer than {limit} bytes, too long for a page")));
            }
            self.head.extend_from_slice(&piece);
        }
        Ok(self.head)
    }

    /// Writes it to a file of its own. What turns out to be damaged does not stay there.
    async fn write(self, path: &Path) -> Result<(), OperationError> {
        let about = |error: io::Error| OperationError(format!("{}: {error}", path.display()));
        let mut options = tokio::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path).await.map_err(about)?;
        let write = async {
            file.write_all(&self.head).await?;
            let mut rest = self.rest;
            while let Some(piece) = rest.next().await {
                file.write_all(&piece?).await?;
            }
            file.sync_all().await
        };
        if let Err(error) = write.await {
            tokio::fs::remove_file(path).await.map_err(about)?;
            return Err(about(error));
        }
        Ok(())
    }
}

/// What a clinical document says of itself; nothing if it is none.
fn describe(gateway: &Gateway, entry: &DocumentEntry, head: &[u8]) -> Result<Option<Clinical>, OperationError> {
    if cda::sniff(head) != Kind::Cda {
        return Ok(None);
    }
    let header = cda::header::read(head, &cda::Limits::default()).map_err(OperationError::new)?;
    clinical(gateway, entry, &header).map(Some)
}

fn clinical(gateway: &Gateway, entry: &DocumentEntry, header: &Header) -> Result<Clinical, OperationError> {
    let person = match &entry.patient_id {
        Some(id) => gateway.identities.resolve(&gateway.tenant, id).map_err(OperationError::new)?.active(),
        None => None,
    };
    let patient = match person {
        None => "the patient of the metadata is not known here".to_owned(),
        Some(person) => {
            let ids: Vec<PatientId> = person.ids().cloned().collect();
            let told = person.demographics(entry.patient_id.as_ref()).cloned().unwrap_or_default();
            match header.same_patient(&ids, &told) {
                Agreement::Same => "the document is about the patient of the metadata".to_owned(),
                Agreement::Unknown => "the document says too little of its patient to tell".to_owned(),
                Agreement::Different(fields) => format!("the document is about another patient: {fields:?} differ"),
            }
        }
    };
    Ok(Clinical {
        kind: header.document_type().map(|kind| kind.name().to_owned()),
        patient,
        missing: check_required(header).iter().map(|one| format!("{} (CONF:{})", one.path, one.conformance)).collect(),
    })
}

fn attributes(entry: &DocumentEntry) -> Vec<(String, String)> {
    let code = |code: &Option<Code>| code.as_ref().map(code_text);
    let codes = |codes: &[Code]| codes.iter().map(code_text).collect::<Vec<_>>().join(", ");
    let authors =
        entry.authors.iter().filter_map(|author| author.person.as_ref().map(|person| person.as_str().to_owned()));
    let all = [
        ("author", Some(authors.collect::<Vec<_>>().join(", "))),
        ("availabilityStatus", entry.availability.map(|status| format!("{status:?}"))),
        ("classCode", code(&entry.class_code)),
        ("comments", entry.comments.as_ref().map(ToString::to_string)),
        ("confidentialityCode", Some(codes(&entry.confidentiality))),
        ("creationTime", entry.creation_time.as_ref().map(|time| time.as_str().to_owned())),
        ("entryUUID", Some(entry.id.to_string())),
        ("eventCodeList", Some(codes(&entry.event_codes))),
        ("formatCode", code(&entry.format_code)),
        ("hash", entry.hash.as_ref().map(ToString::to_string)),
        ("healthcareFacilityTypeCode", code(&entry.facility_type)),
        ("languageCode", entry.language.as_ref().map(ToString::to_string)),
        ("mimeType", Some(entry.mime_type.to_string())),
        ("objectType", Some(format!("{:?}", entry.kind))),
        ("patientId", entry.patient_id.as_ref().map(PatientId::to_cx)),
        ("practiceSettingCode", code(&entry.practice_setting)),
        ("repositoryUniqueId", entry.repository.as_ref().map(ToString::to_string)),
        ("serviceStartTime", entry.service_start.as_ref().map(|time| time.as_str().to_owned())),
        ("serviceStopTime", entry.service_stop.as_ref().map(|time| time.as_str().to_owned())),
        ("size", entry.size.map(|size| size.to_string())),
        ("title", entry.title.as_ref().map(ToString::to_string)),
        ("typeCode", code(&entry.type_code)),
        ("uniqueId", Some(entry.unique_id.to_string())),
    ];
    let told =
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.filter(|text| !text.is_empty())?)));
    told.collect()
}

fn code_text(code: &Code) -> String {
    match (code.display.as_str(), code.scheme.as_str()) {
        ("", scheme) => format!("{} of {scheme}", code.code),
        (display, scheme) => format!("{display} ({} of {scheme})", code.code),
    }
}
