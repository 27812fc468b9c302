//! Requests of MHD: Bundles and simplified publications in JSON and in XML, searches, addresses of documents. What is made
//! of a Bundle is a submission that keeps together.
#![no_main]

use std::collections::HashSet;

use bytes::Bytes;
use causeway::fhir::json::{self, Limits};
use causeway::fhir::mhd::find::Find;
use causeway::fhir::mhd::retrieve::{Handle, accepts};
use causeway::fhir::mhd::{Provide, take_documents};
use causeway::fhir::search::Handling;
use causeway::fhir::{Refusal, xml};
use causeway::id::{PatientId, Timestamp};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let patient = PatientId::from_cx("N-44^^^&2.999.10&ISO").expect("an identifier");
    if let Some(resource) = resource(bytes) {
        check(resource, &patient);
    }
    let text = String::from_utf8_lossy(bytes);
    let (query, form) = text.split_once('\n').map_or((&*text, None), |(query, form)| (query, Some(form)));
    for find in [Find::documents(query, form, Handling::Lenient), Find::lists(query, form, Handling::Strict)] {
        let Ok(find) = find else { continue };
        let _ = find.query(Some(&patient));
        let answer = find.answer("https://gw.example/fhir", Vec::new(), 3, None).encode();
        assert_eq!(answer["total"], 3);
    }
    if let Some(handle) = Handle::from_segment(&text) {
        assert_eq!(Handle::from_segment(&handle.to_segment()), Some(handle), "an address, twice");
    }
    let _ = accepts(Some(&text), "text/xml");
});

fn resource(bytes: &[u8]) -> Option<Value> {
    json::read(bytes, &Limits::default())
        .ok()
        .or_else(|| xml::read(bytes, &causeway::xml::Limits::default()).ok())
}

fn check(mut resource: Value, patient: &PatientId) {
    let Ok(documents) = take_documents(&mut resource) else { return };
    let at = Timestamp::from_millis(1_795_000_000_000);
    let read: [fn(&Value, Vec<Bytes>, Timestamp) -> Result<Provide, Refusal>; 2] = [
        |resource, documents, _| Provide::read(resource, documents),
        |resource, documents, at| Provide::simplified(resource, documents, at, "2.999.3"),
    ];
    for read in read {
        let Ok(provide) = read(&resource, documents.clone(), at) else { continue };
        let _ = (provide.subject_ids(), provide.source_patient_ids(), provide.set_unique_id());
        let Ok((submission, documents)) = provide.submission(Some(patient)) else { continue };
        let mut ids = HashSet::new();
        assert!(submission.entries.iter().all(|entry| ids.insert(entry.id.to_string())), "an id that two entries have");
        assert_eq!(submission.entries.len(), documents.len(), "an entry without its document");
        for (entry, document) in submission.entries.iter().zip(&documents) {
            assert_eq!((&entry.id, entry.size), (&document.entry, Some(document.bytes.len() as u64)));
            assert_eq!(entry.patient_id.as_ref(), Some(patient));
        }
        let _ = provide.response(|kind, _| kind.into()).encode();
    }
}
