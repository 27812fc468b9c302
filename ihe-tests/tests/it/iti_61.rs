//! ITI-61 Register On-Demand Document Entry, and what ITI-43 and ITI-39 make of such an entry (ITI TF-2: 3.61, 3.43.4.2);
//! the value sets of an affinity domain (ITI TF-3: 4.2.3.1.2).

use causeway::id::{Code, RepositoryId};
use causeway::metadata::{Availability, DocumentKind, Submission};
use causeway::xca::query::{Object, Response as Found};
use causeway::xca::responding_gateway::{QUERY_ACTION, RETRIEVE_ACTION};
use causeway::xds::register::Request;
use causeway::xds::registration::{ON_DEMAND_ACTION, REGISTER_ACTION};
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xds::retrieve::{Response as Retrieved, RetrievedDocument};
use causeway::xds::stored_query::{ContentFilter, FindDocuments, Query, Request as StoredQuery, ReturnType};
use ihe_tests::harness::samples::{self, Document, patient};
use ihe_tests::harness::scenarios::{Runner, told};
use ihe_tests::harness::world::{SOLO_HOME, SOLO_REPOSITORY, Solo};
use ihe_tests::harness::{Answer, Trail};

use crate::iti_65::bytes_at;

const DOMAIN: &str = "2.999.60.1";

async fn runner(more: &str) -> Runner {
    let domain = format!("[[domains]]\nname = \"Suite\"\nnamespace = \"SUITE\"\noid = \"{DOMAIN}\"\n");
    let source = "[[sources]]\nname = \"any\"\naddresses = [\"127.0.0.1\"]\n";
    Runner { solo: Solo::start(&[&domain, source, more].concat()).await }
}

/// A program that the gateway asks for documents.
fn source(script: &str, more: &str) -> String {
    format!("[documents.on_demand]\ncommand = [\"/bin/sh\", \"-c\", '{script}']\n{more}\n")
}

fn on_demand(cx: &str) -> Submission {
    let mut submission = samples::submission(&patient(cx), &[Document::new("text/plain", b"")]);
    let entry = &mut submission.entries[0];
    entry.kind = DocumentKind::OnDemand;
    entry.repository = RepositoryId::new(SOLO_REPOSITORY).ok();
    entry.creation_time = None;
    submission
}

async fn register(solo: &Solo, submission: &Submission) -> (Answer, Vec<String>) {
    let body = Request { submission: submission.clone(), home: None }.encode();
    let letter = solo.letter("DocumentRegistry", ON_DEMAND_ACTION, body);
    let answer = solo.client.ask(solo.running.https, "/DocumentRegistry", &letter).await;
    // 3.61.4.2: the name of the response has no "Entry".
    let action = answer.read(|envelope| envelope.addressing.action.clone());
    assert_eq!(action, "urn:ihe:iti:2010:RegisterOnDemandDocumentResponse");
    (answer, Trail::of(solo.gateway()).lines(letter.user()))
}

async fn find(solo: &Solo, cx: &str, kinds: &[DocumentKind]) -> Vec<Object> {
    let find = FindDocuments {
        patients: vec![patient(cx)],
        statuses: vec![Availability::Approved],
        contents: ContentFilter { kinds: kinds.to_vec(), ..ContentFilter::default() },
        ..FindDocuments::default()
    };
    let home = Some(SOLO_HOME.parse().unwrap());
    let body = StoredQuery { home, ..StoredQuery::new(Query::FindDocuments(find)) }.encode();
    let letter = solo.letter("RespondingGateway", QUERY_ACTION, body);
    let answer = solo.client.ask(solo.running.https, "/RespondingGateway", &letter).await;
    answer.body(|body| Found::decode(body, ReturnType::LeafClass).unwrap()).objects
}

/// What other communities get: the answer, and the bytes of its document.
async fn retrieve(solo: &Solo, unique_id: &str) -> (Option<RetrievedDocument>, String, String) {
    let body = samples::retrieve(&[(Some(SOLO_HOME), SOLO_REPOSITORY, unique_id)]);
    let letter = solo.letter("RespondingGateway", RETRIEVE_ACTION, body.encode());
    let answer = solo.client.ask_mtom(solo.running.https, "/RespondingGateway", &letter, &[]).await;
    let response = answer.body(|element| Retrieved::decode(element, &body).unwrap());
    let package = answer.package.as_ref().unwrap();
    let bytes = package.parts.first().map(|part| String::from_utf8_lossy(&part.content).into_owned());
    (response.documents.into_iter().next(), bytes.unwrap_or_default(), told(&answer))
}

#[tokio::test]
async fn a_document_is_made_when_it_is_retrieved() {
    let runner = runner(&source("cat; echo; echo of today", "")).await;
    let solo = &runner.solo;
    let cx = runner.patient(DOMAIN).await;
    let submission = on_demand(&cx);
    let unique_id = submission.entries[0].unique_id.as_str();
    let (answer, lines) = register(solo, &submission).await;
    assert_eq!((told(&answer).as_str(), lines), ("Success", vec!["ITI-61 C success patient submission".into()]));

    // 3.18.4.1.2.3.6.2: who does not ask for on-demand documents does not get them.
    assert_eq!(find(solo, &cx, &[]).await, []);
    let both = [DocumentKind::Stable, DocumentKind::OnDemand];
    let found = find(solo, &cx, &both).await;
    assert!(
        matches!(&found[..], [Object::Document(entry)] if entry.kind == DocumentKind::OnDemand
        && entry.home.is_some() && entry.hash.is_none()),
        "{found:?}"
    );

    let (first, bytes, _) = retrieve(solo, unique_id).await;
    let first = first.unwrap();
    assert!(bytes.contains(&format!("\"uniqueId\":\"{unique_id}\"")) && bytes.contains(&cx), "{bytes}");
    assert!(bytes.ends_with("of today\n"), "{bytes}");
    // 3.43.4.2.2: the entry's id is echoed, the document has its own, and was not kept.
    assert_eq!((first.id.document.as_str(), first.mime_type.as_str()), (unique_id, "text/plain"));
    assert!(first.new_document.is_some() && first.new_repository.is_none(), "{first:?}");
    let (second, ..) = retrieve(solo, unique_id).await;
    assert_ne!(second.unwrap().new_document, first.new_document);
    assert_eq!(find(solo, &cx, &both).await.len(), 1, "nothing was registered");
}

#[tokio::test]
async fn what_was_made_is_kept_as_a_snapshot_if_the_operator_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    let content = folder.path().join("content");
    std::fs::write(&content, "first").unwrap();
    let runner = runner(&source(&format!("exec cat {}", content.display()), "persist = true")).await;
    let solo = &runner.solo;
    let cx = runner.patient(DOMAIN).await;
    let submission = on_demand(&cx);
    let unique_id = submission.entries[0].unique_id.as_str();
    register(solo, &submission).await;

    let (first, bytes, _) = retrieve(solo, unique_id).await;
    let first = first.unwrap();
    assert_eq!((bytes.as_str(), first.new_repository.as_ref().unwrap().as_str()), ("first", SOLO_REPOSITORY));
    let snapshot = first.new_document.clone().unwrap();
    let (stable, bytes, _) = retrieve(solo, snapshot.as_str()).await;
    assert_eq!((bytes.as_str(), stable.unwrap().new_document), ("first", None));
    let found = find(solo, &cx, &[DocumentKind::Stable]).await;
    assert!(matches!(&found[..], [Object::Document(entry)] if entry.unique_id == snapshot), "{found:?}");

    // What has not changed is the document that it was; what has replaces it.
    let (again, ..) = retrieve(solo, unique_id).await;
    assert_eq!(again.unwrap().new_document, Some(snapshot.clone()));
    std::fs::write(&content, "second").unwrap();
    let (changed, bytes, _) = retrieve(solo, unique_id).await;
    let changed = changed.unwrap().new_document.unwrap();
    assert!(changed != snapshot && bytes == "second");
    let found = find(solo, &cx, &[DocumentKind::Stable]).await;
    assert!(matches!(&found[..], [Object::Document(entry)] if entry.unique_id == changed), "{found:?}");
}

/// MHD 2:3.68: a FHIR client gets what is made now, at the address that its search told it.
#[tokio::test]
async fn a_fhir_client_gets_a_document_that_is_made_for_it() {
    let client = "[[fhir_clients]]\nname = \"portal\"\nnetwork = \"local\"\n\
                  certificate_name = \"partner.example.org\"\nuser = \"portal@example.org\"\n\
                  purpose = \"TREATMENT\"\nfind_documents = true\n";
    let folder = tempfile::tempdir().unwrap();
    let content = folder.path().join("content");
    std::fs::write(&content, "as it is now").unwrap();
    let runner = runner(&[&source(&format!("exec cat {}", content.display()), ""), client].concat()).await;
    let solo = &runner.solo;
    let cx = runner.patient(DOMAIN).await;
    let submission = on_demand(&cx);
    register(solo, &submission).await;
    let fhir = solo.fhir();
    let id = patient(&cx);
    let answer =
        fhir.get(&format!("DocumentReference?patient.identifier=urn:oid:{DOMAIN}%7C{}&status=current", id.id())).await;
    let found = answer.entries();
    let reference = found.iter().find(|one| one["resourceType"] == "DocumentReference").unwrap();
    let attachment = &reference["content"][0]["attachment"];
    assert_eq!((attachment.get("hash"), attachment.get("size")), (None, None), "nobody knows what will be made");
    let url = attachment["url"].as_str().unwrap();
    for text in ["as it is now", "as it is later"] {
        std::fs::write(&content, text).unwrap();
        let (status, headers, body) = bytes_at(solo, url, "*/*").await;
        assert_eq!((status, &*body), (200, text.as_bytes()));
        assert_eq!((headers["content-type"].as_bytes(), headers.get("etag")), (&b"text/plain"[..], None));
    }
    let lines = Trail::of(solo.gateway()).lines("portal@example.org");
    let retrieved = lines.iter().filter(|line| line.starts_with("ITI-68 R success"));
    assert_eq!(retrieved.count(), 2, "{lines:?}");
    // A program that fails is a failure, and no document.
    std::fs::remove_file(&content).unwrap();
    let (status, ..) = bytes_at(solo, url, "*/*").await;
    assert!(status >= 400, "{status}");
    fhir.judge();
}

#[tokio::test]
async fn a_document_that_could_not_be_made_is_not_half_of_one() {
    for (story, script, more) in [
        ("the program fails", "echo half; exit 3", ""),
        ("it writes nothing", "exit 0", ""),
        ("it does not end", "echo half; exec sleep 600", "seconds = 1"),
        ("it ends its output and not itself", "exec >&-; sleep 600", "seconds = 1"),
    ] {
        let runner = runner(&source(script, &format!("persist = true\n{more}"))).await;
        let cx = runner.patient(DOMAIN).await;
        let submission = on_demand(&cx);
        register(&runner.solo, &submission).await;
        let (document, _, told) = retrieve(&runner.solo, submission.entries[0].unique_id.as_str()).await;
        assert_eq!((document, told.as_str()), (None, "Failure: XDSRepositoryError"), "{story}");
        assert_eq!(find(&runner.solo, &cx, &[DocumentKind::Stable]).await, [], "{story}");
    }
}

#[tokio::test]
async fn entries_that_nobody_could_make_are_refused() {
    type Change = fn(&mut Submission);
    let runner = runner("").await;
    let cx = runner.patient(DOMAIN).await;
    let cases: [(&str, Change, &str); 4] = [
        ("our own repository, which has no source", |_| {}, "Failure: XDSRegistryMetadataError"),
        (
            "a hash of what is not made yet",
            |it| it.entries[0].hash = Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into()),
            "Failure: XDSRegistryMetadataError",
        ),
        ("a stable document", |it| it.entries[0].kind = DocumentKind::Stable, "Failure: XDSRegistryMetadataError"),
        ("a source elsewhere", |it| it.entries[0].repository = RepositoryId::new("2.999.7").ok(), "Success"),
    ];
    for (story, change, expected) in cases {
        let mut submission = on_demand(&cx);
        change(&mut submission);
        let (answer, _) = register(&runner.solo, &submission).await;
        assert_eq!(told(&answer), expected, "{story}: {}", answer.envelope);
    }
}

#[tokio::test]
async fn codes_outside_the_affinity_domain_are_refused_in_every_submission() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("value-sets.toml");
    std::fs::write(&file, "class_code = [\"34133-9|2.16.840.1.113883.6.1\"]\nmime_type = [\"text/plain\"]\n").unwrap();
    let runner = runner(&format!("[documents]\nvalue_sets = \"{}\"\n", file.display())).await;
    let solo = &runner.solo;
    let cx = runner.patient(DOMAIN).await;
    for (code, good) in [("34133-9", true), ("11488-4", false)] {
        let document = [Document::new("text/plain", b"text")];
        let mut submission = samples::submission(&patient(&cx), &document);
        submission.entries[0].class_code = Some(Code::new(code, "2.16.840.1.113883.6.1", "x"));
        let letter = solo.letter("DocumentRepository", PROVIDE_ACTION, samples::provide(submission.clone()));
        let parts = samples::attachments(&document);
        let answer = solo.client.ask_mtom(solo.running.https, "/DocumentRepository", &letter, &parts).await;
        assert_eq!(told(&answer), if good { "Success" } else { "Failure: XDSRepositoryMetadataError" });

        submission.set.unique_id = causeway::id::DocumentUniqueId::new(&samples::fresh_oid()).unwrap();
        let entry = &mut submission.entries[0];
        entry.unique_id = causeway::id::DocumentUniqueId::new(&samples::fresh_oid()).unwrap();
        entry.repository = RepositoryId::new("2.999.7").ok();
        entry.hash = Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into());
        entry.size = Some(0);
        let body = Request { submission, home: None }.encode();
        let letter = solo.letter("DocumentRegistry", REGISTER_ACTION, body);
        let answer = solo.client.ask(solo.running.https, "/DocumentRegistry", &letter).await;
        assert_eq!(told(&answer), if good { "Success" } else { "Failure: XDSRegistryMetadataError" });
    }
}
