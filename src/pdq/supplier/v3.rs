//! ITI-47 over SOAP, page by page.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use smol_str::{SmolStr, format_smolstr};

use super::{find, page, part};
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::gateway::Gateway;
use crate::hl7v3::datatype::Ii;
use crate::id::{Timestamp, TraceId, Transaction as Iti};
use crate::pdq::answer::{self, Answer, Match};
use crate::pdq::query_v3::{Continuation, Refusal, Request, Response, Step};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::v3::{self, Unread};
use crate::pipeline::{Call, Denied, Failure, Part, Received, Transaction};
use crate::routing::package::Attachments;

/// `wsa:Action` of ITI-47. ITI-55 has the same interaction and a longer action.
pub const QUERY_ACTION: &str = "urn:hl7-org:v3:PRPA_IN201305UV02";
/// `wsa:Action` for the next page.
pub const CONTINUE_ACTION: &str = "urn:hl7-org:v3:QUQI_IN000003UV01_Continue";
/// `wsa:Action` for no more pages.
pub const CANCEL_ACTION: &str = "urn:hl7-org:v3:QUQI_IN000003UV01_Cancel";
const QUERY_ACTION_RESPONSE: &str = "urn:hl7-org:v3:PRPA_IN201306UV02";
const CANCEL_ACTION_RESPONSE: &str = "urn:hl7-org:v3:MCCI_IN000002UV01";

/// ITI-47, as the supplier answers it.
pub struct QueryV3;

/// People found, of whom some were told.
struct Rest {
    request: Arc<Request>,
    matches: Vec<Match>,
    /// How many were told: where a continuation that says no number goes on.
    told: AtomicUsize,
}

impl Transaction for QueryV3 {
    type Wire = Soap;
    const ID: Iti = Iti::Iti47;
    type Request = Request;
    type Response = (Request, Answer);
    type Refusal = Unread<Refusal>;
    type Echo = v3::Answering;

    fn echo(gateway: &Gateway, received: &Received, _message: &soap::Message<'_>) -> v3::Answering {
        v3::Answering::of(gateway, received.trace)
    }

    fn decode(
        gateway: &Gateway,
        _caller: &Caller,
        message: &soap::Message<'_>,
    ) -> Result<Request, Failure<Self::Refusal>> {
        let body = message.envelope.body;
        Request::decode(body, &gateway.domains).map_err(|cause| {
            let v3::Answering { us, now, id, .. } = v3::Answering::of(gateway, TraceId::new());
            let answer = Response::refuse(body, &cause, id, now, us);
            Failure::Refused(Unread { cause, answer })
        })
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Request>>,
        _extras: Attachments,
    ) -> Result<Self::Response, Self::Refusal> {
        let request = call.permitted.request();
        let answer = first(&gateway, request, call.permitted.caller(), call.at).await;
        Ok((request.clone(), answer.unwrap_or_else(Answer::Refused)))
    }

    fn audit(request: &Request, outcome: &Result<Self::Response, Self::Refusal>) -> Vec<Part> {
        let query = Object::query(Iti::Iti47, None, request.query_by_parameter().into_bytes());
        vec![match outcome {
            Ok((_, answer)) => part(query, answer),
            Err(refusal) => Part::failure(vec![query], refusal),
        }]
    }

    fn encode(echo: v3::Answering, outcome: Result<Self::Response, Self::Refusal>, _trace: TraceId) -> soap::Answer {
        let v3::Answering { us, now, id, domains } = echo;
        let body = match outcome {
            Ok((request, answer)) => Response::new(&request, id, now, us, answer).encode(&domains),
            Err(unread) => unread.answer,
        };
        v3::answer(QUERY_ACTION_RESPONSE, body)
    }
}

async fn first(
    gateway: &Arc<Gateway>,
    request: &Request,
    caller: &Caller,
    now: Timestamp,
) -> Result<Answer, answer::Refusal> {
    let matches = find(gateway, &request.query, &request.wanted).await?;
    let page = page(&matches, 0, request.quantity);
    if page.remaining.is_some_and(|remaining| remaining > 0) {
        let told = AtomicUsize::new(page.matches.len());
        let name = name(&request.query_id);
        let rest = Rest { request: Arc::new(request.clone()), matches, told };
        gateway.continuations.keep(caller, (&name, &name), Arc::new(rest), now);
    }
    Ok(Answer::found(page))
}

/// A query is continued and cancelled by its id.
fn name(query: &Ii) -> SmolStr {
    format_smolstr!("{}^{}", query.root, query.extension)
}

/// The next page of ITI-47, or no more of them.
pub struct Continue;

/// What is answered to a continuation.
pub enum Continued {
    /// Another page, with the query if it is known.
    Page(Option<Arc<Request>>, Answer),
    /// Nothing more.
    Cancelled,
}

impl Transaction for Continue {
    type Wire = Soap;
    const ID: Iti = Iti::Iti47;
    type Request = Continuation;
    type Response = (Continuation, Continued);
    type Refusal = std::convert::Infallible;
    type Echo = v3::Answering;

    fn echo(gateway: &Gateway, received: &Received, _message: &soap::Message<'_>) -> v3::Answering {
        v3::Answering::of(gateway, received.trace)
    }

    fn decode(
        _gateway: &Gateway,
        _caller: &Caller,
        message: &soap::Message<'_>,
    ) -> Result<Continuation, Failure<Self::Refusal>> {
        let read = Continuation::decode(message.envelope.body);
        read.map_err(|error| Failure::Denied(Denied::Malformed(error.to_string())))
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Continuation>>,
        _extras: Attachments,
    ) -> Result<Self::Response, Self::Refusal> {
        let (request, caller) = (call.permitted.request(), call.permitted.caller());
        let name = name(&request.query_id);
        let continued = match request.step {
            Step::Cancel => {
                gateway.continuations.cancel(caller, &name, call.at);
                Continued::Cancelled
            }
            Step::Continue { start, quantity } => match gateway.continuations.find::<Rest>(caller, &name, call.at) {
                Some(rest) => {
                    let from = match start {
                        Some(start) => (start as usize).saturating_sub(1),
                        None => rest.told.load(Ordering::Relaxed),
                    };
                    let page = page(&rest.matches, from, quantity.or(rest.request.quantity));
                    rest.told.store(from + page.matches.len(), Ordering::Relaxed);
                    Continued::Page(Some(rest.request.clone()), Answer::found(page))
                }
                None => Continued::Page(None, Answer::Refused(answer::Refusal::UnknownContinuation)),
            },
        };
        Ok((request.clone(), continued))
    }

    fn audit(request: &Continuation, outcome: &Result<Self::Response, Self::Refusal>) -> Vec<Part> {
        let of = |query: &Option<Arc<Request>>| {
            let bytes = query.as_ref().map(|query| query.query_by_parameter().into_bytes()).unwrap_or_default();
            Object::query(Iti::Iti47, Some(&name(&request.query_id)), bytes)
        };
        vec![match outcome {
            Ok((_, Continued::Page(query, answer))) => part(of(query), answer),
            Ok((_, Continued::Cancelled)) => Part::success(vec![of(&None)]),
            Err(never) => match *never {},
        }]
    }

    fn encode(echo: v3::Answering, outcome: Result<Self::Response, Self::Refusal>, _trace: TraceId) -> soap::Answer {
        let v3::Answering { us, now, id, domains } = echo;
        match outcome {
            Ok((request, Continued::Page(query, answer))) => {
                let response = Response::page(&request, query.as_deref(), id, now, us, answer);
                v3::answer(QUERY_ACTION_RESPONSE, response.encode(&domains))
            }
            Ok((request, Continued::Cancelled)) => {
                v3::answer(CANCEL_ACTION_RESPONSE, request.acknowledge(id, now, us).encode())
            }
            Err(never) => match never {},
        }
    }
}
