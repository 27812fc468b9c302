//! The one place through which every byte with patient data passes on its way to disk and back.
//!
//! Today a sealed value is a format byte and the plain bytes. A key for each tenant comes here and nowhere else: values
//! already written say by their format byte how to open them.

use std::borrow::Cow;

use crate::id::Tenant;

/// What the key of each of a tenant's rows starts with: the name and an end mark.
pub fn row_prefix(tenant: &Tenant) -> Vec<u8> {
    let mut prefix = tenant.as_str().as_bytes().to_vec();
    prefix.push(0);
    prefix
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
    /// Audit records.
    Audit,
    /// What is on its way to others.
    Delivery,
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
    pub fn open<'v>(&self, _tenant: &Tenant, _purpose: Purpose, sealed: &'v [u8]) -> Result<Cow<'v, [u8]>, SealError> {
        match sealed.split_first() {
            Some((&PLAIN, value)) => Ok(Cow::Borrowed(value)),
            _ => Err(SealError::UnknownFormat),
        }
    }

    /// The form of a lookup key with patient data, such as an identifier: equal for equal keys, to be found by exact
    /// match only.
    pub fn blind(&self, _tenant: &Tenant, _purpose: Purpose, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }

    /// Seals a file piece by piece.
    pub fn sealing(&self, _tenant: &Tenant, _purpose: Purpose) -> Sealing {
        Sealing { started: false }
    }

    /// Opens a file piece by piece.
    pub fn opening(&self, _tenant: &Tenant, _purpose: Purpose) -> Opening {
        Opening { started: false }
    }

    /// Length of the plain bytes of a sealed file.
    pub fn plain_length(&self, sealed: u64) -> u64 {
        sealed.saturating_sub(1)
    }
}

/// Seals bytes on their way to a file. A file without what [`Sealing::finish`] gives is cut short.
pub struct Sealing {
    started: bool,
}

impl Sealing {
    /// Adds to `sealed` what to write for the next piece.
    pub fn push(&mut self, piece: &[u8], sealed: &mut Vec<u8>) {
        if !self.started {
            sealed.push(PLAIN);
            self.started = true;
        }
        sealed.extend_from_slice(piece);
    }

    /// Adds to `sealed` what ends the file.
    pub fn finish(mut self, sealed: &mut Vec<u8>) {
        self.push(&[], sealed);
    }
}

/// Opens bytes on their way from a file.
pub struct Opening {
    started: bool,
}

impl Opening {
    /// Adds to `plain` what the next sealed piece holds.
    pub fn push(&mut self, sealed: &[u8], plain: &mut Vec<u8>) -> Result<(), SealError> {
        let mut rest = sealed;
        if !self.started
            && let Some((format, after)) = sealed.split_first()
        {
            if *format != PLAIN {
                return Err(SealError::UnknownFormat);
            }
            (self.started, rest) = (true, after);
        }
        plain.extend_from_slice(rest);
        Ok(())
    }

    /// Says whether the file was whole.
    pub fn finish(self) -> Result<(), SealError> {
        if self.started { Ok(()) } else { Err(SealError::UnknownFormat) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens() {
        let (sealer, tenant) = (Sealer::plain(), Tenant::default());
        for value in [&b""[..], b"a", b"\0\xff"] {
            let sealed = sealer.seal(&tenant, Purpose::Identity, value);
            assert_eq!(sealer.open(&tenant, Purpose::Identity, &sealed).unwrap(), value);
            let (mut file, mut plain) = (Vec::new(), Vec::new());
            let mut sealing = sealer.sealing(&tenant, Purpose::Document);
            value.chunks(1).for_each(|piece| sealing.push(piece, &mut file));
            sealing.finish(&mut file);
            assert_eq!(sealer.plain_length(file.len() as u64), value.len() as u64);
            let mut opening = sealer.opening(&tenant, Purpose::Document);
            file.chunks(1).for_each(|piece| opening.push(piece, &mut plain).unwrap());
            opening.finish().unwrap();
            assert_eq!(plain, value);
        }
    }

    #[test]
    fn values_of_an_unknown_format_do_not_open() {
        let (sealer, tenant) = (Sealer::plain(), Tenant::default());
        for sealed in [&b""[..], b"\x07secret"] {
            assert_eq!(sealer.open(&tenant, Purpose::Identity, sealed), Err(SealError::UnknownFormat));
            let mut opening = sealer.opening(&tenant, Purpose::Document);
            assert!(opening.push(sealed, &mut Vec::new()).is_err() || opening.finish().is_err());
        }
    }
}
