//! One row says how an element of a resource and an attribute of metadata are each other, in both directions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use smol_str::{SmolStr, format_smolstr};

use super::super::json;
use super::super::outcome::Refusal;
use super::super::resource::{self, coding, concept, write_coding, write_concept, write_extension};
use super::{Contained, Scope, profile};
use crate::id::{Code, Dtm};

/// A row of a mapping table. `T` is the metadata.
pub(super) struct Row<T: 'static> {
    /// The element.
    pub(super) place: Place,
    /// The attribute, in XDS's name.
    pub(super) attribute: &'static str,
    /// How they are each other.
    pub(super) part: Part<T>,
}

/// Where an element is.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// A JSON pointer in the resource.
    At(&'static str),
    /// An extension of MHD: its name, and the member with its value.
    Extension(&'static str, &'static str),
}

type Get<T, V> = fn(&T) -> Option<V>;
type Set<T, V> = fn(&mut T, V);

/// The forms of values.
pub(super) enum Part<T: 'static> {
    /// Text.
    Text(Get<T, SmolStr>, Set<T, SmolStr>),
    /// A date.
    Time(Get<T, Dtm>, Set<T, Dtm>),
    /// A CodeableConcept.
    Concept(Get<T, Code>, Set<T, Code>),
    /// A list of CodeableConcepts.
    Concepts(fn(&T) -> &[Code], Set<T, Vec<Code>>),
    /// A Coding.
    Coding(Get<T, Code>, Set<T, Code>),
    /// A number of bytes.
    Size(Get<T, u64>, Set<T, u64>),
    /// SHA-1: base64 here, hexadecimal there.
    Hash(Get<T, SmolStr>, Set<T, SmolStr>),
    /// Something of its own. Reading gets the value; what cannot be read is an error.
    Own { read: fn(Scope<'_>, &Value, &mut T) -> Option<()>, write: fn(&T, &mut Contained) -> Option<Value> },
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::At(pointer) => pointer.trim_start_matches('/'),
            Self::Extension(name, _) => name,
        }
    }

    fn values(self, resource: &Value) -> Vec<&Value> {
        match self {
            Self::At(pointer) => resource.pointer(pointer).into_iter().collect(),
            Self::Extension(name, member) => {
                let url = profile(name);
                // Published versions of the guide differ in the scheme of the URL.
                let plain = url.replace("https://", "http://");
                let all = json::list(resource, "extension").iter();
                all.filter(|one| json::text(one, "url").is_some_and(|own| own == url || own == plain))
                    .filter_map(|one| one.get(member))
                    .collect()
            }
        }
    }

    fn put(self, resource: &mut Value, value: Value) {
        match self {
            Self::At(pointer) => put(resource, pointer, value),
            Self::Extension(name, member) => {
                if let Value::Object(object) = resource
                    && let Value::Array(list) = object.entry("extension").or_insert_with(|| Value::Array(Vec::new()))
                {
                    list.push(write_extension(&profile(name), member, value));
                }
            }
        }
    }
}

/// Puts a value at a JSON pointer; objects and lists on the way are made.
fn put(resource: &mut Value, pointer: &str, value: Value) {
    let mut place = resource;
    for segment in pointer.split('/').skip(1) {
        match segment.parse::<usize>() {
            Ok(at) => {
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                let Value::Array(list) = place else { return };
                while list.len() <= at {
                    list.push(Value::Object(Map::new()));
                }
                place = &mut list[at];
            }
            Err(_) => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                let Value::Object(object) = place else { return };
                place = object.entry(segment).or_insert(Value::Null);
            }
        }
    }
    *place = value;
}

/// Reads all rows. What is there and cannot be read is refused by the name of the element.
pub(super) fn read<T>(table: &[Row<T>], scope: Scope<'_>, into: &mut T) -> Result<(), Refusal> {
    for row in table {
        let values = row.place.values(scope.resource);
        if !values.is_empty() {
            row.read(scope, &values, into).ok_or_else(|| row.refusal())?;
        }
    }
    Ok(())
}

/// Writes all rows that have a value.
pub(super) fn write<T>(table: &[Row<T>], from: &T, resource: &mut Value, contained: &mut Contained) {
    for row in table {
        for value in row.written(from, contained) {
            row.place.put(resource, value);
        }
    }
}

impl<T> Row<T> {
    /// The element by its name here and in XDS.
    fn refusal(&self) -> Refusal {
        Refusal::Unusable(format_smolstr!("{} ({})", self.place.name(), self.attribute))
    }

    fn read(&self, scope: Scope<'_>, values: &[&Value], into: &mut T) -> Option<()> {
        let value = *values.first()?;
        let text = || value.as_str().map(str::trim).filter(|text| !text.is_empty());
        match &self.part {
            Part::Text(_, set) => set(into, text()?.into()),
            Part::Time(_, set) => set(into, Dtm::lenient(text()?).ok()?),
            Part::Concept(_, set) => set(into, concept(value)?),
            Part::Coding(_, set) => set(into, coding(value)?),
            Part::Size(_, set) => set(into, value.as_u64()?),
            Part::Hash(_, set) => {
                let digest = STANDARD.decode(text()?).ok()?;
                // Some clients encode the hexadecimal digits of XDS instead of the digest.
                let digits = match digest.len() {
                    20 => hex::encode(digest),
                    40 => hex::encode(hex::decode(&digest).ok()?),
                    _ => return None,
                };
                set(into, digits.into());
            }
            Part::Concepts(_, set) => {
                let lists = values
                    .iter()
                    .flat_map(|value| value.as_array().map_or(std::slice::from_ref(*value), Vec::as_slice));
                set(into, lists.map(concept).collect::<Option<Vec<_>>>()?);
            }
            Part::Own { read, .. } => {
                for value in values {
                    read(scope, value, into)?;
                }
            }
        }
        Some(())
    }

    fn written(&self, from: &T, contained: &mut Contained) -> Vec<Value> {
        let one = match &self.part {
            Part::Text(get, _) => get(from).map(|text| text.as_str().into()),
            Part::Time(get, _) => get(from).map(|dtm| resource::date_time(&dtm).into()),
            Part::Concept(get, _) => get(from).map(|code| write_concept(&code)),
            Part::Coding(get, _) => get(from).map(|code| write_coding(&code)),
            Part::Size(get, _) => get(from).map(Value::from),
            Part::Hash(get, _) => get(from)
                .and_then(|digits| hex::decode(digits.as_str()).ok())
                .map(|digest| STANDARD.encode(digest).into()),
            Part::Own { write, .. } => write(from, contained),
            Part::Concepts(get, _) => {
                let all: Vec<Value> = get(from).iter().map(write_concept).collect();
                return match self.place {
                    Place::Extension(..) => all,
                    Place::At(_) if all.is_empty() => Vec::new(),
                    Place::At(_) => vec![all.into()],
                };
            }
        };
        // A list of extensions is an extension for each.
        match (self.place, one) {
            (Place::Extension(..), Some(Value::Array(list))) => list,
            (_, one) => one.into_iter().collect(),
        }
    }

    /// The name of the element, for tests.
    #[cfg(test)]
    pub(super) fn is_in(&self, resource: &Value) -> bool {
        !self.place.values(resource).is_empty()
    }
}
