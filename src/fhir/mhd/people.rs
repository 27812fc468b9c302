//! People and organisations: HL7 v2 names in metadata, resources in FHIR.

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::super::json::{self, Builder};
use super::super::resource::{Identifier, Patient, Reference, concept, write_concept};
use super::{Contained, Scope};
use crate::id::{Address, Code, Demographics, Dtm, Gender, Oid, PatientId, PersonName};
use crate::metadata::coding::{component, escape};
use crate::metadata::{Author, Cx, SourcePatientInfo, Xcn, Xon, Xtn};

/// An author or authenticator. Nothing if it is somewhere else and nothing is told of it.
pub(super) fn read_author(scope: Scope<'_>, value: &Value) -> Option<Author> {
    let reference = Reference::decode(value)?;
    let mut author = Author::default();
    if let Some(organization) = super::super::resource::extension(value, &super::profile("ihe-authorOrg")) {
        let organization = organization.get("valueReference").and_then(Reference::decode)?;
        author.institutions.extend(scope.find(&organization).and_then(institution));
    }
    match scope.find(&reference) {
        Some(resource) => read_person(scope, resource, &mut author),
        None => {
            let display = json::text(value, "display").map(|name| PersonName::new(name, &[]));
            let id = reference.identifier.as_ref().and_then(Identifier::patient_id);
            if display.is_some() || id.is_some() {
                author.person = Some(Xcn::new(id.as_ref(), &display.unwrap_or_default()));
            }
        }
    }
    Some(author)
}

fn read_person(scope: Scope<'_>, resource: &Value, author: &mut Author) {
    let follow = |name: &str| resource.get(name).and_then(Reference::decode).and_then(|one| scope.find(&one));
    match json::resource_type(resource) {
        "PractitionerRole" => {
            if let Some(practitioner) = follow("practitioner") {
                read_person(scope, practitioner, author);
            }
            author.institutions.extend(follow("organization").and_then(institution));
            author.roles.extend(json::list(resource, "code").iter().filter_map(concept).map(|code| write_code(&code)));
            let specialties = json::list(resource, "specialty").iter().filter_map(concept);
            author.specialties.extend(specialties.map(|code| write_code(&code)));
            read_telecoms(resource, author);
        }
        "Organization" => author.institutions.extend(institution(resource)),
        "Device" => {
            let name = json::list(resource, "deviceName").iter().find_map(|one| json::text(one, "name"));
            author.person = person(resource, PersonName::new(name.unwrap_or_default(), &[]));
        }
        // Practitioner, Patient and RelatedPerson have names of the same form.
        _ => {
            let patient = Builder::resource("Patient").with_if("name", resource.get("name").cloned()).build();
            let name = Patient::decode(&patient).ok().and_then(|read| read.demographics.names.into_iter().next());
            author.person = person(resource, name.unwrap_or_default());
            read_telecoms(resource, author);
        }
    }
}

fn person(resource: &Value, name: PersonName) -> Option<Xcn> {
    let id = json::list(resource, "identifier").iter().find_map(|one| Identifier::decode(one).patient_id());
    (id.is_some() || !name.is_empty()).then(|| Xcn::new(id.as_ref(), &name))
}

fn read_telecoms(resource: &Value, author: &mut Author) {
    for telecom in json::list(resource, "telecom") {
        if let (Some("email"), Some(address)) = (json::text(telecom, "system"), json::text(telecom, "value")) {
            author.telecoms.push(Xtn::email(address.trim_start_matches("mailto:")));
        } else if let Some(number) = json::text(telecom, "value") {
            author.telecoms.extend(Xtn::from_wire(&format!("^^PH^^^^^^^^^{}", escape(number))));
        }
    }
}

fn institution(resource: &Value) -> Option<Xon> {
    let oid = json::list(resource, "identifier")
        .iter()
        .map(Identifier::decode)
        .find_map(|identifier| Oid::lenient(identifier.value.as_deref()?).ok());
    json::text(resource, "name").map(|name| Xon::new(name, oid.as_ref()))
}

/// `Code^^^&OID&ISO`, or the text if the code has no scheme.
fn write_code(code: &Code) -> SmolStr {
    if code.scheme.is_empty() {
        return escape(&code.code).into();
    }
    let kind = if code.scheme.parse::<Oid>().is_ok() { "ISO" } else { "URI" };
    format_smolstr!("{}^^^&{}&{kind}", escape(&code.code), escape(&code.scheme))
}

fn read_code(text: &str) -> Code {
    let scheme = component(text, 4);
    Code::new(component(text, 1), scheme.split('&').nth(1).unwrap_or_default(), "")
}

/// The author as a contained Practitioner, or a PractitionerRole if more than a person is known.
pub(super) fn write_author(author: &Author, contained: &mut Contained) -> Option<Value> {
    let is_role = !(author.institutions.is_empty() && author.roles.is_empty() && author.specialties.is_empty());
    let telecoms: Vec<Value> = author.telecoms.iter().filter_map(write_telecom).collect();
    let person = author.person.as_ref().map(|person| {
        let telecoms = if is_role { Vec::new() } else { telecoms.clone() };
        contained.add(practitioner(person).with("telecom", telecoms).build())
    });
    if !is_role {
        return person.map(|person| person.encode());
    }
    let organization = author.institutions.first().map(|one| contained.add(write_organization(one)));
    let concepts = |texts: &[SmolStr]| texts.iter().map(|text| write_concept(&read_code(text))).collect::<Vec<_>>();
    let role = Builder::resource("PractitionerRole")
        .with_if("practitioner", person.map(|person| person.encode()))
        .with_if("organization", organization.map(|one| one.encode()))
        .with("code", concepts(&author.roles))
        .with("specialty", concepts(&author.specialties))
        .with("telecom", telecoms)
        .build();
    Some(contained.add(role).encode())
}

fn practitioner(person: &Xcn) -> Builder {
    let identifier = person.identifier().map(|id| Identifier::of(&id, None).encode());
    let named = Demographics { names: vec![person.name()], ..Demographics::default() };
    let names = Patient::new(named, &[], None).encode().get("name").cloned();
    let mut practitioner = Builder::resource("Practitioner").with_if("name", names);
    if let Some(identifier) = identifier {
        practitioner.push("identifier", identifier);
    }
    practitioner
}

/// The legal authenticator.
pub(super) fn write_xcn(person: &Xcn, contained: &mut Contained) -> Value {
    contained.add(practitioner(person).build()).encode()
}

fn write_organization(institution: &Xon) -> Value {
    let mut organization = Builder::resource("Organization").with("name", institution.name());
    if let Ok(oid) = institution.id().parse::<Oid>() {
        organization.push("identifier", Identifier::uri(format_smolstr!("urn:oid:{oid}")).encode());
    }
    organization.build()
}

fn write_telecom(telecom: &Xtn) -> Option<Value> {
    let address = telecom.address();
    let (system, value) = if address.is_empty() {
        let parts: Vec<_> = [6, 7].into_iter().map(|number| component(telecom.as_str(), number)).collect();
        let whole = component(telecom.as_str(), 12);
        ("phone", if whole.is_empty() { parts.concat() } else { whole })
    } else {
        ("email", address)
    };
    (!value.is_empty()).then(|| Builder::new().with("system", system).with("value", value).build())
}

/// sourcePatientId and sourcePatientInfo from the Patient that the document was made with.
pub(super) fn read_source_patient(scope: Scope<'_>, value: &Value) -> Option<(Option<Cx>, SourcePatientInfo)> {
    let reference = Reference::decode(value)?;
    let logical = reference.identifier.as_ref().and_then(Identifier::patient_id);
    let resource = scope.find(&reference).filter(|found| json::resource_type(found) == "Patient");
    let Some(resource) = resource else {
        return Some((logical.as_ref().map(Cx::from), SourcePatientInfo::default()));
    };
    let patient = Patient::decode(resource).ok()?;
    let ids: Vec<PatientId> = patient.patient_ids().collect();
    let mut fields: Vec<SmolStr> = Vec::new();
    let mut field = |number: u8, text: &str| {
        if !text.is_empty() {
            fields.push(format_smolstr!("PID-{number}|{text}"));
        }
    };
    ids.iter().for_each(|id| field(3, &id.to_cx()));
    let person = &patient.demographics;
    for name in &person.names {
        // An XCN without its first component is an XPN.
        let xcn = Xcn::new(None, name);
        field(5, xcn.as_str().trim_start_matches('^').trim_end_matches('^'));
    }
    field(7, person.birth.as_ref().map(Dtm::as_str).unwrap_or_default());
    field(8, person.gender.map(Gender::v2).unwrap_or_default());
    for address in &person.addresses {
        let line = |at: usize| address.lines.get(at).map(|line| escape(line)).unwrap_or_default();
        let parts = [&address.city, &address.state, &address.postal_code, &address.country].map(|part| escape(part));
        field(11, format!("{}^{}^{}", line(0), line(1), parts.join("^")).trim_end_matches('^'));
    }
    Some((logical.as_ref().or(ids.first()).map(Cx::from), SourcePatientInfo::from_wire(fields)))
}

/// The Patient that the document was made with, as a contained resource.
pub(super) fn write_source_patient(
    id: Option<&Cx>,
    info: &SourcePatientInfo,
    contained: &mut Contained,
) -> Option<Value> {
    if id.is_none() && info.is_empty() {
        return None;
    }
    let mut person = Demographics::default();
    let mut ids: Vec<PatientId> = id.and_then(Cx::patient_id).into_iter().collect();
    ids.extend(info.field(3).filter_map(|cx| PatientId::from_cx(cx).ok()));
    ids.dedup();
    for xpn in info.field(5) {
        person.names.extend(Xcn::from_wire(&format!("^{xpn}")).map(|name| name.name()));
    }
    person.birth = info.field(7).find_map(|text| Dtm::lenient(text).ok());
    person.gender = info.field(8).find_map(Gender::from_wire);
    for xad in info.field(11) {
        let part = |number: usize| SmolStr::from(component(xad, number));
        person.addresses.push(Address {
            lines: [part(1), part(2)].into_iter().filter(|line| !line.is_empty()).collect(),
            city: part(3),
            state: part(4),
            postal_code: part(5),
            country: part(6),
            ..Address::default()
        });
    }
    let mut patient = Patient::new(person, &ids, None);
    patient.active = None;
    Some(contained.add(patient.encode()).encode())
}

/// intendedRecipient, `XON|XCN|XTN`, as a contained resource.
pub(super) fn write_recipient(text: &str, contained: &mut Contained) -> Option<Value> {
    let mut parts = text.split('|');
    let (organization, person, telecom) = (parts.next(), parts.next(), parts.next());
    let author = Author {
        person: person.and_then(Xcn::from_wire),
        institutions: organization.and_then(Xon::from_wire).into_iter().collect(),
        telecoms: telecom.and_then(Xtn::from_wire).into_iter().collect(),
        ..Author::default()
    };
    if author.person.is_none() && author.telecoms.is_empty() {
        return author.institutions.first().map(|one| contained.add(write_organization(one)).encode());
    }
    write_author(&author, contained)
}

/// intendedRecipient from what a reference means.
pub(super) fn read_recipient(scope: Scope<'_>, value: &Value) -> Option<SmolStr> {
    let author = read_author(scope, value)?;
    let text = format_smolstr!(
        "{}|{}|{}",
        author.institutions.first().map(Xon::as_str).unwrap_or_default(),
        author.person.as_ref().map(Xcn::as_str).unwrap_or_default(),
        author.telecoms.first().map(Xtn::as_str).unwrap_or_default()
    );
    let text = text.trim_end_matches('|');
    (!text.is_empty()).then(|| text.into())
}
