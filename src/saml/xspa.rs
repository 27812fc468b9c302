//! The attributes of XSPA, XUA and the NHIN Authorization Framework: who asks, for whom and why.
//!
//! Read by `Name` alone, from all AttributeStatements together; written exactly (ITI TF-2: 3.40; NHIN Authorization
//! Framework 3.0). What is missing is `None` or empty, never a default.

use std::fmt;

use crate::id::{Code, HomeCommunityId, Oid};
use crate::xml::{Element, Writer, ns};

/// `NameFormat` of attribute names that are URIs.
pub const URI: &str = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri";
/// `NameFormat` of plain names; some partners demand it for the subject.
pub const BASIC: &str = "urn:oasis:names:tc:SAML:2.0:attrname-format:basic";
/// Coding scheme of TEFCA exchange purposes.
pub const TEFCA_PURPOSE: &str = "2.16.840.1.113883.3.7204.1.5.2.1";
/// Coding scheme of NHIN and Carequality purposes.
pub const NHIN_PURPOSE: &str = "2.16.840.1.113883.3.18.7.1";
/// SNOMED CT, of which roles are.
pub const SNOMED: &str = "2.16.840.1.113883.6.96";

const SUBJECT_ID: &str = "urn:oasis:names:tc:xspa:1.0:subject:subject-id";
const SUBJECT_ID_OLD: &str = "urn:oasis:names:tc:xacml:1.0:subject:subject-id";
const ORGANIZATION: &str = "urn:oasis:names:tc:xspa:1.0:subject:organization";
const ORGANIZATION_ID: &str = "urn:oasis:names:tc:xspa:1.0:subject:organization-id";
const HOME_NHIN: &str = "urn:nhin:names:saml:homeCommunityId";
const HOME_IHE: &str = "urn:ihe:iti:xca:2010:homeCommunityId";
const ROLE: &str = "urn:oasis:names:tc:xacml:2.0:subject:role";
const PURPOSE: &str = "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse";
const RESOURCE_ID: &str = "urn:oasis:names:tc:xacml:2.0:resource:resource-id";
const NPI: &str = "urn:oasis:names:tc:xspa:2.0:subject:npi";
const NPI_OLD: &str = "urn:oasis:names:tc:xspa:1.0:subject:npi";
const TIN: &str = "urn:nhin:names:saml:tin";
const GRANTOR: &str = "QueryAuthGrantor";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACP: &str = "urn:ihe:iti:xua:2012:acp";
const DOCID: &str = "urn:ihe:iti:bppc:2007:docid";
const PROVIDER: &str = "urn:ihe:iti:xua:2017:subject:provider-identifier";
const JURISDICTION: &str = "PHAJurisdiction";
const ACCESS_CONSENT: &str = "AccessConsentPolicy";
const INSTANCE_CONSENT: &str = "InstanceAccessConsentPolicy";
const NHIN_FORMAT: &str = "http://www.hhs.gov/healthit/nhin";

/// What an assertion says about the asker and the purpose.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Attributes {
    /// Name of the human or system that asks.
    pub subject_id: Option<String>,
    /// Names of organisations. US networks send one; Swiss assertions list the groups of a professional.
    pub organizations: Vec<String>,
    /// Identifiers of organisations: `urn:oid:` and an OID, or a URL. A bare OID that was read has got its prefix.
    pub organization_ids: Vec<String>,
    /// The community that asks, under either of its attribute names.
    pub home_community: Option<HomeCommunityId>,
    /// Roles; plain text is a code without scheme.
    pub roles: Vec<Code>,
    /// Purposes of use. Empty means that none was stated.
    pub purposes: Vec<Code>,
    /// The patient asked about, in CX form.
    pub resource_id: Option<String>,
    /// National provider identifier.
    pub npi: Option<String>,
    /// Taxpayer identification number of the provider's organisation.
    pub tin: Option<String>,
    /// The principal for whom a delegate asks (Carequality).
    pub query_auth_grantor: Option<Oid>,
    /// The identity token of individual access services, a compact JWS.
    pub id_token: Option<String>,
    /// Patient privacy policies that apply.
    pub acp: Vec<String>,
    /// Consent documents.
    pub docid: Vec<String>,
    /// Providers' identifiers: root and extension.
    pub provider_identifiers: Vec<(String, String)>,
    /// Jurisdiction of a public health authority.
    pub jurisdiction: Option<String>,
    /// Policies named by the evidence of an AuthzDecisionStatement.
    pub evidence: Evidence,
}

/// The evidence of an AuthzDecisionStatement (NHIN Authorization Framework 3.0 section 3.3.7).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Evidence {
    /// `AccessConsentPolicy`.
    pub access_consent: Vec<String>,
    /// `InstanceAccessConsentPolicy`.
    pub instance_access_consent: Vec<String>,
}

impl fmt::Debug for Attributes {
    /// Codes and the community; names and identifiers can be those of a patient.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes")
            .field("home_community", &self.home_community)
            .field("purposes", &self.purposes)
            .finish_non_exhaustive()
    }
}

/// Why the attributes of an assertion are refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AttributeError {
    /// Two values where one can be.
    #[error("the attribute {0} has two values that differ")]
    Ambiguous(&'static str),
    /// A value that is not what the attribute holds.
    #[error("the value of the attribute {0} cannot be read")]
    Malformed(&'static str),
}

/// What partners want written differently.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Quirks {
    /// `NameFormat` of subject-id is `basic` and not `uri`.
    pub basic_subject_id: bool,
    /// The purpose is an element `PurposeForUse`, as older partners read it.
    pub purpose_for_use: bool,
    /// The community is also written under IHE's attribute name.
    pub ihe_home_community: bool,
    /// An AuthzDecisionStatement is added.
    pub authorization_decision: bool,
}

impl Attributes {
    /// The name of the organisation, if exactly one is stated.
    pub fn organization(&self) -> Option<&str> {
        single(&self.organizations)
    }

    /// The identifier of the organisation, if exactly one is stated.
    pub fn organization_id(&self) -> Option<&str> {
        single(&self.organization_ids)
    }

    /// Reads all attributes below an assertion.
    pub(super) fn read(assertion: Element<'_>) -> Result<Self, AttributeError> {
        let mut attributes = Self::default();
        for statement in assertion.children_named(ns::SAML2, "AttributeStatement") {
            for attribute in statement.children_named(ns::SAML2, "Attribute") {
                attributes.read_one(attribute)?;
            }
        }
        for decision in assertion.children_named(ns::SAML2, "AuthzDecisionStatement") {
            for attribute in decision.descendants().filter(|element| element.is(ns::SAML2, "Attribute")) {
                let policies = match attribute.attribute("Name") {
                    Some(ACCESS_CONSENT) => &mut attributes.evidence.access_consent,
                    Some(INSTANCE_CONSENT) => &mut attributes.evidence.instance_access_consent,
                    _ => continue,
                };
                policies.extend(texts(attribute));
            }
        }
        Ok(attributes)
    }

    /// The community alone.
    pub(super) fn home_community(assertion: Element<'_>) -> Result<Option<HomeCommunityId>, AttributeError> {
        let mut attributes = Self::default();
        for statement in assertion.children_named(ns::SAML2, "AttributeStatement") {
            for attribute in statement.children_named(ns::SAML2, "Attribute") {
                if matches!(name_of(attribute), HOME_NHIN | HOME_IHE) {
                    attributes.read_one(attribute)?;
                }
            }
        }
        Ok(attributes.home_community)
    }

    fn read_one(&mut self, attribute: Element<'_>) -> Result<(), AttributeError> {
        match name_of(attribute) {
            SUBJECT_ID | SUBJECT_ID_OLD => only(&mut self.subject_id, attribute, SUBJECT_ID, Ok),
            ORGANIZATION => {
                self.organizations.extend(texts(attribute));
                Ok(())
            }
            ORGANIZATION_ID => {
                self.organization_ids.extend(texts(attribute).map(|text| oid_urn(&text)));
                Ok(())
            }
            HOME_NHIN | HOME_IHE => only(&mut self.home_community, attribute, HOME_NHIN, |text| {
                HomeCommunityId::lenient(&text).map_err(|_| AttributeError::Malformed(HOME_NHIN))
            }),
            ROLE => {
                add_codes(&mut self.roles, attribute);
                Ok(())
            }
            PURPOSE => {
                add_codes(&mut self.purposes, attribute);
                Ok(())
            }
            RESOURCE_ID => only(&mut self.resource_id, attribute, RESOURCE_ID, Ok),
            NPI | NPI_OLD => only(&mut self.npi, attribute, NPI, Ok),
            TIN => only(&mut self.tin, attribute, TIN, Ok),
            GRANTOR => only(&mut self.query_auth_grantor, attribute, GRANTOR, |text| {
                // `Organization/2.999.1` and `Organization/urn:oid:2.999.1` both occur.
                let principal = text.strip_prefix("Organization/").unwrap_or(&text);
                Oid::lenient(principal).map_err(|_| AttributeError::Malformed(GRANTOR))
            }),
            ID_TOKEN => only(&mut self.id_token, attribute, ID_TOKEN, Ok),
            ACP => {
                self.acp.extend(texts(attribute));
                Ok(())
            }
            DOCID => {
                self.docid.extend(texts(attribute));
                Ok(())
            }
            PROVIDER => {
                let identifiers = values(attribute).filter_map(|value| value.children().next());
                self.provider_identifiers.extend(identifiers.map(|id| {
                    let part = |name| id.attribute(name).unwrap_or_default().to_owned();
                    (part("root"), part("extension"))
                }));
                Ok(())
            }
            // The published table gives this one by its friendly name only.
            name if name == JURISDICTION || attribute.attribute("FriendlyName") == Some(JURISDICTION) => {
                only(&mut self.jurisdiction, attribute, JURISDICTION, Ok)
            }
            _ => Ok(()),
        }
    }

    /// Writes one AttributeStatement. The prefixes `saml2`, `xs` and `xsi` are bound.
    pub(super) fn write(&self, w: &mut Writer, quirks: Quirks) {
        let subject_format = if quirks.basic_subject_id { BASIC } else { URI };
        w.start("saml2:AttributeStatement");
        text(w, SUBJECT_ID, subject_format, None, "xs:string", self.subject_id.as_deref());
        text(w, ORGANIZATION, URI, None, "xs:string", self.organizations.iter().map(String::as_str));
        let organization_ids: Vec<String> = self.organization_ids.iter().map(|id| oid_urn(id)).collect();
        text(w, ORGANIZATION_ID, URI, None, "xs:string", organization_ids.iter().map(String::as_str));
        let home = self.home_community.as_ref().map(ToString::to_string);
        text(w, HOME_NHIN, URI, None, "xs:string", home.as_deref());
        if quirks.ihe_home_community {
            text(w, HOME_IHE, URI, None, "xs:string", home.as_deref());
        }
        codes(w, ROLE, "hl7:Role", &self.roles);
        let purpose = if quirks.purpose_for_use { "hl7:PurposeForUse" } else { "hl7:PurposeOfUse" };
        codes(w, PURPOSE, purpose, &self.purposes);
        text(w, RESOURCE_ID, URI, None, "xs:string", self.resource_id.as_deref());
        text(w, NPI, URI, Some("NPI"), "xs:string", self.npi.as_deref());
        text(w, TIN, URI, Some("TIN"), "xs:string", self.tin.as_deref());
        let grantor = self.query_auth_grantor.as_ref().map(|oid| ["Organization/", oid.as_str()].concat());
        text(w, GRANTOR, URI, None, "xs:string", grantor.as_deref());
        text(w, ID_TOKEN, URI, None, "xs:string", self.id_token.as_deref());
        let policy = Some("Patient Privacy Policy Identifier");
        text(w, ACP, URI, policy, "xs:anyURI", self.acp.iter().map(String::as_str));
        let consent = Some("Patient Privacy Policy Acknowledgement Document");
        text(w, DOCID, URI, consent, "xs:anyURI", self.docid.iter().map(String::as_str));
        providers(w, &self.provider_identifiers);
        text(w, JURISDICTION, BASIC, Some(JURISDICTION), "xs:string", self.jurisdiction.as_deref());
        w.end();
    }

    /// Writes the attributes of the evidence, if there are any.
    pub(super) fn write_evidence(&self, w: &mut Writer) {
        let policies = [
            (ACCESS_CONSENT, &self.evidence.access_consent),
            (INSTANCE_CONSENT, &self.evidence.instance_access_consent),
        ];
        if policies.iter().all(|(_, values)| values.is_empty()) {
            return;
        }
        w.start("saml2:AttributeStatement");
        for (name, values) in policies {
            text(w, name, NHIN_FORMAT, None, "xs:string", values.iter().map(String::as_str));
        }
        w.end();
    }
}

fn name_of<'d>(attribute: Element<'d>) -> &'d str {
    attribute.attribute("Name").unwrap_or_default().trim()
}

fn single(values: &[String]) -> Option<&str> {
    match values {
        [only] => Some(only),
        _ => None,
    }
}

fn values(attribute: Element<'_>) -> impl Iterator<Item = Element<'_>> {
    attribute.children_named(ns::SAML2, "AttributeValue")
}

fn texts(attribute: Element<'_>) -> impl Iterator<Item = String> {
    values(attribute).map(|value| value.trimmed().into_owned()).filter(|text| !text.is_empty())
}

/// Takes the value of an attribute that has one. The same value again changes nothing; an empty one is none.
fn only<T: PartialEq>(
    slot: &mut Option<T>,
    attribute: Element<'_>,
    name: &'static str,
    read: impl Fn(String) -> Result<T, AttributeError>,
) -> Result<(), AttributeError> {
    for text in texts(attribute) {
        let value = read(text)?;
        match slot {
            Some(present) if *present != value => return Err(AttributeError::Ambiguous(name)),
            Some(_) => {}
            None => *slot = Some(value),
        }
    }
    Ok(())
}

/// Codes as `Role`, `PurposeOfUse` or `PurposeForUse` elements of whatever type and namespace, or as plain text.
fn add_codes(codes: &mut Vec<Code>, attribute: Element<'_>) {
    for value in values(attribute) {
        let mut coded = value.children().filter(|child| child.attribute("code").is_some()).peekable();
        let plain = if coded.peek().is_none() { Some(Code::new(value.trimmed(), "", "")) } else { None };
        let found = coded.map(|child| {
            let part = |name| child.attribute(name).unwrap_or_default().trim();
            Code::new(part("code"), part("codeSystem").trim_start_matches("urn:oid:"), part("displayName"))
        });
        for code in found.chain(plain) {
            if !code.code.is_empty() && !codes.contains(&code) {
                codes.push(code);
            }
        }
    }
}

/// An OID gets its `urn:oid:`; anything else is left as it is.
fn oid_urn(text: &str) -> String {
    match Oid::lenient(text) {
        Ok(oid) => ["urn:oid:", oid.as_str()].concat(),
        Err(_) => text.to_owned(),
    }
}

fn start(w: &mut Writer, name: &str, format: &str, friendly: Option<&str>) {
    w.start("saml2:Attribute").attribute_if("FriendlyName", friendly);
    w.attribute("Name", name).attribute("NameFormat", format);
}

fn text<'v>(
    w: &mut Writer,
    name: &str,
    format: &str,
    friendly: Option<&str>,
    kind: &str,
    values: impl IntoIterator<Item = &'v str>,
) {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return;
    }
    start(w, name, format, friendly);
    for value in values {
        w.start("saml2:AttributeValue").attribute("xsi:type", kind).text(value).end();
    }
    w.end();
}

fn codes(w: &mut Writer, name: &str, element: &'static str, codes: &[Code]) {
    if codes.is_empty() {
        return;
    }
    start(w, name, URI, None);
    for code in codes {
        let scheme_name = match code.scheme.as_str() {
            SNOMED => Some("SNOMED_CT"),
            NHIN_PURPOSE => Some("nhin-purpose"),
            _ => None,
        };
        let given = |text: &smol_str::SmolStr| if text.is_empty() { None } else { Some(text.to_string()) };
        w.start("saml2:AttributeValue").start(element).attribute("xmlns:hl7", ns::HL7V3);
        w.attribute("xsi:type", "hl7:CE").attribute("code", &code.code);
        w.attribute_if("codeSystem", given(&code.scheme).as_deref()).attribute_if("codeSystemName", scheme_name);
        w.attribute_if("displayName", given(&code.display).as_deref()).end().end();
    }
    w.end();
}

fn providers(w: &mut Writer, identifiers: &[(String, String)]) {
    if identifiers.is_empty() {
        return;
    }
    start(w, PROVIDER, URI, None);
    for (root, extension) in identifiers {
        w.start("saml2:AttributeValue").start("hl7:id").attribute("xmlns:hl7", ns::HL7V3);
        w.attribute("xsi:type", "hl7:II").attribute("root", root).attribute("extension", extension).end().end();
    }
    w.end();
}
