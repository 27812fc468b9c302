//! Issuing and verifying together, and each way to cheat.

mod attacks;
mod corpus;

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, RsaKeySize, SignatureAlgorithm};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::issue::{
    AUTHENTICATED_BY_X509, AssertionRequest, Confirmation, EMAIL_ADDRESS, IssueError, Name, Token, X509_SUBJECT_NAME,
};
use super::verify::{Expectations, SamlError, VerifiedAssertion, verify};
use super::xspa::{AttributeError, Attributes, Evidence, NHIN_PURPOSE, Quirks, SNOMED, TEFCA_PURPOSE};
use crate::id::{Code, Timestamp};
use crate::wssecurity::{HeaderError, SecurityFault};
use crate::xml::signature::sign::{sign_canonical, sign_enveloped};
use crate::xml::signature::{
    KeyError, Known, Profile, SignatureAlgorithm as Algorithm, SignatureError, SigningKey, encode_base64,
};
use crate::xml::{Limits, Writer, ns, parse};

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const URL: &str = "https://gw.responder.example:8443/xcpd";

fn made(algorithm: &'static SignatureAlgorithm, bits: Option<RsaKeySize>) -> SigningKey {
    let pair = match bits {
        Some(bits) => KeyPair::generate_rsa_for(algorithm, bits).unwrap(),
        None => KeyPair::generate_for(algorithm).unwrap(),
    };
    let certificate = CertificateParams::new(vec!["gw.initiator.example".into()]).unwrap().self_signed(&pair).unwrap();
    SigningKey::from_pem(pair.serialize_pem().as_bytes(), certificate.pem().as_bytes()).unwrap()
}

fn rsa() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| made(&rcgen::PKCS_RSA_SHA256, Some(RsaKeySize::_2048)))
}

fn p256() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| made(&rcgen::PKCS_ECDSA_P256_SHA256, None))
}

fn p384() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| made(&rcgen::PKCS_ECDSA_P384_SHA384, None))
}

fn stranger() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| made(&rcgen::PKCS_RSA_SHA256, Some(RsaKeySize::_2048)))
}

fn attributes() -> Attributes {
    Attributes {
        subject_id: Some("Ada Example".into()),
        organizations: vec!["Initiator Clinic".into()],
        organization_ids: vec!["urn:oid:2.999.10.1".into()],
        home_community: Some("urn:oid:2.999.10".parse().unwrap()),
        roles: vec![Code::new("224608005", SNOMED, "Administrative AND/OR managerial worker")],
        purposes: vec![Code::new("TREATMENT", NHIN_PURPOSE, "Treatment")],
        resource_id: Some("p7^^^&2.999.10.5&ISO".into()),
        npi: Some("1234567893".into()),
        tin: Some("123456789".into()),
        query_auth_grantor: Some("2.999.77".parse().unwrap()),
        id_token: Some("e30.e30.c2ln".into()),
        acp: vec!["urn:oid:2.999.5.1".into()],
        docid: vec!["urn:oid:2.999.5.2".into()],
        provider_identifiers: vec![("2.999.6".into(), "77".into())],
        jurisdiction: Some("Somewhere".into()),
        evidence: Evidence {
            access_consent: vec!["urn:oid:2.999.5.1".into()],
            instance_access_consent: vec!["urn:oid:2.999.5.2".into()],
        },
    }
}

fn request(confirmation: Confirmation) -> AssertionRequest {
    AssertionRequest {
        issuer: Name { value: "CN=gw.initiator.example,O=Initiator,C=US".into(), format: X509_SUBJECT_NAME },
        subject: Name { value: "ada@initiator.example".into(), format: EMAIL_ADDRESS },
        attributes: attributes(),
        audience: Some(URL.into()),
        lifetime: Duration::from_secs(600),
        confirmation,
        authentication: AUTHENTICATED_BY_X509,
        quirks: Quirks { authorization_decision: true, ..Quirks::default() },
    }
}

fn envelope(security: &str) -> String {
    let mut w = Writer::new();
    w.start("soap:Envelope").attribute("xmlns:soap", ns::SOAP12).start("soap:Header");
    w.start("x:Before").attribute("xmlns:x", "urn:x").end();
    w.fragment(security).end().start("soap:Body");
    w.finish()
}

fn token(key: &SigningKey, confirmation: Confirmation) -> Token {
    Token::issue(&request(confirmation), NOW, key).unwrap()
}

fn message(key: &SigningKey) -> String {
    let header = token(key, Confirmation::HolderOfKey).header(NOW, Duration::from_secs(300), key).unwrap();
    envelope(&header.markup)
}

/// Keys and signatures of all messages that any test checked.
static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);

/// What a receiver says of a message, which is the same without a memory and with one that knows all signatures.
fn check_with(text: &str, change: impl Fn(&mut Expectations<'_>)) -> Result<VerifiedAssertion, SamlError> {
    let tree = parse(text, &Limits::default()).unwrap();
    let root = tree.root().unwrap();
    let security = root.find(ns::SOAP12, &["Header"]).unwrap().child(ns::WSSE, "Security").unwrap();
    let audiences = [URL.to_owned()];
    let trusted = |chain: &[CertificateDer<'static>], _: Timestamp| {
        let known = [rsa(), p256(), p384()].iter().any(|key| key.certificate_der() == &chain[0]);
        if known { Ok(()) } else { Err("unknown issuer".to_owned()) }
    };
    let mut expectations = Expectations::new(NOW, &audiences, &trusted);
    change(&mut expectations);
    let fresh = verify(security, &expectations);
    expectations.known = Some(&KNOWN);
    for _ in 0..2 {
        let remembered = verify(security, &expectations);
        let key = |result: &Result<VerifiedAssertion, SamlError>| result.clone().map(|verified| verified.replay_key());
        assert_eq!(key(&remembered), key(&fresh));
    }
    fresh
}

fn check(text: &str) -> Result<VerifiedAssertion, SamlError> {
    check_with(text, |_| ())
}

/// The text with its only occurrence of something replaced.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn cause(result: Result<VerifiedAssertion, SamlError>) -> SignatureError {
    match result {
        Err(SamlError::Signature { cause, .. }) => cause,
        other => panic!("{other:?}"),
    }
}

/// A message with an assertion that is changed before it is signed.
fn issued(confirmation: Confirmation, change: impl Fn(&str) -> String) -> String {
    let signed = token(rsa(), confirmation);
    let plain = without_signature(signed.assertion());
    let id = id_of(&plain);
    let key_info = rsa().key_info();
    let (assertion, _) = sign_enveloped(&change(&plain), "</saml2:Issuer>", &id, rsa(), &key_info).unwrap();
    let header = signed.header(NOW, Duration::from_secs(300), rsa()).unwrap();
    envelope(&replaced(&header.markup, signed.assertion(), &assertion))
}

fn without_signature(assertion: &str) -> String {
    let (from, to) = (assertion.find("<ds:Signature ").unwrap(), assertion.find("</ds:Signature>").unwrap());
    [&assertion[..from], &assertion[to + "</ds:Signature>".len()..]].concat()
}

fn signature_of(assertion: &str) -> &str {
    let (from, to) = (assertion.find("<ds:Signature ").unwrap(), assertion.find("</ds:Signature>").unwrap());
    &assertion[from..to + "</ds:Signature>".len()]
}

fn id_of(assertion: &str) -> String {
    let from = assertion.find(" ID=\"").unwrap() + 5;
    assertion[from..].split('"').next().unwrap().to_owned()
}

#[test]
fn what_is_issued_verifies_with_every_kind_of_key() {
    for key in [rsa(), p256(), p384()] {
        let verified = check(&message(key)).unwrap();
        assert_eq!(verified.attributes(), &attributes());
        assert_eq!(verified.name_id(), "ada@initiator.example");
        assert_eq!(verified.issuer(), "CN=gw.initiator.example,O=Initiator,C=US");
        assert_eq!(verified.audit_user(), "<ada@initiator.example@CN=gw.initiator.example,O=Initiator,C=US>");
        assert_eq!(verified.signer(), key.certificate_der());
        assert_eq!(verified.authentication(), Some(AUTHENTICATED_BY_X509));
        assert_eq!(verified.expires(), NOW.plus(Duration::from_secs(600)));
    }
}

#[test]
fn rsa_signs_with_longer_digests_and_not_with_sha1() {
    let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(vec!["x.example".into()]).unwrap().self_signed(&pair).unwrap();
    let key = || {
        let der = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
        SigningKey::from_der(&der, vec![certificate.der().clone()]).unwrap()
    };
    for algorithm in [Algorithm::RsaSha256, Algorithm::RsaSha384, Algorithm::RsaSha512] {
        let key = key().with_algorithm(algorithm).unwrap();
        let message = envelope(
            &token(&key, Confirmation::HolderOfKey).header(NOW, Duration::from_secs(60), &key).unwrap().markup,
        );
        assert!(message.contains(algorithm.uri()));
        // The certificate is not one of those that are trusted: the signatures verify, the signer is refused.
        assert_eq!(check(&message).unwrap_err(), SamlError::Untrusted("unknown issuer".into()));
    }
    for algorithm in [Algorithm::RsaSha1, Algorithm::EcdsaSha256] {
        assert_eq!(key().with_algorithm(algorithm).unwrap_err(), KeyError::CannotSign(algorithm.uri()));
    }
    assert!(!format!("{:?}", key()).contains("KEY"));
}

#[test]
fn a_key_needs_its_own_certificate() {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let der = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    let with = |chain| SigningKey::from_der(&der, chain).unwrap_err();
    assert_eq!(with(vec![]), KeyError::NoCertificate);
    assert_eq!(with(vec![p256().certificate_der().clone()]), KeyError::Mismatch);
    assert_eq!(with(vec![p384().certificate_der().clone()]), KeyError::Private);
    assert_eq!(SigningKey::from_pem(b"nothing", b"").unwrap_err(), KeyError::Private);
}

#[test]
fn one_token_serves_many_messages_until_it_expires() {
    let token = token(rsa(), Confirmation::HolderOfKey);
    let at = |seconds| token.header(NOW.plus(Duration::from_secs(seconds)), Duration::from_secs(300), rsa());
    let (first, second) = (at(0).unwrap(), at(1).unwrap());
    assert_ne!(first.signature_value, second.signature_value);
    let (first, second) = (check(&envelope(&first.markup)).unwrap(), check(&envelope(&second.markup)).unwrap());
    assert_eq!(first.id(), second.id());
    assert_ne!(first.replay_key(), second.replay_key());
    assert_eq!(at(600).unwrap_err(), IssueError::Expired);
    assert_eq!(token.header(NOW, Duration::from_secs(1), p256()).unwrap_err(), IssueError::OtherKey);
}

#[test]
fn a_message_played_again_has_the_same_replay_key() {
    let text = message(p256());
    let first = check(&text).unwrap();
    assert_eq!(first.replay_key(), check(&text).unwrap().replay_key());
    assert_ne!(first.replay_key(), check(&message(p256())).unwrap().replay_key());
}

#[test]
fn bearer_is_for_those_who_permit_it() {
    let token = token(rsa(), Confirmation::Bearer);
    let header = token.header(NOW, Duration::from_secs(300), rsa()).unwrap();
    assert_eq!(header.signature_value, None);
    let text = envelope(&header.markup);
    assert_eq!(check(&text).unwrap_err(), SamlError::Confirmation);
    let verified = check_with(&text, |e| e.bearer = true).unwrap();
    assert_eq!(verified.message_signature(), None);
    let bare = envelope(&security(token.assertion()));
    let missing = SamlError::Header(HeaderError::Missing("Timestamp"));
    assert_eq!(check_with(&bare, |e| e.bearer = true).unwrap_err(), missing);
    let permissive = |e: &mut Expectations<'_>| {
        e.bearer = true;
        e.allow_missing_timestamp = true;
    };
    assert_eq!(check_with(&bare, permissive).unwrap().attributes(), &attributes());
    let short = |e: &mut Expectations<'_>| {
        permissive(e);
        e.max_lifetime = Duration::from_secs(60);
    };
    assert_eq!(check_with(&bare, short).unwrap_err(), SamlError::Endless);
}

fn security(content: &str) -> String {
    let mut w = Writer::new();
    w.start("wsse:Security").attribute("xmlns:wsse", ns::WSSE).fragment(content);
    w.finish()
}

#[test]
fn times_that_do_not_hold_are_refused() {
    let text = message(rsa());
    let at = |now: Timestamp| check_with(&text, |e| e.now = now).map(|_| ());
    assert_eq!(at(NOW.plus(Duration::from_secs(599))), Ok(()));
    let late = at(NOW.plus(Duration::from_secs(600))).unwrap_err();
    assert_eq!(late.fault(), SecurityFault::MessageExpired);
    assert!(late.to_string().contains("expired at 2026-11-18T"), "{late}");
    assert!(matches!(
        at(NOW.minus(Duration::from_secs(301))),
        Err(SamlError::Header(HeaderError::NotYetCreated { .. }))
    ));
    let strict = check_with(&text, |e| e.max_lifetime = Duration::from_secs(299));
    assert_eq!(strict.unwrap_err(), SamlError::Header(HeaderError::TooLong { seconds: 300, most: 299 }));

    let (now, soon, past) = (
        NOW.to_rfc3339(),
        NOW.plus(Duration::from_secs(7200)).to_rfc3339(),
        NOW.minus(Duration::from_secs(7200)).to_rfc3339(),
    );
    let until = NOW.plus(Duration::from_secs(600)).to_rfc3339();
    let with = |name: &str, from: &str, to: &str| {
        let (from, to) = ([name, "=\"", from, "\""].concat(), [name, "=\"", to, "\""].concat());
        check(&issued(Confirmation::HolderOfKey, |plain| replaced(plain, &from, &to))).unwrap_err()
    };
    assert!(matches!(with("NotBefore", &now, &soon), SamlError::NotYetValid { .. }));
    assert!(matches!(with("NotOnOrAfter", &until, &past), SamlError::Expired { .. }));
    assert!(matches!(with("AuthnInstant", &now, &soon), SamlError::Structure(_)));
    assert!(matches!(with("IssueInstant", &now, &soon), SamlError::Structure(_)));
    assert!(matches!(with("IssueInstant", &now, "yesterday"), SamlError::Structure(_)));
    let evidence = issued(Confirmation::HolderOfKey, |plain| {
        let at = plain.rfind("IssueInstant=\"").unwrap();
        [&plain[..at], &replaced(&plain[at..], &now, &soon)].concat()
    });
    assert!(matches!(check(&evidence).unwrap_err(), SamlError::Structure(_)));
}

#[test]
fn the_audience_must_be_us() {
    let with = |audience: &str| {
        let element = ["<saml2:Audience>", audience, "</saml2:Audience>"].concat();
        let own = ["<saml2:Audience>", URL, "</saml2:Audience>"].concat();
        check(&issued(Confirmation::HolderOfKey, |plain| replaced(plain, &own, &element))).map(|_| ())
    };
    for ours in [URL, "https://gw.responder.example:8443", "https://GW.responder.example:8443/", "gw.responder.example"]
    {
        assert_eq!(with(ours), Ok(()), "{ours}");
    }
    for other in ["https://gw.other.example/xcpd", "https://gw.responder.example:8443/xca", "responder.example", ""] {
        assert_eq!(with(other), Err(SamlError::Audience), "{other}");
    }
    let element =
        ["<saml2:AudienceRestriction><saml2:Audience>", URL, "</saml2:Audience></saml2:AudienceRestriction>"].concat();
    let change = |to: String| issued(Confirmation::HolderOfKey, |plain| replaced(plain, &element, &to));
    let none = change(String::new());
    assert!(check(&none).is_ok());
    assert_eq!(check_with(&none, |e| e.allow_missing_audience = false).unwrap_err(), SamlError::NoAudience);
    let second = element.replace("gw.responder", "gw.other");
    assert_eq!(check(&change([&*element, &second].concat())).unwrap_err(), SamlError::Audience);
    assert!(check(&change([&*element, "<saml2:OneTimeUse/>"].concat())).is_ok());
    let unknown = change([&*element, "<saml2:Condition xsi:type=\"saml2:X\"/>"].concat());
    assert_eq!(check(&unknown).unwrap_err(), SamlError::Condition);
}

#[test]
fn parts_of_an_assertion_occur_once() {
    type Change = fn(&str) -> String;
    let cases: [(&str, Change, SamlError); 8] = [
        ("version", |p| replaced(p, "Version=\"2.0\"", "Version=\"1.1\""), SamlError::Version),
        (
            "second AuthnStatement",
            |p| {
                let at = p.find("<saml2:AuthnStatement").unwrap();
                let end = p.find("</saml2:AuthnStatement>").unwrap() + 23;
                [&p[..end], &p[at..]].concat()
            },
            SamlError::NotOnce("AuthnStatement"),
        ),
        (
            "second AuthnContext",
            |p| {
                let at = p.find("<saml2:AuthnContext>").unwrap();
                let end = p.find("</saml2:AuthnContext>").unwrap() + 21;
                [&p[..end], &p[at..]].concat()
            },
            SamlError::NotOnce("AuthnContext"),
        ),
        (
            "no AuthnStatement",
            |p| {
                let at = p.find("<saml2:AuthnStatement").unwrap();
                let end = p.find("</saml2:AuthnStatement>").unwrap() + 23;
                [&p[..at], &p[end..]].concat()
            },
            SamlError::NotOnce("AuthnStatement"),
        ),
        (
            "second Subject",
            |p| replaced(p, "<saml2:Conditions ", "<saml2:Subject/><saml2:Conditions "),
            SamlError::NotOnce("Subject"),
        ),
        (
            "second role",
            |p| replaced(p, "<hl7:Role ", "<hl7:Role xmlns:hl7=\"urn:hl7-org:v3\" code=\"2\"/><hl7:Role "),
            SamlError::Ambiguous("role"),
        ),
        (
            "second purpose",
            |p| {
                replaced(
                    p,
                    "<hl7:PurposeOfUse ",
                    "<hl7:PurposeOfUse xmlns:hl7=\"urn:hl7-org:v3\" code=\"PAYMENT\"/><hl7:PurposeOfUse ",
                )
            },
            SamlError::Ambiguous("purpose of use"),
        ),
        (
            "two communities",
            |p| {
                replaced(
                    p,
                    "urn:oid:2.999.10<",
                    "urn:oid:2.999.10</saml2:AttributeValue><saml2:AttributeValue>2.999.11<",
                )
            },
            SamlError::Attribute(AttributeError::Ambiguous("urn:nhin:names:saml:homeCommunityId")),
        ),
    ];
    for (what, change, error) in cases {
        assert_eq!(check(&issued(Confirmation::HolderOfKey, change)).unwrap_err(), error, "{what}");
    }
    let two = issued(Confirmation::HolderOfKey, cases_second_purpose);
    let verified = check_with(&two, |e| e.strict_single_values = false).unwrap();
    assert_eq!(verified.attributes().purposes.len(), 2);
}

fn cases_second_purpose(plain: &str) -> String {
    let second = "<hl7:PurposeOfUse xmlns:hl7=\"urn:hl7-org:v3\" code=\"T-GOVDTRM-ACP\"/><hl7:PurposeOfUse ";
    replaced(plain, "<hl7:PurposeOfUse ", second)
}

#[test]
fn attributes_are_read_as_partners_write_them() {
    let read = |content: &str| {
        let mut w = Writer::new();
        w.start("a:Assertion").attribute("xmlns:a", ns::SAML2).attribute("xmlns:xsi", ns::XSI);
        w.attribute("xmlns:hl7", ns::HL7V3).fragment(content);
        let text = w.finish();
        let tree = parse(&text, &Limits::default()).unwrap();
        Attributes::read(tree.root().unwrap())
    };
    let attribute = |name: &str, value: &str| {
        [
            "<a:AttributeStatement><a:Attribute Name='",
            name,
            "'><a:AttributeValue>",
            value,
            "</a:AttributeValue></a:Attribute></a:AttributeStatement>",
        ]
        .concat()
    };
    let purpose = "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse";
    let treatment = Code::new("T-TRTMNT", TEFCA_PURPOSE, "");
    for element in [
        "<hl7:PurposeOfUse xsi:type='hl7:CE' code='T-TRTMNT' codeSystem='2.16.840.1.113883.3.7204.1.5.2.1'/>",
        "<hl7:PurposeForUse type='hl7:CE' code='T-TRTMNT' codeSystem='2.16.840.1.113883.3.7204.1.5.2.1'/>",
        "<PurposeForUse code=' T-TRTMNT ' codeSystem='urn:oid:2.16.840.1.113883.3.7204.1.5.2.1'/>",
    ] {
        assert_eq!(read(&attribute(purpose, element)).unwrap().purposes, std::slice::from_ref(&treatment), "{element}");
    }
    let role = "urn:oasis:names:tc:xacml:2.0:subject:role";
    assert_eq!(read(&attribute(role, "physician")).unwrap().roles, [Code::new("physician", "", "")]);
    // Nothing stated is nothing, not treatment.
    assert!(read(&attribute(purpose, " ")).unwrap().purposes.is_empty());
    assert!(read(&attribute(purpose, "<hl7:PurposeOfUse code=''/>")).unwrap().purposes.is_empty());
    assert!(read("").unwrap().purposes.is_empty());
    // One statement for each attribute, either name of the community, with and without its prefix.
    for name in ["urn:nhin:names:saml:homeCommunityId", "urn:ihe:iti:xca:2010:homeCommunityId"] {
        for value in ["2.999.10", "urn:oid:2.999.10", "\n urn:oid:2.999.10 "] {
            let found = read(&(attribute(name, value) + &attribute(role, "x"))).unwrap();
            assert_eq!(found.home_community.unwrap().to_string(), "urn:oid:2.999.10");
            assert_eq!(found.roles.len(), 1);
        }
    }
    let organization = "urn:oasis:names:tc:xspa:1.0:subject:organization-id";
    for (value, kept) in [
        ("2.999.1", "urn:oid:2.999.1"),
        ("urn:oid:2.999.1", "urn:oid:2.999.1"),
        ("https://x.example", "https://x.example"),
    ] {
        assert_eq!(read(&attribute(organization, value)).unwrap().organization_id(), Some(kept));
    }
    for value in ["Organization/2.999.77", "Organization/urn:oid:2.999.77", "2.999.77"] {
        assert_eq!(
            read(&attribute("QueryAuthGrantor", value)).unwrap().query_auth_grantor.unwrap().as_str(),
            "2.999.77"
        );
    }
    let malformed = read(&attribute("QueryAuthGrantor", "Practitioner/7"));
    assert_eq!(malformed, Err(AttributeError::Malformed("QueryAuthGrantor")));
    let old = "urn:oasis:names:tc:xacml:1.0:subject:subject-id";
    assert_eq!(read(&attribute(old, "Ada <!-- x -->Example")).unwrap().subject_id.as_deref(), Some("Ada Example"));
}

#[test]
fn partners_get_what_they_want_written() {
    let with = |quirks| {
        let request = AssertionRequest { quirks, ..request(Confirmation::HolderOfKey) };
        Token::issue(&request, NOW, rsa()).unwrap().assertion().to_owned()
    };
    let plain = with(Quirks::default());
    assert!(!plain.contains("AuthzDecisionStatement") && !plain.contains("PurposeForUse"));
    assert!(plain.contains("subject:subject-id\" NameFormat=\"urn:oasis:names:tc:SAML:2.0:attrname-format:uri\""));
    let quirky = with(Quirks {
        basic_subject_id: true,
        purpose_for_use: true,
        ihe_home_community: true,
        authorization_decision: true,
    });
    for part in [
        "<hl7:PurposeForUse ",
        "urn:ihe:iti:xca:2010:homeCommunityId",
        "Decision=\"Permit\"",
        "subject:subject-id\" NameFormat=\"urn:oasis:names:tc:SAML:2.0:attrname-format:basic\"",
    ] {
        assert!(quirky.contains(part), "{part}");
    }
}

#[test]
fn debug_text_names_nobody() {
    let verified = check(&message(rsa())).unwrap();
    let token = token(rsa(), Confirmation::HolderOfKey);
    let text = format!("{verified:?} {:?} {token:?} {:?}", request(Confirmation::Bearer), attributes());
    for secret in ["Ada", "ada@", "p7", "e30", "1234567893"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_single_byte_changes_what_is_read(at in 0.0..1.0_f64, byte in any::<u8>()) {
        static GOOD: OnceLock<String> = OnceLock::new();
        let good = GOOD.get_or_init(|| message(rsa()));
        let mut bytes = good.clone().into_bytes();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short text")]
        let at = (at * bytes.len() as f64) as usize;
        bytes[at] = byte;
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        let Ok(tree) = parse(&text, &Limits::default()) else { return Ok(()) };
        let has_header = tree.root().unwrap().find(ns::SOAP12, &["Header"]).is_some_and(|h| h.child(ns::WSSE, "Security").is_some());
        if has_header && let Ok(verified) = check(&text) {
            prop_assert_eq!(verified.attributes(), &attributes());
            prop_assert_eq!(verified.name_id(), "ada@initiator.example");
            prop_assert_eq!(verified.issuer(), "CN=gw.initiator.example,O=Initiator,C=US");
        }
    }
}
