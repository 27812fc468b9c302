//! Everything that is sent in tests against the schemas of the standards, by a validator that others wrote (`xmllint`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use causeway::xml::{Limits, ns, parse};

/// Namespace, local name of the root (or the start of it), file under `corpus/schema`.
const BODIES: [(&str, &str, &str); 18] = [
    (ns::QUERY, "AdhocQuery", "xds/query.xsd"),
    (ns::RS, "RegistryResponse", "xds/rs.xsd"),
    (ns::LCM, "SubmitObjectsRequest", "xds/lcm.xsd"),
    (ns::LCM, "RemoveObjectsRequest", "xds/lcm.xsd"),
    (ns::RMD, "RemoveDocumentsRequest", "xds-rmd/rmd.xsd"),
    (ns::XDS, "RetrieveDocumentSet", "xds/XDS.b_DocumentRepository.xsd"),
    (ns::XDS, "ProvideAndRegisterDocumentSetRequest", "xds/XDS.b_DocumentRepository.xsd"),
    (ns::HL7V3, "PRPA_IN201305UV02", "hl7v3/HL7V3/NE2008/multicacheschemas/PRPA_IN201305UV02.xsd"),
    (ns::HL7V3, "PRPA_IN201306UV02", "hl7v3/HL7V3/NE2008/multicacheschemas/PRPA_IN201306UV02.xsd"),
    (ns::HL7V3, "PRPA_IN201301UV02", "hl7v3/HL7V3/NE2008/multicacheschemas/PRPA_IN201301UV02.xsd"),
    (ns::HL7V3, "PRPA_IN201302UV02", "hl7v3/HL7V3/NE2008/multicacheschemas/PRPA_IN201302UV02.xsd"),
    (ns::HL7V3, "PRPA_IN201304UV02", "hl7v3/HL7V3/NE2008/multicacheschemas/PRPA_IN201304UV02.xsd"),
    (ns::HL7V3, "PRPA_IN201309UV02", "hl7v3/HL7V3/NE2008/multicacheschemas/PRPA_IN201309UV02.xsd"),
    (ns::HL7V3, "PRPA_IN201310UV02", "hl7v3/HL7V3/NE2008/multicacheschemas/PRPA_IN201310UV02.xsd"),
    (ns::HL7V3, "QUQI_IN000003UV01", "hl7v3/HL7V3/NE2008/multicacheschemas/QUQI_IN000003UV01.xsd"),
    (ns::HL7V3, "MCCI_IN000002UV01", "hl7v3/HL7V3/NE2008/multicacheschemas/MCCI_IN000002UV01.xsd"),
    (ns::XCPD, "PatientLocationQuery", "hl7v3/IHE/XCPD_PLQ.xsd"),
    (ns::SOAP12, "Fault", "soap/soap-1.2-envelope.xsd"),
];

/// Fails unless an envelope, its addressing, its security header and its body are valid. Where documents are attached
/// the schema wants their bytes, so a reference counts as some.
#[track_caller]
pub fn check_envelope(envelope: &str) {
    let Some(schemas) = schemas() else { return };
    let tree = parse(envelope, &Limits::default()).unwrap();
    let root = tree.root().unwrap();
    let body = root.only_child(ns::SOAP12, "Body").unwrap().children().next().expect("the body has an element");
    let (namespace, _, file) = BODIES
        .into_iter()
        .find(|(namespace, name, _)| body.namespace() == *namespace && body.local_name().starts_with(name))
        .unwrap_or_else(|| panic!("no schema is known for {}", body.local_name()));
    let driver = driver(schemas, namespace, file);
    check(&driver, &[without_includes(envelope)]);
}

/// Fails unless audit records are valid by the schema of DICOM.
#[track_caller]
pub fn check_audit(records: &[String]) {
    let Some(schemas) = schemas() else { return };
    if !records.is_empty() {
        check(&schemas.join("audit/dicom2017c.xsd"), records);
    }
}

/// A schema that imports those of the envelope and that of one body: what has a schema is validated, at any depth.
fn driver(schemas: &Path, namespace: &str, file: &str) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
    let path = folder.path().join(file.replace('/', "-"));
    if path.is_file() {
        return path;
    }
    let import = |(namespace, file): (&str, &str)| {
        format!("<xs:import namespace=\"{namespace}\" schemaLocation=\"{}\"/>", schemas.join(file).display())
    };
    let envelope = [
        (ns::SOAP12, "soap/soap-1.2-envelope.xsd"),
        (ns::WSA, "ws/ws-addr.xsd"),
        (ns::WSSE, "ws/oasis-200401-wss-wssecurity-secext-1.0.xsd"),
        (ns::SAML2, "saml/sstc-saml-schema-assertion-2.0.xsd"),
    ];
    let mut imports: String = envelope.into_iter().chain([(namespace, file)]).map(import).collect();
    if namespace != ns::HL7V3 {
        // Roles and purposes in assertions are HL7 data types, which have a namespace only where they are included.
        let datatypes = schemas.join("hl7v3/HL7V3/NE2008/coreschemas/datatypes.xsd");
        let include = format!("<xs:include schemaLocation=\"{}\"/>", datatypes.display());
        let own = format!("targetNamespace=\"{0}\" xmlns=\"{0}\"", ns::HL7V3);
        write_whole(folder.path(), &folder.path().join("datatypes.xsd"), &schema(&own, &include));
        imports.push_str(&format!("<xs:import namespace=\"{}\" schemaLocation=\"datatypes.xsd\"/>", ns::HL7V3));
    }
    write_whole(folder.path(), &path, &schema("", &imports));
    path
}

fn schema(attributes: &str, content: &str) -> String {
    format!("<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" {attributes}>{content}</xs:schema>")
}

/// Other tests may write the same at the same time: a file is there whole or not at all.
fn write_whole(folder: &Path, path: &Path, text: &str) {
    let draft = tempfile::NamedTempFile::new_in(folder).unwrap();
    std::fs::write(draft.path(), text).unwrap();
    draft.persist(path).unwrap();
}

fn without_includes(envelope: &str) -> String {
    let mut text = envelope.to_owned();
    while let Some(start) = text.find("<xop:Include") {
        let end = start + text[start..].find("/>").expect("an empty element") + 2;
        text.replace_range(start..end, "AAAA");
    }
    text
}

#[track_caller]
fn check(schema: &Path, documents: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let files = documents.iter().enumerate().map(|(number, text)| {
        let file = folder.path().join(format!("{number}.xml"));
        std::fs::write(&file, text).unwrap();
        file
    });
    let files: Vec<PathBuf> = files.collect();
    match Command::new("xmllint").args(["--nonet", "--noout", "--schema"]).arg(schema).args(&files).output() {
        Err(_) => crate::missing("xmllint is not installed, so messages were not validated"),
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            let problems: Vec<&str> = told.lines().filter(|line| !line.contains("Skipping import")).collect();
            panic!("{}\n{}", problems.join("\n"), documents.join("\n"));
        }
    }
}

/// The folder with the schemas; its absence is said once.
fn schemas() -> Option<&'static Path> {
    static SCHEMAS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = SCHEMAS.get_or_init(|| Some(crate::shared()?.join("corpus/schema").canonicalize().unwrap()));
    found.as_deref()
}
