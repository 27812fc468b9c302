//! Feeds, merges, changes of identifiers, links and their end, in any order, beside a model that knows sets alone: who is
//! one person with whom, what replaced what, and which links hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{at, open};
use crate::id::{AssigningAuthority, PatientId, Tenant};
use crate::mpi::compare::tests::demographics;
use crate::storage::identities::{Identities, IdentityError, MergeRules, Refusal, Resolution};

/// An identifier: of one of three sources, with a number.
type Id = (u8, u8);

#[derive(Clone, Debug)]
enum Step {
    Feed(Vec<Id>),
    Merge(Id, Id),
    Rename(Id, Id),
    Link(Id, Id),
    Unlink(Id, Id),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = || (0..3_u8, 0..4_u8);
    let step = prop_oneof![
        3 => prop::collection::vec(id(), 1..3).prop_map(Step::Feed),
        2 => (id(), 0..4_u8).prop_map(|(one, number)| Step::Merge(one, (one.0, number))),
        1 => (id(), 0..6_u8).prop_map(|(one, number)| Step::Rename(one, (one.0, number))),
        4 => (id(), id()).prop_map(|(one, two)| Step::Link(one, two)),
        3 => (id(), id()).prop_map(|(one, two)| Step::Unlink(one, two)),
    ];
    prop::collection::vec(step, 1..28)
}

fn told((source, number): Id) -> PatientId {
    let authority = AssigningAuthority::new(&format!("2.999.{}", 10 + source), "ISO").unwrap();
    // Zeros in front count.
    PatientId::new(&format!("00{number}"), authority).unwrap()
}

/// What an identifier means: nothing, these identifiers of one person, or another identifier.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Means {
    Nothing,
    Person(Vec<PatientId>),
    Other(PatientId),
}

#[derive(Clone, Default)]
struct Model {
    /// The records of each person, each by its identifiers.
    persons: Vec<Vec<BTreeSet<Id>>>,
    replaced: BTreeMap<Id, Id>,
    links: BTreeSet<(Id, Id)>,
}

fn pair(one: Id, two: Id) -> (Id, Id) {
    (one.min(two), one.max(two))
}

impl Model {
    fn current(&self, id: Id) -> Id {
        self.replaced.get(&id).map_or(id, |by| self.current(*by))
    }

    fn of(&self, id: Id) -> Option<usize> {
        self.persons.iter().position(|records| records.iter().any(|record| record.contains(&id)))
    }

    fn means(&self, id: Id) -> Means {
        let Some(person) = self.of(id) else { return Means::Nothing };
        if self.replaced.contains_key(&id) {
            return Means::Other(told(self.current(id)));
        }
        let in_use = self.persons[person].iter().flatten().filter(|id| !self.replaced.contains_key(id));
        let mut ids: Vec<PatientId> = in_use.map(|id| told(*id)).collect();
        ids.sort();
        Means::Person(ids)
    }

    fn join(&mut self, one: usize, two: usize) {
        if one != two {
            let records = std::mem::take(&mut self.persons[two]);
            self.persons[one].extend(records);
        }
    }

    fn add(&mut self, id: Id) -> usize {
        self.of(id).unwrap_or_else(|| {
            self.persons.push(vec![BTreeSet::from([id])]);
            self.persons.len() - 1
        })
    }

    fn feed(&mut self, ids: &[Id]) -> Result<(), Refusal> {
        if ids.iter().any(|id| self.replaced.contains_key(id)) {
            return Err(Refusal::AlreadyReplaced);
        }
        let Some(known) = ids.iter().find(|id| self.of(**id).is_some()) else {
            self.persons.push(vec![ids.iter().copied().collect()]);
            return Ok(());
        };
        let person = self.add(*known);
        for id in ids {
            match self.of(*id) {
                // The new identifier of a known record.
                None => {
                    let record = self.persons[person].iter_mut().find(|record| record.contains(known)).unwrap();
                    record.insert(*id);
                }
                Some(other) if other != person => {
                    self.join(person, other);
                    self.links.insert(pair(*known, *id));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn merge(&mut self, survivor: Id, subsumed: Id) -> Result<(), Refusal> {
        if survivor == subsumed {
            return Err(Refusal::SameIdentifier);
        }
        let (one, two) = match (self.of(survivor), self.of(subsumed)) {
            (_, None) => return Err(Refusal::UnknownSubsumed),
            (None, _) => return Err(Refusal::Unknown),
            (Some(one), Some(two)) => (one, two),
        };
        if self.replaced.contains_key(&subsumed) {
            return Err(Refusal::AlreadyReplaced);
        }
        if self.replaced.contains_key(&survivor) {
            return Err(Refusal::SurvivorReplaced);
        }
        self.join(one, two);
        self.replaced.insert(subsumed, survivor);
        Ok(())
    }

    fn rename(&mut self, old: Id, new: Id) -> Result<(), Refusal> {
        if old == new {
            return Err(Refusal::SameIdentifier);
        }
        if self.of(new).is_some() {
            return Err(Refusal::Taken);
        }
        let Some(person) = self.of(old) else { return Ok(()) };
        if self.replaced.contains_key(&old) {
            return Err(Refusal::AlreadyReplaced);
        }
        self.persons[person].iter_mut().find(|record| record.contains(&old)).unwrap().insert(new);
        self.replaced.insert(old, new);
        Ok(())
    }

    fn link(&mut self, one: Id, two: Id) -> Result<(), Refusal> {
        if one == two {
            return Err(Refusal::SameIdentifier);
        }
        let (first, second) = (self.add(one), self.add(two));
        if first != second {
            self.join(first, second);
            self.links.insert(pair(one, two));
        }
        Ok(())
    }

    fn unlink(&mut self, stays: Id, goes: Id) -> Result<(), Refusal> {
        if stays == goes {
            return Err(Refusal::SameIdentifier);
        }
        let (Some(person), Some(other)) = (self.of(stays), self.of(goes)) else { return Ok(()) };
        if person != other {
            return Ok(());
        }
        let (stay, go) = (self.current(stays), self.current(goes));
        if stay == go {
            return Err(Refusal::AlreadyReplaced);
        }
        let mut gone = self.reached(person, go, (stay, go), &BTreeSet::new());
        if gone.contains(&stay) {
            // Something else holds the two together: what does so stays.
            let held = self.reached(person, stay, (stay, go), &BTreeSet::from([go]));
            gone = self.reached(person, go, (stay, go), &held);
        }
        let records = std::mem::take(&mut self.persons[person]);
        let half = |model: &Self, goes: bool| -> Vec<BTreeSet<Id>> {
            let of = |record: &BTreeSet<Id>| -> BTreeSet<Id> {
                record.iter().filter(|id| gone.contains(&model.current(**id)) == goes).copied().collect()
            };
            records.iter().map(of).filter(|record| !record.is_empty()).collect()
        };
        let (old, new) = (half(self, false), half(self, true));
        let is_old = |id: &Id| old.iter().any(|record| record.contains(id));
        self.links.retain(|(one, two)| is_old(one) == is_old(two) || !records.iter().flatten().any(|id| id == one));
        self.persons[person] = old;
        self.persons.push(new);
        Ok(())
    }

    /// The identifiers in use that hang together with one, not counting the links of a pair, and not through others.
    fn reached(&self, person: usize, start: Id, pair_of: (Id, Id), without: &BTreeSet<Id>) -> BTreeSet<Id> {
        let records = self.persons[person].iter().map(|record| -> Vec<Id> { record.iter().copied().collect() });
        let links = self.links.iter().map(|(one, two)| vec![*one, *two]);
        let current = |ids: Vec<Id>| -> BTreeSet<Id> { ids.into_iter().map(|id| self.current(id)).collect() };
        let links = links.map(current).filter(|link| *link != BTreeSet::from([pair_of.0, pair_of.1]));
        let mut groups: Vec<BTreeSet<Id>> = links.filter(|link| link.is_disjoint(without)).collect();
        groups.extend(records.map(current).map(|ids| ids.difference(without).copied().collect()));
        let mut reached = BTreeSet::from([start]);
        while let Some(next) = groups.iter().position(|group| !group.is_disjoint(&reached)) {
            reached.extend(groups.swap_remove(next));
        }
        reached
    }

    fn take(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::Feed(ids) => self.feed(ids),
            Step::Merge(one, two) => self.merge(*one, *two),
            Step::Rename(one, two) => self.rename(*one, *two),
            Step::Link(one, two) => self.link(*one, *two),
            Step::Unlink(one, two) => self.unlink(*one, *two),
        }
    }
}

fn everybody() -> impl Iterator<Item = Id> {
    (0..3).flat_map(|source| (0..6).map(move |number| (source, number)))
}

async fn take(store: &Identities, step: &Step) -> Result<(), Refusal> {
    let tenant = &Tenant::default();
    let done = match step.clone() {
        Step::Feed(ids) => {
            let ids = ids.into_iter().map(told).collect();
            store.feed(tenant, ids, demographics("Okafor|Ada|19870312|F"), at(0)).await.map(drop)
        }
        Step::Merge(one, two) => {
            store.merge(tenant, told(one), told(two), MergeRules::BothKnown, at(0)).await.map(drop)
        }
        Step::Rename(one, two) => store.change_id(tenant, told(one), told(two), at(0)).await.map(drop),
        Step::Link(one, two) => store.link(tenant, told(one), told(two), at(0)).await.map(drop),
        Step::Unlink(one, two) => store.unlink(tenant, told(one), told(two), at(0)).await.map(drop),
    };
    match done {
        Ok(()) => Ok(()),
        Err(IdentityError::Refused(refusal)) => Err(refusal),
        Err(error @ IdentityError::Store(_)) => panic!("{error}"),
    }
}

fn means(store: &Identities, id: Id) -> Means {
    let tenant = &Tenant::default();
    match store.resolve(tenant, &told(id)).unwrap() {
        Resolution::Unknown => Means::Nothing,
        Resolution::Replaced { by, .. } => Means::Other(by),
        Resolution::Active(person) => {
            let mut ids: Vec<PatientId> = person.ids().cloned().collect();
            ids.sort();
            // What PIX queries answer is that, without the one that was asked for.
            let mut others = store.cross_references(tenant, &told(id), &[]).unwrap().unwrap();
            others.push(told(id));
            others.sort();
            assert_eq!(others, ids);
            Means::Person(ids)
        }
    }
}

fn all(store: &Identities) -> Vec<Means> {
    everybody().map(|id| means(store, id)).collect()
}

async fn agree(steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate() {
        let so_far = &steps[..=number];
        assert_eq!(take(&store, step).await, model.take(step), "{so_far:?}");
        for id in everybody() {
            assert_eq!(means(&store, id), model.means(id), "{id:?} after {so_far:?}");
        }
    }
    assert_eq!(store.verify_consistency(&Tenant::default()).unwrap(), [], "{steps:?}");
    // Whatever happened before, a link of two persons joins all of both, in either direction, and its end undoes that.
    let before = all(&store);
    let known: Vec<Id> = everybody().filter(|id| matches!(means(&store, *id), Means::Person(_))).collect();
    for (one, two) in known.iter().zip(known.iter().skip(1)) {
        if means(&store, *one) == means(&store, *two) {
            continue;
        }
        take(&store, &Step::Link(*one, *two)).await.unwrap();
        let linked = all(&store);
        assert_eq!(means(&store, *one), means(&store, *two));
        take(&store, &Step::Unlink(*one, *two)).await.unwrap();
        assert_eq!(all(&store), before, "{one:?} and {two:?} linked and unlinked after {steps:?}");
        take(&store, &Step::Link(*two, *one)).await.unwrap();
        assert_eq!(all(&store), linked, "{two:?} and {one:?} linked after {steps:?}");
        take(&store, &Step::Unlink(*one, *two)).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_sets_would_do(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(agree(&steps));
    }
}
