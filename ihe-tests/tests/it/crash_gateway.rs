//! `kill -9` of a gateway that is fed and given documents: what it acknowledged is there afterwards, what it did not
//! acknowledge is wholly there or not at all, and nothing is left over.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway::atna::verify::verify;
use causeway::gateway::Gateway;
use causeway::id::{AssigningAuthority, DocumentUniqueId, PatientId};
use causeway::storage::identities::Resolution;
use causeway::storage::seal::{Purpose, Sealer};
use causeway::xds::repository::PROVIDE_ACTION;
use ihe_tests::harness::Letter;
use ihe_tests::harness::client::packed;
use ihe_tests::harness::letter::treatment;
use ihe_tests::harness::samples::{self, Document};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::hostile::{HOME, PUBLIC, World, mllp, post, registration};
use crate::served::Served;

/// A submission: its documents, and whether it was acknowledged.
struct Submitted {
    documents: Vec<(String, Vec<u8>)>,
    acknowledged: bool,
}

/// What the other systems remember.
#[derive(Default)]
struct Memory {
    patients: Vec<String>,
    submissions: Vec<Submitted>,
}

fn id(local: &str) -> PatientId {
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
            memory.submissions.push(Submitted { documents: told, acknowledged: false });
            memory.submissions.len() - 1
        };
        let answer = post(&connector, gateway, "/DocumentRepository", &content_type, &package).await?;
        if !answer.body.contains("ResponseStatusType:Success") {
            // An answer that was cut off by the end of the process; a refusal would be whole.
            assert!(!answer.body.contains("Failure") && !answer.body.contains("Fault"), "{}", answer.body);
            return Ok(());
        }
        memory.lock().unwrap().submissions[place].acknowledged = true;
    }
    Ok(())
}

fn has(world: &World, gateway: &Gateway, (unique_id, content): &(String, Vec<u8>)) -> bool {
    let unique_id = DocumentUniqueId::new(unique_id).unwrap();
    let Some(stored) = gateway.documents.document(&gateway.tenant, &unique_id).unwrap() else { return false };
    let key = stored.content.unwrap();
    let tenant = world.folder.path().join("data/documents").join(gateway.tenant.as_str());
    let sealed = std::fs::read(tenant.join(&key[..2]).join(&key[2..4]).join(&key)).unwrap();
    let mut bytes = Vec::new();
    Sealer::plain().opening(&gateway.tenant, Purpose::Document).push(&sealed, &mut bytes).unwrap();
    assert!(bytes == *content, "{unique_id} has other bytes");
    true
}

fn files_under(folder: &Path) -> usize {
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
        "name = \"Documents\"\nnetwork = \"one\"\nkind = \"local\"\nhome_community_id = \"{HOME}\"\nresponds = false\n"
    );
    world.partner("documents", &documents);
    let memory = Arc::new(Mutex::new(Memory::default()));
    let mut documents_kept = 0;
    for round in 0..6 {
        let served = Served::start(&world.config());
        if round == 0 {
            let mut stream = TcpStream::connect(served.mllp).await.unwrap();
            let answer = mllp(&mut stream, registration("K", "KEPT", "Keeper", "Ada").as_bytes()).await.unwrap();
            assert!(answer.contains("MSA|AA"), "{answer}");
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
            let (first, second) =
                (has(&world, kept, &submission.documents[0]), has(&world, kept, &submission.documents[1]));
            assert_eq!(first, second, "round {round}: half of a submission is there");
            assert!(first || !submission.acknowledged, "round {round}: a submission was acknowledged and is lost");
            documents_kept += if first { 2 } else { 0 };
        }
        assert_eq!(files_under(&world.folder.path().join("data/incoming")), 0, "round {round}");
        gateway.stop().await;
        assert_eq!(verify(&world.audit_folder(), &[]).unwrap().problem, None, "round {round}");
        let files = files_under(&world.folder.path().join("data/documents"));
        assert_eq!(files, documents_kept, "round {round}: files left over");
    }
}
