//! ITI-21 Patient Demographics Query and ITI-22 Patient Demographics and Visit Query in HL7 v2 (ITI TF-2: 3.21, 3.22):
//! `QBP^Q22` and `QBP^ZV1`, their answers `RSP^K22` and `RSP^ZV2` with a pointer to the next page, and `QCN^J01`,
//! which lets the supplier forget the rest.

use smol_str::SmolStr;

use super::answer::{self, Answer, Match, Page};
use super::criteria::PatientQuery;
use super::parameters_v2::{self, BadParameter, Problem};
use super::visit;
use crate::hl7v2::ack::{AckCode, Answering, Condition, Fault, Location, told_places};
use crate::hl7v2::query::{self, Asked, HeaderProblem, Status, read_ack, write_answer};
use crate::hl7v2::{Ack, Builder, Composite, Cx, Header, Message, Segment};
use crate::id::{AssigningAuthority, Domains};
use crate::pix::demographics_v2::{self as pid_segment, Revision};
use crate::pix::query_v2::domain;

/// Which of the two transactions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// ITI-21.
    Demographics,
    /// ITI-22.
    Visits,
}

impl Kind {
    /// MSH-9.2 of the query.
    pub fn event(self) -> &'static str {
        match self {
            Self::Demographics => "Q22",
            Self::Visits => "ZV1",
        }
    }

    /// MSH-9.2 and 9.3 of the answer.
    fn answer(self) -> (&'static str, &'static str) {
        match self {
            Self::Demographics => ("K22", "RSP_K21"),
            Self::Visits => ("ZV2", "RSP_ZV2"),
        }
    }

    fn of(event: &str) -> Self {
        if matches!(event, "ZV1" | "ZV2") { Self::Visits } else { Self::Demographics }
    }
}

/// A query, or the wish for its next page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Who asks whom, and under which control id.
    pub header: Header,
    /// Which of the two transactions.
    pub kind: Kind,
    /// The tag and the echo. All pages of a query have the same tag.
    pub asked: Asked,
    /// What is asked.
    pub query: PatientQuery,
    /// QPD-8: the domains whose identifiers are wanted; none means all.
    pub wanted: Vec<AssigningAuthority>,
    /// RCP-2: how many people fit a page; none means all.
    pub quantity: Option<u32>,
    /// DSC-1: the pointer of an earlier answer.
    pub continues: Option<SmolStr>,
}

/// Why a query is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a message for these transactions.
    #[error(transparent)]
    Header(#[from] HeaderProblem),
    /// There is no QPD or QID.
    #[error("the {0} segment is missing")]
    NoSegment(&'static str),
    /// QPD-2 or QID-1 is empty.
    #[error("the query has no tag")]
    NoTag(&'static str),
    /// QPD-3 has something that is not understood.
    #[error("{} (parameter {})", .0.problem, .0.repetition)]
    Parameter(BadParameter),
    /// It can be read, and not be answered.
    #[error(transparent)]
    Answer(#[from] answer::Refusal),
}

impl Refusal {
    /// MSA-1 and ERR, QAK-2 (ITI TF-2: 3.21.4.2.2, Appendix C.2.3).
    pub fn ack(&self) -> (Ack, Status) {
        let qpd = || Location::of("QPD");
        let (condition, location) = match self {
            Self::Header(problem) => return (problem.ack(), Status::Reject),
            Self::NoSegment(name) => (Condition::SegmentSequence, Location::of(name)),
            Self::NoTag("QID") => (Condition::RequiredFieldMissing, Location::of("QID").field(1)),
            Self::NoTag(name) => (Condition::RequiredFieldMissing, Location::of(name).field(2)),
            Self::Parameter(BadParameter { repetition, problem }) => {
                let condition = match problem {
                    Problem::Unsupported => Condition::TableValue,
                    Problem::Value => Condition::DataType,
                    Problem::Incomplete => Condition::RequiredFieldMissing,
                };
                (condition, qpd().field(3).repetition(*repetition))
            }
            Self::Answer(refusal) => match refusal {
                answer::Refusal::UnknownDomains(repetitions) => {
                    let places = repetitions.iter().map(|n| qpd().field(8).repetition(*n));
                    let faults = places.map(|place| self.fault(Condition::UnknownKey, Some(place))).collect();
                    return (Ack { code: AckCode::Error, faults }, Status::Error);
                }
                answer::Refusal::NoCriteria => (Condition::RequiredFieldMissing, qpd().field(3)),
                answer::Refusal::UnknownContinuation => (Condition::UnknownKey, Location::of("DSC").field(1)),
                answer::Refusal::Unavailable => {
                    let fault = self.fault(Condition::Internal, None);
                    return (Ack::refuse(AckCode::Reject, fault), Status::Reject);
                }
                answer::Refusal::TooMany | answer::Refusal::Other(_) => {
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
    /// Reads a query. QPD-1 is not looked at: half of the senders have the name of HL7's own query there.
    pub fn decode(message: &Message, domains: &Domains) -> Result<Self, Refusal> {
        let header = Header::read(message);
        let kind = Kind::of(query::accept(&header, "QBP", &["Q22", "ZV1"])?);
        let qpd = message.segment("QPD").ok_or(Refusal::NoSegment("QPD"))?;
        let asked = Asked::read(message);
        if asked.tag.is_empty() {
            return Err(Refusal::NoTag("QPD"));
        }
        let visits = kind == Kind::Visits;
        let query = parameters_v2::read(qpd.field(3), visits, domains, &header.sending_facility);
        let query = query.map_err(Refusal::Parameter)?;
        if query.is_empty() {
            return Err(answer::Refusal::NoCriteria.into());
        }
        let text = |number: usize| SmolStr::from(qpd.field(number).text().trim());
        let query = PatientQuery {
            minimum_degree: text(4).parse().ok().filter(|degree| *degree <= 100),
            algorithm: Some(text(5)).filter(|name| !name.is_empty()),
            ..query
        };
        let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
        for (index, cx) in
            qpd.field(8).repetitions().map(Cx::read).enumerate().filter(|(_, cx)| !cx.names_no_authority())
        {
            match cx.authority(domains) {
                Ok(authority) => wanted.push(authority),
                Err(_) => unknown.push(index + 1),
            }
        }
        if !unknown.is_empty() {
            return Err(answer::Refusal::UnknownDomains(unknown).into());
        }
        let continues = SmolStr::from(message.field("DSC", 1).text().trim());
        Ok(Self {
            header,
            kind,
            asked,
            query,
            wanted,
            quantity: quantity(message),
            continues: Some(continues).filter(|pointer| !pointer.is_empty()),
        })
    }

    /// The message, for asking another supplier. MSH-9 follows from the kind. A continuation repeats the QPD that was
    /// sent before, if `asked` has it.
    pub fn encode(&self, domains: &Domains) -> Vec<u8> {
        let header = Header {
            message_type: "QBP".into(),
            event: self.kind.event().into(),
            structure: "QBP_Q21".into(),
            ..self.header.clone()
        };
        let mut body = Builder::new();
        if self.continues.is_some() && !self.asked.echo.is_empty() {
            body.copy(&self.asked.echo);
        } else {
            let degree = self.query.minimum_degree.map(|degree| degree.to_string()).unwrap_or_default();
            let mut qpd = body.segment("QPD");
            qpd.text(1, "IHE PDQ Query").text(2, &self.asked.tag);
            qpd.repetitions(3, &parameters_v2::write(&self.query, domains));
            qpd.text(4, &degree).text(5, self.query.algorithm.as_deref().unwrap_or_default());
            qpd.repetitions(8, &self.wanted.iter().map(|one| domain(one, domains)).collect::<Vec<_>>());
            qpd.end();
        }
        let mut rcp = body.segment("RCP");
        rcp.text(1, "I");
        if let Some(quantity) = self.quantity {
            rcp.composite(2, &Composite::new(&[&quantity.to_string(), "RD"]));
        }
        rcp.end();
        if let Some(pointer) = &self.continues {
            body.segment("DSC").text(1, pointer).text(2, "I").end();
        }
        let mut message = Builder::new();
        header.write(&mut message, body.is_ascii(), None);
        message.append(&body);
        message.finish()
    }
}

/// RCP-2 in records. Another unit (characters, lines, pages) says nothing here.
fn quantity(message: &Message) -> Option<u32> {
    let field = message.field("RCP", 2);
    let unit = field.component(2).text();
    let records = matches!(unit.trim(), "" | "RD");
    field.text().trim().parse().ok().filter(|quantity| records && *quantity > 0)
}

/// `QCN^J01`: no more pages are wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cancel {
    /// Who cancels; the answer is a plain acknowledgement (`Ack::accept`).
    pub header: Header,
    /// QID-1: the tag of the query.
    pub tag: SmolStr,
}

impl Cancel {
    /// Reads one. QID-2, the name of the query, is not looked at.
    pub fn decode(message: &Message) -> Result<Self, Refusal> {
        let header = Header::read(message);
        query::accept(&header, "QCN", &["J01"])?;
        message.segment("QID").ok_or(Refusal::NoSegment("QID"))?;
        let tag = SmolStr::from(message.field("QID", 1).text().trim());
        if tag.is_empty() { Err(Refusal::NoTag("QID")) } else { Ok(Self { header, tag }) }
    }

    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let header = Header {
            message_type: "QCN".into(),
            event: "J01".into(),
            structure: "QCN_J01".into(),
            ..self.header.clone()
        };
        let mut message = Builder::new();
        header.write(&mut message, self.tag.is_ascii(), None);
        message.segment("QID").text(1, &self.tag).text(2, "IHE PDQ Query").end();
        message.finish()
    }
}

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// Which of the two transactions.
    pub kind: Kind,
    /// What it answers.
    pub asked: Asked,
    /// What it says.
    pub answer: Answer,
}

/// Why an answer was not read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoAnswer {
    /// There is no MSA with a known code.
    #[error("the message is not an answer")]
    NotAnAnswer,
    /// A date in it is none.
    #[error("not a date: {0}")]
    Date(Location),
}

impl Response {
    /// The answer to a query.
    pub fn new(request: &Request, answer: Answer) -> Self {
        Self { kind: request.kind, asked: request.asked.clone(), answer }
    }

    /// The message, answering the one with that header. Of identifiers outside of patient identifier domains, v2 has
    /// fields for the social security number and a licence only.
    pub fn encode(&self, request: &Header, us: &Answering, domains: &Domains) -> Vec<u8> {
        let mut rest = Builder::new();
        let (ack, status) = match &self.answer {
            Answer::Found(page) => {
                for (index, one) in page.matches.iter().enumerate() {
                    self.write_match(&mut rest, index + 1, one, domains);
                }
                if let Some(pointer) = &page.next {
                    rest.segment("DSC").text(1, pointer).text(2, "I").end();
                }
                (Ack::accept(), Status::Found)
            }
            Answer::NothingFound => (Ack::accept(), Status::NothingFound),
            Answer::Refused(refusal) => Refusal::Answer(refusal.clone()).ack(),
        };
        write_answer(request, us, self.kind.answer(), (&ack, status), &self.asked, &rest)
    }

    fn write_match(&self, rest: &mut Builder, number: usize, one: &Match, domains: &Domains) {
        let revision = Revision { demographics: one.demographics.clone(), ..Revision::default() };
        let mut pid = rest.segment("PID");
        pid.text(1, &number.to_string());
        pid_segment::write(&mut pid, &one.ids, &revision, domains);
        pid.end();
        if self.kind == Kind::Visits {
            let visit = one.visit.clone().unwrap_or_default();
            // 3.22.4.2.2: PV1-2 is required; N says that there is no visit.
            let class = visit.class.clone().unwrap_or_else(|| "N".into());
            let mut pv1 = rest.segment("PV1");
            pv1.text(1, "1");
            visit::write(&mut pv1, &visit::Visit { class: Some(class), ..visit }, domains);
            pv1.end();
        }
        if let Some(confidence) = one.confidence {
            rest.segment("QRI").text(1, &confidence.to_string()).end();
        }
    }

    /// The answer to a message that was refused by `Request::decode`: a plain acknowledgement if it is not a query.
    pub fn refuse(message: &Message, refusal: &Refusal, us: &Answering) -> Vec<u8> {
        let header = Header::read(message);
        let (ack, status) = refusal.ack();
        if matches!(refusal, Refusal::Header(_)) || header.message_type != "QBP" {
            return ack.encode(&header, us);
        }
        let answer = Kind::of(&header.event).answer();
        write_answer(&header, us, answer, (&ack, status), &Asked::read(message), &Builder::new())
    }

    /// Reads an answer, or the plain acknowledgement that some peers send instead. QAK-2 is not looked at: whether
    /// somebody was found is seen in what follows.
    pub fn decode(message: &Message, domains: &Domains) -> Result<Self, NoAnswer> {
        let (code, text) = read_ack(message).ok_or(NoAnswer::NotAnAnswer)?;
        let header = Header::read(message);
        let answer = if code == AckCode::Accept {
            let next = SmolStr::from(message.field("DSC", 1).text().trim());
            let next = Some(next).filter(|pointer| !pointer.is_empty());
            let matches = read_matches(message, domains, &header)?;
            Answer::found(Page { matches, next, ..Page::default() })
        } else {
            Answer::Refused(refusal_of(message, text))
        };
        Ok(Self { kind: Kind::of(&header.event), asked: Asked::read_answer(message), answer })
    }
}

/// The groups of `PID [PD1] [PV1 [PV2]] [QRI]`.
fn read_matches(message: &Message, domains: &Domains, header: &Header) -> Result<Vec<Match>, NoAnswer> {
    let mut matches: Vec<Match> = Vec::new();
    for segment in message.segments() {
        match (segment.name(), matches.last_mut()) {
            ("PID", _) => matches.push(read_match(segment, domains, header)?),
            ("PV1", Some(one)) => {
                let visit = visit::read(segment, domains, &header.sending_facility);
                one.visit = (visit.class.as_deref() != Some("N")).then_some(visit);
            }
            ("QRI", Some(one)) => {
                let told = segment.field(1).text().trim().split('.').next().and_then(|number| number.parse().ok());
                one.confidence = told.filter(|confidence| *confidence <= 100);
            }
            _ => {}
        }
    }
    Ok(matches)
}

fn read_match(pid: Segment<'_>, domains: &Domains, header: &Header) -> Result<Match, NoAnswer> {
    let person = pid_segment::read(pid, domains, &header.sending_facility).map_err(NoAnswer::Date)?;
    let cxs = pid.field(3).repetitions().map(Cx::read).filter(|cx| !cx.names_no_authority());
    // The reader of PID has those among the other identifiers.
    let cxs = cxs.filter(|cx| !(pid_segment::is_listed_ssn(cx) && cx.authority(domains).is_err()));
    let ids = cxs.filter_map(|cx| cx.foreign(domains, "").ok()).collect();
    Ok(Match { ids, demographics: person.demographics, ..Match::default() })
}

fn refusal_of(message: &Message, text: String) -> answer::Refusal {
    let mut domains = Vec::new();
    for (place, code) in told_places(message) {
        match (place.segment(), place.numbers(), code.as_str()) {
            ("QPD", [_, 8, repetition, ..], "204") => domains.push(*repetition),
            ("QPD", [_, 3], "101") => return answer::Refusal::NoCriteria,
            ("DSC", _, "204") => return answer::Refusal::UnknownContinuation,
            _ => {}
        }
    }
    if domains.is_empty() { answer::Refusal::Other(text) } else { answer::Refusal::UnknownDomains(domains) }
}

#[cfg(test)]
mod tests;
