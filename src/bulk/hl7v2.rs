//! A file of HL7 v2 messages: one behind the other, in MLLP frames or not, in a batch (FHS, BHS, BTS, FTS) or not, with
//! segments that end with CR, LF or both (HL7 2.5 chapter 2.10.3).

use std::io::{Read, Seek};

use super::window::Window;
use super::{LONGEST, Piece, REJECTED, Rules, Told, Unread};
use crate::fhir::resource::date_time;
use crate::hl7v2::message::Limits;
use crate::hl7v2::{Hd, Header, Message};
use crate::id::{Domains, Dtm, Timestamp};
use crate::pix::feed_v2::{self, Event, FeedRequest, Request, is_management};
use crate::storage::identities::{MergeRules, Place};

/// Reads a file of messages. `Place::state` is one more than the messages since the last BHS, and 0 outside a batch.
pub struct Reader<R> {
    window: Window<R>,
    rules: Rules,
    limits: Limits,
    batch: u64,
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Ends a line, or is part of an MLLP frame.
fn is_between(byte: u8) -> bool {
    ends_line(byte) || matches!(byte, 0x0B | 0x1C)
}

impl<R: Read + Seek> Reader<R> {
    pub(super) fn open(file: R, from: Place, rules: Rules) -> std::io::Result<Self> {
        let limits = Limits { bytes: LONGEST, ..Limits::default() };
        Ok(Self { window: Window::open(file, from)?, rules, limits, batch: from.state })
    }

    pub(super) fn place(&self) -> Place {
        self.window.place(self.batch)
    }

    pub(super) fn next(&mut self) -> std::io::Result<Option<Piece>> {
        loop {
            self.window.skip(|byte| is_between(byte) || byte == b' ')?;
            let (line, from) = (self.window.line(), self.window.offset());
            if !self.window.at_least(1)? {
                // A batch that was begun and not ended: the rest may be missing.
                let open = std::mem::take(&mut self.batch) > 0;
                return Ok(open.then_some(Piece { line, from, to: from, content: Err(Unread::CutShort) }));
            }
            self.window.at_least(REJECTED.len())?;
            if self.window.bytes().starts_with(REJECTED) {
                self.window.skip_line(ends_line)?;
                continue;
            }
            let content = match self.window.bytes().get(..3).unwrap_or_default() {
                b"MSH" => {
                    self.batch += u64::from(self.batch > 0);
                    self.message()?
                }
                b"FHS" | b"FTS" => {
                    self.window.skip_line(is_between)?;
                    continue;
                }
                b"BHS" => {
                    self.batch = 1;
                    self.window.skip_line(is_between)?;
                    continue;
                }
                b"BTS" => match self.trailer()? {
                    Some(unread) => Err(unread),
                    None => continue,
                },
                _ => {
                    self.window.skip_line(is_between)?;
                    Err(Unread::Stray)
                }
            };
            return Ok(Some(Piece { line, from, to: self.window.offset(), content }));
        }
    }

    /// The message in view, up to the next one, the end of its frame or of its batch.
    fn message(&mut self) -> std::io::Result<Result<Vec<Told>, Unread>> {
        let (mut at, mut too_long) = (3, false);
        loop {
            if at > self.limits.bytes {
                too_long = true;
                self.window.consume(at);
                at = 0;
            }
            let Some(byte) = self.window.byte(at)? else { break };
            if matches!(byte, 0x0B | 0x1C) {
                break;
            }
            at += 1;
            if ends_line(byte) && self.begins_another(at)? {
                break;
            }
            // Straight to the next byte that could matter.
            let rest = self.window.bytes().get(at..).unwrap_or_default();
            at += rest.iter().position(|byte| is_between(*byte)).unwrap_or(rest.len());
        }
        let told = if too_long {
            Err(Unread::TooLong(self.limits.bytes))
        } else {
            self.decode(self.window.bytes().get(..at).unwrap_or_default())
        };
        self.window.consume(at);
        Ok(told)
    }

    fn begins_another(&mut self, at: usize) -> std::io::Result<bool> {
        self.window.at_least(at + REJECTED.len())?;
        let rest = self.window.bytes().get(at..).unwrap_or_default();
        let named = rest.get(..3).is_some_and(|name| matches!(name, b"MSH" | b"FHS" | b"BHS" | b"BTS" | b"FTS"));
        let ended = rest.get(3).is_none_or(|byte| !byte.is_ascii_alphanumeric());
        Ok((named && ended) || rest.starts_with(REJECTED))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<Told>, Unread> {
        let message = Message::parse(bytes.trim_ascii_end(), &self.limits)?;
        let rules =
            feed_v2::Rules { default_authority: self.rules.default_authority.clone(), ..feed_v2::Rules::default() };
        let request = Request::decode(&message, &self.rules.domains, &rules)?;
        let merging = if is_management(&request.header) { MergeRules::Lenient } else { MergeRules::BothKnown };
        // EVN-2 to the second is an instant; a mere date is none.
        let at = request.recorded.filter(|dtm| dtm.as_str().len() >= 14);
        let at = at.and_then(|dtm| Timestamp::from_rfc3339(&date_time(&dtm)));
        Ok(vec![Told { change: request.change, merging, at }])
    }

    /// BTS: its count, if it tells one, is that of the messages.
    fn trailer(&mut self) -> std::io::Result<Option<Unread>> {
        let found = std::mem::take(&mut self.batch).saturating_sub(1);
        let length = self.window.line_length(1_000, is_between)?;
        let line = self.window.bytes()[..length].to_vec();
        self.window.skip_line(is_between)?;
        let Some(separator) = line.get(3) else { return Ok(None) };
        let count = line[4..].split(|byte| byte == separator).next().unwrap_or_default();
        let told = std::str::from_utf8(count).ok().and_then(|text| text.trim().parse().ok());
        Ok(told.filter(|told| *told != found).map(|told| Unread::BatchCount { told, found }))
    }
}

/// What comes before the messages of a file that is one batch.
pub fn begin(now: Timestamp) -> Vec<u8> {
    ["FHS", "BHS"].map(|name| format!("{name}|^~\\&|CAUSEWAY||||{}\r", now.to_hl7())).concat().into_bytes()
}

/// What comes behind them.
pub fn end(messages: u64) -> Vec<u8> {
    format!("BTS|{messages}\rFTS|1\r").into_bytes()
}

/// A change as the message that a feed would send, with a number that no other message of the file has.
pub fn encode(change: &FeedRequest, number: u64, at: Timestamp, domains: &Domains) -> Vec<u8> {
    let event = match change {
        FeedRequest::Add { .. } => Event::A28,
        FeedRequest::Revise { .. } => Event::A31,
        FeedRequest::Merge(_) => Event::A40,
        FeedRequest::ChangeId(_) => Event::A47,
        FeedRequest::Link(..) => Event::A24,
        FeedRequest::Unlink(..) => Event::A37,
    };
    let header = Header {
        sending_application: Hd::named("CAUSEWAY"),
        sent: at.to_hl7().into(),
        control_id: number.to_string().into(),
        processing_id: "P".into(),
        version: "2.5".into(),
        ..Header::default()
    };
    let recorded = Dtm::lenient(&at.to_hl7()).ok();
    Request { header, event, recorded, change: change.clone() }.encode(domains)
}

/// Whether a message says all of a change: PID has no place for some values.
pub fn is_whole(change: &FeedRequest, message: &[u8], domains: &Domains) -> bool {
    let read = Message::parse(message, &Limits::default())
        .ok()
        .and_then(|message| Request::decode(&message, domains, &feed_v2::Rules::default()).ok());
    read.is_some_and(|read| read.change == *change)
}
