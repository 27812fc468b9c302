//! A person of the store as a Patient resource: one active resource for each person (PDQm 2:3.78.4.2.2.1), with the
//! identifiers of every domain, under a logical id that says nothing.
//!
//! An identifier that was merged into another is not in use and not told; neither is the resource of a person who became
//! one with another.

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::json::Builder;
use super::resource::{Patient, Reference};
use crate::gateway::Gateway;
use crate::id::{AssigningAuthority, Timestamp};
use crate::storage::engine::StoreError;
use crate::storage::identities::{Person, PersonKey};

/// The path of the FHIR service below the public URL.
pub const PATH: &str = "/fhir";

/// The base URL of the FHIR service.
pub fn base(gateway: &Gateway) -> String {
    format!("{}{PATH}", gateway.community.public_url)
}

/// The absolute URL of a person's Patient.
pub fn url(gateway: &Gateway, person: PersonKey) -> SmolStr {
    format_smolstr!("{}/Patient/{}", base(gateway), gateway.names.name(person))
}

/// The person of a logical id.
pub fn by_id(gateway: &Gateway, id: &str) -> Result<Option<Person>, StoreError> {
    match gateway.names.person(id) {
        Some(key) => gateway.identities.person(&gateway.tenant, key),
        None => Ok(None),
    }
}

/// The person whom a reference means: `Patient/id`, the same under our base URL, or the identifier of a logical
/// reference. A resource of another server is nobody here.
pub fn by_reference(gateway: &Gateway, reference: &Reference) -> Result<Option<Person>, StoreError> {
    if let Some(url) = reference.reference.as_deref() {
        let base = base(gateway);
        let path = url.strip_prefix(base.as_str()).map_or(url, |path| path.trim_start_matches('/'));
        let Some(id) = path.strip_prefix("Patient/") else { return Ok(None) };
        // A reference to a version means the patient.
        return by_id(gateway, id.split_once("/_history/").map_or(id, |(id, _)| id));
    }
    match reference.identifier.as_ref().and_then(super::Identifier::patient_id) {
        Some(id) => Ok(gateway.identities.resolve(&gateway.tenant, &id)?.active()),
        None => Ok(None),
    }
}

/// The resource of a person, with the demographics of one of the records and the identifiers of the domains wanted; of
/// every domain if none is. None if the person has no identifier there.
pub fn patient(gateway: &Gateway, person: &Person, record: usize, wanted: &[AssigningAuthority]) -> Option<Patient> {
    let in_use = person.ids().filter(|id| wanted.is_empty() || wanted.contains(id.authority()));
    let ids: Vec<_> = in_use.cloned().collect();
    if ids.is_empty() {
        return None;
    }
    let demographics = person.records.get(record).map(|record| record.demographics.clone()).unwrap_or_default();
    let mut patient = Patient::new(demographics, &ids, Some(&gateway.domains));
    super::pdqm::restrict(&mut patient, wanted);
    patient.id = Some(gateway.names.name(person.key));
    Some(patient)
}

/// The record that was updated last.
pub fn latest(person: &Person) -> usize {
    let records = person.records.iter().enumerate();
    records.max_by_key(|(_, record)| record.updated).map_or(0, |(at, _)| at)
}

/// When anything of a person changed last.
pub fn updated(person: &Person) -> Timestamp {
    person.records.iter().map(|record| record.updated).max().unwrap_or(Timestamp::from_millis(0))
}

/// A Patient with the time of its last change.
pub fn encode(patient: &Patient, updated: Timestamp) -> Value {
    let mut resource = patient.encode();
    if let Value::Object(members) = &mut resource {
        members.insert("meta".into(), Builder::new().with("lastUpdated", updated.to_rfc3339()).build());
    }
    resource
}
