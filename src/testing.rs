//! What unit tests share.

use std::path::PathBuf;

/// Where the shared corpus is: `CAUSEWAY_SHARED`, or `../shared` beside the checkout.
pub fn shared() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a test finds the corpus through the environment")]
    let from_environment = std::env::var("CAUSEWAY_SHARED").ok().map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    from_environment.into_iter().chain([beside]).find(|path| path.join("corpus/MANIFEST.tsv").is_file())
}

/// The bytes of a corpus file, or none (said on the output) where the corpus is absent.
pub fn corpus(path: &str) -> Option<Vec<u8>> {
    let Some(shared) = shared() else {
        println!("skipped: the shared corpus is absent (set CAUSEWAY_SHARED), so {path} was not read");
        return None;
    };
    Some(std::fs::read(shared.join("corpus").join(path)).expect("a file of the corpus"))
}

/// The rows of the corpus manifest whose path starts with a folder, as columns.
pub fn manifest(folder: &str) -> Vec<Vec<String>> {
    let Some(bytes) = corpus("MANIFEST.tsv") else { return Vec::new() };
    let text = String::from_utf8(bytes).expect("the manifest is text");
    text.lines()
        .filter(|line| line.starts_with(folder))
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// Asserts that a document is valid by a schema of the corpus (`xds/rim.xsd`). Says so and does nothing where the
/// corpus or `xmllint` is absent.
pub fn validates(xml: &str, schema: &str) {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let Some(shared) = shared() else { return println!("skipped: the shared corpus is absent") };
    let path = shared.join("corpus/schema").join(schema);
    let xmllint = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema"])
        .arg(path)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = xmllint else { return println!("skipped: xmllint is not installed") };
    child.stdin.take().expect("a pipe").write_all(xml.as_bytes()).expect("xmllint reads");
    let output = child.wait_with_output().expect("xmllint ends");
    assert!(output.status.success(), "{}\n{xml}", String::from_utf8_lossy(&output.stderr));
}
