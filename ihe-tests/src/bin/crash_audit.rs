//! Records audit events until it is killed: `crash_audit FOLDER THREADS`. Each line on its output is a record that was
//! acknowledged: its sequence number and its trace. A third argument bounds the records of each thread, and then the
//! last line is how long they took.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use causeway::atna::{Audit, Event, Occasion, Settings, Source};
use causeway::id::{Clock, Tenant, TraceId};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, threads, rest @ ..] = arguments.as_slice() else {
        return Err("crash_audit FOLDER THREADS [COUNT]".into());
    };
    let threads: usize = threads.parse()?;
    let count: usize = rest.first().map_or(Ok(usize::MAX), |count| count.parse())?;
    let settings = Settings { segment_bytes: 200_000, ..Settings::new(Source { id: "node".into(), enterprise: None }) };
    let clock = Clock::system();
    let (audit, _) = Audit::open(Path::new(folder), settings, clock.clone(), None)?;
    let started = Instant::now();
    let work = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        for _ in 0..count {
            let trace = TraceId::new();
            let occasion = Occasion { at: clock.now(), trace, tenant: Tenant::default() };
            let sequence = audit.record_blocking(Event::application_start(occasion, "crash_audit"))?;
            // One write for a line: what the reader sees of it was acknowledged.
            std::io::stdout().lock().write_all(format!("{sequence} {trace}\n").as_bytes())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })?;
    println!("{:?}", started.elapsed());
    Ok(())
}
