//! ITI-56 Patient Location Query: which communities have documents of a patient, asked of a health data locator
//! (XCPD supplement, ITI TF-2: 3.56).
//!
//! Unlike ITI-55 it names communities as URIs (`urn:oid:`), and its errors are SOAP faults.

use crate::hl7v3::datatype::Ii;
use crate::hl7v3::{DecodeError, child, children, expect};
use crate::id::{HomeCommunityId, PatientId};
use crate::xml::{Element, Writer, ns};

/// `wsa:Action` of the query.
pub const ACTION: &str = "urn:ihe:iti:2009:PatientLocationQuery";
/// `wsa:Action` of its answer.
pub const ACTION_RESPONSE: &str = "urn:ihe:iti:2009:PatientLocationQueryResponse";

/// The question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The patient, as the locator knows it.
    pub patient_id: PatientId,
}

/// The answer; empty when nobody has anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Response {
    /// One for each community.
    pub locations: Vec<Location>,
}

/// A community that has documents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    /// The community.
    pub home: HomeCommunityId,
    /// The patient, as that community knows it.
    pub corresponding_id: PatientId,
    /// The patient, as it was asked for.
    pub requested_id: PatientId,
}

/// Why a location query has no answer; each is a SOAP fault with this text as its reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a readable query.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// Too much to do.
    #[error("Busy")]
    Busy,
    /// Memory or storage runs out.
    #[error("Resources Low")]
    ResourcesLow,
    /// Not known, or not located here.
    #[error("Not a Health Data Locator for the specified patient identifier")]
    NotALocator,
}

impl Refusal {
    /// Whether the fault is the receiver's; else it is the sender's.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Busy | Self::ResourcesLow => true,
            Self::Unreadable(_) | Self::NotALocator => false,
        }
    }
}

impl Request {
    /// Reads the body.
    pub fn decode(body: Element<'_>) -> Result<Self, DecodeError> {
        let root = expect(body, "PatientLocationQueryRequest")?;
        Ok(Self { patient_id: read_id(root, "RequestedPatientId")? })
    }

    /// Writes the body.
    pub fn encode(&self) -> String {
        let mut writer = Writer::new();
        writer.start("xcpd:PatientLocationQueryRequest").attribute("xmlns:xcpd", ns::XCPD);
        write_id(&mut writer, "xcpd:RequestedPatientId", &self.patient_id);
        writer.finish()
    }
}

impl Response {
    /// Reads the body. Elements that it does not know may be there and are ignored.
    pub fn decode(body: Element<'_>) -> Result<Self, DecodeError> {
        let root = expect(body, "PatientLocationQueryResponse")?;
        let location = |element: Element<'_>| {
            let home = child(element, "HomeCommunityId").ok_or(DecodeError::Missing("HomeCommunityId"))?;
            Ok(Location {
                home: HomeCommunityId::lenient(&home.trimmed()).map_err(|_| DecodeError::Value("HomeCommunityId"))?,
                corresponding_id: read_id(element, "CorrespondingPatientId")?,
                requested_id: read_id(element, "RequestedPatientId")?,
            })
        };
        let locations = children(root, "PatientLocationResponse").map(location).collect::<Result<_, _>>()?;
        Ok(Self { locations })
    }

    /// Writes the body.
    pub fn encode(&self) -> String {
        let mut writer = Writer::new();
        writer.start("xcpd:PatientLocationQueryResponse").attribute("xmlns:xcpd", ns::XCPD);
        for location in &self.locations {
            writer.start("xcpd:PatientLocationResponse");
            writer.leaf("xcpd:HomeCommunityId", &location.home.to_string());
            write_id(&mut writer, "xcpd:CorrespondingPatientId", &location.corresponding_id);
            write_id(&mut writer, "xcpd:RequestedPatientId", &location.requested_id);
            writer.end();
        }
        writer.finish()
    }
}

fn read_id(parent: Element<'_>, name: &'static str) -> Result<PatientId, DecodeError> {
    let id = child(parent, name).ok_or(DecodeError::Missing(name))?;
    Ii::read(id).and_then(|ii| ii.patient_id().ok()).ok_or(DecodeError::Value(name))
}

fn write_id(writer: &mut Writer, name: &'static str, id: &PatientId) {
    writer.start(name).attribute("root", id.authority().universal_id()).attribute("extension", id.id()).end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{corpus, validates};
    use crate::xml::{Limits, decode_text, parse};

    const SCHEMA: &str = "hl7v3/IHE/XCPD_PLQ.xsd";

    fn with<T>(xml: &str, read: impl FnOnce(Element<'_>) -> T) -> T {
        let tree = parse(xml, &Limits::default()).unwrap();
        read(tree.root().unwrap())
    }

    fn patient(text: &str) -> PatientId {
        PatientId::from_cx(text).unwrap()
    }

    #[test]
    fn queries_and_answers_are_valid_and_are_read_back() {
        let request = Request { patient_id: patient("B-0815^^^&2.999.200.1.3&ISO") };
        validates(&request.encode(), SCHEMA);
        assert_eq!(with(&request.encode(), Request::decode), Ok(request));
        let location = Location {
            home: "urn:oid:2.999.300.1".parse().unwrap(),
            corresponding_id: patient("C-1234^^^&2.999.300.1.3&ISO"),
            requested_id: patient("B-0815^^^&2.999.200.1.3&ISO"),
        };
        let response = Response { locations: vec![location] };
        validates(&response.encode(), SCHEMA);
        assert_eq!(with(&response.encode(), Response::decode), Ok(response));
        let nobody = Response::default();
        assert_eq!(with(&nobody.encode(), Response::decode), Ok(nobody));
    }

    #[test]
    fn the_samples_of_the_corpus_are_read() {
        let Some(request) = corpus("xcpd/ipf-iti56-sample-request.xml") else { return };
        assert!(with(&decode_text(&request, None).unwrap(), Request::decode).is_ok());
        let Some(response) = corpus("xcpd/ipf-iti56-sample-response.xml") else { return };
        assert_eq!(with(&decode_text(&response, None).unwrap(), Response::decode).unwrap().locations.len(), 2);
    }
}
