//! The identity feeds: ITI-8 and ITI-30 over MLLP, ITI-44 over SOAP.

use std::sync::Arc;

use super::apply;
use crate::atna::{Action, Object};
use crate::authenticate::{Caller, CallerKind, FeedSource};
use crate::directory::NetworkKind;
use crate::gateway::Gateway;
use crate::hl7v2::Header;
use crate::hl7v2::ack::{Ack, Answering};
use crate::id::{AssigningAuthority, PatientId, TraceId, Transaction as Iti};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::v2::{self, V2};
use crate::pipeline::v3::{self, Unread};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::pix::feed_v2::{FeedRequest, Refusal, Request, Rules};
use crate::pix::feed_v3;
use crate::routing::package::Attachments;
use crate::storage::identities::MergeRules;

/// `wsa:Action` of ITI-44: a new person, a change, a merge.
pub const FEED_ACTIONS: [&str; 3] =
    ["urn:hl7-org:v3:PRPA_IN201301UV02", "urn:hl7-org:v3:PRPA_IN201302UV02", "urn:hl7-org:v3:PRPA_IN201304UV02"];
const FEED_ACTION_RESPONSE: &str = "urn:hl7-org:v3:MCCI_IN000002UV01";

/// ITI-8 and, if so told, ITI-30, as the manager answers them. They differ in their name, and in what a merge does about
/// identifiers that nobody has.
pub struct FeedV2<const MANAGEMENT: bool>;

/// What was asked, and of which domains the source may speak.
pub struct Fed {
    request: Request,
    authorities: Vec<AssigningAuthority>,
}

/// What an acknowledgement repeats.
pub struct Echo {
    header: Header,
    us: Answering,
}

impl<const MANAGEMENT: bool> Transaction for FeedV2<MANAGEMENT> {
    type Wire = V2;
    const ID: Iti = if MANAGEMENT { Iti::Iti30 } else { Iti::Iti8 };
    type Request = Fed;
    type Response = ();
    type Refusal = Refusal;
    type Echo = Echo;

    fn echo(gateway: &Gateway, received: &Received, message: &v2::Message) -> Echo {
        Echo { header: message.header.clone(), us: v2::answering(gateway, received) }
    }

    fn decode(gateway: &Gateway, caller: &Caller, message: &v2::Message) -> Result<Fed, Failure<Refusal>> {
        let source = source_of(gateway, caller);
        let rules =
            Rules { default_authority: source.and_then(|source| source.default_authority.clone()), ..Rules::default() };
        let request = Request::decode(&message.content, &gateway.domains, &rules).map_err(Failure::Refused)?;
        Ok(Fed { request, authorities: source.map(|source| source.authorities.clone()).unwrap_or_default() })
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Fed>>, _extras: ()) -> Result<(), Refusal> {
        let Fed { request, authorities } = call.permitted.request();
        let rules = if MANAGEMENT { MergeRules::Lenient } else { MergeRules::BothKnown };
        apply(&gateway, &request.change, authorities, rules, call.at).await
    }

    fn audit(fed: &Fed, outcome: &Result<(), Refusal>) -> Vec<Part> {
        let done = outcome.as_ref().copied().map_err(|refusal| refusal as &dyn std::error::Error);
        parts(&fed.request.change, ("MSH-10", &fed.request.header.control_id), done)
    }

    fn encode(echo: Echo, outcome: Result<(), Refusal>, trace: TraceId) -> Vec<u8> {
        let ack = match outcome {
            Ok(()) => Ack::accept(),
            Err(refusal) => {
                let (code, mut fault) = refusal.fault();
                fault.text = format!("{} (trace {trace})", fault.text);
                Ack::refuse(code, fault)
            }
        };
        ack.encode(&echo.header, &echo.us)
    }
}

/// The source that authentication found.
fn source_of<'g>(gateway: &'g Gateway, caller: &Caller) -> Option<&'g FeedSource> {
    match caller.kind() {
        CallerKind::Source { name } => gateway.sources.iter().find(|source| source.name == *name),
        CallerKind::Partner(_) | CallerKind::Client(_) => None,
    }
}

/// ITI-44, as the manager answers it. A feed by SOAP comes from one of our own systems, for the domains that its
/// directory entry has.
pub struct FeedV3;

/// What was asked, and of which domains the source may speak.
pub struct FedV3 {
    request: feed_v3::Request,
    authorities: Vec<AssigningAuthority>,
}

impl Transaction for FeedV3 {
    type Wire = Soap;
    const ID: Iti = Iti::Iti44;
    type Request = FedV3;
    /// The request, and whether it was done.
    type Response = (feed_v3::Request, Result<(), feed_v3::Refusal>);
    type Refusal = Unread<feed_v3::Refusal>;
    type Echo = v3::Answering;

    fn echo(gateway: &Gateway, received: &Received, _message: &soap::Message<'_>) -> v3::Answering {
        v3::Answering::of(gateway, received.trace)
    }

    fn decode(
        gateway: &Gateway,
        caller: &Caller,
        message: &soap::Message<'_>,
    ) -> Result<FedV3, Failure<Self::Refusal>> {
        let body = message.envelope.body;
        let request = feed_v3::Request::decode(body, &gateway.domains).map_err(|cause| {
            let v3::Answering { us, now, id, .. } = v3::Answering::of(gateway, TraceId::new());
            let answer = feed_v3::refuse(body, &cause, id, now, us).encode();
            Failure::Refused(Unread { cause, answer })
        })?;
        let own = caller.partner().filter(|partner| partner.kind == NetworkKind::Local);
        Ok(FedV3 { request, authorities: own.map(|partner| partner.authorities.clone()).unwrap_or_default() })
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<FedV3>>,
        _extras: Attachments,
    ) -> Result<Self::Response, Self::Refusal> {
        let FedV3 { request, authorities } = call.permitted.request();
        let done = apply(&gateway, &request.change, authorities, MergeRules::BothKnown, call.at).await;
        Ok((request.clone(), done.map_err(feed_v3::Refusal::from)))
    }

    fn audit(fed: &FedV3, outcome: &Result<Self::Response, Self::Refusal>) -> Vec<Part> {
        let id = &fed.request.wrapper.id;
        let id = if id.extension.is_empty() { id.root.to_string() } else { format!("{}^{}", id.root, id.extension) };
        let done: Result<(), &dyn std::error::Error> = match outcome {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(refusal))) => Err(refusal),
            Err(unread) => Err(unread),
        };
        parts(&fed.request.change, ("II", &id), done)
    }

    fn encode(echo: v3::Answering, outcome: Result<Self::Response, Self::Refusal>, trace: TraceId) -> soap::Answer {
        let v3::Answering { us, now, id, .. } = echo;
        let body = match outcome {
            Ok((request, done)) => {
                let mut message = request.acknowledge(done.as_ref().copied(), id, now, us);
                for detail in &mut message.acknowledgement.details {
                    detail.text = format!("{} (trace {trace})", detail.text);
                }
                message.encode()
            }
            Err(unread) => unread.answer,
        };
        v3::answer(FEED_ACTION_RESPONSE, body)
    }
}

/// The parts of a feed's audit record: what was done to whom, with the message id as a detail (ITI TF-2: 3.8.5.1,
/// 3.44.5.1).
fn parts(
    change: &FeedRequest,
    (kind, message_id): (&'static str, &str),
    outcome: Result<(), &dyn std::error::Error>,
) -> Vec<Part> {
    let touched = |action: Action, id: &PatientId| {
        let patient = Object::patient(id).detail(kind, message_id);
        let part = match outcome {
            Ok(()) => Part::success(vec![patient]),
            Err(refusal) => Part::failure(vec![patient], refusal),
        };
        Part { action: Some(action), ..part }
    };
    match change {
        FeedRequest::Add { ids, .. } => ids.iter().take(1).map(|id| touched(Action::Create, id)).collect(),
        FeedRequest::Revise { ids, .. } => ids.iter().take(1).map(|id| touched(Action::Update, id)).collect(),
        // Two records, because a record names one patient: the one that went away, the one that stays.
        FeedRequest::Merge(pairs) | FeedRequest::ChangeId(pairs) => pairs
            .iter()
            .flat_map(|pair| [touched(Action::Delete, &pair.subsumed), touched(Action::Update, &pair.survivor)])
            .collect(),
        FeedRequest::Link(a, b) | FeedRequest::Unlink(a, b) => {
            vec![touched(Action::Update, a), touched(Action::Update, b)]
        }
    }
}
