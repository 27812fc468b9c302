use super::*;

fn slot(name: &str, values: &[&str]) -> Slot {
    Slot { name: name.into(), values: values.iter().map(|value| (*value).into()).collect() }
}

fn dtm(text: &str) -> Dtm {
    text.parse().unwrap()
}

const PATIENT: &str = "'B-1^^^&2.999.1.3&ISO'";
const APPROVED: &str = "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')";
const FIND_DOCUMENTS: &str = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d";
const GET_DOCUMENTS: &str = "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4";
const GET_FOLDERS_FOR_DOCUMENT: &str = "urn:uuid:10cae35a-c7f9-4cf5-b61e-fc3278ffb578";

/// ITI TF-2: 3.18.4.1.3 and Table 4.2.4.1-2.
#[test]
fn queries_that_break_the_rules_are_refused_with_their_code() {
    let patient = || slot("$XDSDocumentEntryPatientId", &[PATIENT]);
    let status = || slot("$XDSDocumentEntryStatus", &[APPROVED]);
    for (id, slots, code) in [
        ("urn:uuid:00000000-0000-0000-0000-000000000000", vec![], ErrorCode::XdsUnknownStoredQuery),
        (FIND_DOCUMENTS, vec![patient()], ErrorCode::XdsStoredQueryMissingParam),
        (FIND_DOCUMENTS, vec![status()], ErrorCode::XdsStoredQueryMissingParam),
        (
            FIND_DOCUMENTS,
            vec![patient(), slot("$XDSDocumentEntryStatus", &["('Submitted')"])],
            ErrorCode::XdsStoredQueryParamNumber,
        ),
        (
            FIND_DOCUMENTS,
            vec![slot("$XDSDocumentEntryPatientId", &["('a^^^&2.999.1&ISO','b^^^&2.999.1&ISO')"]), status()],
            ErrorCode::XdsStoredQueryParamNumber,
        ),
        (
            FIND_DOCUMENTS,
            vec![slot("$XDSDocumentEntryPatientId", &["'B-1'"]), status()],
            ErrorCode::XdsUnknownPatientId,
        ),
        (
            FIND_DOCUMENTS,
            vec![patient(), status(), slot("$XDSDocumentEntryCreationTimeFrom", &["soon"])],
            ErrorCode::XdsRegistryError,
        ),
        (GET_DOCUMENTS, vec![], ErrorCode::XdsStoredQueryMissingParam),
        (
            GET_DOCUMENTS,
            vec![
                slot("$XDSDocumentEntryEntryUUID", &["('urn:uuid:1')"]),
                slot("$XDSDocumentEntryUniqueId", &["('2.999.1')"]),
            ],
            ErrorCode::XdsStoredQueryParamNumber,
        ),
        (
            GET_FOLDERS_FOR_DOCUMENT,
            vec![slot("$XDSDocumentEntryUniqueId", &["('2.999.1','2.999.2')"])],
            ErrorCode::XdsStoredQueryParamNumber,
        ),
    ] {
        let error = Query::from_slots(id, &slots).unwrap_err();
        assert_eq!(error.code(), code, "{id} {slots:?}: {error}");
    }
}

#[test]
fn slots_of_one_name_are_and_and_values_of_one_slot_are_or() {
    let query = Query::from_slots(
        FIND_DOCUMENTS,
        &[
            slot("$XDSDocumentEntryPatientId", &[PATIENT]),
            slot("$XDSDocumentEntryStatus", &["Approved"]),
            slot("$XDSDocumentEntryEventCodeList", &["('E1^^S','E2^^S')"]),
            slot("$XDSDocumentEntryEventCodeList", &["('E3')"]),
            slot("$XDSDocumentEntrySomethingNew", &["'ignored'"]),
        ],
    )
    .unwrap();
    let Query::FindDocuments(find) = query else { panic!() };
    let code = |code: &str| Code::new(code, "S", "");
    for (codes, matches) in [
        (vec![code("E1"), code("E3")], true),
        (vec![code("E2"), Code::new("E3", "T", "")], true),
        (vec![code("E1"), code("E2")], false),
        (vec![Code::new("E1", "T", ""), code("E3")], false),
        (vec![], false),
    ] {
        assert_eq!(any(&find.event_codes, &codes), matches, "{codes:?}");
    }
}

#[test]
fn times_are_compared_over_the_whole_span_they_name() {
    let range = TimeRange { from: Some(dtm("2026")), to: Some(dtm("202603")) };
    for (value, inside) in [
        (Some("20260101"), true),
        (Some("20251231235959"), false),
        (Some("20260331235959"), true),
        (Some("202604"), false),
        (Some("2026"), true),
        (Some("2025"), false),
        (None, false),
    ] {
        assert_eq!(range.contains(value.map(dtm).as_ref()), inside, "{value:?}");
    }
    assert!(TimeRange::default().contains(None));
}

#[test]
fn sql_patterns_match_as_in_sql() {
    for (pattern, text, matches) in [
        ("%Jones%", "P-1^Jones^Pat", true),
        ("%jones%", "P-1^JONES^Pat", true),
        ("Jones", "^Jones^Pat", false),
        ("^J_nes%", "^Jones^Pat", true),
        ("%Pat", "^Jones^Pat", true),
        ("%Pa", "^Jones^Pat", false),
        ("%a%b%", "xaxxbx", true),
        ("", "", true),
        ("%", "", true),
    ] {
        assert_eq!(like(pattern, text), matches, "{pattern} {text}");
    }
}

#[test]
fn only_stable_documents_are_found_unless_asked_otherwise() {
    for (kinds, stable, on_demand) in [
        (vec![], true, false),
        (vec![DocumentKind::OnDemand], false, true),
        (vec![DocumentKind::Stable, DocumentKind::OnDemand], true, true),
    ] {
        assert_eq!(wants_kind(&kinds, DocumentKind::Stable), stable, "{kinds:?}");
        assert_eq!(wants_kind(&kinds, DocumentKind::OnDemand), on_demand, "{kinds:?}");
    }
}
