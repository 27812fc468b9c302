use proptest::prelude::*;

use super::*;
use crate::hl7v2::{Hd, Limits};
use crate::id::patient::TelecomSystem;
use crate::id::{Address, Demographics, Domain, Gender, PatientId, PersonName, Telecom, Timestamp};
use crate::pdq::visit::{Place, Practitioner, Visit};
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

fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes, &Limits::default()).unwrap()
}

fn us() -> Answering {
    Answering {
        application: Hd::named("GW"),
        facility: Hd::named("GATEWAY"),
        now: Timestamp::from_rfc3339("2026-01-15T14:00:01Z").unwrap(),
        control_id: "S1".into(),
    }
}

fn ask(event: &str, qpd: &str, rest: &str) -> Message {
    let header = format!("MSH|^~\\&|EHR|WEST|GW_PD|GATEWAY|20260115140000||QBP^{event}^QBP_Q21|P1|P|2.5");
    parse(format!("{header}\rQPD|IHE PDQ Query|tag09|{qpd}\r{rest}\r").as_bytes())
}

fn ada() -> Match {
    let demographics = Demographics {
        names: vec![PersonName::new("Okafor", &["Ada", "M"])],
        gender: Some(Gender::Female),
        birth: Some("19870312".parse().unwrap()),
        addresses: vec![Address {
            lines: vec!["12 Elm St".into()],
            city: "Salem".into(),
            state: "OR".into(),
            postal_code: "97301".into(),
            ..Address::default()
        }],
        ..Demographics::default()
    };
    Match { ids: vec![north("N-44")], demographics, confidence: Some(97), visit: None }
}

fn answered(message: &Message, answer: Answer) -> Vec<String> {
    let bytes = match Request::decode(message, &domains()) {
        Ok(request) => Response::new(&request, answer).encode(&request.header, &us(), &domains()),
        Err(refusal) => Response::refuse(message, &refusal, &us()),
    };
    String::from_utf8(bytes).unwrap().split_terminator('\r').map(str::to_owned).collect()
}

/// ITI TF-2: 3.21.4.2.2 and 3.22.4.2.2.
#[test]
fn each_case_is_answered_as_the_profile_says() {
    let who = "@PID.5.1.1^OKAFOR~@PID.8^F";
    let msh = |event: &str| format!("MSH|^~\\&|GW_PD|GATEWAY|EHR|WEST|20260115140001+0000||RSP^{event}|S1|P|2.5");
    let qpd = |rest: &str| format!("QPD|IHE PDQ Query|tag09|{who}{rest}");
    let page = Page { matches: vec![ada()], next: Some("c-8812-2".into()), ..Page::default() };
    assert_eq!(
        answered(&ask("Q22", who, "RCP|I|2^RD"), Answer::found(page)),
        [
            msh("K22^RSP_K21"),
            "MSA|AA|P1".into(),
            "QAK|tag09|OK".into(),
            qpd(""),
            "PID|1||N-44^^^NORTH&2.999.10&ISO||Okafor^Ada^M||19870312|F|||12 Elm St^^Salem^OR^97301".into(),
            "QRI|97".into(),
            "DSC|c-8812-2|I".into(),
        ]
    );
    assert_eq!(
        answered(&ask("Q22", who, ""), Answer::found(Page::default())),
        [msh("K22^RSP_K21"), "MSA|AA|P1".into(), "QAK|tag09|NF".into(), qpd("")]
    );
    let wanted = "|||||^^^NORTH&2.999.10&ISO~^^^MOON&2.999.9&ISO~^^^MARS";
    let err = |n| format!("ERR||QPD^1^8^{n}|204^Unknown key identifier^HL70357|E|||a requested domain is not known");
    assert_eq!(
        answered(&ask("Q22", &format!("{who}{wanted}"), "RCP|I|2^RD"), Answer::NothingFound),
        [msh("K22^RSP_K21"), "MSA|AE|P1".into(), err(2), err(3), "QAK|tag09|AE".into(), qpd(wanted)]
    );
    let location = Place { point_of_care: "4E".into(), room: "12".into(), bed: "B".into(), ..Place::default() };
    let attending = Practitioner { id: "77".into(), family: "Lee".into(), given: "Kim".into() };
    let visit = Visit {
        class: Some("I".into()),
        location: Some(location),
        attending: Some(attending),
        service: Some("MED".into()),
        number: Some(north("V-500")),
        ..Visit::default()
    };
    let matches = vec![Match { visit: Some(visit), confidence: None, ..ada() }];
    let page = Page { matches, ..Page::default() };
    let segments = answered(&ask("ZV1", who, "RCP|I|10^RD"), Answer::found(page));
    assert_eq!(segments[0], msh("ZV2^RSP_ZV2"));
    assert_eq!(segments[5], "PV1|1|I|4E^12^B||||77^Lee^Kim|||MED|||||||||V-500^^^NORTH&2.999.10&ISO^VN");
}

#[test]
fn what_cannot_be_answered_is_refused_with_its_code_and_place() {
    let header = |message: &str, rest: &str| parse(format!("MSH|^~\\&|A|B|C|D|2026||{message}|2.5\r{rest}").as_bytes());
    for (message, expected) in [
        (header("QBP^Q99|1|P", ""), "AR 201 MSH^1^9^1^2 "),
        (header("QBP^Q22|1|P", ""), "AE 100 QPD^1 AE"),
        (header("QBP^Q22|1|P", "QPD|IHE PDQ Query||@PID.8^F"), "AE 101 QPD^1^2 AE"),
        (ask("Q22", "", ""), "AE 101 QPD^1^3 AE"),
        (ask("Q22", "@PID.3.1^44~@PID.3.4.99^NORTH", ""), "AE 103 QPD^1^3^2 AE"),
        (ask("Q22", "@PID.8^F~@PID.7^1984-13", ""), "AE 102 QPD^1^3^2 AE"),
        (ask("Q22", "@PID.3.1^44", ""), "AE 101 QPD^1^3^1 AE"),
    ] {
        let refusal = Request::decode(&message, &domains()).unwrap_err();
        let answer = parse(&Response::refuse(&message, &refusal, &us()));
        let field = |segment: &str, number: usize| answer.field(segment, number).text().into_owned();
        let place = answer.field("ERR", 2).raw().to_owned();
        assert_eq!(
            format!("{} {} {place} {}", field("MSA", 1), field("ERR", 3), field("QAK", 2)),
            expected,
            "{refusal}"
        );
    }
    let message = ask("Q22", "@PID.8^F", "");
    for (refusal, expected) in [
        (answer::Refusal::UnknownContinuation, ("AE", "204", "DSC^1^1", "AE")),
        (answer::Refusal::Unavailable, ("AR", "207", "", "AR")),
    ] {
        let segments = answered(&message, Answer::Refused(refusal)).join("\r");
        let answer = parse(format!("{segments}\r").as_bytes());
        let field = |segment: &str, number: usize| answer.field(segment, number).text().into_owned();
        let place = answer.field("ERR", 2).raw().to_owned();
        let found = (field("MSA", 1), field("ERR", 3), place, field("QAK", 2));
        assert_eq!((found.0.as_str(), found.1.as_str(), found.2.as_str(), found.3.as_str()), expected);
    }
}

#[test]
fn pages_are_counted_in_records_and_continued_by_their_pointer() {
    for (rest, quantity, continues) in [
        ("RCP|I|10^RD", Some(10), None),
        ("RCP|I|10", Some(10), None),
        ("RCP|I|10^CH", None, None),
        ("RCP|I|0^RD", None, None),
        ("RCP|I\rDSC|c-1|I", None, Some("c-1")),
        ("", None, None),
    ] {
        let request = Request::decode(&ask("Q22", "@PID.8^F", rest), &domains()).unwrap();
        assert_eq!((request.quantity, request.continues.as_deref()), (quantity, continues), "{rest}");
    }
    let first = Request::decode(&ask("Q22", "@PID.5^OKAFOR|80|x", "RCP|I|2^RD"), &domains()).unwrap();
    assert_eq!((first.query.minimum_degree, first.query.algorithm.as_deref()), (Some(80), Some("x")));
    let next = Request { continues: Some("c-2".into()), ..first.clone() };
    let text = String::from_utf8(next.encode(&domains())).unwrap();
    assert!(text.ends_with("\rQPD|IHE PDQ Query|tag09|@PID.5^OKAFOR|80|x\rRCP|I|2^RD\rDSC|c-2|I\r"), "{text}");
}

#[test]
fn a_query_is_cancelled_by_its_tag() {
    let sent = Cancel {
        header: Header { control_id: "P4".into(), version: "2.5".into(), ..Header::default() },
        tag: "tag10".into(),
    };
    let message = parse(&sent.encode());
    let read = Cancel::decode(&message).unwrap();
    assert_eq!(read.tag, "tag10");
    let ack = String::from_utf8(Ack::accept().encode(&read.header, &us())).unwrap();
    assert!(ack.contains("|ACK^J01^ACK|S1|") && ack.ends_with("\rMSA|AA|P4\r"), "{ack}");
    for (rest, expected) in [("", Refusal::NoSegment("QID")), ("QID||x", Refusal::NoTag("QID"))] {
        let message = parse(format!("MSH|^~\\&|A|B|C|D|2026||QCN^J01|1|P|2.5\r{rest}\r").as_bytes());
        let refusal = Cancel::decode(&message).unwrap_err();
        assert_eq!(refusal, expected);
        let ack = parse(&Response::refuse(&message, &refusal, &us()));
        assert!(ack.segment("QAK").is_none() && ack.field("MSA", 1).text() == "AE");
    }
}

#[test]
fn identifiers_of_domains_that_were_not_asked_for_are_left_out() {
    let west = PatientId::new("W-7", authority("2.999.20")).unwrap();
    let found = Match { ids: vec![north("N-44"), west.clone()], ..ada() };
    let of = |wanted: &[AssigningAuthority]| found.clone().restricted_to(wanted).map(|one| one.ids);
    assert_eq!(of(&[]), Some(vec![north("N-44"), west.clone()]));
    assert_eq!(of(&[authority("2.999.20")]), Some(vec![west]));
    assert_eq!(of(&[authority("2.999.30")]), None);
}

/// Every message of the corpus: queries and cancellations are decoded, answers are understood.
#[test]
fn queries_and_answers_of_the_corpus_are_understood() {
    let all = Domains::new(
        [
            ("HIMSS2005", "1.3.6.1.4.1.21367.2005.1.1"),
            ("OTHER", "1.3.6.1.4.1.21367.2005.1.2"),
            ("TEST", "2.16.840.1.113883.3.72.5.9.1"),
        ]
        .map(|(name, oid)| Domain { namespace: name.into(), authority: authority(oid) })
        .to_vec(),
    );
    let (mut queries, mut people) = (0, 0);
    for row in manifest("hl7v2-pdq/") {
        let path = &row[0];
        let Some(bytes) = corpus(path) else { return };
        let message = parse(&bytes);
        if message.segment("QID").is_some() {
            assert!(Cancel::decode(&message).is_ok(), "{path}");
        } else if row[3] == "query" {
            let request = Request::decode(&message, &all).unwrap_or_else(|refusal| panic!("{path}: {refusal}"));
            let again = Request::decode(&parse(&request.encode(&all)), &all).unwrap();
            assert!(again.query == request.query && again.wanted == request.wanted, "{path}");
            queries += 1;
        } else {
            let response = Response::decode(&message, &all).unwrap_or_else(|error| panic!("{path}: {error}"));
            let segments = message.segments_named("PID").count();
            match &response.answer {
                Answer::Found(page) => {
                    assert_eq!(page.matches.len(), segments, "{path}");
                    assert_eq!(page.next.is_some(), message.segment("DSC").is_some(), "{path}");
                    assert!(page.matches.iter().all(|one| !one.ids.is_empty()), "{path}");
                    people += segments;
                }
                Answer::NothingFound => assert_eq!(segments, 0, "{path}"),
                Answer::Refused(refusal) => panic!("{path}: {refusal:?}"),
            }
        }
    }
    println!("{queries} queries and {people} people decoded");
}

fn word() -> impl Strategy<Value = SmolStr> {
    "[A-Za-zé*'|^~&\\\\]{1,8}"
        .prop_filter("not only asterisks", |text| !text.trim_matches('*').is_empty())
        .prop_map(SmolStr::from)
}

prop_compose! {
    fn query()(
        names in proptest::collection::vec((word(), word()), 0..3),
        birth in proptest::option::of("(19|20)[0-9]{2}((0[1-9]|1[0-2])(0[1-9]|1[0-9]|2[0-8])?)?"),
        gender in proptest::option::of(prop_oneof![Just(Gender::Female), Just(Gender::Male), Just(Gender::Other)]),
        address in proptest::option::of((word(), word())),
        phone in proptest::option::of("[0-9]{7}"),
        mother in proptest::option::of(word()),
        account in proptest::option::of("[A-Z0-9]{1,5}"),
        ids in proptest::collection::vec("[0-9a-z]{1,9}", 1..3),
        degree in proptest::option::of(0u8..=100),
        ward in proptest::option::of(word()),
    ) -> PatientQuery {
        let phone = phone.map(|value| Telecom { system: TelecomSystem::Phone, value: value.into(), usage: "PRN".into() });
        let address = address.map(|(line, city)| Address { lines: vec![line], city, ..Address::default() });
        let person = Demographics {
            names: names.iter().map(|(family, given)| PersonName { family: family.clone(), given: vec![given.clone()], ..PersonName::default() }).collect(),
            birth: birth.map(|digits| digits.parse().unwrap()),
            gender,
            addresses: address.into_iter().collect(),
            telecoms: phone.into_iter().collect(),
            mothers_maiden_name: mother.map(|family| PersonName { family, ..PersonName::default() }),
            account: account.map(|account| north(&account)),
            ..Demographics::default()
        };
        let location = ward.map(|point_of_care| Place { point_of_care, ..Place::default() });
        PatientQuery {
            person,
            ids: ids.iter().map(|id| north(id)).collect(),
            minimum_degree: degree,
            visit: Visit { location, ..Visit::default() },
            ..PatientQuery::default()
        }
    }
}

proptest! {
    #[test]
    fn queries_survive_the_wire(query in query(), quantity in proptest::option::of(1u32..500)) {
        let header = Header { control_id: "1".into(), processing_id: "P".into(), version: "2.5".into(), ..Header::default() };
        let asked = Asked { tag: "t".into(), echo: String::new() };
        let (kind, wanted) = (Kind::Visits, vec![authority("2.999.20")]);
        let sent = Request { header, kind, asked, query, wanted, quantity, continues: None };
        let read = Request::decode(&parse(&sent.encode(&domains())), &domains()).unwrap();
        prop_assert!(read.query == sent.query);
        prop_assert_eq!((read.kind, read.quantity, read.wanted), (sent.kind, sent.quantity, sent.wanted));
    }

    #[test]
    fn no_message_makes_the_reader_panic(path in "@?P(ID|V1)\\.[0-9]{0,2}(\\.[0-9]{1,2}){0,3}", fields in "[|^~&\"0-9A-Z\\\\]{0,80}") {
        for event in ["Q22", "ZV1"] {
            let rest = format!("MSA|AA|1\rPID|{fields}\rPV1|{fields}\rQRI|{fields}\rDSC|{fields}\rQID|{fields}");
            let message = ask(event, &format!("{path}^{fields}"), &rest);
            match Request::decode(&message, &domains()) {
                Ok(request) => drop(parse(&request.encode(&domains()))),
                Err(refusal) => drop(parse(&Response::refuse(&message, &refusal, &us()))),
            }
            let _ = Response::decode(&message, &domains());
        }
    }
}
