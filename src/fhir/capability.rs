//! CapabilityStatement: what `GET [base]/metadata` answers, from the table of what is served
//! (ITI TF-2: Appendix Z.3; the statements of requirements of PIXm, PDQm and MHD).

use serde_json::Value;

use super::json::Builder;
use crate::id::Timestamp;

/// One transaction as far as the statement tells it.
struct Served {
    transaction: &'static str,
    /// The statement of requirements of IHE's that is claimed.
    claims: &'static str,
    resource: &'static str,
    interactions: &'static [&'static str],
    /// Name and type of the parameters that the search knows.
    parameters: &'static [(&'static str, &'static str)],
    /// Name and definition.
    operation: Option<(&'static str, &'static str)>,
}

const SERVED: &[Served] = &[
    Served {
        transaction: "ITI-83",
        claims: "PIXm/CapabilityStatement/IHE.PIXm.Manager",
        resource: "Patient",
        interactions: &[],
        parameters: &[],
        operation: Some(("ihe-pix", "https://profiles.ihe.net/ITI/PIXm/OperationDefinition/IHE.PIXm.pix")),
    },
    Served {
        transaction: "ITI-104",
        claims: "PIXm/CapabilityStatement/IHE.PIXm.Manager",
        resource: "Patient",
        interactions: &["create", "update", "delete"],
        parameters: &[],
        operation: None,
    },
    Served {
        transaction: "ITI-78",
        claims: "PDQm/CapabilityStatement/IHE.PDQm.PatientDemographicsSupplier",
        resource: "Patient",
        interactions: &["read", "search-type"],
        parameters: &[
            ("_id", "token"),
            ("_lastUpdated", "date"),
            ("active", "token"),
            ("family", "string"),
            ("given", "string"),
            ("identifier", "token"),
            ("telecom", "token"),
            ("birthdate", "date"),
            ("address", "string"),
            ("address-city", "string"),
            ("address-country", "string"),
            ("address-postalcode", "string"),
            ("address-state", "string"),
            ("gender", "token"),
            ("mothersMaidenName", "string"),
        ],
        operation: None,
    },
    Served {
        transaction: "ITI-119",
        claims: "PDQm/CapabilityStatement/IHE.PDQm.PatientDemographicsSupplierMatch",
        resource: "Patient",
        interactions: &[],
        parameters: &[],
        operation: Some(("match", "http://hl7.org/fhir/OperationDefinition/Patient-match")),
    },
    Served {
        transaction: "ITI-65",
        claims: "MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Comprehensive",
        resource: "",
        interactions: &["transaction"],
        parameters: &[],
        operation: None,
    },
    Served {
        transaction: "ITI-105",
        claims: "MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Simplified",
        resource: "DocumentReference",
        interactions: &["create"],
        parameters: &[],
        operation: None,
    },
    Served {
        transaction: "ITI-66",
        claims: "MHD/CapabilityStatement/IHE.MHD.DocumentResponder",
        resource: "List",
        interactions: &["read", "search-type"],
        parameters: &[
            ("patient", "reference"),
            ("patient.identifier", "token"),
            ("code", "token"),
            ("date", "date"),
            ("designationType", "token"),
            ("identifier", "token"),
            ("source.family", "string"),
            ("source.given", "string"),
            ("sourceId", "token"),
            ("status", "token"),
        ],
        operation: None,
    },
    Served {
        transaction: "ITI-67",
        claims: "MHD/CapabilityStatement/IHE.MHD.DocumentResponder",
        resource: "DocumentReference",
        interactions: &["read", "search-type"],
        parameters: &[
            ("patient", "reference"),
            ("patient.identifier", "token"),
            ("date", "date"),
            ("targetCommunityIdList", "uri"),
            ("author.family", "string"),
            ("author.given", "string"),
            ("category", "token"),
            ("creation", "date"),
            ("event", "token"),
            ("facility", "token"),
            ("format", "token"),
            ("identifier", "token"),
            ("period", "date"),
            ("related", "reference"),
            ("security-label", "token"),
            ("setting", "token"),
            ("status", "token"),
            ("type", "token"),
        ],
        operation: None,
    },
    Served {
        transaction: "ITI-68",
        claims: "MHD/CapabilityStatement/IHE.MHD.DocumentResponder",
        resource: "Binary",
        interactions: &["read"],
        parameters: &[],
        operation: None,
    },
];

/// The statement of a server that serves these transactions (`ITI-83`), at a base URL, since an instant.
pub fn statement(transactions: &[&str], base: &str, date: Timestamp) -> Value {
    let served: Vec<&Served> = SERVED.iter().filter(|one| transactions.contains(&one.transaction)).collect();
    let mut claims = Vec::new();
    let mut kinds = Vec::new();
    for one in &served {
        let url = format!("https://profiles.ihe.net/ITI/{}", one.claims);
        if !claims.contains(&url) {
            claims.push(url);
        }
        if !one.resource.is_empty() && !kinds.contains(&one.resource) {
            kinds.push(one.resource);
        }
    }
    let resources: Vec<Value> = kinds.iter().map(|kind| resource(kind, &served)).collect();
    let whole: Vec<Value> = served.iter().filter(|one| one.resource.is_empty()).flat_map(|one| codes(one)).collect();
    let service = Builder::new().with("text", "mutual TLS (ATNA)").with(
        "coding",
        vec![
            Builder::new()
                .with("system", "http://profiles.ihe.net/fhir/ihe.securityTypes/CodeSystem/securityTypes")
                .with("code", "ATNA")
                .build(),
        ],
    );
    let rest = Builder::new()
        .with("mode", "server")
        .with("security", Builder::new().with("service", vec![service.build()]))
        .with("resource", resources)
        .with("interaction", whole);
    Builder::resource("CapabilityStatement")
        .with("status", "active")
        .with("date", date.to_rfc3339())
        .with("kind", "instance")
        .with("software", Builder::new().with("name", "Causeway").with("version", env!("CARGO_PKG_VERSION")))
        .with("implementation", Builder::new().with("description", "Causeway FHIR endpoint").with("url", base))
        .with("fhirVersion", "4.0.1")
        .with("format", vec![Value::from("application/fhir+json"), "application/fhir+xml".into()])
        .with("instantiates", claims)
        .with("rest", vec![rest.build()])
        .build()
}

fn codes(served: &Served) -> Vec<Value> {
    served.interactions.iter().map(|code| Builder::new().with("code", *code).build()).collect()
}

fn resource(kind: &str, served: &[&Served]) -> Value {
    let own = || served.iter().filter(|one| one.resource == kind);
    let parameters = own().flat_map(|one| one.parameters);
    let parameters: Vec<Value> =
        parameters.map(|(name, kind)| Builder::new().with("name", *name).with("type", *kind).build()).collect();
    let operations = own().filter_map(|one| one.operation);
    let operations: Vec<Value> = operations
        .map(|(name, definition)| Builder::new().with("name", name).with("definition", definition).build())
        .collect();
    let mut resource =
        Builder::new().with("type", kind).with("interaction", own().flat_map(|one| codes(one)).collect::<Vec<_>>());
    if own().any(|one| one.transaction == "ITI-104") {
        resource = resource
            .with("conditionalCreate", true)
            .with("conditionalUpdate", true)
            .with("conditionalDelete", "single");
    }
    resource.with("searchParam", parameters).with("operation", operations).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::json;

    #[test]
    fn only_what_is_served_is_claimed() {
        let value = statement(&["ITI-83", "ITI-104"], "https://gw.example/fhir", Timestamp::from_millis(0));
        let claims: Vec<_> = json::list(&value, "instantiates").iter().filter_map(Value::as_str).collect();
        assert_eq!(claims, ["https://profiles.ihe.net/ITI/PIXm/CapabilityStatement/IHE.PIXm.Manager"]);
        let patient = &value["rest"][0]["resource"][0];
        assert_eq!((&patient["type"], &patient["conditionalDelete"]), (&"Patient".into(), &"single".into()));
        assert_eq!((patient["operation"][0]["name"].as_str(), patient.get("searchParam")), (Some("ihe-pix"), None));
    }

    /// What the statement promises, the parsers know.
    #[test]
    fn every_parameter_that_is_claimed_is_understood() {
        use crate::fhir::mhd::find::Find;
        use crate::fhir::pdqm::PatientQuery;
        use crate::fhir::search::Handling;
        for served in SERVED {
            for (name, kind) in served.parameters {
                let value = match (*name, *kind) {
                    (_, "date") => "2026-01-15",
                    ("patient.identifier", _) => "urn:oid:2.999.1%7C7",
                    ("status", _) => "current",
                    ("gender", _) => "female",
                    ("active", _) => "true",
                    ("code", _) => "submissionset",
                    (_, _) => "x",
                };
                // A list of references is asked for by identifier.
                let name = if *name == "related" { "related:identifier" } else { name };
                let query = format!("{name}={value}");
                let rest = match name {
                    "patient" | "patient.identifier" => "",
                    _ => "&patient=7",
                };
                let status = if name == "status" { "" } else { "&status=current" };
                let refused = match served.transaction {
                    "ITI-78" => PatientQuery::read(&query, None, Handling::Strict).err(),
                    "ITI-67" => Find::documents(&format!("{query}{rest}{status}"), None, Handling::Strict).err(),
                    _ => {
                        let code = if name == "code" { "" } else { "&code=folder" };
                        Find::lists(&format!("{query}{rest}{status}{code}"), None, Handling::Strict).err()
                    }
                };
                assert_eq!(refused, None, "{} {name}", served.transaction);
            }
        }
    }
}
