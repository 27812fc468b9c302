//! MLLP frames: a stream that comes in pieces of any length has the messages of the stream that comes at once.
#![no_main]

use causeway::hl7v2::mllp::Limits;
use causeway::hl7v2::{Deframer, FrameError, frame};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { message_bytes: 256 };

fuzz_target!(|bytes: &[u8]| {
    let whole = bytes.get(1..).unwrap_or_default();
    assert_eq!(messages(causeway_fuzz::pieces(bytes)), messages([whole]), "pieces make other messages");
    // Bytes that a message cannot hold: those that frame it.
    let message: Vec<u8> = whole.iter().copied().filter(|byte| !matches!(byte, 0x0B | 0x1C)).take(256).collect();
    if !message.is_empty() {
        assert_eq!(messages([&*frame(&message)]), [Ok(message)], "a frame gives its message");
    }
});

fn messages<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Vec<Result<Vec<u8>, FrameError>> {
    let mut deframer = Deframer::new(LIMITS);
    let mut messages = Vec::new();
    for piece in pieces {
        deframer.push(piece);
        while let Some(message) = deframer.next().transpose() {
            messages.push(message);
        }
    }
    messages.extend(deframer.flush_on_idle().map(Ok));
    messages
}
