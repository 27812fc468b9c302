//! Find Document References (ITI-67), Find Document Lists (ITI-66) and Retrieve Document (ITI-68) of a client over HTTPS.

use causeway::fhir::json;
use ihe_tests::harness::fhir::{Fhir, Told, judge};
use ihe_tests::harness::{Solo, Trail};
use serde_json::{Value, json};

use crate::iti_65::{Parcel, ada, bytes_at, provide};
use crate::iti_83::{NORTH, PATIENTS, WEST, WORLD, register};

/// Three documents of Ada, of which they are told apart by everything that a search knows.
async fn world() -> (Solo, Vec<String>) {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let mut unique_ids = Vec::new();
    let fhir = solo.fhir();
    for (at, name) in ["one", "two", "three"].into_iter().enumerate() {
        let mut parcel = Parcel::new("Comprehensive", &ada(), &[name]);
        let month = at + 1;
        let coded = |name: &str| json!({"coding": [{"system": "urn:oid:2.999.6", "code": format!("{name}-{at}")}]});
        let document = parcel.document(0);
        document["content"][0]["attachment"]["title"] = name.into();
        document["content"][0]["attachment"]["creation"] = format!("2026-0{month}-15T14:30:00Z").into();
        document["content"][0]["format"] = coded("format")["coding"][0].clone();
        document["context"]["period"] =
            json!({"start": format!("2025-0{month}-01T00:00:00Z"), "end": format!("2025-0{month}-02T00:00:00Z")});
        document["type"] = coded("type");
        document["category"][0] = coded("class");
        document["context"]["event"][0] = coded("event");
        document["context"]["facilityType"] = coded("facility");
        document["context"]["practiceSetting"] = coded("setting");
        document["securityLabel"] = json!([coded("secret")]);
        document["contained"][0]["name"][0] = json!({"family": format!("Author{at}"), "given": [format!("Given{at}")]});
        document["context"]["related"][0]["identifier"]["value"] = format!("A{at}").into();
        parcel.list()["date"] = format!("2026-0{month}-20T16:00:00Z").into();
        let answer = provide(&fhir, &parcel).await;
        assert_eq!(answer.status, 200, "{}", answer.resource);
        unique_ids.extend(parcel.unique_ids);
    }
    (solo, unique_ids)
}

fn titles(told: &Told) -> Vec<String> {
    assert_eq!(told.status, 200, "{}", told.resource);
    let documents = told.entries().into_iter().filter(|one| one["resourceType"] == "DocumentReference");
    documents.map(|one| one["content"][0]["attachment"]["title"].as_str().unwrap().to_owned()).collect()
}

/// MHD 2:3.67.4.1.2.1: each parameter finds what it names, by GET and by form.
#[tokio::test]
async fn each_parameter_of_a_search_finds_what_it_names() {
    let (solo, unique_ids) = world().await;
    let fhir = solo.fhir();
    let whole = &["one", "two", "three"][..];
    let master = format!("identifier=urn:oid:{}", unique_ids[1]);
    for (more, expected) in [
        ("", whole),
        ("type=urn:oid:2.999.6%7Ctype-1", &["two"]),
        ("type=type-1", &["two"]),
        ("type=type-0,type-2", &["one", "three"]),
        ("type=urn:oid:2.999.7%7Ctype-1", &[]),
        ("category=class-0", &["one"]),
        ("event=event-2", &["three"]),
        ("facility=facility-2", &["three"]),
        ("setting=setting-0", &["one"]),
        ("format=format-1", &["two"]),
        ("security-label=secret-1", &["two"]),
        ("author.family=Author2", &["three"]),
        ("author.family=author2", &["three"]),
        ("author.family=Auth", whole),
        ("author.given=Given0", &["one"]),
        ("author.family=Author0&author.given=Given1", &[]),
        ("creation=ge2026-02-01", &["two", "three"]),
        ("creation=ge2026-02-01&creation=lt2026-03-01", &["two"]),
        ("creation=2026-03", &["three"]),
        ("date=lt2026-02-01", &["one"]),
        ("date=ge2026-02-20&date=le2026-02-20", &["two"]),
        ("period=ge2025-02-01&period=lt2025-03-01", &["two"]),
        ("related:identifier=urn:oid:2.999.7%7CA1", &["two"]),
        (master.as_str(), &["two"]),
        ("_unknown=x", whole),
    ] {
        let query = format!("patient.identifier={NORTH}%7CN-44&status=current&{more}");
        let answer = fhir.get(&format!("DocumentReference?{query}")).await;
        assert_eq!(titles(&answer), expected, "{more}");
        assert_eq!(answer.resource["total"], expected.len(), "{more}");
        assert_eq!(titles(&fhir.form("DocumentReference/_search", &query).await), expected, "{more}");
        let this = answer.resource["link"][0]["url"].as_str().unwrap();
        assert!(this.starts_with("https://localhost/fhir/DocumentReference?") && !this.contains("_unknown"), "{this}");
    }
    // A person is one Patient, whatever the name it is asked for by.
    let people = fhir.get(&format!("Patient?identifier={WEST}%7C007")).await;
    let id = people.entries()[0]["id"].as_str().unwrap().to_owned();
    for whose in [
        format!("patient=Patient/{id}"),
        format!("patient={id}"),
        format!("patient=https%3A%2F%2Flocalhost%2Ffhir%2FPatient%2F{id}"),
        format!("patient:Patient.identifier={WEST}%7C007"),
        format!("patient.identifier={WEST}%7C007"),
    ] {
        assert_eq!(titles(&fhir.get(&format!("DocumentReference?{whose}&status=current")).await), whole, "{whose}");
    }
    for (query, expected) in [
        (format!("patient.identifier={NORTH}%7CN-45&status=current"), &[][..]),
        (format!("patient.identifier={NORTH}%7CN-99&status=current"), &[]),
        ("patient=Patient/77&status=current".to_owned(), &[]),
        (format!("patient.identifier={NORTH}%7CN-44&status=superseded"), &[]),
        (format!("patient.identifier={NORTH}%7CN-44&status=current,superseded"), whole),
        (format!("identifier=urn:oid:{}", unique_ids[2]), &["three"]),
        (format!("identifier=urn:oid:{}&status=superseded", unique_ids[2]), &[]),
        (format!("identifier=urn:oid:{}&type=type-0", unique_ids[2]), &[]),
    ] {
        assert_eq!(titles(&fhir.get(&format!("DocumentReference?{query}")).await), expected, "{query}");
    }
    let found = fhir.get(&format!("DocumentReference?patient=Patient/{id}&status=current")).await;
    assert!(
        found.entries().iter().all(|one| one["subject"]["reference"] == format!("https://localhost/fhir/Patient/{id}"))
    );
    // One of the answers, because the judges take their time.
    judge(&[found.resource]);
}

#[tokio::test]
async fn searches_that_cannot_be_answered_say_why_and_are_recorded() {
    let (solo, _) = world().await;
    let fhir = solo.fhir();
    let patient = format!("patient.identifier={NORTH}%7CN-44");
    for (path, status, code) in [
        ("DocumentReference".to_owned(), 400, "required"),
        (format!("DocumentReference?{patient}"), 400, "required"),
        (format!("DocumentReference?{patient}&status=nonsense"), 400, "invalid"),
        (format!("DocumentReference?{patient}&status=current&creation=nonsense"), 400, "invalid"),
        (format!("DocumentReference?{patient}&status=current&creation=ne2026"), 400, "invalid"),
        (format!("DocumentReference?{patient}&status=current&_count=x"), 400, "invalid"),
        (format!("DocumentReference?{patient}&status=current&_page=99999999999999999999"), 400, "invalid"),
        ("DocumentReference?patient.identifier=N-44&status=current".to_owned(), 400, "invalid"),
        (format!("DocumentReference?{patient}&{patient}&status=current"), 400, "invalid"),
        (format!("DocumentReference?{patient}&status=current&related=Encounter/1"), 404, "not-supported"),
        (format!("List?{patient}&status=current"), 400, "required"),
        (format!("List?{patient}&status=current&code=worklist"), 400, "invalid"),
        ("DocumentReference/00000000-0000-4000-8000-000000000000".to_owned(), 404, "not-found"),
        ("DocumentReference/x%20y".to_owned(), 404, "not-found"),
        ("List/00000000-0000-4000-8000-000000000000".to_owned(), 404, "not-found"),
    ] {
        let answer = fhir.get(&path).await;
        let (told, kind, _) = answer.issue();
        assert_eq!((told, kind), (status, code), "{path}: {}", answer.resource);
        let lines = Trail::of(solo.gateway()).lines(answer.trace());
        let expected = if path.starts_with("List") { "ITI-66" } else { "ITI-67" };
        assert!(
            lines.len() == 1 && lines[0].starts_with(expected) && lines[0].contains("failure"),
            "{path}: {lines:?}"
        );
    }
    let strict = fhir
        .send(
            "GET",
            &format!("DocumentReference?{patient}&status=current&_unknown=x"),
            &[("prefer", "handling=strict")],
            "",
        )
        .await;
    assert_eq!(strict.status, 400);
    let answer = fhir.get(&format!("DocumentReference?{patient}&status=current")).await;
    assert_eq!(answer.status, 200);
    let lines = Trail::of(solo.gateway()).lines("N-44^^^&amp;2.999.60.1&amp;ISO");
    assert!(lines.contains(&"ITI-67 E success patient query".to_owned()), "{lines:?}");
    let stranger = Fhir::of(&solo.stranger, solo.running.https);
    for path in [format!("DocumentReference?{patient}&status=current"), "List/x".to_owned(), "Binary/x".to_owned()] {
        assert_eq!(stranger.get(&path).await.issue().0, 403, "{path}");
    }
    fhir.judge();
}

#[tokio::test]
async fn pages_follow_each_other_until_everything_was_told() {
    let (solo, _) = world().await;
    let fhir = solo.fhir();
    let mut path = format!("DocumentReference?patient.identifier={NORTH}%7CN-44&status=current&_count=2");
    let mut pages = Vec::new();
    loop {
        let answer = fhir.get(&path).await;
        assert_eq!(answer.resource["total"], 3);
        pages.push(titles(&answer));
        let next = json::list(&answer.resource, "link").iter().find(|link| link["relation"] == "next");
        match next {
            Some(next) => {
                path = next["url"].as_str().unwrap().strip_prefix("https://localhost/fhir/").unwrap().to_owned()
            }
            None => break,
        }
    }
    assert_eq!(pages, [vec!["one", "two"], vec!["three"]]);
    let none = fhir.get(&format!("DocumentReference?patient.identifier={NORTH}%7CN-44&status=current&_count=0")).await;
    assert_eq!((none.resource["total"].as_u64(), none.entries().len()), (Some(3), 0));
    fhir.judge();
}

/// MHD 2:3.66.4.1.2.
#[tokio::test]
async fn lists_are_found_by_their_parameters() {
    let (solo, _) = world().await;
    let fhir = solo.fhir();
    let patient = format!("patient.identifier={NORTH}%7CN-44&status=current");
    for (more, expected) in [
        ("code=submissionset", 3),
        ("code=folder", 0),
        ("code=submissionset&date=ge2026-02-01", 2),
        ("code=submissionset&sourceId=urn:oid:2.999.77", 3),
        ("code=submissionset&sourceId=urn:oid:2.999.78", 0),
        ("code=submissionset&designationType=urn:oid:2.999.6%7Ccontent", 3),
        ("code=submissionset&designationType=other", 0),
        ("code=submissionset&source.family=Nobody", 0),
    ] {
        let query = format!("{patient}&{more}");
        for answer in [fhir.get(&format!("List?{query}")).await, fhir.form("List/_search", &query).await] {
            assert_eq!((answer.status, answer.entries().len()), (200, expected), "{more}: {}", answer.resource);
            for list in answer.entries() {
                assert_eq!(json::list(list, "entry").len(), 1);
                let path = format!("List/{}", list["id"].as_str().unwrap());
                assert_eq!(fhir.get(&path).await.resource, *list);
            }
        }
    }
    let lines = Trail::of(solo.gateway()).lines("N-44^^^&amp;2.999.60.1&amp;ISO");
    assert!(lines.contains(&"ITI-66 E success patient query".to_owned()), "{lines:?}");
    fhir.judge();
}

/// MHD 2:3.68.4.1.3.
#[tokio::test]
async fn documents_are_retrieved_at_the_address_that_was_told_and_at_no_other() {
    let (solo, unique_ids) = world().await;
    let fhir = solo.fhir();
    let found = fhir.get(&format!("DocumentReference?identifier=urn:oid:{}", unique_ids[0])).await;
    let url = found.entries()[0]["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    let (status, headers, body) = bytes_at(&solo, &url, "*/*").await;
    assert_eq!((status, body.as_ref()), (200, &b"one"[..]));
    // SHA-1, as the metadata has it.
    assert_eq!(headers["etag"], "\"fe05bcdcdc4928012781a5f1a2a77cbb5398e106\"");
    assert_eq!(headers["content-security-policy"], "sandbox; default-src 'none'");
    let object = Trail::of(solo.gateway()).lines(&unique_ids[0]);
    assert!(object.contains(&"ITI-68 R success patient document".to_owned()), "{object:?}");
    let refused = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["resourceType"] == "OperationOutcome";
    let segment = url.rsplit('/').next().unwrap();
    let (handle, seal) = segment.rsplit_once('.').unwrap();
    let other: String = seal.chars().map(|c| if c == '0' { '1' } else { '0' }).collect();
    for (what, path, accept, expected) in [
        ("another seal", format!("Binary/{handle}.{other}"), "*/*", 404),
        ("no seal", format!("Binary/{handle}"), "*/*", 404),
        ("part of a seal", format!("Binary/{}", &segment[..segment.len() - 2]), "*/*", 404),
        ("something", "Binary/x".to_owned(), "*/*", 404),
        ("a unique id", format!("Binary/{}", unique_ids[0]), "*/*", 404),
        ("another format", format!("Binary/{segment}"), "application/pdf", 406),
        ("a resource", format!("Binary/{segment}"), "application/fhir+json", 406),
        ("its own format", format!("Binary/{segment}"), "text/plain;q=0.5, image/png", 200),
    ] {
        let (status, _, body) = bytes_at(&solo, &format!("https://localhost/fhir/{path}"), accept).await;
        assert_eq!(status, expected, "{what}");
        assert!(status == 200 || refused(&body), "{what}");
    }
    // Bytes that are damaged on the disk never come whole.
    damage(&solo.ground.folder.path().join("data"));
    let path = url.strip_prefix("https://localhost").unwrap();
    let mut curl = std::process::Command::new("curl");
    let keys = solo.ground.folder.path().join("certificates");
    curl.args(["-sS", "--resolve", &format!("localhost:{}:127.0.0.1", solo.running.https.port())]);
    curl.arg("--cacert").arg(solo.ground.folder.path().join("trust-store/local/root.pem"));
    curl.arg("--cert").arg(keys.join("partner.pem")).arg("--key").arg(keys.join("partner.key"));
    curl.arg(format!("https://localhost:{}{path}", solo.running.https.port()));
    let output = tokio::task::spawn_blocking(move || curl.output()).await.unwrap();
    match output {
        Ok(output) => {
            let is_refused = refused_whole(&output.stdout);
            assert!(!output.status.success() || is_refused, "{output:?}");
            assert_ne!(output.stdout, b"one");
        }
        Err(error) => ihe_tests::missing(format!("curl: {error}")),
    }
    fhir.judge();
}

fn refused_whole(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|value| value["resourceType"] == "OperationOutcome")
}

/// Changes a byte of every document on the disk.
fn damage(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            damage(&entry.path());
        } else if entry.path().components().any(|one| one.as_os_str() == "documents") {
            let mut bytes = std::fs::read(entry.path()).unwrap();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            std::fs::write(entry.path(), bytes).unwrap();
        }
    }
}
