//! What is asked of a cross-reference manager and what it answers, whatever the dialect (ITI TF-2: 3.9, 3.45, 3.83).

use crate::id::{AssigningAuthority, PatientId};

/// Which identifiers does the person with this one have?
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// The identifier that is known, of a domain known here.
    pub id: PatientId,
    /// The domains wanted; none means all.
    pub wanted: Vec<AssigningAuthority>,
}

/// What is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// At least one identifier; those of one domain follow each other (case 6 of ITI TF-2: 3.9.4.2.2).
    Found(Vec<PatientId>),
    /// The identifier is known, and the person has none in the domains wanted.
    NothingFound,
    /// No answer.
    Refused(Refusal),
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The identifier is not known in its domain.
    #[error("the identifier is not known")]
    UnknownId,
    /// The domain of the identifier is not known.
    #[error("the assigning authority of the identifier is not known")]
    UnknownDomain,
    /// These of the domains wanted, by their place from 1, are not known.
    #[error("a requested domain is not known")]
    UnknownWantedDomains(Vec<usize>),
    /// Something failed here; it can be asked again.
    #[error("the question cannot be answered now; ask again")]
    Unavailable,
    /// What a partner refused for another reason, in its words: not for logs.
    #[error("{0}")]
    Other(String),
}

impl Answer {
    /// These identifiers, those of one domain together in the order in which the domains first appear.
    pub fn found(ids: Vec<PatientId>) -> Self {
        let mut ordered: Vec<PatientId> = Vec::with_capacity(ids.len());
        for id in ids {
            if ordered.contains(&id) {
                continue;
            }
            let behind = ordered.iter().rposition(|other| other.authority() == id.authority());
            ordered.insert(behind.map_or(ordered.len(), |at| at + 1), id);
        }
        if ordered.is_empty() { Self::NothingFound } else { Self::Found(ordered) }
    }
}
