use proptest::prelude::*;

use super::*;
use crate::hl7v2::{Hd, Limits};
use crate::id::Domain;
use crate::testing::{corpus, manifest};

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

fn header() -> Header {
    Header {
        sending_application: Hd::named("GW_XREF"),
        sending_facility: Hd::named("GATEWAY"),
        receiving_application: Hd::named("EHR"),
        receiving_facility: Hd::named("WEST"),
        sent: "20260115130000".into(),
        control_id: "U1".into(),
        processing_id: "P".into(),
        version: "2.5".into(),
        ..Header::default()
    }
}

fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes, &Limits::default()).unwrap()
}

/// ITI TF-2: 3.10.4.1.2.
#[test]
fn an_update_tells_the_identifiers_and_nothing_else() {
    let update = Update { header: header(), ids: vec![id("2.999.10", "N-44"), id("2.999.20", "W-7")] };
    assert_eq!(
        String::from_utf8(update.encode(&domains())).unwrap(),
        "MSH|^~\\&|GW_XREF|GATEWAY|EHR|WEST|20260115130000||ADT^A31^ADT_A05|U1|P|2.5|||||||||ITI-10^IHE\r\
         EVN||20260115130000\r\
         PID|||N-44^^^NORTH&2.999.10&ISO^PI~W-7^^^WEST&2.999.20&ISO^PI|| \r\
         PV1||N\r"
    );
}

#[test]
fn a_broken_link_is_told_as_one_message_for_each_set_in_the_domains_of_the_consumer() {
    let sets =
        [vec![id("2.999.10", "N-44"), id("2.999.30", "S-3")], vec![id("2.999.20", "W-7")], vec![id("2.999.30", "S-4")]];
    let mut number = 0;
    let updates = Update::for_sets(&header(), &sets, &[authority("2.999.10"), authority("2.999.20")], || {
        number += 1;
        SmolStr::from(format!("U{number}"))
    });
    let told: Vec<(&str, Vec<&str>)> = updates
        .iter()
        .map(|update| (update.header.control_id.as_str(), update.ids.iter().map(PatientId::id).collect()))
        .collect();
    assert_eq!(told, [("U1", vec!["N-44"]), ("U2", vec!["W-7"])]);
}

/// ITI TF-2: 3.64.4.1.2.
#[test]
fn a_link_change_tells_the_affinity_domain_identifier_before_and_after() {
    let change = LinkChange {
        header: Header { sending_application: Hd::named("2.999.99"), ..header() },
        new: id("2.999.1", "XAD-2"),
        local: id("2.999.10", "N-44"),
        previous: id("2.999.1", "XAD-1"),
        subsumed: None,
    };
    let text = String::from_utf8(change.encode()).unwrap();
    assert_eq!(
        text,
        "MSH|^~\\&|2.999.99|GATEWAY|EHR|WEST|20260115130000||ADT^A43|U1|P|2.5\r\
         EVN||20260115130000\r\
         PID|||XAD-2^^^&2.999.1&ISO~N-44^^^&2.999.10&ISO|| \r\
         MRG|XAD-1^^^&2.999.1&ISO\r"
    );
    let read = LinkChange::decode(&parse(text.as_bytes()), &domains()).unwrap();
    assert_eq!((&read.new, &read.local, &read.previous), (&change.new, &change.local, &change.previous));
    for (segments, missing) in
        [("PID|||1^^^&2.999.1&ISO\rMRG|1^^^&2.999.1&ISO", "PID-3"), ("PID|||1^^^&2.999.1&ISO~2^^^NORTH\rMRG|", "MRG-1")]
    {
        let text = format!("MSH|^~\\&|A|B|C|D|2026||ADT^A43|1|P|2.5\r{segments}\r");
        let refused = LinkChange::decode(&parse(text.as_bytes()), &domains());
        assert_eq!(refused, Err(Refusal::NoIdentifier(missing)), "{segments}");
    }
}

#[test]
fn acknowledgements_are_read_and_matched_with_their_message() {
    let read = |segments: &str| {
        let text = format!("MSH|^~\\&|EHR|WEST|GW|G|2026||ACK^A31^ACK|9|P|2.5\r{segments}\r");
        read_acknowledgement(&parse(text.as_bytes()), "U1")
    };
    assert_eq!(read("MSA|AA|U1"), Ok(()));
    assert_eq!(read("MSA|CA|U1"), Ok(()));
    assert_eq!(read("MSA|AA|U2"), Err(Refusal::OtherMessage));
    assert_eq!(read("EVN|A31"), Err(Refusal::NotAnAcknowledgement));
    let refused = |code, text: &str| Err(Refusal::NotAccepted { code, text: text.into() });
    assert_eq!(read("MSA|AE|U1\rERR||PID^1^3|204^Unknown key|E"), refused(AckCode::Error, "Unknown key"));
    assert_eq!(read("MSA|AR|U1|database down"), refused(AckCode::Reject, "database down"));
}

#[test]
fn updates_of_the_corpus_are_read() {
    let mut seen = 0;
    for row in manifest("hl7v2-pix-feed/") {
        let path = &row[0];
        if !(path.contains("iti-10") || path.contains("pixupdatenotification")) {
            continue;
        }
        let Some(bytes) = corpus(path) else { return };
        let update = Update::decode(&parse(&bytes), &Domains::default()).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(!update.ids.is_empty(), "{path}");
        seen += 1;
    }
    println!("{seen} notifications read");
}

proptest! {
    #[test]
    fn notifications_survive_the_wire(ids in proptest::collection::vec(("2\\.999\\.[1-9]0", "[A-Za-z|^~&\\\\é]{1,9}"), 1..5)) {
        let ids: Vec<PatientId> = ids.iter().map(|(oid, text)| id(oid, text)).collect();
        let sent = Update { header: header(), ids };
        let read = Update::decode(&parse(&sent.encode(&domains())), &domains()).unwrap();
        prop_assert_eq!(read.ids, sent.ids);
    }

    #[test]
    fn no_message_makes_the_reader_panic(event in "A(31|43)", fields in "[|^~&\"0-9A-Z\\\\]{0,80}") {
        let text = format!("MSH|^~\\&|A|B|C|D|2026||ADT^{event}|1|P|2.5\rPID|||{fields}\rMRG|{fields}\rMSA|{fields}");
        let message = parse(text.as_bytes());
        let _ = Update::decode(&message, &domains());
        let _ = LinkChange::decode(&message, &domains());
        let _ = read_acknowledgement(&message, "1");
    }
}
