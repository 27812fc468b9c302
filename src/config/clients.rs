//! `[[fhir_clients]]`: who may speak FHIR with us, and what they may do.

use super::file;
use super::settings::{NETWORK_REMEDY, PURPOSE_REMEDY};
use crate::authenticate::{ClientProof, FhirClient};
use crate::directory::Problems;
use crate::id::Domains;

/// The clients, as far as they can be told from each other and proved.
pub(super) fn resolve(files: Vec<file::FhirClient>, domains: &Domains, problems: &mut Problems) -> Vec<FhirClient> {
    let mut clients: Vec<FhirClient> = Vec::new();
    for (at, file) in files.into_iter().enumerate() {
        let key = |name: &str| format!("fhir_clients[{at}].{name}");
        let proof = proof(&file, &key, problems);
        if file.name.trim().is_empty() || clients.iter().any(|other| other.name == file.name.trim()) {
            problems.add(key("name"), "is missing or used twice", "give each client its own name");
        }
        let purpose = match file.purpose.as_str() {
            "" => None,
            text => problems.parse(&key("purpose"), text, PURPOSE_REMEDY),
        };
        let purposes: Vec<_> = problems.parse_all(&key("purposes"), &file.purposes, PURPOSE_REMEDY);
        if file.purpose.is_empty() && file.purposes.is_empty() {
            problems.add(key("purpose"), "is missing, and there are no purposes", PURPOSE_REMEDY);
        }
        let mut feeds = Vec::new();
        for namespace in &file.feed {
            match domains.iter().find(|domain| domain.namespace == namespace.as_str()) {
                Some(domain) => feeds.push(domain.authority.clone()),
                None => {
                    let text = format!("{namespace:?} is not a domain");
                    problems.add(key("feed"), text, "name the namespace of a [[domains]]");
                }
            }
        }
        let does_something =
            file.find_patients || !file.feed.is_empty() || file.find_documents || file.provide_documents;
        if !does_something {
            let remedy = "set find_patients, feed, find_documents or provide_documents, or remove it";
            problems.add(format!("fhir_clients[{at}]"), "may do nothing", remedy);
        }
        let Some(proof) = proof else { continue };
        if clients.iter().any(|other| other.proof == proof) {
            problems.add(format!("fhir_clients[{at}]"), "has the certificate of another", "keep one of the two");
        }
        clients.push(FhirClient {
            name: file.name.trim().into(),
            proof,
            user: Some(file.user.trim()).filter(|user| !user.is_empty()).map(Into::into),
            purpose,
            purposes,
            finds_patients: file.find_patients,
            feeds,
            finds_documents: file.find_documents,
            provides_documents: file.provide_documents,
            asks_communities: file.other_communities,
        });
    }
    clients
}

fn proof(file: &file::FhirClient, key: &dyn Fn(&str) -> String, problems: &mut Problems) -> Option<ClientProof> {
    let name = file.certificate_name.trim().to_lowercase();
    match (file.certificate.is_empty(), file.network.is_empty(), name.is_empty()) {
        (false, true, true) => problems
            .parse(&key("certificate"), &file.certificate, "causeway certificates show prints it")
            .map(ClientProof::Certificate),
        (true, false, false) => problems
            .parse(&key("network"), &file.network, NETWORK_REMEDY)
            .map(|network| ClientProof::Name { network, name: name.into() }),
        _ => {
            let remedy = "give the SHA-256 of its certificate, or network and certificate_name";
            problems.add(key("certificate"), "does not say what proves the client", remedy);
            None
        }
    }
}
