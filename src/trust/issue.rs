//! A certificate authority for tests, the sandbox and first steps: root, intermediate, end certificates, lists.
//!
//! Not for production: keys are files and there is no record of what was issued.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, RsaKeySize, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::tls::{Identity, IdentityError};
use crate::id::Timestamp;

/// Kinds of keys.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum KeyKind {
    /// RSA with 2048 bits, what most partners have.
    Rsa2048,
    /// ECDSA on P-256.
    #[default]
    P256,
}

/// From when to when something is valid, both inclusive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// `notBefore`, or `thisUpdate` of a list.
    pub from: Timestamp,
    /// `notAfter`, or `nextUpdate` of a list.
    pub until: Timestamp,
}

impl Validity {
    /// From an hour before an instant (clocks differ) until some days after it.
    pub fn days(at: Timestamp, days: u32) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self { from: at.minus(HOUR), until: at.plus(HOUR * 24 * days) }
    }
}

/// Why something could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A name that cannot be in a certificate, or a time that is out of range.
    #[error("the certificate could not be issued")]
    Certificate(#[from] rcgen::Error),
    /// A name that is neither a host name nor an address.
    #[error("{0:?} is neither a host name nor an IP address")]
    Name(String),
    /// A file could not be written.
    #[error("the file could not be written")]
    File(#[from] io::Error),
}

/// A root or intermediate that issues.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    above: Vec<CertificateDer<'static>>,
}

/// An end certificate with its key, for both sides of TLS and for signing.
pub struct Leaf {
    certificate: CertificateDer<'static>,
    above: Vec<CertificateDer<'static>>,
    key: KeyPair,
    serial: SerialNumber,
}

impl Authority {
    /// A root.
    pub fn root(name: &str, kind: KeyKind, validity: Validity) -> Result<Self, IssueError> {
        let key = generate(kind)?;
        let parameters = authority_parameters(name, validity)?;
        let certificate = parameters.self_signed(&key)?.der().clone();
        Ok(Self { issuer: Issuer::new(parameters, key), certificate, above: Vec::new() })
    }

    /// An intermediate under this authority.
    pub fn intermediate(&self, name: &str, kind: KeyKind, validity: Validity) -> Result<Self, IssueError> {
        let key = generate(kind)?;
        let parameters = authority_parameters(name, validity)?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.der().clone();
        let mut above = self.sent_above();
        above.insert(0, certificate.clone());
        Ok(Self { issuer: Issuer::new(parameters, key), certificate, above })
    }

    /// An end certificate for host names and IP addresses, good for TLS clients and servers.
    pub fn leaf(&self, name: &str, hosts: &[&str], kind: KeyKind, validity: Validity) -> Result<Leaf, IssueError> {
        let key = generate(kind)?;
        let (parameters, serial) = leaf_parameters(name, hosts, validity)?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.der().clone();
        Ok(Leaf { certificate, above: self.sent_above(), key, serial })
    }

    /// A revocation list of this authority.
    pub fn revocation_list(&self, revoked: &[&SerialNumber], validity: Validity) -> Result<String, IssueError> {
        let revoke = |serial: &&SerialNumber| RevokedCertParams {
            serial_number: (*serial).clone(),
            revocation_time: after(rcgen::date_time_ymd(1970, 1, 1), validity.from),
            reason_code: None,
            invalidity_date: None,
        };
        let parameters = CertificateRevocationListParams {
            this_update: after(rcgen::date_time_ymd(1970, 1, 1), validity.from),
            next_update: after(rcgen::date_time_ymd(1970, 1, 1), validity.until),
            crl_number: random_serial()?,
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(revoke).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(parameters.signed_by(&self.issuer)?.pem()?)
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The authority's certificate as PEM.
    pub fn pem(&self) -> String {
        pem(std::slice::from_ref(&self.certificate))
    }

    /// The authority's key as PKCS#8 PEM.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// An authority that was written before: its certificate and its key as PEM.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, IssueError> {
        use rustls_pki_types::pem::PemObject;
        let key = KeyPair::from_pem(key)?;
        let unreadable = |_| IssueError::Certificate(rcgen::Error::CouldNotParseCertificate);
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(unreadable)?;
        let above = if super::chain::is_self_signed(&der) { Vec::new() } else { vec![der.clone()] };
        Ok(Self { issuer: Issuer::from_ca_cert_der(&der, key)?, certificate: der, above })
    }

    /// What a server sends above its own certificate: intermediates, not the root.
    fn sent_above(&self) -> Vec<CertificateDer<'static>> {
        self.above.clone()
    }
}

impl Leaf {
    /// A certificate that is its own issuer.
    pub fn self_signed(name: &str, hosts: &[&str], kind: KeyKind, validity: Validity) -> Result<Self, IssueError> {
        let key = generate(kind)?;
        let (parameters, serial) = leaf_parameters(name, hosts, validity)?;
        let certificate = parameters.self_signed(&key)?.der().clone();
        Ok(Self { certificate, above: Vec::new(), key, serial })
    }

    /// The serial number, for revocation.
    pub fn serial(&self) -> &SerialNumber {
        &self.serial
    }

    /// The certificate and the intermediates above it.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        std::iter::once(&self.certificate).chain(&self.above).cloned().collect()
    }

    /// The chain as PEM.
    pub fn pem(&self) -> String {
        pem(&self.chain())
    }

    /// The key as PKCS#8 PEM.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// Both as TLS uses them.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        Identity::new(self.chain(), key)
    }

    /// Writes the chain and the key (which only its owner may read) as PEM files.
    pub fn write(&self, certificate: &Path, key: &Path) -> Result<(), IssueError> {
        write_public(certificate, &self.pem())?;
        write_secret(key, &self.key_pem())?;
        Ok(())
    }
}

/// Writes a file that everybody may read, making its folder.
pub fn write_public(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

/// Writes a file that only its owner may read (mode 0600), making its folder. An existing file is replaced, so that
/// neither its mode nor an open handle survives.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn generate(kind: KeyKind) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyKind::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
    }
}

fn authority_parameters(name: &str, validity: Validity) -> Result<CertificateParams, IssueError> {
    let mut parameters = parameters(name, validity)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

fn leaf_parameters(
    name: &str,
    hosts: &[&str],
    validity: Validity,
) -> Result<(CertificateParams, SerialNumber), IssueError> {
    let mut parameters = parameters(name, validity)?;
    for host in hosts {
        parameters.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*host).try_into().map_err(|_| IssueError::Name((*host).to_owned()))?),
        });
    }
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let serial = random_serial()?;
    parameters.serial_number = Some(serial.clone());
    Ok((parameters, serial))
}

fn parameters(name: &str, validity: Validity) -> Result<CertificateParams, IssueError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = after(rcgen::date_time_ymd(1970, 1, 1), validity.from);
    parameters.not_after = after(rcgen::date_time_ymd(1970, 1, 1), validity.until);
    Ok(parameters)
}

fn random_serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    // Positive and without leading zeros in DER, so that lists and certificates spell it alike.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Our instant in the type of rcgen, which comes from a crate that is not a dependency of ours and so has no name here.
fn after<T: std::ops::Add<Duration, Output = T>>(epoch: T, at: Timestamp) -> T {
    epoch + Duration::from_secs(u64::try_from(at.as_secs()).unwrap_or(0))
}

fn pem(chain: &[CertificateDer<'_>]) -> String {
    use base64::Engine;
    let mut text = String::new();
    for certificate in chain {
        let encoded = base64::engine::general_purpose::STANDARD.encode(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in encoded.as_bytes().chunks(64) {
            text.extend(line.iter().map(|byte| char::from(*byte)));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
