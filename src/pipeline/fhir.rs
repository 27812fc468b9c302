//! The FHIR wire: resources and forms over HTTPS, in JSON or XML as the caller likes it.
//!
//! The caller is proved by the certificate of the connection (`authenticate::client`); a request may state its purpose in
//! `X-Purpose-Of-Use`. Refusals of every kind are OperationOutcomes with the name of the exchange.

pub mod format;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use smol_str::SmolStr;

use super::soap::host;
use super::{Denied, Received, Replier, Wire};
use crate::atna::{AccessPoint, Exchange, Party, Side};
use crate::authenticate::{self, AuthenticationError, Caller};
use crate::fhir::outcome::Refusal;
use crate::fhir::search::Handling;
use crate::gateway::Gateway;
use crate::id::TraceId;
use crate::routing::exchange::CallBody;

pub use format::Format;

/// FHIR R4 over HTTPS.
pub struct Fhir;

/// A request as received.
pub struct Message {
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub method: SmolStr,
    /// The path below the base, percent signs resolved: `Patient/$ihe-pix`.
    pub path: String,
    /// The query of the URL, as it came.
    pub query: String,
    /// The body.
    pub body: Content,
    /// Documents that were in the body, which has their numbers instead of them.
    pub documents: Vec<Bytes>,
    /// What the headers say.
    pub headers: Headers,
    /// What the answer is to be written in.
    pub format: Format,
}

/// The body of a request.
#[derive(Default)]
pub enum Content {
    /// None.
    #[default]
    Nothing,
    /// A form, as it came.
    Form(String),
    /// A resource, whatever the format it came in.
    Resource(Value),
}

/// The headers that mean something here. Each is empty or none if it was not sent.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// `Accept`
    pub accept: Option<String>,
    /// `If-None-Exist`, the condition of a creation.
    pub if_none_exist: Option<String>,
    /// `Prefer`
    pub prefer: String,
    /// `X-Purpose-Of-Use`: why this request is made.
    pub purpose: Option<String>,
    /// `X-Request-Id`, for audit records.
    pub request_id: Option<SmolStr>,
}

impl Headers {
    /// What is to become of parameters that are not known.
    pub fn handling(&self) -> Handling {
        Handling::from_prefer(&self.prefer)
    }

    /// Whether the answer to a change is to have the resource in it.
    pub fn wants_representation(&self) -> bool {
        self.prefer.split([',', ';']).any(|one| one.trim().eq_ignore_ascii_case("return=representation"))
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Path, query and body name patients.
        write!(f, "Message({})", self.method)
    }
}

impl Message {
    /// The form in the body, if it has one.
    pub fn form(&self) -> Option<&str> {
        match &self.body {
            Content::Form(form) => Some(form),
            Content::Nothing | Content::Resource(_) => None,
        }
    }

    /// The resource in the body, if it has one.
    pub fn resource(&self) -> Option<&Value> {
        match &self.body {
            Content::Resource(resource) => Some(resource),
            Content::Nothing | Content::Form(_) => None,
        }
    }

    /// The request for an audit record: its line, and what its body asks for.
    pub fn asked(&self) -> Vec<u8> {
        let mark = if self.query.is_empty() { "" } else { "?" };
        let mut text = format!("{} {}{mark}{}", self.method, self.path, self.query);
        match &self.body {
            Content::Nothing => {}
            Content::Form(form) => text.extend(["\n", form]),
            Content::Resource(resource) => text.extend(["\n", &resource.to_string()]),
        }
        text.into_bytes()
    }
}

/// What an answer is made of.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers besides those about the body (`Location`, `ETag`, `Last-Modified`).
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: AnswerBody,
}

/// The body of an answer.
pub enum AnswerBody {
    /// None.
    Nothing,
    /// A resource, in the format that the caller likes.
    Resource(Value),
    /// Bytes as they are (ITI-68).
    Bytes {
        /// Their media type.
        content_type: String,
        /// They themselves.
        content: CallBody,
    },
}

impl Answer {
    /// A resource.
    pub fn resource(status: u16, resource: Value) -> Self {
        Self { status, headers: Vec::new(), body: AnswerBody::Resource(resource) }
    }

    /// Nothing but a status.
    pub fn nothing(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: AnswerBody::Nothing }
    }

    /// A refusal, with the name of the exchange.
    pub fn refused(refusal: &Refusal, trace: TraceId) -> Self {
        let answer = Self::resource(refusal.status(), refusal.body(trace));
        match refusal {
            Refusal::Method(allowed) => answer.with("Allow", (*allowed).to_owned()),
            Refusal::Throttled | Refusal::Unavailable => answer.with("Retry-After", "1".to_owned()),
            _ => answer,
        }
    }

    /// With a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// An HTTP answer.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: CallBody,
}

impl Wire for Fhir {
    type Message<'m> = Message;
    type Extras = ();
    type Answer = Answer;
    type Reply = Reply;

    fn authenticate(gateway: &Gateway, received: &Received, message: &Message) -> Result<Caller, AuthenticationError> {
        authenticate::client(&gateway.clients, received.peer.as_deref(), message.headers.purpose.as_deref())
    }

    fn exchange(gateway: &Gateway, received: &Received, message: &Message) -> Exchange {
        exchange(gateway, received, message.headers.request_id.clone())
    }

    fn reply(
        _gateway: &Arc<Gateway>,
        received: &Received,
        message: &Message,
        _caller: Option<&Caller>,
    ) -> Replier<Self> {
        let (format, trace) = (message.format, received.trace);
        Box::new(move |outcome| {
            let answer = outcome.unwrap_or_else(|denied| Answer::refused(&Refusal::from(denied), trace));
            format.reply(answer, trace)
        })
    }
}

/// What the audit record says of the two ends.
pub fn exchange(gateway: &Gateway, received: &Received, request_id: Option<SmolStr>) -> Exchange {
    Exchange {
        side: Side::Server,
        client: Party {
            user_id: received.peer.as_ref().map(|peer| peer.subject().into()).unwrap_or_default(),
            access_point: Some(received.address.ip().into()),
        },
        server: Party {
            user_id: received.endpoint.as_str().into(),
            access_point: Some(AccessPoint::of_host(host(&received.endpoint))),
        },
        humans: Vec::new(),
        at: received.at,
        trace: received.trace,
        message_id: request_id,
        tenant: gateway.tenant.clone(),
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let text = denied.to_string();
        match denied {
            Denied::Malformed(text) => Self::Unreadable(text),
            Denied::Unauthenticated(AuthenticationError::NoCertificate) => Self::Unauthenticated,
            Denied::Unauthenticated(AuthenticationError::Overloaded) => Self::Throttled,
            // A certificate was proved; that it leads to nobody who may ask is no matter of a login (RFC 9110, 15.5.4).
            Denied::Unauthenticated(_) | Denied::NotPermitted(_) => Self::Forbidden(text),
            Denied::NotRecorded => Self::Unavailable,
        }
    }
}
