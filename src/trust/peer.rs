//! Who is at the other end of a connection, as its TLS handshake proved.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use smol_str::SmolStr;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

use super::chain::{ChainError, unix_time};
use super::{NetworkName, Trust};
use crate::id::Timestamp;

/// The client of a mutually authenticated connection. Made once for each connection, only by verification.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    certificates: Vec<CertificateDer<'static>>,
    fingerprint: String,
    networks: Arc<[NetworkName]>,
    subject: String,
    generation: u64,
}

impl Peer {
    /// The client that presented a chain (leaf first), if at least one network trusts it at the instant.
    ///
    /// That the client has the leaf's key is the handshake's finding; call this with what a handshake returned.
    pub fn verify(
        trust: &Trust,
        address: SocketAddr,
        certificates: Vec<CertificateDer<'static>>,
        at: Timestamp,
    ) -> Result<Self, ChainError> {
        let (generation, networks) = trust.client_networks(&certificates, unix_time(at))?;
        let leaf = certificates.first().ok_or(ChainError::Malformed)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|_| ChainError::Malformed)?;
        let subject = summary(parsed.subject());
        let fingerprint = fingerprint(leaf);
        Ok(Self { address, certificates, fingerprint, networks, subject, generation })
    }

    /// Where the connection comes from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the client presented, its own certificate first.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// SHA-256 of the client's certificate, in lower-case hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The networks that trust the certificate, at least one.
    pub fn networks(&self) -> &[NetworkName] {
        &self.networks
    }

    /// The subject of the certificate, for people: `O=Example Clinic, CN=gateway.example.org`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The names that the client's certificate is for, in lower case: DNS names in `subjectAltName`; the common name
    /// of a certificate without any (RFC 6125, 6.4.4).
    pub fn names(&self) -> Vec<SmolStr> {
        let Some(Ok((_, leaf))) = self.certificates.first().map(|leaf| x509_parser::parse_x509_certificate(leaf))
        else {
            return Vec::new();
        };
        let alternative = match leaf.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.as_slice(),
            Ok(None) | Err(_) => &[],
        };
        let hosts = alternative.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        });
        let names: Vec<SmolStr> = hosts.map(|name| name.to_lowercase().into()).collect();
        if !alternative.is_empty() {
            return names;
        }
        let common = leaf.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        common.map(|name| name.to_lowercase().into()).collect()
    }

    /// Which reading of the trust store admitted the client ([`Trust::generation`]).
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// SHA-256 of a certificate, in lower-case hexadecimal.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate))
}

/// The subject of a certificate, for people and as the issuer of assertions; empty if it cannot be read.
pub fn subject_of(certificate: &CertificateDer<'_>) -> String {
    match x509_parser::parse_x509_certificate(certificate) {
        Ok((_, parsed)) => summary(parsed.subject()),
        Err(_) => String::new(),
    }
}

/// A name as one short line: it was chosen by somebody else and goes into logs.
pub(super) fn summary(name: &X509Name<'_>) -> String {
    name.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}
