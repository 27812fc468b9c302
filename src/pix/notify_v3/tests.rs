use super::*;
use crate::hl7v3::ack::{AckType, Acknowledgement};
use crate::hl7v3::wrapper::Device;
use crate::id::{Domain, Timestamp};
use crate::pix::feed_v2::FeedRequest;
use crate::pix::feed_v3;
use crate::testing::validates;
use crate::xml::{Limits, parse};

fn with<T>(xml: &str, read: impl FnOnce(Element<'_>) -> T) -> T {
    let tree = parse(xml, &Limits::default()).unwrap();
    read(tree.root().unwrap())
}

fn authority(oid: &str) -> AssigningAuthority {
    AssigningAuthority::new(oid, "ISO").unwrap()
}

fn id(oid: &str, id: &str) -> PatientId {
    PatientId::new(id, authority(oid)).unwrap()
}

fn domains() -> Domains {
    let domain = |name: &str, oid: &str| Domain { namespace: name.into(), authority: authority(oid) };
    Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20")])
}

fn wrapper(number: u32) -> Wrapper {
    let device = |oid: &str| Device { id: Ii::root(oid), ..Device::default() };
    let now = Timestamp::from_rfc3339("2026-01-15T13:00:00Z").unwrap();
    Wrapper::new(Ii::root(&format!("2.999.7.{number}")), now, device("2.999.99"), device("2.999.20.1"))
}

fn updates() -> Vec<Update> {
    let sets = [
        vec![id("2.999.10", "N-44"), id("2.999.30", "S-3"), id("2.999.20", "W-7")],
        vec![id("2.999.30", "S-4")],
        vec![id("2.999.10", "N-45")],
    ];
    let mut number = 0;
    Update::for_sets(&sets, &[authority("2.999.10"), authority("2.999.20")], &Ii::root("2.999.99"), || {
        number += 1;
        wrapper(number)
    })
}

/// ITI TF-2: 3.46.4.1.2: a message for each set, of each set the consumer's domains, and nothing of the person.
#[test]
fn a_notification_tells_the_identifiers_and_nothing_else() {
    let sent = updates();
    assert_eq!(sent.iter().map(|update| update.ids.len()).collect::<Vec<_>>(), [2, 1]);
    assert_ne!(sent[0].wrapper.id, sent[1].wrapper.id);
    for update in sent {
        let xml = update.encode(&domains());
        validates(&xml, "hl7v3/HL7V3/NE2008/multicacheschemas/PRPA_IN201302UV02.xsd");
        assert!(xml.contains("<name nullFlavor=\"NA\"/></patientPerson>"), "{xml}");
        assert_eq!(with(&xml, |body| Update::decode(body, &domains())), Ok(update.clone()));
        let feed = with(&xml, |body| feed_v3::Request::decode(body, &domains())).unwrap();
        assert!(matches!(feed.change, FeedRequest::Revise { ids, .. } if ids == update.ids));
    }
}

#[test]
fn acknowledgements_are_read_and_matched_with_their_message() {
    let update = updates().remove(0);
    let answer = |kind, target: &str| {
        let acknowledgement = Acknowledgement::new(kind, Ii::root(target));
        let xml = AcknowledgementMessage { wrapper: wrapper(9), acknowledgement }.encode();
        with(&xml, |body| update.read_acknowledgement(body))
    };
    assert_eq!(answer(AckType::CommitAccept, "2.999.7.1"), Ok(()));
    assert_eq!(answer(AckType::Accept, "2.999.7.1"), Ok(()));
    assert_eq!(answer(AckType::CommitAccept, "2.999.7.2"), Err(NotAccepted::OtherMessage));
    assert_eq!(answer(AckType::CommitError, "2.999.7.1"), Err(NotAccepted::Refused(String::new())));
    assert!(matches!(with("<x/>", |body| update.read_acknowledgement(body)), Err(NotAccepted::Unreadable(_))));
}
