//! Objects of the ebXML registry information model, as far as XDS metadata uses them (ITI TF-3: 4.2.1).
//!
//! Reading is lenient about attributes that only the schema wants; writing follows the schema's order of children.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::{DecodeError, literals};
use crate::id::Code;
use crate::xml::{Element, Writer, ns};

/// A named list of values.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// `@name`
    pub name: SmolStr,
    /// Each `rim:Value`.
    pub values: Vec<SmolStr>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({}: {} values)", self.name, self.values.len())
    }
}

/// What a member of a `rim:RegistryObjectList` is. Members of other kinds are left out on reading.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// A document entry.
    ExtrinsicObject {
        /// What all registry objects have.
        object: RegistryObject,
        /// `@mimeType`; the schema's default applies when it is absent.
        mime_type: SmolStr,
    },
    /// A submission set or a folder.
    RegistryPackage(RegistryObject),
    /// A relation between two objects.
    Association {
        /// What all registry objects have.
        object: RegistryObject,
        /// `@associationType`
        kind: SmolStr,
        /// `@sourceObject`
        source: SmolStr,
        /// `@targetObject`
        target: SmolStr,
    },
    /// A reference to an object that is not here.
    ObjectRef {
        /// `@id`
        id: SmolStr,
        /// `@home`
        home: Option<SmolStr>,
    },
}

/// What all registry objects have.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct RegistryObject {
    /// `@id`, a UUID URN or a symbol that is valid in this message.
    pub id: SmolStr,
    /// `@home`
    pub home: Option<SmolStr>,
    /// `@lid`, the id that all versions share.
    pub lid: Option<SmolStr>,
    /// `@objectType`
    pub object_type: Option<SmolStr>,
    /// `@status`
    pub status: Option<SmolStr>,
    /// Slots in their order.
    pub slots: Vec<Slot>,
    /// The first text of `rim:Name`.
    pub name: Option<SmolStr>,
    /// The first text of `rim:Description`.
    pub description: Option<SmolStr>,
    /// `rim:VersionInfo/@versionName`
    pub version: Option<SmolStr>,
    /// Classifications in their order.
    pub classifications: Vec<Classification>,
    /// External identifiers in their order.
    pub external_identifiers: Vec<ExternalIdentifier>,
}

impl fmt::Debug for RegistryObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryObject({})", self.id)
    }
}

/// A code, an author, or a mark on an object.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Classification {
    /// `@classificationScheme`
    pub scheme: Option<SmolStr>,
    /// `@classificationNode`
    pub node: Option<SmolStr>,
    /// `@nodeRepresentation`, the code.
    pub representation: Option<SmolStr>,
    /// Slots: `codingScheme` of a code, the parts of an author.
    pub slots: Vec<Slot>,
    /// The display name.
    pub name: Option<SmolStr>,
}

impl fmt::Debug for Classification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Classification({})", self.scheme.as_deref().or(self.node.as_deref()).unwrap_or("?"))
    }
}

/// An identifier of an object in a scheme.
#[derive(Clone, Eq, PartialEq)]
pub struct ExternalIdentifier {
    /// `@identificationScheme`
    pub scheme: SmolStr,
    /// `@value`
    pub value: SmolStr,
    /// The name that XDS prescribes for the scheme.
    pub name: SmolStr,
}

impl fmt::Debug for ExternalIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalIdentifier({})", self.name)
    }
}

impl Classification {
    /// A code of a scheme of XDS.
    pub fn of_code(scheme: &'static str, code: &Code) -> Self {
        Self {
            scheme: Some(scheme.into()),
            node: None,
            representation: Some(code.code.clone()),
            slots: vec![Slot { name: "codingScheme".into(), values: vec![code.scheme.clone()] }],
            name: Some(code.display.clone()).filter(|display| !display.is_empty()),
        }
    }

    /// A mark: submission set, folder, limited metadata.
    pub fn of_node(node: &'static str) -> Self {
        Self { node: Some(node.into()), ..Self::default() }
    }

    /// The code, if there is one.
    pub fn code(&self) -> Option<Code> {
        let code = self.representation.clone().filter(|code| !code.is_empty())?;
        let scheme = first_value(&self.slots, "codingScheme").unwrap_or_default();
        Some(Code::new(code, scheme, self.name.clone().unwrap_or_default()))
    }

    /// Whether this is of a scheme.
    pub fn is_of(&self, scheme: &str) -> bool {
        self.scheme.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(scheme))
    }

    /// Whether this is a mark. The limited metadata mark is also sent as a scheme (seen live), so both count.
    pub fn marks(&self, node: &str) -> bool {
        self.node.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(node)) || self.is_of(node)
    }

    /// Reads a classification.
    fn decode(element: Element<'_>) -> Self {
        Self {
            scheme: element.attribute("classificationScheme").map(urn),
            node: element.attribute("classificationNode").map(urn),
            representation: element.attribute("nodeRepresentation").map(|text| text.trim().into()),
            slots: decode_slots(element),
            name: localized(element, "Name"),
        }
    }
}

impl RegistryObject {
    /// An object of an id and nothing else.
    pub fn new(id: impl Into<SmolStr>, object_type: &'static str) -> Self {
        Self { id: id.into(), object_type: Some(object_type.into()), ..Self::default() }
    }

    /// Takes all values of a slot out; what is left at the end is extra metadata.
    pub fn take_slot(&mut self, name: &str) -> Option<Vec<SmolStr>> {
        let mut found = None;
        self.slots.retain_mut(|slot| {
            let wanted = slot.name == name;
            if wanted {
                found.get_or_insert_with(Vec::new).append(&mut slot.values);
            }
            !wanted
        });
        found
    }

    /// Adds a slot of one value, if there is one.
    pub fn slot_if(&mut self, name: &'static str, value: Option<impl Into<SmolStr>>) {
        if let Some(value) = value {
            self.slots.push(Slot { name: name.into(), values: vec![value.into()] });
        }
    }

    /// Adds a slot, if there are values.
    pub fn slot_list(&mut self, name: &'static str, values: Vec<SmolStr>) {
        if !values.is_empty() {
            self.slots.push(Slot { name: name.into(), values });
        }
    }

    /// The identifier of a scheme.
    pub fn identifier(&self, scheme: &str) -> Option<&str> {
        let found = self.external_identifiers.iter().find(|id| id.scheme.eq_ignore_ascii_case(scheme))?;
        Some(&found.value)
    }

    /// The classifications of a scheme.
    pub fn classified<'o>(&'o self, scheme: &'static str) -> impl Iterator<Item = &'o Classification> {
        self.classifications.iter().filter(move |classification| classification.is_of(scheme))
    }

    /// Whether the object carries a mark.
    pub fn is_marked(&self, node: &str) -> bool {
        self.classifications.iter().any(|classification| classification.marks(node))
    }

    fn decode(element: Element<'_>, id: SmolStr) -> Result<Self, DecodeError> {
        Ok(Self {
            id,
            home: text_attribute(element, "home"),
            lid: text_attribute(element, "lid"),
            object_type: text_attribute(element, "objectType"),
            status: text_attribute(element, "status"),
            slots: decode_slots(element),
            name: localized(element, "Name"),
            description: localized(element, "Description"),
            version: element.child(ns::RIM, "VersionInfo").and_then(|info| text_attribute(info, "versionName")),
            classifications: element.children_named(ns::RIM, "Classification").map(Classification::decode).collect(),
            external_identifiers: element
                .children_named(ns::RIM, "ExternalIdentifier")
                .map(|id| {
                    Ok(ExternalIdentifier {
                        scheme: urn(id.require_attribute("identificationScheme")?),
                        value: id.require_attribute("value")?.into(),
                        name: localized(id, "Name").unwrap_or_default(),
                    })
                })
                .collect::<Result<_, DecodeError>>()?,
        })
    }

    /// The attributes and children that every object has, in the schema's order.
    fn write(&self, w: &mut Writer) {
        write_slots(w, &self.slots);
        write_localized(w, "rim:Name", self.name.as_deref());
        write_localized(w, "rim:Description", self.description.as_deref());
        if let Some(version) = &self.version {
            w.start("rim:VersionInfo").attribute("versionName", version).end();
        }
        for (at, classification) in self.classifications.iter().enumerate() {
            w.start("rim:Classification")
                .attribute("id", &part_id(&self.id, "c", at))
                .attribute_if("classificationScheme", classification.scheme.as_deref())
                .attribute_if("classificationNode", classification.node.as_deref())
                .attribute("classifiedObject", &self.id)
                .attribute_if("nodeRepresentation", classification.representation.as_deref())
                .attribute("objectType", literals::CLASSIFICATION);
            write_slots(w, &classification.slots);
            write_localized(w, "rim:Name", classification.name.as_deref());
            w.end();
        }
        for (at, identifier) in self.external_identifiers.iter().enumerate() {
            w.start("rim:ExternalIdentifier")
                .attribute("id", &part_id(&self.id, "i", at))
                .attribute("registryObject", &self.id)
                .attribute("identificationScheme", &identifier.scheme)
                .attribute("value", &identifier.value)
                .attribute("objectType", literals::EXTERNAL_IDENTIFIER);
            write_localized(w, "rim:Name", Some(&identifier.name));
            w.end();
        }
    }

    fn write_attributes(&self, w: &mut Writer) {
        w.attribute("id", &self.id)
            .attribute_if("home", self.home.as_deref())
            .attribute_if("lid", self.lid.as_deref())
            .attribute_if("objectType", self.object_type.as_deref())
            .attribute_if("status", self.status.as_deref());
    }
}

impl Item {
    /// Reads the members of a list. A classification that stands beside its package instead of inside it (which the
    /// framework allows) is put where it belongs; members of other kinds are left out.
    pub fn decode_list(list: Element<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut items = Vec::new();
        let mut beside = Vec::new();
        for element in list.children().filter(|element| element.namespace() == ns::RIM) {
            if element.local_name() == "Classification" {
                beside.push((text_attribute(element, "classifiedObject"), Classification::decode(element)));
            } else if let Some(item) = Self::decode(element, items.len())? {
                items.push(item);
            }
        }
        for (classified, classification) in beside {
            let owner = items.iter_mut().find_map(|item| match item {
                Self::RegistryPackage(object) | Self::ExtrinsicObject { object, .. }
                    if Some(&object.id) == classified.as_ref() =>
                {
                    Some(object)
                }
                _ => None,
            });
            if let Some(object) = owner {
                object.classifications.push(classification);
            }
        }
        Ok(items)
    }

    fn decode(element: Element<'_>, place: usize) -> Result<Option<Self>, DecodeError> {
        let id = || Ok::<_, DecodeError>(SmolStr::from(element.require_attribute("id")?.trim()));
        Ok(Some(match element.local_name() {
            "ExtrinsicObject" => Self::ExtrinsicObject {
                object: RegistryObject::decode(element, id()?)?,
                mime_type: text_attribute(element, "mimeType").unwrap_or("application/octet-stream".into()),
            },
            "RegistryPackage" => Self::RegistryPackage(RegistryObject::decode(element, id()?)?),
            "Association" => Self::Association {
                // Some senders give associations no id; nothing in the message refers to them then.
                object: RegistryObject::decode(element, id().unwrap_or(format_smolstr!("association-{place}")))?,
                kind: element.require_attribute("associationType")?.trim().into(),
                source: element.require_attribute("sourceObject")?.trim().into(),
                target: element.require_attribute("targetObject")?.trim().into(),
            },
            "ObjectRef" => Self::ObjectRef {
                id: element.require_attribute("id")?.trim().into(),
                home: text_attribute(element, "home"),
            },
            _ => return Ok(None),
        }))
    }

    /// Writes the object. The caller has bound the prefix `rim`.
    pub fn write(&self, w: &mut Writer) {
        match self {
            Self::ExtrinsicObject { object, mime_type } => {
                w.start("rim:ExtrinsicObject");
                object.write_attributes(w);
                w.attribute("mimeType", mime_type);
                object.write(w);
            }
            Self::RegistryPackage(object) => {
                w.start("rim:RegistryPackage");
                object.write_attributes(w);
                object.write(w);
            }
            Self::Association { object, kind, source, target } => {
                w.start("rim:Association");
                object.write_attributes(w);
                w.attribute("associationType", kind)
                    .attribute("sourceObject", source)
                    .attribute("targetObject", target);
                object.write(w);
            }
            Self::ObjectRef { id, home } => {
                w.start("rim:ObjectRef").attribute("id", id).attribute_if("home", home.as_deref());
            }
        }
        w.end();
    }
}

/// The slots of an element.
pub fn decode_slots(element: Element<'_>) -> Vec<Slot> {
    element
        .children_named(ns::RIM, "Slot")
        .map(|slot| Slot {
            name: slot.attribute("name").unwrap_or_default().trim().into(),
            values: slot
                .child(ns::RIM, "ValueList")
                .into_iter()
                .flat_map(|list| list.children_named(ns::RIM, "Value"))
                .map(|value| SmolStr::from(&*value.trimmed()))
                .collect(),
        })
        .collect()
}

/// Writes slots. The caller has bound the prefix `rim`.
pub fn write_slots(w: &mut Writer, slots: &[Slot]) {
    for slot in slots {
        w.start("rim:Slot").attribute("name", &slot.name).start("rim:ValueList");
        for value in &slot.values {
            w.leaf("rim:Value", value);
        }
        w.end().end();
    }
}

/// The first value of the first slot of that name that has one.
pub fn first_value(slots: &[Slot], name: &str) -> Option<SmolStr> {
    slots.iter().filter(|slot| slot.name == name).find_map(|slot| slot.values.first().cloned())
}

/// The ids of classifications and identifiers are ours to choose. Those of a stored object are UUIDs that stay the
/// same each time the object is returned; those of a symbolic object are symbols.
fn part_id(container: &str, kind: &str, at: usize) -> String {
    let symbol = format!("{container}-{kind}{at}");
    if !container.starts_with("urn:uuid:") {
        return symbol;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, symbol.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    format!("urn:uuid:{}", uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// A UUID has no white space in it; the framework's own printed examples, which senders copy, do.
fn urn(text: &str) -> SmolStr {
    text.split_whitespace().collect()
}

fn text_attribute(element: Element<'_>, name: &str) -> Option<SmolStr> {
    element.attribute(name).map(str::trim).filter(|text| !text.is_empty()).map(SmolStr::from)
}

fn localized(element: Element<'_>, child: &'static str) -> Option<SmolStr> {
    let string = element.child(ns::RIM, child)?.child(ns::RIM, "LocalizedString")?;
    string.attribute("value").map(SmolStr::from).filter(|text| !text.is_empty())
}

fn write_localized(w: &mut Writer, name: &'static str, text: Option<&str>) {
    if let Some(text) = text {
        w.start(name).start("rim:LocalizedString").attribute("value", text).end().end();
    }
}
