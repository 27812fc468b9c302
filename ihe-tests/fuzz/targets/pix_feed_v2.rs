//! Patient identity feeds in HL7 v2 (ITI-8, ITI-30).
#![no_main]

use causeway::pix::feed_v2::{Request, Rules};
use causeway_fuzz::{DOMAINS, check_message_is_stable, with_message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_message(bytes, |message| {
    match Request::decode(&message, &DOMAINS, &Rules::default()) {
        // EVN-2 that is missing becomes MSH-7 as it was sent, and that in UTC when it is read.
        Ok(request) if request.recorded.is_none() => drop(request.encode(&DOMAINS)),
        Ok(request) => check_message_is_stable(&request.encode(&DOMAINS), |message| {
            let again = Request::decode(&message, &DOMAINS, &Rules::default()).expect("what we write is a feed");
            again.encode(&DOMAINS)
        }),
        Err(refusal) => {
            refusal.fault();
        }
    }
}));
