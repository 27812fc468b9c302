//! Our canonical form against that of bergshamra, which xmlsec and others were compared with.

use bergshamra_c14n::{C14nMode, canonicalize_doc};
use bergshamra_xml::NodeSet;
use proptest::prelude::*;

use crate::testing;
use crate::xml::{Element, Limits, decode_text, parse};

fn of_bergshamra(
    element: Element<'_>,
    without: Option<Element<'_>>,
    comments: bool,
    inclusive_prefixes: &[&str],
) -> Vec<u8> {
    let (document, node) = (element.document, element.node);
    let (mut nodes, mode) = match comments {
        true => (NodeSet::tree_with_comments(node, document), C14nMode::ExclusiveWithComments),
        false => (NodeSet::tree_without_comments(node, document), C14nMode::Exclusive),
    };
    if let Some(left_out) = without {
        nodes = nodes.subtract(&NodeSet::tree_with_comments(left_out.node, document));
    }
    canonicalize_doc(document, mode, Some(&nodes), inclusive_prefixes).unwrap()
}

fn check(element: Element<'_>, without: Option<Element<'_>>, prefixes: &[&str]) {
    let ours = String::from_utf8(element.canonical(without, prefixes)).unwrap();
    assert_eq!(ours, String::from_utf8(of_bergshamra(element, without, false, prefixes)).unwrap());
    if without.is_none() {
        let ours = String::from_utf8(element.canonical_with_comments(prefixes)).unwrap();
        assert_eq!(ours, String::from_utf8(of_bergshamra(element, None, true, prefixes)).unwrap());
    }
}

fn check_document(text: &str, most_elements: usize) {
    let limits = Limits { depth: 200, ..Limits::default() };
    let Ok(tree) = parse(text, &limits) else { return };
    let root = tree.root().unwrap();
    let all: Vec<_> = std::iter::once(root).chain(root.descendants()).collect();
    for element in all.iter().step_by(all.len().div_ceil(most_elements).max(1)) {
        for prefixes in [&[][..], &["a", "ds", "xs", "nowhere"], &["#default", "b"]] {
            check(*element, None, prefixes);
        }
        if let Some(child) = element.children().last() {
            check(*element, Some(child), &[]);
            check(*element, child.descendants().last(), &["#default"]);
        }
    }
}

/// Draws a document from choices: nested declarations of few prefixes and few names, so that they often collide.
struct Draw<'c> {
    choices: std::slice::Iter<'c, u8>,
    text: String,
}

impl Draw<'_> {
    fn choose(&mut self, bound: u8) -> u8 {
        self.choices.next().map_or(0, |choice| choice % bound)
    }

    fn element(&mut self, scope: &[&'static str], depth: u8) {
        const PREFIXES: [&str; 3] = ["a", "b", "ds"];
        const NAMES: [&str; 3] = ["u:1", "u:2", "u:&amp;&#9;"];
        const TEXTS: [&str; 6] = ["", "x", "&lt;&amp;&gt;\"'", "é\n", "a&#13;b\t", "]]&gt;"];
        let mut scope = scope.to_vec();
        let mut declarations = String::new();
        for prefix in PREFIXES {
            if self.choose(3) == 1 {
                let name = NAMES[usize::from(self.choose(3))];
                declarations.push_str(&format!(" xmlns:{prefix}=\"{name}\""));
                scope.push(prefix);
            }
        }
        match self.choose(5) {
            1 => declarations.push_str(" xmlns='u:1'"),
            2 => declarations.push_str(" xmlns='u:2'"),
            3 => declarations.push_str(" xmlns=''"),
            _ => {}
        }
        let mut names = Vec::new();
        for _ in 0..self.choose(4) {
            let local = ["one", "two", "three"][usize::from(self.choose(3))];
            let prefix = scope.get(usize::from(self.choose(4))).copied();
            // One local name once, so that two prefixes of one namespace cannot make two equal attributes.
            if !names.contains(&local) {
                names.push(local);
                let value = TEXTS[usize::from(self.choose(6))].replace('"', "&quot;");
                let colon = prefix.map(|prefix| format!("{prefix}:")).unwrap_or_default();
                declarations.push_str(&format!(" {colon}{local}=\"{value}\""));
            }
        }
        if self.choose(9) == 1 {
            declarations.push_str(" xml:lang='en'");
        }
        let prefix = scope.get(usize::from(self.choose(5))).map(|prefix| format!("{prefix}:")).unwrap_or_default();
        self.text.push_str(&format!("<{prefix}e{declarations}>"));
        for _ in 0..self.choose(5) {
            match self.choose(8) {
                0..4 if depth < 6 => self.element(&scope, depth + 1),
                4 => self.text.push_str("<!-- c -->"),
                5 => self.text.push_str("<?pi some data?><?empty?>"),
                6 => self.text.push_str("<![CDATA[<&>\r\n]]>"),
                _ => {
                    let text = TEXTS[usize::from(self.choose(6))];
                    self.text.push_str(text);
                }
            }
        }
        self.text.push_str(&format!("</{prefix}e>"));
    }
}

proptest! {
    #[test]
    fn any_document_has_the_form_that_bergshamra_gives_it(choices in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut draw = Draw { choices: choices.iter(), text: String::new() };
        draw.element(&[], 0);
        parse(&draw.text, &Limits::default()).unwrap();
        check_document(&draw.text, 12);
    }
}

/// Section 2.2 and 3 of the recommendation: what is used is declared where it is used, once.
#[test]
fn the_form_is_that_of_the_recommendation() {
    for (text, path, prefixes, form) in [
        ("<n0:r xmlns:n0='u:0' xmlns:n1='u:1'><n1:e/></n0:r>", 1, &[][..], "<n1:e xmlns:n1=\"u:1\"></n1:e>"),
        ("<r xmlns='u:0'><e xmlns=''><f/></e></r>", 0, &[], "<r xmlns=\"u:0\"><e xmlns=\"\"><f></f></e></r>"),
        ("<r xmlns='u:0'><e xmlns=''/></r>", 1, &[], "<e></e>"),
        ("<r xmlns:a='u:a' xmlns:b='u:b'><e/></r>", 1, &["a"], "<e xmlns:a=\"u:a\"></e>"),
        ("<r xmlns='u:d'><a:e xmlns:a='u:a'/></r>", 1, &["#default"], "<a:e xmlns=\"u:d\" xmlns:a=\"u:a\"></a:e>"),
        (
            "<r xmlns:z='u:1' xmlns:y='u:2' y:b='1' z:c='2' z:a='3' d='4'/>",
            0,
            &[],
            "<r xmlns:y=\"u:2\" xmlns:z=\"u:1\" d=\"4\" z:a=\"3\" z:c=\"2\" y:b=\"1\"></r>",
        ),
        (
            "<r a='&#9;&#10;&#13;&lt;&gt;&quot;'>&gt;&#13;</r>",
            0,
            &[],
            "<r a=\"&#x9;&#xA;&#xD;&lt;>&quot;\">&gt;&#xD;</r>",
        ),
    ] {
        let tree = parse(text, &Limits::default()).unwrap();
        let root = tree.root().unwrap();
        let element = std::iter::once(root).chain(root.descendants()).nth(path).unwrap();
        assert_eq!(String::from_utf8(element.canonical(None, prefixes)).unwrap(), form, "{text}");
    }
}

/// Every XML document of the corpus, whatever it is: some thousand elements of each kind of message.
#[test]
fn the_corpus_has_the_form_that_bergshamra_gives_it() {
    let mut documents = 0;
    for row in testing::manifest("").iter().filter(|row| row[0].ends_with(".xml")) {
        let Some(bytes) = testing::corpus(&row[0]) else { return };
        let Ok(text) = decode_text(&bytes, None) else { continue };
        check_document(&text, 6);
        documents += 1;
    }
    assert!(documents > 50 || testing::shared().is_none(), "only {documents} documents of the corpus were read");
}
