//! Requests of PDQm (ITI-78, ITI-119): a line with method and query, then a body. A search holds for a patient or does not,
//! and what is written of it for the next page is the same search.
#![no_main]

use causeway::fhir::Patient;
use causeway::fhir::pdqm::{MatchRequest, MatchResponse, PatientQuery, restrict};
use causeway::fhir::search::Handling;
use causeway::id::PatientId;
use causeway::pipeline::fhir::Content;
use causeway_fuzz::{DOMAINS, fhir_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((_, query, body)) = fhir_request(bytes) else { return };
    let (form, resource) = match &body {
        Content::Nothing => (None, None),
        Content::Form(form) => (Some(form.as_str()), None),
        Content::Resource(resource) => (None, Some(resource)),
    };
    let patient = resource.and_then(|resource| Patient::decode(resource).ok()).unwrap_or_default();
    for handling in [Handling::Strict, Handling::Lenient] {
        let Ok(search) = PatientQuery::read(query, form, handling) else { continue };
        let next = PatientQuery::read(&search.conditions, None, Handling::Strict).expect("the next page is readable");
        assert_eq!(next.conditions, search.conditions, "a search, twice");
        assert_eq!(next.matches(&patient), search.matches(&patient), "the next page finds what the first one does");
        let _ = search.is_empty();
        if let Ok(wanted) = search.domains(&DOMAINS) {
            let mut patient = patient.clone();
            restrict(&mut patient, &wanted);
            let is_wanted = |id: PatientId| wanted.is_empty() || wanted.contains(id.authority());
            assert!(patient.patient_ids().all(is_wanted), "an identifier of another domain");
        }
    }
    let Some(resource) = resource else { return };
    if let Ok(request) = MatchRequest::decode(resource) {
        let written = request.encode();
        assert_eq!(
            MatchRequest::decode(&written).map(|again| again.encode()).ok(),
            Some(written),
            "a description, twice"
        );
    }
    if let Ok(response) = MatchResponse::decode(resource) {
        let written = response.encode();
        assert_eq!(MatchResponse::decode(&written).map(|again| again.encode()).ok(), Some(written), "matches, twice");
    }
});
