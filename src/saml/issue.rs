//! Making the security header of a request. An assertion is signed once and used for as long as it is valid; each
//! message gets its own Timestamp and, with holder-of-key, its own signature over that.

use std::fmt;
use std::time::Duration;

use super::xspa::{Attributes, Quirks};
use crate::id::Timestamp;
use crate::wssecurity::Lifetime;
use crate::wssecurity::header::unique_id;
use crate::xml::signature::sign::{SignError, sign_canonical, sign_enveloped};
use crate::xml::signature::{KeyError, Profile, PublicKey, SigningKey};
use crate::xml::{Writer, ns};

/// `Format` of a name that is an X.500 distinguished name.
pub const X509_SUBJECT_NAME: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName";
/// `Format` of a name that is an e-mail address.
pub const EMAIL_ADDRESS: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
/// The user was authenticated by an X.509 certificate.
pub const AUTHENTICATED_BY_X509: &str = "urn:oasis:names:tc:SAML:2.0:ac:classes:X509";
pub(super) const HOLDER_OF_KEY: &str = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key";
pub(super) const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const SAML_TOKEN: &str = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV2.0";
const SAML_ID: &str = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLID";

/// How the receiver knows that the sender may use the assertion.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Confirmation {
    /// The sender signs the Timestamp with the key that the assertion names. US networks demand it.
    #[default]
    HolderOfKey,
    /// Whoever has it may use it (ITI TF-2: 3.40.4.1.2).
    Bearer,
}

/// A name with its `Format`.
#[derive(Clone, Eq, PartialEq)]
pub struct Name {
    /// The name.
    pub value: String,
    /// URI of its format.
    pub format: &'static str,
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Name(…)")
    }
}

/// What an assertion is to say.
#[derive(Clone, Debug)]
pub struct AssertionRequest {
    /// Who says it: us.
    pub issuer: Name,
    /// About whom.
    pub subject: Name,
    /// The attributes.
    pub attributes: Attributes,
    /// For whom: the URL of the endpoint. None leaves the restriction out.
    pub audience: Option<String>,
    /// For how long.
    pub lifetime: Duration,
    /// How it is confirmed.
    pub confirmation: Confirmation,
    /// How the user was authenticated, a SAML 2.0 class.
    pub authentication: &'static str,
    /// What the partner wants written differently.
    pub quirks: Quirks,
}

/// Why no header was made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IssueError {
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The assertion is no longer valid; a new one is due.
    #[error("the assertion is no longer valid")]
    Expired,
    /// The assertion names another key than the one at hand.
    #[error("the assertion names another key as its holder's")]
    OtherKey,
}

impl From<KeyError> for IssueError {
    fn from(error: KeyError) -> Self {
        Self::Sign(SignError::Key(error))
    }
}

/// A signed assertion that can go with several messages to one audience.
#[derive(Clone)]
pub struct Token {
    assertion: String,
    id: String,
    expires: Timestamp,
    holder: Option<PublicKey>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The header of one message.
#[derive(Clone, Debug)]
pub struct SecurityHeader {
    /// `wsse:Security`, to be put into the SOAP header.
    pub markup: String,
    /// The value of the signature over the Timestamp, which the response confirms.
    pub signature_value: Option<Vec<u8>>,
}

impl Token {
    /// Makes and signs an assertion.
    pub fn issue(request: &AssertionRequest, now: Timestamp, key: &SigningKey) -> Result<Self, IssueError> {
        let id = unique_id("_");
        let expires = now.plus(request.lifetime);
        let key_info = key.key_info();
        let markup = assertion(request, &id, now, expires, &key_info);
        let (assertion, _) = sign_enveloped(&markup, "</saml2:Issuer>", &id, key, &key_info)?;
        let holder = match request.confirmation {
            Confirmation::HolderOfKey => Some(key.public().clone()),
            Confirmation::Bearer => None,
        };
        Ok(Self { assertion, id, expires, holder })
    }

    /// The signed assertion.
    pub fn assertion(&self) -> &str {
        &self.assertion
    }

    /// `NotOnOrAfter` of the assertion.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The header of a message that is sent now and may be believed for `lifetime`.
    pub fn header(&self, now: Timestamp, lifetime: Duration, key: &SigningKey) -> Result<SecurityHeader, IssueError> {
        if now >= self.expires {
            return Err(IssueError::Expired);
        }
        let id = unique_id("TS-");
        let timestamp = Lifetime::starting(now, lifetime).canonical(&id);
        let endorsing = match &self.holder {
            None => None,
            Some(holder) if holder != key.public() => return Err(IssueError::OtherKey),
            Some(_) => {
                let key_info = reference_to(&self.id);
                Some(sign_canonical(timestamp.as_bytes(), &id, Profile::Detached, key, &key_info)?)
            }
        };
        let mut w = Writer::new();
        w.start("wsse:Security").attribute("xmlns:wsse", ns::WSSE);
        w.attribute("xmlns:soap12", ns::SOAP12).attribute("soap12:mustUnderstand", "1");
        w.fragment(&timestamp).fragment(&self.assertion);
        if let Some(signature) = &endorsing {
            w.fragment(&signature.markup);
        }
        Ok(SecurityHeader { markup: w.finish(), signature_value: endorsing.map(|signature| signature.value) })
    }
}

fn assertion(request: &AssertionRequest, id: &str, now: Timestamp, expires: Timestamp, key_info: &str) -> String {
    let (now, expires) = (now.to_rfc3339(), expires.to_rfc3339());
    let mut w = Writer::new();
    w.start("saml2:Assertion").attribute("xmlns:saml2", ns::SAML2);
    w.attribute("xmlns:xs", ns::XS).attribute("xmlns:xsi", ns::XSI);
    w.attribute("ID", id).attribute("IssueInstant", &now).attribute("Version", "2.0");
    name(&mut w, "saml2:Issuer", &request.issuer);
    w.start("saml2:Subject");
    name(&mut w, "saml2:NameID", &request.subject);
    match request.confirmation {
        Confirmation::HolderOfKey => {
            w.start("saml2:SubjectConfirmation").attribute("Method", HOLDER_OF_KEY);
            w.start("saml2:SubjectConfirmationData").fragment(key_info).end().end();
        }
        Confirmation::Bearer => {
            w.start("saml2:SubjectConfirmation").attribute("Method", BEARER);
            w.start("saml2:SubjectConfirmationData").attribute("NotOnOrAfter", &expires);
            w.attribute_if("Recipient", request.audience.as_deref()).end().end();
        }
    }
    w.end();
    w.start("saml2:Conditions").attribute("NotBefore", &now).attribute("NotOnOrAfter", &expires);
    if let Some(audience) = &request.audience {
        w.start("saml2:AudienceRestriction").leaf("saml2:Audience", audience).end();
    }
    w.end();
    w.start("saml2:AuthnStatement").attribute("AuthnInstant", &now).start("saml2:AuthnContext");
    w.leaf("saml2:AuthnContextClassRef", request.authentication).end().end();
    request.attributes.write(&mut w, request.quirks);
    if request.quirks.authorization_decision {
        decision(&mut w, request, &now);
    }
    w.finish()
}

fn name(w: &mut Writer, element: &'static str, name: &Name) {
    w.start(element).attribute("Format", name.format).text(&name.value).end();
}

/// The AuthzDecisionStatement that older NHIN partners expect. The evidence is an assertion of our own, covered by the
/// signature of the outer one.
fn decision(w: &mut Writer, request: &AssertionRequest, now: &str) {
    w.start("saml2:AuthzDecisionStatement").attribute("Decision", "Permit");
    w.attribute("Resource", request.audience.as_deref().unwrap_or_default());
    w.start("saml2:Action").attribute("Namespace", "urn:oasis:names:tc:SAML:1.0:action:rwedc").text("Execute").end();
    w.start("saml2:Evidence").start("saml2:Assertion").attribute("ID", &unique_id("_"));
    w.attribute("IssueInstant", now).attribute("Version", "2.0");
    name(w, "saml2:Issuer", &request.issuer);
    request.attributes.write_evidence(w);
    w.end().end().end();
}

/// KeyInfo that points to the assertion by its identifier (SAML Token Profile 1.1 section 3.4).
fn reference_to(id: &str) -> String {
    let mut w = Writer::new();
    w.start("ds:KeyInfo").attribute("xmlns:ds", ns::DS);
    w.start("wsse:SecurityTokenReference").attribute("xmlns:wsse", ns::WSSE);
    w.attribute("xmlns:wsse11", ns::WSSE11).attribute("wsse11:TokenType", SAML_TOKEN);
    w.start("wsse:KeyIdentifier").attribute("ValueType", SAML_ID).text(id);
    w.finish()
}
