//! Which records go with an identifier when it leaves a person: at an unlink, with what was linked to it; when its source
//! takes it back, alone.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::{Change, What};
use super::rows::{self, Codec, number};
use super::{Held, Person, Record};
use crate::id::PatientId;
use crate::storage::engine::{StoreError, Write};
use crate::storage::seal::Purpose;

/// The records that stay and those that go when the holder of an identifier leaves: the identifier itself with all
/// that it replaced.
pub(super) fn split(person: &Person, leaving: &PatientId) -> (Vec<Record>, Vec<Record>) {
    divide(person, &BTreeSet::from([person.current(leaving).clone()]))
}

/// The records that stay and those that go with some identifiers in use. A record with others too is divided, and both
/// halves keep the demographics.
fn divide(person: &Person, gone: &BTreeSet<PatientId>) -> (Vec<Record>, Vec<Record>) {
    let half = |goes: bool| -> Vec<Record> {
        let records = person.records.iter().map(|record| {
            let is_in = |held: &&Held| gone.contains(person.current(&held.id)) == goes;
            Record { ids: record.ids.iter().filter(is_in).cloned().collect(), ..record.clone() }
        });
        records.filter(|record| !record.ids.is_empty()).collect()
    };
    (half(false), half(true))
}

/// The links that hold a person's identifiers together, as pairs of identifiers: what was linked and not unlinked since.
pub(super) fn links(
    write: &Write<'_>,
    codec: &Codec,
    person: &Person,
) -> Result<Vec<(PatientId, PatientId)>, StoreError> {
    let is_theirs = |id: &PatientId| person.record_of(id).is_some();
    let mut changes = BTreeMap::new();
    for held in person.held() {
        changes_of(write, codec, &held.id, &mut changes)?;
    }
    // Some may have been linked through an identifier that is gone.
    let others = changes.values().flat_map(|change| [&change.first, &change.second]).filter(|id| !is_theirs(id));
    let mut removals = BTreeMap::new();
    for other in others.collect::<BTreeSet<_>>() {
        changes_of(write, codec, other, &mut removals)?;
    }
    removals.retain(|_, change| change.what == What::Removed);
    changes.append(&mut removals);
    let mut links = Vec::new();
    for Change { what, first, second, .. } in changes.into_values() {
        match what {
            What::Linked | What::Matched | What::Joined => links.push((first, second)),
            What::Unlinked => links.retain(|link| !same_pair((&link.0, &link.1), (&first, &second))),
            What::Removed => links = bypass(links, &first, &is_theirs),
            What::Merged | What::Renamed => {}
        }
    }
    links.retain(|(first, second)| is_theirs(first) && is_theirs(second));
    Ok(links)
}

/// Adds the changes that name an identifier, by their numbers.
fn changes_of(
    write: &Write<'_>,
    codec: &Codec,
    id: &PatientId,
    found: &mut BTreeMap<u64, Change>,
) -> Result<(), StoreError> {
    let (history, of_ids) = (write.open_table(rows::HISTORY)?, write.open_table(rows::HISTORY_OF)?);
    let prefix = codec.history_key(id);
    for row in of_ids.prefix(&prefix)? {
        let number = number(&row?.0.value()[prefix.len()..])?;
        if let Some(row) = history.get(&codec.key(&[&number.to_be_bytes()]))? {
            found.insert(number, codec.decode(Purpose::Identity, row.value())?);
        }
    }
    Ok(())
}

/// The links without those of an identifier: its source may use it again, for somebody else. Whom it linked stay linked.
fn bypass(
    links: Vec<(PatientId, PatientId)>,
    gone: &PatientId,
    is_theirs: &impl Fn(&PatientId) -> bool,
) -> Vec<(PatientId, PatientId)> {
    let (through, mut rest): (Vec<_>, Vec<_>) = links.into_iter().partition(|link| link.0 == *gone || link.1 == *gone);
    let others = through.into_iter().map(|link| if link.0 == *gone { link.1 } else { link.0 });
    let others: Vec<PatientId> = others.filter(is_theirs).collect();
    rest.extend(others.iter().cloned().zip(others.iter().skip(1).cloned()));
    rest
}

pub(super) fn same_pair(one: (&PatientId, &PatientId), other: (&PatientId, &PatientId)) -> bool {
    one == other || (one.1, one.0) == other
}

/// The records that stay with one identifier and those that go with another, when the two are not one person's: what
/// was linked to the second goes with it, as it came. Where other links still hold the two together, or one record has
/// both, only what nothing else links to the first goes.
pub(super) fn split_apart(
    person: &Person,
    (stays, goes): (&PatientId, &PatientId),
    links: &[(PatientId, PatientId)],
) -> (Vec<Record>, Vec<Record>) {
    let (stays, goes) = (person.current(stays), person.current(goes));
    let current = |id: &PatientId| person.current(id).clone();
    let links = links.iter().map(|(one, two)| (current(one), current(two)));
    let links: Vec<_> = links.filter(|(one, two)| !same_pair((one, two), (stays, goes))).collect();
    let mut gone = reached(person, goes, &links, &BTreeSet::new());
    if gone.contains(stays) {
        let held = reached(person, stays, &links, &BTreeSet::from([goes.clone()]));
        gone = reached(person, goes, &links, &held);
    }
    divide(person, &gone)
}

/// The identifiers in use that hang together with one, by links and by being of one record, without some others.
fn reached(
    person: &Person,
    start: &PatientId,
    links: &[(PatientId, PatientId)],
    without: &BTreeSet<PatientId>,
) -> BTreeSet<PatientId> {
    let mut reached = BTreeSet::from([start.clone()]);
    loop {
        let before = reached.len();
        for record in &person.records {
            let ids = record.ids.iter().map(|held| person.current(&held.id)).filter(|id| !without.contains(*id));
            if ids.clone().any(|id| reached.contains(id)) {
                reached.extend(ids.cloned());
            }
        }
        for (one, two) in links.iter().filter(|(one, two)| !without.contains(one) && !without.contains(two)) {
            if reached.contains(one) || reached.contains(two) {
                reached.extend([one.clone(), two.clone()]);
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}
