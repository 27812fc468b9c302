//! Documents of other communities over FHIR: an ITI-67 search that goes on to every partner, what the answer tells of each
//! of them, and ITI-68 at the addresses that it names.

use causeway::app::App;
use causeway::config;
use causeway::fhir::json;
use causeway::fhir::mhd::retrieve::Handle;
use causeway::id::Clock;
use causeway::sandbox::samples::Community;
use causeway::sandbox::{Sandbox, leaf_of};
use causeway::trust::fingerprint;
use ihe_tests::harness::fhir::{Fhir, Told};
use ihe_tests::harness::{Client, Trail};
use serde_json::Value;

/// The documents of an answer: community, address.
fn documents(told: &Told) -> Vec<(String, String)> {
    assert_eq!(told.status, 200, "{}", told.resource);
    let documents = told.entries().into_iter().filter(|one| one["resourceType"] == "DocumentReference");
    documents
        .map(|one| {
            let homes = json::list(one, "extension").iter();
            let home = homes.filter_map(|one| one["valueOid"].as_str()).next().unwrap().to_owned();
            (home, one["content"][0]["attachment"]["url"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// What the answer tells of partners: severity, text.
fn told(answer: &Told) -> Vec<(String, String)> {
    let entries = json::list(&answer.resource, "entry").iter();
    let outcomes: Vec<&Value> = entries.filter(|entry| entry["search"]["mode"] == "outcome").collect();
    assert_eq!(outcomes.len(), 1, "{}", answer.resource);
    let issues = json::list(&outcomes[0]["resource"], "issue").iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    issues.map(|issue| (text(&issue["severity"]), text(&issue["details"]["text"]))).collect()
}

fn home(community: Community) -> String {
    format!("urn:oid:{}", community.oid())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_reaches_every_community_and_tells_what_became_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(&folder.path().join("sandbox")).await.unwrap();
    sandbox.load().await.unwrap();
    let local_id = sandbox.hospital_patients()[0].at(Community::Hospital).unwrap().local_id;
    let Sandbox { folder: place, hospital, valley, hub, .. } = sandbox;
    // Beside the client that may ask others the hospital gets one that may not.
    hospital.stop().await;
    let file = place.join("hospital/causeway.toml");
    let own = place.join("hospital/certificates/gateway.pem");
    let own = fingerprint(&leaf_of(&std::fs::read(own).unwrap()).unwrap().into());
    let text = std::fs::read_to_string(&file).unwrap();
    let purposes = "purpose = \"T-TRTMNT\"\npurposes = [\"TREATMENT\"]";
    let text = text.replace("purpose = \"TREATMENT\"", purposes);
    let more = format!(
        "\n[[fhir_clients]]\nname = \"archive\"\ncertificate = \"{own}\"\nuser = \"archive@hospital.example.org\"\n\
         purpose = \"T-TRTMNT\"\nfind_documents = true\n"
    );
    std::fs::write(&file, text + &more).unwrap();
    let settings = config::load(&file).unwrap_or_else(|problems| panic!("{problems:?}"));
    let hospital = App::open(settings, Clock::system()).unwrap().serve().await.unwrap();
    let at = place.join("document-source");
    let ward = Client::open(&at.join("trust-store"), "local", &at.join("source.pem"), &at.join("source.key"));
    let fhir = Fhir::of(&ward, hospital.https);

    let search = format!(
        "DocumentReference?patient.identifier=urn:oid:{}%7C{local_id}&status=current",
        Community::Hospital.patient_domain()
    );
    let all = fhir.get(&search).await;
    let found = documents(&all);
    let homes: Vec<&str> = found.iter().map(|(home, _)| home.as_str()).collect();
    for community in [Community::Valley, Community::Harbor] {
        assert!(homes.contains(&home(community).as_str()), "{homes:?}");
    }
    let account = told(&all);
    assert!(account.iter().all(|(severity, _)| severity == "information"), "{account:?}");
    for partner in ["valley", "hub"] {
        let is_told = |transaction: &str| {
            let start = format!("{partner} (urn:oid:");
            account.iter().any(|(_, text)| text.starts_with(&start) && text.contains(transaction))
        };
        assert!(is_told("ITI-55") && is_told("ITI-38"), "{account:?}");
    }
    // Everybody's documents are of one Patient, the one here.
    let patients: std::collections::BTreeSet<&str> =
        all.entries().into_iter().filter_map(|one| one["subject"]["reference"].as_str()).collect();
    assert_eq!(patients.len(), 1, "{patients:?}");
    let patient = *patients.iter().next().unwrap();
    let by_reference = fhir.get(&format!("DocumentReference?patient={patient}&status=current")).await;
    assert_eq!(documents(&by_reference).len(), found.len());

    // Each is retrieved here, and is what its metadata says.
    let base = format!("https://localhost:{}", hospital.https.port());
    let fetch = async |client: &Client, url: &str| {
        let path = url.strip_prefix(base.as_str()).unwrap_or_else(|| panic!("{url}"));
        client.request(hospital.https, hyper::Request::builder().uri(path), bytes::Bytes::new()).await
    };
    for (resource, (_, url)) in all.entries().into_iter().zip(&found) {
        let (status, headers, body) = fetch(&ward, url).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let attachment = &resource["content"][0]["attachment"];
        assert_eq!(headers["content-type"], attachment["contentType"].as_str().unwrap());
        assert_eq!(attachment["size"].as_u64().unwrap_or(body.len() as u64), body.len() as u64);
    }
    // Where the metadata told a hash or a size, other bytes are refused, with the reason.
    let names = &hospital.gateway.names;
    let mut told_of = found.iter().filter_map(|(_, url)| {
        let handle = Handle::from_segment(names.unsealed(url.rsplit('/').next().unwrap()).unwrap()).unwrap();
        (handle.hash.is_some() && handle.size.is_some()).then_some(handle)
    });
    let handle = told_of.next().expect("communities tell hashes");
    for (other, reason) in [
        (Handle { hash: Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into()), ..handle.clone() }, "by their hash"),
        (Handle { size: handle.size.map(|size| size + 1), ..handle.clone() }, "where the metadata says"),
    ] {
        let url = format!("{base}/fhir/Binary/{}", names.sealed(&other.to_segment()));
        let (status, _, body) = fetch(&ward, &url).await;
        let text = String::from_utf8_lossy(&body);
        assert!(status == 502 && text.contains("another document") && text.contains(reason), "{status}: {text}");
    }
    let trail = Trail::of(&hospital.gateway);
    let lines = trail.lines("documents@bayside.example.org");
    for line in ["ITI-67 E success patient query", "ITI-68 R success document", "ITI-39 C success document"] {
        assert!(lines.iter().any(|one| one == line), "{line}: {lines:?}");
    }

    // Some communities only, by the list of targets; one that nobody knows is an error.
    let one = fhir.get(&format!("{search}&targetCommunityIdList={}", home(Community::Valley))).await;
    assert!(!documents(&one).is_empty());
    assert!(documents(&one).iter().all(|(place, _)| *place == home(Community::Valley)));
    let nobody = fhir.get(&format!("{search}&targetCommunityIdList=urn:oid:2.999.404")).await;
    assert_eq!(
        (nobody.status, nobody.resource["issue"][0]["details"]["coding"][0]["code"].as_str()),
        (422, Some("XDSUnknownCommunity"))
    );

    // A purpose that a network does not carry: its partner is not asked, and the answer says so.
    let (plain, purpose) = (search.clone(), [("x-purpose-of-use", "TREATMENT")]);
    let some = fhir.send("GET", &plain, &purpose, "").await;
    let account = told(&some);
    let is_skipped =
        |(severity, text): &(String, String)| severity == "warning" && text.contains("hub") && text.contains("skipped");
    assert!(account.iter().any(is_skipped), "{account:?}");
    assert!(documents(&some).iter().all(|(place, _)| *place == home(Community::Valley)));

    // A client that may not ask others gets what is here, and nothing at the addresses of another.
    let keys = place.join("hospital/certificates");
    let archive = Client::open(&at.join("trust-store"), "local", &keys.join("gateway.pem"), &keys.join("gateway.key"));
    let alone = Fhir::of(&archive, hospital.https);
    let answer = alone.get(&search).await;
    assert_eq!((answer.status, answer.entries().len()), (200, 0));
    assert_eq!(alone.get(&format!("{search}&targetCommunityIdList={}", home(Community::Valley))).await.issue().0, 403);
    let (status, ..) = fetch(&archive, &found[0].1).await;
    assert_eq!(status, 403);

    // A search that cannot be carried on says so, and never looks complete.
    let unknown = fhir.get(&search.replace(local_id, "nobody")).await;
    let account = told(&unknown);
    assert!(account[0].0 == "warning" && account[0].1.contains("not known here"), "{account:?}");

    // One community down: the others' documents, and a warning that names it.
    valley.stop().await;
    let rest = fhir.get(&search).await;
    assert!(documents(&rest).iter().all(|(place, _)| *place != home(Community::Valley)));
    assert!(!documents(&rest).is_empty());
    let warned: Vec<_> = told(&rest).into_iter().filter(|(severity, _)| severity == "warning").collect();
    assert!(!warned.is_empty() && warned.iter().all(|(_, text)| text.contains("valley")), "{warned:?}");
    let gone = found.iter().find(|(place, _)| *place == home(Community::Valley)).unwrap();
    let (status, _, body) = fetch(&ward, &gone.1).await;
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&body));
    fhir.judge();
    alone.judge();
    tokio::join!(hospital.stop(), hub.stop());
}
