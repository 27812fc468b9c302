//! Documents of our own community: taken in from files, and listed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use super::{OperationError, patient_id};
use crate::atna::{AccessPoint, Event, Exchange, Human, Object, Outcome, Party, Side};
use crate::cda::{self, Agreement, Header, Kind};
use crate::gateway::Gateway;
use crate::id::{Code, DocumentUniqueId, Oid, PatientId, TraceId, Transaction as Iti};
use crate::metadata::query::{ContentFilter, FindDocuments, Query};
use crate::metadata::{
    Association, AssociationKind, Author, Availability, DocumentEntry, DocumentKind, Membership, Object as Found,
    Submission, SubmissionSet, Xcn, Xon,
};
use crate::storage::files::Stored;
use crate::storage::identities::{Person, Resolution};
use crate::xds::repository::{keep, submission_objects};
use crate::xds::stored_query;

/// How much of a document is looked at for its kind and its header.
pub(super) const HEAD: usize = 1 << 20;

/// What an import came to.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Imported {
    /// What was taken in.
    pub documents: Vec<ImportedDocument>,
    /// What was not, and why.
    pub refused: Vec<(PathBuf, String)>,
}

/// A document that was taken in.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ImportedDocument {
    /// Where it came from.
    pub path: PathBuf,
    /// Its unique id.
    pub unique_id: String,
    /// What it is.
    pub title: String,
    /// Its media type.
    pub mime_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A document of our repository.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Listed {
    /// Its unique id.
    pub unique_id: String,
    /// Its title.
    pub title: String,
    /// Its media type.
    pub mime_type: String,
    /// When it was made.
    pub created: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Approved, or deprecated.
    pub status: String,
}

/// Takes files into the repository, one submission for each. A clinical document tells its own metadata, and must be
/// about the patient named.
pub async fn import(
    gateway: &Arc<Gateway>,
    user: &str,
    patient: &str,
    paths: &[PathBuf],
) -> Result<Imported, OperationError> {
    let id = patient_id(gateway, patient)?;
    let Resolution::Active(person) = gateway.identities.resolve(&gateway.tenant, &id).map_err(OperationError::new)?
    else {
        return Err(OperationError::new("the patient identifier is not known here, or was replaced"));
    };
    let mut imported = Imported::default();
    for path in files(paths)? {
        match take(gateway, &id, &person, &path).await {
            Ok((submission, document)) => {
                record(gateway, Iti::Iti41, user, submission_objects(&submission), Outcome::Success, None).await?;
                imported.documents.push(document);
            }
            Err(reason) => {
                let objects = vec![Object::patient(&id)];
                record(gateway, Iti::Iti41, user, objects, Outcome::SeriousFailure, Some(reason.clone())).await?;
                imported.refused.push((path, reason));
            }
        }
    }
    Ok(imported)
}

/// The files of paths and of the folders among them, in the order of their names.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, OperationError> {
    let mut files = Vec::new();
    for path in paths {
        let about = |error: std::io::Error| OperationError(format!("{}: {error}", path.display()));
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(about)?;
            let mut inside: Vec<PathBuf> =
                entries.flatten().map(|entry| entry.path()).filter(|p| p.is_file()).collect();
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

async fn take(
    gateway: &Gateway,
    id: &PatientId,
    person: &Person,
    path: &Path,
) -> Result<(Submission, ImportedDocument), String> {
    let (stored, kind, header) = read(gateway, id, person, path).await?;
    let submission = submission(gateway, id, path, kind, header.as_ref());
    let entry_id = submission.entries[0].id.clone();
    let digests = stored.digests().clone();
    let kept = keep(gateway, submission, vec![(entry_id, stored)]).await.map_err(|refused| {
        let reasons: Vec<String> = refused.0.iter().map(|e| format!("{}: {}", e.code.as_str(), e.context)).collect();
        reasons.join("; ")
    })?;
    let entry = &kept.entries[0];
    let document = ImportedDocument {
        path: path.to_owned(),
        unique_id: entry.unique_id.to_string(),
        title: entry.title.as_deref().unwrap_or_default().to_owned(),
        mime_type: entry.mime_type.to_string(),
        size: digests.size,
    };
    Ok((kept, document))
}

/// Streams a file into the store and finds out what it is. A clinical document must be about the patient.
pub(super) async fn read(
    gateway: &Gateway,
    id: &PatientId,
    person: &Person,
    path: &Path,
) -> Result<(Stored, Kind, Option<Header>), String> {
    let (stored, head) = upload(gateway, path).await.map_err(|error| error.to_string())?;
    let kind = cda::sniff(&head);
    if stored.digests().size == 0 {
        return Err("the file is empty".into());
    }
    let header = match kind {
        Kind::Cda => Some(cda::header::read(&head, &cda::Limits::default()).map_err(|error| error.to_string())?),
        _ => None,
    };
    if let Some(header) = &header {
        let ids: Vec<PatientId> = person.ids().cloned().collect();
        let told = person.demographics(Some(id)).cloned().unwrap_or_default();
        if let Agreement::Different(fields) = header.same_patient(&ids, &told) {
            return Err(format!("the document is about another patient: {fields:?} differ"));
        }
    }
    Ok((stored, kind, header))
}

/// Streams a file into the store, and keeps its beginning at hand.
async fn upload(gateway: &Gateway, path: &Path) -> Result<(Stored, Vec<u8>), Box<dyn std::error::Error + Send + Sync>> {
    let mut file = tokio::fs::File::open(path).await?;
    let mut upload = gateway.files.upload(&gateway.tenant).await?;
    let mut head = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut piece).await?;
        if count == 0 {
            return Ok((upload.finish().await?, head));
        }
        if upload.size() + count as u64 > gateway.limits.document {
            return Err(format!("the file is larger than {} bytes", gateway.limits.document).into());
        }
        if head.len() < HEAD {
            head.extend_from_slice(&piece[..count.min(HEAD - head.len())]);
        }
        upload.write(&piece[..count]).await?;
    }
}

fn submission(gateway: &Gateway, id: &PatientId, path: &Path, kind: Kind, header: Option<&Header>) -> Submission {
    let now = gateway.clock.now();
    let entry = entry(gateway, id, path, kind, header);
    let mut set = SubmissionSet::new("set", unique_id());
    set.patient_id = Some(id.clone());
    set.source_id = Some(gateway.community.home.oid().as_str().into());
    set.submission_time = now.to_dtm().parse().ok();
    set.content_type.clone_from(&entry.class_code);
    let mut member = Association::new("member", AssociationKind::HasMember, set.id.clone(), entry.id.clone());
    member.membership = Some(Membership::Original);
    Submission { set, entries: vec![entry], folders: Vec::new(), associations: vec![member] }
}

pub(super) fn entry(
    gateway: &Gateway,
    id: &PatientId,
    path: &Path,
    kind: Kind,
    header: Option<&Header>,
) -> DocumentEntry {
    let defaults = &gateway.import;
    let known = header.and_then(Header::unique_id);
    let mut entry =
        DocumentEntry::new("document", DocumentKind::Stable, known.unwrap_or_else(unique_id), kind.media_type());
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    entry.patient_id = Some(id.clone());
    entry.source_patient_id = crate::metadata::Cx::from_wire(&id.to_cx());
    entry.title = Some(header.and_then(|header| header.title.clone()).unwrap_or(name).into());
    let code = header.and_then(|header| header.code.clone());
    entry.type_code = Some(code.clone().unwrap_or_else(|| defaults.class_code.clone()));
    entry.class_code = Some(code.unwrap_or_else(|| defaults.class_code.clone()));
    entry.format_code = Some(header.and_then(Header::format_code).unwrap_or_else(|| {
        // IHE's code for a format that is known by its media type.
        Code::new("urn:ihe:iti:xds:2017:mimeTypeSufficient", "1.3.6.1.4.1.19376.1.2.3", "mimeType Sufficient")
    }));
    entry.confidentiality = vec![
        header.and_then(|header| header.confidentiality.clone()).unwrap_or_else(|| defaults.confidentiality.clone()),
    ];
    entry.facility_type = Some(defaults.facility_type.clone());
    entry.practice_setting = Some(defaults.practice_setting.clone());
    entry.language = Some(header.and_then(|h| h.language.clone()).unwrap_or_else(|| defaults.language.clone()));
    let now = gateway.clock.now().to_dtm().parse().ok();
    entry.creation_time = header.and_then(|header| header.effective_time.clone()).or(now);
    if let Some(service) = header.and_then(|header| header.service.as_ref().or(header.encounter.as_ref())) {
        entry.service_start.clone_from(&service.start);
        entry.service_stop.clone_from(&service.stop);
    }
    entry.authors = header.map(authors).unwrap_or_default();
    entry
}

fn authors(header: &Header) -> Vec<Author> {
    let author = |author: &cda::header::Author| {
        let institution = author.organization.as_ref().map(|organization| {
            let oid = organization.ids.first().and_then(|id| id.root.parse().ok());
            Xon::new(&organization.name, oid.as_ref())
        });
        Author {
            person: author.name.as_ref().map(|name| Xcn::new(None, name)),
            institutions: institution.into_iter().collect(),
            ..Author::default()
        }
    };
    header.authors.iter().map(author).filter(|a| a.person.is_some() || !a.institutions.is_empty()).collect()
}

/// A new OID under the arc of UUIDs (ITU-T X.667).
pub(super) fn unique_id() -> DocumentUniqueId {
    let oid: Oid = uuid::Uuid::new_v4().into();
    oid.into()
}

/// Lists the documents of one patient.
pub async fn list(gateway: &Arc<Gateway>, user: &str, patient: &str) -> Result<Vec<Listed>, OperationError> {
    let id = patient_id(gateway, patient)?;
    let query = Query::FindDocuments(FindDocuments {
        patients: vec![id.clone()],
        statuses: vec![Availability::Approved, Availability::Deprecated],
        contents: ContentFilter {
            kinds: vec![DocumentKind::Stable, DocumentKind::OnDemand],
            ..ContentFilter::default()
        },
        ..FindDocuments::default()
    });
    let found = gateway.documents.search(&gateway.tenant, &query, 10_000).map_err(OperationError::new)?;
    let stored_query = stored_query::Request::new(query);
    let asked = Object::query(Iti::Iti18, Some(stored_query.query.id()), stored_query.encode().into_bytes());
    let objects = vec![Object::patient(&id), asked];
    if matches!(gateway.identities.resolve(&gateway.tenant, &id).map_err(OperationError::new)?, Resolution::Unknown) {
        let reason = "the patient identifier is not known here";
        record(gateway, Iti::Iti18, user, objects, Outcome::SeriousFailure, Some(reason.to_owned())).await?;
        return Err(OperationError::new(reason));
    }
    record(gateway, Iti::Iti18, user, objects, Outcome::Success, None).await?;
    let listed = found.iter().filter_map(|object| match object {
        Found::Document(entry) => Some(Listed {
            unique_id: entry.unique_id.to_string(),
            title: entry.title.as_deref().unwrap_or_default().to_owned(),
            mime_type: entry.mime_type.to_string(),
            created: entry.creation_time.as_ref().map(|time| time.as_str().to_owned()),
            size: entry.size,
            status: entry.availability.map(|status| format!("{status:?}").to_lowercase()).unwrap_or_default(),
        }),
        _ => None,
    });
    Ok(listed.collect())
}

/// Records what a named user did at the command line, as the transaction that a system would have used for it.
pub(super) async fn record(
    gateway: &Gateway,
    transaction: Iti,
    user: &str,
    objects: Vec<Object>,
    outcome: Outcome,
    reason: Option<String>,
) -> Result<(), OperationError> {
    let here = AccessPoint::of_host(crate::pipeline::soap::host(&gateway.community.public_url));
    let exchange = Exchange {
        side: Side::Server,
        client: Party { user_id: "command line".into(), access_point: Some(here.clone()) },
        server: Party { user_id: gateway.community.public_url.clone(), access_point: Some(here) },
        humans: vec![Human { user_id: user.into(), ..Human::default() }],
        at: gateway.clock.now(),
        trace: TraceId::new(),
        message_id: None,
        tenant: gateway.tenant.clone(),
    };
    let mut event = Event::of(transaction, exchange);
    event.outcome = outcome;
    event.reason = reason;
    event.objects = objects;
    gateway
        .audit
        .record(event)
        .await
        .map(drop)
        .map_err(|_| OperationError::new("this cannot be recorded at the moment"))
}
