//! Revocation by CRL (RFC 5280), with the failure policy said explicitly (specification SEC-05).
//!
//! OCSP is not asked: the lists are files that the operator (or a timer) puts into the trust store.

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

/// Which certificates must be covered by a revocation list.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Revocation {
    /// Every certificate of a chain must be covered by a list in the store; without one it is refused.
    Required,
    /// A certificate is checked when its issuer has a list in the store.
    #[default]
    WhenPublished,
}

/// What a list past its `nextUpdate` is worth.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiredList {
    /// Nothing: certificates of that issuer are refused until a new list is there.
    #[default]
    Refuse,
    /// Still used: what it revokes is refused, the rest is accepted.
    Accept,
}

/// The revocation rules of one network.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RevocationPolicy {
    /// Which certificates must be covered.
    pub revocation: Revocation,
    /// What becomes of certificates whose issuer's list has expired.
    pub expired_list: ExpiredList,
}

/// Reads the lists of one file, PEM (any number) or DER (one).
pub(super) fn read_lists(bytes: &[u8]) -> Result<Vec<(CertRevocationList<'static>, Der)>, String> {
    let ders: Vec<Der> = if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
        lists.map_err(|error| format!("is not PEM: {error}"))?
    } else {
        vec![CertificateRevocationListDer::from(bytes.to_vec())]
    };
    if ders.is_empty() {
        return Err("has no revocation list in it".into());
    }
    let parse = |der: Der| match OwnedCertRevocationList::from_der(der.as_ref()) {
        Ok(list) => Ok((CertRevocationList::from(list), der)),
        Err(error) => Err(format!("is not a revocation list that can be used: {error}")),
    };
    ders.into_iter().map(parse).collect()
}

/// A list as bytes.
pub(super) type Der = CertificateRevocationListDer<'static>;

/// The options for one verification, or none when the network has no lists.
pub(super) fn options<'a>(
    lists: &'a [&'a CertRevocationList<'a>],
    policy: RevocationPolicy,
) -> Option<RevocationOptions<'a>> {
    let unknown = match policy.revocation {
        Revocation::Required => UnknownStatusPolicy::Deny,
        Revocation::WhenPublished => UnknownStatusPolicy::Allow,
    };
    let expired = match policy.expired_list {
        ExpiredList::Refuse => ExpirationPolicy::Enforce,
        ExpiredList::Accept => ExpirationPolicy::Ignore,
    };
    let builder = RevocationOptionsBuilder::new(lists).ok()?;
    let builder = builder.with_depth(RevocationCheckDepth::Chain);
    Some(builder.with_status_policy(unknown).with_expiration_policy(expired).build())
}
