//! Weighs the evidence that two records are of one person, field by field.
//!
//! Each field agrees at some level; a level's weight is log2(m/u), m being how often it occurs between records of one
//! person and u between records of two ([`super::parameters`]). The sum, less the improbability of any match at all, is
//! evidence in bits. How the levels come about: [`super::fields`].

#[cfg(test)]
pub(crate) mod tests;

use serde::{Deserialize, Serialize};

use super::fields::{Agreement, agreement};
use super::normalize::Profile;
pub use super::parameters::{Odds, Parameters};

/// What is compared.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Street address.
    Address,
    /// Postal code and city.
    Place,
    /// Driver's licence, member id and the like.
    Identifier,
}

impl Field {
    /// How many there are.
    pub const COUNT: usize = 11;
    /// Every field.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Given,
        Self::Middle,
        Self::Family,
        Self::Birth,
        Self::Gender,
        Self::Ssn,
        Self::Phone,
        Self::Email,
        Self::Address,
        Self::Place,
        Self::Identifier,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given name",
            Self::Middle => "second given name",
            Self::Family => "family name",
            Self::Birth => "date of birth",
            Self::Gender => "gender",
            Self::Ssn => "social security number",
            Self::Phone => "telephone",
            Self::Email => "e-mail",
            Self::Address => "street address",
            Self::Place => "postal code and city",
            Self::Identifier => "other identifier",
        }
    }
}

/// How well a field agrees.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

impl Level {
    /// Every level but [`Level::Missing`], the best first.
    pub const AGREEING: [Self; 5] = [Self::Same, Self::Close, Self::Part, Self::Trace, Self::Different];
}

/// What contradicts a match however much agrees.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Both dates of birth are known and differ by more than a slip, or by years.
    Birth,
    /// Too little is known to tell people apart, whatever agrees.
    Thin,
}

impl Conflict {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssn => "two different social security numbers",
            Self::Twins => "born on one day in one family, with different given names",
            Self::BirthOrder => "different places in the order of birth",
            Self::Generation => "senior and junior",
            Self::GenderAndName => "different gender and different given name",
            Self::Birth => "different dates of birth",
            Self::Thin => "too little is known",
        }
    }
}

/// How sure a match is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Evidence in bits, conflicts included.
    pub bits: f64,
    /// What it starts from, in bits: how improbable a match is before anything is compared.
    #[serde(default)]
    pub prior: f64,
    /// What is taken away because members of one household agree in such fields, in bits.
    #[serde(default)]
    pub household: f64,
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
    let agreement = agreement(a, b);
    let fields: Vec<_> = Field::ALL
        .into_iter()
        .map(|field| (field, agreement.level(field)))
        .filter(|(_, level)| *level != Level::Missing)
        .map(|(field, level)| {
            (field, level, parameters.odds(field).weight(level) + rarity(&agreement, field, parameters))
        })
        .collect();
    let of_family = rarity(&agreement, Field::Family, parameters);
    let household = parameters.household(fields.iter().map(|(field, level, _)| (*field, *level)), of_family);
    let bits = parameters.prior + household + fields.iter().map(|(.., weight)| weight).sum::<f64>();
    let mut explanation = Explanation { bits, prior: parameters.prior, household, fields, conflicts: Vec::new() };
    for (conflict, below) in conflicts(a, b, &agreement) {
        explanation.conflicts.push(conflict);
        let most = match parameters.twins {
            // Where nearly all pairs like this are one person's, they are worth a look.
            Some(most) if conflict == Conflict::Twins => most.max(below.begins() - 1.0),
            _ => below.begins() - 1.0,
        };
        explanation.bits = explanation.bits.min(most);
    }
    explanation
}

/// What the rarity of the name that both have adds. Names that are only close are as common as the commoner of them, and
/// rarity is no merit there: a slip makes any name rare.
fn rarity(agreement: &Agreement<'_>, field: Field, parameters: &Parameters) -> f64 {
    let Some(names) = agreement.names(field) else { return 0.0 };
    let of = |name: &str| parameters.rarity(field, name);
    match agreement.level(field) {
        Level::Same => of(names.0),
        Level::Close => of(names.0).min(of(names.1)).min(0.0),
        Level::Part | Level::Trace | Level::Different | Level::Missing => 0.0,
    }
}

/// What contradicts, and the grade that the pair then stays below.
fn conflicts(a: &Profile, b: &Profile, seen: &Agreement<'_>) -> Vec<(Conflict, Grade)> {
    let different = |field| matches!(seen.level(field), Level::Different | Level::Trace);
    let agrees = |field| matches!(seen.level(field), Level::Same | Level::Close);
    let strong = [Field::Ssn, Field::Identifier].into_iter().any(|field| seen.level(field) == Level::Same);
    let mut found = Vec::new();
    if different(Field::Ssn) {
        found.push((Conflict::Ssn, Grade::Probable));
    }
    // "Kimberly Linda" may go by Linda, and may be Linda's twin.
    let starts = |(one, two): (&str, &str)| one.chars().next() != two.chars().next();
    let other_start = seen.level(Field::Given) == Level::Part && seen.names(Field::Given).is_some_and(starts);
    if (different(Field::Given) || other_start)
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
    if seen.generations_differ {
        found.push((Conflict::Generation, Grade::Probable));
    }
    if different(Field::Gender) && different(Field::Given) {
        found.push((Conflict::GenderAndName, Grade::Possible));
    }
    // A father and his son may share even the day; a slip of the hand in the year is one digit.
    let years_differ = a.birth.zip(b.birth).is_some_and(|((one, ..), (two, ..))| one != two);
    let birth = seen.level(Field::Birth);
    if matches!(birth, Level::Different | Level::Trace) || (birth == Level::Part && years_differ) {
        found.push((Conflict::Birth, Grade::Certain));
    }
    // Without a name there is nobody to match; without a date of birth only a strong identifier will do.
    let named = seen.level(Field::Given) != Level::Missing && seen.level(Field::Family) != Level::Missing;
    let born = birth != Level::Missing;
    if !(named && born) && !(strong && (named || born)) {
        found.push((Conflict::Thin, Grade::Probable));
    }
    found
}

/// What a pair looks like to whoever learns from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Nothing speaks against one person but the fields themselves.
    Plain,
    /// Like twins.
    Twins,
    /// Two people of one household for sure.
    Household,
}

impl Kind {
    pub(super) fn of(a: &Profile, b: &Profile, seen: &Agreement<'_>) -> Self {
        let found = conflicts(a, b, seen);
        let has = |kind| found.iter().any(|(conflict, _)| *conflict == kind);
        if [Conflict::BirthOrder, Conflict::Generation, Conflict::GenderAndName].into_iter().any(has) {
            Self::Household
        } else if has(Conflict::Twins) {
            Self::Twins
        } else {
            Self::Plain
        }
    }
}
