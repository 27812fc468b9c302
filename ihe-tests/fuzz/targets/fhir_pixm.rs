//! Requests of PIXm (ITI-83, ITI-104): a line with method and query, then a body. What was understood is written and
//! understood the same again.
#![no_main]

use causeway::fhir::pixm::{Feed, Request};
use causeway::fhir::search::Handling;
use causeway::pipeline::fhir::{Content, format};
use causeway_fuzz::{DOMAINS, fhir_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((method, query, body)) = fhir_request(bytes) else { return };
    let (form, resource) = match &body {
        Content::Nothing => (None, None),
        Content::Form(form) => (Some(form.as_str()), None),
        Content::Resource(resource) => (None, Some(resource)),
    };
    let read = [
        Request::from_query(query, form, Handling::Lenient).ok(),
        resource.and_then(|parameters| Request::from_parameters(parameters).ok()),
    ];
    for request in read.into_iter().flatten() {
        // Only what can be resolved has a system and a value that a query can carry.
        let Ok(wanted) = request.resolve(&DOMAINS) else { continue };
        let again =
            Request::from_query(&request.to_query(), None, Handling::Strict).expect("the query we write is readable");
        assert_eq!(again.resolve(&DOMAINS).ok(), Some(wanted), "a question, twice");
    }
    if let Ok(feed) = Feed::decode(method, query, form, resource) {
        let (method, path, body) = feed.encode();
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let again = Feed::decode(method, query, None, body.as_ref()).map(|again| again.encode());
        assert_eq!(again.ok(), Some((method, path.clone(), body)), "a feed, twice");
    }
    let _ = format::Format::wanted(Some(query), form);
});
