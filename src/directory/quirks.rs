//! What is particular about a partner: fields of its file, read by whoever writes to it or reads from it.
//!
//! No partner's OID is in code. Each default is what the specifications ask for; a quirk says where one partner differs.

use serde::Deserialize;
use smol_str::SmolStr;

use super::problem::Problems;
use crate::id::{HomeCommunityId, Timestamp};

/// The table `[quirks]` of a partner's file. Each key left out has the default in brackets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuirksFile {
    /// How many documents one ITI-39 may ask for, 1 to 100 (5). Some vendors answer only 1, one answers 9.
    pub documents_per_retrieve: u8,
    /// Accept SHA-1 in this partner's signatures up to and including a day, `YYYY-MM-DD` (never). There is no way to
    /// accept it without an end.
    pub allow_sha1_until: String,
    /// Write a document unique id that is a UUID with `urn:uuid:` before it in ITI-39 (false).
    pub wrap_uuid_document_ids: bool,
    /// Leave `urn:oid:` and `urn:uuid:` out of document unique ids in ITI-39 (false: sent as the query returned them).
    pub strip_document_id_prefix: bool,
    /// Leave `urn:oid:` out of repository ids in ITI-39 (false: sent as the query returned them).
    pub strip_repository_id_prefix: bool,
    /// Add a service time range of so many days up to today to queries that have none (0: never added).
    pub date_range_days: u32,
    /// `NameFormat` of the subject-id attribute, `uri` or `basic` (`uri`).
    pub subject_id_name_format: NameFormat,
    /// Element of the purpose of use, `PurposeOfUse` or `PurposeForUse` (`PurposeOfUse`).
    pub purpose_element: PurposeElement,
    /// Our home community id inside the bodies that we send, instead of our own (own).
    pub body_home_community_id: String,
    /// Our home community id inside the assertions that we send, instead of our own (own).
    pub saml_home_community_id: String,
    /// `AudienceRestriction` of the assertions that we send (the URL called).
    pub audience: String,
    /// Accept assertions with bearer confirmation (false: holder-of-key only).
    pub accept_bearer: bool,
    /// Accept responses without a security header (true: many answer so).
    pub accept_missing_security_in_response: bool,
    /// Accept assertions without an audience (true: many name none).
    pub accept_missing_audience: bool,
    /// Accept assertions of a US network without the user's name, organization or role, and log them (false). Never
    /// covers the community, the purpose of use, the signature or the times.
    pub lenient_saml: bool,
    /// Send an authorization decision statement in assertions (false).
    pub send_authorization_decision: bool,
    /// Send the patient id as resource-id in assertions (false).
    pub send_resource_id: bool,
    /// Package requests for documents (ITI-39) as MTOM `always`, or only `if-documents` are in them, which is never
    /// (`always`).
    pub mtom: Mtom,
}

impl Default for QuirksFile {
    fn default() -> Self {
        Self {
            documents_per_retrieve: 5,
            allow_sha1_until: String::new(),
            wrap_uuid_document_ids: false,
            strip_document_id_prefix: false,
            strip_repository_id_prefix: false,
            date_range_days: 0,
            subject_id_name_format: NameFormat::Uri,
            purpose_element: PurposeElement::PurposeOfUse,
            body_home_community_id: String::new(),
            saml_home_community_id: String::new(),
            audience: String::new(),
            accept_bearer: false,
            accept_missing_security_in_response: true,
            accept_missing_audience: true,
            lenient_saml: false,
            send_authorization_decision: false,
            send_resource_id: false,
            mtom: Mtom::Always,
        }
    }
}

/// `NameFormat` of an attribute. Two live partners each refuse the other's (specification SAML-12).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum NameFormat {
    /// `urn:oasis:names:tc:SAML:2.0:attrname-format:uri`.
    #[default]
    Uri,
    /// `urn:oasis:names:tc:SAML:2.0:attrname-format:basic`.
    Basic,
}

/// Element that carries the purpose of use (specification SAML-10).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum PurposeElement {
    /// The name in use.
    #[default]
    PurposeOfUse,
    /// The name that older partners still require.
    PurposeForUse,
}

impl PurposeElement {
    /// The local name.
    pub fn name(self) -> &'static str {
        match self {
            Self::PurposeOfUse => "PurposeOfUse",
            Self::PurposeForUse => "PurposeForUse",
        }
    }
}

/// When a request is packaged as MTOM.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Mtom {
    /// Each request of an MTOM transaction (ITI TF-2: Appendix V).
    #[default]
    Always,
    /// Only those that have documents in them.
    IfDocuments,
}

/// What is particular about a partner, checked.
#[derive(Clone, Debug)]
pub struct Quirks {
    /// How many documents one ITI-39 asks for, at least 1.
    pub documents_per_retrieve: usize,
    /// Until when SHA-1 is accepted; none is never.
    pub allow_sha1_until: Option<Timestamp>,
    /// Write UUID document ids with `urn:uuid:`.
    pub wrap_uuid_document_ids: bool,
    /// Write document ids without `urn:oid:` and `urn:uuid:`.
    pub strip_document_id_prefix: bool,
    /// Write repository ids without `urn:oid:`.
    pub strip_repository_id_prefix: bool,
    /// Days of the range added to queries without one.
    pub date_range_days: Option<u32>,
    /// `NameFormat` of subject-id.
    pub subject_id_name_format: NameFormat,
    /// Element of the purpose of use.
    pub purpose_element: PurposeElement,
    /// Our home in bodies, when it is not our own.
    pub body_home: Option<HomeCommunityId>,
    /// Our home in assertions, when it is not our own.
    pub saml_home: Option<HomeCommunityId>,
    /// Audience of our assertions, when it is not the URL called.
    pub audience: Option<SmolStr>,
    /// Bearer confirmation is accepted.
    pub accept_bearer: bool,
    /// Responses may come without a security header.
    pub accept_missing_security_in_response: bool,
    /// Assertions may come without an audience.
    pub accept_missing_audience: bool,
    /// Missing attributes are logged instead of refused.
    pub lenient_saml: bool,
    /// Assertions have an authorization decision statement.
    pub send_authorization_decision: bool,
    /// Assertions have the patient id as resource-id.
    pub send_resource_id: bool,
    /// When requests are packaged as MTOM.
    pub mtom: Mtom,
}

impl Quirks {
    /// Whether a SHA-1 signature of this partner is accepted at an instant.
    pub fn accepts_sha1(&self, at: Timestamp) -> bool {
        self.allow_sha1_until.is_some_and(|until| at < until)
    }
}

impl Default for Quirks {
    fn default() -> Self {
        QuirksFile::default().resolve(&mut Problems::default())
    }
}

impl QuirksFile {
    /// Checks the table.
    pub fn resolve(self, problems: &mut Problems) -> Quirks {
        if !(1..=100).contains(&self.documents_per_retrieve) {
            problems.add("quirks.documents_per_retrieve", "must be from 1 to 100", "leave it out for 5");
        }
        let remedy = "write it as urn:oid: and an OID";
        let home = |problems: &mut Problems, key: &str, text: &str| {
            if text.is_empty() { None } else { problems.parse(key, text, remedy) }
        };
        Quirks {
            body_home: home(problems, "quirks.body_home_community_id", &self.body_home_community_id),
            saml_home: home(problems, "quirks.saml_home_community_id", &self.saml_home_community_id),
            documents_per_retrieve: self.documents_per_retrieve.clamp(1, 100).into(),
            allow_sha1_until: end_of_day(&self.allow_sha1_until, problems),
            wrap_uuid_document_ids: self.wrap_uuid_document_ids,
            strip_document_id_prefix: self.strip_document_id_prefix,
            strip_repository_id_prefix: self.strip_repository_id_prefix,
            date_range_days: Some(self.date_range_days).filter(|days| *days > 0),
            subject_id_name_format: self.subject_id_name_format,
            purpose_element: self.purpose_element,
            audience: Some(SmolStr::from(self.audience)).filter(|audience| !audience.is_empty()),
            accept_bearer: self.accept_bearer,
            accept_missing_security_in_response: self.accept_missing_security_in_response,
            accept_missing_audience: self.accept_missing_audience,
            lenient_saml: self.lenient_saml,
            send_authorization_decision: self.send_authorization_decision,
            send_resource_id: self.send_resource_id,
            mtom: self.mtom,
        }
    }
}

/// The instant after a day, in UTC.
fn end_of_day(text: &str, problems: &mut Problems) -> Option<Timestamp> {
    if text.is_empty() {
        return None;
    }
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let until = Timestamp::from_rfc3339(&format!("{text}T00:00:00Z")).map(|start| start.plus(day));
    if until.is_none() {
        problems.add("quirks.allow_sha1_until", format!("{text:?} is not a day"), "write it as YYYY-MM-DD");
    }
    until
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quirks(text: &str) -> (Quirks, Vec<String>) {
        let file: QuirksFile = toml::from_str(text).unwrap();
        let mut problems = Problems::default();
        let quirks = file.resolve(&mut problems);
        (quirks, problems.into_list().into_iter().map(|problem| problem.key).collect())
    }

    #[test]
    fn defaults_are_what_the_specifications_ask_for() {
        let (quirks, problems) = quirks("");
        assert!(problems.is_empty());
        assert_eq!(quirks.documents_per_retrieve, 5);
        assert!(quirks.accept_missing_security_in_response && quirks.accept_missing_audience);
        assert!(!quirks.accept_bearer && !quirks.lenient_saml);
        assert_eq!((quirks.date_range_days, quirks.mtom), (None, Mtom::Always));
        assert!(!quirks.accepts_sha1(Timestamp::from_millis(0)));
    }

    /// Specification SEC-16: SHA-1 only for named partners, and it ends by itself.
    #[test]
    fn sha1_ends_with_its_day() {
        let (quirks, _) = quirks("allow_sha1_until = \"2027-03-31\"");
        for (at, accepted) in [("2027-03-31T23:59:59Z", true), ("2027-04-01T00:00:00Z", false)] {
            assert_eq!(quirks.accepts_sha1(Timestamp::from_rfc3339(at).unwrap()), accepted, "{at}");
        }
    }

    #[test]
    fn values_that_cannot_be_used_are_told_by_key() {
        for (text, key) in [
            ("documents_per_retrieve = 0", "quirks.documents_per_retrieve"),
            ("allow_sha1_until = \"always\"", "quirks.allow_sha1_until"),
            ("body_home_community_id = \"2.999.1\"", "quirks.body_home_community_id"),
            ("saml_home_community_id = \"urn:oid:x\"", "quirks.saml_home_community_id"),
        ] {
            assert_eq!(quirks(text).1, [key], "{text}");
        }
    }
}
