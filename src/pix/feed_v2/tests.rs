use proptest::prelude::*;

use super::*;
use crate::hl7v2::{Hd, Limits};
use crate::id::patient::{MultipleBirth, TelecomSystem};
use crate::id::{Address, Domain, Gender, PersonName, Telecom};
use crate::pix::demographics_v2::Part;
use crate::testing::{corpus, manifest};

fn authority(oid: &str) -> AssigningAuthority {
    AssigningAuthority::new(oid, "ISO").unwrap()
}

fn domains() -> Domains {
    let domain = |name: &str, oid: &str| Domain { namespace: name.into(), authority: authority(oid) };
    Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20")])
}

fn north(id: &str) -> PatientId {
    PatientId::new(id, authority("2.999.10")).unwrap()
}

fn decode_by(text: &str, rules: &Rules) -> Result<Request, Refusal> {
    Request::decode(&Message::parse(text.as_bytes(), &Limits::default()).unwrap(), &domains(), rules)
}

fn decode(event: &str, segments: &str) -> Result<Request, Refusal> {
    decode_by(&format!("MSH|^~\\&|ADT1|NORTH|GW|GATE|2026||ADT^{event}|N-1|P|2.3.1\r{segments}"), &Rules::default())
}

/// MSA-1, ERR-3 and ERR-2 of a refusal.
fn answer(refusal: &Refusal) -> (&'static str, &'static str, String) {
    let (code, fault) = refusal.fault();
    let place = fault.location.map(|location| location.to_string()).unwrap_or_default();
    (code.code(), fault.condition.wire().0, place)
}

/// ITI TF-2: 3.8.4.1 and Appendix C.2.3.
#[test]
fn what_cannot_be_taken_is_refused_with_its_code_and_place() {
    for (event, segments, expected) in [
        ("A60", "PID|||1^^^NORTH", ("AR", "201", "MSH^1^9^1^2")),
        ("", "PID|||1^^^NORTH", ("AR", "201", "MSH^1^9^1^2")),
        ("A01", "PV1|1|I", ("AE", "100", "PID^1")),
        ("A01", "PID|||", ("AE", "101", "PID^1^3")),
        ("A01", "PID|||^^^", ("AE", "101", "PID^1^3")),
        ("A01", "PID|||1^^^&&", ("AE", "204", "PID^1^3^1^4")),
        ("A01", "PID|||1^^^NORTH~2^^^SOUTH", ("AE", "204", "PID^1^3^2^4")),
        ("A01", "PID|||1^^^&2.999.10", ("AE", "204", "PID^1^3^1^4")),
        ("A01", "PID|||1^^^WEST&2.999.10&ISO", ("AE", "204", "PID^1^3^1^4")),
        ("A01", "PID|||^^^NORTH", ("AE", "102", "PID^1^3^1^1")),
        ("A01", "PID|||1^^^NORTH||||19841399", ("AE", "102", "PID^1^7")),
        ("A40", "PID|||1^^^NORTH", ("AE", "100", "MRG^1")),
        ("A40", "PID|||1^^^NORTH\rMRG|", ("AE", "101", "MRG^1^1")),
        ("A40", "PID|||1^^^NORTH\rMRG|2^^^WEST", ("AE", "204", "MRG^1^1^1^4")),
        ("A40", "PID|||1^^^NORTH\rMRG|2^^^SOUTH", ("AE", "204", "MRG^1^1^1^4")),
        ("A40", "PID|||1^^^NORTH\rMRG|1^^^NORTH", ("AE", "205", "MRG^1^1^1^1")),
        ("A40", "PID|||1^^^NORTH\rMRG|2^^^NORTH\rPID|||3^^^NORTH\rMRG|4^^^NORTH", ("AE", "100", "PID^2")),
        ("A24", "PID|||1^^^NORTH", ("AE", "100", "PID^1")),
        ("A24", "PID|||1^^^NORTH\rPID|||9^^^SOUTH", ("AE", "204", "PID^2^3^1^4")),
    ] {
        let refusal = decode(event, segments).unwrap_err();
        let (code, condition, place) = answer(&refusal);
        assert_eq!((code, condition, place.as_str()), expected, "{event} {segments}");
    }
}

#[test]
fn the_header_is_checked_against_what_the_source_has_to_send() {
    let production = Rules { processing_id: Some('P'), link: false, ..Rules::default() };
    for (header, expected) in [
        ("ORU^R01|1|P|2.5", ("AR", "200", "MSH^1^9^1^1")),
        ("|1|P|2.5", ("AR", "101", "MSH^1^9")),
        ("ADT^A01||P|2.5", ("AR", "101", "MSH^1^10")),
        ("ADT^A01|1|T|2.5", ("AR", "202", "MSH^1^11")),
        ("ADT^A01|1|P|3.0", ("AR", "203", "MSH^1^12")),
        ("ADT^A24^ADT_A24|1|P|2.5", ("AR", "201", "MSH^1^9^1^2")),
    ] {
        let refusal =
            decode_by(&format!("MSH|^~\\&|A|B|C|D|2026||{header}\rPID|||1^^^NORTH"), &production).unwrap_err();
        let (code, condition, place) = answer(&refusal);
        assert_eq!((code, condition, place.as_str()), expected, "{header}");
    }
    for header in ["ADT^A01|1|P|2.3.1", "ADT^A01^ADT_A01|1|P^T|2.8", "ADT^A01^ADT_A40|1|P|2.5^USA"] {
        let taken = decode_by(&format!("MSH|^~\\&|A|B|C|D|2026||{header}\rPID|||1^^^NORTH"), &production);
        assert_eq!(taken.map(|request| request.event), Ok(Event::A01), "{header}");
    }
}

/// ITI TF-2: Appendix E.1; OpenHIE CR-01.
#[test]
fn an_empty_authority_is_filled_in_only_where_configured() {
    let text = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|||7";
    assert!(matches!(decode_by(text, &Rules::default()), Err(Refusal::Authority { cause: DomainError::Missing, .. })));
    let rules = Rules { default_authority: Some(authority("2.999.10")), ..Rules::default() };
    let FeedRequest::Add { ids, .. } = decode_by(text, &rules).unwrap().change else { panic!() };
    assert_eq!(ids, [north("7")]);
}

#[test]
fn merges_links_and_changes_name_both_identifiers() {
    let pair = || vec![Pair { survivor: north("44"), subsumed: north("91") }];
    let west = PatientId::new("7", authority("2.999.20")).unwrap();
    let two = "PID|||44^^^NORTH\rMRG|91^^^NORTH\r";
    let both = "PID|||44^^^NORTH\rPID|||7^^^WEST\r";
    for (event, segments, change) in [
        ("A40^ADT_A39", two, FeedRequest::Merge(pair())),
        ("A40", "PID|||5^^^WEST~44^^^NORTH\rMRG|91^^^NORTH\rPV1||O", FeedRequest::Merge(pair())),
        ("A47^ADT_A30", two, FeedRequest::ChangeId(pair())),
        ("A24^ADT_A24", both, FeedRequest::Link(north("44"), west.clone())),
        ("A37^ADT_A37", both, FeedRequest::Unlink(north("44"), west)),
    ] {
        assert_eq!(decode(event, segments).unwrap().change, change, "{event}");
    }
}

#[test]
fn demographics_are_read_from_every_field_of_pid() {
    let pid = "PID|||44^^^NORTH~123^^^SSA^SS||Okafor&x^Ada^M Q^Jr^Dr^^L~Roe^Ada^^^^^M|Smith^^^^^^M|198703|F||2106-3^White|\
        12 Elm St^Apt 3^Salem^OR^97301^US^H^^Marion||^PRN^PH^^1^503^5550100~^NET^Internet^a@example.org|555^WPN^PH|EN^English|M||\
        ACC1^^^NORTH|123-45-6780|L77^OR|9^^^WEST|N^Not|Salem|Y|2||||20260101|Y|Y\r";
    let FeedRequest::Add { demographics, ids } = decode("A28", pid).unwrap().change else { panic!() };
    assert_eq!(ids, [north("44")], "a social security number in PID-3 is no identifier of a domain");
    let person = *demographics;
    assert_eq!(person.names[0].given, ["Ada", "M", "Q"]);
    assert_eq!((person.names[0].family.as_str(), person.names[0].suffix.as_str()), ("Okafor", "Jr"));
    assert_eq!(person.names[1].kind, "M");
    assert_eq!(person.mothers_maiden_name.as_ref().unwrap().family, "Smith");
    assert_eq!(person.birth.as_ref().unwrap().as_str(), "198703");
    assert_eq!(person.gender, Some(Gender::Female));
    assert_eq!(person.addresses[0].lines, ["12 Elm St", "Apt 3"]);
    assert_eq!(person.addresses[0].county, "Marion");
    let telecoms: Vec<_> = person.telecoms.iter().map(|t| (t.system, t.value.as_str(), t.usage.as_str())).collect();
    assert_eq!(
        telecoms,
        [
            (TelecomSystem::Phone, "+1-503-5550100", "PRN"),
            (TelecomSystem::Email, "a@example.org", "NET"),
            (TelecomSystem::Phone, "555", "WPN"),
        ]
    );
    assert_eq!((person.language.as_deref(), person.marital_status.as_deref()), (Some("EN"), Some("M")));
    assert_eq!(person.account, Some(north("ACC1")));
    let others: Vec<String> = person.other_ids.iter().map(PatientId::to_cx).collect();
    assert_eq!(
        others,
        [
            "123-45-6780^^^&2.16.840.1.113883.4.1&ISO",
            "123^^^&2.16.840.1.113883.4.1&ISO",
            "L77^^^&2.16.840.1.113883.4.3.41&ISO"
        ]
    );
    assert_eq!(person.mothers_ids.len(), 1);
    assert_eq!((person.race.as_deref(), person.ethnicity.as_deref()), (Some("2106-3"), Some("N")));
    assert_eq!(person.multiple_birth, Some(MultipleBirth { multiple: true, order: Some(2) }));
    assert_eq!(
        (person.birth_place.as_deref(), person.deceased, person.identity_unknown),
        (Some("Salem"), Some(true), true)
    );
    assert_eq!(person.death.as_ref().unwrap().as_str(), "20260101");
}

/// ITI TF-2: Appendix C: an empty field changes nothing, `""` deletes.
#[test]
fn an_update_changes_only_what_it_mentions() {
    let add =
        "PID|||44^^^NORTH||Okafor^Ada||19870312|F|||12 Elm St^^Salem||111^PRN^PH|222^WPN^PH||M|||123-45-6780|L77^OR";
    let FeedRequest::Add { demographics: before, .. } = decode("A01", add).unwrap().change else { panic!() };
    let update = "PID|||44^^^NORTH~\"\"^^^WEST||Okafor^Adah||||||\"\"||333^PRN^PH|||\"\"|||\"\"";
    let FeedRequest::Revise { removed, revision, .. } = decode("A08", update).unwrap().change else { panic!() };
    assert_eq!(removed, [authority("2.999.20")]);
    assert_eq!(revision.deleted, [Part::Addresses, Part::MaritalStatus, Part::SocialSecurity]);
    let after = revision.apply_to(&before);
    assert_eq!(after.names[0].given, ["Adah"]);
    assert_eq!((after.birth, after.gender), (before.birth, before.gender));
    assert!(after.addresses.is_empty() && after.marital_status.is_none());
    let numbers: Vec<&str> = after.telecoms.iter().map(|telecom| telecom.value.as_str()).collect();
    assert_eq!(numbers, ["222", "333"], "the number at work stays, that at home is replaced");
    assert_eq!(after.other_ids.len(), 1, "the social security number goes, the licence stays");
}

/// OpenHIE CR-05 and CR-07: a newborn has an identifier, a sex and a date of birth, and perhaps a mother.
#[test]
fn a_newborn_without_a_name_is_registered() {
    let pid = "PID|||441^^^NORTH||||20141001|M|||||||||||||439^^^NORTH";
    let FeedRequest::Add { demographics, .. } = decode("A01", pid).unwrap().change else { panic!() };
    assert!(demographics.names.is_empty());
    assert_eq!(demographics.mothers_ids, [north("439")]);
}

/// Domains that a message itself names, as if all of them were configured.
fn domains_of(message: &Message) -> Domains {
    let fields = [("PID", 3), ("MRG", 1)];
    let cxs = fields.iter().flat_map(|&(segment, field)| message.field(segment, field).repetitions().map(Cx::read));
    let mut found: Vec<Domain> = Vec::new();
    for (index, cx) in cxs.enumerate() {
        let authority = AssigningAuthority::new(&cx.universal_id, &cx.universal_id_type)
            .unwrap_or_else(|_| authority(&format!("2.999.77.{index}")));
        let known = found.iter().any(|domain| domain.namespace == cx.namespace || domain.authority == authority);
        if !known && !cx.names_no_authority() {
            found.push(Domain { namespace: cx.namespace.clone(), authority });
        }
    }
    if found.is_empty() {
        found.push(Domain { namespace: "ONLY".into(), authority: authority("2.999.1") });
    }
    Domains::new(found)
}

/// Every feed of the corpus is accepted or refused as its manifest says, as far as the message alone decides.
#[test]
fn feeds_of_the_corpus_are_accepted_and_refused_as_expected() {
    // Refused although their publishers take them: encounter events that no identity feed has, notifications of
    // another transaction, and merges across domains, which are translation samples.
    let other_transactions = [
        "a02",
        "a03",
        "a10",
        "a11",
        "a13",
        "a29",
        "a41",
        "a45",
        "a60",
        "testdispatch-3",
        "nist-adt-ack",
        "pix_feed_merge_maximal",
        "adt-a47-01",
    ];
    let mut seen = 0;
    for row in manifest("hl7v2-pix-feed/") {
        let (path, expected) = (&row[0], &row[7]);
        let Some(bytes) = corpus(path).filter(|_| path.ends_with(".hl7")) else { continue };
        let message = Message::parse(&bytes, &Limits::default()).unwrap();
        // OpenHIE CR-01, CR-03 and CR-04 turn on which domains exist and who feeds them.
        let unconfigured = path.contains("cr-01") || path.contains("cr-03");
        let known = if unconfigured { domains() } else { domains_of(&message) };
        let rules = Rules {
            default_authority: (!unconfigured)
                .then(|| domains_of(&message).iter().next().map_or(authority("2.999.1"), |d| d.authority.clone())),
            ..Rules::default()
        };
        let decoded = Request::decode(&message, &known, &rules);
        let refuses = expected.starts_with("AE") || expected.contains("AR");
        let elsewhere = other_transactions.iter().any(|name| path.contains(name));
        match decoded {
            Ok(_) if path.contains("cr-04-30") => {}
            Ok(request) => {
                assert!(!refuses && !elsewhere, "{path} was accepted");
                let again = Message::parse(&request.encode(&known), &Limits::default()).unwrap();
                let again = Request::decode(&again, &known, &Rules::default());
                assert_eq!(again.map(|request| request.change), Ok(request.change), "{path}");
            }
            Err(refusal) => assert!(refuses || elsewhere, "{path}: {refusal}"),
        }
        seen += 1;
    }
    println!("{seen} feeds decoded");
}

fn word() -> impl Strategy<Value = smol_str::SmolStr> {
    "[A-Za-zé'|^~&\\\\]{1,8}".prop_map(smol_str::SmolStr::from)
}

prop_compose! {
    fn name()(family in word(), given in proptest::collection::vec(word(), 1..3), suffix in "(|Jr|III)", kind in "(|L|M|A)")
        -> PersonName {
        PersonName { family, given, suffix: suffix.into(), prefix: "".into(), kind: kind.into() }
    }
}

prop_compose! {
    fn address()(lines in proptest::collection::vec(word(), 1..3), city in word(), zip in "[0-9]{5}", kind in "(|H|B)")
        -> Address {
        Address { lines, city, postal_code: zip.into(), kind: kind.into(), ..Address::default() }
    }
}

prop_compose! {
    fn person()(
        names in proptest::collection::vec(name(), 0..3),
        addresses in proptest::collection::vec(address(), 0..3),
        gender in proptest::option::of(prop_oneof![Just(Gender::Female), Just(Gender::Male), Just(Gender::Other)]),
        birth in proptest::option::of("(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|1[0-9]|2[0-8])"),
        phone in proptest::option::of("[0-9]{7}"),
        mail in proptest::option::of("[a-z]{1,8}@example\\.org"),
        language in proptest::option::of("[a-z]{2}"),
        ssn in proptest::option::of("[0-9]{9}"),
        order in proptest::option::of(1u8..5),
        identity_unknown in any::<bool>(),
    ) -> Demographics {
        let telecom = |system, value: String, usage: &str| Telecom { system, value: value.into(), usage: usage.into() };
        let mut telecoms = Vec::new();
        telecoms.extend(mail.map(|mail| telecom(TelecomSystem::Email, mail, "NET")));
        telecoms.extend(phone.map(|phone| telecom(TelecomSystem::Phone, phone, "WPN")));
        Demographics {
            names,
            addresses,
            gender,
            birth: birth.map(|digits| digits.parse().unwrap()),
            telecoms,
            language: language.map(Into::into),
            other_ids: ssn.map(|ssn| PatientId::new(&ssn, authority("2.16.840.1.113883.4.1")).unwrap()).into_iter().collect(),
            multiple_birth: order.map(|order| MultipleBirth { multiple: true, order: Some(order) }),
            identity_unknown,
            ..Demographics::default()
        }
    }
}

proptest! {
    #[test]
    fn demographics_survive_the_wire(person in person()) {
        let header = Header {
            sending_application: Hd::named("ADT1"),
            control_id: "1".into(),
            processing_id: "P".into(),
            version: "2.5".into(),
            ..Header::default()
        };
        let now = Timestamp::from_millis(0);
        let bytes = encode_adt(Event::A28, &[north("44")], &person, header, now, &domains());
        let message = Message::parse(&bytes, &Limits::default()).unwrap();
        let request = Request::decode(&message, &domains(), &Rules::default()).unwrap();
        prop_assert_eq!(request.change, FeedRequest::Add { ids: vec![north("44")], demographics: Box::new(person) });
    }

    #[test]
    fn no_segment_makes_the_reader_panic(event in "A(01|08|40|24|47)", fields in "[|^~&\"0-9A-Z\\\\]{0,80}") {
        let _ = decode(&event, &format!("PID|||1^^^NORTH|{fields}\rMRG|{fields}\rPID|{fields}"));
    }
}
