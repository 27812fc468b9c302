use proptest::prelude::*;

use super::ack::Answering;
use super::*;
use crate::id::{AssigningAuthority, Domain, DomainError, Domains, Timestamp};
use crate::testing::{corpus, manifest};

fn parse(text: &str) -> Message {
    Message::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn refused(bytes: &[u8]) -> ParseError {
    Message::parse(bytes, &Limits { bytes: 4_000, segments: 20, fields: 40, repetitions: 10 }).unwrap_err()
}

fn us() -> Answering {
    Answering {
        application: Hd::named("GW_XREF"),
        facility: Hd::named("GATEWAY"),
        now: Timestamp::from_rfc3339("2026-01-15T10:15:00Z").unwrap(),
        control_id: "90001".into(),
    }
}

const FEED: &str = "MSH|^~\\&|ADT1|NORTH|GW|GATEWAY|20260115090000||ADT^A04^ADT_A01|N-1001|P|2.3.1\r\
    EVN||20260115090000\r\
    PID|||N-44^^^NORTH&2.999.10&ISO~S-1^^^SOUTH||Okafor^Ada^M||19870312|\"\"|||12 Elm St \\T\\ Co^^Salem^OR^97301||\r";

#[test]
fn fields_are_numbered_as_in_the_standard() {
    let message = parse(FEED);
    assert_eq!(message.field("MSH", 2).raw(), "^~\\&");
    assert_eq!(message.field("MSH", 9).component(2).text(), "A04");
    assert_eq!(message.field("EVN", 2).text(), "20260115090000");
    let pid = message.segment("PID").unwrap();
    let ids: Vec<Cx> = pid.field(3).repetitions().map(Cx::read).collect();
    assert_eq!((ids[0].id.as_str(), ids[0].universal_id.as_str()), ("N-44", "2.999.10"));
    assert_eq!((ids[1].id.as_str(), ids[1].namespace.as_str()), ("S-1", "SOUTH"));
    assert_eq!(pid.field(11).text(), "12 Elm St & Co");
    assert_eq!(format!("{message:?}"), "Message(MSH EVN PID)");
}

/// ITI TF-2: Appendix C: nothing means "as it is", two quotation marks mean "delete".
#[test]
fn missing_empty_and_delete_are_three_things() {
    let message = parse(FEED);
    for (field, content) in
        [(3, Content::Value), (4, Content::Empty), (8, Content::Delete), (12, Content::Empty), (20, Content::Missing)]
    {
        assert_eq!(message.field("PID", field).content(), content, "PID-{field}");
    }
    assert_eq!(message.field("ZZZ", 1).content(), Content::Missing);
}

#[test]
fn segment_ends_and_delimiters_of_live_senders_are_read() {
    for text in [
        "MSH|^~\\&|A||||||ADT^A01|1|P|2.5\rPID|||X\r",
        "MSH|^~\\&|A||||||ADT^A01|1|P|2.5\nPID|||X",
        "\r\n MSH|^~\\&|A||||||ADT^A01|1|P|2.5\r\n\r\nPID|||X\r\n",
        "MSH#*%!@#A######ADT*A01#1#P#2.5\rPID###X",
        "MSH|^~\\&#|A||||||ADT^A01|1|P|2.5\rPID|||X\0",
        "MSH|^|A||||||ADT^A01|1|P|2.5\rPID|||X",
    ] {
        let message = parse(text);
        assert_eq!(Header::read(&message).event, "A01", "{text:?}");
        assert_eq!(message.field("PID", 3).text().trim_end_matches('\0'), "X", "{text:?}");
    }
}

#[test]
fn escape_sequences_are_replaced_and_stray_ones_kept() {
    for (written, read) in [
        ("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f"),
        ("a\\.br\\b", "a\nb"),
        ("a\\X0D0A\\b", "a\r\nb"),
        ("a\\XC3BC\\b", "aüb"),
        ("\\H\\a\\N\\", "a"),
        ("C:\\temp", "C:\\temp"),
        ("C:\\x\\T\\", "C:\\x&"),
        ("a\\Xzz\\b", "a\\Xzz\\b"),
    ] {
        let message = parse(&format!("MSH|^~\\&|{written}|||||||ADT|1|P|2.5"));
        assert_eq!(message.field("MSH", 3).text(), read, "{written}");
    }
}

#[test]
fn what_is_no_message_is_refused_by_name() {
    let broken = |segment: &str| ParseError::BrokenSegment { segment: segment.into(), sequence: 1 };
    for (bytes, error) in [
        (&b""[..], ParseError::NoHeader),
        (b"PID|||X", ParseError::NoHeader),
        (b"FHS|^~\\&|A\rMSH|^~\\&|A", ParseError::NoHeader),
        (b"MSH", ParseError::Delimiters),
        (b"MSH|^^\\&|", ParseError::Delimiters),
        (b"MSH||A", ParseError::Delimiters),
        (b"MSHAbcde|", ParseError::Delimiters),
        (b"MSH|^~\\&|A\rNTE|1|first line\rsecond line|", broken("NTE")),
        (b"MSH|^~\\&|A\rMSH|^~\\&|B", broken("MSH")),
        (b"MSH|^~\\&||||||||||||||||UNICODE UTF-8\rPID|\xFF", ParseError::NotText),
        (b"MSH|^~\\&||||||||||||||||ISO IR87\rPID|\xFF", ParseError::UnknownCharset),
    ] {
        assert_eq!(refused(bytes), error, "{}", String::from_utf8_lossy(bytes));
    }
    let many = |what: &str, count| [b"MSH|^~\\&|A\r".as_slice(), what.repeat(count).as_bytes()].concat();
    assert_eq!(refused(&many("OBX|\r", 30)), ParseError::TooMany("segments"));
    assert_eq!(refused(&[many("", 0), b"PID".to_vec(), b"|".repeat(60)].concat()), ParseError::TooMany("fields"));
    assert_eq!(refused(&many("PID|a~~~~~~~~~~~~~~~~", 1)), ParseError::TooMany("repetitions"));
    assert_eq!(refused(&[b'M'; 5_000]), ParseError::TooLong(4_000));
}

/// Appendix E.1: the three forms of CX.4, and CX.4.2 without 4.3.
#[test]
fn the_authority_of_an_identifier_is_found_in_all_its_forms() {
    let oid = AssigningAuthority::new("2.999.10", "ISO").unwrap();
    let domains = Domains::new(vec![Domain { namespace: "NORTH".into(), authority: oid.clone() }]);
    for (cx, expected) in [
        ("1^^^NORTH", Ok(&oid)),
        ("1^^^&2.999.10&ISO", Ok(&oid)),
        ("1^^^NORTH&2.999.10&ISO^PI", Ok(&oid)),
        ("1^^^&&", Err(DomainError::Missing)),
        ("1", Err(DomainError::Missing)),
        ("1^^^SOUTH", Err(DomainError::Unknown)),
        ("1^^^&2.999.10", Err(DomainError::Malformed(crate::id::IdError::HalfAuthority))),
    ] {
        let message = parse(&format!("MSH|^~\\&|A\rPID|||{cx}"));
        let read = Cx::read(message.field("PID", 3).first());
        assert_eq!(read.authority(&domains).as_ref(), expected.as_ref().map(|authority| *authority), "{cx}");
    }
}

#[test]
fn telephone_numbers_and_addresses_of_live_senders_are_understood() {
    for (xtn, value, usage) in [
        ("(416)111-1111", "(416)111-1111", "PRN"),
        ("^PRN^PH^^1^503^5550100", "+1-503-5550100", "PRN"),
        ("^PRN^PH^^^712^7670867^12", "712-7670867;ext=12", "PRN"),
        ("012-0003^PRN^CP", "012-0003", "PRS"),
        ("^^^jo@example.org", "jo@example.org", "PRN"),
        ("jo@example.org^NET^Internet", "jo@example.org", "NET"),
        ("^PRN^Internet^jo@example.org", "jo@example.org", "PRN"),
    ] {
        let message = parse(&format!("MSH|^~\\&|A\rPID|{xtn}"));
        let telecom = datatypes::read_telecom(message.field("PID", 1).first(), "PRN").unwrap();
        assert_eq!((telecom.value.as_str(), telecom.usage.as_str()), (value, usage), "{xtn}");
    }
    for (xad, line) in [
        ("12 Elm St^Apt 3", "12 Elm St"),
        ("1000&Hospital Lane", "1000 Hospital Lane"),
        ("12 Elm St&Elm St&12", "12 Elm St"),
        ("&Elm St&12", "12 Elm St"),
    ] {
        let message = parse(&format!("MSH|^~\\&|A\rPID|{xad}"));
        assert_eq!(datatypes::read_address(message.field("PID", 1).first()).lines[0], line, "{xad}");
    }
}

/// ITI TF-2: Appendix C.2.3, the example of an unsupported event.
#[test]
fn an_acknowledgement_turns_the_names_around_and_tells_the_place() {
    let header = Header::read(&parse("MSH|^~\\&|LAB|NORTH|GW|GATE^2.999^ISO|20260115||ADT^A60^X|LAB-77|P^T|2.3.1"));
    let fault = Fault {
        condition: Condition::UnsupportedEvent,
        location: Some(ack::message_type().repetition(1).component(2)),
        text: "A60 is not for us".into(),
    };
    let bytes = Ack::refuse(AckCode::Reject, fault).encode(&header, &us());
    assert_eq!(
        String::from_utf8(bytes.clone()).unwrap(),
        "MSH|^~\\&|GW|GATE^2.999^ISO|LAB|NORTH|20260115101500+0000||ACK^A60^ACK|90001|P|2.3.1\r\
         MSA|AR|LAB-77\r\
         ERR||MSH^1^9^1^2|201^Unsupported trigger event^HL70357|E|||A60 is not for us\r"
    );
    let (id, code, text) = Ack::read(&Message::parse(&bytes, &Limits::default()).unwrap()).unwrap();
    assert_eq!((id.as_str(), code, text.as_str()), ("LAB-77", AckCode::Reject, "A60 is not for us"));
}

#[test]
fn bytes_that_are_no_message_are_answered_all_the_same() {
    for (bytes, control_id, location) in [
        (&b"garbage"[..], "", "MSH^1^9"),
        (b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|77|P|2.5\rbroken line", "77", "MSH^1"),
        (b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|77|P|2.5||||||JIS\rPID|\xFF", "77", "MSH^1^18"),
    ] {
        let error = Message::parse(bytes, &Limits::default()).unwrap_err();
        let answer = Ack::unreadable(&error).encode(&ack::header_of(bytes, Err(&error)), &us());
        let answer = Message::parse(&answer, &Limits::default()).unwrap();
        assert_eq!(answer.field("MSA", 1).text(), "AR", "{bytes:?}");
        assert_eq!(answer.field("MSA", 2).text(), control_id, "{bytes:?}");
        assert_eq!(answer.field("ERR", 2).raw(), location, "{bytes:?}");
    }
}

#[test]
fn a_header_without_type_or_control_id_is_refused() {
    for (text, field) in [
        ("MSH|^~\\&|A|B|C|D|2026|||77|P|2.5", Some("MSH^1^9")),
        ("MSH|^~\\&|A|B|C|D|2026||ADT^A01||P|2.5", Some("MSH^1^10")),
        ("MSH|^~\\&|A|B|C|D|2026||ADT^A01|77|P|2.5", None),
    ] {
        let refused = Ack::header_incomplete(&Header::read(&parse(text)));
        let location = refused.and_then(|ack| ack.faults[0].location.as_ref().map(Location::to_string));
        assert_eq!(location.as_deref(), field, "{text}");
    }
}

#[test]
fn every_message_of_the_corpus_is_read() {
    let mut read = 0;
    for row in ["hl7v2-pix-feed/", "hl7v2-pix-query/", "hl7v2-pdq/"].into_iter().flat_map(manifest) {
        let path = &row[0];
        let Some(bytes) = corpus(path).filter(|_| path.ends_with(".hl7")) else { continue };
        let message = Message::parse(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{path}: {error}"));
        let header = Header::read(&message);
        assert!(!header.message_type.is_empty() && !header.control_id.is_empty(), "{path}");
        read += 1;
    }
    println!("{read} messages read");
}

/// A message as its parts: segments of fields of repetitions of components of subcomponents.
fn tree() -> impl Strategy<Value = Vec<Vec<Vec<Composite>>>> {
    let text = "[ -~\r\n\té]{1,6}"
        .prop_filter("neither nothing nor a deletion", |text| !text.trim().is_empty() && text.trim() != "\"\"");
    let component = proptest::collection::vec(text, 1..3);
    let repetition = proptest::collection::vec(component, 1..4).prop_map(Composite);
    let field = proptest::collection::vec(repetition, 1..3);
    proptest::collection::vec(proptest::collection::vec(field, 1..5), 1..4)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(tree in tree()) {
        let mut builder = Builder::new();
        builder.segment("MSH").text(18, "UNICODE UTF-8").end();
        for fields in &tree {
            let mut segment = builder.segment("ZTE");
            for (index, repetitions) in fields.iter().enumerate() {
                segment.repetitions(index + 1, repetitions);
            }
            segment.end();
        }
        let message = Message::parse(&builder.finish(), &Limits::default()).unwrap();
        let read: Vec<Vec<Vec<Composite>>> = message
            .segments_named("ZTE")
            .map(|segment| {
                let field = |number| segment.field(number).repetitions().map(|one| one.composite()).collect();
                (1..=segment.len()).map(field).collect()
            })
            .collect();
        prop_assert!(read == tree);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), header in any::<bool>()) {
        let mut message = if header { b"MSH|^~\\&|".to_vec() } else { Vec::new() };
        message.extend_from_slice(&bytes);
        let parsed = Message::parse(&message, &Limits::default());
        let header = ack::header_of(&message, parsed.as_ref());
        let _ = Ack::accept().encode(&header, &us());
        if let Ok(message) = parsed {
            for field in message.segments().flat_map(|s| (0..=s.len() + 1).map(move |n| s.field(n))) {
                let _ = (field.content(), field.text(), Cx::read(field.first()), datatypes::read_name(field.first()));
                let _ = (datatypes::read_address(field.first()), datatypes::read_telecom(field.first(), ""));
                let _ = datatypes::read_time(field);
            }
        }
    }
}
