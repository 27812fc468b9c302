//! ITI-39 Cross Gateway Retrieve (ITI TF-2: 3.39): documents come back byte for byte, as MTOM attachments.

use causeway::ebxml::Status;
use causeway::sandbox::Site;
use causeway::xca::responding_gateway::{QUERY_ACTION, RETRIEVE_ACTION};
use causeway::xca::{query, retrieve};
use causeway::xds::provide::Content;
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xds::stored_query::ReturnType;
use ihe_tests::harness::samples::{self, Document, find_documents, patient};
use ihe_tests::harness::{Answer, World};

const SERVICE: &str = "RespondingGateway";
const HARBOR: &str = "urn:oid:2.999.1.3";
const REPOSITORY: &str = "2.999.1.3.9";
/// A patient of the hub whose documents no other test counts.
const GIA: &str = "HB307^^^&2.999.1.3.1&ISO";

/// Gives the hub documents of a patient.
async fn provide(documents: &[Document]) {
    let world = World::shared();
    let body = samples::provide(samples::submission(&patient(GIA), documents));
    let letter = world.source_letter(Site::Hub, "DocumentRepository", PROVIDE_ACTION, body);
    let answer = world.provide(Site::Hub, &letter, &samples::attachments(documents)).await;
    assert!(answer.envelope.contains("ResponseStatusType:Success"), "{}", answer.envelope);
}

/// Asks for documents (home, repository, unique id).
async fn ask(wanted: &[(Option<&str>, &str, &str)]) -> (retrieve::Response, Answer, Vec<String>) {
    let world = World::shared();
    let request = samples::retrieve(wanted);
    let letter = world.letter(Site::Hub, SERVICE, RETRIEVE_ACTION, request.encode());
    let answer = world.ask_mtom(Site::Hub, &letter).await;
    assert_eq!(answer.status, 200, "{}", answer.envelope);
    assert!(answer.package.is_some(), "the answer is MTOM even without documents: {}", answer.content_type);
    let response = answer.body(|body| retrieve::Response::decode(body, &request).unwrap());
    (response, answer, world.trail(Site::Hub).lines(letter.user()))
}

fn bytes(answer: &Answer, content: &Content) -> Vec<u8> {
    match content {
        Content::Attached(id) => answer.attachment(&format!("cid:{id}")).to_vec(),
        Content::Inline(_) => panic!("the document is not attached"),
    }
}

#[tokio::test]
async fn documents_come_back_byte_for_byte() {
    let documents = [
        Document::new("text/xml", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\r\n<a>\u{fc}</a>".as_bytes()),
        // Latin-1 as it is, with bytes that are no UTF-8, line ends and a boundary that is none of ours.
        Document::new("text/xml", b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\r\n<a>M\xfcller</a>\r\n"),
        Document::new("text/plain", b"--uuid:boundary\r\n\r\nContent-ID: <x>\n\r\r\n--"),
        Document::new("application/pdf", &(0..=255).cycle().take(70_000).collect::<Vec<u8>>()),
        Document::new("application/octet-stream", b""),
    ];
    provide(&documents).await;
    // One, then all.
    for count in [1, documents.len()] {
        let wanted: Vec<_> =
            documents[..count].iter().map(|one| (Some(HARBOR), REPOSITORY, one.unique_id.as_str())).collect();
        let (response, answer, lines) = ask(&wanted).await;
        assert_eq!((response.status(), response.documents.len()), (Status::Success, count));
        for (sent, got) in documents.iter().zip(&response.documents) {
            assert_eq!(got.id.document.as_str(), sent.unique_id);
            assert_eq!(got.mime_type, sent.media_type);
            assert_eq!(got.id.home.as_ref().map(ToString::to_string).as_deref(), Some(HARBOR));
            assert!(bytes(&answer, &got.content) == sent.content, "{} differs", sent.media_type);
        }
        assert_eq!(lines, [format!("ITI-39 R success{}", " document".repeat(count))]);
    }
}

#[tokio::test]
async fn documents_found_by_a_query_can_be_retrieved() {
    let world = World::shared();
    let body = find_documents(patient("V2009^^^&2.999.1.2.1&ISO"), Some("urn:oid:2.999.1.2")).encode();
    let answer = world.ask(Site::Valley, &world.letter(Site::Valley, SERVICE, QUERY_ACTION, body)).await;
    let found = answer.body(|body| query::Response::decode(body, ReturnType::LeafClass).unwrap());
    assert_eq!(found.objects.len(), 2);
    for entry in found.documents() {
        let (home, repository) = (entry.home.as_ref().unwrap().to_string(), entry.repository.clone().unwrap());
        let request = samples::retrieve(&[(Some(&home), repository.as_str(), entry.unique_id.as_str())]);
        let letter = world.letter(Site::Valley, SERVICE, RETRIEVE_ACTION, request.encode());
        let answer = world.ask_mtom(Site::Valley, &letter).await;
        let got = answer.body(|body| retrieve::Response::decode(body, &request).unwrap());
        assert_eq!(Some(bytes(&answer, &got.documents[0].content).len() as u64), entry.size);
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_for_each_document() {
    let document = Document::new("text/plain", b"here");
    provide(std::slice::from_ref(&document)).await;
    let here = (Some(HARBOR), REPOSITORY, document.unique_id.as_str());
    for (story, wanted, status, codes, records) in [
        // 3.39.4.1.3, 3.43.4.2.3.
        (
            "no home",
            vec![(None, REPOSITORY, document.unique_id.as_str())],
            Status::Failure,
            vec!["XDSMissingHomeCommunityId"],
            vec!["ITI-39 R failure document"],
        ),
        (
            "a community not served here",
            vec![(Some("urn:oid:2.999.1.2"), REPOSITORY, document.unique_id.as_str())],
            Status::Failure,
            vec!["XDSUnknownCommunity"],
            vec!["ITI-39 R failure document"],
        ),
        (
            "another repository",
            vec![(Some(HARBOR), "2.999.1.4.9", document.unique_id.as_str())],
            Status::Failure,
            vec!["XDSUnknownRepositoryId"],
            vec!["ITI-39 R failure document"],
        ),
        (
            "no such document",
            vec![(Some(HARBOR), REPOSITORY, "2.999.404")],
            Status::Failure,
            vec!["XDSDocumentUniqueIdError"],
            vec!["ITI-39 R failure document"],
        ),
        (
            "one of two",
            vec![(Some(HARBOR), REPOSITORY, "2.999.404"), here],
            Status::PartialSuccess,
            vec!["XDSDocumentUniqueIdError"],
            vec!["ITI-39 R success document", "ITI-39 R failure document"],
        ),
    ] {
        let (response, answer, lines) = ask(&wanted).await;
        assert_eq!(response.status(), status, "{story}");
        let told: Vec<&str> = response.errors.iter().map(|error| error.code.as_str()).collect();
        assert_eq!(told, codes, "{story}");
        assert_eq!(lines, records, "{story}");
        // The location of an error is the community that answers (3.39.4.1.3).
        let locations: Vec<_> = response.errors.iter().filter_map(|error| error.location.as_deref()).collect();
        assert!(locations.iter().all(|location| location.contains("urn:oid:2.999.1.9")), "{story}: {locations:?}");
        if status == Status::PartialSuccess {
            assert_eq!(bytes(&answer, &response.documents[0].content), b"here", "{story}");
        }
    }
}

#[tokio::test]
async fn a_large_document_goes_in_and_out() {
    // Larger than any buffer on the way; it is not held as a whole by the gateway, which the load tests measure.
    let content: Vec<u8> =
        (0..24_u32 << 18).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let document = Document::new("application/octet-stream", &content);
    provide(std::slice::from_ref(&document)).await;
    let (response, answer, _) = ask(&[(Some(HARBOR), REPOSITORY, &document.unique_id)]).await;
    assert!(bytes(&answer, &response.documents[0].content) == content, "{} bytes differ", content.len());
}
