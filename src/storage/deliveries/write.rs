//! How deliveries change: stored, tried again later, ended, taken up again, forgotten.

use smol_str::SmolStr;

use super::rows::{
    BODIES, CONTENTS, COUNTERS, Codec, ENDED, ITEMS, Item, LANES, READY, RECEIVED, Seen, content_prefix, moment,
    number, ready_key,
};
use super::{Attempt, Deliveries, Delivery, Draft, NotAgain, State};
use crate::id::{Tenant, Timestamp};
use crate::storage::engine::{StoreError, Write};
use crate::storage::owed::{Debt, owe};
use crate::storage::seal::Sealer;

/// What became of a submission that was received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Received {
    /// It is new; these are its deliveries.
    New(Vec<u64>),
    /// It came before, and these are its deliveries.
    Before(Vec<u64>),
    /// Another one came under its unique id.
    Different,
}

/// Stores a delivery as part of a write. Returns its number. Wake the carrier when the write is durable.
pub fn push(
    write: &Write<'_>,
    sealer: &Sealer,
    tenant: &Tenant,
    draft: &Draft,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let codec = Codec::new(tenant.clone(), sealer.clone());
    let id = SmolStr::from(uuid::Uuid::new_v4().simple().to_string());
    store(write, &codec, draft, id, None, now)
}

fn store(
    write: &Write<'_>,
    codec: &Codec,
    draft: &Draft,
    id: SmolStr,
    received: Option<String>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let number = next_number(write, codec)?;
    let lanes: Vec<Vec<u8>> = draft.lanes.iter().map(|lane| codec.lane(&draft.to, lane)).collect();
    let account = Delivery {
        number,
        id,
        kind: draft.kind,
        to: draft.to.clone(),
        trace: draft.trace,
        at: now,
        state: State::Waiting,
        attempts: 0,
        due: now,
        ended: None,
        reason: None,
        reported: Vec::new(),
        again_as: None,
    };
    let contents = draft.contents.clone();
    for content in &contents {
        let key = [content_prefix(&codec.prefix, content), number.to_be_bytes().to_vec()].concat();
        write.open_table(CONTENTS)?.insert(&key, &[])?;
    }
    write.open_table(BODIES)?.insert(&codec.number_key(number), &codec.seal(&draft.body))?;
    let mut rows = write.open_table(LANES)?;
    for lane in &lanes {
        rows.insert(&[codec.lane_prefix(lane).as_slice(), &number.to_be_bytes()].concat(), &[])?;
    }
    drop(rows);
    let item = Item { account, lanes: lanes.iter().map(hex::encode).collect(), contents, received };
    write.open_table(ITEMS)?.insert(&codec.number_key(number), &codec.encode(&item)?)?;
    make_ready(write, codec, &item)?;
    Ok(number)
}

/// Puts a delivery among those that can be tried, if it is the first of each of its lanes.
fn make_ready(write: &Write<'_>, codec: &Codec, item: &Item) -> Result<(), StoreError> {
    let account = &item.account;
    for lane in &item.lanes {
        let prefix = codec.lane_prefix(&hex::decode(lane).unwrap_or_default());
        let rows = write.open_table(LANES)?;
        let first = rows.prefix(&prefix)?.next().transpose()?;
        let first = first.map(|(key, _)| number(&key.value()[prefix.len()..])).transpose()?;
        if first != Some(account.number) {
            return Ok(());
        }
    }
    let key = ready_key(codec, &account.to, account.due, account.number);
    write.open_table(READY)?.insert(&key, &[])?;
    Ok(())
}

fn load(write: &Write<'_>, codec: &Codec, number: u64) -> Result<Option<Item>, StoreError> {
    let items = write.open_table(ITEMS)?;
    let row = items.get(&codec.number_key(number))?;
    row.map(|row| codec.item(number, row.value())).transpose()
}

fn save(write: &Write<'_>, codec: &Codec, item: &Item) -> Result<(), StoreError> {
    write.open_table(ITEMS)?.insert(&codec.number_key(item.account.number), &codec.encode(item)?)?;
    Ok(())
}

/// The next number, from 1; never used twice.
fn next_number(write: &Write<'_>, codec: &Codec) -> Result<u64, StoreError> {
    let mut counters = write.open_table(COUNTERS)?;
    let next = counters.get(&codec.prefix)?.map(|row| number(row.value())).transpose()?.unwrap_or(0) + 1;
    counters.insert(&codec.prefix, &next.to_be_bytes())?;
    Ok(next)
}

/// Takes a delivery out of its lanes; those that waited for it alone can be tried now.
fn leave_lanes(write: &Write<'_>, codec: &Codec, item: &Item) -> Result<(), StoreError> {
    let mut waiting = Vec::new();
    for lane in &item.lanes {
        let prefix = codec.lane_prefix(&hex::decode(lane).unwrap_or_default());
        let mut rows = write.open_table(LANES)?;
        rows.remove(&[prefix.as_slice(), &item.account.number.to_be_bytes()].concat())?;
        if let Some((key, _)) = rows.prefix(&prefix)?.next().transpose()? {
            waiting.push(number(&key.value()[prefix.len()..])?);
        }
    }
    waiting.sort_unstable();
    waiting.dedup();
    for next in waiting {
        if let Some(next) = load(write, codec, next)? {
            make_ready(write, codec, &next)?;
        }
    }
    Ok(())
}

/// Lets go of what a delivery brings. Returns the keys of documents that it needed.
fn let_go(write: &Write<'_>, codec: &Codec, item: &mut Item) -> Result<Vec<String>, StoreError> {
    let number = item.account.number;
    write.open_table(BODIES)?.remove(&codec.number_key(number))?;
    for content in &item.contents {
        let key = [content_prefix(&codec.prefix, content), number.to_be_bytes().to_vec()].concat();
        write.open_table(CONTENTS)?.remove(&key)?;
    }
    Ok(std::mem::take(&mut item.contents))
}

impl Deliveries {
    /// Stores a delivery by itself. Returns its number.
    pub async fn add(&self, tenant: &Tenant, draft: Draft, now: Timestamp) -> Result<u64, StoreError> {
        let (sealer, tenant) = (self.sealer.clone(), tenant.clone());
        let number = self.engine.write(move |write| push(write, &sealer, &tenant, &draft, now)).await?;
        self.shared.wake.notify_one();
        Ok(number)
    }

    /// Stores the deliveries of a submission, unless it came before. One whose deliveries were all refused or given up
    /// counts as new. `fingerprint` says what it is, whatever changes when it is sent again.
    pub async fn receive(
        &self,
        tenant: &Tenant,
        unique_id: &str,
        fingerprint: String,
        drafts: Vec<Draft>,
        now: Timestamp,
    ) -> Result<Received, StoreError> {
        let codec = self.codec(tenant);
        let blind = codec.submission(unique_id.as_bytes());
        let received = self.engine.write(move |write| {
            let key = codec.key(&[&blind]);
            let seen =
                write.open_table(RECEIVED)?.get(&key)?.map(|row| codec.decode::<Seen>(row.value())).transpose()?;
            if let Some(seen) = seen {
                let mut failed = true;
                for number in &seen.deliveries {
                    let state = load(write, &codec, *number)?.map(|item| item.account.state);
                    failed &= matches!(state, Some(State::Refused | State::GivenUp));
                }
                match failed {
                    false if seen.fingerprint == fingerprint => return Ok(Received::Before(seen.deliveries)),
                    false => return Ok(Received::Different),
                    true => {}
                }
            }
            let mut deliveries = Vec::with_capacity(drafts.len());
            for draft in &drafts {
                let id = SmolStr::from(uuid::Uuid::new_v4().simple().to_string());
                deliveries.push(store(write, &codec, draft, id, Some(hex::encode(&blind)), now)?);
            }
            let seen = Seen { fingerprint: fingerprint.clone(), deliveries: deliveries.clone() };
            write.open_table(RECEIVED)?.insert(&key, &codec.encode(&seen)?)?;
            Ok(Received::New(deliveries))
        });
        let received = received.await?;
        self.shared.wake.notify_one();
        Ok(received)
    }

    /// Keeps what came of an attempt at a delivery that is waiting. Returns the keys of documents that it does not need
    /// any more: their bytes can go, if nothing else names them.
    pub async fn settle(
        &self,
        tenant: &Tenant,
        number: u64,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let codec = self.codec(tenant);
        self.engine
            .write(move |write| {
                let Some(mut item) = load(write, &codec, number)? else { return Ok(Vec::new()) };
                if item.account.state != State::Waiting {
                    return Ok(Vec::new());
                }
                let before = ready_key(&codec, &item.account.to, item.account.due, number);
                write.open_table(READY)?.remove(&before)?;
                let account = &mut item.account;
                account.attempts += u32::from(attempt.counts);
                account.state = attempt.state;
                account.reason.clone_from(&attempt.reason);
                account.reported.clone_from(&attempt.reported);
                let mut free = Vec::new();
                if attempt.state == State::Waiting {
                    account.due = attempt.due;
                    make_ready(write, &codec, &item)?;
                } else {
                    account.ended = Some(now);
                    leave_lanes(write, &codec, &item)?;
                    let key = codec.key(&[&moment(now), &number.to_be_bytes()]);
                    write.open_table(ENDED)?.insert(&key, &[])?;
                    if attempt.state == State::Delivered {
                        free = let_go(write, &codec, &mut item)?;
                    }
                }
                save(write, &codec, &item)?;
                Ok(free)
            })
            .await
    }

    /// Takes up a delivery again that was refused or given up, behind those that wait. `body` brings something else than
    /// before, `debt` is what this owes the audit trail. Returns its new number; in messages it keeps its name only if
    /// it brings the same.
    pub async fn again(
        &self,
        tenant: &Tenant,
        number: u64,
        body: Option<Vec<u8>>,
        debt: Option<Debt>,
        now: Timestamp,
    ) -> Result<Result<u64, NotAgain>, StoreError> {
        let codec = self.codec(tenant);
        let (sealer, tenant) = (self.sealer.clone(), tenant.clone());
        let done = self.engine.write(move |write| {
            let Some(mut item) = load(write, &codec, number)? else { return Ok(Err(NotAgain::Unknown)) };
            match (item.account.state, item.account.again_as) {
                (_, Some(other)) => return Ok(Err(NotAgain::Already(other))),
                (State::Waiting, None) => return Ok(Err(NotAgain::Waiting)),
                (State::Delivered, None) => return Ok(Err(NotAgain::Delivered)),
                (State::Refused | State::GivenUp, None) => {}
            }
            let kept = write.open_table(BODIES)?.get(&codec.number_key(number))?.map(|row| codec.open(row.value()));
            let kept = kept.transpose()?.unwrap_or_default();
            let id = match &body {
                Some(_) => SmolStr::from(uuid::Uuid::new_v4().simple().to_string()),
                None => item.account.id.clone(),
            };
            let account = &item.account;
            let draft = Draft {
                kind: account.kind,
                to: account.to.clone(),
                trace: account.trace,
                lanes: Vec::new(),
                contents: item.contents.clone(),
                body: body.clone().unwrap_or(kept),
            };
            let new = store(write, &codec, &draft, id, item.received.clone(), now)?;
            enter_lanes(write, &codec, new, &item.lanes)?;
            let_go(write, &codec, &mut item)?;
            owe(write, &sealer, &tenant, debt.as_ref())?;
            item.account.again_as = Some(new);
            save(write, &codec, &item)?;
            if let Some(received) = item.received.as_deref().and_then(|it| hex::decode(it).ok()) {
                let key = codec.key(&[&received]);
                let mut table = write.open_table(RECEIVED)?;
                let seen = table.get(&key)?.map(|row| codec.decode::<Seen>(row.value())).transpose()?;
                if let Some(mut seen) = seen {
                    seen.deliveries.iter_mut().filter(|one| **one == number).for_each(|one| *one = new);
                    table.insert(&key, &codec.encode(&seen)?)?;
                }
            }
            Ok(Ok(new))
        });
        let done = done.await?;
        self.shared.wake.notify_one();
        Ok(done)
    }

    /// Forgets deliveries that ended before an instant, at most so many. Returns how many, and the keys of documents
    /// that are not needed any more.
    pub async fn forget(
        &self,
        tenant: &Tenant,
        before: Timestamp,
        most: usize,
    ) -> Result<(usize, Vec<String>), StoreError> {
        let codec = self.codec(tenant);
        self.engine
            .write(move |write| {
                let end = codec.key(&[&moment(before)]);
                let mut old = Vec::new();
                for row in write.open_table(ENDED)?.prefix(&codec.prefix)?.take(most) {
                    let key = row?.0.value().to_vec();
                    if key >= end {
                        break;
                    }
                    old.push(key);
                }
                let mut free = Vec::new();
                for key in &old {
                    write.open_table(ENDED)?.remove(key)?;
                    let number = number(&key[codec.prefix.len() + 8..])?;
                    let Some(mut item) = load(write, &codec, number)? else { continue };
                    free.extend(let_go(write, &codec, &mut item)?);
                    if let Some(received) = item.received.as_deref().and_then(|it| hex::decode(it).ok()) {
                        forget_received(write, &codec, &received, number)?;
                    }
                    write.open_table(ITEMS)?.remove(&codec.number_key(number))?;
                }
                Ok((old.len(), free))
            })
            .await
    }
}

/// Puts a delivery into lanes that are known by their rows.
fn enter_lanes(write: &Write<'_>, codec: &Codec, number: u64, lanes: &[String]) -> Result<(), StoreError> {
    let Some(mut item) = load(write, codec, number)? else { return Ok(()) };
    write.open_table(READY)?.remove(&ready_key(codec, &item.account.to, item.account.due, number))?;
    for lane in lanes {
        let prefix = codec.lane_prefix(&hex::decode(lane).unwrap_or_default());
        write.open_table(LANES)?.insert(&[prefix.as_slice(), &number.to_be_bytes()].concat(), &[])?;
    }
    item.lanes = lanes.to_vec();
    save(write, codec, &item)?;
    make_ready(write, codec, &item)
}

/// A submission is forgotten with the last of its deliveries.
fn forget_received(write: &Write<'_>, codec: &Codec, received: &[u8], number: u64) -> Result<(), StoreError> {
    let key = codec.key(&[received]);
    let mut table = write.open_table(RECEIVED)?;
    let seen = table.get(&key)?.map(|row| codec.decode::<Seen>(row.value())).transpose()?;
    let Some(mut seen) = seen else { return Ok(()) };
    seen.deliveries.retain(|one| *one != number);
    if seen.deliveries.is_empty() {
        table.remove(&key)?;
    } else {
        table.insert(&key, &codec.encode(&seen)?)?;
    }
    Ok(())
}
