//! XDR (ITI-41 to a Document Recipient, ITI TF-2: 3.41) and XCDR (ITI-80): documents reach those whom they are for, once
//! and whole, or whoever sent them hears why not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use causeway::ebxml::{ErrorCode, RegistryError, RegistryResponse, Status};
use causeway::id::{DocumentUniqueId, Tenant};
use causeway::metadata::{Association, AssociationKind, Submission};
use causeway::operations::{self, Consignment, Errand, Operation, Outcome};
use causeway::soap::envelope::Envelope;
use causeway::storage::deliveries::{Delivery, State};
use causeway::xdr::recipient::GATEWAY_ACTION;
use causeway::xds::provide::{Content, ProvidedDocument, Request, home_of_header, write_home_header};
use causeway::xds::register;
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xml::{Limits, Writer, parse};
use hyper::Method;
use ihe_tests::harness::client::{Attachment, packed};
use ihe_tests::harness::letter::treatment;
use ihe_tests::harness::receiver::{Given, Got, soap_answer};
use ihe_tests::harness::samples::{self, Document, patient};
use ihe_tests::harness::world::{SOLO_HOME, SOLO_PARTNER, SOLO_URL};
use ihe_tests::harness::{Answer, Feed, Ground, Letter, Receiver, Solo, Trail};

use crate::served::Served;

const RECIPIENT: &str = "DocumentRecipient";
const PATIENT: &str = "P1^^^&2.999.60.1&ISO";
const DOMAINS: &str = "\
[[domains]]\nnamespace = \"NORTH\"\noid = \"2.999.60.1\"\n\
[[sources]]\nname = \"adt\"\napplication = \"ADT\"\nfacility = \"NORTH\"\naddresses = [\"127.0.0.1\"]\n\
[initiator]\nuser = \"gateway@solo.example.org\"\npurpose = \"TREATMENT\"\n\
[delivery]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 1\nwait_seconds = 3\n";
const INBOX: &str = "\
[[recipients]]\nname = \"ward\"\norganizations = [\"2.999.70\"]\naddresses = [\"ward@direct.example.org\"]\n\
persons = [\"1234567893^^^&2.16.840.1.113883.4.6&ISO\"]\ninbox = \"inbox/ward\"\n";

/// A submission of text documents.
pub fn submission(recipients: &[&str], documents: &[Document]) -> Submission {
    let mut submission = samples::submission(&patient(PATIENT), documents);
    submission.set.intended_recipients = recipients.iter().map(|one| (*one).into()).collect();
    submission
}

fn home_header(home: &str) -> String {
    let mut writer = Writer::new();
    write_home_header(&mut writer, &home.parse().unwrap());
    writer.finish()
}

async fn send(solo: &Solo, letter: &Letter, parts: &[Attachment]) -> (Vec<RegistryError>, Answer) {
    let path = letter.addressing.to.as_deref().unwrap().rsplit('/').next().unwrap().to_owned();
    let answer = solo.client.ask_mtom(solo.running.https, &format!("/{path}"), letter, parts).await;
    assert_eq!(answer.status, 200, "{}", answer.envelope);
    assert!(answer.package.is_some(), "the answer is MTOM: {}", answer.content_type);
    let action = answer.read(|envelope| envelope.addressing.action.clone());
    assert_eq!(action, format!("{}Response", letter.addressing.action));
    (answer.body(|body| RegistryResponse::decode(body).unwrap()).errors, answer)
}

/// Provides a submission of ITI-41 and tells the codes of the answer.
async fn provide(solo: &Solo, submission: &Submission, documents: &[Document]) -> Vec<String> {
    let letter = solo.letter(RECIPIENT, PROVIDE_ACTION, samples::provide(submission.clone()));
    codes(&send(solo, &letter, &samples::attachments(documents)).await.0)
}

fn codes(errors: &[RegistryError]) -> Vec<String> {
    errors.iter().map(|error| error.code.as_str().to_owned()).collect()
}

/// The folders of an inbox that whoever empties it sees.
fn inbox(solo: &Solo, name: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(solo.ground.at(&format!("inbox/{name}"))) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    found.sort();
    found
}

fn read(path: &Path, file: &str) -> String {
    std::fs::read_to_string(path.join(file)).unwrap()
}

fn latest(solo: &Solo) -> Vec<Delivery> {
    solo.gateway().deliveries.latest(&Tenant::default(), None, "", 100).unwrap()
}

async fn settled(solo: &Solo) -> Vec<Delivery> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let all = latest(solo);
        if all.iter().all(|one| one.state != State::Waiting) {
            return all;
        }
        assert!(Instant::now() < end, "{all:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many documents are kept of the bytes that were delivered: none.
pub fn files_under(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files_under(&path) } else { 1 }).sum()
}

async fn feed(solo: &Solo) {
    let message = "MSH|^~\\&|ADT|NORTH|CAUSEWAY|SOLO|20261122||ADT^A04^ADT_A01|1|P|2.3.1\rEVN|A04|20261122\r\
                   PID|||P1^^^NORTH||Sample^Ann||19500101|F\rPV1||O\r";
    assert_eq!(Feed::open(solo.mllp()).await.ask(message.as_bytes()).await.code.code(), "AA");
}

#[tokio::test]
async fn documents_for_a_recipient_are_in_its_inbox_with_their_metadata() {
    let solo = Solo::start(&[DOMAINS, INBOX].concat()).await;
    let documents = [Document::new("text/plain", b"first"), Document::new("application/pdf", b"%PDF second")];
    for (at, who) in [
        "Ward|^^^|",
        "Some Ward^^^^^^^^^urn:oid:2.999.70",
        "|1234567893^Ward^Anna^^^^^^&2.16.840.1.113883.4.6&ISO",
        "||^^Internet^Ward@direct.example.org",
    ]
    .into_iter()
    .enumerate()
    {
        let documents = documents.clone().map(|one| Document::new(one.media_type, &one.content));
        let submission = submission(&[who], &documents);
        let letter = solo.letter(RECIPIENT, PROVIDE_ACTION, samples::provide(submission.clone()));
        let (errors, answer) = send(&solo, &letter, &samples::attachments(&documents)).await;
        if at == 0 {
            // An organisation by its name alone is nobody whom we know.
            assert_eq!(codes(&errors), ["UnknownRecipient"]);
            assert!(errors[0].context.contains("trace"), "{}", answer.envelope);
            assert_eq!(Trail::of(solo.gateway()).lines(letter.user()), ["ITI-41 C failure patient submission"]);
            continue;
        }
        assert_eq!(errors, [], "{who}");
        let found = inbox(&solo, "ward");
        assert_eq!(found.len(), at);
        let folder = found.iter().find(|one| read(one, "manifest.json").contains(submission.set.unique_id.as_str()));
        let folder = folder.unwrap();
        assert_eq!(
            (read(folder, "document1.txt"), read(folder, "document2.pdf")),
            ("first".into(), "%PDF second".into())
        );
        let manifest: serde_json::Value = serde_json::from_str(&read(folder, "manifest.json")).unwrap();
        assert_eq!((&manifest["sender"], &manifest["patient"]), (&"partner".into(), &PATIENT.into()));
        assert_eq!(manifest["documents"][1]["unique_id"], documents[1].unique_id.as_str());
        let tree = read(folder, "metadata.xml");
        let tree = parse(&tree, &Limits::default()).unwrap();
        let kept = register::Request::decode(tree.root().unwrap(), causeway::metadata::Rules::Xdr).unwrap();
        assert_eq!(kept.submission.set.intended_recipients, submission.set.intended_recipients);
        assert_eq!(kept.submission.entries[0].size, Some(5));
        assert_eq!(Trail::of(solo.gateway()).lines(letter.user()), ["ITI-41 C success patient submission"]);
    }
    assert!(latest(&solo).iter().all(|one| one.state == State::Delivered && one.attempts == 1));
    wait_until(|| files_under(&solo.ground.at("data/documents")) == 0).await;
}

/// ITI TF-2: 3.41.4.1.3: a submission is taken for all recipients or for none.
#[tokio::test]
async fn one_recipient_that_nobody_knows_refuses_all() {
    let more = "[[recipients]]\nname = \"lab\"\norganizations = [\"2.999.71\"]\ninbox = \"inbox/lab\"\n\
                [[recipients]]\nname = \"post\"\ndefault = true\ninbox = \"inbox/post\"\n";
    let solo = Solo::start(&[DOMAINS, INBOX, more].concat()).await;
    let (ward, lab) = ("Ward^^^^^^^^^2.999.70", "Lab^^^^^^^^^2.999.71");
    for (recipients, expected, folders) in [
        (
            vec![ward, "Other^^^^^^^^^2.999.79", lab, "||^^Internet^a@b.example.org"],
            vec!["UnknownRecipient"; 2],
            (0, 0, 0),
        ),
        (vec![ward, lab], vec![], (1, 1, 0)),
        (vec![ward, "||^^Internet^ward@direct.example.org"], vec![], (2, 1, 0)),
        (vec![], vec![], (2, 1, 1)),
    ] {
        let documents = [Document::new("text/plain", b"text")];
        let found = provide(&solo, &submission(&recipients, &documents), &documents).await;
        assert_eq!(found, expected, "{recipients:?}");
        let count = |name: &str| inbox(&solo, name).len();
        assert_eq!((count("ward"), count("lab"), count("post")), folders, "{recipients:?}");
    }
    assert_eq!(files_under(&solo.ground.at("data/incoming")), 0);
}

#[tokio::test]
async fn a_submission_that_comes_again_is_answered_and_not_delivered_twice() {
    let solo = Solo::start(&[DOMAINS, INBOX].concat()).await;
    let documents = [Document::new("text/plain", b"text")];
    let first = submission(&["Ward^^^^^^^^^2.999.70"], &documents);
    assert_eq!(provide(&solo, &first, &documents).await, [] as [&str; 0]);
    assert_eq!(provide(&solo, &first, &documents).await, [] as [&str; 0]);
    let changed = [Document { content: b"else".to_vec(), ..documents[0].clone() }];
    assert_eq!(provide(&solo, &first, &changed).await, ["XDSDuplicateUniqueIdInRegistry"]);
    assert_eq!((inbox(&solo, "ward").len(), latest(&solo).len()), (1, 1));
    wait_until(|| files_under(&solo.ground.at("data/documents")) == 0).await;
}

/// ITI TF-3: 4.3.1: limited metadata is for recipients, and has to say that it is limited; Direct's minimal metadata too.
#[tokio::test]
async fn limited_metadata_is_taken_where_it_says_so() {
    let solo = Solo::start(&[DOMAINS, INBOX].concat()).await;
    let minimal = "<direct:metadata-level xmlns:direct=\"urn:direct:addressing\">minimal</direct:metadata-level>";
    for (limited, header, expected) in
        [(true, "", vec![]), (false, "", vec!["XDSRepositoryMetadataError"; 2]), (false, minimal, vec![])]
    {
        let documents = [Document::new("text/plain", b"text")];
        let mut submission = submission(&["Ward^^^^^^^^^2.999.70"], &documents);
        submission.set.limited_metadata = limited;
        submission.set.content_type = None;
        submission.entries[0].limited_metadata = limited;
        submission.entries[0].class_code = None;
        let mut letter = solo.letter(RECIPIENT, PROVIDE_ACTION, samples::provide(submission));
        letter.headers = header.to_owned();
        let (errors, _) = send(&solo, &letter, &samples::attachments(&documents)).await;
        assert_eq!(codes(&errors), expected, "{limited} {header}");
    }
}

#[tokio::test]
async fn documents_for_our_own_repository_are_registered_or_refused_with_its_errors() {
    let more = "[[recipients]]\nname = \"archive\"\ndefault = true\nrepository = true\n";
    let solo = Solo::start(&[DOMAINS, more].concat()).await;
    let documents = [Document::new("text/plain", b"text")];
    let first = submission(&[], &documents);
    assert_eq!(provide(&solo, &first, &documents).await, ["XDSUnknownPatientId"]);
    assert_eq!(latest(&solo)[0].state, State::Refused);
    feed(&solo).await;
    // Nobody got it, so it may come again.
    assert_eq!(provide(&solo, &first, &documents).await, [] as [&str; 0]);
    let kept =
        solo.gateway().documents.document(&Tenant::default(), &DocumentUniqueId::new(&documents[0].unique_id).unwrap());
    assert!(kept.unwrap().unwrap().content.is_some());
    assert_eq!(files_under(&solo.ground.at("data/documents")), 1);
    let solo = solo.restart().await;
    assert_eq!(files_under(&solo.ground.at("data/documents")), 1, "the sweep at a start knows what is kept");
}

/// A system that takes ITI-41 or ITI-80, as an entry of the directory.
pub fn partner(ground: &Ground, name: &str, home: &str, transaction: &str, url: &str) {
    ground.certify(name);
    let text = format!(
        "name = \"{name}\"\nnetwork = \"local\"\nkind = \"local\"\nhome_community_id = \"{home}\"\n\
         initiates = false\n[urls]\n{transaction} = \"{url}\"\n"
    );
    ground.write(&format!("partners/{name}.toml"), &text);
}

pub fn registry_answer(request: &Got, action: &str, errors: Vec<RegistryError>) -> Given {
    soap_answer(request, &format!("{action}Response"), &RegistryResponse { errors }.encode())
}

/// What a receiver of ITI-41 or ITI-80 was sent: the request, its home, and the bytes of its documents by unique id.
pub fn received(got: &Got) -> (Request, Option<String>, BTreeMap<String, Vec<u8>>) {
    let (envelope, package) = (got.envelope(), got.package());
    let tree = parse(&envelope, &Limits::default()).unwrap();
    let envelope = Envelope::read(&tree).unwrap();
    let home = envelope.header.and_then(home_of_header).map(|home| home.to_string());
    let request = Request::decode(envelope.body, causeway::metadata::Rules::Xdr).unwrap();
    let documents = request.documents.iter().map(|document| {
        let Content::Attached(cid) = &document.content else { panic!("the document is attached") };
        let entry = request.registration.submission.entries.iter().find(|entry| entry.id == document.id).unwrap();
        let part = package.part(&format!("cid:{cid}")).unwrap();
        (entry.unique_id.to_string(), part.content.to_vec())
    });
    let documents = documents.collect();
    (request, home, documents)
}

/// The queue between a sender and a system behind us: away, busy, and back. Copies have the same ids.
#[tokio::test]
async fn documents_for_a_system_that_is_away_are_queued_and_delivered_when_it_is_back() {
    let ground = Ground::new();
    ground.certify("lab");
    let port = Receiver::start(&ground, "lab", 0, |_| panic!("nothing is sent")).await.address.port();
    tokio::time::sleep(Duration::from_millis(100)).await;
    partner(&ground, "lab", "urn:oid:2.999.71", "iti-41", &format!("https://localhost:{port}/xdr"));
    let more = "[[recipients]]\nname = \"lab\"\norganizations = [\"2.999.71\"]\npartner = \"lab\"\n";
    let solo = Solo::start_on(ground, &[DOMAINS, INBOX, more].concat()).await;
    let large = [Document::new("text/plain", &vec![b'x'; 3 << 20]), Document::new("text/plain", b"small")];
    let first = submission(&["Lab^^^^^^^^^2.999.71"], &large);
    assert_eq!(provide(&solo, &first, &large).await, ["DocumentQueued"]);
    // What replaces it waits behind it; what concerns others does not.
    let document = [Document::new("text/plain", b"second version")];
    let mut second = submission(&["Lab^^^^^^^^^2.999.71"], &document);
    let old = latest(&solo)[0].number;
    let body = solo.gateway().deliveries.body(&Tenant::default(), old).unwrap().unwrap();
    let sent: causeway::xdr::Parcel = serde_json::from_slice(&body).unwrap();
    let (new, old) = (second.entries[0].id.clone(), sent.submission.entries[0].id.clone());
    second.associations.push(Association::new("replaces", AssociationKind::Replace, new, old));
    assert_eq!(provide(&solo, &second, &document).await, ["DocumentQueued"]);
    let other = [Document::new("text/plain", b"for the ward")];
    assert_eq!(provide(&solo, &submission(&["Ward^^^^^^^^^2.999.70"], &other), &other).await, [] as [&str; 0]);
    assert_eq!(provide(&solo, &first, &large).await, ["DocumentQueued"], "a copy of what waits");
    let solo = solo.restart().await;
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let answer = move |request: &Got| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => (500, "text/html".to_owned(), b"<p>starting</p>".to_vec()),
        1 => registry_answer(request, PROVIDE_ACTION, vec![RegistryError::new(ErrorCode::XdsRepositoryBusy, "busy")]),
        _ => registry_answer(request, PROVIDE_ACTION, Vec::new()),
    };
    let lab = Receiver::start(&solo.ground, "lab", port, answer).await;
    let all = settled(&solo).await;
    assert!(all.iter().all(|one| one.state == State::Delivered), "{all:?}");
    let got: Vec<_> = lab.got().iter().map(received).collect();
    assert_eq!(got.len(), 4);
    let sets: Vec<&str> =
        got.iter().map(|(request, ..)| request.registration.submission.set.unique_id.as_str()).collect();
    assert_eq!(
        sets,
        [first.set.unique_id.as_str(); 3].into_iter().chain([second.set.unique_id.as_str()]).collect::<Vec<_>>()
    );
    let ids =
        |at: usize| got[at].0.registration.submission.entries.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>();
    assert!(ids(0) == ids(1) && ids(1) == ids(2), "copies have the same ids");
    assert_eq!(got[2].2[&large[0].unique_id], large[0].content);
    let expected = ["failure", "success"].map(|outcome| format!("ITI-41 R {outcome} patient submission"));
    let lines = Trail::of(solo.gateway()).lines(first.set.unique_id.as_str());
    assert!(expected.iter().all(|line| lines.contains(line)), "{lines:?}");
    wait_until(|| files_under(&solo.ground.at("data/documents")) == 0).await;
}

/// Large documents are never in memory as a whole: not when they come, not when they go into an inbox, to a system that
/// takes ITI-41 or to one that takes ITI-65.
#[tokio::test(flavor = "multi_thread")]
async fn large_documents_pass_through_in_pieces() {
    const SIZE: usize = 96 << 20;
    let ground = Ground::new();
    ground.certify("lab");
    ground.certify("archive");
    let lab = Receiver::start(&ground, "lab", 0, |request| registry_answer(request, PROVIDE_ACTION, Vec::new())).await;
    let bundle = (200, "application/fhir+json".to_owned(), b"{\"resourceType\":\"Bundle\"}".to_vec());
    let archive = Receiver::start(&ground, "archive", 0, move |_| bundle.clone()).await;
    partner(&ground, "lab", "urn:oid:2.999.71", "iti-41", &lab.url("xdr"));
    let more = format!(
        "[[recipients]]\nname = \"lab\"\norganizations = [\"2.999.71\"]\npartner = \"lab\"\n\
         [[recipients]]\nname = \"archive\"\norganizations = [\"2.999.72\"]\nfhir = \"{}\"\nnetwork = \"local\"\n",
        archive.url("r4")
    );
    ground.configure(&[&DOMAINS.replace("wait_seconds = 3", "wait_seconds = 60"), INBOX, &more].concat());
    let served = Served::start(&ground.at("causeway.toml"));
    let before = served.peak_memory();
    let content: Vec<u8> = (0..SIZE).map(|at| b"0123456789abcdefg"[at % 17]).collect();
    let documents = [Document::new("application/octet-stream", &content)];
    let recipients = ["Ward^^^^^^^^^2.999.70", "Lab^^^^^^^^^2.999.71", "Archive^^^^^^^^^2.999.72"];
    let body = samples::provide(submission(&recipients, &documents));
    let client = ground.client("partner");
    let letter = Letter::new(PROVIDE_ACTION, &format!("{SOLO_URL}/{RECIPIENT}"), body, SOLO_PARTNER, treatment());
    let envelope = letter.envelope(&client.key);
    let (content_type, package) = packed(PROVIDE_ACTION, &envelope, &samples::attachments(&documents));
    let answer = client.send(served.https, Method::POST, "/DocumentRecipient", &content_type, package).await;
    let answer = answer.into_answer();
    let errors = answer.body(|body| RegistryResponse::decode(body).unwrap()).errors;
    assert_eq!(errors, [], "{}", served.log());
    let more = served.peak_memory() - before;
    assert!(more < SIZE as u64 / 3, "{} MiB more", more >> 20);
    println!("{} MiB more for three deliveries of {} MiB", more >> 20, SIZE >> 20);

    let inbox = std::fs::read_dir(ground.at("inbox/ward")).unwrap().next().unwrap().unwrap().path();
    assert!(std::fs::read(inbox.join("document1.bin")).unwrap() == content, "other bytes in the inbox");
    assert!(received(&lab.got()[0]).2[&documents[0].unique_id] == content, "other bytes at the lab");
    let bundle: serde_json::Value = serde_json::from_slice(&archive.got()[0].body).unwrap();
    let provided = causeway::fhir::mhd::Provide::decode(&bundle).unwrap();
    let (_, bytes) = provided.submission(Some(&patient(PATIENT))).unwrap();
    assert!(*bytes[0].bytes == content[..], "other bytes at the archive");
    wait_until(|| files_under(&ground.at("data/documents")) == 0).await;
}

/// Whoever hangs up half-way has sent nothing, and nothing of it stays on the disk.
#[tokio::test]
async fn an_upload_that_is_broken_off_leaves_nothing() {
    let solo = Solo::start(&[DOMAINS, INBOX].concat()).await;
    let documents = [Document::new("text/plain", &vec![b'x'; 4 << 20])];
    let submission = submission(&["Ward^^^^^^^^^2.999.70"], &documents);
    let incoming = solo.ground.at("data/incoming");
    let parts = samples::attachments(&documents);
    let letters = [(), ()].map(|()| solo.letter(RECIPIENT, PROVIDE_ACTION, samples::provide(submission.clone())));
    let [first, second] = letters.each_ref().map(|one| packed(PROVIDE_ACTION, &one.envelope(&solo.client.key), &parts));

    // The connection ends.
    let (content_type, package) = first;
    let half = (content_type.as_str(), package.slice(..3 << 20));
    let uploading = solo.client.begin(solo.running.https, "/DocumentRecipient", half, package.len()).await;
    wait_until(|| files_under(&incoming) == 1).await;
    drop(uploading);
    wait_until(|| files_under(&incoming) == 0).await;
    // The package ends.
    let (content_type, package) = second;
    let cut = package.slice(..package.len() - 1000);
    let answer = solo.client.send(solo.running.https, Method::POST, "/DocumentRecipient", &content_type, cut).await;
    let errors = answer.into_answer().body(|body| RegistryResponse::decode(body).unwrap()).errors;
    assert_eq!(codes(&errors), ["XDSRepositoryError"]);
    assert_eq!(files_under(&incoming), 0);
    for letter in &letters {
        let lines = || Trail::of(solo.gateway()).lines(letter.user());
        wait_until(|| !lines().is_empty()).await;
        assert_eq!(lines(), ["ITI-41 C failure patient submission"]);
    }
    assert_eq!((inbox(&solo, "ward").len(), latest(&solo).len()), (0, 0));
    assert_eq!(files_under(&solo.ground.at("data/documents")), 0);
}

/// Waits for what follows soon: the bytes of a document go after its delivery is told as done.
async fn wait_until(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "it does not come to that");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the receiver refuses is told to whoever sent it, with the receiver's own codes.
#[tokio::test]
async fn a_refusal_of_the_system_behind_us_reaches_the_sender() {
    let ground = Ground::new();
    ground.certify("lab");
    let answer = |request: &Got| {
        let error = RegistryError::new(ErrorCode::XdsUnknownPatientId, "nobody here");
        let warning = RegistryError::warning(ErrorCode::XdsExtraMetadataNotSaved, "some slots");
        registry_answer(request, PROVIDE_ACTION, vec![error, warning])
    };
    let lab = Receiver::start(&ground, "lab", 0, answer).await;
    partner(&ground, "lab", "urn:oid:2.999.71", "iti-41", &lab.url("xdr"));
    let more = "[[recipients]]\nname = \"lab\"\norganizations = [\"2.999.71\"]\npartner = \"lab\"\n";
    let solo = Solo::start_on(ground, &[DOMAINS, more].concat()).await;
    let documents = [Document::new("text/plain", b"text")];
    let first = submission(&["Lab^^^^^^^^^2.999.71"], &documents);
    let letter = solo.letter(RECIPIENT, PROVIDE_ACTION, samples::provide(first.clone()));
    let (errors, _) = send(&solo, &letter, &samples::attachments(&documents)).await;
    assert_eq!(codes(&errors), ["XDSUnknownPatientId", "XDSExtraMetadataNotSaved"]);
    assert_eq!(RegistryResponse { errors }.status(), Status::Failure);
    assert_eq!((lab.got().len(), latest(&solo)[0].state), (1, State::Refused));
    assert_eq!(
        Trail::of(solo.gateway()).lines(letter.user()),
        ["ITI-41 R failure patient submission", "ITI-41 C failure patient submission"]
    );
}

#[tokio::test]
async fn a_fhir_system_gets_the_submission_as_a_bundle() {
    let ground = Ground::new();
    ground.certify("archive");
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let answer = move |_: &Got| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => (503, "text/plain".to_owned(), b"later".to_vec()),
        1 => (200, "application/fhir+json".to_owned(), b"{\"resourceType\":\"Bundle\"}".to_vec()),
        _ => {
            let outcome = "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"diagnostics\":\"no such patient\"}]}";
            (422, "application/fhir+json".to_owned(), outcome.as_bytes().to_vec())
        }
    };
    let archive = Receiver::start(&ground, "archive", 0, answer).await;
    let more = format!(
        "[[recipients]]\nname = \"archive\"\ndefault = true\nfhir = \"{}\"\nnetwork = \"local\"\n",
        archive.url("r4")
    );
    let solo = Solo::start_on(ground, &[DOMAINS, &more].concat()).await;
    let documents = [Document::new("text/plain", b"text")];
    let first = submission(&[], &documents);
    assert_eq!(provide(&solo, &first, &documents).await, ["DocumentQueued"]);
    settled(&solo).await;
    let got = archive.got();
    assert_eq!((got.len(), got[1].path.as_str()), (2, "/r4"));
    assert!(got[1].content_type.starts_with("application/fhir+json"));
    let bundle: serde_json::Value = serde_json::from_slice(&got[1].body).unwrap();
    let provided = causeway::fhir::mhd::Provide::decode(&bundle).unwrap();
    assert_eq!(provided.subject_ids(), [patient(PATIENT)]);
    let (read, bytes) = provided.submission(Some(&patient(PATIENT))).unwrap();
    assert_eq!((read.set.unique_id.bare(), &*bytes[0].bytes), (first.set.unique_id.bare(), &b"text"[..]));
    let second = [Document::new("text/plain", b"text")];
    let letter = solo.letter(RECIPIENT, PROVIDE_ACTION, samples::provide(submission(&[], &second)));
    let (errors, _) = send(&solo, &letter, &samples::attachments(&second)).await;
    assert_eq!(codes(&errors), ["XDSRepositoryError"]);
    assert!(errors[0].context.contains("no such patient"), "{:?}", errors[0].context);
}

/// XCDR: the Responding Gateway takes for communities that it serves, and says why it does not.
#[tokio::test]
async fn another_community_provides_through_the_gateway() {
    let solo = Solo::start(&[DOMAINS, INBOX].concat()).await;
    for (home, expected) in [
        (Some(SOLO_HOME), vec![]),
        (None, vec!["XDSMissingHomeCommunityId"]),
        (Some("urn:oid:2.999.99"), vec!["XDSUnknownCommunity"]),
    ] {
        let documents = [Document::new("text/plain", b"text")];
        let submission = submission(&["||^^Internet^ward@direct.example.org"], &documents);
        let mut letter = solo.letter("RespondingGateway", GATEWAY_ACTION, samples::provide(submission));
        letter.headers = home.map(home_header).unwrap_or_default();
        let (errors, _) = send(&solo, &letter, &samples::attachments(&documents)).await;
        assert_eq!(codes(&errors), expected, "{home:?}");
        let lines = Trail::of(solo.gateway()).lines(letter.user());
        let outcome = if expected.is_empty() { "success" } else { "failure" };
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("ITI-80 C {outcome}")), "{lines:?}");
    }
    assert_eq!(inbox(&solo, "ward").len(), 1);
}

/// XCDR: what one of our systems sends for another community goes there by ITI-80, with the home everywhere.
#[tokio::test]
async fn documents_for_another_community_leave_by_its_gateway() {
    let ground = Ground::new();
    ground.certify("qhin");
    let answer = |request: &Got| registry_answer(request, GATEWAY_ACTION, Vec::new());
    let qhin = Receiver::start(&ground, "qhin", 0, answer).await;
    partner(&ground, "qhin", "urn:oid:2.999.80", "iti-80", &qhin.url("xcdr"));
    let solo = Solo::start_on(ground, DOMAINS).await;
    let documents = [Document::new("text/plain", b"text")];
    let submission = submission(&["||^^Internet^far@direct.example.org"], &documents);
    let unique_id = submission.set.unique_id.to_string();
    let mut letter = solo.letter("InitiatingGateway", PROVIDE_ACTION, samples::provide(submission));
    letter.headers = home_header("urn:oid:2.999.80");
    let (errors, _) = send(&solo, &letter, &samples::attachments(&documents)).await;
    assert_eq!(errors, []);
    let (request, home, bytes) = received(&qhin.got()[0]);
    assert_eq!(home.as_deref(), Some("urn:oid:2.999.80"));
    assert_eq!(request.registration.home.map(|home| home.to_string()), home);
    assert_eq!(bytes[&documents[0].unique_id], b"text");
    let lines = Trail::of(solo.gateway()).lines(&unique_id);
    assert_eq!(lines, ["ITI-80 R success patient submission", "ITI-41 C success patient submission"]);
}

/// `documents deliver`, `deliveries list`, `show`, `retry`.
#[tokio::test]
async fn the_command_line_delivers_and_shows_what_became_of_it() {
    let ground = Ground::new();
    ground.certify("clinic");
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let answer = move |request: &Got| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => registry_answer(
            request,
            PROVIDE_ACTION,
            vec![RegistryError::new(ErrorCode::XdsUnknownPatientId, "unknown here")],
        ),
        _ => registry_answer(request, PROVIDE_ACTION, Vec::new()),
    };
    let clinic = Receiver::start(&ground, "clinic", 0, answer).await;
    partner(&ground, "clinic", "urn:oid:2.999.82", "iti-41", &clinic.url("xdr"));
    ground.write("letter.txt", "a letter");
    ground.write("report.txt", "a report");
    let solo = Solo::start_on(ground, DOMAINS).await;
    feed(&solo).await;
    let errand = Errand {
        user: "nora@solo.example.org".into(),
        purpose: "TREATMENT".into(),
        partners: Vec::new(),
        deadline: Some(20),
    };
    let consignment = Consignment {
        to: "clinic".into(),
        recipients: vec!["desk@clinic.example.org".into()],
        patient: "P1^^^NORTH".into(),
        paths: vec![solo.ground.at("letter.txt"), solo.ground.at("report.txt")],
    };
    let run = async |operation| operations::run(solo.gateway(), operation).await;
    let outcome = run(Operation::Deliver { errand: errand.clone(), consignment: consignment.clone() }).await;
    let Outcome::Delivery(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!((refused.state, refused.reported[0].code.as_str()), (State::Refused, "XDSUnknownPatientId"));
    let user = "steve@solo.example.org".to_owned();
    let outcome = run(Operation::Redeliver { user: user.clone(), number: refused.number }).await;
    let Outcome::Delivery(delivered) = outcome else { panic!("{outcome:?}") };
    assert_eq!((delivered.state, &delivered.id), (State::Delivered, &refused.id));
    let Outcome::Deliveries(listed) =
        run(Operation::Deliveries { user: user.clone(), state: None, to: "partner/".into(), limit: 9 }).await
    else {
        panic!("a list")
    };
    assert_eq!(listed.iter().map(|one| one.number).collect::<Vec<_>>(), [delivered.number, refused.number]);
    assert_eq!(listed[1].again_as, Some(delivered.number));
    let got: Vec<_> = clinic.got().iter().map(received).collect();
    assert_eq!(got[0].0.registration.submission, got[1].0.registration.submission, "a copy is the same");
    let set = &got[0].0.registration.submission.set;
    assert_eq!(set.intended_recipients, ["||^^Internet^desk@clinic.example.org"]);
    let mut texts: Vec<&[u8]> = got[0].2.values().map(Vec::as_slice).collect();
    texts.sort_unstable();
    assert_eq!(texts, [&b"a letter"[..], b"a report"]);
    let trail = Trail::of(solo.gateway());
    let expected = ["failure", "success"].map(|outcome| format!("ITI-41 R {outcome} patient submission"));
    assert_eq!(trail.lines("nora@solo.example.org"), expected);
    let look = run(Operation::Delivery { user: user.clone(), number: refused.number }).await;
    assert!(matches!(look, Outcome::Deliveries(shown) if shown.len() == 1));
    assert_eq!(trail.lines(&user), ["110132 E success other"; 3], "retry, list, show");
    // What cannot be done is recorded with its reason; without a name nothing is shown.
    for operation in [
        Operation::Redeliver { user: user.clone(), number: refused.number },
        Operation::Delivery { user: user.clone(), number: 99 },
    ] {
        assert!(matches!(run(operation).await, Outcome::Failed(_)));
    }
    assert_eq!(trail.lines(&user)[3..], ["110132 E failure other"; 2]);
    let nobody = run(Operation::Delivery { user: " ".into(), number: refused.number }).await;
    assert!(matches!(&nobody, Outcome::Failed(text) if text.contains("name the user")), "{nobody:?}");
    // What cannot be meant is refused before anything is stored.
    for (to, patient, reason) in [
        ("nowhere", "P1^^^NORTH", "neither a partner"),
        ("urn:oid:2.999.98", "P1^^^NORTH", ""),
        ("partner", "P1^^^NORTH", "no address"),
        ("clinic", "P9^^^NORTH", "not known here"),
    ] {
        let consignment = Consignment { to: to.into(), patient: patient.into(), ..consignment.clone() };
        let outcome = run(Operation::Deliver { errand: errand.clone(), consignment }).await;
        let Outcome::Failed(text) = outcome else { panic!("{to}: {outcome:?}") };
        assert!(text.contains(reason), "{to}: {text}");
    }
    assert_eq!(latest(&solo).len(), 2);
    assert_eq!(SOLO_PARTNER, "urn:oid:2.999.61");
}

/// A message of ITI-41 is a package here too.
#[tokio::test]
async fn a_message_that_is_no_package_is_refused() {
    let solo = Solo::start(&[DOMAINS, INBOX].concat()).await;
    let documents = [Document::new("text/plain", b"x")];
    let submission = submission(&["Ward^^^^^^^^^2.999.70"], &documents);
    let ids = submission.entries.iter().map(|entry| entry.id.clone());
    let documents = ids.map(|id| ProvidedDocument { id, content: Content::Inline(b"x".to_vec()) }).collect();
    let body = Request { registration: register::Request { submission, home: None }, documents }.encode().xml;
    let letter = solo.letter(RECIPIENT, PROVIDE_ACTION, body);
    let answer = solo.client.ask(solo.running.https, "/DocumentRecipient", &letter).await;
    assert!(answer.fault().reason.contains("MTOM"), "{:?}", answer.fault());
    assert_eq!(Trail::of(solo.gateway()).lines(answer.trace()), ["ITI-41 C failure"]);
}
