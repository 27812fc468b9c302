use proptest::prelude::*;

use super::*;
use crate::hl7v2::ack::Answering;
use crate::hl7v2::{Hd, Message};
use crate::id::Domain;
use crate::pix::query_v2;
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
    Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20"), domain("SOUTH", "2.999.30")])
}

fn id(oid: &str, id: &str) -> PatientId {
    PatientId::new(id, authority(oid)).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_rfc3339("2026-01-15T12:00:00Z").unwrap()
}

fn device(oid: &str) -> Device {
    Device { id: Ii::root(oid), ..Device::default() }
}

fn request() -> Request {
    let wrapper = Wrapper::new(Ii::root("2.999.7.1"), now(), device("2.999.20.1"), device("2.999.99"));
    let question = Question { id: id("2.999.20", "W-7"), wanted: vec![authority("2.999.10"), authority("2.999.30")] };
    Request::new(wrapper, Ii::new("2.999.20.5", "Q1"), question)
}

fn response(request: &Request, answer: Answer) -> Response {
    Response::new(request, Ii::root("2.999.7.2"), now(), device("2.999.99"), answer)
}

fn decode_response(xml: &str) -> Response {
    with(xml, |body| Response::decode(body, &domains())).unwrap()
}

#[test]
fn a_query_is_valid_and_is_read_back() {
    let xml = request().encode(&domains());
    validates(&xml, &format!("{SCHEMAS}/PRPA_IN201309UV02.xsd"));
    let read = with(&xml, |body| Request::decode(body, &domains())).unwrap();
    assert_eq!(read.question, request().question);
    assert_eq!((&read.wrapper, &read.query_id), (&request().wrapper, &request().query_id));
}

/// ITI TF-2: 3.45.4.2.2, its six cases: codes, places, and that each is valid by the schema.
#[test]
fn each_of_the_six_cases_is_answered_as_the_profile_says() {
    let one = Answer::found(vec![id("2.999.10", "N-44")]);
    let several = Answer::found(vec![id("2.999.10", "N-44"), id("2.999.30", "S-3"), id("2.999.10", "N-91")]);
    let refused = Answer::Refused;
    let parameters = "/PRPA_IN201309UV02/controlActProcess/queryByParameter/parameterList";
    let identifier = vec![format!("{parameters}/patientIdentifier/value")];
    let sources = vec![format!("{parameters}/dataSource[1]/value"), format!("{parameters}/dataSource[3]/value")];
    for (answer, ack, code, status, places) in [
        (one, "AA", "OK", "deliveredResponse", vec![]),
        (several, "AA", "OK", "deliveredResponse", vec![]),
        (Answer::NothingFound, "AA", "NF", "deliveredResponse", vec![]),
        (refused(question::Refusal::UnknownId), "AE", "AE", "aborted", identifier.clone()),
        (refused(question::Refusal::UnknownDomain), "AE", "AE", "aborted", identifier),
        (refused(question::Refusal::UnknownWantedDomains(vec![1, 3])), "AE", "AE", "aborted", sources),
        (refused(question::Refusal::Unavailable), "AE", "AE", "aborted", vec![]),
    ] {
        let request = with(&request().encode(&domains()), |body| Request::decode(body, &domains())).unwrap();
        let sent = response(&request, answer.clone());
        let xml = sent.encode(&domains());
        validates(&xml, &format!("{SCHEMAS}/PRPA_IN201310UV02.xsd"));
        let codes = format!("<statusCode code=\"{status}\"/><queryResponseCode code=\"{code}\"/>");
        assert!(xml.contains(&format!("<typeCode code=\"{ack}\"/>")) && xml.contains(&codes), "{xml}");
        let told: Vec<String> = with(&xml, |body| {
            let details = Acknowledgement::read(body).unwrap().details;
            assert!(places.is_empty() || details.iter().all(|detail| detail.code == "204"));
            details.into_iter().flat_map(|detail| detail.locations).collect()
        });
        assert_eq!(told, places);
        assert!(xml.contains("<queryByParameter xmlns") && xml.contains("DataSource.id"), "the query is echoed");
        let read = decode_response(&xml);
        let expected = match answer {
            Answer::Refused(question::Refusal::UnknownDomain) => Answer::Refused(question::Refusal::UnknownId),
            Answer::Refused(refusal @ question::Refusal::Unavailable) => {
                Answer::Refused(question::Refusal::Other(refusal.to_string()))
            }
            other => other,
        };
        assert_eq!((read.answer, read.target, read.query_id), (expected, sent.target, sent.query_id));
    }
}

fn ask(parameters: &str) -> String {
    format!(
        "<x:PRPA_IN201309UV02 xmlns:x='urn:hl7-org:v3'><x:id root='2.999.7'/><x:controlActProcess><x:queryByParameter>\
         <x:queryId root='2.999.5' extension='Q'/><x:parameterList>{parameters}</x:parameterList></x:queryByParameter>\
         </x:controlActProcess></x:PRPA_IN201309UV02>"
    )
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let who = |id: &str| format!("<x:patientIdentifier><x:value {id}/></x:patientIdentifier>");
    let from = |root: &str| format!("<x:dataSource><x:value root='{root}'/></x:dataSource>");
    let known = who("root='2.999.20' extension='W-7'");
    for (parameters, code, number) in [
        (String::new(), "QE", "SYN113"),
        (known.repeat(2), "QE", "102"),
        (who("root='2.999.20'"), "QE", "102"),
        (who("root='2.999.99' extension='1'"), "AE", "204"),
        (who("assigningAuthorityName='MOON' extension='1'"), "AE", "204"),
        (format!("{}{}{known}", from("2.999.10"), from("2.999.98")), "AE", "204"),
    ] {
        let xml = ask(&parameters);
        with(&xml, |body| {
            let refusal = Request::decode(body, &domains()).unwrap_err();
            let answer = Response::refuse(body, &refusal, Ii::root("2.999.8"), now(), device("2.999.99"));
            assert!(answer.contains(&format!("<queryResponseCode code=\"{code}\"/>")), "{answer}");
            assert!(answer.contains(&format!("<code code=\"{number}\"")), "{answer}");
            assert!(answer.contains("<queryAck><queryId root=\"2.999.5\" extension=\"Q\"/>"), "{answer}");
        });
    }
    let by_name = ask(&who("assigningAuthorityName='WEST' extension='W-7'"));
    assert_eq!(with(&by_name, |body| Request::decode(body, &domains())).unwrap().question.id, id("2.999.20", "W-7"));
}

/// The same question in HL7 v2 and v3, and the same answers to it.
#[test]
fn both_dialects_ask_and_answer_the_same() {
    let v2 =
        "MSH|^~\\&|EHR|WEST|GW|G|2026||QBP^Q23|1|P|2.5\rQPD|IHE PIX Query|t|W-7^^^WEST|^^^NORTH~^^^&2.999.30&ISO\r";
    let v2 = Message::parse(v2.as_bytes(), &crate::hl7v2::Limits::default()).unwrap();
    let v2 = query_v2::Request::decode(&v2, &domains()).unwrap();
    let v3 = with(&request().encode(&domains()), |body| Request::decode(body, &domains())).unwrap();
    assert_eq!(v2.question, v3.question);
    let us = Answering { application: Hd::named("GW"), facility: Hd::named("G"), now: now(), control_id: "1".into() };
    for answer in [
        Answer::found(vec![id("2.999.10", "N-44"), id("2.999.30", "S-3")]),
        Answer::NothingFound,
        Answer::Refused(question::Refusal::UnknownId),
        Answer::Refused(question::Refusal::UnknownWantedDomains(vec![2])),
    ] {
        let bytes = query_v2::Response::new(&v2, answer.clone()).encode(&v2.header, &us, &domains());
        let message = Message::parse(&bytes, &crate::hl7v2::Limits::default()).unwrap();
        let told_in_v2 = query_v2::Response::decode(&message, &domains()).unwrap().answer;
        let told_in_v3 = decode_response(&response(&v3, answer.clone()).encode(&domains())).answer;
        assert_eq!((&told_in_v2, &told_in_v3), (&answer, &answer));
    }
}

#[test]
fn queries_and_answers_of_the_corpus_are_understood() {
    let domain = |oid: &str| Domain { namespace: "".into(), authority: authority(oid) };
    for row in manifest("pixv3/").into_iter().filter(|row| row[2] == "ITI-45") {
        let path = &row[0];
        let Some(bytes) = corpus(path) else { return };
        let text = decode_text(&bytes, None).unwrap();
        if row[3] == "response" {
            let Answer::Found(ids) = decode_response(&text).answer else { panic!("{path}") };
            assert_eq!(ids.len(), 3, "{path}");
            continue;
        }
        let roots: Vec<String> = with(&text, |body| {
            let values = body.descendants().filter(|one| one.local_name() == "value");
            values.filter_map(|one| one.attribute("root").map(str::to_owned)).collect()
        });
        let all = Domains::new(roots.iter().map(|root| domain(root)).collect());
        let request = with(&text, |body| Request::decode(body, &all)).unwrap_or_else(|e| panic!("{path}: {e}"));
        validates(&request.encode(&all), &format!("{SCHEMAS}/PRPA_IN201309UV02.xsd"));
        validates(&response(&request, Answer::NothingFound).encode(&all), &format!("{SCHEMAS}/PRPA_IN201310UV02.xsd"));
        let unknown = with(&text, |body| Request::decode(body, &domains())).unwrap_err();
        assert_eq!(unknown, Refusal::Question(question::Refusal::UnknownDomain), "{path}");
    }
}

proptest! {
    #[test]
    fn questions_and_answers_survive_the_wire(
        one in "[A-Za-z0-9<>&'é-]{1,12}",
        found in proptest::collection::vec(("2\\.999\\.[123]0", "[A-Z0-9]{1,6}"), 0..5),
        wanted in proptest::collection::vec("2\\.999\\.[123]0", 0..3),
    ) {
        let question = Question { id: id("2.999.20", &one), wanted: wanted.iter().map(|oid| authority(oid)).collect() };
        let sent = Request { question, ..request() };
        let read = with(&sent.encode(&domains()), |body| Request::decode(body, &domains())).unwrap();
        prop_assert_eq!(&read.question, &sent.question);
        let answer = Answer::found(found.iter().map(|(oid, text)| id(oid, text)).collect());
        let told = decode_response(&response(&read, answer.clone()).encode(&domains()));
        prop_assert_eq!(told.answer, answer);
    }

    #[test]
    fn no_damage_to_a_message_makes_the_reader_panic(at in any::<prop::sample::Index>(), length in 0usize..60, junk in "[<>/='a-z0-9 ]{0,6}") {
        let answer = Answer::Refused(question::Refusal::UnknownWantedDomains(vec![1]));
        for xml in [request().encode(&domains()), response(&request(), answer).encode(&domains())] {
            let from = at.index(xml.len());
            let damaged = format!("{}{junk}{}", &xml[..from], &xml[(from + length).min(xml.len())..]);
            let Ok(tree) = parse(&damaged, &Limits::default()) else { continue };
            let root = tree.root().unwrap();
            if let Err(refusal) = Request::decode(root, &domains()) {
                Response::refuse(root, &refusal, Ii::default(), now(), device("2.999.99"));
            }
            let _ = Response::decode(root, &domains());
        }
    }
}
