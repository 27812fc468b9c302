//! Keys and values of the tables of deliveries.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Delivery;
use crate::id::{Tenant, Timestamp};
use crate::storage::engine::{Definition, Read, StoreError, table};
use crate::storage::seal::{Purpose, Sealer, row_prefix};

pub(super) const NAMES: [&str; 7] = [
    "delivery.items",
    "delivery.bodies",
    "delivery.lanes",
    "delivery.ready",
    "delivery.ended",
    "delivery.contents",
    "delivery.received",
];

pub(super) const ITEMS: Definition = table(NAMES[0]);
pub(super) const BODIES: Definition = table(NAMES[1]);
pub(super) const LANES: Definition = table(NAMES[2]);
pub(super) const READY: Definition = table(NAMES[3]);
pub(super) const ENDED: Definition = table(NAMES[4]);
pub(super) const CONTENTS: Definition = table(NAMES[5]);
pub(super) const RECEIVED: Definition = table(NAMES[6]);
pub(super) const COUNTERS: Definition = table("delivery.counters");

pub(super) const DAMAGED: StoreError = StoreError::Damaged("the deliveries");

/// A row of the items.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) account: Delivery,
    /// In hexadecimal, as their rows have them.
    pub(super) lanes: Vec<String>,
    pub(super) contents: Vec<String>,
    /// The submission that it was received with, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) received: Option<String>,
}

/// What was received before under a submission's unique id.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) fingerprint: String,
    pub(super) deliveries: Vec<u64>,
}

/// Encodes the rows of one tenant.
pub(super) struct Codec {
    tenant: Tenant,
    sealer: Sealer,
    pub(super) prefix: Vec<u8>,
}

impl Codec {
    pub(super) fn new(tenant: Tenant, sealer: Sealer) -> Self {
        let prefix = row_prefix(&tenant);
        Self { tenant, sealer, prefix }
    }

    pub(super) fn key(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = self.prefix.clone();
        parts.iter().for_each(|part| key.extend_from_slice(part));
        key
    }

    /// The first key after those of the tenant: its prefix ends with a zero byte.
    pub(super) fn prefix_end(&self) -> Vec<u8> {
        let mut end = self.prefix.clone();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        end
    }

    pub(super) fn number_key(&self, number: u64) -> Vec<u8> {
        self.key(&[&number.to_be_bytes()])
    }

    pub(super) fn number(&self, key: &[u8]) -> Result<u64, StoreError> {
        number(key.get(self.prefix.len()..).unwrap_or_default())
    }

    /// A lane of a destination as its rows name it: lanes name patients.
    pub(super) fn lane(&self, to: &str, lane: &[u8]) -> Vec<u8> {
        let plain = [to.as_bytes(), &[0], lane].concat();
        self.sealer.blind(&self.tenant, Purpose::Delivery, &plain)
    }

    pub(super) fn lane_prefix(&self, lane: &[u8]) -> Vec<u8> {
        let length = u32::try_from(lane.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.key(&[&length, lane])
    }

    pub(super) fn submission(&self, unique_id: &[u8]) -> Vec<u8> {
        self.sealer.blind(&self.tenant, Purpose::Delivery, unique_id)
    }

    pub(super) fn seal(&self, plain: &[u8]) -> Vec<u8> {
        self.sealer.seal(&self.tenant, Purpose::Delivery, plain)
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.sealer.open(&self.tenant, Purpose::Delivery, sealed).map(Cow::into_owned).map_err(|_| DAMAGED)
    }

    pub(super) fn encode(&self, value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
        let plain = serde_json::to_vec(value).map_err(|error| StoreError::Undone(std::sync::Arc::new(error)))?;
        Ok(self.seal(&plain))
    }

    pub(super) fn decode<T: for<'d> Deserialize<'d>>(&self, sealed: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(&self.open(sealed)?).map_err(|_| DAMAGED)
    }

    pub(super) fn item(&self, number: u64, sealed: &[u8]) -> Result<Item, StoreError> {
        let mut item: Item = self.decode(sealed)?;
        item.account.number = number;
        Ok(item)
    }
}

/// Whether any delivery of a tenant needs the bytes of a document.
pub fn holds_content(read: &Read, tenant: &Tenant, content: &str) -> Result<bool, StoreError> {
    let prefix = content_prefix(&row_prefix(tenant), content);
    Ok(read.open_table(CONTENTS)?.prefix(&prefix)?.next().transpose()?.is_some())
}

pub(super) fn content_prefix(tenant: &[u8], content: &str) -> Vec<u8> {
    [tenant, content.as_bytes(), &[0]].concat()
}

pub(super) fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| DAMAGED)
}

/// Destination, time and number of a row of what is ready.
pub(super) fn ready_key(codec: &Codec, to: &str, due: Timestamp, number: u64) -> Vec<u8> {
    let mut key = ready_prefix(codec, to);
    key.extend_from_slice(&moment(due));
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn ready_prefix(codec: &Codec, to: &str) -> Vec<u8> {
    codec.key(&[to.as_bytes(), &[0]])
}

/// The reverse of `ready_key`, without the tenant.
pub(super) fn place_of(key: &[u8]) -> Result<(SmolStr, Timestamp, u64), StoreError> {
    let (rest, last) = key.split_at_checked(key.len().saturating_sub(8)).ok_or(DAMAGED)?;
    let (to, due) = rest.split_at_checked(rest.len().saturating_sub(8)).ok_or(DAMAGED)?;
    let to = to.strip_suffix(&[0]).and_then(|to| std::str::from_utf8(to).ok()).ok_or(DAMAGED)?;
    let due = i64::try_from(number(due)?).map_err(|_| DAMAGED)?;
    Ok((to.into(), Timestamp::from_millis(due), number(last)?))
}

/// A time whose bytes sort as it does. None before 1970 is ever meant.
pub(super) fn moment(at: Timestamp) -> [u8; 8] {
    u64::try_from(at.as_millis()).unwrap_or(0).to_be_bytes()
}
