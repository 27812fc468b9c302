//! The SOAP wire: envelopes with an assertion in, envelopes with a timestamp out, documents as a stream in both
//! directions.

use std::sync::Arc;

use smol_str::SmolStr;

use super::{Denied, Received, Replier, Wire};
use crate::atna::{AccessPoint, Exchange, Party, Side};
use crate::authenticate::{self, AuthenticationError, Caller};
use crate::gateway::Gateway;
use crate::routing::exchange::CallBody;
use crate::routing::package::{self, Attachments, Document};
use crate::soap::envelope::{self, Envelope};
use crate::soap::fault::{Fault, Subcode};
use crate::wssecurity;

/// SOAP 1.2 over HTTPS.
pub struct Soap;

/// A SOAP message as received.
pub struct Message<'m> {
    /// The envelope.
    pub envelope: Envelope<'m>,
    /// Whether it came as a multipart package.
    pub multipart: bool,
}

/// What an answer is made of.
pub struct Answer {
    /// `wsa:Action`.
    pub action: &'static str,
    /// Markup of headers besides addressing and security.
    pub headers: String,
    /// Markup of the body's only element.
    pub body: String,
    /// Whether the transaction answers in MTOM, even without documents.
    pub mtom: bool,
    /// The documents that the body refers to.
    pub documents: Vec<Document>,
}

/// An HTTP answer.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// The content.
    pub body: CallBody,
}

impl Wire for Soap {
    type Message<'m> = Message<'m>;
    type Extras = Attachments;
    type Answer = Answer;
    type Reply = Reply;

    fn authenticate(
        gateway: &Gateway,
        received: &Received,
        message: &Message<'_>,
    ) -> Result<Caller, AuthenticationError> {
        let peer = received.peer.as_deref().ok_or(AuthenticationError::NoCertificate)?;
        authenticate::soap(&gateway.checks(), peer, message.envelope.security, received.at)
    }

    fn exchange(gateway: &Gateway, received: &Received, message: &Message<'_>) -> Exchange {
        let addressing = &message.envelope.addressing;
        Exchange {
            side: Side::Server,
            client: Party {
                user_id: addressing.reply_to.as_deref().unwrap_or_default().into(),
                access_point: Some(received.address.ip().into()),
            },
            server: Party {
                user_id: received.endpoint.as_str().into(),
                access_point: Some(AccessPoint::of_host(host(&received.endpoint))),
            },
            humans: Vec::new(),
            at: received.at,
            trace: received.trace,
            message_id: addressing.message_id.as_deref().map(SmolStr::from),
            tenant: gateway.tenant.clone(),
        }
    }

    fn reply(
        gateway: &Arc<Gateway>,
        received: &Received,
        message: &Message<'_>,
        caller: Option<&Caller>,
    ) -> Replier<Self> {
        let addressing = message.envelope.addressing.clone();
        let confirmation = caller.and_then(|caller| caller.signature_confirmation().map(<[u8]>::to_vec));
        let (gateway, trace) = (gateway.clone(), received.trace);
        Box::new(move |outcome| {
            let security = wssecurity::response_header(gateway.clock.now(), RESPONSE_LIFETIME, confirmation.as_deref());
            match outcome {
                Ok(answer) => {
                    let text = envelope::write(
                        &addressing.response(answer.action),
                        &[security, answer.headers].concat(),
                        &answer.body,
                    );
                    let (content_type, body) = if answer.mtom {
                        package::compose(answer.action, text, answer.documents)
                    } else {
                        (package::PLAIN.to_owned(), CallBody::Bytes(text.into()))
                    };
                    Reply { status: 200, content_type, body }
                }
                Err(denied) => {
                    let mut fault = Fault::from(denied);
                    fault.reason = format!("{} (trace {trace})", fault.reason);
                    fault_reply(&fault, envelope::write_fault(Some(&addressing), &security, &fault))
                }
            }
        })
    }
}

/// How long an answer may be used.
const RESPONSE_LIFETIME: std::time::Duration = std::time::Duration::from_secs(300);

/// A fault in answer to a message that is no transaction of ours.
pub fn fault_reply(fault: &Fault, text: String) -> Reply {
    Reply { status: fault.http_status(), content_type: package::PLAIN.to_owned(), body: CallBody::Bytes(text.into()) }
}

/// The host of a URL, without port.
pub fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

impl From<Denied> for Fault {
    /// WS-Security 1.1, 12 for what concerns the token; a purpose that is not allowed fails authentication for this
    /// use, as the receiver sees it.
    fn from(denied: Denied) -> Self {
        let text = denied.to_string();
        match denied {
            Denied::Malformed(_) => Self::sender(text),
            Denied::Unauthenticated(error) => match error.subcode() {
                Some(subcode) => Self::sender(text).with(subcode),
                None => Self::receiver(text),
            },
            Denied::NotPermitted(_) => Self::sender(text).with(Subcode::FailedAuthentication),
            Denied::NotRecorded => Self::receiver(text),
        }
    }
}
