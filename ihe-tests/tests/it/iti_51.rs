//! ITI-51 Multi-Patient Stored Query (ITI TF-2: 3.51): our own systems ask about several patients at once, partners do not.

use causeway::metadata::Availability;
use causeway::metadata::query::WantedCode;
use causeway::sandbox::Site;
use causeway::xca::query::Response;
use causeway::xca::responding_gateway::QUERY_ACTION as CROSS_GATEWAY;
use causeway::xds::registry::{MULTI_PATIENT_ACTION, QUERY_ACTION};
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xds::stored_query::{FindDocuments, Query, Request, ReturnType};
use ihe_tests::harness::samples::{self, Document, patient};
use ihe_tests::harness::{Answer, World};

use crate::iti_41::someone;

fn read(answer: &Answer) -> Response {
    answer.body(|body| Response::decode(body, ReturnType::LeafClass).unwrap())
}

fn query(patients: &[&str]) -> Request {
    Request::new(Query::FindDocumentsForMultiplePatients(FindDocuments {
        patients: patients.iter().map(|cx| patient(cx)).collect(),
        statuses: vec![Availability::Approved],
        class_codes: vec![vec![WantedCode { code: "34133-9".into(), scheme: None }]],
        ..FindDocuments::default()
    }))
}

async fn give(cx: &str) {
    let world = World::shared();
    let document = [Document::new("text/plain", b"text")];
    let mut submission = samples::submission(&patient(cx), &document);
    submission.entries[0].class_code = Some(causeway::id::Code::new("34133-9", "2.16.840.1.113883.6.1", "Summary"));
    let letter = world.source_letter(Site::Hub, "DocumentRepository", PROVIDE_ACTION, samples::provide(submission));
    let answer = world.provide(Site::Hub, &letter, &samples::attachments(&document)).await;
    assert!(answer.envelope.contains("ResponseStatusType:Success"), "{}", answer.envelope);
}

#[tokio::test]
async fn our_own_systems_ask_about_several_patients_at_once() {
    let world = World::shared();
    let (one, other, third) = (someone().await, someone().await, someone().await);
    for cx in [&one, &other, &third] {
        give(cx).await;
    }
    let letter =
        world.source_letter(Site::Hub, "DocumentRegistry", MULTI_PATIENT_ACTION, query(&[&one, &other]).encode());
    let answer = world.source().ask(world.sandbox.hub.https, "/DocumentRegistry", &letter).await;
    let action = answer.read(|envelope| envelope.addressing.action.clone());
    assert_eq!(action, "urn:ihe:iti:2009:MultiPatientStoredQueryResponse");
    let response = read(&answer);
    assert_eq!(response.errors, []);
    let mut found: Vec<String> =
        response.documents().filter_map(|entry| Some(entry.patient_id.as_ref()?.to_cx())).collect();
    found.sort_unstable();
    let mut expected = [one, other];
    expected.sort_unstable();
    assert_eq!(found, expected);
    // 3.51.5: a record names one patient.
    let lines = world.trail(Site::Hub).lines(letter.user());
    assert_eq!(lines, ["ITI-51 E success patient query", "ITI-51 E success patient query"]);
}

/// 3.18.4.1.2.4: the id of the query is no way around what a caller may ask: a partner that may ask for one patient's
/// documents does not get everybody's.
#[tokio::test]
async fn a_query_for_everybody_is_no_registry_query_and_no_cross_gateway_query() {
    let world = World::shared();
    let everybody = Request { home: Some("urn:oid:2.999.1.3".parse().unwrap()), ..query(&[]) };
    for return_type in [ReturnType::ObjectRef, ReturnType::LeafClass] {
        let body = Request { return_type, ..everybody.clone() }.encode();
        let partner = world.letter(Site::Hub, "RespondingGateway", CROSS_GATEWAY, body.clone());
        let own = world.source_letter(Site::Hub, "DocumentRegistry", QUERY_ACTION, body.clone());
        let consumer = world.source_letter(Site::Hub, "InitiatingGateway", QUERY_ACTION, body);
        let hub = world.sandbox.hub.https;
        for answer in [
            world.ask(Site::Hub, &partner).await,
            world.source().ask(hub, "/DocumentRegistry", &own).await,
            world.source().ask(hub, "/InitiatingGateway", &consumer).await,
        ] {
            let response = read(&answer);
            assert_eq!(response.objects, []);
            assert_eq!(response.errors[0].code.as_str(), "XDSUnknownStoredQuery");
        }
    }
    let body = everybody.encode();
    let letter = world.letter(Site::Hub, "DocumentRegistry", MULTI_PATIENT_ACTION, body);
    let fault = world.ask(Site::Hub, &letter).await.fault();
    assert!(fault.reason.contains("not allowed to use ITI-51"), "{fault:?}");
}
