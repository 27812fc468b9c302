//! `PRPA_IN201306UV02`.

use super::continuation::Continuation;
use super::{INTERACTION_RESPONSE, Refusal, Request};
use crate::hl7v3::ack::{Acknowledgement, Detail};
use crate::hl7v3::datatype::{Ii, read_patient_id};
use crate::hl7v3::query::{Frame, Quantities, Remains, ResponseCode, has_failed, text_of, unknown_parameters};
use crate::hl7v3::registration::{Registration, Told, events};
use crate::hl7v3::wrapper::{Device, Wrapper};
use crate::hl7v3::{DecodeError, child, children, expect, find, person};
use crate::id::{AssigningAuthority, Domains, Timestamp};
use crate::pdq::answer::{self, Answer, Match, Page};
use crate::xml::{Element, Writer};

/// An answer, or a page of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// Its id, who sent it and to whom. Whoever wants the next page names this id.
    pub wrapper: Wrapper,
    /// The id of the query or continuation message.
    pub target: Ii,
    /// `queryAck/queryId`.
    pub query_id: Ii,
    /// What it says.
    pub answer: Answer,
    /// The domains wanted.
    wanted: Vec<AssigningAuthority>,
    /// `queryByParameter` of the query.
    echo: Option<String>,
}

impl Response {
    /// The answer to a query.
    pub fn new(request: &Request, id: Ii, now: Timestamp, us: Device, answer: Answer) -> Self {
        Self {
            wrapper: request.wrapper.answer(id, now, us),
            target: request.wrapper.id.clone(),
            query_id: request.query_id.clone(),
            answer,
            wanted: request.wanted.clone(),
            echo: Some(request.query_by_parameter()),
        }
    }

    /// Another page of the answer to an earlier query; none for a continuation of a query that is not known (any more).
    pub fn page(
        continuation: &Continuation,
        query: Option<&Request>,
        id: Ii,
        now: Timestamp,
        us: Device,
        answer: Answer,
    ) -> Self {
        Self {
            wrapper: continuation.wrapper.answer(id, now, us),
            target: continuation.wrapper.id.clone(),
            query_id: continuation.query_id.clone(),
            answer,
            wanted: query.map(|query| query.wanted.clone()).unwrap_or_default(),
            echo: query.map(Request::query_by_parameter),
        }
    }

    /// Writes the body.
    pub fn encode(&self, domains: &Domains) -> String {
        let none = Quantities { total: Some(0), current: Some(0), remaining: Some(0) };
        let (code, details, quantities) = match &self.answer {
            Answer::Found(page) => {
                let current = u32::try_from(page.matches.len()).unwrap_or(u32::MAX);
                let remaining = page.remaining.unwrap_or_default();
                let total = page.total.unwrap_or(current.saturating_add(remaining));
                let quantities = Quantities { total: Some(total), current: Some(current), remaining: Some(remaining) };
                (ResponseCode::Found, Vec::new(), quantities)
            }
            Answer::NothingFound => (ResponseCode::NothingFound, Vec::new(), none),
            Answer::Refused(refusal) => {
                let (code, details) = Refusal::Answer(refusal.clone()).details();
                (code, details, none)
            }
        };
        let frame = Frame {
            quantities: Some(quantities),
            ..frame(&self.wrapper, &self.target, &self.query_id, (code, details), self.echo.as_deref())
        };
        frame.write(|writer| {
            if let Answer::Found(page) = &self.answer {
                page.matches.iter().for_each(|one| self.write_match(writer, one, domains));
            }
        })
    }

    fn write_match(&self, writer: &mut Writer, one: &Match, domains: &Domains) {
        let has = |wanted: &AssigningAuthority| one.ids.iter().any(|id| id.authority() == wanted);
        let lacking: Vec<_> = self.wanted.iter().filter(|wanted| !has(wanted)).cloned().collect();
        let registration = Registration {
            ids: &one.ids,
            told: Told::Everything(&one.demographics, &lacking),
            custodian: &self.wrapper.sender.id,
        };
        let observation = |writer: &mut Writer| {
            writer.start("subjectOf1");
            writer.start("queryMatchObservation").attribute("classCode", "COND").attribute("moodCode", "EVN");
            writer.start("code").attribute("code", "IHE_PDQ").end();
            writer.start("value").attribute("xsi:type", "INT");
            match one.confidence {
                Some(confidence) => writer.attribute("value", &confidence.to_string()),
                None => writer.attribute("nullFlavor", "NI"),
            };
            writer.end().end().end();
        };
        registration.write(writer, domains, observation, |_| {});
    }

    /// The body that answers a message which was refused by `Request::decode`, with as much of it as could be read.
    pub fn refuse(body: Element<'_>, refusal: &Refusal, id: Ii, now: Timestamp, us: Device) -> String {
        let remains = Remains::of(body);
        let target = remains.wrapper.as_ref().map(|wrapper| wrapper.id.clone()).unwrap_or_default();
        let wrapper = match &remains.wrapper {
            Some(wrapper) => wrapper.answer(id, now, us),
            None => Wrapper::new(id, now, us, Device::default()),
        };
        let none = Quantities { total: Some(0), current: Some(0), remaining: Some(0) };
        let frame = frame(&wrapper, &target, &remains.query_id, refusal.details(), remains.echo.as_deref());
        Frame { quantities: Some(none), ..frame }.write(|_| {})
    }

    /// Reads the body. Whether somebody was found is seen in what is told: suppliers answer nobody with `NF` and with
    /// `OK` alike.
    pub fn decode(body: Element<'_>, domains: &Domains) -> Result<Self, DecodeError> {
        let root = expect(body, INTERACTION_RESPONSE)?;
        let wrapper = Wrapper::read(root)?;
        let acknowledgement = Acknowledgement::read(root)?;
        let act = child(root, "controlActProcess").ok_or(DecodeError::Missing("controlActProcess"))?;
        let query_ack = child(act, "queryAck");
        let answer = if has_failed(&acknowledgement, query_ack) {
            Answer::Refused(refusal_of(&acknowledgement.details))
        } else {
            let quantities = query_ack.map(Quantities::read).unwrap_or_default();
            let patients = events(act).filter_map(|event| find(event, &["subject1", "patient"]));
            Answer::found(Page {
                matches: patients.map(|patient| read_match(patient, domains)).collect(),
                total: quantities.total,
                remaining: quantities.remaining,
                next: None,
            })
        };
        let query_id = query_ack.and_then(|ack| child(ack, "queryId")).and_then(Ii::read).unwrap_or_default();
        Ok(Self { wrapper, target: acknowledgement.target, query_id, answer, wanted: Vec::new(), echo: None })
    }
}

fn frame<'a>(
    wrapper: &'a Wrapper,
    target: &'a Ii,
    query_id: &'a Ii,
    (code, details): (ResponseCode, Vec<Detail>),
    echo: Option<&'a str>,
) -> Frame<'a> {
    let (interaction, trigger) = (INTERACTION_RESPONSE, "PRPA_TE201306UV02");
    Frame { interaction, trigger, wrapper, target, query_id, code, details, quantities: None, echo }
}

fn read_match(patient: Element<'_>, domains: &Domains) -> Match {
    let confidence = children(patient, "subjectOf1")
        .filter_map(|subject| find(subject, &["queryMatchObservation", "value"]))
        .find_map(|value| value.attribute("value")?.trim().parse::<u8>().ok());
    Match {
        ids: children(patient, "id").filter_map(|id| read_patient_id(id, domains).ok()).collect(),
        demographics: person::read(patient, domains),
        confidence: confidence.filter(|confidence| *confidence <= 100),
        visit: None,
    }
}

fn refusal_of(details: &[Detail]) -> answer::Refusal {
    let domains = unknown_parameters(details, "otherIDsScopingOrganization");
    if !domains.is_empty() {
        answer::Refusal::UnknownDomains(domains)
    } else if !unknown_parameters(details, "queryContinuation").is_empty() {
        answer::Refusal::UnknownContinuation
    } else {
        answer::Refusal::Other(text_of(details).into())
    }
}
