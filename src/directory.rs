//! Partners: who they are, where they answer, what is particular about them.
//!
//! Each partner is a file, `partners/<key>.toml` (`partner`, `quirks`). `resolve` answers the two questions of every
//! exchange: where does a request for this community go, and which partner made this assertion. The whole directory is
//! one snapshot that is swapped when files change; a reading with problems changes nothing (specification NET-17).

pub mod partner;
pub mod problem;
pub mod quirks;
pub mod resolve;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use smol_str::SmolStr;

pub use partner::{File, Fingerprint, Member, NetworkKind, Partner, ServiceUrl};
pub use problem::{Problem, Problems};
pub use quirks::Quirks;
pub use resolve::{CallerError, ResolveError, Route, Snapshot, Via};

use crate::id::{HomeCommunityId, Transaction};

/// How many communities that partners named in answers are remembered.
const LEARNT: u64 = 100_000;

/// The directory in use.
#[derive(Debug)]
pub struct Directory {
    snapshot: ArcSwap<Snapshot>,
    learnt: Cache<HomeCommunityId, SmolStr>,
}

impl Directory {
    /// A directory of these partners.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: ArcSwap::from_pointee(snapshot), learnt: Cache::new(LEARNT) }
    }

    /// The partners as they are now. One request uses one snapshot to its end.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Reads the folder again and takes what it finds, if nothing is wrong with it. Gives the number of partners.
    pub fn reload(&self, folder: &Path) -> Result<usize, Vec<Problem>> {
        let (snapshot, problems) = load(folder);
        if !problems.is_empty() {
            return Err(problems);
        }
        let partners = snapshot.partners().count();
        self.replace(snapshot);
        Ok(partners)
    }

    /// Takes another snapshot.
    pub fn replace(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Remembers that a partner named a community in its answer (ITI-55 custodian, `home` of a document), so that
    /// later requests for it go the same way. A community that a file names is not learnt: no answer re-routes it.
    pub fn learn(&self, home: &HomeCommunityId, from: &Partner) -> bool {
        let snapshot = self.snapshot.load();
        if snapshot.lists(home) {
            return false;
        }
        // The first to name a community keeps it as long as it is a partner.
        let kept = self.learnt.get(home).is_some_and(|key| key != from.key && snapshot.named(&key).is_some());
        if !kept {
            self.learnt.insert(home.clone(), from.key.clone());
        }
        !kept
    }

    /// Where to send a transaction for a community.
    pub fn resolve(&self, home: &HomeCommunityId, transaction: Transaction) -> Result<Route, ResolveError> {
        self.snapshot.load().resolve(home, transaction, self.learnt.get(home).as_ref())
    }
}

/// Reads every `*.toml` of a folder, in order of name, with the problems of all of them. Files that begin with a dot
/// are left alone.
pub fn load(folder: &Path) -> (Snapshot, Vec<Problem>) {
    let (partners, mut problems) = read_folder(folder);
    let (snapshot, clashes) = Snapshot::new(partners);
    problems.extend(clashes.into_iter().map(|clash| {
        let file = folder.join(&clash.file);
        let text = fs::read_to_string(&file).unwrap_or_default();
        let line = Problems::read::<File>(&file, &text).1.line(&clash.key);
        Problem { file, line, ..clash }
    }));
    (snapshot, problems)
}

fn read_folder(folder: &Path) -> (Vec<Partner>, Vec<Problem>) {
    let unreadable = |path: &Path, error: std::io::Error| Problem {
        file: path.to_owned(),
        line: None,
        key: String::new(),
        text: format!("cannot be read: {error}"),
        remedy: "check that it exists and that the gateway's user may read it".into(),
    };
    let mut files: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
        Err(error) => return (Vec::new(), vec![unreadable(folder, error)]),
    };
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml") && stem(path).is_some());
    files.sort();
    let (mut partners, mut problems) = (Vec::with_capacity(files.len()), Vec::new());
    for path in files {
        match fs::read_to_string(&path) {
            Ok(text) => {
                let (partner, told) = read(&path, &text);
                partners.extend(partner);
                problems.extend(told);
            }
            Err(error) => problems.push(unreadable(&path, error)),
        }
    }
    (partners, problems)
}

/// Reads one partner's file; `path` gives its key.
pub fn read(path: &Path, text: &str) -> (Option<Partner>, Vec<Problem>) {
    let (file, mut problems) = Problems::read::<File>(path, text);
    let partner = file.resolve(stem(path).unwrap_or_default(), &mut problems);
    (partner, problems.into_list())
}

fn stem(path: &Path) -> Option<&str> {
    path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| !stem.starts_with('.'))
}

#[cfg(test)]
mod tests;
