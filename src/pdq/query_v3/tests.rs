use proptest::prelude::*;

use super::*;
use crate::hl7v2::Message;
use crate::hl7v3::ack::Acknowledgement;
use crate::hl7v3::tests::person_of_v3;
use crate::hl7v3::wrapper::Device;
use crate::id::patient::TelecomSystem;
use crate::id::{Address, Demographics, Domain, Gender, PatientId, PersonName, Telecom, Timestamp};
use crate::pdq::answer::{Answer, Match, Page};
use crate::pdq::criteria::Interval;
use crate::pdq::query_v2;
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
    Timestamp::from_rfc3339("2026-01-15T14:00:00Z").unwrap()
}

fn device(oid: &str) -> Device {
    Device { id: Ii::root(oid), ..Device::default() }
}

fn wrapper() -> Wrapper {
    Wrapper::new(Ii::root("2.999.7.1"), now(), device("2.999.20.1"), device("2.999.99"))
}

fn ada() -> Demographics {
    Demographics {
        names: vec![PersonName::new("Okafor", &["Ada"])],
        gender: Some(Gender::Female),
        birth: Some("19870312".parse().unwrap()),
        ..Demographics::default()
    }
}

fn request(query: PatientQuery) -> Request {
    let wanted = vec![authority("2.999.10"), authority("2.999.20")];
    Request { quantity: Some(2), ..Request::new(wrapper(), Ii::new("2.999.20.6", "Q2"), query, wanted) }
}

fn query() -> PatientQuery {
    PatientQuery {
        person: ada(),
        ids: vec![id("2.999.10", "N-44"), id("2.16.840.1.113883.4.1", "123456780")],
        similar_names: true,
        minimum_degree: Some(75),
        algorithm: Some("probabilistic".into()),
        ..PatientQuery::default()
    }
}

fn decode(xml: &str) -> Result<Request, Refusal> {
    with(xml, |body| Request::decode(body, &domains()))
}

fn answered(answer: Answer) -> Response {
    Response::new(&request(query()), Ii::root("2.999.7.2"), now(), device("2.999.99"), answer)
}

fn decode_response(xml: &str) -> Response {
    with(xml, |body| Response::decode(body, &domains())).unwrap()
}

fn found(demographics: Demographics) -> Match {
    Match { ids: vec![id("2.999.10", "N-44")], demographics, confidence: Some(97), visit: None }
}

#[test]
fn a_query_is_valid_and_is_read_back() {
    let between = Interval { from: Some("1980".parse().unwrap()), to: Some("1990".parse().unwrap()) };
    let person = Demographics { birth: None, ..ada() };
    let interval = PatientQuery { person, birth_between: Some(between), ..PatientQuery::default() };
    for sent in [request(query()), request(interval)] {
        let xml = sent.encode(&domains());
        validates(&xml, &format!("{SCHEMAS}/PRPA_IN201305UV02.xsd"));
        let read = decode(&xml).unwrap();
        assert!(read.query == sent.query, "{xml}");
        assert_eq!((&read.wanted, read.quantity, &read.query_id), (&sent.wanted, sent.quantity, &sent.query_id));
    }
}

/// ITI TF-2: 3.47.4.2.2: codes, quantities, places, and that each answer is valid by the schema.
#[test]
fn each_case_is_answered_as_the_profile_says() {
    let page = Page { matches: vec![found(ada())], total: Some(3), remaining: Some(2), next: None };
    let refused = Answer::Refused;
    for (answer, ack, code, quantities) in [
        (Answer::found(page), "AA", "OK", [3, 1, 2]),
        (Answer::NothingFound, "AA", "NF", [0, 0, 0]),
        (refused(answer::Refusal::UnknownDomains(vec![2])), "AE", "AE", [0, 0, 0]),
        (refused(answer::Refusal::NoCriteria), "AE", "QE", [0, 0, 0]),
        (refused(answer::Refusal::UnknownContinuation), "AE", "AE", [0, 0, 0]),
        (refused(answer::Refusal::Other("no".into())), "AE", "AE", [0, 0, 0]),
    ] {
        let sent = answered(answer.clone());
        let xml = sent.encode(&domains());
        validates(&xml, &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
        let [total, current, remaining] = quantities;
        let codes = format!(
            "<queryResponseCode code=\"{code}\"/><resultTotalQuantity value=\"{total}\"/>\
             <resultCurrentQuantity value=\"{current}\"/><resultRemainingQuantity value=\"{remaining}\"/>"
        );
        assert!(xml.contains(&format!("<typeCode code=\"{ack}\"/>")) && xml.contains(&codes), "{xml}");
        let read = decode_response(&xml);
        let expected = match answer {
            Answer::Refused(refusal @ answer::Refusal::NoCriteria) => {
                Answer::Refused(answer::Refusal::Other(refusal.to_string()))
            }
            other => other,
        };
        assert_eq!((read.answer, read.target, read.query_id), (expected, sent.target, sent.query_id));
    }
    let xml = answered(Answer::Refused(answer::Refusal::UnknownDomains(vec![2]))).encode(&domains());
    let place =
        "/PRPA_IN201305UV02/controlActProcess/queryByParameter/parameterList/otherIDsScopingOrganization[2]/value";
    assert!(xml.contains(&format!("<location>{place}</location>")), "{xml}");
}

#[test]
fn a_domain_that_has_no_identifier_for_a_person_is_told() {
    let page = Page { matches: vec![found(ada())], ..Page::default() };
    let xml = answered(Answer::found(page)).encode(&domains());
    let lacking = "<asOtherIDs classCode=\"PAT\"><id nullFlavor=\"NA\"/><scopingOrganization classCode=\"ORG\" \
        determinerCode=\"INSTANCE\"><id root=\"2.999.20\"/></scopingOrganization></asOtherIDs>";
    assert!(xml.contains(lacking) && xml.matches("nullFlavor=\"NA\"/><scoping").count() == 1, "{xml}");
    let Answer::Found(page) = decode_response(&xml).answer else { panic!() };
    assert_eq!(page.matches, [found(ada())]);
}

fn ask(parameters: &str) -> String {
    format!(
        "<PRPA_IN201305UV02 xmlns='urn:hl7-org:v3'><id root='2.999.7'/><controlActProcess><queryByParameter>\
         <queryId root='2.999.5' extension='Q'/><initialQuantity value='9'/><parameterList>{parameters}</parameterList>\
         </queryByParameter></controlActProcess></PRPA_IN201305UV02>"
    )
}

/// What is told and not understood is never left out: everybody else would be found.
#[test]
fn a_parameter_that_is_not_understood_is_refused() {
    let one = |name: &str, value: &str| format!("<{name}>{value}<semanticsText>x</semanticsText></{name}>");
    for (parameters, refusal, code) in [
        (String::new(), Refusal::Answer(answer::Refusal::NoCriteria), "QE"),
        (one("livingSubjectName", "<value/>"), Refusal::Answer(answer::Refusal::NoCriteria), "QE"),
        (
            one("livingSubjectAdministrativeGender", "<value code='X9'/>"),
            Refusal::Parameter("livingSubjectAdministrativeGender"),
            "QE",
        ),
        (one("livingSubjectBirthTime", "<value value='spring'/>"), Refusal::Parameter("livingSubjectBirthTime"), "QE"),
        (one("livingSubjectId", "<value root='2.999.10'/>"), Refusal::Parameter("livingSubjectId"), "QE"),
        (one("patientTelecom", "<value value='tel:'/>"), Refusal::Parameter("patientTelecom"), "QE"),
        (
            one("livingSubjectName", "<value><family>A</family></value>")
                + &one("otherIDsScopingOrganization", "<value root='2.999.10'/>")
                + &one("otherIDsScopingOrganization", "<value root='2.999.98'/>"),
            Refusal::Answer(answer::Refusal::UnknownDomains(vec![2])),
            "AE",
        ),
    ] {
        let xml = ask(&parameters);
        with(&xml, |body| {
            assert_eq!(Request::decode(body, &domains()), Err(refusal.clone()), "{xml}");
            let answer = Response::refuse(body, &refusal, Ii::root("2.999.8"), now(), device("2.999.99"));
            assert!(answer.contains(&format!("<queryResponseCode code=\"{code}\"/>")), "{answer}");
            assert!(answer.contains("<queryAck><queryId root=\"2.999.5\" extension=\"Q\"/>"), "{answer}");
        });
    }
}

#[test]
fn names_are_put_together_from_parameters_and_told_apart() {
    let names = |parameters: &str| decode(&ask(parameters)).unwrap().query.person.names;
    let parameter = |values: &str| format!("<livingSubjectName>{values}</livingSubjectName>");
    let (family, given) = ("<value><family>A</family></value>", "<value><given>B</given></value>");
    let whole = [PersonName::new("A", &["B"])];
    assert_eq!(names(&(parameter(family) + &parameter(given))), whole);
    assert_eq!(names(&(parameter(given) + &parameter(family))), whole);
    assert_eq!(names(&parameter(&format!("{family}{given}"))).len(), 2, "values of one parameter are alternatives");
    assert_eq!(names(&parameter(family).repeat(2)).len(), 2);
    let married = "<value><given>B</given><family qualifier='BR'>Born</family><family>A</family></value>";
    assert_eq!(names(&parameter(married)), whole);
    for (usage, similar) in [("SRCH", true), ("L PHON", true), ("L", false)] {
        let value = format!("<value use='{usage}'><family>A</family></value>");
        assert_eq!(decode(&ask(&parameter(&value))).unwrap().query.similar_names, similar, "{usage}");
    }
}

/// ITI TF-2: 3.47.4.3, with both root elements.
#[test]
fn pages_are_asked_for_and_let_go() {
    let target = Ii::root("2.999.7.2");
    for step in [
        Step::Continue { start: Some(3), quantity: Some(2) },
        Step::Continue { start: None, quantity: None },
        Step::Cancel,
    ] {
        let sent =
            Continuation { wrapper: wrapper(), target: target.clone(), query_id: Ii::new("2.999.20.6", "Q2"), step };
        let xml = sent.encode();
        validates(&xml, &format!("{SCHEMAS}/QUQI_IN000003UV01.xsd"));
        assert_eq!(with(&xml, Continuation::decode), Ok(sent.clone()));
        let renamed = xml.replace("<QUQI_IN000003UV01 ", "<QUQI_IN000003UV01_Cancel ");
        let renamed = renamed.replace("</QUQI_IN000003UV01>", "</QUQI_IN000003UV01_Cancel>");
        validates(&renamed, &format!("{SCHEMAS}/QUQI_IN000003UV01.xsd"));
        assert_eq!(with(&renamed, Continuation::decode).unwrap().step, Step::Cancel);
        let ack = sent.acknowledge(Ii::root("2.999.7.3"), now(), device("2.999.99")).encode();
        validates(&ack, &format!("{SCHEMAS}/MCCI_IN000002UV01.xsd"));
        assert_eq!(with(&ack, |body| Acknowledgement::read(body).unwrap().kind.code()), "CA");
        let page = Page { matches: vec![found(ada())], total: Some(3), remaining: Some(0), next: None };
        for first in [Some(&request(query())), None] {
            let us = device("2.999.99");
            let answer = Response::page(&sent, first, Ii::root("2.999.7.4"), now(), us, Answer::found(page.clone()));
            let xml = answer.encode(&domains());
            validates(&xml, &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
            assert_eq!(decode_response(&xml).answer, Answer::Found(page.clone()));
        }
    }
    let zero = "<QUQI_IN000003UV01><id root='2.999.1'/><controlActProcess><queryContinuation><queryId root='2.999.2'/>\
        <continuationQuantity value='0'/><statusCode code='waitContinuedQueryResponse'/></queryContinuation>\
        </controlActProcess></QUQI_IN000003UV01>";
    assert_eq!(with(zero, Continuation::decode).unwrap().step, Step::Cancel);
}

/// The same query in HL7 v2 and v3.
#[test]
fn both_dialects_ask_the_same() {
    let v2 = |qpd: &str| {
        let text = format!("MSH|^~\\&|EHR|WEST|GW|G|2026||QBP^Q22|1|P|2.5\rQPD|IHE PDQ Query|t|{qpd}\r");
        let message = Message::parse(text.as_bytes(), &crate::hl7v2::Limits::default()).unwrap();
        query_v2::Request::decode(&message, &domains()).unwrap()
    };
    for (qpd, parameters) in [
        (
            "@PID.8^F~@PID.7^198703~@PID.5.1.1^OKA*~@PID.5.2^Ada",
            "<livingSubjectAdministrativeGender><value code='F'/></livingSubjectAdministrativeGender>\
             <livingSubjectBirthTime><value value='198703'/></livingSubjectBirthTime>\
             <livingSubjectName><value><given>Ada</given><family>OKA*</family></value></livingSubjectName>",
        ),
        (
            "@PID.3.1^44~@PID.3.4.1^NORTH~@PID.3.1^7~@PID.3.4.2^2.999.99~@PID.3.4.3^ISO~@PID.19^123456780",
            "<livingSubjectId><value root='2.999.10' extension='44'/></livingSubjectId>\
             <livingSubjectId><value root='2.999.99' extension='7'/></livingSubjectId>\
             <livingSubjectId><value root='2.16.840.1.113883.4.1' extension='123456780'/></livingSubjectId>",
        ),
        (
            "@PID.6.1.1^Roe~@PID.11.1^12 Elm St~@PID.11.3^Salem~@PID.13.1^555-0100",
            "<mothersMaidenName><value><family>Roe</family></value></mothersMaidenName>\
             <patientAddress><value><streetAddressLine>12 Elm St</streetAddressLine><city>Salem</city></value></patientAddress>\
             <patientTelecom><value value='tel:555-0100' use='HP'/></patientTelecom>",
        ),
        (
            "@PID.8^M|75|exact|||^^^NORTH~^^^&2.999.20&ISO",
            "<livingSubjectAdministrativeGender><value code='M'/></livingSubjectAdministrativeGender>\
             <otherIDsScopingOrganization><value root='2.999.10'/></otherIDsScopingOrganization>\
             <otherIDsScopingOrganization><value root='2.999.20'/></otherIDsScopingOrganization>",
        ),
    ] {
        let (v2, v3) = (v2(qpd), decode(&ask(parameters)).unwrap());
        let criteria = PatientQuery { minimum_degree: None, algorithm: None, ..v2.query };
        assert!(criteria == v3.query, "{qpd}");
        assert_eq!(v2.wanted, v3.wanted, "{qpd}");
    }
}

/// Each pair of translations in the corpus asks for the same.
#[test]
fn queries_and_answers_of_the_corpus_are_understood() {
    let all =
        Domains::new(vec![Domain { namespace: "OTHER".into(), authority: authority("1.3.6.1.4.1.21367.2005.1.2") }]);
    let (mut queries, mut people) = (0, 0);
    for row in manifest("pdqv3/") {
        let path = &row[0];
        let Some(bytes) = corpus(path) else { return };
        let text = decode_text(&bytes, None).unwrap();
        if row[3] == "response" {
            let response = with(&text, |body| Response::decode(body, &all)).unwrap();
            let Answer::Found(page) = response.answer else { panic!("{path}") };
            // One sample tells of more people than its publisher left in it.
            assert!(page.total >= u32::try_from(page.matches.len()).ok(), "{path}");
            assert!(page.matches.iter().all(|one| !one.ids.is_empty() && !one.demographics.names.is_empty()), "{path}");
            people += page.matches.len();
            continue;
        }
        let request = with(&text, |body| Request::decode(body, &all)).unwrap_or_else(|e| panic!("{path}: {e}"));
        validates(&request.encode(&all), &format!("{SCHEMAS}/PRPA_IN201305UV02.xsd"));
        let again = with(&request.encode(&all), |body| Request::decode(body, &all)).unwrap();
        assert!(again.query == request.query, "{path}");
        let nobody = Response::new(&request, Ii::root("2.999.1"), now(), device("2.999.99"), Answer::NothingFound);
        validates(&nobody.encode(&all), &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
        if path.ends_with("/ipf-pdq-pdq.xml") {
            let v2 = corpus("hl7v2-pdq/ipf-pdq-pdq_maximal_query.hl7").unwrap();
            let v2 = Message::parse(&v2, &crate::hl7v2::Limits::default()).unwrap();
            let v2 = query_v2::Request::decode(&v2, &all).unwrap();
            let criteria = PatientQuery { minimum_degree: None, ..request.query };
            assert!(v2.query == criteria && v2.wanted == request.wanted, "{path}");
        }
        queries += 1;
    }
    println!("{queries} queries and {people} people decoded");
}

prop_compose! {
    fn criteria()(
        person in person_of_v3(),
        name in proptest::option::of("[A-Za-zé*'<>&]{1,8}"),
        ids in proptest::collection::vec("[0-9a-z]{1,9}", 0..3),
        similar_names in any::<bool>(),
        fax in proptest::option::of("[0-9]{3,9}"),
    ) -> PatientQuery {
        let mut names = person.names;
        names.extend(name.map(|family| PersonName { family: family.into(), ..PersonName::default() }));
        let fax = fax.map(|value| Telecom { system: TelecomSystem::Fax, value: value.into(), usage: "WPN".into() });
        let telecoms: Vec<Telecom> = person.telecoms.into_iter().chain(fax).collect();
        let addresses: Vec<Address> = person.addresses;
        PatientQuery {
            similar_names: similar_names && !names.is_empty(),
            person: Demographics {
                names,
                telecoms,
                addresses,
                gender: person.gender,
                birth: Some(person.birth.unwrap_or_else(|| "1980".parse().unwrap())),
                mothers_maiden_name: person.mothers_maiden_name,
                birth_place: person.birth_place,
                ..Demographics::default()
            },
            ids: ids.iter().map(|text| id("2.999.30", text)).collect(),
            ..PatientQuery::default()
        }
    }
}

/// The schema decides on a person who has everything.
#[test]
fn queries_and_matches_with_everything_are_valid() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..6 {
        let query = criteria().new_tree(&mut runner).unwrap().current();
        validates(&request(query).encode(&domains()), &format!("{SCHEMAS}/PRPA_IN201305UV02.xsd"));
        let person = person_of_v3().new_tree(&mut runner).unwrap().current();
        let page = Page { matches: vec![found(person)], ..Page::default() };
        validates(&answered(Answer::found(page)).encode(&domains()), &format!("{SCHEMAS}/PRPA_IN201306UV02.xsd"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn queries_survive_the_wire(query in criteria()) {
        let sent = request(query);
        let read = decode(&sent.encode(&domains())).unwrap();
        prop_assert!(read.query == sent.query, "{}", sent.encode(&domains()));
    }

    #[test]
    fn people_survive_the_wire(person in person_of_v3(), confidence in proptest::option::of(0u8..=100)) {
        let page = Page { matches: vec![Match { confidence, ..found(person) }], total: Some(9), remaining: Some(8), next: None };
        let read = decode_response(&answered(Answer::Found(page.clone())).encode(&domains()));
        prop_assert!(read.answer == Answer::Found(page));
    }

    #[test]
    fn no_damage_to_a_message_makes_the_reader_panic(at in any::<prop::sample::Index>(), length in 0usize..60, junk in "[<>/='a-z0-9 ]{0,6}") {
        let page = Page { matches: vec![found(ada())], ..Page::default() };
        let continuation = Continuation { wrapper: wrapper(), target: Ii::default(), query_id: Ii::default(), step: Step::Cancel };
        for xml in [request(query()).encode(&domains()), answered(Answer::found(page)).encode(&domains()), continuation.encode()] {
            let from = at.index(xml.len());
            let damaged = format!("{}{junk}{}", &xml[..from], &xml[(from + length).min(xml.len())..]);
            let Ok(tree) = parse(&damaged, &Limits::default()) else { continue };
            let root = tree.root().unwrap();
            if let Err(refusal) = Request::decode(root, &domains()) {
                Response::refuse(root, &refusal, Ii::default(), now(), device("2.999.99"));
            }
            let _ = Response::decode(root, &domains());
            let _ = Continuation::decode(root);
        }
    }
}
