//! What need not be worked out again: the keys of certificates, and signature values that were found good.
//!
//! A partner sends many requests under one assertion, each with the same certificates and the same signature over the
//! assertion. Remembering is safe because only answers that can never change are remembered, each under *everything*
//! that it was worked out from:
//!
//! - the key of a certificate, under all bytes of the certificate;
//! - that a key made a value over some bytes, under SHA-256 of the key's numbers, the algorithm, the canonical bytes of
//!   SignedInfo and the value.
//!
//! Nothing about a message is remembered. Where its elements stand, that the Reference names the very element that is
//! read, what that element digests to, whether the signer is trusted at this moment, whether the times allow it, and
//! whether the message is a copy: all that is judged anew each time, on the tree that is read. Whoever wraps, moves or
//! changes an element meets the same checks as without a memory, and a changed SignedInfo is another entry.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use moka::sync::Cache;
use rustls_pki_types::CertificateDer;

use super::{KeyError, PublicKey, SignatureAlgorithm};

/// The most keys and the most signature values remembered. Those least used make room.
const MOST: u64 = 4096;

/// Keys and signature values seen before.
pub struct Known {
    keys: Cache<CertificateDer<'static>, Arc<PublicKey>>,
    good: Cache<[u8; 32], ()>,
}

impl Default for Known {
    fn default() -> Self {
        Self { keys: Cache::new(MOST), good: Cache::new(MOST) }
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(…)")
    }
}

impl Known {
    /// The key of a certificate. Says nothing about whether the certificate is to be trusted.
    pub fn key(&self, certificate: &CertificateDer<'static>) -> Result<Arc<PublicKey>, KeyError> {
        if let Some(key) = self.keys.get(certificate) {
            return Ok(key);
        }
        let key = Arc::new(PublicKey::from_certificate(certificate)?.prepared());
        self.keys.insert(certificate.clone(), key.clone());
        Ok(key)
    }

    /// Whether a key made a value over some bytes, by what was found before or by looking now. Only for values that
    /// come again: those that do not would crowd out those that do.
    pub fn verifies(&self, key: &PublicKey, algorithm: SignatureAlgorithm, message: &[u8], value: &[u8]) -> bool {
        let name = name_of(key, algorithm, message, value);
        if self.good.contains_key(&name) {
            return true;
        }
        let is_good = key.verifies(algorithm, message, value);
        if is_good {
            self.good.insert(name, ());
        }
        is_good
    }
}

/// All that the answer follows from, each part with its length before it.
fn name_of(key: &PublicKey, algorithm: SignatureAlgorithm, message: &[u8], value: &[u8]) -> [u8; 32] {
    let (kind, numbers): (&str, [&[u8]; 2]) = match key {
        PublicKey::Rsa(key) => ("RSA", [key.modulus(), key.exponent()]),
        PublicKey::Ec { curve, point } => (curve.oid(), [point, &[]]),
    };
    let mut context = Context::new(&SHA256);
    for part in [kind.as_bytes(), numbers[0], numbers[1], algorithm.uri().as_bytes(), message, value] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut name = [0; 32];
    name.copy_from_slice(context.finish().as_ref());
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::signature::SigningKey;

    fn identity(name: &str) -> SigningKey {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        SigningKey::from_pem(key.serialize_pem().as_bytes(), certificate.pem().as_bytes()).unwrap()
    }

    /// Each part by itself, with the good one remembered before and after.
    #[test]
    fn only_the_very_same_signature_is_known() {
        let known = Known::default();
        let (ours, other) = (identity("a.example"), identity("b.example"));
        let value = ours.sign(b"message").unwrap();
        let mut changed = value.clone();
        changed[9] ^= 1;
        let (key, stranger) = (ours.public(), other.public());
        let algorithm = SignatureAlgorithm::RsaSha256;
        for _ in 0..2 {
            assert!(known.verifies(key, algorithm, b"message", &value));
            assert!(!known.verifies(stranger, algorithm, b"message", &value), "another key");
            assert!(!known.verifies(key, algorithm, b"Message", &value), "another message");
            assert!(!known.verifies(key, algorithm, b"message", &changed), "another value");
            assert!(!known.verifies(key, algorithm, b"message", &value[1..]), "a part of the value");
            assert!(!known.verifies(key, SignatureAlgorithm::RsaSha512, b"message", &value), "another algorithm");
        }
    }

    #[test]
    fn the_key_of_a_certificate_is_its_own_and_works() {
        let known = Known::default();
        let identities = [identity("a.example"), identity("b.example")];
        for _ in 0..2 {
            for identity in &identities {
                let key = known.key(identity.certificate_der()).unwrap();
                assert_eq!(*key, *identity.public());
                let value = identity.sign(b"message").unwrap();
                assert!(key.verifies(SignatureAlgorithm::RsaSha256, b"message", &value));
                assert!(!key.verifies(SignatureAlgorithm::RsaSha256, b"Message", &value));
            }
        }
        assert!(known.key(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
