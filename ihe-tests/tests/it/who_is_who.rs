//! `causeway patients find`, `show`, `link` and so on, typed at a terminal: what they print, what every dialect answers
//! afterwards, and what the audit trail says of whoever typed them, also where they were refused.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use causeway::app::{App, Running};
use causeway::atna::message::Message;
use causeway::atna::{Action, Content, Outcome};
use causeway::config;
use causeway::id::{Clock, PatientId, Tenant};
use causeway::operations::deed::Deed;
use causeway::pix::feed_v2::Event;
use causeway::pix::question::{Answer, Refusal};
use causeway::storage::identities::What;
use ihe_tests::harness::{Ground, Solo, Trail};
use ihe_tests::quality::town;
use serde_json::Value;

use crate::served::{printed, program, run};
use crate::three_dialects::{Dialect, System, add, check, found, gateway, north, west};

const OPS: &str = "ops@example.org";

/// Somebody at a terminal of a gateway.
struct Desk {
    config: PathBuf,
}

impl Desk {
    fn of(ground: &Ground) -> Self {
        Self { config: ground.at("causeway.toml") }
    }

    fn command(&self, line: &str, user: &str) -> Vec<String> {
        let words = line.split(' ').map(str::to_owned);
        let more = ["--config", self.config.to_str().unwrap(), "--user", user];
        words.chain(more.map(str::to_owned)).collect()
    }

    /// Types a command in somebody's name. Whether it succeeded, and what it printed.
    fn types_as(&self, user: &str, line: &str) -> (bool, String) {
        let command = self.command(line, user);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        // The gateway runs in this process too.
        let output = tokio::task::block_in_place(|| run(&command));
        (output.status.success(), printed(&output))
    }

    fn types(&self, line: &str) -> (bool, String) {
        self.types_as(OPS, line)
    }

    /// What a command says with `--json`.
    fn json(&self, line: &str) -> Value {
        let (_, said) = self.types(&format!("{line} --json"));
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{line}: {said}"))
    }
}

/// `110110 U success patients link N-1^^^&2.999.60.1&ISO`, with the user as the one who asked.
fn line(record: &Message) -> String {
    let asked = record.participants.iter().any(|one| one.user_id == OPS);
    assert!(asked, "{record:?}");
    let kind = record.types.first().map_or(record.id.code.as_str(), |kind| kind.code.as_str());
    let outcome = if record.outcome == Some(Outcome::Success) { "success" } else { "failure" };
    let object = &record.objects[0];
    assert_eq!(object.content, Content::Nothing);
    let (_, what) = &object.details[0];
    let about = object.id.as_deref().filter(|_| object.role == Some(1)).unwrap_or_default();
    let what = String::from_utf8_lossy(what);
    format!("{kind} {} {outcome} {what} {about}", record.action.unwrap().code()).trim_end().to_owned()
}

/// The records in the name of the user since the last look.
struct Watcher(usize);

impl Watcher {
    fn new_lines(&mut self, trail: Trail<'_>) -> Vec<String> {
        let all = trail.about(OPS);
        let new = all[self.0..].iter().map(line).collect();
        self.0 = all.len();
        new
    }
}

const N1: &str = "N1^^^&2.999.60.1&ISO";
const N2: &str = "N2^^^&2.999.60.1&ISO";
const W1: &str = "W1^^^&2.999.60.2&ISO";

/// Two of the north, one of the west. N1 and W1 look like one person, N2 is a stranger.
async fn populated() -> Solo {
    let solo = gateway().await;
    let system = System::of(&solo, false).await;
    for (id, given, birth) in
        [(north("N1"), "Ada", "19870312"), (north("N2"), "Cleo", "19590802"), (west("W1"), "Ada", "19870312")]
    {
        assert!(system.feed(Dialect::V2, Event::A04, add(&[id], given, birth)).await);
    }
    solo
}

/// What each prints, changes and leaves in the audit trail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patients_are_found_linked_unlinked_and_merged_in_a_users_name() {
    let solo = populated().await;
    let (desk, trail, mut watcher) = (Desk::of(&solo.ground), Trail::of(solo.gateway()), Watcher(0));
    let system = System::of(&solo, false).await;
    let read = |command: &str, ids: &[&str]| -> Vec<String> {
        ids.iter().map(|id| format!("110110 R success patients {command} {id}")).collect()
    };
    let updated = |command: &str| [N1, W1].map(|id| format!("110110 U success patients {command} {id}"));

    let (done, said) = desk.types("patients find --family Quillfeather --given Ada --birth 1987-03-12 --gender F");
    assert!(done && said.contains(N1) && said.contains(W1) && said.contains("1987-03-12"), "{said}");
    let lines = watcher.new_lines(trail);
    assert!(lines.contains(&read("find", &[N1])[0]) && lines.contains(&read("find", &[W1])[0]), "{lines:?}");
    assert_eq!(desk.types("patients find --family Nobody --given Such"), (true, "nobody\n".into()));
    assert_eq!(watcher.new_lines(trail), ["110132 E success patients find by ops@example.org"]);

    let (done, said) = desk.types(&format!("patients show {N1}"));
    assert!(done && said.contains("Quillfeather, Ada") && said.contains(N1) && !said.contains(W1), "{said}");
    assert_eq!(watcher.new_lines(trail), read("show", &[N1]));
    let (done, said) = desk.types(&format!("patients explain {N1} {W1}"));
    assert!(done && said.contains("all together") && !said.contains("Quillfeather"), "{said}");
    assert_eq!(watcher.new_lines(trail), read("explain", &[N1, W1]));

    // A link is there for whoever asks, in whatever dialect; a namespace does as well as an OID.
    assert_eq!(desk.types("patients link N1^^^NORTH W1^^^WEST"), (true, "done\n".into()));
    assert_eq!(watcher.new_lines(trail), updated("link"));
    let linked = [(north("N1"), Vec::new(), found(&[west("W1")])), (west("W1"), Vec::new(), found(&[north("N1")]))];
    check(&system, "linked", &linked).await;
    assert_eq!(desk.types(&format!("patients link {W1} {N1}")).1, "nothing to do: it was so already\n");
    assert_eq!(watcher.new_lines(trail).len(), 2);
    let shown = desk.json(&format!("patients show {W1}"));
    assert_eq!((&shown["result"], &shown["value"]["reply"]), (&"patients".into(), &"shown".into()));
    let patient = &shown["value"]["is"];
    assert_eq!(patient["records"].as_array().unwrap().len(), 2);
    assert_eq!((&patient["history"][0]["what"], &patient["history"][0]["by"]), (&"Linked".into(), &OPS.into()));

    assert_eq!(desk.types(&format!("patients unlink {N1} {W1}")), (true, "done\n".into()));
    check(&system, "unlinked", &linked.map(|(id, wanted, _)| (id, wanted, Answer::NothingFound))).await;
    let (_, said) = desk.types(&format!("patients show {W1}"));
    assert!(said.contains("unlinked by ops@example.org"), "{said}");
    watcher.new_lines(trail);

    // A merge: what was replaced is not known any more, and is shown with what replaced it.
    let merged = desk.json(&format!("patients merge {N1} {N2}"));
    assert_eq!(merged["value"], serde_json::json!({"reply": "changed", "is": true}));
    let lines = watcher.new_lines(trail);
    let expected = [("D", N2), ("U", N1)].map(|(action, id)| format!("110110 {action} success patients merge {id}"));
    assert_eq!(lines, expected);
    let unknown = Answer::Refused(Refusal::UnknownId);
    check(&system, "merged", &[(north("N2"), Vec::new(), unknown)]).await;
    let (_, said) = desk.types(&format!("patients show {N2}"));
    assert!(said.contains(&format!("{N2}  replaced by {N1}")) && said.contains("merged by ops@example.org"), "{said}");
}

/// Nothing is changed, the reason is printed, and somebody tried: that is recorded too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_refused_changes_nothing_and_is_recorded() {
    let solo = populated().await;
    let (desk, trail, mut watcher) = (Desk::of(&solo.ground), Trail::of(solo.gateway()), Watcher(0));
    let unknown = "the patient identifier is not known here";
    let failed = |action: &str, command: &str, id: &str| format!("110110 {action} failure patients {command} {id}");
    let about_none = |command: &str| vec![format!("110132 E failure patients {command} by {OPS}")];
    let n9 = "N9^^^&2.999.60.1&ISO";
    let cases: Vec<(String, &str, Vec<String>)> = vec![
        (format!("show {n9}"), unknown, vec![failed("R", "show", n9)]),
        (format!("link {N1} {n9}"), unknown, vec![failed("U", "link", N1), failed("U", "link", n9)]),
        (format!("unlink {n9} {N1}"), unknown, vec![failed("U", "unlink", n9), failed("U", "unlink", N1)]),
        (format!("explain {n9} {N1}"), unknown, vec![failed("R", "explain", n9), failed("R", "explain", N1)]),
        (
            format!("link {N1} {N1}"),
            "both patient identifiers are the same",
            vec![failed("U", "link", N1), failed("U", "link", N1)],
        ),
        (
            format!("merge {N1} {W1}"),
            "different assigning authorities",
            vec![failed("D", "merge", W1), failed("U", "merge", N1)],
        ),
        (format!("merge {n9} {N1}"), unknown, vec![failed("D", "merge", N1), failed("U", "merge", n9)]),
        // What cannot be read is not repeated in the trail.
        ("show Quillfeather".into(), "", about_none("show")),
        ("show ^^^NORTH".into(), "", about_none("show")),
        ("link N1^^^NORTH N1^^^&2.999.9&ISO".into(), "", about_none("link")),
        ("review show 7".into(), "there is no review of that number", about_none("review show")),
        ("review accept 7".into(), "there is no review of that number", about_none("review accept")),
        ("learn".into(), "3 records are too few to learn from", about_none("learn")),
    ];
    for (command, reason, expected) in cases {
        let (done, said) = desk.types(&format!("patients {command}"));
        assert!(!done && said.contains(reason) && !said.trim().is_empty(), "{command}: {said}");
        assert_eq!(watcher.new_lines(trail), expected, "{command}");
    }
    assert!(trail.about(OPS).iter().all(|record| !format!("{:?}", record.description).contains("Quillfeather")));
    // Without a name nothing happens at all.
    let (done, said) = desk.types_as(" ", &format!("patients link {N1} {W1}"));
    assert!(!done && said.contains("name the user who does this"), "{said}");
    let identities = &solo.gateway().identities;
    assert_eq!(identities.history(&Tenant::default(), 10).unwrap(), []);
    assert_eq!(solo.gateway().owed.all(&Tenant::default()).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(watcher.new_lines(trail), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_are_reviewed_in_a_users_name() {
    let solo = populated().await;
    let (desk, trail, mut watcher) = (Desk::of(&solo.ground), Trail::of(solo.gateway()), Watcher(0));
    let system = System::of(&solo, false).await;
    let both = |letter: &str, outcome: &str, command: &str| {
        [N1, W1].map(|id| format!("110110 {letter} {outcome} patients review {command} {id}"))
    };
    let (done, said) = desk.types("patients review find");
    assert!(done && said.contains("pairs found"), "{said}");
    assert_eq!(watcher.new_lines(trail), ["110132 E success patients review find by ops@example.org"]);
    let (_, said) = desk.types("patients review list");
    assert!(said.contains(&format!("{N1} and {W1}  waits")) && said.lines().count() == 1, "{said}");
    assert_eq!(watcher.new_lines(trail), both("R", "success", "list"));
    let (_, said) = desk.types("patients review show 1");
    assert!(said.contains("Quillfeather, Ada") && said.contains("all together"), "{said}");
    assert_eq!(watcher.new_lines(trail), both("R", "success", "show"));
    let (_, said) = desk.types("patients review later 1");
    assert!(said.contains("put off by ops@example.org"), "{said}");
    assert_eq!(watcher.new_lines(trail), both("U", "success", "later"));
    let decided = desk.json("patients review accept 1");
    assert_eq!((&decided["value"]["is"]["status"], &decided["value"]["is"]["by"]), (&"linked".into(), &OPS.into()));
    assert_eq!(watcher.new_lines(trail), both("U", "success", "accept"));
    check(&system, "accepted", &[(north("N1"), Vec::new(), found(&[west("W1")]))]).await;
    let (done, said) = desk.types("patients review reject 1");
    assert!(!done && said.contains("decided already"), "{said}");
    assert_eq!(watcher.new_lines(trail), both("U", "failure", "reject"));
    check(&system, "decided once", &[(north("N1"), Vec::new(), found(&[west("W1")]))]).await;
    assert_eq!(desk.types("patients review list").1, "no pair waits for a decision\n");
    assert_eq!(watcher.new_lines(trail), ["110132 E success patients review list by ops@example.org"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_matching_goes_by_is_learnt_shown_and_forgotten_in_a_users_name() {
    let solo = gateway().await;
    let (desk, trail, mut watcher) = (Desk::of(&solo.ground), Trail::of(solo.gateway()), Watcher(0));
    let (tenant, now) = (Tenant::default(), Clock::system().now());
    let rows = town::records(150);
    let feeds = rows.iter().map(|row| {
        let id = if row.source == "clinic" { north(&row.id) } else { west(&row.id) };
        solo.gateway().identities.feed(&tenant, vec![id], row.demographics(), now)
    });
    for fed in futures_util::future::join_all(feeds).await {
        fed.unwrap();
    }
    let one = |command: &str| [format!("110132 E success patients {command} by {OPS}")];
    let defaults = "the defaults: nothing has been learnt from the records\n";
    assert_eq!(desk.types("patients parameters"), (true, defaults.into()));
    assert_eq!(watcher.new_lines(trail), one("parameters"));
    let (done, said) = desk.types("patients learn");
    assert!(done && said.contains(&format!("from {} records", rows.len())) && said.contains("bits"), "{said}");
    assert_eq!(watcher.new_lines(trail), one("learn"));
    let shown = desk.json("patients parameters");
    assert_eq!(shown["value"]["is"]["records"], rows.len());
    assert_eq!(watcher.new_lines(trail), one("parameters"));
    assert_eq!(desk.types("patients learn --forget"), (true, "done\n".into()));
    assert_eq!(watcher.new_lines(trail), one("learn --forget"));
    assert_eq!(desk.types("patients learn --forget").1, "nothing to do: it was so already\n");
    assert_eq!(desk.types("patients parameters").1, defaults);
    assert_eq!(watcher.new_lines(trail).len(), 2);
    assert_eq!(solo.gateway().owed.all(&tenant).unwrap(), Vec::<Vec<u8>>::new(), "everything was paid");
}

/// Where no gateway serves, the command does it by itself; and what a crash left unrecorded is recorded at the next
/// start, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_cut_off_from_its_record_is_recorded_at_the_next_start() {
    let Solo { running, ground, .. } = populated().await;
    running.stop().await;
    let (desk, mut watcher) = (Desk::of(&ground), Watcher(0));
    let updated = |command: &str| [N1, W1].map(|id| format!("110110 U success patients {command} {id}"));
    assert_eq!(desk.types("patients link N1^^^NORTH W1^^^WEST"), (true, "done\n".into()));

    // The change of an unlink that got no further.
    let settings = config::load(&ground.at("causeway.toml")).unwrap();
    let app = App::open(settings, Clock::system()).unwrap();
    let deed = Deed::new(&app.gateway, OPS, "patients unlink").unwrap();
    let deed = [north("N1"), west("W1")].iter().fold(deed, |deed, id| deed.of(Action::Update, id));
    let owing = app.gateway.identities.in_the_name_of(OPS).owing(deed.debt().unwrap());
    assert!(owing.unlink(&Tenant::default(), north("N1"), west("W1"), deed.at()).await.unwrap());
    // What is refused owes nothing.
    owing.unlink(&Tenant::default(), north("N1"), north("N1"), deed.at()).await.unwrap_err();
    assert_eq!(app.gateway.owed.all(&Tenant::default()).unwrap().len(), 1);
    drop(owing);
    app.close().await;

    for start in 0..2 {
        let running: Running = ground.serve().await;
        let lines = watcher.new_lines(Trail::of(&running.gateway));
        let expected = if start == 0 { [updated("link"), updated("unlink")].concat() } else { Vec::new() };
        assert_eq!(lines, expected, "start {start}");
        assert_eq!(running.gateway.owed.all(&Tenant::default()).unwrap(), Vec::<Vec<u8>>::new());
        running.stop().await;
    }
}

/// Killed at any moment, a command leaves no change without its record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_is_without_its_record_when_commands_are_killed() {
    let Solo { running, ground, .. } = gateway().await;
    let (tenant, now) = (Tenant::default(), Clock::system().now());
    let of_round = |round: u64| [north(&format!("K{round}")), west(&format!("K{round}"))];
    const ROUNDS: u64 = 24;
    for id in (0..ROUNDS).flat_map(of_round) {
        running.gateway.identities.feed(&tenant, vec![id], Default::default(), now).await.unwrap();
    }
    running.stop().await;
    let desk = Desk::of(&ground);
    for round in 0..ROUNDS {
        let command = desk.command(&format!("patients link K{round}^^^NORTH K{round}^^^WEST"), OPS);
        let mut child = program().args(command).stdout(std::process::Stdio::null()).spawn().unwrap();
        // From before the store is open until after the answer.
        tokio::time::sleep(Duration::from_millis(15 + 9 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let running = ground.serve().await;
    let recorded: Vec<String> = Trail::of(&running.gateway).about(OPS).iter().map(line).collect();
    let history = running.gateway.identities.history(&tenant, 100).unwrap();
    for change in &history {
        assert_eq!((change.what, change.by.as_deref()), (What::Linked, Some(OPS)));
        for id in [&change.first, &change.second].map(PatientId::to_cx) {
            let expected = format!("110110 U success patients link {id}");
            assert!(recorded.contains(&expected), "{expected} is not among {recorded:?}");
        }
    }
    assert!(!history.is_empty(), "none of {ROUNDS} commands came that far");
    // One that was killed before its record was known to be there is recorded twice; none is that did not happen.
    let told: BTreeSet<&String> = recorded.iter().collect();
    assert_eq!(told.len(), 2 * history.len(), "{recorded:?}");
    running.stop().await;
}
