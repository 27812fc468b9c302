//! Fills a step in as the suite's own tool does: patients and unique ids of this run, and what earlier steps made.

use causeway::xml::{Element, Limits, parse};

use super::Step;
use crate::harness::Answer;
use crate::harness::client::Attachment;
use crate::harness::samples::fresh_oid;
use crate::harness::world::{SOLO_HOME, SOLO_REPOSITORY};

/// What kind of object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// An entry.
    Document,
    /// An entry whose document is made when it is asked for.
    OnDemand,
    /// A submission set.
    Set,
    /// A folder.
    Folder,
    /// An association.
    Association,
}

/// An object that a step made.
#[derive(Clone, Debug)]
pub struct Made {
    section: String,
    step: String,
    symbol: String,
    uuid: String,
    unique_id: String,
    kind: Kind,
}

/// What has happened in a scenario so far.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The patient, and others for steps that want them.
    pub patients: Vec<String>,
    /// In the order in which it was made.
    pub made: Vec<Made>,
    /// What was to be made and was refused: some steps look for it.
    pub refused: Vec<Made>,
    /// Unique ids of documents that were made when they were asked for.
    pub snapshots: Vec<String>,
    /// Where a variable comes from, or which patient a step is about, where the corpus does not say: step, variable,
    /// place or value.
    pub told: Vec<(&'static str, &'static str, &'static str)>,
}

/// A message that is ready.
pub struct Prepared {
    /// The body.
    pub body: String,
    /// Its attachments.
    pub parts: Vec<Attachment>,
    /// What it makes if it succeeds.
    pub made: Vec<Made>,
}

const ROOTS: [&str; 6] = [
    "ProvideAndRegisterDocumentSetRequest",
    "SubmitObjectsRequest",
    "AdhocQueryRequest",
    "RetrieveDocumentSetRequest",
    "RemoveObjectsRequest",
    "RemoveDocumentsRequest",
];

impl Story {
    /// The message of a step.
    pub fn prepare(&self, step: &Step) -> Result<Prepared, String> {
        let text = std::fs::read_to_string(&step.file).map_err(|error| error.to_string())?;
        let text = text
            .trim_start()
            .replace("urn:oasis:names:tc:ebxml-regrep:rim:xsd:2.1", "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0")
            .replace("urn:oasis:names:tc:ebxml-regrep:registry:xsd:2.1", "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0")
            .replace("LeafRegistryObjectList", "RegistryObjectList");
        let (text, made) = self.with_ids(step, &without_comments(&text));
        let text = self.with_variables(step, &text)?;
        let made = made.into_iter().map(|mut one| {
            if let Some(variable) = one.unique_id.strip_prefix('$') {
                one.unique_id = self.value(step, variable.trim_end_matches('$')).unwrap_or_default();
            }
            one
        });
        let made: Vec<Made> = made.collect();
        let body = element(&text, &ROOTS).ok_or("the message has no body")?;
        if !step.transaction.starts_with("ITI-41") {
            return Ok(Prepared { body, parts: Vec::new(), made });
        }
        Ok(provided(step, body, made))
    }

    /// Remembers the ids of documents that were made on demand.
    pub fn retrieved(&mut self, answer: &Answer) {
        let found: Vec<String> = answer.body(|body| {
            let new = body.descendants().filter(|one| one.local_name() == "NewDocumentUniqueId");
            new.map(|one| one.trimmed().into_owned()).collect()
        });
        self.snapshots.extend(found);
    }

    /// Gives objects UUIDs in place of symbols, and unique ids and patients of this run in place of the suite's.
    fn with_ids(&self, step: &Step, text: &str) -> (String, Vec<Made>) {
        let mut made: Vec<Made> = Vec::new();
        let mut out = String::with_capacity(text.len());
        let mut literals: Vec<String> = Vec::new();
        for piece in split_tags(text) {
            let name = piece.trim_start_matches('<').split(|c: char| c.is_whitespace() || c == '>').next();
            let name = name.unwrap_or_default().rsplit(':').next().unwrap_or_default();
            let kind = match name {
                "ExtrinsicObject" if piece.contains("34268e47") => Some(Kind::OnDemand),
                "ExtrinsicObject" => Some(Kind::Document),
                // Which of the two it is, its identifiers tell.
                "RegistryPackage" => Some(Kind::Folder),
                "Association" => Some(Kind::Association),
                _ => None,
            };
            if let Some((kind, symbol)) = kind.zip(attribute(piece, "id")) {
                made.push(Made {
                    section: step.section.clone(),
                    step: step.step.clone(),
                    uuid: if symbol.starts_with("urn:uuid:") { symbol.clone() } else { fresh_uuid() },
                    symbol,
                    unique_id: String::new(),
                    kind,
                });
            }
            let value = attribute(piece, "value").filter(|_| name == "ExternalIdentifier");
            let holder = attribute(piece, "registryObject");
            let holder = match holder.and_then(|holder| made.iter().position(|one| one.symbol == holder)) {
                Some(at) => Some(at),
                None => made.len().checked_sub(1),
            };
            let replaced = value.zip(holder).and_then(|(value, at)| {
                if piece.contains("96fdda7c") || piece.contains("6b5aea1a") {
                    made[at].kind = Kind::Set;
                }
                let unique = ["2e82c1f6", "96fdda7c", "75df8f67"].iter().any(|scheme| piece.contains(scheme));
                let patient = ["58a6f841", "6b5aea1a", "f64ffdf0"].iter().any(|scheme| piece.contains(scheme));
                let new = if unique {
                    made[at].unique_id = if value.starts_with('$') { value.clone() } else { fresh_oid() };
                    made[at].unique_id.clone()
                } else if patient && !value.starts_with('$') && !step.expected.contains("XDSUnknownPatientId") {
                    // The suite's tool puts its own patient everywhere, but where the patients are to differ.
                    let one = !step.expected.contains("DoesNotMatch");
                    let number = if one {
                        0
                    } else {
                        literals.iter().position(|other| *other == value).unwrap_or(literals.len())
                    };
                    if !one && number == literals.len() {
                        literals.push(value.clone());
                    }
                    escaped(self.patients.get(number)?)
                } else {
                    return None;
                };
                Some(piece.replace(&format!("value=\"{value}\""), &format!("value=\"{new}\"")))
            });
            out.push_str(replaced.as_deref().unwrap_or(piece));
        }
        for one in &made {
            out = out.replace(&format!("\"{}\"", one.symbol), &format!("\"{}\"", one.uuid));
        }
        (out, made)
    }

    fn with_variables(&self, step: &Step, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let length = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(0);
            // A parameter of a query begins with the same sign, and once the second sign of a variable is missing.
            let closed = length > 0 && (after[length..].starts_with('$') || &after[..length] == "home");
            if closed {
                let name = &after[..length];
                let value = self.value(step, name).ok_or_else(|| format!("nothing is known of ${name}$"))?;
                out.push_str(&escaped(&value));
                rest = after[length..].strip_prefix('$').unwrap_or(&after[length..]);
            } else {
                out.push('$');
                rest = after;
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The value of a variable: as the corpus or the table says, else what its name means.
    pub fn value(&self, step: &Step, name: &str) -> Option<String> {
        let full = step.name();
        let told = self.told.iter().find(|(place, variable, _)| *place == full && *variable == name);
        if let Some((_, _, from)) = told {
            if let Some(number) = from.strip_prefix("patient ") {
                return self.patients.get(number.parse::<usize>().ok()?).cloned();
            }
            if let Some(number) = from.strip_prefix("snapshot ") {
                return self.snapshots.get(number.parse::<usize>().ok()?).cloned();
            }
            let (place, object) = from.split_once(':')?;
            let found = self
                .made
                .iter()
                .rev()
                .find(|one| one.symbol == object && (one.section == place || one.step == place))?;
            return Some(id_of(found, name));
        }
        let binding = step.bindings.iter().find(|[variable, ..]| variable == name);
        if let Some([_, kind, from, object]) = binding
            && !kind.ends_with("PatientId")
            && let Some(found) = self.find(step, from, object)
        {
            return Some(if kind == "AssignedUids" { found.unique_id.clone() } else { found.uuid.clone() });
        }
        let lower = name.to_ascii_lowercase();
        let last = |kind: Kind| self.made.iter().rev().find(|one| one.kind == kind);
        let documents = || {
            let last = last(Kind::Document)?;
            let step = (&last.section, &last.step);
            Some(self.made.iter().filter(move |one| one.kind == Kind::Document && (&one.section, &one.step) == step))
        };
        match lower.as_str() {
            "home" => Some(SOLO_HOME.to_owned()),
            "repuid" | "repuid1" | "repuid2" | "repositoryuid" => Some(SOLO_REPOSITORY.to_owned()),
            "altpatientid" | "patientiddenew" => self.patients.get(1).cloned(),
            "od_doc_uid" => last(Kind::OnDemand).map(|one| one.unique_id.clone()),
            "od_doc_uuid" => last(Kind::OnDemand).map(|one| one.uuid.clone()),
            "od_snapshot_uid1" => self.snapshots.first().cloned(),
            "od_snapshot_uid2" => self.snapshots.get(1).cloned(),
            "docuid" | "docuid1" => documents()?.next().map(|one| one.unique_id.clone()),
            "docuid2" => documents()?.nth(1).map(|one| one.unique_id.clone()),
            "foluid" => last(Kind::Folder).map(|one| one.unique_id.clone()),
            "folder" | "fol_uuid" | "folderuuid" | "folder01" => last(Kind::Folder).map(|one| one.uuid.clone()),
            "document01_uid" => Some(fresh_oid()),
            _ if lower.contains("patient") || lower == "pid" => self.patients.first().cloned(),
            _ if lower.contains("doc") && lower.contains("uid") || lower.starts_with("document") => {
                last(Kind::Document).map(|one| id_of(one, name))
            }
            _ => None,
        }
    }

    /// The object that a binding names: of this section, of the section or step of that name, or of the last step that
    /// made one of that name.
    fn find(&self, step: &Step, from: &str, object: &str) -> Option<&Made> {
        find(&self.made, step, from, object).or_else(|| find(&self.refused, step, from, object))
    }
}

fn find<'m>(made: &'m [Made], step: &Step, from: &str, object: &str) -> Option<&'m Made> {
    let named = || made.iter().filter(|one| one.symbol == object);
    let here = named().rev().find(|one| one.section == step.section && one.step == from);
    let there = || named().find(|one| one.section == from || one.step == from);
    let in_section = || named().rev().find(|one| one.section == step.section);
    here.or_else(there).or_else(in_section).or_else(|| named().next_back()).or_else(|| {
        let kind = match object {
            _ if object.starts_with("SubmissionSet") => Kind::Set,
            _ if object.starts_with("Fol") => Kind::Folder,
            _ => Kind::Document,
        };
        made.iter().rev().find(|one| one.kind == kind)
    })
}

fn id_of(made: &Made, variable: &str) -> String {
    let lower = variable.to_ascii_lowercase();
    let is_unique = lower.ends_with("uid") && !lower.ends_with("uuid") || lower == "ssuid" || lower == "uniqueid";
    if is_unique { made.unique_id.clone() } else { made.uuid.clone() }
}

/// The body of ITI-41: the metadata with the documents that the corpus has for them.
fn provided(step: &Step, body: String, made: Vec<Made>) -> Prepared {
    if body.contains("Document id=") || body.contains(":Document ") {
        return Prepared { body, parts: Vec::new(), made };
    }
    let mut parts = Vec::new();
    let mut documents = String::new();
    for one in made.iter().filter(|one| one.kind == Kind::Document) {
        let cid = one.uuid.trim_start_matches("urn:uuid:");
        documents.push_str(&format!(
            "<xdsb:Document id=\"{}\"><xop:Include xmlns:xop=\"http://www.w3.org/2004/08/xop/include\" \
             href=\"cid:{cid}\"/></xdsb:Document>",
            one.uuid
        ));
        parts.push((cid.to_owned(), "text/plain", content(step, &one.symbol)));
    }
    let body = without_digests(element(&body, &["SubmitObjectsRequest"]).unwrap_or(body));
    let body = format!(
        "<xdsb:ProvideAndRegisterDocumentSetRequest xmlns:xdsb=\"urn:ihe:iti:xds-b:2007\">{body}{documents}\
         </xdsb:ProvideAndRegisterDocumentSetRequest>"
    );
    Prepared { body, parts, made }
}

/// The suite's own document for an entry, or any.
fn content(step: &Step, symbol: &str) -> Vec<u8> {
    let stem = step.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let prefix = format!("{stem}-{}-", symbol.to_ascii_lowercase());
    let folder = std::fs::read_dir(step.file.parent().unwrap()).unwrap();
    let file = folder.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    file.map_or_else(|| b"the document".to_vec(), |entry| std::fs::read(entry.path()).unwrap())
}

/// The element of a name in a document, with the namespaces that it needs.
fn element(text: &str, names: &[&str]) -> Option<String> {
    let tree = parse(text.trim_start(), &Limits::default()).unwrap_or_else(|error| panic!("{error}: {text}"));
    let root = tree.root().unwrap();
    let found = names.iter().find_map(|name| {
        [root].into_iter().chain(root.descendants()).find(|one: &Element<'_>| one.local_name() == *name)
    });
    found.map(|one| String::from_utf8(one.canonical(None, &[])).unwrap())
}

fn without_comments(text: &str) -> String {
    let mut pieces = text.split("<!--");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once("-->").map_or("", |(_, rest)| rest))
}

/// Metadata without the hash and the size of the suite's documents, which its tool computes when it sends them.
fn without_digests(mut body: String) -> String {
    for name in ["name=\"hash\"", "name=\"size\""] {
        while let Some(at) = body.find(name) {
            let start = body[..at].rfind('<').unwrap();
            let end = at + body[at..].find("Slot>").unwrap() + "Slot>".len();
            body.replace_range(start..end, "");
        }
    }
    body
}

/// A document in pieces, each of which starts with a tag.
fn split_tags(text: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = text.match_indices('<').map(|(at, _)| at).chain([text.len()]).collect();
    let head = &text[..starts[0]];
    let pieces: Vec<&str> = starts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
    std::iter::once(head).chain(pieces)
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = &tag[..tag.find('>')?];
    let at = tag
        .match_indices(&format!("{name}=\""))
        .map(|(at, _)| at)
        .find(|at| tag[..*at].ends_with(|c: char| c.is_whitespace()))?;
    let value = &tag[at + name.len() + 2..];
    Some(value[..value.find('"')?].to_owned())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
}

fn fresh_uuid() -> String {
    causeway::id::EntryUuid::random().to_string()
}
