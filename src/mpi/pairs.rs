//! Matches a list of records that fits into memory: for learning from a sample, for measuring how good matching is.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::block;
use super::compare::Explanation;
use super::learn::{Learner, Learnt, NotLearnt, Possible};
use super::normalize::Profile;
use super::parameters::Model;
use crate::id::Timestamp;

/// Members of a block of which all pairs are compared.
const LARGEST_BLOCK: usize = 200;
/// Pairs drawn at random for [`learn`].
const DRAWN: u64 = 150_000;

/// Pairs of records that share a block, each pair once and the smaller number first. `wanted` says whether a pair is
/// worth comparing.
pub fn candidates(records: &[Profile], wanted: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let mut blocks: HashMap<u64, Vec<(u64, usize)>> = HashMap::new();
    for (at, record) in records.iter().enumerate() {
        for key in block::keys(record) {
            blocks.entry(key & block::COARSE).or_default().push((key, at));
        }
    }
    let mut pairs = HashSet::new();
    let mut all_of = |members: &[(u64, usize)]| {
        for (at, (_, one)) in members.iter().enumerate() {
            let others = members[at + 1..].iter().map(|(_, two)| *two);
            pairs.extend(others.filter(|two| one < two && wanted(*one, *two)).map(|two| (*one, two)));
        }
    };
    for members in blocks.values_mut() {
        if members.len() <= block::FEW {
            members.sort_unstable_by_key(|(_, at)| *at);
            all_of(members);
            continue;
        }
        members.sort_unstable();
        members.chunk_by(|one, two| one.0 == two.0).filter(|whole| whole.len() <= LARGEST_BLOCK).for_each(&mut all_of);
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_unstable();
    pairs
}

/// Learns from records, each with the number of its source. Records of one source are two patients if there are
/// several sources, and else may be one.
pub fn learn(records: &[Profile], sources: &[usize], at: Timestamp) -> Result<Learnt, NotLearnt> {
    let mut learner = Learner::default();
    records.iter().for_each(|record| learner.record(record));
    let mut random = Random(1);
    for _ in 0..if records.len() < 2 { 0 } else { DRAWN } {
        let (one, two) = (random.below(records.len()), random.below(records.len()));
        if one != two {
            learner.at_random(&records[one], &records[two]);
        }
    }
    let of_source: BTreeMap<usize, usize> = sources.iter().fold(BTreeMap::new(), |mut counts, source| {
        *counts.entry(*source).or_default() += 1;
        counts
    });
    let several = of_source.len() > 1;
    for (one, two) in candidates(records, |_, _| true) {
        if several && sources[one] == sources[two] {
            learner.two_patients(&records[one], &records[two]);
        } else {
            learner.candidate(&records[one], &records[two]);
        }
    }
    learner.learn(possible(records.len(), &of_source), records.len() as u64, of_source.len(), at)
}

fn possible(records: usize, of_source: &BTreeMap<usize, usize>) -> Possible {
    let pairs = |count: usize| count as f64 * (count as f64 - 1.0) / 2.0;
    let within: f64 = if of_source.len() > 1 { of_source.values().map(|count| pairs(*count)).sum() } else { 0.0 };
    Possible { across: pairs(records) - within, within }
}

/// A candidate pair with its evidence.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The two records, by their numbers in the list.
    pub pair: (usize, usize),
    /// Why they match or do not.
    pub explanation: Explanation,
}

/// Compares candidate pairs.
pub fn score(records: &[Profile], candidates: &[(usize, usize)], model: &Model) -> Vec<Scored> {
    candidates
        .iter()
        .map(|pair| Scored { pair: *pair, explanation: model.compare_inside(&records[pair.0], &records[pair.1]) })
        .collect()
}

/// Of pairs that match, those that are left when each record of one source is matched with one of another at most:
/// the surest first. A source that gives two identifiers means two patients.
pub fn one_to_one(scored: &[Scored], least: f64) -> Vec<&Scored> {
    let mut sure: Vec<&Scored> = scored.iter().filter(|one| one.explanation.bits >= least).collect();
    sure.sort_by(|a, b| b.explanation.bits.total_cmp(&a.explanation.bits).then(a.pair.cmp(&b.pair)));
    let mut taken = HashSet::new();
    sure.retain(|one| {
        let free = !taken.contains(&one.pair.0) && !taken.contains(&one.pair.1);
        if free {
            taken.extend([one.pair.0, one.pair.1]);
        }
        free
    });
    sure
}

/// Numbers that are the same in every run (a linear congruential generator).
pub struct Random(pub u64);

impl Random {
    /// A number below another.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpi::compare::tests::person;
    use crate::mpi::{Field, Grade, Level};

    /// A town of a thousand people, each of whom is known to two sources; one in ten is written wrong by the second.
    fn town() -> Vec<Profile> {
        let mut records = Vec::new();
        for number in 0..1_000_usize {
            let given = ["Ada", "Eve", "Mary", "Ruth", "Joan"][number % 5];
            let family =
                format!("{}{}", ["Brook", "Stone", "Wald", "Hart"][number % 4], ["son", "man", "ley"][number % 3]);
            let birth = format!("{}{:02}{:02}", 1930 + number % 80, 1 + number % 12, 1 + number % 27);
            let street = format!("{} Elm St", number * 3 % 700);
            let zip = 10_000 + number % 300;
            records.push(person(&format!("{family}|{given}|{birth}|F|{street}|{zip}|")));
            let written = if number % 10 == 0 { format!("{family}x") } else { family };
            records.push(person(&format!("{written}|{given}|{birth}|F|{street}|{zip}|")));
        }
        records
    }

    fn two_sources(count: usize) -> Vec<usize> {
        (0..count).map(|at| at % 2).collect()
    }

    fn learnt() -> Learnt {
        let records = town();
        learn(&records, &two_sources(records.len()), Timestamp::from_millis(0)).unwrap()
    }

    #[test]
    fn what_is_learnt_is_what_the_records_are_like() {
        let found = learnt();
        let odds = |field: Field| found.odds[field as usize];
        assert!((found.matches - 1_000.0).abs() < 50.0, "{}", found.matches);
        assert!((odds(Field::Family).close.0 - 0.1).abs() < 0.03, "{:?}", odds(Field::Family));
        assert!((odds(Field::Given).same.1 - 0.2).abs() < 0.03, "five given names: {:?}", odds(Field::Given));
        // What the records do not have stays as it was.
        assert_eq!(odds(Field::Ssn).same.0, super::super::Parameters::default().odds(Field::Ssn).same.0);
    }

    #[test]
    fn weights_fall_with_the_agreement() {
        let found = learnt();
        for field in Field::ALL.into_iter().filter(|field| *field != Field::Ssn) {
            let odds = found.odds[field as usize];
            let used = Level::AGREEING.into_iter().filter(|level| odds.of(*level) != (1.0, 1.0));
            let weights: Vec<f64> = used.map(|level| odds.weight(level)).collect();
            assert!(weights.windows(2).all(|pair| pair[0] >= pair[1] - 1e-9), "{field:?}: {weights:?}");
        }
    }

    #[test]
    fn learning_never_releases_what_the_defaults_would_not() {
        let (defaults, model) = (Model::default(), Model::learnt(learnt()));
        let records = town();
        for at in 0..200 {
            for other in [at ^ 1, (at + 7) % 200] {
                let (one, two) = (&records[at], &records[other]);
                let (cautious, plain) = (model.compare_cautiously(one, two), defaults.compare_cautiously(one, two));
                assert!(cautious.bits <= plain.bits, "{cautious:?} {plain:?}");
            }
        }
    }

    /// One source has twins and the other does not know them by other names: then the pairs across are twins too.
    #[test]
    fn twins_of_one_source_are_twins_across_sources_and_a_wrong_given_name_is_not_one() {
        let mut records = town();
        let add = |records: &mut Vec<Profile>, given: [&str; 2], number: usize| {
            for given in given {
                let zip = 20_000 + number;
                records.push(person(&format!("Sibling{number}|{given}|19990312|F|{number} Oak St|{zip}|")));
            }
        };
        (0..40).for_each(|number| add(&mut records, ["Ada", "Ruth"], number));
        let wrong = learn(&records, &two_sources(records.len()), Timestamp::from_millis(0)).unwrap();
        assert!(wrong.twins < 0.2 && wrong.twins_evidence() > 2.0, "only across sources: {}", wrong.twins);
        // Both names in both sources.
        (0..40).for_each(|number| add(&mut records, ["Ruth", "Ada"], number));
        let twins = learn(&records, &two_sources(records.len()), Timestamp::from_millis(0)).unwrap();
        assert!(twins.twins > 0.9 && twins.twins_evidence() == -1.0, "{}", twins.twins);
    }

    #[test]
    fn learning_is_repeatable_and_needs_enough_records() {
        assert_eq!(learnt(), learnt());
        let few: Vec<Profile> = town().into_iter().take(100).collect();
        let refused = learn(&few, &two_sources(100), Timestamp::from_millis(0));
        assert_eq!(refused.unwrap_err(), NotLearnt::TooFewRecords(100));
        // Nobody twice: there is no match to learn from.
        let once: Vec<Profile> = town().into_iter().step_by(2).collect();
        let refused = learn(&once, &[0; 1_000], Timestamp::from_millis(0));
        assert!(matches!(refused, Err(NotLearnt::TooFewMatches(_) | NotLearnt::NoContrast(_))), "{refused:?}");
    }

    #[test]
    fn each_record_is_matched_with_one_at_most() {
        let scored = |pair, bits| Scored {
            pair,
            explanation: Explanation { bits, prior: 0.0, household: 0.0, fields: Vec::new(), conflicts: Vec::new() },
        };
        let all = [scored((0, 5), 9.0), scored((0, 6), 12.0), scored((1, 5), 3.0), scored((2, 7), -1.0)];
        let kept: Vec<_> = one_to_one(&all, Grade::Possible.begins()).into_iter().map(|one| one.pair).collect();
        assert_eq!(kept, [(0, 6), (1, 5)]);
    }
}
