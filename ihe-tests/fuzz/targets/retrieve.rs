//! Retrieving documents, requests and answers (ITI-43, ITI-39), and removing documents and metadata (ITI-86, ITI-62).
#![no_main]

use causeway::xds::remove::{DocumentsRequest, MetadataRequest};
use causeway::xds::retrieve::{Request, Response};
use causeway_fuzz::{check_xml_is_stable, with_payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_payload(bytes, |payload, _| {
    if let Ok(request) = Request::decode(payload) {
        check_xml_is_stable(&request.encode(), |root| {
            Request::decode(root).expect("what we write is a request").encode()
        });
    }
    if let Ok(request) = DocumentsRequest::decode(payload) {
        check_xml_is_stable(&request.encode(), |root| {
            DocumentsRequest::decode(root).expect("what we write is a request").encode()
        });
    }
    if let Ok(request) = MetadataRequest::decode(payload) {
        check_xml_is_stable(&request.encode(), |root| {
            MetadataRequest::decode(root).expect("what we write is a request").encode()
        });
    }
    let asked = Request { documents: Vec::new() };
    if let Ok(response) = Response::decode(payload, &asked) {
        check_xml_is_stable(&response.encode().xml, |root| {
            Response::decode(root, &asked).expect("what we write is an answer").encode().xml
        });
    }
}));
