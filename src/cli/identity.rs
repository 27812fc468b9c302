//! `causeway patients find`, `show`, `link` and so on: who is who.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::commands::operate;
use super::{CliError, ConfigArguments};
use crate::id::{Demographics, Dtm};
use crate::mpi::{Explanation, Field, Learnt, Level};
use crate::operations::Operation;
use crate::operations::patients::{Reply, Request, ShownPatient};
use crate::storage::identities::{Review, Status, Verdict};

/// Who does it, where, and how it is printed.
#[derive(Args, Clone, Debug)]
pub struct By {
    /// Which gateway.
    #[command(flatten)]
    config: ConfigArguments,
    /// Who does this, for the audit record and the history.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Two patients, by identifiers known here, as `ID^^^&OID&ISO` or `ID^^^NAMESPACE`.
#[derive(Args, Clone, Debug)]
pub struct Two {
    /// An identifier.
    #[arg(value_name = "CX")]
    first: String,
    /// Another.
    #[arg(value_name = "CX")]
    second: String,
    #[command(flatten)]
    by: By,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Identity {
    /// Find patients who are like a description, the likeliest first.
    Find {
        /// Family name.
        #[arg(long)]
        family: String,
        /// Given name.
        #[arg(long)]
        given: String,
        /// Date of birth, YYYYMMDD or YYYY-MM-DD.
        #[arg(long, value_parser = date)]
        birth: Option<Dtm>,
        /// Gender: F, M or O.
        #[arg(long)]
        gender: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        by: By,
    },
    /// Show a patient: every record and identifier, what happened to them, and why the records are linked.
    Show {
        /// An identifier known here, as `ID^^^&OID&ISO` or `ID^^^NAMESPACE`.
        #[arg(value_name = "CX")]
        patient: String,
        #[command(flatten)]
        by: By,
    },
    /// Say that two identifiers are one person's.
    Link(Two),
    /// Say that two identifiers are not one person's. They are not linked by the gateway again.
    Unlink(Two),
    /// Say that two identifiers of one domain are one patient's: the first stays in use, the second is replaced.
    Merge(Two),
    /// Say why two identifiers are taken to be one person's, or not, field by field.
    Explain(Two),
    /// Pairs that may be one person, for somebody to decide.
    #[command(subcommand)]
    Review(ReviewCommand),
    /// Learn from the records what agreement of each field is worth, and match by it from now on.
    Learn {
        #[command(flatten)]
        by: By,
        /// Go back to the defaults instead.
        #[arg(long)]
        forget: bool,
    },
    /// Print what matching goes by.
    Parameters {
        #[command(flatten)]
        by: By,
    },
}

/// `patients review`.
#[derive(Clone, Debug, Subcommand)]
pub enum ReviewCommand {
    /// List the pairs that wait, the oldest first.
    List {
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        by: By,
    },
    /// Show a pair: both patients, and how they compare.
    Show(Numbered),
    /// They are one person: link them.
    Accept(Numbered),
    /// They are two: keep them apart.
    Reject(Numbered),
    /// Leave the pair for later.
    Later(Numbered),
    /// Look for pairs now, among patients who came since.
    Find {
        #[command(flatten)]
        by: By,
    },
}

/// A pair by its number.
#[derive(Args, Clone, Debug)]
pub struct Numbered {
    /// Its number.
    number: u64,
    #[command(flatten)]
    by: By,
}

fn date(text: &str) -> Result<Dtm, String> {
    Dtm::lenient(text).map_err(|error| error.to_string())
}

/// Runs a command.
pub fn run(command: Identity) -> Result<ExitCode, CliError> {
    let (by, request) = match command {
        Identity::Find { family, given, birth, gender, limit, by } => {
            (by, Request::Find { family, given, birth, gender, limit })
        }
        Identity::Show { patient, by } => (by, Request::Show { patient }),
        Identity::Link(Two { first, second, by }) => (by, Request::Link { first, second }),
        Identity::Unlink(Two { first, second, by }) => (by, Request::Unlink { first, second }),
        Identity::Merge(Two { first, second, by }) => (by, Request::Merge { survivor: first, subsumed: second }),
        Identity::Explain(Two { first, second, by }) => (by, Request::Explain { first, second }),
        Identity::Review(ReviewCommand::List { limit, by }) => (by, Request::Reviews { limit }),
        Identity::Review(ReviewCommand::Show(one)) => (one.by, Request::Review { number: one.number }),
        Identity::Review(ReviewCommand::Accept(one)) => decide(one, Verdict::Same),
        Identity::Review(ReviewCommand::Reject(one)) => decide(one, Verdict::Different),
        Identity::Review(ReviewCommand::Later(one)) => decide(one, Verdict::Later),
        Identity::Review(ReviewCommand::Find { by }) => (by, Request::Look),
        Identity::Learn { by, forget: false } => (by, Request::Learn),
        Identity::Learn { by, forget: true } => (by, Request::Forget),
        Identity::Parameters { by } => (by, Request::Parameters),
    };
    operate(&by.config, by.json, Operation::Patients { user: by.user, request })
}

fn decide(one: Numbered, verdict: Verdict) -> (By, Request) {
    (one.by, Request::Decide { number: one.number, verdict })
}

/// What came of a command, for people.
pub fn text(reply: &Reply) -> String {
    match reply {
        Reply::Found(patients) if patients.is_empty() => "nobody\n".into(),
        Reply::Found(patients) => {
            let one = |found: &crate::operations::patients::FoundPatient| {
                let ids: Vec<String> = found.ids.iter().map(|id| id.to_cx()).collect();
                format!("{:>3}  {}  {}\n", found.score, person(&found.demographics), ids.join(" "))
            };
            patients.iter().map(one).collect()
        }
        Reply::Shown(patient) => shown(patient),
        Reply::Changed(true) => "done\n".into(),
        Reply::Changed(false) => "nothing to do: it was so already\n".into(),
        Reply::Explained(explanation) => explained(explanation),
        Reply::Reviews(reviews) if reviews.is_empty() => "no pair waits for a decision\n".into(),
        Reply::Reviews(reviews) => reviews.iter().map(review).collect(),
        Reply::Reviewed(pair) => {
            let (one, first, second) = &**pair;
            format!("{}{}\n{}\n{}", review(one), explained(&one.explanation), shown(first), shown(second))
        }
        Reply::Decided(one) => review(one),
        Reply::Looked(looked) => {
            let full = if looked.is_full { "; too many pairs wait, decide on some first" } else { "" };
            format!("{} patients looked at, {} pairs found{full}\n", looked.persons, looked.found)
        }
        Reply::Parameters(None) => "the defaults: nothing has been learnt from the records\n".into(),
        Reply::Parameters(Some(learnt)) => parameters(learnt),
    }
}

fn person(demographics: &Demographics) -> String {
    let name = demographics.names.first();
    let family = name.map(|name| name.family.as_str()).unwrap_or_default();
    let given: Vec<&str> = name.iter().flat_map(|name| name.given.iter().map(|given| given.as_str())).collect();
    let birth = demographics.birth.as_ref().map(Dtm::iso_date).unwrap_or_default();
    let gender = demographics.gender.map(|gender| gender.v2()).unwrap_or_default();
    let home = demographics.addresses.first();
    let home = home.map(|home| format!("{}, {} {}", home.lines.join(" "), home.city, home.postal_code));
    format!("{family}, {}  {birth}  {gender}  {}", given.join(" "), home.unwrap_or_default())
}

fn shown(patient: &ShownPatient) -> String {
    let mut text = String::new();
    for (at, (ids, demographics)) in patient.records.iter().enumerate() {
        text += &format!("{}\n", person(demographics));
        for held in ids {
            let replaced =
                held.replaced_by.as_ref().map(|by| format!("  replaced by {}", by.to_cx())).unwrap_or_default();
            text += &format!("    {}{replaced}\n", held.id.to_cx());
        }
        if let Some(explanation) = at.checked_sub(1).and_then(|at| patient.links.get(at)) {
            text += &format!("    compared with the first record:\n{}", explained(explanation));
        }
    }
    for change in &patient.history {
        let by = change.by.as_deref().unwrap_or(if change.score.is_some() { "the gateway" } else { "a source" });
        let what = format!("{:?}", change.what).to_lowercase();
        text += &format!(
            "{}  {what} by {by}: {} and {}\n",
            change.at.to_rfc3339(),
            change.first.to_cx(),
            change.second.to_cx()
        );
    }
    text
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Same => "same",
        Level::Close => "close",
        Level::Part => "in part",
        Level::Trace => "hardly",
        Level::Different => "different",
        Level::Missing => "unknown",
    }
}

fn explained(explanation: &Explanation) -> String {
    let mut text = format!("    {:<24} {:<10} {:>7.1} bits\n", "before anything", "", explanation.prior);
    for (field, agrees, weight) in &explanation.fields {
        text += &format!("    {:<24} {:<10} {weight:>+7.1} bits\n", field.name(), level(*agrees));
    }
    if explanation.household < -0.05 {
        text += &format!("    {:<24} {:<10} {:>+7.1} bits\n", "may be one household", "", explanation.household);
    }
    for conflict in &explanation.conflicts {
        text += &format!("    held down by: {}\n", conflict.name());
    }
    let grade = format!("{:?}", explanation.grade()).to_lowercase();
    text + &format!(
        "    {:<24} {grade:<10} {:>7.1} bits, score {}\n",
        "all together",
        explanation.bits,
        explanation.score()
    )
}

fn review(review: &Review) -> String {
    let status = match review.status {
        Status::Open => "waits",
        Status::Later => "put off",
        Status::Linked => "linked",
        Status::Apart => "kept apart",
    };
    let by = review.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    format!(
        "{:>6}  {}  score {:>3}  {} and {}  {status}{by}\n",
        review.number,
        review.at.to_rfc3339(),
        review.explanation.score(),
        review.first.to_cx(),
        review.second.to_cx()
    )
}

fn parameters(learnt: &Learnt) -> String {
    let mut text = format!(
        "learnt {} from {} records; {} pairs compared, {:.0} expected to be one person's\n",
        learnt.at.to_rfc3339(),
        learnt.records,
        learnt.pairs,
        learnt.matches
    );
    let (given, family) = learnt.names.counts();
    text += &format!("{given} given and {family} family names are common enough to be told apart\n");
    text += &format!(
        "before anything {:.1} bits; pairs like twins are twins in {:.0} %\n",
        learnt.prior,
        learnt.twins * 100.0
    );
    text += &format!("{:<24}", "bits for each level");
    for agrees in Level::AGREEING {
        text += &format!(" {:>10}", level(agrees));
    }
    text.push('\n');
    for (field, odds) in Field::ALL.into_iter().zip(&learnt.odds) {
        text += &format!("{:<24}", field.name());
        for agrees in Level::AGREEING {
            let weight =
                if odds.of(agrees) == (1.0, 1.0) { "-".to_owned() } else { format!("{:+.1}", odds.weight(agrees)) };
            text += &format!(" {weight:>10}");
        }
        text.push('\n');
    }
    text
}
