//! The client registry scenarios of OpenHIE, in their order, over a real MLLP connection: feeds (ITI-8), cross-reference
//! queries (ITI-9) and demographics queries (ITI-21). Where the suite and the framework disagree, the framework wins and
//! the assertion is listed, with the few that go beyond what this gateway keeps.

use std::net::SocketAddr;
use std::path::Path;

use causeway::app::{App, Running};
use causeway::config;
use causeway::hl7v2::{Deframer, Limits, Message, mllp};
use causeway::id::Clock;
use causeway::trust::issue::{Authority, KeyKind, Validity, write_public};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Case, step, assertion as it begins, and why it does not hold.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[
    ("02", "20", "QUERY_RESPONSE/.PID-3", OWN_ID),
    ("02", "40", "QUERY_RESPONSE/.PID-3", OWN_ID),
    ("03", "10", "ERR-1-4-2", ERR_1),
    ("03", "20", "ERR-1-4-2", ERR_1),
    ("04", "30", "ERR-1-4-2", ERR_1),
    ("05", "30", "QUERY_RESPONSE/.PID-3", OWN_ID),
    ("07", "30", "QUERY_RESPONSE/.PID-3", OWN_ID),
    (
        "07",
        "40",
        "QUERY_RESPONSE/.PID-6",
        "PID-6 is what the source told of the child; the mother's record is not looked up",
    ),
    ("08", "30", "QUERY_RESPONSE/.PID-13-6", PHONE),
    ("08", "30", "QUERY_RESPONSE/.PID-13-7", PHONE),
    ("08", "30", "QUERY_RESPONSE/.PID-14-6", PHONE),
    ("08", "30", "QUERY_RESPONSE/.PID-14-7", PHONE),
    ("08", "30", "QUERY_RESPONSE/.PID-15", "a code is told as the source told it, EN"),
    ("09", "10", "MSA-1=AA", "ITI TF-2: 3.9.4.2.2, case 3: an unknown identifier is answered with AE"),
    ("09", "20", "ERR-2-", "ITI TF-2: 3.9.4.2.2, case 4: the place is component 4 of repetition 1, QPD^1^3^1^4"),
    ("09", "40", "QUERY_RESPONSE/.PID-3", OWN_ID),
    ("09", "40", "QAK-2=OK", OWN_ID),
];
const OWN_ID: &str = "ITI TF-2: 3.9.4.2.2: the identifier that was asked about is not among the answers";
const PHONE: &str = "a limit of this gateway: a telephone number is kept as one text and told in XTN.1";
const ERR_1: &str = "ITI TF-2: Appendix C.2.3: ERR-1 stays empty, the text is in ERR-8";

/// The domains and sources that the suite asks to be set up.
const CONFIGURATION: &str = r#"
[community]
name = "Registry"
home_community_id = "urn:oid:2.999.1"
npi = "1234567893"
repository_id = "2.999.1.9"

[listen]
https = "127.0.0.1:0"
public_url = "https://localhost:1"

[[listen.mllp]]
address = "127.0.0.1:0"
tls = false
"#;

#[tokio::test]
async fn scenarios_of_openhie_hold_in_their_order() {
    let Some(shared) = ihe_tests::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let gateway = serve(folder.path()).await;
    let corpus = shared.join("corpus");
    let table = std::fs::read_to_string(corpus.join("hl7v2-pix-feed/ohie-cr-scenarios.tsv")).unwrap();
    let (mut steps, mut held, mut excepted, mut failed) = (0, 0, 0, Vec::new());
    let mut used = vec![false; EXCEPTIONS.len()];
    for row in table.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [case, step, file, _, assertions] = columns[..] else { panic!("{row}") };
        if file.is_empty() {
            continue;
        }
        steps += 1;
        let message = std::fs::read(corpus.join(file)).unwrap();
        let answer = exchange(gateway.mllp[0], &message).await;
        for assertion in assertions.split("; ") {
            let holds = holds(assertion, &answer);
            let exception = EXCEPTIONS
                .iter()
                .position(|(c, s, begins, _)| (*c, *s) == (case, step) && assertion.starts_with(begins));
            match (holds, exception) {
                (true, _) => held += 1,
                (false, Some(exception)) => {
                    used[exception] = true;
                    excepted += 1;
                }
                (false, None) => {
                    failed.push(format!("{case}-{step} {assertion}\n{}", answer.text().replace('\r', "\n")));
                }
            }
        }
    }
    println!("{steps} messages: {held} assertions hold, {excepted} are exceptions, {} fail", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(steps, 25);
    let unused: Vec<_> = EXCEPTIONS.iter().zip(used).filter(|(_, used)| !used).map(|(one, _)| one).collect();
    assert!(unused.is_empty(), "exceptions that are none: {unused:?}");
    gateway.stop().await;
}

async fn serve(folder: &Path) -> Running {
    let validity = Validity::days(Clock::system().now(), 10);
    let root = Authority::root("Registry Root", KeyKind::P256, validity).unwrap();
    let leaf = root.leaf("gateway.example.org", &["localhost"], KeyKind::Rsa2048, validity).unwrap();
    leaf.write(&folder.join("certificates/gateway.pem"), &folder.join("certificates/gateway.key")).unwrap();
    write_public(&folder.join("trust-store/local/root.pem"), &root.pem()).unwrap();
    std::fs::create_dir_all(folder.join("partners")).unwrap();
    let mut text = CONFIGURATION.to_owned();
    for (namespace, number) in [("TEST", 1), ("TEST_A", 2), ("TEST_B", 3), ("NID", 9)] {
        text += &format!(
            "[[domains]]\nname = \"{namespace}\"\nnamespace = \"{namespace}\"\n\
             oid = \"2.16.840.1.113883.3.72.5.9.{number}\"\n\n"
        );
    }
    // A national identifier is fed by its authority and told by those who know it.
    for (application, domains) in [
        ("TEST_HARNESS", "\"TEST\""),
        ("TEST_HARNESS_A", "\"TEST_A\", \"NID\""),
        ("TEST_HARNESS_B", "\"TEST_B\""),
        ("NID_AUTH", "\"NID\""),
    ] {
        text += &format!(
            "[[sources]]\nname = \"{application}\"\napplication = \"{application}\"\nfacility = \"TEST\"\n\
             domains = [{domains}]\naddresses = [\"127.0.0.1\"]\n\n"
        );
    }
    let file = folder.join("causeway.toml");
    write_public(&file, &text).unwrap();
    let settings = config::load(&file).unwrap();
    App::open(settings, Clock::system()).unwrap().serve().await.unwrap()
}

async fn exchange(address: SocketAddr, message: &[u8]) -> Message {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&mllp::frame(message)).await.unwrap();
    let mut deframer = Deframer::new(mllp::Limits::default());
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "the connection was closed without an answer");
        deframer.push(&piece[..count]);
        if let Some(answer) = deframer.next().unwrap() {
            return Message::parse(&answer, &Limits::default()).unwrap();
        }
    }
}

/// `MSH-9-2=A01`, `MSA-1=AA|CA`, `QUERY_RESPONSE/.PID-3(1)-4-1=TEST`, `QUERY_RESPONSE(1)/.PID=missing=true`. The
/// numbers of repetitions in the suite count from one and from zero in turn, so any repetition may hold the value.
fn holds(assertion: &str, answer: &Message) -> bool {
    let (path, expected) = assertion.split_once('=').unwrap();
    let (group, path) = path.split_once("/.").unwrap_or(("", path));
    let mut parts = path.split('-');
    let segment = parts.next().unwrap();
    if expected == "missing=true" {
        let first = usize::from(group.ends_with("(1)"));
        return answer.segments_named(segment).nth(first).is_none();
    }
    let numbers: Vec<usize> = parts.map(|part| part.split('(').next().unwrap().parse().unwrap()).collect();
    let (component, subcomponent) = (numbers.get(1).copied().unwrap_or(1), numbers.get(2).copied().unwrap_or(1));
    let found: Vec<String> = answer
        .field(segment, numbers[0])
        .repetitions()
        .filter_map(|repetition| repetition.composite().0.get(component - 1)?.get(subcomponent - 1).cloned())
        .collect();
    expected.split('|').any(|expected| found.iter().any(|found| found == expected))
}
