//! What query messages share: `queryAck`, error details, and what can be saved of a query that is refused.

use smol_str::SmolStr;

use super::ack::{AckType, Acknowledgement, Detail};
use super::datatype::{Ii, read_code};
use super::wrapper::Wrapper;
use super::{INTERACTIONS, child, find, fragment, start};
use crate::xml::{Element, Writer};

/// HL7 v2 table 0357, of which v3 borrows its numbers.
const TABLE_0357: &str = "2.16.840.1.113883.12.357";
/// AcknowledgementDetailCode.
const DETAIL_CODE: &str = "2.16.840.1.113883.5.1100";

/// `queryAck/queryResponseCode`, from which `statusCode` and the type of the acknowledgement follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseCode {
    /// `OK`: data found.
    Found,
    /// `NF`: nothing found, and no error.
    NothingFound,
    /// `AE`: an error.
    Error,
    /// `QE`: the query cannot be read.
    QueryError,
}

impl ResponseCode {
    /// `queryResponseCode` and `statusCode`.
    fn codes(self) -> (&'static str, &'static str) {
        match self {
            Self::Found => ("OK", "deliveredResponse"),
            Self::NothingFound => ("NF", "deliveredResponse"),
            Self::Error => ("AE", "aborted"),
            Self::QueryError => ("QE", "aborted"),
        }
    }

    /// `acknowledgement/typeCode`.
    pub fn ack_type(self) -> AckType {
        match self {
            Self::Found | Self::NothingFound => AckType::Accept,
            Self::Error | Self::QueryError => AckType::Error,
        }
    }
}

/// `resultTotalQuantity` and its siblings.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Quantities {
    /// All.
    pub total: Option<u32>,
    /// In this answer.
    pub current: Option<u32>,
    /// After this answer.
    pub remaining: Option<u32>,
}

impl Quantities {
    /// Reads them out of `queryAck`.
    pub fn read(query_ack: Element<'_>) -> Self {
        let number = |name| child(query_ack, name).and_then(|one| one.attribute("value")?.trim().parse().ok());
        Self {
            total: number("resultTotalQuantity"),
            current: number("resultCurrentQuantity"),
            remaining: number("resultRemainingQuantity"),
        }
    }
}

/// An answer to be written: everything around what was found.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The root element and interaction.
    pub interaction: &'static str,
    /// `controlActProcess/code`.
    pub trigger: &'static str,
    /// From whom to whom.
    pub wrapper: &'a Wrapper,
    /// The `id` of the query message.
    pub target: &'a Ii,
    /// `queryAck/queryId`.
    pub query_id: &'a Ii,
    /// How it went.
    pub code: ResponseCode,
    /// What went wrong.
    pub details: Vec<Detail>,
    /// How much there is; for queries that have pages.
    pub quantities: Option<Quantities>,
    /// `queryByParameter` as it came.
    pub echo: Option<&'a str>,
}

impl Frame<'_> {
    /// Writes the body; `subjects` writes what was found.
    pub fn write(&self, subjects: impl FnOnce(&mut Writer)) -> String {
        let mut writer = Writer::new();
        start(&mut writer, self.interaction);
        self.wrapper.write(&mut writer, self.interaction, "NE");
        let acknowledgement =
            Acknowledgement { kind: self.code.ack_type(), target: self.target.clone(), details: self.details.clone() };
        acknowledgement.write(&mut writer);
        start_act(&mut writer, self.trigger);
        subjects(&mut writer);
        let (code, status) = self.code.codes();
        writer.start("queryAck");
        self.query_id.write(&mut writer, "queryId");
        writer.start("statusCode").attribute("code", status).end();
        writer.start("queryResponseCode").attribute("code", code).end();
        if let Some(quantities) = self.quantities {
            for (name, number) in [
                ("resultTotalQuantity", quantities.total),
                ("resultCurrentQuantity", quantities.current),
                ("resultRemainingQuantity", quantities.remaining),
            ] {
                writer.start(name).attribute("value", &number.unwrap_or_default().to_string()).end();
            }
        }
        writer.end();
        if let Some(echo) = self.echo {
            writer.fragment(echo);
        }
        writer.finish()
    }
}

/// Opens `controlActProcess`.
pub fn start_act(writer: &mut Writer, trigger: &str) {
    writer.start("controlActProcess").attribute("classCode", "CACT").attribute("moodCode", "EVN");
    writer.start("code").attribute("code", trigger).attribute("codeSystem", INTERACTIONS).end();
}

/// A parameter of a query: its values and the text that names it.
pub fn write_parameter(writer: &mut Writer, name: &'static str, semantics: &str, values: impl FnOnce(&mut Writer)) {
    writer.start(name);
    values(writer);
    writer.leaf("semanticsText", semantics).end();
}

/// `acknowledgementDetail`: an unknown key, at that XPath.
pub fn unknown_key(text: String, location: String) -> Detail {
    Detail { code: "204".into(), system: TABLE_0357.into(), text, locations: vec![location] }
}

/// The same with another number of table 0357, at a place or nowhere in particular.
pub fn detail_0357(code: &'static str, text: String, location: Option<String>) -> Detail {
    Detail { code: code.into(), system: TABLE_0357.into(), text, locations: location.into_iter().collect() }
}

/// `acknowledgementDetail` of a message that could not be read.
pub fn unreadable(text: String) -> Detail {
    Detail { code: "SYN113".into(), system: DETAIL_CODE.into(), text, locations: Vec::new() }
}

/// `acknowledgementDetail` of a failure of ours.
pub fn internal(text: String) -> Detail {
    Detail { code: "INTERR".into(), system: DETAIL_CODE.into(), text, locations: Vec::new() }
}

/// The places, from 1, of the parameters of that name that the details say to be unknown: of
/// `…/dataSource[2]/value` it is 2, and 1 without a number.
pub fn unknown_parameters(details: &[Detail], name: &str) -> Vec<usize> {
    let locations = details.iter().filter(|detail| detail.code == "204").flat_map(|detail| &detail.locations);
    locations
        .filter_map(|location| location.split('/').find_map(|step| step.rsplit(':').next()?.strip_prefix(name)))
        .map(|index| index.trim_matches(['[', ']']).parse().unwrap_or(1))
        .collect()
}

/// Whether an answer is an error, by what it acknowledges and by its `queryResponseCode`.
pub fn has_failed(acknowledgement: &Acknowledgement, query_ack: Option<Element<'_>>) -> bool {
    let code = query_ack.and_then(|ack| child(ack, "queryResponseCode")).and_then(read_code);
    !acknowledgement.kind.is_accepted() || matches!(code.as_deref(), Some("AE" | "QE"))
}

/// What an answer needs of a query that is refused, however little of it can be read.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// The wrapper, if it has at least an id.
    pub wrapper: Option<Wrapper>,
    /// `queryId`.
    pub query_id: Ii,
    /// `queryByParameter`.
    pub echo: Option<String>,
}

impl Remains {
    /// Saves what there is.
    pub fn of(body: Element<'_>) -> Self {
        let query = find(body, &["controlActProcess", "queryByParameter"]);
        Self {
            wrapper: Wrapper::read(body).ok(),
            query_id: query.and_then(|query| child(query, "queryId")).and_then(Ii::read).unwrap_or_default(),
            echo: query.and_then(fragment),
        }
    }
}

/// The first text of the details.
pub fn text_of(details: &[Detail]) -> SmolStr {
    details.iter().map(|detail| &detail.text).find(|text| !text.is_empty()).map(SmolStr::from).unwrap_or_default()
}
