//! ITI-65 Provide Document Bundle and ITI-105 Simplified Publish: a transaction of a submission set, its documents and
//! folders becomes one submission of XDS (MHD 2:3.65, 2:3.105).
//!
//! Reading has two steps, because metadata needs the patient's identifier and a Bundle has a reference: `decode` checks
//! the Bundle and tells the subject, `submission` makes the metadata once somebody knows who that is.

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::super::bundle::{Answered, Bundle, Entry, Kind};
use super::super::json::{self, Builder};
use super::super::outcome::Refusal;
use super::super::pixm::parameters;
use super::super::resource::{Identifier, Patient, Reference};
use super::document_reference::{self, list_kind};
use super::list::{members, oid_of_uuid, read_folder, read_set, submission_set};
use super::{Scope, object_id};
use crate::ebxml::ErrorCode;
use crate::id::{EntryUuid, PatientId, Timestamp};
use crate::metadata::{Association, AssociationKind, Membership, ObjectId, Problems, Rules, Submission, SubmissionSet};

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
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}, {} bytes)", self.entry, self.bytes.len())
    }
}

/// A provided Bundle that keeps the form of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Provide {
    /// What the profile promises.
    pub metadata: Metadata,
    /// The patient of everything in it; minimal metadata may have none.
    pub subject: Option<Reference>,
    bundle: Bundle,
}

impl Provide {
    /// Reads a Bundle.
    pub fn decode(resource: &Value) -> Result<Self, Refusal> {
        let bundle = Bundle::decode(resource)?;
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
        let subject = subject(&bundle)?;
        if subject.is_none() && metadata != Metadata::Minimal {
            return Err(Refusal::Missing("List.subject".into()));
        }
        Ok(Self { metadata, subject, bundle })
    }

    /// ITI-105: the Bundle that a Source would have sent for one DocumentReference with its document inside. The
    /// submission is this moment's, and its author is that of the document.
    pub fn simplified(resource: &Value, now: Timestamp, source_id: &str) -> Result<Self, Refusal> {
        let profile = |text: &str| Err(Refusal::Profile(text.into()));
        let scope = Scope { resource, bundle: None };
        let read = document_reference::read(scope, None)?;
        let attachment = resource.pointer("/content/0/attachment").unwrap_or(&Value::Null);
        let Some(data) = json::text(attachment, "data") else {
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
        Ok(Self { metadata, subject: Some(subject), bundle })
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
        let limited = self.metadata == Metadata::Minimal;
        let mut set = None;
        let (mut entries, mut folders) = (Vec::new(), Vec::new());
        let (mut associations, mut documents) = (Vec::new(), Vec::new());
        let mut lists = Vec::new();
        for one in &self.bundle.entries {
            let Some(resource) = &one.resource else { continue };
            let scope = Scope { resource, bundle: Some(&self.bundle) };
            match json::resource_type(resource) {
                "DocumentReference" => {
                    let mut read = document_reference::read(scope, one.full_url.as_deref())?;
                    let id = read.entry.id.clone();
                    if let Some(document) = self.document(&mut read)? {
                        documents.push(document);
                    }
                    let relation = |(kind, target)| Association::new(EntryUuid::random(), kind, id.clone(), target);
                    associations.extend(read.relations.into_iter().map(relation));
                    read.entry.patient_id = patient.cloned();
                    read.entry.limited_metadata = limited;
                    lists.push((one.full_url.clone(), read.entry.id.clone()));
                    entries.push(read.entry);
                }
                "List" if list_kind(resource) == "folder" => {
                    let mut folder = read_folder(scope, one.full_url.as_deref())?;
                    folder.patient_id = patient.cloned();
                    folder.limited_metadata = limited;
                    lists.push((one.full_url.clone(), folder.id.clone()));
                    folders.push((folder, members(resource)?));
                }
                "List" => {
                    let mut read = read_set(scope, one.full_url.as_deref())?;
                    read.patient_id = patient.cloned();
                    read.limited_metadata = limited;
                    set = Some((read, members(resource)?));
                }
                _ => {}
            }
        }
        let (set, set_members) = set.ok_or(Refusal::Missing("the submission set".into()))?;
        let own = |reference: &Reference| {
            let url = reference.reference.as_deref()?;
            let entry = self.bundle.resolve(url)?;
            lists.iter().find(|(full_url, _)| *full_url == entry.full_url).map(|(_, id)| id.clone())
        };
        for member in &set_members {
            associations.push(membership(&set.id, member, own(member))?);
        }
        for (folder, folder_members) in &folders {
            for member in folder_members {
                let mut association = membership(&folder.id, member, own(member))?;
                association.membership = None;
                // ITI TF-3: 4.1.9.1: the submission set holds that the folder holds the document.
                let listed = membership(&set.id, member, Some(association.id.clone()))?;
                associations.extend([association, listed]);
            }
        }
        let folders = folders.into_iter().map(|(folder, _)| folder).collect();
        let submission = Submission { set, entries, folders, associations };
        let mut problems = Problems::new(self.metadata.rules());
        submission.check(&mut problems);
        match problems.list.into_iter().find(crate::ebxml::RegistryError::is_error) {
            Some(problem) => Err(Refusal::Xds { code: problem.code, text: problem.context.to_string() }),
            None => Ok((submission, documents)),
        }
    }

    /// The document of an entry, checked against what the metadata says of it; what it does not say is filled in.
    fn document(&self, read: &mut document_reference::Read) -> Result<Option<Document>, Refusal> {
        let url = read.url.as_deref().ok_or(Refusal::Missing("attachment.url".into()))?;
        let Some(entry) = self.bundle.resolve(url) else {
            // A document that stays where it is.
            if url.starts_with("urn:") || !url.contains("://") {
                return Err(Refusal::Profile("the document that attachment.url names is not in the Bundle".into()));
            }
            read.entry.uri = Some(url.into());
            return Ok(None);
        };
        let resource = entry.resource.as_ref().unwrap_or(&Value::Null);
        match json::resource_type(resource) {
            "Binary" => {}
            "Bundle" => return Err(Refusal::FhirDocument),
            _ => return Err(Refusal::Profile("attachment.url names no Binary".into())),
        }
        let data = json::text(resource, "data").unwrap_or_default();
        // Line breaks in base64 come from encoders made for mail.
        let packed: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = STANDARD.decode(packed).map_err(|_| Refusal::Unusable("Binary.data".into()))?;
        let size = bytes.len() as u64;
        let hash: SmolStr = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes).as_ref()).into();
        let wrong = |told: bool, attribute: &str| match told {
            true => Ok(()),
            false => Err(Refusal::Xds {
                code: ErrorCode::XdsRepositoryMetadataError,
                text: format!("{attribute} is not that of the document"),
            }),
        };
        wrong(read.entry.size.is_none_or(|told| told == size), "size")?;
        wrong(read.entry.hash.as_ref().is_none_or(|told| *told == hash), "hash")?;
        read.entry.size = Some(size);
        read.entry.hash = Some(hash);
        Ok(Some(Document { entry: read.entry.id.clone(), mime_type: read.entry.mime_type.clone(), bytes }))
    }

    /// The answer when everything was stored: for each entry of the request, in its order, where it is now. `location`
    /// gets the type of the resource and the entry it describes, if it is one of metadata.
    pub fn response(&self, location: impl Fn(&str, Option<ObjectId>) -> SmolStr) -> Bundle {
        let answers = self.bundle.entries.iter().map(|entry| {
            let kind = entry.resource_type();
            let own = entry.full_url.as_deref().map(ObjectId::from);
            let status = if entry.request.as_ref().is_some_and(|asked| asked.method == "POST") { "201" } else { "200" };
            Answered { status: status.into(), location: Some(location(kind, own)), ..Answered::default() }
        });
        Bundle::transaction_response(answers.collect())
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
