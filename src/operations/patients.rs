//! Who is who: patients found and shown, records linked, unlinked and merged by an operator, pairs reviewed, and what
//! matching goes by. Every command leaves audit records with the user's name before it is answered ([`super::deed`]),
//! also one that is refused; what is shown goes to the terminal of that user and nowhere else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::deed::Deed;
use super::{OperationError, patient_id};
use crate::atna::Action;
use crate::gateway::Gateway;
use crate::id::{Demographics, Dtm, Gender, PatientId, PersonName};
use crate::mpi::{Explanation, Learnt, Profile};
use crate::storage::identities::{Change, Held, Identities, Looked, MergeRules, Person, Resolution, Review, Verdict};

/// Persons looked at for review in one go.
const PERSONS: usize = 100;
/// After a look nobody looks for so many times as long as it took: it has a twentieth of one processor at most.
const REST: u32 = 19;
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

impl Request {
    /// The command, as it is typed.
    fn name(&self) -> &'static str {
        match self {
            Self::Find { .. } => "patients find",
            Self::Show { .. } => "patients show",
            Self::Link { .. } => "patients link",
            Self::Unlink { .. } => "patients unlink",
            Self::Merge { .. } => "patients merge",
            Self::Explain { .. } => "patients explain",
            Self::Reviews { .. } => "patients review list",
            Self::Review { .. } => "patients review show",
            Self::Decide { verdict: Verdict::Same, .. } => "patients review accept",
            Self::Decide { verdict: Verdict::Different, .. } => "patients review reject",
            Self::Decide { verdict: Verdict::Later, .. } => "patients review later",
            Self::Look => "patients review find",
            Self::Learn => "patients learn",
            Self::Forget => "patients learn --forget",
            Self::Parameters => "patients parameters",
        }
    }
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
    let deed = Deed::new(gateway, user, request.name())?;
    let tenant = &gateway.tenant;
    match request {
        Request::Find { family, given, birth, gender, limit } => {
            let asked = Demographics {
                names: vec![PersonName::new(&family, &[&given])],
                birth,
                gender: gender.as_deref().and_then(Gender::from_wire),
                ..Demographics::default()
            };
            find(gateway, deed, &asked, limit.min(200)).await
        }
        Request::Show { patient } => {
            let (deed, [id]) = ids(gateway, deed, Action::Read, [&patient]).await?;
            let shown = show(gateway, &id).map(|shown| Reply::Shown(Box::new(shown)));
            deed.seen(gateway, shown).await
        }
        Request::Explain { first, second } => {
            let (deed, [first, second]) = ids(gateway, deed, Action::Read, [&first, &second]).await?;
            deed.seen(gateway, explain(gateway, &first, &second).map(Reply::Explained)).await
        }
        Request::Link { first, second } => {
            let (deed, [first, second]) = ids(gateway, deed, Action::Update, [&first, &second]).await?;
            let identities = changed_by(gateway, &deed)?;
            let work = async {
                person(gateway, &first).and(person(gateway, &second))?;
                identities.link(tenant, first, second, deed.at()).await.map_err(OperationError::new)
            };
            deed.change(gateway, work).await.map(Reply::Changed)
        }
        Request::Unlink { first, second } => {
            let (deed, [first, second]) = ids(gateway, deed, Action::Update, [&first, &second]).await?;
            let identities = changed_by(gateway, &deed)?;
            let work = async {
                person(gateway, &first).and(person(gateway, &second))?;
                identities.unlink(tenant, first, second, deed.at()).await.map_err(OperationError::new)
            };
            deed.change(gateway, work).await.map(Reply::Changed)
        }
        Request::Merge { survivor, subsumed } => {
            let (deed, [subsumed]) = ids(gateway, deed, Action::Delete, [&subsumed]).await?;
            let (deed, [survivor]) = ids(gateway, deed, Action::Update, [&survivor]).await?;
            let identities = changed_by(gateway, &deed)?;
            let merged = identities.merge(tenant, survivor, subsumed, MergeRules::BothKnown, deed.at());
            deed.change(gateway, merged).await.map(Reply::Changed)
        }
        Request::Reviews { limit } => {
            let open = gateway.identities.open_reviews(tenant, limit.min(1_000)).map_err(OperationError::new);
            let pairs = open.iter().flatten().flat_map(|review| [&review.first, &review.second]);
            let deed = pairs.fold(deed, |deed, id| deed.of(Action::Read, id));
            deed.seen(gateway, open.map(Reply::Reviews)).await
        }
        Request::Review { number } => {
            let (deed, review) = pair(gateway, deed, Action::Read, number).await?;
            let shown = show(gateway, &review.first).and_then(|one| Ok((one, show(gateway, &review.second)?)));
            deed.seen(gateway, shown.map(|(one, two)| Reply::Reviewed(Box::new((review, one, two))))).await
        }
        Request::Decide { number, verdict } => {
            let (deed, _) = pair(gateway, deed, Action::Update, number).await?;
            let identities = changed_by(gateway, &deed)?;
            let decided = identities.decide(tenant, number, verdict, deed.at());
            deed.change(gateway, decided).await.map(|review| Reply::Decided(Box::new(review)))
        }
        Request::Look => {
            // Nobody is shown to anybody yet: that somebody looks is what there is to record.
            deed.record(gateway, None).await?;
            look_everywhere(gateway).await.map(Reply::Looked)
        }
        Request::Learn => {
            let (identities, tenant, at) = (changed_by(gateway, &deed)?, tenant.clone(), deed.at());
            let learnt = blocking(move || identities.learn(&tenant, at).map_err(OperationError::new));
            deed.change(gateway, learnt).await.map(|learnt| Reply::Parameters(Some(Box::new(learnt))))
        }
        Request::Forget => {
            let (identities, tenant) = (changed_by(gateway, &deed)?, tenant.clone());
            let forgotten = blocking(move || identities.forget_what_was_learnt(&tenant).map_err(OperationError::new));
            deed.change(gateway, forgotten).await.map(Reply::Changed)
        }
        Request::Parameters => {
            let model = gateway.identities.model(tenant).map_err(OperationError::new);
            let learnt = model.map(|model| model.what_was_learnt().cloned().map(Box::new));
            deed.seen(gateway, learnt.map(Reply::Parameters)).await
        }
    }
}

/// The patients whom a deed concerns, from identifiers as a person writes them. One that cannot be read is refused, and
/// the record of that does not repeat it.
async fn ids<const N: usize>(
    gateway: &Gateway,
    mut deed: Deed,
    action: Action,
    texts: [&str; N],
) -> Result<(Deed, [PatientId; N]), OperationError> {
    let read: Result<Vec<PatientId>, _> = texts.iter().map(|text| patient_id(gateway, text)).collect();
    match read.map(<[PatientId; N]>::try_from) {
        Ok(Ok(ids)) => {
            deed = ids.iter().fold(deed, |deed, id| deed.of(action, id));
            Ok((deed, ids))
        }
        Ok(Err(_)) => Err(OperationError::new("an identifier is missing")),
        Err(error) => {
            deed.record(gateway, Some(&OperationError::new("an identifier that cannot be read"))).await?;
            Err(error)
        }
    }
}

/// A pair that waits for review or did, whose patients a deed concerns.
async fn pair(gateway: &Gateway, deed: Deed, action: Action, number: u64) -> Result<(Deed, Review), OperationError> {
    let found = gateway.identities.review(&gateway.tenant, number).map_err(OperationError::new);
    match found.and_then(|found| found.ok_or_else(|| OperationError::new("there is no review of that number"))) {
        Ok(review) => Ok((deed.of(action, &review.first).of(action, &review.second), review)),
        Err(error) => deed.seen(gateway, Err(error)).await,
    }
}

/// The patients, changed in the name of whoever does it, with the record of that owed.
fn changed_by(gateway: &Gateway, deed: &Deed) -> Result<Identities, OperationError> {
    Ok(gateway.identities.in_the_name_of(deed.user()).owing(deed.debt()?))
}

async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, OperationError> + Send + 'static,
) -> Result<R, OperationError> {
    tokio::task::spawn_blocking(work).await.map_err(OperationError::new)?
}

async fn find(gateway: &Gateway, deed: Deed, asked: &Demographics, limit: usize) -> Result<Reply, OperationError> {
    let found = gateway.identities.search(&gateway.tenant, asked, limit).map_err(OperationError::new);
    let candidates = found.iter().flat_map(|found| &found.candidates);
    let seen = candidates.filter_map(|one| one.person.ids().next());
    let deed = seen.fold(deed, |deed, id| deed.of(Action::Read, id));
    let patients = found.map(|found| {
        let shown = found.candidates.into_iter().map(|one| FoundPatient {
            ids: one.person.ids().cloned().collect(),
            demographics: one.person.records[one.best].demographics.clone(),
            score: one.explanation.score(),
            explanation: one.explanation,
        });
        shown.collect()
    });
    deed.seen(gateway, patients.map(Reply::Found)).await
}

fn explain(gateway: &Gateway, first: &PatientId, second: &PatientId) -> Result<Explanation, OperationError> {
    let (one, two) = (person(gateway, first)?, person(gateway, second)?);
    let profile = |person: &Person, id: &PatientId| person.demographics(Some(id)).map(Profile::of);
    let (Some(one), Some(two)) = (profile(&one, first), profile(&two, second)) else {
        return Err(OperationError::new("one of the two has no record"));
    };
    let model = gateway.identities.model(&gateway.tenant).map_err(OperationError::new)?;
    Ok(model.compare_inside(&one, &two))
}

async fn look_everywhere(gateway: &Arc<Gateway>) -> Result<Looked, OperationError> {
    let mut all = Looked::default();
    loop {
        let looked = look(gateway).await?;
        all.persons += looked.persons;
        all.found += looked.found;
        all.is_full = looked.is_full;
        if looked.persons == 0 {
            return Ok(all);
        }
    }
}

/// Looks for pairs to review from time to time, a little at a time: feeds and queries come first.
pub async fn look_for_pairs(gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        let began = Instant::now();
        let pause = match look(&gateway).await {
            Ok(looked) if looked.persons == PERSONS => (began.elapsed() * REST).max(Duration::from_millis(200)),
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
    blocking(move || identities.look_for_pairs(&tenant, now, PERSONS).map_err(OperationError::new)).await
}

fn person(gateway: &Gateway, id: &PatientId) -> Result<Person, OperationError> {
    match gateway.identities.resolve(&gateway.tenant, id).map_err(OperationError::new)? {
        Resolution::Active(person) | Resolution::Replaced { person, .. } => Ok(person),
        Resolution::Unknown => Err(OperationError::new("the patient identifier is not known here")),
    }
}

fn show(gateway: &Gateway, id: &PatientId) -> Result<ShownPatient, OperationError> {
    let person = person(gateway, id)?;
    let history = gateway.identities.history_of(&gateway.tenant, &person).map_err(OperationError::new)?;
    let model = gateway.identities.model(&gateway.tenant).map_err(OperationError::new)?;
    let profiles: Vec<Profile> = person.records.iter().map(|record| Profile::of(&record.demographics)).collect();
    let links = profiles.iter().skip(1).map(|other| model.compare_inside(&profiles[0], other)).collect();
    let records = person.records.into_iter().map(|record| (record.ids, record.demographics)).collect();
    Ok(ShownPatient { records, history, links })
}
