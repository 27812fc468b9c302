use super::*;
use crate::id::PatientId;
use crate::metadata::ObjectId;
use crate::testing;
use crate::xds::register;
use crate::xml::{Limits, Tree, parse};

fn find<'t>(tree: &'t Tree<'_>, name: &str) -> Option<Element<'t>> {
    let root = tree.root().unwrap();
    [root].into_iter().chain(root.descendants()).find(|element| element.local_name() == name)
}

fn read(xml: &str) -> Result<Request, Refusal> {
    let tree = parse(xml, &Limits::default()).unwrap();
    Request::decode(find(&tree, "AdhocQueryRequest").expect("a query"))
}

fn code(code: &str) -> WantedCode {
    WantedCode::new(code, "2.999.7")
}

fn queries() -> Vec<Query> {
    use crate::metadata::{AssociationKind, Availability, DocumentAvailability, DocumentKind};
    let patient = || PatientId::from_cx("O'Hara^^^&2.999.1.3&ISO").unwrap();
    let id = || ObjectId::from("urn:uuid:00000000-0000-4000-8000-000000000001");
    let document = || Selector::Ids(vec![id()]);
    let unique = || Selector::UniqueIds(vec![crate::id::DocumentUniqueId::new("2.999.9.1^x,y").unwrap()]);
    let statuses = || vec![Availability::Approved, Availability::Deprecated];
    let range = || TimeRange { from: Some("2026".parse().unwrap()), to: Some("20261122150000".parse().unwrap()) };
    let contents = || ContentFilter {
        format_codes: vec![vec![code("F")]],
        confidentiality: vec![vec![code("N"), code("R")], vec![code("V")]],
        kinds: vec![DocumentKind::Stable, DocumentKind::OnDemand],
    };
    let documents = || FindDocuments {
        patients: vec![patient()],
        statuses: statuses(),
        class_codes: vec![vec![code("C1"), WantedCode { code: "C2".into(), scheme: None }]],
        type_codes: vec![vec![code("T")]],
        practice_settings: vec![vec![code("P")]],
        facility_types: vec![vec![code("H")]],
        event_codes: vec![vec![code("E1"), code("E2")], vec![code("E3")]],
        contents: contents(),
        authors: vec!["%Jones, Pat%".into()],
        creation_time: range(),
        service_start: range(),
        service_stop: TimeRange::default(),
        availability: vec![DocumentAvailability::Online],
    };
    let folders = || FindFolders {
        patients: vec![patient()],
        statuses: statuses(),
        last_update: range(),
        codes: vec![vec![code("X")], vec![code("Y")]],
    };
    let two = FindDocuments { patients: vec![patient(), patient()], ..documents() };
    vec![
        Query::FindDocuments(documents()),
        Query::FindDocumentsByReferenceId(documents(), vec![vec!["X^^^&2.999&ISO^urn:x".into()]]),
        Query::FindDocumentsForMultiplePatients(two),
        Query::FindSubmissionSets(FindSubmissionSets {
            patient: patient(),
            statuses: statuses(),
            sources: vec!["2.999.100".into()],
            submission_time: range(),
            author: Some("%Jones%".into()),
            content_types: vec![vec![code("K")]],
        }),
        Query::FindFolders(folders()),
        Query::FindFoldersForMultiplePatients(folders()),
        Query::GetAll(GetAll {
            patient: patient(),
            document_statuses: statuses(),
            set_statuses: statuses(),
            folder_statuses: statuses(),
            contents: contents(),
        }),
        Query::GetDocuments(unique()),
        Query::GetDocuments(Selector::LogicalIds(vec![id()])),
        Query::GetFolders(document()),
        Query::GetAssociations(vec![id(), id()]),
        Query::GetDocumentsAndAssociations(document()),
        Query::GetSubmissionSets(vec![id()]),
        Query::GetSubmissionSetAndContents(unique(), contents()),
        Query::GetFolderAndContents(document(), ContentFilter::default()),
        Query::GetFoldersForDocument(unique()),
        Query::GetRelatedDocuments {
            document: document(),
            associations: vec![AssociationKind::Replace, AssociationKind::HasMember],
            kinds: vec![DocumentKind::OnDemand],
        },
    ]
}

#[test]
fn every_query_is_valid_and_read_back() {
    for query in queries() {
        let request = Request {
            return_type: ReturnType::ObjectRef,
            home: Some("urn:oid:2.999.1".parse().unwrap()),
            target_communities: vec!["urn:oid:2.999.1".parse().unwrap(), "urn:oid:2.999.2".parse().unwrap()],
            metadata_level: Some(2),
            association_statuses: vec![crate::metadata::Availability::Deprecated],
            query,
        };
        let xml = request.encode();
        testing::validates(&xml, "xds/query.xsd");
        assert_eq!(read(&xml).unwrap(), request);
    }
}

/// ITI TF-2: 3.18.4.1.2.4, 3.51.4.1.2.3: a partner who may ask for one patient must not reach everybody's documents by
/// asking with the id of another transaction's query.
#[test]
fn queries_for_several_patients_belong_to_a_transaction_of_their_own() {
    let refused = Err(Refusal::Query(QueryError::UnknownQuery));
    for query in queries() {
        let several =
            matches!(query, Query::FindDocumentsForMultiplePatients(_) | Query::FindFoldersForMultiplePatients(_));
        let request = Request::new(query);
        let (one, all) = (request.clone().of_one_patient(), request.clone().of_several_patients());
        let expected = if several { (refused.clone(), Ok(request)) } else { (Ok(request), refused.clone()) };
        assert_eq!((one, all), expected);
    }
}

#[test]
fn debug_of_a_query_shows_no_patient() {
    for query in queries() {
        assert!(!format!("{query:?}").contains("Hara"), "{query:?}");
    }
}

#[test]
fn return_types_other_than_those_of_the_transaction_are_refused() {
    let xml = Request::new(queries().remove(0)).encode();
    for (given, accepted) in [("ObjectRef", true), ("LeafClassWithRepositoryItem", false), ("leafclass", false)] {
        let xml = xml.replace("returnType=\"LeafClass\"", &format!("returnType=\"{given}\""));
        assert_eq!(read(&xml).is_ok(), accepted, "{given}");
    }
}

#[test]
fn answers_are_valid_and_read_back() {
    let submission = register::tests::submission();
    let mut objects = vec![
        Object::Document(Box::new(submission.entries[0].clone())),
        Object::SubmissionSet(Box::new(submission.set)),
        Object::Folder(Box::new(submission.folders[0].clone())),
    ];
    objects.extend(submission.associations.into_iter().map(|association| Object::Association(Box::new(association))));
    let references = objects.iter().cloned().map(Object::into_reference).collect();
    let error = RegistryError::new(ErrorCode::XdsRegistryBusy, "try later");
    for (response, asked) in [
        (Response { errors: vec![error.clone()], ..Response::of(objects) }, ReturnType::LeafClass),
        (Response::of(references), ReturnType::ObjectRef),
        (Response::of(vec![]), ReturnType::LeafClass),
        (Response::failure(error), ReturnType::LeafClass),
    ] {
        let xml = response.encode();
        testing::validates(&xml, "xds/query.xsd");
        let tree = parse(&xml, &Limits::default()).unwrap();
        assert_eq!(Response::decode(tree.root().unwrap(), asked).unwrap(), response);
    }
}

#[test]
fn queries_and_answers_of_the_corpus_are_read() {
    let mut wrong = Vec::new();
    for folder in ["xds-stored-query/", "xca-query/", "metadata-update/"] {
        for row in testing::manifest(folder).iter().filter(|row| row[0].ends_with(".xml")) {
            let (path, expected) = (&row[0], &row[7]);
            let text = testing::filled_in(path);
            let tree = parse(&text, &Limits::default()).unwrap();
            if let Some(answer) = find(&tree, "AdhocQueryResponse") {
                let asked = if path.contains("objectref") { ReturnType::ObjectRef } else { ReturnType::LeafClass };
                let answer = Response::decode(answer, asked).unwrap();
                if answer.objects.is_empty() || answer.status() != Status::Success || !answer.unreadable.is_empty() {
                    wrong.push(format!("{path}: {answer:?}"));
                }
            } else if find(&tree, "AdhocQueryRequest").is_some() {
                // Those that fail elsewhere fail for what the registry holds. These ask for nothing, and for a status
                // that is the prefix of one.
                let accept = !(path.contains("nist-12364-nothing") || path.contains("openncp-it-adhocqueryrequest"));
                match read(&text) {
                    Ok(request) if accept => assert_eq!(read(&request.encode()).as_ref(), Ok(&request), "{path}"),
                    Err(_) if !accept || expected.contains("empty-id") || expected.contains("invalid-id") => {}
                    outcome => wrong.push(format!("{path} ({expected}): {outcome:?}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
