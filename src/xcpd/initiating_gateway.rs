//! XCPD Initiating Gateway: asks other communities which of their patients ours is (ITI TF-2: 3.55.4.1).

use std::sync::Arc;
use std::time::Duration;

use super::discovery::{
    ACTION, Match, Outcome, Parameters, Request, RequestedAttribute, Response, correlation_header,
    correlation_time_to_live, time_to_live,
};
use crate::atna::Object;
use crate::directory::{Partner, ServiceUrl};
use crate::gateway::Gateway;
use crate::hl7v3::datatype::Ii;
use crate::hl7v3::wrapper::{Device, Wrapper};
use crate::id::{Demographics, HomeCommunityId, PatientId, Timestamp, Transaction as Iti};
use crate::mpi::{Grade, Parameters as MatchParameters, Profile, compare::compare};
use crate::pipeline::Denied;
use crate::pipeline::outgoing::{Errands, Told};
use crate::routing::call::Letter;
use crate::routing::fan_out::{Leg, State, quoted};
use crate::soap::envelope::Envelope;
use crate::storage::identities::{Correlation, Person};

/// Whom to look for.
#[derive(Clone)]
pub struct Sought {
    /// Who the person is here, if known: what is learnt is then remembered.
    pub person: Option<Person>,
    /// What is known of the person.
    pub demographics: Demographics,
    /// Our identifier, for communities that ask back.
    pub id: Option<PatientId>,
}

impl Sought {
    /// A person of our cross-reference.
    pub fn known(person: Person, id: Option<PatientId>) -> Self {
        let demographics = person.demographics(id.as_ref()).cloned().unwrap_or_default();
        Self { person: Some(person), demographics, id }
    }
}

/// A person of another community.
#[derive(Clone, Debug)]
pub struct Found {
    /// The community that has the records.
    pub home: HomeCommunityId,
    /// What it calls the person.
    pub patient_id: PatientId,
    /// How sure it is, 0 to 100.
    pub score: Option<u8>,
    /// How long the identifier may be used without asking again; none when the community did not say.
    pub valid_for: Option<Duration>,
}

/// Asks partners who the person is to them. Every partner's part is audited, and what is learnt remembered.
pub async fn discover(
    gateway: &Arc<Gateway>,
    errands: &Errands,
    sought: &Sought,
    partners: Vec<Arc<Partner>>,
) -> Result<Vec<Leg<Arc<Partner>, Vec<Found>>>, Denied> {
    let legs = errands
        .fan_out(gateway, Iti::Iti55, partners, |partner, url, errand| {
            let gateway = gateway.clone();
            let request = request(&gateway, sought, partner, Some(&url));
            let (sought, partner) = (sought.clone(), partner.clone());
            async move { ask(&gateway, &sought, &partner, &url, errand, request).await }
        })
        .await;
    for leg in &legs {
        let query = Object::query(Iti::Iti55, None, self::query_of(gateway, sought, &leg.partner).into_bytes())
            .discovery_home(&leg.partner.home);
        let told = Told { objects: vec![query], ..Told::of(&leg.state) };
        errands.record(gateway, Iti::Iti55, &leg.partner, told).await?;
        remember(gateway, sought, leg).await;
    }
    Ok(legs)
}

fn query_of(gateway: &Gateway, sought: &Sought, partner: &Partner) -> String {
    request(gateway, sought, partner, None).query()
}

fn request(gateway: &Gateway, sought: &Sought, partner: &Partner, url: Option<&ServiceUrl>) -> Request {
    let now = gateway.clock.now();
    let us = partner.quirks.body_home.as_ref().unwrap_or(&gateway.community.home);
    let sender = Device { organization_name: Some(gateway.community.name.clone()), ..Device::gateway(us) };
    let receiver = Device { url: url.map(|url| url.to_string().into()), ..Device::gateway(&partner.home) };
    let id = |kind: &str| Ii::new(us.oid().as_str(), &format!("{kind}{}", uuid::Uuid::new_v4().simple()));
    let mut demographics = sought.demographics.clone();
    let ids = sought.id.iter().cloned().chain(std::mem::take(&mut demographics.other_ids)).collect();
    let parameters = Parameters { demographics, ids, tells_birth: true, ..Parameters::default() };
    let mut request = Request::new(Wrapper::new(id(""), now, sender, receiver), id("q"), parameters);
    request.reply_authority = sought.id.as_ref().map(|id| id.authority().clone());
    request
}

async fn ask(
    gateway: &Gateway,
    sought: &Sought,
    partner: &Partner,
    url: &ServiceUrl,
    errand: crate::routing::call::Errand,
    request: Request,
) -> State<Vec<Found>> {
    let letter = Letter {
        transaction: Iti::Iti55,
        action: ACTION,
        body: request.encode(),
        headers: correlation_header(gateway.correlation_days),
        mtom: false,
        documents: Vec::new(),
        patient: None,
    };
    let read = |envelope: &Envelope<'_>| {
        let valid_for = correlation_time_to_live(envelope.header).as_deref().and_then(time_to_live);
        let response = Response::decode(envelope.body, &gateway.domains).map_err(|error| error.to_string())?;
        Ok((response, valid_for))
    };
    match gateway.outgoing.send_for_envelope(partner, url, letter, &errand, read).await {
        Ok(((response, valid_for), _)) => judge(sought, partner, response, valid_for),
        Err(error) => error.state(),
    }
}

/// What an answer comes to. Demographics that are not our patient's are not used, whatever the score (PD-13).
fn judge(sought: &Sought, partner: &Partner, response: Response, valid_for: Option<Duration>) -> State<Vec<Found>> {
    let sender = response.wrapper.sender.home();
    match response.outcome {
        Outcome::Matches(matches) => {
            let told = matches.len();
            let found: Vec<Found> = matches
                .into_iter()
                .filter(|one| is_plausible(sought, one))
                .map(|one| Found {
                    home: one.home.or_else(|| sender.clone()).unwrap_or_else(|| partner.home.clone()),
                    patient_id: one.patient_id,
                    score: one.score,
                    valid_for,
                })
                .collect();
            if found.is_empty() {
                return State::Refused(format!(
                    "{told} matches are not used: their demographics are not those of the patient asked for"
                ));
            }
            State::Answered(found)
        }
        Outcome::NoMatch => State::Empty,
        Outcome::MoreAttributes(wanted) => {
            let wanted: Vec<&str> = wanted.iter().map(in_words).collect();
            State::Refused(format!("it wants to know more before it answers: {}", wanted.join(", ")))
        }
        Outcome::Error { reason, text, .. } => {
            let reason = reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
            State::Refused(format!("it answered with an error: {}", quoted(&format!("{reason}{text}"))))
        }
    }
}

fn is_plausible(sought: &Sought, one: &Match) -> bool {
    let theirs = &one.demographics;
    // An answer to an identifier may come without demographics; then there is nothing that could disagree.
    let silent = theirs.names.iter().all(|name| name.is_empty()) && theirs.birth.is_none();
    silent
        || compare(&Profile::of(&sought.demographics), &Profile::of(theirs), &MatchParameters::default()).grade()
            > Grade::No
}

fn in_words(attribute: &RequestedAttribute) -> &str {
    match attribute {
        RequestedAttribute::Gender => "gender",
        RequestedAttribute::Address => "address",
        RequestedAttribute::Telecom => "telephone",
        RequestedAttribute::BirthPlaceName | RequestedAttribute::BirthPlaceAddress => "place of birth",
        RequestedAttribute::MothersMaidenName => "mother's maiden name",
        RequestedAttribute::SocialSecurityNumber => "social security number",
        RequestedAttribute::Other(code) => code,
    }
}

/// Remembers what a community calls the person, that it knows nobody, and who speaks for whom.
async fn remember(gateway: &Gateway, sought: &Sought, leg: &Leg<Arc<Partner>, Vec<Found>>) {
    let now = gateway.clock.now();
    let learnt: Vec<Correlation> = match &leg.state {
        State::Answered(found) => {
            let mut homes: Vec<&HomeCommunityId> = found.iter().map(|one| &one.home).collect();
            homes.sort_unstable();
            homes.dedup();
            homes.into_iter().map(|home| correlation(leg, found, home, now)).collect()
        }
        State::Empty => vec![correlation(leg, &[], &leg.partner.home, now)],
        State::Refused(_) | State::TimedOut | State::Unreachable(_) | State::Skipped(_) => return,
    };
    for correlation in learnt {
        if correlation.home != leg.partner.home {
            gateway.directory.learn(&correlation.home, &leg.partner);
        }
        let Some(person) = &sought.person else { continue };
        let kept = gateway.identities.put_correlation(&gateway.tenant, person.key, correlation).await;
        if let Err(error) = kept {
            tracing::warn!(%error, partner = %leg.partner.key, "what a partner calls the patient could not be kept");
        }
    }
}

fn correlation(
    leg: &Leg<Arc<Partner>, Vec<Found>>,
    found: &[Found],
    home: &HomeCommunityId,
    now: Timestamp,
) -> Correlation {
    let of_home = || found.iter().filter(|one| one.home == *home);
    Correlation {
        home: home.clone(),
        patient_ids: of_home().map(|one| one.patient_id.clone()).collect(),
        learned_at: now,
        // 3.55.4.2.3: without CorrelationTimeToLive an identifier is for this errand; it is kept for the record.
        valid_until: Some(of_home().find_map(|one| one.valid_for).map_or(now, |time| now.plus(time))),
        via: (*home != leg.partner.home).then(|| leg.partner.home.clone()),
    }
}
