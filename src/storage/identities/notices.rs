//! Who is to be told when identifiers become one person's, or stop being so (ITI TF-2: 3.10.4.1, 3.46.4.1). What each
//! is told is decided and stored in the write that changes the cross-reference, whoever caused it: no change goes
//! untold, and none is told that did not happen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};
use tokio::sync::Notify;

use super::rows::Codec;
use super::{Identities, Person, PersonKey};
use crate::id::{AssigningAuthority, Clock, PatientId, Tenant, TraceId};
use crate::storage::deliveries::{self, Draft, Kind};
use crate::storage::engine::{StoreError, Write};
use crate::storage::seal::Sealer;

/// Somebody who wants to know about cross-references.
#[derive(Clone, Debug)]
pub struct Interest {
    /// The subscriber's name.
    pub name: SmolStr,
    /// The domains that it wants to know about, and the only ones that it is told of.
    pub authorities: Vec<AssigningAuthority>,
}

/// What a subscriber is told: these identifiers are one person's now.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Those in the subscriber's domains; at least one.
    pub ids: Vec<PatientId>,
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notice({} identifiers)", self.ids.len())
    }
}

/// The destination of a subscriber's deliveries.
pub fn destination(subscriber: &str) -> SmolStr {
    format_smolstr!("subscriber/{subscriber}")
}

/// What is needed to tell.
#[derive(Clone)]
pub(super) struct Telling {
    pub(super) interests: Arc<[Interest]>,
    pub(super) sealer: Sealer,
    pub(super) clock: Clock,
    pub(super) wake: Arc<Notify>,
}

/// The identifiers in use of each person that a write touched: before it, and now. None: there is no such person.
#[derive(Clone, Default)]
pub(super) struct Touched(BTreeMap<PersonKey, (Option<Set>, Option<Set>)>);

type Set = Vec<PatientId>;

fn set(person: &Person) -> Set {
    let mut ids: Set = person.ids().cloned().collect();
    ids.sort();
    ids
}

impl Touched {
    pub(super) fn stored(&mut self, before: Option<&Person>, after: &Person) {
        self.0.entry(after.key).or_insert_with(|| (before.map(set), None)).1 = Some(set(after));
    }

    pub(super) fn vanished(&mut self, person: &Person) {
        self.0.entry(person.key).or_insert_with(|| (Some(set(person)), None)).1 = None;
    }

    /// What happened, told apart by whom it concerns: a write may do many things at once.
    fn events(&self) -> Vec<Event<'_>> {
        let mut events: Vec<Option<Event<'_>>> = Vec::new();
        let mut places: HashMap<&PatientId, usize> = HashMap::new();
        for (key, (before, after)) in self.0.iter().filter(|(_, (before, after))| before != after) {
            // Persons between whom identifiers moved are one event.
            let ids = before.iter().chain(after).flatten();
            let others: BTreeSet<usize> = ids.filter_map(|id| places.get(id).copied()).collect();
            let mut event = Event::default();
            for other in others {
                if let Some(other) = events.get_mut(other).and_then(Option::take) {
                    event.keys.extend(other.keys);
                    event.before.extend(other.before);
                    event.now.extend(other.now);
                }
            }
            event.keys.push(*key);
            event.before.extend(before);
            event.now.extend(after);
            let place = events.len();
            event.before.iter().chain(&event.now).copied().flatten().for_each(|id| {
                places.insert(id, place);
            });
            events.push(Some(event));
        }
        events.into_iter().flatten().collect()
    }
}

/// Something that happened to persons between whom identifiers moved: their sets before, and now.
#[derive(Default)]
struct Event<'t> {
    keys: Vec<PersonKey>,
    before: Vec<&'t Set>,
    now: Vec<&'t Set>,
}

/// The sets that a subscriber is told: those that are new as far as its domains go. A set of one identifier is told
/// only to say that it is one no longer with others: a patient who is known to one system alone is no cross-reference.
fn told(interest: &Interest, before: &[&Set], now: &[&Set]) -> Vec<Set> {
    let own = |sets: &[&Set]| -> Vec<Set> {
        let restricted = sets.iter().map(|set| -> Set {
            set.iter().filter(|id| interest.authorities.contains(id.authority())).cloned().collect()
        });
        restricted.filter(|set| !set.is_empty()).collect()
    };
    let (before, now) = (own(before), own(now));
    if before.iter().chain(&now).all(|set| set.len() == 1) {
        return Vec::new();
    }
    now.into_iter().filter(|set| !before.contains(set)).collect()
}

/// Stores what is to be told of a write's changes. Notices about one person go in their order; a person that was joined
/// or divided binds the notices of all who were part of it.
pub(super) fn tell(write: &Write<'_>, telling: &Telling, tenant: &Tenant, codec: &Codec) -> Result<bool, StoreError> {
    let touched = codec.touched.borrow();
    let mut any = false;
    for Event { keys, before, now } in touched.events() {
        let trace = TraceId::new();
        for interest in telling.interests.iter() {
            for ids in told(interest, &before, &now) {
                let body = serde_json::to_vec(&Notice { ids }).map_err(|_| StoreError::Damaged("the deliveries"))?;
                let draft = Draft {
                    kind: Kind::Notification,
                    to: destination(&interest.name),
                    trace,
                    lanes: keys.iter().map(|key| key.0.to_be_bytes().to_vec()).collect(),
                    contents: Vec::new(),
                    body,
                };
                deliveries::push(write, &telling.sealer, tenant, &draft, telling.clock.now())?;
                any = true;
            }
        }
    }
    Ok(any)
}

impl Identities {
    /// The same patients, with subscribers who are told of changes. `wake` is told when there is something to deliver.
    #[must_use]
    pub fn telling(self, interests: Vec<Interest>, clock: Clock, wake: Arc<Notify>) -> Self {
        let telling = (!interests.is_empty()).then(|| Telling {
            interests: interests.into(),
            sealer: self.sealer.clone(),
            clock,
            wake,
        });
        Self { telling, ..self }
    }

    /// What a subscriber would be told of a notice's patients now: one notice for each set, the first first. For a
    /// notice that is sent again long after, when its own set may be history.
    pub fn renewed(&self, tenant: &Tenant, interest: &Interest, notice: &Notice) -> Result<Option<Notice>, StoreError> {
        for id in &notice.ids {
            if let Some(person) = self.resolve(tenant, id)?.active() {
                let ids: Set =
                    set(&person).into_iter().filter(|id| interest.authorities.contains(id.authority())).collect();
                return Ok((!ids.is_empty()).then_some(Notice { ids }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(texts: &[&[&str]]) -> Vec<Set> {
        let id = |text: &&str| {
            let (id, oid) = text.split_once('@').unwrap();
            PatientId::new(id, AssigningAuthority::new(&format!("2.999.{oid}"), "ISO").unwrap()).unwrap()
        };
        texts.iter().map(|set| set.iter().map(id).collect()).collect()
    }

    /// ITI TF-2: 3.10.4.1.1 and 3.10.4.1.3: the consumer's domains only, one message for each resulting set.
    #[test]
    fn a_consumer_is_told_the_sets_that_changed_in_its_domains() {
        let authorities = ["1", "2"].map(|oid| AssigningAuthority::new(&format!("2.999.{oid}"), "ISO").unwrap());
        let consumer = Interest { name: "ehr".into(), authorities: authorities.to_vec() };
        type Case = (
            &'static str,
            &'static [&'static [&'static str]],
            &'static [&'static [&'static str]],
            &'static [&'static [&'static str]],
        );
        let cases: [Case; 9] = [
            ("a new patient of one system", &[], &[&["A@1"]], &[]),
            ("a patient with two identifiers", &[], &[&["A@1", "B@2"]], &[&["A@1", "B@2"]]),
            ("a link", &[&["A@1"], &["B@2"]], &[&["A@1", "B@2"]], &[&["A@1", "B@2"]]),
            ("a link in a foreign domain", &[&["A@1", "B@2"], &["C@3"]], &[&["A@1", "B@2", "C@3"]], &[]),
            ("a link of one domain and a foreign one", &[&["A@1"], &["C@3"]], &[&["A@1", "C@3"]], &[]),
            ("an unlink", &[&["A@1", "B@2"]], &[&["A@1"], &["B@2"]], &[&["A@1"], &["B@2"]]),
            ("an unlink of a foreign identifier", &[&["A@1", "B@2", "C@3"]], &[&["A@1", "B@2"], &["C@3"]], &[]),
            ("a merge of two patients of one system", &[&["A@1"], &["D@1"]], &[&["D@1"]], &[]),
            ("a merge of a linked patient", &[&["A@1", "B@2"], &["D@1"]], &[&["B@2", "D@1"]], &[&["B@2", "D@1"]]),
        ];
        for (story, before, now, expected) in cases {
            let (before, now) = (sets(before), sets(now));
            let found = told(&consumer, &before.iter().collect::<Vec<_>>(), &now.iter().collect::<Vec<_>>());
            assert_eq!(found, sets(expected), "{story}");
        }
    }

    /// An import writes many patients at once; what happens to one is no news of another.
    #[test]
    fn what_happens_to_different_patients_in_one_write_is_told_apart() {
        let person = |key: u64, ids: &[&str]| {
            let held = |id: PatientId| super::super::Held { id, replaced_by: None };
            let ids = sets(&[ids]).remove(0).into_iter().map(held).collect();
            let updated = crate::id::Timestamp::from_millis(0);
            let record = super::super::Record { ids, demographics: Default::default(), updated };
            Person { key: PersonKey(key), records: vec![record] }
        };
        let mut touched = Touched::default();
        touched.stored(None, &person(1, &["A@1"]));
        touched.stored(None, &person(2, &["B@1", "B@2"]));
        touched.stored(Some(&person(3, &["C@1"])), &person(3, &["C@1", "C@2"]));
        touched.vanished(&person(4, &["C@2"]));
        touched.stored(Some(&person(5, &["D@1"])), &person(5, &["D@1"]));
        let events = touched.events();
        let mut keys: Vec<Vec<u64>> = events.iter().map(|event| event.keys.iter().map(|key| key.0).collect()).collect();
        keys.iter_mut().for_each(|keys| keys.sort_unstable());
        assert_eq!(keys, [vec![1], vec![2], vec![3, 4]]);
        assert_eq!((events[2].before.len(), events[2].now.len()), (2, 1));
    }
}
