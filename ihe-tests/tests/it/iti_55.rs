//! ITI-55 Cross Gateway Patient Discovery, asked over mutual TLS as partners ask (ITI TF-2: 3.55).

use causeway::hl7v3::ack::{AckType, AcknowledgementMessage};
use causeway::id::{Demographics, Dtm, Gender, PersonName};
use causeway::sandbox::Site;
use causeway::sandbox::samples::{self, Community};
use causeway::soap::fault::FaultCode;
use causeway::xcpd::discovery::{ACTION, ACTION_DEFERRED, ACTION_RESPONSE, Outcome, Priority, Request, Response};
use ihe_tests::harness::samples::{discovery, patient};
use ihe_tests::harness::{Answer, Letter, World};

const SERVICE: &str = "RespondingGatewayXCPD";
const VALLEY: &str = "urn:oid:2.999.1.2";
const HUB: &str = "urn:oid:2.999.1.9";

/// Demographics of one of the sandbox's people, as the hospital has them.
fn person(local_id: &str) -> Demographics {
    let all = samples::patients();
    let record = all.iter().filter_map(|person| person.at(Community::Hospital)).find(|one| one.local_id == local_id);
    record.expect("a patient of the hospital").demographics.clone()
}

fn letter(world: &World, site: Site, request: &Request) -> Letter {
    world.letter(site, SERVICE, ACTION, request.encode())
}

fn outcome(world: &World, answer: &Answer) -> Outcome {
    assert_eq!(answer.status, 200, "{}", answer.envelope);
    assert_eq!(answer.read(|envelope| envelope.addressing.action.clone()), ACTION_RESPONSE);
    let domains = &world.sandbox.hospital.gateway.domains;
    answer.body(|body| Response::decode(body, domains).unwrap()).outcome
}

/// What a discovery comes to, in a line.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Matches(matches) => {
            let each = matches.iter().map(|one| {
                let home = one.home.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("{} of {home}", one.patient_id.to_cx())
            });
            each.collect::<Vec<_>>().join(", ")
        }
        Outcome::MoreAttributes(wanted) => format!("wants {wanted:?}"),
        Outcome::NoMatch => "no match".into(),
        Outcome::Error { reason, detail, text } => {
            let text = text.split(" (trace").next().unwrap_or_default();
            format!("{} {detail}: {text}", reason.as_deref().unwrap_or("-"))
        }
    }
}

#[tokio::test]
async fn each_outcome_of_discovery_is_answered_as_the_profile_says() {
    let world = World::shared();
    let named = |family: &str, given: &[&str]| {
        let names = vec![PersonName::new(family, given)];
        let birth: Option<Dtm> = "19840317".parse().ok();
        Demographics { names, birth, gender: Some(Gender::Female), ..Demographics::default() }
    };
    let ada = person("H1001");
    for (story, site, request, expected) in [
        // Cases 1 and 2 of 3.55.4.2.2.
        (
            "one match",
            Site::Valley,
            discovery(VALLEY, ada.clone(), vec![]),
            "V2001^^^&2.999.1.2.1&ISO of urn:oid:2.999.1.2",
        ),
        (
            "the patient is known there under an identifier",
            Site::Valley,
            discovery(VALLEY, ada.clone(), vec![patient("V2001^^^&2.999.1.2.1&ISO")]),
            "V2001^^^&2.999.1.2.1&ISO of urn:oid:2.999.1.2",
        ),
        (
            "a hub answers for two members",
            Site::Hub,
            discovery(HUB, ada.clone(), vec![]),
            "HB301^^^&2.999.1.3.1&ISO of urn:oid:2.999.1.3, SM401^^^&2.999.1.4.1&ISO of urn:oid:2.999.1.4",
        ),
        (
            "a member may be addressed by its own community",
            Site::Hub,
            discovery("urn:oid:2.999.1.4", person("H1005"), vec![]),
            "SM405^^^&2.999.1.4.1&ISO of urn:oid:2.999.1.4",
        ),
        // Case 4.
        ("nobody of that name", Site::Valley, discovery(VALLEY, person("H1006"), vec![]), "no match"),
        (
            "a name without birth date",
            Site::Valley,
            { discovery(VALLEY, Demographics { birth: None, ..named("Lindqvist", &["Adaline"]) }, vec![]) },
            "AnswerNotAvailable SYN113: the query has neither an identifier nor a name and a date of birth",
        ),
        // Case 5.
        (
            "another community is meant",
            Site::Valley,
            discovery("urn:oid:2.999.1.3", ada.clone(), vec![]),
            "AnswerNotAvailable INTERR: the receiver is not a community served here",
        ),
        (
            "an answer is wanted later",
            Site::Valley,
            {
                let mut request = discovery(VALLEY, ada.clone(), vec![]);
                request.priority = Priority::Deferred;
                request
            },
            "AnswerNotAvailable SYN105: a deferred query has exactly one respondTo telecom",
        ),
    ] {
        let letter = letter(world, site, &request);
        let answer = world.ask(site, &letter).await;
        let outcome = outcome(world, &answer);
        assert_eq!(told(&outcome), expected, "{story}");
        // One record for each exchange (3.55.5.1), with the query and, where somebody was told, the patients.
        let lines = world.trail(site).lines(letter.user());
        let expected = match &outcome {
            Outcome::Matches(matches) => {
                format!("ITI-55 E success{} query", " patient".repeat(matches.len()))
            }
            Outcome::NoMatch | Outcome::MoreAttributes(_) => "ITI-55 E success query".into(),
            Outcome::Error { .. } => "ITI-55 E failure".into(),
        };
        assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{story}: {lines:?}");
    }
}

#[tokio::test]
async fn people_who_cannot_be_told_apart_are_not_told_until_more_is_known() {
    let world = World::shared();
    // Twins of one name and birth date, and a query that does not say which: case 3 of 3.55.4.2.2.
    let twins = person("H1009");
    let asked = Demographics { addresses: Vec::new(), telecoms: Vec::new(), gender: None, ..twins };
    let request =
        discovery(VALLEY, Demographics { names: vec![PersonName::new("Castellane", &["I"])], ..asked }, vec![]);
    let answer = world.ask(Site::Valley, &letter(world, Site::Valley, &request)).await;
    let outcome = outcome(world, &answer);
    assert!(matches!(outcome, Outcome::MoreAttributes(_) | Outcome::NoMatch), "{}", told(&outcome));
}

#[tokio::test]
async fn the_answer_repeats_what_it_answers() {
    let world = World::shared();
    let request = discovery(VALLEY, person("H1002"), vec![]);
    let letter = letter(world, Site::Valley, &request);
    let answer = world.ask(Site::Valley, &letter).await;
    assert_eq!(answer.read(|envelope| envelope.addressing.relates_to.clone()), letter.addressing.message_id);
    let domains = &world.sandbox.hospital.gateway.domains;
    let response = answer.body(|body| Response::decode(body, domains).unwrap());
    assert_eq!((response.target, response.query_id), (request.wrapper.id.clone(), request.query_id.clone()));
    assert_eq!(response.wrapper.sender.home(), VALLEY.parse().ok());
    // The query comes back as it was sent (3.55.4.2.2).
    assert!(answer.envelope.contains("<livingSubjectName"), "{}", answer.envelope);
}

#[tokio::test]
async fn what_is_no_discovery_at_all_gets_a_fault_or_an_application_error() {
    let world = World::shared();
    let request = discovery(VALLEY, person("H1001"), vec![]);
    let deferred = world.letter(Site::Valley, SERVICE, ACTION_DEFERRED, request.encode());
    // ITI TF-2: 3.55.6.2: a gateway without the option acknowledges, and says that the mode is unsupported.
    let answer = world.ask(Site::Valley, &deferred).await;
    let acknowledged = answer.body(|body| AcknowledgementMessage::decode(body).unwrap()).acknowledgement;
    assert_eq!((acknowledged.kind, acknowledged.details[0].code.as_str()), (AckType::Error, "NS250"));

    let unknown = world.letter(Site::Valley, SERVICE, "urn:ihe:iti:2099:Nothing", request.encode());
    let fault = world.ask(Site::Valley, &unknown).await.fault();
    assert!(fault.code == FaultCode::Sender && fault.reason.contains("ActionNotSupported"), "{fault:?}");

    let mut other = letter(world, Site::Valley, &request);
    other.body = "<x xmlns='urn:hl7-org:v3'/>".into();
    let envelope = other.envelope(&world.partner(Site::Valley).key);
    let answer = world.post(Site::Valley, "/RespondingGatewayXCPD", &envelope).await;
    let outcome = outcome(world, &answer);
    assert!(matches!(outcome, Outcome::Error { .. }), "{}", told(&outcome));
    let records = world.trail(Site::Valley).about(other.user());
    assert!(records.len() == 1 && records[0].description.contains(answer.trace()), "{records:?}");
}
