//! PIX queries, their answers, and update notifications in HL7 v2 (ITI-9, ITI-10, ITI-64).
#![no_main]

use causeway::pix::notify_v2::{LinkChange, Update, read_acknowledgement};
use causeway::pix::query_v2::{Request, Response};
use causeway_fuzz::{DOMAINS, check_message_is_stable, with_message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_message(bytes, |message| {
    let _ = Response::decode(&message, &DOMAINS);
    let _ = Update::decode(&message, &DOMAINS);
    let _ = LinkChange::decode(&message, &DOMAINS);
    let _ = read_acknowledgement(&message, "1");
    match Request::decode(&message, &DOMAINS) {
        Ok(request) => check_message_is_stable(&request.encode(&DOMAINS), |message| {
            Request::decode(&message, &DOMAINS).expect("what we write is a query").encode(&DOMAINS)
        }),
        Err(refusal) => {
            refusal.ack();
        }
    }
}));
