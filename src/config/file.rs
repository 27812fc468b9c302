//! The configuration file as the operator writes it. Every key has a default or is told to be missing; a key that is
//! not here is refused. Paths are relative to the file.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::trust::{ExpiredList, Revocation};

/// `causeway.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Who we are.
    pub community: Community,
    /// Where we listen.
    pub listen: Listen,
    /// Certificate and key for TLS, server and client.
    pub tls: KeyPair,
    /// Certificate and key that sign assertions (those of `[tls]`).
    pub signing: KeyPair,
    /// Whom we trust.
    pub trust: Trust,
    /// Where we keep what we know.
    pub store: Store,
    /// Patient identifier domains.
    pub domains: Vec<Domain>,
    /// Feeds over HL7 v2 (MLLP).
    pub sources: Vec<Source>,
    /// Systems of our own that speak FHIR.
    pub fhir_clients: Vec<FhirClient>,
    /// Systems that are told of changes of the cross-reference (ITI-10, ITI-46).
    pub subscribers: Vec<Subscriber>,
    /// For whom documents are taken in that others send (ITI-41 at /DocumentRecipient, ITI-80).
    pub recipients: Vec<Recipient>,
    /// When deliveries are tried.
    pub delivery: Delivery,
    /// Folder with a file for each partner (`partners`).
    pub partners: String,
    /// What we answer.
    pub policy: Policy,
    /// The audit trail.
    pub audit: Audit,
    /// Sizes, numbers and times.
    pub limits: Limits,
    /// When two records are one person.
    pub matching: Matching,
    /// What we say of ourselves when we ask.
    pub initiator: Initiator,
    /// Metadata of imported documents.
    pub import: Import,
    /// The document registry and repository.
    pub documents: Documents,
    /// What the program tells its operator.
    pub log: Log,
}

impl Default for File {
    fn default() -> Self {
        Self {
            community: Community::default(),
            listen: Listen::default(),
            tls: KeyPair { certificate: "certificates/gateway.pem".into(), key: "certificates/gateway.key".into() },
            signing: KeyPair::default(),
            trust: Trust::default(),
            store: Store::default(),
            domains: Vec::new(),
            sources: Vec::new(),
            fhir_clients: Vec::new(),
            subscribers: Vec::new(),
            recipients: Vec::new(),
            delivery: Delivery::default(),
            partners: "partners".into(),
            policy: Policy::default(),
            audit: Audit::default(),
            limits: Limits::default(),
            matching: Matching::default(),
            initiator: Initiator::default(),
            import: Import::default(),
            documents: Documents::default(),
            log: Log::default(),
        }
    }
}

/// `[community]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Community {
    /// Name for people.
    pub name: String,
    /// Our community, `urn:oid:` and an OID.
    pub home_community_id: String,
    /// Name of the organization in assertions (the community's name).
    pub organization: String,
    /// OID of the organization in assertions (that of the home community id).
    pub organization_id: String,
    /// National Provider Identifier, 10 digits, sent in assertions (none). TEFCA asks for it with T-TRTMNT.
    pub npi: String,
    /// OID of our document repository (that of the home community id).
    pub repository_id: String,
    /// Communities that we answer for as a hub.
    pub members: Vec<OwnMember>,
}

/// `[[community.members]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnMember {
    /// Name for people.
    pub name: String,
    /// The member's community, `urn:oid:` and an OID.
    pub home_community_id: String,
    /// OIDs of its patient identifier domains.
    pub assigning_authorities: Vec<String>,
    /// OID of its document repository (that of its home community id).
    pub repository_id: String,
}

/// `[listen]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Address and port for SOAP and FHIR over TLS (`0.0.0.0:8443`); `CAUSEWAY_LISTEN` goes before it.
    pub https: String,
    /// The URL by which partners reach it, `https://host:port`; its host must be in our certificate.
    pub public_url: String,
    /// Addresses for HL7 v2 over MLLP.
    pub mllp: Vec<MllpListener>,
}

impl Default for Listen {
    fn default() -> Self {
        Self { https: "0.0.0.0:8443".into(), public_url: String::new(), mllp: Vec::new() }
    }
}

/// `[[listen.mllp]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MllpListener {
    /// Address and port, such as `10.0.0.5:2575`.
    pub address: String,
    /// Whether TLS with client certificates is spoken (true).
    pub tls: bool,
}

impl Default for MllpListener {
    fn default() -> Self {
        Self { address: String::new(), tls: true }
    }
}

/// `[tls]` and `[signing]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyPair {
    /// PEM file with our certificate and the intermediate ones, without the root.
    pub certificate: String,
    /// PEM file with the private key (PKCS#8).
    pub key: String,
}

/// `[trust]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// Folder with a folder for each network (`trust-store`).
    pub folder: String,
    /// Rules of a network, by its folder's name.
    pub networks: BTreeMap<String, Network>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { folder: "trust-store".into(), networks: BTreeMap::new() }
    }
}

/// `[trust.networks.<name>]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// `required`: each certificate is covered by a revocation list in the folder, or refused. `when-published`: a list
    /// counts when there is one (`when-published`).
    pub revocation: Revocation,
    /// What becomes of certificates whose revocation list has expired, `refuse` or `accept` (`refuse`).
    pub expired_list: ExpiredList,
}

/// `[store]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Folder for everything that is kept (`data`); `CAUSEWAY_STORE` goes before it.
    pub folder: String,
    /// Memory for the database's pages, in MiB (128).
    pub cache_mib: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self { folder: "data".into(), cache_mib: 128 }
    }
}

/// `[[domains]]`: a patient identifier domain that is used here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Domain {
    /// Name for people.
    pub name: String,
    /// CX.4.1, the name that HL7 v2 messages use.
    pub namespace: String,
    /// The OID of the assigning authority.
    pub oid: String,
    /// Universal id of another type than ISO, with `universal_id_type`, instead of `oid`.
    pub universal_id: String,
    /// Type of `universal_id`, such as `DNS`.
    pub universal_id_type: String,
}

/// `[[sources]]`: a system that sends patients over MLLP.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Name for logs and the audit trail.
    pub name: String,
    /// MSH-3, sending application.
    pub application: String,
    /// MSH-4, sending facility.
    pub facility: String,
    /// Namespaces of the domains for which it may send identifiers (all of them).
    pub domains: Vec<String>,
    /// SHA-256 of its TLS client certificate, in hexadecimal.
    pub certificate: String,
    /// IP addresses from which it may connect where the listener has no TLS.
    pub addresses: Vec<String>,
    /// Namespace of the domain that is filled in when PID-3 names none (none: refused).
    pub fill_missing_authority: String,
}

/// `[[fhir_clients]]`: a system of our own that speaks FHIR. It is proved by its certificate or by a name in it; what it
/// may do is said here, and nothing follows from anything else.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FhirClient {
    /// Name for logs and the audit trail.
    pub name: String,
    /// SHA-256 of its TLS client certificate, in hexadecimal.
    pub certificate: String,
    /// Instead of `certificate`: folder of the trust store that vouches for `certificate_name`.
    pub network: String,
    /// A DNS name in its certificate, or the common name of a certificate without one.
    pub certificate_name: String,
    /// User of its requests in audit records (none).
    pub user: String,
    /// Purpose of requests that state none (none: such requests are refused).
    pub purpose: String,
    /// Other purposes that a request may state in `X-Purpose-Of-Use` (none).
    pub purposes: Vec<String>,
    /// Whether it may look for patients, ITI-78, ITI-83 and ITI-119 (false).
    pub find_patients: bool,
    /// Namespaces of the domains for which it may feed patients, ITI-104 (none).
    pub feed: Vec<String>,
    /// Whether it may look for and retrieve documents, ITI-66, ITI-67 and ITI-68 (false).
    pub find_documents: bool,
    /// Whether it may provide documents, ITI-65 and ITI-105 (false).
    pub provide_documents: bool,
    /// Whether what it looks for is looked for in other communities too (false).
    pub other_communities: bool,
}

/// `[[subscribers]]`: a PIX Consumer that is told when identifiers become one person's or stop being so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subscriber {
    /// Name for logs and commands.
    pub name: String,
    /// Namespaces of the domains that it wants to know about; it is told of no others.
    pub domains: Vec<String>,
    /// ITI-10: host and port of its MLLP listener, such as `ehr.example.org:2575`.
    pub address: String,
    /// ITI-10: whether TLS is spoken (true).
    pub tls: bool,
    /// ITI-10: folder of the trust store whose certificates count for it.
    pub network: String,
    /// ITI-10: name in its certificate (the host of the address).
    pub server_name: String,
    /// ITI-10: MSH-5, receiving application.
    pub application: String,
    /// ITI-10: MSH-6, receiving facility.
    pub facility: String,
    /// ITI-10: time for an acknowledgement, in seconds (30).
    pub timeout_seconds: u32,
    /// ITI-46: its file in the partners folder, which has `urls.iti-46`. Instead of `address`.
    pub partner: String,
    /// ITI-46: the user of assertions (that of `[initiator]`).
    pub user: String,
    /// ITI-46: the purpose of assertions (that of `[initiator]`).
    pub purpose: String,
}

impl Default for Subscriber {
    fn default() -> Self {
        Self {
            name: String::new(),
            domains: Vec::new(),
            address: String::new(),
            tls: true,
            network: String::new(),
            server_name: String::new(),
            application: String::new(),
            facility: String::new(),
            timeout_seconds: 30,
            partner: String::new(),
            user: String::new(),
            purpose: String::new(),
        }
    }
}

/// `[[recipients]]`: for whom documents are taken in, and what becomes of them: one of `inbox`, `partner`, `fhir` and
/// `repository`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipient {
    /// Name for logs and commands.
    pub name: String,
    /// Identifiers of organisations that mean it (XON.10 of intendedRecipient), an OID or any other.
    pub organizations: Vec<String>,
    /// Addresses that mean it (XTN.4).
    pub addresses: Vec<String>,
    /// Identifiers of people that mean it (XCN.1), with their authority as `ID^^^&OID&ISO` or without.
    pub persons: Vec<String>,
    /// Whether it gets what names no recipient (false).
    pub default: bool,
    /// Folder in which each submission becomes a folder.
    pub inbox: String,
    /// A system that takes ITI-41: its file in the partners folder, which has `urls.iti-41`.
    pub partner: String,
    /// A system that takes ITI-65: the base URL of its FHIR service.
    pub fhir: String,
    /// Folder of the trust store whose certificates count for `fhir`.
    pub network: String,
    /// Whether the documents go into our own repository (false). Their patients must be known.
    pub repository: bool,
}

/// `[delivery]`: when notifications and documents that could not be delivered are tried again.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// Until the second attempt, in seconds (5); each further wait is twice as long.
    pub first_retry_seconds: u32,
    /// The longest wait between two attempts, in seconds (600).
    pub longest_retry_seconds: u32,
    /// When a delivery is given up, in hours (72).
    pub give_up_hours: u32,
    /// For how long deliveries that ended can be looked at, and those that failed be tried again, in days (30).
    pub keep_days: u32,
    /// How long whoever sends documents is let wait for the answer of their recipient, in seconds (20). After that they
    /// are told that the documents are queued.
    pub wait_seconds: u32,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { first_retry_seconds: 5, longest_retry_seconds: 600, give_up_hours: 72, keep_days: 30, wait_seconds: 20 }
    }
}

/// `[policy]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Purposes that we answer, by kind of network.
    pub answers: Answers,
}

/// `[policy.answers]`: purposes that we answer for partners of each kind. A list replaces the default, which is
/// TREATMENT, for TEFCA T-TREAT, T-TRTMNT and T-IAS, for our own systems every known code.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Answers {
    /// Carequality.
    pub carequality: Option<Vec<String>>,
    /// TEFCA.
    pub tefca: Option<Vec<String>>,
    /// eHealth Exchange.
    pub ehealth_exchange: Option<Vec<String>>,
    /// CommonWell.
    pub commonwell: Option<Vec<String>>,
    /// Our own systems.
    pub local: Option<Vec<String>>,
    /// Others.
    pub other: Option<Vec<String>>,
}

/// `[audit]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// AuditSourceID (the host of the public URL).
    pub source_id: String,
    /// AuditEnterpriseSiteID (the community's name).
    pub enterprise_site: String,
    /// Audit record repositories that get a copy over TLS (RFC 5425). The trail here is always kept.
    pub collectors: Vec<Collector>,
}

/// `[[audit.collectors]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collector {
    /// Host and port, such as `audit.example.org:6514`.
    pub address: String,
    /// Name in its certificate (the host of the address).
    pub server_name: String,
    /// Folder of the trust store whose certificates count for it.
    pub network: String,
}

/// `[limits]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest XML part of a message, in MiB (16).
    pub xml_mib: u32,
    /// Longest message with all documents, in MiB (2048). Documents are streamed, not held.
    pub message_mib: u32,
    /// Deepest nesting of XML elements (64).
    pub xml_depth: u32,
    /// Longest body of a FHIR request, in MiB (64). It is held in memory.
    pub fhir_mib: u32,
    /// Longest HL7 v2 message, in KiB (1024).
    pub mllp_kib: u32,
    /// Connections open at once (2048).
    pub connections: u32,
    /// Requests under way at once (512); more are told to come back.
    pub requests: u32,
    /// Time for the TLS handshake, in seconds (10).
    pub handshake_seconds: u32,
    /// Time for the head of a request, in seconds (15).
    pub header_seconds: u32,
    /// Time without a byte in a body, in seconds (30).
    pub idle_seconds: u32,
    /// Time for all partners to answer when many are asked, in seconds (60).
    pub fan_out_seconds: u32,
    /// How far clocks may differ, in seconds (300).
    pub clock_skew_seconds: u32,
    /// Lifetime of the assertions and timestamps that we make, in seconds (300).
    pub assertion_seconds: u32,
    /// Longest lifetime of an assertion that is accepted, in seconds (86400).
    pub longest_assertion_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            xml_mib: 16,
            message_mib: 2048,
            xml_depth: 64,
            fhir_mib: 64,
            mllp_kib: 1024,
            connections: 2048,
            requests: 512,
            handshake_seconds: 10,
            header_seconds: 15,
            idle_seconds: 30,
            fan_out_seconds: 60,
            clock_skew_seconds: 300,
            assertion_seconds: 300,
            longest_assertion_seconds: 86_400,
        }
    }
}

/// `[matching]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matching {
    /// Probability from which a patient is named to a partner who asks by demographics, 0.5 to 1 (0.89: a name, a
    /// birth date and a gender that all agree and are nobody else's here).
    pub release: f64,
    /// Days for which other communities may go on using the identifier that we tell them of a patient
    /// (CorrelationTimeToLive), up to 365 (0: they ask again each time).
    pub correlation_days: u32,
}

impl Default for Matching {
    fn default() -> Self {
        Self { release: 0.89, correlation_days: 0 }
    }
}

/// `[import]`: what the metadata of imported documents says where the documents say nothing. Codes are written
/// `code|code system|display name`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Import {
    /// classCode and typeCode of documents that are no clinical documents (LOINC 34133-9).
    pub class_code: String,
    /// healthcareFacilityTypeCode (SNOMED CT 394777002, health encounter site).
    pub facility_type: String,
    /// practiceSettingCode (SNOMED CT 394802001, general medicine).
    pub practice_setting: String,
    /// confidentialityCode (N).
    pub confidentiality: String,
    /// languageCode (en-US).
    pub language: String,
}

impl Default for Import {
    fn default() -> Self {
        Self {
            class_code: "34133-9|2.16.840.1.113883.6.1|Summarization of Episode Note".into(),
            facility_type: "394777002|2.16.840.1.113883.6.96|Health encounter site".into(),
            practice_setting: "394802001|2.16.840.1.113883.6.96|General medicine".into(),
            confidentiality: "N|2.16.840.1.113883.5.25|Normal".into(),
            language: "en-US".into(),
        }
    }
}

/// `[documents]`: the document registry and repository.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Documents {
    /// File with the codes that submissions may carry (none: codes are not checked).
    pub value_sets: String,
    /// What makes documents when they are retrieved (nothing).
    pub on_demand: OnDemand,
    /// Other registries and repositories of the community.
    pub external: External,
}

/// `[documents.external]`: a registry and repositories that the community has already. Each is a partner of kind `local`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct External {
    /// Key of the partner that is asked by ITI-18 as well, for every query of our own systems and of partners (none).
    pub registry: String,
    /// Key of the partner that gets what is submitted by ITI-41 and ITI-42, as far as its entry has an address for it, in
    /// place of our own registry and repository (none).
    pub submissions: String,
    /// OID of a repository, and key of the partner that is asked for its documents by ITI-43.
    pub repositories: BTreeMap<String, String>,
}

/// `[documents.on_demand]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnDemand {
    /// The program, by its whole path, and its arguments (none: on-demand entries of our own repository are refused). It
    /// runs without a shell and without environment, reads what is wanted as JSON and writes the document.
    pub command: Vec<String>,
    /// How long it may take, in seconds (30).
    pub seconds: u32,
    /// Whether what it made is kept as a stable document, a snapshot (false).
    pub persist: bool,
}

impl Default for OnDemand {
    fn default() -> Self {
        Self { command: Vec::new(), seconds: 30, persist: false }
    }
}

/// `[initiator]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Initiator {
    /// Purpose of requests that state none of their own (none: such requests are refused).
    pub purpose: String,
    /// Code of the role in assertions (224608005).
    pub role: String,
    /// Code system of the role (SNOMED CT).
    pub role_system: String,
    /// Display name of the role.
    pub role_display: String,
    /// NameID of assertions for requests without a user of their own, an e-mail address (none).
    pub user: String,
    /// Taxpayer identification number, sent in assertions (none).
    pub tin: String,
}

impl Default for Initiator {
    fn default() -> Self {
        Self {
            purpose: String::new(),
            role: "224608005".into(),
            role_system: "2.16.840.1.113883.6.96".into(),
            role_display: "Administrative healthcare staff".into(),
            user: String::new(),
            tin: String::new(),
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `json` or `text` (`text`).
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace` (`info`); `CAUSEWAY_LOG` goes before it.
    pub level: LogLevel,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// A JSON object on each line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// What needs an operator.
    Error,
    /// What may need one soon.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// How it happens.
    Debug,
    /// Everything but patient data.
    Trace,
}

impl LogLevel {
    /// The name as configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl std::str::FromStr for LogLevel {
    type Err = NotALogLevel;

    fn from_str(text: &str) -> Result<Self, NotALogLevel> {
        let levels = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        levels.into_iter().find(|level| level.name() == text).ok_or(NotALogLevel)
    }
}

/// Not a log level.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not one of error, warn, info, debug, trace")]
pub struct NotALogLevel;
