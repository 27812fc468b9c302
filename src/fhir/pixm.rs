//! PIXm: ITI-83 asks for a patient's identifiers in other domains (`$ihe-pix`), ITI-104 feeds patients.
//!
//! The requests say which patient by a token `system|value`. Whether a domain is known is decided here by the domains
//! that the gateway knows; whether a patient is, by the cross-reference manager.

use serde_json::Value;
use smol_str::SmolStr;

use super::json::{self, Builder};
use super::outcome::Refusal;
use super::resource::{Identifier, LinkKind, Patient, Reference, authority_of};
use super::search::{self, Definition, Handling, Parameters, Search, Token, Type, definition};
use crate::id::{AssigningAuthority, Domains, PatientId};

const QUERY: &[Definition] = &[definition("sourceIdentifier", Type::Token), definition("targetSystem", Type::Uri)];
const FEED: &[Definition] = &[definition("identifier", Type::Token)];

/// ITI-83.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// `sourceIdentifier`
    pub source: Identifier,
    /// `targetSystem`, as received. Empty: every domain.
    pub targets: Vec<SmolStr>,
}

/// An ITI-83 request whose domains are all known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Whose identifiers.
    pub source: PatientId,
    /// Of these domains; empty: of every one.
    pub targets: Vec<AssigningAuthority>,
}

impl Request {
    /// From the query of the URL and the form of a POST.
    pub fn from_query(query: &str, form: Option<&str>, handling: Handling) -> Result<Self, Refusal> {
        let search = Search::read(&Parameters::read(query, form)?, QUERY, handling)?;
        let mut sources = search.tokens("sourceIdentifier").into_iter().flatten();
        let source = match (sources.next(), sources.next()) {
            (None, _) => return Err(Refusal::Missing("sourceIdentifier".into())),
            (Some(token), None) => whole(token, "sourceIdentifier")?,
            (Some(_), Some(_)) => return Err(Refusal::Unusable("sourceIdentifier".into())),
        };
        let targets = search.all("targetSystem").flatten().filter_map(|value| match value {
            search::Value::Plain(text) => Some(text.clone()),
            _ => None,
        });
        Ok(Self { source, targets: targets.collect() })
    }

    /// From the Parameters of a POST. The guide's own examples have the token as `valueString`.
    pub fn from_parameters(resource: &Value) -> Result<Self, Refusal> {
        let (mut source, mut targets) = (None, Vec::new());
        for (name, parameter) in parameters(resource)? {
            match name {
                "sourceIdentifier" if source.is_none() => source = Some(token_in(parameter)?),
                "sourceIdentifier" => return Err(Refusal::Unusable("sourceIdentifier".into())),
                "targetSystem" => {
                    let system = json::text(parameter, "valueUri").or_else(|| json::text(parameter, "valueString"));
                    targets.push(system.ok_or(Refusal::Unusable("targetSystem".into()))?.into());
                }
                "_format" => {}
                other => return Err(Refusal::UnknownParameter(other.chars().take(64).collect())),
            }
        }
        Ok(Self { source: source.ok_or(Refusal::Missing("sourceIdentifier".into()))?, targets })
    }

    /// The query of a GET.
    pub fn to_query(&self) -> String {
        let mut out = "sourceIdentifier=".to_owned();
        let (system, value) = (self.source.system.as_deref(), self.source.value.as_deref());
        search::percent_encode(&mut out, &search::write_token(system.unwrap_or_default(), value.unwrap_or_default()));
        for target in &self.targets {
            out.push_str("&targetSystem=");
            search::percent_encode(&mut out, &search::escaped(target));
        }
        out
    }

    /// Finds the domains. The source is looked at first (PIXm 2:3.83.4.2.3).
    pub fn resolve(&self, domains: &Domains) -> Result<Wanted, Refusal> {
        let source = self.source.patient_id().ok_or(Refusal::Unusable("sourceIdentifier".into()))?;
        if !domains.knows(&source) {
            return Err(Refusal::SourceDomainUnknown);
        }
        Ok(Wanted { source, targets: self.targets(domains)? })
    }

    /// The domains of the targets.
    pub fn targets(&self, domains: &Domains) -> Result<Vec<AssigningAuthority>, Refusal> {
        let known = |system: &SmolStr| authority_of(system).filter(|authority| domains.of(authority).is_some());
        let targets = self.targets.iter().map(|system| known(system).ok_or(Refusal::TargetSystemUnknown));
        targets.collect()
    }
}

/// The answer to ITI-83.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Response {
    /// `targetIdentifier`. Never the source's own.
    pub identifiers: Vec<PatientId>,
    /// `targetId`: URLs of Patients.
    pub references: Vec<SmolStr>,
}

impl Response {
    /// Reads Parameters. Identifiers without a usable system or value are left out.
    pub fn decode(resource: &Value) -> Result<Self, Refusal> {
        let mut response = Self::default();
        for (name, parameter) in parameters(resource)? {
            match name {
                "targetIdentifier" => {
                    let id = parameter.get("valueIdentifier").map(Identifier::decode);
                    response.identifiers.extend(id.and_then(|id| id.patient_id()));
                }
                "targetId" => {
                    let reference = parameter.get("valueReference").and_then(Reference::decode);
                    response.references.extend(reference.and_then(|reference| reference.reference));
                }
                _ => {}
            }
        }
        Ok(response)
    }

    /// The Parameters. Nothing found is Parameters without any.
    pub fn encode(&self, domains: &Domains) -> Value {
        let parameter =
            |name: &str, kind: &str, value: Value| Builder::new().with("name", name).with(kind, value).build();
        let ids = self
            .identifiers
            .iter()
            .map(|id| parameter("targetIdentifier", "valueIdentifier", Identifier::of(id, Some(domains)).encode()));
        let references = self
            .references
            .iter()
            .map(|url| parameter("targetId", "valueReference", Reference::to(url.clone()).encode()));
        Builder::resource("Parameters").with("parameter", ids.chain(references).collect::<Vec<_>>()).build()
    }
}

/// ITI-104.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Feed {
    /// A new record, unless the condition finds one.
    Create {
        /// `If-None-Exist`
        condition: Option<PatientId>,
        /// The record.
        patient: Patient,
    },
    /// A new record or a new version of one.
    Revise {
        /// Whose.
        id: PatientId,
        /// The record.
        patient: Patient,
    },
    /// The record is another one's.
    Merge {
        /// The record that ends.
        subsumed: PatientId,
        /// The one that stays.
        survivor: Reference,
        /// The record that ends, as it was.
        patient: Patient,
    },
    /// The record is no longer to be found.
    Remove {
        /// Whose.
        id: PatientId,
    },
}

impl Feed {
    /// From the parts of the HTTP request on `Patient`.
    pub fn decode(
        method: &str,
        query: &str,
        if_none_exist: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Self, Refusal> {
        let patient = || {
            let patient = Patient::decode(body.ok_or(Refusal::Missing("the body".into()))?)?;
            // Profile IHE.PIXm.Patient: identifier 1..*, name 1..*.
            if patient.identifiers.is_empty() {
                return Err(Refusal::Missing("Patient.identifier".into()));
            }
            if patient.demographics.names.is_empty() {
                return Err(Refusal::Missing("Patient.name".into()));
            }
            Ok(patient)
        };
        match method {
            "POST" => {
                // Either a query or the URL of one (`Patient?identifier=...`).
                let condition = if_none_exist.map(|text| text.rsplit('?').next().unwrap_or_default());
                Ok(Self::Create { condition: condition.map(fed).transpose()?, patient: patient()? })
            }
            "PUT" => Self::update(fed(query)?, patient()?),
            "DELETE" => Ok(Self::Remove { id: fed(query)? }),
            _ => Err(Refusal::NotSupported("this method on Patient".into())),
        }
    }

    fn update(id: PatientId, patient: Patient) -> Result<Self, Refusal> {
        // An identifier of the same domain with another value would feed somebody else.
        let same_domain: Vec<_> = patient.patient_ids().filter(|own| own.authority() == id.authority()).collect();
        if !same_domain.is_empty() && !same_domain.contains(&id) {
            return Err(Refusal::Profile("the identifier of the request is not one of the patient".into()));
        }
        let replaced = patient.links.iter().filter(|link| link.kind == LinkKind::ReplacedBy);
        let mut survivors: Vec<_> = replaced.map(|link| link.other.clone()).collect();
        match (survivors.pop(), survivors.pop()) {
            (None, _) => Ok(Self::Revise { id, patient }),
            (Some(_), Some(_)) => Err(Refusal::Profile("a record is replaced by one other".into())),
            (Some(_), None) if patient.active != Some(false) => {
                Err(Refusal::Profile("a record that is replaced is not active".into()))
            }
            (Some(survivor), None) => {
                let same = survivor.identifier.as_ref().and_then(Identifier::patient_id).is_some_and(|own| own == id);
                if same {
                    return Err(Refusal::Profile("a record cannot be replaced by itself".into()));
                }
                Ok(Self::Merge { subsumed: id, survivor, patient })
            }
        }
    }

    /// Method, path with query (relative to the base) and body.
    pub fn encode(&self) -> (&'static str, String, Option<Value>) {
        match self {
            Self::Create { patient, .. } => ("POST", "Patient".into(), Some(patient.encode())),
            Self::Revise { id, patient } => ("PUT", condition(id), Some(patient.encode())),
            Self::Merge { subsumed, patient, .. } => ("PUT", condition(subsumed), Some(patient.encode())),
            Self::Remove { id } => ("DELETE", condition(id), None),
        }
    }
}

fn condition(id: &PatientId) -> String {
    let identifier = Identifier::of(id, None);
    let mut out = "Patient?identifier=".to_owned();
    search::percent_encode(&mut out, &search::write_token(identifier.system.as_deref().unwrap_or_default(), id.id()));
    out
}

/// The one identifier of a conditional interaction. Other parameters could change what it finds and are refused.
fn fed(query: &str) -> Result<PatientId, Refusal> {
    let search = Search::read(&Parameters::read(query, None)?, FEED, Handling::Strict)?;
    let mut tokens = search.tokens("identifier").into_iter().flatten();
    match (tokens.next(), tokens.next()) {
        (None, _) => Err(Refusal::Missing("identifier".into())),
        (Some(token), None) => whole(token, "identifier")?.patient_id().ok_or(Refusal::Unusable("identifier".into())),
        (Some(_), Some(_)) => Err(Refusal::Unusable("identifier".into())),
    }
}

/// A token with both a system and a value.
fn whole(token: Token, name: &str) -> Result<Identifier, Refusal> {
    match token {
        Token { system: Some(system), code: Some(code) } if !system.is_empty() => Ok(Identifier::new(system, code)),
        Token { .. } => Err(Refusal::Unusable(name.into())),
    }
}

fn token_in(parameter: &Value) -> Result<Identifier, Refusal> {
    if let Some(identifier) = parameter.get("valueIdentifier") {
        return Ok(Identifier::decode(identifier));
    }
    let text = json::text(parameter, "valueString").and_then(|text| text.split_once('|'));
    let (system, value) = text.ok_or(Refusal::Unusable("sourceIdentifier".into()))?;
    whole(Token { system: Some(system.into()), code: Some(value.into()) }, "sourceIdentifier")
}

/// The parameters of a Parameters resource with their names.
pub(super) fn parameters(resource: &Value) -> Result<impl Iterator<Item = (&str, &Value)>, Refusal> {
    if json::resource_type(resource) != "Parameters" {
        return Err(Refusal::WrongResource("Parameters"));
    }
    Ok(json::list(resource, "parameter").iter().map(|one| (json::text(one, "name").unwrap_or_default(), one)))
}

#[cfg(test)]
mod tests;
