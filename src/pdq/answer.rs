//! What a demographics supplier answers, whatever the dialect (ITI TF-2: 3.21.4.2, 3.22.4.2, 3.47.4.2).

use smol_str::SmolStr;

use super::visit::Visit;
use crate::id::{AssigningAuthority, Demographics, PatientId};

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// People, or the rest of them.
    Found(Page),
    /// Nobody matches.
    NothingFound,
    /// No answer.
    Refused(Refusal),
}

/// A part of the people found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// Best first.
    pub matches: Vec<Match>,
    /// How many people match in all; HL7 v2 does not tell.
    pub total: Option<u32>,
    /// How many of them follow after this page; HL7 v2 does not tell.
    pub remaining: Option<u32>,
    /// What to ask for the next page with (DSC-1); v3 asks by number instead.
    pub next: Option<SmolStr>,
}

/// One person.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Match {
    /// Identifiers of patient identifier domains.
    pub ids: Vec<PatientId>,
    /// What is known.
    pub demographics: Demographics,
    /// How sure the match is, 0 to 100.
    pub confidence: Option<u8>,
    /// The visit (ITI-22 only).
    pub visit: Option<Visit>,
}

impl Match {
    /// With only the identifiers of those domains; none if there is none of them (case 2 of ITI TF-2: 3.21.4.2.2). No
    /// domain wanted means all.
    pub fn restricted_to(mut self, wanted: &[AssigningAuthority]) -> Option<Self> {
        if !wanted.is_empty() {
            self.ids.retain(|id| wanted.contains(id.authority()));
        }
        (!self.ids.is_empty()).then_some(self)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// These of the domains wanted, by their place from 1, are not known (case 3).
    #[error("a requested domain is not known")]
    UnknownDomains(Vec<usize>),
    /// The query asks for nothing.
    #[error("the query has no criterion")]
    NoCriteria,
    /// There is no such page, or no longer.
    #[error("the query to be continued is not known, or too old")]
    UnknownContinuation,
    /// So many people match that the query says nothing.
    #[error("too many people match; tell more about the person")]
    TooMany,
    /// Something failed here; it can be asked again.
    #[error("the query cannot be answered now; ask again")]
    Unavailable,
    /// What a partner refused for another reason, in its words: not for logs.
    #[error("{0}")]
    Other(String),
}

impl Answer {
    /// This page; nobody, if it is empty and the last.
    pub fn found(page: Page) -> Self {
        if page.matches.is_empty() && page.next.is_none() { Self::NothingFound } else { Self::Found(page) }
    }
}
