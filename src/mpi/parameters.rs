//! What a comparison believes: how often each level of agreement occurs between records of one person (m) and of two
//! (u). Cautious defaults, or learnt from a community's own records ([`super::learn`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::compare::{Explanation, Field, Grade, Level, compare};
use super::fields::{known_to_both, quick};
use super::frequency::Frequencies;
use super::learn::{Household, Learnt};
use super::normalize::Profile;

/// m and u of the levels of one field.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    /// m and u of a level; 1 and 1 when one side does not know.
    pub fn of(&self, level: Level) -> (f64, f64) {
        match level {
            Level::Same => self.same,
            Level::Close => self.close,
            Level::Part => self.part,
            Level::Trace => self.trace,
            Level::Different => self.different,
            Level::Missing => (1.0, 1.0),
        }
    }

    /// Evidence in bits.
    pub fn weight(&self, level: Level) -> f64 {
        let (m, u) = self.of(level);
        (m / u).log2()
    }

    /// The most evidence that any level gives, in bits.
    fn most(&self) -> f64 {
        Level::AGREEING.into_iter().map(|level| self.weight(level)).fold(0.0, f64::max)
    }

    pub(super) fn of_mut(&mut self, level: Level) -> Option<&mut (f64, f64)> {
        Some(match level {
            Level::Same => &mut self.same,
            Level::Close => &mut self.close,
            Level::Part => &mut self.part,
            Level::Trace => &mut self.trace,
            Level::Different => &mut self.different,
            Level::Missing => return None,
        })
    }
}

/// What the comparison believes.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// log2 of the odds that two records are of one person, all else unknown.
    pub prior: f64,
    /// m and u of each field, in the order of [`Field::ALL`].
    pub odds: [Odds; Field::COUNT],
    /// The most evidence, in bits, of a pair that looks like twins; none for the most cautious.
    pub twins: Option<f64>,
    /// How members of a household agree, who are not one person; without it they count as strangers.
    pub household: Option<Household>,
    /// How common names are; without it every name counts alike.
    pub names: Option<Arc<Frequencies>>,
}

impl Parameters {
    /// m and u of a field.
    pub fn odds(&self, field: Field) -> &Odds {
        &self.odds[field as usize]
    }

    /// What is taken away because members of a household would agree like this: log2 of how much more frequent the
    /// levels are among strangers and households together than among strangers. `rarity` is that of the family name.
    pub(super) fn household(&self, levels: impl Iterator<Item = (Field, Level)>, rarity: f64) -> f64 {
        let Some(household) = &self.household else { return 0.0 };
        let weight = |(field, level): (Field, Level)| {
            let (m, u) = self.odds(field).of(level);
            let agree = household.agree[field as usize].get(level as usize).copied().unwrap_or(0.0);
            if (m, u) == (1.0, 1.0) || agree <= 0.0 { 0.0 } else { (agree / u).log2() }
        };
        let bits = household.share.log2() + levels.map(weight).sum::<f64>() + rarity;
        -(1.0 + bits.exp2()).log2()
    }

    /// What the agreement of a rare name adds, or that of a common one takes away, in bits.
    pub(super) fn rarity(&self, field: Field, name: &str) -> f64 {
        self.names.as_ref().map_or(0.0, |names| names.rarity(field, name, self.odds(field).same.1))
    }
}

impl Default for Parameters {
    fn default() -> Self {
        let none = (1.0, 1.0);
        let odds = Field::ALL.map(|field| match field {
            Field::Given => Odds {
                same: (0.80, 0.003),
                close: (0.12, 0.010),
                part: (0.02, 0.020),
                trace: (0.02, 0.040),
                different: (0.04, 0.927),
            },
            Field::Middle => Odds {
                same: (0.60, 0.030),
                close: (0.05, 0.010),
                part: (0.22, 0.070),
                trace: (0.03, 0.030),
                different: (0.10, 0.860),
            },
            Field::Family => Odds {
                same: (0.85, 0.0008),
                close: (0.07, 0.002),
                part: (0.03, 0.001),
                trace: (0.01, 0.020),
                different: (0.04, 0.974),
            },
            Field::Birth => Odds {
                same: (0.90, 0.00005),
                close: (0.05, 0.0015),
                part: (0.02, 0.0040),
                trace: (0.01, 0.012),
                different: (0.02, 0.982),
            },
            Field::Gender => Odds { same: (0.97, 0.48), close: none, part: none, trace: none, different: (0.03, 0.52) },
            // The last four digits alone are compared only where a side has no more.
            Field::Ssn => Odds {
                same: (0.90, 0.000_001),
                close: (0.06, 0.000_2),
                part: (0.90, 0.000_3),
                trace: none,
                different: (0.02, 0.999),
            },
            // Households share telephones and e-mail, so they say less than their rarity.
            Field::Phone => {
                Odds { same: (0.60, 0.002), close: (0.02, 0.001), part: none, trace: none, different: (0.38, 0.997) }
            }
            Field::Email => {
                Odds { same: (0.60, 0.001), close: (0.02, 0.001), part: none, trace: none, different: (0.38, 0.998) }
            }
            Field::Address => Odds {
                same: (0.52, 0.0065),
                close: (0.12, 0.0030),
                part: (0.08, 0.0120),
                trace: (0.06, 0.0300),
                different: (0.22, 0.9485),
            },
            Field::Place => Odds {
                same: (0.72, 0.085),
                close: (0.04, 0.006),
                part: (0.05, 0.020),
                trace: (0.06, 0.050),
                different: (0.13, 0.839),
            },
            // Different ones mean nothing: people have several.
            Field::Identifier => {
                Odds { same: (0.99, 0.000_001), close: none, part: none, trace: none, different: none }
            }
        });
        Self { prior: -24.0, odds, twins: None, household: None, names: None }
    }
}

/// The parameters of one community: the defaults, and what was learnt, if anything.
#[derive(Clone, Debug)]
pub struct Model {
    defaults: Parameters,
    /// The most evidence that each field gives by the defaults, in bits.
    most: [f64; Field::COUNT],
    learnt: Option<Box<Both>>,
}

/// Learnt parameters for the two questions that are asked.
#[derive(Clone, Debug)]
struct Both {
    learnt: Learnt,
    inside: Parameters,
    outside: Parameters,
}

impl Model {
    /// A community that learnt from its own records.
    pub fn learnt(learnt: Learnt) -> Self {
        let names = Some(Arc::new(learnt.names.clone()));
        let inside = Parameters {
            prior: learnt.prior,
            odds: learnt.odds,
            twins: Some(learnt.twins_evidence()),
            household: Some(learnt.household),
            names,
        };
        // Whoever is asked about may be anybody: of all records at most one is theirs.
        let outside = Parameters { prior: -(learnt.records.max(2) as f64).log2(), twins: None, ..inside.clone() };
        Self { learnt: Some(Box::new(Both { learnt, inside, outside })), ..Self::default() }
    }

    /// Whether two profiles may be alike at all. What is quickly compared is compared, and of the rest the best is
    /// believed: where [`Model::compare_cautiously`] finds more than [`Grade::No`], this is true.
    pub fn may_match(&self, a: &Profile, b: &Profile) -> bool {
        let compared = quick(a, b).map(|(field, level)| self.defaults.odds(field).weight(level));
        let rest = known_to_both(a, b).map(|field| self.most[field as usize]);
        let most = self.defaults.prior + compared.into_iter().sum::<f64>() + rest.sum::<f64>();
        // The sums are not made in one order, so they may differ in the last digits.
        most + 1e-6 >= Grade::Possible.begins()
    }

    /// What was learnt; none while the defaults are in use.
    pub fn what_was_learnt(&self) -> Option<&Learnt> {
        self.learnt.as_ref().map(|both| &both.learnt)
    }

    /// Parameters for records of this community, one against the other.
    pub fn inside(&self) -> &Parameters {
        self.learnt.as_ref().map_or(&self.defaults, |both| &both.inside)
    }

    /// How alike two records of this community are: for review, and for whoever asks why.
    pub fn compare_inside(&self, a: &Profile, b: &Profile) -> Explanation {
        compare(a, b, self.inside())
    }

    /// How sure it is that a description from outside means a record, or that two records may be linked by machine:
    /// the lesser of what the defaults and what the learnt parameters say. Learning may withhold, never release.
    pub fn compare_cautiously(&self, a: &Profile, b: &Profile) -> Explanation {
        let by_default = compare(a, b, &self.defaults);
        let Some(both) = &self.learnt else { return by_default };
        let by_learnt = compare(a, b, &both.outside);
        if by_learnt.bits < by_default.bits { by_learnt } else { by_default }
    }
}

impl Default for Model {
    fn default() -> Self {
        let defaults = Parameters::default();
        Self { most: defaults.odds.map(|odds| odds.most()), defaults, learnt: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mpi::compare::tests::person;

    #[test]
    fn a_better_agreement_never_weighs_less() {
        let parameters = Parameters::default();
        for field in Field::ALL {
            let odds = parameters.odds(field);
            let used = Level::AGREEING.into_iter().filter(|level| odds.of(*level) != (1.0, 1.0));
            let weights: Vec<f64> = used.map(|level| odds.weight(level)).collect();
            // The last four digits of a social security number are a comparison of its own.
            let falls = weights.windows(2).all(|pair| pair[0] >= pair[1]);
            assert!(falls || field == Field::Ssn, "{field:?}: {weights:?}");
        }
    }

    proptest! {
        /// Whoever is not compared would not have been found.
        #[test]
        fn whoever_is_passed_over_does_not_match(
            known in any::<[u8; 8]>(),
            changed in prop::collection::vec((0..8_usize, any::<u8>()), 0..5),
        ) {
            let mut asked = known;
            changed.into_iter().for_each(|(part, value)| asked[part] = value);
            let (one, two) = (person(&told(known)), person(&told(asked)));
            let model = Model::default();
            prop_assert!(model.may_match(&one, &two) || model.compare_cautiously(&one, &two).grade() == Grade::No);
            prop_assert_eq!(model.may_match(&one, &two), model.may_match(&two, &one));
        }
    }

    /// Somebody: a family name, a given name, day and year of birth, gender, house, postal code, telephone; some unknown.
    fn told(parts: [u8; 8]) -> String {
        let [family, given, day, year, gender, house, zip, phone] = parts;
        let pick = |from: &[&str], part: u8| from[usize::from(part) % from.len()].to_owned();
        let birth = if day % 9 == 0 {
            format!("19{}", 10 + year % 80)
        } else {
            format!("19{}03{}", 10 + year % 80, 10 + day % 18)
        };
        [
            pick(&["Okafor", "Okafur", "Smith", "Smith-Okafor", "Ada", ""], family),
            pick(&["Ada", "Adah", "Eve", "A", "Bob", "Robert", ""], given),
            if year == 0 { String::new() } else { birth },
            pick(&["F", "M", ""], gender),
            if house % 5 == 0 { String::new() } else { format!("{} Elm St", house % 7) },
            pick(&["97301", "97310", "10001", ""], zip),
            pick(&["5035550100", "5035550101", "2125550100", ""], phone),
        ]
        .join("|")
            + "|"
    }
}
