//! A DICOM audit event as the program uses it (DICOM PS3.15 A.5, ITI TF-2: 3.20): what happened, to whom, by whom.
//!
//! How it is written as XML: `message`. Which event each transaction asks for: `transaction`; all others: `activity`.

use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::id::{
    Code, DocumentUniqueId, HomeCommunityId, PatientId, RepositoryId, Tenant, Timestamp, TraceId, Transaction,
};

/// The kind of event (`EventID`, code system `DCM`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EventId {
    /// The gateway started or stopped, or did something of its own.
    ApplicationActivity,
    /// Somebody read audit records.
    AuditLogUsed,
    /// Data left this system.
    Export,
    /// Data came into this system.
    Import,
    /// A patient record was made, changed or deleted.
    PatientRecord,
    /// A query.
    Query,
    /// Something that bears on security.
    SecurityAlert,
    /// Somebody proved, or failed to prove, who they are.
    UserAuthentication,
}

impl EventId {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::ApplicationActivity,
        Self::AuditLogUsed,
        Self::Export,
        Self::Import,
        Self::PatientRecord,
        Self::Query,
        Self::SecurityAlert,
        Self::UserAuthentication,
    ];

    /// The code with its text.
    pub fn code(self) -> Code {
        match self {
            Self::ApplicationActivity => dicom("110100", "Application Activity"),
            Self::AuditLogUsed => dicom("110101", "Audit Log Used"),
            Self::Export => dicom("110106", "Export"),
            Self::Import => dicom("110107", "Import"),
            Self::PatientRecord => dicom("110110", "Patient Record"),
            Self::Query => dicom("110112", "Query"),
            Self::SecurityAlert => dicom("110113", "Security Alert"),
            Self::UserAuthentication => dicom("110114", "User Authentication"),
        }
    }
}

/// A code of the DICOM controlled terminology.
pub(super) fn dicom(code: &'static str, text: &'static str) -> Code {
    Code::new(SmolStr::new_static(code), SmolStr::new_static("DCM"), SmolStr::new_static(text))
}

/// A code of RFC 3881.
fn rfc3881(code: &'static str, text: &'static str) -> Code {
    Code::new(SmolStr::new_static(code), SmolStr::new_static("RFC-3881"), SmolStr::new_static(text))
}

/// The `EventTypeCode` of a transaction, which is also the id type of its query object.
pub(super) fn transaction_code(transaction: Transaction) -> Code {
    Code::new(
        SmolStr::new_static(transaction.code()),
        SmolStr::new_static("IHE Transactions"),
        SmolStr::new_static(transaction.name()),
    )
}

/// What was done (`EventActionCode`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Something new was made.
    Create,
    /// Something was read, or sent out.
    Read,
    /// Something was changed.
    Update,
    /// Something was deleted.
    Delete,
    /// Something was executed: a query, a login.
    Execute,
}

impl Action {
    /// The letter.
    pub fn code(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Read => "R",
            Self::Update => "U",
            Self::Delete => "D",
            Self::Execute => "E",
        }
    }

    /// Reads the letter.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Execute]
            .into_iter()
            .find(|one| one.code().eq_ignore_ascii_case(code.trim()))
    }
}

/// How it went (`EventOutcomeIndicator`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    /// It succeeded.
    Success,
    /// It succeeded with warnings, or the caller can simply try again.
    MinorFailure,
    /// It failed or was refused.
    SeriousFailure,
    /// It failed and the gateway cannot go on.
    MajorFailure,
}

impl Outcome {
    /// The number.
    pub fn code(self) -> &'static str {
        match self {
            Self::Success => "0",
            Self::MinorFailure => "4",
            Self::SeriousFailure => "8",
            Self::MajorFailure => "12",
        }
    }

    /// Reads the number.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Success, Self::MinorFailure, Self::SeriousFailure, Self::MajorFailure]
            .into_iter()
            .find(|one| one.code() == code.trim())
    }
}

/// Where on the network a participant is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessPoint {
    /// A machine or DNS name.
    Name(SmolStr),
    /// An IP address.
    Address(IpAddr),
}

impl AccessPoint {
    /// An address if the text is one, else a name. Brackets of an IPv6 address in a URL are not part of it.
    pub fn of_host(host: &str) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse().map_or_else(|_| Self::Name(host.into()), Self::Address)
    }
}

impl From<IpAddr> for AccessPoint {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

/// Somebody or something that took part (`ActiveParticipant`).
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Participant {
    /// `UserID`; written as `unknown` when empty.
    pub user_id: SmolStr,
    /// `AlternativeUserID`: the process id, on the participant that is this system.
    pub alternative_user_id: Option<SmolStr>,
    /// `UserName`.
    pub user_name: Option<SmolStr>,
    /// Whether it asked for what happened. At most one participant of an event did.
    pub requestor: bool,
    /// Where it is on the network.
    pub access_point: Option<AccessPoint>,
    /// Its roles: source or destination, or the roles of a person.
    pub roles: Vec<Code>,
}

impl Participant {
    /// Marks the participant as this process.
    #[must_use]
    pub fn recorder(mut self) -> Self {
        self.alternative_user_id = Some(PROCESS.clone());
        self
    }
}

/// The number of this process, which stays what it is.
static PROCESS: LazyLock<SmolStr> = LazyLock::new(|| format_smolstr!("{}", std::process::id()));

/// A person who asked, as an assertion named them.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Human {
    /// The subject's name identifier.
    pub user_id: SmolStr,
    /// A readable name, when there is one.
    pub alias: SmolStr,
    /// Who vouches for the person: the issuer of the assertion.
    pub issuer: SmolStr,
    /// Roles for access control.
    pub roles: Vec<Code>,
}

impl From<Human> for Participant {
    fn from(human: Human) -> Self {
        // ITI TF-2: 3.20.7.8.1.1: alias"<"user"@"issuer">".
        let user_name = format_smolstr!("{}<{}@{}>", human.alias, human.user_id, human.issuer);
        Self { user_id: human.user_id, user_name: Some(user_name), roles: human.roles, ..Self::default() }
    }
}

/// What kind of thing an object is (`ParticipantObjectTypeCode`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ObjectKind {
    /// A person.
    Person,
    /// Something in a system.
    System,
    /// An organisation.
    Organization,
    /// Something else.
    Other,
}

impl ObjectKind {
    /// The number.
    pub fn code(self) -> &'static str {
        match self {
            Self::Person => "1",
            Self::System => "2",
            Self::Organization => "3",
            Self::Other => "4",
        }
    }

    /// Reads the number.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Person, Self::System, Self::Organization, Self::Other].into_iter().find(|one| one.code() == code.trim())
    }
}

/// The name of an object, or the query that it is: DICOM excludes both at once.
#[derive(Clone, Default, Eq, PartialEq)]
pub enum Content {
    /// Neither.
    #[default]
    Nothing,
    /// A name.
    Name(String),
    /// The bytes of a query as they went over the wire.
    Query(Vec<u8>),
}

/// Something that was touched (`ParticipantObjectIdentification`).
#[derive(Clone, Eq, PartialEq)]
pub struct Object {
    /// Its identifier.
    pub id: Option<String>,
    /// What kind of identifier that is.
    pub id_type: Code,
    /// What kind of thing it is.
    pub kind: Option<ObjectKind>,
    /// Its role, a number of DICOM's list: 1 patient, 3 report, 13 security resource, 20 job, 24 query.
    pub role: Option<u8>,
    /// Its name or query.
    pub content: Content,
    /// Pairs of a type and a value; the value is written in base64.
    pub details: Vec<(SmolStr, Vec<u8>)>,
}

/// `type` of the detail that names the community of a query (ITI TF-2: 3.18.5.1, 3.38.5.1).
const QUERY_HOME: &str = "urn:ihe:iti:xca:2010:homeCommunityId";
/// `type` of the detail that names the community of a document, or of a patient discovery (ITI TF-2: 3.43.5.1, 3.55.5.1).
const HOME: &str = "ihe:homeCommunityID";
/// The node of a submission set's unique id, as TF-2 3.41.5.1 wants it.
const SUBMISSION_SET: &str = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd";

impl Object {
    fn new(kind: ObjectKind, role: u8, id_type: Code, id: Option<String>) -> Self {
        Self { id, id_type, kind: Some(kind), role: Some(role), content: Content::Nothing, details: Vec::new() }
    }

    /// A patient by CX.
    pub fn patient(id: &PatientId) -> Self {
        Self::new(ObjectKind::Person, 1, rfc3881("2", "Patient Number"), Some(id.to_cx()))
    }

    /// The query of a transaction: its id (a stored query's UUID, a query id) and its bytes as they were sent.
    pub fn query(transaction: Transaction, id: Option<&str>, bytes: Vec<u8>) -> Self {
        let mut object = Self::new(ObjectKind::System, 24, transaction_code(transaction), id.map(str::to_owned));
        object.content = Content::Query(bytes);
        object
    }

    /// The encoding of a stored query and the community it was meant for (ITI TF-2: 3.18.5.1.1, 3.38.5.1.1).
    #[must_use]
    pub fn stored_query_details(self, home: Option<&HomeCommunityId>) -> Self {
        let object = self.detail("QueryEncoding", "UTF-8");
        match home {
            Some(home) => object.detail(QUERY_HOME, &home.to_string()),
            None => object,
        }
    }

    /// The community a patient discovery was meant for (ITI TF-2: 3.55.5.1, which spells it unlike 3.18).
    #[must_use]
    pub fn discovery_home(self, home: &HomeCommunityId) -> Self {
        self.detail(HOME, &home.to_string())
    }

    /// A document by its unique id, with where it is.
    pub fn document(id: &DocumentUniqueId, repository: Option<&RepositoryId>, home: Option<&HomeCommunityId>) -> Self {
        let report = rfc3881("9", "Report Number");
        let mut object = Self::new(ObjectKind::System, 3, report, Some(id.as_str().to_owned()));
        if let Some(repository) = repository {
            object = object.detail("Repository Unique Id", repository.as_str());
        }
        if let Some(home) = home {
            object = object.detail(HOME, &home.to_string());
        }
        object
    }

    /// A document that was removed from its repository (ITI TF-2: 3.86.5).
    pub fn removed_document(id: &DocumentUniqueId, repository: &RepositoryId) -> Self {
        Self::document(id, None, None).detail("urn:ihe:iti:xds:2007:repositoryUniqueId", repository.as_str())
    }

    /// A submission set by its unique id; the community is named by ITI-80 only.
    pub fn submission_set(unique_id: &str, home: Option<&HomeCommunityId>) -> Self {
        let node = Code::new(
            SmolStr::new_static(SUBMISSION_SET),
            SmolStr::new_static("IHE XDS Metadata"),
            SmolStr::new_static("submission set classificationNode"),
        );
        let object = Self::new(ObjectKind::System, 20, node, Some(unique_id.to_owned()));
        match home {
            Some(home) => object.detail(QUERY_HOME, &home.to_string()),
            None => object,
        }
    }

    /// A metadata object that was removed, with the literal of its type and what that is called (ITI TF-2: 3.62.5).
    pub fn removed_entry(id: &str, object_type: &str, called: &str) -> Self {
        let id_type = Code::new(object_type, SmolStr::new_static("IHE XDS Metadata"), called);
        Self::new(ObjectKind::System, 3, id_type, Some(id.to_owned()))
    }

    /// Something that security depends on: a node, a configuration file, a certificate.
    pub fn security_resource(uri: &str) -> Self {
        Self::new(ObjectKind::System, 13, rfc3881("12", "URI"), Some(uri.to_owned()))
    }

    /// The audit log itself (DICOM PS3.15 A.5.3.2).
    pub fn audit_log(uri: &str) -> Self {
        let mut object = Self::security_resource(uri);
        object.content = Content::Name("Security Audit Log".to_owned());
        object
    }

    /// A file of patients that was taken in or written, by a digest of its bytes or the name of the exchange.
    pub fn patient_file(id: &str) -> Self {
        Self::new(ObjectKind::System, 20, rfc3881("12", "URI"), Some(id.to_owned()))
    }

    /// The organisation that a person asked for.
    pub fn organization(id: &str, name: &str) -> Self {
        let id_type = rfc3881("12", "URI");
        let mut object = Self::new(ObjectKind::Organization, 15, id_type, Some(id.to_owned()));
        if !name.is_empty() {
            object.content = Content::Name(name.to_owned());
        }
        object
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(mut self, kind: &'static str, value: &str) -> Self {
        self.details.push((SmolStr::new_static(kind), value.as_bytes().to_vec()));
        self
    }
}

/// A SAML assertion that was accepted once and must not be again. It is kept with the audit entry, so the record of
/// what was answered and the memory of what not to answer twice become durable together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ReplayKey {
    /// Digest that names the assertion.
    pub key: [u8; 32],
    /// From when on the assertion is refused for its age, so the key can be forgotten.
    pub expires: Timestamp,
}

/// An audit event.
#[derive(Clone, Eq, PartialEq)]
pub struct Event {
    /// What kind.
    pub id: EventId,
    /// What was done.
    pub action: Action,
    /// How it went.
    pub outcome: Outcome,
    /// Why it went so, in a sentence for people; without patient data.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
    /// What kind, more exactly: the transaction, or a DICOM type.
    pub types: Vec<Code>,
    /// What for, as the assertion said.
    pub purposes: Vec<Code>,
    /// Who took part.
    pub participants: Vec<Participant>,
    /// What was touched.
    pub objects: Vec<Object>,
    /// The exchange it belongs to.
    pub trace: TraceId,
    /// The message that started it (`wsa:MessageID`, MSH-10).
    pub message_id: Option<SmolStr>,
    /// Whose data it is.
    pub tenant: Tenant,
    /// The assertion that was used up.
    pub replay: Option<ReplayKey>,
}

impl Event {
    /// Sets how it went and why.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome, reason: impl Into<Option<String>>) -> Self {
        self.outcome = outcome;
        self.reason = reason.into();
        self
    }

    /// Adds an object.
    #[must_use]
    pub fn object(mut self, object: Object) -> Self {
        self.objects.push(object);
        self
    }

    /// Adds what it was done for.
    #[must_use]
    pub fn purposes(mut self, purposes: impl IntoIterator<Item = Code>) -> Self {
        self.purposes.extend(purposes);
        self
    }

    /// Adds the assertion that was used up.
    #[must_use]
    pub fn replay(mut self, replay: ReplayKey) -> Self {
        self.replay = Some(replay);
        self
    }

    /// The text of `EventOutcomeDescription`: the reason, then what to search for.
    pub fn description(&self) -> String {
        let reason = self.reason.as_deref().map(|reason| format!("{reason}; ")).unwrap_or_default();
        let message = self.message_id.as_deref().map(|id| format!("message {id}; ")).unwrap_or_default();
        format!("{reason}{message}trace {}", self.trace)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("action", &self.action)
            .field("outcome", &self.outcome)
            .field("types", &self.types.iter().map(|code| code.code.as_str()).collect::<Vec<_>>())
            .field("trace", &self.trace)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// Hides people and patients from `{:?}`.
macro_rules! redacted {
    ($($kind:ident),*) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($kind), "(…)"))
            }
        }
    )*};
}

redacted!(Participant, Human, Object, Content);
