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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fhir::pixm;
    use crate::fhir::resource::Identifier;
    use crate::fhir::search::Handling;
    use crate::hl7v2::query::Asked;
    use crate::hl7v2::{Header, Limits, Message};
    use crate::hl7v3::datatype::Ii;
    use crate::hl7v3::wrapper::{Device, Wrapper};
    use crate::id::{Domain, Domains, Timestamp};
    use crate::pix::{query_v2, query_v3};

    fn domains() -> Domains {
        let domain = |namespace: &str, oid: &str| Domain {
            namespace: namespace.into(),
            authority: AssigningAuthority::new(oid, "ISO").unwrap(),
        };
        Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20")])
    }

    /// The question as it arrives in each dialect.
    fn travelled(question: &Question) -> [Question; 3] {
        let domains = domains();
        let header = Header { control_id: "1".into(), version: "2.5".into(), ..Header::default() };
        let asked = Asked { tag: "t".into(), echo: String::new() };
        let v2 = query_v2::Request { header, asked, question: question.clone() }.encode(&domains);
        let v2 = Message::parse(&v2, &Limits::default()).unwrap();
        let device = || Device { id: Ii::root("2.999.6"), ..Device::default() };
        let wrapper = Wrapper::new(Ii::new("2.999.6", "1"), Timestamp::from_millis(0), device(), device());
        let v3 = query_v3::Request::new(wrapper, Ii::new("2.999.6", "q"), question.clone()).encode(&domains);
        let tree = crate::xml::parse(&v3, &crate::xml::Limits::default()).unwrap();
        let fhir = pixm::Request { source: Identifier::of(&question.id, None), targets: Vec::new() }.to_query();
        let fhir = pixm::Request::from_query(&fhir, None, Handling::Strict).unwrap().resolve(&domains).unwrap();
        [
            query_v2::Request::decode(&v2, &domains).unwrap().question,
            query_v3::Request::decode(tree.root().unwrap(), &domains).unwrap().question,
            Question { id: fhir.source, wanted: fhir.targets },
        ]
    }

    proptest! {
        /// Leading zeros, separators, escapes and letters of every script: an identifier is text and stays the same.
        #[test]
        fn an_identifier_is_the_same_in_every_dialect(text in "\\PC{1,60}|0{1,8}[0-9]{0,8}|[|^~\\\\&,$%+<>\"'#;=?/ ]{1,12}") {
            let authority = AssigningAuthority::new("2.999.10", "ISO").unwrap();
            let Ok(id) = PatientId::new(&text, authority) else { return Ok(()) };
            let question = Question { id, wanted: Vec::new() };
            for arrived in travelled(&question) {
                prop_assert_eq!(arrived.id.id(), question.id.id());
                prop_assert!(arrived == question);
            }
        }
    }
}
