//! PDQm: ITI-78 finds patients by what is known of them, ITI-119 (`$match`) asks who a person might be.
//!
//! The search has every parameter of PDQm 2:3.78.4.1.2 as a type; `matches` holds one record to it. What a match may
//! return is decided by `select`, in one place, because a wrong answer discloses somebody else's data.

use std::fmt;

use serde_json::Value;
use smol_str::SmolStr;

use super::bundle::{Bundle, Entry, Found, Grade, Kind, Mode};
use super::json::{self, Builder};
use super::outcome::{Outcome, Refusal};
use super::pixm::parameters;
use super::resource::{Identifier, Patient, authority_of};
use super::search::{Comparison, Definition, Handling, Parameters, Search, Text, Token, Type, When, definition};
use crate::id::patient::TelecomSystem;
use crate::id::{Address, AssigningAuthority, Domains, Dtm, Gender, PersonName};
use crate::mpi::normalize::letters;

const QUERY: &[Definition] = &[
    definition("_id", Type::Token),
    definition("_lastUpdated", Type::Date),
    definition("active", Type::Token),
    definition("family", Type::String),
    definition("given", Type::String),
    definition("identifier", Type::Token),
    definition("telecom", Type::Token),
    definition("birthdate", Type::Date),
    definition("address", Type::String),
    definition("address-city", Type::String),
    definition("address-country", Type::String),
    definition("address-postalcode", Type::String),
    definition("address-state", Type::String),
    definition("gender", Type::Token),
    definition("mothersMaidenName", Type::String),
];

/// Lists of which each must have a match.
pub type AllOf<T> = Vec<Vec<T>>;

/// ITI-78, typed. Empty lists are no condition.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct PatientQuery {
    /// `_id`
    pub ids: AllOf<SmolStr>,
    /// `active`
    pub active: Option<bool>,
    /// `family`
    pub family: AllOf<Text>,
    /// `given`
    pub given: AllOf<Text>,
    /// `identifier` with a value.
    pub identifiers: AllOf<Token>,
    /// `identifier` without one (`system|`): only identifiers of these domains are returned.
    pub returned_domains: Vec<SmolStr>,
    /// `telecom`
    pub telecom: AllOf<Token>,
    /// `birthdate`
    pub birth: AllOf<When>,
    /// `address`: any part.
    pub address: AllOf<Text>,
    /// `address-city`
    pub city: AllOf<Text>,
    /// `address-country`
    pub country: AllOf<Text>,
    /// `address-postalcode`
    pub postal_code: AllOf<Text>,
    /// `address-state`
    pub state: AllOf<Text>,
    /// `gender`
    pub gender: AllOf<Gender>,
    /// `mothersMaidenName`
    pub mothers_maiden_name: AllOf<Text>,
    /// `_lastUpdated`
    pub last_updated: AllOf<When>,
    /// `_count`: the most on a page.
    pub count: Option<usize>,
    /// `_page`: how many were on the pages before. It comes only from links that we wrote.
    pub page: usize,
    /// The query as it was understood, for the `self` link.
    pub understood: String,
    /// The same without what is about pages, for the `next` link.
    pub conditions: String,
}

impl fmt::Debug for PatientQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientQuery(…)")
    }
}

impl PatientQuery {
    /// From the URL and the form of a `_search`.
    pub fn read(query: &str, form: Option<&str>, handling: Handling) -> Result<Self, Refusal> {
        let parameters = Parameters::read(query, form)?;
        let search = Search::read(&parameters, QUERY, handling)?;
        let (mut identifiers, mut returned_domains) = (Vec::new(), Vec::new());
        for group in search.tokens("identifier") {
            match group.iter().filter(|token| token.code.is_none()).count() {
                0 => identifiers.push(group),
                all if all == group.len() => {
                    returned_domains.extend(group.into_iter().filter_map(|token| token.system))
                }
                _ => return Err(Refusal::Unusable("identifier".into())),
            }
        }
        let active = codes(&search, "active");
        let page = match search.plain("_page") {
            Some(page) => page.parse().map_err(|_| Refusal::Unusable("_page".into()))?,
            None => 0,
        };
        Ok(Self {
            ids: codes(&search, "_id"),
            active: match active.iter().flatten().map(SmolStr::as_str).collect::<Vec<_>>()[..] {
                [] => None,
                ["true"] => Some(true),
                ["false"] => Some(false),
                _ => return Err(Refusal::Unusable("active".into())),
            },
            family: search.texts("family"),
            given: search.texts("given"),
            identifiers,
            returned_domains,
            telecom: search.tokens("telecom"),
            birth: search.dates("birthdate"),
            address: search.texts("address"),
            city: search.texts("address-city"),
            country: search.texts("address-country"),
            postal_code: search.texts("address-postalcode"),
            state: search.texts("address-state"),
            gender: genders(&search)?,
            mothers_maiden_name: search.texts("mothersMaidenName"),
            last_updated: search.dates("_lastUpdated"),
            count: search.count,
            page,
            understood: search.understood,
            conditions: search.unpaged,
        })
    }

    /// Whether there is any condition; a search without one asks for everybody.
    pub fn is_empty(&self) -> bool {
        let texts = [
            &self.family,
            &self.given,
            &self.address,
            &self.city,
            &self.country,
            &self.postal_code,
            &self.state,
            &self.mothers_maiden_name,
        ];
        self.ids.is_empty()
            && self.identifiers.is_empty()
            && self.telecom.is_empty()
            && self.birth.is_empty()
            && self.gender.is_empty()
            && texts.iter().all(|texts| texts.is_empty())
    }

    /// The domains of which identifiers are returned; empty: of every one. A domain that is not known here is case 4
    /// of PDQm 2:3.78.4.1.3.
    pub fn domains(&self, domains: &Domains) -> Result<Vec<AssigningAuthority>, Refusal> {
        let known = |system: &SmolStr| authority_of(system).filter(|authority| domains.of(authority).is_some());
        self.returned_domains.iter().map(|system| known(system).ok_or(Refusal::TargetDomainUnknown)).collect()
    }

    /// Whether a record that was updated at an instant meets every condition.
    pub fn matches_at(&self, patient: &Patient, updated: &Dtm) -> bool {
        each(&self.last_updated, |when| when.matches(updated)) && self.matches(patient)
    }

    /// Whether a record meets every condition but `_lastUpdated`, of which the resource says nothing.
    pub fn matches(&self, patient: &Patient) -> bool {
        let person = &patient.demographics;
        let names = |part: fn(&PersonName) -> Vec<&str>, wanted: &AllOf<Text>| {
            each(wanted, |text| person.names.iter().flat_map(part).any(|own| compares(text, own)))
        };
        let places = |part: fn(&Address) -> Vec<&str>, wanted: &AllOf<Text>| {
            each(wanted, |text| person.addresses.iter().flat_map(part).any(|own| compares(text, own)))
        };
        each(&self.ids, |id| patient.id.as_ref() == Some(id))
            && self.active.is_none_or(|active| patient.active.unwrap_or(true) == active)
            && names(|name| vec![&name.family], &self.family)
            && names(|name| name.given.iter().map(SmolStr::as_str).collect(), &self.given)
            && each(&self.identifiers, |token| patient.identifiers.iter().any(|own| is(token, own)))
            && each(&self.telecom, |token| {
                person.telecoms.iter().any(|own| {
                    token.code.as_ref().is_some_and(|code| bare(code) == bare(&own.value))
                        && token.system.as_ref().is_none_or(|system| *system == telecom_system(own.system))
                })
            })
            && each(&self.birth, |when| person.birth.as_ref().is_some_and(|birth| when.matches(birth)))
            && places(every_part, &self.address)
            && places(|address| vec![&address.city], &self.city)
            && places(|address| vec![&address.country], &self.country)
            && places(|address| vec![&address.postal_code], &self.postal_code)
            && places(|address| vec![&address.state], &self.state)
            && each(&self.gender, |gender| person.gender == Some(*gender))
            && each(&self.mothers_maiden_name, |text| {
                person.mothers_maiden_name.as_ref().is_some_and(|name| compares(text, &name.family))
            })
    }
}

/// Leaves only identifiers of the domains that were asked for; every one if none was.
pub fn restrict(patient: &mut Patient, domains: &[AssigningAuthority]) {
    if !domains.is_empty() {
        let wanted = |one: &Identifier| one.patient_id().is_some_and(|id| domains.contains(id.authority()));
        patient.identifiers.retain(wanted);
    }
}

fn codes(search: &Search, name: &str) -> AllOf<SmolStr> {
    let lists = search.tokens(name).into_iter();
    lists.map(|list| list.into_iter().filter_map(|token| token.code).collect()).collect()
}

fn genders(search: &Search) -> Result<AllOf<Gender>, Refusal> {
    let gender = |code: SmolStr| {
        let known = [Gender::Female, Gender::Male, Gender::Other, Gender::Unknown];
        known.into_iter().find(|one| one.fhir() == code).ok_or(Refusal::Unusable("gender".into()))
    };
    codes(search, "gender").into_iter().map(|list| list.into_iter().map(gender).collect()).collect()
}

fn each<T>(wanted: &AllOf<T>, has: impl Fn(&T) -> bool) -> bool {
    wanted.iter().all(|alternatives| alternatives.iter().any(&has))
}

fn compares(wanted: &Text, own: &str) -> bool {
    let (asked, known) = (fold(&wanted.text), fold(own));
    match wanted.comparison {
        Comparison::Exact => wanted.text == own,
        // What is nothing but punctuation would otherwise be the start of everything.
        Comparison::StartsWith | Comparison::Contains if asked.is_empty() => false,
        Comparison::StartsWith => known.starts_with(&asked),
        Comparison::Contains => known.contains(&asked),
    }
}

/// A text without case, accents and punctuation (FHIR R4 search, "string").
fn fold(text: &str) -> String {
    letters(text)
}

fn is(token: &Token, own: &Identifier) -> bool {
    let same_system = match (token.system.as_deref(), own.system.as_deref()) {
        (None, _) => true,
        (Some(""), own) => own.is_none(),
        (Some(wanted), Some(own)) => {
            wanted == own || authority_of(wanted).is_some_and(|one| authority_of(own) == Some(one))
        }
        (Some(_), None) => false,
    };
    same_system && token.code.is_some() && token.code == own.value
}

fn every_part(address: &Address) -> Vec<&str> {
    let parts = [&address.city, &address.state, &address.postal_code, &address.country, &address.county];
    address.lines.iter().chain(parts).map(SmolStr::as_str).collect()
}

/// Telephone numbers are compared by their digits, everything else in lower case.
fn bare(text: &str) -> String {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.len() >= 7 && !text.contains('@') { digits } else { text.trim().to_lowercase() }
}

fn telecom_system(system: TelecomSystem) -> &'static str {
    match system {
        TelecomSystem::Phone => "phone",
        TelecomSystem::Fax => "fax",
        TelecomSystem::Email => "email",
        TelecomSystem::Other => "other",
    }
}

/// ITI-119.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MatchRequest {
    /// What is known of the person.
    pub patient: Patient,
    /// Return what is certain or nothing.
    pub only_certain: bool,
    /// The most to return.
    pub count: Option<usize>,
}

impl MatchRequest {
    /// From Parameters, whose list is closed, or from a Patient alone. The names of `$idi-match`
    /// (Interoperable Digital Identity and Patient Matching) are understood too.
    pub fn decode(resource: &Value) -> Result<Self, Refusal> {
        if json::resource_type(resource) == "Patient" {
            return Ok(Self { patient: Patient::decode(resource)?, only_certain: false, count: None });
        }
        let (mut patient, mut only_certain, mut count) = (None, None, None);
        for (name, parameter) in parameters(resource)? {
            let unusable = || Refusal::Unusable(SmolStr::from(name));
            let flag = || parameter.get("valueBoolean").and_then(Value::as_bool).ok_or_else(unusable);
            match name {
                "resource" | "IDIPatient" if patient.is_none() => {
                    patient = Some(Patient::decode(parameter.get("resource").ok_or_else(unusable)?)?);
                }
                "onlyCertainMatches" if only_certain.is_none() => only_certain = Some(flag()?),
                // One match at most is the best of one.
                "onlySingleMatch" if flag()? => count = Some(1),
                "onlySingleMatch" => {}
                "count" if count.is_none() => {
                    let number = parameter.get("valueInteger").and_then(Value::as_u64).ok_or_else(unusable)?;
                    count = Some(usize::try_from(number).ok().filter(|number| *number > 0).ok_or_else(unusable)?);
                }
                "resource" | "IDIPatient" | "onlyCertainMatches" | "count" => return Err(unusable()),
                other => return Err(Refusal::UnknownParameter(other.chars().take(64).collect())),
            }
        }
        let patient = patient.ok_or(Refusal::Missing("resource".into()))?;
        Ok(Self { patient, only_certain: only_certain.unwrap_or(false), count })
    }

    /// The Parameters.
    pub fn encode(&self) -> Value {
        let mut list = vec![Builder::new().with("name", "resource").with("resource", self.patient.encode()).build()];
        if self.only_certain {
            list.push(Builder::new().with("name", "onlyCertainMatches").with("valueBoolean", true).build());
        }
        if let Some(count) = self.count {
            list.push(Builder::new().with("name", "count").with("valueInteger", count).build());
        }
        Builder::resource("Parameters").with("parameter", list).build()
    }
}

/// Somebody it might be.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The absolute URL of the record.
    pub full_url: SmolStr,
    /// The record.
    pub patient: Patient,
    /// 0 to 1.
    pub score: f64,
    /// How sure.
    pub grade: Grade,
    /// Names the person: records of one person have the same.
    pub person: SmolStr,
}

/// What of the candidates is returned (PDQm 2:3.119.4.2.3): the best first, none that is certainly not the person; with
/// `onlyCertainMatches` only what is certain, and nothing if that could be two persons.
pub fn select(mut candidates: Vec<Candidate>, request: &MatchRequest) -> Vec<Candidate> {
    candidates.retain(|one| one.grade != Grade::CertainlyNot);
    candidates.sort_by(|a, b| b.grade.cmp(&a.grade).then(b.score.total_cmp(&a.score)));
    if request.only_certain {
        candidates.retain(|one| one.grade == Grade::Certain);
        let first = candidates.first().map(|one| one.person.clone());
        if candidates.iter().any(|one| Some(&one.person) != first.as_ref()) {
            candidates.clear();
        }
    }
    candidates.truncate(request.count.unwrap_or(usize::MAX));
    candidates
}

/// The answer to ITI-119.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatchResponse {
    /// URL, record, score and grade, the best first.
    pub matches: Vec<(SmolStr, Patient, f64, Grade)>,
    /// Warnings; never an error, which is an answer of its own.
    pub outcome: Option<Outcome>,
}

impl MatchResponse {
    /// Of the candidates that were selected.
    pub fn of(candidates: Vec<Candidate>, outcome: Option<Outcome>) -> Self {
        let matches = candidates.into_iter().map(|one| (one.full_url, one.patient, one.score, one.grade));
        Self { matches: matches.collect(), outcome }
    }

    /// Reads a searchset. A match without a grade counts as possible, which nobody acts on without looking.
    pub fn decode(resource: &Value) -> Result<Self, Refusal> {
        let bundle = Bundle::decode(resource)?;
        let mut response = Self::default();
        for entry in bundle.entries {
            let Some(resource) = &entry.resource else { continue };
            match (json::resource_type(resource), entry.search) {
                ("OperationOutcome", _) => response.outcome = Outcome::decode(resource),
                ("Patient", Some(Found { mode: Mode::Match, score, grade })) => {
                    let patient = Patient::decode(resource)?;
                    let url = entry.full_url.unwrap_or_default();
                    response.matches.push((url, patient, score.unwrap_or(0.0), grade.unwrap_or(Grade::Possible)));
                }
                _ => {}
            }
        }
        Ok(response)
    }

    /// The searchset.
    pub fn encode(&self) -> Value {
        let entries = self.matches.iter().map(|(url, patient, score, grade)| {
            let search = Some(Found { mode: Mode::Match, score: Some(*score), grade: Some(*grade) });
            Entry { search, ..Entry::found(url.clone(), patient.encode()) }
        });
        let mut entries: Vec<_> = entries.collect();
        let total = entries.len() as u64;
        entries.extend(self.outcome.as_ref().map(Entry::outcome));
        Bundle { total: Some(total), entries, ..Bundle::new(Kind::Searchset) }.encode()
    }
}

#[cfg(test)]
mod tests;
