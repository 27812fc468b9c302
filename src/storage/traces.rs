//! What happened in each exchange: who was asked, how each partner's part ended, how long it took. No patient data:
//! a trace is read by operators, shown by the console and put into support bundles.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::engine::{Engine, StoreError, table};
use crate::id::{Timestamp, TraceId, Transaction};

const TRACES: super::engine::Definition = table("traces");

/// The account of one exchange.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Its name: in faults, logs and audit records too.
    pub id: TraceId,
    /// When it began.
    pub at: Timestamp,
    /// What it was for, in a few words: `fetch`, `discover`.
    pub purpose: SmolStr,
    /// Each partner's part of each step, in the order of time.
    pub steps: Vec<Step>,
}

/// One partner's part of one step.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which transaction.
    pub transaction: Transaction,
    /// The partner's name in the directory.
    pub partner: SmolStr,
    /// How it ended: `answered`, `empty`, `refused`, `timed-out`, `unreachable`, `skipped`.
    pub state: SmolStr,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many matches, entries or documents came.
    #[serde(default)]
    pub results: usize,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// The stored traces.
#[derive(Clone)]
pub struct Traces {
    engine: Engine,
}

impl Traces {
    /// The traces of a store.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Keeps a trace; one of the same name is replaced.
    pub async fn keep(&self, trace: &Trace) -> Result<(), StoreError> {
        let key = *trace.id.as_bytes();
        let value = serde_json::to_vec(trace).map_err(|_| StoreError::Damaged("traces"))?;
        self.engine
            .write(move |tx| {
                tx.open_table(TRACES)?.insert(&key, &value)?;
                Ok(())
            })
            .await
    }

    /// A trace by name.
    pub fn get(&self, id: TraceId) -> Result<Option<Trace>, StoreError> {
        let table = self.engine.read()?.open_table(TRACES)?;
        table.get(id.as_bytes())?.map(|row| decode(row.value())).transpose()
    }

    /// The latest traces that are wanted, newest first: the names sort by time.
    pub fn latest(&self, limit: usize, wanted: impl Fn(&Trace) -> bool) -> Result<Vec<Trace>, StoreError> {
        let table = self.engine.read()?.open_table(TRACES)?;
        let traces = table.prefix(&[])?.rev().map(|row| decode(row?.1.value()));
        traces.filter(|trace| trace.as_ref().map_or(true, &wanted)).take(limit).collect()
    }
}

fn decode(bytes: &[u8]) -> Result<Trace, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| StoreError::Damaged("traces"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::engine::Settings;

    #[tokio::test]
    async fn the_latest_traces_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let traces = Traces::new(Engine::open(folder.path(), &Settings::default()).unwrap());
        let mut kept = Vec::new();
        for number in 0..5 {
            let trace = Trace {
                id: TraceId::new(),
                at: Timestamp::from_millis(number),
                purpose: "fetch".into(),
                steps: vec![Step {
                    transaction: Transaction::Iti55,
                    partner: "valley".into(),
                    state: "refused".into(),
                    reason: Some("purpose not accepted".into()),
                    results: 0,
                    milliseconds: 12,
                }],
            };
            traces.keep(&trace).await.unwrap();
            kept.push(trace);
        }
        kept.reverse();
        assert_eq!(traces.latest(2, |_| true).unwrap(), kept[..2]);
        let old = |trace: &Trace| trace.at < Timestamp::from_millis(2);
        assert_eq!(traces.latest(9, old).unwrap(), kept[3..]);
        assert_eq!(traces.get(kept[4].id).unwrap().as_ref(), Some(&kept[4]));
        assert_eq!(traces.get(TraceId::new()).unwrap(), None);
    }
}
