//! What the integration tests share: gateways started in-process, test certificates, peers found on the machine.

pub mod load;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python interpreter for peers written in Python: `CAUSEWAY_PYTHON`, or `python3` of the path. The packages they
/// need are in `peers/requirements.txt`; a test whose package is absent says so and returns. None if there is no
/// interpreter.
pub fn python() -> Option<Command> {
    let interpreter = environment("CAUSEWAY_PYTHON").unwrap_or_else(|| "python3".to_owned());
    let runs = Command::new(&interpreter).arg("--version").output().is_ok_and(|output| output.status.success());
    runs.then(|| Command::new(interpreter))
}

/// Where the shared corpus is: `CAUSEWAY_SHARED`, or `shared` beside the checkout.
pub fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let named = environment("CAUSEWAY_SHARED").map(PathBuf::from);
    named.into_iter().chain([beside]).find(|path| path.join("corpus/MANIFEST.tsv").is_file())
}

fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "tests find their peers through the environment")]
    std::env::var(name).ok()
}
