//! Patient identity feeds in HL7 v2 (ITI-8, ITI-30).
#![no_main]

use causeway::pix::feed_v2::{Request, Rules};
use causeway_fuzz::{DOMAINS, check_message_is_stable, with_message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_message(bytes, |message| {
    match Request::decode(&message, &DOMAINS, &Rules::default()) {
        Ok(request) => check_message_is_stable(&request.encode(&DOMAINS), |message| {
            let again = Request::decode(&message, &DOMAINS, &Rules::default()).expect("what we write is a feed");
            again.encode(&DOMAINS)
        }),
        Err(refusal) => {
            refusal.fault();
        }
    }
}));
