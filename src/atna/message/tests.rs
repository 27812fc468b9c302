use proptest::prelude::*;

use super::*;
use crate::atna::{Alert, EventId, Exchange, Human, Occasion, Party, Side};
use crate::id::{DocumentUniqueId, HomeCommunityId, PatientId, RepositoryId, Tenant, TraceId, Transaction};
use crate::testing;

fn at() -> Timestamp {
    Timestamp::from_rfc3339("2026-01-15T14:30:02.123Z").unwrap()
}

fn source() -> Source {
    Source { id: "rg.example.org".into(), enterprise: Some("urn:oid:2.999.200.1".into()) }
}

fn trace() -> TraceId {
    "0197c1a2-0000-7000-8000-000000000001".parse().unwrap()
}

fn occasion() -> Occasion {
    Occasion { at: at(), trace: trace(), tenant: Tenant::default() }
}

fn human() -> Human {
    Human {
        user_id: "dr.jones@clinic.example.org".into(),
        alias: "".into(),
        issuer: "CN=saml.example.org".into(),
        roles: vec![Code::new("112247003", "2.16.840.1.113883.6.96", "Medical doctor")],
    }
}

fn exchange(side: Side, humans: Vec<Human>) -> Exchange {
    Exchange {
        side,
        client: Party { user_id: "".into(), access_point: Some(AccessPoint::of_host("198.51.100.10")) },
        server: Party {
            user_id: "https://rg.example.org/xca".into(),
            access_point: Some(AccessPoint::of_host("rg.example.org")),
        },
        humans,
        at: at(),
        trace: trace(),
        message_id: Some("urn:uuid:1".into()),
        tenant: Tenant::default(),
    }
}

fn patient(id: &str) -> PatientId {
    PatientId::from_cx(&format!("{id}^^^&2.999.200.1.3&ISO")).unwrap()
}

fn home() -> HomeCommunityId {
    "urn:oid:2.999.200.1".parse().unwrap()
}

/// Writes an event, checks it against the DICOM schema, and reads it back.
fn check(event: &Event) -> Message {
    let xml = encode(event, &source());
    testing::validates(&xml, "audit/dicom2017c.xsd");
    let message = decode(&xml, &Limits::default()).unwrap();
    assert_eq!(message.id, event.id.code());
    assert_eq!(message.types, event.types);
    assert_eq!(
        (message.action, message.outcome, message.at),
        (Some(event.action), Some(event.outcome), Some(event.at))
    );
    assert_eq!(message.purposes, event.purposes);
    assert_eq!(message.objects, event.objects);
    assert_eq!(message.description, event.description());
    assert!(message.participants.iter().filter(|one| one.requestor).count() <= 1, "DICOM PS3.15 A.5.2");
    assert!(message.participants.iter().all(|one| !one.user_id.is_empty()), "an empty UserID is refused");
    message
}

/// Code and action for each side, source first, as the tables of ITI TF-2 have them.
#[test]
fn every_transaction_is_recorded_as_its_audit_section_wants_on_both_sides() {
    use Transaction::*;
    // (transactions, client's event and action, server's, the side whose data it is)
    let rules: &[(&[Transaction], &str, &str, Side)] = &[
        (&[Iti9, Iti18, Iti21, Iti22, Iti38, Iti45, Iti47, Iti51, Iti55, Iti56], "110112 E", "110112 E", Side::Client),
        (&[Iti63, Iti66, Iti67, Iti78, Iti83, Iti119], "110112 E", "110112 E", Side::Client),
        (&[Iti39, Iti43, Iti68], "110107 C", "110106 R", Side::Server),
        (&[Iti41, Iti42, Iti61, Iti65, Iti80, Iti105], "110106 R", "110107 C", Side::Client),
        (&[Iti57, Iti92], "110106 U", "110107 U", Side::Client),
        (&[Iti62, Iti86], "110110 D", "110110 D", Side::Client),
        (&[Iti8, Iti30, Iti44, Iti104], "110110 C", "110110 C", Side::Client),
        (&[Iti10, Iti46, Iti64], "110110 R", "110110 U", Side::Client),
        (&[Iti107], "110100 D", "110100 D", Side::Client),
        (&[Iti20, Iti81], "110101 R", "110101 R", Side::Client),
    ];
    let mut seen = 0;
    for (transactions, client, server, data_from) in rules {
        for transaction in *transactions {
            seen += 1;
            for (side, expected) in [(Side::Client, client), (Side::Server, server)] {
                let message = check(&Event::of(*transaction, exchange(side, vec![human()])));
                let found = format!("{} {}", message.id.code, message.action.unwrap().code());
                assert_eq!(&found, expected, "{transaction} {side:?}");
                assert_eq!(message.types[0].code, transaction.code());
                let roles: Vec<&str> = message.participants.iter().map(|one| one.roles[0].code.as_str()).collect();
                assert_eq!(roles, ["110153", "112247003", "110152"], "{transaction} {side:?}");
                let client_at = if *data_from == Side::Client { 0 } else { 2 };
                assert_eq!(message.participants[client_at].user_id, "unknown", "{transaction}");
                assert_eq!(message.participants[2 - client_at].user_id, "https://rg.example.org/xca", "{transaction}");
                // ITI TF-2: 3.20.7: the process id stands on the recording side only.
                let recorder = if side == Side::Client { client_at } else { 2 - client_at };
                let process = std::process::id().to_string();
                for (index, participant) in message.participants.iter().enumerate() {
                    let expected = (index == recorder).then_some(process.as_str());
                    assert_eq!(participant.alternative_user_id.as_deref(), expected, "{transaction} {side:?}");
                }
            }
        }
    }
    assert_eq!(seen, Transaction::ALL.len(), "every transaction has its rule");
}

#[test]
fn the_person_asked_if_there_is_one_else_the_client() {
    for (transaction, humans, expected) in [
        (Transaction::Iti38, vec![], "unknown"),
        (Transaction::Iti39, vec![], "unknown"),
        (Transaction::Iti38, vec![human()], "dr.jones@clinic.example.org"),
        (Transaction::Iti39, vec![human(), Human::default()], "dr.jones@clinic.example.org"),
    ] {
        let message = check(&Event::of(transaction, exchange(Side::Server, humans)));
        let asked: Vec<_> = message.participants.iter().filter(|one| one.requestor).collect();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].user_id, expected, "{transaction}");
    }
}

/// ITI TF-2: 3.38.5.1.2, with the user as 3.20.7.8 wants it.
#[test]
fn a_responding_gateway_records_a_query_as_the_profile_prints_it() {
    let event = Event::of(Transaction::Iti38, exchange(Side::Server, vec![human()]))
        .purposes([Code::new("TREATMENT", "2.16.840.1.113883.3.18.7.1", "Treatment")])
        .object(Object::patient(&patient("B-0815")))
        .object(
            Object::query(Transaction::Iti38, Some("urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"), b"<q/>".to_vec())
                .stored_query_details(Some(&home())),
        );
    check(&event);
    let golden = r#"<?xml version="1.0" encoding="UTF-8"?><AuditMessage><EventIdentification EventActionCode="E" EventDateTime="2026-01-15T14:30:02.123Z" EventOutcomeIndicator="0"><EventID csd-code="110112" codeSystemName="DCM" originalText="Query"/><EventTypeCode csd-code="ITI-38" codeSystemName="IHE Transactions" originalText="Cross Gateway Query"/><EventOutcomeDescription>message urn:uuid:1; trace 0197c1a2000070008000000000000001</EventOutcomeDescription><PurposeOfUse csd-code="TREATMENT" codeSystemName="2.16.840.1.113883.3.18.7.1" originalText="Treatment"/></EventIdentification><ActiveParticipant UserID="unknown" UserIsRequestor="false" NetworkAccessPointID="198.51.100.10" NetworkAccessPointTypeCode="2"><RoleIDCode csd-code="110153" codeSystemName="DCM" originalText="Source Role ID"/></ActiveParticipant><ActiveParticipant UserID="dr.jones@clinic.example.org" UserName="&lt;dr.jones@clinic.example.org@CN=saml.example.org&gt;" UserIsRequestor="true"><RoleIDCode csd-code="112247003" codeSystemName="2.16.840.1.113883.6.96" originalText="Medical doctor"/></ActiveParticipant><ActiveParticipant UserID="https://rg.example.org/xca" AlternativeUserID="PROCESS" UserIsRequestor="false" NetworkAccessPointID="rg.example.org" NetworkAccessPointTypeCode="1"><RoleIDCode csd-code="110152" codeSystemName="DCM" originalText="Destination Role ID"/></ActiveParticipant><AuditSourceIdentification AuditEnterpriseSiteID="urn:oid:2.999.200.1" AuditSourceID="rg.example.org"><AuditSourceTypeCode csd-code="4" originalText="Application Server Process or Thread"/></AuditSourceIdentification><ParticipantObjectIdentification ParticipantObjectID="B-0815^^^&amp;2.999.200.1.3&amp;ISO" ParticipantObjectTypeCode="1" ParticipantObjectTypeCodeRole="1"><ParticipantObjectIDTypeCode csd-code="2" codeSystemName="RFC-3881" originalText="Patient Number"/></ParticipantObjectIdentification><ParticipantObjectIdentification ParticipantObjectID="urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d" ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="24"><ParticipantObjectIDTypeCode csd-code="ITI-38" codeSystemName="IHE Transactions" originalText="Cross Gateway Query"/><ParticipantObjectQuery>PHEvPg==</ParticipantObjectQuery><ParticipantObjectDetail type="QueryEncoding" value="VVRGLTg="/><ParticipantObjectDetail type="urn:ihe:iti:xca:2010:homeCommunityId" value="dXJuOm9pZDoyLjk5OS4yMDAuMQ=="/></ParticipantObjectIdentification></AuditMessage>"#;
    assert_eq!(encode(&event, &source()), golden.replace("PROCESS", &std::process::id().to_string()));
}

/// ITI TF-2: 3.43.5, 3.39.5, 3.41.5, 3.80.5, 3.55.5, 3.62.5, 3.86.5.
#[test]
fn objects_are_named_as_their_sections_want() {
    let document = DocumentUniqueId::new("2.999.9.1").unwrap();
    let repository = RepositoryId::new("2.999.8.1").unwrap();
    let detail = |kind: &str, value: &str| (SmolStr::from(kind), value.as_bytes().to_vec());
    let home_text = "urn:oid:2.999.200.1";
    // (object, kind and role, id type, id, details)
    let rules = [
        (Object::patient(&patient("1")), "1 1", "2", Some("1^^^&2.999.200.1.3&ISO"), vec![]),
        (
            Object::document(&document, Some(&repository), Some(&home())),
            "2 3",
            "9",
            Some("2.999.9.1"),
            vec![detail("Repository Unique Id", "2.999.8.1"), detail("ihe:homeCommunityID", home_text)],
        ),
        (
            Object::removed_document(&document, &repository),
            "2 3",
            "9",
            Some("2.999.9.1"),
            vec![detail("urn:ihe:iti:xds:2007:repositoryUniqueId", "2.999.8.1")],
        ),
        (
            Object::submission_set("2.999.7.1", Some(&home())),
            "2 20",
            "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd",
            Some("2.999.7.1"),
            vec![detail("urn:ihe:iti:xca:2010:homeCommunityId", home_text)],
        ),
        (
            Object::query(Transaction::Iti55, None, b"<queryByParameter/>".to_vec()).discovery_home(&home()),
            "2 24",
            "ITI-55",
            None,
            vec![detail("ihe:homeCommunityID", home_text)],
        ),
        (
            Object::removed_entry("urn:uuid:9", "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1", "document entry"),
            "2 3",
            "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1",
            Some("urn:uuid:9"),
            vec![],
        ),
        (Object::audit_log("urn:audit"), "2 13", "12", Some("urn:audit"), vec![]),
        (Object::organization("urn:oid:2.999.1", "North Clinic"), "3 15", "12", Some("urn:oid:2.999.1"), vec![]),
    ];
    for (object, role, id_type, id, details) in rules {
        let event = Event::of(Transaction::Iti38, exchange(Side::Client, vec![])).object(object);
        let read = check(&event).objects.remove(0);
        assert_eq!(format!("{} {}", read.kind.unwrap().code(), read.role.unwrap()), role, "{id_type}");
        assert_eq!((read.id_type.code.as_str(), read.id.as_deref()), (id_type, id));
        assert_eq!(read.details, details, "{id_type}");
    }
}

/// ITI TF-2: 3.8.5.1: a merge is the deletion of one record and the update of the other.
#[test]
fn a_merge_is_two_records_with_one_patient_each() {
    let mut exchange = exchange(Side::Server, vec![]);
    exchange.message_id = Some("NIST-1".into());
    for (transaction, detail) in [(Transaction::Iti8, "MSH-10"), (Transaction::Iti44, "II")] {
        let records = Event::merge(transaction, exchange.clone(), &patient("OLD"), &patient("NEW"));
        let found: Vec<_> = records
            .iter()
            .map(|event| {
                let message = check(event);
                assert_eq!(message.objects.len(), 1, "one patient and no query object");
                let object = &message.objects[0];
                assert_eq!(object.details, [(detail.into(), b"NIST-1".to_vec())]);
                format!("{} {} {}", message.id.code, message.action.unwrap().code(), object.id.as_deref().unwrap())
            })
            .collect();
        assert_eq!(found, ["110110 D OLD^^^&2.999.200.1.3&ISO", "110110 U NEW^^^&2.999.200.1.3&ISO"]);
    }
}

#[test]
fn failures_say_why_and_where_to_look() {
    for (outcome, code) in [
        (Outcome::Success, "0"),
        (Outcome::MinorFailure, "4"),
        (Outcome::SeriousFailure, "8"),
        (Outcome::MajorFailure, "12"),
    ] {
        let event = Event::of(Transaction::Iti38, exchange(Side::Server, vec![]))
            .outcome(outcome, "no consent <for> this & that".to_owned());
        let message = check(&event);
        assert_eq!(message.outcome.unwrap().code(), code);
        assert_eq!(message.description, format!("no consent <for> this & that; message urn:uuid:1; trace {}", trace()));
    }
}

/// DICOM PS3.15 A.5.3; ITI TF-2: Table 3.20.4.1.1.1-1.
#[test]
fn what_belongs_to_no_transaction_is_recorded_too() {
    let peer = || AccessPoint::of_host("192.0.2.7");
    let reader = || Participant { user_id: "auditor".into(), ..Participant::default() };
    let object = || Object::patient(&patient("1"));
    let claimed = human;
    let rules = [
        (Event::application_start(occasion(), "causeway"), "110100 E 110120 0"),
        (Event::application_stop(occasion(), "causeway"), "110100 E 110121 0"),
        (
            Event::node_authentication_failure(occasion(), "causeway", peer(), "the certificate is expired"),
            "110113 E 110126 8",
        ),
        (
            Event::user_authentication_failure(occasion(), "causeway", claimed(), peer(), "the signature is wrong"),
            "110114 E 110122 8",
        ),
        (Event::login(occasion(), "causeway", claimed(), peer()), "110114 E 110122 0"),
        (Event::logout(occasion(), "causeway", claimed(), peer()), "110114 E 110123 0"),
        (Event::audit_log_used(occasion(), "causeway", reader(), "urn:audit"), "110101 R - 0"),
        (Event::patient_record(occasion(), "causeway", Action::Update, reader(), object()), "110110 U - 0"),
    ];
    let alerts = Alert::ALL.iter().zip([110_126, 110_127, 110_128, 110_129, 110_131, 110_132, 110_133, 110_134]).map(
        |(alert, code)| {
            (Event::alert(occasion(), *alert, "causeway", "urn:file", "reloaded"), format!("110113 E {code} 0"))
        },
    );
    for (event, expected) in rules.map(|(event, expected)| (event, expected.to_owned())).into_iter().chain(alerts) {
        let message = check(&event);
        let kind = message.types.first().map_or("-", |code| code.code.as_str());
        let found = format!(
            "{} {} {kind} {}",
            message.id.code,
            message.action.unwrap().code(),
            message.outcome.unwrap().code()
        );
        assert_eq!(found, expected);
        let process = std::process::id().to_string();
        let ours: Vec<_> = message
            .participants
            .iter()
            .filter(|one| one.alternative_user_id.as_ref().is_some_and(|id| *id == process))
            .collect();
        assert_eq!(ours.len(), 1, "{expected}");
        assert_eq!((ours[0].user_id.as_str(), ours[0].roles[0].code.as_str()), ("causeway", "110150"));
    }
    assert_eq!(EventId::ALL.len(), 8);
}

#[test]
fn debug_prints_neither_people_nor_patients() {
    let event = Event::of(Transaction::Iti38, exchange(Side::Server, vec![human()]))
        .object(Object::patient(&patient("B-0815")))
        .object(Object::query(Transaction::Iti38, None, b"SECRET".to_vec()));
    let printed = format!("{event:?} {:?} {:?} {:?}", event.participants, event.objects, human());
    for secret in ["B-0815", "jones", "SECRET", "83, 69, 67"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

/// Corpus: records of other implementations, in both spellings and with what they leave out.
#[test]
fn records_of_other_systems_are_read() {
    let mut read = 0;
    for row in testing::manifest("atna-audit/").iter().filter(|row| row[0].ends_with(".xml")) {
        let Some(bytes) = testing::corpus(&row[0]) else { return };
        let text = xml::decode_text(&bytes, None).unwrap();
        let message = decode(&text, &Limits::default()).unwrap_or_else(|error| panic!("{}: {error}", row[0]));
        assert!(message.id.code.starts_with("110") && message.id.scheme == "DCM", "{}", row[0]);
        assert!(!message.id.display.is_empty(), "{}", row[0]);
        assert!(message.at.is_some() && message.outcome.is_some() && message.action.is_some(), "{}", row[0]);
        assert!(!message.participants.is_empty(), "{}", row[0]);
        if row[2].starts_with("ITI-") && row[2] != "ITI-20" {
            assert!(message.types.iter().any(|code| code.code == row[2]), "{}", row[0]);
        }
        read += 1;
    }
    assert!(read == 0 || read >= 20, "{read} records");
}

#[test]
fn what_is_no_audit_message_is_refused() {
    assert!(
        matches!(decode("<Other/>", &Limits::default()), Err(ReadError::NotAnAuditMessage(name)) if name == "Other")
    );
    assert_eq!(decode("<AuditMessage/>", &Limits::default()), Err(ReadError::NoEventId));
    assert!(matches!(decode("", &Limits::default()), Err(ReadError::Xml(_))));
}

proptest! {
    #[test]
    fn the_reader_never_panics(text in any::<String>(), inner in "[<>/a-zA-Z=\" ]{0,60}") {
        let _ = decode(&text, &Limits::default());
        let _ = decode(&format!("<AuditMessage>{inner}</AuditMessage>"), &Limits::default());
    }

    #[test]
    fn whatever_was_recorded_is_read_back(id in any::<String>(), query in any::<Vec<u8>>(), user in "[ -~]{1,20}") {
        let mut exchange = exchange(Side::Client, vec![]);
        exchange.server.user_id = user.as_str().into();
        let event = Event::of(Transaction::Iti38, exchange)
            .object(Object::query(Transaction::Iti38, Some("q"), query))
            .object(Object::security_resource("r").detail("d", &id));
        let message = decode(&encode(&event, &source()), &Limits::default()).unwrap();
        prop_assert_eq!(&message.objects, &event.objects);
        let expected = if user.trim().is_empty() { "unknown" } else { &user };
        prop_assert_eq!(message.participants.last().unwrap().user_id.as_str(), expected);
    }
}
