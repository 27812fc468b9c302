//! A town of invented households whose people are known to a clinic and to a hospital, with everything that makes
//! matching in the United States hard: twins, fathers and sons of one name, nicknames, marriages, moves, newborns
//! without a name, numbers that half the town has, and the slips of whoever types. The same town each time.

use causeway::id::Gender;

use super::Row;
use crate::load::people::{self, Dice};

/// Names by which people are called instead of their own.
const NICKNAMES: &[(&str, &str)] = &[
    ("Robert", "Bob"),
    ("William", "Bill"),
    ("Richard", "Dick"),
    ("James", "Jim"),
    ("Michael", "Mike"),
    ("Joseph", "Joe"),
    ("Thomas", "Tom"),
    ("Christopher", "Chris"),
    ("Daniel", "Dan"),
    ("Matthew", "Matt"),
    ("Steven", "Steve"),
    ("Andrew", "Andy"),
    ("Kenneth", "Ken"),
    ("Timothy", "Tim"),
    ("Ronald", "Ron"),
    ("Edward", "Ted"),
    ("Elizabeth", "Liz"),
    ("Margaret", "Peggy"),
    ("Patricia", "Pat"),
    ("Jennifer", "Jen"),
    ("Barbara", "Barb"),
    ("Susan", "Sue"),
    ("Deborah", "Debbie"),
    ("Rebecca", "Becky"),
    ("Cynthia", "Cindy"),
    ("Kimberly", "Kim"),
    ("Stephanie", "Steph"),
    ("Sandra", "Sandy"),
    ("Jessica", "Jess"),
    ("Amanda", "Mandy"),
];
/// What is typed where a number is asked for and not known.
const NO_NUMBER: &[&str] =
    &["999-99-9999", "123-45-6789", "000-00-0000", "111-11-1111", "123456789", "888-88-8888", "999999999"];
/// What is typed where a telephone number is.
const NO_PHONE: &[&str] = &["0000000000", "9999999999", "(555) 555-5555", "5555555555", "123-456-7890"];

/// Somebody of the town.
#[derive(Clone)]
struct Resident {
    number: usize,
    family: String,
    maiden: String,
    given: String,
    middle: String,
    suffix: &'static str,
    female: bool,
    birth: (u64, u64, u64),
    line: String,
    city: String,
    zip: String,
    phone: String,
    email: String,
    ssn: String,
    birth_order: Option<u8>,
    guarantor: String,
}

/// The records of both sources. `households` of about three people each.
pub fn records(households: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut number = 0;
    for household in 0..households {
        let mut dice = Dice(household.wrapping_mul(0xA076_1D64_78BD_642F) ^ 0x5EED);
        for resident in residents(&mut dice, &mut number) {
            // Seven in ten are known to both.
            let known = dice.below(10);
            if known < 8 {
                rows.push(row(&resident, "clinic"));
            }
            if known != 0 && known != 8 {
                rows.push(retyped(&resident, &mut dice));
            }
        }
    }
    rows
}

fn residents(dice: &mut Dice, number: &mut usize) -> Vec<Resident> {
    let family = people::family(dice);
    let home = people::address(dice);
    let phone = format!("{}{:07}", 503 + dice.below(12), 2_000_000 + dice.below(7_999_999));
    let mut all: Vec<Resident> = Vec::new();
    let mut new = |dice: &mut Dice, female: bool, year: u64| {
        *number += 1;
        let given = people::given(dice, if female { Gender::Female } else { Gender::Male });
        Resident {
            number: *number,
            family: family.clone(),
            maiden: String::new(),
            middle: if dice.below(3) == 0 { String::new() } else { people::given(dice, Gender::Female) },
            given,
            suffix: "",
            female,
            birth: (year, 1 + dice.below(12), 1 + dice.below(28)),
            line: home.lines.first().map(ToString::to_string).unwrap_or_default(),
            city: home.city.to_string(),
            zip: home.postal_code.to_string(),
            phone: phone.clone(),
            email: String::new(),
            // Area numbers from 700 were hardly ever given out.
            ssn: format!("{}{:02}{:04}", 750 + dice.below(120), 1 + dice.below(98), 1 + dice.below(9_998)),
            birth_order: None,
            guarantor: String::new(),
        }
    };
    let year = 1935 + dice.below(65);
    let mut first = new(dice, false, year);
    first.email = format!("{}.{}{}@mail.example", first.given, family, first.number).to_lowercase();
    let second_year = year + dice.below(7);
    let mut second = new(dice, true, second_year);
    second.maiden = people::family(dice);
    let children_from = year + 22;
    let guarantor = first.ssn.clone();
    match dice.below(10) {
        // Alone.
        0 | 1 => all.push(first),
        2 => all.push(second),
        // Father and son of one name under one roof.
        3 => {
            let mut son = new(dice, false, children_from);
            (son.given, son.middle) = (first.given.clone(), first.middle.clone());
            (first.suffix, son.suffix) = ("Sr", "Jr");
            all.extend([first, second, son]);
        }
        // Twins.
        4 | 5 => {
            let female = dice.below(2) == 0;
            let year = children_from + dice.below(4);
            let mut one = new(dice, female, year);
            let also_female = if dice.below(3) == 0 { !female } else { female };
            let mut two = new(dice, also_female, 0);
            two.birth = one.birth;
            if two.given == one.given {
                two.given = format!("{}lyn", two.given);
            }
            if dice.below(2) == 0 {
                (one.birth_order, two.birth_order) = (Some(1), Some(2));
            }
            (one.guarantor, two.guarantor) = (guarantor.clone(), guarantor);
            all.extend([first, second, one, two]);
        }
        // A newborn.
        6 => {
            let female = dice.below(2) == 0;
            let mut child = new(dice, female, 2026);
            child.ssn.clear();
            all.extend([first, second, child]);
        }
        _ => {
            let female = dice.below(2) == 0;
            let year = children_from + dice.below(10);
            let mut child = new(dice, female, year);
            child.guarantor = guarantor;
            all.extend([first, second, child]);
        }
    }
    all
}

/// As the clinic has it: carefully typed.
fn row(resident: &Resident, source: &str) -> Row {
    let (year, month, day) = resident.birth;
    Row {
        id: format!("{source}-{}", resident.number),
        source: source.into(),
        person: resident.number.to_string(),
        family: resident.family.clone(),
        given: resident.given.clone(),
        middle: resident.middle.clone(),
        suffix: resident.suffix.into(),
        birth: format!("{year}{month:02}{day:02}"),
        gender: if resident.female { "F" } else { "M" }.into(),
        line: resident.line.clone(),
        city: resident.city.clone(),
        zip: resident.zip.clone(),
        phone: resident.phone.clone(),
        email: resident.email.clone(),
        ssn: resident.ssn.clone(),
        birth_order: resident.birth_order,
    }
}

/// As the hospital has it: other years, other hands.
fn retyped(resident: &Resident, dice: &mut Dice) -> Row {
    let mut row = row(resident, "hospital");
    let (year, month, day) = resident.birth;
    if year == 2026 && dice.below(2) == 0 {
        row.given = if resident.female { "BABY GIRL".into() } else { "BABY BOY".into() };
        row.middle.clear();
    }
    if !resident.maiden.is_empty() && dice.below(4) == 0 {
        row.family = match dice.below(3) {
            0 => format!("{}-{}", resident.maiden, resident.family),
            _ => resident.maiden.clone(),
        };
    }
    if dice.below(5) == 0
        && let Some((_, short)) = NICKNAMES.iter().find(|(name, _)| *name == row.given)
    {
        row.given = (*short).into();
    }
    match dice.below(20) {
        0..5 => row.middle.clear(),
        5..12 => row.middle.truncate(1),
        12 => std::mem::swap(&mut row.given, &mut row.middle),
        _ => {}
    }
    if dice.below(2) == 0 {
        row.suffix.clear();
    }
    // Another home since.
    if dice.below(5) == 0 {
        let home = people::address(dice);
        row.line = home.lines.first().map(ToString::to_string).unwrap_or_default();
        (row.city, row.zip) = (home.city.to_string(), home.postal_code.to_string());
        row.phone = format!("{}{:07}", 503 + dice.below(12), 2_000_000 + dice.below(7_999_999));
    } else {
        match dice.below(12) {
            0 => row.line = row.line.to_uppercase().replace(" ST", " STREET").replace(" AVE", " AVENUE"),
            1 => row.line = slip(&row.line, dice),
            2 => row.zip = slip(&row.zip, dice),
            3 => row.line = format!("{} Apt {}", row.line, 1 + dice.below(40)),
            4 => (row.line, row.city, row.zip) = Default::default(),
            _ => {}
        }
    }
    match dice.below(10) {
        0..3 => row.phone.clear(),
        3 => row.phone = dice.one_of(NO_PHONE).into(),
        4 => row.phone = format!("{}{:07}", 503 + dice.below(12), 2_000_000 + dice.below(7_999_999)),
        _ => {}
    }
    match dice.below(20) {
        0..5 => row.ssn.clear(),
        5..7 => row.ssn = dice.one_of(NO_NUMBER).into(),
        7 => row.ssn = slip(&row.ssn, dice),
        8 if !resident.guarantor.is_empty() => row.ssn = resident.guarantor.clone(),
        9 if row.ssn.len() == 9 => row.ssn = format!("XXX-XX-{}", &row.ssn[5..]),
        _ => {}
    }
    match dice.below(40) {
        0 if day <= 12 => row.birth = format!("{year}{day:02}{month:02}"),
        1 => row.birth = slip(&row.birth, dice),
        2 => row.birth.clear(),
        3 => row.birth = format!("{year}0101"),
        4 => row.birth = format!("{}{month:02}{day:02}", year + 1),
        _ => {}
    }
    match dice.below(40) {
        0 | 1 => row.given = slip(&row.given, dice),
        2 | 3 => row.family = slip(&row.family, dice),
        4 => std::mem::swap(&mut row.given, &mut row.family),
        5 => row.given.truncate(1),
        6 => row.gender.clear(),
        7 => row.gender = "U".into(),
        8 => row.given = row.given.to_uppercase(),
        9 => row.email.clear(),
        _ => {}
    }
    if dice.below(4) > 0 {
        row.email.clear();
    }
    row.birth_order = row.birth_order.filter(|_| dice.below(2) == 0);
    row
}

/// One slip of the hand: a letter missing, doubled, wrong, or in the place of its neighbour.
fn slip(text: &str, dice: &mut Dice) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() < 3 {
        return text.to_owned();
    }
    let at = 1 + usize::try_from(dice.below(letters.len() as u64 - 2)).unwrap_or(0);
    let other =
        dice.one_of(if letters[at].is_ascii_digit() { &['1', '4', '6', '9'][..] } else { &['a', 'e', 'n', 's'] });
    match dice.below(4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 => letters[at] = other,
        _ => letters.swap(at, at + 1),
    }
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_town_is_the_same_each_time_and_has_what_is_hard() {
        let (once, again) = (records(500), records(500));
        let text = |rows: &[Row]| serde_json::to_string(rows).unwrap();
        assert_eq!(text(&once), text(&again));
        let mut people: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        once.iter().for_each(|row| people.entry(&row.person).or_default().push(row));
        let pairs: Vec<_> = people.values().filter(|rows| rows.len() == 2).map(|rows| (rows[0], rows[1])).collect();
        assert!((900..1_200).contains(&pairs.len()), "{}", pairs.len());
        let differ = |what: fn(&Row) -> &str| pairs.iter().filter(|(a, b)| what(a) != what(b)).count();
        for (name, count, range) in [
            ("family", differ(|row| &row.family), 60..250),
            ("given", differ(|row| &row.given), 60..300),
            ("birth", differ(|row| &row.birth), 60..200),
            ("home", differ(|row| &row.line), 250..500),
            ("number", differ(|row| &row.ssn), 300..600),
            ("newborns", once.iter().filter(|row| row.given.starts_with("BABY")).count(), 10..60),
            ("twins", once.iter().filter(|row| row.birth_order.is_some()).count(), 60..250),
        ] {
            assert!(range.contains(&count), "{name}: {count}");
        }
    }
}
