//! `wsu:Timestamp`: how long a message may be believed.

use std::time::Duration;

use super::HeaderError;
use crate::id::Timestamp;
use crate::xml::{Element, Writer, ns};

/// When a message was made and until when it may be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetime {
    /// `wsu:Created`.
    pub created: Timestamp,
    /// `wsu:Expires`.
    pub expires: Timestamp,
}

impl Lifetime {
    /// From now on for a duration.
    pub fn starting(now: Timestamp, lasting: Duration) -> Self {
        Self { created: now, expires: now.plus(lasting) }
    }

    /// Reads `wsu:Timestamp`.
    pub fn read(element: Element<'_>) -> Result<Self, HeaderError> {
        let time = |name| {
            let child = element.only_child(ns::WSU, name).map_err(|_| HeaderError::Timestamp)?;
            Timestamp::from_rfc3339(&child.text()).ok_or(HeaderError::Timestamp)
        };
        let lifetime = Self { created: time("Created")?, expires: time("Expires")? };
        if lifetime.expires <= lifetime.created { Err(HeaderError::TimestampOrder) } else { Ok(lifetime) }
    }

    /// Whether it holds now, clocks being apart by at most `skew`, and is not longer than `most`.
    pub fn check(&self, now: Timestamp, skew: Duration, most: Duration) -> Result<(), HeaderError> {
        if self.created > now.plus(skew) {
            return Err(HeaderError::NotYetCreated { created: self.created.to_rfc3339(), now: now.to_rfc3339() });
        }
        if self.expires.plus(skew) <= now {
            return Err(HeaderError::Expired { expires: self.expires.to_rfc3339(), now: now.to_rfc3339() });
        }
        let lasting = self.expires.since(self.created);
        if lasting > most {
            return Err(HeaderError::TooLong { seconds: lasting.as_secs(), most: most.as_secs() });
        }
        Ok(())
    }

    /// `wsu:Timestamp` in the form that exclusive canonicalisation gives it, so that it can be signed as it is.
    pub fn canonical(&self, id: &str) -> String {
        let mut w = Writer::new();
        w.start("wsu:Timestamp").attribute("xmlns:wsu", ns::WSU).attribute("wsu:Id", id);
        w.leaf("wsu:Created", &self.created.to_rfc3339()).leaf("wsu:Expires", &self.expires.to_rfc3339());
        w.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, parse};

    fn read(text: &str) -> Result<Lifetime, HeaderError> {
        let tree = parse(text, &Limits::default()).unwrap();
        Lifetime::read(tree.root().unwrap())
    }

    fn timestamp(content: &str) -> String {
        let mut w = Writer::new();
        w.start("wsu:Timestamp").attribute("xmlns:wsu", ns::WSU).fragment(content);
        w.finish()
    }

    #[test]
    fn is_written_in_canonical_form() {
        let lifetime = Lifetime::starting(Timestamp::from_millis(0), Duration::from_secs(300));
        let written = lifetime.canonical("TS-1");
        let tree = parse(&written, &Limits::default()).unwrap();
        assert_eq!(tree.root().unwrap().canonical(None, &[]), written.as_bytes());
        assert_eq!(read(&written), Ok(lifetime));
    }

    #[test]
    fn needs_one_created_before_one_expires() {
        let created = "<wsu:Created>2026-11-22T15:00:00Z</wsu:Created>";
        let expires = "<wsu:Expires>2026-11-22T15:05:00Z</wsu:Expires>";
        assert!(read(&timestamp(&[created, expires].concat())).is_ok());
        for (content, error) in [
            (String::new(), HeaderError::Timestamp),
            (created.into(), HeaderError::Timestamp),
            (expires.into(), HeaderError::Timestamp),
            ([created, created, expires].concat(), HeaderError::Timestamp),
            ([created, expires, expires].concat(), HeaderError::Timestamp),
            ([created, "<wsu:Expires>soon</wsu:Expires>"].concat(), HeaderError::Timestamp),
            ([created, "<wsu:Expires>2026-11-22T14:00:00Z</wsu:Expires>"].concat(), HeaderError::TimestampOrder),
        ] {
            assert_eq!(read(&timestamp(&content)), Err(error), "{content}");
        }
    }

    #[test]
    fn holds_between_created_and_expires_with_some_skew() {
        let start = Timestamp::from_millis(1_000_000_000);
        let lifetime = Lifetime::starting(start, Duration::from_secs(300));
        let check = |now: Timestamp| lifetime.check(now, Duration::from_secs(60), Duration::from_secs(3600));
        assert!(check(start).is_ok());
        assert!(check(start.minus(Duration::from_secs(60))).is_ok());
        assert!(matches!(check(start.minus(Duration::from_secs(61))), Err(HeaderError::NotYetCreated { .. })));
        assert!(check(start.plus(Duration::from_secs(359))).is_ok());
        assert!(matches!(check(start.plus(Duration::from_secs(360))), Err(HeaderError::Expired { .. })));
        let long = Lifetime::starting(start, Duration::from_secs(3601));
        let refused = long.check(start, Duration::ZERO, Duration::from_secs(3600));
        assert_eq!(refused, Err(HeaderError::TooLong { seconds: 3601, most: 3600 }));
    }
}
