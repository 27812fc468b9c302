//! Stored queries and their answers (ITI-18, ITI-38).
#![no_main]

use causeway::ebxml::ReturnType;
use causeway::xds::stored_query::{Request, Response};
use causeway_fuzz::{check_xml_is_stable, with_payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_payload(bytes, |payload, _| {
    if let Ok(request) = Request::decode(payload) {
        check_xml_is_stable(&request.encode(), |root| {
            Request::decode(root).expect("what we write is a query").encode()
        });
    }
    for asked in [ReturnType::LeafClass, ReturnType::ObjectRef] {
        let Ok(response) = Response::decode(payload, asked) else { continue };
        check_xml_is_stable(&response.encode(), |root| {
            Response::decode(root, asked).expect("what we write is an answer").encode()
        });
    }
}));
