//! PIXm Query (`$ihe-pix`) of a client over HTTPS with its certificate: every case of PIXm 2:3.83.4.2, by GET, by form and
//! by Parameters, in JSON and in XML.

use causeway::fhir::json;
use causeway::fhir::pixm::Response;
use ihe_tests::harness::fhir::Fhir;
use ihe_tests::harness::{Feed, Solo, Trail};
use serde_json::{Value, json};

pub const NORTH: &str = "urn:oid:2.999.60.1";
pub const WEST: &str = "urn:oid:2.999.60.2";

/// Domains, a source and a client that may do everything with patients and documents.
pub const WORLD: &str = "
[[domains]]
name = \"North\"
namespace = \"NORTH\"
oid = \"2.999.60.1\"
[[domains]]
name = \"West\"
namespace = \"WEST\"
oid = \"2.999.60.2\"
[[domains]]
name = \"South\"
namespace = \"SOUTH\"
oid = \"2.999.60.3\"
[[sources]]
name = \"adt\"
addresses = [\"127.0.0.1\"]
[[fhir_clients]]
name = \"bedside\"
network = \"local\"
certificate_name = \"partner.example.org\"
user = \"bedside@example.org\"
purpose = \"TREATMENT\"
purposes = [\"OPERATIONS\"]
find_patients = true
feed = [\"NORTH\", \"WEST\"]
find_documents = true
provide_documents = true
";

/// Registers patients over HL7 v2: identifiers in CX form, `family^given`, date of birth.
pub async fn register(solo: &Solo, patients: &[(&str, &str, &str)]) {
    let mut feed = Feed::open(solo.mllp()).await;
    for (at, (ids, name, birth)) in patients.iter().enumerate() {
        let message = format!(
            "MSH|^~\\&|ADT|NORTH|||20260115||ADT^A04^ADT_A01|R{at}|P|2.3.1\rEVN|A04|20260115\r\
             PID|||{ids}||{name}||{birth}|F|||12 Elm St^^Salem^OR^97301||^PRN^PH^^1^503^5550100\rPV1||O\r"
        );
        let told = feed.ask(message.as_bytes()).await;
        assert_eq!(told.code.code(), "AA", "{}", told.text);
    }
}

/// Ada is known in two domains, Kim in one.
pub const PATIENTS: [(&str, &str, &str); 2] = [
    ("N-44^^^&2.999.60.1&ISO~007^^^&2.999.60.2&ISO", "Okafor^Ada", "19870312"),
    ("N-45^^^&2.999.60.1&ISO", "Lee^Kim", "19590801"),
];

fn told(resource: &Value) -> Vec<String> {
    let response = Response::decode(resource).unwrap();
    response.identifiers.iter().map(|id| id.to_cx()).collect()
}

#[tokio::test]
async fn identifiers_of_other_domains_are_told_in_every_way_of_asking() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    let parameters = |source: &str, targets: &[&str]| {
        let source = json!({"name": "sourceIdentifier", "valueString": source});
        let targets = targets.iter().map(|target| json!({"name": "targetSystem", "valueUri": target}));
        let all: Vec<Value> = [source].into_iter().chain(targets).collect();
        json!({"resourceType": "Parameters", "parameter": all})
    };
    let west = "007^^^&2.999.60.2&ISO";
    for (source, targets, expected) in [
        (format!("{NORTH}|N-44"), &[][..], &[west][..]),
        (format!("{NORTH}|N-44"), &[WEST], &[west]),
        (format!("{NORTH}|N-44"), &[WEST, "urn:oid:2.999.60.3"], &[west]),
        (format!("{WEST}|007"), &[NORTH], &["N-44^^^&2.999.60.1&ISO"]),
        // Case 2: known, and nothing there. The source's own identifier is never told.
        (format!("{NORTH}|N-44"), &["urn:oid:2.999.60.3"], &[]),
        (format!("{NORTH}|N-44"), &[NORTH], &[]),
        (format!("{NORTH}|N-45"), &[], &[]),
    ] {
        let encoded = source.replace('|', "%7C");
        let query: String = targets.iter().map(|target| format!("&targetSystem={target}")).collect();
        let asked = parameters(&source, targets);
        let answers = [
            fhir.get(&format!("Patient/$ihe-pix?sourceIdentifier={encoded}{query}")).await,
            fhir.get(&format!("Patient/%24ihe-pix?sourceIdentifier={encoded}{query}&_format=xml")).await,
            fhir.form("Patient/$ihe-pix", &format!("sourceIdentifier={encoded}{query}")).await,
            fhir.json("POST", "Patient/$ihe-pix", &asked).await,
            fhir.xml("POST", "Patient/$ihe-pix", &asked).await,
        ];
        for (at, answer) in answers.iter().enumerate() {
            assert_eq!(answer.status, 200, "{source} {targets:?} {at}: {}", answer.resource);
            assert_eq!(told(&answer.resource), expected, "{source} {targets:?} {at}");
            assert_eq!(answer.header("cache-control"), "no-store");
            let references = json::list(&answer.resource, "parameter").iter().filter(|one| one["name"] == "targetId");
            assert_eq!(references.count(), usize::from(targets.is_empty() && !expected.is_empty()), "{source}");
        }
        let formats = [0, 1, 3, 4].map(|at| answers[at].header("content-type").split(';').next().unwrap().to_owned());
        assert_eq!(formats, ["json", "xml", "json", "xml"].map(|kind| format!("application/fhir+{kind}")));
    }
    fhir.judge();
}

/// The Patient here is one more identity of the person (PIXm 2:3.83.4.1.2).
#[tokio::test]
async fn the_patient_of_this_server_is_a_source_and_a_target() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    let base = "https://localhost/fhir";
    let asked = format!("Patient/$ihe-pix?sourceIdentifier={NORTH}%7CN-45&targetSystem={base}");
    let answer = fhir.get(&asked).await;
    let response = Response::decode(&answer.resource).unwrap();
    assert_eq!((answer.status, response.identifiers.len(), response.references.len()), (200, 0, 1));
    let id = response.references[0].strip_prefix(&format!("{base}/Patient/")).unwrap();
    assert!(id.len() == 32 && !id.contains("N-45"), "{id}");
    assert_eq!(fhir.get(&format!("Patient/{id}")).await.resource["identifier"][0]["value"], "N-45");
    for (targets, expected) in [
        ("", &["N-45^^^&2.999.60.1&ISO"][..]),
        ("&targetSystem=urn:oid:2.999.60.2", &[]),
        ("&targetSystem=https://localhost/fhir", &[]),
    ] {
        let answer = fhir.get(&format!("Patient/$ihe-pix?sourceIdentifier={base}%7CPatient/{id}{targets}")).await;
        assert_eq!((answer.status, told(&answer.resource)), (200, expected.iter().map(ToString::to_string).collect()));
    }
    let other = "0".repeat(32);
    let answer = fhir.get(&format!("Patient/$ihe-pix?sourceIdentifier={base}%7CPatient/{other}")).await;
    assert_eq!(answer.issue(), (404, "not-found", "sourceIdentifier Patient Identifier not found"));
    fhir.judge();
}

#[tokio::test]
async fn each_case_of_the_profile_has_its_status_code_and_text_and_its_audit_record() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    for (query, status, code, text) in [
        (
            "sourceIdentifier=urn:oid:2.999.60.1%7CN-99",
            404,
            "not-found",
            "sourceIdentifier Patient Identifier not found",
        ),
        // An identifier is compared as text: a zero more or less is another one.
        ("sourceIdentifier=urn:oid:2.999.60.2%7C7", 404, "not-found", "sourceIdentifier Patient Identifier not found"),
        (
            "sourceIdentifier=urn:oid:2.999.9%7CN-44",
            400,
            "code-invalid",
            "sourceIdentifier Assigning Authority not found",
        ),
        (
            "sourceIdentifier=urn:oid:2.999.60.1%7CN-44&targetSystem=urn:oid:2.999.60.2&targetSystem=urn:oid:2.999.9",
            403,
            "code-invalid",
            "targetSystem not found",
        ),
        ("", 400, "required", "sourceIdentifier is missing"),
        ("sourceIdentifier=N-44", 400, "invalid", "sourceIdentifier cannot be used"),
        ("sourceIdentifier=urn:oid:2.999.60.1%7C", 400, "invalid", "sourceIdentifier cannot be used"),
        (
            "sourceIdentifier=urn:oid:2.999.60.1%7CN-44&_format=turtle",
            406,
            "not-supported",
            "none of the accepted formats can be written",
        ),
    ] {
        let answer = fhir.get(&format!("Patient/$ihe-pix?{query}")).await;
        assert_eq!(answer.issue(), (status, code, text), "{query}");
        let lines = Trail::of(solo.gateway()).lines(answer.trace());
        assert_eq!(lines.len(), 1, "{query}: {lines:?}");
        assert!(lines[0].starts_with("ITI-83 E failure"), "{lines:?}");
    }
    let answer = fhir.get(&format!("Patient/$ihe-pix?sourceIdentifier={NORTH}%7CN-44")).await;
    assert_eq!(answer.status, 200);
    let lines = Trail::of(solo.gateway()).lines("007^^^&amp;2.999.60.2&amp;ISO");
    assert!(lines.contains(&"ITI-83 E success patient query".to_owned()), "{lines:?}");
    fhir.judge();
}

/// A certificate that the network trusts is not enough, and neither is a purpose that the entry does not have.
#[tokio::test]
async fn only_a_client_of_the_configuration_is_answered_and_for_its_purposes() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let asked = format!("Patient/$ihe-pix?sourceIdentifier={NORTH}%7CN-44");
    let stranger = Fhir::of(&solo.stranger, solo.running.https);
    let refused = stranger.get(&asked).await;
    assert_eq!(refused.issue(), (403, "forbidden", "the certificate is not that of a FHIR client known here"));
    assert_eq!(Trail::of(solo.gateway()).lines(refused.trace()), ["ITI-83 E failure"]);
    let fhir = solo.fhir();
    for (purpose, status) in [
        ("OPERATIONS", 200),
        ("TREATMENT", 200),
        ("MARKETING", 403),
        ("T-TRTMNT", 403),
        ("x|2.999.1", 403),
        ("nonsense", 403),
        ("", 403),
        ("OPERATIONS,MARKETING", 403),
    ] {
        let answer = fhir.send("GET", &asked, &[("x-purpose-of-use", purpose)], "").await;
        assert_eq!(answer.status, status, "{purpose:?} {}", answer.resource);
        // Who asked, and why, is on record (ITI TF-2: 3.20.7).
        if status == 200 {
            let records = Trail::of(solo.gateway()).about("007^^^&amp;2.999.60.2&amp;ISO");
            let last = records.last().unwrap();
            let users: Vec<&str> = last.participants.iter().map(|one| one.user_id.as_str()).collect();
            assert!(users.contains(&"bedside@example.org"), "{users:?}");
            assert_eq!(last.purposes.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), [purpose]);
        }
    }
    // What is served is told to everybody whom a network trusts: it is about nobody.
    let statement = stranger.get("metadata").await;
    assert_eq!((statement.status, &statement.resource["kind"]), (200, &json!("instance")));
    let patient = &statement.resource["rest"][0]["resource"][0];
    let operations = json::list(patient, "operation").iter().map(|one| one["name"].as_str().unwrap());
    assert_eq!(operations.collect::<Vec<_>>(), ["ihe-pix", "match"]);
    for fhir in [&stranger, &fhir] {
        fhir.judge();
    }
}
