//! What sources tell of identities: add, revise, merge, change of identifier, link, unlink (HL7 v2 A01 to A47, and the
//! same in v3 and FHIR).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::parting::{links, same_pair, split_apart};
use super::rows::{self, Codec, Tables, next_number, number};
use super::{Held, Identities, IdentityError, Person, PersonKey, Record, Refusal, notices};
use crate::id::{Demographics, PatientId, Tenant, Timestamp};
use crate::mpi::{Decision, Profile, block, link::decide};
use crate::storage::engine::{StoreError, Write};
use crate::storage::owed::owe;
use crate::storage::seal::Purpose;

/// Candidates that a strong identifier may bring up. More share it only if it is no identifier.
const MOST_LINKED: usize = 20;

/// A step in the life of an identity, for whoever asks later why two records are one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
    /// The identifier that stays, or the first of two.
    pub first: PatientId,
    /// The identifier that was replaced, or the second of two.
    pub second: PatientId,
    /// Match score of a link that the gateway made by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u8>,
    /// The user of ours who did it; none for a source, and for the gateway itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Change {
    pub(super) fn new(at: Timestamp, what: What, first: &PatientId, second: &PatientId) -> Self {
        Self { at, what, first: first.clone(), second: second.clone(), score: None, by: None }
    }
}

/// The kinds of [`Change`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// The source merged two of its records.
    Merged,
    /// The source gave a record another identifier.
    Renamed,
    /// A source said that two records are one person.
    Linked,
    /// A source said that they are not.
    Unlinked,
    /// One message named both identifiers.
    Joined,
    /// The gateway found them to be one person.
    Matched,
    /// The source took its record back; both identifiers are the one that went.
    Removed,
}

/// What became of a record that a source sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fed {
    /// Whose record it is now.
    pub person: PersonKey,
    /// The identifier was not known before.
    pub added: bool,
    /// Something is stored that was not stored before.
    pub changed: bool,
    /// The gateway found the new record to be of a person whom it knew.
    pub joined: bool,
    /// The identifiers of a person changed: whoever subscribed to updates is to be told.
    pub references_changed: bool,
    /// Persons that look like this one, for someone to decide.
    pub review: Vec<PersonKey>,
}

/// What a merge does about identifiers that nobody has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MergeRules {
    /// ITI-8: both must be known.
    BothKnown,
    /// ITI-30: an unknown survivor makes it a change of identifier, an unknown subsumed one makes it nothing.
    Lenient,
}

impl Identities {
    /// A source's record: new, or in place of the one with these identifiers. All identifiers of one message are one
    /// patient's; the first is the primary one.
    pub async fn feed(
        &self,
        tenant: &Tenant,
        ids: Vec<PatientId>,
        demographics: Demographics,
        at: Timestamp,
    ) -> Result<Fed, IdentityError> {
        self.put_record(tenant, ids, demographics, at, false).await
    }

    /// As [`Identities::feed`], for a patient who must be known already.
    pub async fn revise(
        &self,
        tenant: &Tenant,
        ids: Vec<PatientId>,
        demographics: Demographics,
        at: Timestamp,
    ) -> Result<Fed, IdentityError> {
        self.put_record(tenant, ids, demographics, at, true).await
    }

    async fn put_record(
        &self,
        tenant: &Tenant,
        ids: Vec<PatientId>,
        demographics: Demographics,
        at: Timestamp,
        must_exist: bool,
    ) -> Result<Fed, IdentityError> {
        let mut unique: Vec<PatientId> = Vec::with_capacity(ids.len());
        ids.into_iter().for_each(|id| {
            if !unique.contains(&id) {
                unique.push(id)
            }
        });
        if unique.is_empty() {
            return Err(Refusal::NoIdentifier.into());
        }
        let profile = Profile::of(&demographics);
        let model = self.model(tenant)?;
        let held = unique.into_iter().map(|id| Held { id, replaced_by: None }).collect();
        let record = Record { ids: held, demographics, updated: at };
        self.change(tenant, move |write, codec| {
            put(write, &mut Tables::open(write, codec)?, &record, &profile, Some(&model), must_exist)
        })
        .await
    }

    /// The source found that two of its identifiers are one patient's (A40): from now on the survivor is in use.
    /// Returns whether anything changed. Demographics are not taken from a merge.
    pub async fn merge(
        &self,
        tenant: &Tenant,
        survivor: PatientId,
        subsumed: PatientId,
        rules: MergeRules,
        at: Timestamp,
    ) -> Result<bool, IdentityError> {
        self.change(tenant, move |write, codec| {
            merge(write, &mut Tables::open(write, codec)?, &survivor, &subsumed, rules, at)
        })
        .await
    }

    /// The source gave a patient another identifier (A47). An unknown old identifier is no error and nothing.
    pub async fn change_id(
        &self,
        tenant: &Tenant,
        old: PatientId,
        new: PatientId,
        at: Timestamp,
    ) -> Result<bool, IdentityError> {
        self.change(tenant, move |write, codec| change_id(write, &mut Tables::open(write, codec)?, &old, &new, at))
            .await
    }

    /// A source said that two identifiers are one person's (A24), known or not. Stands above what the gateway thinks.
    pub async fn link(
        &self,
        tenant: &Tenant,
        a: PatientId,
        b: PatientId,
        at: Timestamp,
    ) -> Result<bool, IdentityError> {
        self.change(tenant, move |write, codec| link(write, &mut Tables::open(write, codec)?, &a, &b, at)).await
    }

    /// A source said that two identifiers are not one person's (A37). The record of the second goes its own way, and
    /// the gateway will not link the two again by itself. Nothing happens if they are two persons already.
    pub async fn unlink(
        &self,
        tenant: &Tenant,
        a: PatientId,
        b: PatientId,
        at: Timestamp,
    ) -> Result<bool, IdentityError> {
        self.change(tenant, move |write, codec| unlink(write, &mut Tables::open(write, codec)?, &a, &b, at)).await
    }

    /// The history of identities, newest first, at most so many lines.
    pub fn history(&self, tenant: &Tenant, limit: usize) -> Result<Vec<Change>, StoreError> {
        let codec = self.codec(tenant);
        let rows = self.engine.read()?.open_table(rows::HISTORY)?;
        let newest = rows.prefix(&codec.prefix)?.rev().take(limit);
        newest.map(|row| codec.decode(Purpose::Identity, row?.1.value())).collect()
    }

    /// What happened to the identifiers of a person, in its order.
    pub fn history_of(&self, tenant: &Tenant, person: &Person) -> Result<Vec<Change>, StoreError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?;
        let (history, of_ids) = (read.open_table(rows::HISTORY)?, read.open_table(rows::HISTORY_OF)?);
        let mut numbers = BTreeSet::new();
        for held in person.held() {
            let prefix = codec.history_key(&held.id);
            for row in of_ids.prefix(&prefix)? {
                numbers.insert(number(&row?.0.value()[prefix.len()..])?);
            }
        }
        let rows =
            numbers.into_iter().filter_map(|number| history.get(&codec.key(&[&number.to_be_bytes()])).transpose());
        rows.map(|row| codec.decode(Purpose::Identity, row?.value())).collect()
    }

    /// Runs a change in the store, and stores with it whom to tell of it and what it owes the audit trail. A refusal is
    /// decided before anything is written.
    pub(super) async fn change<R, N, E, F>(&self, tenant: &Tenant, work: F) -> Result<R, E>
    where
        R: Send + 'static,
        N: Send + 'static,
        E: From<N> + From<StoreError>,
        F: Fn(&Write<'_>, &Codec) -> Result<Result<R, N>, StoreError> + Send + 'static,
    {
        let mut codec = self.codec(tenant);
        codec.by.clone_from(&self.by);
        let (telling, debt, sealer) = (self.telling.clone(), self.debt.clone(), self.sealer.clone());
        let tenant = tenant.clone();
        let written = self.engine.write(move |write| {
            // The work may run more than once.
            codec.touched.take();
            let done = work(write, &codec)?;
            let mut told = false;
            if done.is_ok() {
                owe(write, &sealer, &tenant, debt.as_ref())?;
                if let Some(telling) = &telling {
                    told = notices::tell(write, telling, &tenant, &codec)?;
                }
            }
            Ok((done, told))
        });
        let (done, told) = written.await?;
        if let Some(telling) = self.telling.as_ref().filter(|_| told) {
            telling.wake.notify_one();
        }
        Ok(done?)
    }
}

/// Puts a source's record in place of the one with its identifiers, or adds it. Without a model no link is looked
/// for.
pub(super) fn put(
    write: &Write<'_>,
    tables: &mut Tables<'_>,
    record: &Record,
    profile: &Profile,
    model: Option<&crate::mpi::Model>,
    must_exist: bool,
) -> Result<Result<Fed, Refusal>, StoreError> {
    let mut known: Vec<PersonKey> = Vec::new();
    for held in &record.ids {
        if let Some(key) = tables.key_of(&held.id)?
            && !known.contains(&key)
        {
            known.push(key);
        }
    }
    let Some(&first) = known.first() else {
        if must_exist {
            return Ok(Err(Refusal::Unknown));
        }
        return add(write, tables, record, profile, model).map(Ok);
    };
    let mut people = known.iter().map(|key| tables.load(*key)).collect::<Result<Vec<_>, _>>()?;
    let replaced =
        |id: &PatientId| people.iter().flat_map(Person::held).any(|held| held.id == *id && held.replaced_by.is_some());
    if record.ids.iter().any(|held| replaced(&held.id)) {
        return Ok(Err(Refusal::AlreadyReplaced));
    }
    let before = people.remove(0);
    let mut after = before.clone();
    update(&mut after, record, &people);
    let references_changed = !people.is_empty() || after.held().count() != before.held().count();
    if people.is_empty() && after.records == before.records {
        return Ok(Ok(Fed {
            person: first,
            added: false,
            changed: false,
            joined: false,
            references_changed: false,
            review: Vec::new(),
        }));
    }
    tables.store(Some(&before), &after)?;
    for other in people {
        after = join(write, tables, &after, &other)?;
        let theirs = record.ids.iter().find(|held| other.record_of(&held.id).is_some());
        let (one, two) = (&record.ids[0].id, &theirs.unwrap_or(&other.records[0].ids[0]).id);
        log(write, tables.codec, Change::new(record.updated, What::Joined, one, two))?;
    }
    Ok(Ok(Fed { person: first, added: false, changed: true, joined: false, references_changed, review: Vec::new() }))
}

/// As [`Identities::merge`], in a write.
pub(super) fn merge(
    write: &Write<'_>,
    tables: &mut Tables<'_>,
    survivor: &PatientId,
    subsumed: &PatientId,
    rules: MergeRules,
    at: Timestamp,
) -> Result<Result<bool, Refusal>, StoreError> {
    if survivor == subsumed {
        return Ok(Err(Refusal::SameIdentifier));
    }
    if survivor.authority() != subsumed.authority() {
        return Ok(Err(Refusal::DifferentAuthorities));
    }
    let (one, two) = (tables.find(survivor)?, tables.find(subsumed)?);
    let (one, two) = match (one, two, rules) {
        (Some(one), Some(two), _) => (one, two),
        (None, Some(two), MergeRules::Lenient) => {
            return rename(write, tables, &two, subsumed, survivor, at);
        }
        (_, None, MergeRules::Lenient) => return Ok(Ok(false)),
        (_, None, MergeRules::BothKnown) => return Ok(Err(Refusal::UnknownSubsumed)),
        (None, _, MergeRules::BothKnown) => return Ok(Err(Refusal::Unknown)),
    };
    if two.current(subsumed) != subsumed {
        return Ok(Err(Refusal::AlreadyReplaced));
    }
    if one.current(survivor) != survivor {
        return Ok(Err(Refusal::SurvivorReplaced));
    }
    let mut whole = if one.key == two.key { one } else { join(write, tables, &one, &two)? };
    let before = whole.clone();
    replace(&mut whole, subsumed, survivor);
    tables.store(Some(&before), &whole)?;
    log(write, tables.codec, Change::new(at, What::Merged, survivor, subsumed))?;
    Ok(Ok(true))
}

/// As [`Identities::change_id`], in a write.
pub(super) fn change_id(
    write: &Write<'_>,
    tables: &mut Tables<'_>,
    old: &PatientId,
    new: &PatientId,
    at: Timestamp,
) -> Result<Result<bool, Refusal>, StoreError> {
    if old == new {
        return Ok(Err(Refusal::SameIdentifier));
    }
    if tables.key_of(new)?.is_some() {
        return Ok(Err(Refusal::Taken));
    }
    match tables.find(old)? {
        Some(person) => rename(write, tables, &person, old, new, at),
        None => Ok(Ok(false)),
    }
}

/// As [`Identities::link`], in a write.
pub(super) fn link(
    write: &Write<'_>,
    tables: &mut Tables<'_>,
    a: &PatientId,
    b: &PatientId,
    at: Timestamp,
) -> Result<Result<bool, Refusal>, StoreError> {
    if a == b {
        return Ok(Err(Refusal::SameIdentifier));
    }
    write.open_table(rows::APART)?.remove(&tables.codec.apart_key(a, b))?;
    let mut known = Vec::new();
    for id in [a, b] {
        known.push(match tables.find(id)? {
            Some(person) => person,
            None => {
                let ids = vec![Held { id: id.clone(), replaced_by: None }];
                let record = Record { ids, demographics: Demographics::default(), updated: at };
                let key = PersonKey(next_number(write, tables.codec, b"person")?);
                let person = Person { key, records: vec![record] };
                tables.store(None, &person)?;
                person
            }
        });
    }
    if known[0].key == known[1].key {
        return Ok(Ok(false));
    }
    join(write, tables, &known[0], &known[1])?;
    log(write, tables.codec, Change::new(at, What::Linked, a, b))?;
    Ok(Ok(true))
}

/// As [`Identities::unlink`], in a write.
pub(super) fn unlink(
    write: &Write<'_>,
    tables: &mut Tables<'_>,
    a: &PatientId,
    b: &PatientId,
    at: Timestamp,
) -> Result<Result<bool, Refusal>, StoreError> {
    if a == b {
        return Ok(Err(Refusal::SameIdentifier));
    }
    let (one, two) = (tables.find(a)?, tables.find(b)?);
    let together = one.filter(|one| two.is_some_and(|two| two.key == one.key));
    if together.as_ref().is_some_and(|one| one.current(a) == one.current(b)) {
        // One was merged into the other at their source: that is not a link to be undone.
        return Ok(Err(Refusal::AlreadyReplaced));
    }
    // The pair is kept beside its key, which cannot be read back: an export tells it.
    let pair = tables.codec.encode(Purpose::Identity, &(a, b, at))?;
    write.open_table(rows::APART)?.insert(&tables.codec.apart_key(a, b), &pair)?;
    let Some(one) = together else { return Ok(Ok(false)) };
    let links = links(write, tables.codec, &one)?;
    let (stays, goes) = split_apart(&one, (a, b), &links);
    let new = Person { key: PersonKey(next_number(write, tables.codec, b"person")?), records: goes };
    let old = Person { key: one.key, records: stays };
    tables.store(Some(&one), &old)?;
    tables.store(None, &new)?;
    // What partners told of the one person may be of either now.
    super::partners::forget_all(write, tables.codec, one.key)?;
    log(write, tables.codec, Change::new(at, What::Unlinked, a, b))?;
    // Whatever else linked the two halves is undone with it, or it would still count when they are linked again.
    let is_old = |id: &PatientId| old.held().any(|held| held.id == *id);
    for (first, second) in links.iter().filter(|(first, second)| is_old(first) != is_old(second)) {
        if !(same_pair((first, second), (a, b))) {
            log(write, tables.codec, Change::new(at, What::Unlinked, first, second))?;
        }
    }
    Ok(Ok(true))
}

/// Adds a record that no identifier is known of: to a person that it matches beyond doubt, or as a new one.
fn add(
    write: &Write<'_>,
    tables: &mut Tables<'_>,
    record: &Record,
    profile: &Profile,
    model: Option<&crate::mpi::Model>,
) -> Result<Fed, StoreError> {
    let codec = tables.codec;
    let candidates = match model {
        Some(_) => linkable(write, tables, record, profile)?,
        None => Vec::new(),
    };
    let profiles: Vec<Vec<Profile>> = candidates
        .iter()
        .map(|person| person.records.iter().map(|record| Profile::of(&record.demographics)).collect())
        .collect();
    let decision = model.map_or(Decision::New, |model| decide(profile, &profiles, model));
    match decision {
        Decision::Join(at, explanation) => {
            let before = &candidates[at];
            let mut after = before.clone();
            after.records.push(record.clone());
            tables.store(Some(before), &after)?;
            let (first, second) = (&before.records[0].ids[0].id, &record.ids[0].id);
            let change = Change::new(record.updated, What::Matched, first, second);
            log(write, codec, Change { score: Some(explanation.score()), ..change })?;
            Ok(Fed {
                person: after.key,
                added: true,
                changed: true,
                joined: true,
                references_changed: true,
                review: Vec::new(),
            })
        }
        decision => {
            let person =
                Person { key: PersonKey(next_number(write, codec, b"person")?), records: vec![record.clone()] };
            tables.store_new(&person, profile)?;
            let review = match decision {
                Decision::Review(found) => found.into_iter().map(|at| candidates[at].key).collect(),
                Decision::New | Decision::Join(..) => Vec::new(),
            };
            let references_changed = record.ids.len() > 1;
            Ok(Fed { person: person.key, added: true, changed: true, joined: false, references_changed, review })
        }
    }
}

/// Persons that share a strong identifier with a record, except those kept apart from it, and those who have another
/// identifier in use of the same authority: a source that gives two identifiers means two patients until it merges them.
fn linkable(
    write: &Write<'_>,
    tables: &Tables<'_>,
    record: &Record,
    profile: &Profile,
) -> Result<Vec<Person>, StoreError> {
    let codec = tables.codec;
    let mut keys = BTreeSet::new();
    for block in block::strong_keys(profile) {
        for person in tables.blocks.members(block)?.take(MOST_LINKED) {
            keys.insert(person?);
        }
    }
    let mut found = Vec::new();
    for key in keys {
        let person = tables.load(key)?;
        let same_source = person.ids().any(|id| record.ids.iter().any(|held| held.id.authority() == id.authority()));
        if !same_source && !are_apart(write, codec, &person, record)? {
            found.push(person);
        }
    }
    Ok(found)
}

fn are_apart(write: &Write<'_>, codec: &Codec, person: &Person, record: &Record) -> Result<bool, StoreError> {
    let apart = write.open_table(rows::APART)?;
    for held in person.held() {
        for other in &record.ids {
            if apart.get(&codec.apart_key(&held.id, &other.id))?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Puts what a source sent in place of what it sent before. A record that says nothing new keeps its time: it need not
/// be written. Identifiers of other persons stay in the records that they have there.
fn update(person: &mut Person, record: &Record, others: &[Person]) {
    let has = |old: &Record, id: &PatientId| old.ids.iter().any(|held| held.id == *id);
    let at = record.ids.iter().find_map(|held| person.records.iter().position(|old| has(old, &held.id)));
    let Some(at) = at else {
        person.records.push(record.clone());
        return;
    };
    let is_known = |id: &PatientId| others.iter().chain([&*person]).any(|person| person.record_of(id).is_some());
    let new: Vec<Held> = record.ids.iter().filter(|held| !is_known(&held.id)).cloned().collect();
    let old = &mut person.records[at];
    if old.demographics != record.demographics {
        old.demographics = record.demographics.clone();
        old.updated = record.updated;
    }
    old.ids.extend(new);
}

/// Makes two persons one, under the number of the first.
fn join(write: &Write<'_>, tables: &mut Tables<'_>, first: &Person, second: &Person) -> Result<Person, StoreError> {
    let mut whole = first.clone();
    whole.records.extend(second.records.iter().cloned());
    tables.vanish(second)?;
    tables.store(Some(first), &whole)?;
    super::partners::hand_over(write, tables.codec, second.key, first.key)?;
    Ok(whole)
}

fn rename(
    write: &Write<'_>,
    tables: &mut Tables<'_>,
    person: &Person,
    old: &PatientId,
    new: &PatientId,
    at: Timestamp,
) -> Result<Result<bool, Refusal>, StoreError> {
    if person.current(old) != old {
        return Ok(Err(Refusal::AlreadyReplaced));
    }
    let mut after = person.clone();
    for record in &mut after.records {
        if let Some(place) = record.ids.iter().position(|held| held.id == *old) {
            record.ids.insert(place, Held { id: new.clone(), replaced_by: None });
        }
    }
    replace(&mut after, old, new);
    tables.store(Some(person), &after)?;
    log(write, tables.codec, Change::new(at, What::Renamed, new, old))?;
    Ok(Ok(true))
}

fn replace(person: &mut Person, old: &PatientId, by: &PatientId) {
    for held in person.records.iter_mut().flat_map(|record| &mut record.ids) {
        if held.id == *old {
            held.replaced_by = Some(by.clone());
        }
    }
}

pub(super) fn log(write: &Write<'_>, codec: &Codec, change: Change) -> Result<(), StoreError> {
    let number = next_number(write, codec, b"history")?.to_be_bytes();
    let change = Change { by: codec.by.clone(), ..change };
    let value = codec.encode(Purpose::Identity, &change)?;
    write.open_table(rows::HISTORY)?.insert(&codec.key(&[&number]), &value)?;
    let mut of_ids = write.open_table(rows::HISTORY_OF)?;
    for id in [&change.first, &change.second] {
        of_ids.insert(&[codec.history_key(id).as_slice(), &number].concat(), &[])?;
    }
    Ok(())
}
