//! ITI-10 and ITI-46 PIX Update Notification (ITI TF-2: 3.10, 3.46): whoever subscribed is told of each change of the
//! cross-reference in its domains, in the order of the changes, however long it was away.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use causeway::hl7v3::ack::{AckType, Acknowledgement, AcknowledgementMessage};
use causeway::hl7v3::datatype::Ii;
use causeway::hl7v3::wrapper::{Device, Wrapper};
use causeway::id::{Clock, PatientId, Tenant};
use causeway::pix::notifier::NOTIFY_ACTION;
use causeway::pix::notify_v3::Update;
use causeway::soap::envelope::Envelope;
use causeway::storage::deliveries::{Delivery, State};
use causeway::storage::identities::MergeRules;
use causeway::xml::{Limits, parse};
use ihe_tests::harness::receiver::{Given, Got, MllpReceiver, acknowledge, soap_answer};
use ihe_tests::harness::world::SOLO_HOME;
use ihe_tests::harness::{Feed, Ground, Receiver, Solo, Trail};

const DOMAINS: &str = "\
[[domains]]\nnamespace = \"NORTH\"\noid = \"2.999.60.1\"\n\
[[domains]]\nnamespace = \"WEST\"\noid = \"2.999.60.2\"\n\
[[domains]]\nnamespace = \"SOUTH\"\noid = \"2.999.60.3\"\n\
[[sources]]\nname = \"adt\"\napplication = \"ADT\"\nfacility = \"NORTH\"\naddresses = [\"127.0.0.1\"]\n\
[delivery]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 1\n";

fn subscriber(port: u16, more: &str) -> String {
    format!(
        "{DOMAINS}[[subscribers]]\nname = \"ehr\"\ndomains = [\"NORTH\", \"WEST\"]\naddress = \"localhost:{port}\"\n\
         application = \"EHR\"\nfacility = \"WEST\"\ntimeout_seconds = 3\n{more}"
    )
}

fn id(text: &str) -> PatientId {
    let (id, namespace) = text.split_once('@').unwrap();
    let oid = ["NORTH", "WEST", "SOUTH"].iter().position(|name| *name == namespace).unwrap() + 1;
    PatientId::from_cx(&format!("{id}^^^&2.999.60.{oid}&ISO")).unwrap()
}

/// A feed message of an event with PID-3 and more segments.
async fn feed(solo: &Solo, event: &str, pid: &str, more: &str) {
    let message = format!(
        "MSH|^~\\&|ADT|NORTH|CAUSEWAY|SOLO|20261122||ADT^{event}|{}|P|2.5\rEVN||20261122\rPID|||{pid}||Sample^Ann\r{more}",
        uuid()
    );
    let told = Feed::open(solo.mllp()).await.ask(message.as_bytes()).await;
    assert_eq!(told.code.code(), "AA", "{}", told.text);
}

fn uuid() -> String {
    causeway::id::TraceId::new().to_string()[..20].to_owned()
}

/// PID-3 of each message.
fn told(messages: &[String]) -> Vec<String> {
    let pid = |text: &String| {
        text.lines().find(|line| line.starts_with("PID")).unwrap().split('|').nth(3).unwrap().to_owned()
    };
    messages.iter().map(pid).collect()
}

/// Waits until something is so.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it did not come to pass in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until no delivery waits any more.
async fn settled(solo: &Solo) -> Vec<Delivery> {
    let deliveries = &solo.gateway().deliveries;
    until(|| {
        let all = deliveries.latest(&Tenant::default(), None, "", 1000).unwrap();
        all.iter().all(|one| one.state != State::Waiting).then_some(all)
    })
    .await
}

/// The sheet's A.6: one message for each resulting set, with the domains of interest alone, a blank name, class N.
#[tokio::test]
async fn a_consumer_is_told_of_links_unlinks_and_merges_over_tls() {
    let ground = Ground::new();
    ground.certify("ehr");
    let ehr = MllpReceiver::start(&ground, Some("ehr"), 0, |message| acknowledge(message, "AA")).await;
    let solo = Solo::start_on(ground, &subscriber(ehr.address.port(), "network = \"local\"\n")).await;
    let pv1 = "PV1||N\r";
    feed(&solo, "A28^ADT_A05", "N-1^^^NORTH", pv1).await;
    feed(&solo, "A28^ADT_A05", "W-1^^^WEST", pv1).await;
    feed(&solo, "A28^ADT_A05", "S-1^^^SOUTH", pv1).await;
    // A link with a domain that the consumer does not want is none of its business.
    feed(&solo, "A24^ADT_A24", "N-1^^^NORTH", "PID|||S-1^^^SOUTH||Sample^Ann\r").await;
    feed(&solo, "A24^ADT_A24", "N-1^^^NORTH", "PID|||W-1^^^WEST||Sample^Ann\r").await;
    feed(&solo, "A37^ADT_A37", "N-1^^^NORTH", "PID|||W-1^^^WEST||Sample^Ann\r").await;
    // Another patient's news may overtake.
    settled(&solo).await;
    feed(&solo, "A28^ADT_A05", "N-2^^^NORTH~W-2^^^WEST", pv1).await;
    feed(&solo, "A28^ADT_A05", "N-3^^^NORTH", pv1).await;
    feed(&solo, "A40^ADT_A39", "N-3^^^NORTH", "MRG|N-2^^^NORTH\r").await;
    let all = settled(&solo).await;
    let got = ehr.got();
    let expected = [
        "N-1^^^NORTH&2.999.60.1&ISO^PI~W-1^^^WEST&2.999.60.2&ISO^PI",
        "N-1^^^NORTH&2.999.60.1&ISO^PI",
        "W-1^^^WEST&2.999.60.2&ISO^PI",
        "N-2^^^NORTH&2.999.60.1&ISO^PI~W-2^^^WEST&2.999.60.2&ISO^PI",
        "N-3^^^NORTH&2.999.60.1&ISO^PI~W-2^^^WEST&2.999.60.2&ISO^PI",
    ];
    assert_eq!(told(&got), expected);
    assert!(all.iter().all(|one| one.state == State::Delivered && one.attempts == 1), "{all:?}");
    let header: Vec<&str> = got[0].lines().next().unwrap().split('|').collect();
    assert_eq!(header[2..6], ["CAUSEWAY", "Solo", "EHR", "WEST"]);
    assert_eq!((header[8], header[11], header[20]), ("ADT^A31^ADT_A05", "2.5", "ITI-10^IHE"));
    assert!(got[0].contains("|| \nPV1||N"), "{}", got[0]);
    let trail = Trail::of(solo.gateway());
    assert_eq!(trail.lines("PIX Update Notification"), vec!["ITI-10 R success patient"; 5]);
}

#[tokio::test]
async fn what_commands_change_is_told_like_what_feeds_change() {
    let ground = Ground::new();
    let ehr = MllpReceiver::start(&ground, None, 0, |message| acknowledge(message, "AA")).await;
    let solo = Solo::start_on(ground, &subscriber(ehr.address.port(), "tls = false\n")).await;
    let (identities, tenant, now) = (&solo.gateway().identities, Tenant::default(), Clock::system().now());
    identities.link(&tenant, id("A@NORTH"), id("B@WEST"), now).await.unwrap();
    identities.merge(&tenant, id("C@NORTH"), id("A@NORTH"), MergeRules::Lenient, now).await.unwrap();
    identities.unlink(&tenant, id("C@NORTH"), id("B@WEST"), now).await.unwrap();
    settled(&solo).await;
    let brief =
        |text: &String| text.replace("&2.999.60.1&ISO^PI", "").replace("&2.999.60.2&ISO^PI", "").replace("^^^", "@");
    let got: Vec<String> = told(&ehr.got()).iter().map(brief).collect();
    assert_eq!(got, ["A@NORTH~B@WEST", "C@NORTH~B@WEST", "C@NORTH", "B@WEST"]);
}

/// What a consumer misses while it is away comes when it is back, in order for each patient, also after a restart of
/// the gateway; one that it does not want holds up no other.
#[tokio::test]
async fn a_consumer_that_was_away_is_told_in_order_when_it_is_back() {
    let ground = Ground::new();
    // A port that nothing listens at.
    let port = MllpReceiver::start(&ground, None, 0, |_| String::new()).await.address.port();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let solo = Solo::start_on(ground, &subscriber(port, "tls = false\n")).await;
    let (tenant, now) = (Tenant::default(), Clock::system().now());
    let link = async |solo: &Solo, patient: &str, round: usize| {
        let identities = solo.gateway().identities.clone();
        let (north, west) = (id(&format!("{patient}@NORTH")), id(&format!("{patient}{round}@WEST")));
        identities.link(&tenant, north, west, now).await.unwrap();
    };
    for round in 0..3 {
        for patient in ["P", "Q"] {
            link(&solo, patient, round).await;
        }
    }
    until(|| {
        let all = solo.gateway().deliveries.latest(&tenant, None, "", 100).unwrap();
        all.iter().any(|one| one.attempts > 0).then_some(())
    })
    .await;
    let failed = Trail::of(solo.gateway()).lines("PIX Update Notification");
    assert!(failed.iter().all(|line| line == "ITI-10 R failure patient") && !failed.is_empty(), "{failed:?}");
    let solo = solo.restart().await;
    // In error is what names the second set of Q.
    let answer = |message: &str| {
        acknowledge(message, if message.contains("Q1") && !message.contains("Q2") { "AE" } else { "AA" })
    };
    let ehr = MllpReceiver::start(&solo.ground, None, port, answer).await;
    let all = settled(&solo).await;
    let got = ehr.got();
    for patient in ["P", "Q"] {
        let own: Vec<usize> =
            told(&got).iter().filter(|pid| pid.starts_with(patient)).map(|pid| pid.split('~').count()).collect();
        assert_eq!(own, [2, 3, 4], "{patient}: {got:?}");
    }
    let refused: Vec<&Delivery> = all.iter().filter(|one| one.state == State::Refused).collect();
    assert_eq!((refused.len(), all.len()), (1, 6), "{all:?}");
    assert!(refused[0].reason.as_deref().unwrap().contains("AE"));
}

/// A receiver that takes a message and breaks off before it answers gets it again under the same MSH-10.
#[tokio::test]
async fn a_copy_has_the_same_control_id() {
    let ground = Ground::new();
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let answer = move |message: &str| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => acknowledge(message, "AR"),
        1 => acknowledge("MSH|||||||||other", "AA"),
        2 => "no HL7 at all".to_owned(),
        _ => acknowledge(message, "AA"),
    };
    let ehr = MllpReceiver::start(&ground, None, 0, answer).await;
    let solo = Solo::start_on(ground, &subscriber(ehr.address.port(), "tls = false\n")).await;
    let identities = &solo.gateway().identities;
    identities.link(&Tenant::default(), id("A@NORTH"), id("B@WEST"), Clock::system().now()).await.unwrap();
    let all = settled(&solo).await;
    let got = ehr.got();
    assert_eq!((got.len(), all[0].attempts, all[0].state), (4, 4, State::Delivered));
    assert!(got.windows(2).all(|pair| pair[0] == pair[1]), "{got:?}");
}

/// A receiver that others wrote (Python's hl7).
#[tokio::test]
async fn a_python_receiver_reads_and_acknowledges_notifications() {
    let Some(mut python) = ihe_tests::python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/mllp_receiver.py");
    let mut child = python.arg(script).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let Some(port) = lines.next() else {
        child.wait().unwrap();
        return ihe_tests::missing("python package hl7 is not installed");
    };
    let port: u16 = port.unwrap().parse().unwrap();
    let solo = Solo::start_on(Ground::new(), &subscriber(port, "tls = false\n")).await;
    let (identities, tenant) = (&solo.gateway().identities, Tenant::default());
    for number in 0..20 {
        let (north, west) = (id(&format!("N{number}@NORTH")), id(&format!("W{number}@WEST")));
        identities.link(&tenant, north, west, Clock::system().now()).await.unwrap();
    }
    let all = settled(&solo).await;
    assert!(all.len() == 20 && all.iter().all(|one| one.state == State::Delivered), "{all:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let got: Vec<String> = lines.map(Result::unwrap).collect();
    let mut expected: Vec<String> = (0..20)
        .map(|number| {
            let ids = format!("N{number}^^^NORTH&2.999.60.1&ISO^PI~W{number}^^^WEST&2.999.60.2&ISO^PI");
            format!("ADT^A31^ADT_A05\t{ids}\t ")
        })
        .collect();
    let mut told: Vec<String> = got
        .iter()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            assert_eq!(fields[1].len(), 20, "{line}");
            [fields[0], fields[2], fields[3]].join("\t")
        })
        .collect();
    expected.sort();
    told.sort();
    assert_eq!(told, expected);
}

fn acknowledge_v3(request: &Got, kind: AckType) -> Given {
    let envelope = request.envelope();
    let tree = parse(&envelope, &Limits::default()).unwrap();
    let wrapper = Wrapper::read(Envelope::read(&tree).unwrap().body).unwrap();
    let us = Device::gateway(&"urn:oid:2.999.62".parse().unwrap());
    let answer = AcknowledgementMessage {
        wrapper: wrapper.answer(Ii::new("2.999.62", &uuid()), Clock::system().now(), us),
        acknowledgement: Acknowledgement::new(kind, wrapper.id),
    };
    soap_answer(request, "urn:hl7-org:v3:MCCI_IN000002UV01", &answer.encode())
}

#[tokio::test]
async fn a_consumer_is_told_over_soap() {
    let ground = Ground::new();
    ground.certify("ehr");
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let answer = move |request: &Got| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => (503, "text/html".to_owned(), b"<p>later</p>".to_vec()),
        1 => acknowledge_v3(request, AckType::Accept),
        _ => acknowledge_v3(request, AckType::Error),
    };
    let ehr = Receiver::start(&ground, "ehr", 0, answer).await;
    let partner = format!(
        "name = \"EHR\"\nnetwork = \"local\"\nkind = \"local\"\nhome_community_id = \"urn:oid:2.999.62\"\n\
         initiates = false\n[urls]\niti-46 = \"{}\"\n",
        ehr.url("PIXConsumer")
    );
    ground.write("partners/ehr.toml", &partner);
    let more = format!(
        "{DOMAINS}[[subscribers]]\nname = \"ehr\"\ndomains = [\"NORTH\", \"WEST\"]\npartner = \"ehr\"\n\
         user = \"gateway@solo.example.org\"\npurpose = \"TREATMENT\"\n"
    );
    let solo = Solo::start_on(ground, &more).await;
    let (identities, tenant, now) = (&solo.gateway().identities, Tenant::default(), Clock::system().now());
    identities.link(&tenant, id("A@NORTH"), id("B@WEST"), now).await.unwrap();
    settled(&solo).await;
    identities.unlink(&tenant, id("A@NORTH"), id("B@WEST"), now).await.unwrap();
    let all = settled(&solo).await;
    let states: Vec<(State, u32)> = all.iter().rev().map(|one| (one.state, one.attempts)).collect();
    assert_eq!(states, [(State::Delivered, 2), (State::Refused, 1), (State::Refused, 1)]);
    let read = |one: &Got| {
        let envelope = one.envelope();
        let tree = parse(&envelope, &Limits::default()).unwrap();
        let envelope = Envelope::read(&tree).unwrap();
        assert_eq!(envelope.addressing.action, NOTIFY_ACTION);
        Update::decode(envelope.body, &solo.gateway().domains).unwrap()
    };
    let updates: Vec<Update> = ehr.got().iter().map(read).collect();
    assert_eq!(updates[0], updates[1], "a copy has the same id");
    let sets: Vec<Vec<PatientId>> = updates[1..].iter().map(|update| update.ids.clone()).collect();
    assert_eq!(sets, [vec![id("A@NORTH"), id("B@WEST")], vec![id("A@NORTH")], vec![id("B@WEST")]]);
    let home = SOLO_HOME.strip_prefix("urn:oid:").unwrap();
    assert!(updates.iter().all(|update| update.custodian == Ii::root(home) && update.wrapper.id.root == home));
    let expected = ["failure", "success", "failure", "failure"].map(|outcome| format!("ITI-46 R {outcome} patient"));
    assert_eq!(Trail::of(solo.gateway()).lines("gateway@solo.example.org"), expected);
}
