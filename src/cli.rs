//! The command line.
//!
//! Commands that work with a gateway's data (`discover`, `query`, `retrieve`, `fetch`, `documents`, `patients`, `trace`) are run by
//! the gateway if it is serving, through the socket in its data folder, and else in this process: the answer is the same.

mod account;
mod arguments;
mod certificates;
mod commands;
mod defect;
mod identity;
mod patients;
mod progress;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
pub use defect::tell_defects;

/// What scripts may go by.
const EXIT_CODES: &str = "\
Exit codes: 0 done, with every partner's part accounted for (look at `complete` in the JSON whether all of them answered);
1 not done, refused, or problems found (with --json: `\"result\": \"failed\"` and the reason, or the list of problems);
2 the command line was not understood. Reasons go to standard error, or into the JSON.";

/// Causeway: a TEFCA and IHE document-exchange gateway.
#[derive(Debug, Parser)]
#[command(name = "causeway", version, about, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run three communities on this machine and bring a patient's documents home across them.
    Sandbox(SandboxArguments),
    /// Run the gateway.
    Serve(ConfigArguments),
    /// Check configuration, certificates, partners, disk and clock, and print all problems at once.
    Check(CheckArguments),
    /// Ask partners whether they know a patient (ITI-55).
    Discover(arguments::Discover),
    /// Ask the communities that know a patient for their lists of documents (ITI-55, ITI-38).
    Query(arguments::Query),
    /// Bring named documents home (ITI-39).
    Retrieve(arguments::Retrieve),
    /// Discover, query and retrieve in one go, with an account of what happened with each partner.
    Fetch(arguments::Fetch),
    /// Documents of our own community.
    #[command(subcommand)]
    Documents(arguments::Documents),
    /// Patients of our own community.
    #[command(subcommand)]
    Patients(patients::Patients),
    /// What is on its way to others, and what became of it.
    #[command(subcommand)]
    Deliveries(arguments::Deliveries),
    /// Past exchanges: what happened with each partner, and why.
    #[command(subcommand)]
    Trace(arguments::Trace),
    /// The audit trail.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Certificates for tests: an authority, what it issues, what it revokes. Not for production.
    #[command(subcommand)]
    Certificates(certificates::Certificates),
}

/// Which gateway.
#[derive(Args, Clone, Debug)]
struct ConfigArguments {
    /// The gateway's configuration file.
    #[arg(long, short, env = "CAUSEWAY_CONFIG", default_value = "causeway.toml", value_name = "FILE")]
    config: PathBuf,
}

/// `sandbox`.
#[derive(Args, Clone, Debug)]
struct SandboxArguments {
    /// Where to put configurations, certificates, stores and documents. A sandbox that is there is replaced.
    #[arg(long, default_value = "causeway-sandbox", value_name = "FOLDER")]
    folder: PathBuf,
    /// Keep the three gateways running afterwards, until interrupted.
    #[arg(long)]
    stay: bool,
    /// Print the account as JSON.
    #[arg(long)]
    json: bool,
}

/// `check`.
#[derive(Args, Clone, Debug)]
struct CheckArguments {
    /// Which gateway.
    #[command(flatten)]
    config: ConfigArguments,
    /// Look at the configuration files alone: not at certificates, disk, clock or names.
    #[arg(long)]
    syntax_only: bool,
    /// Print the problems as JSON.
    #[arg(long)]
    json: bool,
}

/// `audit`.
#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Read the whole trail and prove that no record was changed, removed, added or moved.
    Verify {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Why a command did not do what it should, for whoever typed it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CliError(pub String);

impl CliError {
    fn new(error: impl ToString) -> Self {
        Self(error.to_string())
    }
}

/// Runs the command line.
pub fn run() -> ExitCode {
    tell_defects();
    let cli = Cli::parse();
    match commands::dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
