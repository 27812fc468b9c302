//! How many persons a match compares: what decides about its cost, and must not grow with the number of patients.

use std::path::Path;
use std::time::Instant;

use causeway::id::Tenant;
use causeway::storage::engine::{Engine, Settings};
use causeway::storage::identities::Identities;
use causeway::storage::seal::Sealer;
use serde_json::json;

use super::{Failure, population};

/// Looks for patients among those of a store that nobody uses, and says how many were compared for each.
pub fn run(folder: &Path, patients: u64, wanted: u64) -> Result<String, Failure> {
    let started = Instant::now();
    let identities = Identities::new(Engine::open(folder, &Settings::default())?, Sealer::plain());
    let opened = started.elapsed();
    let (persons, ids) = identities.counts()?;
    let (mut compared, mut skipped, mut found) = (Vec::new(), 0, 0);
    for at in 0..wanted {
        let number = at * (patients / wanted.max(1)).max(1);
        let mut asked = population::demographics(number);
        // As a partner asks: without the social security number, with what everybody has.
        asked.telecoms.clear();
        let result = identities.search(&Tenant::default(), &asked, 10)?;
        compared.push(result.compared);
        skipped += result.blocks_skipped;
        let own = format!("P{number}");
        found += u64::from(result.candidates.iter().any(|one| one.person.ids().any(|id| id.id() == own)));
    }
    compared.sort_unstable();
    let at =
        |percent: usize| compared.get((compared.len() * percent / 100).min(compared.len().saturating_sub(1))).copied();
    let result = json!({
        "name": "candidates",
        "persons": persons,
        "identifiers": ids,
        "opened_ms": opened.as_millis() as u64,
        "asked": wanted,
        "found": found,
        "compared_p50": at(50),
        "compared_p99": at(99),
        "compared_most": compared.last(),
        "blocks_passed_over": skipped,
    });
    Ok(result.to_string())
}
