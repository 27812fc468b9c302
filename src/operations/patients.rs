//! Who is who: patients found and shown, records linked, unlinked and merged by an operator, pairs reviewed, and what
//! matching goes by. Everything that shows or changes a patient leaves an audit record with the user's name before it
//! is answered; what is shown goes to the terminal of that user and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{OperationError, patient_id};
use crate::atna::{AccessPoint, Action, Event, Object, Occasion, Participant};
use crate::gateway::Gateway;
use crate::id::{Demographics, Dtm, Gender, PatientId, PersonName, TraceId};
use crate::mpi::{Explanation, Learnt, Profile};
use crate::storage::identities::{Change, Held, Looked, MergeRules, Person, Resolution, Review, Verdict};

/// Persons looked at for review in one go.
const PERSONS: usize = 100;
/// How long nobody looks when nobody is new.
const IDLE: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Clone, Deserialize, Serialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Patients who are like a description.
    Find {
        /// Family name.
        family: String,
        /// Given name.
        given: String,
        /// Date of birth.
        birth: Option<Dtm>,
        /// Gender code.
        gender: Option<String>,
        /// How many at most.
        limit: usize,
    },
    /// Everything about the patient who has an identifier.
    Show {
        /// The identifier.
        patient: String,
    },
    /// Two identifiers are one person's.
    Link {
        /// An identifier.
        first: String,
        /// Another.
        second: String,
    },
    /// Two identifiers are not one person's.
    Unlink {
        /// An identifier.
        first: String,
        /// Another.
        second: String,
    },
    /// Two identifiers of one domain are one patient's, and from now on the first is in use.
    Merge {
        /// The identifier that stays.
        survivor: String,
        /// The identifier that is replaced.
        subsumed: String,
    },
    /// Why two are taken to be one person, or not.
    Explain {
        /// An identifier.
        first: String,
        /// Another.
        second: String,
    },
    /// Pairs that wait for a decision.
    Reviews {
        /// How many at most.
        limit: usize,
    },
    /// One pair.
    Review {
        /// Its number.
        number: u64,
    },
    /// A decision on a pair.
    Decide {
        /// Its number.
        number: u64,
        /// The decision.
        verdict: Verdict,
    },
    /// Look for pairs now.
    Look,
    /// Learn what agreement is worth from the records.
    Learn,
    /// Go back to the defaults.
    Forget,
    /// What matching goes by.
    Parameters,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request(…)")
    }
}

/// What came of it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(tag = "reply", content = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// Patients, the likeliest first.
    Found(Vec<FoundPatient>),
    /// A patient.
    Shown(Box<ShownPatient>),
    /// Whether anything changed.
    Changed(bool),
    /// Why, or why not.
    Explained(Explanation),
    /// Pairs.
    Reviews(Vec<Review>),
    /// A pair with both patients.
    Reviewed(Box<(Review, ShownPatient, ShownPatient)>),
    /// What was decided.
    Decided(Box<Review>),
    /// What looking came to.
    Looked(Looked),
    /// What matching goes by; none for the defaults.
    Parameters(Option<Box<Learnt>>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply(…)")
    }
}

/// A patient who is like a description.
#[derive(Clone, Deserialize, Serialize)]
pub struct FoundPatient {
    /// Identifiers in use.
    pub ids: Vec<PatientId>,
    /// What the record says that matches best.
    pub demographics: Demographics,
    /// Why.
    pub explanation: Explanation,
    /// 0 to 100.
    pub score: u8,
}

/// Everything about a patient.
#[derive(Clone, Deserialize, Serialize)]
pub struct ShownPatient {
    /// What each source says, with its identifiers.
    pub records: Vec<(Vec<Held>, Demographics)>,
    /// What happened to the identifiers, in its order.
    pub history: Vec<Change>,
    /// How each further record compares with the first.
    pub links: Vec<Explanation>,
}

/// Does what is asked.
pub async fn run(gateway: &Arc<Gateway>, user: &str, request: Request) -> Result<Reply, OperationError> {
    if user.trim().is_empty() {
        return Err(OperationError::new("name the user who does this"));
    }
    let id = |text: &str| patient_id(gateway, text);
    let (tenant, now) = (&gateway.tenant, gateway.clock.now());
    let identities = gateway.identities.in_the_name_of(user);
    match request {
        Request::Find { family, given, birth, gender, limit } => {
            let asked = Demographics {
                names: vec![PersonName::new(&family, &[&given])],
                birth,
                gender: gender.as_deref().and_then(Gender::from_wire),
                ..Demographics::default()
            };
            let found = identities.search(tenant, &asked, limit.min(200)).map_err(OperationError::new)?;
            let mut patients = Vec::new();
            for one in found.candidates {
                let ids: Vec<PatientId> = one.person.ids().cloned().collect();
                record(gateway, user, Action::Read, ids.first(), "found").await?;
                let demographics = one.person.records[one.best].demographics.clone();
                let score = one.explanation.score();
                patients.push(FoundPatient { ids, demographics, explanation: one.explanation, score });
            }
            Ok(Reply::Found(patients))
        }
        Request::Show { patient } => {
            let shown = show(gateway, user, &id(&patient)?).await?;
            Ok(Reply::Shown(Box::new(shown)))
        }
        Request::Link { first, second } => {
            let (first, second) = (id(&first)?, id(&second)?);
            person(gateway, &first)?;
            person(gateway, &second)?;
            let changed =
                identities.link(tenant, first.clone(), second.clone(), now).await.map_err(OperationError::new)?;
            both(gateway, user, [&first, &second], "linked").await?;
            Ok(Reply::Changed(changed))
        }
        Request::Unlink { first, second } => {
            let (first, second) = (id(&first)?, id(&second)?);
            person(gateway, &first)?;
            person(gateway, &second)?;
            let changed =
                identities.unlink(tenant, first.clone(), second.clone(), now).await.map_err(OperationError::new)?;
            both(gateway, user, [&first, &second], "unlinked").await?;
            Ok(Reply::Changed(changed))
        }
        Request::Merge { survivor, subsumed } => {
            let (survivor, subsumed) = (id(&survivor)?, id(&subsumed)?);
            let rules = MergeRules::BothKnown;
            let merged = identities.merge(tenant, survivor.clone(), subsumed.clone(), rules, now).await;
            let changed = merged.map_err(OperationError::new)?;
            record(gateway, user, Action::Delete, Some(&subsumed), "merged").await?;
            record(gateway, user, Action::Update, Some(&survivor), "merged").await?;
            Ok(Reply::Changed(changed))
        }
        Request::Explain { first, second } => {
            let (first, second) = (id(&first)?, id(&second)?);
            let (one, two) = (person(gateway, &first)?, person(gateway, &second)?);
            let profile = |person: &Person, id: &PatientId| person.demographics(Some(id)).map(Profile::of);
            let (Some(one), Some(two)) = (profile(&one, &first), profile(&two, &second)) else {
                return Err(OperationError::new("one of the two has no record"));
            };
            let model = identities.model(tenant).map_err(OperationError::new)?;
            let explanation = model.compare_inside(&one, &two);
            for id in [&first, &second] {
                record(gateway, user, Action::Read, Some(id), "explained").await?;
            }
            Ok(Reply::Explained(explanation))
        }
        Request::Reviews { limit } => {
            let open = identities.open_reviews(tenant, limit.min(1_000)).map_err(OperationError::new)?;
            for review in &open {
                for id in [&review.first, &review.second] {
                    record(gateway, user, Action::Read, Some(id), "review listed").await?;
                }
            }
            Ok(Reply::Reviews(open))
        }
        Request::Review { number } => {
            let review = identities.review(tenant, number).map_err(OperationError::new)?;
            let review = review.ok_or_else(|| OperationError::new("there is no review of that number"))?;
            let (one, two) = (show(gateway, user, &review.first).await?, show(gateway, user, &review.second).await?);
            Ok(Reply::Reviewed(Box::new((review, one, two))))
        }
        Request::Decide { number, verdict } => {
            let review = identities.decide(tenant, number, verdict, now).await.map_err(OperationError::new)?;
            let what = match verdict {
                Verdict::Same => "linked after review",
                Verdict::Different => "kept apart after review",
                Verdict::Later => "review put off",
            };
            both(gateway, user, [&review.first, &review.second], what).await?;
            Ok(Reply::Decided(Box::new(review)))
        }
        Request::Look => {
            let mut all = Looked::default();
            loop {
                let looked = look(gateway).await?;
                all.persons += looked.persons;
                all.found += looked.found;
                all.is_full = looked.is_full;
                if looked.persons == 0 {
                    return Ok(Reply::Looked(all));
                }
            }
        }
        Request::Learn => {
            let (identities, tenant) = (identities.clone(), tenant.clone());
            let learnt = tokio::task::spawn_blocking(move || identities.learn(&tenant, now));
            let learnt = learnt.await.map_err(OperationError::new)?.map_err(OperationError::new)?;
            tracing::info!(user, records = learnt.records, "matching goes by what the records taught");
            Ok(Reply::Parameters(Some(Box::new(learnt))))
        }
        Request::Forget => {
            let (identities, tenant) = (identities.clone(), tenant.clone());
            let forgotten = tokio::task::spawn_blocking(move || identities.forget_what_was_learnt(&tenant));
            let changed = forgotten.await.map_err(OperationError::new)?.map_err(OperationError::new)?;
            tracing::info!(user, "matching goes by the defaults");
            Ok(Reply::Changed(changed))
        }
        Request::Parameters => {
            let model = identities.model(tenant).map_err(OperationError::new)?;
            Ok(Reply::Parameters(model.what_was_learnt().cloned().map(Box::new)))
        }
    }
}

/// Looks for pairs to review from time to time, a little at a time: feeds and queries come first.
pub async fn look_for_pairs(gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        let pause = match look(&gateway).await {
            Ok(looked) if looked.persons == PERSONS => Duration::from_millis(200),
            Ok(_) => IDLE,
            Err(error) => {
                tracing::error!(%error, "nobody could be looked at for review");
                IDLE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn look(gateway: &Arc<Gateway>) -> Result<Looked, OperationError> {
    let (identities, tenant, now) = (gateway.identities.clone(), gateway.tenant.clone(), gateway.clock.now());
    let looked = tokio::task::spawn_blocking(move || identities.look_for_pairs(&tenant, now, PERSONS));
    looked.await.map_err(OperationError::new)?.map_err(OperationError::new)
}

fn person(gateway: &Gateway, id: &PatientId) -> Result<Person, OperationError> {
    match gateway.identities.resolve(&gateway.tenant, id).map_err(OperationError::new)? {
        Resolution::Active(person) | Resolution::Replaced { person, .. } => Ok(person),
        Resolution::Unknown => Err(OperationError::new("the patient identifier is not known here")),
    }
}

async fn show(gateway: &Arc<Gateway>, user: &str, id: &PatientId) -> Result<ShownPatient, OperationError> {
    let person = person(gateway, id)?;
    let history = gateway.identities.history_of(&gateway.tenant, &person).map_err(OperationError::new)?;
    let model = gateway.identities.model(&gateway.tenant).map_err(OperationError::new)?;
    let profiles: Vec<Profile> = person.records.iter().map(|record| Profile::of(&record.demographics)).collect();
    let links = profiles.iter().skip(1).map(|other| model.compare_inside(&profiles[0], other)).collect();
    record(gateway, user, Action::Read, Some(id), "shown").await?;
    let records = person.records.into_iter().map(|record| (record.ids, record.demographics)).collect();
    Ok(ShownPatient { records, history, links })
}

async fn both(gateway: &Gateway, user: &str, ids: [&PatientId; 2], what: &str) -> Result<(), OperationError> {
    for id in ids {
        record(gateway, user, Action::Update, Some(id), what).await?;
    }
    Ok(())
}

/// Records what a named user saw or did (DICOM PS3.15 A.5.3.10).
async fn record(
    gateway: &Gateway,
    user: &str,
    action: Action,
    id: Option<&PatientId>,
    what: &str,
) -> Result<(), OperationError> {
    let Some(id) = id else { return Ok(()) };
    let host = AccessPoint::of_host(crate::pipeline::soap::host(&gateway.community.public_url));
    let person = Participant { user_id: user.into(), access_point: Some(host), ..Participant::default() };
    let occasion = Occasion { at: gateway.clock.now(), trace: TraceId::new(), tenant: gateway.tenant.clone() };
    let patient = Object::patient(id).detail("Command", what);
    let event = Event::patient_record(occasion, "causeway", action, person, patient);
    let recorded = gateway.audit.record(event).await;
    recorded.map(drop).map_err(|_| OperationError::new("this cannot be recorded at the moment"))
}
