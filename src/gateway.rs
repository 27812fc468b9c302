//! What every handler may use: one value, built once by `app`, shared by every exchange.

mod continuations;
mod destinations;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use crate::atna::Audit;
use crate::authenticate::{Checks, FeedSource, FhirClient, ReplayCache};
use crate::directory::Directory;
use crate::id::{AssigningAuthority, Clock, Code, Domains, ExchangePurpose, HomeCommunityId, RepositoryId, Tenant};
use crate::metadata::affinity::ValueSets;
use crate::mpi::Thresholds;
use crate::policy::Policy;
use crate::routing::call::SoapClient;
use crate::routing::messenger::Messenger;
use crate::storage::deliveries::Deliveries;
use crate::storage::documents::Documents;
use crate::storage::files::Files;
use crate::storage::identities::{Identities, PersonNames};
use crate::storage::owed::Owed;
use crate::storage::traces::Traces;
use crate::trust::Trust;
use crate::xml::signature::Known;

pub use continuations::Continuations;
pub use destinations::{Match, Patience, PersonId, Recipient, Subscriber, Target, Wire};

/// A gateway: what it is, what it keeps, whom it knows.
pub struct Gateway {
    /// The community that it speaks for.
    pub community: Community,
    /// Whose data everything here is.
    pub tenant: Tenant,
    /// The time.
    pub clock: Clock,
    /// Certificates that we trust, by network.
    pub trust: Arc<Trust>,
    /// The partners.
    pub directory: Directory,
    /// Who may ask for what.
    pub policy: Policy,
    /// Patient identifier domains known here.
    pub domains: Domains,
    /// Systems that feed patients over MLLP.
    pub sources: Vec<FeedSource>,
    /// Systems of our own that speak FHIR.
    pub clients: Vec<Arc<FhirClient>>,
    /// When demographics are enough to release an answer.
    pub thresholds: Thresholds,
    /// The role of users that a request does not state.
    pub default_role: Code,
    /// Days for which others may use our patient identifiers without asking again; 0 says nothing.
    pub correlation_days: u32,
    /// The user of requests that name none.
    pub default_user: Option<SmolStr>,
    /// The purpose of requests that state none; without it they are refused.
    pub default_purpose: Option<ExchangePurpose>,
    /// What the metadata of imported documents says where the documents say nothing.
    pub import: ImportDefaults,
    /// The codes that submissions may carry.
    pub value_sets: ValueSets,
    /// What makes documents when they are retrieved.
    pub on_demand: Option<OnDemand>,
    /// The community's other registry and repositories.
    pub external: External,
    /// The patient cross-reference.
    pub identities: Identities,
    /// What our own numbers for persons are outside: the logical ids of FHIR.
    pub names: PersonNames,
    /// The document registry.
    pub documents: Documents,
    /// Document bytes.
    pub files: Files,
    /// What happened in past exchanges.
    pub traces: Traces,
    /// The audit trail.
    pub audit: Audit,
    /// What changes by command owe it.
    pub owed: Owed,
    /// The rest of answers that are told page by page.
    pub continuations: Continuations,
    /// Assertions seen before.
    pub replay: ReplayCache,
    /// Keys and signatures of assertions seen before.
    pub known: Known,
    /// The names under which assertions are addressed to us.
    pub audiences: Vec<String>,
    /// Calls to partners.
    pub outgoing: SoapClient,
    /// HL7 v2 messages to others.
    pub messenger: Arc<dyn Messenger>,
    /// What is on its way to others.
    pub deliveries: Deliveries,
    /// When that is tried.
    pub patience: Patience,
    /// Who is told of changes of the cross-reference.
    pub subscribers: Vec<Subscriber>,
    /// For whom documents are taken in.
    pub recipients: Vec<Recipient>,
    /// What messages may cost, and how long things may take.
    pub limits: Limits,
}

/// The registry and the repositories that the community has besides, by the keys of their entries in the directory.
#[derive(Clone, Debug, Default)]
pub struct External {
    /// Which is asked for metadata (ITI-18).
    pub registry: Option<SmolStr>,
    /// Which is asked for the documents of a repository (ITI-43).
    pub repositories: Vec<(RepositoryId, SmolStr)>,
    /// To which submissions are passed on (ITI-41, ITI-42).
    pub submissions: Option<SmolStr>,
}

/// A program that makes documents when they are retrieved.
#[derive(Clone, Debug)]
pub struct OnDemand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub time: Duration,
    /// Whether what it made is kept as a stable document.
    pub persist: bool,
}

/// What the metadata of imported documents says where the documents say nothing.
#[derive(Clone, Debug)]
pub struct ImportDefaults {
    /// classCode and typeCode of documents that are no clinical documents.
    pub class_code: Code,
    /// healthcareFacilityTypeCode
    pub facility_type: Code,
    /// practiceSettingCode
    pub practice_setting: Code,
    /// confidentialityCode
    pub confidentiality: Code,
    /// languageCode
    pub language: SmolStr,
}

impl Gateway {
    /// What authentication looks at.
    pub fn checks(&self) -> Checks<'_> {
        Checks {
            trust: &self.trust,
            directory: &self.directory,
            replay: &self.replay,
            known: &self.known,
            audiences: &self.audiences,
            skew: self.limits.skew,
            max_lifetime: self.limits.assertion_lifetime,
        }
    }
}

/// The community that a gateway speaks for, with the communities behind it.
#[derive(Clone, Debug)]
pub struct Community {
    /// A name for people.
    pub name: SmolStr,
    /// Its home community id.
    pub home: HomeCommunityId,
    /// Its document repository.
    pub repository: RepositoryId,
    /// The URL under which partners reach it, without a slash at the end.
    pub public_url: SmolStr,
    /// Communities that it answers for, when it is a hub.
    pub members: Vec<Member>,
}

/// A community behind a hub.
#[derive(Clone, Debug)]
pub struct Member {
    /// A name for people.
    pub name: SmolStr,
    /// Its home community id.
    pub home: HomeCommunityId,
    /// Its document repository.
    pub repository: RepositoryId,
    /// The domains whose patients are its own.
    pub authorities: Vec<AssigningAuthority>,
}

impl Community {
    /// Whether the gateway answers for a community.
    pub fn serves(&self, home: &HomeCommunityId) -> bool {
        self.home == *home || self.members.iter().any(|member| member.home == *home)
    }

    /// The community that a patient identifier domain belongs to: a member's, else our own.
    pub fn home_of(&self, authority: &AssigningAuthority) -> &HomeCommunityId {
        self.member_of(authority).map_or(&self.home, |member| &member.home)
    }

    /// The repository that keeps the documents of a domain's patients.
    pub fn repository_of(&self, authority: &AssigningAuthority) -> &RepositoryId {
        self.member_of(authority).map_or(&self.repository, |member| &member.repository)
    }

    /// The community that a repository of ours belongs to.
    pub fn home_of_repository(&self, repository: &RepositoryId) -> Option<&HomeCommunityId> {
        if self.repository == *repository {
            return Some(&self.home);
        }
        self.members.iter().find(|member| member.repository == *repository).map(|member| &member.home)
    }

    fn member_of(&self, authority: &AssigningAuthority) -> Option<&Member> {
        self.members.iter().find(|member| member.authorities.contains(authority))
    }
}

/// What messages may cost, and how long things may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// XML documents.
    pub xml: crate::xml::Limits,
    /// The body of a FHIR request, in bytes. It is held in memory, documents included.
    pub fhir: usize,
    /// One document that is provided or retrieved, in bytes.
    pub document: u64,
    /// All attachments of one message, in bytes.
    pub message: u64,
    /// How far a partner's clock may be off.
    pub skew: Duration,
    /// The longest lifetime of an assertion or a timestamp.
    pub assertion_lifetime: Duration,
    /// How long a user waits for all partners together.
    pub fan_out: Duration,
    /// Requests under way at once; more are told to come back.
    pub requests: usize,
    /// How long a body may bring nothing worth mentioning.
    pub idle: Duration,
}
