//! ITI-10 PIX Update Notification (`ADT^A31`) and ITI-64 Notify XAD-PID Link Change (`ADT^A43`), ITI TF-2: 3.10, 3.64.
//!
//! A set of identifiers changed; its consumers are told the set as it is now, and nothing else of the person. When a
//! link is broken there are several sets, and a message for each.

use smol_str::SmolStr;

use crate::hl7v2::ack::AckCode;
use crate::hl7v2::query::{self, HeaderProblem};
use crate::hl7v2::{Ack, Builder, Composite, Cx, Header, Message, Repetition};
use crate::id::{AssigningAuthority, Domains, PatientId};

/// Why a notification, or the answer to one, is of no use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a message of this transaction.
    #[error(transparent)]
    Header(#[from] HeaderProblem),
    /// PID-3 or MRG-1 lacks an identifier.
    #[error("{0} lacks an identifier")]
    NoIdentifier(&'static str),
    /// The answer has no MSA with a known code.
    #[error("the message is not an acknowledgement")]
    NotAnAcknowledgement,
    /// The answer is to another message.
    #[error("the acknowledgement is for another message")]
    OtherMessage,
    /// The receiver did not take it. Its text may be about the patient: not for logs.
    #[error("the receiver did not accept the notification")]
    NotAccepted {
        /// MSA-1.
        code: AckCode,
        /// ERR or MSA-3.
        text: String,
    },
}

/// ITI-10: these identifiers are of one person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Update {
    /// From whom to whom; MSH-9 is written as the transaction wants it.
    pub header: Header,
    /// All identifiers of the person in the consumer's domains.
    pub ids: Vec<PatientId>,
}

impl Update {
    /// The notifications for one consumer: one for each set that has identifiers in its domains, and of each set only
    /// those. `control_id` makes MSH-10.
    pub fn for_sets(
        header: &Header,
        sets: &[Vec<PatientId>],
        consumer: &[AssigningAuthority],
        mut control_id: impl FnMut() -> SmolStr,
    ) -> Vec<Self> {
        let restricted = sets.iter().map(|set| {
            let ids = set.iter().filter(|id| consumer.contains(id.authority()));
            ids.cloned().collect::<Vec<_>>()
        });
        restricted
            .filter(|ids| !ids.is_empty())
            .map(|ids| Self { header: Header { control_id: control_id(), ..header.clone() }, ids })
            .collect()
    }

    /// The message.
    pub fn encode(&self, domains: &Domains) -> Vec<u8> {
        let mut body = Builder::new();
        body.segment("EVN").text(2, &self.header.sent).end();
        let ids: Vec<Composite> = self.ids.iter().map(|id| Cx::write(id, domains, "PI")).collect();
        // 3.10.4.1.2: the name is required, and is a single space.
        body.segment("PID").repetitions(3, &ids).text(5, " ").end();
        body.segment("PV1").text(2, "N").end();
        write(&self.header, ("A31", "ADT_A05"), Some("ITI-10"), &body)
    }

    /// Reads one, as a consumer does.
    pub fn decode(message: &Message, domains: &Domains) -> Result<Self, Refusal> {
        let header = Header::read(message);
        query::accept(&header, "ADT", &["A31"])?;
        let ids = ids(message, ("PID", 3), domains);
        if ids.is_empty() { Err(Refusal::NoIdentifier("PID-3")) } else { Ok(Self { header, ids }) }
    }
}

/// ITI-64: the affinity domain's identifier for a local one changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkChange {
    /// From whom to whom; MSH-3 is the OID of the manager.
    pub header: Header,
    /// The affinity domain's identifier now.
    pub new: PatientId,
    /// The local identifier that it is for.
    pub local: PatientId,
    /// The affinity domain's identifier before; the same as now if only local ones were merged.
    pub previous: PatientId,
    /// The local identifier that was merged into `local`.
    pub subsumed: Option<PatientId>,
}

impl LinkChange {
    /// The message. Authorities are told by universal id and type alone.
    pub fn encode(&self) -> Vec<u8> {
        let nameless = Domains::default();
        let cx = |id: &PatientId| Cx::write(id, &nameless, "");
        let mut body = Builder::new();
        body.segment("EVN").text(2, &self.header.sent).end();
        body.segment("PID").repetitions(3, &[cx(&self.new), cx(&self.local)]).text(5, " ").end();
        let before: Vec<Composite> = [&self.previous].into_iter().chain(&self.subsumed).map(cx).collect();
        body.segment("MRG").repetitions(1, &before).end();
        // The third component is not told by the profile, and its own example has none.
        write(&self.header, ("A43", ""), None, &body)
    }

    /// Reads one, as a registry does.
    pub fn decode(message: &Message, domains: &Domains) -> Result<Self, Refusal> {
        let header = Header::read(message);
        query::accept(&header, "ADT", &["A43"])?;
        let mut now = ids(message, ("PID", 3), domains).into_iter();
        let mut before = ids(message, ("MRG", 1), domains).into_iter();
        Ok(Self {
            header,
            new: now.next().ok_or(Refusal::NoIdentifier("PID-3"))?,
            local: now.next().ok_or(Refusal::NoIdentifier("PID-3"))?,
            previous: before.next().ok_or(Refusal::NoIdentifier("MRG-1"))?,
            subsumed: before.next(),
        })
    }
}

/// Reads the receiver's answer to the notification with that control id.
pub fn read_acknowledgement(message: &Message, control_id: &str) -> Result<(), Refusal> {
    let (answers, code, text) = Ack::read(message).ok_or(Refusal::NotAnAcknowledgement)?;
    if answers.trim() != control_id.trim() {
        return Err(Refusal::OtherMessage);
    }
    if code == AckCode::Accept { Ok(()) } else { Err(Refusal::NotAccepted { code, text }) }
}

fn ids(message: &Message, (segment, field): (&str, usize), domains: &Domains) -> Vec<PatientId> {
    let told = message.field(segment, field).repetitions().filter(|one: &Repetition<'_>| !one.is_empty()).map(Cx::read);
    told.filter(|cx| !cx.names_no_authority()).filter_map(|cx| cx.foreign(domains, "").ok()).collect()
}

fn write(header: &Header, (event, structure): (&str, &str), profile: Option<&str>, body: &Builder) -> Vec<u8> {
    let header = Header {
        message_type: "ADT".into(),
        event: event.into(),
        structure: structure.into(),
        version: if header.version.is_empty() { "2.5".into() } else { header.version.clone() },
        ..header.clone()
    };
    let mut message = Builder::new();
    header.write(&mut message, body.is_ascii(), profile);
    message.append(body);
    message.finish()
}

#[cfg(test)]
mod tests;
