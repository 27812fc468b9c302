//! Discover, query, retrieve: a patient's records from other communities, with an account of what happened with each
//! partner.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::{Errand, OperationError, Outcome, PatientSought};
use crate::directory::Partner;
use crate::gateway::Gateway;
use crate::id::{DocumentUniqueId, HomeCommunityId, RepositoryId, Timestamp, TraceId, Transaction as Iti};
use crate::metadata::{DocumentEntry, DocumentKind};
use crate::pipeline::outgoing::{Asked, Errands};
use crate::routing::fan_out::{Leg, State, without_quotes};
use crate::storage::files::Stored;
use crate::storage::traces::{Step, Trace};
use crate::xca::initiating_gateway::{self as xca, Target};
use crate::xca::retrieve::{DocumentId, RetrievedDocument};
use crate::xcpd::initiating_gateway::{self as xcpd, Found};

/// What happened.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Account {
    /// The name of the exchange, in every log, audit record and fault of it.
    pub trace: TraceId,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// Each partner's part, in the order of time.
    pub steps: Vec<Step>,
    /// Who knows the patient.
    pub matches: Vec<MatchAccount>,
    /// Their documents.
    pub documents: Vec<DocumentAccount>,
    /// Whether every partner that was asked gave a proper answer, so that nothing is missing for want of one.
    pub complete: bool,
}

/// A community that knows the patient.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MatchAccount {
    /// The community.
    pub home: HomeCommunityId,
    /// The partner through which it was found.
    pub partner: String,
    /// Its identifier of the patient.
    pub patient_id: String,
    /// How sure it is, 0 to 100.
    pub score: Option<u8>,
}

/// A document of another community.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DocumentAccount {
    /// The community that holds it.
    pub home: HomeCommunityId,
    /// The partner through which it was found.
    pub partner: String,
    /// The repository.
    pub repository: String,
    /// Its unique id.
    pub unique_id: String,
    /// Its title; empty if it has none.
    pub title: String,
    /// As the metadata says.
    pub mime_type: String,
    /// Made when it is asked for.
    pub on_demand: bool,
    /// When it was made.
    pub created: Option<String>,
    /// Its size in bytes, once it is here.
    pub size: Option<u64>,
    /// Where it is, once it is here.
    pub file: Option<PathBuf>,
    /// What is odd about it.
    pub note: Option<String>,
}

impl Account {
    fn new(gateway: &Gateway, errands: &Errands) -> Self {
        Self {
            trace: errands.trace,
            at: gateway.clock.now(),
            milliseconds: 0,
            steps: Vec::new(),
            matches: Vec::new(),
            documents: Vec::new(),
            complete: true,
        }
    }

    fn step<I: Asked, T>(
        &mut self,
        transaction: Iti,
        leg: &Leg<I, T>,
        results: impl FnOnce(&T) -> usize,
        note: Option<String>,
    ) {
        self.complete &= leg.state.is_complete() && note.is_none();
        let results = match &leg.state {
            State::Answered(value) => results(value),
            _ => 0,
        };
        self.steps.push(Step {
            transaction,
            partner: leg.partner.partner().key.clone(),
            state: serde_name(&leg.state),
            reason: leg.state.reason().map(str::to_owned).or(note),
            results,
            milliseconds: u64::try_from(leg.took.as_millis()).unwrap_or(u64::MAX),
        });
    }

    fn skipped(&mut self, transaction: Iti, partner: &str, reason: String) {
        self.complete = false;
        let step = Step {
            transaction,
            partner: partner.into(),
            state: "skipped".into(),
            reason: Some(reason),
            results: 0,
            milliseconds: 0,
        };
        self.steps.push(step);
    }

    async fn finish(mut self, gateway: &Gateway, purpose: &str, started: Instant) -> Result<Outcome, OperationError> {
        self.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // What partners say in their own words may name the patient: the user is told, the trace is not.
        let steps =
            self.steps.iter().map(|step| Step { reason: step.reason.as_deref().map(without_quotes), ..step.clone() });
        let trace = Trace { id: self.trace, at: self.at, purpose: purpose.into(), steps: steps.collect() };
        if let Err(error) = gateway.traces.keep(&trace).await {
            tracing::warn!(%error, trace = %self.trace, "the trace of an exchange could not be kept");
        }
        Ok(Outcome::Account(self))
    }
}

fn serde_name<T>(state: &State<T>) -> smol_str::SmolStr {
    state.name().to_string().replace(' ', "-").into()
}

/// Asks partners whether they know a patient.
pub async fn discover(
    gateway: &Arc<Gateway>,
    errand: &Errand,
    patient: &PatientSought,
) -> Result<Outcome, OperationError> {
    let started = Instant::now();
    let errands = errand.prepare(gateway)?;
    let mut account = Account::new(gateway, &errands);
    find(gateway, errand, &errands, patient, &mut account).await?;
    account.finish(gateway, "discover", started).await
}

/// Asks those who know the patient for their documents.
pub async fn query(
    gateway: &Arc<Gateway>,
    errand: &Errand,
    patient: &PatientSought,
) -> Result<Outcome, OperationError> {
    let started = Instant::now();
    let errands = errand.prepare(gateway)?;
    let mut account = Account::new(gateway, &errands);
    let targets = find(gateway, errand, &errands, patient, &mut account).await?;
    list(gateway, &errands, targets, &mut account).await?;
    account.finish(gateway, "query", started).await
}

/// Brings a patient's documents home.
pub async fn fetch(
    gateway: &Arc<Gateway>,
    errand: &Errand,
    patient: &PatientSought,
    out: &Path,
) -> Result<Outcome, OperationError> {
    let started = Instant::now();
    let errands = errand.prepare(gateway)?;
    let mut account = Account::new(gateway, &errands);
    let targets = find(gateway, errand, &errands, patient, &mut account).await?;
    let listed = list(gateway, &errands, targets, &mut account).await?;
    let wanted = listed.iter().filter_map(|(at, entry, partner)| {
        let id = document_id(entry, partner)?;
        Some((*at, id, Some(entry), partner.clone()))
    });
    bring(gateway, &errands, wanted.collect(), out, &mut account).await?;
    account.finish(gateway, "fetch", started).await
}

/// Brings named documents home.
pub async fn retrieve(
    gateway: &Arc<Gateway>,
    errand: &Errand,
    home: &HomeCommunityId,
    repository: &str,
    documents: &[String],
    out: &Path,
) -> Result<Outcome, OperationError> {
    let started = Instant::now();
    let errands = errand.prepare(gateway)?;
    let mut account = Account::new(gateway, &errands);
    let route = gateway.directory.resolve(home, Iti::Iti39).map_err(OperationError::new)?;
    let repository = RepositoryId::new(repository).map_err(OperationError::new)?;
    let mut wanted = Vec::new();
    for document in documents {
        let document = DocumentUniqueId::new(document).map_err(OperationError::new)?;
        account.documents.push(DocumentAccount {
            home: home.clone(),
            partner: route.partner.key.to_string(),
            repository: repository.to_string(),
            unique_id: document.to_string(),
            title: String::new(),
            mime_type: String::new(),
            on_demand: false,
            created: None,
            size: None,
            file: None,
            note: None,
        });
        let id = DocumentId { home: Some(home.clone()), repository: repository.clone(), document };
        wanted.push((account.documents.len() - 1, id, None, route.partner.clone()));
    }
    bring(gateway, &errands, wanted, out, &mut account).await?;
    account.finish(gateway, "retrieve", started).await
}

async fn find(
    gateway: &Arc<Gateway>,
    errand: &Errand,
    errands: &Errands,
    patient: &PatientSought,
    account: &mut Account,
) -> Result<Vec<Target>, OperationError> {
    let sought = patient.find(gateway)?;
    let partners = partners(gateway, errand)?;
    let legs = xcpd::discover(gateway, errands, &sought, partners).await.map_err(OperationError::new)?;
    let mut targets: Vec<Target> = Vec::new();
    for leg in &legs {
        account.step(Iti::Iti55, leg, Vec::len, None);
        let State::Answered(found) = &leg.state else { continue };
        for one in found {
            account.matches.push(MatchAccount {
                home: one.home.clone(),
                partner: leg.partner.key.to_string(),
                patient_id: one.patient_id.to_cx(),
                score: one.score,
            });
            // The same patient of the same community may be found through two partners.
            let is_known = targets.iter().any(|t| t.home == one.home && t.patient_id.as_ref() == Some(&one.patient_id));
            if !is_known {
                targets.push(target(gateway, one, &leg.partner, account));
            }
        }
    }
    Ok(targets)
}

/// Where a community's documents are asked for: at its own address if it is a partner, else at the partner that
/// named it.
fn target(gateway: &Gateway, found: &Found, through: &Arc<Partner>, account: &mut Account) -> Target {
    let partner = match gateway.directory.resolve(&found.home, Iti::Iti38) {
        Ok(route) => route.partner,
        Err(error) => {
            tracing::debug!(%error, home = %found.home, trace = %account.trace, "asking the partner that named the community");
            through.clone()
        }
    };
    Target { home: found.home.clone(), patient_id: Some(found.patient_id.clone()), partner }
}

fn partners(gateway: &Gateway, errand: &Errand) -> Result<Vec<Arc<Partner>>, OperationError> {
    let directory = gateway.directory.snapshot();
    if errand.partners.is_empty() {
        let all = directory.responders(Iti::Iti55);
        return if all.is_empty() { Err(OperationError::new("no partner answers patient discovery")) } else { Ok(all) };
    }
    let named = errand.partners.iter().map(|name| {
        let partner = directory.named(name).cloned();
        partner.ok_or_else(|| {
            let known: Vec<&str> = directory.partners().map(|one| one.key.as_str()).collect();
            OperationError(format!("there is no partner named {name}; the directory has {}", known.join(", ")))
        })
    });
    named.collect()
}

async fn list(
    gateway: &Arc<Gateway>,
    errands: &Errands,
    targets: Vec<Target>,
    account: &mut Account,
) -> Result<Vec<(usize, DocumentEntry, Arc<Partner>)>, OperationError> {
    let legs = xca::query(gateway, errands, targets).await.map_err(OperationError::new)?;
    let mut listed = Vec::new();
    for leg in legs {
        let note = match &leg.state {
            State::Answered(answer) if !answer.notes.is_empty() => Some(answer.notes.join("; ")),
            _ => None,
        };
        account.step(Iti::Iti38, &leg, |answer| answer.documents.len(), note);
        let State::Answered(answer) = leg.state else { continue };
        for entry in answer.documents {
            let home = entry.home.clone().unwrap_or_else(|| leg.partner.home.clone());
            account.documents.push(described(&entry, &home, &leg.partner.partner));
            // The home of each entry decides where its document is fetched.
            match gateway.directory.resolve(&home, Iti::Iti39) {
                Ok(route) => listed.push((account.documents.len() - 1, entry, route.partner)),
                Err(_) if home == leg.partner.home => {
                    listed.push((account.documents.len() - 1, entry, leg.partner.partner.clone()));
                }
                Err(error) => account.skipped(Iti::Iti39, &leg.partner.partner.key, error.to_string()),
            }
        }
    }
    Ok(listed)
}

fn described(entry: &DocumentEntry, home: &HomeCommunityId, partner: &Partner) -> DocumentAccount {
    DocumentAccount {
        home: home.clone(),
        partner: partner.key.to_string(),
        repository: entry.repository.as_ref().map(ToString::to_string).unwrap_or_default(),
        unique_id: entry.unique_id.to_string(),
        title: entry.title.as_deref().unwrap_or_default().to_owned(),
        mime_type: entry.mime_type.to_string(),
        on_demand: entry.kind == DocumentKind::OnDemand,
        created: entry.creation_time.as_ref().map(|time| time.as_str().to_owned()),
        size: None,
        file: None,
        note: None,
    }
}

/// The names to fetch a document by. An entry without a repository is in one called like its community.
fn document_id(entry: &DocumentEntry, partner: &Partner) -> Option<DocumentId> {
    let home = entry.home.clone().unwrap_or_else(|| partner.home.clone());
    let repository = entry.repository.clone().unwrap_or_else(|| home.oid().clone().into());
    Some(DocumentId { home: Some(home), repository, document: entry.unique_id.clone() })
}

type Wanted<'e> = (usize, DocumentId, Option<&'e DocumentEntry>, Arc<Partner>);

async fn bring(
    gateway: &Arc<Gateway>,
    errands: &Errands,
    wanted: Vec<Wanted<'_>>,
    out: &Path,
    account: &mut Account,
) -> Result<(), OperationError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let batches = xca::batches(wanted.iter().map(|(_, id, _, partner)| (id.clone(), partner.clone())).collect());
    let legs = xca::retrieve(gateway, errands, batches).await.map_err(OperationError::new)?;
    for leg in legs.into_iter().map(xca::settled) {
        let note = match &leg.state {
            State::Answered(brought) if !brought.notes.is_empty() => Some(brought.notes.join("; ")),
            _ => None,
        };
        account.step(Iti::Iti39, &leg, |brought| brought.documents.len(), note);
        let State::Answered(brought) = leg.state else { continue };
        for (document, stored) in brought.documents {
            let found = wanted.iter().find(|(_, id, ..)| *id == document.id);
            let Some((at, _, entry, partner)) = found else { continue };
            let file = write(out, &partner.key, &document, &stored).await.map_err(|error| {
                OperationError(format!("a document could not be written to {}: {error}", out.display()))
            })?;
            let told = &mut account.documents[*at];
            told.size = Some(stored.digests().size);
            told.file = Some(file);
            // On-demand entries promise nothing.
            let stable = entry.filter(|entry| entry.kind == DocumentKind::Stable);
            told.note = stable.and_then(|entry| xca::contradiction(entry.hash.as_deref(), entry.size, &stored));
            if told.mime_type.is_empty() {
                told.mime_type = document.mime_type;
            }
        }
    }
    Ok(())
}

/// Writes a document into the partner's folder, under its unique id.
async fn write(
    out: &Path,
    partner: &str,
    document: &RetrievedDocument,
    stored: &Stored,
) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
    let folder = out.join(partner);
    tokio::fs::create_dir_all(&folder).await?;
    let path = folder.join(format!("{}.{}", file_name(&document.id.document), ending(&document.mime_type)));
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).await?;
    let mut pieces = std::pin::pin!(stored.read().await?);
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece?).await?;
    }
    file.sync_all().await?;
    Ok(path)
}

/// A unique id as the name of a file.
pub(super) fn file_name(id: &DocumentUniqueId) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    id.bare().chars().map(plain).take(120).collect::<String>().trim_start_matches('.').to_owned()
}

/// The usual ending of files of a media type.
pub(super) fn ending(mime_type: &str) -> &'static str {
    match mime_type.split(';').next().unwrap_or_default().trim() {
        "text/xml" | "application/xml" | "application/hl7-cda+xml" => "xml",
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        "text/html" => "html",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/tiff" => "tiff",
        "application/json" | "application/fhir+json" => "json",
        _ => "bin",
    }
}
