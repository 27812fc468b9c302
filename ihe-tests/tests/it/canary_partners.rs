//! Partners whose refusals name the patient, on every wire that the gateway calls: whoever asked hears what they said, and
//! no log line and no reason of an audit record does. Nor does the text of a defect of the program itself.

use std::process::Command;
use std::time::Duration;

use causeway::atna::message;
use causeway::ebxml::{ErrorCode, RegistryError, RegistryResponse};
use causeway::hl7v3::datatype::Ii;
use causeway::id::{AssigningAuthority, Clock, DocumentUniqueId, Domains, PatientId, RepositoryId};
use causeway::metadata::{DocumentEntry, DocumentKind, Object};
use causeway::soap::envelope::Envelope;
use causeway::xca::responding_gateway::{QUERY_ACTION, RETRIEVE_ACTION};
use causeway::xcpd::discovery::{self, Match, Outcome};
use causeway::xds::registry::QUERY_ACTION as REGISTRY_QUERY;
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xds::{retrieve, stored_query};
use causeway::xml::{Limits, parse};
use ihe_tests::harness::client::packed;
use ihe_tests::harness::receiver::{Given, Got, MllpReceiver, acknowledge, soap_answer};
use ihe_tests::harness::samples::{self, Document, find_documents, patient};
use ihe_tests::harness::{Ground, Receiver};
use ihe_tests::harness::{letter::Letter, letter::treatment, world::SOLO_PARTNER, world::SOLO_URL};
use tokio::net::TcpStream;

use crate::canary::assert_silent;
use crate::hostile::{CANARY, mllp, records};
use crate::served::{Served, printed, run};

/// Of the partner `clinic`.
const CLINIC: &str = "urn:oid:2.999.82";

/// An error that says who the patient is wherever it has room for a text.
fn telling() -> RegistryError {
    RegistryError::new(ErrorCode::Other(CANARY.into()), format!("no documents of {CANARY}"))
}

/// Knows whomever it is asked for, lists one of two documents, and brings none.
fn clinic(request: &Got) -> Given {
    let envelope = request.envelope();
    let tree = parse(&envelope, &Limits::default()).unwrap();
    let envelope = Envelope::read(&tree).unwrap();
    match envelope.addressing.action.as_str() {
        discovery::ACTION => {
            let query = discovery::Request::decode(envelope.body, envelope.header, &Domains::default()).unwrap();
            let found = Match {
                patient_id: PatientId::new("7", AssigningAuthority::new("2.999.82.1", "ISO").unwrap()).unwrap(),
                home: CLINIC.parse().ok(),
                demographics: query.parameters.demographics.clone(),
                score: Some(100),
                locator: false,
            };
            let (id, home) = (Ii::new("2.999.82", "R1"), CLINIC.parse().unwrap());
            let outcome = Outcome::Matches(vec![found]);
            let answer = discovery::Response::new(&query, id, Clock::system().now(), &home, outcome);
            soap_answer(request, discovery::ACTION_RESPONSE, &answer.encode())
        }
        QUERY_ACTION => {
            let unique_id = DocumentUniqueId::new("2.999.82.8").unwrap();
            let id = "urn:uuid:5b1f0c3e-5d0a-4f6e-9a55-0a52f0f8a001";
            let mut entry = DocumentEntry::new(id, DocumentKind::Stable, unique_id, "text/plain");
            (entry.home, entry.repository) = (CLINIC.parse().ok(), RepositoryId::new("2.999.82.9").ok());
            let mut answer = stored_query::Response::of(vec![Object::Document(Box::new(entry))]);
            answer.errors.push(telling());
            soap_answer(request, &format!("{QUERY_ACTION}Response"), &answer.encode())
        }
        RETRIEVE_ACTION => {
            let answer = retrieve::Response::failure(telling()).encode().xml;
            soap_answer(request, &format!("{RETRIEVE_ACTION}Response"), &answer)
        }
        other => panic!("nobody asked for {other}"),
    }
}

/// The community's registry and a recipient of documents: refuses everything, and says of whom.
fn refuses(request: &Got) -> Given {
    let envelope = request.envelope();
    if envelope.contains(REGISTRY_QUERY) {
        let answer = stored_query::Response::failure(telling()).encode();
        return soap_answer(request, "urn:ihe:iti:2007:RegistryStoredQueryResponse", &answer);
    }
    let answer = RegistryResponse { errors: vec![telling()] }.encode();
    soap_answer(request, &format!("{PROVIDE_ACTION}Response"), &answer)
}

fn refuses_in_fhir(_: &Got) -> Given {
    let outcome = format!(
        "{{\"resourceType\":\"OperationOutcome\",\"issue\":[{{\"severity\":\"error\",\"code\":\"invalid\",\
         \"diagnostics\":\"{CANARY} is not known\"}}]}}"
    );
    (422, "application/fhir+json".into(), outcome.into_bytes())
}

fn refuses_in_hl7(message: &str) -> String {
    let answer = acknowledge(message, "AE");
    let number = answer.rsplit('|').next().unwrap().trim().to_owned();
    format!("{}|{CANARY} is not known\rERR|||207|E||||{CANARY} of {number}\r", answer.trim_end())
}

fn partner(ground: &Ground, name: &str, home: &str, urls: &str) {
    ground.write(
        &format!("partners/{name}.toml"),
        &format!(
            "name = \"{name}\"\nnetwork = \"local\"\nkind = \"local\"\nhome_community_id = \"{home}\"\n\
             initiates = false\n[urls]\n{urls}"
        ),
    );
}

const MORE: &str = "\
[log]\nlevel = \"trace\"\n\
[[domains]]\nnamespace = \"NORTH\"\noid = \"2.999.60.1\"\n\
[[domains]]\nnamespace = \"WEST\"\noid = \"2.999.60.2\"\n\
[[sources]]\nname = \"adt\"\napplication = \"ADT\"\nfacility = \"NORTH\"\naddresses = [\"127.0.0.1\"]\n\
[initiator]\nuser = \"gateway@solo.example.org\"\npurpose = \"TREATMENT\"\n\
[delivery]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 1\nwait_seconds = 5\n\
[documents.external]\nregistry = \"lab\"\n\
[[recipients]]\nname = \"lab\"\norganizations = [\"2.999.71\"]\npartner = \"lab\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_of_partners_reach_whoever_asked_and_no_log_or_audit_record() {
    let ground = Ground::new();
    ["clinic", "lab", "archive"].into_iter().for_each(|name| ground.certify(name));
    let clinic = Receiver::start(&ground, "clinic", 0, clinic).await;
    let lab = Receiver::start(&ground, "lab", 0, refuses).await;
    let archive = Receiver::start(&ground, "archive", 0, refuses_in_fhir).await;
    let ehr = MllpReceiver::start(&ground, None, 0, refuses_in_hl7).await;
    let url = clinic.url("all");
    partner(
        &ground,
        "clinic",
        CLINIC,
        &format!(
            "iti-55 = \"{url}\"\niti-38 = \"{url}\"\niti-39 = \"{url}\"\n[quirks]\naccept_missing_audience = true\n"
        ),
    );
    partner(&ground, "lab", "urn:oid:2.999.71", &format!("iti-41 = \"{0}\"\niti-18 = \"{0}\"\n", lab.url("xdr")));
    ground.configure(&format!(
        "{MORE}[[recipients]]\nname = \"archive\"\ndefault = true\nfhir = \"{}\"\nnetwork = \"local\"\n\
         [[subscribers]]\nname = \"ehr\"\ndomains = [\"NORTH\", \"WEST\"]\naddress = \"localhost:{}\"\n\
         application = \"EHR\"\nfacility = \"WEST\"\ntls = false\n",
        archive.url("r4"),
        ehr.address.port()
    ));
    let config = ground.at("causeway.toml");
    let served = Served::start(&config);

    // A notification that is refused.
    let message = format!(
        "MSH|^~\\&|ADT|NORTH|CAUSEWAY|SOLO|20261122||ADT^A04^ADT_A01|1|P|2.3.1\rEVN|A04|20261122\r\
         PID|||P1^^^NORTH~W1^^^WEST||{CANARY}^Quillifer||19340501|F\rPV1||O\r"
    );
    let heard = mllp(&mut TcpStream::connect(served.mllp).await.unwrap(), message.as_bytes()).await.unwrap();
    assert!(heard.contains("MSA|AA"), "{heard}");
    // Documents that are refused, by SOAP and by FHIR, and a query that the registry behind refuses.
    let client = ground.client("partner");
    let send = async |service: &str, action: &str, body: String, documents: Option<&[Document]>| {
        let letter = Letter::new(action, &format!("{SOLO_URL}/{service}"), body, SOLO_PARTNER, treatment());
        let (to, path) = (served.https, format!("/{service}"));
        match documents {
            Some(documents) => {
                let parts = samples::attachments(documents);
                let (content_type, body) = packed(action, &letter.envelope(&client.key), &parts);
                client.send(to, hyper::Method::POST, &path, &content_type, body).await.into_answer().envelope
            }
            None => client.ask(to, &path, &letter).await.envelope,
        }
    };
    for recipients in [&["Lab^^^^^^^^^2.999.71"][..], &[]] {
        let documents = [Document::new("text/plain", b"text")];
        let mut submission = samples::submission(&patient("P1^^^&2.999.60.1&ISO"), &documents);
        submission.set.intended_recipients = recipients.iter().map(|one| (*one).into()).collect();
        let body = samples::provide(submission);
        let heard = send("DocumentRecipient", PROVIDE_ACTION, body, Some(&documents)).await;
        assert!(heard.contains(CANARY), "the sender hears why: {heard}");
    }
    let query = find_documents(patient("P1^^^&2.999.60.1&ISO"), None).encode();
    let heard = send("DocumentRegistry", REGISTRY_QUERY, query, None).await;
    assert!(heard.contains(CANARY), "whoever asked hears why: {heard}");
    // Records that a partner lists in part and does not give out.
    let config = config.to_str().unwrap().to_owned();
    let out = ground.at("records");
    let fetched = tokio::task::spawn_blocking({
        let (config, out) = (config.clone(), out.to_str().unwrap().to_owned());
        move || {
            let (user, patient) = ("ada@example.org", "P1^^^NORTH");
            run(&["fetch", "--config", &config, "--user", user, "--patient", patient, "--out", &out])
        }
    });
    let told = printed(&fetched.await.unwrap());
    assert_eq!(told.matches(&format!("no documents of {CANARY}")).count(), 2, "the user hears why: {told}");

    // What is kept: reasons of ours, in the audit trail, in the traces and in the log.
    let records = records(&ground.at("data/audit"));
    let reasons: Vec<String> = records
        .iter()
        .map(|record| message::decode(&record.text, &Limits::default()).unwrap().description)
        .filter(|reason| !reason.is_empty())
        .collect();
    assert!(reasons.len() >= 8, "{reasons:#?}");
    assert_silent("a reason in the audit trail", &reasons.join("\n"));
    let traces = |more: &[&str]| printed(&run(&[&["trace", "list", "--json", "--config", &config][..], more].concat()));
    assert_silent("a trace", &traces(&[]));
    for (more, found) in [
        (&["--partner", "clinic", "--state", "refused"][..], true),
        (&["--partner", "clinic", "--state", "unreachable"], false),
        (&["--partner", "lab"], false),
    ] {
        assert_eq!(traces(more).contains("\"clinic\""), found, "{more:?}: {}", traces(more));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let log = served.log();
    assert!(log.lines().count() > 100, "the log is talkative: {} lines", log.lines().count());
    assert_silent("the log", &log);
    served.kill();
}

#[test]
fn a_defect_of_the_program_is_told_without_what_it_was_handling() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_defect"));
    let told = program.arg(CANARY).env("RUST_BACKTRACE", "1").output().unwrap();
    assert!(told.status.success());
    let told = printed(&told);
    assert_eq!(told.matches("a defect of the program at ihe-tests/src/bin/defect.rs:").count(), 2, "{told}");
    assert!(told.contains("a text of the program"), "{told}");
    assert_silent("a defect", &told);
}
