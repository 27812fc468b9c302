use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::directory;
use crate::id::{Clock, Timestamp};
use crate::trust::issue::{Authority, KeyKind, Validity};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn toml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            toml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

/// Every example; whether it is a partner's file.
fn each_example() -> Vec<(PathBuf, String, bool)> {
    let mut found = Vec::new();
    toml_files(&examples(), &mut found);
    assert!(found.len() >= 9, "{found:?}");
    let read = |path: PathBuf| {
        let partner = path.parent().unwrap().ends_with("partners");
        let text = fs::read_to_string(&path).unwrap();
        (path, text, partner)
    };
    found.into_iter().map(read).collect()
}

fn problems_of(path: &Path, text: &str, partner: bool) -> Vec<Problem> {
    if partner {
        return directory::read(path, text).1;
    }
    if path.ends_with("value-sets.toml") {
        return value_sets::read(path, text).err().unwrap_or_default();
    }
    read(path, text, &Overrides::default()).err().unwrap_or_default()
}

const MINIMAL: &str = include_str!("../../config/hospital/minimal.toml");

fn keys(text: &str) -> Vec<String> {
    let problems = read(Path::new("causeway.toml"), text, &Overrides::default()).unwrap_err();
    assert!(problems.iter().all(|problem| !problem.remedy.is_empty()), "{problems:?}");
    problems.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn every_example_is_good() {
    for (path, text, partner) in each_example() {
        assert_eq!(problems_of(&path, &text, partner), [], "{}", path.display());
    }
    for folder in ["hospital", "carequality", "tefca"] {
        let (snapshot, problems) = directory::load(&examples().join(folder).join("partners"));
        assert_eq!(problems, []);
        assert!(snapshot.partners().count() > 0);
    }
}

#[test]
fn a_misspelt_key_in_any_table_is_refused_with_its_line() {
    let mut tried = 0;
    for (path, text, partner) in each_example() {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let key = line.split(['=', ' ']).next().unwrap();
            if key.is_empty() || key.starts_with(['#', '[']) {
                continue;
            }
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            lines[at] = format!("x{}", lines[at]);
            let problems = problems_of(&path, &lines.join("\n"), partner);
            let unknown = |problem: &&Problem| problem.text.contains("unknown field") && problem.line == Some(at + 1);
            assert_eq!(problems.iter().filter(unknown).count(), 1, "{}: {line}: {problems:?}", path.display());
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn a_misspelt_table_is_refused() {
    for table in ["[lisen]", "[[domain]]", "[[source]]", "[[listen.mlpp]]", "[audit.collector]", "[trust.network.x]"] {
        let told = keys(&format!("{MINIMAL}\n{table}\n"));
        assert_eq!(told.len(), 1, "{table}: {told:?}");
    }
}

#[test]
fn a_few_lines_are_enough() {
    assert!(MINIMAL.lines().count() <= 15);
    let settings = read(Path::new("/etc/causeway/causeway.toml"), MINIMAL, &Overrides::default()).unwrap();
    assert_eq!(settings.community.home.to_string(), "urn:oid:2.999.10");
    assert_eq!(settings.community.repository.as_str(), "2.999.10");
    assert_eq!(settings.community.organization, "Lakeside Hospital");
    assert_eq!(settings.audit.source_id, "gateway.lakeside.example.org");
    assert_eq!(settings.tls, settings.signing);
    assert_eq!(settings.tls.key, Path::new("/etc/causeway/certificates/gateway.key"));
    assert_eq!(settings.partners, Path::new("/etc/causeway/partners"));
    assert_eq!(settings.limits.clock_skew, Duration::from_secs(300));
    assert_eq!(settings.limits.xml.bytes, 16 << 20);
    assert!(settings.initiator.purpose.is_none(), "a missing purpose is never a default");
}

#[test]
fn the_environment_goes_before_the_file() {
    let overrides = Overrides {
        listen: Some("127.0.0.1:9443".into()),
        store: Some("/var/lib/causeway".into()),
        log: Some("debug".into()),
    };
    let settings = read(Path::new("a/causeway.toml"), MINIMAL, &overrides).unwrap();
    assert_eq!(settings.listen.https.to_string(), "127.0.0.1:9443");
    assert_eq!(settings.store.folder, Path::new("/var/lib/causeway"));
    assert_eq!(settings.log_level, LogLevel::Debug);
    let overrides = Overrides { listen: Some("nowhere".into()), log: Some("loud".into()), ..Overrides::default() };
    let problems = read(Path::new("a/causeway.toml"), MINIMAL, &overrides).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn everything_that_is_missing_or_wrong_is_told_at_once() {
    for (text, expected) in [
        ("", &["community.name", "community.home_community_id", "listen.public_url"][..]),
        (
            "[community]\nname = \"x\"\nhome_community_id = \"2.999\"\nnpi = \"12\"\nrepository_id = \"x\"\n\
             [listen]\nhttps = \"8443\"\npublic_url = \"http://localhost\"\n[[listen.mllp]]\n",
            &[
                "community.home_community_id",
                "community.npi",
                "community.repository_id",
                "listen.https",
                "listen.public_url",
                "listen.mllp[0].address",
            ],
        ),
    ] {
        assert_eq!(keys(text), expected);
    }
    for (more, expected) in [
        ("[tls]\ncertificate = \"a.pem\"", "tls.key"),
        ("[signing]\nkey = \"a.key\"", "signing.certificate"),
        ("[trust.networks.\"..\"]", "trust.networks..."),
        ("[store]\ncache_mib = 1", "store.cache_mib"),
        ("[[domains]]\nnamespace = \"A\"", "domains[1]"),
        ("[[domains]]\nnamespace = \"A\"\noid = \"2.999\"\nuniversal_id = \"b\"", "domains[1]"),
        ("[[domains]]\nnamespace = \"A\"\nuniversal_id = \"b\"", "domains[1].universal_id"),
        ("[[domains]]\noid = \"2.999.3\"", "domains[1].namespace"),
        ("[[domains]]\nnamespace = \"LAKESIDE\"\noid = \"2.999.3\"", "domains[1]"),
        ("[[sources]]\nname = \"a\"", "sources[0]"),
        ("[[sources]]\naddresses = [\"10.0.0.1\"]", "sources[0].name"),
        ("[[sources]]\nname = \"a\"\naddresses = [\"10.0.0\"]", "sources[0].addresses[0]"),
        ("[[sources]]\nname = \"a\"\ncertificate = \"zz\"", "sources[0].certificate"),
        ("[[sources]]\nname = \"a\"\naddresses = [\"::1\"]\ndomains = [\"X\"]", "sources[0].domains"),
        (
            "[[sources]]\nname = \"a\"\naddresses = [\"::1\"]\nfill_missing_authority = \"X\"",
            "sources[0].fill_missing_authority",
        ),
        ("[policy.answers]\ntefca = [\"T-TRETMNT\"]", "policy.answers.tefca[0]"),
        ("[[audit.collectors]]\naddress = \"a\"\nnetwork = \"x\"", "audit.collectors[0].address"),
        ("[[audit.collectors]]\naddress = \"a:6514\"", "audit.collectors[0].network"),
        ("[limits]\nrequests = 0", "limits.requests"),
        ("[limits]\nclock_skew_seconds = 90000", "limits.clock_skew_seconds"),
        ("[matching]\nrelease = 0.4", "matching.release"),
        ("[matching]\ncorrelation_days = 366", "matching.correlation_days"),
        ("[initiator]\npurpose = \"treatment\"", "initiator.purpose"),
        ("[documents.on_demand]\ncommand = [\"make\"]", "documents.on_demand.command[0]"),
        ("[documents.on_demand]\nseconds = 0", "documents.on_demand.seconds"),
        ("[documents.external.repositories]\n\"x\" = \"a\"", "documents.external.repositories.x"),
        ("[log]\nlevel = \"loud\"", "log.level"),
    ] {
        assert_eq!(keys(&format!("{MINIMAL}\n{more}\n")), [expected], "{more}");
    }
}

#[test]
fn a_community_that_is_a_hub_names_each_member_once() {
    for (home, good) in [("urn:oid:2.999.10.5", true), ("urn:oid:2.999.10", false)] {
        let text = format!("{MINIMAL}\n[[community.members]]\nname = \"x\"\nhome_community_id = \"{home}\"\n");
        assert_eq!(read(Path::new("a.toml"), &text, &Overrides::default()).is_ok(), good, "{home}");
    }
}

/// A folder with everything that a gateway needs, made at an instant.
struct Installation {
    folder: tempfile::TempDir,
    now: Timestamp,
    root: Authority,
}

impl Installation {
    fn new() -> Self {
        let now = Timestamp::from_millis(1_900_000_000_000);
        let folder = tempfile::tempdir().unwrap();
        let root = Authority::root("Invented Root", KeyKind::P256, Validity::days(now, 3650)).unwrap();
        let made = Self { folder, now, root };
        made.write("causeway.toml", MINIMAL);
        made.write("trust-store/carequality/root.pem", &made.root.pem());
        fs::create_dir_all(made.path("certificates")).unwrap();
        made.certify(&["gateway.lakeside.example.org"], 400);
        let partner = fs::read_to_string(examples().join("carequality/partners/east-hospital.toml")).unwrap();
        made.write("partners/east.toml", &partner);
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn certify(&self, hosts: &[&str], days: u32) {
        let leaf = self.root.leaf("gateway", hosts, KeyKind::P256, Validity::days(self.now, days)).unwrap();
        self.write("certificates/gateway.pem", &leaf.pem());
        self.write("certificates/gateway.key", &leaf.key_pem());
    }

    fn add(&self, name: &str, text: &str) {
        let before = fs::read_to_string(self.path(name)).unwrap();
        self.write(name, &format!("{before}\n{text}\n"));
    }

    fn check(&self) -> check::Report {
        check::run(&self.path("causeway.toml"), &Clock::fixed(self.now))
    }

    /// The report's one problem as text, and where it is.
    fn problem(&self) -> String {
        let report = self.check();
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        assert!(!report.problems[0].remedy.is_empty());
        report.problems[0].to_string()
    }
}

#[test]
fn a_complete_installation_has_nothing_to_mend() {
    let report = Installation::new().check();
    assert_eq!(report, check::Report::default());
    assert!(report.is_good());
}

#[test]
fn certificates_are_checked_before_a_partner_refuses_them() {
    for (hosts, days, later, told) in [
        (&["gateway.lakeside.example.org"][..], 400, 500, "has expired"),
        (&["*.lakeside.example.org"], 400, 0, ""),
        (&["lakeside.example.org"], 400, 0, "does not name gateway.lakeside.example.org"),
        (&["*.example.org"], 400, 0, "does not name gateway.lakeside.example.org"),
    ] {
        let mut made = Installation::new();
        made.certify(hosts, days);
        made.now = made.now.plus(Duration::from_secs(later * 86_400));
        let problems = made.check().problems;
        assert_eq!(problems.is_empty(), told.is_empty(), "{hosts:?}: {problems:?}");
        assert!(problems.iter().all(|problem| problem.key == "tls.certificate"), "{problems:?}");
        assert!(told.is_empty() || problems.iter().any(|problem| problem.text.contains(told)), "{problems:?}");
    }
}

#[test]
fn a_certificate_that_ends_soon_is_a_note() {
    for (days, noted) in [(91, false), (89, true), (1, true)] {
        let made = Installation::new();
        made.certify(&["gateway.lakeside.example.org"], days);
        let report = made.check();
        assert!(report.is_good(), "{report:?}");
        assert_eq!(report.notes.iter().any(|note| note.text.contains(&format!("expires in {days} days"))), noted);
    }
}

#[test]
fn keys_and_chains_that_do_not_fit_are_told() {
    let made = Installation::new();
    let other = made.root.leaf("other", &["x.example.org"], KeyKind::P256, Validity::days(made.now, 9)).unwrap();
    made.write("certificates/gateway.key", &other.key_pem());
    assert!(made.problem().contains("tls.key: does not belong to the certificate"));

    let made = Installation::new();
    fs::remove_file(made.path("certificates/gateway.key")).unwrap();
    assert!(made.problem().contains("gateway.key cannot be used"));

    let made = Installation::new();
    made.write("certificates/gateway.pem", "nothing");
    assert!(made.problem().contains("has no certificate in it"));

    let made = Installation::new();
    let stranger = Authority::root("Stranger", KeyKind::P256, Validity::days(made.now, 3650)).unwrap();
    made.write("trust-store/carequality/root.pem", &stranger.pem());
    let told = made.problem();
    assert!(told.contains("trusted by no network") && told.contains("CN=Invented Root"), "{told}");
}

#[test]
fn the_trust_store_is_read_and_each_partner_needs_its_network() {
    let made = Installation::new();
    made.write("trust-store/carequality/root.pem", "nothing");
    assert!(!made.check().is_good());

    let made = Installation::new();
    let partner = fs::read_to_string(made.path("partners/east.toml")).unwrap();
    made.write("partners/east.toml", &partner.replace("network = \"carequality\"", "network = \"tefca\""));
    let told = made.problem();
    assert!(told.contains("east.toml:4: network: no certificate is trusted for tefca"), "{told}");
}

#[test]
fn sha1_is_noted_while_it_is_accepted_and_a_problem_when_it_is_over() {
    for (until, problems, notes) in [("2031-01-01", 0, 1), ("2029-01-01", 1, 0)] {
        let made = Installation::new();
        made.add("partners/east.toml", &format!("allow_sha1_until = \"{until}\""));
        let report = made.check();
        assert_eq!((report.problems.len(), report.notes.len()), (problems, notes), "{until}: {report:?}");
    }
}

#[test]
fn partners_that_contradict_each_other_or_us_are_told() {
    let made = Installation::new();
    let east = fs::read_to_string(made.path("partners/east.toml")).unwrap();
    made.write("partners/twin.toml", &east);
    let told = made.problem();
    assert!(told.contains("2.999.40 is also the community of east"), "{told}");
    assert!(told.contains("twin.toml:6: home_community_id"), "{told}");

    made.write("partners/twin.toml", &east.replace("2.999.40\"", "2.999.10\""));
    assert!(made.problem().contains("is our own community"));

    let member = "[[members]]\nhome_community_id = \"urn:oid:2.999.44\"\n";
    made.add("partners/east.toml", member);
    made.write("partners/twin.toml", &format!("{}\n{member}", east.replace("2.999.40\"", "2.999.41\"")));
    let report = made.check();
    assert!(report.is_good(), "{report:?}");
    assert!(report.notes[0].text.contains("is also a member of east"), "{report:?}");
}

#[test]
fn purposes_of_other_code_systems_are_noted() {
    let made = Installation::new();
    let east = fs::read_to_string(made.path("partners/east.toml")).unwrap();
    made.write("partners/east.toml", &format!("purposes_allowed = [\"TREAT|2.16.840.1.113883.5.8\"]\n{east}"));
    let report = made.check();
    assert!(report.is_good() && report.notes.len() == 1, "{report:?}");
}

#[test]
fn collectors_that_nobody_finds_are_told() {
    let made = Installation::new();
    let collector = "[[audit.collectors]]\nnetwork = \"carequality\"\naddress = ";
    made.add("causeway.toml", &format!("{collector}\"127.0.0.1:6514\""));
    assert!(made.check().is_good());
    made.add("causeway.toml", &format!("{collector}\"collector.invalid:6514\""));
    assert!(made.problem().contains("audit.collectors[1].address: collector.invalid is not found by name"));
}

/// Destinations, each with what is wrong: all is told at once, each with its place.
#[test]
fn destinations_that_deliveries_cannot_reach_are_told() {
    let made = Installation::new();
    made.write("occupied", "");
    let east = fs::read_to_string(made.path("partners/east.toml")).unwrap();
    for (name, home, urls) in [
        ("silent", "2.999.41", "iti-55 = \"https://localhost/xcpd\""),
        ("told", "2.999.42", "iti-46 = \"https://localhost/pix\""),
    ] {
        let text = east.replace("2.999.40\"", &format!("{home}\""));
        let (before, _) = text.split_once("[urls]").unwrap();
        made.write(&format!("partners/{name}.toml"), &format!("{before}[urls]\n{urls}\n"));
    }
    made.add(
        "causeway.toml",
        "[initiator]\nuser = \"x@y.example.org\"\npurpose = \"TREATMENT\"\n\
         [[recipients]]\nname = \"a\"\ndefault = true\ninbox = \"occupied\"\n\
         [[recipients]]\nname = \"b\"\norganizations = [\"2.999.1\"]\npartner = \"nobody\"\n\
         [[recipients]]\nname = \"c\"\norganizations = [\"2.999.1\"]\npartner = \"silent\"\n\
         [[recipients]]\nname = \"d\"\norganizations = [\"2.999.1\"]\nfhir = \"https://archive.invalid/r4\"\nnetwork = \"local\"\n\
         [[recipients]]\nname = \"e\"\norganizations = [\"2.999.1\"]\ninbox = \"inbox/e\"\n\
         [[recipients]]\nname = \"f\"\norganizations = [\"2.999.1\"]\nfhir = \"https://127.0.0.1/r4\"\nnetwork = \"carequality\"\n\
         [[subscribers]]\nname = \"g\"\ndomains = [\"LAKESIDE\"]\naddress = \"ehr.invalid:2575\"\nnetwork = \"local\"\n\
         application = \"E\"\nfacility = \"F\"\n\
         [[subscribers]]\nname = \"h\"\ndomains = [\"LAKESIDE\"]\npartner = \"silent\"\n\
         [[subscribers]]\nname = \"i\"\ndomains = [\"LAKESIDE\"]\npartner = \"told\"\npurpose = \"MARKETING\"\n",
    );
    let problems = made.check().problems;
    assert!(problems.iter().all(|one| one.line.is_some() && !one.remedy.is_empty()), "{problems:?}");
    let told: Vec<_> = problems.iter().map(|one| (one.key.as_str(), one.text.as_str())).collect();
    let expected = [
        ("recipients[0].inbox", format!("{} is not a folder", made.path("occupied").display())),
        ("recipients[1].partner", "there is no partner nobody".into()),
        ("recipients[2].partner", "the partner silent has no address for ITI-41".into()),
        ("recipients[3].fhir", "archive.invalid is not found by name".into()),
        ("recipients[3].network", "no certificate is trusted for local".into()),
        ("subscribers[0].address", "ehr.invalid is not found by name".into()),
        ("subscribers[0].network", "no certificate is trusted for local".into()),
        ("subscribers[1].partner", "the partner silent has no address for ITI-46".into()),
        ("subscribers[2].purpose", "told does not answer requests for MARKETING".into()),
    ];
    assert_eq!(told, expected.iter().map(|(key, text)| (*key, text.as_str())).collect::<Vec<_>>());
    assert!(!made.path("inbox").exists(), "a check makes nothing");
}

#[test]
fn a_clock_that_is_behind_is_told() {
    let mut made = Installation::new();
    made.now = Timestamp::from_millis(1_000_000_000_000);
    let problems = made.check().problems;
    assert!(problems.iter().any(|problem| problem.text.contains("before this program was made")), "{problems:?}");
    // 2026-01-02: the files of the test are younger.
    made.now = Timestamp::from_rfc3339("2026-01-02T00:00:00Z").unwrap();
    let problems = made.check().problems;
    assert!(problems.iter().any(|problem| problem.text.contains("a file was written at")), "{problems:?}");
}

#[test]
fn a_store_that_cannot_be_written_is_told() {
    let made = Installation::new();
    // A file stands where the folder should be.
    made.write("occupied", "");
    let text = MINIMAL.replace("[listen]", "[store]\nfolder = \"occupied\"\n\n[listen]");
    made.write("causeway.toml", &text);
    assert!(made.problem().contains("store.folder"));
}

#[test]
fn a_file_that_does_not_exist_is_told() {
    let report = check::run(Path::new("absent/causeway.toml"), &Clock::fixed(Timestamp::from_millis(0)));
    assert!(report.problems[0].text.contains("cannot be read"));
}

#[test]
fn the_store_is_looked_at_unless_a_gateway_has_it_open() {
    let made = Installation::new();
    let settings = crate::storage::engine::Settings::default();
    let store = crate::storage::engine::Engine::open(&made.path("data"), &settings).unwrap();
    let report = made.check();
    assert!(report.is_good(), "{:?}", report.problems);
    assert!(report.notes.iter().any(|note| note.text.contains("in use by a gateway")), "{:?}", report.notes);
    drop(store);
    assert_eq!(made.check(), check::Report::default());
}

#[test]
fn what_expires_soon_is_said_while_the_gateway_runs() {
    let made = Installation::new();
    made.certify(&["gateway.lakeside.example.org"], 29);
    let settings = read(&made.path("causeway.toml"), MINIMAL, &Overrides::default()).unwrap();
    let trust = crate::trust::Trust::open(&settings.trust.folder, std::collections::BTreeMap::new()).unwrap();
    for (days, later, told) in
        [(30, 0, Some("expires in 29 days")), (29, 0, None), (30, 30, Some("has expired")), (1, 0, None)]
    {
        let now = made.now.plus(Duration::from_secs(later * 86_400));
        let warnings = check::expiring(&settings, &trust, now, days);
        assert_eq!(warnings.len(), usize::from(told.is_some()), "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains(told.unwrap_or_default())), "{warnings:?}");
    }
}

/// What proves a client, what it may do and why it asks: each is said, or the entry is refused.
#[test]
fn fhir_clients_say_who_they_are_and_what_they_may_do() {
    let client = |text: &str| format!("{MINIMAL}\n[[fhir_clients]]\nname = \"app\"\n{text}\n");
    let fingerprint = "ab".repeat(32);
    let certificate = format!("certificate = \"{fingerprint}\"");
    let named = "network = \"local\"\ncertificate_name = \"App.Example.org\"";
    for (more, expected) in [
        ("purpose = \"TREATMENT\"\nfind_patients = true".to_owned(), vec!["fhir_clients[0].certificate"]),
        (
            format!("{certificate}\n{named}\npurpose = \"TREATMENT\"\nfind_patients = true"),
            vec!["fhir_clients[0].certificate"],
        ),
        (
            "network = \"local\"\npurpose = \"TREATMENT\"\nfind_patients = true".to_owned(),
            vec!["fhir_clients[0].certificate"],
        ),
        (format!("{certificate}\nfind_patients = true"), vec!["fhir_clients[0].purpose"]),
        (format!("{certificate}\npurpose = \"nonsense\"\nfind_patients = true"), vec!["fhir_clients[0].purpose"]),
        (format!("{certificate}\npurpose = \"TREATMENT\""), vec!["fhir_clients[0]"]),
        (format!("{certificate}\npurpose = \"TREATMENT\"\nfeed = [\"NOWHERE\"]"), vec!["fhir_clients[0].feed"]),
        (
            format!(
                "{named}\npurpose = \"TREATMENT\"\nfind_patients = true\n[[fhir_clients]]\nname = \"app\"\n\
                 {}\npurpose = \"TREATMENT\"\nfind_patients = true",
                named.to_lowercase()
            ),
            vec!["fhir_clients[1]", "fhir_clients[1].name"],
        ),
    ] {
        assert_eq!(keys(&client(&more)), expected, "{more}");
    }
    let good = client(&format!("{named}\npurposes = [\"OPERATIONS\"]\nfeed = [\"LAKESIDE\"]"));
    let settings = read(Path::new("causeway.toml"), &good, &Overrides::default()).unwrap();
    let client = &settings.clients[0];
    let proof =
        crate::authenticate::ClientProof::Name { network: "local".parse().unwrap(), name: "app.example.org".into() };
    assert_eq!((&client.proof, client.feeds.len(), client.finds_patients), (&proof, 1, false));
}

/// The keys that a source file reads: table (`None` outside of any), key.
fn keys_read(source: &str) -> Vec<(Option<String>, String)> {
    let (mut found, mut tables, mut inside) = (Vec::new(), Vec::new(), None);
    let (mut doc, mut strict, mut kebab, mut renamed) = (String::new(), false, false, None);
    for line in source.lines() {
        if let (Some(text), None) = (line.strip_prefix("/// "), &inside) {
            doc = if doc.is_empty() { text.to_owned() } else { doc };
        } else if line.starts_with("#[serde(deny_unknown_fields") {
            (strict, kebab) = (true, line.contains("kebab-case"));
        } else if line.starts_with("pub struct ") && strict {
            let named = doc.split('`').skip(1).step_by(2).filter(|name| name.starts_with('['));
            tables = named.map(|name| name.trim_matches(['[', ']']).to_owned()).collect();
            inside = Some(tables.is_empty());
        } else if line == "}" {
            (inside, strict) = (None, false);
            doc.clear();
        } else if let Some(rename) = line.trim().strip_prefix("#[serde(rename = \"") {
            renamed = rename.split('"').next().map(str::to_owned);
        } else if let (Some(root), Some(field)) = (inside, line.strip_prefix("    pub ")) {
            let name = field.split(':').next().unwrap();
            let key = renamed.take().unwrap_or_else(|| if kebab { name.replace('_', "-") } else { name.to_owned() });
            let tables = tables.iter().cloned().map(Some);
            found.extend(tables.chain(root.then_some(None)).map(|table| (table, key.clone())));
        }
    }
    found
}

/// The keys that the examples show, those in comments too: table, key. A table is a key of the one that it is in.
fn keys_shown(partners: bool) -> Vec<(Option<String>, String)> {
    let mut found = Vec::new();
    for (_, text, _) in each_example()
        .into_iter()
        .filter(|(path, _, partner)| *partner == partners && !path.ends_with("value-sets.toml"))
    {
        let mut table: Option<String> = None;
        for line in text.lines().map(|line| line.trim_start_matches("# ")) {
            if line.starts_with('[') {
                let name = line.split(']').next().unwrap().trim_start_matches('[').to_owned();
                let mut outer: Option<String> = None;
                for part in name.split('.') {
                    found.push((outer.clone(), part.to_owned()));
                    outer = Some(outer.map_or_else(|| part.to_owned(), |outer| format!("{outer}.{part}")));
                }
                table = outer;
            } else if let Some((key, _)) = line.split_once(" = ") {
                found.push((table.clone(), key.to_owned()));
            }
        }
    }
    // What is said of one network is said of all.
    for (table, _) in &mut found {
        if table.as_deref().is_some_and(|table| table.starts_with("trust.networks.")) {
            *table = Some("trust.networks.<name>".into());
        }
    }
    found
}

#[test]
fn every_key_that_is_read_is_shown_in_an_example() {
    let own = [include_str!("file.rs")];
    let partner = [include_str!("../directory/partner.rs"), include_str!("../directory/quirks.rs")];
    for (sources, partners, least) in [(&own[..], false, 100), (&partner[..], true, 50)] {
        let read: Vec<_> = sources.iter().flat_map(|source| keys_read(source)).collect();
        assert!(read.len() >= least, "{read:?}");
        let shown = keys_shown(partners);
        let missing: Vec<_> = read.iter().filter(|key| !shown.contains(key)).collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }
}
