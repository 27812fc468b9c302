//! Document Responder (MHD 1:33.1.1.4): finds documents (ITI-67) and lists of them (ITI-66), and gives documents out
//! (ITI-68, in `document`).
//!
//! A patient is one person here, with the identifiers of every domain: whoever looks for the documents of a Patient, or of
//! one of its identifiers, finds those that were registered under any of them. What other communities have is added by
//! `communities`; `shown` is what becomes of metadata.

mod communities;
mod document;
mod shown;

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

pub use document::RetrieveDocument;
pub use shown::{document_url, logical_id};

use super::find::{Find, Whose};
use crate::atna::{Action, Object as Touched};
use crate::authenticate::Caller;
use crate::fhir::bundle::Bundle;
use crate::fhir::outcome::{Issue, IssueCode, Outcome, Refusal, Severity};
use crate::fhir::person;
use crate::fhir::resource::Reference;
use crate::gateway::Gateway;
use crate::id::{EntryUuid, PatientId, TraceId, Transaction as Iti};
use crate::metadata::query::{ContentFilter, Query, Selector};
use crate::metadata::{Object, ObjectId};
use crate::pipeline::fhir::{self, Fhir, Message};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::storage::engine::StoreError;
use crate::storage::identities::{Person, PersonKey, Resolution};
use crate::xds::registry;
use crate::xds::stored_query::Request;

/// Resources on a page, if the client does not say how many, and the most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// ITI-67, or ITI-66 if it is for lists.
pub struct Search<const LISTS: bool>;

/// ITI-67 Find Document References.
pub type FindReferences = Search<false>;
/// ITI-66 Find Document Lists.
pub type FindLists = Search<true>;

/// What is looked for.
pub struct Sought {
    find: Find,
    /// As it came, for the audit record.
    sent: Vec<u8>,
}

/// A page of what was found.
pub struct Page {
    bundle: Bundle,
    patient: Option<PatientId>,
}

/// Something that was found, with the person whose it is and, in another community, the partner that told of it.
struct Hit {
    object: Object,
    person: Option<PersonKey>,
    via: Option<SmolStr>,
}

/// All that was found.
struct Hits {
    list: Vec<Hit>,
    told: Option<Outcome>,
    patient: Option<PatientId>,
}

impl<const LISTS: bool> Transaction for Search<LISTS> {
    type Wire = Fhir;
    const ID: Iti = if LISTS { Iti::Iti66 } else { Iti::Iti67 };
    type Request = Sought;
    type Response = Page;
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_gateway: &Gateway, _received: &Received, _message: &Message) {}

    fn decode(_gateway: &Gateway, _caller: &Caller, message: &Message) -> Result<Sought, Failure<Refusal>> {
        let read = || {
            if message.resource().is_some() {
                return Err(Refusal::UnsupportedMediaType);
            }
            let parse = if LISTS { Find::lists } else { Find::documents };
            let find = parse(&message.query, message.form(), message.headers.handling())?;
            Ok(Sought { find, sent: message.asked() })
        };
        read().map_err(Failure::Refused)
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Sought>>, _extras: ()) -> Result<Page, Refusal> {
        let find = &call.permitted.request().find;
        let caller = call.permitted.caller();
        let name = find.name();
        // The rest of a search is kept for its next page; one that is no longer kept is searched for again.
        let kept = match find.page {
            0 => None,
            _ => gateway.continuations.find::<Hits>(caller, &name, call.at),
        };
        let hits = match kept {
            Some(hits) => hits,
            None => Arc::new(everything(&gateway, &call).await?),
        };
        let count = find.count.unwrap_or(PAGE).min(LARGEST_PAGE);
        let rest = hits.list.get(find.page..).unwrap_or_default();
        let page = rest.get(..count).unwrap_or(rest);
        let resources = shown::resources(&gateway, page)?;
        let bundle = find.answer(&person::base(&gateway), resources, hits.list.len(), hits.told.as_ref());
        let patient = hits.patient.clone();
        if count > 0 && rest.len() > count {
            gateway.continuations.keep(caller, (&name, &name), hits, call.at);
        }
        Ok(Page { bundle, patient })
    }

    fn audit(sought: &Sought, outcome: &Result<Page, Refusal>) -> Vec<Part> {
        let query = Touched::query(Self::ID, None, sought.sent.clone());
        let named = match &sought.find.whose {
            Some(Whose::Identifier(id)) => Some(id),
            Some(Whose::Reference(_)) | None => None,
        };
        vec![match outcome {
            Ok(page) => {
                let patient = named.or(page.patient.as_ref()).map(Touched::patient);
                Part::success(patient.into_iter().chain([query]).collect())
            }
            Err(refusal) => Part::failure(named.map(Touched::patient).into_iter().chain([query]).collect(), refusal),
        }]
    }

    fn encode((): (), outcome: Result<Page, Refusal>, trace: TraceId) -> fhir::Answer {
        match outcome {
            Ok(page) => fhir::Answer::resource(200, page.bundle.encode()),
            Err(refusal) => fhir::Answer::refused(&refusal, trace),
        }
    }
}

/// Whose documents are looked for.
#[derive(Default)]
struct Who {
    person: Option<Person>,
    /// The identifiers under which they may be registered.
    ids: Vec<PatientId>,
}

async fn everything(gateway: &Arc<Gateway>, call: &Call<Sought>) -> Result<Hits, Refusal> {
    let find = &call.permitted.request().find;
    let lists = find.kind() == "List";
    let scope = communities::Scope::of(gateway, call, lists)?;
    let who = whose(gateway, find)?;
    let mut list = if scope.here { here(gateway, find, &who, call.trace)? } else { Vec::new() };
    let (foreign, told) = communities::elsewhere(gateway, call, &scope, &who, lists).await?;
    list.extend(foreign);
    let told = with_other_registry(gateway, &scope, told);
    let patient = who.ids.first().cloned().or_else(|| list.first().and_then(|hit| hit.object.patient().cloned()));
    Ok(Hits { list, told, patient })
}

/// Adds that the community's other registry is not asked over FHIR, where there is one: an answer without its documents
/// must not look like all that the community has.
fn with_other_registry(gateway: &Gateway, scope: &communities::Scope, told: Option<Outcome>) -> Option<Outcome> {
    if gateway.external.registry.is_none() || !scope.here {
        return told;
    }
    let text = "the community's other registry is not searched over FHIR; ask for its documents by ITI-18";
    let mut outcome = told.unwrap_or_default();
    outcome.issues.push(Issue::new(Severity::Warning, IssueCode::Incomplete, text));
    Some(outcome)
}

fn unreadable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store could not be read");
    Refusal::Unavailable
}

fn whose(gateway: &Gateway, find: &Find) -> Result<Who, Refusal> {
    let of = |person: Option<Person>| {
        let ids = person.iter().flat_map(Person::ids).cloned().collect();
        Who { person, ids }
    };
    match &find.whose {
        None => Ok(Who::default()),
        Some(Whose::Reference(reference)) => {
            // A reference parameter may be the bare id (FHIR R4 `search.html`, 3.1.1.5.7).
            let url = if reference.contains('/') { reference.clone() } else { format_smolstr!("Patient/{reference}") };
            let found = person::by_reference(gateway, &Reference::to(url));
            Ok(of(found.map_err(|error| unreadable(&error))?))
        }
        Some(Whose::Identifier(id)) => {
            match gateway.identities.resolve(&gateway.tenant, id).map_err(|error| unreadable(&error))? {
                Resolution::Active(person) => Ok(of(Some(person))),
                // ITI TF-2: 3.8.4.2.3: what was merged away is asked for by its survivor.
                Resolution::Replaced { .. } => Ok(Who::default()),
                // Documents may be of patients whom no source fed.
                Resolution::Unknown => Ok(Who { person: None, ids: vec![id.clone()] }),
            }
        }
    }
}

/// What is registered here, each object once.
fn here(gateway: &Gateway, find: &Find, who: &Who, trace: TraceId) -> Result<Vec<Hit>, Refusal> {
    let queries = match &find.whose {
        None => vec![find.query(None)?],
        Some(_) => who.ids.iter().map(|id| find.query(Some(id))).collect::<Result<_, _>>()?,
    };
    let mut seen = HashSet::new();
    let mut hits = Vec::new();
    for query in queries {
        let response = registry::search(gateway, &Request::new(query), trace);
        if !response.errors.is_empty() {
            return Err(Refusal::registry(response.errors));
        }
        for object in response.objects {
            if find.accepts(&object) && seen.insert(object.id().clone()) {
                let person = who.person.as_ref().map(|person| person.key);
                hits.push(Hit { object, person, via: None });
            }
        }
    }
    if !find.submitted.is_empty() {
        let times = shown::submission_times(gateway, &hits)?;
        let is_wanted = |hit: &Hit| {
            let time = times.get(hit.object.id());
            find.submitted.iter().all(|any| time.is_some_and(|time| any.iter().any(|when| when.matches(time))))
        };
        hits.retain(is_wanted);
    }
    Ok(hits)
}

/// The resource of a document that is registered here, with its URL.
pub fn reference(gateway: &Gateway, id: &ObjectId) -> Result<Option<(SmolStr, Value)>, Refusal> {
    Ok(read(gateway, &[Query::GetDocuments(Selector::Ids(vec![id.clone()]))], id)?
        .map(|(_, url, resource)| (url, resource)))
}

fn read(
    gateway: &Gateway,
    queries: &[Query],
    id: &ObjectId,
) -> Result<Option<(Option<PatientId>, SmolStr, Value)>, Refusal> {
    for query in queries {
        let found = gateway.documents.search(&gateway.tenant, query, 10_000);
        let found = found.map_err(|error| Refusal::Xds { code: error.code(), text: error.to_string() })?;
        let Some(object) = found.into_iter().find(|object| object.id() == id) else { continue };
        let patient = object.patient().cloned();
        let shown = shown::resources(gateway, &[Hit { object, person: None, via: None }])?;
        return Ok(shown.into_iter().next().map(|(url, resource)| (patient, url, resource)));
    }
    Ok(None)
}

/// A DocumentReference, or a List, by its id: recorded as the search that tells of it.
pub struct Read<const LISTS: bool>;

/// One DocumentReference.
pub type ReadReference = Read<false>;
/// One List.
pub type ReadList = Read<true>;

/// Which one.
pub struct Named {
    id: Option<ObjectId>,
    sent: Vec<u8>,
}

impl<const LISTS: bool> Transaction for Read<LISTS> {
    type Wire = Fhir;
    const ID: Iti = if LISTS { Iti::Iti66 } else { Iti::Iti67 };
    type Request = Named;
    type Response = (Option<PatientId>, Value);
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_gateway: &Gateway, _received: &Received, _message: &Message) {}

    fn decode(_gateway: &Gateway, _caller: &Caller, message: &Message) -> Result<Named, Failure<Refusal>> {
        let segment = message.path.rsplit('/').next().unwrap_or_default();
        let id: Option<EntryUuid> = format!("urn:uuid:{segment}").parse().ok();
        Ok(Named { id: id.map(Into::into), sent: message.asked() })
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Named>>,
        _extras: (),
    ) -> Result<(Option<PatientId>, Value), Refusal> {
        let kind = if LISTS { "List" } else { "DocumentReference" };
        let id = call.permitted.request().id.as_ref().ok_or(Refusal::NotFound(kind))?;
        let by_id = || Selector::Ids(vec![id.clone()]);
        let queries = if LISTS {
            let sets = Query::GetSubmissionSetAndContents(by_id(), ContentFilter::default());
            vec![Query::GetFolders(by_id()), sets]
        } else {
            vec![Query::GetDocuments(by_id())]
        };
        let (patient, _, resource) = read(&gateway, &queries, id)?.ok_or(Refusal::NotFound(kind))?;
        Ok((patient, resource))
    }

    fn audit(named: &Named, outcome: &Result<(Option<PatientId>, Value), Refusal>) -> Vec<Part> {
        let query = Touched::query(Self::ID, None, named.sent.clone());
        let part = match outcome {
            Ok((patient, _)) => Part::success(patient.iter().map(Touched::patient).chain([query]).collect()),
            Err(refusal) => Part::failure(vec![query], refusal),
        };
        vec![Part { action: Some(Action::Read), ..part }]
    }

    fn encode((): (), outcome: Result<(Option<PatientId>, Value), Refusal>, trace: TraceId) -> fhir::Answer {
        match outcome {
            Ok((_, resource)) => fhir::Answer::resource(200, resource),
            Err(refusal) => fhir::Answer::refused(&refusal, trace),
        }
    }
}
