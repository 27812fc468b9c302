//! Metadata updates (ITI-57, ITI-92) against the registry.

use super::*;
use crate::ebxml::Slot;
use crate::metadata::Rules;

/// A submission that makes a new version of a registered entry.
pub(super) fn next(set: &str, entry: &DocumentEntry, previous: u32) -> Submission {
    let new = DocumentEntry { id: "new".into(), logical_id: Some(entry.id.clone()), ..entry.clone() };
    let owner = new.patient_id.as_ref().unwrap().id().to_owned();
    let mut submission = submission(set, &owner, vec![new]);
    slot(&mut submission.associations[0], "PreviousVersion", &previous.to_string());
    submission
}

fn slot(association: &mut Association, name: &str, value: &str) {
    association.extra.push(Slot { name: name.into(), values: vec![value.into()] });
}

/// A submission that changes the status of an object.
fn status_change(set: &str, target: &ObjectId, from: Availability, to: Availability) -> Submission {
    let mut submission = submission(set, "p1", vec![]);
    link(&mut submission, AssociationKind::UpdateAvailabilityStatus, "set", target);
    slot(&mut submission.associations[0], "OriginalStatus", from.as_str());
    slot(&mut submission.associations[0], "NewStatus", to.as_str());
    submission
}

/// A submission of an association between registered objects.
fn association(set: &str, kind: AssociationKind, from: &ObjectId, to: &ObjectId) -> Submission {
    let mut submission = submission(set, "p1", vec![]);
    submission.associations.push(Association::new("added", kind, from.clone(), to.clone()));
    link(&mut submission, AssociationKind::SubmitAssociation, "set", &"added".into());
    submission
}

impl Registry {
    pub(super) fn update(&mut self, submission: Submission) -> Result<Submission, Vec<ErrorCode>> {
        self.update_as(submission, Rules::Update)
    }

    fn update_as(&mut self, submission: Submission, rules: Rules) -> Result<Submission, Vec<ErrorCode>> {
        self.clock = self.clock.plus(std::time::Duration::from_secs(60));
        let registration = Registration { contents: Vec::new(), submission, now: self.clock };
        let known = |_: &Write<'_>, id: &PatientId| Ok(id.id() != "nobody");
        let restricted = rules == Rules::RestrictedUpdate;
        let outcome = self.runtime.block_on(self.documents.update(&self.tenant, registration, restricted, known));
        outcome.map_err(|error| error.errors().into_iter().map(|error| error.code).collect())
    }

    fn search_all(&self, query: &Query) -> Vec<Object> {
        let scope = Scope { all_versions: true, associations: OLD_STATUSES.to_vec() };
        self.documents.search_in(&self.tenant, query, &scope, 100).unwrap()
    }
}

fn versions(objects: &[Object]) -> Vec<(u32, Availability)> {
    let mut versions: Vec<_> = objects
        .iter()
        .filter_map(|object| match object {
            Object::Document(entry) => Some((entry.version?, entry.availability?)),
            Object::Folder(folder) => Some((folder.version?, folder.availability?)),
            _ => None,
        })
        .collect();
    versions.sort_by_key(|(version, _)| *version);
    versions
}

const APPROVED: Availability = Availability::Approved;
const DEPRECATED: Availability = Availability::Deprecated;

/// Metadata Update supplement 3.57.4.1.3.3.1: one approved version at most, always the newest, found in place of the one
/// before by all who do not ask for versions.
#[test]
fn a_new_version_takes_the_place_of_the_one_before() {
    let mut registry = Registry::new();
    let first = with_folder(submission("2.999.1", "p1", vec![entry("doc", "2.999.9.1", "p1")]), "2.999.5", &["doc"]);
    let first = registry.register(first).unwrap();
    let (old, folder) = (&first.entries[0], first.folders[0].id.clone());
    let mut addendum = submission("2.999.2", "p1", vec![entry("more", "2.999.9.2", "p1")]);
    link(&mut addendum, AssociationKind::Append, "more", &old.id);
    let addendum = registry.register(addendum).unwrap();

    let mut update = next("2.999.3", old, 1);
    update.entries[0].title = Some("Corrected".into());
    let second = registry.update(update).unwrap().entries[0].id.clone();

    let by_unique = Query::GetDocuments(Selector::UniqueIds(vec![unique("2.999.9.1")]));
    let by_logical = Query::GetDocuments(Selector::LogicalIds(vec![old.id.clone()]));
    for query in [&by_unique, &by_logical] {
        assert_eq!(versions(&registry.search(query)), [(2, APPROVED)]);
        assert_eq!(versions(&registry.search_all(query)), [(1, DEPRECATED), (2, APPROVED)]);
    }
    // The entryUUID of the new version is not the logical id of anything.
    let by_second = Query::GetDocuments(Selector::LogicalIds(vec![second.clone()]));
    assert_eq!(registry.search_all(&by_second), []);
    // Who holds the old id still learns what became of it.
    assert_eq!(registry.status(&old.id), Some(DEPRECATED));
    let everything = FindDocuments { statuses: OLD_STATUSES.to_vec(), ..find("p1") };
    assert_eq!(registry.search(&Query::FindDocuments(everything.clone())).len(), 2, "the document and its addendum");
    assert_eq!(registry.search_all(&Query::FindDocuments(everything)).len(), 3);

    // What was associated with the old version is so with the new one (AssociationPropagation).
    let contents = Query::GetFolderAndContents(Selector::Ids(vec![folder.clone()]), ContentFilter::default());
    let held = registry.search(&contents);
    assert_eq!(counts(&held), [1, 0, 1, 1]);
    assert!(held.iter().any(|object| *object.id() == second));
    let related = Query::GetRelatedDocuments {
        document: Selector::Ids(vec![addendum.entries[0].id.clone()]),
        associations: vec![AssociationKind::Append],
        kinds: vec![DocumentKind::Stable],
    };
    let found = registry.search(&related);
    assert!(found.iter().any(|object| *object.id() == second), "{found:?}");
    assert_eq!(versions(&found), [(1, APPROVED), (2, APPROVED)]);

    // The bytes are the same.
    let stored = registry.documents.document(&registry.tenant, &unique("2.999.9.1")).unwrap().unwrap();
    assert_eq!((stored.entry.title.as_deref(), stored.content.as_deref()), (Some("Corrected"), Some("key of doc")));

    // The third follows the second, and the first is history.
    assert_eq!(registry.update(next("2.999.4", old, 1)), Err(vec![ErrorCode::XdsMetadataVersionError]));
    registry.update(next("2.999.4", old, 2)).unwrap();
    assert_eq!(versions(&registry.search_all(&by_unique)), [(1, DEPRECATED), (2, DEPRECATED), (3, APPROVED)]);
}

#[test]
fn associations_stay_with_the_old_version_if_the_update_says_so() {
    let mut registry = Registry::new();
    let first = with_folder(submission("2.999.1", "p1", vec![entry("doc", "2.999.9.1", "p1")]), "2.999.5", &["doc"]);
    let first = registry.register(first).unwrap();
    let folder = Query::GetFolderAndContents(Selector::UniqueIds(vec![unique("2.999.5")]), ContentFilter::default());
    let mut update = submission("2.999.2", "p1", vec![]);
    let mut new =
        Folder { id: "new".into(), logical_id: Some(first.folders[0].id.clone()), ..first.folders[0].clone() };
    new.title = Some("Renamed".into());
    update.folders.push(new);
    link(&mut update, AssociationKind::HasMember, "set", &"new".into());
    slot(&mut update.associations[0], "PreviousVersion", "1");
    slot(&mut update.associations[0], "AssociationPropagation", "no");
    registry.update(update).unwrap();
    // NIST 20000e: the new folder is empty, the old one holds what it held.
    assert_eq!(counts(&registry.search(&folder)), [0, 0, 1, 0]);
    assert_eq!(counts(&registry.search_all(&folder)), [1, 0, 2, 1]);
}

/// 3.57.4.1.3.3, 3.92.4.1.3: what an update must not do, each with its code; nothing of it happens.
#[test]
fn updates_that_contradict_the_registry_are_refused() {
    type Change = fn(&mut Submission);
    let cases: [(&str, Change, Rules, ErrorCode); 10] = [
        (
            "an object that nobody registered",
            |it| it.entries[0].logical_id = Some("urn:uuid:00000000-0000-4000-8000-00000000dead".into()),
            Rules::Update,
            ErrorCode::XdsMetadataVersionError,
        ),
        (
            "another uniqueId",
            |it| it.entries[0].unique_id = unique("2.999.9.7"),
            Rules::Update,
            ErrorCode::XdsMetadataIdentifierError,
        ),
        (
            "another objectType",
            |it| it.entries[0].kind = DocumentKind::OnDemand,
            Rules::Update,
            ErrorCode::XdsMetadataIdentifierError,
        ),
        (
            "another size of a document that is kept here",
            |it| it.entries[0].size = Some(5),
            Rules::Update,
            ErrorCode::XdsMetadataUpdateError,
        ),
        (
            "another repository",
            |it| it.entries[0].repository = RepositoryId::new("2.999.8").ok(),
            Rules::Update,
            ErrorCode::XdsMetadataUpdateError,
        ),
        (
            "a patient whom nobody knows",
            |it| {
                it.entries[0].patient_id = Some(patient("nobody"));
                it.set.patient_id = Some(patient("nobody"));
            },
            Rules::Update,
            ErrorCode::XdsUnknownPatientId,
        ),
        (
            "another patient than that of the folder that holds the document",
            |it| {
                it.entries[0].patient_id = Some(patient("p2"));
                it.set.patient_id = Some(patient("p2"));
            },
            Rules::Update,
            ErrorCode::XdsPatientIdReconciliationError,
        ),
        (
            "a submission set that is registered",
            |it| it.set.unique_id = unique("2.999.1"),
            Rules::Update,
            ErrorCode::XdsDuplicateUniqueIdInRegistry,
        ),
        (
            "another hash, by another community",
            |it| it.entries[0].hash = Some("a94a8fe5ccb19ba61c4c0873d391e987982fbbd3".into()),
            Rules::RestrictedUpdate,
            ErrorCode::UnmodifiableMetadataError,
        ),
        (
            "another repository, by another community",
            |it| it.entries[0].repository = RepositoryId::new("2.999.8").ok(),
            Rules::RestrictedUpdate,
            ErrorCode::UnmodifiableMetadataError,
        ),
    ];
    let mut registry = Registry::new();
    let first = with_folder(submission("2.999.1", "p1", vec![entry("doc", "2.999.9.1", "p1")]), "2.999.5", &["doc"]);
    let first = registry.register(first).unwrap();
    for (story, change, rules, code) in cases {
        let mut update = next("2.999.2", &first.entries[0], 1);
        change(&mut update);
        assert_eq!(registry.update_as(update, rules), Err(vec![code]), "{story}");
        let all = Query::GetDocuments(Selector::LogicalIds(vec![first.entries[0].id.clone()]));
        assert_eq!(versions(&registry.search_all(&all)), [(1, APPROVED)], "{story}");
    }
    // Nothing is left of all of them: the same submission set is new.
    registry.update(next("2.999.2", &first.entries[0], 1)).unwrap();
}

/// Without associations a document may be given to another patient (NIST 21002).
#[test]
fn a_document_that_is_alone_may_be_given_to_another_patient() {
    let mut registry = Registry::new();
    let first = registry.register(submission("2.999.1", "p1", vec![entry("doc", "2.999.9.1", "p1")])).unwrap();
    let mut update = next("2.999.2", &first.entries[0], 1);
    update.entries[0].patient_id = Some(patient("p2"));
    update.set.patient_id = Some(patient("p2"));
    registry.update(update).unwrap();
    // The patient whose it never was has it no more.
    let found = |owner: &str| {
        registry.search(&Query::FindDocuments(FindDocuments { statuses: OLD_STATUSES.to_vec(), ..find(owner) })).len()
    };
    assert_eq!((found("p1"), found("p2")), (0, 1));
    let all = Query::GetDocuments(Selector::LogicalIds(vec![first.entries[0].id.clone()]));
    assert!(matches!(of_one_patient(registry.search_all(&all)), Err(SearchError::SeveralPatients)));
}

/// 3.57.4.1.3.3.4.
#[test]
fn a_status_changes_from_what_it_is_and_no_two_rivals_are_approved() {
    let mut registry = Registry::new();
    let first = registry.register(submission("2.999.1", "p1", vec![entry("doc", "2.999.9.1", "p1")])).unwrap();
    let id = first.entries[0].id.clone();
    let mut refused = |submission, code| assert_eq!(registry.update(submission), Err(vec![code]));
    // NIST 20004.
    refused(status_change("2.999.2", &id, DEPRECATED, APPROVED), ErrorCode::XdsMetadataUpdateError);
    let nothing = "urn:uuid:00000000-0000-4000-8000-00000000dead".into();
    refused(status_change("2.999.2", &nothing, APPROVED, DEPRECATED), ErrorCode::UnresolvedReferenceException);
    refused(status_change("2.999.2", &first.set.id, APPROVED, DEPRECATED), ErrorCode::XdsMetadataUpdateError);
    registry.update(status_change("2.999.2", &id, APPROVED, DEPRECATED)).unwrap();
    assert_eq!(registry.status(&id), Some(DEPRECATED));
    assert_eq!(registry.search(&Query::FindDocuments(find("p1"))), []);
    // A withdrawn document has no new version.
    let code = registry.update(next("2.999.3", &first.entries[0], 1));
    assert_eq!(code, Err(vec![ErrorCode::XdsMetadataVersionError]));
    registry.update(status_change("2.999.3", &id, DEPRECATED, APPROVED)).unwrap();
    assert_eq!(registry.status(&id), Some(APPROVED));

    // An old version stays one.
    registry.update(next("2.999.4", &first.entries[0], 1)).unwrap();
    let code = registry.update(status_change("2.999.6", &id, DEPRECATED, APPROVED));
    assert_eq!(code, Err(vec![ErrorCode::XdsMetadataVersionError]));

    // What was replaced is not approved beside what replaced it.
    let second = registry.register(submission("2.999.7", "p1", vec![entry("old", "2.999.9.2", "p1")])).unwrap();
    let old = second.entries[0].id.clone();
    let mut replacement = submission("2.999.8", "p1", vec![entry("new", "2.999.9.3", "p1")]);
    link(&mut replacement, AssociationKind::Replace, "new", &old);
    let new = registry.register(replacement).unwrap().entries[0].id.clone();
    let code = registry.update(status_change("2.999.10", &old, DEPRECATED, APPROVED));
    assert_eq!(code, Err(vec![ErrorCode::XdsMetadataUpdateError]));
    registry.update(status_change("2.999.10", &new, APPROVED, DEPRECATED)).unwrap();
    registry.update(status_change("2.999.11", &old, DEPRECATED, APPROVED)).unwrap();
    assert_eq!((registry.status(&old), registry.status(&new)), (Some(APPROVED), Some(DEPRECATED)));
}

/// 3.57.4.1.3.3.3; NIST 20008.
#[test]
fn associations_are_submitted_once_and_keep_their_rules() {
    let mut registry = Registry::new();
    let documents = vec![entry("a", "2.999.9.1", "p1"), entry("b", "2.999.9.2", "p1")];
    let first = registry.register(with_folder(submission("2.999.1", "p1", documents), "2.999.5", &["a"])).unwrap();
    let other = registry.register(submission("2.999.2", "p2", vec![entry("c", "2.999.9.3", "p2")])).unwrap();
    let ids: Vec<ObjectId> = first.entries.iter().map(|entry| entry.id.clone()).collect();
    let (folder, foreign) = (&first.folders[0].id, &other.entries[0].id);
    let has_member = || AssociationKind::HasMember;
    for (story, submission, code) in [
        (
            "the folder holds it already",
            association("2.999.3", has_member(), folder, &ids[0]),
            ErrorCode::XdsMetadataUpdateError,
        ),
        (
            "a document of another patient",
            association("2.999.3", has_member(), folder, foreign),
            ErrorCode::XdsPatientIdDoesNotMatch,
        ),
        (
            "a member of a submission set",
            association("2.999.3", has_member(), &first.set.id, foreign),
            ErrorCode::XdsMetadataUpdateError,
        ),
        (
            "an addendum of another patient",
            association("2.999.3", AssociationKind::Append, &ids[0], foreign),
            ErrorCode::XdsPatientIdDoesNotMatch,
        ),
    ] {
        assert_eq!(registry.update(submission), Err(vec![code]), "{story}");
    }
    registry.update(association("2.999.3", has_member(), folder, &ids[1])).unwrap();
    let contents = Query::GetFolderAndContents(Selector::Ids(vec![folder.clone()]), ContentFilter::default());
    assert_eq!(counts(&registry.search(&contents))[0], 2);
    registry.update(association("2.999.4", AssociationKind::Replace, &ids[1], &ids[0])).unwrap();
    assert_eq!((registry.status(&ids[0]), registry.status(&ids[1])), (Some(DEPRECATED), Some(APPROVED)));
}
