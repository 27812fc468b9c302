//! SOAP messages: envelope, addressing, fault, and the security header of an answer.
#![no_main]

use std::time::Duration;

use causeway::id::Timestamp;
use causeway::soap::envelope::{Envelope, write, write_fault};
use causeway::wssecurity::{Lifetime, RequestHeader, ResponseHeader};
use causeway::xml::{self, Limits};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = xml::decode_text(bytes, None) else { return };
    let Ok(tree) = xml::parse(&text, &Limits::default()) else { return };
    let envelope = match Envelope::read(&tree) {
        Ok(envelope) => envelope,
        Err(fault) => return check(&write_fault(None, "", &fault)),
    };
    check(&write(&envelope.addressing, "", ""));
    if let Some(fault) = envelope.fault() {
        check(&write_fault(Some(&envelope.addressing), "", &fault));
    }
    if let Err(fault) = envelope.check_mandatory_headers() {
        check(&write_fault(Some(&envelope.addressing), "", &fault));
    }
    let _ = ResponseHeader::read(envelope.security, Some(b"ours"), NOW, Duration::from_secs(300));
    let timestamp = envelope.security.and_then(|security| RequestHeader::read(security).ok()?.timestamp);
    if let Some(Ok(lifetime)) = timestamp.map(Lifetime::read) {
        let _ = lifetime.check(NOW, Duration::from_secs(300), Duration::from_secs(3600));
    }
});

fn check(written: &str) {
    xml::parse(written, &Limits::default()).expect("what we write is well-formed");
}
