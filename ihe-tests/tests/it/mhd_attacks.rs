//! Bundles that are hostile or large: each is answered with an OperationOutcome and recorded, nothing of it is kept, and the
//! gateway goes on. And curl as a client that nobody here wrote.

use std::net::TcpListener;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ihe_tests::harness::{Solo, Trail};
use serde_json::{Value, json};

use crate::iti_65::{Parcel, ada, provide};
use crate::iti_83::{NORTH, PATIENTS, WORLD, register};

#[tokio::test]
async fn hostile_bundles_are_refused_and_the_gateway_goes_on() {
    let solo = Solo::start(&format!("{WORLD}[limits]\nfhir_mib = 1\n")).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    // Nobody ever comes to an address that a message names.
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let address = format!("https://{}/x", trap.local_addr().unwrap());
    let mut lured = Parcel::new("UnContained.Comprehensive", &ada(), &["x"]);
    lured.document(0)["author"] = json!([{"reference": address}]);
    lured.document(0)["authenticator"] = json!({"reference": address});
    lured.document(0)["content"][0]["attachment"]["url"] = address.clone().into();
    lured.list()["source"] = json!({"reference": address});
    let mut deep = Parcel::new("Comprehensive", &ada(), &["x"]);
    let nested = (0..100).fold(json!("x"), |inner, _| json!({"extension": [inner]}));
    deep.document(0)["extension"] = json!([nested]);
    let large = Parcel::new("Comprehensive", &ada(), &["x".repeat(1 << 20).as_str()]);
    let mut crowd = Parcel::new("Comprehensive", &ada(), &["x"]);
    for at in 0..5000 {
        crowd.add(&format!("urn:x:{at}"), json!({"resourceType": "Binary", "data": "eA=="}));
    }
    let mut members = Parcel::new("Comprehensive", &ada(), &["x"]);
    let name = members.bundle["entry"][1]["fullUrl"].clone();
    members.list()["entry"] = (0..5000).map(|_| json!({"item": {"reference": name}})).collect();
    let mut twice = Parcel::new("Comprehensive", &ada(), &["x", "y"]);
    let (one, two) = (twice.bundle["entry"][1]["fullUrl"].clone(), twice.bundle["entry"][3]["fullUrl"].clone());
    twice.document(0)["relatesTo"] = json!([{"code": "appends", "target": {"reference": two}}]);
    twice.document(1)["relatesTo"] = json!([{"code": "transforms", "target": {"reference": one}}]);
    for (what, parcel, status, code) in [
        ("addresses of others", lured, 422, "processing"),
        ("depth", deep, 400, "structure"),
        ("size", large, 413, "too-long"),
        ("entries", crowd, 403, "too-costly"),
        ("members", members, 403, "too-costly"),
        ("a circle", twice, 422, "invariant"),
    ] {
        let answer = provide(&fhir, &parcel).await;
        let (told, kind, _) = answer.issue();
        assert_eq!((told, kind), (status, code), "{what}: {}", answer.resource);
        let lines = Trail::of(solo.gateway()).lines(answer.trace());
        assert!(lines.len() == 1 && lines[0].starts_with("ITI-65 C failure"), "{what}: {lines:?}");
    }
    assert!(trap.accept().is_err(), "somebody came");
    for (body, status) in [
        (r#"{"resourceType":"Bundle","resourceType":"Patient"}"#, 400),
        (r#"{"resourceType":"Bundle","type":"transaction","entry":{"resource":1}}"#, 422),
        (
            r#"{"resourceType":"Bundle","type":"transaction","meta":{"profile":["IHE.MHD.Minimal.ProvideBundle"]},"entry":[{"resource":[]}]}"#,
            400,
        ),
        ("[]", 400),
        ("", 415),
    ] {
        let answer = fhir.send("POST", "", &[("content-type", "application/fhir+json")], body).await;
        assert!(answer.status == status || answer.status == 400, "{body}: {}", answer.resource);
    }
    // People of other servers are left where they are, and what is told of them stays.
    let mut parcel = Parcel::new("UnContained.Comprehensive", &ada(), &["x"]);
    parcel.document(0)["author"] = json!([{"reference": address, "display": "Somebody Else"}]);
    let answer = provide(&fhir, &parcel).await;
    assert_eq!(answer.status, 200, "{}", answer.resource);
    assert!(trap.accept().is_err(), "somebody came");
    let found = fhir.get(&format!("DocumentReference?patient.identifier={NORTH}%7CN-44&status=current")).await;
    assert_eq!(found.resource["total"], 1);
    fhir.judge();
}

/// Entries of the configuration that allow the one and not the other.
#[tokio::test]
async fn a_client_does_what_its_entry_says_and_nothing_else() {
    for (may, provides, finds) in [("find_documents = true", 403, 200), ("provide_documents = true", 200, 403)] {
        let world = WORLD.replace("find_documents = true\nprovide_documents = true", may);
        let solo = Solo::start(&world).await;
        register(&solo, &PATIENTS).await;
        let fhir = solo.fhir();
        let answer = provide(&fhir, &Parcel::new("Comprehensive", &ada(), &["x"])).await;
        assert_eq!(answer.status, provides, "{may}: {}", answer.resource);
        let patient = format!("patient.identifier={NORTH}%7CN-44&status=current");
        for path in [format!("DocumentReference?{patient}"), format!("List?{patient}&code=submissionset")] {
            assert_eq!(fhir.get(&path).await.status, finds, "{may} {path}");
        }
        let expected = if finds == 403 { 403 } else { 404 };
        assert_eq!(fhir.get("Binary/x").await.status, expected, "{may}");
        assert_eq!(fhir.json("POST", "DocumentReference", &json!({})).await.status, 400, "{may}");
    }
}

/// curl, which provides a document of five megabytes and gets it again as it was.
#[tokio::test]
async fn curl_provides_and_retrieves_a_large_document() {
    if !Command::new("curl").arg("--version").output().is_ok_and(|told| told.status.success()) {
        return ihe_tests::missing("curl is not installed");
    }
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let folder = solo.ground.folder.path().to_owned();
    let base = format!("https://localhost:{}/fhir", solo.running.https.port());
    let curl = async |arguments: &[&str], path: &str| -> Output {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60"]);
        command.arg("--cacert").arg(folder.join("trust-store/local/root.pem"));
        command.arg("--cert").arg(folder.join("certificates/partner.pem"));
        command.arg("--key").arg(folder.join("certificates/partner.key"));
        command.args(arguments).arg(format!("{base}/{path}"));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        output
    };
    let mut parcel = Parcel::new("Comprehensive", &ada(), &["x"]);
    let document: Vec<u8> = (0..5_000_000_u32).map(|at| (at * 31 / 7) as u8).collect();
    parcel.bundle["entry"][0]["resource"]["data"] = STANDARD.encode(&document).into();
    let file = folder.join("bundle.json");
    std::fs::write(&file, parcel.bundle.to_string()).unwrap();
    let data = format!("@{}", file.display());
    let sent = curl(&["--header", "Content-Type: application/fhir+json", "--data-binary", &data], "").await;
    let answer: Value = serde_json::from_slice(&sent.stdout).unwrap();
    let location = answer["entry"][0]["response"]["location"].as_str().unwrap();
    assert_eq!(curl(&[], location).await.stdout, document);
    let form = ["--data-urlencode", "patient.identifier=urn:oid:2.999.60.1|N-44", "--data-urlencode", "status=current"];
    let found: Value = serde_json::from_slice(&curl(&form, "DocumentReference/_search").await.stdout).unwrap();
    assert_eq!(found["entry"][0]["resource"]["content"][0]["attachment"]["size"], document.len());
}
