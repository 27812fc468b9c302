//! FHIR searches, as the query of a URL and as a form.
#![no_main]

use causeway::fhir::search::{COMMON, Handling, Parameters, Search, Type, definition};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (query, form) = text.split_once('\n').map_or((&*text, None), |(query, form)| (query, Some(form)));
    let Ok(parameters) = Parameters::read(query, form) else { return };
    let written = parameters.to_query(|_| true);
    let again = Parameters::read(&written, None).expect("the query we write is readable");
    assert_eq!(again.to_query(|_| true), written, "written twice");
    let own = [
        definition("identifier", Type::Token),
        definition("family", Type::String),
        definition("birthdate", Type::Date),
        definition("patient.identifier", Type::Token),
    ];
    let known: Vec<_> = own.into_iter().chain(COMMON.iter().copied()).collect();
    for handling in [Handling::Strict, Handling::Lenient] {
        let Ok(search) = Search::read(&parameters, &known, handling) else { continue };
        search.tokens("identifier");
        search.texts("family");
        search.dates("birthdate");
        search.plain("_count");
    }
});
