//! PDQm over HTTPS: search and read (ITI-78), `$match` (ITI-119).

use std::sync::Arc;

use smol_str::{SmolStr, format_smolstr};

use super::{EXACT, Fit, MOST, everywhere, unavailable};
use crate::atna::{Action, Object};
use crate::authenticate::Caller;
use crate::fhir::bundle::{Bundle, Entry, Grade};
use crate::fhir::outcome::{Issue, IssueCode, Outcome, Refusal};
use crate::fhir::pdqm::{Candidate, MatchRequest, MatchResponse, PatientQuery, select};
use crate::fhir::person;
use crate::fhir::resource::{Patient, authority_of};
use crate::fhir::search::{Comparison, Prefix, Text, Token};
use crate::gateway::Gateway;
use crate::id::{AssigningAuthority, Demographics, Dtm, PatientId, PersonName, TraceId, Transaction as Iti};
use crate::mpi::{self, Profile};
use crate::pdq::answer;
use crate::pipeline::fhir::{self, Fhir, Message};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::storage::identities::{Person, Resolution};

/// People on a page, if the client does not say how many.
const PAGE: usize = 100;
/// The most people that `$match` names.
const MOST_MATCHES: usize = 50;

/// ITI-78 as a search.
pub struct SearchFhir;

/// What was searched for.
pub struct Sought {
    query: Arc<PatientQuery>,
    wanted: Vec<AssigningAuthority>,
    /// As it came, for the audit record.
    sent: Vec<u8>,
}

/// A page of people.
pub struct Page {
    bundle: Bundle,
    /// One identifier of each, for the audit record.
    told: Vec<PatientId>,
}

impl Transaction for SearchFhir {
    type Wire = Fhir;
    const ID: Iti = Iti::Iti78;
    type Request = Sought;
    type Response = Page;
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_gateway: &Gateway, _received: &Received, _message: &Message) {}

    fn decode(gateway: &Gateway, _caller: &Caller, message: &Message) -> Result<Sought, Failure<Refusal>> {
        let read = || {
            if message.resource().is_some() {
                return Err(Refusal::UnsupportedMediaType);
            }
            let query = PatientQuery::read(&message.query, message.form(), message.headers.handling())?;
            let wanted = query.domains(&gateway.domains)?;
            Ok(Sought { query: Arc::new(query), wanted, sent: message.asked() })
        };
        read().map_err(Failure::Refused)
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Sought>>, _extras: ()) -> Result<Page, Refusal> {
        let sought = call.permitted.request();
        let caller = call.permitted.caller();
        // The rest of a search is kept for its next page; one that is no longer kept is searched for again.
        let kept = match sought.query.page {
            0 => None,
            _ => gateway.continuations.find::<Vec<Fit>>(caller, &sought.query.conditions, call.at),
        };
        let people = match kept {
            Some(people) => people,
            None => Arc::new(find(&gateway, sought).await?),
        };
        let (page, more) = page(&gateway, sought, &people);
        if more {
            let name = sought.query.conditions.as_str();
            gateway.continuations.keep(caller, (name, name), people, call.at);
        }
        Ok(page)
    }

    fn audit(sought: &Sought, outcome: &Result<Page, Refusal>) -> Vec<Part> {
        let query = Object::query(Iti::Iti78, None, sought.sent.clone());
        vec![match outcome {
            Ok(page) => Part::success(page.told.iter().map(Object::patient).chain([query]).collect()),
            Err(refusal) => Part::failure(vec![query], refusal),
        }]
    }

    fn encode(_echo: (), outcome: Result<Page, Refusal>, trace: TraceId) -> fhir::Answer {
        match outcome {
            Ok(page) => fhir::Answer::resource(200, page.bundle.encode()),
            Err(refusal) => fhir::Answer::refused(&refusal, trace),
        }
    }
}

/// Everybody who meets the conditions, in the order in which they came to be known here.
async fn find(gateway: &Arc<Gateway>, sought: &Sought) -> Result<Vec<Fit>, Refusal> {
    let query = &sought.query;
    if query.is_empty() {
        return Err(answer::Refusal::NoCriteria.into());
    }
    let mut found = match quickly(gateway, query)? {
        Some(found) => found,
        None => {
            let query = query.clone();
            everywhere(gateway, move |person| fit(&query, person)).await?
        }
    };
    found.retain(|one| sought.wanted.is_empty() || one.person.ids().any(|id| sought.wanted.contains(id.authority())));
    if found.len() > MOST {
        return Err(answer::Refusal::TooMany.into());
    }
    found.sort_by_key(|one| one.person.key);
    found.dedup_by_key(|one| one.person.key);
    Ok(found)
}

/// A person one of whose records meets every condition; of several, by the one that was updated last.
fn fit(query: &PatientQuery, person: Person) -> Option<Fit> {
    let ids: Vec<PatientId> = person.ids().cloned().collect();
    let meets = |record: &crate::storage::identities::Record| {
        let patient = Patient::new(record.demographics.clone(), &ids, None);
        let updated: Option<Dtm> = record.updated.to_dtm().parse().ok();
        updated.is_some_and(|updated| query.matches_at(&patient, &updated))
    };
    let records = person.records.iter().enumerate().filter(|(_, record)| meets(record));
    let record = records.max_by_key(|(_, record)| record.updated).map(|(at, _)| at)?;
    Some(Fit { person, record, confidence: EXACT })
}

/// By logical id, by an identifier or by the index, where that cannot miss anybody who fits exactly (PDQm 2:3.78.4.1.3).
/// None: everybody has to be looked at.
fn quickly(gateway: &Gateway, query: &Arc<PatientQuery>) -> Result<Option<Vec<Fit>>, Refusal> {
    let unavailable = |error| Refusal::from(unavailable(&error));
    if let Some(ids) = query.ids.first() {
        let people = ids.iter().filter_map(|id| person::by_id(gateway, id).transpose());
        let people = people.collect::<Result<Vec<_>, _>>().map_err(unavailable)?;
        let rest = Arc::new(PatientQuery { ids: Vec::new(), ..(**query).clone() });
        // Several `_id` are all to be met: only whoever each of them names.
        let each = |person: &Person| {
            let name = gateway.names.name(person.key);
            query.ids.iter().all(|ids| ids.contains(&name))
        };
        return Ok(Some(people.into_iter().filter(each).filter_map(|person| fit(&rest, person)).collect()));
    }
    let is_ours = |token: &Token| ours(gateway, token).is_some();
    if let Some(group) = query.identifiers.iter().find(|group| group.iter().all(is_ours)) {
        let mut found = Vec::new();
        for id in group.iter().filter_map(|token| ours(gateway, token)) {
            if let Resolution::Active(person) = gateway.identities.resolve(&gateway.tenant, &id).map_err(unavailable)? {
                found.extend(fit(query, person));
            }
        }
        return Ok(Some(found));
    }
    let Some(asked) = indexed(query) else { return Ok(None) };
    let found = gateway.identities.search(&gateway.tenant, &asked, MOST + 1).map_err(unavailable)?;
    let fits: Vec<Fit> = found.candidates.into_iter().filter_map(|one| fit(query, one.person)).collect();
    let is_certain = found.blocks_skipped == 0 && fits.iter().any(|one| names_exactly(&asked, one));
    Ok(is_certain.then_some(fits))
}

/// The identifier that a token means, if its domain is one of ours.
fn ours(gateway: &Gateway, token: &Token) -> Option<PatientId> {
    let authority = authority_of(token.system.as_deref()?)?;
    let id = PatientId::new(token.code.as_deref()?, authority).ok()?;
    gateway.domains.knows(&id).then_some(id)
}

/// The demographics by which records are indexed, if the query tells one family name, one given name and one whole date
/// of birth.
fn indexed(query: &PatientQuery) -> Option<Demographics> {
    let one = |texts: &[Vec<Text>]| match texts {
        [group] => match group.as_slice() {
            [text] if text.comparison != Comparison::Contains => Some(text.text.clone()),
            _ => None,
        },
        _ => None,
    };
    let (family, given) = (one(&query.family)?, one(&query.given)?);
    let birth = match query.birth.as_slice() {
        [group] => match group.as_slice() {
            [when] if when.prefix == Prefix::Equal && when.date.as_str().len() == 8 => when.date.clone(),
            _ => return None,
        },
        _ => return None,
    };
    let names = vec![PersonName::new(&family, &[&given])];
    Some(Demographics { names, birth: Some(birth), ..Demographics::default() })
}

/// Whether the record that fits has the very names that were asked for, and not only their beginning.
fn names_exactly(asked: &Demographics, fit: &Fit) -> bool {
    let same = |one: &str, other: &str| mpi::normalize::letters(one) == mpi::normalize::letters(other);
    let known = fit.person.records.get(fit.record).map(|record| record.demographics.names.as_slice());
    asked.names.iter().all(|asked| {
        known.unwrap_or_default().iter().any(|known| {
            let first = |name: &PersonName| name.given.first().cloned().unwrap_or_default();
            same(&asked.family, &known.family) && same(&first(asked), &first(known))
        })
    })
}

/// The people on the page that was asked for, and whether there are more.
fn page(gateway: &Gateway, sought: &Sought, people: &[Fit]) -> (Page, bool) {
    let query = &sought.query;
    let count = query.count.unwrap_or(PAGE).min(MOST);
    let rest = people.get(query.page..).unwrap_or_default();
    let (mut entries, mut told) = (Vec::new(), Vec::new());
    for one in rest.iter().take(count) {
        let Some(patient) = person::patient(gateway, &one.person, one.record, &sought.wanted) else { continue };
        told.extend(one.person.ids().next().cloned());
        let resource = person::encode(&patient, person::updated(&one.person));
        entries.push(Entry::found(person::url(gateway, one.person.key), resource));
    }
    let more = count > 0 && rest.len() > count;
    let base = format!("{}/Patient", person::base(gateway));
    let this = format_smolstr!("{base}?{}", query.understood);
    let next = more.then(|| format_smolstr!("{base}?{}&_count={count}&_page={}", query.conditions, query.page + count));
    let bundle = Bundle::searchset(this, next, people.len() as u64, entries);
    (Page { bundle, told }, more)
}

impl From<answer::Refusal> for Refusal {
    /// What the supplier refuses, whatever the dialect.
    fn from(refusal: answer::Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            answer::Refusal::UnknownDomains(_) => Self::TargetDomainUnknown,
            answer::Refusal::NoCriteria => Self::Missing("a search parameter about the patient".into()),
            answer::Refusal::UnknownContinuation => Self::Gone("page"),
            answer::Refusal::TooMany => Self::TooCostly(text),
            answer::Refusal::Unavailable => Self::Unavailable,
            answer::Refusal::Other(_) => Self::Internal,
        }
    }
}

/// ITI-78 as a read of one Patient.
pub struct ReadFhir;

/// Which Patient.
pub struct Read {
    id: SmolStr,
    sent: Vec<u8>,
}

impl Transaction for ReadFhir {
    type Wire = Fhir;
    const ID: Iti = Iti::Iti78;
    type Request = Read;
    type Response = (Person, Patient);
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_gateway: &Gateway, _received: &Received, _message: &Message) {}

    fn decode(_gateway: &Gateway, _caller: &Caller, message: &Message) -> Result<Read, Failure<Refusal>> {
        let id = message.path.rsplit('/').next().unwrap_or_default().into();
        Ok(Read { id, sent: message.asked() })
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Read>>, _extras: ()) -> Result<(Person, Patient), Refusal> {
        let found = person::by_id(&gateway, &call.permitted.request().id);
        let person = found.map_err(|error| unavailable(&error))?.ok_or(Refusal::NotFound("Patient"))?;
        let patient = person::patient(&gateway, &person, person::latest(&person), &[]);
        Ok((person, patient.ok_or(Refusal::NotFound("Patient"))?))
    }

    fn audit(read: &Read, outcome: &Result<(Person, Patient), Refusal>) -> Vec<Part> {
        let part = match outcome {
            Ok((person, _)) => Part::success(person.ids().take(1).map(Object::patient).collect()),
            Err(refusal) => Part::failure(vec![Object::query(Iti::Iti78, None, read.sent.clone())], refusal),
        };
        vec![Part { action: Some(Action::Read), ..part }]
    }

    fn encode(_echo: (), outcome: Result<(Person, Patient), Refusal>, trace: TraceId) -> fhir::Answer {
        match outcome {
            Ok((person, patient)) => fhir::Answer::resource(200, person::encode(&patient, person::updated(&person))),
            Err(refusal) => fhir::Answer::refused(&refusal, trace),
        }
    }
}

/// ITI-119.
pub struct MatchFhir;

/// Whom it might be.
pub struct Described {
    request: MatchRequest,
    sent: Vec<u8>,
}

/// Who it might be.
pub struct Matched {
    response: MatchResponse,
    told: Vec<PatientId>,
}

impl Transaction for MatchFhir {
    type Wire = Fhir;
    const ID: Iti = Iti::Iti119;
    type Request = Described;
    type Response = Matched;
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_gateway: &Gateway, _received: &Received, _message: &Message) {}

    fn decode(_gateway: &Gateway, _caller: &Caller, message: &Message) -> Result<Described, Failure<Refusal>> {
        let read = || {
            let resource = message.resource().ok_or(Refusal::Missing("the body".into()))?;
            Ok(Described { request: MatchRequest::decode(resource)?, sent: message.asked() })
        };
        read().map_err(Failure::Refused)
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Described>>, _extras: ()) -> Result<Matched, Refusal> {
        who(&gateway, &call.permitted.request().request)
    }

    fn audit(described: &Described, outcome: &Result<Matched, Refusal>) -> Vec<Part> {
        let query = Object::query(Iti::Iti119, None, described.sent.clone());
        vec![match outcome {
            Ok(matched) => Part::success(matched.told.iter().map(Object::patient).chain([query]).collect()),
            Err(refusal) => Part::failure(vec![query], refusal),
        }]
    }

    fn encode(_echo: (), outcome: Result<Matched, Refusal>, trace: TraceId) -> fhir::Answer {
        match outcome {
            Ok(matched) => fhir::Answer::resource(200, matched.response.encode()),
            Err(refusal) => fhir::Answer::refused(&refusal, trace),
        }
    }
}

/// Candidates with their scores, as the matcher of the feeds weighs them. An identifier of a domain of ours is looked up
/// too; alone it is no more than a reason to look.
fn who(gateway: &Gateway, request: &MatchRequest) -> Result<Matched, Refusal> {
    let unavailable = |error| Refusal::from(unavailable(&error));
    let (demographics, own) = request.patient.sorted(&gateway.domains);
    let profile = Profile::of(&demographics);
    let found = gateway.identities.search(&gateway.tenant, &demographics, MOST).map_err(unavailable)?;
    let mut candidates: Vec<(Person, usize, f64, Grade)> = found
        .candidates
        .into_iter()
        .map(|one| (one.person, one.best, f64::from(one.explanation.score()) / 100.0, grade(one.explanation.grade())))
        .collect();
    for id in &own {
        let Resolution::Active(person) = gateway.identities.resolve(&gateway.tenant, id).map_err(unavailable)? else {
            continue;
        };
        candidates.retain(|(other, ..)| other.key != person.key);
        candidates.extend(by_identifier(gateway, &profile, person));
    }
    let mut told = Vec::new();
    let candidates = candidates.into_iter().filter_map(|(person, record, score, grade)| {
        let full_url = person::url(gateway, person.key);
        let patient = person::patient(gateway, &person, record, &[])?;
        Some((person.ids().next().cloned(), Candidate { person: full_url.clone(), full_url, patient, score, grade }))
    });
    let (ids, candidates): (Vec<_>, Vec<_>) = candidates.unzip();
    let urls: Vec<SmolStr> = candidates.iter().map(|one: &Candidate| one.full_url.clone()).collect();
    let count = request.count.unwrap_or(MOST_MATCHES).min(MOST_MATCHES);
    let selected = select(candidates, &MatchRequest { count: Some(count), ..request.clone() });
    for one in &selected {
        told.extend(urls.iter().position(|url| *url == one.full_url).and_then(|at| ids[at].clone()));
    }
    let incomplete = (found.blocks_skipped > 0).then(|| {
        let text = "too many people share what is told of the person; some were not compared";
        Outcome::of(Issue::new(crate::fhir::outcome::Severity::Warning, IssueCode::Incomplete, text))
    });
    Ok(Matched { response: MatchResponse::of(selected, incomplete), told })
}

/// How sure it is that the person who has the identifier is meant. A number can be misread: it counts as certain when a
/// name and what else is told agree; where that contradicts, or says too little, somebody has to look.
fn by_identifier(gateway: &Gateway, asked: &Profile, person: Person) -> Option<(Person, usize, f64, Grade)> {
    let (record, explanation) = gateway.identities.weigh(asked, &person)?;
    let score = f64::from(explanation.score()) / 100.0;
    let agrees = explanation.conflicts.is_empty() && explanation.grade() > mpi::compare::Grade::No;
    let (score, grade) = if explanation.fields.is_empty() {
        (0.9, Grade::Probable)
    } else if agrees && !asked.names.is_empty() {
        (score.max(0.99), Grade::Certain)
    } else {
        (score.min(0.5), Grade::Possible)
    };
    Some((person, record, score, grade))
}

fn grade(grade: mpi::compare::Grade) -> Grade {
    match grade {
        mpi::compare::Grade::No => Grade::CertainlyNot,
        mpi::compare::Grade::Possible => Grade::Possible,
        mpi::compare::Grade::Probable => Grade::Probable,
        mpi::compare::Grade::Certain => Grade::Certain,
    }
}
