//! ITI-46 PIX Update Notification in HL7 v3 (ITI TF-2: 3.46): the revision message of ITI-44 with a set of identifiers
//! and nothing else of the person. When a link is broken there are several sets, and a message for each.

use crate::hl7v3::ack::AcknowledgementMessage;
use crate::hl7v3::datatype::Ii;
use crate::hl7v3::query::{start_act, text_of};
use crate::hl7v3::registration::{Registration, Told, events};
use crate::hl7v3::wrapper::Wrapper;
use crate::hl7v3::{DecodeError, child, children, expect, find, start};
use crate::id::{AssigningAuthority, Domains, PatientId};
use crate::xml::{Element, Writer};

/// The root element and interaction.
pub const INTERACTION: &str = "PRPA_IN201302UV02";

/// These identifiers are of one person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Update {
    /// From whom to whom.
    pub wrapper: Wrapper,
    /// Whose cross-reference it is.
    pub custodian: Ii,
    /// All identifiers of the person in the consumer's domains.
    pub ids: Vec<PatientId>,
}

/// Why a notification did not arrive.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAccepted {
    /// The answer is not an acknowledgement.
    #[error("the answer is not an acknowledgement")]
    Unreadable(#[source] DecodeError),
    /// The answer is to another message.
    #[error("the acknowledgement is for another message")]
    OtherMessage,
    /// The receiver did not take it. Its text may be about the patient: not for logs.
    #[error("the receiver did not accept the notification")]
    Refused(String),
}

impl Update {
    /// The notifications for one consumer: one for each set that has identifiers in its domains, and of each set only
    /// those. `wrapper` makes the wrapper of each, with an id of its own.
    pub fn for_sets(
        sets: &[Vec<PatientId>],
        consumer: &[AssigningAuthority],
        custodian: &Ii,
        mut wrapper: impl FnMut() -> Wrapper,
    ) -> Vec<Self> {
        let of_consumer = |set: &Vec<PatientId>| -> Vec<PatientId> {
            set.iter().filter(|id| consumer.contains(id.authority())).cloned().collect()
        };
        sets.iter()
            .map(of_consumer)
            .filter(|ids| !ids.is_empty())
            .map(|ids| Self { wrapper: wrapper(), custodian: custodian.clone(), ids })
            .collect()
    }

    /// Writes the body.
    pub fn encode(&self, domains: &Domains) -> String {
        let mut writer = Writer::new();
        start(&mut writer, INTERACTION);
        self.wrapper.write(&mut writer, INTERACTION, "AL");
        start_act(&mut writer, "PRPA_TE201302UV02");
        let registration = Registration { ids: &self.ids, told: Told::Nothing, custodian: &self.custodian };
        registration.write(&mut writer, domains, |_| {}, |_| {});
        writer.finish()
    }

    /// Reads one, as a consumer does.
    pub fn decode(body: Element<'_>, domains: &Domains) -> Result<Self, DecodeError> {
        let root = expect(body, INTERACTION)?;
        let act = child(root, "controlActProcess").ok_or(DecodeError::Missing("controlActProcess"))?;
        let event = events(act).next().ok_or(DecodeError::Missing("registrationEvent"))?;
        let patient = find(event, &["subject1", "patient"]).ok_or(DecodeError::Missing("patient"))?;
        let ids = children(patient, "id").filter_map(|id| crate::hl7v3::datatype::read_patient_id(id, domains).ok());
        let ids: Vec<PatientId> = ids.collect();
        if ids.is_empty() {
            return Err(DecodeError::Missing("patient/id"));
        }
        let custodian = find(event, &["custodian", "assignedEntity", "id"]).and_then(Ii::read).unwrap_or_default();
        Ok(Self { wrapper: Wrapper::read(root)?, custodian, ids })
    }

    /// Reads the receiver's answer to this message.
    pub fn read_acknowledgement(&self, body: Element<'_>) -> Result<(), NotAccepted> {
        let answer = AcknowledgementMessage::decode(body).map_err(NotAccepted::Unreadable)?.acknowledgement;
        if answer.target != self.wrapper.id {
            return Err(NotAccepted::OtherMessage);
        }
        if answer.kind.is_accepted() { Ok(()) } else { Err(NotAccepted::Refused(text_of(&answer.details).into())) }
    }
}

#[cfg(test)]
mod tests;
