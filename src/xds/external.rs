//! A front for what the community has already: a registry and repositories of other makers, which the gateway asks as a
//! Document Consumer (ITI-18, ITI-43) and to which it passes on what it is given (ITI-41, ITI-42).
//!
//! What is registered here is answered as well. That the others could not be asked is an error of the answer, never an
//! empty one.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt;

use super::provide::{Content, ProvidedDocument, Request as Provided};
use super::register;
use super::registration::REGISTER_ACTION;
use super::registry::{self, QUERY_ACTION};
use super::repository::{PROVIDE_ACTION, Refused};
use super::retrieval::Retrieved;
use super::retrieve::DocumentId;
use super::stored_query::{Request, Response};
use crate::atna::{Object as Touched, Outcome};
use crate::directory::Partner;
use crate::ebxml::{ErrorCode, RegistryError, RegistryResponse, Status};
use crate::gateway::Gateway;
use crate::id::Transaction as Iti;
use crate::metadata::{ObjectId, Submission};
use crate::pipeline::Call;
use crate::pipeline::outgoing::{Errands, Told};
use crate::routing::call::Letter;
use crate::routing::fan_out::State;
use crate::routing::package::Document;
use crate::soap::mtom::ContentId;
use crate::storage::files::Stored;
use crate::xca::initiating_gateway::{batches, retrieve_by};

/// Answers a stored query from what is registered here and in the community's other registry.
pub async fn search<R>(gateway: &Arc<Gateway>, call: &Call<R>, request: &Request) -> Response {
    let mut response = registry::search(gateway, request, call.trace);
    let Some(key) = gateway.external.registry.as_deref() else { return response };
    match ask(gateway, call, request, key).await {
        Ok(theirs) => {
            let known: HashSet<ObjectId> = response.objects.iter().map(|object| object.id().clone()).collect();
            response.objects.extend(theirs.objects.into_iter().filter(|object| !known.contains(object.id())));
            // A patient whom the other registry does not know has nothing there.
            let is_news = |error: &RegistryError| error.code != ErrorCode::XdsUnknownPatientId;
            response.errors.extend(theirs.errors.into_iter().filter(is_news));
            if !theirs.unreadable.is_empty() {
                let text = "the community's registry sent metadata that cannot be read and is left out";
                response.errors.push(RegistryError::new(ErrorCode::XdsRegistryError, text));
            }
        }
        Err(error) => response.errors.push(error),
    }
    response
}

async fn ask<R>(
    gateway: &Arc<Gateway>,
    call: &Call<R>,
    request: &Request,
    key: &str,
) -> Result<Response, RegistryError> {
    let failed = |text: String| RegistryError::new(ErrorCode::XdsRegistryError, text);
    let partner = partner(gateway, key).map_err(&failed)?;
    let errands = errands(gateway, call).map_err(&failed)?;
    let asked = Request { home: None, target_communities: Vec::new(), ..request.clone() };
    let legs = errands
        .fan_out(gateway, Iti::Iti18, vec![partner.clone()], |partner, url, errand| {
            let (gateway, partner, asked) = (gateway.clone(), partner.clone(), asked.clone());
            async move {
                let letter = letter(Iti::Iti18, QUERY_ACTION, asked.encode());
                let read = |body: crate::xml::Element<'_>| {
                    Response::decode(body, asked.return_type).map_err(|error| error.to_string())
                };
                match gateway.outgoing.send(&partner, &url, letter, &errand, read).await {
                    Ok((response, _)) => State::Answered(response),
                    Err(error) => error.state(),
                }
            }
        })
        .await;
    let Some(leg) = legs.into_iter().next() else { return Err(failed("nobody was asked".into())) };
    let query = Touched::query(Iti::Iti18, Some(asked.query.id()), asked.encode().into_bytes());
    let patients = asked.query.patients().iter().map(Touched::patient);
    let mut told =
        Told { objects: patients.chain([query.stored_query_details(None)]).collect(), ..Told::of(&leg.state) };
    if let State::Answered(response) = &leg.state
        && response.status() != Status::Success
    {
        told.outcome =
            if response.status() == Status::Failure { Outcome::SeriousFailure } else { Outcome::MinorFailure };
        told.reason = Some(format!("answered with {} errors or warnings", response.errors.len()));
    }
    let recorded = errands.record(gateway, Iti::Iti18, &partner, told).await;
    recorded.map_err(|denied| failed(denied.to_string()))?;
    match leg.state {
        State::Answered(response) => Ok(response),
        state => Err(failed(format!("the community's registry could not be asked: {}", state.name()))),
    }
}

/// The partner that keeps the documents of a repository, if that is none of ours.
pub fn repository(gateway: &Gateway, wanted: &DocumentId) -> Option<Arc<Partner>> {
    let bare = wanted.repository.as_str();
    let bare = bare.strip_prefix("urn:oid:").unwrap_or(bare);
    let (_, key) = gateway.external.repositories.iter().find(|(id, _)| id.as_str() == bare)?;
    partner(gateway, key).ok()
}

/// Adds documents of the community's other repositories, or the error of each that did not come.
pub async fn bring<R>(
    gateway: &Arc<Gateway>,
    call: &Call<R>,
    wanted: Vec<(DocumentId, Arc<Partner>)>,
    into: &mut Retrieved,
) {
    if wanted.is_empty() {
        return;
    }
    let all: Vec<DocumentId> = wanted.iter().map(|(id, _)| id.clone()).collect();
    let refuse = |into: &mut Retrieved, id: &DocumentId, text: &str| {
        let error = RegistryError::new(ErrorCode::XdsRepositoryError, text).at(id.document.to_string());
        into.response.errors.push(error);
    };
    let legs = match errands(gateway, call) {
        Ok(errands) => {
            let brought = retrieve_by(Iti::Iti43, gateway, &errands, batches(wanted)).await;
            brought.map_err(|denied| denied.to_string())
        }
        Err(text) => Err(text),
    };
    let legs = match legs {
        Ok(legs) => legs,
        Err(text) => return all.iter().for_each(|id| refuse(into, id, &text)),
    };
    for leg in legs {
        let asked = leg.partner.documents;
        let reason = format!("the community's repository did not send it: {}", leg.state.name());
        let mut came = HashSet::new();
        let mut told = HashSet::new();
        if let State::Answered(brought) = leg.state {
            for (document, stored) in brought.documents {
                let id = document.id.clone();
                match into.pass_on(document, stored).await {
                    Ok(()) => drop(came.insert(id)),
                    Err((_, text)) => {
                        refuse(into, &id, text);
                        told.insert(id);
                    }
                }
            }
            for error in &brought.errors {
                let names =
                    |id: &&DocumentId| error.location.as_deref().is_some_and(|at| at.contains(id.document.bare()));
                told.extend(asked.iter().filter(names).cloned());
            }
            into.response.errors.extend(brought.errors);
        }
        for id in asked.iter().filter(|id| !came.contains(*id) && !told.contains(*id)) {
            refuse(into, id, &reason);
        }
    }
}

/// Passes a submission on in place of registering it here; none if it is to be registered here.
pub async fn register<R>(
    gateway: &Arc<Gateway>,
    call: &Call<R>,
    request: &register::Request,
) -> Option<Result<Submission, Refused>> {
    let letter = letter(Iti::Iti42, REGISTER_ACTION, request.encode());
    let submission = request.submission.clone();
    Some(submit(gateway, call, recipient(gateway, Iti::Iti42)?, letter, submission).await)
}

/// Whether what is provided is passed on.
pub fn passes_documents_on(gateway: &Gateway) -> bool {
    recipient(gateway, Iti::Iti41).is_some()
}

/// Passes a submission with its documents on in place of keeping it here.
pub async fn provide<R>(
    gateway: &Arc<Gateway>,
    call: &Call<R>,
    request: &Provided,
    documents: Vec<(ObjectId, Stored)>,
) -> Result<Submission, Refused> {
    let unavailable = |text: &str| Refused(vec![RegistryError::new(ErrorCode::XdsRepositoryError, text)]);
    let Some(partner) = recipient(gateway, Iti::Iti41) else {
        return Err(unavailable("there is no repository to pass the documents on to"));
    };
    let mut provided = Vec::new();
    let mut attached = Vec::new();
    for (id, stored) in &documents {
        let entry = request.registration.submission.entries.iter().find(|entry| entry.id == *id);
        let media_type = entry.map_or("application/octet-stream", |entry| entry.mime_type.as_str()).to_owned();
        let content = stored.read().await.map_err(|error| {
            tracing::error!(%error, "a document could not be read to be passed on");
            unavailable("the document could not be passed on")
        })?;
        let content_id = ContentId::random();
        provided.push(ProvidedDocument { id: id.clone(), content: Content::Attached(content_id.to_string()) });
        let content = content.map(|piece| piece.map_err(std::io::Error::other)).boxed();
        attached.push(Document { id: content_id, media_type, content });
    }
    let request = Provided { registration: request.registration.clone(), documents: provided };
    let body = request.encode().xml;
    let letter = Letter { mtom: true, documents: attached, ..letter(Iti::Iti41, PROVIDE_ACTION, body) };
    submit(gateway, call, partner, letter, request.registration.submission).await
}

async fn submit<R>(
    gateway: &Arc<Gateway>,
    call: &Call<R>,
    partner: Arc<Partner>,
    letter: Letter,
    submission: Submission,
) -> Result<Submission, Refused> {
    let transaction = letter.transaction;
    let code = match transaction {
        Iti::Iti41 => ErrorCode::XdsRepositoryError,
        _ => ErrorCode::XdsRegistryError,
    };
    let failed = |text: String| Refused(vec![RegistryError::new(code.clone(), text)]);
    let errands = errands(gateway, call).map_err(&failed)?;
    let (url, errand) = errands.prepare(gateway, transaction, &partner).map_err(&failed)?;
    let read = |body: crate::xml::Element<'_>| RegistryResponse::decode(body).map_err(|error| error.to_string());
    let sent = gateway.outgoing.send(&partner, &url, letter, &errand, read);
    // Whoever has hung up gets no answer, but what the other system was given is recorded.
    let answered = tokio::time::timeout(partner.timeout(transaction), sent).await;
    let state: State<RegistryResponse> = match answered {
        Ok(Ok((response, _))) => State::Answered(response),
        Ok(Err(error)) => error.state(),
        Err(_) => State::TimedOut,
    };
    let mut told = Told { objects: super::repository::submission_objects(&submission), ..Told::of(&state) };
    if let State::Answered(response) = &state
        && response.status() != Status::Success
    {
        told.outcome = Outcome::SeriousFailure;
        told.reason = Some(format!("refused with {} errors", response.errors.len()));
    }
    let recorded = errands.record(gateway, transaction, &partner, told).await;
    recorded.map_err(|denied| failed(denied.to_string()))?;
    match state {
        State::Answered(response) if response.status() == Status::Success => Ok(submission),
        State::Answered(response) => Err(Refused(response.errors)),
        state => Err(failed(format!("the submission could not be passed on: {}", state.name()))),
    }
}

fn recipient(gateway: &Gateway, transaction: Iti) -> Option<Arc<Partner>> {
    let partner = partner(gateway, gateway.external.submissions.as_deref()?).ok()?;
    partner.url(transaction).is_some().then_some(partner)
}

fn partner(gateway: &Gateway, key: &str) -> Result<Arc<Partner>, String> {
    let found = gateway.directory.snapshot().named(key).cloned();
    found.ok_or_else(|| format!("the partner {key} of documents.external is not in the directory"))
}

fn errands<R>(gateway: &Gateway, call: &Call<R>) -> Result<Errands, String> {
    Errands::on_behalf_of(gateway, call)
        .ok_or_else(|| "the request names no user and purpose to ask the community's systems for".into())
}

fn letter(transaction: Iti, action: &'static str, body: String) -> Letter {
    Letter { transaction, action, body, headers: String::new(), mtom: false, documents: Vec::new(), patient: None }
}
