//! Patient Demographics Match (`$match`): scores and grades, what is certain, how many (PDQm 2:3.119.4.2.3).

use causeway::fhir::json;
use ihe_tests::harness::fhir::Told;
use ihe_tests::harness::{Solo, Trail};
use serde_json::{Value, json};

use crate::iti_83::{NORTH, WORLD, register};

const PATIENTS: [(&str, &str, &str); 4] = [
    ("M1^^^&2.999.60.1&ISO~219-09-1234^^^&2.16.840.1.113883.4.1&ISO", "Okafor^Ada", "19870312"),
    ("M2^^^&2.999.60.1&ISO", "Okafor^Ngozi", "19910704"),
    ("M3^^^&2.999.60.1&ISO", "Lindqvist^Sven", "19590801"),
    ("M4^^^&2.999.60.1&ISO", "Twin^Jo", "20000101"),
];

fn asked(patient: Value, more: &[Value]) -> Value {
    let mut patient = patient;
    patient["resourceType"] = json!("Patient");
    let list: Vec<Value> =
        [json!({"name": "resource", "resource": patient})].into_iter().chain(more.iter().cloned()).collect();
    json!({"resourceType": "Parameters", "parameter": list})
}

/// Identifier, grade and score of each match.
fn matches(told: &Told) -> Vec<(String, String, f64)> {
    assert_eq!((told.status, &told.resource["type"]), (200, &json!("searchset")), "{}", told.resource);
    let entries =
        json::list(&told.resource, "entry").iter().filter(|entry| entry["resource"]["resourceType"] == "Patient");
    entries
        .map(|entry| {
            let search = &entry["search"];
            assert_eq!(search["mode"], "match");
            assert_eq!(search["extension"][0]["url"], "http://hl7.org/fhir/StructureDefinition/match-grade");
            let id =
                entry["resource"]["identifier"].as_array().unwrap().iter().find(|id| id["system"] == NORTH).unwrap();
            let grade = search["extension"][0]["valueCode"].as_str().unwrap();
            (id["value"].as_str().unwrap().to_owned(), grade.to_owned(), search["score"].as_f64().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn people_are_told_with_score_and_grade_the_best_first() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    let certain = json!({"name": "onlyCertainMatches", "valueBoolean": true});
    let one = json!({"name": "count", "valueInteger": 1});
    let ada = json!({"name": [{"family": "Okafor", "given": ["Ada"]}], "birthDate": "1987-03-12", "gender": "female",
        "address": [{"line": ["12 Elm St"], "city": "Salem", "state": "OR", "postalCode": "97301"}],
        "telecom": [{"system": "phone", "value": "+1 503 555 0100"}],
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-ssn", "value": "219-09-1234"}]});
    let told = matches(&fhir.json("POST", "Patient/$match", &asked(ada.clone(), &[])).await);
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("M1", "certain"), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0].2 >= pair[1].2) && told[0].2 > 0.95, "{told:?}");
    assert!(told.iter().all(|(id, ..)| id != "M3" && id != "M4"), "{told:?}");
    for more in [std::slice::from_ref(&certain), std::slice::from_ref(&one), &[certain.clone(), one.clone()]] {
        let told = matches(&fhir.xml("POST", "Patient/$match", &asked(ada.clone(), more)).await);
        assert_eq!(told.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["M1"], "{more:?}");
    }
    let lines = Trail::of(solo.gateway()).lines("M1^^^&amp;2.999.60.1&amp;ISO");
    assert!(lines.iter().any(|line| line.starts_with("ITI-119 E success patient")), "{lines:?}");

    // A name alone is nobody for certain; a bare Patient is the same question.
    let name = json!({"name": [{"family": "Lindqvist", "given": ["Sven"]}], "birthDate": "1959-08-01"});
    let told = matches(&fhir.json("POST", "Patient/$match", &asked(name.clone(), &[])).await);
    assert_eq!(told.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["M3"]);
    assert_ne!(told[0].1, "certain");
    assert!(
        matches(&fhir.json("POST", "Patient/$match", &asked(name.clone(), std::slice::from_ref(&certain))).await)
            .is_empty()
    );
    let mut bare = name;
    bare["resourceType"] = json!("Patient");
    assert_eq!(matches(&fhir.json("POST", "Patient/$match", &bare).await), told);

    let nobody = json!({"name": [{"family": "Zzyx", "given": ["Qq"]}], "birthDate": "1901-01-01"});
    let none = fhir.json("POST", "Patient/$match", &asked(nobody, &[])).await;
    assert_eq!((matches(&none), none.resource["total"].as_u64()), (Vec::new(), Some(0)));
    assert!(matches(&fhir.json("POST", "Patient/$match", &asked(json!({}), &[])).await).is_empty());
    fhir.judge();
}

/// A number can be misread: what else is told decides whether it is believed.
#[tokio::test]
async fn an_identifier_counts_with_what_else_is_told() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    let id = json!([{"system": NORTH, "value": "M3"}]);
    for (name, birth, grade) in [
        (Some("Lindqvist"), Some("1959-08-01"), "certain"),
        (None, None, "probable"),
        (Some("Okafor"), Some("1987-03-12"), "possible"),
    ] {
        let mut patient = json!({"identifier": id});
        if let (Some(name), Some(birth)) = (name, birth) {
            patient["name"] = json!([{"family": name, "given": [if name == "Okafor" { "Ada" } else { "Sven" }]}]);
            patient["birthDate"] = json!(birth);
        }
        let told = matches(&fhir.json("POST", "Patient/$match", &asked(patient, &[])).await);
        let own = told.iter().find(|(id, ..)| id == "M3").unwrap();
        assert_eq!(own.1, grade, "{name:?} {told:?}");
    }
    fhir.judge();
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let solo = Solo::start(WORLD).await;
    let fhir = solo.fhir();
    let resource = json!({"resourceType": "Patient", "name": [{"family": "x"}]});
    let count = |value: i64| asked(resource.clone(), &[json!({"name": "count", "valueInteger": value})]);
    for (body, status) in [
        (json!({"resourceType": "Parameters"}), 400),
        (json!({"resourceType": "Group"}), 400),
        (asked(json!({"gender": "robot"}), &[]), 400),
        (count(0), 400),
        (count(-1), 400),
        (asked(resource.clone(), &[json!({"name": "surprise", "valueString": "x"})]), 400),
        (asked(resource.clone(), &[json!({"name": "resource", "resource": resource})]), 400),
    ] {
        let told = fhir.json("POST", "Patient/$match", &body).await;
        assert_eq!(told.issue().0, status, "{body}");
    }
    assert_eq!(fhir.get("Patient/$match").await.issue().0, 405);
    assert_eq!(fhir.send("POST", "Patient/$match", &[], "").await.issue().0, 400);
    fhir.judge();
}
