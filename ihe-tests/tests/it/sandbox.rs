//! The first thing that anybody tries: the sandbox, as the program runs it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::served::{Served, printed, run};

#[test]
fn the_sandbox_brings_documents_home_and_leaves_gateways_that_can_be_served() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("sandbox");
    let path = folder.to_str().unwrap();
    let output = run(&["sandbox", "--json", "--folder", path]);
    assert!(output.status.success(), "{}", printed(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let accounts = told["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 3);
    let brought = || accounts.iter().flat_map(|account| account["documents"].as_array().unwrap());
    let homes: BTreeSet<&str> =
        brought().filter(|one| one["file"].is_string()).map(|one| one["home"].as_str().unwrap()).collect();
    let expected = BTreeSet::from(["urn:oid:2.999.1.2", "urn:oid:2.999.1.3", "urn:oid:2.999.1.4"]);
    assert_eq!(homes, expected, "documents of every community");
    for one in brought().filter(|one| one["file"].is_string()) {
        let bytes = std::fs::read(one["file"].as_str().unwrap()).unwrap();
        assert_eq!(bytes.len() as u64, one["size"].as_u64().unwrap());
    }
    let audit = told["audit"].as_array().unwrap();
    assert_eq!(audit.len(), 3);
    assert!(audit.iter().all(|one| one[1]["problem"].is_null() && one[1]["records"].as_u64() > Some(10)), "{audit:?}");

    for site in ["hospital", "valley", "hub"] {
        let config = folder.join(site).join("causeway.toml");
        let config_path = config.to_str().unwrap();
        let checked = run(&["check", "--config", config_path]);
        assert!(checked.status.success(), "{site}: {}", printed(&checked));
        assert!(printed(&checked).contains("0 problems"), "{site}: {}", printed(&checked));
        let verified = run(&["audit", "verify", "--config", config_path]);
        assert!(verified.status.success(), "{site}: {}", printed(&verified));
        let served = Served::start(&config);
        assert!(!served.log().contains("ERROR"), "{site}: {}", served.log());
        // A second one must not take the first one's store.
        let second = run(&["serve", "--config", config_path]);
        assert!(!second.status.success(), "{site}: {}", printed(&second));
    }

    // Again into its own folder, never into another.
    let other = parent.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thesis.txt"), "work of years").unwrap();
    let refused = run(&["sandbox", "--folder", other.to_str().unwrap()]);
    assert!(!refused.status.success());
    assert!(printed(&refused).contains("not empty"), "{}", printed(&refused));
    assert_eq!(std::fs::read_to_string(other.join("thesis.txt")).unwrap(), "work of years");
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);
}
