//! Patient Identity Feed FHIR: create, conditional update, merge and removal, of the client's own domains only. What was
//! fed is asked for in FHIR and in HL7 v2.

use causeway::xds::repository::PROVIDE_ACTION;
use ihe_tests::harness::samples::{self, Document};
use ihe_tests::harness::{Feed, Solo, Trail};
use serde_json::{Value, json};

use crate::iti_83::{NORTH, WEST, WORLD};

fn patient(ids: &[(&str, &str)], family: &str) -> Value {
    let ids: Vec<Value> = ids.iter().map(|(system, value)| json!({"system": system, "value": value})).collect();
    json!({"resourceType": "Patient", "identifier": ids, "name": [{"family": family, "given": ["Ada"]}],
        "gender": "female", "birthDate": "1987-03-12"})
}

fn of(value: &str) -> String {
    format!("Patient?identifier={NORTH}%7C{value}")
}

/// The family name and the identifiers that a search by identifier tells.
async fn known(solo: &Solo, value: &str) -> Option<(String, Vec<String>)> {
    let fhir = solo.fhir();
    let found = fhir.get(&of(value)).await;
    assert_eq!(found.status, 200);
    let patient = found.entries().first().copied().cloned()?;
    let ids = patient["identifier"].as_array().unwrap().iter().map(|id| id["value"].as_str().unwrap().to_owned());
    Some((patient["name"][0]["family"].as_str().unwrap().to_owned(), ids.collect()))
}

fn family(name: &str, ids: &[&str]) -> Option<(String, Vec<String>)> {
    Some((name.to_owned(), ids.iter().map(ToString::to_string).collect()))
}

#[tokio::test]
async fn a_record_is_added_changed_merged_and_taken_back() {
    let solo = Solo::start(WORLD).await;
    let (fhir, trail) = (solo.fhir(), Trail::of(solo.gateway()));

    let added = fhir.json("PUT", &of("F-1"), &patient(&[(NORTH, "F-1"), (WEST, "0001")], "Okafor")).await;
    assert_eq!((added.status, added.resource.is_null()), (201, true));
    let location = added.header("location").to_owned();
    assert!(location.starts_with("https://localhost/fhir/Patient/"), "{location}");
    assert_eq!(known(&solo, "F-1").await, family("Okafor", &["F-1", "0001"]));

    // XML does the same, and a client that wants to see the record sees what it sent.
    let headers = [("content-type", "application/fhir+xml"), ("prefer", "return=representation")];
    let changed = patient(&[(NORTH, "F-1"), (WEST, "0001")], "Lindqvist");
    let body = causeway::fhir::xml::write(&changed).unwrap();
    let changed = fhir.send("PUT", &of("F-1"), &headers, body).await;
    assert_eq!((changed.status, changed.header("location")), (200, location.as_str()));
    assert_eq!(changed.resource["name"][0]["family"], "Lindqvist");
    assert_eq!(known(&solo, "F-1").await, family("Lindqvist", &["F-1", "0001"]));
    assert_eq!(
        trail.lines("F-1^^^&amp;2.999.60.1&amp;ISO")[..2],
        ["ITI-104 C success patient", "ITI-78 E success patient query"]
    );

    let created = fhir.json("POST", "Patient", &patient(&[(NORTH, "F-2")], "Obi")).await;
    assert_eq!(created.status, 201);
    let again = fhir.json("POST", "Patient", &patient(&[(NORTH, "F-2")], "Eze")).await;
    assert_eq!(again.issue().0, 409);
    let condition = format!("identifier={NORTH}|F-2");
    let headers = [("content-type", "application/fhir+json"), ("if-none-exist", condition.as_str())];
    let body = patient(&[(NORTH, "F-2")], "Eze").to_string();
    let found = fhir.send("POST", "Patient", &headers, body).await;
    assert_eq!((found.status, found.header("location")), (200, created.header("location")));
    assert_eq!(known(&solo, "F-2").await, family("Obi", &["F-2"]), "nothing is written when the condition finds it");

    // PIXm 2:3.104.4.1.3.2: the record that ends names the one that stays.
    let mut merge = patient(&[(NORTH, "F-1")], "Lindqvist");
    merge["active"] = json!(false);
    merge["link"] = json!([{"type": "replaced-by", "other": {"identifier": {"system": NORTH, "value": "F-2"}}}]);
    assert_eq!(fhir.json("PUT", &of("F-1"), &merge).await.status, 200);
    assert_eq!(known(&solo, "F-1").await, None);
    let ids = known(&solo, "F-2").await.unwrap().1;
    assert_eq!(ids, ["F-2", "0001"]);
    assert_eq!(trail.lines("F-1^^^&amp;2.999.60.1&amp;ISO").last().unwrap(), "ITI-104 D success patient");
    let asked = fhir.get(&format!("Patient/$ihe-pix?sourceIdentifier={NORTH}%7CF-1")).await;
    assert_eq!(asked.issue().0, 404);
    // What is gone cannot go again, and does not come back as if nothing had been.
    assert_eq!(fhir.json("PUT", &of("F-1"), &merge).await.issue().0, 409);
    assert_eq!(fhir.json("PUT", &of("F-1"), &patient(&[(NORTH, "F-1")], "Okafor")).await.issue().0, 409);

    // HL7 v2 sees the same.
    let query =
        "MSH|^~\\&|EHR|WEST|||20260115||QBP^Q23^QBP_Q21|Q1|P|2.5\rQPD|IHE PIX Query|t|F-2^^^&2.999.60.1&ISO\rRCP|I\r";
    let told = Feed::open(solo.mllp()).await.ask(query.as_bytes()).await;
    assert!(told.text.contains("0001^^^WEST&2.999.60.2&ISO"), "{}", told.text);

    assert_eq!(fhir.send("DELETE", &of("F-2"), &[], "").await.status, 204);
    assert_eq!(known(&solo, "F-2").await, None);
    let asked = fhir.get(&format!("Patient/$ihe-pix?sourceIdentifier={WEST}%7C0001")).await;
    assert_eq!((asked.status, asked.resource.get("parameter")), (200, None));
    assert_eq!(fhir.send("DELETE", &of("F-2"), &[], "").await.issue(), (404, "not-found", "there is no such Patient"));
    fhir.judge();
}

#[tokio::test]
async fn feeds_that_cannot_be_applied_change_nothing_and_say_why() {
    let solo = Solo::start(WORLD).await;
    let (fhir, trail) = (solo.fhir(), Trail::of(solo.gateway()));
    let south = "urn:oid:2.999.60.3";
    assert_eq!(fhir.json("PUT", &of("R-1"), &patient(&[(NORTH, "R-1")], "Okafor")).await.status, 201);
    let with = |member: &str, value: Value| {
        let mut patient = patient(&[(NORTH, "R-9")], "Obi");
        patient[member] = value;
        patient
    };
    let link = |system: &str, value: &str| {
        let other = json!({"identifier": {"system": system, "value": value}});
        let mut patient = with("link", json!([{"type": "replaced-by", "other": other}]));
        patient["active"] = json!(false);
        patient
    };
    let at = |system: &str, value: &str| format!("Patient?identifier={system}%7C{value}");
    for (story, method, path, body, status) in [
        ("a domain of another source", "PUT", at(south, "S-1"), patient(&[(south, "S-1")], "Obi"), 403),
        (
            "one of its identifiers is another source's",
            "PUT",
            of("R-9"),
            patient(&[(NORTH, "R-9"), (south, "S-1")], "Obi"),
            403,
        ),
        (
            "a domain that nobody has",
            "PUT",
            at("urn:oid:2.999.9", "X"),
            patient(&[("urn:oid:2.999.9", "X")], "Obi"),
            403,
        ),
        ("another identifier in the body", "PUT", of("R-9"), patient(&[(NORTH, "R-8")], "Obi"), 422),
        ("no identifier in the body", "PUT", of("R-9"), patient(&[], "Obi"), 400),
        ("no name", "PUT", of("R-9"), with("name", json!([])), 400),
        ("no condition", "PUT", "Patient".into(), patient(&[(NORTH, "R-9")], "Obi"), 400),
        (
            "a condition without a domain",
            "PUT",
            "Patient?identifier=R-9".into(),
            patient(&[(NORTH, "R-9")], "Obi"),
            400,
        ),
        ("two conditions", "PUT", format!("{}&family=Obi", of("R-9")), patient(&[(NORTH, "R-9")], "Obi"), 400),
        ("inactive without a successor", "PUT", of("R-9"), with("active", json!(false)), 422),
        ("a gender that is none", "PUT", of("R-9"), with("gender", json!("robot")), 400),
        (
            "a modifier that could mean anything",
            "PUT",
            of("R-9"),
            with("modifierExtension", json!([{"url": "u"}])),
            400,
        ),
        ("no Patient", "PUT", of("R-9"), json!({"resourceType": "Group"}), 400),
        (
            "a merge into nobody",
            "PUT",
            of("R-1"),
            {
                let mut one = link(NORTH, "R-7");
                one["identifier"][0]["value"] = json!("R-1");
                one
            },
            422,
        ),
        ("a merge of nobody", "PUT", of("R-9"), link(NORTH, "R-1"), 409),
        ("a merge across domains", "PUT", of("R-9"), link(WEST, "0001"), 422),
        ("a merge with itself", "PUT", of("R-9"), link(NORTH, "R-9"), 422),
        ("an identifier of no domain here", "POST", "Patient".into(), patient(&[("urn:oid:2.999.9", "X")], "Obi"), 422),
        ("a removal of another source's", "DELETE", at(south, "S-1"), Value::Null, 403),
        ("a removal of everybody", "DELETE", "Patient".into(), Value::Null, 400),
        ("an update by logical id", "PUT", "Patient/1".into(), patient(&[(NORTH, "R-9")], "Obi"), 405),
    ] {
        let answer = match &body {
            Value::Null => fhir.send(method, &path, &[], "").await,
            body => fhir.json(method, &path, body).await,
        };
        assert_eq!(answer.issue().0, status, "{story}: {}", answer.resource);
        let lines = trail.lines(answer.trace());
        assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("failure")), "{story}: {lines:?}");
        assert_eq!(known(&solo, "R-9").await, None, "{story}");
    }
    assert_eq!(known(&solo, "R-1").await, family("Okafor", &["R-1"]));
    fhir.judge();
}

/// A patient who has documents is not taken back: nobody would find them any more.
#[tokio::test]
async fn a_record_with_documents_stays() {
    let solo = Solo::start(WORLD).await;
    let fhir = solo.fhir();
    assert_eq!(fhir.json("PUT", &of("D-1"), &patient(&[(NORTH, "D-1")], "Okafor")).await.status, 201);
    let cx = "D-1^^^&2.999.60.1&ISO";
    let documents = [Document::new("text/plain", b"x")];
    let body = samples::provide(samples::submission(&samples::patient(cx), &documents));
    let letter = solo.letter("DocumentRepository", PROVIDE_ACTION, body);
    let to = solo.running.https;
    let provided = solo.client.ask_mtom(to, "/DocumentRepository", &letter, &samples::attachments(&documents)).await;
    assert!(provided.envelope.contains("ResponseStatusType:Success"), "{}", provided.envelope);
    let refused = fhir.send("DELETE", &of("D-1"), &[], "").await;
    assert_eq!(refused.issue(), (409, "conflict", "documents are registered for the patient"));
    assert_eq!(known(&solo, "D-1").await, family("Okafor", &["D-1"]));
    fhir.judge();
}

/// The link of a merge may name the Patient of this server.
#[tokio::test]
async fn a_merge_may_name_the_patient_that_stays_by_its_url() {
    let solo = Solo::start(WORLD).await;
    let fhir = solo.fhir();
    let mut urls = Vec::new();
    for (id, other) in [("L-1", "0008"), ("L-2", "0009")] {
        let added = fhir.json("PUT", &of(id), &patient(&[(NORTH, id), (WEST, other)], "Okafor")).await;
        urls.push(added.header("location").to_owned());
    }
    let relative = urls[1].strip_prefix("https://localhost/fhir/").unwrap();
    let link = |reference: &str| {
        let mut one = patient(&[(NORTH, "L-1")], "Okafor");
        one["active"] = json!(false);
        one["link"] = json!([{"type": "replaced-by", "other": {"reference": reference}}]);
        one
    };
    for (reference, status) in [
        ("https://elsewhere.example/fhir/Patient/1", 422),
        ("Patient/00000000000000000000000000000000", 422),
        ("Group/1", 422),
        // The record itself is no other one.
        (urls[0].as_str(), 422),
        (relative, 200),
    ] {
        let told = fhir.json("PUT", &of("L-1"), &link(reference)).await;
        assert_eq!(told.status, status, "{reference}: {}", told.resource);
    }
    assert_eq!(known(&solo, "L-2").await.unwrap().1, ["L-2", "0009", "0008"]);
    let lines = Trail::of(solo.gateway()).lines("L-2^^^&amp;2.999.60.1&amp;ISO");
    assert!(lines.contains(&"ITI-104 U success patient".to_owned()), "{lines:?}");
    // The resource of a person who became one with another is gone.
    let gone = urls[0].strip_prefix("https://localhost/fhir/").unwrap();
    assert_eq!(fhir.get(gone).await.issue().0, 404);
    assert_eq!(fhir.get(relative).await.status, 200);
    fhir.judge();
}

/// Feeds of one patient at the same moment, in whichever order they come, make one record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_at_the_same_moment_make_no_duplicate() {
    let solo = Solo::start(WORLD).await;
    let (fhir, mut feed) = (solo.fhir(), Feed::open(solo.mllp()).await);
    for round in 0..4 {
        let id = format!("T-{round}");
        let (first, second) = (patient(&[(NORTH, &id)], "Okafor"), patient(&[(NORTH, &id)], "Lindqvist"));
        let message = format!(
            "MSH|^~\\&|ADT|NORTH|||20260115||ADT^A04^ADT_A01|T{round}|P|2.3.1\rEVN|A04|20260115\r\
             PID|||{id}^^^&2.999.60.1&ISO||Okafor^Ada||19870312|F\rPV1||O\r"
        );
        let path = of(&id);
        let told = tokio::join!(
            fhir.json("PUT", &path, &first),
            fhir.json("PUT", &path, &second),
            fhir.json("POST", "Patient", &first),
            fhir.json("PUT", &path, &second),
            feed.ask(message.as_bytes()),
        );
        assert!([&told.0, &told.1, &told.3].iter().all(|told| matches!(told.status, 200 | 201)));
        assert!(matches!(told.2.status, 201 | 409) && told.4.code.code() == "AA");
        let found = fhir.get(&path).await;
        assert_eq!(found.resource["total"], 1, "{id}");
    }
    let gateway = solo.gateway();
    assert_eq!(gateway.identities.counts().unwrap(), (4, 4));
    assert_eq!(gateway.identities.verify_consistency(&gateway.tenant).unwrap(), []);
}
