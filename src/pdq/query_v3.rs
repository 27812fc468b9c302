//! ITI-47 Patient Demographics Query in HL7 v3 (ITI TF-2: 3.47): `PRPA_IN201305UV02` and its answer `PRPA_IN201306UV02`,
//! page by page (`continuation` has the messages that ask for the next page or let it go). The criteria are those of
//! HL7 v2; the place of an error is an XPath.

pub mod continuation;
mod parameters;
mod response;
#[cfg(test)]
mod tests;

use crate::hl7v3::ack::Detail;
use crate::hl7v3::datatype::{Ii, read_code};
use crate::hl7v3::query::{ResponseCode, detail_0357, internal, start_act, unknown_key, unreadable};
use crate::hl7v3::wrapper::Wrapper;
use crate::hl7v3::{DecodeError, child, expect, find, fragment, start};
use crate::id::{AssigningAuthority, Domains};
use crate::xml::{Element, Writer, ns};

use super::answer;
use super::criteria::PatientQuery;

pub use continuation::{Continuation, Step};
pub use response::Response;

/// The root element and interaction of the query.
pub const INTERACTION: &str = "PRPA_IN201305UV02";
/// The root element and interaction of the answer.
pub const INTERACTION_RESPONSE: &str = "PRPA_IN201306UV02";
/// Where the parameters are.
const PARAMETERS: &str = "/PRPA_IN201305UV02/controlActProcess/queryByParameter/parameterList";

/// A query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Its id, who sent it and to whom.
    pub wrapper: Wrapper,
    /// `queryId`, echoed in every page of the answer.
    pub query_id: Ii,
    /// What is asked.
    pub query: PatientQuery,
    /// `otherIDsScopingOrganization`: the domains whose identifiers are wanted; none means all.
    pub wanted: Vec<AssigningAuthority>,
    /// `initialQuantity`: how many people fit a page; none means all.
    pub quantity: Option<u32>,
    /// `queryByParameter` as it came.
    echo: Option<String>,
}

/// Why a query is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a readable query.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// A parameter whose value is not understood.
    #[error("the value of {0} is not understood")]
    Parameter(&'static str),
    /// It can be read, and not be answered.
    #[error(transparent)]
    Answer(#[from] answer::Refusal),
}

impl Refusal {
    /// `queryResponseCode` and `acknowledgementDetail` (ITI TF-2: 3.47.4.2.2).
    fn details(&self) -> (ResponseCode, Vec<Detail>) {
        let text = self.to_string();
        match self {
            Self::Unreadable(_) => (ResponseCode::QueryError, vec![unreadable(text)]),
            Self::Parameter(name) => {
                let place = format!("{PARAMETERS}/{name}/value");
                (ResponseCode::QueryError, vec![detail_0357("102", text, Some(place))])
            }
            Self::Answer(refusal) => match refusal {
                answer::Refusal::UnknownDomains(places) => {
                    let place = |n: &usize| format!("{PARAMETERS}/otherIDsScopingOrganization[{n}]/value");
                    (ResponseCode::Error, places.iter().map(|n| unknown_key(text.clone(), place(n))).collect())
                }
                answer::Refusal::NoCriteria => {
                    (ResponseCode::QueryError, vec![detail_0357("101", text, Some(PARAMETERS.into()))])
                }
                answer::Refusal::UnknownContinuation => {
                    let place = "/QUQI_IN000003UV01/controlActProcess/queryContinuation/queryId";
                    (ResponseCode::Error, vec![unknown_key(text, place.into())])
                }
                answer::Refusal::TooMany | answer::Refusal::Unavailable | answer::Refusal::Other(_) => {
                    (ResponseCode::Error, vec![internal(text)])
                }
            },
        }
    }
}

impl Request {
    /// A query to be sent.
    pub fn new(wrapper: Wrapper, query_id: Ii, query: PatientQuery, wanted: Vec<AssigningAuthority>) -> Self {
        Self { wrapper, query_id, query, wanted, quantity: None, echo: None }
    }

    /// Reads the body.
    pub fn decode(body: Element<'_>, domains: &Domains) -> Result<Self, Refusal> {
        let root = expect(body, INTERACTION)?;
        let wrapper = Wrapper::read(root)?;
        let by_parameter = find(root, &["controlActProcess", "queryByParameter"]);
        let by_parameter = by_parameter.ok_or(DecodeError::Missing("queryByParameter"))?;
        let list = child(by_parameter, "parameterList").ok_or(DecodeError::Missing("parameterList"))?;
        let mut query = parameters::read(list, domains)?;
        if query.is_empty() {
            return Err(answer::Refusal::NoCriteria.into());
        }
        let criterion = |name| find(by_parameter, &["matchCriterionList", name, "value"]);
        let degree = criterion("minimumDegreeMatch").and_then(|value| value.attribute("value")?.trim().parse().ok());
        query.minimum_degree = degree.filter(|degree| *degree <= 100);
        query.algorithm = criterion("matchAlgorithm").and_then(read_code);
        let wanted = parameters::read_wanted(list, domains)?;
        let quantity =
            child(by_parameter, "initialQuantity").and_then(|one| one.attribute("value")?.trim().parse().ok());
        // Another unit than records (characters, lines) says nothing here.
        let unit = child(by_parameter, "initialQuantityCode").and_then(read_code);
        let records = unit.as_deref().is_none_or(|unit| unit == "RD");
        Ok(Self {
            wrapper,
            query_id: child(by_parameter, "queryId").and_then(Ii::read).unwrap_or_default(),
            query,
            wanted,
            quantity: quantity.filter(|quantity| records && *quantity > 0),
            echo: fragment(by_parameter),
        })
    }

    /// Writes the body. What v3 has no parameter for is left out: the mother's identifiers, twins, and the visit.
    pub fn encode(&self, domains: &Domains) -> String {
        let mut writer = Writer::new();
        start(&mut writer, INTERACTION);
        self.wrapper.write(&mut writer, INTERACTION, "AL");
        start_act(&mut writer, "PRPA_TE201305UV02");
        self.write_query(&mut writer, domains, false);
        writer.finish()
    }

    /// `queryByParameter`: as received, or as it is sent. It is what the answer echoes and what audit records keep.
    pub fn query_by_parameter(&self) -> String {
        self.echo.clone().unwrap_or_else(|| {
            let mut writer = Writer::new();
            self.write_query(&mut writer, &Domains::default(), true);
            writer.finish()
        })
    }

    /// `alone`: with its own namespace declarations, to stand outside the message.
    fn write_query(&self, writer: &mut Writer, domains: &Domains, alone: bool) {
        writer.start("queryByParameter");
        if alone {
            writer.attribute("xmlns", ns::HL7V3).attribute("xmlns:xsi", ns::XSI);
        }
        self.query_id.write(writer, "queryId");
        writer.start("statusCode").attribute("code", "new").end();
        writer.start("responseModalityCode").attribute("code", "R").end();
        writer.start("responsePriorityCode").attribute("code", "I").end();
        if let Some(quantity) = self.quantity {
            writer.start("initialQuantity").attribute("value", &quantity.to_string()).end();
            writer.start("initialQuantityCode").attribute("code", "RD").end();
        }
        if self.query.minimum_degree.is_some() || self.query.algorithm.is_some() {
            writer.start("matchCriterionList");
            if let Some(algorithm) = &self.query.algorithm {
                writer.start("matchAlgorithm");
                writer.start("value").attribute("xsi:type", "ST").text(algorithm).end();
                writer.leaf("semanticsText", "MatchAlgorithm").end();
            }
            if let Some(degree) = self.query.minimum_degree {
                writer.start("minimumDegreeMatch");
                writer.start("value").attribute("xsi:type", "INT").attribute("value", &degree.to_string()).end();
                writer.leaf("semanticsText", "Degree of match requested").end();
            }
            writer.end();
        }
        parameters::write(writer, &self.query, &self.wanted, domains);
        writer.end();
    }
}
