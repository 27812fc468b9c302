//! What the commands take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ConfigArguments;
use crate::id::{Dtm, HomeCommunityId, TraceId};
use crate::storage::deliveries::State;

/// Whose errand it is, and how. Every exchange needs a named user and a purpose: partners refuse without, and the audit
/// record wants them.
#[derive(Args, Clone, Debug)]
pub struct Errand {
    /// Which gateway.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// What the records are wanted for: TREATMENT, T-TRTMNT, T-IAS and so on. May be left out where the configuration
    /// has an `initiator.purpose`.
    #[arg(long, value_name = "CODE")]
    pub purpose: Option<String>,
    /// Who asks: the name that shall stand in assertions and audit records. May be left out where the configuration
    /// has an `initiator.user`.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Ask only this partner (the name of its file in the partners folder). May be repeated.
    #[arg(long = "partner", value_name = "NAME")]
    pub partners: Vec<String>,
    /// The longest wait for all partners together, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub deadline: Option<u64>,
    /// Print the account as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The patient: by an identifier that the gateway knows, or by demographics.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct Patient {
    /// An identifier known here, as `ID^^^&OID&ISO` or `ID^^^NAMESPACE`.
    #[arg(long, value_name = "CX", conflicts_with_all = ["family", "given", "birth", "gender"])]
    pub patient: Option<String>,
    /// Family name.
    #[arg(long, requires_all = ["given", "birth"])]
    pub family: Option<String>,
    /// Given name.
    #[arg(long, requires = "family")]
    pub given: Option<String>,
    /// Date of birth, YYYYMMDD or YYYY-MM-DD.
    #[arg(long, requires = "family", value_parser = date)]
    pub birth: Option<Dtm>,
    /// Gender: F, M or O.
    #[arg(long, requires = "family")]
    pub gender: Option<String>,
}

fn date(text: &str) -> Result<Dtm, String> {
    Dtm::lenient(text).map_err(|error| error.to_string())
}

/// `discover`.
#[derive(Args, Clone, Debug)]
pub struct Discover {
    /// Whose errand.
    #[command(flatten)]
    pub errand: Errand,
    /// Whom to look for.
    #[command(flatten)]
    pub patient: Patient,
}

/// `query`.
#[derive(Args, Clone, Debug)]
pub struct Query {
    /// Whose errand.
    #[command(flatten)]
    pub errand: Errand,
    /// Whose documents.
    #[command(flatten)]
    pub patient: Patient,
}

/// `fetch`.
#[derive(Args, Clone, Debug)]
pub struct Fetch {
    /// Whose errand.
    #[command(flatten)]
    pub errand: Errand,
    /// Whose documents.
    #[command(flatten)]
    pub patient: Patient,
    /// Where to put the documents.
    #[arg(long, default_value = "records", value_name = "FOLDER")]
    pub out: PathBuf,
}

/// `retrieve`.
#[derive(Args, Clone, Debug)]
pub struct Retrieve {
    /// Whose errand.
    #[command(flatten)]
    pub errand: Errand,
    /// The community that holds the documents, `urn:oid:` and an OID.
    #[arg(long, value_name = "HCID")]
    pub home: HomeCommunityId,
    /// The repository, as the query named it.
    #[arg(long, value_name = "ID")]
    pub repository: String,
    /// A document, as the query named it. May be repeated.
    #[arg(long = "document", required = true, value_name = "ID")]
    pub documents: Vec<String>,
    /// Where to put the documents.
    #[arg(long, default_value = "records", value_name = "FOLDER")]
    pub out: PathBuf,
}

/// `documents`.
#[derive(Clone, Debug, Subcommand)]
pub enum Documents {
    /// Take documents of one patient from a folder into the repository and register them.
    Import {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// Who imports, for the audit record.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Whose documents: an identifier known here, as `ID^^^&OID&ISO` or `ID^^^NAMESPACE`.
        #[arg(long, value_name = "CX")]
        patient: String,
        /// Files, or folders of files.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send documents of one patient to somebody: to a partner's recipient (ITI-41), or through its gateway (ITI-80).
    Deliver(Box<Deliver>),
    /// List the documents of one patient.
    List {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// Who looks, for the audit record.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Whose documents.
        #[arg(long, value_name = "CX")]
        patient: String,
        /// Print the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the metadata of one document, and what a clinical document says of itself.
    Show {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// Who looks, for the audit record.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// The document, by its unique id.
        #[arg(value_name = "ID")]
        document: String,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write one document to a file: a clinical document as a page without scripts or links, others as they are.
    View {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// Who looks, for the audit record.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// The document, by its unique id.
        #[arg(value_name = "ID")]
        document: String,
        /// A folder, or a file that does not exist yet.
        #[arg(long, default_value = ".", value_name = "PATH")]
        out: PathBuf,
        /// Print the file's name as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `documents deliver`.
#[derive(Args, Clone, Debug)]
pub struct Deliver {
    /// Whose errand.
    #[command(flatten)]
    pub errand: Errand,
    /// A partner (the name of its file in the partners folder), or a community as `urn:oid:` and an OID.
    #[arg(long, value_name = "RECIPIENT")]
    pub to: String,
    /// For whom in particular: an address, or `XON|XCN|XTN` as intendedRecipient has it. May be repeated.
    #[arg(long = "recipient", value_name = "WHO")]
    pub recipients: Vec<String>,
    /// Whose documents: an identifier known here, as `ID^^^&OID&ISO` or `ID^^^NAMESPACE`.
    #[arg(long, value_name = "CX")]
    pub patient: String,
    /// Files, and folders of files. They go as one submission.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// `deliveries`.
#[derive(Clone, Debug, Subcommand)]
pub enum Deliveries {
    /// The latest, newest first.
    List {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// Who looks, for the audit record.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Only those that are `waiting`, `delivered`, `refused` or `given-up`.
        #[arg(long, value_parser = state)]
        state: Option<State>,
        /// Only to destinations that begin so: `recipient/`, `subscriber/ehr`.
        #[arg(long, default_value = "", value_name = "DESTINATION")]
        to: String,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// One delivery: how often it was tried, and what the receiver said.
    Show {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// Who looks, for the audit record.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Its number.
        number: u64,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take up a delivery again that was refused or given up.
    Retry {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// Who does it, for the audit record.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Its number.
        number: u64,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

fn state(text: &str) -> Result<State, String> {
    let states = [State::Waiting, State::Delivered, State::Refused, State::GivenUp];
    let found = states.into_iter().find(|state| state.name() == text);
    found.ok_or_else(|| "not one of waiting, delivered, refused, given-up".to_owned())
}

/// `trace`.
#[derive(Clone, Debug, Subcommand)]
pub enum Trace {
    /// The latest exchanges.
    List {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only exchanges in which this partner was asked.
        #[arg(long, value_name = "NAME")]
        partner: Option<String>,
        /// Only exchanges in which a partner's part, or that of --partner, ended so.
        #[arg(long, value_parser = ["answered", "empty", "refused", "timed-out", "unreachable", "skipped"])]
        state: Option<String>,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// One exchange: every partner's part, with the reason.
    Show {
        /// Which gateway.
        #[command(flatten)]
        config: ConfigArguments,
        /// The trace id that a fault, a log line or an account named.
        trace: TraceId,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
}
