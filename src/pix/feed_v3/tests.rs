use proptest::prelude::*;

use super::*;
use crate::hl7v3::tests::person_of_v3;
use crate::id::{AssigningAuthority, Demographics, Domain};
use crate::testing::{corpus, manifest, validates};
use crate::xml::{Limits, decode_text, parse};

const SCHEMAS: &str = "hl7v3/HL7V3/NE2008/multicacheschemas";

fn with<T>(xml: &str, read: impl FnOnce(Element<'_>) -> T) -> T {
    let tree = parse(xml, &Limits::default()).unwrap();
    read(tree.root().unwrap())
}

fn authority(oid: &str) -> AssigningAuthority {
    AssigningAuthority::new(oid, "ISO").unwrap()
}

fn domains() -> Domains {
    let domain = |name: &str, oid: &str| Domain { namespace: name.into(), authority: authority(oid) };
    Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20")])
}

fn id(oid: &str, id: &str) -> PatientId {
    PatientId::new(id, authority(oid)).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_rfc3339("2026-01-15T09:00:00Z").unwrap()
}

fn device(oid: &str) -> Device {
    Device { id: Ii::root(oid), ..Device::default() }
}

fn message(change: FeedRequest) -> Request {
    let wrapper = Wrapper::new(Ii::root("2.999.7.1"), now(), device("2.999.10.1"), device("2.999.99"));
    Request { wrapper, custodian: Ii::root("2.999.10"), change }
}

fn changes(person: &Demographics) -> [FeedRequest; 3] {
    let ids = vec![id("2.999.10", "N-44"), id("2.999.20", "W-7")];
    let revision = Revision { demographics: person.clone(), ..Revision::default() };
    [
        FeedRequest::Add { ids: ids.clone(), demographics: Box::new(person.clone()) },
        FeedRequest::Revise { ids, removed: Vec::new(), revision: Box::new(revision) },
        FeedRequest::Merge(vec![Pair { survivor: id("2.999.10", "N-44"), subsumed: id("2.999.10", "N-91") }]),
    ]
}

/// ITI TF-2: 3.44.4.1.2, the schema, and both answers.
#[test]
fn feeds_and_their_acknowledgements_are_valid_and_are_read_back() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let person = person_of_v3().new_tree(&mut runner).unwrap().current();
    for change in changes(&person) {
        let sent = message(change);
        let root = sent.interaction().unwrap().root();
        let xml = sent.encode(&domains()).unwrap();
        validates(&xml, &format!("{SCHEMAS}/{root}.xsd"));
        assert!(xml.contains("extension=\"N-44\" assigningAuthorityName=\"NORTH\""), "{xml}");
        let read = with(&xml, |body| Request::decode(body, &domains())).unwrap();
        assert_eq!(read, sent);
        let refusal = Refusal::UnknownDomain(format!("{PATIENT_ID}[1]"));
        for (outcome, code) in [(Ok(()), "CA"), (Err(&refusal), "CE")] {
            let ack = read.acknowledge(outcome, Ii::root("2.999.7.2"), now(), device("2.999.99")).encode();
            validates(&ack, &format!("{SCHEMAS}/MCCI_IN000002UV01.xsd"));
            assert!(
                ack.contains(&format!("<typeCode code=\"{code}\"/><targetMessage><id root=\"2.999.7.1\"/>")),
                "{ack}"
            );
            let place =
                format!("<location>/{root}/controlActProcess/subject/registrationEvent/subject1/patient/id[1]<");
            assert_eq!(ack.contains(&place), code == "CE", "{ack}");
        }
    }
}

fn feed(root: &str, subjects: &str) -> String {
    format!(
        "<{root} xmlns='urn:hl7-org:v3'><id root='2.999.7'/><controlActProcess>{subjects}</controlActProcess></{root}>"
    )
}

fn subject(patient: &str, rest: &str) -> String {
    format!(
        "<subject><registrationEvent><subject1><patient>{patient}</patient></subject1>{rest}</registrationEvent></subject>"
    )
}

#[test]
fn what_cannot_be_taken_is_refused_with_its_code_and_place() {
    let north = "<id root='2.999.10' extension='1'/>";
    let prior = |id: &str| {
        format!(
            "<replacementOf><priorRegistration><subject1><priorRegisteredRole>{id}</priorRegisteredRole></subject1>\
             </priorRegistration></replacementOf>"
        )
    };
    let add = "PRPA_IN201301UV02";
    let merge = "PRPA_IN201304UV02";
    for (root, subjects, expected) in [
        ("PRPA_IN201305UV02", String::new(), ("CR", "SYN113", "")),
        (add, String::new(), ("CE", "SYN113", "")),
        (add, subject(north, "").repeat(2), ("CE", "100", "/controlActProcess/subject[2]")),
        (add, subject("", ""), ("CE", "101", "/patient/id")),
        (add, subject("<id nullFlavor='NA'/>", ""), ("CE", "101", "/patient/id")),
        (add, subject(&format!("{north}<id root='2.999.99' extension='2'/>"), ""), ("CE", "204", "/patient/id[2]")),
        (add, subject("<id assigningAuthorityName='MOON' extension='2'/>", ""), ("CE", "204", "/patient/id[1]")),
        (add, subject("<id root='2.999.10'/>", ""), ("CE", "102", "/patient/id[1]")),
        (merge, subject(north, ""), ("CE", "101", "/priorRegisteredRole/id")),
        (merge, subject(north, &prior(north)), ("CE", "205", "/priorRegisteredRole/id[1]")),
        (
            merge,
            subject(north, &prior("<id root='2.999.20' extension='1'/>")),
            ("CE", "204", "/priorRegisteredRole/id[1]"),
        ),
    ] {
        let xml = feed(root, &subjects);
        with(&xml, |body| {
            let refusal = Request::decode(body, &domains()).unwrap_err();
            let ack = refuse(body, &refusal, Ii::root("2.999.8"), now(), device("2.999.99")).acknowledgement;
            let place = ack.details[0].locations.first().cloned().unwrap_or_default();
            assert_eq!((ack.kind.code(), ack.details[0].code.as_str()), (expected.0, expected.1), "{xml}");
            assert!(place.ends_with(expected.2) && place.is_empty() == expected.2.is_empty(), "{place} {xml}");
            assert_eq!(ack.target, Ii::root("2.999.7"));
        });
    }
}

#[test]
fn refusals_of_the_manager_have_a_code_too() {
    for (refusal, code, number) in [
        (feed_v2::Refusal::NotTheSource, "CE", "204"),
        (feed_v2::Refusal::UnknownSubsumed, "CE", "204"),
        (feed_v2::Refusal::InUse, "CE", "205"),
        (feed_v2::Refusal::Unavailable, "CR", "INTERR"),
    ] {
        let (kind, detail) = Refusal::from(refusal).detail("PRPA_IN201304UV02");
        assert_eq!((kind.code(), detail.code.as_str()), (code, number));
    }
}

#[test]
fn what_v3_has_no_message_for_is_not_written() {
    let pair = Pair { survivor: id("2.999.10", "1"), subsumed: id("2.999.10", "2") };
    for change in [
        FeedRequest::Link(id("2.999.10", "1"), id("2.999.20", "2")),
        FeedRequest::ChangeId(vec![pair.clone()]),
        FeedRequest::Merge(vec![pair.clone(), pair]),
    ] {
        assert_eq!(message(change).encode(&domains()), Err(NotInV3));
    }
}

#[test]
fn a_social_security_number_among_the_identifiers_is_no_patient_identifier() {
    let xml = feed(
        "PRPA_IN201301UV02",
        &subject("<id root='2.999.10' extension='1'/><id root='2.16.840.1.113883.4.1' extension='123456780'/>", ""),
    );
    let FeedRequest::Add { ids, demographics } = with(&xml, |body| Request::decode(body, &domains())).unwrap().change
    else {
        panic!()
    };
    assert_eq!((ids.len(), demographics.other_ids.len()), (1, 1));
}

/// Domains that a message itself names, as if all of them were configured.
fn domains_of(body: Element<'_>) -> Domains {
    let ids = body.descendants().filter(|one| {
        let parent = one.parent().map(|parent| parent.local_name());
        one.local_name() == "id" && matches!(parent, Some("patient" | "priorRegisteredRole"))
    });
    let domain = |(index, id): (usize, Element<'_>)| {
        let name = id.attribute("assigningAuthorityName").unwrap_or_default();
        let local = format!("2.999.77.{index}");
        Domain { namespace: name.into(), authority: authority(id.attribute("root").unwrap_or(&local)) }
    };
    Domains::new(ids.enumerate().map(domain).collect())
}

#[test]
fn feeds_of_the_corpus_are_accepted_and_refused_as_expected() {
    let mut seen = 0;
    for row in manifest("pixv3/").into_iter().filter(|row| row[2] == "ITI-44" && row[3] != "ack") {
        let (path, expected) = (&row[0], &row[7]);
        let Some(bytes) = corpus(path) else { return };
        let text = decode_text(&bytes, None).unwrap();
        with(&text, |body| {
            let known = domains_of(body);
            // Those are translation samples that merge across domains, which ITI TF-2: 3.8.4.2.3 excludes.
            let across = path.contains("merge_maximal");
            match Request::decode(body, &known) {
                Ok(request) => {
                    assert!(expected == "Success" && !across, "{path} was accepted");
                    let xml = request.encode(&known).unwrap();
                    let root = request.interaction().unwrap().root();
                    validates(&xml, &format!("{SCHEMAS}/{root}.xsd"));
                    let again = with(&xml, |body| Request::decode(body, &known)).unwrap();
                    assert!(again.change == request.change, "{path}\n{xml}");
                }
                Err(refusal) if across => {
                    assert_eq!(refusal, Refusal::Feed(feed_v2::Refusal::DifferentAuthorities), "{path}");
                }
                Err(refusal) => assert_ne!(expected, "Success", "{path}: {refusal}"),
            }
        });
        seen += 1;
    }
    println!("{seen} feeds decoded");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn persons_survive_the_wire(person in person_of_v3()) {
        for change in changes(&person) {
            let sent = message(change);
            let read = with(&sent.encode(&domains()).unwrap(), |body| Request::decode(body, &domains())).unwrap();
            prop_assert!(read == sent);
        }
    }

    #[test]
    fn no_damage_to_a_message_makes_the_reader_panic(at in any::<prop::sample::Index>(), length in 0usize..60, junk in "[<>/='a-z0-9 ]{0,6}") {
        for change in changes(&Demographics::default()) {
            let xml = message(change).encode(&domains()).unwrap();
            let from = at.index(xml.len());
            let damaged = format!("{}{junk}{}", &xml[..from], &xml[(from + length).min(xml.len())..]);
            let Ok(tree) = parse(&damaged, &Limits::default()) else { continue };
            let root = tree.root().unwrap();
            if let Err(refusal) = Request::decode(root, &domains()) {
                refuse(root, &refusal, Ii::default(), now(), device("2.999.99")).encode();
            }
        }
    }
}
