//! ITI-57 Update Document Set, ITI-92 Restricted Update, ITI-62 Remove Metadata and ITI-86 Remove Documents, as a Document
//! Administrator sends them to a running gateway. What the registry makes of each case is tested beside it
//! (`storage::documents`) and in the scenarios of `nist_scenarios.rs`.

use std::path::Path;

use causeway::ebxml::Slot;
use causeway::id::DocumentUniqueId;
use causeway::metadata::query::Selector;
use causeway::metadata::{ObjectId, Submission};
use causeway::sandbox::Site;
use causeway::xca::query::{Object, Response as Found};
use causeway::xca::responding_gateway::QUERY_ACTION as CROSS_QUERY;
use causeway::xds::administration::{
    REMOVE_DOCUMENTS_ACTION, REMOVE_METADATA_ACTION, RESTRICTED_UPDATE_ACTION, UPDATE_ACTION,
};
use causeway::xds::register::Request;
use causeway::xds::remove::{DocumentId, DocumentsRequest, MetadataRequest};
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xds::retrieval::ACTION as RETRIEVE_ACTION;
use causeway::xds::stored_query::{Query, Request as StoredQuery, ReturnType};
use ihe_tests::harness::samples::{self, Document, find_documents, fresh_oid, patient};
use ihe_tests::harness::scenarios::{Runner, told};
use ihe_tests::harness::world::{SOLO_HOME, SOLO_REPOSITORY, Solo};
use ihe_tests::harness::{Answer, Trail, World};

const DOMAIN: &str = "2.999.60.1";

async fn runner() -> Runner {
    let domain = format!("[[domains]]\nname = \"Suite\"\nnamespace = \"SUITE\"\noid = \"{DOMAIN}\"\n");
    let source = "[[sources]]\nname = \"any\"\naddresses = [\"127.0.0.1\"]\n";
    Runner { solo: Solo::start(&[&domain, source].concat()).await }
}

/// Sends a request that is valid by the schemas. Gives the answer and the audit records of it.
async fn ask(solo: &Solo, service: &str, action: &str, body: String) -> (Answer, Vec<String>) {
    let letter = solo.letter(service, action, body);
    let mtom = matches!(action, PROVIDE_ACTION | RETRIEVE_ACTION);
    let path = format!("/{service}");
    let answer = if mtom {
        solo.client.ask_mtom(solo.running.https, &path, &letter, &[]).await
    } else {
        solo.client.ask(solo.running.https, &path, &letter).await
    };
    let told = answer.read(|envelope| envelope.addressing.action.clone());
    let response = if action == REMOVE_METADATA_ACTION { "urn:ihe:iti:2010:DeleteDocumentSet" } else { action };
    assert_eq!(told, format!("{response}Response"));
    (answer, Trail::of(solo.gateway()).lines(letter.user()))
}

/// Provides one document and gives its submission with the ids that the registry gave it.
async fn provide(solo: &Solo, cx: &str, content: &[u8]) -> Submission {
    let document = [Document::new("text/plain", content)];
    let mut submission = samples::submission(&patient(cx), &document);
    submission.assign_ids();
    let mut parts = samples::attachments(&document);
    parts[0].0 = submission.entries[0].id.to_string();
    let letter = solo.letter("DocumentRepository", PROVIDE_ACTION, samples::provide(submission.clone()));
    let answer = solo.client.ask_mtom(solo.running.https, "/DocumentRepository", &letter, &parts).await;
    assert_eq!(told(&answer), "Success", "{}", answer.envelope);
    submission
}

/// The update of a document's title, from version 1. Hash, size and repository are those that the repository gave it.
fn update(solo: &Solo, first: &Submission, title: &str) -> Submission {
    let gateway = solo.gateway();
    let stored = gateway.documents.document(&gateway.tenant, &first.entries[0].unique_id).unwrap().unwrap();
    let mut update = Submission { entries: vec![stored.entry], ..first.clone() };
    update.set.id = "set".into();
    update.set.unique_id = DocumentUniqueId::new(&fresh_oid()).unwrap();
    update.entries[0].id = "new".into();
    update.entries[0].logical_id = Some(first.entries[0].id.clone());
    update.entries[0].title = Some(title.into());
    (update.entries[0].availability, update.entries[0].version) = (None, None);
    let member = &mut update.associations[0];
    (member.id, member.source, member.target) = ("member".into(), "set".into(), "new".into());
    member.extra.push(Slot { name: "PreviousVersion".into(), values: vec!["1".into()] });
    update
}

fn titles(answer: &Answer) -> Vec<String> {
    let found = answer.body(|body| Found::decode(body, ReturnType::LeafClass).unwrap());
    assert!(found.objects.iter().all(|object: &Object| object.home().is_some()), "home everywhere");
    found.documents().filter_map(|entry| Some(entry.title.as_ref()?.to_string())).collect()
}

#[tokio::test]
async fn a_correction_is_what_other_communities_find_and_the_past_is_there_for_who_asks() {
    let runner = runner().await;
    let solo = &runner.solo;
    for (action, transaction) in [(UPDATE_ACTION, "ITI-57"), (RESTRICTED_UPDATE_ACTION, "ITI-92")] {
        let cx = runner.patient(DOMAIN).await;
        let first = provide(solo, &cx, b"the text").await;
        let request = Request { submission: update(solo, &first, "Corrected"), home: None };
        let (answer, lines) = ask(solo, "DocumentRegistry", action, request.encode()).await;
        assert_eq!(told(&answer), "Success", "{}", answer.envelope);
        assert_eq!(lines, [format!("{transaction} U success patient submission")]);

        let find = find_documents(patient(&cx), Some(SOLO_HOME));
        let (answer, _) = ask(solo, "RespondingGateway", CROSS_QUERY, find.encode()).await;
        assert_eq!(titles(&answer), ["Corrected"]);
        let query = Query::GetDocuments(Selector::LogicalIds(vec![first.entries[0].id.clone()]));
        let home = Some(SOLO_HOME.parse().unwrap());
        let all = StoredQuery { home, metadata_level: Some(2), ..StoredQuery::new(query) };
        let (answer, _) = ask(solo, "RespondingGateway", CROSS_QUERY, all.encode()).await;
        assert_eq!(titles(&answer), ["Document 0", "Corrected"]);

        // The document is the one that it was.
        let body = samples::retrieve(&[(None, SOLO_REPOSITORY, first.entries[0].unique_id.as_str())]);
        let (answer, _) = ask(solo, "DocumentRepository", RETRIEVE_ACTION, body.encode()).await;
        assert_eq!(told(&answer), "Success");

        // A second update of what is the first version no more.
        let request = Request { submission: update(solo, &first, "Too late"), home: None };
        let (answer, lines) = ask(solo, "DocumentRegistry", action, request.encode()).await;
        assert_eq!(told(&answer), "Failure: XDSMetadataVersionError");
        assert_eq!(lines, [format!("{transaction} U failure patient submission")]);
    }
}

#[tokio::test]
async fn what_cannot_be_updated_is_refused_with_its_code() {
    type Change = fn(&mut Request);
    let runner = runner().await;
    let cx = runner.patient(DOMAIN).await;
    let first = provide(&runner.solo, &cx, b"the text").await;
    let cases: [(&str, &str, Change, &str); 7] = [
        ("no logical id", UPDATE_ACTION, |it| it.submission.entries[0].logical_id = None, "XDSInvalidRequestException"),
        (
            "no version",
            UPDATE_ACTION,
            |it| it.submission.associations[0].extra.clear(),
            "XDSMetadataUpdateOperationError",
        ),
        (
            "nothing to update",
            UPDATE_ACTION,
            |it| {
                it.submission.entries.clear();
                it.submission.associations.clear();
            },
            "XDSMetadataUpdateOperationError",
        ),
        (
            "another hash than that of the bytes here",
            UPDATE_ACTION,
            |it| {
                it.submission.entries[0].hash = Some("a94a8fe5ccb19ba61c4c0873d391e987982fbbd3".into());
            },
            "XDSMetadataUpdateError",
        ),
        (
            "a required attribute missing",
            UPDATE_ACTION,
            |it| it.submission.entries[0].class_code = None,
            "XDSRegistryMetadataError",
        ),
        (
            "another community",
            RESTRICTED_UPDATE_ACTION,
            |it| it.home = Some("urn:oid:2.999.8".parse().unwrap()),
            "XDSUnknownCommunity",
        ),
        (
            "a folder",
            RESTRICTED_UPDATE_ACTION,
            |it| {
                it.submission.entries.clear();
                it.submission.associations.clear();
            },
            "XDSMetadataUpdateOperationError, XDSObjectTypeError",
        ),
    ];
    for (story, action, change, code) in cases {
        let mut request = Request { submission: update(&runner.solo, &first, "Never"), home: None };
        change(&mut request);
        let (answer, _) = ask(&runner.solo, "DocumentRegistry", action, request.encode()).await;
        assert_eq!(told(&answer), format!("Failure: {code}"), "{story}");
    }
    let find = find_documents(patient(&cx), Some(SOLO_HOME));
    let (answer, _) = ask(&runner.solo, "RespondingGateway", CROSS_QUERY, find.encode()).await;
    assert_eq!(titles(&answer), ["Document 0"]);
}

fn files_under(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| if path.is_dir() { files_under(&path) } else { 1 }).sum()
}

fn removal(documents: &[(&str, &str)]) -> String {
    let document = |(repository, document): &(&str, &str)| DocumentId {
        home: None,
        repository: causeway::id::RepositoryId::new(repository).unwrap(),
        document: DocumentUniqueId::new(document).unwrap(),
    };
    DocumentsRequest { documents: documents.iter().map(document).collect() }.encode()
}

#[tokio::test]
async fn documents_that_are_removed_are_gone_from_the_disk_and_from_every_answer() {
    let runner = runner().await;
    let solo = &runner.solo;
    let cx = runner.patient(DOMAIN).await;
    let (one, same) = (provide(solo, &cx, b"the text").await, provide(solo, &cx, b"the text").await);
    let (first, second) = (one.entries[0].unique_id.as_str(), same.entries[0].unique_id.as_str());
    let kept = solo.ground.folder.path().join("data/documents");
    assert_eq!(files_under(&kept), 1, "the same bytes are kept once");

    for (story, documents, outcome, lines) in [
        (
            "not here",
            vec![(SOLO_REPOSITORY, "2.999.404")],
            "Failure: XDSDocumentUniqueIdError",
            vec!["ITI-86 D failure document"],
        ),
        (
            "another repository",
            vec![("2.999.7", first)],
            "Failure: XDSUnknownRepositoryId",
            vec!["ITI-86 D failure document"],
        ),
        ("one", vec![(SOLO_REPOSITORY, first)], "Success", vec!["ITI-86 D success document"]),
        (
            "again",
            vec![(SOLO_REPOSITORY, first)],
            "Failure: XDSDocumentUniqueIdError",
            vec!["ITI-86 D failure document"],
        ),
    ] {
        // The schema of the profile has room for one document; the toolkit sends several.
        let (answer, told_lines) = ask(solo, "DocumentRepository", REMOVE_DOCUMENTS_ACTION, removal(&documents)).await;
        assert_eq!(told(&answer), outcome, "{story}");
        assert_eq!(told_lines, lines, "{story}");
    }
    assert_eq!(files_under(&kept), 1, "another document has the same bytes");
    let body = samples::retrieve(&[(None, SOLO_REPOSITORY, first), (None, SOLO_REPOSITORY, second)]);
    let (answer, _) = ask(solo, "DocumentRepository", RETRIEVE_ACTION, body.encode()).await;
    assert_eq!(told(&answer), "PartialSuccess: XDSDocumentUniqueIdError");

    // Metadata first: the bytes are still there to be removed, but nobody gets them.
    let ids: Vec<ObjectId> = vec![same.set.id.clone(), same.entries[0].id.clone(), same.associations[0].id.clone()];
    let incomplete = MetadataRequest { objects: ids[..1].to_vec() };
    let (answer, lines) = ask(solo, "DocumentRegistry", REMOVE_METADATA_ACTION, incomplete.encode()).await;
    assert_eq!(told(&answer), "Failure: ReferencesExistException");
    assert_eq!(lines, ["ITI-62 D failure patient document"]);
    let (answer, lines) =
        ask(solo, "DocumentRegistry", REMOVE_METADATA_ACTION, MetadataRequest { objects: ids }.encode()).await;
    assert_eq!(told(&answer), "Success", "{}", answer.envelope);
    assert_eq!(lines, ["ITI-62 D success patient document document document"]);
    let body = samples::retrieve(&[(None, SOLO_REPOSITORY, second)]);
    let (answer, _) = ask(solo, "DocumentRepository", RETRIEVE_ACTION, body.encode()).await;
    assert_eq!(told(&answer), "Failure: XDSDocumentUniqueIdError");
    assert_eq!(files_under(&kept), 1);
    let (answer, _) =
        ask(solo, "DocumentRepository", REMOVE_DOCUMENTS_ACTION, removal(&[(SOLO_REPOSITORY, second)])).await;
    assert_eq!(told(&answer), "Success");
    assert_eq!(files_under(&kept), 0);
}

/// Remove Metadata and Documents supplement 3.86.4.2: documents go one by one, so some may be gone when others are not;
/// 3.62.4.1.3: of metadata all goes or nothing.
#[tokio::test]
async fn a_removal_of_documents_may_succeed_in_part_and_one_of_metadata_never() {
    let runner = runner().await;
    let solo = &runner.solo;
    let cx = runner.patient(DOMAIN).await;
    let first = provide(solo, &cx, b"the text").await;
    let unique_id = first.entries[0].unique_id.as_str();
    let kept = solo.ground.folder.path().join("data/documents");

    let unknown: ObjectId = "urn:uuid:00000000-0000-4000-8000-000000000001".into();
    let all = [first.set.id.clone(), first.entries[0].id.clone(), first.associations[0].id.clone(), unknown];
    let request = MetadataRequest { objects: all.to_vec() };
    let (answer, lines) = ask(solo, "DocumentRegistry", REMOVE_METADATA_ACTION, request.encode()).await;
    assert_eq!(told(&answer), "Failure: UnresolvedReferenceException");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let find = find_documents(patient(&cx), Some(SOLO_HOME));
    let (answer, _) = ask(solo, "RespondingGateway", CROSS_QUERY, find.encode()).await;
    assert_eq!(titles(&answer), ["Document 0"], "nothing was removed");

    // The schema of the profile has room for one document; the toolkit sends several, and so may others.
    let body = removal(&[(SOLO_REPOSITORY, unique_id), (SOLO_REPOSITORY, "2.999.404"), ("2.999.7", unique_id)]);
    let letter = solo.letter("DocumentRepository", REMOVE_DOCUMENTS_ACTION, body);
    let envelope = letter.envelope(&solo.client.key);
    let answer = solo.client.post(solo.running.https, "/DocumentRepository", &envelope).await;
    assert_eq!(told(&answer), "PartialSuccess: XDSDocumentUniqueIdError, XDSUnknownRepositoryId");
    let lines = Trail::of(solo.gateway()).lines(letter.user());
    assert_eq!(lines, ["ITI-86 D success document", "ITI-86 D failure document document"]);
    assert_eq!(files_under(&kept), 0);
}

/// Whoever may do everything else may not remove what others have given unless its entry says so.
#[tokio::test]
async fn removal_and_update_are_for_systems_that_are_named_for_them() {
    let world = World::shared();
    for (service, action, transaction) in [
        ("DocumentRegistry", UPDATE_ACTION, "ITI-57"),
        ("DocumentRegistry", REMOVE_METADATA_ACTION, "ITI-62"),
        ("DocumentRegistry", RESTRICTED_UPDATE_ACTION, "ITI-92"),
        ("DocumentRepository", REMOVE_DOCUMENTS_ACTION, "ITI-86"),
    ] {
        let body = match action {
            REMOVE_METADATA_ACTION => {
                MetadataRequest { objects: vec!["urn:uuid:00000000-0000-4000-8000-000000000001".into()] }.encode()
            }
            REMOVE_DOCUMENTS_ACTION => removal(&[(SOLO_REPOSITORY, "2.999.9")]),
            _ => {
                let document = [Document::new("text/plain", b"x")];
                let cx = patient("HB307^^^&2.999.1.3.1&ISO");
                let mut submission = samples::submission(&cx, &document);
                submission.entries[0].logical_id = Some("urn:uuid:00000000-0000-4000-8000-000000000001".into());
                submission.entries[0].repository = Some(causeway::id::RepositoryId::new("2.999.4").unwrap());
                submission.entries[0].hash = Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into());
                submission.entries[0].size = Some(0);
                let version = Slot { name: "PreviousVersion".into(), values: vec!["1".into()] };
                submission.associations[0].extra.push(version);
                Request { submission, home: None }.encode()
            }
        };
        let letter = world.source_letter(Site::Hub, service, action, body);
        let path = format!("/{service}");
        let fault = world.source().ask(world.sandbox.hub.https, &path, &letter).await.fault();
        assert!(fault.reason.contains(&format!("not allowed to use {transaction}")), "{fault:?}");
        let lines = world.trail(Site::Hub).lines(letter.user());
        assert!(lines.len() == 1 && lines[0].ends_with("failure"), "{lines:?}");
    }
}
