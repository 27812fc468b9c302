//! What is known of a person. Every type here holds patient data: `Debug` prints no value.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::identifiers::PatientId;
use super::time::Dtm;

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

redacted!(Demographics, PersonName, Address, Telecom);

/// Demographics of one person, as one source told them. Absent means unknown.
#[derive(Clone, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Demographics {
    /// Names, the legal or most usual first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<PersonName>,
    /// Administrative gender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gender: Option<Gender>,
    /// Date (and sometimes time) of birth, as precise as it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth: Option<Dtm>,
    /// Addresses, the current home first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// Telephone numbers and e-mail addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub telecoms: Vec<Telecom>,
    /// Mother's maiden name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mothers_maiden_name: Option<PersonName>,
    /// Identifiers of the mother (PID-21), for newborns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mothers_ids: Vec<PatientId>,
    /// Identifiers that are not of a patient identifier domain of ours: social security number, driver's licence,
    /// national or member ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_ids: Vec<PatientId>,
    /// Patient account number (PID-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<PatientId>,
    /// Place of birth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_place: Option<SmolStr>,
    /// Born with siblings, and the place in the order of birth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple_birth: Option<MultipleBirth>,
    /// Date of death.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub death: Option<Dtm>,
    /// Known to be dead, whatever is known of the date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deceased: Option<bool>,
    /// HL7 table 0002 code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marital_status: Option<SmolStr>,
    /// Preferred language, RFC 5646.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<SmolStr>,
    /// Race code of the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub race: Option<SmolStr>,
    /// Ethnic group code of the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ethnicity: Option<SmolStr>,
    /// The identity is not reliable yet (PID-31), for instance a temporary trauma record.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub identity_unknown: bool,
}

/// Whether someone is a twin, and which.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct MultipleBirth {
    /// One of several.
    pub multiple: bool,
    /// 1 for the first born.
    pub order: Option<u8>,
}

/// A person's name.
#[derive(Clone, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PersonName {
    /// Family name.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub family: SmolStr,
    /// First given name, then the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<SmolStr>,
    /// `Jr`, `III`.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub suffix: SmolStr,
    /// `Dr`.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub prefix: SmolStr,
    /// HL7 table 0200 type code: `L` legal, `M` maiden, `A` alias, `D` display, `S` pseudonym; empty when not told.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub kind: SmolStr,
}

impl PersonName {
    /// A family name and given names.
    pub fn new(family: &str, given: &[&str]) -> Self {
        Self {
            family: family.trim().into(),
            given: given.iter().map(|g| g.trim()).filter(|g| !g.is_empty()).map(SmolStr::from).collect(),
            ..Self::default()
        }
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.family.is_empty() && self.given.is_empty()
    }
}

/// A postal address.
#[derive(Clone, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// Street address lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<SmolStr>,
    /// City.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub city: SmolStr,
    /// State or province.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub state: SmolStr,
    /// Postal code; text, because leading zeros count.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub postal_code: SmolStr,
    /// Country.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub country: SmolStr,
    /// County or parish.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub county: SmolStr,
    /// HL7 table 0190 type code: `H` home, `B` business, `BA` bad; empty when not told.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub kind: SmolStr,
}

impl Address {
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
            && [&self.city, &self.state, &self.postal_code, &self.country].iter().all(|part| part.is_empty())
    }
}

/// A telephone number or an e-mail address.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Telecom {
    /// What kind of address this is.
    pub system: TelecomSystem,
    /// The number or address, without a URI scheme.
    pub value: SmolStr,
    /// HL7 table 0201 use code: `PRN` home, `WPN` work, `NET`; empty when not told.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub usage: SmolStr,
}

/// The kinds of telecommunication address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum TelecomSystem {
    /// Voice, mobile included.
    Phone,
    /// Facsimile.
    Fax,
    /// E-mail.
    Email,
    /// Anything else that has a URI.
    Other,
}

/// Administrative gender.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Gender {
    /// HL7 v2 and v3 `F`.
    Female,
    /// HL7 v2 and v3 `M`.
    Male,
    /// Neither; v3 `UN`, v2 `O` or `A`.
    Other,
    /// Asked and not known; v2 `U`.
    Unknown,
}

impl Gender {
    /// From any code that partners send (v2 table 0001, v3 AdministrativeGender, FHIR, and the odd ones seen live).
    pub fn from_wire(code: &str) -> Option<Self> {
        Some(match code.trim().to_ascii_uppercase().as_str() {
            "F" | "FEMALE" => Self::Female,
            "M" | "MALE" => Self::Male,
            "UN" | "O" | "A" | "OTH" | "OTHER" | "FTM" | "MTF" => Self::Other,
            "U" | "UNK" | "UNKNOWN" | "N" => Self::Unknown,
            _ => return None,
        })
    }

    /// HL7 v3 AdministrativeGender (`2.16.840.1.113883.5.1`); none for unknown, which v3 leaves out.
    pub fn v3(self) -> Option<&'static str> {
        match self {
            Self::Female => Some("F"),
            Self::Male => Some("M"),
            Self::Other => Some("UN"),
            Self::Unknown => None,
        }
    }

    /// HL7 v2 table 0001.
    pub fn v2(self) -> &'static str {
        match self {
            Self::Female => "F",
            Self::Male => "M",
            Self::Other => "O",
            Self::Unknown => "U",
        }
    }

    /// FHIR `administrative-gender`.
    pub fn fhir(self) -> &'static str {
        match self {
            Self::Female => "female",
            Self::Male => "male",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_patient_data() {
        let person = Demographics { names: vec![PersonName::new("Canary", &["Tweety"])], ..Demographics::default() };
        let text = format!("{person:?} {:?}", person.names[0]);
        assert!(!text.contains("Canary") && !text.contains("Tweety"), "{text}");
    }

    #[test]
    fn gender_codes_of_live_partners_are_understood() {
        for (code, gender) in
            [("male", Gender::Male), ("UN", Gender::Other), ("FTM", Gender::Other), ("UNK", Gender::Unknown)]
        {
            assert_eq!(Gender::from_wire(code), Some(gender), "{code}");
        }
        assert_eq!(Gender::from_wire("X9"), None);
    }
}
