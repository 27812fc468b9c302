//! Syslog frames (ITI-20): pieces of any length give the messages of the whole stream.
#![no_main]

use causeway::atna::syslog::{Deframer, FrameError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = bytes.get(1..).unwrap_or_default();
    assert_eq!(messages(causeway_fuzz::pieces(bytes)), messages([whole]), "pieces make other messages");
});

fn messages<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut deframer = Deframer::new(256);
    let mut messages = Vec::new();
    for piece in pieces {
        deframer.push(piece);
        while let Some(message) = deframer.next_message()? {
            messages.push(message);
        }
    }
    Ok(messages)
}
