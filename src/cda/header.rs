//! The header of a clinical document (CDA R2, US Realm Header of C-CDA).
//!
//! Reading is lenient: what is missing or malformed is absent here and named by [`super::check_required`].

use smol_str::SmolStr;

pub use super::scan::Body;
use super::template::{self, DocumentType, Release};
use super::{CdaError, Limits, Missing, required, scan};
use crate::hl7v3::datatype::{Ii, read_address, read_bool, read_code, read_name, read_telecom, read_time};
use crate::hl7v3::{child, children, find};
use crate::id::patient::MultipleBirth;
use crate::id::{Code, Demographics, DocumentUniqueId, Dtm, Gender, PatientId, PersonName};
use crate::xml::{self, Element, ns};

/// What a document says of itself. `Debug` prints nothing of the patient.
#[derive(Clone)]
pub struct Header {
    /// The document's own identifier.
    pub id: Option<Ii>,
    /// The set of versions this document belongs to.
    pub set_id: Option<Ii>,
    /// The number of this version.
    pub version: Option<SmolStr>,
    /// The kind of document, mostly a LOINC code.
    pub code: Option<Code>,
    /// Title for people.
    pub title: Option<String>,
    /// When the document was made.
    pub effective_time: Option<Dtm>,
    /// How confidential the document is.
    pub confidentiality: Option<Code>,
    /// RFC 5646.
    pub language: Option<SmolStr>,
    /// The templates that the document claims to follow.
    pub templates: Vec<Ii>,
    /// Identifiers of the patient whose root is an OID and that have an extension.
    pub patient_ids: Vec<PatientId>,
    /// The patient.
    pub patient: Demographics,
    /// How many patients the document is about; more than one is allowed and rare, and only the first is read.
    pub patients: usize,
    /// Who wrote it.
    pub authors: Vec<Author>,
    /// Who keeps it.
    pub custodian: Option<Organization>,
    /// Who signed for it.
    pub legal_authenticator: Option<Author>,
    /// The documented service's time, for `serviceStartTime` and `serviceStopTime`.
    pub service: Option<Period>,
    /// The encounter's time.
    pub encounter: Option<Period>,
    /// What follows the header.
    pub body: Body,
    pub(super) missing: Vec<Missing>,
}

/// A person or device that wrote or signed, and for whom.
#[derive(Clone, Default)]
pub struct Author {
    /// Identifiers, for instance an NPI.
    pub ids: Vec<Ii>,
    /// The person.
    pub name: Option<PersonName>,
    /// The device or program, where it was no person.
    pub device: Option<SmolStr>,
    /// The organisation they wrote for.
    pub organization: Option<Organization>,
    /// When.
    pub time: Option<Dtm>,
}

impl std::fmt::Debug for Author {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Author(…)")
    }
}

/// An organisation.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Organization {
    /// Its name; may be empty.
    pub name: SmolStr,
    /// Its identifiers.
    pub ids: Vec<Ii>,
}

/// From when to when; either end may be unknown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Period {
    /// The first instant.
    pub start: Option<Dtm>,
    /// The last instant.
    pub stop: Option<Dtm>,
}

/// Reads a document's header. The cost is that of the header, however long the body is.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Header, CdaError> {
    let (text, body) = scan::header(bytes, limits)?;
    let tree = xml::parse(&text, &xml::Limits { bytes: text.len(), depth: limits.depth })?;
    let root = tree.root()?;
    if root.is(ns::HL7V3, "ClinicalDocument") { Ok(Header::of(root, body)) } else { Err(CdaError::NotCda) }
}

impl Header {
    /// The header of a document that is parsed already.
    pub(super) fn of(root: Element<'_>, body: Body) -> Self {
        let role = find(root, &["recordTarget", "patientRole"]);
        let service = find(root, &["documentationOf", "serviceEvent", "effectiveTime"]);
        let encounter = find(root, &["componentOf", "encompassingEncounter", "effectiveTime"]);
        let custodian = find(root, &["custodian", "assignedCustodian", "representedCustodianOrganization"]);
        Self {
            id: child(root, "id").and_then(Ii::read),
            set_id: child(root, "setId").and_then(Ii::read),
            version: child(root, "versionNumber").and_then(|version| version.attribute("value")).map(SmolStr::from),
            code: child(root, "code").and_then(coded),
            title: child(root, "title").map(|title| collapse(&title.text())).filter(|title| !title.is_empty()),
            effective_time: child(root, "effectiveTime").and_then(read_time),
            confidentiality: child(root, "confidentialityCode").and_then(coded),
            language: child(root, "languageCode").and_then(read_code),
            templates: children(root, "templateId").filter_map(Ii::read).collect(),
            patient_ids: role.map(patient_ids).unwrap_or_default(),
            patient: role.map(demographics).unwrap_or_default(),
            patients: children(root, "recordTarget").count(),
            authors: children(root, "author").filter_map(|author| participant(author, "assignedAuthor")).collect(),
            custodian: custodian.map(organization),
            legal_authenticator: child(root, "legalAuthenticator").and_then(|one| participant(one, "assignedEntity")),
            service: service.map(period),
            encounter: encounter.map(period),
            body,
            missing: required::missing(root),
        }
    }

    /// The first C-CDA template that names a type of document.
    pub fn document_type(&self) -> Option<DocumentType> {
        self.templates.iter().find_map(|template| DocumentType::from_root(&template.root))
    }

    /// The release of C-CDA that the document follows; none if it is no C-CDA.
    pub fn release(&self) -> Option<Release> {
        template::release(&self.templates)
    }

    /// `DocumentEntry.formatCode`; none for a document that is no C-CDA or has no body.
    pub fn format_code(&self) -> Option<Code> {
        template::format_code(self.release()?, self.body)
    }

    /// `DocumentEntry.uniqueId` of a CDA: the root alone, or root and extension with a circumflex
    /// (IHE PCC TF-2: 4.1.1). None if the document has no root or the text is too long.
    pub fn unique_id(&self) -> Option<DocumentUniqueId> {
        let id = self.id.as_ref().filter(|id| !id.root.is_empty())?;
        let text = match id.extension.as_str() {
            "" => id.root.to_string(),
            extension => [&id.root, "^", extension].concat(),
        };
        DocumentUniqueId::new(&text).ok()
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header")
            .field("code", &self.code.as_ref().map(|code| &code.code))
            .field("type", &self.document_type())
            .field("release", &self.release())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// Root and extension as identifiers of patients; those without an OID or an extension name nobody.
fn patient_ids(role: Element<'_>) -> Vec<PatientId> {
    children(role, "id").filter_map(|id| Ii::read(id)?.patient_id().ok()).collect()
}

fn demographics(role: Element<'_>) -> Demographics {
    let mut found = Demographics {
        addresses: children(role, "addr").map(read_address).filter(|address| !address.is_empty()).collect(),
        telecoms: children(role, "telecom").filter_map(read_telecom).collect(),
        ..Demographics::default()
    };
    let Some(patient) = child(role, "patient") else { return found };
    // `sdtc:raceCode` has the local name of the first race code and follows it.
    let code = |name| child(patient, name).filter(|code| code.attribute("nullFlavor").is_none()).and_then(read_code);
    let order = child(patient, "multipleBirthOrderNumber").and_then(|one| one.attribute("value")?.trim().parse().ok());
    found.names = children(patient, "name").map(read_name).filter(|name| !name.is_empty()).collect();
    found.gender = code("administrativeGenderCode").and_then(|code| Gender::from_wire(&code));
    found.birth = child(patient, "birthTime").and_then(read_time);
    found.birth_place = find(patient, &["birthplace", "place", "name"]).map(text).filter(|name| !name.is_empty());
    found.multiple_birth = match (child(patient, "multipleBirthInd").and_then(read_bool), order) {
        (None, None) => None,
        (multiple, order) => Some(MultipleBirth { multiple: multiple.unwrap_or(true), order }),
    };
    found.deceased = child(patient, "deceasedInd").and_then(read_bool);
    found.death = child(patient, "deceasedTime").and_then(read_time);
    found.marital_status = code("maritalStatusCode");
    found.language = find(patient, &["languageCommunication", "languageCode"]).and_then(read_code);
    found.race = code("raceCode");
    found.ethnicity = code("ethnicGroupCode");
    found
}

fn participant(element: Element<'_>, assigned: &str) -> Option<Author> {
    let assigned = child(element, assigned)?;
    let device = child(assigned, "assignedAuthoringDevice");
    let device = device.and_then(|device| child(device, "softwareName").or(child(device, "manufacturerModelName")));
    Some(Author {
        ids: children(assigned, "id").filter_map(Ii::read).collect(),
        name: find(assigned, &["assignedPerson", "name"]).map(read_name).filter(|name| !name.is_empty()),
        device: device.map(text).filter(|name| !name.is_empty()),
        organization: child(assigned, "representedOrganization").map(organization),
        time: child(element, "time").and_then(read_time),
    })
}

fn organization(element: Element<'_>) -> Organization {
    Organization {
        name: child(element, "name").map(text).unwrap_or_default(),
        ids: children(element, "id").filter_map(Ii::read).collect(),
    }
}

/// IVL_TS; a single value is its own start and stop.
fn period(element: Element<'_>) -> Period {
    let bound = |name| child(element, name).and_then(read_time);
    let point = element.attribute("value").and_then(|value| Dtm::lenient(value).ok());
    Period { start: bound("low").or_else(|| point.clone()), stop: bound("high").or(point) }
}

/// CE with its display name; none where a null flavour stands for the code.
fn coded(element: Element<'_>) -> Option<Code> {
    let attribute = |name| element.attribute(name).unwrap_or_default().trim();
    let code = attribute("code");
    (!code.is_empty()).then(|| Code::new(code, attribute("codeSystem"), attribute("displayName")))
}

fn text(element: Element<'_>) -> SmolStr {
    collapse(&element.text()).into()
}

/// Text on one line: documents break titles and names for their own looks.
pub(super) fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
