use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;
use crate::hl7v3::datatype::Ii;
use crate::hl7v3::tests::person_of_v3;
use crate::hl7v3::wrapper::{Device, Wrapper};
use crate::id::{
    AssigningAuthority, Demographics, Domains, Dtm, Gender, HomeCommunityId, PatientId, PersonName, Timestamp,
};
use crate::testing::{corpus, manifest, validates};
use crate::xml::{Limits, decode_text, parse};

const SCHEMAS: &str = "hl7v3/HL7V3/NE2008/multicacheschemas";

fn with<T>(xml: &str, read: impl FnOnce(Element<'_>) -> T) -> T {
    let tree = parse(xml, &Limits::default()).unwrap();
    read(tree.root().unwrap())
}

fn decode(xml: &str) -> Result<Request, Refusal> {
    with(xml, |body| Request::decode(body, None, &Domains::default()))
}

fn decode_response(xml: &str) -> Response {
    with(xml, |body| Response::decode(body, &Domains::default())).unwrap()
}

fn home(oid: &str) -> HomeCommunityId {
    HomeCommunityId::lenient(oid).unwrap()
}

fn patient(oid: &str, id: &str) -> PatientId {
    PatientId::new(id, AssigningAuthority::new(oid, "ISO").unwrap()).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_rfc3339("2026-01-15T14:30:00Z").unwrap()
}

fn nora() -> Demographics {
    Demographics {
        names: vec![PersonName::new("Testpatient", &["Nora"])],
        gender: Some(Gender::Female),
        birth: Some("19620408".parse::<Dtm>().unwrap()),
        ..Demographics::default()
    }
}

fn request() -> Request {
    let wrapper = Wrapper::new(
        Ii::new("2.999.100.1.9", "msg-0001"),
        now(),
        Device::gateway(&home("2.999.100.1")),
        Device { url: Some("https://rg.example.org/xcpd".into()), ..Device::gateway(&home("2.999.200.1")) },
    );
    let parameters = Parameters {
        demographics: nora(),
        ids: vec![patient("2.999.100.1.3", "A-4711"), patient("2.16.840.1.113883.4.1", "078051120")],
        providers: vec![Ii::new("2.16.840.1.113883.4.6", "1234567893")],
        minimum_degree: Some(80),
        tells_birth: true,
    };
    let mut request = Request::new(wrapper, Ii::new("2.999.100.1.8", "q-0001"), parameters);
    request.reply_authority = Some(AssigningAuthority::new("2.999.100.1.3", "ISO").unwrap());
    request
}

fn answer(outcome: Outcome) -> Response {
    Response::new(&request(), Ii::new("2.999.200.1.9", "rsp-1"), now(), &home("2.999.200.1"), outcome)
}

fn one_match(of: &str, id: &str) -> Match {
    Match {
        patient_id: patient(&format!("{of}.3"), id),
        home: Some(home(of)),
        demographics: Demographics { other_ids: vec![patient("2.16.840.1.113883.4.1", "078051120")], ..nora() },
        score: Some(97),
        locator: false,
    }
}

#[test]
fn a_query_is_valid_and_is_read_back() {
    let deferred = Request {
        priority: Priority::Deferred,
        wrapper: Wrapper { respond_to: vec!["https://ig.example.org/later".into()], ..request().wrapper },
        ..request()
    };
    for sent in [request(), deferred] {
        let xml = sent.encode();
        validates(&xml, &format!("{SCHEMAS}/PRPA_IN201305UV02.xsd"));
        let read = decode(&xml).unwrap();
        assert_eq!(read.parameters, sent.parameters);
        assert_eq!((&read.wrapper, &read.query_id, read.priority), (&sent.wrapper, &sent.query_id, sent.priority));
        assert_eq!(read.reply_authority, sent.reply_authority);
        assert_eq!(read.sender_home(), Some(home("2.999.100.1")));
        assert_eq!(read.receiver_homes().collect::<Vec<_>>(), [home("2.999.200.1")]);
    }
}

/// ITI TF-2: 3.55.4.2.2: the five cases, their codes, and that each is valid by the schema.
#[test]
fn each_of_the_five_answers_is_valid_and_is_read_back() {
    let two =
        vec![one_match("2.999.200.1", "B-0815"), Match { locator: true, score: None, ..one_match("2.999.300.1", "C") }];
    let attributes = vec![RequestedAttribute::Address, RequestedAttribute::SocialSecurityNumber];
    for (outcome, ack, code) in [
        (Outcome::Matches(vec![one_match("2.999.200.1", "B-0815")]), "AA", "OK"),
        (Outcome::Matches(two), "AA", "OK"),
        (Outcome::MoreAttributes(attributes), "AA", "OK"),
        (Outcome::NoMatch, "AA", "NF"),
        (Outcome::from(&Refusal::Busy), "AE", "AE"),
        (Outcome::from(&Refusal::Internal), "AE", "AE"),
    ] {
        let sent = answer(outcome);
        let xml = sent.encode();
        validates(&xml, &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
        assert!(xml.contains(&format!("<typeCode code=\"{ack}\"/>")), "{xml}");
        assert!(xml.contains(&format!("<queryResponseCode code=\"{code}\"/>")), "{xml}");
        assert!(xml.find("<queryAck>").unwrap() < xml.find("<queryByParameter").unwrap());
        let read = decode_response(&xml);
        assert_eq!((&read.outcome, &read.target, &read.query_id), (&sent.outcome, &sent.target, &sent.query_id));
    }
}

#[test]
fn an_empty_list_of_matches_is_no_match() {
    assert_eq!(answer(Outcome::Matches(Vec::new())).outcome, Outcome::NoMatch);
}

#[test]
fn the_query_is_echoed_as_it_came() {
    let xml = request().encode().replace("<family>", "<family partType=\"FAM\">");
    let received = decode(&xml).unwrap();
    let echo = received.query();
    assert!(echo.contains("partType=\"FAM\"") && echo.contains("078051120"), "{echo}");
    let us = home("2.999.200.1");
    let xml = Response::new(&received, Ii::root("2.999.1"), now(), &us, Outcome::NoMatch).encode();
    assert!(xml.contains(&echo));
    validates(&xml, &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
}

/// The rules of 3.55.4.1.2 on what a query must have.
#[test]
fn queries_that_ask_too_little_are_refused() {
    let with_parameters = |parameters: Parameters| decode(&Request { parameters, ..request() }.encode());
    let only = |demographics| Parameters { demographics, tells_birth: true, ..Parameters::default() };
    for (parameters, refusal) in [
        (Parameters::default(), Some(Refusal::NotEnough)),
        (only(Demographics { birth: None, ..nora() }), Some(Refusal::NotEnough)),
        (only(Demographics { names: Vec::new(), ..nora() }), Some(Refusal::NotEnough)),
        (only(nora()), None),
        (Parameters { ids: vec![patient("2.999.7", "1")], ..Parameters::default() }, None),
    ] {
        assert_eq!(with_parameters(parameters.clone()).err(), refusal, "{parameters:?}");
    }
    let deferred = Request { priority: Priority::Deferred, ..request() }.encode();
    assert_eq!(decode(&deferred).err(), Some(Refusal::NoRespondTo));
}

/// Even a query that is refused is answered with its own ids and its own query.
#[test]
fn a_refused_query_is_answered_as_case_five() {
    let xml = Request { parameters: Parameters::default(), ..request() }.encode();
    let us = home("2.999.200.1");
    let refuse = |body: Element<'_>| {
        Response::refusal(Remains::read(body), &Refusal::NotEnough, Ii::root("2.999.1"), now(), &us)
    };
    let answer = with(&xml, refuse).encode();
    validates(&answer, &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
    let read = decode_response(&answer);
    assert_eq!((read.target, read.query_id), (request().wrapper.id, request().query_id));
    let Outcome::Error { reason, detail, .. } = read.outcome else { panic!() };
    assert_eq!((reason.as_deref(), detail.as_str()), (Some("AnswerNotAvailable"), "SYN113"));
    validates(&with("<garbage/>", refuse).encode(), &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
}

/// One live partner's legacy body: name first, `<0>` as text, ISO dates, gender as a word, bare telephone numbers.
#[test]
fn the_legacy_query_of_a_live_partner_is_understood() {
    let xml = "<PRPA_IN201305UV02 xmlns='urn:hl7-org:v3'><id root='2.999.5' extension='m'/>\
        <creationTime>2026-11-22T10:03:03.653Z</creationTime>\
        <sender><device><id root='2.999.5'/><asAgent><representedOrganization><id root='urn:oid:2.999.5'/>\
        </representedOrganization></asAgent></device></sender>\
        <controlActProcess><queryByParameter><queryId root='2.999.5' extension='q'/><parameterList>&lt;0&gt;\
        <livingSubjectName><value><family>Roe</family><given>Ada</given></value></livingSubjectName>\
        <livingSubjectAdministrativeGender><value code='male'/></livingSubjectAdministrativeGender>\
        <livingSubjectBirthTime><value value='1981-01-01'/></livingSubjectBirthTime>\
        <livingSubjectId><value root='2.999.5.1' extension='007'/></livingSubjectId>\
        <patientAddress><value>&lt;0&gt;<streetAddressLine>1 Elm</streetAddressLine><city>Austin</city></value></patientAddress>\
        <patientTelecom><value value='5125550100' use='phone'/></patientTelecom>\
        </parameterList></queryByParameter></controlActProcess></PRPA_IN201305UV02>";
    let request = decode(xml).unwrap();
    let person = &request.parameters.demographics;
    assert_eq!(request.sender_home(), Some(home("2.999.5")));
    assert_eq!(request.wrapper.created.as_ref().unwrap().as_str(), "20261122100303");
    assert_eq!((person.gender, person.birth.as_ref().unwrap().as_str()), (Some(Gender::Male), "19810101"));
    assert_eq!((person.addresses.len(), person.telecoms.len()), (1, 1));
    assert!(!request.parameters.has_complete_addresses());
    assert_eq!(request.parameters.ids, [patient("2.999.5.1", "007")]);
}

/// What live responders do to an answer (no custodian, no devices, wrong type codes, several ids, a misspelt code).
#[test]
fn answers_of_live_partners_are_understood() {
    let response = |acknowledged: &str, act: &str| {
        decode_response(&format!(
            "<PRPA_IN201306UV02 xmlns='urn:hl7-org:v3'><id root='2.999.6'/><creationTime>20261122</creationTime>\
             <receiver typeCode='SND'><device><id root='2.999.5'/></device></receiver>\
             <acknowledgement><typeCode code='{acknowledged}'/></acknowledgement>\
             <controlActProcess>{act}</controlActProcess></PRPA_IN201306UV02>"
        ))
        .outcome
    };
    let subject = "<queryByParameter/><subject typeCode='SBJ'><registrationEvent><statusCode>active</statusCode><subject1>\
        <patient><id root='2.999.6.1' extension='A'/><id root='2.999.6.2' extension='B'/><patientPerson>\
        <asOtherIDs><id/></asOtherIDs><name><given>Ada</given><family>Fault</family></name><telecom/></patientPerson>\
        <subjectOf1><queryMatchObservation classCode='CASE'><code code='IHE_PQ'/></queryMatchObservation></subjectOf1>\
        </patient></subject1></registrationEvent></subject><queryAck><queryResponseCode code='OK'/></queryAck>";
    let Outcome::Matches(matches) = response("AA", subject) else { panic!() };
    assert_eq!((&matches[0].patient_id, &matches[0].home, matches[0].score), (&patient("2.999.6.1", "A"), &None, None));
    assert_eq!(matches[0].demographics.other_ids, [patient("2.999.6.2", "B")]);
    let issue = |inner: &str| {
        format!(
            "<reasonOf><detectedIssueEvent><code code='ActAdministrativeDetectedIssueCode'/>{inner}</detectedIssueEvent>\
             </reasonOf><queryAck><queryResponseCode code='OK'/></queryAck>"
        )
    };
    let asked =
        issue("<triggerFor><actOrderRequired><code code='PatientAdressRequested'/></actOrderRequired></triggerFor>");
    assert_eq!(response("AA", &asked), Outcome::MoreAttributes(vec![RequestedAttribute::Address]));
    let failed = issue(
        "<mitigatedBy><detectedIssueManagement><code code='AnswerNotAvailable'/><text>later</text>\
         </detectedIssueManagement></mitigatedBy>",
    );
    let expected =
        Outcome::Error { reason: Some("AnswerNotAvailable".into()), detail: "".into(), text: "later".into() };
    assert_eq!(response("AE", &failed), expected);
    assert_eq!(response("AA", "<queryAck><queryResponseCode code='NF'/></queryAck>"), Outcome::NoMatch);
}

#[test]
fn queries_and_answers_of_the_corpus_are_read_as_expected() {
    for row in manifest("xcpd/").into_iter().filter(|row| row[2] == "ITI-55") {
        let (path, direction, expected) = (&row[0], &row[3], &row[7]);
        let Some(bytes) = corpus(path) else { return };
        let text = decode_text(&bytes, None).unwrap();
        if direction.starts_with("response") {
            let Outcome::Matches(matches) = decode_response(&text).outcome else { panic!("{path}") };
            assert!(matches.iter().all(|one| one.score.is_some()), "{path}");
            continue;
        }
        match decode(&text) {
            Ok(request) => {
                let us = home("2.999.200.1");
                let xml = Response::new(&request, Ii::root("2.999.1"), now(), &us, Outcome::NoMatch).encode();
                if row[8].ends_with(" valid") {
                    validates(&xml, &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
                }
            }
            Err(refusal) => assert!(expected.contains("AnswerNotAvailable"), "{path}: {refusal}"),
        }
    }
}

#[test]
fn an_authority_without_an_oid_is_never_sent_as_an_empty_id() {
    let local = PatientId::new("1", AssigningAuthority::new("WARD3", "L").unwrap()).unwrap();
    let parameters = Parameters { ids: vec![local], ..request().parameters };
    assert!(!Request { parameters, ..request() }.encode().contains("livingSubjectId"));
}

#[test]
fn the_time_to_live_of_a_correlation_is_read_from_the_soap_header() {
    let header = |text: &str| {
        let xml =
            format!("<h><c:CorrelationTimeToLive xmlns:c='urn:ihe:iti:xcpd:2009'>{text}</c:CorrelationTimeToLive></h>");
        with(&xml, |header| correlation_time_to_live(Some(header)))
    };
    assert_eq!(header(" P0Y0M7D ").as_deref(), Some("P0Y0M7D"));
    assert_eq!(header("for ever"), None);
    assert_eq!(correlation_time_to_live(None), None);
    let written = format!("<h>{}</h>", correlation_header(7));
    assert_eq!(with(&written, |header| correlation_time_to_live(Some(header))).as_deref(), Some("P7D"));
    assert_eq!(correlation_header(0), "");
}

#[test]
fn a_time_to_live_is_a_duration_of_xml_schema() {
    let day = 86_400;
    for (text, seconds) in [
        ("P0Y0M7D", Some(7 * day)),
        ("P1M", Some(30 * day)),
        ("P1DT2H3M4S", Some(day + 2 * 3600 + 3 * 60 + 4)),
        ("PT90S", Some(90)),
        ("P99999Y", Some(365 * day)),
        ("P7", None),
        ("7D", None),
        ("P-7D", None),
        ("PT7D", None),
        ("P18446744073709551616D", None),
    ] {
        assert_eq!(time_to_live(text).map(|time| time.as_secs()), seconds, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_known_of_a_match_survives_the_wire(person in person_of_v3(), score in proptest::option::of(0u8..=100)) {
        let found = Match { demographics: person, score, ..one_match("2.999.200.1", "B") };
        let sent = answer(Outcome::Matches(vec![found]));
        let read = decode_response(&sent.encode());
        prop_assert!(read.outcome == sent.outcome);
    }
}

proptest! {
    #[test]
    fn no_damage_to_a_message_makes_the_reader_panic(at in any::<prop::sample::Index>(), length in 0usize..60, junk in "[<>/='a-z0-9 ]{0,6}") {
        for xml in [request().encode(), answer(Outcome::Matches(vec![one_match("2.999.200.1", "B")])).encode()] {
            let from = at.index(xml.len());
            let damaged = format!("{}{junk}{}", &xml[..from], &xml[(from + length).min(xml.len())..]);
            let Ok(tree) = parse(&damaged, &Limits::default()) else { continue };
            let root = tree.root().unwrap();
            let _ = Request::decode(root, None, &Domains::default());
            let _ = Response::decode(root, &Domains::default());
            let (remains, id) = (Remains::read(root), Ii::root("2.999.1"));
            Response::refusal(remains, &Refusal::Busy, id, now(), &home("2.999.1")).encode();
        }
    }
}

/// The schema decides on a person who has everything.
#[test]
fn queries_and_matches_with_everything_are_valid() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..8 {
        let person = person_of_v3().new_tree(&mut runner).unwrap().current();
        let parameters = Parameters { demographics: person.clone(), ..request().parameters };
        let query = Request { parameters, ..request() }.encode();
        validates(&query, &format!("{SCHEMAS}/PRPA_IN201305UV02.xsd"));
        let found = Match { demographics: person, ..one_match("2.999.200.1", "B") };
        validates(&answer(Outcome::Matches(vec![found])).encode(), &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
    }
}
