//! rustls configurations: TLS 1.2 and 1.3 only, both sides authenticated, nothing switched off.
//!
//! A listener takes the configuration anew for each connection and its verifier looks at the trust store as it is at
//! that moment, so new keys, authorities and revocation lists need no restart. Sessions are never resumed: a resumed
//! one would skip the look at the revocation lists.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::refusal::certificate_error;
use super::{NetworkName, Problem, Trust};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = aws_lc_rs::default_provider();
    // TLS 1.3, and of TLS 1.2 what has forward secrecy and AEAD; written out so that an update cannot widen it.
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
});

/// The cryptography of every connection. The process-wide default of rustls is never used.
pub fn provider() -> &'static Arc<CryptoProvider> {
    &PROVIDER
}

/// Our own certificate with the intermediates above it, and its key.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.key.cert.len())
    }
}

/// Why our certificate and key cannot be used. Never says anything about the key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate file.
    #[error("{} cannot be used as our certificate: {what}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key file.
    #[error("{} cannot be used as our private key: {what}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Both can be read and do not belong together.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// A configuration of rustls could not be built.
    #[error("a TLS configuration could not be built: {0}")]
    Configuration(String),
}

impl Identity {
    /// From PEM files: the certificate first, then its intermediates; the key as PKCS#8, PKCS#1 or SEC1.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let bad_certificate = |what: String| IdentityError::Certificate { file: certificate.to_owned(), what };
        let bad_key = |what: String| IdentityError::Key { file: key.to_owned(), what };
        let pem = fs::read(certificate).map_err(|error| bad_certificate(error.to_string()))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| bad_certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(bad_certificate("it has no certificate in it".into()));
        }
        let pem = zeroize::Zeroizing::new(fs::read(key).map_err(|error| bad_key(error.to_string()))?);
        let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| bad_key(error.to_string()))?;
        Self::new(chain, der)
    }

    /// From parts, the certificate first in the chain.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, IdentityError> {
        let key = CertifiedKey::from_der(chain, key, provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch,
            other => IdentityError::Configuration(other.to_string()),
        })?;
        Ok(Self { key: Arc::new(key) })
    }

    /// The chain that is sent, our certificate first.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

/// TLS with one identity of ours, on both sides of connections.
pub struct Tls {
    trust: Arc<Trust>,
    files: Option<IdentityFiles>,
    current: ArcSwap<Current>,
    clients: Mutex<Clients>,
}

/// Where our identity is read from.
struct IdentityFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// What our identity is now.
struct Current {
    identity: Identity,
    server: Arc<ServerConfig>,
    stamps: Vec<Option<SystemTime>>,
    generation: u64,
}

/// Client configurations by network, for one generation of trust and identity.
#[derive(Default)]
struct Clients {
    generation: (u64, u64),
    configurations: BTreeMap<NetworkName, Arc<ClientConfig>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?}, {:?})", self.current.load().identity, self.trust)
    }
}

impl Tls {
    /// With a certificate and key from PEM files, which [`reload`](Self::reload) reads again.
    pub fn open(trust: Arc<Trust>, certificate: &Path, key: &Path) -> Result<Arc<Self>, IdentityError> {
        let files = IdentityFiles { certificate: certificate.to_owned(), key: key.to_owned() };
        let stamps = files.stamps();
        let identity = Identity::load(certificate, key)?;
        Self::build(trust, identity, Some(files), stamps)
    }

    /// With an identity that does not come from files.
    pub fn with_identity(trust: Arc<Trust>, identity: Identity) -> Result<Arc<Self>, IdentityError> {
        Self::build(trust, identity, None, Vec::new())
    }

    fn build(
        trust: Arc<Trust>,
        identity: Identity,
        files: Option<IdentityFiles>,
        stamps: Vec<Option<SystemTime>>,
    ) -> Result<Arc<Self>, IdentityError> {
        let server = Arc::new(server_config(&trust, &identity)?);
        let current = ArcSwap::from_pointee(Current { identity, server, stamps, generation: 1 });
        Ok(Arc::new(Self { trust, files, current, clients: Mutex::default() }))
    }

    /// Reads certificate and key again. If they cannot be used, the old ones stay.
    pub fn reload(&self) -> Result<(), IdentityError> {
        let Some(files) = &self.files else { return Ok(()) };
        let stamps = files.stamps();
        let identity = Identity::load(&files.certificate, &files.key)?;
        let server = Arc::new(server_config(&self.trust, &identity)?);
        let generation = self.current.load().generation + 1;
        self.current.store(Arc::new(Current { identity, server, stamps, generation }));
        Ok(())
    }

    /// Whether the files of our identity were written since they were read (blocking).
    pub fn changed(&self) -> bool {
        self.files.as_ref().is_some_and(|files| files.stamps() != self.current.load().stamps)
    }

    /// The trust store that decides about the other side.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Our identity as it is now.
    pub fn identity(&self) -> Identity {
        self.current.load().identity.clone()
    }

    /// Grows when our identity or the trust store is read again: older connections to partners are given up.
    pub fn generation(&self) -> (u64, u64) {
        (self.trust.generation(), self.current.load().generation)
    }

    /// The configuration for the next connection of a listener.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().server)
    }

    /// The configuration for connections to partners of a network.
    ///
    /// It verifies chain, name and known revocations. The network's whole rule (required revocation, pinned
    /// certificates, revoked intermediates of the store) is applied by `net::dial` before it sends a byte.
    pub fn client(&self, network: &NetworkName) -> Result<Arc<ClientConfig>, Problem> {
        let generation = self.generation();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.generation != generation {
            *clients = Clients { generation, configurations: BTreeMap::new() };
        }
        if let Some(configuration) = clients.configurations.get(network) {
            return Ok(Arc::clone(configuration));
        }
        let configuration = Arc::new(self.client_config(network)?);
        clients.configurations.insert(network.clone(), Arc::clone(&configuration));
        Ok(configuration)
    }

    fn client_config(&self, name: &NetworkName) -> Result<ClientConfig, Problem> {
        let problem = |what: String| Problem { file: PathBuf::from(name.as_str()), what };
        let store = self.trust.store();
        let network = store.network(name).ok_or_else(|| problem("is not in the trust store".into()))?;
        let mut roots = RootCertStore { roots: network.anchors.clone() };
        // What the network's rule takes as an intermediate or as a pinned self-signed certificate must not fail here:
        // rustls knows anchors only. The rule itself is applied after this check, on the same connection.
        for extra in network.intermediates.iter().chain(&network.pinned) {
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(extra) {
                roots.roots.push(anchor.to_owned());
            }
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider()))
            .with_crls(network.list_ders.iter().cloned())
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| problem(format!("cannot verify servers: {error}")))?;
        let mut configuration = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(VERSIONS)
            .map_err(|error| problem(error.to_string()))?
            .with_webpki_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.current.load().identity.key))));
        configuration.resumption = Resumption::disabled();
        Ok(configuration)
    }
}

impl IdentityFiles {
    fn stamps(&self) -> Vec<Option<SystemTime>> {
        let stamp = |file: &PathBuf| fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        [&self.certificate, &self.key].map(stamp).to_vec()
    }
}

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

fn server_config(trust: &Arc<Trust>, identity: &Identity) -> Result<ServerConfig, IdentityError> {
    let verifier = Arc::new(ClientVerifier { trust: Arc::clone(trust) });
    let mut configuration = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(VERSIONS)
        .map_err(|error| IdentityError::Configuration(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
    configuration.session_storage = Arc::new(NoServerSessionStorage {});
    configuration.send_tls13_tickets = 0;
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(configuration)
}

/// A client must be trusted by at least one network.
#[derive(Debug)]
struct ClientVerifier {
    trust: Arc<Trust>,
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: several stacks send nothing when their issuer (an intermediate) or a pinned certificate is not
        // among them.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.trust.admit_client(end_entity, intermediates, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(error) => Err(rustls::Error::InvalidCertificate(certificate_error(error))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
