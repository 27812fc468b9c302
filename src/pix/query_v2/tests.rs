use proptest::prelude::*;

use super::*;
use crate::hl7v2::{Hd, Limits};
use crate::id::{Domain, Timestamp};
use crate::testing::{corpus, manifest};

fn authority(oid: &str) -> AssigningAuthority {
    AssigningAuthority::new(oid, "ISO").unwrap()
}

fn domains() -> Domains {
    let domain = |name: &str, oid: &str| Domain { namespace: name.into(), authority: authority(oid) };
    Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20"), domain("SOUTH", "2.999.30")])
}

fn id(domain: &str, id: &str) -> PatientId {
    PatientId::new(id, authority(domain)).unwrap()
}

fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes, &Limits::default()).unwrap()
}

fn us() -> Answering {
    Answering {
        application: Hd::named("GW_XREF"),
        facility: Hd::named("GATEWAY"),
        now: Timestamp::from_rfc3339("2026-01-15T12:00:01Z").unwrap(),
        control_id: "R1".into(),
    }
}

const HEADER: &str = "MSH|^~\\&|EHR|WEST|GW_XREF|GATEWAY|20260115120000||QBP^Q23^QBP_Q21|Q1|P|2.5\r";

fn ask(qpd: &str) -> Message {
    parse(format!("{HEADER}QPD|IHE PIX Query|tag01|{qpd}\rRCP|I\r").as_bytes())
}

/// The segments of the answer behind MSH.
fn answered(qpd: &str, answer: Answer) -> Vec<String> {
    let message = ask(qpd);
    let bytes = match Request::decode(&message, &domains()) {
        Ok(request) => Response::new(&request, answer).encode(&request.header, &us(), &domains()),
        Err(refusal) => Response::refuse(&message, &refusal, &us()),
    };
    let text = String::from_utf8(bytes).unwrap();
    let mut segments = text.split_terminator('\r').map(str::to_owned);
    let header = "MSH|^~\\&|GW_XREF|GATEWAY|EHR|WEST|20260115120001+0000||RSP^K23^RSP_K23|R1|P|2.5";
    assert!(segments.next().is_some_and(|msh| msh.starts_with(header)), "{text}");
    segments.collect()
}

/// ITI TF-2: 3.9.4.2.2, its six cases, and the echo of QPD as it came.
#[test]
fn each_of_the_six_cases_is_answered_as_the_profile_says() {
    let (known, of_north) = ("W-7^^^WEST&2.999.20&ISO^PI", "^^^NORTH&2.999.10&ISO");
    let pid = |ids: &str| format!("PID|||{ids}||~^^^^^^S");
    let err = |place: &str, text: &str| format!("ERR||{place}|204^Unknown key identifier^HL70357|E|||{text}");
    let three = vec![id("2.999.10", "N-44"), id("2.999.30", "S-3"), id("2.999.10", "N-91")];
    let one = "N-44^^^NORTH&2.999.10&ISO^PI";
    let all = format!("{one}~N-91^^^NORTH&2.999.10&ISO^PI~S-3^^^SOUTH&2.999.30&ISO^PI");
    let refused = Answer::Refused;
    let unknown_domain = "the assigning authority of the identifier is not known";
    for (qpd, answer, msa, status, rest) in [
        (format!("{known}|{of_north}"), Answer::found(vec![id("2.999.10", "N-44")]), "AA", "OK", vec![pid(one)]),
        (format!("{known}|{of_north}"), Answer::found(Vec::new()), "AA", "NF", vec![]),
        (
            known.to_owned(),
            refused(question::Refusal::UnknownId),
            "AE",
            "AE",
            vec![err("QPD^1^3^1^1", "the identifier is not known")],
        ),
        ("W-7^^^MOON^PI".into(), Answer::NothingFound, "AE", "AE", vec![err("QPD^1^3^1^4", unknown_domain)]),
        (
            format!("{known}|{of_north}~^^^MOON&2.999.99&ISO"),
            Answer::NothingFound,
            "AE",
            "AE",
            vec![err("QPD^1^4^2", "a requested domain is not known")],
        ),
        (known.to_owned(), Answer::found(three), "AA", "OK", vec![pid(&all)]),
    ] {
        let segments = answered(&qpd, answer);
        let (errors, data): (Vec<String>, Vec<String>) = rest.into_iter().partition(|one| one.starts_with("ERR"));
        let echo = format!("QPD|IHE PIX Query|tag01|{qpd}");
        let expected: Vec<String> = std::iter::once(format!("MSA|{msa}|Q1"))
            .chain(errors)
            .chain([format!("QAK|tag01|{status}"), echo])
            .chain(data)
            .collect();
        assert_eq!(segments, expected, "{qpd}");
    }
}

#[test]
fn every_unknown_wanted_domain_is_told_by_its_repetition() {
    let segments = answered("W-7^^^WEST|^^^NORTH~^^^MOON~~^^^MARS", Answer::NothingFound);
    let places: Vec<&str> = segments.iter().filter_map(|one| one.strip_prefix("ERR||")?.split('|').next()).collect();
    assert_eq!(places, ["QPD^1^4^2", "QPD^1^4^4"]);
}

#[test]
fn a_query_is_echoed_character_for_character() {
    let qpd = "W-7^^^WEST&2.999.20&ISO^PI|^^^NORTH~|||||\u{e9}\\F\\x||";
    assert!(answered(qpd, Answer::NothingFound).contains(&format!("QPD|IHE PIX Query|tag01|{qpd}")));
    let other = parse(b"MSH$*~\\&$EHR$WEST$A$B$2026$$QBP*Q23$Q1$P$2.5\rQPD$IHE PIX Query$t|1$7***WEST*PI$***NORTH\r");
    let request = Request::decode(&other, &domains()).unwrap();
    let text = Response::new(&request, Answer::NothingFound).encode(&request.header, &us(), &domains());
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("\rQPD|IHE PIX Query|t\\F\\1|7^^^WEST^PI|^^^NORTH\r"), "{text}");
}

#[test]
fn the_character_set_is_told_where_the_echo_needs_one() {
    let message = ask("Jos\u{e9}^^^WEST");
    let request = Request::decode(&message, &domains()).unwrap();
    let answer = Response::new(&request, Answer::NothingFound).encode(&request.header, &us(), &domains());
    assert_eq!(parse(&answer).field("MSH", 18).text(), "UNICODE UTF-8");
}

#[test]
fn what_is_no_query_is_refused_with_its_code_and_place() {
    for (text, expected) in [
        (HEADER.replace("QBP^Q23", "QBP^Q99"), "AR 201 MSH^1^9^1^2 ACK"),
        (HEADER.replace("QBP^Q23", "ADT^A01"), "AR 200 MSH^1^9^1^1 ACK"),
        (HEADER.replace("|Q1|", "||"), "AR 101 MSH^1^10 ACK"),
        (HEADER.replace("|2.5", "|3.0"), "AR 203 MSH^1^12 ACK"),
        (HEADER.into(), "AE 100 QPD^1 RSP"),
        (format!("{HEADER}QPD|IHE PIX Query||7^^^WEST"), "AE 101 QPD^1^2 RSP"),
        (format!("{HEADER}QPD|IHE PIX Query|t|"), "AE 101 QPD^1^3 RSP"),
        (format!("{HEADER}QPD|IHE PIX Query|t|7^^^WEST~8^^^WEST"), "AE 102 QPD^1^3^2 RSP"),
        (format!("{HEADER}QPD|IHE PIX Query|t|^^^WEST"), "AE 102 QPD^1^3^1^1 RSP"),
    ] {
        let message = parse(text.as_bytes());
        let refusal = Request::decode(&message, &domains()).unwrap_err();
        let answer = parse(&Response::refuse(&message, &refusal, &us()));
        let field = |segment: &str, number: usize| answer.field(segment, number).text().into_owned();
        let place = answer.field("ERR", 2).raw().to_owned();
        assert_eq!(format!("{} {} {place} {}", field("MSA", 1), field("ERR", 3), field("MSH", 9)), expected, "{text}");
    }
}

/// OpenHIE CR-02: a query names its domain by name, by OID, or by both.
#[test]
fn queries_of_the_corpus_are_decoded_and_written_again() {
    let domains = Domains::new(
        [("TEST", "2.16.840.1.113883.3.72.5.9.1"), ("NID", "2.999.1"), ("HIMSS2005", "1.3.6.1.4.1.21367.2005.1.1")]
            .map(|(name, oid)| Domain { namespace: name.into(), authority: authority(oid) })
            .to_vec(),
    );
    let mut seen = 0;
    for row in manifest("hl7v2-pix-query/").into_iter().filter(|row| row[3] == "query") {
        let path = &row[0];
        let Some(bytes) = corpus(path) else { return };
        let decoded = Request::decode(&parse(&bytes), &domains);
        if path.contains("cr-09-20") {
            assert_eq!(decoded, Err(Refusal::Question(question::Refusal::UnknownDomain)), "{path}");
        } else {
            let request = decoded.unwrap_or_else(|refusal| panic!("{path}: {refusal}"));
            let again = Request::decode(&parse(&request.encode(&domains)), &domains).unwrap();
            assert_eq!(again.question, request.question, "{path}");
        }
        seen += 1;
    }
    println!("{seen} queries decoded");
}

/// Answers of other managers, odd ones included: one ERR for two domains, a plain ACK, a garbled QPD.
#[test]
fn answers_of_the_corpus_are_understood() {
    for row in manifest("hl7v2-pix-query/").into_iter().filter(|row| row[3] == "response") {
        let path = &row[0];
        let Some(bytes) = corpus(path) else { return };
        let answer = Response::decode(&parse(&bytes), &Domains::default()).unwrap().answer;
        match path.as_str() {
            p if p.contains("err-1") => assert_eq!(answer, Answer::Refused(question::Refusal::UnknownId)),
            p if p.contains("err-2") => {
                assert_eq!(answer, Answer::Refused(question::Refusal::UnknownWantedDomains(vec![2, 3])));
            }
            p if p.contains("-nf-") || p.contains("routebuilder-2") => assert_eq!(answer, Answer::NothingFound),
            p => assert!(matches!(answer, Answer::Found(_)), "{p}: {answer:?}"),
        }
    }
}

proptest! {
    #[test]
    fn questions_and_answers_survive_the_wire(
        one in "[A-Za-z0-9|^~&\\\\é-]{1,12}",
        found in proptest::collection::vec(("2\\.999\\.[123]0", "[A-Z0-9]{1,6}"), 0..5),
        wanted in proptest::collection::vec("2\\.999\\.[123]0", 0..3),
    ) {
        let header = Header { control_id: "Q1".into(), processing_id: "P".into(), version: "2.5".into(), ..Header::default() };
        let question = Question { id: id("2.999.20", &one), wanted: wanted.iter().map(|oid| authority(oid)).collect() };
        let asked = Asked { tag: "t1".into(), echo: String::new() };
        let request = Request { header, asked, question };
        let read = Request::decode(&parse(&request.encode(&domains())), &domains()).unwrap();
        prop_assert_eq!(&read.question, &request.question);
        let answer = Answer::found(found.iter().map(|(oid, text)| id(oid, text)).collect());
        let sent = Response::new(&read, answer);
        let bytes = sent.encode(&read.header, &us(), &domains());
        prop_assert_eq!(Response::decode(&parse(&bytes), &domains()).unwrap(), sent);
    }

    #[test]
    fn no_message_makes_the_reader_panic(fields in "[|^~&\"0-9A-Z\\\\]{0,80}", err in "[|^~&0-9A-Z]{0,30}") {
        let message = parse(format!("{HEADER}MSA|AE|1\rERR||{err}\rQPD|{fields}\rPID|{fields}").as_bytes());
        if let Err(refusal) = Request::decode(&message, &domains()) {
            parse(&Response::refuse(&message, &refusal, &us()));
        }
        let _ = Response::decode(&message, &domains());
    }
}
