//! ITI-21 and ITI-22 over MLLP, page by page, and their cancellation.

use std::sync::Arc;

use smol_str::{SmolStr, format_smolstr};

use super::{find, page, part};
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::gateway::Gateway;
use crate::hl7v2::ack::{Ack, Answering};
use crate::hl7v2::{Header, Message};
use crate::id::{Domains, Timestamp, TraceId, Transaction as Iti};
use crate::pdq::answer::{self, Answer, Match};
use crate::pdq::query_v2::{self, Refusal, Request, Response};
use crate::pipeline::v2::{self, V2};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};

/// ITI-21, or with visits ITI-22, as the supplier answers it. No visits are kept: a query that tells nothing of them is
/// answered with people, one that does with nobody.
pub struct QueryV2<const VISITS: bool>;

/// What an answer repeats.
pub struct Echo {
    message: Message,
    us: Answering,
    domains: Domains,
}

/// People found, of whom some were told.
struct Rest {
    tag: SmolStr,
    matches: Vec<Match>,
    quantity: Option<u32>,
}

impl<const VISITS: bool> Transaction for QueryV2<VISITS> {
    type Wire = V2;
    const ID: Iti = if VISITS { Iti::Iti22 } else { Iti::Iti21 };
    type Request = Request;
    type Response = (Request, Answer);
    type Refusal = Refusal;
    type Echo = Echo;

    fn echo(gateway: &Gateway, received: &Received, message: &v2::Message) -> Echo {
        let mut us = v2::answering(gateway, received);
        // 3.21.4.2.2: MSH-3 of the answer is MSH-5 of the query, which names the source of information asked for.
        if !message.header.receiving_application.namespace.is_empty() {
            us.application = message.header.receiving_application.clone();
        }
        Echo { message: message.content.clone(), us, domains: gateway.domains.clone() }
    }

    fn decode(gateway: &Gateway, _caller: &Caller, message: &v2::Message) -> Result<Request, Failure<Refusal>> {
        Request::decode(&message.content, &gateway.domains).map_err(Failure::Refused)
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Request>>,
        _extras: (),
    ) -> Result<(Request, Answer), Refusal> {
        let request = call.permitted.request();
        let answer = answer(&gateway, request, call.permitted.caller(), call.at).await;
        Ok((request.clone(), answer.unwrap_or_else(Answer::Refused)))
    }

    fn audit(request: &Request, outcome: &Result<(Request, Answer), Refusal>) -> Vec<Part> {
        let query = Object::query(Self::ID, None, request.asked.echo.clone().into_bytes());
        let query = query.detail("MSH-10", &request.header.control_id);
        vec![match outcome {
            Ok((_, answer)) => part(query, answer),
            Err(refusal) => Part::failure(vec![query], refusal),
        }]
    }

    fn encode(echo: Echo, outcome: Result<(Request, Answer), Refusal>, _trace: TraceId) -> Vec<u8> {
        match outcome {
            Ok((request, answer)) => Response::new(&request, answer).encode(&request.header, &echo.us, &echo.domains),
            Err(refusal) => Response::refuse(&echo.message, &refusal, &echo.us),
        }
    }
}

/// A page. Its pointer names what was found and how many of it were told, so that a page that was lost can be asked for
/// again.
async fn answer(
    gateway: &Arc<Gateway>,
    request: &Request,
    caller: &Caller,
    now: Timestamp,
) -> Result<Answer, answer::Refusal> {
    let (pointer, rest, from) = match &request.continues {
        Some(told) => {
            let (pointer, from) = told.rsplit_once('-').ok_or(answer::Refusal::UnknownContinuation)?;
            let from: usize = from.parse().map_err(|_| answer::Refusal::UnknownContinuation)?;
            let rest = gateway.continuations.find::<Rest>(caller, pointer, now);
            // All pages of a query have its tag.
            let rest = rest.filter(|rest| rest.tag == request.asked.tag && from < rest.matches.len());
            (SmolStr::from(pointer), rest.ok_or(answer::Refusal::UnknownContinuation)?, from)
        }
        None => {
            let matches = find(gateway, &request.query, &request.wanted).await?;
            let rest = Rest { tag: request.asked.tag.clone(), matches, quantity: request.quantity };
            let rest = Arc::new(rest);
            let pointer = format_smolstr!("{}", uuid::Uuid::new_v4().simple());
            if request.quantity.is_some_and(|quantity| rest.matches.len() > quantity as usize) {
                gateway.continuations.keep(caller, (&rest.tag, &pointer), rest.clone(), now);
            }
            (pointer, rest, 0)
        }
    };
    let mut page = page(&rest.matches, from, request.quantity.or(rest.quantity));
    let told = from + page.matches.len();
    page.next = (told < rest.matches.len()).then(|| format_smolstr!("{pointer}-{told}"));
    Ok(Answer::found(page))
}

/// `QCN^J01`: the rest of an answer is not wanted.
pub struct Cancel;

impl Transaction for Cancel {
    type Wire = V2;
    const ID: Iti = Iti::Iti21;
    type Request = query_v2::Cancel;
    type Response = ();
    type Refusal = Refusal;
    type Echo = (Header, Answering);

    fn echo(gateway: &Gateway, received: &Received, message: &v2::Message) -> (Header, Answering) {
        (message.header.clone(), v2::answering(gateway, received))
    }

    fn decode(
        _gateway: &Gateway,
        _caller: &Caller,
        message: &v2::Message,
    ) -> Result<query_v2::Cancel, Failure<Refusal>> {
        query_v2::Cancel::decode(&message.content).map_err(Failure::Refused)
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<query_v2::Cancel>>, _extras: ()) -> Result<(), Refusal> {
        let tag = &call.permitted.request().tag;
        gateway.continuations.cancel(call.permitted.caller(), tag, call.at);
        Ok(())
    }

    fn audit(request: &query_v2::Cancel, outcome: &Result<(), Refusal>) -> Vec<Part> {
        let query = Object::query(Iti::Iti21, Some(&request.tag), Vec::new());
        let query = query.detail("MSH-10", &request.header.control_id);
        vec![match outcome {
            Ok(()) => Part::success(vec![query]),
            Err(refusal) => Part::failure(vec![query], refusal),
        }]
    }

    fn encode((header, us): (Header, Answering), outcome: Result<(), Refusal>, _trace: TraceId) -> Vec<u8> {
        let ack = match outcome {
            Ok(()) => Ack::accept(),
            Err(refusal) => refusal.ack().0,
        };
        ack.encode(&header, &us)
    }
}
