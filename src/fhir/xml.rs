//! FHIR's XML form, read into the JSON form and written from it (FHIR R4: `xml.html`, `json.html`).
//!
//! XML does not say what repeats and what is a number, and its elements have an order; `elements.txt` does, for the
//! resources of the mobile profiles and everything that can be inside them. One line is a type: each element with its
//! kind (`s` text, `n` number, `b` boolean, `x` narrative, `@` any resource, else another type) and `*` if it repeats.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::xml::{self, Element, Limits, Writer, XmlError, ns};

const ELEMENTS: &str = include_str!("elements.txt");

static TYPES: LazyLock<HashMap<&'static str, Vec<Known>>> = LazyLock::new(|| {
    let types = ELEMENTS.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.filter_map(Known::read).collect()))
    });
    types.collect()
});

struct Known {
    name: &'static str,
    kind: &'static str,
    repeats: bool,
}

impl Known {
    fn read(word: &'static str) -> Option<Self> {
        let (name, kind) = word.split_once(':')?;
        let repeats = kind.ends_with('*');
        Some(Self { name, kind: kind.trim_end_matches('*'), repeats })
    }

    fn is_primitive(&self) -> bool {
        matches!(self.kind, "s" | "n" | "b")
    }
}

fn elements(kind: &str) -> &'static [Known] {
    TYPES.get(kind).map(Vec::as_slice).unwrap_or_default()
}

/// Resources have a `meta`; only of them is `id` an element and not an attribute.
fn is_resource(kind: &str) -> bool {
    elements(kind).iter().any(|known| known.name == "meta")
}

/// Why an XML body is no resource that can be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FhirXmlError {
    /// Not XML within the limits.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Not in the namespace of FHIR.
    #[error("the document element is not of FHIR")]
    NotFhir,
    /// A resource of a type that no transaction here has.
    #[error("the type of a resource is not supported in XML")]
    UnknownType,
    /// A number or boolean that is none, or no value where one belongs.
    #[error("the value of <{0}> cannot be used")]
    Value(String),
}

/// Reads a resource.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Value, FhirXmlError> {
    if bytes.len() > limits.bytes {
        return Err(XmlError::TooLong(limits.bytes).into());
    }
    let text = xml::decode_text(bytes, None)?;
    let tree = xml::parse(&text, limits)?;
    let root = tree.root()?;
    if root.namespace() != ns::FHIR {
        return Err(FhirXmlError::NotFhir);
    }
    read_resource(root)
}

fn read_resource(element: Element<'_>) -> Result<Value, FhirXmlError> {
    let kind = element.local_name();
    if !is_resource(kind) {
        return Err(FhirXmlError::UnknownType);
    }
    let mut object = Map::new();
    object.insert("resourceType".into(), kind.into());
    read_children(element, kind, &mut object)?;
    Ok(Value::Object(object))
}

fn read_children(element: Element<'_>, kind: &str, object: &mut Map<String, Value>) -> Result<(), FhirXmlError> {
    for name in ["id", "url"] {
        if let (false, Some(value)) = (is_resource(kind), element.attribute(name)) {
            object.insert(name.into(), value.into());
        }
    }
    for child in element.children() {
        let name = child.local_name();
        let Some(known) = elements(kind).iter().find(|known| known.name == name) else {
            // Elements of other versions occur (`class` of STU3); nothing here looks at them, so they do no harm.
            read_unknown(child, object)?;
            continue;
        };
        let (value, extra) = read_value(child, known)?;
        if known.repeats {
            add_repeated(object, name, value, extra);
        } else {
            if object.contains_key(name) {
                return Err(FhirXmlError::Value(name.to_owned()));
            }
            if !value.is_null() {
                object.insert(name.to_owned(), value);
            }
            extra.map(|extra| object.insert(format!("_{name}"), extra));
        }
    }
    Ok(())
}

/// The lists of a repeating primitive and of its extensions have the same length.
fn add_repeated(object: &mut Map<String, Value>, name: &str, value: Value, extra: Option<Value>) {
    let shadow = format!("_{name}");
    let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(values) = list else { return };
    values.push(value);
    let length = values.len();
    if extra.is_some() || object.contains_key(&shadow) {
        let extras = object.entry(shadow).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(extras) = extras {
            extras.resize(length - 1, Value::Null);
            extras.push(extra.unwrap_or(Value::Null));
        }
    }
}

/// The value, and for a primitive its id and extensions.
fn read_value(element: Element<'_>, known: &Known) -> Result<(Value, Option<Value>), FhirXmlError> {
    match known.kind {
        "x" => {
            let canonical = element.canonical(None, &[]);
            Ok((String::from_utf8_lossy(&canonical).into_owned().into(), None))
        }
        "@" => {
            let resource = element.children().next().ok_or_else(|| FhirXmlError::Value(known.name.to_owned()))?;
            Ok((read_resource(resource)?, None))
        }
        kind if known.is_primitive() => {
            let value = match element.attribute("value") {
                Some(text) => primitive(text, kind).ok_or_else(|| FhirXmlError::Value(known.name.to_owned()))?,
                None => Value::Null,
            };
            let mut extra = Map::new();
            read_children(element, "Element", &mut extra)?;
            Ok((value, (!extra.is_empty()).then_some(Value::Object(extra))))
        }
        kind => {
            let mut object = Map::new();
            read_children(element, kind, &mut object)?;
            Ok((Value::Object(object), None))
        }
    }
}

fn primitive(text: &str, kind: &str) -> Option<Value> {
    match kind {
        "b" => text.trim().parse::<bool>().ok().map(Value::Bool),
        "n" => serde_json::from_str::<serde_json::Number>(text.trim()).ok().map(Value::Number),
        _ => Some(text.into()),
    }
}

/// Keeps an unknown element as text or as an object.
fn read_unknown(element: Element<'_>, object: &mut Map<String, Value>) -> Result<(), FhirXmlError> {
    let value = match element.attribute("value") {
        Some(text) => text.into(),
        None => {
            let mut inside = Map::new();
            for child in element.children() {
                read_unknown(child, &mut inside)?;
            }
            Value::Object(inside)
        }
    };
    object.entry(element.local_name()).or_insert(value);
    Ok(())
}

/// Writes a resource. Elements that R4 does not have are left out; a type that no transaction here has is refused.
pub fn write(resource: &Value) -> Result<String, FhirXmlError> {
    let mut writer = Writer::with_declaration();
    write_resource(&mut writer, resource, true)?;
    Ok(writer.finish())
}

fn write_resource(writer: &mut Writer, resource: &Value, outermost: bool) -> Result<(), FhirXmlError> {
    let kind = super::json::resource_type(resource);
    let Some((&kind, _)) = TYPES.get_key_value(kind).filter(|(kind, _)| is_resource(kind)) else {
        return Err(FhirXmlError::UnknownType);
    };
    writer.start(kind);
    if outermost {
        writer.attribute("xmlns", ns::FHIR);
    }
    write_children(writer, resource, kind)?;
    writer.end();
    Ok(())
}

fn write_children(writer: &mut Writer, object: &Value, kind: &str) -> Result<(), FhirXmlError> {
    if !is_resource(kind) {
        writer.attribute_if("id", object.get("id").and_then(Value::as_str));
    }
    let is_extension = kind == "Extension";
    if is_extension {
        writer.attribute_if("url", object.get("url").and_then(Value::as_str));
    }
    for known in elements(kind) {
        let is_attribute = (known.name == "id" && !is_resource(kind)) || (known.name == "url" && is_extension);
        if is_attribute {
            continue;
        }
        let extra = known.is_primitive().then(|| object.get(format!("_{}", known.name))).flatten();
        match (object.get(known.name), known.repeats) {
            (None, false) => write_value(writer, known, &Value::Null, extra)?,
            (Some(value), false) => write_value(writer, known, value, extra)?,
            (values, true) => {
                let values = values.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let extras = extra.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                for at in 0..values.len().max(extras.len()) {
                    write_value(writer, known, values.get(at).unwrap_or(&Value::Null), extras.get(at))?;
                }
            }
        }
    }
    Ok(())
}

fn write_value(writer: &mut Writer, known: &Known, value: &Value, extra: Option<&Value>) -> Result<(), FhirXmlError> {
    let extra = extra.filter(|extra| extra.is_object());
    if value.is_null() && extra.is_none() {
        return Ok(());
    }
    match known.kind {
        "x" => write_narrative(writer, value),
        "@" => {
            writer.start(known.name);
            write_resource(writer, value, false)?;
            writer.end();
            Ok(())
        }
        _ if known.is_primitive() => {
            let text = match value {
                Value::String(text) => Some(text.clone()),
                Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
                Value::Null => None,
                Value::Array(_) | Value::Object(_) => return Err(FhirXmlError::Value(known.name.to_owned())),
            };
            writer.start(known.name);
            if let Some(extra) = extra {
                writer.attribute_if("id", extra.get("id").and_then(Value::as_str));
            }
            writer.attribute_if("value", text.as_deref());
            for extension in extra.map(|extra| super::json::list(extra, "extension")).unwrap_or_default() {
                writer.start("extension");
                write_children(writer, extension, "Extension")?;
                writer.end();
            }
            writer.end();
            Ok(())
        }
        kind => {
            writer.start(known.name);
            write_children(writer, value, kind)?;
            writer.end();
            Ok(())
        }
    }
}

/// A narrative is markup of the sender: only what parses as one element of XHTML goes into the document.
fn write_narrative(writer: &mut Writer, value: &Value) -> Result<(), FhirXmlError> {
    let text = value.as_str().unwrap_or_default();
    let tree = xml::parse(text, &Limits::default())?;
    let root = tree.root()?;
    if !root.is(ns::XHTML, "div") {
        return Err(FhirXmlError::Value("div".into()));
    }
    let canonical = root.canonical(None, &[]);
    writer.fragment(&String::from_utf8_lossy(&canonical));
    Ok(())
}

impl From<FhirXmlError> for super::Refusal {
    fn from(error: FhirXmlError) -> Self {
        match error {
            FhirXmlError::Xml(error) => error.into(),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fhir::json as fhir_json;

    #[test]
    fn every_type_of_the_table_has_its_own_line() {
        for (name, known) in TYPES.iter() {
            assert!(!known.is_empty(), "{name}");
            for element in known.iter().filter(|known| !matches!(known.kind, "s" | "n" | "b" | "x" | "@")) {
                assert!(TYPES.contains_key(element.kind), "{name}.{}", element.name);
            }
        }
    }

    #[test]
    fn what_xml_does_not_say_is_told_by_the_table() {
        let text = "<Patient xmlns='http://hl7.org/fhir'><id value='7'/><identifier><value value='1'/></identifier>\
            <active value='true'/><name id='n'><given value='A'/><given><extension url='http://e.example/x'>\
            <valueInteger value='3'/></extension></given></name><birthDate><extension url='http://e.example/y'>\
            <valueCode value='unknown'/></extension></birthDate><multipleBirthInteger value='2'/></Patient>";
        let value = read(text.as_bytes(), &Limits::default()).unwrap();
        let expected = json!({
            "resourceType": "Patient", "id": "7", "identifier": [{"value": "1"}], "active": true,
            "name": [{"id": "n", "given": ["A", null],
                "_given": [null, {"extension": [{"url": "http://e.example/x", "valueInteger": 3}]}]}],
            "_birthDate": {"extension": [{"url": "http://e.example/y", "valueCode": "unknown"}]},
            "multipleBirthInteger": 2
        });
        assert_eq!(value, expected);
        assert_eq!(read(write(&value).unwrap().as_bytes(), &Limits::default()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        for (text, error) in [
            ("<Patient/>", FhirXmlError::NotFhir),
            ("<Rocket xmlns='http://hl7.org/fhir'/>", FhirXmlError::UnknownType),
            (
                "<Patient xmlns='http://hl7.org/fhir'><active value='maybe'/></Patient>",
                FhirXmlError::Value("active".into()),
            ),
            (
                "<Patient xmlns='http://hl7.org/fhir'><gender value='male'/><gender value='female'/></Patient>",
                FhirXmlError::Value("gender".into()),
            ),
        ] {
            assert_eq!(read(text.as_bytes(), &Limits::default()), Err(error), "{text}");
        }
    }

    #[test]
    fn a_narrative_cannot_break_out_of_its_element() {
        let text = |div: &str| json!({"resourceType": "Patient", "text": {"status": "generated", "div": div}});
        for div in ["</div><active value='false'/>", "<div>x</div>", "<p xmlns='http://www.w3.org/1999/xhtml'/>", ""] {
            assert!(write(&text(div)).is_err(), "{div}");
        }
        assert!(write(&text("<div xmlns=\"http://www.w3.org/1999/xhtml\">A &amp; B</div>")).is_ok());
    }

    /// Every JSON sample of a supported type survives the way through XML; every XML sample is read, but for a Bundle of NamingSystems.
    #[test]
    fn the_corpus_survives_both_forms() {
        let mut read_files = 0;
        for folder in ["fhir-pixm/", "fhir-pdqm/", "fhir-match/", "fhir-mhd/"] {
            for row in crate::testing::manifest(folder) {
                let bytes = crate::testing::corpus(&row[0]).unwrap();
                if row[0].ends_with(".xml") {
                    let value = match read(&bytes, &Limits::default()) {
                        Err(FhirXmlError::UnknownType) if row[0].ends_with("ipf-identifiers.xml") => continue,
                        read => read.unwrap_or_else(|error| panic!("{}: {error}", row[0])),
                    };
                    let again = write(&value).unwrap_or_else(|error| panic!("{}: {error}", row[0]));
                    // What STU3 had and R4 has not is gone the second time.
                    let once = read(again.as_bytes(), &Limits::default()).unwrap();
                    let twice = write(&once).unwrap();
                    assert_eq!(again, twice, "{}", row[0]);
                    read_files += 1;
                } else if row[0].ends_with(".json") && row[8].ends_with(": valid") {
                    let value = fhir_json::read(&bytes, &fhir_json::Limits::default()).unwrap();
                    match write(&value) {
                        Ok(text) => {
                            let mut again = read(text.as_bytes(), &Limits::default()).unwrap();
                            let mut value = value;
                            normalise(&mut again);
                            normalise(&mut value);
                            assert_eq!(again, value, "{}", row[0]);
                            read_files += 1;
                        }
                        Err(error) => assert_eq!(error, FhirXmlError::UnknownType, "{}", row[0]),
                    }
                }
            }
        }
        assert!(read_files > 60 || crate::testing::shared().is_none(), "{read_files}");
    }

    /// Markup of narratives may be written in several ways, and XML has no empty lists.
    fn normalise(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.remove("div");
                object.remove("fhir_comments");
                object.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
                object.values_mut().for_each(normalise);
            }
            Value::Array(list) => list.iter_mut().for_each(normalise),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &Limits::default());
        }

        #[test]
        fn any_markup_is_read_or_refused(text in "(<(/)?(Patient|name|given|id|div|text)( value='1'| xmlns='http://hl7.org/fhir')?(/)?>){0,12}") {
            let _ = read(text.as_bytes(), &Limits::default());
        }
    }
}
