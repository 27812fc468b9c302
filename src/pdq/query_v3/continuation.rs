//! `QUQI_IN000003UV01`: the next page of an answer, or no more of it.
//!
//! The framework contradicts itself about names: a cancellation may have the root element `QUQI_IN000003UV01_Cancel`,
//! and the trigger event two codes. All are read; what is written has the plain root and `PRPA_TE000003UV01`.

use crate::hl7v3::ack::{AckType, Acknowledgement, AcknowledgementMessage};
use crate::hl7v3::datatype::{Ii, read_code};
use crate::hl7v3::query::start_act;
use crate::hl7v3::wrapper::{Device, Wrapper};
use crate::hl7v3::{DecodeError, child, find, start};
use crate::id::Timestamp;
use crate::xml::{Element, Writer};

/// The root element and interaction.
pub const INTERACTION: &str = "QUQI_IN000003UV01";
/// The other root element that a cancellation may have.
const CANCEL: &str = "QUQI_IN000003UV01_Cancel";

/// What is wanted of a query that was answered in part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Continuation {
    /// Its id, who sent it and to whom.
    pub wrapper: Wrapper,
    /// `acknowledgement/targetMessage/id`: the id of the answer that is continued.
    pub target: Ii,
    /// `queryId` of the query.
    pub query_id: Ii,
    /// What is to be done.
    pub step: Step,
}

/// What is to be done about the rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// More people.
    Continue {
        /// The first one, counted from 1; none means the one after the last that was sent.
        start: Option<u32>,
        /// How many; none means as many as before.
        quantity: Option<u32>,
    },
    /// No more; the answer is an acknowledgement.
    Cancel,
}

impl Continuation {
    /// Reads the body.
    pub fn decode(body: Element<'_>) -> Result<Self, DecodeError> {
        let root = body.local_name();
        if root != INTERACTION && root != CANCEL {
            return Err(DecodeError::Unexpected { found: root.into(), expected: INTERACTION });
        }
        let wrapper = Wrapper::read(body)?;
        let target = find(body, &["acknowledgement", "targetMessage", "id"]).and_then(Ii::read).unwrap_or_default();
        let continuation = find(body, &["controlActProcess", "queryContinuation"]);
        let continuation = continuation.ok_or(DecodeError::Missing("queryContinuation"))?;
        let query_id = child(continuation, "queryId").and_then(Ii::read).ok_or(DecodeError::Missing("queryId"))?;
        let number =
            |name| child(continuation, name).and_then(|one| one.attribute("value")?.trim().parse::<u32>().ok());
        let status = child(continuation, "statusCode").and_then(read_code);
        let (first, quantity) = (number("startResultNumber"), number("continuationQuantity"));
        let cancels = root == CANCEL || status.as_deref() == Some("aborted") || quantity == Some(0);
        let step =
            if cancels { Step::Cancel } else { Step::Continue { start: first.filter(|first| *first > 0), quantity } };
        Ok(Self { wrapper, target, query_id, step })
    }

    /// Writes the body.
    pub fn encode(&self) -> String {
        let mut writer = Writer::new();
        start(&mut writer, INTERACTION);
        self.wrapper.write(&mut writer, INTERACTION, "AL");
        Acknowledgement::new(AckType::Accept, self.target.clone()).write(&mut writer);
        start_act(&mut writer, "PRPA_TE000003UV01");
        writer.start("queryContinuation");
        self.query_id.write(&mut writer, "queryId");
        let (first, quantity, status) = match self.step {
            Step::Continue { start, quantity } => (start, quantity, "waitContinuedQueryResponse"),
            Step::Cancel => (None, Some(0), "aborted"),
        };
        for (name, number) in [("startResultNumber", first), ("continuationQuantity", quantity)] {
            if let Some(number) = number {
                writer.start(name).attribute("value", &number.to_string()).end();
            }
        }
        writer.start("statusCode").attribute("code", status).end();
        writer.finish()
    }

    /// The answer to a cancellation.
    pub fn acknowledge(&self, id: Ii, now: Timestamp, us: Device) -> AcknowledgementMessage {
        AcknowledgementMessage {
            wrapper: self.wrapper.answer(id, now, us),
            acknowledgement: Acknowledgement::new(AckType::CommitAccept, self.wrapper.id.clone()),
        }
    }
}
