//! Cross Gateway Patient Discovery and Patient Location Query, requests (ITI-55, ITI-56).
#![no_main]

use causeway::xcpd::{discovery, location};
use causeway_fuzz::{DOMAINS, check_xml_is_stable, with_payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_payload(bytes, |payload, header| {
    // A birth date that cannot be read is no reason to refuse a question, but then there is none to write.
    if let Ok(request) = discovery::Request::decode(payload, header, &DOMAINS)
        && request.parameters.demographics.birth.is_some()
    {
        check_xml_is_stable(&request.encode(), |root| {
            let again = discovery::Request::decode(root, None, &DOMAINS).expect("what we write is a request");
            again.encode()
        });
    }
    if let Ok(request) = location::Request::decode(payload) {
        check_xml_is_stable(&request.encode(), |root| {
            location::Request::decode(root).expect("what we write is a request").encode()
        });
    }
}));
