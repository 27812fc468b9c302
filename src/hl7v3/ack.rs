//! Acknowledgements: the element within a message, and the message that is nothing else (`MCCI_IN000002UV01`).

use smol_str::SmolStr;

use super::datatype::{Ii, read_code};
use super::wrapper::Wrapper;
use super::{DecodeError, child, children, expect, find, start};
use crate::xml::{Element, Writer};

/// The interaction of an acknowledgement on its own.
pub const INTERACTION: &str = "MCCI_IN000002UV01";

/// `typeCode`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AckType {
    /// `AA`: application accept.
    Accept,
    /// `AE`: application error.
    Error,
    /// `AR`: application reject.
    Reject,
    /// `CA`: accept acknowledgement, the message was taken.
    CommitAccept,
    /// `CE`: the message was not taken because of an error in it.
    CommitError,
    /// `CR`: the message was rejected.
    CommitReject,
}

impl AckType {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Accept, "AA"),
        (Self::Error, "AE"),
        (Self::Reject, "AR"),
        (Self::CommitAccept, "CA"),
        (Self::CommitError, "CE"),
        (Self::CommitReject, "CR"),
    ];

    /// As it is written.
    pub fn code(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("AE", |(_, code)| code)
    }

    fn from_wire(code: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == code).map(|(kind, _)| *kind)
    }

    /// Whether the receiver took it.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Accept | Self::CommitAccept)
    }
}

/// `acknowledgementDetail` of an error.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Detail {
    /// `code/@code`: `INTERR`, `SYN113`, `NS250`, or a number of HL7 table 0357.
    pub code: SmolStr,
    /// `code/@codeSystem`; empty when none is told.
    pub system: SmolStr,
    /// `text`, for people.
    pub text: String,
    /// XPath of what is wrong.
    pub locations: Vec<String>,
}

/// The element `acknowledgement`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Acknowledgement {
    /// How it went.
    pub kind: AckType,
    /// The `id` of the message that this answers.
    pub target: Ii,
    /// What went wrong.
    pub details: Vec<Detail>,
}

impl Acknowledgement {
    /// Nothing went wrong.
    pub fn new(kind: AckType, target: Ii) -> Self {
        Self { kind, target, details: Vec::new() }
    }

    /// Reads it out of a message.
    pub fn read(root: Element<'_>) -> Result<Self, DecodeError> {
        let element = child(root, "acknowledgement").ok_or(DecodeError::Missing("acknowledgement"))?;
        let code = child(element, "typeCode").and_then(read_code).unwrap_or_default();
        let detail = |detail: Element<'_>| {
            let code = child(detail, "code");
            Detail {
                code: code.and_then(read_code).unwrap_or_default(),
                system: code.and_then(|code| code.attribute("codeSystem")).unwrap_or_default().into(),
                text: child(detail, "text").map(|text| text.trimmed().into_owned()).unwrap_or_default(),
                locations: children(detail, "location").map(|place| place.trimmed().into_owned()).collect(),
            }
        };
        Ok(Self {
            kind: AckType::from_wire(&code).ok_or(DecodeError::Value("typeCode"))?,
            target: find(element, &["targetMessage", "id"]).and_then(Ii::read).unwrap_or_default(),
            details: children(element, "acknowledgementDetail").map(detail).collect(),
        })
    }

    /// Writes it; the target comes before the details, which peers that validate insist on.
    pub fn write(&self, writer: &mut Writer) {
        writer.start("acknowledgement");
        writer.start("typeCode").attribute("code", self.kind.code()).end();
        writer.start("targetMessage");
        self.target.write(writer, "id");
        writer.end();
        for detail in &self.details {
            writer.start("acknowledgementDetail").attribute("typeCode", "E");
            super::datatype::write_code(writer, "code", &detail.code, &detail.system);
            if !detail.text.is_empty() {
                writer.leaf("text", &detail.text);
            }
            for location in &detail.locations {
                writer.leaf("location", location);
            }
            writer.end();
        }
        writer.end();
    }
}

/// The message `MCCI_IN000002UV01`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcknowledgementMessage {
    /// From whom to whom.
    pub wrapper: Wrapper,
    /// What it says.
    pub acknowledgement: Acknowledgement,
}

impl AcknowledgementMessage {
    /// Reads the body.
    pub fn decode(body: Element<'_>) -> Result<Self, DecodeError> {
        let root = expect(body, INTERACTION)?;
        Ok(Self { wrapper: Wrapper::read(root)?, acknowledgement: Acknowledgement::read(root)? })
    }

    /// Writes the body.
    pub fn encode(&self) -> String {
        let mut writer = Writer::new();
        start(&mut writer, INTERACTION);
        self.wrapper.write(&mut writer, INTERACTION, "NE");
        self.acknowledgement.write(&mut writer);
        writer.finish()
    }
}
