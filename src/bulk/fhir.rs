//! FHIR Patient resources: each on a line (NDJSON, the form of Bulk Data), or as entries of a Bundle of any length, whose
//! other entries are passed over.
//!
//! A record that was merged says so as in ITI-104: `active` is false, and a link `replaced-by` names the identifier that
//! is used instead. A link `seealso` with an identifier is the same person at another source.

use std::io::{Read, Seek};

use serde_json::Value;

use super::window::Window;
use super::{LONGEST, Piece, REJECTED, Rules, Told, Unread};
use crate::fhir::json::{self, Builder, Limits};
use crate::fhir::resource::{Identifier, Link, LinkKind, Patient, Reference};
use crate::id::{Domains, PatientId, Timestamp};
use crate::pix::feed_v2::{FeedRequest, Pair};
use crate::storage::identities::Place;

const LIMITS: Limits = Limits { bytes: LONGEST, depth: 64 };

/// Reads resources, each on a line.
pub struct LineReader<R> {
    window: Window<R>,
    rules: Rules,
}

impl<R: Read + Seek> LineReader<R> {
    pub(super) fn open(file: R, from: Place, rules: Rules) -> std::io::Result<Self> {
        Ok(Self { window: Window::open(file, from)?, rules })
    }

    pub(super) fn place(&self) -> Place {
        self.window.place(0)
    }

    pub(super) fn next(&mut self) -> std::io::Result<Option<Piece>> {
        let ends = |byte: u8| byte == b'\n';
        loop {
            self.window.skip(|byte| byte.is_ascii_whitespace())?;
            if !self.window.at_least(1)? {
                return Ok(None);
            }
            let (line, from) = (self.window.line(), self.window.offset());
            let length = self.window.line_length(LIMITS.bytes, ends)?;
            if length > LIMITS.bytes {
                self.window.skip_line(ends)?;
                let content = Err(Unread::TooLong(LIMITS.bytes));
                return Ok(Some(Piece { line, from, to: self.window.offset(), content }));
            }
            let text = &self.window.bytes()[..length];
            let content = (!text.starts_with(REJECTED)).then(|| decode(text, &self.rules));
            self.window.consume(length);
            if let Some(content) = content {
                return Ok(Some(Piece { line, from, to: from + length as u64, content }));
            }
        }
    }
}

/// Reads the entries of a Bundle.
pub struct BundleReader<R> {
    window: Window<R>,
    rules: Rules,
    at: At,
}

/// Where in the Bundle the reader is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum At {
    Start,
    Entries,
    End,
}

/// Follows JSON byte by byte: how deep, and whether inside a string.
#[derive(Clone, Copy, Default)]
struct Nesting {
    depth: u32,
    text: bool,
    escaped: bool,
}

impl Nesting {
    fn pass(&mut self, byte: u8) {
        if self.text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.text = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

impl<R: Read + Seek> BundleReader<R> {
    pub(super) fn open(file: R, from: Place, rules: Rules) -> std::io::Result<Self> {
        let at = match from.state {
            0 => At::Start,
            1 => At::Entries,
            _ => At::End,
        };
        Ok(Self { window: Window::open(file, from)?, rules, at })
    }

    pub(super) fn place(&self) -> Place {
        self.window.place(match self.at {
            At::Start => 0,
            At::Entries => 1,
            At::End => 2,
        })
    }

    pub(super) fn next(&mut self) -> std::io::Result<Option<Piece>> {
        if self.at == At::Start {
            match self.find_entries()? {
                Some(at) => self.at = at,
                None => return Ok(Some(self.cut_short())),
            }
        }
        if self.at == At::End {
            return Ok(None);
        }
        self.window.skip(|byte| byte.is_ascii_whitespace() || byte == b',')?;
        let (line, from) = (self.window.line(), self.window.offset());
        let content = match self.window.byte(0)? {
            Some(b'{') => match self.entry()? {
                Some(content) => content,
                None => return Ok(Some(self.cut_short())),
            },
            Some(b']') => return Ok(self.rest()?.then(|| self.cut_short())),
            None => return Ok(Some(self.cut_short())),
            // Without objects there is no telling where one entry ends and the next begins.
            Some(_) => {
                self.at = At::End;
                self.window.skip(|_| true)?;
                Err(Unread::Entry)
            }
        };
        Ok(Some(Piece { line, from, to: self.window.offset(), content }))
    }

    fn cut_short(&mut self) -> Piece {
        self.at = At::End;
        let (line, from) = (self.window.line(), self.window.offset());
        Piece { line, from, to: from, content: Err(Unread::CutShort) }
    }

    /// Moves behind the `[` of the Bundle's own member `entry`, or to the end of one that has none. None: the file ends
    /// before the Bundle does.
    fn find_entries(&mut self) -> std::io::Result<Option<At>> {
        let mut nesting = Nesting::default();
        let mut name = Vec::new();
        while let Some(byte) = self.window.byte(0)? {
            let before = nesting;
            nesting.pass(byte);
            self.window.consume(1);
            if nesting.depth == 1 && before.text && nesting.text && name.len() < 16 {
                name.push(byte);
            }
            match byte {
                b'[' if before.depth == 1 && !before.text && name == b"entry" => return Ok(Some(At::Entries)),
                b'"' if nesting.depth == 1 && nesting.text && !before.text => name.clear(),
                _ => {}
            }
            if nesting.depth == 0 && byte == b'}' && !before.text {
                self.window.skip(|_| true)?;
                return Ok(Some(At::End));
            }
        }
        Ok(None)
    }

    /// The entry in view; none if the file ends inside it.
    fn entry(&mut self) -> std::io::Result<Option<Result<Vec<Told>, Unread>>> {
        let (mut nesting, mut at, mut too_long) = (Nesting::default(), 0, false);
        loop {
            let Some(byte) = self.window.byte(at)? else { return Ok(None) };
            nesting.pass(byte);
            at += 1;
            if nesting.depth == 0 {
                break;
            }
            if at > LIMITS.bytes {
                too_long = true;
                self.window.consume(at);
                at = 0;
            }
        }
        let content = match self.window.bytes().get(..at) {
            Some(text) if !too_long => decode(text, &self.rules),
            _ => Err(Unread::TooLong(LIMITS.bytes)),
        };
        self.window.consume(at);
        Ok(Some(content))
    }

    /// Reads what follows the entries. True: the file ends before the Bundle does.
    fn rest(&mut self) -> std::io::Result<bool> {
        self.at = At::End;
        self.window.consume(1);
        let mut nesting = Nesting { depth: 1, ..Nesting::default() };
        while let Some(byte) = self.window.byte(0)? {
            nesting.pass(byte);
            self.window.consume(1);
        }
        Ok(nesting.depth > 0)
    }
}

/// A resource, or an entry of a Bundle with a resource in it.
fn decode(text: &[u8], rules: &Rules) -> Result<Vec<Told>, Unread> {
    let value = json::read(text, &LIMITS)?;
    let request = value.get("request").and_then(|request| json::text(request, "method"));
    if request == Some("DELETE") {
        return Err(Unread::Deletion);
    }
    let is_entry = json::resource_type(&value).is_empty();
    let resource = if is_entry { value.get("resource").unwrap_or(&Value::Null) } else { &value };
    if json::resource_type(resource) != "Patient" {
        // Everything else that a Bulk Data export has about patients is none of ours; a line of no resource is broken.
        return if json::resource_type(resource).is_empty() && !is_entry { Err(Unread::Entry) } else { Ok(Vec::new()) };
    }
    patient(resource, rules)
}

fn patient(resource: &Value, rules: &Rules) -> Result<Vec<Told>, Unread> {
    let patient = Patient::decode(resource)?;
    let (demographics, ids) = patient.sorted(&rules.domains);
    let Some(first) = ids.first().cloned() else { return Err(Unread::NoIdentifier) };
    let at = resource.get("meta").and_then(|meta| json::text(meta, "lastUpdated")).and_then(Timestamp::from_rfc3339);
    let told = |change| Told { at, ..Told::new(change) };
    let other = |reference: &Reference| reference.identifier.as_ref().and_then(Identifier::patient_id);
    if let Some(survivor) = patient.replaced_by() {
        let survivor = other(survivor).ok_or(Unread::Inactive)?;
        return Ok(vec![told(FeedRequest::Merge(vec![Pair { survivor, subsumed: first }]))]);
    }
    if patient.active == Some(false) {
        return Err(Unread::Inactive);
    }
    let links = patient.links.iter().filter(|link| link.kind == LinkKind::SeeAlso);
    let same: Vec<PatientId> =
        links.filter_map(|link| other(&link.other)).filter(|id| rules.domains.knows(id)).collect();
    let mut all = vec![told(FeedRequest::Add { ids, demographics: Box::new(demographics) })];
    all.extend(same.into_iter().map(|one| told(FeedRequest::Link(one, first.clone()))));
    Ok(all)
}

/// A change as a resource; none for what FHIR has no way to say: that two records are not of one person.
pub fn encode(change: &FeedRequest, at: Timestamp, domains: &Domains) -> Option<Vec<u8>> {
    let linked = |kind, to: &PatientId| Link {
        kind,
        other: Reference { reference: None, identifier: Some(Identifier::of(to, Some(domains))) },
    };
    let bare = |id: &PatientId, link| {
        let mut patient = Patient::new(Default::default(), std::slice::from_ref(id), Some(domains));
        patient.links.push(link);
        patient
    };
    let patient = match change {
        FeedRequest::Add { ids, demographics } => Patient::new((**demographics).clone(), ids, Some(domains)),
        FeedRequest::Merge(pairs) | FeedRequest::ChangeId(pairs) => {
            let pair = pairs.first()?;
            let mut patient = bare(&pair.subsumed, linked(LinkKind::ReplacedBy, &pair.survivor));
            patient.active = Some(false);
            patient
        }
        FeedRequest::Link(..) | FeedRequest::Revise { .. } | FeedRequest::Unlink(..) => return None,
    };
    Some(line(&patient, at))
}

/// A record that is of the same person as another identifier's.
pub fn encode_linked(change: &FeedRequest, to: &PatientId, at: Timestamp, domains: &Domains) -> Option<Vec<u8>> {
    let FeedRequest::Add { ids, demographics } = change else { return None };
    let mut patient = Patient::new((**demographics).clone(), ids, Some(domains));
    let identifier = Some(Identifier::of(to, Some(domains)));
    patient.links.push(Link { kind: LinkKind::SeeAlso, other: Reference { reference: None, identifier } });
    Some(line(&patient, at))
}

fn line(patient: &Patient, at: Timestamp) -> Vec<u8> {
    let mut value = patient.encode();
    if let Some(object) = value.as_object_mut() {
        object.insert("meta".into(), Builder::new().with("lastUpdated", at.to_rfc3339()).build());
    }
    let mut text = value.to_string().into_bytes();
    text.push(b'\n');
    text
}

/// The beginning of a Bundle that is written entry by entry, however many there are.
pub fn begin(now: Timestamp) -> Vec<u8> {
    let text = format!(r#"{{"resourceType":"Bundle","type":"collection","timestamp":"{}""#, now.to_rfc3339());
    text.into_bytes()
}

/// An entry of it, with the line that [`encode`] made. Its URL is a name that follows from the resource and its place.
pub fn entry(line: &[u8], number: u64) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[line, &number.to_be_bytes()].concat());
    let mut name = [0; 16];
    name.copy_from_slice(&digest.as_ref()[..16]);
    let name = uuid::Builder::from_random_bytes(name).into_uuid().urn().to_string();
    // FHIR has no empty lists, so the list begins with its first entry.
    let before = if number == 1 { ",\"entry\":[\n" } else { ",\n" };
    let mut text = format!(r#"{before}{{"fullUrl":"{name}","resource":"#).into_bytes();
    text.extend_from_slice(line.trim_ascii_end());
    text.push(b'}');
    text
}

/// The end of a Bundle of so many entries.
pub fn end(entries: u64) -> &'static [u8] {
    if entries == 0 { b"}\n" } else { b"\n]}\n" }
}

/// Whether a line says all of a change.
pub fn is_whole(change: &FeedRequest, line: &[u8], domains: &Domains) -> bool {
    let rules = Rules { domains: domains.clone(), ..Rules::default() };
    decode(line, &rules).is_ok_and(|told| told.first().is_some_and(|told| told.change == *change))
}
