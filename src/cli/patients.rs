//! `causeway patients`: patients of our own community.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::commands::{Doer, absolute, log, operate, perform, report, runtime, settings};
use super::progress::Bar;
use super::{CliError, ConfigArguments};
use crate::bulk::csv::{Dates, Options};
use crate::bulk::{Format, export, import};
use crate::config::LogFormat;
use crate::operations::Operation;

/// Pieces of one write where a gateway serves others too: a feed waits for some milliseconds at most.
const BATCH_BESIDE_OTHERS: usize = 250;
/// Pieces of one write where nobody waits.
const BATCH_ALONE: usize = 5_000;

/// `patients`.
#[derive(Clone, Debug, Subcommand)]
pub enum Patients {
    /// Take a file of patients in: CSV, HL7 v2 messages, a FHIR Bundle or NDJSON. Killed or interrupted, it goes on
    /// where it was when it is run again.
    Import(Box<ImportArguments>),
    /// Write all patients into a file that `import` reads.
    Export(ExportArguments),
    /// Load the patients of `config/connectathon/patients.csv`, which is built in: patients of the RED, GREEN and BLUE
    /// domains of a Connectathon.
    Connectathon {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// The source of the configuration in whose name they are loaded.
        #[arg(long, value_name = "NAME", default_value = "connectathon")]
        source: String,
        /// Who loads them, for the audit record.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the imports that were begun, and how far each is.
    Imports {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// Print the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Finding patients and saying who is who.
    #[command(flatten)]
    Identity(super::identity::Identity),
}

/// `patients import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArguments {
    /// Which gateway.
    #[command(flatten)]
    config: ConfigArguments,
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its form; found by its beginning if not given.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The source of the configuration in whose name it is read: it may only speak of the domains of that source.
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Who imports, for the audit record.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The domain of identifiers that name none: a namespace or an OID.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// What a column of a table is: its name in the file and the field, or nothing to leave it out. May be repeated.
    #[arg(long = "column", value_name = "NAME=FIELD", value_parser = column)]
    columns: Vec<(String, String)>,
    /// How dates of a table are written.
    #[arg(long, value_enum, default_value = "iso")]
    dates: Dates,
    /// Whether records of one person are looked for, as in a feed, or linked only where the file says so.
    #[arg(long, value_enum, default_value = "found")]
    links: Links,
    /// Where to put what is not taken in, with line and reason. It holds patient data.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Memory for the database's pages, in MiB, where no gateway serves, in place of `store.cache_mib`.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(8..=65_536))]
    memory: Option<u32>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Which records are linked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Links {
    /// Those that the gateway finds to be of one person, and those that the file says are.
    Found,
    /// Those that the file says are.
    Told,
}

/// `patients export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArguments {
    /// Which gateway.
    #[command(flatten)]
    config: ConfigArguments,
    /// The file to write. It holds patient data, and must not be there.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its form.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Who exports, for the audit record.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// Only records of this domain: a namespace or an OID.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

fn column(text: &str) -> Result<(String, String), String> {
    let (name, field) = text.rsplit_once('=').ok_or("say NAME=FIELD, or NAME= to leave the column out")?;
    Ok((name.to_owned(), field.to_owned()))
}

/// Runs a command.
pub fn run(command: Patients) -> Result<ExitCode, CliError> {
    match command {
        Patients::Import(arguments) => import(*arguments),
        Patients::Export(arguments) => export(&arguments),
        Patients::Connectathon { config, source, user, json } => connectathon(&config, source, user, json),
        Patients::Imports { config, json } => operate(&config, json, Operation::ListImports),
        Patients::Identity(command) => super::identity::run(command),
    }
}

fn import(arguments: ImportArguments) -> Result<ExitCode, CliError> {
    let columns: BTreeMap<String, String> = arguments.columns.into_iter().collect();
    let request = import::Request {
        user: arguments.user,
        file: absolute(&arguments.file)?,
        format: arguments.format,
        source: arguments.source,
        domain: arguments.domain,
        rejects: arguments.rejects.as_deref().map(absolute).transpose()?,
        matching: arguments.links == Links::Found,
        table: Options { columns, dates: arguments.dates },
        batch: BATCH_ALONE,
    };
    watched(&arguments.config, arguments.json, arguments.memory, |doer| {
        let batch = if doer == Doer::Us { BATCH_ALONE } else { BATCH_BESIDE_OTHERS };
        Operation::ImportPatients { request: import::Request { batch, ..request } }
    })
}

/// The patients, as a file that can be read again should the import be killed.
const CONNECTATHON: &str = include_str!("../../config/connectathon/patients.csv");

fn connectathon(config: &ConfigArguments, source: String, user: String, json: bool) -> Result<ExitCode, CliError> {
    let folder = settings(config)?.store.folder;
    std::fs::create_dir_all(&folder).map_err(CliError::new)?;
    let file = absolute(&folder.join("connectathon-patients.csv"))?;
    std::fs::write(&file, CONNECTATHON).map_err(CliError::new)?;
    let request = import::Request {
        user,
        file,
        format: Some(Format::Csv),
        source,
        domain: None,
        rejects: None,
        matching: true,
        table: Options::default(),
        batch: BATCH_BESIDE_OTHERS,
    };
    watched(config, json, None, |_| Operation::ImportPatients { request })
}

fn export(arguments: &ExportArguments) -> Result<ExitCode, CliError> {
    let request = export::Request {
        user: arguments.user.clone(),
        file: absolute(&arguments.file)?,
        format: arguments.format,
        domain: arguments.domain.clone(),
    };
    watched(&arguments.config, arguments.json, None, |_| Operation::ExportPatients { request })
}

fn watched(
    config: &ConfigArguments,
    json: bool,
    memory: Option<u32>,
    operation: impl FnOnce(Doer) -> Operation,
) -> Result<ExitCode, CliError> {
    let mut settings = settings(config)?;
    settings.store.cache = pages(memory, settings.store.cache);
    log(LogFormat::Text, "warn");
    let bar = Bar::new();
    let outcome = runtime()?.block_on(perform(settings, operation, bar.clone()));
    bar.end();
    report(&outcome?, json)
}

/// Memory for pages in bytes: what was told in MiB, more or less than the configuration has.
fn pages(told: Option<u32>, configured: usize) -> usize {
    told.and_then(|mib| usize::try_from(mib).ok()).map_or(configured, |mib| mib << 20)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_import_takes_the_memory_that_it_is_told_or_that_the_configuration_has() {
        for (told, pages) in [(None, 1 << 30), (Some(64), 64 << 20), (Some(2048), 2 << 30)] {
            assert_eq!(super::pages(told, 1 << 30), pages, "{told:?}");
        }
    }
}
