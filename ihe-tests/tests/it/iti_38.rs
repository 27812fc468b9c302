//! ITI-38 Cross Gateway Query (ITI TF-2: 3.38), over mutual TLS as partners ask.

use causeway::ebxml::Status;
use causeway::id::DocumentUniqueId;
use causeway::metadata::query::{Query, Selector};
use causeway::sandbox::Site;
use causeway::soap::fault::FaultCode;
use causeway::xca::query::{Request, Response};
use causeway::xca::responding_gateway::QUERY_ACTION;
use causeway::xds::stored_query::{Object, ReturnType};
use causeway::xml::ns;
use ihe_tests::harness::samples::{find_documents, patient};
use ihe_tests::harness::{Answer, World};

const SERVICE: &str = "RespondingGateway";
const VALLEY: &str = "urn:oid:2.999.1.2";
const HUB: &str = "urn:oid:2.999.1.9";
const ADA_AT_VALLEY: &str = "V2001^^^&2.999.1.2.1&ISO";

/// Sends a query and checks what every answer has: the action, `home` on each object, `location` on each error, one
/// audit record.
async fn ask(site: Site, body: String, returned: ReturnType) -> (Response, Answer) {
    let world = World::shared();
    let letter = world.letter(site, SERVICE, QUERY_ACTION, body);
    let answer = world.ask(site, &letter).await;
    assert_eq!(answer.status, 200, "{}", answer.envelope);
    let action = answer.read(|envelope| envelope.addressing.action.clone());
    assert_eq!(action, "urn:ihe:iti:2007:CrossGatewayQueryResponse");
    answer.body(|body| {
        for list in body.children_named(ns::RIM, "RegistryObjectList") {
            assert!(list.children().all(|object| object.attribute("home").is_some()), "{}", answer.envelope);
        }
    });
    let response = answer.body(|body| Response::decode(body, returned).unwrap());
    let own = format!("urn:oid:{}", site.oid());
    assert!(response.errors.iter().all(|error| error.location.as_deref() == Some(&own)), "{:?}", response.errors);
    let lines = world.trail(site).lines(letter.user());
    let outcome = if response.errors.is_empty() { "success" } else { "failure" };
    assert!(lines.len() == 1 && lines[0].starts_with(&format!("ITI-38 E {outcome}")), "{lines:?}");
    (response, answer)
}

/// A query for a document that nobody has.
fn nowhere() -> Query {
    Query::GetDocuments(Selector::UniqueIds(vec![DocumentUniqueId::new("2.999.5").unwrap()]))
}

fn with_home(home: Option<&str>, query: Query) -> Request {
    Request { home: home.map(|home| home.parse().unwrap()), ..Request::new(query) }
}

#[tokio::test]
async fn the_documents_of_a_patient_are_found_as_objects_and_as_references() {
    let found = find_documents(patient(ADA_AT_VALLEY), Some(VALLEY));
    let (whole, _) = ask(Site::Valley, found.encode(), ReturnType::LeafClass).await;
    assert_eq!((whole.status(), whole.objects.len()), (Status::Success, 2));
    for entry in whole.documents() {
        assert_eq!(entry.patient_id, Some(patient(ADA_AT_VALLEY)));
        assert_eq!(entry.home.as_ref().map(ToString::to_string).as_deref(), Some(VALLEY));
        assert!(entry.repository.is_some() && entry.hash.is_some() && entry.size.is_some());
    }
    let references = Request { return_type: ReturnType::ObjectRef, ..found };
    let (short, _) = ask(Site::Valley, references.encode(), ReturnType::ObjectRef).await;
    let ids = |response: &Response| {
        let mut ids: Vec<String> = response.objects.iter().map(|object| object.id().to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&short), ids(&whole));
    assert!(short.objects.iter().all(|object| matches!(object, Object::Reference { .. })));
}

#[tokio::test]
async fn documents_are_got_by_entry_and_by_unique_id() {
    let (whole, _) =
        ask(Site::Valley, find_documents(patient(ADA_AT_VALLEY), Some(VALLEY)).encode(), ReturnType::LeafClass).await;
    let entry = whole.documents().next().unwrap();
    for selector in [Selector::Ids(vec![entry.id.clone()]), Selector::UniqueIds(vec![entry.unique_id.clone()])] {
        let request = with_home(Some(VALLEY), Query::GetDocuments(selector.clone()));
        let (got, _) = ask(Site::Valley, request.encode(), ReturnType::LeafClass).await;
        assert!(got.documents().map(|entry| &entry.id).eq([&entry.id]), "{selector:?}");
    }
}

#[tokio::test]
async fn a_hub_answers_for_each_member_under_the_members_home() {
    for (home, id, expected) in [
        ("urn:oid:2.999.1.3", "HB301^^^&2.999.1.3.1&ISO", "urn:oid:2.999.1.3"),
        ("urn:oid:2.999.1.4", "SM401^^^&2.999.1.4.1&ISO", "urn:oid:2.999.1.4"),
        (HUB, "SM401^^^&2.999.1.4.1&ISO", "urn:oid:2.999.1.4"),
    ] {
        let body = find_documents(patient(id), Some(home)).encode();
        let (response, _) = ask(Site::Hub, body, ReturnType::LeafClass).await;
        let homes: Vec<String> =
            response.documents().filter_map(|entry| entry.home.as_ref().map(ToString::to_string)).collect();
        assert_eq!(homes, [expected, expected], "{home}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_its_code() {
    let known = patient(ADA_AT_VALLEY);
    let good = find_documents(known.clone(), Some(VALLEY)).encode();
    let by_id = |home| with_home(home, nowhere()).encode();
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is in {good}");
        good.replace(from, to)
    };
    for (story, body, expected) in [
        // 3.38.4.1.3, ITI TF-3: Table 4.2.4.1-2.
        (
            "a community not served here",
            find_documents(known.clone(), Some("urn:oid:2.999.1.3")).encode(),
            "XDSUnknownCommunity",
        ),
        ("documents by id without a home", by_id(None), "XDSMissingHomeCommunityId"),
        ("a home that is no OID", replaced("urn:oid:2.999.1.2", "valley"), "XDSUnknownCommunity"),
        (
            "a query that nobody knows",
            replaced("urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d", "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0e"),
            "XDSUnknownStoredQuery",
        ),
        (
            "a query without its required status",
            replaced("$XDSDocumentEntryStatus", "$XDSDocumentEntryState"),
            "XDSStoredQueryMissingParam",
        ),
        (
            "a query without a patient",
            replaced("$XDSDocumentEntryPatientId", "$XDSDocumentEntryPerson"),
            "XDSStoredQueryMissingParam",
        ),
        ("a patient id that is none", replaced("V2001^^^&amp;2.999.1.2.1&amp;ISO", "V2001"), "XDSUnknownPatientId"),
        ("a return type of its own", replaced("LeafClass", "Everything"), "XDSRegistryError"),
    ] {
        let world = World::shared();
        let letter = world.letter(Site::Valley, SERVICE, QUERY_ACTION, body);
        // Not all of these are valid by the schema, so they are posted as they are.
        let envelope = letter.envelope(&world.partner(Site::Valley).key);
        let answer = world.post(Site::Valley, "/RespondingGateway", &envelope).await;
        let response = answer.body(|body| Response::decode(body, ReturnType::LeafClass).unwrap());
        let codes: Vec<&str> = response.errors.iter().map(|error| error.code.as_str()).collect();
        assert_eq!((codes, response.status()), (vec![expected], Status::Failure), "{story}");
        assert!(response.errors.iter().all(|error| error.location.as_deref() == Some(VALLEY)), "{story}");
        let lines = world.trail(Site::Valley).lines(letter.user());
        assert!(lines.len() == 1 && lines[0].starts_with("ITI-38 E failure"), "{story}: {lines:?}");
    }
}

#[tokio::test]
async fn queries_that_find_nothing_succeed() {
    for (story, body) in [
        ("nobody's identifier", find_documents(patient("NOBODY^^^&2.999.1.2.1&ISO"), Some(VALLEY)).encode()),
        ("no home, but a patient", find_documents(patient("NOBODY^^^&2.999.1.2.1&ISO"), None).encode()),
        ("documents that are not here", { with_home(Some(VALLEY), nowhere()).encode() }),
    ] {
        let (response, _) = ask(Site::Valley, body, ReturnType::LeafClass).await;
        assert_eq!((response.status(), response.objects.len()), (Status::Success, 0), "{story}");
    }
}

#[tokio::test]
async fn a_request_without_purpose_or_with_another_networks_is_denied_and_recorded() {
    let world = World::shared();
    for (story, purposes) in [
        ("no purpose", vec![]),
        ("a purpose of TEFCA at Carequality", vec![ihe_tests::harness::letter::required_treatment()]),
    ] {
        let body = find_documents(patient(ADA_AT_VALLEY), Some(VALLEY)).encode();
        let mut letter = world.letter(Site::Valley, SERVICE, QUERY_ACTION, body);
        letter.attributes().purposes = purposes;
        let answer = world.ask(Site::Valley, &letter).await;
        let fault = answer.fault();
        assert!(fault.code == FaultCode::Sender && answer.status == 400, "{story}: {fault:?}");
        let records = world.trail(Site::Valley).about(answer.trace());
        assert!(records.len() == 1 && records[0].types[0].code == "ITI-38", "{story}: {records:?}");
    }
}
