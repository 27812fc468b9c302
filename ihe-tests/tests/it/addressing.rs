//! What every SOAP service does with envelopes and addressing headers (ITI TF-2: V.3, WS-Addressing 1.0, SOAP 1.2), and
//! what else is found at its URLs.

use bytes::Bytes;
use causeway::sandbox::Site;
use causeway::soap::fault::FaultCode;
use causeway::xca::responding_gateway::QUERY_ACTION;
use causeway::xml::ns;
use hyper::Method;
use ihe_tests::harness::World;
use ihe_tests::harness::samples::{find_documents, patient};

const PATH: &str = "/RespondingGateway";

fn query() -> String {
    find_documents(patient("V2001^^^&2.999.1.2.1&ISO"), Some("urn:oid:2.999.1.2")).encode()
}

#[tokio::test]
async fn envelopes_that_break_the_rules_get_the_fault_they_deserve() {
    type Change = fn(String) -> String;
    let world = World::shared();
    let cases: [(&str, Change, FaultCode, &str); 11] = [
        (
            "an action that is none of ours",
            |text| text.replace(QUERY_ACTION, "urn:ihe:iti:2099:Nothing"),
            FaultCode::Sender,
            "wsa:ActionNotSupported",
        ),
        ("no action", |text| without(&text, "wsa:Action"), FaultCode::Sender, "wsa:MessageAddressingHeaderRequired"),
        (
            "two actions",
            |text| text.replacen("<wsa:Action ", "<wsa:Action>urn:x</wsa:Action><wsa:Action ", 1),
            FaultCode::Sender,
            "wsa:InvalidAddressingHeader",
        ),
        (
            "two message ids",
            |text| text.replacen("<wsa:MessageID>", "<wsa:MessageID>x</wsa:MessageID><wsa:MessageID>", 1),
            FaultCode::Sender,
            "wsa:InvalidAddressingHeader",
        ),
        (
            "an answer wanted elsewhere",
            |text| text.replace("http://www.w3.org/2005/08/addressing/anonymous", "https://elsewhere.example.org/"),
            FaultCode::Sender,
            "wsa:OnlyAnonymousAddressSupported",
        ),
        ("SOAP 1.1", |text| text.replace(ns::SOAP12, ns::SOAP11), FaultCode::VersionMismatch, ""),
        (
            "a mandatory header that nobody knows",
            |text| {
                let header = "<o:Odd xmlns:o=\"urn:odd\" soap12:mustUnderstand=\"1\"/></soap12:Header>";
                text.replace("</soap12:Header>", header)
            },
            FaultCode::MustUnderstand,
            "",
        ),
        (
            "an empty body",
            |text| {
                let (start, end) = (text.find("<soap12:Body>").unwrap(), text.find("</soap12:Body>").unwrap());
                format!("{}{}", &text[..start + "<soap12:Body>".len()], &text[end..])
            },
            FaultCode::Sender,
            "",
        ),
        (
            "two bodies",
            |text| text.replace("</soap12:Envelope>", "<soap12:Body><x/></soap12:Body></soap12:Envelope>"),
            FaultCode::Sender,
            "",
        ),
        ("half a message", |text| text[..text.len() / 2].to_owned(), FaultCode::Sender, ""),
        (
            "a document type declaration",
            |text| text.replacen("<soap12:Envelope", "<!DOCTYPE x [<!ENTITY e 'e'>]><soap12:Envelope", 1),
            FaultCode::Sender,
            "",
        ),
    ];
    for (story, change, code, subcode) in cases {
        let letter = world.letter(Site::Valley, "RespondingGateway", QUERY_ACTION, query());
        let good = letter.envelope(&world.partner(Site::Valley).key);
        let bad = change(good.clone());
        assert_ne!(bad, good, "{story}");
        let answer = world.post(Site::Valley, PATH, &bad).await;
        let fault = answer.fault();
        assert_eq!(fault.code, code, "{story}: {fault:?}");
        assert!(fault.reason.contains(subcode), "{story}: {fault:?}");
        let status = if code == FaultCode::Sender { 400 } else { 500 };
        assert_eq!(answer.status, status, "{story}");
        // Nobody is known to have asked, but that something was asked is recorded.
        assert_eq!(world.trail(Site::Valley).lines(answer.trace()), ["ITI-38 E failure"], "{story}");
    }
}

/// An envelope without a header element.
fn without(text: &str, name: &str) -> String {
    let (start, end) = (format!("<{name}"), format!("</{name}>"));
    let (from, to) = (text.find(&start).unwrap(), text.find(&end).unwrap() + end.len());
    [&text[..from], &text[to..]].concat()
}

#[tokio::test]
async fn what_live_partners_leave_out_is_forgiven() {
    type Change = fn(String) -> String;
    let world = World::shared();
    let cases: [(&str, Change); 5] = [
        ("no ReplyTo", |text| without(&text, "wsa:ReplyTo")),
        ("no To", |text| without(&text, "wsa:To")),
        ("no MessageID", |text| without(&text, "wsa:MessageID")),
        ("an action that need not be understood", |text| {
            text.replacen("<wsa:Action soap12:mustUnderstand=\"1\">", "<wsa:Action>\n ", 1)
        }),
        ("another service's URL", |text| text),
    ];
    for (story, change) in cases {
        let letter = world.letter(Site::Valley, "RespondingGateway", QUERY_ACTION, query());
        let envelope = change(letter.envelope(&world.partner(Site::Valley).key));
        let path = if story.starts_with("another") { "/RespondingGatewayXCPD" } else { PATH };
        let answer = world.post(Site::Valley, path, &envelope).await;
        assert_eq!(answer.status, 200, "{story}: {}", answer.envelope);
        let message_id = (story != "no MessageID").then(|| letter.addressing.message_id.clone()).flatten();
        assert_eq!(answer.read(|envelope| envelope.addressing.relates_to.clone()), message_id, "{story}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_soap_are_refused_and_recorded() {
    let world = World::shared();
    let cases: [(&str, &str, &[u8]); 6] = [
        ("nothing", "application/soap+xml", b""),
        ("no XML", "application/soap+xml", b"hello"),
        ("another document", "application/soap+xml", b"<html/>"),
        ("a package without a boundary", "multipart/related; type=\"application/xop+xml\"", b"--x\r\n\r\n"),
        ("a package without parts", "multipart/related; boundary=x", b"--x--\r\n"),
        ("bytes that are not in their charset", "application/soap+xml; charset=UTF-8", b"<a>\xff</a>"),
    ];
    for (story, content_type, body) in cases {
        let partner = world.partner(Site::Valley);
        let body = Bytes::copy_from_slice(body);
        let reply = partner.send(world.sandbox.valley.https, Method::POST, PATH, content_type, body).await;
        let answer = reply.into_answer();
        assert_eq!((answer.fault().code, answer.status), (FaultCode::Sender, 400), "{story}");
        assert_eq!(world.trail(Site::Valley).lines(answer.trace()), ["ITI-38 E failure"], "{story}");
    }
}

#[tokio::test]
async fn each_service_describes_itself_and_nothing_else_is_there() {
    let world = World::shared();
    let get = async |path: &str| {
        world.partner(Site::Valley).send(world.sandbox.valley.https, Method::GET, path, "", Bytes::new()).await
    };
    for service in ["RespondingGatewayXCPD", "RespondingGateway", "DocumentRepository"] {
        let description = get(&format!("/{service}?wsdl")).await;
        let text = String::from_utf8(description.body.to_vec()).unwrap();
        assert_eq!(description.status, 200, "{service}");
        assert!(text.contains(&format!("location=\"{}\"", world.url(Site::Valley, service))), "{service}: {text}");
    }
    for path in ["/", "/nothing", "/RespondingGateway", "/RespondingGateway/x", "/schema/nothing.xsd", "/../etc/passwd"]
    {
        assert_eq!(get(path).await.status, 404, "{path}");
    }
}
