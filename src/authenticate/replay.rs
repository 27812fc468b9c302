//! Messages seen before. A copy of a message is refused for as long as its times would let it pass.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::id::Timestamp;

/// The most keys remembered. A flood beyond it is refused: to forget one would be to accept its copy.
const CAPACITY: usize = 8_000_000;
/// Keys are forgotten by the minute.
const BUCKET: Duration = Duration::from_secs(60);

/// Whether a message is new.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// It is new, and remembered from now on.
    New,
    /// It was here before.
    Before,
    /// Nobody can tell: too many are remembered already.
    Full,
}

/// The keys of messages that were accepted.
#[derive(Debug, Default)]
pub struct ReplayCache(Mutex<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    /// The minute after which a key can be forgotten, and the keys.
    by_end: BTreeMap<i64, HashSet<[u8; 16]>>,
    keys: usize,
}

impl ReplayCache {
    /// Notes a message by its key, to be remembered until it expires.
    pub fn note(&self, key: &[u8; 32], expires: Timestamp, now: Timestamp) -> Seen {
        let mut short = [0; 16];
        short.copy_from_slice(&key[..16]);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.forget(now);
        let end = minute(expires) + 1;
        // The same message has the same end, so its key can be in no other bucket.
        if buckets.by_end.get(&end).is_some_and(|keys| keys.contains(&short)) {
            return Seen::Before;
        }
        if buckets.keys >= CAPACITY {
            return Seen::Full;
        }
        buckets.by_end.entry(end).or_default().insert(short);
        buckets.keys += 1;
        Seen::New
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Buckets {
    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.by_end.first_entry() {
            if *oldest.key() > minute(now) {
                return;
            }
            self.keys -= oldest.remove().len();
        }
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_secs().div_euclid(i64::try_from(BUCKET.as_secs()).unwrap_or(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_refused_until_its_times_would_refuse_it_anyway() {
        let cache = ReplayCache::default();
        let start = Timestamp::from_millis(1_000_000_000_000);
        let expires = start.plus(Duration::from_secs(300));
        assert_eq!(cache.note(&[1; 32], expires, start), Seen::New);
        assert_eq!(cache.note(&[2; 32], expires, start), Seen::New);
        for seconds in [0, 1, 299, 300] {
            let now = start.plus(Duration::from_secs(seconds));
            assert_eq!(cache.note(&[1; 32], expires, now), Seen::Before, "after {seconds} s");
        }
        assert_eq!(cache.len(), 2);
        let later = start.plus(Duration::from_secs(600));
        assert_eq!(cache.note(&[3; 32], later.plus(BUCKET), later), Seen::New);
        assert_eq!(cache.len(), 1, "what has expired is forgotten");
    }
}
