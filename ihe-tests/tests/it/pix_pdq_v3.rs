//! ITI-44, ITI-45 and ITI-47 over SOAP beside ITI-9 and ITI-21 over MLLP, at one gateway: one cross-reference, so both
//! dialects answer alike, before and after a merge.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway::directory::{self, Partner, ServiceUrl};
use causeway::hl7v2::query::Asked;
use causeway::hl7v2::{self, Deframer, Hd, Header, mllp};
use causeway::hl7v3::ack::AcknowledgementMessage;
use causeway::hl7v3::datatype::Ii;
use causeway::hl7v3::wrapper::{Device, Wrapper};
use causeway::id::{
    AssigningAuthority, Clock, Code, Demographics, Domains, NhinPurpose, PatientId, PersonName, Transaction as Iti,
};
use causeway::net::dial::{Dialer, Settings};
use causeway::pdq::answer::{self, Answer as Found, Match};
use causeway::pdq::criteria::PatientQuery;
use causeway::pdq::query_v3::{Continuation, Step};
use causeway::pdq::{query_v2 as pdq_v2, query_v3 as pdq_v3};
use causeway::pix::feed_v2::{FeedRequest, Pair};
use causeway::pix::question::{Answer, Question, Refusal};
use causeway::pix::{feed_v3, query_v2, query_v3};
use causeway::routing::call::{Errand, Letter, Ourselves, SoapClient};
use causeway::sandbox::{Sandbox, Site, samples::Community};
use causeway::trust::{Tls, Trust, subject_of};
use causeway::xml::Element;
use causeway::xml::signature::SigningKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One of our own systems, which speaks both dialects with the hub.
struct System {
    client: SoapClient,
    hub: Arc<Partner>,
    url: String,
    mllp: SocketAddr,
    domains: Domains,
}

impl System {
    fn of(sandbox: &Sandbox) -> Self {
        let home = sandbox.folder.join("document-source");
        let trust = Trust::open(&home.join("trust-store"), BTreeMap::new()).unwrap();
        let (certificate, key) = (home.join("source.pem"), home.join("source.key"));
        let tls = Tls::open(trust, &certificate, &key).unwrap();
        let key = SigningKey::from_pem(&std::fs::read(&key).unwrap(), &std::fs::read(&certificate).unwrap()).unwrap();
        let community: causeway::id::HomeCommunityId = format!("urn:oid:{}", Site::Hub.oid()).parse().unwrap();
        let ourselves = Ourselves {
            organization_id: community.to_string().into(),
            home: community,
            organization: "Registration".into(),
            npi: None,
            tin: None,
            issuer: subject_of(key.certificate_der()).into(),
        };
        let clock = Clock::system();
        let dialer = Dialer::new(Settings::default(), clock.clone(), tls);
        let limits = (causeway::xml::Limits::default(), Duration::from_secs(300), 64 << 20);
        let file = home.join("hub.toml");
        let (hub, problems) = directory::read(&file, &std::fs::read_to_string(&file).unwrap());
        let hub = hub.unwrap_or_else(|| panic!("{problems:?}"));
        let url = hub.url(Iti::Iti41).unwrap().uri().to_string();
        Self {
            client: SoapClient::new(Arc::new(dialer), Arc::new(key), ourselves, clock, limits),
            hub: Arc::new(hub),
            url: url.replace("/DocumentRepository", ""),
            mllp: sandbox.hub.mllp[0],
            domains: sandbox.hub.gateway.domains.clone(),
        }
    }

    async fn soap<T>(
        &self,
        (transaction, service, action): (Iti, &str, &'static str),
        body: String,
        read: impl FnOnce(Element<'_>) -> T,
    ) -> T {
        let letter = Letter {
            transaction,
            action,
            body,
            headers: String::new(),
            mtom: false,
            documents: Vec::new(),
            patient: None,
        };
        let errand = Errand {
            user: "registration.bayside.example.org".into(),
            role: Code::new("224608005", "2.16.840.1.113883.6.96", "Administrative healthcare staff"),
            purpose: NhinPurpose::Treatment.into(),
        };
        let url: ServiceUrl = format!("{}/{service}", self.url).parse().unwrap();
        self.client.send(&self.hub, &url, letter, &errand, |element| Ok(read(element))).await.unwrap().0
    }

    /// Whether a feed was accepted.
    async fn feed(&self, change: FeedRequest) -> bool {
        let request = feed_v3::Request { wrapper: wrapper(), custodian: Ii::root("2.999.6"), change };
        let action = match request.interaction().unwrap() {
            feed_v3::Interaction::Add => "urn:hl7-org:v3:PRPA_IN201301UV02",
            feed_v3::Interaction::Revise => "urn:hl7-org:v3:PRPA_IN201302UV02",
            feed_v3::Interaction::Merge => "urn:hl7-org:v3:PRPA_IN201304UV02",
        };
        let body = request.encode(&self.domains).unwrap();
        let answer =
            self.soap((Iti::Iti44, "PIXManager", action), body, |body| AcknowledgementMessage::decode(body).unwrap());
        answer.await.acknowledgement.kind.is_accepted()
    }

    async fn asked_in_v3(&self, question: &Question) -> Answer {
        let request = query_v3::Request::new(wrapper(), Ii::new("2.999.6", "q"), question.clone());
        let names = (Iti::Iti45, "PIXManager", "urn:hl7-org:v3:PRPA_IN201309UV02");
        self.soap(names, request.encode(&self.domains), |body| {
            query_v3::Response::decode(body, &self.domains).unwrap().answer
        })
        .await
    }

    async fn asked_in_v2(&self, question: &Question) -> Answer {
        let asked = Asked { tag: "tag".into(), echo: String::new() };
        let request = query_v2::Request { header: header(), asked, question: question.clone() };
        let answer = self.exchange(&request.encode(&self.domains)).await;
        query_v2::Response::decode(&answer, &self.domains).unwrap().answer
    }

    async fn people_in_v2(&self, request: &pdq_v2::Request) -> Found {
        let answer = self.exchange(&request.encode(&self.domains)).await;
        pdq_v2::Response::decode(&answer, &self.domains).unwrap().answer
    }

    async fn people_in_v3(&self, body: String, action: &'static str) -> Found {
        let names = (Iti::Iti47, "PDSupplier", action);
        self.soap(names, body, |body| pdq_v3::Response::decode(body, &self.domains).unwrap().answer).await
    }

    async fn exchange(&self, message: &[u8]) -> hl7v2::Message {
        let mut stream = TcpStream::connect(self.mllp).await.unwrap();
        stream.write_all(&mllp::frame(message)).await.unwrap();
        let mut deframer = Deframer::new(mllp::Limits::default());
        let mut piece = [0; 4096];
        loop {
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "the connection was closed without an answer");
            deframer.push(&piece[..count]);
            if let Some(answer) = deframer.next().unwrap() {
                return hl7v2::Message::parse(&answer, &hl7v2::Limits::default()).unwrap();
            }
        }
    }
}

fn wrapper() -> Wrapper {
    let device = |oid: &str| Device { id: Ii::root(oid), ..Device::default() };
    let id = Ii::new("2.999.6", &uuid());
    Wrapper::new(id, Clock::system().now(), device("2.999.6"), device("2.999.1.9"))
}

fn uuid() -> String {
    causeway::id::TraceId::new().to_string()
}

fn header() -> Header {
    Header {
        sending_application: Hd::named("ADT"),
        sending_facility: Hd::named("HARBOR"),
        receiving_application: Hd::named("CAUSEWAY"),
        receiving_facility: Hd::named("HUB"),
        control_id: uuid()[12..].into(),
        processing_id: "P".into(),
        version: "2.5".into(),
        ..Header::default()
    }
}

fn harbor(id: &str) -> PatientId {
    PatientId::from_cx(&format!("{id}^^^&{}&ISO", Community::Harbor.patient_domain())).unwrap()
}

fn summit(id: &str) -> PatientId {
    PatientId::from_cx(&format!("{id}^^^&{}&ISO", Community::Summit.patient_domain())).unwrap()
}

fn person(given: &str, birth: &str) -> Box<Demographics> {
    Box::new(Demographics {
        names: vec![PersonName::new("Quillfeather", &[given])],
        birth: birth.parse().ok(),
        ..Demographics::default()
    })
}

fn allow_feeds(partners: &Path) {
    let file = partners.join("documents.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let domains = [Community::Harbor, Community::Summit].map(|one| format!("{:?}", one.patient_domain()));
    std::fs::write(&file, format!("{text}assigning_authorities = [{}]\n", domains.join(", "))).unwrap();
}

#[tokio::test]
async fn both_dialects_answer_alike_before_and_after_a_merge() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(&folder.path().join("sandbox")).await.unwrap();
    let system = System::of(&sandbox);
    let add = |ids: Vec<PatientId>, demographics| FeedRequest::Add { ids, demographics };

    // 3.44.4.1.3: a system feeds the domains of its directory entry, and no others.
    assert!(!system.feed(add(vec![harbor("Q1")], person("Ada", "19870312"))).await);
    let partners = sandbox.folder.join("hub/partners");
    allow_feeds(&partners);
    sandbox.hub.gateway.directory.reload(&partners).unwrap();
    assert!(system.feed(add(vec![harbor("Q1"), summit("Q7")], person("Ada", "19870312"))).await);
    assert!(system.feed(add(vec![harbor("Q2")], person("Berta", "19590801"))).await);

    let all = || Vec::<AssigningAuthority>::new();
    let ask = |id: PatientId, wanted: Vec<AssigningAuthority>| Question { id, wanted };
    let table = |merged: bool| {
        let unknown = || Answer::Refused(Refusal::UnknownId);
        let (of_q1, of_q2, of_q7) = if merged {
            (unknown(), Answer::Found(vec![summit("Q7")]), Answer::Found(vec![harbor("Q2")]))
        } else {
            (Answer::Found(vec![summit("Q7")]), Answer::NothingFound, Answer::Found(vec![harbor("Q1")]))
        };
        [
            (ask(harbor("Q1"), all()), of_q1),
            (ask(harbor("Q2"), all()), of_q2),
            (ask(summit("Q7"), vec![harbor("Q1").authority().clone()]), of_q7),
            (ask(summit("Q7"), vec![summit("Q7").authority().clone()]), Answer::NothingFound),
            (ask(harbor("Q9"), all()), unknown()),
        ]
    };
    for merged in [false, true] {
        if merged {
            let pair = Pair { survivor: harbor("Q2"), subsumed: harbor("Q1") };
            assert!(system.feed(FeedRequest::Merge(vec![pair.clone()])).await);
            // What is gone cannot go again.
            assert!(!system.feed(FeedRequest::Merge(vec![pair])).await);
        }
        for (question, expected) in table(merged) {
            assert_eq!(system.asked_in_v2(&question).await, expected, "v2, merged {merged}: {question:?}");
            assert_eq!(system.asked_in_v3(&question).await, expected, "v3, merged {merged}: {question:?}");
        }
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn demographics_queries_find_the_same_people_in_both_dialects_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(&folder.path().join("sandbox")).await.unwrap();
    let partners = sandbox.folder.join("hub/partners");
    allow_feeds(&partners);
    sandbox.hub.gateway.directory.reload(&partners).unwrap();
    let system = System::of(&sandbox);
    for (id, given, birth) in
        [("Q1", "Ada", "19870312"), ("Q2", "Berta", "19590801"), ("Q3", "Cleo", "19590802"), ("Q4", "Dora", "1960")]
    {
        let (ids, demographics) = (vec![harbor(id)], person(given, birth));
        assert!(system.feed(FeedRequest::Add { ids, demographics }).await, "{id}");
    }
    let by = |names: &[PersonName], birth: &str| PatientQuery {
        person: Demographics { names: names.to_vec(), birth: birth.parse().ok(), ..Demographics::default() },
        ..PatientQuery::default()
    };
    let named = |given: &str| vec![PersonName::new("Quillfeather", &[given])];
    let v2 = |query: &PatientQuery| pdq_v2::Request {
        header: header(),
        kind: pdq_v2::Kind::Demographics,
        asked: Asked { tag: "tag1".into(), echo: String::new() },
        query: query.clone(),
        wanted: Vec::new(),
        quantity: None,
        continues: None,
    };
    let v3 = |query: &PatientQuery| {
        pdq_v3::Request::new(wrapper(), Ii::new("2.999.6", "query-1"), query.clone(), Vec::new())
    };
    let ids = |found: &Found| -> Vec<String> {
        let told = |one: &Match| one.ids.iter().map(|id| id.id().to_owned()).collect::<Vec<_>>().join("+");
        match found {
            Found::Found(page) => page.matches.iter().map(told).collect(),
            Found::NothingFound => Vec::new(),
            Found::Refused(refusal) => vec![refusal.to_string()],
        }
    };
    for (query, expected) in [
        (by(&named("Ada"), "19870312"), &["Q1"][..]),
        (by(&named("Ada"), ""), &["Q1"]),
        (by(&[PersonName::new("QUILL*", &[])], ""), &["Q1", "Q2", "Q3", "Q4"]),
        (by(&[PersonName::new("QUILL*", &[])], "1959"), &["Q2", "Q3"]),
        (by(&[PersonName::new("Quilfeather", &["Adah"])], ""), &["Q1"]),
        (by(&[PersonName::new("Zzyx", &[])], ""), &[]),
        (PatientQuery { ids: vec![harbor("Q3")], ..PatientQuery::default() }, &["Q3"]),
        (PatientQuery { ids: vec![harbor("Q9")], ..PatientQuery::default() }, &[]),
    ] {
        let in_v2 = system.people_in_v2(&v2(&query)).await;
        let in_v3 = system.people_in_v3(v3(&query).encode(&system.domains), "urn:hl7-org:v3:PRPA_IN201305UV02").await;
        assert_eq!(ids(&in_v2), expected, "v2");
        assert_eq!(ids(&in_v3), expected, "v3");
    }

    // 3.21.4.1.2.4: page by page with the pointer, until the query is cancelled.
    let everybody = by(&[PersonName::new("QUILL*", &[])], "");
    let first = pdq_v2::Request { quantity: Some(3), ..v2(&everybody) };
    let Found::Found(page) = system.people_in_v2(&first).await else { panic!("nobody") };
    assert_eq!(page.matches.len(), 3);
    let second = pdq_v2::Request { header: header(), continues: page.next.clone(), ..first.clone() };
    for _ in 0..2 {
        let Found::Found(rest) = system.people_in_v2(&second).await else { panic!("nobody") };
        assert_eq!((rest.matches.len(), rest.next), (1, None), "a page can be asked for again");
    }
    let cancel = pdq_v2::Cancel { header: header(), tag: "tag1".into() };
    let answer = system.exchange(&cancel.encode()).await;
    assert_eq!(answer.field("MSA", 1).text(), "AA");
    let gone = system.people_in_v2(&second).await;
    assert_eq!(gone, Found::Refused(answer::Refusal::UnknownContinuation));

    // 3.47.4.3: by number, until the query is cancelled.
    let mut first = v3(&everybody);
    first.quantity = Some(1);
    let found = system.people_in_v3(first.encode(&system.domains), "urn:hl7-org:v3:PRPA_IN201305UV02").await;
    let Found::Found(page) = found else { panic!("nobody") };
    assert_eq!((page.matches.len(), page.total, page.remaining), (1, Some(4), Some(3)));
    let step =
        |step| Continuation { wrapper: wrapper(), target: Ii::root("2.999"), query_id: first.query_id.clone(), step };
    let next = |start, quantity| step(Step::Continue { start, quantity }).encode();
    let action = "urn:hl7-org:v3:QUQI_IN000003UV01_Continue";
    assert_eq!(ids(&system.people_in_v3(next(None, Some(2)), action).await), ["Q2", "Q3"]);
    assert_eq!(ids(&system.people_in_v3(next(None, None), action).await), ["Q4"]);
    assert_eq!(ids(&system.people_in_v3(next(Some(1), Some(1)), action).await), ["Q1"]);
    let names = (Iti::Iti47, "PDSupplier", "urn:hl7-org:v3:QUQI_IN000003UV01_Cancel");
    let cancelled = system.soap(names, step(Step::Cancel).encode(), |body| {
        AcknowledgementMessage::decode(body).unwrap().acknowledgement.kind.is_accepted()
    });
    assert!(cancelled.await);
    let gone = system.people_in_v3(next(None, None), action).await;
    assert_eq!(gone, Found::Refused(answer::Refusal::UnknownContinuation));
    sandbox.stop().await;
}
