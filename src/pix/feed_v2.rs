//! ITI-8 Patient Identity Feed and ITI-30 Patient Identity Management in HL7 v2 (ITI TF-2: 3.8, 3.30).
//!
//! ITI-8 knows admissions (A01, A04, A05), updates (A08) and merges (A40); ITI-30 adds A28, A31, A47 (a new identifier),
//! A24 (link) and A37 (unlink). Both are read alike: a sender's version says little about its profile, except of a merge.
//! What is done with them is the manager's business.

use crate::hl7v2::ack::{AckCode, Condition, Fault, Location, message_type};
use crate::hl7v2::{Builder, Composite, Cx, Field, Header, Message};
use crate::id::{AssigningAuthority, Demographics, DomainError, Domains, Dtm, IdError, PatientId, Timestamp};

use super::demographics_v2::{self as pid_segment, Revision};

/// What is asked of a sender beyond the standard, and forgiven.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The only processing id taken (MSH-11.1: `P`, `T` or `D`); none takes any.
    pub processing_id: Option<char>,
    /// The authority of identifiers whose CX.4 is empty; none refuses them (ITI TF-2: Appendix E.1 leaves the choice).
    pub default_authority: Option<AssigningAuthority>,
    /// Whether A24 and A37 (Link/Unlink option of ITI-30) are served.
    pub link: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { processing_id: None, default_authority: None, link: true }
    }
}

/// Whether a feed is ITI-30: by the events that ITI-8 does not have, and for the one that both have by the version that
/// each is written in (ITI TF-2: 3.8.4.2, 3.30.4).
pub fn is_management(header: &Header) -> bool {
    match header.event.as_str() {
        "A24" | "A28" | "A31" | "A37" | "A47" => true,
        "A40" => header.version.starts_with("2.5"),
        _ => false,
    }
}

/// The trigger events that are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// Admission.
    A01,
    /// Registration of an outpatient.
    A04,
    /// Pre-admission.
    A05,
    /// Update.
    A08,
    /// Link.
    A24,
    /// New person (ITI-30).
    A28,
    /// Update of a person (ITI-30).
    A31,
    /// Unlink.
    A37,
    /// Merge.
    A40,
    /// Change of an identifier.
    A47,
}

impl Event {
    const ALL: [(Self, &'static str, &'static str); 10] = [
        (Self::A01, "A01", "ADT_A01"),
        (Self::A04, "A04", "ADT_A01"),
        (Self::A05, "A05", "ADT_A01"),
        (Self::A08, "A08", "ADT_A01"),
        (Self::A24, "A24", "ADT_A24"),
        (Self::A28, "A28", "ADT_A05"),
        (Self::A31, "A31", "ADT_A05"),
        (Self::A37, "A37", "ADT_A37"),
        (Self::A40, "A40", "ADT_A39"),
        (Self::A47, "A47", "ADT_A30"),
    ];

    /// MSH-9.2.
    pub fn code(self) -> &'static str {
        self.names().0
    }

    fn names(self) -> (&'static str, &'static str) {
        Self::ALL.iter().find(|(event, ..)| *event == self).map_or(("", ""), |(_, code, structure)| (code, structure))
    }

    fn from_wire(code: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == code).map(|(event, ..)| *event)
    }
}

/// A feed message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Who sent it to whom, and under which control id.
    pub header: Header,
    /// MSH-9.2.
    pub event: Event,
    /// EVN-2: when it was recorded.
    pub recorded: Option<Dtm>,
    /// What is to be done.
    pub change: FeedRequest,
}

/// What a feed asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FeedRequest {
    /// A01, A04, A05, A28: this person has these identifiers.
    Add {
        /// At least one.
        ids: Vec<PatientId>,
        /// Everything told; a `""` is nothing to a person who is new.
        demographics: Box<Demographics>,
    },
    /// A08, A31.
    Revise {
        /// At least one.
        ids: Vec<PatientId>,
        /// Domains in which the person is to have no identifier any more (`""^^^domain`).
        removed: Vec<AssigningAuthority>,
        /// New values and deletions.
        revision: Box<Revision>,
    },
    /// A40: at least one pair. Demographics are never taken from a merge (ITI TF-2: 3.8.4.2).
    Merge(Vec<Pair>),
    /// A47: at least one pair, the old identifier and the one that replaces it.
    ChangeId(Vec<Pair>),
    /// A24.
    Link(PatientId, PatientId),
    /// A37.
    Unlink(PatientId, PatientId),
}

impl FeedRequest {
    /// Every identifier that it speaks of.
    pub fn ids(&self) -> Box<dyn Iterator<Item = &PatientId> + '_> {
        match self {
            Self::Add { ids, .. } | Self::Revise { ids, .. } => Box::new(ids.iter()),
            Self::Merge(pairs) | Self::ChangeId(pairs) => {
                Box::new(pairs.iter().flat_map(|pair| [&pair.survivor, &pair.subsumed]))
            }
            Self::Link(a, b) | Self::Unlink(a, b) => Box::new([a, b].into_iter()),
        }
    }
}

/// An identifier of PID-3 that stays and the one of MRG-1 that goes, of the same authority and not equal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pair {
    /// PID-3.
    pub survivor: PatientId,
    /// MRG-1.
    pub subsumed: PatientId,
}

/// Why a feed is refused: what the decoder finds, and what the manager finds when it looks at its identities.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// MSH-9.1 is not `ADT`.
    #[error("only ADT messages are served here")]
    MessageType,
    /// MSH-9.2 is none of ours, or of an option that is switched off.
    #[error("the trigger event is not served here")]
    EventType,
    /// MSH-9 or MSH-10 is empty.
    #[error("MSH-{0} is empty")]
    Header(usize),
    /// MSH-11 is not what this source has to send.
    #[error("the processing id is not the one configured for this source")]
    ProcessingId,
    /// MSH-12 is not 2.something.
    #[error("the version is not one of HL7 version 2")]
    Version,
    /// A segment that the event needs.
    #[error("the {0} segment is missing")]
    NoSegment(&'static str),
    /// More than one patient in a message that may have one.
    #[error("a second {0} segment; one message speaks of one pair")]
    TooManySegments(&'static str),
    /// PID-3 or MRG-1 has no identifier.
    #[error("no identifier in {0}")]
    NoIdentifier(Location),
    /// Not usable as an identifier.
    #[error("{cause} ({place})")]
    Identifier {
        /// Where it is.
        place: Location,
        /// What is wrong.
        cause: IdError,
    },
    /// Component 4 is empty, unknown, half or contradictory.
    #[error("{cause} ({place})")]
    Authority {
        /// Where it is.
        place: Location,
        /// What is wrong.
        cause: DomainError,
    },
    /// Not a date.
    #[error("not a date: {0}")]
    Date(Location),
    /// PID-3 and MRG-1 have no authority in common.
    #[error("survivor and subsumed identifier are of different assigning authorities")]
    DifferentAuthorities,
    /// PID-3 and MRG-1, or the two PID, are the same.
    #[error("both identifiers are the same")]
    SameIdentifier,
    /// The domain belongs to another source.
    #[error("this source does not feed that assigning authority")]
    NotTheSource,
    /// MRG-1 is not known.
    #[error("the subsumed identifier is not known or not active")]
    UnknownSubsumed,
    /// PID-3 of a merge is not known.
    #[error("the surviving identifier is not known or not active")]
    UnknownSurvivor,
    /// PID-3 of an update is not known.
    #[error("the identifier is not known")]
    UnknownPatient,
    /// The new identifier of an A47 belongs to someone else.
    #[error("the new identifier already belongs to another patient")]
    InUse,
    /// Nothing is wrong with the message; it can be sent again.
    #[error("the message could not be stored; send it again")]
    Unavailable,
}

impl Refusal {
    /// MSA-1 and ERR (ITI TF-2: Appendix C.2.3, 3.8.4, HL7 table 0357).
    pub fn fault(&self) -> (AckCode, Fault) {
        let pid = || Location::of("PID").field(3).repetition(1).component(1);
        let mrg = || Location::of("MRG").field(1).repetition(1).component(1);
        let (code, condition, location) = match self {
            Self::MessageType => {
                (AckCode::Reject, Condition::UnsupportedMessageType, Some(message_type().repetition(1).component(1)))
            }
            Self::EventType => {
                (AckCode::Reject, Condition::UnsupportedEvent, Some(message_type().repetition(1).component(2)))
            }
            Self::Header(field) => {
                (AckCode::Reject, Condition::RequiredFieldMissing, Some(Location::of("MSH").field(*field)))
            }
            Self::ProcessingId => {
                (AckCode::Reject, Condition::UnsupportedProcessingId, Some(Location::of("MSH").field(11)))
            }
            Self::Version => (AckCode::Reject, Condition::UnsupportedVersion, Some(Location::of("MSH").field(12))),
            Self::NoSegment(name) => (AckCode::Error, Condition::SegmentSequence, Some(Location::of(name))),
            Self::TooManySegments(name) => {
                (AckCode::Error, Condition::SegmentSequence, Some(Location::of(name).sequence(2)))
            }
            Self::NoIdentifier(place) => (AckCode::Error, Condition::RequiredFieldMissing, Some(place.clone())),
            Self::Identifier { place, .. } | Self::Date(place) => {
                (AckCode::Error, Condition::DataType, Some(place.clone()))
            }
            Self::Authority { place, .. } => (AckCode::Error, Condition::UnknownKey, Some(place.clone())),
            Self::DifferentAuthorities => {
                (AckCode::Error, Condition::UnknownKey, Some(Location::of("MRG").field(1).repetition(1).component(4)))
            }
            Self::SameIdentifier => (AckCode::Error, Condition::DuplicateKey, Some(mrg())),
            Self::NotTheSource => {
                (AckCode::Error, Condition::UnknownKey, Some(Location::of("PID").field(3).repetition(1).component(4)))
            }
            Self::UnknownSubsumed => (AckCode::Error, Condition::UnknownKey, Some(mrg())),
            Self::UnknownSurvivor | Self::UnknownPatient => (AckCode::Error, Condition::UnknownKey, Some(pid())),
            Self::InUse => (AckCode::Error, Condition::DuplicateKey, Some(pid())),
            Self::Unavailable => (AckCode::Reject, Condition::Internal, None),
        };
        (code, Fault { condition, location, text: self.to_string() })
    }
}

impl Request {
    /// Reads a feed message.
    pub fn decode(message: &Message, domains: &Domains, rules: &Rules) -> Result<Self, Refusal> {
        let header = Header::read(message);
        let event = accept(&header, rules)?;
        let reader = Reader { message, domains, rules };
        let change = match event {
            Event::A01 | Event::A04 | Event::A05 | Event::A28 => {
                let (ids, _) = reader.ids("PID", 1, 3)?;
                FeedRequest::Add { ids, demographics: Box::new(reader.person(&header)?.demographics) }
            }
            Event::A08 | Event::A31 => {
                let (ids, removed) = reader.ids("PID", 1, 3)?;
                FeedRequest::Revise { ids, removed, revision: Box::new(reader.person(&header)?) }
            }
            Event::A40 => FeedRequest::Merge(reader.pairs()?),
            Event::A47 => FeedRequest::ChangeId(reader.pairs()?),
            Event::A24 => reader.two().map(|(one, other)| FeedRequest::Link(one, other))?,
            Event::A37 => reader.two().map(|(one, other)| FeedRequest::Unlink(one, other))?,
        };
        let recorded = Dtm::lenient(&message.field("EVN", 2).text()).ok();
        Ok(Self { header, event, recorded, change })
    }

    /// The message, for feeding another manager. MSH-9 follows from the event, whatever the header says.
    pub fn encode(&self, domains: &Domains) -> Vec<u8> {
        let mut body = Builder::new();
        let recorded = self.recorded.as_ref().map_or("", Dtm::as_str);
        body.segment("EVN").text(2, if recorded.is_empty() { &self.header.sent } else { recorded }).end();
        match &self.change {
            FeedRequest::Add { ids, demographics } => {
                let revision = Revision { demographics: (**demographics).clone(), ..Revision::default() };
                write_pid(&mut body, ids, &[], &revision, domains);
            }
            FeedRequest::Revise { ids, removed, revision } => {
                write_pid(&mut body, ids, removed, revision, domains);
            }
            FeedRequest::Merge(pairs) | FeedRequest::ChangeId(pairs) => {
                let side = |of: fn(&Pair) -> &PatientId| pairs.iter().map(move |pair| Cx::write(of(pair), domains, ""));
                let survivors: Vec<Composite> = side(|pair| &pair.survivor).collect();
                let subsumed: Vec<Composite> = side(|pair| &pair.subsumed).collect();
                // PID-5 is required and says nothing here: one space, as ITI-10 does it.
                body.segment("PID").repetitions(3, &survivors).text(5, " ").end();
                body.segment("MRG").repetitions(1, &subsumed).end();
            }
            FeedRequest::Link(one, other) | FeedRequest::Unlink(one, other) => {
                for id in [one, other] {
                    body.segment("PID").composite(3, &Cx::write(id, domains, "")).text(5, " ").end();
                }
            }
        }
        if matches!(self.change, FeedRequest::Add { .. } | FeedRequest::Revise { .. }) {
            let class = if matches!(self.event, Event::A28 | Event::A31) { "N" } else { "O" };
            body.segment("PV1").text(2, class).end();
        }
        let mut out = Builder::new();
        self.write_header(&mut out, body.is_ascii());
        let mut message = out.finish();
        message.extend_from_slice(&body.finish());
        message
    }

    fn write_header(&self, out: &mut Builder, ascii: bool) {
        let header = &self.header;
        let (code, structure) = self.event.names();
        let mut msh = out.segment("MSH");
        msh.composite(3, &header.sending_application.composite());
        msh.composite(4, &header.sending_facility.composite());
        msh.composite(5, &header.receiving_application.composite());
        msh.composite(6, &header.receiving_facility.composite());
        msh.text(7, &header.sent);
        msh.composite(9, &Composite::new(&["ADT", code, structure]));
        msh.text(10, &header.control_id).text(11, &header.processing_id).text(12, &header.version);
        if !ascii {
            msh.text(18, "UNICODE UTF-8");
        }
        msh.end();
    }
}

/// An ADT message for one person: an `Add` or a full `Revise`, by the event. The header's `sent`, if empty, is `now`.
pub fn encode_adt(
    event: Event,
    ids: &[PatientId],
    demographics: &Demographics,
    mut header: Header,
    now: Timestamp,
    domains: &Domains,
) -> Vec<u8> {
    if header.sent.is_empty() {
        header.sent = now.to_hl7().into();
    }
    let change = if matches!(event, Event::A08 | Event::A31) {
        let revision = Revision { demographics: demographics.clone(), ..Revision::default() };
        FeedRequest::Revise { ids: ids.to_vec(), removed: Vec::new(), revision: Box::new(revision) }
    } else {
        FeedRequest::Add { ids: ids.to_vec(), demographics: Box::new(demographics.clone()) }
    };
    Request { header, event, recorded: None, change }.encode(domains)
}

/// The rules of the header (ITI TF-2: Appendix C.2.3).
fn accept(header: &Header, rules: &Rules) -> Result<Event, Refusal> {
    if header.message_type.is_empty() {
        return Err(Refusal::Header(9));
    }
    if header.message_type != "ADT" {
        return Err(Refusal::MessageType);
    }
    // MSH-9.3 is often absent and sometimes wrong (`ADT^A40^ADT_A40`), so the event alone decides.
    let event = Event::from_wire(&header.event).ok_or(Refusal::EventType)?;
    if !rules.link && matches!(event, Event::A24 | Event::A37) {
        return Err(Refusal::EventType);
    }
    if header.control_id.trim().is_empty() {
        return Err(Refusal::Header(10));
    }
    // Feeds of 2.2 to 2.8 occur under this transaction, and PID and MRG are the same in all of them.
    if !header.version.starts_with("2.") {
        return Err(Refusal::Version);
    }
    if rules.processing_id.is_some_and(|wanted| !header.processing_id.chars().eq([wanted])) {
        return Err(Refusal::ProcessingId);
    }
    Ok(event)
}

struct Reader<'m> {
    message: &'m Message,
    domains: &'m Domains,
    rules: &'m Rules,
}

impl<'m> Reader<'m> {
    fn field(&self, name: &'static str, sequence: usize, number: usize) -> Result<Field<'m>, Refusal> {
        let segment = self.message.segments_named(name).nth(sequence - 1).ok_or(Refusal::NoSegment(name))?;
        Ok(segment.field(number))
    }

    /// The identifiers of a field, at least one, and the domains whose identifier it deletes.
    fn ids(
        &self,
        name: &'static str,
        sequence: usize,
        number: usize,
    ) -> Result<(Vec<PatientId>, Vec<AssigningAuthority>), Refusal> {
        let field = Location::of(name).sequence(sequence).field(number);
        let (mut ids, mut removed): (Vec<PatientId>, _) = (Vec::new(), Vec::new());
        for (index, repetition) in self.field(name, sequence, number)?.repetitions().enumerate() {
            let place = || field.clone().repetition(index + 1);
            let cx = Cx::read(repetition);
            if repetition.is_empty() || (cx.id.is_empty() && cx.names_no_authority()) {
                continue;
            }
            if cx.id == "\"\"" {
                // Nothing is lost by the deletion of an identifier in a domain that nobody knows.
                removed.extend(cx.authority(self.domains));
                continue;
            }
            let authority = match (cx.names_no_authority(), &self.rules.default_authority) {
                (true, Some(authority)) if cx.type_code != "SS" => Ok(authority.clone()),
                _ => cx.authority(self.domains),
            };
            // A social security number is no patient identifier of a domain; it goes to the demographics.
            if authority.is_err() && pid_segment::is_listed_ssn(&cx) {
                continue;
            }
            let authority = authority.map_err(|cause| Refusal::Authority { place: place().component(4), cause })?;
            let id = PatientId::new(&cx.id, authority)
                .map_err(|cause| Refusal::Identifier { place: place().component(1), cause })?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        if ids.is_empty() { Err(Refusal::NoIdentifier(field)) } else { Ok((ids, removed)) }
    }

    /// PID as demographics. A newborn may have no name yet, so PID-5 may be empty (OpenHIE CR-05).
    fn person(&self, header: &Header) -> Result<Revision, Refusal> {
        let pid = self.message.segment("PID").ok_or(Refusal::NoSegment("PID"))?;
        pid_segment::read(pid, self.domains, &header.sending_facility).map_err(Refusal::Date)
    }

    /// PID-3 and MRG-1, paired by authority. The profile has one pair; senders with several domains list all.
    fn pairs(&self) -> Result<Vec<Pair>, Refusal> {
        for name in ["PID", "MRG"] {
            if self.message.segments_named(name).nth(1).is_some() {
                return Err(Refusal::TooManySegments(name));
            }
        }
        let (survivors, _) = self.ids("PID", 1, 3)?;
        let (subsumed, _) = self.ids("MRG", 1, 1)?;
        let mut pairs = Vec::new();
        for subsumed in subsumed {
            let survivor = survivors.iter().find(|survivor| survivor.authority() == subsumed.authority());
            let survivor = survivor.ok_or(Refusal::DifferentAuthorities)?.clone();
            if survivor == subsumed {
                return Err(Refusal::SameIdentifier);
            }
            pairs.push(Pair { survivor, subsumed });
        }
        Ok(pairs)
    }

    /// The first identifiers of two PID segments.
    fn two(&self) -> Result<(PatientId, PatientId), Refusal> {
        let first = |sequence| {
            let (ids, _) = self.ids("PID", sequence, 3)?;
            ids.into_iter().next().ok_or(Refusal::NoIdentifier(Location::of("PID").field(3)))
        };
        let (one, other) = (first(1)?, first(2)?);
        if one == other { Err(Refusal::SameIdentifier) } else { Ok((one, other)) }
    }
}

fn write_pid(
    body: &mut Builder,
    ids: &[PatientId],
    removed: &[AssigningAuthority],
    revision: &Revision,
    domains: &Domains,
) {
    // An identifier that is two quotation marks is how a deletion is written (`""^^^domain`).
    let deletions = removed.iter().filter_map(|authority| PatientId::new("\"\"", authority.clone()).ok());
    let ids: Vec<PatientId> = ids.iter().cloned().chain(deletions).collect();
    let mut pid = body.segment("PID");
    pid_segment::write(&mut pid, &ids, revision, domains);
    pid.end();
}

#[cfg(test)]
mod tests;
