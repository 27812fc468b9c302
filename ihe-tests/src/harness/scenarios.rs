//! Scenarios of a public test suite, run in order against a gateway: each step is filled in with what the steps before
//! it made, sent, and its answer compared with what the suite expects.

mod answer;
mod fill;

use std::path::{Path, PathBuf};

use causeway::xca::responding_gateway::{QUERY_ACTION as CROSS_QUERY, RETRIEVE_ACTION as CROSS_RETRIEVE};
use causeway::xds::administration::{
    REMOVE_DOCUMENTS_ACTION, REMOVE_METADATA_ACTION, RESTRICTED_UPDATE_ACTION, UPDATE_ACTION,
};
use causeway::xds::registration::REGISTER_ACTION;
use causeway::xds::registry::{MULTI_PATIENT_ACTION, QUERY_ACTION};
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xds::retrieval::ACTION as RETRIEVE_ACTION;

pub use answer::told;
pub use fill::{Made, Story};

use super::client::Attachment;
use super::world::Solo;
use super::{Answer, Feed};

/// A step of a scenario.
#[derive(Clone, Debug)]
pub struct Step {
    /// The suite's number of the scenario.
    pub test: String,
    /// Its part.
    pub section: String,
    /// The step.
    pub step: String,
    /// The transaction, such as `ITI-18`.
    pub transaction: String,
    /// `Success`, `PartialSuccess`, `Failure`, `Failure: CODE`.
    pub expected: String,
    /// The message, below the corpus.
    pub file: PathBuf,
    /// What the answer contains, in the suite's words.
    pub contents: String,
    /// XPath over the suite's log.
    pub assertions: String,
    /// Variable, kind of id, step and object that it is taken from.
    pub bindings: Vec<[String; 4]>,
}

impl Step {
    /// `test/section/step`.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.test, self.section, self.step)
    }

    /// All steps of the scenarios of a corpus, in the order of their table.
    pub fn load(corpus: &Path) -> Vec<Self> {
        let read = |path: &str| std::fs::read_to_string(corpus.join(path)).unwrap();
        let (manifest, table) = (read("MANIFEST.tsv"), read("scenarios/nist-scenarios.tsv"));
        let notes = |file: &str| {
            let row = manifest.lines().find(|line| line.split('\t').next() == Some(file));
            row.and_then(|line| line.split('\t').nth(9)).unwrap_or_default()
        };
        let step = |line: &str| {
            let mut columns = line.split('\t').map(str::to_owned);
            let mut next = || columns.next().unwrap_or_default();
            let (test, section, step, transaction, expected) = (next(), next(), next(), next(), next());
            let (file, contents, assertions) = (next(), next(), next());
            let bindings = bindings(notes(&file));
            let file = corpus.join(file);
            Self { test, section, step, transaction, expected, file, contents, assertions, bindings }
        };
        table.lines().skip(1).map(step).collect()
    }
}

/// `$uid$<-AssignedUids/submit:Document01; …`
fn bindings(notes: &str) -> Vec<[String; 4]> {
    let binding = |text: &str| {
        let (variable, from) = text.split_once("<-")?;
        let (kind, place) = from.split_once('/')?;
        let (step, object) = place.split_once(':')?;
        let variable = variable.rsplit(' ').next()?.trim_matches('$');
        Some([variable, kind, step, object.split(['|', ' ']).next()?].map(str::to_owned))
    };
    notes.split(';').filter_map(|text| binding(text.trim())).collect()
}

/// Runs steps against a gateway.
pub struct Runner {
    /// The gateway, and the partner that sends the steps.
    pub solo: Solo,
}

impl Runner {
    /// Makes a patient known and gives its identifier.
    pub async fn patient(&self, domain: &str) -> String {
        let id = super::samples::fresh_oid().replace('.', "");
        let cx = format!("N{id}^^^&{domain}&ISO");
        let message = format!(
            "MSH|^~\\&|ADT|SUITE|||20261122||ADT^A04^ADT_A01|{}|P|2.3.1\rEVN|A04|20261122\rPID|||{cx}||Suite^{}\r\
             PV1||O\r",
            &id[..20],
            &id[20..]
        );
        self.feed(&message).await;
        cx
    }

    /// Merges a patient into another.
    pub async fn merge(&self, survivor: &str, subsumed: &str) {
        let control = &super::samples::fresh_oid()[25..];
        let message = format!(
            "MSH|^~\\&|ADT|SUITE|||20261122||ADT^A40^ADT_A39|{control}|P|2.3.1\rEVN|A40|20261122\rPID|||{survivor}\r\
             MRG|{subsumed}\r"
        );
        self.feed(&message).await;
    }

    async fn feed(&self, message: &str) {
        let told = Feed::open(self.solo.mllp()).await.ask(message.as_bytes()).await;
        assert_eq!(told.code.code(), "AA", "{}", told.text);
    }

    /// Sends a step and says what is wrong with the answer.
    pub async fn run(&self, step: &Step, story: &mut Story) -> Result<(), String> {
        let (service, action) = place(&step.transaction).ok_or("the transaction is none of a registry")?;
        let prepared = story.prepare(step)?;
        let letter = self.solo.letter(service, action, prepared.body);
        let envelope = letter.envelope(&self.solo.client.key);
        let https = self.solo.running.https;
        let path = format!("/{service}");
        let answer = if matches!(action, PROVIDE_ACTION | RETRIEVE_ACTION | CROSS_RETRIEVE) {
            self.packed(action, &envelope, &path, &prepared.parts).await
        } else {
            self.solo.client.post(https, &path, &envelope).await
        };
        let outcome = told(&answer);
        if outcome.starts_with("Success") {
            story.made.extend(prepared.made);
            story.retrieved(&answer);
        } else {
            story.refused.extend(prepared.made);
        }
        answer::check(step, &answer, story)
            .map_err(|problem| format!("{problem} ({outcome}; {})", answer::contexts(&answer)))
    }

    async fn packed(&self, action: &str, envelope: &str, path: &str, parts: &[Attachment]) -> Answer {
        let (content_type, body) = super::client::packed(action, envelope, parts);
        let https = self.solo.running.https;
        self.solo.client.send(https, hyper::Method::POST, path, &content_type, body).await.into_answer()
    }
}

/// The service and the action of a transaction.
fn place(transaction: &str) -> Option<(&'static str, &'static str)> {
    Some(match transaction {
        "ITI-18" => ("DocumentRegistry", QUERY_ACTION),
        "ITI-38" => ("RespondingGateway", CROSS_QUERY),
        "ITI-39" => ("RespondingGateway", CROSS_RETRIEVE),
        "ITI-41" | "ITI-41 (XDR)" => ("DocumentRepository", PROVIDE_ACTION),
        "ITI-42" => ("DocumentRegistry", REGISTER_ACTION),
        "ITI-43" => ("DocumentRepository", RETRIEVE_ACTION),
        "ITI-51" => ("DocumentRegistry", MULTI_PATIENT_ACTION),
        "ITI-57" => ("DocumentRegistry", UPDATE_ACTION),
        "ITI-61" => ("DocumentRegistry", causeway::xds::registration::ON_DEMAND_ACTION),
        "ITI-62" => ("DocumentRegistry", REMOVE_METADATA_ACTION),
        "ITI-86" => ("DocumentRepository", REMOVE_DOCUMENTS_ACTION),
        "ITI-92" => ("DocumentRegistry", RESTRICTED_UPDATE_ACTION),
        _ => return None,
    })
}
