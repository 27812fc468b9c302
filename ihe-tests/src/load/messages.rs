//! What partners send: signed SOAP requests and HL7 v2 feeds.

use std::time::Duration;

use bytes::Bytes;
use causeway::hl7v3::datatype::Ii;
use causeway::hl7v3::wrapper::{Device, Wrapper};
use causeway::id::{
    AssigningAuthority, Clock, Code, DocumentUniqueId, Domains, HomeCommunityId, PatientId, RepositoryId, Timestamp,
    TraceId,
};
use causeway::metadata::coding::Availability;
use causeway::metadata::query::{FindDocuments, Query};
use causeway::pix::query_v3;
use causeway::pix::question::Question;
use causeway::saml::issue::{AUTHENTICATED_BY_X509, AssertionRequest, Confirmation, Name, Token, X509_SUBJECT_NAME};
use causeway::saml::xspa::{Attributes, NHIN_PURPOSE, Quirks, SNOMED};
use causeway::soap::{addressing::Addressing, envelope};
use causeway::xcpd::discovery;
use causeway::xds::retrieve::DocumentId;
use causeway::xml::signature::SigningKey;
use causeway::{xca, xds};

use super::prepared::Prepared;
use super::{Failure, people, population};
use crate::harness::client::{Attachment, packed};
use crate::harness::samples::{self, Document};

/// The gateway under test.
pub const GATEWAY_HOME: &str = "urn:oid:2.999.30";
/// Its repository.
pub const REPOSITORY: &str = "2.999.30.9";
/// A repository that only registers here.
const ELSEWHERE: &str = "2.999.30.8";
/// The partner that asks it.
pub const PARTNER_HOME: &str = "urn:oid:2.999.40";
/// That partner's domain of patients.
const PARTNER_DOMAIN: &str = "2.999.40.1";
/// Longer than any benchmark, shorter than what gateways accept.
const LIFETIME: Duration = Duration::from_secs(1800);

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind<'i> {
    /// Discovery of a patient by name, gender, birth, address, telephone and the partner's identifier.
    Discovery,
    /// The other identifiers of a patient (ITI-45), from a system of our own.
    CrossReference,
    /// The documents of a patient.
    Query,
    /// One document, of these unique ids in turn.
    Retrieve(&'i [String]),
    /// A small document of a patient (ITI-41), from a system of our own.
    Provide(&'i Documents),
    /// The metadata of several documents of a patient that are kept elsewhere (ITI-42), from a system of our own.
    Register(&'i Documents),
}

impl Kind<'_> {
    /// Whose certificate it is sent with.
    pub fn identity(self) -> &'static str {
        if self.home() == GATEWAY_HOME { "source" } else { "asker" }
    }

    /// The community that asks.
    fn home(self) -> &'static str {
        match self {
            Self::Discovery | Self::Query | Self::Retrieve(_) => PARTNER_HOME,
            Self::CrossReference | Self::Provide(_) | Self::Register(_) => GATEWAY_HOME,
        }
    }
}

/// Documents to submit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Documents {
    /// How many there are in a submission.
    pub each: usize,
    /// Their size in bytes.
    pub size: usize,
}

/// Makes signed messages for one address, with one assertion.
pub struct Maker {
    key: SigningKey,
    token: Token,
    url: String,
    now: Timestamp,
    /// Ask for patients of the population of this size; with 0 for those that a feed told.
    pub population: u64,
}

impl Maker {
    /// Signs the assertion for messages of a kind.
    pub fn new(key: SigningKey, url: &str, kind: Kind<'_>) -> Result<Self, Failure> {
        let now = Clock::system().now();
        let request = AssertionRequest {
            issuer: Name { value: "CN=asker".into(), format: X509_SUBJECT_NAME },
            subject: Name { value: "CN=Ada Example".into(), format: X509_SUBJECT_NAME },
            attributes: Attributes {
                subject_id: Some("Ada Example".into()),
                organizations: vec!["Asking Community".into()],
                organization_ids: vec![kind.home().into()],
                home_community: Some(kind.home().parse()?),
                roles: vec![Code::new("224608005", SNOMED, "Administrative healthcare staff")],
                purposes: vec![Code::new("TREATMENT", NHIN_PURPOSE, "Treatment")],
                npi: Some("1234567893".into()),
                ..Attributes::default()
            },
            audience: Some(url.to_owned()),
            lifetime: LIFETIME,
            confirmation: Confirmation::HolderOfKey,
            authentication: AUTHENTICATED_BY_X509,
            quirks: Quirks::default(),
        };
        let token = Token::issue(&request, now, &key)?;
        Ok(Self { key, token, url: url.to_owned(), now, population: 0 })
    }

    /// Signs a message.
    pub fn message(&self, kind: Kind<'_>, number: u64) -> Result<Prepared, Failure> {
        let mut attachments = Vec::new();
        let (action, body) = match kind {
            Kind::Discovery => (discovery::ACTION, self.discovery(number)?),
            Kind::CrossReference => ("urn:hl7-org:v3:PRPA_IN201309UV02", self.cross_reference(number)?),
            Kind::Query => ("urn:ihe:iti:2007:CrossGatewayQuery", query(number)?),
            Kind::Retrieve(ids) => ("urn:ihe:iti:2007:CrossGatewayRetrieve", retrieve(one_of(ids, number)?)?),
            Kind::Provide(documents) => {
                let (body, attached) = provide(number, *documents)?;
                attachments = attached;
                (xds::repository::PROVIDE_ACTION, body)
            }
            Kind::Register(documents) => (xds::registration::REGISTER_ACTION, register(number, *documents)?),
        };
        let security = self.token.header(self.now, LIFETIME, &self.key)?;
        let envelope = envelope::write(&Addressing::request(action, &self.url), &security.markup, &body);
        Ok(match kind {
            Kind::Discovery | Kind::CrossReference | Kind::Query | Kind::Register(_) => Prepared {
                content_type: format!("application/soap+xml; charset=UTF-8; action=\"{action}\""),
                body: Bytes::from(envelope),
            },
            Kind::Retrieve(_) | Kind::Provide(_) => {
                let (content_type, body) = packed(action, &envelope, &attachments);
                Prepared { content_type, body }
            }
        })
    }

    fn discovery(&self, number: u64) -> Result<String, Failure> {
        let (us, them) = (gateway(PARTNER_HOME)?, gateway(GATEWAY_HOME)?);
        let wrapper = Wrapper::new(Ii::new(PARTNER_DOMAIN, &format!("M{number}")), self.now, us, them);
        let own = PatientId::new(&format!("A{number}"), AssigningAuthority::new(PARTNER_DOMAIN, "ISO")?)?;
        let parameters = discovery::Parameters {
            demographics: match self.population {
                0 => people::demographics(number),
                patients => population::demographics(population::asked(number, patients)),
            },
            ids: vec![own],
            tells_birth: true,
            ..discovery::Parameters::default()
        };
        Ok(discovery::Request::new(wrapper, Ii::new(PARTNER_DOMAIN, &format!("Q{number}")), parameters).encode())
    }

    fn cross_reference(&self, number: u64) -> Result<String, Failure> {
        let wrapper = Wrapper::new(
            Ii::new(PARTNER_DOMAIN, &format!("M{number}")),
            self.now,
            gateway(GATEWAY_HOME)?,
            gateway(GATEWAY_HOME)?,
        );
        let patient = if self.population == 0 { number } else { population::asked(number, self.population) };
        let question = Question { id: people::patient_id(patient)?, wanted: Vec::new() };
        let query_id = Ii::new(PARTNER_DOMAIN, &format!("Q{number}"));
        Ok(query_v3::Request::new(wrapper, query_id, question).encode(&Domains::default()))
    }
}

/// Documents with contents of their own, so that no two are one file.
fn made(number: u64, documents: Documents) -> Vec<Document> {
    let content = |at: usize| {
        let mut content = format!("Document {at} of patient {number}, {}.\n", TraceId::new()).into_bytes();
        content.resize(documents.size.max(content.len()), b'.');
        content
    };
    (0..documents.each).map(|at| Document::new("text/plain", &content(at))).collect()
}

fn provide(number: u64, documents: Documents) -> Result<(String, Vec<Attachment>), Failure> {
    let documents = made(number, documents);
    let body = samples::provide(samples::submission(&people::patient_id(number)?, &documents));
    Ok((body, samples::attachments(&documents)))
}

/// As a repository elsewhere registers what it keeps.
fn register(number: u64, documents: Documents) -> Result<String, Failure> {
    let mut submission = samples::submission(&people::patient_id(number)?, &made(number, documents));
    for entry in &mut submission.entries {
        entry.repository = Some(RepositoryId::new(ELSEWHERE)?);
        entry.hash = Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into());
        entry.size = Some(documents.size as u64);
    }
    Ok(xds::register::Request { submission, home: None }.encode())
}

fn gateway(home: &str) -> Result<Device, Failure> {
    Ok(Device::gateway(&home.parse::<HomeCommunityId>()?))
}

fn query(number: u64) -> Result<String, Failure> {
    let find = FindDocuments {
        patients: vec![people::patient_id(number)?],
        statuses: vec![Availability::Approved],
        ..FindDocuments::default()
    };
    let request = xca::query::Request {
        home: Some(GATEWAY_HOME.parse()?),
        ..xds::stored_query::Request::new(Query::FindDocuments(find))
    };
    Ok(request.encode())
}

fn one_of(ids: &[String], number: u64) -> Result<&str, Failure> {
    let at = usize::try_from(number)?.checked_rem(ids.len()).ok_or("there is no document to ask for")?;
    Ok(&ids[at])
}

fn retrieve(unique_id: &str) -> Result<String, Failure> {
    let document = DocumentId {
        home: Some(GATEWAY_HOME.parse()?),
        repository: RepositoryId::new(REPOSITORY)?,
        document: DocumentUniqueId::new(unique_id)?,
    };
    Ok(xca::retrieve::Request { documents: vec![document] }.encode())
}

/// Signs messages with numbers from `first` on (modulo `modulus`, if there is one), on two threads.
pub fn prepare(maker: &Maker, kind: Kind<'_>, first: u64, count: u64, modulus: u64) -> Result<Vec<Prepared>, Failure> {
    let number = |at: u64| if modulus == 0 { first + at } else { first + at % modulus };
    let part = |from: u64, to: u64| (from..to).map(|at| maker.message(kind, number(at))).collect::<Result<Vec<_>, _>>();
    std::thread::scope(|scope| {
        let second = scope.spawn(move || part(count / 2, count));
        let mut messages = part(0, count / 2)?;
        messages.extend(second.join().map_err(|_| "a thread panicked")??);
        Ok(messages)
    })
}

/// The registration of a new patient (ITI-8, A04).
pub fn registration(number: u64, now: &str) -> String {
    use std::fmt::Write as _;
    let person = people::demographics(number);
    let mut text = String::with_capacity(512);
    let _ = write!(
        text,
        "MSH|^~\\&|ADT|LOAD|CAUSEWAY|GATEWAY|{now}||ADT^A04^ADT_A01|B{number}|P|2.3.1\rEVN|A04|{now}\rPID|||P{number}^^^{}&{}&ISO||",
        people::NAMESPACE,
        people::DOMAIN,
    );
    if let Some(name) = person.names.first() {
        let _ = write!(text, "{}^{}", name.family, name.given.join("^"));
    }
    let birth = person.birth.as_ref().map_or("", |birth| birth.as_str());
    let _ = write!(text, "||{birth}|{}|||", person.gender.map_or("U", causeway::id::Gender::v2));
    if let Some(address) = person.addresses.first() {
        let _ = write!(
            text,
            "{}^^{}^{}^{}^{}",
            address.lines.join(" "),
            address.city,
            address.state,
            address.postal_code,
            address.country
        );
    }
    let phone = person.telecoms.first().map_or("", |telecom| &telecom.value);
    let ssn = people::social_security_number(number).unwrap_or_default();
    let _ = write!(text, "||{phone}||||||{ssn}\rPV1||O\r");
    text
}

/// ITI-9: the other identifiers of a patient of the population. `number` names the message.
pub fn cross_reference(patient: u64, number: u64, now: &str) -> String {
    format!(
        "MSH|^~\\&|ADT|LOAD|CAUSEWAY|GATEWAY|{now}||QBP^Q23^QBP_Q21|Q{number}|P|2.5\r\
         QPD|IHE PIX Query|Q{number}|P{patient}^^^{}&{}&ISO\rRCP|I\r",
        people::NAMESPACE,
        people::DOMAIN,
    )
}

/// ITI-21: who has the name, birth date and gender of a patient of the population. `number` names the message.
pub fn demographics_query(patient: u64, number: u64, now: &str) -> String {
    let person = population::demographics(patient);
    let name = &person.names[0];
    let birth = person.birth.as_ref().map_or("", |birth| birth.as_str());
    format!(
        "MSH|^~\\&|ADT|LOAD|CAUSEWAY|GATEWAY|{now}||QBP^Q22^QBP_Q21|D{number}|P|2.5\r\
         QPD|IHE PDQ Query|D{number}|@PID.5.1^{}~@PID.5.2^{}~@PID.7^{birth}~@PID.8^{}\rRCP|I|10^RD\r",
        name.family,
        name.given[0],
        person.gender.map_or("U", causeway::id::Gender::v2),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_one_that_the_gateway_reads() {
        let text = registration(3, "20260101120000");
        let message =
            causeway::hl7v2::message::Message::parse(text.as_bytes(), &causeway::hl7v2::Limits::default()).unwrap();
        assert!(text.contains("|ADT^A04^ADT_A01|B3|") && text.lines().count() == 1, "{message:?}");
    }
}
