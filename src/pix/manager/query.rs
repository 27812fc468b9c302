//! The cross-reference queries: ITI-9 over MLLP, ITI-45 over SOAP.

use std::sync::Arc;

use super::answer;
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::gateway::Gateway;
use crate::hl7v2::Message;
use crate::hl7v2::ack::Answering;
use crate::id::{Domains, TraceId, Transaction as Iti};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::v2::{self, V2};
use crate::pipeline::v3::{self, Unread};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::pix::question::Answer;
use crate::pix::{query_v2, query_v3};
use crate::routing::package::Attachments;

/// `wsa:Action` of ITI-45.
pub const QUERY_ACTION: &str = "urn:hl7-org:v3:PRPA_IN201309UV02";
const QUERY_ACTION_RESPONSE: &str = "urn:hl7-org:v3:PRPA_IN201310UV02";

/// ITI-9, as the manager answers it.
pub struct QueryV2;

/// What an answer repeats.
pub struct EchoV2 {
    message: Message,
    us: Answering,
    domains: Domains,
}

impl Transaction for QueryV2 {
    type Wire = V2;
    const ID: Iti = Iti::Iti9;
    type Request = query_v2::Request;
    type Response = (query_v2::Request, Answer);
    type Refusal = query_v2::Refusal;
    type Echo = EchoV2;

    fn echo(gateway: &Gateway, received: &Received, message: &v2::Message) -> EchoV2 {
        let us = v2::answering(gateway, received);
        EchoV2 { message: message.content.clone(), us, domains: gateway.domains.clone() }
    }

    fn decode(
        gateway: &Gateway,
        _caller: &Caller,
        message: &v2::Message,
    ) -> Result<query_v2::Request, Failure<query_v2::Refusal>> {
        query_v2::Request::decode(&message.content, &gateway.domains).map_err(Failure::Refused)
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<query_v2::Request>>,
        _extras: (),
    ) -> Result<(query_v2::Request, Answer), query_v2::Refusal> {
        let request = call.permitted.request();
        Ok((request.clone(), answer(&gateway, &request.question)))
    }

    fn audit(
        request: &query_v2::Request,
        outcome: &Result<(query_v2::Request, Answer), query_v2::Refusal>,
    ) -> Vec<Part> {
        let query = Object::query(Iti::Iti9, None, request.asked.echo.clone().into_bytes());
        let query = query.detail("MSH-10", &request.header.control_id);
        vec![match outcome {
            Ok((_, answer)) => part(query, answer),
            Err(refusal) => Part::failure(vec![query], refusal),
        }]
    }

    fn encode(
        echo: EchoV2,
        outcome: Result<(query_v2::Request, Answer), query_v2::Refusal>,
        _trace: TraceId,
    ) -> Vec<u8> {
        match outcome {
            Ok((request, answer)) => {
                query_v2::Response::new(&request, answer).encode(&request.header, &echo.us, &echo.domains)
            }
            Err(refusal) => query_v2::Response::refuse(&echo.message, &refusal, &echo.us),
        }
    }
}

/// ITI-45, as the manager answers it.
pub struct QueryV3;

impl Transaction for QueryV3 {
    type Wire = Soap;
    const ID: Iti = Iti::Iti45;
    type Request = query_v3::Request;
    type Response = (query_v3::Request, Answer);
    type Refusal = Unread<query_v3::Refusal>;
    type Echo = v3::Answering;

    fn echo(gateway: &Gateway, received: &Received, _message: &soap::Message<'_>) -> v3::Answering {
        v3::Answering::of(gateway, received.trace)
    }

    fn decode(
        gateway: &Gateway,
        _caller: &Caller,
        message: &soap::Message<'_>,
    ) -> Result<query_v3::Request, Failure<Self::Refusal>> {
        let body = message.envelope.body;
        query_v3::Request::decode(body, &gateway.domains).map_err(|cause| {
            let v3::Answering { us, now, id, .. } = v3::Answering::of(gateway, TraceId::new());
            let answer = query_v3::Response::refuse(body, &cause, id, now, us);
            Failure::Refused(Unread { cause, answer })
        })
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<query_v3::Request>>,
        _extras: Attachments,
    ) -> Result<Self::Response, Self::Refusal> {
        let request = call.permitted.request();
        Ok((request.clone(), answer(&gateway, &request.question)))
    }

    fn audit(request: &query_v3::Request, outcome: &Result<Self::Response, Self::Refusal>) -> Vec<Part> {
        let query = Object::query(Iti::Iti45, None, request.query().into_bytes());
        vec![match outcome {
            Ok((_, answer)) => part(query, answer),
            Err(refusal) => Part::failure(vec![query], refusal),
        }]
    }

    fn encode(echo: v3::Answering, outcome: Result<Self::Response, Self::Refusal>, _trace: TraceId) -> soap::Answer {
        let v3::Answering { us, now, id, domains } = echo;
        let body = match outcome {
            Ok((request, answer)) => query_v3::Response::new(&request, id, now, us, answer).encode(&domains),
            Err(unread) => unread.answer,
        };
        v3::answer(QUERY_ACTION_RESPONSE, body)
    }
}

/// The audit record of a query: the patients that were told of, and the query (ITI TF-2: 3.9.5.1, 3.45.5.1).
fn part(query: Object, answer: &Answer) -> Part {
    match answer {
        Answer::Found(ids) => Part::success(ids.iter().map(Object::patient).chain([query]).collect()),
        Answer::NothingFound => Part::success(vec![query]),
        Answer::Refused(refusal) => Part::failure(vec![query], refusal),
    }
}
