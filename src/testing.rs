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
