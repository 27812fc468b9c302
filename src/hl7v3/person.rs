//! `patientPerson` as `Demographics`, both ways (PRPA_MT201301UV02, 201302, 201303, 201310).

use smol_str::SmolStr;

use super::datatype::{
    Ii, read_address, read_bool, read_code, read_name, read_patient_id, read_telecom, read_time, write_address,
    write_code, write_gender, write_name, write_patient_id, write_telecom, write_time,
};
use super::{child, children, find};
use crate::id::patient::MultipleBirth;
use crate::id::{AssigningAuthority, Demographics, Domains, Gender, Oid, PatientId, PersonName};
use crate::xml::{Element, Writer};

/// Role codes of relatives.
const ROLES: &str = "2.16.840.1.113883.5.111";

/// Reads `patientPerson` and what its parent `patient` has of addresses and numbers. Children may be in any order, and
/// empty ones (`<telecom/>`, `<asOtherIDs><id/></asOtherIDs>`) count for nothing.
pub fn read(patient: Element<'_>, domains: &Domains) -> Demographics {
    let Some(person) = child(patient, "patientPerson") else { return Demographics::default() };
    let code = |name| child(person, name).and_then(read_code);
    let names = children(person, "name").map(read_name).filter(|name| !name.is_empty());
    let both = |name| children(person, name).chain(children(patient, name));
    let flag = |name| child(person, name).and_then(read_bool);
    let order = child(person, "multipleBirthOrderNumber").and_then(|one| one.attribute("value")?.trim().parse().ok());
    let mother = children(person, "personalRelationship")
        .find(|relation| child(*relation, "code").and_then(read_code).as_deref() == Some("MTH"));
    let mother_name = mother.and_then(|mother| find(mother, &["relationshipHolder1", "name"])).map(read_name);
    let ids_of = |element: Element<'_>| -> Vec<PatientId> {
        children(element, "id").filter_map(|id| read_patient_id(id, domains).ok()).collect()
    };
    let birth_place = child(person, "birthPlace");
    let place_name = birth_place.and_then(|place| find(place, &["birthplace", "name"]));
    let place_city = birth_place.and_then(|place| find(place, &["addr", "city"]));
    Demographics {
        names: names.collect(),
        gender: code("administrativeGenderCode").and_then(|code| Gender::from_wire(&code)),
        birth: child(person, "birthTime").and_then(read_time),
        addresses: both("addr").map(read_address).filter(|address| !address.is_empty()).collect(),
        telecoms: both("telecom").filter_map(read_telecom).collect(),
        mothers_maiden_name: mother_name.filter(|name| !name.is_empty()),
        mothers_ids: mother.map(ids_of).unwrap_or_default(),
        other_ids: children(person, "asOtherIDs").flat_map(ids_of).collect(),
        birth_place: place_name.or(place_city).map(text).filter(|name| !name.is_empty()),
        multiple_birth: match (flag("multipleBirthInd"), order) {
            (None, None) => None,
            (multiple, order) => Some(MultipleBirth { multiple: multiple.unwrap_or(true), order }),
        },
        death: child(person, "deceasedTime").and_then(read_time),
        deceased: flag("deceasedInd"),
        marital_status: code("maritalStatusCode"),
        language: find(person, &["languageCommunication", "languageCode"]).and_then(read_code),
        race: code("raceCode"),
        ethnicity: code("ethnicGroupCode"),
        account: None,
        identity_unknown: false,
    }
}

fn text(element: Element<'_>) -> SmolStr {
    element.trimmed().as_ref().into()
}

/// Writes `patientPerson`. Identifiers of authorities without an OID cannot be said in v3 and are left out, as are the
/// account number and whether the identity is reliable, which have no element here.
pub fn write(writer: &mut Writer, person: &Demographics) {
    write_lacking(writer, person, &[]);
}

/// The same, saying of some authorities that they have no identifier for this person (ITI TF-2: 3.47.4.2.2).
pub fn write_lacking(writer: &mut Writer, person: &Demographics, lacking: &[AssigningAuthority]) {
    writer.start("patientPerson").attribute("classCode", "PSN").attribute("determinerCode", "INSTANCE");
    if person.names.is_empty() {
        writer.start("name").attribute("nullFlavor", "NA").end();
    }
    for name in &person.names {
        write_name(writer, "name", name);
    }
    for telecom in &person.telecoms {
        write_telecom(writer, "telecom", telecom);
    }
    write_gender(writer, "administrativeGenderCode", person.gender);
    if let Some(birth) = &person.birth {
        write_time(writer, "birthTime", birth);
    }
    write_flag(writer, "deceasedInd", person.deceased);
    if let Some(death) = &person.death {
        write_time(writer, "deceasedTime", death);
    }
    write_flag(writer, "multipleBirthInd", person.multiple_birth.map(|birth| birth.multiple));
    if let Some(order) = person.multiple_birth.and_then(|birth| birth.order) {
        writer.start("multipleBirthOrderNumber").attribute("value", &order.to_string()).end();
    }
    for address in &person.addresses {
        write_address(writer, "addr", address);
    }
    let code = |value: &Option<SmolStr>| value.clone().unwrap_or_default();
    write_code(writer, "maritalStatusCode", &code(&person.marital_status), "2.16.840.1.113883.5.2");
    write_code(writer, "raceCode", &code(&person.race), "2.16.840.1.113883.6.238");
    write_code(writer, "ethnicGroupCode", &code(&person.ethnicity), "2.16.840.1.113883.6.238");
    for id in &person.other_ids {
        write_other_id(writer, id);
    }
    for oid in lacking.iter().filter_map(AssigningAuthority::oid) {
        writer.start("asOtherIDs").attribute("classCode", "PAT");
        Ii::default().write(writer, "id");
        write_scope(writer, &oid);
        writer.end();
    }
    write_mother(writer, person.mothers_maiden_name.as_ref(), &person.mothers_ids);
    if let Some(place) = &person.birth_place {
        writer.start("birthPlace").attribute("classCode", "BIRTHPL");
        writer.start("birthplace").attribute("classCode", "PLC").attribute("determinerCode", "INSTANCE");
        writer.leaf("name", place).end().end();
    }
    let language = code(&person.language);
    if !language.is_empty() && !language.contains(char::is_whitespace) {
        writer.start("languageCommunication");
        write_code(writer, "languageCode", &language, "");
        writer.end();
    }
    writer.end();
}

/// `asOtherIDs`: class `PAT`, because the profiles forbid `CIT` and `EMP`; its organisation has the root of the id.
fn write_other_id(writer: &mut Writer, id: &PatientId) {
    let Some(oid) = id.authority().oid() else { return };
    writer.start("asOtherIDs").attribute("classCode", "PAT");
    write_patient_id(writer, "id", id);
    write_scope(writer, &oid);
    writer.end();
}

fn write_scope(writer: &mut Writer, oid: &Oid) {
    writer.start("scopingOrganization").attribute("classCode", "ORG").attribute("determinerCode", "INSTANCE");
    Ii::root(oid.as_str()).write(writer, "id");
    writer.end();
}

fn write_mother(writer: &mut Writer, name: Option<&PersonName>, ids: &[PatientId]) {
    if name.is_none() && ids.iter().all(|id| id.authority().oid().is_none()) {
        return;
    }
    writer.start("personalRelationship").attribute("classCode", "PRS");
    for id in ids {
        write_patient_id(writer, "id", id);
    }
    write_code(writer, "code", "MTH", ROLES);
    writer.start("relationshipHolder1").attribute("classCode", "PSN").attribute("determinerCode", "INSTANCE");
    if let Some(name) = name {
        write_name(writer, "name", name);
    }
    writer.end().end();
}

fn write_flag(writer: &mut Writer, name: &'static str, flag: Option<bool>) {
    if let Some(flag) = flag {
        writer.start(name).attribute("value", if flag { "true" } else { "false" }).end();
    }
}
