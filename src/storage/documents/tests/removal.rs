//! Removal of metadata (ITI-62) and of bytes (ITI-86) against the registry.

use super::versions::next;
use super::*;

impl Registry {
    fn remove(&mut self, ids: &[&ObjectId]) -> Result<(), Vec<ErrorCode>> {
        let ids = ids.iter().map(|id| (*id).clone()).collect();
        let outcome = self.runtime.block_on(self.documents.remove(&self.tenant, ids));
        outcome.map_err(|error| error.errors().into_iter().map(|error| error.code).collect())
    }

    fn forget(&mut self, unique_id: &str, repository: &str) -> Vec<String> {
        let repository = RepositoryId::new(repository).unwrap();
        let unique_id = unique(unique_id);
        let forgotten = self.documents.forget_content(&self.tenant, &unique_id, &repository);
        self.runtime.block_on(forgotten).unwrap()
    }

    fn keeps(&self, key: &str) -> bool {
        self.documents.keeps(&self.tenant, key).unwrap()
    }

    fn rows(&self) -> usize {
        let everything = FindDocuments { statuses: OLD_STATUSES.to_vec(), ..FindDocuments::default() };
        self.search(&Query::FindDocumentsForMultiplePatients(everything)).len()
    }
}

/// Remove Metadata and Documents supplement 3.62.4.1.3; NIST 30000 to 30008.
#[test]
fn what_is_removed_leaves_no_end_loose() {
    let mut registry = Registry::new();
    let first = registry.register(submission("2.999.1", "p1", vec![entry("doc", "2.999.9.1", "p1")])).unwrap();
    let mut second = submission("2.999.2", "p1", vec![entry("more", "2.999.9.2", "p1")]);
    link(&mut second, AssociationKind::Append, "more", &first.entries[0].id);
    let second = registry.register(second).unwrap();
    let (set, document, member) = (&first.set.id, &first.entries[0].id, &first.associations[0].id);
    let (other_set, other, other_member, append) =
        (&second.set.id, &second.entries[0].id, &second.associations[0].id, &second.associations[1].id);
    let nothing = &ObjectId::from("urn:uuid:00000000-0000-4000-8000-00000000dead");
    for (story, ids, code) in [
        ("nothing of that id", vec![nothing, document, member, set], ErrorCode::UnresolvedReferenceException),
        ("a document that its set holds", vec![document, append], ErrorCode::ReferencesExistException),
        ("a document with an addendum", vec![document, member, set], ErrorCode::ReferencesExistException),
        ("a set that holds a document", vec![set], ErrorCode::ReferencesExistException),
        ("a set that would be empty", vec![other, other_member, append], ErrorCode::XdsUnreferencedObjectException),
    ] {
        assert_eq!(registry.remove(&ids), Err(vec![code]), "{story}");
        assert_eq!(registry.rows(), 2, "{story}");
    }
    // A membership alone: its set would be empty, its document nobody's.
    let orphan = ErrorCode::XdsUnreferencedObjectException;
    assert_eq!(registry.remove(&[member]), Err(vec![orphan.clone(), orphan]));
    registry.remove(&[append]).unwrap();
    registry.remove(&[document, member, set]).unwrap();
    assert_eq!(registry.rows(), 1);
    let ids = [document, member, set].map(Clone::clone);
    assert_eq!(registry.documents.objects(&registry.tenant, &ids).unwrap(), []);
    assert_eq!(registry.search(&Query::GetSubmissionSets(vec![document.clone()])), []);
    registry.remove(&[other, other_member, other_set]).unwrap();
    // As if it had never been: the same submission is new.
    registry.register(submission("2.999.1", "p1", vec![entry("doc", "2.999.9.1", "p1")])).unwrap();
}

#[test]
fn without_its_newest_version_an_object_is_found_by_the_one_before() {
    let mut registry = Registry::new();
    let first = registry.register(submission("2.999.1", "p1", vec![entry("doc", "2.999.9.1", "p1")])).unwrap();
    let second = registry.update(next("2.999.2", &first.entries[0], 1)).unwrap();
    registry.remove(&[&second.set.id, &second.entries[0].id, &second.associations[0].id]).unwrap();
    let found = registry.search(&Query::GetDocuments(Selector::UniqueIds(vec![unique("2.999.9.1")])));
    assert!(matches!(&found[..], [Object::Document(entry)] if entry.id == first.entries[0].id), "{found:?}");
}

/// 3.86.4.1.3: bytes go when they are removed themselves, whether their metadata stands or not.
#[test]
fn bytes_stay_known_until_they_are_removed_themselves() {
    let mut registry = Registry::new();
    let first = registry.register(submission("2.999.1", "p1", vec![entry("doc", "2.999.9.1", "p1")])).unwrap();
    registry.update(next("2.999.2", &first.entries[0], 1)).unwrap();
    registry.register(submission("2.999.3", "p1", vec![entry("doc", "2.999.9.2", "p1")])).unwrap();
    assert!(registry.keeps("key of doc"));
    assert_eq!(registry.forget("2.999.9.1", "2.999.8"), [] as [&str; 0], "another repository's document");
    assert_eq!(registry.forget("2.999.9.1", "2.999.4"), ["key of doc"]);
    assert!(registry.keeps("key of doc"), "another document has the same bytes");
    assert_eq!(registry.forget("2.999.9.1", "2.999.4"), [] as [&str; 0], "once");
    let stored = registry.documents.document(&registry.tenant, &unique("2.999.9.1")).unwrap().unwrap();
    assert_eq!(stored.content, None);

    let third = registry.register(submission("2.999.5", "p1", vec![entry("alone", "2.999.9.3", "p1")])).unwrap();
    registry.remove(&[&third.set.id, &third.entries[0].id, &third.associations[0].id]).unwrap();
    assert!(registry.keeps("key of alone"), "only its metadata was removed");
    assert_eq!(registry.forget("2.999.9.3", "2.999.4"), ["key of alone"]);
    assert!(!registry.keeps("key of alone"));
    assert_eq!(registry.forget("2.999.9.2", "2.999.4"), ["key of doc"]);
    assert!(!registry.keeps("key of doc"));
}
