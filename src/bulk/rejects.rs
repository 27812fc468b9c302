//! The rejects file: the pieces that were not taken in, as they stood, each behind a line that says where and why. It
//! holds patient data, so it is for its owner's eyes only; and it can be imported again when it is mended.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use super::{Format, LONGEST, REJECTED};
use crate::storage::identities::Reject;

/// A rejects file. It comes into being with the first reject.
pub(super) struct Rejects {
    path: PathBuf,
    format: Format,
    heading: Vec<u8>,
    source: File,
}

impl Rejects {
    /// For pieces of a file.
    pub(super) fn new(path: PathBuf, format: Format, heading: Vec<u8>, source: File) -> Self {
        Self { path, format, heading, source }
    }

    /// Writes rejects behind the bytes that are there for certain, and makes them durable. What stands behind those
    /// bytes is what a crash left, and is written over. Returns how many bytes there are for certain now.
    pub(super) fn write(&self, certain: u64, rejects: &[Reject]) -> io::Result<u64> {
        if rejects.is_empty() {
            return Ok(certain);
        }
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        // Whoever removed the file has seen it: it begins anew.
        let certain = if file.metadata()?.len() < certain { 0 } else { certain };
        let mut text = if certain == 0 { self.heading.clone() } else { Vec::new() };
        for reject in rejects {
            text.extend_from_slice(REJECTED);
            text.extend_from_slice(
                format!("{}: {}\n", reject.line, reject.reason.replace(['\r', '\n'], " ")).as_bytes(),
            );
            text.extend_from_slice(&self.piece(reject)?);
            text.push(b'\n');
        }
        file.write_all_at(&text, certain)?;
        let end = certain + text.len() as u64;
        file.set_len(end)?;
        file.sync_data()?;
        Ok(end)
    }

    /// The bytes of a piece. One that is longer than any may be is told by its beginning.
    fn piece(&self, reject: &Reject) -> io::Result<Vec<u8>> {
        let length = usize::try_from(reject.to.saturating_sub(reject.from)).unwrap_or(usize::MAX).min(LONGEST);
        let mut bytes = vec![0; length];
        self.source.read_exact_at(&mut bytes, reject.from)?;
        let end = bytes.trim_ascii_end().len();
        bytes.truncate(end);
        if self.format == Format::FhirBundle {
            // An entry goes on one line, as NDJSON wants it. Line ends inside texts are escaped in JSON.
            bytes.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
        }
        Ok(bytes)
    }
}
