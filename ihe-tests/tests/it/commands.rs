//! The command line as somebody meets it who types it for the first time: what is refused says what is wrong and what there
//! is to choose from, for people on standard error and for scripts in JSON.

use ihe_tests::harness::Ground;
use serde_json::Value;

use crate::served::{printed, program, run};

const USER: [&str; 2] = ["--user", "ada@example.org"];
const PURPOSE: [&str; 2] = ["--purpose", "TREATMENT"];

fn ground() -> Ground {
    let ground = Ground::new();
    ground.configure(
        "[[domains]]\nnamespace = \"NORTH\"\noid = \"2.999.60.1\"\n[[domains]]\nnamespace = \"WEST\"\noid = \"2.999.60.2\"\n",
    );
    ground
}

#[test]
fn refusals_say_what_is_wrong_and_what_there_is_to_choose_from() {
    let ground = ground();
    let config = ground.at("causeway.toml");
    let described = ["--family", "Doe", "--given", "Jane", "--birth", "1980-12-01"];
    for (arguments, reasons) in [
        (
            [&["discover", "--patient", "P1"][..], &USER, &PURPOSE].concat(),
            ["names no assigning authority", "ID^^^NAMESPACE", "(NORTH, WEST)"],
        ),
        (
            [&["query", "--patient", "P1^^^SOUTH"][..], &USER, &PURPOSE].concat(),
            ["not known here", "ID^^^&OID&ISO", "(NORTH, WEST)"],
        ),
        ([&["fetch"][..], &described, &USER].concat(), ["wanted for", "--purpose", "initiator.purpose"]),
        ([&["fetch"][..], &described, &PURPOSE].concat(), ["user", "--user", "initiator.user"]),
        (
            [&["discover", "--partner", "nobody"][..], &described, &USER, &PURPOSE].concat(),
            ["no partner named nobody", "the directory has", "partner"],
        ),
        ([&["documents", "list", "--patient", "P1^^^NORTH"][..], &USER].concat(), ["patient", "not known", "here"]),
        (vec!["trace", "show", "01a204b554df7245bccc63e276e9a9ff"], ["no such exchange", "trace list", "latest"]),
        ([&["deliveries", "show", "99"][..], &USER].concat(), ["no", "delivery", "number"]),
    ] {
        let asked =
            |more: &[&str]| program().args(&arguments).arg("--config").arg(&config).args(more).output().unwrap();
        let output = asked(&[]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(output.stdout.is_empty() && told.starts_with("error: "), "{arguments:?}: {told}");
        assert!(reasons.iter().all(|reason| told.contains(reason)), "{arguments:?}: {told}");
        let output = asked(&["--json"]);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &told["result"]), (Some(1), &Value::from("failed")), "{arguments:?}");
        assert!(reasons.iter().all(|reason| told["value"].as_str().unwrap().contains(reason)), "{told}");
    }
}

#[test]
fn a_gateway_where_nothing_has_happened_yet_says_so_in_both_forms() {
    let ground = ground();
    let config = ground.at("causeway.toml");
    for (arguments, expected) in [
        (&["trace", "list"][..], "no exchanges yet"),
        (&["patients", "imports"], "0 imports"),
        (&["patients", "review", "list", "--user", "ada@example.org"], "no pair waits"),
        (&["check", "--syntax-only"], "0 problems, 0 notes"),
    ] {
        let config = ["--config", config.to_str().unwrap()];
        let output = run(&[arguments, &config].concat());
        let told = printed(&output);
        assert!(output.status.success() && told.contains(expected), "{arguments:?}: {told}");
        let output = run(&[arguments, &config, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", printed(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap();
    }
}

#[test]
fn help_tells_every_command_and_what_an_exit_code_means() {
    let help = printed(&run(&["--help"]));
    assert!(help.contains("Exit codes: 0 done"), "{help}");
    let commands = |help: &str| -> Vec<String> {
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        listed.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    };
    let (mut open, mut seen) = (vec![Vec::<String>::new()], 0);
    while let Some(path) = open.pop() {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let output = run(&[&path, &["--help"][..]].concat());
        let help = printed(&output);
        assert!(output.status.success(), "{path:?}: {help}");
        // What a command and each of its arguments is for stands beside it.
        let options = help.lines().skip_while(|line| !line.starts_with("Arguments:") && *line != "Options:");
        let mut options = options.skip(1).filter(|line| !line.trim().is_empty()).peekable();
        while let Some(line) = options.next() {
            let is_told = line.trim().split("  ").filter(|part| !part.trim().is_empty()).count() > 1
                || options.peek().is_some_and(|next| next.starts_with("          "));
            let begins = line.trim_start().starts_with(['-', '<', '[']) && line.len() - line.trim_start().len() <= 6;
            assert!(!begins || is_told, "{path:?}: {line}");
        }
        seen += 1;
        open.extend(
            commands(&help)
                .into_iter()
                .filter(|name| name != "help")
                .map(|name| path.iter().map(|part| (*part).to_owned()).chain([name]).collect()),
        );
    }
    assert!(seen > 35, "{seen} commands");
}
