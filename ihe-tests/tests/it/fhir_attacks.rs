//! Ways to cheat or to wear out the FHIR service: each is answered by an OperationOutcome and recorded, and the next
//! honest request is answered. And a client that nobody here wrote.

use std::process::Command;

use causeway::atna::verify::verify;
use ihe_tests::harness::fhir::Fhir;
use ihe_tests::harness::{Solo, Trail};
use serde_json::json;

use crate::iti_83::{NORTH, WORLD, register};

const JSON: (&str, &str) = ("content-type", "application/fhir+json");
const XML: (&str, &str) = ("content-type", "application/fhir+xml");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn gateway() -> Solo {
    let solo = Solo::start(&format!("{WORLD}\n[limits]\nfhir_mib = 1\n")).await;
    register(&solo, &[("A-1^^^&2.999.60.1&ISO", "Okafor^Ada", "19870312")]).await;
    solo
}

#[tokio::test]
async fn every_attack_is_answered_recorded_and_survived() {
    let solo = gateway().await;
    let (fhir, trail) = (solo.fhir(), Trail::of(solo.gateway()));
    let at = format!("Patient?identifier={NORTH}%7CX-1");
    let patient = r#"{"resourceType":"Patient","identifier":[{"system":"urn:oid:2.999.60.1","value":"X-1"}],"name":[{"family":"x"}]"#;
    let deep = |levels: usize| format!("{patient},\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let deep_xml = format!("{}{}", "<Patient xmlns=\"http://hl7.org/fhir\">".repeat(100), "</Patient>".repeat(100));
    let entity =
        "<!DOCTYPE p [<!ENTITY e \"x\">]><Patient xmlns=\"http://hl7.org/fhir\"><gender value=\"&e;\"/></Patient>";
    let flood = "family=x&".repeat(2000);
    let (put, post, get) = ("PUT", "POST", "GET");
    for (story, method, path, header, body, status) in [
        ("nesting", put, at.as_str(), JSON, deep(100), 400),
        ("much nesting", put, &at, JSON, deep(100_000), 400),
        ("nesting in XML", put, &at, XML, deep_xml, 400),
        ("a name twice", put, &at, JSON, format!("{patient},\"active\":true,\"active\":false}}"), 400),
        ("an escaped name twice", put, &at, JSON, format!("{patient},\"active\":true,\"\\u0061ctive\":false}}"), 400),
        ("an entity", put, &at, XML, entity.to_owned(), 400),
        ("more bytes than are read", put, &at, JSON, format!("{patient},\"a\":\"{}\"}}", "x".repeat(1 << 20)), 413),
        ("JSON that says XML", put, &at, XML, format!("{patient}}}"), 400),
        ("another media type", put, &at, ("content-type", "text/plain"), format!("{patient}}}"), 415),
        (
            "another character set",
            put,
            &at,
            ("content-type", "application/fhir+json; charset=utf-7"),
            format!("{patient}}}"),
            415,
        ),
        ("a form where a resource belongs", put, &at, FORM, "family=x".into(), 415),
        ("a resource where a form belongs", post, "Patient/_search", JSON, format!("{patient}}}"), 415),
        ("half a resource", put, &at, JSON, patient.to_owned(), 400),
        ("two resources", put, &at, JSON, format!("{patient}}} {patient}}}"), 400),
        ("no resource", put, &at, JSON, "[]".into(), 400),
        ("a number", put, &at, JSON, "1e999".into(), 400),
        ("a flood of parameters", post, "Patient/_search", FORM, flood, 422),
        ("a flood of values", post, "Patient/_search", FORM, format!("family={}", "x,".repeat(2000)), 422),
        ("half a percent sign", get, "Patient?family=%4", JSON, String::new(), 400),
        ("no UTF-8", get, "Patient?family=%C0%AF", JSON, String::new(), 400),
        ("an escaped slash", get, "Patient%2F$match", JSON, String::new(), 400),
        ("a way up", get, "Patient/%2E%2E/metadata", JSON, String::new(), 400),
        ("a zero byte", get, "Patient/%00", JSON, String::new(), 400),
        ("escapes twice", get, "Patient/%2524ihe-pix", JSON, String::new(), 404),
        ("half a percent sign in the path", get, "Patient/%2", JSON, String::new(), 400),
        ("_format twice", get, "Patient?family=x&_format=json&_format=xml", JSON, String::new(), 400),
        ("another operation", post, "Patient/$match/$ihe-pix", JSON, format!("{patient}}}"), 404),
        ("a method that is none", "PROPFIND", "Patient", JSON, String::new(), 405),
        ("a trace", "TRACE", "Patient/1", JSON, String::new(), 405),
        (
            "a transaction of no profile",
            post,
            "",
            JSON,
            r#"{"resourceType":"Bundle","type":"transaction"}"#.into(),
            422,
        ),
    ] {
        let told = fhir.send(method, path, &[header], body).await;
        assert_eq!(told.issue().0, status, "{story}: {}", told.resource);
        let lines = trail.lines(told.trace());
        assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("failure")), "{story}: {lines:?}");
        let honest = fhir.get(&format!("Patient?identifier={NORTH}%7CA-1")).await;
        assert_eq!(honest.values(NORTH), ["A-1"], "{story}");
    }
    assert_eq!(fhir.get(&at).await.values(NORTH), [] as [&str; 0], "nothing was stored");
    // A purpose that is not text is a purpose all the same, and none that could be read.
    let latin = hyper::header::HeaderValue::from_bytes(b"TREATMENT\xE9").unwrap();
    let request =
        hyper::Request::get(format!("/fhir/Patient?identifier={NORTH}%7CA-1")).header("x-purpose-of-use", latin);
    let (status, ..) = solo.client.request(solo.running.https, request, Default::default()).await;
    assert_eq!(status, 403);
    fhir.judge();
    let folder = solo.gateway().audit.directory().to_owned();
    solo.running.stop().await;
    assert_eq!(verify(&folder, &[]).unwrap().problem, None);
}

/// Whoever is nobody here cannot have megabytes held for them, and hears nothing about patients.
#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_read() {
    let solo = gateway().await;
    let stranger = Fhir::of(&solo.stranger, solo.running.https);
    for (method, path, body) in [
        ("GET", format!("Patient?identifier={NORTH}%7CA-1"), String::new()),
        ("POST", "Patient/$match".into(), "{".repeat(900_000)),
        ("PUT", format!("Patient?identifier={NORTH}%7CA-1"), "not even JSON".into()),
        ("DELETE", format!("Patient?identifier={NORTH}%7CA-1"), String::new()),
        ("GET", "Nothing/here".into(), String::new()),
    ] {
        let told = stranger.send(method, &path, &[JSON], body).await;
        assert_eq!(told.issue().0, 403, "{method} {path}");
        assert_eq!(Trail::of(solo.gateway()).lines(told.trace()).len(), 1, "{method} {path}");
    }
    assert_eq!(solo.fhir().get(&format!("Patient?identifier={NORTH}%7CA-1")).await.values(NORTH), ["A-1"]);
    stranger.judge();
}

/// What a client may not do is refused, transaction by transaction.
#[tokio::test]
async fn a_client_does_what_its_entry_says_and_nothing_else() {
    for (entry, allowed) in
        [("find_patients = true", [true, true, true, false]), ("feed = [\"NORTH\"]", [false, false, false, true])]
    {
        let may = "find_patients = true\nfeed = [\"NORTH\", \"WEST\"]";
        let solo = Solo::start(&WORLD.replace(may, entry)).await;
        let fhir = solo.fhir();
        let patient = json!({"resourceType": "Patient", "name": [{"family": "x"}],
            "identifier": [{"system": NORTH, "value": "E-1"}]});
        let told = [
            fhir.get("Patient?family=x").await,
            fhir.json("POST", "Patient/$match", &patient).await,
            fhir.get(&format!("Patient/$ihe-pix?sourceIdentifier={NORTH}%7CE-1")).await,
            fhir.json("PUT", &format!("Patient?identifier={NORTH}%7CE-1"), &patient).await,
        ];
        for (answer, allowed) in told.iter().zip(allowed) {
            if allowed {
                assert_ne!(answer.status, 403, "{entry}: {}", answer.resource);
            } else {
                assert_eq!((answer.issue().0, answer.issue().1), (403, "forbidden"), "{entry}");
            }
        }
        fhir.judge();
    }
}

/// curl, with its own TLS, HTTP/2 and URL rules.
#[tokio::test]
async fn curl_finds_feeds_and_is_refused_without_a_certificate() {
    if !Command::new("curl").arg("--version").output().is_ok_and(|told| told.status.success()) {
        return ihe_tests::missing("curl is not installed");
    }
    let solo = gateway().await;
    let folder = solo.ground.folder.path().to_owned();
    let base = format!("https://localhost:{}/fhir", solo.running.https.port());
    let curl = move |own: bool, arguments: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code} %{content_type}"]);
        command.arg("--cacert").arg(folder.join("trust-store/local/root.pem"));
        if own {
            command.arg("--cert").arg(folder.join("certificates/partner.pem"));
            command.arg("--key").arg(folder.join("certificates/partner.key"));
        }
        command.args(arguments).arg(format!("{base}/{path}"));
        async move {
            let told = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let text = String::from_utf8(told.stdout).unwrap();
            let (body, line) = text.rsplit_once('\n').unwrap();
            (line.to_owned(), body.to_owned())
        }
    };
    let (line, body) = curl(true, &[], "Patient?family=okafor&_format=json").await;
    assert_eq!(line, "200 application/fhir+json; charset=utf-8", "{body}");
    assert!(body.contains("\"A-1\""), "{body}");
    let (line, body) = curl(true, &["--http1.1", "--data-urlencode", "family:exact=Okafor"], "Patient/_search").await;
    assert!(line.starts_with("200") && body.contains("\"A-1\""), "{line} {body}");
    let (line, body) = curl(true, &["--header", "Accept: application/fhir+xml"], "metadata").await;
    assert_eq!(line, "200 application/fhir+xml; charset=utf-8");
    assert!(body.contains("<CapabilityStatement"), "{body}");
    let patient = r#"{"resourceType":"Patient","identifier":[{"system":"urn:oid:2.999.60.1","value":"C-1"}],"name":[{"family":"Curl"}]}"#;
    let put = ["--request", "PUT", "--header", "Content-Type: application/fhir+json", "--data", patient];
    let (line, body) = curl(true, &put, "Patient?identifier=urn:oid:2.999.60.1%7CC-1").await;
    assert!(line.starts_with("201") && body.is_empty(), "{line} {body}");
    let (line, _) = curl(true, &["--request", "DELETE"], "Patient?identifier=urn:oid:2.999.60.1%7CC-1").await;
    assert!(line.starts_with("204"), "{line}");
    let (line, body) = curl(true, &["--head"], "Patient/1").await;
    assert!(line.starts_with("405"), "{line} {body}");
    let (line, _) = curl(false, &[], "metadata").await;
    assert_eq!(line.trim(), "000", "the handshake fails");
}
