//! Provide Document Bundle (ITI-65) and Simplified Publish (ITI-105) of a client over HTTPS with its certificate: what is
//! kept, and what is refused. What becomes of each attribute on the way to a registry and back is in `mapping`.

mod mapping;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use causeway::fhir::json;
use causeway::metadata::{Availability, DocumentEntry};
use causeway::xds::registry;
use causeway::xds::stored_query::{Request, Response};
use ihe_tests::harness::fhir::{Fhir, Told};
use ihe_tests::harness::samples::{find_documents, fresh_oid, patient};
use ihe_tests::harness::{Solo, Trail};
use serde_json::{Value, json};

use crate::iti_83::{NORTH, PATIENTS, WORLD, register};

/// The reference to Ada by her identifier.
pub fn ada() -> Value {
    json!({"identifier": {"system": NORTH, "value": "N-44"}})
}

fn uuid() -> String {
    let hexadecimal = format!("{:032x}", fresh_oid()[5..].parse::<u128>().unwrap());
    let part = |from: usize, to: usize| &hexadecimal[from..to];
    format!("urn:uuid:{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn coded(system: &str, code: &str) -> Value {
    json!({"coding": [{"system": system, "code": code}]})
}

/// A Bundle that is put together by hand: a submission set and documents, each with its text.
pub struct Parcel {
    pub bundle: Value,
    /// The uniqueIds of the documents.
    pub unique_ids: Vec<String>,
}

impl Parcel {
    pub fn new(profile: &str, subject: &Value, texts: &[&str]) -> Self {
        let profile = format!("https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.{profile}.ProvideBundle");
        let extension = |name: &str| format!("https://profiles.ihe.net/ITI/MHD/StructureDefinition/{name}");
        let mut parcel = Self {
            bundle: json!({"resourceType": "Bundle", "type": "transaction", "meta": {"profile": [profile]}, "entry": []}),
            unique_ids: Vec::new(),
        };
        let mut members = Vec::new();
        for text in texts {
            let (document, binary, unique_id) = (uuid(), uuid(), fresh_oid());
            members.push(json!({"item": {"reference": document}}));
            parcel.add(
                &binary,
                json!({"resourceType": "Binary", "contentType": "text/plain", "data": STANDARD.encode(text)}),
            );
            parcel.add(&document, described(subject, &unique_id, &binary));
            parcel.unique_ids.push(unique_id);
        }
        let unique_id = json!({"system": "urn:ietf:rfc:3986", "value": format!("urn:oid:{}", fresh_oid())});
        let source = json!({"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.999.77"});
        let list = json!({
            "resourceType": "List", "status": "current", "mode": "working", "date": "2026-01-15T16:00:00Z",
            "extension": [
                {"url": extension("ihe-sourceId"), "valueIdentifier": source},
                {"url": extension("ihe-designationType"), "valueCodeableConcept": coded("urn:oid:2.999.6", "content")}
            ],
            "identifier": [unique_id], "subject": subject, "entry": members,
            "code": coded("https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "submissionset")
        });
        parcel.add(&uuid(), list);
        parcel
    }

    /// Adds an entry, and says its place.
    pub fn add(&mut self, full_url: &str, resource: Value) -> usize {
        let kind = resource["resourceType"].clone();
        let entries = self.bundle["entry"].as_array_mut().unwrap();
        let request = json!({"method": "POST", "url": kind});
        entries.push(json!({"fullUrl": full_url, "resource": resource, "request": request}));
        entries.len() - 1
    }

    /// The DocumentReference of a number.
    pub fn document(&mut self, at: usize) -> &mut Value {
        &mut self.bundle["entry"][2 * at + 1]["resource"]
    }

    /// The list of the submission set.
    pub fn list(&mut self) -> &mut Value {
        let entries = self.bundle["entry"].as_array_mut().unwrap();
        let list = entries.iter_mut().find(|entry| entry["resource"]["resourceType"] == "List");
        &mut list.unwrap()["resource"]
    }
}

/// Every attribute that a DocumentReference can have.
fn described(subject: &Value, unique_id: &str, url: &str) -> Value {
    let other = "urn:oid:2.999.6";
    let person = |id: &str, family: &str| json!({"resourceType": "Practitioner", "id": id, "name": [{"family": family, "given": ["Kim"]}]});
    let at_source = json!({
        "resourceType": "Patient", "id": "p", "name": [{"family": "Okafor", "given": ["Ada"]}], "birthDate": "1987-03-12",
        "gender": "female", "identifier": [{"system": NORTH, "value": "N-44"}]
    });
    json!({
        "resourceType": "DocumentReference", "status": "current", "subject": subject,
        "contained": [person("a", "Nguyen"), person("l", "Silva"), at_source],
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": format!("urn:oid:{unique_id}")},
        "type": coded("http://loinc.org", "34133-9"), "category": [coded(other, "class")],
        "author": [{"reference": "#a"}], "authenticator": {"reference": "#l"},
        "description": "A comment", "securityLabel": [coded(other, "N"), coded(other, "R")],
        "content": [{
            "attachment": {"contentType": "text/plain", "language": "en-US", "url": url, "title": "Sum\u{e9}mary <1>",
                "creation": "2026-01-15T14:30:00Z"},
            "format": {"system": other, "code": "format"}
        }],
        "context": {
            "event": [coded(other, "event")], "period": {"start": "2026-01-14T08:00:00Z", "end": "2026-01-15T09:00:00Z"},
            "facilityType": coded(other, "facility"), "practiceSetting": coded(other, "setting"),
            "sourcePatientInfo": {"reference": "#p"},
            "related": [{"identifier": {"system": "urn:oid:2.999.7", "value": "A1",
                "type": {"coding": [{"system": "urn:ietf:rfc:3986", "code": "urn:ihe:iti:xds:2013:accession"}]}}}]
        }
    })
}

/// The documents of Ada as the registry tells them.
pub async fn registered(solo: &Solo, statuses: &[Availability]) -> Vec<DocumentEntry> {
    let mut request: Request = find_documents(patient("N-44^^^&2.999.60.1&ISO"), None);
    if let causeway::metadata::query::Query::FindDocuments(find) = &mut request.query {
        find.statuses = statuses.to_vec();
    }
    let letter = solo.letter("DocumentRegistry", registry::QUERY_ACTION, request.encode());
    let answer = solo.client.ask(solo.running.https, "/DocumentRegistry", &letter).await;
    let response = answer.body(|body| Response::decode(body, request.return_type).unwrap());
    assert!(response.errors.is_empty(), "{:?}", response.errors);
    response.documents().cloned().collect()
}

/// The bytes behind an address that a resource names.
pub async fn bytes_at(solo: &Solo, url: &str, accept: &str) -> (u16, hyper::HeaderMap, Bytes) {
    let path = url.strip_prefix("https://localhost").expect("an address of this gateway");
    let request = hyper::Request::builder().uri(path).header("accept", accept);
    solo.client.request(solo.running.https, request, Bytes::new()).await
}

pub async fn provide(fhir: &Fhir<'_>, parcel: &Parcel) -> Told {
    fhir.json("POST", "", &parcel.bundle).await
}

#[tokio::test]
async fn a_bundle_is_kept_and_each_of_its_entries_has_its_place() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    for profile in ["Comprehensive", "UnContained.Comprehensive", "Minimal"] {
        let parcel = Parcel::new(profile, &ada(), &["first", "second\u{e9}"]);
        let answer = if profile == "Minimal" {
            fhir.xml("POST", "", &parcel.bundle).await
        } else {
            provide(&fhir, &parcel).await
        };
        assert_eq!((answer.status, &answer.resource["type"]), (200, &json!("transaction-response")), "{profile}");
        let entries = json::list(&answer.resource, "entry");
        assert_eq!(entries.len(), 5);
        assert!(entries.iter().all(|entry| entry["response"]["status"] == "201"));
        let location = |at: usize| entries[at]["response"]["location"].as_str().unwrap();
        for (at, text) in [(0, "first"), (2, "second\u{e9}")] {
            let (status, headers, body) =
                bytes_at(&solo, &format!("https://localhost/fhir/{}", location(at)), "*/*").await;
            assert_eq!((status, body.as_ref()), (200, text.as_bytes()), "{profile}");
            assert_eq!(headers["content-type"], "text/plain");
            assert_eq!(
                (headers["x-content-type-options"].as_bytes(), headers["cache-control"].as_bytes()),
                (&b"nosniff"[..], &b"no-store"[..])
            );
            let reference = fhir.get(location(at + 1)).await;
            assert_eq!(reference.resource["resourceType"], "DocumentReference");
            let kind = if profile == "Minimal" { "Minimal" } else { "Comprehensive" };
            assert!(
                reference.resource["meta"]["profile"][0]
                    .as_str()
                    .unwrap()
                    .ends_with(&format!("{kind}.DocumentReference"))
            );
        }
        let list = fhir.get(location(4)).await.resource;
        let members: Vec<_> =
            json::list(&list, "entry").iter().map(|one| one["item"]["reference"].as_str().unwrap()).collect();
        let mut expected = [location(1), location(3)];
        expected.sort_unstable();
        assert_eq!(members, expected);
        let set = list["identifier"][1]["value"].as_str().unwrap().trim_start_matches("urn:oid:").to_owned();
        assert_eq!(Trail::of(solo.gateway()).lines(&set), ["ITI-65 C success patient submission"]);
    }
    fhir.judge();
}

/// MHD 2:3.65.4.1.2; ITI TF-3: 4.2.2.2.
#[tokio::test]
async fn documents_replace_append_and_are_put_into_folders() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    let location = |answer: &Told, at: usize| {
        assert_eq!(answer.status, 200, "{}", answer.resource);
        answer.resource["entry"][at]["response"]["location"].as_str().unwrap().to_owned()
    };
    // A folder comes with the first document.
    let mut first = Parcel::new("Comprehensive", &ada(), &["first"]);
    let name = first.bundle["entry"][1]["fullUrl"].clone();
    let folder = json!({
        "resourceType": "List", "status": "current", "mode": "working", "title": "A stay", "subject": ada(),
        "code": coded("https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "folder"),
        "extension": [{"url": "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-designationType",
            "valueCodeableConcept": coded("urn:oid:2.999.6", "stay")}],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": format!("urn:oid:{}", fresh_oid())}],
        "entry": [{"item": {"reference": name}}]
    });
    let at = first.add(&uuid(), folder.clone());
    let answer = provide(&fhir, &first).await;
    let (old, folder_at) = (location(&answer, 1), location(&answer, at));
    // The next replaces it, and says so twice.
    let mut second = Parcel::new("Comprehensive", &ada(), &["second"]);
    second.document(0)["relatesTo"] = json!([{"code": "replaces", "target": {"reference": old}}]);
    let patch = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "DocumentReference.status"},
        {"name": "value", "valueCode": "superseded"}]}]});
    let at = second.add(&uuid(), patch);
    second.bundle["entry"][at]["request"] = json!({"method": "PATCH", "url": old});
    let answer = provide(&fhir, &second).await;
    let new = location(&answer, 1);
    assert_eq!(fhir.get(&old).await.resource["status"], "superseded");
    let resource = fhir.get(&new).await.resource;
    assert_eq!(resource["relatesTo"], json!([{"code": "replaces", "target": {"reference": old}}]));
    // What is replaced is retrieved no more (MHD 2:3.68.4.1.3).
    let url = fhir.get(&old).await.resource["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    assert_eq!(bytes_at(&solo, &url, "*/*").await.0, 410);
    // What was in the folder is in it in its new version too; a third is put into it, and appends to the second.
    let mut third = Parcel::new("Comprehensive", &ada(), &["third"]);
    third.document(0)["relatesTo"] = json!([{"code": "appends", "target": {"reference": new}}]);
    let mut put = folder.clone();
    put["entry"] = json!([{"item": {"reference": third.bundle["entry"][1]["fullUrl"]}}]);
    let at = third.add(&uuid(), put);
    third.bundle["entry"][at]["request"] = json!({"method": "PUT", "url": folder_at});
    let answer = provide(&fhir, &third).await;
    let told = &answer.resource["entry"][at]["response"];
    assert_eq!((&told["status"], &told["location"]), (&json!("200"), &json!(folder_at)));
    assert_eq!(told["outcome"]["issue"][0]["details"]["coding"][0]["code"], "PartialFolderContentNotProcessed");
    let held = fhir.get(&folder_at).await.resource;
    let mut members: Vec<_> = json::list(&held, "entry").iter().map(|one| one["item"]["reference"].clone()).collect();
    members.sort_by_key(ToString::to_string);
    let mut expected = vec![json!(old), json!(new), json!(location(&answer, 1))];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(members, expected);
    // Of what is superseded already nothing more is made.
    let mut late = Parcel::new("Comprehensive", &ada(), &["late"]);
    late.document(0)["relatesTo"] = json!([{"code": "replaces", "target": {"reference": old}}]);
    let answer = provide(&fhir, &late).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.resource["issue"][0]["details"]["coding"][0]["code"], "XDSRegistryDeprecatedDocumentError");
    let nothing = fhir.get(&format!("DocumentReference?identifier=urn:oid:{}", late.unique_ids[0])).await;
    assert_eq!(nothing.resource["total"], 0);
    fhir.judge();
}

/// A Bundle that is refused: how it is changed, the status, the code of the issue or of XDS.
type Refused = (&'static str, fn(&mut Parcel), u16, &'static str);

const REFUSED: &[Refused] = &[
    (
        "a patient whom nobody knows",
        |parcel| everywhere(parcel, json!({"identifier": {"system": NORTH, "value": "N-99"}})),
        422,
        "XDSUnknownPatientId",
    ),
    (
        "a patient of another server",
        |parcel| everywhere(parcel, json!({"reference": "https://pdq.example/fhir/Patient/77"})),
        422,
        "XDSUnknownPatientId",
    ),
    (
        "a patient that the Bundle does not name",
        |parcel| {
            parcel.bundle["meta"]["profile"][0] =
                "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.Minimal.ProvideBundle".into();
            everywhere(parcel, Value::Null);
        },
        422,
        "XDSUnknownPatientId",
    ),
    (
        "documents of two patients",
        |parcel| {
            parcel.document(0)["subject"] = json!({"identifier": {"system": NORTH, "value": "N-45"}});
        },
        422,
        "XDSPatientIdDoesNotMatch",
    ),
    (
        "a Patient with the identifiers of two people",
        |parcel| {
            let name = uuid();
            everywhere(parcel, json!({"reference": name}));
            parcel.add(
                &name,
                json!({"resourceType": "Patient", "identifier": [
            {"system": NORTH, "value": "N-44"}, {"system": NORTH, "value": "N-45"}]}),
            );
        },
        422,
        "XDSPatientIdDoesNotMatch",
    ),
    (
        "a document that is another patient's at its source",
        |parcel| parcel.document(0)["contained"][2]["identifier"][0]["value"] = "N-45".into(),
        422,
        "XDSPatientIdDoesNotMatch",
    ),
    (
        "a document of elsewhere",
        |parcel| {
            parcel.document(0)["content"][0]["attachment"]["url"] = "https://127.0.0.1:1/secret".into();
        },
        422,
        "XDSMissingDocument",
    ),
    (
        "a document that is not there",
        |parcel| {
            parcel.document(0)["content"][0]["attachment"]["url"] = uuid().into();
        },
        422,
        "invariant",
    ),
    (
        "a hash of something else",
        |parcel| {
            parcel.document(0)["content"][0]["attachment"]["hash"] = "2jmj7l5rSw0yVb/vlWAYkK/YBwk=".into();
        },
        422,
        "XDSRepositoryMetadataError",
    ),
    (
        "a size of something else",
        |parcel| {
            parcel.document(0)["content"][0]["attachment"]["size"] = 6.into();
        },
        422,
        "XDSRepositoryMetadataError",
    ),
    (
        "complete metadata that is not",
        |parcel| {
            parcel.document(0).as_object_mut().unwrap().remove("category");
        },
        422,
        "XDSRepositoryMetadataError",
    ),
    (
        "a name that two entries have",
        |parcel| {
            parcel.bundle["entry"][0]["fullUrl"] = parcel.bundle["entry"][1]["fullUrl"].clone();
        },
        422,
        "invariant",
    ),
    (
        "a document made of itself",
        |parcel| {
            let own = parcel.bundle["entry"][1]["fullUrl"].clone();
            parcel.document(0)["relatesTo"] = json!([{"code": "transforms", "target": {"reference": own}}]);
        },
        422,
        "invariant",
    ),
    (
        "a document in place of one that nobody has",
        |parcel| {
            parcel.document(0)["relatesTo"] =
                json!([{"code": "replaces", "target": {"reference": format!("DocumentReference/{}", &uuid()[9..])}}]);
        },
        422,
        "UnresolvedReferenceException",
    ),
    ("no submission set", |parcel| drop(parcel.bundle["entry"].as_array_mut().unwrap().pop()), 422, "invariant"),
    (
        "a resource that does not belong",
        |parcel| {
            parcel.add("urn:x:1", json!({"resourceType": "Observation"}));
        },
        422,
        "invariant",
    ),
    (
        "a document as a Bundle",
        |parcel| {
            parcel.add("urn:x:2", json!({"resourceType": "Bundle", "type": "document"}));
        },
        422,
        "FHIRDocumentNotSupported",
    ),
    ("a batch", |parcel| parcel.bundle["type"] = "batch".into(), 400, "invalid"),
    ("no profile", |parcel| parcel.bundle["meta"] = Value::Null, 422, "invariant"),
    ("text that is no base64", |parcel| parcel.bundle["entry"][0]["resource"]["data"] = "%%%".into(), 400, "invalid"),
    (
        "a number in place of a document",
        |parcel| parcel.bundle["entry"][0]["resource"]["data"] = 0.into(),
        400,
        "invalid",
    ),
    (
        "no document at all in a Binary",
        |parcel| {
            parcel.bundle["entry"][0]["resource"].as_object_mut().unwrap().remove("data");
        },
        400,
        "required",
    ),
];

fn everywhere(parcel: &mut Parcel, subject: Value) {
    *parcel.list() = with_subject(parcel.list(), &subject);
    *parcel.document(0) = with_subject(parcel.document(0), &subject);
}

fn with_subject(resource: &Value, subject: &Value) -> Value {
    let mut resource = resource.clone();
    match subject {
        Value::Null => drop(resource.as_object_mut().unwrap().remove("subject")),
        subject => resource["subject"] = subject.clone(),
    }
    resource
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_and_says_why() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    for (what, change, status, code) in REFUSED {
        let mut parcel = Parcel::new("Comprehensive", &ada(), &["hello"]);
        change(&mut parcel);
        let answer = provide(&fhir, &parcel).await;
        let issue = &answer.resource["issue"][0];
        let told =
            [&issue["details"]["coding"][0]["code"], &issue["code"]].into_iter().find(|told| !told.is_null()).unwrap();
        assert_eq!((answer.status, told.as_str().unwrap()), (*status, *code), "{what}: {}", answer.resource);
        let lines = Trail::of(solo.gateway()).lines(answer.trace());
        assert!(lines.len() == 1 && lines[0].starts_with("ITI-65 C failure"), "{what}: {lines:?}");
        assert!(!answer.resource.to_string().contains("N-4"), "{what}: a refusal names no patient");
    }
    assert!(registered(&solo, &[Availability::Approved, Availability::Deprecated]).await.is_empty());
    let kept = solo.ground.folder.path().join("data");
    assert_eq!(files_below(&kept, "documents"), 0, "no bytes of what was refused");
    // A Patient in the Bundle that is known is as good as an identifier.
    let mut parcel = Parcel::new("Comprehensive", &ada(), &["hello"]);
    let name = uuid();
    everywhere(&mut parcel, json!({"reference": name}));
    let at = parcel.add(&name, json!({"resourceType": "Patient", "identifier": [{"system": NORTH, "value": "N-44"}]}));
    let answer = provide(&fhir, &parcel).await;
    assert_eq!(answer.status, 200, "{}", answer.resource);
    let patient = answer.resource["entry"][at]["response"]["location"].as_str().unwrap();
    assert_eq!(fhir.get(patient).await.resource["resourceType"], "Patient");
    fhir.judge();
}

fn files_below(folder: &std::path::Path, name: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let count = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => files_below(&entry.path(), name),
        false => usize::from(entry.path().components().any(|one| one.as_os_str() == name)),
    };
    entries.flatten().map(count).sum()
}

/// MHD 2:3.105.
#[tokio::test]
async fn one_document_is_published_without_a_bundle() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    let unique_id = fresh_oid();
    let mut resource = described(&ada(), &unique_id, "x");
    resource["content"][0]["attachment"].as_object_mut().unwrap().remove("url");
    let answer = fhir.json("POST", "DocumentReference", &resource).await;
    assert_eq!(answer.issue().0, 400, "without its document");
    resource["content"][0]["attachment"]["data"] = STANDARD.encode("hello").into();
    let answer = fhir.json("POST", "DocumentReference", &resource).await;
    assert_eq!(answer.status, 201, "{}", answer.resource);
    let attachment = &answer.resource["content"][0]["attachment"];
    assert_eq!((attachment["size"].as_u64(), attachment.get("data")), (Some(5), None));
    let (status, _, body) = bytes_at(&solo, attachment["url"].as_str().unwrap(), "text/plain").await;
    assert_eq!((status, body.as_ref()), (200, &b"hello"[..]));
    let path = answer.header("location").strip_prefix("https://localhost/fhir/").unwrap();
    assert_eq!(fhir.get(path).await.resource, answer.resource);
    let lines = Trail::of(solo.gateway()).lines("bedside@example.org");
    assert!(lines.contains(&"ITI-105 C success patient submission".to_owned()), "{lines:?}");
    for (what, change) in [("url", json!("https://elsewhere.example/x")), ("data", Value::from(7))] {
        let mut other = resource.clone();
        other["content"][0]["attachment"][what] = change;
        assert!(fhir.json("POST", "DocumentReference", &other).await.status >= 400, "{what}");
    }
    let mut other = resource.clone();
    other["relatesTo"] = json!([{"code": "replaces", "target": {"reference": path}}]);
    assert_eq!(fhir.json("POST", "DocumentReference", &other).await.status, 422);
    fhir.judge();
}
