//! List, as SubmissionSet and as Folder (MHD 3:4.5.1, "XDS mapping").

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::super::json::{self, Builder};
use super::super::outcome::Refusal;
use super::super::resource::{Identifier, Reference, write_concept};
use super::document_reference::{availability, status};
use super::table::{self, Part, Place, Row};
use super::{Contained, LIST_TYPES, Scope, entry_identifier, identifiers, people, profile, unique_identifier};
use crate::id::{Code, DocumentUniqueId, EntryUuid, HomeCommunityId, Oid};
use crate::metadata::{Folder, ObjectId, SubmissionSet};

/// List and SubmissionSet.
pub(super) const SUBMISSION_SET: &[Row<SubmissionSet>] = &[
    Row {
        place: Place::At("/status"),
        attribute: "availabilityStatus",
        part: Part::Own {
            read: |_, value, set| {
                set.availability = Some(availability(value.as_str()?)?);
                Some(())
            },
            write: |set, _| Some(list_status(status(set.availability)).into()),
        },
    },
    Row {
        place: Place::At("/title"),
        attribute: "title",
        part: Part::Text(|set| set.title.clone(), |set, text| set.title = Some(text)),
    },
    Row {
        place: Place::At("/date"),
        attribute: "submissionTime",
        part: Part::Time(|set| set.submission_time.clone(), |set, time| set.submission_time = Some(time)),
    },
    Row {
        place: Place::At("/source"),
        attribute: "author",
        part: Part::Own {
            read: |scope, value, set| {
                set.authors.extend(people::read_author(scope, value));
                Some(())
            },
            write: |set, contained| people::write_author(set.authors.first()?, contained),
        },
    },
    Row {
        place: Place::At("/note/0/text"),
        attribute: "comments",
        part: Part::Text(|set| set.comments.clone(), |set, text| set.comments = Some(text)),
    },
    Row {
        place: Place::Extension("ihe-sourceId", "valueIdentifier"),
        attribute: "sourceId",
        part: Part::Own {
            read: |_, value, set| {
                let value = Identifier::decode(value).value?;
                set.source_id = Some(Oid::lenient(&value).map_or(value, SmolStr::from));
                Some(())
            },
            write: |set, _| {
                let source = set.source_id.as_deref()?;
                let urn = Oid::lenient(source).map_or_else(|_| source.into(), |oid| format_smolstr!("urn:oid:{oid}"));
                Some(Identifier::uri(urn).encode())
            },
        },
    },
    Row {
        place: Place::Extension("ihe-designationType", "valueCodeableConcept"),
        attribute: "contentTypeCode",
        part: Part::Concept(|set| set.content_type.clone(), |set, code| set.content_type = Some(code)),
    },
    Row {
        place: Place::Extension("ihe-intendedRecipient", "valueReference"),
        attribute: "intendedRecipient",
        part: Part::Own {
            // A recipient that is only a link to a directory elsewhere says nothing in metadata.
            read: |scope, value, set| {
                set.intended_recipients.extend(people::read_recipient(scope, value));
                Some(())
            },
            write: |set, contained| {
                let all = set.intended_recipients.iter();
                let all: Vec<_> = all.filter_map(|text| people::write_recipient(text, contained)).collect();
                (!all.is_empty()).then(|| all.into())
            },
        },
    },
    Row {
        place: Place::Extension("ihe-HomeCommunityId", "valueOid"),
        attribute: "homeCommunityId",
        part: Part::Own {
            read: |_, value, set| {
                set.home = Some(HomeCommunityId::lenient(value.as_str()?).ok()?);
                Some(())
            },
            write: |set, _| Some(set.home.as_ref()?.to_string().into()),
        },
    },
];

/// List and Folder.
pub(super) const FOLDER: &[Row<Folder>] = &[
    Row {
        place: Place::At("/status"),
        attribute: "availabilityStatus",
        part: Part::Own {
            read: |_, value, folder| {
                folder.availability = Some(availability(value.as_str()?)?);
                Some(())
            },
            write: |folder, _| Some(list_status(status(folder.availability)).into()),
        },
    },
    Row {
        place: Place::At("/title"),
        attribute: "title",
        part: Part::Text(|folder| folder.title.clone(), |folder, text| folder.title = Some(text)),
    },
    Row {
        place: Place::At("/date"),
        attribute: "lastUpdateTime",
        part: Part::Time(|folder| folder.last_update.clone(), |folder, time| folder.last_update = Some(time)),
    },
    Row {
        place: Place::At("/note/0/text"),
        attribute: "comments",
        part: Part::Text(|folder| folder.comments.clone(), |folder, text| folder.comments = Some(text)),
    },
    Row {
        place: Place::Extension("ihe-designationType", "valueCodeableConcept"),
        attribute: "codeList",
        part: Part::Concepts(|folder| &folder.codes, |folder, codes| folder.codes = codes),
    },
    Row {
        place: Place::Extension("ihe-HomeCommunityId", "valueOid"),
        attribute: "homeCommunityId",
        part: Part::Own {
            read: |_, value, folder| {
                folder.home = Some(HomeCommunityId::lenient(value.as_str()?).ok()?);
                Some(())
            },
            write: |folder, _| Some(folder.home.as_ref()?.to_string().into()),
        },
    },
];

/// A List has no status `superseded`; what is no longer current is `retired`.
fn list_status(status: &'static str) -> &'static str {
    if status == "superseded" { "retired" } else { status }
}

/// A List with `retired` read as what a document would have.
fn readable(resource: &Value) -> Value {
    let mut resource = resource.clone();
    if json::text(&resource, "status") == Some("retired") {
        resource["status"] = "superseded".into();
    }
    resource
}

/// The references of the entries.
pub(super) fn members(resource: &Value) -> Result<Vec<Reference>, Refusal> {
    let items = json::list(resource, "entry").iter().map(|entry| {
        // Profiles forbid `deleted` and `flag`, which would turn the meaning of an entry around.
        if entry.get("deleted").is_some() || entry.get("flag").is_some() || entry.get("modifierExtension").is_some() {
            return Err(Refusal::Unusable("List.entry.deleted, flag or modifierExtension".into()));
        }
        entry.get("item").and_then(Reference::decode).ok_or(Refusal::Missing("List.entry.item".into()))
    });
    items.collect()
}

/// Reads a SubmissionSet; `full_url` is its name in a Bundle.
pub(super) fn read_set(scope: Scope<'_>, full_url: Option<&str>) -> Result<SubmissionSet, Refusal> {
    let (id, unique) = read_ids(scope.resource, full_url)?;
    let mut set = SubmissionSet::new(id, unique);
    let resource = readable(scope.resource);
    table::read(SUBMISSION_SET, Scope { resource: &resource, ..scope }, &mut set)?;
    Ok(set)
}

/// Reads a Folder.
pub(super) fn read_folder(scope: Scope<'_>, full_url: Option<&str>) -> Result<Folder, Refusal> {
    let (id, unique) = read_ids(scope.resource, full_url)?;
    let mut folder = Folder::new(id, unique);
    let resource = readable(scope.resource);
    table::read(FOLDER, Scope { resource: &resource, ..scope }, &mut folder)?;
    Ok(folder)
}

/// The uniqueId is optional in FHIR and required in XDS; a source that gives none gets a UUID as an OID.
fn read_ids(resource: &Value, full_url: Option<&str>) -> Result<(ObjectId, DocumentUniqueId), Refusal> {
    if resource.get("modifierExtension").is_some() || resource.get("implicitRules").is_some() {
        return Err(Refusal::Unusable("List.modifierExtension or implicitRules".into()));
    }
    let (entry_uuid, unique) = identifiers(resource);
    let id = entry_uuid.as_deref().or(full_url).map_or_else(|| EntryUuid::random().into(), ObjectId::from);
    let unique = match unique {
        Some(unique) => unique,
        None => oid_of_uuid(&EntryUuid::random())?,
    };
    Ok((id, unique))
}

/// `2.25.` and the UUID as a number.
pub(super) fn oid_of_uuid(uuid: &EntryUuid) -> Result<DocumentUniqueId, Refusal> {
    let number = u128::from_be_bytes(*uuid.as_bytes());
    DocumentUniqueId::new(&format!("2.25.{number}")).map_err(|_| Refusal::Internal)
}

/// A List for ITI-66: a submission set with what it holds.
pub fn submission_set(set: &SubmissionSet, id: &str, subject: &Reference, members: &[Reference]) -> Value {
    let kind = if set.limited_metadata { "Minimal.SubmissionSet" } else { "Comprehensive.SubmissionSet" };
    let mut list = base(kind, "submissionset", id, subject, members);
    for identifier in entry_identifier(&set.id).into_iter().chain([unique_identifier(&set.unique_id)]) {
        list.push("identifier", identifier.encode());
    }
    finish(SUBMISSION_SET, set, list.build())
}

/// A List for ITI-66: a folder with its documents.
pub fn folder(folder: &Folder, id: &str, subject: &Reference, members: &[Reference]) -> Value {
    let kind = if folder.limited_metadata { "Minimal.Folder" } else { "Comprehensive.Folder" };
    let mut list = base(kind, "folder", id, subject, members);
    for identifier in entry_identifier(&folder.id).into_iter().chain([unique_identifier(&folder.unique_id)]) {
        list.push("identifier", identifier.encode());
    }
    finish(FOLDER, folder, list.build())
}

fn base(kind: &str, code: &str, id: &str, subject: &Reference, members: &[Reference]) -> Builder {
    let meta = Builder::new().with("profile", vec![Value::from(profile(&format!("IHE.MHD.{kind}")))]);
    let entries = members.iter().map(|member| Builder::new().with("item", member.encode()).build());
    Builder::resource("List")
        .with("id", id)
        .with("meta", meta)
        .with("mode", "working")
        .with("code", write_concept(&Code::new(code, LIST_TYPES, "")))
        .with("subject", subject.encode())
        .with("entry", entries.collect::<Vec<_>>())
}

fn finish<T>(table: &[Row<T>], from: &T, mut list: Value) -> Value {
    let mut contained = Contained::default();
    table::write(table, from, &mut list, &mut contained);
    if !contained.0.is_empty() {
        list["contained"] = contained.0.into();
    }
    list
}
