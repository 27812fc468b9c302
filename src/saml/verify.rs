//! Verifying the security header of a request. The only maker of [`VerifiedAssertion`].
//!
//! Order: what stands in the header, its times, the structure of the assertion, its signature and who is trusted to
//! make it, the holder's key and the signature over the Timestamp, and the attributes last.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;

use super::assertion::{self, Assertion, Confirmed, certificates, holder_key, key_of, once};
use super::xspa::{AttributeError, Attributes};
use crate::id::{HomeCommunityId, Timestamp};
use crate::wssecurity::{HeaderError, Lifetime, RequestHeader, SecurityFault};
use crate::xml::signature::{Claim, Identifiers, Known, Policy, Profile, SignatureError, Verified};
use crate::xml::{Element, ns};

/// Decides whether a chain, leaf first, is trusted to sign at a time; the text says why not.
pub type Trusted<'e> = &'e dyn Fn(&[CertificateDer<'static>], Timestamp) -> Result<(), String>;

/// What a receiver demands.
#[derive(Clone)]
pub struct Expectations<'e> {
    /// The time now.
    pub now: Timestamp,
    /// How far clocks may be apart.
    pub skew: Duration,
    /// The longest life of a Timestamp, and of an assertion that comes without one.
    pub max_lifetime: Duration,
    /// Who we are: URLs of our endpoints, and other names that assertions may be addressed to.
    pub audiences: &'e [String],
    /// Whether an assertion that names no audience is accepted.
    pub allow_missing_audience: bool,
    /// Whether holder-of-key is accepted.
    pub holder_of_key: bool,
    /// Whether bearer is accepted.
    pub bearer: bool,
    /// Whether a bearer assertion may come without a Timestamp, as plain XUA has it.
    pub allow_missing_timestamp: bool,
    /// Algorithms besides the ordinary ones.
    pub policy: Policy,
    /// Whether a second role or purpose of use is refused, as NIST's tests expect. TEFCA's `T-GOVDTRM-ACP` comes
    /// together with another purpose.
    pub strict_single_values: bool,
    /// Certificates that may have signed although the message does not carry them: the TLS peer's.
    pub candidates: &'e [CertificateDer<'static>],
    /// Who is trusted.
    pub trusted: Trusted<'e>,
    /// Keys and signatures of assertions seen before; without it everything is worked out.
    pub known: Option<&'e Known>,
}

impl<'e> Expectations<'e> {
    /// What US networks demand: holder-of-key, 5 minutes of skew, a day at most, SHA-2, an audience if one is named.
    pub fn new(now: Timestamp, audiences: &'e [String], trusted: Trusted<'e>) -> Self {
        Self {
            now,
            skew: Duration::from_secs(300),
            max_lifetime: Duration::from_secs(86_400),
            audiences,
            allow_missing_audience: true,
            holder_of_key: true,
            bearer: false,
            allow_missing_timestamp: false,
            policy: Policy::default(),
            strict_single_values: true,
            candidates: &[],
            trusted,
            known: None,
        }
    }

    /// Whether an audience is us: one of our names, or the origin or host of one (ITI TF-2: 3.40.4.1.2, "the URI of
    /// the X-Service Provider, or its domain").
    pub(super) fn is_audience(&self, audience: &str) -> bool {
        let bare = audience.trim_end_matches('/');
        self.audiences.iter().any(|ours| {
            ours.trim_end_matches('/') == bare
                || assertion::origin(ours).is_some_and(|(host, origin)| {
                    bare.eq_ignore_ascii_case(&host) || bare.eq_ignore_ascii_case(&origin)
                })
        })
    }
}

/// Why a security header is refused. No text quotes a name or an attribute value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SamlError {
    /// The header or its Timestamp.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Not SAML 2.0.
    #[error("the assertion is not of SAML version 2.0")]
    Version,
    /// A rule of structure.
    #[error("the assertion is refused: {0}")]
    Structure(&'static str),
    /// A part that must be there once.
    #[error("the assertion does not have exactly one {0}")]
    NotOnce(&'static str),
    /// No signature on the assertion.
    #[error("the assertion is not signed")]
    Unsigned,
    /// A signature is refused.
    #[error("the signature of the {over} is refused: {cause}")]
    Signature {
        /// `assertion` or `Timestamp`.
        over: &'static str,
        /// The check that failed.
        cause: SignatureError,
    },
    /// No certificate that could have signed.
    #[error("the assertion's signature comes without a certificate")]
    NoCertificate,
    /// The signer is not trusted.
    #[error("the signer of the assertion is not trusted: {0}")]
    Untrusted(String),
    /// NotBefore lies ahead.
    #[error("the assertion is not valid before {from}, and it is {now} here")]
    NotYetValid {
        /// `NotBefore`.
        from: String,
        /// Our time.
        now: String,
    },
    /// NotOnOrAfter has passed.
    #[error("the assertion was valid until {until}, and it is {now} here")]
    Expired {
        /// `NotOnOrAfter`.
        until: String,
        /// Our time.
        now: String,
    },
    /// Neither the assertion nor the message says until when it is valid, or it is valid for too long.
    #[error("the assertion comes without a Timestamp and says no end of its validity that is near enough")]
    Endless,
    /// For somebody else.
    #[error("the assertion is meant for another audience")]
    Audience,
    /// Names no audience.
    #[error("the assertion names no audience")]
    NoAudience,
    /// A condition that is not understood.
    #[error("the assertion has a condition that is not understood here")]
    Condition,
    /// No confirmation method that is accepted.
    #[error("the assertion's subject confirmation is not one that is accepted here")]
    Confirmation,
    /// The holder's key is missing, unreadable or contradicts its certificate.
    #[error("the holder-of-key data has no KeyInfo with one key that can be read")]
    HolderKey,
    /// No signature by the holder of the key.
    #[error("the message is not signed with the key that its holder-of-key assertion names")]
    NotEndorsed,
    /// The attributes.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// Two roles or two purposes.
    #[error("the assertion states more than one {0}")]
    Ambiguous(&'static str),
}

impl SamlError {
    /// The fault code (WS-Security section 12). No `_` arm: whoever adds a reason picks its code.
    pub fn fault(&self) -> SecurityFault {
        match self {
            Self::Header(error) => error.fault(),
            Self::Version => SecurityFault::UnsupportedSecurityToken,
            Self::Unsigned | Self::NotEndorsed => SecurityFault::InvalidSecurity,
            Self::Signature { cause, .. } => signature_fault(cause),
            Self::NoCertificate => SecurityFault::SecurityTokenUnavailable,
            Self::Untrusted(_) => SecurityFault::FailedAuthentication,
            Self::Structure(_)
            | Self::NotOnce(_)
            | Self::NotYetValid { .. }
            | Self::Expired { .. }
            | Self::Endless
            | Self::Audience
            | Self::NoAudience
            | Self::Condition
            | Self::Confirmation
            | Self::HolderKey
            | Self::Attribute(_)
            | Self::Ambiguous(_) => SecurityFault::InvalidSecurityToken,
        }
    }
}

fn signature_fault(cause: &SignatureError) -> SecurityFault {
    match cause {
        SignatureError::Algorithm { .. }
        | SignatureError::Sha1(_)
        | SignatureError::KeyKind(_)
        | SignatureError::ShortKey(_) => SecurityFault::UnsupportedAlgorithm,
        SignatureError::DuplicateIdentifier(_)
        | SignatureError::NoIdentifier(_)
        | SignatureError::Shape(_)
        | SignatureError::Xml(_)
        | SignatureError::Reference { .. }
        | SignatureError::NotBase64(_)
        | SignatureError::Value
        | SignatureError::Digest { .. } => SecurityFault::FailedCheck,
    }
}

/// An assertion that a trusted signer made, that is valid now and for us, and that its sender may use.
#[derive(Clone)]
pub struct VerifiedAssertion {
    id: String,
    issuer: String,
    name_id: String,
    provided_id: Option<String>,
    authentication: Option<String>,
    attributes: Attributes,
    signer: CertificateDer<'static>,
    message_signature: Option<Vec<u8>>,
    replay_key: [u8; 32],
    expires: Timestamp,
}

impl fmt::Debug for VerifiedAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedAssertion")
            .field("attributes", &self.attributes)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl VerifiedAssertion {
    /// `Assertion/@ID`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who made it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// About whom it is.
    pub fn name_id(&self) -> &str {
        &self.name_id
    }

    /// The user as audit records name it: `alias<user@issuer>` (ITI TF-2: 3.40.4.2).
    pub fn audit_user(&self) -> String {
        let alias = self.provided_id.as_deref().unwrap_or_default();
        [alias, "<", &self.name_id, "@", &self.issuer, ">"].concat()
    }

    /// `AuthnContextClassRef`, how the user was authenticated.
    pub fn authentication(&self) -> Option<&str> {
        self.authentication.as_deref()
    }

    /// The attributes.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The certificate whose key signed the assertion; its chain is trusted.
    pub fn signer(&self) -> &CertificateDer<'static> {
        &self.signer
    }

    /// The value of the signature over the Timestamp, which a response confirms. None with bearer.
    pub fn message_signature(&self) -> Option<&[u8]> {
        self.message_signature.as_deref()
    }

    /// What a second copy of the message has in common with the first: SHA-256 over issuer, ID, IssueInstant and what
    /// nobody else can vary of both signature values. A live partner sends one ID in all its messages, so the ID alone would refuse its second.
    pub fn replay_key(&self) -> [u8; 32] {
        self.replay_key
    }

    /// When a copy of the message would be refused for its age anyway, skew included: how long to remember it.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// The community that the assertion of a header claims to come from, unproved: it says under which partner's rules the
/// header is to be verified, and nothing else.
pub fn claimed_home(security: Element<'_>) -> Option<HomeCommunityId> {
    let header = RequestHeader::read(security).ok()?;
    Attributes::home_community(header.assertion).ok()?
}

/// Verifies `wsse:Security` of a request.
pub fn verify(security: Element<'_>, expectations: &Expectations<'_>) -> Result<VerifiedAssertion, SamlError> {
    let header = RequestHeader::read(security)?;
    let lifetime = header.timestamp.map(Lifetime::read).transpose()?;
    if let Some(lifetime) = lifetime {
        lifetime.check(expectations.now, expectations.skew, expectations.max_lifetime)?;
    }
    let created = lifetime.map_or(expectations.now, |lifetime| lifetime.created);
    let assertion = Assertion::read(header.assertion, created, expectations)?;
    let expires = end_of_life(&assertion, lifetime, expectations)?;
    let identifiers = Identifiers::of(security).map_err(|cause| SamlError::Signature { over: "assertion", cause })?;
    let (verified, signer) = verify_assertion(&identifiers, &assertion, expectations)?;
    let endorsed = match assertion.confirmation {
        Confirmed::HolderOfKey(key_info) => Some(verify_endorsement(&identifiers, &header, key_info, expectations)?),
        // Nothing relies on a signature beside a bearer assertion, so none is looked at.
        Confirmed::Bearer => None,
    };
    read_verified(&verified, signer, endorsed, assertion.issue_instant, expires, expectations)
}

/// Until when the message could be played again: the sooner of the two ends, with skew.
fn end_of_life(
    assertion: &Assertion<'_>,
    lifetime: Option<Lifetime>,
    expectations: &Expectations<'_>,
) -> Result<Timestamp, SamlError> {
    let bearer = matches!(assertion.confirmation, Confirmed::Bearer);
    let until = match (lifetime, assertion.expires) {
        (Some(lifetime), Some(until)) if !bearer => lifetime.expires.min(until),
        (Some(lifetime), None) if !bearer => lifetime.expires,
        (None, _) if !(bearer && expectations.allow_missing_timestamp) => {
            return Err(HeaderError::Missing("Timestamp").into());
        }
        // Nothing binds a bearer assertion to its Timestamp, so only its own end counts.
        (_, Some(until)) if until <= expectations.now.plus(expectations.max_lifetime) => until,
        (_, _) => return Err(SamlError::Endless),
    };
    Ok(until.plus(expectations.skew))
}

/// The first certificate whose key made the signature, if it is trusted. KeyInfo only proposes.
fn verify_assertion<'d>(
    identifiers: &Identifiers<'d>,
    assertion: &Assertion<'d>,
    expectations: &Expectations<'_>,
) -> Result<(Verified<'d>, CertificateDer<'static>), SamlError> {
    let refused = |cause| SamlError::Signature { over: "assertion", cause };
    let policy = expectations.policy;
    let claim = Claim::read(identifiers, assertion.element, assertion.signature, Profile::Enveloped, policy)
        .map_err(refused)?;
    let key_info = assertion.signature.optional_child(ns::DS, "KeyInfo").map_err(|error| refused(error.into()))?;
    let mut proposed = key_info.map(certificates).unwrap_or_default();
    if let Confirmed::HolderOfKey(key_info) = assertion.confirmation {
        proposed.extend(certificates(key_info));
    }
    let carried = proposed.len();
    proposed.extend_from_slice(expectations.candidates);
    let mut failure = SamlError::NoCertificate;
    for (at, certificate) in proposed.iter().enumerate() {
        if proposed[..at].contains(certificate) {
            continue;
        }
        let Ok(key) = key_of(certificate, expectations.known) else { continue };
        let signed = match claim.signed_by(&key, expectations.known) {
            Ok(signed) => signed,
            Err(cause) => {
                failure = refused(cause);
                continue;
            }
        };
        let mut chain = vec![certificate.clone()];
        let others = if at < carried { &proposed[..carried] } else { &proposed[carried..] };
        chain.extend(others.iter().filter(|other| *other != certificate).cloned());
        (expectations.trusted)(&chain, expectations.now).map_err(SamlError::Untrusted)?;
        return Ok((signed.verify().map_err(refused)?, certificate.clone()));
    }
    Err(failure)
}

/// The signature over this header's Timestamp, by the key that the assertion names.
fn verify_endorsement<'d>(
    identifiers: &Identifiers<'d>,
    header: &RequestHeader<'d>,
    key_info: Element<'_>,
    expectations: &Expectations<'_>,
) -> Result<Verified<'d>, SamlError> {
    let refused = |cause| SamlError::Signature { over: "Timestamp", cause };
    let timestamp = header.timestamp.ok_or(HeaderError::Missing("Timestamp"))?;
    let signature = header.signature.ok_or(SamlError::NotEndorsed)?;
    let key = holder_key(key_info, expectations.known)?;
    let policy = expectations.policy;
    let claim = Claim::read(identifiers, timestamp, signature, Profile::Detached, policy).map_err(refused)?;
    // Each message has its own, so there is nothing to remember.
    claim.verify(&key).map_err(refused)
}

/// Reads from the element that was verified, and from nothing else.
fn read_verified(
    verified: &Verified<'_>,
    signer: CertificateDer<'static>,
    endorsed: Option<Verified<'_>>,
    issue_instant: Timestamp,
    expires: Timestamp,
    expectations: &Expectations<'_>,
) -> Result<VerifiedAssertion, SamlError> {
    let element = verified.element();
    let attributes = Attributes::read(element)?;
    if expectations.strict_single_values {
        if attributes.purposes.len() > 1 {
            return Err(SamlError::Ambiguous("purpose of use"));
        }
        if attributes.roles.len() > 1 {
            return Err(SamlError::Ambiguous("role"));
        }
    }
    let id = element.attribute("ID").unwrap_or_default().to_owned();
    let issuer = once(element, "Issuer")?.trimmed().into_owned();
    let name =
        once(element, "Subject")?.optional_child(ns::SAML2, "NameID").map_err(|_| SamlError::NotOnce("NameID"))?;
    let name = name.ok_or(SamlError::NotOnce("NameID"))?;
    let context = element.find(ns::SAML2, &["AuthnStatement", "AuthnContext", "AuthnContextClassRef"]);
    let instant = issue_instant.as_millis().to_be_bytes();
    let parts: [&[u8]; 5] = [
        issuer.as_bytes(),
        id.as_bytes(),
        &instant,
        verified.distinct_value(),
        endorsed.as_ref().map_or(&[], |endorsed| endorsed.distinct_value()),
    ];
    Ok(VerifiedAssertion {
        replay_key: digest_of(&parts),
        id,
        issuer,
        name_id: name.trimmed().into_owned(),
        provided_id: name.attribute("SPProvidedID").map(str::to_owned),
        authentication: context.map(|class| class.trimmed().into_owned()),
        attributes,
        signer,
        message_signature: endorsed.map(|endorsed| endorsed.signature_value().to_vec()),
        expires,
    })
}

/// SHA-256 over parts, each with its length before it.
fn digest_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
