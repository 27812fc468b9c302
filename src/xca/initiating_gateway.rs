//! XCA Initiating Gateway: asks the communities that know a patient for their documents, and brings them home
//! (ITI TF-2: 3.38.4.1.2, 3.39.4.1.2).

mod consumers;

use std::sync::Arc;

pub use consumers::{FederatedQuery, FederatedRetrieve, Others, Share, others};

use super::query::{Query, Request as QueryRequest, Response as QueryResponse, completed};
use super::responding_gateway::{QUERY_ACTION, RETRIEVE_ACTION};
use super::retrieve::{
    Content, DocumentId, Request as RetrieveRequest, Response as RetrieveResponse, RetrievedDocument,
};
use crate::atna::{Object, Outcome};
use crate::directory::quirks::Mtom;
use crate::directory::{Partner, Quirks, ServiceUrl};
use crate::ebxml::{ErrorCode, RegistryError, Severity, Status};
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
use crate::xds::retrieval;

/// A community that knows the patient, and the partner through which it is reached.
#[derive(Clone, Debug)]
pub struct Target {
    /// The community.
    pub home: HomeCommunityId,
    /// What it calls the patient; none when the query goes to it as it came.
    pub patient_id: Option<PatientId>,
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

/// What one community is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who.
    pub target: Target,
    /// What.
    pub request: QueryRequest,
}

impl Asked for Question {
    fn partner(&self) -> &Arc<Partner> {
        &self.target.partner
    }
}

/// Asks communities for the documents of a patient: stable and on-demand, approved.
pub async fn query(
    gateway: &Arc<Gateway>,
    errands: &Errands,
    targets: Vec<Target>,
) -> Result<Vec<Leg<Target, Listed>>, Denied> {
    let now = gateway.clock.now();
    let questions = targets.into_iter().map(|target| Question { request: find_documents(&target, now), target });
    let legs = ask_all(gateway, errands, questions.collect()).await?;
    let settled = legs.into_iter().map(|leg| Leg {
        partner: leg.partner.target,
        state: match leg.state {
            State::Answered(response) => judge(response),
            other => other.map(|_| Listed { documents: Vec::new(), notes: Vec::new() }),
        },
        took: leg.took,
    });
    Ok(settled.collect())
}

/// Asks each community its own question. Answers are completed with the community that gave them; each part is audited.
pub async fn ask_all(
    gateway: &Arc<Gateway>,
    errands: &Errands,
    questions: Vec<Question>,
) -> Result<Vec<Leg<Question, QueryResponse>>, Denied> {
    let legs = errands
        .fan_out(gateway, Iti::Iti38, questions, |question, url, errand| {
            let (gateway, question) = (gateway.clone(), question.clone());
            async move { ask(&gateway, &question, &url, errand).await }
        })
        .await;
    for leg in &legs {
        let Question { target, request } = &leg.partner;
        let query = Object::query(Iti::Iti38, Some(request.query.id()), request.encode().into_bytes());
        let patients = request.query.patients().iter().map(Object::patient);
        let objects = patients.chain([query.stored_query_details(Some(&target.home))]).collect();
        let mut told = Told { objects, ..Told::of(&leg.state) };
        if let State::Answered(response) = &leg.state
            && !response.errors.is_empty()
        {
            let failed = response.status() == Status::Failure;
            told.outcome = if failed { Outcome::SeriousFailure } else { Outcome::MinorFailure };
            told.reason = Some(format!("answered with {} errors or warnings", response.errors.len()));
        }
        errands.record(gateway, Iti::Iti38, &target.partner, told).await?;
    }
    Ok(legs)
}

fn find_documents(target: &Target, now: Timestamp) -> QueryRequest {
    let find = FindDocuments {
        statuses: vec![Availability::Approved],
        contents: ContentFilter {
            kinds: vec![DocumentKind::Stable, DocumentKind::OnDemand],
            ..ContentFilter::default()
        },
        ..FindDocuments::default()
    };
    question(target, &QueryRequest::new(Query::FindDocuments(find)), now)
}

/// A query as one community is asked it: for the patient id that is valid there, and within a time range where the
/// partner wants one.
pub fn question(target: &Target, request: &QueryRequest, now: Timestamp) -> QueryRequest {
    let mut query = request.query.clone();
    if let Some(patient) = &target.patient_id {
        query = query.for_patient(patient);
    }
    if let (Query::FindDocuments(find), Some(days)) = (&mut query, target.partner.quirks.date_range_days)
        && find.service_start == TimeRange::default()
    {
        let from = now.minus(std::time::Duration::from_secs(u64::from(days) * 86_400));
        find.service_start = TimeRange { from: day(from, "000000"), to: day(now, "235959") };
    }
    QueryRequest {
        home: Some(target.home.clone()),
        target_communities: Vec::new(),
        query,
        return_type: request.return_type,
        metadata_level: request.metadata_level,
        association_statuses: request.association_statuses.clone(),
    }
}

fn day(at: Timestamp, time: &str) -> Option<Dtm> {
    format!("{}{time}", &at.to_dtm()[..8]).parse().ok()
}

async fn ask(gateway: &Gateway, question: &Question, url: &ServiceUrl, errand: Errand) -> State<QueryResponse> {
    let Question { target, request } = question;
    let letter = Letter {
        transaction: Iti::Iti38,
        action: QUERY_ACTION,
        body: request.encode(),
        headers: String::new(),
        mtom: false,
        documents: Vec::new(),
        patient: target.patient_id.clone(),
    };
    let return_type = request.return_type;
    let read =
        |body: crate::xml::Element<'_>| QueryResponse::decode(body, return_type).map_err(|error| error.to_string());
    match gateway.outgoing.send(&target.partner, url, letter, &errand, read).await {
        Ok((response, _)) => State::Answered(completed(response, &target.home)),
        Err(error) => error.state(),
    }
}

fn judge(response: QueryResponse) -> State<Listed> {
    let failed = response.status() == Status::Failure;
    let notes: Vec<String> = response.errors.iter().chain(&response.unreadable).map(in_words).collect();
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
    match &error.code {
        ErrorCode::Other(own) => format!("{kind} {}", quoted(&format!("{own}: {}", error.context))),
        code => format!("{kind} {}: {}", code.as_str(), quoted(&error.context)),
    }
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
    /// The partner's errors and warnings.
    pub errors: Vec<RegistryError>,
    /// Errors and warnings, the partner's and our own, in words.
    pub notes: Vec<String>,
}

/// What the metadata of a query answer promised, and the document that came is not.
pub fn contradiction(hash: Option<&str>, size: Option<u64>, stored: &Stored) -> Option<String> {
    let digests = stored.digests();
    if hash.is_some_and(|hash| !hash.eq_ignore_ascii_case(&digests.sha1)) {
        return Some("its bytes are not those that the metadata names by their hash".into());
    }
    let size = size.filter(|size| *size != digests.size)?;
    Some(format!("it has {} bytes where the metadata says {size}", digests.size))
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
    retrieve_by(Iti::Iti39, gateway, errands, batches).await
}

/// As [`retrieve`], from other communities (ITI-39) or from repositories of our own (ITI-43).
pub async fn retrieve_by(
    transaction: Iti,
    gateway: &Arc<Gateway>,
    errands: &Errands,
    batches: Vec<Batch>,
) -> Result<Vec<Leg<Batch, Brought>>, Denied> {
    let legs = errands
        .fan_out(gateway, transaction, batches, |batch, url, errand| {
            let (gateway, batch) = (gateway.clone(), batch.clone());
            async move { bring(transaction, &gateway, &batch, &url, errand).await }
        })
        .await;
    for leg in &legs {
        record(transaction, gateway, errands, leg).await?;
    }
    Ok(legs)
}

/// The state in which answers without a single document leave a partner's part: refused.
pub fn settled(leg: Leg<Batch, Brought>) -> Leg<Batch, Brought> {
    let state = match leg.state {
        State::Answered(brought) if brought.documents.is_empty() => State::Refused(brought.notes.join("; ")),
        other => other,
    };
    Leg { state, ..leg }
}

/// What came is one record, what did not another (ITI TF-2: 3.39.5).
async fn record(
    transaction: Iti,
    gateway: &Gateway,
    errands: &Errands,
    leg: &Leg<Batch, Brought>,
) -> Result<(), Denied> {
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
        errands.record(gateway, transaction, &leg.partner.partner, told).await?;
    }
    if !missing.is_empty() {
        let reason = match &leg.state {
            State::Answered(brought) if !brought.notes.is_empty() => brought.notes.join("; "),
            state => Told::of(state).reason.unwrap_or_else(|| "not in the answer".into()),
        };
        let told = Told { objects: missing, outcome: Outcome::SeriousFailure, reason: Some(reason) };
        errands.record(gateway, transaction, &leg.partner.partner, told).await?;
    }
    Ok(())
}

async fn bring(transaction: Iti, gateway: &Gateway, batch: &Batch, url: &ServiceUrl, errand: Errand) -> State<Brought> {
    let within = transaction == Iti::Iti43;
    let wanted = |id: &DocumentId| {
        let wanted = as_wanted(id, &batch.partner.quirks);
        // A repository knows of no communities (3.43.4.1.2).
        DocumentId { home: wanted.home.filter(|_| !within), ..wanted }
    };
    let asked = RetrieveRequest { documents: batch.documents.iter().map(wanted).collect() };
    let letter = Letter {
        transaction,
        action: if within { retrieval::ACTION } else { RETRIEVE_ACTION },
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
    let notes = response.errors.iter().map(in_words).collect();
    let mut brought = Brought { documents: Vec::new(), errors: response.errors, notes };
    if let Err(text) = store(gateway, batch, response.documents, attachments, &mut brought).await {
        brought.notes.push(text);
    }
    if brought.documents.is_empty() && brought.notes.is_empty() {
        brought.notes.push("the answer holds neither documents nor errors".into());
    }
    State::Answered(brought)
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
