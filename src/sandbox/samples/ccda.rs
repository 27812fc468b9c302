//! C-CDA R2.1 documents of sample patients: the US Realm header and a few narrative sections, valid against CDA R2.

use super::{Finding, SampleRecord};
use crate::id::{Code, Timestamp};
use crate::xml::Writer;

const LOINC: &str = "2.16.840.1.113883.6.1";
const SNOMED: &str = "2.16.840.1.113883.6.96";
const RXNORM: &str = "2.16.840.1.113883.6.88";
const GENDER: &str = "2.16.840.1.113883.5.1";
const CONFIDENTIALITY: &str = "2.16.840.1.113883.5.25";
/// The version of the templates: C-CDA R2.1.
const VERSION: &str = "2015-08-01";

/// The kinds of document that the sandbox has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DocumentKind {
    /// Continuity of Care Document.
    Summary,
    /// Discharge Summary.
    Discharge,
    /// Progress Note.
    Progress,
}

impl DocumentKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Summary, Self::Discharge, Self::Progress];

    /// The LOINC document type, as `ClinicalDocument/code` and as `typeCode` in metadata.
    pub fn code(self) -> Code {
        match self {
            Self::Summary => Code::new("34133-9", LOINC, "Summarization of Episode Note"),
            Self::Discharge => Code::new("18842-5", LOINC, "Discharge summary"),
            Self::Progress => Code::new("11506-3", LOINC, "Progress note"),
        }
    }

    /// The title for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Summary => "Continuity of Care Document",
            Self::Discharge => "Discharge Summary",
            Self::Progress => "Progress Note",
        }
    }

    /// The document template.
    fn template(self) -> &'static str {
        match self {
            Self::Summary => "2.16.840.1.113883.10.20.22.1.2",
            Self::Discharge => "2.16.840.1.113883.10.20.22.1.8",
            Self::Progress => "2.16.840.1.113883.10.20.22.1.9",
        }
    }
}

/// A document about a patient by the facility that has the record. `id` is the OID of the document, its unique id in
/// metadata too; the same arguments always give the same bytes.
pub fn clinical_document(kind: DocumentKind, record: &SampleRecord, id: &str, at: Timestamp) -> String {
    let mut w = Writer::with_declaration();
    w.start("ClinicalDocument").attribute("xmlns", "urn:hl7-org:v3").attribute("xmlns:sdtc", "urn:hl7-org:sdtc");
    w.start("realmCode").attribute("code", "US").end();
    w.start("typeId").attribute("root", "2.16.840.1.113883.1.3").attribute("extension", "POCD_HD000040").end();
    template(&mut w, "2.16.840.1.113883.10.20.22.1.1", Some(VERSION));
    template(&mut w, kind.template(), Some(VERSION));
    w.start("id").attribute("root", id).end();
    code(&mut w, "code", &kind.code());
    w.leaf("title", kind.title());
    w.start("effectiveTime").attribute("value", &at.to_hl7()).end();
    code(&mut w, "confidentialityCode", &Code::new("N", CONFIDENTIALITY, "normal"));
    w.start("languageCode").attribute("code", "en-US").end();
    record_target(&mut w, record);
    author(&mut w, record, at);
    custodian(&mut w, record);
    care(&mut w, kind, at);
    w.start("component").start("structuredBody");
    for section in SECTIONS {
        write_section(&mut w, &section, record);
    }
    w.finish()
}

fn template(w: &mut Writer, root: &str, extension: Option<&str>) {
    w.start("templateId").attribute("root", root).attribute_if("extension", extension).end();
}

fn code(w: &mut Writer, element: &'static str, code: &Code) {
    w.start(element).attribute("code", &code.code).attribute("codeSystem", &code.scheme);
    w.attribute_if("displayName", Some(code.display.as_str()).filter(|display| !display.is_empty())).end();
}

fn record_target(w: &mut Writer, record: &SampleRecord) {
    let person = &record.demographics;
    w.start("recordTarget").start("patientRole");
    w.start("id").attribute("root", record.community.patient_domain()).attribute("extension", record.local_id).end();
    for address in &person.addresses {
        w.start("addr").attribute("use", "HP");
        for line in &address.lines {
            w.leaf("streetAddressLine", line);
        }
        w.leaf("city", &address.city).leaf("state", &address.state);
        w.leaf("postalCode", &address.postal_code).leaf("country", &address.country).end();
    }
    if person.telecoms.is_empty() {
        w.start("telecom").attribute("nullFlavor", "UNK").end();
    }
    for telecom in &person.telecoms {
        w.start("telecom").attribute("use", "HP").attribute("value", &format!("tel:{}", telecom.value)).end();
    }
    w.start("patient");
    for name in &person.names {
        w.start("name").attribute("use", "L");
        for given in &name.given {
            w.leaf("given", given);
        }
        w.leaf("family", &name.family).end();
    }
    if let Some(gender) = person.gender.and_then(|gender| gender.v3()) {
        code(w, "administrativeGenderCode", &Code::new(gender, GENDER, ""));
    }
    w.start("birthTime").attribute_if("value", person.birth.as_ref().map(|birth| birth.as_str())).end();
    if person.deceased == Some(true) {
        w.start("sdtc:deceasedInd").attribute("value", "true").end();
    }
    for element in ["raceCode", "ethnicGroupCode"] {
        w.start(element).attribute("nullFlavor", "UNK").end();
    }
    w.start("languageCommunication").start("languageCode").attribute("code", "en").end().end();
    w.end().end().end();
}

fn author(w: &mut Writer, record: &SampleRecord, at: Timestamp) {
    w.start("author").start("time").attribute("value", &at.to_hl7()).end().start("assignedAuthor");
    w.start("id").attribute("root", record.community.oid()).attribute("extension", "clinician-1").end();
    facility_address(w);
    w.start("telecom").attribute("use", "WP").attribute("value", "tel:+1-555-0100-199").end();
    w.start("assignedPerson").start("name").leaf("given", "Marlowe").leaf("family", "Quill").end().end();
    w.end().end();
}

fn custodian(w: &mut Writer, record: &SampleRecord) {
    w.start("custodian").start("assignedCustodian").start("representedCustodianOrganization");
    w.start("id").attribute("root", record.community.oid()).end();
    w.leaf("name", record.community.facility());
    w.start("telecom").attribute("use", "WP").attribute("value", "tel:+1-555-0100-199").end();
    facility_address(w);
    w.end().end().end();
}

fn facility_address(w: &mut Writer) {
    w.start("addr").attribute("use", "WP").leaf("streetAddressLine", "1 Clinic Square").leaf("city", "Fernhill");
    w.leaf("state", "OR").leaf("postalCode", "97001").leaf("country", "US").end();
}

/// The episode: a service event for a summary, the encounter for the notes, which require one.
fn care(w: &mut Writer, kind: DocumentKind, at: Timestamp) {
    match kind {
        DocumentKind::Summary => {
            w.start("documentationOf").start("serviceEvent").attribute("classCode", "PCPR");
            period(w, at);
            w.end().end();
        }
        DocumentKind::Discharge | DocumentKind::Progress => {
            w.start("componentOf").start("encompassingEncounter");
            w.start("id").attribute("root", "2.999.9.1").attribute("extension", "encounter-1").end();
            period(w, at);
            w.end().end();
        }
    }
}

fn period(w: &mut Writer, at: Timestamp) {
    const STAY: std::time::Duration = std::time::Duration::from_secs(3 * 24 * 3600);
    w.start("effectiveTime");
    w.start("low").attribute("value", &at.minus(STAY).to_hl7()).end();
    w.start("high").attribute("value", &at.to_hl7()).end().end();
}

/// A section with a table of findings.
struct Section {
    template: &'static str,
    code: &'static str,
    title: &'static str,
    column: &'static str,
    scheme: &'static str,
    rows: &'static [[&'static str; 3]],
}

const SECTIONS: [Section; 4] = [
    Section {
        template: "2.16.840.1.113883.10.20.22.2.6",
        code: "48765-2",
        title: "Allergies and adverse reactions",
        column: "Reaction",
        scheme: SNOMED,
        rows: &[
            ["91936005", "Allergy to penicillin", "Hives"],
            ["91935009", "Allergy to peanut", "Swelling of the lips"],
        ],
    },
    Section {
        template: "2.16.840.1.113883.10.20.22.2.1",
        code: "10160-0",
        title: "Medications",
        column: "Directions",
        scheme: RXNORM,
        rows: &[
            ["314076", "Lisinopril 10 MG Oral Tablet", "One in the morning"],
            ["860975", "Metformin 500 MG Oral Tablet", "One with meals"],
        ],
    },
    Section {
        template: "2.16.840.1.113883.10.20.22.2.5",
        code: "11450-4",
        title: "Problems",
        column: "Status",
        scheme: SNOMED,
        rows: &[["38341003", "Hypertensive disorder", "Active"], ["44054006", "Type 2 diabetes mellitus", "Active"]],
    },
    Section {
        template: "2.16.840.1.113883.10.20.22.2.3",
        code: "30954-2",
        title: "Results",
        column: "Value",
        scheme: LOINC,
        rows: &[
            ["4548-4", "Hemoglobin A1c", "6.9 %"],
            ["2345-7", "Glucose", "118 mg/dL"],
            ["2160-0", "Creatinine", "0.9 mg/dL"],
        ],
    },
];

impl Section {
    /// Which of the findings a person has: decided by the local id, so that charts differ and stay the same.
    fn findings(&self, record: &SampleRecord) -> Vec<Finding> {
        let seed = record.local_id.bytes().map(usize::from).sum::<usize>() + self.code.len();
        let skip = seed % self.rows.len();
        let finding =
            |row: &[&'static str; 3]| Finding { code: Code::new(row[0], self.scheme, row[1]), detail: row[2] };
        self.rows.iter().enumerate().filter(|(index, _)| *index != skip).map(|(_, row)| finding(row)).collect()
    }
}

fn write_section(w: &mut Writer, section: &Section, record: &SampleRecord) {
    w.start("component").start("section");
    template(w, section.template, Some(VERSION));
    code(w, "code", &Code::new(section.code, LOINC, section.title));
    w.leaf("title", section.title);
    w.start("text").start("table").attribute("border", "1");
    w.start("thead").start("tr");
    for heading in ["Finding", "Code", section.column] {
        w.leaf("th", heading);
    }
    w.end().end().start("tbody");
    for finding in section.findings(record) {
        w.start("tr").leaf("td", &finding.code.display).leaf("td", &finding.code.code).leaf("td", finding.detail).end();
    }
    w.end().end().end().end().end();
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sandbox::samples::patients;
    use crate::testing;
    use crate::xml::{self, Limits};

    fn at() -> Timestamp {
        Timestamp::from_rfc3339("2026-11-22T15:00:00Z").unwrap()
    }

    #[test]
    fn every_document_of_every_record_is_valid_cda() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (index, record) in patients().iter().flat_map(|patient| patient.records.clone()).enumerate() {
            for kind in DocumentKind::ALL {
                let text = clinical_document(kind, &record, "2.999.10.1", at());
                assert!(xml::parse(&text, &Limits::default()).is_ok());
                let file = folder.path().join(format!("{index}-{kind:?}.xml"));
                std::fs::write(&file, text).unwrap();
                files.push(file);
            }
        }
        let Some(shared) = testing::shared() else {
            println!("skipped: the shared corpus is absent, so documents were not validated");
            return;
        };
        let schema = shared.join("corpus/schema/cda/infrastructure/cda/CDA_SDTC.xsd");
        match Command::new("xmllint").args(["--nonet", "--noout", "--schema"]).arg(schema).args(files).output() {
            Err(_) => println!("skipped: xmllint is not installed, so documents were not validated"),
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// C-CDA R2.1: US Realm Header and the document's own template.
    #[test]
    fn a_document_names_its_templates_patient_and_facility() {
        let patients = patients();
        let record = &patients[0].records[0];
        for kind in DocumentKind::ALL {
            let text = clinical_document(kind, record, "2.999.10.7", at());
            for part in [
                "root=\"2.16.840.1.113883.10.20.22.1.1\" extension=\"2015-08-01\"",
                kind.template(),
                &kind.code().code,
                "root=\"2.999.1.1.1\" extension=\"H1001\"",
                "Causeway General Hospital",
                "<id root=\"2.999.10.7\"/>",
            ] {
                assert!(text.contains(part), "{kind:?} lacks {part}");
            }
            assert_eq!(text, clinical_document(kind, record, "2.999.10.7", at()));
        }
    }
}
