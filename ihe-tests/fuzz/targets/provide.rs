//! Submissions: provide and register, register, updates, and their answers (ITI-41, 42, 57, 61, 80, 92).
#![no_main]

use causeway::ebxml::RegistryResponse;
use causeway::metadata::Rules;
use causeway::xds::provide::{home_of_header, xdr_rules};
use causeway::xds::{provide, register};
use causeway_fuzz::{check_xml_is_stable, with_payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_payload(bytes, |payload, header| {
    if let Some(header) = header {
        home_of_header(header);
    }
    for rules in [Rules::Provide, xdr_rules(header, true), Rules::DirectMinimal] {
        if let Ok(request) = provide::Request::decode(payload, rules) {
            check_xml_is_stable(&request.encode().xml, |root| {
                provide::Request::decode(root, rules).expect("what we write is a submission").encode().xml
            });
        }
    }
    for rules in [Rules::Register, Rules::RegisterOnDemand, Rules::Update, Rules::RestrictedUpdate] {
        if let Ok(request) = register::Request::decode(payload, rules) {
            check_xml_is_stable(&request.encode(), |root| {
                register::Request::decode(root, rules).expect("what we write is a submission").encode()
            });
        }
    }
    if let Ok(response) = RegistryResponse::decode(payload) {
        check_xml_is_stable(&response.encode(), |root| {
            RegistryResponse::decode(root).expect("what we write is an answer").encode()
        });
    }
}));
