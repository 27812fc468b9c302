//! `PRPA_IN201306UV02`.

use smol_str::SmolStr;

use super::Refusal;
use super::request::{Remains, Request};
use crate::hl7v3::ack::{AckType, Acknowledgement, Detail};
use crate::hl7v3::datatype::{Ii, read_code, write_code, write_patient_id};
use crate::hl7v3::wrapper::{Device, Wrapper};
use crate::hl7v3::{DecodeError, INTERACTIONS, child, children, expect, find, person, start};
use crate::id::{Demographics, Domains, HomeCommunityId, PatientId, Timestamp};
use crate::xml::{Element, Writer};

/// The root element and interaction.
const INTERACTION: &str = "PRPA_IN201306UV02";
/// Codes of attributes that would help.
const REQUESTED: &str = "1.3.6.1.4.1.19376.1.2.27.1";
/// Whether a community is a health data locator.
const LOCATOR: &str = "1.3.6.1.4.1.19376.1.2.27.2";
/// Codes of reasons for no answer.
const MANAGEMENT: &str = "1.3.6.1.4.1.19376.1.2.27.3";
/// HL7 ActCode.
const ACT_CODE: &str = "2.16.840.1.113883.5.4";
/// HL7 AcknowledgementDetailCode.
const DETAIL_CODE: &str = "2.16.840.1.113883.5.1100";

/// An answer to a discovery query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// Its id, who sent it and to whom.
    pub wrapper: Wrapper,
    /// `acknowledgement/targetMessage/id`: the id of the request.
    pub target: Ii,
    /// `queryAck/queryId`.
    pub query_id: Ii,
    /// What was found.
    pub outcome: Outcome,
    /// `queryByParameter` of the request.
    echo: Option<String>,
}

/// The five cases of ITI TF-2: 3.55.4.2.2; one match and several are one variant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Cases 1 and 2: at least one match. Those with the same home are candidates of one community.
    Matches(Vec<Match>),
    /// Case 3: nothing is told, these attributes would help.
    MoreAttributes(Vec<RequestedAttribute>),
    /// Case 4.
    NoMatch,
    /// Case 5.
    Error {
        /// `ResponderBusy`, `AnswerNotAvailable` or `InternalError`; none if the partner gave none.
        reason: Option<SmolStr>,
        /// `acknowledgementDetail/code`; may be empty.
        detail: SmolStr,
        /// For people. May come from a partner, so it does not belong into logs.
        text: String,
    },
}

/// One person of one community.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Match {
    /// The identifier to use in document queries.
    pub patient_id: PatientId,
    /// The community that has the documents; it may be another than the one that was asked. None: the partner told
    /// none, so it is itself.
    pub home: Option<HomeCommunityId>,
    /// What that community knows; identifiers of other domains are in `other_ids`.
    pub demographics: Demographics,
    /// `queryMatchObservation`, 0 to 100.
    pub score: Option<u8>,
    /// Whether that community can tell where else the patient has documents (ITI-56).
    pub locator: bool,
}

/// What a responder wants to know (ITI TF-2: Table 3.55.4.2.2-2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RequestedAttribute {
    /// `LivingSubjectAdministrativeGenderRequested`.
    Gender,
    /// `PatientAddressRequested`; one implementation misspells it with a single d.
    Address,
    /// `PatientTelecomRequested`.
    Telecom,
    /// `LivingSubjectBirthPlaceNameRequested`.
    BirthPlaceName,
    /// `LivingSubjectBirthPlaceAddressRequested`.
    BirthPlaceAddress,
    /// `MothersMaidenNameRequested`.
    MothersMaidenName,
    /// `SSNRequested`, an extension of one network.
    SocialSecurityNumber,
    /// A code that is not known here.
    Other(SmolStr),
}

impl RequestedAttribute {
    fn code(&self) -> &str {
        match self {
            Self::Gender => "LivingSubjectAdministrativeGenderRequested",
            Self::Address => "PatientAddressRequested",
            Self::Telecom => "PatientTelecomRequested",
            Self::BirthPlaceName => "LivingSubjectBirthPlaceNameRequested",
            Self::BirthPlaceAddress => "LivingSubjectBirthPlaceAddressRequested",
            Self::MothersMaidenName => "MothersMaidenNameRequested",
            Self::SocialSecurityNumber => "SSNRequested",
            Self::Other(code) => code,
        }
    }

    fn from_wire(code: &str) -> Self {
        match code {
            "LivingSubjectAdministrativeGenderRequested" => Self::Gender,
            "PatientAddressRequested" | "PatientAdressRequested" => Self::Address,
            "PatientTelecomRequested" => Self::Telecom,
            "LivingSubjectBirthPlaceNameRequested" => Self::BirthPlaceName,
            "LivingSubjectBirthPlaceAddressRequested" => Self::BirthPlaceAddress,
            "MothersMaidenNameRequested" => Self::MothersMaidenName,
            "SSNRequested" => Self::SocialSecurityNumber,
            other => Self::Other(other.into()),
        }
    }
}

impl Outcome {
    /// `acknowledgement/typeCode`.
    fn ack_type(&self) -> AckType {
        match self {
            Self::Matches(_) | Self::MoreAttributes(_) | Self::NoMatch => AckType::Accept,
            Self::Error { .. } => AckType::Error,
        }
    }

    /// `queryAck/statusCode` and `queryResponseCode`.
    fn query_codes(&self) -> (&'static str, &'static str) {
        match self {
            Self::Matches(_) | Self::MoreAttributes(_) => ("deliveredResponse", "OK"),
            Self::NoMatch => ("deliveredResponse", "NF"),
            Self::Error { .. } => ("aborted", "AE"),
        }
    }
}

impl From<&Refusal> for Outcome {
    fn from(refusal: &Refusal) -> Self {
        Self::Error {
            reason: Some(refusal.management_code().into()),
            detail: refusal.detail_code().into(),
            text: refusal.to_string(),
        }
    }
}

impl Response {
    /// The answer to a request. An empty list of matches is no match.
    pub fn new(request: &Request, id: Ii, now: Timestamp, us: &HomeCommunityId, outcome: Outcome) -> Self {
        let outcome = match outcome {
            Outcome::Matches(matches) if matches.is_empty() => Outcome::NoMatch,
            other => other,
        };
        Self {
            wrapper: request.wrapper.answer(id, now, Device::gateway(us)),
            target: request.wrapper.id.clone(),
            query_id: request.query_id.clone(),
            outcome,
            echo: Some(request.query()),
        }
    }

    /// The answer to a request that is refused.
    pub fn refusal(remains: Remains, refusal: &Refusal, id: Ii, now: Timestamp, us: &HomeCommunityId) -> Self {
        let Remains { wrapper, query_id, echo } = remains;
        let target = wrapper.as_ref().map(|wrapper| wrapper.id.clone()).unwrap_or_default();
        let us = Device::gateway(us);
        let wrapper = match wrapper {
            Some(wrapper) => wrapper.answer(id, now, us),
            None => Wrapper::new(id, now, us, Device::default()),
        };
        Self { wrapper, target, query_id, outcome: refusal.into(), echo }
    }

    /// Reads the body. Which case it is follows from what is in it: partners disagree about the codes.
    pub fn decode(body: Element<'_>, domains: &Domains) -> Result<Self, DecodeError> {
        let root = expect(body, INTERACTION)?;
        let wrapper = Wrapper::read(root)?;
        let acknowledgement = Acknowledgement::read(root)?;
        let act = child(root, "controlActProcess").ok_or(DecodeError::Missing("controlActProcess"))?;
        let query_ack = child(act, "queryAck");
        let query_id = query_ack.and_then(|ack| child(ack, "queryId")).and_then(Ii::read).unwrap_or_default();
        let code = query_ack.and_then(|ack| child(ack, "queryResponseCode")).and_then(read_code).unwrap_or_default();
        let events: Vec<_> =
            children(act, "subject").filter_map(|subject| child(subject, "registrationEvent")).collect();
        // A match without an identifier is of no use to anybody, and no reason to lose the others.
        let matches: Vec<Match> = events.iter().filter_map(|event| Match::read(*event, domains)).collect();
        if matches.is_empty() && !events.is_empty() {
            return Err(DecodeError::Value("patient/id"));
        }
        let issues = || children(act, "reasonOf").filter_map(|reason| child(reason, "detectedIssueEvent"));
        let requested: Vec<RequestedAttribute> = issues()
            .flat_map(|issue| children(issue, "triggerFor"))
            .filter_map(|trigger| find(trigger, &["actOrderRequired", "code"]).and_then(read_code))
            .map(|code| RequestedAttribute::from_wire(&code))
            .collect();
        let failed = !acknowledgement.kind.is_accepted() || matches!(code.as_str(), "AE" | "QE");
        let outcome = if failed {
            read_error(&acknowledgement, issues())
        } else if !matches.is_empty() {
            Outcome::Matches(matches)
        } else if !requested.is_empty() {
            Outcome::MoreAttributes(requested)
        } else {
            Outcome::NoMatch
        };
        Ok(Self { wrapper, target: acknowledgement.target, query_id, outcome, echo: None })
    }

    /// Writes the body.
    pub fn encode(&self) -> String {
        let mut writer = Writer::new();
        start(&mut writer, INTERACTION);
        self.wrapper.write(&mut writer, INTERACTION, "NE");
        let mut acknowledgement = Acknowledgement::new(self.outcome.ack_type(), self.target.clone());
        if let Outcome::Error { detail, text, .. } = &self.outcome {
            let code = if detail.is_empty() { "INTERR".into() } else { detail.clone() };
            let (system, text, locations) = (DETAIL_CODE.into(), text.clone(), Vec::new());
            acknowledgement.details.push(Detail { code, system, text, locations });
        }
        acknowledgement.write(&mut writer);
        writer.start("controlActProcess").attribute("classCode", "CACT").attribute("moodCode", "EVN");
        writer.start("code").attribute("code", "PRPA_TE201306UV02").attribute("codeSystem", INTERACTIONS).end();
        self.write_outcome(&mut writer);
        let (status, code) = self.outcome.query_codes();
        writer.start("queryAck");
        self.query_id.write(&mut writer, "queryId");
        writer.start("statusCode").attribute("code", status).end();
        writer.start("queryResponseCode").attribute("code", code).end();
        writer.end();
        // 3.55.4.2.2: the query is copied behind queryAck.
        if let Some(echo) = &self.echo {
            writer.fragment(echo);
        }
        writer.finish()
    }

    fn write_outcome(&self, writer: &mut Writer) {
        match &self.outcome {
            Outcome::Matches(matches) => {
                let own = self.wrapper.sender.home();
                matches.iter().for_each(|one| one.write(writer, own.as_ref()));
            }
            Outcome::NoMatch => {}
            Outcome::MoreAttributes(attributes) => {
                let start = |writer: &mut Writer| {
                    writer.start("triggerFor").attribute("typeCode", "TRIG");
                    writer.start("actOrderRequired").attribute("classCode", "ACT").attribute("moodCode", "RQO");
                };
                write_issue(writer, attributes.iter().map(RequestedAttribute::code), REQUESTED, start);
            }
            Outcome::Error { reason, .. } => {
                let start = |writer: &mut Writer| {
                    writer.start("mitigatedBy").attribute("typeCode", "MITGT");
                    writer.start("detectedIssueManagement").attribute("classCode", "ACT").attribute("moodCode", "EVN");
                };
                write_issue(writer, reason.iter().map(SmolStr::as_str), MANAGEMENT, start);
            }
        }
    }
}

/// `reasonOf/detectedIssueEvent` with one child for each code.
fn write_issue<'c>(writer: &mut Writer, codes: impl Iterator<Item = &'c str>, system: &str, start: fn(&mut Writer)) {
    writer.start("reasonOf").attribute("typeCode", "RSON");
    writer.start("detectedIssueEvent").attribute("classCode", "ALRT").attribute("moodCode", "EVN");
    write_code(writer, "code", "_ActAdministrativeDetectedIssueManagementCode", ACT_CODE);
    for code in codes {
        start(writer);
        write_code(writer, "code", code, system);
        writer.end().end();
    }
    writer.end().end();
}

/// The reason is in the managed issue, the text there or in the acknowledgement.
fn read_error<'d>(acknowledgement: &Acknowledgement, issues: impl Iterator<Item = Element<'d>>) -> Outcome {
    let managed = issues.flat_map(|issue| children(issue, "mitigatedBy"));
    let management = managed.filter_map(|by| child(by, "detectedIssueManagement")).next();
    let text = management.and_then(|one| child(one, "text")).map(|text| text.trimmed().into_owned());
    let detail = acknowledgement.details.first().cloned().unwrap_or_default();
    Outcome::Error {
        reason: management.and_then(|one| child(one, "code")).and_then(read_code),
        detail: detail.code,
        text: if detail.text.is_empty() { text.unwrap_or_default() } else { detail.text },
    }
}

impl Match {
    fn read(event: Element<'_>, domains: &Domains) -> Option<Self> {
        let patient = find(event, &["subject1", "patient"])?;
        let mut ids: Vec<PatientId> = children(patient, "id")
            .filter_map(|id| crate::hl7v3::datatype::read_patient_id(id, domains).ok())
            .collect();
        if ids.is_empty() {
            return None;
        }
        // There is one by the profile; of several, the first is the one to use and the others are merely known.
        let patient_id = ids.remove(0);
        let mut demographics = person::read(patient, domains);
        for id in ids {
            if !demographics.other_ids.contains(&id) {
                demographics.other_ids.push(id);
            }
        }
        let custodian = find(event, &["custodian", "assignedEntity"]);
        let home = custodian.and_then(|entity| child(entity, "id")).and_then(Ii::read);
        let locator = custodian.and_then(|entity| child(entity, "code")).and_then(read_code);
        let score = children(patient, "subjectOf1")
            .filter_map(|subject| find(subject, &["queryMatchObservation", "value"]))
            .find_map(|value| value.attribute("value")?.trim().parse::<u8>().ok());
        Some(Self {
            patient_id,
            home: home.and_then(|id| HomeCommunityId::lenient(&id.root).ok()),
            demographics,
            score: score.filter(|score| *score <= 100),
            locator: locator.as_deref() == Some("SupportsHealthDataLocator"),
        })
    }

    fn write(&self, writer: &mut Writer, own: Option<&HomeCommunityId>) {
        writer.start("subject").attribute("typeCode", "SUBJ").attribute("contextConductionInd", "false");
        writer.start("registrationEvent").attribute("classCode", "REG").attribute("moodCode", "EVN");
        Ii::default().write(writer, "id");
        writer.start("statusCode").attribute("code", "active").end();
        writer.start("subject1").attribute("typeCode", "SBJ");
        writer.start("patient").attribute("classCode", "PAT");
        write_patient_id(writer, "id", &self.patient_id);
        writer.start("statusCode").attribute("code", "active").end();
        person::write(writer, &self.demographics);
        writer.start("subjectOf1");
        writer.start("queryMatchObservation").attribute("classCode", "OBS").attribute("moodCode", "EVN");
        writer.start("code").attribute("code", "IHE_PDQ").end();
        writer.start("value").attribute("xsi:type", "INT");
        match self.score {
            Some(score) => writer.attribute("value", &score.to_string()),
            None => writer.attribute("nullFlavor", "NI"),
        };
        writer.end().end().end();
        writer.end().end();
        writer.start("custodian").attribute("typeCode", "CST");
        writer.start("assignedEntity").attribute("classCode", "ASSIGNED");
        let home = self.home.as_ref().or(own).map(|home| Ii::root(home.oid().as_str())).unwrap_or_default();
        home.write(writer, "id");
        let locator = if self.locator { "SupportsHealthDataLocator" } else { "NotHealthDataLocator" };
        write_code(writer, "code", locator, LOCATOR);
        writer.end().end();
        writer.end().end();
    }
}
