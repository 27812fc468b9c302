//! MHD 4.2: documents over FHIR, as a mapping to and from XDS metadata.
//!
//! `table` is how one element and one attribute are each other, used in both directions; `document_reference` and
//! `list` are the tables of MHD's "XDS mapping". `provide` is ITI-65 and 105, `find` ITI-66 and 67, `retrieve` ITI-68.
//! Who answers: `recipient` what is provided, `responder` what is looked for.

pub mod find;
pub mod recipient;
pub mod responder;
pub mod retrieve;

mod document_reference;
mod list;
mod people;
mod provide;
mod table;

pub use document_reference::{Shown, document_reference};
pub use list::{folder, submission_set};
pub use provide::{Document, Metadata, Provide, take_documents};

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::bundle::Bundle;
use super::json;
use super::resource::{Identifier, Reference, URI_SYSTEM};
use crate::id::{Code, DocumentUniqueId, Oid};
use crate::metadata::ObjectId;

const PROFILES: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/";
const IDENTIFIER_TYPES: &str = "https://profiles.ihe.net/ITI/MHD/CodeSystem/IHE.MHD.MHDIdentifierType";
const LIST_TYPES: &str = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes";

/// The URL of a profile or extension of MHD.
fn profile(name: &str) -> String {
    format!("{PROFILES}{name}")
}

/// Where a reference is looked up: among what the resource contains, then in the Bundle it came in.
#[derive(Clone, Copy)]
struct Scope<'v> {
    resource: &'v Value,
    bundle: Option<&'v Bundle>,
}

impl<'v> Scope<'v> {
    fn find(&self, reference: &Reference) -> Option<&'v Value> {
        reference.contained(self.resource).or_else(|| {
            let url = reference.reference.as_deref()?;
            self.bundle?.resolve(url)?.resource.as_ref()
        })
    }
}

/// What a resource being written contains.
#[derive(Default)]
struct Contained(Vec<Value>);

impl Contained {
    /// Adds a resource and says how to refer to it.
    fn add(&mut self, mut resource: Value) -> Reference {
        let id = format!("c{}", self.0.len() + 1);
        resource["id"] = id.as_str().into();
        self.0.push(resource);
        Reference::to(format_smolstr!("#{id}"))
    }
}

/// A uniqueId: an OID as `urn:oid:`, an OID with an extension as system and value, a UUID as it is.
fn unique_identifier(unique_id: &DocumentUniqueId) -> Identifier {
    let bare = unique_id.bare();
    let mut identifier = match bare.split_once('^') {
        Some((oid, extension)) if oid.parse::<Oid>().is_ok() => {
            Identifier::new(format_smolstr!("urn:oid:{oid}"), extension)
        }
        _ if bare.parse::<Oid>().is_ok() => Identifier::uri(format_smolstr!("urn:oid:{bare}")),
        _ => Identifier::uri(unique_id.as_str()),
    };
    identifier.kind = Some(Code::new("uniqueId", IDENTIFIER_TYPES, ""));
    identifier
}

fn entry_identifier(id: &ObjectId) -> Option<Identifier> {
    let kind = Some(Code::new("entryUUID", IDENTIFIER_TYPES, ""));
    id.uuid().map(|uuid| Identifier { kind, ..Identifier::uri(uuid.to_string()) })
}

fn unique_id(identifier: &Identifier) -> Option<DocumentUniqueId> {
    let value = identifier.value.as_deref()?;
    let system = identifier.system.as_deref().unwrap_or(URI_SYSTEM);
    let text = match Oid::lenient(system) {
        Ok(oid) => format_smolstr!("{oid}^{value}"),
        Err(_) => Oid::lenient(value).map_or_else(|_| value.into(), |oid| format_smolstr!("{oid}")),
    };
    DocumentUniqueId::new(&text).ok()
}

/// The identifiers of a resource: its entryUUID and its uniqueId. Some senders give no types; then a `urn:uuid:` is the
/// one and anything else the other.
fn identifiers(resource: &Value) -> (Option<SmolStr>, Option<DocumentUniqueId>) {
    let (mut entry, mut unique) = (None, None);
    for identifier in json::list(resource, "identifier").iter().map(Identifier::decode) {
        let is_uuid = identifier.value.as_deref().is_some_and(|value| value.starts_with("urn:uuid:"));
        match identifier.type_code() {
            "entryUUID" => entry = identifier.value,
            "uniqueId" => unique = unique_id(&identifier),
            _ if is_uuid && entry.is_none() => entry = identifier.value,
            _ if unique.is_none() => unique = unique_id(&identifier),
            _ => {}
        }
    }
    (entry, unique)
}

/// The registry object that a reference means: ours are `DocumentReference/` and the UUID of the entry.
fn object_id(reference: &Reference) -> Option<ObjectId> {
    let url = reference.reference.as_deref().or_else(|| reference.identifier.as_ref()?.value.as_deref())?;
    let last = url.split("/_history").next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let urn = format_smolstr!("urn:uuid:{last}");
    match ObjectId::from(urn.as_str()) {
        ObjectId::Uuid(uuid) => Some(ObjectId::Uuid(uuid)),
        ObjectId::Symbol(_) => Some(ObjectId::from(url)),
    }
}
