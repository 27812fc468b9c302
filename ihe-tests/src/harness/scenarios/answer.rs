//! Compares an answer with what the suite expects of it.

use std::process::Command;

use super::{Step, Story};
use crate::harness::Answer;

/// `Success`, `Failure: CODE, CODE`, or `Fault: …`.
pub fn told(answer: &Answer) -> String {
    answer.body(|body| {
        if body.local_name() == "Fault" {
            return format!("Fault: {}", answer.fault().reason.split(" (trace").next().unwrap_or_default());
        }
        let response = if body.local_name() == "RetrieveDocumentSetResponse" {
            body.children().find(|child| child.local_name() == "RegistryResponse").unwrap()
        } else {
            body
        };
        let status = response.attribute("status").unwrap_or_default();
        let status = status.rsplit(':').next().unwrap_or_default();
        let codes: Vec<String> = std::iter::once(response)
            .flat_map(|response| response.descendants())
            .filter_map(|error| error.attribute("errorCode").map(str::to_owned))
            .collect();
        if codes.is_empty() { status.to_owned() } else { format!("{status}: {}", codes.join(", ")) }
    })
}

/// What the errors of an answer say.
pub(super) fn contexts(answer: &Answer) -> String {
    answer.body(|body| {
        let errors = body.descendants().filter_map(|error| error.attribute("codeContext").map(str::to_owned));
        errors.collect::<Vec<_>>().join("; ")
    })
}

/// What an answer to a query holds.
#[derive(Default)]
struct Held {
    /// Status of each entry, folder and submission set.
    documents: Vec<String>,
    folders: Vec<String>,
    sets: Vec<String>,
    associations: usize,
    references: usize,
}

impl Held {
    fn of(answer: &Answer) -> Self {
        answer.body(|body| {
            let mut held = Self::default();
            let lists = body.children().filter(|one| one.local_name() == "RegistryObjectList");
            for object in lists.flat_map(|list| list.children()) {
                let status = object.attribute("status").unwrap_or_default();
                let status = status.rsplit(':').next().unwrap_or_default().to_owned();
                match object.local_name() {
                    "ExtrinsicObject" => held.documents.push(status),
                    "RegistryPackage" => {
                        let is_set = object.descendants().any(|one| {
                            one.attribute("classificationNode").is_some_and(|node| node.contains("a54d6aa5"))
                        });
                        if is_set { held.sets.push(status) } else { held.folders.push(status) }
                    }
                    "Association" => held.associations += 1,
                    "ObjectRef" => held.references += 1,
                    _ => {}
                }
            }
            held
        })
    }

    /// Whether the answer is what a word of the suite says.
    fn is(&self, word: &str) -> bool {
        let counts = (self.sets.len(), self.documents.len(), self.folders.len());
        let all = |statuses: &[String], wanted: &str| !statuses.is_empty() && statuses.iter().all(|one| one == wanted);
        let one = |wanted: &str| self.documents.iter().filter(|one| *one == wanted).count() == 1;
        if let Some((kind, count)) = word.split_once(" count=") {
            let found = match kind {
                "Documents" => self.documents.len(),
                "Folders" => self.folders.len(),
                "SubmissionSets" => self.sets.len(),
                "Associations" => self.associations,
                "ObjectRefs" => self.references,
                _ => return false,
            };
            return count.parse() == Ok(found);
        }
        match word {
            "None" => counts == (0, 0, 0) && self.references == 0,
            "NoSubmissionSet" => self.sets.is_empty(),
            "NoDocument" => self.documents.is_empty(),
            "DocumentEntries" => !self.documents.is_empty(),
            "SSwithOneDoc" => counts == (1, 1, 0),
            "SSwithTwoDoc" => counts == (1, 2, 0),
            "SSwithOneFol" => counts == (1, 0, 1),
            "SSwithOneDocOneFol" => counts == (1, 1, 1),
            "SSwithTwoDocOneFol" | "SSwithTwoDocOneFolOneDocInFol" => counts == (1, 2, 1),
            "DocApp" => all(&self.documents, "Approved"),
            "DocDep" => all(&self.documents, "Deprecated"),
            "OneDocApp" => one("Approved"),
            "OneDocDep" => one("Deprecated"),
            "FolApp" => all(&self.folders, "Approved"),
            "FolDep" => all(&self.folders, "Deprecated"),
            "SSApproved" => all(&self.sets, "Approved"),
            "HasSnapshotPattern" => self.documents.len() == 2 && self.associations > 0,
            _ => false,
        }
    }

    fn summary(&self) -> String {
        format!(
            "{} sets, {} documents, {} folders, {} associations, {} references",
            self.sets.len(),
            self.documents.len(),
            self.folders.len(),
            self.associations,
            self.references
        )
    }
}

/// Says what is wrong with an answer.
pub(super) fn check(step: &Step, answer: &Answer, story: &Story) -> Result<(), String> {
    let outcome = told(answer);
    let (status, code) = step.expected.split_once(": ").map_or((step.expected.as_str(), None), |(a, b)| (a, Some(b)));
    let told_status = outcome.split(':').next().unwrap_or_default();
    if told_status != status {
        return Err(format!("{} was expected", step.expected));
    }
    if let Some(code) = code
        && !outcome.contains(code)
    {
        return Err(format!("{code} was expected"));
    }
    let held = Held::of(answer);
    for word in step.contents.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if !held.is(word) {
            return Err(format!("{word} was expected, and there are {}", held.summary()));
        }
    }
    assertions(step, answer, story)
}

/// XPath over the suite's log, which has the answer in a frame.
fn assertions(step: &Step, answer: &Answer, story: &Story) -> Result<(), String> {
    if step.assertions.is_empty() {
        return Ok(());
    }
    let body = answer.body(|body| String::from_utf8(body.canonical(None, &[])).unwrap());
    let frame = match step.transaction.as_str() {
        "ITI-38" => "XCQTransaction",
        "ITI-39" => "XCRTransaction",
        "ITI-18" | "ITI-51" => "StoredQueryTransaction",
        _ => return Ok(()),
    };
    let log = format!(
        "<TestResults><TestStep id=\"{0}\"><{frame} step=\"{0}\"><Result>{body}</Result></{frame}></TestStep></TestResults>",
        step.step
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), log).unwrap();
    for assertion in step.assertions.split(" && ") {
        let mut expression = without_remark(assertion);
        // The corpus cuts long cells off.
        if expression.matches('[').count() != expression.matches(']').count()
            || !expression.matches('\'').count().is_multiple_of(2)
        {
            continue;
        }
        while let Some(at) = expression.find('$') {
            let length = expression[at + 1..].find('$').ok_or("a variable is not closed")?;
            let name = expression[at + 1..at + 1 + length].to_owned();
            let value = story.value(step, &name).ok_or_else(|| format!("nothing is known of ${name}$"))?;
            expression.replace_range(at..at + length + 2, &value);
        }
        let wrapped = format!("boolean({expression})");
        let Ok(output) = Command::new("xmllint").args(["--xpath", &wrapped]).arg(file.path()).output() else {
            crate::missing("xmllint is not installed, so assertions were not looked at");
            return Ok(());
        };
        let result = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if result != "true" {
            return Err(format!("the assertion {assertion} is {result}{}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(())
}

/// An assertion without the remark in brackets at its end.
fn without_remark(assertion: &str) -> String {
    let text = assertion.trim().trim_end_matches("&&").trim();
    match text.rfind(" [") {
        Some(at) if text.ends_with(']') && !text[at + 2..].contains(['=', '@']) => text[..at].to_owned(),
        _ => text.to_owned(),
    }
}
