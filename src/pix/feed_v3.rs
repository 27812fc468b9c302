//! ITI-44 Patient Identity Feed in HL7 v3 (ITI TF-2: 3.44): a person is added (`PRPA_IN201301UV02`), revised
//! (`PRPA_IN201302UV02`), or two registrations are merged (`PRPA_IN201304UV02`). What is asked for is the same as in
//! HL7 v2, so it is the same type: `feed_v2::FeedRequest`.

use crate::hl7v3::ack::{AckType, Acknowledgement, AcknowledgementMessage, Detail};
use crate::hl7v3::datatype::{Ii, read_patient_id};
use crate::hl7v3::query::{detail_0357, internal, start_act, unknown_key, unreadable};
use crate::hl7v3::registration::{Registration, Told, events, write_id};
use crate::hl7v3::wrapper::{Device, Wrapper};
use crate::hl7v3::{DecodeError, child, children, find, person, start};
use crate::id::{Domains, IdError, PatientId, Timestamp};
use crate::xml::{Element, Writer};

use super::demographics_v2::Revision;
use super::feed_v2::{self, FeedRequest, Pair};

/// US social security numbers.
const SSN: &str = "2.16.840.1.113883.4.1";

/// The three messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interaction {
    /// `PRPA_IN201301UV02`.
    Add,
    /// `PRPA_IN201302UV02`.
    Revise,
    /// `PRPA_IN201304UV02`.
    Merge,
}

impl Interaction {
    const ALL: [Self; 3] = [Self::Add, Self::Revise, Self::Merge];

    /// The root element, and behind `urn:hl7-org:v3:` the action.
    pub fn root(self) -> &'static str {
        self.names().0
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Add => ("PRPA_IN201301UV02", "PRPA_TE201301UV02"),
            Self::Revise => ("PRPA_IN201302UV02", "PRPA_TE201302UV02"),
            Self::Merge => ("PRPA_IN201304UV02", "PRPA_TE201304UV02"),
        }
    }

    fn of(root: Element<'_>) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.root() == root.local_name())
    }
}

/// A feed message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Its id, who sent it and to whom.
    pub wrapper: Wrapper,
    /// Whose registration it is; often the organisation behind the sending device.
    pub custodian: Ii,
    /// What is to be done: `Add`, `Revise` or `Merge`.
    pub change: FeedRequest,
}

/// Why a feed is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a readable message of this transaction.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// Another message.
    #[error("the message is none of this transaction")]
    Interaction,
    /// More than one registration.
    #[error("the message has more than one registration")]
    SeveralPatients,
    /// No identifier at a place, told as the last steps of its XPath.
    #[error("no identifier at {0}")]
    NoIdentifier(String),
    /// Not usable as an identifier.
    #[error("{cause} ({place})")]
    Identifier {
        /// The last steps of its XPath.
        place: String,
        /// What is wrong.
        cause: IdError,
    },
    /// Its root is none of our domains.
    #[error("the assigning authority is not known here ({0})")]
    UnknownDomain(String),
    /// What dialects have in common, found by the decoder or by the manager.
    #[error(transparent)]
    Feed(#[from] feed_v2::Refusal),
}

const PATIENT_ID: &str = "subject1/patient/id";
const PRIOR_ID: &str = "replacementOf/priorRegistration/subject1/priorRegisteredRole/id";

impl Refusal {
    /// `acknowledgement/typeCode` and its detail, for a message with that root element (ITI TF-2: 3.44.4.1.3, HL7
    /// table 0357).
    pub fn detail(&self, root: &str) -> (AckType, Detail) {
        let text = self.to_string();
        let at = |place: &str| format!("/{root}/controlActProcess/subject/registrationEvent/{place}");
        let first = |place: &str| at(&format!("{place}[1]"));
        let error = |detail| (AckType::CommitError, detail);
        match self {
            Self::Unreadable(_) => error(unreadable(text)),
            Self::Interaction => (AckType::CommitReject, unreadable(text)),
            Self::SeveralPatients => {
                error(detail_0357("100", text, Some(format!("/{root}/controlActProcess/subject[2]"))))
            }
            Self::NoIdentifier(place) => error(detail_0357("101", text, Some(at(place)))),
            Self::Identifier { place, .. } => error(detail_0357("102", text, Some(at(place)))),
            Self::UnknownDomain(place) => error(unknown_key(text, at(place))),
            Self::Feed(refusal) => match refusal {
                feed_v2::Refusal::Unavailable => (AckType::CommitReject, internal(text)),
                feed_v2::Refusal::DifferentAuthorities | feed_v2::Refusal::UnknownSubsumed => {
                    error(unknown_key(text, first(PRIOR_ID)))
                }
                feed_v2::Refusal::SameIdentifier => error(detail_0357("205", text, Some(first(PRIOR_ID)))),
                feed_v2::Refusal::NotTheSource
                | feed_v2::Refusal::UnknownSurvivor
                | feed_v2::Refusal::UnknownPatient
                | feed_v2::Refusal::NoIdentifier(_)
                | feed_v2::Refusal::Identifier { .. }
                | feed_v2::Refusal::Authority { .. } => error(unknown_key(text, first(PATIENT_ID))),
                feed_v2::Refusal::InUse => error(detail_0357("205", text, Some(first(PATIENT_ID)))),
                // These are about parts that a v3 message does not have.
                feed_v2::Refusal::MessageType
                | feed_v2::Refusal::EventType
                | feed_v2::Refusal::Header(_)
                | feed_v2::Refusal::ProcessingId
                | feed_v2::Refusal::Version
                | feed_v2::Refusal::NoSegment(_)
                | feed_v2::Refusal::TooManySegments(_)
                | feed_v2::Refusal::Date(_) => error(unreadable(text)),
            },
        }
    }
}

/// What cannot be said in HL7 v3.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a change of identifier, a link, an unlink or a merge of several pairs has no message in HL7 v3")]
pub struct NotInV3;

impl Request {
    /// Reads the body. All of `patient/id` are of domains known here; other identifiers are in `asOtherIDs`.
    pub fn decode(body: Element<'_>, domains: &Domains) -> Result<Self, Refusal> {
        let interaction = Interaction::of(body).ok_or(Refusal::Interaction)?;
        let wrapper = Wrapper::read(body)?;
        let act = child(body, "controlActProcess").ok_or(DecodeError::Missing("controlActProcess"))?;
        let mut all = events(act);
        let event = all.next().ok_or(DecodeError::Missing("registrationEvent"))?;
        if all.next().is_some() {
            return Err(Refusal::SeveralPatients);
        }
        let patient = find(event, &["subject1", "patient"]).ok_or(DecodeError::Missing("patient"))?;
        let (ids, listed) = read_ids(children(patient, "id"), PATIENT_ID, domains)?;
        let change = match interaction {
            Interaction::Add | Interaction::Revise => {
                let mut demographics = person::read(patient, domains);
                for id in listed {
                    if !demographics.other_ids.contains(&id) {
                        demographics.other_ids.push(id);
                    }
                }
                if interaction == Interaction::Add {
                    FeedRequest::Add { ids, demographics: Box::new(demographics) }
                } else {
                    let revision = Revision { demographics, ..Revision::default() };
                    FeedRequest::Revise { ids, removed: Vec::new(), revision: Box::new(revision) }
                }
            }
            Interaction::Merge => FeedRequest::Merge(pairs(event, &ids, domains)?),
        };
        let custodian = find(event, &["custodian", "assignedEntity", "id"]).and_then(Ii::read).unwrap_or_default();
        Ok(Self { wrapper, custodian, change })
    }

    /// Which message it is.
    pub fn interaction(&self) -> Result<Interaction, NotInV3> {
        match &self.change {
            FeedRequest::Add { .. } => Ok(Interaction::Add),
            FeedRequest::Revise { .. } => Ok(Interaction::Revise),
            FeedRequest::Merge(pairs) if pairs.len() == 1 => Ok(Interaction::Merge),
            FeedRequest::Merge(_) | FeedRequest::ChangeId(_) | FeedRequest::Link(..) | FeedRequest::Unlink(..) => {
                Err(NotInV3)
            }
        }
    }

    /// Writes the body, for feeding another manager. A revision says everything that is known: deletions cannot be
    /// told.
    pub fn encode(&self, domains: &Domains) -> Result<String, NotInV3> {
        let (interaction, trigger) = self.interaction()?.names();
        let mut writer = Writer::new();
        start(&mut writer, interaction);
        self.wrapper.write(&mut writer, interaction, "AL");
        start_act(&mut writer, trigger);
        let (ids, told, prior) = match &self.change {
            FeedRequest::Add { ids, demographics } => (ids.as_slice(), Told::Everything(demographics, &[]), None),
            FeedRequest::Revise { ids, revision, .. } => {
                (ids.as_slice(), Told::Everything(&revision.demographics, &[]), None)
            }
            FeedRequest::Merge(pairs) | FeedRequest::ChangeId(pairs) => {
                let pair = pairs.first().ok_or(NotInV3)?;
                (std::slice::from_ref(&pair.survivor), Told::Nothing, Some(&pair.subsumed))
            }
            FeedRequest::Link(..) | FeedRequest::Unlink(..) => return Err(NotInV3),
        };
        let registration = Registration { ids, told, custodian: &self.custodian };
        registration.write(
            &mut writer,
            domains,
            |_| {},
            |writer| {
                if let Some(subsumed) = prior {
                    write_prior(writer, subsumed, domains);
                }
            },
        );
        Ok(writer.finish())
    }

    /// The answer to this message.
    pub fn acknowledge(
        &self,
        outcome: Result<(), &Refusal>,
        id: Ii,
        now: Timestamp,
        us: Device,
    ) -> AcknowledgementMessage {
        let root = self.interaction().map_or("", Interaction::root);
        acknowledgement(&self.wrapper, root, outcome, id, now, us)
    }
}

/// The answer to a message that was refused by `Request::decode`, with as much of it as could be read.
pub fn refuse(body: Element<'_>, refusal: &Refusal, id: Ii, now: Timestamp, us: Device) -> AcknowledgementMessage {
    let root = Interaction::of(body).map_or("", Interaction::root);
    let wrapper =
        Wrapper::read(body).unwrap_or_else(|_| Wrapper::new(Ii::default(), now, Device::default(), Device::default()));
    acknowledgement(&wrapper, root, Err(refusal), id, now, us)
}

fn acknowledgement(
    wrapper: &Wrapper,
    root: &str,
    outcome: Result<(), &Refusal>,
    id: Ii,
    now: Timestamp,
    us: Device,
) -> AcknowledgementMessage {
    let target = wrapper.id.clone();
    let acknowledgement = match outcome.map_err(|refusal| refusal.detail(root)) {
        Ok(()) => Acknowledgement::new(AckType::CommitAccept, target),
        Err((kind, detail)) => Acknowledgement { kind, target, details: vec![detail] },
    };
    AcknowledgementMessage { wrapper: wrapper.answer(id, now, us), acknowledgement }
}

/// Identifiers of domains known here, at least one; and the social security numbers that some senders list among them.
fn read_ids<'d>(
    elements: impl Iterator<Item = Element<'d>>,
    path: &str,
    domains: &Domains,
) -> Result<(Vec<PatientId>, Vec<PatientId>), Refusal> {
    let (mut ids, mut listed): (Vec<PatientId>, Vec<PatientId>) = (Vec::new(), Vec::new());
    for (index, element) in elements.enumerate() {
        let place = || format!("{path}[{}]", index + 1);
        let id = match read_patient_id(element, domains) {
            Ok(id) => id,
            Err(_) if element.attribute("nullFlavor").is_some() => continue,
            Err(IdError::NoAuthority) => return Err(Refusal::UnknownDomain(place())),
            Err(cause) => return Err(Refusal::Identifier { place: place(), cause }),
        };
        if domains.knows(&id) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        } else if id.authority().universal_id() == SSN {
            listed.push(id);
        } else {
            return Err(Refusal::UnknownDomain(place()));
        }
    }
    if ids.is_empty() { Err(Refusal::NoIdentifier(path.into())) } else { Ok((ids, listed)) }
}

/// Survivor and subsumed identifiers. The profile has one pair; a sender with several domains may list all.
fn pairs(event: Element<'_>, survivors: &[PatientId], domains: &Domains) -> Result<Vec<Pair>, Refusal> {
    let roles = children(event, "replacementOf")
        .filter_map(|replaced| find(replaced, &["priorRegistration", "subject1", "priorRegisteredRole"]));
    let (subsumed, _) = read_ids(roles.flat_map(|role| children(role, "id")), PRIOR_ID, domains)?;
    let pair = |subsumed: PatientId| {
        let survivor = survivors.iter().find(|survivor| survivor.authority() == subsumed.authority());
        let survivor = survivor.ok_or(feed_v2::Refusal::DifferentAuthorities)?.clone();
        if survivor == subsumed { Err(feed_v2::Refusal::SameIdentifier) } else { Ok(Pair { survivor, subsumed }) }
    };
    Ok(subsumed.into_iter().map(pair).collect::<Result<_, _>>()?)
}

fn write_prior(writer: &mut Writer, subsumed: &PatientId, domains: &Domains) {
    writer.start("replacementOf").attribute("typeCode", "RPLC");
    writer.start("priorRegistration").attribute("classCode", "REG").attribute("moodCode", "EVN");
    writer.start("statusCode").attribute("code", "obsolete").end();
    writer.start("subject1").attribute("typeCode", "SBJ");
    writer.start("priorRegisteredRole").attribute("classCode", "PAT");
    write_id(writer, "id", subsumed, domains);
    writer.end().end().end().end();
}

#[cfg(test)]
mod tests;
