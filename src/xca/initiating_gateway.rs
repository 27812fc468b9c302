//! XCA Initiating Gateway: asks the communities that know a patient for their documents, and brings them home
//! (ITI TF-2: 3.38.4.1.2, 3.39.4.1.2).

use std::sync::Arc;

use super::query::{Query, Request as QueryRequest, Response as QueryResponse, ReturnType, completed};
use super::responding_gateway::{QUERY_ACTION, RETRIEVE_ACTION};
use super::retrieve::{
    Content, DocumentId, Request as RetrieveRequest, Response as RetrieveResponse, RetrievedDocument,
};
use crate::atna::{Object, Outcome};
use crate::directory::quirks::Mtom;
use crate::directory::{Partner, Quirks, ServiceUrl};
use crate::ebxml::{RegistryError, Severity, Status};
use crate::gateway::Gateway;
use crate::id::{DocumentUniqueId, Dtm, HomeCommunityId, PatientId, RepositoryId, Timestamp, Transaction as Iti};
use crate::metadata::query::{ContentFilter, FindDocuments, TimeRange};
use crate::metadata::{Availability, DocumentEntry, DocumentKind};
use crate::pipeline::Denied;
use crate::pipeline::outgoing::{Asked, Errands, Told};
use crate::routing::call::{Errand, Letter};
use crate::routing::fan_out::{Leg, State, quoted};
use crate::routing::package::Attachments;
use crate::soap::mtom::content_id;
use crate::storage::files::Stored;

/// A community that knows the patient, and the partner through which it is reached.
#[derive(Clone, Debug)]
pub struct Target {
    /// The community.
    pub home: HomeCommunityId,
    /// What it calls the patient.
    pub patient_id: PatientId,
    /// Who is asked.
    pub partner: Arc<Partner>,
}

impl Asked for Target {
    fn partner(&self) -> &Arc<Partner> {
        &self.partner
    }
}

/// A community's list, with the errors that came with it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The documents, each with its home.
    pub documents: Vec<DocumentEntry>,
    /// Errors and warnings beside them, in words.
    pub notes: Vec<String>,
}

/// Asks communities for the documents of a patient: stable and on-demand, approved.
pub async fn query(
    gateway: &Arc<Gateway>,
    errands: &Errands,
    targets: Vec<Target>,
) -> Result<Vec<Leg<Target, Listed>>, Denied> {
    let legs = errands
        .fan_out(gateway, Iti::Iti38, targets, |target, url, errand| {
            let (gateway, target) = (gateway.clone(), target.clone());
            async move { ask(&gateway, &target, &url, errand).await }
        })
        .await;
    for leg in &legs {
        let request = find_documents(&leg.partner, gateway.clock.now());
        let query = Object::query(Iti::Iti38, Some(request.query.id()), request.encode().into_bytes());
        let objects =
            vec![Object::patient(&leg.partner.patient_id), query.stored_query_details(Some(&leg.partner.home))];
        let mut told = Told { objects, ..Told::of(&leg.state) };
        if let State::Answered(listed) = &leg.state
            && !listed.notes.is_empty()
        {
            told.outcome = Outcome::MinorFailure;
            told.reason = Some(format!("answered with {} errors or warnings", listed.notes.len()));
        }
        errands.record(gateway, Iti::Iti38, &leg.partner.partner, told).await?;
    }
    Ok(legs)
}

fn find_documents(target: &Target, now: Timestamp) -> QueryRequest {
    let service_start = match target.partner.quirks.date_range_days {
        Some(days) => TimeRange {
            from: day(now.minus(std::time::Duration::from_secs(u64::from(days) * 86_400)), "000000"),
            to: day(now, "235959"),
        },
        None => TimeRange::default(),
    };
    let find = FindDocuments {
        patients: vec![target.patient_id.clone()],
        statuses: vec![Availability::Approved],
        contents: ContentFilter {
            kinds: vec![DocumentKind::Stable, DocumentKind::OnDemand],
            ..ContentFilter::default()
        },
        service_start,
        ..FindDocuments::default()
    };
    QueryRequest {
        return_type: ReturnType::LeafClass,
        home: Some(target.home.clone()),
        ..QueryRequest::new(Query::FindDocuments(find))
    }
}

fn day(at: Timestamp, time: &str) -> Option<Dtm> {
    format!("{}{time}", &at.to_dtm()[..8]).parse().ok()
}

async fn ask(gateway: &Gateway, target: &Target, url: &ServiceUrl, errand: Errand) -> State<Listed> {
    let letter = Letter {
        transaction: Iti::Iti38,
        action: QUERY_ACTION,
        body: find_documents(target, gateway.clock.now()).encode(),
        headers: String::new(),
        mtom: false,
        documents: Vec::new(),
        patient: Some(target.patient_id.clone()),
    };
    let read = |body: crate::xml::Element<'_>| {
        QueryResponse::decode(body, ReturnType::LeafClass).map_err(|error| error.to_string())
    };
    match gateway.outgoing.send(&target.partner, url, letter, &errand, read).await {
        Ok((response, _)) => judge(target, response),
        Err(error) => error.state(),
    }
}

fn judge(target: &Target, response: QueryResponse) -> State<Listed> {
    let unreadable: Vec<String> = response.unreadable.iter().map(in_words).collect();
    let response = completed(response, &target.home);
    let failed = response.status() == Status::Failure;
    let mut notes: Vec<String> = response.errors.iter().map(in_words).collect();
    notes.extend(unreadable);
    if failed {
        return State::Refused(notes.join("; "));
    }
    let documents: Vec<DocumentEntry> = response.documents().cloned().collect();
    if documents.is_empty() && notes.is_empty() { State::Empty } else { State::Answered(Listed { documents, notes }) }
}

fn in_words(error: &RegistryError) -> String {
    let kind = match error.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    format!("{kind} {}: {}", error.code.as_str(), quoted(&error.context))
}

/// Documents to be brought from one partner in one request.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What is asked for.
    pub documents: Vec<DocumentId>,
    /// Who is asked.
    pub partner: Arc<Partner>,
}

impl Asked for Batch {
    fn partner(&self) -> &Arc<Partner> {
        &self.partner
    }
}

/// Documents that came, still out of sight: whoever drops one has never had it.
#[derive(Default)]
pub struct Brought {
    /// Each with what its message said of it.
    pub documents: Vec<(RetrievedDocument, Stored)>,
    /// Errors and warnings, in words.
    pub notes: Vec<String>,
}

/// Divides documents among requests: one partner at a time, no more at once than it takes.
pub fn batches(documents: Vec<(DocumentId, Arc<Partner>)>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (document, partner) in documents {
        let most = partner.quirks.documents_per_retrieve;
        let open = batches.iter_mut().rev().find(|batch| batch.partner.key == partner.key);
        match open.filter(|batch| batch.documents.len() < most) {
            Some(batch) => batch.documents.push(document),
            None => batches.push(Batch { documents: vec![document], partner }),
        }
    }
    batches
}

/// Brings documents home.
pub async fn retrieve(
    gateway: &Arc<Gateway>,
    errands: &Errands,
    batches: Vec<Batch>,
) -> Result<Vec<Leg<Batch, Brought>>, Denied> {
    let legs = errands
        .fan_out(gateway, Iti::Iti39, batches, |batch, url, errand| {
            let (gateway, batch) = (gateway.clone(), batch.clone());
            async move { bring(&gateway, &batch, &url, errand).await }
        })
        .await;
    for leg in &legs {
        record(gateway, errands, leg).await?;
    }
    Ok(legs)
}

/// What came is one record, what did not another (ITI TF-2: 3.39.5).
async fn record(gateway: &Gateway, errands: &Errands, leg: &Leg<Batch, Brought>) -> Result<(), Denied> {
    let object = |id: &DocumentId| Object::document(&id.document, Some(&id.repository), id.home.as_ref());
    let came: Vec<&DocumentId> = match &leg.state {
        State::Answered(brought) => brought.documents.iter().map(|(document, _)| &document.id).collect(),
        _ => Vec::new(),
    };
    let is_missing = |id: &&DocumentId| !came.iter().any(|other| other.document.bare() == id.document.bare());
    let missing: Vec<Object> = leg.partner.documents.iter().filter(is_missing).map(object).collect();
    if !came.is_empty() {
        let objects = came.iter().map(|id| object(id)).collect();
        let told = Told { objects, outcome: Outcome::Success, reason: None };
        errands.record(gateway, Iti::Iti39, &leg.partner.partner, told).await?;
    }
    if !missing.is_empty() {
        let reason = Told::of(&leg.state).reason.unwrap_or_else(|| "not in the answer".into());
        let told = Told { objects: missing, outcome: Outcome::SeriousFailure, reason: Some(reason) };
        errands.record(gateway, Iti::Iti39, &leg.partner.partner, told).await?;
    }
    Ok(())
}

async fn bring(gateway: &Gateway, batch: &Batch, url: &ServiceUrl, errand: Errand) -> State<Brought> {
    let asked =
        RetrieveRequest { documents: batch.documents.iter().map(|id| as_wanted(id, &batch.partner.quirks)).collect() };
    let letter = Letter {
        transaction: Iti::Iti39,
        action: RETRIEVE_ACTION,
        body: asked.encode(),
        headers: String::new(),
        mtom: batch.partner.quirks.mtom == Mtom::Always,
        documents: Vec::new(),
        patient: None,
    };
    let read =
        |body: crate::xml::Element<'_>| RetrieveResponse::decode(body, &asked).map_err(|error| error.to_string());
    let (response, attachments) = match gateway.outgoing.send(&batch.partner, url, letter, &errand, read).await {
        Ok(answer) => answer,
        Err(error) => return error.state(),
    };
    let mut brought = Brought { notes: response.errors.iter().map(in_words).collect(), ..Brought::default() };
    if let Err(text) = store(gateway, batch, response.documents, attachments, &mut brought).await {
        brought.notes.push(text);
    }
    match (brought.documents.is_empty(), brought.notes.is_empty()) {
        (true, true) => State::Refused("the answer holds neither documents nor errors".into()),
        (true, false) => State::Refused(brought.notes.join("; ")),
        (false, _) => State::Answered(brought),
    }
}

/// Puts the documents of an answer onto the disk: from the message, or from its attachments as they come.
async fn store(
    gateway: &Gateway,
    batch: &Batch,
    documents: Vec<RetrievedDocument>,
    mut attachments: Attachments,
    into: &mut Brought,
) -> Result<(), String> {
    let mut attached = Vec::new();
    for mut document in documents {
        // What was asked for is what the user knows the document by, whatever the partner made of the id.
        let known = batch.documents.iter().find(|id| id.document.bare() == document.id.document.bare());
        let Some(known) = known else {
            into.notes.push("a document that nobody asked for was left out".into());
            continue;
        };
        document.id = known.clone();
        match std::mem::replace(&mut document.content, Content::Inline(Vec::new())) {
            Content::Inline(bytes) => {
                let mut upload = gateway.files.upload(&gateway.tenant).await.map_err(|error| error.to_string())?;
                upload.write(&bytes).await.map_err(|error| error.to_string())?;
                into.documents.push((document, upload.finish().await.map_err(|error| error.to_string())?));
            }
            Content::Attached(cid) => attached.push((content_id(&cid), document)),
        }
    }
    while let Some(part) = attachments.next_part().await.map_err(|error| error.to_string())? {
        let Some(at) = attached.iter().position(|(cid, _)| *cid == part.content_id) else { continue };
        let (_, document) = attached.swap_remove(at);
        let mut upload = gateway.files.upload(&gateway.tenant).await.map_err(|error| error.to_string())?;
        while let Some(piece) = attachments.next_piece().await.map_err(|error| error.to_string())? {
            if upload.size() + piece.len() as u64 > gateway.limits.document {
                return Err(format!("a document is larger than {} bytes", gateway.limits.document));
            }
            upload.write(&piece).await.map_err(|error| error.to_string())?;
        }
        into.documents.push((document, upload.finish().await.map_err(|error| error.to_string())?));
    }
    if attached.is_empty() {
        Ok(())
    } else {
        Err(format!("the attachments of {} documents are not in the answer", attached.len()))
    }
}

/// A document's ids as the partner wants them: by default exactly as the query returned them.
fn as_wanted(id: &DocumentId, quirks: &Quirks) -> DocumentId {
    let mut wanted = id.clone();
    let bare = id.document.bare();
    let is_uuid = bare.len() == 36 && uuid::Uuid::try_parse(bare).is_ok();
    let document = if quirks.wrap_uuid_document_ids && is_uuid {
        DocumentUniqueId::new(&format!("urn:uuid:{bare}"))
    } else if quirks.strip_document_id_prefix {
        DocumentUniqueId::new(bare)
    } else {
        Ok(id.document.clone())
    };
    if let Ok(document) = document {
        wanted.document = document;
    }
    if quirks.strip_repository_id_prefix
        && let Some(stripped) = id.repository.as_str().strip_prefix("urn:oid:")
        && let Ok(repository) = RepositoryId::new(stripped)
    {
        wanted.repository = repository;
    }
    wanted
}
