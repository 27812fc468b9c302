//! The first thing that anybody tries: the sandbox, as the program runs it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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

    documents_can_be_looked_at(&folder, parent.path());

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

/// The valley's documents by the commands: a clinical document becomes a page, a letter stays what it is, and each look
/// is recorded with the name of who looked.
fn documents_can_be_looked_at(folder: &Path, outside: &Path) {
    let config = folder.join("valley/causeway.toml");
    let documents = |arguments: &[&str]| {
        let given =
            [&["documents"], arguments, &["--config", config.to_str().unwrap(), "--user", "Ida Clerk"]].concat();
        let output = run(&given);
        (output.status.success(), printed(&output))
    };
    let (_, listed) = documents(&["list", "--patient", "V2001^^^&2.999.1.2.1&ISO", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let of_type = |media_type: &str| {
        let found = listed["value"].as_array().unwrap().iter().find(|one| one["mime_type"] == media_type);
        found.unwrap_or_else(|| panic!("{listed}"))["unique_id"].as_str().unwrap().to_owned()
    };
    let (clinical, letter) = (of_type("text/xml"), of_type("application/pdf"));

    let (_, shown) = documents(&["show", &clinical]);
    for expected in ["typeCode", "V2001^^^&2.999.1.2.1&ISO", "about the patient of the metadata", "hash"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains("its header lacks"), "{shown}");

    let page = outside.join("page.html");
    let (written, told) = documents(&["view", &clinical, "--out", page.to_str().unwrap()]);
    assert!(written, "{told}");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && !html.contains("<script"), "{html}");
    assert_eq!(std::fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);
    // Never over something else.
    let (again, told) = documents(&["view", &clinical, "--out", page.to_str().unwrap()]);
    assert!(!again && told.contains("exists"), "{told}");
    let (_, told) = documents(&["view", &letter, "--out", outside.to_str().unwrap()]);
    assert!(std::fs::read(told.lines().next().unwrap()).unwrap().starts_with(b"%PDF"), "{told}");
    assert!(told.contains("The document is a PDF and no clinical document"), "{told}");

    let (known, told) = documents(&["show", "2.999.404"]);
    assert!(!known && told.contains("no such document"), "{told}");
}
