//! Many changes in one write, together with the place of the file that they came from: an import that was killed goes on
//! behind the last change that is durable, and does none twice.

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::changes::{self, Fed, MergeRules};
use super::rows::{Codec, Tables};
use super::{Held, Identities, IdentityError, Record, Refusal};
use crate::id::{Demographics, PatientId, Tenant, Timestamp};
use crate::mpi::{Model, Profile};
use crate::storage::engine::{Definition, StoreError, Write, table};
use crate::storage::seal::Purpose;

const IMPORTS: Definition = table("identity.imports");

/// What is stored of a patient after an update, given what was stored before.
pub type Revise = Arc<dyn Fn(&Demographics) -> Demographics + Send + Sync>;

/// One thing that a file tells.
pub enum Step {
    /// A record, new or in place of the one with its identifiers, in comparable form beside.
    Put(Box<Record>, Box<Profile>),
    /// A record of which some parts are told; the others stay.
    Revise(Vec<PatientId>, Revise),
    /// As [`Identities::merge`]: survivor, subsumed.
    Merge(PatientId, PatientId, MergeRules),
    /// As [`Identities::change_id`]: old, new.
    ChangeId(PatientId, PatientId),
    /// As [`Identities::link`].
    Link(PatientId, PatientId),
    /// As [`Identities::unlink`].
    Unlink(PatientId, PatientId),
}

impl Step {
    /// A record. An identifier that is named twice counts once.
    pub fn put(ids: Vec<PatientId>, demographics: Demographics, at: Timestamp) -> Self {
        let profile = Profile::of(&demographics);
        Self::Put(Box::new(record(ids, demographics, at)), Box::new(profile))
    }
}

fn record(ids: Vec<PatientId>, demographics: Demographics, at: Timestamp) -> Record {
    let mut held: Vec<Held> = Vec::with_capacity(ids.len());
    for id in ids {
        if !held.iter().any(|one| one.id == id) {
            held.push(Held { id, replaced_by: None });
        }
    }
    Record { ids: held, demographics, updated: at }
}

/// A piece of a file: a row, a message, a resource.
pub struct Item {
    /// Where it begins, counted from 1.
    pub line: u64,
    /// Its first byte.
    pub from: u64,
    /// The byte behind its last.
    pub to: u64,
    /// When what it tells was true.
    pub at: Timestamp,
    /// What it tells, or why it could not be read; without patient data.
    pub steps: Result<Vec<Step>, String>,
}

/// A place of a file.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Place {
    /// Bytes before it.
    pub offset: u64,
    /// Its line, counted from 1.
    pub line: u64,
    /// What the reader of the file has to remember there.
    pub state: u64,
}

/// A piece that was not taken in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reject {
    /// Where it begins.
    pub line: u64,
    /// Its first byte.
    pub from: u64,
    /// The byte behind its last.
    pub to: u64,
    /// Why, without patient data.
    pub reason: String,
}

/// What became of the pieces of a file.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Pieces that were read.
    pub read: u64,
    /// Records of patients who were not known.
    pub added: u64,
    /// Records that say something new of patients who were known.
    pub updated: u64,
    /// Pieces that told nothing new.
    pub unchanged: u64,
    /// Of the added records, those that were found to be of a person known by other identifiers.
    pub matched: u64,
    /// Of the added records, those that someone should look at.
    pub review: u64,
    /// Merges, changes of identifiers, links and unlinks.
    pub relations: u64,
    /// Pieces that are of no patient.
    pub skipped: u64,
    /// Pieces that were not taken in.
    pub rejected: u64,
}

/// How far an import is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Import {
    /// The file, as its path was given.
    pub file: String,
    /// Its length in bytes.
    pub size: u64,
    /// The source in whose name it is read.
    pub source: String,
    /// Who began it.
    pub user: String,
    /// When.
    pub started: Timestamp,
    /// When it came to the end of the file; none if it did not yet.
    pub finished: Option<Timestamp>,
    /// Everything before it is done.
    pub place: Place,
    /// What became of that.
    pub counts: Counts,
    /// Bytes of the rejects file that are there for certain.
    pub rejects_length: u64,
    /// Rejects of the last write. They go into the rejects file behind those bytes, again if need be.
    pub pending: Vec<Reject>,
}

/// Names an import: a digest of the file's bytes and of how they are to be understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ImportKey(pub [u8; 32]);

/// Why a batch was not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("another import of the same file is under way")]
pub struct Overtaken;

impl Identities {
    /// How far the import of a name is; none if it never began.
    pub fn import_of(&self, tenant: &Tenant, key: &ImportKey) -> Result<Option<Import>, StoreError> {
        let codec = self.codec(tenant);
        let rows = self.engine.read()?.open_table(IMPORTS)?;
        rows.get(&codec.key(&[&key.0]))?.map(|row| codec.decode(Purpose::Identity, row.value())).transpose()
    }

    /// Every import that ever began, in no order.
    pub fn imports(&self, tenant: &Tenant) -> Result<Vec<Import>, StoreError> {
        let codec = self.codec(tenant);
        let rows = self.engine.read()?.open_table(IMPORTS)?;
        rows.prefix(&codec.prefix)?.map(|row| codec.decode(Purpose::Identity, row?.1.value())).collect()
    }

    /// Does what the items tell, in their order, and remembers how far the import is, in one write: all of it is durable
    /// when this answers, or nothing is. `before` is how far it was, `to` how far it is now, `matching` whether records
    /// of one person are looked for as a feed does.
    pub async fn import(
        &self,
        tenant: &Tenant,
        key: ImportKey,
        items: Arc<Vec<Item>>,
        before: Import,
        to: Place,
        matching: bool,
    ) -> Result<Import, StoreError> {
        let model = self.model(tenant)?;
        let work = move |write: &Write<'_>, codec: &Codec| {
            let row = codec.key(&[&key.0]);
            let stored: Option<Import> = {
                let rows = write.open_table(IMPORTS)?;
                rows.get(&row)?.map(|row| codec.decode(Purpose::Identity, row.value())).transpose()?
            };
            if stored.map_or(Place::default(), |stored| stored.place).offset != before.place.offset {
                return Err(StoreError::Undone(Arc::new(Overtaken)));
            }
            let mut after = Import { place: to, pending: Vec::new(), ..before.clone() };
            let mut tables = Tables::open(write, codec)?;
            for item in items.iter() {
                let done = apply(write, &mut tables, item, matching.then_some(&*model), &mut after.counts)?;
                after.counts.read += 1;
                if let Err(reason) = done {
                    after.counts.rejected += 1;
                    after.pending.push(Reject { line: item.line, from: item.from, to: item.to, reason });
                }
            }
            write.open_table(IMPORTS)?.insert(&row, &codec.encode(Purpose::Identity, &after)?)?;
            Ok(Ok(after))
        };
        // Whom to tell of a changed cross-reference is stored in the same write, as for a feed.
        self.change::<_, StoreError, _, _>(tenant, work).await
    }

    /// A source's update of a record of which it tells some parts: what is stored after it follows from what is stored
    /// when it is written, so of two updates at one moment neither undoes the other.
    pub async fn amend(
        &self,
        tenant: &Tenant,
        ids: Vec<PatientId>,
        revise: Revise,
        at: Timestamp,
    ) -> Result<Fed, IdentityError> {
        let model = self.model(tenant)?;
        self.change(tenant, move |write, codec| {
            revised(write, &mut Tables::open(write, codec)?, (&ids, &revise), at, Some(&model))
        })
        .await
    }

    /// Prepares for millions of changes in a store that nobody else uses: see [`Engine::set_checkpoint_size`].
    ///
    /// [`Engine::set_checkpoint_size`]: crate::storage::engine::Engine::set_checkpoint_size
    pub fn expect_many(&self) {
        self.engine.set_checkpoint_size(64 << 20);
    }

    /// Remembers that an import came to its end.
    pub async fn finish_import(
        &self,
        tenant: &Tenant,
        key: ImportKey,
        mut import: Import,
        at: Timestamp,
    ) -> Result<Import, StoreError> {
        let codec = self.codec(tenant);
        import.finished = Some(at);
        let (row, value) = (codec.key(&[&key.0]), codec.encode(Purpose::Identity, &import)?);
        self.engine.write(move |write| write.open_table(IMPORTS)?.insert(&row, &value)).await?;
        Ok(import)
    }
}

/// Does what one item tells. The inner error is the reason for which it was not taken in.
fn apply(
    write: &Write<'_>,
    tables: &mut Tables<'_>,
    item: &Item,
    model: Option<&Model>,
    counts: &mut Counts,
) -> Result<Result<(), String>, StoreError> {
    let steps = match &item.steps {
        Ok(steps) => steps,
        Err(reason) => return Ok(Err(reason.clone())),
    };
    counts.skipped += u64::from(steps.is_empty());
    for step in steps {
        let related = match step {
            Step::Put(record, profile) => {
                match changes::put(write, tables, record, profile, model, false)? {
                    Ok(fed) => count(&fed, counts),
                    Err(refusal) => return Ok(Err(refusal.to_string())),
                }
                continue;
            }
            Step::Revise(ids, revise) => {
                match revised(write, tables, (ids, revise), item.at, model)? {
                    Ok(fed) => count(&fed, counts),
                    Err(refusal) => return Ok(Err(refusal.to_string())),
                }
                continue;
            }
            Step::Merge(survivor, subsumed, rules) => {
                changes::merge(write, tables, survivor, subsumed, *rules, item.at)?
            }
            Step::ChangeId(old, new) => changes::change_id(write, tables, old, new, item.at)?,
            Step::Link(a, b) => changes::link(write, tables, a, b, item.at)?,
            Step::Unlink(a, b) => changes::unlink(write, tables, a, b, item.at)?,
        };
        match related {
            Ok(true) => counts.relations += 1,
            Ok(false) => counts.unchanged += 1,
            Err(refusal) => return Ok(Err(refusal.to_string())),
        }
    }
    Ok(Ok(()))
}

fn count(fed: &Fed, counts: &mut Counts) {
    match (fed.added, fed.changed) {
        (true, _) => counts.added += 1,
        (false, true) => counts.updated += 1,
        (false, false) => counts.unchanged += 1,
    }
    counts.matched += u64::from(fed.added && fed.joined);
    counts.review += u64::from(!fed.review.is_empty());
}

/// A source that updates a patient whose registration never came here still knows the patient.
fn revised(
    write: &Write<'_>,
    tables: &mut Tables<'_>,
    (ids, revise): (&[PatientId], &Revise),
    at: Timestamp,
    model: Option<&Model>,
) -> Result<Result<Fed, Refusal>, StoreError> {
    let Some(first) = ids.first() else { return Ok(Err(Refusal::NoIdentifier)) };
    let known = tables.find(first)?.filter(|person| person.current(first) == first);
    let before = known.as_ref().and_then(|person| person.demographics(Some(first))).cloned().unwrap_or_default();
    let after = revise(&before);
    let profile = Profile::of(&after);
    changes::put(write, tables, &record(ids.to_vec(), after, at), &profile, model, false)
}

/// Pairs of identifiers that sources keep apart, in the order of their keys.
pub struct Apart {
    /// The pairs, and since when.
    pub pairs: Vec<(PatientId, PatientId, Timestamp)>,
    /// Pairs that an early version kept by their keys alone, which cannot be read back.
    pub unreadable: u64,
    /// Where to go on; none: there are no more.
    pub next: Option<Vec<u8>>,
}

impl Identities {
    /// The pairs of identifiers that sources keep apart, at most so many, behind a place.
    pub fn apart(&self, tenant: &Tenant, after: Option<&[u8]>, limit: usize) -> Result<Apart, StoreError> {
        let codec = self.codec(tenant);
        let rows = self.engine.read()?.open_table(super::rows::APART)?;
        let from = after.map_or(Bound::Included(codec.prefix.as_slice()), Bound::Excluded);
        let mut found = Apart { pairs: Vec::new(), unreadable: 0, next: None };
        for row in rows.range(from, Bound::Unbounded)?.take(limit) {
            let (key, value) = row?;
            if !key.value().starts_with(&codec.prefix) {
                break;
            }
            found.next = Some(key.value().to_vec());
            match value.value() {
                [] => found.unreadable += 1,
                value => found.pairs.push(codec.decode(Purpose::Identity, value)?),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AssigningAuthority;
    use crate::id::Telecom;
    use crate::id::patient::TelecomSystem;
    use crate::mpi::compare::tests::demographics;
    use crate::storage::engine::{Engine, Settings};
    use crate::storage::identities::Resolution;
    use crate::storage::seal::Sealer;

    fn id(text: &str) -> PatientId {
        PatientId::new(text, AssigningAuthority::new("2.999.10", "ISO").unwrap()).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_760_000_000_000 + seconds * 1_000)
    }

    fn item(line: u64, steps: Result<Vec<Step>, String>) -> Item {
        Item { line, from: line * 10, to: line * 10 + 9, at: at(0), steps }
    }

    fn begun() -> Import {
        Import {
            file: "patients.csv".into(),
            size: 100,
            source: "north".into(),
            user: "ops".into(),
            started: at(0),
            finished: None,
            place: Place::default(),
            counts: Counts::default(),
            rejects_length: 0,
            pending: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_write_has_its_place_with_it_and_is_not_done_twice() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
        let store = Identities::new(engine, Sealer::plain());
        let (tenant, key) = (Tenant::default(), ImportKey([7; 32]));
        let put = |name: &str| Ok(vec![Step::put(vec![id(name)], demographics("Okafor|Ada|19870312|F"), at(0))]);
        let items = Arc::new(vec![
            item(1, put("1")),
            item(2, Err("no identifier".into())),
            item(3, put("2")),
            item(4, Ok(vec![Step::Merge(id("1"), id("2"), MergeRules::Lenient)])),
            item(5, put("2")),
            item(6, Ok(Vec::new())),
        ]);
        let place = Place { offset: 60, line: 7, state: 0 };
        let after = store.import(&tenant, key, items.clone(), begun(), place, true).await.unwrap();
        let expected = Counts { read: 6, added: 2, relations: 1, skipped: 1, rejected: 2, ..Counts::default() };
        assert_eq!(after.counts, expected);
        // A patient who was merged away is refused as in a feed, and says so without a name.
        let told: Vec<(u64, &str)> = after.pending.iter().map(|one| (one.line, one.reason.as_str())).collect();
        assert_eq!(told, [(2, "no identifier"), (5, "the patient identifier has been replaced already")]);
        assert_eq!(store.import_of(&tenant, &key).unwrap(), Some(after.clone()));

        // Another process that began at the same place comes too late, and changes nothing.
        let late = store.import(&tenant, key, items, begun(), place, true).await.unwrap_err();
        assert!(matches!(late, StoreError::Undone(_)), "{late}");
        assert_eq!(store.import_of(&tenant, &key).unwrap(), Some(after.clone()));
        let done = store.finish_import(&tenant, key, after, at(9)).await.unwrap();
        assert_eq!(store.imports(&tenant).unwrap(), [done]);
        assert_eq!(store.verify_consistency(&tenant).unwrap(), []);
    }

    /// Two updates of one patient at one moment, each of another part: none undoes the other.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn updates_of_different_parts_do_not_undo_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
        let store = Identities::new(engine, Sealer::plain());
        let tenant = Tenant::default();
        store.feed(&tenant, vec![id("1")], demographics("Okafor|Ada|19870312|F"), at(0)).await.unwrap();
        for round in 0..20 {
            let phone = Telecom {
                system: TelecomSystem::Phone,
                value: format!("50355501{round:02}").into(),
                usage: "PRN".into(),
            };
            let race: smol_str::SmolStr = format!("R{round}").into();
            let (told_phone, told_race) = (phone.clone(), race.clone());
            let call: Revise =
                Arc::new(move |before| Demographics { telecoms: vec![told_phone.clone()], ..before.clone() });
            let other: Revise =
                Arc::new(move |before| Demographics { race: Some(told_race.clone()), ..before.clone() });
            let tasks = [call, other].map(|revise| {
                let (store, tenant) = (store.clone(), tenant.clone());
                tokio::spawn(async move { store.amend(&tenant, vec![id("1")], revise, at(round)).await.unwrap() })
            });
            for task in tasks {
                task.await.unwrap();
            }
            let Resolution::Active(person) = store.resolve(&tenant, &id("1")).unwrap() else { panic!("lost") };
            let now = &person.records[0].demographics;
            assert!(now.telecoms == [phone] && now.race == Some(race), "round {round}");
        }
    }
}
