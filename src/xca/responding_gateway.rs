//! XCA Responding Gateway: answers queries for our documents, and sends them (ITI TF-2: 3.38.4.1.3, 3.39.4.1.3).

use std::sync::Arc;

use super::query::{HomeError, Object as Found, Request as Query, Response as QueryResponse};
use super::retrieve::{Request as Retrieve, error_about};
use crate::authenticate::Caller;
use crate::ebxml::{ErrorCode, RegistryError};
use crate::gateway::Gateway;
use crate::id::{HomeCommunityId, TraceId, Transaction as Iti};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::routing::package::Attachments;
use crate::xds::external;
use crate::xds::registry;
use crate::xds::retrieval::{self, Retrieved, Unreadable};
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
        Query::decode(message.envelope.body).and_then(Query::of_one_patient).map_err(Failure::Refused)
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
        let mut response = external::search(&gateway, &call, request).await;
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
pub(super) fn home_of(gateway: &Gateway, object: &Found, asked: Option<&HomeCommunityId>) -> HomeCommunityId {
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
        retrieval::decode(message)
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Retrieve>>,
        _extras: Attachments,
    ) -> Result<Retrieved, Unreadable> {
        let mut retrieved = Retrieved::default();
        let mut elsewhere = Vec::new();
        for wanted in &call.permitted.request().documents {
            if let Some(partner) = external::repository(&gateway, wanted)
                && wanted.home.as_ref().is_some_and(|home| gateway.community.serves(home))
            {
                elsewhere.push((wanted.clone(), partner));
                continue;
            }
            let opened = match &wanted.home {
                None => {
                    Err((ErrorCode::XdsMissingHomeCommunityId, "the request for a document names no home community"))
                }
                Some(home) if gateway.community.serves(home) => retrieved.open(&gateway, wanted, Some(home)).await,
                Some(_) => {
                    Err((ErrorCode::XdsUnknownCommunity, "the home community of the document is not served here"))
                }
            };
            if let Err((code, text)) = opened {
                tracing::info!(code = code.as_str(), trace = %call.trace, "a document could not be given out");
                retrieved.response.errors.push(error_about(code, text, wanted, &gateway.community.home));
            }
        }
        external::bring(&gateway, &call, elsewhere, &mut retrieved).await;
        Ok(retrieved)
    }

    fn audit(request: &Retrieve, outcome: &Result<Retrieved, Unreadable>) -> Vec<Part> {
        retrieval::parts(request, outcome.as_ref().map(|retrieved| &retrieved.response))
    }

    fn encode(own: HomeCommunityId, outcome: Result<Retrieved, Unreadable>, trace: TraceId) -> soap::Answer {
        let mut retrieved = outcome.unwrap_or_else(Retrieved::from);
        for error in retrieved.response.errors.iter_mut().filter(|error| error.location.is_none()) {
            error.location = Some(own.to_string());
        }
        retrieved.answer("urn:ihe:iti:2007:CrossGatewayRetrieveResponse", trace)
    }
}
