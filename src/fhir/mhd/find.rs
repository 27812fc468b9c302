//! ITI-66 Find Document Lists and ITI-67 Find Document References, as stored queries of ITI-18 (MHD 2:3.66, 2:3.67).
//!
//! A FHIR search may say what a stored query cannot; `accepts` on what the query found holds it to the rest.

use std::fmt;

use serde_json::Value as Json;
use smol_str::{SmolStr, format_smolstr};

use super::super::bundle::{Bundle, Entry};
use super::super::outcome::{Outcome, Refusal};
use super::super::resource::{Identifier, Reference, scheme_of};
use super::super::search::{Definition, Handling, Parameters, Prefix, Search, Token, Type, Value, When, definition};
use super::document_reference::availability;
use crate::id::{DocumentUniqueId, Dtm, Oid, PatientId, Timestamp};
use crate::metadata::coding::escape;
use crate::metadata::query::{
    AllOf, ContentFilter, FindDocuments, FindFolders, FindSubmissionSets, Query, Selector, TimeRange, WantedCode,
    has_references,
};
use crate::metadata::{Availability, DocumentKind, Object, ObjectId};

const DOCUMENTS: &[Definition] = &[
    definition("patient", Type::Reference),
    definition("patient.identifier", Type::Token),
    definition("status", Type::Token),
    definition("creation", Type::Date),
    definition("date", Type::Date),
    definition("author.given", Type::String),
    definition("author.family", Type::String),
    definition("category", Type::Token),
    definition("type", Type::Token),
    definition("setting", Type::Token),
    definition("facility", Type::Token),
    definition("event", Type::Token),
    definition("security-label", Type::Token),
    definition("format", Type::Token),
    definition("period", Type::Date),
    definition("related", Type::Reference),
    definition("related.identifier", Type::Token),
    definition("identifier", Type::Token),
    definition("targetCommunityIdList", Type::Uri),
];

const LISTS: &[Definition] = &[
    definition("patient", Type::Reference),
    definition("patient.identifier", Type::Token),
    definition("code", Type::Token),
    definition("status", Type::Token),
    definition("date", Type::Date),
    definition("source.given", Type::String),
    definition("source.family", Type::String),
    definition("designationType", Type::Token),
    definition("sourceId", Type::Token),
    definition("identifier", Type::Token),
    definition("targetCommunityIdList", Type::Uri),
];

/// Whose documents.
#[derive(Clone, Eq, PartialEq)]
pub enum Whose {
    /// `patient.identifier`
    Identifier(PatientId),
    /// `patient`: somebody has to look the reference up.
    Reference(SmolStr),
}

impl fmt::Debug for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identifier(_) => "Identifier(…)",
            Self::Reference(_) => "Reference(…)",
        })
    }
}

/// What a search is for.
#[derive(Clone, Debug, Eq, PartialEq)]
enum What {
    Documents(Box<FindDocuments>, AllOf<SmolStr>),
    Sets(Sets),
    Folders(FindFolders),
    /// Identifiers without a patient; what is found has to meet the other conditions too.
    Ids(Box<What>, Selector),
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Sets {
    statuses: Vec<Availability>,
    sources: Vec<SmolStr>,
    submission_time: TimeRange,
    author: Option<SmolStr>,
    content_types: AllOf<WantedCode>,
}

/// ITI-66 or ITI-67.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Find {
    /// Whose; none when the search is for identifiers of documents or lists.
    pub whose: Option<Whose>,
    /// `targetCommunityIdList`
    pub communities: Vec<SmolStr>,
    /// `identifier` beside a patient: the uniqueIds or entry ids of which the result must have one.
    pub identifiers: Vec<SmolStr>,
    /// `_count`
    pub count: Option<usize>,
    /// `_page`: how many were on the pages before. It comes only from links that we wrote.
    pub page: usize,
    /// `date` of a DocumentReference, which no stored query knows: when it was submitted.
    pub submitted: Vec<Vec<When>>,
    /// The query as it was understood, for the `self` link. It names the patient.
    understood: Understood,
    /// The same without what is about pages, for the `next` link.
    conditions: Understood,
    what: What,
}

#[derive(Clone, Eq, PartialEq)]
struct Understood(String);

impl fmt::Debug for Understood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Find {
    /// ITI-67, from the URL and the form of a `_search` on `DocumentReference`.
    pub fn documents(query: &str, form: Option<&str>, handling: Handling) -> Result<Self, Refusal> {
        let parameters = Parameters::read(query, form)?;
        let search = Search::read(&parameters, DOCUMENTS, handling)?;
        let period = ranges(&search, "period")?;
        let find = FindDocuments {
            statuses: statuses(&search)?,
            class_codes: codes(&search, "category"),
            type_codes: codes(&search, "type"),
            practice_settings: codes(&search, "setting"),
            facility_types: codes(&search, "facility"),
            event_codes: codes(&search, "event"),
            contents: ContentFilter {
                format_codes: codes(&search, "format"),
                confidentiality: codes(&search, "security-label"),
                // `$XDSDocumentEntryType` cannot be expressed here; a caller of MHD does not tell the kinds apart.
                kinds: vec![DocumentKind::Stable, DocumentKind::OnDemand],
            },
            authors: people(&search, "author"),
            creation_time: ranges(&search, "creation")?,
            service_start: period.clone(),
            service_stop: period,
            ..FindDocuments::default()
        };
        let related = related(&search)?;
        let submitted = search.dates("date");
        let found = Self::finish(search, What::Documents(Box::new(find), related))?;
        Ok(Self { submitted, ..found })
    }

    /// ITI-66, on `List`.
    pub fn lists(query: &str, form: Option<&str>, handling: Handling) -> Result<Self, Refusal> {
        let parameters = Parameters::read(query, form)?;
        let search = Search::read(&parameters, LISTS, handling)?;
        let statuses = statuses(&search)?;
        let designations = codes(&search, "designationType");
        let kinds: Vec<_> = search.tokens("code").into_iter().flatten().filter_map(|token| token.code).collect();
        let what = match kinds.iter().map(SmolStr::as_str).collect::<Vec<_>>()[..] {
            ["submissionset"] => {
                let sources = search.tokens("sourceId").into_iter().flatten().filter_map(|token| token.code);
                let sources = sources.map(|source| Oid::lenient(&source).map_or(source, SmolStr::from)).collect();
                let submission_time = ranges(&search, "date")?;
                let author = people(&search, "source").into_iter().next();
                What::Sets(Sets { statuses, sources, submission_time, author, content_types: designations })
            }
            ["folder"] => What::Folders(FindFolders {
                patients: Vec::new(),
                statuses,
                last_update: ranges(&search, "date")?,
                codes: designations,
            }),
            [] => return Err(Refusal::Missing("code".into())),
            _ => return Err(Refusal::Unusable("code".into())),
        };
        Self::finish(search, what)
    }

    fn finish(search: Search, what: What) -> Result<Self, Refusal> {
        let whose = whose(&search)?;
        let ids: Vec<Token> = search.tokens("identifier").into_iter().flatten().collect();
        let identifiers: Vec<SmolStr> = ids.iter().filter_map(bare_identifier).collect();
        let communities = search.all("targetCommunityIdList").flatten().filter_map(|value| match value {
            Value::Plain(text) => Some(text.clone()),
            _ => None,
        });
        let communities = communities.collect();
        let what = match (&whose, identifiers.is_empty()) {
            (None, true) => return Err(Refusal::Missing("patient or patient.identifier".into())),
            // Without a patient the identifiers are what is looked for.
            (None, false) => {
                // GetSubmissionSetAndContents names one set.
                if matches!(what, What::Sets(_)) && identifiers.len() > 1 {
                    return Err(Refusal::Unusable("identifier".into()));
                }
                What::Ids(Box::new(what), selector(&identifiers)?)
            }
            (Some(_), _) => what,
        };
        if search.tokens("status").is_empty() && whose.is_some() {
            return Err(Refusal::Missing("status".into()));
        }
        let page = match search.plain("_page") {
            Some(page) => page.parse().map_err(|_| Refusal::Unusable("_page".into()))?,
            None => 0,
        };
        Ok(Self {
            whose,
            communities,
            identifiers,
            count: search.count,
            page,
            submitted: Vec::new(),
            understood: Understood(search.understood),
            conditions: Understood(search.unpaged),
            what,
        })
    }

    /// The stored query, once it is known who the patient is. A query for identifiers needs nobody.
    pub fn query(&self, patient: Option<&PatientId>) -> Result<Query, Refusal> {
        let named = || patient.cloned().ok_or(Refusal::Missing("patient or patient.identifier".into()));
        Ok(match &self.what {
            What::Documents(find, related) => {
                let find = FindDocuments { patients: vec![named()?], ..FindDocuments::clone(find) };
                if related.is_empty() {
                    Query::FindDocuments(find)
                } else {
                    Query::FindDocumentsByReferenceId(find, related.clone())
                }
            }
            What::Sets(sets) => Query::FindSubmissionSets(sets.of(&named()?)),
            What::Folders(find) => Query::FindFolders(FindFolders { patients: vec![named()?], ..find.clone() }),
            What::Ids(what, selector) => match **what {
                What::Sets(_) => Query::GetSubmissionSetAndContents(selector.clone(), ContentFilter::default()),
                What::Folders(_) => Query::GetFolders(selector.clone()),
                What::Documents(..) | What::Ids(..) => Query::GetDocuments(selector.clone()),
            },
        })
    }

    /// Whether what the query found is looked for: of the right kind, with one of the identifiers asked for, and, if the
    /// query was for identifiers alone, as all other conditions want it.
    pub fn accepts(&self, object: &Object) -> bool {
        let (unique_id, what) = match (object, self.what.of_what()) {
            (Object::Document(entry), what @ What::Documents(..)) => (&entry.unique_id, what),
            (Object::SubmissionSet(set), what @ What::Sets(_)) => (&set.unique_id, what),
            (Object::Folder(folder), what @ What::Folders(_)) => (&folder.unique_id, what),
            _ => return false,
        };
        let own = object.id().to_string();
        let is_named = self.identifiers.iter().any(|one| *one == own || one == unique_id.bare());
        (self.identifiers.is_empty() || is_named) && (self.whose.is_some() || what.accepts(object))
    }

    /// The type of the resources that are looked for.
    pub fn kind(&self) -> &'static str {
        match self.what.of_what() {
            What::Documents(..) | What::Ids(..) => "DocumentReference",
            What::Sets(_) | What::Folders(_) => "List",
        }
    }

    /// The name of the search without its pages: what has the same name is the same search.
    pub fn name(&self) -> String {
        format!("{}?{}", self.kind(), self.conditions.0)
    }

    /// The searchset: a page of so many, of all that were found, and what is to be told beside them.
    pub fn answer(&self, base: &str, page: Vec<(SmolStr, Json)>, total: usize, told: Option<&Outcome>) -> Bundle {
        let base = base.trim_end_matches('/');
        let count = page.len();
        let more = count > 0 && self.page + count < total;
        let asked = self.count.unwrap_or(count);
        let next = more.then(|| format_smolstr!("{base}/{}&_count={asked}&_page={}", self.name(), self.page + count));
        let mut entries: Vec<_> = page.into_iter().map(|(url, resource)| Entry::found(url, resource)).collect();
        entries.extend(told.map(Entry::outcome));
        let this = format!("{base}/{}?{}", self.kind(), self.understood.0);
        Bundle::searchset(this, next, total as u64, entries)
    }
}

impl What {
    /// What it is for, identifiers or not.
    fn of_what(&self) -> &Self {
        match self {
            Self::Ids(what, _) => what,
            other => other,
        }
    }

    /// Whether an object meets the conditions, whoever the patient is. No status asked for is any status.
    fn accepts(&self, object: &Object) -> bool {
        let any = |asked: &[Availability]| match asked {
            [] => vec![Availability::Approved, Availability::Deprecated],
            asked => asked.to_vec(),
        };
        match (self, object) {
            (Self::Documents(find, related), Object::Document(entry)) => {
                let find = FindDocuments { statuses: any(&find.statuses), ..FindDocuments::clone(find) };
                find.matches(entry) && has_references(related, &entry.reference_ids)
            }
            (Self::Sets(sets), Object::SubmissionSet(set)) => set.patient_id.as_ref().is_some_and(|patient| {
                let find = sets.of(patient);
                FindSubmissionSets { statuses: any(&find.statuses), ..find }.matches(set)
            }),
            (Self::Folders(find), Object::Folder(folder)) => {
                FindFolders { statuses: any(&find.statuses), ..find.clone() }.matches(folder)
            }
            _ => false,
        }
    }
}

impl Sets {
    fn of(&self, patient: &PatientId) -> FindSubmissionSets {
        FindSubmissionSets {
            patient: patient.clone(),
            statuses: self.statuses.clone(),
            sources: self.sources.clone(),
            submission_time: self.submission_time.clone(),
            author: self.author.clone(),
            content_types: self.content_types.clone(),
        }
    }
}

fn whose(search: &Search) -> Result<Option<Whose>, Refusal> {
    let mut found = Vec::new();
    for token in search.tokens("patient.identifier").into_iter().chain(search.tokens("patient")).flatten() {
        let identifier = Identifier { system: token.system, value: token.code, ..Identifier::default() };
        let id = identifier.patient_id().ok_or(Refusal::Unusable("patient.identifier".into()))?;
        found.push(Whose::Identifier(id));
    }
    for value in search.all("patient").flatten() {
        if let Value::Reference(reference) = value {
            found.push(Whose::Reference(reference.clone()));
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        // A stored query is of one patient, and an OR of two would be asked for by nobody who treats one.
        _ => Err(Refusal::Unusable("patient".into())),
    }
}

fn statuses(search: &Search) -> Result<Vec<Availability>, Refusal> {
    let tokens = search.tokens("status").into_iter().flatten().filter_map(|token| token.code);
    tokens
        .map(|code| match code.as_str() {
            // What a List calls its end.
            "retired" => Ok(Availability::Deprecated),
            code => availability(code).ok_or(Refusal::Unusable("status".into())),
        })
        .collect()
}

fn codes(search: &Search, name: &str) -> AllOf<WantedCode> {
    let groups = search.tokens(name).into_iter().map(|group| {
        let wanted = |token: Token| {
            let scheme = token.system.as_deref().map(scheme_of).unwrap_or_default();
            token.code.map(|code| WantedCode::new(&code, &scheme))
        };
        group.into_iter().filter_map(wanted).collect::<Vec<_>>()
    });
    groups.filter(|group| !group.is_empty()).collect()
}

/// Names as XCN patterns, `%^Family%^Given%`: FHIR compares the start, SQL LIKE the whole.
fn people(search: &Search, role: &str) -> Vec<SmolStr> {
    let texts = |part: &str| search.texts(&format!("{role}.{part}")).into_iter().flatten().collect::<Vec<_>>();
    let (families, givens) = (texts("family"), texts("given"));
    let start = |text: &str| escape(text).replace(['%', '_'], "_") + "%";
    match (families.is_empty(), givens.is_empty()) {
        (true, true) => Vec::new(),
        (false, true) => families.iter().map(|family| format_smolstr!("%^{}", start(&family.text))).collect(),
        (true, false) => givens.iter().map(|given| format_smolstr!("%^%^{}", start(&given.text))).collect(),
        (false, false) => {
            let pairs = families.iter().flat_map(|family| givens.iter().map(move |given| (family, given)));
            pairs.map(|(family, given)| format_smolstr!("%^{}^{}", start(&family.text), start(&given.text))).collect()
        }
    }
}

/// Dates as a range with both ends in it. Stored queries cannot say "not" and "or".
fn ranges(search: &Search, name: &'static str) -> Result<TimeRange, Refusal> {
    let mut range = TimeRange::default();
    for group in search.dates(name) {
        let [When { prefix, date }] = group.as_slice() else { return Err(Refusal::Unusable(name.into())) };
        let (from, to) = match prefix {
            Prefix::Equal | Prefix::Approximately => (Some(date.clone()), Some(date.clone())),
            Prefix::GreaterOrEqual => (Some(date.clone()), None),
            Prefix::LessOrEqual => (None, Some(date.clone())),
            Prefix::Greater | Prefix::StartsAfter => (beside(&date.latest(), 1000), None),
            Prefix::Less | Prefix::EndsBefore => (None, beside(&date.earliest(), -1000)),
            Prefix::NotEqual => return Err(Refusal::Unusable(name.into())),
        };
        // Of two conditions for one end the narrower holds.
        let later = |old: &Option<Dtm>, new: &Dtm| old.as_ref().is_none_or(|old| new.earliest() > old.earliest());
        let earlier = |old: &Option<Dtm>, new: &Dtm| old.as_ref().is_none_or(|old| new.latest() < old.latest());
        if let Some(from) = from.filter(|from| later(&range.from, from)) {
            range.from = Some(from);
        }
        if let Some(to) = to.filter(|to| earlier(&range.to, to)) {
            range.to = Some(to);
        }
    }
    Ok(range)
}

/// The second before or after 14 digits, whose day may be the 31st of any month.
fn beside(digits: &str, millis: i64) -> Option<Dtm> {
    let (month, rest) = digits.split_at_checked(6)?;
    let (day, time) = rest.split_at_checked(2)?;
    let day: u8 = day.parse().ok()?;
    let instant = (28..=day).rev().chain([day]).find_map(|day| {
        let time = format!("{}:{}:{}", time.get(..2)?, time.get(2..4)?, time.get(4..6)?);
        Timestamp::from_rfc3339(&format!("{}-{}-{day:02}T{time}Z", &month[..4], &month[4..]))
    })?;
    Timestamp::from_millis(instant.as_millis() + millis).to_dtm().parse().ok()
}

/// References as CXi patterns: id and, if it was told, the authority; any type.
fn related(search: &Search) -> Result<AllOf<SmolStr>, Refusal> {
    if search.all("related").flatten().any(|value| matches!(value, Value::Reference(_))) {
        return Err(Refusal::NotSupported("related to a resource; related:identifier is".into()));
    }
    let groups = search.tokens("related").into_iter().chain(search.tokens("related.identifier"));
    let pattern = |token: &Token| {
        let value = bare_identifier(token)?;
        let value = escape(&value);
        let identifier =
            Identifier { system: token.system.clone(), value: token.code.clone(), ..Identifier::default() };
        let is_uri = token.system.as_deref().is_none_or(|system| system == super::URI_SYSTEM);
        match identifier.patient_id() {
            Some(id) if !is_uri => Some(format_smolstr!("{}^%", id.to_cx())),
            _ => Some(format_smolstr!("{value}^%")),
        }
    };
    Ok(groups
        .map(|group| group.iter().filter_map(pattern).collect())
        .filter(|group: &Vec<_>| !group.is_empty())
        .collect())
}

/// An identifier as metadata has it: OIDs bare, with an extension after `^`; UUIDs as URNs.
fn bare_identifier(token: &Token) -> Option<SmolStr> {
    let code = token.code.as_deref()?;
    if let Some(Ok(oid)) = token.system.as_deref().map(Oid::lenient) {
        return Some(format_smolstr!("{oid}^{code}"));
    }
    Some(Oid::lenient(code).map_or_else(|_| code.into(), SmolStr::from))
}

fn selector(identifiers: &[SmolStr]) -> Result<Selector, Refusal> {
    if identifiers.iter().all(|one| matches!(ObjectId::from(one.as_str()), ObjectId::Uuid(_))) {
        return Ok(Selector::Ids(identifiers.iter().map(|one| ObjectId::from(one.as_str())).collect()));
    }
    let ids =
        identifiers.iter().map(|one| DocumentUniqueId::new(one).map_err(|_| Refusal::Unusable("identifier".into())));
    Ok(Selector::UniqueIds(ids.collect::<Result<_, _>>()?))
}

/// The reference to a Patient in answers, when the caller gave one.
pub fn subject(whose: &Whose) -> Reference {
    match whose {
        Whose::Identifier(id) => Reference { reference: None, identifier: Some(Identifier::of(id, None)) },
        Whose::Reference(reference) => Reference::to(reference.clone()),
    }
}

#[cfg(test)]
mod tests;
