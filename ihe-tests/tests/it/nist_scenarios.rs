//! The registry, repository and gateway scenarios of the NIST toolkit, in order against a running gateway. The count is
//! printed and compared with the table of `CONFORMANCE.md`, so that the table stays true.

use std::collections::BTreeMap;
use std::path::Path;

use ihe_tests::harness::scenarios::{Runner, Step, Story};
use ihe_tests::harness::world::Solo;

/// The domain of the patients.
const DOMAIN: &str = "2.999.60.1";

/// Scenarios that share what they make: those on the left are run with the patients and objects of the one on the right.
const SHARED: [(&str, &str); 19] = [
    ("11897", "12346"),
    ("11898", "12346"),
    ("11901", "12346"),
    ("11902", "12346"),
    ("11904", "12346"),
    ("11906", "12346"),
    ("11908", "12346"),
    ("12300", "12318"),
    ("12306", "12318"),
    ("12307", "12318"),
    ("12308", "12318"),
    ("12309", "12318"),
    ("12310", "12318"),
    ("12311", "12318"),
    ("12312", "12318"),
    ("12336", "12318"),
    ("12360", "12360"),
    ("15813", "15811"),
    ("15832", "15832"),
];

/// Steps that are not run, and why. The first part of a name stands for all that begin with it.
const NOT_APPLICABLE: [(&str, &str); 18] = [
    ("12038", "a document and a repository of the suite's own"),
    ("12300", GATEWAYS),
    ("12342", GATEWAYS),
    ("15807", GATEWAYS),
    ("15808", GATEWAYS),
    ("15809", GATEWAYS),
    ("15810", GATEWAYS),
    ("15814", GATEWAYS),
    ("15500", PATIENTS),
    ("FindPatient", PATIENTS),
    ("11990eval_valid", "looks for submissions whose assertions the suite broke; `attacks.rs` breaks ours"),
    ("16102b", LINKS),
    ("16102c", LINKS),
    ("12375", LIMITED),
    ("C32_Sample1_minimal", LIMITED),
    ("C32_Sample2_minimal", LIMITED),
    ("12346//", "a copy of the scenario's own first part, with a fixed patient"),
    ("pdb_", "MHD, which has tests of its own"),
];

const GATEWAYS: &str = "the Initiating Gateway between two communities that the suite simulates; `initiating_gateway.rs` has two of its own";
const PATIENTS: &str =
    "a discovery without the suite's patients; `corpus_replay.rs` sends it to a gateway that knows one";
const LINKS: &str = "changes of the patient link (ITI-64), which no option here takes part in";
const LIMITED: &str = "limited metadata, which is for XDR recipients and not for repositories (ITI TF-3: 4.3.1)";

/// Steps that are answered otherwise than the suite expects, and why that is right.
const DISAGREED: [(&str, &str); 13] = [
    ("11897/classcode_scheme_mismatch", "a code without its scheme matches that code of any scheme"),
    ("11897/creationtime_right_edge", "the upper bound of a time range belongs to it here"),
    ("11897/old_scheme", "a parameter of an earlier version is ignored, not refused"),
    ("11897/no_matching_classcode", "a query that finds nothing is a success (3.18.4.1.3)"),
    ("12022/submit1", "a folder without codes, which Table 4.3.2.1-3 of ITI TF-3 requires"),
    ("12022/xfrmapnd1", "a folder without codes, which Table 4.3.2.1-3 of ITI TF-3 requires"),
    ("MPQ_IHERED", UNFINISHED),
    ("12364/", UNFINISHED),
    ("12374/", UNFINISHED),
    ("20000f/query_by_uniqueid", "expects two versions after an update that it expects to be refused"),
    ("20008/query_by_uniqueid", "expects what another scenario has made"),
    ("20008/query_for_fd_de_assoc", "expects what another scenario has made"),
    (
        "30008/remove_branches/remove_rplc_set",
        "an error code that is in no table; the scenario's own main part expects success",
    ),
];

const UNFINISHED: &str = "entries without hash, size or repository, which Table 4.3.1-3 of ITI TF-3 requires in ITI-42";

/// What the corpus does not say: step, variable, where it comes from.
/// Steps that are run with everything made anew, and the parts that make it: the corpus has them in the order of their
/// names, in which they would find removed what they are to remove.
const ANEW: [(&str, &str, &[&str]); 5] = [
    ("15830/GetAll1/", "15812", &["Register_OD"]),
    ("30008/eval_remove_branches/", "30008", &["submit", "apnd", "xfrm_rplc"]),
    ("30008/remove/", "30008", &["submit", "apnd", "xfrm_rplc"]),
    ("30008/remove_XFRM_RPLC_assoc_only/", "30008", &["submit", "apnd", "xfrm_rplc"]),
    ("30008/remove_branches/", "30008", &["submit", "apnd", "xfrm_rplc"]),
];

const TOLD: [(&str, &str, &str); 39] = [
    ("15830/Retrieve_OnDemand/retrieve", "docuid", "Register_OD:Document01"),
    ("11992/eval/validate_new", "ssuid", "rplc:SubmissionSet01"),
    ("11998/rplc/rplc", "patientid", "patient 1"),
    ("12000.1a/getDocumentsSq/testForDEUsingSsUuid", "uuid", "submit:SubmissionSet01"),
    ("12000.1a/getDocumentsSq/testForDEUsingFolUuid", "uuid", "submit:Folder"),
    ("12000.1a/getDocumentsSq/testForDEUsingDEUuid", "uuid", "submit:Document01"),
    ("12022/rplc/rplc", "rplc_doc_uuid", "submit:doc01"),
    ("12022/eval/apnd_xfrm_deprecated", "ssuid", "xfrmapnd:SubmissionSet01"),
    ("12022/eval/replacement_approved", "ssuid", "rplc:SubmissionSet01"),
    ("12022/xfrmapnd1/xfrm_apnd", "doc01", "submit1:doc01"),
    ("12022/xfrmapnd1/xfrm_apnd", "doc02", "submit1:doc02"),
    ("16102/verify_merge/initial_XAD-PID", "pid", "patient 1"),
    ("20000d/update/update", "lid", "submit_2doc_w_fol:Folder"),
    ("20000d/update/update", "Folder01_uid", "submit_2doc_w_fol:Folder"),
    ("21002/query_update/query", "uuid", "update:Document01"),
    ("30008/xfrm_rplc/xfrm_rplc", "rplc_doc_uuid", "apnd:Document01"),
    ("30008/remove_xfrm_rplc/remove_xfrm_rplc", "XFRM_RPLCAssociation", "xfrm_rplc:XFRMRPLCAssociation"),
    ("30008/remove_xfrm_rplc/remove_xfrm_rplc", "SSHM01Association", "xfrm_rplc:SSHM01Association"),
    ("30008/remove_xfrm_rplc/remove_xfrm_rplc", "SubmissionSet01", "xfrm_rplc:SubmissionSet01"),
    ("30008/attempt_remove_apnd_set/attempt_remove_apnd_set", "APNDAssociation", "apnd:APNDAssoc01"),
    ("30008/remove_branches/remove_orig_set", "SSHM01Association", "submit:SSHMAssoc01"),
    ("30008/remove_branches/remove_orig_set", "SubmissionSet01", "submit:SubmissionSet01"),
    ("30008/remove_branches/remove_apnd_set", "SubmissionSet01", "apnd:SubmissionSet01"),
    ("30008/remove_branches/remove_rplc_set", "SSHM01Association", "xfrm_rplc:SSHM01Association"),
    ("30008/remove_branches/remove_rplc_set", "SubmissionSet01", "xfrm_rplc:SubmissionSet01"),
    ("30008/remove/remove_all", "Document01", "xfrm_rplc:Document01"),
    ("30008/remove/remove_all", "SSHM01Association", "xfrm_rplc:SSHM01Association"),
    ("30008/remove/remove_all", "SubmissionSet01", "xfrm_rplc:SubmissionSet01"),
    ("30008/remove/remove_all", "XFRM_RPLCAssociation", "xfrm_rplc:XFRMRPLCAssociation"),
    ("30008/remove/remove_all", "Document02", "apnd:Document01"),
    ("30008/remove/remove_all", "SSHM02Association", "apnd:SSHMAssoc01"),
    ("30008/remove/remove_all", "SubmissionSet02", "apnd:SubmissionSet01"),
    ("30008/remove/remove_all", "APNDAssociation", "apnd:APNDAssoc01"),
    ("30008/remove_XFRM_RPLC_assoc_only/remove_XFRM_RPLC_assoc_only", "Association", "xfrm_rplc:XFRMRPLCAssociation"),
    ("30008/remove_branches/remove_XFRM_RPLC_assoc_only", "Association", "xfrm_rplc:XFRMRPLCAssociation"),
    ("12326/add_to_folder/add", "Folder", "submit_fol:Folder"),
    ("12312/correct/retrieve_big", "docuid", "init:Document02"),
    ("15830/Retrieve_Stable/retrieve2", "docuid", "snapshot 0"),
    ("12308/retrieve_one/retrieve_two", "docuid2", "init:Document02"),
];

/// How a step went.
enum Went {
    Passed,
    /// Otherwise than the suite expects, for a reason.
    Disagreed(&'static str),
    Failed(String),
    NotApplicable(&'static str),
}

async fn gateway() -> Runner {
    let domain = format!("[[domains]]\nname = \"Suite\"\nnamespace = \"SUITE\"\noid = \"{DOMAIN}\"\n");
    let source = "[[sources]]\nname = \"any\"\naddresses = [\"127.0.0.1\"]\n";
    // Each document is another, as those of the suite's own source are.
    let on_demand =
        "[documents.on_demand]\ncommand = [\"/bin/sh\", \"-c\", \"cat; /bin/date +%s%N\"]\npersist = true\n";
    Runner { solo: Solo::start(&[&domain, source, on_demand].concat()).await }
}

async fn story(runner: &Runner) -> Story {
    let mut patients = Vec::new();
    for _ in 0..3 {
        patients.push(runner.patient(DOMAIN).await);
    }
    Story { patients, told: TOLD.to_vec(), ..Story::default() }
}

/// The steps in the order in which they can be run: data before the queries for it, scenarios as the corpus has them.
fn in_order(steps: &[Step]) -> Vec<&Step> {
    let rank = |step: &Step| match step.test.as_str() {
        "12346" => 0,
        "12374" => 1,
        "11897" | "11898" | "11901" | "11902" | "11904" | "11906" | "11908" => 2,
        "12364" => 3,
        "12318" => 4,
        _ => 5,
    };
    let mut ordered: Vec<&Step> = steps.iter().collect();
    // On-demand entries are registered before snapshots of them.
    let later = |step: &Step| step.section.starts_with("Register_OD/");
    let first = |step: &Step| step.section == "Register_OD";
    let of = |step: &Step| steps.iter().position(|other| other.test == step.test);
    ordered.sort_by_key(|step| {
        let demand = if first(step) {
            0
        } else if later(step) {
            1
        } else {
            2
        };
        let demand = if matches!(step.test.as_str(), "15806" | "15812") { demand } else { 0 };
        (rank(step), of(step), demand)
    });
    ordered
}

async fn went(runner: &Runner, steps: &[Step], step: &Step, stories: &mut BTreeMap<String, Story>) -> Went {
    let name = step.name();
    if let Some((_, why)) = NOT_APPLICABLE.iter().find(|(start, _)| name.starts_with(start)) {
        return Went::NotApplicable(why);
    }
    let shared = SHARED.iter().find(|(test, _)| *test == step.test).map_or(step.test.as_str(), |(_, with)| with);
    if !stories.contains_key(shared) {
        let story = story(runner).await;
        stories.insert(shared.to_owned(), story);
    }
    let story = stories.get_mut(shared).unwrap();
    if let Some((_, test, sections)) = ANEW.iter().find(|(start, ..)| name.starts_with(start)) {
        (story.made, story.refused) = (Vec::new(), Vec::new());
        for section in *sections {
            for step in steps.iter().filter(|other| other.test == *test && other.section == *section) {
                runner.run(step, story).await.unwrap_or_else(|problem| panic!("{}: {problem}", step.name()));
            }
        }
    }
    // The suite's patient is merged into another between the steps of this one.
    let merges = step.test == "16102" && step.section == "submit";
    if merges {
        story.patients.swap(0, 1);
    }
    let outcome = runner.run(step, story).await;
    if merges {
        story.patients.swap(0, 1);
        runner.merge(&story.patients[0], &story.patients[1]).await;
    }
    match (outcome, DISAGREED.iter().find(|(start, _)| name.starts_with(start))) {
        (Ok(()), _) => Went::Passed,
        (Err(_), Some((_, why))) => Went::Disagreed(why),
        (Err(problem), None) => Went::Failed(problem),
    }
}

#[tokio::test]
async fn scenarios_of_the_suite_run_in_order() {
    let Some(shared) = ihe_tests::shared() else { return };
    let steps = Step::load(&shared.join("corpus"));
    let runner = gateway().await;
    let mut stories = BTreeMap::new();
    let (mut passed, mut failed) = (0, Vec::new());
    let (mut disagreed, mut not_applicable) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
    for step in in_order(&steps) {
        match went(&runner, &steps, step, &mut stories).await {
            Went::Passed => passed += 1,
            Went::Disagreed(why) => *disagreed.entry(why).or_default() += 1,
            Went::Failed(why) => failed.push((step.name(), why)),
            Went::NotApplicable(why) => *not_applicable.entry(why).or_default() += 1,
        }
    }
    for (name, why) in &failed {
        println!("failed {name}: {why}");
    }
    let mut table = format!("| {passed} | passed | |\n");
    for (kind, reasons) in [("answered otherwise", &disagreed), ("not applicable", &not_applicable)] {
        for (why, count) in reasons {
            table.push_str(&format!("| {count} | {kind} | {why} |\n"));
        }
    }
    println!("{table}");
    assert!(failed.is_empty(), "{} steps failed", failed.len());
    let conformance = Path::new(env!("CARGO_MANIFEST_DIR")).join("../CONFORMANCE.md");
    let text = std::fs::read_to_string(conformance).unwrap();
    assert!(text.contains(&table), "CONFORMANCE.md says otherwise");
}
