//! What can be found out before the first connection: files, keys, certificates, partners, disk, clock, names.
//!
//! Nothing here changes anything, except that a file is made and removed to see whether the store can be written, and
//! that the store of a gateway that crashed is brought to its last state to be looked at.

mod destinations;

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::settings::{KeyPair, Settings};
use crate::authenticate::ClientProof;
use crate::directory::{self, NetworkKind, Partner, Problem, Problems, Snapshot};
use crate::id::{Clock, ExchangePurpose, HomeCommunityId, Tenant, Timestamp, Transaction};
use crate::storage::engine::{self, Engine, StoreError};
use crate::storage::identities::Identities;
use crate::storage::seal::Sealer;
use crate::trust::{ChainError, Held, NetworkName, Trust, Usage};

/// What a check found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// What must be mended before the gateway works.
    pub problems: Vec<Problem>,
    /// What an operator should know.
    pub notes: Vec<Problem>,
}

impl Report {
    /// Whether nothing must be mended.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks a configuration file and all that it names.
pub fn run(path: &Path, clock: &Clock) -> Report {
    let settings = match super::load(path) {
        Ok(settings) => settings,
        Err(problems) => return Report { problems, notes: Vec::new() },
    };
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut check = Check {
        now: clock.now(),
        lines: Problems::read::<super::File>(path, &text).1,
        file: path.to_owned(),
        report: Report::default(),
    };
    let trust = check.trust(&settings);
    let trust = trust.as_deref();
    check.key_pair("tls", &settings.tls, Some(settings.listen.public_url.host()), trust);
    if settings.signing != settings.tls {
        check.key_pair("signing", &settings.signing, None, trust);
    }
    let (partners, problems) = directory::load(&settings.partners);
    check.report.problems.extend(problems);
    check.partners(&settings, &partners, trust);
    check.destinations(&settings, &partners, trust);
    check.collectors(&settings, trust);
    check.clients(&settings, trust);
    check.store(&settings.store.folder);
    check.tables(&settings);
    check.documents(&settings, &partners);
    check.clock(&settings);
    check.report
}

/// Sentences about our own certificates and all that is trusted, as far as it ends within some days.
pub fn expiring(settings: &Settings, trust: &Trust, now: Timestamp, days: i64) -> Vec<String> {
    let mut ends: Vec<(String, i64)> = Vec::new();
    for pair in [&settings.tls, &settings.signing] {
        let read = CertificateDer::pem_file_iter(&pair.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        for certificate in read.unwrap_or_default() {
            let Ok((_, certificate)) = X509Certificate::from_der(&certificate) else { continue };
            let what = format!("{} of {}", certificate.subject(), pair.certificate.display());
            ends.push((what, certificate.validity().not_after.timestamp()));
        }
    }
    for held in trust.store().held() {
        ends.extend(held.expires.map(|at| (format!("{} of the network {}", held.name, held.network), at.as_secs())));
    }
    ends.sort();
    ends.dedup();
    let soon = ends.into_iter().filter_map(|(what, end)| {
        let left = (end - now.as_secs()).div_euclid(86_400);
        match left {
            ..0 => Some(format!("{what} has expired")),
            _ if left < days => Some(format!("{what} expires in {left} days")),
            _ => None,
        }
    });
    soon.collect()
}

/// The clock is wrong when it is before this: 2026-01-01. The program is younger.
const YOUNGER_THAN_THIS: i64 = 1_767_225_600;

/// Days before the end of a certificate from which each report says so. The operator console and the metrics say it
/// again at 60, 30, 14, 7 and 1.
const DAYS_LEFT: i64 = 90;

/// MiB of disk without which a gateway is stopped sooner or later, and below which the operator should know.
const NO_ROOM: u64 = 256;
const LITTLE_ROOM: u64 = 4096;
/// The most rows that contradict each other that a report tells of.
const MOST_TABLE_PROBLEMS: usize = 20;

struct Check {
    now: Timestamp,
    lines: Problems,
    file: PathBuf,
    report: Report,
}

impl Check {
    fn told(&self, key: &str, text: String, remedy: &str) -> Problem {
        let line = self.lines.line(key);
        Problem { file: self.file.clone(), line, key: key.into(), text, remedy: remedy.into() }
    }

    fn problem(&mut self, key: &str, text: impl Into<String>, remedy: &str) {
        self.report.problems.push(self.told(key, text.into(), remedy));
    }

    fn note(&mut self, key: &str, text: impl Into<String>, remedy: &str) {
        self.report.notes.push(self.told(key, text.into(), remedy));
    }

    fn documents(&mut self, settings: &Settings, partners: &Snapshot) {
        let path = settings.documents.value_sets.as_deref();
        if let Some(Err(problems)) = path.map(super::value_sets::load) {
            self.report.problems.extend(problems);
        }
        let external = &settings.documents.external;
        let key = |name: &str| format!("documents.external.{name}");
        if let Some(registry) = &external.registry {
            self.receiver(partners, &key("registry"), registry, &[Transaction::Iti18]);
        }
        if let Some(submissions) = &external.submissions {
            let either = [Transaction::Iti41, Transaction::Iti42];
            self.receiver(partners, &key("submissions"), submissions, &either);
        }
        for (id, partner) in &external.repositories {
            self.receiver(partners, &key(&format!("repositories.{}", id.as_str())), partner, &[Transaction::Iti43]);
        }
        if let Some(on_demand) = &settings.documents.on_demand
            && !on_demand.program.is_file()
        {
            let text = format!("there is no program {}", on_demand.program.display());
            self.problem(
                "documents.on_demand.command",
                text,
                "give the path of a program that the gateway's user may run",
            );
        }
    }

    fn trust(&mut self, settings: &Settings) -> Option<Arc<Trust>> {
        let trust = Trust::open(&settings.trust.folder, settings.trust.networks.clone());
        match trust {
            Ok(trust) => {
                for held in trust.store().held() {
                    self.held(held);
                }
                Some(trust)
            }
            Err(problems) => {
                let told = problems.0.into_iter().map(|problem| Problem {
                    file: problem.file,
                    line: None,
                    key: String::new(),
                    text: problem.what,
                    remedy: "see README.md of the trust store for what belongs there".into(),
                });
                self.report.problems.extend(told);
                None
            }
        }
    }

    /// What is trusted expires too: then everybody in the network is refused.
    fn held(&mut self, held: &Held) {
        let Some(expires) = held.expires else { return };
        let what = format!("{} of {}", held.name, held.network);
        let told = |text: String| Problem {
            file: held.file.clone(),
            line: None,
            key: String::new(),
            text,
            remedy: "get a new one from the network".into(),
        };
        if let Some(days) = self.days_left(expires.as_secs()) {
            if days < 0 {
                self.report.notes.push(told(format!("{what} has expired")));
            } else {
                self.report.notes.push(told(format!("{what} expires in {days} days")));
            }
        }
    }

    /// Days until an instant when they are few enough to say so; negative when it is past.
    fn days_left(&self, until: i64) -> Option<i64> {
        let left = until - self.now.as_secs();
        let days = left.div_euclid(86_400);
        (days < DAYS_LEFT).then_some(days)
    }

    fn key_pair(&mut self, section: &str, pair: &KeyPair, host: Option<&str>, trust: Option<&Trust>) {
        let (certificate_key, key_key) = (format!("{section}.certificate"), format!("{section}.key"));
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_file_iter(&pair.certificate).and_then(Iterator::collect);
        let key = PrivateKeyDer::from_pem_file(&pair.key);
        if let Err(error) = &key {
            let text = format!("{} cannot be used: {error}", pair.key.display());
            self.problem(&key_key, text, "give a PEM file with a PKCS#8 key that the gateway's user may read");
        }
        let chain = match chain {
            Ok(chain) if !chain.is_empty() => chain,
            Ok(_) => {
                let text = format!("{} has no certificate in it", pair.certificate.display());
                return self.problem(&certificate_key, text, "give a PEM file, our certificate first");
            }
            Err(error) => {
                let text = format!("{} cannot be used: {error}", pair.certificate.display());
                return self.problem(&certificate_key, text, "give a PEM file that the gateway's user may read");
            }
        };
        if let Ok(key) = key {
            self.matching_key(&key_key, &chain, &key);
        }
        let mut parsed = Vec::with_capacity(chain.len());
        for certificate in &chain {
            match X509Certificate::from_der(certificate) {
                Ok((_, certificate)) => parsed.push(certificate),
                Err(_) => return self.problem(&certificate_key, "cannot be read as X.509", "ask for it again"),
            }
        }
        self.certificates(&certificate_key, &chain, &parsed, host, trust);
    }

    fn matching_key(&mut self, name: &str, chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) {
        match rustls::crypto::aws_lc_rs::sign::any_supported_type(key) {
            Ok(signing) => {
                if CertifiedKey::new(chain.to_vec(), signing).keys_match().is_err() {
                    let remedy = "put our own certificate first in its file, and use the key it was requested with";
                    self.problem(name, "does not belong to the certificate", remedy);
                }
            }
            Err(_) => {
                self.problem(name, "is of a sort that is not supported", "use RSA of 2048 bits or more, or P-256")
            }
        }
    }

    fn certificates(
        &mut self,
        key: &str,
        chain_der: &[CertificateDer<'static>],
        chain: &[X509Certificate<'_>],
        host: Option<&str>,
        trust: Option<&Trust>,
    ) {
        for certificate in chain {
            self.validity(key, certificate);
        }
        let Some((leaf, last)) = chain.first().zip(chain.last()) else { return };
        if let Ok(PublicKey::RSA(rsa)) = leaf.public_key().parsed()
            && rsa.key_size() < 2048
        {
            let text = format!("has an RSA key of {} bits", rsa.key_size());
            self.problem(key, text, "ask for a certificate with a key of 2048 bits or more");
        }
        if let Some(host) = host
            && !names(leaf).iter().any(|name| covers(name, host))
        {
            let text = format!("does not name {host}, the host of listen.public_url");
            self.problem(key, text, "ask for a certificate with that name in its subjectAltName");
        }
        for (below, above) in chain.iter().zip(chain.iter().skip(1)) {
            if below.issuer().as_raw() != above.subject().as_raw() {
                let text = format!("is out of order: {} is followed by {}", below.subject(), above.subject());
                return self.problem(key, text, "put our certificate first, then the one that issued it, and so on");
            }
        }
        if let Some(trust) = trust {
            self.issuer(key, chain_der, &last.issuer().to_string(), trust);
        }
    }

    fn issuer(&mut self, key: &str, chain: &[CertificateDer<'static>], last: &str, trust: &Trust) {
        let Some((leaf, above)) = chain.split_first() else { return };
        if !trust.networks_trusting(chain, self.now).is_empty() {
            return;
        }
        let store = trust.store();
        let refuse = |network| trust.verify_chain(network, leaf, above, Usage::Signing, self.now).err();
        let reason = store.networks().filter_map(refuse).reduce(ChainError::more_specific);
        let reason = reason.unwrap_or(ChainError::UnknownNetwork);
        let text = format!("is trusted by no network of the trust store: {reason}; the chain ends with {last}");
        self.problem(key, text, "add the missing certificate to the file, or the root to the network's folder");
    }

    fn validity(&mut self, key: &str, certificate: &X509Certificate<'_>) {
        let now = self.now.as_secs();
        let subject = certificate.subject().to_string();
        if now < certificate.validity().not_before.timestamp() {
            return self.problem(key, format!("{subject} is not yet valid"), "check the clock, or wait");
        }
        match self.days_left(certificate.validity().not_after.timestamp()) {
            Some(days) if days < 0 => self.problem(key, format!("{subject} has expired"), "renew the certificate"),
            Some(days) => self.note(key, format!("{subject} expires in {days} days"), "renew the certificate"),
            None => {}
        }
    }

    fn partners(&mut self, settings: &Settings, partners: &Snapshot, trust: Option<&Trust>) {
        for partner in partners.partners() {
            self.partner(settings, partner, trust);
        }
        self.overlaps(settings, partners);
    }

    fn partner(&mut self, settings: &Settings, partner: &Partner, trust: Option<&Trust>) {
        let place = Place::of(settings, partner);
        if trust.is_some_and(|trust| !has_anchor(trust, &partner.network)) {
            let text = format!("no certificate is trusted for {}", partner.network);
            let remedy = "put the network's root certificates into that folder of the trust store";
            self.report.problems.push(place.told("network", text, remedy));
        }
        // Our own systems ask in the name of our community.
        if partner.home == settings.community.home && partner.kind != NetworkKind::Local {
            let text = "is our own community".to_owned();
            self.report.problems.push(place.told("home_community_id", text, "write the partner's community"));
        }
        if let Some(until) = partner.quirks.allow_sha1_until {
            let over = !partner.quirks.accepts_sha1(self.now);
            let remedy = "agree on SHA-256 with the partner and remove the key";
            if over {
                let text = "is over, and SHA-1 signatures are refused".to_owned();
                self.report.problems.push(place.told("quirks.allow_sha1_until", text, remedy));
            } else {
                let text = format!("accepts SHA-1 signatures until {}", until.to_rfc3339());
                self.report.notes.push(place.told("quirks.allow_sha1_until", text, remedy));
            }
        }
        for (key, purposes) in
            [("purposes_answered", &partner.purposes_answered), ("purposes_allowed", &partner.purposes_allowed)]
        {
            let unknown = |purpose: &&ExchangePurpose| matches!(purpose, ExchangePurpose::Other(_));
            for purpose in purposes.iter().flatten().filter(unknown) {
                let text = format!("{purpose} is no code of TEFCA or NHIN");
                self.report.notes.push(place.told(key, text, "make sure that the partner means it"));
            }
        }
    }

    /// A community that two hubs list is asked through the first; the operator should know.
    fn overlaps(&mut self, settings: &Settings, snapshot: &Snapshot) {
        let mut seen: HashMap<&HomeCommunityId, &Partner> = HashMap::new();
        for partner in snapshot.partners() {
            for (at, member) in partner.members.iter().enumerate() {
                let Some(other) = seen.insert(&member.home, partner) else { continue };
                let text = format!("{} is also a member of {}", member.home, other.key);
                let place = Place::of(settings, partner);
                let key = format!("members[{at}].home_community_id");
                self.report.notes.push(place.told(&key, text, "the partner first by file name is asked"));
            }
        }
    }

    fn collectors(&mut self, settings: &Settings, trust: Option<&Trust>) {
        for (at, collector) in settings.audit.collectors.iter().enumerate() {
            let key = |name: &str| format!("audit.collectors[{at}].{name}");
            self.reachable(&key("address"), &collector.host, collector.port);
            self.trusted(&key("network"), &collector.network, trust);
        }
    }

    /// Who is known by a name needs somebody who vouches for it.
    fn clients(&mut self, settings: &Settings, trust: Option<&Trust>) {
        for (at, client) in settings.clients.iter().enumerate() {
            let ClientProof::Name { network, .. } = &client.proof else { continue };
            self.trusted(&format!("fhir_clients[{at}].network"), network, trust);
        }
    }

    fn store(&mut self, folder: &Path) {
        if let Some(text) = unwritable(folder) {
            self.problem("store.folder", text, "give the gateway's user the right to write there, and disk space");
        }
    }

    /// Whether the tables agree, if no gateway has them open, and whether there is room for more.
    fn tables(&mut self, settings: &Settings) {
        let folder = &settings.store.folder;
        let existing = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
        if let Ok(disk) = rustix::fs::statvfs(existing) {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
            let text = format!("{free} MiB are free at {}", existing.display());
            let remedy = "make room: what cannot be stored or recorded is not answered";
            match free {
                ..NO_ROOM => self.problem("store.folder", text, remedy),
                NO_ROOM..LITTLE_ROOM => self.note("store.folder", text, remedy),
                _ => {}
            }
        }
        if !Engine::exists(folder) {
            return;
        }
        let opened = Engine::open(folder, &engine::Settings::default());
        let found =
            opened.and_then(|engine| Identities::new(engine, Sealer::plain()).verify_consistency(&Tenant::default()));
        match found {
            Ok(problems) => {
                for problem in problems.iter().take(MOST_TABLE_PROBLEMS) {
                    self.problem(
                        "store.folder",
                        problem.to_string(),
                        "restore the folder from a backup, and report this",
                    );
                }
            }
            Err(StoreError::InUse) => {
                let text = "is in use by a gateway, so its tables were not compared";
                self.note("store.folder", text, "stop the gateway and check again if you suspect damage");
            }
            Err(error) => self.problem("store.folder", error.to_string(), "restore the folder from a backup"),
        }
    }

    /// A clock that is behind files that exist is behind the time (specification SEC-20 depends on it).
    fn clock(&mut self, settings: &Settings) {
        let remedy = "synchronise the clock (NTP): partners refuse assertions from another time";
        if self.now.as_secs() < YOUNGER_THAN_THIS {
            let text = format!("the clock says {}, which is before this program was made", self.now.to_rfc3339());
            return self.problem("", text, remedy);
        }
        let files = [&self.file, &settings.tls.certificate, &settings.partners, &settings.store.folder];
        let newest = files.into_iter().filter_map(|path| modified(path)).max();
        if let Some(newest) = newest.filter(|newest| *newest > self.now.as_secs() + 300) {
            let newest = Timestamp::from_millis(newest.saturating_mul(1000)).to_rfc3339();
            let text = format!("the clock says {}, and a file was written at {newest}", self.now.to_rfc3339());
            self.problem("", text, remedy);
        }
    }
}

/// A partner's file and the lines of its keys.
struct Place {
    file: PathBuf,
    lines: Problems,
}

impl Place {
    fn of(settings: &Settings, partner: &Partner) -> Self {
        let file = settings.partners.join(format!("{}.toml", partner.key));
        let text = fs::read_to_string(&file).unwrap_or_default();
        let lines = Problems::read::<directory::File>(&file, &text).1;
        Self { file, lines }
    }

    fn told(&self, key: &str, text: String, remedy: &str) -> Problem {
        let line = self.lines.line(key);
        Problem { file: self.file.clone(), line, key: key.into(), text, remedy: remedy.into() }
    }
}

/// Why nothing can be written into a folder, which need not exist yet.
fn unwritable(folder: &Path) -> Option<String> {
    if folder.exists() && !folder.is_dir() {
        return Some(format!("{} is not a folder", folder.display()));
    }
    let existing = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let probe = existing.join(format!(".causeway-check-{}", std::process::id()));
    let written = fs::write(&probe, [0_u8; 4096]).and_then(|()| fs::remove_file(&probe));
    written.err().map(|error| format!("{} cannot be written: {error}", existing.display()))
}

fn modified(path: &Path) -> Option<i64> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    modified.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok())
}

fn has_anchor(trust: &Trust, network: &NetworkName) -> bool {
    trust.store().held().iter().any(|held| held.network == *network)
}

/// The names that a certificate is for: of hosts as they are, of IP addresses in text.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|address| address.to_string())
        }
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

/// Whether a certificate's name covers a host; `*.` stands for one label.
fn covers(name: &str, host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let wildcard = name.strip_prefix("*.").zip(host.split_once('.'));
    name.eq_ignore_ascii_case(host) || wildcard.is_some_and(|(name, (_, parent))| name.eq_ignore_ascii_case(parent))
}
