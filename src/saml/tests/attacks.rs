//! Each way to cheat: wrapping, borrowed keys, other algorithms, changed content.

use super::*;

#[test]
fn wrapped_assertions_are_refused() {
    let plain = AssertionRequest { quirks: Quirks::default(), ..request(Confirmation::HolderOfKey) };
    let token = Token::issue(&plain, NOW, rsa()).unwrap();
    let good = token.header(NOW, Duration::from_secs(300), rsa()).unwrap().markup;
    let signed = token.assertion();
    let (id, signature) = (id_of(signed), signature_of(signed));
    assert!(check(&envelope(&good)).is_ok(), "its signature is remembered from now on");
    // The same assertion, unsigned, about another person, under another ID or the same one.
    let evil_twin = replaced(&without_signature(signed), "ada@initiator.example", "eve@evil.example");
    let evil = replaced(&evil_twin, &id, "_evil");
    let inside =
        |assertion: &str, content: &str| replaced(assertion, "</saml2:Issuer>", &["</saml2:Issuer>", content].concat());
    let object =
        replaced(signature, "</ds:Signature>", &["<ds:Object>", signed, "</ds:Object></ds:Signature>"].concat());
    let key_info = replaced(signature, "<ds:KeyValue>", &[signed, "<ds:KeyValue>"].concat());
    let advice = ["<saml2:Advice>", signed, "</saml2:Advice>"].concat();
    let extension = ["<e:Extensions xmlns:e='urn:e'>", signed, "</e:Extensions>"].concat();
    let subject = "<saml2:Subject>";
    for (how, why, assertion) in [
        ("beside, before", "more than one Assertion", [&evil, signed].concat()),
        ("beside, after", "more than one Assertion", [signed, &evil].concat()),
        ("signature moved into the evil one", "its Reference is", inside(&evil, signature)),
        ("the same, original beside", "more than one Assertion", inside(&evil, signature) + &without_signature(signed)),
        ("original in an Object of the signature", "has an Object", inside(&evil, &object)),
        ("original in KeyInfo of the signature", "its Reference is", inside(&evil, &key_info)),
        ("original in Advice", "not signed", replaced(&evil, subject, &[&advice, subject].concat())),
        (
            "original in Advice, its signature outside",
            "its Reference is",
            replaced(&inside(&evil, signature), subject, &[&advice, subject].concat()),
        ),
        ("original in Extensions", "not signed", inside(&evil, &extension)),
        ("original as a child", "not signed", inside(&evil, signed)),
        ("same ID, original in Extensions", "not signed", inside(&evil_twin, &extension)),
        ("same ID, original in an Object", "two elements have the identifier", inside(&evil_twin, &object)),
        ("same ID, signature copied", "content was changed", inside(&evil_twin, signature)),
        ("signature excluded", "not signed", without_signature(signed)),
        ("signature excluded from the evil one", "not signed", evil.clone()),
        ("signature beside and not inside", "more than one Signature", without_signature(signed) + signature),
        ("two signatures", "more than one Signature", inside(signed, signature)),
    ] {
        let error = check(&envelope(&replaced(&good, signed, &assertion))).expect_err(how);
        assert!(error.to_string().contains(why), "{how}: {error}");
    }
    for (how, place) in [("another header block", "<x:Before xmlns:x=\"urn:x\"/>"), ("the body", "<soap:Body/>")] {
        let elsewhere = if place.contains("Body") {
            ["<soap:Body>", signed, "</soap:Body>"].concat()
        } else {
            ["<x:Before xmlns:x=\"urn:x\">", signed, "</x:Before>"].concat()
        };
        for assertion in [evil.clone(), inside(&evil, signature)] {
            let text = replaced(&envelope(&replaced(&good, signed, &assertion)), place, &elsewhere);
            assert!(check(&text).is_err(), "original in {how}");
        }
        // Even a harmless copy makes the identifier ambiguous.
        let text = replaced(&envelope(&good), place, &elsewhere);
        assert_eq!(cause(check(&text)), SignatureError::DuplicateIdentifier(id.clone()), "copy in {how}");
    }
}

#[test]
fn references_to_anything_but_the_element_at_hand_are_refused() {
    let text = message(rsa());
    let own = ["URI=\"#", &id_of(&text), "\""].concat();
    for uri in ["", "#", "#_other", "#xpointer(/)", "http://evil.example/x", "file:///etc/passwd", "name", "../x"] {
        let changed = replaced(&text, &own, &["URI=\"", uri, "\""].concat());
        let SignatureError::Reference { found, .. } = cause(check(&changed)) else { panic!("{uri}") };
        assert_eq!(found, uri);
    }
    let none = replaced(&text, &own, "");
    assert!(matches!(cause(check(&none)), SignatureError::Reference { .. }));
    let reused = ["wsu:Id=\"", &id_of(&text), "\" x=\""].concat();
    let twice = replaced(&text, "<x:Before ", &["<x:Before xmlns:wsu=\"", ns::WSU, "\" ", &reused, "\" "].concat());
    assert_eq!(cause(check(&twice)), SignatureError::DuplicateIdentifier(id_of(&text)));
}

#[test]
fn algorithms_that_are_not_on_the_list_are_refused() {
    let text = message(rsa());
    let rsa_sha256 = Algorithm::RsaSha256.uri();
    for uri in [
        "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
        "http://www.w3.org/2000/09/xmldsig#dsa-sha1",
        "none",
        "",
    ] {
        let error = check(&replaced(&text, rsa_sha256, uri)).unwrap_err();
        assert_eq!(error.fault(), SecurityFault::UnsupportedAlgorithm);
        assert_eq!(cause(Err(error)), SignatureError::Algorithm { role: "the signature", uri: uri.into() });
    }
    let other_kind = replaced(&text, rsa_sha256, Algorithm::EcdsaSha256.uri());
    assert_eq!(cause(check(&other_kind)), SignatureError::KeyKind("RSA"));
    let sha1 = replaced(&text, rsa_sha256, Algorithm::RsaSha1.uri());
    assert_eq!(cause(check(&sha1)), SignatureError::Sha1("the signature"));
    // With permission SHA-1 is looked at, and then the value does not verify.
    assert_eq!(cause(check_with(&sha1, |e| e.policy.sha1 = true)), SignatureError::Value);
    let sha256 = "http://www.w3.org/2001/04/xmlenc#sha256";
    let sha1 = replaced(&text, sha256, "http://www.w3.org/2000/09/xmldsig#sha1");
    assert_eq!(cause(check(&sha1)), SignatureError::Sha1("the digest"));
    let md5 = replaced(&text, sha256, "http://www.w3.org/2001/04/xmldsig-more#md5");
    assert!(matches!(cause(check(&md5)), SignatureError::Algorithm { role: "the digest", .. }));
    let inclusive = replaced(
        &text,
        "CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#",
        "CanonicalizationMethod Algorithm=\"http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
    );
    assert!(matches!(cause(check(&inclusive)), SignatureError::Algorithm { role: "the canonicalisation", .. }));
}

#[test]
fn transforms_and_structure_beyond_the_profile_are_refused() {
    let text = message(rsa());
    let enveloped = "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>";
    for (transform, uri) in [
        ("<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"><x/></ds:Transform>", "xslt"),
        (
            "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>1=0</ds:XPath></ds:Transform>",
            "xpath",
        ),
        ("<ds:Transform Algorithm=\"http://www.w3.org/2002/06/xmldsig-filter2\"/>", "filter2"),
        ("<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#base64\"/>", "base64"),
    ] {
        for change in [transform.to_owned(), [enveloped, transform].concat()] {
            let error = cause(check(&replaced(&text, enveloped, &change)));
            let SignatureError::Algorithm { role: "the transform", uri: found } = error else { panic!("{error}") };
            assert!(found.contains(uri));
        }
    }
    let shapes = [
        (enveloped.to_owned(), String::new()),
        (enveloped.to_owned(), enveloped.repeat(2)),
        (enveloped.to_owned(), replaced(enveloped, "></ds:T", "><x/></ds:T")),
        ("</ds:SignedInfo>".into(), "<ds:Reference URI=\"#x\"/></ds:SignedInfo>".into()),
        ("<ds:SignatureValue>".into(), "<ds:Object/><ds:SignatureValue>".into()),
        ("<ds:SignatureValue>".into(), "<ds:Manifest/><ds:SignatureValue>".into()),
        ("</ds:DigestValue>".into(), "</ds:DigestValue><ds:DigestValue/>".into()),
    ];
    for (from, to) in shapes {
        assert!(matches!(cause(check(&replaced(&text, &from, &to))), SignatureError::Shape(_)), "{to}");
    }
    let method = ["<ds:SignatureMethod Algorithm=\"", Algorithm::RsaSha256.uri(), "\">"].concat();
    let parameters = replaced(&text, &method, &[&method, "<ds:HMACOutputLength>0</ds:HMACOutputLength>"].concat());
    assert!(matches!(cause(check(&parameters)), SignatureError::Shape(_)));
    let prefixes =
        ["<e:InclusiveNamespaces xmlns:e=\"", ns::EXC_C14N, "\" PrefixList=\"", &"p ".repeat(65), "\"/>"].concat();
    let method = ["<ds:CanonicalizationMethod Algorithm=\"", ns::EXC_C14N, "\">"].concat();
    let many = replaced(&text, &method, &(method.clone() + &prefixes));
    assert!(matches!(cause(check(&many)), SignatureError::Shape(_)));
}

#[test]
fn changed_content_is_explained() {
    let text = message(rsa());
    for (from, to) in [
        ("ada@initiator.example", "eve@initiator.example"),
        ("code=\"TREATMENT\"", "code=\"PAYMENT\""),
        ("urn:oid:2.999.10<", "urn:oid:2.999.11<"),
        ("<saml2:Conditions ", "<saml2:Advice/><saml2:Conditions "),
    ] {
        let error = check(&replaced(&text, from, to)).unwrap_err();
        assert_eq!(error.fault(), SecurityFault::FailedCheck);
        let SignatureError::Digest { reference, computed, stated } = cause(Err(error)) else { panic!("{to}") };
        assert_eq!(reference, ["#", &id_of(&text)].concat());
        assert_ne!(computed, stated);
    }
    let value = text.find("<ds:SignatureValue>").unwrap() + 19;
    let mut changed = text.clone();
    changed.replace_range(value..value + 4, "AAAA");
    assert_eq!(cause(check(&changed)), SignatureError::Value);
    changed.replace_range(value..value + 4, "!!!!");
    assert_eq!(cause(check(&changed)), SignatureError::NotBase64("SignatureValue"));
}

#[test]
fn a_comment_does_not_split_a_name() {
    let text = replaced(&message(rsa()), "ada@initiator.example", "ada@initiator<!-- x -->.example");
    // Canonicalisation leaves comments out, so the signature still holds, and the name is read whole.
    assert_eq!(check(&text).unwrap().name_id(), "ada@initiator.example");
    for evil in ["<!DOCTYPE x><x/>", "<!DOCTYPE x [<!ENTITY e 'eve'>]><x>&e;</x>", "<x>&e;</x>"] {
        assert!(parse(evil, &Limits::default()).is_err());
    }
}

#[test]
fn a_key_is_not_believed_because_it_came_along() {
    assert_eq!(check(&message(stranger())).unwrap_err(), SamlError::Untrusted("unknown issuer".into()));
    assert_eq!(SamlError::Untrusted(String::new()).fault(), SecurityFault::FailedAuthentication);
    let text = message(stranger());
    let [theirs, ours] = [stranger(), rsa()].map(|key| encode_base64(key.certificate_der()));
    let borrowed = text.replace(&theirs, &ours);
    assert_eq!(cause(check(&borrowed)), SignatureError::Value);
    let number_only = |text: &str, certificate: &str| {
        text.replace(
            &["<ds:X509Data><ds:X509Certificate>", certificate, "</ds:X509Certificate></ds:X509Data>"].concat(),
            "",
        )
    };
    assert_eq!(check(&number_only(&text, &theirs)).unwrap_err(), SamlError::NoCertificate);
    // A partner that sends numbers only is known by the certificate of its connection. Holder-of-key data is inside
    // what is signed, so it is left out before signing.
    let plain = issued(Confirmation::HolderOfKey, |assertion| number_only(assertion, &ours));
    let plain = number_only(&plain, &ours);
    assert_eq!(check(&plain).unwrap_err(), SamlError::NoCertificate);
    let candidates = [stranger().certificate_der().clone(), rsa().certificate_der().clone()];
    let with_peer = |text: &str, candidates: &[CertificateDer<'static>]| {
        let tree = parse(text, &Limits::default()).unwrap();
        let security = tree.root().unwrap().find(ns::SOAP12, &["Header"]).unwrap().child(ns::WSSE, "Security").unwrap();
        let audiences = [URL.to_owned()];
        let trusted = |_: &[CertificateDer<'static>], _: Timestamp| Ok(());
        let mut expectations = Expectations::new(NOW, &audiences, &trusted);
        expectations.candidates = candidates;
        verify(security, &expectations).map(|verified| verified.signer().clone())
    };
    assert_eq!(with_peer(&plain, &candidates).unwrap(), candidates[1]);
    assert!(with_peer(&plain, &candidates[..1]).is_err());
}

#[test]
fn the_holder_of_the_key_must_have_signed_this_timestamp() {
    let text = message(rsa());
    let endorsing = &text[text.rfind("<ds:Signature ").unwrap()..text.rfind("</wsse:Security>").unwrap()];
    assert_eq!(check(&replaced(&text, endorsing, "")).unwrap_err(), SamlError::NotEndorsed);
    assert_eq!(SamlError::NotEndorsed.fault(), SecurityFault::InvalidSecurity);
    // The signature of another message of the same sender, over another Timestamp.
    let other = message(rsa());
    let theirs = &other[other.rfind("<ds:Signature ").unwrap()..other.rfind("</wsse:Security>").unwrap()];
    assert!(matches!(cause(check(&replaced(&text, endorsing, theirs))), SignatureError::Reference { .. }));
    // The Timestamp made younger.
    let created = NOW.to_rfc3339();
    let younger = replaced(&text, &["<wsu:Created>", &created].concat(), "<wsu:Created>2026-11-18T13:06:41.000Z");
    assert!(check(&younger).is_err());
    let timestamp = &text[text.find("<wsu:Timestamp").unwrap()..text.find("</wsu:Timestamp>").unwrap() + 16];
    let later = replaced(
        &text,
        &["<wsu:Expires>", &NOW.plus(Duration::from_secs(300)).to_rfc3339()].concat(),
        &["<wsu:Expires>", &NOW.plus(Duration::from_secs(3000)).to_rfc3339()].concat(),
    );
    assert!(matches!(cause(check(&later)), SignatureError::Digest { .. }));
    // The signed Timestamp moved away, another in its place.
    let id = timestamp.split("wsu:Id=\"").nth(1).unwrap().split('"').next().unwrap();
    let evil = replaced(timestamp, id, "TS-evil");
    let moved = replaced(
        &replaced(&text, timestamp, &evil),
        "<soap:Body/>",
        &["<soap:Body>", timestamp, "</soap:Body>"].concat(),
    );
    assert!(matches!(cause(check(&moved)), SignatureError::Reference { .. }));
    let twice = replaced(&text, timestamp, &timestamp.repeat(2));
    assert_eq!(check(&twice).unwrap_err(), SamlError::Header(HeaderError::Repeated("Timestamp")));
    let none = replaced(&text, timestamp, "");
    assert_eq!(check(&none).unwrap_err(), SamlError::Header(HeaderError::Missing("Timestamp")));
    // Another trusted key signed the Timestamp: trusted, and not the one that the assertion names.
    let by_other = sign_canonical(timestamp.as_bytes(), id, Profile::Detached, p256(), "").unwrap();
    assert_eq!(cause(check(&replaced(&text, endorsing, &by_other.markup))), SignatureError::KeyKind("RSA"));
    let by_stranger = sign_canonical(timestamp.as_bytes(), id, Profile::Detached, stranger(), "").unwrap();
    assert_eq!(cause(check(&replaced(&text, endorsing, &by_stranger.markup))), SignatureError::Value);
}

#[test]
fn holder_of_key_data_must_name_one_key() {
    let number = |assertion: &str| {
        let from = assertion.find("<ds:Modulus>").unwrap() + 12;
        assertion[from..].split('<').next().unwrap().to_owned()
    };
    let key_info = rsa().key_info();
    for change in [
        // Number and certificate of two keys.
        (|plain: &str, number: &str, _: &str| replaced(plain, number, &number.replace(&number[..4], "AAAB")))
            as fn(&str, &str, &str) -> String,
        |plain, _, key_info| replaced(plain, key_info, ""),
        |plain, _, key_info| replaced(plain, key_info, &key_info.repeat(2)),
        |plain, _, key_info| {
            replaced(
                plain,
                key_info,
                "<ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:KeyName>x</ds:KeyName></ds:KeyInfo>",
            )
        },
    ] {
        let text = issued(Confirmation::HolderOfKey, |plain| change(plain, &number(plain), &key_info));
        assert_eq!(check(&text).unwrap_err(), SamlError::HolderKey);
    }
}
