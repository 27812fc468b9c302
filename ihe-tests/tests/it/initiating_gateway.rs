//! ITI-18 and ITI-43 towards our own consumers: what the hospital's systems get of other communities through its
//! gateway, and what a Responding Gateway answers that offers neither deferred answers nor patient location.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway::app::Running;
use causeway::directory::{self, Partner, ServiceUrl};
use causeway::ebxml::{ReturnType, Status};
use causeway::hl7v3::ack::{AckType, AcknowledgementMessage};
use causeway::hl7v3::datatype::Ii;
use causeway::hl7v3::wrapper::{Device, Wrapper};
use causeway::id::{Clock, Code, HomeCommunityId, PatientId, Transaction as Iti};
use causeway::metadata::query::{ContentFilter, FindDocuments, Selector};
use causeway::metadata::{Availability, DocumentKind};
use causeway::net::dial::{Dialer, Settings};
use causeway::routing::call::{CallError, Errand, Letter, Ourselves, SoapClient};
use causeway::routing::package::Attachments;
use causeway::sandbox::Sandbox;
use causeway::sandbox::samples::Community;
use causeway::trust::{Tls, Trust, subject_of};
use causeway::xcpd::{discovery, location};
use causeway::xds::stored_query::{Query, Request, Response};
use causeway::xds::{registry, retrieval, retrieve};
use causeway::xml::signature::SigningKey;
use causeway::xml::{Element, Limits};

/// A document system of the hospital.
struct Consumer {
    client: SoapClient,
    hospital: Partner,
    base: String,
}

impl Consumer {
    fn new(folder: &Path, hospital: &Running) -> Self {
        let system = folder.join("document-source");
        let (certificate, key_file) = (system.join("source.pem"), system.join("source.key"));
        let pem = std::fs::read(&certificate).unwrap();
        let key = SigningKey::from_pem(&std::fs::read(&key_file).unwrap(), &pem).unwrap();
        let trust = Trust::open(&system.join("trust-store"), std::collections::BTreeMap::new()).unwrap();
        let tls = Tls::open(trust, &certificate, &key_file).unwrap();
        let ourselves = Ourselves {
            home: home(Community::Hospital),
            organization: "Ward documents".into(),
            organization_id: format!("urn:oid:{}", Community::Hospital.oid()).into(),
            npi: None,
            tin: None,
            issuer: subject_of(key.certificate_der()).into(),
        };
        let dialer = Dialer::new(Settings::default(), Clock::system(), tls);
        let limits = (Limits::default(), Duration::from_secs(300), 64 << 20);
        let entry = format!(
            "name = \"Hospital\"\nnetwork = \"local\"\nkind = \"local\"\nhome_community_id = \"urn:oid:{}\"\nresponds = false\n",
            Community::Hospital.oid()
        );
        let (partner, problems) = directory::read(Path::new("hospital.toml"), &entry);
        assert!(problems.is_empty(), "{problems:?}");
        Self {
            client: SoapClient::new(Arc::new(dialer), Arc::new(key), ourselves, Clock::system(), limits),
            hospital: partner.unwrap(),
            base: format!("https://localhost:{}", hospital.https.port()),
        }
    }

    async fn call<T>(
        &self,
        service: &str,
        (transaction, action): (Iti, &'static str),
        body: String,
        read: impl FnOnce(Element<'_>) -> T,
    ) -> Result<(T, Attachments), CallError> {
        let url: ServiceUrl = format!("{}/{service}", self.base).parse().unwrap();
        let errand = Errand {
            user: "ward.seven@hospital.example.org".into(),
            role: Code::new("112247003", "2.16.840.1.113883.6.96", "Medical doctor"),
            purpose: "T-TRTMNT".parse().unwrap(),
        };
        let letter = Letter {
            transaction,
            action,
            body,
            headers: String::new(),
            mtom: transaction == Iti::Iti43,
            documents: Vec::new(),
            patient: None,
        };
        self.client.send(&self.hospital, &url, letter, &errand, |body| Ok(read(body))).await
    }

    async fn query(&self, service: &str, request: &Request) -> Response {
        let transaction = (Iti::Iti18, registry::QUERY_ACTION);
        let read = |body: Element<'_>| Response::decode(body, request.return_type).unwrap();
        self.call(service, transaction, request.encode(), read).await.unwrap().0
    }

    /// The answer, with the bytes of each attachment.
    async fn retrieve(&self, service: &str, request: &retrieve::Request) -> (retrieve::Response, Vec<Vec<u8>>) {
        let transaction = (Iti::Iti43, retrieval::ACTION);
        let read = |body: Element<'_>| retrieve::Response::decode(body, request).unwrap();
        let (response, mut attachments) = self.call(service, transaction, request.encode(), read).await.unwrap();
        let mut documents = Vec::new();
        while attachments.next_part().await.unwrap().is_some() {
            let mut document = Vec::new();
            while let Some(piece) = attachments.next_piece().await.unwrap() {
                document.extend_from_slice(&piece);
            }
            documents.push(document);
        }
        (response, documents)
    }
}

fn find(patient: &PatientId) -> Request {
    Request::new(Query::FindDocuments(FindDocuments {
        patients: vec![patient.clone()],
        statuses: vec![Availability::Approved],
        contents: ContentFilter {
            kinds: vec![DocumentKind::Stable, DocumentKind::OnDemand],
            ..ContentFilter::default()
        },
        ..FindDocuments::default()
    }))
}

fn homes(response: &Response) -> Vec<HomeCommunityId> {
    let mut homes: Vec<_> = response.objects.iter().map(|object| object.home().unwrap().clone()).collect();
    homes.sort_unstable();
    homes.dedup();
    homes
}

fn codes(response: &Response) -> Vec<&str> {
    response.errors.iter().map(|error| error.code.as_str()).collect()
}

fn home(community: Community) -> HomeCommunityId {
    format!("urn:oid:{}", community.oid()).parse().unwrap()
}

/// ITI TF-2: 3.18.4.1.3, 3.38.4.1.3, 3.39.4.1.3, 3.43.4.1.3; NIST testkit 15808 to 15815.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_the_documents_of_all_communities_as_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(&folder.path().join("sandbox")).await.unwrap();
    sandbox.load().await.unwrap();
    let consumer = Consumer::new(&sandbox.folder, &sandbox.hospital);
    let everywhere = sandbox.hospital_patients()[0].at(Community::Hospital).unwrap();
    let cx = format!("{}^^^&{}&ISO", everywhere.local_id, Community::Hospital.patient_domain());
    let patient = PatientId::from_cx(&cx).unwrap();

    // The union, each object with its community, under the identifiers that are valid there.
    let all = consumer.query("InitiatingGateway", &find(&patient)).await;
    assert_eq!((all.status(), codes(&all)), (Status::Success, vec![]), "{:?}", all.errors);
    let known = homes(&all);
    assert!(known.contains(&home(Community::Valley)) && known.contains(&home(Community::Harbor)), "{known:?}");
    assert!(all.documents().all(|entry| entry.patient_id.as_ref() != Some(&patient)));

    // References alone, of one community alone.
    let mut one = find(&patient);
    one.home = Some(home(Community::Valley));
    one.return_type = ReturnType::ObjectRef;
    let one = consumer.query("InitiatingGateway", &one).await;
    assert_eq!(homes(&one), [home(Community::Valley)]);
    let mut listed = find(&patient);
    listed.target_communities = vec![home(Community::Harbor)];
    assert_eq!(homes(&consumer.query("InitiatingGateway", &listed).await), [home(Community::Harbor)]);

    // The registry itself looks at home only.
    assert!(consumer.query("DocumentRegistry", &find(&patient)).await.objects.is_empty());

    let documents: Vec<retrieve::DocumentId> = all
        .documents()
        .map(|entry| retrieve::DocumentId {
            home: entry.home.clone(),
            repository: entry.repository.clone().unwrap(),
            document: entry.unique_id.clone(),
        })
        .collect();
    let wanted = retrieve::Request { documents };
    let (answer, contents) = consumer.retrieve("InitiatingGateway", &wanted).await;
    assert_eq!(answer.status(), Status::Success, "{:?}", answer.errors);
    assert_eq!((answer.documents.len(), contents.len()), (wanted.documents.len(), wanted.documents.len()));
    assert!(answer.documents.iter().all(|document| wanted.documents.contains(&document.id)));
    let mut sizes: Vec<u64> = all.documents().filter_map(|entry| entry.size).collect();
    let mut came: Vec<u64> = contents.iter().map(|content| content.len() as u64).collect();
    sizes.sort_unstable();
    came.sort_unstable();
    assert_eq!(sizes, came);

    // Without its community a document is nobody's, and the repository here has none of them.
    let nameless = retrieve::DocumentId { home: None, ..wanted.documents[0].clone() };
    let nameless = retrieve::Request { documents: vec![nameless] };
    for (service, code) in
        [("InitiatingGateway", "XDSMissingHomeCommunityId"), ("DocumentRepository", "XDSUnknownRepositoryId")]
    {
        let (answer, _) = consumer.retrieve(service, &nameless).await;
        assert_eq!((answer.status(), answer.errors[0].code.as_str()), (Status::Failure, code));
    }
    let mut by_id = Request::new(Query::GetDocuments(Selector::UniqueIds(vec![wanted.documents[0].document.clone()])));
    assert_eq!(codes(&consumer.query("InitiatingGateway", &by_id).await), ["XDSMissingHomeCommunityId"]);
    by_id.home = Some("urn:oid:2.999.404".parse().unwrap());
    assert_eq!(codes(&consumer.query("InitiatingGateway", &by_id).await), ["XDSUnknownCommunity"]);
    by_id.home = wanted.documents[0].home.clone();
    assert_eq!(consumer.query("InitiatingGateway", &by_id).await.documents().count(), 1);

    // One community down: the others' documents, and an error that names it.
    let Sandbox { valley, hospital, hub, .. } = sandbox;
    valley.stop().await;
    let rest = consumer.query("InitiatingGateway", &find(&patient)).await;
    assert_eq!((rest.status(), codes(&rest)), (Status::PartialSuccess, vec!["XDSUnavailableCommunity"]));
    assert!(rest.errors[0].context.contains(Community::Valley.oid()), "{}", rest.errors[0].context);
    assert!(!homes(&rest).contains(&home(Community::Valley)) && !homes(&rest).is_empty());
    let (answer, contents) = consumer.retrieve("InitiatingGateway", &wanted).await;
    assert_eq!(answer.status(), Status::PartialSuccess);
    assert_eq!(answer.documents.len() + answer.errors.len(), wanted.documents.len());
    assert_eq!(answer.documents.len(), contents.len());
    assert!(answer.errors.iter().all(|error| error.code.as_str() == "XDSUnavailableCommunity"));

    check_what_is_not_offered(&consumer).await;
    tokio::join!(hospital.stop(), hub.stop());
}

/// ITI TF-2: 3.55.6.2 and 3.56.4.2.2.
async fn check_what_is_not_offered(consumer: &Consumer) {
    let gateway = Device::gateway(&home(Community::Hospital));
    let wrapper = Wrapper::new(Ii::new("2.999.9", "later"), Clock::system().now(), gateway.clone(), gateway);
    let mut request = discovery::Request::new(wrapper, Ii::new("2.999.9", "q"), discovery::Parameters::default());
    request.priority = discovery::Priority::Deferred;
    let deferred = (Iti::Iti55, discovery::ACTION_DEFERRED);
    let read = |body: Element<'_>| AcknowledgementMessage::decode(body).unwrap();
    let (ack, _) = consumer.call("RespondingGatewayXCPD", deferred, request.encode(), read).await.unwrap();
    assert_eq!(ack.acknowledgement.kind, AckType::Error);
    assert_eq!(ack.acknowledgement.target, Ii::new("2.999.9", "later"));
    assert_eq!(ack.acknowledgement.details[0].code, "NS250");

    let asked = location::Request { patient_id: PatientId::from_cx("1^^^&2.999.9&ISO").unwrap() };
    let locate = (Iti::Iti56, location::ACTION);
    let answer = consumer.call("RespondingGatewayXCPD", locate, asked.encode(), |_| ()).await;
    let Err(CallError::Fault(fault)) = answer else { panic!("no fault") };
    assert!(fault.reason.starts_with(&location::Refusal::NotALocator.to_string()), "{}", fault.reason);
}
