//! A population like that of the United States, for the benchmark of scale: each patient is a function of their number.
//!
//! What decides about matching among millions is how often values repeat. Family names of the 40 most common ones have
//! the shares that the census of 2010 found (Smith 0.83 %, eleven of a hundred together), the others spread over twenty
//! thousand; given names repeat more than among people. One in three lives with the one before under one name, address
//! and telephone; one in a hundred is the twin of the one before; one in sixty was born on the first of January, as
//! those are registered whose day of birth is not known. Seven in ten tell a social security number, one in two hundred
//! a made-up one. One in ten is known to a second source, with a name that is written otherwise.

use std::io::Write;

use causeway::id::Demographics;
use causeway::id::patient::MultipleBirth;

use super::{Failure, people};

/// The second source's domain.
pub const SECOND_DOMAIN: &str = "2.999.30.2";
/// Its name in HL7 v2.
pub const SECOND_NAMESPACE: &str = "CLINIC";

/// Of each 100,000 people, how many have the name.
const FAMILIES: [(&str, u64); 40] = [
    ("Smith", 828),
    ("Johnson", 656),
    ("Williams", 551),
    ("Brown", 487),
    ("Jones", 484),
    ("Garcia", 395),
    ("Miller", 394),
    ("Davis", 378),
    ("Rodriguez", 371),
    ("Martinez", 360),
    ("Hernandez", 353),
    ("Lopez", 297),
    ("Gonzalez", 286),
    ("Wilson", 273),
    ("Anderson", 266),
    ("Thomas", 256),
    ("Taylor", 255),
    ("Moore", 245),
    ("Jackson", 240),
    ("Martin", 238),
    ("Lee", 235),
    ("Perez", 231),
    ("Thompson", 225),
    ("White", 224),
    ("Harris", 212),
    ("Sanchez", 208),
    ("Clark", 191),
    ("Ramirez", 189),
    ("Lewis", 180),
    ("Robinson", 178),
    ("Walker", 177),
    ("Young", 164),
    ("Allen", 163),
    ("King", 158),
    ("Wright", 155),
    ("Scott", 149),
    ("Torres", 149),
    ("Nguyen", 148),
    ("Hill", 147),
    ("Flores", 145),
];

/// A number that looks random, of a patient and a purpose.
fn mixed(number: u64, purpose: u64) -> u64 {
    let mut mixed =
        number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A family name of the census, or none: then it is one of the many.
fn common_family(number: u64) -> Option<&'static str> {
    let mut at = mixed(number, 1) % 100_000;
    for (name, share) in FAMILIES {
        match at.checked_sub(share) {
            Some(rest) => at = rest,
            None => return Some(name),
        }
    }
    None
}

fn is_common(name: &str) -> bool {
    FAMILIES.iter().any(|(common, _)| *common == name)
}

/// The patient of a number.
pub fn demographics(number: u64) -> Demographics {
    let mut person = people::demographics(number);
    let family = match common_family(number) {
        Some(name) => name.into(),
        None => (1..)
            .map(|more: u64| people::demographics(number.wrapping_add(more << 40)).names[0].family.clone())
            .find(|name| !is_common(name))
            .unwrap_or_default(),
    };
    person.names[0].family = family;
    if mixed(number, 2).is_multiple_of(60)
        && let Some(birth) = &person.birth
    {
        person.birth = format!("{}0101", &birth.as_str()[..4]).parse().ok();
    }
    let twin = number % 100 == 1;
    if twin || number % 3 == 2 {
        let other = demographics(number - 1);
        person.names[0].family.clone_from(&other.names[0].family);
        person.addresses = other.addresses;
        person.telecoms = other.telecoms;
        if twin {
            person.birth = other.birth;
            person.multiple_birth = Some(MultipleBirth { multiple: true, order: Some(2) });
        }
    }
    person
}

/// The social security number that a patient tells: of areas that were never issued before 2011, or made up.
pub fn social_security_number(number: u64) -> Option<String> {
    match mixed(number, 3) % 200 {
        0 => Some("999-99-9999".into()),
        1..141 => Some(format!("8{number:08}")),
        _ => None,
    }
}

/// The patient of a population of so many whom a question of a number is about: far apart from one to the next, so that no
/// page is read twice by chance.
pub fn asked(number: u64, patients: u64) -> u64 {
    number.wrapping_mul(7_919_999) % patients.max(1)
}

/// Whether a second source knows a patient.
pub fn has_second(number: u64) -> bool {
    mixed(number, 4).is_multiple_of(10)
}

/// In which order a table has its patients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// By their numbers, as a registration gives them out.
    Numbers,
    /// In none, each time the same.
    None,
}

/// Writes the patients of the numbers below a count as a table that `causeway patients import` reads. Returns the rows.
pub fn write(out: &mut impl Write, count: u64, order: Order) -> Result<u64, Failure> {
    writeln!(out, "id,domain,family,given,middle,birth_date,gender,ssn,street,city,state,postal_code,country,phone")?;
    let mut numbers: Vec<u64> = (0..count).collect();
    if order == Order::None {
        numbers.sort_by_cached_key(|number| mixed(*number, 5));
    }
    let mut rows = 0;
    for number in numbers {
        let person = demographics(number);
        let ssn = social_security_number(number).unwrap_or_default();
        row(out, &format!("P{number}"), people::NAMESPACE, &person, &ssn)?;
        rows += 1;
        if has_second(number) {
            let mut other = person;
            // As somebody else heard it.
            let family = other.names[0].family.replacen('e', "a", 1);
            other.names[0].family = family.into();
            row(out, &format!("C{number}"), SECOND_NAMESPACE, &other, &ssn)?;
            rows += 1;
        }
    }
    Ok(rows)
}

fn row(out: &mut impl Write, id: &str, domain: &str, person: &Demographics, ssn: &str) -> std::io::Result<()> {
    let (name, address) = (&person.names[0], &person.addresses[0]);
    let given = |at: usize| name.given.get(at).map(|given| given.as_str()).unwrap_or_default();
    let birth = person.birth.as_ref().map_or("", |birth| birth.as_str());
    let phone = person.telecoms.first().map_or("", |telecom| telecom.value.as_str());
    writeln!(
        out,
        "{id},{domain},{},{},{},{birth},{},{ssn},{},{},{},{},{},{phone}",
        name.family,
        given(0),
        given(1),
        person.gender.map_or("U", causeway::id::Gender::v2),
        address.lines[0],
        address.city,
        address.state,
        address.postal_code,
        address.country,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_shares_of_the_census() {
        let smiths = (0..50_000).filter(|number| demographics(*number).names[0].family == "Smith").count();
        assert!((300..550).contains(&smiths), "{smiths} of 50,000 are Smith");
        assert_eq!(demographics(7), demographics(7));
        assert_eq!(demographics(101).birth, demographics(100).birth);
    }

    #[test]
    fn the_table_has_a_row_for_each_source() {
        let (rows, text) = table(Order::Numbers);
        assert!((1_050..1_150).contains(&rows), "{rows}");
        assert_eq!(text.lines().count() as u64, rows + 1);
        assert!(text.lines().all(|line| line.matches(',').count() == 13), "no value has a comma");
    }

    #[test]
    fn the_same_patients_can_come_in_no_order() {
        let ((rows, ordered), (same, mixed)) = (table(Order::Numbers), table(Order::None));
        assert_eq!(rows, same);
        let (ordered, mut mixed): (Vec<_>, Vec<_>) = (ordered.lines().collect(), mixed.lines().collect());
        let kept = ordered.iter().zip(&mixed).filter(|(one, other)| one == other).count();
        assert!(kept < 20, "{kept} rows are where they were");
        let mut ordered = ordered;
        ordered.sort_unstable();
        mixed.sort_unstable();
        assert_eq!(ordered, mixed);
    }

    fn table(order: Order) -> (u64, String) {
        let mut out = Vec::new();
        let rows = write(&mut out, 1_000, order).unwrap();
        (rows, String::from_utf8(out).unwrap())
    }
}
