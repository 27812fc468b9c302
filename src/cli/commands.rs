//! What the commands do.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::arguments::{Deliver, Deliveries, Documents, Errand, Fetch, Patient, Retrieve, Trace};
use super::progress::Bar;
use super::{
    AuditCommand, CheckArguments, CliError, Command, ConfigArguments, SandboxArguments, account, certificates,
};
use crate::app::App;
use crate::atna::verify::verify;
use crate::bulk::import::Watch;
use crate::config::{self, LogFormat, Settings, check};
use crate::id::Clock;
use crate::net::control;
use crate::operations::{self, Consignment, Operation, Outcome, PatientSought};
use crate::sandbox::Sandbox;
use crate::storage::deliveries::State;

/// Runs a command.
pub fn dispatch(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Sandbox(arguments) => sandbox(&arguments),
        Command::Serve(arguments) => serve(&arguments),
        Command::Check(arguments) => Ok(check(&arguments)),
        Command::Discover(it) => operate(
            &it.errand.config,
            it.errand.json,
            Operation::Discover { errand: errand(&it.errand), patient: patient(it.patient)? },
        ),
        Command::Query(it) => operate(
            &it.errand.config,
            it.errand.json,
            Operation::Query { errand: errand(&it.errand), patient: patient(it.patient)? },
        ),
        Command::Fetch(Fetch { errand: given, patient: sought, out }) => operate(
            &given.config,
            given.json,
            Operation::Fetch { errand: errand(&given), patient: patient(sought)?, out: absolute(&out)? },
        ),
        Command::Retrieve(Retrieve { errand: given, home, repository, documents, out }) => {
            let operation =
                Operation::Retrieve { errand: errand(&given), home, repository, documents, out: absolute(&out)? };
            operate(&given.config, given.json, operation)
        }
        Command::Documents(Documents::Import { config, user, patient, paths, json }) => {
            let paths = paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?;
            operate(&config, json, Operation::ImportDocuments { user, patient, paths })
        }
        Command::Documents(Documents::List { config, user, patient, json }) => {
            operate(&config, json, Operation::ListDocuments { user, patient })
        }
        Command::Documents(Documents::Show { config, user, document, json }) => {
            operate(&config, json, Operation::ShowDocument { user, document })
        }
        Command::Documents(Documents::View { config, user, document, out, json }) => {
            let out = absolute(&out)?;
            operate(&config, json, Operation::ViewDocument { user, document, out })
        }
        Command::Patients(command) => super::patients::run(command),
        Command::Documents(Documents::Deliver(it)) => {
            let Deliver { errand: given, to, recipients, patient, paths } = *it;
            let paths = paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?;
            let consignment = Consignment { to, recipients, patient, paths };
            operate(&given.config, given.json, Operation::Deliver { errand: errand(&given), consignment })
        }
        Command::Deliveries(Deliveries::List { config, user, state, to, limit, json }) => {
            operate(&config, json, Operation::Deliveries { user, state, to, limit })
        }
        Command::Deliveries(Deliveries::Show { config, user, number, json }) => {
            operate(&config, json, Operation::Delivery { user, number })
        }
        Command::Deliveries(Deliveries::Retry { config, user, number, json }) => {
            operate(&config, json, Operation::Redeliver { user, number })
        }
        Command::Trace(Trace::List { config, limit, partner, state, json }) => {
            operate(&config, json, Operation::Traces { limit, partner, state })
        }
        Command::Trace(Trace::Show { config, trace, json }) => operate(&config, json, Operation::Trace { id: trace }),
        Command::Audit(AuditCommand::Verify { config, json }) => audit(&config, json),
        Command::Certificates(command) => certificates::run(command).map(|()| ExitCode::SUCCESS),
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::new)
}

pub(super) fn settings(arguments: &ConfigArguments) -> Result<Settings, CliError> {
    config::load(&arguments.config)
        .map_err(|problems| CliError(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

/// Starts the log. Commands for people keep it to warnings, so that what they print is what they say.
pub(super) fn log(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let to = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for people; a log that goes into a file or a collector has none.
    let to = to.with_ansi(std::io::stderr().is_terminal());
    // A second call in one process keeps the first log.
    drop(match format {
        LogFormat::Json => to.json().try_init(),
        LogFormat::Text => to.try_init(),
    });
}

fn serve(arguments: &ConfigArguments) -> Result<ExitCode, CliError> {
    let settings = settings(arguments)?;
    log(settings.log_format, settings.log_level.name());
    runtime()?.block_on(async {
        let app = App::open(settings, Clock::system()).map_err(CliError::new)?;
        let running = app.serve().await.map_err(CliError::new)?;
        until_interrupted().await;
        tracing::info!("stopping; running requests are let end");
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

async fn until_interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        drop(tokio::signal::ctrl_c().await);
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

fn check(arguments: &CheckArguments) -> ExitCode {
    let path = &arguments.config.config;
    let report = if arguments.syntax_only {
        let problems = config::load(path).err().unwrap_or_default();
        check::Report { problems, notes: Vec::new() }
    } else {
        check::run(path, &Clock::system())
    };
    if arguments.json {
        let list = |problems: &[crate::directory::Problem]| {
            let one = |p: &crate::directory::Problem| serde_json::json!({ "file": p.file, "line": p.line, "key": p.key, "text": p.text, "remedy": p.remedy });
            problems.iter().map(one).collect::<Vec<_>>()
        };
        println!("{}", serde_json::json!({ "problems": list(&report.problems), "notes": list(&report.notes) }));
    } else {
        for problem in &report.problems {
            println!("problem  {problem}");
        }
        for note in &report.notes {
            println!("note     {note}");
        }
        let count = |list: &[_], what| account::count(list.len(), what);
        println!("{}, {}", count(&report.problems, "problem"), count(&report.notes, "note"));
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Has the gateway do it if it serves, else does it here.
pub(super) fn operate(arguments: &ConfigArguments, json: bool, operation: Operation) -> Result<ExitCode, CliError> {
    let settings = settings(arguments)?;
    log(LogFormat::Text, "warn");
    let outcome = runtime()?.block_on(perform(settings, |_| operation, Bar::none()))?;
    report(&outcome, json)
}

/// Who does what is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Doer {
    /// A gateway that serves, and has others to serve too.
    Gateway,
    /// This process, alone.
    Us,
}

/// Has the gateway do it if it serves, else does it here; the bar shows how far it is. Interrupted, what can be ended
/// in good order is.
pub(super) async fn perform(
    settings: Settings,
    operation: impl FnOnce(Doer) -> Operation,
    bar: Bar,
) -> Result<Outcome, CliError> {
    if let Some(mut stream) = control::connect(&settings.store.folder).await {
        let line = serde_json::to_string(&operation(Doer::Gateway)).map_err(CliError::new)?;
        control::write_line(&mut stream, &line).await.map_err(CliError::new)?;
        loop {
            let answer = control::read_line(&mut stream).await.map_err(CliError::new)?;
            match serde_json::from_str(&answer) {
                Ok(Outcome::Progress(progress)) => bar.show(progress),
                Ok(outcome) => return Ok(outcome),
                Err(_) => return Err(CliError("the gateway gave no answer that this version understands".into())),
            }
        }
    }
    let app = App::open(settings, Clock::system()).map_err(CliError::new)?;
    app.prepare().await.map_err(CliError::new)?;
    let stop = CancellationToken::new();
    let watch = Watch { progress: Arc::new(move |progress| bar.show(progress)), stop: stop.clone() };
    let outcome = {
        let mut done = std::pin::pin!(operations::run_watched(&app.gateway, operation(Doer::Us), &watch));
        tokio::select! {
            outcome = &mut done => outcome,
            () = until_interrupted() => {
                stop.cancel();
                // A second interrupt ends the process.
                tokio::select! {
                    outcome = &mut done => outcome,
                    () = until_interrupted() => return Err(CliError("interrupted".into())),
                }
            }
        }
    };
    app.close().await;
    Ok(outcome)
}

/// Prints what came of it.
pub(super) fn report(outcome: &Outcome, json: bool) -> Result<ExitCode, CliError> {
    if json {
        println!("{}", serde_json::to_string_pretty(&outcome).map_err(CliError::new)?);
    } else if let Outcome::Failed(reason) = outcome {
        eprintln!("error: {reason}");
    } else {
        print!("{}", account::outcome(outcome));
    }
    Ok(match outcome {
        Outcome::Failed(_) => ExitCode::FAILURE,
        Outcome::Delivery(one) if matches!(one.state, State::Refused | State::GivenUp) => ExitCode::FAILURE,
        Outcome::Imported(imported) if !imported.refused.is_empty() => ExitCode::FAILURE,
        Outcome::PatientsImported(report) if !report.is_whole() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn audit(arguments: &ConfigArguments, json: bool) -> Result<ExitCode, CliError> {
    let settings = settings(arguments)?;
    let pem = std::fs::read(&settings.signing.certificate).map_err(CliError::new)?;
    let certificate = crate::sandbox::leaf_of(&pem).map_err(CliError::new)?;
    let report = verify(&settings.store.folder.join("audit"), &[certificate]).map_err(CliError::new)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(CliError::new)?);
    } else {
        print!("{}", account::audit(&report));
    }
    Ok(if report.problem.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sandbox(arguments: &SandboxArguments) -> Result<ExitCode, CliError> {
    log(LogFormat::Text, "error");
    runtime()?.block_on(async {
        let say = |text: &str| {
            if !arguments.json {
                println!("{text}");
            }
        };
        let sandbox = Sandbox::start(&arguments.folder).await.map_err(CliError::new)?;
        say(&format!("Three communities on this machine, in {}:", sandbox.folder.display()));
        say(&format!("  hospital  https://{}   asks", sandbox.hospital.https));
        say(&format!("  valley    https://{}   answers for itself (Carequality style)", sandbox.valley.https));
        say(&format!("  hub       https://{}   answers for Harbor and Summit (QHIN style)", sandbox.hub.https));
        let loaded = sandbox.load().await.map_err(CliError::new)?;
        say(&format!("{} patients fed over MLLP, {} documents provided.\n", loaded.patients, loaded.documents));
        let out = sandbox.folder.join("records");
        let mut accounts = Vec::new();
        for patient in sandbox.hospital_patients().into_iter().take(3) {
            let Some(record) = patient.at(crate::sandbox::samples::Community::Hospital) else { continue };
            let account = sandbox.fetch(record.local_id, &out.join(record.local_id)).await.map_err(CliError::new)?;
            say(&format!("Records of {} ({}):", record.local_id, patient.story));
            say(&account::account(&account));
            accounts.push(account);
        }
        let reports = sandbox.verify_audit().map_err(CliError::new)?;
        for (site, report) in &reports {
            say(&format!("{:<9} {}", site.name(), account::audit(report).trim_end()));
        }
        if arguments.json {
            let audit: Vec<_> = reports.iter().map(|(site, report)| (site.name(), report)).collect();
            println!("{}", serde_json::json!({ "folder": sandbox.folder, "accounts": accounts, "audit": audit }));
        }
        let whole = reports.iter().all(|(_, report)| report.problem.is_none());
        let fetched = accounts.iter().flat_map(|account| &account.documents).any(|document| document.file.is_some());
        if arguments.stay {
            let config = sandbox.folder.join("hospital/causeway.toml");
            let config = config.display();
            say("\nThe gateways stay up until you press Ctrl-C. From another terminal, for instance:");
            say(&format!(
                "  causeway fetch --config {config} --patient 'H1002^^^HOSPITAL' --purpose T-TRTMNT --user you@example.org"
            ));
            say(&format!("  causeway trace list --config {config}"));
            say(&format!("  causeway audit verify --config {config}"));
            until_interrupted().await;
        }
        sandbox.stop().await;
        Ok(if whole && fetched { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn errand(given: &Errand) -> operations::Errand {
    operations::Errand {
        user: given.user.clone().unwrap_or_default(),
        purpose: given.purpose.clone().unwrap_or_default(),
        partners: given.partners.clone(),
        deadline: given.deadline,
    }
}

fn patient(sought: Patient) -> Result<PatientSought, CliError> {
    match sought {
        Patient { patient: Some(id), .. } => Ok(PatientSought::Known { id }),
        Patient { family: Some(family), given: Some(given), birth: Some(birth), gender, .. } => {
            Ok(PatientSought::Described { family, given, birth, gender })
        }
        _ => Err(CliError("name the patient: --patient, or --family, --given and --birth".into())),
    }
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(CliError::new)
}
