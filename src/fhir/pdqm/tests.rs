use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fhir::outcome::{Issue, IssueCode};
use crate::id::Domain;

fn query(text: &str) -> Result<PatientQuery, Refusal> {
    PatientQuery::read(text, None, Handling::Lenient)
}

fn person() -> Patient {
    Patient::decode(&json!({"resourceType": "Patient", "id": "77", "active": true,
        "identifier": [{"system": "urn:oid:2.999.10", "value": "N-44"}, {"system": "urn:oid:2.999.20", "value": "W-7"}],
        "name": [{"family": "Okafor", "given": ["Ada", "Bea"]}], "gender": "female", "birthDate": "1987-03-12",
        "telecom": [{"system": "phone", "value": "+1 (503) 555-0100"}],
        "address": [{"line": ["12 Elm St"], "city": "Salem", "state": "OR", "postalCode": "97301", "country": "US"}],
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
            "valueString": "Eze"}]}))
    .unwrap()
}

#[test]
fn every_parameter_finds_and_does_not_find() {
    for (text, found) in [
        ("_id=77", true),
        ("_id=78", false),
        ("active=true", true),
        ("active=false", false),
        ("family=oka", true),
        ("family:exact=oka", false),
        ("family:contains=AFO", true),
        ("family=Obi,Okafor", true),
        ("family=Okafor&family=Obi", false),
        ("given=bea", true),
        ("given=eze", false),
        ("identifier=urn:oid:2.999.10|N-44", true),
        ("identifier=urn:oid:2.999.20|N-44", false),
        ("identifier=N-44", true),
        ("identifier=|N-44", false),
        ("telecom=1-503-555-0100", true),
        ("telecom=email|1-503-555-0100", false),
        ("birthdate=1987-03", true),
        ("birthdate=gt1987-03-12", false),
        ("birthdate=ge1987-01-01&birthdate=lt1988", true),
        ("address=12 elm", true),
        ("address-city=Salem", true),
        ("address-state=WA", false),
        ("address-postalcode=973", true),
        ("address-country=US", true),
        ("gender=female", true),
        ("gender=male,other", false),
        ("mothersMaidenName=Eze", true),
        ("family=Okafor&gender=female", true),
        ("family=Okafor&gender=male", false),
        ("identifier=urn:oid:2.999.30|", true),
    ] {
        assert_eq!(query(text).unwrap().matches(&person()), found, "{text}");
    }
}

#[test]
fn searches_that_cannot_be_meant_are_refused() {
    for text in ["gender=robot", "active=maybe", "active=true&active=false", "birthdate=soon", "identifier=a|b,c|"] {
        assert!(query(text).is_err(), "{text}");
    }
    assert!(query("").unwrap().is_empty() && query("active=true").unwrap().is_empty());
    assert!(!query("gender=female").unwrap().is_empty());
}

/// PDQm 2:3.78.4.1.2.4 and case 4 of 2:3.78.4.1.3.
#[test]
fn only_identifiers_of_the_domains_asked_for_are_returned() {
    let domain = |oid: &str| Domain { namespace: oid.into(), authority: AssigningAuthority::new(oid, "ISO").unwrap() };
    let domains = Domains::new(vec![domain("2.999.10"), domain("2.999.20")]);
    let asked = query("family=o&identifier=urn:oid:2.999.20|,urn:oid:2.999.10|").unwrap();
    assert_eq!(asked.domains(&domains).unwrap().len(), 2);
    let one = query("identifier=urn:oid:2.999.20|").unwrap().domains(&domains).unwrap();
    let mut patient = person();
    restrict(&mut patient, &one);
    assert_eq!(patient.identifiers, [Identifier::new("urn:oid:2.999.20", "W-7")]);
    let unknown = query("identifier=urn:oid:2.999.99|").unwrap().domains(&domains);
    assert_eq!(unknown, Err(Refusal::TargetDomainUnknown));
}

#[test]
fn get_and_post_are_the_same_search() {
    let by_get = query("family=Okafor&given=Ada&_count=3").unwrap();
    let by_post = PatientQuery::read("family=Okafor", Some("given=Ada&_count=3"), Handling::Strict).unwrap();
    assert_eq!((&by_get, by_get.count), (&by_post, Some(3)));
}

fn candidate(id: &str, score: f64, grade: Grade, person_id: &str) -> Candidate {
    Candidate { full_url: id.into(), patient: person(), score, grade, person: person_id.into() }
}

/// PDQm 2:3.119.4.2.3.
#[test]
fn a_match_returns_the_best_first_and_only_what_was_asked_for() {
    use Grade::{Certain, CertainlyNot, Possible, Probable};
    let all = |list: &[(&str, f64, Grade, &str)]| {
        list.iter().map(|(id, score, grade, person)| candidate(id, *score, *grade, person)).collect::<Vec<_>>()
    };
    let mixed: &[_] = &[
        ("p", 0.8, Probable, "2"),
        ("c", 0.97, Certain, "1"),
        ("n", 0.1, CertainlyNot, "3"),
        ("d", 0.9, Certain, "1"),
    ];
    let two_people: &[_] = &[("c", 0.97, Certain, "1"), ("d", 0.98, Certain, "2")];
    let unsure: &[_] = &[("x", 0.6, Possible, "1")];
    for (candidates, only_certain, count, expected) in [
        (mixed, false, None, vec!["c", "d", "p"]),
        (mixed, false, Some(2), vec!["c", "d"]),
        (mixed, true, None, vec!["c", "d"]),
        (two_people, true, None, vec![]),
        (two_people, true, Some(1), vec![]),
        (two_people, false, None, vec!["d", "c"]),
        (unsure, true, None, vec![]),
        (unsure, false, None, vec!["x"]),
        (&[][..], false, None, vec![]),
    ] {
        let request = MatchRequest { patient: person(), only_certain, count };
        let selected = select(all(candidates), &request);
        let urls: Vec<_> = selected.iter().map(|one| one.full_url.as_str()).collect();
        assert_eq!(urls, expected, "{candidates:?} {only_certain} {count:?}");
    }
}

#[test]
fn every_match_has_a_score_and_a_grade() {
    let warning = Issue::warning(IssueCode::Incomplete, "incomplete", "one source did not answer");
    let response = MatchResponse::of(vec![candidate("u", 0.97, Grade::Certain, "1")], Some(Outcome::of(warning)));
    let value = response.encode();
    let search = json!({"mode": "match", "score": 0.97, "extension": [
        {"url": "http://hl7.org/fhir/StructureDefinition/match-grade", "valueCode": "certain"}]});
    assert_eq!((&value["entry"][0]["search"], &value["total"]), (&search, &json!(1)));
    assert_eq!(value["entry"][1]["search"]["mode"], "outcome");
    assert_eq!(MatchResponse::decode(&value).unwrap(), response);
    assert_eq!(MatchResponse::default().encode(), json!({"resourceType": "Bundle", "type": "searchset", "total": 0}));
}

#[test]
fn match_requests_have_a_closed_list_of_parameters() {
    let part = |name: &str, kind: &str, value: Value| json!({"name": name, kind: value});
    let resource = || part("resource", "resource", person().encode());
    let body = |list: Vec<Value>| json!({"resourceType": "Parameters", "parameter": list});
    let full = body(vec![
        resource(),
        part("onlyCertainMatches", "valueBoolean", true.into()),
        part("count", "valueInteger", 3.into()),
    ]);
    let request = MatchRequest::decode(&full).unwrap();
    assert_eq!((request.only_certain, request.count), (true, Some(3)));
    assert_eq!(MatchRequest::decode(&request.encode()).unwrap(), request);
    assert_eq!(
        MatchRequest::decode(&person().encode()).unwrap(),
        MatchRequest { only_certain: false, count: None, ..request }
    );
    for list in [
        vec![],
        vec![resource(), resource()],
        vec![resource(), part("threshold", "valueDecimal", json!(0.5))],
        vec![resource(), part("count", "valueInteger", 0.into())],
        vec![resource(), part("count", "valueInteger", json!(-1))],
        vec![resource(), part("onlyCertainMatches", "valueString", "true".into())],
    ] {
        assert!(MatchRequest::decode(&body(list.clone())).is_err(), "{list:?}");
    }
}

#[test]
fn the_samples_of_the_guide_are_read() {
    for row in crate::testing::manifest("fhir-match/ihe-") {
        let bytes = crate::testing::corpus(&row[0]).unwrap();
        let value = json::read(&bytes, &json::Limits::default()).unwrap();
        if row[3] == "request" {
            assert!(MatchRequest::decode(&value).is_ok(), "{}", row[0]);
        } else {
            let response = MatchResponse::decode(&value).unwrap();
            assert_eq!(response.matches.is_empty(), row[0].contains("empty"), "{}", row[0]);
            assert!(response.matches.iter().all(|(_, _, score, _)| *score > 0.0), "{}", row[0]);
        }
    }
    let Some(bytes) = crate::testing::corpus("fhir-pdqm/ihe-http-request-examples.tsv") else { return };
    let text = String::from_utf8(bytes).unwrap();
    let line = text.lines().find(|line| line.contains("ITI-78.md") && line.contains('?')).unwrap();
    let query = query(line.split_once('?').unwrap().1).unwrap();
    assert_eq!((query.active, query.gender.len(), query.family.len()), (Some(true), 1, 1));
}

proptest! {
    #[test]
    fn any_search_is_read_or_refused(text in "(family|identifier|birthdate|gender|_count|telecom)(:[a-z]{0,8})?=\\PC{0,30}") {
        if let Ok(query) = query(&text) {
            let _ = query.matches(&person());
            // The `self` link asks the same again.
            let again = PatientQuery::read(&query.understood, None, Handling::Strict).unwrap();
            prop_assert!(again == query);
        }
    }
}
