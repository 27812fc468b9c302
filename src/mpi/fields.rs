//! How well each field of two records agrees. What a level is worth is not known here.

use smol_str::SmolStr;

use super::compare::{Field, Level};
use super::nicknames;
use super::normalize::{Name, Profile, Street};
use super::similarity::{jaro_winkler, one_edit, one_edit_apart};

/// The level of every field of a pair. The order of the two makes no difference.
pub struct Agreement<'p> {
    levels: [Level; Field::COUNT],
    names: Option<(&'p Name, &'p Name)>,
    is_swapped: bool,
    /// One is senior and the other junior, or the like.
    pub generations_differ: bool,
}

impl<'p> Agreement<'p> {
    /// The level of a field.
    pub fn level(&self, field: Field) -> Level {
        self.levels[field as usize]
    }

    /// The names of a field that were compared, where how common they are counts.
    pub fn names(&self, field: Field) -> Option<(&'p str, &'p str)> {
        let (one, two) = self.names?;
        match (field, self.is_swapped) {
            (Field::Given, false) => Some((&one.given, &two.given)),
            (Field::Family, false) => Some((&one.family, &two.family)),
            (Field::Given, true) => Some((&one.given, &two.family)),
            (Field::Family, true) => Some((&one.family, &two.given)),
            _ => None,
        }
    }
}

/// Compares all fields.
pub fn agreement<'p>(a: &'p Profile, b: &'p Profile) -> Agreement<'p> {
    let names = names(a, b);
    let levels = Field::ALL.map(|field| match field {
        Field::Given => names.given,
        Field::Middle => names.middle,
        Field::Family => names.family,
        Field::Birth => birth(a, b),
        Field::Gender => gender(a, b),
        Field::Ssn => ssn(a, b),
        Field::Phone => any_shared(&a.phones, &b.phones, |a, b| one_edit_apart(a, b)),
        Field::Email => any_shared(&a.emails, &b.emails, |a, b| one_edit_apart(a, b)),
        Field::Address => best_address(a, b, street),
        Field::Place => best_address(a, b, place),
        Field::Identifier => any_shared(&a.ids, &b.ids, |_, _| false),
    });
    Agreement { levels, names: names.of, is_swapped: names.is_swapped, generations_differ: names.generations_differ }
}

/// The levels of what is quickly compared and tells people apart.
pub fn quick(a: &Profile, b: &Profile) -> [(Field, Level); 5] {
    let names = names(a, b);
    [
        (Field::Given, names.given),
        (Field::Middle, names.middle),
        (Field::Family, names.family),
        (Field::Birth, birth(a, b)),
        (Field::Gender, gender(a, b)),
    ]
}

/// The other fields, those that both have.
pub fn known_to_both(a: &Profile, b: &Profile) -> impl Iterator<Item = Field> {
    let both = |known: fn(&Profile) -> bool| known(a) && known(b);
    let fields = [
        (Field::Ssn, both(|one| one.ssn.is_some() || one.ssn_last4.is_some())),
        (Field::Phone, both(|one| !one.phones.is_empty())),
        (Field::Email, both(|one| !one.emails.is_empty())),
        (Field::Address, both(|one| !one.addresses.is_empty())),
        (Field::Place, both(|one| !one.addresses.is_empty())),
        (Field::Identifier, both(|one| !one.ids.is_empty())),
    ];
    fields.into_iter().filter_map(|(field, is_known)| is_known.then_some(field))
}

/// How the best pair of names agrees.
struct Names<'p> {
    given: Level,
    middle: Level,
    family: Level,
    generations_differ: bool,
    is_swapped: bool,
    of: Option<(&'p Name, &'p Name)>,
}

impl Names<'_> {
    /// To find the best pair only.
    fn points(&self) -> i32 {
        let given = match self.given {
            Level::Same => 80,
            Level::Close => 36,
            Level::Part | Level::Missing => 0,
            Level::Trace => -10,
            Level::Different => -45,
        };
        let family = match self.family {
            Level::Same => 100,
            Level::Close => 41,
            Level::Part => 49,
            Level::Missing => 0,
            Level::Trace => -10,
            Level::Different => -46,
        };
        let middle = match self.middle {
            Level::Same => 43,
            Level::Close => 23,
            Level::Part => 16,
            Level::Trace | Level::Missing => 0,
            Level::Different => -31,
        };
        given + family + middle
    }
}

fn names<'p>(a: &'p Profile, b: &'p Profile) -> Names<'p> {
    let missing = Level::Missing;
    let mut best = Names {
        given: missing,
        middle: missing,
        family: missing,
        generations_differ: false,
        is_swapped: false,
        of: None,
    };
    for one in &a.names {
        for two in &b.names {
            let found = name(one, two);
            // On a tie the choice must not depend on the order of the names.
            let wins = match best.of {
                None => true,
                Some(of) => {
                    let (new, old) = (found.points(), best.points());
                    new > old || (new == old && order(one, two) < order(of.0, of.1))
                }
            };
            if wins {
                best = found;
            }
        }
    }
    best
}

/// The same for both orders of two names.
fn order<'p>(one: &'p Name, two: &'p Name) -> [(&'p str, &'p str); 2] {
    let mut both = [(one.family.as_str(), one.given.as_str()), (two.family.as_str(), two.given.as_str())];
    both.sort_unstable();
    both
}

fn name<'p>(one: &'p Name, two: &'p Name) -> Names<'p> {
    let straight = (given(one, two), family(one, two));
    let is_known = |name: &Name| !name.given.is_empty() && !name.family.is_empty();
    let is_swapped = straight.0 >= Level::Part
        && straight.1 >= Level::Part
        && is_known(one)
        && is_known(two)
        && alike_whole(one, two)
        && alike_whole(two, one);
    let (given, family) = if is_swapped { (Level::Close, Level::Close) } else { straight };
    let generations_differ = one.generation > 0 && two.generation > 0 && one.generation != two.generation;
    Names { given, middle: middle(one, two), family, generations_differ, is_swapped, of: Some((one, two)) }
}

/// Whether the given name of one is the family name of the other, which may have been one word or two.
fn alike_whole(one: &Name, two: &Name) -> bool {
    let second = one.middle.first().map(SmolStr::as_str).unwrap_or_default();
    alike(&one.given, &two.family)
        || (two.family.strip_prefix(one.given.as_str()) == Some(second) && !second.is_empty())
}

fn alike(a: &str, b: &str) -> bool {
    a == b || jaro_winkler(a, b) >= 0.92
}

fn given(one: &Name, two: &Name) -> Level {
    let level = given_names(&one.given, &two.given);
    if level < Level::Trace || level == Level::Missing {
        return level;
    }
    // "Maryann" and "Mary Ann"; somebody who goes by the second name.
    let is_joined = |long: &Name, short: &Name| {
        let second = short.middle.first().map(SmolStr::as_str).unwrap_or_default();
        !second.is_empty() && long.given.strip_prefix(short.given.as_str()) == Some(second)
    };
    let by_second = |name: &Name, other: &Name| other.given.len() > 1 && name.middle.contains(&other.given);
    if is_joined(one, two) || is_joined(two, one) {
        Level::Close
    } else if by_second(one, two) || by_second(two, one) {
        Level::Part
    } else {
        level
    }
}

fn given_names(a: &str, b: &str) -> Level {
    if a.is_empty() || b.is_empty() {
        return Level::Missing;
    }
    if a == b {
        return Level::Same;
    }
    if a.len() == 1 || b.len() == 1 {
        return if a.chars().next() == b.chars().next() { Level::Part } else { Level::Different };
    }
    let alike = jaro_winkler(a, b);
    if alike >= 0.90 || nicknames::equivalent(a, b) {
        Level::Close
    } else if alike >= 0.82 || a.starts_with(b) || b.starts_with(a) {
        Level::Part
    } else if alike >= 0.70 {
        Level::Trace
    } else {
        Level::Different
    }
}

fn middle(a: &Name, b: &Name) -> Level {
    match (a.middle.first(), b.middle.first()) {
        (Some(a), Some(b)) => given_names(a, b),
        _ => Level::Missing,
    }
}

fn family(a: &Name, b: &Name) -> Level {
    if a.family.is_empty() || b.family.is_empty() {
        return Level::Missing;
    }
    if a.family == b.family {
        return Level::Same;
    }
    let alike = jaro_winkler(&a.family, &b.family);
    if alike >= 0.90 {
        return Level::Close;
    }
    let shares = |double: &Name, other: &Name| {
        double
            .family_parts
            .iter()
            .any(|part| part.chars().count() > 2 && (*part == other.family || other.family_parts.contains(part)))
    };
    if shares(a, b) || shares(b, a) {
        Level::Part
    } else if alike >= 0.75 {
        Level::Trace
    } else {
        Level::Different
    }
}

fn birth(a: &Profile, b: &Profile) -> Level {
    let (Some(one), Some(two)) = (a.birth, b.birth) else { return Level::Missing };
    let (year_1, month_1, day_1) = one;
    let (year_2, month_2, day_2) = two;
    let (Some(month_1), Some(month_2)) = (month_1, month_2) else {
        return if year_1 == year_2 { Level::Trace } else { Level::Different };
    };
    let (Some(day_1), Some(day_2)) = (day_1, day_2) else {
        return match (year_1 == year_2, month_1 == month_2) {
            (true, true) => Level::Part,
            (true, false) => Level::Trace,
            _ => Level::Different,
        };
    };
    if one == two {
        return Level::Same;
    }
    let is_swap = year_1 == year_2 && month_1 == day_2 && day_1 == month_2;
    let equal = u8::from(year_1 == year_2) + u8::from(month_1 == month_2) + u8::from(day_1 == day_2);
    if is_swap || one_edit(&digits(year_1, month_1, day_1), &digits(year_2, month_2, day_2)) {
        Level::Close
    } else if equal == 2 {
        Level::Part
    } else if year_1 == year_2 {
        Level::Trace
    } else {
        Level::Different
    }
}

/// YYYYMMDD.
fn digits(year: u16, month: u8, day: u8) -> [u8; 8] {
    let mut digits = [0; 8];
    let mut rest = u32::from(year) * 10_000 + u32::from(month) * 100 + u32::from(day);
    for digit in digits.iter_mut().rev() {
        *digit = (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

fn gender(a: &Profile, b: &Profile) -> Level {
    match (a.gender, b.gender) {
        (Some(a), Some(b)) if a == b => Level::Same,
        (Some(_), Some(_)) => Level::Different,
        _ => Level::Missing,
    }
}

fn ssn(a: &Profile, b: &Profile) -> Level {
    match (&a.ssn, &b.ssn) {
        (Some(a), Some(b)) if a == b => Level::Same,
        (Some(a), Some(b)) if one_edit_apart(a, b) => Level::Close,
        (Some(_), Some(_)) => Level::Different,
        _ => match (&a.ssn_last4, &b.ssn_last4) {
            (Some(a), Some(b)) if a == b => Level::Part,
            (Some(_), Some(_)) => Level::Different,
            _ => Level::Missing,
        },
    }
}

fn any_shared<T: PartialEq>(a: &[T], b: &[T], near: impl Fn(&T, &T) -> bool) -> Level {
    if a.is_empty() || b.is_empty() {
        Level::Missing
    } else if a.iter().any(|one| b.contains(one)) {
        Level::Same
    } else if a.iter().any(|one| b.iter().any(|two| near(one, two))) {
        Level::Close
    } else {
        Level::Different
    }
}

/// The best level of any two addresses.
fn best_address(a: &Profile, b: &Profile, level: impl Fn(&Street, &Street) -> Level) -> Level {
    let pairs = a.addresses.iter().flat_map(|one| b.addresses.iter().map(move |two| (one, two)));
    pairs.map(|(one, two)| level(one, two)).min().unwrap_or(Level::Missing)
}

fn street(one: &Street, two: &Street) -> Level {
    let (one, two) = (one.line.as_str(), two.line.as_str());
    if one.is_empty() || two.is_empty() {
        return Level::Missing;
    }
    if one == two {
        return Level::Same;
    }
    let ((house_1, street_1), (house_2, street_2)) = (parts(one), parts(two));
    let same_house = !house_1.is_empty() && house_1 == house_2;
    let streets = if street_1.is_empty() || street_2.is_empty() { 0.0 } else { jaro_winkler(street_1, street_2) };
    if (same_house && streets >= 0.85) || jaro_winkler(one, two) >= 0.95 {
        Level::Close
    } else if streets >= 0.88 || (same_house && streets >= 0.75) {
        Level::Part
    } else if same_house || streets >= 0.80 {
        Level::Trace
    } else {
        Level::Different
    }
}

/// House number and the rest.
fn parts(line: &str) -> (&str, &str) {
    match line.split_once(' ') {
        Some((house, street)) if house.starts_with(|first: char| first.is_ascii_digit()) => (house, street),
        _ => ("", line),
    }
}

fn place(one: &Street, two: &Street) -> Level {
    let zips = !one.zip.is_empty() && !two.zip.is_empty();
    let cities = !one.city.is_empty() && !two.city.is_empty();
    let (zip, city) = (zips && one.zip == two.zip, cities && one.city == two.city);
    let near = || zips && one_edit_apart(&one.zip, &two.zip);
    let alike = || cities && jaro_winkler(&one.city, &two.city) >= 0.88;
    if !(zips || cities) {
        Level::Missing
    } else if (zip && (city || !cities)) || (city && !zips) {
        Level::Same
    } else if (zip && alike()) || (city && near()) {
        Level::Close
    } else if zip || city {
        Level::Part
    } else if near() || alike() {
        Level::Trace
    } else {
        Level::Different
    }
}
