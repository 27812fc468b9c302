//! On-Demand Document Source: makes the documents of on-demand entries when they are retrieved (ITI TF-1: 10.1.1.7; ITI
//! TF-2: 3.43.4.2, 3.61). What makes them is a program of the operator's, run without a shell and without our environment.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use super::repository::keep_as_it_is;
use crate::ebxml::ErrorCode;
use crate::gateway::{Gateway, OnDemand};
use crate::id::{DocumentUniqueId, EntryUuid, PatientId, RepositoryId};
use crate::metadata::query::{Query, Selector};
use crate::metadata::{
    Association, AssociationKind, Availability, DocumentEntry, DocumentKind, Membership, Object, ObjectId, Submission,
    SubmissionSet,
};
use crate::storage::files::{FileError, Stored};

/// A document that was made for whoever asked.
pub struct Made {
    /// Its own id, which is never that of the entry (3.43.4.2.2).
    pub id: DocumentUniqueId,
    /// Where it was kept, if it was.
    pub repository: Option<RepositoryId>,
    /// Its bytes.
    pub content: Content,
}

/// Where the bytes of a document are that was made on demand.
pub enum Content {
    /// In the store, under a key.
    Kept(String),
    /// On their way; gone when they have been sent.
    Passing(Stored),
}

/// What the program is told on its standard input, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wanted<'e> {
    unique_id: &'e str,
    patient_id: Option<String>,
    source_patient_id: Option<&'e str>,
    mime_type: &'e str,
    format_code: Option<&'e str>,
    type_code: Option<&'e str>,
    language: Option<&'e str>,
}

type Refused = (ErrorCode, &'static str);

/// Makes the document of an entry.
pub async fn make(gateway: &Gateway, entry: &DocumentEntry) -> Result<Made, Refused> {
    let source = gateway.on_demand.as_ref();
    let source = source.ok_or((ErrorCode::XdsRepositoryError, "nothing here makes documents on demand"))?;
    let mut stored = run(gateway, source, entry).await.map_err(|failure| {
        tracing::error!(%failure, "a document could not be made on demand");
        (ErrorCode::XdsRepositoryError, "the document could not be made")
    })?;
    if !source.persist {
        return Ok(Made { id: fresh_id()?, repository: None, content: Content::Passing(stored) });
    }
    // Somebody else may register a snapshot between our look and our write.
    for _ in 0..ATTEMPTS {
        let before = latest_snapshot(gateway, entry)?;
        if let Some(before) = &before
            && before.hash.as_ref() == Some(&stored.digests().sha1)
        {
            // 3.43.4.2.2: what has not changed is the document that it was.
            let made = Made {
                id: before.unique_id.clone(),
                repository: before.repository.clone(),
                content: Content::Kept(stored.digests().sha256.to_string()),
            };
            return Ok(made);
        }
        let key = stored.digests().sha256.to_string();
        let submission = snapshot(gateway, entry, before.as_ref())?;
        let id = submission.entries[0].unique_id.clone();
        match keep_as_it_is(gateway, submission, vec![("snapshot".into(), stored)]).await {
            Ok(kept) => {
                let repository = kept.entries.first().and_then(|entry| entry.repository.clone());
                let repository = repository.or_else(|| entry.repository.clone());
                return Ok(Made { id, repository, content: Content::Kept(key) });
            }
            Err(refused) => {
                tracing::warn!(%refused, "a document that was made on demand could not be registered");
                stored = run(gateway, source, entry).await.map_err(|failure| {
                    tracing::error!(%failure, "a document could not be made on demand");
                    (ErrorCode::XdsRepositoryError, "the document could not be made")
                })?;
            }
        }
    }
    Err((ErrorCode::XdsRepositoryError, "the document was made and could not be kept"))
}

const ATTEMPTS: usize = 3;

/// A UUID as an OID, which anybody may make (ITU-T X.667).
fn fresh_id() -> Result<DocumentUniqueId, Refused> {
    let number = u128::from_be_bytes(*EntryUuid::random().as_bytes());
    DocumentUniqueId::new(&format!("2.25.{number}"))
        .map_err(|_| (ErrorCode::XdsRepositoryError, "the document could not be named"))
}

/// The approved snapshot of an entry.
fn latest_snapshot(gateway: &Gateway, entry: &DocumentEntry) -> Result<Option<DocumentEntry>, Refused> {
    let query = Query::GetRelatedDocuments {
        document: Selector::Ids(vec![entry.id.clone()]),
        associations: vec![AssociationKind::IsSnapshotOf],
        kinds: vec![DocumentKind::Stable],
    };
    let found = gateway.documents.search(&gateway.tenant, &query, MOST_SNAPSHOTS).map_err(|error| {
        tracing::error!(%error, "the document registry could not be read");
        (ErrorCode::XdsRepositoryError, "the document registry could not be read")
    })?;
    let snapshots = found.into_iter().filter_map(|object| match object {
        Object::Document(it) if it.kind == DocumentKind::Stable => Some(*it),
        _ => None,
    });
    Ok(snapshots.filter(|it| it.availability == Some(Availability::Approved)).last())
}

const MOST_SNAPSHOTS: usize = 10_000;

/// The registration of a snapshot: a stable document of what the entry is of, in place of the one before.
fn snapshot(gateway: &Gateway, entry: &DocumentEntry, before: Option<&DocumentEntry>) -> Result<Submission, Refused> {
    let now = gateway.clock.now().to_dtm().parse().ok();
    let document = DocumentEntry {
        id: "snapshot".into(),
        logical_id: None,
        version: None,
        availability: None,
        kind: DocumentKind::Stable,
        unique_id: fresh_id()?,
        creation_time: now.clone(),
        ..entry.clone()
    };
    let mut set = SubmissionSet::new("set", fresh_id()?);
    set.patient_id.clone_from(&entry.patient_id);
    set.source_id = Some(gateway.community.repository.as_str().into());
    set.submission_time = now;
    set.content_type.clone_from(&entry.class_code);
    let link = |id: &str, kind: AssociationKind, source: &str, target: ObjectId| {
        Association::new(id, kind, source.into(), target)
    };
    let mut member = link("member", AssociationKind::HasMember, "set", "snapshot".into());
    member.membership = Some(Membership::Original);
    let mut associations =
        vec![member, link("snapshot-of", AssociationKind::IsSnapshotOf, "snapshot", entry.id.clone())];
    associations.extend(before.map(|before| link("replaces", AssociationKind::Replace, "snapshot", before.id.clone())));
    Ok(Submission { set, entries: vec![document], folders: Vec::new(), associations })
}

/// Why a program made no document. What it says itself is not looked at: it may name the patient.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the program could not be started")]
    Start(#[source] std::io::Error),
    #[error("the program did not end within {} seconds", .0.as_secs())]
    TooSlow(Duration),
    #[error("the program ended with {0}")]
    Ended(ExitStatus),
    #[error("the program wrote nothing")]
    Empty,
    #[error("the document is larger than {0} bytes")]
    TooLarge(u64),
    #[error("what the program writes could not be read")]
    Broken,
    #[error(transparent)]
    File(#[from] FileError),
}

/// A program that does not outlive whoever waits for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Errors say that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn run(gateway: &Gateway, source: &OnDemand, entry: &DocumentEntry) -> Result<Stored, Failure> {
    let wanted = Wanted {
        unique_id: entry.unique_id.as_str(),
        patient_id: entry.patient_id.as_ref().map(PatientId::to_cx),
        source_patient_id: entry.source_patient_id.as_ref().map(|cx| cx.as_str()),
        mime_type: &entry.mime_type,
        format_code: entry.format_code.as_ref().map(|code| code.code.as_str()),
        type_code: entry.type_code.as_ref().map(|code| code.code.as_str()),
        language: entry.language.as_deref(),
    };
    let question = serde_json::to_vec(&wanted).map_err(|_| Failure::Broken)?;
    let mut command = Command::new(&source.program);
    command.args(&source.arguments).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(command.spawn().map_err(Failure::Start)?);
    let (Some(stdin), Some(stdout)) = (running.0.stdin.take(), running.0.stdout.take()) else {
        return Err(Failure::Broken);
    };
    let (send, pieces) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || talk(stdin, &question, stdout, &send));
    let made = tokio::time::timeout(source.time, receive(gateway, &mut running, pieces)).await;
    made.unwrap_or(Err(Failure::TooSlow(source.time)))
}

/// Tells the program what is wanted and passes on what it writes, until it ends or nobody listens.
fn talk(mut stdin: impl Write, question: &[u8], mut stdout: impl Read, send: &mpsc::Sender<std::io::Result<Bytes>>) {
    // A program that does not read is one that does not need to.
    let _ = stdin.write_all(question);
    drop(stdin);
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = match stdout.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => Ok(Bytes::copy_from_slice(&piece[..count])),
            Err(error) => Err(error),
        };
        if send.blocking_send(read).is_err() {
            return;
        }
    }
}

async fn receive(
    gateway: &Gateway,
    running: &mut Running,
    mut pieces: mpsc::Receiver<std::io::Result<Bytes>>,
) -> Result<Stored, Failure> {
    let mut upload = gateway.files.upload(&gateway.tenant).await?;
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(|_| Failure::Broken)?;
        if upload.size() + piece.len() as u64 > gateway.limits.document {
            return Err(Failure::TooLarge(gateway.limits.document));
        }
        upload.write(&piece).await?;
    }
    let status = loop {
        match running.0.try_wait().map_err(|_| Failure::Broken)? {
            Some(status) => break status,
            None => tokio::time::sleep(POLL).await,
        }
    };
    match (status.success(), upload.size()) {
        (true, 0) => Err(Failure::Empty),
        // Half a document must not be taken for one.
        (false, _) => Err(Failure::Ended(status)),
        (true, _) => Ok(upload.finish().await?),
    }
}

/// How often a program that has closed its output is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);
