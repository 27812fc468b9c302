//! Syslog for audit messages: the header of RFC 5424 and the octet counting of RFC 5425 (ITI TF-2: 3.20.4.1.2).

use crate::id::Timestamp;

/// Who sends, as every frame's header says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sender {
    host: String,
    application: String,
    process: String,
}

impl Sender {
    /// Host and application, with what RFC 5424 cannot carry in a header field left out.
    pub fn new(host: &str, application: &str) -> Self {
        Self {
            host: field(host, 255),
            application: field(application, 48),
            process: field(&std::process::id().to_string(), 128),
        }
    }

    /// One frame for TLS: length in bytes, a space, the message; nothing after it.
    pub fn frame(&self, at: Timestamp, audit_message: &str) -> Vec<u8> {
        let message = self.message(at, audit_message);
        let mut frame = message.len().to_string().into_bytes();
        frame.push(b' ');
        frame.extend_from_slice(message.as_bytes());
        frame
    }

    /// One message without framing, as a datagram would carry it.
    pub fn message(&self, at: Timestamp, audit_message: &str) -> String {
        // Facility 10 (security); severity 5 (notice), or 4 (warning) for what did not succeed.
        let priority = if audit_message.contains("EventOutcomeIndicator=\"0\"") { "<85>" } else { "<84>" };
        let Self { host, application, process } = self;
        // Milliseconds: receivers refuse microseconds. The payload is DICOM, but the MSGID keeps its old name.
        // RFC 5424 6.4: a message in UTF-8 starts with a byte order mark.
        let at = at.to_rfc3339();
        format!("{priority}1 {at} {host} {application} {process} IHE+RFC-3881 - \u{FEFF}{audit_message}")
    }
}

/// Printable ASCII without spaces, `-` when nothing is left (RFC 5424 6).
fn field(text: &str, longest: usize) -> String {
    let kept: String = text.chars().filter(char::is_ascii_graphic).take(longest).collect();
    if kept.is_empty() { "-".to_owned() } else { kept }
}

/// Why a stream is not syslog.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// Longer than the receiver takes.
    #[error("the syslog message is longer than {0} bytes")]
    TooLong(usize),
}

/// Takes a stream apart into messages: octet counting, and lines for old senders (RFC 6587).
#[derive(Debug)]
pub struct Deframer {
    received: Vec<u8>,
    longest: usize,
}

impl Deframer {
    /// For messages up to a length in bytes.
    pub fn new(longest: usize) -> Self {
        Self { received: Vec::new(), longest }
    }

    /// Adds bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        // A line feed between counted frames is an old sender's habit.
        let blank = self.received.iter().take_while(|&&b| b == b'\n' || b == b'\r').count();
        self.received.drain(..blank);
        let Some(first) = self.received.first() else { return Ok(None) };
        let (start, end) = if first.is_ascii_digit() {
            let Some(space) = self.received.iter().take(20).position(|&b| b == b' ') else {
                return self.incomplete();
            };
            let digits = std::str::from_utf8(&self.received[..space]).unwrap_or_default();
            let length: usize = digits.parse().map_err(|_| FrameError::TooLong(self.longest))?;
            if length > self.longest {
                return Err(FrameError::TooLong(self.longest));
            }
            (space + 1, space + 1 + length)
        } else {
            let Some(line) = self.received.iter().position(|&b| b == b'\n') else { return self.incomplete() };
            // Whether its end came with it must not decide whether a line is too long.
            if line > self.longest {
                return Err(FrameError::TooLong(self.longest));
            }
            (0, line)
        };
        if self.received.len() < end {
            return Ok(None);
        }
        let message = self.received[start..end].to_vec();
        self.received.drain(..end);
        Ok(Some(message))
    }

    fn incomplete(&self) -> Result<Option<Vec<u8>>, FrameError> {
        if self.received.len() > self.longest { Err(FrameError::TooLong(self.longest)) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// ITI TF-2: 3.20.4.1.2.1; RFC 5424 6; RFC 5425 4.3.
    #[test]
    fn frames_carry_the_header_of_the_profile_and_their_length_in_bytes() {
        let sender = Sender::new("rg.example.org", "causeway");
        let at = Timestamp::from_rfc3339("2026-01-15T14:30:02.123Z").unwrap();
        let process = std::process::id();
        for (xml, priority) in [
            ("<AuditMessage><EventIdentification EventOutcomeIndicator=\"0\">Müller", "<85>"),
            ("<AuditMessage><EventIdentification EventOutcomeIndicator=\"8\">Müller", "<84>"),
        ] {
            let frame = String::from_utf8(sender.frame(at, xml)).unwrap();
            let (length, message) = frame.split_once(' ').unwrap();
            let header =
                format!("{priority}1 2026-01-15T14:30:02.123Z rg.example.org causeway {process} IHE+RFC-3881 - ");
            assert_eq!(message, format!("{header}\u{FEFF}{xml}"));
            assert_eq!(length.parse(), Ok(message.len()), "bytes and not characters");
        }
    }

    #[test]
    fn header_fields_never_break_the_header() {
        let sender = Sender::new("", "two words\n");
        let at = Timestamp::from_millis(0);
        assert!(sender.message(at, "<a/>").starts_with("<84>1 1970-01-01T00:00:00.000Z - twowords "));
    }

    #[test]
    fn old_senders_separate_messages_by_lines() {
        let mut deframer = Deframer::new(100);
        deframer.push(b"<85>1 a\n3 xyz\n<85>1 b\n");
        let mut found = Vec::new();
        while let Some(message) = deframer.next_message().unwrap() {
            found.push(String::from_utf8(message).unwrap());
        }
        assert_eq!(found, ["<85>1 a", "xyz", "<85>1 b"]);
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_kept() {
        let mut deframer = Deframer::new(100);
        deframer.push(b"101 x");
        assert_eq!(deframer.next_message(), Err(FrameError::TooLong(100)));
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_whether_or_not_its_end_has_come() {
        for stream in [&b"<85>1 ab"[..], b"<85>1 ab\n"] {
            let mut deframer = Deframer::new(7);
            deframer.push(stream);
            assert_eq!(deframer.next_message(), Err(FrameError::TooLong(7)));
        }
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_stream_is_cut(
            messages in proptest::collection::vec("[a-zA-Z<>é ]{0,40}", 0..8), cut in 1usize..20,
        ) {
            let sender = Sender::new("h", "a");
            let at = Timestamp::from_millis(0);
            let stream: Vec<u8> = messages.iter().flat_map(|message| sender.frame(at, message)).collect();
            let mut deframer = Deframer::new(1000);
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                deframer.push(piece);
                while let Some(message) = deframer.next_message().unwrap() {
                    found.push(String::from_utf8(message).unwrap());
                }
            }
            let expected: Vec<String> = messages.iter().map(|message| sender.message(at, message)).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let mut deframer = Deframer::new(50);
            deframer.push(&bytes);
            while let Ok(Some(_)) = deframer.next_message() {}
        }
    }
}
