use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::id::{AssigningAuthority, Domain};

fn domains() -> Domains {
    let domain = |namespace: &str, oid: &str| Domain {
        namespace: namespace.into(),
        authority: AssigningAuthority::new(oid, "ISO").unwrap(),
    };
    Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20")])
}

fn sample() -> Value {
    json!({
        "resourceType": "Patient", "id": "7", "active": true,
        "identifier": [
            {"use": "official", "system": "urn:oid:2.999.10", "value": "N-44", "assigner": {"display": "NORTH"}},
            {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "219-09-9999"},
            {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "AN"}]},
             "system": "urn:oid:2.999.77", "value": "A-1"},
            {"value": "without a system"}
        ],
        "name": [{"use": "official", "family": "Okafor", "given": ["Ada", "Bea"], "prefix": ["Dr"], "suffix": ["III"]},
                 {"text": "Obi, Ada Bea"}],
        "telecom": [{"system": "phone", "use": "mobile", "value": "tel:+1-503-555-0100"},
                    {"value": "ada@mail.example"}],
        "gender": "female", "birthDate": "1987-03", "deceasedBoolean": false,
        "address": [{"use": "home", "line": ["12 Elm St"], "city": "Salem", "district": "Marion", "state": "OR",
                     "postalCode": "07301", "country": "US"}],
        "maritalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "L"}]},
        "multipleBirthInteger": 2,
        "communication": [{"language": {"coding": [{"code": "fr"}]}},
                          {"language": {"coding": [{"code": "es"}]}, "preferred": true}],
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
                       "valueString": "Eze"}],
        "link": [{"type": "replaced-by", "other": {"identifier": {"system": "urn:oid:2.999.10", "value": "N-45"}}}]
    })
}

#[test]
fn every_demographic_is_read() {
    let patient = Patient::decode(&sample()).unwrap();
    let (person, ids) = patient.sorted(&domains());
    assert_eq!(ids.iter().map(PatientId::to_cx).collect::<Vec<_>>(), ["N-44^^^&2.999.10&ISO"]);
    assert_eq!(person.other_ids[0].to_cx(), "219-09-9999^^^&2.16.840.1.113883.4.1&ISO");
    assert_eq!(person.account.unwrap().id(), "A-1");
    assert_eq!((person.names[0].kind.as_str(), person.names[0].suffix.as_str()), ("L", "III"));
    assert_eq!((person.names[1].family.as_str(), person.names[1].given.len()), ("Obi", 2));
    assert_eq!((person.telecoms[0].value.as_str(), person.telecoms[0].usage.as_str()), ("+1-503-555-0100", "PRS"));
    assert_eq!(person.telecoms[1].system, TelecomSystem::Email);
    assert_eq!(person.birth.unwrap().as_str(), "198703");
    assert_eq!((person.addresses[0].postal_code.as_str(), person.addresses[0].county.as_str()), ("07301", "Marion"));
    assert_eq!((person.marital_status.as_deref(), person.language.as_deref()), (Some("A"), Some("es")));
    assert_eq!(person.multiple_birth, Some(MultipleBirth { multiple: true, order: Some(2) }));
    assert_eq!(person.mothers_maiden_name.unwrap().family, "Eze");
    let survivor = patient.replaced_by().unwrap().identifier.as_ref().unwrap();
    assert_eq!(survivor.patient_id().unwrap().id(), "N-45");
}

#[test]
fn what_decides_about_identity_is_not_guessed() {
    for (name, value) in [
        ("gender", json!("robot")),
        ("birthDate", json!("yesterday")),
        ("modifierExtension", json!([{"url": "http://e.example/not", "valueBoolean": true}])),
        ("implicitRules", json!("http://e.example/rules")),
    ] {
        let mut resource = sample();
        resource[name] = value;
        assert!(matches!(Patient::decode(&resource), Err(Refusal::Unusable(_))), "{name}");
    }
    assert_eq!(Patient::decode(&json!({"resourceType": "Group"})), Err(Refusal::WrongResource("Patient")));
}

#[test]
fn death_and_time_of_birth_are_written_as_precise_as_they_are() {
    let person = Demographics {
        birth: Some("19870312143000".parse().unwrap()),
        death: Some("202601".parse().unwrap()),
        ..Demographics::default()
    };
    let value = Patient::new(person, &[], None).encode();
    assert_eq!((&value["birthDate"], &value["deceasedDateTime"]), (&json!("1987-03-12"), &json!("2026-01")));
    assert_eq!(value["_birthDate"]["extension"][0]["valueDateTime"], "1987-03-12T14:30:00Z");
    let again = Patient::decode(&value).unwrap().demographics;
    assert_eq!((again.birth.unwrap().as_str(), again.deceased), ("19870312143000", Some(true)));
}

#[test]
fn codes_of_the_tables_survive_both_directions() {
    for code in ["A", "N", "P", "B", "U", "D", "I", "M", "S", "W", "G", "C"] {
        assert_eq!(marital_status(&write_marital_status(code)).as_deref(), Some(code));
    }
    for code in ["2106-3", "1004-1", "other text"] {
        let value = json!({"extension": [write_category(US_RACE, code)]});
        assert_eq!(category(&value, US_RACE).as_deref(), Some(code));
    }
}

#[test]
fn debug_prints_no_patient_data() {
    let text = format!("{:?}", Patient::decode(&sample()).unwrap());
    assert!(!text.contains("Okafor") && !text.contains("N-44"), "{text}");
}

#[test]
fn patients_of_partners_are_read_and_written_again() {
    let mut seen = 0;
    for folder in ["fhir-pixm/", "fhir-pdqm/", "fhir-match/"] {
        for row in crate::testing::manifest(folder).iter().filter(|row| row[8].contains("JSON Patient: ")) {
            let bytes = crate::testing::corpus(&row[0]).unwrap();
            let value = json::read(&bytes, &json::Limits::default()).unwrap();
            let patient = Patient::decode(&value).unwrap_or_else(|refusal| panic!("{}: {refusal}", row[0]));
            assert_eq!(Patient::decode(&patient.encode()).unwrap(), patient, "{}", row[0]);
            seen += 1;
        }
    }
    assert!(seen > 25 || crate::testing::shared().is_none(), "{seen}");
}

fn word() -> impl Strategy<Value = SmolStr> {
    "[A-Za-zÀ-ÿ'\"<&\\\\-]{1,12}".prop_map(SmolStr::from)
}

fn person_name() -> impl Strategy<Value = PersonName> {
    let kinds = proptest::sample::select(vec!["", "L", "D", "M", "N", "S", "A", "TEMP"]);
    (word(), proptest::collection::vec(word(), 0..3), word(), word(), kinds).prop_map(
        |(family, given, suffix, prefix, kind)| PersonName { family, given, suffix, prefix, kind: kind.into() },
    )
}

fn home() -> impl Strategy<Value = Address> {
    let kinds = proptest::sample::select(vec!["", "H", "B", "C", "BA", "BI", "M"]);
    (proptest::collection::vec(word(), 0..3), word(), word(), "[0-9]{5}", word(), word(), kinds).prop_map(
        |(lines, city, state, postal_code, country, county, kind)| Address {
            lines,
            city,
            state,
            postal_code: postal_code.into(),
            country,
            county,
            kind: kind.into(),
        },
    )
}

fn contact() -> impl Strategy<Value = Telecom> {
    use TelecomSystem::{Email, Fax, Other, Phone};
    let system = proptest::sample::select(vec![Phone, Fax, Email, Other]);
    let usage = proptest::sample::select(vec!["", "PRN", "WPN", "PRS", "VHN"]);
    (system, "[0-9+-]{3,12}", usage).prop_map(|(system, value, usage)| Telecom {
        system,
        value: value.into(),
        usage: usage.into(),
    })
}

fn moment() -> impl Strategy<Value = Dtm> {
    "(19|20)[0-9]{2}((0[1-9]|1[0-2])((0[1-9]|1[0-9]|2[0-8])(([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9])?)?)?"
        .prop_map(|digits| digits.parse().unwrap())
}

prop_compose! {
    fn person()(
        names in proptest::collection::vec(person_name(), 0..3),
        addresses in proptest::collection::vec(home(), 0..3),
        telecoms in proptest::collection::vec(contact(), 0..3),
        gender in proptest::option::of(proptest::sample::select(
            vec![Gender::Female, Gender::Male, Gender::Other, Gender::Unknown])),
        birth in proptest::option::of(moment()),
        death in proptest::option::of(moment()),
        order in proptest::option::of((any::<bool>(), proptest::option::of(1u8..9))),
        marital in proptest::option::of(proptest::sample::select(vec!["A", "N", "P", "B", "U", "M", "S", "C"])),
        maiden in proptest::option::of(word()),
        place in proptest::option::of(word()),
        language in proptest::option::of("[a-z]{2}(-[A-Z]{2})?"),
        race in proptest::option::of(proptest::sample::select(vec!["2106-3", "1004-1", "Martian"])),
    ) -> Demographics {
        Demographics {
            names, addresses, telecoms, gender, birth, death: death.clone(),
            deceased: death.map(|_| true),
            multiple_birth: order.map(|(multiple, order)| MultipleBirth {
                multiple: multiple || order.is_some(), order }),
            marital_status: marital.map(Into::into),
            mothers_maiden_name: maiden.map(|family| PersonName { family, ..PersonName::default() }),
            birth_place: place,
            language: language.map(Into::into),
            race: race.map(Into::into),
            ..Demographics::default()
        }
    }
}

proptest! {
    #[test]
    fn demographics_survive_json_and_xml(person in person(), id in "[A-Z0-9-]{1,12}") {
        let id = PatientId::new(&id, AssigningAuthority::new("2.999.10", "ISO").unwrap()).unwrap();
        let patient = Patient::new(person, &[id], Some(&domains()));
        let value = patient.encode();
        let bytes = serde_json::to_vec(&value).unwrap();
        let read = json::read(&bytes, &json::Limits::default()).unwrap();
        prop_assert!(Patient::decode(&read).unwrap() == patient);
        let text = crate::fhir::xml::write(&value).unwrap();
        let read = crate::fhir::xml::read(text.as_bytes(), &crate::xml::Limits::default()).unwrap();
        prop_assert!(Patient::decode(&read).unwrap() == patient);
    }
}
