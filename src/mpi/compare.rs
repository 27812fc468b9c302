//! Weighs the evidence that two records are of one person, field by field.
//!
//! Each field agrees at some level; a level's weight is log2(m/u), m being how often it occurs between records of one
//! person and u between records of two. The sum, less the improbability of any match at all, is evidence in bits.

#[cfg(test)]
pub(crate) mod tests;

use super::nicknames;
use super::normalize::{Name, Profile};
use super::similarity::{jaro_winkler, one_edit_apart};

/// What is compared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Field {
    /// First given name.
    Given,
    /// Second given name.
    Middle,
    /// Family name.
    Family,
    /// Date of birth.
    Birth,
    /// Administrative gender.
    Gender,
    /// Social security number.
    Ssn,
    /// Telephone number.
    Phone,
    /// E-mail address.
    Email,
    /// Street address, city and postal code.
    Address,
    /// Driver's licence, member id and the like.
    Identifier,
}

/// How well a field agrees.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Level {
    /// The same after normalization.
    Same,
    /// The same but for something that people do: a nickname, a typing slip, one half of a double name.
    Close,
    /// A part agrees: an initial, year and month, the last four digits, the postal code.
    Part,
    /// Little more than nothing: the year, the city.
    Trace,
    /// Both are known and differ.
    Different,
    /// One side does not know.
    Missing,
}

/// m and u of the levels of one field.
#[derive(Clone, Copy, Debug)]
pub struct Odds {
    /// For [`Level::Same`].
    pub same: (f64, f64),
    /// For [`Level::Close`].
    pub close: (f64, f64),
    /// For [`Level::Part`].
    pub part: (f64, f64),
    /// For [`Level::Trace`].
    pub trace: (f64, f64),
    /// For [`Level::Different`].
    pub different: (f64, f64),
}

impl Odds {
    /// Evidence in bits.
    pub fn weight(&self, level: Level) -> f64 {
        let (m, u) = match level {
            Level::Same => self.same,
            Level::Close => self.close,
            Level::Part => self.part,
            Level::Trace => self.trace,
            Level::Different => self.different,
            Level::Missing => return 0.0,
        };
        (m / u).log2()
    }
}

/// What the comparison believes. Learnt from a community's own records some day; until then, cautious defaults.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// log2 of the odds that two records picked by blocking are of one person, all else unknown.
    pub prior: f64,
    /// First given name.
    pub given: Odds,
    /// Second given name.
    pub middle: Odds,
    /// Family name.
    pub family: Odds,
    /// Date of birth.
    pub birth: Odds,
    /// Administrative gender.
    pub gender: Odds,
    /// Social security number.
    pub ssn: Odds,
    /// Telephone number: households share it, so it says less than its rarity.
    pub phone: Odds,
    /// E-mail address: families share it too.
    pub email: Odds,
    /// Address: households share it.
    pub address: Odds,
    /// Other identifiers; different ones mean nothing, people have several.
    pub identifier: Odds,
}

impl Default for Parameters {
    fn default() -> Self {
        let none = (1.0, 1.0);
        Self {
            prior: -24.0,
            given: Odds {
                same: (0.80, 0.003),
                close: (0.12, 0.010),
                part: (0.03, 0.030),
                trace: none,
                different: (0.05, 0.957),
            },
            middle: Odds {
                same: (0.60, 0.030),
                close: (0.05, 0.010),
                part: (0.25, 0.080),
                trace: none,
                different: (0.10, 0.880),
            },
            family: Odds {
                same: (0.85, 0.0008),
                close: (0.07, 0.004),
                part: (0.04, 0.001),
                trace: none,
                different: (0.04, 0.994),
            },
            birth: Odds {
                same: (0.90, 0.00005),
                close: (0.05, 0.0015),
                part: (0.02, 0.0011),
                trace: (0.01, 0.012),
                different: (0.02, 0.985),
            },
            gender: Odds { same: (0.97, 0.48), close: none, part: none, trace: none, different: (0.03, 0.52) },
            ssn: Odds {
                same: (0.90, 0.000_001),
                close: (0.06, 0.000_2),
                part: (0.90, 0.000_3),
                trace: none,
                different: (0.02, 0.999),
            },
            phone: Odds { same: (0.60, 0.002), close: none, part: none, trace: none, different: (0.40, 0.998) },
            email: Odds { same: (0.60, 0.001), close: none, part: none, trace: none, different: (0.40, 0.999) },
            address: Odds {
                same: (0.50, 0.0008),
                close: (0.12, 0.001),
                part: (0.16, 0.018),
                trace: (0.05, 0.030),
                different: (0.20, 0.95),
            },
            identifier: Odds { same: (0.99, 0.000_001), close: none, part: none, trace: none, different: none },
        }
    }
}

/// What contradicts a match however much agrees.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Conflict {
    /// Two different valid social security numbers.
    Ssn,
    /// Born on one day at one home or under one family name, with different given names: twins.
    Twins,
    /// Different places in the order of birth.
    BirthOrder,
    /// Senior and junior.
    Generation,
    /// Different gender and different given name.
    GenderAndName,
    /// Both dates of birth are known and differ.
    Birth,
    /// Too little is known to tell people apart, whatever agrees.
    Thin,
}

/// How sure a match is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Grade {
    /// Another person, or nothing known.
    No,
    /// Worth a look by a person.
    Possible,
    /// Likely one person.
    Probable,
    /// One person, safe to link without asking.
    Certain,
}

impl Grade {
    /// Evidence from which a grade begins, in bits.
    pub fn begins(self) -> f64 {
        match self {
            Self::No => f64::NEG_INFINITY,
            Self::Possible => 0.0,
            Self::Probable => 6.0,
            Self::Certain => 12.0,
        }
    }
}

/// Why two records match or do not. Holds no value of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Evidence in bits, conflicts included.
    pub bits: f64,
    /// Level and weight of each field that was compared.
    pub fields: Vec<(Field, Level, f64)>,
    /// What pushed the result down.
    pub conflicts: Vec<Conflict>,
}

impl Explanation {
    /// How sure this is.
    pub fn grade(&self) -> Grade {
        [Grade::Certain, Grade::Probable, Grade::Possible]
            .into_iter()
            .find(|grade| self.bits >= grade.begins())
            .unwrap_or(Grade::No)
    }

    /// `queryMatchObservation`, 0 to 100 (ITI TF-2: 3.55.4.2.2).
    pub fn score(&self) -> u8 {
        let share = 1.0 / (1.0 + (-self.bits / 3.0).exp2());
        (share * 100.0).round().clamp(0.0, 100.0) as u8
    }

    /// The level at which a field agreed.
    pub fn level(&self, field: Field) -> Level {
        self.fields.iter().find(|(found, ..)| *found == field).map_or(Level::Missing, |(_, level, _)| *level)
    }
}

/// Compares two records. The order of the two makes no difference.
pub fn compare(a: &Profile, b: &Profile, parameters: &Parameters) -> Explanation {
    let (given, middle, family, generations_differ) = names(a, b, parameters);
    let levels = [
        (Field::Given, given, &parameters.given),
        (Field::Middle, middle, &parameters.middle),
        (Field::Family, family, &parameters.family),
        (Field::Birth, birth(a, b), &parameters.birth),
        (Field::Gender, gender(a, b), &parameters.gender),
        (Field::Ssn, ssn(a, b), &parameters.ssn),
        (Field::Phone, any_shared(&a.phones, &b.phones), &parameters.phone),
        (Field::Email, any_shared(&a.emails, &b.emails), &parameters.email),
        (Field::Address, address(a, b), &parameters.address),
        (Field::Identifier, any_shared(&a.ids, &b.ids), &parameters.identifier),
    ];
    let fields: Vec<_> = levels
        .into_iter()
        .filter(|(_, level, _)| *level != Level::Missing)
        .map(|(field, level, odds)| (field, level, odds.weight(level)))
        .collect();
    let bits = parameters.prior + fields.iter().map(|(.., weight)| weight).sum::<f64>();
    let mut explanation = Explanation { bits, fields, conflicts: Vec::new() };
    for (conflict, below) in conflicts(a, b, &explanation, generations_differ) {
        explanation.conflicts.push(conflict);
        explanation.bits = explanation.bits.min(below.begins() - 1.0);
    }
    explanation
}

/// What contradicts, and the grade that the pair then stays below.
fn conflicts(a: &Profile, b: &Profile, seen: &Explanation, generations_differ: bool) -> Vec<(Conflict, Grade)> {
    let different = |field| seen.level(field) == Level::Different;
    let agrees = |field| matches!(seen.level(field), Level::Same | Level::Close);
    let strong = [Field::Ssn, Field::Identifier].into_iter().any(|field| seen.level(field) == Level::Same);
    let mut found = Vec::new();
    if different(Field::Ssn) {
        found.push((Conflict::Ssn, Grade::Probable));
    }
    if different(Field::Given)
        && seen.level(Field::Birth) == Level::Same
        && (agrees(Field::Family) || agrees(Field::Address) || agrees(Field::Phone))
    {
        found.push((Conflict::Twins, if strong { Grade::Certain } else { Grade::Possible }));
    }
    let orders = (a.multiple_birth.and_then(|birth| birth.order), b.multiple_birth.and_then(|birth| birth.order));
    if let (Some(one), Some(two)) = orders
        && one != two
    {
        found.push((Conflict::BirthOrder, Grade::Possible));
    }
    if generations_differ {
        found.push((Conflict::Generation, Grade::Probable));
    }
    if different(Field::Gender) && different(Field::Given) {
        found.push((Conflict::GenderAndName, Grade::Possible));
    }
    if matches!(seen.level(Field::Birth), Level::Different | Level::Trace) {
        found.push((Conflict::Birth, Grade::Certain));
    }
    // Without a name there is nobody to match; without a date of birth only a strong identifier will do.
    let named = seen.level(Field::Given) != Level::Missing && seen.level(Field::Family) != Level::Missing;
    let born = seen.level(Field::Birth) != Level::Missing;
    if !(named && born) && !(strong && (named || born)) {
        found.push((Conflict::Thin, Grade::Probable));
    }
    found
}

/// Given, middle, family of the best pair of names, and whether their generations differ.
fn names(a: &Profile, b: &Profile, parameters: &Parameters) -> (Level, Level, Level, bool) {
    let mut best = (f64::NEG_INFINITY, (Level::Missing, Level::Missing, Level::Missing, false));
    for one in &a.names {
        for two in &b.names {
            let straight = (given_level(&one.given, &two.given), family_level(one, two));
            let weigh =
                |(given, family): (Level, Level)| parameters.given.weight(given) + parameters.family.weight(family);
            let is_swapped =
                !one.given.is_empty() && !one.family.is_empty() && one.given == two.family && one.family == two.given;
            let pair = if is_swapped { (Level::Close, Level::Close) } else { straight };
            let pair = if weigh(pair) > weigh(straight) { pair } else { straight };
            let middle = middle_level(one, two);
            let weight = weigh(pair) + parameters.middle.weight(middle);
            // On a tie the choice must not depend on the order of the names, so the better known pair wins.
            if weight > best.0 {
                let differ = one.generation > 0 && two.generation > 0 && one.generation != two.generation;
                best = (weight, (pair.0, middle, pair.1, differ));
            }
        }
    }
    best.1
}

fn given_level(a: &str, b: &str) -> Level {
    if a.is_empty() || b.is_empty() {
        Level::Missing
    } else if a == b {
        Level::Same
    } else if a.len() == 1 || b.len() == 1 {
        if a[..].chars().next() == b.chars().next() { Level::Part } else { Level::Different }
    } else if nicknames::equivalent(a, b) || jaro_winkler(a, b) >= 0.90 {
        Level::Close
    } else if a.starts_with(b) || b.starts_with(a) {
        Level::Part
    } else {
        Level::Different
    }
}

fn middle_level(a: &Name, b: &Name) -> Level {
    match (a.middle.first(), b.middle.first()) {
        (Some(a), Some(b)) => given_level(a, b),
        _ => Level::Missing,
    }
}

fn family_level(a: &Name, b: &Name) -> Level {
    if a.family.is_empty() || b.family.is_empty() {
        return Level::Missing;
    }
    if a.family == b.family {
        return Level::Same;
    }
    if jaro_winkler(&a.family, &b.family) >= 0.92 {
        return Level::Close;
    }
    let shares = |double: &Name, other: &Name| {
        double
            .family_parts
            .iter()
            .any(|part| part.chars().count() > 2 && (*part == other.family || other.family_parts.contains(part)))
    };
    if shares(a, b) || shares(b, a) { Level::Part } else { Level::Different }
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
    let digits = |year: u16, month: u8, day: u8| format!("{year:04}{month:02}{day:02}");
    let is_slip = one_edit_apart(&digits(year_1, month_1, day_1), &digits(year_2, month_2, day_2));
    let is_swap = year_1 == year_2 && month_1 == day_2 && day_1 == month_2;
    if is_slip || is_swap {
        Level::Close
    } else if year_1 == year_2 && month_1 == month_2 {
        Level::Part
    } else if year_1 == year_2 {
        Level::Trace
    } else {
        Level::Different
    }
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

fn any_shared<T: PartialEq>(a: &[T], b: &[T]) -> Level {
    if a.is_empty() || b.is_empty() {
        Level::Missing
    } else if a.iter().any(|one| b.contains(one)) {
        Level::Same
    } else {
        Level::Different
    }
}

fn address(a: &Profile, b: &Profile) -> Level {
    let mut best = Level::Missing;
    let rank = |level: Level| match level {
        Level::Same => 5,
        Level::Close => 4,
        Level::Part => 3,
        Level::Trace => 2,
        Level::Different => 1,
        Level::Missing => 0,
    };
    for one in &a.addresses {
        for two in &b.addresses {
            let both = |one: &str, two: &str| !one.is_empty() && !two.is_empty();
            let same = |one: &str, two: &str| both(one, two) && one == two;
            let (zip, city) = (same(&one.zip, &two.zip), same(&one.city, &two.city));
            let house = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
            let near = both(&one.line, &two.line)
                && house(&one.line) == house(&two.line)
                && jaro_winkler(&one.line, &two.line) >= 0.9;
            let comparable = both(&one.line, &two.line) || both(&one.zip, &two.zip) || both(&one.city, &two.city);
            let level = if same(&one.line, &two.line) && (zip || city) {
                Level::Same
            } else if near && (zip || city) {
                Level::Close
            } else if zip {
                Level::Part
            } else if city {
                Level::Trace
            } else if comparable {
                Level::Different
            } else {
                Level::Missing
            };
            if rank(level) > rank(best) {
                best = level;
            }
        }
    }
    best
}
