//! Patient: demographics, identifiers and links of one person at one source.
//!
//! Two tables say how HL7 v2 codes and FHIR's are each other; both directions read the same table.

use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr};

use super::{Identifier, Reference, date, date_time, extension, write_extension};
use crate::fhir::json::{self, Builder};
use crate::fhir::outcome::Refusal;
use crate::id::patient::{MultipleBirth, TelecomSystem};
use crate::id::{Address, Code, Demographics, Domains, Dtm, Gender, PatientId, PersonName, Telecom};

const MOTHERS_MAIDEN_NAME: &str = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName";
const BIRTH_TIME: &str = "http://hl7.org/fhir/StructureDefinition/patient-birthTime";
const BIRTH_PLACE: &str = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace";
const US_RACE: &str = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race";
const US_ETHNICITY: &str = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity";
const RACE_CODES: &str = "urn:oid:2.16.840.1.113883.6.238";
const MARITAL_V3: &str = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus";
const MARITAL_V2: &str = "http://terminology.hl7.org/CodeSystem/v2-0002";
const NULL_FLAVOR: &str = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor";
const IDENTIFIER_TYPES: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
const LANGUAGES: &str = "urn:ietf:bcp:47";

/// HL7 v2 name types (table 0200) and `HumanName.use`.
const NAME_USES: &[(&str, &str)] = &[
    ("L", "official"),
    ("D", "usual"),
    ("M", "maiden"),
    ("N", "nickname"),
    ("S", "anonymous"),
    ("A", "old"),
    ("TEMP", "temp"),
];

/// HL7 v2 address types (table 0190) and `Address.use`.
const ADDRESS_USES: &[(&str, &str)] =
    &[("H", "home"), ("B", "work"), ("C", "temp"), ("BA", "old"), ("BI", "billing"), ("O", "work")];

/// HL7 v2 and v3 telecom uses (tables 0201, TelecommunicationAddressUse) and `ContactPoint.use`.
const TELECOM_USES: &[(&str, &str)] = &[
    ("PRN", "home"),
    ("WPN", "work"),
    ("PRS", "mobile"),
    ("VHN", "temp"),
    ("H", "home"),
    ("HP", "home"),
    ("WP", "work"),
    ("MC", "mobile"),
    ("ORN", "home"),
];

/// HL7 v2 marital status (table 0002) and v3 MaritalStatus, where they differ.
const MARITAL: &[(&str, &str)] = &[("A", "L"), ("N", "A"), ("P", "T"), ("B", "U")];
const SAME_MARITAL: &[&str] = &["D", "I", "M", "S", "W"];

/// The kinds of `Patient.link`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkKind {
    /// The other is to be used instead.
    ReplacedBy,
    /// This one is to be used instead of the other.
    Replaces,
    /// The other may know more.
    Refer,
    /// The same person elsewhere, or a newborn's mother.
    SeeAlso,
}

impl LinkKind {
    const ALL: [Self; 4] = [Self::ReplacedBy, Self::Replaces, Self::Refer, Self::SeeAlso];

    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReplacedBy => "replaced-by",
            Self::Replaces => "replaces",
            Self::Refer => "refer",
            Self::SeeAlso => "seealso",
        }
    }
}

/// `Patient.link`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// What the other is.
    pub kind: LinkKind,
    /// The other.
    pub other: Reference,
}

/// A Patient. What the gateway does not understand of a received one is in the resource it came as.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Patient {
    /// The logical id.
    pub id: Option<SmolStr>,
    /// Whether the record is in use.
    pub active: Option<bool>,
    /// Identifiers of every system.
    pub identifiers: Vec<Identifier>,
    /// Who it is. Identifiers are not in here but in `identifiers`.
    pub demographics: Demographics,
    /// Links to other records.
    pub links: Vec<Link>,
    /// `managingOrganization`
    pub organization: Option<Reference>,
}

impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Patient({:?})", self.id)
    }
}

impl Patient {
    /// A record of a person with identifiers. Identifiers in the demographics are written too.
    pub fn new(demographics: Demographics, ids: &[PatientId], domains: Option<&Domains>) -> Self {
        let mut identifiers: Vec<_> = ids.iter().map(|id| Identifier::of(id, domains)).collect();
        identifiers.extend(demographics.other_ids.iter().map(|id| Identifier::of(id, domains)));
        if let Some(account) = &demographics.account {
            let mut identifier = Identifier::of(account, domains);
            identifier.kind = Some(Code::new("AN", IDENTIFIER_TYPES, ""));
            identifiers.push(identifier);
        }
        let demographics = Demographics { other_ids: Vec::new(), account: None, ..demographics };
        Self { active: Some(true), identifiers, demographics, ..Self::default() }
    }

    /// Reads a Patient. An element that cannot be used is left out, as if it were not known; what decides about
    /// identity (an unknown gender code, a birth date that is none) is refused.
    pub fn decode(resource: &Value) -> Result<Self, Refusal> {
        if json::resource_type(resource) != "Patient" {
            return Err(Refusal::WrongResource("Patient"));
        }
        // A modifier may turn the meaning of everything around; PDQm forbids it, and FHIR wants the unknown refused.
        if resource.get("modifierExtension").is_some() || resource.get("implicitRules").is_some() {
            return Err(Refusal::Unusable("Patient.modifierExtension or Patient.implicitRules".into()));
        }
        Ok(Self {
            id: json::text(resource, "id").map(Into::into),
            active: resource.get("active").and_then(Value::as_bool),
            identifiers: json::list(resource, "identifier").iter().map(Identifier::decode).collect(),
            demographics: demographics(resource)?,
            links: json::list(resource, "link").iter().filter_map(link).collect(),
            organization: resource.get("managingOrganization").and_then(Reference::decode),
        })
    }

    /// The identifiers that name both an authority and a value.
    pub fn patient_ids(&self) -> impl Iterator<Item = PatientId> + '_ {
        self.identifiers.iter().filter_map(Identifier::patient_id)
    }

    /// The demographics with the identifiers sorted in: those of our domains are returned beside, the account number
    /// and the others are in the demographics.
    pub fn sorted(&self, domains: &Domains) -> (Demographics, Vec<PatientId>) {
        let mut demographics = self.demographics.clone();
        let mut own = Vec::new();
        for identifier in &self.identifiers {
            let Some(id) = identifier.patient_id() else { continue };
            if domains.knows(&id) {
                own.push(id);
            } else if identifier.type_code() == "AN" {
                demographics.account = Some(id);
            } else {
                demographics.other_ids.push(id);
            }
        }
        (demographics, own)
    }

    /// The record that replaces this one, told by a merge (ITI-104).
    pub fn replaced_by(&self) -> Option<&Reference> {
        self.links.iter().find(|link| link.kind == LinkKind::ReplacedBy).map(|link| &link.other)
    }

    /// The resource.
    pub fn encode(&self) -> Value {
        let identifiers: Vec<Value> = self.identifiers.iter().map(Identifier::encode).collect();
        let links: Vec<Value> = self
            .links
            .iter()
            .map(|link| Builder::new().with("other", link.other.encode()).with("type", link.kind.as_str()).build())
            .collect();
        let mut patient = Builder::resource("Patient")
            .with_if("id", self.id.as_deref())
            .with("identifier", identifiers)
            .with_if("active", self.active)
            .with("link", links)
            .with_if("managingOrganization", self.organization.as_ref().map(Reference::encode));
        write_demographics(&mut patient, &self.demographics);
        patient.build()
    }
}

fn link(value: &Value) -> Option<Link> {
    let kind = json::text(value, "type")?;
    let kind = LinkKind::ALL.into_iter().find(|one| one.as_str() == kind)?;
    Some(Link { kind, other: Reference::decode(value.get("other")?)? })
}

fn demographics(resource: &Value) -> Result<Demographics, Refusal> {
    let mut person = Demographics {
        names: json::list(resource, "name").iter().filter_map(name).collect(),
        addresses: json::list(resource, "address").iter().map(address).filter(|one| !one.is_empty()).collect(),
        telecoms: json::list(resource, "telecom").iter().filter_map(telecom).collect(),
        birth: birth(resource)?,
        death: date(resource, "deceasedDateTime"),
        deceased: resource.get("deceasedBoolean").and_then(Value::as_bool),
        ..Demographics::default()
    };
    if let Some(code) = json::text(resource, "gender") {
        person.gender = Some(Gender::from_wire(code).ok_or(Refusal::Unusable("Patient.gender".into()))?);
    }
    if person.death.is_some() {
        person.deceased = Some(true);
    }
    person.multiple_birth = match (resource.get("multipleBirthInteger"), resource.get("multipleBirthBoolean")) {
        (Some(order), _) => {
            let order = order.as_u64().and_then(|order| u8::try_from(order).ok());
            Some(MultipleBirth { multiple: true, order })
        }
        (None, Some(multiple)) => multiple.as_bool().map(|multiple| MultipleBirth { multiple, order: None }),
        (None, None) => None,
    };
    person.marital_status = resource.get("maritalStatus").and_then(marital_status);
    person.language = language(resource);
    let maiden = extension(resource, MOTHERS_MAIDEN_NAME).and_then(|one| json::text(one, "valueString"));
    person.mothers_maiden_name = maiden.map(|family| PersonName::new(family, &[]));
    let place = extension(resource, BIRTH_PLACE).and_then(|one| one.get("valueAddress"));
    person.birth_place =
        place.and_then(|place| json::text(place, "text").or_else(|| json::text(place, "city"))).map(Into::into);
    person.race = category(resource, US_RACE);
    person.ethnicity = category(resource, US_ETHNICITY);
    Ok(person)
}

fn birth(resource: &Value) -> Result<Option<Dtm>, Refusal> {
    let shadow = resource.get("_birthDate").and_then(|shadow| extension(shadow, BIRTH_TIME));
    if let Some(time) = shadow.and_then(|time| date(time, "valueDateTime")) {
        return Ok(Some(time));
    }
    match json::text(resource, "birthDate") {
        Some(text) => Dtm::lenient(text).map(Some).map_err(|_| Refusal::Unusable("Patient.birthDate".into())),
        None => Ok(None),
    }
}

fn name(value: &Value) -> Option<PersonName> {
    let parts = |member: &str| json::list(value, member).iter().filter_map(Value::as_str).map(str::trim);
    let joined = |member: &str| parts(member).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let mut name = PersonName {
        family: json::text(value, "family").unwrap_or_default().into(),
        given: parts("given").filter(|given| !given.is_empty()).map(Into::into).collect(),
        suffix: joined("suffix").into(),
        prefix: joined("prefix").into(),
        kind: to_v2(NAME_USES, json::text(value, "use")),
    };
    if name.is_empty() {
        // Some send the text alone: `Okafor, Ada` or `Ada Okafor`.
        let text = json::text(value, "text")?;
        let (family, given) = text.split_once(',').or_else(|| text.rsplit_once(' ').map(|(g, f)| (f, g)))?;
        let given: Vec<_> = given.split_whitespace().collect();
        name = PersonName { kind: name.kind, ..PersonName::new(family, &given) };
    }
    Some(name).filter(|name| !name.is_empty())
}

fn address(value: &Value) -> Address {
    let part = |member: &str| json::text(value, member).unwrap_or_default().into();
    let mut kind = to_v2(ADDRESS_USES, json::text(value, "use"));
    if kind.is_empty() && json::text(value, "type") == Some("postal") {
        kind = SmolStr::new_static("M");
    }
    Address {
        lines: json::list(value, "line").iter().filter_map(Value::as_str).map(Into::into).collect(),
        city: part("city"),
        state: part("state"),
        postal_code: part("postalCode"),
        country: part("country"),
        county: part("district"),
        kind,
    }
}

fn telecom(value: &Value) -> Option<Telecom> {
    let full = json::text(value, "value")?;
    // The value is no URI by rule, but URIs are sent.
    let scheme = full.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let (from_scheme, bare) = match scheme.as_deref() {
        Some("tel") => (Some(TelecomSystem::Phone), &full[4..]),
        Some("fax") => (Some(TelecomSystem::Fax), &full[4..]),
        Some("mailto") => (Some(TelecomSystem::Email), &full[7..]),
        _ => (None, full),
    };
    let system = match json::text(value, "system") {
        Some("phone" | "sms") => TelecomSystem::Phone,
        Some("fax") => TelecomSystem::Fax,
        Some("email") => TelecomSystem::Email,
        Some(_) => TelecomSystem::Other,
        None => from_scheme.unwrap_or(if full.contains('@') { TelecomSystem::Email } else { TelecomSystem::Phone }),
    };
    Some(Telecom { system, value: bare.trim().into(), usage: to_v2(TELECOM_USES, json::text(value, "use")) })
        .filter(|telecom| !telecom.value.is_empty())
}

fn marital_status(value: &Value) -> Option<SmolStr> {
    let coding = json::list(value, "coding").iter().find(|coding| json::text(coding, "code").is_some())?;
    let code = json::text(coding, "code")?;
    let v2 = match json::text(coding, "system") {
        Some(MARITAL_V3 | "http://hl7.org/fhir/v3/MaritalStatus" | "urn:oid:2.16.840.1.113883.5.2") => {
            MARITAL.iter().find(|(_, v3)| *v3 == code).map_or(code, |(v2, _)| v2)
        }
        Some(NULL_FLAVOR) => "U",
        _ => code,
    };
    Some(v2.into())
}

fn write_marital_status(v2: &str) -> Value {
    let (system, code) = match MARITAL.iter().find(|(own, _)| *own == v2) {
        Some((_, v3)) => (MARITAL_V3, *v3),
        None if SAME_MARITAL.contains(&v2) => (MARITAL_V3, v2),
        None if v2 == "U" => (NULL_FLAVOR, "UNK"),
        None => (MARITAL_V2, v2),
    };
    Builder::new().with("coding", vec![Builder::new().with("system", system).with("code", code).build()]).build()
}

/// The preferred language, else the first.
fn language(resource: &Value) -> Option<SmolStr> {
    let all = json::list(resource, "communication");
    let preferred = all.iter().find(|one| one.get("preferred").and_then(Value::as_bool) == Some(true));
    let language = preferred.or(all.first())?.get("language")?;
    json::list(language, "coding").iter().find_map(|coding| json::text(coding, "code")).map(Into::into)
}

/// US Core race or ethnicity: the category, else the details, else the text.
fn category(resource: &Value, url: &str) -> Option<SmolStr> {
    let one = extension(resource, url)?;
    let code = ["ombCategory", "detailed"].into_iter().find_map(|part| extension(one, part)?.get("valueCoding"));
    let code = code.and_then(|coding| json::text(coding, "code"));
    code.or_else(|| json::text(extension(one, "text")?, "valueString")).map(Into::into)
}

/// A code of the CDC's list is told as a code, anything else as the text it is.
fn write_category(url: &str, code: &str) -> Value {
    let mut parts = Vec::new();
    let categories = ["1002-5", "2028-9", "2054-5", "2076-8", "2106-3", "2135-2", "2186-5"];
    let is_code = code.len() == 6 && code.as_bytes()[4] == b'-' && code.bytes().filter(u8::is_ascii_digit).count() == 5;
    if is_code {
        let part = if categories.contains(&code) { "ombCategory" } else { "detailed" };
        let coding = Builder::new().with("system", RACE_CODES).with("code", code);
        parts.push(write_extension(part, "valueCoding", coding));
    }
    parts.push(write_extension("text", "valueString", code));
    Builder::new().with("url", url).with("extension", parts).build()
}

fn write_demographics(patient: &mut Builder, person: &Demographics) {
    patient.set("name", person.names.iter().filter(|name| !name.is_empty()).map(write_name).collect::<Vec<_>>());
    patient.set("telecom", person.telecoms.iter().map(write_telecom).collect::<Vec<_>>());
    patient.set_if("gender", person.gender.map(Gender::fhir));
    if let Some(birth) = &person.birth {
        patient.set("birthDate", birth.iso_date());
        if birth.as_str().len() > 8 {
            let time = write_extension(BIRTH_TIME, "valueDateTime", date_time(birth));
            patient.set("_birthDate", Builder::new().with("extension", vec![time]));
        }
    }
    match (&person.death, person.deceased) {
        (Some(death), _) => patient.set("deceasedDateTime", date_time(death)),
        (None, deceased) => patient.set_if("deceasedBoolean", deceased),
    }
    let addresses = person.addresses.iter().filter(|address| !address.is_empty());
    patient.set("address", addresses.map(write_address).collect::<Vec<_>>());
    patient.set_if("maritalStatus", person.marital_status.as_deref().map(write_marital_status));
    match person.multiple_birth {
        Some(MultipleBirth { multiple: true, order: Some(order) }) => patient.set("multipleBirthInteger", order),
        Some(MultipleBirth { multiple, .. }) => patient.set("multipleBirthBoolean", multiple),
        None => {}
    }
    if let Some(language) = &person.language {
        let coding = Builder::new().with("system", LANGUAGES).with("code", language.as_str());
        let language = Builder::new().with("coding", vec![coding.build()]);
        patient.set("communication", vec![Builder::new().with("language", language).with("preferred", true).build()]);
    }
    write_extensions(patient, person);
}

fn write_extensions(patient: &mut Builder, person: &Demographics) {
    if let Some(name) = person.mothers_maiden_name.as_ref().filter(|name| !name.family.is_empty()) {
        patient.push("extension", write_extension(MOTHERS_MAIDEN_NAME, "valueString", name.family.as_str()));
    }
    if let Some(place) = &person.birth_place {
        let address = Builder::new().with("text", place.as_str());
        patient.push("extension", write_extension(BIRTH_PLACE, "valueAddress", address));
    }
    for (url, code) in [(US_RACE, &person.race), (US_ETHNICITY, &person.ethnicity)] {
        if let Some(code) = code.as_deref().filter(|code| !code.is_empty()) {
            patient.push("extension", write_category(url, code));
        }
    }
}

fn texts(parts: &[SmolStr]) -> Vec<Value> {
    parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).map(Value::from).collect()
}

fn write_name(name: &PersonName) -> Value {
    Builder::new()
        .with_if("use", from_v2(NAME_USES, &name.kind))
        .with("family", name.family.as_str())
        .with("given", texts(&name.given))
        .with("prefix", texts(std::slice::from_ref(&name.prefix)))
        .with("suffix", texts(std::slice::from_ref(&name.suffix)))
        .build()
}

fn write_address(address: &Address) -> Value {
    Builder::new()
        .with_if("use", from_v2(ADDRESS_USES, &address.kind))
        .with_if("type", (address.kind == "M").then_some("postal"))
        .with("line", texts(&address.lines))
        .with("city", address.city.as_str())
        .with("district", address.county.as_str())
        .with("state", address.state.as_str())
        .with("postalCode", address.postal_code.as_str())
        .with("country", address.country.as_str())
        .build()
}

fn write_telecom(telecom: &Telecom) -> Value {
    let system = match telecom.system {
        TelecomSystem::Phone => "phone",
        TelecomSystem::Fax => "fax",
        TelecomSystem::Email => "email",
        TelecomSystem::Other => "other",
    };
    Builder::new()
        .with("system", system)
        .with("value", telecom.value.as_str())
        .with_if("use", from_v2(TELECOM_USES, &telecom.usage))
        .build()
}

fn to_v2(table: &[(&'static str, &str)], usage: Option<&str>) -> SmolStr {
    let row = usage.and_then(|usage| table.iter().find(|(_, fhir)| *fhir == usage));
    row.map(|(v2, _)| v2.to_smolstr()).unwrap_or_default()
}

fn from_v2(table: &[(&str, &'static str)], code: &str) -> Option<&'static str> {
    table.iter().find(|(v2, _)| *v2 == code).map(|(_, fhir)| *fhir)
}

#[cfg(test)]
mod tests;
