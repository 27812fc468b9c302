//! FHIR resources in JSON and in XML: what was read and written is read and written the same again.
#![no_main]

use causeway::fhir::json::{self, Limits};
use causeway::fhir::{Bundle, Outcome, Patient, xml};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let value = match json::read(bytes, &Limits::default()) {
        Ok(value) => value,
        Err(_) => match xml::read(bytes, &causeway::xml::Limits::default()) {
            Ok(value) => check_xml(value),
            Err(_) => return,
        },
    };
    let _ = xml::write(&value);
    if let Ok(patient) = Patient::decode(&value) {
        let written = patient.encode();
        assert_eq!(Patient::decode(&written).map(|again| again.encode()).ok(), Some(written), "a patient, twice");
    }
    if let Ok(bundle) = Bundle::decode(&value) {
        let written = bundle.encode();
        assert_eq!(Bundle::decode(&written).map(|again| again.encode()).ok(), Some(written), "a bundle, twice");
    }
    if let Some(outcome) = Outcome::decode(&value) {
        let written = outcome.encode();
        assert_eq!(Outcome::decode(&written).map(|again| again.encode()), Some(written), "an outcome, twice");
    }
});

fn check_xml(value: Value) -> Value {
    let limits = causeway::xml::Limits { bytes: usize::MAX, ..causeway::xml::Limits::default() };
    if let Ok(written) = xml::write(&value) {
        let again = xml::read(written.as_bytes(), &limits).expect("the XML we write is readable");
        assert_eq!(xml::write(&again).ok(), Some(written), "written twice");
    }
    value
}
