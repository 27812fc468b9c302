//! Patient Identifier Cross-reference Manager: takes identity feeds into the cross-reference (ITI TF-1: 5.1).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use super::feed_v2::{FeedRequest, Pair, Refusal, Request, Rules};
use crate::atna::{Action, Object};
use crate::authenticate::{Caller, CallerKind, FeedSource};
use crate::gateway::Gateway;
use crate::hl7v2::Header;
use crate::hl7v2::ack::{Ack, Answering};
use crate::id::{AssigningAuthority, PatientId, Timestamp, TraceId, Transaction as Iti};
use crate::pipeline::v2::{self, V2};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::storage::identities::{self, IdentityError, MergeRules};

/// ITI-8 and ITI-30, as the manager answers them.
pub struct FeedV2;

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

impl Transaction for FeedV2 {
    type Wire = V2;
    const ID: Iti = Iti::Iti8;
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
        let fed = call.permitted.request();
        if let Some(foreign) = ids(&fed.request.change).find(|id| !fed.authorities.contains(id.authority())) {
            tracing::info!(domain = %foreign.authority(), trace = %call.trace, "a source feeds a domain that is not its own");
            return Err(Refusal::NotTheSource);
        }
        apply(&gateway, fed, call.at).await
    }

    fn audit(fed: &Fed, outcome: &Result<(), Refusal>) -> Vec<Part> {
        let request = &fed.request;
        let touched = |action: Action, id: &PatientId| {
            let patient = Object::patient(id).detail("MSH-10", &request.header.control_id);
            let part = match outcome {
                Ok(()) => Part::success(vec![patient]),
                Err(refusal) => Part::failure(vec![patient], refusal),
            };
            Part { action: Some(action), ..part }
        };
        match &request.change {
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
        CallerKind::Partner(_) => None,
    }
}

/// Every identifier that a feed speaks of.
fn ids(change: &FeedRequest) -> Box<dyn Iterator<Item = &PatientId> + '_> {
    match change {
        FeedRequest::Add { ids, .. } | FeedRequest::Revise { ids, .. } => Box::new(ids.iter()),
        FeedRequest::Merge(pairs) | FeedRequest::ChangeId(pairs) => {
            Box::new(pairs.iter().flat_map(|pair| [&pair.survivor, &pair.subsumed]))
        }
        FeedRequest::Link(a, b) | FeedRequest::Unlink(a, b) => Box::new([a, b].into_iter()),
    }
}

async fn apply(gateway: &Gateway, fed: &Fed, at: Timestamp) -> Result<(), Refusal> {
    let (identities, tenant) = (&gateway.identities, &gateway.tenant);
    let done = match &fed.request.change {
        FeedRequest::Add { ids, demographics } => {
            identities.feed(tenant, ids.clone(), (**demographics).clone(), at).await.map(drop)
        }
        FeedRequest::Revise { ids, revision, .. } => {
            // What is not told stays as it is, so a revision reads before it writes: one at a time for a patient.
            let _turn = turn(&ids[0]).await;
            let before = identities.demographics(tenant, &ids[0]).map_err(|_| Refusal::Unavailable)?;
            let after = revision.apply_to(&before.unwrap_or_default());
            // A source that updates a patient whose admission never came here still knows the patient.
            identities.feed(tenant, ids.clone(), after, at).await.map(drop)
        }
        FeedRequest::Merge(pairs) => {
            let rules = if fed.request.header.version == "2.3.1" { MergeRules::BothKnown } else { MergeRules::Lenient };
            for Pair { survivor, subsumed } in pairs {
                identities.merge(tenant, survivor.clone(), subsumed.clone(), rules, at).await.map_err(refused)?;
            }
            Ok(())
        }
        FeedRequest::ChangeId(pairs) => {
            for Pair { survivor, subsumed } in pairs {
                identities.change_id(tenant, subsumed.clone(), survivor.clone(), at).await.map_err(refused)?;
            }
            Ok(())
        }
        FeedRequest::Link(a, b) => identities.link(tenant, a.clone(), b.clone(), at).await.map(drop),
        FeedRequest::Unlink(a, b) => identities.unlink(tenant, a.clone(), b.clone(), at).await.map(drop),
    };
    done.map_err(refused)
}

/// Waits until no other revision of the same patient is under way.
async fn turn(id: &PatientId) -> MutexGuard<'static, ()> {
    static TURNS: [Mutex<()>; 64] = [const { Mutex::const_new(()) }; 64];
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    TURNS[(hasher.finish() % 64) as usize].lock().await
}

fn refused(error: IdentityError) -> Refusal {
    match error {
        IdentityError::Refused(refusal) => match refusal {
            identities::Refusal::NoIdentifier | identities::Refusal::Unknown => Refusal::UnknownSurvivor,
            identities::Refusal::UnknownSubsumed | identities::Refusal::AlreadyReplaced => Refusal::UnknownSubsumed,
            identities::Refusal::SurvivorReplaced => Refusal::UnknownSurvivor,
            identities::Refusal::SameIdentifier => Refusal::SameIdentifier,
            identities::Refusal::DifferentAuthorities => Refusal::DifferentAuthorities,
            identities::Refusal::Taken => Refusal::InUse,
        },
        IdentityError::Store(error) => {
            tracing::error!(%error, "an identity feed could not be stored");
            Refusal::Unavailable
        }
    }
}
