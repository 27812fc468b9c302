//! Which audit event each transaction asks for on each side (the "Security Audit Considerations" of ITI TF-2).

use smol_str::SmolStr;

use super::event::{AccessPoint, Action, Event, EventId, Human, Object, Outcome, Participant, dicom, transaction_code};
use crate::id::{Code, PatientId, Tenant, Timestamp, TraceId, Transaction};

/// Which side of a transaction this system was.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// It asked or submitted.
    Client,
    /// It was asked, or received.
    Server,
}

/// One end of an exchange.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Party {
    /// The server's endpoint; the client's `wsa:ReplyTo`, or application and facility of HL7 v2 (`APP|FACILITY`);
    /// empty when unknown.
    pub user_id: SmolStr,
    /// Where it is.
    pub access_point: Option<AccessPoint>,
}

/// Who exchanged with whom, as far as every transaction's record is alike (ITI TF-2: 3.20.7).
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Which end records.
    pub side: Side,
    /// Who asked.
    pub client: Party,
    /// Who was asked.
    pub server: Party,
    /// People on whose behalf, the first being the one who asked.
    pub humans: Vec<Human>,
    /// When.
    pub at: Timestamp,
    /// The exchange.
    pub trace: TraceId,
    /// The message that started it.
    pub message_id: Option<SmolStr>,
    /// Whose data it is.
    pub tenant: Tenant,
}

/// Event and action for each side, and which way the data flows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Descriptor {
    /// What the client records.
    pub client: (EventId, Action),
    /// What the server records.
    pub server: (EventId, Action),
    /// The side the data comes from.
    pub source: Side,
}

const fn pushed(client: (EventId, Action), server: (EventId, Action)) -> Descriptor {
    Descriptor { client, server, source: Side::Client }
}

const fn both(event: EventId, action: Action) -> Descriptor {
    pushed((event, action), (event, action))
}

const QUERY: Descriptor = both(EventId::Query, Action::Execute);
const SUBMISSION: Descriptor = pushed((EventId::Export, Action::Read), (EventId::Import, Action::Create));
const UPDATE: Descriptor = pushed((EventId::Export, Action::Update), (EventId::Import, Action::Update));
const NOTIFICATION: Descriptor =
    pushed((EventId::PatientRecord, Action::Read), (EventId::PatientRecord, Action::Update));
const RETRIEVE: Descriptor = Descriptor {
    // The data flows from the server, so the server is the source.
    source: Side::Server,
    ..pushed((EventId::Import, Action::Create), (EventId::Export, Action::Read))
};

impl Descriptor {
    /// What a transaction asks for. A feed's action depends on what it says of the patient: `Event::feed` sets it.
    pub fn of(transaction: Transaction) -> Self {
        match transaction {
            Transaction::Iti8 | Transaction::Iti30 | Transaction::Iti44 | Transaction::Iti104 => {
                both(EventId::PatientRecord, Action::Create)
            }
            Transaction::Iti10 | Transaction::Iti46 | Transaction::Iti64 => NOTIFICATION,
            Transaction::Iti9
            | Transaction::Iti18
            | Transaction::Iti21
            | Transaction::Iti22
            | Transaction::Iti38
            | Transaction::Iti45
            | Transaction::Iti47
            | Transaction::Iti51
            | Transaction::Iti55
            | Transaction::Iti56
            | Transaction::Iti63
            | Transaction::Iti66
            | Transaction::Iti67
            | Transaction::Iti78
            | Transaction::Iti83
            | Transaction::Iti119 => QUERY,
            Transaction::Iti39 | Transaction::Iti43 | Transaction::Iti68 => RETRIEVE,
            Transaction::Iti41
            | Transaction::Iti42
            | Transaction::Iti61
            | Transaction::Iti65
            | Transaction::Iti80
            | Transaction::Iti105 => SUBMISSION,
            Transaction::Iti57 | Transaction::Iti92 => UPDATE,
            Transaction::Iti62 | Transaction::Iti86 => both(EventId::PatientRecord, Action::Delete),
            Transaction::Iti107 => both(EventId::ApplicationActivity, Action::Delete),
            Transaction::Iti20 | Transaction::Iti81 => both(EventId::AuditLogUsed, Action::Read),
        }
    }
}

impl Event {
    /// The record of a transaction, successful until told otherwise, without its objects.
    pub fn of(transaction: Transaction, exchange: Exchange) -> Self {
        let descriptor = Descriptor::of(transaction);
        let (id, action) = match exchange.side {
            Side::Client => descriptor.client,
            Side::Server => descriptor.server,
        };
        // DICOM PS3.15 A.5.2: one requestor; a person if one is known, else the system that started the exchange.
        let machine_asked = exchange.humans.is_empty();
        let machine = |side: Side, party: Party| {
            let participant = Participant {
                user_id: party.user_id,
                requestor: machine_asked && side == Side::Client,
                access_point: party.access_point,
                roles: vec![if side == descriptor.source { source_role() } else { destination_role() }],
                ..Participant::default()
            };
            // ITI TF-2: 3.20.7: the process id stands on the participant that is the recording system, on no other.
            if side == exchange.side { participant.recorder() } else { participant }
        };
        let client = machine(Side::Client, exchange.client);
        let server = machine(Side::Server, exchange.server);
        let (source, destination) = match descriptor.source {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let humans = exchange.humans.into_iter().enumerate().map(|(index, human)| {
            let mut participant = Participant::from(human);
            participant.requestor = index == 0;
            participant
        });
        let participants = std::iter::once(source).chain(humans).chain([destination]).collect();
        Self {
            id,
            action,
            outcome: Outcome::Success,
            reason: None,
            at: exchange.at,
            types: vec![transaction_code(transaction)],
            purposes: Vec::new(),
            participants,
            objects: Vec::new(),
            trace: exchange.trace,
            message_id: exchange.message_id,
            tenant: exchange.tenant,
            replay: None,
        }
    }

    /// A feed's or notification's record of one patient (ITI-8, 10, 30, 44, 46, 64, 104). The message id is a detail
    /// of the patient: `MSH-10` in HL7 v2, `II` in v3 (ITI TF-2: 3.8.5.1, 3.44.5.1).
    pub fn feed(transaction: Transaction, exchange: Exchange, action: Action, patient: Option<&PatientId>) -> Self {
        let v3 = matches!(transaction, Transaction::Iti44 | Transaction::Iti46);
        let v2 =
            matches!(transaction, Transaction::Iti8 | Transaction::Iti10 | Transaction::Iti30 | Transaction::Iti64);
        let message_id = exchange.message_id.clone().filter(|_| v2 || v3);
        let mut event = Self::of(transaction, exchange);
        event.action = action;
        if let Some(patient) = patient {
            let object = Object::patient(patient);
            event.objects.push(match message_id {
                Some(id) => object.detail(if v3 { "II" } else { "MSH-10" }, &id),
                None => object,
            });
        }
        event
    }

    /// A merge: the record that went away was deleted, the one that stays was updated (ITI TF-2: 3.8.5.1, A40;
    /// 3.44.5.1, 201304). Two records, because a record names one patient.
    pub fn merge(transaction: Transaction, exchange: Exchange, gone: &PatientId, stays: &PatientId) -> [Self; 2] {
        [
            Self::feed(transaction, exchange.clone(), Action::Delete, Some(gone)),
            Self::feed(transaction, exchange, Action::Update, Some(stays)),
        ]
    }
}

fn source_role() -> Code {
    dicom("110153", "Source Role ID")
}

fn destination_role() -> Code {
    dicom("110152", "Destination Role ID")
}
