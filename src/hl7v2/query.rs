//! What the query messages share: the checks of their header, the tag, the echo of QPD, and the frame of an answer
//! (HL7 2.5 chapter 5; ITI TF-2: 3.9, 3.21, 3.22).

use smol_str::SmolStr;

use super::ack::{Ack, AckCode, Answering, Condition, Fault, Location, message_type, write_header_of};
use super::message::{Header, Message};
use super::segment::Builder;

/// QAK-2, HL7 table 0208.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// `OK`: data found.
    Found,
    /// `NF`: nothing found, and no error.
    NothingFound,
    /// `AE`: an error in the query.
    Error,
    /// `AR`: not answered.
    Reject,
}

impl Status {
    /// As it is written.
    pub fn code(self) -> &'static str {
        match self {
            Self::Found => "OK",
            Self::NothingFound => "NF",
            Self::Error => "AE",
            Self::Reject => "AR",
        }
    }
}

/// Why a message is not a query that is served here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeaderProblem {
    /// MSH-9.1.
    #[error("this type of message is not served here")]
    MessageType,
    /// MSH-9.2.
    #[error("the trigger event is not served here")]
    EventType,
    /// MSH-9 or MSH-10 is empty.
    #[error("MSH-{0} is empty")]
    Missing(usize),
    /// MSH-12 is not 2.something.
    #[error("the version is not one of HL7 version 2")]
    Version,
}

impl HeaderProblem {
    /// MSA-1 and ERR (ITI TF-2: Appendix C.2.3).
    pub fn ack(self) -> Ack {
        let (condition, location) = match self {
            Self::MessageType => (Condition::UnsupportedMessageType, message_type().repetition(1).component(1)),
            Self::EventType => (Condition::UnsupportedEvent, message_type().repetition(1).component(2)),
            Self::Missing(field) => (Condition::RequiredFieldMissing, Location::of("MSH").field(field)),
            Self::Version => (Condition::UnsupportedVersion, Location::of("MSH").field(12)),
        };
        Ack::refuse(AckCode::Reject, Fault { condition, location: Some(location), text: self.to_string() })
    }
}

/// Checks that the header is that of such a message, and gives the event. MSH-9.3 is often absent or wrong, so it is
/// not looked at.
pub fn accept<'e>(header: &Header, message_type: &str, events: &[&'e str]) -> Result<&'e str, HeaderProblem> {
    if header.message_type.is_empty() {
        return Err(HeaderProblem::Missing(9));
    }
    if header.message_type != message_type {
        return Err(HeaderProblem::MessageType);
    }
    let event = events.iter().find(|event| **event == header.event).ok_or(HeaderProblem::EventType)?;
    if header.control_id.trim().is_empty() {
        return Err(HeaderProblem::Missing(10));
    }
    if !header.version.starts_with("2.") {
        return Err(HeaderProblem::Version);
    }
    Ok(event)
}

/// QPD as it was asked.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Asked {
    /// QPD-2, echoed in QAK-1.
    pub tag: SmolStr,
    /// The segment as it came; empty if there was none.
    pub echo: String,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Asked({:?}, …)", self.tag)
    }
}

impl Asked {
    /// Reads it; empty without a QPD segment.
    pub fn read(message: &Message) -> Self {
        let Some(qpd) = message.segment("QPD") else { return Self::default() };
        Self { tag: qpd.field(2).text().trim().into(), echo: qpd.standard() }
    }

    /// Reads what an answer repeats of it. QAK-1 counts if a partner garbled the QPD.
    pub fn read_answer(message: &Message) -> Self {
        let tag = SmolStr::from(message.field("QAK", 1).text().trim());
        let asked = Self::read(message);
        Self { tag: if tag.is_empty() { asked.tag } else { tag }, ..asked }
    }
}

/// An answer: `MSH MSA [ERR…] QAK QPD` and what follows. `event` and `structure` are MSH-9.2 and 9.3.
pub fn write_answer(
    request: &Header,
    us: &Answering,
    (event, structure): (&str, &str),
    (ack, status): (&Ack, Status),
    asked: &Asked,
    rest: &Builder,
) -> Vec<u8> {
    let mut body = Builder::new();
    ack.write(&mut body, request);
    body.segment("QAK").text(1, &asked.tag).text(2, status.code()).end();
    if !asked.echo.is_empty() {
        body.copy(&asked.echo);
    }
    body.append(rest);
    let mut message = Builder::new();
    write_header_of(&mut message, request, us, &["RSP", event, structure], body.is_ascii());
    message.append(&body);
    message.finish()
}

/// What an answer says before its data: accepted or not, and why not. None: it has no MSA with a known code.
///
/// The header may be that of a plain ACK, as some peers send it instead of an answer.
pub fn read_ack(message: &Message) -> Option<(AckCode, String)> {
    let (_, code, text) = Ack::read(message)?;
    Some((code, text))
}
