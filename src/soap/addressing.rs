//! WS-Addressing 1.0 headers (ITI TF-2: V.3.2).

use super::fault::{Fault, Subcode};
use crate::xml::{Element, Writer, ns};

/// `wsa:ReplyTo` of a synchronous exchange.
pub const ANONYMOUS: &str = "http://www.w3.org/2005/08/addressing/anonymous";

/// The addressing headers of a message as received.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Addressing {
    /// `wsa:Action`, without the white space that some senders put around it.
    pub action: String,
    /// `wsa:MessageID`, an opaque text: partners write it with and without `urn:uuid:`.
    pub message_id: Option<String>,
    /// `wsa:RelatesTo`.
    pub relates_to: Option<String>,
    /// `wsa:To`.
    pub to: Option<String>,
    /// The address of `wsa:ReplyTo`; absent means anonymous.
    pub reply_to: Option<String>,
    /// The address of `wsa:FaultTo`.
    pub fault_to: Option<String>,
}

impl Addressing {
    /// Reads the headers. Each may be there once; `wsa:Action` must be.
    ///
    /// Lenient as live partners need: any prefix, `mustUnderstand` missing or anywhere, `ReplyTo` and `To` missing.
    pub fn read(header: Option<Element<'_>>) -> Result<Self, Fault> {
        let missing =
            || Fault::sender("the message has no wsa:Action header").with(Subcode::MessageAddressingHeaderRequired);
        let header = header.ok_or_else(missing)?;
        let once = |local: &'static str| {
            header.optional_child(ns::WSA, local).map_err(|_| {
                Fault::sender(format!("the message has more than one wsa:{local} header"))
                    .with(Subcode::InvalidAddressingHeader)
            })
        };
        let text = |local| once(local).map(|found| found.map(|e| e.trimmed().into_owned()).filter(|t| !t.is_empty()));
        let address = |local| {
            once(local).map(|found| found?.child(ns::WSA, "Address").map(|address| address.trimmed().into_owned()))
        };
        Ok(Self {
            action: text("Action")?.ok_or_else(missing)?,
            message_id: text("MessageID")?,
            relates_to: relates_to(header),
            to: text("To")?,
            reply_to: address("ReplyTo")?,
            fault_to: address("FaultTo")?,
        })
    }

    /// Whether the answer goes to another address than the connection that asked (WS-Addressing asynchronous exchange).
    pub fn wants_asynchronous_answer(&self) -> bool {
        self.reply_to.as_deref().is_some_and(|address| address != ANONYMOUS && !address.is_empty())
    }

    /// The headers of a synchronous request.
    pub fn request(action: &str, to: &str) -> Self {
        Self {
            action: action.into(),
            message_id: Some(message_id()),
            to: Some(to.into()),
            reply_to: Some(ANONYMOUS.into()),
            ..Self::default()
        }
    }

    /// The headers of the answer to this request.
    pub fn response(&self, action: &str) -> Self {
        Self {
            action: action.into(),
            message_id: Some(message_id()),
            relates_to: self.message_id.clone(),
            ..Self::default()
        }
    }

    /// Writes the headers. `Action` and `To` carry `mustUnderstand` (IHE_WSA101).
    pub(super) fn write(&self, w: &mut Writer) {
        w.start("wsa:Action").attribute("soap12:mustUnderstand", "1").text(&self.action).end();
        for (name, value) in [("wsa:MessageID", &self.message_id), ("wsa:RelatesTo", &self.relates_to)] {
            if let Some(value) = value {
                w.leaf(name, value);
            }
        }
        if let Some(reply_to) = &self.reply_to {
            w.start("wsa:ReplyTo").leaf("wsa:Address", reply_to).end();
        }
        if let Some(to) = &self.to {
            w.start("wsa:To").attribute("soap12:mustUnderstand", "1").text(to).end();
        }
    }
}

/// A new message id.
fn message_id() -> String {
    format!("urn:uuid:{}", uuid::Uuid::new_v4())
}

/// `RelatesTo` may repeat with other relationship types; the reply relation is the default one.
fn relates_to(header: Element<'_>) -> Option<String> {
    let reply = |e: &Element<'_>| {
        e.attribute("RelationshipType").is_none_or(|kind| kind == "http://www.w3.org/2005/08/addressing/reply")
    };
    let found = header.children_named(ns::WSA, "RelatesTo").find(reply)?;
    Some(found.trimmed().into_owned()).filter(|text| !text.is_empty())
}
