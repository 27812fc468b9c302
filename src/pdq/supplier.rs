//! Patient Demographics Supplier: finds people by what is known of them (ITI TF-1: 8.1). Whatever the dialect, [`find`]
//! does it; `v2`, `v3` and `fhir` have the transactions around it. FHIR compares otherwise (the start of a text, ranges
//! of dates), so it has its own condition and shares the way to the people.

mod fhir;
mod v2;
mod v3;

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::answer::{Answer, Match, Page, Refusal};
use super::criteria::{Intent, PatientQuery};
use super::matching::{self, EXACT};
use crate::atna::Object;
use crate::gateway::Gateway;
use crate::id::AssigningAuthority;
use crate::pipeline::Part;
use crate::storage::engine::StoreError;
use crate::storage::identities::{Person, PersonKey, Resolution};

pub use fhir::{MatchFhir, ReadFhir, SearchFhir};
pub use v2::{Cancel, QueryV2};
pub use v3::{CANCEL_ACTION, CONTINUE_ACTION, Continue, QUERY_ACTION, QueryV3};

/// The most people that a query may find. Whoever describes half the town is asked for more.
const MOST: usize = 500;
/// The most people born on one day who are all looked at, to answer a query for that day.
const MOST_BORN: usize = 5_000;
/// People that are read at once.
const BATCH: usize = 256;
/// Searches that read the whole store at the same time; others wait.
static WHOLE: Semaphore = Semaphore::const_new(2);

/// Whoever matches a query, best first, with the identifiers of the domains wanted. Those who fit exactly, if there are
/// any; else, and if the query wants them in any case, those whose names are close.
pub async fn find(
    gateway: &Arc<Gateway>,
    query: &PatientQuery,
    wanted: &[AssigningAuthority],
) -> Result<Vec<Match>, Refusal> {
    let wanted_places = wanted.iter().enumerate();
    let unknown: Vec<usize> =
        wanted_places.filter(|(_, one)| gateway.domains.of(one).is_none()).map(|(at, _)| at + 1).collect();
    if !unknown.is_empty() {
        return Err(Refusal::UnknownDomains(unknown));
    }
    if query.is_empty() {
        return Err(Refusal::NoCriteria);
    }
    let mut found = match quickly(gateway, query)? {
        Some(found) => found,
        None => {
            let query = query.clone();
            everywhere(gateway, move |person| Fit::of(&query, person)).await?
        }
    };
    let minimum = query.minimum_degree.unwrap_or(0);
    found.retain(|one| one.confidence >= minimum);
    if !query.similar_names && found.iter().any(|one| one.confidence == EXACT) {
        found.retain(|one| one.confidence == EXACT);
    }
    if found.len() > MOST {
        return Err(Refusal::TooMany);
    }
    found.sort_by(|a, b| b.confidence.cmp(&a.confidence).then(a.person.key.cmp(&b.person.key)));
    Ok(found.into_iter().filter_map(|one| one.told().restricted_to(wanted)).collect())
}

/// A person who matches, by the record that does.
struct Fit {
    person: Person,
    record: usize,
    confidence: u8,
}

impl Fit {
    fn of(query: &PatientQuery, person: Person) -> Option<Self> {
        let (confidence, record) = matching::fit(query, &person)?;
        Some(Self { person, record, confidence })
    }

    fn told(self) -> Match {
        let ids = self.person.ids().cloned().collect();
        let demographics =
            self.person.records.get(self.record).map(|record| record.demographics.clone()).unwrap_or_default();
        Match { ids, demographics, confidence: Some(self.confidence), visit: None }
    }
}

/// By an identifier or by the index, where that cannot miss anybody. None: everybody has to be looked at.
fn quickly(gateway: &Gateway, query: &PatientQuery) -> Result<Option<Vec<Fit>>, Refusal> {
    if let Some(id) = query.ids.iter().find(|id| gateway.domains.knows(id)) {
        let found = gateway.identities.resolve(&gateway.tenant, id).map_err(|error| unavailable(&error))?;
        return Ok(match found {
            Resolution::Active(person) => Some(Fit::of(query, person).into_iter().collect()),
            // It may still be the account number of somebody.
            Resolution::Unknown => None,
            Resolution::Replaced { .. } => Some(Vec::new()),
        });
    }
    if let Some(found) = exactly(gateway, query)? {
        return Ok(Some(found));
    }
    // Everybody who was born on the day is in the index under it, whatever their names: nobody is missed.
    if let Some(people) =
        gateway.identities.born_on(&gateway.tenant, &query.person, MOST_BORN).map_err(|error| unavailable(&error))?
    {
        return Ok(Some(people.into_iter().filter_map(|person| Fit::of(query, person)).collect()));
    }
    if query.ids.is_empty() {
        return Ok(None);
    }
    // By an identifier that is none of ours, such as a social security number.
    let mut asked = query.person.clone();
    asked.other_ids.extend(query.ids.iter().cloned());
    let found = gateway.identities.search(&gateway.tenant, &asked, MOST + 1).map_err(|error| unavailable(&error))?;
    let fits: Vec<Fit> = found.candidates.into_iter().filter_map(|one| Fit::of(query, one.person)).collect();
    // The index weighs what speaks against somebody: who is found there is right, who is not may be somewhere else.
    let certain = found.blocks_skipped == 0 && fits.iter().any(|one| one.confidence == EXACT);
    Ok((certain && !query.similar_names).then_some(fits))
}

/// Whoever fits exactly, by the day of birth and the letters of a given name, if somebody does and the query asks for
/// no one else. In a large community a tenth of those who were born on the day are looked at.
fn exactly(gateway: &Gateway, query: &PatientQuery) -> Result<Option<Vec<Fit>>, Refusal> {
    let is_whole = |given: &&str| matches!(query.name_intent(given), Some(Intent::Exact(_)));
    let names: Option<Vec<&str>> =
        query.person.names.iter().map(|name| name.given.first().map(AsRef::as_ref).filter(is_whole)).collect();
    let Some(given) = names.filter(|names| !names.is_empty()) else { return Ok(None) };
    let people = gateway.identities.born_on_and_called(&gateway.tenant, &query.person, &given, MOST_BORN);
    let Some(people) = people.map_err(|error| unavailable(&error))? else { return Ok(None) };
    let mut found: Vec<Fit> = people.into_iter().filter_map(|person| Fit::of(query, person)).collect();
    found.retain(|one| one.confidence == EXACT);
    Ok((!found.is_empty()).then_some(found))
}

/// By looking at everybody.
async fn everywhere(
    gateway: &Arc<Gateway>,
    fits: impl Fn(Person) -> Option<Fit> + Send + 'static,
) -> Result<Vec<Fit>, Refusal> {
    // The semaphore is never closed.
    let _turn = WHOLE.acquire().await;
    let gateway = gateway.clone();
    let read = tokio::task::spawn_blocking(move || read_all(&gateway, &fits));
    read.await.map_err(|_| Refusal::Unavailable)?
}

fn read_all(gateway: &Gateway, fits: &dyn Fn(Person) -> Option<Fit>) -> Result<Vec<Fit>, Refusal> {
    let (mut found, mut after): (Vec<Fit>, Option<PersonKey>) = (Vec::new(), None);
    loop {
        let people = gateway.identities.people(&gateway.tenant, after, BATCH).map_err(|error| unavailable(&error))?;
        let Some(last) = people.last() else { return Ok(found) };
        after = Some(last.key);
        found.extend(people.into_iter().filter_map(fits));
        if found.iter().filter(|one| one.confidence == EXACT).count() > MOST {
            return Err(Refusal::TooMany);
        }
        if found.len() > 4 * MOST {
            // Whoever is only close gives way to whoever fits.
            found.sort_by_key(|one| std::cmp::Reverse(one.confidence));
            found.truncate(2 * MOST);
        }
    }
}

fn unavailable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "patients could not be searched");
    Refusal::Unavailable
}

/// The people from one place on, counted from 0; all of the rest if no number is told.
fn page(matches: &[Match], from: usize, quantity: Option<u32>) -> Page {
    let rest = matches.get(from..).unwrap_or_default();
    let count = quantity.map_or(rest.len(), |quantity| rest.len().min(quantity as usize));
    let number = |count: usize| u32::try_from(count).ok();
    Page {
        matches: rest[..count].to_vec(),
        total: number(matches.len()),
        remaining: number(rest.len() - count),
        next: None,
    }
}

/// The audit record of a query: the patients that were told of, and the query (ITI TF-2: 3.21.5.1, 3.47.5.1).
fn part(query: Object, answer: &Answer) -> Part {
    match answer {
        Answer::Found(page) => {
            let patients = page.matches.iter().filter_map(|one| one.ids.first()).map(Object::patient);
            Part::success(patients.chain([query]).collect())
        }
        Answer::NothingFound => Part::success(vec![query]),
        Answer::Refused(refusal) => Part::failure(vec![query], refusal),
    }
}
