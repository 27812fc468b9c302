//! `kill -9` of a gateway whose documents are corrected and removed (ITI-57, ITI-62, ITI-86): each change is wholly there
//! afterwards or not at all, versions follow each other, and no bytes are left that nobody can name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use causeway::ebxml::Slot;
use causeway::gateway::Gateway;
use causeway::id::{DocumentUniqueId, RepositoryId};
use causeway::metadata::query::{Query, Selector};
use causeway::metadata::{Availability, Object, ObjectId, Submission};
use causeway::storage::documents::Scope;
use causeway::storage::seal::{Purpose, Sealer};
use causeway::xds::administration::{REMOVE_DOCUMENTS_ACTION, REMOVE_METADATA_ACTION, UPDATE_ACTION};
use causeway::xds::register::Request;
use causeway::xds::remove::{DocumentId, DocumentsRequest, MetadataRequest};
use causeway::xds::repository::PROVIDE_ACTION;
use ihe_tests::harness::Letter;
use ihe_tests::harness::client::{Attachment, packed};
use ihe_tests::harness::letter::treatment;
use ihe_tests::harness::samples::{self, Document, fresh_oid};
use tokio::time::sleep;

use crate::crash_gateway::{admit_keeper, files_under, id};
use crate::hostile::{HOME, PUBLIC, World, post};
use crate::served::Served;

const REPOSITORY: &str = "2.999.30.9";

/// What is done with a document, one after the other: it is provided, corrected twice, its metadata is removed, then its
/// bytes.
const STEPS: usize = 5;

/// A document as whoever manages it remembers it.
struct Life {
    content: Vec<u8>,
    /// The submission of each version.
    versions: Vec<Submission>,
    /// How many steps were asked for, and how many were acknowledged.
    asked: usize,
    acknowledged: usize,
}

impl Life {
    fn new(content: Vec<u8>) -> Self {
        let mut first = samples::submission(&id("KEPT"), &[Document::new("text/plain", &content)]);
        first.assign_ids();
        let mut versions = vec![first];
        for version in 2..=3 {
            versions.push(next(&versions, version, &content));
        }
        Self { content, versions, asked: 0, acknowledged: 0 }
    }

    fn unique_id(&self) -> DocumentUniqueId {
        self.versions[0].entries[0].unique_id.clone()
    }

    /// The message of a step: service, action, body, attachments.
    fn message(&self, step: usize) -> (&'static str, &'static str, String, Vec<Attachment>) {
        match step {
            0 => {
                let submission = self.versions[0].clone();
                let part = (submission.entries[0].id.to_string(), "text/plain", self.content.clone());
                ("DocumentRepository", PROVIDE_ACTION, samples::provide(submission), vec![part])
            }
            1 | 2 => {
                let request = Request { submission: self.versions[step].clone(), home: None };
                ("DocumentRegistry", UPDATE_ACTION, request.encode(), Vec::new())
            }
            3 => {
                let objects = self.versions.iter().flat_map(objects).collect();
                ("DocumentRegistry", REMOVE_METADATA_ACTION, MetadataRequest { objects }.encode(), Vec::new())
            }
            _ => {
                let repository = RepositoryId::new(REPOSITORY).unwrap();
                let documents = vec![DocumentId { home: None, repository, document: self.unique_id() }];
                ("DocumentRepository", REMOVE_DOCUMENTS_ACTION, DocumentsRequest { documents }.encode(), Vec::new())
            }
        }
    }
}

/// The objects of a submission.
fn objects(submission: &Submission) -> [ObjectId; 3] {
    [submission.set.id.clone(), submission.entries[0].id.clone(), submission.associations[0].id.clone()]
}

fn hash(algorithm: &'static Algorithm, content: &[u8]) -> String {
    digest(algorithm, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The submission that makes a version of the one before it.
fn next(before: &[Submission], version: u32, content: &[u8]) -> Submission {
    let first = &before[0];
    let mut next = first.clone();
    next.set.id = "set".into();
    next.set.unique_id = DocumentUniqueId::new(&fresh_oid()).unwrap();
    let entry = &mut next.entries[0];
    (entry.id, entry.logical_id) = ("entry".into(), Some(first.entries[0].id.clone()));
    entry.title = Some(format!("Version {version}").into());
    entry.repository = RepositoryId::new(REPOSITORY).ok();
    (entry.hash, entry.size) = (Some(hash(&SHA1_FOR_LEGACY_USE_ONLY, content).into()), Some(content.len() as u64));
    let member = &mut next.associations[0];
    (member.id, member.source, member.target) = ("member".into(), "set".into(), "entry".into());
    member.extra.push(Slot { name: "PreviousVersion".into(), values: vec![(version - 1).to_string().into()] });
    next.assign_ids();
    next
}

type Memory = Arc<Mutex<Vec<Life>>>;

/// Leads documents through their lives, some of them to the end, until the gateway is gone.
async fn manage(world: &World, gateway: SocketAddr, name: &str, memory: Memory) -> std::io::Result<()> {
    let connector = world.connector(Some(&world.asker.leaf));
    for number in 0.. {
        let life = Life::new(format!("document {number} of {name} {}", "x".repeat(20_000)).into_bytes());
        let place = {
            let mut memory = memory.lock().unwrap();
            memory.push(life);
            memory.len() - 1
        };
        for step in 0..STEPS - number % 3 {
            let (service, action, body, parts) = {
                let life = &mut memory.lock().unwrap()[place];
                life.asked = step + 1;
                life.message(step)
            };
            let letter = Letter::new(action, &format!("{PUBLIC}/{service}"), body, HOME, treatment());
            let envelope = letter.envelope(&world.asker.key);
            let (content_type, bytes) = match action {
                PROVIDE_ACTION => packed(action, &envelope, &parts),
                _ => ("application/soap+xml; charset=UTF-8".to_owned(), envelope.into_bytes().into()),
            };
            let answer = post(&connector, gateway, &format!("/{service}"), &content_type, &bytes).await?;
            if !answer.body.contains("ResponseStatusType:Success") {
                // An answer that was cut off by the end of the process; a refusal would be whole.
                assert!(!answer.body.contains("Failure") && !answer.body.contains("Fault"), "{}", answer.body);
                return Ok(());
            }
            memory.lock().unwrap()[place].acknowledged = step + 1;
        }
    }
    Ok(())
}

/// Where the bytes of a document are, if they are kept.
fn place_of(world: &World, gateway: &Gateway, content: &[u8]) -> PathBuf {
    let key = hash(&SHA256, content);
    let tenant = world.folder.path().join("data/documents").join(gateway.tenant.as_str());
    tenant.join(&key[..2]).join(&key[2..4]).join(&key)
}

/// What is there of a document: its versions, all of whose objects are there, and whether its bytes are.
fn state(world: &World, gateway: &Gateway, life: &Life) -> (usize, bool) {
    let there = |version: &Submission| gateway.documents.objects(&gateway.tenant, &objects(version)).unwrap().len();
    let counts: Vec<usize> = life.versions.iter().map(there).collect();
    let versions = counts.iter().take_while(|count| **count == 3).count();
    assert!(counts[versions..].iter().all(|count| *count == 0), "half of a change: {counts:?}");
    check_versions(gateway, life, versions);
    let Ok(sealed) = std::fs::read(place_of(world, gateway, &life.content)) else { return (versions, false) };
    let mut bytes = Vec::new();
    Sealer::plain().opening(&gateway.tenant, Purpose::Document).push(&sealed, &mut bytes).unwrap();
    assert!(bytes == life.content, "other bytes than were provided");
    (versions, true)
}

/// One version is approved, the newest; those before it are deprecated, without a gap.
fn check_versions(gateway: &Gateway, life: &Life, expected: usize) {
    let query = Query::GetDocuments(Selector::LogicalIds(vec![life.versions[0].entries[0].id.clone()]));
    let both = vec![Availability::Approved, Availability::Deprecated];
    let scope = Scope { all_versions: true, associations: both };
    let found = gateway.documents.search_in(&gateway.tenant, &query, &scope, 100).unwrap();
    let mut found: Vec<(u32, Availability, String)> = found
        .iter()
        .filter_map(|object| match object {
            Object::Document(entry) => {
                Some((entry.version?, entry.availability?, entry.title.as_deref().unwrap_or_default().to_owned()))
            }
            _ => None,
        })
        .collect();
    found.sort_by_key(|(version, ..)| *version);
    let wanted: Vec<_> = (1..=expected)
        .map(|version| {
            let newest = version == expected;
            let status = if newest { Availability::Approved } else { Availability::Deprecated };
            let title = if version == 1 { "Document 0".to_owned() } else { format!("Version {version}") };
            (u32::try_from(version).unwrap(), status, title)
        })
        .collect();
    assert_eq!(found, wanted);
}

/// What there has to be after some steps.
fn after(steps: usize) -> (usize, bool) {
    match steps {
        0 => (0, false),
        1..=3 => (steps, true),
        // The bytes stay until they are removed themselves.
        4 => (0, true),
        _ => (0, false),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrections_and_removals_are_whole_or_not_there_when_the_gateway_is_killed() {
    let world = World::new("");
    let manager = format!(
        "name = \"Manager\"\nnetwork = \"one\"\nkind = \"local\"\nhome_community_id = \"{HOME}\"\nresponds = false\n\
         transactions_allowed = [\"ITI-41\", \"ITI-57\", \"ITI-62\", \"ITI-86\"]\n"
    );
    world.partner("manager", &manager);
    let (mut files, mut acknowledged) = (0, [0; STEPS + 1]);
    for round in 0..6 {
        let served = Served::start(&world.config());
        if round == 0 {
            admit_keeper(served.mllp).await;
        }
        let to = served.https;
        let killer = async {
            sleep(Duration::from_millis(500 + 170 * round as u64)).await;
            served.kill();
        };
        let (one, two) = (Memory::default(), Memory::default());
        let (first, second) = (format!("one in {round}"), format!("two in {round}"));
        // Both end with an error, or with half an answer, when the gateway dies.
        let (.., ()) =
            tokio::join!(manage(&world, to, &first, one.clone()), manage(&world, to, &second, two.clone()), killer);

        // After the restart, which sweeps.
        let running = world.serve().await;
        let gateway = &running.gateway;
        for life in one.lock().unwrap().iter().chain(two.lock().unwrap().iter()) {
            let found = state(&world, gateway, life);
            let steps = life.acknowledged..=life.asked;
            assert!(steps.clone().any(|steps| after(steps) == found), "round {round}: {found:?} after {steps:?}");
            files += usize::from(found.1);
            acknowledged[life.acknowledged] += 1;
        }
        assert_eq!(files_under(&world.folder.path().join("data/incoming")), 0, "round {round}");
        running.stop().await;
        assert_eq!(causeway::atna::verify::verify(&world.audit_folder(), &[]).unwrap().problem, None, "round {round}");
        assert_eq!(kept(&world), files, "round {round}: files left over");
    }
    assert!(acknowledged[3..].iter().all(|count| *count > 0), "corrections and removals: {acknowledged:?}");
}

fn kept(world: &World) -> usize {
    let folder: &Path = &world.folder.path().join("data/documents");
    files_under(folder)
}
