//! Delivers submissions from the queue: into an inbox, to a system that takes ITI-41 or ITI-65, to another community by
//! ITI-80, or into our own repository. A copy has the same ids as the first attempt, by which receivers know it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use smol_str::SmolStr;
use tokio::time::Instant;

use super::bundle::{Placeholder, filled};
use super::inbox;
use super::parcel::{Enclosed, Parcel, to_recipient};
use super::recipient::GATEWAY_ACTION;
use crate::atna::{AccessPoint, Event, Exchange, Human, Object, Outcome, Party, Side};
use crate::directory::{Partner, ServiceUrl};
use crate::ebxml::{ErrorCode, RegistryError, RegistryResponse, codes};
use crate::fhir::mhd;
use crate::fhir::resource::{Identifier, Reference};
use crate::gateway::{Gateway, Target};
use crate::id::{ExchangePurpose, Transaction as Iti};
use crate::pipeline::delivery::{Verdict, reported};
use crate::pipeline::outgoing::{Errands, Told};
use crate::routing::call::Letter;
use crate::routing::exchange::{CallBody, Endpoint, ExchangeError, HttpCall};
use crate::routing::package::Document;
use crate::soap::mtom::ContentId;
use crate::storage::deliveries::Delivery;
use crate::storage::files::FileError;
use crate::trust::NetworkName;
use crate::xds::content::Content;
use crate::xds::provide::{ProvidedDocument, Request, write_home_header};
use crate::xds::register as registration;
use crate::xds::registration::register;
use crate::xds::repository::PROVIDE_ACTION;
use crate::xml::Writer;

/// Bytes a second that a receiver must take of a large submission; its timeout is longer by what that comes to.
const SLOWEST: u64 = 1 << 20;
/// The longest answer to a Bundle, and the time for it.
const BUNDLE_ANSWER: u64 = 1 << 20;
const BUNDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Delivers one submission.
pub fn carry(gateway: Arc<Gateway>, delivery: Arc<Delivery>, body: Vec<u8>) -> BoxFuture<'static, Verdict> {
    Box::pin(async move {
        let Ok(parcel) = serde_json::from_slice::<Parcel>(&body) else {
            return Verdict::refused(&ErrorCode::XdsRepositoryError, "what was to be delivered cannot be read");
        };
        if let Some(partner) = delivery.to.strip_prefix("partner/") {
            let transaction = if parcel.home.is_some() { Iti::Iti80 } else { Iti::Iti41 };
            return by_soap(&gateway, &delivery, &parcel, partner, transaction).await;
        }
        let recipient = gateway.recipients.iter().find(|recipient| to_recipient(&recipient.name) == delivery.to);
        let Some(recipient) = recipient else {
            return Verdict::refused(&ErrorCode::UnknownRecipient, "no recipient of that name is configured any more");
        };
        match &recipient.target {
            Target::Inbox(folder) => into_inbox(&gateway, &delivery, &parcel, folder).await,
            Target::Partner(partner) => by_soap(&gateway, &delivery, &parcel, partner, Iti::Iti41).await,
            Target::Fhir { url, network } => by_fhir(&gateway, &delivery, &parcel, url, network).await,
            Target::Repository => into_repository(&gateway, &parcel).await,
        }
    })
}

async fn into_inbox(gateway: &Gateway, delivery: &Delivery, parcel: &Parcel, folder: &std::path::Path) -> Verdict {
    match inbox::put(gateway, folder, delivery, parcel).await {
        Ok(place) => {
            let name = place.file_name().map(|name| name.to_string_lossy().into_owned());
            Verdict::Delivered { note: name, reported: Vec::new() }
        }
        Err(
            error @ (inbox::InboxError::Damaged | inbox::InboxError::File(FileError::NotFound | FileError::Damaged)),
        ) => Verdict::refused(&ErrorCode::XdsRepositoryError, error.to_string()),
        Err(error) => Verdict::away(error),
    }
}

/// Registers a submission whose documents are in their place already. The patient must be known, and the metadata
/// complete.
async fn into_repository(gateway: &Gateway, parcel: &Parcel) -> Verdict {
    let mut submission = parcel.submission.clone();
    for entry in &mut submission.entries {
        let authority = entry.patient_id.as_ref().map(|patient| patient.authority());
        let repository = authority.map_or(&gateway.community.repository, |it| gateway.community.repository_of(it));
        entry.repository = Some(repository.clone());
    }
    let mut problems = crate::metadata::Problems::new(crate::metadata::Rules::Provide);
    submission.check(&mut problems);
    if problems.list.iter().any(RegistryError::is_error) {
        return refused_with(&problems.list);
    }
    let contents = parcel.documents.iter().map(|one| (one.entry.clone(), one.sha256.to_string())).collect();
    let settling = gateway.files.settling().await;
    let kept = register(gateway, submission, contents).await;
    drop(settling);
    match kept {
        Ok(_) => Verdict::delivered(),
        Err(refused) => judge(&refused.0),
    }
}

/// What registry errors come to: those that may pass are waited for.
fn judge(errors: &[RegistryError]) -> Verdict {
    if !errors.iter().any(RegistryError::is_error) {
        return Verdict::Delivered { note: None, reported: reported(errors) };
    }
    let passes = |error: &&RegistryError| {
        use ErrorCode as E;
        matches!(
            error.code,
            E::XdsRegistryBusy
                | E::XdsRepositoryBusy
                | E::XdsRegistryNotAvailable
                | E::XdsRegistryOutOfResources
                | E::XdsRepositoryOutOfResources
                | E::XdsUnavailableCommunity
                | E::UnavailableRecipient
        )
    };
    if failures(errors).all(|error| passes(&error)) {
        return Verdict::later(codes(failures(errors)));
    }
    refused_with(errors)
}

fn refused_with(errors: &[RegistryError]) -> Verdict {
    let reason = format!("the receiver answered with {}", codes(failures(errors)));
    Verdict::Refused { reason, reported: reported(errors) }
}

fn failures(errors: &[RegistryError]) -> impl Iterator<Item = &RegistryError> {
    errors.iter().filter(|error| error.is_error())
}

fn errands(gateway: &Gateway, delivery: &Delivery, parcel: &Parcel, deadline: Duration) -> Errands {
    Errands {
        user: or(&parcel.user, gateway.default_user.as_ref()),
        role: parcel.role.clone(),
        purpose: ExchangePurpose::from_code(&parcel.purpose),
        deadline,
        trace: delivery.trace,
    }
}

fn or(user: &SmolStr, otherwise: Option<&SmolStr>) -> SmolStr {
    if user.is_empty() { otherwise.cloned().unwrap_or_default() } else { user.clone() }
}

async fn by_soap(
    gateway: &Arc<Gateway>,
    delivery: &Delivery,
    parcel: &Parcel,
    partner: &str,
    transaction: Iti,
) -> Verdict {
    let Some(partner) = gateway.directory.snapshot().named(partner).cloned() else {
        return Verdict::away(format!("{partner} is not in the directory"));
    };
    let errands = errands(gateway, delivery, parcel, partner.timeout(transaction));
    let verdict = provide(gateway, parcel, &partner, transaction, &errands).await;
    if matches!(verdict, Verdict::Untried { .. }) {
        return verdict;
    }
    let set = &parcel.submission.set;
    let home = parcel.home.as_ref().filter(|_| transaction == Iti::Iti80);
    let patient = set.patient_id.as_ref().map(Object::patient);
    let objects = patient.into_iter().chain([Object::submission_set(set.unique_id.as_str(), home)]).collect();
    let (outcome, reason) = told(&verdict);
    match errands.record(gateway, transaction, &partner, Told { objects, outcome, reason }).await {
        Ok(()) => verdict,
        // Sent and recorded again: the receiver knows the copy by its ids.
        Err(_) => Verdict::later("the delivery could not be recorded"),
    }
}

fn told(verdict: &Verdict) -> (Outcome, Option<String>) {
    match verdict {
        Verdict::Delivered { .. } => (Outcome::Success, None),
        Verdict::Refused { reason, .. } | Verdict::Later { reason, .. } | Verdict::Untried { reason, .. } => {
            (Outcome::SeriousFailure, Some(reason.clone()))
        }
    }
}

async fn provide(
    gateway: &Arc<Gateway>,
    parcel: &Parcel,
    partner: &Partner,
    transaction: Iti,
    errands: &Errands,
) -> Verdict {
    let (url, errand) = match errands.prepare(gateway, transaction, partner) {
        Ok(prepared) => prepared,
        // The directory or the rules would have to change.
        Err(reason) => return Verdict::refused(&ErrorCode::UnavailableRecipient, reason),
    };
    let mut provided = Vec::with_capacity(parcel.documents.len());
    let mut documents = Vec::with_capacity(parcel.documents.len());
    for document in &parcel.documents {
        let id = ContentId::random();
        provided.push(ProvidedDocument { id: document.entry.clone(), content: Content::Attached(id.to_string()) });
        match open(gateway, parcel, document, id).await {
            Ok(document) => documents.push(document),
            Err(error) => return unreadable(&error),
        }
    }
    let home = parcel.home.clone();
    let mut headers = Writer::new();
    if let Some(home) = &home {
        write_home_header(&mut headers, home);
    }
    let headers = if home.is_some() { headers.finish() } else { String::new() };
    let registration = registration::Request { submission: parcel.submission.clone(), home };
    let letter = Letter {
        transaction,
        action: if transaction == Iti::Iti80 { GATEWAY_ACTION } else { PROVIDE_ACTION },
        body: Request { registration, documents: provided }.encode().xml,
        headers,
        mtom: true,
        documents,
        patient: parcel.submission.set.patient_id.clone(),
    };
    let more = more_time(parcel);
    let read = |body: crate::xml::Element<'_>| RegistryResponse::decode(body).map_err(|error| error.to_string());
    match gateway.outgoing.send_large(partner, &url, letter, &errand, more, read).await {
        Ok((response, _)) => judge(&response.errors),
        Err(error) => Verdict::of_call(&error),
    }
}

/// What a submission may take beyond the usual time.
fn more_time(parcel: &Parcel) -> Duration {
    Duration::from_secs(parcel.size() / SLOWEST)
}

async fn open(gateway: &Gateway, parcel: &Parcel, document: &Enclosed, id: ContentId) -> Result<Document, FileError> {
    let entry = parcel.submission.entries.iter().find(|entry| entry.id == document.entry);
    let media_type = entry.map(|entry| entry.mime_type.to_string()).unwrap_or_default();
    let (_, content) = gateway.files.read(&gateway.tenant, &document.sha256).await?;
    let content = content.map(|piece| piece.map_err(std::io::Error::other)).boxed();
    Ok(Document { id, media_type, content })
}

fn unreadable(error: &FileError) -> Verdict {
    match error {
        FileError::NotFound | FileError::Damaged | FileError::Sealed(_) => {
            Verdict::refused(&ErrorCode::XdsRepositoryError, format!("a document cannot be sent: {error}"))
        }
        FileError::DiskFull | FileError::Io(_) => Verdict::later(error),
    }
}

async fn by_fhir(
    gateway: &Arc<Gateway>,
    delivery: &Delivery,
    parcel: &Parcel,
    url: &ServiceUrl,
    network: &NetworkName,
) -> Verdict {
    let verdict = post_bundle(gateway, delivery, parcel, url, network).await;
    let host = crate::pipeline::soap::host(&gateway.community.public_url);
    let user = or(&parcel.user, gateway.default_user.as_ref());
    let exchange = Exchange {
        side: Side::Client,
        client: Party { user_id: gateway.community.public_url.clone(), access_point: Some(AccessPoint::of_host(host)) },
        server: Party { user_id: url.to_string().into(), access_point: Some(AccessPoint::of_host(url.host())) },
        humans: vec![Human { user_id: user, roles: vec![parcel.role.clone()], ..Human::default() }],
        at: gateway.clock.now(),
        trace: delivery.trace,
        message_id: None,
        tenant: gateway.tenant.clone(),
    };
    let mut event = Event::of(Iti::Iti65, exchange);
    let set = &parcel.submission.set;
    event.objects.extend(set.patient_id.as_ref().map(Object::patient));
    event.objects.push(Object::submission_set(set.unique_id.as_str(), None));
    event.purposes = vec![parcel.purpose.clone()];
    (event.outcome, event.reason) = told(&verdict);
    match gateway.audit.record(event).await {
        Ok(_) => verdict,
        Err(error) => {
            tracing::error!(%error, "a delivery could not be recorded");
            Verdict::later("the delivery could not be recorded")
        }
    }
}

async fn post_bundle(
    gateway: &Gateway,
    delivery: &Delivery,
    parcel: &Parcel,
    url: &ServiceUrl,
    network: &NetworkName,
) -> Verdict {
    let mut documents = Vec::with_capacity(parcel.documents.len());
    let mut contents = Vec::with_capacity(parcel.documents.len());
    for enclosed in &parcel.documents {
        let placeholder = Placeholder::random();
        match open(gateway, parcel, enclosed, ContentId::random()).await {
            Ok(Document { media_type, content, .. }) => {
                let (entry, mime_type, bytes) = (enclosed.entry.clone(), media_type.into(), placeholder.bytes());
                documents.push(mhd::Document { entry, mime_type, bytes });
                contents.push((placeholder, content));
            }
            Err(error) => return unreadable(&error),
        }
    }
    let patient = parcel.submission.set.patient_id.as_ref();
    let identifier = patient.map(|patient| Identifier::of(patient, Some(&gateway.domains)));
    let subject = Reference { reference: None, identifier };
    let bundle = mhd::Provide::encode(&parcel.submission, &documents, &subject).encode();
    let timeout = BUNDLE_TIMEOUT + more_time(parcel);
    let endpoint = Endpoint {
        url: url.uri().clone(),
        network: network.clone(),
        partner: delivery.to.clone(),
        timeout,
        answer_limit: BUNDLE_ANSWER,
    };
    let mut call = HttpCall::post("application/fhir+json; charset=UTF-8", Bytes::new());
    call.body = CallBody::Stream(filled(bundle.to_string(), contents));
    let answer = match gateway.outgoing.exchange().call(&endpoint, call, Instant::now() + timeout).await {
        Ok(answer) => answer,
        Err(error) => return Verdict::away(error),
    };
    let status = answer.status;
    // The answer's text is of no use, but a connection that is read to its end can be used again.
    let text = match answer.collect().await {
        Ok(text) => text,
        Err(ExchangeError::Empty) => Bytes::new(),
        Err(error) => return Verdict::later(error),
    };
    match status {
        200..300 => Verdict::delivered(),
        408 | 425 | 429 | 500.. => Verdict::away(ExchangeError::Http(status)),
        _ => {
            Verdict::refused(&ErrorCode::XdsRepositoryError, format!("{}{}", ExchangeError::Http(status), issue(&text)))
        }
    }
}

/// What an OperationOutcome says, in the receiver's words.
fn issue(text: &Bytes) -> String {
    let resource = serde_json::from_slice::<serde_json::Value>(text).unwrap_or_default();
    let issue = resource.pointer("/issue/0");
    let said = issue.and_then(|issue| issue.pointer("/details/text").or_else(|| issue.get("diagnostics")));
    let said = said.and_then(serde_json::Value::as_str).unwrap_or_default();
    if said.is_empty() { String::new() } else { format!(": {}", crate::routing::fan_out::quoted(said)) }
}
