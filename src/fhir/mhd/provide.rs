//! ITI-65 Provide Document Bundle and ITI-105 Simplified Publish: a transaction of a submission set, its documents and
//! folders becomes one submission of XDS (MHD 2:3.65, 2:3.105).
//!
//! Reading has two steps, because metadata needs the patient's identifier and a Bundle has a reference: `decode` checks
//! the Bundle and tells the subject, `submission` makes the metadata once somebody knows who that is.

use std::collections::{HashMap, HashSet};
use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::super::bundle::{Answered, Bundle, Entry, Kind};
use super::super::json::{self, Builder};
use super::super::outcome::{Issue, IssueCode, Outcome, Refusal};
use super::super::pixm::parameters;
use super::super::resource::{Identifier, Patient, Reference};
use super::document_reference::{self, list_kind};
use super::list::{members, oid_of_uuid, read_folder, read_set, submission_set};
use super::{Scope, identifiers, object_id, people};
use crate::ebxml::ErrorCode;
use crate::id::{DocumentUniqueId, EntryUuid, PatientId, Timestamp};
use crate::metadata::{
    Association, AssociationKind, DocumentEntry, Folder, Membership, ObjectId, Problems, Rules, Submission,
    SubmissionSet,
};

/// How complete the metadata is, by the profile of the Bundle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Metadata {
    /// What XDR calls limited metadata.
    Minimal,
    /// Complete; people and organisations may be elsewhere.
    UnContained,
    /// Complete and self-contained, for XDS.
    Comprehensive,
}

impl Metadata {
    fn of(profiles: &[SmolStr]) -> Option<Self> {
        let has = |name: &str| profiles.iter().any(|profile| profile.ends_with(name));
        [
            (Self::UnContained, "IHE.MHD.UnContained.Comprehensive.ProvideBundle"),
            (Self::Comprehensive, "IHE.MHD.Comprehensive.ProvideBundle"),
            (Self::Minimal, "IHE.MHD.Minimal.ProvideBundle"),
        ]
        .into_iter()
        .find_map(|(metadata, name)| has(name).then_some(metadata))
    }

    fn rules(self) -> Rules {
        match self {
            Self::Minimal => Rules::XdrLimited,
            Self::UnContained | Self::Comprehensive => Rules::Xdr,
        }
    }
}

/// The bytes of a document.
#[derive(Clone, Eq, PartialEq)]
pub struct Document {
    /// The entry that describes it.
    pub entry: ObjectId,
    /// Its media type.
    pub mime_type: SmolStr,
    /// The bytes.
    pub bytes: Bytes,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}, {} bytes)", self.entry, self.bytes.len())
    }
}

/// The most entries of a Bundle. References are looked up among them one by one.
const MOST: usize = 4000;

/// Takes the documents out of a resource that is to be read as a Bundle or a simplified publication: each comes once, as
/// bytes, and its base64 goes. What is left says by number where each was.
pub fn take_documents(resource: &mut Value) -> Result<Vec<Bytes>, Refusal> {
    let mut documents = Vec::new();
    match json::resource_type(resource) {
        "Bundle" => {
            let entries = resource.get_mut("entry").and_then(Value::as_array_mut);
            for entry in entries.into_iter().flatten() {
                if let Some(binary) = entry.get_mut("resource")
                    && json::resource_type(binary) == "Binary"
                {
                    take_data(binary, "Binary.data", &mut documents)?;
                }
            }
        }
        "DocumentReference" => {
            if let Some(attachment) = resource.pointer_mut("/content/0/attachment") {
                take_data(attachment, "DocumentReference.content.attachment.data", &mut documents)?;
            }
        }
        _ => {}
    }
    Ok(documents)
}

fn take_data(holder: &mut Value, name: &'static str, into: &mut Vec<Bytes>) -> Result<(), Refusal> {
    let Some(data) = holder.get_mut("data") else { return Ok(()) };
    let Value::String(mut text) = std::mem::replace(data, Value::from(into.len())) else {
        return Err(Refusal::Unusable(name.into()));
    };
    // Line breaks in base64 come from encoders made for mail.
    text.retain(|c| !c.is_ascii_whitespace());
    into.push(STANDARD.decode(text).map_err(|_| Refusal::Unusable(name.into()))?.into());
    Ok(())
}

/// A provided Bundle that keeps the form of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Provide {
    /// What the profile promises.
    pub metadata: Metadata,
    /// The patient of everything in it; minimal metadata may have none.
    pub subject: Option<Reference>,
    bundle: Bundle,
    /// For each entry of the Bundle the entryUUID of what is made of it: its own, or a new one. A `fullUrl` is a name
    /// within the Bundle and no more.
    ids: Vec<ObjectId>,
    /// What Binaries and attachments name by their number.
    documents: Vec<Bytes>,
}

impl Provide {
    /// Reads a Bundle with its documents.
    pub fn decode(resource: &Value) -> Result<Self, Refusal> {
        let mut resource = resource.clone();
        let documents = take_documents(&mut resource)?;
        Self::read(&resource, documents)
    }

    /// Reads a Bundle whose documents were taken out.
    pub fn read(resource: &Value, documents: Vec<Bytes>) -> Result<Self, Refusal> {
        let bundle = Bundle::decode(resource)?;
        if bundle.entries.len() > MOST {
            return Err(Refusal::TooCostly(format!("a Bundle has at most {MOST} entries here")));
        }
        if bundle.kind != Kind::Transaction {
            return Err(Refusal::Unusable("Bundle.type".into()));
        }
        let metadata = Metadata::of(&bundle.profiles);
        let metadata = metadata.ok_or(Refusal::Profile("the Bundle has none of the profiles of MHD".into()))?;
        let mut sets = 0;
        for entry in &bundle.entries {
            sets += usize::from(check_entry(entry)?);
        }
        if sets != 1 {
            return Err(Refusal::Profile("there is one submission set in a Bundle".into()));
        }
        let mut names = HashSet::new();
        // FHIR R4 bdl-7. Of two entries of one name a reference would mean either.
        if !bundle.entries.iter().filter_map(|entry| entry.full_url.as_deref()).all(|url| names.insert(url)) {
            return Err(Refusal::Profile("two entries of the Bundle have the same fullUrl".into()));
        }
        let subject = subject(&bundle)?;
        if subject.is_none() && metadata != Metadata::Minimal {
            return Err(Refusal::Missing("List.subject".into()));
        }
        let ids = bundle.entries.iter().map(id_of).collect::<Result<_, _>>()?;
        Ok(Self { metadata, subject, bundle, ids, documents })
    }

    /// ITI-105: the Bundle that a Source would have sent for one DocumentReference with its document inside. The
    /// submission is this moment's, and its author is that of the document.
    pub fn simplified(
        resource: &Value,
        documents: Vec<Bytes>,
        now: Timestamp,
        source_id: &str,
    ) -> Result<Self, Refusal> {
        let profile = |text: &str| Err(Refusal::Profile(text.into()));
        let scope = Scope { resource, bundle: None };
        let read = document_reference::read(scope, None)?;
        let attachment = resource.pointer("/content/0/attachment").unwrap_or(&Value::Null);
        let Some(data) = attachment.get("data").filter(|data| data.is_u64()).cloned() else {
            return Err(Refusal::Missing("DocumentReference.content.attachment.data".into()));
        };
        if attachment.get("url").is_some() || resource.get("docStatus").is_some() {
            return profile("a simplified document has neither attachment.url nor docStatus");
        }
        if !read.relations.is_empty() {
            return profile("a simplified document relates to no other");
        }
        let Some(subject) = resource.get("subject").and_then(Reference::decode) else {
            return Err(Refusal::Missing("DocumentReference.subject".into()));
        };
        let (document_url, binary_url) = (EntryUuid::random().to_string(), EntryUuid::random().to_string());
        let binary =
            Builder::resource("Binary").with("contentType", read.entry.mime_type.as_str()).with("data", data).build();
        let mut reference = resource.clone();
        if let Some(attachment) = reference.pointer_mut("/content/0/attachment").and_then(Value::as_object_mut) {
            attachment.remove("data");
            attachment.insert("url".into(), binary_url.as_str().into());
        }
        let set_id = EntryUuid::random();
        let mut set = SubmissionSet::new(set_id, oid_of_uuid(&EntryUuid::random())?);
        set.submission_time = now.to_dtm().parse().ok();
        set.source_id = Some(source_id.into());
        set.content_type.clone_from(&read.entry.type_code);
        set.authors.extend(read.entry.authors.first().cloned());
        let list = submission_set(&set, "set", &subject, &[Reference::to(document_url.as_str())]);
        let complete = read.entry.class_code.is_some() && read.entry.source_patient_id.is_some();
        let metadata = if complete { Metadata::Comprehensive } else { Metadata::Minimal };
        let mut bundle = Bundle::new(Kind::Transaction);
        bundle.entries = vec![
            Entry::post(set_id.to_string(), list),
            Entry::post(document_url, reference),
            Entry::post(binary_url, binary),
        ];
        let ids = bundle.entries.iter().map(id_of).collect::<Result<_, _>>()?;
        Ok(Self { metadata, subject: Some(subject), bundle, ids, documents })
    }

    /// The uniqueId of the submission set, if the source gave one.
    pub fn set_unique_id(&self) -> Option<DocumentUniqueId> {
        let resources = self.bundle.entries.iter().filter_map(|entry| entry.resource.as_ref());
        let mut lists = resources.filter(|one| json::resource_type(one) == "List" && list_kind(one) == "submissionset");
        identifiers(lists.next()?).1
    }

    /// What the documents say is the patient's identifier at their source.
    pub fn source_patient_ids(&self) -> Vec<PatientId> {
        let described = self.bundle.entries.iter().filter_map(|entry| {
            let resource = entry.resource.as_ref()?;
            let scope = Scope { resource, bundle: Some(&self.bundle) };
            people::read_source_patient(scope, resource.pointer("/context/sourcePatientInfo")?)?.0
        });
        described.filter_map(|cx| PatientId::from_cx(cx.as_str()).ok()).collect()
    }

    /// The Patient, if it came along or the reference is a logical one: enough to find the person without asking.
    pub fn subject_ids(&self) -> Vec<PatientId> {
        let Some(subject) = &self.subject else { return Vec::new() };
        let logical = subject.identifier.as_ref().and_then(Identifier::patient_id);
        let entry = subject.reference.as_deref().and_then(|url| self.bundle.resolve(url));
        let patient = entry.and_then(|entry| Patient::decode(entry.resource.as_ref()?).ok());
        let ids = patient.iter().flat_map(Patient::patient_ids).collect::<Vec<_>>();
        logical.into_iter().chain(ids).collect()
    }

    /// The metadata and the documents, held to the rules of the profile.
    pub fn submission(&self, patient: Option<&PatientId>) -> Result<(Submission, Vec<Document>), Refusal> {
        let mut made = Made::default();
        for (at, one) in self.bundle.entries.iter().enumerate() {
            let (Some(resource), Some(id)) = (&one.resource, self.ids.get(at)) else { continue };
            self.add(one, resource, id, patient, &mut made)?;
            let members: usize = made.holders.iter().map(|(_, members)| members.len()).sum();
            let in_set = made.set.as_ref().map_or(0, |(_, members)| members.len());
            if members + in_set + made.associations.len() > MOST {
                return Err(Refusal::TooCostly(format!("a Bundle has at most {MOST} members and relations here")));
            }
        }
        self.check_patches(&made.associations)?;
        check_cycles(&made.entries, &made.associations)?;
        let Made { set, entries, holders, mut associations, documents } = made;
        let (set, set_members) = set.ok_or(Refusal::Missing("the submission set".into()))?;
        for member in &set_members {
            associations.push(membership(&set.id, member, self.own(member))?);
        }
        let mut folders = Vec::new();
        for (holder, folder_members) in holders {
            for member in &folder_members {
                let own = self.own(member);
                if holder.folder.is_none() && own.is_none() {
                    // What a folder holds already is listed again when the folder is sent again.
                    continue;
                }
                let mut association = membership(&holder.id, member, own)?;
                association.membership = None;
                // ITI TF-3: 4.1.9.1: the submission set holds that the folder holds the document.
                let listed = membership(&set.id, member, Some(association.id.clone()))?;
                associations.extend([association, listed]);
            }
            folders.extend(holder.folder);
        }
        let submission = Submission { set, entries, folders, associations };
        let mut problems = Problems::new(self.metadata.rules());
        submission.check(&mut problems);
        let errors: Vec<_> = problems.list.into_iter().filter(crate::ebxml::RegistryError::is_error).collect();
        if errors.is_empty() { Ok((submission, documents)) } else { Err(Refusal::registry(errors)) }
    }

    /// Adds what one entry of the Bundle says.
    fn add(
        &self,
        one: &Entry,
        resource: &Value,
        id: &ObjectId,
        patient: Option<&PatientId>,
        made: &mut Made,
    ) -> Result<(), Refusal> {
        let limited = self.metadata == Metadata::Minimal;
        let scope = Scope { resource, bundle: Some(&self.bundle) };
        match json::resource_type(resource) {
            "DocumentReference" => {
                let mut read = document_reference::read(scope, None)?;
                read.entry.id = id.clone();
                made.documents.push(self.document(&mut read)?);
                for (kind, target) in read.relations {
                    let target = self.own(&target).or_else(|| object_id(&target));
                    let target = target.ok_or(Refusal::Unusable("DocumentReference.relatesTo.target".into()))?;
                    made.associations.push(Association::new(EntryUuid::random(), kind, id.clone(), target));
                }
                read.entry.patient_id = patient.cloned();
                read.entry.limited_metadata = limited;
                made.entries.push(read.entry);
            }
            "List" if list_kind(resource) == "folder" => {
                let mut folder = read_folder(scope, None)?;
                folder.id = id.clone();
                folder.patient_id = patient.cloned();
                folder.limited_metadata = limited;
                let is_new = !is_put(one);
                let holder = Holder { id: id.clone(), folder: is_new.then_some(folder) };
                made.holders.push((holder, members(resource)?));
            }
            "List" => {
                let mut read = read_set(scope, None)?;
                read.id = id.clone();
                read.patient_id = patient.cloned();
                read.limited_metadata = limited;
                made.set = Some((read, members(resource)?));
            }
            _ => {}
        }
        Ok(())
    }

    /// The object that is made of the entry of the Bundle that a reference means.
    fn own(&self, reference: &Reference) -> Option<ObjectId> {
        let at = self.bundle.position(reference.reference.as_deref()?)?;
        let is_described = matches!(self.bundle.entries.get(at)?.resource_type(), "List" | "DocumentReference");
        self.ids.get(at).filter(|_| is_described).cloned()
    }

    /// A PATCH supersedes a document that something in the Bundle replaces; by itself it would be forgotten.
    fn check_patches(&self, associations: &[Association]) -> Result<(), Refusal> {
        let patched = self.bundle.entries.iter().filter_map(|entry| entry.request.as_ref());
        for asked in patched.filter(|asked| asked.method == "PATCH") {
            let target = object_id(&Reference::to(asked.url.clone()));
            let is_replaced = |one: &Association| one.kind.replaces() && Some(&one.target) == target.as_ref();
            if !associations.iter().any(is_replaced) {
                let text = "the Bundle supersedes a document that nothing in it replaces";
                return Err(Refusal::Profile(text.into()));
            }
        }
        Ok(())
    }

    /// The document of an entry, checked against what the metadata says of it; what it does not say is filled in.
    fn document(&self, read: &mut document_reference::Read) -> Result<Document, Refusal> {
        let url = read.url.as_deref().ok_or(Refusal::Missing("attachment.url".into()))?;
        let refused = |code, text: String| Err(Refusal::Xds { code, text });
        let Some(entry) = self.bundle.resolve(url) else {
            if url.starts_with("urn:") || !url.contains("://") {
                return Err(Refusal::Profile("the document that attachment.url names is not in the Bundle".into()));
            }
            // ITI TF-2: 3.41.4.1.2 wants the document; nothing here calls an address because a message names it.
            let text = "the document is not in the Bundle, and documents are not fetched from elsewhere";
            return refused(ErrorCode::XdsMissingDocument, text.into());
        };
        let resource = entry.resource.as_ref().unwrap_or(&Value::Null);
        match json::resource_type(resource) {
            "Binary" => {}
            "Bundle" => return Err(Refusal::FhirDocument),
            _ => return Err(Refusal::Profile("attachment.url names no Binary".into())),
        }
        let number = resource.get("data").and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        let bytes = number.and_then(|number| self.documents.get(number)).cloned();
        let bytes = bytes.ok_or(Refusal::Missing("Binary.data".into()))?;
        let size = bytes.len() as u64;
        let hash: SmolStr = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes).as_ref()).into();
        let wrong = |attribute: &str| {
            refused(ErrorCode::XdsRepositoryMetadataError, format!("{attribute} is not that of the document"))
        };
        if read.entry.size.is_some_and(|told| told != size) {
            return wrong("size");
        }
        if read.entry.hash.as_ref().is_some_and(|told| *told != hash) {
            return wrong("hash");
        }
        read.entry.size = Some(size);
        read.entry.hash = Some(hash);
        Ok(Document { entry: read.entry.id.clone(), mime_type: read.entry.mime_type.clone(), bytes })
    }

    /// The answer when everything was stored: for each entry of the request, in its order, where it is now. `location`
    /// gets the type of the resource and the registry object that it is or, as a Binary, belongs to.
    pub fn response(&self, location: impl Fn(&str, Option<ObjectId>) -> SmolStr) -> Bundle {
        let answers = self.bundle.entries.iter().enumerate().map(|(at, entry)| {
            let method = entry.request.as_ref().map(|asked| asked.method.as_str()).unwrap_or_default();
            let (kind, object, status) = match (entry.resource_type(), method) {
                ("Parameters", _) => {
                    let url = entry.request.as_ref().map(|asked| asked.url.clone()).unwrap_or_default();
                    ("DocumentReference", object_id(&Reference::to(url)), "200")
                }
                // The Patient is known already, or nothing would have been stored.
                ("Patient" | "", _) => ("Patient", None, "200"),
                ("Binary", _) => ("Binary", self.describes(at), "201"),
                (kind, "PUT") => (kind, self.ids.get(at).cloned(), "200"),
                (kind, _) => (kind, self.ids.get(at).cloned(), "201"),
            };
            let outcome = (kind == "List" && method == "PUT").then(|| {
                let text = "the folder holds the new documents; nothing else of it was changed";
                Outcome::of(Issue::warning(IssueCode::Incomplete, "PartialFolderContentNotProcessed", text))
            });
            Answered { status: status.into(), location: Some(location(kind, object)), etag: None, outcome }
        });
        Bundle::transaction_response(answers.collect())
    }

    /// The entry that describes a Binary.
    fn describes(&self, binary: usize) -> Option<ObjectId> {
        let described = self.bundle.entries.iter().position(|entry| {
            let url = entry.resource.as_ref().and_then(|one| one.pointer("/content/0/attachment/url"));
            url.and_then(Value::as_str).and_then(|url| self.bundle.position(url)) == Some(binary)
        });
        described.and_then(|at| self.ids.get(at).cloned())
    }
}

/// What the entries of a Bundle become.
#[derive(Default)]
struct Made {
    set: Option<(SubmissionSet, Vec<Reference>)>,
    entries: Vec<DocumentEntry>,
    holders: Vec<(Holder, Vec<Reference>)>,
    associations: Vec<Association>,
    documents: Vec<Document>,
}

/// A folder that is new, or only the id of one that is there and gets documents.
struct Holder {
    id: ObjectId,
    folder: Option<Folder>,
}

fn is_put(entry: &Entry) -> bool {
    entry.request.as_ref().is_some_and(|asked| asked.method == "PUT")
}

/// The entryUUID of what is made of an entry: the one it gives itself, that of the folder it is put in place of, else a
/// new one.
fn id_of(entry: &Entry) -> Result<ObjectId, Refusal> {
    let resource = entry.resource.as_ref().unwrap_or(&Value::Null);
    if entry.resource_type() == "List" && is_put(entry) {
        let url = entry.request.as_ref().map(|asked| asked.url.clone()).unwrap_or_default();
        return match object_id(&Reference::to(url)) {
            Some(ObjectId::Uuid(uuid)) => Ok(uuid.into()),
            Some(ObjectId::Symbol(_)) | None => Err(Refusal::NotSupported("a PUT without the id of the folder".into())),
        };
    }
    let own = identifiers(resource).0.and_then(|text| ObjectId::from(text).uuid());
    Ok(own.unwrap_or_else(EntryUuid::random).into())
}

/// New documents that are made of each other, or each in place of the other, mean nothing.
fn check_cycles(entries: &[DocumentEntry], associations: &[Association]) -> Result<(), Refusal> {
    let mut relations: HashMap<&ObjectId, usize> = entries.iter().map(|entry| (&entry.id, 0)).collect();
    let mut sources: HashMap<&ObjectId, Vec<&ObjectId>> = HashMap::new();
    for one in associations.iter().filter(|one| entries.iter().any(|entry| entry.id == one.target)) {
        *relations.entry(&one.source).or_default() += 1;
        sources.entry(&one.target).or_default().push(&one.source);
    }
    // Whatever relates to none of those that are left is in no circle.
    let mut free: Vec<&ObjectId> = relations.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
    let mut left = relations.len();
    while let Some(id) = free.pop() {
        left -= 1;
        for source in sources.remove(id).unwrap_or_default() {
            if let Some(count) = relations.get_mut(source) {
                *count -= 1;
                if *count == 0 {
                    free.push(source);
                }
            }
        }
    }
    if left == 0 {
        Ok(())
    } else {
        Err(Refusal::Profile("documents of the Bundle relate to each other in a circle".into()))
    }
}

/// Holds an entry to the slices of the profiles; whether it is the submission set.
fn check_entry(entry: &Entry) -> Result<bool, Refusal> {
    let method = entry.request.as_ref().map(|asked| asked.method.as_str()).unwrap_or_default();
    let resource = entry.resource.as_ref().unwrap_or(&Value::Null);
    let wrong = || Err(Refusal::Profile("an entry of the Bundle has a method that its resource cannot have".into()));
    match (json::resource_type(resource), method) {
        ("List", "POST" | "PUT") => match list_kind(resource).as_str() {
            "submissionset" if method == "POST" => Ok(true),
            "folder" => Ok(false),
            _ => Err(Refusal::Unusable("List.code".into())),
        },
        ("DocumentReference" | "Binary", "POST") | ("Patient", "GET" | "POST" | "PUT") => Ok(false),
        // The Patient may be asked for without being sent.
        ("", "GET") => Ok(false),
        ("Bundle", "POST") => Err(Refusal::FhirDocument),
        ("Parameters", "PATCH") => check_patch(resource).map(|()| false),
        ("List" | "DocumentReference" | "Binary" | "Patient" | "Bundle" | "Parameters", _) => wrong(),
        _ => Err(Refusal::Profile("the Bundle has a resource that does not belong into it".into())),
    }
}

/// The one change that is allowed: a document that is replaced becomes superseded, which the relation says already.
fn check_patch(resource: &Value) -> Result<(), Refusal> {
    let parts: Vec<&Value> = parameters(resource)?.flat_map(|(_, operation)| json::list(operation, "part")).collect();
    let is = |name: &str, member: &str, value: &str| {
        parts.iter().any(|part| json::text(part, "name") == Some(name) && json::text(part, member) == Some(value))
    };
    let supersedes = is("type", "valueCode", "replace")
        && is("path", "valueString", "DocumentReference.status")
        && (is("value", "valueCode", "superseded") || is("value", "valueString", "superseded"));
    if supersedes && parts.len() == 3 { Ok(()) } else { Err(Refusal::NotSupported("this PATCH".into())) }
}

/// The one subject of everything.
fn subject(bundle: &Bundle) -> Result<Option<Reference>, Refusal> {
    let described = bundle.entries.iter().filter_map(|entry| entry.resource.as_ref());
    let described = described.filter(|one| matches!(json::resource_type(one), "List" | "DocumentReference"));
    let mut subjects = described.filter_map(|one| one.get("subject").and_then(Reference::decode));
    let first = subjects.next();
    match first.as_ref().map(|first| subjects.all(|other| other == *first)) {
        Some(false) => Err(Refusal::Xds {
            code: ErrorCode::XdsPatientIdDoesNotMatch,
            text: "the resources of the Bundle are of different patients".into(),
        }),
        Some(true) | None => Ok(first),
    }
}

fn membership(holder: &ObjectId, member: &Reference, own: Option<ObjectId>) -> Result<Association, Refusal> {
    let is_new = own.is_some();
    let target = own.or_else(|| object_id(member)).ok_or(Refusal::Unusable("List.entry.item".into()))?;
    let mut association = Association::new(EntryUuid::random(), AssociationKind::HasMember, holder.clone(), target);
    association.membership = Some(if is_new { Membership::Original } else { Membership::Reference });
    Ok(association)
}

/// The Bundle of a submission, for a partner that takes documents over FHIR.
impl Provide {
    /// Writes a submission with its documents.
    pub fn encode(submission: &Submission, documents: &[Document], subject: &Reference) -> Bundle {
        let metadata = if submission.set.limited_metadata { "Minimal" } else { "Comprehensive" };
        let mut bundle = Bundle::new(Kind::Transaction);
        bundle.profiles = vec![super::profile(&format!("IHE.MHD.{metadata}.ProvideBundle")).into()];
        let members = |holder: &ObjectId| -> Vec<Reference> {
            let all = submission.associations.iter();
            all.filter(|one| one.kind == AssociationKind::HasMember && one.source == *holder)
                .filter(|one| !submission.associations.iter().any(|other| other.id == one.target))
                .map(|one| Reference::to(one.target.to_string()))
                .collect()
        };
        let set = &submission.set;
        let list = submission_set(set, "set", subject, &members(&set.id));
        bundle.entries.push(Entry::post(set.id.to_string(), list));
        for (at, entry) in submission.entries.iter().enumerate() {
            let document = documents.iter().find(|document| document.entry == entry.id);
            let binary_url = format_smolstr!("{}", EntryUuid::random());
            let relations: Vec<_> =
                submission.associations.iter().filter(|one| one.source == entry.id).cloned().collect();
            let url = match document {
                Some(_) => binary_url.as_str(),
                None => entry.uri.as_deref().unwrap_or_default(),
            };
            let id = format!("d{at}");
            let shown = document_reference::Shown { id: &id, subject, url, relations: &relations };
            let resource = document_reference::document_reference(entry, &shown);
            bundle.entries.push(Entry::post(entry.id.to_string(), resource));
            if let Some(document) = document {
                let binary = Builder::resource("Binary")
                    .with("contentType", document.mime_type.as_str())
                    .with("data", STANDARD.encode(&document.bytes));
                bundle.entries.push(Entry::post(binary_url, binary.build()));
            }
        }
        for (at, folder) in submission.folders.iter().enumerate() {
            let list = super::folder(folder, &format!("f{at}"), subject, &members(&folder.id));
            bundle.entries.push(Entry::post(folder.id.to_string(), list));
        }
        bundle
    }
}

#[cfg(test)]
mod tests;
