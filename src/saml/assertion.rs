//! The structure of an assertion as received. Nothing of it leaves `saml` before the signature is verified.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::issue::{BEARER, HOLDER_OF_KEY};
use super::verify::{Expectations, SamlError};
use crate::id::Timestamp;
use crate::xml::signature::{KeyError, Known, PublicKey, decode_base64};
use crate::xml::{Element, ns};

/// Most certificates that are looked at in one KeyInfo: each can cost a verification.
const MOST_CERTIFICATES: usize = 8;

/// An assertion whose structure is in order.
pub(super) struct Assertion<'d> {
    pub(super) element: Element<'d>,
    pub(super) issue_instant: Timestamp,
    pub(super) signature: Element<'d>,
    pub(super) confirmation: Confirmed<'d>,
    pub(super) expires: Option<Timestamp>,
}

/// The confirmation that will be checked.
#[derive(Clone, Copy)]
pub(super) enum Confirmed<'d> {
    HolderOfKey(Element<'d>),
    Bearer,
}

impl<'d> Assertion<'d> {
    /// Reads the structure and checks every rule that needs no key: version, cardinality, times, audience.
    pub(super) fn read(
        element: Element<'d>,
        created: Timestamp,
        expectations: &Expectations<'_>,
    ) -> Result<Self, SamlError> {
        let structure = |rule| SamlError::Structure(rule);
        if element.attribute("Version") != Some("2.0") {
            return Err(SamlError::Version);
        }
        let id = element.attribute("ID").unwrap_or_default();
        if !id.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return Err(structure("its ID is not a name that starts with a letter or an underscore"));
        }
        let issue_instant = time(element, "IssueInstant")?.ok_or(structure("it has no IssueInstant"))?;
        once(element, "Issuer")?;
        let signatures = element.children_named(ns::DS, "Signature").count();
        let signature = element.child(ns::DS, "Signature").ok_or(SamlError::Unsigned)?;
        if signatures > 1 {
            return Err(structure("it has more than one Signature"));
        }
        let subject = once(element, "Subject")?;
        check_authentication(element, created, expectations.skew)?;
        if issue_instant > created.plus(expectations.skew) {
            return Err(structure("it was issued after the message was created"));
        }
        check_evidence(element, created, expectations.skew)?;
        let expires = check_conditions(element, created, expectations)?;
        let confirmation = confirmation(subject, expectations)?;
        Ok(Self { element, issue_instant, signature, confirmation, expires })
    }
}

/// The child that must be there once.
pub(super) fn once<'d>(parent: Element<'d>, name: &'static str) -> Result<Element<'d>, SamlError> {
    parent.only_child(ns::SAML2, name).map_err(|_| SamlError::NotOnce(name))
}

/// Exactly one AuthnStatement with one AuthnContext: NIST's tests expect a second one to be refused.
fn check_authentication(assertion: Element<'_>, created: Timestamp, skew: Duration) -> Result<(), SamlError> {
    let statement = once(assertion, "AuthnStatement")?;
    let context = once(statement, "AuthnContext")?;
    let named = ["AuthnContextClassRef", "AuthnContextDeclRef", "AuthnContextDecl"];
    if !context.children().any(|child| child.namespace() == ns::SAML2 && named.contains(&child.local_name())) {
        return Err(SamlError::Structure("its AuthnContext names no class and no declaration"));
    }
    if context.children_named(ns::SAML2, "AuthnContextClassRef").count() > 1 {
        return Err(SamlError::NotOnce("AuthnContextClassRef"));
    }
    let instant = time(statement, "AuthnInstant")?;
    match instant {
        None => Err(SamlError::Structure("its AuthnStatement has no AuthnInstant")),
        Some(instant) if instant > created.plus(skew) => {
            Err(SamlError::Structure("its AuthnInstant is after the message was created"))
        }
        Some(_) => Ok(()),
    }
}

/// Evidence is read with the assertion around it, so it must not be younger than the message.
fn check_evidence(assertion: Element<'_>, created: Timestamp, skew: Duration) -> Result<(), SamlError> {
    let mut decisions = assertion.children_named(ns::SAML2, "AuthzDecisionStatement");
    let Some(decision) = decisions.next() else { return Ok(()) };
    if decisions.next().is_some() {
        return Err(SamlError::NotOnce("AuthzDecisionStatement"));
    }
    for evidence in decision.descendants().filter(|element| element.is(ns::SAML2, "Assertion")) {
        if time(evidence, "IssueInstant")?.is_some_and(|instant| instant > created.plus(skew)) {
            return Err(SamlError::Structure("its evidence was issued after the message was created"));
        }
    }
    Ok(())
}

/// Checks Conditions and gives NotOnOrAfter.
fn check_conditions(
    assertion: Element<'_>,
    created: Timestamp,
    expectations: &Expectations<'_>,
) -> Result<Option<Timestamp>, SamlError> {
    let conditions = assertion.optional_child(ns::SAML2, "Conditions").map_err(|_| SamlError::NotOnce("Conditions"))?;
    let mut restricted = false;
    let mut expires = None;
    if let Some(conditions) = conditions {
        expires = check_window(conditions, expectations)?;
        let skew = expectations.skew;
        if time(conditions, "NotBefore")?.is_some_and(|from| from > created.plus(skew)) {
            return Err(SamlError::Structure("its NotBefore is later than the message's Created"));
        }
        if expires.is_some_and(|until| until.plus(skew) < created) {
            return Err(SamlError::Structure("its NotOnOrAfter is earlier than the message's Created"));
        }
        for condition in conditions.children() {
            match condition.local_name() {
                "AudienceRestriction" if condition.namespace() == ns::SAML2 => {
                    restricted = true;
                    let mut audiences = condition.children_named(ns::SAML2, "Audience");
                    if !audiences.any(|audience| expectations.is_audience(&audience.trimmed())) {
                        return Err(SamlError::Audience);
                    }
                }
                // Gazelle ITI40-015 to 018: these may be ignored.
                "OneTimeUse" | "ProxyRestriction" if condition.namespace() == ns::SAML2 => {}
                // SAML core 2.5.1: an assertion with a condition that is not understood is not valid.
                _ => return Err(SamlError::Condition),
            }
        }
    }
    if !restricted && !expectations.allow_missing_audience {
        return Err(SamlError::NoAudience);
    }
    Ok(expires)
}

/// NotBefore and NotOnOrAfter of an element against the time now; gives NotOnOrAfter.
fn check_window(element: Element<'_>, expectations: &Expectations<'_>) -> Result<Option<Timestamp>, SamlError> {
    let (now, skew) = (expectations.now, expectations.skew);
    if let Some(from) = time(element, "NotBefore")?
        && from > now.plus(skew)
    {
        return Err(SamlError::NotYetValid { from: from.to_rfc3339(), now: now.to_rfc3339() });
    }
    let until = time(element, "NotOnOrAfter")?;
    if let Some(until) = until
        && until.plus(skew) <= now
    {
        return Err(SamlError::Expired { until: until.to_rfc3339(), now: now.to_rfc3339() });
    }
    Ok(until)
}

/// The strongest confirmation that is accepted: holder-of-key before bearer. The issuer vouches for each of them.
fn confirmation<'d>(subject: Element<'d>, expectations: &Expectations<'_>) -> Result<Confirmed<'d>, SamlError> {
    let with = |method: &str| {
        subject
            .children_named(ns::SAML2, "SubjectConfirmation")
            .find(|confirmation| confirmation.attribute("Method").map(str::trim) == Some(method))
    };
    let data = |confirmation: Element<'d>| confirmation.child(ns::SAML2, "SubjectConfirmationData");
    if let (true, Some(holder)) = (expectations.holder_of_key, with(HOLDER_OF_KEY)) {
        let data = data(holder).ok_or(SamlError::HolderKey)?;
        check_window(data, expectations)?;
        let key_info = data.only_child(ns::DS, "KeyInfo").map_err(|_| SamlError::HolderKey)?;
        return Ok(Confirmed::HolderOfKey(key_info));
    }
    if let (true, Some(bearer)) = (expectations.bearer, with(BEARER)) {
        if let Some(data) = data(bearer) {
            check_window(data, expectations)?;
        }
        return Ok(Confirmed::Bearer);
    }
    Err(SamlError::Confirmation)
}

/// An attribute that holds a time.
fn time(element: Element<'_>, name: &'static str) -> Result<Option<Timestamp>, SamlError> {
    match element.attribute(name) {
        None => Ok(None),
        Some(text) => {
            Timestamp::from_rfc3339(text).map(Some).ok_or(SamlError::Structure("one of its times is no time"))
        }
    }
}

/// The certificates of a KeyInfo, in their order. Those that are not base64 are passed over.
pub(super) fn certificates(key_info: Element<'_>) -> Vec<CertificateDer<'static>> {
    key_info
        .children_named(ns::DS, "X509Data")
        .flat_map(|data| data.children_named(ns::DS, "X509Certificate"))
        .filter_map(|certificate| decode_base64(&certificate.text()))
        .take(MOST_CERTIFICATES)
        .map(CertificateDer::from)
        .collect()
}

/// The key of a certificate, from memory if there is one.
pub(super) fn key_of(certificate: &CertificateDer<'static>, known: Option<&Known>) -> Result<Arc<PublicKey>, KeyError> {
    match known {
        Some(known) => known.key(certificate),
        None => PublicKey::from_certificate(certificate).map(Arc::new),
    }
}

/// The one key of holder-of-key data: numbers, certificate, or both of the same key.
pub(super) fn holder_key(key_info: Element<'_>, known: Option<&Known>) -> Result<Arc<PublicKey>, SamlError> {
    let refused = |_| SamlError::HolderKey;
    let number = key_info.optional_child(ns::DS, "KeyValue").map_err(|_| SamlError::HolderKey)?;
    let number = number.map(PublicKey::from_key_value).transpose().map_err(refused)?;
    let certificates = certificates(key_info);
    let certified = certificates.first().map(|certificate| key_of(certificate, known)).transpose().map_err(refused)?;
    match (number, certified) {
        (Some(number), Some(certified)) if number != *certified => Err(SamlError::HolderKey),
        (_, Some(key)) => Ok(key),
        (Some(number), None) => Ok(Arc::new(number)),
        (None, None) => Err(SamlError::HolderKey),
    }
}

/// Host and origin of a URL, lower case: `gw.example` and `https://gw.example:8443`.
pub(super) fn origin(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority.as_str(),
    };
    let origin = [scheme.to_ascii_lowercase().as_str(), "://", &authority].concat();
    Some((host.to_owned(), origin))
}
