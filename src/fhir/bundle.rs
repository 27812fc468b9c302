//! Bundle: search results, transactions, messages and their answers.

use std::fmt;

use serde_json::Value;
use smol_str::SmolStr;

use super::json::{self, Builder};
use super::outcome::{Outcome, Refusal};

/// Where the grade of a match is (ITI-119).
pub const MATCH_GRADE: &str = "http://hl7.org/fhir/StructureDefinition/match-grade";

/// `Bundle.type`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Results of a search.
    Searchset,
    /// All or nothing.
    Transaction,
    /// The answer to it.
    TransactionResponse,
    /// Each by itself.
    Batch,
    /// The answer to it.
    BatchResponse,
    /// The first entry is a MessageHeader.
    Message,
    /// The first entry is a Composition.
    Document,
    /// Versions of resources.
    History,
    /// Just resources.
    Collection,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Searchset,
        Self::Transaction,
        Self::TransactionResponse,
        Self::Batch,
        Self::BatchResponse,
        Self::Message,
        Self::Document,
        Self::History,
        Self::Collection,
    ];

    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Searchset => "searchset",
            Self::Transaction => "transaction",
            Self::TransactionResponse => "transaction-response",
            Self::Batch => "batch",
            Self::BatchResponse => "batch-response",
            Self::Message => "message",
            Self::Document => "document",
            Self::History => "history",
            Self::Collection => "collection",
        }
    }
}

/// How sure a match is (value set `match-grade`).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Grade {
    /// Another person.
    CertainlyNot,
    /// Somebody has to look.
    Possible,
    /// More likely than not.
    Probable,
    /// The same person.
    Certain,
}

impl Grade {
    const ALL: [Self; 4] = [Self::CertainlyNot, Self::Possible, Self::Probable, Self::Certain];

    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CertainlyNot => "certainly-not",
            Self::Possible => "possible",
            Self::Probable => "probable",
            Self::Certain => "certain",
        }
    }

    /// From the code.
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grade| grade.as_str() == text)
    }
}

/// `entry.search.mode`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// It was asked for.
    Match,
    /// It belongs to one that was.
    Include,
    /// It tells about the search.
    Outcome,
}

/// Why an entry is in a searchset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Match, include or outcome.
    pub mode: Mode,
    /// 0 to 1.
    pub score: Option<f64>,
    /// The grade of a `$match`.
    pub grade: Option<Grade>,
}

/// `entry.request`.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Asked {
    /// `POST`, `PUT`, `PATCH`, `DELETE`, `GET`.
    pub method: SmolStr,
    /// Relative to the base.
    pub url: SmolStr,
    /// Condition of a creation.
    pub if_none_exist: Option<SmolStr>,
}

/// `entry.response`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answered {
    /// `201`, perhaps with words after it.
    pub status: SmolStr,
    /// Where the resource is now.
    pub location: Option<SmolStr>,
    /// Its version.
    pub etag: Option<SmolStr>,
    /// Warnings.
    pub outcome: Option<Outcome>,
}

/// One entry.
#[derive(Clone, Default, PartialEq)]
pub struct Entry {
    /// The absolute URL or URN of the resource.
    pub full_url: Option<SmolStr>,
    /// The resource.
    pub resource: Option<Value>,
    /// In a searchset.
    pub search: Option<Found>,
    /// In a transaction, batch or history.
    pub request: Option<Asked>,
    /// In the answer to one.
    pub response: Option<Answered>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asked({})", self.method)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", self.resource_type())
    }
}

impl Entry {
    /// A result of a search.
    pub fn found(full_url: impl Into<SmolStr>, resource: Value) -> Self {
        let search = Some(Found { mode: Mode::Match, score: None, grade: None });
        Self { full_url: Some(full_url.into()), resource: Some(resource), search, ..Self::default() }
    }

    /// What is to be told about a search.
    pub fn outcome(outcome: &Outcome) -> Self {
        let search = Some(Found { mode: Mode::Outcome, score: None, grade: None });
        Self { resource: Some(outcome.encode()), search, ..Self::default() }
    }

    /// A resource to be created.
    pub fn post(full_url: impl Into<SmolStr>, resource: Value) -> Self {
        let url = json::resource_type(&resource).into();
        let request = Some(Asked { method: "POST".into(), url, if_none_exist: None });
        Self { full_url: Some(full_url.into()), resource: Some(resource), request, ..Self::default() }
    }

    /// The type of the resource.
    pub fn resource_type(&self) -> &str {
        self.resource.as_ref().map_or("", json::resource_type)
    }

    fn decode(value: &Value) -> Result<Self, Refusal> {
        let unusable = |what: &'static str| Refusal::Unusable(what.into());
        let search = match value.get("search") {
            Some(search) => Some(Found {
                mode: match json::text(search, "mode") {
                    Some("match") | None => Mode::Match,
                    Some("include") => Mode::Include,
                    Some("outcome") => Mode::Outcome,
                    Some(_) => return Err(unusable("Bundle.entry.search.mode")),
                },
                score: search.get("score").and_then(Value::as_f64),
                grade: grade(search),
            }),
            None => None,
        };
        let request = value.get("request").map(|request| Asked {
            method: json::text(request, "method").unwrap_or_default().into(),
            url: json::text(request, "url").unwrap_or_default().into(),
            if_none_exist: json::text(request, "ifNoneExist").map(Into::into),
        });
        let response = value.get("response").map(|response| Answered {
            status: json::text(response, "status").unwrap_or_default().into(),
            location: json::text(response, "location").map(Into::into),
            etag: json::text(response, "etag").map(Into::into),
            outcome: response.get("outcome").and_then(Outcome::decode),
        });
        let resource = value.get("resource").cloned();
        if resource.as_ref().is_some_and(|resource| json::resource_type(resource).is_empty()) {
            return Err(unusable("Bundle.entry.resource"));
        }
        Ok(Self { full_url: json::text(value, "fullUrl").map(Into::into), resource, search, request, response })
    }

    fn encode(&self) -> Value {
        let mut entry =
            Builder::new().with_if("fullUrl", self.full_url.as_deref()).with_if("resource", self.resource.clone());
        if let Some(found) = &self.search {
            entry.set("search", found.encode());
        }
        if let Some(asked) = &self.request {
            let request = Builder::new()
                .with("method", asked.method.as_str())
                .with("url", asked.url.as_str())
                .with_if("ifNoneExist", asked.if_none_exist.as_deref());
            entry.set("request", request);
        }
        if let Some(answered) = &self.response {
            let response = Builder::new()
                .with("status", answered.status.as_str())
                .with_if("location", answered.location.as_deref())
                .with_if("etag", answered.etag.as_deref())
                .with_if("outcome", answered.outcome.as_ref().map(Outcome::encode));
            entry.set("response", response);
        }
        entry.build()
    }
}

fn grade(search: &Value) -> Option<Grade> {
    let extension = json::list(search, "extension").iter().find(|one| json::text(one, "url") == Some(MATCH_GRADE))?;
    Grade::from_wire(json::text(extension, "valueCode")?)
}

impl Found {
    fn encode(&self) -> Value {
        let mode = match self.mode {
            Mode::Match => "match",
            Mode::Include => "include",
            Mode::Outcome => "outcome",
        };
        let mut search = Builder::new().with("mode", mode);
        search.set_if("score", self.score.map(|score| (score.clamp(0.0, 1.0) * 1000.0).round() / 1000.0));
        if let Some(grade) = self.grade {
            search.push("extension", Builder::new().with("url", MATCH_GRADE).with("valueCode", grade.as_str()));
        }
        search.build()
    }
}

/// A Bundle.
#[derive(Clone, PartialEq)]
pub struct Bundle {
    /// `type`
    pub kind: Kind,
    /// `meta.profile`
    pub profiles: Vec<SmolStr>,
    /// How many there are in all, on this page and the others.
    pub total: Option<u64>,
    /// Relation and URL.
    pub links: Vec<(SmolStr, SmolStr)>,
    /// The entries.
    pub entries: Vec<Entry>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Links hold searches, and those hold names.
        write!(f, "Bundle({:?}, {:?})", self.kind, self.entries)
    }
}

impl Bundle {
    /// A Bundle without anything.
    pub fn new(kind: Kind) -> Self {
        Self { kind, profiles: Vec::new(), total: None, links: Vec::new(), entries: Vec::new() }
    }

    /// The answer to a search: `this` is what was asked for, as far as it was understood.
    pub fn searchset(this: impl Into<SmolStr>, next: Option<SmolStr>, total: u64, entries: Vec<Entry>) -> Self {
        let mut links = vec![("self".into(), this.into())];
        links.extend(next.map(|next| ("next".into(), next)));
        Self { total: Some(total), links, entries, ..Self::new(Kind::Searchset) }
    }

    /// The answer to a transaction, an entry for each of its entries in their order.
    pub fn transaction_response(answers: Vec<Answered>) -> Self {
        let entries = answers.into_iter().map(|answer| Entry { response: Some(answer), ..Entry::default() });
        Self { entries: entries.collect(), ..Self::new(Kind::TransactionResponse) }
    }

    /// Reads a Bundle.
    pub fn decode(value: &Value) -> Result<Self, Refusal> {
        if json::resource_type(value) != "Bundle" {
            return Err(Refusal::WrongResource("Bundle"));
        }
        let kind = json::text(value, "type").ok_or(Refusal::Missing("Bundle.type".into()))?;
        let kind = Kind::ALL.into_iter().find(|one| one.as_str() == kind);
        let kind = kind.ok_or(Refusal::Unusable("Bundle.type".into()))?;
        let meta = value.get("meta").unwrap_or(&Value::Null);
        let links = json::list(value, "link")
            .iter()
            .filter_map(|link| Some((json::text(link, "relation")?.into(), json::text(link, "url")?.into())));
        Ok(Self {
            kind,
            profiles: json::list(meta, "profile").iter().filter_map(Value::as_str).map(Into::into).collect(),
            total: value.get("total").and_then(Value::as_u64),
            links: links.collect(),
            entries: json::list(value, "entry").iter().map(Entry::decode).collect::<Result<_, _>>()?,
        })
    }

    /// The resource.
    pub fn encode(&self) -> Value {
        let profiles: Vec<Value> = self.profiles.iter().map(|profile| profile.as_str().into()).collect();
        let links: Vec<Value> = self
            .links
            .iter()
            .map(|(relation, url)| Builder::new().with("relation", relation.as_str()).with("url", url.as_str()).build())
            .collect();
        let entries: Vec<Value> = self.entries.iter().map(Entry::encode).collect();
        Builder::resource("Bundle")
            .with("meta", Builder::new().with("profile", profiles))
            .with("type", self.kind.as_str())
            .with_if("total", self.total)
            .with("link", links)
            .with("entry", entries)
            .build()
    }

    /// The URL of a relation: `self`, `next`.
    pub fn link(&self, relation: &str) -> Option<&str> {
        self.links.iter().find(|(name, _)| name == relation).map(|(_, url)| url.as_str())
    }

    /// The entry that a reference of another means: by `fullUrl`, or a relative reference by the end of one.
    pub fn resolve(&self, reference: &str) -> Option<&Entry> {
        self.position(reference).and_then(|at| self.entries.get(at))
    }

    /// The place of that entry.
    pub fn position(&self, reference: &str) -> Option<usize> {
        self.entries.iter().position(|entry| {
            entry.full_url.as_deref().is_some_and(|url| {
                url == reference
                    || (reference.contains('/')
                        && !reference.contains(':')
                        && url.strip_suffix(reference).is_some_and(|base| base.ends_with('/')))
            }) || entry.resource.as_ref().is_some_and(|resource| {
                let own = json::text(resource, "id").map(|id| (json::resource_type(resource), id));
                own.is_some() && reference.split_once('/') == own
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn search_results_say_what_was_asked_and_where_more_is() {
        let entry = Entry::found("https://gw.example/fhir/Patient/7", json!({"resourceType": "Patient", "id": "7"}));
        let bundle = Bundle::searchset("https://gw.example/fhir/Patient?family=x", Some("n".into()), 12, vec![entry]);
        let value = bundle.encode();
        assert_eq!(value["link"][1], json!({"relation": "next", "url": "n"}));
        assert_eq!((&value["total"], &value["entry"][0]["search"]["mode"]), (&json!(12), &json!("match")));
        assert_eq!(Bundle::decode(&value).unwrap(), bundle);
        let empty = Bundle::searchset("s", None, 0, Vec::new()).encode();
        assert_eq!((empty["total"].as_u64(), empty.get("entry")), (Some(0), None), "FHIR has no empty lists");
    }

    #[test]
    fn references_find_their_entry() {
        let mut bundle = Bundle::new(Kind::Transaction);
        let entry = |url: &str, id: &str| Entry::post(url, json!({"resourceType": "Patient", "id": id}));
        bundle.entries = vec![entry("urn:uuid:1", "a"), entry("https://x.example/fhir/Patient/2", "b")];
        bundle.entries.push(Entry::post("urn:uuid:3", json!({"resourceType": "Binary"})));
        for (reference, found) in [
            ("urn:uuid:1", Some("a")),
            ("Patient/2", Some("b")),
            ("Patient/a", Some("a")),
            ("https://x.example/fhir/Patient/2", Some("b")),
            ("2", None),
            ("urn:uuid:2", None),
            ("https://y.example/fhir/Patient/2", None),
            ("", None),
        ] {
            let id = bundle.resolve(reference).and_then(|entry| json::text(entry.resource.as_ref().unwrap(), "id"));
            assert_eq!(id, found, "{reference}");
        }
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        for (value, refusal) in [
            (json!({"resourceType": "Patient"}), Refusal::WrongResource("Bundle")),
            (json!({"resourceType": "Bundle"}), Refusal::Missing("Bundle.type".into())),
            (json!({"resourceType": "Bundle", "type": "heap"}), Refusal::Unusable("Bundle.type".into())),
            (
                json!({"resourceType": "Bundle", "type": "batch", "entry": [{"resource": {}}]}),
                Refusal::Unusable("Bundle.entry.resource".into()),
            ),
        ] {
            assert_eq!(Bundle::decode(&value), Err(refusal));
        }
    }

    #[test]
    fn bundles_of_partners_are_read_and_written_again() {
        for folder in ["fhir-pixm/", "fhir-pdqm/", "fhir-match/", "fhir-mhd/"] {
            for row in crate::testing::manifest(folder) {
                if !row[8].ends_with("Bundle: valid") {
                    continue;
                }
                let bytes = crate::testing::corpus(&row[0]).unwrap();
                let value = json::read(&bytes, &json::Limits::default()).unwrap();
                let bundle = Bundle::decode(&value).unwrap_or_else(|refusal| panic!("{}: {refusal}", row[0]));
                assert_eq!(bundle.entries.len(), json::list(&value, "entry").len(), "{}", row[0]);
                let again = Bundle::decode(&bundle.encode()).unwrap();
                assert_eq!(again.entries.len(), bundle.entries.len(), "{}", row[0]);
            }
        }
    }
}
