//! A clinical document as a page for people: its header and each section's narrative, and nothing that runs, fetches
//! or leads elsewhere. The page allows itself no more either: its own policy forbids scripts and connections.

use super::header::{Body, collapse};
use super::html::Html;
use super::narrative::{Narrator, decode_base64};
use super::{CdaError, Header, Limits};
use crate::hl7v3::datatype::{read_address, read_name, read_telecom};
use crate::hl7v3::{child, children, find};
use crate::id::{Address, Gender, PersonName};
use crate::xml::{self, Element, decode_text, ns};

/// What the page may do: show its own style and the images in it.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

const STYLE: &str = "body{font:16px/1.45 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:64rem;margin:0 auto;\
padding:1.5rem}h1{font-size:1.6rem;margin:0 0 .8rem}h2{font-size:1.25rem;margin:2rem 0 .5rem;padding-bottom:.2rem;\
border-bottom:2px solid #30557a}h3,h4,h5,h6{font-size:1.05rem;margin:1.2rem 0 .4rem}table{border-collapse:collapse;\
margin:.4rem 0}th,td{border:1px solid #b8c0c8;padding:.3rem .6rem;text-align:left;vertical-align:top}\
th{background:#eef2f6}.facts{width:100%;margin-bottom:1.5rem}.facts th{width:11rem;font-weight:600}\
.wide{overflow-x:auto}.paragraph{margin:.4rem 0}.caption,caption{font-weight:600;text-align:left;margin:.3rem 0}\
.note{color:#5a4a00;background:#fff8dc;padding:0 .3rem}.footnote{font-size:.9em;color:#444}.link{color:#444}\
.part{display:block}img{max-width:100%}pre{white-space:pre-wrap;font:inherit}del{color:#a00000}\
@media print{body{max-width:none;padding:0}}";

/// Shows a document as one HTML page that needs nothing else and is well-formed XML after its first line.
pub fn html(bytes: &[u8], limits: &Limits) -> Result<String, CdaError> {
    if bytes.len() > limits.document {
        return Err(CdaError::TooLong(limits.document));
    }
    let text = decode_text(bytes, None)?;
    // UTF-16 and ISO-8859-1 grow when they become UTF-8.
    let tree = xml::parse(&text, &xml::Limits { bytes: text.len(), depth: limits.depth })?;
    let root = tree.root()?;
    if !root.is(ns::HL7V3, "ClinicalDocument") {
        return Err(CdaError::NotCda);
    }
    let structured = find(root, &["component", "structuredBody"]);
    let other = find(root, &["component", "nonXMLBody"]);
    let body = match (structured, other) {
        (Some(_), _) => Body::Structured,
        (None, Some(_)) => Body::NonXml,
        (None, None) => Body::Absent,
    };
    let mut page = begin(root, &Header::of(root, body));
    match (structured, other) {
        (Some(sections), _) => {
            let mut narrator = Narrator::new(root, limits.images);
            for component in children(sections, "component") {
                for one in children(component, "section") {
                    section(&mut page, &mut narrator, one, 0);
                }
            }
        }
        (None, Some(other)) => file(&mut page, other),
        (None, None) => {
            page.leaf("p", "note", "This document has no content beyond its header.");
        }
    }
    Ok(page.finish())
}

/// The head of the page and the block of facts about the document.
fn begin(root: Element<'_>, header: &Header) -> Html {
    let kind = header.document_type().map(|kind| kind.name());
    let display = header.code.as_ref().map(|code| code.display.as_str()).filter(|display| !display.is_empty());
    let kind = kind.or(display).unwrap_or("Clinical document");
    let title = header.title.as_deref().unwrap_or(kind);
    let mut page = Html::new();
    page.start("html").language(header.language.as_deref().unwrap_or_default());
    page.start("head").void("meta", &[("charset", "utf-8")]);
    page.void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
    page.void("meta", &[("name", "referrer"), ("content", "no-referrer")]);
    page.void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    page.leaf("title", "", title).style(STYLE).end();
    page.start("body").leaf("h1", "", title);
    page.start("table").class("facts").start("tbody");
    patient(&mut page, root, header);
    let time = |path: &[&str]| find(root, path).map(shown_interval).unwrap_or_default();
    fact(&mut page, "Document", &[kind.to_owned()]);
    fact(&mut page, "Made", &[time(&["effectiveTime"])]);
    fact(&mut page, "Service time", &[time(&["documentationOf", "serviceEvent", "effectiveTime"])]);
    fact(&mut page, "Encounter", &[time(&["componentOf", "encompassingEncounter", "effectiveTime"])]);
    let authors: Vec<String> = children(root, "author").map(|author| shown_author(author, "assignedAuthor")).collect();
    fact(&mut page, "Author", &authors);
    let signed = child(root, "legalAuthenticator").map(|one| shown_author(one, "assignedEntity"));
    fact(&mut page, "Signed by", &[signed.unwrap_or_default()]);
    fact(&mut page, "Kept by", &[header.custodian.as_ref().map(|one| one.name.to_string()).unwrap_or_default()]);
    let confidentiality =
        header.confidentiality.as_ref().map(|code| match (code.code.as_str(), code.display.as_str()) {
            ("N", "") => "normal".to_owned(),
            ("R", "") => "restricted".to_owned(),
            ("V", "") => "very restricted".to_owned(),
            (code, "") => code.to_owned(),
            (_, display) => display.to_owned(),
        });
    fact(&mut page, "Confidentiality", &[confidentiality.unwrap_or_default()]);
    page.end().end();
    page
}

fn patient(page: &mut Html, root: Element<'_>, header: &Header) {
    let role = find(root, &["recordTarget", "patientRole"]);
    let person = role.and_then(|role| child(role, "patient"));
    let names: Vec<String> = header.patient.names.iter().map(shown_name).collect();
    // A page about nobody would be taken for a page about whoever is on the screen beside it.
    let nameless = ["The document names no patient.".to_owned()];
    fact(page, "Patient", if names.is_empty() { &nameless } else { &names });
    let birth = person.and_then(|person| child(person, "birthTime")).map(shown_interval);
    fact(page, "Born", &[birth.unwrap_or_default()]);
    let gender = header.patient.gender.map(|gender| match gender {
        Gender::Female => "female",
        Gender::Male => "male",
        Gender::Other => "other",
        Gender::Unknown => "unknown",
    });
    fact(page, "Gender", &[gender.unwrap_or_default().to_owned()]);
    let ids = header.patient_ids.iter().map(|id| [id.id(), " (", id.authority().universal_id(), ")"].concat());
    fact(page, "Identifiers", &ids.collect::<Vec<_>>());
    let addresses = role.into_iter().flat_map(|role| children(role, "addr")).map(read_address);
    fact(page, "Address", &addresses.map(|address| shown_address(&address)).collect::<Vec<_>>());
    let telecoms = role.into_iter().flat_map(|role| children(role, "telecom")).filter_map(read_telecom);
    fact(page, "Contact", &telecoms.map(|telecom| telecom.value.to_string()).collect::<Vec<_>>());
    if header.patients > 1 {
        fact(page, "Note", &["This document is about more than one patient; the first is shown here.".to_owned()]);
    }
}

/// A row of the header block; none if there is nothing to say.
fn fact(page: &mut Html, label: &'static str, values: &[String]) {
    let mut values = values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).peekable();
    if values.peek().is_none() {
        return;
    }
    page.start("tr").leaf("th", "", label).start("td");
    for value in values {
        page.leaf("span", "part", value);
    }
    page.end().end();
}

/// A section and those inside it.
fn section<'d>(page: &mut Html, narrator: &mut Narrator<'d>, element: Element<'d>, level: usize) {
    const HEADINGS: [&str; 5] = ["h2", "h3", "h4", "h5", "h6"];
    let code = child(element, "code");
    let title = child(element, "title").map(|title| collapse(&title.text())).filter(|title| !title.is_empty());
    let display = code.and_then(|code| code.attribute("displayName")).map(str::to_owned);
    let title = title.or(display).unwrap_or_else(|| "Section without a title".to_owned());
    page.start("section").leaf(HEADINGS[level.min(4)], "", &title);
    let confidentiality = child(element, "confidentialityCode").and_then(|code| code.attribute("code"));
    match confidentiality {
        Some("R") => {
            page.leaf("p", "note", "This section is marked as restricted.");
        }
        Some("V") => {
            page.leaf("p", "note", "This section is marked as very restricted.");
        }
        _ => {}
    }
    let inner: Vec<Element<'d>> =
        children(element, "component").flat_map(|component| children(component, "section")).collect();
    match child(element, "text") {
        Some(text) => {
            page.start("div");
            narrator.inside(page, text);
            page.end();
        }
        None if inner.is_empty() => {
            page.leaf("p", "note", "This section has no text.");
        }
        None => {}
    }
    for one in inner {
        section(page, narrator, one, level + 1);
    }
    page.end();
}

/// `nonXMLBody`: plain text is shown; a file of any other kind is named.
fn file(page: &mut Html, body: Element<'_>) {
    let Some(text) = child(body, "text") else {
        page.leaf("p", "note", "This document has no content beyond its header.");
        return;
    };
    let media_type = text.attribute("mediaType").unwrap_or("application/octet-stream");
    if text.children().any(|one| one.local_name() == "reference") {
        page.leaf("p", "note", "This document's content is a file outside of it, which is not shown here.");
        return;
    }
    let embedded = text.attribute("representation") == Some("B64");
    let bytes = if embedded { decode_base64(&text.text()) } else { Some(text.text().into_owned().into_bytes()) };
    match bytes {
        None => {
            page.leaf("p", "note", "This document's content is an embedded file that cannot be decoded.");
        }
        Some(bytes) if media_type.trim().eq_ignore_ascii_case("text/plain") => {
            match decode_text(&bytes, Some("iso-8859-1")) {
                Ok(text) => {
                    page.leaf("pre", "", &text);
                }
                Err(_) => {
                    page.leaf("p", "note", "This document's content is a text that cannot be decoded.");
                }
            }
        }
        Some(bytes) => {
            page.start("p").class("note").text("This document's content is an embedded file of type ");
            page.text(media_type).text(" with ").text(&bytes.len().to_string());
            page.text(" bytes, which is not shown here.").end();
        }
    }
}

fn shown_author(element: Element<'_>, assigned: &str) -> String {
    let Some(assigned) = child(element, assigned) else { return String::new() };
    let text = |path: &[&str]| find(assigned, path).map(|one| collapse(&one.text())).unwrap_or_default();
    let person = find(assigned, &["assignedPerson", "name"]).map(|name| shown_name(&read_name(name)));
    let parts = [
        person.unwrap_or_default(),
        text(&["assignedAuthoringDevice", "softwareName"]),
        text(&["representedOrganization", "name"]),
        child(element, "time").map(shown_interval).unwrap_or_default(),
    ];
    join(parts, ", ")
}

fn shown_name(name: &PersonName) -> String {
    let given = name.given.iter().map(|given| given.to_string());
    let parts = [name.prefix.to_string()].into_iter().chain(given);
    join(parts.chain([name.family.to_string(), name.suffix.to_string()]), " ")
}

fn shown_address(address: &Address) -> String {
    let place = join([&address.city, &address.state, &address.postal_code].map(ToString::to_string), " ");
    let lines = address.lines.iter().map(ToString::to_string);
    join(lines.chain([place, address.country.to_string()]), ", ")
}

fn join(parts: impl IntoIterator<Item = String>, between: &str) -> String {
    let said: Vec<String> = parts.into_iter().filter(|part| !part.trim().is_empty()).collect();
    said.join(between)
}

/// TS or IVL_TS for people.
fn shown_interval(element: Element<'_>) -> String {
    if let Some(value) = element.attribute("value") {
        return shown_time(value);
    }
    let bound = |name| child(element, name).and_then(|bound| bound.attribute("value")).map(shown_time);
    match (bound("low"), bound("high")) {
        (Some(low), Some(high)) if low == high => low,
        (Some(low), Some(high)) => [&low, " to ", &high].concat(),
        (Some(low), None) => ["from ", &low].concat(),
        (None, Some(high)) => ["until ", &high].concat(),
        (None, None) => String::new(),
    }
}

/// `20260115143000-0500` as `2026-01-15 14:30 -0500`: in the sender's zone, as the sender's own papers say it. What
/// is not of this form is shown as it is.
fn shown_time(value: &str) -> String {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (time, rest) = value.split_at(digits);
    if !matches!(time.len(), 4 | 6 | 8 | 10 | 12 | 14) || value.get(4..5) == Some("-") {
        return value.to_owned();
    }
    let mut shown = time[..4].to_owned();
    for (range, before) in [(4..6, "-"), (6..8, "-"), (8..10, " "), (10..12, ":")] {
        if let Some(part) = time.get(range) {
            shown.extend([before, part]);
        }
    }
    let zone = rest.find(['+', '-', 'Z']).map(|at| &rest[at..]).unwrap_or_default();
    if time.len() > 8 && !zone.is_empty() {
        shown.extend([" ", zone]);
    }
    shown
}
