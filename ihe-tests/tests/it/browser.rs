//! The page of a clinical document in a real browser: documents that mean harm run nothing and call nobody there, and their
//! text is read. What the browser would do with the same harm unguarded is looked at first.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use causeway::cda::{self, header, view};

/// Someone on this machine whom a page calls that loads what it must not.
struct Canary {
    address: SocketAddr,
    called: Arc<Mutex<Vec<String>>>,
}

impl Canary {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let called: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = called.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                heard.lock().unwrap().push(request.lines().next().unwrap_or("a connection").to_owned());
                // Who calls may be gone already.
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self { address, called }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn called(&self) -> Vec<String> {
        std::mem::take(&mut self.called.lock().unwrap())
    }
}

/// The document that Chromium makes of a page, with all that its scripts have changed; none if it is not installed.
fn opened(folder: &Path, page: &str) -> Option<String> {
    if Command::new("chromium").arg("--version").output().is_err() {
        ihe_tests::missing("chromium is not installed");
        return None;
    }
    let file = folder.join("page.html");
    std::fs::write(&file, page).unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--no-proxy-server", "--timeout=20000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(["--dump-dom", &format!("file://{}", file.display())])
        .output()
        .unwrap();
    let document = String::from_utf8(output.stdout).unwrap();
    assert!(document.contains("</html>"), "{document}{}", String::from_utf8_lossy(&output.stderr));
    Some(document)
}

/// Whether a script left its mark.
fn ran(document: &str) -> bool {
    let start = document.find("<html").unwrap();
    document[start..].split('>').next().unwrap().contains("data-ran")
}

/// Everything in a narrative that loads or runs in a page of HTML.
const HARM: &str = r#"<paragraph>Words before the harm</paragraph>
<script>document.documentElement.setAttribute('data-ran', '1'); fetch('CANARY/script')</script>
<img src="CANARY/img" onerror="document.documentElement.setAttribute('data-ran', '2')"/>
<iframe src="CANARY/frame"></iframe><object data="CANARY/object"></object><embed src="CANARY/embed"/>
<link rel="stylesheet" href="CANARY/link"/><style>@import url('CANARY/style'); body{background:url('CANARY/body')}</style>
<svg xmlns="http://www.w3.org/2000/svg" onload="fetch('CANARY/onload')"><image href="CANARY/svg"/></svg>
<video src="CANARY/video" autoplay="autoplay"></video><audio src="CANARY/audio" autoplay="autoplay"></audio>
<table background="CANARY/table" styleCode="x;background:url(CANARY/code)"><tbody><tr><td>Words in a cell</td></tr></tbody></table>
<form action="CANARY/form"><input autofocus="autofocus" onfocus="fetch('CANARY/focus')"/></form>
<linkHtml href="javascript:fetch('CANARY/javascript')">Words of a link</linkHtml><linkHtml href="CANARY/href">more</linkHtml>
<renderMultiMedia referencedObject="m1"/><renderMultiMedia referencedObject="m2"/>
<content>&lt;script&gt;fetch('CANARY/escaped')&lt;/script&gt;</content>
<content><![CDATA[<img src="CANARY/cdata" onerror="fetch('CANARY/cdata')">]]></content>
<paragraph>Words after the harm</paragraph>"#;

/// What would lead a page elsewhere as a whole.
const LURE: &str = r#"<meta http-equiv="refresh" content="0;url=CANARY/refresh"/><base href="CANARY/base/"/>"#;

const SVG: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">
<script>fetch('CANARY/picture')</script><image xlink:href="CANARY/picture"/></svg>"#;

/// A clinical document with harm wherever text can be.
fn document(canary: &Canary, body: &str) -> String {
    let text = format!(
        r#"<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="CANARY/xsl"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<id root="2.999.7" extension="&quot;&gt;&lt;img src='CANARY/id'&gt;"/>
<code code="34133-9" codeSystem="2.16.840.1.113883.6.1" displayName="&lt;img src='CANARY/code'&gt;"/>
<title>&lt;/title&gt;&lt;script&gt;fetch('CANARY/title')&lt;/script&gt;Words of the title</title>
<effectiveTime value="20260115143000-0500"/><languageCode code="&quot;&gt;&lt;script src='CANARY/language'&gt;"/>
<recordTarget><patientRole><id root="2.999.1.3" extension="P1"/><telecom value="CANARY/telecom"/>
<patient><name><given>Ada</given><family>&lt;img src='CANARY/name'&gt;Okafor</family></name></patient></patientRole></recordTarget>
<component>{body}</component></ClinicalDocument>"#
    );
    text.replace("CANARY", &canary.url())
}

#[test]
fn documents_that_mean_harm_run_nothing_and_call_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let canary = Canary::start();
    let unguarded = format!("<!DOCTYPE html><html><body>{HARM}</body></html>").replace("CANARY", &canary.url());
    let Some(found) = opened(folder.path(), &unguarded) else { return };
    let called = canary.called();
    assert!(ran(&found) && found.contains("Words after the harm"), "{found}");
    for place in ["/script", "/img", "/frame", "/link", "/body"] {
        assert!(called.iter().any(|line| line.contains(place)), "{place}: {called:?}");
    }

    let picture = STANDARD.encode(SVG.replace("CANARY", &canary.url()));
    let structured = format!(
        "<structuredBody><component><section><title>Section</title><text>{HARM}{LURE}</text>\
         <entry><observationMedia ID=\"m1\"><value mediaType=\"image/png\"><reference value=\"CANARY/media\"/></value>\
         </observationMedia></entry><entry><observationMedia ID=\"m2\">\
         <value mediaType=\"image/svg+xml\" representation=\"B64\">{picture}</value></observationMedia></entry>\
         </section></component></structuredBody>"
    );
    let file = |media_type: &str| {
        let content = STANDARD.encode(&unguarded);
        format!("<nonXMLBody><text mediaType=\"{media_type}\" representation=\"B64\">{content}</text></nonXMLBody>")
    };
    let reference =
        "<nonXMLBody><text mediaType=\"text/html\"><reference value=\"CANARY/reference\"/></text></nonXMLBody>";
    for (story, body, words) in [
        ("a narrative", structured, &["Words before the harm", "Words in a cell", "Words of a link"][..]),
        ("a page inside", file("text/html"), &[]),
        ("a page that says it is text", file("text/plain"), &["Words after the harm"]),
        ("a page elsewhere", reference.to_owned(), &[]),
    ] {
        let page = view::html(document(&canary, &body).as_bytes(), &cda::Limits::default()).unwrap();
        let found = opened(folder.path(), &page).unwrap();
        assert!(!ran(&found) && !found.to_ascii_lowercase().contains("<script"), "{story}: {found}");
        assert_eq!(canary.called(), [] as [&str; 0], "{story}");
        for words in words.iter().chain(&["Words of the title", "Okafor"]) {
            assert!(found.contains(words), "{story}: {words}: {found}");
        }
    }
}

#[test]
fn documents_of_others_are_read_in_a_browser() {
    let Some(shared) = ihe_tests::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["onc-170.315_b1_toc_amb_ccd_r21_sample1_v13.xml", "vitera-vitera_ccda_smart_sample.xml"] {
        let bytes = std::fs::read(shared.join("corpus/ccda").join(name)).unwrap();
        let limits = cda::Limits::default();
        let header = header::read(&bytes, &limits).unwrap();
        let Some(found) = opened(folder.path(), &view::html(&bytes, &limits).unwrap()) else { return };
        let (title, family) = (header.title.unwrap(), header.patient.names[0].family.clone());
        assert!(found.contains(&*title) && found.contains(family.as_str()), "{name}");
        assert!(found.contains("<table") && !found.contains("href="), "{name}");
    }
}
