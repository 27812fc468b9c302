//! ITI-45 PIX Query in HL7 v3: `PRPA_IN201309UV02` and its answer `PRPA_IN201310UV02` (ITI TF-2: 3.45). The same question
//! and the same answers as in HL7 v2 (`question`), where the place of an error is an XPath.

use crate::hl7v3::ack::{Acknowledgement, Detail};
use crate::hl7v3::datatype::{Ii, read_patient_id};
use crate::hl7v3::query::{
    Frame, Remains, ResponseCode, detail_0357, has_failed, internal, start_act, text_of, unknown_key,
    unknown_parameters, unreadable, write_parameter,
};
use crate::hl7v3::registration::{Registration, Told, events, write_id};
use crate::hl7v3::wrapper::{Device, Wrapper};
use crate::hl7v3::{DecodeError, child, children, expect, find, fragment, start};
use crate::id::{AssigningAuthority, Domains, IdError, Oid, PatientId, Timestamp};
use crate::xml::{Element, Writer, ns};

use super::question::{self, Answer, Question};

/// The root element and interaction of the query.
pub const INTERACTION: &str = "PRPA_IN201309UV02";
/// The root element and interaction of the answer.
pub const INTERACTION_RESPONSE: &str = "PRPA_IN201310UV02";
/// Where the parameters are.
const PARAMETERS: &str = "/PRPA_IN201309UV02/controlActProcess/queryByParameter/parameterList";

/// A query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Its id, who sent it and to whom.
    pub wrapper: Wrapper,
    /// `queryId`, echoed in the answer.
    pub query_id: Ii,
    /// What is asked.
    pub question: Question,
    /// `queryByParameter` as it came.
    echo: Option<String>,
}

/// Why a query is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a readable query.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// `patientIdentifier` is repeated.
    #[error("the query names more than one identifier")]
    SeveralIdentifiers,
    /// `patientIdentifier` is not usable.
    #[error("the identifier of the query is not usable")]
    Identifier(#[source] IdError),
    /// It can be read, and not be answered.
    #[error(transparent)]
    Question(#[from] question::Refusal),
}

impl Refusal {
    /// `queryResponseCode` and `acknowledgementDetail` (ITI TF-2: 3.45.4.2.2).
    fn details(&self) -> (ResponseCode, Vec<Detail>) {
        let text = self.to_string();
        let identifier = || format!("{PARAMETERS}/patientIdentifier/value");
        match self {
            Self::Unreadable(_) => (ResponseCode::QueryError, vec![unreadable(text)]),
            Self::SeveralIdentifiers | Self::Identifier(_) => {
                (ResponseCode::QueryError, vec![detail_0357("102", text, Some(identifier()))])
            }
            Self::Question(refusal) => match refusal {
                question::Refusal::UnknownId | question::Refusal::UnknownDomain => {
                    (ResponseCode::Error, vec![unknown_key(text, identifier())])
                }
                question::Refusal::UnknownWantedDomains(places) => {
                    let place = |n: &usize| format!("{PARAMETERS}/dataSource[{n}]/value");
                    (ResponseCode::Error, places.iter().map(|n| unknown_key(text.clone(), place(n))).collect())
                }
                question::Refusal::Unavailable | question::Refusal::Other(_) => {
                    (ResponseCode::Error, vec![internal(text)])
                }
            },
        }
    }
}

impl Request {
    /// A query to be sent.
    pub fn new(wrapper: Wrapper, query_id: Ii, question: Question) -> Self {
        Self { wrapper, query_id, question, echo: None }
    }

    /// Reads the body. What it asks about must be of domains known here.
    pub fn decode(body: Element<'_>, domains: &Domains) -> Result<Self, Refusal> {
        let root = expect(body, INTERACTION)?;
        let wrapper = Wrapper::read(root)?;
        let query = find(root, &["controlActProcess", "queryByParameter"]);
        let query = query.ok_or(DecodeError::Missing("queryByParameter"))?;
        let list = child(query, "parameterList").ok_or(DecodeError::Missing("parameterList"))?;
        let mut ids = children(list, "patientIdentifier").flat_map(|parameter| children(parameter, "value"));
        let id = ids.next().ok_or(DecodeError::Missing("patientIdentifier"))?;
        if ids.next().is_some() {
            return Err(Refusal::SeveralIdentifiers);
        }
        let id = match read_patient_id(id, domains) {
            Ok(id) if domains.knows(&id) => id,
            Ok(_) | Err(IdError::NoAuthority) => return Err(question::Refusal::UnknownDomain.into()),
            Err(cause) => return Err(Refusal::Identifier(cause)),
        };
        let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
        for (index, source) in children(list, "dataSource").enumerate() {
            for value in children(source, "value") {
                match read_domain(value, domains) {
                    Some(authority) => wanted.push(authority),
                    None => unknown.push(index + 1),
                }
            }
        }
        if !unknown.is_empty() {
            return Err(question::Refusal::UnknownWantedDomains(unknown).into());
        }
        Ok(Self {
            wrapper,
            query_id: child(query, "queryId").and_then(Ii::read).unwrap_or_default(),
            question: Question { id, wanted },
            echo: fragment(query),
        })
    }

    /// Writes the body.
    pub fn encode(&self, domains: &Domains) -> String {
        let mut writer = Writer::new();
        start(&mut writer, INTERACTION);
        self.wrapper.write(&mut writer, INTERACTION, "AL");
        start_act(&mut writer, "PRPA_TE201309UV02");
        self.write_query(&mut writer, domains, false);
        writer.finish()
    }

    /// `queryByParameter`: as received, or as it is sent. It is what the answer echoes and what audit records keep.
    pub fn query(&self) -> String {
        self.echo.clone().unwrap_or_else(|| {
            let mut writer = Writer::new();
            self.write_query(&mut writer, &Domains::default(), true);
            writer.finish()
        })
    }

    /// `alone`: with its own namespace declaration, to stand outside the message.
    fn write_query(&self, writer: &mut Writer, domains: &Domains, alone: bool) {
        writer.start("queryByParameter");
        if alone {
            writer.attribute("xmlns", ns::HL7V3);
        }
        self.query_id.write(writer, "queryId");
        writer.start("statusCode").attribute("code", "new").end();
        writer.start("responsePriorityCode").attribute("code", "I").end();
        writer.start("parameterList");
        for oid in self.question.wanted.iter().filter_map(AssigningAuthority::oid) {
            write_parameter(writer, "dataSource", "DataSource.id", |writer| {
                Ii::root(oid.as_str()).write(writer, "value");
            });
        }
        write_parameter(writer, "patientIdentifier", "Patient.id", |writer| {
            write_id(writer, "value", &self.question.id, domains);
        });
        writer.end().end();
    }
}

/// A domain known here, by its OID or, if a sender has only that, by its name.
pub fn read_domain(value: Element<'_>, domains: &Domains) -> Option<AssigningAuthority> {
    let root = Ii::read(value).map(|ii| ii.root).unwrap_or_default();
    let name = value.attribute("assigningAuthorityName").unwrap_or_default();
    if root.is_empty() {
        return domains.resolve(name, "", "").ok().map(|domain| domain.authority.clone());
    }
    let authority = AssigningAuthority::iso(&Oid::lenient(&root).ok()?);
    domains.of(&authority).map(|domain| domain.authority.clone())
}

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// Its id, who sent it and to whom.
    pub wrapper: Wrapper,
    /// The id of the query message.
    pub target: Ii,
    /// `queryAck/queryId`.
    pub query_id: Ii,
    /// What it says.
    pub answer: Answer,
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
            echo: Some(request.query()),
        }
    }

    /// Writes the body.
    pub fn encode(&self, domains: &Domains) -> String {
        let (code, details) = match &self.answer {
            Answer::Found(_) => (ResponseCode::Found, Vec::new()),
            Answer::NothingFound => (ResponseCode::NothingFound, Vec::new()),
            Answer::Refused(refusal) => Refusal::Question(refusal.clone()).details(),
        };
        frame(&self.wrapper, &self.target, &self.query_id, (code, details), self.echo.as_deref()).write(|writer| {
            if let Answer::Found(ids) = &self.answer {
                let registration = Registration { ids, told: Told::Nothing, custodian: &self.wrapper.sender.id };
                registration.write(writer, domains, |_| {}, |_| {});
            }
        })
    }

    /// The body that answers a message which was refused by `Request::decode`, with as much of it as could be read.
    pub fn refuse(body: Element<'_>, refusal: &Refusal, id: Ii, now: Timestamp, us: Device) -> String {
        let remains = Remains::of(body);
        let target = remains.wrapper.as_ref().map(|wrapper| wrapper.id.clone()).unwrap_or_default();
        let wrapper = match &remains.wrapper {
            Some(wrapper) => wrapper.answer(id, now, us),
            None => Wrapper::new(id, now, us, Device::default()),
        };
        frame(&wrapper, &target, &remains.query_id, refusal.details(), remains.echo.as_deref()).write(|_| {})
    }

    /// Reads the body. Identifiers count wherever they are: some managers tell the others in `asOtherIDs`. An unknown
    /// identifier and an unknown domain of it cannot be told apart in v3.
    pub fn decode(body: Element<'_>, domains: &Domains) -> Result<Self, DecodeError> {
        let root = expect(body, INTERACTION_RESPONSE)?;
        let wrapper = Wrapper::read(root)?;
        let acknowledgement = Acknowledgement::read(root)?;
        let act = child(root, "controlActProcess").ok_or(DecodeError::Missing("controlActProcess"))?;
        let query_ack = child(act, "queryAck");
        let answer = if has_failed(&acknowledgement, query_ack) {
            Answer::Refused(refusal_of(&acknowledgement.details))
        } else {
            let patients = events(act).filter_map(|event| find(event, &["subject1", "patient"]));
            Answer::found(patients.flat_map(|patient| read_ids(patient, domains)).collect())
        };
        let query_id = query_ack.and_then(|ack| child(ack, "queryId")).and_then(Ii::read).unwrap_or_default();
        Ok(Self { wrapper, target: acknowledgement.target, query_id, answer, echo: None })
    }
}

fn frame<'a>(
    wrapper: &'a Wrapper,
    target: &'a Ii,
    query_id: &'a Ii,
    (code, details): (ResponseCode, Vec<Detail>),
    echo: Option<&'a str>,
) -> Frame<'a> {
    let (interaction, trigger) = (INTERACTION_RESPONSE, "PRPA_TE201310UV02");
    Frame { interaction, trigger, wrapper, target, query_id, code, details, quantities: None, echo }
}

fn read_ids(patient: Element<'_>, domains: &Domains) -> Vec<PatientId> {
    let others = child(patient, "patientPerson").into_iter().flat_map(|person| children(person, "asOtherIDs"));
    let elements = std::iter::once(patient).chain(others).flat_map(|holder| children(holder, "id"));
    elements.filter_map(|id| read_patient_id(id, domains).ok()).collect()
}

fn refusal_of(details: &[Detail]) -> question::Refusal {
    let domains = unknown_parameters(details, "dataSource");
    if !domains.is_empty() {
        question::Refusal::UnknownWantedDomains(domains)
    } else if !unknown_parameters(details, "patientIdentifier").is_empty() {
        question::Refusal::UnknownId
    } else {
        question::Refusal::Other(text_of(details).into())
    }
}

#[cfg(test)]
mod tests;
