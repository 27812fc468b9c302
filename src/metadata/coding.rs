//! Values of metadata attributes (ITI TF-3: 4.2.3.1.7): names, organisations, references, ids of objects.
//!
//! HL7 v2 values keep the text they came with, so what is forwarded or returned is what was submitted; their parts are
//! read on demand.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ebxml::{last_segment, literals};
use crate::id::{EntryUuid, Oid, PatientId};

/// Hides patient data from `{:?}`.
macro_rules! redacted {
    ($($kind:ident),*) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($kind), "(…)"))
            }
        }
    )*};
}

redacted!(Xcn, Xon, Xtn, Cx, Author, ReferenceId, SourcePatientInfo);

/// A registry object's id: a UUID, or a symbol that means something in one submission only (ITI TF-3: 4.1.12.3).
/// Ids of partners that are no UUIDs are kept as symbols.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(from = "SmolStr", into = "SmolStr")]
pub enum ObjectId {
    /// Known to the registry or to be known under this id.
    Uuid(EntryUuid),
    /// Known in the message.
    Symbol(SmolStr),
}

impl ObjectId {
    /// The UUID, if it is one.
    pub fn uuid(&self) -> Option<EntryUuid> {
        match self {
            Self::Uuid(uuid) => Some(*uuid),
            Self::Symbol(_) => None,
        }
    }
}

impl From<&str> for ObjectId {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Symbol(text.trim().into()), Self::Uuid)
    }
}

impl From<SmolStr> for ObjectId {
    fn from(text: SmolStr) -> Self {
        Self::from(text.as_str())
    }
}

impl From<EntryUuid> for ObjectId {
    fn from(uuid: EntryUuid) -> Self {
        Self::Uuid(uuid)
    }
}

impl From<ObjectId> for SmolStr {
    fn from(id: ObjectId) -> Self {
        match id {
            ObjectId::Uuid(uuid) => smol_str::format_smolstr!("{uuid}"),
            ObjectId::Symbol(symbol) => symbol,
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Symbol(symbol) => f.write_str(symbol),
        }
    }
}

/// availabilityStatus.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum Availability {
    /// May be used for patient care.
    Approved,
    /// Replaced or withdrawn.
    Deprecated,
}

impl Availability {
    /// By the last segment: a bare `Approved` and one with a wrong prefix occur.
    pub fn from_wire(text: &str) -> Option<Self> {
        match last_segment(text) {
            "Approved" => Some(Self::Approved),
            "Deprecated" => Some(Self::Deprecated),
            _ => None,
        }
    }

    /// The literal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => literals::APPROVED,
            Self::Deprecated => literals::DEPRECATED,
        }
    }
}

/// Whether the bytes exist or are made when they are asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum DocumentKind {
    /// A document.
    Stable,
    /// A promise of one.
    OnDemand,
}

impl DocumentKind {
    /// From `@objectType`.
    pub fn from_wire(text: &str) -> Option<Self> {
        let text = text.trim();
        match text {
            _ if text.eq_ignore_ascii_case(literals::STABLE_DOCUMENT) => Some(Self::Stable),
            _ if text.eq_ignore_ascii_case(literals::ON_DEMAND_DOCUMENT) => Some(Self::OnDemand),
            _ => None,
        }
    }

    /// The literal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => literals::STABLE_DOCUMENT,
            Self::OnDemand => literals::ON_DEMAND_DOCUMENT,
        }
    }
}

/// documentAvailability: whether the bytes can be had now (metadata update supplement).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum DocumentAvailability {
    /// They can.
    Online,
    /// They cannot.
    Offline,
}

impl DocumentAvailability {
    /// By the last segment.
    pub fn from_wire(text: &str) -> Option<Self> {
        match last_segment(text) {
            "Online" => Some(Self::Online),
            "Offline" => Some(Self::Offline),
            _ => None,
        }
    }

    /// The literal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "urn:ihe:iti:2010:DocumentAvailability:Online",
            Self::Offline => "urn:ihe:iti:2010:DocumentAvailability:Offline",
        }
    }
}

/// A person: `id^Last^First^Middle^Suffix^Prefix^^^&OID&ISO`.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Xcn(SmolStr);

impl Xcn {
    /// A person of an id and a name.
    pub fn new(id: Option<&PatientId>, name: &crate::id::PersonName) -> Self {
        let given = |at: usize| name.given.get(at).map_or(String::new(), |text| escape(text));
        let mut text = format!(
            "{}^{}^{}^{}^{}^{}",
            id.map_or(String::new(), |id| escape(id.id())),
            escape(&name.family),
            given(0),
            given(1),
            escape(&name.suffix),
            escape(&name.prefix)
        );
        if let Some(id) = id {
            text.push_str("^^^");
            text.push_str(&id.authority().to_string());
        }
        Self(text.into())
    }

    /// The text as received; none if it is empty.
    pub fn from_wire(text: &str) -> Option<Self> {
        not_empty(text).map(Self)
    }

    /// The text as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Component 1.
    pub fn id(&self) -> String {
        component(&self.0, 1)
    }

    /// Component 2.
    pub fn family(&self) -> String {
        component(&self.0, 2)
    }

    /// Component 3.
    pub fn given(&self) -> String {
        component(&self.0, 3)
    }

    /// The name.
    pub fn name(&self) -> crate::id::PersonName {
        let given = [self.given(), component(&self.0, 4)];
        crate::id::PersonName {
            family: self.family().into(),
            given: given.into_iter().filter(|given| !given.is_empty()).map(SmolStr::from).collect(),
            suffix: component(&self.0, 5).into(),
            prefix: component(&self.0, 6).into(),
            ..crate::id::PersonName::default()
        }
    }

    /// The id with its authority, if it has one.
    pub fn identifier(&self) -> Option<PatientId> {
        let authority = component(&self.0, 9);
        PatientId::from_cx(&smol_str::format_smolstr!("{}^^^{authority}", self.id())).ok()
    }

    /// Has an id or a last name, as the framework wants.
    pub fn is_well_formed(&self) -> bool {
        !(self.id().is_empty() && self.family().is_empty())
    }
}

/// An organisation: `Name^^^^^^^^^id`, `Name^^^^^&OID&ISO^^^^id`.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Xon(SmolStr);

impl Xon {
    /// An organisation of a name and an OID.
    pub fn new(name: &str, oid: Option<&Oid>) -> Self {
        let name = escape(name);
        Self(oid.map_or_else(|| SmolStr::from(&name), |oid| smol_str::format_smolstr!("{name}^^^^^^^^^{oid}")))
    }

    /// The text as received; none if it is empty.
    pub fn from_wire(text: &str) -> Option<Self> {
        not_empty(text).map(Self)
    }

    /// The text as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Component 1.
    pub fn name(&self) -> String {
        component(&self.0, 1)
    }

    /// Component 10.
    pub fn id(&self) -> String {
        component(&self.0, 10)
    }
}

/// A telecommunication address: `^PRN^PH^^1^555^1234567`, `^^Internet^someone@example.org`.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Xtn(SmolStr);

impl Xtn {
    /// An e-mail address.
    pub fn email(address: &str) -> Self {
        Self(smol_str::format_smolstr!("^^Internet^{}", escape(address)))
    }

    /// The text as received; none if it is empty.
    pub fn from_wire(text: &str) -> Option<Self> {
        not_empty(text).map(Self)
    }

    /// The text as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Component 4, the e-mail address.
    pub fn address(&self) -> String {
        component(&self.0, 4)
    }
}

/// A patient's identifier at a source, `id^^^&authority&ISO`. The authority is the source's own affair and often no
/// valid OID, so the text is kept.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Cx(SmolStr);

impl Cx {
    /// The text as received, which has an id and an authority.
    pub fn from_wire(text: &str) -> Option<Self> {
        let cx = Self(not_empty(text)?);
        let authority = component(&cx.0, 4);
        (!component(&cx.0, 1).is_empty() && authority.contains(|c| c != '&')).then_some(cx)
    }

    /// The text as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identifier, if its authority is a valid one.
    pub fn patient_id(&self) -> Option<PatientId> {
        PatientId::from_cx(&self.0).ok()
    }
}

impl From<&PatientId> for Cx {
    fn from(id: &PatientId) -> Self {
        Self(id.to_cx().into())
    }
}

/// Who wrote a document or made a submission.
#[derive(Clone, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Author {
    /// authorPerson
    pub person: Option<Xcn>,
    /// authorInstitution
    pub institutions: Vec<Xon>,
    /// authorRole: text or `Code^^^&OID&ISO`.
    pub roles: Vec<SmolStr>,
    /// authorSpecialty: text or `Code^^^&OID&ISO`.
    pub specialties: Vec<SmolStr>,
    /// authorTelecommunication
    pub telecoms: Vec<Xtn>,
}

/// A reference to another object, in CXi form: `id^^^&OID&ISO^type` (ITI TF-3: 4.2.3.2.28).
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct ReferenceId(SmolStr);

impl ReferenceId {
    /// The text as received, which has an id and a type. A sixth component (assigning facility) is allowed.
    pub fn from_wire(text: &str) -> Option<Self> {
        let reference = Self(not_empty(text)?);
        (!reference.id().is_empty() && !reference.kind().is_empty()).then_some(reference)
    }

    /// The text as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Component 1.
    pub fn id(&self) -> String {
        component(&self.0, 1)
    }

    /// Component 5, a URN: accession, order, referral, unique id, workflow instance, encounter, study.
    pub fn kind(&self) -> String {
        component(&self.0, 5)
    }
}

/// sourcePatientInfo: fields of a PID segment, `PID-5|Last^First`.
#[derive(Clone, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct SourcePatientInfo(Vec<SmolStr>);

impl SourcePatientInfo {
    /// The values as received.
    pub fn from_wire(values: Vec<SmolStr>) -> Self {
        Self(values)
    }

    /// The values as received.
    pub fn values(&self) -> &[SmolStr] {
        &self.0
    }

    /// Nothing told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of a field; repetitions by `~` in one value count too.
    pub fn field(&self, number: u8) -> impl Iterator<Item = &str> {
        let prefix = format!("PID-{number}");
        self.0
            .iter()
            .filter_map(move |value| value.split_once('|').filter(|(name, _)| name.trim() == prefix))
            .flat_map(|(_, field)| field.split('~'))
    }
}

/// A component (counted from 1), with HL7 escape sequences resolved.
pub fn component(text: &str, number: usize) -> String {
    unescape(text.split('^').nth(number - 1).unwrap_or_default())
}

/// A component's text with the characters that HL7 uses itself escaped.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\E\\"),
            '|' => out.push_str("\\F\\"),
            '^' => out.push_str("\\S\\"),
            '~' => out.push_str("\\R\\"),
            '&' => out.push_str("\\T\\"),
            c => out.push(c),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.trim();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (plain, length) = match rest.get(at..at + 3) {
            Some("\\F\\") => ("|", 3),
            Some("\\S\\") => ("^", 3),
            Some("\\R\\") => ("~", 3),
            Some("\\T\\") => ("&", 3),
            Some("\\E\\") => ("\\", 3),
            _ => ("\\", 1),
        };
        out.push_str(plain);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

fn not_empty(text: &str) -> Option<SmolStr> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(SmolStr::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PersonName;

    #[test]
    fn parts_of_names_are_read_with_their_escapes() {
        let person = Xcn::from_wire("P-1^O\\S\\Hara^Kim^^^Dr^^^&2.999.1&ISO").unwrap();
        assert_eq!((person.id(), person.family(), person.given()), ("P-1".into(), "O^Hara".into(), "Kim".into()));
        let clinic = Xon::from_wire("Salt \\T\\ Pepper Clinic^^^^^^^^^2.999.1.6").unwrap();
        assert_eq!((clinic.name(), clinic.id()), ("Salt & Pepper Clinic".into(), "2.999.1.6".into()));
        assert!(!Xcn::from_wire("^^Kim").unwrap().is_well_formed());
        assert_eq!(Xcn::new(None, &PersonName::new("O^Hara", &["Kim"])).family(), "O^Hara");
        assert_eq!(Xtn::from_wire("^^Internet^a@example.org").unwrap().address(), "a@example.org");
    }

    #[test]
    fn references_need_an_id_and_a_type() {
        let kind = "urn:ihe:iti:xds:2013:accession";
        for (text, accepted) in [
            (format!("A1^^^&2.999.1&ISO^{kind}"), true),
            (format!("A1^^^&2.999.1&ISO^{kind}^&2.999.2&ISO"), true),
            ("A1^^^&2.999.1&ISO".to_owned(), false),
            (format!("^^^&2.999.1&ISO^{kind}"), false),
            (String::new(), false),
        ] {
            assert_eq!(ReferenceId::from_wire(&text).is_some(), accepted, "{text:?}");
        }
    }

    #[test]
    fn patient_fields_repeat_by_value_and_by_tilde() {
        let info = SourcePatientInfo::from_wire(vec!["PID-3|a~b".into(), "PID-3|c".into(), "PID-33|d".into()]);
        assert_eq!(info.field(3).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn statuses_are_compared_by_their_end() {
        for text in [literals::APPROVED, "Approved", "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Approved"] {
            assert_eq!(Availability::from_wire(text), Some(Availability::Approved), "{text}");
        }
        assert_eq!(Availability::from_wire("Submitted"), None);
    }

    #[test]
    fn debug_shows_no_name() {
        let author = Author { person: Xcn::from_wire("^Canary^Tweety"), ..Author::default() };
        let info = SourcePatientInfo::from_wire(vec!["PID-5|Canary^Tweety".into()]);
        assert!(!format!("{author:?} {:?} {info:?}", author.person).contains("Canary"));
    }
}
