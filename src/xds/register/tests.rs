use proptest::prelude::*;

use super::*;
use crate::ebxml::{Severity, Status};
use crate::id::{Code, DocumentUniqueId, PatientId};
use crate::metadata::{
    Association, AssociationKind, Author, Availability, Cx, DocumentAvailability, DocumentEntry, DocumentKind, Folder,
    Membership, ReferenceId, SourcePatientInfo, SubmissionSet, Xcn, Xon, Xtn,
};
use crate::testing;
use crate::xml::{Limits, parse};

fn read(xml: &str, rules: Rules) -> Result<Request, Refusal> {
    let tree = parse(xml, &Limits::default()).unwrap();
    let root = tree.root().unwrap();
    let body = [root].into_iter().chain(root.descendants()).find(|e| e.local_name() == "SubmitObjectsRequest");
    Request::decode(body.expect("a submission"), rules)
}

fn code(text: &str) -> Code {
    Code::new(text, "2.999.7", "Display")
}

/// A complete submission: a document in a folder that replaces another document.
pub(crate) fn submission() -> Submission {
    let patient = PatientId::from_cx("A-1^^^&2.999.1.3&ISO").unwrap();
    let unique = |text: &str| DocumentUniqueId::new(text).unwrap();
    let author = Author {
        person: Xcn::from_wire("P-1^Jones^Pat^^^Dr^^^&2.999.1&ISO"),
        institutions: vec![Xon::from_wire("Example Clinic^^^^^^^^^2.999.6").unwrap()],
        roles: vec!["Attending".into()],
        specialties: vec!["Orthopedic".into()],
        telecoms: vec![Xtn::email("pat@example.org")],
    };
    let mut entry = DocumentEntry::new("Document01", DocumentKind::Stable, unique("2.999.9.1"), "text/xml");
    entry.patient_id = Some(patient.clone());
    entry.source_patient_id = Cx::from_wire("L-1^^^&2.999.5&ISO");
    entry.source_patient_info =
        SourcePatientInfo::from_wire(vec!["PID-5|Testpatient^Nora".into(), "PID-7|19620408".into()]);
    entry.repository = Some(crate::id::RepositoryId::new("2.999.4").unwrap());
    entry.hash = Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into());
    entry.size = Some(0);
    entry.creation_time = Some("20260114".parse().unwrap());
    entry.service_start = Some("202601140800".parse().unwrap());
    entry.service_stop = Some("202601140900".parse().unwrap());
    entry.language = Some("en-US".into());
    entry.class_code = Some(code("class"));
    entry.type_code = Some(code("type"));
    entry.format_code = Some(code("format"));
    entry.facility_type = Some(code("facility"));
    entry.practice_setting = Some(code("practice"));
    entry.confidentiality = vec![code("N"), code("R")];
    entry.event_codes = vec![code("event")];
    entry.authors = vec![author.clone(), Author { person: Xcn::from_wire("^Smith^Alex"), ..Author::default() }];
    entry.legal_authenticator = Xcn::from_wire("^Jones^Pat");
    entry.reference_ids = vec![ReferenceId::from_wire("X1^^^&2.999.8&ISO^urn:ihe:iti:xds:2013:accession").unwrap()];
    entry.title = Some("Visit <summary>".into());
    entry.comments = Some("\"quoted\" & more".into());
    entry.uri = Some("file:///a".into());
    entry.document_availability = Some(DocumentAvailability::Online);
    entry.extra = vec![Slot { name: "urn:example:extra".into(), values: vec!["1".into(), "2".into()] }];
    let mut set = SubmissionSet::new("SubmissionSet01", unique("2.999.9.2"));
    set.source_id = Some("2.999.100".into());
    set.patient_id = Some(patient.clone());
    set.submission_time = Some("20260115143000".parse().unwrap());
    set.content_type = Some(code("content"));
    set.authors = vec![author];
    set.intended_recipients = vec!["Example Hospital^^^^^^^^^2.999.6|^Smith^Alex|^^Internet^alex@example.org".into()];
    set.title = Some("Referral".into());
    let mut folder = Folder::new("Folder01", unique("2.999.9.3"));
    folder.patient_id = Some(patient);
    folder.codes = vec![code("folder")];
    folder.title = Some("Episode".into());
    let old = "urn:uuid:00000000-0000-4000-8000-0000000000aa";
    let link = |id: &str, kind, from: &str, to: &str| Association::new(id, kind, from.into(), to.into());
    let member = |id: &str, from: &str, to: &str| link(id, AssociationKind::HasMember, from, to);
    let mut associations = vec![
        member("as1", "SubmissionSet01", "Document01"),
        member("as2", "SubmissionSet01", "Folder01"),
        member("as3", "Folder01", "Document01"),
        member("as4", "SubmissionSet01", "as3"),
        link("as5", AssociationKind::Replace, "Document01", old),
    ];
    associations[0].membership = Some(Membership::Original);
    associations[4].reason = Some(code("reason"));
    Submission { set, entries: vec![entry], folders: vec![folder], associations }
}

#[test]
fn a_complete_submission_is_valid_and_read_back() {
    let mut request = Request { submission: submission(), home: Some("urn:oid:2.999.1".parse().unwrap()) };
    let xml = request.encode();
    testing::validates(&xml, "xds/lcm.xsd");
    assert_eq!(read(&xml, Rules::Register).unwrap(), request);

    // As the registry returns it: with UUIDs, statuses, versions and homes.
    request.submission.assign_ids();
    let entry = &mut request.submission.entries[0];
    entry.availability = Some(Availability::Deprecated);
    entry.logical_id = Some(entry.id.clone());
    entry.version = Some(1);
    entry.home = request.home.clone();
    let xml = request.encode();
    testing::validates(&xml, "xds/lcm.xsd");
    assert_eq!(read(&xml, Rules::Register).unwrap(), request);
}

proptest! {
    #[test]
    fn any_text_survives_the_way_over_the_wire(
        title in "[^\\p{C}]{1,60}",
        code in "[!-~]{1,20}",
        unique in "[!-~]{1,60}",
        size in any::<u64>(),
        author in "[!-~]{1,60}",
    ) {
        let mut submission = submission();
        let entry = &mut submission.entries[0];
        entry.title = Some(title.as_str().into());
        entry.class_code = Some(Code::new(&*code, "2.999.7", &*title));
        entry.unique_id = DocumentUniqueId::new(&unique).unwrap();
        entry.size = Some(size);
        entry.authors[0].person = Xcn::from_wire(&author);
        let request = Request { submission, home: None };
        prop_assert_eq!(read(&request.encode(), Rules::Register).unwrap(), request);
    }
}

/// What each rule forbids, and the code that says so (ITI TF-3: Table 4.2.4.1-2).
#[test]
fn submissions_that_break_a_rule_are_refused_with_its_code() {
    type Change = fn(&mut Submission);
    let cases: &[(&str, Change, ErrorCode)] = &[
        ("no class code", |s| s.entries[0].class_code = None, ErrorCode::XdsRegistryMetadataError),
        ("no size", |s| s.entries[0].size = None, ErrorCode::XdsRegistryMetadataError),
        ("no repository", |s| s.entries[0].repository = None, ErrorCode::XdsRegistryMetadataError),
        ("no folder title", |s| s.folders[0].title = None, ErrorCode::XdsRegistryMetadataError),
        ("no source id", |s| s.set.source_id = None, ErrorCode::XdsRegistryMetadataError),
        (
            "code without scheme",
            |s| s.entries[0].event_codes[0].scheme = "".into(),
            ErrorCode::XdsRegistryMetadataError,
        ),
        ("marked as limited", |s| s.entries[0].limited_metadata = true, ErrorCode::XdsRegistryMetadataError),
        (
            "start after stop",
            |s| s.entries[0].service_start = Some("2027".parse().unwrap()),
            ErrorCode::XdsRegistryMetadataError,
        ),
        ("on-demand", |s| s.entries[0].kind = DocumentKind::OnDemand, ErrorCode::XdsRegistryMetadataError),
        ("entry not in the set", |s| drop(s.associations.remove(0)), ErrorCode::XdsRegistryMetadataError),
        ("folder not in the set", |s| drop(s.associations.drain(1..4)), ErrorCode::XdsRegistryMetadataError),
        (
            "membership of an old folder not in the set",
            |s| {
                s.folders.clear();
                s.associations.drain(1..4);
                let old = "urn:uuid:00000000-0000-4000-8000-0000000000cc".into();
                let member = Association::new("m", AssociationKind::HasMember, old, "Document01".into());
                s.associations.push(member);
            },
            ErrorCode::XdsRegistryMetadataError,
        ),
        ("not Original", |s| s.associations[0].membership = None, ErrorCode::XdsRegistryMetadataError),
        ("the same id twice", |s| s.folders[0].id = "Document01".into(), ErrorCode::XdsRegistryMetadataError),
        (
            "another patient",
            |s| s.entries[0].patient_id = PatientId::from_cx("B^^^&2.999.1.3&ISO").ok(),
            ErrorCode::XdsPatientIdDoesNotMatch,
        ),
        (
            "a unique id twice",
            |s| s.entries.push(DocumentEntry { id: "Document02".into(), ..s.entries[0].clone() }),
            ErrorCode::XdsRegistryDuplicateUniqueIdInMessage,
        ),
        (
            "replaces a symbol nobody defines",
            |s| s.associations[4].target = "nothing".into(),
            ErrorCode::UnresolvedReferenceException,
        ),
        (
            "replacement is not in the message",
            |s| s.associations[4].source = "urn:uuid:00000000-0000-4000-8000-0000000000bb".into(),
            ErrorCode::UnresolvedReferenceException,
        ),
        ("member of itself", |s| s.associations[1].target = s.set.id.clone(), ErrorCode::XdsRegistryMetadataError),
    ];
    for (name, change, code) in cases {
        let mut request = Request { submission: submission(), home: None };
        change(&mut request.submission);
        let refusal = read(&request.encode(), Rules::Register).expect_err(name);
        let codes: Vec<_> = refusal.errors().into_iter().map(|error| error.code).collect();
        assert!(codes.contains(code), "{name}: {codes:?}");
    }
}

#[test]
fn on_demand_entries_have_neither_size_nor_date() {
    let mut request = Request { submission: submission(), home: None };
    let entry = &mut request.submission.entries[0];
    entry.kind = DocumentKind::OnDemand;
    request.submission.associations.truncate(4);
    assert!(read(&request.encode(), Rules::RegisterOnDemand).is_err());
    let entry = &mut request.submission.entries[0];
    (entry.size, entry.hash, entry.creation_time) = (None, None, None);
    assert_eq!(read(&request.encode(), Rules::RegisterOnDemand).unwrap(), request);
}

#[test]
fn all_problems_are_told_at_once_and_quote_no_value() {
    let mut request = Request { submission: submission(), home: None };
    let entry = &mut request.submission.entries[0];
    entry.class_code = None;
    entry.language = None;
    entry.patient_id = PatientId::from_cx("Canary^^^&2.999.1.3&ISO").ok();
    let errors = read(&request.encode(), Rules::Register).unwrap_err().errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors.iter().all(|error| !error.context.contains("Canary")));
}

/// Checks each submission of a folder: accepted unless the manifest wants a failure that the message alone shows.
/// `needs_the_registry`: fails for patients, ids, versions or statuses, which only the registry knows.
/// `breaks_the_rules`: the manifest calls it fine, and the framework does not.
fn check_corpus(
    folder: &str,
    rules: fn(transaction: &str, direction: &str) -> Option<Rules>,
    needs_the_registry: &[&str],
    breaks_the_rules: &[&str],
) {
    let named = |list: &[&str], path: &str| list.iter().any(|name| path.contains(name));
    let mut wrong = Vec::new();
    for row in testing::manifest(folder) {
        let (path, expected) = (&row[0], &row[7]);
        let Some(rules) = rules(&row[2], &row[3]) else { continue };
        let outcome = read(&testing::filled_in(path), rules);
        let accept =
            (expected.starts_with("Success") && !named(breaks_the_rules, path)) || named(needs_the_registry, path);
        let errors = outcome.as_ref().err().map(Refusal::errors).unwrap_or_default();
        let code = expected.split_once("Failure: ").map(|(_, code)| code.trim());
        let has_code = code.is_none_or(|code| accept || errors.iter().any(|error| error.code.as_str() == code));
        if outcome.is_ok() != accept || !has_code {
            let texts: Vec<_> = errors.iter().map(|e| format!("{}: {}", e.code.as_str(), e.context)).collect();
            wrong.push(format!("{path} ({expected}) {texts:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn submissions_of_the_corpus_are_accepted_and_refused_as_the_manifest_says() {
    check_corpus(
        "xds-register/",
        |transaction, direction| match transaction {
            "ITI-61" => Some(Rules::RegisterOnDemand),
            "ITI-42" if direction.starts_with("request") => Some(Rules::Register),
            _ => None,
        },
        &["nist-11996", "nist-11998-rplc", "nist-12002-add_to_folder"],
        // No hash, size and repository; a folder without codes.
        &["ipf-submitobjectsrequest_ebrs3", "nist-mpq_ihered", "openhim-register", "nist-12022-submit1"],
    );
}

#[test]
fn updates_of_the_corpus_are_accepted_and_refused_as_the_manifest_says() {
    check_corpus(
        "metadata-update/",
        |transaction, _| (transaction == "ITI-57").then_some(Rules::Update),
        &["nist-15800b", "nist-15800e", "nist-20000c", "nist-20004-failed_update", "nist-20008"],
        // A document outside the submission set; an association of a type that is none of the framework's.
        &["ebrs30_update_samelid", "ebrs30_update_nonstandard_association"],
    );
}

#[test]
fn responses_of_the_corpus_are_read() {
    for (path, status) in [
        ("xds-register/nist-msgval-soap-r-resp.xml", Status::Success),
        // Says Success and lists an error: the error is believed.
        ("xds-register/nist-msgval-regresp-suc-err.xml", Status::Failure),
        ("xdr-provide-register/nist-msgval-soap-pnr-resp.xml", Status::Success),
    ] {
        let Some(bytes) = testing::corpus(path) else { return };
        let text = String::from_utf8(bytes).unwrap();
        let tree = parse(&text, &Limits::default()).unwrap();
        let root = tree.root().unwrap();
        let body = [root].into_iter().chain(root.descendants()).find(|e| e.local_name() == "RegistryResponse").unwrap();
        let response = RegistryResponse::decode(body).unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.errors.iter().any(|e| e.severity == Severity::Error), status == Status::Failure);
    }
}
