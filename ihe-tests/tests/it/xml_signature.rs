//! Our signatures under programs that others wrote, and theirs under ours: `xmlsec1` (libxml2, OpenSSL), `signxml`
//! (Python, lxml) and, for the schema of what we write, `xmllint`. Where a program is missing its tests say so.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use causeway::id::{Code, Timestamp};
use causeway::saml::issue::{AUTHENTICATED_BY_X509, EMAIL_ADDRESS, Name, X509_SUBJECT_NAME};
use causeway::saml::xspa::{Evidence, NHIN_PURPOSE, Quirks, SNOMED};
use causeway::saml::{AssertionRequest, Attributes, Confirmation, Token};
use causeway::xml::signature::{Claim, Identifiers, Policy, Profile, SignatureError, SigningKey};
use causeway::xml::{Limits, ns, parse};
use rcgen::{CertificateParams, KeyPair, RsaKeySize};

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const ASSERTION: &str = "--id-attr:ID";
const ASSERTION_NAME: &str = "urn:oasis:names:tc:SAML:2.0:assertion:Assertion";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";

/// A key with its files in a folder that goes away with it.
struct Identity {
    key: SigningKey,
    folder: tempfile::TempDir,
    algorithm: &'static str,
}

impl Identity {
    fn new(pair: &KeyPair, algorithm: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = CertificateParams::new(vec!["gw.example".into()]).unwrap().self_signed(pair).unwrap();
        std::fs::write(folder.path().join("key.pem"), pair.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        let key = SigningKey::from_pem(pair.serialize_pem().as_bytes(), certificate.pem().as_bytes()).unwrap();
        Self { key, folder, algorithm }
    }

    fn all() -> [Self; 3] {
        let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let p256 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        [Self::new(&rsa, "rsa-sha256"), Self::new(&p256, "ecdsa-sha256"), Self::new(&p384, "ecdsa-sha384")]
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn request(confirmation: Confirmation) -> AssertionRequest {
    AssertionRequest {
        issuer: Name { value: "CN=gw.initiator.example,O=A & B <C>,C=US".into(), format: X509_SUBJECT_NAME },
        subject: Name { value: "zoë@initiator.example".into(), format: EMAIL_ADDRESS },
        attributes: Attributes {
            subject_id: Some("Zoë \"Z\" Example".into()),
            organizations: vec!["Initiator\tClinic\r\n<&>".into()],
            organization_ids: vec!["2.999.10.1".into()],
            home_community: Some("urn:oid:2.999.10".parse().unwrap()),
            roles: vec![Code::new("224608005", SNOMED, "Administrative AND/OR \"managerial\"\tworker")],
            purposes: vec![Code::new("TREATMENT", NHIN_PURPOSE, "Treatment")],
            resource_id: Some("7^^^&2.999.10.5&ISO".into()),
            npi: Some("1234567893".into()),
            acp: vec!["urn:oid:2.999.5.1".into()],
            docid: vec!["urn:oid:2.999.5.2".into()],
            provider_identifiers: vec![("2.999.6".into(), "77".into())],
            evidence: Evidence {
                access_consent: vec!["urn:oid:2.999.5.1".into()],
                instance_access_consent: vec!["urn:oid:2.999.5.2".into()],
            },
            ..Attributes::default()
        },
        audience: Some("https://gw.responder.example/xcpd".into()),
        lifetime: Duration::from_secs(600),
        confirmation,
        authentication: AUTHENTICATED_BY_X509,
        quirks: Quirks { authorization_decision: true, ..Quirks::default() },
    }
}

fn header(identity: &Identity, confirmation: Confirmation) -> String {
    let token = Token::issue(&request(confirmation), NOW, &identity.key).unwrap();
    token.header(NOW, Duration::from_secs(300), &identity.key).unwrap().markup
}

/// The program's output, or none (and said so) where it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            ihe_tests::missing(format_args!("{program} is not installed"));
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// A Python program with `signxml`, or none where that is missing.
fn python(program: &str, arguments: &[&str]) -> Option<Output> {
    if !ihe_tests::python()?.args(["-c", "import signxml"]).output().unwrap().status.success() {
        ihe_tests::missing("python package signxml is not installed");
        return None;
    }
    Some(ihe_tests::python()?.args(["-c", program]).args(arguments).output().unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn explained(output: &Output) -> String {
    [&*output.stdout, &output.stderr].concat().iter().map(|&byte| char::from(byte)).collect()
}

/// Verifies the enveloped signature of the assertion that is the document.
fn we_verify(document: &str, identity: &Identity) -> Result<(), SignatureError> {
    let tree = parse(document, &Limits::default()).unwrap();
    let root = tree.root().unwrap();
    let (target, signature, profile) = match root.child(ns::WSU, "Timestamp") {
        Some(timestamp) => (timestamp, root.child(ns::DS, "Signature").unwrap(), Profile::Detached),
        None => (root, root.child(ns::DS, "Signature").unwrap(), Profile::Enveloped),
    };
    let identifiers = Identifiers::of(root)?;
    let claim = Claim::read(&identifiers, target, signature, profile, Policy::default())?;
    claim.verify(identity.key.public()).map(|_| ())
}

#[test]
fn xmlsec1_verifies_what_we_sign() {
    for identity in Identity::all() {
        let good = header(&identity, Confirmation::HolderOfKey);
        for (content, right) in [(good.clone(), true), (good.replace("TREATMENT", "PAYMENT"), false)] {
            let file = identity.file("message.xml", &content);
            let certificate = identity.path("cert.pem");
            let signature = "//*[local-name()='Assertion']/*[local-name()='Signature']";
            let arguments = ["--verify", "--pubkey-cert-pem", text(&certificate), ASSERTION, ASSERTION_NAME];
            let node = ["--node-xpath", signature, text(&file)];
            let Some(output) = run("xmlsec1", &[&arguments[..], &node].concat()) else { return };
            assert_eq!(output.status.success(), right, "{}: {}", identity.algorithm, explained(&output));
        }
        let created = "<wsu:Created>2026";
        for (content, right) in [(good.clone(), true), (good.replace(created, "<wsu:Created>2027"), false)] {
            let file = identity.file("message.xml", &content);
            let certificate = identity.path("cert.pem");
            let signature = "/*[local-name()='Security']/*[local-name()='Signature']";
            let name = [ns::WSU, ":Timestamp"].concat();
            let arguments = ["--verify", "--pubkey-cert-pem", text(&certificate), "--id-attr:Id", &name];
            let node = ["--node-xpath", signature, text(&file)];
            let Some(output) = run("xmlsec1", &[&arguments[..], &node].concat()) else { return };
            assert_eq!(output.status.success(), right, "{}: {}", identity.algorithm, explained(&output));
        }
    }
}

/// An empty signature for `xmlsec1` to fill in.
fn template(id: &str, algorithm: &str, transforms: &str) -> String {
    [
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">\n <ds:SignedInfo>\n",
        "  <ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/>\n",
        "  <ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#",
        algorithm,
        "\"/>\n  <ds:Reference URI=\"#",
        id,
        "\"><ds:Transforms>",
        transforms,
        "</ds:Transforms><ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha512\"/><ds:DigestValue/>",
        "</ds:Reference>\n </ds:SignedInfo><ds:SignatureValue/></ds:Signature>",
    ]
    .concat()
}

/// An assertion with the oddities that canonicalisation is about.
const ODD: &str = "<s:Assertion xmlns:s='urn:oasis:names:tc:SAML:2.0:assertion' xmlns:xs='http://www.w3.org/2001/XMLSchema' \
    xmlns:unused='urn:u' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' Version=\"2.0\" ID='_odd' >\
    <s:Issuer  z=\"1\" a='2 &#9;&quot;&lt;'>x &gt; y<!-- comment --><![CDATA[ <z> ]]>&#13;\u{e9}</s:Issuer>\
    <SIGNATURE/><x xmlns='urn:default'><y xmlns=''/><?target  data ?></x>\
    <s:Attribute xsi:type='xs:string'\n xml:lang=\"en\"><p:q xmlns:p='urn:p' p:b='' a=''/></s:Attribute></s:Assertion>";

#[test]
fn we_verify_what_xmlsec1_signs() {
    let enveloped = "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>";
    let plain = ["<ds:Transform Algorithm=\"", EXCLUSIVE, "\"/>"].concat();
    let listed = [
        "<ds:Transform Algorithm=\"",
        EXCLUSIVE,
        "\"><ec:InclusiveNamespaces xmlns:ec=\"",
        EXCLUSIVE,
        "\" PrefixList=\"xs unused\"/></ds:Transform>",
    ]
    .concat();
    for identity in Identity::all() {
        for canonical in [&plain, &listed] {
            let signature = template("_odd", identity.algorithm, &[enveloped, canonical].concat());
            let (unsigned, signed) =
                (identity.file("in.xml", &ODD.replace("<SIGNATURE/>", &signature)), identity.path("out.xml"));
            let key = identity.path("key.pem");
            let arguments = [
                "--sign",
                "--privkey-pem",
                text(&key),
                ASSERTION,
                ASSERTION_NAME,
                "--output",
                text(&signed),
                text(&unsigned),
            ];
            let Some(output) = run("xmlsec1", &arguments) else { return };
            assert!(output.status.success(), "{}", explained(&output));
            let document = std::fs::read_to_string(&signed).unwrap();
            assert_eq!(we_verify(&document, &identity), Ok(()), "{}", identity.algorithm);
            let changed = document.replace("Version=\"2.0\"", "Version=\"2.1\"");
            assert!(matches!(we_verify(&changed, &identity), Err(SignatureError::Digest { .. })));
        }
        let body = "<w:Security xmlns:w='urn:w'><u:Timestamp xmlns:u='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd' \
                    u:Id='TS'><u:Created>2026-11-22T15:00:00Z</u:Created>\n</u:Timestamp><SIGNATURE/></w:Security>";
        let signature = template("TS", identity.algorithm, &plain);
        let (unsigned, signed) =
            (identity.file("in.xml", &body.replace("<SIGNATURE/>", &signature)), identity.path("out.xml"));
        let (key, name) = (identity.path("key.pem"), [ns::WSU, ":Timestamp"].concat());
        let arguments =
            ["--sign", "--privkey-pem", text(&key), "--id-attr:Id", &name, "--output", text(&signed), text(&unsigned)];
        let Some(output) = run("xmlsec1", &arguments) else { return };
        assert!(output.status.success(), "{}", explained(&output));
        assert_eq!(we_verify(&std::fs::read_to_string(&signed).unwrap(), &identity), Ok(()), "{}", identity.algorithm);
    }
}

#[test]
fn we_verify_what_signxml_signs() {
    const PROGRAM: &str = "
import sys
from lxml import etree
from signxml import XMLSigner, methods
key, certificate, algorithm, source, target = sys.argv[1:6]
signer = XMLSigner(method=methods.enveloped, signature_algorithm=algorithm, digest_algorithm='sha384',
                   c14n_algorithm='http://www.w3.org/2001/10/xml-exc-c14n#')
root = etree.parse(source).getroot()
signed = signer.sign(root, key=open(key, 'rb').read(), cert=open(certificate).read(), reference_uri='_odd', id_attribute='ID')
open(target, 'wb').write(etree.tostring(signed))
";
    for identity in Identity::all() {
        let (key, certificate) = (identity.path("key.pem"), identity.path("cert.pem"));
        let (unsigned, signed) = (identity.file("in.xml", &ODD.replace("<SIGNATURE/>", "")), identity.path("out.xml"));
        let arguments = [text(&key), text(&certificate), identity.algorithm, text(&unsigned), text(&signed)];
        let Some(output) = python(PROGRAM, &arguments) else { return };
        assert!(output.status.success(), "{}", explained(&output));
        let document = std::fs::read_to_string(&signed).unwrap();
        assert_eq!(we_verify(&document, &identity), Ok(()), "{}", identity.algorithm);
    }
}

#[test]
fn signxml_verifies_what_we_sign() {
    const PROGRAM: &str = "
import sys
from lxml import etree
from signxml import XMLVerifier, SignatureConfiguration
certificate, source = sys.argv[1:3]
assertion = etree.parse(source).getroot()
config = SignatureConfiguration(location='./', expect_references=1)
XMLVerifier().verify(assertion, x509_cert=open(certificate).read(), id_attribute='ID', expect_config=config)
";
    for identity in Identity::all() {
        let token = Token::issue(&request(Confirmation::HolderOfKey), NOW, &identity.key).unwrap();
        for (content, right) in
            [(token.assertion().to_owned(), true), (token.assertion().replace("TREATMENT", "PAYMENT"), false)]
        {
            let (certificate, file) = (identity.path("cert.pem"), identity.file("assertion.xml", &content));
            let Some(output) = python(PROGRAM, &[text(&certificate), text(&file)]) else { return };
            assert_eq!(output.status.success(), right, "{}: {}", identity.algorithm, explained(&output));
        }
    }
}

#[test]
fn what_we_write_is_valid_by_the_schemas() {
    let Some(shared) = ihe_tests::shared() else { return };
    let schemas = shared.join("corpus/schema").canonicalize().unwrap();
    let import = |namespace: &str, file: &str| {
        ["<xs:import namespace=\"", namespace, "\" schemaLocation=\"", text(&schemas.join(file)), "\"/>"].concat()
    };
    let driver = [
        "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\">",
        &import(ns::SAML2, "saml/sstc-saml-schema-assertion-2.0.xsd"),
        &import(ns::WSSE, "ws/oasis-200401-wss-wssecurity-secext-1.0.xsd"),
        "<xs:import namespace=\"urn:hl7-org:v3\" schemaLocation=\"hl7.xsd\"/>",
        "</xs:schema>",
    ]
    .concat();
    // The data types have no namespace of their own: they take that of the schema that includes them.
    let datatypes = [
        "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" targetNamespace=\"urn:hl7-org:v3\" xmlns=\"urn:hl7-org:v3\">",
        "<xs:include schemaLocation=\"",
        text(&schemas.join("hl7v3/HL7V3/NE2008/coreschemas/datatypes.xsd")),
        "\"/></xs:schema>",
    ]
    .concat();
    for identity in Identity::all() {
        identity.file("hl7.xsd", &datatypes);
        let driver = identity.file("driver.xsd", &driver);
        for confirmation in [Confirmation::HolderOfKey, Confirmation::Bearer] {
            let good = header(&identity, confirmation);
            let broken = good.replace("<saml2:Conditions ", "<saml2:Unknown/><saml2:Conditions ");
            for (content, right) in [(good, true), (broken, false)] {
                let file = identity.file("header.xml", &content);
                let arguments = ["--nonet", "--noout", "--schema", text(&driver), text(&file)];
                let Some(output) = run("xmllint", &arguments) else { return };
                assert_eq!(output.status.success(), right, "{}", explained(&output));
            }
        }
    }
}
