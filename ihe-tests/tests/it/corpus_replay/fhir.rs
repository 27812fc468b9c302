//! FHIR messages of the corpus: feeds (ITI-104) in their order, then cross-reference queries (ITI-83), matches (ITI-119)
//! and the request lines that the guides print, at one gateway with the domains of the guides.

use std::collections::BTreeMap;

use causeway::fhir::pixm::Response;
use causeway::fhir::{json, xml};
use ihe_tests::harness::Solo;
use ihe_tests::harness::fhir::{Fhir, Told};
use serde_json::Value;

use super::{Exceptions, Row};

/// Namespace, universal id and its type.
const DOMAINS: [(&str, &str, &str); 7] = [
    ("IHERED", "1.3.6.1.4.1.21367.13.20.1000", "ISO"),
    ("IHEGREEN", "1.3.6.1.4.1.21367.13.20.2000", "ISO"),
    ("IHEBLUE", "1.3.6.1.4.1.21367.13.20.3000", "ISO"),
    ("MAGMED", "2.16.756.5.30.1.196.3.2.1", "ISO"),
    ("OPENMRS", "http://clientregistry.org/openmrs", "URI"),
    ("DHIS2", "http://clientregistry.org/dhis2", "URI"),
    ("LIMS", "http://clientregistry.org/lims", "URI"),
];

/// What is in the corpus and no request of a transaction served here.
const EXCEPTIONS: &Exceptions = &[
    ("connectathon-001_pmir-bundle", "400 invalid", "PMIR (ITI-93) is not served"),
    ("mag-patientfeed.json", "400 invalid", "PMIR (ITI-93) is not served"),
    ("ipf-identifiers.xml", "400 structure", "a list of naming systems and no request"),
    ("andlink", "400 invalid", "a search result and no request"),
    ("opencr-patientreport.json", "404 not-supported", "a report and no request"),
    ("opencr-patientsbundle.json", "400 invalid", "a batch, which PIXm does not have"),
];

fn configuration() -> String {
    let mut text = String::new();
    for (namespace, id, kind) in DOMAINS {
        text += &format!("[[domains]]\nname = \"{namespace}\"\nnamespace = \"{namespace}\"\n");
        text += &match kind {
            "ISO" => format!("oid = \"{id}\"\n"),
            kind => format!("universal_id = \"{id}\"\nuniversal_id_type = \"{kind}\"\n"),
        };
    }
    let all = DOMAINS.map(|(namespace, ..)| format!("{namespace:?}")).join(", ");
    text + &format!(
        "[[fhir_clients]]\nname = \"suite\"\nnetwork = \"local\"\ncertificate_name = \"partner.example.org\"\n\
         purpose = \"TREATMENT\"\nfind_patients = true\nfeed = [{all}]\n"
    )
}

/// Every request and feed of the folders, whatever the manifest calls its direction.
fn rows() -> Option<Vec<Row>> {
    let corpus = ihe_tests::shared()?.join("corpus");
    let manifest = std::fs::read_to_string(corpus.join("MANIFEST.tsv")).unwrap();
    let rows = manifest.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let here = ["fhir-pixm/", "fhir-match/"].iter().any(|folder| columns[0].starts_with(folder));
        (here && (columns[3].starts_with("request") || columns[3].starts_with("feed"))).then(|| Row {
            path: columns[0].to_owned(),
            transaction: columns[2].to_owned(),
            direction: columns[3].to_owned(),
            expected: columns[7].to_owned(),
            file: corpus.join(columns[0]),
        })
    });
    let mut rows: Vec<Row> = rows.collect();
    assert!(rows.len() > 20, "{}", rows.len());
    // Who is asked for has to be known: feeds first, each folder in its order.
    rows.sort_by_key(|row| !row.direction.starts_with("feed"));
    Some(rows)
}

/// `200`, or the status with the code of the issue.
fn outcome(told: &Told) -> String {
    let issue = &json::list(&told.resource, "issue").first().map_or(&Value::Null, |issue| &issue["code"]);
    match issue.as_str() {
        Some(code) => format!("{} {code}", told.status),
        None => told.status.to_string(),
    }
}

fn resource(text: &str) -> Value {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).unwrap();
    }
    xml::read(text.as_bytes(), &causeway::xml::Limits::default()).unwrap_or(Value::Null)
}

/// Sends a message where it belongs.
async fn replay(fhir: &Fhir<'_>, row: &Row) -> Told {
    let text = row.text();
    if row.direction.contains("HTTP text") {
        let (head, body) = text.split_once("\n\n").or_else(|| text.split_once("\r\n\r\n")).unwrap();
        let mut line = head.split_whitespace();
        let (method, path) = (line.next().unwrap(), line.next().unwrap().trim_start_matches('/'));
        return fhir.send(method, path, &[("content-type", "application/fhir+json")], body.to_owned()).await;
    }
    let content_type =
        if text.trim_start().starts_with('{') { "application/fhir+json" } else { "application/fhir+xml" };
    let resource = resource(&text);
    let path = match (json::resource_type(&resource), row.transaction.as_str()) {
        ("Parameters" | "Bundle" | "", "ITI-83") => "Patient/$ihe-pix".to_owned(),
        (_, "ITI-119") => "Patient/$match".to_owned(),
        ("Patient", _) => {
            let id = &json::list(&resource, "identifier")[0];
            let (system, value) = (id["system"].as_str().unwrap(), id["value"].as_str().unwrap());
            format!("Patient?identifier={system}%7C{value}")
        }
        // A Bundle goes to the base.
        ("Bundle" | "", _) => String::new(),
        (kind, _) => kind.to_owned(),
    };
    let method = if path.starts_with("Patient?") { "PUT" } else { "POST" };
    fhir.send(method, &path, &[("content-type", content_type)], text).await
}

#[tokio::test]
async fn fhir_messages_of_the_corpus() {
    let Some(rows) = rows() else { return };
    let solo = Solo::start(&configuration()).await;
    let fhir = solo.fhir();
    let (mut answers, mut told) = (Vec::new(), BTreeMap::new());
    for row in &rows {
        let answer = replay(&fhir, row).await;
        answers.push((row, outcome(&answer)));
        told.insert(row.path.as_str(), answer.resource);
    }
    super::check("fhir-pixm/, fhir-match/", &answers, EXCEPTIONS, |_, answer| answer == "200" || answer == "201");

    // The guide's own answer has the same identifiers as ours.
    let red = &told["fhir-pixm/ihe-pixm-pixm-request-mohralice-red-all.xml"];
    let corpus = rows[0].file.parent().unwrap().parent().unwrap();
    let guide = corpus.join("fhir-pixm/ihe-pixm-pixm-response-mohralice-red-all.xml");
    let guide = resource(&std::fs::read_to_string(guide).unwrap());
    let identifiers = |resource: &Value| {
        let mut all: Vec<String> =
            Response::decode(resource).unwrap().identifiers.iter().map(|id| id.to_cx()).collect();
        all.sort();
        all
    };
    assert_eq!(identifiers(red), identifiers(&guide));

    let table = std::fs::read_to_string(corpus.join("fhir-pdqm/ihe-http-request-examples.tsv")).unwrap();
    let mut replayed = 0;
    let lines = table.lines().skip(1).filter(|line| line.contains("/Patient"));
    let mut requests: Vec<&str> = lines.map(|line| line.split('\t').nth(2).unwrap()).collect();
    requests.sort_by_key(|request| request.starts_with("DELETE"));
    for request in requests {
        let (method, url) = request.split_once(' ').unwrap();
        let path = &url[url.find("Patient").unwrap()..];
        // What the guide leaves open is no request; what a PUT carries is among the feeds above.
        if path.contains('[') || method == "PUT" {
            continue;
        }
        replayed += 1;
        let answer = fhir.send(method, &path.replace('|', "%7C"), &[], "").await;
        let expected = if method == "DELETE" { 204 } else { 200 };
        assert_eq!(answer.status, expected, "{request}: {}", answer.resource);
    }
    assert_eq!(replayed, 4, "two queries, a search, a removal");
    fhir.judge();
}
