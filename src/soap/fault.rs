//! SOAP 1.2 faults (SOAP 1.2 part 1, 5.4; WS-Security 1.1, 12; WS-Addressing SOAP binding, 6).

use crate::xml::{Element, Writer, XmlError, ns};

/// `wsa:Action` of an answer that carries a SOAP fault.
pub const FAULT_ACTION: &str = "http://www.w3.org/2005/08/addressing/soap/fault";

/// A fault: the answer to a message that the transaction's own error form cannot answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// Whose fault it is.
    pub code: FaultCode,
    /// What kind, if it has a name in one of the standards.
    pub subcode: Option<Subcode>,
    /// A sentence for people. Never patient data.
    pub reason: String,
}

/// `soap12:Code/Value`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultCode {
    /// The message is wrong.
    Sender,
    /// The message may be right; the receiver failed.
    Receiver,
    /// Not a SOAP 1.2 envelope.
    VersionMismatch,
    /// A mandatory header that is not understood.
    MustUnderstand,
}

/// `soap12:Code/Subcode/Value`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subcode {
    /// The action names no transaction of this endpoint.
    ActionNotSupported,
    /// An addressing header is repeated or malformed.
    InvalidAddressingHeader,
    /// An addressing header that must be there is not.
    MessageAddressingHeaderRequired,
    /// Answers go to the connection that asked, and to no other address.
    OnlyAnonymousAddressSupported,
    /// The token is of a kind that is not supported.
    UnsupportedSecurityToken,
    /// An algorithm that is not accepted.
    UnsupportedAlgorithm,
    /// The security header is not as it must be.
    InvalidSecurity,
    /// The token is not as it must be.
    InvalidSecurityToken,
    /// The token could not be authenticated.
    FailedAuthentication,
    /// A signature is wrong.
    FailedCheck,
    /// A referenced token is not there.
    SecurityTokenUnavailable,
    /// Too old.
    MessageExpired,
}

impl Subcode {
    /// The qualified name; the prefixes are those that [`Fault::write`] declares.
    pub fn name(self) -> &'static str {
        match self {
            Self::ActionNotSupported => "wsa:ActionNotSupported",
            Self::InvalidAddressingHeader => "wsa:InvalidAddressingHeader",
            Self::MessageAddressingHeaderRequired => "wsa:MessageAddressingHeaderRequired",
            Self::OnlyAnonymousAddressSupported => "wsa:OnlyAnonymousAddressSupported",
            Self::UnsupportedSecurityToken => "wsse:UnsupportedSecurityToken",
            Self::UnsupportedAlgorithm => "wsse:UnsupportedAlgorithm",
            Self::InvalidSecurity => "wsse:InvalidSecurity",
            Self::InvalidSecurityToken => "wsse:InvalidSecurityToken",
            Self::FailedAuthentication => "wsse:FailedAuthentication",
            Self::FailedCheck => "wsse:FailedCheck",
            Self::SecurityTokenUnavailable => "wsse:SecurityTokenUnavailable",
            Self::MessageExpired => "wsu:MessageExpired",
        }
    }
}

impl Fault {
    /// The message is wrong, for that reason.
    pub fn sender(reason: impl Into<String>) -> Self {
        Self { code: FaultCode::Sender, subcode: None, reason: reason.into() }
    }

    /// We failed.
    pub fn receiver(reason: impl Into<String>) -> Self {
        Self { code: FaultCode::Receiver, subcode: None, reason: reason.into() }
    }

    /// With a subcode.
    pub fn with(mut self, subcode: Subcode) -> Self {
        self.subcode = Some(subcode);
        self
    }

    /// HTTP status by the SOAP 1.2 HTTP binding: 400 for the sender's faults, else 500.
    pub fn http_status(&self) -> u16 {
        match self.code {
            FaultCode::Sender => 400,
            FaultCode::Receiver | FaultCode::VersionMismatch | FaultCode::MustUnderstand => 500,
        }
    }

    /// Writes the `soap12:Fault` body.
    pub fn write(&self, w: &mut Writer) {
        let code = match self.code {
            FaultCode::Sender => "soap12:Sender",
            FaultCode::Receiver => "soap12:Receiver",
            FaultCode::VersionMismatch => "soap12:VersionMismatch",
            FaultCode::MustUnderstand => "soap12:MustUnderstand",
        };
        w.start("soap12:Fault").start("soap12:Code").leaf("soap12:Value", code);
        if let Some(subcode) = self.subcode {
            w.start("soap12:Subcode").start("soap12:Value");
            w.attribute("xmlns:wsse", ns::WSSE).attribute("xmlns:wsu", ns::WSU).text(subcode.name()).end().end();
        }
        w.end();
        w.start("soap12:Reason").start("soap12:Text").attribute("xml:lang", "en").text(&self.reason);
        w.end().end().end();
    }

    /// Reads a partner's fault. Everything but the element itself may be missing; the reason of a fault without text
    /// is its code.
    pub fn read(fault: Element<'_>) -> Self {
        let value = |path: &[&'static str]| fault.find(ns::SOAP12, path).map(|e| e.trimmed().into_owned());
        let local = |name: String| name.rsplit(':').next().unwrap_or_default().to_owned();
        let code = match value(&["Code", "Value"]).map(local).as_deref() {
            Some("Sender") => FaultCode::Sender,
            Some("VersionMismatch") => FaultCode::VersionMismatch,
            Some("MustUnderstand") => FaultCode::MustUnderstand,
            _ => FaultCode::Receiver,
        };
        let subcode = value(&["Code", "Subcode", "Value"]).unwrap_or_default();
        let text = value(&["Reason", "Text"]).filter(|text| !text.is_empty());
        let reason = match (text, subcode.is_empty()) {
            (Some(text), true) => text,
            (Some(text), false) => format!("{text} ({subcode})"),
            (None, false) => subcode,
            (None, true) => "a SOAP fault without a reason".into(),
        };
        Self { code, subcode: None, reason }
    }
}

impl From<XmlError> for Fault {
    fn from(error: XmlError) -> Self {
        Self::sender(error.to_string())
    }
}
