//! Transfer encodings, taken off as the bytes pass.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::MtomError;

/// Padding may be missing, and bits behind the last byte may be set: both are seen and neither changes the content.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The content of an inline `xds:Document`. White space is ignored; anything else that is not base64 is refused.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, MtomError> {
    let mut stream = Base64::default();
    let mut content = stream.push(text.as_bytes())?;
    content.extend(stream.finish()?);
    Ok(content)
}

/// Base64 in pieces.
#[derive(Default)]
pub(super) struct Base64 {
    /// Less than four digits that wait for the rest of their group.
    carry: Vec<u8>,
    padded: bool,
}

impl Base64 {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, MtomError> {
        let mut digits = std::mem::take(&mut self.carry);
        digits.reserve(bytes.len());
        for &byte in bytes {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'=' => self.padded = true,
                _ if self.padded => return Err(MtomError::BadBase64),
                _ => digits.push(byte),
            }
        }
        self.carry = digits.split_off(digits.len() / 4 * 4);
        BASE64.decode(&digits).map_err(|_| MtomError::BadBase64)
    }

    pub(super) fn finish(&mut self) -> Result<Vec<u8>, MtomError> {
        BASE64.decode(std::mem::take(&mut self.carry)).map_err(|_| MtomError::BadBase64)
    }
}

/// Quoted-printable in pieces (RFC 2045: 6.7).
#[derive(Default)]
pub(super) struct QuotedPrintable {
    /// From a `=` on, until it is known what it means.
    carry: Vec<u8>,
}

/// An encoded line has at most 76 characters, so no escape is longer.
const ESCAPE_LENGTH: usize = 76;

impl QuotedPrintable {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.take(byte, &mut out);
        }
        out
    }

    /// What is left of an escape cut short, as it stands.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.carry)
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.carry.is_empty() {
            if byte == b'=' {
                self.carry.push(byte);
            } else {
                out.push(byte);
            }
            return;
        }
        self.carry.push(byte);
        match self.carry.as_slice() {
            [_, high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push((hex_value(*high) << 4) | hex_value(*low));
                self.carry.clear();
            }
            [_, high] if high.is_ascii_hexdigit() => {}
            // A line break after `=` and padding is not content.
            [_, blank @ .., b'\n'] if blank.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) => self.carry.clear(),
            [_, blank @ ..]
                if blank.len() < ESCAPE_LENGTH && blank.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) => {}
            // Not an escape: RFC 2045 suggests to keep it as it is.
            _ => {
                let literal = std::mem::take(&mut self.carry);
                out.push(literal[0]);
                for &again in &literal[1..] {
                    self.take(again, out);
                }
            }
        }
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base64_ignores_white_space_and_nothing_else() {
        for text in ["SGVsbG8=", " SGVs\r\n\tbG8=\n", "SGVsbG8", "SGVsbG9=", "S G V s b G 8 ="] {
            assert_eq!(decode_base64(text).unwrap(), b"Hello", "{text:?}");
        }
        assert_eq!(decode_base64("").unwrap(), b"");
        for text in ["SGVsb-8=", "SGVs<bG8", "SGVsbG8=SGVs", "S", "SGVsb"] {
            assert_eq!(decode_base64(text), Err(MtomError::BadBase64), "{text:?}");
        }
    }

    #[test]
    fn quoted_printable_keeps_what_is_no_escape() {
        for (text, content) in [
            ("caf=C3=a9 =3D", "café ="),
            ("one =\r\nline=\nmore=  \r\n!", "one linemore!"),
            ("a=zb==41=", "a=zb=A="),
            ("=4", "=4"),
        ] {
            let mut stream = QuotedPrintable::default();
            let mut found = stream.push(text.as_bytes());
            found.extend(stream.finish());
            assert_eq!(String::from_utf8(found).unwrap(), content, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn base64_in_pieces_is_base64(content: Vec<u8>, at in 0_usize..200) {
            let text = base64::engine::general_purpose::STANDARD.encode(&content);
            let (left, right) = text.split_at(at.min(text.len()));
            let mut stream = Base64::default();
            let mut found = stream.push(left.as_bytes()).unwrap();
            found.extend(stream.push(right.as_bytes()).unwrap());
            found.extend(stream.finish().unwrap());
            prop_assert_eq!(found, content);
        }
    }
}
