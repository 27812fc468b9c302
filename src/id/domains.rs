//! The patient identifier domains a gateway knows, under every form in which messages name them.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::identifiers::{AssigningAuthority, IdError, PatientId};

/// A patient identifier domain: its authority and the local name for it (CX.4.1).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// CX.4.1, HL7 v2 table 0363; `assigningAuthorityName` in v3.
    pub namespace: SmolStr,
    /// CX.4.2 and CX.4.3.
    pub authority: AssigningAuthority,
}

/// Why an assigning authority in a message is none of ours.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DomainError {
    /// Component 4 is empty.
    #[error("the identifier names no assigning authority")]
    Missing,
    /// Not configured here.
    #[error("the assigning authority is not known here")]
    Unknown,
    /// Namespace and universal id are those of two different authorities.
    #[error("the parts of the assigning authority name two different authorities")]
    Contradiction,
    /// Not well formed.
    #[error(transparent)]
    Malformed(#[from] IdError),
}

/// All domains that a gateway knows.
#[derive(Clone, Debug, Default)]
pub struct Domains(Vec<Domain>);

impl Domains {
    /// These domains.
    pub fn new(domains: Vec<Domain>) -> Self {
        Self(domains)
    }

    /// Each domain.
    pub fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.0.iter()
    }

    /// The domain that CX.4 names: by namespace alone, by universal id and type, or by all three, which must agree
    /// (ITI TF-2: Appendix E.1).
    pub fn resolve(&self, namespace: &str, universal_id: &str, kind: &str) -> Result<&Domain, DomainError> {
        let namespace = namespace.trim();
        let has_universal = !(universal_id.trim().is_empty() && kind.trim().is_empty());
        if namespace.is_empty() && !has_universal {
            return Err(DomainError::Missing);
        }
        if !has_universal {
            return self.0.iter().find(|domain| domain.namespace == namespace).ok_or(DomainError::Unknown);
        }
        let authority = AssigningAuthority::new(universal_id, kind)?;
        let domain = self.of(&authority).ok_or(DomainError::Unknown)?;
        // A namespace that is another domain's name contradicts; one that nobody here knows is only a label.
        let contradicts = !namespace.is_empty()
            && domain.namespace != namespace
            && self.0.iter().any(|other| other.namespace == namespace);
        if contradicts { Err(DomainError::Contradiction) } else { Ok(domain) }
    }

    /// The domain of an authority.
    pub fn of(&self, authority: &AssigningAuthority) -> Option<&Domain> {
        self.0.iter().find(|domain| domain.authority == *authority)
    }

    /// All three subcomponents of CX.4 for an authority; the namespace is empty for one that is not ours.
    pub fn cx4(&self, authority: &AssigningAuthority) -> (SmolStr, SmolStr, SmolStr) {
        let namespace = self.of(authority).map(|domain| domain.namespace.clone()).unwrap_or_default();
        (namespace, authority.universal_id().into(), authority.kind().into())
    }

    /// Whether an identifier is of a domain known here.
    pub fn knows(&self, id: &PatientId) -> bool {
        self.of(id.authority()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Domains {
        let domain = |namespace: &str, oid: &str| Domain {
            namespace: namespace.into(),
            authority: AssigningAuthority::new(oid, "ISO").unwrap(),
        };
        Domains::new(vec![domain("NORTH", "1.2.3.4.10"), domain("WEST", "1.2.3.4.20")])
    }

    #[test]
    fn every_form_of_an_authority_finds_its_domain() {
        let domains = domains();
        for (namespace, universal, kind) in [
            ("NORTH", "", ""),
            ("", "1.2.3.4.10", "ISO"),
            ("NORTH", "1.2.3.4.10", "ISO"),
            ("LABEL", "1.2.3.4.10", "ISO"),
        ] {
            let found = domains.resolve(namespace, universal, kind).unwrap();
            assert_eq!(found.namespace, "NORTH", "{namespace}&{universal}&{kind}");
        }
    }

    #[test]
    fn authorities_that_are_not_ours_are_told_apart() {
        let domains = domains();
        for (parts, error) in [
            (("", "", ""), DomainError::Missing),
            (("SOUTH", "", ""), DomainError::Unknown),
            (("", "9.9", "ISO"), DomainError::Malformed(IdError::NotAnOid)),
            (("WEST", "1.2.3.4.10", "ISO"), DomainError::Contradiction),
            (("", "1.2.3.4.10", ""), DomainError::Malformed(IdError::HalfAuthority)),
        ] {
            assert_eq!(domains.resolve(parts.0, parts.1, parts.2), Err(error), "{parts:?}");
        }
    }
}
