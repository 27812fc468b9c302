//! The signer. What is signed is written in canonical form or canonicalised by the reader's own code, so our signatures
//! verify by construction.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::key::Curve;
use super::{DigestAlgorithm, ENVELOPED, EXCLUSIVE, KeyError, Profile, PublicKey, SignatureAlgorithm, encode_base64};
use crate::xml::{Limits, Writer, XmlError, ns, parse};

/// A private key with its certificate, parsed once: parsing an RSA key costs more than using it.
pub struct SigningKey {
    private: Private,
    algorithm: SignatureAlgorithm,
    public: PublicKey,
    chain: Vec<CertificateDer<'static>>,
    key_value: String,
    certificates: String,
}

enum Private {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {} bits)", self.public.family(), self.public.bits())
    }
}

impl SigningKey {
    /// Reads a key (PKCS#8, PKCS#1 or SEC1) and its certificate chain, leaf first, from PEM. The chain may be in the
    /// same text as the key.
    pub fn from_pem(key: &[u8], chain: &[u8]) -> Result<Self, KeyError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| KeyError::Private)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        Self::from_der(&key, chain.map_err(|_| KeyError::Certificate)?)
    }

    /// From DER. The first certificate must be the key's.
    pub fn from_der(key: &PrivateKeyDer<'_>, chain: Vec<CertificateDer<'static>>) -> Result<Self, KeyError> {
        let leaf = chain.first().ok_or(KeyError::NoCertificate)?;
        let public = PublicKey::from_certificate(leaf)?;
        let (private, algorithm) = match &public {
            PublicKey::Rsa(_) => (Private::Rsa(rsa_key(key)?), SignatureAlgorithm::RsaSha256),
            PublicKey::Ec { curve, point } => {
                let (signing, algorithm) = match curve {
                    Curve::P256 => (&ECDSA_P256_SHA256_FIXED_SIGNING, SignatureAlgorithm::EcdsaSha256),
                    Curve::P384 => (&ECDSA_P384_SHA384_FIXED_SIGNING, SignatureAlgorithm::EcdsaSha384),
                    Curve::P521 => return Err(KeyError::Private),
                };
                let pair = EcdsaKeyPair::from_private_key_der(signing, key.secret_der());
                let pair = pair.map_err(|_| KeyError::Private)?;
                if pair.public_key().as_ref() != point.as_slice() {
                    return Err(KeyError::Mismatch);
                }
                (Private::Ec(pair), algorithm)
            }
        };
        if let Private::Rsa(pair) = &private {
            let same = matches!(&public, PublicKey::Rsa(key)
                if pair.public_key().modulus().big_endian_without_leading_zero() == key.modulus());
            if !same {
                return Err(KeyError::Mismatch);
            }
            if public.bits() < 2048 {
                return Err(KeyError::Private);
            }
        }
        let (key_value, certificates) = (key_value_markup(&public), x509_markup(&chain));
        Ok(Self { private, algorithm, public, chain, key_value, certificates })
    }

    /// The same key signing with another algorithm of its kind: RSA with SHA-384 or SHA-512. SHA-1 is refused,
    /// because the cryptographic library does not sign with it.
    pub fn with_algorithm(mut self, algorithm: SignatureAlgorithm) -> Result<Self, KeyError> {
        let possible = match &self.private {
            Private::Rsa(_) => rsa_encoding(algorithm).is_some(),
            Private::Ec(_) => algorithm == self.algorithm,
        };
        if !possible {
            return Err(KeyError::CannotSign(algorithm.uri()));
        }
        self.algorithm = algorithm;
        Ok(self)
    }

    /// Signs bytes. An ECDSA signature is `r` and `s` side by side.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = KeyError::CannotSign(self.algorithm.uri());
        match &self.private {
            Private::Rsa(pair) => {
                let Some(encoding) = rsa_encoding(self.algorithm) else { return Err(failed) };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), bytes, &mut signature).map_err(|_| failed)?;
                Ok(signature)
            }
            Private::Ec(pair) => Ok(pair.sign(&SystemRandom::new(), bytes).map_err(|_| failed)?.as_ref().to_vec()),
        }
    }

    /// The algorithm that [`sign`](Self::sign) uses.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The certificate, DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        // A SigningKey is not made without one.
        &self.chain[0]
    }

    /// The certificate and those above it, DER, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// `ds:KeyInfo` with the numbers of the key and its certificates: for the assertion's signature and for
    /// holder-of-key data.
    pub fn key_info(&self) -> String {
        let mut w = Writer::new();
        w.start("ds:KeyInfo").attribute("xmlns:ds", ns::DS);
        w.fragment(&self.key_value).fragment(&self.certificates);
        w.finish()
    }
}

fn rsa_key(key: &PrivateKeyDer<'_>) -> Result<RsaKeyPair, KeyError> {
    let pair = match key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        // A certificate of RSA with a key of another kind.
        PrivateKeyDer::Sec1(_) => return Err(KeyError::Mismatch),
        _ => return Err(KeyError::Private),
    };
    pair.map_err(|_| KeyError::Private)
}

fn rsa_encoding(algorithm: SignatureAlgorithm) -> Option<&'static dyn RsaEncoding> {
    use SignatureAlgorithm as A;
    match algorithm {
        A::RsaSha256 => Some(&RSA_PKCS1_SHA256),
        A::RsaSha384 => Some(&RSA_PKCS1_SHA384),
        A::RsaSha512 => Some(&RSA_PKCS1_SHA512),
        A::RsaSha1 | A::EcdsaSha256 | A::EcdsaSha384 | A::EcdsaSha512 => None,
    }
}

fn key_value_markup(key: &PublicKey) -> String {
    let mut w = Writer::new();
    w.start("ds:KeyValue");
    match key {
        PublicKey::Rsa(key) => {
            w.start("ds:RSAKeyValue");
            w.leaf("ds:Modulus", &encode_base64(key.modulus()))
                .leaf("ds:Exponent", &encode_base64(key.exponent()))
                .end();
        }
        PublicKey::Ec { curve, point } => {
            w.start("dsig11:ECKeyValue").attribute("xmlns:dsig11", ns::DSIG11);
            let mut uri = String::from("urn:oid:");
            uri.push_str(curve.oid());
            w.start("dsig11:NamedCurve").attribute("URI", &uri).end();
            w.leaf("dsig11:PublicKey", &encode_base64(point)).end();
        }
    }
    w.finish()
}

fn x509_markup(chain: &[CertificateDer<'_>]) -> String {
    let mut w = Writer::new();
    w.start("ds:X509Data");
    for certificate in chain {
        w.leaf("ds:X509Certificate", &encode_base64(certificate));
    }
    w.finish()
}

/// Why nothing was signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignError {
    /// The key refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What is to be signed is not the XML it should be.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The place for the signature is not in the markup.
    #[error("there is no place for the signature")]
    NoPlace,
}

/// A signature, ready to be placed.
#[derive(Clone, Debug)]
pub struct Signature {
    /// `ds:Signature`, with the namespaces it needs.
    pub markup: String,
    /// The signature value.
    pub value: Vec<u8>,
}

/// Signs bytes that are already canonical: `canonical` is the element with identifier `id` as exclusive
/// canonicalisation writes it. `key_info` is a whole `ds:KeyInfo`.
pub fn sign_canonical(
    canonical: &[u8],
    id: &str,
    profile: Profile,
    key: &SigningKey,
    key_info: &str,
) -> Result<Signature, SignError> {
    let digest = DigestAlgorithm::Sha256;
    let value = encode_base64(digest.digest(canonical).as_ref());
    let signed_info = signed_info(id, profile, key.algorithm(), digest, &value);
    let value = key.sign(signed_info.as_bytes())?;
    let mut w = Writer::new();
    w.start("ds:Signature").attribute("xmlns:ds", ns::DS).fragment(&signed_info);
    w.leaf("ds:SignatureValue", &encode_base64(&value)).fragment(key_info);
    Ok(Signature { markup: w.finish(), value })
}

/// Signs an element with an enveloped signature, which is put behind the first `insert_after` in its markup
/// (`</saml2:Issuer>`). The markup declares every namespace it uses.
pub fn sign_enveloped(
    markup: &str,
    insert_after: &str,
    id: &str,
    key: &SigningKey,
    key_info: &str,
) -> Result<(String, Signature), SignError> {
    let at = markup.find(insert_after).ok_or(SignError::NoPlace)? + insert_after.len();
    let tree = parse(markup, &Limits::default())?;
    let canonical = tree.root()?.canonical(None, &[]);
    let signature = sign_canonical(&canonical, id, Profile::Enveloped, key, key_info)?;
    let mut signed = String::with_capacity(markup.len() + signature.markup.len());
    signed.push_str(&markup[..at]);
    signed.push_str(&signature.markup);
    signed.push_str(&markup[at..]);
    Ok((signed, signature))
}

/// SignedInfo in canonical form: it declares its namespace, and no element is written in the short form.
fn signed_info(
    id: &str,
    profile: Profile,
    algorithm: SignatureAlgorithm,
    digest: DigestAlgorithm,
    value: &str,
) -> String {
    let transforms: &[&str] = match profile {
        Profile::Enveloped => &[ENVELOPED, EXCLUSIVE],
        Profile::Detached => &[EXCLUSIVE],
    };
    let mut uri = String::from("#");
    uri.push_str(id);
    let mut w = Writer::new();
    w.start("ds:SignedInfo").attribute("xmlns:ds", ns::DS);
    w.start("ds:CanonicalizationMethod").attribute("Algorithm", EXCLUSIVE).text("").end();
    w.start("ds:SignatureMethod").attribute("Algorithm", algorithm.uri()).text("").end();
    w.start("ds:Reference").attribute("URI", &uri).start("ds:Transforms");
    for transform in transforms {
        w.start("ds:Transform").attribute("Algorithm", transform).text("").end();
    }
    w.end();
    w.start("ds:DigestMethod").attribute("Algorithm", digest.uri()).text("").end();
    w.leaf("ds:DigestValue", value);
    w.finish()
}
