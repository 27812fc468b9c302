//! Audit messages of other systems (ITI-20).
#![no_main]

use causeway::atna::message::decode;
use causeway::xml::Limits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode(&String::from_utf8_lossy(bytes), &Limits::default());
});
