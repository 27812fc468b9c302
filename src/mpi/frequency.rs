//! How common names are among a community's records. Keeps hashes and counts, no name.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::block;
use super::compare::Field;
use super::normalize::Profile;

/// So many of the most common names of a kind are told apart; all others count as equally rare.
const KEPT: usize = 4_000;
/// The most that the rarity of a name adds, in bits, and the most that its commonness takes away.
const MOST: (f64, f64) = (3.0, 6.0);

/// How common given and family names are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frequencies {
    given: Names,
    family: Names,
}

/// Names of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Names {
    /// Shares of the most common ones by hash, in the order of the hashes.
    common: Vec<(u64, f32)>,
    /// The share of any other.
    rare: f64,
}

impl Frequencies {
    /// See [`super::Parameters::rarity`]: `average` is the share that agreement of this field was given.
    pub(super) fn rarity(&self, field: Field, name: &str, average: f64) -> f64 {
        let names = match field {
            Field::Given => &self.given,
            Field::Family => &self.family,
            _ => return 0.0,
        };
        let share = names.share(name);
        if share <= 0.0 { 0.0 } else { (average / share).log2().clamp(-MOST.1, MOST.0) }
    }

    /// How many given and family names are told apart.
    pub fn counts(&self) -> (usize, usize) {
        (self.given.common.len(), self.family.common.len())
    }
}

impl Names {
    fn share(&self, name: &str) -> f64 {
        let hash = block::hash("frequency", &[name]);
        let found = self.common.binary_search_by_key(&hash, |(hash, _)| *hash);
        found.map_or(self.rare, |at| f64::from(self.common[at].1))
    }
}

/// Counts names.
#[derive(Default)]
pub(super) struct Counter {
    given: HashMap<u64, u32>,
    family: HashMap<u64, u32>,
}

impl Counter {
    pub(super) fn add(&mut self, profile: &Profile) {
        if let Some(name) = profile.names.first() {
            for (names, name) in [(&mut self.given, &name.given), (&mut self.family, &name.family)] {
                if !name.is_empty() {
                    *names.entry(block::hash("frequency", &[name])).or_default() += 1;
                }
            }
        }
    }

    pub(super) fn frequencies(self) -> Frequencies {
        Frequencies { given: names(self.given), family: names(self.family) }
    }
}

fn names(counted: HashMap<u64, u32>) -> Names {
    let total: f64 = counted.values().map(|count| f64::from(*count)).sum();
    let distinct = counted.len();
    if distinct == 0 {
        return Names::default();
    }
    let mut common: Vec<(u64, u32)> = counted.into_iter().filter(|(_, count)| *count > 2).collect();
    common.sort_unstable_by_key(|(hash, count)| (std::cmp::Reverse(*count), *hash));
    common.truncate(KEPT);
    common.sort_unstable();
    let told: f64 = common.iter().map(|(_, count)| f64::from(*count)).sum();
    let others = (distinct - common.len()) as f64;
    // A name that the records do not have may be as common as one seen once.
    let rare = if others > 0.0 { (total - told).max(1.0) / others / total } else { 1.0 / total };
    let common = common.into_iter().map(|(hash, count)| (hash, (f64::from(count) / total) as f32)).collect();
    Names { common, rare }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpi::compare::tests::person;

    #[test]
    fn a_common_name_says_less_than_a_rare_one() {
        let mut counter = Counter::default();
        for number in 0..1_000 {
            let family = if number % 10 == 0 { "Smith".to_owned() } else { format!("Rare{number}") };
            counter.add(&person(&format!("{family}|Ada|19870312|F")));
        }
        let found = counter.frequencies();
        let rarity = |name| found.rarity(Field::Family, name, 0.01);
        assert!(rarity("SMITH") < -3.0 && rarity("RARE7") > 2.0, "{} {}", rarity("SMITH"), rarity("RARE7"));
        assert_eq!(rarity("NEVERSEEN"), rarity("RARE7"), "unknown counts as rare");
        assert_eq!(found.rarity(Field::Birth, "SMITH", 0.01), 0.0);
        assert!(!serde_json::to_string(&found).unwrap().to_uppercase().contains("SMITH"), "no name is kept");
    }
}
