//! `documents show` and `documents view`: what a person sees of a document, however long it is and whatever it is.

use causeway::cda;
use causeway::operations::{self, Operation, Outcome, Viewed};
use ihe_tests::harness::{Feed, Solo, Trail};

const USER: &str = "Ida Clerk";
const PATIENT: &str = "P1^^^NORTH";
const WORLD: &str = "[[domains]]\nnamespace = \"NORTH\"\noid = \"2.999.60.1\"\n\
                     [[sources]]\nname = \"adt\"\naddresses = [\"127.0.0.1\"]\n";

/// A clinical document with a narrative of that many bytes.
fn clinical(length: usize) -> String {
    format!(
        "<ClinicalDocument xmlns=\"urn:hl7-org:v3\"><typeId root=\"2.16.840.1.113883.1.3\" \
         extension=\"POCD_HD000040\"/><id root=\"2.999.7\" extension=\"{length}\"/>\
         <code code=\"34133-9\" codeSystem=\"2.16.840.1.113883.6.1\"/><title>A stay</title>\
         <effectiveTime value=\"20260115143000-0500\"/><component><structuredBody><component><section>\
         <title>Notes</title><text>{}</text></section></component></structuredBody></component></ClinicalDocument>",
        "words ".repeat(length / 6)
    )
}

#[tokio::test]
async fn long_documents_are_shown_by_their_beginning_and_written_as_they_are() {
    let solo = Solo::start(WORLD).await;
    let message = "MSH|^~\\&|ADT|NORTH|CAUSEWAY|SOLO|20261122||ADT^A04^ADT_A01|1|P|2.3.1\rEVN|A04|20261122\r\
                   PID|||P1^^^NORTH||Sample^Ann||19500101|F\rPV1||O\r";
    assert_eq!(Feed::open(solo.mllp()).await.ask(message.as_bytes()).await.code.code(), "AA");
    let longer = cda::Limits::default().document + 1;
    let files = [
        ("short.xml", clinical(5000).into_bytes()),
        ("long.xml", clinical(longer).into_bytes()),
        ("picture.jpg", [&[0xFF, 0xD8, 0xFF, 0xE0][..], &vec![7; longer]].concat()),
    ];
    for (name, content) in &files {
        std::fs::write(solo.ground.at(name), content).unwrap();
    }
    let run = async |operation| operations::run(solo.gateway(), operation).await;
    let paths = files.iter().map(|(name, _)| solo.ground.at(name)).collect();
    let import = Operation::ImportDocuments { user: USER.into(), patient: PATIENT.into(), paths };
    let Outcome::Imported(imported) = run(import).await else { panic!("an import") };
    assert_eq!((imported.documents.len(), imported.refused.len()), (3, 0), "{:?}", imported.refused);

    for (at, (name, content)) in files.iter().enumerate() {
        let (document, user) = (imported.documents[at].unique_id.clone(), USER.to_owned());
        let show = Operation::ShowDocument { user: user.clone(), document: document.clone() };
        let Outcome::Document(shown) = run(show).await else { panic!("{name} is not shown") };
        assert_eq!(shown.clinical.is_some(), name.ends_with(".xml"), "{name}");
        let size = shown.attributes.iter().find(|(attribute, _)| attribute == "size").unwrap();
        assert_eq!(size.1, content.len().to_string());

        let out = solo.ground.at(&format!("{name}.out"));
        let outcome = run(Operation::ViewDocument { user, document, out: out.clone() }).await;
        match (*name, outcome) {
            ("short.xml", Outcome::Viewed(Viewed { file, note: None })) => {
                assert!(std::fs::read_to_string(file).unwrap().contains("words words"));
            }
            ("long.xml", Outcome::Failed(reason)) => {
                assert!(reason.contains("too long for a page") && !out.exists(), "{reason}");
            }
            ("picture.jpg", Outcome::Viewed(Viewed { file, note: Some(note) })) => {
                assert!(std::fs::read(file).unwrap() == *content, "other bytes than were taken in");
                assert_eq!(note, "The document is an image and no clinical document, so it was written as it is.");
            }
            (name, outcome) => panic!("{name}: {outcome:?}"),
        }
    }
    // What was not shown was not looked at either.
    let looks = Trail::of(solo.gateway()).lines(USER).into_iter().filter(|line| line.starts_with("ITI-43")).count();
    assert_eq!(looks, 5);

    // A document that was damaged on the disk since is not left behind as if it were whole.
    let picture = solo.gateway().documents.document(
        &solo.gateway().tenant,
        &causeway::id::DocumentUniqueId::new(&imported.documents[2].unique_id).unwrap(),
    );
    let key = picture.unwrap().unwrap().content.unwrap();
    let place = solo.ground.at("data/documents").join(solo.gateway().tenant.as_str());
    let place = place.join(&key[..2]).join(&key[2..4]).join(&key);
    let mut bytes = std::fs::read(&place).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&place, bytes).unwrap();
    let out = solo.ground.at("damaged");
    let document = imported.documents[2].unique_id.clone();
    let outcome = run(Operation::ViewDocument { user: USER.into(), document, out: out.clone() }).await;
    assert!(matches!(&outcome, Outcome::Failed(reason) if reason.contains("damaged")), "{outcome:?}");
    assert!(!out.exists());
}
