//! MTOM with SOAP stacks that others wrote: Apache Axiom (of Axis2) and the SAAJ reference implementation in Java, the
//! npm package `soap` in JavaScript. Each provides documents (ITI-41) and retrieves them (ITI-43) from a running
//! gateway, with its own boundaries, content ids, part headers and transfer.

use std::path::{Path, PathBuf};
use std::process::Command;

use causeway::id::TraceId;
use causeway::sandbox::Site;
use causeway::xds::provide::{Content, ProvidedDocument, Request};
use causeway::xds::repository::PROVIDE_ACTION;
use causeway::xds::{register, retrieval};
use ihe_tests::harness::samples::{self, Document, patient};
use ihe_tests::harness::{Letter, World};

const SERVICE: &str = "DocumentRepository";
/// A patient of the hub whose documents no other test counts.
const CX: &str = "HB307^^^&2.999.1.3.1&ISO";
/// Where Debian puts the jars that the Java client needs.
const JARS: &str = "/usr/share/java";
const NEEDED: [&str; 12] = [
    "axiom-api",
    "axiom-impl",
    "saaj-impl",
    "javax.xml.soap-api",
    "javax.activation",
    "javax.mail",
    "commons-logging",
    "jaxen",
    "stax-ex",
    "mimepull",
    "woodstox-core",
    "stax2-api",
];

/// What a foreign client is given: the source's certificate, and what to send.
struct Files {
    folder: tempfile::TempDir,
    source: PathBuf,
}

impl Files {
    fn new() -> Self {
        let source = World::shared().sandbox.folder.join("document-source");
        Self { folder: tempfile::tempdir().unwrap(), source }
    }

    fn root(&self) -> PathBuf {
        let anchors = std::fs::read_dir(self.source.join("trust-store/local")).unwrap();
        let mut files = anchors.map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|ending| ending == "pem")).expect("an anchor")
    }

    /// Writes a signed envelope.
    fn envelope(&self, letter: &Letter) -> PathBuf {
        let path = self.folder.path().join(format!("{}.xml", TraceId::new()));
        std::fs::write(&path, letter.envelope(&World::shared().source().key)).unwrap();
        path
    }

    /// Certificate and key in the form that Java reads.
    fn pkcs12(&self) -> Option<PathBuf> {
        let path = self.folder.path().join("source.p12");
        let made = Command::new("openssl")
            .args(["pkcs12", "-export", "-passout", "pass:changeit", "-out"])
            .arg(&path)
            .arg("-in")
            .arg(self.source.join("source.pem"))
            .arg("-inkey")
            .arg(self.source.join("source.key"))
            .status();
        made.is_ok_and(|status| status.success()).then_some(path)
    }
}

/// Sends a letter to the hub's repository, by an operation of its WSDL, and gives what the client printed.
type Send<'s> = &'s dyn Fn(&Letter, &str) -> Vec<String>;

fn letter(action: &str, body: String) -> Letter {
    World::shared().source_letter(Site::Hub, SERVICE, action, body)
}

fn described(document: &Document) -> String {
    let hash: String = sha1(&document.content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("document {} {hash}", document.content.len())
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// Documents go out and come home unchanged.
fn goes_and_comes_back(send: Send<'_>) {
    let documents = [
        Document::new("text/xml", b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\r\n<a>M\xfcller</a>\r\n"),
        Document::new("text/plain", b"\r\n--MIMEBoundary\r\n\r\n------=_Part_0\r\n--\r\n"),
        Document::new("application/pdf", &(0..=255).cycle().take(300_000).collect::<Vec<u8>>()),
    ];
    let submission = samples::submission(&patient(CX), &documents);
    let ids = submission.entries.iter().map(|entry| entry.id.clone());
    let contents = documents.iter().map(|one| Content::Inline(one.content.clone()));
    let provided = ids.zip(contents).map(|(id, content)| ProvidedDocument { id, content }).collect();
    let request = Request { registration: register::Request { submission, home: None }, documents: provided };
    let provide = letter(PROVIDE_ACTION, request.encode().xml);
    let told = send(&provide, "DocumentRepository_ProvideAndRegisterDocumentSet-b");
    assert_eq!(told, ["RegistryResponse Success"]);

    let wanted: Vec<_> = documents.iter().map(|one| (None, "2.999.1.3.9", one.unique_id.as_str())).collect();
    let retrieve = letter(retrieval::ACTION, samples::retrieve(&wanted).encode());
    let told = send(&retrieve, "DocumentRepository_RetrieveDocumentSet");
    let mut expected: Vec<String> = documents.iter().map(described).collect();
    expected.sort_unstable();
    expected.insert(0, "RetrieveDocumentSetResponse Success".into());
    assert_eq!(told, expected);

    let trail = World::shared().trail(Site::Hub);
    assert_eq!(trail.lines(provide.user()), ["ITI-41 C success patient submission"]);
    assert_eq!(trail.lines(retrieve.user()), ["ITI-43 R success document document document"]);
}

/// Runs a client; none if it says that its packages are missing.
fn lines(command: &mut Command) -> Option<Vec<String>> {
    let output = command.output().unwrap();
    if output.status.code() == Some(3) {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text.lines().map(str::to_owned).collect())
}

fn java(stack: &str) {
    let jars = NEEDED.map(|name| format!("{JARS}/{name}.jar"));
    if Command::new("java").arg("-version").output().is_err() || !jars.iter().all(|jar| Path::new(jar).is_file()) {
        return ihe_tests::missing("Java with libaxiom-java, libsaaj-ri-java and libwoodstox-java is not installed");
    }
    let files = Files::new();
    let Some(pkcs12) = files.pkcs12() else { return ihe_tests::missing("openssl is not installed") };
    goes_and_comes_back(&|letter, _| {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/MtomClient.java");
        let mut command = Command::new("java");
        command.arg("-cp").arg(jars.join(":")).arg(program).arg(stack).arg(World::shared().url(Site::Hub, SERVICE));
        command.arg(files.root()).arg(&pkcs12).arg("changeit").arg(files.envelope(letter));
        lines(&mut command).unwrap()
    });
}

#[test]
fn documents_of_apache_axiom_go_and_come_back() {
    java("axiom");
}

#[test]
fn documents_of_the_saaj_reference_implementation_go_and_come_back() {
    java("saaj");
}

#[test]
fn documents_of_a_javascript_client_go_and_come_back() {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/mtom_client.js");
    let modules = ihe_tests::node_modules();
    let found = Command::new("node").env("NODE_PATH", &modules).args(["-e", "require('soap')"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        return ihe_tests::missing("node with the package soap is not installed (set CAUSEWAY_NODE_MODULES)");
    }
    let files = Files::new();
    goes_and_comes_back(&|letter, operation| {
        let mut command = Command::new("node");
        command.env("NODE_PATH", &modules).arg(&client).arg(World::shared().url(Site::Hub, SERVICE)).arg(operation);
        command.arg(files.root()).arg(files.source.join("source.pem")).arg(files.source.join("source.key"));
        lines(command.arg(files.envelope(letter))).unwrap()
    });
}
