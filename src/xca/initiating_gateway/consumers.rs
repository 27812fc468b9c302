//! What our own document consumers ask of the Initiating Gateway: ITI-18 and ITI-43, answered from here and from the
//! communities that know the patient, as one answer (ITI TF-2: 3.18.4.1.3, 3.43.4.1.3, 3.38.4.1.3, 3.39.4.1.3).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use smol_str::SmolStr;

use super::{Batch, Brought, Question, Target, ask_all, batches, question, retrieve};
use crate::authenticate::Caller;
use crate::directory::{Partner, ResolveError};
use crate::ebxml::{ErrorCode, RegistryError};
use crate::gateway::Gateway;
use crate::id::{HomeCommunityId, PatientId, TraceId, Transaction as Iti};
use crate::pipeline::outgoing::Errands;
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Denied, Failure, Part, Received, Transaction};
use crate::routing::fan_out::{Leg, State, StateName};
use crate::routing::package::Attachments;
use crate::storage::engine::StoreError;
use crate::storage::identities::{Person, Resolution};
use crate::xca::query::{HomeError, Request as Query, Response};
use crate::xca::responding_gateway::home_of;
use crate::xca::retrieve::{DocumentId, Request as Retrieve, error_about};
use crate::xcpd::initiating_gateway::{Found, Sought, discover};
use crate::xds::retrieval::{self, Retrieved, Unreadable};
use crate::xds::{external, registry, stored_query};

/// ITI-18, as an Initiating Gateway answers it.
pub struct FederatedQuery;

impl Transaction for FederatedQuery {
    type Wire = Soap;
    const ID: Iti = Iti::Iti18;
    type Request = Query;
    type Response = Response;
    type Refusal = stored_query::Refusal;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Query, Failure<stored_query::Refusal>> {
        Query::decode(message.envelope.body).and_then(Query::of_one_patient).map_err(Failure::Refused)
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Query>>,
        _extras: Attachments,
    ) -> Result<Response, stored_query::Refusal> {
        Ok(everywhere(&gateway, &call).await.unwrap_or_else(Response::failure))
    }

    fn audit(request: &Query, outcome: &Result<Response, stored_query::Refusal>) -> Vec<Part> {
        registry::query_parts(Iti::Iti18, request, outcome)
    }

    fn encode((): (), outcome: Result<Response, stored_query::Refusal>, trace: TraceId) -> soap::Answer {
        let response = outcome.unwrap_or_else(|refusal| registry::refused(&refusal));
        registry::answer(registry::QUERY_ACTION_RESPONSE, response, trace)
    }
}

/// The union of what is here and what the communities answer, with an error for each that did not.
async fn everywhere(gateway: &Arc<Gateway>, call: &Call<Query>) -> Result<Response, RegistryError> {
    let request = call.permitted.request();
    if request.home.is_none() && request.query.patients().is_empty() {
        return Err(RegistryError::from(&HomeError::Missing));
    }
    let is_wanted = |home: &HomeCommunityId| match &request.home {
        Some(named) => named == home,
        None => request.target_communities.is_empty() || request.target_communities.contains(home),
    };
    let mut response = Response::default();
    if request.home.as_ref().is_none_or(|home| gateway.community.serves(home)) {
        response = external::search(gateway, call, request).await;
        for object in &mut response.objects {
            object.set_home(home_of(gateway, object, request.home.as_ref()));
        }
        response.objects.retain(|object| object.home().is_none_or(is_wanted));
        if request.home.is_some() {
            return Ok(response);
        }
    }
    others(gateway, &errands(gateway, call)?, request, is_wanted, &mut response).await?;
    Ok(response)
}

/// One partner's share in an answer.
#[derive(Clone, Debug)]
pub struct Share {
    /// The partner's key.
    pub partner: SmolStr,
    /// The community that it was asked for.
    pub home: HomeCommunityId,
    /// What it was asked.
    pub transaction: Iti,
    /// How that ended.
    pub state: StateName,
    /// Why it ended so; the partner's errors beside an answer too. It may be in the partner's own words.
    pub reason: Option<String>,
    /// Matches or objects in its answer.
    pub results: usize,
}

impl Share {
    fn of<T>(
        partner: &Partner,
        home: &HomeCommunityId,
        transaction: Iti,
        state: &State<T>,
        results: impl FnOnce(&T) -> usize,
    ) -> Self {
        let results = if let State::Answered(answer) = state { results(answer) } else { 0 };
        let (partner, home, reason) = (partner.key.clone(), home.clone(), state.reason().map(str::to_owned));
        Self { partner, home, transaction, state: state.name(), reason, results }
    }

    /// Whether the partner was asked and told everything.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, StateName::Answered | StateName::Empty) && self.reason.is_none()
    }
}

/// What other communities had to say.
#[derive(Debug, Default)]
pub struct Others {
    /// Each partner's share, in the order in which they were asked.
    pub shares: Vec<Share>,
    /// The partner through which the objects of each community came.
    pub through: HashMap<HomeCommunityId, SmolStr>,
}

/// Adds what the communities that know the patient answer, with an error for each that did not.
pub async fn others(
    gateway: &Arc<Gateway>,
    errands: &Errands,
    request: &Query,
    is_wanted: impl Fn(&HomeCommunityId) -> bool,
    response: &mut Response,
) -> Result<Others, RegistryError> {
    let mut others = Others::default();
    let targets = targets(gateway, errands, request, is_wanted, &mut response.errors, &mut others.shares).await?;
    let now = gateway.clock.now();
    let questions = targets.into_iter().map(|target| Question { request: question(&target, request, now), target });
    let legs = ask_all(gateway, errands, questions.collect()).await.map_err(not_recorded)?;
    for leg in legs {
        let target = &leg.partner.target;
        let results = |answer: &Response| answer.objects.len();
        let mut share = Share::of(&target.partner, &target.home, Iti::Iti38, &leg.state, results);
        if let State::Answered(answer) = &leg.state {
            for home in answer.objects.iter().filter_map(|object| object.home()) {
                others.through.entry(home.clone()).or_insert_with(|| target.partner.key.clone());
            }
            let notes: Vec<String> = answer.errors.iter().chain(&answer.unreadable).map(super::in_words).collect();
            share.reason = (!notes.is_empty()).then(|| notes.join("; "));
        }
        others.shares.push(share);
        merge(leg, request.home.is_some(), response);
    }
    Ok(others)
}

fn errands<R>(gateway: &Gateway, call: &Call<R>) -> Result<Errands, RegistryError> {
    Errands::on_behalf_of(gateway, call).ok_or_else(|| {
        RegistryError::new(ErrorCode::XdsRegistryError, "the request names no user and purpose to ask others for")
    })
}

fn not_recorded(denied: Denied) -> RegistryError {
    RegistryError::new(ErrorCode::XdsRegistryError, denied.to_string())
}

fn unreadable(error: &StoreError, trace: TraceId) -> RegistryError {
    tracing::error!(%error, %trace, "the patient cross-reference could not be read");
    RegistryError::new(ErrorCode::XdsRegistryError, "the patient cross-reference could not be read")
}

fn unavailable(home: &HomeCommunityId, partner: &Partner, reason: &str) -> RegistryError {
    let text = format!("{home} could not be asked through {}: {reason}", partner.key);
    RegistryError::new(ErrorCode::XdsUnavailableCommunity, text).at(home.to_string())
}

fn unresolved(home: &HomeCommunityId, error: &ResolveError) -> RegistryError {
    let code = match error {
        ResolveError::UnknownCommunity(_) => ErrorCode::XdsUnknownCommunity,
        ResolveError::DoesNotRespond { .. } | ResolveError::NoAddress { .. } => ErrorCode::XdsUnavailableCommunity,
    };
    RegistryError::new(code, error.to_string()).at(home.to_string())
}

/// What a state without an answer is told as.
fn in_words<T>(state: &State<T>) -> String {
    match state.reason() {
        Some(reason) => format!("{}: {reason}", state.name()),
        None => state.name().to_string(),
    }
}

/// The communities to ask, each with the identifier that the patient has there. Those that cannot be found out about
/// are errors of the answer.
async fn targets(
    gateway: &Arc<Gateway>,
    errands: &Errands,
    request: &Query,
    is_wanted: impl Fn(&HomeCommunityId) -> bool,
    errors: &mut Vec<RegistryError>,
    shares: &mut Vec<Share>,
) -> Result<Vec<Target>, RegistryError> {
    let named = match &request.home {
        Some(home) => {
            let route = gateway.directory.resolve(home, Iti::Iti38).map_err(|error| unresolved(home, &error))?;
            Some((home, route.partner))
        }
        None => None,
    };
    let patient = match request.query.patients() {
        [patient] => Some(patient),
        _ => None,
    };
    let resolved = match patient {
        Some(patient) => gateway.identities.resolve(&gateway.tenant, patient),
        None => Ok(Resolution::Unknown),
    };
    let person = resolved.map_err(|error| unreadable(&error, errands.trace))?.active();
    let Some((person, patient)) = person.zip(patient) else {
        // Nobody whom we know: a community that is named gets the query as it is, for it may know better.
        let target = |(home, partner): (&HomeCommunityId, Arc<Partner>)| Target {
            home: home.clone(),
            patient_id: patient.cloned(),
            partner,
        };
        return Ok(named.map(target).into_iter().collect());
    };
    let mut targets = Targets { gateway, found: Vec::new(), errors };
    let asked = targets.remembered(&person, &is_wanted, errands.trace)?;
    let mut partners = match named {
        Some((_, partner)) => vec![partner],
        None => gateway.directory.snapshot().responders(Iti::Iti55),
    };
    partners.retain(|partner| {
        let speaks_for_a_wanted = is_wanted(&partner.home) || partner.members.iter().any(|one| is_wanted(&one.home));
        let is_wanted = speaks_for_a_wanted || partner.record_locator || request.home.is_some();
        if !is_wanted || asked.contains(&partner.home) {
            return false;
        }
        match errands.prepare(gateway, Iti::Iti55, partner) {
            Ok(_) => true,
            Err(reason) => {
                let state: State<()> = State::Skipped(reason);
                shares.push(Share::of(partner, &partner.home, Iti::Iti55, &state, |()| 0));
                false
            }
        }
    });
    let sought = Sought::known(person, Some(patient.clone()));
    let legs = discover(gateway, errands, &sought, partners).await.map_err(not_recorded)?;
    for leg in legs {
        shares.push(Share::of(&leg.partner, &leg.partner.home, Iti::Iti55, &leg.state, Vec::len));
        targets.discovered(leg, &is_wanted);
    }
    Ok(targets.found)
}

struct Targets<'g> {
    gateway: &'g Gateway,
    found: Vec<Target>,
    errors: &'g mut Vec<RegistryError>,
}

impl Targets<'_> {
    /// Those whose identifier of the patient may still be used. Gives the communities that need not be asked again.
    fn remembered(
        &mut self,
        person: &Person,
        is_wanted: &impl Fn(&HomeCommunityId) -> bool,
        trace: TraceId,
    ) -> Result<HashSet<HomeCommunityId>, RegistryError> {
        let now = self.gateway.clock.now();
        let known = self.gateway.identities.correlations(&self.gateway.tenant, person.key);
        let mut asked = HashSet::new();
        for one in known.map_err(|error| unreadable(&error, trace))? {
            if !one.is_valid(now) || !is_wanted(&one.home) {
                continue;
            }
            for patient_id in one.patient_ids {
                self.add(&one.home, patient_id, None);
            }
            asked.insert(one.via.unwrap_or_else(|| one.home.clone()));
            asked.insert(one.home);
        }
        Ok(asked)
    }

    fn discovered(&mut self, leg: Leg<Arc<Partner>, Vec<Found>>, is_wanted: &impl Fn(&HomeCommunityId) -> bool) {
        match &leg.state {
            State::Empty => {}
            State::Answered(found) => {
                for one in found.iter().filter(|one| is_wanted(&one.home)) {
                    self.add(&one.home, one.patient_id.clone(), Some(&leg.partner));
                }
            }
            state @ (State::Refused(_) | State::TimedOut | State::Unreachable(_) | State::Skipped(_)) => {
                self.errors.push(unavailable(&leg.partner.home, &leg.partner, &in_words(state)));
            }
        }
    }

    /// The community is asked at its own address if it is a partner, else through whoever named it.
    fn add(&mut self, home: &HomeCommunityId, patient_id: PatientId, through: Option<&Arc<Partner>>) {
        if self.found.iter().any(|t| t.home == *home && t.patient_id.as_ref() == Some(&patient_id)) {
            return;
        }
        match (self.gateway.directory.resolve(home, Iti::Iti38), through) {
            (Ok(route), _) => self.push(home, patient_id, route.partner),
            (Err(_), Some(through)) => self.push(home, patient_id, through.clone()),
            (Err(error), None) => self.errors.push(unresolved(home, &error)),
        }
    }

    fn push(&mut self, home: &HomeCommunityId, patient_id: PatientId, partner: Arc<Partner>) {
        self.found.push(Target { home: home.clone(), patient_id: Some(patient_id), partner });
    }
}

/// Adds one community's part. That it does not know the patient is no news beside what others know; if it was the only
/// one asked, it is the answer.
fn merge(leg: Leg<Question, Response>, is_only: bool, into: &mut Response) {
    let Question { target, .. } = leg.partner;
    match leg.state {
        State::Answered(response) => {
            into.objects.extend(response.objects);
            let is_news = |error: &RegistryError| is_only || error.code != ErrorCode::XdsUnknownPatientId;
            into.errors.extend(response.errors.into_iter().filter(is_news));
            into.unreadable.extend(response.unreadable);
        }
        State::Empty => {}
        state @ (State::Refused(_) | State::TimedOut | State::Unreachable(_) | State::Skipped(_)) => {
            into.errors.push(unavailable(&target.home, &target.partner, &in_words(&state)));
        }
    }
}

/// ITI-43, as an Initiating Gateway answers it.
pub struct FederatedRetrieve;

impl Transaction for FederatedRetrieve {
    type Wire = Soap;
    const ID: Iti = Iti::Iti43;
    type Request = Retrieve;
    type Response = Retrieved;
    type Refusal = Unreadable;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Retrieve, Failure<Unreadable>> {
        retrieval::decode(message)
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Retrieve>>,
        _extras: Attachments,
    ) -> Result<Retrieved, Unreadable> {
        bring(&gateway, &call).await
    }

    fn audit(request: &Retrieve, outcome: &Result<Retrieved, Unreadable>) -> Vec<Part> {
        retrieval::parts(request, outcome.as_ref().map(|retrieved| &retrieved.response))
    }

    fn encode((): (), outcome: Result<Retrieved, Unreadable>, trace: TraceId) -> soap::Answer {
        outcome.unwrap_or_else(Retrieved::from).answer(retrieval::ACTION_RESPONSE, trace)
    }
}

/// Opens what is kept here and brings the rest from its communities.
async fn bring(gateway: &Arc<Gateway>, call: &Call<Retrieve>) -> Result<Retrieved, Unreadable> {
    let mut retrieved = Retrieved::default();
    let (mut elsewhere, mut beside) = (Vec::new(), Vec::new());
    for wanted in &call.permitted.request().documents {
        let ours = wanted.home.as_ref().is_none_or(|home| gateway.community.serves(home));
        if let Some(partner) = external::repository(gateway, wanted).filter(|_| ours) {
            beside.push((wanted.clone(), partner));
            continue;
        }
        let missing = match &wanted.home {
            Some(home) if !gateway.community.serves(home) => match gateway.directory.resolve(home, Iti::Iti39) {
                Ok(route) => {
                    elsewhere.push((wanted.clone(), route.partner));
                    continue;
                }
                Err(error) => Err(about(wanted, unresolved(home, &error))),
            },
            home => retrieved.open(gateway, wanted, home.as_ref()).await.map_err(|(code, text)| {
                let code = match (home, code) {
                    // Without a community only our own repositories could have been meant.
                    (None, ErrorCode::XdsUnknownRepositoryId) => ErrorCode::XdsMissingHomeCommunityId,
                    (_, code) => code,
                };
                about(wanted, RegistryError::new(code, text))
            }),
        };
        retrieved.response.errors.extend(missing.err());
    }
    external::bring(gateway, call, beside, &mut retrieved).await;
    if elsewhere.is_empty() {
        return Ok(retrieved);
    }
    let errands = errands(gateway, call).map_err(|error| Unreadable(error.context.clone()))?;
    let legs =
        retrieve(gateway, &errands, batches(elsewhere)).await.map_err(|denied| Unreadable(denied.to_string()))?;
    for leg in legs {
        pass_on(leg, &mut retrieved).await;
    }
    Ok(retrieved)
}

fn about(wanted: &DocumentId, error: RegistryError) -> RegistryError {
    match &wanted.home {
        Some(home) => error_about(error.code, error.context, wanted, home),
        None => error.at(wanted.document.to_string()),
    }
}

/// Adds what one partner sent, and an error for each document that it did not send and did not speak of.
async fn pass_on(leg: Leg<Batch, Brought>, into: &mut Retrieved) {
    let Batch { documents: asked, partner } = leg.partner;
    let (brought, reason) = match leg.state {
        State::Answered(brought) => {
            let reason = brought.notes.join("; ");
            (brought, (ErrorCode::XdsRepositoryError, reason))
        }
        state => {
            let text = format!("it could not be asked for through {}: {}", partner.key, in_words(&state));
            (Brought::default(), (ErrorCode::XdsUnavailableCommunity, text))
        }
    };
    let mut came = Vec::new();
    for (document, stored) in brought.documents {
        let id = document.id.clone();
        match into.pass_on(document, stored).await {
            Ok(()) => came.push(id),
            Err((code, text)) => into.response.errors.push(about(&id, RegistryError::new(code, text))),
        }
    }
    let told: HashSet<usize> = (0..asked.len())
        .filter(|at| {
            let bare = asked[*at].document.bare();
            let is_named = |error: &RegistryError| error.location.as_deref().is_some_and(|place| place.contains(bare));
            came.contains(&asked[*at]) || brought.errors.iter().any(is_named)
        })
        .collect();
    into.response.errors.extend(brought.errors);
    for (_, wanted) in asked.iter().enumerate().filter(|(at, _)| !told.contains(at)) {
        let (code, text) = &reason;
        let text = if text.is_empty() { "the document is not in the answer" } else { text };
        into.response.errors.push(about(wanted, RegistryError::new(code.clone(), text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebxml::Status;
    use crate::metadata::query::FindDocuments;
    use crate::xca::query::{Object, Query as Stored, Reference};

    fn leg(state: State<Response>) -> Leg<Question, Response> {
        let file = std::path::Path::new("north.toml");
        let text = "name = \"North\"\nnetwork = \"x\"\nkind = \"other\"\nhome_community_id = \"urn:oid:2.999.20\"\n\
                    responds = false\n";
        let partner = Arc::new(crate::directory::read(file, text).0.unwrap());
        let home: HomeCommunityId = "urn:oid:2.999.20".parse().unwrap();
        let target = Target { home, patient_id: None, partner };
        let request = Query::new(Stored::FindDocuments(FindDocuments::default()));
        Leg { partner: Question { target, request }, state, took: std::time::Duration::ZERO }
    }

    fn reference() -> Object {
        Object::Reference(Reference { id: "urn:uuid:00000000-0000-4000-8000-000000000001".into(), home: None })
    }

    fn merged(states: Vec<State<Response>>, is_only: bool) -> Response {
        let mut response = Response::default();
        for state in states {
            merge(leg(state), is_only, &mut response);
        }
        response
    }

    /// ITI TF-2: 3.38.4.1.3; ITI TF-3: Table 4.2.4.1-2; NIST testkit 15814.
    #[test]
    fn answers_are_merged_and_every_failure_is_told() {
        let failure = |code| State::Answered(Response::failure(RegistryError::new(code, "x")));
        let answer = || State::Answered(Response::of(vec![reference()]));
        for (states, is_only, status, codes) in [
            (vec![answer(), answer()], false, Status::Success, &[][..]),
            (vec![answer(), State::Empty], false, Status::Success, &[]),
            (vec![answer(), State::TimedOut], false, Status::PartialSuccess, &["XDSUnavailableCommunity"]),
            (
                vec![State::Unreachable("refused".into()), State::Refused("a fault".into())],
                false,
                Status::Failure,
                &["XDSUnavailableCommunity", "XDSUnavailableCommunity"],
            ),
            (
                vec![answer(), failure(ErrorCode::XdsRegistryError)],
                false,
                Status::PartialSuccess,
                &["XDSRegistryError"],
            ),
            (vec![answer(), failure(ErrorCode::XdsUnknownPatientId)], false, Status::Success, &[]),
            (vec![failure(ErrorCode::XdsUnknownPatientId)], true, Status::Failure, &["XDSUnknownPatientId"]),
        ] {
            let response = merged(states, is_only);
            let told: Vec<&str> = response.errors.iter().map(|error| error.code.as_str()).collect();
            assert_eq!((response.status(), told.as_slice()), (status, codes));
        }
    }

    #[test]
    fn a_community_that_is_unavailable_is_named() {
        let response = merged(vec![State::Skipped("not asked at the moment".into())], false);
        let error = &response.errors[0];
        assert!(error.context.contains("urn:oid:2.999.20") && error.context.contains("north"), "{}", error.context);
        assert_eq!(error.location.as_deref(), Some("urn:oid:2.999.20"));
    }
}
