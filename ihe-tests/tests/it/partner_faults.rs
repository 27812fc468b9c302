//! Our initiating side against partners that do everything wrong: each ends in one state with a reason, none delays or
//! spoils another, and nothing of what they send is believed that should not be.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway::hl7v3::datatype::Ii;
use causeway::id::{
    AssigningAuthority, Clock, Demographics, DocumentUniqueId, Domains, Gender, HomeCommunityId, PatientId, PersonName,
    RepositoryId,
};
use causeway::metadata::{DocumentEntry, DocumentKind, Object};
use causeway::operations::{self, Account, Errand, Operation, Outcome, PatientSought};
use causeway::soap::envelope::{self, Envelope};
use causeway::soap::fault::Fault;
use causeway::soap::mtom::{self, ContentId};
use causeway::trust::issue::{KeyKind, Leaf, Validity, write_public};
use causeway::wssecurity::response_header;
use causeway::xcpd::discovery::{self, Match};
use causeway::xds::retrieve::{Content, DocumentId, RetrievedDocument};
use causeway::xds::{retrieve, stored_query};
use causeway::xml::{Limits, parse};
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::hostile::{CANARY, SOAP, World, canary_person};

/// The longest that a user waits.
const DEADLINE: Duration = Duration::from_secs(4);

/// What a partner does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Does {
    Answers,
    Hangs,
    AnswersLate,
    ClosesAtOnce,
    ClosesAfterRequest,
    SpeaksNoHttp,
    Html(u16),
    Faults(u16),
    Nothing200,
    EndsEarly,
    Oversized,
    Endless,
    AnswersAnother,
    ConfirmsAnother,
    KnowsNobody,
    KnowsAnother,
    SaysError,
    NamesAnotherHome,
    TruncatesDocument,
    SendsUnasked,
    SendsInline,
    LosesAttachment,
    TellsAnotherHash,
    TellsAnotherSize,
}

/// Which certificate a partner's server shows.
#[derive(Clone, Copy, PartialEq)]
enum Shows {
    Own,
    OtherName,
    Expired,
    Revoked,
    SelfSigned,
}

/// A partner, and the states of its part in each step with a part of the reason.
struct Case {
    name: &'static str,
    does: Does,
    shows: Shows,
    states: &'static [(&'static str, &'static str)],
}

const fn case(name: &'static str, does: Does, states: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, does, shows: Shows::Own, states }
}

const fn shows(name: &'static str, shows: Shows, states: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, does: Does::Answers, shows, states }
}

const FINE: (&str, &str) = ("answered", "");

const CASES: &[Case] = &[
    case("answers", Does::Answers, &[FINE, FINE, FINE]),
    case("hangs", Does::Hangs, &[("timed-out", "")]),
    case("late", Does::AnswersLate, &[("timed-out", "")]),
    case("closes", Does::ClosesAtOnce, &[("unreachable", "closed the connection")]),
    case("resets", Does::ClosesAfterRequest, &[("unreachable", "closed the connection")]),
    case("garbage", Does::SpeaksNoHttp, &[("unreachable", "did not answer in HTTP")]),
    case("html-500", Does::Html(500), &[("unreachable", "HTTP status 500")]),
    case("html-200", Does::Html(200), &[("refused", "cannot be read")]),
    case("fault-500", Does::Faults(500), &[("refused", "SOAP fault")]),
    case("fault-200", Does::Faults(200), &[("refused", "SOAP fault")]),
    case("empty-200", Does::Nothing200, &[("refused", "empty")]),
    case("ends-early", Does::EndsEarly, &[("refused", "ended too early")]),
    case("oversized", Does::Oversized, &[("refused", "larger than")]),
    case("endless", Does::Endless, &[("refused", "longer than")]),
    case("another-request", Does::AnswersAnother, &[("refused", "another request")]),
    case("another-signature", Does::ConfirmsAnother, &[("refused", "signature of another request")]),
    case("nobody", Does::KnowsNobody, &[("empty", "")]),
    case("another-patient", Does::KnowsAnother, &[("refused", "not those of the patient")]),
    case("error", Does::SaysError, &[("refused", "error")]),
    case("another-home", Does::NamesAnotherHome, &[FINE, FINE, FINE]),
    case("cut-document", Does::TruncatesDocument, &[FINE, FINE, ("refused", "")]),
    case("unasked", Does::SendsUnasked, &[FINE, FINE, ("refused", "nobody asked for")]),
    case("inline", Does::SendsInline, &[FINE, FINE, FINE]),
    case("other-hash", Does::TellsAnotherHash, &[FINE, FINE, FINE]),
    case("other-size", Does::TellsAnotherSize, &[FINE, FINE, FINE]),
    case("no-attachment", Does::LosesAttachment, &[FINE, FINE, ("refused", "not in the answer")]),
    shows("wrong-name", Shows::OtherName, &[("unreachable", "name")]),
    shows("expired", Shows::Expired, &[("unreachable", "expired")]),
    shows("revoked", Shows::Revoked, &[("unreachable", "revoked")]),
    shows("self-signed", Shows::SelfSigned, &[("unreachable", "secure connection")]),
];

/// A partner's server.
struct Server {
    number: usize,
    does: Does,
}

impl Server {
    fn home(&self) -> HomeCommunityId {
        format!("urn:oid:2.999.50.{}", self.number).parse().unwrap()
    }

    fn document(&self) -> String {
        format!("2.999.50.{}.8", self.number)
    }

    async fn serve(self, listener: TcpListener, acceptor: TlsAcceptor) {
        let server = Arc::new(self);
        while let Ok((stream, _)) = listener.accept().await {
            let (server, acceptor) = (server.clone(), acceptor.clone());
            // What becomes of one connection is seen at the other end.
            tokio::spawn(async move { server.connection(stream, acceptor).await });
        }
    }

    async fn connection(&self, stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
        let mut stream = acceptor.accept(stream).await?;
        if self.does == Does::ClosesAtOnce {
            return stream.shutdown().await;
        }
        while let Some(request) = read_request(&mut stream).await? {
            let Some(answer) = self.answer(&request).await else {
                return stream.shutdown().await;
            };
            stream.write_all(&answer).await?;
            stream.flush().await?;
            match self.does {
                Does::EndsEarly | Does::SpeaksNoHttp => return stream.shutdown().await,
                Does::Endless => loop {
                    stream.write_all(format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16)).as_bytes()).await?;
                },
                _ => {}
            }
        }
        Ok(())
    }

    async fn answer(&self, request: &str) -> Option<Vec<u8>> {
        match self.does {
            Does::Hangs => std::future::pending::<()>().await,
            Does::AnswersLate => sleep(Duration::from_millis(1500)).await,
            Does::ClosesAfterRequest => return None,
            Does::SpeaksNoHttp => return Some(b"\x16\x03 220 mail.example.org ESMTP\r\n\r\n".to_vec()),
            Does::Html(status) => {
                let page = format!("<html><body><p>Error at {CANARY}<br></body></html>");
                return Some(http(status, "text/html", page.as_bytes()));
            }
            Does::Nothing200 => return Some(http(200, SOAP, b"")),
            Does::EndsEarly => {
                return Some(
                    format!("HTTP/1.1 200 OK\r\nContent-Type: {SOAP}\r\nContent-Length: 500\r\n\r\n<a>").into(),
                );
            }
            Does::Oversized => return Some(http(200, SOAP, &vec![b' '; 3 << 20])),
            Does::Endless => {
                return Some(
                    format!("HTTP/1.1 200 OK\r\nContent-Type: {SOAP}\r\nTransfer-Encoding: chunked\r\n\r\n").into(),
                );
            }
            _ => {}
        }
        Some(self.message(request))
    }

    fn message(&self, request: &str) -> Vec<u8> {
        let start = request.find("<soap12:Envelope").or_else(|| request.find("<?xml")).unwrap();
        let end = request.rfind("</soap12:Envelope>").unwrap() + "</soap12:Envelope>".len();
        let tree = parse(&request[start..end], &Limits::default()).unwrap();
        let envelope = Envelope::read(&tree).unwrap();
        let now = Clock::system().now();
        let mut addressing = envelope.addressing.clone();
        if self.does == Does::AnswersAnother {
            addressing.message_id = Some("urn:uuid:00000000-0000-4000-8000-000000000000".into());
        }
        let confirmed = (self.does == Does::ConfirmsAnother).then_some(&b"another"[..]);
        let security = response_header(now, Duration::from_secs(300), confirmed);
        if let Does::Faults(status) = self.does {
            let fault = Fault::receiver(format!("cannot look for {CANARY}"));
            return http(status, SOAP, envelope::write_fault(Some(&addressing), &security, &fault).as_bytes());
        }
        if addressing.action == discovery::ACTION {
            let query = discovery::Request::decode(envelope.body, envelope.header, &Domains::default()).unwrap();
            let response =
                discovery::Response::new(&query, Ii::new("2.999.50", "R1"), now, &self.home(), self.found(&query));
            let addressing = addressing.response(discovery::ACTION_RESPONSE);
            return http(200, SOAP, envelope::write(&addressing, &security, &response.encode()).as_bytes());
        }
        if addressing.action.ends_with("CrossGatewayQuery") {
            let list = stored_query::Response::of(vec![Object::Document(Box::new(self.entry()))]);
            let addressing = addressing.response("urn:ihe:iti:2007:CrossGatewayQueryResponse");
            return http(200, SOAP, envelope::write(&addressing, &security, &list.encode()).as_bytes());
        }
        let addressing = addressing.response("urn:ihe:iti:2007:CrossGatewayRetrieveResponse");
        let part = ContentId::random();
        let content = match self.does {
            Does::SendsInline => Content::Inline(b"a document".to_vec()),
            _ => Content::Attached(part.to_string()),
        };
        let id = if self.does == Does::SendsUnasked { "2.999.50.666" } else { &self.document() };
        let documents = vec![RetrievedDocument {
            id: DocumentId {
                home: Some(self.home()),
                repository: RepositoryId::new("2.999.50.9").unwrap(),
                document: DocumentUniqueId::new(id).unwrap(),
            },
            new_repository: None,
            new_document: None,
            mime_type: "text/plain".into(),
            content,
        }];
        let body = retrieve::Response { documents, errors: Vec::new() }.encode().xml;
        let text = envelope::write(&addressing, &security, &body);
        if self.does == Does::SendsInline {
            return http(200, SOAP, text.as_bytes());
        }
        let parts = [(part, "text/plain", &b"a document that came as an attachment"[..])];
        let parts = if self.does == Does::LosesAttachment { &[][..] } else { &parts };
        let (content_type, package) = mtom::write_all(None, &text, parts);
        if self.does == Does::TruncatesDocument {
            let cut = package.windows(10).position(|window| window == b"a document").unwrap() + 10;
            return http(200, &content_type, &package[..cut]);
        }
        http(200, &content_type, &package)
    }

    fn found(&self, query: &discovery::Request) -> discovery::Outcome {
        let someone_else = Demographics {
            names: vec![PersonName::new("Somebody", &["Else"])],
            birth: "20010203".parse().ok(),
            gender: Some(Gender::Male),
            ..Demographics::default()
        };
        let home = if self.does == Does::NamesAnotherHome { "urn:oid:2.999.51".parse().unwrap() } else { self.home() };
        let authority = AssigningAuthority::new(&format!("2.999.50.{}.1", self.number), "ISO").unwrap();
        match self.does {
            Does::KnowsNobody => discovery::Outcome::NoMatch,
            Does::SaysError => discovery::Outcome::Error {
                reason: Some("InternalError".into()),
                detail: "".into(),
                text: format!("no index for {CANARY}"),
            },
            _ => discovery::Outcome::Matches(vec![Match {
                patient_id: PatientId::new("7", authority).unwrap(),
                home: Some(home),
                demographics: match self.does {
                    Does::KnowsAnother => someone_else,
                    _ => query.parameters.demographics.clone(),
                },
                score: Some(100),
                locator: false,
            }]),
        }
    }

    fn entry(&self) -> DocumentEntry {
        let unique_id = DocumentUniqueId::new(&self.document()).unwrap();
        let mut entry = DocumentEntry::new(
            "urn:uuid:5b1f0c3e-5d0a-4f6e-9a55-0a52f0f8a001",
            DocumentKind::Stable,
            unique_id,
            "text/plain",
        );
        let home = if self.does == Does::NamesAnotherHome { "urn:oid:2.999.51".parse().unwrap() } else { self.home() };
        entry.home = Some(home);
        entry.repository = RepositoryId::new("2.999.50.9").ok();
        match self.does {
            Does::TellsAnotherHash => entry.hash = Some("a94a8fe5ccb19ba61c4c0873d391e987982fbbd3".into()),
            Does::TellsAnotherSize => entry.size = Some(7),
            _ => {}
        }
        entry
    }
}

fn http(status: u16, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status} Status\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A request to its end, as text; none when the connection ends before one begins.
async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let whole = match head.split("content-length: ").nth(1) {
            Some(length) => body.len() >= length.lines().next().unwrap().trim().parse().unwrap(),
            None => body.ends_with("0\r\n\r\n"),
        };
        if whole {
            return Ok(Some(text.into_owned()));
        }
    }
}

fn acceptor(leaf: &Leaf) -> TlsAcceptor {
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(leaf.key_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(leaf.chain(), key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn entry(number: usize, port: u16, seconds: u32) -> String {
    let url = format!("https://localhost:{port}");
    format!(
        "name = \"Partner {number}\"\nnetwork = \"one\"\nkind = \"carequality\"\n\
         home_community_id = \"urn:oid:2.999.50.{number}\"\ninitiates = false\n\n[urls]\niti-55 = \"{url}/xcpd\"\n\
         iti-38 = \"{url}/query\"\niti-39 = \"{url}/retrieve\"\n\n[timeouts]\niti-55 = {seconds}\niti-38 = {seconds}\n\
         iti-39 = {seconds}\n"
    )
}

/// Starts a partner of the network `one` and enters it into the directory.
pub async fn start_partner(world: &World, name: &str, number: usize, does: Does) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.partner(name, &entry(number, listener.local_addr().unwrap().port(), 60));
    let leaf = world.root.leaf("partner", &["localhost"], KeyKind::P256, world.validity).unwrap();
    tokio::spawn(Server { number, does }.serve(listener, acceptor(&leaf)));
}

fn errand(partners: &[&str]) -> Errand {
    Errand {
        user: "ada@example.org".into(),
        purpose: "TREATMENT".into(),
        partners: partners.iter().map(|name| (*name).to_owned()).collect(),
        deadline: Some(DEADLINE.as_secs()),
    }
}

fn canary() -> PatientSought {
    let person = canary_person();
    PatientSought::Described {
        family: CANARY.into(),
        given: "Quillifer".into(),
        birth: person.birth.unwrap(),
        gender: Some("F".into()),
    }
}

fn account(outcome: Outcome) -> Account {
    match outcome {
        Outcome::Account(account) => account,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_partner_ends_in_one_state_and_none_spoils_the_others() {
    let world = World::new("[limits]\nxml_mib = 1\nmessage_mib = 2\n");
    let now = world.clock.now();
    let hour = Duration::from_secs(3600);
    let leaf = |host: &str, validity| world.root.leaf("partner", &[host], KeyKind::P256, validity).unwrap();
    let own = leaf("localhost", world.validity);
    let revoked = leaf("localhost", world.validity);
    let list = world.root.revocation_list(&[revoked.serial()], world.validity).unwrap();
    write_public(&world.folder.path().join("trust-store/one/root.crl"), &list).unwrap();
    for (number, case) in CASES.iter().enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = match case.shows {
            Shows::Own => acceptor(&own),
            Shows::OtherName => acceptor(&leaf("other.example.org", world.validity)),
            Shows::Expired => {
                acceptor(&leaf("localhost", Validity { from: now.minus(hour * 2), until: now.minus(hour) }))
            }
            Shows::Revoked => acceptor(&revoked),
            Shows::SelfSigned => {
                acceptor(&Leaf::self_signed("partner", &["localhost"], KeyKind::P256, world.validity).unwrap())
            }
        };
        world.partner(case.name, &entry(number, port, if case.does == Does::AnswersLate { 1 } else { 60 }));
        tokio::spawn(Server { number, does: case.does }.serve(listener, acceptor));
    }
    // Nothing listens there.
    world.partner("closed", &entry(900, 1, 60));
    let gateway = world.serve().await;

    let started = Instant::now();
    let out = world.folder.path().join("records");
    let fetch = Operation::Fetch { errand: errand(&[]), patient: canary(), out: out.clone() };
    let account = account(operations::run(&gateway.gateway, fetch).await);
    assert!(started.elapsed() < DEADLINE + Duration::from_secs(4), "{:?}", started.elapsed());

    let mut by_partner: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for step in &account.steps {
        by_partner.entry(&step.partner).or_default().push(step);
    }
    let mut problems = Vec::new();
    let closed = case("closed", Does::Answers, &[("unreachable", "refused")]);
    for case in CASES.iter().chain([&closed]) {
        let steps = by_partner.remove(case.name).unwrap_or_default();
        let told: Vec<_> =
            steps.iter().map(|step| (step.state.as_str(), step.reason.as_deref().unwrap_or_default())).collect();
        let holds = told.len() == case.states.len()
            && told.iter().zip(case.states).all(|(told, (state, says))| told.0 == *state && told.1.contains(says));
        if !holds {
            problems.push(format!("{}: {told:?}", case.name));
        }
    }
    assert!(problems.is_empty() && by_partner.is_empty(), "{}\n{:?}", problems.join("\n"), by_partner.keys());
    assert!(!account.complete);
    let mut brought: Vec<&str> =
        account.documents.iter().filter(|one| one.file.is_some()).map(|one| &*one.partner).collect();
    brought.sort_unstable();
    assert_eq!(brought, ["another-home", "answers", "inline", "other-hash", "other-size"]);
    // What is not what the metadata promised is not passed over in silence.
    let noted = account.documents.iter().filter_map(|one| Some((&*one.partner, one.note.as_deref()?)));
    let mut noted: Vec<_> = noted.collect();
    noted.sort_unstable();
    let expected = [
        ("other-hash", "its bytes are not those that the metadata names by their hash"),
        ("other-size", "it has 37 bytes where the metadata says 7"),
    ];
    assert_eq!(noted, expected);

    // The trace tells the same, without the partners' own words, which may name the patient.
    let trace = gateway.gateway.traces.get(account.trace).unwrap().unwrap();
    assert_eq!(trace.steps.len(), account.steps.len());
    let told = format!("{trace:?}");
    assert!(!told.contains(CANARY), "{told}");
    let said = account.steps.iter().filter(|step| step.reason.as_deref().is_some_and(|r| r.contains(CANARY))).count();
    assert_eq!(said, 3, "two faults and an error: the user may know why");

    // One record for each part, on our side of it.
    let name = account.trace.to_string();
    let records: Vec<_> = world.records().into_iter().filter(|record| record.trace == name).collect();
    assert!(records.len() >= account.steps.len(), "{} records of {} steps", records.len(), account.steps.len());
    let failures = records.iter().filter(|record| !record.text.contains("EventOutcomeIndicator=\"0\"")).count();
    let failed = account.steps.iter().filter(|step| !matches!(step.state.as_str(), "answered" | "empty")).count();
    assert_eq!(failures, failed);
    world.assert_alive(&gateway, "partners of all kinds").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_keeps_failing_is_left_alone_and_taken_back() {
    let world = World::new("");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    world.partner("flaky", &entry(1, address.port(), 60));
    let clock = Clock::fixed(world.clock.now());
    let gateway = world.serve_at(clock.clone()).await;
    let ask = async || {
        let discover = Operation::Discover { errand: errand(&["flaky"]), patient: canary() };
        let account = account(operations::run(&gateway.gateway, discover).await);
        (account.steps[0].state.to_string(), account.steps[0].reason.clone().unwrap_or_default())
    };
    let mut states = Vec::new();
    for _ in 0..8 {
        states.push(ask().await.0);
    }
    let unreachable = states.iter().filter(|state| *state == "unreachable").count();
    assert!(unreachable >= 3 && states.ends_with(&["skipped".into()]), "{states:?}");
    assert!(ask().await.1.contains("in a row"));

    let listener = TcpListener::bind(address).await.unwrap();
    let leaf = world.root.leaf("partner", &["localhost"], KeyKind::P256, world.validity).unwrap();
    tokio::spawn(Server { number: 1, does: Does::Answers }.serve(listener, acceptor(&leaf)));
    assert_eq!(ask().await.0, "skipped", "the pause is not over");
    clock.advance(Duration::from_secs(60));
    assert_eq!(ask().await, ("answered".into(), String::new()));
    assert_eq!(ask().await.0, "answered");
    gateway.stop().await;
}
