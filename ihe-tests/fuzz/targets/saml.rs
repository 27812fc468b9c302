//! The security header of a request, checked by a receiver that trusts every signer and is patient about time.
//!
//! A mutated assertion fails at its digest, so one that stands alone is signed here first: what lies behind the
//! signature, attributes above all, is then reached too.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use causeway::id::Timestamp;
use causeway::saml::verify::{Expectations, claimed_home, verify};
use causeway::xml::signature::SigningKey;
use causeway::xml::signature::sign::sign_enveloped;
use causeway::xml::{self, Element, Limits, ns};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const DECADES: Duration = Duration::from_secs(1_000_000_000);

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(vec!["fuzz.example".into()]).expect("a name");
    let certificate = parameters.self_signed(&pair).expect("a certificate");
    SigningKey::from_pem(pair.serialize_pem().as_bytes(), certificate.pem().as_bytes()).expect("a signing key")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = xml::decode_text(bytes, None) else { return };
    let Ok(tree) = xml::parse(&text, &Limits::default()) else { return };
    let Ok(root) = tree.root() else { return };
    if let Some(security) = root.descendants().find(|element| element.is(ns::WSSE, "Security")) {
        check(security);
    } else if root.is(ns::SAML2, "Assertion") {
        check_signed(&text, root.attribute("ID").unwrap_or_default());
    }
});

fn check_signed(markup: &str, id: &str) {
    let ends = ["</saml2:Issuer>", "</saml:Issuer>", "</Issuer>"];
    let Some(end) = ends.into_iter().find(|end| markup.contains(end)) else { return };
    let Ok((signed, _)) = sign_enveloped(markup, end, id, &KEY, &KEY.key_info()) else { return };
    let Some(start) = signed.find("<").filter(|&start| !signed[start..].starts_with("<?")) else { return };
    let header = format!("<s:Security xmlns:s=\"{}\">{}</s:Security>", ns::WSSE, &signed[start..]);
    if let Ok(tree) = xml::parse(&header, &Limits::default()) {
        check(tree.root().expect("a root"));
    }
}

fn check(security: Element<'_>) {
    let _ = claimed_home(security);
    let trusted = |_: &[_], _| Ok(());
    let strict = Expectations::new(NOW, &[], &trusted);
    let patient = Expectations {
        skew: DECADES,
        max_lifetime: DECADES,
        bearer: true,
        allow_missing_timestamp: true,
        strict_single_values: false,
        ..strict.clone()
    };
    for expectations in [strict, patient] {
        if let Ok(verified) = verify(security, &expectations) {
            verified.audit_user();
            verified.replay_key();
            verified.attributes().organization();
        }
    }
}
