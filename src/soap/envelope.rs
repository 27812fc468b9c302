//! The SOAP 1.2 envelope, as received and as sent.

use super::addressing::Addressing;
use super::fault::{FAULT_ACTION, Fault, FaultCode};
use crate::xml::{Element, Tree, Writer, ns};

/// A SOAP 1.2 message as received. Nothing in it is trusted yet.
#[derive(Debug)]
pub struct Envelope<'d> {
    /// Where it goes, what it wants.
    pub addressing: Addressing,
    /// `wsse:Security`, unverified.
    pub security: Option<Element<'d>>,
    /// The whole header, for the transactions that have headers of their own.
    pub header: Option<Element<'d>>,
    /// The only child of the body.
    pub body: Element<'d>,
}

impl<'d> Envelope<'d> {
    /// Reads an envelope: SOAP 1.2, at most one header, one body with exactly one child (IHE-WSP215).
    pub fn read(tree: &'d Tree<'_>) -> Result<Self, Fault> {
        let root = tree.root()?;
        if root.is(ns::SOAP11, "Envelope") {
            return Err(Fault {
                code: FaultCode::VersionMismatch,
                subcode: None,
                reason: "this is a SOAP 1.1 envelope; SOAP 1.2 is required".into(),
            });
        }
        root.expect(ns::SOAP12, "Envelope")?;
        let header = root.optional_child(ns::SOAP12, "Header")?;
        let body = only_element(root.only_child(ns::SOAP12, "Body")?)?;
        let addressing = match Addressing::read(header) {
            Ok(addressing) => addressing,
            // A partner's fault is worth reading even without addressing.
            Err(_) if body.is(ns::SOAP12, "Fault") => Addressing::default(),
            Err(fault) => return Err(fault),
        };
        let security = match header {
            Some(header) => header.optional_child(ns::WSSE, "Security")?,
            None => None,
        };
        Ok(Self { addressing, security, header, body })
    }

    /// The fault that the body is, if it is one. By qualified name only: a patient may be called Fault.
    pub fn fault(&self) -> Option<Fault> {
        self.body.is(ns::SOAP12, "Fault").then(|| Fault::read(self.body))
    }

    /// Refuses a mandatory header that is not among those understood here (SOAP 1.2 part 1, 5.4.8).
    pub fn check_mandatory_headers(&self) -> Result<(), Fault> {
        const UNDERSTOOD: [&str; 5] = [ns::WSA, ns::WSSE, ns::XDR, ns::XCPD, ns::DIRECT];
        let mandatory = |e: &Element<'_>| matches!(e.attribute_any("mustUnderstand"), Some("1" | "true"));
        let unknown = self.header.into_iter().flat_map(|header| header.children());
        match unknown.filter(mandatory).find(|e| !UNDERSTOOD.contains(&e.namespace())) {
            None => Ok(()),
            Some(header) => Err(Fault {
                code: FaultCode::MustUnderstand,
                subcode: None,
                reason: format!("the mandatory header {} is not understood here", header.local_name()),
            }),
        }
    }
}

/// Writes an envelope. `headers` is markup of more headers (security, home community), `body` that of the body.
pub fn write(addressing: &Addressing, headers: &str, body: &str) -> String {
    let mut w = open(addressing);
    if !headers.is_empty() {
        w.fragment(headers);
    }
    w.end().start("soap12:Body").fragment(body);
    w.finish()
}

/// Writes an envelope with a fault, in answer to a request whose addressing may be unknown.
pub fn write_fault(request: Option<&Addressing>, headers: &str, fault: &Fault) -> String {
    let addressing = request.cloned().unwrap_or_default().response(FAULT_ACTION);
    let mut w = open(&addressing);
    if !headers.is_empty() {
        w.fragment(headers);
    }
    w.end().start("soap12:Body");
    fault.write(&mut w);
    w.finish()
}

fn open(addressing: &Addressing) -> Writer {
    let mut w = Writer::with_declaration();
    w.start("soap12:Envelope").attribute("xmlns:soap12", ns::SOAP12).attribute("xmlns:wsa", ns::WSA);
    w.start("soap12:Header");
    addressing.write(&mut w);
    w
}

fn only_element(body: Element<'_>) -> Result<Element<'_>, Fault> {
    let mut children = body.children();
    match (children.next(), children.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Fault::sender("the SOAP body is empty")),
        (Some(_), Some(_)) => Err(Fault::sender("the SOAP body has more than one element")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::addressing::ANONYMOUS;
    use crate::soap::fault::Subcode;
    use crate::xml::{Limits, parse};

    fn read(text: &str) -> Result<Addressing, Fault> {
        let tree = parse(text, &Limits::default()).unwrap();
        Envelope::read(&tree).map(|envelope| envelope.addressing)
    }

    fn envelope(header: &str, body: &str) -> String {
        format!(
            "<s:Envelope xmlns:s='{}' xmlns:wsa='{}'><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>",
            ns::SOAP12,
            ns::WSA
        )
    }

    #[test]
    fn what_is_written_is_read() {
        let sent = Addressing::request("urn:ihe:iti:2007:CrossGatewayQuery", "https://gw.example.org/xca");
        let received = read(&write(&sent, "", "<x/>")).unwrap();
        assert_eq!(received, sent);
        assert!(!received.wants_asynchronous_answer());
        let answer = received.response("urn:ihe:iti:2007:CrossGatewayQueryResponse");
        assert_eq!(answer.relates_to, sent.message_id);
    }

    #[test]
    fn headers_of_live_partners_are_read() {
        for header in [
            "<wsa:Action s:mustUnderstand='true'> urn:x </wsa:Action>",
            "<wsa:Action mustUnderstand='1'>urn:x</wsa:Action><wsa:MessageID>urn:x</wsa:MessageID>",
            "<Action xmlns='http://www.w3.org/2005/08/addressing'>urn:x</Action>",
        ] {
            assert_eq!(read(&envelope(header, "<x/>")).unwrap().action, "urn:x", "{header}");
        }
    }

    #[test]
    fn messages_that_break_the_rules_get_the_fault_they_deserve() {
        let action = "<wsa:Action>urn:x</wsa:Action>";
        for (text, code, subcode) in [
            (envelope("", "<x/>"), FaultCode::Sender, Some(Subcode::MessageAddressingHeaderRequired)),
            (envelope(&action.repeat(2), "<x/>"), FaultCode::Sender, Some(Subcode::InvalidAddressingHeader)),
            (envelope(action, ""), FaultCode::Sender, None),
            (envelope(action, "<x/><y/>"), FaultCode::Sender, None),
            (envelope(action, "<x/>").replace(ns::SOAP12, ns::SOAP11), FaultCode::VersionMismatch, None),
            ("<html/>".into(), FaultCode::Sender, None),
        ] {
            let fault = read(&text).unwrap_err();
            assert_eq!((fault.code, fault.subcode), (code, subcode), "{text}");
        }
    }

    #[test]
    fn mandatory_headers_that_nobody_knows_are_refused() {
        let text = envelope("<wsa:Action>urn:x</wsa:Action><o:Odd xmlns:o='urn:odd' s:mustUnderstand='1'/>", "<x/>");
        let tree = parse(&text, &Limits::default()).unwrap();
        let fault = Envelope::read(&tree).unwrap().check_mandatory_headers().unwrap_err();
        assert_eq!(fault.code, FaultCode::MustUnderstand);
    }

    #[test]
    fn a_fault_is_read_back_with_its_reason() {
        let fault = Fault::sender("the assertion has expired").with(Subcode::MessageExpired);
        let text = write_fault(None, "", &fault);
        let tree = parse(&text, &Limits::default()).unwrap();
        let read = Envelope::read(&tree).unwrap().fault().unwrap();
        assert_eq!(read.code, FaultCode::Sender);
        assert_eq!(read.reason, "the assertion has expired (wsu:MessageExpired)");
    }

    #[test]
    fn asynchronous_answers_are_asked_for_by_another_reply_address() {
        let reply =
            |to: &str| format!("<wsa:Action>a</wsa:Action><wsa:ReplyTo><wsa:Address>{to}</wsa:Address></wsa:ReplyTo>");
        assert!(read(&envelope(&reply("https://a.example.org/"), "<x/>")).unwrap().wants_asynchronous_answer());
        assert!(!read(&envelope(&reply(ANONYMOUS), "<x/>")).unwrap().wants_asynchronous_answer());
    }
}
