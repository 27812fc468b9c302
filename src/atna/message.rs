//! The audit message as XML: written exactly as the DICOM schema wants it, read with the spellings of RFC 3881 too.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use smol_str::SmolStr;

use super::event::{AccessPoint, Action, Content, Event, Object, ObjectKind, Outcome, Participant};
use crate::id::{Code, Timestamp};
use crate::xml::{self, Element, Limits, Writer, XmlError};

/// Which system wrote a record (`AuditSourceIdentification`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// Name of this node, usually its DNS name.
    pub id: SmolStr,
    /// The enterprise: our home community id.
    pub enterprise: Option<SmolStr>,
}

/// Writes an event as a DICOM audit message (PS3.15 A.5.1).
pub fn encode(event: &Event, source: &Source) -> String {
    let mut w = Writer::with_declaration();
    w.start("AuditMessage");
    w.start("EventIdentification")
        .attribute("EventActionCode", event.action.code())
        .attribute("EventDateTime", &event.at.to_rfc3339())
        .attribute("EventOutcomeIndicator", event.outcome.code());
    coded(&mut w, "EventID", &event.id.code());
    for kind in &event.types {
        coded(&mut w, "EventTypeCode", kind);
    }
    w.leaf("EventOutcomeDescription", &event.description());
    for purpose in &event.purposes {
        coded(&mut w, "PurposeOfUse", purpose);
    }
    w.end();
    for participant in &event.participants {
        write_participant(&mut w, participant);
    }
    w.start("AuditSourceIdentification")
        .attribute_if("AuditEnterpriseSiteID", source.enterprise.as_deref())
        .attribute("AuditSourceID", &source.id)
        .start("AuditSourceTypeCode")
        .attribute("csd-code", "4")
        .attribute("originalText", "Application Server Process or Thread")
        .end()
        .end();
    for object in &event.objects {
        write_object(&mut w, object);
    }
    w.finish()
}

fn write_participant(w: &mut Writer, participant: &Participant) {
    let (point, kind) = match &participant.access_point {
        None => (None, None),
        Some(AccessPoint::Name(name)) => (Some(name.clone()), Some("1")),
        Some(AccessPoint::Address(address)) => (Some(SmolStr::from(address.to_string())), Some("2")),
    };
    // Receivers refuse an empty UserID.
    let user_id = if participant.user_id.trim().is_empty() { "unknown" } else { &participant.user_id };
    w.start("ActiveParticipant")
        .attribute("UserID", user_id)
        .attribute_if("AlternativeUserID", participant.alternative_user_id.as_deref())
        .attribute_if("UserName", participant.user_name.as_deref())
        .attribute("UserIsRequestor", if participant.requestor { "true" } else { "false" })
        .attribute_if("NetworkAccessPointID", point.as_deref())
        .attribute_if("NetworkAccessPointTypeCode", kind);
    for role in &participant.roles {
        coded(w, "RoleIDCode", role);
    }
    w.end();
}

fn write_object(w: &mut Writer, object: &Object) {
    w.start("ParticipantObjectIdentification")
        .attribute_if("ParticipantObjectID", object.id.as_deref())
        .attribute_if("ParticipantObjectTypeCode", object.kind.map(ObjectKind::code));
    if let Some(role) = object.role {
        w.attribute("ParticipantObjectTypeCodeRole", &role.to_string());
    }
    coded(w, "ParticipantObjectIDTypeCode", &object.id_type);
    match &object.content {
        Content::Nothing => {}
        Content::Name(name) => {
            w.leaf("ParticipantObjectName", name);
        }
        Content::Query(bytes) => {
            w.start("ParticipantObjectQuery").base64(bytes).end();
        }
    }
    for (kind, value) in &object.details {
        w.start("ParticipantObjectDetail")
            .attribute("type", kind)
            .attribute("value", &BASE64_STANDARD.encode(value))
            .end();
    }
    w.end();
}

fn coded(w: &mut Writer, name: &'static str, code: &Code) {
    // The schema requires originalText; a code that came without a display name stands for itself.
    let text = if code.display.is_empty() { &code.code } else { &code.display };
    w.start(name)
        .attribute("csd-code", &code.code)
        .attribute("codeSystemName", &code.scheme)
        .attribute("originalText", text)
        .end();
}

/// Why a text is not an audit message.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// Not XML.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Another document.
    #[error("not an audit message: its root is <{0}>")]
    NotAnAuditMessage(String),
    /// A message without `EventID`.
    #[error("the audit message does not say what happened")]
    NoEventId,
}

/// An audit message as read. What a sender left out is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What kind of event.
    pub id: Code,
    /// What was done.
    pub action: Option<Action>,
    /// How it went.
    pub outcome: Option<Outcome>,
    /// When.
    pub at: Option<Timestamp>,
    /// What kind, more exactly.
    pub types: Vec<Code>,
    /// `EventOutcomeDescription`; empty when there is none.
    pub description: String,
    /// What for.
    pub purposes: Vec<Code>,
    /// Who took part.
    pub participants: Vec<Participant>,
    /// `AuditSourceID`; empty when there is none.
    pub source: SmolStr,
    /// `AuditEnterpriseSiteID`.
    pub enterprise: Option<SmolStr>,
    /// What was touched.
    pub objects: Vec<Object>,
}

/// Reads an audit message in the DICOM spelling or that of RFC 3881.
pub fn decode(text: &str, limits: &Limits) -> Result<Message, ReadError> {
    // Senders that follow RFC 5424 to the letter put a byte order mark before the text.
    let tree = xml::parse(text.trim_start_matches('\u{FEFF}'), limits)?;
    let root = tree.root()?;
    if root.local_name() != "AuditMessage" {
        return Err(ReadError::NotAnAuditMessage(root.local_name().to_owned()));
    }
    let event = named(root, "EventIdentification").next().ok_or(ReadError::NoEventId)?;
    let id = named(event, "EventID").next().map(read_code).ok_or(ReadError::NoEventId)?;
    let source = named(root, "AuditSourceIdentification").next();
    Ok(Message {
        id,
        action: event.attribute("EventActionCode").and_then(Action::from_code),
        outcome: event.attribute("EventOutcomeIndicator").and_then(Outcome::from_code),
        at: event.attribute("EventDateTime").and_then(Timestamp::from_rfc3339),
        types: named(event, "EventTypeCode").map(read_code).collect(),
        description: named(event, "EventOutcomeDescription").next().map(|e| e.text().into_owned()).unwrap_or_default(),
        purposes: named(event, "PurposeOfUse").map(read_code).collect(),
        participants: named(root, "ActiveParticipant").map(read_participant).collect(),
        source: source.and_then(|e| e.attribute("AuditSourceID")).unwrap_or_default().into(),
        enterprise: source.and_then(|e| e.attribute("AuditEnterpriseSiteID")).map(SmolStr::from),
        objects: named(root, "ParticipantObjectIdentification").map(read_object).collect(),
    })
}

/// Child elements by local name: the schema has no namespace, but some senders add one.
fn named<'d>(parent: Element<'d>, name: &'static str) -> impl Iterator<Item = Element<'d>> {
    parent.children().filter(move |child| child.local_name() == name)
}

fn read_participant(element: Element<'_>) -> Participant {
    let access_point = element.attribute("NetworkAccessPointID").filter(|id| !id.is_empty()).map(AccessPoint::of_host);
    Participant {
        user_id: element.attribute("UserID").unwrap_or_default().into(),
        alternative_user_id: element.attribute("AlternativeUserID").map(SmolStr::from),
        user_name: element.attribute("UserName").map(SmolStr::from),
        // Required by the schema, left out by some senders.
        requestor: matches!(element.attribute("UserIsRequestor"), Some("true" | "1")),
        access_point,
        roles: named(element, "RoleIDCode").map(read_code).collect(),
    }
}

fn read_object(element: Element<'_>) -> Object {
    let name = named(element, "ParticipantObjectName").next().map(|e| Content::Name(e.text().into_owned()));
    let query = named(element, "ParticipantObjectQuery").next().map(|e| Content::Query(from_base64(&e.text())));
    let unknown = || Code::new("", "", "");
    Object {
        id: element.attribute("ParticipantObjectID").map(str::to_owned),
        id_type: named(element, "ParticipantObjectIDTypeCode").next().map_or_else(unknown, read_code),
        kind: element.attribute("ParticipantObjectTypeCode").and_then(ObjectKind::from_code),
        role: element.attribute("ParticipantObjectTypeCodeRole").and_then(|role| role.trim().parse().ok()),
        content: query.or(name).unwrap_or_default(),
        details: named(element, "ParticipantObjectDetail")
            .map(|e| {
                let kind = e.attribute("type").unwrap_or_default().into();
                (kind, from_base64(e.attribute("value").unwrap_or_default()))
            })
            .collect(),
    }
}

fn read_code(element: Element<'_>) -> Code {
    // RFC 3881 spells the attribute `code` and has displayName where DICOM has originalText.
    let code = element.attribute("csd-code").or_else(|| element.attribute("code")).unwrap_or_default();
    let text = element.attribute("originalText").or_else(|| element.attribute("displayName")).unwrap_or_default();
    Code::new(code, element.attribute("codeSystemName").unwrap_or_default(), text)
}

/// The bytes, or the text itself where a sender forgot to encode it.
fn from_base64(text: &str) -> Vec<u8> {
    let compact: String = text.split_whitespace().collect();
    BASE64_STANDARD.decode(&compact).unwrap_or_else(|_| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests;
