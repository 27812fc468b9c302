use super::*;
use crate::id::{AssigningAuthority, Domain, Gender, PersonName};

fn domains() -> Domains {
    let authority = |oid: &str| AssigningAuthority::new(oid, "ISO").unwrap();
    let domain = |name: &str, oid: &str| Domain { namespace: name.into(), authority: authority(oid) };
    Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20")])
}

fn read_as(qpd3: &str, visits: bool) -> Result<PatientQuery, BadParameter> {
    let text = format!("MSH|^~\\&|A|WEST|C|D|2026||QBP^Q22|1|P|2.5\rQPD|x|t|{qpd3}\r");
    let message = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
    read(message.field("QPD", 3), visits, &domains(), &Hd::named("WEST"))
}

fn asked(qpd3: &str) -> PatientQuery {
    read_as(qpd3, true).unwrap_or_else(|bad| panic!("{qpd3}: {bad:?}"))
}

/// ITI TF-2: 3.21.4.1.2.2 and the ways in which senders write paths and values.
#[test]
fn each_parameter_becomes_what_it_asks_for() {
    let name = |family: &str, given: &[&str]| PersonName::new(family, given);
    assert_eq!(asked("@PID.5.1.1^OKAFOR~@PID.5.2^Ada~@PID.5.3^M Q").person.names, [name("OKAFOR", &["Ada", "M", "Q"])]);
    for same in ["@PID.5.1^JO*~@PID.5.2^JEN", "@PID.5^JO*^JEN", "@PID.5^JO*\\S\\JEN", "@pid.5.2^JEN~PID.5.1.1^JO*"] {
        assert_eq!(asked(same).person.names, [name("JO*", &["JEN"])], "{same}");
    }
    assert_eq!(asked("@PID.5.1^A~@PID.5.1^B").person.names, [name("A", &[]), name("B", &[])]);
    assert_eq!(asked("@PID.6.1.1^Roe").person.mothers_maiden_name, Some(name("Roe", &[])));
    for (told, birth) in [("@PID.7^1984", "1984"), ("@PID.7.1^198401", "198401"), ("@PID.7^1984-01-02", "19840102")] {
        assert_eq!(asked(told).person.birth.unwrap().as_str(), birth, "{told}");
    }
    assert_eq!(asked("@PID.8^F").person.gender, Some(Gender::Female));
    let address = &asked("@PID.11.1^12 Elm St~@PID.11.3^Salem~@PID.11.4^OR~@PID.11.5^97301").person.addresses[0];
    assert_eq!(
        (address.lines[0].as_str(), address.city.as_str(), address.postal_code.as_str()),
        ("12 Elm St", "Salem", "97301")
    );
    assert_eq!(asked("@PID.13.6^503~@PID.13.7^5550100").person.telecoms[0].value, "503-5550100");
    assert_eq!(asked("@PID.13.4^a@example.org").person.telecoms[0].value, "a@example.org");
    assert_eq!(asked("@PID.14.1^555").person.telecoms[0].usage, "WPN");
    assert_eq!(asked("@PID.25^2").person.multiple_birth.unwrap().order, Some(2));
    let ward = asked("@PID.5.1.1^OKAFOR~@PV1.3.1^4E~@PV1.2^I~@PV1.7.2.1^Lee").visit;
    assert_eq!((ward.location.unwrap().point_of_care.as_str(), ward.class.as_deref()), ("4E", Some("I")));
    assert_eq!(ward.attending.unwrap().family, "Lee");
}

#[test]
fn identifiers_of_every_kind_are_told_with_their_authority() {
    let cx = |query: PatientQuery| query.ids.iter().map(PatientId::to_cx).collect::<Vec<_>>();
    let north = ["44^^^&2.999.10&ISO"];
    for same in [
        "@PID.3.1^44~@PID.3.4.1^NORTH",
        "@PID.3.4.2^2.999.10~@PID.3.4.3^ISO~@PID.3.1^44",
        "@PID.3.1^44~@PID.3.4^NORTH&2.999.10&ISO",
        "@PID.3.1^44~@PID.3.4^NORTH\\T\\2.999.10\\T\\ISO",
        "@PID.3^44^^^NORTH",
        "@PID.3^44\\S\\\\S\\\\S\\\\T\\2.999.10\\T\\ISO",
    ] {
        assert_eq!(cx(asked(same)), north, "{same}");
    }
    let two = "@PID.3.1^44~@PID.3.4.1^NORTH~@PID.3.1^7~@PID.3.4.2^2.999.99~@PID.3.4.3^ISO~@PID.19^123456780";
    assert_eq!(cx(asked(two)), ["44^^^&2.999.10&ISO", "7^^^&2.999.99&ISO", "123456780^^^&2.16.840.1.113883.4.1&ISO"]);
    let query = asked("@PID.18.1^ACC~@PID.18.4.1^NORTH~@PID.21.1^439~@PID.21.4.1^WEST");
    assert_eq!(query.person.account.map(|id| id.to_cx()).as_deref(), Some("ACC^^^&2.999.10&ISO"));
    assert_eq!(query.person.mothers_ids[0].to_cx(), "439^^^&2.999.20&ISO");
}

/// What is told and not understood is never left out: everybody else would be found.
#[test]
fn a_parameter_that_is_not_understood_is_told_by_its_repetition() {
    for (qpd3, repetition, problem) in [
        ("@PID.3.1^44~@PID.3.4.99^NORTH", 2, Problem::Unsupported),
        ("@PID.99^x", 1, Problem::Unsupported),
        ("@PID.5.0^x", 1, Problem::Unsupported),
        ("@PID^x", 1, Problem::Unsupported),
        ("@PID.5.1.1.1^x", 1, Problem::Unsupported),
        ("@PID.5.x^x", 1, Problem::Unsupported),
        ("@PD1.4^x", 1, Problem::Unsupported),
        ("@PID.8^F~@PID.3.1^44", 2, Problem::Incomplete),
        ("@PID.3.4.1^NORTH", 1, Problem::Incomplete),
        ("@PID.3.1^44~@PID.3.4.2^2.999.10", 1, Problem::Incomplete),
        ("@PID.8^F~@PID.7^19841399", 2, Problem::Value),
        ("@PID.8^X9", 1, Problem::Value),
        ("@PID.5.1^A~@PID.25^second", 2, Problem::Value),
        ("@PID.5.1^\"\"", 1, Problem::Value),
    ] {
        assert_eq!(read_as(qpd3, true), Err(BadParameter { repetition, problem }), "{qpd3}");
    }
    let visit = read_as("@PV1.2^I", false);
    assert_eq!(visit, Err(BadParameter { repetition: 1, problem: Problem::Unsupported }), "ITI-21 has no visits");
    assert!(asked("@PID.5.1^~@PID.8~~@PID.7^").is_empty(), "parameters without a value ask for nothing");
}
