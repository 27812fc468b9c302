//! `causeway patients`: files of patients taken in and written out, by a command of its own and through a gateway that
//! serves, and killed meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway::atna::verify::verify;
use causeway::id::Tenant;
use ihe_tests::harness::fhir::judge;
use ihe_tests::load::people;
use serde_json::Value;

use crate::canary::assert_silent;
use crate::hostile::{CANARY, World, mllp, registration};
use crate::served::{Served, printed, program, run};

const MORE: &str = "[[domains]]\nname = \"Elsewhere\"\nnamespace = \"WEST\"\noid = \"2.999.30.2\"\n\n\
                    [[sources]]\nname = \"both\"\naddresses = [\"192.0.2.1\"]\n";

/// A gateway's files, and commands for it.
struct Site {
    world: World,
}

impl Site {
    fn new() -> Self {
        Self { world: World::new(MORE) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Vec<String> {
        let config = self.world.config();
        let configured = ["--config", config.to_str().unwrap()];
        let whole = ["patients"].iter().chain(arguments).chain(&configured);
        whole.map(|argument| (*argument).to_owned()).collect()
    }

    /// Whether it succeeded, and what it printed.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let command = self.command(arguments);
        let output = run(&command.iter().map(String::as_str).collect::<Vec<_>>());
        (output.status.success(), printed(&output))
    }

    fn import(&self, file: &Path, more: &[&str]) -> (bool, String) {
        let file = file.to_str().unwrap();
        self.run(&[&["import", file, "--source", "both", "--user", "ops@example.org"], more].concat())
    }

    fn export(&self, name: &str, format: &str) -> String {
        let path = self.path(name);
        let (done, said) =
            self.run(&["export", path.to_str().unwrap(), "--format", format, "--user", "ops@example.org"]);
        assert!(done, "{said}");
        std::fs::read_to_string(path).unwrap()
    }
}

const TABLE: &str = "id,domain,family,given,birth_date,gender,ssn,zip\n\
                     007,MRN,Okafor,Ada,1987-03-12,F,123-45-6780,02134\n\
                     W-1,WEST,Okafor,Ada,1987-03-12,F,123-45-6780,02134\n\
                     8,MRN,Reed,Eve,1960-01-01,F,,\n\
                     9,EAST,Stone,Al,1970-01-01,M,,\n\
                     10,MRN,Stone,Al,1970-13-01,M,,\n";

#[test]
fn a_table_is_taken_in_and_what_is_not_can_be_mended() {
    use std::os::unix::fs::PermissionsExt as _;

    let site = Site::new();
    let table = site.file("patients.csv", TABLE);
    let (done, said) = site.import(&table, &[]);
    // Something was rejected, so whoever runs it in a script hears of it.
    assert!(!done, "{said}");
    let counts = "5 read as csv: 3 added (1 of them to patients known by other identifiers), 0 updated, 0 unchanged";
    assert!(said.contains(counts) && said.contains("2 rejected"), "{said}");
    let rejects = site.path("patients.csv.rejects");
    assert_eq!(std::fs::metadata(&rejects).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&rejects).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], TABLE.lines().next().unwrap());
    assert!(lines[1].starts_with("# rejected, line 5: id: "), "{text}");
    assert_eq!(lines[2], "9,EAST,Stone,Al,1970-01-01,M,,");
    assert!(lines[3].starts_with("# rejected, line 6: birth_date"), "{text}");
    // Neither what was printed nor the reasons have anything of a patient.
    assert!(!said.contains("Stone") && !lines[1].contains("Stone"), "{said}");

    // Mended, the rejects are a file to import.
    let mended = site.file("mended.csv", &text.replace("EAST", "WEST").replace("1970-13-01", "1970-12-01"));
    let (done, said) = site.import(&mended, &[]);
    assert!(done && said.contains("2 read as csv: 2 added"), "{said}");

    // The same file again is told to be done, and another is not mistaken for it.
    let (_, said) = site.import(&table, &[]);
    assert!(said.contains("was imported before, by ops@example.org") && said.contains("Nothing was done"), "{said}");
    let (done, said) = site.run(&["imports"]);
    assert!(done && said.contains("2 imports"), "{said}");
    assert_eq!(verify(&site.world.audit_folder(), &[]).unwrap().problem, None);
}

/// The list of imports is shown to whoever may run commands, without a name and without a record: there is nothing of a
/// patient in it, whatever was wrong with the files.
#[test]
fn the_list_of_imports_tells_nothing_of_a_patient() {
    let site = Site::new();
    let good = format!("1,MRN,{CANARY},Quillifer,1934-05-01,F,,");
    let mut table = format!("id,domain,family,given,birth_date,gender,ssn,zip\n{good}\n{good},{CANARY}\n");
    for column in 0..8 {
        let spoilt = |(at, field): (usize, &str)| if at == column { format!("^{CANARY}~&") } else { field.to_owned() };
        table += &good.split(',').enumerate().map(spoilt).collect::<Vec<_>>().join(",");
        table.push('\n');
    }
    let message = registration("1", "9", CANARY, "Quillifer");
    let messages: String = [
        message.replace("ADT^A04^ADT_A01", &format!("ADT^{CANARY}")),
        message.replace("PID|", &format!("{CANARY}|")),
        message.replace("MRN&2.999.30.1&ISO", &format!("{CANARY}&2.999.99&ISO")),
        message.replace("19340501", &format!("{CANARY}19340501")),
        message,
    ]
    .concat();
    let person = format!(
        "{{\"resourceType\":\"Patient\",\"identifier\":[{{\"system\":\"urn:oid:2.999.30.1\",\"value\":\"8\"}}],\
         \"name\":[{{\"family\":\"{CANARY}\",\"given\":[\"Quillifer\"]}}],\"birthDate\":\"1934-05-01\"}}"
    );
    let people: Vec<String> = ["Patient", "2.999.30.1", "family", "birthDate", "1934-05-01", "}]"]
        .into_iter()
        .map(|part| person.replace(part, CANARY))
        .chain([person.clone()])
        .collect();
    let bundle = format!(
        "{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{{\"resource\":{}}},{{\"resource\":{person}}}]}}",
        people[4]
    );
    let mut reasons = Vec::new();
    for (name, text) in [("p.csv", table), ("p.hl7", messages), ("p.ndjson", people.join("\n")), ("p.json", bundle)] {
        let (_, said) = site.import(&site.file(name, &text), &[]);
        assert!(said.contains(" added") && !said.contains(" 0 rejected"), "{name}: {said}");
        let rejects = std::fs::read_to_string(site.path(&format!("{name}.rejects"))).unwrap();
        reasons.extend(rejects.lines().filter(|line| line.starts_with("# rejected")).map(str::to_owned));
    }
    for json in [&[][..], &["--json"]] {
        let (_, said) = site.run(&[&["imports"], json].concat());
        assert!(["p.csv", "p.hl7", "p.ndjson", "p.json"].iter().all(|name| said.contains(name)), "{said}");
        assert_silent("the list of imports", &said);
    }
    // What is listed of an import that was cut off.
    assert!(reasons.len() >= 12, "{reasons:?}");
    assert_silent("a reason", &reasons.join("\n"));
}

#[test]
fn an_import_obeys_the_rules_of_its_source() {
    let site = Site::new();
    let table = site.file("west.csv", "id,domain,family\n1,MRN,Reed\n2,WEST,Reed\n3,,Reed\n");
    let by = |source: &str, more: &[&str]| {
        let file = table.to_str().unwrap();
        site.run(&[&["import", file, "--source", source, "--user", "ops@example.org"], more].concat())
    };
    let (_, said) = by("nobody", &[]);
    assert!(said.contains("no source is named nobody; the configuration has registration, both"), "{said}");
    // `registration` feeds MRN alone, so that is what an identifier without a domain is of.
    let (_, said) = by("registration", &[]);
    assert!(said.contains("2 added") && said.contains("1 rejected"), "{said}");
    let rejects = std::fs::read_to_string(site.path("west.csv.rejects")).unwrap();
    assert!(rejects.contains("# rejected, line 3: ") && rejects.contains("2,WEST,Reed"), "{rejects}");
    let (_, said) = by("both", &[]);
    assert!(said.contains("is there already; name another with --rejects"), "{said}");
    let (_, said) = by("both", &["--rejects", site.path("r2").to_str().unwrap()]);
    assert!(said.contains("1 added, ") || said.contains("1 added ("), "{said}");
    let (_, said) = by("registration", &["--domain", "WEST"]);
    assert!(said.contains("the source may not feed a domain named WEST"), "{said}");
    let (done, said) = site.run(&["import", table.to_str().unwrap(), "--source", "both", "--user", " "]);
    assert!(!done && said.contains("name the user"), "{said}");
    let folder = site.path("");
    let (_, said) = site.import(&folder, &[]);
    assert!(said.contains("no regular file"), "{said}");
}

/// What was exported and is imported into another, empty store is exported again as the same file, in each form.
#[test]
fn an_export_that_is_imported_gives_the_same_patients() {
    let from = Site::new();
    // Merges, a chain of them, a change of identifier, a link, and two who would be linked and are kept apart.
    let changes = "action,id,domain,other_id,other_domain,family,given,birth_date,ssn,street,unit,phone,phone_type\n\
                   unlink,W-5,WEST,5,MRN,,,,,,,,\n\
                   ,1,MRN,,,Okafor,Ada,1987-03-12,,12 Elm St,Apt 3,5035550100,PRN\n\
                   ,2,MRN,,,Okafor,Adah,1987-03-12,,,,,\n\
                   ,3,MRN,,,Okafor,A,1987-03-12,,,,,\n\
                   merge,2,MRN,1,MRN,,,,,,,,\n\
                   merge,3,MRN,2,MRN,,,,,,,,\n\
                   change-id,4,MRN,3,MRN,,,,,,,,\n\
                   ,W-1,WEST,,,Okafor,Ada,1987-03-12,,,,,\n\
                   link,W-1,WEST,4,MRN,,,,,,,,\n\
                   ,5,MRN,,,Reed,Eve,1960-01-01,123-45-6780,,,,\n\
                   ,W-5,WEST,,,Reed,Eve,1960-01-01,123-45-6780,,,,\n\
                   link,W-8,WEST,8,MRN,,,,,,,,\n";
    let (done, said) = from.import(&from.file("changes.csv", changes), &[]);
    assert!(done && said.contains("0 rejected"), "{said}");
    let mut files = Vec::new();
    for format in ["csv", "hl7v2", "ndjson", "bundle"] {
        let first = from.export(&format!("first.{format}"), format);
        let to = Site::new();
        let file = to.file("import", &first);
        let (done, said) = to.import(&file, &["--links", "told"]);
        assert!(done && said.contains("0 rejected"), "{format}: {said}\n{first}");
        let again = to.export("again", format);
        // A batch and a Bundle tell when they were written.
        let content = |text: &str| {
            let times = ["FHS", "BHS", "{\"resourceType\":\"Bundle\""];
            let lines = text.split(['\r', '\n']).filter(|line| !times.iter().any(|time| line.starts_with(time)));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(content(&first), content(&again), "{format}");
        files.push(first);
    }
    assert!(files[0].contains("unlink") && files[1].contains("ADT^A37"), "who is kept apart is told");
    // What is written in FHIR is FHIR, and a Bundle has the resources of the lines.
    let mut resources: Vec<Value> = files[2].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bundle: Value = serde_json::from_str(&files[3]).unwrap();
    let entries = bundle["entry"].as_array().unwrap();
    assert!(entries.iter().map(|entry| &entry["resource"]).eq(&resources));
    let urls: BTreeSet<&str> = entries.iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
    assert!(urls.len() == entries.len() && urls.iter().all(|url| url.starts_with("urn:uuid:")), "{urls:?}");
    resources.push(bundle.clone());
    judge(&resources);
    // One of nobody has no empty list in it, which FHIR forbids.
    let nobody = Site::new().export("nobody.json", "bundle");
    judge(&[serde_json::from_str(&nobody).unwrap()]);
    let (done, said) = Site::new().import(&from.file("nobody", &nobody), &[]);
    assert!(done && said.contains("0 read as fhir-bundle"), "{said}");
    // A file that is there is not written over.
    let path = from.path("first.csv");
    let (done, said) = from.run(&["export", path.to_str().unwrap(), "--user", "ops@example.org"]);
    assert!(!done && said.contains("is there already"), "{said}");
}

#[test]
fn an_import_runs_beside_a_gateway_that_serves() {
    let site = Site::new();
    let served = Served::start(&site.world.config());
    let mut text = String::from("id,family,given,birth_date\n");
    for number in 0..3_000 {
        text.push_str(&format!("{number},Family{number},Given,1987-03-12\n"));
    }
    let table = site.file("many.csv", &text);
    let (done, said) = site.import(&table, &["--domain", "MRN"]);
    assert!(done && said.contains("3000 added"), "{said}");
    let (done, said) = site.import(&table, &["--domain", "MRN", "--json"]);
    assert!(done && said.contains("\"was_finished\": true"), "{said}");
    let export = site.export("through.csv", "csv");
    assert_eq!(export.lines().count(), 3_001);
    drop(served);
    assert_eq!(site.export("alone.csv", "csv"), export);
}

/// The three domains of `config/connectathon`, and what the test plans want to find in them.
#[test]
fn the_patients_of_a_connectathon_are_loaded_by_one_command() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/connectathon/causeway.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let domains: String = shipped.split("[[domains]]").skip(1).map(|part| format!("[[domains]]{part}")).collect();
    let domains = domains.split("[policy").next().unwrap().to_owned();
    let site = Site { world: World::new(&domains) };
    let load = ["connectathon", "--user", "tester@example.org"];
    let (done, said) = site.run(&load);
    assert!(done && said.contains(" 0 rejected"), "{said}");
    let (_, said) = site.run(&load);
    assert!(said.contains("Nothing was done"), "{said}");
    let export = site.export("loaded.csv", "csv");
    for (id, domain, family) in [("CW-RED-001", "IHERED", "FARNSWORTH"), ("CW-BLUE-002", "IHEBLUE", "WALTERS")] {
        assert!(export.contains(&format!(",{id},,,{domain},,,,,{family},")), "{export}");
    }
    // Six links of the file, and the two records that were merged are one person's as well.
    assert_eq!(export.lines().filter(|line| line.starts_with("link,")).count(), 7, "{export}");
    assert_eq!(export.lines().filter(|line| line.starts_with("merge,CW-RED-008,")).count(), 1, "{export}");
}

/// Patients of the load generator: some are the same person at two sources, some rows are broken.
fn many(count: u64) -> String {
    let mut text = String::from("action,id,domain,other_id,other_domain,family,given,birth_date,gender,ssn\n");
    for number in 0..count {
        let person = people::demographics(number % (count - count / 10));
        let (name, birth) = (&person.names[0], person.birth.as_ref().unwrap());
        let domain = if number >= count - count / 10 { "WEST" } else { "MRN" };
        let ssn = format!("219-{:02}-{:04}", 10 + number % 80, 1_000 + number % (count - count / 10) % 9_000);
        let birth = if number % 97 == 5 { "when?".to_owned() } else { birth.as_str().to_owned() };
        text.push_str(&format!(",N{number},{domain},,,{},{},{birth},F,{ssn}\n", name.family, name.given[0]));
        if number % 50 == 49 {
            text.push_str(&format!("merge,N{number},{domain},N{},{domain},,,,,\n", number - 1));
        }
    }
    text
}

/// Killed at any moment, an import loses nothing that it had done and does nothing twice: in the end the store and the
/// rejects are what they would have been.
#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let table = many(5_000);
    let (undisturbed, killed) = (Site::new(), Site::new());
    let file = undisturbed.file("many.csv", &table);
    let (_, said) = undisturbed.import(&file, &[]);
    assert!(said.contains("rejected") && !said.contains(" 0 rejected"), "{said}");

    let file = killed.file("many.csv", &table);
    let command = killed.command(&["import", file.to_str().unwrap(), "--source", "both", "--user", "ops@example.org"]);
    let (mut kills, mut places) = (0, Vec::new());
    for round in 0..40_u64 {
        let mut child = program().args(&command).stdout(std::process::Stdio::null()).spawn().unwrap();
        // Later each time, so that every stage is met: opening, the first write, the last, the end.
        std::thread::sleep(Duration::from_millis(60 + 90 * round));
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        let (_, said) = killed.run(&["imports", "--json"]);
        let done = said.split("\"offset\": ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
        places.extend(done);
        if ended {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 2, "it was killed {kills} times");
    assert!(places.is_sorted(), "what was done stays done: {places:?}");
    let (_, said) = killed.import(&file, &[]);
    assert!(said.contains("Nothing was done") || said.contains("rejected"), "{said}");
    compare(&undisturbed, &killed);
}

/// The same through a gateway that takes a feed meanwhile, and is killed with the import.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_during_feed_and_import_loses_neither() {
    let table = many(4_000);
    let (undisturbed, killed) = (Site::new(), Site::new());
    let file = undisturbed.file("many.csv", &table);
    let (_, said) = undisturbed.import(&file, &[]);
    assert!(said.contains("rejected"), "{said}");

    let file = killed.file("many.csv", &table);
    let command = killed.command(&["import", file.to_str().unwrap(), "--source", "both", "--user", "ops@example.org"]);
    let mut fed = Vec::new();
    for round in 0..6_u64 {
        let served = Served::start(&killed.world.config());
        let address = served.mllp;
        let mut child = program().args(&command).stdout(std::process::Stdio::null()).spawn().unwrap();
        let feeding = async {
            let mut known = Vec::new();
            let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return known };
            for number in 0.. {
                let local = format!("F{round}-{number}");
                let Ok(answer) = mllp(&mut stream, registration(&local, &local, "Feed", &local).as_bytes()).await
                else {
                    break;
                };
                assert!(answer.contains("MSA|AA"), "{answer}");
                known.push(local);
            }
            known
        };
        let killer = async {
            tokio::time::sleep(Duration::from_millis(250 + 170 * round)).await;
            served.kill();
        };
        let (known, ()) = tokio::join!(feeding, killer);
        fed.extend(known);
        child.wait().unwrap();
    }
    assert!(!fed.is_empty());
    let (_, said) = killed.import(&file, &[]);
    assert!(said.contains("rejected"), "{said}");
    let export = killed.export("fed.csv", "csv");
    for local in &fed {
        assert!(export.contains(&format!(",{local},,,MRN,")), "{local} was acknowledged and is lost");
    }
    // Without those that the feed told of, the same patients are there.
    let mut rest: Vec<&str> = export.lines().filter(|line| !line.starts_with(",F")).map(without_time).collect();
    let expected = undisturbed.export("all.csv", "csv");
    let mut expected: Vec<&str> = expected.lines().map(without_time).collect();
    rest.sort_unstable();
    expected.sort_unstable();
    assert_eq!(rest, expected);
    consistent(&killed);
}

/// A row without its last columns, of which `updated` is one.
fn without_time(line: &str) -> &str {
    line.rsplitn(3, ',').last().unwrap_or_default()
}

fn compare(one: &Site, other: &Site) {
    let exports = [one, other].map(|site| site.export("compared.csv", "csv"));
    let [first, second] = exports.each_ref().map(|text| text.lines().map(without_time).collect::<Vec<_>>());
    assert_eq!(first, second);
    let rejects = [one, other].map(|site| std::fs::read_to_string(site.path("many.csv.rejects")).unwrap());
    assert_eq!(rejects[0], rejects[1]);
    consistent(other);
}

fn consistent(site: &Site) {
    use causeway::storage::engine::{Engine, Settings};
    use causeway::storage::identities::Identities;
    use causeway::storage::seal::Sealer;
    let engine = Engine::open(&site.path("data"), &Settings::default()).unwrap();
    let identities = Identities::new(engine, Sealer::plain());
    assert_eq!(identities.verify_consistency(&Tenant::default()).unwrap(), []);
    drop(identities);
    assert_eq!(verify(&site.world.audit_folder(), &[]).unwrap().problem, None);
}
