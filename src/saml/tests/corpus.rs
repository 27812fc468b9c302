//! Recorded assertions of other implementations.

use super::*;
use crate::testing;
use crate::xml::signature::{Claim, Identifiers, Policy, Profile, PublicKey};

fn verify_corpus(file: &str, policy: Policy) -> Option<Result<(), SignatureError>> {
    let text = String::from_utf8(testing::corpus(file)?).unwrap();
    let tree = parse(&text, &Limits::default()).unwrap();
    let assertion = tree.root().unwrap();
    let Some(signature) = assertion.child(ns::DS, "Signature") else {
        return Some(Err(SignatureError::Shape("unsigned")));
    };
    let key_info = signature.child(ns::DS, "KeyInfo").unwrap();
    let certificate = crate::saml::assertion::certificates(key_info).remove(0);
    let key = PublicKey::from_certificate(&certificate).unwrap();
    let identifiers = Identifiers::of(assertion).unwrap();
    Some(
        Claim::read(&identifiers, assertion, signature, Profile::Enveloped, policy)
            .and_then(|claim| claim.verify(&key))
            .map(|_| ()),
    )
}

/// A recording of 2010: RSA of 1024 bits with SHA-1, SignedInfo canonicalised with comments.
#[test]
fn an_old_signed_assertion_verifies_where_old_algorithms_are_permitted() {
    let old = Policy { sha1: true, short_rsa: true };
    let file = "saml/openncp-signedsamlassertion.xml";
    let Some(result) = verify_corpus(file, old) else { return };
    assert_eq!(result, Ok(()));
    assert_eq!(verify_corpus(file, Policy::default()).unwrap(), Err(SignatureError::Sha1("the signature")));
    let short = verify_corpus(file, Policy { sha1: true, short_rsa: false }).unwrap();
    assert_eq!(short, Err(SignatureError::ShortKey(1024)));
    let changed = verify_corpus("saml/openncp-derived-attribute-changed.xml", old).unwrap().unwrap_err();
    assert!(matches!(changed, SignatureError::Digest { .. }), "{changed}");
    assert_eq!(SamlError::Signature { over: "assertion", cause: changed }.fault(), SecurityFault::FailedCheck);
}

#[test]
fn an_unsigned_assertion_of_the_corpus_is_refused() {
    let Some(bytes) = testing::corpus("saml/openncp-derived-unsigned.xml") else { return };
    let text = String::from_utf8(bytes).unwrap();
    let assertion = text.split_once("?>").unwrap().1;
    let bare = envelope(&security(assertion));
    let error = check_with(&bare, |e| e.bearer = true).unwrap_err();
    assert_eq!((error.clone(), error.fault()), (SamlError::Unsigned, SecurityFault::InvalidSecurity));
}

/// Every assertion of the corpus can be read for its attributes, and none verifies by default policy and our trust.
#[test]
fn the_assertions_of_the_corpus_are_read_and_not_trusted() {
    for row in testing::manifest("saml/") {
        let Some(bytes) = testing::corpus(&row[0]) else { return };
        let text = String::from_utf8(bytes).unwrap();
        let Ok(tree) = parse(&text, &Limits::default()) else { panic!("{}", row[0]) };
        let root = tree.root().unwrap();
        for element in std::iter::once(root).chain(root.descendants()) {
            if element.is(ns::SAML2, "Assertion") {
                match Attributes::read(element) {
                    Ok(_) => {}
                    // Some samples have a placeholder that is no OID: no OID starts with 3.
                    Err(error) => {
                        assert_eq!(
                            error,
                            AttributeError::Malformed("urn:nhin:names:saml:homeCommunityId"),
                            "{}",
                            row[0]
                        );
                        assert!(text.contains("urn:oid:3.3.3"), "{}", row[0]);
                    }
                }
            }
            if element.is(ns::WSSE, "Security") {
                let audiences = [];
                let trusted = |_: &[CertificateDer<'static>], _: Timestamp| Err("nobody".to_owned());
                assert!(verify(element, &Expectations::new(NOW, &audiences, &trusted)).is_err(), "{}", row[0]);
            }
        }
    }
}
