use proptest::prelude::*;

use super::*;

const PATIENT: &str = "patient.identifier=urn:oid:2.999.10%7CN-44&status=current";

fn patient() -> PatientId {
    PatientId::from_cx("N-44^^^&2.999.10&ISO").unwrap()
}

fn documents(query: &str) -> Result<Query, Refusal> {
    Find::documents(&format!("{PATIENT}&{query}"), None, Handling::Strict)?.query(Some(&patient()))
}

fn found(query: &str) -> FindDocuments {
    match documents(query).unwrap() {
        Query::FindDocuments(find) | Query::FindDocumentsByReferenceId(find, _) => find,
        other => panic!("{other:?}"),
    }
}

fn wanted(code: &str, scheme: &str) -> AllOf<WantedCode> {
    vec![vec![WantedCode::new(code, scheme)]]
}

/// MHD 2:3.67.4.1.2.1: each parameter of the search and of the stored query.
#[test]
fn each_parameter_becomes_its_own_of_the_stored_query() {
    let loinc = "2.16.840.1.113883.6.1";
    let plain = found("");
    assert_eq!((plain.patients, plain.statuses), (vec![patient()], vec![Availability::Approved]));
    assert_eq!(found("type=http://loinc.org%7C34133-9").type_codes, wanted("34133-9", loinc));
    assert_eq!(found("category=11369-6").class_codes, wanted("11369-6", ""));
    assert_eq!(found("setting=urn:oid:2.999.6|A").practice_settings, wanted("A", "2.999.6"));
    assert_eq!(found("facility=urn:oid:2.999.6|B").facility_types, wanted("B", "2.999.6"));
    assert_eq!(found("event=C,D").event_codes, [[WantedCode::new("C", ""), WantedCode::new("D", "")]]);
    assert_eq!(found("event=C&event=D").event_codes.len(), 2);
    assert_eq!(found("security-label=N").contents.confidentiality, wanted("N", ""));
    let format = "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode|urn:ihe:iti:xds-sd:text:2008";
    let format_code = wanted("urn:ihe:iti:xds-sd:text:2008", "1.3.6.1.4.1.19376.1.2.3");
    assert_eq!(found(&format!("format={format}")).contents.format_codes, format_code);
    assert_eq!(found("author.family=Lee&author.given=Kim").authors, ["%^Lee%^Kim%"]);
    assert_eq!(found("author.given=Kim").authors, ["%^%^Kim%"]);
    let period = found("period=ge2025-01-01&period=lt2026");
    assert_eq!(period.service_start, period.service_stop);
    assert_eq!(format!("{:?}", period.service_start), "20250101..=20251231235959");
}

#[test]
fn dates_are_ranges_that_end_where_the_prefix_says() {
    for (query, range) in [
        ("creation=2025-02", "202502..=202502"),
        ("creation=ge2025-01-01", "20250101..="),
        ("creation=le2025-01-01", "..=20250101"),
        ("creation=gt2025-02", "20250301000000..="),
        ("creation=lt2025-03", "..=20250228235959"),
        ("creation=ge2025&creation=ge2025-06&creation=lt2025-08&creation=lt2026", "202506..=20250731235959"),
    ] {
        assert_eq!(format!("{:?}", found(query).creation_time), range, "{query}");
    }
    for query in ["creation=ne2025", "creation=2025,2026", "creation=soon"] {
        assert!(documents(query).is_err(), "{query}");
    }
}

#[test]
fn references_are_asked_for_by_another_stored_query() {
    let Query::FindDocumentsByReferenceId(_, wanted) = documents("related:identifier=urn:oid:2.999.7|A1").unwrap()
    else {
        panic!()
    };
    assert_eq!(wanted, [["A1^^^&2.999.7&ISO^%"]]);
    assert!(documents("related=DocumentReference/7").is_err());
}

#[test]
fn searches_need_a_patient_or_identifiers_and_a_status() {
    let read = |query: &str| Find::documents(query, None, Handling::Lenient);
    assert_eq!(read("status=current"), Err(Refusal::Missing("patient or patient.identifier".into())));
    assert_eq!(read("patient=7"), Err(Refusal::Missing("status".into())));
    assert_eq!(read("patient=7&status=entered-in-error"), Err(Refusal::Unusable("status".into())));
    assert!(read("patient=7&patient=8&status=current").is_err());
    assert!(read("patient.identifier=N-44&status=current").is_err());
    assert_eq!(read("patient=9876&status=current").unwrap().whose, Some(Whose::Reference("9876".into())));
    let by_identifier = "patient:identifier=urn:oid:2.999.10|N-44&status=superseded";
    assert_eq!(read(by_identifier).unwrap().whose, Some(Whose::Identifier(patient())));
    let ids = read("identifier=urn:ietf:rfc:3986|urn:oid:2.999.9.1").unwrap();
    let expected = Selector::UniqueIds(vec![DocumentUniqueId::new("2.999.9.1").unwrap()]);
    assert_eq!(ids.query(None), Ok(Query::GetDocuments(expected)));
}

#[test]
fn lists_are_found_by_their_identifiers_too() {
    let lists = |query: &str| Find::lists(query, None, Handling::Strict);
    let one = "identifier=urn:ietf:rfc:3986|urn:oid:2.999.9.1";
    let expected = Selector::UniqueIds(vec![DocumentUniqueId::new("2.999.9.1").unwrap()]);
    let set = lists(&format!("code=submissionset&{one}")).unwrap();
    let contents = Query::GetSubmissionSetAndContents(expected.clone(), ContentFilter::default());
    assert_eq!(set.query(None), Ok(contents));
    assert!(set.name().starts_with("List?"));
    let folders = lists(&format!("code=folder&{one}")).unwrap();
    assert_eq!(folders.query(None), Ok(Query::GetFolders(expected)));
    let two = format!("code=submissionset&{one},urn:ietf:rfc:3986|urn:oid:2.999.9.2");
    assert_eq!(lists(&two), Err(Refusal::Unusable("identifier".into())));
}

/// MHD 2:3.66.4.1.2.1.
#[test]
fn lists_are_submission_sets_or_folders() {
    let lists = |query: &str| Find::lists(&format!("{PATIENT}&{query}"), None, Handling::Strict);
    let query = "code=submissionset&date=ge2025&source.family=Lee&designationType=urn:oid:2.999.6|X&sourceId=urn:ietf:rfc:3986|urn:oid:2.999.3";
    let Ok(Query::FindSubmissionSets(sets)) = lists(query).unwrap().query(Some(&patient())) else { panic!() };
    assert_eq!((sets.sources.as_slice(), sets.author.as_deref()), (["2.999.3".into()].as_slice(), Some("%^Lee%")));
    assert_eq!(sets.content_types, wanted("X", "2.999.6"));
    let Ok(Query::FindFolders(folders)) = lists("code=folder&designationType=F").unwrap().query(Some(&patient()))
    else {
        panic!()
    };
    assert_eq!((folders.patients, folders.codes), (vec![patient()], wanted("F", "")));
    assert_eq!(lists("date=2025"), Err(Refusal::Missing("code".into())));
    assert_eq!(lists("code=worklist"), Err(Refusal::Unusable("code".into())));
}

#[test]
fn the_request_lines_of_the_guide_are_read() {
    let Some(bytes) = crate::testing::corpus("fhir-pdqm/ihe-http-request-examples.tsv") else { return };
    let mut seen = 0;
    for line in String::from_utf8(bytes).unwrap().lines().filter(|line| line.starts_with("IHE/ITI.MHD")) {
        let Some((url, query)) = line.split_once('?') else { continue };
        let find = if url.contains("/List") { Find::lists } else { Find::documents };
        let find = find(query, None, Handling::Strict).unwrap_or_else(|refusal| panic!("{line}: {refusal}"));
        assert!(find.query(Some(&patient())).is_ok());
        assert!(find.name().contains("patient=9876"), "{line}");
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn debug_prints_no_patient() {
    let find = Find::documents(&PATIENT.replace("N-44", "Canary"), None, Handling::Strict).unwrap();
    assert!(!format!("{find:?}").contains("Canary"));
}

proptest! {
    #[test]
    fn any_search_is_read_or_refused(
        query in "(creation|type|related:identifier|identifier|author.family|period|code|sourceId)=\\PC{0,30}"
    ) {
        let query = format!("{PATIENT}&{query}");
        let read = [Find::documents(&query, None, Handling::Lenient), Find::lists(&query, None, Handling::Lenient)];
        for find in read.into_iter().flatten() {
            let _ = find.query(Some(&patient()));
        }
    }
}
