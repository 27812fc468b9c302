//! The transmission wrapper: which message this is, from which device to which (MCCI_MT000100UV01 and its siblings).

use smol_str::SmolStr;

use super::datatype::{Ii, read_code, read_time};
use super::{DecodeError, INTERACTIONS, child, children, find};
use crate::id::{Dtm, HomeCommunityId, Timestamp};
use crate::xml::{Element, Writer};

/// A sender or receiver.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Device {
    /// `device/id`; by IHE an OID without extension.
    pub id: Ii,
    /// `device/telecom/@value`: its URL.
    pub url: Option<SmolStr>,
    /// `asAgent/representedOrganization/id/@root`: in XCPD the home community without `urn:oid:`.
    pub organization: Option<SmolStr>,
    /// `representedOrganization/name`.
    pub organization_name: Option<SmolStr>,
}

impl Device {
    /// The gateway of a community: its device and organisation have the same OID.
    pub fn gateway(home: &HomeCommunityId) -> Self {
        let oid = SmolStr::from(home.oid().as_str());
        Self { id: Ii::root(&oid), url: None, organization: Some(oid), organization_name: None }
    }

    /// The home community: the organisation, or the device of a partner that tells no organisation.
    pub fn home(&self) -> Option<HomeCommunityId> {
        let told = self.organization.as_deref().unwrap_or(&self.id.root);
        HomeCommunityId::lenient(told).ok()
    }

    /// Reads `sender` or `receiver`. Their type codes are not looked at: one partner swaps them.
    fn read(participant: Element<'_>) -> Self {
        let Some(device) = child(participant, "device") else { return Self::default() };
        let organization = find(device, &["asAgent", "representedOrganization"]);
        let text = |element: Element<'_>| SmolStr::from(element.trimmed().as_ref());
        Self {
            id: child(device, "id").and_then(Ii::read).unwrap_or_default(),
            url: child(device, "telecom").and_then(|t| t.attribute("value")).map(|url| url.trim().into()),
            organization: organization.and_then(|o| child(o, "id")).and_then(Ii::read).map(|id| id.root),
            organization_name: organization.and_then(|o| child(o, "name")).map(text).filter(|name| !name.is_empty()),
        }
    }

    fn write(&self, writer: &mut Writer, name: &'static str, type_code: &str) {
        writer.start(name).attribute("typeCode", type_code);
        writer.start("device").attribute("classCode", "DEV").attribute("determinerCode", "INSTANCE");
        self.id.write(writer, "id");
        if let Some(url) = &self.url {
            writer.start("telecom").attribute("value", url).end();
        }
        if let Some(organization) = &self.organization {
            writer.start("asAgent").attribute("classCode", "AGNT");
            writer.start("representedOrganization").attribute("classCode", "ORG");
            writer.attribute("determinerCode", "INSTANCE");
            Ii::root(organization).write(writer, "id");
            if let Some(name) = &self.organization_name {
                writer.leaf("name", name);
            }
            writer.end().end();
        }
        writer.end().end();
    }
}

/// What every message begins with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrapper {
    /// The message's own id.
    pub id: Ii,
    /// `creationTime`; none if it is unreadable, which nothing depends on.
    pub created: Option<Dtm>,
    /// `processingCode`: `P`, `T` or `D`.
    pub processing_code: SmolStr,
    /// At least one.
    pub receivers: Vec<Device>,
    /// Where answers that come later go (`respondTo/telecom/@value`).
    pub respond_to: Vec<SmolStr>,
    /// Who sent it.
    pub sender: Device,
}

impl Wrapper {
    /// A new production message.
    pub fn new(id: Ii, now: Timestamp, sender: Device, receiver: Device) -> Self {
        Self {
            id,
            created: now.to_dtm().parse().ok(),
            processing_code: "P".into(),
            receivers: vec![receiver],
            respond_to: Vec::new(),
            sender,
        }
    }

    /// The wrapper of an answer to this message: from the device that was addressed to the one that asked.
    pub fn answer(&self, id: Ii, now: Timestamp, us: Device) -> Self {
        let receiver = Device { url: None, ..self.sender.clone() };
        Self { processing_code: self.processing_code.clone(), ..Self::new(id, now, us, receiver) }
    }

    /// Reads the wrapper of a message.
    pub fn read(root: Element<'_>) -> Result<Self, DecodeError> {
        let id = child(root, "id").and_then(Ii::read).ok_or(DecodeError::Missing("id"))?;
        let reply_url = |respond: Element<'_>| {
            let url = child(respond, "telecom").and_then(|telecom| telecom.attribute("value"))?.trim();
            (!url.is_empty()).then(|| SmolStr::from(url))
        };
        Ok(Self {
            id,
            created: child(root, "creationTime").and_then(read_time),
            processing_code: child(root, "processingCode").and_then(read_code).unwrap_or_else(|| "P".into()),
            receivers: children(root, "receiver").map(Device::read).collect(),
            respond_to: children(root, "respondTo").filter_map(reply_url).collect(),
            // One partner's answers have no devices at all.
            sender: child(root, "sender").map(Device::read).unwrap_or_default(),
        })
    }

    /// Writes everything up to `sender`. `accept` is `AL` in requests and `NE` in answers.
    pub fn write(&self, writer: &mut Writer, interaction: &'static str, accept: &'static str) {
        self.id.write(writer, "id");
        writer.start("creationTime");
        match &self.created {
            Some(created) => writer.attribute("value", &with_zone(created)),
            None => writer.attribute("nullFlavor", "UNK"),
        };
        writer.end();
        Ii::new(INTERACTIONS, interaction).write(writer, "interactionId");
        writer.start("processingCode").attribute("code", &self.processing_code).end();
        writer.start("processingModeCode").attribute("code", "T").end();
        writer.start("acceptAckCode").attribute("code", accept).end();
        for receiver in &self.receivers {
            receiver.write(writer, "receiver", "RCV");
        }
        for url in &self.respond_to {
            writer.start("respondTo").attribute("typeCode", "RSP");
            writer.start("telecom").attribute("value", url).end();
            writer.start("entityRsp").attribute("classCode", "ENT").attribute("determinerCode", "INSTANCE");
            writer.attribute("xsi:nil", "true").end();
            writer.end();
        }
        self.sender.write(writer, "sender", "SND");
    }
}

/// `Dtm` is UTC; a full time says so.
fn with_zone(time: &Dtm) -> String {
    let zone = if time.as_str().len() == 14 { "+0000" } else { "" };
    format!("{}{zone}", time.as_str())
}
