//! Audit records that are owed: stored in the write whose change they tell of, and gone when the trail has them.
//!
//! A source sends a feed again until it is acknowledged, and so until it is recorded. Nobody repeats a command, so a crash
//! between its change and its record must not leave a change that no record tells of: what is still owed at the next
//! start is recorded then. After a crash between the record and its removal it is recorded twice, under one trace.
//!
//! | table | key after the tenant | value |
//! |---|---|---|
//! | `audit.owed` | trace | what is to be recorded |

use super::engine::{Definition, Engine, StoreError, Write, table};
use super::seal::{Purpose, Sealer, row_prefix};
use crate::id::{Tenant, TraceId};
use std::borrow::Cow;

const OWED: Definition = table("audit.owed");

/// What a change owes the audit trail.
#[derive(Clone)]
pub struct Debt {
    /// The exchange that it is recorded under.
    pub trace: TraceId,
    /// What is to be recorded, as whoever records it writes it.
    pub record: Vec<u8>,
}

/// Stores what a write owes, if it owes anything, as part of it.
pub fn owe(write: &Write<'_>, sealer: &Sealer, tenant: &Tenant, debt: Option<&Debt>) -> Result<(), StoreError> {
    if let Some(Debt { trace, record }) = debt {
        let value = sealer.seal(tenant, Purpose::Audit, record);
        write.open_table(OWED)?.insert(&key(tenant, *trace), &value)?;
    }
    Ok(())
}

fn key(tenant: &Tenant, trace: TraceId) -> Vec<u8> {
    [row_prefix(tenant).as_slice(), trace.as_bytes()].concat()
}

/// The records that are owed. Clones share them.
#[derive(Clone)]
pub struct Owed {
    engine: Engine,
    sealer: Sealer,
}

impl Owed {
    /// Those of a store.
    pub fn new(engine: Engine, sealer: Sealer) -> Self {
        Self { engine, sealer }
    }

    /// What is to be recorded, the oldest first.
    pub fn all(&self, tenant: &Tenant) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = self.engine.read()?.open_table(OWED)?;
        let open = |sealed: &[u8]| {
            let opened = self.sealer.open(tenant, Purpose::Audit, sealed);
            opened.map(Cow::into_owned).map_err(|_| StoreError::Damaged("the audit records that are owed"))
        };
        rows.prefix(&row_prefix(tenant))?.map(|row| open(row?.1.value())).collect()
    }

    /// It is in the trail.
    pub async fn paid(&self, tenant: &Tenant, trace: TraceId) -> Result<(), StoreError> {
        let key = key(tenant, trace);
        self.engine.write(move |write| write.open_table(OWED)?.remove(&key)).await.map(drop)
    }
}
