//! XCA Responding Gateway: answers queries for our documents, and sends them (ITI TF-2: 3.38.4.1.3, 3.39.4.1.3).

use std::sync::Arc;

use futures_util::StreamExt;

use super::query::{HomeError, Object as Found, Request as Query, Response as QueryResponse};
use super::retrieve::{
    Content, DocumentId, Request as Retrieve, Response as RetrieveResponse, RetrievedDocument, error_about,
};
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::ebxml::{ErrorCode, RegistryError};
use crate::gateway::Gateway;
use crate::id::{HomeCommunityId, TraceId, Transaction as Iti};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::routing::package::{Attachments, Document};
use crate::soap::mtom::ContentId;
use crate::xds::registry;
use crate::xds::stored_query;

/// `wsa:Action` of ITI-38.
pub const QUERY_ACTION: &str = "urn:ihe:iti:2007:CrossGatewayQuery";
/// `wsa:Action` of ITI-39.
pub const RETRIEVE_ACTION: &str = "urn:ihe:iti:2007:CrossGatewayRetrieve";

/// ITI-38, as a Responding Gateway answers it.
pub struct CrossGatewayQuery;

impl Transaction for CrossGatewayQuery {
    type Wire = Soap;
    const ID: Iti = Iti::Iti38;
    type Request = Query;
    type Response = QueryResponse;
    type Refusal = stored_query::Refusal;
    type Echo = HomeCommunityId;

    fn echo(gateway: &Gateway, _received: &Received, _message: &soap::Message<'_>) -> HomeCommunityId {
        gateway.community.home.clone()
    }

    fn decode(
        _gateway: &Gateway,
        _caller: &Caller,
        message: &soap::Message<'_>,
    ) -> Result<Query, Failure<stored_query::Refusal>> {
        Query::decode(message.envelope.body).map_err(Failure::Refused)
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Query>>,
        _extras: Attachments,
    ) -> Result<QueryResponse, stored_query::Refusal> {
        let request = call.permitted.request();
        if let Err(error) = check_home(&gateway, request) {
            return Ok(QueryResponse::failure(RegistryError::from(&error)));
        }
        let mut response = registry::search(&gateway, request, call.trace);
        for object in &mut response.objects {
            let home = home_of(&gateway, object, request.home.as_ref());
            object.set_home(home);
        }
        Ok(response)
    }

    fn audit(request: &Query, outcome: &Result<QueryResponse, stored_query::Refusal>) -> Vec<Part> {
        registry::query_parts(Iti::Iti38, request, outcome)
    }

    fn encode(
        own: HomeCommunityId,
        outcome: Result<QueryResponse, stored_query::Refusal>,
        trace: TraceId,
    ) -> soap::Answer {
        let mut response = outcome.unwrap_or_else(|refusal| registry::refused(&refusal));
        for error in &mut response.errors {
            error.location = Some(own.to_string());
        }
        registry::answer("urn:ihe:iti:2007:CrossGatewayQueryResponse", response, trace)
    }
}

/// A query must mean a community served here, and may leave it out where it names a patient (3.38.4.1.2.1).
fn check_home(gateway: &Gateway, request: &Query) -> Result<(), HomeError> {
    match &request.home {
        Some(home) if gateway.community.serves(home) => Ok(()),
        Some(home) => Err(HomeError::Unknown(home.clone())),
        None if request.query.patients().is_empty() => Err(HomeError::Missing),
        None => Ok(()),
    }
}

/// The community of an object: that of its repository, else of its patient, else the one that was asked.
fn home_of(gateway: &Gateway, object: &Found, asked: Option<&HomeCommunityId>) -> HomeCommunityId {
    let community = &gateway.community;
    let by_repository = match object {
        Found::Document(entry) => {
            entry.repository.as_ref().and_then(|repository| community.home_of_repository(repository))
        }
        _ => None,
    };
    let by_patient = || object.patient().map(|patient| community.home_of(patient.authority()));
    by_repository.or_else(by_patient).or(asked).unwrap_or(&community.home).clone()
}

/// ITI-39, as a Responding Gateway answers it.
pub struct CrossGatewayRetrieve;

/// An answer and the documents that it refers to, to be streamed.
pub struct Retrieved {
    response: RetrieveResponse,
    documents: Vec<Document>,
}

impl Transaction for CrossGatewayRetrieve {
    type Wire = Soap;
    const ID: Iti = Iti::Iti39;
    type Request = Retrieve;
    type Response = Retrieved;
    type Refusal = Unreadable;
    type Echo = HomeCommunityId;

    fn echo(gateway: &Gateway, _received: &Received, _message: &soap::Message<'_>) -> HomeCommunityId {
        gateway.community.home.clone()
    }

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Retrieve, Failure<Unreadable>> {
        Retrieve::decode(message.envelope.body).map_err(|error| Failure::Refused(Unreadable(error.to_string())))
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Retrieve>>,
        _extras: Attachments,
    ) -> Result<Retrieved, Unreadable> {
        let mut retrieved = Retrieved { response: RetrieveResponse::default(), documents: Vec::new() };
        for wanted in &call.permitted.request().documents {
            let home = match &wanted.home {
                None => Err(ErrorCode::XdsMissingHomeCommunityId),
                Some(home) if gateway.community.serves(home) => Ok(home),
                Some(_) => Err(ErrorCode::XdsUnknownCommunity),
            };
            let own = &gateway.community.home;
            match home {
                Ok(home) => fetch(&gateway, wanted, home, call.trace, &mut retrieved).await,
                Err(code) => {
                    let text = match code {
                        ErrorCode::XdsMissingHomeCommunityId => "the request for a document names no home community",
                        _ => "the home community of the document is not served here",
                    };
                    retrieved.response.errors.push(error_about(code, text, wanted, own));
                }
            }
        }
        Ok(retrieved)
    }

    fn audit(request: &Retrieve, outcome: &Result<Retrieved, Unreadable>) -> Vec<Part> {
        retrieve_parts(request, outcome.as_ref().map(|retrieved| &retrieved.response))
    }

    fn encode(own: HomeCommunityId, outcome: Result<Retrieved, Unreadable>, trace: TraceId) -> soap::Answer {
        let mut retrieved = outcome.unwrap_or_else(|Unreadable(text)| {
            let error = RegistryError::new(ErrorCode::XdsRepositoryError, text).at(own.to_string());
            Retrieved { response: RetrieveResponse::failure(error), documents: Vec::new() }
        });
        registry::name_trace(&mut retrieved.response.errors, trace);
        soap::Answer {
            action: "urn:ihe:iti:2007:CrossGatewayRetrieveResponse",
            body: retrieved.response.encode().xml,
            mtom: true,
            documents: retrieved.documents,
        }
    }
}

/// A body that is no request to retrieve documents.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// Adds one document to an answer, or the error that there is none.
async fn fetch(gateway: &Gateway, wanted: &DocumentId, home: &HomeCommunityId, trace: TraceId, into: &mut Retrieved) {
    match registry::open(gateway, wanted, home).await {
        Ok(opened) => {
            let id = ContentId::random();
            into.response.documents.push(RetrievedDocument {
                id: wanted.clone(),
                new_repository: None,
                new_document: None,
                mime_type: opened.media_type.clone(),
                content: Content::Attached(id.to_string()),
            });
            into.documents.push(Document { id, media_type: opened.media_type, content: opened.content.boxed() });
        }
        Err((code, text)) => {
            tracing::info!(code = code.as_str(), %trace, "a document could not be given out");
            into.response.errors.push(error_about(code, text, wanted, &gateway.community.home));
        }
    }
}

/// The parts of the audit record of a retrieve: what was sent, and what was not (ITI TF-2: 3.39.5).
pub fn retrieve_parts(request: &Retrieve, outcome: Result<&RetrieveResponse, impl ToString>) -> Vec<Part> {
    let object = |document: &DocumentId| {
        Object::document(&document.document, Some(&document.repository), document.home.as_ref())
    };
    let response = match outcome {
        Ok(response) => response,
        Err(error) => return vec![Part::failure(request.documents.iter().map(object).collect(), error)],
    };
    let sent: Vec<Object> = response.documents.iter().map(|document| object(&document.id)).collect();
    let is_sent = |wanted: &&DocumentId| {
        response.documents.iter().any(|document| document.id.document.bare() == wanted.document.bare())
    };
    let missing: Vec<Object> = request.documents.iter().filter(|wanted| !is_sent(wanted)).map(object).collect();
    let mut parts = Vec::new();
    if !sent.is_empty() {
        parts.push(Part::success(sent));
    }
    if !missing.is_empty() || parts.is_empty() {
        let codes: Vec<&str> = response.errors.iter().map(|error| error.code.as_str()).collect();
        parts.push(Part::failure(missing, codes.join(", ")));
    }
    parts
}
