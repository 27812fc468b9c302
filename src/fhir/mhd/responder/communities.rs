//! Documents of other communities: an ITI-67 search carried on by XCPD and XCA, for clients that may ask others.
//!
//! The answer holds what every partner told, and an OperationOutcome that tells each partner's share with the reason where
//! there is nothing of it: an answer without a partner's documents never looks like one of a partner without documents.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Hit, Sought, Who};
use crate::ebxml::ErrorCode;
use crate::fhir::mhd::find::{Find, Whose};
use crate::fhir::outcome::{Issue, IssueCode, Outcome, Refusal, Severity};
use crate::gateway::Gateway;
use crate::id::{HomeCommunityId, Transaction as Iti};
use crate::metadata::Object;
use crate::pipeline::Call;
use crate::pipeline::outgoing::Errands;
use crate::routing::fan_out::StateName;
use crate::xca::initiating_gateway::{Others, Share, others};
use crate::xds::stored_query::{Request, Response};

/// Which communities a search is for.
pub(super) struct Scope {
    /// Whether what is registered here is looked for.
    pub(super) here: bool,
    /// Other communities that were named.
    named: Vec<HomeCommunityId>,
    /// Whether others are asked.
    elsewhere: bool,
}

impl Scope {
    /// From `targetCommunityIdList` and what the client may do. A community that cannot be asked is an error
    /// (MHD 2:3.67.4.1.3, Target Communities option).
    pub(super) fn of(gateway: &Gateway, call: &Call<Sought>, lists: bool) -> Result<Self, Refusal> {
        let find = &call.permitted.request().find;
        let may_ask = call.permitted.caller().client().is_some_and(|client| client.asks_communities);
        let unknown = |text: String| Refusal::Xds { code: ErrorCode::XdsUnknownCommunity, text };
        let (mut here, mut named) = (find.communities.is_empty(), Vec::new());
        for text in &find.communities {
            let home = HomeCommunityId::lenient(text);
            let home = home.map_err(|_| unknown("targetCommunityIdList has what is no community".into()))?;
            if gateway.community.serves(&home) {
                here = true;
            } else {
                named.push(home);
            }
        }
        if !named.is_empty() && !may_ask {
            return Err(Refusal::Forbidden("the client is not allowed to ask other communities".into()));
        }
        if !named.is_empty() && lists {
            return Err(Refusal::NotSupported("a search for lists of other communities".into()));
        }
        for home in &named {
            gateway.directory.resolve(home, Iti::Iti38).map_err(|error| unknown(error.to_string()))?;
        }
        let elsewhere = may_ask && (find.communities.is_empty() || !named.is_empty());
        Ok(Self { here, named, elsewhere })
    }
}

/// What other communities have, and what is to be told of each.
pub(super) async fn elsewhere(
    gateway: &Arc<Gateway>,
    call: &Call<Sought>,
    scope: &Scope,
    who: &Who,
    lists: bool,
) -> Result<(Vec<Hit>, Option<Outcome>), Refusal> {
    if !scope.elsewhere {
        return Ok((Vec::new(), None));
    }
    let find = &call.permitted.request().find;
    let not_asked = |reason: &str| {
        let text = format!("other communities were not asked: {reason}");
        let severity = if lists { Severity::Information } else { Severity::Warning };
        Ok((Vec::new(), Some(Outcome::of(Issue::new(severity, IssueCode::Incomplete, text)))))
    };
    if lists {
        return not_asked("their lists are not searched from here");
    }
    if find.whose.is_none() {
        return not_asked("the search names no patient");
    }
    let Some(person) = &who.person else { return not_asked("the patient is not known here") };
    let Some(errands) = Errands::on_behalf_of(gateway, call) else {
        return not_asked("the client has no user to ask for");
    };
    let patient = match &find.whose {
        Some(Whose::Identifier(id)) => id,
        Some(Whose::Reference(_)) | None => match person.ids().next() {
            Some(id) => id,
            None => return not_asked("the patient has no identifier in use"),
        },
    };
    let mut request = Request::new(find.query(Some(patient))?);
    request.target_communities.clone_from(&scope.named);
    let is_wanted = |home: &HomeCommunityId| scope.named.is_empty() || scope.named.contains(home);
    let mut response = Response::default();
    let others = others(gateway, &errands, &request, is_wanted, &mut response).await;
    let others = others.map_err(|error| Refusal::registry(vec![error]))?;
    let told = account(gateway, find, &others, &response);
    let mut seen = HashSet::new();
    let foreign = response.objects.into_iter().filter_map(|object| {
        let home = object.home().filter(|home| !gateway.community.serves(home) && is_wanted(home))?.clone();
        let Object::Document(entry) = &object else { return None };
        let is_new = find.accepts(&object) && seen.insert((home.clone(), entry.unique_id.bare().to_owned()));
        let via = others.through.get(&home).cloned();
        is_new.then(|| Hit { object, person: Some(person.key), via: Some(via.unwrap_or_default()) })
    });
    Ok((foreign.collect(), Some(told)))
}

/// Each partner's share, in the words of an OperationOutcome.
fn account(gateway: &Gateway, find: &Find, others: &Others, response: &Response) -> Outcome {
    let mut issues: Vec<Issue> = others.shares.iter().map(issue).collect();
    for error in &response.errors {
        let place = error.location.as_deref().unwrap_or_default();
        if !others.shares.iter().any(|share| share.home.to_string() == place) {
            issues.push(Issue::warning(IssueCode::Incomplete, error.code.as_str(), error.context.to_string()));
        }
    }
    if response.objects.iter().any(|object| object.home().is_some_and(|home| gateway.community.serves(home))) {
        let text = "what partners told of documents of this community was left out";
        issues.push(Issue::new(Severity::Warning, IssueCode::Incomplete, text));
    }
    if !find.submitted.is_empty() {
        let text = "other communities do not tell when a document was submitted: date was not applied to theirs";
        issues.push(Issue::new(Severity::Warning, IssueCode::Incomplete, text));
    }
    if issues.is_empty() {
        let text = "there is no other community to ask";
        issues.push(Issue::new(Severity::Information, IssueCode::Informational, text));
    }
    Outcome { issues }
}

fn issue(share: &Share) -> Issue {
    let Share { partner, home, transaction, state, reason, results } = share;
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let text = format!("{partner} ({home}), {transaction}: {state}, {results} results{reason}");
    if share.is_complete() {
        return Issue::new(Severity::Information, IssueCode::Informational, text);
    }
    let code = match state {
        StateName::Answered | StateName::Empty | StateName::Skipped => IssueCode::Incomplete,
        StateName::Refused => IssueCode::Processing,
        StateName::TimedOut => IssueCode::Timeout,
        StateName::Unreachable => IssueCode::Transient,
    };
    Issue::warning(code, ErrorCode::XdsUnavailableCommunity.as_str(), text)
}
