//! A recipient's inbox: a folder for each submission, with its documents, its metadata and a manifest. Somebody else
//! empties it, so a folder is there whole or not at all: it is written beside the others under a name that begins with
//! a dot, made durable, and renamed.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::parcel::Parcel;
use crate::gateway::Gateway;
use crate::metadata::DocumentEntry;
use crate::storage::deliveries::Delivery;
use crate::storage::files::FileError;
use crate::xds::register;

/// Why a submission is not in the inbox yet.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The folder.
    #[error("the inbox cannot be written: {0}")]
    Io(#[from] io::Error),
    /// A document.
    #[error("a document could not be read: {0}")]
    File(#[from] FileError),
    /// A document that belongs to no entry, which cannot be.
    #[error("the submission is damaged")]
    Damaged,
}

/// `manifest.json`: what a program that empties the inbox needs to know.
#[derive(Serialize)]
struct Manifest<'p> {
    /// The delivery, the same in every copy.
    delivery: &'p str,
    received: String,
    sender: &'p str,
    submission: &'p str,
    patient: Option<String>,
    intended_recipients: Vec<&'p str>,
    documents: Vec<Listed<'p>>,
}

/// A document of the manifest.
#[derive(Serialize)]
struct Listed<'p> {
    file: String,
    unique_id: &'p str,
    mime_type: &'p str,
    title: Option<&'p str>,
    size: u64,
    sha256: &'p str,
}

/// The name of a delivery's folder: the same at every attempt.
fn name(delivery: &Delivery) -> String {
    format!("{}-{}", delivery.at.to_dtm(), delivery.id.get(..12).unwrap_or(&delivery.id))
}

/// Puts a submission into an inbox, unless it is there from an attempt whose end was not kept.
pub async fn put(gateway: &Gateway, inbox: &Path, delivery: &Delivery, parcel: &Parcel) -> Result<PathBuf, InboxError> {
    let place = inbox.join(name(delivery));
    if tokio::fs::try_exists(&place).await? {
        return Ok(place);
    }
    let draft = inbox.join(format!(".{}", name(delivery)));
    // What an attempt left that was cut off.
    match tokio::fs::remove_dir_all(&draft).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    tokio::fs::create_dir_all(inbox).await?;
    let mut folder = tokio::fs::DirBuilder::new();
    folder.mode(0o700).create(&draft).await?;
    let written = fill(gateway, &draft, delivery, parcel).await;
    if let Err(error) = written {
        // The next attempt removes it otherwise.
        drop(tokio::fs::remove_dir_all(&draft).await);
        return Err(error);
    }
    sync(&draft).await?;
    tokio::fs::rename(&draft, &place).await?;
    sync(inbox).await?;
    Ok(place)
}

async fn fill(gateway: &Gateway, folder: &Path, delivery: &Delivery, parcel: &Parcel) -> Result<(), InboxError> {
    let mut documents = Vec::with_capacity(parcel.documents.len());
    for (at, document) in parcel.documents.iter().enumerate() {
        let entry = parcel.submission.entries.iter().find(|entry| entry.id == document.entry);
        let entry = entry.ok_or(InboxError::Damaged)?;
        let file = format!("document{}.{}", at + 1, ending(entry));
        let (_, content) = gateway.files.read(&gateway.tenant, &document.sha256).await?;
        let mut content = std::pin::pin!(content);
        let mut writing = create(&folder.join(&file)).await?;
        while let Some(piece) = content.next().await {
            writing.write_all(&piece?).await?;
        }
        finish(writing).await?;
        documents.push(Listed {
            file,
            unique_id: entry.unique_id.as_str(),
            mime_type: &entry.mime_type,
            title: entry.title.as_deref(),
            size: document.size,
            sha256: &document.sha256,
        });
    }
    let set = &parcel.submission.set;
    let manifest = Manifest {
        delivery: &delivery.id,
        received: delivery.at.to_rfc3339(),
        sender: &parcel.sender,
        submission: set.unique_id.as_str(),
        patient: set.patient_id.as_ref().map(crate::id::PatientId::to_cx),
        intended_recipients: set.intended_recipients.iter().map(smol_str::SmolStr::as_str).collect(),
        documents,
    };
    let metadata = register::Request { submission: parcel.submission.clone(), home: parcel.home.clone() }.encode();
    let manifest = serde_json::to_vec_pretty(&manifest).map_err(|_| InboxError::Damaged)?;
    for (file, content) in [("metadata.xml", metadata.into_bytes()), ("manifest.json", manifest)] {
        let mut writing = create(&folder.join(file)).await?;
        writing.write_all(&content).await?;
        finish(writing).await?;
    }
    Ok(())
}

async fn create(path: &Path) -> io::Result<tokio::fs::File> {
    tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await
}

async fn finish(mut file: tokio::fs::File) -> io::Result<()> {
    file.flush().await?;
    file.sync_all().await
}

async fn sync(folder: &Path) -> io::Result<()> {
    tokio::fs::File::open(folder).await?.sync_all().await
}

/// The ending of a document's file. Names never come from a message.
fn ending(entry: &DocumentEntry) -> &'static str {
    match entry.mime_type.as_str().split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/xml" | "application/xml" | "application/hl7-v3+xml" => "xml",
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        "text/html" => "html",
        "application/fhir+json" | "application/json" => "json",
        "application/fhir+xml" => "fhir.xml",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/tiff" => "tif",
        "application/dicom" => "dcm",
        "application/zip" => "zip",
        _ => "bin",
    }
}
