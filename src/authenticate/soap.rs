//! Who sends a SOAP message: the certificate of the connection, the assertion in the header, and the directory must
//! say the same.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use smol_str::SmolStr;

use super::{Caller, CallerKind, Proof, ReplayCache, Seen, User};
use crate::directory::{CallerError, Directory, Fingerprint, NetworkKind, Partner, Snapshot};
use crate::id::{HomeCommunityId, Timestamp};
use crate::saml::verify::{Expectations, SamlError, VerifiedAssertion, claimed_home, verify};
use crate::saml::xspa::Attributes;
use crate::soap::fault::Subcode;
use crate::trust::{Peer, Trust, Usage};
use crate::wssecurity::{RequestHeader, SecurityFault};
use crate::xml::Element;
use crate::xml::signature::{Known, Policy};

/// What authentication looks at.
pub struct Checks<'g> {
    /// Whom we trust.
    pub trust: &'g Trust,
    /// Whom we know.
    pub directory: &'g Directory,
    /// What we have seen.
    pub replay: &'g ReplayCache,
    /// Keys and signatures of assertions seen before.
    pub known: &'g Known,
    /// The names under which assertions are addressed to us.
    pub audiences: &'g [String],
    /// How far clocks may be apart.
    pub skew: Duration,
    /// The longest life of an assertion.
    pub max_lifetime: Duration,
}

/// Why nobody we know sent a message.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthenticationError {
    /// SOAP is spoken over mutual TLS only.
    #[error("the connection has no client certificate")]
    NoCertificate,
    /// No `wsse:Security`.
    #[error("the message has no security header")]
    NoSecurityHeader,
    /// The assertion does not say which community asks.
    #[error("the assertion names no home community")]
    NoCommunity,
    /// The community is not a partner's, or not of this certificate's network.
    #[error(transparent)]
    Unknown(#[from] CallerError),
    /// The assertion or its signatures.
    #[error(transparent)]
    Assertion(#[from] SamlError),
    /// Attributes that US networks require (NHIN Authorization Framework 3.0, 3.3.2).
    #[error("the assertion lacks {}", .0.join(", "))]
    Incomplete(Vec<&'static str>),
    /// A copy of a message that was accepted before.
    #[error("the message was received before")]
    Replayed,
    /// Too many messages are remembered to tell whether this one is a copy.
    #[error("too many messages at the moment; try again later")]
    Overloaded,
    /// No source of the configuration sends under this name from there.
    #[error("the sending application and facility are not a source that may feed from this address or certificate")]
    UnknownSource,
    /// No FHIR client of the configuration has this certificate.
    #[error("the certificate is not that of a FHIR client known here")]
    UnknownClient,
    /// A FHIR request states a purpose in a form that cannot be read.
    #[error("the purpose of use that the request states cannot be read")]
    UnreadablePurpose,
}

impl AuthenticationError {
    /// The fault's subcode (WS-Security 1.1, 12); none where it is not the sender's fault. No `_` arm: whoever adds a
    /// reason picks its code.
    pub fn subcode(&self) -> Option<Subcode> {
        Some(match self {
            Self::NoSecurityHeader => Subcode::InvalidSecurity,
            Self::NoCertificate => Subcode::FailedAuthentication,
            Self::NoCommunity | Self::Incomplete(_) | Self::UnreadablePurpose => Subcode::InvalidSecurityToken,
            Self::Unknown(_) | Self::UnknownSource | Self::UnknownClient => Subcode::FailedAuthentication,
            Self::Replayed => Subcode::MessageExpired,
            Self::Overloaded => return None,
            Self::Assertion(error) => match error.fault() {
                SecurityFault::UnsupportedSecurityToken => Subcode::UnsupportedSecurityToken,
                SecurityFault::UnsupportedAlgorithm => Subcode::UnsupportedAlgorithm,
                SecurityFault::InvalidSecurity => Subcode::InvalidSecurity,
                SecurityFault::InvalidSecurityToken => Subcode::InvalidSecurityToken,
                SecurityFault::FailedAuthentication => Subcode::FailedAuthentication,
                SecurityFault::FailedCheck => Subcode::FailedCheck,
                SecurityFault::SecurityTokenUnavailable => Subcode::SecurityTokenUnavailable,
                SecurityFault::MessageExpired => Subcode::MessageExpired,
            },
        })
    }
}

/// Proves who sent a message.
///
/// The community that the assertion claims picks the partner's rules before anything is proved; in the end the proved
/// community must lead to the same partner, so a claim can only make the rules stricter for whoever lies.
pub fn soap(
    checks: &Checks<'_>,
    peer: &Peer,
    security: Option<Element<'_>>,
    now: Timestamp,
) -> Result<Caller, AuthenticationError> {
    let security = security.ok_or(AuthenticationError::NoSecurityHeader)?;
    let claimed = claimed_home(security).ok_or_else(|| no_community(security))?;
    let directory = checks.directory.snapshot();
    let partner = candidate(&directory, &claimed, peer)?;
    let assertion = verify_for(checks, &partner, peer, security, now)?;
    let home = assertion.attributes().home_community.clone().ok_or(AuthenticationError::NoCommunity)?;
    let signer = fingerprint(assertion.signer());
    let proved = directory.caller(&home, peer.networks(), &signer)?;
    if proved.key != partner.key {
        return Err(CallerError::UnknownCommunity.into());
    }
    complete(&partner, assertion.attributes())?;
    match checks.replay.note(&assertion.replay_key(), assertion.expires(), now) {
        Seen::New => Ok(caller(partner, home, signer, peer, &assertion)),
        Seen::Before => Err(AuthenticationError::Replayed),
        Seen::Full => Err(AuthenticationError::Overloaded),
    }
}

/// Why a header claims no community: it may not have one assertion to begin with.
fn no_community(security: Element<'_>) -> AuthenticationError {
    match RequestHeader::read(security) {
        Ok(_) => AuthenticationError::NoCommunity,
        Err(error) => SamlError::from(error).into(),
    }
}

/// Who asks must be told in full where the network says so; IHE's own profile (ITI TF-2: 3.40) leaves it open.
fn complete(partner: &Partner, attributes: &Attributes) -> Result<(), AuthenticationError> {
    let demanded = match partner.kind {
        NetworkKind::Carequality | NetworkKind::Tefca | NetworkKind::EhealthExchange | NetworkKind::Commonwell => true,
        NetworkKind::Local | NetworkKind::Other => false,
    };
    let told = [
        ("the user's name (subject-id)", attributes.subject_id.is_some()),
        ("the user's role", !attributes.roles.is_empty()),
        ("the organization", !attributes.organizations.is_empty()),
        ("the organization's id", !attributes.organization_ids.is_empty()),
    ];
    let missing: Vec<_> = told.into_iter().filter(|(_, told)| !told).map(|(name, _)| name).collect();
    if missing.is_empty() || !demanded {
        return Ok(());
    }
    if partner.quirks.lenient_saml {
        tracing::warn!(partner = %partner.key, ?missing, "an assertion is incomplete, which this partner's entry allows");
        return Ok(());
    }
    Err(AuthenticationError::Incomplete(missing))
}

/// The partner whose rules apply to a message that claims to come from a community.
fn candidate(
    directory: &Snapshot,
    claimed: &HomeCommunityId,
    peer: &Peer,
) -> Result<Arc<Partner>, AuthenticationError> {
    let same_network = |partner: &&Arc<Partner>| peer.networks().contains(&partner.network);
    match directory.of_community(claimed).map(|(partner, _)| partner).find(same_network) {
        Some(partner) => Ok(partner.clone()),
        None => {
            let leaf = peer.certificates().first().map(fingerprint).unwrap_or(Fingerprint([0; 32]));
            Ok(directory.caller(claimed, peer.networks(), &leaf)?)
        }
    }
}

fn verify_for(
    checks: &Checks<'_>,
    partner: &Partner,
    peer: &Peer,
    security: Element<'_>,
    now: Timestamp,
) -> Result<VerifiedAssertion, SamlError> {
    let trusted = |chain: &[CertificateDer<'static>], at: Timestamp| {
        let (leaf, above) = chain.split_first().ok_or("no certificate")?;
        let verdict = checks.trust.verify_chain(&partner.network, leaf, above, Usage::Signing, at);
        verdict.map_err(|error| error.to_string())
    };
    let mut expectations = Expectations::new(now, checks.audiences, &trusted);
    expectations.skew = checks.skew;
    expectations.max_lifetime = checks.max_lifetime;
    expectations.allow_missing_audience = partner.quirks.accept_missing_audience;
    expectations.bearer = partner.quirks.accept_bearer;
    expectations.policy = Policy { sha1: partner.quirks.accepts_sha1(now), short_rsa: false };
    // T-GOVDTRM-ACP comes together with T-GOVDTRM-SSD; the policy checks each purpose.
    expectations.strict_single_values = partner.kind != NetworkKind::Tefca;
    expectations.candidates = peer.certificates();
    expectations.known = Some(checks.known);
    verify(security, &expectations)
}

fn caller(
    partner: Arc<Partner>,
    home: HomeCommunityId,
    signer: Fingerprint,
    peer: &Peer,
    assertion: &VerifiedAssertion,
) -> Caller {
    let attributes = assertion.attributes();
    Caller::new(Proof {
        network: Some(partner.network.clone()),
        kind: CallerKind::Partner(partner),
        home: Some(home),
        organization: attributes.organization().map(SmolStr::from),
        user: Some(User {
            name_id: assertion.name_id().into(),
            issuer: assertion.issuer().into(),
            subject_id: attributes.subject_id.as_deref().map(SmolStr::from),
            roles: attributes.roles.clone(),
        }),
        purposes: attributes.purposes.clone(),
        fingerprint: Some(signer),
        address: peer.address(),
        signature_confirmation: assertion.message_signature().map(<[u8]>::to_vec),
        replay: Some((assertion.replay_key(), assertion.expires())),
    })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Fingerprint(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::id::Code;

    fn outcome(kind: &str, lenient: bool, attributes: &Attributes) -> Result<(), AuthenticationError> {
        let text = format!(
            "name = \"x\"\nnetwork = \"x\"\nkind = \"{kind}\"\nhome_community_id = \"urn:oid:2.999.1\"\n\
             responds = false\n[quirks]\nlenient_saml = {lenient}\n"
        );
        complete(&crate::directory::read(Path::new("x.toml"), &text).0.unwrap(), attributes)
    }

    /// NHIN Authorization Framework 3.0, 3.3.2; in IHE's own profile these are options (ITI TF-2: 3.40.4.1.2).
    #[test]
    fn partners_of_us_networks_say_who_asks() {
        let whole = Attributes {
            subject_id: Some("A. Nurse".into()),
            roles: vec![Code::new("224608005", "2.16.840.1.113883.6.96", "")],
            organizations: vec!["East".into()],
            organization_ids: vec!["urn:oid:2.999.1".into()],
            ..Attributes::default()
        };
        let no_role = Attributes { roles: Vec::new(), ..whole.clone() };
        for (kind, demands) in [
            ("carequality", true),
            ("tefca", true),
            ("ehealth-exchange", true),
            ("commonwell", true),
            ("local", false),
            ("other", false),
        ] {
            assert_eq!(outcome(kind, false, &whole), Ok(()), "{kind}");
            let refused = AuthenticationError::Incomplete(vec!["the user's role"]);
            assert_eq!(outcome(kind, false, &no_role), if demands { Err(refused) } else { Ok(()) }, "{kind}");
            assert_eq!(outcome(kind, true, &no_role), Ok(()), "{kind}");
        }
        let error = outcome("tefca", false, &Attributes::default()).unwrap_err();
        assert_eq!(error.subcode(), Some(Subcode::InvalidSecurityToken));
        assert!(error.to_string().contains("subject-id"), "{error}");
    }
}
