//! `kill -9` of a gateway that is fed, given documents and told to remove some: what it acknowledged is there afterwards, or
//! gone; what it did not acknowledge is wholly there or not at all, and nothing is left over on the disk.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway::atna::verify::verify;
use causeway::gateway::Gateway;
use causeway::id::{AssigningAuthority, DocumentUniqueId, PatientId, RepositoryId};
use causeway::storage::identities::Resolution;
use causeway::storage::seal::{Purpose, Sealer};
use causeway::xds::administration::REMOVE_DOCUMENTS_ACTION;
use causeway::xds::remove::{DocumentId, DocumentsRequest};
use causeway::xds::repository::PROVIDE_ACTION;
use ihe_tests::harness::Letter;
use ihe_tests::harness::client::packed;
use ihe_tests::harness::letter::treatment;
use ihe_tests::harness::samples::{self, Document};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::hostile::{HOME, PUBLIC, World, mllp, post, registration};
use crate::served::Served;

/// A submission: its documents, whether it was acknowledged, and how far the removal of its documents came.
struct Submitted {
    documents: Vec<(String, Vec<u8>)>,
    acknowledged: bool,
    removal: Removal,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Removal {
    NotAsked,
    Asked,
    Acknowledged,
}

/// What the other systems remember.
#[derive(Default)]
struct Memory {
    patients: Vec<String>,
    submissions: Vec<Submitted>,
}

pub fn id(local: &str) -> PatientId {
    PatientId::new(local, AssigningAuthority::new("2.999.30.1", "ISO").unwrap()).unwrap()
}

async fn feed(gateway: std::net::SocketAddr, round: usize, memory: Arc<Mutex<Memory>>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(gateway).await?;
    for number in 0.. {
        let local = format!("R{round}N{number}");
        let answer = mllp(&mut stream, registration(&local, &local, "Sample", &local).as_bytes()).await?;
        assert!(answer.contains("MSA|AA"), "{answer}");
        memory.lock().unwrap().patients.push(local);
    }
    Ok(())
}

async fn provide(
    world: &World,
    gateway: std::net::SocketAddr,
    round: usize,
    memory: Arc<Mutex<Memory>>,
) -> std::io::Result<()> {
    let connector = world.connector(Some(&world.asker.leaf));
    for number in 0.. {
        let content = |which: &str| format!("{which} of {round}/{number} {}", "x".repeat(50_000)).into_bytes();
        let documents =
            [Document::new("text/plain", &content("first")), Document::new("text/plain", &content("second"))];
        let body = samples::provide(samples::submission(&id("KEPT"), &documents));
        let letter = Letter::new(PROVIDE_ACTION, &format!("{PUBLIC}/DocumentRepository"), body, HOME, treatment());
        let envelope = letter.envelope(&world.asker.key);
        let (content_type, package) = packed(PROVIDE_ACTION, &envelope, &samples::attachments(&documents));
        let told = documents.map(|document| (document.unique_id, document.content)).into();
        let place = {
            let mut memory = memory.lock().unwrap();
            memory.submissions.push(Submitted { documents: told, acknowledged: false, removal: Removal::NotAsked });
            memory.submissions.len() - 1
        };
        let answer = post(&connector, gateway, "/DocumentRepository", &content_type, &package).await?;
        if !answer.body.contains("ResponseStatusType:Success") {
            // An answer that was cut off by the end of the process; a refusal would be whole.
            assert!(!answer.body.contains("Failure") && !answer.body.contains("Fault"), "{}", answer.body);
            return Ok(());
        }
        memory.lock().unwrap().submissions[place].acknowledged = true;
        if number % 2 == 0 {
            continue;
        }
        let request = {
            let submitted = &mut memory.lock().unwrap().submissions[place];
            submitted.removal = Removal::Asked;
            let document = |(unique_id, _): &(String, Vec<u8>)| DocumentId {
                home: None,
                repository: RepositoryId::new("2.999.30.9").unwrap(),
                document: DocumentUniqueId::new(unique_id).unwrap(),
            };
            DocumentsRequest { documents: submitted.documents.iter().map(document).collect() }
        };
        let url = format!("{PUBLIC}/DocumentRepository");
        let letter = Letter::new(REMOVE_DOCUMENTS_ACTION, &url, request.encode(), HOME, treatment());
        let envelope = letter.envelope(&world.asker.key).into_bytes();
        let plain = "application/soap+xml; charset=UTF-8";
        let answer = post(&connector, gateway, "/DocumentRepository", plain, &envelope).await?;
        if !answer.body.contains("ResponseStatusType:Success") {
            assert!(!answer.body.contains("Failure") && !answer.body.contains("Fault"), "{}", answer.body);
            return Ok(());
        }
        memory.lock().unwrap().submissions[place].removal = Removal::Acknowledged;
    }
    Ok(())
}

/// What became of a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Absent,
    Kept,
    Removed,
}

fn fate(world: &World, gateway: &Gateway, (unique_id, content): &(String, Vec<u8>)) -> Fate {
    let unique_id = DocumentUniqueId::new(unique_id).unwrap();
    let Some(stored) = gateway.documents.document(&gateway.tenant, &unique_id).unwrap() else { return Fate::Absent };
    let Some(key) = stored.content else { return Fate::Removed };
    let tenant = world.folder.path().join("data/documents").join(gateway.tenant.as_str());
    let sealed = std::fs::read(tenant.join(&key[..2]).join(&key[2..4]).join(&key)).unwrap();
    let mut bytes = Vec::new();
    Sealer::plain().opening(&gateway.tenant, Purpose::Document).push(&sealed, &mut bytes).unwrap();
    assert!(bytes == *content, "{unique_id} has other bytes");
    Fate::Kept
}

/// Feeds the patient whose documents come and go.
pub async fn admit_keeper(to: std::net::SocketAddr) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let answer = mllp(&mut stream, registration("K", "KEPT", "Keeper", "Ada").as_bytes()).await.unwrap();
    assert!(answer.contains("MSA|AA"), "{answer}");
}

pub fn files_under(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files_under(&path) } else { 1 })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_gateway_is_killed() {
    let world = World::new("");
    let documents = format!(
        "name = \"Documents\"\nnetwork = \"one\"\nkind = \"local\"\nhome_community_id = \"{HOME}\"\nresponds = false\n\
         transactions_allowed = [\"ITI-41\", \"ITI-86\"]\n"
    );
    world.partner("documents", &documents);
    let memory = Arc::new(Mutex::new(Memory::default()));
    let (mut documents_kept, mut removals) = (0, 0);
    for round in 0..6 {
        let served = Served::start(&world.config());
        if round == 0 {
            admit_keeper(served.mllp).await;
        }
        let (https, mllp_address) = (served.https, served.mllp);
        let killer = async {
            sleep(Duration::from_millis(400 + 130 * round as u64)).await;
            served.kill();
        };
        // Both end with an error when the gateway dies.
        let (fed, provided, ()) = tokio::join!(
            feed(mllp_address, round, memory.clone()),
            provide(&world, https, round, memory.clone()),
            killer
        );
        assert!(fed.is_err(), "{fed:?} {provided:?}");

        // After the restart, which sweeps.
        let gateway = world.serve().await;
        let kept = &gateway.gateway;
        assert_eq!(kept.identities.verify_consistency(&kept.tenant).unwrap(), [], "round {round}");
        let memory = std::mem::take(&mut *memory.lock().unwrap());
        assert!(!memory.patients.is_empty() && !memory.submissions.is_empty(), "round {round}: it did something");
        for local in &memory.patients {
            let found = kept.identities.resolve(&kept.tenant, &id(local)).unwrap();
            assert!(matches!(found, Resolution::Active(_)), "round {round}: {local} was acknowledged and is lost");
        }
        for submission in &memory.submissions {
            let fates = [0, 1].map(|at| fate(&world, kept, &submission.documents[at]));
            let absent = fates.map(|fate| fate == Fate::Absent);
            assert_eq!(absent[0], absent[1], "round {round}: half of a submission is there");
            assert!(!absent[0] || !submission.acknowledged, "round {round}: a submission was acknowledged and is lost");
            // Each document is removed for itself, and its entry stays.
            let removed = fates.iter().filter(|fate| **fate == Fate::Removed).count();
            match submission.removal {
                Removal::NotAsked => assert_eq!(removed, 0, "round {round}: nobody asked for a removal"),
                Removal::Asked => {}
                Removal::Acknowledged => assert_eq!(removed, 2, "round {round}: a removal was acknowledged"),
            }
            removals += removed;
            documents_kept += fates.iter().filter(|fate| **fate == Fate::Kept).count();
        }
        assert_eq!(files_under(&world.folder.path().join("data/incoming")), 0, "round {round}");
        gateway.stop().await;
        assert_eq!(verify(&world.audit_folder(), &[]).unwrap().problem, None, "round {round}");
        let files = files_under(&world.folder.path().join("data/documents"));
        assert_eq!(files, documents_kept, "round {round}: files left over");
    }
    assert!(removals > 0, "documents were removed");
}
