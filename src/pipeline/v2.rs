//! The HL7 v2 wire: messages over MLLP, answered with acknowledgements.

use std::sync::Arc;

use smol_str::{SmolStr, format_smolstr};

use super::{Denied, Received, Replier, Wire};
use crate::atna::{AccessPoint, Exchange, Party, Side};
use crate::authenticate::{self, AuthenticationError, Caller};
use crate::gateway::Gateway;
use crate::hl7v2::ack::{Ack, AckCode, Answering, Condition, Fault};
use crate::hl7v2::{Hd, Header};

/// HL7 v2 over MLLP.
pub struct V2;

/// A message as received.
pub struct Message {
    /// Its header.
    pub header: Header,
    /// All of it.
    pub content: crate::hl7v2::Message,
}

impl Wire for V2 {
    type Message<'m> = Message;
    type Extras = ();
    /// The answer's bytes, without frame.
    type Answer = Vec<u8>;
    type Reply = Vec<u8>;

    fn authenticate(gateway: &Gateway, received: &Received, message: &Message) -> Result<Caller, AuthenticationError> {
        let names = names(&message.header);
        let found =
            authenticate::source(&gateway.sources, (&names.0, &names.1), received.address, received.peer.as_deref());
        found.map(|(_, caller)| caller)
    }

    fn exchange(gateway: &Gateway, received: &Received, message: &Message) -> Exchange {
        let header = &message.header;
        let party =
            |application: &Hd, facility: &Hd| format_smolstr!("{}|{}", facility.namespace, application.namespace);
        Exchange {
            side: Side::Server,
            client: Party {
                user_id: party(&header.sending_application, &header.sending_facility),
                access_point: Some(received.address.ip().into()),
            },
            server: Party {
                user_id: party(&header.receiving_application, &header.receiving_facility),
                access_point: Some(AccessPoint::of_host(&received.endpoint)),
            },
            humans: Vec::new(),
            at: received.at,
            trace: received.trace,
            message_id: Some(header.control_id.clone()),
            tenant: gateway.tenant.clone(),
        }
    }

    fn reply(
        gateway: &Arc<Gateway>,
        received: &Received,
        message: &Message,
        _caller: Option<&Caller>,
    ) -> Replier<Self> {
        let (header, us) = (message.header.clone(), answering(gateway, received));
        Box::new(move |outcome| match outcome {
            Ok(answer) => answer,
            Err(denied) => {
                let fault = Fault { condition: condition(&denied), location: None, text: denied.to_string() };
                // Whoever may not feed must not send it again unchanged; what could not be recorded may come again.
                Ack::refuse(AckCode::Reject, fault).encode(&header, &us)
            }
        })
    }
}

/// What we say of ourselves in answers to this message.
pub fn answering(gateway: &Gateway, received: &Received) -> Answering {
    Answering {
        application: Hd::named("CAUSEWAY"),
        facility: Hd::named(&gateway.community.name),
        now: gateway.clock.now(),
        // Twenty characters at most: the random part of the trace.
        control_id: received.trace.to_string()[12..].into(),
    }
}

/// MSH-3 and MSH-4, by name.
pub fn names(header: &Header) -> (SmolStr, SmolStr) {
    (header.sending_application.namespace.clone(), header.sending_facility.namespace.clone())
}

fn condition(denied: &Denied) -> Condition {
    match denied {
        Denied::Malformed(_) => Condition::DataType,
        Denied::Unauthenticated(_) | Denied::NotPermitted(_) | Denied::NotRecorded => Condition::Internal,
    }
}
