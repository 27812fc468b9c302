//! What people read: accounts of exchanges, lists, reports.

use crate::atna::verify::Report;
use crate::bulk::{export, import};
use crate::ebxml::ErrorCode;
use crate::id::Transaction;
use crate::operations::{Account, Imported, Listed, Outcome, Shown, Viewed};
use crate::storage::deliveries::{Delivery, Kind, State};
use crate::storage::identities::Import;
use crate::storage::traces::{Step, Trace};

/// The account of an exchange: each partner's part, then what came of it.
pub fn account(account: &Account) -> String {
    let mut text = String::new();
    for (transaction, title) in [
        (Transaction::Iti55, "Who knows the patient?"),
        (Transaction::Iti38, "What documents do they have?"),
        (Transaction::Iti39, "Bring them home"),
    ] {
        let steps: Vec<&Step> = account.steps.iter().filter(|step| step.transaction == transaction).collect();
        if steps.is_empty() {
            continue;
        }
        line(&mut text, &format!("{title}  ({} {})", transaction.code(), transaction.name()));
        for one in steps {
            line(&mut text, &step(one));
        }
    }
    if account.documents.is_empty() {
        line(&mut text, "No documents.");
    } else {
        line(&mut text, &count(account.documents.len(), "document"));
    }
    for document in &account.documents {
        let place = document.file.as_ref().map_or("not fetched".to_owned(), |file| file.display().to_string());
        let size = document.size.map(|size| format!("{size} bytes")).unwrap_or_default();
        line(&mut text, &format!("  {:<34} {:<16} {size:>12}  {place}", document.title, document.mime_type));
        if let Some(note) = &document.note {
            line(&mut text, &format!("    note: {note}"));
        }
    }
    let complete = if account.complete {
        "Complete: every partner that was asked gave a proper answer."
    } else {
        "Not complete: see the reasons above. There may be more documents than these."
    };
    line(&mut text, complete);
    line(&mut text, &format!("Trace {} in {} ms", account.trace, account.milliseconds));
    text
}

fn step(step: &Step) -> String {
    let what = match (step.transaction, step.results) {
        (_, 0) => String::new(),
        (Transaction::Iti55, 1) => "1 match".into(),
        (Transaction::Iti55, many) => format!("{many} matches"),
        (_, many) => count(many, "document"),
    };
    let reason = step.reason.as_deref().map(|reason| format!("  {reason}")).unwrap_or_default();
    format!("  {:<20} {:<12} {what:<14} {:>7} ms{reason}", step.partner, step.state, step.milliseconds)
}

/// A past exchange.
pub fn trace(trace: &Trace) -> String {
    let mut text = String::new();
    line(&mut text, &format!("{}  {}  {}", trace.id, trace.at.to_rfc3339(), trace.purpose));
    for one in &trace.steps {
        line(&mut text, &format!("  {} {}", one.transaction.code(), step(one).trim_start()));
    }
    text
}

/// What an import came to.
pub fn imported(imported: &Imported) -> String {
    let mut text = String::new();
    for one in &imported.documents {
        line(&mut text, &format!("taken in  {}  {}  {} bytes", one.path.display(), one.unique_id, one.size));
    }
    for (path, reason) in &imported.refused {
        line(&mut text, &format!("refused   {}  {reason}", path.display()));
    }
    line(&mut text, &format!("{} taken in, {} refused", imported.documents.len(), imported.refused.len()));
    text
}

/// A list of documents.
pub fn listed(documents: &[Listed]) -> String {
    let mut text = String::new();
    for one in documents {
        let created = one.created.as_deref().unwrap_or("-");
        line(
            &mut text,
            &format!("{:<14} {:<10} {:<18} {}  {}", created, one.status, one.mime_type, one.unique_id, one.title),
        );
    }
    line(&mut text, &count(documents.len(), "document"));
    text
}

/// What is known of one document.
pub fn shown(shown: &Shown) -> String {
    let mut text = String::new();
    for (name, value) in &shown.attributes {
        line(&mut text, &format!("{name:<27} {value}"));
    }
    if let Some(clinical) = &shown.clinical {
        let kind = clinical.kind.as_deref().unwrap_or("of a kind that its templates do not name");
        line(&mut text, &format!("\nA clinical document: {kind}; {}.", clinical.patient));
        for missing in &clinical.missing {
            line(&mut text, &format!("  its header lacks {missing}"));
        }
    }
    text
}

/// Where a document was written, and why it is no page.
fn viewed(viewed: &Viewed) -> String {
    let mut text = String::new();
    line(&mut text, &viewed.file.display().to_string());
    if let Some(note) = &viewed.note {
        line(&mut text, note);
    }
    text
}

/// What an import of patients came to.
pub fn patients_imported(report: &import::Report) -> String {
    let (import, counts) = (&report.import, &report.import.counts);
    let mut text = String::new();
    if report.was_finished {
        let at = import.finished.map(|at| at.to_rfc3339()).unwrap_or_default();
        line(
            &mut text,
            &format!("This file was imported before, by {}, and ended at {at}. Nothing was done.", import.user),
        );
    } else if report.resumed {
        line(&mut text, "Went on where an earlier run was ended.");
    }
    line(
        &mut text,
        &format!(
            "{} read as {}: {} added ({} of them to patients known by other identifiers), {} updated, {} unchanged, {} \
             merges and links, {} of no patient, {} rejected",
            counts.read,
            report.format.name(),
            counts.added,
            counts.matched,
            counts.updated,
            counts.unchanged,
            counts.relations,
            counts.skipped,
            counts.rejected,
        ),
    );
    if counts.review > 0 {
        line(&mut text, &format!("{} look like a patient who is known; someone should decide", counts.review));
    }
    if let Some(rejects) = &report.rejects {
        line(&mut text, &format!("What was rejected, and why: {}", rejects.display()));
    }
    if import.finished.is_none() {
        line(
            &mut text,
            &format!(
                "Not ended: {} of {} bytes are done. Run the same command again to go on.",
                import.place.offset, import.size
            ),
        );
    }
    text
}

/// A delivery: where it goes, how far it is, and why.
pub fn delivery(one: &Delivery) -> String {
    let mut text = String::new();
    let kind = match one.kind {
        Kind::Notification => "notification",
        Kind::Documents => "documents",
    };
    let head = format!("{:>6}  {:<9}  {:<12}  {}  {}", one.number, one.state.name(), kind, one.at.to_rfc3339(), one.to);
    line(&mut text, &head);
    let tries = if one.attempts == 1 { "tried once".into() } else { format!("tried {} times", one.attempts) };
    let when = match (one.state, one.ended) {
        (State::Waiting, _) => format!("next at {}", one.due.to_rfc3339()),
        (_, Some(ended)) => format!("ended at {}", ended.to_rfc3339()),
        (_, None) => String::new(),
    };
    line(&mut text, &format!("        {tries}, {when}, trace {}", one.trace));
    if let Some(reason) = &one.reason {
        line(&mut text, &format!("        {reason}"));
    }
    for reported in &one.reported {
        let kind = if reported.warning { "warning" } else { "error" };
        let code = ErrorCode::from_wire(&reported.code);
        line(&mut text, &format!("        {kind} {}: {}", reported.code, reported.text));
        if !code.meaning().is_empty() {
            line(&mut text, &format!("          {}", code.meaning()));
        }
    }
    if let Some(number) = one.again_as {
        line(&mut text, &format!("        taken up again as {number}"));
    }
    text
}

/// What an export of patients came to.
pub fn patients_exported(report: &export::Report) -> String {
    let mut text = String::new();
    line(
        &mut text,
        &format!(
            "{} patients with {} records, {} bytes, SHA-256 {}",
            report.persons, report.records, report.bytes, report.digest
        ),
    );
    if report.incomplete > 0 {
        let what = "records have values for which this form of file has no place; csv has one for all";
        line(&mut text, &format!("{} {what}", report.incomplete));
    }
    if report.apart_not_told > 0 {
        let what = "pairs that are kept apart could not be told in this form of file";
        line(&mut text, &format!("{} {what}", report.apart_not_told));
    }
    text
}

/// Every import of patients.
pub fn imports(imports: &[Import]) -> String {
    let mut text = String::new();
    for one in imports {
        let state = match one.finished {
            Some(at) => format!("ended {}", at.to_rfc3339()),
            None => format!("at byte {} of {}", one.place.offset, one.size),
        };
        let counts = &one.counts;
        let what = format!("{} added, {} updated, {} rejected", counts.added, counts.updated, counts.rejected);
        line(&mut text, &format!("{}  {state}  {what}  {} ({})", one.started.to_rfc3339(), one.file, one.user));
    }
    line(&mut text, &count(imports.len(), "import"));
    text
}

/// A list of deliveries.
fn deliveries(list: &[Delivery]) -> String {
    let mut text: String = list.iter().map(delivery).collect();
    line(&mut text, &format!("{} deliveries", list.len()));
    text
}

/// The result of a proof of the audit trail.
pub fn audit(report: &Report) -> String {
    match &report.problem {
        None => {
            let (records, files) = (count(report.records, "record"), count(report.segments, "file"));
            format!("the audit trail is whole: {records} in {files}\n")
        }
        Some(problem) => {
            let (file, sequence) = (problem.file.display(), problem.sequence);
            format!("the audit trail is NOT whole: {file}, entry {sequence}: {}\n", problem.explanation)
        }
    }
}

/// Any outcome.
pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Account(one) => account(one),
        Outcome::Imported(one) => imported(one),
        Outcome::Document(one) => shown(one),
        Outcome::Viewed(viewed) => self::viewed(viewed),
        Outcome::Documents(list) => listed(list),
        Outcome::Traces(list) if list.is_empty() => "no exchanges yet\n".into(),
        Outcome::Traces(list) => list.iter().map(trace).collect(),
        Outcome::Progress(progress) => format!("{} of {}\n", progress.done, progress.size),
        Outcome::PatientsImported(report) => patients_imported(report),
        Outcome::PatientsExported(report) => patients_exported(report),
        Outcome::Imports(list) => imports(list),
        Outcome::Patients(reply) => super::identity::text(reply),
        Outcome::Deliveries(list) => deliveries(list),
        Outcome::Delivery(one) => delivery(one),
        Outcome::Failed(reason) => format!("{reason}\n"),
    }
}

/// `1 document`, `2 documents`.
pub fn count(number: impl std::fmt::Display, what: &str) -> String {
    let text = format!("{number} {what}");
    if text.starts_with("1 ") { text } else { text + "s" }
}

fn line(text: &mut String, content: &str) {
    text.push_str(content.trim_end());
    text.push('\n');
}
