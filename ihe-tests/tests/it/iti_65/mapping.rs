//! MHD 3:4.5.1: what becomes of each attribute on the way to a registry and back.

use causeway::fhir::json;
use causeway::metadata::{Availability, DocumentEntry};
use causeway::xds::repository::PROVIDE_ACTION;
use ihe_tests::harness::Solo;
use ihe_tests::harness::samples::{self, Document};
use serde_json::Value;

use super::{Parcel, ada, provide, registered};
use crate::iti_83::{NORTH, PATIENTS, WORLD, register};

/// An attribute: its name, where it is in FHIR, what it is in the registry, and both values.
type Row = (&'static str, fn(&Value) -> Value, fn(&DocumentEntry) -> String, &'static str, &'static str);

fn contained<'v>(resource: &'v Value, reference: &Value) -> &'v Value {
    let id = reference["reference"].as_str().unwrap().trim_start_matches('#');
    json::list(resource, "contained").iter().find(|one| one["id"] == id).unwrap()
}

fn code(value: &Value) -> Value {
    let coding = &value["coding"][0];
    format!("{}|{}", coding["system"].as_str().unwrap(), coding["code"].as_str().unwrap()).into()
}

fn told(code: &Option<causeway::id::Code>) -> String {
    code.as_ref().map(|code| format!("{}|{}", code.scheme, code.code)).unwrap_or_default()
}

fn joined(codes: &[causeway::id::Code]) -> String {
    codes.iter().map(|code| code.code.to_string()).collect::<Vec<_>>().join("+")
}

fn all(list: &Value) -> Value {
    list.as_array()
        .unwrap()
        .iter()
        .map(|one| one["coding"][0]["code"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join("+")
        .into()
}

/// MHD 3:4.5.1, "XDS mapping", row by row.
const MAPPING: &[Row] = &[
    (
        "availabilityStatus",
        |r| r["status"].clone(),
        |e| format!("{:?}", e.availability.unwrap()),
        "current",
        "Approved",
    ),
    (
        "typeCode",
        |r| code(&r["type"]),
        |e| told(&e.type_code),
        "http://loinc.org|34133-9",
        "2.16.840.1.113883.6.1|34133-9",
    ),
    ("classCode", |r| code(&r["category"][0]), |e| told(&e.class_code), "urn:oid:2.999.6|class", "2.999.6|class"),
    (
        "author",
        |r| contained(r, &r["author"][0])["name"][0]["family"].clone(),
        |e| e.authors[0].person.as_ref().unwrap().as_str().to_owned(),
        "Nguyen",
        "^Nguyen^Kim^^^",
    ),
    (
        "legalAuthenticator",
        |r| contained(r, &r["authenticator"])["name"][0]["family"].clone(),
        |e| e.legal_authenticator.as_ref().unwrap().as_str().to_owned(),
        "Silva",
        "^Silva^Kim^^^",
    ),
    ("comments", |r| r["description"].clone(), |e| e.comments.clone().unwrap().into(), "A comment", "A comment"),
    ("confidentialityCode", |r| all(&r["securityLabel"]), |e| joined(&e.confidentiality), "N+R", "N+R"),
    (
        "mimeType",
        |r| r["content"][0]["attachment"]["contentType"].clone(),
        |e| e.mime_type.to_string(),
        "text/plain",
        "text/plain",
    ),
    (
        "languageCode",
        |r| r["content"][0]["attachment"]["language"].clone(),
        |e| e.language.clone().unwrap().into(),
        "en-US",
        "en-US",
    ),
    ("size", |r| r["content"][0]["attachment"]["size"].to_string().into(), |e| e.size.unwrap().to_string(), "5", "5"),
    (
        "hash",
        |r| r["content"][0]["attachment"]["hash"].clone(),
        |e| e.hash.clone().unwrap().into(),
        "qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
    ),
    (
        "title",
        |r| r["content"][0]["attachment"]["title"].clone(),
        |e| e.title.clone().unwrap().into(),
        "Sum\u{e9}mary <1>",
        "Sum\u{e9}mary <1>",
    ),
    (
        "creationTime",
        |r| r["content"][0]["attachment"]["creation"].clone(),
        |e| e.creation_time.clone().unwrap().as_str().to_owned(),
        "2026-01-15T14:30:00Z",
        "20260115143000",
    ),
    ("formatCode", |r| r["content"][0]["format"]["code"].clone(), |e| told(&e.format_code), "format", "2.999.6|format"),
    ("eventCodeList", |r| all(&r["context"]["event"]), |e| joined(&e.event_codes), "event", "event"),
    (
        "serviceStartTime",
        |r| r["context"]["period"]["start"].clone(),
        |e| e.service_start.clone().unwrap().as_str().to_owned(),
        "2026-01-14T08:00:00Z",
        "20260114080000",
    ),
    (
        "serviceStopTime",
        |r| r["context"]["period"]["end"].clone(),
        |e| e.service_stop.clone().unwrap().as_str().to_owned(),
        "2026-01-15T09:00:00Z",
        "20260115090000",
    ),
    (
        "healthcareFacilityTypeCode",
        |r| code(&r["context"]["facilityType"]),
        |e| told(&e.facility_type),
        "urn:oid:2.999.6|facility",
        "2.999.6|facility",
    ),
    (
        "practiceSettingCode",
        |r| code(&r["context"]["practiceSetting"]),
        |e| told(&e.practice_setting),
        "urn:oid:2.999.6|setting",
        "2.999.6|setting",
    ),
    (
        "sourcePatientId",
        |r| contained(r, &r["context"]["sourcePatientInfo"])["identifier"][0]["value"].clone(),
        |e| e.source_patient_id.as_ref().unwrap().as_str().to_owned(),
        "N-44",
        "N-44^^^&2.999.60.1&ISO",
    ),
    (
        "sourcePatientInfo",
        |r| contained(r, &r["context"]["sourcePatientInfo"])["birthDate"].clone(),
        |e| serde_json::to_string(&e.source_patient_info).unwrap().matches("PID-7|19870312").collect(),
        "1987-03-12",
        "PID-7|19870312",
    ),
    (
        "referenceIdList",
        |r| r["context"]["related"][0]["identifier"]["value"].clone(),
        |e| e.reference_ids[0].as_str().to_owned(),
        "A1",
        "A1^^^&2.999.7&ISO^urn:ihe:iti:xds:2013:accession",
    ),
    (
        "patientId",
        |r| r["subject"]["identifier"]["value"].clone(),
        |e| e.patient_id.as_ref().unwrap().to_cx(),
        "N-44",
        "N-44^^^&2.999.60.1&ISO",
    ),
];

/// One table from both sides: what is provided by ITI-65 is told by ITI-18, and by ITI-67 again as it was provided.
#[tokio::test]
async fn every_attribute_is_the_same_in_both_dialects() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    let mut parcel = Parcel::new("Comprehensive", &ada(), &["hello"]);
    let answer = provide(&fhir, &parcel).await;
    assert_eq!(answer.status, 200, "{}", answer.resource);
    let entries = registered(&solo, &[Availability::Approved]).await;
    assert_eq!(entries.len(), 1);
    let answer = fhir.get(&format!("DocumentReference?patient.identifier={NORTH}%7CN-44&status=current")).await;
    let found = answer.entries()[0].clone();
    let sent = parcel.document(0).clone();
    for (attribute, resource, entry, in_fhir, in_registry) in MAPPING {
        if !matches!(*attribute, "size" | "hash") {
            assert_eq!(resource(&sent), *in_fhir, "{attribute} as sent");
        }
        assert_eq!(entry(&entries[0]), *in_registry, "{attribute} in the registry");
        assert_eq!(resource(&found), *in_fhir, "{attribute} as found");
    }
    assert_eq!(entries[0].unique_id.as_str(), parcel.unique_ids[0]);
    assert_eq!(found["masterIdentifier"]["value"], format!("urn:oid:{}", parcel.unique_ids[0]));
    assert_eq!(found["date"], "2026-01-15T16:00:00Z", "the time of the submission");

    // And the other way: the same metadata by ITI-41, told by ITI-67.
    let mut again = entries[0].clone();
    (again.repository, again.availability, again.home, again.logical_id, again.version) = Default::default();
    let document = [Document::new("text/plain", b"hello")];
    let mut submission = samples::submission(again.patient_id.as_ref().unwrap(), &document);
    again.id = submission.entries[0].id.clone();
    again.unique_id = submission.entries[0].unique_id.clone();
    let unique_id = again.unique_id.to_string();
    submission.entries[0] = again;
    let letter = solo.letter("DocumentRepository", PROVIDE_ACTION, samples::provide(submission));
    let parts = samples::attachments(&document);
    let answer = solo.client.ask_mtom(solo.running.https, "/DocumentRepository", &letter, &parts).await;
    assert!(answer.envelope.contains("ResponseStatusType:Success"), "{}", answer.envelope);
    let answer = fhir.get(&format!("DocumentReference?identifier=urn:oid:{unique_id}")).await;
    let found = answer.entries()[0];
    for (attribute, resource, _, in_fhir, _) in MAPPING {
        assert_eq!(resource(found), *in_fhir, "{attribute} of ITI-41");
    }
    fhir.judge();
}
