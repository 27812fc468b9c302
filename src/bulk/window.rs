//! A view of a file that moves forward: the bytes that are looked at, and where in the file they are.

use std::io::{Read, Seek, SeekFrom};

use crate::storage::identities::Place;

const CHUNK: usize = 256 << 10;

/// The bytes of a file from a place on, as far as they were asked for.
pub(super) struct Window<R> {
    file: R,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    line: u64,
    ended: bool,
}

impl<R: Read + Seek> Window<R> {
    /// From a place on.
    pub(super) fn open(mut file: R, from: Place) -> std::io::Result<Self> {
        file.seek(SeekFrom::Start(from.offset))?;
        let line = from.line.max(1);
        let mut window = Self { file, buffer: Vec::new(), start: 0, offset: from.offset, line, ended: false };
        // A byte order mark is no part of the first row, message or resource.
        if from.offset == 0 && window.at_least(3)? && window.bytes().starts_with(b"\xEF\xBB\xBF") {
            window.consume(3);
        }
        Ok(window)
    }

    /// The same file from another place on.
    pub(super) fn reopen(self, from: Place) -> std::io::Result<Self> {
        Self::open(self.file, from)
    }

    /// What is in view.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads on. False: there is no more.
    pub(super) fn fill(&mut self) -> std::io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let read = loop {
            match self.file.read(&mut self.buffer[before..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.buffer.truncate(before + read);
        self.ended = read == 0;
        Ok(read > 0)
    }

    /// Whether so many bytes are in view, after reading on if need be.
    pub(super) fn at_least(&mut self, count: usize) -> std::io::Result<bool> {
        while self.bytes().len() < count {
            if !self.fill()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The byte at a position; none behind the end.
    pub(super) fn byte(&mut self, at: usize) -> std::io::Result<Option<u8>> {
        Ok(if self.at_least(at + 1)? { self.bytes().get(at).copied() } else { None })
    }

    /// Moves forward over bytes in view. CR, LF and CR LF end a line.
    pub(super) fn consume(&mut self, count: usize) {
        let end = (self.start + count).min(self.buffer.len());
        let passed = &self.buffer[self.start..end];
        for at in memchr::memchr2_iter(b'\r', b'\n', passed) {
            let half = passed[at] == b'\r' && self.buffer.get(self.start + at + 1) == Some(&b'\n');
            self.line += u64::from(!half);
        }
        self.offset += (end - self.start) as u64;
        self.start = end;
    }

    /// Moves forward over bytes that mean nothing.
    pub(super) fn skip(&mut self, means_nothing: impl Fn(u8) -> bool) -> std::io::Result<()> {
        loop {
            if let Some(count) = self.bytes().iter().position(|byte| !means_nothing(*byte)) {
                self.consume(count);
                return Ok(());
            }
            // The last byte stays in view, should it be the first half of CR LF.
            self.consume(self.bytes().len().saturating_sub(1));
            if !self.fill()? {
                self.consume(1);
                return Ok(());
            }
        }
    }

    /// The length of the line in view without its end, after reading on if need be. More than `limit`: the line is
    /// longer than that.
    pub(super) fn line_length(&mut self, limit: usize, ends: impl Fn(u8) -> bool) -> std::io::Result<usize> {
        let mut at = 0;
        loop {
            if let Some(found) = self.bytes()[at..].iter().position(|byte| ends(*byte)) {
                return Ok(at + found);
            }
            at = self.bytes().len();
            if at > limit || !self.fill()? {
                return Ok(at);
            }
        }
    }

    /// Moves forward to the next line end, however far that is.
    pub(super) fn skip_line(&mut self, ends: impl Fn(u8) -> bool) -> std::io::Result<()> {
        loop {
            let length = self.line_length(CHUNK, &ends)?;
            self.consume(length);
            if !self.at_least(1)? || self.bytes().first().is_some_and(|byte| ends(*byte)) {
                return Ok(());
            }
        }
    }

    /// Bytes before the view.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The line of the first byte in view, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The place of the first byte in view.
    pub(super) fn place(&self, state: u64) -> Place {
        Place { offset: self.offset, line: self.line, state }
    }
}
