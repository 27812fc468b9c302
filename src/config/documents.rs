//! The settings of documents: what an import says of them, where others are kept, what makes them on demand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use smol_str::SmolStr;

use super::file;
use super::settings::{OID_REMEDY, some};
use crate::directory::Problems;
use crate::id::{Code, Oid, RepositoryId};

/// What the metadata of imported documents says where the documents say nothing.
#[derive(Clone, Debug)]
pub struct Import {
    /// classCode and typeCode of documents that are no clinical documents.
    pub class_code: Code,
    /// healthcareFacilityTypeCode
    pub facility_type: Code,
    /// practiceSettingCode
    pub practice_setting: Code,
    /// confidentialityCode
    pub confidentiality: Code,
    /// languageCode
    pub language: SmolStr,
}

/// The document registry and repository.
#[derive(Clone, Debug)]
pub struct Documents {
    /// File with the codes of the affinity domain.
    pub value_sets: Option<PathBuf>,
    /// What makes documents when they are retrieved.
    pub on_demand: Option<OnDemand>,
    /// Other registries and repositories of the community.
    pub external: External,
}

/// Other registries and repositories of the community, by the keys of their partners.
#[derive(Clone, Debug)]
pub struct External {
    /// Asked by ITI-18.
    pub registry: Option<SmolStr>,
    /// Given what is submitted.
    pub submissions: Option<SmolStr>,
    /// Asked by ITI-43, for each repository.
    pub repositories: Vec<(RepositoryId, SmolStr)>,
}

/// What makes documents when they are retrieved.
#[derive(Clone, Debug)]
pub struct OnDemand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub time: Duration,
    /// Whether what it made is kept.
    pub persist: bool,
}

pub(super) fn import(file: &file::Import, problems: &mut Problems) -> Import {
    let mut code = |key: &str, text: &str| {
        let mut parts = text.splitn(3, '|').map(str::trim);
        let mut next = || parts.next().unwrap_or_default();
        let code = Code::new(next(), next(), next());
        if code.code.is_empty() || code.scheme.is_empty() {
            problems.add(key, "is not a code with its code system", "write code|code system|display name");
        }
        code
    };
    Import {
        class_code: code("import.class_code", &file.class_code),
        facility_type: code("import.facility_type", &file.facility_type),
        practice_setting: code("import.practice_setting", &file.practice_setting),
        confidentiality: code("import.confidentiality", &file.confidentiality),
        language: file.language.as_str().into(),
    }
}

pub(super) fn documents(file: file::Documents, base: &Path, problems: &mut Problems) -> Documents {
    let file::OnDemand { command, seconds, persist } = file.on_demand;
    if !(1..=600).contains(&seconds) {
        problems.add("documents.on_demand.seconds", "must be from 1 to 600", "leave it out for 30");
    }
    let mut command = command.into_iter();
    let program = command.next().map(PathBuf::from);
    // Which program a bare name means depends on an environment that it does not get.
    if program.as_ref().is_some_and(|program| !program.is_absolute()) {
        problems.add("documents.on_demand.command[0]", "is not the whole path of a program", "begin it with a slash");
    }
    let on_demand = program.map(|program| OnDemand {
        program,
        arguments: command.collect(),
        time: Duration::from_secs(u64::from(seconds)),
        persist,
    });
    let repositories = file.external.repositories.iter().filter_map(|(oid, key)| {
        let at = format!("documents.external.repositories.{oid}");
        let oid = problems.parse::<Oid>(&at, oid, OID_REMEDY)?;
        Some((RepositoryId::new(oid.as_str()).ok()?, key.trim().into()))
    });
    let repositories = repositories.collect();
    let external = External {
        registry: some(&file.external.registry),
        submissions: some(&file.external.submissions),
        repositories,
    };
    Documents { value_sets: some(&file.value_sets).map(|path| base.join(path.as_str())), on_demand, external }
}
