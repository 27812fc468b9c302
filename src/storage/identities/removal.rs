//! A source takes a record back (ITI-104, DELETE): the identifier is nobody's any more.

use super::changes::{log, split};
use super::rows::Tables;
use super::{Change, Identities, IdentityError, Person, Refusal, What, partners};
use crate::id::{PatientId, Tenant, Timestamp};

impl Identities {
    /// Removes an identifier with all that it replaced, and the record if it has no other. What the person has from
    /// other sources stays.
    pub async fn remove(&self, tenant: &Tenant, id: PatientId, at: Timestamp) -> Result<(), IdentityError> {
        self.change(tenant, move |write, codec| {
            let mut tables = Tables::open(write, codec)?;
            let Some(person) = tables.find(&id)? else { return Ok(Err(Refusal::Unknown)) };
            if person.current(&id) != &id {
                return Ok(Err(Refusal::AlreadyReplaced));
            }
            for gone in person.chain(&id) {
                tables.forget(&gone)?;
            }
            let (records, _) = split(&person, &id);
            if records.is_empty() {
                tables.vanish(&person)?;
                partners::forget_all(write, codec, person.key)?;
            } else {
                tables.store(Some(&person), &Person { key: person.key, records })?;
            }
            let (first, second) = (id.clone(), id.clone());
            log(write, codec, &Change { at, what: What::Removed, first, second, score: None, by: None })?;
            Ok(Ok(()))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Demographics, PersonName};
    use crate::storage::engine::{Engine, Settings};
    use crate::storage::identities::{MergeRules, Resolution};
    use crate::storage::seal::Sealer;

    const AT: Timestamp = Timestamp::from_millis(1);

    fn id(text: &str) -> PatientId {
        PatientId::from_cx(&format!("{text}&ISO")).unwrap()
    }

    #[tokio::test]
    async fn what_is_removed_is_gone_with_what_it_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
        let identities = Identities::new(engine, Sealer::plain());
        let tenant = Tenant::default();
        let person = Demographics { names: vec![PersonName::new("Okafor", &["Ada"])], ..Demographics::default() };
        let (old, new, other) = (id("1^^^&2.999.1"), id("2^^^&2.999.1"), id("7^^^&2.999.2"));
        identities.feed(&tenant, vec![old.clone()], person.clone(), AT).await.unwrap();
        identities.feed(&tenant, vec![new.clone(), other.clone()], person.clone(), AT).await.unwrap();
        identities.merge(&tenant, new.clone(), old.clone(), MergeRules::BothKnown, AT).await.unwrap();

        let refused = identities.remove(&tenant, old.clone(), AT).await;
        assert!(matches!(refused, Err(IdentityError::Refused(Refusal::AlreadyReplaced))));
        identities.remove(&tenant, new.clone(), AT).await.unwrap();
        for gone in [&old, &new] {
            assert_eq!(identities.resolve(&tenant, gone).unwrap(), Resolution::Unknown);
            let refused = identities.remove(&tenant, gone.clone(), AT).await;
            assert!(matches!(refused, Err(IdentityError::Refused(Refusal::Unknown))));
        }
        assert_eq!(identities.cross_references(&tenant, &other, &[]).unwrap(), Some(Vec::new()));
        assert_eq!(identities.verify_consistency(&tenant).unwrap(), []);

        identities.remove(&tenant, other.clone(), AT).await.unwrap();
        assert_eq!(identities.counts().unwrap(), (0, 0));
        assert_eq!(identities.verify_consistency(&tenant).unwrap(), []);
        assert!(identities.search(&tenant, &person, 10).unwrap().candidates.is_empty());
        // The source may use the number again, for somebody else.
        assert!(identities.feed(&tenant, vec![new.clone()], person, AT).await.unwrap().added);
    }
}
