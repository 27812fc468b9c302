//! What is on its way to others: notifications and documents, kept until the other side has them.
//!
//! A delivery is stored in the same write as what caused it, so neither can be there without the other. It is tried
//! until it is delivered, refused or given up; after a crash it is tried again, under the same id, so that a receiver
//! can tell a copy from news. Deliveries that share a lane (a patient, a document) go one after the other; others pass
//! them by. What waits is on the disk: in memory is only what is under way.
//!
//! | table | key after the tenant | value |
//! |---|---|---|
//! | `delivery.items` | number | its account |
//! | `delivery.bodies` | number | what is to be delivered; gone once it is |
//! | `delivery.lanes` | lane, number | - |
//! | `delivery.ready` | destination, time, number | -; the first of each of its lanes only |
//! | `delivery.ended` | time, number | - |
//! | `delivery.contents` | key of a document's bytes, number | - |
//! | `delivery.received` | a submission | what it was, and its deliveries |

mod rows;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use tokio::sync::{Notify, watch};

use super::engine::{Engine, StoreError};
use super::seal::Sealer;
use crate::id::{Tenant, Timestamp, TraceId};
use rows::{BODIES, Codec, ITEMS, READY, place_of, ready_prefix};

pub use rows::holds_content;
pub use write::{Received, push};

/// What a delivery brings.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Which identifiers are one person's (ITI-10, ITI-46).
    Notification,
    /// A submission with its documents (ITI-41, ITI-80, ITI-65, a folder).
    Documents,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It will be tried, for the first time or again.
    Waiting,
    /// The other side said that it has it.
    Delivered,
    /// The other side said that it does not want it.
    Refused,
    /// The other side could not be reached for too long.
    GivenUp,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::GivenUp => "given-up",
        }
    }
}

/// An error that the receiver answered with, as it is passed on to whoever sent the documents.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// Its code.
    pub code: SmolStr,
    /// Its text. The receiver's words: they may name a patient.
    pub text: String,
    /// Whether it is a warning only.
    #[serde(default)]
    pub warning: bool,
}

/// A delivery's account, without what it brings. Nothing in it but [`Reported::text`] and `reason` can be about a
/// patient, and those only in the receiver's words.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its number here.
    #[serde(default)]
    pub number: u64,
    /// Its name in messages, the same at every attempt: 32 hexadecimal digits.
    pub id: SmolStr,
    /// What it brings.
    pub kind: Kind,
    /// Where it goes: `subscriber/NAME`, `recipient/NAME` or `partner/NAME`.
    pub to: SmolStr,
    /// The exchange that caused it.
    pub trace: TraceId,
    /// When it was caused.
    pub at: Timestamp,
    /// How far it is.
    pub state: State,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; of no meaning once it has ended.
    pub due: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What came of the last attempt, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the receiver answered with the last time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reported: Vec<Reported>,
    /// The number under which it was taken up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_as: Option<u64>,
}

/// Something to be delivered.
#[derive(Clone)]
pub struct Draft {
    /// What it brings.
    pub kind: Kind,
    /// Where it goes.
    pub to: SmolStr,
    /// The exchange that caused it.
    pub trace: TraceId,
    /// What must not overtake it, and what it must not overtake, on the way to that destination.
    pub lanes: Vec<Vec<u8>>,
    /// Keys in `storage::files` of the documents that it needs.
    pub contents: Vec<String>,
    /// What its carrier understands.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The body is patient data.
        write!(f, "Draft({:?} to {}, {} bytes)", self.kind, self.to, self.body.len())
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The state that it leads to; waiting means another attempt.
    pub state: State,
    /// When that is.
    pub due: Timestamp,
    /// Whether the receiver was asked at all.
    pub counts: bool,
    /// What happened, for people.
    pub reason: Option<String>,
    /// What the receiver answered with.
    pub reported: Vec<Reported>,
}

/// Why a delivery cannot be taken up again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAgain {
    /// There is none of that number.
    #[error("there is no delivery of that number")]
    Unknown,
    /// It is waiting anyway.
    #[error("the delivery has not ended; it is tried again by itself")]
    Waiting,
    /// It is there already.
    #[error("the delivery has arrived, and what it brought is no longer kept")]
    Delivered,
    /// Somebody did so before.
    #[error("the delivery was taken up again as number {0}")]
    Already(u64),
}

/// The deliveries of all tenants. Clones share them.
#[derive(Clone)]
pub struct Deliveries {
    engine: Engine,
    sealer: Sealer,
    shared: Arc<Shared>,
}

struct Shared {
    wake: Arc<Notify>,
    settled: watch::Sender<u64>,
    claims: Mutex<HashSet<u64>>,
    workers: AtomicUsize,
}

impl Deliveries {
    /// The deliveries of a store.
    pub fn new(engine: Engine, sealer: Sealer) -> Self {
        let shared = Shared {
            wake: Arc::default(),
            settled: watch::Sender::new(0),
            claims: Mutex::default(),
            workers: AtomicUsize::new(0),
        };
        Self { engine, sealer, shared: Arc::new(shared) }
    }

    /// Told when there may be something new to deliver.
    pub fn wake(&self) -> Arc<Notify> {
        self.shared.wake.clone()
    }

    /// Counts the attempts that have ended; changes after each.
    pub fn settled(&self) -> watch::Receiver<u64> {
        self.shared.settled.subscribe()
    }

    /// Whether somebody carries deliveries in this process.
    pub fn is_worked(&self) -> bool {
        self.shared.workers.load(Ordering::Acquire) > 0
    }

    /// To be held by whoever carries deliveries.
    pub fn work(&self) -> Working {
        self.shared.workers.fetch_add(1, Ordering::AcqRel);
        Working(self.shared.clone())
    }

    /// Takes a delivery in hand, unless somebody has it in hand already.
    pub fn claim(&self, number: u64) -> Option<Claim> {
        let new = self.shared.claims.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        new.then(|| Claim { shared: self.shared.clone(), number })
    }

    /// A delivery's account.
    pub fn get(&self, tenant: &Tenant, number: u64) -> Result<Option<Delivery>, StoreError> {
        let codec = self.codec(tenant);
        let items = self.engine.read()?.open_table(ITEMS)?;
        let row = items.get(&codec.number_key(number))?;
        row.map(|row| Ok(codec.item(number, row.value())?.account)).transpose()
    }

    /// What a delivery brings; none once it was delivered.
    pub fn body(&self, tenant: &Tenant, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let codec = self.codec(tenant);
        let bodies = self.engine.read()?.open_table(BODIES)?;
        bodies.get(&codec.number_key(number))?.map(|row| codec.open(row.value())).transpose()
    }

    /// The latest deliveries, newest first: in a state or in any, to destinations that start so.
    pub fn latest(
        &self,
        tenant: &Tenant,
        state: Option<State>,
        to: &str,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let codec = self.codec(tenant);
        let items = self.engine.read()?.open_table(ITEMS)?;
        let mut found = Vec::new();
        for row in items.prefix(&codec.prefix)?.rev() {
            if found.len() >= limit {
                break;
            }
            let (key, value) = row?;
            let account = codec.item(codec.number(key.value())?, value.value())?.account;
            if state.is_none_or(|state| state == account.state) && account.to.starts_with(to) {
                found.push(account);
            }
        }
        Ok(found)
    }

    /// What can be tried now: for each destination those that wait longest, as many as `places` grants it and `limit`
    /// in all. Destinations are told apart by a look at the first row of each, whatever waits behind it.
    pub fn ready(
        &self,
        tenant: &Tenant,
        now: Timestamp,
        limit: usize,
        places: impl Fn(&str) -> usize,
    ) -> Result<Vec<u64>, StoreError> {
        let codec = self.codec(tenant);
        let ready = self.engine.read()?.open_table(READY)?;
        let end = codec.prefix_end();
        let mut found = Vec::new();
        let mut from = codec.prefix.clone();
        while found.len() < limit {
            let first = ready.range(Bound::Included(&from), Bound::Excluded(&end))?.next().transpose()?;
            let Some((key, _)) = first else { break };
            let (to, ..) = place_of(&key.value()[codec.prefix.len()..])?;
            let prefix = ready_prefix(&codec, &to);
            let mut granted = places(&to).min(limit - found.len());
            for row in ready.prefix(&prefix)? {
                let (_, due, number) = place_of(&row?.0.value()[codec.prefix.len()..])?;
                if granted == 0 || due > now {
                    break;
                }
                // Those in hand are still in the table; they take no place twice.
                if !self.is_claimed(number) {
                    found.push(number);
                    granted -= 1;
                }
            }
            from = [prefix.as_slice(), &[u8::MAX; 17]].concat();
        }
        Ok(found)
    }

    /// The keys of the documents that a delivery needs.
    pub fn contents(&self, tenant: &Tenant, number: u64) -> Result<Vec<String>, StoreError> {
        let codec = self.codec(tenant);
        let items = self.engine.read()?.open_table(ITEMS)?;
        let row = items.get(&codec.number_key(number))?;
        Ok(row.map(|row| codec.item(number, row.value())).transpose()?.map(|item| item.contents).unwrap_or_default())
    }

    /// How many rows each table has, for tests and checks of what is left behind.
    pub fn sizes(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let read = self.engine.read()?;
        let tables = [ITEMS, BODIES, rows::LANES, READY, rows::ENDED, rows::CONTENTS, rows::RECEIVED];
        let named = rows::NAMES.into_iter().zip(tables);
        named.map(|(name, table)| Ok((name, read.open_table(table)?.len()?))).collect()
    }

    fn is_claimed(&self, number: u64) -> bool {
        self.shared.claims.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    fn codec(&self, tenant: &Tenant) -> Codec {
        Codec::new(tenant.clone(), self.sealer.clone())
    }
}

/// Says, while it lives, that somebody carries deliveries.
pub struct Working(Arc<Shared>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.workers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A delivery in hand. Dropped, it can be taken by the next.
pub struct Claim {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        self.shared.settled.send_modify(|count| *count += 1);
        self.shared.wake.notify_one();
    }
}
