//! Parts that resources share: identifiers, references, codes, dates, and the Patient.

mod patient;

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

pub use patient::{Link, LinkKind, Patient};

use super::json::{self, Builder};
use crate::id::{AssigningAuthority, Code, Domains, Dtm, Oid, PatientId};

/// `Identifier.system` of an identifier that is itself a URI.
pub const URI_SYSTEM: &str = "urn:ietf:rfc:3986";

/// Systems that have both an OID and a URL of HL7's. The first URL of an OID is the one written.
const SYSTEMS: &[(&str, &str)] = &[
    ("2.16.840.1.113883.4.1", "http://hl7.org/fhir/sid/us-ssn"),
    ("2.16.840.1.113883.4.6", "http://hl7.org/fhir/sid/us-npi"),
    ("2.16.840.1.113883.4.572", "http://hl7.org/fhir/sid/us-medicare"),
    ("2.16.840.1.113883.4.927", "http://hl7.org/fhir/sid/us-mbi"),
    ("2.16.840.1.113883.6.1", "http://loinc.org"),
    ("2.16.840.1.113883.6.96", "http://snomed.info/sct"),
    ("2.16.840.1.113883.6.101", "http://nucc.org/provider-taxonomy"),
    ("2.16.840.1.113883.6.90", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("2.16.840.1.113883.6.88", "http://www.nlm.nih.gov/research/umls/rxnorm"),
    ("2.16.840.1.113883.6.12", "http://www.ama-assn.org/go/cpt"),
    ("2.16.840.1.113883.5.25", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"),
    ("2.16.840.1.113883.5.8", "http://terminology.hl7.org/CodeSystem/v3-ActReason"),
    ("1.2.840.10008.2.16.4", "http://dicom.nema.org/resources/ontology/DCM"),
    ("1.3.6.1.4.1.19376.1.2.3", "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"),
    ("1.3.6.1.4.1.19376.1.2.3", "http://profiles.ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"),
];

/// The OID of a system (`urn:oid:`, a URL that has one, a bare OID as some senders write it); else the system itself.
pub fn scheme_of(system: &str) -> SmolStr {
    let system = system.trim();
    if let Some((oid, _)) = SYSTEMS.iter().find(|(_, url)| *url == system) {
        return SmolStr::new_static(oid);
    }
    Oid::lenient(system).map_or_else(|_| system.into(), |oid| oid.as_str().into())
}

/// The URI of a scheme: the URL that HL7 gave it, `urn:oid:`, or the scheme itself if it can be a URI.
pub fn system_of(scheme: &str) -> Option<SmolStr> {
    let scheme = scheme.trim();
    if let Some((_, url)) = SYSTEMS.iter().find(|(oid, _)| *oid == scheme) {
        return Some(SmolStr::new_static(url));
    }
    if let Ok(oid) = Oid::lenient(scheme) {
        return Some(format_smolstr!("urn:oid:{oid}"));
    }
    (!scheme.is_empty() && !scheme.contains(char::is_whitespace)).then(|| scheme.into())
}

/// The authority that a system names (identifier mapping of ITI TF-2: Appendix E).
pub fn authority_of(system: &str) -> Option<AssigningAuthority> {
    let system = system.trim();
    let scheme = scheme_of(system);
    if let Ok(oid) = scheme.parse::<Oid>() {
        return Some(AssigningAuthority::iso(&oid));
    }
    match system.get(..9) {
        Some(prefix) if prefix.eq_ignore_ascii_case("urn:uuid:") => AssigningAuthority::new(&system[9..], "UUID").ok(),
        // Something that looked like an OID and is none names nobody.
        _ if system.to_ascii_lowercase().starts_with("urn:oid:") => None,
        _ => AssigningAuthority::new(system, "URI").ok(),
    }
}

/// The system of an authority; none for a local one, which has no URI.
pub fn system_of_authority(authority: &AssigningAuthority) -> Option<SmolStr> {
    match authority.kind() {
        "ISO" => system_of(authority.universal_id()),
        "UUID" => Some(format_smolstr!("urn:uuid:{}", authority.universal_id())),
        "URI" => Some(authority.universal_id().into()),
        _ => None,
    }
}

/// An Identifier.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Identifier {
    /// `system`, as received.
    pub system: Option<SmolStr>,
    /// `value`
    pub value: Option<SmolStr>,
    /// `use`: `usual`, `official`, `temp`, `secondary`, `old`.
    pub usage: Option<SmolStr>,
    /// `type`
    pub kind: Option<Code>,
    /// `assigner.display`
    pub assigner: Option<SmolStr>,
}

impl std::fmt::Debug for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identifier({:?})", self.system)
    }
}

impl Identifier {
    /// An identifier of a system.
    pub fn new(system: impl Into<SmolStr>, value: impl Into<SmolStr>) -> Self {
        Self { system: Some(system.into()), value: Some(value.into()), ..Self::default() }
    }

    /// A URI as an identifier.
    pub fn uri(value: impl Into<SmolStr>) -> Self {
        Self::new(URI_SYSTEM, value)
    }

    /// A patient identifier; with the name of its domain, where there are domains.
    pub fn of(id: &PatientId, domains: Option<&Domains>) -> Self {
        let domain = domains.and_then(|domains| domains.of(id.authority()));
        let system = system_of_authority(id.authority());
        let local = system.is_none().then(|| id.authority().universal_id().into());
        let assigner = domain.map(|domain| domain.namespace.clone()).filter(|name| !name.is_empty()).or(local);
        Self { system, value: Some(id.id().into()), assigner, ..Self::default() }
    }

    /// Reads an Identifier.
    pub fn decode(value: &Value) -> Self {
        let member = |name: &str| json::text(value, name).map(SmolStr::from);
        Self {
            system: member("system"),
            value: member("value"),
            usage: member("use"),
            kind: value.get("type").and_then(concept),
            assigner: value.get("assigner").and_then(|assigner| json::text(assigner, "display")).map(Into::into),
        }
    }

    /// The element.
    pub fn encode(&self) -> Value {
        let assigner = Builder::new().with_if("display", self.assigner.as_deref());
        Builder::new()
            .with_if("use", self.usage.as_deref())
            .with_if("type", self.kind.as_ref().map(write_concept))
            .with_if("system", self.system.as_deref())
            .with_if("value", self.value.as_deref())
            .with("assigner", assigner)
            .build()
    }

    /// The patient identifier. None without a system or a value, and when the system names no authority.
    pub fn patient_id(&self) -> Option<PatientId> {
        PatientId::new(self.value.as_deref()?, authority_of(self.system.as_deref()?)?).ok()
    }

    /// The code of the type.
    pub fn type_code(&self) -> &str {
        self.kind.as_ref().map(|kind| kind.code.as_str()).unwrap_or_default()
    }
}

/// A Reference.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Reference {
    /// A URL, absolute or relative, a `urn:uuid:`, or `#id` of a contained resource.
    pub reference: Option<SmolStr>,
    /// The logical reference.
    pub identifier: Option<Identifier>,
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reference(…)")
    }
}

impl Reference {
    /// A literal reference.
    pub fn to(reference: impl Into<SmolStr>) -> Self {
        Self { reference: Some(reference.into()), identifier: None }
    }

    /// Reads a Reference; none if it refers to nothing.
    pub fn decode(value: &Value) -> Option<Self> {
        let identifier = value.get("identifier").map(Identifier::decode).filter(|id| id.value.is_some());
        let reference = json::text(value, "reference").map(SmolStr::from);
        (identifier.is_some() || reference.is_some()).then_some(Self { reference, identifier })
    }

    /// The element.
    pub fn encode(&self) -> Value {
        Builder::new()
            .with_if("reference", self.reference.as_deref())
            .with_if("identifier", self.identifier.as_ref().map(Identifier::encode))
            .build()
    }

    /// The contained resource that is meant.
    pub fn contained<'r>(&self, resource: &'r Value) -> Option<&'r Value> {
        let id = self.reference.as_deref()?.strip_prefix('#')?;
        // Some write the hash into the id as well.
        json::list(resource, "contained")
            .iter()
            .find(|one| json::text(one, "id").is_some_and(|own| own.trim_start_matches('#') == id))
    }

    /// The logical id of a resource of a type: what follows `Patient/`.
    pub fn id_of(&self, kind: &str) -> Option<&str> {
        id_in(self.reference.as_deref()?, kind)
    }
}

/// The logical id in the URL of a resource of a type.
pub fn id_in<'u>(url: &'u str, kind: &str) -> Option<&'u str> {
    let mut segments = url.split('/').peekable();
    let mut found = None;
    while let Some(segment) = segments.next() {
        if segment == kind {
            found = segments.peek().copied();
        }
    }
    found.map(|id| id.split(['?', '#']).next().unwrap_or_default()).filter(|id| !id.is_empty())
}

/// A Coding as a code whose scheme is an OID where the system has one. None without a code.
pub fn coding(value: &Value) -> Option<Code> {
    let system = json::text(value, "system").map(scheme_of).unwrap_or_default();
    Some(Code::new(json::text(value, "code")?, system, json::text(value, "display").unwrap_or_default()))
}

/// The first coding of a CodeableConcept. Its text stands in for a display name.
pub fn concept(value: &Value) -> Option<Code> {
    let mut code = json::list(value, "coding").iter().find_map(coding)?;
    if code.display.is_empty() {
        code.display = json::text(value, "text").unwrap_or_default().into();
    }
    Some(code)
}

/// A Coding.
pub fn write_coding(code: &Code) -> Value {
    Builder::new()
        .with_if("system", system_of(&code.scheme).as_deref())
        .with("code", code.code.as_str())
        .with("display", code.display.as_str())
        .build()
}

/// A CodeableConcept.
pub fn write_concept(code: &Code) -> Value {
    Builder::new().with("coding", vec![write_coding(code)]).build()
}

/// A date, dateTime or instant.
pub fn date(value: &Value, name: &str) -> Option<Dtm> {
    Dtm::lenient(json::text(value, name)?).ok()
}

/// dateTime: a date as precise as it is known, or a time to the second with its zone, which FHIR wants of every time.
pub fn date_time(dtm: &Dtm) -> String {
    let digits = dtm.as_str();
    let part = |at: usize| digits.get(at..at + 2);
    match part(8) {
        None => dtm.iso_date(),
        Some(hour) => {
            format!("{}T{hour}:{}:{}Z", dtm.iso_date(), part(10).unwrap_or("00"), part(12).unwrap_or("00"))
        }
    }
}

/// An extension of a resource or element, by its URL.
pub fn extension<'v>(element: &'v Value, url: &str) -> Option<&'v Value> {
    extensions(element, url).next()
}

/// All extensions of a URL.
pub fn extensions<'v>(element: &'v Value, url: &str) -> impl Iterator<Item = &'v Value> {
    json::list(element, "extension").iter().filter(move |one| json::text(one, "url") == Some(url))
}

/// An extension with a value.
pub fn write_extension(url: &str, name: &str, value: impl Into<Value>) -> Value {
    Builder::new().with("url", url).with(name, value).build()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// CX.4.2 is `Identifier.system` (ITI TF-2: Appendix E).
    #[test]
    fn identifiers_of_every_form_name_their_authority() {
        for (system, cx) in [
            ("urn:oid:2.999.10", "N-44^^^&2.999.10&ISO"),
            ("URN:OID:2.999.10", "N-44^^^&2.999.10&ISO"),
            ("2.999.10", "N-44^^^&2.999.10&ISO"),
            ("http://hl7.org/fhir/sid/us-ssn", "N-44^^^&2.16.840.1.113883.4.1&ISO"),
            ("https://north.example/mrn", "N-44^^^&https://north.example/mrn&URI"),
            ("urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1", "N-44^^^&7edca82f-054d-47f2-a032-9b2a5b5186c1&UUID"),
        ] {
            let id = Identifier::new(system, " N-44 ").patient_id().unwrap();
            assert_eq!(id.to_cx(), cx, "{system}");
            assert_eq!(Identifier::of(&id, None).patient_id(), Some(id), "{system}");
        }
    }

    #[test]
    fn identifiers_that_could_match_by_accident_are_none() {
        for value in [
            json!({"value": "N-44"}),
            json!({"system": "urn:oid:2.999.10"}),
            json!({"system": "urn:oid:2.999.10", "value": " "}),
            json!({"system": "urn:oid:9.9", "value": "N-44"}),
            json!({"system": "", "value": "N-44"}),
        ] {
            assert_eq!(Identifier::decode(&value).patient_id(), None, "{value}");
        }
    }

    #[test]
    fn a_local_authority_is_an_assigner_without_a_system() {
        let id = PatientId::new("7", AssigningAuthority::new("WARD3", "L").unwrap()).unwrap();
        assert_eq!(Identifier::of(&id, None).encode(), json!({"value": "7", "assigner": {"display": "WARD3"}}));
    }

    #[test]
    fn systems_and_schemes_are_each_other() {
        for (system, scheme) in [
            ("http://loinc.org", "2.16.840.1.113883.6.1"),
            ("urn:oid:2.999.6", "2.999.6"),
            ("http://example.org/codes", "http://example.org/codes"),
        ] {
            assert_eq!((scheme_of(system), system_of(scheme)), (scheme.into(), Some(system.into())));
        }
        assert_eq!(
            scheme_of("http://profiles.ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"),
            "1.3.6.1.4.1.19376.1.2.3"
        );
        assert_eq!(system_of("Connect-a-thon classCodes"), None);
    }

    #[test]
    fn references_tell_the_resource() {
        for (url, id) in [
            ("Patient/7", Some("7")),
            ("https://x.example/Patient/fhir/Patient/7/_history/1", Some("7")),
            ("urn:uuid:7", None),
            ("Practitioner/7", None),
            ("Patient/", None),
        ] {
            assert_eq!(Reference::to(url).id_of("Patient"), id, "{url}");
        }
        let resource = json!({"contained": [{"resourceType": "Patient", "id": "p"}]});
        assert!(Reference::to("#p").contained(&resource).is_some());
        assert!(Reference::to("p").contained(&resource).is_none());
    }

    #[test]
    fn times_have_seconds_and_a_zone() {
        for (digits, text) in [
            ("2026", "2026"),
            ("202601", "2026-01"),
            ("20260115", "2026-01-15"),
            ("2026011514", "2026-01-15T14:00:00Z"),
            ("20260115143059", "2026-01-15T14:30:59Z"),
        ] {
            assert_eq!(date_time(&digits.parse().unwrap()), text);
        }
    }
}
