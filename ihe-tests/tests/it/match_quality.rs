//! How good matching is, held from below: on the invented town, whose truth is known, and on truth sets that others made.
//! `match-quality/` has the whole measurement, beside another matcher.

use std::collections::HashMap;

use causeway::id::Timestamp;
use causeway::mpi::{Grade, Model, Profile, pairs};
use ihe_tests::quality::{self, Row};

/// Precision and recall of the pairs at even odds, learnt from the records alone.
fn measure(rows: &[Row], one_to_one: bool) -> (f64, f64) {
    let profiles: Vec<Profile> = rows.iter().map(Row::profile).collect();
    let sources = quality::sources(rows);
    let several = sources.iter().any(|source| *source != sources[0]);
    let may_pair = |a: usize, b: usize| !several || sources[a] != sources[b];
    let candidates = pairs::candidates(&profiles, may_pair);
    // Whoever learns nothing matches by the defaults, which are not good enough here.
    let learnt = pairs::learn(&profiles, &sources, Timestamp::from_millis(0));
    let model = learnt.map_or_else(|_| Model::default(), Model::learnt);
    let scored = pairs::score(&profiles, &candidates, &model);
    let least = Grade::Possible.begins();
    let found: Vec<(usize, usize)> = if one_to_one {
        pairs::one_to_one(&scored, least).into_iter().map(|one| one.pair).collect()
    } else {
        scored.iter().filter(|one| one.explanation.bits >= least).map(|one| one.pair).collect()
    };
    let right = found.iter().filter(|(a, b)| rows[*a].person == rows[*b].person).count() as f64;
    let mut of_person: HashMap<&str, Vec<usize>> = HashMap::new();
    rows.iter().enumerate().for_each(|(at, row)| of_person.entry(&row.person).or_default().push(at));
    let pairs_of = |all: &Vec<usize>| {
        let pairs = all.iter().enumerate().flat_map(|(at, a)| all[at + 1..].iter().map(move |b| (*a, *b)));
        pairs.filter(|(a, b)| may_pair(*a, *b)).count()
    };
    let all: usize = of_person.values().map(pairs_of).sum();
    (right / found.len() as f64, right / all as f64)
}

#[test]
fn a_town_with_twins_nicknames_and_made_up_numbers_is_matched_well() {
    let (precision, recall) = measure(&quality::town::records(500), true);
    assert!(precision > 0.985 && recall > 0.965, "precision {precision:.4}, recall {recall:.4}");
}

/// 1,000 records with a name, a date of birth, a city and an e-mail address, much of it missing or wrong.
#[test]
fn records_with_little_in_them_are_matched_as_well_as_they_can_be() {
    let Some(shared) = ihe_tests::shared() else { return };
    let text = std::fs::read_to_string(shared.join("corpus/patients/splink-fake_1000.csv")).unwrap();
    let rows: Vec<Row> = text
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.split(',').map(str::trim).collect();
            let column = |at: usize| columns.get(at).map(ToString::to_string).unwrap_or_default();
            let (id, given, family, birth) = (column(0), column(1), column(2), column(3));
            let source = "a".to_owned();
            Row {
                id,
                given,
                family,
                birth,
                city: column(4),
                email: column(5),
                person: column(6),
                source,
                ..Row::default()
            }
        })
        .collect();
    let (precision, recall) = measure(&rows, false);
    assert!(rows.len() == 1_000 && precision > 0.98 && recall > 0.80, "precision {precision:.4}, recall {recall:.4}");
}
