//! Cross Gateway Patient Discovery and Patient Location Query, answers (ITI-55, ITI-56).
#![no_main]

use causeway::xcpd::{discovery, location};
use causeway_fuzz::{DOMAINS, check_xml_is_stable, with_payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_payload(bytes, |payload, _| {
    if let Ok(response) = discovery::Response::decode(payload, &DOMAINS) {
        check_xml_is_stable(&response.encode(), |root| {
            discovery::Response::decode(root, &DOMAINS).expect("what we write is an answer").encode()
        });
    }
    if let Ok(response) = location::Response::decode(payload) {
        check_xml_is_stable(&response.encode(), |root| {
            location::Response::decode(root).expect("what we write is an answer").encode()
        });
    }
}));
