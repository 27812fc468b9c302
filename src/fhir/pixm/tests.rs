use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::id::Domain;

fn domains() -> Domains {
    let domain = |namespace: &str, oid: &str| Domain {
        namespace: namespace.into(),
        authority: AssigningAuthority::new(oid, "ISO").unwrap(),
    };
    Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20")])
}

fn asked(query: &str) -> Result<Wanted, Refusal> {
    Request::from_query(query, None, Handling::Lenient)?.resolve(&domains())
}

/// PIXm 2:3.83.4.2.3, cases 3 to 5, and what is malformed.
#[test]
fn each_case_of_the_query_has_its_refusal() {
    for (query, refusal) in [
        ("", Refusal::Missing("sourceIdentifier".into())),
        ("sourceIdentifier=", Refusal::Missing("sourceIdentifier".into())),
        ("sourceIdentifier=W-7", Refusal::Unusable("sourceIdentifier".into())),
        ("sourceIdentifier=|W-7", Refusal::Unusable("sourceIdentifier".into())),
        ("sourceIdentifier=urn:oid:2.999.20|", Refusal::Unusable("sourceIdentifier".into())),
        ("sourceIdentifier=urn:oid:9.9|W-7", Refusal::Unusable("sourceIdentifier".into())),
        (
            "sourceIdentifier=urn:oid:2.999.20|W-7&sourceIdentifier=urn:oid:2.999.20|W-8",
            Refusal::Unusable("sourceIdentifier".into()),
        ),
        ("sourceIdentifier=urn:oid:2.999.99|W-7", Refusal::SourceDomainUnknown),
        ("sourceIdentifier=urn:oid:2.999.99|W-7&targetSystem=urn:oid:2.999.98", Refusal::SourceDomainUnknown),
        ("sourceIdentifier=urn:oid:2.999.20|W-7&targetSystem=urn:oid:2.999.98", Refusal::TargetSystemUnknown),
        (
            "sourceIdentifier=urn:oid:2.999.20|W-7&targetSystem=urn:oid:2.999.10&targetSystem=nonsense",
            Refusal::TargetSystemUnknown,
        ),
    ] {
        assert_eq!(asked(query), Err(refusal), "{query}");
    }
}

#[test]
fn queries_by_get_and_by_post_are_the_same() {
    let query = "sourceIdentifier=urn:oid:2.999.20%7CW-7&targetSystem=urn:oid:2.999.10&_format=json";
    let by_get = Request::from_query(query, None, Handling::Strict).unwrap();
    let by_post = Request::from_parameters(&json!({"resourceType": "Parameters", "parameter": [
        {"name": "sourceIdentifier", "valueString": "urn:oid:2.999.20|W-7"},
        {"name": "targetSystem", "valueUri": "urn:oid:2.999.10"}]}));
    assert_eq!(by_post.as_ref(), Ok(&by_get));
    assert_eq!(Request::from_query(&by_get.to_query(), None, Handling::Strict), Ok(by_get.clone()));
    let wanted = by_get.resolve(&domains()).unwrap();
    assert_eq!(wanted.source.to_cx(), "W-7^^^&2.999.20&ISO");
    assert_eq!(wanted.targets, [AssigningAuthority::new("2.999.10", "ISO").unwrap()]);
}

#[test]
fn answers_name_the_domain_and_nothing_found_is_no_parameter() {
    let response = Response {
        identifiers: vec![PatientId::from_cx("N-44^^^&2.999.10&ISO").unwrap()],
        references: vec!["https://gw.example/fhir/Patient/77".into()],
    };
    let value = response.encode(&domains());
    let expected = json!({"resourceType": "Parameters", "parameter": [
        {"name": "targetIdentifier", "valueIdentifier":
            {"system": "urn:oid:2.999.10", "value": "N-44", "assigner": {"display": "NORTH"}}},
        {"name": "targetId", "valueReference": {"reference": "https://gw.example/fhir/Patient/77"}}]});
    assert_eq!(value, expected);
    assert_eq!(Response::decode(&value), Ok(response));
    assert_eq!(Response::default().encode(&domains()), json!({"resourceType": "Parameters"}));
}

fn patient(value: &str) -> Value {
    json!({"resourceType": "Patient", "name": [{"family": "Okafor"}],
        "identifier": [{"system": "urn:oid:2.999.10", "value": value}]})
}

fn merged(link: &str, active: bool, survivor: &str) -> Value {
    let mut body = patient("N-91");
    body["active"] = active.into();
    body["link"] = json!([{"type": link, "other": {"identifier": {"system": "urn:oid:2.999.10", "value": survivor}}}]);
    body
}

const FED: &str = "identifier=urn:oid:2.999.10%7CN-91";

#[test]
fn feeds_say_what_becomes_of_the_record() {
    let decode = |method: &str, body: &Value| Feed::decode(method, FED, None, Some(body)).unwrap();
    let id = PatientId::from_cx("N-91^^^&2.999.10&ISO").unwrap();
    assert!(matches!(decode("PUT", &patient("N-91")), Feed::Revise { id: fed, .. } if fed == id));
    assert!(matches!(decode("PUT", &merged("seealso", true, "N-44")), Feed::Revise { .. }));
    let Feed::Merge { subsumed, survivor, .. } = decode("PUT", &merged("replaced-by", false, "N-44")) else { panic!() };
    assert_eq!((subsumed, survivor.identifier.unwrap().value.as_deref()), (id.clone(), Some("N-44")));
    assert_eq!(Feed::decode("DELETE", FED, None, None), Ok(Feed::Remove { id: id.clone() }));
    let created = Feed::decode("POST", "", Some("Patient?identifier=urn:oid:2.999.10|N-91"), Some(&patient("N-91")));
    assert!(matches!(created.unwrap(), Feed::Create { condition: Some(fed), .. } if fed == id));
}

#[test]
fn feeds_that_could_hit_somebody_else_are_refused() {
    let nameless = json!({"resourceType": "Patient", "identifier": [{"system": "urn:oid:2.999.10", "value": "N-91"}]});
    for (method, query, body) in [
        ("PUT", "", Some(patient("N-91"))),
        ("PUT", "identifier=N-91", Some(patient("N-91"))),
        ("PUT", "identifier=urn:oid:2.999.10|N-91&active=true", Some(patient("N-91"))),
        ("PUT", "identifier=urn:oid:2.999.10|N-91,urn:oid:2.999.10|N-92", Some(patient("N-91"))),
        ("PUT", FED, Some(patient("N-92"))),
        ("PUT", FED, Some(nameless)),
        ("PUT", FED, Some(json!({"resourceType": "Patient", "name": [{"family": "Okafor"}]}))),
        ("PUT", FED, Some(merged("replaced-by", true, "N-44"))),
        ("PUT", FED, Some(merged("replaced-by", false, "N-91"))),
        ("PUT", FED, None),
        ("DELETE", "", None),
        ("PATCH", FED, Some(patient("N-91"))),
    ] {
        assert!(Feed::decode(method, query, None, body.as_ref()).is_err(), "{method} {query}");
    }
}

#[test]
fn what_we_feed_is_what_a_manager_reads() {
    for (method, body) in
        [("PUT", Some(patient("N-91"))), ("PUT", Some(merged("replaced-by", false, "N-44"))), ("DELETE", None)]
    {
        let feed = Feed::decode(method, FED, None, body.as_ref()).unwrap();
        let (method, url, body) = feed.encode();
        let query = url.split_once('?').unwrap().1;
        assert_eq!(Feed::decode(method, query, None, body.as_ref()), Ok(feed));
    }
}

#[test]
fn the_samples_of_the_guide_are_read() {
    let limits = crate::xml::Limits::default();
    for row in crate::testing::manifest("fhir-pixm/") {
        let bytes = crate::testing::corpus(&row[0]).unwrap();
        let name = row[0].as_str();
        if name.contains("pixm-request") {
            let value = crate::fhir::xml::read(&bytes, &limits).unwrap();
            let request = Request::from_parameters(&value).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
            let wanted = String::from_utf8(bytes).unwrap().matches("\"targetSystem\"").count();
            assert_eq!(request.targets.len(), wanted, "{name}");
        } else if name.contains("pixm-response") && name.ends_with(".xml") {
            let value = crate::fhir::xml::read(&bytes, &limits).unwrap();
            assert!(!Response::decode(&value).unwrap().identifiers.is_empty(), "{name}");
        } else if row[2] == "ITI-104" && name.ends_with(".json") {
            let value = json::read(&bytes, &json::Limits::default()).unwrap();
            let id = Patient::decode(&value).unwrap().patient_ids().next().unwrap();
            let query = condition(&id);
            let feed = Feed::decode("PUT", query.split_once('?').unwrap().1, None, Some(&value));
            let feed = feed.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
            assert_eq!(matches!(feed, Feed::Merge { .. }), name.contains("resolvedby"), "{name}");
        }
    }
}

/// The request lines that the guides print.
#[test]
fn the_request_lines_of_the_guide_are_read() {
    let Some(bytes) = crate::testing::corpus("fhir-pdqm/ihe-http-request-examples.tsv") else { return };
    let mut seen = 0;
    for line in String::from_utf8(bytes).unwrap().lines().filter(|line| line.starts_with("IHE/ITI.PIXm")) {
        let (method, url) = line.split('\t').nth(2).unwrap().split_once(' ').unwrap();
        let query = url.split_once('?').unwrap().1;
        match method {
            "GET" if !query.contains('{') => {
                assert!(Request::from_query(query, None, Handling::Strict).is_ok(), "{line}")
            }
            "PUT" | "DELETE" => assert!(fed(query).is_ok(), "{line}"),
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 5);
}

proptest! {
    #[test]
    fn any_query_is_read_or_refused(query in "(sourceIdentifier|targetSystem|identifier)?=?\\PC{0,40}") {
        let _ = asked(&query);
        let _ = Feed::decode("DELETE", &query, None, None);
    }
}
