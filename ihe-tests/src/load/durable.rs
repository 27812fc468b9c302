//! What the store and the audit journal can do without any network: feeds as many tasks at once would send them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use causeway::atna::{Action, Audit, Event, Exchange, Party, Settings, Side, Source};
use causeway::id::{Clock, Tenant, TraceId, Transaction};
use causeway::storage::engine::{self, Engine};
use causeway::storage::identities::Identities;
use causeway::storage::seal::Sealer;

use super::measure::Seen;
use super::{Failure, people};

/// Feeds patients and records each feed, in a folder, from so many tasks.
pub async fn run(folder: &Path, tasks: usize, first: u64, duration: Duration) -> Result<(Seen, Duration), Failure> {
    let engine = Engine::open(&folder.join("store"), &engine::Settings::default())?;
    let identities = Identities::new(engine, Sealer::plain());
    let settings = Settings::new(Source { id: "bench".into(), enterprise: None });
    let (audit, _) = Audit::open(&folder.join("audit"), settings, Clock::system(), None)?;
    let next = Arc::new(AtomicU64::new(first));
    let started = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let (identities, audit, next) = (identities.clone(), audit.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut seen = Seen::default();
                while started.elapsed() < duration {
                    let sent = Instant::now();
                    match feed(&identities, &audit, next.fetch_add(1, Ordering::Relaxed)).await {
                        Ok(()) => seen.answer(sent.elapsed(), 0),
                        Err(error) => seen.error(error.to_string()),
                    }
                }
                seen
            })
        })
        .collect();
    let mut seen = Seen::default();
    for task in tasks {
        seen.merge(task.await?);
    }
    Ok((seen, started.elapsed()))
}

async fn feed(identities: &Identities, audit: &Audit, number: u64) -> Result<(), Failure> {
    let (now, tenant) = (Clock::system().now(), Tenant::default());
    let id = people::patient_id(number)?;
    identities.feed(&tenant, vec![id.clone()], people::demographics(number), now).await?;
    let party = |user: &str| Party { user_id: user.into(), access_point: None };
    let exchange = Exchange {
        side: Side::Server,
        client: party("LOAD|ADT"),
        server: party("GATEWAY|CAUSEWAY"),
        humans: Vec::new(),
        at: now,
        trace: TraceId::new(),
        message_id: None,
        tenant,
    };
    audit.record(Event::feed(Transaction::Iti8, exchange, Action::Create, Some(&id))).await?;
    Ok(())
}
