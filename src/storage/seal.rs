//! The one place through which every byte with patient data passes on its way to disk and back.
//!
//! Today a sealed value is a format byte and the plain bytes. A key for each tenant comes here and nowhere else: values
//! already written say by their format byte how to open them.

use std::io::{self, Read, Write};

use smol_str::SmolStr;

/// Whose data it is. Every record names its tenant, so that one tenant's rows and keys can be told from another's.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tenant(SmolStr);

impl Tenant {
    /// The tenant of a gateway that serves one organization.
    pub fn sole() -> Self {
        Self(SmolStr::new_static("sole"))
    }

    /// A tenant by name: 1 to 32 letters, digits, `-` or `_`, because it becomes part of file names and row keys.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=32).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        fits.then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name and an end mark: what the key of each of the tenant's rows starts with.
    pub fn row_prefix(&self) -> Vec<u8> {
        let mut prefix = self.0.as_bytes().to_vec();
        prefix.push(0);
        prefix
    }
}

/// What a sealed value is for. A value sealed for one purpose will not open for another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Patient demographics and links.
    Identity,
    /// Document metadata.
    Metadata,
    /// Document bytes.
    Document,
    /// Traces of exchanges, with their messages.
    Trace,
    /// Anything a partner told us that we keep for a while.
    Correlation,
}

/// Why a sealed value does not open.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealError {
    /// Written by a newer version, or damaged.
    #[error("the stored value has an unknown format")]
    UnknownFormat,
}

/// Format byte of values that are not encrypted.
const PLAIN: u8 = 0;

/// Seals and opens values. Clones share their keys.
#[derive(Clone, Debug, Default)]
pub struct Sealer(());

impl Sealer {
    /// A sealer without keys: values are kept as they are.
    pub fn plain() -> Self {
        Self(())
    }

    /// The bytes to store for a value.
    pub fn seal(&self, _tenant: &Tenant, _purpose: Purpose, value: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(value.len() + 1);
        sealed.push(PLAIN);
        sealed.extend_from_slice(value);
        sealed
    }

    /// The value of stored bytes.
    pub fn open(&self, _tenant: &Tenant, _purpose: Purpose, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        match sealed.split_first() {
            Some((&PLAIN, value)) => Ok(value.to_vec()),
            _ => Err(SealError::UnknownFormat),
        }
    }

    /// The form of a lookup key with patient data, such as an identifier: equal for equal keys, to be found by exact
    /// match only.
    pub fn blind(&self, _tenant: &Tenant, _purpose: Purpose, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }

    /// A writer that seals what passes to another.
    pub fn writer<W: Write>(&self, _tenant: &Tenant, _purpose: Purpose, to: W) -> SealedWriter<W> {
        SealedWriter { to, started: false }
    }

    /// A reader of what a [`SealedWriter`] wrote.
    pub fn reader<R: Read>(&self, _tenant: &Tenant, _purpose: Purpose, mut from: R) -> io::Result<SealedReader<R>> {
        let mut format = [0];
        from.read_exact(&mut format)?;
        if format[0] != PLAIN {
            return Err(io::Error::new(io::ErrorKind::InvalidData, SealError::UnknownFormat));
        }
        Ok(SealedReader { from })
    }

    /// Length of the plain bytes of a sealed file.
    pub fn plain_length(&self, sealed: u64) -> u64 {
        sealed.saturating_sub(1)
    }
}

/// Seals bytes on their way to a file. Call [`SealedWriter::finish`]: a file without it is cut short.
pub struct SealedWriter<W> {
    to: W,
    started: bool,
}

impl<W: Write> SealedWriter<W> {
    /// Writes the end and gives the underlying writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.start()?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn start(&mut self) -> io::Result<()> {
        if !self.started {
            self.to.write_all(&[PLAIN])?;
            self.started = true;
        }
        Ok(())
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.start()?;
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Opens bytes on their way from a file.
pub struct SealedReader<R> {
    from: R,
}

impl<R: Read> Read for SealedReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.from.read(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens() {
        let (sealer, tenant) = (Sealer::plain(), Tenant::sole());
        for value in [&b""[..], b"a", b"\0\xff"] {
            let sealed = sealer.seal(&tenant, Purpose::Identity, value);
            assert_eq!(sealer.open(&tenant, Purpose::Identity, &sealed).unwrap(), value);
            let mut writer = sealer.writer(&tenant, Purpose::Document, Vec::new());
            writer.write_all(value).unwrap();
            let file = writer.finish().unwrap();
            assert_eq!(sealer.plain_length(file.len() as u64), value.len() as u64);
            let mut plain = Vec::new();
            sealer.reader(&tenant, Purpose::Document, &file[..]).unwrap().read_to_end(&mut plain).unwrap();
            assert_eq!(plain, value);
        }
    }

    #[test]
    fn values_of_an_unknown_format_do_not_open() {
        let (sealer, tenant) = (Sealer::plain(), Tenant::sole());
        for sealed in [&b""[..], b"\x07secret"] {
            assert_eq!(sealer.open(&tenant, Purpose::Identity, sealed), Err(SealError::UnknownFormat));
            assert!(sealer.reader(&tenant, Purpose::Document, sealed).is_err());
        }
    }

    #[test]
    fn a_tenant_is_a_plain_name() {
        for (name, fits) in [("north", true), ("a-b_9", true), ("", false), ("../x", false), ("a\0b", false)] {
            assert_eq!(Tenant::new(name).is_some(), fits, "{name:?}");
        }
        assert!(Tenant::new(&"x".repeat(33)).is_none());
    }
}
