use proptest::prelude::*;
use smol_str::SmolStr;

use super::ack::{AckType, Acknowledgement, AcknowledgementMessage, Detail};
use super::datatype::{Ii, read_address, read_interval, read_name, read_telecom, read_time};
use super::wrapper::{Device, Wrapper};
use super::*;
use crate::id::patient::{MultipleBirth, TelecomSystem};
use crate::id::{
    Address, AssigningAuthority, Demographics, Domain, Domains, Gender, PatientId, PersonName, Telecom, Timestamp,
};
use crate::testing::{corpus, manifest, validates};
use crate::xml::{Limits, decode_text, parse};

const SCHEMAS: &str = "hl7v3/HL7V3/NE2008/multicacheschemas";

fn with<T>(xml: &str, read: impl FnOnce(Element<'_>) -> T) -> T {
    let tree = parse(xml, &Limits::default()).unwrap();
    read(tree.root().unwrap())
}

fn iso(oid: &str, id: &str) -> PatientId {
    PatientId::new(id, AssigningAuthority::new(oid, "ISO").unwrap()).unwrap()
}

#[test]
fn identifiers_are_written_with_the_parts_they_came_with() {
    for xml in [
        r#"<id root="2.999.1" extension="m1"/>"#,
        r#"<id root="2.999.1"/>"#,
        r#"<id extension="m1"/>"#,
        r#"<id nullFlavor="NA"/>"#,
    ] {
        let mut writer = Writer::new();
        with(xml, Ii::read).unwrap_or_default().write(&mut writer, "id");
        assert_eq!(writer.finish(), xml);
    }
}

#[test]
fn dates_are_read_in_every_form_that_partners_write() {
    for (xml, expected) in [
        ("<t value='19810101'/>", Some("19810101")),
        ("<t value='1981-01-01'/>", Some("19810101")),
        ("<t>20261122100303</t>", Some("20261122100303")),
        ("<t value='2026-11-22T10:03:03.653Z'/>", Some("20261122100303")),
        ("<t><low value='19620101'/><high value='19621231'/></t>", Some("1962")),
        ("<t><low value='19620401'/><high value='19620430'/></t>", Some("196204")),
        ("<t><center value='1962'/></t>", Some("1962")),
        ("<t value='19849711'/>", None),
        ("<t/>", None),
    ] {
        let read = with(xml, read_interval);
        assert_eq!(read.as_ref().map(|time| time.as_str()), expected, "{xml}");
    }
    assert!(with("<t><low value='1962'/></t>", read_time).is_none());
}

#[test]
fn names_addresses_and_numbers_of_live_partners_are_read() {
    let name = with(
        "<n use='L'>&lt;0&gt;<family qualifier='BR'>Roe</family><given>Ada</given><given>M</given></n>",
        read_name,
    );
    assert_eq!((name.family.as_str(), name.given.as_slice()), ("Roe", &[SmolStr::from("Ada"), "M".into()][..]));
    assert_eq!(name.kind, "M");
    let address = with(
        "<a>&lt;0&gt;<streetAddressLine>1 Elm</streetAddressLine><streetAddressLine>1 Elm</streetAddressLine>\
         <city> Salem </city><postalCode>01234</postalCode></a>",
        read_address,
    );
    assert_eq!((address.lines.len(), address.city.as_str(), address.postal_code.as_str()), (1, "Salem", "01234"));
    for (xml, expected) in [
        ("<t value='tel:+1-512-555-0100' use='HP'/>", Some((TelecomSystem::Phone, "+1-512-555-0100", "PRN"))),
        ("<t value='5125550100' use='phone'/>", Some((TelecomSystem::Phone, "5125550100", ""))),
        ("<t value='a@example.org'/>", Some((TelecomSystem::Email, "a@example.org", "NET"))),
        ("<t value='mailto:a@example.org'/>", Some((TelecomSystem::Email, "a@example.org", "NET"))),
        ("<t value='fax:1' use='WP'/>", Some((TelecomSystem::Fax, "1", "WPN"))),
        ("<t/>", None),
        ("<t value='tel:'/>", None),
    ] {
        let read = with(xml, read_telecom);
        let read = read.as_ref().map(|telecom| (telecom.system, telecom.value.as_str(), telecom.usage.as_str()));
        assert_eq!(read, expected, "{xml}");
    }
}

/// What one live partner answers: times and codes as text, elements out of order, empty ones in between.
#[test]
fn a_person_is_read_in_any_order_and_with_junk_in_between() {
    let xml = "<x:patient xmlns:x='urn:other'><x:patientPerson><x:asOtherIDs><x:id/></x:asOtherIDs><x:telecom/>\
        <x:birthTime>1981-01-01</x:birthTime><x:administrativeGenderCode>male</x:administrativeGenderCode>\
        <x:name><x:given>Ada</x:given><x:family>Fault</x:family></x:name></x:patientPerson>\
        <x:addr><x:city>Salem</x:city></x:addr></x:patient>";
    let person = with(xml, |element| person::read(element, &Domains::default()));
    assert_eq!(person.names, [PersonName::new("Fault", &["Ada"])]);
    assert_eq!(person.birth.unwrap().as_str(), "19810101");
    assert_eq!(person.gender, Some(Gender::Male));
    assert_eq!((person.other_ids.len(), person.telecoms.len(), person.addresses.len()), (0, 0, 1));
}

/// ITI TF-2: 3.55.6.2, the answer to a deferred query where that is not supported.
#[test]
fn an_acknowledgement_is_valid_and_is_read_back() {
    let device = |oid: &str| Device { id: Ii::root(oid), ..Device::default() };
    let now = Timestamp::from_rfc3339("2026-01-15T14:30:01Z").unwrap();
    let detail = Detail {
        code: "NS250".into(),
        system: "2.16.840.1.113883.5.1100".into(),
        text: "deferred < not supported".into(),
        locations: vec!["/PRPA_IN201305UV02".into()],
    };
    let message = AcknowledgementMessage {
        wrapper: Wrapper::new(Ii::new("2.999.200.1.9", "ack-1"), now, device("2.999.200.1"), device("2.999.100.1")),
        acknowledgement: Acknowledgement {
            kind: AckType::Error,
            target: Ii::new("2.999.100.1.9", "msg-1"),
            details: vec![detail],
        },
    };
    let xml = message.encode();
    validates(&xml, &format!("{SCHEMAS}/MCCI_IN000002UV01.xsd"));
    assert_eq!(with(&xml, AcknowledgementMessage::decode), Ok(message));
}

#[test]
fn every_person_and_acknowledgement_of_the_corpus_is_read() {
    for row in ["pixv3/", "pdqv3/", "xcpd/"].into_iter().flat_map(manifest) {
        let (path, kind) = (&row[0], &row[2]);
        let Some(bytes) = corpus(path).filter(|_| kind != "ITI-56") else { continue };
        let text = decode_text(&bytes, None).unwrap();
        let tree = parse(&text, &Limits::default()).unwrap();
        let mut root = tree.root().unwrap();
        if root.local_name() == "Envelope" {
            root = find(root, &["Body"]).and_then(|body| body.children().next()).unwrap();
        }
        if path.contains("prpa-invalid") {
            continue;
        }
        assert!(Wrapper::read(root).is_ok(), "{path}");
        if path.contains("response") && child(root, "acknowledgement").is_some() {
            assert!(Acknowledgement::read(root).is_ok_and(|ack| !ack.target.root.is_empty()), "{path}");
        }
        for patient in root.descendants().filter(|element| element.local_name() == "patient") {
            let person = person::read(patient, &Domains::default());
            let told = patient.descendants().any(|element| element.local_name() == "family");
            assert!(!told || !person.names.is_empty(), "{path}");
            let born = patient.descendants().any(|element| element.local_name() == "birthTime");
            assert!(!born || person.birth.is_some() || path.contains("nist-om"), "{path}");
        }
    }
}

#[test]
fn an_authority_told_by_name_alone_is_found_among_the_domains_known() {
    let authority = AssigningAuthority::new("2.999.10", "ISO").unwrap();
    let domains = Domains::new(vec![Domain { namespace: "NORTH".into(), authority }]);
    for (xml, found) in [
        ("<id extension='1' assigningAuthorityName='NORTH'/>", Some(iso("2.999.10", "1"))),
        ("<id extension='1' root='urn:oid:2.999.20'/>", Some(iso("2.999.20", "1"))),
        ("<id extension='1' assigningAuthorityName='SOUTH'/>", None),
        ("<id root='2.999.10'/>", None),
        ("<id/>", None),
    ] {
        assert_eq!(with(xml, |id| datatype::read_patient_id(id, &domains)).ok(), found, "{xml}");
    }
}

fn word() -> impl Strategy<Value = SmolStr> {
    "[A-Za-zé'<>&]{1,8}".prop_map(SmolStr::from)
}

prop_compose! {
    fn name()(family in word(), given in proptest::collection::vec(word(), 1..4), suffix in "(|Jr|III)", kind in "(|L|M|A|S)")
        -> PersonName {
        PersonName { family, given, suffix: suffix.into(), prefix: "".into(), kind: kind.into() }
    }
}

prop_compose! {
    fn address()(line in word(), city in word(), zip in "[0-9]{5}", kind in "(|H|B|BA)") -> Address {
        Address { lines: vec![line], city, postal_code: zip.into(), kind: kind.into(), ..Address::default() }
    }
}

prop_compose! {
    /// Persons of whom everything can be said in v3.
    pub(crate) fn person_of_v3()(
        names in proptest::collection::vec(name(), 0..3),
        addresses in proptest::collection::vec(address(), 0..3),
        gender in proptest::option::of(prop_oneof![Just(Gender::Female), Just(Gender::Male), Just(Gender::Other)]),
        birth in proptest::option::of("(19|20)[0-9]{2}((0[1-9]|1[0-2])(0[1-9]|1[0-9]|2[0-8])?)?"),
        phone in proptest::option::of("[+]?[0-9-]{3,9}[0-9]"),
        mail in proptest::option::of("[a-z]{1,8}@example\\.org"),
        language in proptest::option::of("[a-z]{2}"),
        ids in proptest::collection::vec("[0-9a-z]{1,9}", 0..3),
        mother in proptest::option::of(word()),
        order in proptest::option::of(1u8..5),
        deceased in proptest::option::of(any::<bool>()),
        place in proptest::option::of(word()),
    ) -> Demographics {
        let telecom = |system, value: String, usage: &str| Telecom { system, value: value.into(), usage: usage.into() };
        let phone = phone.map(|phone| telecom(TelecomSystem::Phone, phone, "PRN"));
        let mail = mail.map(|mail| telecom(TelecomSystem::Email, mail, "NET"));
        Demographics {
            names,
            addresses,
            gender,
            birth: birth.map(|digits| digits.parse().unwrap()),
            telecoms: phone.into_iter().chain(mail).collect(),
            language: language.map(Into::into),
            other_ids: ids.iter().map(|id| iso("2.999.30", id)).collect(),
            mothers_ids: ids.iter().take(1).map(|id| iso("2.999.40", id)).collect(),
            mothers_maiden_name: mother.map(|family| PersonName::new(&family, &[])),
            multiple_birth: order.map(|order| MultipleBirth { multiple: true, order: Some(order) }),
            deceased,
            birth_place: place,
            ..Demographics::default()
        }
    }
}

proptest! {
    #[test]
    fn demographics_survive_the_wire(person in person_of_v3()) {
        let mut writer = Writer::new();
        writer.start("patient").attribute("xmlns", ns::HL7V3);
        person::write(&mut writer, &person);
        let xml = writer.finish();
        let read = with(&xml, |patient| person::read(patient, &Domains::default()));
        prop_assert!(read == person, "{}", xml);
    }
}
