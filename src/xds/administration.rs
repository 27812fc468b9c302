//! What a Document Administrator asks of the registry and the repository here: updates of metadata (ITI-57, ITI-92), their
//! removal (ITI-62), the removal of documents (ITI-86).

use std::sync::Arc;

use super::register::Request;
use super::registration::{answer, audit, check_codes, known};
use super::remove::{DocumentsRequest, DocumentsResponse, MetadataRequest};
use super::repository::Refused;
use crate::atna::Object as Touched;
use crate::authenticate::Caller;
use crate::ebxml::{ErrorCode, RegistryError, codes};
use crate::gateway::Gateway;
use crate::id::{PatientId, TraceId, Transaction as Iti};
use crate::metadata::query::{Query, Selector};
use crate::metadata::{DocumentEntry, Object, ObjectId, Rules, Submission};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::routing::package::Attachments;
use crate::storage::documents::Registration;

/// `wsa:Action` of ITI-57.
pub const UPDATE_ACTION: &str = "urn:ihe:iti:2010:UpdateDocumentSet";
/// `wsa:Action` of ITI-92.
pub const RESTRICTED_UPDATE_ACTION: &str = "urn:ihe:iti:2018:RestrictedUpdateDocumentSet";
/// `wsa:Action` of ITI-62, by its old name.
pub const REMOVE_METADATA_ACTION: &str = "urn:ihe:iti:2010:DeleteDocumentSet";
/// `wsa:Action` of ITI-86.
pub const REMOVE_DOCUMENTS_ACTION: &str = "urn:ihe:iti:2017:RemoveDocuments";

/// ITI-57 and, if so told, ITI-92, as a Document Registry answers them.
pub struct UpdateDocumentSet<const RESTRICTED: bool>;

impl<const RESTRICTED: bool> Transaction for UpdateDocumentSet<RESTRICTED> {
    type Wire = Soap;
    const ID: Iti = if RESTRICTED { Iti::Iti92 } else { Iti::Iti57 };
    type Request = Request;
    type Response = ();
    type Refusal = Refused;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(gateway: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Request, Failure<Refused>> {
        let rules = if RESTRICTED { Rules::RestrictedUpdate } else { Rules::Update };
        let request =
            Request::decode(message.envelope.body, rules).map_err(|refusal| Failure::Refused(refusal.into()))?;
        match &request.home {
            Some(home) if !gateway.community.serves(home) => {
                let text = "the home community of the update is not served here";
                Err(Failure::Refused(Refused(vec![RegistryError::new(ErrorCode::XdsUnknownCommunity, text)])))
            }
            _ => Ok(request),
        }
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Request>>, _extras: Attachments) -> Result<(), Refused> {
        let submission = call.permitted.request().submission.clone();
        check_repositories(&gateway, &submission)?;
        check_codes(&gateway, &submission, Rules::Update)?;
        let registration = Registration { submission, contents: Vec::new(), now: gateway.clock.now() };
        let updated = gateway.documents.update(&gateway.tenant, registration, RESTRICTED, known(&gateway)).await;
        updated.map(drop).map_err(|error| Refused(error.errors()))
    }

    fn audit(request: &Request, outcome: &Result<(), Refused>) -> Vec<Part> {
        audit(request, outcome)
    }

    fn encode((): (), outcome: Result<(), Refused>, trace: TraceId) -> soap::Answer {
        let action = if RESTRICTED {
            "urn:ihe:iti:2018:RestrictedUpdateDocumentSetResponse"
        } else {
            "urn:ihe:iti:2010:UpdateDocumentSetResponse"
        };
        answer(action, outcome.err(), trace)
    }
}

/// An update brings no bytes, so it makes no document of ours of one that is elsewhere.
fn check_repositories(gateway: &Gateway, submission: &Submission) -> Result<(), Refused> {
    let is_ours = |entry: &DocumentEntry| {
        entry.repository.as_ref().is_some_and(|one| gateway.community.home_of_repository(one).is_some())
    };
    for entry in submission.entries.iter().filter(|entry| is_ours(entry)) {
        let lids = entry.logical_id.iter().cloned().collect();
        let query = Query::GetDocuments(Selector::LogicalIds(lids));
        let before = gateway
            .documents
            .search(&gateway.tenant, &query, 1)
            .map_err(|error| Refused(vec![RegistryError::new(error.code(), error.to_string())]))?;
        if before.iter().any(|object| matches!(object, Object::Document(old) if !is_ours(old))) {
            let text = "an update does not move a document to the repository here";
            let error = RegistryError::new(ErrorCode::XdsMetadataUpdateError, text).at(entry.id.to_string());
            return Err(Refused(vec![error]));
        }
    }
    Ok(())
}

/// ITI-62, as a Document Registry answers it.
pub struct RemoveMetadata;

/// What the audit record says of the objects, and whether they are gone: afterwards nobody could look them up.
pub struct Removal {
    touched: Vec<Touched>,
    outcome: Result<(), Refused>,
}

impl Transaction for RemoveMetadata {
    type Wire = Soap;
    const ID: Iti = Iti::Iti62;
    type Request = MetadataRequest;
    type Response = Removal;
    type Refusal = Refused;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<MetadataRequest, Failure<Refused>> {
        MetadataRequest::decode(message.envelope.body)
            .map_err(|refusal| Failure::Refused(Refused(vec![RegistryError::new(refusal.code(), refusal.to_string())])))
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<MetadataRequest>>,
        _extras: Attachments,
    ) -> Result<Removal, Refused> {
        let objects = &call.permitted.request().objects;
        let touched = touched(&gateway, objects);
        let removed = gateway.documents.remove(&gateway.tenant, objects.clone()).await;
        Ok(Removal { touched, outcome: removed.map_err(|error| Refused(error.errors())) })
    }

    fn audit(_: &MetadataRequest, outcome: &Result<Removal, Refused>) -> Vec<Part> {
        match outcome {
            Ok(Removal { touched, outcome: Ok(()) }) => vec![Part::success(touched.clone())],
            Ok(Removal { touched, outcome: Err(refused) }) => vec![Part::failure(touched.clone(), refused)],
            Err(refused) => vec![Part::failure(Vec::new(), refused)],
        }
    }

    fn encode((): (), outcome: Result<Removal, Refused>, trace: TraceId) -> soap::Answer {
        let refused = outcome.and_then(|removal| removal.outcome).err();
        answer("urn:ihe:iti:2010:DeleteDocumentSetResponse", refused, trace)
    }
}

/// The patients of objects and the objects, by the literals of their types (3.62.5).
fn touched(gateway: &Gateway, ids: &[ObjectId]) -> Vec<Touched> {
    let found = gateway.documents.objects(&gateway.tenant, ids).unwrap_or_else(|error| {
        tracing::error!(%error, "the document registry could not be read");
        Vec::new()
    });
    let mut patients: Vec<&PatientId> = found.iter().filter_map(Object::patient).collect();
    patients.dedup();
    let described = ids.iter().map(|id| {
        let (kind, called) = found
            .iter()
            .find(|object| object.id() == id)
            .map_or(("urn:ihe:iti:2017:ObjectRef", "registry object reference"), described);
        Touched::removed_entry(&id.to_string(), kind, called)
    });
    patients.into_iter().map(Touched::patient).chain(described).collect()
}

fn described(object: &Object) -> (&str, &'static str) {
    match object {
        Object::Document(entry) => match entry.kind {
            crate::metadata::DocumentKind::Stable => (entry.kind.as_str(), "document entry object type"),
            crate::metadata::DocumentKind::OnDemand => (entry.kind.as_str(), "on-demand document entry object type"),
        },
        Object::SubmissionSet(_) => {
            (crate::ebxml::literals::submission_set::NODE, "submission set classification node")
        }
        Object::Folder(_) => (crate::ebxml::literals::folder::NODE, "folder classification node"),
        Object::Association(association) => (association.kind.as_str(), "association type"),
        Object::Reference(_) => ("urn:ihe:iti:2017:ObjectRef", "registry object reference"),
    }
}

/// ITI-86, as a Document Repository answers it.
pub struct RemoveDocuments;

impl Transaction for RemoveDocuments {
    type Wire = Soap;
    const ID: Iti = Iti::Iti86;
    type Request = DocumentsRequest;
    type Response = DocumentsResponse;
    type Refusal = Refused;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<DocumentsRequest, Failure<Refused>> {
        DocumentsRequest::decode(message.envelope.body).map_err(|cause| {
            let text = format!("the removal cannot be read: {cause}");
            Failure::Refused(Refused(vec![RegistryError::new(ErrorCode::XdsRepositoryError, text)]))
        })
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<DocumentsRequest>>,
        _extras: Attachments,
    ) -> Result<DocumentsResponse, Refused> {
        let mut response = DocumentsResponse::default();
        for document in &call.permitted.request().documents {
            match super::repository::discard(&gateway, document).await {
                Ok(()) => response.removed.push(document.clone()),
                Err((code, text)) => {
                    response.errors.push(RegistryError::new(code, text).at(document.document.to_string()));
                }
            }
        }
        Ok(response)
    }

    /// What is gone is one record, what is not another.
    fn audit(request: &DocumentsRequest, outcome: &Result<DocumentsResponse, Refused>) -> Vec<Part> {
        let object =
            |document: &super::remove::DocumentId| Touched::removed_document(&document.document, &document.repository);
        let all = || request.documents.iter().map(object).collect::<Vec<_>>();
        let response = match outcome {
            Ok(response) => response,
            Err(refused) => return vec![Part::failure(all(), refused)],
        };
        let kept: Vec<Touched> =
            request.documents.iter().filter(|document| !response.removed.contains(document)).map(object).collect();
        let mut parts = Vec::new();
        if !response.removed.is_empty() {
            parts.push(Part::success(response.removed.iter().map(object).collect()));
        }
        if !kept.is_empty() {
            parts.push(Part::failure(kept, codes(&response.errors)));
        }
        parts
    }

    fn encode((): (), outcome: Result<DocumentsResponse, Refused>, trace: TraceId) -> soap::Answer {
        let mut response =
            outcome.unwrap_or_else(|refused| DocumentsResponse { removed: Vec::new(), errors: refused.0 });
        super::registry::name_trace(&mut response.errors, trace);
        soap::Answer {
            action: "urn:ihe:iti:2017:RemoveDocumentsResponse",
            headers: String::new(),
            body: response.encode(),
            mtom: false,
            documents: Vec::new(),
        }
    }
}
