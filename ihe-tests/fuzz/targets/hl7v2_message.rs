//! HL7 v2 messages: every field of every segment, the header, and what is salvaged of a message that is none.
#![no_main]

use causeway::hl7v2::{Cx, Header, Limits, Message, datatypes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Header::salvage(bytes);
    let Ok(message) = Message::parse(bytes, &Limits::default()) else { return };
    Header::read(&message);
    for segment in message.segments() {
        segment.standard();
        for number in 1..segment.len().min(64) {
            let field = segment.field(number);
            let _ = datatypes::read_time(field);
            datatypes::read_code(field);
            for repetition in field.repetitions() {
                Cx::read(repetition);
                repetition.composite();
                datatypes::read_name(repetition);
                datatypes::read_address(repetition);
                datatypes::read_telecom(repetition, "PRN");
            }
        }
    }
});
