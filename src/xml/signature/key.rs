//! Public keys, from certificates or from the numbers that stand in a KeyValue.

use std::sync::Arc;

use aws_lc_rs::signature::{self as crypto, ParsedPublicKey, RsaPublicKeyComponents, UnparsedPublicKey};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{SignatureAlgorithm, decode_base64};
use crate::xml::{Element, ns};

/// Why a key is not usable.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not an X.509 certificate.
    #[error("the certificate cannot be read")]
    Certificate,
    /// Neither RSA nor ECDSA on P-256, P-384 or P-521, or the numbers make no key.
    #[error("the key is neither RSA nor ECDSA on P-256, P-384 or P-521")]
    Unsupported,
    /// The PEM text holds no private key, or one that cannot be read.
    #[error(
        "the private key cannot be read: PKCS#8, PKCS#1 or SEC1 in PEM, unencrypted, RSA of 2048 bits or more, or P-256 or P-384, is expected"
    )]
    Private,
    /// The PEM text holds no certificate.
    #[error("there is no certificate for the private key")]
    NoCertificate,
    /// The first certificate is for another key.
    #[error("the certificate does not belong to the private key")]
    Mismatch,
    /// The key cannot sign with that algorithm. SHA-1 is never signed with: the cryptographic library refuses to.
    #[error("this key cannot sign with {0}")]
    CannotSign(&'static str),
}

/// The elliptic curves that are accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl Curve {
    /// Bytes of a coordinate.
    pub fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The OID, dotted.
    pub fn oid(self) -> &'static str {
        match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        }
    }

    fn from_oid(oid: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|curve| curve.oid() == oid)
    }
}

/// A public key. Two keys are equal when their numbers are, wherever they were read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PublicKey {
    /// RSA.
    Rsa(RsaKey),
    /// ECDSA on a named curve.
    Ec {
        /// The curve.
        curve: Curve,
        /// The uncompressed point: 4, x, y.
        point: Vec<u8>,
    },
}

/// An RSA key: big-endian numbers without leading zeros.
#[derive(Clone, Debug)]
pub struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    /// The key as the library works with it, made once for a key that verifies many signatures.
    prepared: Option<Arc<ParsedPublicKey>>,
}

impl RsaKey {
    /// The modulus.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The public exponent.
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    fn components(&self) -> RsaPublicKeyComponents<&[u8]> {
        RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent }
    }
}

impl PartialEq for RsaKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.modulus, &self.exponent) == (&other.modulus, &other.exponent)
    }
}

impl Eq for RsaKey {}

impl PublicKey {
    /// The key of a certificate. Says nothing about whether the certificate is to be trusted.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, KeyError> {
        let (_, parsed) =
            x509_parser::certificate::X509Certificate::from_der(certificate).map_err(|_| KeyError::Certificate)?;
        Self::from_parsed(parsed.public_key())
    }

    /// The key of a SubjectPublicKeyInfo in DER.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let (_, parsed) = SubjectPublicKeyInfo::from_der(der).map_err(|_| KeyError::Unsupported)?;
        Self::from_parsed(&parsed)
    }

    /// The key of `ds:KeyValue`: RSAKeyValue, or ECKeyValue of xmldsig 1.1. To be compared with a trusted key, never
    /// to be believed.
    pub fn from_key_value(key_value: Element<'_>) -> Result<Self, KeyError> {
        let number = |element: Element<'_>, name| {
            let child = element.only_child(ns::DS, name).map_err(|_| KeyError::Unsupported)?;
            decode_base64(&child.text()).ok_or(KeyError::Unsupported)
        };
        let mut children = key_value.children();
        match (children.next(), children.next()) {
            (Some(rsa), None) if rsa.is(ns::DS, "RSAKeyValue") => {
                Self::rsa(&number(rsa, "Modulus")?, &number(rsa, "Exponent")?)
            }
            (Some(ec), None) if ec.is(ns::DSIG11, "ECKeyValue") => {
                let curve = ec.child(ns::DSIG11, "NamedCurve").and_then(|curve| curve.attribute("URI"));
                let oid = curve.and_then(|uri| uri.strip_prefix("urn:oid:")).ok_or(KeyError::Unsupported)?;
                let point = ec.only_child(ns::DSIG11, "PublicKey").map_err(|_| KeyError::Unsupported)?;
                Self::ec(oid, &decode_base64(&point.text()).ok_or(KeyError::Unsupported)?)
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    /// The same key, to verify many signatures with: what the library works out of the numbers of an RSA key is kept.
    pub fn prepared(self) -> Self {
        match self {
            Self::Rsa(key) => {
                let prepared = key.components().to_parsed_public_key(RSA_SHA256).ok().map(Arc::new);
                Self::Rsa(RsaKey { prepared, ..key })
            }
            key @ Self::Ec { .. } => key,
        }
    }

    /// Bits of the RSA modulus or of the curve.
    pub fn bits(&self) -> usize {
        match self {
            Self::Rsa(RsaKey { modulus, .. }) => {
                let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
                modulus.len() * 8 - leading
            }
            Self::Ec { curve: Curve::P256, .. } => 256,
            Self::Ec { curve: Curve::P384, .. } => 384,
            Self::Ec { curve: Curve::P521, .. } => 521,
        }
    }

    /// `RSA` or `ECDSA`.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RSA",
            Self::Ec { .. } => "ECDSA",
        }
    }

    /// Whether an algorithm belongs to this kind of key.
    pub fn suits(&self, algorithm: SignatureAlgorithm) -> bool {
        use SignatureAlgorithm as A;
        match algorithm {
            A::RsaSha1 | A::RsaSha256 | A::RsaSha384 | A::RsaSha512 => matches!(self, Self::Rsa(_)),
            A::EcdsaSha256 | A::EcdsaSha384 | A::EcdsaSha512 => matches!(self, Self::Ec { .. }),
        }
    }

    /// Whether `signature` over `message` was made with this key's private half. An ECDSA signature is `r` and `s`
    /// side by side, as XML Signature writes it.
    pub fn verifies(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        use SignatureAlgorithm as A;
        match self {
            Self::Rsa(RsaKey { prepared: Some(prepared), .. }) if algorithm == A::RsaSha256 => {
                prepared.verify_sig(message, signature).is_ok()
            }
            Self::Rsa(key) => {
                // The length of the key is a matter of policy, decided before; these accept 1024 bits and more.
                let parameters = match algorithm {
                    A::RsaSha1 => &crypto::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
                    A::RsaSha256 => RSA_SHA256,
                    A::RsaSha384 => &crypto::RSA_PKCS1_2048_8192_SHA384,
                    A::RsaSha512 => &crypto::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
                    A::EcdsaSha256 | A::EcdsaSha384 | A::EcdsaSha512 => return false,
                };
                key.components().verify(parameters, message, signature).is_ok()
            }
            Self::Ec { curve, point } => {
                let verification = match (curve, algorithm) {
                    (Curve::P256, A::EcdsaSha256) => &crypto::ECDSA_P256_SHA256_ASN1,
                    (Curve::P256, A::EcdsaSha384) => &crypto::ECDSA_P256_SHA384_ASN1,
                    (Curve::P256, A::EcdsaSha512) => &crypto::ECDSA_P256_SHA512_ASN1,
                    (Curve::P384, A::EcdsaSha256) => &crypto::ECDSA_P384_SHA256_ASN1,
                    (Curve::P384, A::EcdsaSha384) => &crypto::ECDSA_P384_SHA384_ASN1,
                    (Curve::P384, A::EcdsaSha512) => &crypto::ECDSA_P384_SHA512_ASN1,
                    (Curve::P521, A::EcdsaSha256) => &crypto::ECDSA_P521_SHA256_ASN1,
                    (Curve::P521, A::EcdsaSha384) => &crypto::ECDSA_P521_SHA384_ASN1,
                    (Curve::P521, A::EcdsaSha512) => &crypto::ECDSA_P521_SHA512_ASN1,
                    (_, A::RsaSha1 | A::RsaSha256 | A::RsaSha384 | A::RsaSha512) => return false,
                };
                let Some(der) = der_of_fixed(signature, curve.size()) else { return false };
                UnparsedPublicKey::new(verification, point).verify(message, &der).is_ok()
            }
        }
    }

    fn from_parsed(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyError> {
        match info.parsed().map_err(|_| KeyError::Unsupported)? {
            Parsed::RSA(rsa) => Self::rsa(rsa.modulus, rsa.exponent),
            Parsed::EC(point) => {
                let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
                Self::ec(&curve.ok_or(KeyError::Unsupported)?.to_id_string(), point.data())
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        if modulus.is_empty() || exponent.is_empty() || modulus.len() > 1024 || exponent.len() > 8 {
            return Err(KeyError::Unsupported);
        }
        Ok(Self::Rsa(RsaKey { modulus: modulus.to_vec(), exponent: exponent.to_vec(), prepared: None }))
    }

    fn ec(oid: &str, point: &[u8]) -> Result<Self, KeyError> {
        let curve = Curve::from_oid(oid).ok_or(KeyError::Unsupported)?;
        if point.len() != 1 + 2 * curve.size() || point[0] != 4 {
            return Err(KeyError::Unsupported);
        }
        Ok(Self::Ec { curve, point: point.to_vec() })
    }
}

/// The algorithm that nearly all signatures have.
const RSA_SHA256: &crypto::RsaParameters = &crypto::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;

fn without_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    &number[start..]
}

/// `r` and `s` side by side as the DER sequence that the library reads. None when the length is wrong.
fn der_of_fixed(signature: &[u8], size: usize) -> Option<Vec<u8>> {
    if signature.len() != 2 * size {
        return None;
    }
    let mut body = Vec::with_capacity(2 * size + 8);
    for number in [&signature[..size], &signature[size..]] {
        let number = without_zeros(number);
        let pad = number.first().is_none_or(|&byte| byte >= 0x80);
        body.extend([2, u8::try_from(number.len() + usize::from(pad)).ok()?]);
        body.extend(pad.then_some(0));
        body.extend(number);
    }
    let length = u8::try_from(body.len()).ok()?;
    let mut der = if length < 0x80 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
    der.append(&mut body);
    Some(der)
}
