//! The documents kept here: searched by ITI-18 and 38, opened by ITI-43 and 39.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::retrieve::DocumentId;
use super::stored_query::{Refusal, Request, Response, ReturnType};
use super::{external, on_demand};
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::ebxml::{ErrorCode, RegistryError, codes};
use crate::gateway::Gateway;
use crate::id::{DocumentUniqueId, HomeCommunityId, PatientId, RepositoryId, TraceId, Transaction as Iti};
use crate::metadata::DocumentKind;
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::routing::package::Attachments;
use crate::storage::documents::{Scope, SearchError, of_one_patient};
use crate::storage::engine::StoreError;
use crate::storage::files::FileError;
use crate::storage::identities::Resolution;

/// `wsa:Action` of ITI-18.
pub const QUERY_ACTION: &str = "urn:ihe:iti:2007:RegistryStoredQuery";
/// `wsa:Action` of its answer.
pub const QUERY_ACTION_RESPONSE: &str = "urn:ihe:iti:2007:RegistryStoredQueryResponse";

/// `wsa:Action` of ITI-51.
pub const MULTI_PATIENT_ACTION: &str = "urn:ihe:iti:2009:MultiPatientStoredQuery";

/// ITI-18, as a Document Registry answers it: from what is registered here. A home community in the query is ignored
/// (ITI TF-2: 3.18.4.1.2.3.8).
pub struct RegistryStoredQuery;

impl Transaction for RegistryStoredQuery {
    type Wire = Soap;
    const ID: Iti = Iti::Iti18;
    type Request = Request;
    type Response = Response;
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Request, Failure<Refusal>> {
        Request::decode(message.envelope.body).and_then(Request::of_one_patient).map_err(Failure::Refused)
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Request>>,
        _extras: Attachments,
    ) -> Result<Response, Refusal> {
        Ok(external::search(&gateway, &call, call.permitted.request()).await)
    }

    fn audit(request: &Request, outcome: &Result<Response, Refusal>) -> Vec<Part> {
        query_parts(Iti::Iti18, request, outcome)
    }

    fn encode((): (), outcome: Result<Response, Refusal>, trace: TraceId) -> soap::Answer {
        answer(QUERY_ACTION_RESPONSE, outcome.unwrap_or_else(|refusal| refused(&refusal)), trace)
    }
}

/// ITI-51, as a Document Registry answers it: for several patients, or for everybody with certain codes.
pub struct MultiPatientStoredQuery;

impl Transaction for MultiPatientStoredQuery {
    type Wire = Soap;
    const ID: Iti = Iti::Iti51;
    type Request = Request;
    type Response = Response;
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Request, Failure<Refusal>> {
        Request::decode(message.envelope.body).and_then(Request::of_several_patients).map_err(Failure::Refused)
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Request>>,
        _extras: Attachments,
    ) -> Result<Response, Refusal> {
        Ok(search(&gateway, call.permitted.request(), call.trace))
    }

    fn audit(request: &Request, outcome: &Result<Response, Refusal>) -> Vec<Part> {
        query_parts(Iti::Iti51, request, outcome)
    }

    fn encode((): (), outcome: Result<Response, Refusal>, trace: TraceId) -> soap::Answer {
        let response = outcome.unwrap_or_else(|refusal| refused(&refusal));
        answer("urn:ihe:iti:2009:MultiPatientStoredQueryResponse", response, trace)
    }
}

/// The most objects of an answer.
const MOST: usize = 10_000;

/// Answers a stored query from the registry here.
///
/// A patient is all the identifiers that a merge gave them: a query by the survivor brings the documents of the whole
/// chain, one by a subsumed identifier brings none (ITI TF-2: 3.8.4.2.3).
pub fn search(gateway: &Gateway, request: &Request, trace: TraceId) -> Response {
    let mut queries = Vec::new();
    let multi_patient = request.query.is_multi_patient();
    match request.query.patients() {
        [] => queries.push(request.query.clone()),
        patients => {
            let mut ids = Vec::new();
            for patient in patients {
                match chain(gateway, patient) {
                    Ok(all) => ids.extend(all),
                    Err(error) => return failed(&SearchError::Store(error), trace),
                }
            }
            match multi_patient {
                // Without a patient the query would be for everybody.
                true if ids.is_empty() => {}
                true => queries.push(request.query.clone().for_patients(ids)),
                false => queries.extend(ids.iter().map(|id| request.query.clone().for_patient(id))),
            }
        }
    }
    let mut scope = Scope { all_versions: request.metadata_level == Some(2), ..Scope::default() };
    if !request.association_statuses.is_empty() {
        scope.associations.clone_from(&request.association_statuses);
    }
    let mut objects = Vec::new();
    for query in queries {
        let one_patient = request.return_type == ReturnType::LeafClass && !multi_patient;
        let found = gateway.documents.search_in(&gateway.tenant, &query, &scope, MOST);
        match if one_patient { found.and_then(of_one_patient) } else { found } {
            Ok(found) => objects.extend(found),
            Err(error) => return failed(&error, trace),
        }
    }
    if request.return_type == ReturnType::ObjectRef {
        objects = objects.into_iter().map(super::stored_query::Object::into_reference).collect();
    }
    Response::of(objects)
}

/// The identifiers under which a patient's documents may be: the one asked for, if it is in use, and those that were
/// merged into it. One that the cross-reference does not know is asked for as it is: documents may come from a source
/// that feeds no patients.
fn chain(gateway: &Gateway, patient: &PatientId) -> Result<Vec<PatientId>, StoreError> {
    Ok(match gateway.identities.resolve(&gateway.tenant, patient)? {
        Resolution::Active(person) => person.chain(patient),
        Resolution::Replaced { .. } => Vec::new(),
        Resolution::Unknown => vec![patient.clone()],
    })
}

fn failed(error: &SearchError, trace: TraceId) -> Response {
    if let SearchError::Store(cause) = error {
        tracing::error!(%cause, %trace, "the document registry could not be read");
    }
    Response::failure(RegistryError::new(error.code(), error.to_string()))
}

/// The answer to a query that could not be understood.
pub fn refused(refusal: &Refusal) -> Response {
    Response::failure(RegistryError::new(refusal.code(), refusal.to_string()))
}

/// The SOAP answer of a stored query, under the response action of its transaction.
pub fn answer(action: &'static str, mut response: Response, trace: TraceId) -> soap::Answer {
    name_trace(&mut response.errors, trace);
    soap::Answer { action, headers: String::new(), body: response.encode(), mtom: false, documents: Vec::new() }
}

/// Names the exchange in every error, so that a partner's question can be looked up.
pub fn name_trace(errors: &mut [RegistryError], trace: TraceId) {
    for error in errors {
        error.context = format!("{} (trace {trace})", error.context);
    }
}

/// The parts of the audit record of a stored query (ITI TF-2: 3.18.5, 3.38.5). A query for several patients is recorded
/// once for each (3.51.5).
pub fn query_parts(transaction: Iti, request: &Request, outcome: &Result<Response, Refusal>) -> Vec<Part> {
    match request.query.patients() {
        patients @ [_, _, ..] if request.query.is_multi_patient() => {
            patients.chunks(1).flat_map(|one| parts_about(one, transaction, request, outcome)).collect()
        }
        patients => parts_about(patients, transaction, request, outcome),
    }
}

fn parts_about(
    patients: &[PatientId],
    transaction: Iti,
    request: &Request,
    outcome: &Result<Response, Refusal>,
) -> Vec<Part> {
    let objects = || {
        let query = Object::query(transaction, Some(request.query.id()), request.encode().into_bytes());
        let patients = patients.iter().map(Object::patient);
        patients.chain([query.stored_query_details(request.home.as_ref())]).collect::<Vec<_>>()
    };
    let response = match outcome {
        Ok(response) => response,
        Err(refusal) => return vec![Part::failure(objects(), refusal)],
    };
    let errors: Vec<&RegistryError> = response.errors.iter().filter(|error| error.is_error()).collect();
    // Partial success is one success and one failure (ITI TF-2: 3.20.7).
    let mut parts = Vec::new();
    if errors.is_empty() || !response.objects.is_empty() {
        parts.push(Part::success(objects()));
    }
    if !errors.is_empty() {
        parts.push(Part::failure(objects(), codes(errors)));
    }
    parts
}

/// A document that is about to be sent.
pub struct Opened {
    /// As the metadata says.
    pub media_type: String,
    /// Its bytes; a damaged document ends with an error instead of its last piece.
    pub content: BoxStream<'static, io::Result<Bytes>>,
    /// Of a document that was made on demand: its own id, and where it was kept.
    pub made: Option<(DocumentUniqueId, Option<RepositoryId>)>,
}

/// Opens a document that is kept here, of one community or of any that is served here.
pub async fn open(
    gateway: &Gateway,
    wanted: &DocumentId,
    home: Option<&HomeCommunityId>,
) -> Result<Opened, (ErrorCode, &'static str)> {
    let bare = own_repository(gateway, wanted, home)?;
    let stored = gateway.documents.document(&gateway.tenant, &wanted.document).map_err(|error| {
        tracing::error!(%error, "the document registry could not be read");
        (ErrorCode::XdsRepositoryError, "the document registry could not be read")
    })?;
    let stored = stored.filter(|stored| stored.entry.repository.as_ref() == Some(&bare));
    let stored = stored.ok_or((ErrorCode::XdsDocumentUniqueIdError, "there is no such document"))?;
    let media_type = stored.entry.mime_type.to_string();
    if stored.entry.kind == DocumentKind::OnDemand {
        let made = on_demand::make(gateway, &stored.entry).await?;
        let content = match made.content {
            on_demand::Content::Kept(key) => kept(gateway, &key).await?,
            on_demand::Content::Passing(document) => {
                let content = document.read().await.map_err(|error| unreadable(&error))?;
                whole(content).boxed()
            }
        };
        return Ok(Opened { media_type, content, made: Some((made.id, made.repository)) });
    }
    let key = stored.content.ok_or((ErrorCode::XdsDocumentUniqueIdError, "the document was removed"))?;
    Ok(Opened { media_type, content: kept(gateway, &key).await?, made: None })
}

async fn kept(
    gateway: &Gateway,
    key: &str,
) -> Result<BoxStream<'static, io::Result<Bytes>>, (ErrorCode, &'static str)> {
    let (_, content) = gateway.files.read(&gateway.tenant, key).await.map_err(|error| unreadable(&error))?;
    Ok(whole(content).boxed())
}

fn unreadable(error: &FileError) -> (ErrorCode, &'static str) {
    tracing::error!(%error, "a document's bytes could not be opened");
    (ErrorCode::XdsRepositoryError, "the document's bytes could not be read")
}

/// The repository that a document is asked of, if it is one of ours, for that community or for any.
pub(super) fn own_repository(
    gateway: &Gateway,
    wanted: &DocumentId,
    home: Option<&HomeCommunityId>,
) -> Result<RepositoryId, (ErrorCode, &'static str)> {
    // Partners add and drop `urn:oid:`.
    let repository = wanted.repository.as_str();
    let bare = repository.strip_prefix("urn:oid:").unwrap_or(repository);
    let bare = RepositoryId::new(bare).map_err(|_| UNKNOWN_REPOSITORY)?;
    match gateway.community.home_of_repository(&bare) {
        Some(ours) if home.is_none_or(|home| home == ours) => Ok(bare),
        Some(_) | None => Err(UNKNOWN_REPOSITORY),
    }
}

const UNKNOWN_REPOSITORY: (ErrorCode, &str) =
    (ErrorCode::XdsUnknownRepositoryId, "the repository is not one that is served here for that community");

fn whole<E: std::error::Error + Send + Sync + 'static>(
    content: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    content.map(|piece| piece.map_err(io::Error::other))
}
