use serde_json::json;

use super::*;
use crate::fhir::mhd::table::Row;
use crate::fhir::mhd::{document_reference, folder, list};
use crate::id::{Code, DocumentUniqueId, Oid, PersonName};
use crate::metadata::{
    Author, Availability, Cx, DocumentEntry, DocumentKind, Folder, ReferenceId, SourcePatientInfo, Xcn, Xon, Xtn,
};

fn patient() -> PatientId {
    PatientId::from_cx("N-44^^^&2.999.10&ISO").unwrap()
}

fn code(text: &str) -> Code {
    Code::new(text, "2.999.6", text)
}

fn author() -> Author {
    let npi = PatientId::from_cx("1234567893^^^&2.16.840.1.113883.4.6&ISO").unwrap();
    let oid: Oid = "2.999.30".parse().unwrap();
    Author {
        person: Some(Xcn::new(Some(&npi), &PersonName::new("O^Hara", &["Kim", "Lee"]))),
        institutions: vec![Xon::new("Salt & Pepper", Some(&oid))],
        roles: vec!["attending^^^&2.999.6&ISO".into()],
        specialties: vec!["cardiology".into()],
        telecoms: vec![Xtn::email("kim@clinic.example")],
    }
}

fn entry() -> DocumentEntry {
    let id = EntryUuid::from_bytes([7; 16]);
    let mut entry =
        DocumentEntry::new(id, DocumentKind::Stable, DocumentUniqueId::new("2.999.9.1").unwrap(), "text/plain");
    entry.home = Some("urn:oid:2.999.1".parse().unwrap());
    entry.availability = Some(Availability::Approved);
    entry.patient_id = Some(patient());
    entry.source_patient_id = Some(Cx::from(&patient()));
    entry.source_patient_info = SourcePatientInfo::from_wire(vec![
        "PID-3|N-44^^^&2.999.10&ISO".into(),
        "PID-5|Okafor^Ada".into(),
        "PID-7|19870312".into(),
        "PID-8|F".into(),
        "PID-11|12 Elm St^^Salem^OR^97301^US".into(),
    ]);
    entry.hash = Some("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d".into());
    entry.size = Some(5);
    entry.creation_time = Some("20260115143000".parse().unwrap());
    entry.service_start = Some("20260114".parse().unwrap());
    entry.service_stop = Some("20260115".parse().unwrap());
    entry.language = Some("en-US".into());
    entry.class_code = Some(code("class"));
    entry.type_code = Some(Code::new("34133-9", "2.16.840.1.113883.6.1", "Summary"));
    entry.format_code = Some(code("format"));
    entry.facility_type = Some(code("facility"));
    entry.practice_setting = Some(code("setting"));
    entry.confidentiality = vec![Code::new("N", "2.16.840.1.113883.5.25", "normal"), code("R")];
    entry.event_codes = vec![code("event")];
    entry.authors =
        vec![author(), Author { person: Some(Xcn::new(None, &PersonName::new("Obi", &["Bea"]))), ..Author::default() }];
    entry.legal_authenticator = Some(Xcn::new(None, &PersonName::new("Lee", &["Kim"])));
    entry.reference_ids = vec![
        ReferenceId::from_wire("E1^^^&2.999.7&ISO^urn:ihe:iti:xds:2015:encounterId").unwrap(),
        ReferenceId::from_wire("A1^^^&2.999.7&ISO^urn:ihe:iti:xds:2013:accession").unwrap(),
    ];
    entry.title = Some("Summary <1>".into());
    entry.comments = Some("A comment".into());
    entry
}

fn set() -> SubmissionSet {
    let mut set = SubmissionSet::new(EntryUuid::from_bytes([8; 16]), DocumentUniqueId::new("2.999.9.2").unwrap());
    set.home = Some("urn:oid:2.999.1".parse().unwrap());
    set.availability = Some(Availability::Approved);
    set.source_id = Some("2.999.3".into());
    set.patient_id = Some(patient());
    set.submission_time = Some("20260115160000".parse().unwrap());
    set.content_type = Some(code("content"));
    set.authors = vec![author()];
    set.intended_recipients = vec!["Other Clinic^^^^^^^^^2.999.31|^Obi^Bea^^^|^^Internet^bea@other.example".into()];
    set.title = Some("A submission".into());
    set.comments = Some("Sent today".into());
    set
}

fn folder_of() -> Folder {
    let mut folder = Folder::new(EntryUuid::from_bytes([9; 16]), DocumentUniqueId::new("2.999.9.3").unwrap());
    folder.home = Some("urn:oid:2.999.1".parse().unwrap());
    folder.availability = Some(Availability::Deprecated);
    folder.patient_id = Some(patient());
    folder.last_update = Some("20260115160000".parse().unwrap());
    folder.codes = vec![code("a"), code("b")];
    folder.title = Some("A folder".into());
    folder.comments = Some("Of this stay".into());
    folder
}

/// Every attribute with its value, so that a difference can be seen.
fn shape(metadata: &impl serde::Serialize) -> Value {
    serde_json::to_value(metadata).unwrap()
}

fn subject() -> Reference {
    Reference::to("https://gw.example/fhir/Patient/77")
}

fn present<T>(table: &[Row<T>], resource: &Value) {
    for row in table {
        assert!(row.is_in(resource), "{} is not written", row.attribute);
    }
}

/// MHD 3:4.5.1: every row of the mapping, from metadata to FHIR and back.
#[test]
fn document_entries_survive_the_mapping() {
    let entry = entry();
    let shown = document_reference::Shown { id: "d", subject: &subject(), url: "https://gw.example/x", relations: &[] };
    let resource = document_reference::document_reference(&entry, &shown);
    present(document_reference::TABLE, &resource);
    let mut read = document_reference::read(Scope { resource: &resource, bundle: None }, None).unwrap().entry;
    read.patient_id = Some(patient());
    assert_eq!(shape(&read), shape(&entry));
    assert_eq!(resource["type"]["coding"][0]["system"], "http://loinc.org");
    assert_eq!(resource["content"][0]["attachment"]["hash"], "qvTGHdzF6KLavt4PO0gs2a6pQ00=");
    assert_eq!(resource["masterIdentifier"]["value"], "urn:oid:2.999.9.1");
}

#[test]
fn submission_sets_and_folders_survive_the_mapping() {
    let members = [Reference::to("DocumentReference/d")];
    let resource = submission_set(&set(), "s", &subject(), &members);
    present(list::SUBMISSION_SET, &resource);
    let mut read = list::read_set(Scope { resource: &resource, bundle: None }, None).unwrap();
    read.patient_id = Some(patient());
    assert_eq!(shape(&read), shape(&set()));
    let resource = folder(&folder_of(), "f", &subject(), &members);
    present(list::FOLDER, &resource);
    assert_eq!(resource["status"], "retired", "a List has no status superseded");
    let mut read = list::read_folder(Scope { resource: &resource, bundle: None }, None).unwrap();
    read.patient_id = Some(patient());
    assert_eq!(shape(&read), shape(&folder_of()));
}

fn submission() -> Submission {
    let (entry, set, folder) = (entry(), set(), folder_of());
    let has = |source: &ObjectId, target: &ObjectId| {
        let kind = AssociationKind::HasMember;
        let mut association = Association::new(EntryUuid::random(), kind, source.clone(), target.clone());
        association.membership = Some(Membership::Original);
        association
    };
    let mut in_folder = has(&folder.id, &entry.id);
    in_folder.membership = None;
    let replaced = ObjectId::Uuid(EntryUuid::from_bytes([3; 16]));
    let replace = Association::new(EntryUuid::random(), AssociationKind::Replace, entry.id.clone(), replaced);
    let listed = has(&set.id, &in_folder.id);
    let associations = vec![has(&set.id, &entry.id), has(&set.id, &folder.id), in_folder, listed, replace];
    Submission { set, entries: vec![entry], folders: vec![folder], associations }
}

fn provided() -> Value {
    let submission = submission();
    let document = Document {
        entry: submission.entries[0].id.clone(),
        mime_type: "text/plain".into(),
        bytes: b"hello".to_vec().into(),
    };
    Provide::encode(&submission, &[document], &subject()).encode()
}

#[test]
fn a_submission_that_we_provide_is_the_one_that_is_received() {
    let provide = Provide::decode(&provided()).unwrap();
    assert_eq!((provide.metadata, provide.subject.as_ref()), (Metadata::Comprehensive, Some(&subject())));
    let (read, documents) = provide.submission(Some(&patient())).unwrap();
    let sent = submission();
    assert_eq!(documents[0].bytes.as_ref(), b"hello");
    assert_eq!(shape(&read.entries[0]), shape(&sent.entries[0]));
    assert_eq!(shape(&read.set), shape(&sent.set));
    let edges = |submission: &Submission| {
        let mut edges: Vec<_> = submission
            .associations
            .iter()
            .filter(|one| !submission.associations.iter().any(|other| other.id == one.target))
            .map(|one| format!("{} {:?} {}", one.source, one.kind, one.target))
            .collect();
        edges.sort();
        edges
    };
    assert_eq!(edges(&read), edges(&sent));
    let response = provide.response(|kind, _| format_smolstr!("{kind}/1/_history/1")).encode();
    let statuses: Vec<_> = json::list(&response, "entry").iter().map(|entry| &entry["response"]["location"]).collect();
    assert_eq!(
        statuses,
        ["List/1/_history/1", "DocumentReference/1/_history/1", "Binary/1/_history/1", "List/1/_history/1"]
    );
}

#[test]
fn bundles_that_break_the_profile_are_refused_and_say_why() {
    let change = |pointer: &str, value: Value| {
        let mut bundle = provided();
        *bundle.pointer_mut(pointer).unwrap() = value;
        Provide::decode(&bundle).and_then(|provide| provide.submission(Some(&patient())))
    };
    let other = json!({"reference": "https://gw.example/fhir/Patient/78"});
    for (pointer, value, status) in [
        ("/type", json!("batch"), 400),
        ("/meta/profile", json!([]), 422),
        ("/entry/1/resource/subject", other, 422),
        ("/entry/1/request/method", json!("DELETE"), 422),
        ("/entry/1/resource/content/0/attachment/size", json!(6), 422),
        ("/entry/1/resource/content/0/attachment/hash", json!("2jmj7l5rSw0yVb/vlWAYkK/YBwk="), 422),
        ("/entry/1/resource/content/0/attachment/hash", json!("aGVsbG8="), 400),
        ("/entry/1/resource/content/0/attachment/url", json!("urn:uuid:00000000-0000-4000-8000-000000000000"), 422),
        ("/entry/1/resource/content", json!([]), 422),
        ("/entry/1/resource/status", json!("entered-in-error"), 400),
        ("/entry/1/resource/relatesTo/0/code", json!("contradicts"), 400),
        ("/entry/1/resource/type", json!({"text": "a summary"}), 400),
        ("/entry/2/resource/data", json!("%%%"), 400),
        ("/entry/2/resource", json!({"resourceType": "Bundle", "type": "document"}), 422),
        ("/entry/0/resource/code/coding/0/code", json!("worklist"), 400),
        ("/entry/3/resource/code/coding/0/code", json!("submissionset"), 422),
        ("/entry/0/resource/extension", json!([]), 422),
    ] {
        let Err(refusal) = change(pointer, value.clone()) else { panic!("{pointer} {value} is taken") };
        assert_eq!(refusal.status(), status, "{pointer} {value}: {refusal}");
    }
}

/// MHD 2:3.65.4.1.2: the PATCH of a replaced document changes its status and nothing else.
#[test]
fn a_patch_may_only_supersede() {
    let patch = |path: &str, value: &str, target: &str| {
        let mut bundle = provided();
        // The PATCH of what the document replaces.
        bundle["entry"].as_array_mut().unwrap().push(json!({
            "resource": {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
                {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": path},
                {"name": "value", "valueCode": value}]}]},
            "request": {"method": "PATCH", "url": format!("DocumentReference/{target}")}}));
        Provide::decode(&bundle).and_then(|provide| provide.submission(Some(&patient()))).is_ok()
    };
    let replaced = "03030303-0303-0303-0303-030303030303";
    assert!(patch("DocumentReference.status", "superseded", replaced));
    assert!(!patch("DocumentReference.status", "current", replaced));
    assert!(!patch("DocumentReference.subject", "superseded", replaced));
    assert!(!patch("DocumentReference.status", "superseded", "00000000-0000-4000-8000-000000000009"));
}

/// MHD 2:3.105.
#[test]
fn a_simplified_publication_becomes_a_whole_submission() {
    let shown = document_reference::Shown { id: "d", subject: &subject(), url: "x", relations: &[] };
    let mut resource = document_reference::document_reference(&entry(), &shown);
    let attachment = resource["content"][0]["attachment"].as_object_mut().unwrap();
    attachment.remove("url");
    let read = |resource: &Value| {
        let mut resource = resource.clone();
        let documents = take_documents(&mut resource)?;
        Provide::simplified(&resource, documents, Timestamp::from_millis(0), "2.999.3")
    };
    assert!(matches!(read(&resource), Err(Refusal::Missing(_))));
    resource["content"][0]["attachment"]["data"] = "aGVsbG8=".into();
    let provide = read(&resource).unwrap();
    let (submission, documents) = provide.submission(Some(&patient())).unwrap();
    assert_eq!(submission.set.submission_time.unwrap().as_str(), "19700101000000");
    assert_eq!((submission.entries.len(), documents[0].bytes.as_ref()), (1, b"hello".as_slice()));
}

/// FHIR R4 `http.html`, "transaction": a `fullUrl` is the name of a resource until it has one of the server.
#[test]
fn names_within_a_bundle_are_not_those_of_what_is_stored() {
    let mut bundle = provided();
    let entry = &mut bundle["entry"][1];
    let full_url = entry["fullUrl"].as_str().unwrap().to_owned();
    entry["resource"]["identifier"]
        .as_array_mut()
        .unwrap()
        .retain(|one| one["type"]["coding"][0]["code"] != "entryUUID");
    let (submission, documents) = Provide::decode(&bundle).unwrap().submission(Some(&patient())).unwrap();
    let id = &submission.entries[0].id;
    assert!(id.uuid().is_some() && id.to_string() != full_url);
    assert_eq!(documents[0].entry, *id);
    let is_about = |one: &&Association| one.kind == AssociationKind::HasMember && one.target == *id;
    assert_eq!(submission.associations.iter().filter(is_about).count(), 2, "of the submission set and of the folder");
    assert!(submission.associations.iter().any(|one| one.kind == AssociationKind::Replace && one.source == *id));
}

/// MHD 2:3.65.4.1.2: a folder that is PUT is there already and gets the new documents.
#[test]
fn a_folder_that_is_put_gets_documents() {
    let mut bundle = provided();
    let folder = EntryUuid::from_bytes([4; 16]).to_string();
    let url = format!("List/{}", folder.trim_start_matches("urn:uuid:"));
    bundle["entry"][3]["request"] = json!({"method": "PUT", "url": url});
    let listed = json!({"item": {"reference": "DocumentReference/00000000-0000-4000-8000-000000000009"}});
    bundle["entry"][3]["resource"]["entry"].as_array_mut().unwrap().push(listed);
    let provide = Provide::decode(&bundle).unwrap();
    let (submission, _) = provide.submission(Some(&patient())).unwrap();
    assert!(submission.folders.is_empty());
    let held: Vec<_> = submission.associations.iter().filter(|one| one.source.to_string() == folder).collect();
    assert_eq!((held.len(), &held[0].target), (1, &submission.entries[0].id));
    let response = provide.response(|kind, id| format_smolstr!("{kind}/{}", id.unwrap())).encode();
    let answered = &response["entry"][3]["response"];
    assert_eq!(
        (answered["status"].as_str(), answered["location"].as_str()),
        (Some("200"), Some(&*format!("List/{folder}")))
    );
    assert_eq!(answered["outcome"]["issue"][0]["details"]["coding"][0]["code"], "PartialFolderContentNotProcessed");
    bundle["entry"][3]["request"]["url"] = "List?identifier=x".into();
    assert!(matches!(Provide::decode(&bundle), Err(Refusal::NotSupported(_))));
}

#[test]
fn bundles_that_try_something_are_refused() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut bundle = provided();
        change(&mut bundle);
        Provide::decode(&bundle).and_then(|provide| provide.submission(Some(&patient()))).map(drop)
    };
    let relates = |bundle: &mut Value, target: String| {
        bundle["entry"][1]["resource"]["relatesTo"] = json!([{"code": "transforms", "target": {"reference": target}}]);
    };
    let own_name = |bundle: &Value| bundle["entry"][1]["fullUrl"].as_str().unwrap().to_owned();
    assert_eq!(with(&|_| ()), Ok(()));
    // A document of another server is nobody's business to fetch.
    let refused = with(&|bundle| {
        bundle["entry"][1]["resource"]["content"][0]["attachment"]["url"] = "https://127.0.0.1:1/x".into();
    });
    assert!(matches!(refused, Err(Refusal::Xds { code: ErrorCode::XdsMissingDocument, .. })), "{refused:?}");
    let refused = with(&|bundle| bundle["entry"][2]["fullUrl"] = bundle["entry"][1]["fullUrl"].clone());
    assert!(refused.unwrap_err().to_string().contains("same fullUrl"));
    let refused = with(&|bundle| relates(bundle, own_name(bundle)));
    assert!(refused.unwrap_err().to_string().contains("circle"));
    // The number that stands for a document inside is none that a message may bring.
    let refused = with(&|bundle| bundle["entry"][2]["resource"]["data"] = json!(0));
    assert_eq!(refused, Err(Refusal::Unusable("Binary.data".into())));
    let refused = with(&|bundle| {
        bundle["entry"][2]["resource"].as_object_mut().unwrap().remove("data");
    });
    assert_eq!(refused, Err(Refusal::Missing("Binary.data".into())));
    let refused = with(&|bundle| {
        let one = bundle["entry"][2].clone();
        let many = (0..=MOST).map(|at| {
            let mut one = one.clone();
            one["fullUrl"] = format!("urn:uuid:{at}").into();
            one
        });
        bundle["entry"].as_array_mut().unwrap().extend(many);
    });
    assert!(matches!(refused, Err(Refusal::TooCostly(_))));
}

#[test]
fn bundles_of_partners_become_submissions() {
    let mut seen = 0;
    for row in crate::testing::manifest("fhir-mhd/") {
        let name = row[0].as_str();
        if row[3] != "request" || !name.ends_with(".json") || !row[8].ends_with("JSON Bundle: valid") {
            continue;
        }
        let bytes = crate::testing::corpus(name).unwrap();
        let value = json::read(&bytes, &json::Limits::default()).unwrap();
        let provide = Provide::decode(&value).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        // A sample of the guide gives two documents one uniqueId.
        let submission = provide.submission(Some(&patient()));
        if name.ends_with("bundle-ex-comprehensiveprovidedocumentbundlemultiple.json") {
            assert!(submission.unwrap_err().to_string().contains("uniqueId"));
            continue;
        }
        let (submission, documents) = submission.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(submission.entries.len(), documents.len(), "{name}");
        seen += 1;
    }
    assert!(seen >= 6 || crate::testing::shared().is_none(), "{seen}");
}

/// The toolkit's messages are of STU3, with a DocumentManifest: they are refused with a reason, not misread.
#[test]
fn bundles_of_stu3_are_refused() {
    for row in crate::testing::manifest("fhir-mhd/nist-") {
        let bytes = crate::testing::corpus(&row[0]).unwrap();
        let value = crate::fhir::xml::read(&bytes, &crate::xml::Limits::default()).unwrap();
        assert!(matches!(Provide::decode(&value), Err(Refusal::Profile(_))), "{}", row[0]);
    }
}

#[test]
fn resources_of_partners_become_metadata() {
    let mut seen = 0;
    for row in crate::testing::manifest("fhir-mhd/ihe-").iter().filter(|row| row[0].ends_with(".json")) {
        let bytes = crate::testing::corpus(&row[0]).unwrap();
        let value = json::read(&bytes, &json::Limits::default()).unwrap();
        let bundle = Bundle::decode(&value).ok();
        let inside = bundle.iter().flat_map(|bundle| &bundle.entries).filter_map(|entry| entry.resource.as_ref());
        for resource in inside.chain([&value]) {
            let scope = Scope { resource, bundle: bundle.as_ref() };
            let read = match (json::resource_type(resource), list_kind(resource).as_str()) {
                ("DocumentReference", _) => document_reference::read(scope, None).map(|read| read.entry.id),
                ("List", "folder") => list::read_folder(scope, None).map(|folder| folder.id),
                ("List", _) => list::read_set(scope, None).map(|set| set.id),
                _ => continue,
            };
            read.unwrap_or_else(|refusal| panic!("{}: {refusal}", row[0]));
            seen += 1;
        }
    }
    assert!(seen > 15 || crate::testing::shared().is_none(), "{seen}");
}

#[test]
fn debug_prints_no_document() {
    let provide = Provide::decode(&provided()).unwrap();
    let (_, documents) = provide.submission(Some(&patient())).unwrap();
    assert!(format!("{:?}", documents[0]).contains("5 bytes"));
    assert!(!format!("{provide:?}").contains("Okafor"));
}
