//! One SOAP call to one partner: signed, sent, its answer read and checked, by the partner's own rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use moka::sync::Cache;
use smol_str::SmolStr;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::breaker::{Breakers, Open};
use super::exchange::{Endpoint, Exchange, ExchangeError, HttpCall};
use super::fan_out::{State, quoted};
use super::package::{self, Attachments, BodyError, Document, PackageError};
use crate::directory::quirks::{NameFormat, PurposeElement};
use crate::directory::{Partner, ServiceUrl};
use crate::id::{Clock, Code, ExchangePurpose, HomeCommunityId, PatientId, Transaction};
use crate::saml::issue::{self, AssertionRequest, Confirmation, Name, Token};
use crate::saml::xspa::{Attributes, Quirks};
use crate::soap::addressing::Addressing;
use crate::soap::envelope::{self, Envelope};
use crate::soap::fault::Fault;
use crate::wssecurity::{ResponseHeader, ResponseHeaderError};
use crate::xml::signature::SigningKey;
use crate::xml::{Element, Limits, decode_text, parse};

/// How long an assertion and a message may be believed, where nothing else is said.
const LIFETIME: Duration = Duration::from_secs(300);

/// Who we are, as assertions say it.
#[derive(Clone, Debug)]
pub struct Ourselves {
    /// Our home community.
    pub home: HomeCommunityId,
    /// Name of the organisation.
    pub organization: SmolStr,
    /// Its identifier, `urn:oid:` and an OID.
    pub organization_id: SmolStr,
    /// National provider identifier.
    pub npi: Option<SmolStr>,
    /// Taxpayer identification number.
    pub tin: Option<SmolStr>,
    /// Subject of the signing certificate, the issuer of our assertions.
    pub issuer: SmolStr,
}

/// On whose behalf a call is made, and why.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Errand {
    /// The user's name, as it stands in assertions and audit records.
    pub user: SmolStr,
    /// The user's role.
    pub role: RoleCode,
    /// Why.
    pub purpose: ExchangePurpose,
}

/// A role code that can be compared and hashed with all it says.
pub type RoleCode = Code;

/// What is sent.
pub struct Letter {
    /// Which transaction.
    pub transaction: Transaction,
    /// `wsa:Action`.
    pub action: &'static str,
    /// Markup of the body.
    pub body: String,
    /// Markup of headers besides addressing and security.
    pub headers: String,
    /// Whether the transaction is spoken in MTOM.
    pub mtom: bool,
    /// Documents that the body refers to.
    pub documents: Vec<Document>,
    /// The patient, for partners that want `resource-id`.
    pub patient: Option<PatientId>,
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The partner is left alone for a while.
    #[error(transparent)]
    Skipped(#[from] Open),
    /// No header could be made.
    #[error("the request could not be signed: {0}")]
    Sign(#[from] issue::IssueError),
    /// No answer.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// An answer whose frame cannot be read.
    #[error("the partner's answer cannot be read: {0}")]
    Package(#[from] PackageError),
    /// The partner refused with a SOAP fault.
    #[error("the partner refused with a SOAP fault: {}", quoted(&.0.reason))]
    Fault(Fault),
    /// The answer does not belong to the request.
    #[error("the partner's answer belongs to another request")]
    OtherRequest,
    /// The security header of the answer.
    #[error("the partner's answer is refused: {0}")]
    Security(#[from] ResponseHeaderError),
    /// The partner must sign answers and did not.
    #[error("the partner's answer has no security header")]
    Unprotected,
    /// Not an answer of this transaction.
    #[error("the partner's answer cannot be read: {0}")]
    Unreadable(String),
}

impl CallError {
    /// Whether this tells against the partner's being alive.
    fn is_failure_of_transport(&self) -> bool {
        match self {
            Self::Exchange(error) => !matches!(error, ExchangeError::NotHttps | ExchangeError::Source),
            Self::Package(error) => matches!(error, PackageError::Empty | PackageError::Body(_)),
            Self::Skipped(_)
            | Self::Sign(_)
            | Self::Fault(_)
            | Self::OtherRequest
            | Self::Security(_)
            | Self::Unprotected
            | Self::Unreadable(_) => false,
        }
    }

    /// The state in which this leaves the partner's part of an exchange.
    pub fn state<T>(&self) -> State<T> {
        match self {
            Self::Skipped(_) | Self::Sign(_) => State::Skipped(self.to_string()),
            Self::Exchange(ExchangeError::TimedOut(_)) => State::TimedOut,
            Self::Exchange(ExchangeError::NotHttps | ExchangeError::Network(_) | ExchangeError::Source) => {
                State::Skipped(self.to_string())
            }
            Self::Exchange(_) => State::Unreachable(self.to_string()),
            Self::Package(_)
            | Self::Fault(_)
            | Self::OtherRequest
            | Self::Security(_)
            | Self::Unprotected
            | Self::Unreadable(_) => State::Refused(self.to_string()),
        }
    }
}

/// Sends letters to partners.
pub struct SoapClient {
    exchange: Arc<dyn Exchange>,
    key: Arc<SigningKey>,
    ourselves: Ourselves,
    clock: Clock,
    limits: Limits,
    skew: Duration,
    answer_limit: u64,
    lifetime: Duration,
    breakers: Breakers,
    tokens: Cache<TokenKey, Token>,
    places: Mutex<HashMap<SmolStr, Arc<Semaphore>>>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct TokenKey {
    partner: SmolStr,
    audience: String,
    errand: Errand,
    patient: Option<PatientId>,
}

impl SoapClient {
    /// A client that signs with a key.
    pub fn new(
        exchange: Arc<dyn Exchange>,
        key: Arc<SigningKey>,
        ourselves: Ourselves,
        clock: Clock,
        (limits, skew, answer_limit): (Limits, Duration, u64),
    ) -> Self {
        Self {
            exchange,
            key,
            ourselves,
            clock,
            limits,
            skew,
            answer_limit,
            lifetime: LIFETIME,
            breakers: Breakers::default(),
            tokens: tokens(LIFETIME),
            places: Mutex::default(),
        }
    }

    /// The same client, whose assertions and messages are valid for so long.
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, tokens: tokens(lifetime), ..self }
    }

    /// Who we are.
    pub fn ourselves(&self) -> &Ourselves {
        &self.ourselves
    }

    /// What carries calls, for those that are not SOAP.
    pub fn exchange(&self) -> &Arc<dyn Exchange> {
        &self.exchange
    }

    /// Sends a letter and reads the answer's body with `read`, which says in words why it cannot. The documents of the
    /// answer are still to come.
    pub async fn send<T>(
        &self,
        partner: &Partner,
        url: &ServiceUrl,
        letter: Letter,
        errand: &Errand,
        read: impl FnOnce(Element<'_>) -> Result<T, String>,
    ) -> Result<(T, Attachments), CallError> {
        self.send_for_envelope(partner, url, letter, errand, |envelope| read(envelope.body)).await
    }

    /// As [`Self::send`], for a letter whose documents take longer than usual to send: so much longer.
    pub async fn send_large<T>(
        &self,
        partner: &Partner,
        url: &ServiceUrl,
        letter: Letter,
        errand: &Errand,
        more: Duration,
        read: impl FnOnce(Element<'_>) -> Result<T, String>,
    ) -> Result<(T, Attachments), CallError> {
        self.send_within(partner, url, letter, errand, more, |envelope| read(envelope.body)).await
    }

    /// As [`Self::send`], for transactions whose answers say something in their headers.
    pub async fn send_for_envelope<T>(
        &self,
        partner: &Partner,
        url: &ServiceUrl,
        letter: Letter,
        errand: &Errand,
        read: impl FnOnce(&Envelope<'_>) -> Result<T, String>,
    ) -> Result<(T, Attachments), CallError> {
        self.send_within(partner, url, letter, errand, Duration::ZERO, read).await
    }

    async fn send_within<T>(
        &self,
        partner: &Partner,
        url: &ServiceUrl,
        letter: Letter,
        errand: &Errand,
        more: Duration,
        read: impl FnOnce(&Envelope<'_>) -> Result<T, String>,
    ) -> Result<(T, Attachments), CallError> {
        self.breakers.check(&partner.key, self.clock.now())?;
        let place = self.place(partner);
        // A partner's own limit of requests at once; the semaphore is never closed.
        let _place = place.acquire().await;
        let outcome = self.send_now(partner, url, letter, errand, more, read).await;
        match &outcome {
            Err(error) if error.is_failure_of_transport() => {
                self.breakers.failed(&partner.key, self.clock.now(), &error.to_string());
            }
            _ => self.breakers.succeeded(&partner.key),
        }
        outcome
    }

    /// A partner did not answer in the time that somebody gave it, and the call was given up.
    pub fn gave_up(&self, partner: &Partner) {
        self.breakers.failed(&partner.key, self.clock.now(), "it did not answer in time");
    }

    async fn send_now<T>(
        &self,
        partner: &Partner,
        url: &ServiceUrl,
        letter: Letter,
        errand: &Errand,
        more: Duration,
        read: impl FnOnce(&Envelope<'_>) -> Result<T, String>,
    ) -> Result<(T, Attachments), CallError> {
        let addressing = Addressing::request(letter.action, &url.to_string());
        let token = self.token(partner, url, errand, letter.patient.as_ref())?;
        let header = token.header(self.clock.now(), self.lifetime, &self.key)?;
        let text = envelope::write(&addressing, &[header.markup, letter.headers].concat(), &letter.body);
        let call = if letter.mtom {
            let (content_type, body) = package::compose(letter.action, text, letter.documents);
            HttpCall { body, ..HttpCall::post(content_type, Bytes::new()) }
        } else {
            HttpCall::post(package::PLAIN, text)
        };
        let endpoint = Endpoint {
            url: url.uri().clone(),
            network: partner.network.clone(),
            partner: partner.key.clone(),
            timeout: partner.timeout(letter.transaction) + more,
            answer_limit: self.answer_limit,
        };
        let deadline = Instant::now() + endpoint.timeout;
        let answer = self.exchange.call(&endpoint, call, deadline).await?;
        let (status, content_type) = (answer.status, answer.content_type);
        let pieces = answer.body.map(|piece| piece.map_err(|error| BodyError(error.to_string()))).boxed();
        let package = match package::read(content_type.as_deref(), pieces, self.limits.bytes).await {
            Ok(package) => package,
            // A status without a body says more than "empty".
            Err(PackageError::Empty) if status != 200 => return Err(ExchangeError::Http(status).into()),
            Err(error) => return Err(error.into()),
        };
        let text = decode_text(&package.root, package.charset.as_deref());
        let text = text.map_err(|error| CallError::Unreadable(error.to_string()))?;
        let tree = match parse(&text, &self.limits) {
            Ok(tree) => tree,
            Err(_) if status >= 300 => return Err(ExchangeError::Http(status).into()),
            Err(error) => return Err(CallError::Unreadable(error.to_string())),
        };
        let envelope = match Envelope::read(&tree) {
            Ok(envelope) => envelope,
            Err(_) if status >= 300 => return Err(ExchangeError::Http(status).into()),
            Err(fault) => return Err(CallError::Unreadable(fault.reason)),
        };
        if let Some(fault) = envelope.fault() {
            return Err(CallError::Fault(fault));
        }
        if !answers(&envelope.addressing, &addressing) {
            return Err(CallError::OtherRequest);
        }
        if envelope.security.is_none() && !partner.quirks.accept_missing_security_in_response {
            return Err(CallError::Unprotected);
        }
        let signature = header.signature_value.as_deref();
        ResponseHeader::read(envelope.security, signature, self.clock.now(), self.skew)?;
        let value = read(&envelope).map_err(CallError::Unreadable)?;
        Ok((value, package.attachments))
    }

    fn token(
        &self,
        partner: &Partner,
        url: &ServiceUrl,
        errand: &Errand,
        patient: Option<&PatientId>,
    ) -> Result<Token, issue::IssueError> {
        let audience = partner.quirks.audience.as_deref().map_or_else(|| url.to_string(), str::to_owned);
        let patient = patient.filter(|_| partner.quirks.send_resource_id);
        let key = TokenKey {
            partner: partner.key.clone(),
            audience: audience.clone(),
            errand: errand.clone(),
            patient: patient.cloned(),
        };
        if let Some(token) = self.tokens.get(&key) {
            return Ok(token);
        }
        let request = AssertionRequest {
            issuer: Name { value: self.ourselves.issuer.to_string(), format: issue::X509_SUBJECT_NAME },
            subject: Name { value: errand.user.to_string(), format: issue::EMAIL_ADDRESS },
            attributes: self.attributes(partner, errand, patient),
            audience: Some(audience),
            lifetime: self.lifetime,
            confirmation: Confirmation::HolderOfKey,
            authentication: issue::AUTHENTICATED_BY_X509,
            quirks: Quirks {
                basic_subject_id: partner.quirks.subject_id_name_format == NameFormat::Basic,
                purpose_for_use: partner.quirks.purpose_element == PurposeElement::PurposeForUse,
                authorization_decision: partner.quirks.send_authorization_decision,
                ..Quirks::default()
            },
        };
        let token = Token::issue(&request, self.clock.now(), &self.key)?;
        self.tokens.insert(key, token.clone());
        Ok(token)
    }

    fn attributes(&self, partner: &Partner, errand: &Errand, patient: Option<&PatientId>) -> Attributes {
        let ourselves = &self.ourselves;
        Attributes {
            subject_id: Some(errand.user.to_string()),
            organizations: vec![ourselves.organization.to_string()],
            organization_ids: vec![ourselves.organization_id.to_string()],
            home_community: Some(partner.quirks.saml_home.clone().unwrap_or_else(|| ourselves.home.clone())),
            roles: vec![errand.role.clone()],
            purposes: vec![errand.purpose.to_code()],
            resource_id: patient.map(PatientId::to_cx),
            npi: ourselves.npi.as_deref().map(str::to_owned),
            tin: ourselves.tin.as_deref().map(str::to_owned),
            ..Attributes::default()
        }
    }

    fn place(&self, partner: &Partner) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Semaphore::new(partner.concurrent_requests));
        places.entry(partner.key.clone()).or_insert_with(make).clone()
    }
}

/// Assertions that are used again for the same partner, user and purpose, while they have a fifth of their life left.
fn tokens(lifetime: Duration) -> Cache<TokenKey, Token> {
    Cache::builder().max_capacity(10_000).time_to_live(lifetime * 4 / 5).build()
}

/// Whether an answer relates to a request. Partners leave `RelatesTo` out, or write it without `urn:uuid:`; one that
/// names another message is the answer to that.
fn answers(answer: &Addressing, request: &Addressing) -> bool {
    let bare = |id: &str| id.trim_start_matches("urn:").trim_start_matches("uuid:").to_ascii_lowercase();
    match (&answer.relates_to, &request.message_id) {
        (Some(relates_to), Some(sent)) => bare(relates_to) == bare(sent),
        (None, _) | (_, None) => true,
    }
}
