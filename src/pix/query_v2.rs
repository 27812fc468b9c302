//! ITI-9 PIX Query in HL7 v2: `QBP^Q23` and its answer `RSP^K23` (ITI TF-2: 3.9). The identifiers of the person are the
//! manager's business (`question` has what it is asked); here is how each of the six cases looks.

use crate::hl7v2::ack::{AckCode, Answering, Condition, Fault, Location, told_places};
use crate::hl7v2::query::{self, Asked, HeaderProblem, Status, read_ack, write_answer};
use crate::hl7v2::{Ack, Builder, Composite, Cx, Header, Message};
use crate::id::{AssigningAuthority, Domains, IdError, PatientId};

use super::question::{self, Answer, Question};

/// A query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Who asks whom, and under which control id.
    pub header: Header,
    /// The tag and the echo.
    pub asked: Asked,
    /// What is asked.
    pub question: Question,
}

/// Why a query is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a message for this transaction.
    #[error(transparent)]
    Header(#[from] HeaderProblem),
    /// There is no QPD.
    #[error("the QPD segment is missing")]
    NoQuery,
    /// QPD-2 is empty.
    #[error("the query has no tag")]
    NoTag,
    /// QPD-3 is empty.
    #[error("the query names no identifier")]
    NoIdentifier,
    /// QPD-3 has more than one.
    #[error("the query names more than one identifier")]
    SeveralIdentifiers,
    /// QPD-3 is not usable as an identifier.
    #[error("the identifier of the query is not usable")]
    Identifier(#[source] IdError),
    /// It can be read, and not be answered.
    #[error(transparent)]
    Question(#[from] question::Refusal),
}

impl Refusal {
    /// MSA-1 and ERR, QAK-2 (ITI TF-2: 3.9.4.2.2, Appendix C.2.3).
    pub fn ack(&self) -> (Ack, Status) {
        let qpd = || Location::of("QPD");
        let id = || qpd().field(3).repetition(1);
        let (condition, location) = match self {
            Self::Header(problem) => return (problem.ack(), Status::Reject),
            Self::NoQuery => (Condition::SegmentSequence, qpd()),
            Self::NoTag => (Condition::RequiredFieldMissing, qpd().field(2)),
            Self::NoIdentifier => (Condition::RequiredFieldMissing, qpd().field(3)),
            Self::SeveralIdentifiers => (Condition::DataType, qpd().field(3).repetition(2)),
            Self::Identifier(_) => (Condition::DataType, id().component(1)),
            Self::Question(refusal) => match refusal {
                question::Refusal::UnknownId => (Condition::UnknownKey, id().component(1)),
                question::Refusal::UnknownDomain => (Condition::UnknownKey, id().component(4)),
                question::Refusal::UnknownWantedDomains(repetitions) => {
                    let places = repetitions.iter().map(|n| qpd().field(4).repetition(*n));
                    let faults = places.map(|place| self.fault(Condition::UnknownKey, Some(place))).collect();
                    return (Ack { code: AckCode::Error, faults }, Status::Error);
                }
                question::Refusal::Unavailable => {
                    let fault = self.fault(Condition::Internal, None);
                    return (Ack::refuse(AckCode::Reject, fault), Status::Reject);
                }
                question::Refusal::Other(_) => {
                    let fault = self.fault(Condition::Internal, None);
                    return (Ack::refuse(AckCode::Error, fault), Status::Error);
                }
            },
        };
        (Ack::refuse(AckCode::Error, self.fault(condition, Some(location))), Status::Error)
    }

    fn fault(&self, condition: Condition, location: Option<Location>) -> Fault {
        Fault { condition, location, text: self.to_string() }
    }
}

impl Request {
    /// Reads a query. What it asks about must be of domains known here.
    pub fn decode(message: &Message, domains: &Domains) -> Result<Self, Refusal> {
        let header = Header::read(message);
        query::accept(&header, "QBP", &["Q23"])?;
        let qpd = message.segment("QPD").ok_or(Refusal::NoQuery)?;
        let asked = Asked::read(message);
        if asked.tag.is_empty() {
            return Err(Refusal::NoTag);
        }
        let mut ids =
            qpd.field(3).repetitions().map(Cx::read).filter(|cx| !cx.id.is_empty() || !cx.names_no_authority());
        let id = ids.next().ok_or(Refusal::NoIdentifier)?;
        if ids.next().is_some() {
            return Err(Refusal::SeveralIdentifiers);
        }
        let authority = id.authority(domains).map_err(|_| question::Refusal::UnknownDomain)?;
        let id = PatientId::new(&id.id, authority).map_err(Refusal::Identifier)?;
        let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
        for (index, cx) in
            qpd.field(4).repetitions().map(Cx::read).enumerate().filter(|(_, cx)| !cx.names_no_authority())
        {
            match cx.authority(domains) {
                Ok(authority) => wanted.push(authority),
                Err(_) => unknown.push(index + 1),
            }
        }
        if !unknown.is_empty() {
            return Err(question::Refusal::UnknownWantedDomains(unknown).into());
        }
        Ok(Self { header, asked, question: Question { id, wanted } })
    }

    /// The message, for asking another manager. MSH-9 is `QBP^Q23^QBP_Q21` whatever the header says, and QPD is
    /// written anew.
    pub fn encode(&self, domains: &Domains) -> Vec<u8> {
        let header = Header {
            message_type: "QBP".into(),
            event: "Q23".into(),
            structure: "QBP_Q21".into(),
            ..self.header.clone()
        };
        let mut body = Builder::new();
        let mut qpd = body.segment("QPD");
        qpd.text(1, "IHE PIX Query").text(2, &self.asked.tag);
        qpd.composite(3, &Cx::write(&self.question.id, domains, "PI"));
        qpd.repetitions(4, &self.question.wanted.iter().map(|one| domain(one, domains)).collect::<Vec<_>>());
        qpd.end();
        body.segment("RCP").text(1, "I").end();
        let mut message = Builder::new();
        header.write(&mut message, body.is_ascii(), None);
        message.append(&body);
        message.finish()
    }
}

/// CX with nothing but its fourth component.
pub fn domain(authority: &AssigningAuthority, domains: &Domains) -> Composite {
    let (namespace, universal_id, kind) = domains.cx4(authority);
    Composite::default().with(4, &[&namespace, &universal_id, &kind])
}

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// What it answers.
    pub asked: Asked,
    /// What it says.
    pub answer: Answer,
}

/// Why an answer was not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoAnswer {
    /// There is no MSA with a known code.
    #[error("the message is not an answer")]
    NotAnAnswer,
}

impl Response {
    /// The answer to a query.
    pub fn new(request: &Request, answer: Answer) -> Self {
        Self { asked: request.asked.clone(), answer }
    }

    /// The message, answering the one with that header.
    pub fn encode(&self, request: &Header, us: &Answering, domains: &Domains) -> Vec<u8> {
        let mut rest = Builder::new();
        let (ack, status) = match &self.answer {
            Answer::Found(ids) => {
                let ids: Vec<Composite> = ids.iter().map(|id| Cx::write(id, domains, "PI")).collect();
                // 3.9.4.2.2: no name is told; the second repetition says so with its type code.
                rest.segment("PID").repetitions(3, &ids).raw(5, "~^^^^^^S").end();
                (Ack::accept(), Status::Found)
            }
            Answer::NothingFound => (Ack::accept(), Status::NothingFound),
            Answer::Refused(refusal) => Refusal::Question(refusal.clone()).ack(),
        };
        write_answer(request, us, ("K23", "RSP_K23"), (&ack, status), &self.asked, &rest)
    }

    /// The answer to a message that was refused by `Request::decode`: a plain acknowledgement if it is not a query.
    pub fn refuse(message: &Message, refusal: &Refusal, us: &Answering) -> Vec<u8> {
        let header = Header::read(message);
        match (refusal, refusal.ack()) {
            (Refusal::Header(_), (ack, _)) => ack.encode(&header, us),
            (_, (ack, status)) => {
                let asked = Asked::read(message);
                write_answer(&header, us, ("K23", "RSP_K23"), (&ack, status), &asked, &Builder::new())
            }
        }
    }

    /// Reads an answer, or the plain acknowledgement that some peers send instead. QAK-2 is not looked at: whether
    /// something was found is seen in PID.
    pub fn decode(message: &Message, domains: &Domains) -> Result<Self, NoAnswer> {
        let (code, text) = read_ack(message).ok_or(NoAnswer::NotAnAnswer)?;
        let answer = if code == AckCode::Accept {
            let ids = message.field("PID", 3).repetitions().map(Cx::read).filter(|cx| !cx.names_no_authority());
            Answer::found(ids.filter_map(|cx| cx.foreign(domains, "").ok()).collect())
        } else {
            Answer::Refused(refusal_of(message, text))
        };
        Ok(Self { asked: Asked::read_answer(message), answer })
    }
}

/// What ERR says, whether it is one segment with several places or several segments.
fn refusal_of(message: &Message, text: String) -> question::Refusal {
    let mut domains = Vec::new();
    for (place, code) in told_places(message) {
        match (place.segment(), place.numbers(), code.as_str()) {
            ("QPD", [_, 3, _, 4, ..], "204") => return question::Refusal::UnknownDomain,
            ("QPD", [_, 3, ..], "204") => return question::Refusal::UnknownId,
            ("QPD", [_, 4, repetition, ..], "204") => domains.push(*repetition),
            _ => {}
        }
    }
    if domains.is_empty() { question::Refusal::Other(text) } else { question::Refusal::UnknownWantedDomains(domains) }
}

#[cfg(test)]
mod tests;
