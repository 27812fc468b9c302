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

/// A message of the corpus with the test suite's `$variables$` filled in, and its ebXML 2.1 templates turned into the
/// ebXML 3.0 that the suite's own tool sends.
pub fn filled_in(path: &str) -> String {
    let text = String::from_utf8(corpus(path).expect("the manifest was found, so the corpus is")).expect("text");
    let mut filled = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('$') {
        let name_length = rest[at + 1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(0);
        let end = at + 1 + name_length;
        filled.push_str(&rest[..at]);
        if name_length > 0 && rest[end..].starts_with('$') {
            filled.push_str(&plausible(&rest[at + 1..end].to_ascii_lowercase()));
            rest = &rest[end + 1..];
        } else {
            filled.push('$');
            rest = &rest[at + 1..];
        }
    }
    filled.push_str(rest);
    let filled = filled.replace("home=\"$home\"", "home=\"urn:oid:2.999.1\"");
    // The suite's tool puts its own patient and unique ids into the templates.
    let template = path.contains("nist-") && !path.contains("msgval");
    if !template {
        return filled;
    }
    let current = filled
        .replace("urn:oasis:names:tc:ebxml-regrep:rim:xsd:2.1", "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0")
        .replace("urn:oasis:names:tc:ebxml-regrep:registry:xsd:2.1", "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0")
        .replace("LeafRegistryObjectList", "RegistryObjectList");
    each_tag(&current, "ExternalIdentifier ", |tag, at| {
        let patient = ["58a6f841", "6b5aea1a", "f64ffdf0"].iter().any(|scheme| tag.contains(scheme));
        let unique = ["2e82c1f6", "96fdda7c", "75df8f67"].iter().any(|scheme| tag.contains(scheme));
        let value = match (patient, unique) {
            (true, _) => "P1^^^&amp;2.999.1.3&amp;ISO".to_owned(),
            (_, true) => format!("2.999.9.{at}"),
            _ => return tag.to_owned(),
        };
        let (before, rest) = tag.split_once("value=\"").expect("a value");
        let (_, after) = rest.split_once('"').expect("a closed value");
        format!("{before}value=\"{value}\"{after}")
    })
}

/// Rewrites what stands between an element's name and the end of its tag.
fn each_tag(text: &str, start: &str, rewrite: impl Fn(&str, usize) -> String) -> String {
    let mut pieces = text.split(start);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for (at, piece) in pieces.enumerate() {
        let end = piece.find('>').unwrap_or(piece.len());
        out.push_str(start);
        out.push_str(&rewrite(&piece[..end], at));
        out.push_str(&piece[end..]);
    }
    out
}

fn plausible(variable: &str) -> String {
    let number: u32 = variable.bytes().map(u32::from).sum();
    if variable.contains("pid") || variable.contains("patient") {
        format!("P{number}^^^&amp;2.999.1.3&amp;ISO")
    } else if variable.contains("home") {
        "urn:oid:2.999.1".into()
    } else if ["uuid", "lid", "doc", "fol", "assoc"].iter().any(|part| variable.contains(part)) {
        format!("urn:uuid:00000000-0000-4000-8000-{number:012}")
    } else {
        format!("2.999.9.{number}")
    }
}
