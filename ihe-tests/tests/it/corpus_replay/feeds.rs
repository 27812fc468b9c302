//! Patient identity feeds of the corpus, each from the source and for the domains that its suite configures.

use ihe_tests::harness::{Feed, Solo};

use super::{check, requests};

/// Domains of the suites that feed patients: namespace, OID.
const DOMAINS: [(&str, &str); 17] = [
    ("TEST", "2.16.840.1.113883.3.72.5.9.1"),
    ("TEST_A", "2.16.840.1.113883.3.72.5.9.2"),
    ("TEST_B", "2.16.840.1.113883.3.72.5.9.3"),
    ("NID", "2.16.840.1.113883.3.72.5.9.9"),
    ("HIMSS2005", "1.3.6.1.4.1.21367.2005.1.1"),
    ("XREF2005", "1.3.6.1.4.1.21367.2005.1.2"),
    ("HZLN", "1.3.6.1.4.1.21367.2005.1.3"),
    ("MPI", "2.16.840.1.113883.3.37.4.1.1.2.1.1"),
    ("BBB", "2.16.840.1.113883.3.37.4.1.1.2.611.1"),
    ("CCC", "2.16.840.1.113883.3.37.4.1.1.2.711.1"),
    ("HZLN-411", "2.16.840.1.113883.3.37.4.1.1.2.411.1"),
    ("IHENA", "1.3.6.1.4.1.21367.2010.1.2.300"),
    ("IHELOCAL", "1.3.6.1.4.1.21367.2010.1.2.310"),
    ("BCBS", "2.999.70.1"),
    ("LOCAL", "2.999.70.2"),
    ("USSSA", "2.999.70.3"),
    ("domain2", "2.999.70.4"),
];

const OTHER_EVENT: &str =
    "no event of ITI-8 (ITI TF-2: 3.8.4.1.1, 3.8.4.2.1) or ITI-30, and answered so (ITI TF-2x: C.2.3)";
const WITHIN_A_DOMAIN: &str = "merges are within a domain (ITI TF-2: 3.8.4.2.1)";

#[tokio::test]
async fn feeds_of_the_corpus() {
    let Some(mut rows) = requests("hl7v2-pix-feed/") else { return };
    rows.retain(|row| row.path.ends_with(".hl7"));
    let domains =
        DOMAINS.iter().chain(&[("D1000", "1.2.3.4.5.1000"), ("D666", "1.2.3.4.666")]).map(|(namespace, oid)| {
            format!("[[domains]]\nname = \"{namespace}\"\nnamespace = \"{namespace}\"\noid = \"{oid}\"\n")
        });
    let other = "[[domains]]\nname = \"test1\"\nnamespace = \"test1\"\nuniversal_id = \"2.16.1\"\nuniversal_id_type = \"HCD\"\n";
    let source = |name: &str, domains: &str| {
        format!(
            "[[sources]]\nname = \"{name}\"\napplication = \"{name}\"\ndomains = [{domains}]\naddresses = [\"127.0.0.1\"]\n"
        )
    };
    let sources = [
        source("TEST_HARNESS", "\"TEST\", \"NID\""),
        source("TEST_HARNESS_A", "\"TEST_A\", \"NID\""),
        source("TEST_HARNESS_B", "\"TEST_B\""),
        source("NID_AUTH", "\"NID\""),
        "[[sources]]\nname = \"others\"\nfill_missing_authority = \"LOCAL\"\naddresses = [\"127.0.0.1\"]\n".to_owned(),
    ];
    let solo = Solo::start(&domains.chain([other.to_owned()]).chain(sources).collect::<String>()).await;
    let mut feed = Feed::open(solo.mllp()).await;
    let mut answers = Vec::new();
    for row in &rows {
        let bytes = std::fs::read(&row.file).unwrap();
        for message in preparations(&bytes) {
            feed.ask(message.as_bytes()).await;
        }
        let told = feed.ask(&bytes).await;
        let fault = told.text.lines().find(|line| line.starts_with("ERR")).unwrap_or_default();
        let fault = fault.rsplit('|').next().unwrap_or_default().split(" (trace").next().unwrap_or_default();
        answers.push((row, format!("{} {fault}", told.code.code()).trim().to_owned()));
    }
    check(
        "hl7v2-pix-feed/",
        &answers,
        &[
            ("hapi-adt_a03", "AR the trigger event is not served here", OTHER_EVENT),
            ("pixsource-a10", "AR the trigger event is not served here", OTHER_EVENT),
            ("msfc-adt-a02", "AR the trigger event is not served here", OTHER_EVENT),
            ("msfc-adt-a03", "AR the trigger event is not served here", OTHER_EVENT),
            ("msfc-adt-a11", "AR the trigger event is not served here", OTHER_EVENT),
            ("msfc-adt-a13", "AR the trigger event is not served here", OTHER_EVENT),
            ("msfc-adt-a29", "AR the trigger event is not served here", OTHER_EVENT),
            ("msfc-adt-a41", "AR the trigger event is not served here", OTHER_EVENT),
            ("msfc-adt-a45", "AR the trigger event is not served here", OTHER_EVENT),
            ("msfc-adt-a60", "AR the trigger event is not served here", OTHER_EVENT),
            ("iti8-a40", "AE survivor and subsumed identifier are of different assigning authorities", WITHIN_A_DOMAIN),
            (
                "pix_feed_merge",
                "AE survivor and subsumed identifier are of different assigning authorities",
                WITHIN_A_DOMAIN,
            ),
            (
                "pixsource-a04",
                "AE the parts of the assigning authority name two different authorities (PID\\S\\1\\S\\3\\S\\2\\S\\4)",
                "the corpus uses one namespace for two authorities",
            ),
            (
                "msfc-adt-a47",
                "AE the assigning authority is not known here (PID\\S\\1\\S\\3\\S\\1\\S\\4)",
                "its domain has no name that could be configured",
            ),
        ],
        |expected, answer| {
            let code = &answer[..2];
            match expected.strip_prefix("MSA-1=") {
                Some(codes) => codes.split('|').any(|one| one == code),
                None if expected.starts_with("AE/AR") => code != "AA",
                None if expected == "see test" => true,
                None => expected.starts_with(code),
            }
        },
    );
}

/// Registrations of the identifiers that a merge is about.
fn preparations(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).replace('\n', "\r");
    let Some(header) = text.split('\r').find(|line| line.starts_with("MSH") && line.contains("ADT^A40")) else {
        return Vec::new();
    };
    let header = header.replace("ADT^A40^ADT_A39", "ADT^A04^ADT_A01").replace("ADT^A40", "ADT^A04");
    let fields = text.split('\r').filter_map(|line| {
        let field = |at: usize| line.split('|').nth(at).map(str::to_owned);
        if line.starts_with("PID|") { field(3) } else { line.starts_with("MRG|").then(|| field(1)).flatten() }
    });
    fields
        .flat_map(|field| field.split('~').map(str::to_owned).collect::<Vec<_>>())
        .map(|cx| format!("{header}\rEVN|A04|20261122\rPID|||{cx}||Merge^Patient\rPV1||O\r"))
        .collect()
}
