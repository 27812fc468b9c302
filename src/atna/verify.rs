//! Verifying the journal: is it the chain that was written? Streaming, one entry in memory, also while it is written.
//!
//! What it finds: an entry edited, removed, moved; a tail or a segment cut off; a piece written anew by somebody
//! without the signing key. What it cannot find: that files and `head` were both put back to an earlier state that was
//! once true. For that compare with what the collectors have received.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::{GENESIS, Hash, Kind, ReadError, Reader, Sequence, SignatureError, check_signature};
use super::journal::{Head, segment_path, segments};

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its content is not what was written.
    Edited,
    /// It is not there, though later ones are.
    Removed,
    /// It stands at another place.
    Reordered,
    /// It was acknowledged, and it and all after it are gone.
    Truncated,
    /// It is a signature that the gateway's key did not make over this chain, or the signature that belongs here is
    /// missing.
    BadSignature,
}

/// The first thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The entry.
    pub sequence: u64,
    /// What is wrong with it.
    pub reason: Reason,
    /// The same in a sentence.
    pub explanation: String,
}

/// What verifying found.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Report {
    /// How many entries are good, from the first one on.
    pub entries: u64,
    /// How many of them are audit records.
    pub records: u64,
    /// How many segments were read.
    pub segments: u64,
    /// How many signatures hold.
    pub signatures: u64,
    /// The last entry that a signature covers. Whoever can write the files could make those after it anew.
    pub signed_up_to: u64,
    /// Whether the signatures were compared with a certificate that the caller gave; otherwise each was only compared
    /// with the certificate beside it, which shows mistakes and no forgery.
    pub certificate_given: bool,
    /// Notes the gateway made about its journal, such as a torn end after a crash.
    pub notes: Vec<String>,
    /// The first thing that is wrong, if anything is.
    pub problem: Option<Problem>,
}

/// How many notes a report repeats.
const NOTES: usize = 100;

/// Verifies the journal of a folder. Give the gateway's signing certificates in DER, present and past: then every
/// closed segment must end with a signature by one of them.
pub fn verify(directory: &Path, certificates: &[Vec<u8>]) -> io::Result<Report> {
    // First the head, then the files: what is written meanwhile lies behind it.
    let head = Head::read(directory);
    let numbers = segments(directory)?;
    let mut walk =
        Walk { certificates, previous: GENESIS, last: Sequence(0), signed_last: true, report: Report::default() };
    walk.report.certificate_given = !certificates.is_empty();
    for (index, &number) in numbers.iter().enumerate() {
        let path = segment_path(directory, number);
        let expected = index as u64 + 1;
        if number != expected {
            let missing = segment_path(directory, expected);
            walk.fail(&missing, walk.last.next(), Reason::Removed, "the file is missing");
            return Ok(walk.report);
        }
        let is_last = index + 1 == numbers.len();
        let rest = || numbers[index..].iter().map(|&number| segment_path(directory, number));
        if !walk.segment(&path, is_last, head, rest)? {
            return Ok(walk.report);
        }
    }
    let path = segment_path(directory, numbers.last().copied().unwrap_or(1));
    match head {
        Some(head) if head.sequence > walk.last => {
            let text = format!("entries up to {} were acknowledged", head.sequence);
            walk.fail(&path, walk.last.next(), Reason::Truncated, &text);
        }
        None if !numbers.is_empty() => {
            let text = "the head file is missing or damaged, so a truncated journal could not be noticed";
            walk.fail(&path, walk.last.next(), Reason::Truncated, text);
        }
        Some(_) | None => {}
    }
    Ok(walk.report)
}

struct Walk<'c> {
    certificates: &'c [Vec<u8>],
    previous: Hash,
    last: Sequence,
    /// Whether the last entry was a signature.
    signed_last: bool,
    report: Report,
}

impl Walk<'_> {
    /// Verifies one segment; false when something is wrong with it.
    fn segment<I: Iterator<Item = PathBuf>>(
        &mut self,
        path: &Path,
        is_last: bool,
        head: Option<Head>,
        rest: impl Fn() -> I,
    ) -> io::Result<bool> {
        self.report.segments += 1;
        let mut reader = Reader::new(BufReader::with_capacity(1 << 16, File::open(path)?));
        loop {
            let entry = match reader.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(ReadError::Io(error)) => return Err(error),
                // Behind the head of a living journal an entry is being written at this moment.
                Err(_) if is_last && head.is_some_and(|head| self.last >= head.sequence) => return Ok(true),
                Err(ReadError::Torn) => {
                    self.fail(path, self.last.next(), Reason::Truncated, "the file ends inside the entry");
                    return Ok(false);
                }
                Err(ReadError::NotAnEntry) => {
                    self.fail(path, self.last.next(), Reason::Edited, "this is not an entry");
                    return Ok(false);
                }
                Err(ReadError::WrongHash(sequence)) => {
                    // The number is part of what the hash covers: if it is not the expected one, it may be what was
                    // edited.
                    let sequence = if sequence == self.last.next() { sequence } else { self.last.next() };
                    self.fail(path, sequence, Reason::Edited, "the content does not have the hash it claims");
                    return Ok(false);
                }
            };
            let (expected, found) = (self.last.next(), entry.header.sequence);
            if found != expected {
                let elsewhere = found < expected || occurs(expected, rest())?;
                let reason = if elsewhere { Reason::Reordered } else { Reason::Removed };
                let text = format!("entry {found} stands where {expected} belongs");
                self.fail(path, expected, reason, &text);
                return Ok(false);
            }
            if entry.header.previous != self.previous {
                let text = "the entry after it remembers another content";
                self.fail(path, self.last, Reason::Edited, text);
                return Ok(false);
            }
            self.signed_last = entry.header.kind == Kind::Signature;
            match entry.header.kind {
                Kind::Record => self.report.records += 1,
                Kind::Note if self.report.notes.len() < NOTES => {
                    self.report.notes.push(String::from_utf8_lossy(&entry.payload).into_owned());
                }
                Kind::Note => {}
                Kind::Signature => {
                    if let Err(error) = check_signature(&entry.payload, found, &self.previous, self.certificates) {
                        self.signature_failed(path, found, error);
                        return Ok(false);
                    }
                    self.report.signatures += 1;
                    self.report.signed_up_to = found.0;
                }
            }
            self.previous = entry.hash;
            self.last = found;
            self.report.entries += 1;
        }
        if !is_last && !self.certificates.is_empty() && !self.signed_last {
            let text = "the segment is closed and does not end with a signature";
            self.fail(path, self.last, Reason::BadSignature, text);
            return Ok(false);
        }
        Ok(true)
    }

    fn signature_failed(&mut self, path: &Path, sequence: Sequence, error: SignatureError) {
        self.fail(path, sequence, Reason::BadSignature, &format!("the signature does not hold: {error}"));
    }

    fn fail(&mut self, path: &Path, sequence: Sequence, reason: Reason, explanation: &str) {
        self.report.problem =
            Some(Problem { file: path.to_owned(), sequence: sequence.0, reason, explanation: explanation.to_owned() });
    }
}

/// Whether an entry with that number stands in any of these segments.
fn occurs(sequence: Sequence, paths: impl Iterator<Item = PathBuf>) -> io::Result<bool> {
    for path in paths {
        let mut reader = Reader::new(BufReader::with_capacity(1 << 16, File::open(path)?));
        while let Ok(Some(entry)) = reader.next_entry() {
            if entry.header.sequence == sequence {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
