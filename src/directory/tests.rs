use std::time::{Duration, Instant};

use super::*;
use crate::id::AssigningAuthority;
use crate::trust::NetworkName;

const NORTH: &str = r#"
name = "North Valley HIE"
network = "carequality"
kind = "carequality"
home_community_id = "urn:oid:2.999.20"
assigning_authorities = ["2.999.20.1"]
pinned_certificates = ["0101010101010101010101010101010101010101010101010101010101010101"]
[urls]
iti-55 = "https://gw.north.example.org/xcpd"
iti-38 = "https://gw.north.example.org/xca"
[timeouts]
iti-38 = 30
[[members]]
name = "North Clinic"
home_community_id = "urn:oid:2.999.20.7"
assigning_authorities = ["2.999.20.7.1"]
"#;

fn partner(key: &str, text: &str) -> Partner {
    let (partner, problems) = read(Path::new(&format!("{key}.toml")), text);
    assert!(problems.is_empty(), "{problems:?}");
    partner.unwrap()
}

fn simple(key: &str, home: &str, more: &str) -> Partner {
    let text = format!(
        "name = \"{key}\"\nnetwork = \"carequality\"\nkind = \"carequality\"\nhome_community_id = \"urn:oid:{home}\"\n\
         {more}\n[urls]\niti-55 = \"https://{key}.example.org/xcpd\"\n"
    );
    partner(key, &text)
}

fn home(oid: &str) -> HomeCommunityId {
    HomeCommunityId::lenient(oid).unwrap()
}

fn network(name: &str) -> NetworkName {
    name.parse().unwrap()
}

fn snapshot(partners: Vec<Partner>) -> Snapshot {
    let (snapshot, problems) = Snapshot::new(partners);
    assert!(problems.is_empty(), "{problems:?}");
    snapshot
}

const ONES: Fingerprint = Fingerprint([1; 32]);
const TWOS: Fingerprint = Fingerprint([2; 32]);

#[test]
fn a_partner_file_says_all_that_is_known_of_the_partner() {
    let north = partner("north", NORTH);
    assert_eq!((north.key.as_str(), north.name.as_str()), ("north", "North Valley HIE"));
    assert_eq!(north.timeout(Transaction::Iti38), Duration::from_secs(30));
    assert_eq!(north.timeout(Transaction::Iti55), Duration::from_secs(60));
    assert_eq!(north.timeout(Transaction::Iti39), Duration::from_secs(120));
    assert_eq!(north.url(Transaction::Iti39), None);
    assert_eq!(north.url(Transaction::Iti55).unwrap().port(), 443);
    assert!(north.answers_for(&home("2.999.20.7")) && !north.answers_for(&home("2.999.21")));
    assert_eq!(north.urls().count(), 2);
}

#[test]
fn all_that_is_wrong_in_a_file_is_told_at_once() {
    let text = "network = \"../x\"\nhome_community_id = \"2.999\"\ncolour = 1\nconcurrent_requests = 0\n\
                purposes_allowed = [\"TREATMENT\", \"TREATMNET\"]\npinned_certificates = [\"zz\"]\n\
                [urls]\niti-55 = \"http://gw.example.org/\"\niti-99 = \"\"\n[timeouts]\niti-38 = 0\n\
                [[members]]\nhome_community_id = \"urn:oid:9.1\"\nassigning_authorities = [\"x\"]\n";
    let (partner, problems) = read(Path::new("bad.toml"), text);
    assert!(partner.is_none());
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    for key in [
        "name",
        "kind",
        "network",
        "home_community_id",
        "colour",
        "concurrent_requests",
        "purposes_allowed[1]",
        "pinned_certificates[0]",
        "urls.iti-55",
        "urls.iti-99",
        "timeouts.iti-38",
        "members[0].home_community_id",
        "members[0].assigning_authorities[0]",
    ] {
        assert!(keys.contains(&key), "{key} is not in {keys:?}");
    }
    assert!(
        problems.iter().filter(|problem| !matches!(problem.key.as_str(), "name" | "kind")).all(|p| p.line.is_some())
    );
    assert!(problems.iter().all(|problem| !problem.remedy.is_empty()), "{problems:?}");
}

#[test]
fn a_hub_that_speaks_for_anybody_pins_its_certificate() {
    let text = NORTH.replace("pinned_certificates", "speaks_for_unlisted = true #");
    let (_, problems) = read(Path::new("hub.toml"), &text);
    assert_eq!(problems[0].key, "speaks_for_unlisted");
}

#[test]
fn only_https_is_an_address_except_on_this_machine() {
    use partner::UrlError;
    for (text, result) in [
        ("https://gw.example.org/xca", Ok(())),
        ("https://gw.example.org:8443/xca?x=1", Ok(())),
        ("http://127.0.0.1:8080/xca", Ok(())),
        ("http://gw.example.org/xca", Err(UrlError::NotHttps)),
        ("ftp://gw.example.org/xca", Err(UrlError::NotHttps)),
        ("/xca", Err(UrlError::Malformed)),
        ("gw.example.org", Err(UrlError::Malformed)),
        ("", Err(UrlError::Malformed)),
        ("https://user@gw.example.org/", Err(UrlError::Decorated)),
        ("https://gw.example.org/#a", Err(UrlError::Decorated)),
    ] {
        assert_eq!(text.parse::<ServiceUrl>().map(|_| ()), result, "{text:?}");
    }
}

/// Specification NET-03: the community that answers, the home of a document and the retrieve target may differ.
#[test]
fn a_community_is_reached_itself_through_a_hub_or_as_learnt() {
    let directory = Directory::new(snapshot(vec![partner("north", NORTH), simple("south", "2.999.30", "")]));
    assert!(directory.learn(&home("2.999.77"), directory.snapshot().named("south").unwrap()));
    for (oid, expected) in [
        ("2.999.20", Ok(("north", Via::Itself))),
        ("2.999.20.7", Ok(("north", Via::Member))),
        ("2.999.77", Ok(("south", Via::Learnt))),
        ("2.999.78", Err(ResolveError::UnknownCommunity(home("2.999.78")))),
    ] {
        let found = directory.resolve(&home(oid), Transaction::Iti55);
        let found = found.as_ref().map(|route| (route.partner.key.as_str(), route.via)).map_err(Clone::clone);
        assert_eq!(found, expected, "{oid}");
    }
    let error = directory.resolve(&home("2.999.30"), Transaction::Iti39).unwrap_err();
    assert_eq!(error.to_string(), "south has no address for ITI-39");
}

#[test]
fn a_partner_that_only_asks_is_not_asked() {
    let directory = Directory::new(snapshot(vec![simple("shy", "2.999.40", "responds = false")]));
    let error = directory.resolve(&home("2.999.40"), Transaction::Iti55).unwrap_err();
    assert_eq!(error, ResolveError::DoesNotRespond { partner: "shy".into() });
    assert!(directory.snapshot().responders(Transaction::Iti55).is_empty());
}

#[test]
fn no_answer_takes_a_community_away_from_its_partner() {
    let directory = Directory::new(snapshot(vec![
        partner("north", NORTH),
        simple("east", "2.999.31", ""),
        simple("south", "2.999.30", ""),
    ]));
    let partners = directory.snapshot();
    let (south, east) = (partners.named("south").unwrap(), partners.named("east").unwrap());
    assert!(!directory.learn(&home("2.999.20"), south), "a partner's own");
    assert!(!directory.learn(&home("2.999.20.7"), south), "a member");
    assert!(directory.learn(&home("2.999.77"), south));
    assert!(!directory.learn(&home("2.999.77"), east), "learnt from another first");
    directory.replace(snapshot(vec![simple("east", "2.999.31", "")]));
    assert!(directory.resolve(&home("2.999.77"), Transaction::Iti55).is_err(), "its partner has gone");
    assert!(directory.learn(&home("2.999.77"), east));
}

#[test]
fn the_maker_of_an_assertion_is_found_by_community_network_and_certificate() {
    let hub = NORTH
        .replace("2.999.20", "2.999.50")
        .replace("pinned_certificates", "speaks_for_unlisted = true\npinned_certificates")
        .replace("0101", "0202");
    let snapshot = snapshot(vec![partner("north", NORTH), partner("hub", &hub), simple("south", "2.999.30", "")]);
    for (oid, networks, certificate, expected) in [
        ("2.999.20", &["carequality"][..], ONES, Ok("north")),
        ("2.999.20.7", &["tefca", "carequality"], ONES, Ok("north")),
        ("2.999.20", &["carequality"], TWOS, Err(CallerError::NotPinned)),
        ("2.999.20", &["tefca"], ONES, Err(CallerError::OtherNetwork)),
        ("2.999.20", &[], ONES, Err(CallerError::OtherNetwork)),
        ("2.999.30", &["carequality"], TWOS, Ok("south")),
        ("2.999.66", &["carequality"], ONES, Err(CallerError::UnknownCommunity)),
        ("2.999.66", &["carequality"], TWOS, Ok("hub")),
        ("2.999.66", &["tefca"], TWOS, Err(CallerError::UnknownCommunity)),
    ] {
        let networks: Vec<NetworkName> = networks.iter().map(|name| network(name)).collect();
        let found = snapshot.caller(&home(oid), &networks, &certificate);
        assert_eq!(found.as_ref().map(|partner| partner.key.as_str()).map_err(|error| *error), expected, "{oid}");
    }
}

/// A pinned community that is also a hub's member is spoken for by the hub's pinned certificate, and by no other.
#[test]
fn a_hub_without_pins_does_not_undo_the_pins_of_its_member() {
    for (pins, certificate, expected) in [
        ("[]", ONES, Ok("north")),
        ("[]", TWOS, Err(CallerError::NotPinned)),
        ("[\"0202020202020202020202020202020202020202020202020202020202020202\"]", TWOS, Ok("hub")),
    ] {
        let mut hub = simple("hub", "2.999.50", &format!("pinned_certificates = {pins}"));
        hub.members.push(Member { name: "north".into(), home: home("2.999.20"), authorities: Vec::new() });
        let snapshot = snapshot(vec![partner("north", NORTH), hub]);
        let found = snapshot.caller(&home("2.999.20"), &[network("carequality")], &certificate);
        assert_eq!(found.as_ref().map(|one| one.key.as_str()).map_err(|error| *error), expected, "{pins}");
    }
}

/// Specification NET-18.
#[test]
fn members_of_a_record_locator_are_not_asked_one_by_one() {
    let member = "[[members]]\nhome_community_id = \"urn:oid:2.999.30\"\n";
    let locator = |on: bool| {
        let text = NORTH.replace("name = \"North V", &format!("record_locator = {on}\nname = \"North V"));
        partner("north", &format!("{text}{member}"))
    };
    for (on, expected) in [(true, &["north"][..]), (false, &["north", "south"])] {
        let snapshot = snapshot(vec![locator(on), simple("south", "2.999.30", "")]);
        let asked = snapshot.responders(Transaction::Iti55);
        assert_eq!(asked.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), expected);
        let route = snapshot.resolve(&home("2.999.30"), Transaction::Iti55, None).unwrap();
        assert_eq!((route.partner.key.as_str(), route.via), ("south", Via::Itself), "addressed by name it is reached");
    }
}

#[test]
fn one_community_twice_in_a_network_is_a_problem_and_in_two_networks_is_not() {
    let again = simple("again", "2.999.20", "");
    let (_, problems) = Snapshot::new(vec![partner("north", NORTH), again.clone()]);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].file, Path::new("north.toml"));
    let tefca = NORTH.replace("network = \"carequality\"", "network = \"tefca\"");
    snapshot(vec![partner("tefca", &tefca), again]);
}

#[test]
fn patient_identifier_domains_lead_to_communities() {
    let snapshot = snapshot(vec![partner("north", NORTH)]);
    for (oid, expected) in
        [("2.999.20.1", vec![home("2.999.20")]), ("2.999.20.7.1", vec![home("2.999.20.7")]), ("2.999.1", vec![])]
    {
        let authority = AssigningAuthority::new(oid, "ISO").unwrap();
        assert_eq!(snapshot.communities_of(&authority), expected, "{oid}");
    }
}

#[test]
fn partners_are_found_by_key_and_by_a_name_that_only_one_has() {
    let twin = simple("twin", "2.999.31", "").name;
    let mut other = simple("other", "2.999.32", "");
    other.name = twin;
    let snapshot = snapshot(vec![partner("north", NORTH), simple("twin", "2.999.31", ""), other]);
    for (name, key) in
        [("north", Some("north")), ("north valley hie", Some("north")), ("twin", Some("twin")), ("TWIN", None)]
    {
        assert_eq!(snapshot.named(name).map(|partner| partner.key.as_str()), key, "{name}");
    }
}

#[test]
fn a_reload_with_problems_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("north.toml"), NORTH).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a partner").unwrap();
    std::fs::write(folder.path().join(".draft.toml"), "not yet").unwrap();
    let directory = Directory::new(Snapshot::default());
    assert_eq!(directory.reload(folder.path()), Ok(1));
    std::fs::write(folder.path().join("bad.toml"), "name = 3\n").unwrap();
    let problems = directory.reload(folder.path()).unwrap_err();
    assert!(problems.iter().all(|problem| problem.file.ends_with("bad.toml")), "{problems:?}");
    assert!(directory.resolve(&home("2.999.20"), Transaction::Iti55).is_ok());
    assert!(directory.reload(&folder.path().join("absent")).is_err());
}

#[test]
fn twenty_thousand_partners_are_found_at_once() {
    let north = partner("north", NORTH);
    let many = (0..20_000).map(|number| {
        let mut partner = north.clone();
        partner.key = format!("p{number}").into();
        partner.home = home(&format!("2.999.1000.{number}"));
        partner.members.clear();
        partner
    });
    let snapshot = snapshot(many.collect());
    let start = Instant::now();
    for number in 0..20_000 {
        let route = snapshot.resolve(&home(&format!("2.999.1000.{number}")), Transaction::Iti55, None).unwrap();
        assert_eq!(route.partner.key, format!("p{number}"));
    }
    // A scan would compare 200 million pairs, which takes minutes in a debug build; this takes a fraction of a second.
    assert!(start.elapsed() < Duration::from_secs(10));
}
