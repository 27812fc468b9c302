//! The settings as the program uses them: typed, complete, with absolute or file-relative paths. After this nothing
//! about configuration can fail.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use smol_str::SmolStr;

use super::delivery;
pub use super::documents::{Documents, External, Import, OnDemand};
use super::documents::{documents, import};
use super::file::{self, File, LogFormat, LogLevel};
use crate::authenticate::FhirClient;
use crate::directory::{Fingerprint, NetworkKind, Problem, Problems, ServiceUrl};
use crate::gateway::{Patience, Recipient, Subscriber};
use crate::id::{AssigningAuthority, Code, Domain, Domains, ExchangePurpose, HomeCommunityId, Oid, RepositoryId};
use crate::policy::Rules;
use crate::trust::{NetworkName, RevocationPolicy};
use crate::xml;

/// Everything that the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who we are.
    pub community: Community,
    /// Where we listen.
    pub listen: Listen,
    /// Certificate and key for TLS.
    pub tls: KeyPair,
    /// Certificate and key that sign assertions.
    pub signing: KeyPair,
    /// Whom we trust.
    pub trust: Trust,
    /// Where we keep what we know.
    pub store: Store,
    /// Patient identifier domains.
    pub domains: Domains,
    /// Feeds over MLLP.
    pub sources: Vec<Source>,
    /// Systems of our own that speak FHIR.
    pub clients: Vec<FhirClient>,
    /// Who is told of changes of the cross-reference.
    pub subscribers: Vec<Subscriber>,
    /// For whom documents are taken in.
    pub recipients: Vec<Recipient>,
    /// When deliveries are tried.
    pub patience: Patience,
    /// Folder of the partners' files.
    pub partners: PathBuf,
    /// Purposes that we answer.
    pub rules: Rules,
    /// The audit trail.
    pub audit: Audit,
    /// Sizes, numbers and times.
    pub limits: Limits,
    /// When two records are one person.
    pub matching: Matching,
    /// What we say of ourselves when we ask.
    pub initiator: Initiator,
    /// What the metadata of imported documents says where the documents say nothing.
    pub import: Import,
    /// The document registry and repository.
    pub documents: Documents,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// How much is logged.
    pub log_level: LogLevel,
}

/// Who we are.
#[derive(Clone, Debug)]
pub struct Community {
    /// Name for people.
    pub name: SmolStr,
    /// Our community.
    pub home: HomeCommunityId,
    /// Organization in assertions.
    pub organization: SmolStr,
    /// OID of the organization.
    pub organization_id: Oid,
    /// National Provider Identifier.
    pub npi: Option<SmolStr>,
    /// Our document repository.
    pub repository: RepositoryId,
    /// Communities that we answer for.
    pub members: Vec<OwnMember>,
}

/// A community that we answer for as a hub.
#[derive(Clone, Debug)]
pub struct OwnMember {
    /// Name for people.
    pub name: SmolStr,
    /// Its community.
    pub home: HomeCommunityId,
    /// Its patient identifier domains.
    pub authorities: Vec<AssigningAuthority>,
    /// Its document repository.
    pub repository: RepositoryId,
}

/// Where we listen.
#[derive(Clone, Debug)]
pub struct Listen {
    /// SOAP over TLS.
    pub https: SocketAddr,
    /// How partners reach it.
    pub public_url: ServiceUrl,
    /// HL7 v2: address, and whether TLS is spoken.
    pub mllp: Vec<MllpListener>,
}

/// An address for HL7 v2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MllpListener {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether TLS with client certificates is spoken.
    pub tls: bool,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyPair {
    /// PEM file, leaf first.
    pub certificate: PathBuf,
    /// PEM file, PKCS#8.
    pub key: PathBuf,
}

/// Whom we trust.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The trust store.
    pub folder: PathBuf,
    /// Revocation rules of networks; a network that is not here has the defaults.
    pub networks: BTreeMap<NetworkName, RevocationPolicy>,
}

/// Where we keep what we know.
#[derive(Clone, Debug)]
pub struct Store {
    /// The folder.
    pub folder: PathBuf,
    /// Memory for pages, in bytes.
    pub cache: usize,
}

/// A system that sends patients over MLLP.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name for logs and the audit trail.
    pub name: SmolStr,
    /// MSH-3.
    pub application: SmolStr,
    /// MSH-4.
    pub facility: SmolStr,
    /// Domains for which it may send identifiers.
    pub domains: Vec<Domain>,
    /// Its TLS client certificate.
    pub certificate: Option<Fingerprint>,
    /// Addresses from which it may connect without TLS.
    pub addresses: Vec<IpAddr>,
    /// Domain that is filled in when PID-3 names none.
    pub fill_missing_authority: Option<Domain>,
}

/// The audit trail.
#[derive(Clone, Debug)]
pub struct Audit {
    /// AuditSourceID.
    pub source_id: SmolStr,
    /// AuditEnterpriseSiteID.
    pub enterprise_site: SmolStr,
    /// Audit record repositories.
    pub collectors: Vec<Collector>,
}

/// An audit record repository.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Collector {
    /// Host name or IP address, without brackets.
    pub host: SmolStr,
    /// Port.
    pub port: u16,
    /// Name in its certificate.
    pub server_name: SmolStr,
    /// Whose certificates count for it.
    pub network: NetworkName,
}

/// Sizes, numbers and times.
#[derive(Clone, Debug)]
pub struct Limits {
    /// XML: bytes and nesting.
    pub xml: xml::Limits,
    /// Longest message with all documents, in bytes.
    pub message: u64,
    /// Longest body of a FHIR request, in bytes.
    pub fhir: usize,
    /// Longest HL7 v2 message, in bytes.
    pub mllp: usize,
    /// Connections open at once.
    pub connections: usize,
    /// Requests under way at once.
    pub requests: usize,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for the head of a request.
    pub header: Duration,
    /// Time without a byte in a body.
    pub idle: Duration,
    /// Time for all partners to answer.
    pub fan_out: Duration,
    /// How far clocks may differ.
    pub clock_skew: Duration,
    /// Lifetime of the assertions that we make.
    pub assertion: Duration,
    /// Longest lifetime of an assertion that is accepted.
    pub longest_assertion: Duration,
}

/// When a patient is named to a partner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matching {
    /// Probability of a match from which on.
    pub release: f64,
    /// Days for which others may use our identifiers without asking again.
    pub correlation_days: u32,
}

impl Matching {
    /// The same in bits of evidence, as `mpi` weighs it: a score is `1 / (1 + 2^(-bits / 3))`.
    pub fn release_bits(&self) -> f64 {
        -3.0 * (1.0 / self.release - 1.0).log2()
    }
}

/// What we say of ourselves when we ask.
#[derive(Clone, Debug)]
pub struct Initiator {
    /// Purpose of requests that state none of their own.
    pub purpose: Option<ExchangePurpose>,
    /// Role in assertions.
    pub role: Code,
    /// NameID for requests without a user.
    pub user: Option<SmolStr>,
    /// Taxpayer identification number.
    pub tin: Option<SmolStr>,
}

const HOME_REMEDY: &str = "write it as urn:oid: and an OID";
pub(super) const OID_REMEDY: &str = "write an OID, such as 2.999.10.1";
const ADDRESS_REMEDY: &str = "write an IP address and a port, such as 0.0.0.0:8443 or [::]:8443";
pub(super) const NETWORK_REMEDY: &str = "name a folder of the trust store";
pub(super) const PURPOSE_REMEDY: &str = "use the codes of TEFCA (T-TRTMNT) or NHIN (TREATMENT)";

impl File {
    /// The settings, or everything that is wrong. `base` is the folder that paths are relative to.
    pub fn resolve(self, base: &Path, mut problems: Problems) -> Result<Settings, Vec<Problem>> {
        let settings = self.try_resolve(base, &mut problems);
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(problems.into_list()),
        }
    }

    fn try_resolve(self, base: &Path, problems: &mut Problems) -> Option<Settings> {
        let community = community(self.community, problems);
        let listen = listen(self.listen, problems);
        let tls = key_pair("tls", &self.tls, base, problems);
        let signing = match (self.signing.certificate.is_empty(), self.signing.key.is_empty()) {
            (true, true) => tls.clone(),
            _ => key_pair("signing", &self.signing, base, problems),
        };
        let trust = trust(&self.trust, base, problems);
        let domains = domains(&self.domains, problems);
        let sources = sources(self.sources, &domains, problems);
        let clients = super::clients::resolve(self.fhir_clients, &domains, problems);
        let subscribers = delivery::subscribers(self.subscribers, &domains, &self.initiator, problems);
        let recipients = delivery::recipients(self.recipients, base, problems);
        let patience = delivery::patience(&self.delivery, problems);
        let rules = rules(self.policy.answers, problems);
        let collectors = collectors(&self.audit.collectors, problems);
        let limits = limits(&self.limits, problems);
        let matching = matching(&self.matching, problems);
        let initiator = initiator(self.initiator, problems);
        let import = import(&self.import, problems);
        let documents = documents(self.documents, base, problems);
        if !(8..=65_536).contains(&self.store.cache_mib) {
            problems.add("store.cache_mib", "must be from 8 to 65536", "leave it out for 128");
        }
        let (community, listen) = (community?, listen?);
        Some(Settings {
            audit: Audit {
                source_id: or(&self.audit.source_id, listen.public_url.host()),
                enterprise_site: or(&self.audit.enterprise_site, &community.name),
                collectors,
            },
            store: Store {
                folder: base.join(&self.store.folder),
                cache: usize::try_from(self.store.cache_mib).unwrap_or(128) << 20,
            },
            partners: base.join(&self.partners),
            log_format: self.log.format,
            log_level: self.log.level,
            community,
            listen,
            tls,
            signing,
            trust,
            domains,
            sources,
            clients,
            subscribers,
            recipients,
            patience,
            rules,
            limits,
            matching,
            initiator,
            import,
            documents,
        })
    }
}

pub(super) fn or(text: &str, otherwise: &str) -> SmolStr {
    if text.trim().is_empty() { otherwise.into() } else { text.trim().into() }
}

pub(super) fn some(text: &str) -> Option<SmolStr> {
    Some(SmolStr::from(text.trim())).filter(|text| !text.is_empty())
}

fn repository(key: &str, text: &str, home: Option<&HomeCommunityId>, problems: &mut Problems) -> Option<RepositoryId> {
    let oid = if text.is_empty() { home?.oid().clone() } else { problems.parse::<Oid>(key, text, OID_REMEDY)? };
    RepositoryId::new(oid.as_str()).ok()
}

fn community(file: file::Community, problems: &mut Problems) -> Option<Community> {
    if file.name.trim().is_empty() {
        problems.add("community.name", "is missing", "give the community a name for people");
    }
    let is_npi = |text: &str| text.len() == 10 && text.bytes().all(|digit| digit.is_ascii_digit());
    if !file.npi.is_empty() && !is_npi(&file.npi) {
        problems.add("community.npi", "is not 10 digits", "write the National Provider Identifier without spaces");
    }
    let home: Option<HomeCommunityId> =
        problems.require("community.home_community_id", &file.home_community_id, HOME_REMEDY);
    let organization_id = match (file.organization_id.is_empty(), &home) {
        (true, home) => home.as_ref().map(|home| home.oid().clone()),
        (false, _) => problems.parse("community.organization_id", &file.organization_id, OID_REMEDY),
    };
    let repository = repository("community.repository_id", &file.repository_id, home.as_ref(), problems);
    let members = own_members(file.members, home.as_ref(), problems);
    Some(Community {
        organization: or(&file.organization, &file.name),
        name: file.name.into(),
        npi: some(&file.npi),
        members,
        home: home?,
        organization_id: organization_id?,
        repository: repository?,
    })
}

fn own_members(files: Vec<file::OwnMember>, own: Option<&HomeCommunityId>, problems: &mut Problems) -> Vec<OwnMember> {
    let mut members: Vec<OwnMember> = Vec::new();
    for (at, file) in files.into_iter().enumerate() {
        let key = |name: &str| format!("community.members[{at}].{name}");
        let home = problems.require(&key("home_community_id"), &file.home_community_id, HOME_REMEDY);
        let authorities: Vec<Oid> =
            problems.parse_all(&key("assigning_authorities"), &file.assigning_authorities, OID_REMEDY);
        let repository = repository(&key("repository_id"), &file.repository_id, home.as_ref(), problems);
        let (Some(home), Some(repository)) = (home, repository) else { continue };
        if own == Some(&home) || members.iter().any(|member| member.home == home) {
            problems.add(key("home_community_id"), "is used twice", "give each member its own community");
        }
        let authorities = authorities.iter().map(AssigningAuthority::iso).collect();
        members.push(OwnMember { name: file.name.into(), home, authorities, repository });
    }
    members
}

fn listen(file: file::Listen, problems: &mut Problems) -> Option<Listen> {
    let https = problems.require("listen.https", &file.https, ADDRESS_REMEDY);
    let remedy = "write the URL that partners use, such as https://gateway.example.org:8443";
    let public_url: Option<ServiceUrl> = problems.require("listen.public_url", &file.public_url, remedy);
    if public_url.as_ref().is_some_and(|url| !url.is_https()) {
        problems.add("listen.public_url", "is not https", remedy);
    }
    let mut mllp = Vec::new();
    for (at, listener) in file.mllp.iter().enumerate() {
        let key = format!("listen.mllp[{at}].address");
        let address = problems.require(&key, &listener.address, ADDRESS_REMEDY);
        mllp.extend(address.map(|address| MllpListener { address, tls: listener.tls }));
    }
    Some(Listen { mllp, https: https?, public_url: public_url? })
}

fn key_pair(section: &str, file: &file::KeyPair, base: &Path, problems: &mut Problems) -> KeyPair {
    for (name, value) in [("certificate", &file.certificate), ("key", &file.key)] {
        if value.is_empty() {
            problems.add(format!("{section}.{name}"), "is missing", "give the path of a PEM file");
        }
    }
    KeyPair { certificate: base.join(&file.certificate), key: base.join(&file.key) }
}

fn trust(file: &file::Trust, base: &Path, problems: &mut Problems) -> Trust {
    let mut networks = BTreeMap::new();
    for (name, network) in &file.networks {
        let parsed = problems.parse(&format!("trust.networks.{name}"), name, NETWORK_REMEDY);
        let policy = RevocationPolicy { revocation: network.revocation, expired_list: network.expired_list };
        networks.extend(parsed.map(|name| (name, policy)));
    }
    Trust { folder: base.join(&file.folder), networks }
}

fn domains(files: &[file::Domain], problems: &mut Problems) -> Domains {
    let mut domains: Vec<Domain> = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let key = format!("domains[{at}]");
        let authority = match (file.oid.is_empty(), file.universal_id.is_empty()) {
            (false, true) => problems
                .parse::<Oid>(&format!("{key}.oid"), &file.oid, OID_REMEDY)
                .map(|oid| AssigningAuthority::iso(&oid)),
            (true, false) => match AssigningAuthority::new(&file.universal_id, &file.universal_id_type) {
                Ok(authority) => Some(authority),
                Err(error) => {
                    let remedy = "write universal_id and universal_id_type, such as DNS";
                    problems.add(format!("{key}.universal_id"), format!("cannot be used: {error}"), remedy);
                    None
                }
            },
            _ => {
                problems.add(&key, "needs either oid or universal_id", OID_REMEDY);
                None
            }
        };
        if file.namespace.trim().is_empty() {
            problems.add(format!("{key}.namespace"), "is missing", "write the name that HL7 v2 messages use (CX.4.1)");
        }
        let Some(authority) = authority else { continue };
        if domains.iter().any(|other| other.namespace == file.namespace || other.authority == authority) {
            problems.add(&key, "has the namespace or the OID of another domain", "keep one of the two");
        }
        domains.push(Domain { namespace: file.namespace.trim().into(), authority });
    }
    Domains::new(domains)
}

fn sources(files: Vec<file::Source>, domains: &Domains, problems: &mut Problems) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for (at, file) in files.into_iter().enumerate() {
        let key = |name: &str| format!("sources[{at}].{name}");
        let domain = |problems: &mut Problems, name: &str, namespace: &str| {
            let found = domains.iter().find(|domain| domain.namespace == namespace).cloned();
            if found.is_none() {
                problems.add(
                    key(name),
                    format!("{namespace:?} is not a domain"),
                    "name the namespace of a [[domains]]",
                );
            }
            found
        };
        let mut allowed = Vec::new();
        for namespace in &file.domains {
            allowed.extend(domain(problems, "domains", namespace));
        }
        if file.domains.is_empty() {
            allowed.extend(domains.iter().cloned());
        }
        let fill_missing_authority = match file.fill_missing_authority.as_str() {
            "" => None,
            namespace => domain(problems, "fill_missing_authority", namespace),
        };
        let certificate = match file.certificate.as_str() {
            "" => None,
            text => problems.parse(&key("certificate"), text, "causeway certificates show prints it"),
        };
        let addresses = problems.parse_all(&key("addresses"), &file.addresses, "write an IP address");
        if file.certificate.is_empty() && file.addresses.is_empty() {
            let remedy = "give the SHA-256 of its certificate, or its addresses";
            problems.add(format!("sources[{at}]"), "proves itself by nothing", remedy);
        }
        if file.name.trim().is_empty() || sources.iter().any(|other| other.name == file.name) {
            problems.add(key("name"), "is missing or used twice", "give each source its own name");
        }
        sources.push(Source {
            name: file.name.into(),
            application: file.application.into(),
            facility: file.facility.into(),
            domains: allowed,
            certificate,
            addresses,
            fill_missing_authority,
        });
    }
    sources
}

fn rules(file: file::Answers, problems: &mut Problems) -> Rules {
    let mut rules = Rules::default();
    for (kind, texts) in [
        (NetworkKind::Carequality, file.carequality),
        (NetworkKind::Tefca, file.tefca),
        (NetworkKind::EhealthExchange, file.ehealth_exchange),
        (NetworkKind::Commonwell, file.commonwell),
        (NetworkKind::Local, file.local),
        (NetworkKind::Other, file.other),
    ] {
        let Some(texts) = texts else { continue };
        rules.answers.insert(kind, problems.parse_all(&format!("policy.answers.{kind}"), &texts, PURPOSE_REMEDY));
    }
    rules
}

fn collectors(files: &[file::Collector], problems: &mut Problems) -> Vec<Collector> {
    let mut collectors = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let key = |name: &str| format!("audit.collectors[{at}].{name}");
        let network = problems.require(&key("network"), &file.network, NETWORK_REMEDY);
        let Some((host, port)) = host_and_port(&file.address) else {
            problems.add(key("address"), "is not a host and a port", "write it as audit.example.org:6514");
            continue;
        };
        let server_name = or(&file.server_name, host);
        collectors.extend(network.map(|network| Collector { host: host.into(), port, server_name, network }));
    }
    collectors
}

pub(super) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
    Some((host, port.parse().ok()?)).filter(|(_, port)| is_host && *port > 0)
}

fn limits(file: &file::Limits, problems: &mut Problems) -> Limits {
    for (name, value, least, most) in [
        ("xml_mib", file.xml_mib, 1, 1024),
        ("message_mib", file.message_mib, 1, 1 << 20),
        ("xml_depth", file.xml_depth, 32, 256),
        ("fhir_mib", file.fhir_mib, 1, 1024),
        ("mllp_kib", file.mllp_kib, 16, 1 << 20),
        ("connections", file.connections, 1, 1 << 20),
        ("requests", file.requests, 1, 1 << 20),
        ("handshake_seconds", file.handshake_seconds, 1, 120),
        ("header_seconds", file.header_seconds, 1, 120),
        ("idle_seconds", file.idle_seconds, 1, 600),
        ("fan_out_seconds", file.fan_out_seconds, 1, 3600),
        ("clock_skew_seconds", file.clock_skew_seconds, 0, 900),
        ("assertion_seconds", file.assertion_seconds, 60, 3600),
        ("longest_assertion_seconds", file.longest_assertion_seconds, 300, 86_400),
    ] {
        if !(least..=most).contains(&value) {
            let text = format!("must be from {least} to {most}");
            problems.add(format!("limits.{name}"), text, "leave it out for the default");
        }
    }
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let size = |number: u32, shift: u32| usize::try_from(u64::from(number) << shift).unwrap_or(usize::MAX);
    Limits {
        xml: xml::Limits { bytes: size(file.xml_mib, 20), depth: file.xml_depth },
        message: u64::from(file.message_mib) << 20,
        fhir: size(file.fhir_mib, 20),
        mllp: size(file.mllp_kib, 10),
        connections: size(file.connections, 0),
        requests: size(file.requests, 0),
        handshake: seconds(file.handshake_seconds),
        header: seconds(file.header_seconds),
        idle: seconds(file.idle_seconds),
        fan_out: seconds(file.fan_out_seconds),
        clock_skew: seconds(file.clock_skew_seconds),
        assertion: seconds(file.assertion_seconds),
        longest_assertion: seconds(file.longest_assertion_seconds),
    }
}

fn matching(file: &file::Matching, problems: &mut Problems) -> Matching {
    if !(0.5..1.0).contains(&file.release) {
        problems.add("matching.release", "is not a probability that can be used", "give one from 0.5 to 0.999");
    }
    if file.correlation_days > 365 {
        problems.add("matching.correlation_days", "must be from 0 to 365", "leave it out for 0, which tells none");
    }
    Matching { release: file.release, correlation_days: file.correlation_days }
}

fn initiator(file: file::Initiator, problems: &mut Problems) -> Initiator {
    let purpose = match file.purpose.as_str() {
        "" => None,
        text => problems.parse("initiator.purpose", text, PURPOSE_REMEDY),
    };
    Initiator {
        purpose,
        role: Code::new(file.role, file.role_system, file.role_display),
        user: some(&file.user),
        tin: some(&file.tin),
    }
}
