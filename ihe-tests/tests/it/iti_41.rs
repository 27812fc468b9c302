//! ITI-41 Provide and Register Document Set-b (ITI TF-2: 3.41): all of a submission is kept, or nothing.

use causeway::ebxml::{RegistryResponse, Status};
use causeway::metadata::Submission;
use causeway::sandbox::Site;
use causeway::soap::fault::FaultCode;
use causeway::xca::query::Response as QueryResponse;
use causeway::xca::responding_gateway::QUERY_ACTION;
use causeway::xds::provide::{Content, ProvidedDocument, Request};
use causeway::xds::register;
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xds::stored_query::ReturnType;
use ihe_tests::harness::client::Attachment;
use ihe_tests::harness::samples::{self, Document, find_documents, patient};
use ihe_tests::harness::{Answer, Feed, Letter, World};

const SERVICE: &str = "DocumentRepository";

/// A patient of the hub that nobody else has, registered by a feed.
pub async fn someone() -> String {
    let world = World::shared();
    let id = format!("T{}", samples::fresh_oid().replace('.', ""));
    let message = format!(
        "MSH|^~\\&|ADT|HARBOR|CAUSEWAY|HUB|20261122||ADT^A04^ADT_A01|{}|P|2.3.1\rEVN|A04|20261122\r\
         PID|||{id}^^^&2.999.1.3.1&ISO||Sample^{}||19500101|F\rPV1||O\r",
        &id[..20],
        &id[20..]
    );
    let told = Feed::open(world.sandbox.hub.mllp[0]).await.ask(message.as_bytes()).await;
    assert_eq!(told.code.code(), "AA", "{}", told.text);
    format!("{id}^^^&2.999.1.3.1&ISO")
}

fn letter(body: String) -> Letter {
    World::shared().source_letter(Site::Hub, SERVICE, PROVIDE_ACTION, body)
}

async fn send(letter: &Letter, attachments: &[Attachment]) -> (RegistryResponse, Answer) {
    let answer = World::shared().provide(Site::Hub, letter, attachments).await;
    assert_eq!(answer.status, 200, "{}", answer.envelope);
    assert!(answer.package.is_some(), "the answer is MTOM: {}", answer.content_type);
    let action = answer.read(|envelope| envelope.addressing.action.clone());
    assert_eq!(action, "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-bResponse");
    (answer.body(|body| RegistryResponse::decode(body).unwrap()), answer)
}

/// How many documents other communities find for a patient.
pub async fn found(cx: &str) -> usize {
    let world = World::shared();
    let body = find_documents(patient(cx), Some("urn:oid:2.999.1.3")).encode();
    let answer = world.ask(Site::Hub, &world.letter(Site::Hub, "RespondingGateway", QUERY_ACTION, body)).await;
    answer.body(|body| QueryResponse::decode(body, ReturnType::LeafClass).unwrap()).objects.len()
}

#[tokio::test]
async fn one_and_two_documents_are_kept_and_found() {
    let cx = someone().await;
    for (count, total) in [(1, 1), (2, 3)] {
        let documents: Vec<Document> = (0..count).map(|_| Document::new("text/plain", b"some text")).collect();
        let letter = letter(samples::provide(samples::submission(&patient(&cx), &documents)));
        let (response, _) = send(&letter, &samples::attachments(&documents)).await;
        assert_eq!(response.status(), Status::Success, "{:?}", response.errors);
        assert_eq!(found(&cx).await, total);
        let lines = World::shared().trail(Site::Hub).lines(letter.user());
        assert_eq!(lines, ["ITI-41 C success patient submission"]);
    }
}

#[tokio::test]
async fn a_document_may_be_in_the_body_of_a_package() {
    let cx = someone().await;
    let documents = [Document::new("text/plain", b"in the body"), Document::new("text/plain", b"attached")];
    let submission = samples::submission(&patient(&cx), &documents);
    let content = [Content::Inline(documents[0].content.clone()), Content::Attached("document1".into())];
    let ids = submission.entries.iter().map(|entry| entry.id.clone());
    let provided = ids.zip(content).map(|(id, content)| ProvidedDocument { id, content }).collect();
    let registration = register::Request { submission, home: None };
    let letter = letter(Request { registration, documents: provided }.encode().xml);
    let (response, _) = send(&letter, &samples::attachments(&documents)[1..]).await;
    assert_eq!(response.status(), Status::Success, "{:?}", response.errors);
    assert_eq!(found(&cx).await, 2);
}

#[tokio::test]
async fn a_submission_with_anything_wrong_leaves_nothing() {
    type Change = fn(&mut Submission, &mut Vec<Attachment>);
    let cx = someone().await;
    let cases: [(&str, Change, &[&str]); 7] = [
        // 3.41.4.1.3, ITI TF-3: Table 4.2.4.1-2.
        (
            "a hash that is not the document's",
            |submission, _| submission.entries[1].hash = Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into()),
            &["XDSRepositoryMetadataError"],
        ),
        (
            "a size that is not the document's",
            |submission, _| submission.entries[1].size = Some(1),
            &["XDSRepositoryMetadataError"],
        ),
        ("an attachment that is missing", |_, parts| parts.truncate(1), &["XDSMissingDocument"]),
        (
            "a document without an entry",
            |submission, _| {
                submission.entries.truncate(1);
                submission.associations.truncate(1);
            },
            &["XDSMissingDocumentMetadata"],
        ),
        (
            "a patient whom nobody knows",
            |submission, _| {
                let nobody = Some(patient("NOBODY^^^&2.999.1.3.1&ISO"));
                submission.set.patient_id.clone_from(&nobody);
                submission.entries.iter_mut().for_each(|entry| entry.patient_id.clone_from(&nobody));
            },
            &["XDSUnknownPatientId"],
        ),
        (
            "two patients",
            |submission, _| submission.entries[1].patient_id = Some(patient("HB307^^^&2.999.1.3.1&ISO")),
            &["XDSPatientIdDoesNotMatch"],
        ),
        (
            "a required attribute missing",
            |submission, _| submission.entries[1].class_code = None,
            &["XDSRepositoryMetadataError"],
        ),
    ];
    for (story, change, expected) in cases {
        let documents = [Document::new("text/plain", b"first"), Document::new("text/plain", b"second")];
        let mut submission = samples::submission(&patient(&cx), &documents);
        let all_ids: Vec<_> = submission.entries.iter().map(|entry| entry.id.clone()).collect();
        let mut parts = samples::attachments(&documents);
        change(&mut submission, &mut parts);
        let provided =
            all_ids.into_iter().map(|id| ProvidedDocument { content: Content::Attached(id.to_string()), id }).collect();
        let registration = register::Request { submission, home: None };
        let letter = letter(Request { registration, documents: provided }.encode().xml);
        let (response, _) = send(&letter, &parts).await;
        let codes: Vec<&str> = response.errors.iter().map(|error| error.code.as_str()).collect();
        assert_eq!((codes.as_slice(), response.status()), (expected, Status::Failure), "{story}");
        assert_eq!(found(&cx).await, 0, "{story}");
        let lines = World::shared().trail(Site::Hub).lines(letter.user());
        assert!(lines.len() == 1 && lines[0].starts_with("ITI-41 C failure"), "{story}: {lines:?}");
    }
}

#[tokio::test]
async fn a_unique_id_belongs_to_one_content() {
    // ITI TF-2: 3.42.4.1.3.3.1: the same document may be submitted again, another one under its id may not.
    let cx = someone().await;
    let first = Document::new("text/plain", b"first");
    for (content, expected) in [(&b"first"[..], vec![]), (b"changed", vec!["XDSNonIdenticalHash"]), (b"first", vec![])]
    {
        let document = Document { content: content.to_vec(), ..first.clone() };
        let letter = letter(samples::provide(samples::submission(&patient(&cx), std::slice::from_ref(&document))));
        let (response, _) = send(&letter, &samples::attachments(std::slice::from_ref(&document))).await;
        let codes: Vec<&str> = response.errors.iter().map(|error| error.code.as_str()).collect();
        assert_eq!(codes, expected, "{content:?}");
    }
}

#[tokio::test]
async fn an_attachment_that_nothing_refers_to_is_ignored() {
    let cx = someone().await;
    let document = Document::new("text/plain", b"wanted");
    let letter = letter(samples::provide(samples::submission(&patient(&cx), std::slice::from_ref(&document))));
    let mut parts = samples::attachments(std::slice::from_ref(&document));
    parts.insert(0, ("surplus".into(), "text/plain", b"nobody's".to_vec()));
    let (response, _) = send(&letter, &parts).await;
    assert_eq!((response.status(), found(&cx).await), (Status::Success, 1));
}

#[tokio::test]
async fn a_message_that_is_no_package_is_refused() {
    // ITI TF-2: V.3.6: ITI-41 is spoken in MTOM.
    let world = World::shared();
    let document = Document::new("text/plain", b"x");
    let letter = letter(samples::provide(samples::submission(
        &patient("HB307^^^&2.999.1.3.1&ISO"),
        std::slice::from_ref(&document),
    )));
    let answer = world.source().ask(world.sandbox.hub.https, "/DocumentRepository", &letter).await;
    let fault = answer.fault();
    assert!(fault.code == FaultCode::Sender && fault.reason.contains("MTOM"), "{fault:?}");
    assert_eq!(world.trail(Site::Hub).lines(answer.trace()), ["ITI-41 C failure"]);
}

/// A partner may push documents to recipients (XDR). What is on record here is for our own systems to say.
#[tokio::test]
async fn other_communities_do_not_fill_the_repository() {
    let world = World::shared();
    let cx = someone().await;
    let documents = [Document::new("text/plain", b"not ours")];
    let (partner, parts) = (world.partner(Site::Hub), samples::attachments(&documents));
    let body = samples::provide(samples::submission(&patient(&cx), &documents));
    for service in [SERVICE, "RespondingGateway"] {
        let letter = world.letter(Site::Hub, service, PROVIDE_ACTION, body.clone());
        let answer = partner.ask_mtom(world.sandbox.hub.https, &format!("/{service}"), &letter, &parts).await;
        let fault = answer.fault();
        assert!(fault.reason.contains("others send to DocumentRecipient"), "{service}: {fault:?}");
        assert_eq!(world.trail(Site::Hub).lines(letter.user()), ["ITI-41 C failure"], "{service}");
    }
    assert_eq!(found(&cx).await, 0);
    let letter = world.letter(Site::Hub, "DocumentRecipient", PROVIDE_ACTION, body);
    let answer = partner.ask_mtom(world.sandbox.hub.https, "/DocumentRecipient", &letter, &parts).await;
    let response = answer.body(|body| RegistryResponse::decode(body).unwrap());
    assert_eq!(response.errors[0].code.as_str(), "UnknownRecipient", "it is heard there: {:?}", response.errors);
}

#[tokio::test]
async fn a_package_that_breaks_off_leaves_nothing() {
    let world = World::shared();
    let cx = someone().await;
    let document = Document::new("text/plain", &[b'x'; 5000]);
    let letter = letter(samples::provide(samples::submission(&patient(&cx), std::slice::from_ref(&document))));
    let envelope = letter.envelope(&world.source().key);
    let parts = samples::attachments(std::slice::from_ref(&document));
    let (content_type, body) = ihe_tests::harness::client::packed(PROVIDE_ACTION, &envelope, &parts);
    let cut = body.slice(..body.len() - 2000);
    let reply = world
        .source()
        .send(world.sandbox.hub.https, hyper::Method::POST, "/DocumentRepository", &content_type, cut)
        .await;
    let response = reply.into_answer().body(|body| RegistryResponse::decode(body).unwrap());
    assert_eq!(response.errors[0].code.as_str(), "XDSRepositoryError");
    assert_eq!(found(&cx).await, 0);
}
