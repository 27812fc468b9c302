//! The load generator of the benchmarks. `bench.sh` says how its parts play together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use hyper::Uri;
use ihe_tests::load::measure::{Report, Usage, Watch};
use ihe_tests::load::messages::{self, Documents, Kind, Maker};
use ihe_tests::load::prepared::Prepared;
use ihe_tests::load::{
    Failure, candidates, certificates, crypto, durable, https, mllp, partners, population, prepared, servers,
};

#[derive(Parser)]
#[command(about = "Load for a gateway, and what to compare its answers with")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Folder of certificates, keys and trust store, as `certificates` writes it.
    #[arg(long, global = true, default_value = ".")]
    folder: PathBuf,
    /// Append the result to this file, a JSON object on a line.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Processes of the server under test, whose processor time and memory is watched.
    #[arg(long, global = true, value_delimiter = ',')]
    process: Vec<u32>,
    /// The name of the result.
    #[arg(long, global = true)]
    name: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Write an authority and certificates for `gateway`, `asker`, `partners`, `admissions`,
    /// `static` and `source`.
    Certificates,
    /// Sign discovery queries (ITI-55).
    PrepareIti55(Prepare),
    /// Sign cross-reference queries (ITI-45).
    PrepareIti45(Prepare),
    /// Sign document queries (ITI-38).
    PrepareIti38(Prepare),
    /// Sign retrievals of one document (ITI-39).
    PrepareIti39 {
        /// What and how many.
        #[command(flatten)]
        prepare: Prepare,
        /// A file with the unique ids of documents, each on a line.
        #[arg(long)]
        documents: PathBuf,
    },
    /// Sign submissions of small documents (ITI-41).
    PrepareIti41(Submit),
    /// Sign registrations of documents that are kept elsewhere (ITI-42).
    PrepareIti42(Submit),
    /// Requests over mutual TLS on connections that are kept.
    Https(Https),
    /// Registrations of new patients over MLLP for some time.
    Adt(Feed),
    /// Registrations until all patients are there, however long it takes.
    Feed(Feed),
    /// Cross-reference queries (ITI-9) for patients of the population.
    PixQuery(Feed),
    /// Demographics queries (ITI-21) for patients of the population.
    PdqQuery(Feed),
    /// Write a table of a population like that of the United States.
    Population {
        /// How many patients.
        #[arg(long)]
        count: u64,
        /// In no order, as from a system that does not give out its identifiers one after the other.
        #[arg(long)]
        mixed: bool,
        /// Where to write it.
        #[arg(long)]
        output: PathBuf,
    },
    /// How many persons a match compares, in a store that nobody uses.
    Candidates {
        /// Its folder.
        #[arg(long)]
        data: PathBuf,
        /// How many patients are in it.
        #[arg(long)]
        patients: u64,
        /// How many are looked for.
        #[arg(long, default_value_t = 1000)]
        wanted: u64,
    },
    /// The cryptography of prepared messages by itself.
    Crypto {
        /// The prepared messages.
        #[arg(long)]
        messages: PathBuf,
        /// The address they were signed for.
        #[arg(long)]
        url: String,
        /// Seconds of each of the three measurements.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
    /// The store and the audit journal without a network.
    Durable {
        /// An empty folder for the data.
        #[arg(long)]
        data: PathBuf,
        /// Tasks that feed at once.
        #[arg(long, default_value_t = 64)]
        tasks: usize,
        /// Number of the first patient.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// How long.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// A server that answers each request with the same bytes.
    Echo {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// Bytes of an answer.
        #[arg(long)]
        size: usize,
    },
    /// Simulated partners on one address.
    Partners {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// How many.
        #[arg(long, default_value_t = 200)]
        count: u32,
        /// The first so many never answer.
        #[arg(long, default_value_t = 10)]
        hanging: u32,
        /// Write their files for the directory of the gateway into this folder, and do not serve.
        #[arg(long)]
        directory: Option<PathBuf>,
        /// Seconds that the gateway is to wait for each.
        #[arg(long, default_value_t = 2)]
        patience: u32,
    },
}

#[derive(clap::Args)]
struct Prepare {
    /// The address they are for.
    #[arg(long)]
    url: String,
    /// How many.
    #[arg(long)]
    count: u64,
    /// Number of the first patient or document.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Ask for so many different ones, again and again; 0 is each once.
    #[arg(long, default_value_t = 0)]
    different: u64,
    /// Ask for patients of the population of this size, far apart from one to the next.
    #[arg(long, default_value_t = 0)]
    population: u64,
    /// Where to write them.
    #[arg(long)]
    output: PathBuf,
}

#[derive(clap::Args)]
struct Submit {
    /// For which patients, and how many submissions.
    #[command(flatten)]
    prepare: Prepare,
    /// Documents in a submission.
    #[arg(long, default_value_t = 1)]
    each: usize,
    /// Bytes of a document.
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// Write the unique ids of the documents into this file, each on a line.
    #[arg(long)]
    ids: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Https {
    /// Whom to ask.
    #[arg(long)]
    url: Uri,
    /// Connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How long at most.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Prepared messages to post; without them it is `GET`.
    #[arg(long)]
    messages: Option<PathBuf>,
    /// Send the messages again when all were sent.
    #[arg(long)]
    repeat: bool,
    /// A text that right answers contain.
    #[arg(long)]
    expect: Option<String>,
    /// Whose certificate is shown.
    #[arg(long, default_value = "asker")]
    identity: String,
}

#[derive(clap::Args)]
struct Feed {
    /// Host and port.
    #[arg(long)]
    address: String,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Number of the first patient.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many patients at most.
    #[arg(long, default_value_t = 10_000_000)]
    count: u64,
    /// How long at most.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// With mutual TLS.
    #[arg(long)]
    tls: bool,
    /// Of how many patients a query asks for one.
    #[arg(long, default_value_t = 1)]
    patients: u64,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    match &arguments.command {
        Command::Certificates => {
            certificates::write(folder, &["gateway", "asker", "partners", "admissions", "static", "source"])?;
        }
        Command::PrepareIti55(wanted) => prepared_file(&arguments, wanted, Kind::Discovery)?,
        Command::PrepareIti45(wanted) => prepared_file(&arguments, wanted, Kind::CrossReference)?,
        Command::PrepareIti38(wanted) => prepared_file(&arguments, wanted, Kind::Query)?,
        Command::PrepareIti39 { prepare, documents } => {
            let ids: Vec<String> = std::fs::read_to_string(documents)?.lines().map(str::to_owned).collect();
            prepared_file(&arguments, prepare, Kind::Retrieve(&ids))?;
        }
        Command::PrepareIti41(wanted) => {
            submissions(&arguments, wanted, Kind::Provide(&Documents { each: wanted.each, size: wanted.size }))?;
        }
        Command::PrepareIti42(wanted) => {
            submissions(&arguments, wanted, Kind::Register(&Documents { each: wanted.each, size: wanted.size }))?;
        }
        Command::Https(wanted) => {
            let messages = wanted.messages.as_deref().map(prepared::read).transpose()?.unwrap_or_default();
            let plan = https::Plan {
                url: wanted.url.clone(),
                connections: wanted.connections,
                duration: Duration::from_secs(wanted.seconds),
                messages,
                repeat: wanted.repeat,
                expect: wanted.expect.clone(),
            };
            let tls = certificates::tls(folder, &wanted.identity)?;
            let watch = Watch::start(&arguments.process);
            let (seen, took) = https::run(plan, &tls).await?;
            report(&arguments, "https", took, seen, watch.stop())?;
        }
        Command::Adt(wanted) | Command::Feed(wanted) | Command::PixQuery(wanted) | Command::PdqQuery(wanted) => {
            let (ask, name) = match &arguments.command {
                Command::PixQuery(_) => (mllp::Ask::CrossReference(wanted.patients), "pix"),
                Command::PdqQuery(_) => (mllp::Ask::Demographics(wanted.patients), "pdq"),
                _ => (mllp::Ask::Registration, "adt"),
            };
            let plan = mllp::Plan {
                ask,
                address: wanted.address.clone(),
                connections: wanted.connections,
                duration: Duration::from_secs(wanted.seconds),
                first: wanted.first,
                count: wanted.count,
            };
            let tls = if wanted.tls { Some(certificates::tls(folder, "admissions")?) } else { None };
            let watch = Watch::start(&arguments.process);
            let (seen, took) = mllp::run(plan, tls.as_deref()).await?;
            report(&arguments, name, took, seen, watch.stop())?;
        }
        Command::Population { count, mixed, output } => {
            let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(output)?);
            let order = if *mixed { population::Order::None } else { population::Order::Numbers };
            println!("{} rows", population::write(&mut out, *count, order)?);
        }
        Command::Candidates { data, patients, wanted } => {
            let line = candidates::run(data, *patients, *wanted)?;
            println!("{line}");
            append(&arguments, &line)?;
        }
        Command::Crypto { messages, url, seconds } => {
            let key = certificates::signing_key(folder, "asker")?;
            let cost = crypto::measure(&prepared::read(messages)?, &key, url, Duration::from_secs(*seconds))?;
            println!(
                "crypto: {:.1} us for two signatures, {:.1} us for saml::verify, {:.1} us with parsing",
                cost.two_signatures, cost.verification, cost.with_parsing
            );
            let line = serde_json::json!({
                "name": arguments.name.as_deref().unwrap_or("crypto"),
                "two_signatures_us": cost.two_signatures,
                "verification_us": cost.verification,
                "with_parsing_us": cost.with_parsing,
            });
            append(&arguments, &line.to_string())?;
        }
        Command::Durable { data, tasks, first, seconds } => {
            let watch = Watch::start(&[std::process::id()]);
            let (seen, took) = durable::run(data, *tasks, *first, Duration::from_secs(*seconds)).await?;
            report(&arguments, "durable", took, seen, watch.stop())?;
        }
        Command::Echo { listen, size } => {
            servers::echo(*listen, certificates::tls(folder, "static")?, *size).await?;
        }
        Command::Partners { listen, count, hanging, directory, patience } => match directory {
            Some(directory) => {
                for number in 1..=*count {
                    let text = partners::directory_file(number, &format!("https://{listen}"), *patience);
                    std::fs::write(directory.join(format!("partner{number}.toml")), text)?;
                }
            }
            None => {
                partners::serve(*listen, certificates::tls(folder, "partners")?, *hanging).await?;
            }
        },
    }
    Ok(())
}

/// Messages of a kind, signed.
fn made(arguments: &Arguments, wanted: &Prepare, kind: Kind<'_>) -> Result<Vec<Prepared>, Failure> {
    let key = certificates::signing_key(&arguments.folder, kind.identity())?;
    let mut maker = Maker::new(key, &wanted.url, kind)?;
    maker.population = wanted.population;
    messages::prepare(&maker, kind, wanted.first, wanted.count, wanted.different)
}

fn prepared_file(arguments: &Arguments, wanted: &Prepare, kind: Kind<'_>) -> Result<(), Failure> {
    prepared::write(&wanted.output, &made(arguments, wanted, kind)?)
}

fn submissions(arguments: &Arguments, wanted: &Submit, kind: Kind<'_>) -> Result<(), Failure> {
    let messages = made(arguments, &wanted.prepare, kind)?;
    if let Some(path) = &wanted.ids {
        let ids = messages.iter().flat_map(|message| unique_ids(&message.body));
        std::fs::write(path, ids.map(|id| id + "\n").collect::<String>())?;
    }
    prepared::write(&wanted.prepare.output, &messages)
}

/// The unique ids of the documents of a submission.
fn unique_ids(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let identifiers = text.split("<rim:ExternalIdentifier ").filter(|one| one.contains("XDSDocumentEntry.uniqueId"));
    let value = |one: &str| Some(one.split("value=\"").nth(1)?.split('"').next()?.to_owned());
    identifiers.filter_map(value).collect()
}

fn report(
    arguments: &Arguments,
    name: &str,
    took: Duration,
    seen: ihe_tests::load::measure::Seen,
    usage: Usage,
) -> Result<(), Failure> {
    let report = Report::new(arguments.name.as_deref().unwrap_or(name), took, seen, usage);
    println!("{}", report.text());
    append(arguments, &report.json())
}

fn append(arguments: &Arguments, line: &str) -> Result<(), Failure> {
    use std::io::Write;
    let Some(path) = &arguments.json else { return Ok(()) };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    Ok(writeln!(file, "{line}")?)
}
