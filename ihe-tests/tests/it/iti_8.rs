//! ITI-8 Patient Identity Feed over MLLP (ITI TF-2: 3.8), as registration systems send it.

use causeway::hl7v2::mllp::frame;
use causeway::sandbox::Site;
use causeway::storage::identities::Resolution;
use ihe_tests::harness::mllp::Told;
use ihe_tests::harness::samples::{fresh_oid, patient};
use ihe_tests::harness::{Feed, World};

/// An identifier that no other test has.
fn fresh() -> String {
    // The end is random, the beginning a time.
    let oid = fresh_oid();
    format!("I{}", &oid[oid.len() - 18..])
}

fn cx(id: &str) -> String {
    format!("{id}^^^&2.999.1.2.1&ISO")
}

/// A message of valley's registration system.
fn message(event: &str, structure: &str, control_id: &str, segments: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|ADT|VALLEY|CAUSEWAY|VALLEY|20261122101500||ADT^{event}^{structure}|{control_id}|P|2.3.1\r\
         EVN|{event}|20261122101500\r{segments}"
    )
    .into_bytes()
}

fn admission(event: &str, id: &str, name: &str) -> Vec<u8> {
    message(event, "ADT_A01", id, &format!("PID|||{}||{name}||19610203|F\rPV1||O\r", cx(id)))
}

fn merge(survivor: &str, subsumed: &str) -> Vec<u8> {
    let segments = format!("PID|||{}||Test^Merge\rMRG|{}\r", cx(survivor), cx(subsumed));
    message("A40", "ADT_A39", &fresh(), &segments)
}

async fn feed() -> Feed {
    Feed::open(World::shared().sandbox.valley.mllp[0]).await
}

/// The family name under which an identifier is known; none if it is not in use.
fn family(id: &str) -> Option<String> {
    let gateway = &World::shared().sandbox.valley.gateway;
    match gateway.identities.resolve(&gateway.tenant, &patient(&cx(id))).unwrap() {
        Resolution::Active(person) => Some(person.demographics(None)?.names.first()?.family.to_string()),
        Resolution::Replaced { .. } | Resolution::Unknown => None,
    }
}

#[tokio::test]
async fn admissions_updates_and_merges_are_applied_and_recorded() {
    let mut feed = feed().await;
    let trail = World::shared().trail(Site::Valley);
    for event in ["A01", "A04", "A05"] {
        let id = fresh();
        let told = feed.ask(&admission(event, &id, &format!("Arrival{event}^Ada"))).await;
        assert_eq!((told.code.code(), told.control_id.as_str()), ("AA", id.as_str()), "{}", told.text);
        assert_eq!((told.field("MSH", 9), told.field("MSH", 3)), (format!("ACK^{event}^ACK").as_str(), "CAUSEWAY"));
        assert_eq!(family(&id), Some(format!("Arrival{event}")));
        assert_eq!(trail.lines(&id), ["ITI-8 C success patient"]);

        let told = feed.ask(&admission("A08", &id, "Changed^Ada")).await;
        assert_eq!(told.code.code(), "AA", "{}", told.text);
        assert_eq!(family(&id).as_deref(), Some("Changed"));
        assert_eq!(trail.lines(&id), ["ITI-8 C success patient", "ITI-8 U success patient"]);
    }
    let (stays, goes) = (fresh(), fresh());
    for id in [&stays, &goes] {
        feed.ask(&admission("A04", id, "Twice^Ada")).await;
    }
    let told = feed.ask(&merge(&stays, &goes)).await;
    assert_eq!(told.code.code(), "AA", "{}", told.text);
    assert_eq!((family(&stays).as_deref(), family(&goes)), (Some("Twice"), None));
    // Two records: the identifier that went away, the one that stays (3.8.5.1).
    assert_eq!(trail.lines(&goes), ["ITI-8 C success patient", "ITI-8 D success patient"]);
    assert_eq!(trail.lines(&stays), ["ITI-8 C success patient", "ITI-8 U success patient"]);
}

/// ITI TF-2: 3.30.4: these events are those of ITI-30, and a merge is where it is written in its version of HL7.
#[tokio::test]
async fn events_of_patient_identity_management_are_recorded_as_such() {
    let mut feed = feed().await;
    let trail = World::shared().trail(Site::Valley);
    let (stays, goes) = (fresh(), fresh());
    for id in [&stays, &goes] {
        let told = feed.ask(&admission("A28", id, "Managed^Ada")).await;
        assert_eq!(told.code.code(), "AA", "{}", told.text);
    }
    feed.ask(&admission("A31", &stays, "Managed^Ada")).await;
    let merge = String::from_utf8(merge(&stays, &goes)).unwrap().replace("|P|2.3.1", "|P|2.5");
    let told = feed.ask(merge.as_bytes()).await;
    assert_eq!(told.code.code(), "AA", "{}", told.text);
    assert_eq!(trail.lines(&goes), ["ITI-30 C success patient", "ITI-30 D success patient"]);
    let lines = trail.lines(&stays);
    assert_eq!(lines, ["ITI-30 C success patient", "ITI-30 U success patient", "ITI-30 U success patient"]);
}

/// ITI TF-2: 3.30.4.4: there a merge into nobody gives the patient that identifier, and one of nobody is nothing. In every
/// other version it is a merge of ITI-8, which needs both.
#[tokio::test]
async fn a_merge_of_identifiers_that_nobody_has_is_an_error_in_iti_8_alone() {
    let mut feed = feed().await;
    for (version, code) in [("2.3.1", "AE"), ("2.4", "AE"), ("2.5", "AA"), ("2.5.1", "AA")] {
        let (known, other, nobody) = (fresh(), fresh(), fresh());
        feed.ask(&admission("A04", &known, "Known^Ada")).await;
        let written = |message: Vec<u8>| {
            String::from_utf8(message).unwrap().replace("|P|2.3.1", &format!("|P|{version}")).into_bytes()
        };
        for message in [merge(&known, &nobody), merge(&other, &nobody), merge(&other, &known)] {
            let told = feed.ask(&written(message)).await;
            assert_eq!(told.code.code(), code, "{version}: {}", told.text);
        }
        let names = (family(&known), family(&other), family(&nobody));
        let known = Some("Known".to_owned());
        assert_eq!(names, if code == "AA" { (None, known, None) } else { (known, None, None) }, "{version}");
    }
}

#[tokio::test]
async fn feeds_that_cannot_be_applied_are_refused_with_their_place() {
    let mut feed = feed().await;
    let known = fresh();
    feed.ask(&admission("A04", &known, "Known^Ada")).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let good = |id: &str| text(admission("A01", id, "Nobody^Ada"));
    let id = fresh();
    for (story, message, code) in [
        ("another domain of the same gateway's world", good(&id).replace("2.999.1.2.1", "2.999.1.3.1"), "AE"),
        ("a domain that nobody has", good(&id).replace("2.999.1.2.1", "2.999.4.4"), "AE"),
        ("no domain", good(&id).replace("^^^&2.999.1.2.1&ISO", ""), "AE"),
        ("no identifier", good(&id).replace(&cx(&id), ""), "AE"),
        ("no PID", good(&id).replace("PID|", "ZID|"), "AE"),
        ("another source", good(&id).replace("|ADT|VALLEY|", "|LAB|VALLEY|"), "AR"),
        ("another facility", good(&id).replace("|ADT|VALLEY|", "|ADT|HARBOR|"), "AR"),
        ("an event that is no feed", good(&id).replace("ADT^A01^ADT_A01", "ADT^A02^ADT_A02"), "AR"),
        ("a message that is no feed", good(&id).replace("ADT^A01^ADT_A01", "ORU^R01^ORU_R01"), "AR"),
        ("a merge into nobody", text(merge(&id, &known)), "AE"),
        ("a merge of nobody", text(merge(&known, &id)), "AE"),
        ("a merge with itself", text(merge(&known, &known)), "AE"),
    ] {
        let told = feed.ask(message.as_bytes()).await;
        assert_eq!(told.code.code(), code, "{story}: {}", told.text);
        assert!(!told.field("ERR", 1).is_empty() || told.text.contains("ERR|"), "{story}: {}", told.text);
        assert_eq!(family(&id), None, "{story}");
    }
    assert_eq!(family(&known).as_deref(), Some("Known"));
    let failures = World::shared().trail(Site::Valley).lines(&id);
    assert!(failures.iter().all(|line| line.starts_with("ITI-8") && line.contains("failure")), "{failures:?}");
}

#[tokio::test]
async fn frames_may_come_in_pieces_together_and_before_their_answers() {
    let ids: Vec<String> = (0..6).map(|_| fresh()).collect();
    let frames: Vec<Vec<u8>> = ids.iter().map(|id| frame(&admission("A04", id, "Framed^Ada"))).collect();
    let mut feed = feed().await;
    // In pieces of seven bytes.
    for piece in frames[0].chunks(7) {
        feed.write(piece).await;
    }
    // Two in one write; then a piece of the third, its rest with the next one, and the last at once.
    feed.write(&[frames[1].as_slice(), &frames[2]].concat()).await;
    let (head, rest) = frames[3].split_at(frames[3].len() / 2);
    feed.write(head).await;
    feed.write(&[rest, frames[4].as_slice(), &frames[5]].concat()).await;
    // Answers come in the order of the messages.
    for id in &ids {
        let told = Told::read(feed.read().await.expect("an answer"));
        assert_eq!((told.code.code(), &told.control_id), ("AA", id), "{}", told.text);
    }
}

#[tokio::test]
async fn names_are_read_in_the_charset_of_the_message() {
    let mut feed = feed().await;
    for (charset, bytes) in [
        ("8859/1", &b"M\xfcller^J\xfcrg"[..]),
        ("UNICODE UTF-8", "M\u{fc}ller^J\u{fc}rg".as_bytes()),
        // Nothing said: UTF-8 if it is, which it is.
        ("", "M\u{fc}ller^J\u{fc}rg".as_bytes()),
    ] {
        let id = fresh();
        let mut message = admission("A01", &id, "NAME");
        let at = message.windows(4).position(|window| window == b"NAME").unwrap();
        message.splice(at..at + 4, bytes.iter().copied());
        let end = message.iter().position(|byte| *byte == b'\r').unwrap();
        message.splice(end..end, format!("||||||{charset}").into_bytes());
        let told = feed.ask(&message).await;
        assert_eq!(told.code.code(), "AA", "{charset}: {}", told.text);
        assert_eq!(family(&id).as_deref(), Some("M\u{fc}ller"), "{charset}");
    }
}

#[tokio::test]
async fn messages_without_a_readable_header_are_rejected_and_the_connection_goes_on() {
    let mut feed = feed().await;
    for (story, bytes) in [
        ("no header", &b"PID|||1\r"[..]),
        ("half a header", b"MSH|^~\\&|ADT"),
        ("nothing", b""),
        ("no separators", b"MSH"),
        ("another language", b"<xml/>"),
    ] {
        let told = feed.ask(bytes).await;
        assert!(["AR", "AE"].contains(&told.code.code()), "{story}: {}", told.text);
    }
    let id = fresh();
    assert_eq!(feed.ask(&admission("A04", &id, "After^Ada")).await.code.code(), "AA");
}

#[test]
fn an_ordinary_hl7_client_feeds_and_reads_the_answer() {
    const PROGRAM: &str = "
import sys
try:
    import hl7
    from hl7.client import MLLPClient
except ImportError:
    sys.exit(3)
port, source = int(sys.argv[1]), sys.argv[2]
with MLLPClient('127.0.0.1', port) as client:
    answer = hl7.parse(client.send_message(source.replace('\\n', '\\r').encode('utf-8')).decode('utf-8').strip('\\x0b\\x1c\\r'))
print(answer.segment('MSA')[1], answer.segment('MSA')[2])
";
    let Some(mut python) = ihe_tests::python() else { return };
    let id = fresh();
    let message = String::from_utf8(admission("A04", &id, "Peer^Ada")).unwrap().replace('\r', "\n");
    let port = World::shared().sandbox.valley.mllp[0].port().to_string();
    let output = python.args(["-c", PROGRAM, &port, &message]).output().unwrap();
    if output.status.code() == Some(3) {
        return ihe_tests::missing("python package hl7 is not installed");
    }
    let answer = String::from_utf8_lossy(&output.stdout);
    assert_eq!(answer.trim(), format!("AA {id}"), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(family(&id).as_deref(), Some("Peer"));
}
