//! DocumentReference and DocumentEntry (MHD 3:4.5.1, "XDS mapping").
//!
//! What a single row cannot say is written out below the table: the ids, the patient, the address of the document and
//! the relations, which are associations of their own in metadata.

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::super::json::{self, Builder};
use super::super::outcome::Refusal;
use super::super::resource::{Identifier, Reference, concept};
use super::table::{self, Part, Place, Row};
use super::{Contained, Scope, entry_identifier, identifiers, people, profile, unique_id, unique_identifier};
use crate::id::{Code, EntryUuid, HomeCommunityId, Oid, PatientId};
use crate::metadata::{
    Association, AssociationKind, Availability, Cx, DocumentEntry, DocumentKind, ObjectId, ReferenceId,
};

const ENCOUNTER: &str = "urn:ihe:iti:xds:2015:encounterId";

/// The mapping.
pub(super) const TABLE: &[Row<DocumentEntry>] = &[
    Row {
        place: Place::At("/status"),
        attribute: "availabilityStatus",
        part: Part::Own {
            read: |_, value, entry| {
                entry.availability = Some(availability(value.as_str()?)?);
                Some(())
            },
            write: |entry, _| Some(status(entry.availability).into()),
        },
    },
    Row {
        place: Place::At("/type"),
        attribute: "typeCode",
        part: Part::Concept(|entry| entry.type_code.clone(), |entry, code| entry.type_code = Some(code)),
    },
    Row {
        place: Place::At("/category/0"),
        attribute: "classCode",
        part: Part::Concept(|entry| entry.class_code.clone(), |entry, code| entry.class_code = Some(code)),
    },
    Row {
        place: Place::At("/author"),
        attribute: "author",
        part: Part::Own {
            read: |scope, value, entry| {
                entry.authors = value.as_array()?.iter().filter_map(|one| people::read_author(scope, one)).collect();
                Some(())
            },
            write: |entry, contained| {
                let authors = entry.authors.iter();
                let authors: Vec<_> = authors.filter_map(|author| people::write_author(author, contained)).collect();
                (!authors.is_empty()).then(|| authors.into())
            },
        },
    },
    Row {
        place: Place::At("/authenticator"),
        attribute: "legalAuthenticator",
        part: Part::Own {
            read: |scope, value, entry| {
                entry.legal_authenticator = people::read_author(scope, value)?.person;
                Some(())
            },
            write: |entry, contained| Some(people::write_xcn(entry.legal_authenticator.as_ref()?, contained)),
        },
    },
    Row {
        place: Place::At("/description"),
        attribute: "comments",
        part: Part::Text(|entry| entry.comments.clone(), |entry, text| entry.comments = Some(text)),
    },
    Row {
        place: Place::At("/securityLabel"),
        attribute: "confidentialityCode",
        part: Part::Concepts(|entry| &entry.confidentiality, |entry, codes| entry.confidentiality = codes),
    },
    Row {
        place: Place::At("/content/0/attachment/contentType"),
        attribute: "mimeType",
        part: Part::Text(|entry| Some(entry.mime_type.clone()), |entry, text| entry.mime_type = text),
    },
    Row {
        place: Place::At("/content/0/attachment/language"),
        attribute: "languageCode",
        part: Part::Text(|entry| entry.language.clone(), |entry, text| entry.language = Some(text)),
    },
    Row {
        place: Place::At("/content/0/attachment/size"),
        attribute: "size",
        part: Part::Size(|entry| entry.size, |entry, size| entry.size = Some(size)),
    },
    Row {
        place: Place::At("/content/0/attachment/hash"),
        attribute: "hash",
        part: Part::Hash(|entry| entry.hash.clone(), |entry, digits| entry.hash = Some(digits)),
    },
    Row {
        place: Place::At("/content/0/attachment/title"),
        attribute: "title",
        part: Part::Text(|entry| entry.title.clone(), |entry, text| entry.title = Some(text)),
    },
    Row {
        place: Place::At("/content/0/attachment/creation"),
        attribute: "creationTime",
        part: Part::Time(|entry| entry.creation_time.clone(), |entry, time| entry.creation_time = Some(time)),
    },
    Row {
        place: Place::At("/content/0/format"),
        attribute: "formatCode",
        part: Part::Coding(|entry| entry.format_code.clone(), |entry, code| entry.format_code = Some(code)),
    },
    Row {
        place: Place::At("/context/event"),
        attribute: "eventCodeList",
        part: Part::Concepts(|entry| &entry.event_codes, |entry, codes| entry.event_codes = codes),
    },
    Row {
        place: Place::At("/context/period/start"),
        attribute: "serviceStartTime",
        part: Part::Time(|entry| entry.service_start.clone(), |entry, time| entry.service_start = Some(time)),
    },
    Row {
        place: Place::At("/context/period/end"),
        attribute: "serviceStopTime",
        part: Part::Time(|entry| entry.service_stop.clone(), |entry, time| entry.service_stop = Some(time)),
    },
    Row {
        place: Place::At("/context/facilityType"),
        attribute: "healthcareFacilityTypeCode",
        part: Part::Concept(|entry| entry.facility_type.clone(), |entry, code| entry.facility_type = Some(code)),
    },
    Row {
        place: Place::At("/context/practiceSetting"),
        attribute: "practiceSettingCode",
        part: Part::Concept(|entry| entry.practice_setting.clone(), |entry, code| entry.practice_setting = Some(code)),
    },
    Row {
        place: Place::At("/context/sourcePatientInfo"),
        attribute: "sourcePatientId, sourcePatientInfo",
        part: Part::Own {
            read: |scope, value, entry| {
                (entry.source_patient_id, entry.source_patient_info) = people::read_source_patient(scope, value)?;
                Some(())
            },
            write: |entry, contained| {
                let id: Option<&Cx> = entry.source_patient_id.as_ref();
                people::write_source_patient(id, &entry.source_patient_info, contained)
            },
        },
    },
    Row {
        place: Place::At("/context/encounter"),
        attribute: "referenceIdList of encounters",
        part: Part::Own {
            read: |_, value, entry| read_references(value, ENCOUNTER, entry),
            write: |entry, _| write_references(entry, true),
        },
    },
    Row {
        place: Place::At("/context/related"),
        attribute: "referenceIdList",
        part: Part::Own {
            read: |_, value, entry| read_references(value, "urn:ihe:iti:xds:2013:uniqueId", entry),
            write: |entry, _| write_references(entry, false),
        },
    },
    Row {
        place: Place::Extension("ihe-HomeCommunityId", "valueOid"),
        attribute: "homeCommunityId",
        part: Part::Own {
            read: |_, value, entry| {
                entry.home = Some(HomeCommunityId::lenient(value.as_str()?).ok()?);
                Some(())
            },
            write: |entry, _| Some(entry.home.as_ref()?.to_string().into()),
        },
    },
];

/// `relatesTo.code`; the first row of a code is the one read (MHD ConceptMap AssociationType).
const RELATIONS: &[(AssociationKind, &str)] = &[
    (AssociationKind::Replace, "replaces"),
    (AssociationKind::Transform, "transforms"),
    (AssociationKind::Append, "appends"),
    (AssociationKind::Signs, "signs"),
    (AssociationKind::TransformAndReplace, "replaces"),
    (AssociationKind::IsSnapshotOf, "transforms"),
];

/// status to availabilityStatus.
pub(super) fn availability(status: &str) -> Option<Availability> {
    match status {
        "current" => Some(Availability::Approved),
        "superseded" => Some(Availability::Deprecated),
        _ => None,
    }
}

/// availabilityStatus to status. What was never given one is approved.
pub(super) fn status(availability: Option<Availability>) -> &'static str {
    match availability {
        Some(Availability::Deprecated) => "superseded",
        Some(Availability::Approved) | None => "current",
    }
}

/// CXi references. One without a type is taken for what its element usually has.
fn read_references(value: &Value, kind: &str, entry: &mut DocumentEntry) -> Option<()> {
    for one in value.as_array()? {
        // References to resources cannot be told in metadata; only logical ones can.
        let Some(identifier) = Reference::decode(one).and_then(|reference| reference.identifier) else { continue };
        let code = identifier.type_code();
        let kind = if code.is_empty() { kind } else { code };
        let value = identifier.value.as_deref()?;
        let text = match (identifier.patient_id(), identifier.system.as_deref()) {
            (Some(id), Some(system)) if system != super::URI_SYSTEM => format_smolstr!("{}^{kind}", id.to_cx()),
            _ => format_smolstr!("{}^^^^{kind}", Oid::lenient(value).map_or_else(|_| value.into(), SmolStr::from)),
        };
        entry.reference_ids.extend(ReferenceId::from_wire(&text));
    }
    Some(())
}

fn write_references(entry: &DocumentEntry, encounters: bool) -> Option<Value> {
    let ids = entry.reference_ids.iter().filter(|id| (id.kind() == ENCOUNTER) == encounters);
    let written: Vec<Value> = ids
        .map(|id| {
            let patient_id = PatientId::from_cx(id.as_str());
            let mut identifier = match &patient_id {
                Ok(id) => Identifier::of(id, None),
                Err(_) => match id.id().parse::<Oid>() {
                    Ok(oid) => Identifier::uri(format_smolstr!("urn:oid:{oid}")),
                    Err(_) => Identifier { value: Some(id.id().into()), ..Identifier::default() },
                },
            };
            identifier.kind = Some(Code::new(id.kind(), super::URI_SYSTEM, ""));
            Reference { reference: None, identifier: Some(identifier) }.encode()
        })
        .collect();
    (!written.is_empty()).then(|| written.into())
}

/// A DocumentReference as it was read, before it is known which patient it is of.
pub(super) struct Read {
    pub(super) entry: DocumentEntry,
    pub(super) relations: Vec<(AssociationKind, Reference)>,
    pub(super) url: Option<SmolStr>,
}

/// Reads a DocumentReference; `full_url` is its name in a Bundle.
pub(super) fn read(scope: Scope<'_>, full_url: Option<&str>) -> Result<Read, Refusal> {
    let resource = scope.resource;
    if json::resource_type(resource) != "DocumentReference" {
        return Err(Refusal::WrongResource("DocumentReference"));
    }
    // Profiles: no modifierExtension, no docStatus, content 1..1.
    if resource.get("modifierExtension").is_some() || resource.get("implicitRules").is_some() {
        return Err(Refusal::Unusable("DocumentReference.modifierExtension or implicitRules".into()));
    }
    if json::list(resource, "content").len() != 1 {
        return Err(Refusal::Profile("DocumentReference.content is there once".into()));
    }
    let (entry_uuid, other_unique) = identifiers(resource);
    let master = resource.get("masterIdentifier").map(Identifier::decode);
    let unique = master.as_ref().and_then(unique_id).or(other_unique);
    let unique = unique.ok_or(Refusal::Missing("DocumentReference.masterIdentifier".into()))?;
    let id = entry_uuid.as_deref().or(full_url).map_or_else(|| EntryUuid::random().into(), ObjectId::from);
    let mut entry = DocumentEntry::new(id, DocumentKind::Stable, unique, "");
    table::read(TABLE, scope, &mut entry)?;
    if entry.mime_type.is_empty() {
        return Err(Refusal::Missing("DocumentReference.content.attachment.contentType".into()));
    }
    let relations = json::list(resource, "relatesTo").iter().map(|relation| {
        let code = json::text(relation, "code").unwrap_or_default();
        let kind = RELATIONS.iter().find(|(_, own)| *own == code).map(|(kind, _)| kind.clone());
        let target = relation.get("target").and_then(Reference::decode);
        kind.zip(target).ok_or(Refusal::Unusable("DocumentReference.relatesTo".into()))
    });
    let url = resource.pointer("/content/0/attachment").and_then(|attachment| json::text(attachment, "url"));
    Ok(Read { entry, relations: relations.collect::<Result<_, _>>()?, url: url.map(Into::into) })
}

/// What a DocumentReference needs that the entry does not have.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// The logical id.
    pub id: &'a str,
    /// The Patient.
    pub subject: &'a Reference,
    /// Where the document is to be had (ITI-68), absolute.
    pub url: &'a str,
    /// Associations from this document to others.
    pub relations: &'a [Association],
}

/// A DocumentReference for ITI-67.
pub fn document_reference(entry: &DocumentEntry, shown: &Shown<'_>) -> Value {
    let kind = if entry.limited_metadata { "Minimal" } else { "Comprehensive" };
    let meta = Builder::new().with("profile", vec![Value::from(profile(&format!("IHE.MHD.{kind}.DocumentReference")))]);
    let unique = unique_identifier(&entry.unique_id);
    let mut resource = Builder::resource("DocumentReference")
        .with("id", shown.id)
        .with("meta", meta)
        .with("masterIdentifier", unique.encode())
        .with("subject", shown.subject.encode());
    for identifier in entry_identifier(&entry.id).into_iter().chain([unique]) {
        resource.push("identifier", identifier.encode());
    }
    for relation in shown.relations {
        let code = RELATIONS.iter().find(|(kind, _)| *kind == relation.kind);
        if let (Some((_, code)), Some(target)) = (code, relation.target.uuid()) {
            let bare = target.to_string();
            let bare = bare.trim_start_matches("urn:uuid:");
            let target = Reference::to(format_smolstr!("DocumentReference/{bare}")).encode();
            resource.push("relatesTo", Builder::new().with("code", *code).with("target", target));
        }
    }
    let mut resource = resource.build();
    let mut contained = Contained::default();
    table::write(TABLE, entry, &mut resource, &mut contained);
    resource["content"][0]["attachment"]["url"] = shown.url.into();
    if !contained.0.is_empty() {
        resource["contained"] = contained.0.into();
    }
    resource
}

/// The code of `List.code`.
pub(super) fn list_kind(resource: &Value) -> SmolStr {
    resource.get("code").and_then(concept).map(|code| code.code).unwrap_or_default()
}
