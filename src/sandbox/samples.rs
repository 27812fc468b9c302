//! Invented people and their documents: what the sandbox's communities know. No name, identifier or finding is of a
//! real person; all OIDs are under 2.999, the arc for examples.

pub mod ccda;
mod pdf;

use std::fmt;

use crate::id::patient::{MultipleBirth, TelecomSystem};
use crate::id::{Address, Code, Demographics, Dtm, Gender, PersonName, Telecom};

pub use ccda::{DocumentKind, clinical_document};
pub use pdf::letter;

/// A community of the sandbox or a member of its hub.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Community {
    /// The hospital whose gateway this is.
    Hospital,
    /// A responder of another network.
    Valley,
    /// A member of the hub.
    Harbor,
    /// Another member of the hub.
    Summit,
}

impl Community {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hospital, Self::Valley, Self::Harbor, Self::Summit];

    /// The short name in configuration and on the console.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hospital => "hospital",
            Self::Valley => "valley",
            Self::Harbor => "harbor",
            Self::Summit => "summit",
        }
    }

    /// The home community id, without `urn:oid:`.
    pub fn oid(self) -> &'static str {
        match self {
            Self::Hospital => "2.999.1.1",
            Self::Valley => "2.999.1.2",
            Self::Harbor => "2.999.1.3",
            Self::Summit => "2.999.1.4",
        }
    }

    /// The assigning authority of its patient ids.
    pub fn patient_domain(self) -> &'static str {
        match self {
            Self::Hospital => "2.999.1.1.1",
            Self::Valley => "2.999.1.2.1",
            Self::Harbor => "2.999.1.3.1",
            Self::Summit => "2.999.1.4.1",
        }
    }

    /// The facility, as it signs its documents.
    pub fn facility(self) -> &'static str {
        match self {
            Self::Hospital => "Causeway General Hospital",
            Self::Valley => "Green Valley Clinic",
            Self::Harbor => "Harbor Medical Center",
            Self::Summit => "Summit Family Practice",
        }
    }
}

/// One person as one or more communities know them. `Debug` prints no value, as for any patient.
#[derive(Clone)]
pub struct SamplePatient {
    /// What this person is a sample of.
    pub story: &'static str,
    /// The records: one for each community that knows the person.
    pub records: Vec<SampleRecord>,
}

/// What one community knows of a person.
#[derive(Clone)]
pub struct SampleRecord {
    /// Where.
    pub community: Community,
    /// The local patient id, in [`Community::patient_domain`].
    pub local_id: &'static str,
    /// As that community has it, which differs a little from the others.
    pub demographics: Demographics,
}

impl SamplePatient {
    /// The record of a community, if it knows the person.
    pub fn at(&self, community: Community) -> Option<&SampleRecord> {
        self.records.iter().find(|record| record.community == community)
    }
}

impl fmt::Debug for SamplePatient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamplePatient").field("story", &self.story).field("records", &self.records).finish()
    }
}

impl fmt::Debug for SampleRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SampleRecord({}, …)", self.community.name())
    }
}

/// What a sample starts from.
struct Person {
    family: &'static str,
    given: &'static [&'static str],
    gender: Gender,
    birth: &'static str,
    street: &'static str,
    city: &'static str,
    postal_code: &'static str,
    phone: &'static str,
}

impl Person {
    fn demographics(&self) -> Demographics {
        let name = PersonName { kind: "L".into(), ..PersonName::new(self.family, self.given) };
        Demographics {
            names: vec![name],
            gender: Some(self.gender),
            birth: date(self.birth),
            addresses: vec![address(self.street, self.city, self.postal_code)],
            telecoms: vec![Telecom { system: TelecomSystem::Phone, value: self.phone.into(), usage: "PRN".into() }],
            ..Demographics::default()
        }
    }
}

fn date(digits: &str) -> Option<Dtm> {
    digits.parse().ok()
}

fn address(street: &str, city: &str, postal_code: &str) -> Address {
    Address {
        lines: vec![street.into()],
        city: city.into(),
        state: "OR".into(),
        postal_code: postal_code.into(),
        country: "US".into(),
        kind: "H".into(),
        ..Address::default()
    }
}

/// A coded finding as the documents list it.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) code: Code,
    pub(crate) detail: &'static str,
}

type Change = fn(&mut Demographics);

/// Nothing differs.
const SAME: Change = |_| {};

/// The people of the sandbox. Each has a story that a demonstration or a test can tell.
pub fn patients() -> Vec<SamplePatient> {
    use Community::{Harbor, Hospital, Summit, Valley};
    use Gender::{Female, Male};
    let person = |family, given, gender, birth, street, city, postal_code, phone| Person {
        family,
        given,
        gender,
        birth,
        street,
        city,
        postal_code,
        phone,
    };
    let sample = |story, person: Person, known: &[(Community, &'static str, Change)]| SamplePatient {
        story,
        records: known
            .iter()
            .map(|&(community, local_id, change)| {
                let mut demographics = person.demographics();
                change(&mut demographics);
                SampleRecord { community, local_id, demographics }
            })
            .collect(),
    };
    let ada = person(
        "Lindqvist",
        &["Adaline", "June"],
        Female,
        "19840317",
        "12 Alder Court",
        "Fernhill",
        "97001",
        "+1-555-0100-101",
    );
    let ben =
        person("Okonjo", &["Bennett"], Male, "19710924", "48 Quarry Road", "Fernhill", "97001", "+1-555-0100-102");
    let cleo = person(
        "Marchetti",
        &["Cleo", "Rose"],
        Female,
        "19921105",
        "7 Mill Lane",
        "Otterford",
        "97014",
        "+1-555-0100-103",
    );
    let dov = person(
        "Halvorsen",
        &["Dov", "Elias"],
        Male,
        "19590704",
        "310 Ridge Avenue",
        "Otterford",
        "97014",
        "+1-555-0100-104",
    );
    let edie =
        person("Trevanion", &["Edith"], Female, "19880209", "95 Willow Street", "Larkspur", "97022", "+1-555-0100-105");
    let finn = person(
        "Abernathy",
        &["Finnegan", "Cole"],
        Male,
        "20030512",
        "21 Orchard Way",
        "Larkspur",
        "97022",
        "+1-555-0100-106",
    );
    let gia =
        person("Vantongeren", &["Gia"], Female, "19651230", "6 Harbor View", "Saltmarsh", "97033", "+1-555-0100-107");
    let hal = person(
        "Pemberly",
        &["Harold", "Amos"],
        Male,
        "19470118",
        "1400 Summit Drive",
        "Highcrest",
        "97044",
        "+1-555-0100-108",
    );
    let twin = |given| {
        person("Castellane", given, Male, "20150621", "33 Poplar Close", "Fernhill", "97001", "+1-555-0100-109")
    };
    let juno = person(
        "Rutherglen",
        &["Juno", "Pearl"],
        Female,
        "19790830",
        "18 Cobble Row",
        "Saltmarsh",
        "97033",
        "+1-555-0100-111",
    );
    let kit = person(
        "O'Dwyer-Nuñez",
        &["Kit"],
        Gender::Other,
        "19960606",
        "2 Lantern Hill",
        "Highcrest",
        "97044",
        "+1-555-0100-112",
    );
    vec![
        sample(
            "the same everywhere",
            ada,
            &[(Hospital, "H1001", SAME), (Valley, "V2001", SAME), (Harbor, "HB301", SAME), (Summit, "SM401", SAME)],
        ),
        sample(
            "goes by a nickname elsewhere",
            ben,
            &[(Hospital, "H1002", SAME), (Valley, "V2002", |d| d.names = vec![PersonName::new("Okonjo", &["Ben"])])],
        ),
        sample(
            "known by her maiden name elsewhere",
            cleo,
            &[
                (Hospital, "H1003", SAME),
                (Valley, "V2003", |d| d.names = vec![PersonName::new("Fairweather", &["Cleo", "Rose"])]),
            ],
        ),
        sample(
            "day and month of birth swapped at a member",
            dov,
            &[(Hospital, "H1004", SAME), (Harbor, "HB304", |d| d.birth = date("19590407"))],
        ),
        sample(
            "has moved",
            edie,
            &[
                (Hospital, "H1005", SAME),
                (Summit, "SM405", |d| d.addresses = vec![address("4 Old Post Road", "Highcrest", "97044")]),
            ],
        ),
        sample("known to no other community", finn, &[(Hospital, "H1006", SAME)]),
        sample("known to one member of the hub only", gia, &[(Harbor, "HB307", SAME)]),
        sample(
            "has died",
            hal,
            &[(Hospital, "H1008", SAME), (Summit, "SM408", |d| (d.deceased, d.death) = (Some(true), date("20250311")))],
        ),
        sample(
            "first of twins",
            twin(&["Ivo"]),
            &[(Hospital, "H1009", |d| d.multiple_birth = born(1)), (Valley, "V2009", SAME)],
        ),
        sample(
            "second of twins",
            twin(&["Ira"]),
            &[(Hospital, "H1010", |d| d.multiple_birth = born(2)), (Valley, "V2010", SAME)],
        ),
        sample(
            "a member dropped the middle name and telephone",
            juno,
            &[
                (Hospital, "H1011", SAME),
                (Harbor, "HB311", |d| {
                    d.names = vec![PersonName::new("Rutherglen", &["Juno"])];
                    d.telecoms.clear();
                }),
                (Summit, "SM411", SAME),
            ],
        ),
        sample(
            "letters and an apostrophe that systems lose",
            kit,
            &[
                (Hospital, "H1012", SAME),
                (Valley, "V2012", |d| d.names = vec![PersonName::new("ODwyer Nunez", &["Kit"])]),
            ],
        ),
    ]
}

fn born(order: u8) -> Option<MultipleBirth> {
    Some(MultipleBirth { multiple: true, order: Some(order) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_local_id_and_story_is_one_persons() {
        let patients = patients();
        assert_eq!(patients.len(), 12);
        let ids: HashSet<_> = patients.iter().flat_map(|p| &p.records).map(|r| (r.community, r.local_id)).collect();
        assert_eq!(ids.len(), patients.iter().map(|p| p.records.len()).sum::<usize>());
        assert_eq!(patients.iter().map(|p| p.story).collect::<HashSet<_>>().len(), 12);
        assert!(patients.iter().flat_map(|p| &p.records).all(|r| r.demographics.birth.is_some()));
    }

    #[test]
    fn each_community_knows_someone_and_one_person_only_the_hospital() {
        let patients = patients();
        for community in Community::ALL {
            assert!(patients.iter().any(|p| p.at(community).is_some()), "{}", community.name());
        }
        let alone = |community| patients.iter().any(|p| p.records.len() == 1 && p.at(community).is_some());
        assert!(alone(Community::Hospital) && alone(Community::Harbor));
    }

    #[test]
    fn debug_prints_nobody() {
        let text = format!("{:?}", patients());
        assert!(!text.contains("Lindqvist") && !text.contains("H1001"), "{text}");
    }
}
