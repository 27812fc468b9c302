//! A SOAP client that others wrote (Python's zeep, signxml, requests) finds a patient and brings the documents home,
//! with nothing from us but the WSDL that the running gateway serves.

use std::path::Path;

use causeway::sandbox::Site;
use ihe_tests::harness::World;

#[test]
fn an_ordinary_soap_client_finds_a_patient_and_retrieves_the_documents() {
    let Some(mut python) = ihe_tests::python() else { return };
    let world = World::shared();
    let hospital = world.sandbox.folder.join("hospital");
    let output = python
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/zeep_exchange.py"))
        .arg(world.at(Site::Valley).gateway.community.public_url.as_str())
        .arg(hospital.join("trust-store/carequality/sandbox.pem"))
        .arg(hospital.join("certificates/gateway.pem"))
        .arg(hospital.join("certificates/gateway.key"))
        .args(["urn:oid:2.999.1.2", "V2001^^^&2.999.1.2.1&ISO", "Lindqvist", "Adaline", "19840317", "F"])
        .output()
        .unwrap();
    if output.status.code() == Some(3) {
        return ihe_tests::missing("python packages zeep, signxml or requests are not installed");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2..].sort_unstable();
    assert_eq!(
        lines,
        ["discovered V2001 2.999.1.2.1", "found 2", "retrieved application/pdf whole", "retrieved text/xml whole"]
    );
    let records = world.trail(Site::Valley).lines("zeep@peer.example.org");
    let expected =
        ["ITI-55 E success patient query", "ITI-38 E success patient query", "ITI-39 R success document document"];
    assert_eq!(records, expected);
}
