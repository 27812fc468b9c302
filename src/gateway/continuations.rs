//! The rest of answers that are told page by page: kept in memory for a while, for the caller who asked and for nobody
//! else.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol_str::SmolStr;

use crate::authenticate::{Caller, CallerKind};
use crate::id::Timestamp;

/// How long the rest of an answer is kept after its last page was asked for.
const LIFETIME: Duration = Duration::from_secs(600);
/// The most answers that are kept, of all callers and of one; the oldest goes first.
const MOST: usize = 200;
const MOST_OF_ONE: usize = 20;

/// Answers that are told page by page.
#[derive(Default)]
pub struct Continuations(Mutex<Vec<Kept>>);

struct Kept {
    caller: SmolStr,
    name: SmolStr,
    pointer: SmolStr,
    expires: Timestamp,
    rest: Arc<dyn Any + Send + Sync>,
}

impl Continuations {
    /// Keeps the rest of an answer under a pointer, by which it is asked for, and a name, by which it is cancelled. What
    /// the caller kept under the same pointer is replaced.
    pub fn keep(
        &self,
        caller: &Caller,
        (name, pointer): (&str, &str),
        rest: Arc<dyn Any + Send + Sync>,
        now: Timestamp,
    ) {
        let caller = key(caller);
        let mut kept = self.lock(now);
        kept.retain(|one| one.caller != caller || one.pointer != pointer);
        let own = kept.iter().filter(|one| one.caller == caller).count();
        let oldest = kept.iter().position(|one| own < MOST_OF_ONE || one.caller == caller);
        if let Some(oldest) = oldest.filter(|_| own >= MOST_OF_ONE || kept.len() >= MOST) {
            kept.remove(oldest);
        }
        let (name, pointer, expires) = (name.into(), pointer.into(), now.plus(LIFETIME));
        kept.push(Kept { caller, name, pointer, expires, rest });
    }

    /// What this caller left under a pointer. It is kept for longer from now on.
    pub fn find<T: Send + Sync + 'static>(&self, caller: &Caller, pointer: &str, now: Timestamp) -> Option<Arc<T>> {
        let caller = key(caller);
        let mut kept = self.lock(now);
        let one = kept.iter_mut().find(|one| one.caller == caller && one.pointer == pointer)?;
        one.expires = now.plus(LIFETIME);
        one.rest.clone().downcast().ok()
    }

    /// Forgets what this caller left under a name. Nothing there is no error: it may have been told to its end.
    pub fn cancel(&self, caller: &Caller, name: &str, now: Timestamp) {
        let caller = key(caller);
        self.lock(now).retain(|one| one.caller != caller || one.name != name);
    }

    /// Without those that are too old. A thread that panicked leaves at worst one answer too many or too few.
    fn lock(&self, now: Timestamp) -> MutexGuard<'_, Vec<Kept>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| now < one.expires);
        kept
    }
}

/// Who asked: nobody else is told the rest.
fn key(caller: &Caller) -> SmolStr {
    match caller.kind() {
        CallerKind::Partner(partner) => format!("partner {}", partner.key).into(),
        CallerKind::Source { name } => format!("source {name}").into(),
        CallerKind::Client(client) => format!("client {}", client.name).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::Proof;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn caller(name: &str) -> Caller {
        Caller::new(Proof {
            kind: CallerKind::Source { name: name.into() },
            network: None,
            home: None,
            organization: None,
            user: None,
            purposes: Vec::new(),
            fingerprint: None,
            address: ([127, 0, 0, 1], 1).into(),
            signature_confirmation: None,
            replay: None,
        })
    }

    fn found(kept: &Continuations, name: &str, pointer: &str, now: Timestamp) -> Option<u32> {
        kept.find::<u32>(&caller(name), pointer, now).map(|rest| *rest)
    }

    #[test]
    fn only_the_caller_who_asked_is_told_the_rest() {
        let kept = Continuations::default();
        kept.keep(&caller("a"), ("tag", "p1"), Arc::new(7_u32), NOW);
        assert_eq!(found(&kept, "a", "p1", NOW), Some(7));
        assert_eq!(found(&kept, "b", "p1", NOW), None);
        assert_eq!(found(&kept, "a", "p2", NOW), None);
        kept.cancel(&caller("b"), "tag", NOW);
        assert_eq!(found(&kept, "a", "p1", NOW), Some(7));
        kept.cancel(&caller("a"), "tag", NOW);
        assert_eq!(found(&kept, "a", "p1", NOW), None);
    }

    #[test]
    fn the_rest_is_forgotten_after_a_while_and_a_page_prolongs_it() {
        let kept = Continuations::default();
        kept.keep(&caller("a"), ("tag", "p1"), Arc::new(7_u32), NOW);
        let later = NOW.plus(LIFETIME - Duration::from_secs(1));
        assert_eq!(found(&kept, "a", "p1", later), Some(7));
        assert_eq!(found(&kept, "a", "p1", NOW.plus(LIFETIME)), Some(7));
        assert_eq!(found(&kept, "a", "p1", later.plus(LIFETIME + LIFETIME)), None);
    }

    #[test]
    fn a_caller_with_many_queries_loses_its_own_oldest_and_no_one_elses() {
        let kept = Continuations::default();
        kept.keep(&caller("b"), ("tag", "p"), Arc::new(1_u32), NOW);
        for number in 0..=MOST_OF_ONE as u32 {
            kept.keep(&caller("a"), ("tag", &number.to_string()), Arc::new(number), NOW);
        }
        assert_eq!(found(&kept, "b", "p", NOW), Some(1));
        assert_eq!(found(&kept, "a", "0", NOW), None);
        assert_eq!(found(&kept, "a", "1", NOW), Some(1));
        for number in 0..MOST {
            kept.keep(&caller(&number.to_string()), ("tag", "p"), Arc::new(0_u32), NOW);
        }
        assert_eq!(kept.lock(NOW).len(), MOST);
    }
}
