//! Learns what agreement is worth from a community's own records, without anybody telling which are one person.
//!
//! u, how often two people agree by chance, is counted in pairs drawn at random. m, how often two records of one person
//! agree, comes from expectation and maximization over the pairs that blocking finds: all other pairs are taken to be of
//! two people, so that m and the share of matches among all pairs are estimated together and blocking does not bend
//! them. Members of one household agree in much without being one person: they are a third class beside matches and
//! strangers, known by that a date of birth, a given name and a social security number agree in them as among strangers.
//! A source that gives two identifiers means two patients, so where there are several sources the pairs within each tell
//! how frequent households are.
//!
//! Born on one day, of one family name or address, with different given names: twins, or one person whose given name
//! went wrong? Again the pairs within one source tell how many twins there must be across sources; where there is one
//! source, the share of twins among people does. If there are many more such pairs, most are one person's.
//!
//! Estimates are held to what few records can say: each starts as if the defaults had been seen a few times, a better
//! level of agreement never weighs less than a worse one, and no weight leaves the bounds below. Too few records, or
//! records that do not tell people apart, teach nothing, and the defaults stay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::compare::{Field, Kind, Level};
use super::fields::{Agreement, agreement};
use super::frequency::{Counter, Frequencies};
use super::normalize::Profile;
use super::parameters::{Odds, Parameters};
use crate::id::Timestamp;

/// Records that are needed.
pub const FEWEST_RECORDS: u64 = 200;
/// Expected matches that are needed.
pub const FEWEST_MATCHES: f64 = 20.0;
/// As many matches with the default m are taken as seen before.
const PRIOR_MATCHES: f64 = 20.0;
/// As many chance agreements at the default u are taken as seen before.
const PRIOR_CHANCE: f64 = 2.0;
/// Bounds of the probabilities: nothing is certain.
const BOUNDS: (f64, f64) = (1e-4, 0.9999);
/// The lowest u: an identifier may be mistyped into another's.
const LEAST_CHANCE: f64 = 1e-7;
/// The highest prior, in bits: a store that is full of duplicates does not make the next pair one.
const HIGHEST_PRIOR: f64 = -8.0;
/// Pairs of twins for each person, where one source alone tells nothing of them.
const TWINS: f64 = 0.016;
/// So often at least the names and the birth dates of one person's records agree; less is not a person.
const LEAST_AGREEMENT: f64 = 0.4;
/// Steps of the estimation, and the change at which it ends.
const STEPS: (usize, f64) = (200, 1e-7);

/// What a community's records taught.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learnt {
    /// When.
    pub at: Timestamp,
    /// How many records there were.
    pub records: u64,
    /// How many pairs that share a block were compared.
    pub pairs: u64,
    /// How many of those are expected to be one person's.
    pub matches: f64,
    /// log2 of the odds that two records of the community are of one person.
    pub prior: f64,
    /// m and u of each field, in the order of [`Field::ALL`].
    pub odds: [Odds; Field::COUNT],
    /// How members of one household agree.
    pub household: Household,
    /// The share of twins among pairs that look like them.
    pub twins: f64,
    /// How common names are.
    pub names: Frequencies,
}

/// How members of one household, who are not one person, agree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Household {
    /// Their share among all pairs.
    pub share: f64,
    /// The probability of each level of each field.
    pub agree: [[f64; LEVELS]; Field::COUNT],
}

impl Learnt {
    /// The most evidence of a pair that looks like twins, in bits: worth a look at best, never a link.
    pub fn twins_evidence(&self) -> f64 {
        ((1.0 - self.twins) / self.twins).log2().clamp(-1.0, 5.0)
    }
}

/// Why nothing was learnt. The parameters in use stay.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NotLearnt {
    /// Too few records.
    #[error("{0} records are too few to learn from; {FEWEST_RECORDS} are needed")]
    TooFewRecords(u64),
    /// Too few of them are of one person.
    #[error("among the records only some {0} pairs seem to be of one person; {FEWEST_MATCHES} are needed")]
    TooFewMatches(u64),
    /// Agreement is no more frequent in one person's records than in two people's.
    #[error("the {} does not tell people apart in these records", .0.name())]
    NoContrast(Field),
}

/// Collects what is to be learnt from.
#[derive(Default)]
pub struct Learner {
    records: u64,
    names: Counter,
    chance: [[u64; LEVELS]; Field::COUNT],
    across: Patterns,
    within: Patterns,
}

/// Pairs that share a block, counted by what they look like.
#[derive(Default)]
struct Patterns {
    plain: BTreeMap<Pattern, u64>,
    like_twins: BTreeMap<Pattern, u64>,
    /// Two people for sure.
    household: BTreeMap<Pattern, u64>,
}

impl Patterns {
    fn add(&mut self, a: &Profile, b: &Profile) {
        let agreement = agreement(a, b);
        let patterns = match Kind::of(a, b, &agreement) {
            Kind::Plain => &mut self.plain,
            Kind::Twins => &mut self.like_twins,
            Kind::Household => &mut self.household,
        };
        *patterns.entry(pattern(&agreement)).or_default() += 1;
    }

    fn count(&self) -> u64 {
        [&self.plain, &self.like_twins, &self.household].into_iter().flat_map(BTreeMap::values).sum()
    }
}

/// How many pairs there are, whether compared or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Possible {
    /// Pairs of records of different sources, or all pairs if there is one source.
    pub across: f64,
    /// Pairs of records of one source, if there are several sources.
    pub within: f64,
}

const LEVELS: usize = Level::AGREEING.len();

/// The levels of all fields of a pair.
type Pattern = [u8; Field::COUNT];

fn pattern(agreement: &Agreement<'_>) -> Pattern {
    Field::ALL.map(|field| agreement.level(field) as u8)
}

impl Learner {
    /// Counts a record of the sample.
    pub fn record(&mut self, profile: &Profile) {
        self.records += 1;
        self.names.add(profile);
    }

    /// Takes two records that were drawn at random.
    pub fn at_random(&mut self, a: &Profile, b: &Profile) {
        for (field, level) in pattern(&agreement(a, b)).into_iter().enumerate() {
            if let Some(count) = self.chance[field].get_mut(level as usize) {
                *count += 1;
            }
        }
    }

    /// Takes two records that share a block and may be of one person.
    pub fn candidate(&mut self, a: &Profile, b: &Profile) {
        self.across.add(a, b);
    }

    /// Takes two records that share a block, of one source among several, which has two patients for them.
    pub fn two_patients(&mut self, a: &Profile, b: &Profile) {
        self.within.add(a, b);
    }

    /// The share of twins among pairs that look like them, if there are so many sources.
    fn twins(&self, sources: usize) -> f64 {
        let seen: u64 = self.across.like_twins.values().sum();
        let expected = if sources > 1 {
            // Across each two sources are as many as in both together. And some more, because few were counted.
            let counted = self.within.like_twins.values().sum::<u64>() as f64;
            (counted + 2.0 * counted.sqrt()) * (sources - 1) as f64 + 2.0
        } else {
            TWINS * self.records as f64
        };
        (expected / (seen as f64 + 1.0)).clamp(1e-3, 1.0 - 1e-3)
    }

    /// What follows. `records` is the number of records in the store, `sources` of how many sources they are.
    pub fn learn(
        mut self,
        possible: Possible,
        records: u64,
        sources: usize,
        at: Timestamp,
    ) -> Result<Learnt, NotLearnt> {
        if self.records < FEWEST_RECORDS {
            return Err(NotLearnt::TooFewRecords(self.records));
        }
        let pairs = self.across.count();
        let twins = self.twins(sources);
        if twins < 0.5 {
            self.across.plain.append(&mut self.across.like_twins);
        }
        let mut state = State::new(self.chance, possible.within > 0.0);
        for _ in 0..STEPS.0 {
            let before = state.across;
            state.step(&self.across, &self.within, possible);
            let change =
                (state.across.matches - before.matches).abs() + (state.across.households - before.households).abs();
            if change <= STEPS.1 * (before.matches + before.households) {
                break;
            }
        }
        let matches = state.across.matches * possible.across;
        if matches < FEWEST_MATCHES {
            return Err(NotLearnt::TooFewMatches(matches as u64));
        }
        for field in [Field::Given, Field::Family, Field::Birth] {
            let odds = state.odds[field as usize];
            if odds.same.0 < LEAST_AGREEMENT || odds.weight(Level::Same) < 1.0 {
                return Err(NotLearnt::NoContrast(field));
            }
        }
        let prior = (state.across.matches / (1.0 - state.across.matches)).log2().min(HIGHEST_PRIOR);
        let household = Household { share: state.across.households, agree: state.household };
        let names = self.names.frequencies();
        Ok(Learnt { at, records, pairs, matches, prior, odds: state.odds, household, twins, names })
    }
}

/// The shares of two classes among all pairs; the rest are strangers.
#[derive(Clone, Copy)]
struct Shares {
    matches: f64,
    households: f64,
}

/// Expected counts of each level.
type Seen = [[f64; LEVELS]; Field::COUNT];

/// The estimates of one step.
struct State {
    chance: [[u64; LEVELS]; Field::COUNT],
    /// Pairs within sources show households without any matches.
    knows_households: bool,
    defaults: Parameters,
    across: Shares,
    within: Shares,
    odds: [Odds; Field::COUNT],
    household: Seen,
}

/// What a step expects of one class.
#[derive(Clone, Copy)]
struct Class {
    count: f64,
    seen: Seen,
}

const NOBODY: Class = Class { count: 0.0, seen: [[0.0; LEVELS]; Field::COUNT] };

impl State {
    fn new(chance: [[u64; LEVELS]; Field::COUNT], knows_households: bool) -> Self {
        let defaults = Parameters::default();
        let shares = Shares { matches: 1e-6, households: 1e-6 };
        let odds = defaults.odds;
        let mut state =
            Self { chance, knows_households, defaults, across: shares, within: shares, odds, household: NOBODY.seen };
        state.estimate(&NOBODY, &NOBODY);
        state
    }

    fn step(&mut self, across: &Patterns, within: &Patterns, possible: Possible) {
        let (matches, households) = self.expect(across, self.across);
        let (same_matches, same_households) = self.expect(within, self.within);
        let share = |count: f64, of: f64| ((count + 1.0) / of.max(1.0)).clamp(1e-12, 0.3);
        self.across.matches = share(matches.count, possible.across);
        if possible.within > 0.0 {
            self.within.matches = share(same_matches.count, possible.within);
            self.within.households = share(same_households.count, possible.within);
            // Members of a household are known to each source alike.
            self.across.households = self.within.households;
            self.estimate(&matches, &same_households);
        } else {
            self.across.households = share(households.count, possible.across);
            self.estimate(&matches, &households);
        }
    }

    /// How many of each class there are expected to be among pairs, and how they agree.
    fn expect(&self, patterns: &Patterns, shares: Shares) -> (Class, Class) {
        let weigh = |of: &dyn Fn(Field, Level) -> f64| {
            Field::ALL.map(|field| Level::AGREEING.map(|level| of(field, level).log2()))
        };
        let odds = |field: Field, level| self.odds[field as usize].of(level);
        let match_weights = weigh(&|field, level| odds(field, level).0 / odds(field, level).1);
        let household_weights = weigh(&|field, level| {
            if odds(field, level) == (1.0, 1.0) {
                1.0
            } else {
                self.household[field as usize][level as usize] / odds(field, level).1
            }
        });
        let strangers = (1.0 - shares.matches - shares.households).max(1e-9);
        let bits = |weights: &Seen, share: f64, pattern: &Pattern| {
            let fields = pattern.iter().zip(weights);
            (share / strangers).log2() + fields.map(|(level, of)| of.get(*level as usize).unwrap_or(&0.0)).sum::<f64>()
        };
        let (mut matches, mut households) = (NOBODY, NOBODY);
        let add = |class: &mut Class, pattern: &Pattern, expected: f64| {
            class.count += expected;
            for (field, level) in pattern.iter().enumerate() {
                if let Some(seen) = class.seen[field].get_mut(*level as usize) {
                    *seen += expected;
                }
            }
        };
        let two_people = patterns.household.iter().map(|one| (one, false));
        for ((pattern, count), may_match) in patterns.plain.iter().map(|one| (one, true)).chain(two_people) {
            let is_match = if may_match { bits(&match_weights, shares.matches, pattern).exp2() } else { 0.0 };
            let is_household = bits(&household_weights, shares.households, pattern).exp2();
            let all = 1.0 + is_match + is_household;
            add(&mut matches, pattern, *count as f64 * is_match / all);
            add(&mut households, pattern, *count as f64 * is_household / all);
        }
        (matches, households)
    }

    /// m from the expected matches at each level, u from chance, and how households agree.
    fn estimate(&mut self, matches: &Class, households: &Class) {
        for field in Field::ALL {
            let defaults = *self.defaults.odds(field);
            // The last four digits of a social security number stand for the whole only where that is missing.
            let apart = |level| field == Field::Ssn && level == Level::Part;
            let used = |level: Level| defaults.of(level) != (1.0, 1.0) && !apart(level);
            let levels = || Level::AGREEING.into_iter().filter(|level| used(*level));
            let (seen, chance) = (&matches.seen[field as usize], &self.chance[field as usize]);
            let at_home = &households.seen[field as usize];
            let all: f64 = levels().map(|level| seen[level as usize]).sum();
            let all_at_home: f64 = levels().map(|level| at_home[level as usize]).sum();
            let known: u64 = chance.iter().sum();
            // Among pairs drawn at random are some of one person; they are not chance.
            let of_one_person = known as f64 * self.across.matches / all.max(1.0);
            for level in levels() {
                let (default_m, default_u) = defaults.of(level);
                let m = (seen[level as usize] + PRIOR_MATCHES * default_m) / (all + PRIOR_MATCHES);
                let drawn = (chance[level as usize] as f64 - of_one_person * seen[level as usize]).max(0.0);
                let u = (drawn + PRIOR_CHANCE) / (known as f64 + PRIOR_CHANCE / default_u);
                let (m, u) = (m.clamp(BOUNDS.0, BOUNDS.1), u.clamp(LEAST_CHANCE, BOUNDS.1));
                if let Some(odds) = self.odds[field as usize].of_mut(level) {
                    *odds = (m, u);
                }
                self.household[field as usize][level as usize] = if self.is_personal(field) {
                    u
                } else {
                    // As if some had been seen who agree in this as one person's records do, and some as strangers.
                    let expected = PRIOR_MATCHES * (if shared_at_home(field) { default_m } else { u });
                    ((at_home[level as usize] + expected) / (all_at_home + PRIOR_MATCHES)).clamp(LEAST_CHANCE, BOUNDS.1)
                };
            }
            order(&mut self.odds[field as usize], used);
        }
    }

    /// Whether members of a household agree in a field like strangers. Given names too, unless sons with the names of
    /// their fathers can be counted.
    fn is_personal(&self, field: Field) -> bool {
        match field {
            Field::Birth | Field::Ssn | Field::Identifier => true,
            Field::Given => !self.knows_households,
            Field::Middle
            | Field::Family
            | Field::Gender
            | Field::Phone
            | Field::Email
            | Field::Address
            | Field::Place => false,
        }
    }
}

/// What members of a household mostly share.
fn shared_at_home(field: Field) -> bool {
    matches!(field, Field::Family | Field::Phone | Field::Address | Field::Place)
}

/// Makes the weights fall from the best level to the worst.
fn order(odds: &mut Odds, used: impl Fn(Level) -> bool) {
    let mut least = f64::INFINITY;
    for level in Level::AGREEING.into_iter().filter(|level| used(*level)) {
        let weight = odds.weight(level);
        if weight > least
            && let Some((m, u)) = odds.of_mut(level)
        {
            *m = *u * least.exp2();
        }
        least = weight.min(least);
    }
}
