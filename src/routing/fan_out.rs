//! Asking many partners at once: every partner ends in exactly one state with a reason, and none delays the others.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How one partner's part of an exchange ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State<T> {
    /// With something to show.
    Answered(T),
    /// With a clean "nothing here".
    Empty,
    /// The partner, or we on receipt of its answer, said no.
    Refused(String),
    /// No answer within the time allowed.
    TimedOut,
    /// No connection, or one that broke.
    Unreachable(String),
    /// Not asked at all.
    Skipped(String),
}

/// The name of a [`State`], without what came with it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateName {
    /// See [`State::Answered`].
    Answered,
    /// See [`State::Empty`].
    Empty,
    /// See [`State::Refused`].
    Refused,
    /// See [`State::TimedOut`].
    TimedOut,
    /// See [`State::Unreachable`].
    Unreachable,
    /// See [`State::Skipped`].
    Skipped,
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "answered",
            Self::Empty => "empty",
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
            Self::Skipped => "skipped",
        })
    }
}

impl<T> State<T> {
    /// The name.
    pub fn name(&self) -> StateName {
        match self {
            Self::Answered(_) => StateName::Answered,
            Self::Empty => StateName::Empty,
            Self::Refused(_) => StateName::Refused,
            Self::TimedOut => StateName::TimedOut,
            Self::Unreachable(_) => StateName::Unreachable,
            Self::Skipped(_) => StateName::Skipped,
        }
    }

    /// Why, where there is a reason to tell.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(reason) | Self::Unreachable(reason) | Self::Skipped(reason) => Some(reason),
            Self::Answered(_) | Self::Empty | Self::TimedOut => None,
        }
    }

    /// Whether the partner was asked and gave a proper answer, if only "nothing here".
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Answered(_) | Self::Empty)
    }

    /// The same state with another payload.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> State<U> {
        match self {
            Self::Answered(value) => State::Answered(f(value)),
            Self::Empty => State::Empty,
            Self::Refused(reason) => State::Refused(reason),
            Self::TimedOut => State::TimedOut,
            Self::Unreachable(reason) => State::Unreachable(reason),
            Self::Skipped(reason) => State::Skipped(reason),
        }
    }
}

/// A partner's own words within a reason. They may name the patient, so they are for whoever asked, and
/// [`without_quotes`] takes them out of what is kept.
pub fn quoted(words: &str) -> String {
    format!("\u{201C}{words}\u{201D}")
}

/// A reason without any partner's own words.
pub fn without_quotes(reason: &str) -> String {
    // From the first mark to the last: a partner may write such marks itself.
    match (reason.find('\u{201C}'), reason.rfind('\u{201D}')) {
        (Some(from), Some(to)) if from < to => {
            let rest = &reason[to + '\u{201D}'.len_utf8()..];
            format!("{}\u{201C}\u{2026}\u{201D}{rest}", &reason[..from])
        }
        _ => reason.to_owned(),
    }
}

/// One partner's part of an exchange.
#[derive(Clone, Debug)]
pub struct Leg<P, T> {
    /// Who was asked.
    pub partner: P,
    /// How it ended.
    pub state: State<T>,
    /// How long it took.
    pub took: Duration,
}

/// Asks every partner at once. `ask` gives each partner's future; one that has not ended when its own limit or the
/// common deadline is over is dropped and counts as timed out. The legs come back in the order of the partners.
pub async fn fan_out<P, T, F>(
    partners: Vec<P>,
    deadline: Duration,
    limit: impl Fn(&P) -> Duration,
    ask: impl Fn(&P) -> F,
) -> Vec<Leg<P, T>>
where
    F: Future<Output = State<T>>,
{
    let started = Instant::now();
    let mut running: FuturesUnordered<_> = partners
        .into_iter()
        .enumerate()
        .map(|(place, partner)| {
            let allowed = limit(&partner).min(deadline);
            let asked = ask(&partner);
            async move {
                let state = tokio::time::timeout(allowed, asked).await.unwrap_or(State::TimedOut);
                (place, Leg { partner, state, took: started.elapsed() })
            }
        })
        .collect();
    let mut legs = Vec::with_capacity(running.len());
    while let Some(leg) = running.next().await {
        legs.push(leg);
    }
    legs.sort_by_key(|(place, _)| *place);
    legs.into_iter().map(|(_, leg)| leg).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn partners_that_hang_neither_delay_nor_spoil_the_others() {
        let partners: Vec<u32> = (0..200).collect();
        let started = Instant::now();
        let legs = fan_out(
            partners,
            Duration::from_secs(10),
            |_| Duration::from_secs(60),
            |&partner| async move {
                match partner % 20 {
                    0 => std::future::pending().await,
                    1 => State::Empty,
                    2 => State::Refused("no".into()),
                    _ => State::Answered(partner),
                }
            },
        )
        .await;
        assert_eq!(started.elapsed(), Duration::from_secs(10));
        assert_eq!(legs.len(), 200);
        for (place, leg) in legs.iter().enumerate() {
            assert_eq!(leg.partner as usize, place);
            let expected = match place % 20 {
                0 => StateName::TimedOut,
                1 => StateName::Empty,
                2 => StateName::Refused,
                _ => StateName::Answered,
            };
            assert_eq!(leg.state.name(), expected, "partner {place}");
            assert!(leg.took < Duration::from_millis(1) || expected == StateName::TimedOut);
        }
    }

    #[test]
    fn a_partner_s_own_words_are_told_apart() {
        let reason = format!("it said {} and {}!", quoted("Jane \u{201D} Example"), quoted("again"));
        assert!(reason.contains("Jane"));
        assert_eq!(without_quotes(&reason), "it said \u{201C}\u{2026}\u{201D}!");
        assert_eq!(without_quotes("no quotation"), "no quotation");
    }

    #[tokio::test(start_paused = true)]
    async fn a_partner_s_own_limit_is_kept_when_it_is_shorter() {
        let legs = fan_out(
            vec![1, 5],
            Duration::from_secs(3),
            |&seconds| Duration::from_secs(seconds),
            |_| std::future::pending::<State<()>>(),
        )
        .await;
        let took: Vec<u64> = legs.iter().map(|leg| leg.took.as_secs()).collect();
        assert_eq!(took, [1, 3]);
    }
}
