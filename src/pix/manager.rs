//! Patient Identifier Cross-reference Manager: takes identity feeds into the cross-reference and answers which
//! identifiers are one person's (ITI TF-1: 5.1). Whatever the dialect, [`apply`] and [`answer`] do it; `feed` and
//! `query` have the transactions around them.

mod feed;
mod fhir;
mod query;

use std::sync::Arc;

use super::feed_v2::{FeedRequest, Pair, Refusal};
use super::question::{self, Answer, Question};
use crate::gateway::Gateway;
use crate::id::{AssigningAuthority, Timestamp};
use crate::storage::identities::{self, IdentityError, MergeRules, Revise};

pub use feed::{FEED_ACTIONS, FeedV2, FeedV3};
pub use fhir::{FeedFhir, QueryFhir};
pub use query::{QUERY_ACTION, QueryV2, QueryV3};

/// Which other identifiers the person has. An identifier that was merged into another is not known any more.
pub fn answer(gateway: &Gateway, question: &Question) -> Answer {
    if !gateway.domains.knows(&question.id) {
        return Answer::Refused(question::Refusal::UnknownDomain);
    }
    let wanted = question.wanted.iter().enumerate();
    let unknown: Vec<usize> =
        wanted.filter(|(_, one)| gateway.domains.of(one).is_none()).map(|(index, _)| index + 1).collect();
    if !unknown.is_empty() {
        return Answer::Refused(question::Refusal::UnknownWantedDomains(unknown));
    }
    match gateway.identities.cross_references(&gateway.tenant, &question.id, &question.wanted) {
        Ok(Some(ids)) => Answer::found(ids),
        Ok(None) => Answer::Refused(question::Refusal::UnknownId),
        Err(error) => {
            tracing::error!(%error, "the cross-reference could not be read");
            Answer::Refused(question::Refusal::Unavailable)
        }
    }
}

/// Does what a feed asks for, if all of its identifiers are of domains that the source may feed. In ITI-8 and
/// ITI-44 a merge needs both identifiers to be known; ITI-30 makes do with less.
pub async fn apply(
    gateway: &Gateway,
    change: &FeedRequest,
    authorities: &[AssigningAuthority],
    rules: MergeRules,
    at: Timestamp,
) -> Result<(), Refusal> {
    if let Some(foreign) = change.ids().find(|id| !authorities.contains(id.authority())) {
        tracing::info!(domain = %foreign.authority(), "a source feeds a domain that is not its own");
        return Err(Refusal::NotTheSource);
    }
    let (identities, tenant) = (&gateway.identities, &gateway.tenant);
    let done = match change {
        FeedRequest::Add { ids, demographics } => {
            identities.feed(tenant, ids.clone(), (**demographics).clone(), at).await.map(drop)
        }
        FeedRequest::Revise { ids, revision, .. } => {
            // What is not told stays as it is, so a revision reads before it writes, in the write itself.
            let revision = revision.clone();
            let revise: Revise = Arc::new(move |before| revision.apply_to(before));
            identities.amend(tenant, ids.clone(), revise, at).await.map(drop)
        }
        FeedRequest::Merge(pairs) => {
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
