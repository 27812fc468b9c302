//! One rule for certificates: does it chain to a network, is it in time, is it revoked, may it be used for this.

use std::borrow::Cow;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use super::anchors::Network;
use super::revocation::{self, Revocation};
use super::tls;
use crate::id::Timestamp;

/// What a certificate is about to be used for. A purpose is checked only when the certificate names purposes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Usage {
    /// To open TLS connections (extended key usage clientAuth).
    Client,
    /// To accept TLS connections (extended key usage serverAuth).
    Server,
    /// To sign SAML assertions and messages: partners use their TLS certificate, so any purpose will do.
    Signing,
}

/// Why a certificate is not trusted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum ChainError {
    /// Past `notAfter`, of the certificate or of one above it.
    #[error("the certificate has expired")]
    Expired,
    /// Before `notBefore`.
    #[error("the certificate is not yet valid")]
    NotYetValid,
    /// On the list of its issuer.
    #[error("the certificate is revoked")]
    Revoked,
    /// No path to an anchor of the network.
    #[error("the certificate was issued by an unknown authority")]
    UnknownIssuer,
    /// Its own issuer, and not pinned.
    #[error("the certificate is self-signed")]
    SelfSigned,
    /// The server is called otherwise than its certificate says.
    #[error("the certificate is for another host name")]
    WrongName,
    /// A signature in the chain does not verify.
    #[error("a signature in the certificate chain is wrong")]
    BadSignature,
    /// The extended key usage forbids this use.
    #[error("the certificate is not meant for this use")]
    WrongPurpose,
    /// Revocation is required and no list covers the certificate.
    #[error("there is no revocation list that covers the certificate")]
    UnknownRevocation,
    /// The list of the issuer is past `nextUpdate`.
    #[error("the revocation list of the certificate's issuer has expired")]
    RevocationListExpired,
    /// The list of the issuer cannot be used: signature, key usage or form.
    #[error("the revocation list of the certificate's issuer cannot be used")]
    BadRevocationList,
    /// SHA-1, a short RSA key, an unusual curve.
    #[error("the certificate uses a signature algorithm or key that is not accepted")]
    UnsupportedAlgorithm,
    /// A CA certificate used by an end system, or the reverse.
    #[error("the certificate has the wrong place in its chain")]
    WrongRole,
    /// A name constraint, a path length or a critical extension says no.
    #[error("the certificate violates a constraint of its chain")]
    Constraint,
    /// Not a certificate that can be read.
    #[error("the certificate cannot be read")]
    Malformed,
    /// The network is not in the trust store.
    #[error("the network is not in the trust store")]
    UnknownNetwork,
}

impl ChainError {
    /// The error that tells more: "expired" beside one network's "unknown authority" is what the partner must hear.
    pub fn more_specific(self, other: Self) -> Self {
        if other.specificity() > self.specificity() { other } else { self }
    }

    fn specificity(self) -> u8 {
        match self {
            Self::UnknownNetwork => 0,
            Self::UnknownIssuer => 1,
            Self::SelfSigned | Self::WrongRole => 2,
            Self::Malformed | Self::UnsupportedAlgorithm | Self::Constraint | Self::BadSignature => 3,
            Self::WrongPurpose | Self::WrongName => 4,
            Self::UnknownRevocation | Self::BadRevocationList | Self::RevocationListExpired => 5,
            Self::Expired | Self::NotYetValid => 6,
            Self::Revoked => 7,
        }
    }
}

impl From<webpki::Error> for ChainError {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::CertExpired { .. } | E::InvalidCertValidity => Self::Expired,
            E::CertNotValidYet { .. } => Self::NotYetValid,
            E::CertRevoked | E::CertDistrusted => Self::Revoked,
            E::CrlExpired { .. } => Self::RevocationListExpired,
            E::UnknownRevocationStatus => Self::UnknownRevocation,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::CertNotValidForName(_) => Self::WrongName,
            E::InvalidSignatureForPublicKey => Self::BadSignature,
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Self::WrongPurpose,
            E::CaUsedAsEndEntity | E::EndEntityUsedAsCa => Self::WrongRole,
            E::InvalidCrlSignatureForPublicKey
            | E::IssuerNotCrlSigner
            | E::UnsupportedCrlSignatureAlgorithmContext(_)
            | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
            | E::UnsupportedCrlIssuingDistributionPoint
            | E::UnsupportedDeltaCrl
            | E::UnsupportedIndirectCrl => Self::BadRevocationList,
            E::UnsupportedSignatureAlgorithmContext(_) | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                Self::UnsupportedAlgorithm
            }
            E::NameConstraintViolation
            | E::PathLenConstraintViolated
            | E::UnsupportedCriticalExtension
            | E::MaximumPathDepthExceeded
            | E::MaximumPathBuildCallsExceeded
            | E::MaximumSignatureChecksExceeded
            | E::MaximumNameConstraintComparisonsExceeded => Self::Constraint,
            // The library may add more; all that is left today says that the DER is not what it should be.
            _ => Self::Malformed,
        }
    }
}

/// A SAML signer may have any extended key usage.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

impl Network {
    /// Whether a certificate is trusted in this network at an instant. `sent` are the intermediates its owner sent; those
    /// in the store are tried too.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        usage: Usage,
        at: UnixTime,
    ) -> Result<(), ChainError> {
        if self.pinned.iter().any(|pinned| pinned == leaf) {
            // ITI-19 direct trust: the certificate itself was compared, only its time is left to look at. The operator
            // revokes it by removing the file.
            return in_time(leaf, at);
        }
        let result = self.verify_path(leaf, sent, usage, at);
        match result {
            Err(ChainError::UnknownIssuer | ChainError::WrongRole) if is_self_signed(leaf) => {
                Err(ChainError::SelfSigned)
            }
            other => other,
        }
    }

    fn verify_path(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        usage: Usage,
        at: UnixTime,
    ) -> Result<(), ChainError> {
        let end = EndEntityCert::try_from(leaf)?;
        let offered: Cow<'_, [CertificateDer<'_>]> = if self.intermediates.is_empty() {
            Cow::Borrowed(sent)
        } else {
            Cow::Owned(sent.iter().chain(&self.intermediates).cloned().collect())
        };
        let lists: Vec<_> = self.lists.iter().collect();
        let revocation = revocation::options(&lists, self.policy);
        let unchecked = revocation.is_none();
        let algorithms = tls::provider().signature_verification_algorithms.all;
        match usage {
            Usage::Client => {
                let purpose = KeyUsage::client_auth();
                end.verify_for_usage(algorithms, &self.anchors, &offered, at, purpose, revocation, None)?
            }
            Usage::Server => {
                let purpose = KeyUsage::server_auth();
                end.verify_for_usage(algorithms, &self.anchors, &offered, at, purpose, revocation, None)?
            }
            Usage::Signing => {
                end.verify_for_usage(algorithms, &self.anchors, &offered, at, AnyPurpose, revocation, None)?
            }
        };
        if unchecked && self.policy.revocation == Revocation::Required {
            return Err(ChainError::UnknownRevocation);
        }
        Ok(())
    }
}

/// Our instant as the libraries want it.
pub(super) fn unix_time(at: Timestamp) -> UnixTime {
    let seconds = u64::try_from(at.as_secs()).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

fn in_time(certificate: &CertificateDer<'_>, at: UnixTime) -> Result<(), ChainError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| ChainError::Malformed)?;
    let at = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    if at < parsed.validity().not_before.timestamp() {
        Err(ChainError::NotYetValid)
    } else if at > parsed.validity().not_after.timestamp() {
        Err(ChainError::Expired)
    } else {
        Ok(())
    }
}

/// Whether subject and issuer are one name.
pub(super) fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}
