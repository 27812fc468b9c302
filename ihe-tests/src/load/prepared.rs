//! Messages that were made and signed before the measurement, in one file.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use bytes::Bytes;

use super::Failure;

/// A body and its `Content-Type`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prepared {
    /// The value of the header.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

/// Writes messages: each as two lengths (32 bits, big-endian), the type and the body.
pub fn write(path: &Path, messages: &[Prepared]) -> Result<(), Failure> {
    let mut file = BufWriter::new(File::create(path)?);
    for message in messages {
        for length in [message.content_type.len(), message.body.len()] {
            file.write_all(&u32::try_from(length)?.to_be_bytes())?;
        }
        file.write_all(message.content_type.as_bytes())?;
        file.write_all(&message.body)?;
    }
    Ok(file.flush()?)
}

/// Reads messages.
pub fn read(path: &Path) -> Result<Vec<Prepared>, Failure> {
    let mut content = Vec::new();
    BufReader::new(File::open(path)?).read_to_end(&mut content)?;
    let mut rest = Bytes::from(content);
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let lengths = take(&mut rest, 8)?;
        let length = |at: usize| -> Result<usize, Failure> {
            Ok(u32::from_be_bytes(lengths[at..at + 4].try_into()?).try_into()?)
        };
        let content_type = String::from_utf8(take(&mut rest, length(0)?)?.to_vec())?;
        let body = take(&mut rest, length(4)?)?;
        messages.push(Prepared { content_type, body });
    }
    Ok(messages)
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, Failure> {
    if rest.len() < length {
        return Err("the file of prepared messages is cut off".into());
    }
    Ok(rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let message = |text: &str| Prepared { content_type: "text/xml".into(), body: Bytes::from(text.to_owned()) };
        let messages = [message("<a/>"), message(""), message("<b/>")];
        write(path.path(), &messages).unwrap();
        assert_eq!(read(path.path()).unwrap(), messages);
        let whole = std::fs::read(path.path()).unwrap();
        std::fs::write(path.path(), &whole[..whole.len() - 1]).unwrap();
        assert!(read(path.path()).is_err());
    }
}
