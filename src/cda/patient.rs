//! Whether the patient that a document names is the patient it was filed under.

use super::Header;
use crate::id::{Demographics, Dtm, Gender, PatientId, PersonName};

/// What comparing two descriptions of a patient gave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Agreement {
    /// One person: a common identifier and nothing against it, or full name, date of birth and gender alike.
    Same,
    /// Two persons, by these fields.
    Different(Vec<Field>),
    /// Too little on one side to say either.
    Unknown,
}

/// What can differ.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Field {
    /// Identifiers of one domain of which none is common.
    Id,
    /// The date of birth, as far as both know it.
    Birth,
    /// Administrative gender, of those told as female or male.
    Gender,
    /// Family name, of all names on either side.
    Family,
    /// First given name, of all names on either side.
    Given,
}

impl Header {
    /// Compares the document's patient with identifiers and demographics told elsewhere, for instance in metadata.
    ///
    /// One difference in a name or in gender decides nothing: names change and are misspelt. A date of birth does, and
    /// so do two differences. A document about several patients agrees with nobody for certain.
    pub fn same_patient(&self, ids: &[PatientId], told: &Demographics) -> Agreement {
        if self.patients > 1 {
            return Agreement::Unknown;
        }
        let facts = [
            (Field::Id, same_id(&self.patient_ids, ids)),
            (Field::Birth, same_birth(self.patient.birth.as_ref(), told.birth.as_ref())),
            (Field::Gender, same_gender(self.patient.gender, told.gender)),
            (Field::Family, same_part(&self.patient, told, family)),
            (Field::Given, same_part(&self.patient, told, given)),
        ];
        let of = |field| facts.iter().find(|(one, _)| *one == field).and_then(|(_, same)| *same);
        let differing: Vec<Field> =
            facts.iter().filter(|(_, same)| *same == Some(false)).map(|(field, _)| *field).collect();
        let decisive = differing.contains(&Field::Birth) || differing.len() >= 2;
        let named = [Field::Birth, Field::Gender, Field::Family, Field::Given].iter().all(|one| of(*one) == Some(true));
        match of(Field::Id) {
            _ if decisive => Agreement::Different(differing),
            Some(true) => Agreement::Same,
            // The same person under two identifiers of one domain looks just like two persons under one name.
            Some(false) => {
                if named {
                    Agreement::Unknown
                } else {
                    Agreement::Different(differing)
                }
            }
            None if named => Agreement::Same,
            None => Agreement::Unknown,
        }
    }
}

/// None: the two sides have no domain in common.
fn same_id(ours: &[PatientId], theirs: &[PatientId]) -> Option<bool> {
    if ours.iter().any(|id| theirs.contains(id)) {
        return Some(true);
    }
    let common = ours.iter().any(|id| theirs.iter().any(|other| other.authority() == id.authority()));
    common.then_some(false)
}

/// Dates agree when both are whole days and equal; they disagree when they differ in what both know.
fn same_birth(ours: Option<&Dtm>, theirs: Option<&Dtm>) -> Option<bool> {
    let (ours, theirs) = (ours?.date(), theirs?.date());
    let known = ours.len().min(theirs.len());
    match ours[..known] == theirs[..known] {
        false => Some(false),
        true => (known == 8).then_some(true),
    }
}

fn same_gender(ours: Option<Gender>, theirs: Option<Gender>) -> Option<bool> {
    match (ours?, theirs?) {
        (Gender::Female, Gender::Male) | (Gender::Male, Gender::Female) => Some(false),
        (Gender::Unknown, _) | (_, Gender::Unknown) => None,
        (one, other) => (one == other).then_some(true),
    }
}

fn same_part(ours: &Demographics, theirs: &Demographics, part: fn(&PersonName) -> String) -> Option<bool> {
    let all = |person: &Demographics| -> Vec<String> {
        person.names.iter().map(part).filter(|text| !text.is_empty()).collect()
    };
    let (ours, theirs) = (all(ours), all(theirs));
    if ours.is_empty() || theirs.is_empty() {
        return None;
    }
    if ours.iter().any(|one| theirs.contains(one)) {
        return Some(true);
    }
    // "Bob" and "Robert" differ, "J" and "John" may not; a compound name may have lost a part.
    let contains =
        |one: &String| theirs.iter().any(|other| one.starts_with(other.as_str()) || other.starts_with(one.as_str()));
    if ours.iter().any(contains) { None } else { Some(false) }
}

fn family(name: &PersonName) -> String {
    fold(&name.family)
}

fn given(name: &PersonName) -> String {
    name.given.first().map(|given| fold(given)).unwrap_or_default()
}

fn fold(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
