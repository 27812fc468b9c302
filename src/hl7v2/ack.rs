//! Acknowledgements: an answer for any request, one that cannot be read included (ITI TF-2: Appendix C.2.3).
//!
//! The ERR segment has its 2.5 layout in every version: 2.3.1 knows only ERR-1, which stays empty, and both kinds of
//! reader find the fields behind it or ignore them.

use std::fmt;

use smol_str::SmolStr;

use super::datatypes::Hd;
use super::message::{Header, Message, ParseError};
use super::segment::{Builder, Composite};
use crate::id::Timestamp;

/// MSA-1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AckCode {
    /// `AA`: accepted and integrated.
    Accept,
    /// `AE`: an error in the content; the sender must correct it.
    Error,
    /// `AR`: rejected; unless the header is at fault, the sender may send it again unchanged.
    Reject,
}

impl AckCode {
    /// As it is written.
    pub fn code(self) -> &'static str {
        match self {
            Self::Accept => "AA",
            Self::Error => "AE",
            Self::Reject => "AR",
        }
    }

    /// Reads original and enhanced mode codes alike.
    pub fn from_wire(code: &str) -> Option<Self> {
        Some(match code.trim() {
            "AA" | "CA" => Self::Accept,
            "AE" | "CE" => Self::Error,
            "AR" | "CR" => Self::Reject,
            _ => return None,
        })
    }
}

/// HL7 table 0357.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// 100.
    SegmentSequence,
    /// 101.
    RequiredFieldMissing,
    /// 102.
    DataType,
    /// 103.
    TableValue,
    /// 200.
    UnsupportedMessageType,
    /// 201.
    UnsupportedEvent,
    /// 202.
    UnsupportedProcessingId,
    /// 203.
    UnsupportedVersion,
    /// 204.
    UnknownKey,
    /// 205.
    DuplicateKey,
    /// 206.
    RecordLocked,
    /// 207.
    Internal,
}

impl Condition {
    /// Code and text of the table.
    pub fn wire(self) -> (&'static str, &'static str) {
        match self {
            Self::SegmentSequence => ("100", "Segment sequence error"),
            Self::RequiredFieldMissing => ("101", "Required field missing"),
            Self::DataType => ("102", "Data type error"),
            Self::TableValue => ("103", "Table value not found"),
            Self::UnsupportedMessageType => ("200", "Unsupported message type"),
            Self::UnsupportedEvent => ("201", "Unsupported trigger event"),
            Self::UnsupportedProcessingId => ("202", "Unsupported processing id"),
            Self::UnsupportedVersion => ("203", "Unsupported version id"),
            Self::UnknownKey => ("204", "Unknown key identifier"),
            Self::DuplicateKey => ("205", "Duplicate key identifier"),
            Self::RecordLocked => ("206", "Application record locked"),
            Self::Internal => ("207", "Application internal error"),
        }
    }
}

/// ERR-2: where an error is. `Location::of("PID").field(3).repetition(2).component(4)`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    segment: SmolStr,
    /// Sequence, field, repetition, component, subcomponent, as far as they are told.
    numbers: Vec<usize>,
}

impl Location {
    /// The first segment of that name.
    pub fn of(segment: &str) -> Self {
        Self { segment: segment.into(), numbers: vec![1] }
    }

    /// Another segment than the first of its name.
    #[must_use]
    pub fn sequence(mut self, number: usize) -> Self {
        self.numbers[0] = number;
        self
    }

    /// A field of it.
    #[must_use]
    pub fn field(self, number: usize) -> Self {
        self.at(1, number)
    }

    /// A repetition of the field, from 1.
    #[must_use]
    pub fn repetition(self, number: usize) -> Self {
        self.at(2, number)
    }

    /// A component of the repetition.
    #[must_use]
    pub fn component(self, number: usize) -> Self {
        self.at(3, number)
    }

    /// The segment's name.
    pub fn segment(&self) -> &str {
        &self.segment
    }

    /// Sequence, field, repetition, component and subcomponent, as far as they are told.
    pub fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    fn at(mut self, depth: usize, number: usize) -> Self {
        self.numbers.resize(depth, 1);
        self.numbers.push(number);
        self
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segment)?;
        self.numbers.iter().try_for_each(|number| write!(f, "^{number}"))
    }
}

/// One ERR segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// ERR-3.
    pub condition: Condition,
    /// ERR-2; none when the error is in no field.
    pub location: Option<Location>,
    /// ERR-7, for whoever reads the sender's log. Never patient data.
    pub text: String,
}

/// What is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ack {
    /// MSA-1.
    pub code: AckCode,
    /// The ERR segments.
    pub faults: Vec<Fault>,
}

/// What the answering side says of itself.
#[derive(Clone, Debug)]
pub struct Answering {
    /// MSH-3, if the request did not name one in MSH-5.
    pub application: Hd,
    /// MSH-4, if the request did not name one in MSH-6.
    pub facility: Hd,
    /// MSH-7.
    pub now: Timestamp,
    /// MSH-10, at most 20 characters, unique among our messages.
    pub control_id: SmolStr,
}

impl Ack {
    /// Accepted.
    pub fn accept() -> Self {
        Self { code: AckCode::Accept, faults: Vec::new() }
    }

    /// Not accepted, for one reason.
    pub fn refuse(code: AckCode, fault: Fault) -> Self {
        Self { code, faults: vec![fault] }
    }

    /// For bytes that are no message: `AR`, with the place as far as it is known.
    pub fn unreadable(error: &ParseError) -> Self {
        let (condition, location) = match error {
            ParseError::NoHeader | ParseError::Delimiters => (Condition::RequiredFieldMissing, Some(message_type())),
            ParseError::UnknownCharset => (Condition::TableValue, Some(Location::of("MSH").field(18))),
            ParseError::NotText => (Condition::DataType, Some(Location::of("MSH").field(18))),
            ParseError::BrokenSegment { segment, sequence } => {
                (Condition::DataType, Some(Location::of(segment).sequence(*sequence)))
            }
            ParseError::TooLong(_) | ParseError::TooMany(_) => (Condition::DataType, None),
        };
        Self::refuse(AckCode::Reject, Fault { condition, location, text: error.to_string() })
    }

    /// For a message whose header lacks what an answer needs: MSH-9 or MSH-10.
    pub fn header_incomplete(header: &Header) -> Option<Self> {
        let field = if header.message_type.is_empty() {
            9
        } else if header.control_id.trim().is_empty() {
            10
        } else {
            return None;
        };
        let fault = Fault {
            condition: Condition::RequiredFieldMissing,
            location: Some(Location::of("MSH").field(field)),
            text: format!("MSH-{field} is empty"),
        };
        Some(Self::refuse(AckCode::Reject, fault))
    }

    /// The acknowledgement message: `MSH MSA [ERR…]`, with the version of the request.
    pub fn encode(&self, request: &Header, us: &Answering) -> Vec<u8> {
        let mut builder = Builder::new();
        write_answer_header(&mut builder, request, us, "ACK", "ACK");
        self.write(&mut builder, request);
        builder.finish()
    }

    /// MSA and ERR, for answers that go on behind them.
    pub fn write(&self, builder: &mut Builder, request: &Header) {
        builder.segment("MSA").text(1, self.code.code()).text(2, &request.control_id).end();
        for fault in &self.faults {
            let (code, text) = fault.condition.wire();
            // The location is written with its own delimiters, as numbers cannot need escaping.
            let location = fault.location.as_ref().map(Location::to_string).unwrap_or_default();
            let mut err = builder.segment("ERR");
            err.raw(2, &location).composite(3, &Composite::new(&[code, text, "HL70357"])).text(4, "E");
            err.text(7, &fault.text).end();
        }
    }

    /// Reads the answer to a message of ours: MSA-2 and what happened. None: it has no MSA with a known code.
    ///
    /// Old peers put their text into MSA-3 or into ERR-1.4.2.
    pub fn read(message: &Message) -> Option<(SmolStr, AckCode, String)> {
        let msa = message.segment("MSA")?;
        let code = AckCode::from_wire(&msa.field(1).text())?;
        let err = |field: usize, component: usize, part: usize| {
            message.field("ERR", field).component(component).subcomponent(part).into_owned()
        };
        let texts = [err(8, 1, 1), err(7, 1, 1), err(3, 2, 1), err(1, 4, 2), msa.field(3).text().into_owned()];
        let text = texts.into_iter().find(|text| !text.trim().is_empty()).unwrap_or_default();
        Some((msa.field(2).text().into(), code, text))
    }
}

/// Each place that the ERR segments of an answer name (ERR-2, repeated or not), and ERR-3.1.
pub fn told_places(message: &Message) -> Vec<(Location, SmolStr)> {
    let mut places = Vec::new();
    for err in message.segments_named("ERR") {
        let code = SmolStr::from(err.field(3).text().trim());
        for place in err.field(2).repetitions() {
            let number = |component| place.component(component).text().trim().parse::<usize>().ok();
            let segment = place.component(1).text();
            let numbers: Vec<usize> = (2..=6).map_while(number).collect();
            if !segment.trim().is_empty() && !numbers.is_empty() {
                places.push((Location { segment: segment.trim().into(), numbers }, code.clone()));
            }
        }
    }
    places
}

/// Where an unsupported message type is told.
pub fn message_type() -> Location {
    Location::of("MSH").field(9)
}

/// MSH of an answer: the names of the request turned around, its version and processing id kept. `answer` and
/// `structure` are MSH-9.1 and 9.3; the event is that of the request.
pub fn write_answer_header(builder: &mut Builder, request: &Header, us: &Answering, answer: &str, structure: &str) {
    let structure = if request.event.is_empty() { "" } else { structure };
    write_header_of(builder, request, us, &[answer, &request.event, structure], true);
}

/// The same with an event of its own, for answers whose other segments may need a character set (`ascii` is false).
pub fn write_header_of(builder: &mut Builder, request: &Header, us: &Answering, message_type: &[&str; 3], ascii: bool) {
    let or = |told: &Hd, ours: &Hd| if told.is_empty() { ours.composite() } else { told.composite() };
    let processing_id = if request.processing_id.is_empty() { "P" } else { &request.processing_id };
    let version = if request.version.is_empty() { "2.5" } else { &request.version };
    let needs_charset = [&request.control_id, &request.sending_application.namespace]
        .into_iter()
        .chain([&request.sending_facility.namespace, &request.receiving_application.namespace])
        .chain([&request.receiving_facility.namespace, &us.application.namespace, &us.facility.namespace])
        .any(|text| !text.is_ascii());
    let mut msh = builder.segment("MSH");
    msh.composite(3, &or(&request.receiving_application, &us.application));
    msh.composite(4, &or(&request.receiving_facility, &us.facility));
    msh.composite(5, &request.sending_application.composite());
    msh.composite(6, &request.sending_facility.composite());
    msh.text(7, &us.now.to_hl7());
    msh.composite(9, &Composite::new(message_type));
    msh.text(10, &us.control_id).text(11, processing_id).text(12, version);
    if needs_charset || !ascii {
        msh.text(18, "UNICODE UTF-8");
    }
    msh.end();
}

/// Reads the control id of bytes that may be no message, for MSA-2.
pub fn header_of(bytes: &[u8], parsed: Result<&Message, &ParseError>) -> Header {
    parsed.map_or_else(|_| Header::salvage(bytes), Header::read)
}
