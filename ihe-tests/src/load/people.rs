//! Invented patients, as many as wanted: each is a function of its number, so that a query can ask for any of them.
//!
//! What matters for matching is how often values repeat. A fifth of the family names are common ones, the others spread
//! over twenty thousand; given names repeat much more; one in three patients tells a social security number.

use causeway::id::patient::TelecomSystem;
use causeway::id::{Address, AssigningAuthority, Demographics, Gender, PatientId, PersonName, Telecom};

use super::Failure;

/// The domain of the gateway's patients.
pub const DOMAIN: &str = "2.999.30.1";
/// Its name in HL7 v2.
pub const NAMESPACE: &str = "BENCH";

const COMMON_FAMILIES: [&str; 40] = [
    "Smith",
    "Johnson",
    "Williams",
    "Brown",
    "Jones",
    "Garcia",
    "Miller",
    "Davis",
    "Rodriguez",
    "Martinez",
    "Hernandez",
    "Lopez",
    "Gonzalez",
    "Wilson",
    "Anderson",
    "Thomas",
    "Taylor",
    "Moore",
    "Jackson",
    "Martin",
    "Lee",
    "Perez",
    "Thompson",
    "White",
    "Harris",
    "Sanchez",
    "Clark",
    "Ramirez",
    "Lewis",
    "Robinson",
    "Walker",
    "Young",
    "Allen",
    "King",
    "Wright",
    "Scott",
    "Torres",
    "Nguyen",
    "Hill",
    "Flores",
];
const FAMILY_STARTS: [&str; 60] = [
    "Al", "An", "Ar", "Ash", "Bal", "Bar", "Ben", "Ber", "Black", "Bram", "Bur", "Cal", "Car", "Cham", "Chan", "Col",
    "Cor", "Dal", "Dan", "Del", "Don", "Dur", "Eas", "El", "Fair", "Fer", "Fin", "Gar", "Gil", "Gran", "Hal", "Har",
    "Hen", "Hol", "Hum", "Kel", "Ken", "Kir", "Lan", "Lin", "Mal", "Mar", "Mon", "Nor", "Oak", "Pal", "Per", "Ral",
    "Ros", "San", "Sel", "Stan", "Tal", "Tor", "Val", "Ver", "Wal", "Wes", "Win", "Yar",
];
const FAMILY_MIDDLES: [&str; 13] = ["", "a", "der", "e", "en", "i", "ing", "ling", "man", "o", "ri", "ster", "ver"];
const FAMILY_ENDS: [&str; 28] = [
    "berg", "bridge", "brook", "bury", "by", "dale", "den", "field", "ford", "gate", "ham", "hurst", "land", "ley",
    "low", "man", "mont", "more", "ney", "sen", "shaw", "ski", "son", "stein", "ton", "wick", "wood", "worth",
];
const WOMEN: [&str; 30] = [
    "Mary",
    "Patricia",
    "Jennifer",
    "Linda",
    "Elizabeth",
    "Barbara",
    "Susan",
    "Jessica",
    "Karen",
    "Sarah",
    "Lisa",
    "Nancy",
    "Sandra",
    "Ashley",
    "Emily",
    "Kimberly",
    "Margaret",
    "Donna",
    "Michelle",
    "Carol",
    "Amanda",
    "Melissa",
    "Deborah",
    "Stephanie",
    "Rebecca",
    "Laura",
    "Sharon",
    "Cynthia",
    "Maria",
    "Olivia",
];
const MEN: [&str; 30] = [
    "James",
    "Michael",
    "Robert",
    "John",
    "David",
    "William",
    "Richard",
    "Joseph",
    "Thomas",
    "Christopher",
    "Charles",
    "Daniel",
    "Matthew",
    "Anthony",
    "Mark",
    "Steven",
    "Donald",
    "Andrew",
    "Joshua",
    "Paul",
    "Kenneth",
    "Kevin",
    "Brian",
    "Timothy",
    "Ronald",
    "Jason",
    "George",
    "Edward",
    "Jose",
    "Liam",
];
const GIVEN_STARTS: [&str; 24] = [
    "Ad", "Al", "Bel", "Cal", "Dar", "El", "Em", "Fel", "Gen", "Hal", "Is", "Jo", "Kal", "Len", "Mar", "Nor", "Or",
    "Pen", "Ros", "Sel", "Tam", "Ver", "Wil", "Zel",
];
const GIVEN_ENDS: [&str; 16] =
    ["a", "an", "ander", "da", "den", "dra", "ena", "ette", "ia", "ian", "ina", "ine", "is", "la", "lyn", "on"];
const STREETS: [&str; 16] = [
    "Oak", "Maple", "Cedar", "Pine", "Elm", "Main", "Park", "Lake", "Hill", "Church", "River", "Mill", "Spring",
    "Ridge", "Walnut", "Second",
];
const KINDS: [&str; 6] = ["St", "Ave", "Rd", "Dr", "Ln", "Ct"];
const PLACES: [(&str, &str, u64); 12] = [
    ("Lakeside", "WI", 53_100),
    ("North Valley", "CA", 95_100),
    ("Fairhaven", "MA", 2_700),
    ("Cedar Bluff", "IA", 52_400),
    ("Port Alder", "WA", 98_300),
    ("Mill Creek", "PA", 16_400),
    ("Granite Falls", "MN", 56_200),
    ("Sandy Point", "FL", 33_900),
    ("Red Mesa", "AZ", 86_500),
    ("Bright Water", "TX", 77_500),
    ("Harbor Springs", "MI", 49_700),
    ("Old Ferry", "NY", 12_500),
];

/// A generator of numbers (SplitMix64): the same for each run.
pub struct Dice(pub u64);

impl Dice {
    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// One of some values.
    pub fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        let at = self.below(values.len() as u64);
        values[usize::try_from(at).unwrap_or(0)]
    }

    /// One of some values, the first more often than the last: the square of an even number leans to 0.
    pub fn ranked<T: Copy>(&mut self, values: &[T]) -> T {
        let (one, two) = (self.below(1 << 16), self.below(1 << 16));
        let at = (one * two * values.len() as u64) >> 32;
        values[usize::try_from(at).unwrap_or(0)]
    }
}

/// The patient of a number.
pub fn demographics(number: u64) -> Demographics {
    let mut dice = Dice(number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
    let family = family(&mut dice);
    let gender = if dice.below(2) == 0 { Gender::Female } else { Gender::Male };
    let given = given(&mut dice, gender);
    let initial = char::from(b'A' + u8::try_from(dice.below(26)).unwrap_or(0)).to_string();
    let given: Vec<&str> = if dice.below(10) < 6 { vec![&given, &initial] } else { vec![&given] };
    let (year, month, day) = (1930 + dice.below(95), 1 + dice.below(12), 1 + dice.below(28));
    let address = address(&mut dice);
    let phone = format!("555{:07}", dice.below(10_000_000));
    let telecom = Telecom { system: TelecomSystem::Phone, value: phone.into(), usage: "PRN".into() };
    Demographics {
        names: vec![PersonName::new(&family, &given)],
        gender: Some(gender),
        birth: format!("{year}{month:02}{day:02}").parse().ok(),
        addresses: vec![address],
        telecoms: if dice.below(10) < 8 { vec![telecom] } else { Vec::new() },
        ..Demographics::default()
    }
}

/// A family name: one in five is a common one.
pub fn family(dice: &mut Dice) -> String {
    match dice.below(5) {
        0 => dice.ranked(&COMMON_FAMILIES).to_owned(),
        _ => [dice.one_of(&FAMILY_STARTS), dice.one_of(&FAMILY_MIDDLES), dice.one_of(&FAMILY_ENDS)].concat(),
    }
}

/// A given name: three in five are common ones.
pub fn given(dice: &mut Dice, gender: Gender) -> String {
    let common = if gender == Gender::Female { &WOMEN } else { &MEN };
    match dice.below(5) {
        0..3 => dice.ranked(common).to_owned(),
        _ => [dice.one_of(&GIVEN_STARTS), dice.one_of(&GIVEN_ENDS)].concat(),
    }
}

/// A home.
pub fn address(dice: &mut Dice) -> Address {
    let (city, state, postal) = dice.one_of(&PLACES);
    let line = format!("{} {} {}", 1 + dice.below(9_800), dice.one_of(&STREETS), dice.one_of(&KINDS));
    Address {
        lines: vec![line.into()],
        city: city.into(),
        state: state.into(),
        postal_code: format!("{:05}", postal + dice.below(90)).into(),
        country: "USA".into(),
        ..Address::default()
    }
}

/// The social security number of one patient in three: no two have the same, and none is one that could be issued.
pub fn social_security_number(number: u64) -> Option<String> {
    number.is_multiple_of(3).then(|| format!("9{:08}", number % 100_000_000))
}

/// The gateway's identifier of a patient.
pub fn patient_id(number: u64) -> Result<PatientId, Failure> {
    Ok(PatientId::new(&format!("P{number}"), AssigningAuthority::new(DOMAIN, "ISO")?)?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_patient_is_the_same_each_time() {
        assert_eq!(demographics(7), demographics(7));
        assert_ne!(demographics(7), demographics(8));
    }

    #[test]
    fn names_repeat_as_they_do_among_people() {
        let mut families: HashMap<String, u32> = HashMap::new();
        for number in 0..20_000 {
            *families.entry(demographics(number).names[0].family.to_string()).or_default() += 1;
        }
        let most = families.values().max().copied().unwrap_or(0);
        assert!((100..1_000).contains(&most), "the most common of 20,000 has {most}");
        assert!(families.len() > 8_000, "{} family names", families.len());
    }
}
