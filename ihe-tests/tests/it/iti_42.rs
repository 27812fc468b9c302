//! ITI-42 Register Document Set-b (ITI TF-2: 3.42): metadata of documents that repositories elsewhere keep.

use causeway::ebxml::{RegistryResponse, Status};
use causeway::id::RepositoryId;
use causeway::metadata::{Association, AssociationKind, DocumentKind, Submission};
use causeway::sandbox::Site;
use causeway::xca::responding_gateway::RETRIEVE_ACTION;
use causeway::xds::register::Request;
use causeway::xds::registration::REGISTER_ACTION;
use causeway::xds::retrieve::Response as Retrieved;
use ihe_tests::harness::samples::{self, Document, patient};
use ihe_tests::harness::{Letter, World};

use crate::iti_41::{found, someone};

/// A repository that is not the gateway's.
const ELSEWHERE: &str = "2.999.44.9";

/// A submission as a repository completes it before it registers it.
fn submission(cx: &str, count: usize) -> Submission {
    let documents: Vec<Document> = (0..count).map(|_| Document::new("text/plain", b"elsewhere")).collect();
    let mut submission = samples::submission(&patient(cx), &documents);
    for entry in &mut submission.entries {
        entry.repository = Some(RepositoryId::new(ELSEWHERE).unwrap());
        entry.hash = Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into());
        entry.size = Some(0);
    }
    submission
}

async fn register(submission: Submission) -> (RegistryResponse, Letter) {
    let world = World::shared();
    let body = Request { submission, home: None }.encode();
    let letter = world.source_letter(Site::Hub, "DocumentRegistry", REGISTER_ACTION, body);
    let answer = world.source().ask(world.sandbox.hub.https, "/DocumentRegistry", &letter).await;
    assert!(answer.package.is_none(), "ITI-42 is not spoken in MTOM: {}", answer.content_type);
    let action = answer.read(|envelope| envelope.addressing.action.clone());
    assert_eq!(action, "urn:ihe:iti:2007:RegisterDocumentSet-bResponse");
    (answer.body(|body| RegistryResponse::decode(body).unwrap()), letter)
}

fn codes(response: &RegistryResponse) -> Vec<&str> {
    response.errors.iter().map(|error| error.code.as_str()).collect()
}

#[tokio::test]
async fn documents_of_other_repositories_are_found_and_their_repository_is_named() {
    let cx = someone().await;
    let submission = submission(&cx, 2);
    let unique_id = submission.entries[0].unique_id.clone();
    let (response, letter) = register(submission).await;
    assert_eq!((response.status(), codes(&response)), (Status::Success, vec![]));
    assert_eq!(found(&cx).await, 2);
    let world = World::shared();
    assert_eq!(world.trail(Site::Hub).lines(letter.user()), ["ITI-42 C success patient submission"]);

    // Who asks here for the document is told that it is kept elsewhere.
    let body = samples::retrieve(&[(Some("urn:oid:2.999.1.3"), ELSEWHERE, unique_id.as_str())]);
    let letter = world.letter(Site::Hub, "RespondingGateway", RETRIEVE_ACTION, body.encode());
    let answer = world.ask_mtom(Site::Hub, &letter).await;
    let response = answer.body(|element| Retrieved::decode(element, &body).unwrap());
    assert_eq!((response.status(), response.errors[0].code.as_str()), (Status::Failure, "XDSUnknownRepositoryId"));
}

#[tokio::test]
async fn a_registration_with_anything_wrong_leaves_nothing() {
    type Change = fn(&mut Submission);
    let cx = someone().await;
    let cases: [(&str, Change, &str); 10] = [
        // ITI TF-3: Table 4.3.1-3: a repository has to say where a document is, and what it is.
        ("no repository", |it| it.entries[1].repository = None, "XDSRegistryMetadataError"),
        ("no hash", |it| it.entries[1].hash = None, "XDSRegistryMetadataError"),
        ("no size", |it| it.entries[1].size = None, "XDSRegistryMetadataError"),
        (
            "the repository here, which was given no document",
            |it| it.entries[1].repository = Some(RepositoryId::new("2.999.1.3.9").unwrap()),
            "XDSRegistryMetadataError",
        ),
        (
            "an on-demand entry, which has a transaction of its own",
            |it| {
                it.entries[1].kind = DocumentKind::OnDemand;
                (it.entries[1].hash, it.entries[1].size, it.entries[1].creation_time) = (None, None, None);
            },
            "XDSRegistryMetadataError",
        ),
        (
            "a patient whom nobody knows",
            |it| {
                let nobody = Some(patient("NOBODY^^^&2.999.1.3.1&ISO"));
                it.set.patient_id.clone_from(&nobody);
                it.entries.iter_mut().for_each(|entry| entry.patient_id.clone_from(&nobody));
            },
            "XDSUnknownPatientId",
        ),
        (
            "two patients",
            |it| it.entries[1].patient_id = Some(patient("HB307^^^&2.999.1.3.1&ISO")),
            "XDSPatientIdDoesNotMatch",
        ),
        (
            "one unique id for two documents",
            |it| it.entries[1].unique_id = it.entries[0].unique_id.clone(),
            "XDSRegistryDuplicateUniqueIdInMessage",
        ),
        (
            "a replacement of nothing",
            |it| {
                let nothing = "urn:uuid:00000000-0000-4000-8000-00000000dead".into();
                let source = it.entries[1].id.clone();
                it.associations.push(Association::new("replaces", AssociationKind::Replace, source, nothing));
            },
            "UnresolvedReferenceException",
        ),
        (
            "a change of versions, which is another transaction's",
            |it| {
                let (set, target) = (it.set.id.clone(), it.entries[1].id.clone());
                let kind = AssociationKind::UpdateAvailabilityStatus;
                it.associations.push(Association::new("update", kind, set, target));
            },
            "XDSRegistryMetadataError",
        ),
    ];
    for (story, change, expected) in cases {
        let mut submission = submission(&cx, 2);
        change(&mut submission);
        let (response, letter) = register(submission).await;
        assert_eq!((codes(&response), response.status()), (vec![expected], Status::Failure), "{story}");
        assert_eq!(found(&cx).await, 0, "{story}");
        let lines = World::shared().trail(Site::Hub).lines(letter.user());
        assert!(lines.len() == 1 && lines[0].starts_with("ITI-42 C failure"), "{story}: {lines:?}");
    }
}

/// ITI TF-2: 3.42.4.1.3.3: what is registered already.
#[tokio::test]
async fn a_submission_set_is_registered_once_and_a_unique_id_belongs_to_one_content() {
    let cx = someone().await;
    let first = submission(&cx, 1);
    let again = |change: fn(&mut Submission)| {
        let mut other = submission(&cx, 1);
        other.entries[0].unique_id = first.entries[0].unique_id.clone();
        change(&mut other);
        other
    };
    let same_set = Submission { set: first.set.clone(), ..submission(&cx, 1) };
    let mut same_set = same_set;
    same_set.associations[0].source = same_set.set.id.clone();
    for (story, submission, expected) in [
        ("first", first.clone(), vec![]),
        ("the same document", again(|_| {}), vec![]),
        (
            "another hash",
            again(|it| it.entries[0].hash = Some("a94a8fe5ccb19ba61c4c0873d391e987982fbbd3".into())),
            vec!["XDSNonIdenticalHash"],
        ),
        ("another size", again(|it| it.entries[0].size = Some(7)), vec!["XDSNonIdenticalSize"]),
        ("the same submission set", same_set, vec!["XDSDuplicateUniqueIdInRegistry"]),
    ] {
        let (response, _) = register(submission).await;
        assert_eq!(codes(&response), expected, "{story}");
    }
    assert_eq!(found(&cx).await, 2);
}
