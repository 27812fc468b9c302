//! The trust store: a folder for each network, read as a whole, swapped as a whole.
//!
//! `trust-store/<network>/*.pem` are the network's authorities. `*.crl` and `crl/*` are their revocation lists (PEM or
//! DER). `pinned/*.pem` are end certificates that are trusted themselves, whoever issued them: ITI-19 wants both ways.
//! An authority that is not self-signed and whose issuer is in the same folder is an intermediate: it helps to build
//! paths but ends none, so its own revocation is looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::CertRevocationList;
use x509_parser::prelude::X509Version;

use super::chain::{ChainError, Usage, unix_time};
use super::revocation::{self, RevocationPolicy};
use super::{NetworkName, peer};
use crate::id::Timestamp;

/// What the store has for one network.
pub struct Network {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    pub(super) intermediates: Vec<CertificateDer<'static>>,
    pub(super) pinned: Vec<CertificateDer<'static>>,
    pub(super) lists: Vec<CertRevocationList<'static>>,
    pub(super) list_ders: Vec<revocation::Der>,
    pub(super) policy: RevocationPolicy,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (anchors, pinned, lists) = (self.anchors.len(), self.pinned.len(), self.lists.len());
        write!(f, "Network({anchors} anchors, {pinned} pinned, {lists} lists)")
    }
}

/// Something in the store that can expire, for the operator's board.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Held {
    /// Whose it is.
    pub network: NetworkName,
    /// What it is.
    pub kind: HeldKind,
    /// Where it was read.
    pub file: PathBuf,
    /// The subject of a certificate, the issuer of a list.
    pub name: String,
    /// Its last instant; none for a list that names no next one.
    pub expires: Option<Timestamp>,
}

/// Kinds of things in the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeldKind {
    /// A certificate that paths may end in.
    Anchor,
    /// A certificate that paths may go through.
    Intermediate,
    /// An end certificate that is trusted itself.
    Pinned,
    /// A revocation list.
    RevocationList,
}

/// One thing that is wrong with the trust store or with a certificate file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} {what}", file.display())]
pub struct Problem {
    /// The file or folder.
    pub file: PathBuf,
    /// What is wrong, as the rest of a sentence that starts with the file.
    pub what: String,
}

/// All that is wrong with the trust store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The trust store as it was at one time.
#[derive(Debug)]
pub struct Store {
    networks: BTreeMap<NetworkName, Network>,
    held: Vec<Held>,
    files: Files,
}

/// Path, length and modification time of every file that was (or would be) read.
type Files = Vec<(PathBuf, u64, Option<SystemTime>)>;

impl Store {
    /// Reads the folder. Networks without a policy get the default one. Every problem is reported, not the first.
    pub fn load(folder: &Path, policies: &BTreeMap<NetworkName, RevocationPolicy>) -> Result<Self, Problems> {
        let mut reading = Reading::default();
        let mut networks = BTreeMap::new();
        let files = list_files(folder);
        for path in reading.folders(folder) {
            let Some(Ok(name)) = path.file_name().and_then(|name| name.to_str()).map(str::parse::<NetworkName>) else {
                reading.problem(&path, "is not named as a network can be");
                continue;
            };
            let policy = policies.get(&name).copied().unwrap_or_default();
            let network = reading.network(&name, &path, policy);
            networks.insert(name, network);
        }
        for name in policies.keys().filter(|name| !networks.contains_key(*name)) {
            reading.problem(&folder.join(name.as_str()), "is missing, although the network is configured");
        }
        if !reading.problems.is_empty() {
            return Err(Problems(reading.problems));
        }
        Ok(Self { networks, held: reading.held, files })
    }

    /// The names of the networks.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkName> {
        self.networks.keys()
    }

    /// What the store has for a network.
    pub fn network(&self, name: &NetworkName) -> Option<&Network> {
        self.networks.get(name)
    }

    /// Everything that can expire.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// The networks that trust a certificate for a use; when none does, the reason that tells most.
    pub(super) fn trusting(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        usage: Usage,
        at: UnixTime,
    ) -> Result<Vec<NetworkName>, ChainError> {
        let mut trusting = Vec::new();
        let mut worst = ChainError::UnknownIssuer;
        for (name, network) in &self.networks {
            match network.verify(leaf, sent, usage, at) {
                Ok(()) => trusting.push(name.clone()),
                Err(error) => worst = worst.more_specific(error),
            }
        }
        if trusting.is_empty() { Err(worst) } else { Ok(trusting) }
    }
}

/// One reading of the store, collecting problems as it goes.
#[derive(Default)]
struct Reading {
    problems: Vec<Problem>,
    held: Vec<Held>,
}

impl Reading {
    fn problem(&mut self, file: &Path, what: impl Into<String>) {
        self.problems.push(Problem { file: file.to_owned(), what: what.into() });
    }

    fn folders(&mut self, folder: &Path) -> Vec<PathBuf> {
        match fs::read_dir(folder) {
            Ok(_) => entries(folder).into_iter().filter(|path| path.is_dir()).collect(),
            Err(error) => {
                self.problem(folder, format!("cannot be read: {error}"));
                Vec::new()
            }
        }
    }

    fn network(&mut self, name: &NetworkName, folder: &Path, policy: RevocationPolicy) -> Network {
        let (mut anchors, mut intermediates) = (Vec::new(), Vec::new());
        let authorities = self.certificates(folder, &["pem", "crt", "cer"]);
        let subjects: Vec<Vec<u8>> = authorities.iter().filter_map(|(_, der)| subject(der)).collect();
        for (file, der) in &authorities {
            match self.authority(file, der, &subjects) {
                Some(HeldKind::Intermediate) => {
                    self.hold(name, HeldKind::Intermediate, file, der);
                    intermediates.push(der.clone());
                }
                Some(_) => match webpki::anchor_from_trusted_cert(der) {
                    Ok(anchor) => {
                        self.hold(name, HeldKind::Anchor, file, der);
                        anchors.push(anchor.to_owned());
                    }
                    Err(error) => self.problem(file, format!("has a certificate that cannot be an anchor: {error}")),
                },
                None => {}
            }
        }
        let mut pinned = Vec::new();
        for (file, der) in self.certificates(&folder.join("pinned"), &["pem", "crt", "cer"]) {
            self.hold(name, HeldKind::Pinned, &file, &der);
            pinned.push(der);
        }
        if authorities.is_empty() && pinned.is_empty() {
            self.problem(folder, "has neither an authority (*.pem) nor a pinned certificate (pinned/*.pem)");
        }
        let (mut lists, mut list_ders) = (Vec::new(), Vec::new());
        for (list, der) in self.lists(name, folder) {
            lists.push(list);
            list_ders.push(der);
        }
        if lists.is_empty() && policy.revocation == revocation::Revocation::Required && !authorities.is_empty() {
            self.problem(folder, "has no revocation list (*.crl), although revocation is required");
        }
        Network { anchors, intermediates, pinned, lists, list_ders, policy }
    }

    /// Anchor or intermediate; none (and a problem) for what is no authority.
    fn authority(&mut self, file: &Path, der: &CertificateDer<'_>, subjects: &[Vec<u8>]) -> Option<HeldKind> {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(der) else {
            self.problem(file, "has a certificate that cannot be read");
            return None;
        };
        let is_authority = parsed.basic_constraints().ok().flatten().is_some_and(|basic| basic.value.ca);
        if !is_authority && parsed.version() == X509Version::V3 {
            self.problem(file, "is an end certificate, not an authority: it belongs into pinned/");
            return None;
        }
        let own_issuer = parsed.subject().as_raw() == parsed.issuer().as_raw();
        let issuer_is_here = subjects.iter().any(|subject| subject == parsed.issuer().as_raw());
        Some(if issuer_is_here && !own_issuer { HeldKind::Intermediate } else { HeldKind::Anchor })
    }

    fn certificates(&mut self, folder: &Path, extensions: &[&str]) -> Vec<(PathBuf, CertificateDer<'static>)> {
        let mut found = Vec::new();
        for path in with_extension(folder, extensions) {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.problem(&path, format!("cannot be read: {error}"));
                    continue;
                }
            };
            match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
                Ok(ders) if ders.is_empty() => self.problem(&path, "has no certificate in it"),
                Ok(ders) => found.extend(ders.into_iter().map(|der| (path.clone(), der))),
                Err(error) => self.problem(&path, format!("is not PEM: {error}")),
            }
        }
        found
    }

    fn lists(&mut self, name: &NetworkName, folder: &Path) -> Vec<(CertRevocationList<'static>, revocation::Der)> {
        let mut found = Vec::new();
        let inner = with_extension(&folder.join("crl"), &["pem", "der", "crl"]);
        for path in with_extension(folder, &["crl"]).into_iter().chain(inner) {
            let read = fs::read(&path).map_err(|error| format!("cannot be read: {error}"));
            match read.and_then(|bytes| revocation::read_lists(&bytes)) {
                Ok(lists) => {
                    for (_, der) in &lists {
                        self.hold_list(name, &path, der);
                    }
                    found.extend(lists);
                }
                Err(what) => self.problem(&path, what),
            }
        }
        found
    }

    fn hold(&mut self, network: &NetworkName, kind: HeldKind, file: &Path, der: &CertificateDer<'_>) {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(der) else {
            self.problem(file, "has a certificate that cannot be read");
            return;
        };
        let expires = Some(Timestamp::from_millis(parsed.validity().not_after.timestamp().saturating_mul(1000)));
        let name = peer::summary(parsed.subject());
        self.held.push(Held { network: network.clone(), kind, file: file.to_owned(), name, expires });
    }

    fn hold_list(&mut self, network: &NetworkName, file: &Path, der: &revocation::Der) {
        let Ok((_, parsed)) = x509_parser::parse_x509_crl(der) else { return };
        let expires = parsed.next_update().map(|at| Timestamp::from_millis(at.timestamp().saturating_mul(1000)));
        let name = peer::summary(parsed.issuer());
        let kind = HeldKind::RevocationList;
        self.held.push(Held { network: network.clone(), kind, file: file.to_owned(), name, expires });
    }
}

fn subject(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(parsed.subject().as_raw().to_vec())
}

/// What is in a folder, sorted, without hidden files; nothing for a folder that is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(reader) = fs::read_dir(folder) else { return Vec::new() };
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut paths: Vec<PathBuf> = reader.flatten().map(|entry| entry.path()).filter(|path| !hidden(path)).collect();
    paths.sort();
    paths
}

fn with_extension(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let wanted = |path: &PathBuf| path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e));
    entries(folder).into_iter().filter(|path| wanted(path) && path.is_file()).collect()
}

fn list_files(folder: &Path) -> Files {
    let mut files = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            files.extend(list_files(&path));
        } else if let Ok(metadata) = fs::metadata(&path) {
            files.push((path, metadata.len(), metadata.modified().ok()));
        }
    }
    files
}

/// The trust store in use. It is read again while the program runs; a reading with problems changes nothing.
pub struct Trust {
    folder: PathBuf,
    policies: BTreeMap<NetworkName, RevocationPolicy>,
    store: ArcSwap<Store>,
    generation: AtomicU64,
    /// Clients whose certificates passed a handshake moments ago, so that `Peer` need not repeat the signatures.
    recent: moka::sync::Cache<(u64, [u8; 32]), Arc<[NetworkName]>>,
    /// Chains that were found good moments ago, and when: a partner signs many messages with one certificate.
    found_good: moka::sync::Cache<(u64, NetworkName, Usage, [u8; 32]), Timestamp>,
}

/// How long a chain that was found good is not looked at again.
const STAYS_GOOD: Duration = Duration::from_secs(30);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({:?}, generation {})", self.folder, self.generation())
    }
}

impl Trust {
    /// Reads the folder for the first time.
    pub fn open(folder: &Path, policies: BTreeMap<NetworkName, RevocationPolicy>) -> Result<Arc<Self>, Problems> {
        let store = Store::load(folder, &policies)?;
        let recent = moka::sync::Cache::builder().max_capacity(4096).time_to_live(Duration::from_secs(30)).build();
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            policies,
            store: ArcSwap::from_pointee(store),
            generation: AtomicU64::new(1),
            recent,
            found_good: moka::sync::Cache::builder().max_capacity(4096).time_to_live(STAYS_GOOD).build(),
        }))
    }

    /// Reads the folder again. With problems the store stays as it is.
    pub fn reload(&self) -> Result<(), Problems> {
        let store = Store::load(&self.folder, &self.policies)?;
        self.store.store(Arc::new(store));
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Whether a file was added, removed or written since the store was read. It looks at the folder (blocking).
    pub fn changed(&self) -> bool {
        list_files(&self.folder) != self.store.load().files
    }

    /// A number that grows with each reload: what was decided under another one must be decided again.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The store as it is now.
    pub fn store(&self) -> Arc<Store> {
        self.store.load_full()
    }

    /// Whether a certificate is trusted in a network for a use.
    pub fn verify_chain(
        &self,
        network: &NetworkName,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        at: Timestamp,
    ) -> Result<(), ChainError> {
        // The generation is read first: should the store be swapped in between, the entry is merely not found.
        let generation = self.generation();
        let key = (generation, network.clone(), usage, chain_digest(std::iter::once(leaf).chain(intermediates)));
        // Compared with the time asked about, which need not be that of the cache's own clock.
        if self.found_good.get(&key).is_some_and(|found| found <= at && at < found.plus(STAYS_GOOD)) {
            return Ok(());
        }
        let store = self.store.load();
        let network = store.network(network).ok_or(ChainError::UnknownNetwork)?;
        network.verify(leaf, intermediates, usage, unix_time(at))?;
        self.found_good.insert(key, at);
        Ok(())
    }

    /// The networks that trust the owner of a chain (leaf first) to sign messages.
    pub fn networks_trusting(&self, chain: &[CertificateDer<'_>], at: Timestamp) -> Vec<NetworkName> {
        let Some((leaf, sent)) = chain.split_first() else { return Vec::new() };
        self.store.load().trusting(leaf, sent, Usage::Signing, unix_time(at)).unwrap_or_default()
    }

    /// The networks that trust a TLS client.
    pub(super) fn admit_client(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<(), ChainError> {
        // The generation is read first: should the store be swapped in between, the entry is merely not found.
        let generation = self.generation();
        let networks = self.store.load().trusting(leaf, sent, Usage::Client, at)?;
        self.recent.insert((generation, chain_digest(std::iter::once(leaf).chain(sent))), networks.into());
        Ok(())
    }

    /// The same for a chain that may have been admitted a moment ago.
    pub(super) fn client_networks(
        &self,
        chain: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<(u64, Arc<[NetworkName]>), ChainError> {
        let generation = self.generation();
        if let Some(networks) = self.recent.get(&(generation, chain_digest(chain.iter()))) {
            return Ok((generation, networks));
        }
        let (leaf, sent) = chain.split_first().ok_or(ChainError::Malformed)?;
        let networks = self.store.load().trusting(leaf, sent, Usage::Client, at)?;
        Ok((generation, networks.into()))
    }
}

fn chain_digest<'a>(chain: impl Iterator<Item = &'a CertificateDer<'a>>) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for certificate in chain {
        context.update(&u64::try_from(certificate.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(certificate);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
