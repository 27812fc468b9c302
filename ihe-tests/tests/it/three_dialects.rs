//! One table, three dialects: patients are fed in HL7 v2 (ITI-8, 30), v3 (ITI-44) and FHIR (ITI-104), and asked for in
//! v2 (ITI-9, 21), v3 (ITI-45, 47) and FHIR (ITI-83, 78). Whoever fed, and whoever asks, the answers are the same: before
//! and after changes, merges, links and their end.

use std::collections::BTreeSet;

use causeway::fhir::pixm::Response as Parameters;
use causeway::fhir::resource::{Identifier, Link, LinkKind, Patient, Reference};
use causeway::hl7v2::query::Asked;
use causeway::hl7v2::{self, Header};
use causeway::hl7v3::ack::AcknowledgementMessage;
use causeway::hl7v3::datatype::Ii;
use causeway::hl7v3::wrapper::{Device, Wrapper};
use causeway::id::{AssigningAuthority, Clock, Demographics, Domains, Gender, PatientId, PersonName, TraceId};
use causeway::pdq::answer::Answer as Found;
use causeway::pdq::criteria::PatientQuery;
use causeway::pdq::{query_v2 as pdq_v2, query_v3 as pdq_v3};
use causeway::pix::feed_v2::{self, Event, FeedRequest, Pair};
use causeway::pix::question::{Answer, Question, Refusal};
use causeway::pix::{feed_v3, query_v2, query_v3};
use causeway::soap::envelope::Envelope;
use causeway::xml::{Element, Limits, parse};
use hyper::Method;
use ihe_tests::harness::{Feed, Fhir, Solo};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::iti_83::WORLD;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    V2,
    V3,
    Fhir,
}

pub const DIALECTS: [Dialect; 3] = [Dialect::V2, Dialect::V3, Dialect::Fhir];

/// One system of ours that speaks all three with its gateway.
pub struct System<'s> {
    solo: &'s Solo,
    fhir: Fhir<'s>,
    mllp: Mutex<Feed>,
    /// Whether what is said in v3 goes before the schemas, which takes longer than everything else.
    judged: bool,
}

fn uuid() -> String {
    TraceId::new().to_string()
}

fn header() -> Header {
    Header { control_id: uuid()[12..].into(), processing_id: "P".into(), version: "2.5".into(), ..Header::default() }
}

fn wrapper() -> Wrapper {
    let device = |oid: &str| Device { id: Ii::root(oid), ..Device::default() };
    Wrapper::new(Ii::new("2.999.6", &uuid()), Clock::system().now(), device("2.999.6"), device("2.999.60"))
}

pub async fn gateway() -> Solo {
    let solo = Solo::start(WORLD).await;
    let partners = solo.ground.folder.path().join("partners");
    let file = partners.join("partner.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let domains = "assigning_authorities = [\"2.999.60.1\", \"2.999.60.2\", \"2.999.60.3\"]\n";
    std::fs::write(&file, [&text, domains].concat()).unwrap();
    solo.gateway().directory.reload(&partners).unwrap();
    solo
}

impl<'s> System<'s> {
    pub async fn of(solo: &'s Solo, judged: bool) -> Self {
        Self { solo, fhir: solo.fhir(), mllp: Mutex::new(Feed::open(solo.mllp()).await), judged }
    }

    fn domains(&self) -> &Domains {
        &self.solo.gateway().domains
    }

    async fn v2(&self, message: &[u8]) -> hl7v2::Message {
        let told = self.mllp.lock().await.ask(message).await;
        hl7v2::Message::parse(told.text.as_bytes(), &hl7v2::Limits::default()).unwrap()
    }

    async fn v3<T>(&self, service: &str, action: &str, body: String, read: impl FnOnce(Element<'_>) -> T) -> T {
        let letter = self.solo.letter(service, action, body);
        let (to, path) = (self.solo.running.https, format!("/{service}"));
        if self.judged {
            return self.solo.client.ask(to, &path, &letter).await.body(read);
        }
        let (kind, envelope) = ("application/soap+xml; charset=UTF-8", letter.envelope(&self.solo.client.key));
        let reply = self.solo.client.send(to, Method::POST, &path, kind, envelope.into()).await;
        let text = std::str::from_utf8(&reply.body).unwrap();
        let tree = parse(text, &Limits::default()).unwrap();
        read(Envelope::read(&tree).unwrap().body)
    }

    /// Whether a feed was accepted.
    pub async fn feed(&self, dialect: Dialect, event: Event, change: FeedRequest) -> bool {
        match dialect {
            Dialect::V2 => {
                let header = Header { version: "2.3.1".into(), ..header() };
                let request = feed_v2::Request { header, event, recorded: "20260115".parse().ok(), change };
                let answer = self.v2(&request.encode(self.domains())).await;
                answer.field("MSA", 1).text() == "AA"
            }
            Dialect::V3 => {
                let request = feed_v3::Request { wrapper: wrapper(), custodian: Ii::root("2.999.6"), change };
                let action = format!("urn:hl7-org:v3:{}", request.interaction().unwrap().root());
                let body = request.encode(self.domains()).unwrap();
                let read = |body: Element<'_>| AcknowledgementMessage::decode(body).unwrap();
                self.v3("PIXManager", &action, body, read).await.acknowledgement.kind.is_accepted()
            }
            Dialect::Fhir => {
                let (id, patient) = match change {
                    FeedRequest::Add { ids, demographics } => {
                        (ids[0].clone(), Patient::new(*demographics, &ids, Some(self.domains())))
                    }
                    FeedRequest::Merge(pairs) => {
                        let Pair { survivor, subsumed } = &pairs[0];
                        let name = person("Merged", "").to_owned();
                        let mut patient = Patient::new(name, std::slice::from_ref(subsumed), None);
                        let other = Reference { identifier: Some(Identifier::of(survivor, None)), reference: None };
                        patient.links = vec![Link { kind: LinkKind::ReplacedBy, other }];
                        patient.active = Some(false);
                        (subsumed.clone(), patient)
                    }
                    _ => panic!("not in FHIR"),
                };
                let feed = causeway::fhir::pixm::Feed::Revise { id, patient };
                let (method, path, body) = feed.encode();
                self.fhir.json(method, &path, &body.unwrap()).await.status < 300
            }
        }
    }

    async fn cross_references(&self, dialect: Dialect, question: &Question) -> Answer {
        match dialect {
            Dialect::V2 => {
                let asked = Asked { tag: "tag".into(), echo: String::new() };
                let request = query_v2::Request { header: header(), asked, question: question.clone() };
                let answer = self.v2(&request.encode(self.domains())).await;
                query_v2::Response::decode(&answer, self.domains()).unwrap().answer
            }
            Dialect::V3 => {
                let request = query_v3::Request::new(wrapper(), Ii::new("2.999.6", "q"), question.clone());
                let (action, body) = ("urn:hl7-org:v3:PRPA_IN201309UV02", request.encode(self.domains()));
                let read = |body: Element<'_>| query_v3::Response::decode(body, self.domains()).unwrap().answer;
                self.v3("PIXManager", action, body, read).await
            }
            Dialect::Fhir => {
                let system = |authority| causeway::fhir::resource::system_of_authority(authority).unwrap();
                let request = causeway::fhir::pixm::Request {
                    source: Identifier::of(&question.id, None),
                    targets: question.wanted.iter().map(system).collect(),
                };
                let told = self.fhir.get(&format!("Patient/$ihe-pix?{}", request.to_query())).await;
                match told.status {
                    200 => Answer::found(Parameters::decode(&told.resource).unwrap().identifiers),
                    _ => Answer::Refused(match told.issue() {
                        (404, "not-found", _) => Refusal::UnknownId,
                        (400, "code-invalid", _) => Refusal::UnknownDomain,
                        (403, "code-invalid", _) => Refusal::UnknownWantedDomains(vec![1]),
                        other => panic!("{other:?}"),
                    }),
                }
            }
        }
    }

    /// The identifiers of everybody who is found, each person's in the order of the texts.
    async fn people(&self, dialect: Dialect, query: &PatientQuery, in_fhir: &str) -> Vec<BTreeSet<String>> {
        let told = |found: Found| match found {
            Found::Found(page) => page.matches.into_iter().map(|one| one.ids).collect(),
            Found::NothingFound => Vec::new(),
            Found::Refused(refusal) => panic!("{refusal}"),
        };
        let mut found: Vec<Vec<PatientId>> = match dialect {
            Dialect::V2 => {
                let request = pdq_v2::Request {
                    header: header(),
                    kind: pdq_v2::Kind::Demographics,
                    asked: Asked { tag: "tag".into(), echo: String::new() },
                    query: query.clone(),
                    wanted: Vec::new(),
                    quantity: None,
                    continues: None,
                };
                let answer = self.v2(&request.encode(self.domains())).await;
                told(pdq_v2::Response::decode(&answer, self.domains()).unwrap().answer)
            }
            Dialect::V3 => {
                let id = Ii::new("2.999.6", &uuid());
                let body = pdq_v3::Request::new(wrapper(), id, query.clone(), Vec::new()).encode(self.domains());
                let read = |body: Element<'_>| pdq_v3::Response::decode(body, self.domains()).unwrap().answer;
                told(self.v3("PDSupplier", "urn:hl7-org:v3:PRPA_IN201305UV02", body, read).await)
            }
            Dialect::Fhir => {
                let told = self.fhir.form("Patient/_search", in_fhir).await;
                assert_eq!(told.status, 200, "{}", told.resource);
                let ids = |patient: &Value| Patient::decode(patient).unwrap().sorted(self.domains()).1;
                told.entries().into_iter().map(ids).collect()
            }
        };
        found.iter_mut().for_each(|ids| ids.sort_by_key(PatientId::to_cx));
        let mut found: Vec<_> = found.iter().map(|ids| ids.iter().map(PatientId::to_cx).collect()).collect();
        found.sort();
        found
    }
}

pub fn north(id: &str) -> PatientId {
    PatientId::from_cx(&format!("{id}^^^&2.999.60.1&ISO")).unwrap()
}

pub fn west(id: &str) -> PatientId {
    PatientId::from_cx(&format!("{id}^^^&2.999.60.2&ISO")).unwrap()
}

fn person(given: &str, birth: &str) -> Demographics {
    Demographics {
        names: vec![PersonName::new("Quillfeather", &[given])],
        birth: birth.parse().ok(),
        gender: Some(Gender::Female),
        ..Demographics::default()
    }
}

pub fn add(ids: &[PatientId], given: &str, birth: &str) -> FeedRequest {
    FeedRequest::Add { ids: ids.to_vec(), demographics: Box::new(person(given, birth)) }
}

fn merge(survivor: PatientId, subsumed: PatientId) -> FeedRequest {
    FeedRequest::Merge(vec![Pair { survivor, subsumed }])
}

/// A question about cross-references with its answer.
pub type Row = (PatientId, Vec<AssigningAuthority>, Answer);

/// Asks each question in each dialect.
pub async fn check(system: &System<'_>, stage: &str, rows: &[Row]) {
    for (id, wanted, expected) in rows {
        let question = Question { id: id.clone(), wanted: wanted.clone() };
        for dialect in DIALECTS {
            let answer = in_order(system.cross_references(dialect, &question).await);
            // 3.45.4.2.2, case 4: v3 has one answer for an unknown identifier and an unknown domain.
            let expected = match (dialect, expected) {
                (Dialect::V3, Answer::Refused(Refusal::UnknownDomain)) => &Answer::Refused(Refusal::UnknownId),
                (_, expected) => expected,
            };
            assert_eq!(answer, *expected, "{stage}: {} in {dialect:?}", id.to_cx());
        }
    }
}

pub fn found(ids: &[PatientId]) -> Answer {
    in_order(Answer::found(ids.to_vec()))
}

/// Identifiers in the order of their texts: of one domain they have none.
fn in_order(mut answer: Answer) -> Answer {
    if let Answer::Found(ids) = &mut answer {
        ids.sort_by_key(PatientId::to_cx);
    }
    answer
}

#[tokio::test]
async fn whoever_feeds_and_whoever_asks_the_answers_are_the_same() {
    for feeder in DIALECTS {
        let solo = gateway().await;
        let system = System::of(&solo, feeder == Dialect::V3).await;
        let stage = |name: &str| format!("fed in {feeder:?}, {name}");
        let unknown = || Answer::Refused(Refusal::UnknownId);
        let (none, all) = (Vec::new(), Vec::new);
        let of_west = || vec![west("1").authority().clone()];

        assert!(system.feed(feeder, Event::A04, add(&[north("Q1"), west("0071")], "Ada", "19870312")).await);
        assert!(system.feed(feeder, Event::A04, add(&[north("Q2")], "Berta", "19590801")).await);
        assert!(system.feed(feeder, Event::A04, add(&[north("Q3")], "Cleo", "19590802")).await);
        let rows: [Row; 8] = [
            (north("Q1"), all(), found(&[west("0071")])),
            (north("Q1"), of_west(), found(&[west("0071")])),
            (north("Q1"), vec![north("1").authority().clone()], Answer::NothingFound),
            (west("0071"), all(), found(&[north("Q1")])),
            (north("Q2"), all(), Answer::NothingFound),
            (west("71"), all(), unknown()),
            (north("q1"), all(), unknown()),
            (PatientId::from_cx("Q1^^^&2.999.9&ISO").unwrap(), all(), Answer::Refused(Refusal::UnknownDomain)),
        ];
        check(&system, &stage("as registered"), &rows).await;
        let unknown_target = vec![AssigningAuthority::iso(&"2.999.9".parse().unwrap())];
        let refused = Answer::Refused(Refusal::UnknownWantedDomains(vec![1]));
        check(&system, &stage("as registered"), &[(north("Q1"), unknown_target, refused)]).await;
        people(&system, &stage("as registered"), &[&["Q1", "0071"], &["Q2"], &["Q3"]]).await;

        // A merge, and what is gone cannot go again.
        assert!(system.feed(feeder, Event::A40, merge(north("Q2"), north("Q1"))).await);
        for dialect in DIALECTS {
            assert!(!system.feed(dialect, Event::A40, merge(north("Q2"), north("Q1"))).await, "{dialect:?}");
            assert!(!system.feed(dialect, Event::A40, merge(north("Q2"), north("Q9"))).await, "{dialect:?}");
            assert!(!system.feed(dialect, Event::A40, merge(north("Q9"), north("Q2"))).await, "{dialect:?}");
            assert!(!system.feed(dialect, Event::A04, add(&[north("Q1")], "Ada", "19870312")).await, "{dialect:?}");
        }
        let rows: [Row; 4] = [
            (north("Q1"), all(), unknown()),
            (north("Q2"), all(), found(&[west("0071")])),
            (west("0071"), all(), found(&[north("Q2")])),
            (north("Q3"), none, Answer::NothingFound),
        ];
        check(&system, &stage("merged"), &rows).await;
        people(&system, &stage("merged"), &[&["Q2", "0071"], &["Q3"]]).await;

        // Links and their end are said in HL7 v2 alone (A24, A37); every dialect tells what came of it.
        assert!(system.feed(Dialect::V2, Event::A24, FeedRequest::Link(north("Q3"), west("0071"))).await);
        let together = [north("Q2"), north("Q3")];
        check(&system, &stage("linked"), &[(west("0071"), all(), found(&together))]).await;
        people(&system, &stage("linked"), &[&["Q2", "Q3", "0071"]]).await;
        assert!(system.feed(Dialect::V2, Event::A37, FeedRequest::Unlink(west("0071"), north("Q3"))).await);
        check(&system, &stage("unlinked"), &rows).await;
        people(&system, &stage("unlinked"), &[&["Q2", "0071"], &["Q3"]]).await;
        system.fhir.judge();
        assert_eq!(solo.gateway().identities.verify_consistency(&solo.gateway().tenant).unwrap(), []);
    }
}

/// Asks for people by what is known of them, in each dialect. `sets` are the identifiers of each person with this name.
async fn people(system: &System<'_>, stage: &str, sets: &[&[&str]]) {
    let cx = |id: &str| if id.starts_with('Q') { north(id) } else { west(id) }.to_cx();
    let mut everybody: Vec<BTreeSet<String>> = sets.iter().map(|ids| ids.iter().map(|id| cx(id)).collect()).collect();
    everybody.sort();
    let with = |id: &str| -> Vec<_> { everybody.iter().filter(|ids| ids.contains(&cx(id))).cloned().collect() };
    let by = |family: &str, given: &[&str], birth: &str| PatientQuery {
        person: Demographics {
            names: if family.is_empty() { Vec::new() } else { vec![PersonName::new(family, given)] },
            birth: birth.parse().ok(),
            ..Demographics::default()
        },
        ..PatientQuery::default()
    };
    let by_id = |id: PatientId| PatientQuery { ids: vec![id], ..PatientQuery::default() };
    let both = [with("Q2"), with("Q3")].concat().into_iter().collect::<BTreeSet<_>>();
    for (query, in_fhir, expected) in [
        (by("QUILL*", &[], ""), "family=quill", everybody.clone()),
        (by("Quillfeather", &["Cleo"], "19590802"), "family=Quillfeather&given=Cleo&birthdate=1959-08-02", with("Q3")),
        (by("Quillfeather", &["Cleo"], ""), "family=Quillfeather&given=Cleo", with("Q3")),
        (by("Quillfeather", &["Ada"], ""), "family=Quillfeather&given=Ada", with("0071")),
        (by("*FEATHER", &[], "1959"), "family:contains=feather&birthdate=1959", both.into_iter().collect()),
        (by("Zzyx", &[], ""), "family=Zzyx", Vec::new()),
        (by_id(north("Q2")), "identifier=urn:oid:2.999.60.1|Q2", with("Q2")),
        (by_id(north("Q1")), "identifier=urn:oid:2.999.60.1|Q1", with("Q1")),
        (by_id(west("0071")), "identifier=urn:oid:2.999.60.2|0071", with("0071")),
        (by_id(west("71")), "identifier=urn:oid:2.999.60.2|71", Vec::new()),
    ] {
        for dialect in DIALECTS {
            let found = system.people(dialect, &query, in_fhir).await;
            assert_eq!(found, expected, "{stage}: {in_fhir} in {dialect:?}");
        }
    }
}

/// Leading zeros, what means something in one of the dialects, and what is no ASCII.
const DIFFICULT: [&str; 14] = [
    "00042",
    "0",
    "a|b",
    "a^b",
    "a&b~c",
    "a\\b",
    "a\\T\\b",
    "a,b$c",
    "100%25+x y",
    "<&\"'>",
    "ключ-7",
    "病歴001",
    "Ångström's",
    "a/b?c#d=e;f",
];

#[tokio::test]
async fn identifiers_come_back_as_they_were_sent_whatever_the_dialects() {
    let solo = gateway().await;
    let system = System::of(&solo, false).await;
    for (at, id) in DIFFICULT.iter().enumerate() {
        for feeder in DIALECTS {
            let (own, other) = (format!("{id}{feeder:?}"), format!("{id}-{feeder:?}"));
            let ids = [PatientId::new(&own, north("1").authority().clone()).unwrap()];
            let ids = [&ids[..], &[PatientId::new(&other, west("1").authority().clone()).unwrap()]].concat();
            assert!(
                system.feed(feeder, Event::A04, add(&ids, &format!("Person{at}"), "1980")).await,
                "{id} {feeder:?}"
            );
            let row: Row = (ids[0].clone(), Vec::new(), found(&ids[1..]));
            check(&system, &format!("{id} in {feeder:?}"), &[row]).await;
        }
    }
    system.fhir.judge();
}
