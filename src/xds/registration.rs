//! Document Registry as the taker of metadata: from the repository here, and by ITI-42 from repositories elsewhere
//! (ITI TF-2: 3.42.4.1.3). All of a submission is registered, or nothing.

use std::sync::Arc;

use super::external;
use super::register::Request;
use super::repository::{Refused, submission_objects};
use crate::authenticate::Caller;
use crate::ebxml::{ErrorCode, RegistryError, RegistryResponse};
use crate::gateway::Gateway;
use crate::id::{PatientId, TraceId, Transaction as Iti};
use crate::metadata::{ObjectId, Problems, Rules, Submission};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::routing::package::Attachments;
use crate::storage::documents::Registration;
use crate::storage::engine::Write;
use crate::storage::identities::Resolution;

/// `wsa:Action` of ITI-42.
pub const REGISTER_ACTION: &str = "urn:ihe:iti:2007:RegisterDocumentSet-b";

/// `wsa:Action` of ITI-61.
pub const ON_DEMAND_ACTION: &str = "urn:ihe:iti:2010:RegisterOnDemandDocumentEntry";

/// ITI-42, as a Document Registry answers it: metadata of documents that are kept elsewhere.
pub struct RegisterDocumentSet;

impl Transaction for RegisterDocumentSet {
    type Wire = Soap;
    const ID: Iti = Iti::Iti42;
    type Request = Request;
    type Response = Submission;
    type Refusal = Refused;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Request, Failure<Refused>> {
        Request::decode(message.envelope.body, Rules::Register).map_err(|refusal| Failure::Refused(refusal.into()))
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Request>>,
        _extras: Attachments,
    ) -> Result<Submission, Refused> {
        let request = call.permitted.request();
        if let Some(passed_on) = external::register(&gateway, &call, request).await {
            return passed_on;
        }
        let submission = request.submission.clone();
        // The repository here registers its documents itself, with their bytes.
        let text = "the repository is that of this gateway, which takes documents by ITI-41 only";
        check_repositories(&gateway, &submission, text)?;
        check_codes(&gateway, &submission, Rules::Register)?;
        register(&gateway, submission, Vec::new()).await
    }

    fn audit(request: &Request, outcome: &Result<Submission, Refused>) -> Vec<Part> {
        audit(request, outcome)
    }

    fn encode((): (), outcome: Result<Submission, Refused>, trace: TraceId) -> soap::Answer {
        answer("urn:ihe:iti:2007:RegisterDocumentSet-bResponse", outcome.err(), trace)
    }
}

/// ITI-61, as a Document Registry answers it: entries of documents that are made when somebody asks for them.
pub struct RegisterOnDemand;

impl Transaction for RegisterOnDemand {
    type Wire = Soap;
    const ID: Iti = Iti::Iti61;
    type Request = Request;
    type Response = Submission;
    type Refusal = Refused;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Request, Failure<Refused>> {
        let request = Request::decode(message.envelope.body, Rules::RegisterOnDemand);
        request.map_err(|refusal| Failure::Refused(refusal.into()))
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Request>>,
        _extras: Attachments,
    ) -> Result<Submission, Refused> {
        let submission = call.permitted.request().submission.clone();
        // Nobody would make them.
        if gateway.on_demand.is_none() {
            check_repositories(&gateway, &submission, "no source of on-demand documents is configured here")?;
        }
        check_codes(&gateway, &submission, Rules::RegisterOnDemand)?;
        register(&gateway, submission, Vec::new()).await
    }

    fn audit(request: &Request, outcome: &Result<Submission, Refused>) -> Vec<Part> {
        audit(request, outcome)
    }

    fn encode((): (), outcome: Result<Submission, Refused>, trace: TraceId) -> soap::Answer {
        // 3.61.4.2: the name of the response has no "Entry".
        answer("urn:ihe:iti:2010:RegisterOnDemandDocumentResponse", outcome.err(), trace)
    }
}

/// The parts of the audit record of a submission without documents (ITI TF-2: 3.42.5).
pub fn audit<T>(request: &Request, outcome: &Result<T, Refused>) -> Vec<Part> {
    let objects = submission_objects(&request.submission);
    match outcome {
        Ok(_) => vec![Part::success(objects)],
        Err(refused) => vec![Part::failure(objects, refused)],
    }
}

/// The SOAP answer of a registry to a submission: success, or every error.
pub fn answer(action: &'static str, refused: Option<Refused>, trace: TraceId) -> soap::Answer {
    let mut errors = refused.map(|refused| refused.0).unwrap_or_default();
    super::registry::name_trace(&mut errors, trace);
    let body = RegistryResponse { errors }.encode();
    soap::Answer { action, headers: String::new(), body, mtom: false, documents: Vec::new() }
}

/// Refuses entries of our own repositories, of which nobody could retrieve the document.
fn check_repositories(gateway: &Gateway, submission: &Submission, why: &str) -> Result<(), Refused> {
    let is_ours = |repository| gateway.community.home_of_repository(repository).is_some();
    let ours = submission.entries.iter().filter(|entry| entry.repository.as_ref().is_some_and(is_ours));
    let errors: Vec<RegistryError> = ours
        .map(|entry| RegistryError::new(ErrorCode::XdsRegistryMetadataError, why).at(entry.id.to_string()))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Refused(errors)) }
}

/// Refuses codes that are none of the affinity domain, with the code that the transaction's rules have for it.
pub fn check_codes(gateway: &Gateway, submission: &Submission, rules: Rules) -> Result<(), Refused> {
    let mut problems = Problems::new(rules);
    gateway.value_sets.check(submission, &mut problems);
    if problems.list.is_empty() { Ok(()) } else { Err(Refused(problems.list)) }
}

/// Registers metadata with the keys of the documents that are kept here: all of it or nothing.
pub async fn register(
    gateway: &Gateway,
    submission: Submission,
    contents: Vec<(ObjectId, String)>,
) -> Result<Submission, Refused> {
    let registration = Registration { submission, contents, now: gateway.clock.now() };
    gateway
        .documents
        .register(&gateway.tenant, registration, known(gateway))
        .await
        .map_err(|error| Refused(error.errors()))
}

/// Whether a patient id is one of the community's, asked inside a write.
pub fn known(
    gateway: &Gateway,
) -> impl Fn(&Write<'_>, &PatientId) -> Result<bool, crate::storage::engine::StoreError> + Send + 'static {
    let (identities, tenant) = (gateway.identities.clone(), gateway.tenant.clone());
    move |_: &Write<'_>, id: &PatientId| Ok(matches!(identities.resolve(&tenant, id)?, Resolution::Active(_)))
}
