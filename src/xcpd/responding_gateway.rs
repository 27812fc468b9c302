//! XCPD Responding Gateway: tells other communities which of our patients theirs is (ITI TF-2: 3.55.4.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::discovery::{
    ACTION_RESPONSE, Match, Outcome, Priority, Refusal, Remains, Request, RequestedAttribute, Response,
    correlation_header,
};
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::gateway::Gateway;
use crate::hl7v3::datatype::Ii;
use crate::id::{Demographics, HomeCommunityId, PatientId, Timestamp, TraceId, Transaction as Iti};
use crate::mpi::{Answer, Attribute};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::routing::package::Attachments;
use crate::storage::engine::StoreError;
use crate::storage::identities::{Candidate, Person, Resolution};

/// The most persons that an answer tells of, and that a search brings up.
const MOST: usize = 10;

/// ITI-55, as a Responding Gateway answers it.
pub struct Discovery;

/// What an answer of any kind repeats.
pub struct Echo {
    us: HomeCommunityId,
    now: Timestamp,
    id: Ii,
    correlation: String,
}

/// Why nothing is looked for or told, with what its answer repeats of the query. Only a query that is refused pays for
/// it.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Refused {
    /// Why. It is told by this error itself, so it is not its source.
    cause: Refusal,
    remains: Box<Remains>,
}

impl Refused {
    fn new(cause: Refusal, remains: impl Into<Remains>) -> Self {
        Self { cause, remains: Box::new(remains.into()) }
    }
}

impl Transaction for Discovery {
    type Wire = Soap;
    const ID: Iti = Iti::Iti55;
    type Request = Request;
    type Response = (Request, Outcome);
    type Refusal = Refused;
    type Echo = Echo;

    fn echo(gateway: &Gateway, received: &Received, _message: &soap::Message<'_>) -> Echo {
        let us = gateway.community.home.clone();
        let now = gateway.clock.now();
        let id = Ii::new(us.oid().as_str(), &received.trace.to_string());
        Echo { us, now, id, correlation: correlation_header(gateway.correlation_days) }
    }

    fn decode(gateway: &Gateway, _caller: &Caller, message: &soap::Message<'_>) -> Result<Request, Failure<Refused>> {
        let envelope = &message.envelope;
        Request::decode(envelope.body, envelope.header, &gateway.domains)
            .map_err(|cause| Failure::Refused(Refused::new(cause, Remains::read(envelope.body))))
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Request>>,
        _extras: Attachments,
    ) -> Result<(Request, Outcome), Refused> {
        let request = call.permitted.request();
        if request.priority == Priority::Deferred {
            return Err(Refused::new(Refusal::DeferredUnsupported, request));
        }
        let named: Vec<HomeCommunityId> = request.receiver_homes().collect();
        if !named.is_empty() && !named.iter().any(|home| gateway.community.serves(home)) {
            return Err(Refused::new(Refusal::NotOurs, request));
        }
        let outcome = find(&gateway, request).map_err(|error| {
            tracing::error!(%error, trace = %call.trace, "patients could not be searched");
            Refused::new(Refusal::Internal, request)
        })?;
        Ok((request.clone(), outcome))
    }

    fn audit(request: &Request, outcome: &Result<(Request, Outcome), Refused>) -> Vec<Part> {
        let query = Object::query(Iti::Iti55, None, request.query().into_bytes());
        let query = match request.receiver_homes().next() {
            Some(home) => query.discovery_home(&home),
            None => query,
        };
        match outcome {
            Ok((_, Outcome::Matches(matches))) => {
                let patients = matches.iter().map(|one| Object::patient(&one.patient_id));
                vec![Part::success(patients.chain([query]).collect())]
            }
            Ok(_) => vec![Part::success(vec![query])],
            Err(refusal) => vec![Part::failure(vec![query], refusal)],
        }
    }

    fn encode(echo: Echo, outcome: Result<(Request, Outcome), Refused>, trace: TraceId) -> soap::Answer {
        let headers = match &outcome {
            Ok((_, Outcome::Matches(_))) => echo.correlation,
            _ => String::new(),
        };
        let response = match outcome {
            Ok((request, outcome)) => Response::new(&request, echo.id, echo.now, &echo.us, outcome),
            Err(Refused { cause, remains }) => {
                let mut response = Response::refusal(*remains, &cause, echo.id, echo.now, &echo.us);
                if let Outcome::Error { text, .. } = &mut response.outcome {
                    *text = format!("{text} (trace {trace})");
                }
                response
            }
        };
        soap::Answer { action: ACTION_RESPONSE, headers, body: response.encode(), mtom: false, documents: Vec::new() }
    }
}

/// Whom a query means: by an identifier that is ours, else by demographics.
fn find(gateway: &Gateway, request: &Request) -> Result<Outcome, StoreError> {
    let asked = &request.parameters;
    if let Some(person) = known(gateway, &asked.ids)? {
        // An identifier alone proves nothing when name or birth date say otherwise.
        let agrees = asked.demographics.names.is_empty() || super::agrees(&asked.demographics, &person);
        return Ok(if agrees { Outcome::Matches(matches(gateway, &person, None)) } else { Outcome::NoMatch });
    }
    if asked.demographics.names.is_empty() || asked.demographics.birth.is_none() {
        return Ok(Outcome::NoMatch);
    }
    let demographics = with_ids(request);
    let found = gateway.identities.search(&gateway.tenant, &demographics, MOST)?;
    if found.blocks_skipped > 0 && found.candidates.is_empty() {
        tracing::warn!(blocks = found.blocks_skipped, "a search passed over blocks that are too large");
    }
    Ok(choose(gateway, request, &demographics, found.candidates))
}

/// The query's demographics with the identifiers that no domain of ours gave out: social security numbers and the like.
fn with_ids(request: &Request) -> Demographics {
    let mut demographics = request.parameters.demographics.clone();
    demographics.other_ids.extend(request.parameters.ids.iter().cloned());
    demographics
}

/// The person who has one of the identifiers, if they do not point to two.
fn known(gateway: &Gateway, ids: &[PatientId]) -> Result<Option<Person>, StoreError> {
    let mut person: Option<Person> = None;
    for id in ids.iter().filter(|id| gateway.domains.knows(id)) {
        let Resolution::Active(found) = gateway.identities.resolve(&gateway.tenant, id)? else { continue };
        if person.as_ref().is_some_and(|other| other.key != found.key) {
            return Ok(None);
        }
        person = Some(found);
    }
    Ok(person)
}

fn choose(gateway: &Gateway, request: &Request, demographics: &Demographics, candidates: Vec<Candidate>) -> Outcome {
    let profile = crate::mpi::Profile::of(demographics);
    let (persons, weighed): (Vec<_>, Vec<_>) =
        candidates.into_iter().map(|one| (one.person, (one.profile, one.explanation))).unzip();
    let minimum = request.parameters.minimum_degree.unwrap_or(0);
    let told = |at: usize| {
        let score = weighed[at].1.score();
        if score < minimum { Vec::new() } else { matches(gateway, &persons[at], Some(score)) }
    };
    match crate::mpi::link::answer(&profile, &weighed, &gateway.thresholds) {
        Answer::None => Outcome::NoMatch,
        Answer::Match(at) => Outcome::Matches(told(at)),
        Answer::Several(several) => {
            let all: Vec<Match> = several.into_iter().flat_map(told).collect();
            // At most one match of a domain may be told (NHIN): more would leave the choice to chance.
            let mut domains: Vec<_> = all.iter().map(|one| one.patient_id.authority()).collect();
            domains.sort_unstable();
            let before = domains.len();
            domains.dedup();
            if domains.len() < before { Outcome::NoMatch } else { Outcome::Matches(all) }
        }
        Answer::Ambiguous(attributes) => Outcome::MoreAttributes(
            attributes
                .into_iter()
                .map(|attribute| match attribute {
                    Attribute::Gender => RequestedAttribute::Gender,
                    Attribute::Address => RequestedAttribute::Address,
                    Attribute::Telecom => RequestedAttribute::Telecom,
                })
                .collect(),
        ),
    }
}

/// What is told of a person: one match for each community that knows them, under the identifier to use there.
fn matches(gateway: &Gateway, person: &Person, score: Option<u8>) -> Vec<Match> {
    let mut by_home: BTreeMap<&HomeCommunityId, Vec<&PatientId>> = BTreeMap::new();
    // In the order of the configuration, the first domain of a community is the one that its documents are under.
    for domain in gateway.domains.iter() {
        let ids = person.ids().filter(|id| *id.authority() == domain.authority);
        by_home.entry(gateway.community.home_of(&domain.authority)).or_default().extend(ids);
    }
    let told = by_home.into_iter().filter_map(|(home, ids)| {
        let (first, others) = ids.split_first()?;
        let mut demographics = person.demographics(Some(first))?.clone();
        demographics.other_ids = others.iter().map(|id| (*id).clone()).collect();
        Some(Match {
            patient_id: (*first).clone(),
            home: Some(home.clone()),
            demographics,
            score: Some(score.unwrap_or(100)),
            locator: false,
        })
    });
    told.collect()
}
