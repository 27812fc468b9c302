//! Tells PIX Consumers of changes of the cross-reference: ITI-10 over MLLP, ITI-46 over SOAP (ITI TF-2: 3.10, 3.46).
//! What is told was decided with the change (`storage::identities`); here it becomes a message, the same one at every
//! attempt, so that a consumer knows a copy by its id.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use smol_str::{SmolStr, format_smolstr};

use super::notify_v2::{self, Refusal};
use super::notify_v3;
use crate::atna::{AccessPoint, Action, Event, Exchange, Outcome, Party, Side};
use crate::ebxml::ErrorCode;
use crate::gateway::{Gateway, Subscriber, Wire};
use crate::hl7v2::{self, Ack, AckCode, Hd, Header};
use crate::hl7v3::datatype::Ii;
use crate::hl7v3::wrapper::{Device, Wrapper};
use crate::id::{ExchangePurpose, PatientId, Transaction as Iti};
use crate::pipeline::delivery::Verdict;
use crate::pipeline::outgoing::Errands;
use crate::routing::call::Letter;
use crate::routing::exchange::ExchangeError;
use crate::routing::messenger::Address;
use crate::storage::deliveries::Delivery;
use crate::storage::identities::{Interest, Notice, destination};

/// `wsa:Action` of ITI-46.
pub const NOTIFY_ACTION: &str = "urn:hl7-org:v3:PRPA_IN201302UV02";

/// Tells one subscriber.
pub fn carry(gateway: Arc<Gateway>, delivery: Arc<Delivery>, body: Vec<u8>) -> BoxFuture<'static, Verdict> {
    Box::pin(async move {
        let Some(subscriber) = subscriber(&gateway, &delivery.to) else {
            return Verdict::refused(&ErrorCode::UnknownRecipient, "no subscriber of that name is configured any more");
        };
        let Ok(Notice { ids }) = serde_json::from_slice::<Notice>(&body) else {
            return Verdict::refused(&ErrorCode::XdsRegistryError, "what was to be told cannot be read");
        };
        match &subscriber.wire {
            Wire::V2 { address, application, facility } => {
                let names = (application, facility);
                let (verdict, server) =
                    (tell_v2(&gateway, &delivery, &ids, address, names).await, party(address, names));
                record_v2(&gateway, &delivery, &ids, server, &verdict).await.unwrap_or(verdict)
            }
            Wire::V3 { partner, user, purpose } => tell_v3(&gateway, &delivery, ids, partner, (user, purpose)).await,
        }
    })
}

fn subscriber<'g>(gateway: &'g Gateway, to: &str) -> Option<&'g Subscriber> {
    gateway.subscribers.iter().find(|subscriber| destination(&subscriber.name) == to)
}

/// What a notice that is sent again long after has to say: the set as it is now. None if it has no patient any more.
pub fn renewed(gateway: &Gateway, delivery: &Delivery, body: &[u8]) -> Option<Vec<u8>> {
    let subscriber = subscriber(gateway, &delivery.to)?;
    let interest = Interest { name: subscriber.name.clone(), authorities: subscriber.authorities.clone() };
    let notice = serde_json::from_slice(body).ok()?;
    let notice = gateway.identities.renewed(&gateway.tenant, &interest, &notice).ok()??;
    serde_json::to_vec(&notice).ok()
}

/// MSH-10 has room for twenty characters; eighty bits of a random id.
fn control_id(delivery: &Delivery) -> SmolStr {
    delivery.id.get(..20).unwrap_or(&delivery.id).into()
}

async fn tell_v2(
    gateway: &Gateway,
    delivery: &Delivery,
    ids: &[PatientId],
    address: &Address,
    (application, facility): (&SmolStr, &SmolStr),
) -> Verdict {
    let control_id = control_id(delivery);
    let header = Header {
        sending_application: Hd::named("CAUSEWAY"),
        sending_facility: Hd::named(&gateway.community.name),
        receiving_application: Hd::named(application),
        receiving_facility: Hd::named(facility),
        sent: delivery.at.to_dtm().into(),
        control_id: control_id.clone(),
        processing_id: "P".into(),
        version: "2.5".into(),
        ..Header::default()
    };
    let message = notify_v2::Update { header, ids: ids.to_vec() }.encode(&gateway.domains);
    let parse = |bytes: &[u8]| hl7v2::Message::parse(bytes, &hl7v2::Limits::default());
    let answers = |bytes: &[u8]| {
        // What cannot be told to be the answer to another message is taken for the answer to this one.
        let told = parse(bytes).ok().and_then(|message| Ack::read(&message));
        told.is_none_or(|(answered, ..)| answered.trim() == control_id)
    };
    let answer = match gateway.messenger.ask(address, &message, &answers).await {
        Ok(answer) => answer,
        Err(error) => return unanswered(&error),
    };
    let read = parse(&answer).map_err(|_| Refusal::NotAnAcknowledgement);
    match read.and_then(|answer| notify_v2::read_acknowledgement(&answer, &control_id)) {
        Ok(()) => Verdict::delivered(),
        // A.2: AE has to be corrected before it is sent again; AR may come again unchanged.
        Err(Refusal::NotAccepted { code: AckCode::Error, .. }) => {
            Verdict::refused(&ErrorCode::XdsRegistryError, "the consumer answered that the message is in error (AE)")
        }
        Err(error @ Refusal::NotAccepted { .. }) => Verdict::later(error),
        Err(error @ (Refusal::Header(_) | Refusal::NoIdentifier(_) | Refusal::NotAnAcknowledgement)) => {
            Verdict::later(error)
        }
        Err(error @ Refusal::OtherMessage) => Verdict::later(error),
    }
}

fn unanswered(error: &ExchangeError) -> Verdict {
    match error {
        ExchangeError::Truncated | ExchangeError::TooLarge { .. } => Verdict::later(error),
        ExchangeError::NotHttps
        | ExchangeError::Network(_)
        | ExchangeError::NameNotResolved
        | ExchangeError::Unreachable(_)
        | ExchangeError::TlsRefused(_)
        | ExchangeError::TimedOut(_)
        | ExchangeError::Reset
        | ExchangeError::Http(_)
        | ExchangeError::Empty
        | ExchangeError::NotHttp
        | ExchangeError::Source => Verdict::away(error),
    }
}

fn party(address: &Address, (application, facility): (&SmolStr, &SmolStr)) -> Party {
    Party {
        user_id: format_smolstr!("{facility}|{application}"),
        access_point: Some(AccessPoint::of_host(&address.host)),
    }
}

/// Records an attempt (ITI TF-2: 3.10.5.1). A notification that cannot be recorded is sent, and recorded, again.
async fn record_v2(
    gateway: &Gateway,
    delivery: &Delivery,
    ids: &[PatientId],
    server: Party,
    verdict: &Verdict,
) -> Option<Verdict> {
    let host = crate::pipeline::soap::host(&gateway.community.public_url);
    let exchange = Exchange {
        side: Side::Client,
        client: Party {
            user_id: format_smolstr!("{}|CAUSEWAY", gateway.community.name),
            access_point: Some(AccessPoint::of_host(host)),
        },
        server,
        humans: Vec::new(),
        at: gateway.clock.now(),
        trace: delivery.trace,
        message_id: Some(control_id(delivery)),
        tenant: gateway.tenant.clone(),
    };
    let event = Event::feed(Iti::Iti10, exchange, Action::Read, ids.first());
    not_recorded(gateway, outcome_of(event, verdict)).await
}

fn outcome_of(event: Event, verdict: &Verdict) -> Event {
    match verdict {
        Verdict::Delivered { .. } => event,
        Verdict::Refused { reason, .. } | Verdict::Later { reason, .. } | Verdict::Untried { reason, .. } => {
            event.outcome(Outcome::SeriousFailure, reason.clone())
        }
    }
}

async fn not_recorded(gateway: &Gateway, event: Event) -> Option<Verdict> {
    let error = gateway.audit.record(event).await.err()?;
    tracing::error!(%error, "a notification could not be recorded");
    Some(Verdict::later("the notification could not be recorded"))
}

async fn tell_v3(
    gateway: &Arc<Gateway>,
    delivery: &Delivery,
    ids: Vec<PatientId>,
    partner: &str,
    (user, purpose): (&SmolStr, &ExchangePurpose),
) -> Verdict {
    let Some(partner) = gateway.directory.snapshot().named(partner).cloned() else {
        return Verdict::away(format!("{partner} is not in the directory"));
    };
    let errands = Errands {
        user: user.clone(),
        role: gateway.default_role.clone(),
        purpose: purpose.clone(),
        deadline: partner.timeout(Iti::Iti46),
        trace: delivery.trace,
    };
    let (url, errand) = match errands.prepare(gateway, Iti::Iti46, &partner) {
        Ok(prepared) => prepared,
        Err(reason) => return Verdict::away(reason),
    };
    let home = &gateway.community.home;
    let id = Ii::new(home.oid().as_str(), &delivery.id);
    let wrapper = Wrapper::new(id.clone(), delivery.at, Device::gateway(home), Device::gateway(&partner.home));
    let patient = ids.first().cloned();
    let update = notify_v3::Update { wrapper, custodian: Ii::root(home.oid().as_str()), ids };
    let letter = Letter {
        transaction: Iti::Iti46,
        action: NOTIFY_ACTION,
        body: update.encode(&gateway.domains),
        headers: String::new(),
        mtom: false,
        documents: Vec::new(),
        patient: None,
    };
    let read = |body: crate::xml::Element<'_>| Ok(update.read_acknowledgement(body));
    let verdict = match gateway.outgoing.send(&partner, &url, letter, &errand, read).await {
        Ok((Ok(()), _)) => Verdict::delivered(),
        Ok((Err(notify_v3::NotAccepted::Refused(_)), _)) => {
            Verdict::refused(&ErrorCode::XdsRegistryError, "the consumer did not accept the notification")
        }
        Ok((Err(error @ (notify_v3::NotAccepted::Unreadable(_) | notify_v3::NotAccepted::OtherMessage)), _)) => {
            Verdict::later(error)
        }
        Err(error) => Verdict::of_call(&error),
    };
    if matches!(verdict, Verdict::Untried { .. }) {
        return verdict;
    }
    let exchange = errands.exchange(gateway, Iti::Iti46, &partner);
    let message_id = Some(format_smolstr!("{}^{}", id.root, id.extension));
    let mut event = Event::feed(Iti::Iti46, Exchange { message_id, ..exchange }, Action::Read, patient.as_ref());
    event.purposes = vec![errand.purpose.to_code()];
    not_recorded(gateway, outcome_of(event, &verdict)).await.unwrap_or(verdict)
}
