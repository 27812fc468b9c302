//! A circuit breaker for each partner: one that keeps failing is left alone for a while, so that users do not wait
//! for it each time and it is not buried when it comes back.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;

use crate::id::Timestamp;

/// Failures in a row that open the circuit.
const FAILURES_TO_OPEN: u32 = 5;
/// The first pause; it doubles with every failed trial.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The breakers of all partners, by name.
#[derive(Debug, Default)]
pub struct Breakers(Mutex<HashMap<SmolStr, Breaker>>);

#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    pause: Duration,
    closed_until: Option<Timestamp>,
    last: String,
}

/// A partner that is not asked at the moment.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not asked until {until}, because it failed {failures} times in a row; last: {last}", until = until.to_rfc3339())]
pub struct Open {
    /// When it will be tried again.
    pub until: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure, for people.
    pub last: String,
}

impl Breakers {
    /// Whether a partner may be asked now. When a pause is over one caller passes as a trial, and the next ones wait
    /// for its result.
    pub fn check(&self, partner: &str, now: Timestamp) -> Result<(), Open> {
        let mut breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(breaker) = breakers.get_mut(partner) else { return Ok(()) };
        let Some(until) = breaker.closed_until else { return Ok(()) };
        if now < until {
            return Err(Open { until, failures: breaker.failures, last: breaker.last.clone() });
        }
        breaker.closed_until = Some(now.plus(breaker.pause));
        Ok(())
    }

    /// The partner answered (with whatever answer: a refusal shows that it is alive).
    pub fn succeeded(&self, partner: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(partner);
    }

    /// The partner could not be reached or did not answer.
    pub fn failed(&self, partner: &str, now: Timestamp, why: &str) {
        let mut breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let breaker = breakers.entry(partner.into()).or_default();
        breaker.failures += 1;
        breaker.last = why.to_owned();
        if breaker.failures >= FAILURES_TO_OPEN {
            breaker.pause = (breaker.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            breaker.closed_until = Some(now.plus(breaker.pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_that_keeps_failing_is_left_alone_and_then_tried_once() {
        let breakers = Breakers::default();
        let mut now = Timestamp::from_millis(0);
        for _ in 0..FAILURES_TO_OPEN {
            assert_eq!(breakers.check("p", now), Ok(()));
            breakers.failed("p", now, "connection refused");
        }
        let open = breakers.check("p", now).unwrap_err();
        assert_eq!(open.until, now.plus(FIRST_PAUSE));
        assert!(open.to_string().contains("connection refused"), "{open}");
        assert_eq!(breakers.check("other", now), Ok(()));

        now = now.plus(FIRST_PAUSE);
        assert_eq!(breakers.check("p", now), Ok(()), "one trial passes");
        assert!(breakers.check("p", now).is_err(), "the next waits for it");
        breakers.failed("p", now, "connection refused");
        assert_eq!(breakers.check("p", now).unwrap_err().until, now.plus(FIRST_PAUSE * 2));

        breakers.succeeded("p");
        assert_eq!(breakers.check("p", now), Ok(()));
    }
}
