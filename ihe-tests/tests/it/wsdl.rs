//! The published WSDL files in the hands of a client that others wrote (Python's zeep), and what that client sends
//! against the schemas of the standards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// ITI TF-2: Appendix V gives the names; the actions are those of each transaction's section.
const OPERATIONS: [&str; 27] = [
    "DocumentRecipient.wsdl DocumentRecipient_Port_Soap12 DocumentRecipient_ProvideAndRegisterDocumentSet-b urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
    "DocumentRegistry.wsdl DocumentRegistry_Port_Soap12 DocumentRegistry_RegistryStoredQuery urn:ihe:iti:2007:RegistryStoredQuery",
    "DocumentRegistry.wsdl DocumentRegistry_Port_Soap12 DocumentRegistry_RegisterDocumentSet-b urn:ihe:iti:2007:RegisterDocumentSet-b",
    "DocumentRegistry.wsdl DocumentRegistry_Port_Soap12 DocumentRegistry_MultiPatientStoredQuery urn:ihe:iti:2009:MultiPatientStoredQuery",
    "DocumentRegistry.wsdl DocumentRegistry_Port_Soap12 DocumentRegistry_RegisterOnDemandDocumentEntry urn:ihe:iti:2010:RegisterOnDemandDocumentEntry",
    "DocumentRegistry.wsdl DocumentRegistry_Port_Soap12 DocumentRegistry_UpdateDocumentSet urn:ihe:iti:2010:UpdateDocumentSet",
    "DocumentRegistry.wsdl DocumentRegistry_Port_Soap12 DocumentRegistry_DeleteDocumentSet urn:ihe:iti:2010:DeleteDocumentSet",
    "DocumentRegistry.wsdl DocumentRegistry_Port_Soap12 UpdateResponder_RestrictedUpdateDocumentSet urn:ihe:iti:2018:RestrictedUpdateDocumentSet",
    "DocumentRepository.wsdl DocumentRepository_Port_Soap12 DocumentRepository_ProvideAndRegisterDocumentSet-b urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
    "DocumentRepository.wsdl DocumentRepository_Port_Soap12 DocumentRepository_RetrieveDocumentSet urn:ihe:iti:2007:RetrieveDocumentSet",
    "DocumentRepository.wsdl DocumentRepository_Port_Soap12 DocumentRepository_RemoveDocuments urn:ihe:iti:2017:RemoveDocuments",
    "InitiatingGateway.wsdl InitiatingGateway_Port_Soap12 InitiatingGateway_RegistryStoredQuery urn:ihe:iti:2007:RegistryStoredQuery",
    "InitiatingGateway.wsdl InitiatingGateway_Port_Soap12 InitiatingGateway_RetrieveDocumentSet urn:ihe:iti:2007:RetrieveDocumentSet",
    "InitiatingGateway.wsdl InitiatingGateway_Port_Soap12 InitiatingGateway_ProvideAndRegisterDocumentSet-b urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
    "InitiatingGatewayXCPD.wsdl InitiatingGateway_Response_Port_Soap12 InitiatingGateway_Deferred_PRPA_IN201306UV02 urn:hl7-org:v3:PRPA_IN201306UV02:Deferred:CrossGatewayPatientDiscovery",
    "PDSupplier.wsdl PDSupplier_Port_Soap12 PDSupplier_PRPA_IN201305UV02 urn:hl7-org:v3:PRPA_IN201305UV02",
    "PDSupplier.wsdl PDSupplier_Port_Soap12 PDSupplier_QUQI_IN000003UV01_Continue urn:hl7-org:v3:QUQI_IN000003UV01_Continue",
    "PDSupplier.wsdl PDSupplier_Port_Soap12 PDSupplier_QUQI_IN000003UV01_Cancel urn:hl7-org:v3:QUQI_IN000003UV01_Cancel",
    "PIXManager.wsdl PIXManager_Port_Soap12 PIXManager_PRPA_IN201301UV02 urn:hl7-org:v3:PRPA_IN201301UV02",
    "PIXManager.wsdl PIXManager_Port_Soap12 PIXManager_PRPA_IN201302UV02 urn:hl7-org:v3:PRPA_IN201302UV02",
    "PIXManager.wsdl PIXManager_Port_Soap12 PIXManager_PRPA_IN201304UV02 urn:hl7-org:v3:PRPA_IN201304UV02",
    "PIXManager.wsdl PIXManager_Port_Soap12 PIXManager_PRPA_IN201309UV02 urn:hl7-org:v3:PRPA_IN201309UV02",
    "RespondingGateway.wsdl RespondingGateway_Port_Soap12 RespondingGateway_CrossGatewayQuery urn:ihe:iti:2007:CrossGatewayQuery",
    "RespondingGateway.wsdl RespondingGateway_Port_Soap12 RespondingGateway_CrossGatewayRetrieve urn:ihe:iti:2007:CrossGatewayRetrieve",
    "RespondingGateway.wsdl RespondingGateway_Port_Soap12 RespondingGateway_CrossGatewayDocumentProvide urn:ihe:iti:2015:CrossGatewayDocumentProvide",
    "RespondingGatewayXCPD.wsdl RespondingGateway_Port_Soap12 RespondingGateway_PRPA_IN201305UV02 urn:hl7-org:v3:PRPA_IN201305UV02:CrossGatewayPatientDiscovery",
    "RespondingGatewayXCPD.wsdl RespondingGateway_Port_Soap12 RespondingGateway_Deferred_PRPA_IN201305UV02 urn:hl7-org:v3:PRPA_IN201305UV02:Deferred:CrossGatewayPatientDiscovery",
];

/// The schema of the standard for each request that the client builds.
const SCHEMAS: [(&str, &str); 3] = [
    ("RespondingGateway_CrossGatewayQuery", "xds/query.xsd"),
    ("RespondingGateway_CrossGatewayRetrieve", "xds/XDS.b_DocumentRepository.xsd"),
    ("RespondingGateway_PRPA_IN201305UV02", "hl7v3/HL7V3/NE2008/multicacheschemas/PRPA_IN201305UV02.xsd"),
];

#[test]
fn an_ordinary_soap_client_loads_every_wsdl_and_builds_valid_requests() {
    let Some(mut python) = ihe_tests::python() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = python.arg(root.join("peers/zeep_load.py")).arg(root.join("../wsdl")).output().unwrap();
    if output.status.code() == Some(3) {
        return ihe_tests::missing("python package zeep is not installed");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines = |kind: &'static str| text.lines().filter_map(move |line| line.strip_prefix(kind));
    let found: Vec<&str> = lines("operation ").collect();
    assert_eq!(found, OPERATIONS);
    let requests: BTreeMap<&str, &str> = lines("request ").filter_map(|line| line.split_once(' ')).collect();
    for (operation, schema) in SCHEMAS {
        check_valid(requests[operation], schema);
    }
}

#[track_caller]
fn check_valid(request: &str, schema: &str) {
    let Some(schema) = ihe_tests::shared().map(|shared| shared.join("corpus/schema").join(schema)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("request.xml");
    std::fs::write(&file, request).unwrap();
    match Command::new("xmllint").args(["--nonet", "--noout", "--schema"]).arg(schema).arg(&file).output() {
        Err(_) => ihe_tests::missing("xmllint is not installed, so a request was not validated"),
        Ok(output) => {
            assert!(output.status.success(), "{request}\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
