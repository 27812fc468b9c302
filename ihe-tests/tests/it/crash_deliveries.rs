//! `kill -9` of a gateway while systems that it tells of changes, and one that it passes documents on to, take messages:
//! whatever was acknowledged arrives at least once, in the order of its patient, and a copy can be told from news.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use causeway::app::Running;
use causeway::hl7v3::ack::{AckType, Acknowledgement, AcknowledgementMessage};
use causeway::hl7v3::datatype::Ii;
use causeway::hl7v3::wrapper::{Device, Wrapper};
use causeway::id::{Clock, PatientId, Tenant, TraceId};
use causeway::pix::notify_v3::Update;
use causeway::soap::envelope::Envelope;
use causeway::storage::deliveries::{Delivery, State};
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xml::{Limits, parse};
use ihe_tests::harness::client::packed;
use ihe_tests::harness::receiver::{Given, Got, MllpReceiver, acknowledge, unjudged_answer};
use ihe_tests::harness::samples::{self, Document};
use ihe_tests::harness::world::{SOLO_PARTNER, SOLO_URL};
use ihe_tests::harness::{Ground, Letter, Receiver, Solo, letter::treatment};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::hostile::{mllp, post};
use crate::served::Served;
use crate::xdr::{files_under, partner, received, registry_answer, submission};

const PATIENTS: usize = 3;
const LAB: &str = "Lab^^^^^^^^^2.999.71";

fn configuration(ehr: SocketAddr) -> String {
    format!(
        "[[domains]]\nnamespace = \"NORTH\"\noid = \"2.999.60.1\"\n\
         [[domains]]\nnamespace = \"WEST\"\noid = \"2.999.60.2\"\n\
         [[sources]]\nname = \"adt\"\napplication = \"ADT\"\nfacility = \"NORTH\"\naddresses = [\"127.0.0.1\"]\n\
         [initiator]\nuser = \"gateway@solo.example.org\"\npurpose = \"TREATMENT\"\n\
         [delivery]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 1\nwait_seconds = 3\n\
         [[subscribers]]\nname = \"ehr\"\ndomains = [\"NORTH\", \"WEST\"]\naddress = \"localhost:{}\"\n\
         application = \"EHR\"\nfacility = \"WEST\"\ntls = false\n\
         [[subscribers]]\nname = \"portal\"\ndomains = [\"NORTH\", \"WEST\"]\npartner = \"portal\"\n\
         user = \"gateway@solo.example.org\"\npurpose = \"TREATMENT\"\n\
         [[recipients]]\nname = \"lab\"\norganizations = [\"2.999.71\"]\npartner = \"lab\"\n",
        ehr.port()
    )
}

/// What the systems around the gateway were told that it has.
#[derive(Default)]
struct Acknowledged {
    /// Identifiers of the west that were linked with a patient of the north.
    links: Vec<(usize, String)>,
    /// Unique ids of submissions.
    submissions: Vec<String>,
}

/// Links one identifier after the other, until the gateway is gone.
async fn link(to: SocketAddr, round: usize, done: &Mutex<Acknowledged>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    for number in 0.. {
        let (patient, west) = (number % PATIENTS, format!("W{round}x{number}"));
        let control = &TraceId::new().to_string()[..20];
        let message = format!(
            "MSH|^~\\&|ADT|NORTH|CAUSEWAY|SOLO|20261122||ADT^A24^ADT_A24|{control}|P|2.5\rEVN||20261122\r\
             PID|||P{patient}^^^NORTH||Sample^Ann\rPID|||{west}^^^WEST||Sample^Ann\r"
        );
        let answer = mllp(&mut stream, message.as_bytes()).await?;
        assert!(answer.contains("MSA|AA"), "{answer}");
        done.lock().unwrap().links.push((patient, west));
        sleep(Duration::from_millis(12)).await;
    }
    Ok(())
}

/// Sends submissions for the laboratory, until the gateway is gone.
async fn provide(ground: &Ground, to: SocketAddr, done: &Mutex<Acknowledged>) -> std::io::Result<()> {
    let network = "local".parse().unwrap();
    let connector = TlsConnector::from(ground.tls("partner").client(&network).unwrap());
    let client = ground.client("partner");
    loop {
        let documents = [Document::new("text/plain", &vec![b'x'; 20_000])];
        let submission = submission(&[LAB], &documents);
        let unique_id = submission.set.unique_id.to_string();
        let url = format!("{SOLO_URL}/DocumentRecipient");
        let letter = Letter::new(PROVIDE_ACTION, &url, samples::provide(submission), SOLO_PARTNER, treatment());
        let envelope = letter.envelope(&client.key);
        let (content_type, package) = packed(PROVIDE_ACTION, &envelope, &samples::attachments(&documents));
        let answer = post(&connector, to, "/DocumentRecipient", &content_type, &package).await?;
        let is_taken = ["ResponseStatusType:Success", "DocumentQueued"].iter().any(|one| answer.body.contains(one));
        if !is_taken {
            // An answer that was cut off by the end of the process; a refusal would be whole.
            assert!(!answer.body.contains("Failure") && !answer.body.contains("Fault"), "{}", answer.body);
            return Ok(());
        }
        done.lock().unwrap().submissions.push(unique_id);
    }
}

fn accept(request: &Got) -> Given {
    let envelope = request.unjudged();
    let tree = parse(&envelope, &Limits::default()).unwrap();
    let wrapper = Wrapper::read(Envelope::read(&tree).unwrap().body).unwrap();
    let us = Device::gateway(&"urn:oid:2.999.62".parse().unwrap());
    let answer = AcknowledgementMessage {
        wrapper: wrapper.answer(Ii::new("2.999.62", &TraceId::new().to_string()), Clock::system().now(), us),
        acknowledgement: Acknowledgement::new(AckType::Accept, wrapper.id),
    };
    unjudged_answer(request, "urn:hl7-org:v3:MCCI_IN000002UV01", &answer.encode())
}

/// A message about a patient, as a receiver took it: its id, and everything in it that must be the same in a copy.
struct Taken {
    id: String,
    ids: Vec<String>,
}

fn taken_v2(message: &str) -> Taken {
    let line = |name: &str| message.lines().find(|line| line.starts_with(name)).unwrap().split('|');
    let ids = line("PID").nth(3).unwrap().split('~').map(|cx| cx.split('^').next().unwrap().to_owned());
    Taken { id: line("MSH").nth(9).unwrap().to_owned(), ids: ids.collect() }
}

fn taken_v3(message: &Got, gateway: &Running) -> Taken {
    let envelope = message.unjudged();
    let tree = parse(&envelope, &Limits::default()).unwrap();
    let update = Update::decode(Envelope::read(&tree).unwrap().body, &gateway.gateway.domains).unwrap();
    let ids = update.ids.iter().map(|id| id.id().to_owned()).collect();
    Taken { id: update.wrapper.id.extension.to_string(), ids }
}

/// What a subscriber took is all that it was to be told, in the order of each patient.
fn check_told(name: &str, taken: &[Taken], deliveries: &[Delivery], done: &Acknowledged, gateway: &Running) {
    let mut copies: BTreeMap<&str, &[String]> = BTreeMap::new();
    for one in taken {
        let first = copies.entry(&one.id).or_insert(&one.ids);
        assert_eq!(*first, one.ids, "{name}: a copy says what the message said");
    }
    let own = deliveries.iter().filter(|one| one.to == format!("subscriber/{name}")).count();
    assert_eq!(copies.len(), own, "{name}: each delivery has an id of its own, and came");
    for patient in 0..PATIENTS {
        let of_patient = |one: &&Taken| one.ids.iter().any(|id| *id == format!("P{patient}"));
        let sizes: Vec<usize> = taken.iter().filter(of_patient).map(|one| one.ids.len()).collect();
        assert!(sizes.is_sorted(), "{name}: a later set came before an earlier one: {sizes:?}");
        let last: BTreeSet<&String> = taken.iter().rfind(of_patient).unwrap().ids.iter().collect();
        for (_, west) in done.links.iter().filter(|(of, _)| *of == patient) {
            assert!(last.contains(west), "{name}: {west} was acknowledged and is not told");
        }
        let id = PatientId::from_cx(&format!("P{patient}^^^&2.999.60.1&ISO")).unwrap();
        let stored = gateway.gateway.identities.cross_references(&Tenant::default(), &id, &[]).unwrap().unwrap();
        assert_eq!(last.len(), stored.len() + 1, "{name}: what was told last is what is so");
    }
}

async fn settled(gateway: &Running) -> Vec<Delivery> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let all = gateway.gateway.deliveries.latest(&Tenant::default(), None, "", 100_000).unwrap();
        if all.iter().all(|one| one.state != State::Waiting) {
            return all;
        }
        assert!(Instant::now() < end, "{} wait", all.iter().filter(|one| one.state == State::Waiting).count());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_arrives_though_the_gateway_is_killed() {
    let ground = Ground::new();
    ["portal", "lab"].iter().for_each(|name| ground.certify(name));
    let ehr = MllpReceiver::start(&ground, None, 0, |message| acknowledge(message, "AA")).await;
    let portal = Receiver::start(&ground, "portal", 0, accept).await;
    let lab = Receiver::start(&ground, "lab", 0, |one| registry_answer(one, PROVIDE_ACTION, Vec::new())).await;
    partner(&ground, "portal", "urn:oid:2.999.62", "iti-46", &portal.url("PIXConsumer"));
    partner(&ground, "lab", "urn:oid:2.999.71", "iti-41", &lab.url("xdr"));
    let Solo { running, ground, .. } = Solo::start_on(ground, &configuration(ehr.address)).await;
    running.stop().await;
    let done = Arc::new(Mutex::new(Acknowledged::default()));
    for round in 0..5 {
        let served = Served::start(&ground.at("causeway.toml"));
        let (https, feed) = (served.https, served.mllp);
        let killer = async {
            sleep(Duration::from_millis(350 + 170 * round as u64)).await;
            served.kill();
        };
        // Both end with an error when the gateway dies.
        let (fed, provided, ()) = tokio::join!(link(feed, round, &done), provide(&ground, https, &done), killer);
        assert!(fed.is_err(), "{fed:?} {provided:?}");
    }
    let running = ground.serve().await;
    let all = settled(&running).await;
    assert!(all.iter().all(|one| one.state == State::Delivered), "{all:?}");
    let done = std::mem::take(&mut *done.lock().unwrap());
    assert!(done.links.len() > 10 && done.submissions.len() > 2, "it did something");
    let told: Vec<Taken> = ehr.got().iter().map(|one| taken_v2(one)).collect();
    check_told("ehr", &told, &all, &done, &running);
    let told: Vec<Taken> = portal.got().iter().map(|one| taken_v3(one, &running)).collect();
    check_told("portal", &told, &all, &done, &running);

    // Documents: what was acknowledged came whole, and copies have the same ids.
    let mut sets = BTreeMap::new();
    for (request, _, documents) in lab.got().iter().map(received) {
        let submission = request.registration.submission;
        let entries: Vec<String> = submission.entries.iter().map(|entry| entry.id.to_string()).collect();
        assert!(documents.values().all(|bytes| bytes.len() == 20_000) && documents.len() == 1);
        let first = sets.entry(submission.set.unique_id.to_string()).or_insert_with(|| entries.clone());
        assert_eq!(*first, entries, "a copy has the same ids");
    }
    assert_eq!(sets.len(), all.iter().filter(|one| one.to == "recipient/lab").count());
    for unique_id in &done.submissions {
        assert!(sets.contains_key(unique_id), "{unique_id} was acknowledged and is lost");
    }
    running.stop().await;
    assert_eq!(files_under(&ground.at("data/documents")) + files_under(&ground.at("data/incoming")), 0);
}
