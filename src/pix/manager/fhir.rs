//! PIXm over HTTPS: `$ihe-pix` (ITI-83) and the feed of patients (ITI-104).

use std::sync::Arc;

use smol_str::SmolStr;

use super::{answer, apply};
use crate::atna::{Action, Object};
use crate::authenticate::Caller;
use crate::fhir::outcome::Refusal;
use crate::fhir::person;
use crate::fhir::pixm::{Feed, Request, Response};
use crate::fhir::resource::{Identifier, Patient, Reference};
use crate::gateway::Gateway;
use crate::id::{AssigningAuthority, Domains, PatientId, Timestamp, TraceId, Transaction as Iti};
use crate::metadata::Availability;
use crate::metadata::query::{FindDocuments, Query};
use crate::pipeline::fhir::{self, Fhir, Message};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::pix::feed_v2::{self, FeedRequest, Pair};
use crate::pix::question::{self, Answer, Question};
use crate::storage::engine::StoreError;
use crate::storage::identities::{IdentityError, MergeRules, Person, Resolution};

/// ITI-83, as the manager answers it.
pub struct QueryFhir;

/// What was asked, in whichever way.
pub struct Asked {
    request: Request,
    /// As it came, for the audit record.
    sent: Vec<u8>,
}

impl Transaction for QueryFhir {
    type Wire = Fhir;
    const ID: Iti = Iti::Iti83;
    type Request = Asked;
    type Response = Response;
    type Refusal = Refusal;
    type Echo = Domains;

    fn echo(gateway: &Gateway, _received: &Received, _message: &Message) -> Domains {
        gateway.domains.clone()
    }

    fn decode(_gateway: &Gateway, _caller: &Caller, message: &Message) -> Result<Asked, Failure<Refusal>> {
        let read = match message.resource() {
            Some(parameters) => Request::from_parameters(parameters),
            None => Request::from_query(&message.query, message.form(), message.headers.handling()),
        };
        Ok(Asked { request: read.map_err(Failure::Refused)?, sent: message.asked() })
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Asked>>, _extras: ()) -> Result<Response, Refusal> {
        cross_references(&gateway, &call.permitted.request().request)
    }

    fn audit(asked: &Asked, outcome: &Result<Response, Refusal>) -> Vec<Part> {
        let query = Object::query(Iti::Iti83, None, asked.sent.clone());
        vec![match outcome {
            Ok(response) => Part::success(response.identifiers.iter().map(Object::patient).chain([query]).collect()),
            Err(refusal) => Part::failure(vec![query], refusal),
        }]
    }

    fn encode(domains: Domains, outcome: Result<Response, Refusal>, trace: TraceId) -> fhir::Answer {
        match outcome {
            Ok(response) => fhir::Answer::resource(200, response.encode(&domains)),
            Err(refusal) => fhir::Answer::refused(&refusal, trace),
        }
    }
}

/// The identifiers of whoever has one, and the Patient here. Both the source and a target may be this server itself
/// (PIXm 2:3.83.4.1.2): `https://gateway.example.org/fhir|Patient/id`.
fn cross_references(gateway: &Gateway, request: &Request) -> Result<Response, Refusal> {
    let base = person::base(gateway);
    let is_here = |system: &SmolStr| system.trim_end_matches('/') == base;
    let (here, elsewhere): (Vec<SmolStr>, Vec<SmolStr>) = request.targets.iter().cloned().partition(is_here);
    let wants_reference = request.targets.is_empty() || !here.is_empty();
    let wants_identifiers = request.targets.is_empty() || !elsewhere.is_empty();
    if request.source.system.as_ref().is_some_and(is_here) {
        let reference = Reference::to(request.source.value.clone().unwrap_or_default());
        let person = person::by_reference(gateway, &reference).map_err(|error| unavailable(&error))?;
        let person = person.ok_or(Refusal::SourceIdentifierUnknown)?;
        let wanted = Request { targets: elsewhere, ..request.clone() }.targets(&gateway.domains)?;
        let ids = person.ids().filter(|id| wanted.is_empty() || wanted.contains(id.authority()));
        let identifiers = if wants_identifiers { ids.cloned().collect() } else { Vec::new() };
        return Ok(Response { identifiers, references: Vec::new() });
    }
    let wanted = Request { targets: elsewhere, ..request.clone() }.resolve(&gateway.domains)?;
    let question = Question { id: wanted.source, wanted: wanted.targets };
    let identifiers = match answer(gateway, &question) {
        Answer::Found(ids) => ids,
        Answer::NothingFound => Vec::new(),
        Answer::Refused(refusal) => return Err(refusal.into()),
    };
    let identifiers = if wants_identifiers { identifiers } else { Vec::new() };
    // Nothing found is nothing, unless this server itself was asked for.
    let references = if wants_reference && (!identifiers.is_empty() || !here.is_empty()) {
        let found = gateway.identities.resolve(&gateway.tenant, &question.id).map_err(|error| unavailable(&error))?;
        found.active().map(|person| person::url(gateway, person.key)).into_iter().collect()
    } else {
        Vec::new()
    };
    Ok(Response { identifiers, references })
}

fn unavailable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "a patient could not be read");
    Refusal::Unavailable
}

impl From<question::Refusal> for Refusal {
    /// PIXm 2:3.83.4.2.2, cases 3 to 5.
    fn from(refusal: question::Refusal) -> Self {
        match refusal {
            question::Refusal::UnknownId => Self::SourceIdentifierUnknown,
            question::Refusal::UnknownDomain => Self::SourceDomainUnknown,
            question::Refusal::UnknownWantedDomains(_) => Self::TargetSystemUnknown,
            question::Refusal::Unavailable => Self::Unavailable,
            question::Refusal::Other(_) => Self::Internal,
        }
    }
}

/// ITI-104, as the manager takes it.
pub struct FeedFhir;

/// What was sent, and of which domains the client may speak.
pub struct Fed {
    feed: Feed,
    authorities: Vec<AssigningAuthority>,
    wants_representation: bool,
}

/// What became of it.
pub struct Done {
    created: bool,
    /// Nothing was written, because the condition of a creation found the record.
    untouched: bool,
    /// The URL of the Patient; none after a removal.
    location: Option<SmolStr>,
    /// The identifier that a merge left in use.
    survivor: Option<PatientId>,
    /// The Patient, if the client wants to see it.
    patient: Option<Patient>,
    at: Timestamp,
}

impl Transaction for FeedFhir {
    type Wire = Fhir;
    const ID: Iti = Iti::Iti104;
    type Request = Fed;
    type Response = Done;
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_gateway: &Gateway, _received: &Received, _message: &Message) {}

    fn decode(_gateway: &Gateway, caller: &Caller, message: &Message) -> Result<Fed, Failure<Refusal>> {
        if message.form().is_some() {
            return Err(Failure::Refused(Refusal::UnsupportedMediaType));
        }
        let condition = message.headers.if_none_exist.as_deref();
        let feed = Feed::decode(&message.method, &message.query, condition, message.resource());
        Ok(Fed {
            feed: feed.map_err(Failure::Refused)?,
            authorities: caller.client().map(|client| client.feeds.clone()).unwrap_or_default(),
            wants_representation: message.headers.wants_representation(),
        })
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Fed>>, _extras: ()) -> Result<Done, Refusal> {
        take(&gateway, call.permitted.request(), call.at).await
    }

    fn audit(fed: &Fed, outcome: &Result<Done, Refusal>) -> Vec<Part> {
        let touched = |action: Action, id: &PatientId| {
            let patient = vec![Object::patient(id)];
            let part = match outcome {
                Ok(_) => Part::success(patient),
                Err(refusal) => Part::failure(patient, refusal),
            };
            Part { action: Some(action), ..part }
        };
        let made = match outcome {
            Ok(done) if done.created => Action::Create,
            Ok(done) if done.untouched => Action::Read,
            Ok(_) | Err(_) => Action::Update,
        };
        match &fed.feed {
            Feed::Create { patient, .. } => {
                let made = if outcome.is_err() { Action::Create } else { made };
                match patient.patient_ids().next() {
                    Some(id) => vec![touched(made, &id)],
                    None => vec![match outcome {
                        Ok(_) => Part::success(Vec::new()),
                        Err(refusal) => Part::failure(Vec::new(), refusal),
                    }],
                }
            }
            Feed::Revise { id, .. } => vec![touched(made, id)],
            // Two records, because a record names one patient: the one that went away, the one that stays.
            Feed::Merge { subsumed, survivor, .. } => {
                let named = || survivor.identifier.as_ref().and_then(Identifier::patient_id);
                let survivor = outcome.as_ref().ok().and_then(|done| done.survivor.clone()).or_else(named);
                let parts = survivor.map(|id| touched(Action::Update, &id));
                [touched(Action::Delete, subsumed)].into_iter().chain(parts).collect()
            }
            Feed::Remove { id } => vec![touched(Action::Delete, id)],
        }
    }

    fn encode(_echo: (), outcome: Result<Done, Refusal>, trace: TraceId) -> fhir::Answer {
        let done = match outcome {
            Ok(done) => done,
            Err(refusal) => return fhir::Answer::refused(&refusal, trace),
        };
        let Some(location) = done.location else { return fhir::Answer::nothing(204) };
        let status = if done.created { 201 } else { 200 };
        let answer = match &done.patient {
            Some(patient) => fhir::Answer::resource(status, person::encode(patient, done.at)),
            None => fhir::Answer::nothing(status),
        };
        answer.with("Location", location.into())
    }
}

/// Takes a feed into the cross-reference.
async fn take(gateway: &Gateway, fed: &Fed, at: Timestamp) -> Result<Done, Refusal> {
    match &fed.feed {
        Feed::Create { condition, patient } => {
            if let Some(id) = condition {
                may_feed(fed, id)?;
                if let Some(person) = known(gateway, id)? {
                    return Ok(done(gateway, fed, patient, &person, (false, true), at));
                }
            }
            let (demographics, ids) = patient.sorted(&gateway.domains);
            let first = ids.first().ok_or(Refusal::Profile(NO_IDENTIFIER.into()))?.clone();
            ids.iter().try_for_each(|id| may_feed(fed, id))?;
            for id in &ids {
                if known(gateway, id)?.is_some() {
                    return Err(Refusal::Conflict("an identifier of the patient is known already".into()));
                }
            }
            store(gateway, fed, FeedRequest::Add { ids, demographics: Box::new(demographics) }, at).await?;
            settled(gateway, fed, patient, &first, true, at)
        }
        Feed::Revise { id, patient } => {
            if patient.active == Some(false) {
                let text = "a record ends by a link to the one that replaces it, or by DELETE";
                return Err(Refusal::Profile(text.into()));
            }
            let created = known(gateway, id)?.is_none();
            let (demographics, mut ids) = patient.sorted(&gateway.domains);
            ids.retain(|own| own != id);
            ids.insert(0, id.clone());
            store(gateway, fed, FeedRequest::Add { ids, demographics: Box::new(demographics) }, at).await?;
            settled(gateway, fed, patient, id, created, at)
        }
        Feed::Merge { subsumed, survivor, patient } => {
            let survivor = survivor_of(gateway, survivor, subsumed)?;
            let pair = Pair { survivor: survivor.clone(), subsumed: subsumed.clone() };
            store(gateway, fed, FeedRequest::Merge(vec![pair]), at).await?;
            let done = settled(gateway, fed, patient, &survivor, false, at)?;
            Ok(Done { survivor: Some(survivor), ..done })
        }
        Feed::Remove { id } => {
            may_feed(fed, id)?;
            remove(gateway, id, at).await?;
            Ok(Done { created: false, untouched: false, location: None, survivor: None, patient: None, at })
        }
    }
}

const NO_IDENTIFIER: &str = "no identifier of the patient is of a domain known here";

fn may_feed(fed: &Fed, id: &PatientId) -> Result<(), Refusal> {
    let own = fed.authorities.contains(id.authority());
    if own { Ok(()) } else { Err(feed_v2::Refusal::NotTheSource.into()) }
}

async fn store(gateway: &Gateway, fed: &Fed, change: FeedRequest, at: Timestamp) -> Result<(), Refusal> {
    Ok(apply(gateway, &change, &fed.authorities, MergeRules::BothKnown, at).await?)
}

fn known(gateway: &Gateway, id: &PatientId) -> Result<Option<Person>, Refusal> {
    match gateway.identities.resolve(&gateway.tenant, id) {
        Ok(Resolution::Active(person) | Resolution::Replaced { person, .. }) => Ok(Some(person)),
        Ok(Resolution::Unknown) => Ok(None),
        Err(error) => Err(unavailable(&error)),
    }
}

/// What is answered about a record that is stored now.
fn settled(
    gateway: &Gateway,
    fed: &Fed,
    patient: &Patient,
    id: &PatientId,
    created: bool,
    at: Timestamp,
) -> Result<Done, Refusal> {
    // Nobody is there any more if another feed took the record back at the same moment.
    let person = known(gateway, id)?.ok_or(Refusal::Conflict("the record was removed at the same moment".into()))?;
    Ok(done(gateway, fed, patient, &person, (created, false), at))
}

/// A client sees what it sent, and no identifier of another source.
fn done(
    gateway: &Gateway,
    fed: &Fed,
    patient: &Patient,
    person: &Person,
    (created, untouched): (bool, bool),
    at: Timestamp,
) -> Done {
    let shown = || Patient { id: Some(gateway.names.name(person.key)), ..patient.clone() };
    Done {
        created,
        untouched,
        location: Some(person::url(gateway, person.key)),
        survivor: None,
        patient: fed.wants_representation.then(shown),
        at,
    }
}

/// The identifier that a link `replaced-by` means, in the domain of the one that is replaced.
fn survivor_of(gateway: &Gateway, link: &Reference, subsumed: &PatientId) -> Result<PatientId, Refusal> {
    if let Some(identifier) = &link.identifier {
        return identifier.patient_id().ok_or(Refusal::Unusable("Patient.link.other.identifier".into()));
    }
    let person = person::by_reference(gateway, link).map_err(|error| unavailable(&error))?;
    let person = person.ok_or_else(|| Refusal::from(feed_v2::Refusal::UnknownSurvivor))?;
    let same_domain = person.ids().filter(|id| id.authority() == subsumed.authority() && *id != subsumed);
    match same_domain.collect::<Vec<_>>()[..] {
        [one] => Ok(one.clone()),
        _ => Err(Refusal::Profile("the link names no single record of the same domain".into())),
    }
}

/// Takes a record back. One whose patient has documents stays: nobody would find them any more.
async fn remove(gateway: &Gateway, id: &PatientId, at: Timestamp) -> Result<(), Refusal> {
    let person = known(gateway, id)?.ok_or(Refusal::NotFound("Patient"))?;
    let find = FindDocuments {
        patients: person.chain(id),
        statuses: vec![Availability::Approved, Availability::Deprecated],
        ..FindDocuments::default()
    };
    let documents = gateway.documents.search(&gateway.tenant, &Query::FindDocumentsForMultiplePatients(find), 1);
    match documents {
        Ok(found) if found.is_empty() => {}
        Ok(_) | Err(crate::storage::documents::SearchError::TooMany(_)) => {
            return Err(Refusal::Conflict("documents are registered for the patient".into()));
        }
        Err(error) => {
            tracing::error!(%error, "the documents of a patient could not be read");
            return Err(Refusal::Unavailable);
        }
    }
    match gateway.identities.remove(&gateway.tenant, id.clone(), at).await {
        Ok(()) => Ok(()),
        // A merged identifier is known no more, as in every query.
        Err(IdentityError::Refused(_)) => Err(Refusal::NotFound("Patient")),
        Err(IdentityError::Store(error)) => Err(unavailable(&error)),
    }
}

impl From<feed_v2::Refusal> for Refusal {
    /// What the manager refuses, whatever the dialect. No `_` arm: whoever adds a refusal picks its answer.
    fn from(refusal: feed_v2::Refusal) -> Self {
        use feed_v2::Refusal as R;
        let text = refusal.to_string();
        match refusal {
            R::NotTheSource => Self::Forbidden(text),
            R::DifferentAuthorities | R::SameIdentifier | R::UnknownSurvivor => Self::Profile(text),
            R::UnknownSubsumed | R::InUse => Self::Conflict(text),
            R::UnknownPatient => Self::NotFound("Patient"),
            R::Unavailable => Self::Unavailable,
            // Of messages in HL7 v2 only.
            R::MessageType
            | R::EventType
            | R::Header(_)
            | R::ProcessingId
            | R::Version
            | R::NoSegment(_)
            | R::TooManySegments(_)
            | R::NoIdentifier(_)
            | R::Identifier { .. }
            | R::Authority { .. }
            | R::Date(_) => Self::Internal,
        }
    }
}
