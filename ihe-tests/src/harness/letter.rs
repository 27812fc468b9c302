//! A SOAP request as a partner sends it, with everything about it open to change.

use std::time::Duration;

use causeway::id::{Clock, Code, HomeCommunityId, Timestamp, TraceId};
use causeway::saml::issue::{AUTHENTICATED_BY_X509, AssertionRequest, Confirmation, EMAIL_ADDRESS, Name};
use causeway::saml::issue::{Token, X509_SUBJECT_NAME};
use causeway::saml::xspa::{Attributes, NHIN_PURPOSE, Quirks, SNOMED, TEFCA_PURPOSE};
use causeway::soap::addressing::Addressing;
use causeway::soap::envelope;
use causeway::trust::subject_of;
use causeway::xml::signature::SigningKey;

/// A request that is right unless a test changes it.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The addressing headers.
    pub addressing: Addressing,
    /// Markup of more headers.
    pub headers: String,
    /// Markup of the body's only element.
    pub body: String,
    /// What the assertion says; none sends no security header.
    pub assertion: Option<AssertionRequest>,
    /// When assertion and timestamp are made.
    pub issued: Timestamp,
    /// How long the timestamp holds.
    pub lifetime: Duration,
}

impl Letter {
    /// A request for treatment on behalf of a user of its own, whom the audit trail can be asked about.
    pub fn new(action: &str, url: &str, body: String, home: &str, purpose: Code) -> Self {
        let home: HomeCommunityId = home.parse().unwrap();
        let user = format!("user-{}@partner.example.org", TraceId::new());
        let attributes = Attributes {
            subject_id: Some("Nora Field".into()),
            organizations: vec!["Partner Hospital".into()],
            organization_ids: vec![home.to_string()],
            home_community: Some(home),
            roles: vec![Code::new("112247003", SNOMED, "Medical doctor")],
            purposes: vec![purpose],
            npi: Some("1234567893".into()),
            ..Attributes::default()
        };
        let assertion = AssertionRequest {
            // The real subject goes in when it is signed.
            issuer: Name { value: String::new(), format: X509_SUBJECT_NAME },
            subject: Name { value: user, format: EMAIL_ADDRESS },
            attributes,
            audience: Some(url.to_owned()),
            lifetime: Duration::from_secs(300),
            confirmation: Confirmation::HolderOfKey,
            authentication: AUTHENTICATED_BY_X509,
            quirks: Quirks::default(),
        };
        Self {
            addressing: Addressing::request(action, url),
            headers: String::new(),
            body,
            assertion: Some(assertion),
            issued: Clock::system().now(),
            lifetime: Duration::from_secs(300),
        }
    }

    /// The user of the assertion.
    pub fn user(&self) -> &str {
        self.assertion.as_ref().map_or("", |assertion| &assertion.subject.value)
    }

    /// What the assertion says, to be changed.
    pub fn attributes(&mut self) -> &mut Attributes {
        &mut self.assertion.as_mut().expect("the letter has an assertion").attributes
    }

    /// The envelope, signed with a key.
    pub fn envelope(&self, key: &SigningKey) -> String {
        let security = self.assertion.clone().map(|mut assertion| {
            if assertion.issuer.value.is_empty() {
                assertion.issuer.value = subject_of(key.certificate_der());
            }
            let token = Token::issue(&assertion, self.issued, key).unwrap();
            token.header(self.issued, self.lifetime, key).unwrap().markup
        });
        envelope::write(&self.addressing, &[self.headers.clone(), security.unwrap_or_default()].concat(), &self.body)
    }
}

/// Treatment, as NHIN and Carequality say it.
pub fn treatment() -> Code {
    Code::new("TREATMENT", NHIN_PURPOSE, "Treatment")
}

/// Treatment, as TEFCA says it.
pub fn required_treatment() -> Code {
    Code::new("T-TRTMNT", TEFCA_PURPOSE, "Treatment")
}
