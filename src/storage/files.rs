//! Document bytes, kept under their SHA-256: `documents/<tenant>/ab/cd/<sha256>`.
//!
//! Bytes stream in to `incoming/`, are made durable there, and move to their place when the metadata that names them is
//! about to be stored. Whatever a crash leaves without metadata, [`Files::sweep`] removes at the next start.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use bytes::Bytes;
use futures_util::Stream;
use smol_str::SmolStr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::seal::{Opening, Purpose, SealError, Sealer, Sealing};
use crate::id::Tenant;

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// Why document bytes could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// No space left where documents are kept.
    #[error("the disk is full")]
    DiskFull,
    /// There is no such document.
    #[error("there is no document with that hash")]
    NotFound,
    /// The bytes on the disk are not those that were stored.
    #[error("the stored document is damaged")]
    Damaged,
    /// The bytes cannot be opened.
    #[error("the stored document cannot be opened")]
    Sealed(#[source] SealError),
    /// The operating system refused.
    #[error("the document could not be read or written")]
    Io(#[source] io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::DiskFull,
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Io(error),
        }
    }
}

/// What is known of the bytes of a document once all have passed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Digests {
    /// SHA-1 in lower-case hexadecimal: `DocumentEntry.hash` (ITI TF-3: 4.2.3.2.10).
    pub sha1: SmolStr,
    /// SHA-256 in lower-case hexadecimal: where the bytes are kept.
    pub sha256: SmolStr,
    /// Length in bytes.
    pub size: u64,
}

/// The document store. Clones share it.
#[derive(Clone)]
pub struct Files(Arc<Place>);

struct Place {
    incoming: PathBuf,
    documents: PathBuf,
    sealer: Sealer,
    /// Held for reading from the publication of bytes until their metadata is stored, for writing while orphans go.
    settling: Arc<RwLock<()>>,
}

impl Place {
    fn path(&self, tenant: &Tenant, sha256: &str) -> Result<PathBuf, FileError> {
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hash {
            return Err(FileError::NotFound);
        }
        Ok(self.documents.join(tenant.as_str()).join(&sha256[..2]).join(&sha256[2..4]).join(sha256))
    }
}

impl Files {
    /// The store in a folder, which comes into being if need be.
    pub fn open(folder: &Path, sealer: Sealer) -> Result<Self, FileError> {
        let place = Place {
            incoming: folder.join("incoming"),
            documents: folder.join("documents"),
            sealer,
            settling: Arc::default(),
        };
        std::fs::create_dir_all(&place.incoming)?;
        std::fs::create_dir_all(&place.documents)?;
        sync_folder(folder)?;
        Ok(Self(Arc::new(place)))
    }

    /// Begins a document. Dropped before it is published, it leaves nothing.
    pub async fn upload(&self, tenant: &Tenant) -> Result<Upload, FileError> {
        let temporary = Temporary(Some(self.0.incoming.join(uuid::Uuid::new_v4().to_string())));
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(temporary.path()?).await?;
        Ok(Upload {
            place: self.0.clone(),
            tenant: tenant.clone(),
            temporary,
            file,
            sealing: self.0.sealer.sealing(tenant, Purpose::Document),
            sealed: Vec::new(),
            sha1: Context::new(&SHA1_FOR_LEGACY_USE_ONLY),
            sha256: Context::new(&SHA256),
            size: 0,
        })
    }

    /// A document's length, and its bytes as a stream.
    ///
    /// The hash is checked on the way. The last piece is held back until it is known to match, so that a damaged
    /// document is never delivered whole: the stream ends with [`FileError::Damaged`] instead.
    pub async fn read(
        &self,
        tenant: &Tenant,
        sha256: &str,
    ) -> Result<(u64, impl Stream<Item = Result<Bytes, FileError>> + Send + use<>), FileError> {
        let file = tokio::fs::File::open(self.0.path(tenant, sha256)?).await?;
        let length = self.0.sealer.plain_length(file.metadata().await?.len());
        Ok((length, checked(&self.0.sealer, tenant, file, sha256)))
    }

    /// To be held from the publication of documents until their metadata is stored or refused: until then nobody takes
    /// the bytes for orphans.
    pub async fn settling(&self) -> OwnedRwLockReadGuard<()> {
        self.0.settling.clone().read_owned().await
    }

    /// Removes those of the documents that no metadata names, once all that is being stored is stored. Returns how many.
    pub async fn remove_orphans(
        &self,
        tenant: &Tenant,
        documents: &[String],
        referenced: impl Fn(&str) -> bool,
    ) -> Result<usize, FileError> {
        let _alone = self.0.settling.write().await;
        let mut removed = 0;
        for sha256 in documents.iter().filter(|sha256| !referenced(sha256)) {
            self.remove(tenant, sha256).await?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Removes a document's bytes; no error if there are none. Ask first whether other metadata names them.
    pub async fn remove(&self, tenant: &Tenant, sha256: &str) -> Result<(), FileError> {
        match tokio::fs::remove_file(self.0.path(tenant, sha256)?).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Removes what a crash left: unfinished uploads, and bytes that no metadata names. Returns how many files.
    /// Only before anything is served: an upload under way would go too.
    pub fn sweep(&self, referenced: impl Fn(&Tenant, &str) -> bool) -> Result<usize, FileError> {
        let mut removed = 0;
        for file in entries(&self.0.incoming)? {
            std::fs::remove_file(file)?;
            removed += 1;
        }
        for folder in entries(&self.0.documents)? {
            let Some(tenant): Option<Tenant> =
                folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok())
            else {
                continue;
            };
            for file in entries(&folder)?.iter().map(|first| entries(first)).collect::<Result<Vec<_>, _>>()?.concat() {
                for file in entries(&file)? {
                    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    if !referenced(&tenant, name) {
                        std::fs::remove_file(&file)?;
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// A file that goes away unless it was moved to its place.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn path(&self) -> Result<&Path, FileError> {
        self.0.as_deref().ok_or(FileError::NotFound)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // If this fails, the next start sweeps it.
            drop(std::fs::remove_file(path));
        }
    }
}

/// A document on its way in.
pub struct Upload {
    place: Arc<Place>,
    tenant: Tenant,
    temporary: Temporary,
    file: tokio::fs::File,
    sealing: Sealing,
    sealed: Vec<u8>,
    sha1: Context,
    sha256: Context,
    size: u64,
}

impl Upload {
    /// The next bytes.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), FileError> {
        self.sha1.update(piece);
        self.sha256.update(piece);
        self.size += piece.len() as u64;
        self.sealed.clear();
        self.sealing.push(piece, &mut self.sealed);
        Ok(self.file.write_all(&self.sealed).await?)
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All bytes are here: makes them durable, still out of sight.
    pub async fn finish(mut self) -> Result<Stored, FileError> {
        self.sealed.clear();
        self.sealing.finish(&mut self.sealed);
        self.file.write_all(&self.sealed).await?;
        self.file.flush().await?;
        self.file.sync_all().await?;
        let hex = |hash: Context| SmolStr::from(hex::encode(hash.finish()));
        let digests = Digests { sha1: hex(self.sha1), sha256: hex(self.sha256), size: self.size };
        Ok(Stored { place: self.place, tenant: self.tenant, temporary: self.temporary, digests })
    }
}

/// A document that is durable and not yet published. Dropped, it goes away.
pub struct Stored {
    place: Arc<Place>,
    tenant: Tenant,
    temporary: Temporary,
    digests: Digests,
}

impl Stored {
    /// Hashes and length.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// The bytes, checked on the way like those of [`Files::read`].
    pub async fn read(&self) -> Result<impl Stream<Item = Result<Bytes, FileError>> + Send + use<>, FileError> {
        let file = tokio::fs::File::open(self.temporary.path()?).await?;
        Ok(checked(&self.place.sealer, &self.tenant, file, &self.digests.sha256))
    }

    /// Moves the bytes to their place, durably. Store the metadata right after: until then they are an orphan.
    pub async fn publish(mut self) -> Result<Digests, FileError> {
        let to = self.place.path(&self.tenant, &self.digests.sha256)?;
        let from = self.temporary.path()?.to_owned();
        let documents = self.place.documents.clone();
        // The same bytes may be there already: the move replaces them in one step, which also heals a damaged copy.
        let moved = tokio::task::spawn_blocking(move || {
            let folder = to.parent().unwrap_or(&documents);
            let new = !folder.is_dir();
            std::fs::create_dir_all(folder)?;
            std::fs::rename(&from, &to)?;
            sync_folder(folder)?;
            if new {
                for parent in folder.ancestors().skip(1).take_while(|parent| parent.starts_with(&documents)) {
                    sync_folder(parent)?;
                }
            }
            Ok::<_, io::Error>(())
        });
        moved.await.map_err(|error| FileError::Io(io::Error::other(error)))??;
        self.temporary.0 = None;
        Ok(self.digests.clone())
    }
}

/// The plain bytes of a sealed file; the last piece comes when all of them are known to have the hash.
fn checked(
    sealer: &Sealer,
    tenant: &Tenant,
    file: tokio::fs::File,
    sha256: &str,
) -> impl Stream<Item = Result<Bytes, FileError>> + Send + use<> {
    let reader = Reader {
        file,
        opening: Some(sealer.opening(tenant, Purpose::Document)),
        hash: Some(Context::new(&SHA256)),
        expected: sha256.to_owned(),
        held: Bytes::new(),
    };
    futures_util::stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some((piece, true))) => Some((Ok(piece), Some(reader))),
            Ok(Some((piece, false))) => Some((Ok(piece), None)),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

struct Reader {
    file: tokio::fs::File,
    opening: Option<Opening>,
    hash: Option<Context>,
    expected: String,
    held: Bytes,
}

impl Reader {
    /// The next piece, and whether another follows.
    async fn next(&mut self) -> Result<Option<(Bytes, bool)>, FileError> {
        loop {
            let mut sealed = vec![0; CHUNK];
            let count = self.file.read(&mut sealed).await?;
            if count == 0 {
                self.opening.take().map_or(Ok(()), Opening::finish).map_err(FileError::Sealed)?;
                let hash = self.hash.take().map(|hash| hex::encode(hash.finish())).unwrap_or_default();
                if hash != self.expected {
                    return Err(FileError::Damaged);
                }
                let last = std::mem::take(&mut self.held);
                return Ok((!last.is_empty()).then_some((last, false)));
            }
            let mut plain = Vec::with_capacity(count);
            if let Some(opening) = &mut self.opening {
                opening.push(&sealed[..count], &mut plain).map_err(FileError::Sealed)?;
            }
            if let Some(hash) = &mut self.hash {
                hash.update(&plain);
            }
            let piece = std::mem::replace(&mut self.held, plain.into());
            if !piece.is_empty() {
                return Ok(Some((piece, true)));
            }
        }
    }
}
