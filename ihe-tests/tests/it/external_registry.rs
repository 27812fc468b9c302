//! A gateway in front of a registry and a repository that the community has already: it asks them for other communities,
//! and passes on what it is given. The registry behind is a second gateway.

use causeway::app::{App, Running};
use causeway::config;
use causeway::id::{Clock, RepositoryId};
use causeway::metadata::Submission;
use causeway::xca::query::Response as Found;
use causeway::xca::responding_gateway::{QUERY_ACTION as CROSS_QUERY, RETRIEVE_ACTION as CROSS_RETRIEVE};
use causeway::xds::register::Request;
use causeway::xds::registration::REGISTER_ACTION;
use causeway::xds::registry::QUERY_ACTION;
use causeway::xds::repository::{PROVIDE_ACTION, keep};
use causeway::xds::retrieval::ACTION as RETRIEVE_ACTION;
use causeway::xds::stored_query::ReturnType;
use ihe_tests::harness::samples::{self, Document, find_documents, patient};
use ihe_tests::harness::scenarios::{Runner, told};
use ihe_tests::harness::world::{SOLO_PARTNER, SOLO_REPOSITORY, SOLO_URL, Solo};
use ihe_tests::harness::{Answer, Feed, Fhir, Letter, Trail, letter::treatment};

const DOMAIN: &str = "2.999.60.1";
/// The home of the gateway in front.
const HOME: &str = "urn:oid:2.999.70";
const OWN_REPOSITORY: &str = "2.999.70.9";

/// The gateway in front, and the one behind it.
struct Both {
    front: Running,
    behind: Runner,
}

impl Both {
    async fn start() -> Self {
        let domain = format!("[[domains]]\nname = \"Suite\"\nnamespace = \"SUITE\"\noid = \"{DOMAIN}\"\n");
        let common = format!("{domain}[[sources]]\nname = \"any\"\naddresses = [\"127.0.0.1\"]\n");
        let solo = Solo::start(&common).await;
        let ground = &solo.ground;
        ground.certify("front");
        let entry = |name: &str, home: &str| {
            format!("name = \"{name}\"\nnetwork = \"local\"\nkind = \"local\"\nhome_community_id = \"{home}\"\n")
        };
        let front = entry("Front", HOME) + "responds = false\n";
        ground.write("partners/front.toml", &front);
        solo.gateway().directory.reload(&ground.at("partners")).unwrap();
        let partner = std::fs::read_to_string(ground.at("partners/partner.toml")).unwrap();
        ground.write("front-partners/partner.toml", &partner);
        let (port, url) = (solo.running.https.port(), |service: &str| format!("https://localhost:{{port}}/{service}"));
        let url = |service: &str| url(service).replace("{port}", &port.to_string());
        let behind = format!(
            "{}initiates = false\n[urls]\n\"iti-18\" = \"{registry}\"\n\"iti-42\" = \"{registry}\"\n\
             \"iti-41\" = \"{repository}\"\n\"iti-43\" = \"{repository}\"\n[quirks]\naudience = \"{SOLO_URL}\"\n",
            entry("Behind", "urn:oid:2.999.60"),
            registry = url("DocumentRegistry"),
            repository = url("DocumentRepository"),
        );
        ground.write("front-partners/behind.toml", &behind);
        let client = "[[fhir_clients]]\nname = \"portal\"\nnetwork = \"local\"\n\
                      certificate_name = \"partner.example.org\"\npurpose = \"TREATMENT\"\nfind_documents = true\n";
        let configuration = format!(
            "partners = \"front-partners\"\n[store]\nfolder = \"front-data\"\n\
             [tls]\ncertificate = \"certificates/front.pem\"\nkey = \"certificates/front.key\"\n\
             [community]\nname = \"Front\"\nhome_community_id = \"{HOME}\"\nrepository_id = \"{OWN_REPOSITORY}\"\n\
             [listen]\nhttps = \"127.0.0.1:0\"\npublic_url = \"{SOLO_URL}\"\n\
             [[listen.mllp]]\naddress = \"127.0.0.1:0\"\ntls = false\n\
             [documents.external]\nregistry = \"behind\"\nsubmissions = \"behind\"\n\
             [documents.external.repositories]\n\"{SOLO_REPOSITORY}\" = \"behind\"\n{common}{client}"
        );
        ground.write("front.toml", &configuration);
        let settings = config::load(&ground.at("front.toml")).unwrap_or_else(|problems| panic!("{problems:?}"));
        let front = App::open(settings, Clock::system()).unwrap().serve().await.unwrap();
        Self { front, behind: Runner { solo } }
    }

    /// A patient whom both know.
    async fn patient(&self) -> String {
        let cx = self.behind.patient(DOMAIN).await;
        let message = format!(
            "MSH|^~\\&|ADT|SUITE|||20261122||ADT^A04^ADT_A01|{}|P|2.3.1\rEVN|A04|20261122\rPID|||{cx}||Suite^Patient\r\
             PV1||O\r",
            &samples::fresh_oid()[25..]
        );
        let told = Feed::open(self.front.mllp[0]).await.ask(message.as_bytes()).await;
        assert_eq!(told.code.code(), "AA", "{}", told.text);
        cx
    }

    async fn ask(&self, service: &str, action: &str, body: String) -> (Answer, Vec<String>) {
        let letter = Letter::new(action, &format!("{SOLO_URL}/{service}"), body, SOLO_PARTNER, treatment());
        let (client, path) = (&self.behind.solo.client, format!("/{service}"));
        let answer = match action {
            RETRIEVE_ACTION | CROSS_RETRIEVE => client.ask_mtom(self.front.https, &path, &letter, &[]).await,
            _ => client.ask(self.front.https, &path, &letter).await,
        };
        (answer, Trail::of(&self.front.gateway).lines(letter.user()))
    }

    /// Gives a document to one of the two.
    async fn provide(&self, front: bool, cx: &str, content: &[u8]) -> (Submission, Answer) {
        let document = [Document::new("text/plain", content)];
        let submission = samples::submission(&patient(cx), &document);
        let letter =
            self.behind.solo.letter("DocumentRepository", PROVIDE_ACTION, samples::provide(submission.clone()));
        let to = if front { self.front.https } else { self.behind.solo.running.https };
        let parts = samples::attachments(&document);
        (submission, self.behind.solo.client.ask_mtom(to, "/DocumentRepository", &letter, &parts).await)
    }
}

fn found(answer: &Answer) -> Vec<(String, String)> {
    let response = answer.body(|body| Found::decode(body, ReturnType::LeafClass).unwrap());
    let place = |entry: &causeway::metadata::DocumentEntry| {
        let home = entry.home.as_ref().map(ToString::to_string).unwrap_or_default();
        (home, entry.repository.as_ref().unwrap().to_string())
    };
    response.documents().map(place).collect()
}

fn attached(answer: &Answer) -> Vec<String> {
    let package = answer.package.as_ref().unwrap();
    package.parts.iter().map(|part| String::from_utf8_lossy(&part.content).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_communities_are_answered_from_the_registry_behind() {
    let both = Both::start().await;
    let cx = both.patient().await;
    let (submission, answer) = both.provide(false, &cx, b"kept behind").await;
    assert_eq!(told(&answer), "Success");
    let unique_id = submission.entries[0].unique_id.as_str();

    // Found with our own home, in the repository that has it.
    let query = find_documents(patient(&cx), Some(HOME)).encode();
    let (answer, lines) = both.ask("RespondingGateway", CROSS_QUERY, query).await;
    assert_eq!(found(&answer), [(HOME.into(), SOLO_REPOSITORY.into())], "{}", answer.envelope);
    assert_eq!(lines, ["ITI-18 E success patient query", "ITI-38 E success patient query"]);
    let body = samples::retrieve(&[(Some(HOME), SOLO_REPOSITORY, unique_id)]);
    let (answer, lines) = both.ask("RespondingGateway", CROSS_RETRIEVE, body.encode()).await;
    assert_eq!((told(&answer).as_str(), attached(&answer)), ("Success", vec!["kept behind".to_owned()]));
    assert!(answer.envelope.contains(&format!("<xds:HomeCommunityId>{HOME}</xds:HomeCommunityId>")));
    assert_eq!(lines, ["ITI-43 C success document", "ITI-39 R success document"]);

    // Our own systems, by either service.
    let query = || find_documents(patient(&cx), None).encode();
    let body = || samples::retrieve(&[(None, SOLO_REPOSITORY, unique_id)]).encode();
    for (registry, repository) in
        [("DocumentRegistry", "DocumentRepository"), ("InitiatingGateway", "InitiatingGateway")]
    {
        let (answer, _) = both.ask(registry, QUERY_ACTION, query()).await;
        assert_eq!(found(&answer).len(), 1, "{registry}: {}", answer.envelope);
        let (answer, _) = both.ask(repository, RETRIEVE_ACTION, body()).await;
        assert_eq!(attached(&answer), ["kept behind"], "{repository}");
    }

    // A document that is not there, beside one that is.
    let body = samples::retrieve(&[(None, SOLO_REPOSITORY, unique_id), (None, SOLO_REPOSITORY, "2.999.404")]);
    let (answer, _) = both.ask("DocumentRepository", RETRIEVE_ACTION, body.encode()).await;
    assert_eq!(told(&answer), "PartialSuccess: XDSDocumentUniqueIdError");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submissions_are_passed_on_with_their_documents_and_their_errors() {
    let both = Both::start().await;
    let cx = both.patient().await;
    let (submission, answer) = both.provide(true, &cx, b"passed on").await;
    assert_eq!(told(&answer), "Success", "{}", answer.envelope);
    let unique_id = &submission.entries[0].unique_id;
    let (front, behind) = (&both.front.gateway, both.behind.solo.gateway());
    assert!(behind.documents.document(&behind.tenant, unique_id).unwrap().unwrap().content.is_some());
    assert_eq!(front.documents.document(&front.tenant, unique_id).unwrap(), None);
    let body = samples::retrieve(&[(Some(HOME), SOLO_REPOSITORY, unique_id.as_str())]);
    let (answer, _) = both.ask("RespondingGateway", CROSS_RETRIEVE, body.encode()).await;
    assert_eq!(attached(&answer), ["passed on"]);

    // A refusal of the registry behind is the answer.
    let (_, answer) = both.provide(true, "NOBODY^^^&2.999.60.1&ISO", b"x").await;
    assert_eq!(told(&answer), "Failure: XDSUnknownPatientId");

    for (repository, expected) in [("2.999.7", "Success"), (SOLO_REPOSITORY, "Failure: XDSRegistryMetadataError")] {
        let mut submission = samples::submission(&patient(&cx), &[Document::new("text/plain", b"")]);
        let entry = &mut submission.entries[0];
        entry.repository = RepositoryId::new(repository).ok();
        entry.hash = Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into());
        entry.size = Some(0);
        let body = Request { submission, home: None }.encode();
        let (answer, _) = both.ask("DocumentRegistry", REGISTER_ACTION, body).await;
        assert_eq!(told(&answer), expected, "{repository}: {}", answer.envelope);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_behind_and_does_not_answer_is_an_error_and_never_an_empty_answer() {
    let both = Both::start().await;
    let cx = both.patient().await;
    let other = both.patient().await;
    // One document of the other patient is kept in front.
    let gateway = both.front.gateway.clone();
    let document = [Document::new("text/plain", b"kept in front")];
    let submission = samples::submission(&patient(&other), &document);
    let mut upload = gateway.files.upload(&gateway.tenant).await.unwrap();
    upload.write(b"kept in front").await.unwrap();
    let stored = upload.finish().await.unwrap();
    let id = submission.entries[0].id.clone();
    keep(&gateway, submission, vec![(id, stored)]).await.unwrap();

    let Both { front, behind: Runner { solo } } = both;
    let Solo { running, client, ground, .. } = solo;
    running.stop().await;
    let ask = async |service: &str, action: &str, body: String| {
        let letter = Letter::new(action, &format!("{SOLO_URL}/{service}"), body, SOLO_PARTNER, treatment());
        let mtom = action == CROSS_RETRIEVE;
        let path = format!("/{service}");
        let answer = if mtom {
            client.ask_mtom(front.https, &path, &letter, &[]).await
        } else {
            client.ask(front.https, &path, &letter).await
        };
        told(&answer)
    };
    let query = |cx: &str| find_documents(patient(cx), Some(HOME)).encode();
    assert_eq!(ask("RespondingGateway", CROSS_QUERY, query(&cx)).await, "Failure: XDSRegistryError");
    assert_eq!(ask("RespondingGateway", CROSS_QUERY, query(&other)).await, "PartialSuccess: XDSRegistryError");
    let body = samples::retrieve(&[(Some(HOME), SOLO_REPOSITORY, "2.999.1")]).encode();
    assert_eq!(ask("RespondingGateway", CROSS_RETRIEVE, body).await, "Failure: XDSRepositoryError");
    let document = [Document::new("text/plain", b"x")];
    let body = samples::provide(samples::submission(&patient(&cx), &document));
    let letter =
        Letter::new(PROVIDE_ACTION, &format!("{SOLO_URL}/DocumentRepository"), body, SOLO_PARTNER, treatment());
    let answer = client.ask_mtom(front.https, "/DocumentRepository", &letter, &samples::attachments(&document)).await;
    assert_eq!(told(&answer), "Failure: XDSRepositoryError");
    drop(ground);
}

/// The registry behind is not asked over FHIR, and an answer without its documents does not look whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_over_fhir_says_what_it_does_not_ask() {
    let both = Both::start().await;
    let cx = both.patient().await;
    let (_, answer) = both.provide(false, &cx, b"kept behind").await;
    assert!(answer.envelope.contains("ResponseStatusType:Success"), "{}", answer.envelope);
    let fhir = Fhir::of(&both.behind.solo.client, both.front.https);
    let id = cx.split('^').next().unwrap();
    let answer =
        fhir.get(&format!("DocumentReference?patient.identifier=urn:oid:{DOMAIN}%7C{id}&status=current")).await;
    assert_eq!(answer.status, 200, "{}", answer.resource);
    let told = &answer.resource["entry"][0];
    assert_eq!(
        (&told["search"]["mode"], &told["resource"]["issue"][0]["severity"]),
        (&"outcome".into(), &"warning".into())
    );
    assert_eq!(answer.resource["total"], 0);
    fhir.judge();
}
