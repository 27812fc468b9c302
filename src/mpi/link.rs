//! What follows from comparisons: whether a new record joins a person, and what a demographics query may be told.

use super::compare::{Explanation, Field, Grade, Level};
use super::normalize::Profile;
use super::parameters::Model;

/// What to do with a record of someone not yet known by an identifier.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The same person as candidate number `.0`.
    Join(usize, Explanation),
    /// Somebody new.
    New,
    /// Somebody new for now; a person should look at these candidates.
    Review(Vec<usize>),
}

/// Decides on a record, given the candidates that blocking found, each with all records of that person.
///
/// Linking by machine is for what leaves no doubt: a strong identifier that both name, with a name or a date of birth
/// that agrees, and nothing that contradicts. Everything else that looks alike goes to review: a false link shows one
/// patient's chart to another's doctor.
pub fn decide(record: &Profile, candidates: &[Vec<Profile>], model: &Model) -> Decision {
    let mut join: Vec<(usize, Explanation)> = Vec::new();
    let mut review = Vec::new();
    for (at, person) in candidates.iter().enumerate() {
        let compared: Vec<Explanation> = person.iter().map(|other| model.compare_cautiously(record, other)).collect();
        let contradicts = compared.iter().any(|found| !found.conflicts.is_empty());
        let best = compared.into_iter().max_by(|a, b| a.bits.total_cmp(&b.bits));
        match best {
            Some(best) if is_beyond_doubt(&best) && !contradicts => join.push((at, best)),
            Some(best) if best.grade() >= Grade::Probable => review.push(at),
            _ if person.iter().any(|other| model.compare_inside(record, other).grade() >= Grade::Probable) => {
                review.push(at);
            }
            _ => {}
        }
    }
    match join.len() {
        // Two persons that are both beyond doubt are a duplicate for someone to look at.
        1 if review.is_empty() => join.pop().map_or(Decision::New, |(at, found)| Decision::Join(at, found)),
        0 if review.is_empty() => Decision::New,
        _ => {
            review.extend(join.into_iter().map(|(at, _)| at));
            review.sort_unstable();
            Decision::Review(review)
        }
    }
}

fn is_beyond_doubt(found: &Explanation) -> bool {
    let strong = [Field::Ssn, Field::Identifier].into_iter().any(|field| found.level(field) == Level::Same);
    let agrees = |field| matches!(found.level(field), Level::Same | Level::Close);
    strong
        && ((agrees(Field::Given) && agrees(Field::Family)) || agrees(Field::Birth))
        && found.grade() == Grade::Certain
}

/// Evidence that an answer needs, in bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// For a candidate to be released. The default is reached by name, birth date and gender that all agree, with
    /// nothing against them.
    pub release: f64,
    /// By how much the best must lead the second, if only one may be released.
    pub lead: f64,
    /// For a candidate to count as a reason to ask for more.
    pub consider: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { release: 9.0, lead: 6.0, consider: Grade::Possible.begins() }
    }
}

/// What to ask the other side for, to tell candidates apart (ITI TF-2: 3.55.4.2.2.6).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Attribute {
    /// `LivingSubjectAdministrativeGenderRequested`.
    Gender,
    /// `PatientAddressRequested`.
    Address,
    /// `PatientTelecomRequested`.
    Telecom,
}

/// What a demographics query may be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// This candidate.
    Match(usize),
    /// These, best first: each would do, and nothing more could tell them apart.
    Several(Vec<usize>),
    /// Nobody yet; these attributes, which the query does not have, would help.
    Ambiguous(Vec<Attribute>),
    /// Nobody.
    None,
}

/// Decides what a query is told, from its comparison with each candidate person.
pub fn answer(query: &Profile, candidates: &[(Profile, Explanation)], thresholds: &Thresholds) -> Answer {
    let mut ranked: Vec<usize> =
        (0..candidates.len()).filter(|at| candidates[*at].1.bits >= thresholds.consider).collect();
    ranked.sort_by(|a, b| candidates[*b].1.bits.total_cmp(&candidates[*a].1.bits).then(a.cmp(b)));
    let Some(best) = ranked.first().map(|at| candidates[*at].1.bits) else { return Answer::None };
    let close: Vec<usize> =
        ranked.iter().copied().filter(|at| best - candidates[*at].1.bits < thresholds.lead).collect();
    if best >= thresholds.release && close.len() == 1 {
        return Answer::Match(close[0]);
    }
    let helpful = missing_attributes(query, close.iter().map(|at| &candidates[*at].0));
    if !helpful.is_empty() {
        return Answer::Ambiguous(helpful);
    }
    let released: Vec<usize> = close.into_iter().filter(|at| candidates[*at].1.bits >= thresholds.release).collect();
    match released.as_slice() {
        [] => Answer::None,
        // The others are near but not releasable: with nothing left to ask, silence is safer than a guess.
        [_] => Answer::None,
        _ => Answer::Several(released),
    }
}

/// Attributes that candidates have and the query has not.
fn missing_attributes<'p>(query: &Profile, candidates: impl Iterator<Item = &'p Profile>) -> Vec<Attribute> {
    let mut helpful = Vec::new();
    for candidate in candidates {
        if query.gender.is_none() && candidate.gender.is_some() {
            helpful.push(Attribute::Gender);
        }
        if query.addresses.is_empty() && !candidate.addresses.is_empty() {
            helpful.push(Attribute::Address);
        }
        if query.phones.is_empty()
            && query.emails.is_empty()
            && !(candidate.phones.is_empty() && candidate.emails.is_empty())
        {
            helpful.push(Attribute::Telecom);
        }
    }
    helpful.sort_unstable();
    helpful.dedup();
    helpful
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpi::compare::tests::person;

    fn check_decision(record: &str, candidates: &[&str], expected: &str) {
        let people: Vec<Vec<Profile>> = candidates.iter().map(|text| vec![person(text)]).collect();
        let found = match decide(&person(record), &people, &Model::default()) {
            Decision::Join(at, _) => format!("join {at}"),
            Decision::New => "new".to_owned(),
            Decision::Review(candidates) => format!("review {candidates:?}"),
        };
        assert_eq!(found, expected, "{record} / {candidates:?}");
    }

    #[test]
    fn only_what_leaves_no_doubt_is_linked() {
        let record = "Okafor|Ada|19870312|F|12 Elm St|97301|5035550100|123-45-6780";
        for (candidates, expected) in [
            (&["Okafor|Ada|19870312|F||||123-45-6780"][..], "join 0"),
            (&["Okafor|Ada|19870312|F||||"], "review [0]"),
            (&["Okafor|Ada|19870312|F||||123-45-6780", "Okafor|Adah|19870312|F|12 Elm St|97301||"], "review [0, 1]"),
            (&["Okafor|Eve|19870312|F|12 Elm St|97301||123-45-6780"], "review [0]"),
            (&["Smith|John|19600101|M||||"], "new"),
            (&["Okafor|Ada|19870312|F|12 Elm St|97301|5035550100|321-54-7680"], "new"),
            (&[], "new"),
        ] {
            check_decision(record, candidates, expected);
        }
        // A made-up number that half the town has is no identifier.
        let placeholder = "Okafor|Ada|19870312|F||||999-99-9999";
        check_decision(placeholder, &["Smith|Eve|19600101|F||||999-99-9999"], "new");
    }

    fn check_answer(query: &str, candidates: &[&str], expected: Answer) {
        let query_profile = person(query);
        let compared: Vec<_> = candidates
            .iter()
            .map(|text| person(text))
            .map(|other| (other.clone(), Model::default().compare_cautiously(&query_profile, &other)))
            .collect();
        assert_eq!(answer(&query_profile, &compared, &Thresholds::default()), expected, "{query} / {candidates:?}");
    }

    /// ITI TF-2: 3.55.4.2.2, cases 1 to 4.
    #[test]
    fn a_query_is_told_one_several_none_or_what_would_help() {
        let ada = "Okafor|Ada|19870312|F|12 Elm St|97301|5035550100|";
        let namesake = "Okafor|Ada|19870312|F|9 Oak Ave|10001|2125550199|";
        for (query, candidates, expected) in [
            ("Okafor|Ada|19870312|F|12 Elm St|97301||", &[ada][..], Answer::Match(0)),
            ("Okafor|Ada|19870312|F||||", &[ada], Answer::Match(0)),
            ("Okafor|Ada|19870312|F|12 Elm St|97301||", &[namesake, ada], Answer::Match(1)),
            (
                "Okafor|Ada|19870312|F||||",
                &[namesake, ada],
                Answer::Ambiguous(vec![Attribute::Address, Attribute::Telecom]),
            ),
            (
                "Okafor|Ada|19870312|F||||",
                &["Okafor|Ada|19870312|F||||", "Okafor|Ada|19870312|F||||"],
                Answer::Several(vec![0, 1]),
            ),
            ("Smith|John|19600101|M||||", &[ada], Answer::None),
            ("Okafor|Ada|19870312|F||||", &[], Answer::None),
        ] {
            check_answer(query, candidates, expected);
        }
    }
}
