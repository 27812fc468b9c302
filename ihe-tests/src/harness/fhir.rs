//! A system that speaks FHIR, and judges that others wrote: the JSON schema of R4 and the Python package
//! `fhir.resources`.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Mutex;

use bytes::Bytes;
use causeway::fhir::{json, xml};
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use serde_json::Value;

use super::client::Client;

/// A FHIR client on a gateway. What it is answered is kept for the judges.
pub struct Fhir<'c> {
    client: &'c Client,
    to: SocketAddr,
    seen: Mutex<Vec<Value>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Told {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The resource, whatever format it came in; `null` if there is none.
    pub resource: Value,
}

impl Told {
    /// The text of the only issue.
    #[track_caller]
    pub fn issue(&self) -> (u16, &str, &str) {
        let issues = json::list(&self.resource, "issue");
        assert_eq!(issues.len(), 1, "{}: {}", self.status, self.resource);
        let details = &issues[0]["details"];
        (self.status, json::text(&issues[0], "code").unwrap(), json::text(details, "text").unwrap_or_default())
    }

    /// The name of the exchange that an OperationOutcome has.
    #[track_caller]
    pub fn trace(&self) -> &str {
        json::text(&self.resource, "id").unwrap()
    }

    /// A header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The resources of a Bundle.
    pub fn entries(&self) -> Vec<&Value> {
        json::list(&self.resource, "entry").iter().map(|entry| &entry["resource"]).collect()
    }

    /// The identifier values of one domain of each Patient in a Bundle.
    pub fn values(&self, system: &str) -> Vec<String> {
        let of = |patient: &Value| {
            let own = json::list(patient, "identifier").iter().filter(|id| id["system"] == system);
            own.filter_map(|id| json::text(id, "value")).collect::<Vec<_>>().join("+")
        };
        self.entries().into_iter().map(of).collect()
    }
}

impl<'c> Fhir<'c> {
    /// A client of the gateway at an address.
    pub fn of(client: &'c Client, to: SocketAddr) -> Self {
        Self { client, to, seen: Mutex::default() }
    }

    /// Sends a request. The path is below the base.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Told {
        let method: Method = method.parse().unwrap();
        let mut request = Request::builder().method(method).uri(format!("/fhir/{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, headers, body) = self.client.request(self.to, request, body.into()).await;
        let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let resource = match kind.as_str() {
            "" => {
                assert!(body.is_empty(), "{status}: a body without a media type");
                Value::Null
            }
            "application/fhir+json; charset=utf-8" => serde_json::from_slice(&body).unwrap(),
            "application/fhir+xml; charset=utf-8" => xml::read(&body, &causeway::xml::Limits::default()).unwrap(),
            other => panic!("{status}: {other}: {}", String::from_utf8_lossy(&body)),
        };
        if status >= 400 {
            assert_eq!(resource["resourceType"], "OperationOutcome", "{status} {path}");
        }
        if !resource.is_null() {
            self.seen.lock().unwrap().push(resource.clone());
        }
        Told { status, headers, resource }
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> Told {
        self.send("GET", path, &[], Bytes::new()).await
    }

    /// A form.
    pub async fn form(&self, path: &str, form: &str) -> Told {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send("POST", path, &headers, form.to_owned()).await
    }

    /// A resource in JSON.
    pub async fn json(&self, method: &str, path: &str, resource: &Value) -> Told {
        self.send(method, path, &[("content-type", "application/fhir+json")], resource.to_string()).await
    }

    /// A resource in XML, to be answered in XML.
    pub async fn xml(&self, method: &str, path: &str, resource: &Value) -> Told {
        let headers = [("content-type", "application/fhir+xml"), ("accept", "application/fhir+xml")];
        self.send(method, path, &headers, xml::write(resource).unwrap()).await
    }

    /// Puts everything that was answered before the judges.
    #[track_caller]
    pub fn judge(&self) {
        judge(&self.seen.lock().unwrap());
    }
}

/// Whether resources are valid, by judges that others wrote. Where they are missing this says so.
#[track_caller]
pub fn judge(resources: &[Value]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/fhir_validate.py");
    let Some(mut python) = crate::python() else { return };
    python.arg(script);
    if let Some(shared) = crate::shared() {
        python.arg(shared.join("corpus/schema/fhir/fhir-r4.schema.json"));
    }
    let mut judge =
        python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Python starts");
    let lines: String = resources.iter().map(|resource| format!("{resource}\n")).collect();
    // In a thread, because the judge answers before it has read everything; one that is missing ends without reading.
    let mut input = judge.stdin.take().expect("a pipe");
    let writing = std::thread::spawn(move || drop(input.write_all(lines.as_bytes())));
    let output = judge.wait_with_output().expect("Python ends");
    writing.join().expect("the writer ends");
    if output.status.code() == Some(3) {
        return crate::missing(String::from_utf8_lossy(&output.stderr).trim());
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdicts = String::from_utf8(output.stdout).unwrap();
    assert_eq!(verdicts.lines().count(), resources.len(), "{verdicts}");
    for (verdict, resource) in verdicts.lines().zip(resources) {
        assert_eq!(verdict, "ok", "{resource:#}");
    }
}
