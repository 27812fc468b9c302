//! Writes all patients into a file that an import can read: each record as its source told it, then what became of it.
//!
//! The pairs that are kept apart come first, so that whoever reads the file never links them; then each person: the
//! records, which of them are one person, which identifiers took the place of others. Imported without matching
//! (`--links told`) into an empty store, the file gives the same patients again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::import::Watch;
use super::{Format, Rules, csv, fhir, hl7v2};
use crate::atna::{AccessPoint, Event, Object, Occasion, Outcome, Participant};
use crate::gateway::Gateway;
use crate::id::{AssigningAuthority, PatientId, Timestamp, TraceId};
use crate::pix::feed_v2::{FeedRequest, Pair};
use crate::storage::engine::StoreError;
use crate::storage::identities::{Counts, Held, Person, PersonKey};

/// Persons that are read at a time.
const PAGE: usize = 1_000;

/// What is to be exported, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Request {
    /// Who does it.
    pub user: String,
    /// The file to write. It must not be there.
    pub file: PathBuf,
    /// Its form.
    pub format: Format,
    /// Only records of this domain, by its namespace or OID.
    pub domain: Option<String>,
}

/// What came of an export.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Persons.
    pub persons: u64,
    /// Records of sources.
    pub records: u64,
    /// Rows, messages or resources.
    pub written: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the file in hexadecimal.
    pub digest: String,
    /// Records that have values for which the form of file has no place.
    pub incomplete: u64,
    /// Pairs kept apart that are not in the file: FHIR has no way to say it, and an early version kept them unreadably.
    pub apart_not_told: u64,
}

/// Why nothing, or not everything, was exported. A file that is not whole is removed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No user.
    #[error("name the user who exports")]
    NoUser,
    /// `domain` names none.
    #[error("no domain is named {0}")]
    NoDomain(String),
    /// The file is there already.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The file could not be written.
    #[error("the file could not be written: {0}")]
    File(#[from] std::io::Error),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The audit trail failed: nothing is done that is not recorded.
    #[error("this cannot be recorded at the moment")]
    Audit,
    /// The user wants no more.
    #[error("stopped by the user; the file is removed")]
    Stopped,
}

/// Exports all patients. What was known when it began is written; what comes meanwhile may be or not.
pub async fn run(gateway: &Arc<Gateway>, request: &Request, watch: &Watch) -> Result<Report, ExportError> {
    if request.user.trim().is_empty() {
        return Err(ExportError::NoUser);
    }
    let only = match &request.domain {
        Some(name) => Some(authority(gateway, name).ok_or_else(|| ExportError::NoDomain(name.clone()))?),
        None => None,
    };
    let trace = TraceId::new();
    // Recorded before the first byte leaves: an export that nobody knows of must not be.
    record(gateway, request, trace, &Report::default(), "begun", None).await?;
    let (own, request_, watch) = (gateway.clone(), request.clone(), watch.clone());
    let done = tokio::task::spawn_blocking(move || write(&own, &request_, only.as_ref(), &watch)).await;
    let done = done.unwrap_or_else(|_| Err(ExportError::File(std::io::Error::other("the export failed"))));
    match &done {
        Ok(report) => record(gateway, request, trace, report, "ended", None).await?,
        Err(error) => {
            record(gateway, request, trace, &Report::default(), "interrupted", Some(error.to_string())).await?;
        }
    }
    done
}

fn authority(gateway: &Gateway, name: &str) -> Option<AssigningAuthority> {
    let is = |domain: &&crate::id::Domain| domain.namespace == name || domain.authority.universal_id() == name;
    gateway.domains.iter().find(is).map(|domain| domain.authority.clone())
}

async fn record(
    gateway: &Gateway,
    request: &Request,
    trace: TraceId,
    report: &Report,
    moment: &str,
    reason: Option<String>,
) -> Result<(), ExportError> {
    let host = AccessPoint::of_host(crate::pipeline::soap::host(&gateway.community.public_url));
    let person =
        Participant { user_id: request.user.as_str().into(), access_point: Some(host), ..Participant::default() };
    let occasion = Occasion { at: gateway.clock.now(), trace, tenant: gateway.tenant.clone() };
    let file = Object::patient_file(&format!("urn:trace:{trace}"))
        .detail("Sha256", &report.digest)
        .detail("Moment", moment)
        .detail("Format", request.format.name())
        .detail("Persons", &report.persons.to_string())
        .detail("Records", &report.records.to_string());
    let mut event = Event::patients_exported(occasion, "causeway", person, file);
    if reason.is_some() {
        event = event.outcome(Outcome::SeriousFailure, reason);
    }
    gateway.audit.record(event).await.map(drop).map_err(|_| ExportError::Audit)
}

fn write(
    gateway: &Gateway,
    request: &Request,
    only: Option<&AssigningAuthority>,
    watch: &Watch,
) -> Result<Report, ExportError> {
    let file = match File::options().write(true).create_new(true).mode(0o600).open(&request.file) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(ExportError::Exists(request.file.clone()));
        }
        file => file?,
    };
    let mut export = Export {
        rules: Rules { domains: gateway.domains.clone(), ..Rules::default() },
        format: request.format,
        out: BufWriter::with_capacity(1 << 20, file),
        digest: Context::new(&SHA256),
        report: Report::default(),
    };
    let done = everything(gateway, &mut export, only, watch).and_then(|()| export.finish());
    if done.is_err() {
        remove(&request.file);
    }
    done
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, "a file that is not whole could not be removed");
    }
}

fn everything(
    gateway: &Gateway,
    export: &mut Export,
    only: Option<&AssigningAuthority>,
    watch: &Watch,
) -> Result<(), ExportError> {
    let (identities, tenant) = (&gateway.identities, &gateway.tenant);
    let now = gateway.clock.now();
    let (size, _) = identities.counts()?;
    export.begin(now)?;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let apart = identities.apart(tenant, after.as_deref(), PAGE)?;
        export.report.apart_not_told += apart.unreadable;
        for (a, b, at) in apart.pairs {
            if only.is_none_or(|only| a.authority() == only && b.authority() == only) {
                export.change(&FeedRequest::Unlink(a, b), at)?;
            }
        }
        match apart.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let mut after: Option<PersonKey> = None;
    loop {
        let people = identities.people(tenant, after, PAGE)?;
        let Some(last) = people.last().map(|person| person.key) else { break };
        for person in people {
            if let Some(person) = part(person, only) {
                export.person(&person)?;
            }
        }
        after = Some(last);
        if watch.stop.is_cancelled() {
            return Err(ExportError::Stopped);
        }
        let counts = Counts { read: export.report.records, ..Counts::default() };
        (watch.progress)(super::import::Progress { done: export.report.persons, size, counts });
    }
    export.end()
}

/// The records of a person that have identifiers of a domain, with those identifiers alone.
fn part(mut person: Person, only: Option<&AssigningAuthority>) -> Option<Person> {
    if let Some(only) = only {
        for record in &mut person.records {
            record.ids.retain(|held| held.id.authority() == only);
        }
        person.records.retain(|record| !record.ids.is_empty());
    }
    (!person.records.is_empty()).then_some(person)
}

struct Export {
    rules: Rules,
    format: Format,
    out: BufWriter<File>,
    digest: Context,
    report: Report,
}

impl Export {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.digest.update(bytes);
        self.report.bytes += bytes.len() as u64;
        Ok(self.out.write_all(bytes)?)
    }

    fn begin(&mut self, now: Timestamp) -> Result<(), ExportError> {
        match self.format {
            Format::Csv => self.write(&csv::heading()),
            Format::Hl7v2 => self.write(&hl7v2::begin(now)),
            Format::FhirBundle => self.write(&fhir::begin(now)),
            Format::Ndjson => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), ExportError> {
        match self.format {
            Format::Hl7v2 => self.write(&hl7v2::end(self.report.written)),
            Format::FhirBundle => self.write(fhir::end(self.report.written)),
            Format::Csv | Format::Ndjson => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Report, ExportError> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        self.report.digest = hex::encode(self.digest.finish().as_ref());
        Ok(self.report)
    }

    fn person(&mut self, person: &Person) -> Result<(), ExportError> {
        self.report.persons += 1;
        let mut first: Option<PatientId> = None;
        for record in &person.records {
            let ids = originals(&record.ids);
            let Some(primary) = ids.first().cloned() else { continue };
            self.report.records += 1;
            let change = FeedRequest::Add { ids, demographics: Box::new(record.demographics.clone()) };
            self.record(&change, first.as_ref(), record.updated)?;
            first.get_or_insert(primary);
        }
        for (pair, renamed, at) in replacements(person) {
            let change = if renamed { FeedRequest::ChangeId(vec![pair]) } else { FeedRequest::Merge(vec![pair]) };
            self.change(&change, at)?;
        }
        Ok(())
    }

    /// A record, and that it is of the same person as the first one.
    fn record(&mut self, change: &FeedRequest, first: Option<&PatientId>, at: Timestamp) -> Result<(), ExportError> {
        let FeedRequest::Add { ids, .. } = change else { return Ok(()) };
        match (self.format, first) {
            (Format::Ndjson | Format::FhirBundle, Some(first)) => {
                let line = fhir::encode_linked(change, first, at, &self.rules.domains).unwrap_or_default();
                self.report.incomplete += u64::from(!fhir::is_whole(change, &line, &self.rules.domains));
                self.piece(&line)
            }
            _ => {
                self.change(change, at)?;
                match (first, ids.first()) {
                    (Some(first), Some(own)) => self.change(&FeedRequest::Link(first.clone(), own.clone()), at),
                    _ => Ok(()),
                }
            }
        }
    }

    fn change(&mut self, change: &FeedRequest, at: Timestamp) -> Result<(), ExportError> {
        let number = self.report.written + 1;
        let domains = &self.rules.domains;
        let bytes = match self.format {
            Format::Csv => csv::encode(change, at, &self.rules),
            Format::Hl7v2 => {
                let message = hl7v2::encode(change, number, at, domains);
                self.report.incomplete += u64::from(!hl7v2::is_whole(change, &message, domains));
                message
            }
            Format::FhirBundle | Format::Ndjson => match fhir::encode(change, at, domains) {
                Some(line) => {
                    if matches!(change, FeedRequest::Add { .. }) {
                        self.report.incomplete += u64::from(!fhir::is_whole(change, &line, domains));
                    }
                    line
                }
                None => {
                    self.report.apart_not_told += 1;
                    return Ok(());
                }
            },
        };
        self.piece(&bytes)
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.report.written += 1;
        match self.format {
            Format::FhirBundle => self.write(&fhir::entry(bytes, self.report.written)),
            Format::Csv | Format::Hl7v2 | Format::Ndjson => self.write(bytes),
        }
    }
}

/// Whether an identifier was put before another of its record to take its place (A47).
fn is_renaming(ids: &[Held], new: usize) -> bool {
    ids.get(new + 1).is_some_and(|old| old.replaced_by.as_ref() == ids.get(new).map(|held| &held.id))
}

/// The identifiers that a record came with.
fn originals(ids: &[Held]) -> Vec<PatientId> {
    (0..ids.len()).filter(|at| !is_renaming(ids, *at)).map(|at| ids[at].id.clone()).collect()
}

/// What replaced what, in an order in which it can have happened: nothing is replaced before all that it replaced.
/// With each, whether it was a change of identifier, and when the record was last told of.
fn replacements(person: &Person) -> Vec<(Pair, bool, Timestamp)> {
    let mut left: Vec<(Pair, bool, Timestamp)> = Vec::new();
    for record in &person.records {
        for (at, held) in record.ids.iter().enumerate() {
            let Some(survivor) = held.replaced_by.clone() else { continue };
            let renamed = at > 0 && is_renaming(&record.ids, at - 1);
            left.push((Pair { survivor, subsumed: held.id.clone() }, renamed, record.updated));
        }
    }
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let survivors: BTreeSet<PatientId> = left.iter().map(|(pair, ..)| pair.survivor.clone()).collect();
        let (ready, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(pair, ..)| !survivors.contains(&pair.subsumed));
        if ready.is_empty() {
            // A circle, which no sequence of changes makes; what is damaged is written as it is.
            ordered.extend(rest);
            break;
        }
        ordered.extend(ready);
        left = rest;
    }
    ordered
}
