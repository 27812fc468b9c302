//! What the integration tests share: gateways started in-process, test certificates, peers found on the machine.

pub mod harness;
pub mod load;
pub mod quality;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python interpreter for peers written in Python: `CAUSEWAY_PYTHON`, or `python3` of the path. The packages they
/// need are in `peers/requirements.txt`; a test whose package is absent says so by [`missing`] and returns. None, and
/// said already, if there is no interpreter.
pub fn python() -> Option<Command> {
    let interpreter = environment("CAUSEWAY_PYTHON").unwrap_or_else(|| "python3".to_owned());
    let runs = Command::new(&interpreter).arg("--version").output().is_ok_and(|output| output.status.success());
    if !runs {
        missing("there is no Python interpreter (set CAUSEWAY_PYTHON)");
    }
    runs.then(|| Command::new(interpreter))
}

/// Where packages for Node.js are: `CAUSEWAY_NODE_MODULES`, or nowhere in particular.
pub fn node_modules() -> PathBuf {
    environment("CAUSEWAY_NODE_MODULES").map(PathBuf::from).unwrap_or_default()
}

/// Where the shared corpus is: `CAUSEWAY_SHARED`, or `shared` beside the checkout. None, and said already, if it is
/// nowhere.
pub fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let named = environment("CAUSEWAY_SHARED").map(PathBuf::from);
    let found = named.into_iter().chain([beside]).find(|path| path.join("corpus/MANIFEST.tsv").is_file());
    if found.is_none() {
        // Unlike a program, it cannot be installed: its absence is never a failure.
        println!("skipped: the shared corpus is absent (set CAUSEWAY_SHARED)");
    }
    found
}

/// Says that a test does less for want of a program or a package. Where all of them must be there, which
/// `CAUSEWAY_PEERS_REQUIRED=1` says, the test fails instead.
#[expect(clippy::panic, reason = "failing the test is what it is for")]
pub fn missing(what: impl Display) {
    if environment("CAUSEWAY_PEERS_REQUIRED").as_deref() == Some("1") {
        panic!("{what}, and CAUSEWAY_PEERS_REQUIRED is set");
    }
    println!("skipped: {what}");
}

fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "tests find their peers through the environment")]
    std::env::var(name).ok()
}
