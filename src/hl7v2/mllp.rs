//! The Minimal Lower Layer Protocol: `0x0B`, the message, `0x1C 0x0D`. Bytes in, frames out; the socket is elsewhere.
//!
//! What a frame is depends on the bytes alone and never on how they were split into packets.

/// Opens a frame.
const START: u8 = 0x0B;
/// With a carriage return behind it, closes a frame.
const END: u8 = 0x1C;
/// The second byte of the end.
const RETURN: u8 = 0x0D;

/// What a frame may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest message between start and end block, in bytes.
    pub message_bytes: usize,
}

impl Default for Limits {
    /// 1 MiB: hundreds of times an ADT message.
    fn default() -> Self {
        Self { message_bytes: 1 << 20 }
    }
}

/// What is wrong with a frame. The reader has recovered and waits for the next start block.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// More bytes than the limit without an end block.
    #[error("the frame is longer than {0} bytes")]
    TooLong(usize),
    /// A start block inside a frame: the sender gave up on one message and began another. Reading on as if they were
    /// one could mix two patients.
    #[error("a frame began before the one before it ended")]
    Unterminated,
}

/// Puts a message into a frame.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(message.len() + 3);
    framed.push(START);
    framed.extend_from_slice(message);
    framed.extend_from_slice(&[END, RETURN]);
    framed
}

/// Cuts frames out of a stream of bytes.
///
/// Accepts what live partners send: bytes between frames, a line feed behind the end, an end block without its
/// carriage return (when a new frame follows at once, or when the line falls silent: `flush_on_idle`), and `0x1C`
/// inside a message.
pub struct Deframer {
    limits: Limits,
    buffer: Vec<u8>,
    /// Where the bytes not yet given out begin.
    from: usize,
    /// Where to go on looking, when inside a frame.
    scanned: usize,
    inside: bool,
}

impl Deframer {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: Vec::new(), from: 0, scanned: 0, inside: false }
    }

    /// Takes bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.from > 0 {
            self.buffer.drain(..self.from);
            self.scanned = self.scanned.saturating_sub(self.from);
            self.from = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, without its frame. None: more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "an iterator ends, a stream of frames waits")]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        if !self.inside && !self.find_start() {
            return Ok(None);
        }
        let body = self.from;
        loop {
            let found = memchr::memchr2(START, END, &self.buffer[self.scanned..]).map(|at| self.scanned + at);
            let data_to = found.unwrap_or(self.buffer.len());
            if data_to - body > self.limits.message_bytes {
                self.leave(data_to);
                return Err(FrameError::TooLong(self.limits.message_bytes));
            }
            let Some(at) = found else {
                self.scanned = data_to;
                return Ok(None);
            };
            if self.buffer[at] == START {
                self.leave(at);
                return Err(FrameError::Unterminated);
            }
            match self.buffer.get(at + 1) {
                None => {
                    self.scanned = at;
                    return Ok(None);
                }
                Some(&RETURN) => return Ok(Some(self.take(body, at, at + 2))),
                Some(&START) => return Ok(Some(self.take(body, at, at + 1))),
                // An end block byte inside the message: data, as more data follows.
                Some(_) => self.scanned = at + 1,
            }
        }
    }

    /// Call when nothing arrived for a while: gives out a message whose end block lacks only its carriage return.
    pub fn flush_on_idle(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.len().checked_sub(1)?;
        let complete = self.inside && self.scanned == end && self.buffer[end] == END && end >= self.from;
        complete.then(|| self.take(self.from, end, end + 1))
    }

    /// Whether part of a message has arrived. A connection closed now has lost it.
    pub fn is_inside_frame(&self) -> bool {
        self.inside
    }

    /// Drops everything before the next start block; whether there is one.
    fn find_start(&mut self) -> bool {
        let start = memchr::memchr(START, &self.buffer[self.from..]).map(|at| self.from + at);
        self.inside = start.is_some();
        self.from = start.map_or(self.buffer.len(), |at| at + 1);
        self.scanned = self.from;
        self.inside
    }

    fn take(&mut self, body: usize, end: usize, next: usize) -> Vec<u8> {
        let message = self.buffer[body..end].to_vec();
        self.leave(next);
        message
    }

    fn leave(&mut self, next: usize) {
        self.inside = false;
        self.from = next;
        self.scanned = next;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that comes out when the bytes arrive in these pieces.
    fn frames(pieces: &[&[u8]], limit: usize) -> Vec<Result<Vec<u8>, FrameError>> {
        let mut deframer = Deframer::new(Limits { message_bytes: limit });
        let mut out = Vec::new();
        for piece in pieces {
            deframer.push(piece);
            loop {
                match deframer.next() {
                    Ok(None) => break,
                    Ok(Some(frame)) => out.push(Ok(frame)),
                    Err(error) => out.push(Err(error)),
                }
            }
        }
        out
    }

    /// ITI TF-2: Appendix C; what partners do to it.
    #[test]
    fn cuts_the_frames_that_partners_send() {
        let ok = |text: &str| Ok(text.as_bytes().to_vec());
        for (bytes, expected) in [
            (&b"\x0BMSH\x1C\x0D"[..], vec![ok("MSH")]),
            (b"\x0BA\x1C\x0D\x0BB\x1C\x0D", vec![ok("A"), ok("B")]),
            (b"\x0BA\x1C\x0D\x0A\x0BB\x1C\x0D\x0A", vec![ok("A"), ok("B")]),
            (b"noise\r\n\x0BA\x1C\x0D", vec![ok("A")]),
            (b"\x0BA\x1C\x0BB\x1C\x0D", vec![ok("A"), ok("B")]),
            (b"\x0BA\x1CB\x1C\x0D", vec![ok("A\x1CB")]),
            (b"\x0BA\x1C\x1C\x0D", vec![ok("A\x1C")]),
            (b"\x0B\x1C\x0D", vec![ok("")]),
            (b"\x0BA", vec![]),
            (b"\x0BA\x1C", vec![]),
            (b"\x0BPID A\x0BPID B\x1C\x0D", vec![Err(FrameError::Unterminated), ok("PID B")]),
            (b"\x0B123456789\x1C\x0D\x0BB\x1C\x0D", vec![Err(FrameError::TooLong(8)), ok("B")]),
            (b"\x0B12345678\x1C\x0D", vec![ok("12345678")]),
        ] {
            assert_eq!(frames(&[bytes], 8), expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_end_block_without_its_carriage_return_ends_when_the_line_falls_silent() {
        let mut deframer = Deframer::new(Limits::default());
        deframer.push(b"\x0BMSH");
        assert_eq!(deframer.next(), Ok(None));
        assert_eq!(deframer.flush_on_idle(), None);
        assert!(deframer.is_inside_frame());
        deframer.push(b"\x1C");
        assert_eq!(deframer.next(), Ok(None));
        assert_eq!(deframer.flush_on_idle(), Some(b"MSH".to_vec()));
        deframer.push(b"\x0D\x0BB\x1C\x0D");
        assert_eq!(deframer.next(), Ok(Some(b"B".to_vec())));
        assert_eq!(deframer.flush_on_idle(), None);
    }

    #[test]
    fn writes_exactly_the_bytes_of_the_protocol() {
        assert_eq!(frame(b"MSH|\r"), b"\x0BMSH|\r\x1C\x0D");
    }

    /// Bytes where the special ones are frequent.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(START), Just(END), Just(RETURN), Just(0x0A), Just(b'A'), any::<u8>()];
        proptest::collection::vec(byte, 0..200)
    }

    proptest! {
        #[test]
        fn splitting_the_bytes_never_changes_the_frames(bytes in stream(), sizes in proptest::collection::vec(1usize..9, 1..60)) {
            let mut pieces = Vec::new();
            let mut rest = bytes.as_slice();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, tail) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = tail;
            }
            prop_assert_eq!(frames(&pieces, 12), frames(&[&bytes], 12));
        }

        #[test]
        fn what_is_framed_comes_back(messages in proptest::collection::vec(proptest::collection::vec(0x20u8.., 0..40), 0..6)) {
            let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
            let expected: Vec<_> = messages.into_iter().map(Ok).collect();
            prop_assert_eq!(frames(&[&stream], 100), expected);
        }
    }
}
