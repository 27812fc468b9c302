use super::*;
use crate::id::{Code, RepositoryId};
use crate::metadata::query::{
    ContentFilter, FindDocuments, FindFolders, FindSubmissionSets, GetAll, Selector, TimeRange, WantedCode,
};
use crate::metadata::{
    Association, AssociationKind, Availability, DocumentKind, Folder, Membership, ReferenceId, SubmissionSet,
};
use crate::storage::engine::Settings;

mod removal;
mod versions;

const OLD_STATUSES: [Availability; 2] = [Availability::Approved, Availability::Deprecated];

struct Registry {
    documents: Documents,
    runtime: tokio::runtime::Runtime,
    tenant: Tenant,
    clock: Timestamp,
    _folder: tempfile::TempDir,
}

fn patient(id: &str) -> PatientId {
    PatientId::from_cx(&format!("{id}^^^&2.999.1.3&ISO")).unwrap()
}

fn unique(id: &str) -> DocumentUniqueId {
    DocumentUniqueId::new(id).unwrap()
}

fn entry(symbol: &str, unique_id: &str, owner: &str) -> DocumentEntry {
    let code = |text: &str| Some(Code::new(text, "S", ""));
    let mut entry = DocumentEntry::new(symbol, DocumentKind::Stable, unique(unique_id), "text/xml");
    entry.patient_id = Some(patient(owner));
    entry.repository = RepositoryId::new("2.999.4").ok();
    entry.hash = Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into());
    entry.size = Some(4);
    entry.class_code = code("class");
    entry.format_code = code("format");
    entry.confidentiality = vec![Code::new("N", "S", "")];
    entry.creation_time = Some("20260114".parse().unwrap());
    entry
}

/// A submission set of a patient with documents, as a source sends it.
fn submission(unique_id: &str, owner: &str, entries: Vec<DocumentEntry>) -> Submission {
    let mut set = SubmissionSet::new("set", unique(unique_id));
    set.patient_id = Some(patient(owner));
    set.submission_time = Some("20260115143000".parse().unwrap());
    let member = |(at, entry): (usize, &DocumentEntry)| {
        let id = ObjectId::from(format!("member-{at}").as_str());
        let mut member = Association::new(id, AssociationKind::HasMember, "set".into(), entry.id.clone());
        member.membership = Some(Membership::Original);
        member
    };
    let associations = entries.iter().enumerate().map(member).collect();
    Submission { set, entries, folders: Vec::new(), associations }
}

fn link(submission: &mut Submission, kind: AssociationKind, from: &str, to: &ObjectId) {
    let id = ObjectId::from(format!("link-{}", submission.associations.len()).as_str());
    submission.associations.push(Association::new(id, kind, from.into(), to.clone()));
}

fn with_folder(mut submission: Submission, unique_id: &str, members: &[&str]) -> Submission {
    let mut folder = Folder::new("folder", unique(unique_id));
    folder.patient_id = submission.set.patient_id.clone();
    folder.codes = vec![Code::new("folder", "S", "")];
    submission.folders.push(folder);
    link(&mut submission, AssociationKind::HasMember, "set", &"folder".into());
    for member in members {
        link(&mut submission, AssociationKind::HasMember, "folder", &(*member).into());
    }
    submission
}

impl Registry {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
        Self {
            documents: Documents::new(engine, Sealer::plain()),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            tenant: Tenant::default(),
            clock: Timestamp::from_rfc3339("2026-01-15T15:00:00Z").unwrap(),
            _folder: folder,
        }
    }

    /// Knows every patient but `nobody`.
    fn register(&mut self, submission: Submission) -> Result<Submission, Vec<ErrorCode>> {
        self.clock = self.clock.plus(std::time::Duration::from_secs(60));
        let contents = submission.entries.iter().map(|entry| (entry.id.clone(), format!("key of {}", entry.id)));
        let registration = Registration { contents: contents.collect(), submission, now: self.clock };
        let known = |_: &Write<'_>, id: &PatientId| Ok(id.id() != "nobody");
        let outcome = self.runtime.block_on(self.documents.register(&self.tenant, registration, known));
        outcome.map_err(|error| error.errors().into_iter().map(|error| error.code).collect())
    }

    fn search(&self, query: &Query) -> Vec<Object> {
        self.documents.search(&self.tenant, query, 100).unwrap()
    }

    fn status(&self, id: &ObjectId) -> Option<Availability> {
        match &self.search(&Query::GetDocuments(Selector::Ids(vec![id.clone()])))[..] {
            [Object::Document(entry)] => entry.availability,
            other => panic!("{other:?}"),
        }
    }
}

fn find(owner: &str) -> FindDocuments {
    FindDocuments { patients: vec![patient(owner)], statuses: vec![Availability::Approved], ..FindDocuments::default() }
}

/// How many documents, sets, folders and associations were found.
fn counts(objects: &[Object]) -> [usize; 4] {
    let mut counts = [0; 4];
    for object in objects {
        match object {
            Object::Document(_) => counts[0] += 1,
            Object::SubmissionSet(_) => counts[1] += 1,
            Object::Folder(_) => counts[2] += 1,
            Object::Association(_) => counts[3] += 1,
            Object::Reference(_) => panic!("a reference"),
        }
    }
    counts
}

#[test]
fn every_query_finds_what_it_names() {
    let mut registry = Registry::new();
    let mut second = entry("b", "2.999.9.2", "A");
    second.class_code = Some(Code::new("other", "S", ""));
    second.event_codes = vec![Code::new("E1", "S", ""), Code::new("E2", "S", "")];
    second.reference_ids = vec![ReferenceId::from_wire("X1^^^&2.999&ISO^urn:order").unwrap()];
    let mut on_demand = entry("c", "2.999.9.3", "A");
    on_demand.kind = DocumentKind::OnDemand;
    (on_demand.hash, on_demand.size, on_demand.creation_time) = (None, None, None);
    let mut first = submission("2.999.8.1", "A", vec![entry("a", "2.999.9.1", "A"), second, on_demand]);
    link(&mut first, AssociationKind::Append, "b", &"a".into());
    let first = registry.register(with_folder(first, "2.999.7.1", &["a", "b"])).unwrap();
    registry.register(submission("2.999.8.2", "B", vec![entry("a", "2.999.9.4", "B")])).unwrap();

    let [a, b, _] = &first.entries[..] else { panic!() };
    let both = || vec![DocumentKind::Stable, DocumentKind::OnDemand];
    let approved = || vec![Availability::Approved];
    let codes = |code: &str| vec![vec![WantedCode::new(code, "S")]];
    let contents = |kinds: Vec<DocumentKind>| ContentFilter { kinds, ..ContentFilter::default() };
    let ids = |id: &ObjectId| Selector::Ids(vec![id.clone()]);
    let range = |from: &str, to: &str| TimeRange { from: from.parse().ok(), to: to.parse().ok() };
    let sets = |author| FindSubmissionSets {
        patient: patient("A"),
        statuses: approved(),
        sources: vec![],
        submission_time: range("2026", "2026"),
        author,
        content_types: vec![],
    };
    let folders =
        |patients, codes| FindFolders { patients, statuses: approved(), last_update: TimeRange::default(), codes };
    let all = |kinds| GetAll {
        patient: patient("A"),
        document_statuses: approved(),
        set_statuses: approved(),
        folder_statuses: approved(),
        contents: contents(kinds),
    };
    let related = |types: &[AssociationKind]| Query::GetRelatedDocuments {
        document: ids(&a.id),
        associations: types.to_vec(),
        kinds: vec![],
    };
    for (name, query, expected) in [
        ("stable documents", Query::FindDocuments(find("A")), [2, 0, 0, 0]),
        ("all kinds", Query::FindDocuments(FindDocuments { contents: contents(both()), ..find("A") }), [3, 0, 0, 0]),
        ("another patient", Query::FindDocuments(find("B")), [1, 0, 0, 0]),
        ("an unknown patient", Query::FindDocuments(find("C")), [0; 4]),
        (
            "deprecated only",
            Query::FindDocuments(FindDocuments { statuses: vec![Availability::Deprecated], ..find("A") }),
            [0; 4],
        ),
        ("a class", Query::FindDocuments(FindDocuments { class_codes: codes("other"), ..find("A") }), [1, 0, 0, 0]),
        (
            "two events at once",
            Query::FindDocuments(FindDocuments { event_codes: [codes("E1"), codes("E2")].concat(), ..find("A") }),
            [1, 0, 0, 0],
        ),
        (
            "two events that no document has",
            Query::FindDocuments(FindDocuments { event_codes: [codes("E1"), codes("E3")].concat(), ..find("A") }),
            [0; 4],
        ),
        (
            "creation time does not apply to on-demand documents",
            Query::FindDocuments(FindDocuments {
                creation_time: range("2027", "2028"),
                contents: contents(both()),
                ..find("A")
            }),
            [1, 0, 0, 0],
        ),
        (
            "service time nobody has",
            Query::FindDocuments(FindDocuments { service_start: range("2000", "2100"), ..find("A") }),
            [0; 4],
        ),
        ("a reference", Query::FindDocumentsByReferenceId(find("A"), vec![vec!["X1%".into()]]), [1, 0, 0, 0]),
        ("another reference", Query::FindDocumentsByReferenceId(find("A"), vec![vec!["X2%".into()]]), [0; 4]),
        (
            "two patients",
            Query::FindDocumentsForMultiplePatients(FindDocuments {
                patients: vec![patient("A"), patient("B")],
                ..find("A")
            }),
            [3, 0, 0, 0],
        ),
        (
            "a class of everybody",
            Query::FindDocumentsForMultiplePatients(FindDocuments {
                patients: vec![],
                class_codes: codes("class"),
                ..find("A")
            }),
            [2, 0, 0, 0],
        ),
        ("sets", Query::FindSubmissionSets(sets(None)), [0, 1, 0, 0]),
        ("sets of an author", Query::FindSubmissionSets(sets(Some("%Jones%".into()))), [0; 4]),
        ("folders", Query::FindFolders(folders(vec![patient("A")], codes("folder"))), [0, 0, 1, 0]),
        ("folders of everybody", Query::FindFoldersForMultiplePatients(folders(vec![], codes("folder"))), [0, 0, 1, 0]),
        // Set to 2 documents and the folder, folder to 2 documents, the append.
        ("everything stable", Query::GetAll(all(vec![])), [2, 1, 1, 6]),
        ("everything", Query::GetAll(all(both())), [3, 1, 1, 7]),
        ("a document by id", Query::GetDocuments(ids(&a.id)), [1, 0, 0, 0]),
        (
            "by an id with a prefix",
            Query::GetDocuments(Selector::UniqueIds(vec![unique("urn:oid:2.999.9.1")])),
            [1, 0, 0, 0],
        ),
        ("by an unknown id", Query::GetDocuments(Selector::UniqueIds(vec![unique("2.999.9.404")])), [0; 4]),
        ("a folder is no document", Query::GetDocuments(ids(&first.folders[0].id)), [0; 4]),
        ("a folder", Query::GetFolders(Selector::UniqueIds(vec![unique("2.999.7.1")])), [0, 0, 1, 0]),
        ("associations", Query::GetAssociations(vec![a.id.clone()]), [0, 0, 0, 3]),
        ("a document with associations", Query::GetDocumentsAndAssociations(ids(&a.id)), [1, 0, 0, 3]),
        ("sets of a document", Query::GetSubmissionSets(vec![b.id.clone()]), [0, 1, 0, 1]),
        ("a set with all", Query::GetSubmissionSetAndContents(ids(&first.set.id), contents(both())), [3, 1, 1, 7]),
        (
            "a set with what has a format",
            Query::GetSubmissionSetAndContents(
                ids(&first.set.id),
                ContentFilter { format_codes: codes("none"), ..ContentFilter::default() },
            ),
            [0, 1, 1, 1],
        ),
        (
            "a folder with documents",
            Query::GetFolderAndContents(ids(&first.folders[0].id), contents(vec![])),
            [2, 0, 1, 3],
        ),
        ("folders of a document", Query::GetFoldersForDocument(ids(&b.id)), [0, 0, 1, 0]),
        ("related", related(&[AssociationKind::Append]), [2, 0, 0, 1]),
        ("related by another type", related(&[AssociationKind::Replace]), [0; 4]),
    ] {
        assert_eq!(counts(&registry.search(&query)), expected, "{name}");
    }
}

/// ITI TF-3: 4.2.2.2.3; NIST testkit 12327.
#[test]
fn a_replacement_deprecates_the_old_with_its_addenda_and_takes_its_place_in_folders() {
    let mut registry = Registry::new();
    let first = submission("2.999.8.1", "A", vec![entry("old", "2.999.9.1", "A")]);
    let first = registry.register(with_folder(first, "2.999.7.1", &["old"])).unwrap();
    let old = first.entries[0].id.clone();
    let mut addendum = submission("2.999.8.2", "A", vec![entry("more", "2.999.9.2", "A")]);
    link(&mut addendum, AssociationKind::Append, "more", &old);
    let addendum = registry.register(addendum).unwrap();
    let mut replacement = submission("2.999.8.3", "A", vec![entry("new", "2.999.9.3", "A")]);
    link(&mut replacement, AssociationKind::Replace, "new", &old);
    let replacement = registry.register(replacement).unwrap();

    assert_eq!(registry.status(&old), Some(Availability::Deprecated));
    assert_eq!(registry.status(&addendum.entries[0].id), Some(Availability::Deprecated));
    assert_eq!(registry.status(&replacement.entries[0].id), Some(Availability::Approved));
    let folder = Selector::Ids(vec![first.folders[0].id.clone()]);
    let contents = registry.search(&Query::GetFolderAndContents(folder, ContentFilter::default()));
    assert_eq!(counts(&contents)[0], 2, "{contents:?}");
    let updated = contents.iter().find_map(|object| match object {
        Object::Folder(folder) => folder.last_update.clone(),
        _ => None,
    });
    assert_eq!(updated.unwrap().as_str(), registry.clock.to_dtm());

    // What is deprecated is neither replaced nor added to.
    for kind in [AssociationKind::Replace, AssociationKind::Append, AssociationKind::Transform] {
        let mut late = submission("2.999.8.4", "A", vec![entry("late", "2.999.9.4", "A")]);
        link(&mut late, kind, "late", &old);
        assert_eq!(registry.register(late), Err(vec![ErrorCode::XdsRegistryDeprecatedDocumentError]));
    }
}

#[test]
fn what_conflicts_with_the_registry_is_refused_and_leaves_nothing() {
    let mut registry = Registry::new();
    let mut promise = entry("promise", "2.999.9.5", "A");
    promise.kind = DocumentKind::OnDemand;
    let first = submission("2.999.8.1", "A", vec![entry("a", "2.999.9.1", "A"), promise]);
    let first = registry.register(with_folder(first, "2.999.7.1", &[])).unwrap();
    let [a, promise] = &first.entries[..] else { panic!() };
    let one = |owner: &str| submission("2.999.8.2", owner, vec![entry("b", "2.999.9.2", owner)]);
    let related = |owner: &str, kind, to: &ObjectId| {
        let mut submission = one(owner);
        link(&mut submission, kind, "b", to);
        submission
    };
    let again = |change: fn(&mut DocumentEntry)| {
        let mut entry = entry("b", "2.999.9.1", "A");
        change(&mut entry);
        submission("2.999.8.2", "A", vec![entry])
    };
    let in_folder = |owner: &str| {
        let mut submission = one(owner);
        let member = Association::new("m", AssociationKind::HasMember, first.folders[0].id.clone(), "b".into());
        submission.associations.push(member);
        submission
    };
    let nowhere = ObjectId::from("urn:uuid:00000000-0000-4000-8000-000000000404");
    for (name, submission, code) in [
        ("an unknown patient", one("nobody"), ErrorCode::XdsUnknownPatientId),
        ("the same ids again", first.clone(), ErrorCode::XdsRegistryMetadataError),
        ("the same set", submission("2.999.8.1", "A", vec![]), ErrorCode::XdsDuplicateUniqueIdInRegistry),
        ("the same folder", with_folder(one("A"), "2.999.7.1", &[]), ErrorCode::XdsDuplicateUniqueIdInRegistry),
        (
            "another hash",
            again(|e| e.hash = Some("e543712c0e10501972de13a5bfcbe826c49feb75".into())),
            ErrorCode::XdsNonIdenticalHash,
        ),
        ("another size", again(|e| e.size = Some(5)), ErrorCode::XdsNonIdenticalSize),
        ("replaces nothing", related("A", AssociationKind::Replace, &nowhere), ErrorCode::UnresolvedReferenceException),
        (
            "replaces a folder",
            related("A", AssociationKind::Replace, &first.folders[0].id),
            ErrorCode::XdsRegistryMetadataError,
        ),
        (
            "replaces another patient's",
            related("B", AssociationKind::Replace, &a.id),
            ErrorCode::XdsPatientIdDoesNotMatch,
        ),
        (
            "snapshot of a stable one",
            related("A", AssociationKind::IsSnapshotOf, &a.id),
            ErrorCode::XdsRegistryMetadataError,
        ),
        ("another patient's folder", in_folder("B"), ErrorCode::XdsPatientIdDoesNotMatch),
    ] {
        let errors = registry.register(submission).expect_err(name);
        assert!(errors.contains(&code), "{name}: {errors:?}");
        let found = registry.search(&Query::GetDocuments(Selector::UniqueIds(vec![unique("2.999.9.2")])));
        assert!(found.is_empty(), "{name}");
    }
    registry.register(again(|_| {})).expect("the same document may come again");
    let snapshot = Submission { set: SubmissionSet { unique_id: unique("2.999.8.3"), ..one("A").set }, ..one("A") };
    let mut snapshot = snapshot;
    link(&mut snapshot, AssociationKind::IsSnapshotOf, "b", &promise.id);
    registry.register(snapshot).expect("a snapshot of an on-demand document");
}

#[test]
fn answers_have_limits_and_may_be_of_one_patient_only() {
    let mut registry = Registry::new();
    registry.register(submission("2.999.8.1", "A", vec![entry("a", "2.999.9.1", "A")])).unwrap();
    registry.register(submission("2.999.8.2", "B", vec![entry("b", "2.999.9.2", "B")])).unwrap();
    let both = Query::GetDocuments(Selector::UniqueIds(vec![unique("2.999.9.1"), unique("2.999.9.2")]));
    let documents = &registry.documents;
    assert_eq!(documents.search(&registry.tenant, &both, 2).unwrap().len(), 2);
    for (outcome, code) in [
        (documents.search(&registry.tenant, &both, 1), ErrorCode::XdsTooManyResults),
        (documents.search_one_patient(&registry.tenant, &both, 9), ErrorCode::XdsResultNotSinglePatient),
    ] {
        assert_eq!(outcome.unwrap_err().code(), code);
    }
}

#[test]
fn a_tenant_sees_its_own_documents_only() {
    let mut registry = Registry::new();
    registry.register(submission("2.999.8.1", "A", vec![entry("a", "2.999.9.1", "A")])).unwrap();
    let stored = registry.documents.document(&registry.tenant, &unique("2.999.9.1")).unwrap().unwrap();
    assert_eq!(stored.content.as_deref(), Some("key of a"));
    registry.tenant = "other".parse().unwrap();
    assert!(registry.search(&Query::FindDocuments(find("A"))).is_empty());
    assert!(registry.search(&Query::GetDocuments(Selector::Ids(vec![stored.entry.id]))).is_empty());
    assert_eq!(registry.documents.document(&registry.tenant, &unique("2.999.9.1")).unwrap(), None);
}

#[test]
fn deprecated_documents_are_found_when_asked_for() {
    let mut registry = Registry::new();
    let first = registry.register(submission("2.999.8.1", "A", vec![entry("a", "2.999.9.1", "A")])).unwrap();
    let mut next = submission("2.999.8.2", "A", vec![entry("b", "2.999.9.2", "A")]);
    link(&mut next, AssociationKind::TransformAndReplace, "b", &first.entries[0].id);
    registry.register(next).unwrap();
    for (statuses, expected) in [(OLD_STATUSES.to_vec(), 2), (vec![Availability::Approved], 1)] {
        let found = registry.search(&Query::FindDocuments(FindDocuments { statuses, ..find("A") }));
        assert_eq!(found.len(), expected);
    }
}
