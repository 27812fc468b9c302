//! One partner: its file as the operator wrote it, and what the program knows of it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;
use smol_str::SmolStr;

use super::problem::Problems;
use super::quirks::{Quirks, QuirksFile};
use crate::id::{AssigningAuthority, ExchangePurpose, HomeCommunityId, Oid, Transaction};
use crate::trust::NetworkName;

/// A partner's file, `partners/<key>.toml`. The key names the partner in logs, commands and the audit trail.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Name for people.
    pub name: String,
    /// Folder of the trust store whose certificates count for this partner, such as `carequality`.
    pub network: String,
    /// What sort of network it is, from which defaults follow: `carequality`, `tefca`, `ehealth-exchange`,
    /// `commonwell`, `local` (our own systems) or `other`.
    pub kind: Option<NetworkKind>,
    /// The partner's community, `urn:oid:` and an OID.
    pub home_community_id: String,
    /// OIDs of the patient identifier domains that the partner is known to answer with.
    pub assigning_authorities: Vec<String>,
    /// Whether the partner may send us requests (true).
    pub initiates: bool,
    /// Whether we may send it requests (true).
    pub responds: bool,
    /// Whether it answers discovery for its members, which are then not asked one by one (false).
    pub record_locator: bool,
    /// Whether it also speaks for communities that no file here names, as long as one of its pinned certificates signs
    /// (false). For hubs whose membership changes daily.
    pub speaks_for_unlisted: bool,
    /// Purposes that it answers (what its kind of network answers).
    pub purposes_answered: Option<Vec<String>>,
    /// Purposes for which it may ask us (what `[policy]` says for its kind of network).
    pub purposes_allowed: Option<Vec<String>>,
    /// Transactions that it may send us, such as `ITI-38` (those of its kind of network).
    pub transactions_allowed: Option<Vec<String>>,
    /// SHA-256 of each certificate that may sign for it, in hexadecimal (any that its network trusts).
    pub pinned_certificates: Vec<String>,
    /// How many requests to it may be under way at once, 1 to 1000 (16).
    pub concurrent_requests: u16,
    /// Where it answers.
    pub urls: Urls,
    /// How long it may take to answer, in seconds.
    pub timeouts: Timeouts,
    /// Communities that it answers for, or that are reached through it.
    pub members: Vec<MemberFile>,
    /// What is particular about it.
    pub quirks: QuirksFile,
}

impl Default for File {
    fn default() -> Self {
        Self {
            name: String::new(),
            network: String::new(),
            kind: None,
            home_community_id: String::new(),
            assigning_authorities: Vec::new(),
            initiates: true,
            responds: true,
            record_locator: false,
            speaks_for_unlisted: false,
            purposes_answered: None,
            purposes_allowed: None,
            transactions_allowed: None,
            pinned_certificates: Vec::new(),
            concurrent_requests: 16,
            urls: Urls::default(),
            timeouts: Timeouts::default(),
            members: Vec::new(),
            quirks: QuirksFile::default(),
        }
    }
}

/// The table `[urls]`: where each transaction is sent, `https://…`; one that is left out is not sent to this partner.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Urls {
    /// Cross Gateway Query.
    #[serde(rename = "iti-38")]
    pub iti_38: String,
    /// Cross Gateway Retrieve.
    #[serde(rename = "iti-39")]
    pub iti_39: String,
    /// Provide and Register Document Set-b.
    #[serde(rename = "iti-41")]
    pub iti_41: String,
    /// PIX Update Notification.
    #[serde(rename = "iti-46")]
    pub iti_46: String,
    /// Registry Stored Query, for a registry of our own.
    #[serde(rename = "iti-18")]
    pub iti_18: String,
    /// Register Document Set-b, for a registry of our own.
    #[serde(rename = "iti-42")]
    pub iti_42: String,
    /// Retrieve Document Set, for a repository of our own.
    #[serde(rename = "iti-43")]
    pub iti_43: String,
    /// Cross Gateway Patient Discovery.
    #[serde(rename = "iti-55")]
    pub iti_55: String,
    /// Cross-Gateway Document Provide.
    #[serde(rename = "iti-80")]
    pub iti_80: String,
}

impl Urls {
    fn each(&self) -> [(Transaction, &str); 9] {
        [
            (Transaction::Iti38, &self.iti_38),
            (Transaction::Iti39, &self.iti_39),
            (Transaction::Iti41, &self.iti_41),
            (Transaction::Iti46, &self.iti_46),
            (Transaction::Iti18, &self.iti_18),
            (Transaction::Iti42, &self.iti_42),
            (Transaction::Iti43, &self.iti_43),
            (Transaction::Iti55, &self.iti_55),
            (Transaction::Iti80, &self.iti_80),
        ]
    }
}

/// The table `[timeouts]`, in seconds: 60 for discovery and 120 for the others, as live gateways use them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Cross Gateway Query (120).
    #[serde(rename = "iti-38")]
    pub iti_38: u16,
    /// Cross Gateway Retrieve (120).
    #[serde(rename = "iti-39")]
    pub iti_39: u16,
    /// Provide and Register Document Set-b (120).
    #[serde(rename = "iti-41")]
    pub iti_41: u16,
    /// PIX Update Notification (60).
    #[serde(rename = "iti-46")]
    pub iti_46: u16,
    /// Registry Stored Query, for a registry of our own (120).
    #[serde(rename = "iti-18")]
    pub iti_18: u16,
    /// Register Document Set-b, for a registry of our own (120).
    #[serde(rename = "iti-42")]
    pub iti_42: u16,
    /// Retrieve Document Set, for a repository of our own (120).
    #[serde(rename = "iti-43")]
    pub iti_43: u16,
    /// Cross Gateway Patient Discovery (60).
    #[serde(rename = "iti-55")]
    pub iti_55: u16,
    /// Cross-Gateway Document Provide (120).
    #[serde(rename = "iti-80")]
    pub iti_80: u16,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            iti_18: 120,
            iti_38: 120,
            iti_39: 120,
            iti_41: 120,
            iti_42: 120,
            iti_43: 120,
            iti_46: 60,
            iti_55: 60,
            iti_80: 120,
        }
    }
}

impl Timeouts {
    fn each(&self) -> [(Transaction, u16); 9] {
        [
            (Transaction::Iti38, self.iti_38),
            (Transaction::Iti39, self.iti_39),
            (Transaction::Iti41, self.iti_41),
            (Transaction::Iti46, self.iti_46),
            (Transaction::Iti18, self.iti_18),
            (Transaction::Iti42, self.iti_42),
            (Transaction::Iti43, self.iti_43),
            (Transaction::Iti55, self.iti_55),
            (Transaction::Iti80, self.iti_80),
        ]
    }
}

/// An entry of `[[members]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemberFile {
    /// Name for people.
    pub name: String,
    /// The member's community, `urn:oid:` and an OID.
    pub home_community_id: String,
    /// OIDs of the patient identifier domains of the member.
    pub assigning_authorities: Vec<String>,
}

/// What sort of network a partner belongs to. Rules and defaults follow from it; certificates from its `network`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// Carequality implementers and connections.
    Carequality,
    /// A QHIN, or the QHIN's own link to us.
    Tefca,
    /// eHealth Exchange, its hub or a participant.
    EhealthExchange,
    /// CommonWell, as a Carequality implementer or record locator.
    Commonwell,
    /// Our own systems: registries, repositories, consumers.
    Local,
    /// Any other.
    Other,
}

impl NetworkKind {
    /// Each of them.
    pub const ALL: &[Self] =
        &[Self::Carequality, Self::Tefca, Self::EhealthExchange, Self::Commonwell, Self::Local, Self::Other];

    /// The name as configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Carequality => "carequality",
            Self::Tefca => "tefca",
            Self::EhealthExchange => "ehealth-exchange",
            Self::Commonwell => "commonwell",
            Self::Local => "local",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for NetworkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Fingerprint(pub [u8; 32]);

/// Why a text is not a fingerprint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a SHA-256 fingerprint of 64 hexadecimal digits")]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    /// Reads plain digits and the `AB:CD` form that tools print.
    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim().replace(':', ""), &mut bytes).map_err(|_| NotAFingerprint)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An address that a request can be sent to: `https://`, or `http://` on this machine only.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ServiceUrl(Uri);

/// Why a text is not an address to send to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UrlError {
    /// No scheme, no host, or not a URL.
    #[error("not a URL with scheme and host")]
    Malformed,
    /// Patient data goes nowhere without TLS (specification SEC-01).
    #[error("only https is used, except on this machine")]
    NotHttps,
    /// A fragment is never sent, and a user name never belongs there.
    #[error("a user name or a fragment has no place in it")]
    Decorated,
}

impl ServiceUrl {
    /// The address.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// The host name or IP address.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// The port, that of the scheme if none is written.
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Whether TLS is spoken.
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl FromStr for ServiceUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.contains('#') {
            return Err(UrlError::Decorated);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(UrlError::Malformed)?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(UrlError::Decorated);
        }
        let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if here => Ok(Self(uri)),
            Some(_) => Err(UrlError::NotHttps),
            None => Err(UrlError::Malformed),
        }
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A community that a partner answers for.
#[derive(Clone, Debug)]
pub struct Member {
    /// Name for people.
    pub name: SmolStr,
    /// Its community.
    pub home: HomeCommunityId,
    /// Its patient identifier domains.
    pub authorities: Vec<AssigningAuthority>,
}

/// A partner, checked.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Name of its file, unique; it names the partner in logs and commands.
    pub key: SmolStr,
    /// Name for people.
    pub name: SmolStr,
    /// Whose certificates count for it.
    pub network: NetworkName,
    /// What sort of network it is.
    pub kind: NetworkKind,
    /// Its community.
    pub home: HomeCommunityId,
    /// Its patient identifier domains.
    pub authorities: Vec<AssigningAuthority>,
    /// Communities reached through it.
    pub members: Vec<Member>,
    /// It may send us requests.
    pub initiates: bool,
    /// We may send it requests.
    pub responds: bool,
    /// It answers discovery for its members.
    pub record_locator: bool,
    /// It speaks for communities not listed anywhere, with a pinned certificate.
    pub speaks_for_unlisted: bool,
    /// Purposes that it answers; none: those that its kind of network answers.
    pub purposes_answered: Option<Vec<ExchangePurpose>>,
    /// Purposes for which it may ask; none: those of the policy for its kind of network.
    pub purposes_allowed: Option<Vec<ExchangePurpose>>,
    /// Transactions that it may send; none: those of its kind of network.
    pub transactions_allowed: Option<Vec<Transaction>>,
    /// Certificates that may sign for it; empty: any that its network trusts.
    pub pinned: HashSet<Fingerprint>,
    /// Requests to it that may be under way at once, at least 1.
    pub concurrent_requests: usize,
    /// What is particular about it.
    pub quirks: Quirks,
    urls: BTreeMap<Transaction, ServiceUrl>,
    timeouts: BTreeMap<Transaction, Duration>,
}

impl Partner {
    /// Where it answers a transaction.
    pub fn url(&self, transaction: Transaction) -> Option<&ServiceUrl> {
        self.urls.get(&transaction)
    }

    /// Each address with its transaction.
    pub fn urls(&self) -> impl Iterator<Item = (Transaction, &ServiceUrl)> {
        self.urls.iter().map(|(transaction, url)| (*transaction, url))
    }

    /// How long it may take to answer a transaction.
    pub fn timeout(&self, transaction: Transaction) -> Duration {
        self.timeouts.get(&transaction).copied().unwrap_or(Duration::from_secs(120))
    }

    /// Whether a certificate may sign for it; which network trusts it is another question.
    pub fn accepts_certificate(&self, certificate: &Fingerprint) -> bool {
        self.pinned.is_empty() || self.pinned.contains(certificate)
    }

    /// Whether a community is this partner or one of its listed members.
    pub fn answers_for(&self, home: &HomeCommunityId) -> bool {
        self.home == *home || self.members.iter().any(|member| member.home == *home)
    }
}

const HOME_REMEDY: &str = "write it as urn:oid: and an OID";
const OID_REMEDY: &str = "write an OID, such as 2.999.20.1";
const PURPOSE_REMEDY: &str = "use the codes of TEFCA (T-TRTMNT) or NHIN (TREATMENT)";

impl File {
    /// Checks the file; none is given when something that nobody can guess is missing. `key` is the file's name.
    pub fn resolve(self, key: &str, problems: &mut Problems) -> Option<Partner> {
        if self.name.trim().is_empty() {
            problems.add("name", "is missing", "give the partner a name for people");
        }
        if self.kind.is_none() {
            problems.add("kind", "is missing", "say what sort of network it is, such as carequality or tefca");
        }
        if !(1..=1000).contains(&self.concurrent_requests) {
            problems.add("concurrent_requests", "must be from 1 to 1000", "leave it out for 16");
        }
        if self.speaks_for_unlisted && self.pinned_certificates.is_empty() {
            let remedy = "pin the hub's signing certificate, else anybody in the network could speak for anybody";
            problems.add("speaks_for_unlisted", "needs pinned_certificates", remedy);
        }
        let network = problems.require("network", &self.network, "name a folder of the trust store");
        let home = problems.require("home_community_id", &self.home_community_id, HOME_REMEDY);
        let partner = Partner {
            key: key.into(),
            name: self.name.into(),
            authorities: authorities("assigning_authorities", &self.assigning_authorities, problems),
            members: members(self.members, problems),
            initiates: self.initiates,
            responds: self.responds,
            record_locator: self.record_locator,
            speaks_for_unlisted: self.speaks_for_unlisted,
            purposes_answered: list("purposes_answered", self.purposes_answered, PURPOSE_REMEDY, problems),
            purposes_allowed: list("purposes_allowed", self.purposes_allowed, PURPOSE_REMEDY, problems),
            transactions_allowed: list("transactions_allowed", self.transactions_allowed, "write ITI-38", problems),
            pinned: problems
                .parse_all("pinned_certificates", &self.pinned_certificates, "causeway certificates show prints it")
                .into_iter()
                .collect(),
            concurrent_requests: self.concurrent_requests.clamp(1, 1000).into(),
            urls: urls(&self.urls, problems),
            timeouts: timeouts(&self.timeouts, problems),
            quirks: self.quirks.resolve(problems),
            network: network?,
            kind: self.kind?,
            home: home?,
        };
        if partner.responds && partner.urls.is_empty() {
            let remedy = "give a URL for at least one transaction, or set responds = false";
            problems.add("urls", "has no URL though responds is true", remedy);
        }
        Some(partner)
    }
}

fn authorities(key: &str, texts: &[String], problems: &mut Problems) -> Vec<AssigningAuthority> {
    problems.parse_all::<Oid>(key, texts, OID_REMEDY).iter().map(AssigningAuthority::iso).collect()
}

fn members(files: Vec<MemberFile>, problems: &mut Problems) -> Vec<Member> {
    let mut members = Vec::with_capacity(files.len());
    for (at, file) in files.into_iter().enumerate() {
        let key = format!("members[{at}]");
        let home = problems.require(&format!("{key}.home_community_id"), &file.home_community_id, HOME_REMEDY);
        let authorities = authorities(&format!("{key}.assigning_authorities"), &file.assigning_authorities, problems);
        members.extend(home.map(|home| Member { name: file.name.into(), home, authorities }));
    }
    members
}

fn list<T>(key: &str, texts: Option<Vec<String>>, remedy: &str, problems: &mut Problems) -> Option<Vec<T>>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    texts.map(|texts| problems.parse_all(key, &texts, remedy))
}

fn urls(file: &Urls, problems: &mut Problems) -> BTreeMap<Transaction, ServiceUrl> {
    let mut urls = BTreeMap::new();
    for (transaction, text) in file.each().into_iter().filter(|(_, text)| !text.is_empty()) {
        let key = format!("urls.{}", transaction.code().to_lowercase());
        let url = problems.parse(&key, text, "write it as https://host/path");
        urls.extend(url.map(|url| (transaction, url)));
    }
    urls
}

fn timeouts(file: &Timeouts, problems: &mut Problems) -> BTreeMap<Transaction, Duration> {
    for (transaction, _) in file.each().into_iter().filter(|(_, seconds)| !(1..=3600).contains(seconds)) {
        let key = format!("timeouts.{}", transaction.code().to_lowercase());
        problems.add(key, "must be from 1 to 3600 seconds", "leave it out for the usual time");
    }
    file.each().into_iter().map(|(transaction, seconds)| (transaction, Duration::from_secs(seconds.into()))).collect()
}
