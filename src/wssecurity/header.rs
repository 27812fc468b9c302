//! `wsse:Security` of requests, as received, and of responses, both ways.

use std::time::Duration;

use super::{HeaderError, Lifetime};
use crate::id::Timestamp;
use crate::xml::signature::{decode_base64, encode_base64};
use crate::xml::{Element, Writer, ns};

/// The parts of a request's header. Only direct children count: an assertion deeper down is not ours to read.
#[derive(Clone, Copy, Debug)]
pub struct RequestHeader<'d> {
    /// `wsu:Timestamp`.
    pub timestamp: Option<Element<'d>>,
    /// `saml2:Assertion`.
    pub assertion: Element<'d>,
    /// `ds:Signature` beside the assertion.
    pub signature: Option<Element<'d>>,
}

impl<'d> RequestHeader<'d> {
    /// Finds exactly one assertion and at most one Timestamp and one Signature.
    pub fn read(security: Element<'d>) -> Result<Self, HeaderError> {
        if !security.is(ns::WSSE, "Security") {
            return Err(HeaderError::NotSecurity);
        }
        let at_most_one =
            |namespace, name| security.optional_child(namespace, name).map_err(|_| HeaderError::Repeated(name));
        let timestamp = at_most_one(ns::WSU, "Timestamp")?;
        let signature = at_most_one(ns::DS, "Signature")?;
        let assertion = at_most_one(ns::SAML2, "Assertion")?;
        Ok(Self { timestamp, signature, assertion: assertion.ok_or_else(|| other_token(security))? })
    }
}

/// What to say when there is no SAML 2.0 assertion.
fn other_token(security: Element<'_>) -> HeaderError {
    let known = ["EncryptedAssertion", "BinarySecurityToken", "UsernameToken", "Assertion", "EncryptedData"];
    let name_of = |child: Element<'_>| known.into_iter().find(|name| child.local_name() == *name);
    match security.children().find_map(name_of) {
        Some("Assertion") => HeaderError::OtherToken("an assertion of another version"),
        Some(name) => HeaderError::OtherToken(name),
        None => HeaderError::Missing("Assertion"),
    }
}

/// The header of a response: a Timestamp, and the confirmation of the request's signature if it had one
/// (WS-Security 1.1 section 8.5). It is not marked `mustUnderstand`: a partner that reads no header can go on.
pub fn response_header(now: Timestamp, lifetime: Duration, request_signature: Option<&[u8]>) -> String {
    let mut w = Writer::new();
    w.start("wsse:Security").attribute("xmlns:wsse", ns::WSSE);
    w.fragment(&Lifetime::starting(now, lifetime).canonical(&unique_id("TS-")));
    if let Some(value) = request_signature {
        w.start("wsse11:SignatureConfirmation");
        w.attribute("xmlns:wsse11", ns::WSSE11).attribute("xmlns:wsu", ns::WSU);
        w.attribute("Value", &encode_base64(value)).attribute("wsu:Id", &unique_id("SC-")).end();
    }
    w.finish()
}

/// An identifier that is an NCName and occurs nowhere else.
pub(crate) fn unique_id(prefix: &str) -> String {
    let mut id = String::from(prefix);
    id.push_str(&uuid::Uuid::new_v4().simple().to_string());
    id
}

/// Why a response's header is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResponseHeaderError {
    /// The partner says how long the response is valid, and that time has passed or lies ahead.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It confirms another request than ours.
    #[error("the response confirms the signature of another request")]
    OtherRequest,
}

/// What a response's header said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ResponseHeader {
    /// The Timestamp, if there was one.
    pub lifetime: Option<Lifetime>,
    /// Whether our signature was confirmed.
    pub confirmed: bool,
}

impl ResponseHeader {
    /// Reads the header of a response. Live partners leave out any part of it or all of it; what is there must hold.
    pub fn read(
        security: Option<Element<'_>>,
        our_signature: Option<&[u8]>,
        now: Timestamp,
        skew: Duration,
    ) -> Result<Self, ResponseHeaderError> {
        let Some(security) = security else { return Ok(Self::default()) };
        let timestamp = security.child(ns::WSU, "Timestamp");
        // A Timestamp that cannot be read is one that is not there: it proves nothing, because nothing signs it.
        let lifetime = timestamp.and_then(|timestamp| Lifetime::read(timestamp).ok());
        if let Some(lifetime) = lifetime {
            lifetime.check(now, skew, Duration::MAX)?;
        }
        let mut confirmed = false;
        for confirmation in security.children_named(ns::WSSE11, "SignatureConfirmation") {
            let value = confirmed_value(confirmation);
            // A confirmation without a value says that the request was not signed (WS-Security 1.1 section 8.5.1).
            if value.as_deref() != our_signature {
                return Err(ResponseHeaderError::OtherRequest);
            }
            confirmed = our_signature.is_some();
        }
        Ok(Self { lifetime, confirmed })
    }
}

/// The value, from the attribute or from a child element, as one live partner writes it.
fn confirmed_value(confirmation: Element<'_>) -> Option<Vec<u8>> {
    match confirmation.attribute("Value") {
        Some(value) => decode_base64(value),
        None => decode_base64(&confirmation.child(ns::WSSE11, "SignatureValue")?.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, parse};

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
    const SKEW: Duration = Duration::from_secs(300);

    fn read(text: &str, ours: Option<&[u8]>, now: Timestamp) -> Result<ResponseHeader, ResponseHeaderError> {
        let tree = parse(text, &Limits::default()).unwrap();
        ResponseHeader::read(Some(tree.root().unwrap()), ours, now, SKEW)
    }

    fn security(content: &str) -> String {
        let mut w = Writer::new();
        w.start("wsse:Security").attribute("xmlns:wsse", ns::WSSE).attribute("xmlns:wsu", ns::WSU);
        w.attribute("xmlns:wsse11", ns::WSSE11).fragment(content);
        w.finish()
    }

    #[test]
    fn a_response_confirms_the_signature_of_its_request() {
        let header = response_header(NOW, Duration::from_secs(300), Some(b"value"));
        let ours = read(&header, Some(b"value"), NOW).unwrap();
        assert!(ours.confirmed && ours.lifetime.is_some());
        assert_eq!(read(&header, Some(b"other"), NOW), Err(ResponseHeaderError::OtherRequest));
        assert_eq!(read(&header, None, NOW), Err(ResponseHeaderError::OtherRequest));
        let late = NOW.plus(Duration::from_secs(601));
        assert!(matches!(read(&header, Some(b"value"), late), Err(ResponseHeaderError::Header(_))));
    }

    #[test]
    fn what_live_partners_leave_out_is_not_missed() {
        assert_eq!(ResponseHeader::read(None, Some(b"value"), NOW, SKEW), Ok(ResponseHeader::default()));
        assert_eq!(read(&security(""), Some(b"value"), NOW), Ok(ResponseHeader::default()));
        let child = "<wsse11:SignatureConfirmation><wsse11:SignatureValue>dmFs\ndWU=</wsse11:SignatureValue>\
                     </wsse11:SignatureConfirmation>";
        assert!(read(&security(child), Some(b"value"), NOW).unwrap().confirmed);
        assert!(!read(&security("<wsse11:SignatureConfirmation/>"), None, NOW).unwrap().confirmed);
    }

    #[test]
    fn a_request_has_one_assertion_and_no_second_of_anything() {
        let read = |content: &str| {
            let text = security(content);
            let tree = parse(&text, &Limits::default()).unwrap();
            RequestHeader::read(tree.root().unwrap()).map(|_| ())
        };
        let assertion = "<a:Assertion xmlns:a='urn:oasis:names:tc:SAML:2.0:assertion'/>";
        let signature = "<s:Signature xmlns:s='http://www.w3.org/2000/09/xmldsig#'/>";
        assert_eq!(read(assertion), Ok(()));
        for (content, error) in [
            (String::new(), HeaderError::Missing("Assertion")),
            (assertion.repeat(2), HeaderError::Repeated("Assertion")),
            (["<wsu:Timestamp/><wsu:Timestamp/>", assertion].concat(), HeaderError::Repeated("Timestamp")),
            ([&*signature.repeat(2), assertion].concat(), HeaderError::Repeated("Signature")),
            ("<wsse:UsernameToken/>".into(), HeaderError::OtherToken("UsernameToken")),
            (["<wsse:X>", assertion, "</wsse:X>"].concat(), HeaderError::Missing("Assertion")),
            (
                "<Assertion xmlns='urn:oasis:names:tc:SAML:1.0:assertion'/>".into(),
                HeaderError::OtherToken("an assertion of another version"),
            ),
        ] {
            assert_eq!(read(&content), Err(error), "{content}");
        }
    }
}
