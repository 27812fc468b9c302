//! ITI-55 Cross Gateway Patient Discovery: a query by demographics or identifiers, and its five kinds of answer
//! (ITI TF-2: 3.55). `request` has the question (`PRPA_IN201305UV02`), `response` the answer (`PRPA_IN201306UV02`).
//!
//! Reading goes by local names, in any order and without a schema, because live partners send neither; what is
//! written is valid by the schema, as long as the query that it echoes was.

mod request;
mod response;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::hl7v3::DecodeError;
use crate::xml::{Element, Writer, ns};

pub use request::{Parameters, Priority, Remains, Request};
pub use response::{Match, Outcome, RequestedAttribute, Response};

/// `wsa:Action` of the query.
pub const ACTION: &str = "urn:hl7-org:v3:PRPA_IN201305UV02:CrossGatewayPatientDiscovery";
/// `wsa:Action` of its answer.
pub const ACTION_RESPONSE: &str = "urn:hl7-org:v3:PRPA_IN201306UV02:CrossGatewayPatientDiscovery";
/// `wsa:Action` of a query whose answer comes later.
pub const ACTION_DEFERRED: &str = "urn:hl7-org:v3:PRPA_IN201305UV02:Deferred:CrossGatewayPatientDiscovery";
/// `wsa:Action` of that later answer.
pub const ACTION_DEFERRED_RESPONSE: &str = "urn:hl7-org:v3:PRPA_IN201306UV02:Deferred:CrossGatewayPatientDiscovery";

/// Why no match is looked for, or none is told: case 5 of ITI TF-2: 3.55.4.2.2.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a readable PRPA_IN201305UV02.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// Neither an identifier nor name and date of birth.
    #[error("the query has neither an identifier nor a name and a date of birth")]
    NotEnough,
    /// An address without street, city, state or postal code (where policy wants it complete).
    #[error("an address in the query lacks its street, city, state or postal code")]
    IncompleteAddress,
    /// Deferred, and no address to answer to.
    #[error("a deferred query has exactly one respondTo telecom")]
    NoRespondTo,
    /// Deferred, which is not served.
    #[error("deferred answers are not supported here")]
    DeferredUnsupported,
    /// The query is for another community.
    #[error("the receiver is not a community served here")]
    NotOurs,
    /// Too much to do at this moment.
    #[error("too busy; ask again later")]
    Busy,
    /// There may be an answer, and it cannot be given: consent, or a decision for people.
    #[error("no answer is available")]
    NotAvailable,
    /// Something failed here.
    #[error("internal error")]
    Internal,
}

impl Refusal {
    /// `detectedIssueManagement/code`, code system 1.3.6.1.4.1.19376.1.2.27.3 (ITI TF-2: Table 3.55.4.2.2-3).
    pub fn management_code(&self) -> &'static str {
        match self {
            Self::Busy => "ResponderBusy",
            Self::Unreadable(_)
            | Self::NotEnough
            | Self::IncompleteAddress
            | Self::NoRespondTo
            | Self::DeferredUnsupported
            | Self::NotOurs
            | Self::NotAvailable => "AnswerNotAvailable",
            Self::Internal => "InternalError",
        }
    }

    /// `acknowledgementDetail/code` (HL7 2.16.840.1.113883.5.1100).
    pub fn detail_code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) | Self::NotEnough | Self::IncompleteAddress => "SYN113",
            Self::NoRespondTo => "SYN105",
            Self::DeferredUnsupported => "NS250",
            Self::NotOurs | Self::Busy | Self::NotAvailable | Self::Internal => "INTERR",
        }
    }
}

/// How long the receiver may remember the patient identifier that it was told, from the SOAP header: an `xs:duration`.
pub fn correlation_time_to_live(soap_header: Option<Element<'_>>) -> Option<String> {
    let element = soap_header?.child(ns::XCPD, "CorrelationTimeToLive")?;
    let text = element.trimmed();
    let duration = text.starts_with('P') && text.len() <= 40 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    duration.then(|| text.into_owned())
}

/// What an `xs:duration` comes to, a month being 30 days and a year 365, at most a year. None for what is no duration.
pub fn time_to_live(text: &str) -> Option<Duration> {
    let (date, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((date, time)) => (date, time),
        None => (text.strip_prefix('P')?, ""),
    };
    let mut seconds: u64 = 0;
    let day = 86_400;
    let units: [(&str, &[(char, u64)]); 2] =
        [(date, &[('Y', 365 * day), ('M', 30 * day), ('D', day)]), (time, &[('H', 3600), ('M', 60), ('S', 1)])];
    for (mut rest, units) in units {
        while let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) {
            let number: u64 = rest[..end].parse().ok()?;
            let (_, unit) = units.iter().find(|(letter, _)| rest[end..].starts_with(*letter))?;
            seconds = seconds.saturating_add(number.saturating_mul(*unit));
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(Duration::from_secs(seconds.min(365 * day)))
}

/// The SOAP header block that says so many days; nothing for 0.
pub fn correlation_header(days: u32) -> String {
    let mut writer = Writer::new();
    if days > 0 {
        write_correlation_time_to_live(&mut writer, &format!("P{days}D"));
    }
    writer.finish()
}

/// The SOAP header block for that.
pub fn write_correlation_time_to_live(writer: &mut Writer, duration: &str) {
    writer.start("xcpd:CorrelationTimeToLive").attribute("xmlns:xcpd", ns::XCPD).text(duration).end();
}
