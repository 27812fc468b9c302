//! Each way to cheat or to wear out a gateway, over the wire: what the sender hears, what the audit trail says, and that
//! the next honest request is answered.

use std::time::Duration;

use causeway::atna::verify::verify;
use causeway::id::{Clock, Timestamp};
use causeway::saml::issue::Confirmation;
use causeway::trust::issue::{Authority, KeyKind, Leaf, Validity, write_public};
use causeway::xml::signature::sign::sign_enveloped;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use crate::hostile::{
    Answer, CANARY, ELSEWHERE, Forge, Identity, SOAP, World, XCPD, answer, connect, head, post, with_security,
};

/// A message that must be refused, with the fault's subcode and a part of its reason.
struct Attack {
    name: &'static str,
    text: String,
    subcode: &'static str,
    says: &'static str,
}

fn attack(name: &'static str, subcode: &'static str, says: &'static str, text: String) -> Attack {
    Attack { name, text, subcode, says }
}

/// The text with its first occurrence of something replaced.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:.60} is not in the text");
    text.replacen(from, to, 1)
}

fn without_signature(assertion: &str) -> String {
    assertion.replacen(signature_of(assertion), "", 1)
}

fn signature_of(assertion: &str) -> &str {
    let (from, to) = (assertion.find("<ds:Signature ").unwrap(), assertion.find("</ds:Signature>").unwrap());
    &assertion[from..to + "</ds:Signature>".len()]
}

fn id_of(assertion: &str) -> &str {
    assertion[assertion.find(" ID=\"").unwrap() + 5..].split('"').next().unwrap()
}

/// Wrapping: the signed assertion is somewhere, another one is where it should be.
fn wrapped(forge: &Forge<'_>) -> Vec<Attack> {
    let token = forge.token();
    let security = token.header(forge.at, forge.lifetime, forge.key).unwrap().markup;
    let good = with_security(&security);
    let signed = token.assertion();
    let (id, signature) = (id_of(signed), signature_of(signed));
    let twin = replaced(&without_signature(signed), "ada@asker.example.org", "eve@evil.example");
    let evil = replaced(&twin, id, "_evil");
    let inside =
        |assertion: &str, content: &str| replaced(assertion, "</saml2:Issuer>", &["</saml2:Issuer>", content].concat());
    let object = replaced(signature, "</ds:Signature>", &format!("<ds:Object>{signed}</ds:Object></ds:Signature>"));
    let key_info = replaced(signature, "<ds:KeyValue>", &format!("{signed}<ds:KeyValue>"));
    let advice = format!("<saml2:Advice>{signed}</saml2:Advice><saml2:Subject>");
    let extension = format!("<e:Extensions xmlns:e='urn:e'>{signed}</e:Extensions>");
    let elsewhere = |place: &str, content: &str, assertion: &str| {
        replaced(&replaced(&good, signed, assertion), place, &[place, content].concat())
    };
    let (invalid, check) = ("wsse:InvalidSecurity<", "wsse:FailedCheck<");
    let mut attacks: Vec<Attack> = [
        ("evil beside, before", invalid, "more than one", format!("{evil}{signed}")),
        ("evil beside, after", invalid, "more than one", format!("{signed}{evil}")),
        ("signature moved into the evil one", check, "Reference", inside(&evil, signature)),
        (
            "signature moved, original beside",
            invalid,
            "more than one",
            inside(&evil, signature) + &without_signature(signed),
        ),
        ("original in an Object of the signature", check, "Object", inside(&evil, &object)),
        ("original in KeyInfo", check, "Reference", inside(&evil, &key_info)),
        ("original in Advice", invalid, "not signed", replaced(&evil, "<saml2:Subject>", &advice)),
        ("original in Extensions", invalid, "not signed", inside(&evil, &extension)),
        ("original as a child", invalid, "not signed", inside(&evil, signed)),
        ("same ID, original in Extensions", invalid, "not signed", inside(&twin, &extension)),
        ("same ID, original in an Object", check, "two elements", inside(&twin, &object)),
        ("same ID, signature copied", check, "changed", inside(&twin, signature)),
        ("signature excluded", invalid, "not signed", without_signature(signed)),
        ("signature beside, not inside", invalid, "more than one", without_signature(signed) + signature),
        ("two signatures", "wsse:InvalidSecurityToken<", "more than one", inside(signed, signature)),
        ("two assertions", invalid, "more than one", signed.repeat(2)),
    ]
    .into_iter()
    .map(|(name, subcode, says, assertion)| attack(name, subcode, says, replaced(&good, signed, &assertion)))
    .collect();
    let (header, body) = ("<soap12:Header>", "<soap12:Body>");
    let before = format!("<x:Before xmlns:x=\"urn:x\">{signed}</x:Before>");
    attacks.push(attack("original in another header", invalid, "not signed", elsewhere(header, &before, &evil)));
    attacks.push(attack("original in the body", "", "more than one element", elsewhere(body, signed, &evil)));
    attacks.push(attack("copy in another header", check, "two elements", elsewhere(header, &before, signed)));
    attacks
}

/// Keys, algorithms, changed content.
fn forged(world: &World, forge: &Forge<'_>) -> Vec<Attack> {
    let good = forge.discovery();
    let stranger =
        Identity::of(Leaf::self_signed("stranger", &["localhost"], KeyKind::Rsa2048, world.validity).unwrap());
    let by_stranger = Forge::by(&stranger.key, forge.at).discovery();
    let borrowed = by_stranger.replace(certificate_of(&by_stranger), certificate_of(&good));
    let sha256 = "http://www.w3.org/2001/04/xmlenc#sha256";
    let rsa = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
    let algorithm = "wsse:UnsupportedAlgorithm<";
    let check = "wsse:FailedCheck<";
    let security = forge.security();
    let signed = assertion_of(&security);
    let unsigned = with_security(&replaced(&security, signed, &without_signature(signed)));
    vec![
        attack("a key from KeyInfo that nobody trusts", "wsse:FailedAuthentication<", "self-signed", by_stranger),
        attack("a stranger's key under a borrowed certificate", check, "", borrowed),
        attack("an attribute changed", check, "changed", replaced(&good, "code=\"TREATMENT\"", "code=\"PAYMENT\"")),
        attack("the user changed", check, "changed", replaced(&good, "ada@asker", "eve@asker")),
        attack(
            "HMAC with the public key",
            algorithm,
            "",
            replaced(&good, rsa, "http://www.w3.org/2000/09/xmldsig#hmac-sha1"),
        ),
        attack(
            "HMAC-SHA-256",
            algorithm,
            "",
            replaced(&good, rsa, "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"),
        ),
        attack("no algorithm", algorithm, "", replaced(&good, rsa, "none")),
        attack("RSA with SHA-1", algorithm, "", replaced(&good, rsa, "http://www.w3.org/2000/09/xmldsig#rsa-sha1")),
        attack("a SHA-1 digest", algorithm, "", replaced(&good, sha256, "http://www.w3.org/2000/09/xmldsig#sha1")),
        attack("an assertion without any signature, as bearer", "wsse:InvalidSecurity<", "not signed", unsigned),
        attack("no security header", "wsse:InvalidSecurity<", "no security header", with_security("")),
        attack(
            "a bearer assertion where holder-of-key is the rule",
            "wsse:InvalidSecurityToken<",
            "confirmation",
            Forge { confirmation: Confirmation::Bearer, ..Forge::by(forge.key, forge.at) }.discovery(),
        ),
    ]
}

fn certificate_of(text: &str) -> &str {
    text.split("<ds:X509Certificate>").nth(1).unwrap().split('<').next().unwrap()
}

fn assertion_of(security: &str) -> &str {
    let (from, to) = (security.find("<saml2:Assertion ").unwrap(), security.find("</saml2:Assertion>").unwrap());
    &security[from..to + "</saml2:Assertion>".len()]
}

/// Assertions whose conditions do not hold, or that do not say who asks and why.
fn unfit(world: &World, now: Timestamp) -> Vec<Attack> {
    let key = &world.asker.key;
    let hour = Duration::from_secs(3600);
    let by = || Forge::by(key, now);
    let (failed, token) = ("wsse:FailedAuthentication<", "wsse:InvalidSecurityToken<");
    vec![
        attack("expired", "wsu:MessageExpired<", "", Forge { at: now.minus(hour), ..by() }.discovery()),
        attack("not yet valid", "wsse:InvalidSecurity<", "future", Forge { at: now.plus(hour), ..by() }.discovery()),
        attack(
            "for another audience",
            token,
            "another audience",
            Forge { audience: Some("https://other.example.org/xcpd".into()), ..by() }.discovery(),
        ),
        attack("for no audience", token, "no audience", Forge { audience: None, ..by() }.discovery()),
        attack(
            "valid for a year",
            "wsse:InvalidSecurity<",
            "at most",
            Forge { lifetime: Duration::from_secs(31_536_000), ..by() }.discovery(),
        ),
        attack("without a purpose", failed, "purpose", Forge { purposes: Vec::new(), ..by() }.discovery()),
        attack(
            "for a purpose that is not allowed",
            failed,
            "MARKETING",
            Forge { purposes: vec!["MARKETING"], ..by() }.discovery(),
        ),
        attack("for an unknown purpose", failed, "not known", Forge { purposes: vec!["WHATEVER"], ..by() }.discovery()),
        attack("without a community", token, "community", Forge { home: None, ..by() }.discovery()),
        attack(
            "for an unknown community",
            failed,
            "not a partner",
            Forge { home: Some("urn:oid:2.999.77"), ..by() }.discovery(),
        ),
        attack(
            "for a community of another network",
            failed,
            "another network",
            Forge { home: Some(ELSEWHERE), ..by() }.discovery(),
        ),
        attack(
            "signed with another network's certificate",
            failed,
            "unknown authority",
            Forge::by(&world.elsewhere.key, now).discovery(),
        ),
    ]
}

/// XML that is no message, or wants to be more than one.
fn malformed(good: &str) -> Vec<Attack> {
    let prolog = |declaration: &str| format!("{declaration}{good}");
    let entity = replaced(good, "<soap12:Body>", "<soap12:Body>&evil;");
    let body = |content: &str| replaced(good, "<soap12:Body>", &format!("<soap12:Body>{content}"));
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=''")).collect();
    let prefixes: String = (0..50_000).map(|n| format!(" xmlns:p{n}='urn:{n}'")).collect();
    let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
    vec![
        attack("a document type", "", "not well-formed XML: line 1", prolog("<!DOCTYPE Envelope>")),
        attack(
            "an entity",
            "",
            "not well-formed XML: line 1",
            format!("<!DOCTYPE x [<!ENTITY evil \"{CANARY}\">]>{entity}"),
        ),
        attack(
            "an external entity",
            "",
            "not well-formed XML: line 1",
            format!("<!DOCTYPE x [<!ENTITY evil SYSTEM \"file:///etc/passwd\">]>{entity}"),
        ),
        attack("entities of entities", "", "not well-formed XML: line 1", prolog(laughs)),
        attack("an undeclared entity", "", "not well-formed XML: line 1", entity),
        attack("nested deeply", "", "not well-formed XML: line 1", body(&"<d>".repeat(100_000))),
        attack("many attributes", "", "more than 256", body(&format!("<d{attributes}/>"))),
        attack("many prefixes", "", "more than 256", body(&format!("<d{prefixes}/>"))),
        attack("cut off", "", "too early", good[..good.len() / 2].to_owned()),
        attack("empty", "", "empty", String::new()),
        attack("no XML", "", "not well-formed XML: line 1", format!("Dear {CANARY}, hello")),
        attack("another element", "", "belongs", format!("<patient>{CANARY}</patient>")),
        attack(
            "SOAP 1.1",
            "",
            "VersionMismatch",
            good.replace("http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/"),
        ),
        attack(
            "an unknown action",
            "wsa:ActionNotSupported<",
            "",
            good.replace("urn:hl7-org:v3:PRPA_IN201305UV02:CrossGatewayPatientDiscovery", "urn:example:none"),
        ),
    ]
}

/// A fault with subcode and trace, without patient data; an audit record of a failure with the same trace.
fn refused(world: &World, attack: &Attack, heard: &Answer) -> Result<(), String> {
    let (status, body) = (&heard.status, heard.body.split("<soap12:Body>").last().unwrap_or_default());
    let holds = |holds: bool, what: &str| {
        if holds { Ok(()) } else { Err(format!("{}: {what}: status {status}: {body:.900}", attack.name)) }
    };
    holds(*status == 400 || *status == 500, "another status")?;
    holds(body.contains("Fault>"), "no fault")?;
    holds(body.contains(attack.subcode), attack.subcode)?;
    holds(body.contains(attack.says), attack.says)?;
    holds(!body.contains(CANARY) && !body.contains("19340501"), "patient data")?;
    holds(body.contains("(trace "), "no trace")?;
    let record = world.record_of(heard.trace());
    holds(record.text.contains("EventOutcomeIndicator=\"8\""), &record.text)
}

fn check_refused(world: &World, attack: &Attack, heard: &Answer) {
    refused(world, attack, heard).unwrap_or_else(|problem| panic!("{problem}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_and_malformed_messages_get_a_fault_and_an_audit_record() {
    let world = World::new("[limits]\nxml_mib = 4\n");
    let gateway = world.serve().await;
    let now = world.clock.now();
    let good = world.good();
    let groups = [wrapped(&good), forged(&world, &good), unfit(&world, now), malformed(&good.discovery())];
    let mut problems = Vec::new();
    for group in groups {
        for attack in &group {
            let heard = world.post(gateway.https, XCPD, &attack.text).await;
            problems.extend(refused(&world, attack, &heard).err());
        }
        world.assert_alive(&gateway, group.last().unwrap().name).await;
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    gateway.stop().await;
    assert_eq!(verify(&world.audit_folder(), &[]).unwrap().problem, None);
}

/// Canonicalisation leaves comments out, so the signature holds; the name must be read whole, not up to the comment
/// (the SAML comment attacks of 2018).
#[tokio::test(flavor = "multi_thread")]
async fn a_comment_does_not_make_another_user_of_one() {
    let world = World::new("");
    let gateway = world.serve().await;
    let good = Forge { name_id: "admin@asker.example.org.evil.example", ..world.good() }.discovery();
    let text = replaced(&good, "admin@asker.example.org.evil", "admin@asker.example.org<!-- -->.evil");
    let heard = world.post(gateway.https, XCPD, &text).await;
    assert_eq!(heard.status, 200, "{}", heard.body);
    let records = world.records();
    let whole = records.iter().filter(|record| record.text.contains("admin@asker.example.org.evil.example")).count();
    let part = records.iter().filter(|record| record.text.contains("admin@asker.example.org@")).count();
    assert_eq!((whole, part), (1, 0), "the audit record has the whole name");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_message_is_refused_also_after_a_restart() {
    let world = World::new("");
    let gateway = world.serve().await;
    let (text, other) = (world.good().discovery(), world.good().discovery());
    assert_eq!(world.post(gateway.https, XCPD, &text).await.status, 200);
    let replay = attack("replayed", "wsu:MessageExpired<", "received before", text.clone());
    check_refused(&world, &replay, &world.post(gateway.https, XCPD, &text).await);
    gateway.stop().await;

    // What was accepted is remembered by the audit journal.
    let gateway = world.serve().await;
    check_refused(&world, &replay, &world.post(gateway.https, XCPD, &text).await);
    assert_eq!(world.post(gateway.https, XCPD, &other).await.status, 200, "another message of the same sender");
    check_refused(&world, &replay, &world.post(gateway.https, XCPD, &other).await);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_good_certificate_get_no_further_than_tls() {
    let world = World::new("");
    let hour = Duration::from_secs(3600);
    let now = Clock::system().now();
    let past = Validity { from: now.minus(hour * 48), until: now.minus(hour) };
    let leaf =
        |authority: &Authority, validity| authority.leaf("client", &["localhost"], KeyKind::P256, validity).unwrap();
    let stranger = Authority::root("Strangers", KeyKind::P256, world.validity).unwrap();
    let revoked = leaf(&world.root, world.validity);
    let list = world.root.revocation_list(&[revoked.serial()], world.validity).unwrap();
    write_public(&world.folder.path().join("trust-store/one/root.crl"), &list).unwrap();
    let self_signed = Leaf::self_signed("client", &["localhost"], KeyKind::P256, world.validity).unwrap();
    let gateway = world.serve().await;
    for (name, client, reason) in [
        ("no certificate", None, "no client certificate"),
        ("expired", Some(leaf(&world.root, past)), "expired"),
        ("revoked", Some(revoked), "revoked"),
        ("self-signed", Some(self_signed), ""),
        ("of an unknown authority", Some(leaf(&stranger, world.validity)), ""),
    ] {
        let before = world.records().len();
        let connector = world.connector(client.as_ref());
        let heard = post(&connector, gateway.https, XCPD, SOAP, world.good().discovery().as_bytes()).await;
        let error = heard.map(|answer| answer.body).expect_err(name);
        assert!(error.to_string().to_lowercase().contains("alert"), "{name}: {error}");
        let record = timeout(Duration::from_secs(5), async {
            loop {
                // Records of refused connections are not waited for by anybody.
                if let Some(record) = world.records().get(before) {
                    return record.clone();
                }
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{name}: no audit record"));
        assert!(record.text.contains("110126"), "{name}: node authentication: {}", record.text);
        assert!(record.text.contains(reason), "{name}: {}", record.text);
        world.assert_alive(&gateway, name).await;
    }
    // No TLS at all.
    let mut plain = tokio::net::TcpStream::connect(gateway.https).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let heard = answer(&mut plain).await;
    assert!(heard.is_err(), "{heard:?}");
    world.assert_alive(&gateway, "plain HTTP").await;
    gateway.stop().await;
}

/// Waits for the record of a message that failed, after so many others.
async fn recorded(world: &World, before: usize, name: &str) {
    let record = timeout(Duration::from_secs(10), async {
        loop {
            if let Some(record) = world.records().get(before) {
                return record.clone();
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    let record = record.await.unwrap_or_else(|_| panic!("{name}: no record"));
    assert!(record.text.contains("EventOutcomeIndicator=\"8\""), "{name}: {}", record.text);
}

/// Sends a head, then pieces without end (or until refused), and gives what was answered.
async fn pour(
    world: &World,
    gateway: &causeway::app::Running,
    head: &str,
    piece: &[u8],
    wait: Duration,
) -> Option<Answer> {
    let stream = connect(&world.connector(Some(&world.asker.leaf)), gateway.https).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    writing.write_all(head.as_bytes()).await.unwrap();
    let pouring = async {
        while writing.write_all(piece).await.is_ok() && writing.flush().await.is_ok() {
            sleep(wait).await;
        }
        std::future::pending::<()>().await
    };
    tokio::select! {
        heard = timeout(Duration::from_secs(20), answer(&mut reading)) => heard.expect("an end").ok(),
        () = pouring => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_too_large_too_slow_or_endless_are_cut_off() {
    let limits = "[limits]\nxml_mib = 1\nmessage_mib = 2\nheader_seconds = 1\nidle_seconds = 1\n";
    let world = World::new(limits);
    let gateway = world.serve().await;
    let good = world.good().discovery();
    let padded = replaced(&good, "<soap12:Body>", &format!("<!--{}--><soap12:Body>", "x".repeat(2 << 20)));
    check_refused(&world, &attack("oversized", "", "", String::new()), &world.post(gateway.https, XCPD, &padded).await);
    world.assert_alive(&gateway, "oversized").await;

    let chunked = head(XCPD, SOAP, "Transfer-Encoding: chunked\r\n");
    let mebibyte = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    let slow = "1\r\nx\r\n";
    let announced = head(XCPD, SOAP, "Content-Length: 99999999999\r\n");
    let related = "multipart/related; type=\"application/xop+xml\"; boundary=b; start=\"<root>\"; \
                   start-info=\"application/soap+xml\"";
    let mime = head(XCPD, related, "Transfer-Encoding: chunked\r\n");
    let parts = "--b\r\nContent-Type: text/plain\r\nContent-ID: <p>\r\n\r\nx\r\n".repeat(1000);
    let parts = format!("{:x}\r\n{parts}\r\n", parts.len());
    let deflated = head(XCPD, SOAP, "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n");
    let zeros = format!("{:x}\r\n{}\r\n", 1 << 16, "\0".repeat(1 << 16));
    let none = Duration::ZERO;
    for (name, head, piece, wait) in [
        ("endless", &chunked, mebibyte.as_bytes(), none),
        ("announced too large", &announced, b"x", Duration::from_millis(100)),
        ("byte by byte", &chunked, slow.as_bytes(), Duration::from_millis(100)),
        ("thousands of parts", &mime, parts.as_bytes(), none),
        ("claimed to be compressed", &deflated, zeros.as_bytes(), none),
    ] {
        let heard = pour(&world, &gateway, head, piece, wait).await.expect(name);
        check_refused(&world, &attack(name, "", "", String::new()), &heard);
        world.assert_alive(&gateway, name).await;
    }

    // Headers that never end: there is no message to answer, the connection goes.
    for (name, start, piece, wait) in [
        ("slow headers", "POST / HTTP/1.1\r\nHost: localhost\r\n", "X: y\r\n", Duration::from_millis(100)),
        ("endless headers", "POST / HTTP/1.1\r\nHost: localhost\r\n", &*"X: y\r\n".repeat(1000), none),
    ] {
        let heard = pour(&world, &gateway, start, piece.as_bytes(), wait).await;
        assert!(heard.as_ref().is_none_or(|heard| (400..500).contains(&heard.status)), "{name}: {heard:?}");
        world.assert_alive(&gateway, name).await;
    }

    // Cut off within the body: nobody is there to hear an answer, the record is made all the same.
    let before = world.records().len();
    let mut stream = connect(&world.connector(Some(&world.asker.leaf)), gateway.https).await.unwrap();
    let length = format!("Content-Length: {}\r\n", good.len());
    stream.write_all(head(XCPD, SOAP, &length).as_bytes()).await.unwrap();
    stream.write_all(&good.as_bytes()[..good.len() / 2]).await.unwrap();
    stream.flush().await.unwrap();
    drop(stream);
    recorded(&world, before, "truncated").await;
    world.assert_alive(&gateway, "truncated").await;
    gateway.stop().await;
}

/// The number of attributes changes nothing about who is asked: an assertion signed anew by its owner, with a second
/// subject, is not two users.
#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_with_two_subjects_is_refused() {
    let world = World::new("");
    let gateway = world.serve().await;
    let forge = world.good();
    let token = forge.token();
    let plain = without_signature(token.assertion());
    let subject = &plain[plain.find("<saml2:Subject>").unwrap()..plain.find("</saml2:Subject>").unwrap()];
    let subject = [subject, "</saml2:Subject>"].concat();
    let doubled = replaced(&plain, &subject, &subject.repeat(2));
    let (assertion, _) =
        sign_enveloped(&doubled, "</saml2:Issuer>", id_of(&doubled), forge.key, &forge.key.key_info()).unwrap();
    let security = token.header(forge.at, forge.lifetime, forge.key).unwrap().markup;
    let text = with_security(&replaced(&security, token.assertion(), &assertion));
    let two = attack("two subjects", "", "Subject", text);
    check_refused(&world, &two, &world.post(gateway.https, XCPD, &two.text).await);
    gateway.stop().await;
}
