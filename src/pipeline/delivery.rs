//! Carries deliveries to where they go, until they are there, refused, or waited too long.
//!
//! What has to be said to a receiver is known by the profiles; here is when it is tried, how often, and by how many at
//! once. A destination that cannot be reached is left alone for a while that grows with each failure, as a whole: what
//! waits for it costs nothing, and others do not wait with it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use smol_str::SmolStr;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ebxml::{ErrorCode, RegistryError};
use crate::gateway::Gateway;
use crate::id::Timestamp;
use crate::routing::call::CallError;
use crate::routing::fan_out::State as Reached;
use crate::soap::fault::FaultCode;
use crate::storage::deliveries::{Attempt, Claim, Delivery, Reported, State};
use crate::storage::engine::StoreError;

/// What a receiver made of a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It has it.
    Delivered {
        /// What it said besides, for people.
        note: Option<String>,
        /// Warnings that it answered with.
        reported: Vec<Reported>,
    },
    /// It does not want it, and will not want it later.
    Refused {
        /// Why, for people.
        reason: String,
        /// The errors that it answered with.
        reported: Vec<Reported>,
    },
    /// Perhaps later.
    Later {
        /// Why not now, for people.
        reason: String,
        /// Whether nothing else can be delivered there now either.
        whole_destination: bool,
    },
    /// It was not asked, because it is left alone for a while. That is no attempt.
    Untried {
        /// Why, for people.
        reason: String,
        /// Until when nothing is delivered there.
        until: Timestamp,
    },
}

impl Verdict {
    /// Delivered, with nothing to add.
    pub fn delivered() -> Self {
        Self::Delivered { note: None, reported: Vec::new() }
    }

    /// Refused, for a reason of ours.
    pub fn refused(code: &ErrorCode, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let reported = vec![Reported { code: code.as_str().into(), text: reason.clone(), warning: false }];
        Self::Refused { reason, reported }
    }

    /// Not now, for a reason of this delivery alone.
    pub fn later(reason: impl ToString) -> Self {
        Self::Later { reason: reason.to_string(), whole_destination: false }
    }

    /// Nothing can be delivered there now.
    pub fn away(reason: impl ToString) -> Self {
        Self::Later { reason: reason.to_string(), whole_destination: true }
    }

    /// What a call that brought no answer comes to. A fault that blames the message will be repeated; one that blames
    /// the receiver may pass.
    pub fn of_call(error: &CallError) -> Self {
        match error {
            CallError::Fault(fault) => match fault.code {
                FaultCode::Sender | FaultCode::MustUnderstand | FaultCode::VersionMismatch => {
                    Self::refused(&ErrorCode::XdsRepositoryError, error.to_string())
                }
                FaultCode::Receiver => Self::later(error),
            },
            CallError::Skipped(open) => Self::Untried { reason: error.to_string(), until: open.until },
            CallError::Sign(_)
            | CallError::Exchange(_)
            | CallError::Package(_)
            | CallError::OtherRequest
            | CallError::Security(_)
            | CallError::Unprotected
            | CallError::Unreadable(_) => match error.state::<()>() {
                Reached::TimedOut | Reached::Unreachable(_) | Reached::Skipped(_) => Self::away(error),
                Reached::Answered(()) | Reached::Empty | Reached::Refused(_) => Self::later(error),
            },
        }
    }
}

/// The registry errors that a receiver answered with, as they are kept.
pub fn reported(errors: &[RegistryError]) -> Vec<Reported> {
    let reported = |error: &RegistryError| Reported {
        code: error.code.as_str().into(),
        text: error.context.clone(),
        warning: !error.is_error(),
    };
    errors.iter().map(reported).collect()
}

/// Says to a receiver what a delivery brings.
pub type Carry = fn(Arc<Gateway>, Arc<Delivery>, Vec<u8>) -> BoxFuture<'static, Verdict>;

/// Deliveries under way at once, in all and to one destination.
const AT_ONCE: usize = 16;
const TO_ONE: usize = 4;
/// How often is looked for what is due, when nothing wakes the worker before.
const TICK: Duration = Duration::from_millis(500);
/// How often old accounts are looked for, and how many go at a time.
const TIDY_EACH: Duration = Duration::from_secs(600);
const TIDY_AT_ONCE: usize = 500;
/// How long deliveries under way may take when the gateway stops; they are tried again after its next start.
const DRAIN: Duration = Duration::from_secs(15);

/// What is known of a destination since the start.
#[derive(Default)]
struct Line {
    running: usize,
    failures: u32,
    paused_until: Option<Timestamp>,
}

#[derive(Default)]
struct Lines(Mutex<HashMap<SmolStr, Line>>);

impl Lines {
    fn with<R>(&self, to: &str, change: impl FnOnce(&mut Line) -> R) -> R {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(lines.entry(to.into()).or_default())
    }

    /// How many more deliveries a destination gets now. One that failed gets one, as a trial.
    fn places(&self, to: &str, now: Timestamp) -> usize {
        self.with(to, |line| match line.paused_until {
            Some(until) if now < until => 0,
            _ if line.failures > 0 => 1_usize.saturating_sub(line.running),
            _ => TO_ONE.saturating_sub(line.running),
        })
    }
}

/// Carries what is due until told to stop.
pub async fn run(gateway: Arc<Gateway>, carry: Carry, stop: CancellationToken) {
    let deliveries = gateway.deliveries.clone();
    let _working = deliveries.work();
    let wake = deliveries.wake();
    let lines: Arc<Lines> = Arc::default();
    let tasks = TaskTracker::new();
    let mut tidied: Option<Timestamp> = None;
    while !stop.is_cancelled() {
        let now = gateway.clock.now();
        if tidied.is_none_or(|at| now.since(at) >= TIDY_EACH) {
            tidied = Some(now);
            tidy(&gateway, now).await;
        }
        let places = AT_ONCE.saturating_sub(tasks.len());
        match deliveries.ready(&gateway.tenant, now, places, |to| lines.places(to, now)) {
            Ok(numbers) => {
                for number in numbers {
                    let Some(claim) = deliveries.claim(number) else { continue };
                    start(&gateway, carry, &lines, &tasks, (number, claim));
                }
            }
            Err(error) => tracing::error!(%error, "deliveries that are due could not be read"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(deliveries = tasks.len(), "deliveries are cut off; they are tried again after the next start");
    }
}

fn start(gateway: &Arc<Gateway>, carry: Carry, lines: &Arc<Lines>, tasks: &TaskTracker, (number, claim): (u64, Claim)) {
    let delivery = match gateway.deliveries.get(&gateway.tenant, number) {
        Ok(Some(delivery)) if delivery.state == State::Waiting => delivery,
        Ok(_) => return,
        Err(error) => return tracing::error!(%error, number, "a delivery could not be read"),
    };
    let (gateway, lines) = (gateway.clone(), lines.clone());
    lines.with(&delivery.to, |line| line.running += 1);
    tasks.spawn(async move {
        let to = delivery.to.clone();
        let after = attempt(&gateway, carry, delivery).await;
        let now = gateway.clock.now();
        lines.with(&to, |line| {
            line.running = line.running.saturating_sub(1);
            match after {
                After::Reached => (line.failures, line.paused_until) = (0, None),
                After::Away => {
                    line.failures = line.failures.saturating_add(1);
                    line.paused_until = Some(now.plus(gateway.patience.delay(line.failures, 0)));
                }
                After::LeftAlone(until) => {
                    line.failures = line.failures.max(1);
                    line.paused_until = Some(until);
                }
            }
        });
        // After the line has its place back: it is the end of the claim that wakes the worker.
        drop(claim);
    });
}

/// What an attempt tells of its destination.
#[derive(Clone, Copy)]
enum After {
    Reached,
    Away,
    LeftAlone(Timestamp),
}

/// Tries one delivery and keeps what came of it.
async fn attempt(gateway: &Arc<Gateway>, carry: Carry, delivery: Delivery) -> After {
    let delivery = Arc::new(delivery);
    let body = match gateway.deliveries.body(&gateway.tenant, delivery.number) {
        Ok(body) => body.unwrap_or_default(),
        Err(error) => {
            tracing::error!(%error, number = delivery.number, "a delivery could not be read");
            return After::Away;
        }
    };
    // A defect in one delivery must stop neither the others nor itself for ever.
    let carried = AssertUnwindSafe(carry(gateway.clone(), delivery.clone(), body)).catch_unwind().await;
    let verdict = carried.unwrap_or_else(|_| Verdict::later("internal error"));
    let after = match &verdict {
        Verdict::Later { whole_destination: true, .. } => After::Away,
        Verdict::Untried { until, .. } => After::LeftAlone(*until),
        Verdict::Delivered { .. } | Verdict::Refused { .. } | Verdict::Later { .. } => After::Reached,
    };
    let attempt = settle(gateway, &delivery, verdict);
    tracing::info!(
        trace = %delivery.trace, number = delivery.number, to = %delivery.to, state = attempt.state.name(),
        attempts = delivery.attempts, "a delivery was tried"
    );
    if let Err(error) = keep(gateway, delivery.number, attempt).await {
        tracing::error!(%error, number = delivery.number, "what came of a delivery could not be kept; it is tried again");
        return After::Away;
    }
    after
}

fn settle(gateway: &Gateway, delivery: &Delivery, verdict: Verdict) -> Attempt {
    let now = gateway.clock.now();
    let ended = |state, reason, reported| Attempt { state, due: now, counts: true, reason, reported };
    match verdict {
        Verdict::Delivered { note, reported } => ended(State::Delivered, note, reported),
        Verdict::Refused { reason, reported } => ended(State::Refused, Some(reason), reported),
        Verdict::Later { reason, .. } | Verdict::Untried { reason, .. }
            if now.since(delivery.at) >= gateway.patience.give_up =>
        {
            ended(State::GivenUp, Some(reason), Vec::new())
        }
        Verdict::Later { reason, .. } => {
            let chance = uuid::Uuid::new_v4().as_bytes()[0];
            let due = now.plus(gateway.patience.delay(delivery.attempts + 1, chance));
            Attempt { state: State::Waiting, due, counts: true, reason: Some(reason), reported: Vec::new() }
        }
        Verdict::Untried { reason, until } => {
            Attempt { state: State::Waiting, due: until, counts: false, reason: Some(reason), reported: Vec::new() }
        }
    }
}

async fn keep(gateway: &Gateway, number: u64, attempt: Attempt) -> Result<(), StoreError> {
    let free = gateway.deliveries.settle(&gateway.tenant, number, attempt, gateway.clock.now()).await?;
    release(gateway, &free).await;
    Ok(())
}

/// Removes the bytes of documents that no delivery and no metadata names any more. What cannot be removed now is swept
/// at the next start.
pub async fn release(gateway: &Gateway, contents: &[String]) {
    if contents.is_empty() {
        return;
    }
    let is_kept = |sha256: &str| gateway.documents.keeps(&gateway.tenant, sha256).unwrap_or(true);
    if let Err(error) = gateway.files.remove_orphans(&gateway.tenant, contents, is_kept).await {
        tracing::warn!(%error, "documents that were delivered could not be removed");
    }
}

async fn tidy(gateway: &Gateway, now: Timestamp) {
    loop {
        let before = now.minus(gateway.patience.keep);
        match gateway.deliveries.forget(&gateway.tenant, before, TIDY_AT_ONCE).await {
            Ok((forgotten, free)) => {
                release(gateway, &free).await;
                if forgotten < TIDY_AT_ONCE {
                    return;
                }
            }
            Err(error) => return tracing::warn!(%error, "old deliveries could not be removed"),
        }
    }
}

/// Waits until a delivery has been tried, or cannot be tried for now, or the time is up. Returns its account then.
pub async fn tried(gateway: &Gateway, number: u64, wait: Duration) -> Result<Option<Delivery>, StoreError> {
    let deadline = tokio::time::Instant::now() + wait;
    let mut settled = gateway.deliveries.settled();
    loop {
        settled.borrow_and_update();
        let delivery = gateway.deliveries.get(&gateway.tenant, number)?;
        let is_over = delivery.as_ref().is_none_or(|one| one.reason.is_some() || one.state != State::Waiting);
        if is_over || tokio::time::timeout_at(deadline, settled.changed()).await.is_err() {
            return Ok(delivery);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_cannot_be_reached_gets_one_trial_after_its_pause() {
        let lines = Lines::default();
        let now = Timestamp::from_millis(1_800_000_000_000);
        assert_eq!(lines.places("a", now), TO_ONE);
        lines.with("a", |line| (line.failures, line.paused_until) = (1, Some(now.plus(Duration::from_secs(5)))));
        assert_eq!((lines.places("a", now), lines.places("b", now)), (0, TO_ONE));
        let later = now.plus(Duration::from_secs(5));
        assert_eq!(lines.places("a", later), 1);
        lines.with("a", |line| line.running = 1);
        assert_eq!(lines.places("a", later), 0);
    }
}
