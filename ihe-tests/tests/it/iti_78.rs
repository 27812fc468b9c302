//! Mobile Patient Demographics Query: every parameter of PDQm 2:3.78.4.1.2 by GET and by POST, pages, the restriction to
//! domains, what is refused, and the read of one Patient.

use ihe_tests::harness::{Solo, Trail};

use crate::iti_83::{NORTH, WEST, WORLD, register};

const PATIENTS: [(&str, &str, &str); 4] = [
    (
        "Q1^^^&2.999.60.1&ISO~0071^^^&2.999.60.2&ISO~219-09-1234^^^&2.16.840.1.113883.4.1&ISO",
        "Quillfeather^Ada^Mary",
        "19870312",
    ),
    ("Q2^^^&2.999.60.1&ISO", "Quillfeather^Berta", "19590801"),
    ("Q3^^^&2.999.60.1&ISO", "Quillfeather^Cleo", "19590802"),
    ("Q4^^^&2.999.60.1&ISO", "Müller^Dora", "1960"),
];

#[tokio::test]
async fn every_parameter_finds_by_get_and_by_post() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    for (query, expected) in [
        ("family=quillfeather", &["Q1", "Q2", "Q3"][..]),
        ("family=Quill&given=Ada", &["Q1"]),
        ("family:exact=Quill", &[]),
        ("family:exact=Quillfeather&given=Berta", &["Q2"]),
        ("family:contains=FEATHER&birthdate=1959", &["Q2", "Q3"]),
        ("family=muller", &["Q4"]),
        ("family=Quillfeather&gender=female&birthdate=1959-08-02", &["Q3"]),
        ("family=Quillfeather&given=Ada&birthdate=1987-03-12", &["Q1"]),
        ("family=Quill&given=A&birthdate=1987-03-12", &["Q1"]),
        ("given=Ada,Berta", &["Q1", "Q2"]),
        ("given=Mary", &["Q1"]),
        ("given=Ada&given=Mary", &["Q1"]),
        ("birthdate=ge1959-08-02&birthdate=lt1961", &["Q3", "Q4"]),
        ("birthdate=1960", &["Q4"]),
        ("gender=male", &[]),
        ("gender=male,female&family=M", &["Q4"]),
        ("telecom=15035550100&given=Cleo", &["Q3"]),
        ("address=12%20elm&given=Cleo", &["Q3"]),
        ("address-city=Salem&given=Cleo", &["Q3"]),
        ("address-state=OR&address-postalcode=97301&given=Cleo", &["Q3"]),
        ("address-state=WA&given=Cleo", &[]),
        ("address-country=US&given=Cleo", &[]),
        ("mothersMaidenName=Eze", &[]),
        ("active=true&given=Cleo", &["Q3"]),
        ("active=false&given=Cleo", &[]),
        ("identifier=urn:oid:2.999.60.1%7CQ2", &["Q2"]),
        ("identifier=urn:oid:2.999.60.1|Q2,urn:oid:2.999.60.1|Q3", &["Q2", "Q3"]),
        ("identifier=urn:oid:2.999.60.2%7C0071", &["Q1"]),
        ("identifier=urn:oid:2.999.60.2%7C71", &[]),
        ("identifier=http://hl7.org/fhir/sid/us-ssn%7C219-09-1234", &["Q1"]),
        ("identifier=Q2", &["Q2"]),
        ("identifier=urn:oid:2.999.60.1%7CQ2&family=Nobody", &[]),
        ("_lastUpdated=ge2020&given=Cleo", &["Q3"]),
        ("_lastUpdated=lt2020&given=Cleo", &[]),
        ("family=***", &[]),
        ("_id=00000000000000000000000000000000", &[]),
        ("given=Cleo&shoe-size=44", &["Q3"]),
    ] {
        let url = query.replace('ü', "%C3%BC");
        let answers = [
            fhir.get(&format!("Patient?{url}")).await,
            fhir.form("Patient/_search", query).await,
            fhir.form(&format!("Patient/_search?{url}"), "").await,
            fhir.get(&format!("Patient?{url}&_format=application/fhir%2Bxml")).await,
        ];
        for answer in &answers {
            assert_eq!(answer.status, 200, "{query}: {}", answer.resource);
            assert_eq!(answer.values(NORTH), expected, "{query}");
            assert_eq!(answer.resource["total"], expected.len(), "{query}");
            let this = answer.resource["link"][0]["url"].as_str().unwrap();
            assert!(this.starts_with("https://localhost/fhir/Patient?") && !this.contains("shoe-size"), "{this}");
        }
    }
    let told = fhir.get(&format!("Patient?identifier={NORTH}%7CQ1")).await;
    let (patient, entry) = (told.entries()[0], &told.resource["entry"][0]);
    let url = entry["fullUrl"].as_str().unwrap();
    assert_eq!(url, format!("https://localhost/fhir/Patient/{}", patient["id"].as_str().unwrap()));
    let read = fhir.get(url.strip_prefix("https://localhost/fhir/").unwrap()).await;
    assert_eq!((read.status, &read.resource), (200, patient), "what is found is what is read");
    assert_eq!(fhir.get(&format!("Patient?_id={}", patient["id"].as_str().unwrap())).await.values(NORTH), ["Q1"]);
    let lines = Trail::of(solo.gateway()).lines("Q1^^^&amp;2.999.60.1&amp;ISO");
    assert!(lines.contains(&"ITI-78 E success patient query".to_owned()), "{lines:?}");
    assert!(lines.contains(&"ITI-78 R success patient".to_owned()), "{lines:?}");
    fhir.judge();
}

/// PDQm 2:3.78.4.1.2.4 and 2:3.78.4.1.3.
#[tokio::test]
async fn identifiers_are_told_of_the_domains_asked_for() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    for (query, expected) in [
        (format!("family=Quill&identifier={WEST}%7C"), vec![("", "0071")]),
        (format!("given=Ada&identifier={WEST}%7C,{NORTH}%7C"), vec![("Q1", "0071")]),
        (format!("given=Ada&identifier={NORTH}%7CQ1&identifier={WEST}%7C"), vec![("", "0071")]),
        ("given=Dora&identifier=urn:oid:2.999.60.3%7C".into(), vec![]),
    ] {
        let told = fhir.get(&format!("Patient?{query}")).await;
        let both = told.values(NORTH).into_iter().zip(told.values(WEST)).collect::<Vec<_>>();
        let both: Vec<_> = both.iter().map(|(north, west)| (north.as_str(), west.as_str())).collect();
        assert_eq!((both, told.resource["total"].as_u64()), (expected.clone(), Some(expected.len() as u64)), "{query}");
    }
    let unknown = fhir.get("Patient?given=Ada&identifier=urn:oid:2.999.9%7C").await;
    assert_eq!(unknown.issue(), (404, "not-found", "targetSystem not found"));
    fhir.judge();
}

#[tokio::test]
async fn pages_follow_each_other_and_a_page_can_be_asked_for_again() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    let first = fhir.get("Patient?family=Quill&_count=2").await;
    assert_eq!((first.values(NORTH), first.resource["total"].as_u64()), (vec!["Q1".into(), "Q2".into()], Some(3)));
    let next = first.resource["link"][1]["url"].as_str().unwrap();
    let next = next.strip_prefix("https://localhost/fhir/").unwrap();
    // Somebody who comes to be known meanwhile does not move the others to another page.
    register(&solo, &[("Q0^^^&2.999.60.1&ISO", "Quillfeather^Zoe", "1999")]).await;
    for _ in 0..2 {
        let second = fhir.get(next).await;
        assert_eq!((second.values(NORTH), second.resource["total"].as_u64()), (vec!["Q3".to_owned()], Some(3)));
        assert_eq!(second.resource["link"].as_array().unwrap().len(), 1, "no page follows");
    }
    for (query, values, next) in [
        ("family=Quill&_count=0", vec![], false),
        ("family=Quill&_count=500", vec!["Q1", "Q2", "Q3", "Q0"], false),
        ("family=Quill&_count=1&_page=1", vec!["Q2"], true),
        ("family=Quill&_page=900", vec![], false),
    ] {
        let told = fhir.get(&format!("Patient?{query}")).await;
        assert_eq!(told.values(NORTH), values, "{query}");
        assert_eq!(told.resource["link"].as_array().unwrap().len() == 2, next, "{query}");
    }
    fhir.judge();
}

#[tokio::test]
async fn searches_that_say_nothing_or_cannot_be_meant_are_refused() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    for (path, status, code) in [
        ("Patient", 400, "required"),
        ("Patient?active=true", 400, "required"),
        ("Patient?_count=5", 400, "required"),
        ("Patient?gender=robot", 400, "invalid"),
        ("Patient?birthdate=soon", 400, "invalid"),
        ("Patient?family:missing=true", 400, "not-supported"),
        ("Patient?family:not=x", 400, "not-supported"),
        ("Patient?family=x&_count=99999999999999999999999", 400, "invalid"),
        ("Patient?family=x&_count=-1", 400, "invalid"),
        ("Patient?family=x&_page=-1", 400, "invalid"),
        ("Patient?family=%", 400, "invalid"),
        ("Patient?family=%FF", 400, "invalid"),
        ("Patient?family=x&_format=turtle", 406, "not-supported"),
        ("Patient/00000000000000000000000000000000", 404, "not-found"),
        ("Patient/1", 404, "not-found"),
        ("Patient/1/_history", 404, "not-supported"),
        ("Patient/$everything", 404, "not-supported"),
        ("Observation?code=x", 404, "not-supported"),
        ("", 405, "not-supported"),
    ] {
        let told = fhir.get(path).await;
        let (told_status, told_code, _) = told.issue();
        assert_eq!((told_status, told_code), (status, code), "{path}");
        let lines = Trail::of(solo.gateway()).lines(told.trace());
        assert!(lines.len() == 1 && lines[0].contains("failure"), "{path}: {lines:?}");
    }
    let strict = [("prefer", "handling=strict")];
    let told = fhir.send("GET", "Patient?family=Quill&shoe-size=44", &strict, "").await;
    assert_eq!(told.issue(), (400, "not-supported", "the search parameter shoe-size is not supported"));
    let told = fhir.send("GET", "Patient?family=Quill", &[("accept", "text/html")], "").await;
    assert_eq!(told.issue().0, 406);
    let told = fhir.send("PATCH", "Patient", &[], "").await;
    assert_eq!((told.issue().0, told.header("allow")), (405, "GET, POST, PUT, DELETE"));
    fhir.judge();
}

/// What the CapabilityStatement promises is done, and strictly: nothing of it is left out in silence.
#[tokio::test]
async fn what_the_capability_statement_promises_is_done() {
    let solo = Solo::start(WORLD).await;
    register(&solo, &PATIENTS).await;
    let fhir = solo.fhir();
    let statement = fhir.get("metadata").await.resource;
    let claims = statement["instantiates"].to_string();
    for claim in
        ["IHE.PIXm.Manager", "IHE.PDQm.PatientDemographicsSupplier\"", "IHE.PDQm.PatientDemographicsSupplierMatch"]
    {
        assert!(claims.contains(claim), "{claims}");
    }
    let patient = &statement["rest"][0]["resource"][0];
    let mut codes: Vec<_> =
        patient["interaction"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["create", "delete", "read", "search-type", "update"]);
    let parameters = patient["searchParam"].as_array().unwrap();
    assert_eq!(parameters.len(), 15);
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap();
        let value = match (name, parameter["type"].as_str().unwrap()) {
            (_, "date") => "2026-01-15",
            ("gender", _) => "female",
            ("active", _) => "true",
            (_, _) => "x",
        };
        let strict = [("prefer", "handling=strict")];
        let told = fhir.send("GET", &format!("Patient?{name}={value}&given=Cleo"), &strict, "").await;
        assert_eq!(told.status, 200, "{name}: {}", told.resource);
        let this = told.resource["link"][0]["url"].as_str().unwrap();
        assert!(this.contains(&format!("{name}={value}")), "{this}");
    }
    fhir.judge();
}
