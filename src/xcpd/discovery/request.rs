//! `PRPA_IN201305UV02`.

use smol_str::SmolStr;

use super::Refusal;
use crate::hl7v3::datatype::{
    Ii, read_address, read_code, read_interval, read_name, read_patient_id, read_telecom, write_address, write_gender,
    write_name, write_patient_id, write_telecom, write_time,
};
use crate::hl7v3::wrapper::Wrapper;
use crate::hl7v3::{DecodeError, INTERACTIONS, child, children, expect, find, fragment, start};
use crate::id::{Address, AssigningAuthority, Demographics, Domains, Gender, HomeCommunityId, Oid, PatientId};
use crate::xml::{Element, Writer, ns};

/// The root element and interaction.
const INTERACTION: &str = "PRPA_IN201305UV02";

/// `responsePriorityCode`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Priority {
    /// `I`: the answer comes in the HTTP response.
    Immediate,
    /// `D`: the answer comes later, to `respondTo`.
    Deferred,
}

/// A discovery query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Its id, who sent it and to whom.
    pub wrapper: Wrapper,
    /// `queryId`, echoed in the answer.
    pub query_id: Ii,
    /// Now or later.
    pub priority: Priority,
    /// The authority that the responder should use when it asks back (`authorOrPerformer/assignedDevice/id`).
    pub reply_authority: Option<AssigningAuthority>,
    /// What is asked.
    pub parameters: Parameters,
    /// `xcpd:CorrelationTimeToLive` of the SOAP header.
    pub correlation_time_to_live: Option<String>,
    /// `queryByParameter` as it came: for the echo in the answer, and for the audit record.
    pub(super) echo: Option<String>,
}

/// `matchCriterionList` and `parameterList`.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Parameters {
    /// Gender, birth, names (alternatives), addresses, numbers, mother's maiden name and place of birth.
    pub demographics: Demographics,
    /// `livingSubjectId`: whatever identifies the person, in any domain.
    pub ids: Vec<PatientId>,
    /// `principalCareProviderId`.
    pub providers: Vec<Ii>,
    /// `minimumDegreeMatch`, 0 to 100. A responder may ignore it.
    pub minimum_degree: Option<u8>,
    /// Whether a date of birth was told, readable or not.
    pub tells_birth: bool,
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parameters(…, {} ids)", self.ids.len())
    }
}

impl Parameters {
    /// Addresses are all complete: street, city, state and postal code.
    pub fn has_complete_addresses(&self) -> bool {
        let complete = |address: &Address| {
            let parts = [&address.city, &address.state, &address.postal_code];
            !address.lines.is_empty() && parts.iter().all(|part| !part.is_empty())
        };
        self.demographics.addresses.iter().all(complete)
    }

    /// ITI TF-2: 3.55.4.1.2.1: an identifier, or a name and a date of birth. A date that cannot be read counts as
    /// told: the answer is then that nobody matches, as it is for a date that is wrong.
    fn is_enough(&self) -> bool {
        !self.ids.is_empty() || (!self.demographics.names.is_empty() && self.tells_birth)
    }

    fn read(query: Element<'_>, domains: &Domains) -> Result<Self, DecodeError> {
        let list = child(query, "parameterList").ok_or(DecodeError::Missing("parameterList"))?;
        // An element holds one or several values and may itself be repeated, within the rules or not.
        let values = |name: &'static str| {
            children(list, name).flat_map(|parameter| children(parameter, "value")).collect::<Vec<_>>()
        };
        let gender = values("livingSubjectAdministrativeGender").into_iter().find_map(read_code);
        let births = values("livingSubjectBirthTime");
        let names = values("livingSubjectName").into_iter().map(read_name).filter(|name| !name.is_empty());
        let mother = values("mothersMaidenName").into_iter().map(read_name).find(|name| !name.is_empty());
        let place_name = values("livingSubjectBirthPlaceName").into_iter().map(|one| one.trimmed().into_owned());
        let place_city =
            values("livingSubjectBirthPlaceAddress").into_iter().map(|address| read_address(address).city.to_string());
        let places = place_name.chain(place_city).find(|place| !place.is_empty());
        let addresses = values("patientAddress").into_iter().map(read_address).filter(|address| !address.is_empty());
        let degree = find(query, &["matchCriterionList", "minimumDegreeMatch", "value"])
            .and_then(|value| value.attribute("value")?.trim().parse::<u8>().ok());
        Ok(Self {
            demographics: Demographics {
                names: names.collect(),
                gender: gender.and_then(|code| Gender::from_wire(&code)),
                birth: births.iter().copied().find_map(read_interval),
                addresses: addresses.collect(),
                telecoms: values("patientTelecom").into_iter().filter_map(read_telecom).collect(),
                mothers_maiden_name: mother,
                birth_place: places.map(SmolStr::from),
                ..Demographics::default()
            },
            // A root without an extension identifies nobody (one national test suite sends them).
            ids: values("livingSubjectId").into_iter().filter_map(|id| read_patient_id(id, domains).ok()).collect(),
            providers: values("principalCareProviderId").into_iter().filter_map(Ii::read).collect(),
            minimum_degree: degree.filter(|degree| *degree <= 100),
            tells_birth: !births.is_empty(),
        })
    }

    fn write(&self, writer: &mut Writer) {
        let person = &self.demographics;
        writer.start("parameterList");
        if person.gender.is_some_and(|gender| gender.v3().is_some()) {
            parameter(writer, "livingSubjectAdministrativeGender", "LivingSubject.administrativeGender", |writer| {
                write_gender(writer, "value", person.gender);
            });
        }
        if let Some(place) = &person.birth_place {
            parameter(writer, "livingSubjectBirthPlaceName", "LivingSubject.BirthPlace.Place.Name", |writer| {
                writer.leaf("value", place);
            });
        }
        if let Some(birth) = &person.birth {
            parameter(writer, "livingSubjectBirthTime", "LivingSubject.birthTime", |writer| {
                write_time(writer, "value", birth);
            });
        }
        for id in self.ids.iter().filter(|id| id.authority().oid().is_some()) {
            parameter(writer, "livingSubjectId", "LivingSubject.id", |writer| write_patient_id(writer, "value", id));
        }
        for name in &person.names {
            parameter(writer, "livingSubjectName", "LivingSubject.name", |writer| write_name(writer, "value", name));
        }
        if let Some(name) = &person.mothers_maiden_name {
            parameter(writer, "mothersMaidenName", "Person.MothersMaidenName", |writer| {
                write_name(writer, "value", name);
            });
        }
        if !person.addresses.is_empty() {
            parameter(writer, "patientAddress", "Patient.addr", |writer| {
                person.addresses.iter().for_each(|address| write_address(writer, "value", address));
            });
        }
        if !person.telecoms.is_empty() {
            parameter(writer, "patientTelecom", "Patient.telecom", |writer| {
                person.telecoms.iter().for_each(|telecom| write_telecom(writer, "value", telecom));
            });
        }
        for provider in &self.providers {
            parameter(writer, "principalCareProviderId", "AssignedProvider.id", |writer| {
                provider.write(writer, "value");
            });
        }
        writer.end();
    }
}

fn parameter(writer: &mut Writer, name: &'static str, semantics: &str, values: impl FnOnce(&mut Writer)) {
    writer.start(name);
    values(writer);
    writer.leaf("semanticsText", semantics).end();
}

impl Request {
    /// A query to be sent.
    pub fn new(wrapper: Wrapper, query_id: Ii, parameters: Parameters) -> Self {
        Self {
            wrapper,
            query_id,
            priority: Priority::Immediate,
            reply_authority: None,
            parameters,
            correlation_time_to_live: None,
            echo: None,
        }
    }

    /// The community that asks.
    pub fn sender_home(&self) -> Option<HomeCommunityId> {
        self.wrapper.sender.home()
    }

    /// The communities that are asked.
    pub fn receiver_homes(&self) -> impl Iterator<Item = HomeCommunityId> {
        self.wrapper.receivers.iter().filter_map(|receiver| receiver.home())
    }

    /// `queryByParameter`: as received, or as it is sent. It is what the answer echoes and what audit records keep.
    pub fn query(&self) -> String {
        self.echo.clone().unwrap_or_else(|| {
            let mut writer = Writer::new();
            self.write_query(&mut writer, true);
            writer.finish()
        })
    }

    /// Reads the body. Whoever refuses can still answer with `Response::refusal`, which needs less.
    pub fn decode(body: Element<'_>, soap_header: Option<Element<'_>>, domains: &Domains) -> Result<Self, Refusal> {
        let root = expect(body, INTERACTION)?;
        let wrapper = Wrapper::read(root)?;
        let act = child(root, "controlActProcess").ok_or(DecodeError::Missing("controlActProcess"))?;
        let query = child(act, "queryByParameter").ok_or(DecodeError::Missing("queryByParameter"))?;
        let priority = child(query, "responsePriorityCode").and_then(read_code);
        let priority = if priority.as_deref() == Some("D") { Priority::Deferred } else { Priority::Immediate };
        if priority == Priority::Deferred && wrapper.respond_to.len() != 1 {
            return Err(Refusal::NoRespondTo);
        }
        let parameters = Parameters::read(query, domains)?;
        if !parameters.is_enough() {
            return Err(Refusal::NotEnough);
        }
        let reply = find(act, &["authorOrPerformer", "assignedDevice", "id"]).and_then(Ii::read);
        Ok(Self {
            wrapper,
            query_id: child(query, "queryId").and_then(Ii::read).unwrap_or_default(),
            priority,
            reply_authority: reply.and_then(|id| Oid::lenient(&id.root).ok()).map(|oid| AssigningAuthority::iso(&oid)),
            parameters,
            correlation_time_to_live: super::correlation_time_to_live(soap_header),
            echo: fragment(query),
        })
    }

    /// Writes the body. The correlation time to live is a SOAP header of its own.
    pub fn encode(&self) -> String {
        let mut writer = Writer::new();
        start(&mut writer, INTERACTION);
        self.wrapper.write(&mut writer, INTERACTION, "AL");
        writer.start("controlActProcess").attribute("classCode", "CACT").attribute("moodCode", "EVN");
        writer.start("code").attribute("code", "PRPA_TE201305UV02").attribute("codeSystem", INTERACTIONS).end();
        if let Some(oid) = self.reply_authority.as_ref().and_then(AssigningAuthority::oid) {
            writer.start("authorOrPerformer").attribute("typeCode", "AUT");
            writer.start("assignedDevice").attribute("classCode", "ASSIGNED");
            Ii::root(oid.as_str()).write(&mut writer, "id");
            writer.end().end();
        }
        self.write_query(&mut writer, false);
        writer.finish()
    }

    /// `alone`: with its own namespace declarations, to stand outside the message.
    fn write_query(&self, writer: &mut Writer, alone: bool) {
        writer.start("queryByParameter");
        if alone {
            writer.attribute("xmlns", ns::HL7V3).attribute("xmlns:xsi", ns::XSI);
        }
        self.query_id.write(writer, "queryId");
        writer.start("statusCode").attribute("code", "new").end();
        writer.start("responseModalityCode").attribute("code", "R").end();
        let priority = if self.priority == Priority::Deferred { "D" } else { "I" };
        writer.start("responsePriorityCode").attribute("code", priority).end();
        if let Some(degree) = self.parameters.minimum_degree {
            writer.start("matchCriterionList").start("minimumDegreeMatch");
            writer.start("value").attribute("xsi:type", "INT").attribute("value", &degree.to_string()).end();
            writer.leaf("semanticsText", "Degree of match requested").end().end();
        }
        self.parameters.write(writer);
        writer.end();
    }
}

/// What the answer to a refused query repeats of it, however little of it could be read.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Remains {
    /// Who sent it to whom.
    pub(super) wrapper: Option<Wrapper>,
    /// `queryId`.
    pub(super) query_id: Ii,
    /// `queryByParameter`.
    pub(super) echo: Option<String>,
}

impl std::fmt::Debug for Remains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remains(…)")
    }
}

impl Remains {
    /// Of a body that could not be decoded.
    pub fn read(body: Element<'_>) -> Self {
        let query = find(body, &["controlActProcess", "queryByParameter"]);
        let query_id = query.and_then(|query| child(query, "queryId")).and_then(Ii::read).unwrap_or_default();
        Self { wrapper: Wrapper::read(body).ok(), query_id, echo: query.and_then(fragment) }
    }
}

impl From<&Request> for Remains {
    fn from(request: &Request) -> Self {
        Self { wrapper: Some(request.wrapper.clone()), query_id: request.query_id.clone(), echo: Some(request.query()) }
    }
}
