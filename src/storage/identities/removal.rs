//! A source takes a record back (ITI-104, DELETE): the identifier is nobody's any more.

use super::changes::log;
use super::parting::split;
use super::rows::Tables;
use super::{Change, Identities, IdentityError, Person, Refusal, What, partners};
use crate::id::{PatientId, Tenant, Timestamp};

impl Identities {
    /// Removes an identifier with all that it replaced, each with a line of history, and the record if it has no other. What the person has from
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
                log(write, codec, Change::new(at, What::Removed, &gone, &gone))?;
            }
            let (records, _) = split(&person, &id);
            if records.is_empty() {
                tables.vanish(&person)?;
                partners::forget_all(write, codec, person.key)?;
            } else {
                tables.store(Some(&person), &Person { key: person.key, records })?;
            }
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

    /// Whoever was linked through the identifier that went stays linked; whoever gets it next is linked with nobody.
    #[tokio::test]
    async fn links_through_what_was_removed_hold_and_are_not_those_of_its_next_holder() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
        let (identities, tenant) = (Identities::new(engine, Sealer::plain()), Tenant::default());
        let names = ["1^^^&2.999.1", "2^^^&2.999.2", "3^^^&2.999.3", "4^^^&2.999.4", "5^^^&2.999.5"];
        let [one, middle, three, four, five] = names.map(id);
        for (first, second) in [(&one, &middle), (&middle, &three)] {
            identities.link(&tenant, first.clone(), second.clone(), AT).await.unwrap();
        }
        identities.remove(&tenant, middle.clone(), AT).await.unwrap();
        identities.feed(&tenant, vec![middle.clone()], Demographics::default(), AT).await.unwrap();
        for (first, second) in [(&one, &four), (&middle, &five), (&four, &five)] {
            identities.link(&tenant, first.clone(), second.clone(), AT).await.unwrap();
        }
        identities.unlink(&tenant, four.clone(), five.clone(), AT).await.unwrap();
        let others = |of: &PatientId| identities.cross_references(&tenant, of, &[]).unwrap().unwrap();
        assert_eq!(others(&one), [three.clone(), four.clone()]);
        assert_eq!(others(&five), std::slice::from_ref(&middle));
        identities.unlink(&tenant, four.clone(), one.clone(), AT).await.unwrap();
        assert_eq!((others(&one), others(&four)), (vec![three], Vec::new()));
        assert_eq!(identities.verify_consistency(&tenant).unwrap(), []);
    }
}
