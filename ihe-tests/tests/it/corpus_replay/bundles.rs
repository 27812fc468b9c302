//! Provide Document Bundles of the corpus, each sent to a gateway that knows its patient.

use causeway::fhir::{json, xml};
use ihe_tests::harness::Solo;
use serde_json::Value;

use super::{check, requests};
use crate::iti_83::{NORTH, PATIENTS, WORLD, register};

/// The Patients that messages refer to, on servers of their suites.
const SUBJECTS: [&str; 4] = [
    "\"Patient/ex-patient\"",
    "\"https://ehealthsuisse.ihe-europe.net:9743/asbestos/proxy/default__default/Patient/1\"",
    "\"http://localhost:9090/fhir/Patient/761337610411265304\"",
    "\"Patient/2.16.756.5.30.1.191.1.0.2.1-c55f4ca7-bd4e-4134-8dcd-56b793ade958\"",
];

#[tokio::test]
async fn bundles_of_the_corpus() {
    let Some(mut rows) = requests("fhir-mhd/") else { return };
    rows.retain(|row| row.transaction == "ITI-65" || row.transaction.starts_with("metadata update"));
    let mut answers = Vec::new();
    for row in &rows {
        // The messages share ids, so each has a gateway of its own.
        let solo = Solo::start(WORLD).await;
        register(&solo, &PATIENTS).await;
        let fhir = solo.fhir();
        let found = fhir.get(&format!("Patient?identifier={NORTH}%7CN-44")).await;
        let patient = format!("\"Patient/{}\"", found.entries()[0]["id"].as_str().unwrap());
        let text = row.text();
        // One is a whole HTTP request.
        let text =
            text.split_once("\n\n").filter(|_| text.starts_with("POST ")).map_or(text.as_str(), |(_, body)| body);
        let filled = SUBJECTS.iter().fold(text.to_owned(), |text, subject| text.replace(subject, &patient));
        let answer = if row.path.ends_with(".xml") {
            let resource = xml::read(filled.as_bytes(), &causeway::xml::Limits::default()).unwrap();
            fhir.xml("POST", "", &resource).await
        } else {
            let resource: Value = serde_json::from_str(&filled).unwrap();
            match json::text(&resource, "resourceType") {
                Some("Bundle") => fhir.json("POST", "", &resource).await,
                _ => {
                    let path = format!("DocumentReference/{}", resource["id"].as_str().unwrap());
                    fhir.json("PUT", &path, &resource).await
                }
            }
        };
        let issue = &answer.resource["issue"][0];
        let code = issue["details"]["coding"][0]["code"].as_str().or(issue["code"].as_str()).unwrap_or_default();
        if answer.status == 200 {
            let entries = json::list(&answer.resource, "entry");
            let asked: Value = serde_json::from_str(&filled).unwrap();
            assert_eq!(entries.len(), json::list(&asked, "entry").len(), "{}", row.path);
            fhir.judge();
        }
        answers.push((row, format!("{} {code}", answer.status).trim().to_owned()));
    }
    check(
        "fhir-mhd/",
        &answers,
        &[
            (
                "ex-comprehensiveprovidedocumentbundlemultiple",
                "422 XDSRepositoryDuplicateUniqueIdInMessage",
                "it gives two documents one uniqueId (ITI TF-3: 4.2.3.2.26)",
            ),
            (
                "ex-minimalprovidedocumentbundlesimple.json",
                "422 XDSUnknownPatientId",
                "its Patient has no identifier, so nobody can tell who it is",
            ),
            (
                "minimalprovidedocumentbundlesimplecontained",
                "422 XDSUnknownPatientId",
                "it names no patient, and a registry keeps documents of patients",
            ),
            ("nist-pdb", "422 invariant", "it is of STU3, with a DocumentManifest, which MHD 4 does not have"),
            ("mag-update-request-1", "405 not-supported", "metadata update over FHIR is no transaction of MHD"),
        ],
        |expected, answer| expected.contains("Success") && answer == "200",
    );
}
