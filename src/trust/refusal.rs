//! Why a connection was refused, in words that tell the partner what to change.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use super::chain::ChainError;

/// Why a connection came to nothing, on either side.
#[derive(Clone, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The client presented no certificate.
    #[error("no client certificate was presented")]
    NoClientCertificate,
    /// The certificate of the other side is not trusted.
    #[error(transparent)]
    Certificate(#[from] ChainError),
    /// SSL, TLS 1.0 or TLS 1.1.
    #[error("TLS 1.2 or 1.3 is required")]
    ProtocolVersion,
    /// Only suites that we do not speak (CBC, RSA or finite-field key exchange), or no common curve.
    #[error("no cipher suite in common: ECDHE with AES-GCM or ChaCha20-Poly1305 is required")]
    NoCommonCipher,
    /// Only signature schemes that we do not accept, such as SHA-1.
    #[error("no signature scheme in common: SHA-256 or better is required")]
    NoCommonSignature,
    /// HTTP, or anything else, on a TLS port.
    #[error("the other side did not speak TLS")]
    NotTls,
    /// The handshake took too long.
    #[error("the TLS handshake was not finished in time")]
    HandshakeTimeout,
    /// The other side did not like us, and said so.
    #[error("the other side refused the connection: {0}")]
    ByPeer(PeerReason),
    /// The connection ended within the handshake.
    #[error("the connection ended within the TLS handshake")]
    Ended,
    /// As many connections as allowed are open.
    #[error("too many connections are open")]
    TooManyConnections,
    /// As many connections as allowed are open from this address.
    #[error("too many connections are open from this address")]
    TooManyFromAddress,
    /// Something else in the TLS protocol.
    #[error("the TLS handshake failed: {0}")]
    Protocol(String),
}

/// What the other side's TLS alert says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum PeerReason {
    /// certificate_required
    #[error("it requires a certificate of ours")]
    CertificateRequired,
    /// certificate_expired
    #[error("our certificate has expired")]
    CertificateExpired,
    /// certificate_revoked
    #[error("our certificate is revoked")]
    CertificateRevoked,
    /// unknown_ca
    #[error("it does not know the authority that issued our certificate")]
    UnknownAuthority,
    /// bad_certificate, certificate_unknown, unsupported_certificate
    #[error("it does not accept our certificate")]
    BadCertificate,
    /// access_denied
    #[error("it denies access to us")]
    AccessDenied,
    /// protocol_version
    #[error("it does not speak TLS 1.2 or 1.3")]
    ProtocolVersion,
    /// handshake_failure, insufficient_security
    #[error("it has no cipher suite or signature scheme in common with us")]
    NothingInCommon,
    /// unrecognized_name
    #[error("it does not serve the host name that we asked for")]
    UnknownName,
    /// Any other alert.
    #[error("it sent a TLS alert")]
    Other,
}

impl From<AlertDescription> for PeerReason {
    fn from(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Self::CertificateRequired,
            AlertDescription::CertificateExpired => Self::CertificateExpired,
            AlertDescription::CertificateRevoked => Self::CertificateRevoked,
            AlertDescription::UnknownCA => Self::UnknownAuthority,
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate => Self::BadCertificate,
            AlertDescription::AccessDenied => Self::AccessDenied,
            AlertDescription::ProtocolVersion => Self::ProtocolVersion,
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => Self::NothingInCommon,
            AlertDescription::UnrecognisedName => Self::UnknownName,
            _ => Self::Other,
        }
    }
}

impl Refusal {
    /// What an error of rustls means, found anywhere under an error of hyper or of a socket.
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::from(tls));
            }
            if let Some(chain) = error.downcast_ref::<ChainError>() {
                return Some(Self::Certificate(*chain));
            }
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                // The source of an io::Error is the source of what it wraps, not what it wraps.
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        None
    }
}

impl From<&rustls::Error> for Refusal {
    fn from(error: &rustls::Error) -> Self {
        use rustls::Error as E;
        match error {
            E::NoCertificatesPresented => Self::NoClientCertificate,
            E::InvalidCertificate(error) => Self::Certificate(chain_error(error)),
            E::InvalidCertRevocationList(_) => Self::Certificate(ChainError::BadRevocationList),
            E::AlertReceived(alert) => Self::ByPeer((*alert).into()),
            E::PeerIncompatible(why) => match why {
                // TLS 1.0 and 1.1 have no such extension, and rustls notices that before the version.
                PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled => Self::ProtocolVersion,
                PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NoEcPointFormatsInCommon
                | PeerIncompatible::NamedGroupsExtensionRequired
                | PeerIncompatible::UncompressedEcPointsRequired
                | PeerIncompatible::KeyShareExtensionRequired => Self::NoCommonCipher,
                PeerIncompatible::NoSignatureSchemesInCommon
                | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => Self::NoCommonSignature,
                other => Self::Protocol(format!("{other:?}")),
            },
            E::InvalidMessage(_) | E::InappropriateMessage { .. } | E::InappropriateHandshakeMessage { .. } => {
                Self::NotTls
            }
            other => Self::Protocol(other.to_string()),
        }
    }
}

/// Back from rustls' words to ours.
pub(super) fn chain_error(error: &CertificateError) -> ChainError {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => ChainError::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => ChainError::NotYetValid,
        CertificateError::Revoked => ChainError::Revoked,
        CertificateError::UnknownIssuer => ChainError::UnknownIssuer,
        CertificateError::UnknownRevocationStatus => ChainError::UnknownRevocation,
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            ChainError::RevocationListExpired
        }
        CertificateError::BadSignature => ChainError::BadSignature,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => ChainError::WrongName,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => ChainError::WrongPurpose,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => ChainError::UnsupportedAlgorithm,
        CertificateError::UnhandledCriticalExtension => ChainError::Constraint,
        CertificateError::Other(other) => match other.0.downcast_ref::<ChainError>() {
            Some(ours) => *ours,
            None => other.0.downcast_ref::<webpki::Error>().map_or(ChainError::Malformed, |e| e.clone().into()),
        },
        _ => ChainError::Malformed,
    }
}

/// Our words as rustls', so that the other side gets the alert that fits.
pub(super) fn certificate_error(error: ChainError) -> CertificateError {
    match error {
        ChainError::Expired => CertificateError::Expired,
        ChainError::NotYetValid => CertificateError::NotValidYet,
        ChainError::Revoked => CertificateError::Revoked,
        ChainError::UnknownIssuer => CertificateError::UnknownIssuer,
        ChainError::WrongName => CertificateError::NotValidForName,
        ChainError::BadSignature => CertificateError::BadSignature,
        ChainError::WrongPurpose => CertificateError::InvalidPurpose,
        ChainError::UnknownRevocation => CertificateError::UnknownRevocationStatus,
        ChainError::RevocationListExpired => CertificateError::ExpiredRevocationList,
        ChainError::Malformed => CertificateError::BadEncoding,
        ChainError::SelfSigned
        | ChainError::BadRevocationList
        | ChainError::UnsupportedAlgorithm
        | ChainError::WrongRole
        | ChainError::Constraint
        | ChainError::UnknownNetwork => CertificateError::Other(rustls::OtherError(std::sync::Arc::new(error))),
    }
}
