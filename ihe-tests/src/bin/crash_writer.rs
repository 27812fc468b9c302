//! Feeds patients into a store and says which are durable, until it is killed. For the crash test of the store.
//!
//! `crash_writer FOLDER FIRST`: numbers from FIRST on; prints each number when its feed is acknowledged.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use causeway::id::{AssigningAuthority, Demographics, PatientId, PersonName, Tenant, Timestamp};
use causeway::storage::engine::{Engine, Settings};
use causeway::storage::identities::Identities;
use causeway::storage::seal::Sealer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(first)) = (arguments.next(), arguments.next()) else {
        return Err("usage: crash_writer FOLDER FIRST".into());
    };
    let next = Arc::new(AtomicU64::new(first.parse()?));
    // Small checkpoints, so that some kills come in the middle of one.
    let settings = Settings { checkpoint_size: 100_000, ..Settings::default() };
    let store = Identities::new(Engine::open(Path::new(&folder), &settings)?, Sealer::plain());
    let authority = AssigningAuthority::new("2.999.10", "ISO")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    runtime.block_on(async {
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (store, next, authority) = (store.clone(), next.clone(), authority.clone());
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Ok(id) = PatientId::new(&format!("P{number}"), authority.clone()) else { return };
                        let person = Demographics {
                            names: vec![PersonName::new(&format!("Family{}", number % 500), &["Given"])],
                            birth: format!("19{:02}0101", number % 90 + 10).parse().ok(),
                            ..Demographics::default()
                        };
                        let at = Timestamp::from_millis(0);
                        if store.feed(&Tenant::default(), vec![id], person, at).await.is_err() {
                            return;
                        }
                        // One write for the whole line, so that a kill leaves whole lines or nothing.
                        if std::io::stdout().lock().write_all(format!("{number}\n").as_bytes()).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            drop(task.await);
        }
    });
    Ok(())
}
