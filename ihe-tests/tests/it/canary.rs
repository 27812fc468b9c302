//! A patient whose name is nobody else's goes through everything that a gateway does, well and badly, with the log at its
//! most talkative: the name, the identifiers and the documents show up in no log line, no fault and no trace.

use causeway::xca::responding_gateway::QUERY_ACTION;
use causeway::xds::repository::PROVIDE_ACTION;
use ihe_tests::harness::Letter;
use ihe_tests::harness::client::packed;
use ihe_tests::harness::letter::treatment;
use ihe_tests::harness::samples::{self, Document};
use tokio::net::TcpStream;

use crate::hostile::{ASKER, CANARY, HOME, PUBLIC, SOAP, World, XCPD, mllp, post, registration};
use crate::partner_faults::{Does, start_partner};
use crate::served::{Served, printed, run};

/// The patient's local identifier.
const LOCAL: &str = "QZX77313";
/// What is in the patient's document.
const CONTENT: &str = "Vexillomorbus";
/// Names, identifiers, birth date, content: each alone says something about the patient.
const SECRETS: [&str; 5] = [CANARY, "Quillifer", LOCAL, CONTENT, "19340501"];

pub fn assert_silent(what: &str, text: &str) {
    for secret in SECRETS {
        let at = text.to_lowercase().find(&secret.to_lowercase());
        let around = at.map(|at| {
            text.lines()
                .scan(0, |end, line| {
                    *end += line.len() + 1;
                    Some((*end, line))
                })
                .find(|(end, _)| *end > at)
                .map(|(_, line)| line.to_owned())
        });
        assert!(at.is_none(), "{what} tells {secret}: {around:?}");
    }
}

async fn everything(world: &World, served: &Served) -> Vec<String> {
    let mut heard = Vec::new();
    let connector = world.connector(Some(&world.asker.leaf));
    // Feeds, good and bad; whoever feeds may hear of its own message, so answers are not looked at here.
    let mut stream = TcpStream::connect(served.mllp).await.unwrap();
    let good = registration("C1", LOCAL, CANARY, "Quillifer");
    assert!(mllp(&mut stream, good.as_bytes()).await.unwrap().contains("MSA|AA"));
    for bad in [
        good.replace("|ADT|HERE|", &format!("|{CANARY}|HERE|")),
        good.replace("ADT^A04^ADT_A01", &format!("ADT^{CANARY}")),
        good.replace("PID|", &format!("{CANARY}|")),
        good.replace("MRN&2.999.30.1&ISO", &format!("{CANARY}&2.999.99&ISO")),
        good.replace("19340501", &format!("{CANARY}19340501")),
        good.replace("MSH|", &format!("{CANARY}|")),
        format!("{CANARY}{LOCAL}"),
    ] {
        // Some get no answer at all.
        let _ = mllp(&mut TcpStream::connect(served.mllp).await.unwrap(), bad.as_bytes()).await;
    }
    // Discovery: a match, refusals, and messages that are none.
    let forge = world.good();
    let answer = post(&connector, served.https, XCPD, SOAP, forge.discovery().as_bytes()).await.unwrap();
    assert!(answer.body.contains(LOCAL), "the patient is found: {}", answer.body);
    let good = forge.discovery();
    for bad in [
        good.replace("ada@asker", "eve@asker"),
        good.replace("<soap12:Body>", "<soap12:Body><d>"),
        good.replace("urn:hl7-org:v3\"", "urn:other\""),
        good.replace("19340501", CANARY),
        good[..good.len() - 400].to_owned(),
        good.replace("</soap12:Envelope>", &format!("{CANARY}</soap12:Envelope>")),
        good.replace("<soap12:Envelope", &format!("<!DOCTYPE x [<!ENTITY e \"{CANARY}\">]><soap12:Envelope")),
        format!("{CANARY} {LOCAL}"),
        format!("<a>{CANARY}</b>"),
        format!("<a x=\"{CANARY}\" x=\"{LOCAL}\"/>"),
        format!("<a>&{CANARY};</a>"),
    ] {
        let answer = post(&connector, served.https, XCPD, SOAP, bad.as_bytes()).await.unwrap();
        // An answer of the transaction repeats the query, as it must, to a partner who proved who it is.
        heard.extend(Some(answer.body).filter(|body| body.contains("Fault>")));
    }
    assert!(heard.len() >= 9, "{}", heard.len());
    // Documents: provided, refused, asked for, and asked for wrongly.
    let cx = format!("{LOCAL}^^^&2.999.30.1&ISO");
    for (patient, keep) in [(cx.clone(), true), (format!("{CANARY}^^^&2.999.30.1&ISO"), false)] {
        let documents = [Document::new("text/plain", CONTENT.as_bytes())];
        let body = samples::provide(samples::submission(&samples::patient(&patient), &documents));
        let letter = Letter::new(PROVIDE_ACTION, &format!("{PUBLIC}/DocumentRepository"), body, HOME, treatment());
        let envelope = letter.envelope(&world.asker.key);
        let (content_type, package) = packed(PROVIDE_ACTION, &envelope, &samples::attachments(&documents));
        let to = "/DocumentRepository";
        let answer = post(&connector, served.https, to, &content_type, &package).await.unwrap();
        assert_eq!(answer.body.contains("ResponseStatusType:Success"), keep, "{}", answer.body);
        heard.push(answer.body);
        let cut = &package[..package.len() - 40];
        heard.push(post(&connector, served.https, to, &content_type, cut).await.unwrap().body);
        let content_type = content_type.replace("boundary=", &format!("boundary={CANARY}; x="));
        heard.push(post(&connector, served.https, to, &content_type, &package).await.unwrap().body);
    }
    // FHIR: what the answer repeats of a search goes to whoever searched; refusals tell nothing.
    let form = "application/x-www-form-urlencoded";
    let json = "application/fhir+json";
    let described = format!(
        "{{\"resourceType\":\"Patient\",\"name\":[{{\"family\":\"{CANARY}\",\"given\":[\"Quillifer\"]}}],\
         \"birthDate\":\"1934-05-01\"}}"
    );
    let search = format!("family={CANARY}");
    let found = post(&connector, served.https, "/fhir/Patient/_search", form, search.as_bytes()).await;
    assert!(found.unwrap().body.contains(LOCAL), "the patient is found");
    for (path, kind, body, refused) in [
        ("/fhir/Patient/$match", json, described.clone(), false),
        ("/fhir/Patient/_search", form, format!("family={CANARY}&birthdate={CANARY}"), true),
        ("/fhir/Patient/_search", form, format!("{CANARY}:not={LOCAL}&family:{CANARY}={LOCAL}"), true),
        ("/fhir/Patient/_search", form, format!("family=%{CANARY}"), true),
        ("/fhir/Patient/$ihe-pix", form, format!("sourceIdentifier=urn:oid:2.999.30.1|{CANARY}"), true),
        ("/fhir/Patient/$ihe-pix", form, format!("sourceIdentifier={CANARY}"), true),
        ("/fhir/Patient", json, described.clone(), true),
        ("/fhir/Patient", json, described.replace("1934-05-01", CANARY), true),
        ("/fhir/Patient/$match", json, described.replace("}]", CANARY), true),
        ("/fhir/Patient/$match", json, described.replace("Patient", CANARY), true),
        ("/fhir/Patient/$match", "application/fhir+xml", format!("<{CANARY}>{LOCAL}"), true),
        (&format!("/fhir/Patient/{CANARY}"), json, described.clone(), true),
    ] {
        let answer = post(&connector, served.https, path, kind, body.as_bytes()).await.unwrap();
        assert_eq!(answer.body.contains("OperationOutcome"), refused, "{path}: {}", answer.body);
        heard.extend(Some(answer.body).filter(|_| refused));
    }
    for home in [HOME, "urn:oid:2.999.88"] {
        let body = samples::find_documents(samples::patient(&cx), Some(home)).encode();
        let letter = Letter::new(QUERY_ACTION, &format!("{PUBLIC}/RespondingGateway"), body, ASKER, treatment());
        let text = letter.envelope(&world.asker.key);
        post(&connector, served.https, "/RespondingGateway", SOAP, text.as_bytes()).await.unwrap();
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_fault_or_trace_tells_who_the_patient_is() {
    for format in ["text", "json"] {
        let world = World::new(&format!(
            "[log]\nlevel = \"trace\"\nformat = \"{format}\"\n[[fhir_clients]]\nname = \"app\"\nnetwork = \"one\"\n\
             certificate_name = \"localhost\"\npurpose = \"TREATMENT\"\nfind_patients = true\nfeed = [\"MRN\"]\n"
        ));
        let documents = format!(
            "name = \"Documents\"\nnetwork = \"one\"\nkind = \"local\"\nhome_community_id = \"{HOME}\"\n\
             responds = false\n"
        );
        world.partner("documents", &documents);
        for (number, does) in [Does::Answers, Does::SaysError, Does::Faults(500), Does::Html(500), Does::Html(200)]
            .into_iter()
            .enumerate()
        {
            start_partner(&world, &format!("partner-{number}"), number, does).await;
        }
        let served = Served::start(&world.config());
        for heard in everything(&world, &served).await {
            assert_silent("a fault", &heard);
        }
        let config = world.config();
        let config = config.to_str().unwrap();
        let out = world.folder.path().join("out");
        let patient = format!("{LOCAL}^^^MRN");
        let fetched = tokio::task::spawn_blocking({
            let (config, out, patient) = (config.to_owned(), out.clone(), patient.clone());
            move || {
                run(&[
                    "fetch",
                    "--config",
                    &config,
                    "--user",
                    "ada@example.org",
                    "--purpose",
                    "TREATMENT",
                    "--patient",
                    &patient,
                    "--out",
                    out.to_str().unwrap(),
                    "--deadline",
                    "5",
                ])
            }
        });
        let fetched = fetched.await.unwrap();
        assert!(fetched.status.success(), "{}", printed(&fetched));
        assert!(printed(&fetched).contains("answered"), "{}", printed(&fetched));
        let traces = run(&["trace", "list", "--config", config]);
        assert!(printed(&traces).contains("partner-1"), "{}", printed(&traces));
        assert_silent("a trace", &printed(&traces));
        let traces = printed(&run(&["trace", "list", "--json", "--config", config]));
        assert_silent("a trace in JSON", &traces);
        let traces: serde_json::Value = serde_json::from_str(&traces).unwrap();
        let id = traces["value"][0]["id"].as_str().unwrap();
        for json in [&[][..], &["--json"]] {
            let shown = printed(&run(&[&["trace", "show", id, "--config", config], json].concat()));
            assert!(shown.contains("partner-1"), "{shown}");
            assert_silent("an exchange that is shown", &shown);
        }
        let log = served.log();
        assert!(log.lines().count() > 100, "the log is talkative: {} lines", log.lines().count());
        assert_silent(&format!("the {format} log"), &log);
        served.kill();
    }
}
