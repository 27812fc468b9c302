//! Document Recipient (ITI-41) and, for other communities, XCDR's Responding Gateway (ITI-80): takes documents in for the
//! recipients that they name (ITI TF-2: 3.41.4.1.3, 3.80.4.1.3).
//!
//! A submission is taken for all of its recipients or for none. It is in the queue before it is answered, and whoever
//! sent it is let wait a while for the recipient's own answer: after that they hear that it is queued.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::parcel::{Parcel, publish, to_partner, to_recipient};
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::ebxml::{ErrorCode, RegistryError, RegistryResponse};
use crate::gateway::{Gateway, Match, Recipient};
use crate::id::{HomeCommunityId, TraceId, Transaction as Iti};
use crate::metadata::{DocumentEntry, DocumentKind, Submission, Xcn, Xon, Xtn};
use crate::pipeline::delivery::{release, tried};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Denied, Failure, Part, Received, Transaction};
use crate::routing::package::Attachments;
use crate::storage::deliveries::{Received as Taken, State};
use crate::storage::files::Stored;
use crate::xds::provide::{self, home_of_header, xdr_rules};
use crate::xds::repository::{Refused, receive};

/// `wsa:Action` of ITI-80.
pub const GATEWAY_ACTION: &str = "urn:ihe:iti:2015:CrossGatewayDocumentProvide";

/// ITI-41 as a Document Recipient answers it; as ITI-80, what a Responding Gateway does.
pub struct ProvideToRecipient<const GATEWAY: bool>;

/// A submission, and the community that its header addresses.
pub struct Provided {
    request: provide::Request,
    home: Option<HomeCommunityId>,
}

/// What became of a submission that was taken.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the answer says besides; a submission that its recipient refused has errors here.
    pub errors: Vec<RegistryError>,
}

impl<const GATEWAY: bool> Transaction for ProvideToRecipient<GATEWAY> {
    type Wire = Soap;
    const ID: Iti = if GATEWAY { Iti::Iti80 } else { Iti::Iti41 };
    type Request = Provided;
    type Response = Outcome;
    type Refusal = Refused;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Provided, Failure<Refused>> {
        if !message.multipart {
            // ITI TF-2: V.3.6, as for a repository.
            return Err(Denied::Malformed("this transaction requires an MTOM/XOP package".into()).into());
        }
        let header = message.envelope.header;
        let request = provide::Request::decode(message.envelope.body, xdr_rules(header, true))
            .map_err(|refusal| Failure::Refused(refusal.into()))?;
        let home = addressed::<GATEWAY>(header.and_then(home_of_header), request.registration.home.as_ref());
        Ok(Provided { home: home.map_err(Failure::Refused)?, request })
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Provided>>,
        attachments: Attachments,
    ) -> Result<Outcome, Refused> {
        let Provided { request, home } = call.permitted.request();
        let caller = call.permitted.caller();
        let destinations =
            destinations(&gateway, caller, home.as_ref(), &request.registration.submission.set.intended_recipients)?;
        // Policy lets nothing pass that states no purpose, and none is made up here.
        let purpose = call.permitted.purposes().first().map(crate::id::ExchangePurpose::to_code);
        let purpose = purpose.ok_or_else(|| refused(ErrorCode::XdsRepositoryError, "no purpose is stated"))?;
        let mut documents = receive(&gateway, request, attachments).await?;
        let mut submission = request.registration.submission.clone();
        for entry in &mut submission.entries {
            if let Some((_, stored)) = documents.iter().find(|(id, _)| *id == entry.id) {
                complete(entry, stored)?;
            }
        }
        rename(&mut submission, &mut documents);
        let user = caller.user();
        let parcel = Parcel {
            submission,
            documents: Vec::new(),
            home: home.clone().filter(|home| !gateway.community.serves(home)),
            sender: caller.partner().map(|partner| partner.key.clone()).unwrap_or_default(),
            user: user.map(|user| user.name_id.clone()).or_else(|| gateway.default_user.clone()).unwrap_or_default(),
            role: user.and_then(|user| user.roles.first().cloned()).unwrap_or_else(|| gateway.default_role.clone()),
            purpose,
        };
        let numbers = queue(&gateway, parcel, documents, &destinations, call.trace).await?;
        Ok(Outcome { errors: answers(&gateway, &numbers).await })
    }

    fn audit(provided: &Provided, outcome: &Result<Outcome, Refused>) -> Vec<Part> {
        let set = &provided.request.registration.submission.set;
        let patient = set.patient_id.as_ref().map(Object::patient);
        let submission = Object::submission_set(set.unique_id.as_str(), provided.home.as_ref());
        let objects = patient.into_iter().chain([submission]).collect();
        let failed = match outcome {
            Ok(outcome) => Refused(outcome.errors.iter().filter(|error| error.is_error()).cloned().collect()),
            Err(refused) => refused.clone(),
        };
        vec![if failed.0.is_empty() { Part::success(objects) } else { Part::failure(objects, failed) }]
    }

    fn encode((): (), outcome: Result<Outcome, Refused>, trace: TraceId) -> soap::Answer {
        let mut errors = outcome.map_or_else(|refused| refused.0, |outcome| outcome.errors);
        crate::xds::registry::name_trace(&mut errors, trace);
        soap::Answer {
            action: if GATEWAY {
                "urn:ihe:iti:2015:CrossGatewayDocumentProvideResponse"
            } else {
                "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-bResponse"
            },
            headers: String::new(),
            body: RegistryResponse { errors }.encode(),
            mtom: true,
            documents: Vec::new(),
        }
    }
}

fn refused(code: ErrorCode, text: impl Into<String>) -> Refused {
    Refused(vec![RegistryError::new(code, text)])
}

/// The community that a submission addresses: its header says so, and the slot of the request must not say otherwise
/// (XCDR 3.80.4.1.2: both are required of ITI-80; senders leave the slot out).
fn addressed<const GATEWAY: bool>(
    header: Option<HomeCommunityId>,
    slot: Option<&HomeCommunityId>,
) -> Result<Option<HomeCommunityId>, Refused> {
    match (header, slot) {
        (Some(header), Some(slot)) if header != *slot => {
            let text = "the SOAP header and the request name different communities";
            Err(refused(ErrorCode::XdsRepositoryMetadataError, text))
        }
        (None, _) if GATEWAY => {
            let text = "the SOAP header names no home community";
            Err(refused(ErrorCode::XdsMissingHomeCommunityId, text))
        }
        (header, slot) => Ok(header.or_else(|| slot.cloned())),
    }
}

/// Where a submission goes. Anything that cannot be told refuses all of it: half a delivery is none.
fn destinations(
    gateway: &Gateway,
    caller: &Caller,
    home: Option<&HomeCommunityId>,
    intended: &[SmolStr],
) -> Result<Vec<SmolStr>, Refused> {
    if let Some(home) = home.filter(|home| !gateway.community.serves(home)) {
        return community(gateway, caller, home).map(|destination| vec![destination]);
    }
    if intended.is_empty() {
        let default = gateway.recipients.iter().find(|recipient| recipient.default);
        let text = "the submission names no intended recipient, and there is none for that case";
        let default = default.ok_or_else(|| refused(ErrorCode::UnknownRecipient, text))?;
        return Ok(vec![to_recipient(&default.name)]);
    }
    let mut found: Vec<SmolStr> = Vec::new();
    let mut errors = Vec::new();
    for (at, value) in intended.iter().enumerate() {
        match recipient(&gateway.recipients, value) {
            Some(recipient) => {
                let destination = to_recipient(&recipient.name);
                if !found.contains(&destination) {
                    found.push(destination);
                }
            }
            None => {
                let text = format!("intended recipient {} of {} is not known here", at + 1, intended.len());
                errors.push(RegistryError::new(ErrorCode::UnknownRecipient, text));
            }
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(Refused(errors)) }
}

/// The recipient that a value of intendedRecipient means: by person or address before by organisation, and the first of
/// several.
pub fn recipient<'r>(recipients: &'r [Recipient], intended: &str) -> Option<&'r Recipient> {
    let mut parts = intended.splitn(3, '|');
    let mut next = || parts.next().unwrap_or_default();
    let (organization, person, address) = (Xon::from_wire(next()), Xcn::from_wire(next()), Xtn::from_wire(next()));
    let meant = |recipient: &&Recipient| recipient.is_meant(organization.as_ref(), person.as_ref(), address.as_ref());
    let best = recipients.iter().map(|recipient| meant(&recipient)).max().filter(|best| *best != Match::No)?;
    recipients.iter().find(|recipient| meant(recipient) == best)
}

/// Another community, for our own systems only: we carry nothing between two others.
fn community(gateway: &Gateway, caller: &Caller, home: &HomeCommunityId) -> Result<SmolStr, Refused> {
    let unknown = |text: &str| refused(ErrorCode::XdsUnknownCommunity, text);
    if !caller.is_ours() {
        return Err(unknown("the community is none that is served here"));
    }
    match gateway.directory.resolve(home, Iti::Iti80) {
        Ok(route) => Ok(to_partner(&route.partner.key)),
        Err(error) => Err(unknown(&error.to_string())),
    }
}

/// Adds what is known of a document, and refuses metadata that says otherwise.
fn complete(entry: &mut DocumentEntry, stored: &Stored) -> Result<(), Refused> {
    let digests = stored.digests();
    let contradiction = |text: &str| {
        let error = RegistryError::new(ErrorCode::XdsRepositoryMetadataError, text);
        Refused(vec![error.at(entry.id.to_string())])
    };
    if entry.hash.as_deref().is_some_and(|hash| !hash.eq_ignore_ascii_case(&digests.sha1)) {
        return Err(contradiction("the hash in the metadata is not that of the document"));
    }
    if entry.size.is_some_and(|size| size != digests.size) {
        return Err(contradiction("the size in the metadata is not that of the document"));
    }
    if entry.kind == DocumentKind::Stable {
        entry.hash = Some(digests.sha1.clone());
        entry.size = Some(digests.size);
    }
    Ok(())
}

/// Symbols become UUIDs once, so that every attempt at every destination sends the same.
pub fn rename(submission: &mut Submission, documents: &mut [(crate::metadata::ObjectId, Stored)]) {
    let before: Vec<_> = submission.entries.iter().map(|entry| entry.id.clone()).collect();
    submission.assign_ids();
    for (id, _) in documents {
        if let Some(at) = before.iter().position(|old| old == id) {
            *id = submission.entries[at].id.clone();
        }
    }
}

/// Stores a parcel for each destination. Returns their numbers; those of the first time if it came before.
pub async fn queue(
    gateway: &Gateway,
    mut parcel: Parcel,
    documents: Vec<(crate::metadata::ObjectId, Stored)>,
    destinations: &[SmolStr],
    trace: TraceId,
) -> Result<Vec<u64>, Refused> {
    let unavailable = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, %trace, "a submission could not be stored");
        refused(ErrorCode::XdsRepositoryError, "the submission could not be stored")
    };
    let settling = gateway.files.settling().await;
    parcel.documents = publish(gateway, documents).await.map_err(|error| match error {
        crate::storage::files::FileError::DiskFull => {
            refused(ErrorCode::XdsRepositoryOutOfResources, "there is no room for the documents")
        }
        error => unavailable(&error),
    })?;
    let contents: Vec<String> = parcel.documents.iter().map(|one| one.sha256.to_string()).collect();
    let drafts = destinations.iter().map(|to| parcel.draft(to.clone(), trace)).collect::<Result<Vec<_>, _>>();
    let drafts = drafts.map_err(|error| unavailable(&error))?;
    let fingerprint = parcel.fingerprint().map_err(|error| unavailable(&error))?;
    // What a sender calls a submission is its own affair: two senders may use one id.
    let name = [&parcel.sender, "\0", parcel.submission.set.unique_id.bare()].concat();
    let now = gateway.clock.now();
    let received = gateway.deliveries.receive(&gateway.tenant, &name, fingerprint, drafts, now).await;
    drop(settling);
    match received {
        Ok(Taken::New(numbers)) => Ok(numbers),
        Ok(Taken::Before(numbers)) => {
            release(gateway, &contents).await;
            tracing::info!(%trace, "a submission came again and was not taken twice");
            Ok(numbers)
        }
        Ok(Taken::Different) => {
            release(gateway, &contents).await;
            let text = "another submission came under this submission's uniqueId";
            Err(refused(ErrorCode::XdsDuplicateUniqueIdInRegistry, text))
        }
        Err(error) => {
            release(gateway, &contents).await;
            Err(unavailable(&error))
        }
    }
}

/// What the recipients said in the time that the sender is let wait.
async fn answers(gateway: &Gateway, numbers: &[u64]) -> Vec<RegistryError> {
    let end = Instant::now() + gateway.patience.wait;
    let mut errors = Vec::new();
    let (mut arrived, mut failed) = (0, false);
    for number in numbers {
        let left = end.checked_duration_since(Instant::now()).unwrap_or(Duration::ZERO);
        let queued = || RegistryError::warning(ErrorCode::DocumentQueued, "the documents wait for their recipient");
        let delivery = match tried(gateway, *number, left).await {
            Ok(Some(delivery)) => delivery,
            Ok(None) => continue,
            Err(error) => {
                tracing::error!(%error, number, "a delivery could not be read");
                errors.push(queued());
                continue;
            }
        };
        let reported = delivery.reported.iter().map(|one| RegistryError {
            severity: if one.warning { crate::ebxml::Severity::Warning } else { crate::ebxml::Severity::Error },
            ..RegistryError::new(ErrorCode::from_wire(&one.code), one.text.clone())
        });
        match delivery.state {
            State::Delivered => {
                arrived += 1;
                errors.extend(reported);
            }
            State::Waiting => errors.push(queued()),
            State::Refused => {
                failed = true;
                errors.extend(reported);
            }
            State::GivenUp => {
                failed = true;
                let text = "the recipient could not be reached for too long";
                errors.push(RegistryError::new(ErrorCode::UnavailableRecipient, text));
            }
        }
    }
    if failed && arrived > 0 {
        let text = format!("{arrived} of {} recipients have the documents already", numbers.len());
        errors.push(RegistryError::warning(ErrorCode::DocumentQueued, text));
    }
    errors
}
