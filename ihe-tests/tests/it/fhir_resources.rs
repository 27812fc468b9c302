//! What we write in FHIR under judges that others wrote: the JSON schema of R4 and the Python package
//! `fhir.resources`. Where they are missing the test says so.

use causeway::fhir::bundle::{Entry, Grade};
use causeway::fhir::mhd::{self, Document, Provide};
use causeway::fhir::pdqm::{Candidate, MatchRequest, MatchResponse};
use causeway::fhir::resource::{Patient, Reference};
use causeway::fhir::{Bundle, Refusal, capability, pixm, xml};
use causeway::id::patient::{MultipleBirth, TelecomSystem};
use causeway::id::{
    Address, AssigningAuthority, Code, Demographics, DocumentUniqueId, Domain, Domains, EntryUuid, Gender, PatientId,
    PersonName, Telecom, Timestamp, TraceId,
};
use causeway::metadata::{
    Association, AssociationKind, Author, Availability, Cx, DocumentEntry, DocumentKind, Folder, Membership,
    ReferenceId, SourcePatientInfo, Submission, SubmissionSet, Xcn, Xon, Xtn,
};
use ihe_tests::harness::fhir::judge;
use serde_json::Value;

fn domains() -> Domains {
    let authority = AssigningAuthority::new("2.999.10", "ISO").unwrap();
    Domains::new(vec![Domain { namespace: "NORTH".into(), authority }])
}

fn id(cx: &str) -> PatientId {
    PatientId::from_cx(cx).unwrap()
}

fn patient() -> Patient {
    let person = Demographics {
        names: vec![
            PersonName { prefix: "Dr".into(), kind: "L".into(), ..PersonName::new("Okafor", &["Ada", "Bea"]) },
            PersonName { kind: "M".into(), ..PersonName::new("Eze", &["Ada"]) },
        ],
        gender: Some(Gender::Female),
        birth: Some("198703121430".parse().unwrap()),
        addresses: vec![Address {
            lines: vec!["12 Elm St".into()],
            city: "Salem".into(),
            state: "OR".into(),
            postal_code: "07301".into(),
            kind: "H".into(),
            ..Address::default()
        }],
        telecoms: vec![Telecom { system: TelecomSystem::Phone, value: "+15035550100".into(), usage: "PRS".into() }],
        mothers_maiden_name: Some(PersonName::new("Obi", &[])),
        other_ids: vec![id("219-09-9999^^^&2.16.840.1.113883.4.1&ISO")],
        account: Some(id("A-1^^^&2.999.77&ISO")),
        birth_place: Some("Salem".into()),
        multiple_birth: Some(MultipleBirth { multiple: true, order: Some(2) }),
        death: Some("2026".parse().unwrap()),
        marital_status: Some("A".into()),
        language: Some("es".into()),
        race: Some("2106-3".into()),
        ethnicity: Some("other".into()),
        ..Demographics::default()
    };
    let mut patient = Patient::new(person, &[id("N-44^^^&2.999.10&ISO")], Some(&domains()));
    patient.id = Some("77".into());
    patient
}

fn entry() -> DocumentEntry {
    let code = |text: &str| Some(Code::new(text, "2.999.6", text));
    let unique_id = DocumentUniqueId::new("2.999.9.1").unwrap();
    let mut entry = DocumentEntry::new(EntryUuid::random(), DocumentKind::Stable, unique_id, "text/plain");
    entry.home = Some("urn:oid:2.999.1".parse().unwrap());
    entry.availability = Some(Availability::Approved);
    entry.source_patient_id = Some(Cx::from(&id("N-44^^^&2.999.10&ISO")));
    entry.source_patient_info =
        SourcePatientInfo::from_wire(vec!["PID-5|Okafor^Ada".into(), "PID-7|19870312".into(), "PID-8|F".into()]);
    entry.creation_time = Some("20260115143000".parse().unwrap());
    entry.service_start = Some("2026".parse().unwrap());
    entry.language = Some("en-US".into());
    entry.class_code = code("class");
    entry.type_code = Some(Code::new("34133-9", "2.16.840.1.113883.6.1", ""));
    entry.format_code = code("format");
    entry.facility_type = code("facility");
    entry.practice_setting = code("setting");
    entry.confidentiality = code("N").into_iter().collect();
    entry.event_codes = code("event").into_iter().collect();
    entry.authors = vec![author()];
    entry.legal_authenticator = Some(Xcn::new(None, &PersonName::new("Lee", &["Kim"])));
    let reference = "E1^^^&2.999.7&ISO^urn:ihe:iti:xds:2015:encounterId";
    entry.reference_ids = [reference, "A1^^^&2.999.7&ISO^urn:ihe:iti:xds:2013:accession"]
        .into_iter()
        .filter_map(ReferenceId::from_wire)
        .collect();
    entry.title = Some("Summary <1>".into());
    entry.comments = Some("A comment".into());
    entry
}

fn author() -> Author {
    Author {
        person: Some(Xcn::new(Some(&id("1234567893^^^&2.16.840.1.113883.4.6&ISO")), &PersonName::new("Lee", &["Kim"]))),
        institutions: vec![Xon::new("Clinic", Some(&"2.999.30".parse().unwrap()))],
        roles: vec!["attending".into()],
        specialties: vec!["X^^^&2.999.6&ISO".into()],
        telecoms: vec![Xtn::email("kim@clinic.example")],
    }
}

fn provided() -> Value {
    let entry = entry();
    let mut set = SubmissionSet::new(EntryUuid::random(), DocumentUniqueId::new("2.999.9.2").unwrap());
    set.source_id = Some("2.999.3".into());
    set.submission_time = Some("20260115160000".parse().unwrap());
    set.content_type = Some(Code::new("content", "2.999.6", ""));
    set.authors = vec![author()];
    set.intended_recipients = vec!["Other Clinic|^Obi^Bea|^^Internet^bea@other.example".into()];
    set.comments = Some("Sent today".into());
    let mut folder = Folder::new(EntryUuid::random(), DocumentUniqueId::new("2.999.9.3").unwrap());
    folder.availability = Some(Availability::Deprecated);
    folder.codes = vec![Code::new("a", "2.999.6", "")];
    folder.title = Some("A folder".into());
    let has = |source: &causeway::metadata::ObjectId, target: &causeway::metadata::ObjectId| {
        let kind = AssociationKind::HasMember;
        let mut one = Association::new(EntryUuid::random(), kind, source.clone(), target.clone());
        one.membership = Some(Membership::Original);
        one
    };
    let replaced = EntryUuid::random().into();
    let replace = Association::new(EntryUuid::random(), AssociationKind::Replace, entry.id.clone(), replaced);
    let associations = vec![has(&set.id, &entry.id), has(&set.id, &folder.id), has(&folder.id, &entry.id), replace];
    let document =
        Document { entry: entry.id.clone(), mime_type: "text/plain".into(), bytes: b"hello".to_vec().into() };
    let submission = Submission { set, entries: vec![entry], folders: vec![folder], associations };
    Provide::encode(&submission, &[document], &Reference::to("https://gw.example/fhir/Patient/77")).encode()
}

fn written() -> Vec<Value> {
    let all = ["ITI-65", "ITI-66", "ITI-67", "ITI-68", "ITI-78", "ITI-83", "ITI-104", "ITI-105", "ITI-119"];
    let found = pixm::Response {
        identifiers: vec![id("N-44^^^&2.999.10&ISO")],
        references: vec!["https://gw.example/fhir/Patient/77".into()],
    };
    let url = "https://gw.example/fhir/Patient/77";
    let candidate =
        Candidate { full_url: url.into(), patient: patient(), score: 0.97, grade: Grade::Certain, person: "1".into() };
    let outcome = Refusal::Missing("birthDate".into()).outcome();
    let request = MatchRequest { patient: patient(), only_certain: true, count: Some(3) };
    let search = Bundle::searchset(
        "https://gw.example/fhir/Patient?family=x",
        None,
        1,
        vec![Entry::found(url, patient().encode())],
    );
    let provided = provided();
    let response = Provide::decode(&provided).unwrap().response(|kind, _| format!("{kind}/1/_history/1").into());
    let reference = Reference::to("Patient/77");
    let url = "https://gw.example/fhir/Binary/x";
    let shown = mhd::Shown { id: "9", subject: &reference, url, relations: &[] };
    vec![
        patient().encode(),
        found.encode(&domains()),
        pixm::Response::default().encode(&domains()),
        Refusal::TargetSystemUnknown.body(TraceId::new()),
        Refusal::FhirDocument.body(TraceId::new()),
        MatchResponse::of(vec![candidate], Some(outcome)).encode(),
        MatchResponse::default().encode(),
        request.encode(),
        search.encode(),
        provided,
        response.encode(),
        mhd::document_reference(&entry(), &shown),
        capability::statement(&all, "https://gw.example/fhir", Timestamp::from_millis(1_795_000_000_000)),
    ]
}

/// Every resource that we write is one of R4, and stays one on the way through XML.
#[test]
fn what_we_write_is_valid_fhir() {
    let resources = written();
    let through_xml = resources.iter().map(|resource| {
        let text = xml::write(resource).unwrap();
        xml::read(text.as_bytes(), &causeway::xml::Limits::default()).unwrap()
    });
    let all: Vec<Value> = resources.iter().cloned().chain(through_xml).collect();
    judge(&all);
}
