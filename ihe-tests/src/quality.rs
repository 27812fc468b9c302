//! What the match quality measurements share: records as rows of a file, and which of their pairs count.

pub mod town;

use std::collections::BTreeSet;

use causeway::id::patient::TelecomSystem;
use causeway::id::{Address, AssigningAuthority, Demographics, Dtm, Gender, PatientId, PersonName, Telecom};
use causeway::mpi::Profile;
use causeway::mpi::normalize::SSN_OID;
use serde::{Deserialize, Serialize};

/// A record. What is not known is empty.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Row {
    /// Its name.
    pub id: String,
    /// Who says it.
    pub source: String,
    /// The person whom it is of: the truth, which no matcher is shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub person: String,
    /// Family name.
    pub family: String,
    /// Given name.
    pub given: String,
    /// Other given names.
    pub middle: String,
    /// Jr, Sr.
    pub suffix: String,
    /// YYYYMMDD or YYYY-MM-DD.
    pub birth: String,
    /// F, M.
    pub gender: String,
    /// Street address.
    pub line: String,
    /// City.
    pub city: String,
    /// Postal code.
    pub zip: String,
    /// Telephone.
    pub phone: String,
    /// E-mail.
    pub email: String,
    /// Social security number.
    pub ssn: String,
    /// Place in the order of a multiple birth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_order: Option<u8>,
}

impl Row {
    /// As a source would tell it.
    pub fn demographics(&self) -> Demographics {
        let given: Vec<&str> =
            [self.given.as_str(), &self.middle].into_iter().filter(|name| !name.is_empty()).collect();
        let name = PersonName { suffix: self.suffix.as_str().into(), ..PersonName::new(&self.family, &given) };
        let address = Address {
            lines: if self.line.is_empty() { Vec::new() } else { vec![self.line.as_str().into()] },
            city: self.city.as_str().into(),
            postal_code: self.zip.as_str().into(),
            ..Address::default()
        };
        let telecom = |system, value: &str| Telecom { system, value: value.into(), usage: "".into() };
        let mut telecoms = Vec::new();
        if !self.phone.is_empty() {
            telecoms.push(telecom(TelecomSystem::Phone, &self.phone));
        }
        if !self.email.is_empty() {
            telecoms.push(telecom(TelecomSystem::Email, &self.email));
        }
        let ssn = AssigningAuthority::new(SSN_OID, "ISO").ok();
        Demographics {
            names: if name.is_empty() { Vec::new() } else { vec![name] },
            birth: Dtm::lenient(&self.birth).ok(),
            gender: Gender::from_wire(&self.gender),
            addresses: if address.is_empty() { Vec::new() } else { vec![address] },
            telecoms,
            other_ids: ssn.and_then(|ssn| PatientId::new(&self.ssn, ssn).ok()).into_iter().collect(),
            multiple_birth: self
                .birth_order
                .map(|order| causeway::id::patient::MultipleBirth { multiple: true, order: Some(order) }),
            ..Demographics::default()
        }
    }

    /// In comparable form.
    pub fn profile(&self) -> Profile {
        Profile::of(&self.demographics())
    }
}

/// The number of the source of each row.
pub fn sources(rows: &[Row]) -> Vec<usize> {
    let names: BTreeSet<&str> = rows.iter().map(|row| row.source.as_str()).collect();
    rows.iter().map(|row| names.iter().position(|name| *name == row.source).unwrap_or(0)).collect()
}
