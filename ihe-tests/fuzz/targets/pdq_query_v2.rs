//! Patient demographics queries, cancellations and answers in HL7 v2 (ITI-21, ITI-22).
#![no_main]

use causeway::pdq::query_v2::{Cancel, Request, Response};
use causeway_fuzz::{DOMAINS, check_message_is_stable, with_message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_message(bytes, |message| {
    let _ = Response::decode(&message, &DOMAINS);
    let _ = Cancel::decode(&message);
    match Request::decode(&message, &DOMAINS) {
        Ok(request) => check_message_is_stable(&request.encode(&DOMAINS), |message| {
            Request::decode(&message, &DOMAINS).expect("what we write is a query").encode(&DOMAINS)
        }),
        Err(refusal) => {
            refusal.ack();
        }
    }
}));
