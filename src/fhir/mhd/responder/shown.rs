//! What becomes of metadata: resources with their URLs, the Patient whom they are of, and the address of the document.

use std::collections::HashMap;

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::super::retrieve::Handle;
use super::super::{Shown, document_reference, folder, submission_set};
use super::{Hit, unreadable};
use crate::fhir::outcome::Refusal;
use crate::fhir::person;
use crate::fhir::resource::{Identifier, Reference, date_time};
use crate::gateway::Gateway;
use crate::id::{Dtm, PatientId};
use crate::metadata::query::{Query, Selector};
use crate::metadata::{Association, AssociationKind, DocumentEntry, DocumentKind, Object, ObjectId};
use crate::storage::identities::{PersonKey, Resolution};

/// More than the objects around one page.
const MOST: usize = 100_000;

/// The logical id of an object: its entryUUID without the prefix.
pub fn logical_id(id: &ObjectId) -> SmolStr {
    let text = id.to_string();
    text.strip_prefix("urn:uuid:").unwrap_or(&text).into()
}

/// The address at which ITI-68 gives a document out. It is sealed: only what was told by this gateway is asked for, here
/// and of partners. A document of a repository elsewhere is where its metadata says.
pub fn document_url(gateway: &Gateway, entry: &DocumentEntry, via: Option<&SmolStr>) -> SmolStr {
    let home = entry.home.clone().filter(|home| !gateway.community.serves(home));
    let repository = entry.repository.clone().unwrap_or_else(|| gateway.community.repository.clone());
    let is_elsewhere = home.is_none() && gateway.community.home_of_repository(&repository).is_none();
    if let Some(uri) = entry.uri.as_ref().filter(|uri| is_elsewhere && uri.starts_with("https://")) {
        return uri.clone();
    }
    // What another community tells of a stable document is compared with what it gives. Here that is done anyway.
    let told = Some(entry).filter(|entry| home.is_some() && entry.kind == DocumentKind::Stable);
    let (hash, size) = (told.and_then(|entry| entry.hash.clone()), told.and_then(|entry| entry.size));
    let handle = Handle { home, repository, unique_id: entry.unique_id.clone(), via: via.cloned(), hash, size };
    format_smolstr!("{}/Binary/{}", person::base(gateway), gateway.names.sealed(&handle.to_segment()))
}

/// The resources of what was found, each with its `fullUrl`.
pub(super) fn resources(gateway: &Gateway, hits: &[Hit]) -> Result<Vec<(SmolStr, Value)>, Refusal> {
    let around = Around::of(gateway, hits)?;
    let mut people = People { gateway, known: HashMap::new() };
    let mut shown = Vec::new();
    for hit in hits {
        let id = logical_id(hit.object.id());
        let subject = people.subject(hit)?;
        let (kind, resource) = match &hit.object {
            Object::Document(entry) => {
                ("DocumentReference", around.document(gateway, entry, &subject, hit.via.as_ref()))
            }
            Object::SubmissionSet(set) => {
                let mut set = set.clone();
                set.home = set.home.or_else(|| home(gateway, &hit.object));
                ("List", submission_set(&set, &id, &subject, &around.members(&set.id)))
            }
            Object::Folder(one) => {
                let mut one = one.clone();
                one.home = one.home.or_else(|| home(gateway, &hit.object));
                ("List", folder(&one, &id, &subject, &around.members(&one.id)))
            }
            Object::Association(_) | Object::Reference(_) => continue,
        };
        // What is registered elsewhere has no address as a resource here.
        let url = match hit.via {
            Some(_) => format_smolstr!("urn:uuid:{id}"),
            None => format_smolstr!("{}/{kind}/{id}", person::base(gateway)),
        };
        shown.push((url, resource));
    }
    Ok(shown)
}

/// The community of an object that is registered here.
fn home(gateway: &Gateway, object: &Object) -> Option<crate::id::HomeCommunityId> {
    object.patient().map(|patient| gateway.community.home_of(patient.authority()).clone())
}

/// When each document was submitted: the time of the submission set that brought it.
pub(super) fn submission_times(gateway: &Gateway, hits: &[Hit]) -> Result<HashMap<ObjectId, Dtm>, Refusal> {
    let ids: Vec<ObjectId> = hits.iter().filter(|hit| hit.via.is_none()).map(|hit| hit.object.id().clone()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = search(gateway, &Query::GetSubmissionSets(ids))?;
    let mut sets = HashMap::new();
    for object in &found {
        if let Object::SubmissionSet(set) = object
            && let Some(time) = &set.submission_time
        {
            sets.insert(set.id.clone(), time.clone());
        }
    }
    let mut times: HashMap<ObjectId, Dtm> = HashMap::new();
    for object in &found {
        let Object::Association(one) = object else { continue };
        if let Some(time) = sets.get(&one.source) {
            // A document that a later set refers to was submitted by the first.
            let known = times.entry(one.target.clone()).or_insert_with(|| time.clone());
            if time.earliest() < known.earliest() {
                *known = time.clone();
            }
        }
    }
    Ok(times)
}

fn search(gateway: &Gateway, query: &Query) -> Result<Vec<Object>, Refusal> {
    let found = gateway.documents.search(&gateway.tenant, query, MOST);
    found.map_err(|error| Refusal::Xds { code: error.code(), text: error.to_string() })
}

/// What is related to the objects of a page.
struct Around {
    links: Vec<Association>,
    times: HashMap<ObjectId, Dtm>,
    /// The type of the resource that a member of a list is.
    kinds: HashMap<ObjectId, &'static str>,
}

impl Around {
    fn of(gateway: &Gateway, hits: &[Hit]) -> Result<Self, Refusal> {
        let ours = hits.iter().filter(|hit| hit.via.is_none());
        let ids: Vec<ObjectId> = ours.map(|hit| hit.object.id().clone()).collect();
        let mut links = Vec::new();
        if !ids.is_empty() {
            let found = search(gateway, &Query::GetAssociations(ids))?;
            links.extend(found.into_iter().filter_map(|object| match object {
                Object::Association(one) => Some(*one),
                _ => None,
            }));
        }
        let is_list =
            |id: &ObjectId| hits.iter().any(|hit| hit.object.id() == id && !matches!(hit.object, Object::Document(_)));
        let held = links.iter().filter(|one| one.kind == AssociationKind::HasMember && is_list(&one.source));
        let targets: Vec<ObjectId> = held.map(|one| one.target.clone()).collect();
        let mut kinds = HashMap::new();
        if !targets.is_empty() {
            let by_id = |ids: &[ObjectId]| Selector::Ids(ids.to_vec());
            for object in search(gateway, &Query::GetDocuments(by_id(&targets)))? {
                kinds.insert(object.id().clone(), "DocumentReference");
            }
            for object in search(gateway, &Query::GetFolders(by_id(&targets)))? {
                kinds.insert(object.id().clone(), "List");
            }
        }
        Ok(Self { links, times: submission_times(gateway, hits)?, kinds })
    }

    fn document(&self, gateway: &Gateway, entry: &DocumentEntry, subject: &Reference, via: Option<&SmolStr>) -> Value {
        let mut entry = entry.clone();
        if entry.home.is_none()
            && let Some(patient) = &entry.patient_id
        {
            entry.home = Some(gateway.community.home_of(patient.authority()).clone());
        }
        let relations: Vec<Association> = self.links.iter().filter(|one| one.source == entry.id).cloned().collect();
        let (id, url) = (logical_id(&entry.id), document_url(gateway, &entry, via));
        let mut resource = document_reference(&entry, &Shown { id: &id, subject, url: &url, relations: &relations });
        // DocumentReference.date is an instant, which a time without its seconds is not.
        let date = self.times.get(&entry.id).filter(|time| time.as_str().len() >= 14).map(date_time);
        if let Some(date) = date {
            resource["date"] = date.into();
        }
        resource
    }

    fn members(&self, list: &ObjectId) -> Vec<Reference> {
        let held = self.links.iter().filter(|one| one.kind == AssociationKind::HasMember && one.source == *list);
        let member = |one: &Association| {
            let kind = self.kinds.get(&one.target)?;
            Some(format_smolstr!("{kind}/{}", logical_id(&one.target)))
        };
        let mut members: Vec<SmolStr> = held.filter_map(member).collect();
        // Associations have no order of their own; the same list is told the same way each time.
        members.sort_unstable();
        members.into_iter().map(Reference::to).collect()
    }
}

/// The Patients of a page, each looked up once.
struct People<'g> {
    gateway: &'g Gateway,
    known: HashMap<PatientId, (Option<PersonKey>, PatientId)>,
}

impl People<'_> {
    /// The reference to the Patient here, with the identifier in use that the metadata has.
    fn subject(&mut self, hit: &Hit) -> Result<Reference, Refusal> {
        let (mut key, mut identifier) = (hit.person, hit.object.patient().cloned());
        if let (Some(id), None) = (&identifier, &hit.via) {
            let (person, current) = self.of(id)?;
            key = key.or(person);
            identifier = Some(current);
        }
        let identifier = identifier.map(|id| Identifier::of(&id, Some(&self.gateway.domains)));
        Ok(Reference { reference: key.map(|key| person::url(self.gateway, key)), identifier })
    }

    fn of(&mut self, id: &PatientId) -> Result<(Option<PersonKey>, PatientId), Refusal> {
        if let Some(known) = self.known.get(id) {
            return Ok(known.clone());
        }
        let resolved = self.gateway.identities.resolve(&self.gateway.tenant, id);
        let found = match resolved.map_err(|error| unreadable(&error))? {
            Resolution::Active(person) => (Some(person.key), id.clone()),
            Resolution::Replaced { by, person } => (Some(person.key), by),
            Resolution::Unknown => (None, id.clone()),
        };
        self.known.insert(id.clone(), found.clone());
        Ok(found)
    }
}
