//! What the HL7 v3 transactions over SOAP share: who answers under which id, and refusals of messages that could not be
//! read, whose answer echoes what was read of them.

use crate::gateway::Gateway;
use crate::hl7v3::datatype::Ii;
use crate::hl7v3::wrapper::Device;
use crate::id::{Domains, Timestamp, TraceId};

use super::soap;

/// What an answer needs besides what it says.
#[derive(Clone, Debug)]
pub struct Answering {
    /// We, as the sender.
    pub us: Device,
    /// When it is answered.
    pub now: Timestamp,
    /// The id of the answer.
    pub id: Ii,
    /// Domains, to name authorities.
    pub domains: Domains,
}

impl Answering {
    /// To answer the exchange with that name.
    pub fn of(gateway: &Gateway, trace: TraceId) -> Self {
        let home = &gateway.community.home;
        Self {
            us: Device::gateway(home),
            now: gateway.clock.now(),
            id: Ii::new(home.oid().as_str(), &trace.to_string()),
            domains: gateway.domains.clone(),
        }
    }
}

/// Why a message was not read, with the answer that says so: it was written while the message was at hand.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Unread<E: std::error::Error> {
    /// Why. It is told by this error itself, so it is not its source.
    pub cause: E,
    /// The body of the answer.
    pub answer: String,
}

/// An answer without documents.
pub fn answer(action: &'static str, body: String) -> soap::Answer {
    soap::Answer { action, body, headers: String::new(), mtom: false, documents: Vec::new() }
}
