//! Character sets of MSH-18 (HL7 table 0211).

use std::borrow::Cow;

/// A character set in which a message can arrive. What leaves is UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Charset {
    /// Nothing declared, or ASCII: UTF-8 if the bytes are that, else windows-1252.
    Undeclared,
    /// `8859/1`, read as windows-1252, which differs only where 8859/1 has control characters.
    Latin1,
    /// `8859/15`: 8859/1 with the euro sign.
    Latin9,
    /// `UNICODE UTF-8`.
    Utf8,
}

impl Charset {
    /// The name in MSH-18, as standards and senders spell it. None: not readable here.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_uppercase();
        Some(match name.as_str() {
            "" | "ASCII" | "US-ASCII" | "ANSI X3.4-1986" => Self::Undeclared,
            "8859/1" | "ISO-8859-1" | "ISO8859-1" | "ISO-8859/1" | "WINDOWS-1252" | "CP1252" => Self::Latin1,
            "8859/15" | "ISO-8859-15" | "ISO8859-15" | "ISO-8859/15" => Self::Latin9,
            "UNICODE UTF-8" | "UNICODE" | "UTF-8" | "UTF8" => Self::Utf8,
            _ => return None,
        })
    }

    /// Bytes as text. None: the bytes are not text of this set.
    pub fn decode<'b>(self, bytes: &'b [u8]) -> Option<Cow<'b, str>> {
        if bytes.is_ascii() {
            return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
        }
        match self {
            Self::Undeclared => match std::str::from_utf8(bytes) {
                Ok(text) => Some(Cow::Borrowed(text)),
                Err(_) => Some(Cow::Owned(bytes.iter().map(|&byte| windows_1252(byte)).collect())),
            },
            Self::Latin1 => Some(Cow::Owned(bytes.iter().map(|&byte| windows_1252(byte)).collect())),
            Self::Latin9 => Some(Cow::Owned(bytes.iter().map(|&byte| latin9(byte)).collect())),
            Self::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        }
    }
}

fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9F => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn latin9(byte: u8) -> char {
    match byte {
        0xA4 => '€',
        0xA6 => 'Š',
        0xA8 => 'š',
        0xB4 => 'Ž',
        0xB8 => 'ž',
        0xBC => 'Œ',
        0xBD => 'œ',
        0xBE => 'Ÿ',
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_character_sets_that_senders_declare() {
        for (name, bytes, text) in [
            ("", &b"M\xC3\xBCller"[..], "Müller"),
            ("", b"M\xFCller", "Müller"),
            ("ASCII", b"M\xFCller", "Müller"),
            ("8859/1", b"M\xFCller", "Müller"),
            ("8859/1", b"O\x92Neill", "O’Neill"),
            ("8859/15", b"5 \xA4", "5 €"),
            ("UNICODE UTF-8", b"M\xC3\xBCller", "Müller"),
        ] {
            let charset = Charset::named(name).unwrap();
            assert_eq!(charset.decode(bytes).as_deref(), Some(text), "{name} {bytes:?}");
        }
        assert_eq!(Charset::Utf8.decode(b"M\xFCller"), None);
        assert_eq!(Charset::named("ISO IR87"), None);
    }
}
