//! Configuration: the file as the operator wrote it, and the settings that the program uses.
//!
//! `file` has a documented field for every key, `settings` what becomes of them, `value_sets` the codes of an affinity
//! domain, `check` what can be found out before the first connection. All problems come at once, each with file, line,
//! key and remedy. This is the one place that reads the environment.

pub mod check;
mod clients;
mod delivery;
mod documents;
pub mod file;
pub mod settings;
pub mod value_sets;

use std::fs;
use std::path::Path;

pub use file::{File, LogFormat, LogLevel};
pub use settings::Settings;

use crate::directory::{Problem, Problems};

/// What the environment says instead of the file, so that one file serves in several containers.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `CAUSEWAY_LISTEN`: `listen.https`.
    pub listen: Option<String>,
    /// `CAUSEWAY_STORE`: `store.folder`.
    pub store: Option<String>,
    /// `CAUSEWAY_LOG`: `log.level`.
    pub log: Option<String>,
}

impl Overrides {
    /// What the environment says now.
    pub fn from_environment() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { listen: variable("CAUSEWAY_LISTEN"), store: variable("CAUSEWAY_STORE"), log: variable("CAUSEWAY_LOG") }
    }
}

/// Reads a configuration file and the environment.
pub fn load(path: &Path) -> Result<Settings, Vec<Problem>> {
    match fs::read_to_string(path) {
        Ok(text) => read(path, &text, &Overrides::from_environment()),
        Err(error) => Err(vec![Problem {
            file: path.to_owned(),
            line: None,
            key: String::new(),
            text: format!("cannot be read: {error}"),
            remedy: "give the path of a configuration file that the gateway's user may read".into(),
        }]),
    }
}

/// Reads the text of a configuration file; its path gives the folder that other paths are relative to.
pub fn read(path: &Path, text: &str, overrides: &Overrides) -> Result<Settings, Vec<Problem>> {
    let (mut file, mut problems) = Problems::read::<File>(path, text);
    if let Some(listen) = &overrides.listen {
        file.listen.https.clone_from(listen);
    }
    if let Some(store) = &overrides.store {
        file.store.folder.clone_from(store);
    }
    if let Some(log) = &overrides.log
        && let Some(level) = problems.parse("log.level", log, "set CAUSEWAY_LOG to error, warn, info, debug or trace")
    {
        file.log.level = level;
    }
    file.resolve(path.parent().unwrap_or(Path::new("")), problems)
}

#[cfg(test)]
mod tests;
